"""What a tariff comes to, before anybody has used it: its prices through a week, and what three typical buyers would pay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from billing import calendars
from billing.models import Meter
from billing.rating.line import History
from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.rate import rate
from billing.rating.refusal import RatingRefused
from billing.rating.tariff import Capacity, Demand, Energy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from billing.rating.tariff import Tariff

QUARTER = timedelta(minutes=15)
GPU_HOUR = "gpu_hour"
OFFICE = range(9, 18)


@dataclass(frozen=True, slots=True)
class Typical:
    """One typical use of `month` and what it would cost before tax, in minor units; None with the reason in `refused`."""

    code: str
    gpus: int
    gpu_hours: Decimal
    amount_minor: int | None
    refused: str = ""


def month_of(tariff: Tariff) -> Period:
    """The first whole month in which the tariff applies."""
    first = tariff.effective[0]
    if first.day != 1:
        first = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Period.month(first.year, first.month, tariff.timezone)


def week(tariff: Tariff) -> list[list[Decimal]]:
    """Monday to Sunday, 24 local hours each, in that month: the price of a GPU-hour that is reserved and used, in major units.

    Of the first tier, with what reserved capacity costs by the hour; a percentage, a demand price and what is charged by the
    day or the month are not in it.
    """
    month = month_of(tariff).start.astimezone(ZoneInfo(tariff.timezone)).month
    meters = {meter.code for meter in Meter.objects.filter(unit=GPU_HOUR)}
    steady = sum(
        (charge.price for charge in tariff.charges if isinstance(charge, Capacity) and charge.per == "unit_hour"),
        Decimal(0),
    )
    energies = [charge for charge in tariff.charges if isinstance(charge, Energy) and charge.meter in meters]
    return [
        [steady + sum((_price(charge, month, day, hour) for charge in energies), Decimal(0)) for hour in range(24)]
        for day in range(7)
    ]


def _price(charge: Energy, month: int, day: int, hour: int) -> Decimal:
    rows = charge.schedule.weekday if day < 5 else charge.schedule.weekend
    return dict(charge.prices)[rows[month - 1][hour]][0].price


def bills(tariff: Tariff) -> list[Typical]:
    """Each is the first of its buyer, who has used nothing before and uses all that is reserved."""
    period = month_of(tariff)
    units = {
        meter.code: Unit(meter.base_unit, meter.unit, meter.demand_unit, meter.base_per_unit)
        for meter in Meter.objects.all()
    }
    zone = ZoneInfo(tariff.timezone)
    local = period.start.astimezone(zone).date()
    saturday = local + timedelta(days=(5 - local.weekday()) % 7)
    weekend = datetime.combine(saturday, time.min, zone).astimezone(UTC)

    def at_the_weekend(at: datetime) -> bool:
        return weekend <= at < weekend + timedelta(hours=24)

    def in_office_hours(at: datetime) -> bool:
        there = at.astimezone(zone)
        return there.weekday() < 5 and there.hour in OFFICE

    uses: tuple[tuple[str, int, Callable[[datetime], bool]], ...] = (
        ("weekend", 8, at_the_weekend),
        ("month", 64, lambda _at: True),
        ("office", 16, in_office_hours),
    )
    return [_typical(tariff, period, units, code=code, gpus=gpus, is_used=is_used) for code, gpus, is_used in uses]


def _typical(
    tariff: Tariff,
    period: Period,
    units: Mapping[str, Unit],
    *,
    code: str,
    gpus: int,
    is_used: Callable[[datetime], bool],
) -> Typical:
    quarters = [period.start + number * QUARTER for number in range((period.end - period.start) // QUARTER)]
    used = [is_used(at) for at in quarters]
    hours = Decimal(gpus * sum(used)) / 4
    reserved = [Reserved(first, last, gpus) for first, last in _stretches(quarters, used)]
    measured = {charge.meter for charge in tariff.charges if isinstance(charge, Energy | Demand)}
    profiles = {
        meter: Profile(period.start, 900, [gpus * units[meter].base_per_unit // 4 if each else 0 for each in used])
        for meter in sorted(measured)
        if meter in units and units[meter].unit == GPU_HOUR
    }
    try:
        bill = rate(
            period=period,
            tariffs=[(period.start, tariff)],
            profiles=profiles,
            units=units,
            reserved=reserved,
            calendars=calendars.by_code(),
            history=History(contract_start=reserved[0].start),
            active=(reserved[0].start, reserved[-1].end),
        )
    except RatingRefused as refusal:
        return Typical(code, gpus, hours, None, str(refusal))
    return Typical(code, gpus, hours, bill.total_minor)


def _stretches(quarters: list[datetime], used: list[bool]) -> list[tuple[datetime, datetime]]:
    found: list[tuple[datetime, datetime]] = []
    for at, is_used in zip(quarters, used, strict=True):
        if is_used and found and found[-1][1] == at:
            found[-1] = (found[-1][0], at + QUARTER)
        elif is_used:
            found.append((at, at + QUARTER))
    return found
