from datetime import UTC, date, datetime

import pytest

from billing import invoicing, ledger
from billing.integrity import NaiveInstantError
from billing.models import Journal, LedgerAccount, Posting
from tests.billing import world

pytestmark = pytest.mark.django_db

Kind = LedgerAccount.Kind


@pytest.fixture
def issuer():
    return world.issuer()


@pytest.fixture
def cash(issuer):
    return ledger.account(issuer=issuer, name="cash", kind=Kind.ASSET, currency="CNY")


@pytest.fixture
def sales(issuer):
    return ledger.account(issuer=issuer, name="sales", kind=Kind.INCOME, currency="CNY")


def post(issuer, *postings, **changes):
    facts = {
        "issuer": issuer,
        "key": "k",
        "period": world.may(issuer),
        "effective_date": date(2020, 5, 31),
        "source": "sale:1",
        "postings": postings,
        "at": world.JUNE,
        "actor": "test",
    }
    return ledger.post(**(facts | changes))


def sides(journal):
    return [(each.ledger_account.name, each.amount_minor) for each in journal.postings.order_by("id")]


def test_a_journal_keeps_the_order_of_its_postings(issuer, cash, sales):
    journal = post(issuer, (sales, -70), (cash, 100), (sales, -30))
    assert sides(journal) == [("sales", -70), ("cash", 100), ("sales", -30)]
    assert (journal.key, journal.source, journal.effective_date) == ("k", "sale:1", date(2020, 5, 31))


def test_the_same_key_with_the_same_facts_gives_the_journal_that_is_there(issuer, cash, sales):
    first = post(issuer, (cash, 100), (sales, -100))
    assert post(issuer, (cash, 100), (sales, -100), at=world.JULY, actor="another") == first
    assert Posting.objects.count() == 2
    assert first.posted_at == world.JUNE


@pytest.mark.parametrize(
    ("amount_minor", "changes", "message"),
    [
        (101, {}, "journal k: postings is "),
        (100, {"source": "sale:2"}, "journal k: source is sale:1, not sale:2"),
        (100, {"effective_date": date(2020, 5, 30)}, "journal k: effective_date is 2020-05-31, not 2020-05-30"),
    ],
)
def test_the_same_key_with_other_facts_is_refused(issuer, cash, sales, amount_minor, changes, message):
    post(issuer, (cash, 100), (sales, -100))
    with pytest.raises(ledger.JournalDiffersError, match=message):
        post(issuer, (cash, amount_minor), (sales, -amount_minor), **changes)
    assert Journal.objects.count() == 1


def test_two_issuers_have_journals_of_one_key(issuer, cash, sales):
    other = world.issuer("sz", 3)
    theirs = [ledger.account(issuer=other, name=name, kind=Kind.ASSET, currency="CNY") for name in ("cash", "bank")]
    assert post(issuer, (cash, 1), (sales, -1)) != post(other, (theirs[0], 1), (theirs[1], -1))


def test_a_journal_must_balance_in_each_currency(issuer, cash, sales):
    dollars = ledger.account(issuer=issuer, name="sales", kind=Kind.INCOME, currency="USD")
    with pytest.raises(ledger.UnbalancedError, match="journal k: its postings sum to CNY 100, USD -100: expected 0"):
        post(issuer, (cash, 100), (dollars, -100))
    with pytest.raises(ledger.UnbalancedError, match="journal k: its postings sum to nothing"):
        post(issuer)
    with pytest.raises(ledger.ZeroPostingError, match="journal k: its posting to cash is 0"):
        post(issuer, (cash, 0), (sales, 0))
    assert not Journal.objects.exists()


@pytest.mark.parametrize("day", [date(2020, 4, 30), date(2020, 6, 1)])
def test_a_date_outside_of_the_period_is_refused(issuer, cash, sales, day):
    with pytest.raises(ledger.DateOutsidePeriodError, match=f"effective date {day} is not in period 2020-05"):
        post(issuer, (cash, 1), (sales, -1), effective_date=day)


@pytest.mark.parametrize("day", [date(2020, 5, 1), date(2020, 5, 31)])
def test_the_first_and_the_last_day_of_the_period_are_in_it(issuer, cash, sales, day):
    assert post(issuer, (cash, 1), (sales, -1), effective_date=day).effective_date == day


def test_nothing_is_posted_into_a_closed_period_but_a_retry_gives_what_is_there(issuer, cash, sales):
    first = post(issuer, (cash, 1), (sales, -1))
    world.close(world.may(issuer))
    with pytest.raises(ledger.PeriodClosedError, match="period 2020-05 is closed"):
        post(issuer, (cash, 1), (sales, -1), key="late")
    assert post(issuer, (cash, 1), (sales, -1)) == first


def test_a_journal_period_and_accounts_belong_to_one_issuer(issuer, cash, sales):
    other = world.issuer("sz", 3)
    theirs = ledger.account(issuer=other, name="cash", kind=Kind.ASSET, currency="CNY")
    with pytest.raises(ledger.OtherIssuerError, match="journal k posts to an account of another issuer"):
        post(issuer, (theirs, 1), (sales, -1))
    with pytest.raises(ledger.OtherIssuerError, match="period 2020-05 is of issuer"):
        post(issuer, (cash, 1), (sales, -1), period=world.may(other))


def test_a_naive_instant_is_refused(issuer, cash, sales):
    with pytest.raises(NaiveInstantError, match="at is 2020-06-01T00:00:00"):
        post(issuer, (cash, 1), (sales, -1), at=datetime(2020, 6, 1))  # noqa: DTZ001  - the point of the test


def test_a_ledger_account_is_opened_once(issuer, cash):
    assert ledger.account(issuer=issuer, name="cash", kind=Kind.ASSET, currency="CNY") == cash
    buyer = world.account(issuer, "B")
    of_buyer = ledger.account(issuer=issuer, name="cash", kind=Kind.ASSET, currency="CNY", account=buyer)
    of_party = ledger.account(issuer=issuer, name="cash", kind=Kind.ASSET, currency="CNY", party=buyer.party)
    assert len({cash, of_buyer, of_party}) == 3
    assert LedgerAccount.objects.count() == 3


def test_a_reversal_in_an_open_period_undoes_the_journal_once(issuer, cash, sales):
    journal = post(issuer, (cash, 100), (sales, -100), effective_date=date(2020, 5, 9))
    at = datetime(2020, 5, 20, 12, tzinfo=UTC)
    undone = ledger.reverse(journal=journal, at=at, actor="test")
    assert sides(undone) == [("cash", -100), ("sales", 100)]
    assert (undone.reverses, undone.period, undone.effective_date) == (journal, journal.period, date(2020, 5, 20))
    assert ledger.reverse(journal=journal, at=world.JULY, actor="test") == undone
    assert (ledger.balance(ledger_account=cash), ledger.balance(ledger_account=sales)) == (0, 0)


def test_a_journal_of_a_closed_period_is_reversed_in_the_first_open_one_after_it(issuer, cash, sales):
    april = invoicing.open_period(issuer=issuer, code="2020-04")
    journal = post(issuer, (cash, 100), (sales, -100))
    world.close(journal.period)
    invoicing.open_period(issuer=issuer, code="2020-07")
    june = invoicing.open_period(issuer=issuer, code="2020-06")
    undone = ledger.reverse(journal=journal, at=datetime(2020, 8, 3, tzinfo=UTC), actor="test")
    assert april.state == "open"
    assert (undone.period, undone.effective_date) == (june, date(2020, 6, 30))


def test_a_reversal_without_an_open_period_is_refused(issuer, cash, sales):
    journal = post(issuer, (cash, 100), (sales, -100))
    world.close(journal.period)
    with pytest.raises(ledger.NoOpenPeriodError, match="issuer lg has no open period from 2020-05 on"):
        ledger.reverse(journal=journal, at=world.JUNE, actor="test")


def test_a_balance_counts_to_the_end_of_a_day(issuer, cash, sales):
    post(issuer, (cash, 100), (sales, -100), effective_date=date(2020, 5, 1))
    post(issuer, (cash, 20), (sales, -20), key="k2", effective_date=date(2020, 5, 2))
    days = [date(2020, 4, 30), date(2020, 5, 1), date(2020, 5, 2), None]
    assert [ledger.balance(ledger_account=cash, to_date=day) for day in days] == [0, 100, 120, 120]
