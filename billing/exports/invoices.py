"""Invoices and their lines as JSON, CSV or XLSX.

Text stays what it is: a credit code of 18 digits is a string in JSON and in XLSX, and stands in quotes in CSV, where
numbers stand without. CSV has no types, so a spreadsheet that opens one by double click may still read digits as a
number; XLSX is the format for spreadsheets, and neither an `="…"` nor a tab spoils the value for other programs.

A text that a spreadsheet could take for a formula (it begins with = + - @, a tab, CR, LF or a full-width form, also
after blanks) gets an apostrophe in front, in CSV and XLSX. Numbers, negative ones too, and JSON stay as they are.

Where programmes were asked to pay, their part stands beside the price: in JSON as further keys of those invoices, in CSV
and XLSX as columns at the end, which an export without a programme does not have. So it is with credit and debit notes: what
kind of document each is, and which invoice it corrects. What open disputes hold of a line stands in no snapshot, and so only in
the register of a month (billing.exports.register), which says how things are now.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final, Literal, cast

import xlsxwriter  # type: ignore[import-untyped]  # no stubs
from django.db.models import QuerySet

from billing.exports.tables import BOM, Cell, Formats, csv_row, major, sheet, xlsx_row
from billing.models import BillingPeriod, Invoice
from billing.snapshot import payable

Format = Literal["json", "csv", "xlsx"]
FORMATS: Final[tuple[Format, ...]] = ("json", "csv", "xlsx")
SNAPSHOT_FORMAT: Final = "suanli-invoice/1"

Facts = Mapping[str, Any]

# column: its width in a sheet
INVOICE_COLUMNS: Final = {
    "number": 18,
    "account": 16,
    "buyer_name": 34,
    "buyer_credit_code": 22,
    "issuer_name": 34,
    "issuer_credit_code": 22,
    "billing_period": 14,
    "issued_date": 12,
    "due_date": 12,
    "currency": 10,
    "invoice_net_minor": 18,
    "invoice_tax_minor": 18,
    "invoice_gross_minor": 18,
    "invoice_net": 16,
    "invoice_tax": 16,
    "invoice_gross": 16,
}
LINE_COLUMNS: Final = {
    "line_position": 12,
    "contract": 18,
    "provider": 34,
    "tariff": 22,
    "tariff_version": 14,
    "charge": 10,
    "kind": 12,
    "tou_period": 12,
    "tier": 8,
    "start": 27,
    "end": 27,
    "quantity": 18,
    "unit": 12,
    "quantity_base": 18,
    "base_unit": 18,
    "unit_price": 14,
    "amount_minor": 16,
    "amount": 16,
    "tax_category": 14,
    "tax_rate": 10,
}
ALL_COLUMNS: Final = INVOICE_COLUMNS | LINE_COLUMNS
INVOICE_FUNDING_COLUMNS: Final = {
    "invoice_programmes": 18,
    "invoice_subsidy_minor": 18,
    "invoice_payable_minor": 18,
    "invoice_subsidy": 16,
    "invoice_payable": 16,
}
NOTE_COLUMNS: Final = {"document_kind": 14, "corrects": 20}
SETTLED_COLUMNS: Final = {
    "settled_on": 20,
    "invoice_corrections_minor": 18,
    "invoice_due_minor": 18,
    "invoice_corrections": 16,
    "invoice_due": 16,
}
LINE_FUNDING_COLUMNS: Final = {
    "programmes": 18,
    "subsidy_minor": 16,
    "payable_minor": 16,
    "subsidy": 16,
    "payable": 16,
}
INVOICE_HELD_COLUMNS: Final = {"invoice_held_minor": 18, "invoice_held": 16}
LINE_HELD_COLUMNS: Final = {"held_minor": 16, "held": 16}

_JSON_LINE = (
    "charge",
    "tou_period",
    "tier",
    "quantity",
    "unit",
    "quantity_base",
    "base_unit",
    "unit_price",
    "amount_minor",
)
# Only of invoices of which a programme was asked to pay.
_JSON_FUNDING = ("subsidy_minor", "payable_minor", "funding")
_JSON_NOTE = ("kind", "corrects", "posted_in")
_JSON_LINE_FUNDING = ("list_minor", "subsidy_minor", "payable_minor", "funding")
_NO_INVOICE_AT = datetime(1980, 1, 1, tzinfo=UTC)


class UnknownPeriodError(Exception):
    """No billing period has that code, or none of that issuer."""


def issued(*, period_code: str, issuer_code: str | None = None) -> Iterator[str]:
    """Snapshots of the period's issued invoices in the order of their numbers, a few at a time. Two queries.

    Raises UnknownPeriodError.
    """
    snapshots = (
        documents(period_code=period_code, issuer_code=issuer_code)
        .values_list("snapshot", flat=True)
        .iterator(chunk_size=100)
    )
    return cast("Iterator[str]", snapshots)  # an issued invoice has one: constraint invoice_issued_is_whole


def count_issued(*, period_code: str, issuer_code: str | None = None) -> int:
    """How many those are. Two queries. Raises UnknownPeriodError."""
    return documents(period_code=period_code, issuer_code=issuer_code).count()


def documents(*, period_code: str, issuer_code: str | None = None) -> QuerySet[Invoice]:
    """The period's issued invoices and notes in the order of their numbers. One query. Raises UnknownPeriodError."""
    periods = BillingPeriod.objects.filter(code=period_code)
    if issuer_code is not None:
        periods = periods.filter(issuer__code=issuer_code)
    if not periods.exists():
        of = f" of issuer {issuer_code!r}" if issuer_code is not None else ""
        raise UnknownPeriodError(
            f"there is no billing period {period_code!r}{of}: expected one that was opened, as 2020-05"
        )
    return Invoice.objects.filter(period__in=periods, state=Invoice.State.ISSUED).order_by("number", "issuer__code")


def write(
    *,
    invoices: Iterable[str],
    format: Format,  # noqa: A002  - the option's name
    output: BinaryIO,
    programmes: bool | None = None,
    notes: bool | None = None,
    settled: bool = False,
) -> int:
    """Write snapshots, in the order they come, to a binary file in constant memory; how many they were.

    json: a list of invoices, one a line. csv: one row a line of an invoice, in UTF-8 with BOM, lines ended by CRLF (RFC
    4180), the invoice's columns repeated. xlsx: the sheets "invoices" and "lines". An invoice without lines has no row
    among the lines. Without invoices: an empty list, or the header alone. The same bytes for the same snapshots.
    programmes: whether csv and xlsx have the columns of what programmes pay; None: as a list of invoices tells, and not
    for what comes one by one; notes: the same of the columns of credit and debit notes. settled: after each invoice come the
    notes that are settled on it, as its snapshot says them: for the file of one invoice, where a month's file has them anyway.
    Raises SheetFullError (xlsx).
    """
    if not isinstance(invoices, Sequence):
        columns = Columns(programmes=bool(programmes), notes=bool(notes))
        return write_facts(invoices=map(read, invoices), format=format, output=output, columns=columns)
    every = [each for facts in map(read, invoices) for each in (facts, *(of_notes(facts) if settled else ()))]
    columns = Columns(
        programmes=any("funding" in each for each in every) if programmes is None else programmes,
        notes=any("corrects" in each for each in every) if notes is None else notes,
        settled=any("corrections" in each or "settled_on" in each for each in every),
    )
    return write_facts(invoices=every, format=format, output=output, columns=columns)


def of_notes(invoice: Facts) -> Iterator[Facts]:
    """The notes that are settled on an invoice, as its snapshot says them, as their own snapshots do."""
    shared = {key: invoice[key] for key in ("format", "issuer", "buyer", "issued_at", "due_date", "currency")}
    period = invoice["billing_period"]["code"]
    settled = {"settled_on": {"number": invoice["number"], "period": period}, "posted_in": period}
    for note in invoice.get("corrections", {}).get("notes", ()):
        yield {**shared, **settled, **note}


def write_facts(
    *,
    invoices: Iterable[Facts],
    format: Format,  # noqa: A002  - the option's name
    output: BinaryIO,
    columns: "Columns",
) -> int:
    """write() of snapshots that are read; `held`, by a line's position what open disputes hold of it, may stand in them."""
    if format == "json":
        return _json(invoices, output)
    writers: dict[Format, Callable[[Iterable[Facts], BinaryIO, Columns], int]] = {"csv": _csv, "xlsx": _xlsx}
    return writers[format](invoices, output, columns)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the two tables, with their widths, and the cells that stand in them."""

    programmes: bool
    notes: bool
    held: bool = False
    settled: bool = False

    @property
    def of_invoices(self) -> dict[str, int]:
        held = INVOICE_HELD_COLUMNS if self.held else {}
        return INVOICE_COLUMNS | (INVOICE_FUNDING_COLUMNS if self.programmes else {}) | self._of_notes() | held

    @property
    def of_lines(self) -> dict[str, int]:
        funding = INVOICE_FUNDING_COLUMNS | LINE_FUNDING_COLUMNS if self.programmes else {}
        held = INVOICE_HELD_COLUMNS | LINE_HELD_COLUMNS if self.held else {}
        return ALL_COLUMNS | funding | self._of_notes() | held

    def _of_notes(self) -> dict[str, int]:
        return (NOTE_COLUMNS if self.notes else {}) | (SETTLED_COLUMNS if self.settled else {})

    def invoice(self, invoice: Facts) -> list[Cell]:
        funding = _invoice_funding(invoice) if self.programmes else ()
        held = _held(invoice, _held_minor(invoice)) if self.held else ()
        return [*_invoice_cells(invoice), *funding, *self._note(invoice), *held]

    def _note(self, invoice: Facts) -> list[Cell]:
        """In the order of NOTE_COLUMNS and SETTLED_COLUMNS."""
        cells: list[Cell] = []
        if self.notes:
            cells.append(invoice.get("kind", Invoice.Kind.INVOICE.value))
            cells.append(invoice["corrects"]["number"] if "corrects" in invoice else None)
        return cells + _settled(invoice) if self.settled else cells

    def lines(self, invoice: Facts) -> Iterator[list[Cell]]:
        shared = _invoice_cells(invoice)
        funding = _invoice_funding(invoice) if self.programmes else []
        of_lines, whole_minor = invoice.get("held", {}), _held_minor(invoice)
        for line in invoice["lines"]:
            more = [*funding, *_line_funding(invoice, line)] if self.programmes else []
            amounts = (whole_minor, of_lines.get(line["position"], 0))
            held = [cell for minor in amounts for cell in _held(invoice, minor)] if self.held else []
            yield [*shared, *_line_cells(invoice, line), *more, *self._note(invoice), *held]


def read(snapshot: str) -> Facts:
    """Raises ValueError where it is no snapshot of the known format."""
    invoice: Facts = json.loads(snapshot)
    if invoice.get("format") != SNAPSHOT_FORMAT:
        raise ValueError(f"format is {invoice.get('format')!r}: expected {SNAPSHOT_FORMAT!r}")
    return invoice


def _json(invoices: Iterable[Facts], output: BinaryIO) -> int:
    count = 0
    for invoice in invoices:
        output.write(b",\n" if count else b"[\n")
        output.write(json.dumps(_json_invoice(invoice), ensure_ascii=False).encode())
        count += 1
    output.write(b"\n]\n" if count else b"[]\n")
    return count


def _json_invoice(invoice: Facts) -> dict[str, Any]:
    told = {
        "number": invoice["number"],
        "account": invoice["buyer"]["account"],
        "billing_period": invoice["billing_period"]["code"],
        "currency": invoice["currency"],
        "net_minor": invoice["net_minor"],
        "tax_minor": invoice["tax_minor"],
        "gross_minor": invoice["gross_minor"],
        "lines": [{key: line[key] for key in _JSON_LINE} for line in invoice["lines"]],
    }
    if "corrects" in invoice:
        told |= {key: invoice[key] for key in _JSON_NOTE}
    if "settled_on" in invoice:
        told["settled_on"] = invoice["settled_on"]
    if "corrections" in invoice:
        corrections = invoice["corrections"]
        notes = [{"number": each["number"], "corrects": each["corrects"]["number"]} for each in corrections["notes"]]
        told["corrections"] = {**corrections, "notes": notes}
    if "funding" in invoice:
        told |= {key: invoice[key] for key in _JSON_FUNDING}
        for row, line in zip(told["lines"], invoice["lines"], strict=True):
            row.update({key: line[key] for key in _JSON_LINE_FUNDING})
    if "held" in invoice:
        told["held_minor"] = _held_minor(invoice)
        for row, line in zip(told["lines"], invoice["lines"], strict=True):
            row["held_minor"] = invoice["held"].get(line["position"], 0)
    return told


def _held_minor(invoice: Facts) -> int:
    return sum(invoice.get("held", {}).values())


def _held(invoice: Facts, held_minor: int) -> list[Cell]:
    """In the order of INVOICE_HELD_COLUMNS, and of LINE_HELD_COLUMNS."""
    return [held_minor, major(held_minor, invoice["currency"])]


def _settled(invoice: Facts) -> list[Cell]:
    """In the order of SETTLED_COLUMNS. Of a note the number of the invoice that it is settled on, and nothing is due of it by
    itself; of an invoice the corrections that are settled on it, and what is due with them.
    """
    if "settled_on" in invoice:
        return [invoice["settled_on"]["number"], None, 0, None, major(0, invoice["currency"])]
    corrections_minor = invoice["corrections"]["payable_minor"] if "corrections" in invoice else 0
    amounts = (corrections_minor, payable(invoice) + corrections_minor)
    return [None, *amounts, *(major(amount_minor, invoice["currency"]) for amount_minor in amounts)]


def _csv(invoices: Iterable[Facts], output: BinaryIO, columns: Columns) -> int:
    output.write(BOM)
    output.write(csv_row(list(columns.of_lines)))
    count = 0
    for invoice in invoices:
        output.writelines(map(csv_row, columns.lines(invoice)))
        count += 1
    return count


def _xlsx(invoices: Iterable[Facts], output: BinaryIO, columns: Columns) -> int:
    # A folder of its own: the library leaves its temporary files behind when it is interrupted.
    with TemporaryDirectory(prefix="suanli-export-") as folder:
        workbook = xlsxwriter.Workbook(output, {"constant_memory": True, "tmpdir": folder})
        sheets = [sheet(workbook, "invoices", columns.of_invoices), sheet(workbook, "lines", columns.of_lines)]
        formats = Formats(workbook)
        count = rows = 0
        latest = _NO_INVOICE_AT
        for invoice in invoices:
            count += 1
            latest = max(latest, datetime.fromisoformat(invoice["issued_at"]))
            xlsx_row(sheets[0], count, columns.of_invoices, columns.invoice(invoice), formats)
            for cells in columns.lines(invoice):
                rows += 1
                xlsx_row(sheets[1], rows, columns.of_lines, cells, formats)
        # Else it would be the time of day, and the file never the same twice.
        workbook.set_properties({"created": latest.astimezone(UTC).replace(tzinfo=None)})
        workbook.close()
    return count


def _invoice_cells(invoice: Facts) -> list[Cell]:
    """In the order of INVOICE_COLUMNS."""
    buyer, issuer = invoice["buyer"], invoice["issuer"]
    totals = (invoice["net_minor"], invoice["tax_minor"], invoice["gross_minor"])
    return [
        invoice["number"],
        buyer["account"],
        buyer["name"],
        buyer["credit_code"],
        issuer["name"],
        issuer["credit_code"],
        invoice["billing_period"]["code"],
        datetime.fromisoformat(invoice["issued_at"]).date(),
        date.fromisoformat(invoice["due_date"]),
        invoice["currency"],
        *totals,
        *(major(total_minor, invoice["currency"]) for total_minor in totals),
    ]


def _line_cells(invoice: Facts, line: Facts) -> list[Cell]:
    """In the order of LINE_COLUMNS."""
    return [
        line["position"],
        line["contract"],
        line["provider"],
        line["tariff"],
        line["tariff_version"],
        line["charge"],
        line["kind"],
        line["tou_period"],
        line["tier"],
        line["start"],
        line["end"],
        Decimal(line["quantity"]),
        line["unit"],
        line["quantity_base"],
        line["base_unit"],
        None if line["unit_price"] is None else Decimal(line["unit_price"]),
        line["amount_minor"],
        major(line["amount_minor"], invoice["currency"]),
        line["tax_category"],
        Decimal(line["tax_rate"]),
    ]


def _invoice_funding(invoice: Facts) -> list[Cell]:
    """In the order of INVOICE_FUNDING_COLUMNS; of an invoice without a programme the buyer pays all."""
    amounts = (invoice.get("subsidy_minor", 0), invoice.get("payable_minor", invoice["gross_minor"]))
    codes = " ".join(each["programme"] for each in invoice.get("funding", ()))
    return [codes or None, *amounts, *(major(amount_minor, invoice["currency"]) for amount_minor in amounts)]


def _line_funding(invoice: Facts, line: Facts) -> list[Cell]:
    """In the order of LINE_FUNDING_COLUMNS."""
    amounts = (line.get("subsidy_minor", 0), line.get("payable_minor", line["amount_minor"]))
    codes = " ".join(each["programme"] for each in line.get("funding", ()))
    return [codes or None, *amounts, *(major(amount_minor, invoice["currency"]) for amount_minor in amounts)]
