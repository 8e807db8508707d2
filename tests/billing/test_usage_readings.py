"""What readings events make: exactly, wherever the edges fall, in whatever batches and order they come."""

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Contract, Meter, UsageEvent
from billing.usage import events_of, profile
from tests.billing.usage_world import END, START, at, meter, readings, sample, world

pytestmark = pytest.mark.django_db


@pytest.fixture
def house():
    return world()


def gpu(quantities, contract="C-1"):
    """Readings by their minute from START."""
    return {(contract, "gpu_hours", at(minutes=minute)): quantity for minute, quantity in quantities.items()}


@pytest.mark.parametrize(
    ("value", "seconds", "start", "expected"),
    [
        ("59", 60, at(14), {0: 3540}),
        ("59", 60, at(15), {15: 3540}),
        ("59", 60, at(14, 30), {0: 1770, 15: 1770}),
        ("59", 60, at(14, 59), {0: 59, 15: 59 * 59}),
        ("8", 900, at(0), {0: 7200}),
        ("8", 901, at(0), {0: 7200, 15: 8}),
        ("8", 3600, at(7, 30), {0: 3600, 15: 7200, 30: 7200, 45: 7200, 60: 3600}),
        ("1", 86_400, at(0), dict.fromkeys(range(0, 1440, 15), 900)),
        # Half a GPU for three seconds is no whole number; for ten it is, and the edge leaves 2.5 on each side.
        ("0.5", 10, at(14, 55), {0: 2, 15: 3}),
        # 59 x 29.5 seconds before the edge: 1740.5.
        ("59", 60, at(14, 30, 500_000), {0: 1740, 15: 1800}),
        ("2", 60, at(14, 30, 500_000), {0: 59, 15: 61}),
        ("1", 1, at(14, 59, 999_999), {0: 0, 15: 1}),
        ("0", 60, at(14, 30), {0: 0, 15: 0}),
    ],
)
def test_a_sample_is_split_at_the_edges_of_intervals_and_its_parts_sum_to_the_whole(
    house, value, seconds, start, expected
):
    assert house.outcomes(sample(value=value, seconds=seconds, time=start)) == ["counted"]
    assert readings() == gpu(expected)
    assert UsageEvent.objects.get().quantity == sum(expected.values()) == Decimal(value) * seconds


def test_edges_are_those_of_utc_also_before_1970_and_where_the_local_offset_is_odd(house):
    house.contract("C-OLD", start_at=datetime(1901, 1, 1, tzinfo=UTC))
    shanghai_mean_time = timedelta(hours=8, minutes=5, seconds=43)
    start = datetime(1901, 2, 3, 4, 14, 30, tzinfo=UTC).astimezone(timezone(shanghai_mean_time))
    house.record(sample(subject="C-OLD", time=start, value="2"))
    assert readings() == {
        ("C-OLD", "gpu_hours", datetime(1901, 2, 3, 4, 0, tzinfo=UTC)): 60,
        ("C-OLD", "gpu_hours", datetime(1901, 2, 3, 4, 15, tzinfo=UTC)): 60,
    }


def test_a_delta_counts_in_the_interval_it_begins_in_and_has_no_duration(house):
    meter("tokens", "tokens.used", kind="delta")
    events = [
        sample("a", "5", 60, type="tokens.used", time=at(14, 59, 999_999)),
        sample("b", "7", 60, type="tokens.used", time=at(14, 30)),
        sample("c", "11", None, type="tokens.used", time=at(15)),
    ]
    assert house.outcomes(*events) == 3 * ["counted"]
    assert readings() == {("C-1", "tokens", at(0)): 12, ("C-1", "tokens", at(15)): 11}
    assert set(UsageEvent.objects.values_list("duration_seconds", flat=True)) == {0}


@pytest.mark.parametrize("kind", ["gauge", "delta"])
def test_count_counts_events_where_they_begin_whatever_their_value(house, kind):
    meter("jobs", "job.done", kind=kind, aggregation="count")
    bare = sample("c", type="job.done", time=at(3))
    events = [
        sample("a", "0.3", 3600, type="job.done", time=at(14)),
        sample("b", "40", 60, type="job.done", time=at(15)),
        bare._replace(data={}),
    ]
    assert house.outcomes(*events) == 3 * ["counted"]
    assert readings() == {("C-1", "jobs", at(0)): 2, ("C-1", "jobs", at(15)): 1}
    assert house.only(sample("d", "-1", type="job.done"))[:2] == ("rejected", "data.value")


def test_max_of_a_gauge_is_its_greatest_value_in_every_interval_it_overlaps(house):
    meter("peak", "gpu.peak", aggregation="max")
    house.record(sample("a", "5", 1800, type="gpu.peak", time=at(10)))
    house.record(sample("b", "7", 60, type="gpu.peak", time=at(15)), sample("c", "6", 60, type="gpu.peak", time=at(29)))
    house.record(sample("d", "3", 60, type="gpu.peak", time=at(44)))
    assert readings() == {("C-1", "peak", at(0)): 5, ("C-1", "peak", at(15)): 7, ("C-1", "peak", at(30)): 5}
    assert house.only(sample("e", "1.5", type="gpu.peak")) == (
        "rejected",
        "data.value",
        "'1.5' is no whole number of peak_base: expected one",
    )


def test_max_of_a_delta_is_the_greatest_of_its_interval(house):
    meter("burst", "burst", kind="delta", aggregation="max")
    house.record(*(sample(str(n), n, type="burst", time=at(n)) for n in (3, 9, 5)))
    house.record(sample("x", 4, type="burst"))
    assert readings() == {("C-1", "burst", at(0)): 9}


def test_meters_name_their_own_fields(house):
    meter("disk", "disk.sample", value_field="bytes", duration_field="window")
    event = sample(type="disk.sample")
    assert house.only(event._replace(data={"bytes": "10", "window": 30})) == ("counted", None, None)
    assert house.only(event._replace(id="b", data={"bytes": "10"}))[:2] == ("rejected", "data.window")
    assert house.only(event._replace(data={"bytes": "11", "window": 30}))[:2] == ("conflict", "data.bytes")
    assert readings() == {("C-1", "disk", at(0)): 300}


def test_an_event_that_a_reading_has_no_room_for_is_rejected_and_its_neighbours_are_not(house):
    huge = [sample(f"h{n}", 2**62, 1) for n in range(3)]
    results = list(house.record(sample("a"), *huge, sample("b"), sample("c", subject="C-9")).results)
    reason = "the reading would exceed 9223372036854775807 base units: expected an event that fits it"
    assert [result[1:] for result in results] == [
        ("counted", None, None),
        ("counted", None, None),
        ("rejected", "data", reason),
        ("rejected", "data", reason),
        ("counted", None, None),
        ("unmatched", "subject", "unknown_subject"),
    ]
    assert readings() == gpu({0: 2**62 + 2 * 3540})


def test_two_batches_in_one_transaction_do_not_see_each_others_staging(house):
    with transaction.atomic():
        house.record(sample("a"))
        house.record(sample("b", time=at(15)))
    assert readings() == gpu({0: 3540, 15: 3540})


# A naive model: a dict of events, and for each of them every interval.

GAUGES = {"gpu.sample": "sum", "gpu.peak": "max"}
EVENTS = st.builds(
    lambda number, subject, kind, start, seconds, value: sample(
        f"e{number}", value, seconds, subject=subject, type=kind, time=at(0, start)
    ),
    number=st.integers(0, 12),
    subject=st.sampled_from(["C-1", "C-2", "C-9"]),
    kind=st.sampled_from(["gpu.sample", "gpu.peak", "tokens.used"]),
    start=st.integers(0, 3000),
    seconds=st.integers(1, 2500),
    value=st.integers(0, 300),
)


def modelled(events):
    taken, outcomes, folded, greatest = {}, [], Counter(), {}
    for event in events:
        if event.id in taken:
            outcomes.append("duplicate" if said(taken[event.id]) == said(event) else "conflict")
            continue
        taken[event.id] = event
        outcomes.append("counted" if event.subject != "C-9" else "unmatched")
        if event.subject == "C-9":
            continue
        value, seconds = event.data["value"], event.data["duration_seconds"]
        for start in range(0, 6000, 900):
            edge = at(0, start)
            inside = min(event.time + timedelta(seconds=seconds), edge + timedelta(seconds=900)) - max(event.time, edge)
            if event.type == "tokens.used":
                if edge <= event.time < edge + timedelta(seconds=900):
                    folded[event.subject, "tokens", edge] += value
            elif inside > timedelta(0):
                if event.type == "gpu.sample":
                    folded[event.subject, "gpu_hours", edge] += value * (inside // timedelta(seconds=1))
                else:
                    key = (event.subject, "peak", edge)
                    greatest[key] = max(greatest.get(key, 0), value)
    return outcomes, dict(folded) | greatest


def said(event):
    seconds = event.data["duration_seconds"] if event.type in GAUGES else None
    return event.type, event.subject, event.time, event.data["value"], seconds


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENTS, max_size=30), cuts=st.lists(st.integers(0, 30), max_size=5))
def test_any_split_into_batches_gives_the_outcomes_and_readings_of_the_model(house, events, cuts):
    with transaction.atomic():
        meter("peak", "gpu.peak", aggregation="max")
        meter("tokens", "tokens.used", kind="delta")
        edges = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
        outcomes = []
        for start, end in pairwise(edges):
            outcomes += house.outcomes(*events[start:end])
        assert (outcomes, readings()) == modelled(events)
        transaction.set_rollback(True)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_and_repetition_gives_the_same_readings(house, data):
    """Events of distinct ids: with rivals, the first to come counts."""
    events = data.draw(st.lists(EVENTS, max_size=15, unique_by=lambda event: event.id))
    repeated = data.draw(st.permutations(events + events[: len(events) // 2]))
    size = data.draw(st.integers(1, 12))
    with transaction.atomic():
        meter("peak", "gpu.peak", aggregation="max")
        meter("tokens", "tokens.used", kind="delta")
        for start in range(0, len(repeated), size):
            house.record(*repeated[start : start + size])
        assert readings() == modelled(events)[1]
        transaction.set_rollback(True)


# Reading them


def test_a_profile_is_dense_and_its_gaps_are_zero(house, django_assert_num_queries):
    house.record(sample("a", time=at(15)), sample("b", time=at(45)), sample("c", subject="C-2", time=at(30)))
    contract, gpu_hours = Contract.objects.get(number="C-1"), Meter.objects.get(code="gpu_hours")
    with django_assert_num_queries(1):
        made = profile(contract=contract, meter=gpu_hours, start_at=START, end_at=at(75))
    assert (made.start, made.interval_seconds, list(made.quantities)) == (START, 900, [0, 3540, 0, 3540, 0])
    dense = profile(contract=contract, meter=gpu_hours, start_at=at(15), end_at=at(30))
    assert list(dense.quantities) == [3540]
    empty = profile(contract=contract, meter=gpu_hours, start_at=at(60), end_at=END)
    assert list(empty.quantities) == 2972 * [0]
    assert list(profile(contract=contract, meter=gpu_hours, start_at=START, end_at=START).quantities) == []


def test_a_profile_keeps_64_bit_integers(house):
    house.record(sample("a", 2**63 - 1, 1), sample("b", 2**40 + 1, 1, time=at(15)))
    contract, gpu_hours = Contract.objects.get(number="C-1"), Meter.objects.get(code="gpu_hours")
    made = profile(contract=contract, meter=gpu_hours, start_at=START, end_at=at(30))
    assert list(made.quantities) == [2**63 - 1, 2**40 + 1]


@pytest.mark.parametrize(("start_at", "end_at"), [(at(1), at(15)), (at(0), at(14)), (at(30), at(15))])
def test_a_profile_off_the_edges_is_refused(house, start_at, end_at):
    contract, gpu_hours = Contract.objects.get(number="C-1"), Meter.objects.get(code="gpu_hours")
    with pytest.raises(ValueError, match="expected 15-minute edges, the end not before the start"):
        profile(contract=contract, meter=gpu_hours, start_at=start_at, end_at=end_at)


def test_the_events_of_a_reading_are_all_that_lie_in_its_interval_and_no_others(house):
    house.contract("C-OPEN", end_at=None)
    day = 1440
    inside = {
        "begins": sample("begins", time=at(day)),
        "ends": sample("ends", seconds=60, time=at(day + 14, 59)),
        "reaches": sample("reaches", seconds=61, time=at(day - 1)),
        "long": sample("long", seconds=86_400, time=at(0, 1)),
        "longer than an interval": sample("longer than an interval", seconds=1000, time=at(day - 16)),
    }
    outside = [
        sample("before", seconds=60, time=at(day - 1)),
        sample("long before", seconds=86_399, time=at(0, 1)),
        sample("after", time=at(day + 15)),
        sample("other contract", time=at(day), subject="C-2"),
    ]
    house.record(*inside.values(), *outside)
    contract, gpu_hours = Contract.objects.get(number="C-1"), Meter.objects.get(code="gpu_hours")
    found = events_of(contract=contract, meter=gpu_hours, start_at=at(day))
    assert [event.event_id for event in found] == ["long", "longer than an interval", "reaches", "begins", "ends"]
    assert readings()["C-1", "gpu_hours", at(day)] == 59 * (60 + 1 + 1 + 1 + 40)


def test_the_events_of_a_reading_are_found_by_indexes(house):
    contract, gpu_hours = Contract.objects.get(number="C-1"), Meter.objects.get(code="gpu_hours")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = events_of(contract=contract, meter=gpu_hours, start_at=START).explain()
    assert (plan.count("usage_event_time"), plan.count("usage_event_long")) == (2, 1)
