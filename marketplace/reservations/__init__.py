"""Reservations: quoted, held, confirmed, running, completed, or ended otherwise. The only writer of quotes, reservations
and the waitlist.

`states` has the legal arcs, `quotes` the price and the terms, `holds` the way from a quote to the end, `endings` what is
given back before, `extensions` more hours, `budgets` what a project may spend, `waitlist` who waits.
"""

from marketplace.reservations.budgets import BudgetExceededError, Warned, spent, spent_by_month, warnings
from marketplace.reservations.endings import (
    Cancellation,
    NoticeTooLateError,
    cancel,
    cancellation,
    end_noticed,
    fail,
    give_notice,
    release_cost,
    release_hours,
)
from marketplace.reservations.explanations import explain
from marketplace.reservations.extensions import EndMovedError, NotAnExtensionError, extend
from marketplace.reservations.holds import (
    HOLD_MINUTES,
    PLATFORM_FEE_PERCENT,
    HoldExpiredError,
    IsExtensionError,
    QuoteExpiredError,
    complete,
    confirm,
    expire,
    hold,
    start,
)
from marketplace.reservations.quotes import (
    QUOTE_MINUTES,
    NoPriceError,
    NoticeGivenError,
    NotOnSaleError,
    NotVerifiedError,
    OutsideTermsError,
    WrongProjectError,
    extension_quote,
    quote,
)
from marketplace.reservations.shares import ShareChangedError
from marketplace.reservations.states import ARCS, NotDueError, WrongStateError
from marketplace.reservations.waitlist import (
    WAITLIST_HOLD_MINUTES,
    WaitingOverError,
    join_waitlist,
    leave_waitlist,
    offer_from_waitlist,
)

__all__ = [
    "ARCS",
    "HOLD_MINUTES",
    "PLATFORM_FEE_PERCENT",
    "QUOTE_MINUTES",
    "WAITLIST_HOLD_MINUTES",
    "BudgetExceededError",
    "Cancellation",
    "EndMovedError",
    "HoldExpiredError",
    "IsExtensionError",
    "NoPriceError",
    "NotAnExtensionError",
    "NotDueError",
    "NotOnSaleError",
    "NotVerifiedError",
    "NoticeGivenError",
    "NoticeTooLateError",
    "OutsideTermsError",
    "QuoteExpiredError",
    "ShareChangedError",
    "WaitingOverError",
    "Warned",
    "WrongProjectError",
    "WrongStateError",
    "cancel",
    "cancellation",
    "complete",
    "confirm",
    "end_noticed",
    "expire",
    "explain",
    "extend",
    "extension_quote",
    "fail",
    "give_notice",
    "hold",
    "join_waitlist",
    "leave_waitlist",
    "offer_from_waitlist",
    "quote",
    "release_cost",
    "release_hours",
    "spent",
    "spent_by_month",
    "start",
    "warnings",
]
