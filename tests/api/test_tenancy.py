"""Every operation of the OpenAPI document with each tenant's key against the others' ids: nothing is there, nothing changes."""

import re

import pytest
from django.apps import apps

from marketplace.api import openapi
from marketplace.models import ApiKey, AttemptCount
from tests.api.world import WISH, later, make_affairs, make_bills, make_contested, make_owed
from tests.marketplace import seller

REASON, END = {"reason": "because"}, {"end_at": later(4)}
NOBODYS = 2**62  # an id
BODIES = {
    "accounts_partial_update": {"corrections_on": "next_invoice"},
    "claims_create": {"programme": "", "from_month": "2020-05", "until_month": "2020-05"},
    "claims_settle_create": {"paid_minor": 0, "reason": "no"},
    "disputes_create": {"invoice": "", "reason": "because"},
    "disputes_withdrawals_create": {"invoice": ""},
    "facts_create": {"kind": "sector", "value": "software", "from_date": "2020-05-01", "evidence": NOBODYS},
    "facts_end_create": {"until_date": "2020-06-01"},
    "join_requests_approve_create": {"role": "viewer"},
    "members_partial_update": {"role": "viewer"},
    "projects_partial_update": {"name": "Other"},
    "quotes_create": {"offering": "north-offering", **WISH},
    "reservations_extension_quotes_create": {"end_at": later(12)},
    "reservations_failure_create": REASON,
    "reservations_notice_create": REASON,
    "reservations_release_create": END,
    "supply_incidents_close_create": {},
    "supply_incidents_create": {"pool": NOBODYS, "quantity": 1, "start_at": later(0), "cause": "power"},
    "supply_maintenance_create": {"pool": NOBODYS, "quantity": 1, "start_at": later(48), "end_at": later(49), **REASON},
    "supply_offerings_create": {"pool": NOBODYS, "tariff": "T", "code": "new", "name": "New", "max_quantity": 8},
    "supply_offerings_partial_update": {"name": "Other"},
    "supply_offerings_pause_create": REASON,
    "supply_offerings_retire_create": REASON,
    "supply_pools_capacity_create": {"gpus": 1, "from_at": later(0), "cause": "sold"},
    "supply_pools_create": {"site": "", "accelerator": "test-800", "code": "new", "name": "New", "gpus": 8},
    "supply_pools_drain_create": {"from_at": later(0)},
    "supply_pools_partial_update": {"name": "Other"},
    "supply_reservations_access_create": {"access": "ssh"},
    "supply_sites_partial_update": {"name": "Other"},
    "supply_tariffs_create": {"document": {}},
    "waitlist_create": {
        "offering": "north-offering",
        "quantity": 8,
        "hours": 4,
        "earliest_at": later(0),
        "latest_at": later(24),
        "max_net_minor": 100,
    },
}
IN_BODIES = {
    "accounts_partial_update": {"corrections_on": "next_invoice"},
    "claims_create": ("programme",),
    "disputes_create": ("invoice",),
    "disputes_withdrawals_create": ("invoice",),
    "facts_create": ("evidence",),
    "quotes_create": ("project", "offering"),
    "waitlist_create": ("project", "offering"),
    "supply_pools_create": ("site",),
    "supply_maintenance_create": ("pool",),
    "supply_incidents_create": ("pool",),
    "supply_offerings_create": ("pool", "tariff"),
    "supply_offerings_partial_update": ("tariff",),
}
IN_QUERIES = {
    "quotes_list": ("project",),
    "reservations_list": ("pool",),
    "supply_pools_list": ("site",),
    "supply_maintenance_list": ("pool",),
    "supply_incidents_list": ("pool",),
    "supply_offerings_list": ("pool",),
    "supply_tasks_list": ("reservation",),
}
ABSENT_IN_QUERIES = {
    "readings_list": ("contract", {"meter": "gpu_hours"}),
    "readings_events_list": ("contract", {"meter": "gpu_hours", "start_at": "2020-03-31T16:00:00Z"}),
    "preview_retrieve": ("account", {}),
}
OPEN = {  # nothing of anybody in particular in path, body or list
    "accelerators_list",
    "accelerators_retrieve",
    "facets_retrieve",
    "offerings_list",
    "organization_retrieve",
    "organization_partial_update",
    "invitations_create",
    "evidence_create",
    "keys_create",
    "meters_list",
    "meters_retrieve",
    "projects_create",
    "supply_sites_create",
    "supply_tariffs_create",
    "windows_list",
    "comparison_list",
}
# A reservation is its provider's too, to see and to take back; of a contract the provider sees the usage.
PROVIDERS = {
    "contracts_retrieve",
    "reservations_retrieve",
    "reservations_changes_list",
    "reservations_notice_create",
    "reservations_failure_create",
}
PARTNERS = {("north", "sun"), ("south", "moon")}


def operations():
    for path, methods in openapi.document()["paths"].items():
        for method, operation in methods.items():
            yield path.removeprefix("/api/v1/"), method, operation["operationId"]


def snapshot():
    """Every row of every table of ours, but for the counts of requests."""
    found = {}
    for label in ("billing", "marketplace"):
        for model in apps.get_app_config(label).get_models():
            if model is not AttemptCount:
                rows = model._default_manager.order_by("pk").values()
                keys = [{**row, "last_used_at": None} for row in rows] if model is ApiKey else list(rows)
                found[model] = keys
    return found


@pytest.mark.parametrize("name", ["sun", "moon", "north", "south"])
def test_what_is_others_is_not_there_and_stays_as_it_is(ask, world, name):
    make_affairs(world)
    make_bills(world)
    make_owed(world)
    make_contested(world)
    me = world.tenants[name]
    others = {other: tenant for other, tenant in world.tenants.items() if other != name}
    before, walked = snapshot(), set()
    for path, method, operation in operations():
        prefix = path.split("/{")[0]
        for other, tenant in others.items():
            is_partner = (name, other) in PARTNERS
            if "{" in path and not (is_partner and operation in PROVIDERS):
                for each in tenant.ids.get(prefix, []):
                    address = re.sub(r"\{\w+\}", str(each), path.replace("{name}", "json"))
                    answer = ask(me, method, address, json=BODIES.get(operation))
                    assert answer.status_code == 404, (operation, each, answer.json())
                    walked.add(operation)
            for field in IN_BODIES.get(operation, ()):
                for each in tenant.ids.get(field, []):
                    own = str(me.ids.get(prefix, [""])[0])
                    answer = ask(
                        me, method, re.sub(r"\{\w+\}", own, path), json=own_body(me, operation) | {field: each}
                    )
                    assert answer.status_code == 404, (operation, field, each, answer.json())
                    walked.add(operation)
            for field in IN_QUERIES.get(operation, ()):
                for each in tenant.ids.get(field, []):
                    answer = ask(me, method, path, **{field: each})
                    rows = answer.json()["results"]
                    assert {row.get("buyer") for row in rows} <= {name.title()}, (operation, each)
            if method == "get" and prefix in tenant.ids and "{" not in path and operation not in OPEN:
                rows = ask(me, method, path).json()["results"]
                rows = [{"code": row["number"], **row} if "number" in row else row for row in rows]
                shown = {row.get("code", row.get("id")) for row in rows} | {row.get("id") for row in rows}
                assert is_partner or not shown & set(tenant.ids[prefix]), operation
                walked.add(operation)
    assert snapshot() == before
    expected = {operation for *_, operation in operations()} - OPEN - set(ABSENT_IN_QUERIES)
    assert expected - walked <= (PROVIDERS if name in ("north", "south") else set())


@pytest.mark.parametrize("name", ["sun", "moon", "north", "south"])
def test_what_an_address_asks_of_others_is_not_there(ask, world, name):
    make_bills(world)
    me, partners = world.tenants[name], [set(pair) for pair in PARTNERS]
    asked = 0
    for path, method, operation in operations():
        field, rest = ABSENT_IN_QUERIES.get(operation, ("", {}))
        for other, tenant in world.tenants.items():
            for each in tenant.ids.get(field, []):
                is_ones_own = other == name or (field == "contract" and {name, other} in partners)
                answer = ask(me, method, path, **rest, **{field: each})
                assert answer.status_code == (200 if is_ones_own else 404), (operation, each, answer.json())
                asked += 1
    assert asked == 6


def own_body(me, operation):
    """A body that would do, with what is one's own."""
    fields = {field: me.ids[field][0] for field in ("pool", "site") if field in me.ids}
    return {**BODIES[operation], **{each: value for each, value in fields.items() if each in BODIES[operation]}}


def test_the_others_are_in_no_list_of_the_organization(ask, world):
    for name, tenant in world.tenants.items():
        assert ask(tenant, "get", "organization").json()["name"] == name.title()
        members = ask(tenant, "get", "members").json()["results"]
        assert [row["email"] for row in members] == [f"owner@{name}.example.com"]


@pytest.mark.parametrize(("which", "status"), [("north-offering", 200), ("north-draft", 404)])
def test_what_others_have_not_on_sale_is_in_no_comparison(ask, world, which, status):
    offerings = ["south-offering", which]
    assert ask(world.south, "get", "comparison", offering=offerings, **WISH).status_code == status


def test_another_providers_tariff_gets_no_prices_and_is_not_named(ask, world):
    before = snapshot()
    document = seller.document(code="north-prices", effective=["2020-06-01", None])
    answer = ask(world.south, "post", "supply/tariffs", json={"document": document})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:suanli:problem:code-taken")
    assert answer.json()["detail"] == "The tariff's code is in use: choose another."
    assert snapshot() == before


def test_a_site_of_the_same_code_is_ones_own(ask, world):
    made = ask(world.south, "post", "supply/sites", json={"code": "north", "name": "South", "region": "上海"})
    assert (made.status_code, made.json()["provider"]) == (201, "South")
    assert ask(world.north, "get", "supply/sites/north").json()["provider"] == "North"
