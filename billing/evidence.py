"""The readings behind a line of an invoice or of a preview: each with the part of it that the line counts.

Where a tier begins and ends within a month, the parts follow from the readings in time order, as rating splits them. The
parts of an energy line sum to its quantity_base for as long as the readings are those that were rated; one that came
late, after the invoice was issued, shows as a difference, which the caller tells.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Protocol

from billing.bills import profile_of
from billing.charging import Reader
from billing.models import Contract, Meter
from billing.rating.period import Period, anniversaries, spans
from billing.rating.quantity import EPOCH, Profile
from billing.supplies import booked, stretch_of
from billing.time_of_use import INTERVAL_SECONDS, Versions, labels

_INTERVAL = timedelta(seconds=INTERVAL_SECONDS)


class Line(Protocol):
    """What evidence needs of a line; `explanation` as rating wrote it, the instants as ISO 8601."""

    @property
    def charge(self) -> str: ...
    @property
    def tou_period(self) -> str | None: ...
    @property
    def start_at(self) -> datetime: ...
    @property
    def end_at(self) -> datetime: ...
    @property
    def explanation(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """What a line's readings are found by: its contract and meter, the versions of its tariff, where readings come from."""

    contract: Contract
    meter: Meter
    versions: Versions
    read: Reader


@dataclass(frozen=True, slots=True)
class Part:
    """A reading of [start_at, start_at + 15 minutes) and what of it counts for the line, in base units."""

    start_at: datetime
    quantity: int
    counted: int
    tou_period: str


def whole(*, contract: Contract, read: Reader, at: datetime) -> tuple[Contract, list[Contract], Reader]:
    """What a line that begins at `at` counts the readings of: a contract over the time that was rated together, the
    contracts behind it in time order, and a reader of all of them. Only reservations are rated together (billing.supplies).
    """
    stretch = stretch_of(contract, at)
    if stretch is None:
        return contract, [contract], read
    supplied = booked(stretch, contract, [])
    together = copy(contract)
    together.start_at, together.end_at = stretch.start_at, stretch.end_at

    def read_all(*, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:  # noqa: ARG001
        return profile_of(read, supplied, meter, Period(start_at, end_at, "UTC"))

    return together, list(supplied.contracts), read_all


def contracts(*, contract: Contract, start_at: datetime, end_at: datetime) -> list[Contract]:
    """Whose readings a line of [start_at, end_at) under `contract` counts, by the bytes of their numbers. Its own alone, but of
    reservations: those are rated together, and their line stands under the first. One query.
    """
    stretch = stretch_of(contract, start_at)
    together = [contract] if stretch is None else [booking.contract for booking in stretch.bookings]
    found = {
        each.number: each
        for each in (contract, *together)
        if each.start_at < end_at and (each.end_at is None or start_at < each.end_at)
    }
    return [found[number] for number in sorted(found, key=str.encode)]


def energy(*, line: Line, source: Source, period: Period) -> list[Part]:
    """The readings of an energy line that count for it, in time order."""
    tier: Mapping[str, Any] = line.explanation.get("tier") or {}
    above, up_to = _edges(tier, int(line.explanation["base_per_unit"]))
    found = []
    for window in _windows(line, tier, source.contract, period):
        rows = _counted(line, tier, source, Period(*window, period.timezone))
        seen = 0
        total = sum(quantity for _, quantity, _ in rows)
        if tier.get("mode") == "volume":  # all of it is priced in the tier that the window's total reaches
            if (above and total <= above) or (up_to is not None and total > up_to):
                continue
            above_here, up_to_here = 0, None
        else:
            above_here, up_to_here = above, up_to
        for start_at, quantity, name in rows:
            if name == line.tou_period and line.start_at <= start_at < line.end_at:
                counted = _overlap(seen, seen + quantity, above_here, up_to_here)
                if counted:
                    found.append(Part(start_at, quantity, counted, name))
            seen += quantity
    return found


def _windows(
    line: Line, tier: Mapping[str, Any], contract: Contract, period: Period
) -> list[tuple[datetime, datetime]]:
    """The spans over which the line's tiers accumulate: those of its month, or one that began with the contract year."""
    if tier.get("basis") == "day":
        return list(spans(line.start_at, line.end_at, period.timezone, "day"))
    if tier.get("basis") == "contract_year":
        begins = anniversaries(contract.start_at, period.timezone, period.start, period.end)
        return list(zip(begins, [*begins[1:], period.end], strict=True))
    return [(period.start, period.end)]


def _counted(line: Line, tier: Mapping[str, Any], source: Source, window: Period) -> list[tuple[datetime, int, str]]:
    """The window's readings that the tier's counter counts: start, base units, time-of-use period."""
    contract, is_shared = source.contract, tier.get("scope") != "per_period"
    return [
        (start_at, quantity, name)
        for start_at, quantity, name in _rows(line, source, window)
        if quantity
        and name
        and (is_shared or name == line.tou_period)
        and start_at >= contract.start_at
        and (contract.end_at is None or start_at < contract.end_at)
    ]


def demand(*, line: Line, source: Source, period: Period) -> list[Part]:
    """The readings of the first demand interval of the line that measured the greatest; none if nothing was used."""
    step = timedelta(seconds=int(line.explanation["interval_seconds"]))
    blocks: dict[int, list[Part]] = {}
    for start_at, quantity, name in _rows(line, source, period):
        if line.start_at <= start_at < line.end_at:
            blocks.setdefault((start_at - EPOCH) // step, []).append(Part(start_at, quantity, quantity, name))
    wanted = [block for block in blocks.values() if line.tou_period in (None, block[0].tou_period)]
    greatest = max(wanted, key=lambda block: sum(part.counted for part in block), default=[])
    return greatest if any(part.counted for part in greatest) else []


def _rows(line: Line, source: Source, window: Period) -> Iterator[tuple[datetime, int, str]]:
    names = labels(versions=source.versions, period=window, meter=source.meter.code, charge=line.charge)
    profile = source.read(contract=source.contract, meter=source.meter, start_at=window.start, end_at=window.end)
    for number, (quantity, name) in enumerate(zip(profile.quantities, names, strict=True)):
        yield window.start + number * _INTERVAL, quantity, name


def _edges(tier: Mapping[str, Any], base_per_unit: int) -> tuple[int, int | None]:
    if not tier:
        return 0, None
    above = Fraction(tier["above"]) * base_per_unit
    up_to = None if tier["up_to"] is None else Fraction(tier["up_to"]) * base_per_unit
    return int(above), None if up_to is None else int(up_to)


def _overlap(first: int, last: int, above: int, up_to: int | None) -> int:
    return max(0, (last if up_to is None else min(last, up_to)) - max(first, above))
