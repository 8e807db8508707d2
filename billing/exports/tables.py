"""Cells as CSV and XLSX: text that stays text, numbers that stay whole, and nothing that a spreadsheet could take for a formula."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import xlsxwriter  # type: ignore[import-untyped]  # no stubs
from xlsxwriter.format import Format as CellFormat  # type: ignore[import-untyped]  # no stubs
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]  # no stubs

from billing.rating.money import exponent

Cell = str | int | Decimal | date | None
BOM: Final = "\ufeff".encode()

_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")
# A spreadsheet's numbers keep 15 significant digits; a longer one is written as text, so that none is lost.
_MOST_DIGITS = 15


class SheetFullError(Exception):
    """A spreadsheet can't hold that many rows, or so long a text."""


def csv_row(cells: list[Cell]) -> bytes:
    return (",".join(map(_csv_cell, cells)) + "\r\n").encode()


def _csv_cell(cell: Cell) -> str:
    """Text in quotes, numbers without, as the readers that mind the difference expect."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return '"' + guarded(cell).replace('"', '""') + '"'
    return cell.isoformat() if isinstance(cell, date) else f"{cell:f}" if isinstance(cell, Decimal) else str(cell)


def guarded(value: str) -> str:
    """The text, behind an apostrophe if a spreadsheet could take it for a formula."""
    starts = {value[:1], value.lstrip()[:1]}
    return f"'{value}" if starts & _FORMULA_STARTS else value


def sheet(workbook: xlsxwriter.Workbook, name: str, columns: Mapping[str, int]) -> Worksheet:
    """A sheet with its header, and the columns at their widths."""
    made = workbook.add_worksheet(name)
    header = workbook.add_format({"bold": True, "bottom": 1, "bg_color": "#F3F6F9"})
    made.freeze_panes(1, 1)
    for index, (column, width) in enumerate(columns.items()):
        made.set_column(index, index, width)
        made.write_string(0, index, column, header)
    return made


class Formats:
    """How each column's numbers are shown; money by the places it comes with."""

    def __init__(self, workbook: xlsxwriter.Workbook) -> None:
        self._workbook = workbook
        self._made: dict[str, CellFormat] = {}

    def of(self, column: str, cell: Cell) -> CellFormat:
        return self._format(self._pattern(column, cell))

    def _pattern(self, column: str, cell: Cell) -> str:
        if isinstance(cell, date):
            return "yyyy-mm-dd"
        if column == "tax_rate":
            return "0.00%"
        if column in {"quantity", "unit_price"}:
            return "#,##0.00##########"
        if isinstance(cell, Decimal):
            places = -int(cell.as_tuple().exponent)
            return f"#,##0.{'0' * places}" if places else "#,##0"
        return "0" if isinstance(cell, int) else "@"

    def _format(self, pattern: str) -> CellFormat:
        if pattern not in self._made:
            self._made[pattern] = self._workbook.add_format({"num_format": pattern})
        return self._made[pattern]


def xlsx_row(sheet: Worksheet, row: int, columns: Iterable[str], cells: list[Cell], formats: Formats) -> None:
    for index, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        if cell is None:
            continue
        style = formats.of(column, cell)
        if isinstance(cell, str):
            refused = sheet.write_string(row, index, guarded(cell), style)
        elif isinstance(cell, date):
            refused = sheet.write_datetime(row, index, cell, style)
        elif len(Decimal(cell).normalize().as_tuple().digits) > _MOST_DIGITS:
            refused = sheet.write_string(row, index, f"{cell:f}" if isinstance(cell, Decimal) else str(cell), style)
        else:
            refused = sheet.write_number(row, index, cell, style)
        if refused:
            raise SheetFullError(
                f"row {row + 1}, column {column}: a sheet holds 1,048,576 rows and 32,767 characters a cell"
            )


def major(amount_minor: int, currency: str) -> Decimal:
    return Decimal(amount_minor).scaleb(-exponent(currency))
