"""Corrections that go with an account's next invoice: approved they wait, and are issued in the transaction that issues it.

Each is a credit or debit note all the same, with its own number, snapshot and journal (billing.notes): what is taxed, claimed
and corrected later stands on notes alone, so that it is the same whichever way an account chose. Programmes
are asked of them first and then of the invoice, as they would be of notes at once. The note is settled on the invoice: it has no due date of its own, and the invoice's snapshot holds its lines and amounts, and what is due in all. The
invoice's own net, tax and gross are those of its month.

Locks are taken in one order by all who close: account and tariffs, the invoices that are corrected by id, programmes and counts,
then numbers: the invoice's, and those of its notes by series. So of two who close, one waits; killed anywhere, nothing of the
invoice and its notes is there. What an adjustment says is compared to the readings once more: what differs in another way
is proposed again, and the invoice goes without it.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from billing import adjustments, charging, ledger, notes, numbers, periods, reshares, snapshot
from billing.adjustments import Returned, State
from billing.drafts import Draft
from billing.integrity import named
from billing.ledger import Wanted
from billing.models import (
    Account,
    Adjustment,
    BillingPeriod,
    Contract,
    Grant,
    Invoice,
    Issuer,
    LedgerAccount,
    ProgrammeShare,
)
from billing.notes import Bearer, Prepared, SettledOn
from billing.periods import Place

VIOLATIONS = adjustments.VIOLATIONS
Kind = LedgerAccount.Kind


@dataclass(frozen=True, slots=True)
class Ready:
    """An adjustment that still is what was approved, and its note but for the number."""

    adjustment: Adjustment
    note: Prepared


def waiting(*, period: BillingPeriod) -> QuerySet[Adjustment]:
    """What is approved and corrects an invoice of a month before the period, of its issuer; by account, in time."""
    rows = Adjustment.objects.filter(
        state=State.APPROVED, invoice__issuer=period.issuer_id, invoice__period__start_at__lt=period.start_at
    )
    return rows.order_by("invoice__account__code", "invoice__period__start_at", "pk")


def waits_for(*, account: Account, period: BillingPeriod) -> bool:
    """Whether a correction goes with the account's invoice of the period: that is the first one which is still to be issued."""
    first = waiting(period=period).filter(invoice__account=account).select_related("invoice__period").first()
    if first is None:
        return False
    done = BillingPeriod.objects.filter(issuer=period.issuer_id).filter(
        Q(state=BillingPeriod.State.CLOSED) | Exists(_invoices(account.pk, OuterRef("pk")))
    )
    codes = set(done.values_list("code", flat=True))
    between = periods.between(issuer=period.issuer, after=first.invoice.period, until=period)
    earlier = [each for each in between if each.code not in codes]
    return period.code not in codes and not any(
        Contract.objects.filter(charging.active(each), account=account).exists() for each in earlier
    )


def _invoices(account: int | OuterRef, period: BillingPeriod | OuterRef) -> QuerySet[Invoice]:
    return Invoice.objects.filter(account=account, period=period, kind=Invoice.Kind.INVOICE, state=Invoice.State.ISSUED)


def hold(*, account: Account, period: BillingPeriod) -> list[Adjustment]:
    """What waits for the account's invoice of the period, with the locks that issuing it takes; in the caller's transaction.

    `account` comes with its party.
    """
    rows = waiting(period=period).filter(invoice__account=account)
    ids = sorted(rows.order_by().values_list("invoice", flat=True))
    list(Invoice.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk").values_list("pk"))
    held = list(rows.filter(invoice__in=ids).select_related("invoice__period"))  # as they are now that nobody decides
    if held:
        of_them = Q(pk__in=ids) | Q(corrects__in=ids)
        documents = list(Invoice.objects.filter(of_them, account=account).values_list("pk", flat=True))
        months = {period.code, *(each.invoice.period.code for each in held)}
        reshares.lock(account=account, documents=documents, months=sorted(months))
    return held


def prepare(
    *, held: Sequence[Adjustment], due_date: date, period: BillingPeriod, at: datetime, actor: str
) -> list[Ready]:
    """The notes of what still differs as it was approved, posted as the invoice is. What does not is proposed again."""
    found = []
    for adjustment in held:
        differs = _compared(adjustment, at, actor)
        if differs is not None:
            note = notes.prepare(
                stands=differs.stands,
                target=differs.target,
                posted=Place(period, period.last_date),
                bearer=Bearer(period.code, due_date),
                at=at,
                actor=actor,
            )
            found.append(Ready(adjustment, note))
    return found


def _compared(adjustment: Adjustment, at: datetime, actor: str) -> adjustments.Difference | None:
    """What differs, if that is what was approved. The caller holds the invoice's row."""
    invoice = adjustments.issued_invoice(adjustment.invoice)
    try:
        found = adjustments.difference(invoice=invoice)
    except charging.NotChargeableError:
        adjustments.give_back(adjustment=adjustment, why=Returned.NOT_RATED, at=at, actor=actor)
        adjustment.save()
        return None
    stays = adjustments.propose(found=found, at=at, actor=actor)
    return found if stays is not None and stays.state == State.APPROVED else None


def content(
    *, text: tuple[str, str], number: str | None, settled: Sequence[tuple[str | None, Prepared]]
) -> dict[str, Any]:
    """An invoice's snapshot around its number, with what it says of its corrections; without numbers: of a preview."""
    told: dict[str, Any] = json.loads((number or "").join(text))
    return told | {
        "number": number,
        "corrections": snapshot.corrections(invoice=told, notes=[(own, note.content) for own, note in settled]),
    }


def issue(
    *,
    ready: Sequence[Ready],
    invoice_id: int,
    draft: Draft,
    issuer: Issuer,
    at: datetime,
    actor: str,
) -> str:
    """Number and issue the notes, and the invoice that they are settled on. Its number."""
    own = numbers.count(issuer=issuer, series=str(draft.issue_date.year))
    named_notes: dict[int, str | None] = {}
    for each in sorted(ready, key=lambda each: each.note.series):
        document = notes.number(ready=each.note, settled_on=SettledOn(invoice_id, own), at=at, actor=actor)
        each.adjustment.state, each.adjustment.document = State.ISSUED, document
        each.adjustment.save()
        named_notes[document.pk] = document.number
    settled = [(named_notes[each.note.document.pk], each.note) for each in ready]
    whole = snapshot.canonical(content(text=draft.text, number=own, settled=settled))
    numbers.store(invoice_id=invoice_id, number=own, whole=whole, due_date=draft.due_date, at=at, actor=actor)
    return own


def open_accounts(*, account_ids: Collection[int], period: BillingPeriod) -> frozenset[int]:
    """The accounts among these for whose invoice of the period a correction waits. Opens the ledger accounts that their notes
    may post to, before the transaction: two that open the same ones within their transactions, in another order, would wait
    for each other. An empty one says nothing.
    """
    rows = waiting(period=period).filter(invoice__account__in=account_ids).order_by()
    accounts = sorted(set(rows.values_list("invoice__account", flat=True)))
    if not accounts:
        return frozenset()
    providers = Contract.objects.filter(account__in=accounts).order_by().values_list("provider", flat=True).distinct()
    granted = Grant.objects.filter(party__accounts__in=accounts).values_list("programme__funder", flat=True)
    paid = ProgrammeShare.objects.filter(invoice__account__in=accounts).values_list("programme__funder", flat=True)
    found = [Wanted("receivable", Kind.ASSET, account_id=account_id) for account_id in accounts]
    found += [Wanted("compute_revenue", Kind.INCOME), Wanted("subsidy_income", Kind.INCOME)]
    found += [Wanted("vat_output", Kind.LIABILITY), Wanted("vat_input", Kind.ASSET)]
    for provider_id in sorted(providers):
        found.append(Wanted("cost_of_compute", Kind.EXPENSE, party_id=provider_id))
        found.append(Wanted("provider_payable", Kind.LIABILITY, party_id=provider_id))
    funders = sorted({funder_id for funder_id in (*granted, *paid) if funder_id is not None})
    found += [Wanted("subsidy_receivable", Kind.ASSET, party_id=funder_id) for funder_id in funders]
    ledger.accounts(issuer=period.issuer, currency=period.issuer.currency, wanted=found)
    return frozenset(accounts)


# What no invoice comes for


def issue_rest(*, period: BillingPeriod, at: datetime, actor: str) -> tuple[str, ...]:
    """A note by itself for each that waits and has no invoice in the period that is closed: nothing of the account runs in it.
    Posted in it. The numbers. Each in a transaction of its own: cut short, it is run again.
    """
    runs = Contract.objects.filter(charging.active(period), account=OuterRef("invoice__account"))
    invoices = _invoices(OuterRef("invoice__account"), period)
    issued = []
    for adjustment in waiting(period=period).filter(~Exists(runs), ~Exists(invoices)).select_related("invoice"):
        number = _issue_alone(adjustment, period, at, actor)
        if number is not None:
            issued.append(number)
    return tuple(issued)


def _issue_alone(adjustment: Adjustment, period: BillingPeriod, at: datetime, actor: str) -> str | None:
    """None if somebody decided meanwhile, or what differs is not what was approved."""
    with named(VIOLATIONS), transaction.atomic():
        adjustments.issued_invoice(adjustment.invoice, locked=True)
        current = Adjustment.objects.select_related("invoice").get(pk=adjustment.pk)
        if current.state != State.APPROVED or _compared(current, at, actor) is None:
            return None
        place = Place(period, period.last_date)
        reason = current.reason
        return adjustments.issue(adjustment=current, reason=reason, posted=place, at=at, actor=actor).number
