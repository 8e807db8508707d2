from datetime import date, datetime, timedelta, timezone
from fractions import Fraction

import pytest

from billing.rating.calendar import HolidayCalendar, HolidaysNotVerified, cut, day_kind, require_verified, runs
from billing.rating.period import Period, anniversaries, count, day_start, spans
from billing.rating.tariff import parse
from tests.rating.documents import DAY, document, utc

CN = HolidayCalendar("CN", frozenset({date(2020, 5, 1)}), frozenset({date(2020, 5, 9)}), date(2020, 12, 31))
WEEK = {"weekday": [DAY], "weekend": [["valley"] * 24], "holiday": [["free"] * 24]}


@pytest.mark.parametrize(
    ("year", "month", "timezone_", "start", "end"),
    [
        (2020, 5, "Asia/Shanghai", utc(2020, 4, 30, 16), utc(2020, 5, 31, 16)),
        (2020, 3, "Europe/Berlin", utc(2020, 2, 29, 23), utc(2020, 3, 31, 22)),
        (2020, 12, "UTC", utc(2020, 12, 1), utc(2021, 1, 1)),
        (2018, 11, "America/Sao_Paulo", utc(2018, 11, 1, 3), utc(2018, 12, 1, 2)),
    ],
)
def test_a_month_is_its_local_days(year, month, timezone_, start, end):
    assert Period.month(year, month, timezone_) == Period(start, end, timezone_)


def test_a_period_is_two_utc_instants_in_order():
    with pytest.raises(ValueError, match=r"Period.start is 2020-05-01T00:00:00: expected an instant in UTC"):
        Period(datetime(2020, 5, 1), utc(2020, 6, 1), "UTC")  # noqa: DTZ001  - what is refused
    with pytest.raises(ValueError, match=r"Period.end is 2020-06-01T00:00:00\+08:00: expected an instant in UTC"):
        Period(utc(2020, 5, 1), datetime(2020, 6, 1, tzinfo=timezone(timedelta(hours=8))), "UTC")
    with pytest.raises(ValueError, match=r"Period.end is .*: expected an instant after 2020-05-01"):
        Period(utc(2020, 5, 1), utc(2020, 5, 1), "UTC")


@pytest.mark.parametrize(("day", "hours"), [(date(2020, 3, 29), 23), (date(2020, 3, 30), 24), (date(2020, 10, 25), 25)])
def test_a_day_has_23_24_or_25_hours(day, hours):
    following = day_start(day + timedelta(days=1), "Europe/Berlin")
    assert following - day_start(day, "Europe/Berlin") == timedelta(hours=hours)


def test_a_day_whose_midnight_is_skipped_begins_with_the_clock_change():
    # Sao Paulo, 4 November 2018: 00:00 became 01:00
    assert day_start(date(2018, 11, 4), "America/Sao_Paulo") == utc(2018, 11, 4, 3)


@pytest.mark.parametrize(("month", "days"), [(2, 29), (3, 31), (4, 30), (10, 31)])
def test_a_whole_month_is_its_days_exactly_and_one_month_also_when_the_clock_changes(month, days):
    period = Period.month(2020, month, "Europe/Berlin")
    assert count(period.start, period.end, "Europe/Berlin", "day") == days
    assert count(period.start, period.end, "Europe/Berlin", "month") == 1
    assert count(period.start, period.end, "Europe/Berlin", "year") == Fraction(period.seconds, 366 * 86400)


def test_parts_of_days_count_by_their_seconds_over_their_own_length():
    # 29 March from 12:00 local (10:00 UTC): 12 of its 23 hours; and 6 of the 24 hours of 30 March
    found = count(utc(2020, 3, 29, 10), utc(2020, 3, 30, 4), "Europe/Berlin", "day")
    assert found == Fraction(12, 23) + Fraction(6, 24)


def test_a_day_that_was_skipped_is_no_day():
    # Apia went from 29 to 31 December 2011
    assert len(list(spans(utc(2011, 12, 29, 10), utc(2012, 1, 1), "Pacific/Apia", "day"))) == 3
    month = Period.month(2011, 12, "Pacific/Apia")
    assert count(month.start, month.end, "Pacific/Apia", "day") == 30


@pytest.mark.parametrize(
    ("begins", "start", "end", "expected"),
    [
        (utc(2018, 5, 10), utc(2020, 5, 1), utc(2020, 6, 1), [utc(2019, 5, 10), utc(2020, 5, 10)]),
        (utc(2018, 5, 1), utc(2020, 5, 1), utc(2020, 6, 1), [utc(2020, 5, 1)]),
        (utc(2018, 6, 1), utc(2020, 5, 1), utc(2020, 6, 1), [utc(2019, 6, 1)]),
        (utc(2020, 5, 10), utc(2020, 5, 1), utc(2020, 6, 1), [utc(2020, 5, 10)]),
        (utc(2016, 2, 29), utc(2021, 2, 1), utc(2021, 3, 1), [utc(2020, 2, 29), utc(2021, 2, 28)]),
        (utc(2016, 2, 29), utc(2024, 2, 1), utc(2024, 3, 1), [utc(2023, 2, 28), utc(2024, 2, 29)]),
        (utc(2019, 1, 1), utc(2020, 12, 1), utc(2021, 2, 1), [utc(2020, 1, 1), utc(2021, 1, 1)]),
    ],
)
def test_contract_years_begin_on_the_anniversary_and_on_28_february_for_the_29th(begins, start, end, expected):
    assert anniversaries(begins, "UTC", start, end) == expected


def test_contract_years_are_counted_in_local_time():
    # 1 April 00:00 in Berlin is summer time; so is every later 1 April, but the contract's own hour is local
    assert anniversaries(utc(2019, 1, 1, 11), "Europe/Berlin", utc(2020, 1, 1), utc(2020, 2, 1)) == [
        utc(2019, 1, 1, 11),
        utc(2020, 1, 1, 11),
    ]
    # 25 October 2020, the day of the change back: 12:00 local is 11:00 UTC; a year before it was 10:00 UTC
    assert anniversaries(utc(2019, 10, 25, 10), "Europe/Berlin", utc(2020, 10, 1), utc(2020, 11, 1)) == [
        utc(2019, 10, 25, 10),
        utc(2020, 10, 25, 11),
    ]


def test_holidays_and_make_up_working_days_come_before_the_day_of_the_week():
    assert day_kind(date(2020, 5, 1), CN) == "holiday"  # a Friday
    assert day_kind(date(2020, 5, 2), CN) == "weekend"
    assert day_kind(date(2020, 5, 9), CN) == "weekday"  # a Saturday, worked
    assert day_kind(date(2020, 5, 9), None) == "weekend"
    assert day_kind(date(2020, 5, 1), None) == "weekday"


def test_a_day_cannot_be_a_holiday_and_a_working_day():
    both = frozenset({date(2020, 5, 1)})
    with pytest.raises(ValueError, match="calendar CN: 2020-05-01 is given as a holiday and as a working day"):
        HolidayCalendar("CN", both, both, date(2020, 12, 31))


def test_a_day_after_the_last_verified_one_is_refused_and_named():
    require_verified(CN, utc(2020, 12, 1), utc(2020, 12, 31, 16), "Asia/Shanghai")
    with pytest.raises(HolidaysNotVerified) as raised:
        require_verified(CN, utc(2020, 12, 1), utc(2020, 12, 31, 16, 15), "Asia/Shanghai")
    assert str(raised.value) == (
        "calendar CN: 2021-01-01 cannot be rated, its holidays are verified until 2020-12-31; "
        "expected a calendar verified until 2021-01-01 or later"
    )
    with pytest.raises(HolidaysNotVerified, match="calendar CN: 2021-03-01 cannot be rated"):
        require_verified(CN, utc(2021, 2, 28, 16), utc(2021, 3, 31, 16), "Asia/Shanghai")


def run_list(timezone_, start, end, calendar=None):
    tariff = parse(document(periods=["peak", "valley", "free"], schedule=WEEK, calendar="CN", timezone=timezone_))
    return list(runs(tariff.schedule, calendar, Period(start, end, timezone_), 3600))


def test_runs_follow_local_hours_holidays_and_make_up_days():
    # Thursday 30 April to Saturday 2 May in Shanghai: weekday, holiday, weekend
    found = run_list("Asia/Shanghai", utc(2020, 4, 29, 16), utc(2020, 5, 2, 16), CN)
    assert found == [(0, 8, "valley"), (8, 20, "peak"), (20, 24, "valley"), (24, 48, "free"), (48, 72, "valley")]
    # Saturday 9 May is worked
    found = run_list("Asia/Shanghai", utc(2020, 5, 8, 16), utc(2020, 5, 9, 16), CN)
    assert found == [(0, 8, "valley"), (8, 20, "peak"), (20, 24, "valley")]


def test_runs_are_an_hour_shorter_or_longer_on_the_day_the_clock_changes():
    # Monday to Monday would hide it: the changes are Sundays, so the whole week is a weekday table here
    everyday = {"weekday": [DAY], "weekend": [DAY]}
    schedule = parse(document(periods=["peak", "valley"], schedule=everyday)).schedule
    spring = Period(utc(2020, 3, 28, 23), utc(2020, 3, 29, 22), "Europe/Berlin")
    assert list(runs(schedule, None, spring, 3600)) == [(0, 7, "valley"), (7, 19, "peak"), (19, 23, "valley")]
    autumn = Period(utc(2020, 10, 24, 22), utc(2020, 10, 25, 23), "Europe/Berlin")
    assert list(runs(schedule, None, autumn, 3600)) == [(0, 9, "valley"), (9, 21, "peak"), (21, 25, "valley")]


def test_runs_are_cut_to_a_part():
    whole = ((0, 8, "v"), (8, 20, "p"), (20, 24, "v"))
    assert cut(whole, 0, 24) == whole
    assert cut(whole, 8, 20) == ((8, 20, "p"),)
    assert cut(whole, 7, 21) == ((7, 8, "v"), (8, 20, "p"), (20, 21, "v"))
    assert cut(whole, 9, 10) == ((9, 10, "p"),)
