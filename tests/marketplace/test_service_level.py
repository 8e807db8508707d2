"""What was promised and not delivered: exact GPU-seconds, and the credit that follows."""

from datetime import timedelta
from fractions import Fraction

import pytest

from billing.models import OneOffCharge
from marketplace import capacity, provisioning, reservations, tasks
from marketplace.models import Job, ProvisioningTask
from marketplace.provisioning import service_level
from marketplace.provisioning.service_level import Fault
from tests.billing import world
from tests.marketplace.booking import AT, HOUR, START, make_market

END = START + 10 * HOUR
MINUTE = timedelta(minutes=1)
ALL = 8 * 10 * 3600  # GPU-seconds that are reserved


@pytest.fixture
def market(db):
    return make_market(service_level_percent="99.5", service_credit_percent="10")


def run(market, ready_at=START, **changes):
    """A reservation that people made ready at ready_at."""
    reservation = market.confirmed(**changes)
    provisioning.sweep(at=AT)
    task = ProvisioningTask.objects.get(reservation=reservation, state="open")
    provisioning.tick_off(task=task, at=ready_at, actor="user:7")
    provisioning.sweep(at=max(ready_at, START))
    return reservation


def use(reservation, *hours, gpus=8):
    """So many GPUs in use in these hours after START, in each quarter."""
    reservation.refresh_from_db()
    for hour in hours:
        world.read(reservation.contract, *[gpus * 900] * 4, start_at=START + hour * HOUR)


def complete(reservation):
    provisioning.sweep(at=END)
    reservation.refresh_from_db()
    assert reservation.state == "completed"


def outage(market, start, end, quantity=64, cause="power"):
    incident = capacity.open_outage(
        pool=market.pool, quantity=quantity, start_at=start, cause=cause, at=start, actor="user:7"
    )
    capacity.close_incident(incident=incident, at=end, actor="user:7")


def test_without_a_fault_nothing_is_lost_whatever_was_used(market):
    reservation = run(market)
    complete(reservation)
    measured = service_level.measure(reservation=reservation)
    assert (measured.reserved, measured.lost, measured.faults, measured.uptime_percent) == (ALL, 0, (), 100)


def test_a_late_start_is_lost_from_when_it_was_due_to_when_it_was_ready(market):
    reservation = run(market, ready_at=START + 20 * MINUTE)
    use(reservation, *range(1, 10))
    complete(reservation)
    measured = service_level.measure(reservation=reservation)
    assert measured.faults == (Fault("late", START, START + 20 * MINUTE, 8, ""),)
    assert measured.lost == 8 * 20 * 60
    assert measured.uptime_percent == 100 - Fraction(100 * 20, 600)


def test_an_outage_counts_as_far_as_its_gpus_were_not_used(market):
    reservation = run(market)
    use(reservation, 0, 1, 3, 5, 6, 7, 8, 9)
    use(reservation, 4, gpus=6)
    outage(market, START + 2 * HOUR, START + 3 * HOUR)
    outage(market, START + 3 * HOUR, START + 4 * HOUR, cause="not noticed")
    outage(market, START + 4 * HOUR, START + 5 * HOUR, quantity=1, cause="one GPU")
    complete(reservation)
    measured = service_level.measure(reservation=reservation)
    assert [fault.cause for fault in measured.faults] == ["power", "not noticed", "one GPU"]
    assert measured.lost == 8 * 3600 + 0 + 1 * 3600


def test_faults_at_once_count_once_and_those_outside_of_its_hours_not_at_all(market):
    reservation = run(market, ready_at=START + HOUR)
    outage(market, START - HOUR, START + 30 * MINUTE)
    outage(market, END, END + HOUR)
    use(reservation, *range(1, 10))
    complete(reservation)
    measured = service_level.measure(reservation=reservation)
    assert [(fault.kind, fault.start_at, fault.end_at) for fault in measured.faults] == [
        ("late", START, START + HOUR),
        ("outage", START, START + 30 * MINUTE),
    ]
    assert measured.lost == 8 * 3600


def test_less_capacity_than_is_reserved_is_a_fault_for_as_many_gpus(market):
    reservation = run(market)
    use(reservation, *range(10), gpus=3)
    incident = capacity.set_capacity(
        pool=market.pool, gpus=4, from_at=START + 2 * HOUR, cause="fire", at=START + HOUR, actor="user:7"
    )
    complete(reservation)
    capacity.watch(at=END)
    measured = service_level.measure(reservation=reservation)
    assert measured.faults == (Fault("shortfall", START + 2 * HOUR, END, 4, "fire"),)
    assert incident.quantity == 4
    assert measured.lost == 4 * 8 * 3600


def test_what_is_open_counts_to_the_end_of_the_reservation(market):
    reservation = run(market)
    use(reservation, *range(9))
    capacity.open_outage(
        pool=market.pool, quantity=64, start_at=START + 9.5 * HOUR, cause="x", at=START + 10 * HOUR, actor="user:7"
    )
    complete(reservation)
    assert service_level.measure(reservation=reservation).lost == 8 * 1800


def test_readings_of_a_contract_are_of_all_that_is_reserved_on_it(market):
    reservation = run(market)
    other = market.confirmed()
    assert other.contract_id is not None
    use(reservation, *range(10), gpus=16)
    outage(market, START, START + HOUR)
    complete(reservation)
    assert service_level.measure(reservation=reservation).lost == 0


def test_it_is_measured_in_as_many_queries_however_long_it_is(market, django_assert_num_queries):
    reservation = run(market)
    outage(market, START, START + HOUR)
    complete(reservation)
    with django_assert_num_queries(4):
        service_level.measure(reservation=reservation)


# The credit


def credit(reservation, at=END + 24 * HOUR):
    return service_level.credit(reservation=reservation, at=at, actor="test")


def test_less_than_the_service_level_is_credited_once_with_every_fault_named(market):
    reservation = run(market, ready_at=START + 3 * MINUTE + timedelta(seconds=1))
    complete(reservation)
    for _ in range(2):
        charge = credit(reservation)
        assert (charge.kind, charge.code, charge.amount_minor, charge.at) == (
            "credit",
            "SERVICE",
            -8_000,
            END + 24 * HOUR,
        )
    assert OneOffCharge.objects.count() == 1
    assert charge.source == f"reservation:{reservation.pk}:service-level"
    assert charge.why == {
        "reservation": str(reservation.pk),
        "of_amount": "800.00",
        "value": "10.00",
        "service_level_percent": "99.500",
        "uptime_percent": "99.497",
        "reserved_gpu_seconds": ALL,
        "lost_gpu_seconds": 8 * 181,
        "faults": "late 2020-05-12T00:00:00+00:00/2020-05-12T00:03:01+00:00, 8 GPU",
    }


def test_exactly_the_service_level_is_enough(market):
    reservation = run(market, ready_at=START + 3 * MINUTE)
    complete(reservation)
    assert service_level.measure(reservation=reservation).uptime_percent == Fraction("99.5")
    assert credit(reservation) is None


def test_hours_given_back_are_not_credited(market):
    reservation = run(market, ready_at=START + HOUR)
    reservations.release_hours(reservation=reservation, end_at=END - 5 * HOUR, at=START + HOUR, actor="user:1")
    provisioning.sweep(at=END)
    paid = sum(reservation.months.values_list("net_minor", flat=True))
    assert 0 < paid < 80_000
    assert credit(reservation).amount_minor == -paid // 10


@pytest.mark.parametrize("terms", [{}, {"service_level_percent": "99.5"}, {"service_credit_percent": "10"}])
def test_without_an_agreed_level_and_credit_there_is_none(db, terms):
    reservation = run(make_market(**terms), ready_at=START + HOUR)
    complete(reservation)
    assert credit(reservation) is None


def test_one_that_did_not_complete_has_no_credit(market):
    reservation = run(market, ready_at=START + HOUR)
    assert credit(reservation) is None
    reservations.fail(reservation=reservation, reason="fire", at=START + 2 * HOUR, actor="user:7")
    assert credit(reservation) is None


def test_the_worker_settles_it_a_day_after_the_end(market):
    reservation = run(market, ready_at=START + HOUR)
    complete(reservation)
    job = Job.objects.get(kind="service_credit")
    assert (job.key, job.due_at) == (str(reservation.pk), END + 24 * HOUR)
    for _ in range(2):
        tasks.KINDS[job.kind](job, job.due_at)
    assert OneOffCharge.objects.get().actor == "task:service_credit"
