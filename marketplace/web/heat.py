"""Heat maps: prices through the week, and what is free hour by hour. Tables whose cells have a class for their step; the
legend names each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.utils.formats import date_format
from django.utils.translation import gettext

from marketplace.web import amounts, prices
from marketplace.web.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from decimal import Decimal

    from marketplace.comparison import Calendar, Cell

STEPS = 5
DAYS = 14


@dataclass(frozen=True)
class Stretch:
    """Hours of equal price in one row: from hour `first`, `hours` of them."""

    first: int
    hours: int
    step: int
    price: str
    title: str


@dataclass(frozen=True)
class Week:
    """Rows of days that are alike: (name, stretches); and the legend: (step, price or range)."""

    rows: list[tuple[str, list[Stretch]]]
    legend: list[tuple[int, str]]


def week(
    days: Sequence[tuple[date, str, tuple[Decimal, ...]]], currency: str, shared: Sequence[list[Decimal]] | None = None
) -> Week:
    """Prices of a GPU-hour through a week. Days that follow each other with the same prices are one row.
    With `shared` levels its colours mean what they mean in other weeks.
    """
    steps = levels([price for _, _, row in days for price in row]) if shared is None else shared
    rows = []
    for row, group in groupby(days, key=lambda day: day[2]):
        listed = [day for day, _, _ in group]
        name = weekday(listed[0])
        if len(listed) > 1:
            name += f"–{weekday(listed[-1])}"
        rows.append((name, _stretches(row, steps, currency)))
    return Week(rows, legend(steps, currency))


def weekday(day: date) -> str:
    """Short: Mon, 周一."""
    return date_format(day, "D").replace("星期", "周")


def levels(found: Sequence[Decimal]) -> list[list[Decimal]]:
    """The different prices from the cheapest, in at most STEPS groups of about as many."""
    different = sorted(set(found))
    count = min(STEPS, len(different))
    return [
        different[place * len(different) // count : (place + 1) * len(different) // count] for place in range(count)
    ]


def _step(price: Decimal, groups: Sequence[list[Decimal]]) -> int:
    """1 to STEPS: a single price stands in the middle, few ones far from each other."""
    place = next(number for number, group in enumerate(groups) if price in group)
    if len(groups) == 1:
        return 3
    return 1 + place * (STEPS - 1) // (len(groups) - 1)


def _stretches(row: Sequence[Decimal], groups: Sequence[list[Decimal]], currency: str) -> list[Stretch]:
    found, first = [], 0
    for price, group in groupby(row):
        hours = len(list(group))
        text = prices.decimal_money(price, currency)
        title = f"{first:02}:00–{first + hours:02}:00 · {text}"
        found.append(Stretch(first, hours, _step(price, groups), text, title))
        first += hours
    return found


def legend(groups: Sequence[list[Decimal]], currency: str) -> list[tuple[int, str]]:
    found = []
    for group in groups:
        low, high = (prices.decimal_money(price, currency) for price in (group[0], group[-1]))
        found.append((_step(group[0], groups), low if low == high else f"{low}–{high}"))
    return found


# What is free


@dataclass(frozen=True)
class Slot:
    """An hour of a day: `tone` is past, none, few (less than wanted), or free-1 to free-4."""

    hour: str
    tone: str
    free: str
    title: str
    address: str


def calendar(found: Calendar, *, quantity: int, hours: int, gpus: int, is_linked: bool) -> list[dict[str, Any]]:
    """Days with their hours. A cell links to the form with that start."""
    return [
        {
            "name": date_format(day.date, "m-d"),
            "weekday": weekday(day.date),
            "is_weekend": day.date.weekday() >= 5,
            "cells": [
                _cell(cell, found, day.date, quantity=quantity, hours=hours, gpus=gpus, is_linked=is_linked)
                for cell in day.cells
            ],
        }
        for day in found.days
    ]


def _cell(cell: Cell, found: Calendar, day: date, *, quantity: int, hours: int, gpus: int, is_linked: bool) -> Slot:
    start = amounts.local(cell.start_at, found.timezone)
    price = "" if cell.price is None else prices.decimal_money(cell.price, found.currency)
    end = amounts.local(cell.start_at + HOUR, found.timezone)
    title = f"{start:%m-%d %H:%M}–{end:%H:%M} · {gettext('%(count)s GPUs free') % {'count': cell.free}}"
    title += f" · {price}" if price else ""
    wish = {"quantity": quantity, "start_date": day.isoformat(), "start_hour": start.hour, "hours": hours}
    address = f"?{urlencode(wish)}#reserve" if cell.bookable and is_linked else ""
    return Slot(f"{start:%H}", _tone(cell, quantity, gpus), _short(cell.free), title, address)


def _tone(cell: Cell, quantity: int, gpus: int) -> str:
    if cell.free == 0:
        return "none"
    if cell.free < quantity:
        return "few"
    if not cell.bookable:
        return "past"
    return f"free-{min(4, 1 + 3 * (cell.free - quantity) // max(1, gpus - quantity))}"


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{count // 1000}k"
