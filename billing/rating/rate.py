"""rate(): one billing period of one contract, from readings and tariff to lines. Pure: the same facts, the same bill.

The order of rating is the order of the lines: energy, demand, capacity, riders, standing, minimum, credits.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import TypeVar

from billing.rating.calendar import HolidayCalendar
from billing.rating.demand import demand_lines, peaks, period_peaks
from billing.rating.energy import counters, energy_lines
from billing.rating.line import Bill, History, Key, Line
from billing.rating.money import exponent
from billing.rating.period import Period
from billing.rating.plain import capacity_lines, credit_lines, minimum_lines, rider_lines, standing_lines
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.refusal import CurrencyDiffers, RatingRefused
from billing.rating.segment import Facts, Segment, meters, segments
from billing.rating.tariff import Capacity, Charge, Credit, Demand, Energy, Minimum, Rider, Standing, Tariff

__all__ = ["Bill", "History", "Line", "RatingRefused", "rate"]

C = TypeVar("C", bound=Charge)
NO_HISTORY = History()
DEFAULT_INTERVAL_SECONDS = 900


def rate(
    *,
    period: Period,
    tariffs: Sequence[tuple[datetime, Tariff]],
    profiles: Mapping[str, Profile],
    units: Mapping[str, Unit],
    reserved: Sequence[Reserved],
    calendars: Mapping[str, HolidayCalendar],
    history: History = NO_HISTORY,
    active: tuple[datetime, datetime | None] | None = None,
) -> Bill:
    """Rates one period.

    tariffs: versions with the instant (UTC) each applies from; the first may lie before the period. profiles and
    units: by meter code; a meter without a profile was not used. reserved: what was reserved when. calendars: by code.
    active: the contract's own start and end (None if open), which clip the period; a monthly price or minimum, and a
    demand price, is charged for the active part of the period in seconds. Raises RatingRefused, see refusal.py.
    """
    intervals = sorted({profile.interval_seconds for profile in profiles.values()}) or [DEFAULT_INTERVAL_SECONDS]
    parts = segments(
        period=period, tariffs=tariffs, reserved=reserved, calendars=calendars, active=active, intervals=intervals
    )
    currency = _currency(tariffs, parts)
    facts = Facts(
        period=period,
        segments=parts,
        meters=meters(period, profiles, units),
        units=units,
        history=history,
        exponent=exponent(currency),
    )
    lines: list[Line] = []
    greatest: dict[Key, int] = {}
    for energy, segment in _charges(parts, Energy):
        lines += energy_lines(facts, segment, energy)
    for demand, segment in _charges(parts, Demand):
        measured = peaks(facts, segment, demand)
        for key, peak in period_peaks(demand, measured).items():
            greatest[key] = max(greatest.get(key, 0), peak)
        lines += demand_lines(facts, segment, demand, measured)
    for capacity, segment in _charges(parts, Capacity):
        lines += capacity_lines(facts, segment, capacity)
    for rider, segment in _charges(parts, Rider):
        lines += rider_lines(facts, segment, rider, lines)
    for standing, segment in _charges(parts, Standing):
        lines += standing_lines(facts, segment, standing)
    lines += minimum_lines(facts, _charges(parts, Minimum), lines)
    lines += credit_lines(facts, _charges(parts, Credit), lines)
    return Bill(
        currency=currency,
        exponent=facts.exponent,
        lines=tuple(lines),
        total=sum((line.amount for line in lines), Fraction(0)),
        total_minor=sum(line.amount_minor for line in lines),
        peaks=greatest,
        counters=counters(facts),
    )


def _charges(parts: Sequence[Segment], kind: type[C]) -> list[tuple[C, Segment]]:
    """The charges of one kind with their segments: by code in the order of first appearance, then in time order."""
    found: dict[str, list[tuple[C, Segment]]] = {}
    for segment in parts:
        for charge in segment.tariff.charges:
            if isinstance(charge, kind):
                found.setdefault(charge.code, []).append((charge, segment))
    return [pair for pairs in found.values() for pair in pairs]


def _currency(tariffs: Sequence[tuple[datetime, Tariff]], parts: Sequence[Segment]) -> str:
    used = [segment.tariff for segment in parts] or [tariff for _, tariff in tariffs[-1:]]
    for tariff in used:
        if tariff.currency != used[0].currency:
            raise CurrencyDiffers(
                f"tariff {tariff.code} has the currency {tariff.currency}: expected {used[0].currency} as before it"
            )
    return used[0].currency
