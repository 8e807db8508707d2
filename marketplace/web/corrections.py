"""What became of an issued invoice: the notes that correct it, what is disputed of it, and what is to be paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    if invoice.corrects_id is not None:
        return {"corrects": access.invoices_for(request.user).defer("snapshot").get(pk=invoice.corrects_id)}
    notes = access.invoices_for(request.user).filter(corrects=invoice, state=Invoice.State.ISSUED)
    found = list(notes.defer("snapshot").order_by("place"))
    opened = access.rows_for(Dispute, request.user).filter(invoice=invoice, state=Dispute.State.OPEN)
    held = list(opened.select_related("line__invoice").order_by("pk"))
    if not found and not held:
        return {}
    return {
        "standing": _standing(disputes.collectable(invoice=invoice), invoice.currency),
        "notes": [_note(note, invoice) for note in found],
        "disputed": [_disputed(each, invoice.currency) for each in held],
    }


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
    }


def _disputed(dispute: Dispute, currency: str) -> dict[str, Any]:
    line = dispute.line
    return {
        "address": reverse("invoice_line", args=[line.invoice.number, line.position]),
        "position": line.position
        if line.invoice_id == dispute.invoice_id
        else f"{line.invoice.number} · {line.position}",
        "held": figures.money(-dispute.held_minor, currency),
    }
