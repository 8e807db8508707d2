"""What a credit or debit note says, in both languages: its pages, its PDF, its rows in an export."""

import json
from decimal import Decimal
from io import BytesIO

import pytest

from billing.documents.content import content
from billing.documents.invoice import render_invoice
from billing.documents.words import sentences
from billing.exports import invoices as exports
from tests.billing import programmes_world, world
from tests.billing.corrections_world import HOUR, correct, issue, retract, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def note():
    """30 of 100 h are retracted: −240.00, of which a programme had paid 20 %."""
    issuer = world.issuer()
    account = world.account(issuer, "B00")
    contract = world.contract(account, world.publish().tariff)
    send(contract, "a", world.MAY, hours=10, gpus=7, at=world.JUNE - HOUR)
    send(contract, "b", world.MAY + 48 * HOUR, hours=10, gpus=3, at=world.JUNE - HOUR)
    programmes_world.grant(programmes_world.programme(issuer, percent=Decimal(20)), account)
    invoice = issue(account)
    retract(contract, "b")
    return correct(invoice)


def test_in_english(note):
    said = content(snapshot=json.loads(note.snapshot), language="en")
    assert (said["title"], said["number"]) == ("Credit note", "LG-CN-2020-000001")
    assert said["facts"][:2] == [["Number", "LG-CN-2020-000001"], ["Corrects invoice", "LG-2020-000001"]]
    assert said["due"] == {"label": "Amount credited, tax included (CNY)", "amount": "¥206.40", "by": ""}
    assert said["totals"] == [
        ["Total before tax", "-240.00"],
        ["Taken back by sme-30", "48.00"],
        ["VAT 6% on -240.00", "-14.40"],
    ]
    assert said["total"] == ["Payable", "-¥206.40"]
    [item] = said["explained"]["items"]
    assert item["formula"] == "was 100 GPU-h, 800.00; is 70 GPU-h, 560.00"
    assert "Usage events after issue: 0 came, 1 were corrected" in item["facts"]
    [row] = said["lines"]["groups"][0]["rows"]
    assert row["detail"] == "2020-05-01 – 2020-05-31, paid by sme-30 -48.00, by you -192.00"
    assert said["notes"][1] == (
        "This corrects invoice LG-2020-000001 of 2020-06-01, which stays as it was issued; each line keeps the time of its use."
    )


def test_in_chinese(note):
    said = content(snapshot=json.loads(note.snapshot), language="zh-hans")
    assert (said["title"], said["facts"][1]) == ("贷项通知单", ["更正账单", "LG-2020-000001"])
    assert said["explained"]["items"][0]["formula"] == "原为 100 卡时、800.00，现为 70 卡时、560.00"
    assert said["capitals"][1] == "（负数）贰佰零陆元肆角整"


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_its_pdf_is_printed_from_its_snapshot(note, language):
    assert render_invoice(snapshot=note.snapshot, language=language).startswith(b"%PDF")


def test_in_an_export_columns_at_the_end_say_what_it_is_and_what_it_corrects(note):
    snapshots = [note.corrects.snapshot, note.snapshot]
    output = BytesIO()
    exports.write(invoices=snapshots, format="csv", output=output)
    head, *rows = output.getvalue().decode("utf-8-sig").splitlines()
    assert head.endswith(',"document_kind","corrects"')
    assert [row.split(",")[-2:] for row in rows] == [['"invoice"', ""], ['"credit_note"', '"LG-2020-000001"']]
    output = BytesIO()
    exports.write(invoices=snapshots[:1], format="csv", output=output)
    assert "document_kind" not in output.getvalue().decode()
    output = BytesIO()
    exports.write(invoices=snapshots, format="json", output=output)
    told = json.loads(output.getvalue())[1]
    assert (told["kind"], told["corrects"]["number"], told["posted_in"]) == ("credit_note", "LG-2020-000001", "2020-06")


def test_why_a_line_of_it_was_charged(note):
    content = json.loads(note.snapshot)
    assert sentences(snapshot=content, line=content["lines"][0], language="en") == [
        "This corrects a line of invoice LG-2020-000001, of 2020-05-01 – 2020-05-31; the invoice stays as it was issued.",
        "Usage events after issue: 0 came, 1 were corrected.",
        "The amount is before tax; VAT of 6% is computed on the sum of all lines of that rate.",
        "sme-30 takes back ¥48.00 of this line.",
        "You pay -¥192.00 of this line, before tax.",
    ]
