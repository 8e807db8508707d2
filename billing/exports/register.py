"""The register of a month: its invoices and notes in one file, for the command, the pages and the admin alike.

Whether a column is there is asked of all documents at once, so that the same documents have the same columns whoever takes
them away. Two columns say how things are now: what open disputes hold of a line and of its document, tax included, out of
collection. They stand here and not in an invoice's own export: that one is made from the snapshot alone and is the same bytes in
ten years, while a dispute is opened and answered after the issue. The register lists what is there on the day it is written,
as it lists notes issued since; without open disputes, and for the same documents and disputes, it is the same bytes.
"""

from collections.abc import Iterator
from typing import BinaryIO

from django.db.models import QuerySet

from billing.exports import invoices
from billing.exports.invoices import Columns, Facts, Format
from billing.models import Dispute, Invoice, ProgrammeShare

Held = dict[int, dict[int, int]]
"""What open disputes hold, in minor units, by an invoice's id and a line's position."""


def write(*, documents: QuerySet[Invoice], format: Format, output: BinaryIO) -> int:  # noqa: A002  - the option's name
    """Write issued documents in the order of their numbers, as billing.exports.invoices.write does; how many they were.

    Five queries; snapshots are read a few at a time. Raises SheetFullError (xlsx).
    """
    held = _held(documents)
    columns = Columns(
        programmes=ProgrammeShare.objects.filter(invoice__in=documents.order_by()).exists(),
        notes=documents.order_by().exclude(kind=Invoice.Kind.INVOICE).exists(),
        held=bool(held),
        settled=documents.order_by().filter(settled_on__isnull=False).exists(),
    )
    return invoices.write_facts(invoices=_facts(documents, held), format=format, output=output, columns=columns)


def _held(documents: QuerySet[Invoice]) -> Held:
    rows = Dispute.objects.filter(line__invoice__in=documents.order_by(), state=Dispute.State.OPEN).order_by("pk")
    found: Held = {}
    for invoice_id, position, held_minor in rows.values_list("line__invoice", "line__position", "held_minor"):
        found.setdefault(invoice_id, {})[position] = held_minor  # one is open for a line: constraint dispute_open_once
    return found


def _facts(documents: QuerySet[Invoice], held: Held) -> Iterator[Facts]:
    rows = documents.order_by("number", "issuer__code").values_list("pk", "snapshot")
    for invoice_id, snapshot in rows.iterator(chunk_size=100):
        facts = invoices.read(snapshot or "")  # an issued invoice has one: constraint invoice_issued_is_whole
        yield {**facts, "held": held[invoice_id]} if invoice_id in held else facts
