"""Billing periods and the parts of local days, months and years. Instants are UTC, ranges half-open."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Literal, Self
from zoneinfo import ZoneInfo

Grain = Literal["day", "month", "year"]
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span [start, end) of UTC instants, and the IANA time zone its local days are counted in."""

    start: datetime
    end: datetime
    timezone: str

    def __post_init__(self) -> None:
        for name, instant in (("start", self.start), ("end", self.end)):
            if instant.utcoffset() != timedelta(0):
                raise ValueError(f"Period.{name} is {instant.isoformat()}: expected an instant in UTC")
        if self.start >= self.end:
            raise ValueError(
                f"Period.end is {self.end.isoformat()}: expected an instant after {self.start.isoformat()}"
            )

    @classmethod
    def month(cls, year: int, month: int, timezone: str) -> Self:
        """The calendar month of that local time, for example Period.month(2020, 5, "Asia/Shanghai")."""
        first = date(year, month, 1)
        return cls(day_start(first, timezone), day_start(_next(first, "month"), timezone), timezone)

    @property
    def seconds(self) -> int:
        return (self.end - self.start) // SECOND


def day_start(day: date, timezone: str) -> datetime:
    """The instant (UTC) at which the local day begins; where a clock change skips midnight, the change itself."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def local_text(instant: datetime, timezone: str) -> str:
    """ISO 8601 with the offset of that time zone, for example 2020-05-01T00:00:00+08:00."""
    return instant.astimezone(ZoneInfo(timezone)).isoformat()


def spans(start: datetime, end: datetime, timezone: str, grain: Grain) -> Iterator[tuple[datetime, datetime]]:
    """The whole local days, months or years that [start, end) touches, in order, each as (its start, its end)."""
    first = _floor(start.astimezone(ZoneInfo(timezone)).date(), grain)
    begin = day_start(first, timezone)
    while begin < end:
        following = _next(first, grain)
        finish = day_start(following, timezone)
        if finish > begin:  # Apia had no 30 December 2011
            yield begin, finish
        first, begin = following, finish


@lru_cache(maxsize=4096)
def count(start: datetime, end: datetime, timezone: str, grain: Grain) -> Fraction:
    """How many local days, months or years [start, end) is: each one's part is its seconds over its own length.

    A whole month of 31 days is exactly 31 days, also when the clock changes in it.
    """
    total = Fraction(0)
    for begin, finish in spans(start, end, timezone, grain):
        total += Fraction((min(end, finish) - max(start, begin)) // SECOND, (finish - begin) // SECOND)
    return total


def anniversaries(contract_start: datetime, timezone: str, start: datetime, end: datetime) -> list[datetime]:
    """The instants (UTC) at which contract years begin: the last one at or before start, and those in (start, end).

    A contract of 29 February begins its years on 28 February where there is no 29th (Civil Code of China, article
    202: the last day of the month stands in for a day that is missing). The first element is the contract's own
    start if no year has passed.
    """
    local = contract_start.astimezone(ZoneInfo(timezone))
    begins = contract_start.astimezone(UTC)
    found = [begins]
    year = max(local.year + 1, start.astimezone(ZoneInfo(timezone)).year - 1)
    while True:
        day = 28 if (local.month, local.day) == (2, 29) and not _is_leap(year) else local.day
        begins = local.replace(year=year, day=day).astimezone(UTC)
        if begins >= end:
            return found
        if begins <= start:
            found = [begins]
        else:
            found.append(begins)
        year += 1


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _floor(day: date, grain: Grain) -> date:
    if grain == "day":
        return day
    return day.replace(day=1) if grain == "month" else day.replace(month=1, day=1)


def _next(first: date, grain: Grain) -> date:
    if grain == "day":
        return first + timedelta(days=1)
    if grain == "year":
        return first.replace(year=first.year + 1)
    return (first + timedelta(days=32)).replace(day=1)
