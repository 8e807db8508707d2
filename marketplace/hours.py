"""Whole hours in UTC, as capacity is sold, and the windows that are free among them. No database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing.integrity import require_aware

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_HOURS = 366 * 24  # of one span


class InvalidHoursError(ValueError):
    """Start or end is no whole hour, or not in this order, or too far apart, or over."""


@dataclass(frozen=True)
class Window:
    """[start_at, end_at) of a pool, in every hour of which at least `free` GPUs are free."""

    start_at: datetime
    end_at: datetime
    free: int


def hour_number(at: datetime) -> int:
    """Whole hours since 1970."""
    return (at - EPOCH) // HOUR


def hour_of(at: datetime) -> datetime:
    """The start of the hour that this instant lies in."""
    return EPOCH + hour_number(at) * HOUR


def next_hour(at: datetime) -> datetime:
    """The first whole hour that is not before this instant."""
    return EPOCH - (EPOCH - at) // HOUR * HOUR


def hours_between(start_at: datetime, end_at: datetime) -> int:
    """How many hours [start_at, end_at) has: at least one, at most MAX_HOURS. Raises InvalidHoursError."""
    for name, at in (("start_at", start_at), ("end_at", end_at)):
        require_hour(name, at)
    hours = (end_at - start_at) // HOUR
    if not 1 <= hours <= MAX_HOURS:
        raise InvalidHoursError(
            f"end_at is {end_at.isoformat()}: expected 1 to {MAX_HOURS} hours after start_at, {start_at.isoformat()}"
        )
    return hours


def require_hour(name: str, at: datetime) -> None:
    """Raise InvalidHoursError unless it is a whole hour in UTC."""
    require_aware(name, at)
    if (at - EPOCH) % HOUR:
        raise InvalidHoursError(f"{name} is {at.isoformat()}: expected a whole hour, such as {hour_of(at).isoformat()}")


def require_not_over(name: str, given_at: datetime, at: datetime) -> None:
    """Raise InvalidHoursError unless it is a whole hour, this one or a later one."""
    require_hour(name, given_at)
    if given_at < hour_of(at):
        raise InvalidHoursError(
            f"{name} is {given_at.isoformat()}: expected {hour_of(at).isoformat()} or later, since what is over stays"
        )


def first_windows(free: list[int], from_at: datetime, quantity: int, hours: int, limit: int) -> list[Window]:
    """The first windows that fit, none over another. `free`: the GPUs free in each hour from `from_at` on."""
    firsts = [first for begin, end in _runs(free, quantity, hours) for first in range(begin, end - hours + 1, hours)]
    return [_window(free, from_at, first, hours) for first in firsts[:limit]]


def nearest_windows(
    free: list[int], from_at: datetime, quantity: int, wanted: tuple[datetime, datetime], limit: int
) -> list[Window]:
    """Of each stretch of hours that fits the window nearest to the wanted one; of these the nearest few."""
    hours, place = (wanted[1] - wanted[0]) // HOUR, (wanted[0] - from_at) // HOUR
    firsts = [min(max(place, begin), end - hours) for begin, end in _runs(free, quantity, hours)]
    firsts.sort(key=lambda first: (abs(first - place), first))
    return [_window(free, from_at, first, hours) for first in firsts[:limit]]


def _runs(free: list[int], quantity: int, hours: int) -> list[tuple[int, int]]:
    """The longest stretches [begin, end) of at least so many hours with so many GPUs free."""
    runs, begin = [], 0
    for number, there in enumerate([*free, -1]):
        if there < quantity:
            if number - begin >= hours:
                runs.append((begin, number))
            begin = number + 1
    return runs


def _window(free: list[int], from_at: datetime, first: int, hours: int) -> Window:
    return Window(from_at + first * HOUR, from_at + (first + hours) * HOUR, min(free[first : first + hours]))
