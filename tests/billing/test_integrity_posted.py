"""What is posted stays as it is: needs real commits, since a journal takes its postings in its own transaction."""

from datetime import date

import pytest
from django.db import IntegrityError, connection, transaction

from billing import ledger
from billing.integrity import constraint_name
from billing.models import Journal, LedgerAccount, Posting
from tests.billing import world

PAIR = """
    INSERT INTO billing_posting (journal_id, ledger_account_id, amount_minor)
    SELECT journal_id, ledger_account_id, amount_minor FROM billing_posting
"""
MADE_UP = """
    INSERT INTO billing_journal (issuer_id, key, period_id, effective_date, source, posted_at, actor, posted_in)
    SELECT issuer_id, 'later', period_id, effective_date, source, posted_at, actor, '999999999999' FROM billing_journal
"""


def run(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def refused(statement):
    """The name of what refuses the statement in a transaction of its own."""
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        run(statement)
    return constraint_name(caught.value)


def post(issuer):
    cash, sales = (
        ledger.account(issuer=issuer, name=name, kind=LedgerAccount.Kind.ASSET, currency="CNY") for name in ("c", "s")
    )
    return ledger.post(
        issuer=issuer,
        key="k",
        period=world.may(issuer),
        effective_date=date(2020, 5, 31),
        source="s",
        postings=[(cash, 5), (sales, -5)],
        at=world.JUNE,
        actor="test",
    )


@pytest.mark.parametrize("state", ["open", "closed"])
def test_a_balanced_pair_is_not_added_to_a_posted_journal(fresh_database, state):
    journal = post(world.issuer())
    if state == "closed":
        world.close(journal.period)
    assert refused(PAIR) == "posting_with_its_journal"
    assert (journal.period.state, Posting.objects.count()) == (state, 2)


def test_a_journal_takes_its_postings_to_the_end_of_its_transaction_also_after_a_savepoint(fresh_database):
    with transaction.atomic():
        post(world.issuer())  # in a savepoint
        run(PAIR)
        with transaction.atomic():
            run(PAIR)
    assert Posting.objects.count() == 8


def test_a_journal_that_says_another_transaction_than_its_own_is_refused(fresh_database):
    post(world.issuer())
    assert refused(MADE_UP) == "posting_with_its_journal"
    assert Journal.objects.count() == 1
