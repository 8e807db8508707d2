"""The provider's way over the API: a site, a pool, prices, an offering and its life; capacity, maintenance and incidents."""

import pytest

from marketplace import catalog
from marketplace.models import CapacityChange, Incident, Maintenance, Offering, ProvisioningTask
from tests.api.world import AT, DAY, HOUR, START, later
from tests.marketplace import seller
from tests.marketplace.booking import taken

SITE = {"code": "dc-9", "name": "九号机房", "region": "上海"}
POOL = {"site": "dc-9", "accelerator": "test-800", "code": "p9", "name": "资源池", "gpus": 64}
DRAFT = {
    "code": "whole-nodes",
    "name": "八卡整机",
    "description": "整机出租",
    "terms": "不得用于挖矿",
    "min_quantity": 8,
    "max_quantity": 64,
    "step": 8,
    "cancellation_terms": [{"hours": 24, "percent": "0"}, {"hours": 0, "percent": "50"}],
    "service_level_percent": "99.5",
}


def test_from_a_site_to_an_offering_on_sale(ask, world):
    north = world.north
    site = ask(north, "post", "supply/sites", json=SITE)
    assert (site.status_code, site.json()) == (
        201,
        {"id": site.json()["id"], "provider": "North", "name_en": "", "address": "", **SITE},
    )
    pool = ask(north, "post", "supply/pools", json=POOL)
    assert (pool.status_code, pool.json()) == (
        201,
        {
            "id": pool.json()["id"],
            "name_en": "",
            "interconnect": "",
            "gpus_per_node": 8,
            "backend": "manual",
            "notice_hours": 72,
            "drains_at": None,
            **POOL,
        },
    )
    document = seller.document(code="N9", effective=["2020-05-01", None])
    version = ask(north, "post", "supply/tariffs", json={"document": document})
    assert (version.status_code, version.json()) == (
        201,
        {
            "tariff": "N9",
            "version": 1,
            "effective_at": "2020-04-30T16:00:00Z",
            "document": document,
            "sha256": version.json()["sha256"],
            "published_at": "2020-05-10T08:30:00Z",
        },
    )
    body = DRAFT | {"pool": pool.json()["id"], "tariff": "N9"}
    drafted = ask(north, "post", "supply/offerings", json=body)
    assert drafted.status_code == 201
    row = drafted.json()
    assert row == body | {
        "name_en": "",
        "description_en": "",
        "provider": "North",
        "region": "上海",
        "site": "九号机房",
        "accelerator": "test-800",
        "min_hours": 1,
        "max_hours": 2160,
        "lead_hours": 0,
        "service_level_percent": "99.500",
        "service_credit_percent": None,
        "state": "draft",
        "state_reason": "",
        "state_at": "2020-05-10T08:30:00Z",
    }
    path = "supply/offerings/whole-nodes"
    assert ask(world.sun, "get", "offerings/whole-nodes").status_code == 404
    assert ask(north, "post", f"{path}/submit").json() == row | {"state": "submitted"}
    assert ask(north, "post", f"{path}/withdraw").json() == row
    assert ask(north, "post", f"{path}/submit").json() == row | {"state": "submitted"}
    offering = Offering.objects.get(code="whole-nodes")
    catalog.approve(offering=offering, at=AT, actor="user:9")
    assert ask(world.sun, "get", "offerings/whole-nodes").json() == row | {"state": "published"}
    paused = ask(north, "post", f"{path}/pause", json={"reason": "巡检"}).json()
    assert paused == row | {"state": "paused", "state_reason": "巡检"}
    assert ask(north, "post", f"{path}/resume").json() == row | {"state": "published"}
    retired = ask(north, "post", f"{path}/retire", json={"reason": "sold"}).json()
    assert retired == row | {"state": "retired", "state_reason": "sold"}
    again = ask(north, "post", f"{path}/retire", json={"reason": "sold"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:suanli:problem:other-state")
    assert list(offering.changes.values_list("to_state", "actor"))[-1] == ("retired", f"key:{north.token[:19]}")


def test_the_same_facts_again_are_the_row_that_is_there_and_others_are_refused(ask, world):
    made = [ask(world.north, "post", "supply/sites", json=SITE) for _ in range(2)]
    assert made[0].json() == made[1].json()
    other = ask(world.north, "post", "supply/sites", json=SITE | {"region": "北京"})
    assert (other.status_code, other.json()["type"]) == (409, "urn:suanli:problem:code-taken")


def test_what_stands_in_the_way_of_a_sale_is_told_whole(ask, world):
    ask(world.north, "patch", "supply/offerings/north-draft", json={"description": "", "terms": ""})
    answer = ask(world.north, "post", "supply/offerings/north-draft/submit")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:suanli:problem:not-ready")
    assert [each["field"] for each in answer.json()["problems"]] == ["description", "terms"]


def test_sites_pools_and_offerings_change(ask, world):
    assert ask(world.north, "patch", "supply/sites/north", json={"region": "北京"}).json()["region"] == "北京"
    pool = world.north.ids["pool"][0]
    changed = ask(world.north, "patch", f"supply/pools/{pool}", json={"name": "新", "interconnect": "NVLink"}).json()
    assert (changed["name"], changed["interconnect"]) == ("新", "NVLink")
    draft = ask(world.north, "patch", "supply/offerings/north-draft", json={"tariff": "T", "max_hours": 24}).json()
    assert (draft["tariff"], draft["max_hours"]) == ("T", 24)
    on_sale = ask(world.north, "patch", "supply/offerings/north-offering", json={"max_hours": 24})
    assert (on_sale.status_code, on_sale.json()["type"]) == (409, "urn:suanli:problem:other-state")


def test_capacity_that_is_lost_opens_an_incident(ask, world):
    pool = world.north.ids["pool"][0]
    body = {"gpus": 4, "from_at": later(0), "cause": "a rack was sold"}
    answer = ask(world.north, "post", f"supply/pools/{pool}/capacity", json=body).json()
    assert (answer["pool"]["id"], answer["pool"]["gpus"]) == (pool, 64)
    incident = Incident.objects.get(pool_id=pool, kind="shortfall")
    assert answer["incident"] == {
        "id": incident.pk,
        "pool": pool,
        "kind": "shortfall",
        "quantity": 4,
        "start_at": later(0),
        "end_at": later(25),
        "cause": "a rack was sold",
        "opened_at": "2020-05-10T08:30:00Z",
        "closed_at": None,
    }
    stays = ask(world.north, "post", f"supply/incidents/{incident.pk}/close", json={})
    assert (stays.status_code, stays.json()["type"]) == (409, "urn:suanli:problem:shortfall-stays")
    more = ask(world.north, "post", f"supply/pools/{pool}/capacity", json=body | {"gpus": 64}).json()
    assert more["incident"] is None
    assert CapacityChange.objects.filter(pool_id=pool).count() == 2


def test_a_pool_drains_and_is_sold_again(ask, world):
    pool = world.north.ids["pool"][0]
    assert ask(world.north, "post", f"supply/pools/{pool}/drain", json={"from_at": later(4)}).json()[
        "drains_at"
    ] == later(4)
    rows = ask(world.north, "get", f"supply/pools/{pool}/hours", from_at=later(2), hours=4).json()
    assert rows == [{"start_at": later(2 + n), "free": free} for n, free in enumerate([56, 56, 0, 0])]
    refused = ask(world.sun, "post", f"quotes/{world.sun.ids['quotes'][1]}/hold")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:suanli:problem:draining")
    assert ask(world.north, "post", f"supply/pools/{pool}/undrain").json()["drains_at"] is None


def test_maintenance_is_planned_cancelled_and_finished(ask, world, now):
    pool = world.north.ids["pool"][0]
    body = {"pool": pool, "quantity": 60, "start_at": later(12), "end_at": later(16), "reason": "fans"}
    planned = ask(world.north, "post", "supply/maintenance", json=body)
    row = planned.json()
    assert (planned.status_code, row) == (
        201,
        {"id": row["id"], "state": "planned", "created_at": "2020-05-10T08:30:00Z", **body},
    )
    assert taken(world.market.pool, START + 12 * HOUR, 5) == [60, 60, 60, 60, 0]
    path = f"supply/maintenance/{row['id']}"
    early = ask(world.north, "post", f"{path}/finish")
    assert (early.status_code, early.json()["type"]) == (409, "urn:suanli:problem:maintenance-over")
    now(START + 13 * HOUR)
    assert ask(world.north, "post", f"{path}/finish").json() == row | {"state": "done", "end_at": later(13)}
    [other] = world.north.ids["supply/maintenance"]
    assert ask(world.north, "post", f"supply/maintenance/{other}/cancel").json()["state"] == "cancelled"


def test_maintenance_over_what_is_reserved_needs_force(ask, world):
    pool = world.north.ids["pool"][0]
    body = {"pool": pool, "quantity": 60, "start_at": later(0), "end_at": later(2), "reason": "fans"}
    refused = ask(world.north, "post", "supply/maintenance", json=body)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:suanli:problem:taken")
    assert ask(world.north, "post", "supply/maintenance", json=body | {"force": True}).status_code == 201
    assert Incident.objects.get(pool_id=pool, kind="shortfall").quantity == 4


def test_an_outage_is_opened_and_closed(ask, world, now):
    pool = world.north.ids["pool"][0]
    opened = ask(
        world.north,
        "post",
        "supply/incidents",
        json={"pool": pool, "quantity": 8, "start_at": later(0), "cause": "power"},
    )
    row = opened.json()
    assert (opened.status_code, row["kind"], row["closed_at"]) == (201, "outage", None)
    now(START + DAY)
    closed = ask(world.north, "post", f"supply/incidents/{row['id']}/close", json={"end_at": later(3)}).json()
    assert closed == row | {"end_at": later(3), "closed_at": later(24)}


def test_prices_change_from_a_later_day_and_stay_as_versions(ask, world):
    [tariff] = world.north.ids["supply/tariffs"]
    rows = ask(world.north, "get", "supply/tariffs").json()["results"]
    assert rows == [{"id": tariff, "code": "north-prices", "name": "north-prices", "name_en": ""}]
    for day, status in (("2020-06-01", 201), ("2020-05-20", 409)):
        document = seller.document(code="north-prices", effective=[day, None])
        assert ask(world.north, "post", "supply/tariffs", json={"document": document}).status_code == status
    page = ask(world.north, "get", f"supply/tariffs/{tariff}/versions", limit=1).json()
    assert [row["version"] for row in page["results"]] == [2]
    rest = ask(world.north, "get", page["next"].removeprefix("http://testserver")).json()
    assert ([row["version"] for row in rest["results"]], rest["next"]) == ([1], None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "x" * 61}, "document.code"),
        ({"code": 7}, "code"),
        ({"currency": "USD"}, "currency"),
        ({"effective": ["0001-01-01", None]}, "document.effective[0]"),
        ({"effective": ["2020-06-01", "9999-12-31"]}, "document.effective[1]"),
        ({"tax": {"category": "S", "rate": 0.06, "price_includes_tax": False}}, "tax.rate"),
        ({"calendar": "\0"}, "document.calendar"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_prices_that_cant_be_are_refused_where_they_are_wrong(ask, world, changes, field):
    document = seller.document(code="N9", effective=["2020-06-01", None]) | changes
    answer = ask(world.north, "post", "supply/tariffs", json={"document": document})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("supply/sites", SITE | {"code": "a b"}, "code"),
        ("supply/sites", SITE | {"name": ""}, "name"),
        ("supply/sites", SITE | {"name": "two\nlines"}, "name"),
        ("supply/pools", POOL | {"site": "north", "gpus": 10**30}, "gpus"),
        ("supply/pools", POOL | {"site": "north", "gpus": 1_000_001}, "gpus"),
        ("supply/pools", POOL | {"site": "north", "accelerator": "nothing"}, None),
        (
            "supply/maintenance",
            {"pool": 2**63, "quantity": 1, "start_at": later(0), "end_at": later(1), "reason": "x"},
            "pool",
        ),
        ("supply/incidents", {"pool": 1, "quantity": 1, "start_at": "2020-05-12T00:00:00", "cause": "x"}, "start_at"),
        ("supply/offerings/north-draft/retire", {"reason": " "}, "reason"),
    ],
)
def test_facts_that_cant_be_are_refused(ask, world, path, body, field):
    answer = ask(world.north, "post", path, json=body)
    assert (answer.status_code, answer.json().get("field")) == (422 if field else 404, field)


# Lists and scopes

EXACT = {
    "supply/sites": 3,
    "supply/pools": 3,
    "supply/maintenance": 3,
    "supply/incidents": 3,
    "supply/offerings": 3,
    "supply/tariffs": 3,
    "supply/tasks": 3,
}


@pytest.mark.parametrize("path", EXACT)
def test_a_list_asks_the_same_for_one_row_and_for_three(ask, world, django_assert_num_queries, path):
    ask(world.north, "get", "organization")  # the key's use is noted once a minute
    pool = world.market.pool
    facts = {"pool": pool, "quantity": 1, "start_at": START, "actor": "test"}
    [reserved] = world.north.ids["supply/reservations"]
    for number in range(2):
        seller.make_pool(world.north.organization, f"more-{number}", site=f"more-{number}")
        Maintenance.objects.create(**facts, end_at=START + HOUR, reason="x", created_at=AT)
        Incident.objects.create(**facts, kind="outage", cause="x", opened_at=AT)
        version = seller.prices(world.north.organization, at=AT, code=f"more-{number}", effective=["2020-05-01", None])
        seller.draft(pool, version, f"more-{number}", at=AT)
        ended = {"state": "done", "ended_at": AT}
        ProvisioningTask.objects.create(reservation_id=reserved, kind="stop", due_at=START, created_at=AT, **ended)
    counts = []
    for wanted in (1, 3):
        with django_assert_num_queries(EXACT[path]):
            answer = ask(world.north, "get", path, limit=wanted)
        counts.append(len(answer.json()["results"]))
    assert counts == [1, 3]


@pytest.mark.parametrize(
    ("path", "query", "number"),
    [
        ("supply/pools", {"site": "north"}, 1),
        ("supply/pools", {"accelerator": "test-800"}, 2),
        ("supply/pools", {"code": "north-spare"}, 1),
        ("supply/maintenance", {"state": "done"}, 0),
        ("supply/maintenance", {"end_at__gt": later(24)}, 1),
        ("supply/incidents", {"kind": "outage", "is_open": "true"}, 1),
        ("supply/incidents", {"is_open": "false"}, 0),
        ("supply/offerings", {"state": "draft"}, 1),
    ],
)
def test_lists_are_filtered(ask, world, path, query, number):
    assert len(ask(world.north, "get", path, **query).json()["results"]) == number


@pytest.mark.parametrize("scope", ["usage:read", "supply:write"])
def test_a_key_that_reads_usage_or_supplies_sees_what_is_supplied(ask, world, scope):
    rows = ask(world.north.key(scope), "get", "supply/pools").json()["results"]
    assert [row["id"] for row in rows] == world.north.ids["supply/pools"]


def test_a_provider_that_is_suspended_lists_nothing_new(ask, world):
    world.north.organization.state = "suspended"
    world.north.organization.save()
    answer = ask(world.north, "post", "supply/sites", json=SITE)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:suanli:problem:not-provider")
