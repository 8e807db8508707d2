"""Corrections at once, and cut short: one document, or nothing."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing import adjustments, disputes, numbers
from billing.integrity import constraint_name
from billing.models import Adjustment, Clawback, Invoice, InvoiceLine, Journal, NumberSeries, ProgrammeShare
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, check, find, issue, retract, send


def moved(issuer):
    """An invoice of 800.00 of which a programme pays 160.00, and a retraction and late use since: a proposal of both."""
    hours = {"weekday": [["valley"] * 8 + ["peak"] * 16], "weekend": [["valley"] * 8 + ["peak"] * 16]}
    prices = {"peak": [{"price": "8.00"}], "valley": [{"price": "3.00"}]}
    tariff = world.publish(world.energy(prices=prices), periods=["peak", "valley"], schedule=hours).tariff
    account = world.account(issuer, "B00")
    contract = world.contract(account, tariff)
    programme = programmes_world.programme(issuer, percent=Decimal(20), budget_minor=16_000)
    programmes_world.grant(programme, account)
    send(contract, "a", world.MAY + 8 * HOUR, hours=10, gpus=10, at=world.JUNE - HOUR)
    invoice = issue(account)
    retract(contract, "a")
    send(contract, "b", world.MAY, hours=5, gpus=20)
    return invoice, find(invoice), programme


def state():
    """All that a correction writes."""
    rows = (Invoice, InvoiceLine, Journal, ProgrammeShare, Clawback)
    series = list(NumberSeries.objects.order_by("series").values_list("series", "last_number"))
    return [model.objects.count() for model in rows], series, list(Adjustment.objects.values_list("state", flat=True))


def test_two_who_issue_one_adjustment_at_once_get_one_document(fresh_database):
    invoice, adjustment, programme = moved(world.issuer())
    facts = {"adjustment": adjustment, "reason": "seen", "at": AFTER, "actor": "staff"}
    made = fresh_database.at_once(*(lambda: adjustments.issue(**facts).pk for _ in range(4)))
    assert len(set(made)) == 1
    assert list(Invoice.objects.filter(corrects=invoice).values_list("pk", "number")) == [
        (made[0], "LG-CN-2020-000001")
    ]
    assert programmes_world.counts(programme)[2] == 6_000
    check(invoice)


def test_of_two_who_find_and_one_who_dismisses_at_once_there_is_one_proposal(fresh_database):
    invoice, adjustment, _ = moved(world.issuer())
    send(invoice.account.contracts.get(), "c", world.MAY + 48 * HOUR)
    fresh_database.at_once(*(lambda: find(invoice).pk for _ in range(4)))
    assert list(Adjustment.objects.values_list("pk", "state")) == [(adjustment.pk, "proposed")]


def test_two_who_uphold_one_dispute_at_once_credit_it_once(fresh_database):
    invoice, _, _ = moved(world.issuer())
    opened = disputes.open_(line=invoice.lines.get(), reason="ours", net_minor=100, at=AFTER, actor="buyer")
    facts = {"dispute": opened, "answer": "yes", "at": AFTER, "actor": "staff"}
    made = fresh_database.at_once(*(lambda: disputes.uphold(**facts).pk for _ in range(4)))
    assert len(set(made)) == 1
    assert list(invoice.corrections.values_list("pk", "net_minor")) == [(made[0], -100)]


@pytest.mark.django_db
def test_cut_short_before_its_number_it_leaves_nothing_and_is_made_whole_by_the_next(monkeypatch):
    invoice, adjustment, _ = moved(world.issuer())
    before = state()
    facts = {"adjustment": adjustment, "reason": "seen", "at": AFTER, "actor": "staff"}
    with monkeypatch.context() as patched:
        patched.setattr(numbers, "store", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            adjustments.issue(**facts)
    assert state() == before
    assert adjustments.issue(**facts).number == "LG-CN-2020-000001"
    check(invoice)


def refused(change):
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        change()
    return constraint_name(caught.value)


@pytest.mark.django_db
def test_the_database_itself_refuses_what_no_correction_may_be():
    invoice, adjustment, _ = moved(world.issuer())
    other = issue(
        world.contract(
            world.account(invoice.issuer, "B01", 101), adjustment.invoice.lines.get().contract.tariff
        ).account
    )
    rows, proposals = Invoice.objects.filter(pk=invoice.pk), Adjustment.objects.filter(pk=adjustment.pk)
    assert refused(lambda: rows.update(kind="credit_note")) == "invoice_issued_is_final"
    decided = {"decided_at": AFTER, "decided_by": "staff", "reason": "seen", "state": "issued"}
    assert refused(lambda: proposals.update(**decided)) == "adjustment_decided_is_whole"
    assert refused(lambda: proposals.update(document=other, **decided)) == "adjustment_document_corrects"
    assert refused(proposals.delete) == "adjustment_kept"
    facts = {"account": invoice.account, "issuer": invoice.issuer, "period": invoice.period, "currency": "CNY"}
    amounts = {"net_minor": 0, "tax_minor": 0, "gross_minor": 0, "drafted_at": AFTER, "actor": "test"}
    new = {**facts, **amounts}
    assert refused(lambda: Invoice.objects.create(kind="credit_note", **new)) == "invoice_correction_corrects"
    assert refused(lambda: Invoice.objects.create(corrects=invoice, place=1, **new)) == "invoice_correction_corrects"
    note = adjustments.issue(adjustment=adjustment, reason="seen", at=AFTER, actor="staff")
    again = {"corrects": invoice, "place": 1, "kind": "credit_note", **new}
    assert refused(lambda: Invoice.objects.create(**again)) == "invoice_correction_once"
    assert refused(lambda: proposals.update(reason="other")) == "adjustment_decided_once"
    assert refused(lambda: Invoice.objects.filter(pk=note.pk).update(net_minor=1)) == "invoice_issued_is_final"


@pytest.mark.django_db
def test_a_note_of_anothers_invoice_is_not_issued():
    invoice, _, _ = moved(world.issuer())
    other = world.account(invoice.issuer, "B01", 101)
    facts = {"account": other, "issuer": invoice.issuer, "period": invoice.period, "currency": "CNY"}
    amounts = {"net_minor": 0, "tax_minor": 0, "gross_minor": 0, "drafted_at": AFTER, "actor": "test"}
    note = Invoice.objects.create(corrects=invoice, place=1, kind="credit_note", **facts, **amounts)
    given = {"invoice_id": note.pk, "issuer": invoice.issuer, "series": "CN-2020", "due_date": world.first_of_june()}

    def number():
        numbers.issue(text=('{"currency":"CNY","number":"', '"}'), at=AFTER, actor="test", **given)

    assert refused(number) == "invoice_corrects_an_issued_one"
