"""What the refusals of reservations say to people, in their language. The exceptions' own words are for logs and developers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import formats, timezone
from django.utils.translation import gettext as _

from marketplace import capacity
from marketplace.reservations import budgets, endings, extensions, holds, quotes, shares, states, waitlist

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


def explain(error: Exception, *, money: Callable[[int], str] = str) -> str | None:
    """One sentence for the buyer about a refusal of this package or of capacity; None for any other exception.

    money: how an amount in minor units is written, in the zone's currency.
    """
    match error:
        case quotes.OutsideTermsError():
            return _("%(field)s is %(value)s: expected %(expected)s.") % {
                "field": field_name(error.field),
                "value": error.value,
                "expected": error.expected,
            }
        case budgets.BudgetExceededError() | shares.ShareChangedError():
            return _with_amounts(error, money)
        case capacity.NotFreeError():
            return _not_free(error)
        case capacity.DrainingError():
            return _("Nothing can be reserved of this pool from %(at)s on.") % {"at": _time(error.drains_at)}
        case states.WrongStateError():
            return _("The reservation is in the state “%(state)s”, in which this can't be done.") % {
                "state": error.reservation.get_state_display()
            }
        case _:
            plain = _plain()
            return next((plain[kind] for kind in type(error).__mro__ if kind in plain), None)


def _with_amounts(error: budgets.BudgetExceededError | shares.ShareChangedError, money: Callable[[int], str]) -> str:
    if isinstance(error, shares.ShareChangedError):
        return _("Programmes pay %(left)s of it now, and you would pay %(payable)s: ask for a new quote.") % {
            "left": money(error.left_minor),
            "payable": money(error.payable_minor),
        }
    return _(
        "The budget of project %(project)s for %(month)s is %(limit)s, and %(counted)s of it are held, confirmed or"
        " used: %(wanted)s more do not fit."
    ) % {
        "project": error.project.name,
        "month": error.month,
        "limit": money(error.limit_minor),
        "counted": money(error.counted_minor),
        "wanted": money(error.wanted_minor),
    }


def field_name(field: str) -> str:
    """What a field of a wish is called; the field's own name where there is no other."""
    names = {
        "quantity": _("GPUs"),
        "hours": _("hours"),
        "start_at": _("start"),
        "end_at": _("end"),
        "earliest_at": _("earliest start"),
        "latest_at": _("latest start"),
        "max_net_minor": _("highest price"),
    }
    return names.get(field, field)


def _not_free(error: capacity.NotFreeError) -> str:
    said = _("%(quantity)s GPUs are not free in all of these hours.") % {"quantity": error.quantity}
    if not error.windows:
        return said
    windows = "; ".join(f"{_time(one.start_at)} – {_time(one.end_at)}" for one in error.windows)
    return said + " " + _("The nearest that fit: %(windows)s.") % {"windows": windows}


def _plain() -> dict[Any, str]:
    return {
        quotes.NotVerifiedError: _("Only a verified buyer of the zone can reserve."),
        quotes.NotOnSaleError: _("This offering is not on sale any more."),
        quotes.NoPriceError: _("There is no price for these hours yet."),
        quotes.WrongProjectError: _("This project can't be used: choose another."),
        quotes.NoticeGivenError: _("The provider takes this capacity back: reserve elsewhere."),
        holds.QuoteExpiredError: _("The quote is no longer good: ask for a new one."),
        holds.HoldExpiredError: _("The hold is over: ask for a new quote."),
        extensions.EndMovedError: _("The reservation ends at another time now: ask for a new quote."),
        endings.NoticeTooLateError: _("The reservation ends before the notice would be over."),
        states.NotDueError: _("It is not yet time for this, or no longer."),
        waitlist.WaitingOverError: _("This entry of the waitlist is over."),
    }


def _time(at: datetime) -> str:
    return formats.date_format(timezone.localtime(at), "DATETIME_FORMAT")
