"""What an invoice says of the corrections that are settled on it, and each of those of it: pages, PDF, exports."""

import csv
import json
from decimal import Decimal
from io import BytesIO, StringIO

import pytest

from billing import invoicing
from billing.documents.content import content
from billing.documents.invoice import render_invoice
from billing.exports import invoices as exports
from billing.exports import register
from billing.models import Invoice
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, issue, retract, send
from tests.billing.settling_world import CLOSED, approve, buyer, next_invoice

pytestmark = pytest.mark.django_db


@pytest.fixture
def bill():
    """June's invoice of 10 h, 80.00, of which a programme pays 20 %; 30 of May's 100 h were retracted: −240.00."""
    issuer = world.issuer()
    contract = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer, percent=Decimal(20)), contract.account)
    send(contract, "a", world.MAY, hours=10, gpus=7, at=world.JUNE - HOUR)
    send(contract, "b", world.MAY + 48 * HOUR, hours=10, gpus=3, at=world.JUNE - HOUR)
    may = issue(contract.account)
    retract(contract, "b")
    send(contract, "c", world.JUNE, hours=10, at=world.JULY - HOUR)
    approve(may, at=AFTER)
    return next_invoice(contract.account)


def test_the_invoice_in_english(bill):
    # May: −240.00, VAT −14.40, 48.00 taken back: −206.40. June: 80.00 + 4.80 − 16.00 = 68.80. In all −137.60.
    said = content(snapshot=json.loads(bill.snapshot), language="en")
    assert said["due"] == {"label": "Amount credited, tax included (CNY)", "amount": "¥137.60", "by": ""}
    assert said["total"] == ["Payable", "¥68.80"]
    found = said["corrections"]
    assert found["heading"] == "Corrections of earlier months"
    [group] = found["groups"]
    assert (group["heading"], group["subtotal"]) == ("Corrects invoice LG-2020-000001 (2020-05)", "-240.00")
    assert group["about"] == ["Credit note LG-CN-2020-000001", "Contract C-B00 Tariff T, version 1"]
    [row] = group["rows"]
    assert (row["item"], row["quantity"], row["unit"], row["price"], row["amount"]) == (
        "Usage charge, all hours",
        ["-30", ""],
        "GPU-h",
        ["8", "00"],
        "-240.00",
    )
    assert row["detail"] == "2020-05-01 – 2020-05-31, paid by sme-30 -48.00, by you -192.00"
    assert (row["formula"], row["facts"]) == (
        "was 100 GPU-h, 800.00; is 70 GPU-h, 560.00",
        "Usage events after issue: 0 came, 1 were corrected",
    )
    assert found["totals"] == [
        ["Total before tax", "-240.00"],
        ["Taken back by sme-30", "48.00"],
        ["VAT 6% on -240.00", "-14.40"],
    ]
    assert found["sums"] == [["This month", "¥68.80"], ["Corrections", "-¥206.40"]]
    assert found["due"] == ["In all credited", "¥137.60"]


def test_the_invoice_in_chinese(bill):
    said = content(snapshot=json.loads(bill.snapshot), language="zh-hans")
    found = said["corrections"]
    assert (found["heading"], found["groups"][0]["heading"]) == ("以前月份更正", "更正账单 LG-2020-000001（2020-05）")
    assert found["due"] == ["应退总额", "¥137.60"]
    assert said["capitals"] == ["应付总额（大写）", "（负数）壹佰叁拾柒元陆角整"]


def test_the_note_says_on_which_invoice_it_is_settled_and_asks_for_nothing(bill):
    note = bill.settles.get()
    said = content(snapshot=json.loads(note.snapshot), language="en")
    assert said["facts"][-1] == ["Settled on", bill.number]
    assert said["due"] == {
        "label": f"Settled on invoice {bill.number}, tax included (CNY)",
        "amount": "-¥206.40",
        "by": "",
    }
    assert said["notes"][2] == f"This is settled on invoice {bill.number}; nothing is paid of it by itself."
    assert said["corrections"] is None


def test_both_are_printed_in_both_languages(bill):
    for document in (bill, bill.settles.get()):
        for language in ("zh-hans", "en"):
            printed = render_invoice(snapshot=document.snapshot, language=language)
            assert printed.startswith(b"%PDF-")
            assert printed == render_invoice(snapshot=document.snapshot, language=language)


def table(write, **facts):
    output = BytesIO()
    write(format="csv", output=output, **facts)
    return list(csv.DictReader(StringIO(output.getvalue().decode("utf-8-sig"))))


def told(row):
    names = ("number", "document_kind", "corrects", "settled_on", "amount_minor")
    return tuple(row[name] for name in names)


EXPECTED = [
    ("LG-2020-000002", "invoice", "", "", "8000"),
    ("LG-CN-2020-000001", "credit_note", "LG-2020-000001", "LG-2020-000002", "-24000"),
]


def test_the_file_of_one_invoice_has_its_corrections_from_its_snapshot_alone(bill):
    note = bill.settles.get()
    [said] = exports.of_notes(json.loads(bill.snapshot))
    own = json.loads(note.snapshot)
    assert said == {key: own[key] for key in said}
    rows = table(exports.write, invoices=[bill.snapshot], settled=True)
    assert [told(row) for row in rows] == EXPECTED
    assert [
        (row["invoice_payable_minor"], row["invoice_corrections_minor"], row["invoice_due_minor"]) for row in rows
    ] == [
        ("6880", "-20640", "-13760"),
        ("-20640", "", "0"),
    ]
    output = BytesIO()
    exports.write(invoices=[bill.snapshot], settled=True, format="json", output=output)
    first, second = json.loads(output.getvalue())
    assert first["corrections"]["notes"] == [{"number": note.number, "corrects": "LG-2020-000001"}]
    assert (first["corrections"]["due_minor"], second["settled_on"]["number"]) == (-13_760, bill.number)
    output = BytesIO()
    assert exports.write(invoices=[bill.snapshot], settled=True, format="xlsx", output=output) == 2


def test_a_months_file_has_each_once_and_adds_up(bill):
    documents = exports.documents(period_code="2020-06")
    rows = table(register.write, documents=documents)
    assert [told(row) for row in rows] == EXPECTED
    assert sum(int(row["amount_minor"]) for row in rows) == sum(documents.values_list("net_minor", flat=True))
    assert sum(int(row["invoice_due_minor"]) for row in rows) == sum(documents.values_list("payable_minor", flat=True))


def test_a_file_without_corrections_is_as_it_was(bill):
    may = Invoice.objects.get(number="LG-2020-000001")
    with_them, without = BytesIO(), BytesIO()
    exports.write(invoices=[may.snapshot], settled=True, format="csv", output=with_them)
    exports.write(invoices=[may.snapshot], format="csv", output=without)
    assert with_them.getvalue() == without.getvalue()
    assert b"settled_on" not in without.getvalue()
    assert invoicing.preview(account=may.account, period=bill.period, at=CLOSED) is None
