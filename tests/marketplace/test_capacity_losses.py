"""Less capacity than is taken, maintenance, outages: what is named, and when it is over."""

import pytest
from django.db import transaction

from marketplace import capacity
from marketplace.capacity import (
    InvalidHoursError,
    InvalidQuantityError,
    MaintenanceOverError,
    NotFreeError,
    ShortfallStaysError,
    TakenError,
)
from marketplace.models import Incident, Maintenance
from tests.marketplace.pools import at, make_pool, slots, taken

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool():
    return make_pool(gpus=8)


def take(pool, quantity, first, last):
    capacity.take(pool=pool, quantity=quantity, start_at=at(first), end_at=at(last))


def release(pool, quantity, first, last):
    capacity.release(pool=pool, quantity=quantity, start_at=at(first), end_at=at(last))


def set_capacity(pool, gpus, from_hour, now=0, cause="lost a rack"):
    return capacity.set_capacity(pool=pool, gpus=gpus, from_at=at(from_hour), cause=cause, at=at(now), actor="user:1")


def facts(incident):
    incident.refresh_from_db()
    return {
        "hours": (incident.start_at, incident.end_at),
        "gpus": incident.quantity,
        "cause": incident.cause,
        "closed": (incident.closed_at, incident.closed_by),
    }


# Shortfalls


def test_capacity_that_falls_below_what_is_taken_is_named_by_one_open_incident(pool):
    take(pool, 3, 0, 6)
    take(pool, 4, 3, 5)
    incident = set_capacity(pool, 5, 2)
    assert slots(pool) == {0: (8, 3, 0), 1: (8, 3, 0), 2: (5, 3, 0), 3: (5, 7, 2), 4: (5, 7, 2), 5: (5, 3, 0)}
    assert facts(incident) == {
        "hours": (at(3), at(5)),
        "gpus": 2,
        "cause": "lost a rack",
        "closed": (None, ""),
    }
    assert (incident.kind, incident.opened_at, incident.actor) == ("shortfall", at(0), "user:1")
    again = set_capacity(pool, 2, 5, cause="lost another rack")
    assert again == incident
    assert facts(incident) == {
        "hours": (at(3), at(6)),
        "gpus": 2,
        "cause": "lost another rack",
        "closed": (None, ""),
    }


def test_where_gpus_are_missing_nothing_more_is_taken(pool):
    take(pool, 7, 3, 5)
    set_capacity(pool, 5, 2)
    with pytest.raises(NotFreeError):
        take(pool, 1, 4, 5)
    assert capacity.free_by_hour(pools=[pool], start_at=at(2), end_at=at(6)) == {pool.pk: [5, 0, 0, 5]}


def test_capacity_that_rises_again_closes_the_incident(pool):
    take(pool, 7, 3, 6)
    incident = set_capacity(pool, 5, 0)
    assert set_capacity(pool, 7, 4, now=1) == incident
    assert facts(incident)["hours"] == (at(3), at(4))
    assert set_capacity(pool, 8, 3, now=2) is None
    assert facts(incident) == {
        "hours": (at(3), at(4)),
        "gpus": 2,
        "cause": "lost a rack",
        "closed": (at(2), "user:1"),
    }
    assert {slot[2] for slot in slots(pool).values()} == {0}


def test_hours_given_back_shrink_the_shortfall_and_the_watch_closes_the_incident(pool):
    take(pool, 4, 3, 6)
    take(pool, 3, 3, 6)
    incident = set_capacity(pool, 5, 0)
    release(pool, 3, 3, 5)
    assert slots(pool) == {3: (5, 4, 0), 4: (5, 4, 0), 5: (5, 7, 2)}
    capacity.watch(at=at(1))
    assert facts(incident)["hours"] == (at(5), at(6))
    release(pool, 3, 5, 6)
    capacity.watch(at=at(2))
    assert facts(incident)["closed"] == (at(2), "task:capacity")
    capacity.watch(at=at(3))
    assert facts(incident)["closed"] == (at(2), "task:capacity")


def test_a_shortfall_ends_with_its_last_hour_and_keeps_naming_the_hours_that_were_short(pool):
    take(pool, 7, 3, 6)
    incident = set_capacity(pool, 5, 0)
    capacity.watch(at=at(5.9))
    assert facts(incident)["closed"] == (None, "")
    capacity.watch(at=at(6))
    assert facts(incident) == {
        "hours": (at(3), at(6)),
        "gpus": 2,
        "cause": "lost a rack",
        "closed": (at(6), "task:capacity"),
    }
    assert slots(pool)[3] == (5, 7, 2)
    take(pool, 5, 8, 9)
    assert facts(set_capacity(pool, 1, 8, now=7))["hours"] == (at(8), at(9))
    assert Incident.objects.count() == 2


def test_a_shortfall_is_not_closed_by_hand_while_gpus_are_missing(pool):
    take(pool, 7, 3, 6)
    incident = set_capacity(pool, 5, 0)
    with pytest.raises(ShortfallStaysError, match=r"up to 2 GPUs of pool .* are missing until 2026-07-01 06:00"):
        capacity.close_incident(incident=incident, at=at(1), actor="user:1")
    release(pool, 7, 3, 6)
    capacity.close_incident(incident=incident, at=at(2), actor="user:2")
    assert facts(incident)["closed"] == (at(2), "user:2")


# Maintenance


def plan(pool, quantity, first, last, now=0, **rest):
    return capacity.plan_maintenance(
        pool=pool,
        quantity=quantity,
        start_at=at(first),
        end_at=at(last),
        reason="new fans",
        at=at(now),
        actor="user:1",
        **rest,
    )


def test_maintenance_takes_hours_as_a_reservation_does(pool):
    maintenance = plan(pool, 6, 2, 5)
    assert (maintenance.state, maintenance.actor, taken(pool)) == ("planned", "user:1", {2: 6, 3: 6, 4: 6})
    with pytest.raises(NotFreeError):
        take(pool, 3, 4, 6)
    assert plan(pool, 6, 2, 5) == maintenance
    assert capacity.mismatches() == []


def test_maintenance_that_needs_taken_gpus_is_refused_hour_by_hour(pool):
    take(pool, 4, 3, 5)
    with pytest.raises(TakenError) as refused:
        plan(pool, 6, 2, 6)
    assert refused.value.missing == {at(3): 2, at(4): 2}
    assert str(refused.value) == (
        f"6 GPUs of pool {pool} are not free in 2 hours, with the GPUs missing: 2026-07-01T03:00:00+00:00 (2),"
        " 2026-07-01T04:00:00+00:00 (2); expected other hours, fewer GPUs, or force, which opens an incident"
    )
    assert taken(pool) == {3: 4, 4: 4}
    assert Maintenance.objects.count() == 0


def test_forced_maintenance_makes_a_shortfall_with_an_incident_that_ends_when_it_is_cancelled(pool):
    take(pool, 4, 3, 5)
    maintenance = plan(pool, 6, 2, 6, force=True)
    assert slots(pool) == {2: (8, 6, 0), 3: (8, 10, 2), 4: (8, 10, 2), 5: (8, 6, 0)}
    incident = Incident.objects.get()
    assert facts(incident) == {
        "hours": (at(3), at(5)),
        "gpus": 2,
        "cause": "new fans",
        "closed": (None, ""),
    }
    capacity.cancel_maintenance(maintenance=maintenance, at=at(1), actor="user:2")
    assert slots(pool) == {2: (8, 0, 0), 3: (8, 4, 0), 4: (8, 4, 0), 5: (8, 0, 0)}
    assert facts(incident)["closed"] == (at(1), "user:2")


def test_maintenance_is_planned_in_a_draining_pool_too(pool):
    capacity.drain(pool=pool, from_at=at(1), at=at(0), actor="test")
    plan(pool, 8, 2, 3)
    assert taken(pool) == {2: 8}


@pytest.mark.parametrize(("now", "end", "left"), [(2, 3, 1), (2.5, 3, 1), (3, 3, 1), (3.2, 4, 2), (9, 6, 4)])
def test_finished_maintenance_gives_back_the_hours_it_no_longer_needs(pool, now, end, left):
    maintenance = plan(pool, 6, 2, 6)
    for _ in range(2):
        row = capacity.finish_maintenance(maintenance=maintenance, at=at(now), actor="user:2")
        assert (row.state, row.end_at, row.ended_by) == ("done", at(end), "user:2")
    assert taken(pool) == {hour: 6 if hour < 2 + left else 0 for hour in range(2, 6)}
    assert capacity.mismatches() == []


def test_maintenance_is_cancelled_before_and_finished_after_it_begins(pool):
    maintenance = plan(pool, 6, 2, 6)
    with pytest.raises(MaintenanceOverError, match="expected one that is planned and has begun: cancel it"):
        capacity.finish_maintenance(maintenance=maintenance, at=at(1), actor="test")
    with pytest.raises(MaintenanceOverError, match="expected one that is planned and has not begun: finish it"):
        capacity.cancel_maintenance(maintenance=maintenance, at=at(2), actor="test")
    for _ in range(2):
        row = capacity.cancel_maintenance(maintenance=maintenance, at=at(1.5), actor="test")
        assert (row.state, row.end_at, taken(pool)) == ("cancelled", at(6), {2: 0, 3: 0, 4: 0, 5: 0})
    with pytest.raises(MaintenanceOverError, match="is cancelled"):
        capacity.finish_maintenance(maintenance=maintenance, at=at(3), actor="test")
    assert capacity.mismatches() == []


def test_the_watch_ends_maintenance_whose_time_is_over(pool):
    maintenance = plan(pool, 6, 2, 6)
    capacity.watch(at=at(5.9))
    maintenance.refresh_from_db()
    assert maintenance.state == "planned"
    capacity.watch(at=at(6))
    maintenance.refresh_from_db()
    assert (maintenance.state, maintenance.end_at, maintenance.ended_by) == ("done", at(6), "task:capacity")


def test_maintenance_has_hours_and_gpus(pool):
    with pytest.raises(InvalidHoursError):
        plan(pool, 1, 2, 2)
    with pytest.raises(InvalidHoursError, match="or later, since what is over stays"):
        plan(pool, 1, 2, 4, now=3)
    with pytest.raises(InvalidQuantityError):
        plan(pool, 0, 2, 3)
    with pytest.raises(InvalidQuantityError, match="quantity is 9: expected 1 to 8 GPUs"):
        plan(pool, 9, 2, 3, force=True)


# Outages


def outage(pool, start, now, **rest):
    return capacity.open_outage(
        pool=pool, quantity=4, start_at=at(start), cause="power", at=at(now), actor="user:1", **rest
    )


def test_an_outage_is_open_until_it_is_closed_and_opened_once(pool):
    incident = outage(pool, 1.25, 1.5)
    assert outage(pool, 1.25, 1.75) == incident
    assert (incident.kind, incident.quantity, incident.start_at, incident.end_at, incident.closed_at) == (
        "outage",
        4,
        at(1.25),
        None,
        None,
    )
    for now in (3, 4):
        capacity.close_incident(incident=incident, at=at(now), actor="user:2", end_at=at(2.5))
    assert facts(incident)["hours"] == (at(1.25), at(2.5))
    assert facts(incident)["closed"] == (at(3), "user:2")
    assert taken(pool) == {}
    assert outage(pool, 1.25, 5) != incident


def test_an_outage_ends_when_it_is_closed_unless_it_ended_before(pool):
    first, second = outage(pool, 1, 1), outage(pool, 2, 2, end_at=at(3))
    capacity.close_incident(incident=first, at=at(4), actor="test")
    capacity.close_incident(incident=second, at=at(4), actor="test")
    assert (facts(first)["hours"], facts(second)["hours"]) == ((at(1), at(4)), (at(2), at(3)))
    third = outage(pool, 5, 5)
    with pytest.raises(InvalidHoursError, match=r"end_at is .*: expected later than"), transaction.atomic():
        capacity.close_incident(incident=third, at=at(6), actor="test", end_at=at(5))
    with pytest.raises(InvalidHoursError, match=r"end_at is .*: expected later than"):
        outage(pool, 5, 5, end_at=at(4))
    with pytest.raises(InvalidQuantityError):
        capacity.open_outage(pool=pool, quantity=0, start_at=at(0), cause="x", at=at(0), actor="test")
