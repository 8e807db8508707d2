"""Which local day is a weekday, a weekend or a holiday, and when time-of-use periods begin and end."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from billing.rating.period import Period
from billing.rating.refusal import HolidaysNotVerified
from billing.rating.tariff import Schedule

__all__ = ["HolidayCalendar", "HolidaysNotVerified", "Run", "cut", "day_kind", "require_verified", "runs"]

DayKind = Literal["weekday", "weekend", "holiday"]
Run = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class HolidayCalendar:
    """Statutory holidays, the weekend days worked in their place, and the last day for which both are verified."""

    code: str
    holidays: frozenset[date]
    working_days: frozenset[date]
    verified_until: date

    def __post_init__(self) -> None:
        both = self.holidays & self.working_days
        if both:
            raise ValueError(f"calendar {self.code}: {min(both)} is given as a holiday and as a working day")


def day_kind(day: date, calendar: HolidayCalendar | None) -> DayKind:
    if calendar is not None:
        if day in calendar.holidays:
            return "holiday"
        if day in calendar.working_days:
            return "weekday"
    return "weekday" if day.weekday() < 5 else "weekend"


def require_verified(calendar: HolidayCalendar, start: datetime, end: datetime, timezone: str) -> None:
    """Raises HolidaysNotVerified if a local day of [start, end) lies after the calendar's last verified day."""
    zone = ZoneInfo(timezone)
    last = (end - timedelta(microseconds=1)).astimezone(zone).date()
    if last > calendar.verified_until:
        day = max(start.astimezone(zone).date(), calendar.verified_until + timedelta(days=1))
        raise HolidaysNotVerified(
            f"calendar {calendar.code}: {day} cannot be rated, its holidays are verified until "
            f"{calendar.verified_until}; expected a calendar verified until {last} or later"
        )


@lru_cache(maxsize=512)
def runs(
    schedule: Schedule, calendar: HolidayCalendar | None, period: Period, interval_seconds: int
) -> tuple[Run, ...]:
    """Runs of intervals in one time-of-use period, in time order: (first, end, period's name), counted from the
    period's start. The local time at an interval's start decides. Days after verified_until are not refused here:
    require_verified is asked for what is rated.
    """
    zone = ZoneInfo(period.timezone)
    step = timedelta(seconds=interval_seconds)
    rows = {"weekday": schedule.weekday, "weekend": schedule.weekend, "holiday": schedule.holiday}
    found: list[Run] = []
    first, name, today, kind = 0, "", date.min, "weekday"
    number = -((period.start - period.end) // step)
    instant = period.start
    for index in range(number):
        local = instant.astimezone(zone)
        if local.date() != today:
            today = local.date()
            kind = day_kind(today, calendar)
        now = rows[kind][local.month - 1][local.hour]
        if now != name:
            if index:
                found.append((first, index, name))
            first, name = index, now
        instant += step
    found.append((first, number, name))
    return tuple(found)


def cut(whole: tuple[Run, ...], first: int, end: int) -> tuple[Run, ...]:
    """The runs within intervals [first, end), first below end."""
    if first <= 0 and whole[-1][1] <= end:
        return whole
    lowest = bisect_right(whole, first, key=_first) - 1
    highest = bisect_left(whole, end, key=_first)
    return tuple((max(first, a), min(end, b), name) for a, b, name in whole[lowest:highest])


def _first(run: Run) -> int:
    return run[0]
