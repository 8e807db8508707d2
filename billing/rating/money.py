"""Exact money: minor units, rounding half up, shares by largest remainder, tax per (category, rate)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

# ISO 4217, list one of 2024: the currencies whose minor unit is not a hundredth.
_EXPONENTS = (
    dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0)  # noqa: SIM905  - a table
    | dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)  # noqa: SIM905  - a table
    | {"CLF": 4, "UYW": 4}
)


def exponent(currency: str) -> int:
    """Decimal places of the currency's minor unit (ISO 4217): 2 for CNY, 0 for JPY, 3 for KWD."""
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise ValueError(f"currency is {currency!r}: expected three capital letters of ISO 4217, such as CNY")
    return _EXPONENTS.get(currency, 2)


def round_half_up(amount: Fraction, exponent: int) -> int:
    """Major units to whole minor units, ties away from zero: 0.005 is 1 and -0.005 is -1 at two places."""
    numerator, denominator = amount.as_integer_ratio()
    scale: int = 10**exponent
    minor = (2 * abs(numerator) * scale + denominator) // (2 * denominator)
    return -minor if numerator < 0 else minor


def largest_remainder(total: int, weights: Sequence[int | Fraction]) -> list[int]:
    """Whole parts of total in proportion to weights, which sum to total exactly.

    Each part is its exact share rounded down or up; the greatest remainders are rounded up, among equals the first.
    Equal parts if all weights are zero; a negative total is split as its positive one. Raises ValueError where no
    proportion exists: no weights, or weights that cancel out, and a total that is not zero.
    """
    whole = sum((Fraction(weight) for weight in weights), Fraction(0))
    if not any(weights):
        weights = [1] * len(weights)
        whole = Fraction(len(weights))
    if whole == 0:
        if total:
            raise ValueError(f"total is {total}: expected 0, since the weights {list(weights)} sum to zero")
        return [0] * len(weights)
    return _apportion(total, [Fraction(weight) * total / whole for weight in weights])


def _apportion(total: int, shares: Sequence[Fraction]) -> list[int]:
    """Whole numbers near the exact shares that sum to total, which lies within half a unit of the shares' sum."""
    if total < 0:
        return [-part for part in _apportion(-total, [-share for share in shares])]
    parts = [share.numerator // share.denominator for share in shares]
    ranking = sorted(range(len(shares)), key=lambda index: parts[index] - shares[index])
    for index in ranking[: total - sum(parts)]:
        parts[index] += 1
    return parts


class Taxable(Protocol):
    """What taxes() reads of a line; billing.rating.line.Line is one."""

    @property
    def tax_category(self) -> str: ...
    @property
    def tax_rate(self) -> Decimal: ...
    @property
    def tax_included(self) -> bool: ...
    @property
    def amount_minor(self) -> int: ...


@dataclass(frozen=True, slots=True)
class TaxTotal:
    """One (category, rate): gross_minor is net_minor + tax_minor."""

    category: str
    rate: Decimal
    net_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class Taxes:
    """totals in the order in which each (category, rate) first appears; line_net_minor one per line, in order."""

    totals: tuple[TaxTotal, ...]
    line_net_minor: tuple[int, ...]

    @property
    def net_minor(self) -> int:
        return sum(total.net_minor for total in self.totals)

    @property
    def tax_minor(self) -> int:
        return sum(total.tax_minor for total in self.totals)

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor


def taxes(lines: Sequence[Taxable]) -> Taxes:
    """Tax per (category, rate) on the sum of rounded lines, half up.

    Lines that include their tax keep their gross sum: its net is the sum / (1 + rate), half up, the tax is the rest,
    and the net is shared out to those lines by largest remainder, so that lines' net sums to the total's net.
    """
    net = [line.amount_minor for line in lines]
    groups: dict[tuple[str, Decimal], list[int]] = {}
    for index, line in enumerate(lines):
        groups.setdefault((line.tax_category, line.tax_rate), []).append(index)
    totals = []
    for (category, rate), members in groups.items():
        inside = [index for index in members if lines[index].tax_included]
        gross = sum(net[index] for index in inside)
        before = sum(net[index] for index in members) - gross
        tax = round_half_up(before * Fraction(rate), 0)
        if inside:
            untaxed = round_half_up(gross / (1 + Fraction(rate)), 0)
            shares = [net[index] / (1 + Fraction(rate)) for index in inside]
            for index, part in zip(inside, _apportion(untaxed, shares), strict=True):
                net[index] = part
            before += untaxed
            tax += gross - untaxed
        totals.append(TaxTotal(category, rate, before, tax))
    return Taxes(tuple(totals), tuple(net))


def quantity_text(quantity: Fraction) -> str:
    """Six decimals, half up, no exponent: 4000/3 is "1333.333333"."""
    millionths = round_half_up(quantity, 6)
    whole, rest = divmod(abs(millionths), 10**6)
    return f"{'-' if millionths < 0 else ''}{whole}.{rest:06d}"
