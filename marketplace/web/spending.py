"""What a reservation uses against what it reserves, hour by hour, and what its hours so far cost.

Readings are of contracts: reservations at one version of one provider's prices that run at the same time share one. Their
use can't be told apart, and the page says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing.documents import figures, labels
from billing.models import Contract, Meter
from billing.rating.period import Period
from marketplace import consumption, cost
from marketplace.models import Reservation
from marketplace.web import amounts, charts, times, usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

MOST_HOURS = 24 * 7  # drawn by the hour; a longer reservation's last ones


def of(row: Reservation, *, at: datetime, with_price: bool) -> dict[str, Any] | None:
    """The chart and the cost to date; None before it has begun, or if it never was firm."""
    contract = row.contract
    if contract is None or row.start_at >= at or row.started_at is None:
        return None
    until_at = min(row.end_at, at)
    zone = row.organization.zone.issuer.timezone
    found: dict[str, Any] = {
        "contract": contract,
        "shared": _shared(row, contract),
        "until": times.moment(until_at, zone),
        **_chart(row, contract, at, zone),
    }
    return found | {"cost": _cost(row, until_at)} if with_price else found


def _shared(row: Reservation, contract: Contract) -> int:
    """How many other reservations have hours under the same prices at the same time."""
    alike = Reservation.objects.filter(
        contract__account=contract.account_id,
        contract__tariff_version=contract.tariff_version_id,
        contract__provider=contract.provider_id,
        start_at__lt=row.end_at,
        end_at__gt=row.start_at,
    )
    return alike.in_slots().exclude(pk=row.pk).count()


def _chart(row: Reservation, contract: Contract, at: datetime, zone: str) -> dict[str, Any]:
    versions = consumption.versions_of([contract])
    codes = consumption.meter_codes(versions)
    meter = Meter.objects.filter(code__in=codes).order_by("pk").first()
    if meter is None:
        return {"chart": None}
    first = max(row.start_at, min(row.end_at, at + times.HOUR) - MOST_HOURS * times.HOUR)
    first = first.replace(minute=0, second=0, microsecond=0)
    last = min(row.end_at, first + MOST_HOURS * times.HOUR)
    whole = Period(first, last, zone)
    uses = consumption.use(contracts=[contract], meter=meter, versions=versions, period=whole)
    hours = [consumption.joined(uses[place : place + 4]) for place in range(0, len(uses), 4)]
    codes_used = {code for use in uses for code in use.parts}
    order, tones = amounts.periods(codes_used), amounts.tones(codes_used)
    slots = [usage.slot(hour, meter, order, tones, zone) for hour in hours]
    past = [use for use in uses if use.end_at <= at]
    used = sum(use.used_base for use in past)
    reserved = consumption.joined(past).reserved_base if past else 0
    return {
        "chart": charts.chart(slots=slots, columns=_columns(hours, zone), gap=2),
        "legend": [(tones[code], amounts.period_name(code)) for code in order],
        "has_reserved": any(slot.reserved for slot in slots),
        "has_missing": any(slot.is_missing for slot in slots),
        "unit": amounts.unit(meter),
        "demand_unit": amounts.demand_unit(meter),
        "used": amounts.units(used, meter),
        "share": amounts.percent(used, reserved),
        "reserved": amounts.units(reserved, meter),
        "rows": [
            {
                "title": f"{amounts.local(hour.start_at, zone):%m-%d %H:%M}",
                "used": amounts.units(hour.used_base, meter) if hour.is_read else "",
                "reserved": amounts.units(hour.reserved_base, meter),
            }
            for hour in hours
            if hour.start_at < at
        ],
    }


def _columns(hours: Sequence[consumption.Use], zone: str) -> list[str]:
    """Words below equal widths: each hour of a day, or each day."""
    starts = [amounts.local(hour.start_at, zone) for hour in hours]
    if len(hours) <= 24:
        return [f"{start:%H}" for start in starts]
    step = -(-len(hours) // 12)
    return [f"{starts[place]:%m-%d %H}" for place in range(0, len(hours), step)]


# Money


def _cost(row: Reservation, until_at: datetime) -> dict[str, Any] | None:
    """None where it can't be priced."""
    sums = cost.to_date(reservation=row, until_at=until_at)
    if sums is None:
        return None
    language = amounts.language()
    lengths = charts.shares(sums, max(map(abs, sums.values()), default=0))
    return {
        "net": figures.money(sum(sums.values()), row.currency),
        "kinds": [
            {
                "name": labels.name("kind", kind, language),
                "amount": figures.money(amount_minor, row.currency),
                "length": lengths[kind],
                "is_credit": amount_minor < 0,
            }
            for kind, amount_minor in sorted(sums.items(), key=lambda each: -each[1])
        ],
    }
