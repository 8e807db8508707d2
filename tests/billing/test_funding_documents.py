"""What a programme pays, as JSON, CSV, XLSX and PDF say it; invoices without one are as they were."""

import csv
import json
from io import BytesIO, StringIO

import openpyxl
import pypdf
import pytest

from billing import invoicing
from billing.documents.invoice import render_invoice
from billing.exports import invoices as exports
from billing.models import Invoice, Programme
from tests.billing import programmes_world, world

FUNDING = ["invoice_programmes", "invoice_subsidy_minor", "invoice_payable_minor", "invoice_subsidy", "invoice_payable"]
LINE_FUNDING = ["programmes", "subsidy_minor", "payable_minor", "subsidy", "payable"]


@pytest.fixture
def two(db):
    """Invoices of B00, which has a programme, and of B01, which has none: 80.00 and 88.00, 6 % VAT."""
    issuer = world.issuer()
    first, second = world.buyers(issuer, world.publish().tariff, 2)
    programmes_world.grant(programmes_world.programme(issuer, name_en="Vouchers", cap_invoice_minor=2_000), first)
    period = world.may(issuer)
    return [
        invoicing.issue(account=each, period=period, at=world.JUNE, actor="test").snapshot for each in (first, second)
    ]


def export(form, snapshots, **options):
    output = BytesIO()
    exports.write(invoices=snapshots, format=form, output=output, **options)
    return output.getvalue()


def test_json_has_further_keys_for_an_invoice_with_a_programme_only(two):
    funded, plain = json.loads(export("json", two))
    more = {"subsidy_minor", "payable_minor", "funding"}
    assert set(funded) - set(plain) == more
    assert set(funded["lines"][0]) - set(plain["lines"][0]) == more | {"list_minor"}
    assert (funded["net_minor"], funded["subsidy_minor"], funded["payable_minor"]) == (8_000, 2_000, 6_480)
    assert funded["funding"] == [
        {
            "programme": "sme-30",
            "name": "sme-30",
            "name_en": "Vouchers",
            "funder": "资助方50",
            "mode": "voucher",
            "vat_treatment": "third_party_consideration",
            "percent": "30",
            "unit_amount": None,
            "unit": "",
            "eligible_minor": 8_000,
            "wanted_minor": 2_400,
            "share_minor": 2_000,
            "limited_by": "invoice_cap",
        }
    ]


def test_csv_and_xlsx_have_columns_at_the_end_where_a_programme_was_asked(two):
    rows = list(csv.DictReader(StringIO(export("csv", two).decode("utf-8-sig"))))
    assert list(rows[0]) == [*exports.ALL_COLUMNS, *FUNDING, *LINE_FUNDING]
    assert [rows[0][column] for column in FUNDING] == ["sme-30", "2000", "6480", "20.00", "64.80"]
    assert [rows[0][column] for column in LINE_FUNDING] == ["sme-30", "2000", "6000", "20.00", "60.00"]
    assert [rows[1][column] for column in FUNDING] == ["", "0", "9328", "0.00", "93.28"]
    assert [rows[1][column] for column in LINE_FUNDING] == ["", "0", "8800", "0.00", "88.00"]
    sheet = openpyxl.load_workbook(BytesIO(export("xlsx", iter(two), programmes=True)))["invoices"]
    assert [cell.value for cell in sheet[1]][-5:] == FUNDING
    assert [cell.value for cell in sheet[2]][-5:] == ["sme-30", 2_000, 6_480, 20, 64.8]


def test_csv_without_a_programme_has_the_columns_it_had(two):
    assert list(csv.DictReader(StringIO(export("csv", two[1:]).decode("utf-8-sig"))).fieldnames) == list(
        exports.ALL_COLUMNS
    )


def pdf(snapshot, language):
    pages = pypdf.PdfReader(BytesIO(render_invoice(snapshot=snapshot, language=language))).pages
    return " ".join("".join(page.extract_text() for page in pages).split())


def test_the_document_says_what_the_programme_pays_and_what_is_left_to_pay(two):
    english = pdf(two[0], "en")
    assert "¥64.80" in english
    assert "Paid by Vouchers -20.00" in english
    assert "paid by sme-30 20.00, by you 60.00" in english
    assert "30% of 80.00 is 24.00; it pays 20.00. Limited by the cap for an invoice." in english
    chinese = pdf(two[0], "zh-hans").replace(" ", "")
    assert "资助sme-3020.00，自付60.00" in chinese
    assert "陆拾肆元捌角整" in chinese
    assert "by you" not in pdf(two[1], "en")


def test_a_reimbursement_is_said_to_be_claimed_by_the_buyer(db):
    issuer = world.issuer()
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    programmes_world.grant(programmes_world.programme(issuer, mode=Programme.Mode.REIMBURSEMENT), account)
    invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    english = pdf(Invoice.objects.get().snapshot, "en")
    assert "¥84.80" in english
    assert "You pay it first, and claim it from the funder with this invoice." in english
