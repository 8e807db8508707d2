"""From a quote to a reservation: hold the capacity, confirm it, start it, complete it; or let the hold expire."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction

from billing import contracts, parties
from billing.integrity import named
from marketplace import capacity, sweeps
from marketplace.models import Offering, Organization, Quote, Reservation
from marketplace.reservations import alerts, budgets, rows, shares, states
from marketplace.reservations.quotes import (
    NotOnSaleError,
    NotVerifiedError,
    account_of,
    late_until,
    require_project,
)
from marketplace.reservations.states import Kind, NotDueError, State
from marketplace.retry import retrying

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from billing.models import Account, Contract

HOLD_MINUTES = 15
_SWEEP = "task:reservations"
PLATFORM_FEE_PERCENT = Decimal(10)
"""The platform's margin on what a reservation costs, the same for all of a zone; it stands on each contract."""


class QuoteExpiredError(Exception):
    """The quote's time is over: ask for a new one."""

    def __init__(self, quote: Quote) -> None:
        self.quote = quote
        super().__init__(f"quote {quote}: it was good until {quote.expires_at.isoformat()}: ask for a new one")


class HoldExpiredError(Exception):
    """The hold's time is over, and its capacity may be someone else's: ask for a new quote."""


class IsExtensionError(Exception):
    """The quote is for more hours of a reservation that is there: extend that one."""


class _HeldBeforeError(Exception):
    """Another one has just held this quote."""


def hold(*, quote: Quote, at: datetime, actor: str, minutes: int = HOLD_MINUTES) -> Reservation:
    """Take the quote's capacity, and what programmes promised of its price, for so many minutes, within which it can be
    confirmed, and no longer than 15 minutes past its start or now. A quote is held once: held again, it is the same
    reservation, whatever has become of it.

    Raises QuoteExpiredError, BudgetExceededError, ShareChangedError, NotOnSaleError, NotVerifiedError, WrongProjectError,
    IsExtensionError; capacity.NotFreeError with the nearest windows, DrainingError, InvalidQuantityError.
    """
    try:
        with shares.telling(quote):
            return _hold(quote_id=quote.pk, at=at, actor=actor, minutes=minutes)
    except (_HeldBeforeError, budgets.BudgetExceededError):
        # The budget may have been used up by the other click.
        held = Reservation.objects.filter(quote_id=quote.pk).first()
        if held is None:
            raise
        return held


@retrying
def _hold(*, quote_id: UUID, at: datetime, actor: str, minutes: int) -> Reservation:
    quote, is_held, looks_free = rows.quoted(quote_id)
    if is_held:
        raise _HeldBeforeError
    _require_holdable(quote, at)
    if not looks_free:  # most of what is refused is so for this, and has locked nothing
        raise capacity.refusal(
            pool=quote.offering.pool, quantity=quote.quantity, start_at=quote.start_at, end_at=quote.end_at
        )
    held_before = {"marketplace_reservation_quote_id_key": _HeldBeforeError}
    with named(held_before), transaction.atomic():
        months = budgets.by_month(quote)
        warned = budgets.require(project=quote.project, wanted=months)
        alerts.budget_reached(project=quote.project, warned=warned, at=at)
        row = Reservation(
            quote_id=quote.pk,
            offering_id=quote.offering_id,
            pool_id=quote.offering.pool_id,
            organization_id=quote.organization_id,
            project_id=quote.project_id,
            quantity=quote.quantity,
            start_at=quote.start_at,
            end_at=quote.end_at,
            hold_expires_at=min(at + timedelta(minutes=minutes), late_until(at, quote.start_at)),
            currency=quote.currency,
            net_minor=quote.net_minor,
            tax_minor=quote.tax_minor,
            gross_minor=quote.gross_minor,
            subsidy_minor=quote.subsidy_minor,
            reimbursed_minor=quote.reimbursed_minor,
            created_at=at,
            actor=actor,
        )
        rows.make_held(row, quote, months, {"net_minor": row.net_minor, **budgets.told(warned)})
        capacity.take(pool=row.pool, quantity=row.quantity, start_at=row.start_at, end_at=row.end_at)
        shares.take(quote, source=states.source(row), account=lambda: _payer(row, at), at=at, actor=actor)
    return row


def _require_holdable(quote: Quote, at: datetime) -> None:
    if quote.extends_id is not None:
        raise IsExtensionError(f"quote {quote}: it is for more hours of reservation {quote.extends_id}: extend that")
    if quote.expires_at <= at:
        raise QuoteExpiredError(quote)
    if quote.offering.state != Offering.State.PUBLISHED:
        raise NotOnSaleError(f"offering {quote.offering.code}: state is {quote.offering.state}: expected published")
    require_verified(quote.organization)
    require_project(quote.organization, quote.project)


def require_verified(organization: Organization) -> None:
    """A suspended buyer takes on nothing more."""
    if organization.state != Organization.State.VERIFIED:
        raise NotVerifiedError(f"organization {organization.name}: state is {organization.state}: expected verified")


@retrying
def confirm(*, reservation: Reservation, at: datetime, actor: str) -> Reservation:
    """Make the hold firm: its hours become a span of reserved quantity on the account's contract, at the quoted version.

    The account is opened if there is none. Confirmed again, it stays as it is. Raises WrongStateError, HoldExpiredError,
    NotVerifiedError; contracts.AlreadyInvoicedError if a month of it has been closed meanwhile.
    """
    with transaction.atomic():
        row, billing = rows.locked_with_billing(reservation)
        if row.state in (State.CONFIRMED, State.ACTIVE, State.COMPLETED):
            return row
        states.require(row, State.HELD)
        if row.hold_expires_at <= at:
            raise HoldExpiredError(
                f"reservation {row}: it was held until {row.hold_expires_at.isoformat()}: ask for a new quote"
            )
        require_verified(row.organization)
        contract = supply(
            row.quote, billing, states.source(row), account=billing.account or _account(row, at), at=at, actor=actor
        )
        facts = {"contract": contract.number}
        return states.move(
            row, State.CONFIRMED, Kind.CONFIRMED, at=at, actor=actor, facts=facts, contract=contract, confirmed_at=at
        )


def supply(quote: Quote, billing: rows.Billing, source: str, *, account: Account, at: datetime, actor: str) -> Contract:
    """Reserve the quote's span on the account's contract of the reservation's tariff version and provider."""
    return contracts.supply(
        account=account,
        tariff_version=billing.tariff_version,
        provider=billing.provider,
        fee_percent=PLATFORM_FEE_PERCENT,
        quantity=quote.quantity,
        start_at=quote.start_at,
        end_at=quote.end_at,
        source=source,
        at=at,
        actor=actor,
    )


def _payer(row: Reservation, at: datetime) -> Account:
    return account_of(row.organization, row.organization.zone.issuer_id) or _account(row, at)


def _account(row: Reservation, at: datetime) -> Account:
    organization = row.organization
    party = organization.party
    code = f"{party.credit_code[-8:]}-{organization.pk}"
    return parties.open_account(issuer=organization.zone.issuer, code=code, party=party, at=at)


def expire(*, at: datetime) -> int:
    """Let go of every hold whose time is over; returns how many these were. Each has a transaction of its own.

    Raises SweepError at the end if any failed.
    """
    over = Reservation.objects.filter(state=State.HELD, hold_expires_at__lte=at).order_by("hold_expires_at")
    return sweeps.each(over.only("pk"), lambda one: _expire(reservation=one, at=at), what="the end of a hold")


@retrying
def _expire(*, reservation: Reservation, at: datetime) -> bool:
    with transaction.atomic():
        row = rows.locked(reservation)
        if row.state != State.HELD or row.hold_expires_at > at:
            return False
        months = let_go(row, at=at, actor=_SWEEP)
        states.move(row, State.EXPIRED, Kind.EXPIRED, at=at, actor=_SWEEP, facts={}, months=months, ended_at=at)
    return True


def let_go(row: Reservation, *, at: datetime, actor: str) -> rows.Months:
    """Give back all of a hold: in the slots, and what is committed for it; its months, which then are to be nothing."""
    capacity.release(pool=row.pool, quantity=row.quantity, start_at=row.start_at, end_at=row.end_at)
    shares.keep([(row.quote, states.source(row), {})], at=at, actor=actor)
    return rows.Months(dict.fromkeys(budgets.by_month(row.quote), 0))


@retrying
def start(*, reservation: Reservation, at: datetime, actor: str) -> Reservation:
    """It runs from now on: the provider has handed it over. Started again, it stays as it is.

    Raises WrongStateError; NotDueError before its start and after its end.
    """
    with transaction.atomic():
        row = rows.locked(reservation)
        if row.state == State.ACTIVE:
            return row
        states.require(row, State.CONFIRMED)
        if not row.start_at <= at < row.end_at:
            raise NotDueError(
                f"at is {at.isoformat()}: expected a time from {row.start_at.isoformat()} to before"
                f" {row.end_at.isoformat()}, in which reservation {row} may run"
            )
        return states.move(row, State.ACTIVE, Kind.STARTED, at=at, actor=actor, facts={}, started_at=at)


@retrying
def complete(*, reservation: Reservation, at: datetime, actor: str) -> Reservation:
    """It has run to its end. Completed again, it stays as it is. Raises WrongStateError; NotDueError before its end."""
    with transaction.atomic():
        row = rows.locked(reservation)
        if row.state == State.COMPLETED:
            return row
        states.require(row, State.ACTIVE)
        if at < row.end_at:
            raise NotDueError(f"at is {at.isoformat()}: expected {row.end_at.isoformat()}, its end, or later")
        return states.move(row, State.COMPLETED, Kind.COMPLETED, at=at, actor=actor, facts={}, ended_at=at)
