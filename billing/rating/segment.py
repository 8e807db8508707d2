"""The spans of a period in which neither the tariff nor the reserved quantity changes, and what is rated in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from billing.rating.calendar import HolidayCalendar, Run, cut, require_verified, runs
from billing.rating.line import History
from billing.rating.period import SECOND, Period, local_text
from billing.rating.quantity import Profile, Reserved, Unit, require_on_edge
from billing.rating.refusal import CalendarMissing, MeterDiffers, NoTariff, TimezoneDiffers, UnitMissing
from billing.rating.tariff import Capacity, Demand, Energy, Schedule, Tariff

# Of a meter without readings: it divides every demand interval.
UNUSED_INTERVAL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Segment:
    """[start, end) with one tariff and one reserved quantity; first and last are the same in seconds from the
    period's start, start_text and end_text in the tariff's local time.
    """

    tariff: Tariff
    calendar: HolidayCalendar | None
    reserved: int
    start: datetime
    end: datetime
    first: int
    last: int
    start_text: str
    end_text: str


@dataclass(frozen=True, slots=True)
class Meter:
    """A profile and its unit. Intervals are counted from the period's start, shift of them from the profile's."""

    code: str
    unit: Unit
    interval_seconds: int
    quantities: Sequence[int]
    shift: int

    def totals(self, spans: Sequence[Run]) -> list[int]:
        """The sum of each run's intervals; 0 where the profile has none."""
        quantities, shift = self.quantities, self.shift
        if spans and spans[0][0] + shift < 0:
            return [sum(quantities[max(0, first + shift) : max(0, end + shift)]) for first, end, _ in spans]
        return [sum(quantities[first + shift : end + shift]) for first, end, _ in spans]

    def total(self, first: int, end: int) -> int:
        return sum(self.quantities[max(0, first + self.shift) : max(0, end + self.shift)])

    def greatest(self, first: int, end: int) -> int:
        return max(self.quantities[max(0, first + self.shift) : max(0, end + self.shift)], default=0)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that rate() was given, checked and cut into segments."""

    period: Period
    segments: tuple[Segment, ...]
    meters: Mapping[str, Meter]
    units: Mapping[str, Unit]
    history: History
    exponent: int

    def runs(self, segment: Segment, schedule: Schedule, meter: Meter, first: int, last: int) -> tuple[Run, ...]:
        """The runs of time-of-use periods in the segment's part of [first, last), which are seconds from the
        period's start; the runs count the meter's intervals from there.
        """
        step = meter.interval_seconds
        whole = runs(schedule, segment.calendar, self.period, step)
        return cut(whole, max(segment.first, first) // step, min(segment.last, last) // step)

    def capacity_unit(self, charge: Capacity) -> Unit:
        """The unit that reserved quantities are counted in."""
        if charge.meter is not None:
            if charge.meter not in self.units:
                raise UnitMissing(f"charge {charge.code}: units has no {charge.meter!r}, the meter it counts in")
            return self.units[charge.meter]
        several = set(self.units.values()) or {Unit()}
        if len(several) > 1:
            raise UnitMissing(
                f"charge {charge.code}: units are {', '.join(sorted(self.units))}; expected one, or the charge's own meter"
            )
        return several.pop()


def meters(period: Period, profiles: Mapping[str, Profile], units: Mapping[str, Unit]) -> dict[str, Meter]:
    """By code; a meter without a profile was not used. Raises UnitMissing for a profile without a unit, NotOnEdge if
    the period starts within an interval.
    """
    found = {code: Meter(code, unit, UNUSED_INTERVAL_SECONDS, (), 0) for code, unit in units.items()}
    for code, profile in profiles.items():
        if code not in units:
            raise UnitMissing(
                f"profiles has the meter {code!r}: expected its unit in units too, there are {list(units)}"
            )
        step = profile.interval_seconds
        require_on_edge(period.start, step, "the period's start")
        shift = (period.start - profile.start) // SECOND // step
        found[code] = Meter(code, units[code], step, profile.quantities, shift)
    return found


def segments(
    *,
    period: Period,
    tariffs: Sequence[tuple[datetime, Tariff]],
    reserved: Sequence[Reserved],
    calendars: Mapping[str, HolidayCalendar],
    active: tuple[datetime, datetime | None] | None,
    intervals: Sequence[int],
) -> tuple[Segment, ...]:
    """The period's active part, split where the tariff or the reserved quantity changes; none if nothing is active.

    intervals are the metering intervals in seconds, on whose edges each split must fall. Raises NoTariff, NotOnEdge,
    TimezoneDiffers, CalendarMissing, HolidaysNotVerified,
    MeterDiffers.
    """
    if not tariffs:
        raise NoTariff("tariffs is empty: expected at least one version")
    start, end = period.start, period.end
    if active is not None:
        start = max(start, active[0])
        end = end if active[1] is None else min(end, active[1])
    if start >= end:
        return ()
    versions = sorted(tariffs, key=lambda version: version[0])
    for (one, _), (other, _) in pairwise(versions):
        if one == other:
            raise NoTariff(f"tariffs has two versions from {one.isoformat()}: expected one")
    if versions[0][0] > start:
        first = versions[0][0].isoformat()
        raise NoTariff(f"tariffs apply from {first}: expected one that applies from {start.isoformat()} or before")
    instants = {start, end}
    instants.update(at for at, _ in versions if start < at < end)
    for span in reserved:
        instants.update(at for at in (span.start, span.end) if start < at < end)
    spans: list[tuple[datetime, datetime, Tariff, int]] = []
    for one, other in pairwise(sorted(instants)):
        tariff = next(tariff for at, tariff in reversed(versions) if at <= one)
        quantity = sum(span.quantity for span in reserved if span.start <= one < span.end)
        if spans and spans[-1][3] == quantity and (spans[-1][2] is tariff or spans[-1][2] == tariff):
            spans[-1] = (spans[-1][0], other, tariff, quantity)
        else:
            spans.append((one, other, tariff, quantity))
    _require_same_meters([tariff for _, _, tariff, _ in spans])
    return tuple(_segment(period, calendars, intervals, span) for span in spans)


def _require_same_meters(tariffs: Sequence[Tariff]) -> None:
    """The counters and peaks of a charge are sums of one meter, so it keeps it from version to version."""
    known: dict[str, str] = {}
    for tariff in tariffs:
        for charge in tariff.charges:
            if isinstance(charge, Energy | Demand) and known.setdefault(charge.code, charge.meter) != charge.meter:
                raise MeterDiffers(
                    f"charge {charge.code} counts the meter {charge.meter!r} in tariff {tariff.code}: expected "
                    f"{known[charge.code]!r} as in the version before it, or another code"
                )


def _segment(
    period: Period,
    calendars: Mapping[str, HolidayCalendar],
    intervals: Sequence[int],
    span: tuple[datetime, datetime, Tariff, int],
) -> Segment:
    start, end, tariff, reserved = span
    if tariff.timezone != period.timezone:
        raise TimezoneDiffers(
            f"tariff {tariff.code} has the time zone {tariff.timezone}: expected the billing period's, {period.timezone}"
        )
    for interval in intervals:
        require_on_edge(start, interval, "the start of a price segment")
        require_on_edge(end, interval, "the end of a price segment")
    calendar = None
    if tariff.calendar is not None:
        if tariff.calendar not in calendars:
            given = ", ".join(sorted(calendars)) or "none"
            raise CalendarMissing(f"tariff {tariff.code} has the calendar {tariff.calendar!r}: given are {given}")
        calendar = calendars[tariff.calendar]
        require_verified(calendar, start, end, period.timezone)
    return Segment(
        tariff=tariff,
        calendar=calendar,
        reserved=reserved,
        start=start,
        end=end,
        first=(start - period.start) // SECOND,
        last=(end - period.start) // SECOND,
        start_text=local_text(start, period.timezone),
        end_text=local_text(end, period.timezone),
    )
