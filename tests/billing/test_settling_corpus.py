"""Whatever happened to the usage: on the next invoice, or by a note at once, it comes to the same to the minor unit."""

import json

from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import adjustments, disputes, invoicing, parties
from billing.models import Account, Invoice, Posting
from tests.billing import programmes_world, world
from tests.billing.corrections_world import HOUR, amounts, check, find, issue, send
from tests.billing.test_adjustments_corpus import STEP, TERMS, Month

CLOSED = world.JULY + 9 * HOUR


def after(on, before, steps, june, terms, *, included):
    """The history under one choice, rolled back: every document's amounts, what is due, what programmes have left."""
    with transaction.atomic():
        month = Month(terms, included=included)
        parties.choose_corrections(account=month.account, on=on, at=world.MAY, actor="buyer")
        for _, *facts in before:
            month.take("late", *facts, at=world.JUNE - HOUR)
        may = issue(month.account)
        for kind, *facts in steps:
            month.take(kind, *facts)
        for number, hours in enumerate(june):
            send(month.contract, f"june {number}", world.JUNE + 48 * number * HOUR, hours=hours, at=world.JULY)
        adjustment = find(may, at=month.at)
        if adjustment is not None:
            adjustments.approve(adjustment=adjustment, reason="seen", at=month.at, actor="staff")
        period = invoicing.open_period(issuer=month.issuer, code="2020-06")
        previewed = invoicing.preview(account=month.account, period=period, at=CLOSED)
        bill = issue(month.account, code="2020-06", at=CLOSED)
        check(may)
        check(bill)
        assert find(may, at=CLOSED) is None
        _check_section(bill, previewed)
        invoices = Invoice.objects.filter(account=month.account, kind="invoice").order_by("period")
        due = [disputes.collectable(invoice=each).collectable_minor for each in invoices]
        posted = Posting.objects.filter(ledger_account__account=month.account).aggregate(total=Sum("amount_minor"))
        assert sum(due) == posted["total"] or not any(due)
        documents = Invoice.objects.filter(account=month.account).order_by("kind", "corrects__period", "period")
        told = [(each.kind, *amounts(each)) for each in documents]
        programmes_world.check_ties()
        transaction.set_rollback(True)
    return sum(due), told


def _check_section(bill, previewed):
    """The invoice says of its notes what they say themselves, and the preview said the same."""
    said = json.loads(bill.snapshot)
    notes = list(bill.settles.all())
    assert ("corrections" in said) == bool(notes) == (previewed is not None)
    if not notes:
        return
    told = said["corrections"]
    [note], [inner] = notes, told["notes"]
    assert told["due_minor"] == bill.payable_minor + note.payable_minor
    assert inner["lines"] == json.loads(note.snapshot)["lines"]
    names = ("net_minor", "tax_minor", "gross_minor", "subsidy_minor", "payable_minor")
    assert [told[name] for name in names] == [getattr(note, name) for name in names]
    assert sum(tax["tax_minor"] for tax in told["taxes"]) == note.tax_minor
    said["number"] = inner["number"] = None
    assert said == previewed


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(STEP, max_size=3),
    steps=st.lists(STEP, min_size=1, max_size=5),
    june=st.lists(st.integers(1, 20), max_size=2),
    terms=st.lists(TERMS, max_size=2),
    included=st.booleans(),
)
def any_history(before, steps, june, terms, included):
    steps = [step for step in steps if step[0] != "correct"]
    found = [after(on, before, steps, june, terms, included=included) for on in Account.CorrectionsOn.values]
    assert found[0] == found[1]


def test_both_choices_come_to_the_same_of_any_history(db):
    any_history()
