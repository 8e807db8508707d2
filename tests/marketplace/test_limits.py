"""How often something may be tried: exact under simultaneous tries, by span, for each by itself."""

from datetime import UTC, datetime, timedelta

import pytest

from marketplace import limits
from marketplace.models import AttemptCount

AT, HOUR = datetime(2026, 5, 1, 12, 20, tzinfo=UTC), timedelta(hours=1)


def attempt(whom="ada@example.com", at=AT, most=3, what="sign_up"):
    try:
        limits.count(what=what, whom=whom, most=most, span=HOUR, at=at)
    except limits.TooOftenError as error:
        return error.wait_seconds
    return 0


@pytest.mark.django_db
def test_beyond_the_limit_one_waits_for_the_end_of_the_span():
    assert [attempt() for _ in range(5)] == [0, 0, 0, 2400, 2400]
    assert attempt(at=AT + timedelta(minutes=39, seconds=59, milliseconds=500)) == 1
    assert attempt(at=AT + timedelta(minutes=40)) == 0


@pytest.mark.django_db
def test_each_is_counted_by_itself_and_no_address_is_stored():
    for _ in range(4):
        attempt()
    assert (attempt("bob@example.com"), attempt(what="reset")) == (0, 0)
    assert "ada" not in str(list(AttemptCount.objects.values()))
    limits.forget(what="sign_up", whom="ada@example.com")
    assert attempt() == 0


@pytest.mark.django_db
def test_of_several_limits_the_longest_wait_counts_and_all_are_counted():
    asked = [("a", "x", 1, HOUR), ("b", "x", 5, timedelta(days=1)), ("c", "x", 1, timedelta(days=1))]
    assert [limits.refused(asked, at=AT) for _ in range(2)] == [0, 42_000]
    assert sorted(AttemptCount.objects.values_list("number", flat=True)) == [2, 2, 2]


def test_of_twenty_at_once_three_get_through(fresh_database):
    answers = fresh_database.at_once(*[attempt] * 20)
    assert sorted(answers) == [0] * 3 + [2400] * 17


@pytest.mark.django_db
def test_counts_of_long_ago_are_forgotten():
    attempt(), attempt("bob@example.com", at=AT + timedelta(days=2))
    limits.forget_old(at=AT + timedelta(days=2, minutes=1))
    assert AttemptCount.objects.count() == 1
