"""Usage by hour, in the colours of its time-of-use periods, against what is reserved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing.models import Contract, Meter
from billing.rating.period import Period, day_start
from marketplace import access, consumption
from marketplace.consumption import INTERVAL, Use
from marketplace.permissions import Permission
from marketplace.web import amounts, charts, page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest, HttpResponse, QueryDict

    from billing.time_of_use import Versions

RANGES = {"day": _("Day"), "week": _("Week"), "month": _("Month")}
EARLIEST, LATEST = date(2000, 1, 1), date(2100, 12, 31)
_HOUR = 4  # intervals


@dataclass(frozen=True)
class Choice:
    """What the address asks for: a range of local days that holds `day`, of one contract (None: of all), on one meter."""

    span: str
    day: date
    contract: Contract | None
    contracts: Sequence[Contract]
    every_contract: Sequence[Contract]
    timezone: str

    @property
    def begins(self) -> date:
        if self.span == "day":
            return self.day
        return self.day - timedelta(days=self.day.weekday()) if self.span == "week" else self.day.replace(day=1)

    @property
    def following(self) -> date:
        if self.span == "month":
            return (self.begins + timedelta(days=32)).replace(day=1)
        return self.begins + timedelta(days=1 if self.span == "day" else 7)

    @property
    def previous(self) -> date:
        first = self.begins - timedelta(days=1)
        return first.replace(day=1) if self.span == "month" else first if self.span == "day" else first - timedelta(6)

    @property
    def period(self) -> Period:
        return Period(day_start(self.begins, self.timezone), day_start(self.following, self.timezone), self.timezone)


@require_safe
def usage(request: HttpRequest) -> HttpResponse:
    here = page.of(request)
    if here.organization is None:
        return redirect("organization")
    if Permission.SEE_USAGE not in here.permissions:
        raise Http404
    contracts = list(
        access.contracts_for(request.user, within=here.organization)
        .select_related("account__issuer", "tariff")
        .order_by("number")
    )
    if not contracts:
        return render(request, "marketplace/usage.html", {"contracts": []})
    now = timezone.now()
    choice = _choice(request.GET, contracts, now)
    versions = consumption.versions_of(choice.contracts)
    meters = _meters(versions)
    meter = _meter(meters, request.GET.get("meter"))
    context = {"contracts": contracts, "choice": choice, "meters": meters, "meter": meter} | _ways(request, choice, now)
    if meter is not None:
        uses = consumption.use(contracts=choice.contracts, meter=meter, versions=versions, period=choice.period)
        if any(use.is_read or use.reserved for use in uses):
            context |= _drawn(choice, meter, uses, now)
        else:
            context |= newest_day(choice.contracts, meter, choice.timezone)
    return render(request, "marketplace/usage.html", context)


def read_day(given: str | None, otherwise: date) -> date:
    """A day of an address, such as 2026-11-23. Raises Http404."""
    if not given:
        return otherwise
    try:
        day = date.fromisoformat(given)
    except ValueError as error:
        raise Http404(f"date is {given!r}: expected YYYY-MM-DD") from error
    if not EARLIEST <= day <= LATEST:
        raise Http404(f"date is {given!r}: expected {EARLIEST} to {LATEST}")
    return day


def read_contract(given: str | None, contracts: Sequence[Contract]) -> Contract | None:
    """The contract of that id; None for none given. Raises Http404."""
    if not given:
        return None
    found = [contract for contract in contracts if str(contract.pk) == given]
    if not found:
        raise Http404
    return found[0]


def newest_day(contracts: Sequence[Contract], meter: Meter, zone: str) -> dict[str, Any]:
    """For a page that has nothing to show: the newest day that has; None for none."""
    at = consumption.newest_at(contracts=contracts, meter=meter)
    return {"newest": None if at is None else amounts.local(at, zone).date()}


def _choice(query: QueryDict, contracts: Sequence[Contract], now: datetime) -> Choice:
    span = query.get("range", "week")
    if span not in RANGES:
        raise Http404(f"range is {span!r}: expected one of {', '.join(RANGES)}")
    contract = read_contract(query.get("contract"), contracts)
    zone = (contract or contracts[0]).account.issuer.timezone
    day = read_day(query.get("date"), amounts.local(now, zone).date())
    return Choice(span, day, contract, [contract] if contract else contracts, contracts, zone)


def _meters(versions: Mapping[consumption.Prices, Versions]) -> list[Meter]:
    codes = consumption.meter_codes(versions)
    meters = {meter.code: meter for meter in Meter.objects.filter(code__in=codes)}
    return [meters[code] for code in codes if code in meters]


def _meter(meters: Sequence[Meter], wanted: str | None) -> Meter | None:
    if not wanted:
        return meters[0] if meters else None
    found = [meter for meter in meters if meter.code == wanted]
    if not found:
        raise Http404
    return found[0]


def _ways(request: HttpRequest, choice: Choice, now: datetime) -> dict[str, Any]:
    """The addresses around this one; the contract and the meter are kept."""
    kept = {name: request.GET[name] for name in ("contract", "meter") if request.GET.get(name)}

    def address(span: str, day: date) -> str:
        return "?" + urlencode({"range": span, "date": day.isoformat(), **kept})

    today = amounts.local(now, choice.timezone).date()
    return {
        "ranges": [(title, address(span, choice.day), span == choice.span) for span, title in RANGES.items()],
        "previous": address(choice.span, choice.previous) if choice.previous >= EARLIEST else None,
        "next": address(choice.span, choice.following) if choice.following <= today else None,
        "today": None if choice.begins <= today < choice.following else address(choice.span, today),
        "last_day": choice.following - timedelta(days=1),
    }


def _drawn(choice: Choice, meter: Meter, uses: Sequence[Use], now: datetime) -> dict[str, Any]:
    codes = {code for use in uses for code in use.parts}
    order, tones = amounts.periods(codes), amounts.tones(codes)
    hours = [consumption.joined(uses[first : first + _HOUR]) for first in range(0, len(uses), _HOUR)]
    slots = [slot(hour, meter, order, tones, choice.timezone) for hour in hours]
    is_day = choice.span == "day"
    rows = _rows(hours if is_day else _by_day(uses, choice.timezone), choice, meter, order)
    return {
        "chart": charts.chart(slots=slots, columns=_columns(choice), gap=0 if choice.span == "month" else 2),
        "legend": [(tones[code], amounts.period_name(code)) for code in order],
        "periods": [(tones[code], amounts.period_name(code)) for code in order],
        "rows": rows,
        "unit": amounts.unit(meter),
        "demand_unit": amounts.demand_unit(meter),
        "meter_name": amounts.meter_name(meter),
        "has_reserved": any(slot.reserved for slot in slots),
        "has_missing": any(slot.is_missing for slot in slots),
        "summary": _summary(uses, choice, meter, now),
    }


def slot(hour: Use, meter: Meter, order: Sequence[str], tones: Mapping[str, str], zone: str) -> charts.Slot:
    """In units per hour, which is the average in demand units: an hour at 8 GPUs is 8 GPU-hours."""
    hours = Fraction((hour.end_at - hour.start_at) // INTERVAL, _HOUR)
    start, end = amounts.local(hour.start_at, zone), amounts.local(hour.end_at, zone)
    names = ", ".join(amounts.period_name(code) for code in order if hour.parts.get(code))
    title = f"{start:%Y-%m-%d %H:%M}–{end:%H:%M}"
    title += f" · {names}" if names else ""
    title += f" · {amounts.units(hour.used_base, meter)} {amounts.unit(meter)}" if hour.is_read else ""
    title += f" · {gettext('no readings')}" if hour.missing else ""
    return charts.Slot(
        title,
        [(tones[code], Fraction(hour.parts.get(code, 0), meter.base_per_unit) / hours) for code in order],
        hour.reserved_base / meter.base_per_unit / hours,
        is_missing=bool(hour.missing),
    )


def _columns(choice: Choice) -> list[str]:
    if choice.span == "day":
        return [f"{hour:02}" for hour in range(24)]
    days = [choice.begins + timedelta(days=number) for number in range((choice.following - choice.begins).days)]
    return [str(day.day) if choice.span == "month" else f"{day:%m-%d}" for day in days]


def _by_day(uses: Sequence[Use], zone: str) -> list[Use]:
    days: dict[date, list[Use]] = {}
    for use in uses:
        days.setdefault(amounts.local(use.start_at, zone).date(), []).append(use)
    return [consumption.joined(each) for each in days.values()]


def _rows(stretches: Sequence[Use], choice: Choice, meter: Meter, order: Sequence[str]) -> list[dict[str, Any]]:
    contract = choice.contract.pk if choice.contract else ""
    rows = []
    for stretch in stretches:
        start, end = (amounts.local(at, choice.timezone) for at in (stretch.start_at, stretch.end_at))
        is_hour = choice.span == "day"
        rows.append(
            {
                "title": f"{start:%H:%M}–{end:%H:%M}" if is_hour else start.date().isoformat(),
                "address": ""
                if is_hour
                else "?"
                + urlencode(
                    {"range": "day", "date": start.date().isoformat(), "contract": contract, "meter": meter.code}
                ),
                "parts": [amounts.units(stretch.parts[code], meter) if code in stretch.parts else "" for code in order],
                "total": amounts.units(stretch.used_base, meter) if stretch.is_read else "",
                "reserved": amounts.units(stretch.reserved_base, meter) if stretch.reserved_base else "",
                "share": amounts.percent(stretch.used_base, stretch.reserved_base) if stretch.is_read else None,
                "missing_minutes": stretch.missing * 15,
            }
        )
    return rows


def _summary(uses: Sequence[Use], choice: Choice, meter: Meter, now: datetime) -> dict[str, Any]:
    """Sums of the range; the share is of what was reserved until the last reading."""
    read = [number for number, use in enumerate(uses) if use.is_read and use.start_at <= now]
    past = uses[: read[-1] + 1] if read else []
    reserved = consumption.joined(past).reserved_base if past else Fraction(0)
    used = sum(use.used_base for use in uses)
    peak = max(past, key=lambda use: use.used_base, default=None)
    missing = sum(use.missing for use in uses)
    return {
        "total": amounts.units(used, meter),
        "share": amounts.percent(sum(use.used_base for use in past), reserved),
        "reserved": amounts.units(reserved, meter),
        "peak": None if peak is None or not peak.used_base else amounts.units(peak.used_base * _HOUR, meter),
        "peak_at": None if peak is None else amounts.local(peak.start_at, choice.timezone),
        "missing_hours": amounts.decimal(Fraction(missing, _HOUR), 2) if missing else None,
        "read_until": amounts.local(min(past[-1].end_at, now), choice.timezone) if past else None,
    }
