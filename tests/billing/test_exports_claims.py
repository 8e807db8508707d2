"""The evidence of a claim: the same bytes each time, digests that are right, and what proves each line."""

import csv
import hashlib
import io
import json
import zipfile
from decimal import Decimal

import openpyxl
import pytest
from pypdf import PdfReader

from billing import claims, clawbacks, digests, invoicing, parties
from billing.exports import claims as exports
from billing.models import Claim, Contract, Meter, Programme
from tests.billing import bookings, programmes_world, world

pytestmark = pytest.mark.django_db
AT = world.JUNE


@pytest.fixture
def issuer():
    return world.issuer()


def claimed(issuer, **terms):
    """Two firms of 100 GPU-hours at 8.00 and 66.67 a month: net 866.67; 30 % of it are 260.00."""
    tariff = world.publish(
        world.energy("8.00"), {"kind": "standing", "code": "S2", "amount": "66.67", "per": "month"}
    ).tariff
    programme = programmes_world.programme(issuer, **terms)
    for number, name in enumerate(("=SUM(A1)", "公司甲")):
        party = world.party(100 + number, name)
        account = parties.open_account(issuer=issuer, code=f"B{number:02}", party=party, at=world.MAY)
        world.read(world.contract(account, tariff), *world.hours(100))
        programmes_world.grant(programme, account)
        invoicing.issue(account=account, period=world.may(issuer), at=AT, actor="test")
    firm = account.party if programme.mode == Programme.Mode.REIMBURSEMENT else None
    return claims.claim(
        programme=programme, key="2020-05", from_month="2020-05", until_month="2020-05", claimant=firm, at=AT, actor="x"
    )


def packed(claim):
    output = io.BytesIO()
    manifest = exports.write(claim=Claim.objects.get(pk=claim.pk), output=output)
    return output.getvalue(), manifest


def opened(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def read(archive, name):
    return json.loads(archive.read(name))


def test_the_same_bytes_each_time_with_the_digest_of_each_file(issuer):
    claim = claimed(issuer)
    first, manifest = packed(claim)
    assert packed(claim)[0] == first
    archive = opened(first)
    names = archive.namelist()
    assert names == [
        "claim.csv",
        "claim.xlsx",
        *(
            f"invoices/LG-2020-00000{number}/{name}"
            for number in (1, 2)
            for name in ("contracts.json", "invoice.zh-hans.pdf", "ledger.json", "meters.json", "snapshot.json")
        ),
        "ledger.json",
        "manifest.json",
    ]
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert read(archive, "manifest.json") == manifest
    told = {each["name"]: (each["bytes"], each["sha256"]) for each in manifest["files"]}
    assert list(told) == sorted(names[:-1]) == names[:-1]
    for name, (size, sha256) in told.items():
        content = archive.read(name)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, sha256), name


def test_the_manifest_has_rows_control_totals_and_the_claims_state(issuer):
    claim = claimed(issuer)
    manifest = packed(claim)[1]
    assert (manifest["format"], manifest["rows"], manifest["invoices"]) == ("suanli-claim/1", 4, 2)
    assert manifest["totals"] == {"CNY": {"claimed_minor": 52_000, "paid_minor": None}}
    assert manifest["claim"]["state"] == "draft"
    assert manifest["claim"]["claimant"] == {"name": "运营商lg", "credit_code": world.credit_code(1)}
    assert manifest["claim"]["funder"] == {"name": "资助方50", "credit_code": world.credit_code(50)}
    assert manifest["claim"]["months"] == ["2020-05"]
    assert manifest["payments"].startswith("No payment is recorded here yet.")
    assert manifest["not_printed"] == []
    claims.submit(claim=claim, at=AT, actor="staff")
    claims.settle_claim(claim=claim, paid_minor=40_000, reason="the year's quota", at=AT, actor="staff")
    content, manifest = packed(claim)
    assert manifest["totals"] == {"CNY": {"claimed_minor": 52_000, "paid_minor": 40_000}}
    assert (manifest["claim"]["state"], manifest["claim"]["reason"]) == ("short_paid", "the year's quota")
    [journal] = read(opened(content), "ledger.json")["journals"]
    assert (journal["journal"], journal["date"]) == ("claim:sme-30:2020-05", "2020-06-01")
    assert {(each["ledger_account"], each["kept_for"], each["amount_minor"]) for each in journal["postings"]} == {
        ("bank_clearing", "", 40_000),
        ("subsidy_receivable", world.credit_code(50), -40_000),
    }


def test_the_rows_add_up_and_no_text_is_a_formula(issuer):
    archive = opened(packed(claimed(issuer))[0])
    table = archive.read("claim.csv")
    assert table.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    assert [(row["invoice"], row["charge"], row["claimed_minor"], row["claimed"]) for row in rows] == [
        ("LG-2020-000001", "EN", "24000", "240.00"),
        ("LG-2020-000001", "S2", "2000", "20.00"),
        ("LG-2020-000002", "EN", "24000", "240.00"),
        ("LG-2020-000002", "S2", "2000", "20.00"),
    ]
    assert rows[0]["buyer_name"] == "'=SUM(A1)"
    assert rows[0]["paid_minor"] == ""
    sheet = openpyxl.load_workbook(io.BytesIO(archive.read("claim.xlsx"))).active
    cells = list(sheet.iter_rows(values_only=True))
    assert list(cells[0]) == list(exports.COLUMNS)
    found = dict(zip(cells[0], cells[1], strict=True))
    assert (found["buyer_name"], found["claimed_minor"], Decimal(str(found["claimed"]))) == ("'=SUM(A1)", 24_000, 240)


def test_each_invoice_comes_with_what_proves_it(issuer):
    claim = claimed(issuer)
    archive = opened(packed(claim)[0])
    row = claim.lines.select_related("redemption__line__invoice", "redemption__line__contract").first()
    line = row.redemption.line
    invoice, contract = line.invoice, line.contract
    folder = f"invoices/{invoice.number}"
    assert hashlib.sha256(archive.read(f"{folder}/snapshot.json")).hexdigest() == invoice.sha256
    assert (
        invoice.number in PdfReader(io.BytesIO(archive.read(f"{folder}/invoice.zh-hans.pdf"))).pages[0].extract_text()
    )
    [told] = read(archive, f"{folder}/contracts.json")
    assert (told["number"], told["tariff"], told["provider"]["credit_code"]) == ("C-B00", "T", world.credit_code(2))
    assert "fee" not in json.dumps(told)
    [metered] = read(archive, f"{folder}/meters.json")
    readings = list(
        digests.readings(contract=contract, meter=Meter.objects.get(), start_at=line.start_at, end_at=line.end_at)
    )
    digest = digests.of_readings(readings)
    assert (metered["meter"], metered["readings"], metered["sha256"]) == ("gpu_hours", 100, digest)
    assert [(each["contract"], each["sha256"]) for each in metered["contracts"]] == [("C-B00", digest)]
    ledger = read(archive, f"{folder}/ledger.json")
    assert ledger["said"].startswith("No payment is recorded here yet.")
    [journal] = ledger["journals"]
    assert [(each["ledger_account"], each["kept_for"], each["amount_minor"]) for each in journal["postings"]] == [
        ("receivable", "B00", 86_667 + 5_200 - 26_000),
        ("subsidy_receivable", world.credit_code(50), 26_000),
    ]


def test_a_line_of_several_contracts_has_the_digest_of_them_all_and_of_each(issuer):
    """Bookings that touch are one line under the first; readings count in their own contract's time."""
    account = world.account(issuer, "B")
    version = world.publish(world.energy("8.00"))
    for first, last in ((0, 2), (4, 6), (2, 4), (100, 101)):  # the third joins the first two; the last stands alone
        bookings.book(account, version, first, last)
    for contract in Contract.objects.all():
        count = (contract.end_at - contract.start_at) // world.INTERVAL
        world.read(contract, *[900 + contract.pk] * count, start_at=contract.start_at)
    programme = programmes_world.programme(issuer)
    programmes_world.grant(programme, account)
    invoicing.issue(account=account, period=world.may(issuer), at=AT, actor="test")
    months = {"from_month": "2020-05", "until_month": "2020-05"}
    archive = opened(packed(claims.claim(programme=programme, key="k", **months, at=AT, actor="x"))[0])
    told, alone = read(archive, "invoices/LG-2020-000001/meters.json")
    made, meter = {each.number: each for each in Contract.objects.all()}, Meter.objects.get()

    def rows(*numbers):
        for number in numbers:
            span = {"start_at": made[number].start_at, "end_at": made[number].end_at}
            yield from digests.readings(contract=made[number], meter=meter, **span)

    assert (told["contract"], told["readings"]) == ("R-B-1", 24)
    assert told["sha256"] == digests.of_readings(rows("R-B-1", "R-B-2"))
    assert [(each["contract"], each["sha256"]) for each in told["contracts"]] == [
        (number, digests.of_readings(rows(number))) for number in ("R-B-1", "R-B-2")
    ]
    assert sum(each["readings"] for each in told["contracts"]) == 24
    assert (alone["contract"], alone["readings"], [each["contract"] for each in alone["contracts"]]) == (
        "R-B-3",
        4,
        ["R-B-3"],
    )
    listed = read(archive, "invoices/LG-2020-000001/contracts.json")
    assert [each["number"] for each in listed] == ["R-B-1", "R-B-2", "R-B-3"]


def test_what_was_clawed_back_stands_in_the_ledger_and_in_the_rows(issuer):
    claim = claimed(issuer)
    invoice = claim.lines.first().redemption.line.invoice
    clawbacks.claw_back(invoice=invoice, credited={1: 40_000}, source="credit:1", at=AT, actor="staff")
    archive = opened(packed(claim)[0])
    journals = read(archive, f"invoices/{invoice.number}/ledger.json")["journals"]
    assert [each["journal"] for each in journals] == ["invoice:2020-05:B00", "clawback:credit:1"]
    rows = list(csv.DictReader(io.StringIO(archive.read("claim.csv").decode("utf-8-sig"))))
    assert [row["clawed_back_minor"] for row in rows] == ["12000", "0", "0", "0"]


def test_a_firms_own_claim_has_its_own_rows_alone(issuer):
    claim = claimed(issuer, mode=Programme.Mode.REIMBURSEMENT)
    content, manifest = packed(claim)
    assert (manifest["rows"], manifest["totals"]["CNY"]["claimed_minor"]) == (2, 26_000)
    archive = opened(content)
    assert "B00" not in archive.read("claim.csv").decode()
    assert not [name for name in archive.namelist() if "000001" in name]
    assert read(archive, "ledger.json")["journals"] == []


def test_what_cant_be_printed_is_told_and_all_else_is_there(issuer):
    tariff = world.publish(world.energy("8.00")).tariff
    programme = programmes_world.programme(issuer)
    party = world.party(100, "公司\U0001f600")
    account = parties.open_account(issuer=issuer, code="B00", party=party, at=world.MAY)
    world.read(world.contract(account, tariff), *world.hours(100))
    programmes_world.grant(programme, account)
    invoicing.issue(account=account, period=world.may(issuer), at=AT, actor="test")
    claim = claims.claim(
        programme=programme, key="1", from_month="2020-05", until_month="2020-05", at=AT, actor="staff"
    )
    content, manifest = packed(claim)
    assert len(manifest["not_printed"]) == 1
    assert "LG-2020-000001" in manifest["not_printed"][0]
    assert "invoices/LG-2020-000001/snapshot.json" in opened(content).namelist()
