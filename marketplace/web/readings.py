"""Readings of one contract, meter and day, and the events that made one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing import digests, usage
from billing.documents import figures, labels
from billing.models import Correction, Meter, Reading, UsageEvent
from billing.rating.period import Period, day_start
from billing.time_of_use import labels as time_of_use
from marketplace import access, consumption
from marketplace.permissions import Permission
from marketplace.web import amounts, downloads, page
from marketplace.web.usage import newest_day, read_contract, read_day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from billing.models import Contract
    from marketplace.models import Organization

INTERVAL = timedelta(minutes=15)
PAGE = 100
_START = re.compile(r"[0-9]{8}T[0-9]{4}Z", re.ASCII)
_CURSOR = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})\.([^\0]+)", re.ASCII | re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _organization(request: HttpRequest) -> Organization | None:
    here = page.of(request)
    if here.organization is not None and Permission.SEE_USAGE not in here.permissions:
        raise Http404
    return here.organization


@require_safe
def readings(request: HttpRequest) -> HttpResponse:
    """The day's readings; each leads to its events."""
    within = _organization(request)
    if within is None:
        return redirect("organization")
    contracts = list(
        access.contracts_for(request.user, within=within).select_related("account__issuer", "tariff").order_by("number")
    )
    if not contracts:
        return render(request, "marketplace/readings.html", {"contracts": []})
    contract = read_contract(request.GET.get("contract"), contracts) or contracts[0]
    zone = contract.account.issuer.timezone
    meters = list(Meter.objects.order_by("code"))
    meter = _meter(meters, contract, request.GET.get("meter"))
    today = amounts.local(timezone.now(), zone).date()
    day = read_day(request.GET.get("date"), today)
    context: dict[str, Any] = {
        "contracts": contracts,
        "contract": contract,
        "meters": meters,
        "meter": meter,
        "day": day,
        "previous": day - timedelta(days=1),
        "next": day + timedelta(days=1) if day < today else None,
        "timezone": zone,
    }
    if meter is not None:
        context |= _of_day(request, contract, meter, day, zone)
        if not context["rows"]:
            context |= newest_day([contract], meter, zone)
    return render(request, "marketplace/readings.html", context)


def _meter(meters: Sequence[Meter], contract: Contract, wanted: str | None) -> Meter | None:
    """The meter asked for, or the first that the contract's tariff prices."""
    if not wanted:
        codes = consumption.meter_codes(consumption.versions_of([contract]))
        wanted = codes[0] if codes else None
    found = [meter for meter in meters if meter.code == wanted]
    if wanted and not found:
        raise Http404
    return found[0] if found else None


def _of_day(request: HttpRequest, contract: Contract, meter: Meter, day: date, zone: str) -> dict[str, Any]:
    period = Period(day_start(day, zone), day_start(day + timedelta(days=1), zone), zone)
    names = time_of_use(
        versions=consumption.versions_of([contract])[consumption.prices_of(contract)], period=period, meter=meter.code
    )
    rows = access.readings_for(request.user, within=page.of(request).organization).filter(
        contract=contract, meter=meter, start_at__gte=period.start, start_at__lt=period.end
    )
    quantities = dict(rows.values_list("start_at", "quantity"))
    tones = amounts.tones(set(names))
    first, last = min(quantities, default=period.end), max(quantities, default=period.start)
    found = []
    for number, name in enumerate(names):
        start_at = period.start + number * INTERVAL
        quantity = quantities.get(start_at)
        if quantity is None and not first < start_at < last:
            continue  # before the first and after the last there is nothing to miss
        found.append(
            {
                "start": amounts.local(start_at, zone),
                "end": amounts.local(start_at + INTERVAL, zone),
                "slug": _slug(start_at),
                "period": amounts.period_name(name),
                "tone": tones[name],
                "quantity": None if quantity is None else f"{quantity:,}",
                "units": None if quantity is None else amounts.units(quantity, meter, 4),
                "average": None if quantity is None else amounts.units(quantity * 4, meter),
            }
        )
    return {
        "rows": found,
        "total": amounts.units(sum(quantities.values()), meter, 4),
        "total_base": f"{sum(quantities.values()):,}",
        **_units(meter),
    }


def _units(meter: Meter) -> dict[str, str]:
    return {
        "unit": amounts.unit(meter),
        "demand_unit": amounts.demand_unit(meter),
        "base_unit": labels.name("unit", meter.base_unit, amounts.language()),
        "meter_name": amounts.meter_name(meter),
    }


def _slug(start_at: datetime) -> str:
    return f"{start_at:%Y%m%dT%H%MZ}"


@dataclass(frozen=True)
class Asked:
    """A reading that may be looked at: its events are there, or it is."""

    contract: Contract
    meter: Meter
    start_at: datetime
    found: Reading | None

    @property
    def zone(self) -> str:
        return self.contract.account.issuer.timezone

    @property
    def file_name(self) -> str:
        return downloads.plain(f"events-{self.contract.number}-{self.meter.code}-{_slug(self.start_at)}.csv")


def _asked(request: HttpRequest, contract_id: int, meter: str, start: str) -> Asked:
    """Raises Http404."""
    contract = get_object_or_404(
        access.contracts_for(request.user, within=_organization(request)).select_related("account__issuer", "tariff"),
        pk=contract_id,
    )
    measured = get_object_or_404(Meter, code=meter)
    start_at = _read_start(start)
    readings = access.readings_for(request.user).filter(contract=contract, meter=measured, start_at=start_at)
    return Asked(contract, measured, start_at, readings.first())


@require_safe
def reading(request: HttpRequest, contract_id: int, meter: str, start: str) -> HttpResponse:
    """One reading and its events, a page at a time."""
    asked = _asked(request, contract_id, meter, start)
    events = usage.events_of(contract=asked.contract, meter=asked.meter, start_at=asked.start_at)
    events = events.select_related("source")
    after = request.GET.get("after", "")
    if after:
        events = events.filter(_after(after))
    some = list(events[: PAGE + 1])
    if asked.found is None and not some:
        raise Http404
    corrections = _corrections(some)
    late = _late(asked, some)
    quantity = asked.found.quantity if asked.found else 0
    context = {
        "contract": asked.contract,
        "meter": asked.meter,
        "start": amounts.local(asked.start_at, asked.zone),
        "end": amounts.local(asked.start_at + INTERVAL, asked.zone),
        "timezone": asked.zone,
        "quantity": f"{quantity:,}",
        "units": amounts.units(quantity, asked.meter, 4),
        "average": amounts.units(quantity * 4, asked.meter),
        "events": [_event(event, corrections, late, asked) for event in some[:PAGE]],
        "has_late": bool(late),
        "digest": digests.of_lines(_lines(asked)),
        "file": reverse("reading_events", args=[asked.contract.pk, asked.meter.code, _slug(asked.start_at)]),
        "file_name": asked.file_name,
        "next": _cursor(some[PAGE - 1]) if len(some) > PAGE else None,
        "is_later": bool(after),
        **_units(asked.meter),
    }
    return render(request, "marketplace/reading.html", context)


@require_safe
def events(request: HttpRequest, contract_id: int, meter: str, start: str) -> HttpResponseBase:
    """The canonical text of the reading's events: its SHA-256 is the digest that the page shows."""
    asked = _asked(request, contract_id, meter, start)
    text = b"".join(_lines(asked))
    if asked.found is None and not text:
        raise Http404
    return downloads.private(HttpResponse(text, content_type=downloads.TYPES["csv"]), asked.file_name)


def _lines(asked: Asked) -> Iterator[bytes]:
    return digests.event_lines(digests.events(contract=asked.contract, meter=asked.meter, start_at=asked.start_at))


def _read_start(given: str) -> datetime:
    if not _START.fullmatch(given):
        raise Http404
    try:
        start_at = datetime.strptime(given, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise Http404 from error
    if start_at.year < 2000 or start_at.year > 2100 or (start_at - _EPOCH) % INTERVAL:
        raise Http404
    return start_at


def _cursor(event: UsageEvent) -> str:
    return f"{(event.time - _EPOCH) // timedelta(microseconds=1)}.{event.source_id}.{event.event_id}"


def _after(cursor: str) -> Q:
    parts = _CURSOR.fullmatch(cursor)
    if parts is None or abs(int(parts[1])) > 10**16:
        raise Http404
    time, source, event_id = _EPOCH + timedelta(microseconds=int(parts[1])), int(parts[2]), parts[3]
    return Q(time__gt=time) | Q(time=time, source_id__gt=source) | Q(time=time, source_id=source, event_id__gt=event_id)


class Corrections(NamedTuple):
    """By (source's id, event's id): what took an event's place, and what an event took the place of."""

    by: dict[tuple[int, str], Correction]
    of: dict[tuple[int, str], Correction]


def _corrections(events: Sequence[UsageEvent]) -> Corrections:
    sources, ids = {event.source_id for event in events}, {event.event_id for event in events}
    found = list(Correction.objects.filter(Q(event_id__in=ids) | Q(by_event_id__in=ids), source__in=sources))
    return Corrections(
        {(each.source_id, each.event_id): each for each in found},
        {(each.source_id, each.by_event_id): each for each in found},
    )


def _late(asked: Asked, events: Sequence[UsageEvent]) -> set[tuple[int, str]]:
    """Those of the events that came after the invoice of their time: source's id, event's id."""
    if not events:
        return set()
    found = UsageEvent.objects.recorded_after_invoice().filter(
        contract=asked.contract,
        meter=asked.meter,
        time__gte=events[0].time,
        time__lte=events[-1].time,
        event_id__in={event.event_id for event in events},
    )
    return set(found.values_list("source_id", "event_id"))


def _event(event: UsageEvent, corrections: Corrections, late: set[tuple[int, str]], asked: Asked) -> dict[str, Any]:
    """`state`: counted; amended or retracted, and `by` which event; or a retraction, which counts for nothing itself."""
    start_at, zone = asked.start_at, asked.zone
    end_at = event.time + timedelta(seconds=event.duration_seconds)
    key = (event.source_id, event.event_id)
    by, of = corrections.by.get(key), corrections.of.get(key)
    state = "counted"
    if by is not None:
        state = "retracted" if by.is_retraction else "amended"
    elif of is not None and of.is_retraction:
        state = "retraction"
    return {
        "id": event.event_id,
        "source": event.source.name,
        "time": amounts.local(event.time, zone),
        "duration_seconds": event.duration_seconds,
        "value": "" if event.value is None else figures.number(event.value),
        "quantity": "" if event.quantity is None else f"{event.quantity:,}",
        "recorded_at": amounts.local(event.recorded_at, zone),
        "reaches_beyond": event.time < start_at or end_at > start_at + INTERVAL,
        "is_late": key in late,
        "state": state,
        "by": by.by_event_id if by is not None else "",
        "of": of.event_id if of is not None else "",
    }
