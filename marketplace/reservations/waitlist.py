"""Waiting for capacity that is not free, up to a price.

First come, first served, per offering: whenever there is room, those who wait are gone through in the order in which they
came, and each is offered the first window that fits and costs no more than its highest price. One who can't be served now
does not keep back those behind it, whose wish may be smaller; it keeps its place. An offer is a hold of WAITLIST_HOLD_MINUTES,
since nobody is waiting at the screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from billing.integrity import require_aware
from marketplace import capacity, sweeps
from marketplace.hours import MAX_HOURS
from marketplace.models import Offering, Organization, WaitlistEntry
from marketplace.reservations import budgets, holds, letters, quotes, shares, states
from marketplace.reservations.quotes import OutsideTermsError
from marketplace.reservations.states import HOUR
from marketplace.retry import retrying

if TYPE_CHECKING:
    from datetime import datetime

    from marketplace.models import Project

WAITLIST_HOLD_MINUTES = 120
MAX_WAIT_HOURS = 90 * 24  # between the earliest and the latest start
_WINDOWS = 24  # tried for the price, of one entry at one time
_REFUSED = (
    quotes.NotOnSaleError,
    quotes.NotVerifiedError,
    quotes.NoPriceError,
    quotes.WrongProjectError,
    quotes.OutsideTermsError,
    budgets.BudgetExceededError,
    shares.ShareChangedError,
    capacity.NotFreeError,
    capacity.DrainingError,
    capacity.InvalidHoursError,
    capacity.InvalidQuantityError,
)

State = WaitlistEntry.State


class TooDearError(Exception):
    """There is room, at more than the entry's highest price."""


class WaitingOverError(Exception):
    """The entry no longer waits: it was offered and taken, or it has expired."""


def join_waitlist(
    *,
    offering: Offering,
    organization: Organization,
    quantity: int,
    hours: int,
    earliest_at: datetime,
    latest_at: datetime,
    max_net_minor: int,
    project: Project | None = None,
    at: datetime,
    actor: str,
) -> WaitlistEntry:
    """Wait for so many GPUs over so many hours, starting in [earliest_at, latest_at], for at most so much, net.

    The same wish again, while it waits, is the entry that is there. Raises OutsideTermsError, NotOnSaleError,
    NotVerifiedError, WrongProjectError.
    """
    offering = quotes.current(offering)
    organization = Organization.objects.get(pk=organization.pk)
    quotes.require_buyer(offering, organization)
    quotes.require_project(organization, project)
    quotes.require_quantity(offering, quantity)
    for field, value in (("earliest_at", earliest_at), ("latest_at", latest_at)):
        require_aware(field, value)
    most = min(offering.max_hours, MAX_HOURS)
    if not offering.min_hours <= hours <= most:
        raise OutsideTermsError("hours", hours, f"{offering.min_hours} to {most}")
    first = max(earliest_at, at)
    if not first <= latest_at <= first + MAX_WAIT_HOURS * HOUR:
        until_at = first + MAX_WAIT_HOURS * HOUR
        raise OutsideTermsError("latest_at", latest_at.isoformat(), f"{first.isoformat()} to {until_at.isoformat()}")
    if max_net_minor < 0:
        raise OutsideTermsError("max_net_minor", max_net_minor, "0 or more")
    wish = {
        "offering": offering,
        "organization": organization,
        "project": project,
        "quantity": quantity,
        "hours": hours,
        "earliest_at": earliest_at,
        "latest_at": latest_at,
        "max_net_minor": max_net_minor,
    }
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)  # two clicks, one entry
        waits = WaitlistEntry.objects.filter(**wish, state=State.WAITING).first()
        return waits or WaitlistEntry.objects.create(**wish, created_at=at, state_at=at, actor=actor)


def leave_waitlist(*, entry: WaitlistEntry, at: datetime, actor: str) -> WaitlistEntry:
    """Wait no longer. What was offered stays held until it is cancelled or expires. Left again, nothing changes.

    Raises WaitingOverError.
    """
    with transaction.atomic():
        waits = WaitlistEntry.objects.filter(pk=entry.pk, state__in=[State.WAITING, State.OFFERED])
        left = waits.update(state=State.LEFT, state_at=at, actor=actor)
        row = WaitlistEntry.objects.get(pk=entry.pk)
    if not left and row.state != State.LEFT:
        raise WaitingOverError(f"entry {row}: state is {row.state}: expected waiting or offered")
    return row


def offer_from_waitlist(*, at: datetime) -> int:
    """Hold what has become free for those who wait for it; returns how many were offered something.

    Also ends what is over: entries whose latest start has passed, and offers that were taken or have lapsed. Each entry has
    a transaction of its own, so it may run twice, or be killed anywhere. Raises SweepError at the end if any failed.
    """
    _settle(at)
    waiting = WaitlistEntry.objects.filter(state=State.WAITING).order_by("offering_id", "created_at", "id")
    return sweeps.each(waiting, lambda entry: _offer(entry=entry, at=at), what="an offer from the waitlist")


def _settle(at: datetime) -> None:
    WaitlistEntry.objects.filter(state=State.WAITING, latest_at__lt=at).update(state=State.EXPIRED, state_at=at)
    offered = WaitlistEntry.objects.filter(state=State.OFFERED)
    offered.filter(reservation__confirmed_at__isnull=False).update(state=State.TAKEN, state_at=at)
    offered.filter(reservation__confirmed_at__isnull=True, reservation__ended_at__isnull=False).update(
        state=State.EXPIRED, state_at=at
    )


def _offer(*, entry: WaitlistEntry, at: datetime) -> bool:
    """Whether something was offered; else the entry says why not yet."""
    try:
        return _try(entry=entry, at=at)
    except (*_REFUSED, TooDearError) as refusal:
        reason = f"{type(refusal).__name__}: {refusal}"[:500]
        WaitlistEntry.objects.filter(pk=entry.pk, state=State.WAITING).exclude(reason=reason).update(reason=reason)
        return False


@retrying
def _try(*, entry: WaitlistEntry, at: datetime) -> bool:
    with transaction.atomic():
        rows = WaitlistEntry.objects.filter(pk=entry.pk, state=State.WAITING)
        row = (
            rows.select_for_update(of=("self",), skip_locked=True)
            .select_related("organization__party", "project")
            .first()
        )
        if row is None:
            return False  # another sweep has it, or it has left
        offering = quotes.current(row.offering)
        quotes.require_buyer(offering, row.organization)
        quotes.require_project(row.organization, row.project)
        window = _affordable(row, offering, at)
        if window is None:
            return False
        actor = f"task:waitlist for {row.actor}"[:100]
        quote = quotes.quote(
            offering=offering,
            organization=row.organization,
            project=row.project,
            quantity=row.quantity,
            start_at=window.start_at,
            end_at=window.end_at,
            at=at,
            actor=actor,
        )
        reservation = holds.hold(quote=quote, at=at, actor=actor, minutes=WAITLIST_HOLD_MINUTES)
        rows.update(state=State.OFFERED, reservation=reservation, state_at=at, reason="")
        letters.offered(entry=row, at=at)
    return True


def _affordable(row: WaitlistEntry, offering: Offering, at: datetime) -> capacity.Window | None:
    """The first window that fits and costs no more than the entry's highest price. None if nothing is free.

    Raises TooDearError if all that is free costs more.
    """
    earliest_at = states.hour_from(max(row.earliest_at, at + offering.lead_hours * HOUR))
    latest_at = row.latest_at.replace(minute=0, second=0, microsecond=0)
    if earliest_at > latest_at:
        return None
    windows = capacity.find_windows(
        pool=offering.pool,
        quantity=row.quantity,
        hours=row.hours,
        earliest_at=earliest_at,
        latest_at=min(latest_at + row.hours * HOUR, earliest_at + MAX_HOURS * HOUR),
        limit=_WINDOWS,
    )
    cheapest: int | None = None
    for window in windows:
        price = quotes.priced(
            offering=offering,
            organization=row.organization,
            version=quotes.version_at(offering, window.start_at),
            quantity=row.quantity,
            start_at=window.start_at,
            end_at=window.end_at,
        )
        if price["net_minor"] <= row.max_net_minor:
            return window
        cheapest = price["net_minor"] if cheapest is None else min(cheapest, price["net_minor"])
    if cheapest is not None:
        raise TooDearError(
            f"max_net_minor is {row.max_net_minor}: expected at least {cheapest}, the cheapest that is free"
        )
    return None
