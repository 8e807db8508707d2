"""Who gets into the admin, what its lists ask the database, and that money is only looked at there."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLResolver, reverse

from billing.models import (
    Adjustment,
    BillingPeriod,
    Claim,
    Commitment,
    Contract,
    Dispute,
    EventProblem,
    EventSource,
    Evidence,
    Grant,
    Invoice,
    InvoiceLine,
    Journal,
    LedgerAccount,
    NumberSeries,
    OneOffCharge,
    PartyFact,
    Posting,
    Programme,
    ProgrammeShare,
    Redemption,
    ReservedSpan,
    TariffVersion,
)
from marketplace.admin import staff
from marketplace.models import (
    AcceleratorModel,
    CapacityPool,
    Credential,
    Incident,
    Job,
    Maintenance,
    MeterSilence,
    Offering,
    Project,
    Provision,
    ProvisioningTask,
    Pulse,
    Quote,
    Reservation,
    Site,
    User,
    WaitlistEntry,
    Zone,
)
from tests.marketplace.tenants import PASSWORD, make_user
from tests.web.admin_world import rows

PAGES = [
    "capacity_hours",
    "usage_readings",
    "usage_events",
    "usage_unmatched",
    "usage_gaps",
    "trial_balance",
    "verification",
    "applications",
    "double_funding",
]
QUERIES = {
    "billing.Account": 8,
    "billing.Adjustment": 7,
    "billing.BillingPeriod": 5,
    "billing.Claim": 7,
    "billing.Commitment": 8,
    "billing.Contract": 8,
    "billing.Dispute": 7,
    "billing.EventProblem": 7,
    "billing.EventSource": 4,
    "billing.Evidence": 7,
    "billing.Grant": 7,
    "billing.Invoice": 9,
    "billing.InvoiceLine": 9,
    "billing.Issuer": 4,
    "billing.Journal": 8,
    "billing.LedgerAccount": 6,
    "billing.Meter": 4,
    "billing.NumberSeries": 5,
    "billing.OneOffCharge": 7,
    "billing.Party": 6,
    "billing.PartyFact": 6,
    "billing.Posting": 8,
    "billing.Programme": 10,
    "billing.ProgrammeShare": 7,
    "billing.Redemption": 6,
    "billing.ReservedSpan": 6,
    "billing.Tariff": 4,
    "billing.TariffVersion": 7,
    "marketplace.AcceleratorModel": 6,
    "marketplace.ApiKey": 7,
    "marketplace.CapacityPool": 6,
    "marketplace.Credential": 7,
    "marketplace.Incident": 7,
    "marketplace.Invitation": 7,
    "marketplace.Job": 7,
    "marketplace.JoinRequest": 7,
    "marketplace.Maintenance": 7,
    "marketplace.Membership": 7,
    "marketplace.MeterSilence": 7,
    "marketplace.Offering": 7,
    "marketplace.Organization": 5,
    "marketplace.OrganizationChange": 7,
    "marketplace.Project": 5,
    "marketplace.Provision": 7,
    "marketplace.ProvisioningTask": 7,
    "marketplace.Pulse": 4,
    "marketplace.Quote": 8,
    "marketplace.Reservation": 8,
    "marketplace.SignUp": 6,
    "marketplace.Site": 6,
    "marketplace.User": 6,
    "marketplace.WaitlistEntry": 7,
    "marketplace.Zone": 4,
    "usage_readings": 4,
    "usage_events": 4,
    "usage_unmatched": 4,
    "usage_gaps": 3,
    "trial_balance": 4,
    "capacity_hours": 6,
    "verification": 5,
    "applications": 3,
    "double_funding": 5,
    "index": 12,
}
ASKED = {
    "usage_readings": {"day": "2026-05-10"},
    "usage_events": {"day": "2026-05-10"},
    "index": {"month": "2026-05"},
}
"""QUERIES: of each list, with the session and the user, whether it has one row or three. ASKED: where its rows are."""

TO_LOOK_AT = [
    *(
        Adjustment,
        BillingPeriod,
        Contract,
        Dispute,
        EventProblem,
        EventSource,
        Invoice,
        InvoiceLine,
        Journal,
        LedgerAccount,
        NumberSeries,
        Posting,
    ),
    *(Programme, ReservedSpan, TariffVersion, Job, MeterSilence, Pulse, Zone),
    *(AcceleratorModel, CapacityPool, Evidence, Incident, Maintenance, Offering, OneOffCharge, PartyFact, Project),
    *(
        Claim,
        Commitment,
        Credential,
        Grant,
        ProgrammeShare,
        Provision,
        Redemption,
        ProvisioningTask,
        Quote,
        Reservation,
        Site,
        WaitlistEntry,
    ),
]
NEVER_ADDED = [
    Adjustment,
    Dispute,
    EventProblem,
    EventSource,
    Invoice,
    InvoiceLine,
    Journal,
    LedgerAccount,
    NumberSeries,
    Posting,
    Job,
    MeterSilence,
    Pulse,
    *(AcceleratorModel, CapacityPool, Evidence, Incident, Maintenance, Offering, OneOffCharge, PartyFact, Project),
    *(
        Commitment,
        Credential,
        Grant,
        ProgrammeShare,
        Provision,
        Redemption,
        ProvisioningTask,
        Quote,
        Reservation,
        Site,
        WaitlistEntry,
    ),
]


@pytest.fixture
def client(tenants):
    client = Client()
    client.force_login(tenants.staff)
    return client


def name_of(model, page):
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"


def addresses():
    """Every address of the site, with ids of nothing where it wants some."""
    yield from sorted({f"/admin/{route}" for route in routes(staff.get_urls())})


def routes(patterns):
    for pattern in patterns:
        route = getattr(pattern.pattern, "_route", None)
        if route is None:  # Django's two regular expressions: an app's page, and all that is nothing else
            route = "billing/" if pattern.name == "app_list" else "nothing/"
        route = re.sub(r"<[a-z]+:([a-z_]+)>", lambda part: {"form": "csv", "language": "en"}.get(part[1], "1"), route)
        if isinstance(pattern, URLResolver):
            yield from (route + inner for inner in routes(pattern.url_patterns))
        else:
            yield route


def list_addresses():
    return {
        **{str(model._meta.label): reverse(name_of(model, "changelist")) for model in staff._registry},
        **{page: reverse(f"admin:{page}") for page in PAGES},
        "index": reverse("admin:index"),
    }


# Who gets in


def test_the_addresses_tried_are_all_that_the_site_has():
    found = set(addresses())
    assert {"/admin/", "/admin/billing/", "/admin/billing/contract/1/change/", "/admin/usage/events/"} <= found
    assert {"/admin/billing/invoice/1/pdf/en/", "/admin/marketplace/job/1/retry/", "/admin/autocomplete/"} <= found


def test_who_has_not_signed_in_is_led_to_the_one_sign_in_from_every_address(db):
    client = Client()
    for address in addresses():
        response = client.get(address, follow=True)
        assert response.redirect_chain[-1][0].startswith("/sign-in/"), address


def test_who_is_not_staff_finds_no_admin_at_any_address_by_get_or_post(tenants):
    client = Client()
    for user in (*tenants.sun.users.values(), tenants.north.owner):
        client.force_login(user)
        for address in addresses() if user == tenants.sun.owner else list_addresses().values():
            assert client.get(address).status_code == 404, address
            assert client.post(address).status_code == 404, address


def test_staff_who_are_not_active_any_more_are_out(tenants, client):
    assert client.get(reverse("admin:index")).status_code == 200
    User.objects.filter(pk=tenants.staff.pk).update(is_active=False)
    assert client.get(reverse("admin:index")).status_code == 302


def test_being_staff_is_the_permission_no_row_of_djangos_is_needed(tenants):
    client = Client()
    client.force_login(make_user("clerk", is_staff=True))
    for address in list_addresses().values():
        assert client.get(address).status_code == 200, address


def test_the_admins_own_sign_in_leads_to_the_sign_in_with_the_lock_out_and_signs_nobody_in(tenants):
    client = Client()
    response = client.post("/admin/login/?next=/admin/", {"username": tenants.staff.email, "password": PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/sign-in/?next=%2Fadmin%2F")
    assert "_auth_user_id" not in client.session
    wrong = {"username": tenants.staff.email, "password": "wrong"}
    answers = [client.post("/sign-in/?next=/admin/", wrong).status_code for _ in range(6)]
    assert answers == [200, 200, 200, 200, 429, 429]
    right = {"username": tenants.staff.email, "password": PASSWORD}
    assert client.post("/sign-in/?next=/admin/", right).status_code == 429


def test_staff_who_sign_in_come_to_the_admin(tenants):
    right = {"username": tenants.staff.email, "password": PASSWORD}
    response = Client().post("/sign-in/?next=/admin/", right, follow=True)
    assert response.redirect_chain == [("/admin/", 302)]


# Content-Security-Policy


def policy(response):
    return dict(part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))


def test_the_admin_alone_may_evaluate_and_style_inline(client):
    strict = policy(client.get("/organization/"))
    assert (strict["script-src"], strict["style-src"]) == ("'self'", "'self'")
    for address in list_addresses().values():
        own = policy(client.get(address))
        assert own.pop("script-src") == "'self' 'unsafe-eval'", address
        assert own.pop("style-src") == "'self' 'unsafe-inline'"
        assert own == {name: value for name, value in strict.items() if name not in ("script-src", "style-src")}


# Lists


def test_every_list_has_its_number_of_queries():
    assert set(QUERIES) == set(list_addresses())


@pytest.mark.parametrize("row_count", [1, 3])
def test_a_list_asks_the_database_as_often_for_three_rows_as_for_one(db, row_count):
    rows(row_count)
    client = Client()
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    client.get(reverse("admin:index"))
    found = {}
    for name, address in list_addresses().items():
        with CaptureQueriesContext(connection) as asked:
            response = client.get(address, ASKED.get(name, {}))
        assert response.status_code == 200
        found[name] = len(asked)
    assert found == QUERIES


def test_every_row_has_its_page_and_its_history_and_every_list_its_search(client):
    rows(1)
    for model in staff._registry:
        for row in model.objects.all():
            for page in ("change", "history"):
                assert client.get(reverse(name_of(model, page), args=[row.pk])).status_code == 200, (row, page)
        searched = client.get(reverse(name_of(model, "changelist")), {"q": "sun"})
        assert searched.status_code == 200, model


def test_staff_see_the_rows_of_both_tenants_in_the_lists(client):
    for address in (reverse(name_of(model, "changelist")) for model in (Contract, Invoice, ReservedSpan)):
        text = client.get(address).content.decode()
        assert "sun" in text, address
        assert "moon" in text, address


def test_every_way_of_the_navigation_leads_somewhere(client):
    for group in staff.get_sidebar_list(client.get(reverse("admin:index")).wsgi_request):
        for way in group["items"]:
            assert client.get(way["link"]).status_code == 200, way


def test_the_site_leads_staff_to_the_admin_and_the_admin_leads_back(client, tenants):
    way = '<a href="/admin/">Administration</a>'
    assert way in client.get("/organization/", headers={"Accept-Language": "en"}).text
    assert '<a href="/admin/">管理后台</a>' in client.get("/organization/").text
    assert 'href="/organization/"' in client.get("/admin/").text
    for user in (tenants.sun.owner, tenants.north.owner):
        client.force_login(user)
        assert "/admin/" not in client.get("/organization/").text
    assert "/admin/" not in Client().get("/").text


def test_access_is_told_of_and_never_shown(client):
    """Not in the list, not on its page or in its history; and no address can ask what it begins with."""
    rows(1)
    Credential.objects.update(sealed="gAAAA-away")
    row = Credential.objects.order_by("pk").last()
    listed = reverse(name_of(Credential, "changelist"))
    for address in (listed, *(reverse(name_of(Credential, page), args=[row.pk]) for page in ("change", "history"))):
        with CaptureQueriesContext(connection) as asked:
            text = client.get(address).text
        assert str(row.reservation_id)[:8] in text, address
        assert "gAAAA" not in text, address
        assert not [query for query in asked if "sealed" in query["sql"]], address
    for guess in ("gAAAA", "x"):
        assert client.get(listed, {"sealed__startswith": guess}).status_code == 400


# To look at


@pytest.mark.parametrize("model", TO_LOOK_AT, ids=lambda model: model.__name__)
def test_a_forged_post_changes_and_deletes_nothing_of(client, model):
    rows(1)
    before = list(model.objects.order_by("pk").values())
    row = model.objects.order_by("pk").last()
    facts = {field.name: "1" for field in model._meta.fields} | {"_save": "Save", "post": "yes"}
    assert client.post(reverse(name_of(model, "change"), args=[row.pk]), facts).status_code == 403
    assert client.post(reverse(name_of(model, "delete"), args=[row.pk]), facts).status_code == 403
    deleting = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    client.post(reverse(name_of(model, "changelist")), deleting)
    assert list(model.objects.order_by("pk").values()) == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("model", NEVER_ADDED, ids=lambda model: model.__name__)
def test_a_forged_post_adds_nothing_to(client, model):
    before = model.objects.count()
    facts = {field.name: "1" for field in model._meta.fields}
    assert client.get(reverse(name_of(model, "add"))).status_code == 403
    assert client.post(reverse(name_of(model, "add")), facts).status_code == 403
    assert model.objects.count() == before


def test_nothing_is_ever_deleted_in_the_admin(client):
    request = client.get(reverse("admin:index")).wsgi_request
    for model, admin in staff._registry.items():
        assert admin.has_delete_permission(request) is False, model
        assert "delete_selected" not in admin.get_actions(request), model
