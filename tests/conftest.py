"""What tests share: the databases, and the material beside the checkout."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from django.test.utils import setup_databases, teardown_databases
from django.utils import translation
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.internal.conjecture import providers

from marketplace.postgresql.server import server_in
from tests.billing.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

# No property is timed: a machine that does much else at once is slow, not wrong. The examples are the same in each run, so
# that chance decides nothing; `--hypothesis-profile=search` looks for others. They would also take up the constants of
# those of our modules that happen to be imported by then, which are others in each process.
for _profile, _same in (("suite", True), ("search", False)):
    hypothesis_settings.register_profile(
        _profile, deadline=None, derandomize=_same, suppress_health_check=[HealthCheck.too_slow]
    )
hypothesis_settings.load_profile("suite")
providers._get_local_constants = providers.Constants  # none


@pytest.fixture(autouse=True)
def _in_english() -> Iterator[None]:
    """What a request of an earlier test was told in is what its thread speaks on: no test reads that."""
    with translation.override("en"):
        yield


# The material beside the checkout


def pytest_configure(config):
    # A shell's job in the background ignores SIGINT, and so would the programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "shared: needs ../shared; skipped without it, or failed if SHARED_REQUIRED=1")


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Not more than share the server's 100 connections, of which some tests take twenty at once."""
    return min((yield), 8)


def pytest_runtest_setup(item):
    if item.get_closest_marker("shared") and not SHARED.is_dir():
        missing = f"{SHARED.name}/ is not beside the checkout"
        if os.environ.get("SHARED_REQUIRED") == "1":
            pytest.fail(f"{missing}, and SHARED_REQUIRED=1", pytrace=False)
        pytest.skip(missing)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ../shared. Mark the test `@pytest.mark.shared`."""
    return SHARED


# Databases. `db` gives a transaction that is rolled back. `fresh_database` gives a database of the test's own, for real
# commits, threads, processes and kills; Django's `transactional_db` can't: our triggers refuse to empty the ledger.


def _server() -> psycopg.Connection:
    address = server_in(Path(settings.DATABASES["default"]["EMBEDDED_IN"])).address()
    return psycopg.connect(**address, dbname="postgres", autocommit=True)


def _sql(statement: str) -> None:
    """Run a statement on the server; again while a connection that was closed just now still holds its database."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with contextlib.closing(_server()) as server:
        while True:
            try:
                server.execute(statement)
            except psycopg.errors.ObjectInUse:  # PostgreSQL itself has waited for five seconds
                if time.monotonic() > deadline:
                    raise
            else:
                return


def _drop_databases_of_the_dead() -> None:
    with contextlib.closing(_server()) as server:
        for (name,) in server.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'test!_%' ESCAPE '!'"
        ).fetchall():
            owner = re.match(r"test_(\d+)", name)
            # One who had this process's number before is dead too.
            if owner and (int(owner[1]) == os.getpid() or not psutil.pid_exists(int(owner[1]))):
                server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment, django_db_blocker) -> Iterator[None]:
    """The test database, and a copy of it as it is after the migrations.

    In place of pytest-django's, which makes none for tests that ask for `fresh_database` alone.
    """
    with django_db_blocker.unblock():
        _drop_databases_of_the_dead()
        made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
        name = connection.settings_dict["NAME"]
        connection.close()
    _sql(f'CREATE DATABASE "{name}_template" TEMPLATE "{name}" STRATEGY wal_log')
    yield
    _sql(f'DROP DATABASE "{name}_template" WITH (FORCE)')
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@dataclass(frozen=True)
class FreshDatabase:
    """A migrated, committed database that one test owns. Django's default connection points at it, in all threads."""

    name: str

    @property
    def environment(self) -> dict[str, str]:
        """What a child process needs to work on this database."""
        address = server_in(Path(settings.DATABASES["default"]["EMBEDDED_IN"])).address()
        host = quote(address["host"], safe="")
        url = f"postgresql://{address['user']}@/{self.name}?host={host}&port={address['port']}"
        return {
            **os.environ,
            "DATABASE_URL": url,
            "SECRET_KEY": settings.SECRET_KEY,
            "DJANGO_SETTINGS_MODULE": "marketplace.settings",
        }

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, str(ROOT / "manage.py"), *map(str, arguments)]

    def manage(
        self, *arguments: object, timeout: int = PATIENCE_SECONDS, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py ARGUMENTS` to its end. The caller looks at returncode, stdout and stderr."""
        options = {"capture_output": True, "text": True, "env": self.environment, "cwd": ROOT} | options
        return subprocess.run(self.command(*arguments), check=False, timeout=timeout, **options)

    @contextlib.contextmanager
    def start(self, *arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run `manage.py ARGUMENTS` beside the test, to be killed by it. Killed with SIGKILL at the end of the block."""
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            "env": self.environment,
            "cwd": ROOT,
        } | options
        with subprocess.Popen(self.command(*arguments), **options) as process:
            try:
                yield process
            finally:
                process.kill()

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        """Run the calls in threads that begin together, each with a connection of its own; an exception is a result."""
        barrier = threading.Barrier(len(calls))

        def run(call: Callable[[], Any]) -> Any:
            try:
                connection.ensure_connection()
                barrier.wait(timeout=PATIENCE_SECONDS)
                return call()
            except Exception as error:  # noqa: BLE001  - handed to the test, which says which it expects
                return error
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(run, calls))


_numbers = count(1)


@pytest.fixture
def fresh_database(django_db_setup, django_db_blocker) -> Iterator[FreshDatabase]:
    """A database of this test's own, copied from the migrated one. Do not use it together with `db`."""
    test_name = connection.settings_dict["NAME"]
    name = f"{test_name}_{next(_numbers)}"
    _sql(f'CREATE DATABASE "{name}" TEMPLATE "{test_name}_template" STRATEGY wal_log')
    with django_db_blocker.unblock():
        connection.close()
        connection.settings_dict["NAME"] = name
        try:
            yield FreshDatabase(name)
        finally:
            connection.close()
            connection.settings_dict["NAME"] = test_name
            _sql(f'DROP DATABASE "{name}" WITH (FORCE)')
