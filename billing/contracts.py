"""Contracts under a tariff, and what is reserved under a contract. Neither changes what was invoiced.

Reservations have contracts of their own kind (supply, shorten, withdraw): at the prices of one tariff version, from the
start of the first of their spans to the end of the last, and never two of one account, version and provider at a time.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from django.db import transaction
from django.db.models import Q, QuerySet

from billing import booked
from billing.integrity import fetch_one, in_transaction, require_aware, require_same
from billing.models import Account, Contract, Party, ReservedSpan, Tariff, TariffVersion
from billing.rating.quantity import require_on_edge
from billing.rating.refusal import NotOnEdge

INTERVAL_SECONDS = 900
_LONGEST_SOURCE = 90  # and the place among its pieces, such as "#2"


class InvalidContractError(ValueError):
    """A fact of a contract or of a reserved span is out of its range."""


class ContractDiffersError(Exception):
    """The contract's number is known with other facts."""


class ReservedSpanDiffersError(Exception):
    """The contract has a reserved span of that source with other facts."""


class AlreadyInvoicedError(Exception):
    """The contract or span would begin in time that is invoiced, or in a closed period, and never be billed."""


def sign(
    *,
    number: str,
    account: Account,
    tariff: Tariff,
    provider: Party,
    fee_percent: Decimal,
    start_at: datetime,
    end_at: datetime | None = None,
    actor: str,
) -> Contract:
    """Sign a contract for [start_at, end_at), both on quarter hours; the platform keeps `fee_percent` of the net.

    Raises InvalidContractError, ContractDiffersError, AlreadyInvoicedError.
    """
    if not number or number != number.strip():
        raise InvalidContractError(f"number is {number!r}: expected some text without spaces around it")
    _require_fee(fee_percent)
    _require_span(start_at, end_at)
    facts = {
        "account": account,
        "tariff": tariff,
        "provider": provider,
        "fee_percent": fee_percent,
        "start_at": start_at,
        "end_at": end_at,
    }
    with transaction.atomic():
        contract, made = Contract.objects.get_or_create(number=number, defaults={**facts, "actor": actor})
        if made:
            refuse_invoiced(account, start_at, end_at)
    if not made:
        require_same(contract, facts, ContractDiffersError)
    return contract


def reserve(
    *, contract: Contract, quantity: int, start_at: datetime, end_at: datetime | None = None, source: str
) -> ReservedSpan:
    """Reserve `quantity` demand units (GPUs) over [start_at, end_at); `source` says for what, and makes it once.

    Raises InvalidContractError, ReservedSpanDiffersError, AlreadyInvoicedError.
    """
    if contract.tariff_version_id is not None:
        raise InvalidContractError(
            f"contract is {contract.number}: expected one that was signed; a reservation's contract is moved by supply()"
        )
    _require_quantity(quantity)
    _require_span(start_at, end_at)
    if start_at < contract.start_at or (contract.end_at is not None and (end_at is None or end_at > contract.end_at)):
        until = "for good" if contract.end_at is None else f"to {contract.end_at.isoformat()}"
        raise InvalidContractError(
            f"start_at is {start_at.isoformat()}, end_at {end_at and end_at.isoformat()}: expected a span within contract"
            f" {contract.number}, from {contract.start_at.isoformat()} {until}"
        )
    facts = {"quantity": quantity, "start_at": start_at, "end_at": end_at}
    with transaction.atomic():
        span, made = ReservedSpan.objects.get_or_create(contract=contract, source=source, defaults=facts)
        if made:
            refuse_invoiced(contract.account, start_at, end_at)
    if not made:
        require_same(span, facts, ReservedSpanDiffersError)
    return span


# Reservations


def supply(
    *,
    account: Account,
    tariff_version: TariffVersion,
    provider: Party,
    fee_percent: Decimal,
    quantity: int,
    start_at: datetime,
    end_at: datetime,
    source: str,
    at: datetime,
    actor: str,
) -> Contract:
    """Reserve `quantity` over [start_at, end_at), on quarter hours, at that version's prices; the contract it is on.

    It is the account's contract of (tariff_version, provider) whose time the span overlaps or touches, widened to take it
    in, with the fee it has; a new one, numbered here, if there is none. No two of them overlap: a span that reaches several
    is cut at their edges, its further pieces have the sources "…#2", "…#3", and the first one's contract is given back.
    Charging takes contracts that touch for one, so a booking costs the same in whatever pieces and order it comes.

    The same source again gives what is there. The account's row is locked first, and holds back who issues its invoice.
    Raises InvalidContractError, ReservedSpanDiffersError, AlreadyInvoicedError.
    """
    require_aware("at", at)
    _require_source(source)
    _require_fee(fee_percent)
    _require_quantity(quantity)
    _require_span(start_at, end_at)
    near = booked.Near(tariff_version.pk, provider.pk, start_at, end_at)
    booking = booked.Booking(quantity, start_at, end_at, source)
    with in_transaction():
        known, reached = booked.of(account, source, near)
        if known:
            _require_same_booking(known, near, booking)
            return known[0].contract.row(account)
        if not reached:
            shut, made = booked.sign(account, near, booking, fee_percent=fee_percent, actor=actor)
            require_open(account, start_at, shut)
            assert made is not None
            return made.row(account)
        pieces = _cut(booking, reached)
        # An earlier start moves contract years, and what months looked back on: of none that was invoiced.
        is_earlier = start_at < reached[0].start_at
        require_open(account, start_at, booked.add(account, pieces, reached[-1].end_at if is_earlier else end_at))
        first, own = pieces[0]
        widened = first._replace(start_at=min(first.start_at, start_at), end_at=max(first.end_at, own.end_at))
        return widened.row(account)


def shorten(*, contract: Contract, source: str, end_at: datetime, at: datetime, actor: str) -> None:  # noqa: ARG001  - who, the caller's record says
    """End the span(s) of that source earlier, at `end_at`; the contract ends with the last span that it has then.

    Pieces that would begin later are taken back. Where they end at `end_at` already, nothing is done. Raises
    InvalidContractError, AlreadyInvoicedError.
    """
    require_aware("at", at)
    account = contract.account
    with in_transaction():
        live = [piece for piece in booked.of(account, source)[0] if piece.withdrawn_at is None]
        if not live:
            raise InvalidContractError(f"source is {source!r}: expected one that has a span under contract {contract}")
        last_at = live[-1].end_at
        _require_span(live[0].start_at, end_at)
        if end_at > last_at:
            raise InvalidContractError(
                f"end_at is {end_at.isoformat()}: expected no later than {last_at.isoformat()}, where {source} ends"
            )
        if end_at < last_at:
            require_open(account, end_at, booked.end(account, live, until_at=end_at, at=at))


def withdraw(*, contract: Contract, source: str, at: datetime, actor: str) -> None:  # noqa: ARG001  - who, the caller's record says
    """Take back the span(s) of that source, which have not begun at `at`; a contract with none left is withdrawn.

    Of a withdrawn contract only one-off charges are billed. Taken back before, nothing is done. Raises
    InvalidContractError, AlreadyInvoicedError.
    """
    require_aware("at", at)
    account = contract.account
    with in_transaction():
        known, _ = booked.of(account, source)
        if not known:
            raise InvalidContractError(f"source is {source!r}: expected one that has a span under contract {contract}")
        live = [piece for piece in known if piece.withdrawn_at is None]
        if not live:
            return
        first_at = live[0].start_at
        if first_at < at:
            raise InvalidContractError(
                f"{source} began at {first_at.isoformat()}: expected one that begins at {at.isoformat()} or later; one that"
                " runs is shortened"
            )
        require_open(account, first_at, booked.end(account, live, until_at=first_at, at=at))


def first_open(*, account: Account, at: datetime) -> datetime:
    """`at`, or the end of the last period after it that is closed, or invoiced for the account."""
    return booked.first_open(account, at)


def pieces(account: Account, source: str) -> QuerySet[ReservedSpan]:
    """All spans of a source: of a booking that was cut, several, under contracts that touch."""
    named = Q(source=source) | Q(source__startswith=f"{source}#")
    spans = ReservedSpan.objects.filter(named, contract__account=account, contract__tariff_version__isnull=False)
    return spans.select_related("contract")


def _require_same_booking(known: Sequence[booked.Piece], near: booked.Near, booking: booked.Booking) -> None:
    first, last = known[0], known[-1]
    for name, stored, given in (
        ("tariff_version", first.contract.tariff_version_id, near.tariff_version_id),
        ("provider", first.contract.provider_id, near.provider_id),
        ("quantity", first.quantity, booking.quantity),
        ("start_at", first.start_at, booking.start_at),
        ("end_at", last.end_at, booking.end_at),
        ("withdrawn_at", last.withdrawn_at, None),
    ):
        if stored != given:
            raise ReservedSpanDiffersError(
                f"ReservedSpan {booking.source}: {name} is {stored!s}, not {given!s}; it was stored before and stays"
            )


def _cut(booking: booked.Booking, reached: Sequence[booked.Supply]) -> list[tuple[booked.Supply, booked.Booking]]:
    """A piece of the booking for each of the contracts, which are in the order of time: cut at their starts."""
    cuts = [booking.start_at, *(max(booking.start_at, each.start_at) for each in reached[1:]), booking.end_at]
    pieces: list[tuple[booked.Supply, booked.Booking]] = []
    for contract, (first_at, last_at) in zip(reached, pairwise(cuts), strict=True):
        if first_at < last_at:
            source = f"{booking.source}#{len(pieces) + 1}" if pieces else booking.source
            pieces.append((contract, booking._replace(start_at=first_at, end_at=last_at, source=source)))
    return pieces


# What is asked of facts


def _require_fee(fee_percent: Decimal) -> None:
    if not 0 <= fee_percent <= 100 or fee_percent != round(fee_percent, 2):
        raise InvalidContractError(f"fee_percent is {fee_percent}: expected 0 to 100 with at most two decimals")


def _require_quantity(quantity: int) -> None:
    if quantity < 1:
        raise InvalidContractError(f"quantity is {quantity}: expected at least 1")


def _require_source(source: str) -> None:
    if not source or "#" in source or len(source) > _LONGEST_SOURCE:
        raise InvalidContractError(
            f"source is {source!r}: expected 1 to {_LONGEST_SOURCE} characters, none of them a #"
        )


def _require_span(start_at: datetime, end_at: datetime | None) -> None:
    for name, at in (("start_at", start_at), ("end_at", end_at)):
        if at is None:
            continue
        require_aware(name, at)
        try:
            require_on_edge(at, INTERVAL_SECONDS, name)
        except NotOnEdge as error:
            raise InvalidContractError(str(error)) from error
    if end_at is not None and end_at <= start_at:
        raise InvalidContractError(f"end_at is {end_at.isoformat()}: expected later than {start_at.isoformat()}")


def lock(account: Account) -> None:
    """Raises the account's counter, whose lock waits for one who issues: what he rated is then told from what is there now
    (invoicing), or seen here as issued.
    """
    fetch_one(
        "UPDATE billing_account SET contracts_changed = contracts_changed + 1 WHERE id = %s RETURNING id", [account.pk]
    )


def refuse_invoiced(account: Account, start_at: datetime, end_at: datetime | None) -> None:
    """Locks the account first, then the periods that the span touches, so that none is closed before the caller's row can
    be seen.
    """
    lock(account)
    require_open(account, start_at, booked.shut(account, start_at, end_at))


def require_open(account: Account, start_at: datetime, shut: str | None) -> None:
    """Raise AlreadyInvoicedError if a statement of `booked` says that a period is shut."""
    if shut is not None:
        raise AlreadyInvoicedError(
            f"start_at is {start_at.isoformat()}: expected a time after period {shut} for account {account.code}"
        )
