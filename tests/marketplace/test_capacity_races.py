"""Capacity under real threads, deadlocks that are tried again, and any order of steps."""

import random
import threading
import time

import pytest
from django.db import OperationalError, connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from marketplace import capacity, retry
from marketplace.capacity import DrainingError, NotFreeError, TakenError
from marketplace.models import CapacityPool, CapacitySlot, Incident, Maintenance
from tests.billing.waiting import PATIENCE_SECONDS, is_someone_waiting_for_a_lock, wait_for
from tests.marketplace.pools import at, make_pool, slots, taken

HOURS = 48
STEPS = 60


@capacity.retrying
def take(pool, quantity, first, last):
    with transaction.atomic():
        capacity.take(pool=pool, quantity=quantity, start_at=at(first), end_at=at(last))


@capacity.retrying
def move(pool, quantity, old, new):
    """Give one span back and take another in one transaction, in no common order: what can block each other."""
    with transaction.atomic():
        capacity.release(pool=pool, quantity=quantity, start_at=at(old[0]), end_at=at(old[1]))
        capacity.take(pool=pool, quantity=quantity, start_at=at(new[0]), end_at=at(new[1]))


@capacity.retrying
def release(pool, quantity, first, last):
    with transaction.atomic():
        capacity.release(pool=pool, quantity=quantity, start_at=at(first), end_at=at(last))


class Hammer:
    """One thread's random steps. `live`: what it has taken, to compare with the slots at the end."""

    def __init__(self, pools, seed):
        self.pools, self.random, self.live, self.done = pools, random.Random(seed), [], 0

    def span(self):
        first = self.random.randrange(HOURS - 1)
        return first, self.random.randint(first + 1, min(HOURS, first + 12))

    def take(self):
        pool, quantity, span = self.random.choice(self.pools), self.random.randint(1, 4), self.span()
        take(pool, quantity, *span)
        self.live.append((pool, quantity, *span))

    def release(self):
        if self.live:
            release(*self.live.pop(self.random.randrange(len(self.live))))

    def move(self):
        if self.live:
            place, span = self.random.randrange(len(self.live)), self.span()
            pool, quantity, *old = self.live[place]
            move(pool, quantity, old, span)
            self.live[place] = (pool, quantity, *span)

    def set_capacity(self):
        capacity.set_capacity(
            pool=self.random.choice(self.pools),
            gpus=self.random.randint(8, 24),
            from_at=at(self.random.randrange(HOURS)),
            cause="test",
            at=at(0),
            actor="test",
        )

    def maintain(self):
        first, last = self.span()
        maintenance = capacity.plan_maintenance(
            pool=self.random.choice(self.pools),
            quantity=self.random.randint(1, 4),
            start_at=at(first),
            end_at=at(last),
            reason=str(self.random.random()),
            at=at(0),
            actor="test",
            force=self.random.random() < 0.3,
        )
        if self.random.random() < 0.5:
            end = capacity.finish_maintenance if first < 6 else capacity.cancel_maintenance
            end(maintenance=maintenance, at=at(first if first < 6 else 0), actor="test")

    def drain(self):
        pool = self.random.choice(self.pools)
        capacity.drain(pool=pool, from_at=at(self.random.randrange(HOURS)), at=at(0), actor="test")
        capacity.undrain(pool=pool, at=at(0), actor="test")

    def watch(self):
        capacity.watch(at=at(0))

    def run(self):
        steps = [self.take] * 16 + [self.release] * 6 + [self.move]
        steps += [self.set_capacity, self.maintain, self.drain, self.watch]
        for _ in range(STEPS):
            try:
                self.random.choice(steps)()
            except (NotFreeError, DrainingError, TakenError):
                continue
            self.done += 1
        return self


def expected(hammers):
    """(pool, hour) to the sum of all that is live: by what the threads say they have, and the maintenance."""
    sums = {}
    live = [each for hammer in hammers for each in hammer.live]
    live += [
        (row.pool, row.quantity, *((edge - at(0)) // capacity.HOUR for edge in (row.start_at, row.end_at)))
        for row in Maintenance.objects.exclude(state="cancelled").select_related("pool")
    ]
    for pool, quantity, first, last in live:
        for hour in range(first, last):
            sums[pool.pk, hour] = sums.get((pool.pk, hour), 0) + quantity
    return sums


def test_sixteen_threads_on_two_pools_overbook_no_hour_and_lose_none(fresh_database):
    pools = [make_pool(gpus=16), make_pool(gpus=16)]
    hammers = [Hammer(pools, seed) for seed in range(16)]
    assert fresh_database.at_once(*[hammer.run for hammer in hammers]) == hammers
    assert sum(hammer.done for hammer in hammers) > 300
    found = {(pool.pk, hour): number for pool in pools for hour, number in taken(pool).items() if number}
    assert found == expected(hammers)
    capacity.watch(at=at(0))
    over = [slot for slot in CapacitySlot.objects.all() if slot.shortfall != max(slot.taken - slot.capacity, 0)]
    assert over == []
    for pool in pools:
        short = [hour for hour, (_, _, shortfall) in slots(pool).items() if shortfall]
        incidents = list(Incident.objects.filter(pool=pool, closed_at=None).values_list("start_at", "end_at"))
        assert incidents == ([(at(min(short)), at(max(short) + 1))] if short else [])


def test_a_change_of_capacity_waits_for_those_who_take_and_is_seen_by_those_who_come_later(fresh_database):
    pool = make_pool(gpus=8)
    has_taken, may_end = threading.Event(), threading.Event()

    def slow():
        with transaction.atomic():
            capacity.take(pool=pool, quantity=6, start_at=at(0), end_at=at(2))
            has_taken.set()
            assert may_end.wait(PATIENCE_SECONDS)

    def change():
        assert has_taken.wait(PATIENCE_SECONDS)
        return capacity.set_capacity(pool=pool, gpus=4, from_at=at(0), cause="x", at=at(0), actor="test")

    def late():
        assert has_taken.wait(PATIENCE_SECONDS)
        while not _waiting():
            time.sleep(0.01)
        threading.Timer(0.2, may_end.set).start()
        take(pool, 2, 1, 3)

    _, incident, refused = fresh_database.at_once(slow, change, late)
    assert (incident.start_at, incident.end_at, incident.quantity) == (at(0), at(2), 2)
    assert isinstance(refused, NotFreeError)
    assert slots(pool) == {0: (4, 6, 2), 1: (4, 6, 2)}


def test_where_another_makes_a_slot_too_full_at_the_same_moment_what_was_taken_goes_back(fresh_database):
    """Neither has a slot in any hour, and the second one comes to the first one's hour last."""
    pool, has_taken = make_pool(gpus=8), threading.Event()

    def first():
        with transaction.atomic():
            capacity.take(pool=pool, quantity=6, start_at=at(2), end_at=at(3))
            has_taken.set()
            wait_for(is_someone_waiting_for_a_lock)

    def second():
        assert has_taken.wait(PATIENCE_SECONDS)
        with transaction.atomic():
            with pytest.raises(NotFreeError):
                capacity.take(pool=pool, quantity=4, start_at=at(0), end_at=at(3))
            capacity.take(pool=pool, quantity=2, start_at=at(1), end_at=at(3))

    assert fresh_database.at_once(first, second) == [None, None]
    assert taken(pool) == {0: 0, 1: 2, 2: 8}


def test_one_who_counts_on_from_what_another_gave_back_is_not_refused(fresh_database):
    """What he sees when he begins would be too much together with his own."""
    pool, has_freed = make_pool(gpus=8), threading.Event()
    take(pool, 8, 0, 1)

    def first():
        with transaction.atomic():
            capacity.release(pool=pool, quantity=5, start_at=at(0), end_at=at(1))
            has_freed.set()
            wait_for(is_someone_waiting_for_a_lock)

    def second():
        assert has_freed.wait(PATIENCE_SECONDS)
        take(pool, 5, 0, 1)

    assert fresh_database.at_once(first, second) == [None, None]
    assert taken(pool) == {0: 8}


def _waiting():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return cursor.fetchone()[0]


# Deadlocks


def _blocking(pool, order, barrier, tries):
    """Take two hours in the given order, and between them wait for the other who takes them in the other order."""

    def verb():
        tries.append(order)
        with transaction.atomic():
            capacity.take(pool=pool, quantity=1, start_at=at(order[0]), end_at=at(order[0] + 1))
            if len(tries) <= 2:
                barrier.wait(PATIENCE_SECONDS)
            capacity.take(pool=pool, quantity=1, start_at=at(order[1]), end_at=at(order[1] + 1))

    return verb


def test_two_who_block_each_other_both_get_through_when_tried_again(fresh_database):
    pool, barrier, tries = make_pool(gpus=8), threading.Barrier(2), []
    verbs = [_blocking(pool, order, barrier, tries) for order in ((0, 1), (1, 0))]
    assert fresh_database.at_once(*[capacity.retrying(verb) for verb in verbs]) == [None, None]
    assert taken(pool) == {0: 2, 1: 2}
    assert len(tries) == 3


def test_without_it_one_of_them_fails_and_nothing_of_it_stays(fresh_database):
    pool, barrier, tries = make_pool(gpus=8), threading.Barrier(2), []
    results = fresh_database.at_once(*[_blocking(pool, order, barrier, tries) for order in ((0, 1), (1, 0))])
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "OperationalError"]
    assert taken(pool) == {0: 1, 1: 1}


@pytest.mark.django_db
def test_within_a_transaction_nothing_is_tried_again(monkeypatch):
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0)
    tries = []

    @capacity.retrying
    def fails(said, code):
        tries.append(said)
        with connection.cursor() as cursor:
            cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION '{said}' USING ERRCODE = '{code}'; END $$")

    for said, code in (("the disk is full", "53100"), ("deadlock", "40P01")):
        with pytest.raises(OperationalError, match=said), transaction.atomic():
            fails(said, code)
    assert tries == ["the disk is full", "deadlock"]


def test_what_is_no_deadlock_is_not_tried_again(fresh_database):
    tries = []

    @capacity.retrying
    def fails():
        tries.append(1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$")

    with pytest.raises(OperationalError, match="full"):
        fails()
    assert len(tries) == 1


def test_a_verb_is_tried_eight_times_and_no_more(fresh_database, monkeypatch):
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0)
    tries = []

    @capacity.retrying
    def always():
        tries.append(1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$")

    with pytest.raises(OperationalError, match="again"):
        always()
    assert len(tries) == 8


def test_capacity_is_taken_and_given_back_within_a_transaction_only(fresh_database):
    pool = make_pool(gpus=8)
    for verb in (capacity.take, capacity.release):
        with pytest.raises(transaction.TransactionManagementError, match="within the caller's transaction"):
            verb(pool=pool, quantity=1, start_at=at(0), end_at=at(1))
    assert taken(pool) == {}


# Any order of steps

SPANS = st.tuples(st.integers(0, 9), st.integers(1, 6)).map(lambda span: (span[0], span[0] + span[1]))
QUANTITIES = st.integers(1, 5)


class Steps(RuleBasedStateMachine):
    """A model in plain dictionaries beside the slots: they agree after each step."""

    @initialize()
    def begin(self):
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.pool = make_pool(gpus=8)
        self.there, self.live, self.drains = {0: 8}, [], None

    def teardown(self):
        if hasattr(self, "atomic"):
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    def capacity_in(self, hour):
        return self.there[max(begin for begin in self.there if begin <= hour)]

    def taken_in(self, hour):
        return sum(quantity for quantity, first, last in self.live if first <= hour < last)

    def fits(self, quantity, span, *, drains=True):
        return all(
            self.taken_in(hour) + quantity <= self.capacity_in(hour)
            and not (drains and self.drains is not None and hour >= self.drains)
            for hour in range(*span)
        )

    @rule(quantity=QUANTITIES, span=SPANS)
    def take(self, quantity, span):
        try:
            capacity.take(pool=self.pool, quantity=quantity, start_at=at(span[0]), end_at=at(span[1]))
        except (NotFreeError, DrainingError, capacity.InvalidQuantityError) as error:
            assert not self.fits(quantity, span)
            for window in getattr(error, "windows", ()):
                first, last = ((edge - at(0)) // capacity.HOUR for edge in (window.start_at, window.end_at))
                assert (last - first, first >= span[0]) == (span[1] - span[0], True)
                assert self.fits(quantity, (first, last))
        else:
            assert self.fits(quantity, span)
            self.live.append((quantity, *span))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def release(self, data):
        quantity, first, last = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        middle = data.draw(st.integers(first, last - 1))
        capacity.release(pool=self.pool, quantity=quantity, start_at=at(middle), end_at=at(last))
        if middle > first:
            self.live.append((quantity, first, middle))

    @rule(gpus=st.integers(0, 12), hour=st.integers(0, 14))
    def set_capacity(self, gpus, hour):
        self.there[hour] = gpus
        capacity.set_capacity(pool=self.pool, gpus=gpus, from_at=at(hour), cause="x", at=at(0), actor="test")

    @rule(quantity=QUANTITIES, span=SPANS, force=st.booleans())
    def maintain(self, quantity, span, force):
        try:
            capacity.plan_maintenance(
                pool=self.pool,
                quantity=quantity,
                start_at=at(span[0]),
                end_at=at(span[1]),
                reason=f"m{Maintenance.objects.count()}",
                at=at(0),
                actor="test",
                force=force,
            )
        except (TakenError, capacity.InvalidQuantityError):
            assert not self.fits(quantity, span, drains=False)
        else:
            assert force or self.fits(quantity, span, drains=False)
            self.live.append((quantity, *span))

    @rule(hour=st.none() | st.integers(0, 14))
    def drain(self, hour):
        self.drains = hour
        if hour is None:
            capacity.undrain(pool=self.pool, at=at(0), actor="test")
        else:
            capacity.drain(pool=self.pool, from_at=at(hour), at=at(0), actor="test")

    @invariant()
    def slots_say_what_is_live(self):
        if not hasattr(self, "pool"):
            return
        found = slots(self.pool)
        short = set()
        free = []
        for hour in range(16):
            there, live = self.capacity_in(hour), self.taken_in(hour)
            assert found.get(hour, (there, 0, 0)) == (there, live, max(live - there, 0))
            free.append(0 if self.drains is not None and hour >= self.drains else max(there - live, 0))
            short |= {hour} if live > there else set()
        assert capacity.free_by_hour(pools=[self.pool], start_at=at(0), end_at=at(16))[self.pool.pk] == free
        assert CapacityPool.objects.get(pk=self.pool.pk).gpus == self.capacity_in(0)
        capacity.watch(at=at(0))
        named = list(Incident.objects.filter(closed_at=None).values_list("start_at", "end_at"))
        assert named == ([(at(min(short)), at(max(short) + 1))] if short else [])


@pytest.mark.django_db
def test_whatever_the_order_of_steps_slots_say_what_is_live():
    run_state_machine_as_test(
        Steps,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
