"""manage.py explain: what it says of an invoice's lines, and the digest that a buyer finds on the page too."""

import hashlib
import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing import invoicing, usage
from tests.billing import world

pytestmark = pytest.mark.django_db
ROWS = b"C-B,gpu_hours,2020-04-30T16:00:00Z,3600\nC-B,gpu_hours,2020-04-30T16:15:00Z,1800\n"


@pytest.fixture
def invoice():
    standing = {"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"}
    contract = world.contract(world.account(world.issuer(), "B"), world.publish(world.energy(), standing).tariff)
    sent(contract, "one", world.MAY, 4)
    sent(contract, "two", world.MAY + world.INTERVAL, 2)
    period = world.may(contract.account.issuer)
    return invoicing.issue(account=contract.account, period=period, at=world.JUNE, actor="test")


def sent(contract, event_id, at, gpus, recorded_at=world.MAY + timedelta(days=1)):
    data = {"value": str(gpus), "duration_seconds": 900}
    event = usage.Event(event_id, "aidc", "gpu.sample", "C-B", at, data)
    assert usage.record(owner=contract.provider, events=[event], at=recorded_at).counts["counted"] == 1


def explain(*arguments):
    output = StringIO()
    call_command("explain", *arguments, stdout=output)
    return output.getvalue()


def test_each_line_is_told_with_its_digest(invoice):
    digest = hashlib.sha256(ROWS).hexdigest()
    assert explain(invoice.number) == (
        f"{invoice.number}  B  2020-05\n\n"
        "1. Usage charge, all hours  ¥12.00  (C-B, EN)\n"
        "   2020-05-01 – 2020-05-31: 1.5 GPU-h were used, over 2,976 intervals of readings.\n"
        "   The price is 8.00 CNY for each GPU-h.\n"
        "   The amount is before tax; VAT of 6% is computed on the sum of all lines of that rate.\n"
        "   5,400 GPU-s = 1.5 GPU-h; 1.5 × 8.00 = 12.00\n"
        f"   readings: 2, SHA-256 {digest}\n\n"
        "2. Standing charge  ¥310.00  (C-B, SC)\n"
        "   2020-05-01 – 2020-05-31: 31 day, whatever was used.\n"
        "   The price is 10.00 CNY for each day.\n"
        "   The amount is before tax; VAT of 6% is computed on the sum of all lines of that rate.\n"
        "   2,678,400 s = 31 day; 31 × 10.00 = 310.00\n"
    )


def test_json_has_the_same_in_the_language_asked_for(invoice):
    told = json.loads(explain(invoice.number, "--line", "1", "--format", "json", "--language", "zh-hans"))
    (line,) = told["lines"]
    assert (told["invoice"], line["item"], line["amount"]) == (invoice.number, "用量费·全时段", "¥12.00")
    assert line["why"][1] == "单价为每卡时 8.00 CNY。"
    assert line["facts"]["计量点"] == "gpu_hours"
    assert line["readings"] == {
        "count": 2,
        "sha256": hashlib.sha256(ROWS).hexdigest(),
        "as_billed": True,
        "events_after_invoice": 0,
    }


def test_usage_that_came_after_the_invoice_is_told(invoice):
    contract = invoice.account.contracts.get()
    sent(contract, "late", world.MAY + 2 * world.INTERVAL, 1, recorded_at=world.JUNE + timedelta(days=1))
    readings = json.loads(explain(invoice.number, "--format", "json"))["lines"][0]["readings"]
    digest = hashlib.sha256(ROWS + b"C-B,gpu_hours,2020-04-30T16:30:00Z,900\n").hexdigest()
    assert readings == {"count": 3, "sha256": digest, "as_billed": False, "events_after_invoice": 1}
    assert "changed since the invoice: 1 events of the month came after it" in explain(invoice.number)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["LG-2000-000009"], "invoice is 'LG-2000-000009': expected the number of an issued invoice"),
        (["LG-2020-000001", "--line", "3"], "--line is 3: expected 1 to 2, the lines of LG-2020-000001"),
        (["LG-2020-000001", "--issuer", "other"], "expected the number of an issued invoice"),
    ],
)
def test_what_is_not_there_is_said(invoice, arguments, message):
    with pytest.raises(CommandError, match=message):
        explain(*arguments)
