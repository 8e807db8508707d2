"""The buyer's way over the API, from a price to a reservation and its end; and the projects that it is charged to."""

import json
from io import BytesIO

import pytest

from billing import programmes
from marketplace import reservations
from marketplace.models import Quote, Reservation
from tests.api.world import AT, HOUR, START, WISH, later
from tests.billing import programmes_world
from tests.marketplace.booking import taken

OFFER = {"offering": "north-offering", **WISH}


def test_from_a_price_to_a_confirmed_reservation(ask, world):
    quoted = ask(world.sun, "post", "quotes", json={**OFFER, "project": "research-0"})
    assert quoted.status_code == 201
    quote = quoted.json()
    assert quote == {
        "id": quote["id"],
        "offering": "north-offering",
        "project": "research-0",
        "extends": None,
        "quantity": 8,
        "start_at": "2020-05-12T00:00:00Z",
        "end_at": "2020-05-12T10:00:00Z",
        "currency": "CNY",
        "net_minor": 80_000,
        "tax_minor": 4_800,
        "gross_minor": 84_800,
        "subsidy_minor": 0,
        "reimbursed_minor": 0,
        "payable_minor": 84_800,
        "shares": [],
        "parts": quote["parts"],
        "terms": {
            "cancellation_terms": [{"hours": 24, "percent": "0"}, {"hours": 0, "percent": "50"}],
            "service_level_percent": None,
            "service_credit_percent": None,
            "min_hours": 2,
            "max_hours": 72,
        },
        "created_at": "2020-05-10T08:30:00Z",
        "expires_at": "2020-05-10T09:30:00Z",
    }
    parts = [(each["charge"], each["kind"], each["month"], each["amount_minor"]) for each in quote["parts"]]
    assert parts == [("EN", "energy", "2020-05", 64_000), ("CP", "capacity", "2020-05", 16_000)]
    held = ask(world.sun, "post", f"quotes/{quote['id']}/hold").json()
    assert held == {
        "id": held["id"],
        "offering": "north-offering",
        "buyer": "Sun",
        "project": "research-0",
        "contract": None,
        "quantity": 8,
        "start_at": "2020-05-12T00:00:00Z",
        "end_at": "2020-05-12T10:00:00Z",
        "state": "held",
        "hold_expires_at": "2020-05-10T08:45:00Z",
        "currency": "CNY",
        "net_minor": 80_000,
        "tax_minor": 4_800,
        "gross_minor": 84_800,
        "payable_minor": 84_800,
        "created_at": "2020-05-10T08:30:00Z",
        "confirmed_at": None,
        "started_at": None,
        "ended_at": None,
        "notice_ends_at": None,
    }
    confirmed = ask(world.sun, "post", f"reservations/{held['id']}/confirm").json()
    row = Reservation.objects.get(pk=held["id"])
    changed = {"state": "confirmed", "contract": row.contract.number, "confirmed_at": "2020-05-10T08:30:00Z"}
    assert confirmed == held | changed
    assert ask(world.sun, "get", f"reservations/{held['id']}").json() == confirmed
    assert taken(world.market.pool) == [16] * 10
    assert row.actor == f"key:{world.sun.token[:19]}"
    assert ask(world.sun, "get", f"reservations/{held['id']}/changes").json() == [
        {"kind": "held", "at": "2020-05-10T08:30:00Z"},
        {"kind": "confirmed", "at": "2020-05-10T08:30:00Z"},
    ]


def test_more_hours_are_quoted_and_taken(ask, world):
    [pk] = world.sun.ids["reservations"]
    quoted = ask(world.sun, "post", f"reservations/{pk}/extension-quotes", json={"end_at": later(12)})
    quote = quoted.json()
    assert (quoted.status_code, quote["extends"], quote["net_minor"]) == (201, pk, 16_000)
    extended = ask(world.sun, "post", f"quotes/{quote['id']}/hold").json()
    assert (extended["id"], extended["end_at"], extended["net_minor"]) == (pk, later(12), 96_000)


def test_cancelling_costs_what_was_told(ask, world, now):
    [pk] = world.sun.ids["reservations"]
    now(START - 12 * HOUR)
    told = ask(world.sun, "get", f"reservations/{pk}/cancellation")
    assert told.json() == {
        "from_at": later(0),
        "end_at": later(10),
        "percent": "50",
        "cancelled_minor": 80_000,
        "fee_minor": 40_000,
        "returned_minor": 40_000,
        "why": "terms",
    }
    assert ask(world.sun, "post", f"reservations/{pk}/cancel").json()["state"] == "cancelled"
    again = ask(world.sun, "get", f"reservations/{pk}/cancellation")
    assert (again.status_code, again.json()["type"]) == (409, "urn:suanli:problem:wrong-state")


def test_hours_are_given_back(ask, world):
    [pk] = world.sun.ids["reservations"]
    assert ask(world.sun, "post", f"reservations/{pk}/release", json={"end_at": later(6)}).json()["end_at"] == later(6)
    assert taken(world.market.pool) == [8] * 6 + [0] * 4


def test_giving_hours_back_costs_what_was_told(ask, world, now):
    path = f"reservations/{world.sun.ids['reservations'][0]}"
    now(START - 12 * HOUR)
    told = ask(world.sun.key("reservations:write"), "get", f"{path}/release-cost", end_at=later(6))
    assert (told.status_code, told.json()) == (
        200,
        {
            "from_at": later(6),
            "end_at": later(10),
            "percent": "50",
            "cancelled_minor": 32_000,
            "fee_minor": 16_000,
            "returned_minor": 16_000,
            "why": "terms",
        },
    )
    assert ask(world.sun, "get", path).json()["end_at"] == later(10)  # nothing is changed
    for end_at in (later(11), "2020-05-12T00:30:00Z", "x", ""):
        refused = ask(world.sun, "get", f"{path}/release-cost", end_at=end_at)
        assert (refused.status_code, refused.json()["field"]) == (422, "end_at"), end_at
    assert ask(world.sun, "get", f"{path}/release-cost").json()["field"] == "end_at"
    assert ask(world.sun.key("usage:read"), "get", f"{path}/release-cost", end_at=later(6)).status_code == 403
    assert ask(world.north, "get", f"{path}/release-cost", end_at=later(6)).status_code == 404


def test_what_is_not_free_is_refused_with_windows_that_are(ask, world):
    quotes = [ask(world.sun, "post", "quotes", json=OFFER | {"quantity": 56}).json() for _ in range(2)]
    assert ask(world.sun, "post", f"quotes/{quotes[0]['id']}/hold").status_code == 200
    refused = ask(world.sun, "post", f"quotes/{quotes[1]['id']}/hold")
    problem = refused.json()
    assert (refused.status_code, refused.headers["Content-Type"]) == (409, "application/problem+json")
    assert (problem["type"], problem["title"]) == ("urn:suanli:problem:not-free", "Not possible as things stand")
    assert problem["windows"] == [
        {"start_at": "2020-05-12T10:00:00+00:00", "end_at": "2020-05-12T20:00:00+00:00", "free": 64},
    ]


def test_what_programmes_promise_is_told_and_held_and_refused_where_it_is_gone(ask, world):
    made = programmes_world.programme(world.market.issuer, budget_minor=30_000)
    for tenant in (world.sun, world.moon):
        grant = programmes.apply(programme=made, party=tenant.organization.party, at=AT, actor="test")
        programmes.approve(grant=grant, at=AT, actor="staff")
    quotes = [ask(tenant, "post", "quotes", json=OFFER).json() for tenant in (world.sun, world.moon)]
    assert [(quote["subsidy_minor"], quote["payable_minor"]) for quote in quotes] == [(24_000, 60_800)] * 2
    assert quotes[0]["shares"] == [
        {
            "programme": "sme-30",
            "name": "sme-30",
            "mode": "voucher",
            "month": "2020-05",
            "eligible_minor": 80_000,
            "wanted_minor": 24_000,
            "share_minor": 24_000,
            "limited_by": "",
            "lost_minor": 0,
        }
    ]
    assert ask(world.sun, "post", f"quotes/{quotes[0]['id']}/hold").json()["payable_minor"] == 60_800
    refused = ask(world.moon, "post", f"quotes/{quotes[1]['id']}/hold")
    problem = refused.json()
    assert (refused.status_code, problem["type"]) == (409, "urn:suanli:problem:share-changed")
    assert (problem["share_minor"], problem["payable_minor"]) == (6_000, 78_800)
    assert ask(world.moon, "get", f"quotes/{quotes[0]['id']}").status_code == 404  # sun's


@pytest.mark.parametrize(
    ("changes", "status", "kind", "field"),
    [
        ({"quantity": 65}, 422, "unusable", "quantity"),
        ({"quantity": 10**40}, 422, "unusable", "quantity"),
        ({"quantity": -1}, 422, "unusable", "quantity"),
        ({"quantity": "many"}, 422, "unusable", "quantity"),
        ({"quantity": 1.5}, 422, "unusable", "quantity"),
        ({"quantity": None}, 422, "unusable", "quantity"),
        ({"start_at": "2020-05-12T00:00:00"}, 422, "unusable", "start_at"),
        ({"start_at": "2020-05-12"}, 422, "unusable", "start_at"),
        ({"start_at": "9999-12-31T23:00:00-08:00"}, 422, "unusable", "start_at"),
        ({"start_at": "0001-01-01T00:00:00+08:00"}, 422, "unusable", "start_at"),
        ({"start_at": 20200512}, 422, "unusable", "start_at"),
        ({"start_at": "2020-05-12T00:30:00Z"}, 422, "unusable", "start_at"),
        ({"end_at": "2199-12-31T23:00:00Z"}, 422, "unusable", "hours"),
        ({"offering": "nothing"}, 404, "not-found", None),
        ({"offering": "north\0offering"}, 422, "unusable", "offering"),
        ({"offering": "\ud800"}, 422, "unusable", "offering"),
        ({"offering": ["north-offering"]}, 422, "unusable", "offering"),
        ({"project": "nothing"}, 404, "not-found", None),
        ({"\0": 1}, 422, "unusable", None),
    ],
)
def test_a_wish_that_cant_be_is_refused(ask, world, changes, status, kind, field):
    answer = ask(world.sun, "post", "quotes", json=OFFER | changes)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:suanli:problem:{kind}")
    assert problem.get("field") == field
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_instant_without_an_offset_is_told_what_it_needs(ask, world):
    body = OFFER | {"start_at": "2020-05-12T00:00:00"}
    said = {
        each: ask(world.sun, "post", "quotes", json=body, headers={"Accept-Language": each}).json()
        for each in ("en", "zh-hans")
    }
    assert said["en"]["detail"] == (
        "An instant needs an offset, such as 2026-05-01T08:00:00+08:00, and lies in the years 1970 to 2199."
    )
    assert said["zh-hans"]["type"] == said["en"]["type"]


@pytest.mark.parametrize(
    ("raw", "status", "kind"),
    [
        (b"{", 400, "not-json"),
        (b'{"quantity": NaN}', 400, "not-json"),
        (b"\xff", 400, "not-utf-8"),
        (b"[" * 9 + b"]" * 9, 400, "too-deep"),
        (b'{"a": ' * 100_000, 400, "too-deep"),
        (b"[]", 422, "unusable"),
        (b'"text"', 422, "unusable"),
        (b'{"quantity": 1' + b"0" * 5000 + b"}", 422, "unusable"),
        (b" " * (4 * 2**20 + 1), 413, "too-large"),
    ],
)
def test_a_body_that_cant_be_read_is_a_problem(ask, world, raw, status, kind):
    answer = ask(world.sun, "post", "quotes", raw=raw)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:suanli:problem:{kind}")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_only_json_is_read(client, now, world, content_type):
    headers = {"Authorization": f"Bearer {world.sun.token}", "Accept-Language": "en"}
    answer = client.post("/api/v1/quotes", b"x=1", content_type=content_type, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:suanli:problem:unsupported-media-type")


def test_a_chunked_body_is_read(client, now, world):
    """As gunicorn gives it: without a length, and with an input that ends."""
    body = json.dumps(OFFER).encode()
    chunked = {
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
        "wsgi.input": BytesIO(body),
    }
    headers = {"Authorization": f"Bearer {world.sun.token}"}
    answer = client.post("/api/v1/quotes", body, content_type="application/json", headers=headers, **chunked)
    assert answer.status_code == 201


# Who sees what


def test_the_price_is_the_buyers(ask, world):
    path = f"reservations/{world.sun.ids['reservations'][0]}"
    mine = ask(world.sun, "get", path).json()
    theirs = ask(world.north, "get", path).json()
    hidden = dict.fromkeys(("net_minor", "tax_minor", "gross_minor", "payable_minor", "project"))
    assert (mine["net_minor"], mine["project"]) == (80_000, "research-0")
    assert theirs == mine | hidden
    usage = ask(world.sun.key("usage:read"), "get", path).json()
    assert usage == mine | hidden | {"project": "research-0"}
    for scope in ("billing:read", "reservations:write"):
        assert ask(world.sun.key("usage:read", scope), "get", path).json() == mine


def test_the_provider_gives_notice_and_says_what_failed(ask, world):
    [pk] = world.sun.ids["reservations"]
    late = ask(world.north, "post", f"reservations/{pk}/notice", json={"reason": "sold"})
    assert (late.status_code, late.json()["type"]) == (409, "urn:suanli:problem:notice-too-late")
    failed = ask(world.north, "post", f"reservations/{pk}/failure", json={"reason": "a fire"})
    assert (failed.status_code, failed.json()["state"], failed.json()["net_minor"]) == (200, "failed", None)
    assert Reservation.objects.get(pk=pk).changes.last().facts["reason"] == "a fire"
    assert ask(world.sun, "post", f"reservations/{pk}/notice", json={"reason": "x"}).status_code == 404


# Lists

EXACT = {"reservations": 3, "quotes": 3, "waitlist": 3, "projects": 3}  # the key, the count of its requests, the rows


@pytest.mark.parametrize("path", EXACT)
def test_a_list_asks_the_same_for_one_row_and_for_three(ask, world, django_assert_num_queries, path):
    ask(world.sun, "get", "organization")  # the key's use is noted once a minute
    counts = []
    for wanted in (1, 3):
        while len(world.sun.ids[path]) < wanted:
            more(ask, world, path)
        with django_assert_num_queries(EXACT[path]):
            answer = ask(world.sun, "get", path, limit=wanted)
        counts.append(len(answer.json()["results"]))
    assert counts == [1, 3]


def more(ask, world, path):
    if path == "projects":
        made = ask(world.sun, "post", path, json={"code": f"p{len(world.sun.ids[path])}", "name": "More"}).json()[
            "code"
        ]
    elif path == "waitlist":
        facts = {"offering": "north-offering", "quantity": 8, "hours": 4, "max_net_minor": len(world.sun.ids[path])}
        made = ask(world.sun, "post", path, json=facts | {"earliest_at": later(0), "latest_at": later(9)}).json()["id"]
    else:
        made = ask(world.sun, "post", "quotes", json=OFFER).json()["id"]
        if path == "reservations":
            made = ask(world.sun, "post", f"quotes/{made}/hold").json()["id"]
    world.sun.ids[path].append(made)


def test_pages_lead_to_each_other_and_end(ask, world, now):
    for minute in range(5):
        now(AT + minute * HOUR / 60)
        ask(world.sun, "post", "quotes", json=OFFER)
    all_ids = [row["id"] for row in ask(world.sun, "get", "quotes").json()["results"]]
    assert all_ids[:5] == [
        str(pk)
        for pk in Quote.objects.filter(created_at__gte=AT, organization=world.sun.organization)
        .order_by("-created_at", "id")
        .values_list("pk", flat=True)[:5]
    ]
    assert len(all_ids) == 7
    found, path = [], "/api/v1/quotes?limit=3"
    pages = []
    while path:
        page = ask(world.sun, "get", path).json()
        pages.append(page)
        found += [row["id"] for row in page["results"]]
        path = page["next"] and page["next"].removeprefix("http://testserver")
    assert found == all_ids
    assert [(len(page["results"]), bool(page["previous"]), bool(page["next"])) for page in pages] == [
        (3, False, True),
        (3, True, True),
        (1, True, False),
    ]
    back = ask(world.sun, "get", pages[1]["previous"].removeprefix("http://testserver")).json()
    assert (back["results"], back["previous"]) == (pages[0]["results"], None)


@pytest.mark.parametrize("cursor", ["x", "é", "cD0wMDAx", "cD0yMDIwLTA1LTEwKzA4JTNBMzA=", "bz0tMQ==", "cD0lMDA="])
def test_a_cursor_that_is_none_is_refused(ask, world, cursor):
    answer = ask(world.sun, "get", "quotes", cursor=cursor)
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "9" * 5000, "٣"])
def test_a_limit_that_is_none_is_refused(ask, world, limit):
    answer = ask(world.sun, "get", "quotes", limit=limit)
    assert (answer.status_code, answer.json()["field"]) == (422, "limit")


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({}, 1),
        ({"state": "confirmed"}, 1),
        ({"state": "held"}, 0),
        ({"offering": "north-offering"}, 1),
        ({"offering": "south-offering"}, 0),
        ({"start_at__gte": "2020-05-12T08:00:00+08:00"}, 1),
        ({"start_at__gte": "2020-05-12T08:00:01+08:00"}, 0),
        ({"start_at__lt": "2020-05-12T00:00:00Z"}, 0),
        ({"end_at__gt": "2020-05-12T10:00:00Z"}, 0),
        ({"end_at__lte": "2020-05-12T10:00:00Z"}, 1),
    ],
)
def test_reservations_are_filtered(ask, world, query, number):
    assert len(ask(world.sun, "get", "reservations", **query).json()["results"]) == number


@pytest.mark.parametrize(
    "query",
    [
        {"state": "none"},
        {"start_at__gte": "2020-05-12T08:00:00"},
        {"start_at__gte": "x"},
        {"pool": "x"},
        {"offering": "\0"},
    ],
)
def test_a_filter_that_cant_be_read_is_refused(ask, world, query):
    answer = ask(world.sun, "get", "reservations", **query)
    assert (answer.status_code, answer.json()["field"]) == (422, next(iter(query)))


# Projects and the waitlist


def test_a_project_is_made_changed_archived_and_restored(ask, world, now):
    body = {
        "code": "vision",
        "name": "Vision",
        "cost_centre": "K-7",
        "monthly_limit_minor": 90_000,
        "warn_percents": [80],
    }
    made = ask(world.sun, "post", "projects", json=body)
    assert made.status_code == 201
    row = made.json()
    assert row == body | {"is_hard": True, "archived_at": None, "created_at": "2020-05-10T08:30:00Z"}
    changed = ask(world.sun, "patch", "projects/vision", json={"monthly_limit_minor": None}).json()
    assert changed == row | {"monthly_limit_minor": None}
    assert ask(world.sun, "post", "projects/vision/archive").json() == changed | {"archived_at": "2020-05-10T08:30:00Z"}
    refused = ask(world.sun, "post", "quotes", json=OFFER | {"project": "vision"})
    assert (refused.status_code, refused.json()["field"]) == (422, "project")
    assert ask(world.sun, "post", "projects/vision/restore").json() == changed
    again = ask(world.sun, "post", "projects", json=body)
    assert (again.status_code, again.json()["type"]) == (409, "urn:suanli:problem:code-taken")


def test_a_hard_budget_refuses_a_hold(ask, world):
    ask(world.sun, "patch", "projects/research-0", json={"monthly_limit_minor": 100_000})
    quote = ask(world.sun, "post", "quotes", json=OFFER | {"project": "research-0"}).json()
    refused = ask(world.sun, "post", f"quotes/{quote['id']}/hold")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:suanli:problem:budget-exceeded")


def test_a_project_tells_what_its_months_spend(ask, world):
    path = "projects/research-0/spending"
    none = {"month": "2020-05", "spent_minor": 80_000, "limit_minor": None, "warnings": []}
    assert ask(world.sun, "get", path).json() == none
    facts = {"monthly_limit_minor": 100_000, "warn_percents": [80, 50, 100]}
    ask(world.sun, "patch", "projects/research-0", json=facts)
    reached = [{"percent": percent, "limit_minor": 100_000} for percent in (50, 80)]
    told = none | {"limit_minor": 100_000, "warnings": reached}
    for scope in ("reservations:write", "billing:read"):
        assert ask(world.sun.key(scope), "get", path, month="2020-05").json() == told
    assert ask(world.sun, "get", path, month="2020-06").json() == {
        "month": "2020-06",
        "spent_minor": 0,
        "limit_minor": 100_000,
        "warnings": [],
    }
    assert ask(world.sun.key("usage:read"), "get", path).status_code == 403


@pytest.mark.parametrize("month", ["2020-5", "2020-13", "2020-00", "1969-12", "2200-01", "2020-05-01", "٢٠٢٠-٠٥", "x"])
def test_a_month_that_is_none_is_refused(ask, world, month):
    answer = ask(world.sun, "get", "projects/research-0/spending", month=month)
    assert (answer.status_code, answer.json()["field"]) == (422, "month")


def test_one_waits_and_waits_no_longer(ask, world):
    [pk] = world.sun.ids["waitlist"]
    row = ask(world.sun, "get", f"waitlist/{pk}").json()
    assert row == {
        "id": pk,
        "offering": "north-offering",
        "project": "research-0",
        "quantity": 8,
        "hours": 4,
        "earliest_at": later(0),
        "latest_at": later(24),
        "max_net_minor": 100,
        "state": "waiting",
        "reservation": None,
        "created_at": "2020-05-10T08:30:00Z",
    }
    assert ask(world.sun, "post", f"waitlist/{pk}/leave").json() == row | {"state": "left"}


def test_a_buyer_that_is_not_verified_gets_no_price(ask, world):
    world.sun.organization.state = "pending"
    world.sun.organization.save()
    answer = ask(world.sun, "post", "quotes", json=OFFER)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:suanli:problem:not-verified")


def test_a_hold_that_is_over_can_not_be_confirmed(ask, world, now):
    held = ask(world.sun, "post", f"quotes/{world.sun.ids['quotes'][1]}/hold").json()
    now(AT + (reservations.HOLD_MINUTES + 1) * HOUR / 60)
    answer = ask(world.sun, "post", f"reservations/{held['id']}/confirm")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:suanli:problem:hold-expired")
