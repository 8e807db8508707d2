"""The fixtures that the other tests stand on."""

import re

import pytest
from django.db import connection


def databases():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return cursor.fetchone()[0]


def test_a_fresh_database_is_used_by_all_threads_and_by_commands(fresh_database):
    assert fresh_database.at_once(databases, databases) == [fresh_database.name] * 2
    assert databases() == fresh_database.name
    done = fresh_database.manage("migrate", "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.django_db
def test_after_a_fresh_database_the_shared_one_is_back():
    assert re.fullmatch(r"test_\d+(_gw\d+)?", databases())
