"""What is booked under an account's contracts of reservations: read under its lock, and written, by one statement each.

Every booking, extension and cancellation runs them, so they are written by hand and planned once a connection
(`integrity.fetch_all`). `billing.contracts` calls them and says what they are for.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS

from billing import usage
from billing.integrity import fetch_all, fetch_one
from billing.models import Account, Contract

# CTEs of a statement that writes only `WHERE (SELECT what FROM shut) IS NULL`: the periods that [from_at, until_at) touches
# are locked, so that none is closed before what is written can be seen, and `what` says which is invoiced or closed.
SHUT = """
touched AS (
    SELECT code, state, EXISTS (SELECT FROM billing_invoice invoice WHERE invoice.period_id = period.id
        AND invoice.account_id = %(account)s AND invoice.state = 'issued' AND invoice.kind = 'invoice') AS is_invoiced
    FROM billing_billingperiod period WHERE issuer_id = %(issuer)s AND end_at > %(from_at)s
        AND start_at < coalesce(%(until_at)s::timestamptz, 'infinity') ORDER BY id FOR KEY SHARE OF period),
shut AS (
    SELECT min(code || CASE WHEN is_invoiced THEN ', which is invoiced' ELSE ', which is closed' END) AS what
    FROM touched WHERE is_invoiced OR state = 'closed')"""

_REFUSE = f"WITH {SHUT} SELECT what FROM shut"  # noqa: S608  - no text but ours

# Who had to wait for the lock sees by the same statement what was there before: then the counter is further than it
# sees, and it is run again, now with the lock. All who book count.
_BOOKED = """
WITH locked AS (
    UPDATE billing_account SET contracts_changed = contracts_changed + 1 WHERE id = %(account)s RETURNING contracts_changed)
SELECT locked.contracts_changed = account.contracts_changed + 1, found.*
FROM locked CROSS JOIN billing_account account LEFT JOIN LATERAL (
    SELECT contract.id, contract.number, contract.tariff_version_id, contract.provider_id, contract.start_at,
        contract.end_at, span.id AS span_id, span.quantity, span.start_at AS first_at, span.end_at AS last_at,
        span.withdrawn_at, other.first_at AS other_first_at, other.last_at AS other_last_at
    FROM billing_reservedspan span JOIN billing_contract contract ON contract.id = span.contract_id
    CROSS JOIN LATERAL (
        SELECT min(start_at) AS first_at, max(end_at) AS last_at FROM billing_reservedspan other
        WHERE other.contract_id = contract.id AND withdrawn_at IS NULL AND split_part(source, '#', 1) <> %(source)s) other
    WHERE split_part(span.source, '#', 1) = %(source)s AND contract.account_id = %(account)s
        AND contract.tariff_version_id IS NOT NULL
    UNION ALL
    SELECT id, number, tariff_version_id, provider_id, start_at, end_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM billing_contract WHERE account_id = %(account)s AND tariff_version_id = %(version)s::bigint
        AND provider_id = %(provider)s::bigint AND withdrawn_at IS NULL
        AND start_at <= %(end_at)s::timestamptz AND end_at >= %(start_at)s::timestamptz
) found ON true
WHERE account.id = %(account)s ORDER BY first_at, start_at"""

_SIGN = f"""
WITH {SHUT}, made AS (
    INSERT INTO billing_contract (number, account_id, tariff_id, tariff_version_id, provider_id, fee_percent, start_at,
        end_at, actor)
    SELECT 'R-' || account.code || '-' || %(place)s + (
            SELECT count(*) FROM billing_contract WHERE account_id = account.id AND tariff_version_id IS NOT NULL),
        account.id, version.tariff_id, version.id, %(provider)s, %(fee_percent)s, %(start_at)s, %(end_at)s, %(actor)s
    FROM billing_account account CROSS JOIN billing_tariffversion version
    WHERE account.id = %(account)s AND version.id = %(version)s AND (SELECT what FROM shut) IS NULL
    ON CONFLICT (number) DO NOTHING RETURNING id, number),
span AS (
    INSERT INTO billing_reservedspan (contract_id, quantity, start_at, end_at, source)
    SELECT id, %(quantity)s, %(start_at)s, %(end_at)s, %(source)s FROM made)
SELECT what, id, number FROM shut LEFT JOIN made ON true"""  # noqa: S608  - no text but ours

_ADD = f"""
WITH {SHUT}, given AS (
    SELECT * FROM unnest(%(contracts)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(sources)s::text[])
        AS given (id, start_at, end_at, source) WHERE (SELECT what FROM shut) IS NULL),
span AS (
    INSERT INTO billing_reservedspan (contract_id, quantity, start_at, end_at, source)
    SELECT id, %(quantity)s, start_at, end_at, source FROM given),
widened AS (
    UPDATE billing_contract contract SET start_at = least(contract.start_at, given.start_at),
        end_at = greatest(contract.end_at, given.end_at)
    FROM given WHERE contract.id = ANY(%(contracts)s::bigint[]) AND contract.id = given.id
        AND (contract.start_at > given.start_at OR contract.end_at < given.end_at))
SELECT what FROM shut"""  # noqa: S608  - no text but ours

_END = f"""
WITH {SHUT}, cut AS (
    UPDATE billing_reservedspan SET end_at = CASE WHEN start_at < %(from_at)s THEN %(from_at)s ELSE end_at END,
        withdrawn_at = CASE WHEN start_at < %(from_at)s THEN NULL ELSE %(at)s::timestamptz END
    WHERE id = ANY(%(spans)s::bigint[]) AND end_at > %(from_at)s AND (SELECT what FROM shut) IS NULL),
fitted AS (
    UPDATE billing_contract contract SET start_at = coalesce(given.start_at, contract.start_at),
        end_at = coalesce(given.end_at, contract.end_at),
        withdrawn_at = CASE WHEN given.start_at IS NULL THEN %(at)s::timestamptz END
    FROM unnest(%(contracts)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS given (id, start_at, end_at)
    WHERE contract.id = ANY(%(contracts)s::bigint[]) AND contract.id = given.id AND (SELECT what FROM shut) IS NULL
        AND (given.start_at IS NULL OR given.start_at <> contract.start_at OR given.end_at <> contract.end_at))
SELECT what FROM shut"""  # noqa: S608  - no text but ours


class Booking(NamedTuple):
    """`quantity` over [start_at, end_at); `source` says for what."""

    quantity: int
    start_at: datetime
    end_at: datetime
    source: str


class Supply(NamedTuple):
    """A contract of reservations, as far as bookings ask. It runs over [start_at, end_at)."""

    id: int
    number: str
    tariff_version_id: int
    provider_id: int
    start_at: datetime
    end_at: datetime

    def row(self, account: Account) -> Contract:
        """What is not told here is read when it is asked for."""
        contract: Contract = Contract.from_db(
            DEFAULT_DB_ALIAS, self._fields, self
        )  # in the order of the model's fields
        contract.account = account
        return contract


class Piece(NamedTuple):
    """A span of a source on a contract, and from when to when the contract's spans of other sources go, if it has any."""

    contract: Supply
    id: int
    quantity: int
    start_at: datetime
    end_at: datetime
    withdrawn_at: datetime | None
    other_start_at: datetime | None
    other_end_at: datetime | None


class Near(NamedTuple):
    """Contracts of this version and provider that [start_at, end_at) overlaps or touches."""

    tariff_version_id: int
    provider_id: int
    start_at: datetime
    end_at: datetime


def of(account: Account, source: str, near: Near | None = None) -> tuple[list[Piece], list[Supply]]:
    """The pieces of a source, and the contracts near, in the order of time; the account stays locked, and its contracts
    count as changed: who issues its invoice waits or rates it again.
    """
    version, provider, start_at, end_at = near or (None, None, None, None)
    asked = {"account": account.pk, "source": source, "version": version, "provider": provider}
    asked |= {"start_at": start_at, "end_at": end_at}
    is_current = False
    while not is_current:
        found = fetch_all(_BOOKED, asked)
        is_current = found[0][0]
    known = [Piece(Supply(*row[1:7]), *row[7:]) for row in found if row[7] is not None]
    reached = [Supply(*row[1:7]) for row in found if row[1] is not None and row[7] is None]
    return known, reached


_FIRST_OPEN = """
SELECT max(end_at) FROM billing_billingperiod period WHERE issuer_id = %s AND end_at > %s AND (state = 'closed'
    OR EXISTS (SELECT FROM billing_invoice invoice WHERE invoice.period_id = period.id AND invoice.account_id = %s
        AND invoice.state = 'issued' AND invoice.kind = 'invoice'))"""


def first_open(account: Account, at: datetime) -> datetime:
    """See `contracts.first_open`."""
    row = fetch_one(_FIRST_OPEN, [account.issuer_id, at, account.pk])
    assert row is not None
    return row[0] or at


def shut(account: Account, from_at: datetime, until_at: datetime | None) -> str | None:
    """Which period of [from_at, until_at) is invoiced for the account or closed; None: the open ones stay open."""
    return _what(_REFUSE, open_from(account, from_at, until_at))


def sign(
    account: Account, near: Near, booking: Booking, *, fee_percent: Decimal, actor: str
) -> tuple[str | None, Supply | None]:
    """A new contract with a span of its own, numbered by the account's count of them: it is locked, and none is ever deleted.
    What is shut, or the contract.
    """
    facts = {**booking._asdict(), "version": near.tariff_version_id, "provider": near.provider_id}
    facts |= {"fee_percent": fee_percent, "actor": actor, **open_from(account, booking.start_at, booking.end_at)}
    what = number = None
    place = 0
    while what is None and number is None:
        place += 1  # another issuer's account of that code has the number before, or somebody signed one under it
        what, contract_id, number = fetch_all(_SIGN, {**facts, "place": place})[0]
    if number is None:
        return what, None
    return None, Supply(contract_id, number, near.tariff_version_id, near.provider_id, booking.start_at, booking.end_at)


def add(account: Account, pieces: Sequence[tuple[Supply, Booking]], open_until: datetime) -> str | None:
    """Add spans to contracts, which are widened to take them in, if all is open from the first one's start to `open_until`.
    What is shut.
    """
    given = {
        "contracts": [contract.id for contract, _ in pieces],
        "starts": [booking.start_at for _, booking in pieces],
        "ends": [booking.end_at for _, booking in pieces],
        "sources": [booking.source for _, booking in pieces],
        "quantity": pieces[0][1].quantity,
    }
    what = _what(_ADD, given | open_from(account, pieces[0][1].start_at, open_until))
    if what is None:
        for contract, booking in pieces:
            _tell(contract, max(contract.end_at, booking.end_at), account)
    return what


def end(account: Account, pieces: Sequence[Piece], *, until_at: datetime, at: datetime) -> str | None:
    """Let the pieces of a source end at `until_at`; those that would begin then are withdrawn. Each contract is as long as
    what is left of it, or withdrawn. What is shut.
    """
    fitted = {}
    for contract, own in groupby(pieces, lambda piece: piece.contract):
        left = [(piece.start_at, min(piece.end_at, until_at)) for piece in own]
        left = [(first_at, last_at) for first_at, last_at in left if first_at < last_at]
        fitted[contract] = left
    for piece in pieces:
        if piece.other_start_at is not None and piece.other_end_at is not None:
            fitted[piece.contract].append((piece.other_start_at, piece.other_end_at))
    given = {
        "spans": [piece.id for piece in pieces],
        "at": at,
        "contracts": [contract.id for contract in fitted],
        "starts": [min((first_at for first_at, _ in left), default=None) for left in fitted.values()],
        "ends": [max((last_at for _, last_at in left), default=None) for left in fitted.values()],
    }
    what = _what(_END, given | open_from(account, until_at, pieces[-1].end_at))
    if what is None:
        for contract, left in fitted.items():
            if left:
                _tell(contract, max(last_at for _, last_at in left), account)
    return what


def _tell(contract: Supply, end_at: datetime, account: Account) -> None:
    """What samples near its end hold is no longer than a contract runs."""
    if contract.end_at != end_at:
        usage.end_moved(contract=contract._replace(end_at=end_at).row(account), was_end_at=contract.end_at)


def open_from(account: Account, from_at: datetime, until_at: datetime | None) -> dict[str, Any]:
    """What SHUT asks."""
    return {"account": account.pk, "issuer": account.issuer_id, "from_at": from_at, "until_at": until_at}


def _what(statement: Any, parameters: dict[str, Any]) -> str | None:
    row = fetch_one(statement, parameters)
    assert row is not None
    what: str | None = row[0]
    return what
