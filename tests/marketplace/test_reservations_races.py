"""Reservations by many at once: each test has a committed database and real threads."""

from functools import partial
from uuid import UUID

import pytest
from django.db import connections
from django.db.models import F

from benchmarks import reservations as bench
from marketplace import capacity, reservations
from marketplace.models import CapacitySlot, Project, Quote, Reservation
from tests.marketplace.booking import AT, HOUR, START, make_market, months, spans, taken


def test_two_clicks_at_once_make_one_reservation_also_where_the_budget_has_room_for_one(fresh_database):
    market = make_market()
    quote = market.quote(project=market.project(monthly_limit_minor=80_000))
    results = fresh_database.at_once(*[partial(reservations.hold, quote=quote, at=AT, actor="user:1")] * 6)
    assert results == [Reservation.objects.get()] * 6
    assert taken(market.pool) == [8] * 10


def test_holds_at_once_do_not_slip_under_the_limit_together(fresh_database):
    market = make_market()
    project = market.project(monthly_limit_minor=239_999)  # room for two of 800.00
    quotes = [market.quote(project=project) for _ in range(6)]
    results = fresh_database.at_once(
        *[partial(reservations.hold, quote=quote, at=AT, actor="user:1") for quote in quotes]
    )
    assert sorted(type(each).__name__ for each in results) == ["BudgetExceededError"] * 4 + ["Reservation"] * 2
    assert reservations.spent(project=project, month="2020-05") == 160_000
    assert taken(market.pool) == [16] * 10


def test_a_limit_that_is_set_at_the_same_time_is_seen_by_the_next_hold(fresh_database):
    market = make_market()
    project = market.project(monthly_limit_minor=None)
    quote = market.quote(project=project)
    Project.objects.filter(pk=project.pk).update(monthly_limit_minor=1)
    (result,) = fresh_database.at_once(partial(reservations.hold, quote=quote, at=AT, actor="user:1"))
    assert isinstance(result, reservations.BudgetExceededError)


def test_confirmed_and_cancelled_and_expired_at_once_it_ends_one_way(fresh_database):
    market = make_market()
    rows = [market.held() for _ in range(6)]
    late = AT + 15 * HOUR / 60
    for row in rows:
        results = fresh_database.at_once(
            partial(reservations.confirm, reservation=row, at=AT, actor="user:1"),
            partial(reservations.cancel, reservation=row, at=AT, actor="user:2"),
            partial(reservations.confirm, reservation=row, at=AT, actor="user:3"),
        )
        assert {type(each).__name__ for each in results} <= {"Reservation", "WrongStateError"}
        state = Reservation.objects.get(pk=row.pk).state
        assert state == "cancelled"  # before or after it was confirmed
        assert months(row) == {"2020-05": (0, 0)}
    assert reservations.expire(at=late) == 0
    assert (taken(market.pool), spans()) == ([0] * 10, [])
    assert capacity.mismatches(from_at=AT) == []


def test_a_sweep_that_runs_twice_at_once_does_each_thing_once(fresh_database):
    market = make_market()
    for _ in range(4):
        market.held()
    late = AT + HOUR
    results = fresh_database.at_once(*[partial(reservations.expire, at=late)] * 3)
    assert sum(results) == 4
    assert taken(market.pool) == [0] * 10
    reservations.join_waitlist(
        offering=market.offering,
        organization=market.sun,
        quantity=8,
        hours=10,
        earliest_at=START,
        latest_at=START,
        max_net_minor=80_000,
        at=late,
        actor="user:1",
    )
    results = fresh_database.at_once(*[partial(reservations.offer_from_waitlist, at=late)] * 3)
    assert sum(results) == 1
    assert taken(market.pool) == [8] * 10


def test_the_same_extension_twice_at_once_is_taken_once(fresh_database):
    market = make_market()
    row = market.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 14 * HOUR, at=AT, actor="user:1")
    results = fresh_database.at_once(*[partial(reservations.extend, quote=quote, at=AT, actor="user:1")] * 4)
    assert results == [row] * 4
    assert taken(market.pool, START, 15) == [8] * 14 + [0]
    assert spans() == [(1, 8, 0, 10), (2, 8, 10, 14)]
    assert months(row) == {"2020-05": (112_000, 0)}


def test_first_confirmations_at_once_open_one_account(fresh_database):
    market = make_market()
    rows = [market.held() for _ in range(4)]
    results = fresh_database.at_once(
        *[partial(reservations.confirm, reservation=row, at=AT, actor="user:1") for row in rows]
    )
    assert {row.contract_id for row in results} == {results[0].contract_id}
    assert len(spans()) == 4


def test_four_hundred_attempts_by_sixteen_threads_leave_slots_contracts_and_months_right(fresh_database):
    plans = bench.make(attempts=400, workers=16)
    results = fresh_database.at_once(*[partial(bench.work, plan) for plan in plans])
    assert [each for each in results if isinstance(each, Exception)] == []
    done = bench.total(results)
    assert (len(done.took), done.unretried) == (400, 0)
    assert {kind for kind, what in done.outcomes if what == "done"} == set(bench.SHARES)
    assert bench.wrong() == {
        "slots_over_capacity": 0,
        "slots_not_matching": 0,
        "spans_not_matching": 0,
        "months_not_matching_minor": 0,
    }
    assert CapacitySlot.objects.filter(taken__gt=0, taken__lte=F("capacity")).exists()
    connections.close_all()


def test_what_one_worker_raises_ends_the_benchmark(fresh_database):
    plans = bench.make(attempts=12, workers=6)
    plans[4].quotes[:] = [UUID(int=0)] * 2
    with pytest.raises(Quote.DoesNotExist, match="no quote 00000000-0000-0000-0000-000000000000"):
        bench.race(plans)
    connections.close_all()
