"""Hours given back before their time: by the buyer, at a price that is quoted first; by the provider, at none.

One rule for all: the hours from `cut_at` on go back to the market, what billing keeps of them is shortened or withdrawn,
and the reservation's months keep what remains of the quoted price. A reservation that never started gives back all.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db import transaction

from billing import contracts, one_off, returns
from billing.rating import money
from marketplace import capacity, sweeps
from marketplace.models import Reservation
from marketplace.reservations import budgets, rows, shares, states
from marketplace.reservations.holds import let_go
from marketplace.reservations.quotes import OutsideTermsError
from marketplace.reservations.states import HOUR, Kind, State
from marketplace.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from billing.models import Contract
    from marketplace.models import Quote

_ALL = Decimal(100)


class NoticeTooLateError(Exception):
    """The reservation ends before the notice would be over."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What it costs to give back the hours [from_at, end_at): `percent` of `cancelled_minor`, their part of the quoted net.

    `why`: held, late, notice, incident (each free), or terms. `returned_minor` is what the buyer no longer pays, net.
    """

    from_at: datetime
    end_at: datetime
    percent: Decimal
    cancelled_minor: int
    fee_minor: int
    why: str

    @property
    def returned_minor(self) -> int:
        return self.cancelled_minor - self.fee_minor


@dataclass(frozen=True, slots=True)
class _Fee:
    """What is charged for it, when, and under which source."""

    amount_minor: int
    at: datetime
    month: str
    source: str
    why: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """One quote's part of a reservation, [start_at, end_at) as it stands, and where billing keeps it."""

    quote: Quote
    source: str
    contract_id: int | None
    start_at: datetime
    end_at: datetime


def cancellation(*, reservation: Reservation, at: datetime) -> Cancellation:
    """What cancelling it now would cost. Nothing is changed. Raises WrongStateError."""
    row = _read(reservation)
    return _cost(row, pieces(row), _cut(row, at), at)


def release_cost(*, reservation: Reservation, end_at: datetime, at: datetime) -> Cancellation:
    """What giving back the hours from end_at on would cost. Nothing is changed. Raises WrongStateError, OutsideTermsError."""
    row = _read(reservation)
    states.require(row, State.CONFIRMED, State.ACTIVE)
    _require_release(row, end_at, at)
    return _cost(row, pieces(row), end_at, at)


@retrying
def cancel(*, reservation: Reservation, at: datetime, actor: str) -> Reservation:
    """End it at the cost that `cancellation` tells: a hold, or one that is to come, as a whole; a running one from the next
    whole hour on. Cancelled again, it stays as it is. Raises WrongStateError.
    """
    with transaction.atomic():
        row = rows.locked(reservation)
        if row.state == State.CANCELLED:
            return row
        states.require(row, *Reservation.LIVE)
        return _end(row, State.CANCELLED, Kind.CANCELLED, at=at, actor=actor)


@retrying
def release_hours(*, reservation: Reservation, end_at: datetime, at: datetime, actor: str) -> Reservation:
    """Give the hours from end_at on back to the market; the reservation goes on until then.

    It costs what cancelling these hours costs by the terms, counted from their own start: hours that are far off may be
    free while near ones are not. All of one that has not begun can be given back (end_at = start_at): it is `released`.
    At least the offering's least hours stay otherwise. Given back again, nothing changes. Raises WrongStateError,
    OutsideTermsError.
    """
    with transaction.atomic():
        row = rows.locked(reservation)
        if row.state == State.RELEASED or (row.state in Reservation.LIVE and row.end_at == end_at):
            return row
        states.require(row, State.CONFIRMED, State.ACTIVE)
        _require_release(row, end_at, at)
        if end_at == row.start_at:
            return _end(row, State.RELEASED, Kind.RELEASED, at=at, actor=actor)
        parts = pieces(row)
        cost = _cost(row, parts, end_at, at)
        fee = _fee(row, cost, f"{states.source(row)}:release:{rows.releases(row) + 1}", at) if cost.fee_minor else None
        months = _give_back(row, parts, cut_at=end_at, supplied_until=end_at, fee=fee, at=at, actor=actor)
        facts = _facts(cost) | {"from_end_at": row.end_at.isoformat()}
        return states.change(row, Kind.RELEASED, at=at, actor=actor, facts=facts, months=months, end_at=end_at)


@retrying
def fail(*, reservation: Reservation, reason: str, at: datetime, actor: str) -> Reservation:
    """The provider could not deliver, or can't any more: from now on (the quarter of an hour) there is nothing to pay, and
    for one that never started nothing at all. Failed again, it stays as it is. Raises WrongStateError.
    """
    with transaction.atomic():
        row = rows.locked(reservation)
        if row.state == State.FAILED:
            return row
        states.require(row, State.CONFIRMED, State.ACTIVE)
        return _end_free(row, State.FAILED, Kind.FAILED, at=at, actor=actor, reason=reason)


@retrying
def give_notice(*, reservation: Reservation, reason: str, at: datetime, actor: str) -> Reservation:
    """The provider takes the capacity back when the pool's notice is over; `end_noticed` then ends the reservation.

    From now on the buyer may cancel at no cost. Given again, the first one stands. Raises WrongStateError, NoticeTooLateError.
    """
    with transaction.atomic():
        row = rows.locked(reservation)
        states.require(row, State.CONFIRMED, State.ACTIVE)
        if row.notice_ends_at is not None:
            return row
        ends_at = states.hour_from(at + row.pool.notice_hours * HOUR)
        if ends_at >= row.end_at:
            raise NoticeTooLateError(
                f"reservation {row}: a notice of {row.pool.notice_hours} hours is over at {ends_at.isoformat()}: expected one"
                f" that ends later, and it ends at {row.end_at.isoformat()}"
            )
        facts = {"reason": reason, "ends_at": ends_at.isoformat()}
        return states.change(row, Kind.NOTICE, at=at, actor=actor, facts=facts, notice_ends_at=ends_at)


def end_noticed(*, at: datetime) -> int:
    """End the reservations whose notice is over; returns how many these were. Each has a transaction of its own.

    Raises SweepError at the end if any failed.
    """
    due = Reservation.objects.filter(state__in=[State.CONFIRMED, State.ACTIVE], notice_ends_at__lte=at)
    noticed = due.order_by("notice_ends_at", "id").only("pk")
    return sweeps.each(noticed, lambda one: _end_noticed(reservation=one, at=at), what="the end of a notice")


@retrying
def _end_noticed(*, reservation: Reservation, at: datetime) -> bool:
    with transaction.atomic():
        row = rows.locked(reservation)
        if row.state not in (State.CONFIRMED, State.ACTIVE) or row.notice_ends_at is None or row.notice_ends_at > at:
            return False
        if row.state == State.ACTIVE and row.end_at <= row.notice_ends_at:
            return False  # it was shortened since, and ends by itself
        actor = "task:reservations"
        _end_free(row, State.RELEASED, Kind.RELEASED, at=at, actor=actor, until=row.notice_ends_at, reason="notice")
    return True


# The one way in which hours are given back


def _end(row: Reservation, to: str, kind: str, *, at: datetime, actor: str) -> Reservation:
    """End it by the buyer's wish, at the cost of the terms."""
    parts = pieces(row)
    cut_at = _cut(row, at)
    cost = _cost(row, parts, cut_at, at)
    fee = _fee(row, cost, f"{states.source(row)}:{kind}", at)
    months = _give_back(row, parts, cut_at=cut_at, supplied_until=cut_at, fee=fee, at=at, actor=actor)
    facts = _facts(cost) | ({"from_end_at": row.end_at.isoformat()} if cut_at != row.start_at else {})
    ends = {"end_at": cut_at} if row.start_at < cut_at < row.end_at else {}
    return states.move(row, to, kind, at=at, actor=actor, facts=facts, months=months, ended_at=at, **ends)


def _end_free(
    row: Reservation, to: str, kind: str, *, at: datetime, actor: str, reason: str, until: datetime | None = None
) -> Reservation:
    """End it by the provider's doing, at no cost: nothing is paid from `until` (now) on, or at all if it never started."""
    parts = pieces(row)
    until = at if until is None else until
    if row.state == State.ACTIVE:
        cut_at = min(max(states.hour_from(until), row.start_at + HOUR), row.end_at)
        supplied_until = max(min(states.quarter_before(until), row.end_at), row.start_at)
    else:
        cut_at = supplied_until = row.start_at
    months = _give_back(row, parts, cut_at=cut_at, supplied_until=supplied_until, fee=None, at=at, actor=actor)
    facts = {"reason": reason, "paid_until": supplied_until.isoformat(), "from_end_at": row.end_at.isoformat()}
    ends = {"end_at": cut_at} if row.start_at < cut_at < row.end_at else {}
    return states.move(row, to, kind, at=at, actor=actor, facts=facts, months=months, ended_at=at, **ends)


def _give_back(
    row: Reservation,
    parts: list[Piece],
    *,
    cut_at: datetime,
    supplied_until: datetime,
    fee: _Fee | None,
    at: datetime,
    actor: str,
) -> rows.Months:
    """Release the slots from cut_at on; keep of each part, in billing and of the programmes' shares, what lies before
    supplied_until. What the months then come to.

    Slots before billing, which locks the account, and that before the shares: in the order of `extend`, so that the two do
    not block each other.
    """
    if row.state == State.HELD:
        return let_go(row, at=at, actor=actor)
    net: dict[str, int] = {}
    kept = []
    timezone = row.organization.zone.issuer.timezone
    for part in parts:
        until_at = min(part.end_at, max(part.start_at, supplied_until))
        of_part = budgets.kept(part.quote, until_at=until_at, timezone=timezone)
        kept.append((part.quote, part.source, of_part))
        for month, amount in of_part.items():
            net[month] = net.get(month, 0) + amount
    if cut_at < row.end_at:
        capacity.release(pool=row.pool, quantity=row.quantity, start_at=cut_at, end_at=row.end_at)
    for part in parts:
        if part.end_at <= max(supplied_until, part.start_at):
            continue
        _end_supply(row, part, supplied_until, at, actor)
    if fee is not None:
        _charge(row, fee, at, actor)
    shares.keep(kept, at=at, actor=actor)
    return rows.Months(net, (fee.month, fee.amount_minor) if fee else None)


def _end_supply(row: Reservation, part: Piece, supplied_until: datetime, at: datetime, actor: str) -> None:
    """Let billing keep of a part only what lies before supplied_until; what is invoiced of the rest is credited."""
    contract = _contract(row, part)
    try:
        if supplied_until <= part.start_at:
            # Of one that never started nothing was supplied, also if its start has passed: it is withdrawn as of then.
            contracts.withdraw(contract=contract, source=part.source, at=min(at, part.start_at), actor=actor)
        else:
            contracts.shorten(contract=contract, source=part.source, end_at=supplied_until, at=at, actor=actor)
    except contracts.AlreadyInvoicedError:
        returns.take_back(
            contract=contract,
            source=part.source,
            from_at=supplied_until,
            why={"reservation": str(row.pk)},
            at=at,
            actor=actor,
        )


def pieces(row: Reservation) -> list[Piece]:
    """The reservation's parts in order: what was first quoted, then each extension, each up to where the next one begins."""
    found = [(row.quote, states.source(row), row.contract_id)]
    if row.state != State.HELD:
        found += rows.extensions(row)
    parts: list[Piece] = []
    end_at = row.end_at
    for quote, source, contract_id in reversed(found):
        end_at = min(end_at, quote.end_at)
        parts.append(Piece(quote, source, contract_id, quote.start_at, max(end_at, quote.start_at)))
        end_at = min(end_at, quote.start_at)
    return parts[::-1]


def _contract(row: Reservation, part: Piece) -> Contract:
    assert row.contract is not None
    if part.contract_id in (None, row.contract_id):
        return row.contract
    return type(row.contract).objects.select_related("account").get(pk=part.contract_id)


# What it costs


def _read(reservation: Reservation) -> Reservation:
    row = rows.read(reservation)
    states.require(row, *Reservation.LIVE)
    return row


def _cut(row: Reservation, at: datetime) -> datetime:
    """From when on a cancellation gives back: all that has not started, the next whole hour of what runs."""
    if row.state != State.ACTIVE:
        return row.start_at
    return min(max(states.hour_from(at), row.start_at + HOUR), row.end_at)


def _require_release(row: Reservation, end_at: datetime, at: datetime) -> None:
    if states.hour_from(end_at) != end_at:
        raise OutsideTermsError("end_at", end_at.isoformat(), "a whole hour in UTC")
    least = row.quote.terms.get("min_hours", 1) * HOUR
    begun = row.state == State.ACTIVE or row.start_at < at
    first = max(row.start_at + least, states.hour_from(at))
    if end_at == row.start_at and not begun:
        return
    if not first <= end_at < row.end_at:
        all_of_it = f", or {row.start_at.isoformat()} to give back all" if not begun else ""
        raise OutsideTermsError(
            "end_at",
            end_at.isoformat(),
            f"a whole hour from {first.isoformat()} to before {row.end_at.isoformat()}{all_of_it}",
        )


def _cost(row: Reservation, parts: list[Piece], cut_at: datetime, at: datetime) -> Cancellation:
    """The terms' percent by the nearness of the first hour that is given back; nothing where the provider is at fault."""
    timezone = row.organization.zone.issuer.timezone
    cancelled = 0
    for part in parts:
        until_at = min(part.end_at, max(part.start_at, cut_at))
        now = budgets.kept(part.quote, until_at=part.end_at, timezone=timezone)
        then = budgets.kept(part.quote, until_at=until_at, timezone=timezone)
        cancelled += sum(now.values()) - sum(then.values())
    percent, why = Decimal(0), _free(row, cut_at, at)
    if not why:
        percent, why = _percent(row.quote.terms, cut_at - at), "terms"
    fee = money.round_half_up(Fraction(max(cancelled, 0)) * Fraction(percent) / 100, 0)
    return Cancellation(cut_at, row.end_at, percent, cancelled, fee, why)


def _free(row: Reservation, cut_at: datetime, at: datetime) -> str:
    """Why it costs nothing; empty if it does."""
    if row.state == State.HELD:
        return "held"
    if row.state == State.CONFIRMED and row.start_at < at:
        return "late"
    if row.notice_ends_at is not None:
        return "notice"
    if capacity.is_troubled(pool=row.pool, start_at=max(row.start_at, min(at, cut_at)), end_at=row.end_at):
        return "incident"
    return ""


def _percent(terms: Mapping[str, Any], ahead: timedelta) -> Decimal:
    """By the first step whose hours are still ahead; nearer than all of them, or without terms, all of it."""
    for step in terms.get("cancellation_terms", []):
        if ahead >= step["hours"] * HOUR:
            return Decimal(step["percent"])
    return _ALL


def _fee(row: Reservation, cost: Cancellation, source: str, at: datetime) -> _Fee | None:
    """What is to be charged, in the first month that is open for it; None if it costs nothing."""
    if cost.fee_minor == 0:
        return None
    assert row.contract is not None
    charged_at = contracts.first_open(account=row.contract.account, at=at)
    local = charged_at.astimezone(ZoneInfo(row.organization.zone.issuer.timezone))
    places = money.exponent(row.currency)
    why = _facts(cost) | {
        "reservation": str(row.pk),
        "of_amount": str(Decimal(cost.cancelled_minor).scaleb(-places)),
        "value": str(cost.percent),
    }
    return _Fee(cost.fee_minor, charged_at, f"{local.year:04d}-{local.month:02d}", source, why)


def _charge(row: Reservation, fee: _Fee, at: datetime, actor: str) -> None:
    assert row.contract is not None
    one_off.charge(
        contract=row.contract,
        kind="fee",
        code=one_off.CANCELLATION_FEE,
        at=fee.at,
        amount_minor=fee.amount_minor,
        why=fee.why,
        source=fee.source,
        actor=actor,
        now=at,
    )


def _facts(cost: Cancellation) -> dict[str, Any]:
    return {
        "from_at": cost.from_at.isoformat(),
        "end_at": cost.end_at.isoformat(),
        "percent": str(cost.percent),
        "cancelled_minor": cost.cancelled_minor,
        "fee_minor": cost.fee_minor,
        "why": cost.why,
    }
