"""Events that amend or retract earlier ones: what is in force, what counts, and what is listed."""

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.integrity import constraint_name
from billing.models import Contract, Correction, Meter, UsageEvent
from billing.usage import events_of, rematch
from tests.billing.test_meters import METERS, naive, nonzero
from tests.billing.usage_world import NOW, START, at, meter, sample, world

pytestmark = pytest.mark.django_db
COUNTED = ("counted", None, None)


@pytest.fixture
def house():
    return world()


def amend(target, event_id, value="59", seconds=60, **fields):
    return sample(event_id, value, seconds, **fields)._replace(amends=target)


def retract(target, event_id="r", source="aidc"):
    return sample(event_id, source=source)._replace(subject=None, type="retraction", data={}, retracts=target)


def gpu(quantity, minute=0, contract="C-1"):
    return {(contract, "gpu_hours", at(minute)): quantity} if quantity else {}


def test_an_amendment_counts_instead_and_both_are_kept(house):
    house.record(sample("e1", 59))
    assert house.only(amend("e1", "e2", 60)) == COUNTED
    assert nonzero() == gpu(3600)
    assert list(UsageEvent.objects.order_by("event_id").values_list("event_id", "value", "quantity")) == [
        ("e1", 59, 3540),
        ("e2", 60, 3600),
    ]
    assert list(Correction.objects.values_list("event_id", "by_event_id", "is_retraction")) == [("e1", "e2", False)]


def test_an_amendment_may_be_of_another_time_contract_and_meter(house):
    meter("tokens", "tokens.used", kind="delta")
    house.record(sample("e1", 59), sample("e2", 1), sample("e3", 1))
    house.record(
        amend("e1", "a1", 59, time=at(14, 30)),
        amend("e2", "a2", 2, subject="C-2"),
        amend("e3", "a3", 7, None, type="tokens.used"),
    )
    assert nonzero() == gpu(1770) | gpu(1770, 15) | gpu(120, contract="C-2") | {("C-1", "tokens", START): 7}


def test_a_retraction_takes_back_and_repeats_what_it_takes_back(house):
    house.record(sample("e1", 59), sample("e2", 1))
    assert house.only(retract("e1")) == COUNTED
    assert nonzero() == gpu(60)
    taken, kept = (UsageEvent.objects.get(event_id=event_id) for event_id in ("e1", "r"))
    for name in ("contract", "meter", "time", "duration_seconds", "value", "quantity"):
        assert getattr(taken, name) == getattr(kept, name)


def test_an_event_is_corrected_once_and_then_its_amendment_is(house):
    house.record(sample("e1", 1), amend("e1", "e2", 2))
    assert house.only(amend("e1", "e3", 3)) == (
        "rejected",
        "amends",
        "'e1' is corrected by 'e2': expected that one's id",
    )
    assert house.only(amend("e2", "e3", 3)) == COUNTED
    assert nonzero() == gpu(180)
    assert house.only(retract("e3")) == COUNTED
    assert nonzero() == {}


def test_a_retraction_is_final(house):
    house.record(sample("e1"), retract("e1"))
    assert house.only(amend("e1", "e2")) == ("rejected", "amends", "'e1' is corrected by 'r': expected that one's id")
    for again in (amend("r", "e2"), retract("r", "r2")):
        field = "amends" if again.amends else "retracts"
        assert house.only(again) == ("rejected", field, "'r' is a retraction, which is final: send a new event")
    assert nonzero() == {}
    assert house.only(sample("new")) == COUNTED


def test_what_was_retracted_is_a_duplicate_when_sent_again_and_stays_retracted(house):
    house.record(sample("e1"), sample("e1"))
    assert house.outcomes(retract("e1"), retract("e1")) == ["counted", "duplicate"]
    assert house.outcomes(sample("e1"), retract("e1")) == ["duplicate", "duplicate"]
    assert nonzero() == {}


def test_an_amendment_sent_again_is_a_duplicate_and_with_other_content_a_conflict(house):
    house.record(sample("e1"), sample("e2"))
    first = amend("e1", "a", 7)
    assert house.outcomes(first, first, amend("e1", "a", "7.0")) == ["counted", "duplicate", "duplicate"]
    reason = "the event of this id amends 'e1': expected the same, or another id"
    assert house.only(first) == ("duplicate", None, None)
    assert house.only(amend("e1", "a", 8))[:2] == ("conflict", "data.value")
    assert house.only(amend("e2", "a", 7)) == ("conflict", "amends", reason)
    assert house.only(retract("e1", "a")) == ("conflict", "retracts", reason)
    assert nonzero() == gpu(7 * 60 + 3540)


def test_the_id_of_a_correction_can_be_of_no_other_event(house):
    house.record(sample("e1"), sample("e2"))
    reason = "the event of this id corrects nothing: expected the same, or another id"
    assert house.only(amend("e1", "e2")) == ("conflict", "amends", reason)
    assert house.only(retract("e1", "e1")) == ("conflict", "retracts", reason)
    assert nonzero() == gpu(2 * 3540)


@pytest.mark.parametrize("correction", [amend("e1", "a"), retract("e1")])
def test_what_is_not_there_cannot_be_corrected_and_the_id_stays_free(house, correction):
    field = "amends" if correction.amends else "retracts"
    reason = "no event 'e1' of this source is stored: expected one that was sent before"
    assert house.only(correction) == ("rejected", field, reason)
    house.record(sample("e1", source="another"))
    assert house.only(correction) == ("rejected", field, reason)
    assert house.outcomes(correction, sample("e1")) == ["counted", "counted"]


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"amends": "e1", "retracts": "e1"}, "retracts", "it amends too: expected one of amends and retracts"),
        ({"amends": 5}, "amends", "5 is no text: expected 1 to 255 characters"),
        ({"retracts": ""}, "retracts", "0 characters: expected 1 to 255"),
        ({"amends": "e1", "data": {"value": "x"}}, "data.value", None),
        ({"amends": "e1", "id": ""}, "id", "0 characters: expected 1 to 255"),
        ({"amends": "e1", "source": None}, "source", "None is no text: expected 1 to 255 characters"),
        (
            {"amends": "e1", "subject": "C-9"},
            "amends",
            "unknown_subject: an amendment has to be counted; its event stays in force",
        ),
        (
            {"amends": "e1", "time": at(-1)},
            "amends",
            "outside_contract: an amendment has to be counted; its event stays in force",
        ),
    ],
)
def test_a_wrong_correction_is_rejected_and_its_event_stays_in_force(house, wrong, field, reason):
    house.record(sample("e1"))
    found = house.only(sample("a")._replace(**wrong))
    assert found[:2] == ("rejected", field)
    assert reason is None or found[2] == reason
    assert (UsageEvent.objects.count(), Correction.objects.count(), nonzero()) == (1, 0, gpu(3540))


def test_of_two_corrections_of_one_event_in_a_batch_the_first_stands(house):
    house.record(sample("e1"))
    assert house.outcomes(amend("e1", "a", 1), retract("e1"), amend("e1", "b", 2)) == [
        "counted",
        "rejected",
        "rejected",
    ]
    assert nonzero() == gpu(60)


def test_corrections_stand_beside_other_events_and_results_keep_their_order(house):
    house.record(sample("e1", 1), sample("e2", 2))
    recorded = house.record(
        retract("e1"), sample("e3", 3), sample("bad", "x"), amend("e3", "a", 4), amend("nothing", "b"), sample("e2", 2)
    )
    assert [(result.id, result.outcome) for result in recorded.results] == [
        ("r", "counted"),
        ("e3", "counted"),
        ("bad", "rejected"),
        ("a", "counted"),
        ("b", "rejected"),
        ("e2", "duplicate"),
    ]
    assert recorded.counts == {"counted": 3, "duplicate": 1, "conflict": 0, "unmatched": 0, "rejected": 2}
    assert nonzero() == gpu(60 * (2 + 4))


def test_a_correction_can_be_corrected_in_a_later_batch_only(house):
    assert house.outcomes(sample("e1"), amend("e1", "a", 1), amend("a", "b", 2)) == ["counted", "counted", "rejected"]
    assert house.outcomes(sample("e1"), amend("e1", "a", 1), amend("a", "b", 2)) == [
        "duplicate",
        "duplicate",
        "counted",
    ]
    assert nonzero() == gpu(120)


def test_the_greatest_is_looked_for_again_when_it_was_corrected(house):
    meter("peak", "gpu.peak", aggregation="max")
    house.record(*(sample(f"e{n}", n, 1200, type="gpu.peak", time=at(n)) for n in (3, 9, 5)))
    house.record(amend("e9", "a", 4, 60, type="gpu.peak", time=at(9)), retract("e3"))
    assert nonzero() == {("C-1", "peak", at(0)): 5, ("C-1", "peak", at(15)): 5}
    house.record(retract("e5", "r5"))
    assert nonzero() == {("C-1", "peak", at(0)): 4}


def test_a_count_counts_what_is_in_force(house):
    meter("jobs", "job.done", kind="delta", aggregation="count")
    house.record(*(sample(f"e{n}", type="job.done") for n in range(3)))
    house.record(retract("e0"), amend("e1", "a", type="job.done", time=at(20)))
    assert nonzero() == {("C-1", "jobs", at(0)): 1, ("C-1", "jobs", at(15)): 1}


def test_an_unmatched_event_that_was_corrected_is_never_matched(house):
    house.record(sample("e1", subject="C-9"), sample("e2", subject="C-9"), sample("e3", type="unknown"))
    assert house.outcomes(amend("e1", "a", 1), retract("e2"), retract("e3", "r3")) == 3 * ["counted"]
    house.contract("C-9")
    meter("unknown", "unknown")
    assert rematch(at=NOW) == (0, 0)
    assert nonzero() == gpu(60)
    assert set(UsageEvent.objects.filter(contract=None).values_list("unmatched_reason", flat=True)) == {"corrected"}


def test_the_events_of_a_reading_say_which_are_superseded(house):
    house.record(sample("e1", 1), sample("e2", 2), sample("e3", 3))
    house.record(amend("e1", "a", 4), retract("e2"))
    contract, gpu_hours = Contract.objects.get(number="C-1"), Meter.objects.get(code="gpu_hours")
    listed = events_of(contract=contract, meter=gpu_hours, start_at=START)
    assert [(event.event_id, event.superseded_by, event.is_retraction) for event in listed] == [
        ("a", None, False),
        ("e1", "a", False),
        ("e2", "r", False),
        ("e3", None, False),
        ("r", None, True),
    ]


@pytest.mark.parametrize(
    "statement", ["UPDATE billing_correction SET by_event_id = 'x'", "DELETE FROM billing_correction"]
)
def test_a_correction_is_never_changed(house, statement):
    house.record(sample("e1"), retract("e1"))
    with pytest.raises(IntegrityError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert constraint_name(refused.value) == "correction_append_only"


# Readings are what the events in force make

CHANGES = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3000), st.integers(0, 9)), max_size=8)
FIRST = st.lists(
    st.tuples(
        st.sampled_from([*METERS, "gpu.sample", "gpu.peak"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 3000),
        st.integers(1, 2000),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=FIRST, changes=CHANGES)
def test_readings_are_those_that_the_events_in_force_make_alone(house, first, changes):
    with transaction.atomic():
        for type_, (kind, aggregation) in METERS.items():
            meter(type_, type_, kind=kind, aggregation=aggregation)
        meter("peak", "gpu.peak", aggregation="max")
        in_force = [
            sample(f"e{n}", value, seconds, type=type_, source=source, time=at(0, second))
            for n, (type_, source, second, seconds, value) in enumerate(first)
        ]
        house.record(*in_force)
        for n, (place, is_retraction, second, value) in enumerate(changes):
            if not in_force:
                break
            target = in_force.pop(place % len(in_force))
            if is_retraction:
                correction = target._replace(id=f"c{n}", retracts=target.id, amends=None)
            else:
                data = target.data | {"value": value}
                correction = target._replace(id=f"c{n}", amends=target.id, time=at(0, second), data=data)
                in_force.append(correction)
            assert house.only(correction) == COUNTED
        corrected = nonzero()
        transaction.set_rollback(True)
    with transaction.atomic():
        for type_, (kind, aggregation) in METERS.items():
            meter(type_, type_, kind=kind, aggregation=aggregation)
        meter("peak", "gpu.peak", aggregation="max")
        house.record(*(event._replace(amends=None) for event in in_force))
        assert corrected == nonzero()
        assert {key: quantity for key, quantity in corrected.items() if key[1] in METERS} == naive(
            [event for event in in_force if event.type in METERS]
        )
        transaction.set_rollback(True)
