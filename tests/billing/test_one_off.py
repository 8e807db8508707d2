"""One-off charges: fees and credits that are lines of the invoice of their period."""

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal

import openpyxl
import pytest

from billing import charging, contracts, invoicing, ledger, one_off, tariffs
from billing.documents.content import content
from billing.documents.invoice import render_invoice
from billing.exports import invoices as exports
from billing.models import Invoice, LedgerAccount, OneOffCharge
from tests.billing import world
from tests.billing.bookings import BOOKED, book
from tests.billing.test_charging import told

pytestmark = pytest.mark.django_db

STANDING = {"kind": "standing", "code": "SC", "amount": "24.00", "per": "day"}
AT = world.MAY + timedelta(days=3)


@pytest.fixture
def issuer():
    return world.issuer()


@pytest.fixture
def account(issuer):
    return world.account(issuer, "B")


@pytest.fixture
def version():
    return world.publish(STANDING)


@pytest.fixture
def contract(account, version):
    """Of a reservation of 1 May, 24 hours: 24.00 for its day."""
    return book(account, version, 0, 24)


@pytest.fixture
def cancelled(account, version):
    """A contract whose only booking, of 5 May, was taken back."""
    made = book(account, version, 96, 120)
    contracts.withdraw(contract=made, source="96-120", at=BOOKED, actor="test")
    made.refresh_from_db()
    return made


def charge(contract, amount_minor=1_500, **changes):
    facts = {"code": "CANCEL", "at": AT, "why": {"why": "cancelled 2 days before"}, "source": "s", "actor": "test"}
    facts |= {"kind": "fee" if amount_minor > 0 else "credit", "now": AT} | changes
    return one_off.charge(contract=contract, amount_minor=amount_minor, **facts)


def charges(account):
    return charging.charges(account=account, period=world.may(account.issuer))


def issue(account):
    period = world.may(account.issuer)
    return invoicing.issue(account=account, period=period, at=world.JUNE, actor="test")


# What is charged


def test_a_charge_is_a_line_after_its_contracts_other_lines_taxed_as_the_tariff_says(account, contract):
    later = book(account, contract.tariff_version, 48, 72)
    made = charge(contract)
    assert (made.tax_category, made.tax_rate, made.at) == ("S", Decimal("0.06"), AT)
    found = charges(account)
    assert told(found) == [
        ("R-B-1", "SC", 1, 1, 2_400),
        ("R-B-1", "CANCEL", 1, 1, 1_500),
        (later.number, "SC", 1, 1, 2_400),
    ]
    line = found.lines[1].line
    assert (line.kind, line.unit, line.base_unit, line.quantity_base) == ("one_off", "item", "item", 1)
    assert (line.unit_price, line.tax_rate, line.tier, line.tou_period) == (
        Decimal("15.00"),
        Decimal("0.06"),
        None,
        None,
    )
    assert (line.start, line.end) == (world.MAY, world.JUNE)
    assert line.explanation == {"why": "cancelled 2 days before", "at": "2020-05-04T00:00:00+08:00", "amount": "15"}
    assert (found.net_minor, found.tax_minor) == (6_300, 378)


def test_a_credit_reduces_the_net_and_its_tax(account, contract):
    charge(contract, -400, code="SERVICE")
    assert (charges(account).net_minor, charges(account).tax_minor) == (2_000, 120)


def test_a_percentage_of_an_amount_is_told_as_one(account, contract):
    charge(contract, 617, why={"of_amount": "24.69", "value": "25", "hours_before": 40})
    line = charges(account).lines[1].line
    assert (line.unit_price, str(line.amount)) == (None, "2469/400")
    assert line.explanation["amount"] == "2469/400"


def test_a_charge_is_billed_in_its_own_period_alone(issuer, account, contract):
    charge(contract, at=world.JUNE)
    charge(contract, at=world.JUNE - timedelta(seconds=1), source="other", code="LAST")
    assert [each.line.charge for each in charges(account).lines] == ["SC", "LAST"]
    june = invoicing.open_period(issuer=issuer, code="2020-06")
    assert [each.line.charge for each in charging.charges(account=account, period=june).lines] == ["CANCEL"]


def test_a_signed_contracts_charge_has_the_version_of_its_time(account):
    first = world.publish(STANDING)
    world.publish(
        STANDING, effective=["2020-05-16", None], tax={"category": "S", "rate": "0.09", "price_includes_tax": True}
    )
    signed = world.contract(account, first.tariff)
    for day in (1, 20):
        charge(signed, at=world.MAY + timedelta(days=day), source=str(day))
    found = [each for each in charges(account).lines if each.line.kind == "one_off"]
    assert [(each.tariff_version, each.line.tax_rate, each.amount_minor) for each in found] == [
        (1, Decimal("0.06"), 1_500),
        (2, Decimal("0.09"), 1_500),
    ]


def test_one_query_more_reads_the_charges_of_all_accounts(issuer, version, django_assert_num_queries):
    accounts = [world.account(issuer, f"B{number}", 100 + number) for number in range(3)]
    for account in accounts:
        made = book(account, version, 0, 24)
        charge(made)
        charge(made, source="more")
    period = world.may(issuer)
    for some in (accounts[:1], accounts):
        with django_assert_num_queries(5):
            charging.charges_of(accounts=some, period=period)


# Once, and not in what is invoiced


def test_a_charge_told_again_is_the_one_that_is_there(contract):
    made = charge(contract)
    assert charge(contract, at=world.JUNE) == made
    with pytest.raises(one_off.OneOffDiffersError, match="amount_minor is 1500, not 1600"):
        charge(contract, 1_600)
    assert OneOffCharge.objects.count() == 1


def test_nothing_is_charged_in_an_invoiced_or_closed_period(issuer, account, contract):
    other = book(world.account(issuer, "C", 101), contract.tariff_version, 800, 824)
    issue(account)
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is invoiced for account B"):
        charge(contract)
    world.close(world.may(issuer))
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is closed for account C"):
        charge(other)
    assert charge(contract, at=world.JUNE).at == world.JUNE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "gift"}, "kind is 'gift': expected one of fee, credit"),
        ({"kind": "credit"}, "amount_minor is 1500: expected less than 0 for a credit"),
        ({"amount_minor": 0, "kind": "fee"}, "amount_minor is 0: expected more than 0 for a fee"),
        ({"amount_minor": 2**63}, "within 64 bits"),
        ({"code": ""}, "code is '': expected 1 to 40 characters"),
        ({"source": " s"}, "source is ' s': expected 1 to 120 characters without spaces around them"),
        ({"why": {"amount": "5"}}, r"why.amount is '5': expected another key, since a rated line says it"),
        ({"why": {"hours": 1.5}}, r"why.hours is 1.5: expected a text or a whole number"),
        ({"why": {"of_amount": "much"}}, r"why.of_amount is 'much': expected a decimal"),
    ],
)
def test_a_malformed_charge_is_refused(contract, changes, message):
    with pytest.raises(one_off.InvalidOneOffError, match=message):
        charge(contract, **changes)
    assert not OneOffCharge.objects.exists()


def test_a_charge_before_any_version_of_a_signed_contract_is_refused(account, version):
    signed = world.contract(account, version.tariff)
    with pytest.raises(one_off.NoVersionError, match="contract C-B: no version of tariff T applies at 2020-04-20"):
        charge(signed, at=world.MAY - timedelta(days=10, hours=16))


# Invoices


def test_a_withdrawn_contracts_fee_is_invoiced_when_the_period_is_closed(issuer, account, cancelled):
    charge(cancelled)
    closed = world.close(world.may(issuer))
    assert (closed.issued, closed.period.state) == (("LG-2020-000001",), "closed")
    invoice = Invoice.objects.get()
    assert list(invoice.lines.values_list("contract__number", "kind", "charge", "amount_minor")) == [
        ("R-B-1", "one_off", "CANCEL", 1_500)
    ]
    assert invoice.net_minor == 1_500


def test_a_fee_alone_makes_a_period_that_can_be_closed(issuer, cancelled):
    charge(cancelled)
    period = invoicing.period_to_close(issuer=issuer, code="2020-05", at=world.JUNE)
    assert world.close(period).issued == ("LG-2020-000001",)


def balances():
    rows = LedgerAccount.objects.order_by("name")
    return {row.name: ledger.balance(ledger_account=row) for row in rows}


def test_the_provider_gets_a_fee_less_the_platforms_part_as_of_other_lines(account, cancelled):
    charge(cancelled)
    issue(account)
    assert balances() == {
        "compute_revenue": -1_500,
        "cost_of_compute": 1_350,
        "provider_payable": -1_431,
        "receivable": 1_590,
        "vat_input": 81,
        "vat_output": -90,
    }


def test_credits_above_the_charges_make_an_invoice_of_what_we_owe_the_buyer(account, contract):
    charge(contract, -5_000, code="SERVICE")
    invoice = issue(account)
    assert (invoice.net_minor, invoice.tax_minor, invoice.gross_minor) == (-2_600, -156, -2_756)
    assert balances() == {
        "compute_revenue": 2_600,
        "cost_of_compute": -2_340,
        "provider_payable": 2_480,
        "receivable": -2_756,
        "vat_input": -140,
        "vat_output": 156,
    }
    said = content(snapshot=json.loads(invoice.snapshot), language="zh-hans")
    assert (said["due"]["label"], said["due"]["by"]) == ("应退金额（含税，CNY）", "")
    for language in ("zh-hans", "en"):
        assert render_invoice(snapshot=invoice.snapshot, language=language).startswith(b"%PDF")


def test_a_month_of_credits_and_charges_that_come_to_nothing_is_invoiced_too(account, contract):
    charge(contract, -2_400, code="SERVICE")
    invoice = issue(account)
    assert (invoice.state, invoice.net_minor, invoice.gross_minor) == ("issued", 0, 0)
    assert balances() == {}


def test_preview_draft_issued_and_snapshot_say_the_same(account, contract):
    charge(contract)
    charge(contract, -300, code="SERVICE", source="credit")
    preview = charges(account)
    period = world.may(account.issuer)
    draft = invoicing.draft(account=account, period=period, at=world.JUNE, actor="test")
    drafted = list(draft.lines.values_list("charge", "amount_minor", "unit_price"))
    invoice = issue(account)
    lines = json.loads(invoice.snapshot)["lines"]
    assert [(each.line.charge, each.amount_minor, each.line.unit_price) for each in preview.lines] == drafted
    assert [(line["charge"], line["amount_minor"], Decimal(line["unit_price"])) for line in lines] == drafted
    assert drafted[1:] == [("CANCEL", 1_500, Decimal("15.00")), ("SERVICE", -300, Decimal("-3.00"))]
    assert lines[1] == {
        "position": 2,
        "contract": "R-B-1",
        "tariff": "T",
        "tariff_version": 1,
        "provider": "供应商2",
        "charge": "CANCEL",
        "kind": "one_off",
        "tou_period": None,
        "tier": None,
        "start": "2020-05-01T00:00:00+08:00",
        "end": "2020-06-01T00:00:00+08:00",
        "quantity": "1.000000",
        "unit": "item",
        "quantity_base": 1,
        "base_unit": "item",
        "unit_price": "15.00",
        "amount_minor": 1_500,
        "tax_category": "S",
        "tax_rate": "0.06",
        "explanation": {"amount": "15", "at": "2020-05-04T00:00:00+08:00", "why": "cancelled 2 days before"},
    }


@pytest.mark.parametrize(
    ("language", "items", "formula"),
    [
        ("zh-hans", ["取消费", "服务补偿", "一次性费用"], "1 项 × -3.00 = -3.00"),
        ("en", ["Cancellation fee", "Service credit", "One-off charge"], "1 item × -3.00 = -3.00"),
    ],
)
def test_documents_name_and_explain_them(account, contract, language, items, formula):
    charge(contract, 617, why={"of_amount": "24.69", "value": "25"})
    charge(contract, -300, code="SERVICE", source="credit", why={"why": "outage"})
    charge(contract, 100, code="SETUP", source="setup")
    said = content(snapshot=json.loads(issue(account).snapshot), language=language)
    (group,) = said["lines"]["groups"]
    assert [row["item"] for row in group["rows"][1:]] == items
    explained = said["explained"]["items"][1:]
    assert explained[0]["formula"] == "24.69 × 25% = 6.1725 → 6.17"
    assert explained[1]["formula"] == formula
    assert "outage" in explained[1]["facts"]
    kinds = {row["label"]: row["amount"] for row in said["kinds"]["rows"]}
    assert kinds[items[2]] == "4.17"


def exported(account, kind):
    output = io.BytesIO()
    exports.write(invoices=[issue(account).snapshot], format=kind, output=output)
    return output


def test_csv_xlsx_and_json_have_them_as_lines(account, contract):
    charge(contract)
    rows = list(csv.DictReader(io.StringIO(exported(account, "csv").getvalue().decode("utf-8-sig"))))
    assert [(row["charge"], row["kind"], row["unit"], row["amount"]) for row in rows] == [
        ("SC", "standing", "day", "24.00"),
        ("CANCEL", "one_off", "item", "15.00"),
    ]
    header, _, row = openpyxl.load_workbook(exported(account, "xlsx"))["lines"].values
    line = dict(zip(header, row, strict=True))
    assert (line["charge"], line["kind"], line["quantity"], line["amount"]) == ("CANCEL", "one_off", 1, 15)
    (invoice,) = json.loads(exported(account, "json").getvalue())
    assert (invoice["lines"][1]["charge"], invoice["lines"][1]["amount_minor"]) == ("CANCEL", 1_500)


def test_a_charge_that_comes_between_rating_and_issuing_is_on_the_invoice(issuer, account, contract):
    period = world.may(issuer)
    ready = invoicing._ready(account, period, world.JUNE)
    charge(contract)
    invoicing._issue(ready, period, invoicing._book([ready], period), world.JUNE, "test")
    assert Invoice.objects.get().net_minor == 3_900


def test_a_charge_of_a_tariff_that_was_published_by_its_provider_goes_to_it(account):
    owner = world.party(7, "供应商七")
    world.publish(STANDING)
    version = tariffs.publish(document=world.document(STANDING, code="OWN"), at=world.MAY, actor="test", owner=owner)
    charge(book(account, version, 0, 24, provider=owner))
    assert {each.supply.provider for each in charges(account).lines} == {"供应商七"}
