"""One offering: what it is, what it costs through the week, when it is free, and the form that asks for a quote."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from billing.rating.period import day_start
from marketplace import access, capacity, listings, pricing, reservations
from marketplace.comparison import calendar
from marketplace.hours import nearest_windows
from marketplace.models import Offering, Organization, Project
from marketplace.permissions import Permission
from marketplace.terms import InvalidFactError
from marketplace.web import cards, heat, page, prices, refusals, times, wishes
from marketplace.web.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from marketplace.hours import Window

_AROUND = timedelta(days=30)  # for windows that fit instead
_LATEST = timedelta(days=365)  # from now on, that the calendar can be turned to
_SUGGESTED = 3


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def offering(request: HttpRequest, code: str) -> HttpResponse:
    """The page, its form filled in by the address; a POST makes the quote, if so many GPUs are free then."""
    row = of(request, code)
    now, zone = timezone.now(), zone_of(row)
    buyer = buyer_of(request)
    if request.method != "POST":
        return shown(request, row, wish=empty(request, row, now), now=now)
    if buyer is None or Permission.RESERVE not in page.of(request).permissions:
        raise Http404
    wish = wishes.Wish(request.POST, offering=row, projects=projects(request), timezone=zone)
    if not wish.is_valid():
        return shown(request, row, wish=wish, now=now)
    asked = {name: wish.cleaned_data[name] for name in ("quantity", "start_at", "end_at", "project")}
    fits = _fits(row, _asked(row, wish), now, zone)
    if fits is not None and not fits["is_free"]:  # a price for what can't be had helps nobody
        return shown(request, row, wish=wish, now=now)
    try:
        found = reservations.quote(offering=row, organization=buyer, at=now, actor=page.actor(request), **asked)
    except refusals.REFUSED as refusal:
        refusals.at_field(wish, refusal, offering=row, timezone=zone, currency=_currency(row), at=now)
        return shown(request, row, wish=wish, now=now)
    return redirect("quote", found.pk)


def of(request: HttpRequest, code: str) -> Offering:
    """The offering, if it is on sale or the current organization's own. Raises Http404."""
    here = page.of(request)
    if Permission.SEE_ORGANIZATION not in here.permissions:
        raise Http404
    rows = access.offerings_for(request.user, within=here.organization).select_related(
        "pool__site__provider__zone__issuer", "pool__accelerator", "tariff"
    )
    return get_object_or_404(rows, code=code)


def zone_of(row: Offering) -> str:
    return row.pool.site.provider.zone.issuer.timezone


def _currency(row: Offering) -> str:
    return row.pool.site.provider.zone.issuer.currency


def buyer_of(request: HttpRequest) -> Organization | None:
    """The current organization, if it buys."""
    organization = page.of(request).organization
    return organization if organization is not None and organization.is_buyer else None


def projects(request: HttpRequest) -> QuerySet[Project]:
    """Those of the current organization that can be chosen."""
    within = page.of(request).organization
    if within is None:
        return Project.objects.none()
    return access.projects_for(request.user, within=within).filter(archived_at=None)


# The page


def shown(
    request: HttpRequest,
    row: Offering,
    *,
    wish: wishes.Wish,
    now: datetime,
    wait: wishes.Wait | None = None,
) -> HttpResponse:
    zone = zone_of(row)
    asked = _asked(row, wish)
    context = {
        "card": cards.card(row),
        "description": cards.described(row),
        "facts": cards.facts(row.pool.accelerator),
        "steps": prices.steps(_terms(row)),
        "service_level": prices.service_level(_terms(row)),
        "offering": row,
        "timezone": zone,
        "wish": wish,
        "standing": _standing(request, row),
        "fits": _fits(row, asked, now, zone),
        **_calendar(request, row, asked, now),
        **_priced(row, now),
        "wait": wait or _waiting(request, row, asked, now),
        "wait_is_open": wait is not None,
    }
    return render(request, "marketplace/offering.html", context)


def _terms(row: Offering) -> dict[str, Any]:
    return {
        "cancellation_terms": row.cancellation_terms,
        "service_level_percent": row.service_level_percent,
        "service_credit_percent": row.service_credit_percent,
    }


def _standing(request: HttpRequest, row: Offering) -> dict[str, bool]:
    """What stands in the way of a quote, the first of it."""
    here, buyer = page.of(request), buyer_of(request)
    if row.state != Offering.State.PUBLISHED:
        return {"off_sale": True}
    if here.organization is None:
        return {"no_organization": True}
    if buyer is None or buyer.zone_id != row.pool.site.provider.zone_id:
        return {"no_buyer": True}
    if buyer.state != Organization.State.VERIFIED:
        return {"not_verified": True}
    return {"may": True} if Permission.RESERVE in here.permissions else {"no_right": True}


def empty(request: HttpRequest, row: Offering, now: datetime) -> wishes.Wish:
    """The form as the address fills it in: what is right of it, and what an offering takes otherwise."""
    zone = zone_of(row)
    soonest = capacity.next_hour(now + row.lead_hours * HOUR)
    initial: dict[str, Any] = {
        "quantity": row.min_quantity,
        "hours": max(row.min_hours, min(row.max_hours, 24)),
        "start": wishes.initial(soonest, zone),
    }
    if request.GET:
        given = wishes.Wish(request.GET, offering=row, projects=projects(request), timezone=zone)
        given.is_valid()
        told = given.cleaned_data
        initial |= {name: told[name] for name in ("quantity", "hours", "project") if told.get(name) is not None}
        if told.get("start") is not None:
            initial["start"] = wishes.initial(told["start"], zone)
    return wishes.Wish(initial=initial, offering=row, projects=projects(request), timezone=zone)


def _asked(row: Offering, wish: wishes.Wish) -> dict[str, Any]:
    """quantity, hours and start_at as the form says them, or None for a start that it says wrongly."""
    told: Mapping[str, Any]
    if wish.is_bound:
        told = wish.cleaned_data
        start_at, end_at = told.get("start_at"), told.get("end_at")
        hours = (end_at - start_at) // HOUR if start_at and end_at else told.get("hours")
    else:
        told, zone = wish.initial, zone_of(row)
        start_at = told["start"].replace(tzinfo=ZoneInfo(zone))
        hours = told["hours"]
    return {
        "quantity": told.get("quantity") or row.min_quantity,
        "hours": hours or row.min_hours,
        "start_at": start_at,
    }


def _fits(row: Offering, asked: dict[str, Any], now: datetime, zone: str) -> dict[str, Any] | None:
    """Whether so many are free in all of the hours asked for, and if not the nearest windows in which they are."""
    start_at, quantity, hours = asked["start_at"], asked["quantity"], asked["hours"]
    is_sold = row.min_quantity <= quantity <= row.max_quantity and row.min_hours <= hours <= row.max_hours
    if start_at is None or not is_sold or abs(start_at - now) > _LATEST:
        return None
    start_at = capacity.next_hour(start_at)
    soonest = capacity.next_hour(now + row.lead_hours * HOUR)
    from_at, end_at = max(soonest, start_at - _AROUND), start_at + hours * HOUR
    if start_at < soonest:
        return None
    free = capacity.free_by_hour(pools=[row.pool], start_at=from_at, end_at=end_at + _AROUND)[row.pool_id]
    place = (start_at - from_at) // HOUR
    least = min(free[place : place + hours])
    windows: Sequence[Window] = ()
    if least < quantity:
        windows = nearest_windows(free, from_at, quantity, (start_at, end_at), _SUGGESTED)
    return {
        "is_free": least >= quantity,
        "least": least,
        "quantity": quantity,
        "span": times.span(start_at, end_at, zone),
        "windows": wishes.windows(row, quantity, windows, zone),
    }


def _calendar(request: HttpRequest, row: Offering, asked: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What is free, day by day; from today on, or from the day that the address says."""
    zone = zone_of(row)
    today = now.astimezone(ZoneInfo(zone)).date()
    first = _first_day(request.GET.get("from"), today, asked["start_at"], zone)
    from_at = day_start(first, zone)
    try:
        found = calendar(offering=row, quantity=asked["quantity"], from_at=from_at, days=heat.DAYS, at=now)
    except InvalidFactError:
        return {"days": []}
    before, after = first - timedelta(days=heat.DAYS), first + timedelta(days=heat.DAYS)
    is_linked = row.state == Offering.State.PUBLISHED
    return {
        "days": heat.calendar(
            found, quantity=asked["quantity"], hours=asked["hours"], gpus=row.pool.gpus, is_linked=is_linked
        ),
        "hours": [f"{hour:02}" for hour in range(24)],
        "asked": asked,
        "first_day": first,
        "last_day": after - timedelta(days=1),
        "earlier": max(before, today) if first > today else None,
        "later": after if after - today < _LATEST else None,
    }


def _first_day(given: str | None, today: date, start_at: datetime | None, zone: str) -> date:
    """A day of the address, or the one of the start asked for where it would not be seen otherwise. Raises Http404."""
    if given:
        try:
            first = date.fromisoformat(given)
        except ValueError as error:
            raise Http404(f"from is {given!r}: expected YYYY-MM-DD") from error
        if not timedelta(0) <= first - today < _LATEST:
            raise Http404(f"from is {given!r}: expected a day within a year from now")
        return first
    wanted = today if start_at is None else start_at.astimezone(ZoneInfo(zone)).date()
    ahead = wanted - today
    return wanted if timedelta(days=heat.DAYS) <= ahead < _LATEST else today


def _priced(row: Offering, now: datetime) -> dict[str, Any]:
    """The prices of this week, of the version in force or the first to come, and from when the next ones apply."""
    versions = listings.versions_of(tariff_ids={row.tariff_id}).get(row.tariff_id, [])
    if not versions:
        return {"week": None}
    place = max((number for number, (since, _) in enumerate(versions) if since <= now), default=0)
    current = versions[place][1]
    today = now.astimezone(ZoneInfo(current.timezone)).date()
    days = pricing.week(prices=current, monday=today - timedelta(days=today.weekday()))
    following = versions[place + 1][0] if place + 1 < len(versions) else None
    return {
        "week": heat.week(days, current.currency),
        "mean": prices.decimal_money(pricing.decimal(pricing.mean(current)), current.currency),
        "currency": current.currency,
        "next_prices": following and times.moment(following, current.timezone),
        "left_out": current.left_out,
        "fixed": current.fixed_day or current.fixed_month or current.fixed_year,
    }


def _waiting(request: HttpRequest, row: Offering, asked: dict[str, Any], now: datetime) -> wishes.Wait:
    zone = zone_of(row)
    soonest = capacity.next_hour(now + row.lead_hours * HOUR)
    earliest = max(soonest, capacity.next_hour(asked["start_at"])) if asked["start_at"] else soonest
    initial = {
        "quantity": asked["quantity"],
        "hours": asked["hours"],
        "earliest": wishes.initial(earliest, zone),
        "latest": wishes.initial(earliest + timedelta(days=7), zone),
    }
    return wishes.Wait(
        initial=initial, offering=row, projects=projects(request), timezone=zone, currency=_currency(row)
    )


def wait_form(request: HttpRequest, row: Offering) -> wishes.Wait:
    return wishes.Wait(
        request.POST, offering=row, projects=projects(request), timezone=zone_of(row), currency=_currency(row)
    )
