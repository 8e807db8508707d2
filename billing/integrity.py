"""How verbs meet the database: its refusals under their own names, a fact told twice, a statement run many times."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from django.db import IntegrityError, connection, models, transaction
from psycopg.types.numeric import Int8

Parameters = Sequence[object] | Mapping[str, object]


@contextmanager
def named(errors: Mapping[str, Callable[[str], Exception]]) -> Iterator[None]:
    """Raise `errors[name](message)` in place of the IntegrityError of the constraint or trigger of that name.

    Stands outside of `transaction.atomic()`, since deferred triggers speak at its end. Other errors pass unchanged.
    """
    try:
        yield
    except IntegrityError as error:
        name = constraint_name(error)
        if name not in errors:
            raise
        raise errors[name](str(error).splitlines()[0]) from error


def constraint_name(error: IntegrityError) -> str:
    """The violated constraint's or trigger's name; empty if the database did not say."""
    cause = error.__cause__
    return (cause.diag.constraint_name or "") if isinstance(cause, psycopg.Error) else ""


def fetch_one(statement: LiteralString, parameters: Parameters) -> tuple[Any, ...] | None:
    """The first row of a statement that is run again and again; None if there is none. See fetch_all. Past Django's count."""
    return next(iter(_rows(statement, parameters)), None)


def fetch_all(statement: LiteralString, parameters: Parameters) -> list[tuple[Any, ...]]:
    """The rows of a statement that is run again and again: sent apart from its parameters, and planned by the server once
    a connection. Django's own cursor writes parameters into the text, which is parsed and planned anew each time: a fifth
    of the time of an invoice, and more than half of a reservation's. Tests that count queries count it.
    """
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": "0"})
    return _rows(statement, parameters)


def _rows(statement: LiteralString, parameters: Parameters) -> list[tuple[Any, ...]]:
    connection.ensure_connection()
    psycopg_connection = connection.connection
    psycopg_connection.prepare_threshold = 0  # Django's cursors, which bind at the client, never prepare
    with connection.wrap_database_errors, psycopg.Cursor(psycopg_connection) as cursor:
        cursor.execute(statement, _typed(parameters))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _typed(parameters: Parameters) -> Parameters:
    if isinstance(parameters, Mapping):
        return {name: _bigint(value) for name, value in parameters.items()}
    return [_bigint(value) for value in parameters]


def _bigint(value: object) -> object:
    """A whole number always as a bigint, also in a list: psycopg would take the smallest type that holds it, and the server
    plans a statement anew for each set of types.
    """
    if type(value) is int:
        return Int8(value)
    return [_bigint(each) for each in value] if type(value) is list else value


@contextmanager
def in_transaction() -> Iterator[None]:
    """A transaction for what is written by one statement, all or nothing: without a savepoint in the caller's."""
    if connection.in_atomic_block:
        yield
    else:
        with transaction.atomic():
            yield


@contextmanager
def planned_for_many() -> Iterator[None]:
    """Inside, statements look rows up by index also in a table that has few yet, or none.

    The server keeps a plan for as long as the connection, those of foreign keys and triggers too. One made on an empty
    table reads all of it each time, and goes on doing so while the table is filled.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; DISCARD PLANS")
    try:
        yield
    finally:
        if not connection.needs_rollback and connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("RESET enable_seqscan")


def require_same(row: models.Model, facts: Mapping[str, Any], error: type[Exception]) -> None:
    """Raise `error`, naming field and both values, unless the stored row has these facts: a retry has the same ones."""
    for field, given in facts.items():
        stored = getattr(row, field)
        if stored != given:
            raise error(
                f"{type(row).__name__} {row}: {field} is {stored!s}, not {given!s}; it was stored before and stays"
            )


def require_aware(name: str, at: datetime) -> None:
    """Raise NaiveInstantError unless the instant has a UTC offset."""
    if at.utcoffset() is None:
        raise NaiveInstantError(
            f"{name} is {at.isoformat()}: expected an instant with its UTC offset, such as {at.isoformat()}+08:00"
        )


class NaiveInstantError(ValueError):
    """A time without a UTC offset names no instant."""
