"""Bookings of one account at the same time: real threads, real commits."""

import threading
from itertools import pairwise

import pytest
from django.db import transaction

from billing import contracts, invoicing
from billing.models import Account, Contract, ReservedSpan
from tests.billing import world
from tests.billing.bookings import BOOKED, book, hours_of
from tests.billing.waiting import PATIENCE_SECONDS, is_someone_waiting_for_a_lock, wait_for


@pytest.fixture
def version(fresh_database):
    return world.publish()


@pytest.fixture
def account(fresh_database):
    return world.account(world.issuer(), "B")


def test_two_bookings_that_touch_made_at_once_are_on_one_contract(fresh_database, account, version):
    provider = world.provider()
    for day in range(5):
        first = day * 72
        halves = [(first, first + 24), (first + 24, first + 48)]
        made = fresh_database.at_once(
            *(lambda half=half: book(account, version, *half, provider=provider) for half in halves)
        )
        assert made[0] == made[1]
        assert hours_of(made[0]) == (first, first + 48)
    assert list(Contract.objects.order_by("pk").values_list("number", flat=True)) == [f"R-B-{n}" for n in range(1, 6)]


def test_many_bookings_made_and_taken_back_at_once_leave_no_overlap_and_no_gap(fresh_database, account, version):
    provider = world.provider()
    windows = [(first, first + 9) for first in range(0, 96, 6)]

    def work(mine):
        for first, last in mine:
            contract = book(account, version, first, last, provider=provider, source=f"s{first}")
            if first % 4 == 0:
                contracts.withdraw(contract=contract, source=f"s{first}", at=BOOKED, actor="test")
        return len(mine)

    assert fresh_database.at_once(*(lambda n=n: work(windows[n::4]) for n in range(4))) == [4] * 4
    running = Contract.objects.filter(withdrawn_at=None).order_by("start_at")
    edges = [hours_of(each) for each in running]
    assert all(one[1] <= other[0] for one, other in pairwise(edges))
    spans = ReservedSpan.objects.filter(withdrawn_at=None)
    for contract in running:
        mine = spans.filter(contract=contract)
        assert min(each.start_at for each in mine) == contract.start_at
        assert max(each.end_at for each in mine) == contract.end_at
    assert not spans.exclude(contract__in=running).exists()


def test_the_same_booking_told_twice_at_once_is_there_once(fresh_database, account, version):
    provider = world.provider()
    call = lambda: book(account, version, 0, 24, provider=provider)  # noqa: E731
    one, other = fresh_database.at_once(call, call)
    assert one == other
    assert ReservedSpan.objects.count() == 1


def test_who_books_while_the_month_is_issued_waits_and_is_refused(fresh_database, account, version):
    provider = world.provider()
    book(account, version, 0, 24, provider=provider)
    period, issued = world.may(account.issuer), threading.Event()

    def issue():
        with transaction.atomic():
            invoice = invoicing.issue(account=account, period=period, at=world.JUNE, actor="test")
            issued.set()
            wait_for(is_someone_waiting_for_a_lock)
        return invoice.number

    def book_then():
        assert issued.wait(PATIENCE_SECONDS)
        return book(Account.objects.get(), version, 24, 48, provider=provider)

    number, refusal = fresh_database.at_once(issue, book_then)
    assert (number, type(refusal)) == ("LG-2020-000001", contracts.AlreadyInvoicedError)


def test_who_issues_while_something_is_booked_waits_and_bills_it(fresh_database, account):
    version = world.publish({"kind": "capacity", "code": "CP", "price": "1.00", "per": "unit_hour"})
    provider = world.provider()
    book(account, version, 0, 24, provider=provider)
    period, booked = world.may(account.issuer), threading.Event()
    draft = invoicing._ready(account, period, world.JUNE)
    assert draft.net_minor == 8 * 24 * 100

    def book_slowly():
        with transaction.atomic():
            book(account, version, 24, 48, provider=provider)
            booked.set()
            wait_for(is_someone_waiting_for_a_lock)

    def issue_then():
        assert booked.wait(PATIENCE_SECONDS)
        return invoicing.issue(account=account, period=period, at=world.JUNE, actor="test").net_minor

    assert fresh_database.at_once(book_slowly, issue_then) == [None, 8 * 48 * 100]
