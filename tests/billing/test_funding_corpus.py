"""Preview = draft = issued = re-rated, to the minor unit, over generated contracts × tariffs × programmes."""

import json
import random
from decimal import Decimal

import pytest
from django.db import connection

from billing import charging, commitments, funding, invoicing
from billing.models import Contract, Grant, Invoice, Programme, Reading, Redemption
from marketplace.metering import gpu_meter
from tests.billing import programmes_world, world

ACCOUNTS = 90
Mode, Vat = Programme.Mode, Programme.VatTreatment


def tariffs(chance):
    """Eight tariffs: every kind of charge, tax outside and inside of prices, two rates of it."""
    made = []
    for number in range(8):
        charges = [
            world.energy(f"{chance.randrange(100, 900) / 100:.2f}", code="EN"),
            {"kind": "standing", "code": "SC", "amount": f"{chance.randrange(1, 50)}.33", "per": "day"},
        ]
        if number % 2:
            charges.append({"kind": "rider", "code": "RD", "basis": "percent", "of": ["EN"], "value": "7.5"})
        if number % 3 == 0:
            charges.append({"kind": "minimum", "code": "MIN", "amount": "900.00", "counts": ["EN", "SC"]})
        tax = {"category": "S", "rate": ("0.06", "0.13")[number % 2], "price_includes_tax": number >= 6}
        made.append(world.publish(*charges, code=f"T{number}", tax=tax).tariff)
    return made


def programmes_of(issuer, chance):
    """Eight programmes of every mode and VAT treatment, with groups, caps and budgets that run out on the way."""
    made = []
    for number in range(8):
        by_unit = number == 5
        made.append(
            programmes_world.programme(
                issuer,
                f"p{number}",
                budget_minor=chance.randrange(500_000, 3_000_000),
                mode=Mode.REIMBURSEMENT if number == 3 else Mode.VOUCHER,
                percent=None if by_unit else Decimal(chance.randrange(500, 6_000)) / 100,
                unit_amount=Decimal("0.37") if by_unit else None,
                unit="gpu_hour" if by_unit else "",
                kinds=[[], ["energy"], ["energy", "standing"]][number % 3],
                cap_firm_month_minor=chance.choice([None, 20_000, 55_555]),
                cap_firm_year_minor=chance.choice([None, 70_001]),
                cap_invoice_minor=chance.choice([None, 33_333]),
                stacking_group=("", "city", "district")[number % 3],
                priority=number % 4,
                vat_treatment=list(Vat)[number % 3],
                funder=programmes_world.funder(40 + number),
            )
        )
    return made


def build(issuer, chance):
    """90 firms with eight contracts each, under eight tariffs, and two to four grants each, some of them committed for."""
    every_tariff, every_programme = tariffs(chance), programmes_of(issuer, chance)
    provider, meter, readings = world.provider(), gpu_meter(), []
    for number in range(ACCOUNTS):
        account = world.account(issuer, f"A{number:03d}", 1_000 + number)
        facts = {"account": account, "provider": provider, "fee_percent": 10, "start_at": world.MAY, "actor": "test"}
        signed = [
            Contract(number=f"C-{account.code}-{place}", tariff=tariff, **facts)
            for place, tariff in enumerate(every_tariff)
        ]
        for contract in Contract.objects.bulk_create(signed):
            for place in range(chance.randrange(0, 12)):
                start_at, quantity = world.MAY + place * world.INTERVAL, chance.randrange(1, 5_000)
                readings.append(Reading(contract=contract, meter=meter, start_at=start_at, quantity=quantity))
        for programme in chance.sample(every_programme, 2 + number % 3):
            grant = programmes_world.grant(programme, account)
            if chance.random() < 0.3:
                commitments.commit(
                    grant=grant,
                    account=account,
                    source="r",
                    wanted={"2020-05": chance.randrange(1, 9_999)},
                    expires_at=world.JULY,
                    at=world.MAY,
                    actor="test",
                )
    Reading.objects.bulk_create(readings)


def told(charges):
    """What of charges must be the same: lines, taxes, and each programme's part of each line."""
    shares = [(each.offered.offer.code, each.share) for each in charges.funding]
    return [(each.line, each.amount_minor) for each in charges.lines], charges.taxes, shares


@pytest.mark.parametrize("seed", [1])
def test_preview_draft_invoice_and_re_rating_are_the_same_to_the_minor_unit(db, seed):
    issuer = world.issuer()
    build(issuer, random.Random(seed))
    period, rated, limits, stacked = world.may(issuer), 0, set(), 0
    for account in issuer.accounts.order_by("code"):
        preview = charging.charges(account=account, period=period)
        draft = invoicing.draft(account=account, period=period, at=world.JUNE, actor="test")
        drafted = list(draft.lines.values_list("position", "amount_minor", "subsidy_minor"))
        invoice = invoicing.issue(account=account, period=period, at=world.JUNE, actor="test")
        again = charging.charges(account=account, period=period)
        assert told(preview) == told(again)
        for field in ("net_minor", "tax_minor", "gross_minor", "subsidy_minor", "payable_minor"):
            assert len({getattr(each, field) for each in (preview, draft, invoice, again)}) == 1
        subsidies = funding.offsets(again.funding, len(again.lines))
        lines = [
            (p, line.amount_minor, part) for p, (line, part) in enumerate(zip(again.lines, subsidies, strict=True), 1)
        ]
        assert lines == drafted == list(invoice.lines.values_list("position", "amount_minor", "subsidy_minor"))
        content = json.loads(invoice.snapshot)
        assert content.get("payable_minor", content["gross_minor"]) == invoice.payable_minor
        rated += len({line.supply.contract for line in again.lines}) * len(again.funding)
        limits |= {each.share.limited_by for each in again.funding}
        stacked += sum(bool(each.share.share_minor) for each in again.funding) > 1
    assert rated >= 2_000  # of contract, tariff and programme
    assert limits == {"", "invoice_cap", "firm_cap", "budget", "stacking"}
    assert stacked >= 20
    assert Invoice.objects.filter(subsidy_minor__gt=0).count() >= 50
    assert Redemption.objects.count() >= 500
    assert Grant.objects.count() >= 200
    programmes_world.check_ties()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
