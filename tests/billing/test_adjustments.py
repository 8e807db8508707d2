"""Corrections of issued invoices by hand, with the arithmetic: late use, retractions, amendments, and what ties after."""

import json

import pytest

from billing import adjustments
from billing.models import Adjustment, Invoice, Journal
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, amounts, check, correct, find, issue, retract, send, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer():
    return world.issuer()


def buyer(issuer, *charges, code="B00", number=100):
    """An account with a contract on a tariff of these charges: 8.00 a GPU-hour unless told otherwise; fee 10 %, VAT 6 %."""
    account = world.account(issuer, code, number)
    return world.contract(account, world.publish(*charges).tariff)


def test_late_use_is_a_debit_note_that_keeps_its_month(issuer):
    # 10 h × 8.00 = 80.00 issued; 3 h later: 24.00, VAT 1.44. Fee 10 %: cost 21.60, VAT on it 1.296, half up 1.30; but the
    # whole is 13 h = 104.00, cost 93.60, VAT 5.616 → 5.62, of which 4.32 were posted: 1.30.
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=3)
    note = correct(invoice)
    assert (note.kind, note.number, note.period.code, note.corrects) == (
        "debit_note",
        "LG-DN-2020-000001",
        "2020-06",
        invoice,
    )
    assert told(note) == [("EN", "all", None, "3", 2_400)]
    assert amounts(note) == (2_400, 144, 2_544, 0, 2_544)
    line = note.lines.get()
    assert (line.start_at, line.end_at) == (world.MAY, world.JUNE)
    assert line.explanation["correction"] == {
        "of": "LG-2020-000001",
        "ordinal": 0,
        "quantity_before": "10.000000",
        "quantity_after": "13.000000",
        "amount_before_minor": 8_000,
        "amount_after_minor": 10_400,
        "cause": "usage",
        "events_recorded": 1,
        "events_corrected": 0,
    }
    journal = Journal.objects.get(key="correction:LG-2020-000001:1")
    assert (journal.period.code, journal.effective_date.isoformat()) == ("2020-06", "2020-06-01")
    assert sorted(journal.postings.values_list("ledger_account__name", "amount_minor")) == [
        ("compute_revenue", -2_400),
        ("cost_of_compute", 2_160),
        ("provider_payable", -2_290),
        ("receivable", 2_544),
        ("vat_input", 130),
        ("vat_output", -144),
    ]
    content = json.loads(note.snapshot)
    assert content["corrects"]["number"] == "LG-2020-000001"
    assert (content["billing_period"]["code"], content["posted_in"]) == ("2020-05", "2020-06")
    assert find(invoice) is None
    check(invoice)


def test_a_retraction_is_a_credit_note_and_the_invoice_stays(issuer):
    # 10 h and 5 h: 120.00 + 7.20. The 5 h are retracted: −40.00, VAT 80.00 × 6 % − 7.20 = −2.40.
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    before = Invoice.objects.filter(pk=invoice.pk).values().get()
    retract(contract, "b")
    note = correct(invoice)
    assert (note.kind, note.number) == ("credit_note", "LG-CN-2020-000001")
    assert told(note) == [("EN", "all", None, "-5", -4_000)]
    assert amounts(note) == (-4_000, -240, -4_240, 0, -4_240)
    assert note.due_date == world.first_of_june()
    assert Invoice.objects.filter(pk=invoice.pk).values().get() == before
    assert note.lines.get().explanation["correction"]["events_corrected"] == 1
    check(invoice)


def test_all_that_was_used_is_retracted(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    retract(contract, "a")
    assert amounts(correct(invoice)) == (-8_000, -480, -8_480, 0, -8_480)
    check(invoice)
    assert programmes_world.balances(contract.account)["receivable"] == 0


def test_tax_and_fee_of_notes_sum_to_those_of_one_invoice(issuer):
    # 1 h at 0.07 is 0.07: VAT 0.0042 → 0.00. Each of five later hours adds 0.07, VAT by itself 0.00; of 0.42 it is 0.0252,
    # 0.03. The VAT of 0.07, 0.14, 0.21, 0.28, 0.35, 0.42 is 0.00, 0.01, 0.01, 0.02, 0.02, 0.03.
    contract = buyer(issuer, world.energy("0.07"))
    send(contract, "0", world.MAY, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    taxes = [invoice.tax_minor]
    for number in range(1, 6):
        send(contract, str(number), world.MAY + 24 * number * HOUR, at=AFTER + number * HOUR)
        note = correct(invoice, at=AFTER + number * HOUR)
        assert (note.place, note.net_minor) == (number, 7)
        taxes.append(note.tax_minor)
        check(invoice)
    assert taxes == [0, 1, 0, 1, 0, 1]
    assert list(Invoice.objects.exclude(kind="invoice").order_by("place").values_list("number", flat=True)) == [
        f"LG-DN-2020-{number:06d}" for number in range(1, 6)
    ]


def test_what_was_added_is_taken_back_by_the_next_note(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=3)
    assert correct(invoice).net_minor == 2_400
    retract(contract, "b", at=AFTER + HOUR)
    note = correct(invoice, at=AFTER + HOUR)
    assert (note.number, note.place, note.net_minor, note.tax_minor) == ("LG-CN-2020-000001", 2, -2_400, -144)
    check(invoice)


TOU = {
    "periods": ["peak", "valley"],
    "schedule": {"weekday": [["valley"] * 8 + ["peak"] * 16], "weekend": [["valley"] * 8 + ["peak"] * 16]},
}


def test_an_amendment_moves_use_between_times_of_use_and_tiers(issuer):
    # Peak 08–24 at 10.00 up to 5 h, 6.00 above; valley at 2.00. Issued: 8 h at peak: 5 × 10.00 + 3 × 6.00. Amended to 4 h
    # at valley and none at peak: 4 × 2.00. Net 8.00 − 68.00 = −60.00, VAT 0.48 − 4.08 = −3.60.
    prices = {
        "peak": [{"up_to": "5", "price": "10.00"}, {"price": "6.00"}],
        "valley": [{"price": "2.00"}],
    }
    account = world.account(issuer, "B00")
    tariff = world.publish(world.energy(prices=prices, tier_scope="per_period"), **TOU).tariff
    contract = world.contract(account, tariff)
    send(contract, "a", world.MAY + 8 * HOUR, hours=8, at=world.JUNE - HOUR)
    invoice = issue(account)
    assert told(invoice) == [("EN", "peak", 1, "5", 5_000), ("EN", "peak", 2, "3", 1_800)]
    send(contract, "b", world.MAY, hours=4, amends="a")
    note = correct(invoice)
    assert told(note) == [
        ("EN", "valley", None, "4", 800),
        ("EN", "peak", 1, "-5", -5_000),
        ("EN", "peak", 2, "-3", -1_800),
    ]
    assert amounts(note) == (-6_000, -360, -6_360, 0, -6_360)
    check(invoice)


def test_use_that_ended_as_the_month_began_is_none_of_its_later_events(issuer):
    april = world.MAY - HOUR
    contract = world.contract(world.account(issuer, "B00"), world.publish().tariff, start_at=april)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    send(contract, "before", april, at=AFTER)
    invoice = issue(contract.account)
    send(contract, "ends as May begins", april, gpus=2, at=AFTER)
    send(contract, "reaches into May", april, hours=2, at=AFTER)
    retract(contract, "before")
    found = find(invoice)
    assert (found.net_minor, found.events_recorded, found.events_corrected) == (800, 1, 0)


def test_under_a_minimum_a_correction_changes_nothing_in_money(issuer):
    # Minimum 500.00: 10 h are 80.00 and 420.00 on top; with 5 h more 120.00 and 380.00.
    minimum = {"kind": "minimum", "code": "MIN", "amount": "500.00", "counts": ["EN"]}
    contract = buyer(issuer, world.energy(), minimum)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    note = correct(invoice)
    assert told(note) == [("EN", "all", None, "5", 4_000), ("MIN", None, None, "0", -4_000)]
    assert (note.kind, *amounts(note)) == ("credit_note", 0, 0, 0, 0, 0)
    assert not Journal.objects.filter(key__startswith="correction").exists()
    check(invoice)


def test_a_late_peak_corrects_the_next_months_ratchet_too(issuer):
    # Demand 30.00 a GPU, at least half of the greatest peak of the last 11 months. May: 2 GPUs, 60.00; June: 1 GPU, and half
    # of 2 is 1: 30.00. Then 8 GPUs in May come: May 240.00 (+180.00); June half of 8, 4 GPUs: 120.00 (+90.00).
    demand = {
        "kind": "demand",
        "code": "DM",
        "meter": "gpu_hours",
        "prices": {"all": [{"price": "30.00"}]},
        "ratchet": {"percent": "50", "lookback_months": 11},
    }
    contract = buyer(issuer, demand)
    send(contract, "a", world.MAY, gpus=2, at=world.JUNE - HOUR)
    send(contract, "b", world.JUNE, gpus=1, at=world.JULY - HOUR)
    may = issue(contract.account)
    june = issue(contract.account, code="2020-06", at=world.JULY)
    assert (may.net_minor, june.net_minor) == (6_000, 3_000)
    send(contract, "c", world.MAY + 24 * HOUR, gpus=8, at=world.JULY + HOUR)
    assert adjustments.suspects(since=world.JULY) == [may.pk, june.pk]
    assert adjustments.suspects(since=world.JULY + HOUR) == []
    assert told(correct(may, at=world.JULY + 2 * HOUR)) == [("DM", None, None, "6", 18_000)]
    assert told(correct(june, at=world.JULY + 2 * HOUR)) == [("DM", None, None, "3", 9_000)]
    check(may)
    check(june)
    assert adjustments.suspects(since=world.JULY) == []
    looked = adjustments.find_all(invoices=adjustments.issued_of(period=may.period), at=world.JULY, actor="test")
    assert looked == adjustments.Looked((), ())


def test_a_proposal_is_made_once_grows_with_what_comes_and_goes_with_what_is_retracted(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    assert find(invoice) is None
    send(contract, "b", world.MAY + 24 * HOUR, hours=3)
    proposed = find(invoice)
    assert (proposed.state, proposed.net_minor, proposed.tax_minor) == ("proposed", 2_400, 144)
    assert find(invoice) == proposed
    send(contract, "c", world.MAY + 48 * HOUR, hours=1)
    with pytest.raises(adjustments.OutdatedAdjustmentError):
        adjustments.issue(adjustment=proposed, reason="seen", at=AFTER, actor="staff")
    assert find(invoice, at=AFTER + HOUR) == proposed
    proposed.refresh_from_db()
    assert (proposed.net_minor, proposed.events_recorded) == (3_200, 2)
    retract(contract, "b")
    retract(contract, "c")
    assert find(invoice) is None
    proposed.refresh_from_db()
    assert (proposed.state, proposed.reason) == ("dismissed", adjustments.GONE)


def test_what_was_dismissed_is_not_proposed_again_and_what_differs_more_is(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=3)
    proposed = find(invoice)
    with pytest.raises(adjustments.InvalidReasonError):
        adjustments.dismiss(adjustment=proposed, reason=" ", at=AFTER, actor="staff")
    for _ in range(2):
        adjustments.dismiss(adjustment=proposed, reason="a test run", at=AFTER, actor="staff")
    assert find(invoice) is None
    with pytest.raises(adjustments.AdjustmentDecidedError, match="is dismissed: expected one that is proposed"):
        adjustments.issue(adjustment=proposed, reason="after all", at=AFTER, actor="staff")
    send(contract, "c", world.MAY + 48 * HOUR, hours=1)
    again = find(invoice)
    assert (again.state, again.net_minor) == ("proposed", 3_200)
    assert Adjustment.objects.count() == 2


def test_an_issued_adjustment_told_again_gives_its_document_and_is_not_dismissed(issuer):
    contract = buyer(issuer)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY, hours=3)
    adjustment = find(invoice)
    note = adjustments.issue(adjustment=adjustment, reason="seen", at=AFTER, actor="staff")
    assert adjustments.issue(adjustment=adjustment, reason="again", at=AFTER + HOUR, actor="other") == note
    with pytest.raises(adjustments.AdjustmentDecidedError):
        adjustments.dismiss(adjustment=adjustment, reason="no", at=AFTER, actor="staff")
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.reason, adjustment.decided_by) == ("issued", "seen", "staff")
    assert Invoice.objects.filter(corrects=invoice).count() == 1


def test_only_an_issued_invoice_is_corrected(issuer):
    contract = buyer(issuer)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY, hours=3)
    with pytest.raises(adjustments.NotCorrectableError, match="expected an issued invoice"):
        find(correct(invoice))


def test_a_note_is_posted_in_the_first_open_period_and_does_not_count_as_its_months_invoice(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    send(contract, "j", world.JUNE, hours=2, at=world.JULY - HOUR)
    invoice = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=3)
    note = correct(invoice)
    june = issue(contract.account, code="2020-06", at=world.JULY)
    assert (note.period, june.period.code, june.net_minor, june.kind) == (june.period, "2020-06", 1_600, "invoice")
    world.close(june.period, at=world.JULY)
    send(contract, "c", world.MAY + 48 * HOUR, hours=1, at=world.JULY)
    assert correct(invoice, at=world.JULY).period.code == "2020-07"
    check(invoice)
    check(june)


def test_prices_that_include_tax(issuer):
    # 10 h × 1.07 = 10.70 with tax: net 10.70 / 1.06 = 10.094… → 10.09, tax 0.61. 13 h: 13.91: 13.1226… → 13.12, tax 0.79.
    account = world.account(issuer, "B00")
    tax = {"category": "S", "rate": "0.06", "price_includes_tax": True}
    contract = world.contract(account, world.publish(world.energy("1.07"), tax=tax).tariff)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    invoice = issue(account)
    assert amounts(invoice)[:3] == (1_009, 61, 1_070)
    send(contract, "b", world.MAY + 24 * HOUR, hours=3)
    assert amounts(correct(invoice))[:3] == (303, 18, 321)
    check(invoice)
