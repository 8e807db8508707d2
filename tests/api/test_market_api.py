"""What every key may read over the API: accelerators, search, calendar, windows, comparison; who may ask at all, and how often."""

from datetime import timedelta

import pytest

from marketplace import keys, listings
from marketplace.models import AcceleratorModel, ApiKey, Offering
from tests.api.world import AT, START, WISH, later
from tests.marketplace.granting import programme


def codes(answer):
    assert answer.status_code == 200, answer.json()
    return [row["offering"]["code"] for row in answer.json()["results"]]


# Search


def test_what_is_on_sale_is_found_by_everybody_with_a_key(ask, world):
    for tenant in (world.sun, world.south):
        assert codes(ask(tenant, "get", "offerings")) == ["north-offering", "south-offering"]
    row = ask(world.sun, "get", "offerings", limit=1).json()["results"][0]
    assert row["offering"] == ask(world.moon, "get", "offerings/north-offering").json()
    assert {name: row[name] for name in ("quantity", "price", "currency")} == {
        "quantity": 1,
        "price": "10.000000000000",
        "currency": "CNY",
    }


def test_a_cursor_goes_on_where_the_page_ended(ask, world):
    first = ask(world.sun, "get", "offerings", limit=1)
    rest = ask(world.sun, "get", "offerings", limit=1, cursor=first.json()["next_cursor"])
    assert (codes(first), codes(rest), rest.json()["next_cursor"]) == (["north-offering"], ["south-offering"], None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"accelerator": "test-800"}, 2),
        ({"accelerator": ["nothing", "test-800"]}, 2),
        ({"accelerator": "nothing"}, 0),
        ({"vendor": "Test"}, 2),
        ({"region": "北京"}, 0),
        ({"min_memory_gb": "80"}, 2),
        ({"min_memory_gb": "80.01"}, 0),
        ({"max_price": "10"}, 2),
        ({"max_price": "9.99"}, 0),
        ({"quantity": 64}, 2),
        ({"quantity": 65}, 0),
        ({"tflops": "60000", "precision": "bf16"}, 2),
        ({"tflops": "70000", "precision": "bf16"}, 0),
        ({"min_tflops": "989.5"}, 2),
        ({"min_tflops": "1", "min_tflops_precision": "fp8"}, 0),
        ({"quantity": 56, "free_from": later(0), "free_until": later(2)}, 2),
        ({"quantity": 57, "free_from": later(0), "free_until": later(2)}, 0),
        ({"like": "test-800"}, 2),
    ],
)
def test_offerings_are_filtered(ask, world, query, found):
    assert len(codes(ask(world.sun, "get", "offerings", **query))) == found


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("offerings", {"cursor": "x"}, "cursor"),
        ("offerings", {"limit": 101}, "limit"),
        ("offerings", {"max_price": "NaN"}, "max_price"),
        ("offerings", {"max_price": "1e400"}, "max_price"),
        ("offerings", {"max_price": "-1"}, "max_price"),
        ("offerings", {"quantity": 10**40}, "quantity"),
        ("offerings", {"quantity": 8, "tflops": 8, "precision": "bf16"}, "quantity"),
        ("offerings", {"tflops": 8}, "precision"),
        ("offerings", {"region": "\0"}, "region.0"),
        ("offerings", {"provider": 2**63}, "provider.0"),
        ("offerings", {"free_from": later(0)}, "free_until"),
        ("offerings", {"free_from": "2020-05-12T00:00:00", "free_until": later(1)}, "free_from"),
        ("offerings", {"order": "soonest"}, "order"),
        ("windows", {"earliest_at": "9999-01-01T00:00:00Z"}, "earliest_at"),
        ("windows", {"min_hours": 0}, "min_hours"),
        ("windows", {"latest_at": "2199-01-01T00:00:00Z"}, "latest_at"),
        ("comparison", WISH | {"offering": "north-offering"}, "offering"),
        ("comparison", WISH | {"offering": ["north-offering"] * 2}, "offerings"),
        ("offerings/north-offering/calendar", {"days": 93}, "days"),
    ],
)
def test_what_cant_be_asked_is_refused(ask, world, path, query, field):
    answer = ask(world.sun, "get", path, **query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_facets_count_what_one_could_narrow_by(ask, world):
    north, south = (str(each.organization.pk) for each in (world.north, world.south))
    assert ask(world.sun, "get", "facets").json() == {
        "total": 2,
        "least": "10.000000000000",
        "most": "10.000000000000",
        "by": {
            "accelerators": [{"value": "test-800", "label": "Test 800", "count": 2}],
            "vendors": [{"value": "Test", "label": "Test", "count": 2}],
            "memory": [{"value": "80.00", "label": "80.00", "count": 2}],
            "interconnects": [],
            "regions": [{"value": "上海", "label": "上海", "count": 2}],
            "providers": [
                {"value": north, "label": "North", "count": 1},
                {"value": south, "label": "South", "count": 1},
            ],
        },
    }
    assert codes(ask(world.sun, "get", "offerings", provider=south)) == ["south-offering"]


def test_windows_are_ranked_by_what_the_whole_costs(ask, world):
    answer = ask(
        world.sun, "get", "windows", quantity=8, min_hours=10, earliest_at=later(0), latest_at=later(5), limit=1
    )
    assert answer.json() == {
        "results": [
            {
                "offering": ask(world.sun, "get", "offerings/north-offering").json(),
                "quantity": 8,
                "start_at": later(0),
                "end_at": later(10),
                "free_until": later(24),
                "price": "800.00",
                "price_after": None,
                "per_hour": "10.0000",
                "currency": "CNY",
            }
        ],
        "certain": True,
        "examined": answer.json()["examined"],
    }


def test_a_calendar_says_hour_by_hour_what_is_free_and_what_it_costs(ask, world):
    answer = ask(world.sun, "get", "offerings/north-offering/calendar", quantity=57, from_at=later(0), days=2).json()
    assert (answer["timezone"], answer["currency"]) == ("Asia/Shanghai", "CNY")
    assert [(day["date"], len(day["cells"])) for day in answer["days"]] == [("2020-05-12", 24), ("2020-05-13", 24)]
    taken, free = answer["days"][0]["cells"][8], answer["days"][0]["cells"][18]
    assert taken == {"start_at": later(0), "free": 56, "price": "10.000000000000", "bookable": False}
    assert free == {"start_at": later(10), "free": 64, "price": "10.000000000000", "bookable": True}


def test_offerings_are_compared_for_one_window(ask, world):
    answer = ask(
        world.sun, "get", "comparison", offering=["south-offering", "north-offering"], **WISH | {"quantity": 57}
    )
    rows = answer.json()["results"]
    assert [row.pop("offering")["code"] for row in rows] == ["south-offering", "north-offering"]
    told = {"currency": "CNY", "price": "5700.000000000000", "price_after": None, "free": 56, "problems": ["free"]}
    assert rows == [told] * 2


def test_prices_are_told_after_programmes_to_who_has_a_grant_and_to_nobody_else(ask, world):
    programme(world.market, cap_firm_month_minor=200_000)  # sun's
    both = {"offering": ["south-offering", "north-offering"], **WISH}
    window = {"quantity": 8, "min_hours": 10, "earliest_at": later(0), "latest_at": later(0)}

    def after(tenant):
        found = {"windows": window, "comparison": both | {"quantity": 57}}
        return [
            {row["price_after"] for row in ask(tenant, "get", path, **asked).json()["results"]}
            for path, asked in found.items()
        ]

    # 30 % of 800.00 and of 5,700.00
    assert after(world.sun) == [{"560.00"}, {"3990.000000000000"}]
    for other in (world.moon, world.north):
        assert after(other) == [{None}] * 2


# Accelerators, organization, members


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"vendor": "Test"}, ["test-800"]),
        ({"vendor": "Test", "precision": "bf16"}, ["test-800"]),
        ({"vendor": "Test", "precision": "fp8"}, []),
        ({"vendor": "Test", "memory_gb__gte": "80"}, ["test-800"]),
        ({"vendor": "Test", "memory_gb__lte": "79.99"}, []),
        ({"vendor": "Test", "bf16_tflops__gte": "989.5"}, ["test-800"]),
    ],
)
def test_accelerators_are_filtered(ask, world, query, found):
    assert [row["slug"] for row in ask(world.sun, "get", "accelerators", **query).json()["results"]] == found


def test_an_accelerator_is_told_with_its_sources(ask, world):
    row = ask(world.sun, "get", "accelerators/test-800").json()
    assert (row["vendor"], row["name"], row["memory_gb"], row["bf16_tflops"]) == ("Test", "800", "80.00", "989.5000")
    assert (row["fp8_tflops"], row["sources"]) == (None, {})
    shown = AcceleratorModel.objects.exclude(sources={}).order_by("slug").first()
    assert ask(world.sun, "get", f"accelerators/{shown.slug}").json()["sources"] == shown.sources


def test_the_organization_is_told_with_its_facts(ask, world):
    sun = world.sun.organization
    sun.party.facts.create(
        kind="size_class", value="small", from_date="2020-01-01", claimed_at=AT, verified_at=AT, actor="test"
    )
    assert ask(world.sun.key("organization:read"), "get", "organization").json() == {
        "id": sun.pk,
        "name": "Sun",
        "legal_name": sun.party.legal_name,
        "credit_code": sun.party.credit_code,
        "zone": "lg",
        "is_buyer": True,
        "is_provider": False,
        "is_funder": False,
        "is_operator": False,
        "state": "verified",
        "state_reason": "",
        "state_at": None,
        "facts": [
            {
                "id": sun.party.facts.get().pk,
                "kind": "size_class",
                "value": "small",
                "from_date": "2020-01-01",
                "until_date": None,
                "evidence": None,
                "claimed_at": "2020-05-10T08:30:00Z",
                "is_verified": True,
            }
        ],
    }


EXACT = {
    "accelerators": 3,
    "members": 3,
    "offerings": 4,
    "facets": 5,
    "offerings/north-offering/calendar?days=1": 5,
}


@pytest.mark.parametrize("path", EXACT)
@pytest.mark.parametrize("limit", [1, 3])
def test_a_list_asks_the_same_for_one_row_and_for_three(ask, world, django_assert_num_queries, path, limit):
    for offering in Offering.objects.on_sale():
        offering.pk, offering.code = None, f"{offering.code}-2"
        offering.save()
    for each in range(2):
        user = world.sun.organization.memberships.first().user
        user.pk, user.email = None, f"more{each}@example.com"
        user.save()
        world.sun.organization.memberships.create(user=user, role="viewer", since_at=AT, actor="test")
    listings.refresh(offering_ids=list(Offering.objects.on_sale().values_list("pk", flat=True)), at=AT)
    address = f"/api/v1/{path}{'&' if '?' in path else '?'}limit={limit}"
    ask(world.sun, "get", address)  # prices are learnt, and the key's use is noted, once
    with django_assert_num_queries(EXACT[path]):
        answer = ask(world.sun, "get", address)
    assert len(answer.json().get("results", [None] * limit)) == limit


# Who may ask


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic x", "Bearer suanli_nobody", "Bearer \xff"]
)
@pytest.mark.parametrize(("method", "path"), [("get", "offerings"), ("post", "quotes"), ("get", "supply/pools")])
def test_without_a_valid_key_it_is_401(client, now, world, authorization, method, path):
    headers = {"Accept-Language": "en"} | ({} if authorization is None else {"Authorization": authorization})
    answer = getattr(client, method)(f"/api/v1/{path}", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="suanli"')
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.json()["type"], answer.json()["field"]) == ("urn:suanli:problem:unauthorized", "Authorization")


def test_a_revoked_key_is_401(ask, world):
    keys.revoke_key(key=ApiKey.objects.get(name="sun"), at=AT, actor="test")
    assert ask(world.sun, "get", "offerings").status_code == 401


def test_a_session_is_no_key(client, world, now):
    client.force_login(world.sun.organization.memberships.get().user)
    assert client.get("/api/v1/offerings").status_code == 401
    assert client.post("/api/v1/quotes", {}, content_type="application/json").status_code == 401


NEEDS = {
    ("get", "quotes"): {"reservations:write", "billing:read"},
    ("get", "waitlist"): {"reservations:write", "billing:read"},
    ("get", "reservations"): {"usage:read"},
    ("get", "supply/sites"): {"usage:read", "supply:write"},
    ("get", "supply/pools"): {"usage:read", "supply:write"},
    ("get", "supply/maintenance"): {"usage:read", "supply:write"},
    ("get", "supply/incidents"): {"usage:read", "supply:write"},
    ("get", "supply/offerings"): {"usage:read", "supply:write"},
    ("get", "supply/tariffs"): {"usage:read", "supply:write"},
    ("get", "projects"): {"billing:read", "reservations:write", "projects:write", "organization:read"},
    ("get", "organization"): {"organization:read"},
    ("patch", "organization"): {"organization:write"},
    ("get", "members/changes"): {"organization:write"},
    ("get", "invitations"): {"organization:write"},
    ("post", "invitations"): {"organization:write"},
    ("get", "join-requests"): {"organization:write"},
    ("get", "facts"): {"organization:read"},
    ("post", "facts"): {"organization:write"},
    ("get", "evidence"): {"billing:read"},
    ("post", "evidence"): {"organization:write"},
    ("get", "keys"): {"keys:write"},
    ("post", "keys"): {"keys:write"},
    ("get", "meters"): set(ApiKey.Scope.values),
    ("get", "contracts"): {"usage:read"},
    ("get", "readings"): {"usage:read"},
    ("get", "readings/events"): {"usage:read"},
    ("get", "invoices"): {"billing:read"},
    ("get", "preview"): {"billing:read"},
    ("get", "disputes"): {"billing:read"},
    ("post", "disputes"): {"billing:write"},
    ("post", "disputes/withdrawals"): {"billing:write"},
    ("get", "claims"): {"billing:read"},
    ("post", "claims"): {"billing:write"},
    ("get", "accounts"): {"billing:read"},
    ("patch", "accounts/1"): {"billing:write"},
    ("get", "offerings"): set(ApiKey.Scope.values),
    ("get", "accelerators"): set(ApiKey.Scope.values),
    ("get", "members"): {"organization:read"},
    ("post", "quotes"): {"reservations:write"},
    ("post", "waitlist"): {"reservations:write"},
    ("post", "reservations/4b0bd5ee-7ba1-4b6b-8ea0-6a9a47a0f1ce/confirm"): {"reservations:write"},
    ("post", "reservations/4b0bd5ee-7ba1-4b6b-8ea0-6a9a47a0f1ce/notice"): {"supply:write"},
    ("post", "projects"): {"projects:write"},
    ("post", "supply/sites"): {"supply:write"},
    ("post", "supply/pools"): {"supply:write"},
    ("post", "supply/maintenance"): {"supply:write"},
    ("post", "supply/incidents"): {"supply:write"},
    ("post", "supply/offerings"): {"supply:write"},
    ("post", "supply/tariffs"): {"supply:write"},
}


@pytest.mark.parametrize("scope", ApiKey.Scope.values)
def test_each_scope_opens_what_it_says_and_nothing_else(ask, world, scope):
    token = world.north.key(scope)
    for (method, path), scopes in NEEDS.items():
        answer = ask(token, method, path, json=None if method == "get" else {})
        assert (answer.status_code == 403) == (scope not in scopes), (path, answer.json())
        if answer.status_code == 403:
            named = ", ".join(each for each in ApiKey.Scope.values if each in scopes)
            assert answer.json() == {
                "type": "urn:suanli:problem:scope",
                "title": "The key may not do this",
                "status": 403,
                "detail": f"The API key has no scope {named}: use one that has.",
                "field": "Authorization",
            }


def test_a_key_makes_so_many_requests_a_minute(ask, world, settings, now):
    settings.API_REQUESTS_PER_MINUTE = 2
    now(START + timedelta(seconds=17))
    statuses = [ask(world.sun, "get", "projects").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = ask(world.sun, "post", "quotes", json={})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "43")
    assert answer.json() == {
        "type": "urn:suanli:problem:too-many-requests",
        "title": "Too many requests",
        "status": 429,
        "detail": "This key has made its requests of this minute: come again in 43 seconds.",
    }
    assert ask(world.moon, "get", "projects").status_code == 200
    now(START + timedelta(seconds=60))
    assert ask(world.sun, "get", "projects").status_code == 200


def test_usage_is_counted_apart(ask, world, settings, client, now):
    settings.API_REQUESTS_PER_MINUTE = settings.EVENTS_REQUESTS_PER_MINUTE = 1
    headers = {"Authorization": f"Bearer {world.north.token}"}
    sent = client.post("/api/v1/events", b"[]", content_type="application/cloudevents-batch+json", headers=headers)
    assert sent.status_code == 200
    assert ask(world.north, "get", "projects").status_code == 200


# Methods, languages, forms


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("delete", "quotes", 405, "method"),
        ("put", "projects/research-0", 405, "method"),
        ("options", "quotes", 405, "method"),
        ("get", "quotes/1", 404, "not-found"),
        ("get", "supply/pools/99999999999999999999999", 404, "not-found"),
        ("get", "projects/%00", 404, "not-found"),
    ],
)
def test_wrong_methods_and_addresses_are_problems(ask, world, method, path, status, kind):
    answer = ask(world.sun, method, path)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:suanli:problem:{kind}")
    if status == 405:
        assert "GET" in answer.headers["Allow"]


def test_only_json_is_answered(ask, world):
    answer = ask(world.sun, "get", "quotes", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.json()["type"]) == (406, "urn:suanli:problem:not-acceptable")
    assert ask(world.sun, "get", "quotes").headers["Content-Type"] == "application/json"


def test_a_problem_speaks_the_language_that_is_asked_for(ask, world):
    said = {
        language: ask(
            world.sun, "get", "quotes/4b0bd5ee-7ba1-4b6b-8ea0-6a9a47a0f1ce", headers={"Accept-Language": language}
        )
        for language in ("en", "zh-hans")
    }
    assert said["en"].json() == {
        "type": "urn:suanli:problem:not-found",
        "title": "Not found",
        "status": 404,
        "detail": "There is nothing here, or nothing that this key may see.",
    }
    assert said["zh-hans"].headers["Content-Language"] == "zh-hans"
