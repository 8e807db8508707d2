"""Corrections at the same time: real threads, real commits."""

from functools import partial

from billing.models import Correction
from billing.usage import record
from tests.billing.test_meters import nonzero
from tests.billing.usage_world import NOW, START, at, meter, sample, world


def test_of_rival_corrections_at_the_same_time_one_counts(fresh_database):
    house = world()
    record(owner=house.provider, events=[sample(f"e{n}", 1) for n in range(50)], at=NOW)

    def send(rival):
        events = [sample(f"{rival}/{n}", 2)._replace(amends=f"e{n}") for n in range(50)]
        return record(owner=house.provider, events=events[:: rival % 2 * 2 - 1], at=NOW)

    answers = fresh_database.at_once(*(partial(send, rival) for rival in range(6)))
    assert sum(answer.counts["counted"] for answer in answers) == 50
    assert sum(answer.counts["rejected"] for answer in answers) == 250
    assert Correction.objects.count() == 50
    assert nonzero() == {("C-1", "gpu_hours", START): 50 * 2 * 60}


def test_corrections_beside_new_events_of_new_sources_and_series_end(fresh_database):
    house = world()
    meter("counter", "counter", kind="cumulative")
    record(owner=house.provider, events=[sample(f"e{n}", 1) for n in range(40)], at=NOW)

    def new(sender):
        events = [sample(f"{n}", 1, time=at(n), source=f"new {n % 5}") for n in range(40)]
        counters = [sample(f"c{sender}/{n}", n, type="counter", time=at(n)) for n in range(40)]
        return [record(owner=house.provider, events=(events + counters)[n::4], at=NOW) for n in range(4)]

    def correct(part):
        return [
            record(owner=house.provider, events=[sample(f"a{n}", 3)._replace(amends=f"e{n}")], at=NOW)
            for n in range(part, 40, 3)
        ]

    answers = fresh_database.at_once(
        *(partial(new, n) for n in range(3)), *(partial(correct, part) for part in range(3))
    )
    assert [type(answer) for answer in answers] == 6 * [list]
    assert nonzero()["C-1", "gpu_hours", START] == 40 * 180 + 15 * 60
    assert sum(quantity for key, quantity in nonzero().items() if key[1] == "counter") == 39
