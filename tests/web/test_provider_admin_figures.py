"""What the providers' first page, statements, usage, price preview and files say, to the figure."""

import csv
import html
import io
import json
import re
from datetime import timedelta
from decimal import Decimal

import pytest
import tablib
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone, translation

from billing import tariffs
from billing.models import Meter
from billing.rating import tariff as rating_tariff
from marketplace import people, statements, typical, utilisation
from marketplace.models import CapacitySlot, Offering, Organization, Zone
from tests.billing import world
from tests.marketplace import market
from tests.marketplace.tenants import make_user
from tests.web import provider_world

HOUR = timedelta(hours=1)
NOW = world.JUNE + 10 * HOUR + timedelta(minutes=15)


@pytest.fixture(autouse=True)
def first_of_june(monkeypatch):
    cache.clear()
    monkeypatch.setattr(timezone, "now", lambda: NOW)


class World:
    """In May, North supplied 10 GPU-hours and South 3 of one buyer's; in June North supplied 4 so far. 8.00 each, fee 10 %."""

    def __init__(self):
        issuer = world.issuer()
        self.zone = Zone.objects.create(code="lg", name="临港", name_en="Lin-gang", issuer=issuer)
        tariff = world.publish().tariff
        self.north, self.south = (self._provider(number, name) for number, name in ((2, "North"), (3, "South")))
        account = world.account(issuer, "sun")
        buyer = people.make_organization(zone=self.zone, party=account.party, name="Sun", parts={"buyer"})
        self.contract = world.contract(account, tariff, number="C-north", by=self.north.party)
        other = world.contract(account, tariff, number="C-south", by=self.south.party)
        world.read(self.contract, *world.hours(10))
        world.read(other, *world.hours(3))
        world.read(self.contract, *world.hours(4), start_at=world.JUNE)
        self.period = world.may(issuer)
        world.close(self.period)
        own = provider_world.own_tariff(self.north, "north-prices")
        self.pool = market.make_pool(self.north, world.MAY)
        self.offering = market.make_offering(self.pool, own, world.MAY)
        self.reservation = self._reserved(buyer, tariff)
        self.owner = make_user("owner.north")
        people.add_member(organization=self.north, user=self.owner, role="owner", at=world.MAY, actor="test")
        self.client = Client(headers={"accept-language": "en"})
        self.client.force_login(self.owner, backend="django.contrib.auth.backends.ModelBackend")

    def _provider(self, number, name) -> Organization:
        party = world.provider(number)
        return people.make_organization(zone=self.zone, party=party, name=name, parts={"provider"})

    def _reserved(self, buyer, tariff):
        made = market.make_reserved(buyer, self.offering, self.contract, world.JUNE)
        market.Reservation.objects.filter(pk=made.pk).update(
            start_at=world.JUNE, end_at=world.JUNE + 24 * HOUR, quantity=8
        )
        for hour in range(24):
            CapacitySlot.objects.create(pool=self.pool, hour=world.JUNE + hour * HOUR, capacity=64, taken=8)
        return made


@pytest.fixture
def there(db):
    return World()


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html.unescape(response.content.decode())).split())


# Money


def test_a_statement_is_what_the_ledger_owes_the_provider(there):
    """Net 80.00, of which 8.00 are the zone's; on 72.00 come 6 % VAT."""
    rows = statements.statements(provider=there.north.party, lines=statements.InvoiceLine.objects.all())
    (row,) = rows
    assert (row.period, row.currency, row.line_count) == (there.period, "CNY", 1)
    figures = (row.net_minor, row.fee_minor, row.share_minor, row.vat_minor, row.payable_minor)
    assert figures == (8000, 800, 7200, 432, 7632)
    text = text_of(there.client.get("/provider/statements/"))
    assert "2020-05 lg 1 ¥80.00 ¥8.00 ¥72.00 ¥4.32 ¥76.32" in text


def test_the_running_month_is_estimated_by_the_rating_of_the_invoice_and_says_so(there):
    """4 GPU-hours and a fee of 1.00 so far: 33.00, of which 29.70 are the provider's."""
    text = text_of(there.client.get("/provider/"))
    assert "Your share, net ¥29.70 estimated at 10:15" in text
    assert "Paid by buyers, net ¥33.00 estimated at 10:15" in text
    text = text_of(there.client.get("/provider/statements/"))
    assert "Estimated at 2020-06-01 10:15 from the usage counted so far, as it would be invoiced; not final." in text
    assert "2020-06 ¥33.00 ¥3.30 ¥29.70" in text


def test_the_estimate_is_made_once_in_fifteen_minutes(there):
    there.client.get("/provider/statements/")
    world.read(there.contract, *world.hours(1), start_at=world.JUNE + HOUR)
    assert "¥29.70" in text_of(there.client.get("/provider/"))
    cache.clear()
    assert "¥36.90" in text_of(there.client.get("/provider/"))


def test_a_statement_lists_its_lines_and_gives_them_as_csv(there):
    address = f"/provider/statements/{there.period.pk}/CNY/"
    text = text_of(there.client.get(address))
    assert "C-north EN" in text
    assert "C-south" not in text
    response = there.client.get(f"{address}statement.csv")
    assert response["Content-Disposition"] == 'attachment; filename="statement-2020-05-CNY.csv"'
    (row,) = csv.DictReader(io.StringIO(response.content.decode("utf-8-sig")))
    assert row == {
        "month": "2020-05",
        "contract": "C-north",
        "charge": "EN",
        "kind": "energy",
        "tou_period": "all",
        "tier": "",
        "quantity": "10",
        "unit": "gpu_hour",
        "unit_price": "8",
        "net": "80.00",
        "currency": "CNY",
    }


# How full, how much used


def test_a_pools_hours_say_what_is_there_taken_and_used(there):
    hours = utilisation.by_hour(pools=[there.pool], start_at=world.JUNE - HOUR, end_at=world.JUNE + 2 * HOUR)
    found = [(hour.capacity, hour.taken, hour.used) for hour in hours[there.pool.pk]]
    assert found == [(64, 0, 0), (64, 8, 4), (64, 8, 0)]


def test_what_a_contract_used_in_two_pools_is_shared_by_what_is_reserved_in_each(there):
    other = market.CapacityPool.objects.create(
        site=there.pool.site, accelerator=there.pool.accelerator, code="second", name="second", gpus=32
    )
    facts = market.Reservation.objects.filter(pk=there.reservation.pk).values().get()
    quote = market.Quote.objects.filter(pk=facts["quote_id"]).values().get()
    quote = market.Quote.objects.create(**quote | {"id": "00000000-0000-4000-8000-000000000001"})
    facts |= {"id": "00000000-0000-4000-8000-000000000002", "pool_id": other.pk, "quantity": 24, "quote_id": quote.pk}
    market.Reservation.objects.create(**facts)
    pools = [there.pool, other]
    hours = utilisation.by_hour(pools=pools, start_at=world.JUNE, end_at=world.JUNE + HOUR)
    assert [hours[pool.pk][0].used for pool in pools] == [1, 3]


def test_the_first_page_says_what_begins_and_ends_and_what_to_look_at(there):
    market.Incident.objects.create(
        pool=there.pool, kind="outage", quantity=8, start_at=NOW, cause="power", opened_at=NOW, actor="test"
    )
    Offering.objects.update(state="submitted")
    response = there.client.get("/provider/")
    text = text_of(response)
    assert "Open incidents 1 Offerings waiting for approval 1 Drafts 0 Offerings on sale 0" in text
    assert f"2020-06-02 00:00 {str(there.reservation.pk)[:8]} Sun north pool 8" in text
    (chart,) = response.context["charts"]
    data = json.loads(chart["data"])
    assert len(data["labels"]) == 14 * 24
    assert [len(each["data"]) for each in data["datasets"]] == [14 * 24] * 3
    june = data["labels"].index("06-01 00:00")
    assert [each["data"][june] for each in data["datasets"]] == [64, 8, "4.0"]
    days = {f"{day:%m-%d}": cells for day, cells in chart["rows"]}
    assert days["06-01"] == ["1,536", "192", "4.0", "12 %"]
    assert days["06-02"] == ["1,536", "0", "0.0", "0 %"]


def test_usage_is_by_contract_and_month_and_then_by_day(there):
    text = text_of(there.client.get("/provider/usage/", {"month": "2020-05"}))
    assert "C-north gpu_hours 10.00 GPU-h" in text
    text = text_of(there.client.get("/provider/usage/", {"month": "2020-05", "contract": "C-north"}))
    assert "2020-05-01 gpu_hours 10.00 GPU-h" in text
    assert "As in 2026-05." in text_of(there.client.get("/provider/usage/", {"month": "May"}))


# Prices


def _prices(**changes):
    days = ["valley"] * 8 + ["peak"] * 12 + ["valley"] * 4
    schedule = {"weekday": [days], "weekend": [["valley"] * 24]}
    charge = world.energy(prices={"peak": [{"price": "6.00"}], "valley": [{"price": "2.50"}]})
    capacity = {"kind": "capacity", "code": "CP", "price": "1.00", "per": "unit_hour"}
    facts = {
        "code": "north-new",
        "periods": ["peak", "valley"],
        "schedule": schedule,
        "effective": ["2020-07-15", None],
    }
    return world.document(charge, capacity, **facts | changes)


def test_a_week_of_prices_has_energy_and_reserved_capacity_by_the_hour(there):
    week = typical.week(rating_tariff.parse(_prices()))
    assert [len(day) for day in week] == [24] * 7
    assert (week[0][8], week[0][7], week[4][19], week[5][12]) == (
        Decimal(7),
        Decimal("3.5"),
        Decimal(7),
        Decimal("3.5"),
    )


def test_typical_bills_are_rated_as_invoices_are(there):
    """August 2020, the first whole month: 21 weekdays, the first weekend begins on the 1st.

    8 GPUs x 24 h x (2.50 + 1.00) = 672.00. 64 GPUs x (252 peak hours x 7.00 + 492 x 3.50) = 223,104.00. 16 GPUs x 21 days x
    9 h x 7.00 = 21,168.00, all of it within the peak.
    """
    bills = typical.bills(rating_tariff.parse(_prices()))
    assert [(bill.code, bill.gpu_hours, bill.amount_minor) for bill in bills] == [
        ("weekend", Decimal(192), 67_200),
        ("month", Decimal(47_616), 22_310_400),
        ("office", Decimal(3024), 2_116_800),
    ]


def test_a_preview_shows_prices_and_bills_and_publish_publishes_them(there):
    document = json.dumps(_prices())
    response = there.client.post("/provider/tariffs/publish/", {"document": document, "preview": "1"})
    text = text_of(response)
    assert "Applies from 2020-07-15 00:00." in text
    assert "8 GPUs for 24 hours at a weekend 192 ¥672.00" in text
    assert "64 GPUs for a month 47,616 ¥223,104.00" in text
    assert not tariffs.Tariff.objects.filter(code="north-new").exists()
    response = there.client.post("/provider/tariffs/publish/", {"document": document, "publish": "1"}, follow=True)
    tariff = tariffs.Tariff.objects.get(code="north-new")
    assert (tariff.owner, tariff.versions.get().document) == (there.north.party, json.loads(document))
    assert "Version 1 of north-new is published." in text_of(response)


def test_what_is_wrong_with_a_document_stands_at_the_field_with_its_path(there):
    cases = {
        "{": "Line 1, column 2 is no JSON: Expecting property name enclosed in double quotes",
        "[1]": "document is [1]: expected an object",
        json.dumps(_prices(currency="EUR")): "currency is 'EUR': expected CNY, in which the zone bills",
        json.dumps(_prices(periods=["peak"])): None,
    }
    for document, expected in cases.items():
        response = there.client.post("/provider/tariffs/publish/", {"document": document, "preview": "1"})
        (found,) = response.context["form"].errors["document"]
        assert expected is None or found == expected
        assert found in text_of(response) or "[" in found or "'" in found


# Files


def _upload(client, dataset, form="csv"):
    data = dataset.export(form)
    file = SimpleUploadedFile(f"offerings.{form}", data.encode() if isinstance(data, str) else data)
    facts = {"import_file": file, "format": "0" if form == "csv" else "1", "resource": "0"}
    return client.post("/provider/marketplace/offering/import/", facts)


def _confirm(client, response):
    form = response.context["confirm_form"]
    facts = {name: form[name].value() for name in form.fields}
    return client.post("/provider/marketplace/offering/process_import/", facts)


HEADERS = ("code", "pool", "tariff", "name", "max_quantity", "step", "min_quantity", "cancellation_terms")


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_file_drafts_what_is_new_and_changes_what_is_there_when_it_is_confirmed(there, form):
    rows = tablib.Dataset(headers=HEADERS)
    rows.append(("new", "north/north", "north-prices", "夜间八卡", 64, 8, 8, "168: 0; 24: 50"))
    rows.append((there.offering.code, "north/north", "north-prices", "Renamed", 32, 1, 1, "0: 100"))
    response = _upload(there.client, rows, form)
    assert not Offering.objects.filter(code="new").exists()
    assert _confirm(there.client, response).status_code == 302
    made = Offering.objects.get(code="new")
    assert (made.state, made.pool, made.name, made.max_quantity, made.step) == ("draft", there.pool, "夜间八卡", 64, 8)
    assert made.cancellation_terms == [{"hours": 168, "percent": "0"}, {"hours": 24, "percent": "50"}]
    there.offering.refresh_from_db()
    assert (there.offering.name, there.offering.max_quantity, there.offering.state) == ("Renamed", 32, "draft")
    assert list(made.changes.values_list("to_state", "actor")) == [("draft", f"user:{there.owner.pk}")]


def test_one_wrong_row_stops_the_whole_file_with_the_row_and_the_field(there):
    rows = tablib.Dataset(headers=HEADERS)
    rows.append(("new", "north/north", "north-prices", "New", 64, 8, 8, ""))
    rows.append(("other", "north/north", "north-prices", "", "many", 7, 8, "soon"))
    response = _upload(there.client, rows)
    (refused,) = response.context["result"].invalid_rows
    assert (refused.number, sorted(refused.field_specific_errors)) == (2, ["cancellation_terms", "max_quantity"])
    assert "confirm_form" not in response.context
    assert Offering.objects.count() == 1


def test_what_is_refused_only_when_it_is_confirmed_changes_nothing_and_says_why(there):
    rows = tablib.Dataset(headers=HEADERS)
    rows.append(("new", "north/north", "north-prices", "New", 64, 8, 8, ""))
    rows.append((there.offering.code, "north/north", "north-prices", "Renamed", 32, 1, 1, ""))
    response = _upload(there.client, rows)
    Offering.objects.filter(pk=there.offering.pk).update(state="retired")
    before = provider_world.snapshot()
    answer = _confirm(there.client, response)
    assert answer.status_code == 409
    assert "state is retired" in text_of(answer)
    assert provider_world.snapshot() == before


def test_a_confirmation_that_was_tampered_with_is_refused(there):
    rows = tablib.Dataset(("new", "north/north", "north-prices", "New", 64, 8, 8, ""), headers=HEADERS)
    form = _upload(there.client, rows).context["confirm_form"]
    facts = {name: form[name].value() for name in form.fields}
    address = "/provider/marketplace/offering/process_import/"
    for change in (
        {"import_file_name": facts["import_file_name"][:-2] + "xx"},
        {"import_file_name": "../../etc/passwd"},
    ):
        assert there.client.post(address, facts | change).status_code == 400
    assert there.client.post(address, facts | {"format": "7"}).status_code == 200  # the form again
    assert Offering.objects.count() == 1


def test_unknown_columns_and_too_many_rows_are_refused(there):
    response = _upload(there.client, tablib.Dataset(("new", "x"), headers=("code", "colour")))
    assert "Unknown columns: colour." in text_of(response)
    rows = tablib.Dataset(*[(f"o{number}",) for number in range(1001)], headers=("code",))
    assert "The file has more than 1000 rows." in text_of(_upload(there.client, rows))


@pytest.mark.parametrize("form", ["0", "1"])
def test_a_name_that_a_spreadsheet_would_take_for_a_formula_is_quoted_and_read_back(there, form):
    Offering.objects.filter(pk=there.offering.pk).update(name="=1+1", description="＋SUM(A1)")
    response = there.client.post("/provider/marketplace/offering/export/", {"format": form, "resource": "0"})
    kind = "csv" if form == "0" else "xlsx"
    data = response.content if kind == "xlsx" else response.content.decode("utf-8-sig")
    rows = tablib.Dataset().load(data, format=kind)
    assert (rows.dict[0]["name"], rows.dict[0]["description"]) == ("'=1+1", "'＋SUM(A1)")
    rows = tablib.Dataset(*[[value or "" for value in row] for row in rows], headers=rows.headers)
    assert _confirm(there.client, _upload(there.client, rows)).status_code == 302
    there.offering.refresh_from_db()
    assert (there.offering.name, there.offering.description) == ("=1+1", "＋SUM(A1)")


def test_the_pages_speak_chinese_too(there):
    there.client.cookies["django_language"] = "zh-hans"
    with translation.override("zh-hans"):
        assert there.client.get("/provider/").status_code == 200
    assert Meter.objects.count() == 1
