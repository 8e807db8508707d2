"""What became of an issued invoice: the notes that correct it, what is disputed of it, and what is to be paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.urls import reverse

from billing import disputes
from billing.documents import figures
from billing.models import Dispute, Invoice
from marketplace import access
from marketplace.web import amounts

if TYPE_CHECKING:
    from django.http import HttpRequest


def of_invoice(request: HttpRequest, invoice: Invoice) -> dict[str, Any]:
    """For the page of an invoice, or of a note: then which invoice it corrects."""
    own = access.invoices_for(request.user).defer("snapshot")
    if invoice.corrects_id is not None:
        bearer = None if invoice.settled_on_id is None else own.get(pk=invoice.settled_on_id)
        return {"corrects": own.get(pk=invoice.corrects_id), "settled_on": bearer}
    of_it = Q(corrects=invoice) | Q(settled_on=invoice)
    notes = own.filter(of_it, state=Invoice.State.ISSUED).select_related("settled_on").defer("settled_on__snapshot")
    found = list(notes.order_by("corrects__period__start_at", "corrects_id", "place"))
    paid_with_it = {note.pk for note in found if note.settled_on_id in (None, invoice.pk)}
    opened = access.rows_for(Dispute, request.user).filter(
        Q(line__invoice=invoice) | Q(line__invoice__in=paid_with_it), state=Dispute.State.OPEN
    )
    held = list(opened.select_related("line__invoice").order_by("pk"))
    if not found and not held:
        return {}
    return {
        "standing": _standing(disputes.collectable(invoice=invoice), invoice.currency),
        "notes": [_note(note, invoice) for note in found if note.pk in paid_with_it],
        "elsewhere": [_note(note, invoice) for note in found if note.pk not in paid_with_it],
        "disputed": [_disputed(each, invoice) for each in held],
    }


def with_addresses(told: dict[str, Any]) -> None:
    """Where the pages of an invoice's corrections are: of the note, and of each of its lines; in a preview there are none."""
    for group in told["groups"]:
        if group["number"]:
            group["address"] = reverse("invoice", args=[group["number"]])
            for row in group["rows"]:
                row["address"] = reverse("invoice_line", args=[group["number"], int(row["position"])])


def _standing(found: disputes.Collectable, currency: str) -> dict[str, str]:
    return {
        "payable": figures.money(found.payable_minor, currency),
        "collectable": figures.money(found.collectable_minor, currency),
    }


def _note(note: Invoice, invoice: Invoice) -> dict[str, Any]:
    assert note.issued_at is not None  # constraint invoice_issued_is_whole
    return {
        "number": note.number,
        "kind": note.get_kind_display(),
        "issued_on": amounts.local(note.issued_at, invoice.period.timezone).date(),
        "payable": figures.money(note.payable_minor, note.currency),
        "settled_on": None if note.settled_on is None else note.settled_on.number,
    }


def _disputed(dispute: Dispute, invoice: Invoice) -> dict[str, Any]:
    line = dispute.line
    return {
        "address": reverse("invoice_line", args=[line.invoice.number, line.position]),
        "position": line.position if line.invoice_id == invoice.pk else f"{line.invoice.number} · {line.position}",
        "held": figures.money(-dispute.held_minor, invoice.currency),
    }
