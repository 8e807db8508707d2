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
    paid_with = disputes.paid_with(invoice=invoice).values_list("pk", flat=True)
    of_it = Q(corrects=invoice) | Q(pk__in=paid_with)
    notes = own.filter(of_it, state=Invoice.State.ISSUED).select_related("settled_on").defer("settled_on__snapshot")
    found = list(notes.order_by("corrects__period__start_at", "corrects_id", "place"))
    paid_with_it = set(paid_with) if found else set()
    held = disputes.held(invoice=invoice)
    opened = access.rows_for(Dispute, request.user).filter(pk__in=held).select_related("line__invoice").order_by("pk")
    if not found and not held:
        return {}
    return {
        "standing": _standing(disputes.collectable(invoice=invoice), invoice.currency),
        "notes": [_note(note, invoice) for note in found if note.pk in paid_with_it],
        "elsewhere": [_note(note, invoice) for note in found if note.pk not in paid_with_it],
        "disputed": [_disputed(each, held[each.pk], invoice) for each in opened],
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
        "settled_on": _paid_on(note),
    }


def _paid_on(note: Invoice) -> str | None:
    """The number of another invoice than the corrected one, if it is paid there: settled on it, or what was disputed of it is."""
    if note.settled_on is not None:
        return note.settled_on.number
    disputed = Invoice.objects.filter(lines__disputes__adjustment__document=note, settled_on__isnull=False)
    return disputed.values_list("settled_on__number", flat=True).first()


def _disputed(dispute: Dispute, held_minor: int, invoice: Invoice) -> dict[str, Any]:
    line = dispute.line
    return {
        "address": reverse("invoice_line", args=[line.invoice.number, line.position]),
        "position": line.position if line.invoice_id == invoice.pk else f"{line.invoice.number} · {line.position}",
        "held": figures.money(-held_minor, invoice.currency),
    }
