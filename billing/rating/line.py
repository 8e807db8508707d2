"""What rating gives back: lines that explain themselves, and a bill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

# A charge's code and its time-of-use period; None where all periods share one.
Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One charge in one time-of-use period, tier and price segment [start, end).

    quantity is exact, in unit; quantity_base is the whole number of base_unit behind it (of a demand charge: what the
    greatest interval measured in this tier, also when a ratchet bills more). unit_price is per unit, None where there
    is none. amount is exact, in major units, before rounding; amount_minor is amount rounded half up. tier counts from
    1. explanation holds strings, integers, lists, dicts and None only; exact fractions stand there as "n/d".
    """

    charge: str
    kind: str
    tou_period: str | None
    tier: int | None
    start: datetime
    end: datetime
    quantity: Fraction
    quantity_base: int
    unit: str
    base_unit: str
    unit_price: Decimal | None
    amount: Fraction
    amount_minor: int
    tax_category: str
    tax_rate: Decimal
    tax_included: bool
    explanation: dict[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """What happened before the period, where a tariff asks for it.

    contract_start: the instant from which contract years are counted. counters: base units of each energy charge
    counted in the contract year that is running when the period starts, under (charge, None) for all time-of-use
    periods together and (charge, period) for each. peaks: base units of the greatest demand interval of each past
    month, newest last, under (charge, None) by month and (charge, period) by period.
    """

    contract_start: datetime | None = None
    counters: Mapping[Key, int] = field(default_factory=dict)
    peaks: Mapping[Key, tuple[int, ...]] = field(default_factory=dict)

    def after(self, bill: "Bill") -> "History":
        """The history for the period that follows the bill's. A charge without a peak in it had a peak of 0."""
        keys = dict.fromkeys([*self.peaks, *bill.peaks])
        past = max((len(peaks) for peaks in self.peaks.values()), default=0)
        peaks = {key: (*self.peaks.get(key, (0,) * past), bill.peaks.get(key, 0)) for key in keys}
        return History(self.contract_start, bill.counters, peaks)


@dataclass(frozen=True, slots=True)
class Bill:
    """lines in the order of rating; total is the exact sum of their amounts, total_minor of their amount_minor.

    peaks: base units of the greatest demand interval of this period (0 if none); counters: base units of each energy
    charge counted in the contract year that is running at its end, kept if the contract's start is known. Both as in
    History.
    """

    currency: str
    exponent: int
    lines: tuple[Line, ...]
    total: Fraction
    total_minor: int
    peaks: Mapping[Key, int]
    counters: Mapping[Key, int]


def exact(value: Fraction) -> str:
    """A fraction as text without loss: "5", or "1/3"."""
    return str(value)
