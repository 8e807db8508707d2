"""What a GPU-hour costs at each hour of the week, read off a tariff, to show and to rank by. The quote is `billing`'s.

Prices are net, per GPU that is in use all the time, at the first tier. In them are: energy (of the GPU meter), capacity,
demand by month (its tier's price for the time's part of the month, as billing prorates it), riders per unit and percent of
these; and apart from them, as fixed parts of a contract, standing charges and fixed riders by their part of the time. Left
out, and named in `left_out`: tiers beyond the first, demand by period, ratchets, minimums, credits, and what other meters
measure. So a reservation of a new buyer that stays in the first tier costs this, up to the rounding of its lines; others may
cost more or less, which `billing.charging.estimate` says to the minor unit.

Amounts here are whole numbers of 10^-12 of the currency (`PER_UNIT`), so that sums are exact; hours are whole UTC hours.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, get_args
from zoneinfo import ZoneInfo

from billing import calendars
from billing.rating.calendar import DayKind, HolidayCalendar, day_kind
from billing.rating.money import exponent
from billing.rating.period import SECOND, day_start
from billing.rating.tariff import Capacity, Charge, Credit, Demand, Energy, Minimum, Rider, Standing, Tariff

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GPU_METER = "gpu_hours"
PER_UNIT = 10**12
HOUR = timedelta(hours=1)
KINDS: tuple[DayKind, ...] = get_args(DayKind)

_Rows = tuple[tuple[int, ...], ...]  # 12 months of 24 local hours
_DAY, _MONTH, _YEAR = (23, 25), (28 * 24 - 1, 31 * 24 + 1), (365 * 24 - 1, 366 * 24 + 1)  # least and most hours


@dataclass(frozen=True, slots=True)
class Prices:
    """A tariff version's prices. `hours`: per GPU-hour by kind of day, month and local hour; `day`, `month`: per GPU and
    local day or month, on top; `fixed_...`: per contract. From `until`, a local date, it has none (None: open).
    """

    currency: str
    timezone: str
    calendar: str | None
    until: date | None
    hours: Mapping[str, _Rows]
    day: int
    month: int
    fixed_day: int
    fixed_month: int
    fixed_year: int
    left_out: tuple[str, ...]

    @property
    def has_discounts(self) -> bool:
        """Whether some hour may cost less than nothing."""
        least = min(min(row) for rows in self.hours.values() for row in set(rows))
        return least < 0 or any(getattr(self, name) < 0 for name in _NUMBERS)

    def as_json(self) -> dict[str, Any]:
        """Months that are all alike stand there once."""
        rows = {
            kind: [list(row) for row in (rows[:1] if len(set(rows)) == 1 else rows)]
            for kind, rows in self.hours.items()
        }
        plain = {name: getattr(self, name) for name in (*_NUMBERS, "currency", "timezone", "calendar")}
        until = None if self.until is None else self.until.isoformat()
        return plain | {"until": until, "hours": rows, "left_out": list(self.left_out)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Prices:
        hours = {}
        for kind, rows in stored["hours"].items():
            months = tuple(tuple(row) for row in rows)
            hours[kind] = months * 12 if len(months) == 1 else months
        return cls(
            **{name: stored[name] for name in (*_NUMBERS, "currency", "timezone", "calendar")},
            until=None if stored["until"] is None else date.fromisoformat(stored["until"]),
            hours=hours,
            left_out=tuple(stored["left_out"]),
        )


_NUMBERS = ("day", "month", "fixed_day", "fixed_month", "fixed_year")


@dataclass(frozen=True, slots=True)
class Series:
    """Prices hour by hour from `start_at`, as sums up to each hour: `unit[n]` is what n hours cost per GPU, `fixed[n]` what
    a contract costs besides. Ends before the first hour that has no price.
    """

    start_at: datetime
    unit: list[int]
    fixed: list[int]

    def cost(self, *, first: int, end: int, quantity: int) -> int:
        """Of hours [first, end), counted from start_at."""
        return quantity * (self.unit[end] - self.unit[first]) + self.fixed[end] - self.fixed[first]


def decimal(amount: int, quantum: str = "0.000000000001") -> Decimal:
    """An amount in units of the currency, exactly, or rounded half up to `quantum`."""
    places = -int(Decimal(quantum).as_tuple().exponent)
    step = 10 ** (12 - places)
    whole = (2 * abs(amount) + step) // (2 * step) * (1 if amount >= 0 else -1)
    sign, digits, _ = Decimal(whole).as_tuple()
    return Decimal((sign, digits, -places))


def rounded(amount: int, currency: str) -> Decimal:
    """An amount to the currency's minor unit, half up."""
    return decimal(amount, str(Decimal(1).scaleb(-exponent(currency))))


# Reading a tariff


@dataclass(slots=True)
class _Part:
    """What a charge adds: per GPU and hour, local day or month; fixed per day, month or year. `counts`: its priced units a
    GPU has in an hour, day or month.
    """

    hours: dict[str, list[list[Fraction]]] = field(
        default_factory=lambda: {kind: [[Fraction(0)] * 24 for _ in range(12)] for kind in KINDS}
    )
    day: Fraction = Fraction(0)
    month: Fraction = Fraction(0)
    fixed_day: Fraction = Fraction(0)
    fixed_month: Fraction = Fraction(0)
    fixed_year: Fraction = Fraction(0)
    counts: str = ""

    def add(self, other: _Part, factor: Fraction) -> None:
        for kind, rows in self.hours.items():
            for row, others in zip(rows, other.hours[kind], strict=True):
                row[:] = [one + factor * more for one, more in zip(row, others, strict=True)]
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + factor * getattr(other, name))

    def flat(self, price: Fraction) -> None:
        for rows in self.hours.values():
            for row in rows:
                row[:] = [each + price for each in row]


def prices_of(*, tariff: Tariff) -> Prices:
    """The prices of a parsed tariff."""
    parts: dict[str, _Part] = {}
    left_out = []
    for charge in sorted(tariff.charges, key=lambda each: isinstance(each, Rider)):  # riders are of the others
        part = _part(charge, parts)
        if part is not None:
            parts[charge.code] = part
        if part is None or _is_more(charge):
            left_out.append(charge.code)
    total = _Part()
    net = 1 / (1 + Fraction(tariff.tax.rate)) if tariff.tax.price_includes_tax else Fraction(1)
    for part in parts.values():
        total.add(part, net)
    return Prices(
        currency=tariff.currency,
        timezone=tariff.timezone,
        calendar=tariff.calendar,
        until=tariff.effective[1],
        hours={kind: tuple(tuple(_whole(each) for each in row) for row in rows) for kind, rows in total.hours.items()},
        day=_whole(total.day),
        month=_whole(total.month),
        fixed_day=_whole(total.fixed_day),
        fixed_month=_whole(total.fixed_month),
        fixed_year=_whole(total.fixed_year),
        left_out=tuple(each.code for each in tariff.charges if each.code in left_out),
    )


def _part(charge: Charge, parts: Mapping[str, _Part]) -> _Part | None:  # noqa: PLR0911  - one answer for each kind
    """What the charge adds at the first tier; None: it is left out."""
    match charge:
        case Energy(meter=meter) if meter == GPU_METER:
            return _energy(charge)
        case Capacity(meter=meter) if meter in (None, GPU_METER):
            return _per_gpu(charge.per.removeprefix("unit_"), Fraction(charge.price))
        case Demand(meter=meter, by="month") if meter == GPU_METER:
            return _Part(month=Fraction(charge.prices[0][1][0].price))
        case Standing():
            return _Part(**{f"fixed_{charge.per}": Fraction(charge.amount)})  # type: ignore[arg-type]
        case Rider(basis="fixed"):
            return _Part(fixed_month=Fraction(charge.value))
        case Rider():
            return _rider(charge, [parts[code] for code in charge.of if code in parts])
        case Energy() | Capacity() | Demand() | Minimum() | Credit():
            return None
    raise AssertionError(charge)


def _is_more(charge: Charge) -> bool:
    """Whether the charge also has what is left out."""
    if isinstance(charge, Energy):
        return any(len(tiers) > 1 for _, tiers in charge.prices)
    return isinstance(charge, Demand) and (charge.ratchet is not None or len(charge.prices[0][1]) > 1)


def _energy(charge: Energy) -> _Part:
    price = {name: Fraction(tiers[0].price) for name, tiers in charge.prices}
    schedule = charge.schedule
    rows = {"weekday": schedule.weekday, "weekend": schedule.weekend, "holiday": schedule.holiday}
    return _Part(hours={kind: [[price[name] for name in row] for row in rows[kind]] for kind in KINDS}, counts="hour")


def _per_gpu(grain: str, price: Fraction) -> _Part:
    part = _Part(counts=grain)
    if grain == "hour":
        part.flat(price)
    else:
        setattr(part, grain, price)
    return part


def _rider(charge: Rider, of: Sequence[_Part]) -> _Part | None:
    if not of:
        return None
    part = _Part()
    for each in of:
        if charge.basis == "percent":
            part.add(each, Fraction(charge.value) / 100)
        elif each.counts:
            part.add(_per_gpu(each.counts, Fraction(charge.value)), Fraction(1))
    return part


def _whole(amount: Fraction) -> int:
    """Half up, away from zero on ties, as billing rounds."""
    scaled = abs(amount) * PER_UNIT
    rounded = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return rounded if amount >= 0 else -rounded


# Hour by hour


def series(*, versions: Sequence[tuple[datetime, Prices]], start_at: datetime, hours: int) -> Series | None:
    """The prices of each of so many hours from start_at on under the version that applies at start_at; None before the
    first. A reservation keeps that version to its end.
    """
    place = bisect_right([effective_at for effective_at, _ in versions], start_at) - 1
    return None if place < 0 else hour_by_hour(prices=versions[place][1], start_at=start_at, hours=hours)


def hour_by_hour(*, prices: Prices, start_at: datetime, hours: int) -> Series:
    """The prices of each of so many hours from start_at on."""
    unit, fixed = [0], [0]
    has_fixed = prices.fixed_day or prices.fixed_month or prices.fixed_year
    for part in _parts(prices.timezone, prices.calendar, start_at, hours):
        if prices.until is not None and part.date >= prices.until:
            break
        rest = _share(prices.day, part.day_seconds) + _share(prices.month, part.month_seconds)
        if part.quarters:
            unit += [_of_quarters(prices, each) + rest for each in part.quarters]
        else:
            row = prices.hours[part.kind][part.date.month - 1][part.first : part.first + part.count]
            unit += [each + rest for each in row] if rest else row
        if has_fixed:
            fixed += [
                _share(prices.fixed_day, part.day_seconds)
                + _share(prices.fixed_month, part.month_seconds)
                + _share(prices.fixed_year, part.year_seconds)
            ] * part.count
    return Series(start_at, list(accumulate(unit)), list(accumulate(fixed)) if has_fixed else [0] * len(unit))


@dataclass(frozen=True, slots=True)
class _DayPart:
    """`count` hours that begin in one local day: from its hour `first` on, if each is one of the 24; else `quarters` says of
    each hour what (kind of day, month, local hour) its four quarters are in. The lengths of the day, its month and its year.
    """

    date: date
    kind: str
    first: int
    count: int
    quarters: tuple[tuple[tuple[str, int, int], ...], ...]
    day_seconds: int
    month_seconds: int
    year_seconds: int


@lru_cache(maxsize=64)  # of the many tariffs of one search most have the same time zone and calendar
def _parts(timezone: str, calendar_code: str | None, start_at: datetime, hours: int) -> tuple[_DayPart, ...]:
    """The hours by local day, up to the last day whose holidays are known."""
    calendar = calendars.by_code().get(calendar_code) if calendar_code else None
    day = start_at.astimezone(ZoneInfo(timezone)).date()
    instant, end_at = start_at, start_at + hours * HOUR
    found = []
    while instant < end_at and (calendar is None or day <= calendar.verified_until):
        begin, finish = day_start(day, timezone), day_start(day + timedelta(days=1), timezone)
        if finish > begin:
            first = max(instant, begin)
            count = -((first - min(end_at, finish)) // HOUR)
            found.append(_day_part(timezone, calendar, (day, begin, finish), first, count))
            instant = first + count * HOUR
        day += timedelta(days=1)
    return tuple(found)


def _day_part(
    timezone: str, calendar: HolidayCalendar | None, whole: tuple[date, datetime, datetime], first: datetime, count: int
) -> _DayPart:
    day, begin, finish = whole
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    month = day_start(following, timezone) - day_start(day.replace(day=1), timezone)
    year = day_start(date(day.year + 1, 1, 1), timezone) - day_start(date(day.year, 1, 1), timezone)
    quarters: tuple[tuple[tuple[str, int, int], ...], ...] = ()
    if finish - begin != 24 * HOUR or (first - begin) % HOUR or not steady(timezone):
        # An hour of ours may lie in two of a zone between the hours: time of use is decided by quarters.
        zone = ZoneInfo(timezone)
        locals_ = [
            [(first + (4 * number + part) * HOUR / 4).astimezone(zone) for part in range(4)] for number in range(count)
        ]
        quarters = tuple(
            tuple((day_kind(each.date(), calendar), each.month, each.hour) for each in four) for four in locals_
        )
    return _DayPart(
        date=day,
        kind=day_kind(day, calendar),
        first=(first - begin) // HOUR,
        count=count,
        quarters=quarters,
        day_seconds=(finish - begin) // SECOND,
        month_seconds=month // SECOND,
        year_seconds=year // SECOND,
    )


def _of_quarters(prices: Prices, quarters: Sequence[tuple[str, int, int]]) -> int:
    return sum(prices.hours[kind][month - 1][hour] for kind, month, hour in quarters) // 4


def price_of_window(
    *, versions: Sequence[tuple[datetime, Prices]], quantity: int, start_at: datetime, end_at: datetime
) -> Decimal | None:
    """The price of quantity GPUs over whole hours under the version that applies at the start; None: not all has a price."""
    hours = (end_at - start_at) // HOUR
    found = series(versions=versions, start_at=start_at, hours=hours)
    if found is None or len(found.unit) <= hours:
        return None
    return decimal(found.cost(first=0, end=hours, quantity=quantity))


def days(*, prices: Prices, month: int) -> dict[str, tuple[Decimal, ...]]:
    """Per GPU-hour, the 24 local hours of a weekday, a weekend's day and a holiday of that month (of a common year)."""
    rest = prices.day // 24 + prices.month // (24 * monthrange(2025, month)[1])
    return {kind: tuple(decimal(each + rest) for each in prices.hours[kind][month - 1]) for kind in KINDS}


def week(*, prices: Prices, monday: date) -> list[tuple[date, str, tuple[Decimal, ...]]]:
    """The seven local days from `monday` on: (date, kind of day, 24 prices per GPU-hour); the kind of a day whose holidays
    are not known yet is told by its weekday.
    """
    calendar = calendars.by_code().get(prices.calendar) if prices.calendar else None
    dates = [monday + timedelta(days=number) for number in range(7)]
    kinds = [day_kind(each, calendar) for each in dates]
    return [(each, kind, days(prices=prices, month=each.month)[kind]) for each, kind in zip(dates, kinds, strict=True)]


def _share(amount: int, seconds: int) -> int:
    """An hour's part of what so many seconds cost."""
    return amount * 3600 // seconds


@lru_cache(maxsize=64)
def steady(timezone: str) -> bool:
    """Whether the zone is a whole number of hours from UTC and does not change its clock, in these decades."""
    zone = ZoneInfo(timezone)
    months = [datetime(year, month, 1, tzinfo=zone) for year in range(2020, 2041) for month in range(1, 13)]
    offsets = {each.utcoffset() or timedelta(0) for each in months}
    return len(offsets) == 1 and not min(offsets) % HOUR


# What is certain of any window


def mean(prices: Prices) -> int:
    """Per GPU-hour, over the weeks of a year without holidays: five weekdays and a weekend, the months alike."""
    weeks = 5 * sum(map(sum, prices.hours["weekday"])) + 2 * sum(map(sum, prices.hours["weekend"]))
    return weeks // (12 * 7 * 24) + prices.day // 24 + prices.month * 12 // (365 * 24)


def floors(prices: Prices, kinds: Sequence[DayKind] = KINDS) -> list[int]:
    """25 sums: no window of r hours costs less per GPU than the r-th, and none of 24 d + r hours less than d times the
    last and the r-th. Of a contract's fixed parts only a discount is in them, as if each GPU had it. Given
    `kinds`, of windows that touch no day of another kind.
    """
    rest = _least(prices.day, _DAY) + _least(prices.month, _MONTH)
    rest += min(
        0, _least(prices.fixed_day, _DAY) + _least(prices.fixed_month, _MONTH) + _least(prices.fixed_year, _YEAR)
    )
    rows = [row for kind in kinds for row in prices.hours[kind]]
    least = [min(each) + rest for each in zip(*rows, strict=True)]
    if not steady(prices.timezone):
        return [count * min(least) for count in range(25)]
    sums = [0, *accumulate(least + least)]
    return [min(sums[start + count] - sums[start] for start in range(24)) for count in range(25)]


def _least(amount: int, hours: tuple[int, int]) -> int:
    """The least that an hour's part of the amount can be."""
    return min(amount // each for each in hours)
