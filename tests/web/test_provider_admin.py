"""Who finds the providers' admin, what its lists ask the database, and who may change what is there."""

import re

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from marketplace import people
from marketplace.admin import providers
from marketplace.admin.base import ProviderAdmin, ProviderInline
from marketplace.models import CapacityPool, CapacitySlot, Credential, Offering, ProvisioningTask, Site, User
from tests.marketplace.tenants import AT, make_user
from tests.web import provider_world
from tests.web.test_admin import policy, routes

QUERIES = {
    "billing.Tariff": 6,
    "billing.TariffVersion": 9,
    "marketplace.CapacityPool": 8,
    "marketplace.Incident": 9,
    "marketplace.Maintenance": 9,
    "marketplace.Offering": 8,
    "marketplace.ProvisioningTask": 8,
    "marketplace.Reservation": 10,
    "marketplace.Site": 7,
    "capacity_hours": 9,
    "publish_prices": 6,
    "statements": 9,
    "supply_usage": 6,
    "index": 17,
}
"""Of each list, with the session, the user and the organization, whether it has one row or three."""


@pytest.fixture(autouse=True)
def at_noon(monkeypatch):
    cache.clear()
    monkeypatch.setattr(timezone, "now", lambda: provider_world.NOW)


@pytest.fixture
def tenants(db):
    return provider_world.two_tenants()


def browser(user) -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def addresses():
    yield from sorted({f"/provider/{route}" for route in routes(providers.get_urls())})


def name_of(model, page):
    return f"provider:{model._meta.app_label}_{model._meta.model_name}_{page}"


def list_addresses():
    return {
        **{str(model._meta.label): reverse(name_of(model, "changelist")) for model in providers._registry},
        **{page: reverse(f"provider:{page}") for page in QUERIES if "." not in page},
    }


# Who gets in


def test_members_of_a_provider_come_in_whatever_their_role_and_nobody_else_does(tenants):
    for user in tenants.north.users.values():
        assert browser(user).get("/provider/").status_code == 200
    for user in (*tenants.sun.users.values(), make_user("nobody"), tenants.staff):
        assert browser(user).get("/provider/").status_code == 404


def test_a_buyer_finds_nothing_at_any_address_by_get_or_post(tenants):
    client = browser(tenants.sun.owner)
    for address in addresses():
        assert client.get(address).status_code == 404, address
        assert client.post(address).status_code == 404, address


def test_who_has_not_signed_in_is_led_to_the_one_sign_in(db):
    for address in addresses():
        response = Client().get(address, follow=True)
        assert response.redirect_chain[-1][0].startswith("/sign-in/"), address


def test_who_is_no_member_any_more_is_out(tenants):
    client = browser(tenants.north.users["viewer"])
    assert client.get("/provider/").status_code == 200
    people.remove_member(
        organization=tenants.north.organization, user=tenants.north.users["viewer"], at=AT, actor="test"
    )
    assert client.get("/provider/").status_code == 404
    User.objects.filter(pk=tenants.north.owner.pk).update(is_active=False)
    assert browser(tenants.north.owner).get("/provider/").status_code == 302


def test_staff_come_in_only_looking_at_a_provider_that_they_chose(tenants):
    client = browser(tenants.staff)
    client.post("/organization/switch/", {"organization": tenants.south.organization.pk})
    text = client.get("/provider/marketplace/site/").content.decode()
    assert ("South site" in text, "North site" in text) == (True, False)
    client.post("/organization/switch/", {"organization": tenants.sun.organization.pk})
    assert client.get("/provider/").status_code == 404


def test_a_member_of_two_providers_switches_between_them_and_sees_one_at_a_time(tenants):
    user = tenants.north.owner
    people.add_member(organization=tenants.south.organization, user=user, role="viewer", at=AT, actor="test")
    client = browser(user)
    sites = "/provider/marketplace/site/"
    assert "North site" in client.get(sites).content.decode()
    response = client.post("/provider/switch/", {"organization": tenants.south.organization.pk})
    assert (response.status_code, response["Location"]) == (302, "/provider/")
    text = client.get(sites).content.decode()
    assert ("South site" in text, "North site" in text) == (True, False)
    assert client.get("/provider/marketplace/site/add/").status_code == 403  # there they only look
    assert client.post("/provider/switch/", {"organization": tenants.sun.organization.pk}).status_code == 404


def test_the_site_has_the_admins_own_policy(tenants):
    client = browser(tenants.north.owner)
    for address in list_addresses().values():
        own = policy(client.get(address))
        assert (own["script-src"], own["style-src"]) == ("'self' 'unsafe-eval'", "'self' 'unsafe-inline'"), address


def test_members_of_a_provider_find_the_way_there_on_their_other_pages_and_buyers_do_not(tenants):
    for tenant, is_there in ((tenants.north, True), (tenants.sun, False)):
        text = browser(tenant.owner).get("/organization/").content.decode()
        assert ('href="/provider/"' in text) == is_there
    assert 'href="/provider/"' not in browser(tenants.staff).get("/organization/").content.decode()


# Lists


def test_every_model_is_scoped_by_the_one_class_and_so_is_every_inline(db):
    for admin in providers._registry.values():
        assert isinstance(admin, ProviderAdmin)
        assert all(issubclass(inline, ProviderInline) for inline in admin.inlines)
        assert admin.fields is not None, "what is shown of a row is said, not guessed"


@pytest.mark.parametrize("row_count", [1, 3])
def test_a_list_asks_the_database_as_often_for_three_rows_as_for_one(tenants, row_count):
    owner = make_user("counter")
    client = browser(owner)
    party = provider_world.Party.objects.create(
        legal_name="Counted Ltd", credit_code=provider_world.credit_code(6999), created_at=AT
    )
    provider = people.make_organization(zone=tenants.zone, party=party, name="Counted", parts={"provider"})
    people.add_member(organization=provider, user=owner, role="owner", at=AT, actor="test")
    provider_world.supply(provider, tenants.zone, row_count)
    found = {}
    for name, address in list_addresses().items():
        client.get(address)  # the estimate of the month is kept; it asks for each contract's readings
        with CaptureQueriesContext(connection) as asked:
            response = client.get(address, {"month": "2026-05"} if name == "supply_usage" else {})
        assert response.status_code == 200
        found[name] = len(asked)
    assert found == QUERIES


def test_every_row_has_its_page_and_its_history_and_every_list_its_search(tenants):
    client = browser(tenants.north.owner)
    request = client.get("/provider/").wsgi_request
    for model, admin in providers._registry.items():
        rows = list(admin.get_queryset(request))
        assert rows, model
        for row in rows:
            for page in ("change", "history"):
                assert client.get(reverse(name_of(model, page), args=[row.pk])).status_code == 200, (row, page)
        assert client.get(reverse(name_of(model, "changelist")), {"q": "north"}).status_code == 200


def test_every_way_of_the_navigation_leads_somewhere_for_every_role(tenants):
    for role, user in tenants.north.users.items():
        client = browser(user)
        for group in providers.get_sidebar_list(client.get("/provider/").wsgi_request):
            for way in group["items"]:
                assert client.get(way["link"]).status_code == 200, (role, way)


def test_the_search_of_the_navigation_gives_this_sites_addresses_alone(tenants):
    user = tenants.north.owner
    people.add_member(organization=tenants.sun.organization, user=user, role="owner", at=AT, actor="test")
    client = browser(user)
    text = client.get("/provider/search/", {"s": "o"}, headers={"accept-language": "en"}).content.decode()
    assert "/provider/marketplace/offering/" in text
    assert "/admin/" not in text


# Who may change


@pytest.mark.parametrize("role", ["finance", "viewer"])
def test_who_may_not_supply_sees_and_changes_nothing(tenants, role):
    client = browser(tenants.north.users[role])
    before = provider_world.snapshot()
    pool, offering = tenants.north.offering.pool, tenants.north.offering
    for address in (
        "/provider/marketplace/site/add/",
        "/provider/marketplace/capacitypool/add/",
        "/provider/marketplace/offering/add/",
        "/provider/marketplace/offering/import/",
        "/provider/tariffs/publish/",
        f"/provider/marketplace/capacitypool/{pool.pk}/capacity/",
        f"/provider/marketplace/capacitypool/{pool.pk}/drain/",
        f"/provider/marketplace/offering/{offering.pk}/pause/",
    ):
        assert client.get(address).status_code == 403, address
        assert client.post(address, {"gpus": 1, "reason": "none"}).status_code == 403, address
    for address in (
        f"/provider/marketplace/site/{pool.site_id}/change/",
        f"/provider/marketplace/offering/{offering.pk}/change/",
    ):
        text = client.get(address).content.decode()
        assert 'name="name"' not in text
        assert client.post(address, {"name": "Other"}).status_code == 403
    assert provider_world.snapshot() == before


@pytest.mark.parametrize(("role", "sees"), [("owner", 200), ("finance", 200), ("engineer", 403), ("viewer", 403)])
def test_money_is_for_those_who_see_bills(tenants, role, sees):
    client = browser(tenants.north.users[role])
    period = tenants.sun.invoice.period_id
    for address in (
        "/provider/statements/",
        f"/provider/statements/{period}/CNY/",
        f"/provider/statements/{period}/CNY/statement.csv",
    ):
        assert client.get(address).status_code == sees, address
        assert client.post(address).status_code in (403, 405), address
    text = client.get("/provider/").content.decode()
    assert ("Your share, net" in text) == (sees == 200)


def test_nothing_is_ever_deleted(tenants):
    client = browser(tenants.north.owner)
    request = client.get("/provider/").wsgi_request
    for model, admin in providers._registry.items():
        assert admin.has_delete_permission(request) is False, model
        assert "delete_selected" not in admin.get_actions(request), model


def test_an_engineer_adds_a_site_a_pool_and_an_offering_and_the_verbs_have_written_them(tenants):
    client = browser(tenants.north.users["engineer"])
    client.post(
        "/provider/marketplace/site/add/",
        {"code": "dc2", "name": "二号机房", "name_en": "", "region": "上海", "address": ""},
    )
    site = Site.objects.get(code="dc2")
    assert site.provider == tenants.north.organization
    pool = {
        "site": site.pk,
        "accelerator": tenants.north.offering.pool.accelerator_id,
        "code": "big",
        "name": "大池",
        "gpus": 128,
        "gpus_per_node": 8,
        "backend": "manual",
        "notice_hours": 72,
    }
    client.post("/provider/marketplace/capacitypool/add/", pool)
    offering = {
        "pool": CapacityPool.objects.get(code="big").pk,
        "tariff": Offering._meta.get_field("tariff").related_model.objects.get(code="north-prices").pk,
        "code": "big-hours",
        "name": "大池按小时",
        "min_quantity": 8,
        "max_quantity": 128,
        "step": 8,
        "min_hours": 1,
        "max_hours": 720,
        "lead_hours": 0,
        "cancellation_terms": "168: 0\n24: 50%",
    }
    response = client.post("/provider/marketplace/offering/add/", offering)
    assert response.status_code == 302
    made = Offering.objects.get(code="big-hours")
    assert (made.state, made.actor) == ("draft", f"user:{tenants.north.users['engineer'].pk}")
    assert made.cancellation_terms == [{"hours": 168, "percent": "0"}, {"hours": 24, "percent": "50"}]


def test_a_refused_fact_stands_at_its_field(tenants):
    client = browser(tenants.north.owner)
    address = f"/provider/marketplace/offering/{tenants.north.offering.pk}/change/"
    Offering.objects.filter(pk=tenants.north.offering.pk).update(state="draft")
    form = client.get(address).context["adminform"].form
    facts = {name: form[name].value() for name in form.fields} | {"step": 7, "cancellation_terms": "24: 0"}
    response = client.post(address, {name: "" if value is None else value for name, value in facts.items()})
    errors = response.context["adminform"].form.errors
    assert dict(errors) == {"min_quantity": ["min_quantity is 1: expected a multiple of step, 7"]}
    response = client.post(
        address, {**facts, "service_level_percent": "", "service_credit_percent": "", "cancellation_terms": "soon"}
    )
    assert list(response.context["adminform"].form.errors) == ["cancellation_terms"]


def test_a_provider_submits_pauses_and_retires_with_reasons_that_stand_in_the_history(tenants):
    client = browser(tenants.north.owner)
    offering = tenants.north.offering
    address = f"/provider/marketplace/offering/{offering.pk}/"
    assert client.post(f"{address}pause/", {"reason": ""}).context["form"].errors
    assert client.post(f"{address}pause/", {"reason": "new racks"}).status_code == 302
    refused = client.post(f"{address}submit/")
    assert (refused.status_code, "The offering is in the state “Paused”." in refused.content.decode()) == (409, True)
    assert client.post(f"{address}retire/", {"reason": "sold"}).status_code == 302
    assert list(offering.changes.order_by("pk").values_list("to_state", "reason"))[-2:] == [
        ("paused", "new racks"),
        ("retired", "sold"),
    ]
    text = client.get(f"{address}change/").content.decode()
    assert "new racks" in text
    assert client.post(f"{address}change/", {"name": "Other"}).status_code == 403  # it is retired


def test_a_provider_takes_back_what_it_submitted_and_the_history_says_who_of_its_own(tenants):
    """Who of the zone's staff decided is not told, nor who another firm's people are."""
    offering, owner = tenants.north.offering, tenants.north.owner
    Offering.objects.filter(pk=offering.pk).update(state="submitted")
    address = f"/provider/marketplace/offering/{offering.pk}/"
    client = browser(owner)
    assert client.post(f"{address}withdraw/").status_code == 302
    offering.refresh_from_db()
    assert offering.state == "draft"
    for actor in (f"user:{tenants.staff.pk}", f"user:{tenants.south.owner.pk}", "user:" + "9" * 18, "key:suanli_x"):
        offering.changes.create(from_state="draft", to_state="draft", at=AT, actor=actor)
    page = client.get(f"{address}change/").content.decode()
    told = re.findall(r">\s*(Owner\.North|staff|API key suanli_x)\s*<", page)
    assert told[-5:] == ["Owner.North", "API key suanli_x", "staff", "staff", "staff"]
    assert tenants.staff.email not in page
    assert "South" not in page


def test_less_capacity_than_is_reserved_opens_an_incident_and_says_so(tenants):
    client = browser(tenants.north.owner)
    pool = tenants.north.offering.pool
    CapacitySlot.objects.create(pool=pool, hour=AT + 2 * provider_world.HOUR, capacity=64, taken=8)
    response = client.post(
        f"/provider/marketplace/capacitypool/{pool.pk}/capacity/",
        {"gpus": 4, "from_at": "2026-05-01T10:00", "cause": "moved"},
        follow=True,
    )
    assert [str(each) for each in response.context["messages"]] == [
        "The capacity is changed. More is reserved than is there then: an incident is open."
    ]
    assert pool.incidents.get(kind="shortfall").quantity == 4
    assert client.post(f"/provider/marketplace/capacitypool/{pool.pk}/drain/", {"from_at": "2026-05-01T10:30"}).context[
        "form"
    ].errors.keys() == {"from_at"}


def test_what_is_missing_for_a_sale_stands_at_its_field(tenants):
    client = browser(tenants.north.owner)
    offering = tenants.north.offering
    Offering.objects.filter(pk=offering.pk).update(
        state="draft", description="", cancellation_terms=[], max_quantity=65
    )
    address = f"/provider/marketplace/offering/{offering.pk}/"
    response = client.post(f"{address}submit/", follow=True)
    errors = response.context["adminform"].form.errors
    assert {name: list(said) for name, said in errors.items()} == {
        "description": ["Write some text: buyers decide by it."],
        "terms": ["Write some text: buyers decide by it."],
        "cancellation_terms": ["Write at least one line; for no money back: 0: 100"],
        "max_quantity": ["At most 64: north pool has no more GPUs."],
    }
    assert "Description: Write some text: buyers decide by it." in map(str, response.context["messages"])
    assert client.get(f"{address}change/").context["adminform"].form.errors == {}
    offering.refresh_from_db()
    assert offering.state == "draft"


def test_an_engineer_hands_over_access_which_is_not_shown_again_and_ticks_the_task_off(tenants):
    user = tenants.north.users["engineer"]
    client = browser(user)
    task = ProvisioningTask.objects.get(reservation__pool=tenants.north.offering.pool)
    page = f"/provider/marketplace/provisioningtask/{task.pk}/"
    reservation = f"/provider/marketplace/reservation/{task.reservation_id}/"
    way = client.get(f"{page}access/")
    assert (way.status_code, way["Location"]) == (302, f"{reservation}access/?task={task.pk}")
    assert client.post(way["Location"], {"secret": " "}).context["form"].errors.keys() == {"secret"}
    sent = client.post(way["Location"], {"secret": "ssh team@10.2.3.4"})
    assert (sent.status_code, sent["Location"]) == (302, f"{page}change/")
    text = client.get(f"{reservation}change/").content.decode()
    assert ("10.2.3.4" in text, "the buyer has not looked at it yet." in text) == (False, True)
    before = Credential.objects.get(reservation=task.reservation_id, erased_at=None)
    assert (before.handed_by, "10.2.3.4" in before.sealed) == (f"user:{user.pk}", False)
    assert client.post(f"{page}done/", {"note": "rack 7"}).status_code == 302
    task.refresh_from_db()
    assert (task.state, task.ended_by, task.note) == ("done", f"user:{user.pk}", "rack 7")
    again = client.post(f"{page}done/", {"note": ""})
    assert (again.status_code, "The task is in the state “Done”." in again.content.decode()) == (409, True)


@pytest.mark.parametrize("role", ["finance", "viewer"])
def test_who_may_not_supply_neither_hands_over_access_nor_ticks_off(tenants, role):
    client = browser(tenants.north.users[role])
    task = ProvisioningTask.objects.get(reservation__pool=tenants.north.offering.pool)
    before = provider_world.snapshot()
    for address in (
        f"/provider/marketplace/provisioningtask/{task.pk}/done/",
        f"/provider/marketplace/provisioningtask/{task.pk}/access/",
        f"/provider/marketplace/reservation/{task.reservation_id}/access/",
    ):
        assert client.get(address).status_code == 403, address
        assert client.post(address, {"secret": "mine", "note": ""}).status_code == 403, address
    assert provider_world.snapshot() == before


def test_a_way_back_to_anothers_task_is_not_taken(tenants):
    client = browser(tenants.north.owner)
    task = ProvisioningTask.objects.get(reservation__pool=tenants.north.offering.pool)
    foreign = ProvisioningTask.objects.exclude(pk=task.pk).first()
    page = f"/provider/marketplace/reservation/{task.reservation_id}/"
    for wanted in (foreign.pk, "none", "9" * 30):
        sent = client.post(f"{page}access/?task={wanted}", {"secret": "a key"})
        assert (sent.status_code, sent["Location"]) == (302, f"{page}change/")
