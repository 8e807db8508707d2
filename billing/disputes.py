"""Disputes: what a buyer objects to is not collected until it is answered.

A buyer disputes a line of an issued document, all that is left of it or a part, with a reason. While the dispute is open, what
the buyer would pay of that, tax included, is held out of collection. Staff uphold it, which credits the line by a credit note
(billing.notes), programmes' part and all; or reject it, with a reason; or the buyer withdraws it. Whoever corrects or
disputes an invoice locks its row first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum

from billing import adjustments, notes, standing
from billing.adjustments import InvalidReasonError, require_reason
from billing.integrity import named, require_aware
from billing.models import Adjustment, Dispute, Invoice, InvoiceLine, Programme, Redemption
from billing.notes import Target
from billing.rating.correction import Change, Figures, Key
from billing.rating.money import round_half_up
from billing.standing import Standing

State = Dispute.State
LONGEST_REASON = 2_000


class InvalidDisputeError(ValueError):
    """There is nothing left of the line to dispute, or less than that, or no reason is told. `field`: the fact at fault."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class DisputeDiffersError(Exception):
    """The line has an open dispute of another amount or reason."""


class DisputeAnsweredError(Exception):
    """The dispute was answered, or withdrawn, in another way."""


VIOLATIONS = {
    **adjustments.VIOLATIONS,
    "dispute_open_once": DisputeDiffersError,
    "dispute_answered_once": DisputeAnsweredError,
}


@dataclass(frozen=True, slots=True)
class Disputable:
    """What is left of a line: net, and what the buyer pays of it, tax included."""

    net_minor: int
    payable_minor: int

    def held_minor(self, net_minor: int) -> int:
        """What the buyer pays of a part of the net."""
        return round_half_up(Fraction(net_minor * self.payable_minor, self.net_minor), 0)


def disputable(*, line: InvoiceLine) -> Disputable | None:
    """What may be disputed of a line; None if nothing is left of it, or it is a credit."""
    invoice = adjustments.issued_invoice(line.invoice.corrects or line.invoice)
    found = _row(standing.of(invoice), line)
    return None if found is None else found[1]


def disputable_lines(*, document: Invoice) -> list[tuple[InvoiceLine, Disputable]]:
    """The lines of an issued invoice or note of which something is left, and no dispute is open, in order."""
    invoice = adjustments.issued_invoice(document.corrects or document)
    return _undisputed(standing.of(invoice), document)


def _undisputed(stands: Standing, document: Invoice) -> list[tuple[InvoiceLine, Disputable]]:
    disputed = Dispute.objects.filter(line__invoice=document, state=State.OPEN).values("line")
    lines = list(InvoiceLine.objects.filter(invoice=document).exclude(pk__in=disputed).order_by("position"))
    left = {
        layer.position: layer.amount_minor
        for row in stands.rows.values()
        for layer in row.layers
        if layer.invoice.pk == document.pk and layer.amount_minor > 0
    }
    paid = _paid(lines)
    return [
        (line, _left(line, left[line.position], paid.get(line.pk, (0, 0)))) for line in lines if line.position in left
    ]


def _row(stands: Standing, line: InvoiceLine) -> tuple[Key, Disputable] | None:
    for key, row in stands.rows.items():
        for layer in row.layers:
            if (layer.invoice.pk, layer.position) == (line.invoice_id, line.position) and layer.amount_minor > 0:
                return key, _left(line, layer.amount_minor, _paid([line]).get(line.pk, (0, 0)))
    return None


def _paid(lines: Sequence[InvoiceLine]) -> dict[int, tuple[int, int]]:
    """By line: what programmes pay in the buyer's place, and what of that is beside the price. One query."""
    vouchers = Redemption.objects.filter(line__in=lines, share__programme__mode=Programme.Mode.VOUCHER)
    left = F("amount_minor") - F("clawed_back_minor")
    is_beside = ~Q(share__programme__vat_treatment=Programme.VatTreatment.THIRD_PARTY_CONSIDERATION)
    sums = vouchers.order_by().values_list("line").annotate(paid=Sum(left), beside=Sum(left, filter=is_beside))
    return {line_id: (paid_minor, beside_minor or 0) for line_id, paid_minor, beside_minor in sums}


def _left(line: InvoiceLine, net_minor: int, paid: tuple[int, int]) -> Disputable:
    """Programmes that pay in the buyer's place lessen it; those beside the price lessen the taxed amount too."""
    paid_minor, beside_minor = paid
    tax_minor = round_half_up((net_minor - beside_minor) * Fraction(line.tax_rate), 0)
    return Disputable(net_minor, net_minor - paid_minor + tax_minor)


def open_(*, line: InvoiceLine, reason: str, net_minor: int | None = None, at: datetime, actor: str) -> Dispute:
    """Object to a line, for so much of its net, or for all that is left of it.

    The same again gives the open dispute. Raises InvalidDisputeError, DisputeDiffersError, NotCorrectableError.
    """
    require_aware("at", at)
    reason = _reason(reason)
    with named(VIOLATIONS), transaction.atomic():
        document = Invoice.objects.select_related("corrects").get(pk=line.invoice_id)
        invoice = adjustments.issued_invoice(document.corrects or document, locked=True)
        there = Dispute.objects.filter(line=line, state=State.OPEN).first()
        if there is not None:
            if there.reason != reason or net_minor not in (None, there.net_minor):
                raise DisputeDiffersError(
                    f"line {line.position} of {document} has an open dispute: withdraw that first"
                )
            return there
        found = _row(standing.of(invoice), line)
        if found is None:
            raise InvalidDisputeError(f"line {line.position} of {document}: nothing is left of it to dispute")
        left = found[1]
        wanted_minor = left.net_minor if net_minor is None else net_minor
        if not 0 < wanted_minor <= left.net_minor:
            raise InvalidDisputeError(
                f"net_minor is {wanted_minor}: expected 1 to {left.net_minor}, what is left of line {line.position}",
                field="net_minor",
            )
        return Dispute.objects.create(
            line=line,
            invoice=invoice,
            net_minor=wanted_minor,
            held_minor=left.held_minor(wanted_minor),
            reason=reason,
            opened_at=at,
            opened_by=actor,
        )


def open_all(*, document: Invoice, reason: str, at: datetime, actor: str) -> list[Dispute]:
    """Object to an invoice or a note as a whole: one dispute for each line of which something is left and none is open yet,
    for all that is left of it. The same again gives those that are open with that reason.

    Raises InvalidDisputeError, NotCorrectableError.
    """
    require_aware("at", at)
    reason = _reason(reason)
    with named(VIOLATIONS), transaction.atomic():
        invoice = adjustments.issued_invoice(document.corrects or document, locked=True)
        made = [
            Dispute.objects.create(
                line=line,
                invoice=invoice,
                net_minor=left.net_minor,
                held_minor=left.held_minor(left.net_minor),
                reason=reason,
                opened_at=at,
                opened_by=actor,
            )
            for line, left in _undisputed(standing.of(invoice), document)
        ]
        there = made or list(opened_of(document=document).filter(reason=reason))
    if not there:
        raise InvalidDisputeError(f"{document}: nothing is left of it to dispute that is not disputed yet")
    return there


def opened_of(*, document: Invoice) -> QuerySet[Dispute]:
    """The open disputes of a document's lines, in their order."""
    return Dispute.objects.filter(line__invoice=document, state=State.OPEN).order_by("line__position", "pk")


def _reason(reason: str) -> str:
    told = reason.strip()
    if not told or len(told) > LONGEST_REASON:
        raise InvalidDisputeError(f"reason has {len(told)} characters: expected 1 to {LONGEST_REASON}", field="reason")
    return told


def withdraw(*, dispute: Dispute, at: datetime, actor: str) -> None:
    """By the buyer; again changes nothing. Raises DisputeAnsweredError."""
    _answer(dispute, State.WITHDRAWN, "", at, actor)


def withdraw_all(*, document: Invoice, at: datetime, actor: str) -> list[Dispute]:
    """By the buyer: all that are open of the document's lines, in one step; those that were answered stay. Again: none."""
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        adjustments.issued_invoice(document.corrects or document, locked=True)
        found = list(opened_of(document=document))
        for dispute in found:
            dispute.state, dispute.answered_at, dispute.answered_by = State.WITHDRAWN, at, actor
            dispute.save()
    return found


def reject(*, dispute: Dispute, answer: str, at: datetime, actor: str) -> None:
    """The line stands, and is collected; again changes nothing. Raises InvalidReasonError, DisputeAnsweredError."""
    require_reason(answer)
    _answer(dispute, State.REJECTED, answer.strip(), at, actor)


def _answer(dispute: Dispute, state: str, answer: str, at: datetime, actor: str) -> None:
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        adjustments.issued_invoice(dispute.invoice, locked=True)
        current = Dispute.objects.get(pk=dispute.pk)
        if current.state != state:
            _require_open(current)
            current.state, current.answer, current.answered_at, current.answered_by = state, answer, at, actor
            current.save()
    dispute.refresh_from_db()


def uphold(*, dispute: Dispute, answer: str, net_minor: int | None = None, at: datetime, actor: str) -> Invoice:
    """The credit note of what is disputed, or of another part of what is left of the line; upheld before, the one that is
    there. Raises InvalidReasonError, InvalidDisputeError, DisputeAnsweredError.
    """
    require_aware("at", at)
    require_reason(answer)
    with named(VIOLATIONS), transaction.atomic():
        invoice = adjustments.issued_invoice(dispute.invoice, locked=True)
        current = Dispute.objects.select_related("line", "adjustment__document").get(pk=dispute.pk)
        if current.state == State.UPHELD:
            assert current.adjustment is not None  # constraint dispute_answered_is_whole
            assert current.adjustment.document is not None
            return current.adjustment.document
        _require_open(current)
        stands = standing.of(invoice)
        found = _row(stands, current.line)
        left_minor = found[1].net_minor if found is not None else 0
        credit_minor = current.net_minor if net_minor is None else net_minor
        if found is None or not 0 < credit_minor <= left_minor:
            raise InvalidDisputeError(
                f"net_minor is {credit_minor}: expected 1 to {left_minor}, what is left of line {current.line.position}",
                field="net_minor",
            )
        adjustment = _credit(stands, found[0], credit_minor, answer=answer.strip(), at=at, actor=actor)
        current.state, current.answer, current.adjustment = State.UPHELD, answer.strip(), adjustment
        current.answered_at, current.answered_by = at, actor
        current.save()
    dispute.refresh_from_db()
    assert adjustment.document is not None
    return adjustment.document


def _credit(stands: Standing, key: Key, credit_minor: int, *, answer: str, at: datetime, actor: str) -> Adjustment:
    """Take so much off the line, by a note; its quantity stays."""
    row = stands.rows[key]
    before = row.figures
    after = Figures(before.micro, before.base, before.amount_minor - credit_minor)
    target = Target([(Change(key, before, after), row.charged)], {}, {"cause": Adjustment.Cause.DISPUTE.value})
    taxes = notes.taxes(stands, target, standing.beside(stands))
    adjustment = Adjustment.objects.create(
        invoice=stands.invoice,
        cause=Adjustment.Cause.DISPUTE,
        lines=list(adjustments.told(target)),
        net_minor=target.net_minor,
        tax_minor=sum(total.tax_minor for total in taxes),
        found_at=at,
    )
    document = notes.issue(stands=stands, target=target, at=at, actor=actor)
    adjustment.state, adjustment.document, adjustment.reason = Adjustment.State.ISSUED, document, answer
    adjustment.decided_at, adjustment.decided_by = at, actor
    adjustment.save()
    return adjustment


def _require_open(dispute: Dispute) -> None:
    if dispute.state != State.OPEN:
        raise DisputeAnsweredError(f"dispute {dispute.pk} is {dispute.state}: expected one that is open")


# What may be collected


@dataclass(frozen=True, slots=True)
class Collectable:
    """Of an invoice: payable as issued; what notes changed that are paid with it; what open disputes of all that hold."""

    payable_minor: int
    corrected_minor: int
    held_minor: int

    @property
    def owed_minor(self) -> int:
        """What the buyer owes once all disputes are answered against it; below zero, what it is owed."""
        return self.payable_minor + self.corrected_minor

    @property
    def collectable_minor(self) -> int:
        return self.owed_minor - self.held_minor


def collectable(*, invoice: Invoice) -> Collectable:
    """The one figure that collection asks for. Each note and each dispute is in one invoice's figure, so that the figures of
    several invoices add up. Two queries, and a few for each corrected invoice of which something is disputed.
    """
    corrected_minor = paid_with(invoice=invoice).aggregate(total=Sum("payable_minor"))["total"] or 0
    return Collectable(invoice.payable_minor, corrected_minor, sum(held(invoice=invoice).values()))


def paid_with(*, invoice: Invoice) -> QuerySet[Invoice]:
    """The notes that are paid with an invoice: those that are settled on it, those that correct it and are settled on no other,
    and what was credited for a dispute of one of these, so that what was held is let go where it was held.
    """
    disputed = "adjustment__dispute__line__invoice__settled_on"
    by_itself = Q(corrects=invoice, **{f"{disputed}__isnull": True}) | Q(**{disputed: invoice})
    return Invoice.objects.filter(Q(settled_on=invoice) | Q(settled_on=None) & by_itself, state=Invoice.State.ISSUED)


def held(*, invoice: Invoice) -> dict[int, int]:
    """What each open dispute holds now of what is paid with an invoice, in minor units by the dispute's id: what the buyer
    would pay of what is disputed, so far as it is left of the line; and of a corrected invoice and its notes together no more
    than is owed.
    """
    of_it = Q(line__invoice=invoice) | Q(line__invoice__in=paid_with(invoice=invoice))
    own = dict(Dispute.objects.filter(of_it, state=State.OPEN).values_list("pk", "invoice"))
    found: dict[int, int] = {}
    for corrected in Invoice.objects.filter(pk__in=set(own.values())).order_by("pk"):
        found |= _held_of(standing.of(adjustments.issued_invoice(corrected)))
    return {dispute_id: found[dispute_id] for dispute_id in sorted(own)}


def _held_of(stands: Standing) -> dict[int, int]:
    opened = list(
        Dispute.objects.filter(invoice=stands.invoice, state=State.OPEN).select_related("line").order_by("pk")
    )
    left = {
        (layer.invoice.pk, layer.position): layer.amount_minor for row in stands.rows.values() for layer in row.layers
    }
    paid = _paid([dispute.line for dispute in opened])
    rest_minor = max(sum(document.payable_minor for document in stands.documents), 0)
    found = {}
    for dispute in opened:
        line = dispute.line
        net_minor = left.get((line.invoice_id, line.position), 0)
        wanted_minor = 0
        if net_minor > 0:
            is_left = _left(line, net_minor, paid.get(line.pk, (0, 0)))
            wanted_minor = is_left.held_minor(min(dispute.net_minor, net_minor))
        found[dispute.pk] = min(wanted_minor, rest_minor)
        rest_minor -= found[dispute.pk]
    return found


__all__ = [
    "Collectable",
    "Disputable",
    "DisputeAnsweredError",
    "DisputeDiffersError",
    "InvalidDisputeError",
    "InvalidReasonError",
    "collectable",
    "disputable",
    "disputable_lines",
    "held",
    "open_",
    "open_all",
    "opened_of",
    "paid_with",
    "reject",
    "uphold",
    "withdraw",
    "withdraw_all",
]
