"""Gaps: times without a sample in force, longer than the meter allows."""

import pytest

from billing.gaps import gaps
from billing.models import Contract
from tests.billing.usage_world import START, at, meter, sample, world

pytestmark = pytest.mark.django_db


@pytest.fixture
def house():
    return world()


def found(until=60, **fields):
    """(meter, source, first minute, last minute, is_open) each."""
    return [
        (gap.meter, gap.source, *((each - START).total_seconds() / 60 for each in gap[4:6]), gap.is_open)
        for gap in gaps(start_at=START, end_at=at(until), **fields)
    ]


def test_a_gap_begins_where_the_last_sample_ends_and_ends_at_the_next(house):
    meter("m", "t", aggregation="time_weighted")
    house.record(*(sample(f"e{n}", 1, None, type="t", time=at(n)) for n in (0, 15, 40, 50)))
    assert found() == [("m", "aidc", 30, 40, False)]
    assert found(120) == [("m", "aidc", 30, 40, False), ("m", "aidc", 65, 120, True)]


def test_stated_lengths_leave_a_gap_only_where_samples_are_further_apart_than_allowed(house):
    house.record(*(sample(f"e{n}", 1, 60, time=at(n)) for n in (0, 2, 16, 32)))
    assert found(33) == [("gpu_hours", "aidc", 17, 32, False)]


def test_a_long_sample_covers_shorter_ones_after_it(house):
    house.record(sample("long", 1, 3600), sample("short", 1, 60, time=at(1)))
    assert found(70) == [("gpu_hours", "aidc", 60, 70, True)]


def test_each_source_has_its_own_gaps_and_other_meters_have_none(house):
    meter("jobs", "job.done", kind="delta", aggregation="count")
    meter("counter", "counter", kind="cumulative")
    house.record(
        *(
            sample(f"{type_}{n}", n, 60, type=type_, source=source, time=at(n))
            for type_ in ("gpu.sample", "job.done", "counter")
            for n, source in ((0, "a"), (30, "a"), (20, "b"))
        )
    )
    assert found(31) == [("gpu_hours", "a", 1, 30, False)]


def test_what_was_retracted_covers_nothing(house):
    house.record(*(sample(f"e{n}", 1, 900, time=at(n)) for n in (0, 15, 30)))
    assert found(45) == []
    house.record(sample("r")._replace(retracts="e15"))
    assert found(45) == [("gpu_hours", "aidc", 15, 30, False)]


def test_nothing_is_missed_after_the_contract(house):
    house.contract("C-SHORT", end_at=at(30))
    house.record(sample("e", 1, 60, subject="C-SHORT"))
    assert found() == [("gpu_hours", "aidc", 1, 30, True)]


def test_only_what_was_asked_for_is_told(house):
    house.record(sample("a"), sample("b", subject="C-2"))
    other = Contract.objects.get(number="C-2")
    assert [gap.contract for gap in gaps(start_at=START, end_at=at(60))] == ["C-1", "C-2"]
    assert [gap.contract for gap in gaps(start_at=START, end_at=at(60), contracts=[other.pk])] == ["C-2"]
    assert gaps(start_at=START, end_at=at(60), contracts=[]) == []
