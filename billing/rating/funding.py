"""Which programme pays how much of a bill: percent or amount, then caps, then budget, then shared out to the lines.

1. Programmes go by priority (the least first), then by code. Those of one group exclude each other: the first by
   priority that pays anything does; of several with one priority the one that pays most. One that has promised of the
   invoice before goes before those of its group that have not, so that what was promised is what is paid.
2. A programme looks at what is left to pay of its eligible lines. By percent it wants that part of their sum, half up.
   By an amount per unit it wants, of each line in that unit, the amount times the quantity, at most what is left of it;
   the sum half up.
3. What it wants is cut to the cap of an invoice, then to what is left of the firm's caps, then of the budget.
4. The share is shared out to the lines by largest remainder. The next group sees what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

from billing.rating.money import largest_remainder, round_half_up


@dataclass(frozen=True, slots=True)
class Priced:
    """A rated line as a programme sees it; net_minor is without tax, quantity in `unit`, provider any key."""

    net_minor: int
    kind: str
    charge: str
    provider: int
    unit: str
    quantity: Fraction
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Offer:
    """What a programme pays of one invoice. percent (of 100), or unit_amount (major units) per `unit`; None: the other.

    Empty kinds and charges: all. A line counts if all of it lies in the window, and its provider is not barred.
    A cap of None is none. `budget_left` and the caps are what may still be taken.
    """

    code: str
    group: str
    priority: int
    percent: Decimal | None
    unit_amount: Decimal | None
    unit: str
    kinds: frozenset[str]
    charges: frozenset[str]
    window: tuple[datetime, datetime]
    barred: frozenset[int]
    invoice_left: int | None
    firm_left: int | None
    budget_left: int
    has_promised: bool = False

    def takes(self, line: Priced) -> bool:
        return (
            (not self.kinds or line.kind in self.kinds)
            and (not self.charges or line.charge in self.charges)
            and self.window[0] <= line.start
            and line.end <= self.window[1]
            and line.provider not in self.barred
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What the programme of that code pays: share_minor in all, by_line for each line of the invoice, which sum to it.

    eligible_minor is what was left to pay of its lines, wanted_minor what percent or amount made of it. limited_by is the
    last that made it less: invoice_cap, firm_cap, budget, or stacking where another of its group pays; else empty.
    """

    code: str
    eligible_minor: int
    wanted_minor: int
    share_minor: int
    by_line: tuple[int, ...]
    limited_by: str


def shares(lines: Sequence[Priced], offers: Sequence[Offer], exponent: int) -> tuple[Share, ...]:
    """One share for each offer, in the order in which they were asked. `exponent`: decimal places of the currency."""
    left = [line.net_minor for line in lines]
    found: list[Share] = []
    groups: dict[str, list[Offer]] = {}
    for offer in sorted(offers, key=lambda each: (each.priority, each.code)):
        groups.setdefault(f"group:{offer.group}" if offer.group else f"only:{offer.code}", []).append(offer)
    for group in groups.values():
        asked = [_share(lines, left, offer, exponent) for offer in group]
        chosen = _chosen(group, asked)
        for place, share in enumerate(asked):
            found.append(share if place == chosen else _none(share, len(lines), is_stacked=chosen is not None))
        if chosen is not None:
            left = [rest - part for rest, part in zip(left, asked[chosen].by_line, strict=True)]
    return tuple(found)


def _chosen(group: Sequence[Offer], asked: Sequence[Share]) -> int | None:
    """The place of the first by priority that pays anything, the most of one priority; the first where all is equal. Those
    that have promised come first.
    """
    order = sorted(range(len(group)), key=lambda place: not group[place].has_promised)  # which keeps the priorities
    for _, places in groupby(order, key=lambda place: (group[place].has_promised, group[place].priority)):
        best = max(places, key=lambda place: asked[place].share_minor)  # max keeps the first of equals
        if asked[best].share_minor:
            return best
    return None


def _none(share: Share, count: int, *, is_stacked: bool) -> Share:
    limited_by = "stacking" if is_stacked and share.share_minor else share.limited_by
    return Share(share.code, share.eligible_minor, share.wanted_minor, 0, (0,) * count, limited_by)


def _share(lines: Sequence[Priced], left: Sequence[int], offer: Offer, exponent: int) -> Share:
    eligible = [rest if offer.takes(line) else 0 for line, rest in zip(lines, left, strict=True)]
    weights: list[Fraction] = [Fraction(rest) for rest in eligible]
    if offer.percent is not None:
        wanted = round_half_up(Fraction(offer.percent) / 100 * sum(eligible), 0)
    else:
        assert offer.unit_amount is not None
        rate = Fraction(offer.unit_amount) * 10**exponent
        weights = [
            _by_unit(rate * line.quantity, rest) if line.unit == offer.unit else Fraction(0)
            for line, rest in zip(lines, eligible, strict=True)
        ]
        wanted = round_half_up(sum(weights, Fraction(0)), 0)
    wanted = max(wanted, 0)
    share, limited_by = wanted, ""
    for name, most in (
        ("invoice_cap", offer.invoice_left),
        ("firm_cap", offer.firm_left),
        ("budget", offer.budget_left),
    ):
        if most is not None and share > most:
            share, limited_by = max(most, 0), name
    by_line = largest_remainder(share, weights) if share else [0] * len(lines)
    return Share(offer.code, sum(eligible), wanted, share, tuple(by_line), limited_by)


def _by_unit(wanted: Fraction, rest: int) -> Fraction:
    """At most what is left of the line; of a line that is taken back, the same with its sign."""
    if wanted < 0:
        return -_by_unit(-wanted, -rest)
    return min(wanted, Fraction(max(rest, 0)))


def promise(*, percent: Decimal, unit_hours: Fraction, dearest_price: Decimal, exponent: int) -> int:
    """The most that a programme can pay of a reservation, in minor units: percent × hours × the dearest price, half up."""
    return round_half_up(Fraction(percent) / 100 * unit_hours * Fraction(dearest_price), exponent)
