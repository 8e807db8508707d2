"""Batches at the same time: real threads, real commits."""

import random
from functools import partial

import pytest

from billing.models import Contract, EventProblem, EventSource, UsageEvent
from billing.usage import record, rematch
from tests.billing.usage_world import NOW, at, readings, sample, world


@pytest.fixture
def house(fresh_database):
    return world()


def shuffled(events, seed):
    events = list(events)
    random.Random(seed).shuffle(events)
    return events


def totals(recorded):
    return {outcome: sum(each.counts[outcome] for each in recorded) for outcome in recorded[0].counts}


def test_eight_threads_with_the_same_events_in_other_orders_count_each_once(house, fresh_database):
    events = [
        sample(f"{n:04}", n % 7, 100, time=at(n % 90), subject=f"C-{1 + n % 2}", source=f"s{n % 3}") for n in range(600)
    ]

    def send(seed):
        mixed = shuffled(events, seed)
        return [record(owner=house.provider, events=mixed[i : i + 150], at=NOW) for i in range(0, 600, 150)]

    answers = fresh_database.at_once(*(partial(send, seed) for seed in range(8)))
    assert totals([each for answer in answers for each in answer]) == {
        "counted": 600,
        "duplicate": 7 * 600,
        "conflict": 0,
        "unmatched": 0,
        "rejected": 0,
    }
    assert UsageEvent.objects.count() == 600
    assert sum(readings().values()) == sum(n % 7 * 100 for n in range(600))
    assert EventSource.objects.count() == 3


def test_eight_threads_that_send_the_same_wrong_events_in_other_orders_put_each_down_once(house, fresh_database):
    house.record(*(sample(f"{n}") for n in range(100)))
    wrong = [sample(f"{n}", "60" if n < 100 else "-1") for n in range(200)]

    def send(seed):
        mixed = shuffled(wrong, seed)
        return [record(owner=house.provider, events=mixed[i : i + 50], at=NOW) for i in range(0, 200, 50)]

    answers = fresh_database.at_once(*(partial(send, seed) for seed in range(8)))
    counts = totals([each for answer in answers for each in answer])
    assert (counts["conflict"], counts["rejected"]) == (800, 800)
    assert set(EventProblem.objects.values_list("times", flat=True)) == {8}
    assert EventProblem.objects.count() == 200


def test_of_rivals_at_the_same_time_one_counts_and_the_others_are_conflicts(house, fresh_database):
    def send(value):
        return record(owner=house.provider, events=[sample(f"{n}", value) for n in range(50)], at=NOW)

    answers = fresh_database.at_once(*(partial(send, value) for value in range(1, 9)))
    assert totals(answers) == {"counted": 50, "duplicate": 0, "conflict": 350, "unmatched": 0, "rejected": 0}
    assert sum(readings().values()) == sum(
        60 * int(value) for value in UsageEvent.objects.values_list("value", flat=True)
    )


def test_distinct_events_of_the_same_readings_are_all_counted(house, fresh_database):
    def send(sender):
        events = shuffled((sample(f"{sender}/{n}", 1, 1000, time=at(n)) for n in range(100)), sender)
        return record(owner=house.provider, events=events, at=NOW)

    answers = fresh_database.at_once(*(partial(send, sender) for sender in range(8)))
    assert totals(answers)["counted"] == 800
    assert sum(readings().values()) == 800 * 1000


def test_rematching_twice_at_once_beside_new_events_counts_each_once(house, fresh_database):
    late = [sample(f"late{n}", 1, time=at(n), subject="C-3") for n in range(300)]
    record(owner=house.provider, events=late, at=NOW)
    house.contract("C-3")
    news = [sample(f"new{n}", 1, time=at(n), subject="C-3") for n in range(300)]

    def send(seed):
        return record(owner=house.provider, events=shuffled(late + news, seed), at=NOW).counts["counted"]

    first, second, *counted = fresh_database.at_once(
        partial(rematch, at=NOW), partial(rematch, at=NOW), *(partial(send, seed) for seed in range(4))
    )
    assert (first.matched + second.matched, sum(counted)) == (300, 300)
    contract = Contract.objects.get(number="C-3")
    assert UsageEvent.objects.filter(contract=contract).count() == 600
    assert sum(readings().values()) == 600 * 60
