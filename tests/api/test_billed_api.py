"""Use and bills over the API: contracts, readings down to their events, invoices with lines and files, the running month."""

import json
from io import BytesIO
from zipfile import ZipFile

import pytest

from billing import adjustments, invoicing, parties
from billing.models import Account, Contract, Invoice
from billing.usage import Event, record
from marketplace import reservations
from marketplace.metering import gpu_meter
from marketplace.models import Reservation
from tests.api.world import APRIL, HOUR, START, make_bills
from tests.billing import world as billing_world

APRIL_1 = "2020-03-31T16:00:00Z"


@pytest.fixture
def sun(world):
    make_bills(world)
    return world.sun


def refusal(answer):
    said = answer.json()
    return answer.status_code, said["type"].removeprefix("urn:suanli:problem:"), said.get("field")


# Use


def test_meters_say_in_which_unit_they_are_priced(ask, sun):
    told = {
        "code": "gpu_hours",
        "name": "GPU 用量",
        "event_type": "gpu.sample",
        "kind": "gauge",
        "aggregation": "sum",
        "base_unit": "gpu_second",
        "unit": "gpu_hour",
        "base_per_unit": 3600,
    }
    assert ask(sun, "get", "meters").json()["results"] == [told]
    assert ask(sun, "get", "meters/gpu_hours").json() == told


@pytest.mark.parametrize("name", ["sun", "north"])
def test_a_contract_is_its_buyers_and_its_providers(ask, world, sun, name):
    told = {
        "number": "C-sun",
        "account": sun.ids["account"][0],
        "buyer": "公司100",
        "provider": "供应商2",
        "tariff": "OLD",
        "start_at": APRIL_1,
        "end_at": "2020-04-30T16:00:00Z",
        "withdrawn_at": None,
    }
    assert ask(world.tenants[name], "get", "contracts", tariff="OLD").json()["results"] == [told]
    assert ask(world.tenants[name], "get", "contracts/C-sun").json() == told


def test_readings_come_in_pages_by_contract_meter_and_time(ask, sun):
    asked = {"contract": "C-sun", "meter": "gpu_hours"}
    first = ask(sun, "get", "readings", **asked, limit=3).json()
    assert first["results"][0] == {"start_at": APRIL_1, "end_at": "2020-03-31T16:15:00Z", "quantity": 7200}
    rest = ask(sun, "get", first["next"].removeprefix("http://testserver")).json()
    assert [row["start_at"][11:16] for row in [*first["results"], *rest["results"]]] == [
        "16:00",
        "16:15",
        "16:30",
        "16:45",
    ]
    assert rest["next"] is None
    between = ask(sun, "get", "readings", **asked, from_at="2020-03-31T16:15:00Z", until_at="2020-03-31T16:45:00Z")
    assert len(between.json()["results"]) == 2


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({}, 422, "contract"),
        ({"contract": "C-sun"}, 422, "meter"),
        ({"contract": "C-sun", "meter": "none"}, 404, None),
        ({"contract": "C-moon", "meter": "gpu_hours"}, 404, None),
        ({"contract": "C-sun", "meter": "gpu_hours", "from_at": "2020-03-31T16:15:00"}, 422, "from_at"),
    ],
)
def test_readings_of_nothing_are_refused(ask, sun, query, status, field):
    answer = ask(sun, "get", "readings", **query)
    assert (answer.status_code, answer.json().get("field")) == (status, field)


def test_a_reading_leads_to_its_events(ask, world, sun):
    asked = {"contract": "C-sun", "meter": "gpu_hours", "start_at": "2020-03-31T16:45:00Z"}
    told = [
        {
            "source": "rack",
            "id": "sun-1",
            "time": APRIL_1,
            "duration_seconds": 3600,
            "value": "8.000000000",
            "quantity": 28_800,
            "recorded_at": APRIL_1,
            "superseded_by": None,
            "is_retraction": False,
        }
    ]
    for who in (sun, world.north):
        assert ask(who, "get", "readings/events", **asked).json()["results"] == told
    later = asked | {"start_at": "2020-03-31T17:00:00Z"}
    assert ask(sun, "get", "readings/events", **later).json()["results"] == []


# Bills


def test_an_invoice_is_told_with_its_lines_and_files(ask, sun):
    [number] = sun.ids["invoices"]
    invoice = Invoice.objects.get(number=number)
    told = ask(sun, "get", f"invoices/{number}").json()
    files = told.pop("files")
    assert told == {
        "number": number,
        "kind": "invoice",
        "corrects": None,
        "account": sun.ids["account"][0],
        "month": "2020-04",
        "currency": "CNY",
        "net_minor": 6400,
        "tax_minor": 384,
        "gross_minor": 6784,
        "subsidy_minor": 0,
        "payable_minor": 6784,
        "issued_at": "2020-04-30T16:00:00Z",
        "due_date": "2020-05-31",
        "sha256": invoice.sha256,
        "settled_on": None,
        "corrections": None,
    }
    assert [row["number"] for row in ask(sun, "get", "invoices", month="2020-04").json()["results"]] == [number]
    assert ask(sun, "get", "invoices", month="2020-03").json()["results"] == []
    [line] = ask(sun, "get", f"invoices/{number}/lines").json()["results"]
    assert {name: line[name] for name in ("position", "contract", "charge", "quantity", "unit", "unit_price")} == {
        "position": 1,
        "contract": "C-sun",
        "charge": "EN",
        "quantity": "8.000000",
        "unit": "gpu_hour",
        "unit_price": line["unit_price"],
    }
    assert (line["amount_minor"], line["quantity_base"], line["tariff"], line["tariff_version"]) == (
        6400,
        28_800,
        "OLD",
        1,
    )
    assert set(files) == {"zh-hans.pdf", "en.pdf", "csv", "xlsx", "json"}
    assert files["csv"].endswith(f"/api/v1/invoices/{number}/files/csv")


def test_its_files_are_the_same_keys(ask, sun):
    [number] = sun.ids["invoices"]
    found = {name: ask(sun, "get", f"invoices/{number}/files/{name}") for name in ("en.pdf", "csv", "xlsx", "json")}
    assert {each.status_code for each in found.values()} == {200}
    assert found["en.pdf"].content.startswith(b"%PDF-")
    assert number in found["csv"].content.decode()
    assert "xl/workbook.xml" in ZipFile(BytesIO(found["xlsx"].content)).namelist()
    assert json.loads(found["json"].content)[0]["number"] == number
    assert found["csv"].headers["Content-Disposition"] == f'attachment; filename="{number}.csv"'
    accepted = ask(sun, "get", f"invoices/{number}/files/csv", headers={"Accept": "text/csv"})
    assert accepted.status_code == 200
    for name in ("pdf", "fr.pdf", "CSV", "x"):
        assert ask(sun, "get", f"invoices/{number}/files/{name}").status_code == 404
    assert ask(sun.key("usage:read"), "get", f"invoices/{number}/files/csv").status_code == 403


def test_the_running_month_is_what_its_invoice_would_be(ask, world, sun):
    contract = billing_world.contract(
        Account.objects.get(party=sun.organization.party),
        world.market.version.tariff,
        number="C-now",
        by=world.north.organization.party,
    )
    billing_world.read(contract, *billing_world.hours(3))
    told = ask(sun, "get", "preview").json()
    charged = [line for line in told["lines"] if line["charge"] == "EN"]
    assert (told["month"], told["currency"], told["as_of"]) == ("2020-05", "CNY", "2020-05-10T08:30:00Z")
    assert [(line["contract"], line["quantity_base"], line["amount_minor"]) for line in charged] == [
        ("C-now", 3 * 3600, 2400)
    ]
    assert told["net_minor"] == sum(line["amount_minor"] for line in told["lines"])
    assert told["payable_minor"] == told["gross_minor"] == told["net_minor"] + told["tax_minor"]
    april = ask(sun, "get", "preview", month="2020-04", account=sun.ids["account"][0]).json()
    assert (april["gross_minor"], april["lines"][0]["amount_minor"]) == (6784, 6400)
    assert refusal(ask(sun, "get", "preview", month="2020-06")) == (422, "unusable", "month")
    assert ask(sun.key("billing:read"), "get", "preview").json()["net_minor"] == told["net_minor"]
    assert ask(world.north, "get", "preview").status_code == 404


def test_of_several_accounts_one_has_to_be_named(ask, world, sun):
    billing_world.account(world.market.issuer, "SECOND", 100)
    answer = ask(sun, "get", "preview")
    assert refusal(answer) == (422, "unusable", "account")
    assert sun.ids["account"][0] in answer.json()["detail"]
    assert ask(sun, "get", "preview", account="SECOND").json()["lines"] == []


# What a reservation costs so far


def test_a_reservation_costs_nothing_until_it_begins_and_then_hour_by_hour(ask, world, now):
    [pk] = world.sun.ids["reservations"]
    before = ask(world.sun, "get", f"reservations/{pk}/cost").json()
    assert before == {"until_at": "2020-05-12T00:00:00Z", "currency": "CNY", "net_minor": None, "kinds": []}
    row = Reservation.objects.get(pk=pk)
    reservations.start(reservation=row, at=START, actor="test")
    billing_world.read(row.contract, *[7200] * 4, start_at=START, meter=gpu_meter())
    now(START + 2 * HOUR)
    assert ask(world.sun, "get", f"reservations/{pk}/cost").json() == {
        "until_at": "2020-05-12T02:00:00Z",
        "currency": "CNY",
        "net_minor": 3200 + 6400,
        "kinds": [{"kind": "capacity", "net_minor": 3200}, {"kind": "energy", "net_minor": 6400}],
    }
    assert ask(world.north, "get", f"reservations/{pk}/cost").status_code == 404
    assert ask(world.sun.key("usage:read"), "get", f"reservations/{pk}/cost").status_code == 403


EXACT = {"contracts": 3, "invoices": 4, "meters": 3, "readings?contract=C-sun&meter=gpu_hours": 5}


@pytest.mark.parametrize("path", EXACT)
@pytest.mark.parametrize("limit", [1, 3])
def test_a_list_asks_the_same_for_one_row_and_for_three(ask, sun, django_assert_num_queries, path, limit):
    address = f"/api/v1/{path}{'&' if '?' in path else '?'}limit={limit}"
    ask(sun, "get", address)  # the key's use is noted once
    with django_assert_num_queries(EXACT[path]):
        assert ask(sun, "get", address).status_code == 200


# Where corrections go


def _late(world, *, at):
    """An event of an hour of 4 GPUs in April that comes after sun's invoice; what differs, approved."""
    contract = Contract.objects.get(number="C-sun")
    data = {"value": "4", "duration_seconds": 3600}
    event = Event("late", "rack", "gpu.sample", contract.number, APRIL + 5 * HOUR, data)
    [result] = record(owner=contract.provider, events=[event], at=at).results
    assert result.outcome == "counted"
    found = adjustments.find(invoice=Invoice.objects.get(account=contract.account), at=at, actor="test")
    return adjustments.approve(adjustment=found, reason="seen", at=at, actor="staff")


def test_an_account_says_where_its_corrections_go_and_is_told_otherwise_once(ask, world, sun):
    [told] = ask(sun, "get", "accounts").json()["results"]
    assert (told["code"], told["corrections_on"], told["corrections_chosen_at"]) == (
        sun.ids["account"][0],
        "note",
        None,
    )
    token = sun.key("billing:write")
    path = f"accounts/{told['id']}"
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        answer = ask(token, "patch", path, json={"corrections_on": "next_invoice"}, headers=headers)
        assert (answer.status_code, answer.json()["corrections_on"]) == (200, "next_invoice")
    account = Account.objects.get(pk=told["id"])
    assert account.corrections_chosen_by.startswith("key:suanli_")
    assert ask(sun, "get", path).json()["corrections_chosen_at"] is not None
    assert refusal(ask(token, "patch", path, json={"corrections_on": "never"}))[0::2] == (422, "corrections_on")
    assert (
        ask(world.tenants["moon"].key("billing:write"), "patch", path, json={"corrections_on": "note"}).status_code
        == 404
    )
    assert ask(world.tenants["moon"], "get", path).status_code == 404


def test_the_preview_and_the_invoice_say_what_is_settled_on_it(ask, now, world, sun):
    # 8 GPU-hours of April were invoiced; 4 come late: 32.00 + 1.92 on the invoice of the next month.
    account = Account.objects.get(code=sun.ids["account"][0])
    tariff = Contract.objects.get(number="C-sun").tariff
    provider = Contract.objects.get(number="C-sun").provider
    contract = billing_world.contract(account, tariff, number="C-may", by=provider, start_at=billing_world.MAY)
    billing_world.read(contract, 7200, start_at=billing_world.MAY)
    parties.choose_corrections(account=account, on="next_invoice", at=billing_world.MAY, actor="test")
    at = billing_world.MAY + 24 * HOUR
    now(at)
    assert ask(sun, "get", "preview", month="2020-05").json()["corrections"] is None
    assert _late(world, at=at).state == "approved"
    number = sun.ids["invoices"][0]
    sums = {"net_minor": 3_200, "tax_minor": 192, "gross_minor": 3_392, "subsidy_minor": 0, "payable_minor": 3_392}
    told = ask(sun, "get", "preview", month="2020-05").json()
    due = {"due_minor": told["payable_minor"] + 3_392}
    assert told["corrections"] == {"notes": [None], "corrects": [number], **sums, **due}
    period = invoicing.open_period(issuer=account.issuer, code="2020-05")
    bill = invoicing.issue(account=account, period=period, at=billing_world.JUNE, actor="test")
    note = bill.settles.get()
    now(billing_world.JUNE)
    assert ask(sun, "get", f"invoices/{bill.number}").json()["corrections"] == {
        "notes": [note.number],
        "corrects": [number],
        **sums,
        "due_minor": bill.payable_minor + 3_392,
    }
    told = ask(sun, "get", f"invoices/{note.number}").json()
    assert (told["settled_on"], told["corrects"], told["corrections"]) == (bill.number, number, None)
    assert ask(sun, "get", f"invoices/{number}").json()["settled_on"] is None
