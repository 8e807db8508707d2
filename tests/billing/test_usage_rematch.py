"""Events that came before their contract or meter."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from billing import usage
from billing.models import Contract, EventSource, Meter, UsageEvent
from billing.usage import rematch
from tests.billing.usage_world import NOW, at, meter, readings, sample, world


@pytest.fixture
def house(db):
    return world()


def test_an_unmatched_event_is_counted_once_its_contract_is_there(house):
    late = sample("late", subject="C-3", time=at(14, 30), value="59.0")
    house.record(late, sample("never", subject="C-9"))
    assert rematch(at=NOW) == (0, 0)
    contract = house.contract("C-3")
    assert rematch(at=NOW) == (1, 0)
    assert rematch(at=NOW) == (0, 0)
    assert readings() == {("C-3", "gpu_hours", at(0)): 1770, ("C-3", "gpu_hours", at(15)): 1770}
    event = UsageEvent.objects.get(event_id="late")
    assert (event.contract, event.meter.code, event.quantity, event.value) == (contract, "gpu_hours", 3540, Decimal(59))
    assert (event.type, event.subject, event.data, event.unmatched_reason) == (None, None, None, None)
    assert house.outcomes(late, late._replace(subject="C-1")) == ["duplicate", "conflict"]
    assert UsageEvent.objects.get(event_id="never").unmatched_reason == "unknown_subject"


def test_an_event_of_an_unknown_meter_is_measured_by_the_meter_that_comes_later(house):
    events = [
        sample("good", type="disk", value=Decimal("2.5"), window=20)._replace(),
        sample("text", type="disk", value="7", window=Decimal("1.0")),
        sample("bad", type="disk", value="-7", window=10),
        sample("lost", type="disk", value="3", window=10, subject="C-9"),
    ]
    house.record(*events)
    meter("disk", "disk", duration_field="window")
    assert rematch(at=NOW) == (2, 2)
    assert readings() == {("C-1", "disk", at(0)): 57}
    assert dict(UsageEvent.objects.filter(contract=None).values_list("event_id", "unmatched_reason")) == {
        "bad": "invalid_data",
        "lost": "unknown_subject",
    }
    assert house.outcomes(*events) == ["duplicate", "duplicate", "rejected", "duplicate"]
    house.contract("C-9")
    assert rematch(at=NOW) == (1, 1)
    assert readings() == {("C-1", "disk", at(0)): 57, ("C-9", "disk", at(0)): 30}


def test_an_event_sent_again_after_its_meter_came_and_before_rematch_is_a_duplicate(house):
    event = sample(type="disk", value=Decimal("5.0"))
    house.record(event)
    meter("disk", "disk")
    assert house.outcomes(event, sample(type="disk", value="5"), sample(type="disk", value="6")) == [
        "duplicate",
        "duplicate",
        "conflict",
    ]


def test_an_event_outside_its_contract_waits_for_the_contract_to_cover_it(house):
    contract = house.contract("C-3", end_at=at(60))
    house.record(sample("a", subject="C-3", time=at(60)), sample("b", subject="C-3", time=at(59, 30)))
    assert rematch(at=NOW) == (0, 0)
    contract.end_at = at(60, 30)
    contract.save()
    assert rematch(at=NOW) == (1, 0)
    contract.end_at = None
    contract.save()
    assert rematch(at=NOW) == (1, 0)


def test_only_the_contracts_that_the_sender_supplies_match(house):
    house.record(sample(subject="C-3"))
    house.contract("C-3", provider=house.other_provider)
    assert rematch(at=NOW) == (0, 0)


def test_events_recorded_after_the_instant_are_left(house):
    house.record(sample(subject="C-3"), at=NOW + timedelta(seconds=1))
    house.contract("C-3")
    assert rematch(at=NOW) == (0, 0)
    assert rematch(at=NOW + timedelta(seconds=1)) == (1, 0)


def test_many_are_matched_in_batches_each_once(house, monkeypatch):
    monkeypatch.setattr(usage, "_REMATCH_BATCH", 7)
    house.record(*(sample(f"{n:03}", 1, subject=f"C-{3 + n % 2}", source=f"s{n % 3}", time=at(n)) for n in range(50)))
    house.contract("C-3")
    house.contract("C-4")
    assert rematch(at=NOW) == (50, 0)
    assert sum(readings().values()) == 50 * 60


def test_an_event_that_a_reading_has_no_room_for_stays_and_the_others_are_matched(house):
    house.record(sample("a", subject="C-3"), *(sample(f"h{n}", 2**62, 1, subject="C-3") for n in range(3)))
    house.contract("C-3")
    assert rematch(at=NOW) == (2, 2)
    assert readings() == {("C-3", "gpu_hours", at(0)): 2**62 + 3540}
    assert rematch(at=NOW) == (0, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"value": 1},
        {"time": at(1)},
        {"recorded_at": at(1)},
        {"contract": None, "meter": None, "type": "x", "subject": "y", "unmatched_reason": "z"},
    ],
)
def test_a_matched_event_is_never_changed(house, change):
    house.record(sample())
    with pytest.raises(IntegrityError, match="matching an unmatched one is the only change"), transaction.atomic():
        UsageEvent.objects.update(**change)


@pytest.mark.parametrize("change", [{"value": 1}, {"time": at(1)}, {"subject": "C-1"}, {"type": "x"}])
def test_an_unmatched_event_keeps_what_was_sent(house, change):
    house.record(sample(subject="C-9"))
    with pytest.raises(IntegrityError, match="matching an unmatched one is the only change"), transaction.atomic():
        UsageEvent.objects.update(**change)


def test_events_and_their_sources_are_never_deleted(house):
    house.record(sample())
    for model in (UsageEvent, EventSource):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            model.objects.all()._raw_delete("default")


def test_a_contract_and_a_meter_that_were_used_are_never_deleted(house):
    house.record(sample(value=0))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for model, reason in ((Contract, "billing_contract keeps its rows"), (Meter, "billing_reading")):
        with pytest.raises(IntegrityError, match=reason), transaction.atomic():
            model.objects.all()._raw_delete("default")
