"""The register of a month: invoices and notes, with what open disputes hold of them now."""

import csv
import json
from io import BytesIO, StringIO

import openpyxl
import pytest

from billing import disputes
from billing.exports import invoices, register
from billing.exports.invoices import FORMATS
from billing.models import Invoice
from tests.billing import world
from tests.billing.corrections_world import AFTER, HOUR, correct, issue, send
from tests.billing.test_disputes import dispute, funded

pytestmark = pytest.mark.django_db
NOTES = ["document_kind", "corrects"]
HELD = ["invoice_held_minor", "invoice_held"]
LINE_HELD = ["held_minor", "held"]


def export(form, code="2020-05"):
    output = BytesIO()
    register.write(documents=invoices.documents(period_code=code), format=form, output=output)
    return output.getvalue()


def rows(code="2020-05"):
    return list(csv.DictReader(StringIO(export("csv", code).decode("utf-8-sig"))))


def test_what_open_disputes_hold_stands_in_columns_at_the_end():
    # Of 802.00 half of 800.00 is disputed: 400.00 − 80.00 + 24.00 are held.
    invoice = funded()
    plain = {form: export(form) for form in FORMATS}
    opened = dispute(invoice, net_minor=40_000)
    found = rows()
    assert list(found[0])[-4:] == [*HELD, *LINE_HELD]
    assert {row["charge"]: [row[name] for name in (*HELD, *LINE_HELD)] for row in found} == {
        "EN": ["34400", "344.00", "34400", "344.00"],
        "SC": ["34400", "344.00", "0", "0.00"],
    }
    workbook = openpyxl.load_workbook(BytesIO(export("xlsx")))
    assert [[cell.value for cell in row[-2:]] for row in workbook["invoices"].rows] == [HELD, [34_400, 344]]
    assert [cell.value for cell in workbook["lines"][1]][-4:] == [*HELD, *LINE_HELD]
    [told] = json.loads(export("json"))
    assert (told["held_minor"], {line["charge"]: line["held_minor"] for line in told["lines"]}) == (
        34_400,
        {"EN": 34_400, "SC": 0},
    )
    assert [export(form) for form in FORMATS] == [export(form) for form in FORMATS]
    disputes.withdraw(dispute=opened, at=AFTER, actor="buyer")
    assert {form: export(form) for form in FORMATS} == plain


def test_an_invoices_own_export_is_of_its_snapshot_whatever_is_disputed():
    invoice = funded()
    made = []
    for _ in range(2):
        output = BytesIO()
        invoices.write(invoices=[invoice.snapshot], format="json", output=output)
        made.append(output.getvalue())
        dispute(invoice)
    assert made[0] == made[1]
    assert b"held" not in made[0]


def test_what_is_held_of_a_debit_note_stands_with_the_note_and_not_with_the_invoice():
    issuer = world.issuer()
    account = world.account(issuer, "B00")
    contract = world.contract(account, world.publish(world.energy()).tariff)
    send(contract, "a", world.MAY, hours=1, at=world.JUNE - HOUR)
    invoice = issue(account)
    send(contract, "late", world.MAY + 48 * HOUR, hours=2)
    dispute(correct(invoice))
    assert "held_minor" not in rows()[0]
    [row] = rows("2020-06")
    assert (row["document_kind"], row["corrects"], row["held_minor"]) == ("debit_note", invoice.number, "1696")


def test_it_takes_five_queries(django_assert_num_queries):
    invoice = funded()
    dispute(invoice)
    with django_assert_num_queries(5):
        register.write(documents=Invoice.objects.filter(state=Invoice.State.ISSUED), format="csv", output=BytesIO())
