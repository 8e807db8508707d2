"""What can't be right: each has a clear answer, none is a 500, and nothing of it is stored by halves."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from billing.models import EventSource, Reading, UsageEvent
from marketplace import keys
from marketplace.api.events import BATCH, ONE
from marketplace.models import ApiKey, RequestCount
from tests.api.cloudevent import ABSENT, event

TEXT = json.dumps(event())
HUGE = "a" * 5 * 10**6


def problem(response):
    """Status, last part of the type, and field of a problem; its other members are there."""
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["title"]
    assert body["detail"]
    scheme, _, kind = body["type"].rpartition(":")
    assert scheme == "urn:suanli:problem"
    return response.status_code, kind, body.get("field")


def stored():
    return UsageEvent.objects.count(), Reading.objects.count(), EventSource.objects.count()


@pytest.fixture(autouse=True)
def nothing_is_stored(request):
    """Unless the test is of items, which say for themselves."""
    if "only" in request.fixturenames:
        yield
        return
    request.getfixturevalue("tenants")
    before = stored()
    yield
    assert stored() == before


# The body


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b" ", "not-json"),
        (b"{", "not-json"),
        (TEXT[:-1].encode(), "not-json"),
        (TEXT.encode() + b"}", "not-json"),
        (TEXT.replace('"', "'").encode(), "not-json"),
        (TEXT.replace('"59"', "NaN").encode(), "not-json"),
        (TEXT.replace('"59"', "Infinity").encode(), "not-json"),
        (TEXT.replace('"59"', "-Infinity").encode(), "not-json"),
        (TEXT.replace("e1", "e\n").encode(), "not-json"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "not-json"),
        (TEXT.replace("e1", "é").encode("latin-1"), "not-utf-8"),
        (TEXT.encode("utf-16"), "not-utf-8"),
        (b"\xff", "not-utf-8"),
        (b"null", "not-events"),
        (b'"text"', "not-events"),
        (b"5", "not-events"),
        (b"[" + TEXT.encode() + b"]", "not-events"),
        (TEXT.replace('"59"', "[" * 7 + "]" * 7).encode(), "too-deep"),
        (b"[" * 10_000 + b"]" * 10_000, "too-deep"),
        (b"[" * 2_000_000, "too-deep"),
        (b'{"a":' * 100_000, "too-deep"),
    ],
    ids=range(21),
)
def test_a_body_that_cannot_be_read_is_a_400(post, body, kind):
    assert problem(post(body)) == (400, kind, None)


def test_one_event_where_a_batch_was_announced_is_a_400(post):
    assert problem(post(TEXT.encode(), content_type=BATCH)) == (400, "not-events", None)


def test_a_depth_of_eight_is_read(post, only):
    [found] = only(event(extension=[[[[[["deep"]]]]]]))
    assert found == ("counted", None, None)


def test_a_constant_that_is_no_json_is_named(post):
    response = post(TEXT.replace('"59"', "NaN").encode())
    assert response.json()["detail"] == "The body is no JSON: it has the number NaN."


@pytest.mark.parametrize("body", [json.dumps(HUGE).encode(), json.dumps([event(HUGE)]).encode(), b" " * (2**22 + 1)])
def test_a_body_of_more_than_4_mib_is_a_413(post, body):
    assert problem(post(body, content_type=BATCH)) == (413, "too-large", None)


@pytest.mark.parametrize("number", [10_001, 100_000])
def test_a_batch_of_more_than_10_000_items_is_a_413(post, number):
    response = post([{}] * number)
    assert problem(response) == (413, "too-large", None)
    assert response.json()["detail"].startswith(f"The body has {number} events.")


def test_a_batch_of_10_000_items_is_read(post, only):
    assert post([{}] * 10_000).json()["counts"]["rejected"] == 10_000


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "text/plain",
        "application/cloudevents+xml",
        "",
        "application/cloudevents+json; charset=gbk",
        "multipart/form-data; boundary=x",
        "\x00",
    ],
)
def test_another_type_of_content_is_a_415(post, content_type):
    response = post(TEXT.encode(), content_type=content_type)
    assert problem(response) == (415, "unsupported-media-type", "Content-Type")
    assert response["Accept-Post"] == f"{ONE}, {BATCH}"


def test_a_compressed_body_is_a_415(post):
    assert problem(post(TEXT.encode(), **{"Content-Encoding": "gzip"})) == (
        415,
        "unsupported-encoding",
        "Content-Encoding",
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_a_405(client, tenants, method):
    response = client.generic(method, "/api/v1/events", secure=True)
    assert (response.status_code, response["Allow"]) == (405, "POST")


# The key


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic bm9ydGg6", "Bearer nonsense", "Bearer suanli_000000000000_" + 43 * "A", "钥匙"],
)
def test_without_a_valid_key_is_a_401(post, authorization):
    response = post(event(), Authorization=authorization)
    assert problem(response) == (401, "unauthorized", "Authorization")
    assert response["WWW-Authenticate"].startswith('Bearer realm="suanli"')


def test_a_revoked_or_expired_key_is_a_401(post, tenants):
    now = datetime.now(UTC)
    expired = keys.create_key(
        organization=tenants.north.organization,
        name="old",
        scopes=["usage:write"],
        at=now - timedelta(days=2),
        expires_at=now - timedelta(days=1),
    )[1]
    keys.revoke_key(key=tenants.north.key, at=now, actor="test")
    for token in (tenants.north.token, expired):
        response = post(event(), token=token)
        assert problem(response) == (401, "unauthorized", "Authorization")
        assert response["WWW-Authenticate"] == 'Bearer realm="suanli", error="invalid_token"'


def test_a_key_without_the_scope_is_a_403(post, tenants):
    scopes = sorted(set(ApiKey.Scope.values) - {"usage:write"})
    _, token = keys.create_key(
        organization=tenants.north.organization, name="reader", scopes=scopes, at=datetime.now(UTC)
    )
    response = post(event(), token=token)
    assert problem(response) == (403, "scope", "Authorization")
    assert 'error="insufficient_scope"' in response["WWW-Authenticate"]


def test_a_session_is_no_key(client, tenants):
    client.force_login(tenants.north.owner)
    response = client.post("/api/v1/events", TEXT, content_type=ONE, secure=True)
    assert problem(response) == (401, "unauthorized", "Authorization")


def test_a_key_that_asks_too_often_is_a_429_until_the_next_minute_and_others_are_not(
    post, tenants, settings, monkeypatch
):
    settings.EVENTS_REQUESTS_PER_MINUTE = 2
    now = datetime(2026, 5, 2, 12, 30, 20, tzinfo=UTC)
    monkeypatch.setattr("marketplace.api.events.timezone.now", lambda: now)
    assert [post([]).status_code for _ in range(2)] == [200, 200]
    response = post([event()])
    assert problem(response) == (429, "too-many-requests", None)
    assert response["Retry-After"] == "40"
    assert post([], token=tenants.south.token).status_code == 200
    now += timedelta(seconds=40)
    assert post([]).status_code == 200
    assert RequestCount.objects.get(key=tenants.north.key).number == 1


def test_a_problem_speaks_the_language_that_was_asked_for(post):
    english = post(b"{").json()
    assert english == {
        "type": "urn:suanli:problem:not-json",
        "title": "The body can't be read",
        "status": 400,
        "detail": "The body is no JSON: line 1, column 2: Expecting property name enclosed in double quotes.",
    }
    chinese = post(b"{", **{"Accept-Language": "zh-CN"})
    assert chinese["Content-Language"] == "zh-hans"


# Items


@pytest.fixture
def only(post):
    """Post one event, or the bytes of one: outcome, field and reason of it, beside a neighbour that is counted."""

    numbers = count()

    def only(item):
        stored = UsageEvent.objects.filter(source__name="aidc/earth").count()
        spelt = item if isinstance(item, bytes) else json.dumps(item).encode()
        batch = b"[" + spelt + b"," + json.dumps(event(f"neighbour {next(numbers)}")).encode() + b"]"
        response = post(batch, content_type=BATCH)
        assert response.status_code == 200
        found, neighbour = response.json()["results"]
        assert neighbour["outcome"] == "counted"
        if found["outcome"] == "rejected":
            assert UsageEvent.objects.filter(source__name="aidc/earth").count() == stored + 1
        return [(found["outcome"], found["field"], found["reason"])]

    return only


NUMBER = 'expected a decimal such as "59" or "59.5", zero or more'
SECONDS = "expected a whole number of seconds from 1 to 86,400"


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"id": ABSENT}, "id", "None is no text: expected 1 to 255 characters"),
        ({"id": 5}, "id", "5 is no text: expected 1 to 255 characters"),
        ({"id": ""}, "id", "0 characters: expected 1 to 255"),
        ({"id": "x" * 256}, "id", "256 characters: expected 1 to 255"),
        ({"id": "a\0b"}, "id", "'a\\x00b': expected no NUL and no lone surrogate"),
        ({"id": "a\ud800b"}, "id", "'a\\ud800b': expected no NUL and no lone surrogate"),
        ({"id": ["a"]}, "id", "a list is no text: expected 1 to 255 characters"),
        ({"source": ABSENT}, "source", "None is no text: expected 1 to 255 characters"),
        ({"source": {"a": 1}}, "source", "a dict is no text: expected 1 to 255 characters"),
        ({"type": 1.5}, "type", "1.5 is no text: expected 1 to 255 characters"),
        ({"subject": ABSENT}, "subject", "None is no text: expected 1 to 255 characters"),
        ({"subject": True}, "subject", "True is no text: expected 1 to 255 characters"),
        ({"specversion": 1.0}, "specversion", '1.0: expected "1.0"'),
        ({"specversion": ABSENT}, "specversion", 'None: expected "1.0"'),
        ({"data": ABSENT}, "data", "None: expected an object"),
        ({"data": []}, "data", "a list: expected an object"),
        ({"data": "59"}, "data", "'59': expected an object"),
        ({"data_base64": "e30="}, "data_base64", "expected data, a JSON object, in its place"),
        ({"data": {}}, "data.value", f"missing: {NUMBER}"),
        ({"value": None}, "data.value", f"None: {NUMBER}"),
        ({"value": True}, "data.value", f"True: {NUMBER}"),
        ({"value": "NaN"}, "data.value", f"'NaN': {NUMBER}"),
        ({"value": "Infinity"}, "data.value", f"'Infinity': {NUMBER}"),
        ({"value": "1e3"}, "data.value", f"'1e3': {NUMBER}"),
        ({"value": "٥"}, "data.value", f"'٥': {NUMBER}"),
        ({"value": {}}, "data.value", f"a dict: {NUMBER}"),
        ({"value": "-1"}, "data.value", f"'-1' is negative: {NUMBER}"),
        ({"value": -0.5}, "data.value", f"-0.5 is negative: {NUMBER}"),
        ({"value": "9" * 40}, "data.value", f"'{'9' * 40}': expected at most 29 digits before the point"),
        ({"value": int("9" * 40)}, "data.value", f"{'9' * 40}: expected at most 29 digits before the point"),
        ({"value": "0." + "1" * 40}, "data.value", f"'0.{'1' * 40}' has 40 decimals: expected at most 9"),
        ({"value": 10**28}, "data.value", f"6{'0' * 29} GPU-second: expected at most 9223372036854775807"),
        ({"seconds": None}, "data.duration_seconds", f"missing: {SECONDS}"),
        ({"seconds": 0}, "data.duration_seconds", f"0: {SECONDS}"),
        ({"seconds": 86_401}, "data.duration_seconds", f"86401: {SECONDS}"),
        ({"seconds": "60"}, "data.duration_seconds", f"'60': {SECONDS}"),
        ({"seconds": 1.5}, "data.duration_seconds", f"1.5: {SECONDS}"),
        ({"seconds": True}, "data.duration_seconds", f"True: {SECONDS}"),
        ({"time": ABSENT}, "time", "None: expected a date and time with an offset from UTC"),
        ({"time": 1588262400}, "time", "1588262400: expected a date and time with an offset from UTC"),
        (
            {"time": "2026-05-01T00:00:00"},
            "time",
            "2026-05-01T00:00:00 has no offset from UTC: expected one, such as +08:00",
        ),
        (
            {"time": "9999-12-31T23:59:59Z"},
            "time",
            "9999-12-31T23:59:59+00:00: expected at most 5 minutes in the future",
        ),
        (
            {"time": "9999-12-31T23:59:59-23:59"},
            "time",
            "9999-12-31T23:59:59-23:59: expected at most 5 minutes in the future",
        ),
        (
            {"time": "0001-01-01T00:00:00+08:00"},
            "time",
            "0001-01-01T00:00:00+08:00: expected the year 1 or later, in UTC",
        ),
    ],
    ids=str,
)
def test_a_wrong_item_is_rejected_with_its_field_and_its_neighbour_is_counted(only, wrong, field, reason):
    assert only(event(**({"event_id": wrong.pop("id")} if "id" in wrong else {}), **wrong)) == [
        ("rejected", field, reason)
    ]


@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("yesterday", ""),
        ("", ""),
        ("2026-05-01", ""),
        ("20260501T000000Z", ""),
        ("2026-W18-5T00:00:00Z", ""),
        ("2026-05-01T24:00:01Z", "hour must be in 0..23: "),
        ("2026-02-30T00:00:00Z", "day is out of range for month: "),
        ("2026-05-01T00:00:60Z", "second must be in 0..59: "),
    ],
)
def test_a_time_that_is_none_is_rejected(only, time, why):
    expected = f"{time!r}: {why}expected RFC 3339 with an offset, such as 2020-05-01T00:00:00+08:00"
    assert only(event(time=time)) == [("rejected", "time", expected)]


@pytest.mark.parametrize("digits", [5000, 400_000])
def test_a_number_of_thousands_of_digits_is_rejected_and_its_neighbour_is_counted(only, digits):
    [(outcome, field, _)] = only(json.dumps(event()).replace('"59"', "9" * digits).encode())
    assert (outcome, field) == ("rejected", "data.value")


@pytest.mark.parametrize("number", ["1e999999999999999999999", "-1e99999", "1e-999999999999999999999", "1E400"])
def test_a_number_with_an_absurd_exponent_is_rejected_for_any_meter(only, number):
    spelt = json.dumps(event()).replace('"59"', number)
    assert only(spelt.encode())[0][:2] == ("rejected", "data.value")


@pytest.mark.parametrize("item", [b"null", b"5", b"[]", b'"text"', b"1e9999999999999999999999", b"{}"])
def test_an_item_that_is_no_event_is_rejected(only, item):
    assert only(item)[0][0] == "rejected"


def test_an_unknown_meter_is_kept_unmatched(only):
    assert only(event(type="gpu.smaple")) == [("unmatched", "type", "unknown_meter")]


def test_another_tenants_subject_is_answered_as_one_that_nobody_has(only):
    answers = [only(event(f"e{n}", subject=subject)) for n, subject in enumerate(["moon-1", "nobody's"])]
    assert answers == 2 * [[("unmatched", "subject", "unknown_subject")]]
    assert list(Reading.objects.filter(contract__number="moon-1").values_list("quantity")) == [(480,)]


def test_the_same_id_of_another_tenant_is_another_event(post, only, tenants):
    assert only(event()) == [("counted", None, None)]
    there = post(event(subject="moon-1"), token=tenants.south.token)
    assert there.json()["counts"]["counted"] == 1
