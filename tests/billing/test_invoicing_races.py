"""Closing under races and kills: real threads and processes, real commits, real SIGKILL."""

import random
import threading
import time
from datetime import date

import psutil
import pytest
from django.db import transaction
from django.db.models import Sum

from billing import invoicing, ledger, snapshot
from billing.documents.invoice import render_invoice
from billing.models import (
    Account,
    BillingPeriod,
    Contract,
    Invoice,
    InvoiceLine,
    Journal,
    LedgerAccount,
    NumberSeries,
    Posting,
)
from tests.billing import world
from tests.billing.waiting import PATIENCE_SECONDS, is_alone, is_someone_waiting_for_a_lock, wait_for

AT = "2020-06-01T00:00:00+08:00"


def outcome():
    """All that must come out the same, without ids: invoices with their snapshots, the counter, the whole ledger."""
    invoices = list(
        Invoice.objects.order_by("number").values_list("number", "account__code", "sha256", "snapshot", "gross_minor")
    )
    postings = Posting.objects.order_by("journal__key", "id").values_list(
        "journal__key", "ledger_account__name", "ledger_account__account__code", "amount_minor"
    )
    lines = InvoiceLine.objects.count()
    return invoices, list(postings), lines, list(NumberSeries.objects.values_list("series", "last_number"))


def uninterrupted(period):
    """The outcome of a close from beginning to end, which is rolled back."""
    with transaction.atomic():
        invoicing.close_period(period=period, at=world.JUNE, actor="test")
        expected = outcome()
        transaction.set_rollback(True)
    assert not Invoice.objects.exists()
    return expected


def printed(outcome):
    """The first, a middle and the last invoice as PDF in both languages."""
    invoices = outcome[0]
    snapshots = [invoices[place][3] for place in (0, len(invoices) // 2, -1)]
    return [render_invoice(snapshot=each, language=language) for each in snapshots for language in ("zh-hans", "en")]


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_twenty_points_and_run_again_it_gives_what_an_uninterrupted_run_gives(fresh_database, processes):
    """Every second kill comes at any time before the first commit may be; the others while invoices are issued.

    An account that is locked here stops each run before its end, however late a busy machine lets the kill come.
    """
    count, kills = 160, 20 if processes == 1 else 4
    issuer = world.issuer()
    codes = sorted(buyer.code for buyer in world.buyers(issuer, world.publish().tariff, count, used=1))
    period = world.may(issuer)
    expected = uninterrupted(period)
    pdfs = printed(expected)
    chance, issued = random.Random(5), Invoice.objects.filter(state="issued")
    to_first_commit = 60.0
    for kill in range(kills):
        there = issued.count()
        most = there + (count - there) // 12 + 2
        run = fresh_database.start("close_period", "2020-05", "--at", AT, "--processes", processes)
        with run as process, transaction.atomic():
            begun = time.monotonic()
            Account.objects.select_for_update(no_key=True).get(code=codes[most])
            if kill % 2:
                # On a busy machine a later start may be quicker than the one that was timed: no further than a commit.
                killed_at = begun + chance.random() * to_first_commit
                while time.monotonic() < killed_at and issued.count() == there:
                    time.sleep(0.005)
            else:
                wait_for(lambda there=there: issued.count() > there)
                to_first_commit = min(to_first_commit, time.monotonic() - begun)
                goal = there + chance.randrange(1, most - there)
                wait_for(lambda goal=goal: issued.count() >= goal)
                time.sleep(chance.random() / 200)
            process.kill()
        assert process.wait() == -9
        wait_for(is_alone)  # an invoice may be committed after the process that made it is dead
        assert there <= issued.count() <= most
        assert BillingPeriod.objects.get().state == "open"
    finished = fresh_database.manage("close_period", "2020-05", "--at", AT)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert outcome() == expected
    assert printed(outcome()) == pdfs
    assert [invoice[0] for invoice in expected[0]] == [f"LG-2020-{number:06d}" for number in range(1, count + 1)]
    again = fresh_database.manage("close_period", "2020-05", "--at", AT)
    assert (again.returncode, again.stdout) == (0, f"2020-05: 0 invoices issued, {count} there before; closed.\n")
    assert outcome() == expected


def test_the_workers_of_a_killed_close_end_too(fresh_database):
    issuer = world.issuer()
    codes = sorted(buyer.code for buyer in world.buyers(issuer, world.publish().tariff, 60, used=1))
    run = fresh_database.start("close_period", "2020-05", "--at", AT, "--processes", 2)
    with run as process, transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(code=codes[-1])  # it does not end by itself
        parent = psutil.Process(process.pid)
        wait_for(lambda: len(parent.children(recursive=True)) >= 2)
        children = parent.children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert alive == []


def test_two_processes_at_once_issue_each_invoice_once_in_order(fresh_database):
    issuer = world.issuer()
    world.buyers(issuer, world.publish().tariff, 60, used=1)
    expected = uninterrupted(world.may(issuer))
    command = ("close_period", "2020-05", "--at", AT)
    with fresh_database.start(*command) as one, fresh_database.start(*command) as other:
        told = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0)
    assert outcome() == expected
    numbers = sorted(line.split()[0] for text in told for line in text.splitlines() if line.startswith("LG-"))
    assert numbers == [f"LG-2020-{number:06d}" for number in range(1, 61)]


def test_four_threads_at_once_issue_each_invoice_once_in_order(fresh_database):
    issuer = world.issuer()
    world.buyers(issuer, world.publish().tariff, 60, used=1)
    period = world.may(issuer)
    expected = uninterrupted(period)

    def close():
        mine = BillingPeriod.objects.get(pk=period.pk)
        return invoicing.close_period(period=mine, at=world.JUNE, actor="test")

    results = fresh_database.at_once(close, close, close, close)
    assert [result.period.state for result in results] == ["closed"] * 4
    assert sorted(number for result in results for number in result.issued) == [invoice[0] for invoice in expected[0]]
    assert outcome() == expected


def test_numbers_have_no_gap_under_eight_threads_with_three_in_ten_rolled_back(fresh_database):
    issuer = world.issuer()
    accounts = world.buyers(issuer, world.publish().tariff, 120, used=1)
    period = world.may(issuer)
    rolled_back = []

    def work(first):
        chance = random.Random(first)
        for account in accounts[first::8]:
            done = False
            while not done:
                done = chance.random() >= 0.3
                with transaction.atomic():
                    invoicing.issue(account=account, period=period, at=world.JUNE, actor="test")
                    transaction.set_rollback(not done)
                rolled_back.extend([] if done else [account.code])

    assert fresh_database.at_once(*[lambda first=first: work(first) for first in range(8)]) == [None] * 8
    assert len(rolled_back) > 20
    numbers = list(Invoice.objects.order_by("number").values_list("number", flat=True))
    assert numbers == [f"LG-2020-{number:06d}" for number in range(1, 121)]
    assert NumberSeries.objects.get().last_number == 120


@pytest.fixture
def sale(fresh_database):
    """Posts a journal of one fen into May, under a key."""
    issuer = world.issuer()
    period = world.may(issuer)
    kinds = LedgerAccount.Kind
    cash = ledger.account(issuer=issuer, name="cash", kind=kinds.ASSET, currency="CNY")
    sales = ledger.account(issuer=issuer, name="sales", kind=kinds.INCOME, currency="CNY")

    def post(key):
        return ledger.post(
            issuer=issuer,
            key=key,
            period=period,
            effective_date=date(2020, 5, 31),
            source="sale",
            postings=[(cash, 1), (sales, -1)],
            at=world.JUNE,
            actor="test",
        )

    return post


def test_closing_waits_for_one_who_posts(fresh_database, sale):
    posted, order = threading.Event(), []

    def post():
        with transaction.atomic():
            sale("k")
            posted.set()
            wait_for(is_someone_waiting_for_a_lock)
            order.append("posted")

    def close():
        assert posted.wait(PATIENCE_SECONDS)
        closed = world.close(BillingPeriod.objects.get())
        order.append("closed")
        return closed.period.state

    assert fresh_database.at_once(post, close) == [None, "closed"]
    assert (order, Journal.objects.count()) == (["posted", "closed"], 1)


def test_one_who_posts_waits_for_the_closing_and_is_refused(fresh_database, sale):
    closing = threading.Event()

    def close():
        with transaction.atomic():
            world.close(BillingPeriod.objects.get())
            closing.set()
            wait_for(is_someone_waiting_for_a_lock)

    def post():
        assert closing.wait(PATIENCE_SECONDS)
        return sale("k")

    nothing, refusal = fresh_database.at_once(close, post)
    assert (nothing, type(refusal)) == (None, ledger.PeriodClosedError)
    assert not Journal.objects.exists()


def test_a_period_closed_by_a_bare_update_waits_for_one_who_posts_as_well(fresh_database, sale):
    posted, order = threading.Event(), []

    def post():
        with transaction.atomic():
            sale("k")
            posted.set()
            wait_for(is_someone_waiting_for_a_lock)
            order.append("posted")

    def close():
        assert posted.wait(PATIENCE_SECONDS)
        BillingPeriod.objects.update(state="closed", closed_at=world.JUNE)
        order.append("closed")

    assert fresh_database.at_once(post, close) == [None, None]
    assert order == ["posted", "closed"]


def test_of_many_who_post_while_the_period_closes_each_is_either_in_it_or_refused(fresh_database, sale):
    def post(first):
        results = []
        for number in range(20):
            try:
                results.append(sale(f"{first}-{number}").key)
            except ledger.PeriodClosedError:
                results.append("refused")
        return results

    def close():
        wait_for(lambda: Journal.objects.count() >= 20)
        return world.close(BillingPeriod.objects.get()).period.state

    *posted, state = fresh_database.at_once(*[lambda first=first: post(first) for first in range(6)], close)
    keys = sorted(key for results in posted for key in results if key != "refused")
    assert state == "closed"
    assert 20 <= len(keys) < 120
    assert sorted(Journal.objects.values_list("key", flat=True)) == keys


def test_one_key_posted_by_eight_threads_is_one_journal(fresh_database, sale):
    journals = fresh_database.at_once(*[lambda: sale("k")] * 8)
    assert len({journal.pk for journal in journals}) == 1
    assert (Journal.objects.count(), Posting.objects.count()) == (1, 2)


def test_one_ledger_account_opened_by_eight_threads_is_one(fresh_database):
    issuer = world.issuer()

    def open_cash():
        return ledger.account(issuer=issuer, name="cash", kind=LedgerAccount.Kind.ASSET, currency="CNY")

    assert len({account.pk for account in fresh_database.at_once(*[open_cash] * 8)}) == 1


def test_a_line_inserted_while_its_draft_is_issued_waits_and_is_refused(fresh_database):
    (account,) = world.buyers(world.issuer(), world.publish().tariff, 1)
    period = world.may(account.issuer)
    invoicing.draft(account=account, period=period, at=world.JUNE, actor="test")
    line = InvoiceLine.objects.get()
    line.pk, line.position = None, 2
    columns = ("currency", "net_minor", "tax_minor", "gross_minor")
    issued = threading.Event()

    def issue():
        with transaction.atomic():
            NumberSeries.objects.create(issuer=account.issuer, series="2020", last_number=1)
            content = {"number": "LG-2020-000001", **Invoice.objects.values(*columns).get()}
            text = snapshot.canonical(content)
            facts = {"number": content["number"], "snapshot": text, "sha256": snapshot.digest(text)}
            Invoice.objects.update(state="issued", issued_at=world.JUNE, due_date=date(2020, 7, 1), **facts)
            issued.set()
            wait_for(is_someone_waiting_for_a_lock)

    def insert():
        assert issued.wait(PATIENCE_SECONDS)
        line.save(force_insert=True)

    nothing, refusal = fresh_database.at_once(issue, insert)
    assert nothing is None
    assert "invoice LG-2020-000001 is issued: INSERT of its lines refused" in str(refusal)
    assert InvoiceLine.objects.count() == 1


def test_an_account_that_comes_up_while_others_are_issued_is_invoiced_before_the_period_closes(fresh_database):
    issuer, tariff = world.issuer(), world.publish().tariff
    world.buyers(issuer, tariff, 2)
    late = []

    def sign_late(done, total):
        if not late:
            late.append(world.contract(world.account(issuer, "A-late", 500), tariff))

    closed = world.close(world.may(issuer), progress=sign_late)
    assert closed.issued == ("LG-2020-000001", "LG-2020-000002", "LG-2020-000003")
    assert closed.period.state == "closed"
    assert Invoice.objects.get(number="LG-2020-000003").account.code == "A-late"
    assert Contract.objects.count() == 3


@pytest.mark.parametrize("processes", [2, 3])
def test_with_more_processes_the_outcome_is_the_same(fresh_database, processes):
    issuer = world.issuer()
    world.buyers(issuer, world.publish().tariff, 60, used=1)
    expected = uninterrupted(world.may(issuer))
    finished = fresh_database.manage("close_period", "2020-05", "--at", AT, "--processes", processes)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert outcome() == expected
    assert Posting.objects.aggregate(sum=Sum("amount_minor"))["sum"] == 0
