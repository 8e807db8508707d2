import csv
import gc
import io
import json
import re
import time
import zipfile
from datetime import date
from decimal import Decimal

import openpyxl
import pytest
import xlsxwriter

from billing import invoicing
from billing.exports import invoices as exports
from billing.exports import tables
from billing.exports.invoices import (
    ALL_COLUMNS,
    FORMATS,
    INVOICE_COLUMNS,
    UnknownPeriodError,
    issued,
    write,
)
from billing.exports.tables import SheetFullError, guarded
from tests.billing import world
from tests.billing.documents_sample import BUYER, ISSUER, PROVIDER, facts, text, with_charges

ALL_KINDS = with_charges(
    {"kind": "rider", "code": "SRV", "basis": "percent", "of": ["EN", "CP"], "value": "2.5"},
    {"kind": "credit", "code": "SLA", "basis": "percent", "of": ["EN"], "value": "10"},
)
THREE = [
    facts(number="LG-2020-000001", tariff=ALL_KINDS, contracts=("C-1", "C-2")),
    facts(number="LG-2020-000002", scale=0),
    facts(number="LG-2020-000003", reserved_half=True),
]


def export(form, snapshots):
    output = io.BytesIO()
    assert write(invoices=map(text, snapshots), format=form, output=output) == len(snapshots)
    return output.getvalue()


def csv_rows(content):
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def sheets(content):
    book = openpyxl.load_workbook(io.BytesIO(content))
    return {sheet.title: sheet for sheet in book.worksheets}


def sheet_rows(sheet):
    header, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


# JSON


def test_json_has_exactly_these_keys_and_the_snapshots_values():
    content = export("json", THREE)
    assert content.endswith(b"\n]\n")
    parsed = json.loads(content)
    assert [list(invoice) for invoice in parsed] == [
        ["number", "account", "billing_period", "currency", "net_minor", "tax_minor", "gross_minor", "lines"]
    ] * 3
    line_keys = [
        "charge",
        "tou_period",
        "tier",
        "quantity",
        "unit",
        "quantity_base",
        "base_unit",
        "unit_price",
        "amount_minor",
    ]
    for invoice, snapshot in zip(parsed, THREE, strict=True):
        assert invoice["number"] == snapshot["number"]
        assert invoice["account"] == "vc-a1b2c3"
        assert invoice["billing_period"] == "2020-05"
        assert [list(line) for line in invoice["lines"]] == [line_keys] * len(snapshot["lines"])
        assert invoice["lines"] == [{key: line[key] for key in line_keys} for line in snapshot["lines"]]


def test_json_of_one_invoice_is_this_text():
    assert export("json", [facts(scale=0)]).decode() == (
        '[\n{"number": "LG-2020-000001", "account": "vc-a1b2c3", "billing_period": "2020-05", "currency": "CNY", '
        '"net_minor": 50000, "tax_minor": 3000, "gross_minor": 53000, "lines": ['
        '{"charge": "SC", "tou_period": null, "tier": null, "quantity": "31.000000", "unit": "day", '
        '"quantity_base": 2678400, "base_unit": "second", "unit_price": "10.00", "amount_minor": 31000}, '
        '{"charge": "MIN", "tou_period": null, "tier": null, "quantity": "1.000000", "unit": "month", '
        '"quantity_base": 2678400, "base_unit": "second", "unit_price": null, "amount_minor": 19000}]}\n]\n'
    )


# CSV


def test_csv_of_one_invoice_is_this_text():
    shared = (
        '"LG-2020-000001","vc-a1b2c3","上海星河智能科技有限公司","913100001322102159","上海临港算力运营有限公司",'
        '"91310000MA1FL4YX0B","2020-05",2020-06-01,2020-07-01,"CNY",50000,3000,53000,500.00,30.00,530.00'
    )
    start_end = '"2020-05-01T00:00:00+08:00","2020-06-01T00:00:00+08:00"'
    contract = '"C-vc-a1b2c3","上海商汤智能科技有限公司","LG-INCLUSIVE-2020",1'
    assert export("csv", [facts(scale=0)]).decode() == (
        "\ufeff" + ",".join(f'"{column}"' for column in ALL_COLUMNS) + "\r\n"
        f'{shared},1,{contract},"SC","standing",,,{start_end},31.000000,"day",2678400,"second",10.00,31000,310.00,"S",0.06\r\n'
        f'{shared},2,{contract},"MIN","minimum",,,{start_end},1.000000,"month",2678400,"second",,19000,190.00,"S",0.06\r\n'
    )


def test_csv_read_back_is_the_snapshot():
    rows = csv_rows(export("csv", THREE))
    lines = [(snapshot, line) for snapshot in THREE for line in snapshot["lines"]]
    assert len(rows) == len(lines) == 22 + 2 + 15
    for row, (snapshot, line) in zip(rows, lines, strict=True):
        assert list(row) == list(ALL_COLUMNS)
        assert row == {
            "number": snapshot["number"],
            "account": BUYER["account"],
            "buyer_name": BUYER["name"],
            "buyer_credit_code": "913100001322102159",
            "issuer_name": ISSUER["name"],
            "issuer_credit_code": ISSUER["credit_code"],
            "billing_period": "2020-05",
            "issued_date": "2020-06-01",
            "due_date": "2020-07-01",
            "currency": "CNY",
            "invoice_net_minor": str(snapshot["net_minor"]),
            "invoice_tax_minor": str(snapshot["tax_minor"]),
            "invoice_gross_minor": str(snapshot["gross_minor"]),
            "invoice_net": f"{Decimal(snapshot['net_minor']) / 100:.2f}",
            "invoice_tax": f"{Decimal(snapshot['tax_minor']) / 100:.2f}",
            "invoice_gross": f"{Decimal(snapshot['gross_minor']) / 100:.2f}",
            "line_position": str(line["position"]),
            "contract": line["contract"],
            "provider": PROVIDER,
            "tariff": "LG-INCLUSIVE-2020",
            "tariff_version": "1",
            "charge": line["charge"],
            "kind": line["kind"],
            "tou_period": line["tou_period"] or "",
            "tier": "" if line["tier"] is None else str(line["tier"]),
            "start": line["start"],
            "end": line["end"],
            "quantity": line["quantity"],
            "unit": line["unit"],
            "quantity_base": str(line["quantity_base"]),
            "base_unit": line["base_unit"],
            "unit_price": line["unit_price"] or "",
            "amount_minor": str(line["amount_minor"]),
            "amount": f"{Decimal(line['amount_minor']) / 100:.2f}",
            "tax_category": "S",
            "tax_rate": "0.06",
        }


def test_a_tiny_price_has_no_exponent_and_text_keeps_its_quotes_and_breaks():
    snapshot = facts(scale=0, buyer={"name": 'a "b", c\r\nd'})
    snapshot["lines"][0]["unit_price"] = "0.000000123456"
    row = csv_rows(export("csv", [snapshot]))[0]
    assert row["unit_price"] == "0.000000123456"
    assert row["buyer_name"] == 'a "b", c\r\nd'


# XLSX


def test_xlsx_read_back_is_the_snapshot_and_text_stays_text():
    book = sheets(export("xlsx", THREE))
    assert list(book) == ["invoices", "lines"]
    heads, rows = sheet_rows(book["invoices"]), sheet_rows(book["lines"])
    assert [(head["number"], head["invoice_gross_minor"]) for head in heads] == [
        (snapshot["number"], snapshot["gross_minor"]) for snapshot in THREE
    ]
    lines = [line for snapshot in THREE for line in snapshot["lines"]]
    for row, line in zip(rows, lines, strict=True):
        assert list(row) == list(ALL_COLUMNS)
        assert row["buyer_credit_code"] == "913100001322102159"
        assert row["billing_period"] == "2020-05"
        assert row["issued_date"].date() == date(2020, 6, 1)
        assert row["due_date"].date() == date(2020, 7, 1)
        for column in ("contract", "charge", "kind", "tou_period", "tier", "start", "end", "unit", "base_unit"):
            assert row[column] == line[column]
        assert row["quantity_base"] == line["quantity_base"]
        assert Decimal(str(row["quantity"])) == Decimal(line["quantity"])
        assert row["amount_minor"] == line["amount_minor"]
        assert Decimal(str(row["amount"])) == Decimal(line["amount_minor"]) / 100
        assert (row["unit_price"] is None) == (line["unit_price"] is None)
    assert {cell.data_type for cell in book["lines"]["D"]} == {"s"}
    assert {cell.data_type for sheet in book.values() for row in sheet.iter_rows() for cell in row} == {"s", "n", "d"}


def test_xlsx_has_a_frozen_header_widths_and_number_formats():
    book = sheets(export("xlsx", THREE))
    for sheet, columns in ((book["invoices"], INVOICE_COLUMNS), (book["lines"], ALL_COLUMNS)):
        assert sheet.freeze_panes == "B2"
        assert [cell.font.bold for cell in sheet[1]] == [True] * len(columns)
        assert sheet.column_dimensions["C"].width == pytest.approx(34, abs=1)
    formats = {column: cell.number_format for column, cell in zip(ALL_COLUMNS, book["lines"][2], strict=True)}
    assert {
        column: formats[column] for column in ("amount", "amount_minor", "quantity", "tax_rate", "due_date", "number")
    } == {
        "amount": "#,##0.00",
        "amount_minor": "0",
        "quantity": "#,##0.00##########",
        "tax_rate": "0.00%",
        "due_date": "yyyy-mm-dd",
        "number": "@",
    }


def test_a_number_that_a_spreadsheet_would_round_is_written_as_text():
    snapshot = facts(scale=0)
    snapshot["lines"][0] |= {"quantity_base": 1234567890123456, "quantity": "1234567890.123456", "amount_minor": 10**17}
    row = sheet_rows(sheets(export("xlsx", [snapshot]))["lines"])[0]
    assert row["quantity_base"] == "1234567890123456"
    assert row["quantity"] == "1234567890.123456"
    assert row["amount_minor"] == 10**17


def test_a_full_sheet_is_an_error_not_a_shorter_file():
    with xlsxwriter.Workbook(io.BytesIO()) as book:
        sheet = book.add_worksheet()
        for row, cell in ((1_048_576, 1), (1, "x" * 32_768)):
            with pytest.raises(SheetFullError, match=rf"^row {row + 1}, column tier: a sheet holds 1,048,576 rows"):
                tables.xlsx_row(sheet, row, ["tier"], [cell], tables.Formats(book))


@pytest.mark.filterwarnings(
    "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"
)  # xlsxwriter has no abort
def test_xlsx_leaves_no_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    export("xlsx", THREE)

    def broken():
        yield text(THREE[0])
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError, match="went away"):
        write(invoices=broken(), format="xlsx", output=io.BytesIO())
    assert list(tmp_path.iterdir()) == []
    gc.collect()


# All formats


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", " =", "\u3000@"])
def test_a_text_that_could_be_a_formula_is_guarded_in_tables_only(start):
    name = f"{start}1+1"
    snapshot = facts(scale=0, buyer={"name": name, "account": name}, contracts=(name,))
    csv_row = csv_rows(export("csv", [snapshot]))[0]
    book = sheets(export("xlsx", [snapshot]))
    xlsx_row = sheet_rows(book["lines"])[0]
    for row in (csv_row, xlsx_row):
        for column in ("buyer_name", "account", "contract"):
            read_back = row[column].replace("_x000D_", "\r")
            assert read_back.replace("\r\n", "\n") == f"'{name}"
    assert [cell.data_type for cell in book["lines"][2]].count("f") == 0
    assert json.loads(export("json", [snapshot]))[0]["account"] == name


@pytest.mark.parametrize("name", ["星河", "a=b", "", "'quoted", "1-2", "(-1)"])
def test_another_text_is_left_as_it_is(name):
    assert guarded(name) == name


def test_negative_amounts_stay_numbers():
    credit = next(line for line in THREE[0]["lines"] if line["kind"] == "credit")
    assert credit["amount_minor"] == -339461
    content = export("csv", THREE[:1]).decode()
    assert ",-339461,-3394.61," in content
    rows = sheet_rows(sheets(export("xlsx", THREE[:1]))["lines"])
    assert [(row["amount_minor"], row["amount"]) for row in rows if row["kind"] == "credit"] == [
        (-339461, -3394.61)
    ] * 2


def test_the_lines_of_every_invoice_sum_to_its_net_and_net_and_tax_to_its_gross():
    for invoice in json.loads(export("json", THREE)):
        assert sum(line["amount_minor"] for line in invoice["lines"]) == invoice["net_minor"]
        assert invoice["net_minor"] + invoice["tax_minor"] == invoice["gross_minor"]
    by_number = {}
    for row in csv_rows(export("csv", THREE)):
        by_number.setdefault((row["number"], Decimal(row["invoice_net"])), []).append(Decimal(row["amount"]))
    assert [sum(amounts) for amounts in by_number.values()] == [net for _, net in by_number]
    assert len(by_number) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_a_second_later_the_bytes_are_the_same(form):
    before = export(form, THREE)
    time.sleep(2.1 if form == "xlsx" else 0)  # a zip's clock ticks every two seconds
    assert export(form, THREE) == before


def test_an_xlsx_files_date_is_that_of_its_latest_invoice():
    later = facts(number="LG-2020-000004") | {"issued_at": "2020-06-02T07:00:00+08:00"}
    with zipfile.ZipFile(io.BytesIO(export("xlsx", [later, *THREE]))) as file:
        assert re.findall(r"W3CDTF\">([^<]+)<", file.read("docProps/core.xml").decode()) == ["2020-06-01T23:00:00Z"] * 2


def test_without_invoices_there_is_an_empty_list_or_the_header_alone():
    assert export("json", []) == b"[]\n"
    assert csv_rows(export("csv", [])) == []
    assert export("csv", []).decode() == "\ufeff" + ",".join(f'"{column}"' for column in ALL_COLUMNS) + "\r\n"
    book = sheets(export("xlsx", []))
    assert [[cell.value for cell in sheet[1]] for sheet in book.values()] == [list(INVOICE_COLUMNS), list(ALL_COLUMNS)]
    assert [sheet.max_row for sheet in book.values()] == [1, 1]


def test_amounts_have_their_currencys_places():
    yen = facts(scale=0) | {"currency": "JPY"}
    row = csv_rows(export("csv", [yen]))[0]
    assert (row["amount_minor"], row["amount"], row["invoice_gross"]) == ("31000", "31000", "53000")


@pytest.mark.parametrize("form", ["json", "csv"])
def test_invoices_are_written_as_they_come(form):
    """Nothing of an invoice is kept: each one's bytes are out before the next is read."""
    sizes = []
    output = io.BytesIO()

    def coming():
        for snapshot in THREE:
            sizes.append(output.tell())
            yield text(snapshot)

    write(invoices=coming(), format=form, output=output)
    assert sizes[0] == (0 if form == "json" else len(export("csv", [])))
    assert [earlier < later for earlier, later in zip(sizes, [*sizes[1:], output.tell()], strict=True)] == [True] * 3


def test_another_snapshot_format_is_refused():
    with pytest.raises(ValueError, match=r"^format is None: expected 'suanli-invoice/1'$"):
        write(invoices=["{}"], format="json", output=io.BytesIO())


# From the database: the real chain, from readings to files


@pytest.fixture
def may(db):
    operator = world.issuer()
    world.buyers(operator, world.publish().tariff, 3)
    period = world.may(operator)
    world.close(period)
    return period


def test_issued_invoices_come_in_the_order_of_their_numbers_in_two_queries(may, django_assert_num_queries):
    with django_assert_num_queries(2):
        snapshots = list(issued(period_code="2020-05"))
    assert [json.loads(snapshot)["number"] for snapshot in snapshots] == [
        "LG-2020-000001",
        "LG-2020-000002",
        "LG-2020-000003",
    ]
    assert [json.loads(snapshot)["buyer"]["account"] for snapshot in snapshots] == ["B00", "B01", "B02"]


def test_one_invoice_takes_two_queries_too(db, django_assert_num_queries):
    operator = world.issuer()
    world.buyers(operator, world.publish().tariff, 1)
    world.close(world.may(operator))
    with django_assert_num_queries(2):
        assert len(list(issued(period_code="2020-05"))) == 1
    with django_assert_num_queries(2):
        assert exports.count_issued(period_code="2020-05") == 1


def test_the_export_of_a_closed_month_ties_to_what_was_used(may):
    output = io.BytesIO()
    assert write(invoices=issued(period_code="2020-05"), format="json", output=output) == 3
    assert [
        (
            invoice["account"],
            invoice["net_minor"],
            invoice["tax_minor"],
            [line["quantity_base"] for line in invoice["lines"]],
        )
        for invoice in json.loads(output.getvalue())
    ] == [("B00", 8000, 480, [36000]), ("B01", 8800, 528, [39600]), ("B02", 9600, 576, [43200])]


def test_drafts_are_no_invoices_yet(db):
    operator = world.issuer()
    (buyer,) = world.buyers(operator, world.publish().tariff, 1)
    invoicing.draft(account=buyer, period=world.may(operator), at=world.JUNE, actor="test")
    assert list(issued(period_code="2020-05")) == []
    assert exports.count_issued(period_code="2020-05") == 0


def test_two_issuers_of_a_period_come_together_or_one_by_one(may):
    other = world.issuer("bj", 3)
    world.contract(world.account(other, "Z", 900), world.publish(world.energy(), code="U").tariff)
    world.close(world.may(other))

    def numbers(**which):
        return [json.loads(snapshot)["number"] for snapshot in issued(period_code="2020-05", **which)]

    lingang = ["LG-2020-000001", "LG-2020-000002", "LG-2020-000003"]
    assert numbers() == ["BJ-2020-000001", *lingang]
    assert numbers(issuer_code="lg") == lingang
    assert numbers(issuer_code="bj") == ["BJ-2020-000001"]


def test_an_unknown_period_is_named(may):
    with pytest.raises(
        UnknownPeriodError, match=r"^there is no billing period '2020-06': expected one that was opened"
    ):
        issued(period_code="2020-06")
    with pytest.raises(UnknownPeriodError, match=r"^there is no billing period '2020-05' of issuer 'bj': expected one"):
        issued(period_code="2020-05", issuer_code="bj")
