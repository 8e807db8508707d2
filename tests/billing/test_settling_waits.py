"""What is approved and waits: taken back, found in another way, left without a next invoice; what the database refuses."""

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from billing import adjustments, invoicing, numbers, periods
from billing.adjustments import AdjustmentDecidedError, InvalidReasonError, OutdatedAdjustmentError
from billing.integrity import constraint_name
from billing.models import Account, Adjustment, Invoice
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, check, find, issue, retract, send
from tests.billing.settling_world import CLOSED, approve, buyer, next_invoice, owed, section, settled

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer():
    return world.issuer()


def test_an_approval_is_taken_back_and_given_again(issuer):
    contract = buyer(issuer)
    account = contract.account
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    adjustment = approve(may)
    with pytest.raises(InvalidReasonError):
        adjustments.undo(adjustment=adjustment, reason=" ", at=AFTER, actor="staff")
    adjustments.undo(adjustment=adjustment, reason="too early", at=AFTER + HOUR, actor="staff 2")
    assert (adjustment.state, adjustment.decided_at, adjustment.decided_by, adjustment.reason) == (
        "proposed",
        None,
        "",
        "too early",
    )
    assert (adjustment.returned, adjustment.returned_at, adjustment.returned_by) == ("undone", AFTER + HOUR, "staff 2")
    adjustments.undo(adjustment=adjustment, reason="again", at=AFTER + HOUR, actor="staff 2")
    assert adjustment.reason == "too early"
    june = next_invoice(account)
    assert "corrections" not in json.loads(june.snapshot)
    assert approve(may, at=CLOSED).state == "approved"
    adjustment.refresh_from_db()
    assert (adjustment.returned, adjustment.returned_at, adjustment.returned_by) == ("", None, "")
    adjustments.dismiss(adjustment=adjustment, reason="left", at=CLOSED, actor="staff")
    with pytest.raises(AdjustmentDecidedError):
        adjustments.undo(adjustment=adjustment, reason="no", at=CLOSED, actor="staff")
    july = issue(account, code="2020-07", at=CLOSED + timedelta(days=31))
    assert "corrections" not in json.loads(july.snapshot)


def test_what_differs_in_another_way_is_proposed_again_and_the_invoice_goes_without_it(issuer):
    contract = buyer(issuer)
    account = contract.account
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    adjustment = approve(may)
    send(contract, "c", world.MAY + 48 * HOUR, hours=2, at=AFTER + HOUR)
    with pytest.raises(OutdatedAdjustmentError):
        adjustments.issue(adjustment=adjustment, reason="seen", at=AFTER + HOUR, actor="staff")
    june = next_invoice(account)
    assert "corrections" not in json.loads(june.snapshot)
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.returned, adjustment.returned_at, adjustment.returned_by) == (
        "proposed",
        "changed",
        CLOSED,
        "test",
    )
    assert (adjustment.net_minor, adjustment.decided_at, adjustment.reason) == (5_600, None, "seen")
    approve(may, at=CLOSED)
    july = issue(account, code="2020-07", at=CLOSED + timedelta(days=31))
    assert section(july)[:3] == (5_600, 336, 5_936)
    check(may)


def test_found_by_the_worker_in_another_way_it_is_proposed_again_and_gone_it_is_dismissed(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    adjustment = approve(may)
    send(contract, "c", world.MAY + 48 * HOUR, hours=2, at=AFTER + HOUR)
    found = find(may, at=AFTER + HOUR)
    assert (found.pk, found.state, found.returned, found.net_minor) == (adjustment.pk, "proposed", "changed", 5_600)
    approve(may, at=AFTER + HOUR)
    for event in ("b", "c"):
        retract(contract, event, at=AFTER + 2 * HOUR)
    assert find(may, at=AFTER + 2 * HOUR) is None
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.reason) == ("dismissed", adjustments.GONE)


def test_what_can_not_be_rated_any_more_does_not_keep_the_invoice(issuer, monkeypatch):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    adjustment = approve(may)

    def refused(**_):
        raise adjustments.charging.NotChargeableError("no")

    monkeypatch.setattr(adjustments, "difference", refused)
    assert "corrections" not in json.loads(next_invoice(contract.account).snapshot)
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.returned) == ("proposed", "not_rated")


def test_where_the_contract_ended_the_note_is_issued_by_itself_as_the_next_period_closes(issuer):
    contract = buyer(issuer, end_at=world.JUNE)
    other = world.contract(world.account(issuer, "B01", 101), contract.tariff)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may_period = invoicing.open_period(issuer=issuer, code="2020-05")
    assert invoicing.close_period(period=may_period, at=world.JUNE, actor="test").notes == ()
    may = Invoice.objects.get(account=contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    adjustment = approve(may)
    june_period = invoicing.open_period(issuer=issuer, code="2020-06")
    closed = invoicing.close_period(period=june_period, at=world.JULY, actor="test")
    assert (closed.notes, closed.period.state) == (("LG-DN-2020-000001",), "closed")
    adjustment.refresh_from_db()
    note = adjustment.document
    assert (note.settled_on, note.period, note.payable_minor) == (None, june_period, 4_240)
    assert (adjustment.decided_by, adjustment.reason) == ("staff", "seen")
    assert Invoice.objects.filter(account=other.account, kind="invoice").count() == 2
    assert invoicing.close_period(period=june_period, at=world.JULY, actor="test").notes == ()
    assert owed(contract.account) == 8_480 + 4_240
    check(may)


def test_a_month_in_which_nothing_runs_is_opened_for_what_waits(issuer):
    contract = buyer(issuer, end_at=world.JUNE)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(contract.account)
    with pytest.raises(invoicing.NothingToCloseError):
        invoicing.period_to_close(issuer=issuer, code="2020-06", at=world.JULY)
    periods.open_over(by_at=world.JULY)
    assert not issuer.billing_periods.filter(code="2020-06").exists()
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    approve(may)
    periods.open_over(by_at=world.JULY)
    june = issuer.billing_periods.get(code="2020-06")
    assert invoicing.period_to_close(issuer=issuer, code="2020-06", at=world.JULY) == june
    assert invoicing.close_period(period=june, at=world.JULY, actor="test").notes == ("LG-DN-2020-000001",)


def test_what_waits_for_a_later_invoice_is_left_by_one_of_an_earlier_month(issuer):
    # June is invoiced before May: its correction goes with no invoice of a month before.
    contract = buyer(issuer)
    account = contract.account
    send(contract, "a", world.JUNE, hours=10, at=world.JULY - HOUR)
    june = next_invoice(account)
    send(contract, "b", world.JUNE + 24 * HOUR, at=CLOSED)
    approve(june, at=CLOSED)
    assert "corrections" not in json.loads(issue(account, at=CLOSED + HOUR).snapshot)
    july = issue(account, code="2020-07", at=CLOSED + timedelta(days=31))
    assert section(july)[4] == 848


def test_an_approved_one_is_not_issued_by_itself_under_another_reason(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(contract.account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    adjustment = approve(may)
    note = adjustments.issue(adjustment=adjustment, reason="other", at=AFTER + HOUR, actor="somebody")
    adjustment.refresh_from_db()
    assert (adjustment.document, adjustment.reason, adjustment.decided_by) == (note, "seen", "staff")
    assert Adjustment.objects.count() == 1


def refused(change):
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        change()
    return constraint_name(caught.value)


def test_the_database_itself_refuses_what_may_not_be_settled(issuer):
    contract = buyer(issuer)
    account = contract.account
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    rows = Adjustment.objects.filter(pk=approve(may).pk)
    assert refused(lambda: rows.update(net_minor=1)) == "adjustment_issued_as_approved"
    assert refused(lambda: rows.update(reason="")) == "adjustment_decided_is_whole"
    assert refused(lambda: rows.update(returned="changed")) == "adjustment_returned_is_whole"
    assert refused(lambda: rows.update(state="issued")) == "adjustment_decided_is_whole"
    accounts = Account.objects.filter(pk=account.pk)
    assert refused(lambda: accounts.update(corrections_on="never")) == "account_corrections_known"
    assert refused(lambda: accounts.update(corrections_chosen_by="")) == "account_corrections_chosen_by_somebody"
    june = next_invoice(account)
    [note] = settled(june)
    assert refused(lambda: Invoice.objects.filter(pk=note.pk).update(settled_on=None)) == "invoice_issued_is_final"
    facts = {"account": account, "issuer": issuer, "period": june.period, "currency": "CNY"}
    amounts = {"net_minor": 0, "tax_minor": 0, "gross_minor": 0, "drafted_at": AFTER, "actor": "test"}
    new = {**facts, **amounts}
    july = invoicing.open_period(issuer=issuer, code="2020-07")
    assert (
        refused(lambda: Invoice.objects.create(settled_on=june, **new | {"period": july}))
        == "invoice_settled_is_a_note"
    )
    draft = Invoice.objects.create(kind="debit_note", corrects=may, place=2, **new)
    text = ('{"currency":"CNY","gross_minor":0,"net_minor":0,"number":"', '","tax_minor":0}')
    given = {"issuer": issuer, "due_date": world.first_of_june(), "at": AFTER, "actor": "test"}

    def number(row, series, said=text, **more):
        own = numbers.count(issuer=issuer, series=series)
        numbers.store(
            invoice_id=row.pk,
            number=own,
            whole=own.join(said),
            **{k: v for k, v in given.items() if k != "issuer"},
            **more,
        )

    settle = {"settled_on_id": june.pk}
    assert refused(lambda: number(draft, "DN-2020", **settle)) == "invoice_settled_on_one_issued_with_it"
    bearer = Invoice.objects.create(**new | {"period": july})
    said = (f'{{"corrections":{{"payable_minor":1}},{text[0][1:]}', text[1])
    assert refused(lambda: number(bearer, "2020", said)) == "invoice_settles_what_it_says"

    def unissued():
        note = Invoice.objects.create(kind="debit_note", corrects=may, place=3, **new | {"period": july})
        number(note, "DN-2020", settled_on_id=bearer.pk)
        programmes_world.check_ties()

    assert refused(unissued) == "invoice_settled_on_an_issued_one"
