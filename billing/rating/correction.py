"""What differs between a bill as it was issued and as it would be now, line by line; and which part of a line it touches.

A line is what it was sold for, in layers: the amount that was issued, and on top of it each increase that came later.
What lessens it takes from the last layer first. So an increase that is taken back takes nothing of what was first issued,
and a programme's share of it goes back where it was given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Key(NamedTuple):
    """Which line of a bill: the same in the issued one and when it is rated again. `ordinal` counts equal ones from 0."""

    contract_id: int
    tariff_version_id: int
    charge: str
    tou_period: str | None
    tier: int | None
    start: datetime
    end: datetime
    ordinal: int


@dataclass(frozen=True, slots=True)
class Figures:
    """A line's quantity in millionths of its unit, its whole base units, and its net in minor units."""

    micro: int = 0
    base: int = 0
    amount_minor: int = 0

    def __sub__(self, other: "Figures") -> "Figures":
        return Figures(self.micro - other.micro, self.base - other.base, self.amount_minor - other.amount_minor)

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.micro + other.micro, self.base + other.base, self.amount_minor + other.amount_minor)


@dataclass(frozen=True, slots=True)
class Change:
    """A line before and after."""

    key: Key
    before: Figures
    after: Figures

    @property
    def figures(self) -> Figures:
        return self.after - self.before


def changes(before: Mapping[Key, Figures], after: Mapping[Key, Figures]) -> list[Change]:
    """The lines whose quantity or amount differ: in the order of `after`, then those that are no more."""
    nothing = Figures()
    found = [Change(key, before.get(key, nothing), after.get(key, nothing)) for key in dict.fromkeys([*after, *before])]
    return [each for each in found if (each.figures.micro, each.figures.amount_minor) != (0, 0)]


def lessened(amount_minor: int, credit_minor: int) -> int:
    """An amount less a credit that was given on it before, never beyond zero."""
    if amount_minor * (amount_minor - credit_minor) <= 0:
        return 0
    return amount_minor - credit_minor


def taken(layers: Sequence[int], change_minor: int) -> tuple[list[int], int]:
    """What a change of a line takes from each of its layers, of one sign, the last first; and what it adds as a new one.

    The layers less what is taken, and what is added, sum to the line as it is then.
    """
    parts = [0] * len(layers)
    for place in reversed(range(len(layers))):
        layer = layers[place]
        if layer * change_minor < 0:
            parts[place] = min(abs(layer), abs(change_minor)) * (1 if layer > 0 else -1)
            change_minor += parts[place]
    return parts, change_minor
