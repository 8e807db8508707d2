"""Reservations as the verbs read and write them: one statement to lock one with all that a verb asks of it, one to move it.

Written by hand, since every verb runs them: Django would take longer to write the text of such a join than the server to
answer it. The statements are planned once a connection (`billing.integrity.fetch_one`).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from django.db import DEFAULT_DB_ALIAS
from django.db.models import JSONField, Model
from django.db.models.base import ModelState

from billing.integrity import fetch_all, fetch_one
from billing.models import Account, Contract, Issuer, Party, TariffVersion
from marketplace.models import CapacityPool, Offering, Organization, Project, Quote, Reservation, Zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from uuid import UUID


Row = TypeVar("Row", bound=Model)


def _stored(model: type[Row], values: Iterable[tuple[str, Any]]) -> Row:
    """A stored row of which this much is known; the rest is read when it is asked for. It is what Model.from_db makes, without
    the defaults and signals of which no model here has any use: they cost more than all else that is made of an answer.
    """
    state = ModelState()
    state.adding, state.db = False, DEFAULT_DB_ALIAS
    row = model.__new__(model)
    row.__dict__.update(values, _state=state)
    return row


def know(row: Model, **related: Model | None) -> None:
    """Let the row have these at hand, whose ids it has."""
    row._state.fields_cache.update(related)  # noqa: SLF001  - setting them would ask the router of each


class _Columns:
    """Some columns of a table under an alias, and how to make a model's row of them. What is left out is read when asked."""

    def __init__(self, model: type[Model], alias: str, *names: str) -> None:
        fields = [each for each in model._meta.concrete_fields if not names or each.attname in names]  # noqa: SLF001
        self.model = model
        self.names = [field.attname for field in fields]
        self.text = ", ".join(f"{alias}.{field.column}" for field in fields)
        self.id = self.names.index("id")
        self.json = [number for number, field in enumerate(fields) if isinstance(field, JSONField)]

    def row(self, values: list[Any]) -> Any:
        """Takes its columns off the front of `values`. None if the join found nothing."""
        own = values[: len(self.names)]
        del values[: len(self.names)]
        if own[self.id] is None:
            return None
        for number in self.json:
            own[number] = json.loads(own[number])
        return _stored(self.model, zip(self.names, own, strict=True))


_RESERVATION = _Columns(Reservation, "r")
_QUOTE = _Columns(Quote, "q")
_BUYER = _Columns(Organization, "buyer", "id", "party_id", "zone_id", "name", "state")
_ZONE = _Columns(Zone, "zone", "id", "issuer_id")
_ISSUER = _Columns(Issuer, "issuer", "id", "timezone", "currency", "code")
_CONTRACT = _Columns(Contract, "contract")
_ACCOUNT = _Columns(Account, "account", "id", "code", "issuer_id", "party_id")
_LOCKED = (_RESERVATION, _QUOTE, _BUYER, _ZONE, _ISSUER, _CONTRACT, _ACCOUNT)

# One who has to wait for the lock gets the row as it is then, and joined to it what belongs to the row before: its xmin is
# another one then, and the statement is run again. Of the account the one of the contract, else the buyer's first. What is one value, or asked for apart by OFFSET 0, is
# no part of the search for the best order of joins, which would take the server longer than all the rest.
_LOCK = f"""
SELECT {", ".join(columns.text for columns in _LOCKED)},
    r.xmin = (SELECT xmin FROM marketplace_reservation WHERE id = %s),
    (SELECT tariff_id FROM billing_tariffversion WHERE id = q.tariff_version_id),
    (SELECT provider.party_id FROM marketplace_capacitypool pool JOIN marketplace_site site ON site.id = pool.site_id
     JOIN marketplace_organization provider ON provider.id = site.provider_id WHERE pool.id = r.pool_id)
FROM marketplace_reservation r
JOIN marketplace_quote q ON q.id = r.quote_id
JOIN marketplace_organization buyer ON buyer.id = r.organization_id
JOIN marketplace_zone zone ON zone.id = buyer.zone_id
JOIN billing_issuer issuer ON issuer.id = zone.issuer_id
LEFT JOIN billing_contract contract ON contract.id = r.contract_id
LEFT JOIN LATERAL (SELECT * FROM billing_account WHERE id = coalesce(contract.account_id, (
    SELECT min(own.id) FROM billing_account own WHERE own.issuer_id = issuer.id AND own.party_id = buyer.party_id))
    OFFSET 0) account ON true
WHERE r.id = %s"""  # noqa: S608  - columns of our own models


@dataclass(frozen=True, slots=True)
class Billing:
    """What a reservation is supplied by: the version it was quoted at, who provides, and the account, if there is one yet."""

    tariff_version: TariffVersion
    provider: Party
    account: Account | None


def locked(reservation: Reservation) -> Reservation:
    """The reservation as it is now, locked until the transaction's end, with what the verbs read of it."""
    return _read(reservation, f"{_LOCK} FOR NO KEY UPDATE OF r")[0]


def locked_with_billing(reservation: Reservation) -> tuple[Reservation, Billing]:
    """The same, and what it is supplied by."""
    return _read(reservation, f"{_LOCK} FOR NO KEY UPDATE OF r")


def read(reservation: Reservation) -> Reservation:
    """The same without the lock."""
    return _read(reservation, _LOCK)[0]


def _read(reservation: Reservation, statement: LiteralString) -> tuple[Reservation, Billing]:
    is_current = False
    while not is_current:
        found = fetch_one(statement, [reservation.pk, reservation.pk])
        if found is None:
            raise Reservation.DoesNotExist(f"no reservation {reservation.pk}")
        values = list(found)
        row, quote, buyer, zone, issuer, contract, account = (columns.row(values) for columns in _LOCKED)
        is_current, tariff_id, party_id = values
    know(zone, issuer=issuer)
    know(buyer, zone=zone)
    know(row, quote=quote, organization=buyer, pool=_stub(CapacityPool, id=row.pool_id))
    if account is not None:
        know(account, issuer=issuer)
    if contract is not None:
        know(contract, account=account)
        know(row, contract=contract)
    version = _stub(TariffVersion, id=quote.tariff_version_id, tariff_id=tariff_id)
    return row, Billing(version, _stub(Party, id=party_id), account)


def _stub(model: type[Row], **values: Any) -> Row:
    return _stored(model, values.items())


# Quotes that are held

_OFFERING = _Columns(Offering, "offering", "id", "code", "state", "pool_id")
_POOL_NAMED = _Columns(CapacityPool, "pool", "id", "name")
_PROJECT = _Columns(Project, "project", "id", "code", "organization_id", "monthly_limit_minor", "archived_at")
_HELD = _Columns(Reservation, "held", "id")
_QUOTED = (_QUOTE, _OFFERING, _POOL_NAMED, _BUYER, _PROJECT, _HELD)

_READ_QUOTE = f"""
SELECT {", ".join(columns.text for columns in _QUOTED)},
    NOT EXISTS (SELECT FROM marketplace_capacityslot WHERE pool_id = offering.pool_id AND hour >= q.start_at
        AND hour < q.end_at AND taken + q.quantity > capacity) AND coalesce(pool.drains_at >= q.end_at, true)
FROM marketplace_quote q
JOIN marketplace_offering offering ON offering.id = q.offering_id
JOIN marketplace_capacitypool pool ON pool.id = offering.pool_id
JOIN marketplace_organization buyer ON buyer.id = q.organization_id
LEFT JOIN marketplace_project project ON project.id = q.project_id
LEFT JOIN marketplace_reservation held ON held.quote_id = q.id
WHERE q.id = %s"""  # noqa: S608  - columns of our own models


def quoted(quote_id: UUID) -> tuple[Quote, bool, bool]:
    """The quote with its offering, pool, buyer and project as they are now, whether it has been held, and whether its hours
    look free, as far as their slots say without a lock.
    """
    found = fetch_one(_READ_QUOTE, [quote_id])
    if found is None:
        raise Quote.DoesNotExist(f"no quote {quote_id}")
    values = list(found)
    quote, offering, pool, buyer, project, held = (columns.row(values) for columns in _QUOTED)
    know(offering, pool=pool)
    know(quote, offering=offering, organization=buyer, project=project)
    return quote, held is not None, values[0]


_OFFERED = f"""
SELECT {_QUOTE.text}, {_PROJECT.text}
FROM marketplace_quote q LEFT JOIN marketplace_project project ON project.id = q.project_id WHERE q.id = %s"""  # noqa: S608  - columns of our own models


def offered(quote_id: UUID) -> Quote:
    """The quote of an extension with its project as it is now; the reservation is to be locked."""
    found = fetch_one(_OFFERED, [quote_id])
    if found is None:
        raise Quote.DoesNotExist(f"no quote {quote_id}")
    values = list(found)
    quote: Quote = _QUOTE.row(values)
    know(quote, project=_PROJECT.row(values))
    if quote.extends_id is not None:
        know(quote, extends=_stub(Reservation, id=quote.extends_id))
    return quote


_EXTENDED_BY = """
SELECT FROM marketplace_reservationchange
WHERE kind = 'extended' AND facts ->> 'quote' = %s AND reservation_id = %s"""


def is_extended_by(row: Reservation, quote: Quote) -> bool:
    """Whether it was extended by this quote before."""
    return fetch_one(_EXTENDED_BY, [str(quote.pk), row.pk]) is not None


_EXTENSIONS = f"""
SELECT {_QUOTE.text}, change.facts ->> 'source', (change.facts ->> 'contract_id')::bigint
FROM marketplace_reservationchange change JOIN marketplace_quote q ON q.id = (change.facts ->> 'quote')::uuid
WHERE change.reservation_id = %s AND change.kind = 'extended' ORDER BY change.id"""  # noqa: S608  - columns of our own models


def extensions(row: Reservation) -> list[tuple[Quote, str, int]]:
    """What was added to it in turn: the quote, what billing knows it by, and the contract that it is on."""
    found = []
    for each in fetch_all(_EXTENSIONS, [row.pk]):
        *columns, source, contract_id = each
        found.append((_QUOTE.row(columns), source, contract_id))
    return found


_RELEASES = "SELECT count(*) FROM marketplace_reservationchange WHERE reservation_id = %s AND kind = 'released'"


def releases(row: Reservation) -> int:
    """How often hours of it were given back."""
    found = fetch_one(_RELEASES, [row.pk])
    assert found is not None
    return int(found[0])


_HOLD = """
WITH made AS (
    INSERT INTO marketplace_reservation (id, quote_id, offering_id, pool_id, organization_id, project_id, quantity, start_at,
        end_at, state, hold_expires_at, currency, net_minor, tax_minor, gross_minor, subsidy_minor, reimbursed_minor, created_at,
        actor)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'held', %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id, project_id, created_at, actor),
told AS (
    INSERT INTO marketplace_reservationchange (reservation_id, kind, facts, at, actor)
    SELECT id, 'held', %s::jsonb, created_at, actor FROM made),
counted AS (
    INSERT INTO marketplace_reservationmonth (reservation_id, project_id, month, net_minor, fee_minor)
    SELECT id, project_id, month, net, 0 FROM made, unnest(%s::text[], %s::bigint[]) AS given (month, net))
SELECT id FROM made"""


def make_held(row: Reservation, quote: Quote, months: Mapping[str, int], facts: Mapping[str, Any]) -> None:
    """Store a reservation of this quote, held, with its first change and its months, in one statement."""
    parameters = [
        *(row.pk, row.quote_id, row.offering_id, row.pool_id, row.organization_id, row.project_id),
        *(row.quantity, row.start_at, row.end_at, row.hold_expires_at, row.currency),
        *(
            row.net_minor,
            row.tax_minor,
            row.gross_minor,
            row.subsidy_minor,
            row.reimbursed_minor,
            row.created_at,
            row.actor,
        ),
        *(json.dumps(facts), list(months), list(months.values())),
    ]
    fetch_one(_HOLD, parameters)
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS  # noqa: SLF001  - as save() does
    offering, buyer = quote.offering, quote.organization
    know(row, quote=quote, offering=offering, pool=offering.pool, organization=buyer, project=quote.project)


@dataclass(frozen=True, slots=True)
class Months:
    """What a reservation's months come to: the net that each is set to, and a fee (month, amount) that is added to one."""

    net: Mapping[str, int]
    fee: tuple[str, int] | None = None

    def parameters(self) -> list[object]:
        months = sorted({*self.net, *([self.fee[0]] if self.fee else [])})
        fees = [self.fee[1] if self.fee and self.fee[0] == month else 0 for month in months]
        return [months, [self.net.get(month) for month in months], fees]


# A month that only a fee is added to has no net given, and keeps its own.
_MONTHS = """
INSERT INTO marketplace_reservationmonth AS kept (reservation_id, project_id, month, net_minor, fee_minor)
SELECT id, project_id, month, coalesce(net, 0), fee
FROM moved, unnest(%s::text[], %s::bigint[], %s::bigint[]) AS given (month, net, fee)
ON CONFLICT (reservation_id, month) DO UPDATE SET fee_minor = kept.fee_minor + excluded.fee_minor, net_minor = coalesce(
    (SELECT net FROM unnest(%s::text[], %s::bigint[]) AS given (month, net) WHERE given.month = kept.month), kept.net_minor)"""


@functools.cache
def _changing(*columns: str, months: bool) -> LiteralString:
    sets = ", ".join(f"{column} = %s" for column in columns)
    return f"""
        WITH moved AS (
            UPDATE marketplace_reservation SET {sets} WHERE id = %s AND state = %s AND end_at = %s RETURNING id, project_id)
        {f", counted AS ({_MONTHS})" if months else ""}
        INSERT INTO marketplace_reservationchange (reservation_id, kind, facts, at, actor)
        SELECT id, %s, %s::jsonb, %s, %s FROM moved RETURNING id"""  # noqa: S608  - columns of our own models


def change(
    row: Reservation,
    kind: str,
    *,
    at: datetime,
    actor: str,
    facts: Mapping[str, Any],
    months: Months | None,
    lost: Callable[[], Exception],
    **fields: Any,
) -> Reservation:
    """Change fields of the locked reservation and what its months come to, if it still is in the state and ends when `row`
    says, and note why, in one statement.

    Raises what `lost` gives if it is not.
    """
    columns = [f"{name}_id" if isinstance(value, Model) else name for name, value in fields.items()]
    given: list[object] = []
    if months is not None:
        names, nets, fees = months.parameters()
        given = [names, nets, fees, names, nets]
    values = [value.pk if isinstance(value, Model) else value for value in fields.values()]
    parameters = [*values, row.pk, row.state, row.end_at, *given, kind, json.dumps(facts), at, actor]
    if fetch_one(_changing(*columns, months=months is not None), parameters) is None:
        raise lost()
    for name, value in fields.items():
        setattr(row, name, value)
    return row
