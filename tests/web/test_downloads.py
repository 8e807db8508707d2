"""What is taken away: the bytes of billing's own documents and exports, for those alone who may see the invoice."""

import io
import json

import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from billing.documents.invoice import render_invoice
from billing.exports import invoices as exports
from tests.web.buyers import hourly, local
from tests.web.test_invoices import issue


@pytest.fixture
def issued(zoned):
    hourly(zoned.sun.contract, 4, start_at=local(1, 8, month=4), hours=3)
    return issue(zoned)


def body(response):
    return b"".join(response.streaming_content)  # to its end, where the client closes the file


def written(form, *snapshots):
    output = io.BytesIO()
    exports.write(invoices=snapshots, format=form, output=output)
    return output.getvalue()


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_the_pdf_is_the_documents_own_in_either_language(sun, issued, language):
    response = sun.get(f"/invoices/{issued.number}/pdf/{language}/")
    assert response.content == render_invoice(snapshot=issued.snapshot, language=language)
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{issued.number}.{language}.pdf"'
    assert response.headers["Cache-Control"] == "private, no-store"
    assert issued.number in PdfReader(io.BytesIO(response.content)).pages[0].extract_text()


@pytest.mark.parametrize(
    ("form", "content_type"),
    [
        ("csv", "text/csv; charset=utf-8"),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("json", "application/json"),
    ],
)
def test_one_invoice_is_the_exports_own(sun, issued, form, content_type):
    response = sun.get(f"/invoices/{issued.number}/download/{form}/")
    assert body(response) == written(form, issued.snapshot)
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Content-Disposition"] == f'attachment; filename="{issued.number}.{form}"'
    assert response.headers["Cache-Control"] == "private, no-store"


def test_a_month_holds_ones_own_invoices_and_no_others(sun, zoned, issued):
    other = issue(zoned, zoned.moon)
    response = sun.get("/invoices/month/2020-04/json/")
    assert [invoice["number"] for invoice in json.loads(body(response))] == [issued.number]
    assert response.headers["Content-Disposition"] == 'attachment; filename="invoices-2020-04.json"'
    sheet = load_workbook(io.BytesIO(body(sun.get("/invoices/month/2020-04/xlsx/"))))["invoices"]
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == [issued.number]
    assert other.number.encode() not in body(sun.get("/invoices/month/2020-04/csv/"))


def test_what_is_not_there_or_anothers_is_not_found(sun, zoned, issued):
    other = issue(zoned, zoned.moon)
    for address in (
        f"/invoices/{other.number}/pdf/en/",
        f"/invoices/{other.number}/download/csv/",
        f"/invoices/{issued.number}/pdf/fr/",
        f"/invoices/{issued.number}/download/exe/",
        "/invoices/month/2020-05/csv/",
        "/invoices/month/2020-04/exe/",
        "/invoices/month/x/csv/",
    ):
        assert sun.get(address).status_code == 404


def test_who_may_not_see_bills_takes_none_away(browser, zoned, issued):
    client = browser(zoned.sun.viewer)
    for address in (
        f"/invoices/{issued.number}/pdf/en/",
        f"/invoices/{issued.number}/download/csv/",
        "/invoices/month/2020-04/csv/",
    ):
        assert client.get(address).status_code == 404


def test_an_invoice_that_cannot_be_printed_says_so_and_stays_whole_in_the_other_forms(sun, zoned):
    hourly(zoned.sun.contract, 4, start_at=local(1, 8, month=4), hours=3)
    party = zoned.sun.account.party
    party.legal_name_en = "Sun \N{ROCKET}"
    party.save()
    issued = issue(zoned)
    response = sun.get(f"/invoices/{issued.number}/pdf/en/", follow=True)
    assert response.redirect_chain == [(f"/invoices/{issued.number}/", 302)]
    assert (
        "This invoice can&#x27;t be printed: “Sun 🚀” has a character that the font lacks." in response.content.decode()
    )
    assert body(sun.get(f"/invoices/{issued.number}/download/csv/")) == written("csv", issued.snapshot)
