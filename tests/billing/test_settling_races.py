"""Closes with corrections at once, beside staff, and cut short: both documents, or none."""

from decimal import Decimal

import pytest
from django.db import transaction

from billing import adjustments, invoicing, notes, numbers, parties, settling
from billing.models import (
    Account,
    Adjustment,
    Clawback,
    Invoice,
    InvoiceLine,
    Journal,
    NumberSeries,
    Posting,
    ProgrammeShare,
)
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, check, find, issue, retract, send

CLOSED = world.JULY + HOUR


def waiting(issuer, count):
    """Buyers with an approved correction each, late use and a retraction by turns, one programme's money among them."""
    programme = programmes_world.programme(issuer, percent=Decimal(20), budget_minor=100_000)
    tariff = world.publish().tariff
    found = []
    for number in range(count):
        account = world.account(issuer, f"B{number:02d}", 100 + number)
        parties.choose_corrections(account=account, on="next_invoice", at=AFTER, actor="buyer")
        contract = world.contract(account, tariff)
        programmes_world.grant(programme, account)
        for name in ("a", "b"):
            send(contract, f"{name} {number}", world.MAY, hours=10, at=world.JUNE - HOUR)
        may = issue(account)
        send(contract, f"june {number}", world.JUNE, hours=4, at=world.JULY - HOUR)
        if number % 2:
            retract(contract, f"b {number}")
        else:
            send(contract, f"c {number}", world.MAY + 24 * HOUR, hours=3)
        adjustments.approve(adjustment=find(may), reason="seen", at=AFTER, actor="staff")
        found.append(may)
    return found, invoicing.open_period(issuer=issuer, code="2020-06")


def outcome():
    """All that must come out the same, without ids."""
    documents = Invoice.objects.order_by("number").values_list(
        "number", "account__code", "settled_on__number", "sha256", "snapshot"
    )
    postings = Posting.objects.order_by("journal__key", "id").values_list(
        "journal__key", "journal__period__code", "ledger_account__name", "amount_minor"
    )
    rows = [model.objects.count() for model in (InvoiceLine, Journal, ProgrammeShare, Clawback)]
    series = list(NumberSeries.objects.order_by("series").values_list("series", "last_number"))
    decided = list(Adjustment.objects.order_by("pk").values_list("state", "document__number"))
    return list(documents), list(postings), rows, series, decided


def test_closed_by_three_at_once_each_account_has_its_invoice_and_its_note(fresh_database):
    issued, period = waiting(world.issuer(), 6)
    with transaction.atomic():
        invoicing.close_period(period=period, at=CLOSED, actor="test")
        expected = outcome()
        transaction.set_rollback(True)
    closed = fresh_database.at_once(
        *(lambda: invoicing.close_period(period=period, at=CLOSED, actor="test") for _ in range(3))
    )
    assert [each.period.state for each in closed] == ["closed"] * 3
    assert sorted(number for each in closed for number in each.issued) == [f"LG-2020-{n:06d}" for n in range(7, 13)]
    assert outcome()[2:] == expected[2:]
    assert sorted(Invoice.objects.exclude(settled_on=None).values_list("account__code", "payable_minor")) == sorted(
        (account, payable_minor)
        for account, payable_minor in [(f"B{number:02d}", -6_880 if number % 2 else 2_064) for number in range(6)]
    )
    before = outcome()
    invoicing.close_period(period=period, at=CLOSED, actor="test")
    assert outcome() == before
    for may in issued:
        check(may)


def test_closes_beside_staff_who_find_undo_and_issue_neither_wait_in_a_circle_nor_do_it_twice(fresh_database):
    issued, period = waiting(world.issuer(), 4)
    proposals = list(Adjustment.objects.order_by("pk"))
    calls = [lambda: invoicing.close_period(period=period, at=CLOSED, actor="test") for _ in range(2)]
    calls += [lambda may=may: adjustments.find(invoice=may, at=CLOSED, actor="worker") for may in issued]
    calls += [
        lambda: adjustments.undo(adjustment=proposals[0], reason="no", at=CLOSED, actor="staff"),
        lambda: adjustments.issue(adjustment=proposals[1], reason="now", at=CLOSED, actor="staff"),
        lambda: invoicing.preview(account=issued[2].account, period=period, at=CLOSED),
    ]
    found = fresh_database.at_once(*calls)
    errors = [each for each in found if isinstance(each, Exception)]
    assert all(isinstance(each, adjustments.AdjustmentDecidedError) for each in errors), errors
    assert Invoice.objects.filter(period=period, kind="invoice", state="issued").count() == 4
    assert Invoice.objects.filter(corrects=issued[1]).count() == 1
    for number, may in enumerate(issued):
        proposals[number].refresh_from_db()
        assert proposals[number].state in ("issued", "proposed")
        if proposals[number].state == "issued":
            check(may)
    assert not Invoice.objects.filter(state="draft").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("module", "name"), [(numbers, "store"), (notes, "number"), (settling, "content")])
def test_cut_short_anywhere_it_leaves_neither_and_the_next_run_makes_both(monkeypatch, module, name):
    issued, period = waiting(world.issuer(), 1)
    before = outcome()
    facts = {"account": issued[0].account, "period": period, "at": CLOSED, "actor": "test"}
    with monkeypatch.context() as patched:
        patched.setattr(module, name, lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            invoicing.issue(**facts)
    assert outcome() == before
    june = invoicing.issue(**facts)
    assert [note.number for note in june.settles.all()] == ["LG-DN-2020-000001"]
    after = outcome()
    assert invoicing.issue(**facts) == june
    assert outcome() == after
    check(issued[0])


@pytest.mark.django_db
def test_who_comes_second_to_an_account_leaves_what_was_approved_meanwhile(monkeypatch):
    """The invoice is issued, and its month closed, between the look for what waits and the transaction: nothing of the
    corrections stays.
    """
    issued, period = waiting(world.issuer(), 1)
    account, book = issued[0].account, invoicing._book

    def issued_meanwhile(*parts):
        made = book(*parts)
        monkeypatch.setattr(invoicing, "_book", book)
        adjustments.undo(adjustment=Adjustment.objects.get(), reason="wait", at=CLOSED, actor="staff")
        assert not invoicing.close_period(period=period, at=CLOSED, actor="first").refused
        adjustments.approve(adjustment=Adjustment.objects.get(), reason="seen", at=CLOSED, actor="staff")
        return made

    monkeypatch.setattr(invoicing, "_book", issued_meanwhile)
    june = invoicing.issue(account=account, period=period, at=CLOSED, actor="second")
    assert (june.settles.count(), Invoice.objects.exclude(corrects=None).count()) == (0, 0)
    assert Adjustment.objects.get().state == "approved"
    assert june.actor == "first"


def test_the_choice_of_an_account_waits_for_nobody_that_issues(fresh_database):
    issued, period = waiting(world.issuer(), 2)
    account = issued[0].account
    found = fresh_database.at_once(
        lambda: invoicing.close_period(period=period, at=CLOSED, actor="test"),
        lambda: parties.choose_corrections(account=account, on="note", at=CLOSED, actor="buyer"),
    )
    assert not [each for each in found if isinstance(each, Exception)]
    assert Account.objects.get(pk=account.pk).corrections_on == "note"
