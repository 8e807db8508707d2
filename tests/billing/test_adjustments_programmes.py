"""Programmes' shares when an invoice is corrected, by hand: clawed back, given anew, and never over budget or cap."""

from decimal import Decimal

import pytest

from billing import claims, programmes
from billing.exports import programmes as exports
from billing.models import Clawback, Journal, Programme, Redemption
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, amounts, check, correct, issue, retract, send, shares

pytestmark = pytest.mark.django_db
Mode, Vat = Programme.Mode, Programme.VatTreatment


@pytest.fixture
def issuer():
    return world.issuer()


def funded(issuer, *, hours=100, **terms):
    """100 h at 8.00, net 800.00, of which the programme pays 20 %, 160.00: the figures of docs/programmes.md."""
    account = world.account(issuer, "B00")
    contract = world.contract(account, world.publish().tariff)
    send(contract, "a", world.MAY, hours=20, gpus=hours // 20, at=world.JUNE - HOUR)
    programme = programmes_world.programme(issuer, **{"percent": Decimal(20)} | terms)
    programmes_world.grant(programme, account)
    return contract, programme


def left(programme, invoice):
    """Of budget redeemed, and what is still to pay of each redemption of invoice and notes."""
    rows = Redemption.objects.filter(share__programme=programme).order_by("pk")
    return programmes_world.counts(programme)[2], [each.amount_minor - each.clawed_back_minor for each in rows]


def test_a_credit_of_the_whole_gives_back_all(issuer):
    # Invoice: receivable 688.00, funder 160.00. All of it retracted: −800.00, VAT −48.00, share −160.00, payable −688.00.
    contract, programme = funded(issuer)
    invoice = issue(contract.account)
    assert amounts(invoice) == (80_000, 4_800, 84_800, 16_000, 68_800)
    retract(contract, "a")
    note = correct(invoice)
    assert amounts(note) == (-80_000, -4_800, -84_800, -16_000, -68_800)
    assert note.lines.get().subsidy_minor == -16_000
    balances = programmes_world.balances(contract.account)
    assert (balances["receivable"], balances["subsidy_receivable"], balances["provider_payable"]) == (0, 0, 0)
    assert left(programme, invoice) == (0, [0])
    clawback = Clawback.objects.get()
    assert clawback.source == "correction:LG-2020-000001:1/LG-2020-000001"
    assert Journal.objects.filter(key=f"clawback:{clawback.source}").exists()
    check(invoice)


def test_an_increase_is_paid_anew_by_the_month_of_use(issuer):
    # 5 h more: 40.00, 20 % of it 8.00; VAT on the full price 2.40; the buyer pays 34.40.
    contract, programme = funded(issuer)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 48 * HOUR, hours=5)
    note = correct(invoice)
    assert amounts(note) == (4_000, 240, 4_240, 800, 3_440)
    assert shares(note) == [("sme-30", "2020-05", 800, "")]
    assert left(programme, invoice) == (16_800, [16_000, 800])
    check(invoice)
    made = claims.claim(
        programme=programme, key="1", from_month="2020-05", until_month="2020-05", at=AFTER, actor="staff"
    )
    assert made.amount_minor == 16_800


def test_what_was_given_for_an_increase_goes_back_with_it_and_the_invoices_share_stays(issuer):
    contract, programme = funded(issuer)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 48 * HOUR, hours=5)
    correct(invoice)
    retract(contract, "b")
    note = correct(invoice, at=AFTER + HOUR)
    assert amounts(note) == (-4_000, -240, -4_240, -800, -3_440)
    assert left(programme, invoice) == (16_000, [16_000, 0])
    check(invoice)


def test_a_fall_below_what_was_issued_takes_the_increase_first_and_then_of_the_invoice(issuer):
    # 100 h, then 105 h, then 80 h: the 5 h give back 8.00, and 20 of 100 h 32.00 of 160.00.
    contract, programme = funded(issuer, hours=80)
    send(contract, "c", world.MAY + 48 * HOUR, hours=20, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 96 * HOUR, hours=5)
    correct(invoice)
    retract(contract, "b")
    retract(contract, "c")
    note = correct(invoice, at=AFTER + HOUR)
    assert (note.net_minor, note.subsidy_minor) == (-20_000, -4_000)
    assert left(programme, invoice) == (12_800, [12_800, 0])
    check(invoice)


def test_after_the_budget_is_exhausted_nothing_is_given_anew_and_the_note_says_why(issuer):
    # The budget of 160.00 is just what the invoice took.
    contract, programme = funded(issuer, budget_minor=16_000)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 48 * HOUR, hours=5)
    note = correct(invoice)
    assert amounts(note) == (4_000, 240, 4_240, 0, 4_240)
    assert shares(note) == [("sme-30", "2020-05", 0, "budget")]
    assert left(programme, invoice) == (16_000, [16_000])
    check(invoice)


@pytest.mark.parametrize(
    ("cap", "limit"),
    [("cap_invoice_minor", "invoice_cap"), ("cap_firm_month_minor", "firm_cap"), ("cap_firm_year_minor", "firm_cap")],
)
def test_caps_count_what_the_invoice_has(issuer, cap, limit):
    # The cap is 163.00, of which the invoice has 160.00: of 8.00 are left 3.00.
    contract, programme = funded(issuer, **{cap: 16_300})
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 48 * HOUR, hours=5)
    note = correct(invoice)
    assert shares(note) == [("sme-30", "2020-05", 300, limit)]
    assert (note.subsidy_minor, left(programme, invoice)[0]) == (300, 16_300)
    check(invoice)


def test_what_one_note_gives_back_the_same_note_may_take_for_what_gained(issuer):
    # A month of 100 h by day moves to the cheaper night: 800.00 less, 300.00 more. Budget 160.00: back go 160.00, and
    # 20 % of 300.00, 60.00, are given anew of it.
    account = world.account(issuer, "B00")
    hours = {"weekday": [["valley"] * 8 + ["peak"] * 16], "weekend": [["valley"] * 8 + ["peak"] * 16]}
    prices = {"peak": [{"price": "8.00"}], "valley": [{"price": "3.00"}]}
    tariff = world.publish(world.energy(prices=prices), periods=["peak", "valley"], schedule=hours).tariff
    contract = world.contract(account, tariff)
    programme = programmes_world.programme(issuer, percent=Decimal(20), budget_minor=16_000)
    programmes_world.grant(programme, account)
    send(contract, "a", world.MAY + 8 * HOUR, hours=10, gpus=10, at=world.JUNE - HOUR)
    invoice = issue(account)
    send(contract, "b", world.MAY, hours=5, gpus=20, amends="a")
    note = correct(invoice)
    assert amounts(note) == (-50_000, -3_000, -53_000, -10_000, -43_000)
    assert list(note.lines.order_by("position").values_list("tou_period", "subsidy_minor")) == [
        ("valley", 6_000),
        ("peak", -16_000),
    ]
    assert left(programme, invoice) == (6_000, [0, 6_000])
    check(invoice)


@pytest.mark.parametrize("treatment", [Vat.PRICE_REDUCTION, Vat.OUTSIDE_SCOPE])
def test_where_the_share_lessens_the_taxed_amount_its_note_is_of_the_buyers_part(issuer, treatment):
    # Invoice: VAT 6 % of 640.00, 38.40. 20 of 100 h less: −160.00, share −32.00, VAT 6 % of 512.00 less 38.40: −7.68.
    contract, _ = funded(issuer, hours=80, vat_treatment=treatment)
    send(contract, "c", world.MAY + 48 * HOUR, hours=20, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    assert amounts(invoice) == (80_000, 3_840, 83_840, 16_000, 67_840)
    retract(contract, "c")
    note = correct(invoice)
    assert amounts(note) == (-16_000, -768, -16_768, -3_200, -13_568)
    check(invoice)
    send(contract, "d", world.MAY + 48 * HOUR, hours=20, at=AFTER + HOUR)
    again = correct(invoice, at=AFTER + 2 * HOUR)
    assert amounts(again) == (16_000, 768, 16_768, 3_200, 13_568)
    assert programmes_world.balances(contract.account)["subsidy_income"] == -16_000
    check(invoice)


def test_a_reimbursement_is_counted_and_nothing_is_posted_of_it(issuer):
    contract, programme = funded(issuer, mode=Mode.REIMBURSEMENT)
    invoice = issue(contract.account)
    retract(contract, "a")
    note = correct(invoice)
    assert amounts(note) == (-80_000, -4_800, -84_800, 0, -84_800)
    assert left(programme, invoice) == (0, [0])
    assert not Journal.objects.filter(key__startswith="clawback").exists()
    check(invoice)


def test_a_paused_programme_gives_back_and_gives_nothing_anew(issuer):
    contract, programme = funded(issuer)
    invoice = issue(contract.account)
    programmes.pause(programme=programme, at=AFTER, actor="staff", reason="audit")
    send(contract, "b", world.MAY + 48 * HOUR, hours=5)
    assert shares(correct(invoice)) == [("sme-30", "2020-05", 0, "budget")]
    retract(contract, "a")
    retract(contract, "b")
    assert correct(invoice, at=AFTER + HOUR).subsidy_minor == -16_000
    assert left(programme, invoice) == (0, [0])
    check(invoice)


def test_of_a_group_only_the_one_that_pays_the_invoice_pays_its_corrections(issuer):
    # The first pays 10 % of the month up to its budget of 60.00 and has nothing left; the second of its group pays nothing.
    contract, _ = funded(issuer, percent=Decimal(10), stacking_group="city", priority=1, budget_minor=6_000)
    second = programmes_world.programme(
        issuer, "later", stacking_group="city", priority=2, funder=programmes_world.funder(51)
    )
    programmes_world.grant(second, contract.account)
    invoice = issue(contract.account)
    assert shares(invoice) == [("sme-30", "2020-05", 6_000, "budget"), ("later", "2020-05", 0, "stacking")]
    send(contract, "b", world.MAY + 48 * HOUR, hours=5)
    assert shares(correct(invoice)) == [("sme-30", "2020-05", 0, "budget")]
    assert programmes_world.counts(second)[2] == 0
    check(invoice)


def test_the_programmes_statement_has_each_invoice_with_what_corrected_it(issuer):
    # 100 h, then 80 h: net 640.00, 20 % of it 128.00, VAT 38.40; then 20 h again.
    contract, _ = funded(issuer, hours=80)
    send(contract, "c", world.MAY + 48 * HOUR, hours=20, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    rows = []
    for event, at in (("no c", AFTER), ("d", AFTER + HOUR)):
        if event == "d":
            send(contract, event, world.MAY + 72 * HOUR, hours=20, at=at)
        else:
            retract(contract, "c", at=at)
        correct(invoice, at=at)
        said = exports.statement(programme_code="sme-30", period_code="2020-05")
        [firm] = said["firms"]
        assert firm["payable_minor"] == firm["list_minor"] - firm["share_minor"] + firm["tax_minor"]
        assert firm["share_minor"] == said["redeemed_minor"]
        rows.append(tuple(firm.values()))
    assert rows == [("B00", 64_000, 12_800, 3_840, 55_040), ("B00", 80_000, 16_000, 4_800, 68_800)]
