"""Two providers and two buyers, every model and every page of both admin sites: what is another's is not there, and no
forged id, foreign key, filter, action or file changes it. Every table is compared, before and after.
"""

import html
import io
import re

import pytest
import tablib
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing.models import InvoiceLine
from marketplace.admin import providers, staff
from marketplace.models import Offering, Reservation
from tests.web import provider_world
from tests.web.test_admin import routes

SITES = {"admin": staff, "provider": providers}
MODELS = [
    (name, model) for name, site in SITES.items() for model in sorted(site._registry, key=lambda each: each._meta.label)
]
PAGES = [
    "index",
    "capacity_hours",
    "publish_prices",
    "search",
    "statement",
    "statement_file",
    "statements",
    "supply_usage",
]
"""The pages of the providers' site that are no model's, all tried below."""

FOREIGN = re.compile(r"\b(south|moon)\b", re.IGNORECASE)
NAMED = re.compile(r"(south|moon)[ -](ltd|site|pool|offering|prices|tariff|research|1)\b", re.IGNORECASE)
"""What everything of the other provider and its buyer is named by."""


@pytest.fixture(autouse=True)
def at_the_time(monkeypatch):
    cache.clear()
    monkeypatch.setattr(timezone, "now", lambda: provider_world.NOW)


@pytest.fixture
def tenants(db):
    return provider_world.two_tenants()


@pytest.fixture
def unchanged(tenants):
    """Nothing in any table is changed by what the test does."""
    before = provider_world.snapshot()
    yield
    assert provider_world.snapshot() == before


def browser(user) -> Client:
    client = Client(raise_request_exception=True, headers={"accept-language": "en"})
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def own_rows(client, model):
    request = client.get("/provider/search/").wsgi_request
    return providers._registry[model].get_queryset(request)


def model_routes(site, model):
    """The addresses of a model's pages, in which {} is an id."""
    prefix = f"{model._meta.app_label}/{model._meta.model_name}/"
    for route in routes(site._registry[model].get_urls()):
        yield f"/{site.name}/{prefix}{route}".replace("/1/", "/{}/")


def facts_of(row, **changed):
    """A form's facts as the row has them."""
    facts = {}
    for field in row._meta.fields:
        value = field.value_from_object(row)
        facts[field.name] = "" if value is None else value
    return facts | {"_save": "Save", "reason": "forged", "from_at": "2026-05-02T10:00", "document": "{}"} | changed


@pytest.mark.parametrize(
    ("site_name", "model"), MODELS, ids=lambda each: each if isinstance(each, str) else each.__name__
)
def test_what_is_anothers_is_not_there_and_does_not_change(tenants, unchanged, site_name, model):
    site = SITES[site_name]
    outsiders = [tenants.sun.owner, tenants.moon.owner]
    if site is staff:
        outsiders += [tenants.north.owner, tenants.south.owner]
    every = list(model._default_manager.all())
    for user in outsiders:  # the site itself is not there for them
        client = browser(user)
        for route in model_routes(site, model):
            for row in every[:2]:
                assert client.get(route.format(row.pk)).status_code == 404, route
                assert client.post(route.format(row.pk), facts_of(row)).status_code == 404, route
    if site is not providers:
        return
    client = browser(tenants.north.owner)
    own = own_rows(client, model)
    foreign = model._default_manager.exclude(pk__in=own.values("pk"))
    assert own.exists()
    assert foreign.exists()
    for row in foreign:
        for route in (each for each in model_routes(site, model) if "{}" in each):
            got, sent = client.get(route.format(row.pk)), client.post(route.format(row.pk), facts_of(row))
            changeable = "change" not in route or providers._registry[model].change_form is not None
            expected = (403, 403) if "delete" in route else (404, 404 if changeable else 403)  # as of any other id
            if route.endswith("/{}/"):  # Django's old address, which leads to the page that is not there
                assert client.get(route.format(row.pk), follow=True).status_code == 404
                continue
            assert (got.status_code, sent.status_code) == expected, route
    _nothing_in_the_list(client, model, foreign)
    _nothing_in_forms(client, model, foreign)


def _nothing_in_the_list(client, model, foreign):
    admin = providers._registry[model]
    name = f"provider:{model._meta.app_label}_{model._meta.model_name}_changelist"
    address = reverse(name)
    asked = [{}, {"q": "south"}, {"q": "moon"}, {"o": "-1"}, {"all": ""}]
    for each in admin.get_list_filter(client.get("/provider/search/").wsgi_request):
        field = each[0] if isinstance(each, tuple) else each
        if isinstance(field, str) and model._meta.get_field(field).is_relation:
            others = model._meta.get_field(field).related_model._default_manager.all()
            asked += [{f"{field}__id__exact": other.pk} for other in others]
    for query in asked:
        response = client.get(address, query)
        assert response.status_code in (200, 302), query
        if response.status_code == 200:
            named = NAMED if "q" in query else FOREIGN  # what was looked for stands on the page again
            assert not named.search(_text(response)), query
            assert not {row.pk for row in response.context["cl"].result_list} & {row.pk for row in foreign}
    for row in foreign:  # actions on rows that are not in the list
        for action in ("delete_selected", "export_admin_action", "revoke_selected"):
            client.post(address, {"action": action, "_selected_action": [row.pk], "post": "yes"})
    # What is not in the list can't be asked for either: neither others' columns nor columns that are not shown.
    for field in model._meta.fields:
        shown = {each if isinstance(each, str) else each[0] for each in admin.list_filter if not isinstance(each, type)}
        if field.name not in {*shown, admin.date_hierarchy}:
            assert client.get(address, {f"{field.name}__gte": "0"}).status_code == 400, field


def _nothing_in_forms(client, model, foreign):
    """Drop-downs, forged foreign keys in what is added and in what is changed, autocomplete."""
    base = f"provider:{model._meta.app_label}_{model._meta.model_name}"
    pages = [reverse(f"{base}_add"), *(reverse(f"{base}_change", args=[row.pk]) for row in own_rows(client, model))]
    for address in pages:
        response = client.get(address)
        if response.status_code == 403:
            assert client.post(address, facts_of(foreign[0])).status_code == 403
            continue
        assert not FOREIGN.search(_text(response)), address
        form = response.context["adminform"].form
        for name, field in form.fields.items():
            if not hasattr(field, "queryset"):
                continue
            own = set(field.queryset.values_list("pk", flat=True))
            for other in field.queryset.model._default_manager.exclude(pk__in=own):
                if field.queryset.model in (*provider_world.OPEN,):
                    continue
                sent = client.post(address, facts_of(foreign[0], **{name: other.pk}, code="forged"))
                assert sent.status_code == 200, (address, name)
                assert name in sent.context["adminform"].form.errors, (address, name)
    for field in (each for each in model._meta.fields if each.is_relation):
        query = {
            "app_label": model._meta.app_label,
            "model_name": model._meta.model_name,
            "field_name": field.name,
            "term": "south",
        }
        answer = client.get("/provider/autocomplete/", query)
        assert answer.status_code in (403, 404) or answer.json()["results"] == [], field


def _text(response) -> str:
    return html.unescape(response.content.decode())


# The pages that are no model's


def test_every_page_that_is_no_models_is_tried(db):
    assert {name for _route, name, _view in providers._pages} | {"index", "search"} == {*PAGES, "switch"}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_one_provider_alone(tenants, unchanged, page):
    client = browser(tenants.north.owner)
    foreign = tenants.south.offering
    period = tenants.moon.invoice.period_id
    asked = {
        "capacity_hours": [{}, {"pool": foreign.pool_id}],
        "supply_usage": [{"month": "2026-05"}, {"month": "2026-05", "contract": "moon-1"}],
        "publish_prices": [{}, {"tariff": tenants.moon.contract.tariff_id}, {"tariff": foreign.tariff_id}],
        "search": [{"s": "o"}, {"s": "south"}, {"s": "moon", "extended": "1", "page": "x"}],
    }
    parts = [period, "CNY"] if page in ("statement", "statement_file") else []
    for query in asked.get(page, [{}]):
        response = client.get(reverse(f"provider:{page}", args=parts), query)
        assert response.status_code == 200
        shown = _text(response).replace("moon-1", "") if query.get("contract") else _text(response)
        assert not FOREIGN.search(shown), query
    if parts:  # the month of both has the lines of one
        assert "sun-1" in _text(response)


def test_a_statement_of_anothers_month_is_not_there(tenants):
    later = provider_world.two_of_june(tenants)
    client = browser(tenants.north.owner)
    assert InvoiceLine.objects.filter(invoice__period=later, invoice__state="issued").exists()
    for page in ("statement", "statement_file"):
        assert client.get(reverse(f"provider:{page}", args=[later.pk, "CNY"])).status_code == 404
        assert client.get(reverse(f"provider:{page}", args=[10**9, "CNY"])).status_code == 404


def test_prices_are_not_published_under_anothers_code_nor_is_it_said_whose_it_is(tenants, unchanged):
    client = browser(tenants.north.owner)
    document = provider_world.prices("south-prices", ["2026-06-01", None])
    for button in ("preview", "publish"):
        response = client.post("/provider/tariffs/publish/", {"document": document, button: "1"})
        assert response.context["form"].errors == {
            "document": ["code: expected one of your own tariffs', or one that is not taken"]
        }
        assert not re.search(r"south ltd", _text(response), re.IGNORECASE)


def test_a_preview_of_prices_stores_nothing(tenants, unchanged):
    client = browser(tenants.north.owner)
    document = provider_world.prices("north-prices", ["2026-06-01", None])
    response = client.post("/provider/tariffs/publish/", {"document": document, "preview": "1"})
    assert response.context["form"].errors == {}
    assert "Typical bills" in _text(response)


# Files


def upload(client, rows, headers=("code", "pool", "tariff", "name", "max_quantity")):
    data = tablib.Dataset(*rows, headers=headers).export("csv").encode()
    file = SimpleUploadedFile("offerings.csv", data, content_type="text/csv")
    return client.post("/provider/marketplace/offering/import/", {"import_file": file, "format": "0", "resource": "0"})


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (("new", "south/south", "north-prices", "New", 8), "pool"),
        (("new", "nowhere/south", "north-prices", "New", 8), "pool"),
        (("new", "north/north", "south-prices", "New", 8), "tariff"),
        (("new", "north/north", "moon-tariff", "New", 8), "tariff"),
        (("new", "north/north", "no-such-tariff", "New", 8), "tariff"),
        (("south-offering", "north/north", "north-prices", "Theirs", 8), "code"),
    ],
)
def test_a_file_that_names_what_is_anothers_is_refused_as_if_it_were_nowhere(tenants, unchanged, row, field):
    response = upload(browser(tenants.north.owner), [row])
    assert "confirm_form" not in response.context
    (refused,) = response.context["result"].invalid_rows
    assert list(refused.field_specific_errors) == [field]
    assert not re.search(r"\bmoon ltd|south ltd", _text(response), re.IGNORECASE)


def test_an_export_has_ones_own_rows_also_when_others_ids_are_forged(tenants, unchanged):
    client = browser(tenants.north.owner)
    for extra in ({}, {"export_items": [tenants.south.offering.pk]}):
        response = client.post("/provider/marketplace/offering/export/", {"format": "0", "resource": "0", **extra})
        assert not FOREIGN.search(response.content.decode("utf-8-sig"))


# What a provider sees of its buyers


def test_what_a_reservation_costs_its_buyer_is_nowhere_on_the_providers_site(tenants):
    client = browser(tenants.north.owner)
    reservation = tenants.sun.reservation
    Reservation.objects.filter(pk=reservation.pk).update(net_minor=1_234_567, tax_minor=74_074, gross_minor=1_308_641)
    reservation.changes.create(
        kind="extended", facts={"net_minor": 1_234_567}, at=provider_world.NOW, actor="key:sun-01"
    )
    for address in (
        "/provider/",
        "/provider/marketplace/reservation/",
        f"/provider/marketplace/reservation/{reservation.pk}/change/",
        f"/provider/marketplace/reservation/{reservation.pk}/history/",
    ):
        text = _text(client.get(address))
        assert "12,345" not in text
        assert "1234567" not in text
        assert "key:sun-01" not in text, "nor which of its people or keys did it"
        assert "Sun research" not in text, address
    address = "/provider/marketplace/reservation/"
    for query in ({"net_minor__gte": "1"}, {"quote__net_minor": "1"}, {"project__name__startswith": "S"}):
        assert client.get(address, query).status_code == 400, query


def test_the_history_of_a_row_does_not_say_who_of_the_staff_did_what(tenants):
    offering = tenants.north.offering
    Offering.objects.filter(pk=offering.pk).update(state="submitted")
    browser(tenants.staff).post(f"/admin/marketplace/offering/{offering.pk}/refuse/", {"reason": "no terms"})
    browser(tenants.north.owner).post(f"/provider/marketplace/offering/{offering.pk}/retire/", {"reason": "no more"})
    text = _text(browser(tenants.north.owner).get(f"/provider/marketplace/offering/{offering.pk}/history/"))
    assert "retire: no more" in text
    assert tenants.staff.email not in text


def test_a_workbook_is_read_as_a_csv_is(tenants, unchanged):
    data = tablib.Dataset(
        ("new", "south/south", "north-prices", "New", 8), headers=("code", "pool", "tariff", "name", "max_quantity")
    )
    file = SimpleUploadedFile("offerings.xlsx", io.BytesIO(data.export("xlsx")).read())
    response = browser(tenants.north.owner).post(
        "/provider/marketplace/offering/import/", {"import_file": file, "format": "1", "resource": "0"}
    )
    (refused,) = response.context["result"].invalid_rows
    assert list(refused.field_specific_errors) == ["pool"]
