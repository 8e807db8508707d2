"""What each kind of meter and aggregation makes of its events, to the base unit."""

from collections import defaultdict
from fractions import Fraction
from functools import partial
from itertools import pairwise

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Meter, UsageEvent
from billing.usage import record, rematch
from tests.billing.usage_world import NOW, START, at, meter, readings, sample, world


@pytest.fixture
def house(db):
    return world()


def made(code="m", contract="C-1"):
    """Readings of the meter by their minute from START, without those that are 0."""
    return {
        (start - START).total_seconds() // 60: quantity
        for (number, meter_code, start), quantity in readings().items()
        if (number, meter_code) == (contract, code) and quantity
    }


def send(house, *cases, **fields):
    """(minute, value[, seconds[, source]]) each."""
    events = [
        sample(f"e{n}", value, *(rest[:1] or [None]), time=at(0, int(minute * 60)), type="t", **fields)._replace(
            source=rest[1] if len(rest) > 1 else "s"
        )
        for n, (minute, value, *rest) in enumerate(cases)
    ]
    assert house.outcomes(*events) == len(events) * ["counted"]


# Least, latest, unique count


def test_min_of_a_delta_is_the_least_value_of_its_interval(house):
    meter("m", "t", kind="delta", aggregation="min")
    send(house, (3, 9), (5, 4), (14, 6), (15, 8))
    assert made() == {0: 4, 15: 8}


def test_min_of_a_gauge_is_the_least_that_held_in_the_interval(house):
    meter("m", "t", aggregation="min")
    # 5 holds until minute 20, 9 to the end of its stated length, 7 for the maximum gap of 15 minutes.
    send(house, (10, 5), (20, 9, 1500), (50, 7))
    assert made() == {0: 5, 15: 5, 30: 9, 45: 7, 60: 7}


def test_latest_of_a_delta_is_the_last_value_of_its_interval_whatever_came_first(house):
    meter("m", "t", kind="delta", aggregation="latest")
    send(house, (14, 3), (2, 9), (7, 8), (30, 1))
    assert made() == {0: 3, 30: 1}


def test_latest_of_a_gauge_is_the_last_sample_still_in_force(house):
    meter("m", "t", aggregation="latest")
    send(house, (1, 3), (14, 8), (16, 2, 60), (40, 6))
    assert made() == {0: 8, 15: 2, 30: 6, 45: 6}


def test_of_two_samples_at_one_instant_the_greater_value_is_the_later(house):
    meter("m", "t", aggregation="latest")
    send(house, (1, 7), (1, 3))
    assert made() == {0: 7, 15: 7}


def test_unique_count_counts_different_texts_and_numbers_where_they_begin(house):
    meter("m", "t", aggregation="unique_count")
    send(house, (1, "user-1"), (2, "user-2"), (3, "user-1"), (4, "59"), (5, 59), (6, "59.0"), (20, "user-1"))
    assert made() == {0: 3, 15: 1}
    assert set(UsageEvent.objects.values_list("data__value", flat=True)) == {"user-1", "user-2", "59"}


def test_the_same_text_again_is_a_duplicate_and_another_a_conflict(house):
    meter("m", "t", aggregation="unique_count")
    event = sample("a", "user-1", None, type="t")
    assert house.outcomes(event, event, event._replace(data={"value": "user-2"})) == [
        "counted",
        "duplicate",
        "conflict",
    ]
    assert house.outcomes(event._replace(data={"value": "user-1", "region": "east"})) == ["duplicate"]


@pytest.mark.parametrize("value", ["", "x" * 256, None, True, {}, [1], "a\0b"])
def test_what_is_no_text_and_no_number_is_not_counted_as_unique(house, value):
    meter("m", "t", aggregation="unique_count")
    assert house.only(sample(value=value, type="t"))[:2] == ("rejected", "data.value")


# Time-weighted


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        # Until the next sample: 4 for 5 minutes, 2 for 10; then 2 for the maximum gap.
        ([(0, 4), (5, 2)], {0: 4 * 300 + 2 * 600, 15: 2 * 300}),
        # A stated length may be shorter or longer than the maximum gap; the next sample ends it.
        ([(0, 4, 60)], {0: 240}),
        ([(0, 4, 3600)], {0: 3600, 15: 3600, 30: 3600, 45: 3600}),
        ([(0, 4, 3600), (20, 1, 60)], {0: 3600, 15: 4 * 300 + 60}),
        # A gap is not counted.
        ([(0, 4), (60, 4)], {0: 3600, 60: 3600}),
        # Each source is a series of its own, and they add up.
        ([(0, 4, None, "a"), (5, 2, None, "b"), (10, 0, None, "a")], {0: 4 * 600 + 2 * 600, 15: 2 * 300}),
        # Fractions are summed exactly and rounded down: 0.5 for 3 s and 0.7 for 1 s are 2.2.
        ([(0, "0.5", 3, "a"), (0, "0.7", 1, "b")], {0: 2}),
    ],
)
def test_time_weighted_is_value_times_seconds_held(house, samples, expected):
    meter("m", "t", aggregation="time_weighted")
    send(house, *samples)
    assert made() == expected


def test_the_maximum_gap_is_the_meters_own(house):
    meter("m", "t", aggregation="time_weighted", max_gap_seconds=120)
    send(house, (0, 5), (10, 5))
    assert made() == {0: 5 * 240}


def test_a_sample_does_not_hold_beyond_its_contract(house):
    house.contract("C-SHORT", end_at=at(5))
    meter("m", "t", aggregation="time_weighted")
    send(house, (0, 2), subject="C-SHORT")
    assert made(contract="C-SHORT") == {0: 600}


def test_a_late_sample_ends_a_long_one_before_it_in_every_interval(house):
    meter("m", "t", aggregation="time_weighted")
    house.record(sample("long", 4, 7200, type="t"))
    assert made() == dict.fromkeys(range(0, 120, 15), 3600)
    house.record(sample("late", 1, 60, type="t", time=at(10)), sample("later", 1, 60, type="t", time=at(12)))
    assert made() == {0: 4 * 600 + 60 + 60}


# Cumulative


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(0, 100)], {}),
        ([(0, 100), (5, 130), (10, 130), (20, 200)], {0: 30, 15: 70}),
        # A sample at an edge tells of the interval before it.
        ([(0, 100), (15, 110), (30, 130)], {0: 10, 15: 20}),
        # What was used over a gap is known, and is counted where it is told.
        ([(0, 100), (600, 500)], {585: 400}),
        # A counter that begins again counts from zero.
        ([(0, 100), (5, 120), (20, 7), (25, 9)], {0: 20, 15: 9}),
        ([(0, 100), (5, 0), (10, 100)], {0: 100}),
        # Late samples change where growth is counted, and not how much.
        ([(40, 300), (0, 100), (20, 200)], {15: 100, 30: 100}),
        ([(0, 100), (5, 120), (5, 120)], {0: 20}),
        # Each source has its own counter.
        ([(0, 100, None, "a"), (1, 5, None, "b"), (5, 130, None, "a"), (6, 8, None, "b")], {0: 33}),
    ],
)
def test_cumulative_counts_what_the_counter_grew_by(house, samples, expected):
    meter("m", "t", kind="cumulative")
    send(house, *samples)
    assert made() == expected


@pytest.mark.parametrize(
    ("kind", "aggregation"),
    [("cumulative", "max"), ("cumulative", "time_weighted"), ("delta", "time_weighted"), ("gauge", "average")],
)
def test_a_meter_of_a_kind_without_that_aggregation_is_refused(house, kind, aggregation):
    with pytest.raises(IntegrityError, match="meter_"), transaction.atomic():
        meter("m", "t", kind=kind, aggregation=aggregation)


@pytest.mark.parametrize("seconds", [0, 86_401])
def test_a_maximum_gap_is_of_a_second_to_a_day(house, seconds):
    with pytest.raises(IntegrityError, match="meter_max_gap_in_a_day"), transaction.atomic():
        meter("m", "t", max_gap_seconds=seconds)


@pytest.mark.parametrize("aggregation", ["min", "latest"])
def test_a_value_that_is_no_whole_number_of_base_units_is_rejected(house, aggregation):
    meter("m", "t", aggregation=aggregation)
    assert house.only(sample(value="1.5", type="t"))[:2] == ("rejected", "data.value")


def test_unmatched_samples_of_a_series_are_in_their_readings_after_rematching(house):
    for code, kind, aggregation in (("m", "gauge", "time_weighted"), ("u", "delta", "unique_count")):
        meter(code, code, kind=kind, aggregation=aggregation)
    events = [sample(f"{code}{n}", n, None, type=code, subject="C-9", time=at(n)) for n in (0, 5) for code in "mu"]
    assert house.outcomes(*events) == 4 * ["unmatched"]
    house.contract("C-9")
    assert rematch(at=NOW) == (4, 0)
    assert made("m", "C-9") == {0: 5 * 600, 15: 5 * 300}
    assert made("u", "C-9") == {0: 2}
    assert house.outcomes(*events) == 4 * ["duplicate"]


# Any order, any batches: against a naive model of it all

METERS = {
    "gauge_min": ("gauge", "min"),
    "gauge_latest": ("gauge", "latest"),
    "gauge_unique": ("gauge", "unique_count"),
    "weighted": ("gauge", "time_weighted"),
    "delta_min": ("delta", "min"),
    "delta_latest": ("delta", "latest"),
    "counter": ("cumulative", "sum"),
}
SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(sorted(METERS)),
        st.sampled_from(["C-1", "C-2"]),
        st.sampled_from(["a", "b"]),
        st.one_of(st.integers(0, 6000), st.integers(0, 6).map(lambda n: n * 900)),
        st.one_of(st.none(), st.integers(1, 4000)),
        st.integers(0, 9),
    ),
    max_size=14,
)


def naive(events):
    """{(contract, meter, start): quantity}, second by second."""
    series = defaultdict(list)
    for event in sorted(events, key=lambda event: (event.time, event.data["value"], event.id)):
        series[event.subject, event.type, event.source].append(event)
    found = defaultdict(list)
    for (subject, type_, _), samples in series.items():
        kind, aggregation = METERS[type_]
        for event, following in pairwise([*samples, None] if kind != "cumulative" else []):
            second = int((event.time - START).total_seconds())
            length = 0 if kind != "gauge" else event.data["duration_seconds"] or 900
            until = second + length
            if following is not None:
                until = min(until, int((following.time - START).total_seconds()))
            if aggregation == "unique_count":
                until = second
            value = event.data["value"]
            for moment in {second, *range(second, until)}:
                found[subject, type_, moment // 900].append((second, value, int(moment < until)))
        if kind == "cumulative":
            for before, event in pairwise(samples):
                growth = event.data["value"] - before.data["value"]
                place = -(-int((event.time - START).total_seconds()) // 900) - 1
                found[subject, type_, place].append(growth if growth >= 0 else event.data["value"])
    return {
        (subject, type_, at(15 * place)): quantity
        for (subject, type_, place), pieces in found.items()
        if (quantity := combined(*METERS[type_], pieces))
    }


def combined(kind, aggregation, pieces):
    if kind == "cumulative":
        return sum(pieces)
    if aggregation == "min":
        return min(value for _, value, _ in pieces)
    if aggregation == "latest":
        return max((second, value) for second, value, _ in pieces)[1]
    if aggregation == "unique_count":
        return len({value for _, value, _ in pieces})
    return int(sum(Fraction(value) * held for _, value, held in pieces))


def of_world(drawn):
    return [
        sample(f"e{n}", value, seconds, type=type_, subject=subject, source=source, time=at(0, second))
        for n, (type_, subject, source, second, seconds, value) in enumerate(drawn)
    ]


def nonzero():
    return {key: quantity for key, quantity in readings().items() if quantity}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_batching_and_repetition_gives_the_readings_of_the_model(house, data):
    events = of_world(data.draw(SAMPLES))
    mixed = data.draw(st.permutations(events + events[: len(events) // 3]))
    size = data.draw(st.integers(1, 8))
    with transaction.atomic():
        for type_, (kind, aggregation) in METERS.items():
            meter(type_, type_, kind=kind, aggregation=aggregation)
        for first in range(0, len(mixed), size):
            house.record(*mixed[first : first + size])
        assert nonzero() == naive(events)
        transaction.set_rollback(True)


def test_batches_at_the_same_time_see_each_others_samples(fresh_database):
    house = world()
    meter("weighted", "weighted", aggregation="time_weighted")
    meter("counter", "counter", kind="cumulative")
    events = [
        sample(f"e{n:03}", n % 7 * (n if type_ == "counter" else 1), None, type=type_, subject=subject, time=at(n))
        for n in range(120)
        for type_ in ("weighted", "counter")
        for subject in ("C-1", "C-2")
    ]
    events = [event._replace(id=f"{event.id}/{event.type}/{event.subject}") for event in events]
    answers = fresh_database.at_once(
        *(
            partial(record, owner=house.provider, events=events[part::6][::step], at=NOW)
            for part in range(6)
            for step in (1, -1)
        )
    )
    assert sum(answer.counts["counted"] for answer in answers) == len(events)
    assert nonzero() == naive(events)


def test_more_series_than_locks_are_stored_all_the_same(house):
    meter("m", "t", kind="cumulative")
    for n in range(100):
        house.contract(f"N-{n}")
    events = [
        sample(f"{n}/{value}", value, type="t", subject=f"N-{n}", time=at(value))
        for n in range(100)
        for value in (1, 4)
    ]
    house.record(*events)
    assert nonzero() == {(f"N-{n}", "m", START): 3 for n in range(100)}


def test_the_meter_says_whether_its_readings_are_recomputed():
    folded = [(Meter.Kind.GAUGE, "sum"), (Meter.Kind.GAUGE, "max"), (Meter.Kind.DELTA, "count")]
    assert [Meter(kind=kind, aggregation=aggregation).is_series for kind, aggregation in folded] == 3 * [False]
    assert [Meter(kind=kind, aggregation=aggregation).is_series for kind, aggregation in METERS.values()] == 7 * [True]
