"""A few offerings side by side, and one of them hour by hour: what is free then and what a GPU-hour costs."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from billing.rating.period import day_start
from marketplace import listings, pricing, slots
from marketplace.hours import HOUR, hours_between, next_hour
from marketplace.models import Offering
from marketplace.terms import MOST_GPUS, InvalidFactError, read_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from decimal import Decimal

    from marketplace.pricing import Prices

MOST_DAYS = 92
MOST_COMPARED = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """An hour. `price` of a GPU-hour, None where there is none yet; bookable if as many are free as was asked for, and a
    reservation may start or run then.
    """

    start_at: datetime
    free: int
    price: Decimal | None
    bookable: bool


@dataclass(frozen=True, slots=True)
class Day:
    """A local day: 24 cells, or one fewer or more where the clock changes."""

    date: date
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Calendar:
    timezone: str
    currency: str
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """An offering, and the window asked for on it. `problems`: why it can't be reserved so, of "quantity" and "hours" (not
    within its terms), "lead" (too soon), "free" (fewer GPUs are free than that), "price" (not all hours have one).

    `week`: the week of the window's start: (date, kind of day, 24 prices of a GPU-hour); `price`: of the whole window, net;
    `free`: GPUs free in each of its hours.
    """

    offering: Offering
    currency: str
    price: Decimal | None
    free: int
    week: tuple[tuple[date, str, tuple[Decimal, ...]], ...]
    problems: tuple[str, ...]


def calendar(*, offering: Offering, quantity: int = 1, from_at: datetime, days: int, at: datetime) -> Calendar:
    """So many local days from the one of `from_at` on. Two queries, three where the prices are new to this process.

    Raises InvalidFactError.
    """
    read_whole("days", days, 1, MOST_DAYS)
    read_whole("quantity", quantity, 1, MOST_GPUS)
    versions = _versions([offering])[offering.tariff_id]
    timezone, currency = versions[0][1].timezone, versions[-1][1].currency
    first = from_at.astimezone(ZoneInfo(timezone)).date()
    edges = [next_hour(day_start(first + timedelta(days=number), timezone)) for number in range(days + 1)]
    free = slots.free([offering.pool_id], edges[0], edges[-1])[offering.pool_id]
    prices = _hourly(versions, edges[0], len(free))
    soonest_at = next_hour(at) + offering.lead_hours * HOUR
    cells = []
    for number, (there, price) in enumerate(zip(free, prices, strict=True)):
        hour = edges[0] + number * HOUR
        bookable = there >= quantity and price is not None and hour >= soonest_at
        cells.append(Cell(hour, there, price, bookable))
    places = [(edge - edges[0]) // HOUR for edge in edges]
    found = tuple(
        Day(first + timedelta(days=number), tuple(cells[places[number] : places[number + 1]])) for number in range(days)
    )
    return Calendar(timezone, currency, found)


def compare(
    *, offering_ids: Sequence[int], quantity: int, start_at: datetime, end_at: datetime, at: datetime
) -> tuple[Compared, ...]:
    """Two to four offerings on sale, in the order given; one that is not on sale (any more) is left out. Three queries, four
    where prices are new to this process.

    Raises InvalidFactError, InvalidHoursError.
    """
    if not 2 <= len(set(offering_ids)) == len(offering_ids) <= MOST_COMPARED:
        raise InvalidFactError("offerings", list(offering_ids), f"2 to {MOST_COMPARED} different ones")
    read_whole("quantity", quantity, 1, MOST_GPUS)
    hours = hours_between(start_at, end_at)
    rows = Offering.objects.on_sale().select_related("pool__site__provider", "pool__accelerator", "tariff")
    known = rows.in_bulk(offering_ids)
    offerings = [known[pk] for pk in offering_ids if pk in known]
    versions = _versions(offerings)
    free = slots.free({each.pool_id for each in offerings}, start_at, end_at)
    found = []
    for offering in offerings:
        own, there = versions[offering.tariff_id], min(free[offering.pool_id])
        price = pricing.price_of_window(versions=own, quantity=quantity, start_at=start_at, end_at=end_at)
        prices = own[max(bisect_right([since for since, _ in own], start_at) - 1, 0)][1]
        local = start_at.astimezone(ZoneInfo(prices.timezone)).date()
        stands = {
            "quantity": not offering.min_quantity <= quantity <= offering.max_quantity
            or (quantity - offering.min_quantity) % offering.step,
            "hours": not offering.min_hours <= hours <= offering.max_hours,
            "lead": start_at < next_hour(at) + offering.lead_hours * HOUR,
            "free": there < quantity,
            "price": price is None,
        }
        week = pricing.week(prices=prices, monday=local - timedelta(days=local.weekday()))
        problems = tuple(name for name, is_so in stands.items() if is_so)
        found.append(Compared(offering, prices.currency, price, there, tuple(week), problems))
    return tuple(found)


def _versions(offerings: Sequence[Offering]) -> dict[int, list[tuple[datetime, Prices]]]:
    found = listings.versions_of(tariff_ids={each.tariff_id for each in offerings})
    for offering in offerings:
        if offering.tariff_id not in found:
            raise InvalidFactError("offering", offering.code, "one whose tariff has prices")
    return found


def _hourly(versions: list[tuple[datetime, Prices]], start_at: datetime, hours: int) -> list[Decimal | None]:
    """What a GPU-hour costs in each hour, under the version that applies in it."""
    found: list[Decimal | None] = [None] * hours
    for place, (since, prices) in enumerate(versions):
        first = max(0, -((start_at - since) // HOUR))
        last = min(hours, -((start_at - versions[place + 1][0]) // HOUR)) if place + 1 < len(versions) else hours
        if first >= last:
            continue
        sums = pricing.hour_by_hour(prices=prices, start_at=start_at + first * HOUR, hours=last - first).unit
        steps = [pricing.decimal(after - before) for before, after in pairwise(sums)]
        found[first:last] = [*steps, *[None] * (last - first - len(steps))]
    return found
