"""Energy charges: quantities by time-of-use period and tier."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from billing.rating.line import Key, Line, exact
from billing.rating.money import round_half_up
from billing.rating.period import SECOND, anniversaries, local_text, spans
from billing.rating.quantity import require_on_edge
from billing.rating.refusal import EdgeNotWhole, HistoryMissing
from billing.rating.segment import Facts, Meter, Segment
from billing.rating.tariff import Energy, Tiers

Edges = tuple[int | None, ...]
# Base units of each run of one time-of-use period, in time order.
Used = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Window:
    """A span over which tiers accumulate: [first, last) in seconds from the period's start, cut to the period;
    before holds what was counted in it before the period.
    """

    first: int
    last: int
    before: Mapping[str | None, int]


def edges(tiers: Tiers, base_per_unit: Fraction, charge: str) -> Edges:
    """Each tier's upper edge in base units, None for the open one. Raises EdgeNotWhole."""
    found: list[int | None] = []
    for tier in tiers:
        if tier.up_to is None:
            found.append(None)
            continue
        edge = Fraction(tier.up_to) * base_per_unit
        if edge.denominator != 1:
            raise EdgeNotWhole(
                f"charge {charge}: up_to {tier.up_to} is {edge} base units: expected a whole number of them"
            )
        found.append(edge.numerator)
    return tuple(found)


def graduated(seen: int, quantity: int, edges: Edges) -> Iterator[tuple[int, int]]:
    """Splits a quantity that comes after seen at the tiers' edges: (index of the tier, its part), in order."""
    for index, edge in enumerate(edges):
        if edge is None or seen + quantity <= edge:
            yield index, quantity
            return
        if seen < edge:
            yield index, edge - seen
            quantity -= edge - seen
            seen = edge


def reached(total: int, edges: Edges) -> int:
    """The index of the tier that a total lies in; an edge belongs to the tier below it."""
    return next(index for index, edge in enumerate(edges) if edge is None or total <= edge)


def energy_lines(facts: Facts, segment: Segment, charge: Energy) -> list[Line]:
    """The charge's lines in one segment: one per time-of-use period and tier that has a quantity."""
    meter = facts.meters.get(charge.meter)
    if meter is None or not len(meter.quantities):
        return []
    per_unit = Fraction(meter.unit.base_per_unit)
    limits = {name: edges(tiers, per_unit, charge.code) for name, tiers in charge.prices}
    parts: Counter[tuple[str, int]] = Counter()
    intervals: Counter[str] = Counter()
    spans_of_basis = windows(facts, segment, charge)
    for window in spans_of_basis:
        runs = facts.runs(segment, charge.schedule, meter, window.first, window.last)
        for first, end, name in runs:
            intervals[name] += end - first
        used_here = list(zip((name for _, _, name in runs), meter.totals(runs), strict=True))
        seen = _seen(facts, segment, charge, window)
        if charge.tier_mode == "volume":
            later = used(facts, charge.code, segment.last, window.last)
            parts.update(_volume(charge, used_here, seen, later, limits))
        else:
            parts.update(_graduated(charge, used_here, seen, limits))
    starts = [window.first for window in spans_of_basis if segment.first < window.first]
    return [
        _line(
            facts,
            segment,
            charge,
            meter,
            block=(name, index, tiers),
            used=(parts[name, index], intervals[name], starts),
        )
        for name, tiers in charge.prices
        for index in range(len(tiers))
        if parts[name, index]
    ]


def _graduated(
    charge: Energy, used_here: Used, seen: Counter[str | None], limits: Mapping[str, Edges]
) -> dict[tuple[str, int], int]:
    """Each block of the tariff takes its part, in time order."""
    across = charge.tier_scope == "across_periods"
    parts: dict[tuple[str, int], int] = defaultdict(int)
    places = dict.fromkeys(limits, 0)  # the last tier that each period came to: its counter is not below it
    inside = dict.fromkeys(limits, 0)  # what came in it since
    next_edges = {name: own[0] for name, own in limits.items()}
    everything = seen[None]
    for name, quantity in used_here:
        if not quantity:
            continue
        before = everything if across else seen[name]
        after = before + quantity
        edge = next_edges[name]
        if edge is None or after <= edge:
            inside[name] += quantity
        else:
            for index, part in graduated(before, quantity, limits[name]):
                parts[name, index] += part
                last = index
            parts[name, places[name]] += inside[name]
            inside[name], places[name], next_edges[name] = 0, last, limits[name][last]
        if across:
            everything = after
        else:
            seen[name] = after
    for name, rest in inside.items():
        parts[name, places[name]] += rest
    return parts


def _volume(
    charge: Energy, used_here: Used, seen: Counter[str | None], later: Counter[str], limits: Mapping[str, Edges]
) -> dict[tuple[str, int], int]:
    """All of a window is priced in the tier that its total reaches, what later segments use of it included."""
    inside: Counter[str] = Counter()
    for name, quantity in used_here:
        inside[name] += quantity
    everything = seen[None] + inside.total() + later.total()
    across = charge.tier_scope == "across_periods"
    return {
        (name, reached(everything if across else seen[name] + quantity + later[name], limits[name])): quantity
        for name, quantity in inside.items()
    }


def _seen(facts: Facts, segment: Segment, charge: Energy, window: Window) -> Counter[str | None]:
    """What the window counted before the segment: under None all periods together, and under each its own."""
    seen: Counter[str | None] = Counter(window.before)
    if window.first < segment.first:
        earlier = used(facts, charge.code, window.first, segment.first)
        seen.update(earlier)
        seen[None] += earlier.total()
    return seen


def used(facts: Facts, code: str, first: int, last: int) -> Counter[str]:
    """Base units by time-of-use period that the charge of that code counted in [first, last), seconds from the
    period's start, each segment by its own tariff's schedule.
    """
    found: Counter[str] = Counter()
    for segment in facts.segments:
        if segment.last <= first or last <= segment.first:
            continue
        for charge in segment.tariff.charges:
            if charge.code == code and isinstance(charge, Energy) and charge.meter in facts.meters:
                meter = facts.meters[charge.meter]
                for start, end, name in facts.runs(segment, charge.schedule, meter, first, last):
                    found[name] += meter.total(start, end)
    return found


def windows(facts: Facts, segment: Segment, charge: Energy) -> list[Window]:
    """The spans of the charge's tier basis that the segment touches, in order."""
    whole = facts.period.seconds
    if charge.tier_basis == "month":
        return [Window(0, whole, {})]
    if charge.tier_basis == "day":
        days = spans(segment.start, segment.end, facts.period.timezone, "day")
        return [Window(max(0, _offset(facts, start)), min(whole, _offset(facts, end)), {}) for start, end in days]
    years = contract_years(facts, charge.code)
    return [year for year in years if year.first < segment.last and segment.first < year.last]


def contract_years(facts: Facts, code: str) -> list[Window]:
    """The contract years of the period. Raises HistoryMissing without the contract's start, or without the counters
    of a year that began before the period; NotOnEdge is raised where a year begins within an interval.
    """
    history, period = facts.history, facts.period
    if history.contract_start is None:
        raise HistoryMissing(
            f"charge {code}: history.contract_start is None: expected the instant contract years begin at"
        )
    begins = anniversaries(history.contract_start, period.timezone, period.start, period.end)
    before: dict[str | None, int] = {}
    if begins[0] < period.start:
        if (code, None) not in history.counters:
            raise HistoryMissing(
                f"charge {code}: history.counters has no ({code!r}, None): expected what was counted from "
                f"{begins[0].isoformat()} to {period.start.isoformat()}"
            )
        before = {name: counted for (owner, name), counted in history.counters.items() if owner == code}
    later = [at for at in begins if period.start < at < period.end]
    for at in later:
        for meter in facts.meters.values():
            require_on_edge(at, meter.interval_seconds, f"charge {code}: the start of a contract year")
    firsts = [0, *(_offset(facts, at) for at in later)]
    lasts = [*firsts[1:], period.seconds]
    return [
        Window(first, last, before if index == 0 else {})
        for index, (first, last) in enumerate(zip(firsts, lasts, strict=True))
    ]


def counters(facts: Facts) -> dict[Key, int]:
    """What the charges with contract-year tiers, and those that history counts, have counted at the period's end."""
    codes = {
        charge.code: None
        for segment in facts.segments
        for charge in segment.tariff.charges
        if isinstance(charge, Energy) and charge.tier_basis == "contract_year"
    }
    codes |= dict.fromkeys(code for code, _name in facts.history.counters)
    found: dict[Key, int] = {}
    for code in codes:
        year = contract_years(facts, code)[-1]
        counted: Counter[str | None] = Counter(year.before)
        inside = used(facts, code, year.first, year.last)
        counted.update(inside)
        counted[None] += inside.total()
        found |= {(code, name): quantity for name, quantity in counted.items()}
    return found


def _offset(facts: Facts, at: datetime) -> int:
    return (at - facts.period.start) // SECOND


def _line(
    facts: Facts,
    segment: Segment,
    charge: Energy,
    meter: Meter,
    *,
    block: tuple[str, int, Tiers],
    used: tuple[int, int, list[int]],
) -> Line:
    """The line of one period and tier; used: base units, intervals, and where contract years begin in the segment."""
    name, index, tiers = block
    quantity_base, intervals, starts = used
    price = tiers[index].price
    numerator, denominator = price.as_integer_ratio()
    amount = Fraction(quantity_base * numerator, meter.unit.base_per_unit * denominator)
    tax = segment.tariff.tax
    tier: dict[str, Any] | None = None
    if len(tiers) > 1:
        edge = tiers[index].up_to
        tier = {
            "basis": charge.tier_basis,
            "scope": charge.tier_scope,
            "mode": charge.tier_mode,
            "above": str(tiers[index - 1].up_to) if index else "0",
            "up_to": None if edge is None else str(edge),
        }
        if charge.tier_basis == "contract_year":
            zone = facts.period.timezone
            tier["years_from"] = [local_text(facts.period.start + first * SECOND, zone) for first in starts]
    return Line(
        charge=charge.code,
        kind=charge.kind,
        tou_period=name,
        tier=index + 1 if tier else None,
        start=segment.start,
        end=segment.end,
        quantity=Fraction(quantity_base, meter.unit.base_per_unit),
        quantity_base=quantity_base,
        unit=meter.unit.unit,
        base_unit=meter.unit.base_unit,
        unit_price=price,
        amount=amount,
        amount_minor=round_half_up(amount, facts.exponent),
        tax_category=tax.category,
        tax_rate=tax.rate,
        tax_included=tax.price_includes_tax,
        explanation={
            "tariff": segment.tariff.code,
            "meter": meter.code,
            "from": segment.start_text,
            "to": segment.end_text,
            "period": name,
            "intervals": intervals,
            "interval_seconds": meter.interval_seconds,
            "tier": tier,
            "quantity_base": quantity_base,
            "base_per_unit": meter.unit.base_per_unit,
            "unit_price": str(price),
            "amount": exact(amount),
        },
    )
