"""Which windows are free, and what the whole of each costs: a range of starts and lengths against every offering that fits.

In prose: each listing has a least price that no window of its can undercut (`Listing.floors`). Candidates are read in the
order of it. For those that come next, the best window is computed as if all of the pool were free, once for all that have the
same tariff, quantity and hours: a closer bound, by which they wait in a heap. The first of these have their free hours read,
some dozens at a time, and their best window computed again. When the next one's bound is above the worst of those to be
shown, no later one can be among them, and the answer is certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from heapq import heappop, heappush
from operator import sub
from typing import TYPE_CHECKING

from django.db import connection

from billing import calendars
from marketplace import listings, pricing
from marketplace.hours import EPOCH, HOUR, hour_number
from marketplace.models import Offering
from marketplace.openings import openings
from marketplace.terms import InvalidFactError
from marketplace.wanted import FROM, Span, Wanted, conditions, quantity, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from marketplace.pricing import Prices, Series

ORDERS = ("price", "soonest")
EXAMINED = 400  # candidates whose hours are read, after which the answer is no longer certain
_PAGES = (400, 3600)  # candidates that are read at first, and if these are not enough
_FIRST, _MORE = 24, 48  # candidates whose hours are read together

_Key = tuple[int | Decimal, int | Decimal, int]


@dataclass(frozen=True, slots=True)
class Match:
    """An offering's best window. `price`: of the whole, net, rounded to the currency; `per_hour`: of a GPU-hour.

    From start_at on so many GPUs are free until `free_until` at least: a window may be as long as that, within what is
    wanted and sold.
    """

    offering: Offering
    quantity: int
    start_at: datetime
    end_at: datetime
    free_until: datetime
    price: Decimal
    per_hour: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best window of each of the best offerings. Not `certain`: there was more to look at than `examined` candidates, and
    a better one may be among it; narrow the search.
    """

    matches: tuple[Match, ...]
    certain: bool
    examined: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    offering_id: int
    pool_id: int
    tariff_id: int
    currency: str
    quantity: int
    least: int  # hours
    most: int
    earliest: int  # an hour's number since 1970
    bound: Decimal  # no window costs less, in 10^-12 of the currency


@dataclass(frozen=True, slots=True)
class _Segment:
    """Starts [first, last] under one version, and its prices from the first on."""

    first: int
    last: int
    series: Series
    has_discounts: bool


@dataclass(frozen=True, slots=True)
class _Best:
    candidate: _Candidate
    cost: int
    start: int
    hours: int
    free_hours: int

    def key(self, order: str) -> _Key:
        if order == "soonest":
            return (self.start, self.cost, self.candidate.offering_id)
        return (self.cost, self.start, self.candidate.offering_id)


def windows(*, wanted: Wanted, at: datetime) -> Ranked:
    """The best window of each offering that fits and is free, the best wanted.limit of them.

    `order`: "price" of the whole, then the sooner start; or "soonest", then the lower price. Of equal ones the offering
    listed first, and of an offering's equal windows the shorter. Hours before the lead time, or without a price (holidays
    that are not known yet, a tariff that ends), are in no window. Four queries where the first dozens of candidates will do.
    """
    if wanted.order not in ORDERS:
        raise InvalidFactError("order", wanted.order, f"one of {', '.join(ORDERS)}")
    if wanted.free_from is not None:
        raise InvalidFactError("free_from", wanted.free_from, "none: windows are between earliest_at and latest_at")
    queue = _Queue(wanted, at)
    best: list[_Best] = []
    examined = 0
    while examined < EXAMINED:
        worst = best[-1].key(wanted.order) if len(best) == wanted.limit else None
        batch = queue.take(_MORE if examined else _FIRST, worst)
        if not batch:
            break
        best = sorted([*best, *_examine(batch, queue)], key=lambda each: each.key(wanted.order))[: wanted.limit]
        examined += len(batch)
    worst = best[-1].key(wanted.order) if len(best) == wanted.limit else None
    return Ranked(_matches(best), not queue.has(worst) and not queue.is_cut_off(), examined)


class _Queue:
    """The candidates in the order of what they cost if all were free. Read and priced as they are needed."""

    def __init__(self, wanted: Wanted, at: datetime) -> None:
        self.wanted, self.at, self.span = wanted, at, span_of(wanted, at)
        self.order = wanted.order
        self.end = self.span.latest + self.span.most
        self.segments: dict[int, list[_Segment]] = {}  # by tariff
        self._versions: dict[int, list[tuple[datetime, Prices]]] = {}
        self._is_cut = False  # there are more candidates than are ever read
        self._ideal: dict[tuple[int, ...], _Best | None] = {}
        self._coming: list[_Candidate] = []
        self._place = 0
        self._pages = list(_PAGES)
        self._heap: list[tuple[_Key, _Candidate]] = []

    def take(self, size: int, worst: _Key | None) -> list[_Candidate]:
        """The next few, none of which is certainly above the worst."""
        batch: list[_Candidate] = []
        while len(batch) < size and self.has(worst):
            batch.append(heappop(self._heap)[1])
        return batch

    def has(self, worst: _Key | None) -> bool:
        """Whether there is one left that is not certainly above the worst; it is the heap's first then."""
        while True:
            coming = self._next()
            if coming is None or (self._heap and self._heap[0][0] < _bound(coming, self.order)):
                break
            if worst is not None and _bound(coming, self.order) > worst:
                break
            self._place += 1
            key = self._key(coming)
            if key is not None:
                heappush(self._heap, (key, coming))
        return bool(self._heap) and (worst is None or self._heap[0][0] < worst)

    def is_cut_off(self) -> bool:
        """Whether all that was read has been taken up, and there is more."""
        return self._is_cut and self._place == len(self._coming)

    def _next(self) -> _Candidate | None:
        if self._place == len(self._coming) and self._pages:
            size = self._pages.pop(0)
            page = _candidates(self.wanted, self.at, self.span, (size + 1, len(self._coming)))
            self._coming += page[:size]
            if len(page) <= size:
                self._pages = []
            self._is_cut = len(page) > size and not self._pages
        return self._coming[self._place] if self._place < len(self._coming) else None

    def _key(self, candidate: _Candidate) -> _Key | None:
        """No window of the candidate has a key below this; None: it has no window."""
        same = (candidate.tariff_id, candidate.quantity, candidate.least, candidate.most, candidate.earliest)
        if same not in self._ideal:
            whole = [(self.span.earliest, self.end)]
            self._ideal[same] = _best(candidate, whole, self._segments(candidate.tariff_id), self.order)
        ideal = self._ideal[same]
        if ideal is None:
            return None
        first, second, _ = ideal.key(self.order)
        return (first, second, candidate.offering_id)

    def _segments(self, tariff_id: int) -> list[_Segment]:
        if tariff_id not in self.segments:
            if tariff_id not in self._versions:  # and those that come next: one query for many
                coming = {each.tariff_id for each in self._coming[self._place - 1 : self._place + _PAGES[0]]}
                found = listings.versions_of(tariff_ids=coming)
                self._versions |= {each: found.get(each, []) for each in coming}
            versions = self._versions[tariff_id]
            self.segments[tariff_id] = _segments(versions, self.span.earliest, self.span.latest, self.end)
        return self.segments[tariff_id]


def _bound(candidate: _Candidate, order: str) -> _Key:
    """No window of the candidate has a key below this."""
    if order == "soonest":
        return (candidate.earliest, candidate.bound, candidate.offering_id)
    return (candidate.bound, candidate.earliest, candidate.offering_id)


def _candidates(wanted: Wanted, at: datetime, span: Span, page: tuple[int, int]) -> list[_Candidate]:
    """In the order of what they can be at best; page is (how many, after how many)."""
    chosen, others, parameters = conditions(wanted, at)
    parameters |= {"least": span.least, "most": span.most, "earliest": span.earliest, "latest": span.latest}
    parameters |= {"limit": page[0], "offset": page[1], "calendars": _with_holidays(span)}
    order = "earliest, bound" if wanted.order == "soonest" else "bound, earliest"
    # The statement's parts are ours; what is wanted comes as parameters.
    statement = f"""
WITH fits AS (
    SELECT l.offering_id, l.pool_id, l.tariff_id, l.currency,
        CASE WHEN l.calendar = ANY(%(calendars)s::text[]) THEN l.floors ELSE l.common_floors END AS floors, {quantity(wanted)}::int AS quantity,
        greatest(%(least)s, l.min_hours) AS shortest, least(%(most)s, l.max_hours) AS longest,
        greatest(%(earliest)s, %(now)s + l.lead_hours) AS earliest {FROM}
    WHERE {" AND ".join([*chosen.values(), *others])})
SELECT offering_id, pool_id, tariff_id, currency, quantity, shortest, longest, earliest,
    quantity * CASE WHEN floors[2] < 0 THEN longest * floors[2]
        ELSE shortest / 24 * floors[25] + floors[shortest %% 24 + 1] END AS bound
FROM fits WHERE shortest <= longest AND earliest <= %(latest)s
ORDER BY {order}, offering_id LIMIT %(limit)s OFFSET %(offset)s"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [_Candidate(*row) for row in cursor.fetchall()]


def _with_holidays(span: Span) -> list[str]:
    """The calendars that have a holiday in the time that a window may be in, wherever on earth its day begins."""
    first, last = EPOCH.date(), EPOCH.date()
    first += timedelta(days=span.earliest // 24 - 1)
    last += timedelta(days=(span.latest + span.most) // 24 + 1)
    return [code for code, each in calendars.by_code().items() if any(first <= day <= last for day in each.holidays)]


def _examine(batch: Sequence[_Candidate], queue: _Queue) -> list[_Best]:
    """The best window of each that has one."""
    asked = {(each.pool_id, each.quantity) for each in batch}
    runs = openings(asked=asked, begin=queue.span.earliest, end=queue.end)
    found = (
        _best(each, runs[each.pool_id, each.quantity], queue.segments[each.tariff_id], queue.order) for each in batch
    )
    return [each for each in found if each is not None]


def _segments(versions: Sequence[tuple[datetime, Prices]], begin: int, latest: int, end: int) -> list[_Segment]:
    """One for each version that applies at a start in [begin, latest]; prices are needed up to `end`."""
    starts = [hour_number(effective_at - (effective_at - EPOCH) % -HOUR) for effective_at, _ in versions]
    found = []
    for place, (_, prices) in enumerate(versions):
        first = max(begin, starts[place])
        last = min(latest, starts[place + 1] - 1) if place + 1 < len(versions) else latest
        if first <= last:
            series = pricing.hour_by_hour(prices=prices, start_at=EPOCH + first * HOUR, hours=end - first)
            found.append(_Segment(first, last, series, prices.has_discounts))
    return found


def _best(
    candidate: _Candidate, runs: Sequence[tuple[int, int]], segments: Sequence[_Segment], order: str
) -> _Best | None:
    """The best window in any of the free stretches."""
    best: _Best | None = None
    for begin, finish in runs:
        for segment in segments:
            end = min(finish, segment.first + len(segment.series.unit) - 1)
            low = max(candidate.earliest, segment.first, begin)
            high = min(segment.last, end - candidate.least)
            if low <= high:  # the stretch may be too short, or over
                here = _best_of(candidate, (low, high, end), segment, order)
                best = here if best is None or here.key(order) < best.key(order) else best
    return best


def _best_of(candidate: _Candidate, span: tuple[int, int, int], segment: _Segment, order: str) -> _Best:
    """The best window that starts in [low, high] and ends by `end`, all of it free and priced. Longer ones are looked at
    only where an hour costs less than nothing.
    """
    low, high, end = span
    first, unit, fixed, many = segment.first, segment.series.unit, segment.series.fixed, candidate.quantity
    most = candidate.most if segment.has_discounts else candidate.least
    best: _Best | None = None
    for hours in range(candidate.least, min(most, end - low) + 1):
        final = min(high, end - hours)
        a, b = low - first, final - first + 1
        costs = list(map(sub, unit[a + hours : b + hours], unit[a:b]))
        if fixed[-1]:
            costs = [
                many * cost + more
                for cost, more in zip(costs, map(sub, fixed[a + hours : b + hours], fixed[a:b]), strict=True)
            ]
        place = 0 if order == "soonest" else costs.index(min(costs))
        start = low + place
        cost = costs[place] * (1 if fixed[-1] else many)
        here = _Best(candidate, cost, start, hours, min(candidate.most, end - start))
        if best is None or here.key(order) < best.key(order):
            best = here
    assert best is not None
    return best


def _matches(best: Sequence[_Best]) -> tuple[Match, ...]:
    """One that was taken off sale in this moment is left out."""
    rows = Offering.objects.on_sale().select_related("pool__site__provider", "pool__accelerator", "tariff")
    offerings = rows.in_bulk([each.candidate.offering_id for each in best])
    return tuple(
        Match(
            offering=offerings[each.candidate.offering_id],
            quantity=each.candidate.quantity,
            start_at=EPOCH + each.start * HOUR,
            end_at=EPOCH + (each.start + each.hours) * HOUR,
            free_until=EPOCH + (each.start + each.free_hours) * HOUR,
            price=pricing.rounded(each.cost, each.candidate.currency),
            per_hour=pricing.decimal(each.cost // (each.hours * each.candidate.quantity), "0.0001"),
            currency=each.candidate.currency,
        )
        for each in best
        if each.candidate.offering_id in offerings
    )
