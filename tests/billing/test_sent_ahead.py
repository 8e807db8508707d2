"""Statements that go to the server before it has answered those before them: in order, and all or nothing."""

import pytest
from django.db import DataError, connection, transaction

from billing.integrity import fetch_all, fetch_one, send, sent_ahead


def test_what_is_sent_ahead_comes_in_order_and_is_asked_for_as_often_as_one_likes(fresh_database):
    with sent_ahead(), transaction.atomic():
        first = send("SELECT 'first', pg_current_xact_id()::text", [])
        second = send("SELECT 'second', pg_current_xact_id()::text", [])
        ((_, transaction_id),) = first()
        assert second() == second() == [("second", transaction_id)]
    assert connection.get_autocommit()
    assert fetch_one("SELECT 1", []) == (1,)


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_refusal_of_what_is_sent_ahead_takes_the_transaction_with_it(fresh_database, is_asked):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE kept (number integer)")

    def refused():
        with sent_ahead(), transaction.atomic():
            send("INSERT INTO kept VALUES (1) RETURNING number", [])
            rows = send("SELECT 1 / %s", [0])
            send("INSERT INTO kept VALUES (2) RETURNING number", [])
            if is_asked:
                rows()

    with pytest.raises(DataError):
        refused()
    assert fetch_all("SELECT number FROM kept", []) == []
    with sent_ahead(), transaction.atomic():
        send("INSERT INTO kept VALUES (3) RETURNING number", [])
    assert fetch_all("SELECT number FROM kept", []) == [(3,)]


@pytest.mark.django_db
def test_within_a_transaction_nothing_is_sent_ahead():
    with pytest.raises(DataError), sent_ahead(), transaction.atomic():
        send("SELECT 1 / %s", [0])
    assert fetch_one("SELECT 1", []) == (1,)
