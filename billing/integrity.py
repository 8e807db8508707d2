"""How verbs meet the database: its refusals under their own names, a fact told twice, a statement run many times."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, LiteralString

import psycopg
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.types.numeric import Int8Dumper

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
    return next(iter(_rows(connections[DEFAULT_DB_ALIAS], statement, parameters)), None)


def fetch_all(statement: LiteralString, parameters: Parameters) -> list[tuple[Any, ...]]:
    """The rows of a statement that is run again and again: sent apart from its parameters, and planned by the server once
    a connection. Django's own cursor writes parameters into the text, which is parsed and planned anew each time: a fifth
    of the time of an invoice, and more than half of a reservation's. Tests that count queries count it.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.queries_logged:
        database.queries_log.append({"sql": statement, "time": "0"})
    return _rows(database, statement, parameters)


def send(statement: LiteralString, parameters: Parameters) -> Callable[[], list[tuple[Any, ...]]]:
    """fetch_all() in two steps: what it gives gives the rows, and waits for them where the statement was sent_ahead(). They
    are to be had until the same statement is sent again. Past Django's count.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.connection is None:
        database.ensure_connection()
    with database.wrap_database_errors:
        cursor = _CURSORS.of(database.connection, statement)
        cursor.execute(statement, parameters)

    @cache
    def rows() -> list[tuple[Any, ...]]:
        with database.wrap_database_errors:
            return cursor.fetchall()

    return rows


def _rows(database: BaseDatabaseWrapper, statement: LiteralString, parameters: Parameters) -> list[tuple[Any, ...]]:
    if database.connection is None:
        database.ensure_connection()
    with database.wrap_database_errors:
        cursor = _CURSORS.of(database.connection, statement)
        cursor.execute(statement, parameters)
        return cursor.fetchall()


class _Cursors(threading.local):
    """The cursors of this thread's connection, one for each statement: what one has worked out of the types of its
    statement's parameters and columns it keeps, as long as it is told the same text. Made anew each time, that took as long
    as all the rest of a round trip.
    """

    def __init__(self) -> None:
        self.connection: psycopg.Connection[Any] | None = None
        self.cursors: dict[str, psycopg.Cursor[tuple[Any, ...]]] = {}

    def of(self, connection: psycopg.Connection[Any], statement: str) -> psycopg.Cursor[tuple[Any, ...]]:
        if connection is not self.connection:
            self.connection, self.cursors = connection, {}
            connection.prepare_threshold = 0  # Django's cursors, which bind at the client, never prepare
        cursor = self.cursors.get(statement)
        if cursor is None:
            cursor = self.cursors[statement] = psycopg.Cursor(connection)
            # A whole number always as a bigint, also in a list: psycopg would take the smallest type that holds it, and the
            # server plans a statement anew for each set of types.
            cursor.adapters.register_dumper(int, Int8Dumper)
        return cursor


_CURSORS = _Cursors()


@contextmanager
def in_transaction() -> Iterator[None]:
    """A transaction for what is written by one statement, all or nothing: without a savepoint in the caller's."""
    if connection.in_atomic_block:
        yield
    else:
        with transaction.atomic():
            yield


@contextmanager
def sent_ahead() -> Iterator[None]:
    """Inside, statements go to the server without waiting for what it says to those before, BEGIN and COMMIT too, until rows
    are asked for. A refusal is raised there, or at the end of the transaction. How many rows were changed is not known inside:
    nothing may stand there that asks a cursor or the ORM for it.

    Stands outside of `transaction.atomic()`. Within a transaction nothing is sent ahead: after a refusal that nobody has
    read yet, its savepoint could not be rolled back to.
    """
    if connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
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
