"""Accounts that chose their next invoice, and what is to be seen of corrections on it."""

import json

from django.db.models import Sum

from billing import adjustments, disputes, parties
from billing.models import Account, Invoice, Posting
from tests.billing import world
from tests.billing.corrections_world import AFTER, HOUR, find, issue

NEXT = Account.CorrectionsOn.NEXT_INVOICE
CLOSED = world.JULY + HOUR


def choose(account, on=NEXT, *, at=AFTER):
    parties.choose_corrections(account=account, on=on, at=at, actor="user:1")


def buyer(issuer, *charges, code="B00", number=100, end_at=None):
    """An account that chose its next invoice, with a contract: 8.00 a GPU-hour unless told otherwise; fee 10 %, VAT 6 %."""
    account = world.account(issuer, code, number)
    choose(account)
    return world.contract(account, world.publish(*charges).tariff, end_at=end_at)


def approve(invoice, *, at=AFTER):
    adjustment = find(invoice, at=at)
    return adjustments.approve(adjustment=adjustment, reason="seen", at=at, actor="staff")


def next_invoice(account, *, at=CLOSED):
    return issue(account, code="2020-06", at=at)


def settled(invoice):
    return list(invoice.settles.order_by("corrects__period__start_at"))


def section(invoice):
    """Of its snapshot: net, tax, gross, paid by programmes, payable; due in all."""
    found = json.loads(invoice.snapshot)["corrections"]
    keys = ("net_minor", "tax_minor", "gross_minor", "subsidy_minor", "payable_minor", "due_minor")
    return tuple(found[key] for key in keys)


def owed(account):
    """All that is due of the account, by the figure that collection asks for; the ledger says the same."""
    invoices = Invoice.objects.filter(account=account, kind="invoice", state="issued")
    total_minor = sum(disputes.collectable(invoice=each).collectable_minor for each in invoices)
    documents = Invoice.objects.filter(account=account, state="issued")
    assert total_minor == (documents.aggregate(total=Sum("payable_minor"))["total"] or 0)
    posted = Posting.objects.filter(ledger_account__account=account, ledger_account__name="receivable")
    assert total_minor == (posted.aggregate(total=Sum("amount_minor"))["total"] or 0)
    return total_minor
