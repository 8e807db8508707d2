"""Access to what is reserved: handed over by the provider, shown to the buyer once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from marketplace import access, actors
from marketplace.models import Credential, Reservation
from marketplace.provisioning import credentials
from marketplace.web import cards, times
from marketplace.web.booked import own, zone_of
from marketplace.web.page import actor

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse


def standing(request: HttpRequest, row: Reservation) -> dict[str, Any] | None:
    """Whether there is access to show, or to whom it was shown; None while there is nothing to wait for. At most two queries."""
    if row.state not in (Reservation.State.CONFIRMED, Reservation.State.ACTIVE):
        return None
    found = Credential.objects.filter(reservation=row).defer("sealed").order_by("-id").first()
    zone = zone_of(row)
    if found is None or (found.erased_at is not None and found.shown_at is None):
        return {"is_ready": False}
    if found.shown_at is None:
        return {"is_ready": True, "at": times.moment(found.handed_at, zone)}
    return {
        "is_ready": False,
        "shown": times.moment(found.shown_at, zone),
        "who": _who(request, found.shown_to),
    }


def _who(request: HttpRequest, shown_to: str) -> str:
    """The name, if it is one of those whom the reader knows."""
    return actors.names([shown_to], people=access.users_for(request.user)).get(shown_to, "")


@never_cache
@require_POST
def show(request: HttpRequest, reservation_id: UUID) -> HttpResponse:
    """The only page that ever shows it."""
    row = own(request, reservation_id)
    if access.is_staff(request.user):  # it can be looked at once, and that is the buyer's
        raise Http404
    zone = zone_of(row)
    try:
        secret = credentials.show(reservation=row, at=timezone.now(), actor=actor(request))
    except credentials.AlreadyShownError as refusal:
        told = {"at": times.moment(refusal.shown_at, zone), "who": _who(request, refusal.shown_to)}
        messages.error(
            request,
            gettext("It was shown at %(at)s (%(who)s) and is gone. Ask the provider to hand it over anew.") % told,
        )
    except credentials.NothingToShowError:
        messages.error(request, gettext("The provider has not handed it over yet. You get mail as soon as it has."))
    except credentials.NotRunningError:
        messages.error(request, gettext("There is no access: the reservation is not confirmed, or has ended."))
    except credentials.UnreadableError:
        messages.error(request, gettext("It can't be read any more. Ask the provider to hand it over anew."))
    else:
        context = {
            "secret": secret,
            "reservation": row,
            "card": cards.of_pool(row.pool),
            "span": times.span(row.start_at, row.end_at, zone),
        }
        return render(request, "marketplace/access.html", context)
    return redirect("reservation", row.pk)
