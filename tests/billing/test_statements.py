"""Statements that are planned once a connection: by their text alone, and also after a refusal has rolled back."""

import pytest
from django.db import connection, transaction

from billing.integrity import fetch_all, fetch_one, in_transaction, planned_for_many

pytestmark = pytest.mark.django_db


def plans(text):
    """How many statements of this text the server has, and how often it planned one of them with its parameters."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(custom_plans), 0) FROM pg_prepared_statements WHERE statement = %s", [text]
        )
        return cursor.fetchone()


@pytest.mark.parametrize("values", [(1, 2**20, 2**40), ([1], [2**20, None], [2**40])], ids=["numbers", "lists"])
def test_numbers_of_any_size_share_one_plan(values):
    name = type(values[0]).__name__
    statement = f"SELECT '{name}', %s"
    for value in values:
        assert fetch_one(statement, [value]) == (name, value)
    assert plans(f"SELECT '{name}', $1") == (1, 0)


def test_a_plan_outlives_what_is_rolled_back():
    for number in range(3):
        with transaction.atomic():
            assert fetch_all("SELECT 'kept', %(number)s", {"number": number}) == [("kept", number)]
            transaction.set_rollback(True)
    assert plans("SELECT 'kept', $1") == (1, 0)


def test_a_row_without_columns_is_one():
    assert fetch_one("SELECT FROM generate_series(1, %s)", [1]) == ()
    assert fetch_one("SELECT FROM generate_series(1, %s)", [0]) is None


def test_one_that_reads_rows_is_counted_as_a_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        fetch_all("SELECT %s::text", ["counted"])


def test_a_refusal_by_one_who_wrote_nothing_leaves_the_callers_transaction_whole():
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), in_transaction():
            raise ZeroDivisionError
        assert fetch_one("SELECT 1", []) == (1,)


def test_a_table_that_is_empty_when_a_plan_is_made_is_looked_up_by_its_index():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE filled (number bigint PRIMARY KEY)")
        cursor.execute("ANALYZE filled")
    statement = "SELECT number FROM filled WHERE number = %s"
    fetch_all(statement, [1])
    with planned_for_many():
        fetch_all(statement, [1])
        assert fetch_all("SELECT pg_stat_get_xact_numscans('filled_pkey'::regclass)", []) == [(1,)]
    assert fetch_all("SHOW enable_seqscan", []) == [("on",)]
