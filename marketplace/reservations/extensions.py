"""More hours for a reservation that is there, at the tariff version and on the terms that it was quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from marketplace import capacity
from marketplace.reservations import alerts, budgets, rows, shares, states
from marketplace.reservations.endings import pieces
from marketplace.reservations.holds import QuoteExpiredError, require_verified, supply
from marketplace.reservations.quotes import require_no_notice
from marketplace.reservations.states import Kind, State
from marketplace.retry import retrying

if TYPE_CHECKING:
    from datetime import datetime

    from marketplace.models import Quote, Reservation


class NotAnExtensionError(Exception):
    """The quote is for a reservation of its own: hold it."""


class EndMovedError(Exception):
    """The reservation no longer ends where the quote's hours begin: ask for a new one."""


def extend(*, quote: Quote, at: datetime, actor: str) -> Reservation:
    """Take the quote's hours, and the programmes' shares of them, for the reservation that it extends. The same quote
    again changes nothing.

    There is no hold between: the hours are the buyer's, and owed, from now on. Raises QuoteExpiredError, EndMovedError,
    WrongStateError, NoticeGivenError, NotVerifiedError, BudgetExceededError, ShareChangedError, NotAnExtensionError;
    capacity.NotFreeError, DrainingError; contracts.AlreadyInvoicedError.
    """
    with shares.telling(quote):
        return _extend(quote=quote, at=at, actor=actor)


@retrying
def _extend(*, quote: Quote, at: datetime, actor: str) -> Reservation:
    with transaction.atomic():
        quote = rows.offered(quote.pk)
        if quote.extends is None:
            raise NotAnExtensionError(f"quote {quote}: it extends no reservation: hold it")
        row, billing = rows.locked_with_billing(quote.extends)
        if rows.is_extended_by(row, quote):
            return row
        _require_extensible(row, quote, at)
        months = budgets.by_month(quote)
        warned = budgets.require(project=quote.project, wanted=months)
        alerts.budget_reached(project=quote.project, warned=warned, at=at)
        capacity.take(pool=row.pool, quantity=row.quantity, start_at=quote.start_at, end_at=quote.end_at)
        source = f"{states.source(row)}:{quote.pk}"
        account = billing.account
        assert account is not None  # it is confirmed
        contract = supply(quote, billing, source, account=account, at=at, actor=actor)
        shares.take(quote, source=source, account=lambda: account, at=at, actor=actor)
        facts = {"quote": str(quote.pk), "source": source, "contract_id": contract.pk, "net_minor": quote.net_minor}
        return states.change(
            row,
            Kind.EXTENDED,
            at=at,
            actor=actor,
            facts=facts | budgets.told(warned),
            months=rows.Months(_with(row, months)),
            end_at=quote.end_at,
            net_minor=row.net_minor + quote.net_minor,
            tax_minor=row.tax_minor + quote.tax_minor,
            gross_minor=row.gross_minor + quote.gross_minor,
            subsidy_minor=row.subsidy_minor + quote.subsidy_minor,
            reimbursed_minor=row.reimbursed_minor + quote.reimbursed_minor,
        )


def _require_extensible(row: Reservation, quote: Quote, at: datetime) -> None:
    states.require(row, State.CONFIRMED, State.ACTIVE)
    require_no_notice(row)
    require_verified(row.organization)
    if quote.expires_at <= at:
        raise QuoteExpiredError(quote)
    if row.end_at != quote.start_at:
        raise EndMovedError(
            f"quote {quote}: its hours begin at {quote.start_at.isoformat()}: expected {row.end_at.isoformat()}, where"
            f" reservation {row} ends now; ask for a new quote"
        )


def _with(row: Reservation, months: dict[str, int]) -> dict[str, int]:
    """The months as they stand for what is kept of the reservation, and what the extension adds to them."""
    timezone = row.organization.zone.issuer.timezone
    net = dict(months)
    for part in pieces(row):
        for month, amount in budgets.kept(part.quote, until_at=part.end_at, timezone=timezone).items():
            net[month] = net.get(month, 0) + amount
    return net
