"""Search: what is on sale and fits, page by page, with counts to narrow it by. Reads alone.

Found is what is on sale by a verified provider from a pool that does not drain; see `marketplace.windows` for when it is
free and what it costs then. Facets count what fits all but what is asked of them themselves, whether it is free or not.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django.db import connection

from marketplace.comparison import Calendar, Cell, Compared, Day, calendar, compare
from marketplace.hours import InvalidHoursError, hour_number
from marketplace.models import AcceleratorModel, Offering, Organization
from marketplace.openings import openings
from marketplace.terms import InvalidFactError
from marketplace.wanted import FROM, Wanted, conditions, quantity
from marketplace.windows import Match, Ranked, windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "FACETS",
    "ORDERS",
    "Calendar",
    "Cell",
    "Compared",
    "Day",
    "Facet",
    "Facets",
    "Found",
    "InvalidFactError",
    "InvalidHoursError",
    "Listed",
    "Match",
    "Ranked",
    "Wanted",
    "calendar",
    "compare",
    "facets",
    "search",
    "windows",
]

ORDERS = {
    "price": "l.price",
    "-price": "-l.price",
    "-memory": "-coalesce(a.memory_gb, 0)",
}
"""What may be asked for as `order`: the mean price of a GPU-hour from the least or the most, the greatest memory first."""

FACETS = ("accelerators", "vendors", "memory", "interconnects", "regions", "providers")
"""By what one may narrow: the names of Wanted's fields (memory: min_memory_gb). Empty and unknown values are not counted."""

_EXAMINED = 480  # candidates of one page whose hours are looked up
_PAGE, _TOGETHER = 120, 40  # candidates that are read, and looked up, at a time


@dataclass(frozen=True, slots=True)
class Listed:
    """An offering that fits. `price`: the mean of a GPU-hour without tax; `quantity`: how many GPUs fit what is wanted."""

    offering: Offering
    quantity: int
    price: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Found:
    """A page. `next_cursor` is what asks for the next one; empty after the last."""

    rows: tuple[Listed, ...]
    next_cursor: str


@dataclass(frozen=True, slots=True)
class Facet:
    value: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """`by`: FACETS' names to their values, the commonest first. `least`, `most`: the range of prices of all that fits."""

    total: int
    least: Decimal | None
    most: Decimal | None
    by: dict[str, tuple[Facet, ...]]


def search(*, wanted: Wanted, at: datetime) -> Found:
    """A page of what fits, in wanted.order, equal keys by the offering's id. Two queries; with hours that must be free, one
    more for each few candidates. Such a page may be short, or empty, and have a next one all the same: many were taken.

    Raises InvalidFactError for an unknown order or a cursor that is none.
    """
    if wanted.order not in ORDERS:
        raise InvalidFactError("order", wanted.order, f"one of {', '.join(ORDERS)}")
    after: Sequence[Any] | None = _read_cursor(wanted)
    if wanted.free_from is None:
        rows = _candidates(wanted, at, after, wanted.limit + 1)
        return Found(_listed(rows[: wanted.limit]), _next_cursor(wanted, rows))
    rows, examined = [], 0
    while len(rows) <= wanted.limit and examined < _EXAMINED:
        page = _candidates(wanted, at, after, _PAGE)
        for first in range(0, len(page), _TOGETHER):
            rows += _free(wanted, page[first : first + _TOGETHER])
            if len(rows) > wanted.limit:
                break
        if len(page) < _PAGE:
            return Found(_listed(rows[: wanted.limit]), _next_cursor(wanted, rows))
        after, examined = page[-1][:2], examined + len(page)
    # Not all of what comes after has been looked at: the next page goes on behind what has.
    cursor = _next_cursor(wanted, rows) or _cursor(wanted.order, after or ())
    return Found(_listed(rows[: wanted.limit]), cursor)


def _next_cursor(wanted: Wanted, rows: list[tuple[Any, ...]]) -> str:
    return _cursor(wanted.order, rows[wanted.limit - 1]) if len(rows) > wanted.limit else ""


def facets(*, wanted: Wanted, at: datetime) -> Facets:
    """How many fit, by each value that one could narrow by. Three queries."""
    chosen, others, parameters = conditions(wanted, at)
    # Each row knows which facets' filters it fails: none, and it fits; one, and it counts for that facet alone.
    bits = {name: 1 << place for place, name in enumerate(FACETS)}
    fails = " + ".join(f"CASE WHEN {text} THEN 0 ELSE {bits[name]} END" for name, text in chosen.items()) or "0"
    statement = f"""
WITH fits AS MATERIALIZED (
    SELECT l.accelerator_id, l.interconnect, l.region, l.provider_id, l.price, {fails} AS fails {FROM}
    WHERE {" AND ".join(others)})
SELECT accelerator_id, interconnect, region, provider_id, fails, count(*), NULL::numeric, NULL::numeric
FROM fits WHERE fails IN (0, {", ".join(str(bit) for bit in bits.values())})
GROUP BY GROUPING SETS ((accelerator_id, fails), (interconnect, fails), (region, fails), (provider_id, fails))
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, count(*), min(price), max(price) FROM fits WHERE fails = 0"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        *rows, (_, _, _, _, _, total, least, most) = cursor.fetchall()
    counts: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in FACETS}
    labels = _labels(rows)
    for *keys, failed, count, _, _ in rows:
        place = next(place for place, key in enumerate(keys) if key is not None)
        key = keys[place]
        for name, value, label in [(_BY_TEXT[place], key, key)] if place in _BY_TEXT else labels[place][key]:
            if value and failed in (0, bits[name]):
                counts[name][value, label] += count
    by = {name: tuple(Facet(*key, count) for key, count in _ordered(name, found)) for name, found in counts.items()}
    return Facets(total, least, most, by)


def _ordered(name: str, found: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    """The most frequent first; figures by their size."""
    if name == "memory":
        return sorted(found.items(), key=lambda each: Decimal(each[0][0]))
    return sorted(found.items(), key=lambda each: (-each[1], each[0]))


_BY_TEXT = {1: "interconnects", 2: "regions"}  # columns whose key is value and label


def _labels(rows: Sequence[Sequence[Any]]) -> dict[int, dict[int, list[tuple[str, str, str]]]]:
    """By column and key, the facets that it counts for: (name, value, label)."""
    models = AcceleratorModel.objects.filter(pk__in={row[0] for row in rows if row[0] is not None})
    accelerators = {
        pk: [("accelerators", slug, f"{vendor} {name}"), ("vendors", vendor, vendor)]
        + ([] if memory is None else [("memory", str(memory), str(memory))])
        for pk, slug, vendor, name, memory in models.values_list("pk", "slug", "vendor", "name", "memory_gb")
    }
    organizations = Organization.objects.filter(pk__in={row[3] for row in rows if row[3] is not None})
    providers = {pk: [("providers", str(pk), name)] for pk, name in organizations.values_list("pk", "name")}
    return {0: accelerators, 3: providers}


def _candidates(wanted: Wanted, at: datetime, after: Sequence[Any] | None, size: int) -> list[tuple[Any, ...]]:
    """(key, offering's id, pool's id, quantity, price, currency) of those that fit, whether free or not."""
    chosen, others, parameters = conditions(wanted, at)
    key = ORDERS[wanted.order]
    if after is not None:
        others.append(f"({key}, l.offering_id) > (%(key)s, %(id)s)")
        parameters |= {"key": after[0], "id": after[1]}
    statement = f"""
SELECT {key}, l.offering_id, l.pool_id, {quantity(wanted)}::int, l.price, l.currency {FROM}
WHERE {" AND ".join([*chosen.values(), *others])} ORDER BY 1, 2 LIMIT %(size)s"""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters | {"size": size})
        return list(cursor.fetchall())


def _free(wanted: Wanted, batch: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    assert wanted.free_from is not None
    assert wanted.free_until is not None
    begin, end = hour_number(wanted.free_from), hour_number(wanted.free_until)
    asked = {(row[2], row[3]) for row in batch}
    runs = openings(asked=asked, begin=begin, end=end)
    return [row for row in batch if runs[row[2], row[3]] == [(begin, end)]]


def _listed(page: list[tuple[Any, ...]]) -> tuple[Listed, ...]:
    """One that was taken off sale in this moment is left out."""
    rows = Offering.objects.on_sale().select_related("pool__site__provider", "pool__accelerator", "tariff")
    offerings = rows.in_bulk([row[1] for row in page])
    return tuple(
        Listed(offerings[offering_id], number, price, currency)
        for _, offering_id, _, number, price, currency in page
        if offering_id in offerings
    )


def _cursor(order: str, row: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([order, str(row[0]), row[1]]).encode()).decode().rstrip("=")


def _read_cursor(wanted: Wanted) -> tuple[Decimal, int] | None:
    if not wanted.cursor:
        return None
    try:
        padded = wanted.cursor + "=" * (-len(wanted.cursor) % 4)
        order, key, offering_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        place = Decimal(key)
    except (binascii.Error, ValueError, TypeError, InvalidOperation) as error:
        raise InvalidFactError("cursor", wanted.cursor, "a next_cursor that a search gave") from error
    if order != wanted.order or type(offering_id) is not int or abs(offering_id) >= 2**63 or not place.is_finite():
        raise InvalidFactError("cursor", wanted.cursor, f"a next_cursor that a search by {wanted.order} gave")
    return place, offering_id
