"""What was used and reserved: exact integers in a meter's base unit."""

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from billing.rating.period import SECOND
from billing.rating.refusal import NotOnEdge

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Unit:
    """How a meter counts: base_per_unit of base_unit make one unit, the one that is priced, and a unit is one
    demand_unit for an hour: 3,600 GPU-seconds are a GPU-hour, 1,000 watt-hours a kilowatt-hour.
    """

    base_unit: str = "gpu_second"
    unit: str = "gpu_hour"
    demand_unit: str = "gpu"
    base_per_unit: int = 3600

    def __post_init__(self) -> None:
        if self.base_per_unit < 1:
            raise ValueError(f"Unit.base_per_unit is {self.base_per_unit}: expected a whole number of at least 1")

    def demand(self, quantity: int | Fraction, interval_seconds: int) -> Fraction:
        """The average over an interval in demand_unit of a quantity in base_unit."""
        return Fraction(quantity) * 3600 / (self.base_per_unit * interval_seconds)


@dataclass(frozen=True, slots=True)
class Profile:
    """A dense series of a meter's base units from start (UTC), one integer per interval, 0 where nothing was read.

    quantities may be a list, a tuple or an array.array("q"). What lies outside it is 0.
    """

    start: datetime
    interval_seconds: int
    quantities: Sequence[int]

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta(0):
            raise ValueError(f"Profile.start is {self.start.isoformat()}: expected an instant in UTC")
        if self.interval_seconds < 1:
            raise ValueError(f"Profile.interval_seconds is {self.interval_seconds}: expected at least 1")
        require_on_edge(self.start, self.interval_seconds, "Profile.start")
        if not _has_no_sign(self.quantities) and min(self.quantities, default=0) < 0:
            raise ValueError(f"Profile.quantities has {min(self.quantities)}: expected no negative quantity")


def _has_no_sign(quantities: Sequence[int]) -> bool:
    """Whether none of an array is negative; True of nothing else. A month has thousands, and there are as many profiles as
    contracts: so the highest byte of each is looked at, which is ASCII unless it has the sign.
    """
    if not isinstance(quantities, array) or quantities.typecode != "q":
        return False
    highest = 7 if sys.byteorder == "little" else 0
    return quantities.tobytes()[highest::8].isascii()


@dataclass(frozen=True, slots=True)
class Reserved:
    """quantity demand units (GPUs) reserved in [start, end) (UTC); spans that overlap add up."""

    start: datetime
    end: datetime
    quantity: int

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(
                f"Reserved.end is {self.end.isoformat()}: expected an instant after {self.start.isoformat()}"
            )
        if self.quantity < 0:
            raise ValueError(f"Reserved.quantity is {self.quantity}: expected 0 or more")


def require_on_edge(instant: datetime, interval_seconds: int, what: str) -> None:
    """Raises NotOnEdge unless the instant is a whole number of intervals after 1970-01-01T00:00Z."""
    if (instant - EPOCH) % (interval_seconds * SECOND):
        raise NotOnEdge(
            f"{what} is {instant.isoformat()}: expected an instant on an edge of the {interval_seconds}-second interval"
        )
