"""Reservations: the list, and one of them with what became of it, what it uses, and what can be done about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing.documents import figures
from marketplace import reservations
from marketplace.models import Incident, Reservation
from marketplace.names import named
from marketplace.web import cards, handover, history, page, prices, refusals, spending, times
from marketplace.web.booked import AROUND, is_own, may_change, own, rows, sees_price, zone_of
from marketplace.web.page import actor

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

State = Reservation.State
PAGE = 24
REFRESH_SECONDS = 20
TABS = {
    "upcoming": (_("Upcoming"), (State.HELD, State.CONFIRMED)),
    "running": (_("Running"), (State.ACTIVE,)),
    "past": (_("Past"), (State.COMPLETED, State.CANCELLED, State.RELEASED, State.EXPIRED, State.FAILED)),
}
TONES = {
    State.HELD: "warn",
    State.CONFIRMED: "info",
    State.ACTIVE: "good",
    State.FAILED: "bad",
}
_CURSOR = re.compile(r"([0-9]{1,12})\.([0-9a-f-]{36})", re.ASCII)


# The list


@never_cache
@require_safe
def list_reservations(request: HttpRequest) -> HttpResponse:
    """By tab: what is to come the soonest first, what is over the latest first."""
    found = rows(request)
    tab = request.GET.get("tab", "upcoming")
    if tab not in TABS:
        raise Http404
    counts = found.aggregate(**{name: Count("pk", filter=Q(state__in=states)) for name, (_t, states) in TABS.items()})
    order = ("-start_at", "-id") if tab == "past" else ("start_at", "id")
    listed = found.filter(state__in=TABS[tab][1]).select_related(*AROUND).order_by(*order)
    after = request.GET.get("after", "")
    if after:
        listed = listed.filter(_after(after, is_past=tab == "past"))
    shown = list(listed[: PAGE + 1])
    now = timezone.now()
    context = {
        "tabs": [
            {"name": name, "title": title, "count": counts[name], "is_here": name == tab}
            for name, (title, _states) in TABS.items()
        ],
        "tab": tab,
        "rows": [_row(request, row, now) for row in shown[:PAGE]],
        "next": _cursor(shown[PAGE - 1]) if len(shown) > PAGE else "",
        "timezone": zone_of(shown[0]) if shown else "",
        "has_buyers": any(not is_own(request, row) for row in shown) or page.of(request).organization is None,
        "has_prices": any(sees_price(request, row) for row in shown),
        "is_empty": not any(counts.values()),
    }
    return render(request, "marketplace/reservations.html", context)


def _row(request: HttpRequest, row: Reservation, now: datetime) -> dict[str, Any]:
    return {
        "reservation": row,
        "card": {"name": named(row.offering), "model": cards.model(row.pool.accelerator)},
        "site": named(row.pool.site),
        "span": times.span(row.start_at, row.end_at, zone_of(row)),
        "buyer": "" if is_own(request, row) and page.of(request).organization else row.organization.name,
        "price": figures.money(row.payable_minor, row.currency) if sees_price(request, row) else "",
        "state": row.get_state_display(),
        "tone": TONES.get(State(row.state), ""),
        "left": _left(row, now),
    }


def _left(row: Reservation, now: datetime) -> dict[str, str]:
    """What comes next, and in how long."""
    if row.state == State.HELD:
        return {"hold": times.length(row.hold_expires_at - now)} if row.hold_expires_at > now else {"over": "1"}
    if row.state == State.CONFIRMED:
        return {"starts": times.length(row.start_at - now)} if row.start_at > now else {"late": "1"}
    if row.state == State.ACTIVE:
        return {"ends": times.length(row.end_at - now)}
    return {}


def _cursor(row: Reservation) -> str:
    return f"{int(row.start_at.timestamp())}.{row.pk}"


def _after(cursor: str, *, is_past: bool) -> Q:
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise Http404
    try:
        place, key = datetime.fromtimestamp(int(parts[1]), tz=UTC), UUID(parts[2])
    except (ValueError, OverflowError, OSError) as error:
        raise Http404 from error
    side = "lt" if is_past else "gt"
    return Q(**{f"start_at__{side}": place}) | Q(**{"start_at": place, f"id__{side}": key})


# One reservation


@never_cache
@require_safe
def reservation(request: HttpRequest, reservation_id: UUID) -> HttpResponse:
    """The whole page, or for htmx what runs out."""
    here = rows(request).select_related(*AROUND, "quote", "contract__account__issuer", "contract__tariff")
    row = get_object_or_404(here, pk=reservation_id)
    now = timezone.now()
    if getattr(request, "htmx", False):
        return render(request, "marketplace/_reservation_step.html", _step(request, row, now))
    return _shown(request, row, now)


@require_POST
def confirm(request: HttpRequest, reservation_id: UUID) -> HttpResponse:
    row = own(request, reservation_id)
    try:
        reservations.confirm(reservation=row, at=timezone.now(), actor=actor(request))
    except refusals.REFUSED as refusal:
        messages.error(request, refusals.said(refusal, timezone=zone_of(row), currency=row.currency))
    return redirect("reservation", row.pk)


def _shown(request: HttpRequest, row: Reservation, now: datetime) -> HttpResponse:
    zone = zone_of(row)
    with_price = sees_price(request, row)
    context = {
        "card": {"name": named(row.offering), "code": row.offering.code, **cards.of_pool(row.pool)},
        "span": times.span(row.start_at, row.end_at, zone),
        "price": prices.money(row) if with_price else None,
        "project": row.project if is_own(request, row) else None,
        "steps": steps(row, now),
        "bar": prices.bar(row.quote.parts, row.currency) if with_price else (),
        "service_level": prices.service_level(row.quote.terms),
        "changes": history.told(request, row, timezone=zone, with_price=with_price),
        "incidents": _incidents(row, now, zone),
        "notice": row.notice_ends_at and times.moment(row.notice_ends_at, zone),
        "buyer": row.organization.name,
        "is_own": is_own(request, row),
        "access": handover.standing(request, row) if may_change(request, row) else None,
        "spending": spending.of(row, at=now, with_price=with_price) if is_own(request, row) else None,
    }
    return render(request, "marketplace/reservation.html", context | _step(request, row, now))


def steps(row: Reservation, now: datetime) -> list[dict[str, Any]]:
    """What cancelling costs until when; of one that runs, by the nearness of the hours that are given back."""
    if row.state == State.ACTIVE:
        return prices.steps(row.quote.terms)
    return prices.steps(row.quote.terms, start_at=row.start_at, timezone=zone_of(row), at=now)


def _step(request: HttpRequest, row: Reservation, now: datetime) -> dict[str, Any]:
    """Where it stands, and what can be done with it now."""
    live = row.state in Reservation.LIVE
    may = may_change(request, row)
    firm = row.state in (State.CONFIRMED, State.ACTIVE)
    whole = row.end_at - row.start_at
    done = min(max(now - row.start_at, timedelta(0)), whole)
    return {
        "reservation": row,
        "state": row.get_state_display(),
        "tone": TONES.get(State(row.state), ""),
        "left": _left(row, now),
        "hold_until": times.moment(row.hold_expires_at, zone_of(row)),
        "may_confirm": may and row.state == State.HELD and row.hold_expires_at > now,
        "may_cancel": may and live and (row.state != State.HELD or row.hold_expires_at > now),
        "may_extend": may and firm and row.notice_ends_at is None and row.end_at > now,
        "may_release": may and firm and row.end_at > now,
        "may_quote_again": may
        and row.state in (State.EXPIRED, State.CANCELLED, State.FAILED, State.HELD)
        and not (row.state == State.HELD and row.hold_expires_at > now),
        "done": done * 1000 // whole if row.state == State.ACTIVE else None,
        "done_hours": done // times.HOUR,
        "hours": whole // times.HOUR,
        "gross": figures.money(row.payable_minor, row.currency) if sees_price(request, row) else "",
        "timezone": zone_of(row),
        "refreshes": live,
        "refresh_seconds": REFRESH_SECONDS,
    }


def _incidents(row: Reservation, now: datetime, zone: str) -> list[dict[str, Any]]:
    """Those open at its pool that touch the hours that it has before it."""
    if row.state not in Reservation.LIVE:
        return []
    open_now = Incident.objects.filter(pool=row.pool_id, closed_at=None, start_at__lt=row.end_at)
    touching = open_now.filter(Q(end_at=None) | Q(end_at__gt=max(row.start_at, min(now, row.end_at))))
    return [
        {
            "kind": each.get_kind_display(),
            "gpus": each.quantity,
            "start": times.moment(each.start_at, zone),
            "end": each.end_at and times.moment(each.end_at, zone),
            "cause": each.cause,
        }
        for each in touching.order_by("start_at", "pk")
    ]
