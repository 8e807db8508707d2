"""Corrections of issued invoices: what differs since issue is found, shown to staff, and approved, or dismissed.

Nothing is re-rated in silence: an invoice stays as it was issued. `find` compares it, with all that corrected it before, to
what its month would be now, by `charging.charges`: the readings as they are, under the tariff versions that applied. What
differs is an Adjustment, proposed. Staff approve it, with a reason, or dismiss it. Approved, it is a credit or debit note
(billing.notes): at once, or with the account's next invoice, as the account chose (billing.settling); until then it can be
taken back.

One row of the invoice is locked by all who correct it: of two who issue one adjustment, the second gets the first's document.
An adjustment is issued as it was seen; if readings changed meanwhile, it is found anew first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from billing import charging, clawbacks, notes, soundness, standing
from billing.integrity import named, require_aware
from billing.models import Account, Adjustment, BillingPeriod, Invoice
from billing.notes import Target
from billing.periods import Place
from billing.rating import money
from billing.rating.correction import Figures, Key, changes, lessened
from billing.standing import Standing

State, Cause, Returned = Adjustment.State, Adjustment.Cause, Adjustment.Returned
UNDECIDED = (State.PROPOSED, State.APPROVED)
GONE = "it no longer differs"
"""Why a proposal is dismissed by itself."""


class NotCorrectableError(ValueError):
    """What is corrected is an issued invoice: a draft is made anew, and a note is corrected by correcting its invoice."""


class InvalidReasonError(ValueError):
    """A decision has a reason."""


class OutdatedAdjustmentError(Exception):
    """Readings changed since the adjustment was found: find it again, and look at what it is now."""


class AdjustmentDecidedError(Exception):
    """The adjustment was decided on in another way before."""


VIOLATIONS = {
    **soundness.VIOLATIONS,
    **clawbacks.VIOLATIONS,
    "adjustment_decided_once": AdjustmentDecidedError,
    "adjustment_decided_is_whole": AdjustmentDecidedError,
    "adjustment_issued_as_approved": OutdatedAdjustmentError,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """Between an invoice as it stands and as it would be now. `lines`: in JSON's types, as an Adjustment keeps them."""

    stands: Standing
    target: Target
    lines: list[dict[str, Any]]
    events_recorded: int
    events_corrected: int

    @property
    def tax_minor(self) -> int:
        """The tax that goes with it, as long as programmes pay what they pay."""
        totals = notes.taxes(self.stands, self.target, standing.beside(self.stands))
        return sum(total.tax_minor for total in totals)


def difference(*, invoice: Invoice) -> Difference:
    """What differs now. Writes nothing. Raises NotCorrectableError, NotChargeableError."""
    found = issued_invoice(invoice)
    stands = standing.of(found)
    rated = charging.charges(account=found.account, period=found.period).lines
    keyed = standing.keyed(rated)
    before = {key: row.figures for key, row in stands.rows.items()}
    after = {key: _conceded(standing.figures(charged), stands, key) for key, charged in keyed.items()}
    recorded, corrected = _events(found, stands)
    why = {"cause": Cause.USAGE.value, "events_recorded": recorded, "events_corrected": corrected}
    differing = [
        (change, keyed[change.key] if change.key in keyed else stands.rows[change.key].charged)
        for change in changes(before, after)
    ]
    totals = {(each.category, each.rate): each for each in money.taxes([each.line for each in rated]).totals}
    target = Target(differing, totals, why)
    return Difference(stands, target, list(told(target)), recorded, corrected)


def _conceded(now: Figures, stands: Standing, key: Key) -> Figures:
    """What is rated, less what a dispute took off the line."""
    row = stands.rows.get(key)
    if row is None or not row.conceded_minor:
        return now
    return Figures(now.micro, now.base, lessened(now.amount_minor, row.conceded_minor))


def issued_invoice(invoice: Invoice, *, locked: bool = False) -> Invoice:
    """The invoice with all that standing.of() needs; locked, for one who corrects it. Raises NotCorrectableError."""
    rows = Invoice.objects.select_related("account__party", "issuer__party", "account__issuer__party", "period__issuer")
    if locked:
        rows = rows.select_for_update(of=("self",), no_key=True)
    found = rows.get(pk=invoice.pk)
    if found.kind != Invoice.Kind.INVOICE or found.state != Invoice.State.ISSUED:
        raise NotCorrectableError(f"{found.kind} {found} is {found.state}: expected an issued invoice")
    return found


def told(target: Target) -> Iterator[dict[str, Any]]:
    """The lines of an Adjustment."""
    for change, charged in target.changes:
        line = charged.line
        yield {
            "contract": charged.supply.contract,
            "tariff": charged.supply.tariff,
            "tariff_version": charged.tariff_version,
            "charge": line.charge,
            "kind": line.kind,
            "tou_period": line.tou_period,
            "tier": line.tier,
            "start": line.start.isoformat(),
            "end": line.end.isoformat(),
            "ordinal": change.key.ordinal,
            "unit": line.unit,
            "quantity_before": notes.quantity(change.before.micro),
            "quantity_after": notes.quantity(change.after.micro),
            "amount_before_minor": change.before.amount_minor,
            "amount_after_minor": change.after.amount_minor,
        }


# Of the account's events of the period that were recorded, or matched, after the last document: those that are new, and
# those that others correct, or that correct others.
_EVENTS = """
    WITH fresh AS (
        SELECT event.source_id, event.event_id FROM billing_usageevent event
        JOIN billing_contract contract ON contract.id = event.contract_id
        WHERE contract.account_id = %(account)s AND event.time < %(end)s
            AND (event.recorded_at > %(since)s OR event.matched_at > %(since)s)
            AND (event.time >= %(start)s OR event.time + event.duration_seconds * interval '1 second' > %(start)s)
    ), corrections AS (
        SELECT correction.source_id, correction.event_id FROM billing_correction correction
        WHERE correction.recorded_at > %(since)s AND EXISTS (
            SELECT FROM billing_usageevent event JOIN billing_contract contract ON contract.id = event.contract_id
            WHERE event.source_id = correction.source_id AND event.event_id IN (correction.event_id, correction.by_event_id)
            AND contract.account_id = %(account)s AND event.time < %(end)s
            AND (event.time >= %(start)s OR event.time + event.duration_seconds * interval '1 second' > %(start)s))
    )
    SELECT (SELECT count(*) FROM fresh WHERE NOT EXISTS (SELECT FROM billing_correction correction
            WHERE correction.source_id = fresh.source_id AND correction.by_event_id = fresh.event_id)),
        (SELECT count(*) FROM corrections)
"""


def _events(invoice: Invoice, stands: Standing) -> tuple[int, int]:
    """How many events came later than the invoice and the notes, and how many were corrected later."""
    since = max(each.issued_at for each in stands.documents if each.issued_at is not None)
    facts: dict[str, int | datetime] = {
        "account": invoice.account_id,
        "start": invoice.period.start_at,
        "end": invoice.period.end_at,
        "since": since,
    }
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, facts)
        recorded, corrected = cursor.fetchone()
    return recorded, corrected


# Finding


def find(*, invoice: Invoice, at: datetime, actor: str) -> Adjustment | None:
    """Propose what differs since issue, in place of an older proposal; None if nothing does, or if just that was dismissed.

    A proposal that no longer differs is dismissed. What is approved and differs in another way now is proposed again; what
    differs as it was approved stays so. Raises NotCorrectableError, NotChargeableError.
    """
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        return propose(found=difference(invoice=issued_invoice(invoice, locked=True)), at=at, actor=actor)


def propose(*, found: Difference, at: datetime, actor: str) -> Adjustment | None:
    """find() of what was found to differ, within the transaction of a caller that holds the invoice's row."""
    ours = Adjustment.objects.filter(invoice=found.stands.invoice, cause=Cause.USAGE)
    proposed = ours.filter(state__in=UNDECIDED).first()
    if not found.lines:
        if proposed is not None:
            _dismiss(proposed, GONE, at, actor)
        return None
    last = ours.exclude(state__in=UNDECIDED).first()
    if proposed is None and last is not None and last.state == State.DISMISSED and last.lines == found.lines:
        return None
    if proposed is not None and proposed.lines == found.lines:
        return proposed
    adjustment = proposed or Adjustment(invoice=found.stands.invoice, cause=Cause.USAGE)
    if adjustment.state == State.APPROVED:
        give_back(adjustment=adjustment, why=Returned.CHANGED, at=at, actor=actor)
    adjustment.lines = found.lines
    adjustment.net_minor, adjustment.tax_minor = found.target.net_minor, found.tax_minor
    adjustment.events_recorded, adjustment.events_corrected = found.events_recorded, found.events_corrected
    adjustment.found_at = at
    adjustment.save()
    return adjustment


# Of each account the earliest time of what was recorded, matched or corrected since; then its invoices of that time and
# later, for earlier months bear on a ratchet and on a contract year's tiers. What was looked at after that is not looked at
# again.
_SUSPECT = """
    WITH fresh AS (
        SELECT event.contract_id, event.time, event.recorded_at FROM billing_usageevent event
        WHERE event.recorded_at > %(since)s AND event.contract_id IS NOT NULL
        UNION ALL
        SELECT event.contract_id, event.time, event.matched_at FROM billing_usageevent event
        WHERE event.matched_at > %(since)s
        UNION ALL
        SELECT event.contract_id, event.time, correction.recorded_at
        FROM billing_correction correction JOIN billing_usageevent event
            ON event.source_id = correction.source_id AND event.event_id = correction.event_id
        WHERE correction.recorded_at > %(since)s AND event.contract_id IS NOT NULL
    ), touched AS (
        SELECT contract.account_id, min(fresh.time) AS from_at, max(fresh.recorded_at) AS until_at
        FROM fresh JOIN billing_contract contract ON contract.id = fresh.contract_id GROUP BY contract.account_id
    )
    SELECT invoice.id FROM billing_invoice invoice JOIN billing_billingperiod period ON period.id = invoice.period_id
    JOIN touched ON touched.account_id = invoice.account_id AND touched.from_at < period.end_at
    WHERE invoice.kind = 'invoice' AND invoice.state = 'issued' AND touched.until_at > greatest(invoice.issued_at,
        (SELECT max(adjustment.found_at) FROM billing_adjustment adjustment WHERE adjustment.invoice_id = invoice.id))
    ORDER BY period.start_at, invoice.number
"""


def suspects(*, since: datetime) -> list[int]:
    """The ids of invoices that may differ by what was recorded, matched, amended or retracted after `since`. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_SUSPECT, {"since": since})
        return [row[0] for row in cursor.fetchall()]


def issued_of(*, period: BillingPeriod) -> list[int]:
    """The ids of the period's invoices, in the order of their accounts' codes."""
    rows = Invoice.objects.filter(period=period, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE)
    return list(rows.order_by("account__code").values_list("pk", flat=True))


@dataclass(frozen=True, slots=True)
class Looked:
    """What find_all() found: the proposals, and of which invoices the month can't be rated now, and why."""

    proposed: tuple[Adjustment, ...]
    refused: tuple[tuple[str, str], ...]


def find_all(*, invoices: Sequence[int], at: datetime, actor: str) -> Looked:
    """find() of many invoices by id, each in a transaction of its own: cut short, it is run again."""
    proposed: list[Adjustment] = []
    refused: list[tuple[str, str]] = []
    for invoice_id in invoices:
        invoice = Invoice.objects.defer("snapshot").get(pk=invoice_id)
        try:
            found = find(invoice=invoice, at=at, actor=actor)
        except charging.NotChargeableError as refusal:
            refused.append((str(invoice), str(refusal)))
        else:
            proposed += [] if found is None else [found]
    return Looked(tuple(proposed), tuple(refused))


# Deciding


def approve(*, adjustment: Adjustment, reason: str, at: datetime, actor: str) -> Adjustment:
    """As the account chose by now: the note is issued at once, or the adjustment waits for the next invoice.

    Approved or issued already, it is what is there: what the account chooses later is of what is approved later. Raises
    InvalidReasonError, OutdatedAdjustmentError, AdjustmentDecidedError, NotChargeableError.
    """
    require_aware("at", at)
    require_reason(reason)
    with named(VIOLATIONS), transaction.atomic():
        invoice = issued_invoice(adjustment.invoice, locked=True)
        current = Adjustment.objects.select_related("document").get(pk=adjustment.pk)
        if current.document is None and current.state != State.APPROVED:
            _require_proposed(current)
            if invoice.account.corrections_on == Account.CorrectionsOn.NOTE:
                issue(adjustment=current, reason=reason, at=at, actor=actor)
                current.refresh_from_db()
            else:
                _as_seen(current, invoice)
                current.state = State.APPROVED
                current.decided_at, current.decided_by, current.reason = at, actor, reason.strip()
                current.returned, current.returned_at, current.returned_by = "", None, ""
                current.save()
    return current


def issue(*, adjustment: Adjustment, reason: str, posted: Place | None = None, at: datetime, actor: str) -> Invoice:
    """The credit or debit note of what is proposed or approved, by itself; issued already, its document. Whatever the account
    chose: see approve(). `posted`: in which period; None is where `at` is.

    Raises InvalidReasonError, OutdatedAdjustmentError, AdjustmentDecidedError, NotChargeableError.
    """
    require_aware("at", at)
    require_reason(reason)
    with named(VIOLATIONS), transaction.atomic():
        invoice = issued_invoice(adjustment.invoice, locked=True)
        current = Adjustment.objects.select_related("document").get(pk=adjustment.pk)
        if current.document is not None:
            return current.document
        if current.state != State.APPROVED:
            _require_proposed(current)
            current.decided_at, current.decided_by, current.reason = at, actor, reason.strip()
        found = _as_seen(current, invoice)
        document = notes.issue(stands=found.stands, target=found.target, posted=posted, at=at, actor=actor)
        current.state, current.document = State.ISSUED, document
        current.save()
    return document


def _as_seen(adjustment: Adjustment, invoice: Invoice) -> Difference:
    """What differs now, which is what the adjustment says. Raises OutdatedAdjustmentError."""
    found = difference(invoice=invoice)
    if found.lines != adjustment.lines:
        raise OutdatedAdjustmentError(
            f"adjustment {adjustment.pk} of {invoice}: its lines are not what differs now; find it again first"
        )
    return found


def undo(*, adjustment: Adjustment, reason: str, at: datetime, actor: str) -> None:
    """Take an approval back before the next invoice: it is proposed again. One that is proposed stays as it is.

    Raises InvalidReasonError, AdjustmentDecidedError.
    """
    require_aware("at", at)
    require_reason(reason)
    with named(VIOLATIONS), transaction.atomic():
        issued_invoice(adjustment.invoice, locked=True)
        current = Adjustment.objects.get(pk=adjustment.pk)
        if current.state != State.APPROVED:
            _require_proposed(current)
        else:
            give_back(adjustment=current, why=Returned.UNDONE, at=at, actor=actor)
            current.reason = reason.strip()
            current.save()
    adjustment.refresh_from_db()


def give_back(*, adjustment: Adjustment, why: str, at: datetime, actor: str) -> None:
    """Make an approved one a proposal again, which says why; unsaved. The caller holds the invoice's row."""
    adjustment.state, adjustment.decided_at, adjustment.decided_by = State.PROPOSED, None, ""
    adjustment.returned, adjustment.returned_at, adjustment.returned_by = why, at, actor


def dismiss(*, adjustment: Adjustment, reason: str, at: datetime, actor: str) -> None:
    """Leave the invoice as it is, also where a correction is approved. The same difference is not proposed again; another is.

    Again changes nothing. Raises InvalidReasonError, AdjustmentDecidedError.
    """
    require_aware("at", at)
    require_reason(reason)
    with named(VIOLATIONS), transaction.atomic():
        issued_invoice(adjustment.invoice, locked=True)
        current = Adjustment.objects.get(pk=adjustment.pk)
        if current.state != State.DISMISSED:
            if current.state != State.APPROVED:
                _require_proposed(current)
            _dismiss(current, reason.strip(), at, actor)
    adjustment.refresh_from_db()


def _dismiss(adjustment: Adjustment, reason: str, at: datetime, actor: str) -> None:
    adjustment.state, adjustment.reason = State.DISMISSED, reason
    adjustment.decided_at, adjustment.decided_by = at, actor
    adjustment.save()


def _require_proposed(adjustment: Adjustment) -> None:
    if adjustment.state != State.PROPOSED:
        raise AdjustmentDecidedError(f"adjustment {adjustment.pk} is {adjustment.state}: expected one that is proposed")


def require_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidReasonError("reason is empty: expected why")
