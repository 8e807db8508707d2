"""What a month will come to by its end: the readings so far, and those to be expected, rated by the one function.

Each 15 minutes to come are expected to be as the mean of the same weekday and time of day in the past four weeks; with
fewer than DAYS_BY_WEEKDAY whole days of use, of the same time of day on any day; with fewer than MIN_DAYS nothing is
foretold.

The range is to hold the use to come 8 times of 10. With s² the variance of daily use around its weekday's mean, n past
days and k to come, the variance of the sum to come is CLUSTERING s² (k + k²/n), and the range is Student's t times its root
to both sides, rated like the middle. Jobs last for days, so days are not independent: without CLUSTERING the range held
45 % of the months' ends that the tenants of a real month could have been foretold; with it, 82 % (the test is
tests/marketplace/test_forecast.py). Fewer than DAYS_BY_WEEKDAY days do not tell how far days scatter: no range.
Integers and fractions only.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.db import connection

from billing import charging
from billing.rating.money import round_half_up
from billing.rating.period import day_start
from billing.rating.quantity import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from billing.models import Account, BillingPeriod, Contract, Meter

DAYS = 28
MIN_DAYS = 3
DAYS_BY_WEEKDAY = 14
CLUSTERING = 6
SILENT_AFTER = timedelta(days=1)
INTERVAL = timedelta(minutes=15)
_STEP_SECONDS = 900
_POSTGRESQL_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Student's t for 80 % (two sides), in thousandths, by degrees of freedom from 1 on.
_T = (
    *(3078, 1886, 1638, 1533, 1476, 1440, 1415, 1397, 1383, 1372, 1363, 1356, 1350, 1345),
    *(1341, 1337, 1333, 1330, 1328, 1325, 1323, 1321, 1319, 1318, 1316, 1315, 1314, 1313),
)

Key = tuple[int, int]  # contract's id, meter's id


class Readings:
    """The stored readings of several contracts, as `usage.profile` gives them: one query for each span that is asked
    for, whatever the number of contracts.
    """

    def __init__(self, contracts: Sequence[Contract]) -> None:
        self._contracts = frozenset(contract.pk for contract in contracts)
        self._spans: dict[tuple[datetime, datetime], dict[Key, array[int]]] = {}

    def __call__(self, *, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:
        if contract.pk not in self._contracts:
            raise LookupError(f"contract {contract.number} is none of those that these readings are of")
        start, end = start_at.astimezone(UTC), end_at.astimezone(UTC)
        if (start, end) not in self._spans:
            self._spans[start, end] = self._load(start, end)
        found = self._spans[start, end].get((contract.pk, meter.pk))
        return Profile(start, _STEP_SECONDS, found or array("q", bytes(8 * ((end - start) // INTERVAL))))

    def _load(self, start: datetime, end: datetime) -> dict[Key, array[int]]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT contract_id, meter_id, string_agg(timestamptz_send(start_at), '' ORDER BY start_at),"
                " string_agg(int8send(quantity), '' ORDER BY start_at) FROM billing_reading"
                " WHERE contract_id = ANY(%s) AND start_at >= %s AND start_at < %s GROUP BY contract_id, meter_id",
                [list(self._contracts), start, end],
            )
            rows = cursor.fetchall()
        found: dict[Key, array[int]] = {}
        first = (start - _POSTGRESQL_EPOCH) // INTERVAL
        for contract_id, meter_id, starts, packed in rows:
            dense = found[contract_id, meter_id] = array("q", bytes(8 * ((end - start) // INTERVAL)))
            for instant, quantity in zip(_integers(starts), _integers(packed), strict=True):
                dense[instant // (_STEP_SECONDS * 1_000_000) - first] = quantity
        return found


def _integers(packed: bytes) -> array[int]:
    found = array("q", packed)
    if sys.byteorder == "little":
        found.byteswap()
    return found


@dataclass(frozen=True, slots=True)
class Outlook:
    """Base units expected in each interval of a span to come; 8 times of 10 their sum is off by at most `margin`, if known."""

    quantities: tuple[int, ...]
    margin: int | None
    days: int


def outlook(*, past: Profile, start_at: datetime, end_at: datetime, timezone: str) -> Outlook | None:
    """What to expect of [start_at, end_at) after `past`, whole local days; None with fewer than MIN_DAYS of them."""
    before = _places(past.start, len(past.quantities), timezone)
    daily: Counter[int] = Counter()
    for (day, _, _), quantity in zip(before, past.quantities, strict=True):
        daily[day] += quantity
    days = len(daily)
    if days < MIN_DAYS:
        return None
    by_weekday = days >= DAYS_BY_WEEKDAY
    sums: Counter[tuple[int, int]] = Counter()
    counts: Counter[tuple[int, int]] = Counter()
    for (_, weekday, quarter), quantity in zip(before, past.quantities, strict=True):
        kind = weekday if by_weekday else 0
        sums[kind, quarter] += quantity
        counts[kind, quarter] += 1
    ahead = _places(start_at, (end_at - start_at) // INTERVAL, timezone)
    expected = []
    for _, weekday, quarter in ahead:
        kind = weekday if by_weekday else 0
        seen = counts[kind, quarter]
        expected.append(round_half_up(Fraction(sums[kind, quarter], seen), 0) if seen else 0)
    weekdays = {day: weekday for day, weekday, _ in before}
    margin = _margin(daily, weekdays, Fraction(len(ahead), 96)) if by_weekday else None
    return Outlook(tuple(expected), margin, days)


def _margin(daily: Mapping[int, int], weekdays: Mapping[int, int], to_come: Fraction) -> int:
    """How far off the use of so many days to come may be, from at least two days of each weekday."""
    counts = Counter(weekdays.values())
    sums: Counter[int] = Counter()
    for day, quantity in daily.items():
        sums[weekdays[day]] += quantity
    squares = sum(
        ((quantity - Fraction(sums[weekdays[day]], counts[weekdays[day]])) ** 2 for day, quantity in daily.items()),
        Fraction(0),
    )
    freedom = len(daily) - len(counts)
    spread = CLUSTERING * (to_come + to_come * to_come / len(daily))
    student = Fraction(_T[min(freedom, len(_T)) - 1], 1000)
    return isqrt(int(student**2 * squares / freedom * spread))


@lru_cache(maxsize=64)
def _places(start: datetime, count: int, timezone: str) -> tuple[tuple[int, int, int], ...]:
    """Of each interval its local day, weekday and quarter hour."""
    zone = ZoneInfo(timezone)
    found = []
    for number in range(count):
        local = (start + number * INTERVAL).astimezone(zone)
        found.append((local.toordinal(), local.weekday(), local.hour * 4 + local.minute // 15))
    return tuple(found)


class NothingToGoOnError(Exception):
    """A contract in use has fewer than MIN_DAYS whole days of it."""


class Expected:
    """A reader: the stored readings up to the last one before `at`, and after that what is expected.

    side: 0 for the middle, -1 and 1 for the ends of the range. `last` has the start of each meter's last reading; a
    meter that has said nothing for a day is taken for idle up to `at`. Raises NothingToGoOnError when asked.
    """

    def __init__(self, *, readings: Readings, last: Mapping[Key, datetime], at: datetime, timezone: str) -> None:
        self.days = DAYS
        self._readings, self._last, self._timezone = readings, last, timezone
        self._now = at - (at - _POSTGRESQL_EPOCH) % INTERVAL
        self._outlooks: dict[Key, tuple[datetime, Outlook]] = {}

    def side(self, side: int) -> charging.Reader:
        def read(*, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:
            return self._read(contract, meter, start_at, end_at, side)

        return read

    def beyond(self, *, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> list[int]:
        """What is expected more than what is stored, in base units by interval. Raises NothingToGoOnError."""
        stored = self._readings(contract=contract, meter=meter, start_at=start_at, end_at=end_at)
        expected = self._read(contract, meter, start_at, end_at, 0)
        return [more - less for more, less in zip(expected.quantities, stored.quantities, strict=True)]

    def _read(self, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime, side: int) -> Profile:
        stored = self._readings(contract=contract, meter=meter, start_at=start_at, end_at=end_at)
        if end_at <= self._now:
            return stored
        since, ahead = self._outlook(contract, meter, end_at)
        if ahead is None:
            return stored
        total = sum(ahead.quantities)
        target = max(0, total + side * (ahead.margin or 0))
        quantities = array("q", stored.quantities)
        first = (since - start_at) // INTERVAL
        for number, expected in enumerate(spread(ahead.quantities, target)):
            if first + number >= 0:
                quantities[first + number] = max(quantities[first + number], expected)
        return Profile(stored.start, _STEP_SECONDS, quantities)

    def _outlook(self, contract: Contract, meter: Meter, end_at: datetime) -> tuple[datetime, Outlook | None]:
        last = self._last.get((contract.pk, meter.pk))
        if last is None:
            return self._now, None
        since = min(last + INTERVAL, self._now)
        if self._now - since > SILENT_AFTER:
            since = self._now
        until = end_at if contract.end_at is None else min(end_at, contract.end_at)
        if until <= since:
            return since, None
        key = (contract.pk, meter.pk)
        if key not in self._outlooks:
            past = self._past(contract, meter, since)
            ahead = outlook(past=past, start_at=since, end_at=until, timezone=self._timezone) if past else None
            if ahead is None:
                raise NothingToGoOnError(f"contract {contract.number}: fewer than {MIN_DAYS} whole days of use")
            self.days = min(self.days, ahead.days)
            self._outlooks[key] = (since, ahead)
        return self._outlooks[key]

    def _past(self, contract: Contract, meter: Meter, since: datetime) -> Profile | None:
        """The whole local days before `since`, DAYS at most, from the one after the first use on."""
        zone = ZoneInfo(self._timezone)
        today = since.astimezone(zone).date()
        start, end = (day_start(day, self._timezone) for day in (today - timedelta(days=DAYS), today))
        stored = self._readings(contract=contract, meter=meter, start_at=start, end_at=end)
        used = next((number for number, quantity in enumerate(stored.quantities) if quantity), None)
        if used is None:
            return None
        if used >= 96:  # not in use from the first day on: begin with the first whole day of use
            day = (start + used * INTERVAL).astimezone(zone).date()
            begin = day_start(day, self._timezone)
            if begin != start + used * INTERVAL:
                begin = day_start(day + timedelta(days=1), self._timezone)
            skipped = (begin - start) // INTERVAL
            return Profile(begin, _STEP_SECONDS, stored.quantities[skipped:]) if begin < end else None
        return stored


def spread(weights: Sequence[int], target: int) -> list[int]:
    """`target` in proportion to the weights, or evenly if they are all zero; whole numbers that sum to it."""
    total = sum(weights)
    if not total:
        weights, total = [1] * len(weights), len(weights)
    found, seen, given = [], 0, 0
    for weight in weights:
        seen += weight
        share = seen * target // total - given
        given += share
        found.append(share)
    return found


class Until:
    """A reader: the stored readings, and nothing from `cut_at` on."""

    def __init__(self, *, readings: Readings, cut_at: datetime) -> None:
        self._readings, self._cut_at = readings, cut_at

    def __call__(self, *, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:
        stored = self._readings(contract=contract, meter=meter, start_at=start_at, end_at=end_at)
        kept = max(0, (self._cut_at - start_at) // INTERVAL)
        if kept >= len(stored.quantities):
            return stored
        return Profile(stored.start, _STEP_SECONDS, [*stored.quantities[:kept], *[0] * (len(stored.quantities) - kept)])


@dataclass(frozen=True, slots=True)
class MonthEnd:
    """The month's charges as they stand, and at its end: the middle, and the range of what is payable, in minor units, where
    it is known.

    expected is None where nothing can be foretold. days: of the past that it was foretold from, the fewest of a contract.
    """

    so_far: charging.Charges
    expected: charging.Charges | None = None
    range_minor: tuple[int, int] | None = None
    days: int = 0


def month_end(*, account: Account, period: BillingPeriod, readings: Readings, expected: Expected) -> MonthEnd:
    """What stands is `charging.charges`, of all that is stored. Raises charging.NotChargeableError."""
    sides = [expected.side(side) for side in (0, -1, 1)]
    try:
        so_far, middle, low, high = charging.charges_by(account=account, period=period, reads=[readings, *sides])
    except NothingToGoOnError:
        return MonthEnd(charging.charges(account=account, period=period, read=readings))
    ends = sorted([low.payable_minor, middle.payable_minor, high.payable_minor])
    is_known = expected.days >= DAYS_BY_WEEKDAY
    return MonthEnd(so_far, middle, (ends[0], ends[-1]) if is_known else None, expected.days)


def same_day_before(*, at: datetime, period: BillingPeriod, previous: BillingPeriod) -> datetime:
    """The instant in the month before that is as far on as `at`: the same day and time, or that month's end."""
    zone = ZoneInfo(period.timezone)
    local = at.astimezone(zone)
    start = previous.start_at.astimezone(zone)
    if local.day > previous.last_date.day:
        return previous.end_at
    moment = local.replace(year=start.year, month=start.month, microsecond=0, second=0, minute=local.minute // 15 * 15)
    return moment.astimezone(UTC)
