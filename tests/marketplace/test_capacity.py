"""Taking, giving back and finding hours: exact answers, hour by hour."""

from datetime import datetime, timedelta, timezone

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Sum

from billing.integrity import NaiveInstantError, constraint_name
from marketplace import capacity
from marketplace.capacity import (
    DrainingError,
    InvalidHoursError,
    InvalidQuantityError,
    NotFreeError,
    NotTakenError,
    Window,
)
from marketplace.models import CapacityChange, CapacityPool, CapacitySlot
from tests.marketplace.pools import T0, at, make_pool, taken

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool():
    return make_pool(gpus=8)


def take(pool, quantity, first, last, **rest):
    capacity.take(pool=pool, quantity=quantity, start_at=at(first), end_at=at(last), **rest)


def release(pool, quantity, first, last):
    capacity.release(pool=pool, quantity=quantity, start_at=at(first), end_at=at(last))


def test_what_is_taken_stands_in_each_hour_of_the_span_and_in_no_other(pool):
    take(pool, 3, 0, 4)
    take(pool, 5, 2, 6)
    assert taken(pool) == {0: 3, 1: 3, 2: 8, 3: 8, 4: 5, 5: 5}
    assert {slot.capacity for slot in CapacitySlot.objects.all()} == {8}


def test_what_is_given_back_is_free_again_and_an_emptied_slot_says_so(pool):
    take(pool, 3, 0, 4)
    release(pool, 3, 1, 3)
    assert taken(pool) == {0: 3, 1: 0, 2: 0, 3: 3}
    assert capacity.free_by_hour(pools=[pool], start_at=at(0), end_at=at(5)) == {pool.pk: [5, 8, 8, 5, 8]}
    take(pool, 8, 1, 3)


def test_where_one_hour_is_short_none_is_taken_and_the_transaction_goes_on(pool):
    take(pool, 6, 2, 3)
    with pytest.raises(NotFreeError):
        take(pool, 3, 0, 5)
    assert taken(pool) == {2: 6}
    take(pool, 2, 0, 5)
    assert taken(pool) == {0: 2, 1: 2, 2: 8, 3: 2, 4: 2}


def test_a_refusal_says_what_and_names_the_nearest_windows_that_fit(pool):
    take(pool, 6, 2, 3)
    take(pool, 1, 8, 9)
    with pytest.raises(NotFreeError) as refused:
        take(pool, 3, 1, 4)
    error = refused.value
    assert (error.pool, error.quantity, error.start_at, error.end_at) == (pool, 3, at(1), at(4))
    assert error.windows == (Window(at(3), at(6), 8),)
    assert str(error) == (
        f"3 GPUs of pool {pool} are not free from 2026-07-01T01:00:00+00:00 to 2026-07-01T04:00:00+00:00; the nearest windows that"
        " fit: 2026-07-01T03:00:00+00:00 to 2026-07-01T06:00:00+00:00"
    )


def test_the_nearest_windows_may_begin_before_where_the_caller_permits_it(pool):
    take(pool, 6, 4, 5)
    take(pool, 6, 8, 9)
    with pytest.raises(NotFreeError) as refused:
        take(pool, 3, 3, 6, earliest_at=at(-0.5))
    assert [(one.start_at, one.free) for one in refused.value.windows] == [(at(1), 8), (at(5), 8), (at(9), 8)]


@pytest.mark.parametrize("gaps", [(2, 5, 9), (2, 80, 120), (200, 300, 719)], ids=["near", "near and far", "far"])
def test_the_nearest_windows_are_found_up_to_thirty_days_away(pool, gaps):
    taken_until = 0
    for gap in gaps:
        take(pool, 8, taken_until, gap)
        taken_until = gap + 1
    take(pool, 8, taken_until, 31 * 24)
    with pytest.raises(NotFreeError) as refused:
        take(pool, 1, 0, 1)
    assert [one.start_at for one in refused.value.windows] == [at(gap) for gap in gaps]


def test_a_refusal_says_so_when_nothing_fits(pool):
    CapacityPool.objects.filter(pk=pool.pk).update(drains_at=at(4))
    take(pool, 8, 1, 2)
    with pytest.raises(NotFreeError, match="the nearest windows that fit: none found") as refused:
        take(pool, 1, 1, 4)
    assert refused.value.windows == ()


@pytest.mark.parametrize(
    ("start_at", "end_at", "said"),
    [
        (T0, T0, "expected 1 to 8784 hours after start_at"),
        (T0, T0 - timedelta(hours=1), "expected 1 to 8784 hours after start_at"),
        (T0, T0 + timedelta(hours=8785), "expected 1 to 8784 hours after start_at"),
        (T0 + timedelta(minutes=15), T0 + timedelta(hours=2), "start_at is .*00:15.*: expected a whole hour, such as"),
        (T0, T0 + timedelta(hours=2, microseconds=1), "end_at is .*: expected a whole hour"),
        (
            datetime(2026, 7, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            datetime(2026, 7, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            r"expected a whole hour, such as 2026-06-30T18:00:00\+00:00",
        ),
    ],
)
def test_spans_are_whole_hours_in_utc(pool, start_at, end_at, said):
    for verb in (capacity.take, capacity.release):
        with pytest.raises(InvalidHoursError, match=said):
            verb(pool=pool, quantity=1, start_at=start_at, end_at=end_at)
    assert taken(pool) == {}


def test_spans_may_be_told_in_any_zone_of_whole_hours(pool):
    shanghai = timezone(timedelta(hours=8))
    capacity.take(pool=pool, quantity=1, start_at=at(0).astimezone(shanghai), end_at=at(2).astimezone(shanghai))
    assert taken(pool) == {0: 1, 1: 1}


def test_times_have_their_offset(pool):
    with pytest.raises(
        NaiveInstantError, match="start_at is 2026-07-01T00:00:00: expected an instant with its UTC offset"
    ):
        capacity.take(pool=pool, quantity=1, start_at=datetime(2026, 7, 1), end_at=at(2))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("quantity", "said"), [(0, "at least 1 GPU"), (-1, "at least 1 GPU"), (9, "1 to 8 GPUs, as many")]
)
def test_quantities_are_from_one_to_all_that_the_pool_has(pool, quantity, said):
    with pytest.raises(InvalidQuantityError, match=f"quantity is {quantity}: expected {said}"):
        take(pool, quantity, 0, 1)


def test_nobody_gives_back_what_is_not_taken(pool):
    take(pool, 3, 0, 2)
    with (
        pytest.raises(NotTakenError, match=r"quantity is 3: expected as many taken .*, and 1 of 3 hours have fewer"),
        transaction.atomic(),
    ):
        release(pool, 3, 0, 3)
    with pytest.raises(NotTakenError, match="quantity is 4"), transaction.atomic():
        release(pool, 4, 0, 2)
    assert taken(pool) == {0: 3, 1: 3}


def test_the_database_itself_refuses_more_than_is_there(pool):
    take(pool, 3, 0, 1)
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        CapacitySlot.objects.filter(pool=pool).update(taken=9)
    assert constraint_name(refused.value) == "capacity_slot_not_overbooked"


def test_a_draining_pool_gives_what_ends_before_and_nothing_later(pool):
    take(pool, 2, 3, 6)
    capacity.drain(pool=pool, from_at=at(4), at=at(0), actor="user:1")
    take(pool, 1, 2, 4)
    with pytest.raises(
        DrainingError, match=r"drains from 2026-07-01T04:00:00\+00:00: expected an end until then"
    ) as refused:
        take(pool, 1, 3, 5)
    assert refused.value.drains_at == at(4)
    assert capacity.free_by_hour(pools=[pool], start_at=at(2), end_at=at(7)) == {pool.pk: [7, 5, 0, 0, 0]}
    release(pool, 2, 3, 6)
    row = CapacityPool.objects.get(pk=pool.pk)
    assert (row.drains_at, row.drain_actor) == (at(4), "user:1")
    capacity.undrain(pool=pool, at=at(0), actor="user:2")
    take(pool, 8, 4, 6)
    row.refresh_from_db()
    assert (row.drains_at, row.drain_actor) == (None, "user:2")


def test_a_drain_begins_at_a_whole_hour_that_is_not_over(pool):
    with pytest.raises(InvalidHoursError, match=r"expected 2026-07-01T05:00:00.* or later, since what is over stays"):
        capacity.drain(pool=pool, from_at=at(4), at=at(5.5), actor="test")
    assert capacity.drain(pool=pool, from_at=at(5), at=at(5.5), actor="test").drains_at == at(5)


# What is free


def test_free_hours_of_many_pools_are_one_query(django_assert_num_queries):
    pools = [make_pool(gpus=8 * number) for number in (1, 2, 3)]
    take(pools[0], 8, 1, 2)
    take(pools[1], 3, 0, 3)
    expected = {pools[0].pk: [8, 0, 8], pools[1].pk: [13, 13, 13], pools[2].pk: [24, 24, 24]}
    for count in (1, 3):
        with django_assert_num_queries(1):
            found = capacity.free_by_hour(pools=pools[:count], start_at=at(0), end_at=at(3))
        assert found == {pool.pk: expected[pool.pk] for pool in pools[:count]}


def find(pool, quantity, hours, first, last, **rest):
    windows = capacity.find_windows(
        pool=pool, quantity=quantity, hours=hours, earliest_at=at(first), latest_at=at(last), **rest
    )
    return [((one.start_at - T0) // capacity.HOUR, (one.end_at - T0) // capacity.HOUR, one.free) for one in windows]


def test_windows_are_the_first_that_fit_and_do_not_overlap(pool, django_assert_num_queries):
    take(pool, 6, 3, 4)
    take(pool, 4, 5, 9)
    with django_assert_num_queries(1):
        found = find(pool, 3, 2, 0, 10)
    assert found == [(0, 2, 8), (4, 6, 4), (6, 8, 4), (8, 10, 4)]
    assert find(pool, 3, 2, 0, 10, limit=2) == [(0, 2, 8), (4, 6, 4)]
    assert find(pool, 8, 3, 0, 10) == [(0, 3, 8)]
    assert find(pool, 8, 3, 0, 12) == [(0, 3, 8), (9, 12, 8)]
    assert find(pool, 8, 4, 0, 12) == []


def test_windows_end_where_the_pool_drains(pool):
    capacity.drain(pool=pool, from_at=at(4), at=at(0), actor="test")
    assert find(pool, 1, 2, 1, 9) == [(1, 3, 8)]


def test_windows_of_less_than_one_hour_or_gpu_are_refused(pool):
    with pytest.raises(InvalidHoursError, match="hours is 0: expected at least 1"):
        find(pool, 1, 0, 0, 2)
    with pytest.raises(InvalidQuantityError):
        find(pool, 0, 1, 0, 2)


# How much there is


def set_capacity(pool, gpus, from_hour, now=0, cause="lost a rack"):
    return capacity.set_capacity(pool=pool, gpus=gpus, from_at=at(from_hour), cause=cause, at=at(now), actor="user:1")


def free(pool, first, last):
    return capacity.free_by_hour(pools=[pool], start_at=at(first), end_at=at(last))[pool.pk]


def test_capacity_from_a_date_holds_in_hours_with_and_without_a_slot(pool):
    take(pool, 1, 3, 6)
    assert set_capacity(pool, 12, 4) is None
    assert free(pool, 2, 8) == [8, 7, 11, 11, 12, 12]
    take(pool, 12, 100, 102)
    with pytest.raises(NotFreeError):
        take(pool, 9, 2, 5)
    pool.refresh_from_db()
    assert pool.gpus == 8


def test_a_planned_change_stays_when_another_is_made_before_it_and_the_same_hour_again_replaces_it(pool):
    set_capacity(pool, 16, 10)
    set_capacity(pool, 4, 2)
    assert free(pool, 0, 12) == [8, 8, 4, 4, 4, 4, 4, 4, 4, 4, 16, 16]
    set_capacity(pool, 6, 2)
    assert free(pool, 1, 11) == [8, 6, 6, 6, 6, 6, 6, 6, 6, 16]
    rows = list(CapacityChange.objects.values_list("from_at", "gpus", "cause", "actor"))
    assert rows == [
        (capacity.EPOCH, 8, "", "user:1"),
        (at(2), 6, "lost a rack", "user:1"),
        (at(10), 16, "lost a rack", "user:1"),
    ]


def test_the_pool_says_what_is_there_now_and_the_watch_turns_it_when_a_change_comes(pool):
    set_capacity(pool, 16, 10)
    set_capacity(pool, 4, 2, now=2.5)
    pool.refresh_from_db()
    assert pool.gpus == 4
    capacity.watch(at=at(9.9))
    pool.refresh_from_db()
    assert pool.gpus == 4
    capacity.watch(at=at(10))
    pool.refresh_from_db()
    assert pool.gpus == 16


def test_capacity_is_not_changed_in_hours_that_are_over_nor_below_none(pool):
    with pytest.raises(InvalidHoursError):
        set_capacity(pool, 4, 2, now=3)
    with pytest.raises(InvalidQuantityError, match="gpus is -1: expected 0 or more"):
        set_capacity(pool, -1, 2)
    assert CapacityChange.objects.count() == 0


def test_slots_that_say_something_else_than_what_is_live_are_found(pool):
    take(pool, 3, 0, 2)
    assert [(one.pool_id, one.hour, one.capacity, one.taken, one.wanted) for one in capacity.mismatches()] == [
        (pool.pk, at(0), 8, 3, 0),
        (pool.pk, at(1), 8, 3, 0),
    ]
    assert [one.hour for one in capacity.mismatches(from_at=at(1))] == [at(1)]
    assert CapacitySlot.objects.aggregate(Sum("taken"))["taken__sum"] == 6


def test_whole_hours():
    assert (
        capacity.hour_of(at(2.5)),
        capacity.hour_of(at(2)),
        capacity.next_hour(at(2.5)),
        capacity.next_hour(at(2)),
    ) == (
        at(2),
        at(2),
        at(3),
        at(2),
    )
