"""The charges that need no intervals: capacity, riders, standing, minimum and credits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.rating.line import Line, exact
from billing.rating.money import round_half_up
from billing.rating.period import Grain, count
from billing.rating.refusal import UnitMissing
from billing.rating.segment import Facts, Segment
from billing.rating.tariff import Capacity, Charge, Credit, Minimum, Rider, Standing


def capacity_lines(facts: Facts, segment: Segment, charge: Capacity) -> list[Line]:
    """What is reserved, for its time: quantity_base is in demand-unit-seconds (GPU-seconds)."""
    if not segment.reserved:
        return []
    unit = facts.capacity_unit(charge)
    seconds = segment.last - segment.first
    if charge.per == "unit_hour":
        time, name = Fraction(seconds, 3600), unit.unit
    else:
        grain: Grain = "day" if charge.per == "unit_day" else "month"
        time, name = _count(facts, segment, grain), f"{unit.demand_unit}_{grain}"
    line = _line(
        facts,
        segment,
        charge,
        quantity=segment.reserved * time,
        quantity_base=segment.reserved * seconds,
        unit=name,
        base_unit=f"{unit.demand_unit}_second",
        unit_price=charge.price,
        amount=segment.reserved * time * Fraction(charge.price),
        explanation={"reserved": segment.reserved, "per": charge.per, "time": exact(time)},
    )
    return [line]


def standing_lines(facts: Facts, segment: Segment, charge: Standing) -> list[Line]:
    """The amount for each local day, month or year, prorated by seconds."""
    time = _count(facts, segment, charge.per)
    return [
        _line(
            facts,
            segment,
            charge,
            quantity=time,
            quantity_base=segment.last - segment.first,
            unit=charge.per,
            base_unit="second",
            unit_price=charge.amount,
            amount=time * Fraction(charge.amount),
            explanation={"per": charge.per, "time": exact(time)},
        )
    ]


def rider_lines(facts: Facts, segment: Segment, charge: Rider, before: Sequence[Line]) -> list[Line]:
    """One line, unless it is zero: per unit or percent of the segment's lines of other charges, or fixed per month."""
    of = [line for line in before if _is_of(line, charge.of, segment)]
    basis = _basis(facts, charge, [segment], of)
    if not basis.amount:
        return []
    explanation = {"basis": charge.basis, "of": list(charge.of), "value": str(charge.value), **basis.explanation}
    line = _line(
        facts,
        segment,
        charge,
        quantity=basis.quantity,
        quantity_base=basis.quantity_base,
        unit=basis.unit,
        base_unit=basis.base_unit,
        unit_price=basis.unit_price,
        amount=basis.amount,
        explanation=explanation,
    )
    return [line]


def minimum_lines(facts: Facts, charges: Sequence[tuple[Minimum, Segment]], before: Sequence[Line]) -> list[Line]:
    """One line per minimum that what it counts does not reach, over the contract's whole active part.

    The minimum is per month, prorated by seconds; where tariff versions differ, each gives its part and says what
    counts in its time. The line's tax is the last version's.
    """
    lines: list[Line] = []
    for code in dict.fromkeys(charge.code for charge, _ in charges):
        own = [(charge, segment) for charge, segment in charges if charge.code == code]
        floor = counted = time = Fraction(0)
        seconds = 0
        for charge, segment in own:
            part = _count(facts, segment, "month")
            time += part
            seconds += segment.last - segment.first
            floor += part * Fraction(charge.amount)
            mine = (line.amount for line in [*before, *lines] if _is_of(line, charge.counts, segment))
            counted += sum(mine, Fraction(0))
        if floor <= counted:
            continue
        (charge, last), first = own[-1], own[0][1]
        lines.append(
            _line(
                facts,
                last,
                charge,
                first=first,
                quantity=time,
                quantity_base=seconds,
                unit="month",
                base_unit="second",
                unit_price=None,
                amount=floor - counted,
                explanation={
                    "amounts": [str(amount) for amount in dict.fromkeys(minimum.amount for minimum, _ in own)],
                    "minimum": exact(floor),
                    "counts": list(charge.counts),
                    "counted": exact(counted),
                    "time": exact(time),
                },
            )
        )
    return lines


def credit_lines(facts: Facts, charges: Sequence[tuple[Credit, Segment]], before: Sequence[Line]) -> list[Line]:
    """Negative lines. A credit takes no more than is left of what it credits, neither exactly nor in minor units.

    Per unit and percent: one line a segment. Fixed (per month, prorated by seconds): one line for the whole active
    part, so that a split of the month loses nothing.
    """
    left = [(line.amount, line.amount_minor) for line in before]
    lines: list[Line] = []
    for code in dict.fromkeys(charge.code for charge, _ in charges):
        own = [(charge, segment) for charge, segment in charges if charge.code == code]
        fixed = [(charge, segment) for charge, segment in own if charge.basis == "fixed"]
        groups = [[pair] for pair in own if pair[0].basis != "fixed"] + ([fixed] if fixed else [])
        for group in sorted(groups, key=lambda pairs: pairs[0][1].first):
            lines += _credit(facts, group, before, left)
    return lines


def _credit(
    facts: Facts, group: Sequence[tuple[Credit, Segment]], before: Sequence[Line], left: list[tuple[Fraction, int]]
) -> list[Line]:
    """One credit; takes from left, what is left of each line of before, in their order."""
    charge, last = group[-1]
    own = [
        index for index, line in enumerate(before) if any(_is_of(line, credit.of, segment) for credit, segment in group)
    ]
    basis = _basis(facts, charge, [segment for _, segment in group], [before[index] for index in own], group)
    taken = min(basis.amount, sum((left[index][0] for index in own), Fraction(0)))
    if taken <= 0:
        return []
    taken_minor = min(round_half_up(taken, facts.exponent), max(0, sum(left[index][1] for index in own)))
    rest, rest_minor = taken, taken_minor
    for index in own:
        amount, minor = left[index]
        part, part_minor = min(rest, max(amount, Fraction(0))), min(rest_minor, max(minor, 0))
        left[index] = (amount - part, minor - part_minor)
        rest, rest_minor = rest - part, rest_minor - part_minor
    line = _line(
        facts,
        last,
        charge,
        first=group[0][1],
        quantity=basis.quantity,
        quantity_base=basis.quantity_base,
        unit=basis.unit,
        base_unit=basis.base_unit,
        unit_price=None if basis.unit_price is None else -basis.unit_price,
        amount=-taken,
        explanation={
            "basis": charge.basis,
            "of": list(charge.of),
            "value": str(charge.value),
            "offered": exact(basis.amount),
            **basis.explanation,
        },
    )
    return [replace(line, amount_minor=-taken_minor)]


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a rider asks or a credit offers, before any limit."""

    amount: Fraction
    quantity: Fraction
    quantity_base: int
    unit: str
    base_unit: str
    unit_price: Decimal | None
    explanation: dict[str, Any]


def _basis(
    facts: Facts,
    charge: Rider | Credit,
    parts: Sequence[Segment],
    of: Sequence[Line],
    versions: Sequence[tuple[Credit, Segment]] = (),
) -> _Basis:
    if charge.basis == "fixed":
        seconds = sum(segment.last - segment.first for segment in parts)
        time = sum((_count(facts, segment, "month") for segment in parts), Fraction(0))
        pairs = [(version.value, segment) for version, segment in versions] or [(charge.value, parts[0])]
        amount = sum((Fraction(value) * _count(facts, segment, "month") for value, segment in pairs), Fraction(0))
        price = charge.value if len({value for value, _ in pairs}) == 1 else None
        return _Basis(amount, time, seconds, "month", "second", price, {"time": exact(time)})
    if charge.basis == "percent":
        total = sum((line.amount for line in of), Fraction(0))
        amount = total * Fraction(charge.value) / 100
        minor = sum(line.amount_minor for line in of)
        return _Basis(amount, Fraction(charge.value), minor, "percent", "minor", None, {"of_amount": exact(total)})
    units = {(line.unit, line.base_unit) for line in of}
    if len(units) > 1:
        raise UnitMissing(f"charge {charge.code}: it is per unit of {sorted(units)}: expected lines of one unit")
    unit, base_unit = units.pop() if units else ("", "")
    quantity = sum((line.quantity for line in of), Fraction(0))
    base = sum(line.quantity_base for line in of)
    return _Basis(quantity * Fraction(charge.value), quantity, base, unit, base_unit, charge.value, {})


def _is_of(line: Line, codes: Sequence[str], segment: Segment) -> bool:
    """Whether the line is of one of these charges and begins with the segment."""
    return line.charge in codes and line.start == segment.start


def _count(facts: Facts, segment: Segment, grain: Grain) -> Fraction:
    return count(segment.start, segment.end, facts.period.timezone, grain)


def _line(
    facts: Facts,
    segment: Segment,
    charge: Charge,
    *,
    quantity: Fraction,
    quantity_base: int,
    unit: str,
    base_unit: str,
    unit_price: Decimal | None,
    amount: Fraction,
    explanation: dict[str, Any],
    first: Segment | None = None,
) -> Line:
    """A line without time-of-use period and tier, from the start of first (the segment itself if None)."""
    begin = first or segment
    tax = segment.tariff.tax
    return Line(
        charge=charge.code,
        kind=charge.kind,
        tou_period=None,
        tier=None,
        start=begin.start,
        end=segment.end,
        quantity=quantity,
        quantity_base=quantity_base,
        unit=unit,
        base_unit=base_unit,
        unit_price=unit_price,
        amount=amount,
        amount_minor=round_half_up(amount, facts.exponent),
        tax_category=tax.category,
        tax_rate=tax.rate,
        tax_included=tax.price_includes_tax,
        explanation={
            "tariff": segment.tariff.code,
            "from": begin.start_text,
            "to": segment.end_text,
            "seconds": quantity_base if base_unit == "second" else segment.last - begin.first,
            **explanation,
            "unit_price": None if unit_price is None else str(unit_price),
            "amount": exact(amount),
        },
    )
