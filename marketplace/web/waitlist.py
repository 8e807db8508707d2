"""Waiting for what is not free: join, see what is offered, leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing.documents import figures
from marketplace import access, reservations
from marketplace.models import WaitlistEntry
from marketplace.permissions import Permission
from marketplace.web import cards, offerings, page, refusals, times

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

State = WaitlistEntry.State
SHOWN = 50
TONES = {State.OFFERED: "good", State.WAITING: "info"}


@require_POST
def join(request: HttpRequest, code: str) -> HttpResponse:
    row = offerings.of(request, code)
    buyer = offerings.buyer_of(request)
    if buyer is None or Permission.RESERVE not in page.of(request).permissions:
        raise Http404
    now, zone = timezone.now(), offerings.zone_of(row)
    form = offerings.wait_form(request, row)
    if form.is_valid():
        told = form.cleaned_data
        try:
            reservations.join_waitlist(
                offering=row,
                organization=buyer,
                quantity=told["quantity"],
                hours=told["hours"],
                earliest_at=told["earliest"],
                latest_at=told["latest"],
                max_net_minor=form.max_net_minor,
                project=told["project"],
                at=now,
                actor=page.actor(request),
            )
        except refusals.REFUSED as refusal:
            currency = row.pool.site.provider.zone.issuer.currency
            refusals.at_field(form, refusal, offering=row, timezone=zone, currency=currency, at=now)
        else:
            messages.success(request, gettext("You are on the waitlist. You get mail when there is room."))
            return redirect("waitlist")
    return offerings.shown(request, row, wish=offerings.empty(request, row, now), now=now, wait=form)


@never_cache
@require_safe
def waitlist(request: HttpRequest) -> HttpResponse:
    """Those that wait or have an offer first, then the latest of the others."""
    here = page.of(request)
    found = _rows(request).select_related(
        "offering__pool__site__provider__zone__issuer", "offering__pool__accelerator", "project", "reservation"
    )
    open_states = (State.OFFERED, State.WAITING)
    rows = [*found.filter(state__in=open_states).order_by("created_at", "id")[:SHOWN]]
    rows += found.exclude(state__in=open_states).order_by("-state_at", "id")[:SHOWN]
    now = timezone.now()
    context = {
        "rows": [_row(row, now) for row in rows],
        "timezone": offerings.zone_of(rows[0].offering) if rows else "",
        "may_leave": Permission.RESERVE in here.permissions,
    }
    return render(request, "marketplace/waitlist.html", context)


@require_POST
def leave(request: HttpRequest, entry_id: UUID) -> HttpResponse:
    if Permission.RESERVE not in page.of(request).permissions:
        raise Http404
    entry = get_object_or_404(_rows(request), pk=entry_id)
    try:
        reservations.leave_waitlist(entry=entry, at=timezone.now(), actor=page.actor(request))
    except reservations.WaitingOverError as refusal:
        messages.warning(request, refusals.said(refusal, timezone="UTC", currency=""))
    else:
        messages.success(request, gettext("You wait no longer."))
    return redirect("waitlist")


def _rows(request: HttpRequest) -> QuerySet[WaitlistEntry]:
    """Raises Http404 for one who may see none."""
    here = page.of(request)
    if not here.permissions & {Permission.RESERVE, Permission.SEE_BILLS}:
        raise Http404
    return access.waitlist_for(request.user, within=here.organization)


def _row(row: WaitlistEntry, now: datetime) -> dict[str, Any]:
    issuer = row.offering.pool.site.provider.zone.issuer
    zone = issuer.timezone
    held = row.reservation if row.state == State.OFFERED else None
    return {
        "entry": row,
        "card": cards.card(row.offering),
        "between": times.between(row.earliest_at, row.latest_at, zone),
        "price": figures.money(row.max_net_minor, issuer.currency),
        "state": row.get_state_display(),
        "tone": TONES.get(State(row.state), ""),
        "is_open": row.state in (State.WAITING, State.OFFERED),
        "offer": held
        and {
            "span": times.span(held.start_at, held.end_at, zone),
            "until": times.moment(held.hold_expires_at, zone),
            "left": times.length(held.hold_expires_at - now),
            "is_over": held.hold_expires_at <= now,
        },
        "why": WHY.get(row.reason.partition(":")[0], lambda: "")() if row.state == State.WAITING else "",
    }


WHY = {
    "NotFreeError": lambda: gettext("Nothing that fits is free yet."),
    "DrainingError": lambda: gettext("Nothing that fits is free yet."),
    "TooDearError": lambda: gettext("There is room, but it costs more than your highest price."),
    "BudgetExceededError": lambda: gettext("There is room, but the project's budget does not allow it."),
    "NotOnSaleError": lambda: gettext("The provider does not sell it at the moment."),
    "NotVerifiedError": lambda: gettext("Your organization may not reserve at the moment."),
    "WrongProjectError": lambda: gettext("The project is archived."),
    "OutsideTermsError": lambda: gettext("The terms have changed: it is no longer sold so."),
    "NoPriceError": lambda: gettext("There is no price for these hours yet."),
    "InvalidQuantityError": lambda: gettext("The pool has fewer GPUs than that by now."),
}
"""The verb's exception that an entry's reason begins with, in words."""
