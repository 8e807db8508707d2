"""What a buyer looks for, and the SQL that says it of listings."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  - dataclasses read their annotations
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from marketplace.hours import HOUR, hour_number, hours_between, next_hour, require_hour
from marketplace.models.accelerator import PRECISIONS
from marketplace.terms import MOST_GPUS, InvalidFactError, read_whole

MOST_RESULTS = 100
MOST_WINDOW_HOURS = 2160
MOST_START_HOURS = 60 * 24

FROM = """
FROM marketplace_listing l
JOIN marketplace_organization o ON o.id = l.provider_id AND o.is_provider AND o.state = 'verified'
JOIN marketplace_acceleratormodel a ON a.id = l.accelerator_id"""

_DRAINED = "l.pool_id NOT IN (SELECT id FROM marketplace_capacitypool WHERE drains_at {})"
_LIKE = """l.accelerator_id = ANY(ARRAY(
    SELECT y.id FROM marketplace_acceleratormodel x JOIN marketplace_acceleratormodel y ON y.memory_gb >= x.memory_gb
    AND coalesce(y.bf16_tflops, y.fp16_tflops) >= coalesce(x.bf16_tflops, x.fp16_tflops) WHERE x.slug = %(like)s))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Filters; what is empty or None filters nothing. Several values of one field are alternatives.

    - `accelerators` are slugs; `like` is one: models with no less memory and no fewer FLOPS at BF16 (or else FP16).
    - `min_tflops`: by precision, per GPU, dense. `max_price`: the mean price of a GPU-hour, without tax.
    - How many: `quantity` GPUs; or `tflops` at `precision` together, from as many GPUs of a model as reach them. Either is
      rounded up to what the offering sells: a multiple of its step, at least its least.
    - `free_from`, `free_until`: whole hours in each of which so many are free (for `search`).
    - `min_hours`, `max_hours`, `earliest_at`, `latest_at`: for how long, and between which starts, both included (for `windows`).
    """

    zone_id: int | None = None
    accelerators: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    like: str = ""
    min_memory_gb: Decimal | None = None
    min_tflops: Mapping[str, Decimal] = field(default_factory=dict)
    interconnects: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    providers: tuple[int, ...] = ()
    max_price: Decimal | None = None
    quantity: int | None = None
    tflops: Decimal | None = None
    precision: str = ""
    free_from: datetime | None = None
    free_until: datetime | None = None
    min_hours: int | None = None
    max_hours: int | None = None
    earliest_at: datetime | None = None
    latest_at: datetime | None = None
    order: str = "price"
    cursor: str = ""
    limit: int = 20

    def __post_init__(self) -> None:
        """Raise InvalidFactError, or InvalidHoursError for what is no whole hour."""
        for name, amount in (
            ("min_memory_gb", self.min_memory_gb),
            ("max_price", self.max_price),
            ("tflops", self.tflops),
        ):
            _require_amount(name, amount)
        for precision, amount in self.min_tflops.items():
            if precision not in PRECISIONS:
                raise InvalidFactError("min_tflops", precision, f"one of {', '.join(PRECISIONS)}")
            _require_amount(f"min_tflops.{precision}", amount)
        if self.quantity is not None:
            read_whole("quantity", self.quantity, 1, MOST_GPUS)
        read_whole("limit", self.limit, 1, MOST_RESULTS)
        if self.tflops is not None and self.quantity is not None:
            raise InvalidFactError("quantity", self.quantity, "none, where tflops are given")
        if self.tflops is not None and self.precision not in PRECISIONS:
            raise InvalidFactError("precision", self.precision, f"one of {', '.join(PRECISIONS)}, for tflops")
        if (self.free_from is None) != (self.free_until is None):
            raise InvalidFactError("free_until", self.free_until, "an hour, as free_from has one, or neither of them")
        if self.free_from is not None and self.free_until is not None:
            hours = hours_between(self.free_from, self.free_until)
            if hours > MOST_WINDOW_HOURS:
                raise InvalidFactError(
                    "free_until", self.free_until, f"at most {MOST_WINDOW_HOURS} hours after free_from"
                )


@dataclass(frozen=True, slots=True)
class Span:
    """How long, and between which starts, as numbers of hours since 1970."""

    least: int
    most: int
    earliest: int
    latest: int


def span_of(wanted: Wanted, at: datetime) -> Span:
    """What `windows` asks of time: 1 to 24 hours within a fortnight from now on, but for what is wanted otherwise."""
    least = 1 if wanted.min_hours is None else read_whole("min_hours", wanted.min_hours, 1, MOST_WINDOW_HOURS)
    most = max(least, 24) if wanted.max_hours is None else wanted.max_hours
    read_whole("max_hours", most, least, MOST_WINDOW_HOURS)
    now = next_hour(at)
    for name, hour in (("earliest_at", wanted.earliest_at), ("latest_at", wanted.latest_at)):
        if hour is not None:
            require_hour(name, hour)
    earliest_at = now if wanted.earliest_at is None else max(now, wanted.earliest_at)
    latest_at = earliest_at + timedelta(days=14) if wanted.latest_at is None else wanted.latest_at
    if not timedelta(0) <= latest_at - earliest_at <= MOST_START_HOURS * HOUR:
        expected = f"{earliest_at.isoformat()}, the earliest start, or up to {MOST_START_HOURS} hours later"
        raise InvalidFactError("latest_at", latest_at.isoformat(), expected)
    return Span(least, most, hour_number(earliest_at), hour_number(latest_at))


def conditions(wanted: Wanted, at: datetime) -> tuple[dict[str, str], list[str], dict[str, Any]]:
    """(by facet, others, parameters): SQL over FROM. The facets' names are those of `search.FACETS`."""
    facets: dict[str, str] = {}
    others = [_DRAINED.format("<= %(at)s")]
    parameters: dict[str, Any] = {"at": at, "now": hour_number(next_hour(at))}

    def add(name: str, text: str, value: object, *, facet: bool) -> None:
        if not value:
            return
        parameters[name] = list(value) if isinstance(value, tuple) else value
        if facet:
            facets[name] = text
        else:
            others.append(text)

    add("accelerators", "a.slug = ANY(%(accelerators)s)", wanted.accelerators, facet=True)
    add("vendors", "a.vendor = ANY(%(vendors)s)", wanted.vendors, facet=True)
    add("memory", "a.memory_gb >= %(memory)s", wanted.min_memory_gb, facet=True)
    add("interconnects", "l.interconnect = ANY(%(interconnects)s)", wanted.interconnects, facet=True)
    add("regions", "l.region = ANY(%(regions)s)", wanted.regions, facet=True)
    add("providers", "l.provider_id = ANY(%(providers)s)", wanted.providers, facet=True)
    add("zone", "l.zone_id = %(zone)s", wanted.zone_id, facet=False)
    add("like", _LIKE, wanted.like, facet=False)
    if wanted.max_price is not None:  # 0 is a price
        parameters["max_price"] = wanted.max_price
        others.append("l.price <= %(max_price)s")
    for precision, least in wanted.min_tflops.items():
        add(f"least_{precision}", f"a.{precision}_tflops >= %(least_{precision})s", least, facet=False)
    if wanted.tflops is not None:
        others.append(f"a.{wanted.precision}_tflops > 0")
    parameters |= {"quantity": wanted.quantity, "tflops": wanted.tflops}
    others.append(f"{quantity(wanted)} <= l.max_quantity")
    if wanted.free_from is not None and wanted.free_until is not None:
        parameters |= {
            "from": hour_number(wanted.free_from),
            "hours": hours_between(wanted.free_from, wanted.free_until),
        }
        parameters["until_at"] = wanted.free_until
        others += [
            _DRAINED.format("< %(until_at)s"),
            "%(from)s >= %(now)s + l.lead_hours",
            "%(hours)s BETWEEN l.min_hours AND l.max_hours",
        ]
    return facets, others, parameters


def quantity(wanted: Wanted) -> str:
    """SQL for how many GPUs of a listing are wanted: its step decides, from its least on."""
    if wanted.tflops is not None:
        least = f"ceil(%(tflops)s / a.{wanted.precision}_tflops)::bigint"
    elif wanted.quantity is not None:
        least = "%(quantity)s::bigint"
    else:
        return "l.min_quantity"
    return f"(l.min_quantity + greatest(0, ({least} - l.min_quantity + l.step - 1) / l.step) * l.step)"


def _require_amount(name: str, amount: Decimal | None) -> None:
    if amount is None:
        return
    if not isinstance(amount, Decimal) or not amount.is_finite() or not 0 <= amount < 10**12:
        raise InvalidFactError(name, str(amount), "a decimal of 0 or more, and less than 10^12")
