"""Conflicts and rejected events: put down once each, counted on, bounded, forgotten; and usage is never disturbed by it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import problems, usage
from billing.events import RejectedError
from billing.models import EventProblem, UsageEvent
from billing.usage import Event, record
from tests.billing.usage_world import NOW, START, meter, sample, world

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def house():
    return world()


def kept(*names):
    return list(EventProblem.objects.order_by("id").values_list(*names))


def test_a_conflict_and_a_rejected_event_are_put_down_with_what_was_sent_and_why(house):
    house.record(sample("a"))
    house.record(sample("a", "60"), sample("b", "-1"), sample("c"), sample("d", subject="C-9"))
    names = ("owner", "source", "event_id", "type", "subject", "time", "outcome", "field", "reason", "times", "is_rest")
    sent = (house.provider.pk, "aidc")
    about = ("gpu.sample", "C-1", "2020-04-30T16:00:00+00:00")
    reason = "the event of this id has '59': expected the same, or another id"
    negative = '\'-1\' is negative: expected a decimal such as "59" or "59.5", zero or more'
    assert sorted(kept(*names)) == [
        (*sent, "a", *about, "conflict", "data.value", reason, 1, False),
        (*sent, "b", *about, "rejected", "data.value", negative, 1, False),
    ]
    assert kept("first_at", "last_at") == 2 * [(NOW, NOW)]


def test_a_sender_that_tries_again_adds_no_row(house):
    house.record(sample("a"))
    for hours in (0, 2, 1):
        house.record(sample("a", "60"), sample("a", "60"), sample("b", "-1"), at=NOW + timedelta(hours=hours))
    assert sorted(kept("event_id", "times", "first_at", "last_at")) == [
        ("a", 6, NOW, NOW + timedelta(hours=2)),
        ("b", 3, NOW, NOW + timedelta(hours=2)),
    ]


def test_the_same_id_with_something_else_wrong_or_of_another_source_or_owner_is_another_problem(house):
    house.record(sample("a", "-1"), sample("a", "1", 0), sample("a", "-1", source="other"))
    record(owner=house.other_provider, events=[sample("a", "-1")], at=NOW)
    assert len(kept("id")) == 4


def test_what_was_refused_before_counts_too(house):
    refused = [(Event(7, None, "t", {"a": 1}, "yesterday", {}), RejectedError("time", "expected RFC 3339"))]
    assert record(owner=house.provider, events=[], at=NOW, refused=refused).counts["rejected"] == 0
    assert kept("source", "event_id", "type", "subject", "time", "field", "reason") == [
        ("", "7", "t", "a dict", "yesterday", "time", "expected RFC 3339")
    ]


def test_corrections_that_are_refused_are_put_down(house):
    house.record(Event("r", "aidc", "x", "C-1", START, {}, None, "nothing"))
    assert kept("event_id", "outcome", "field") == [("r", "rejected", "retracts")]


def test_an_event_that_no_reading_can_hold_is_put_down_and_its_neighbours_are_counted(house):
    meter("tokens", "llm.tokens", kind="delta")
    big = [Event(name, "s", "llm.tokens", "C-1", START, {"value": 2**62}) for name in ("a", "b")]
    refused = [(Event("z", None, None, None, None, {}), RejectedError("source", "missing"))]
    counts = record(owner=house.provider, events=[*big, sample("c")], at=NOW, refused=refused).counts
    assert (counts["counted"], counts["rejected"]) == (2, 1)
    assert sorted(kept("event_id", "field", "times")) == [("b", "data", 1), ("z", "source", 1)]


def test_where_nothing_is_wrong_nothing_is_asked(house):
    house.record(sample("a"))
    with CaptureQueriesContext(connection) as asked:
        house.record(sample("a"), sample("b"), sample("c", subject="C-9"))
    assert not [each for each in asked if "eventproblem" in each["sql"]]
    assert not EventProblem.objects.exists()


@pytest.mark.parametrize("size", [1, 500])
def test_problems_take_two_statements_however_many_they_are(house, size):
    house.record(sample("warm"))
    with CaptureQueriesContext(connection) as asked:
        house.record(*(sample(f"{n}", "-1") for n in range(size)))
    assert len([each for each in asked if "eventproblem" in each["sql"]]) == 2
    assert EventProblem.objects.count() == size


def test_a_sender_with_too_many_has_the_others_counted_together(house, monkeypatch):
    monkeypatch.setattr(problems, "MOST_PER_OWNER", 3)
    house.record(*(sample(f"{n}", "-1") for n in range(5)), sample("x", "1", 0))
    house.record(*(sample(f"{n}", "-1") for n in range(9)))
    assert sorted(kept("event_id", "field", "is_rest", "times")) == [
        ("", "data.duration_seconds", True, 1),
        ("", "data.value", True, 2 + 6),
        ("0", "data.value", False, 2),
        ("1", "data.value", False, 2),
        ("2", "data.value", False, 2),
    ]
    record(owner=house.other_provider, events=[sample("0", "-1")], at=NOW)
    assert EventProblem.objects.filter(owner=house.other_provider, is_rest=False).count() == 1


def test_old_ones_are_forgotten_and_make_room(house):
    house.record(sample("a", "-1"), sample("b", "-1"))
    house.record(sample("b", "-1"), at=LATER)
    assert usage.forget_problems(before_at=LATER) == 1
    assert kept("event_id", "times") == [("b", 2)]
    assert usage.forget_problems(before_at=LATER) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_eventproblem SET reason = 'x', times = times + 1",
        "UPDATE billing_eventproblem SET first_at = first_at - interval '1 day', times = times + 1",
        "UPDATE billing_eventproblem SET times = times",
        "UPDATE billing_eventproblem SET times = times + 1, last_at = last_at - interval '1 second'",
        "TRUNCATE billing_eventproblem",
    ],
)
def test_what_was_first_said_stays(house, statement):
    house.record(sample("a", "-1"))
    connection.check_constraints()  # nothing pending: the trigger alone refuses
    with pytest.raises(DatabaseError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert error.value.__cause__.diag.constraint_name == "event_problem_only_grows"


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(),
    st.floats(),
    st.text(st.characters(), max_size=300),
    st.text(st.sampled_from("\0\ud800\udc00\\\t\n'\"𠮷a"), max_size=600),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
    st.just("長" * 10**6),
    st.just(10**6000),
    st.just(Decimal("-1E+999999")),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING), max_size=4))
def test_whatever_is_sent_can_be_kept_and_no_neighbour_is_refused(house, items):
    with transaction.atomic():
        events = [Event(*item) for item in items]
        refused = [(event, RejectedError("id", "said before")) for event in events]
        recorded = record(owner=house.provider, events=[sample("good"), *events], at=NOW, refused=refused)
        assert recorded.others.get(0) is None
        assert UsageEvent.objects.filter(event_id="good", contract__isnull=False).exists()
        assert EventProblem.objects.filter(field="id").exists() == bool(items)
        transaction.set_rollback(True)
