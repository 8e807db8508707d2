"""A quote: every part of the price and why, what it does to the project's budget, and the step to a reservation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from marketplace import access, capacity, reservations
from marketplace.models import Offering, Quote, Reservation
from marketplace.permissions import Permission
from marketplace.reservations import budgets
from marketplace.web import cards, page, prices, refusals, times, wishes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from marketplace.hours import Window

REFRESH_SECONDS = 20


@never_cache
@require_safe
def quote(request: HttpRequest, quote_id: UUID) -> HttpResponse:
    """The whole page, or for htmx what runs out."""
    row = _of(request, quote_id)
    if getattr(request, "htmx", False):
        return render(request, "marketplace/_quote_step.html", _step(request, row, timezone.now()))
    return _shown(request, row)


@require_POST
def hold(request: HttpRequest, quote_id: UUID) -> HttpResponse:
    """Take the GPUs for the quote; a second click leads to the reservation that the first one made."""
    row = _of(request, quote_id, to=Permission.RESERVE)
    zone = _zone(row)
    if row.extends_id is not None:
        return redirect("quote", row.pk)
    try:
        held = reservations.hold(quote=row, at=timezone.now(), actor=page.actor(request))
    except capacity.NotFreeError as refusal:
        return _shown(request, row, windows=refusal.windows, refusal=refusal)
    except reservations.ShareChangedError as refusal:
        return _shown(request, row, refusal=refusal)
    except refusals.REFUSED as refusal:
        messages.error(request, refusals.said(refusal, timezone=zone, currency=row.currency))
        return redirect("quote", row.pk)
    return redirect("reservation", held.pk)


@require_POST
def extend(request: HttpRequest, quote_id: UUID) -> HttpResponse:
    """Add the quote's hours to its reservation; there is no hold between."""
    row = _of(request, quote_id, to=Permission.RESERVE)
    if row.extends_id is None:
        return redirect("quote", row.pk)
    try:
        reservations.extend(quote=row, at=timezone.now(), actor=page.actor(request))
    except reservations.ShareChangedError as refusal:
        return _shown(request, row, refusal=refusal)
    except refusals.REFUSED as refusal:
        messages.error(request, refusals.said(refusal, timezone=_zone(row), currency=row.currency))
        return redirect("quote", row.pk)
    return redirect("reservation", row.extends_id)


@require_POST
def again(request: HttpRequest, quote_id: UUID) -> HttpResponse:
    """The same wish at today's price; where that can't be had, back to the form, with what was wished."""
    row = _of(request, quote_id, to=Permission.RESERVE)
    now, actor = timezone.now(), page.actor(request)
    try:
        if row.extends is not None:
            fresh = reservations.extension_quote(reservation=row.extends, end_at=row.end_at, at=now, actor=actor)
        else:
            fresh = reservations.quote(
                offering=row.offering,
                organization=row.organization,
                quantity=row.quantity,
                start_at=row.start_at,
                end_at=row.end_at,
                project=row.project,
                at=now,
                actor=actor,
            )
    except refusals.REFUSED as refusal:
        messages.error(request, _told(refusal, row, now))
        if row.extends_id is not None:
            return redirect("reservation", row.extends_id)
        return redirect(wishes.address(row.offering, row.quantity, row.start_at, row.end_at, _zone(row)))
    return redirect("quote", fresh.pk)


# One quote


def _of(request: HttpRequest, quote_id: UUID, *, to: Permission | None = None) -> Quote:
    """The quote, in the current organization. Raises Http404, also for one who may not do what is wanted with it."""
    here = page.of(request)
    if to is not None and to not in here.permissions:
        raise Http404
    rows = access.quotes_for(request.user, within=here.organization).select_related(
        "offering__pool__site__provider__zone__issuer",
        "offering__pool__accelerator",
        "organization",
        "project",
        "extends",
        "reservation",
        "tariff_version__tariff",
    )
    return get_object_or_404(rows, pk=quote_id)


def _zone(row: Quote) -> str:
    return row.offering.pool.site.provider.zone.issuer.timezone


def _told(refusal: Exception, row: Quote, now: datetime) -> str:
    if isinstance(refusal, reservations.OutsideTermsError):
        return refusals.outside(refusal, offering=row.offering, timezone=_zone(row), at=now)
    return refusals.said(refusal, timezone=_zone(row), currency=row.currency)


def _shown(
    request: HttpRequest, row: Quote, *, windows: Sequence[Window] = (), refusal: Exception | None = None
) -> HttpResponse:
    zone = _zone(row)
    context = {
        "card": cards.card(row.offering),
        "span": times.span(row.start_at, row.end_at, zone),
        "bar": prices.bar(row.parts, row.currency),
        "months": prices.by_month(row.parts, row.currency),
        "steps": prices.steps(row.terms, start_at=row.start_at, timezone=zone, at=timezone.now()),
        "service_level": prices.service_level(row.terms),
        "budget": _budget(row),
        "promises": prices.promises(row),
        "is_dearer": isinstance(refusal, reservations.ShareChangedError),
        "refused": refusal and refusals.said(refusal, timezone=zone, currency=row.currency),
        "windows": wishes.windows(row.offering, row.quantity, windows, zone),
        "again": wishes.address(row.offering, row.quantity, row.start_at, row.end_at, zone),
    }
    return render(request, "marketplace/quote.html", context | _step(request, row, timezone.now()))


def _budget(row: Quote) -> dict[str, Any] | None:
    """Nothing once it is taken: then it is counted already."""
    if _taken(row) is not None:
        return None
    return prices.budget(row.project, budgets.by_month(row), row.currency)


def _taken(row: Quote) -> Reservation | None:
    """The reservation that came of the quote, or that it has extended."""
    if row.extends is not None:
        extended = row.extends.changes.filter(kind="extended", facts__quote=str(row.pk)).exists()
        return row.extends if extended else None
    return getattr(row, "reservation", None)


def _step(request: HttpRequest, row: Quote, now: datetime) -> dict[str, Any]:
    """What can be done with it now."""
    taken = _taken(row)
    zone = _zone(row)
    return {
        "quote": row,
        "price": prices.money(row),
        "per_gpu_hour": prices.per_gpu_hour(row),
        "taken": taken,
        "taken_state": "" if taken is None else taken.get_state_display(),
        "is_expired": row.expires_at <= now,
        "is_on_sale": row.offering.state == Offering.State.PUBLISHED,
        "may_reserve": Permission.RESERVE in page.of(request).permissions,
        "expires": times.moment(row.expires_at, zone),
        "left": times.length(row.expires_at - now),
        "hold_minutes": reservations.HOLD_MINUTES,
        "refresh_seconds": REFRESH_SECONDS,
        "timezone": zone,
    }
