"""POST /api/v1/events: what an answer says, and what is stored then."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.models import Reading, UsageEvent
from marketplace.metrics import EVENTS
from tests.api.cloudevent import event


def counts(counted=0, duplicate=0, conflict=0, unmatched=0, rejected=0):
    return {
        "counted": counted,
        "duplicate": duplicate,
        "conflict": conflict,
        "unmatched": unmatched,
        "rejected": rejected,
    }


def result(event_id, outcome="counted", field=None, reason=None):
    return {"id": event_id, "outcome": outcome, "field": field, "reason": reason}


def test_one_event_is_counted_and_in_its_reading(post, tenants):
    response = post(event())
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json() == {"counts": counts(counted=1), "results": [result("e1")]}
    stored = UsageEvent.objects.get(event_id="e1")
    assert (stored.contract, stored.value, stored.quantity) == (tenants.sun.contract, Decimal(59), 3540)
    # The reading had 480 before.
    assert Reading.objects.get(contract=tenants.sun.contract).quantity == 480 + 3540


def test_a_batch_has_a_result_for_each_item_in_order_and_a_bad_one_refuses_no_neighbour(post):
    post(event("taken"))
    response = post(
        [
            event("a", "1"),
            "no event",
            event("taken"),
            event("taken", "60"),
            event("b", specversion="0.3"),
            event("c", subject="nobody's"),
            event("d", "-1"),
            event("e", 2, time="2026-05-01T00:15:00Z"),
        ]
    )
    assert response.status_code == 200
    assert response.json() == {
        "counts": counts(counted=2, duplicate=1, conflict=1, unmatched=1, rejected=3),
        "results": [
            result("a"),
            result(None, "rejected", None, "'no event': expected an object, an event"),
            result("taken", "duplicate"),
            result(
                "taken",
                "conflict",
                "data.value",
                "the event of this id has '59': expected the same, or another id",
            ),
            result("b", "rejected", "specversion", "'0.3': expected \"1.0\""),
            result("c", "unmatched", "subject", "unknown_subject"),
            result(
                "d",
                "rejected",
                "data.value",
                '\'-1\' is negative: expected a decimal such as "59" or "59.5", zero or more',
            ),
            result("e"),
        ],
    }
    assert list(Reading.objects.filter(contract__number="sun-1").order_by("start_at").values_list("quantity")) == [
        (480 + 3540 + 60,),
        (120,),
    ]


def test_an_empty_batch_is_read_and_has_no_results(post):
    response = post([])
    assert (response.status_code, response.json()) == (200, {"counts": counts(), "results": []})


def test_the_same_request_again_changes_nothing(post):
    batch = [event(f"e{n}", n) for n in range(5)]
    assert post(batch).json()["counts"] == counts(counted=5)
    before = list(Reading.objects.values())
    assert post(batch).json()["counts"] == counts(duplicate=5)
    assert list(Reading.objects.values()) == before


@pytest.mark.parametrize("value", ["0.1", 0.1, "0.100", "00.1"])
def test_a_number_is_read_exactly_however_it_is_spelt(post, value):
    assert post(event(value=value, seconds=10)).json()["results"] == [result("e1")]
    assert UsageEvent.objects.get(event_id="e1").value == Decimal("0.1")


def test_nine_decimals_of_a_json_number_are_kept(post):
    body = b"""{"specversion": "1.0", "id": "e1", "source": "s", "type": "gpu.sample", "subject": "sun-1",
        "time": "2026-05-01T00:00:00Z", "data": {"value": 123456789012345.123456789, "duration_seconds": 1000}}"""
    assert post(body).json()["results"][0]["reason"] == (
        "123456789012345.123456789 x 1000 seconds is no whole number of GPU-second: expected one"
    )


@pytest.mark.parametrize(
    ("spelt", "stored"),
    [
        ("2026-05-01T08:00:00+08:00", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01t00:00:00z", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T00:00:00.123456789Z", datetime(2026, 5, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2026-05-01T00:00:00.5-03:30", datetime(2026, 5, 1, 3, 30, 0, 500000, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_rfc_3339_has_it(post, spelt, stored):
    assert post(event(time=spelt)).json()["counts"]["counted"] == 1
    assert UsageEvent.objects.get(event_id="e1").time == stored


def test_a_time_may_be_any_age_and_at_most_five_minutes_in_the_future(post, tenants, monkeypatch):
    now = datetime(2026, 5, 2, tzinfo=UTC)
    monkeypatch.setattr("marketplace.api.events.timezone.now", lambda: now)
    times = ["0001-01-01T00:00:00Z", (now + timedelta(seconds=300)).isoformat(), "2026-05-02T00:05:00.000001Z"]
    answered = post([event(f"{n}", time=time) for n, time in enumerate(times)]).json()["results"]
    assert answered == [
        result("0", "unmatched", "time", "outside_contract"),
        result("1"),
        result("2", "rejected", "time", "2026-05-02T00:05:00.000001+00:00: expected at most 5 minutes in the future"),
    ]


def test_unknown_attributes_are_ignored_and_a_charset_may_be_said(post):
    extended = event(datacontenttype="application/json", traceparent="00-1", dataschema="urn:x")
    response = post(extended, content_type="application/cloudevents+json; charset=UTF-8")
    assert response.json()["results"] == [result("e1")]


@pytest.mark.parametrize("event_id", ["表", 'a"b\\c', "\u2028", "</script>", "\U0001f50b", "\u007f"])
def test_an_id_is_echoed_as_it_was_sent(post, event_id):
    assert post(event(event_id)).json()["results"] == [result(event_id)]
    assert UsageEvent.objects.filter(event_id=event_id).exists()


def test_the_outcomes_are_counted_in_the_metrics(post):
    before = EVENTS.labels("rejected")._value.get()
    post([event("a"), None, event("b", "x")])
    assert EVENTS.labels("rejected")._value.get() - before == 2


def test_a_request_asks_few_queries_whatever_its_number_of_events(post, django_assert_num_queries):
    post(event("first"))
    for number in (1, 300):
        # The key and its count; sources, meters, contracts; staging and locks; events and readings; four savepoints.
        with django_assert_num_queries(13):
            post([event(f"{number}/{n}") for n in range(number)])
