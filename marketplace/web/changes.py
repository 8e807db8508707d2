"""What a buyer changes about a reservation: cancel it, give hours back, ask for more. What it costs is shown first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from billing.documents import figures
from marketplace import capacity, reservations
from marketplace.models import Reservation
from marketplace.names import named
from marketplace.web import cards, history, prices, refusals, times
from marketplace.web.booked import own, zone_of
from marketplace.web.page import actor
from marketplace.web.reservations import steps
from marketplace.web.times import HOUR, LocalHourField

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from marketplace.reservations import Cancellation

State = Reservation.State
_FIRST = 24 * 30  # hours after the end that are looked at for how long it could be extended


class NewEnd(forms.Form):
    """Another end, as a local hour. `cost` is what the page showed, so that nobody pays more than was seen."""

    end = LocalHourField(label=_("New end"))

    def __init__(self, *arguments: Any, timezone: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        field = self.fields["end"]
        assert isinstance(field, LocalHourField)
        field.timezone = timezone


class MoreHours(forms.Form):
    """An extension is asked for by its hours, or by the new end."""

    hours = forms.IntegerField(label=_("More hours"), min_value=1, max_value=87_600, required=False)
    end = LocalHourField(label=_("Or until"), required=False)

    def __init__(self, *arguments: Any, row: Reservation, timezone: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._row = row
        field = self.fields["end"]
        assert isinstance(field, LocalHourField)
        field.timezone = timezone

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        hours, end_at = cleaned.get("hours"), cleaned.get("end")
        if hours is not None:
            return cleaned | {"end_at": self._row.end_at + hours * HOUR}
        if end_at is None:
            raise ValidationError({"hours": _("Say for how many hours more, or choose an end.")})
        if end_at <= self._row.end_at:
            raise ValidationError({"end": _("Choose an end after the present one.")})
        return cleaned | {"end_at": end_at}


# Cancel


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest, reservation_id: UUID) -> HttpResponse:
    """What it costs and why; a POST cancels, unless it has come to cost more than the page said."""
    row = own(request, reservation_id)
    now = timezone.now()
    try:
        cost = reservations.cancellation(reservation=row, at=now)
        if request.method == "POST" and _is_agreed(request, cost):
            reservations.cancel(reservation=row, at=now, actor=actor(request))
            messages.success(request, _cancelled(row, cost))
            return redirect("reservation", row.pk)
    except refusals.REFUSED as refusal:
        if not (request.method == "POST" and _is(row, State.CANCELLED)):
            messages.error(request, refusals.said(refusal, timezone=zone_of(row), currency=row.currency))
        return redirect("reservation", row.pk)
    context = _about(row) | {
        "cost": _told(cost, row),
        "is_hold": row.state == State.HELD,
        "has_risen": request.method == "POST",
    }
    return render(request, "marketplace/cancel.html", context)


def _is(row: Reservation, state: str) -> bool:
    """Whether it is in this state by now: a second click finds done what the first one did."""
    return Reservation.objects.filter(pk=row.pk, state=state).exists()


def _is_agreed(request: HttpRequest, cost: Cancellation) -> bool:
    given = request.POST.get("fee", "")
    return given.isascii() and given.isdigit() and len(given) < 19 and cost.fee_minor <= int(given)


def _cancelled(row: Reservation, cost: Cancellation) -> str:
    if row.state == State.HELD:
        return gettext("The hold is let go. It cost nothing.")
    if not cost.fee_minor:
        return gettext("The reservation is cancelled. It costs nothing.")
    fee = {"fee": figures.money(cost.fee_minor, row.currency)}
    return gettext("The reservation is cancelled. The fee of %(fee)s before tax is on the next bill.") % fee


# Give hours back


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def release(request: HttpRequest, reservation_id: UUID) -> HttpResponse:
    """A GET with an end shows what it costs; a POST does it, unless it has come to cost more than that."""
    row = own(request, reservation_id)
    now, zone = timezone.now(), zone_of(row)
    if row.state not in (State.CONFIRMED, State.ACTIVE):
        messages.error(request, refusals.said(_wrong(row), timezone=zone, currency=row.currency))
        return redirect("reservation", row.pk)
    given = request.POST if request.method == "POST" else request.GET
    form = NewEnd(given if "end_date" in given else None, timezone=zone)
    cost = None
    if form.is_bound and form.is_valid():
        end_at = form.cleaned_data["end"]
        try:
            if request.method == "POST" and row.end_at == end_at:  # the first of two clicks has done it
                return redirect("reservation", row.pk)
            cost = reservations.release_cost(reservation=row, end_at=end_at, at=now)
            if request.method == "POST" and _is_agreed(request, cost):
                reservations.release_hours(reservation=row, end_at=end_at, at=now, actor=actor(request))
                messages.success(request, gettext("The hours are given back."))
                return redirect("reservation", row.pk)
        except reservations.OutsideTermsError:
            form.add_error("end", _release_range(row, now, zone))
        except refusals.REFUSED as refusal:
            messages.error(request, refusals.said(refusal, timezone=zone, currency=row.currency))
            return redirect("reservation", row.pk)
    context = _about(row) | {
        "form": form,
        "cost": cost and _told(cost, row),
        "has_risen": request.method == "POST" and cost is not None,
        "range": _release_range(row, now, zone),
        "steps": prices.steps(row.quote.terms),
    }
    return render(request, "marketplace/release.html", context)


def _wrong(row: Reservation) -> reservations.WrongStateError:
    return reservations.WrongStateError(row, (State.CONFIRMED, State.ACTIVE))


def _release_range(row: Reservation, now: datetime, zone: str) -> str:
    """Which ends can be chosen."""
    least = row.quote.terms.get("min_hours", 1) * HOUR
    first = max(row.start_at + least, capacity.next_hour(now))
    last = row.end_at - HOUR
    begun = row.state == State.ACTIVE or row.start_at < now
    told = {
        "first": times.moment(first, zone),
        "last": times.moment(last, zone),
        "start": times.moment(row.start_at, zone),
    }
    if first > last:
        if begun:
            return gettext("No hours can be given back any more.")
        return gettext("Only all of it can be given back: choose %(start)s.") % told
    if begun:
        return gettext("Choose an end from %(first)s to %(last)s.") % told
    return gettext("Choose an end from %(first)s to %(last)s, or %(start)s to give back all of it.") % told


# Ask for more


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def extension(request: HttpRequest, reservation_id: UUID) -> HttpResponse:
    """The form; a POST makes the quote for more hours, where they are free."""
    row = own(request, reservation_id)
    now, zone = timezone.now(), zone_of(row)
    free_hours = _free_after(row)
    form = MoreHours(request.POST if request.method == "POST" else None, row=row, timezone=zone)
    most = row.quote.terms.get("max_hours", row.offering.max_hours) - (row.end_at - row.start_at) // HOUR
    form.fields["hours"].widget.attrs |= {"max": max(1, min(most, free_hours))}
    if form.is_bound and form.is_valid():
        end_at = form.cleaned_data["end_at"]
        if (end_at - row.end_at) // HOUR > min(free_hours, _FIRST - 1):
            form.add_error(None, _taken_after(row, free_hours, zone))
        else:
            try:
                quote = reservations.extension_quote(reservation=row, end_at=end_at, at=now, actor=actor(request))
            except reservations.OutsideTermsError:
                form.add_error("hours", gettext("Choose up to %(most)s hours more.") % {"most": max(0, most)})
            except refusals.REFUSED as refusal:
                messages.error(request, refusals.said(refusal, timezone=zone, currency=row.currency))
                return redirect("reservation", row.pk)
            else:
                return redirect("quote", quote.pk)
    context = _about(row) | {"form": form, "free_text": _taken_after(row, free_hours, zone), "free_hours": free_hours}
    return render(request, "marketplace/extend.html", context)


def _free_after(row: Reservation) -> int:
    """For how many hours after its end so many GPUs are free, at most _FIRST."""
    last = row.end_at + _FIRST * HOUR
    free = capacity.free_by_hour(pools=[row.pool], start_at=row.end_at, end_at=last)[row.pool_id]
    return next((place for place, there in enumerate(free) if there < row.quantity), len(free))


def _taken_after(row: Reservation, free_hours: int, zone: str) -> str:
    if not free_hours:
        return gettext("The GPUs are taken right after the end: no hours can be added.")
    until = times.moment(row.end_at + free_hours * HOUR, zone)
    return gettext("The GPUs are free until %(at)s.") % {"at": until}


# What the three pages share


def _about(row: Reservation) -> dict[str, Any]:
    zone = zone_of(row)
    return {
        "reservation": row,
        "card": {"name": named(row.offering), **cards.of_pool(row.pool)},
        "span": times.span(row.start_at, row.end_at, zone),
        "timezone": zone,
        "state": row.get_state_display(),
        "steps": steps(row, timezone.now()),
    }


def _told(cost: Cancellation, row: Reservation) -> dict[str, Any]:
    why = history.WHY.get(cost.why)
    return {
        "fee_minor": cost.fee_minor,
        "fee": figures.money(cost.fee_minor, row.currency),
        "cancelled": figures.money(cost.cancelled_minor, row.currency),
        "returned": figures.money(cost.returned_minor, row.currency),
        "percent": f"{figures.number(cost.percent)}%",
        "span": times.span(cost.from_at, cost.end_at, zone_of(row)),
        "why": why() if why else "",
    }
