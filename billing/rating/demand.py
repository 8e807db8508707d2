"""Demand charges: the greatest interval average."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from billing.rating.energy import edges
from billing.rating.line import Key, Line, exact
from billing.rating.money import round_half_up
from billing.rating.period import SECOND
from billing.rating.quantity import EPOCH
from billing.rating.refusal import IntervalsDiffer, UnitMissing
from billing.rating.segment import Facts, Meter, Segment
from billing.rating.tariff import Demand, Ratchet, Tiers


def peaks(facts: Facts, segment: Segment, charge: Demand) -> dict[str, int]:
    """Base units of the greatest demand interval of the segment, by the charge's periods that have one in it.

    Demand intervals are aligned to UTC; one that lies across the segment's edge counts with its part inside, over its
    whole length. The time-of-use period at an interval's start is its own. Raises IntervalsDiffer, UnitMissing.
    """
    meter = facts.meters.get(charge.meter)
    if meter is None:
        if charge.ratchet is not None and any(code == charge.code for code, _ in facts.history.peaks):
            raise UnitMissing(f"charge {charge.code}: units has no {charge.meter!r}, in which its past peaks count")
        return {}
    step = meter.interval_seconds
    ratio, rest = divmod(charge.interval_minutes * 60, step)
    if rest:
        raise IntervalsDiffer(
            f"charge {charge.code}: interval_minutes is {charge.interval_minutes}: expected a multiple of the "
            f"{step}-second interval of meter {charge.meter!r}"
        )
    if charge.by == "month":
        spans: Sequence[tuple[int, int, str]] = ((segment.first // step, segment.last // step, "all"),)
    else:
        spans = facts.runs(segment, charge.schedule, meter, segment.first, segment.last)
    found: dict[str, int] = {}
    for first, end, name in spans:
        if ratio == 1:
            greatest: int | None = meter.greatest(first, end)
        else:
            greatest = _greatest_block(facts, segment, meter, ratio, (first, end))
        if greatest is not None:
            found[name] = max(found.get(name, 0), greatest)
    return found


def _greatest_block(facts: Facts, segment: Segment, meter: Meter, ratio: int, run: tuple[int, int]) -> int | None:
    """The greatest sum of a demand interval of ratio metering intervals that starts in the run."""
    first, end = run
    step = meter.interval_seconds
    lowest, highest = segment.first // step, segment.last // step
    before = (facts.period.start - EPOCH) // SECOND // step
    start = first if first == lowest else first + -(first + before) % ratio
    greatest = None
    while start < end:
        following = start + ratio - (start + before) % ratio
        total = meter.total(start, min(following, highest))
        greatest = total if greatest is None else max(greatest, total)
        start = following
    return greatest


def demand_lines(facts: Facts, segment: Segment, charge: Demand, measured: Mapping[str, int]) -> list[Line]:
    """The charge's lines in one segment: one per demand period and tier that has a quantity. measured as by peaks()."""
    lines: list[Line] = []
    for name, tiers in charge.prices:
        if name in measured:
            lines += _tier_lines(facts, segment, charge, name=name, tiers=tiers, peak=measured[name])
    return lines


def _tier_lines(facts: Facts, segment: Segment, charge: Demand, *, name: str, tiers: Tiers, peak: int) -> list[Line]:
    meter = facts.meters[charge.meter]
    seconds = charge.interval_minutes * 60
    per_unit = Fraction(meter.unit.base_per_unit * seconds, 3600)
    key: Key = (charge.code, None if charge.by == "month" else name)
    past = facts.history.peaks.get(key, ())
    floor = ratchet_floor(charge.ratchet, past)
    billed = max(Fraction(peak), floor)
    lines = []
    below = 0
    for index, edge in enumerate(edges(tiers, per_unit, charge.code)):
        part = (billed if edge is None else min(billed, Fraction(edge))) - below
        if part <= 0:
            break
        inside = max(0, (peak if edge is None else min(peak, edge)) - below)
        quantity = part / per_unit
        line = _line(facts, segment, charge, name=key[1], block=(index, tiers), quantity=quantity, quantity_base=inside)
        lines.append(line)
        line.explanation["measured_base"] = peak
        if charge.ratchet is not None:
            line.explanation["ratchet"] = {
                "percent": str(charge.ratchet.percent),
                "lookback_months": charge.ratchet.lookback_months,
                "past_base": list(past[-charge.ratchet.lookback_months :]),
                "floor_base": exact(floor),
            }
        below = edge or 0
    return lines


def ratchet_floor(ratchet: Ratchet | None, past: tuple[int, ...]) -> Fraction:
    """The least billed demand in base units: percent of the greatest peak of the last lookback months."""
    if ratchet is None:
        return Fraction(0)
    return Fraction(ratchet.percent) / 100 * max(past[-ratchet.lookback_months :], default=0)


def _line(
    facts: Facts,
    segment: Segment,
    charge: Demand,
    *,
    name: str | None,
    block: tuple[int, Tiers],
    quantity: Fraction,
    quantity_base: int,
) -> Line:
    meter = facts.meters[charge.meter]
    index, tiers = block
    seconds = charge.interval_minutes * 60
    price, edge = tiers[index].price, tiers[index].up_to
    part, whole = segment.last - segment.first, facts.period.seconds
    amount = quantity * Fraction(price) * Fraction(part, whole)
    tax = segment.tariff.tax
    return Line(
        charge=charge.code,
        kind=charge.kind,
        tou_period=name,
        tier=index + 1 if len(tiers) > 1 else None,
        start=segment.start,
        end=segment.end,
        quantity=quantity,
        quantity_base=quantity_base,
        unit=meter.unit.demand_unit,
        base_unit=f"{meter.unit.base_unit}/{seconds}s",
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
            "interval_seconds": seconds,
            "base_per_unit": meter.unit.base_per_unit,
            "tier": {
                "mode": "graduated",
                "above": str(tiers[index - 1].up_to) if index else "0",
                "up_to": None if edge is None else str(edge),
            }
            if len(tiers) > 1
            else None,
            "quantity": exact(quantity),
            "unit_price": str(price),
            "prorated": {"part_seconds": part, "whole_seconds": whole},
            "amount": exact(amount),
        },
    )


def period_peaks(charge: Demand, measured: Mapping[str, int]) -> dict[Key, int]:
    """What peaks() measured under the keys of History, with 0 for a demand period that has no interval."""
    return {
        (charge.code, None if charge.by == "month" else name): measured.get(name, 0) for name, _tiers in charge.prices
    }
