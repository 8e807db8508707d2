"""The database backend: Django's own for PostgreSQL, which starts the embedded server and names what goes wrong."""

import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.backends.postgresql import base, client, features
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseErrorWrapper, OperationalError, ProgrammingError
from django.utils.functional import cached_property
from psycopg._preparing import PrepareManager

from .server import DatabaseUnavailableError, DiskFullError, EmbeddedServer, ServerFailedError, programs, server_in

_ATTEMPTS = 5


class ServerTooOldError(DatabaseUnavailableError):
    """The server of DATABASE_URL is older than the oldest one supported."""


class ServerUnreachableError(DatabaseUnavailableError):
    """Nobody answers at the host and port of DATABASE_URL."""


class UnknownHostError(ServerUnreachableError):
    """The host of DATABASE_URL has no address."""


class WrongPasswordError(DatabaseUnavailableError):
    """The server of DATABASE_URL refuses the user or the password."""


class MissingDatabaseError(DatabaseUnavailableError):
    """The server of DATABASE_URL has no such database."""


class ServerLostError(DatabaseUnavailableError):
    """The server, or the connection to it, ended in the middle of the work."""


class NotMigratedError(DatabaseUnavailableError):
    """The database has not the tables that this program works with."""


class DatabaseFeatures(features.DatabaseFeatures):
    minimum_database_version: tuple[int] = (15,)


class ErrorWrapper(DatabaseErrorWrapper):
    """Django's translation of the driver's errors, and names for a full disk and a lost server."""

    wrapper: "DatabaseWrapper"

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(exc_type, exc_value, traceback)
        except OperationalError:
            if not isinstance(exc_value, psycopg.Error):
                raise
            what = str(exc_value).partition("\n")[0]
            if self._disk_is_full(exc_value):
                raise DiskFullError(f"The disk of the database is full: free some space there ({what}).") from exc_value
            if _is_lost(exc_value):
                raise ServerLostError(
                    f"The database server ended in the middle of the work: run the command again ({what})."
                ) from exc_value
            raise

    def _disk_is_full(self, error: psycopg.Error) -> bool:
        if isinstance(error, psycopg.errors.DiskFull):
            return True
        server = self.wrapper.embedded_server
        # A server that can't write its log ahead stops at once, and its clients see only a lost connection.
        return _is_lost(error) and server is not None and server.disk_is_full()


def _is_lost(error: psycopg.Error) -> bool:
    """57P: the server says that it ends; no code: it ended without a word."""
    return error.sqlstate is None or error.sqlstate.startswith("57P")


def not_migrated(error: ProgrammingError) -> NotMigratedError | None:
    """What to say of a query that failed since migrations wait to be run; None if it failed for another reason."""
    cause = error.__cause__
    if not isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return None
    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return None
    what = cause.diag.message_primary
    return NotMigratedError(f"The database is not migrated: run `manage.py migrate`, then the command again ({what}).")


class DatabaseClient(client.DatabaseClient):
    """psql, which for the embedded server is its own, told where that one listens."""

    connection: "DatabaseWrapper"

    def runshell(self, parameters: Iterable[str]) -> None:
        server = self.connection.embedded_server
        if server is None:
            super().runshell(parameters)
            return
        address = server.address()
        psql = str(programs() / "psql")
        command = [psql, "-h", address["host"], "-p", address["port"], "-U", address["user"]]
        name = str(self.connection.settings_dict["NAME"])
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is psql's, to end a query
        try:
            subprocess.run([*command, *parameters, name], check=True)  # noqa: S603  - the server's own program
        finally:
            signal.signal(signal.SIGINT, handler)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the server of DATABASE_URL, or to the embedded one when DATABASES has an `EMBEDDED_IN` folder."""

    features_class = DatabaseFeatures
    client_class = DatabaseClient
    features: DatabaseFeatures

    @property
    def embedded_server(self) -> EmbeddedServer | None:
        folder = self.settings_dict.get("EMBEDDED_IN")
        return server_in(Path(folder)) if folder else None

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        server = self.embedded_server
        for attempt in range(_ATTEMPTS):
            address = server.address() if server else {}
            try:
                return _keeping(super().get_new_connection(conn_params | address))
            except psycopg.OperationalError as error:
                if server is None:
                    raise _named(error, conn_params) from error
                if attempt == _ATTEMPTS - 1:
                    said = " ".join(str(error).split())
                    raise ServerFailedError(f"The embedded database server refuses a connection: {said}.") from error
                server.ensure_running()  # it may have been killed since we last saw it
            except psycopg.ProgrammingError as error:
                raise ImproperlyConfigured(
                    f"DATABASE_URL has an option that the database driver refuses: {str(error).strip()}."
                ) from error
        raise AssertionError("unreachable")

    def init_connection_state(self) -> None:
        super().init_connection_state()
        # Of statements that are prepared (billing.integrity), which are found by their keys: one plan, not first five others.
        self.connection.execute("SET plan_cache_mode = force_generic_plan")

    def check_database_version_supported(self) -> None:
        oldest = self.features.minimum_database_version
        if self.get_database_version() < oldest:
            found = ".".join(map(str, self.get_database_version()))
            raise ServerTooOldError(
                f"PostgreSQL {oldest[0]} or later is needed, and the server of DATABASE_URL is PostgreSQL {found}: upgrade it, or"
                " name another server."
            )

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        return ErrorWrapper(self)


class _Prepared(PrepareManager):
    """psycopg would drop all prepared statements after each rollback, and a refusal rolls back. PostgreSQL keeps them, and
    plans them anew where a table has changed.
    """

    def clear(self) -> bool:
        return False


def _keeping(psycopg_connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    kept = _Prepared()
    kept.prepare_threshold = psycopg_connection.prepare_threshold
    psycopg_connection._prepared = kept  # noqa: SLF001  - there is no other way to say it
    return psycopg_connection


def _named(error: psycopg.OperationalError, params: dict[str, Any]) -> DatabaseUnavailableError:
    """The driver tells what went wrong in words only: no code comes with a refused connection."""
    host, port = params.get("host") or "the local socket", params.get("port") or 5432
    user, database = params.get("user") or "(none)", params.get("dbname")
    said = " ".join(str(error).split())
    if "failed to resolve host" in said or "could not translate host name" in said:
        return UnknownHostError(f"The host {host} of DATABASE_URL is unknown: check its name.")
    if "authentication failed" in said or "no password supplied" in said or ("FATAL" in said and "role " in said):
        return WrongPasswordError(
            f"The database server at {host}:{port} refuses the user {user} of DATABASE_URL: check the user and the password."
        )
    if "database " in said and "does not exist" in said:
        return MissingDatabaseError(
            f'The database server at {host}:{port} has no database "{database}": make it, or correct DATABASE_URL.'
        )
    return ServerUnreachableError(
        f"The database server of DATABASE_URL at {host}:{port} can't be reached: start it, or correct DATABASE_URL ({said})."
    )
