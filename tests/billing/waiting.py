"""Waiting in tests of races, for something to be so."""

import time

from django.db import connection

# How long a test waits at most for what must come. It costs nothing where that comes, and a machine that is slow or does
# much else at once is not wrong.
PATIENCE_SECONDS = 600


def wait_for(condition, seconds=PATIENCE_SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def is_someone_waiting_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


def is_alone():
    """Whether nobody else is connected to the database: what a killed process had under way is done or undone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0] == 0
