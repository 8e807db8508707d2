"""What the verbs refuse, in the reader's words: a verb's own message is for those who write programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext, ngettext

from billing import contracts
from billing.documents import figures
from marketplace import capacity, reservations
from marketplace.models import Reservation
from marketplace.refusals import buying
from marketplace.web import times

if TYPE_CHECKING:
    from datetime import datetime

    from django import forms

    from marketplace.models import Offering

REFUSED = (
    reservations.BudgetExceededError,
    reservations.EndMovedError,
    reservations.HoldExpiredError,
    reservations.IsExtensionError,
    reservations.NoPriceError,
    reservations.NotAnExtensionError,
    reservations.NotOnSaleError,
    reservations.NotVerifiedError,
    reservations.NoticeGivenError,
    reservations.OutsideTermsError,
    reservations.QuoteExpiredError,
    reservations.ShareChangedError,
    reservations.WaitingOverError,
    reservations.WrongProjectError,
    reservations.WrongStateError,
    capacity.DrainingError,
    capacity.InvalidHoursError,
    capacity.InvalidQuantityError,
    capacity.NotFreeError,
    contracts.AlreadyInvoicedError,
)
"""All that a buyer's step may be answered with, instead of being done."""

FIELDS = {
    "quantity": "quantity",
    "start_at": "start",
    "end_at": "hours",
    "hours": "hours",
    "earliest_at": "earliest",
    "latest_at": "latest",
    "max_net_minor": "max_price",
}
"""A verb's field to the form's."""


def said(refusal: Exception, *, timezone: str, currency: str) -> str:
    """The refusal in the reader's language, with what to do now."""
    if isinstance(refusal, reservations.BudgetExceededError):
        return _budget(refusal, currency)
    if isinstance(refusal, reservations.ShareChangedError):
        return _share(refusal, currency)
    if isinstance(refusal, reservations.QuoteExpiredError):
        at = {"at": times.moment(refusal.quote.expires_at, timezone)}
        return gettext("This price was good until %(at)s. Quote it again to see what it costs now.") % at
    if isinstance(refusal, capacity.DrainingError):
        at = {"at": times.moment(refusal.drains_at, timezone)}
        return gettext("The provider takes these GPUs out of service at %(at)s. Choose an end before that.") % at
    if isinstance(refusal, reservations.WrongStateError):
        state = {"state": Reservation.State(refusal.state).label}
        return gettext("Nothing was changed: this reservation is “%(state)s” by now.") % state
    return buying()[type(refusal)]  # its words hold no figures


def _budget(refusal: reservations.BudgetExceededError, currency: str) -> str:
    left = max(0, refusal.limit_minor - refusal.counted_minor)
    return gettext(
        "It would cost %(wanted)s in %(month)s, and of the %(limit)s that the project %(project)s may cost in a month"
        " %(left)s are left. Choose less, another project, or ask for a higher limit."
    ) % {
        "wanted": figures.money(refusal.wanted_minor, currency),
        "limit": figures.money(refusal.limit_minor, currency),
        "left": figures.money(left, currency),
        "month": refusal.month,
        "project": refusal.project.name,
    }


def _share(refusal: reservations.ShareChangedError, currency: str) -> str:
    return gettext(
        "Programmes pay %(left)s of it by now, not the %(promised)s of this quote: you would pay %(payable)s, with tax."
        " Nothing was reserved. Quote it again to have it at that price."
    ) % {
        "left": figures.money(refusal.left_minor, currency),
        "promised": figures.money(refusal.promised_minor, currency),
        "payable": figures.money(refusal.payable_minor, currency),
    }


# At a form's fields


def at_field(
    form: forms.Form, refusal: Exception, *, offering: Offering, timezone: str, currency: str, at: datetime
) -> None:
    """Put the refusal where it belongs: at the field that it is about, or above the form."""
    if isinstance(refusal, reservations.OutsideTermsError):
        field = FIELDS.get(refusal.field, "")
        text = outside(refusal, offering=offering, timezone=timezone, at=at)
        form.add_error(field if field in form.fields else None, text)
    elif isinstance(refusal, reservations.WrongProjectError) and "project" in form.fields:
        form.add_error("project", said(refusal, timezone=timezone, currency=currency))
    else:
        form.add_error(None, said(refusal, timezone=timezone, currency=currency))


def outside(refusal: reservations.OutsideTermsError, *, offering: Offering, timezone: str, at: datetime) -> str:
    """What would be within the offering's terms."""
    terms = {
        "least": offering.min_quantity,
        "most": offering.max_quantity,
        "step": offering.step,
        "least_hours": offering.min_hours,
        "most_hours": offering.max_hours,
        "lead": offering.lead_hours,
    }
    if refusal.field == "start_at":
        return _too_soon(at, offering.lead_hours, timezone)
    steps = gettext("Choose %(least)s to %(most)s GPUs, in steps of %(step)s from the least on.")
    words = {
        "quantity": steps if offering.step > 1 else gettext("Choose %(least)s to %(most)s GPUs."),
        "hours": gettext("Choose %(least_hours)s to %(most_hours)s hours."),
        "latest_at": gettext(
            "Choose a latest start that is not before the earliest, nor before now, and at most 90 days after."
        ),
        "max_net_minor": gettext("Choose a price of 0 or more."),
    }
    other = gettext("These hours or this number of GPUs lie outside of what is sold.")
    return words.get(refusal.field, other) % terms


def _too_soon(at: datetime, lead_hours: int, timezone: str) -> str:
    earliest_at = capacity.next_hour(at + lead_hours * capacity.HOUR)
    told = {"at": times.moment(earliest_at, timezone), "count": lead_hours}
    if not lead_hours:
        return gettext("Choose a start at %(at)s or later: that is the next whole hour.") % told
    return (
        ngettext(
            "Choose a start at %(at)s or later: the provider needs %(count)s hour to prepare.",
            "Choose a start at %(at)s or later: the provider needs %(count)s hours to prepare.",
            lead_hours,
        )
        % told
    )
