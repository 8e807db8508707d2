"""The charges of a tariff: what tariff.parse makes of a document's schedules, prices and charges."""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Tier:
    """A block of a price: up_to is its cumulative upper edge in priced units, None for the open last one."""

    up_to: Decimal | None
    price: Decimal


Tiers = tuple[Tier, ...]
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The time-of-use period of each hour: 12 months x 24 local hours for each kind of day."""

    weekday: Rows
    weekend: Rows
    holiday: Rows


@dataclass(frozen=True, slots=True)
class Standing:
    kind: ClassVar[str] = "standing"
    code: str
    amount: Decimal
    per: Literal["day", "month", "year"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """meter names the unit that the reserved quantity is counted in; None: the only one there is."""

    kind: ClassVar[str] = "capacity"
    code: str
    price: Decimal
    per: Literal["unit_hour", "unit_day", "unit_month"]
    meter: str | None


@dataclass(frozen=True, slots=True)
class Energy:
    """prices are (period, tiers) in the order of periods; periods and schedule are its own or the tariff's."""

    kind: ClassVar[str] = "energy"
    code: str
    meter: str
    tier_basis: Literal["month", "day", "contract_year"]
    tier_scope: Literal["across_periods", "per_period"]
    tier_mode: Literal["graduated", "volume"]
    prices: tuple[tuple[str, Tiers], ...]
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Ratchet:
    percent: Decimal
    lookback_months: int


@dataclass(frozen=True, slots=True)
class Demand:
    """prices are (period, tiers); by month the only period is "all"."""

    kind: ClassVar[str] = "demand"
    code: str
    meter: str
    interval_minutes: int
    by: Literal["month", "period"]
    prices: tuple[tuple[str, Tiers], ...]
    ratchet: Ratchet | None
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Rider:
    kind: ClassVar[str] = "rider"
    code: str
    basis: Literal["per_unit", "percent", "fixed"]
    of: tuple[str, ...]
    value: Decimal


@dataclass(frozen=True, slots=True)
class Minimum:
    kind: ClassVar[str] = "minimum"
    code: str
    amount: Decimal
    counts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    kind: ClassVar[str] = "credit"
    code: str
    basis: Literal["per_unit", "percent", "fixed"]
    of: tuple[str, ...]
    value: Decimal


Charge = Standing | Capacity | Energy | Demand | Rider | Minimum | Credit
