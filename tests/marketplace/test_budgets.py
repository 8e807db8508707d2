"""What a project may spend in a month."""

import re
from datetime import UTC, datetime

import pytest

from marketplace import reservations
from marketplace.models import Project, Reservation
from marketplace.reservations import Warned
from tests.marketplace.booking import AT, DAY, HOUR, START, make_market, taken

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_sale(db):
    return make_market()


def spent(project, month="2020-05"):
    return reservations.spent(project=project, month=month)


def reached(project, month="2020-05"):
    return [warned.percent for warned in reservations.warnings(project=project, month=month)]


def test_what_is_held_confirmed_and_used_counts_and_what_has_ended_no_more(on_sale):
    project, other = on_sale.project(monthly_limit_minor=None), on_sale.project("other")
    on_sale.held(project=other)
    on_sale.held()  # of no project
    held = on_sale.held(project=project)
    confirmed = on_sale.confirmed(project=project)
    active = on_sale.active(project=project)
    assert spent(project) == 240_000
    reservations.complete(reservation=active, at=START + 10 * HOUR, actor="t")
    assert spent(project) == 240_000
    reservations.cancel(reservation=confirmed, at=START - HOUR, actor="user:1")
    assert spent(project) == 200_000  # the fee of 400.00 counts
    reservations.expire(at=AT + HOUR)
    assert Reservation.objects.get(pk=held.pk).state == "expired"
    assert spent(project) == 120_000
    assert spent(other) == 0
    assert spent(project, "2020-06") == 0


def test_a_hold_beyond_a_hard_limit_is_refused_by_month_limit_counted_and_wanted(on_sale):
    project = on_sale.project(monthly_limit_minor=159_999)
    on_sale.held(project=project)
    with pytest.raises(
        reservations.BudgetExceededError,
        match=re.escape(
            "project research: 80000 for 2020-05: expected at most 79999, since its limit is 159999 and 80000 of it are held"
        ),
    ) as caught:
        on_sale.held(project=project)
    error = caught.value
    assert (error.project, error.month, error.limit_minor, error.counted_minor, error.wanted_minor) == (
        project,
        "2020-05",
        159_999,
        80_000,
        80_000,
    )
    assert Reservation.objects.count() == 1
    assert taken(on_sale.pool) == [8] * 10
    Project.objects.update(monthly_limit_minor=160_000)
    on_sale.held(project=project)
    assert spent(project) == 160_000


def test_a_limit_that_is_not_hard_only_warns(on_sale):
    project = on_sale.project(monthly_limit_minor=80_000, is_hard=False)
    rows = [on_sale.held(project=project) for _ in range(2)]
    assert spent(project) == 160_000
    assert "warnings" not in rows[1].changes.get().facts


def test_each_threshold_warns_once_as_it_is_reached_and_is_kept_with_the_change(on_sale):
    project = on_sale.project(monthly_limit_minor=200_000, warn_percents=[80, 40, 39])
    assert reached(project) == []
    first = on_sale.held(project=project)
    assert first.changes.get().facts["warnings"] == [
        {"month": "2020-05", "percent": 39, "limit_minor": 200_000, "counted_minor": 80_000},
        {"month": "2020-05", "percent": 40, "limit_minor": 200_000, "counted_minor": 80_000},
    ]
    second = on_sale.held(project=project)
    assert [each["percent"] for each in second.changes.get().facts["warnings"]] == [80]
    assert reservations.warnings(project=project, month="2020-05")[-1] == Warned("2020-05", 80, 200_000, 160_000)
    reservations.cancel(reservation=second, at=AT, actor="user:1")
    assert reached(project) == [39, 40]


def test_each_month_is_held_against_its_own_limit_by_the_month_of_use(on_sale):
    project = on_sale.project(monthly_limit_minor=50_000)
    start_at = datetime(2020, 5, 31, 12, tzinfo=UTC)  # four hours of May, six of June
    on_sale.held(project=project, start_at=start_at, end_at=start_at + 10 * HOUR)
    assert (spent(project), spent(project, "2020-06")) == (32_000, 48_000)
    with pytest.raises(reservations.BudgetExceededError, match="16000 for 2020-06: expected at most 2000"):
        on_sale.held(project=project, start_at=start_at + 2 * HOUR, end_at=start_at + 6 * HOUR)
    on_sale.held(project=project, start_at=start_at - 12 * HOUR, end_at=start_at - 10 * HOUR)
    assert (spent(project), spent(project, "2020-06")) == (48_000, 48_000)


def test_an_extension_beyond_the_limit_is_refused_and_released_hours_make_room(on_sale):
    project = on_sale.project(monthly_limit_minor=120_000)
    row = on_sale.confirmed(project=project)
    quote = reservations.extension_quote(reservation=row, end_at=START + 16 * HOUR, at=AT, actor="user:1")
    with pytest.raises(reservations.BudgetExceededError, match="48000 for 2020-05: expected at most 40000"):
        reservations.extend(quote=quote, at=AT, actor="user:1")
    assert spent(project) == 80_000
    reservations.release_hours(reservation=row, end_at=START + 8 * HOUR, at=AT, actor="user:1")
    quote = reservations.extension_quote(reservation=row, end_at=START + 15 * HOUR, at=AT, actor="user:1")
    reservations.extend(quote=quote, at=AT, actor="user:1")
    assert spent(project) == 120_000


def test_a_fee_counts_in_the_month_in_which_it_is_charged(on_sale):
    project = on_sale.project()
    start_at = datetime(2020, 5, 31, 20, tzinfo=UTC)  # June in Shanghai
    row = on_sale.confirmed(project=project, start_at=start_at, end_at=start_at + 10 * HOUR)
    reservations.cancel(reservation=row, at=start_at - 5 * HOUR, actor="user:1")  # May in Shanghai
    assert (spent(project), spent(project, "2020-06")) == (40_000, 0)


def test_months_are_asked_for_in_one_query(on_sale, django_assert_num_queries):
    project = on_sale.project()
    on_sale.held(project=project)
    with django_assert_num_queries(1):
        found = reservations.spent_by_month(project=project, months=["2020-04", "2020-05", "2020-06"])
    assert found == {"2020-04": 0, "2020-05": 80_000, "2020-06": 0}


def test_a_day_before_the_month_and_a_day_in_it_are_told_apart(on_sale):
    project = on_sale.project(monthly_limit_minor=None)
    start_at = datetime(2020, 5, 31, 16, tzinfo=UTC)  # midnight of the 1st of June in Shanghai
    on_sale.held(project=project, start_at=start_at - DAY, end_at=start_at)
    on_sale.held(project=project, start_at=start_at, end_at=start_at + DAY)
    assert (spent(project), spent(project, "2020-06")) == (192_000, 192_000)
