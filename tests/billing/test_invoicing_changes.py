"""What is signed, reserved or published between rating and issuing: billed or refused, never lost."""

import threading

import pytest
from django.db import transaction

from billing import charging, contracts, drafts, invoicing, ledger, tariffs
from billing.models import Account, BillingPeriod, Invoice, LedgerAccount
from tests.billing import world
from tests.billing.waiting import PATIENCE_SECONDS, is_someone_waiting_for_a_lock, wait_for

CAPACITY = {"kind": "capacity", "code": "CP", "price": "2.10", "per": "unit_hour"}
STANDING = {"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"}


@pytest.fixture
def buyer(fresh_database):
    """The account B00 with a contract and usage, under an energy and a capacity charge."""
    (account,) = world.buyers(world.issuer(), world.publish(world.energy(), CAPACITY).tariff, 1)
    return account


def reserve(account):
    return contracts.reserve(contract=account.contracts.get(), quantity=100, start_at=world.MAY, source="late")


def sign(account):
    return world.contract(account, world.publish(STANDING, code="S").tariff, number="C-late")


def publish(_account):
    return world.publish(world.energy(), CAPACITY, STANDING, effective=["2020-05-15", None])


# What B00 owes after the change, net: 80.00 of usage, and 100 GPUs for 744 hours, or 31 or 17 days.
CHANGES = pytest.mark.parametrize(
    ("change", "net_minor"),
    [(reserve, 15_632_000), (sign, 39_000), (publish, 25_000)],
    ids=["reserve", "sign", "publish"],
)


def require_issued_as_rated_now(account, net_minor):
    invoice = Invoice.objects.get(account=account)
    charges = charging.charges(account=account, period=invoice.period)
    assert (invoice.state, invoice.net_minor, charges.net_minor) == ("issued", net_minor, net_minor)
    current = Account.objects.select_related("party", "issuer__party").get(pk=account.pk)
    again = drafts.make(account=current, period=invoice.period, charges=charges, at=world.JUNE)
    assert invoice.snapshot == invoice.number.join(again.text)
    assert LedgerAccount.objects.filter(name="receivable").count() == 1
    receivable = LedgerAccount.objects.get(name="receivable")
    assert ledger.balance(ledger_account=receivable) == invoice.gross_minor


def rate(account):
    period = world.may(account.issuer)
    ready = invoicing._ready(account, period, world.JUNE)
    book = invoicing._book([ready], period)
    assert ready.net_minor == 8_000
    return lambda: invoicing._issue(ready, period, book, world.JUNE, "test")


@CHANGES
def test_what_came_after_the_rating_is_on_the_invoice(buyer, change, net_minor):
    issue = rate(buyer)
    change(buyer)
    assert issue() == "LG-2020-000001"
    require_issued_as_rated_now(buyer, net_minor)


@CHANGES
def test_one_who_issues_waits_for_what_is_changed_at_that_moment_and_bills_it(fresh_database, buyer, change, net_minor):
    issue, changed = rate(buyer), threading.Event()

    def change_slowly():
        with transaction.atomic():
            change(buyer)
            changed.set()
            wait_for(is_someone_waiting_for_a_lock)

    def issue_then():
        assert changed.wait(PATIENCE_SECONDS)
        return issue()

    assert fresh_database.at_once(change_slowly, issue_then) == [None, "LG-2020-000001"]
    require_issued_as_rated_now(buyer, net_minor)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (reserve, contracts.AlreadyInvoicedError),
        (sign, contracts.AlreadyInvoicedError),
        (publish, tariffs.VersionTooEarlyError),
    ],
)
def test_one_who_changes_what_is_issued_at_that_moment_waits_and_is_refused(fresh_database, buyer, change, error):
    issue, issued = rate(buyer), threading.Event()

    def issue_slowly():
        with transaction.atomic():
            number = issue()
            issued.set()
            wait_for(is_someone_waiting_for_a_lock)
        return number

    def change_then():
        assert issued.wait(PATIENCE_SECONDS)
        return change(buyer)

    number, refusal = fresh_database.at_once(issue_slowly, change_then)
    assert (number, type(refusal)) == ("LG-2020-000001", error)
    require_issued_as_rated_now(buyer, 8_000)


def test_a_change_that_is_rolled_back_leaves_the_invoice_as_it_was_rated(fresh_database, buyer):
    issue, changed = rate(buyer), threading.Event()

    def change_in_vain():
        with transaction.atomic():
            reserve(buyer)
            changed.set()
            wait_for(is_someone_waiting_for_a_lock)
            transaction.set_rollback(True)

    def issue_then():
        assert changed.wait(PATIENCE_SECONDS)
        return issue()

    assert fresh_database.at_once(change_in_vain, issue_then) == [None, "LG-2020-000001"]
    require_issued_as_rated_now(buyer, 8_000)


def test_a_contract_signed_during_the_close_that_can_not_be_charged_has_its_account_refused(fresh_database):
    issuer, tariff = world.issuer(), world.publish().tariff
    first, second, third = world.buyers(issuer, tariff, 3)
    dollars = world.publish(code="USD", currency="USD").tariff

    def sign_late(done, total):
        if done == 1:
            world.contract(second, dollars, number="C-late")

    closed = world.close(world.may(issuer), progress=sign_late)
    reason = "contract C-late: version 1 of tariff USD is in USD: expected CNY, the issuer's currency"
    assert closed.refused == (invoicing.Refused("B01", reason),)
    assert closed.period.state == "open"
    assert list(Invoice.objects.order_by("number").values_list("account", flat=True)) == [first.pk, third.pk]


def test_reserving_all_the_while_a_period_closes_is_either_billed_or_refused(fresh_database):
    issuer = world.issuer()
    accounts = world.buyers(issuer, world.publish(world.energy(), CAPACITY).tariff, 60, used=1)
    period = world.may(issuer)

    def reserve_everywhere():
        results = []
        for account in reversed(accounts):
            try:
                reserve(account)
                results.append(True)
            except contracts.AlreadyInvoicedError:
                results.append(False)
        return results

    def close():
        return world.close(BillingPeriod.objects.get()).period.state

    reserved, state = fresh_database.at_once(reserve_everywhere, close)
    assert state == "closed"
    for account, is_reserved in zip(reversed(accounts), reserved, strict=True):
        invoice = Invoice.objects.get(account=account)
        assert invoice.net_minor == charging.charges(account=account, period=period).net_minor
        assert (invoice.net_minor >= 15_624_000) == is_reserved
