"""The real month of GPU usage under LG-INCLUSIVE-2020: 16 invoices, each recomputed from the samples by other means."""

import csv
import gzip
import json
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from django.db.models import Sum

from billing import charging, contracts, drafts, invoicing, tariffs
from billing.models import Account, Invoice, Posting
from marketplace.metering import load_trace
from tests.billing import world

pytestmark = [pytest.mark.shared, pytest.mark.django_db]

TRACE = "data/helios-earth-2020-05.csv.gz"
TARIFF = Path(__file__).parents[2] / "marketplace" / "data" / "tariffs" / "LG-INCLUSIVE-2020.json"
PRICES = {"peak": ("5.40", "5.10", "4.80"), "flat": ("3.60", "3.40", "3.20"), "valley": ("1.80", "1.70", "1.60")}
PEAK, VALLEY = {8, 9, 10, 18, 19, 20}, {23, 0, 1, 2, 3, 4, 5, 6}


@pytest.fixture
def samples(shared):
    """GPUs reserved and held, minute by minute, for each tenant; the month begins at a minute divisible by 15."""
    found = defaultdict(list)
    with gzip.open(shared / TRACE, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            hour = int(row["time"][11:13])
            found[row["vc"]].append((hour, int(row["total_gpu_num"]), int(row["running_gpu_num"])))
    return found


def fen(yuan):
    return int((yuan * 100).quantize(Decimal(1), ROUND_HALF_UP))


def by_hand(minutes):
    """What the tariff's page says, in decimals and minutes: {(charge, period, tier): fen}. Nothing of billing is used."""
    used, seen = defaultdict(int), 0
    for hour, _, held in minutes:
        name = "peak" if hour in PEAK else "valley" if hour in VALLEY else "flat"
        for tier, edge in enumerate((5_000 * 60, 20_000 * 60, None)):
            if edge is None or seen < edge:
                part = held if edge is None else min(held, edge - seen)
                used[name, tier] += part
                seen, held = seen + part, held - part  # noqa: PLW2901  - what is left goes to the next tier
    lines = {
        ("EN", name, tier + 1): fen(
            used[name, tier] * Decimal(PRICES[name][tier]) / 60
        )  # multiplied first: half a fen stays exact
        for name, tier in used
        if used[name, tier]
    }
    quarters = [sum(held for _, _, held in minutes[first : first + 15]) for first in range(0, len(minutes), 15)]
    lines["DM", None, None] = fen(Decimal(max(quarters) * 30) / 15)
    lines["CP", None, None] = fen(sum(reserved for _, reserved, _ in minutes) * Decimal("2.10") / 60)
    lines["SC", None, None] = 31_000
    return lines


def test_sixteen_invoices_are_what_a_hand_calculation_from_the_samples_gives(shared, samples):
    issuer, provider = world.issuer(), world.provider()
    version = tariffs.publish(document=json.loads(TARIFF.read_text("utf-8")), at=world.MAY, actor="test")
    for number, tenant in enumerate(sorted(samples)):
        contract = world.contract(world.account(issuer, tenant, 100 + number), version.tariff, by=provider)
        contracts.reserve(contract=contract, quantity=samples[tenant][0][1], start_at=world.MAY, source="trace")
    load_trace(path=shared / TRACE, provider=provider, at=world.JUNE, writers=1)
    period = world.may(issuer)
    closed = world.close(period)
    assert closed.issued == tuple(f"LG-2020-{number:06d}" for number in range(1, 17))

    gpu_seconds = 0
    for invoice in Invoice.objects.select_related("account").order_by("number"):
        expected = by_hand(samples[invoice.account.code])
        content = json.loads(invoice.snapshot)
        told = {(each["charge"], each["tou_period"], each["tier"]): each["amount_minor"] for each in content["lines"]}
        assert told == expected, invoice.account.code
        net_minor = sum(expected.values())
        assert content["net_minor"] == net_minor
        assert content["tax_minor"] == fen(Decimal(net_minor) * 6 / 10_000)
        assert content["gross_minor"] == net_minor + content["tax_minor"]
        gpu_seconds += sum(each["quantity_base"] for each in content["lines"] if each["charge"] == "EN")
    assert gpu_seconds == 25_486_357 * 60

    numbered = zip(
        Account.objects.select_related("party", "issuer__party").order_by("code"), closed.issued, strict=True
    )
    for account, number in numbered:
        charges = charging.charges(account=account, period=period)
        again = drafts.make(account=account, period=period, charges=charges, at=world.JUNE)
        assert number.join(again.text) == Invoice.objects.get(number=number).snapshot
    assert Posting.objects.aggregate(sum=Sum("amount_minor"))["sum"] == 0
    gross_minor = Invoice.objects.aggregate(sum=Sum("gross_minor"))["sum"]
    assert (
        Posting.objects.filter(ledger_account__name="receivable").aggregate(sum=Sum("amount_minor"))["sum"]
        == gross_minor
    )
    assert invoicing.close_period(period=period, at=world.JUNE, actor="test").issued == ()
