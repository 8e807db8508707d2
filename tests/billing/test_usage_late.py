"""Usage that comes after the invoice of its period: it is in its reading, on no invoice, and it can be found."""

from datetime import timedelta

import pytest

from billing import adjustments, invoicing
from billing.models import Reading, UsageEvent
from billing.usage import Event, record, rematch
from tests.billing import world
from tests.billing.usage_world import meter

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
AFTER = world.JUNE + timedelta(hours=1)


@pytest.fixture
def account():
    (account,) = world.buyers(world.issuer(), world.publish().tariff, 1)
    return account


def send(account, event_id, time, at, *, seconds=60, subject=None):
    contract = account.contracts.get()
    data = {"value": "8", "duration_seconds": seconds}
    event = Event(event_id, "s", "gpu.sample", subject or contract.number, time, data)
    return [result.outcome for result in record(owner=contract.provider, events=[event], at=at).results]


def late():
    return sorted(UsageEvent.objects.recorded_after_invoice().values_list("event_id", flat=True))


def issue(account):
    return invoicing.issue(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")


def test_usage_after_the_invoice_of_its_period_is_counted_not_billed_and_found(account):
    send(account, "before", world.MAY, world.JUNE - SECOND)
    send(account, "at once", world.MAY, world.JUNE)
    invoice = issue(account)
    assert late() == []
    assert send(account, "after", world.MAY, AFTER) == ["counted"]
    reading = Reading.objects.get(contract=account.contracts.get(), start_at=world.MAY)
    assert reading.quantity == 3600 + 3 * 480
    assert issue(account) == invoice
    assert late() == ["after"]


def test_only_usage_of_the_invoiced_time_is_late(account):
    issue(account)
    send(account, "last second", world.JUNE - SECOND, AFTER, seconds=1)
    send(account, "next period", world.JUNE, AFTER)
    assert late() == ["last second"]


def test_a_sample_that_reaches_into_the_invoiced_time_is_late(account):
    early = world.account(account.issuer, "E", 300)
    world.contract(early, account.contracts.get().tariff, start_at=world.MAY - timedelta(days=1))
    issue(early)
    send(early, "to the edge", world.MAY - 60 * SECOND, AFTER, seconds=60)
    send(early, "over the edge", world.MAY - 60 * SECOND, AFTER, seconds=61)
    assert late() == ["over the edge"]


def test_usage_of_a_period_that_is_not_invoiced_for_its_account_is_not_late(account):
    other = world.account(account.issuer, "O", 300)
    world.contract(other, account.contracts.get().tariff)
    issue(other)
    invoicing.draft(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")
    send(account, "of a draft", world.MAY, AFTER)
    assert send(other, "unmatched", world.MAY, AFTER, subject="C-?") == ["unmatched"]
    assert late() == []


def test_of_what_was_corrected_the_amendment_in_force_is_late_and_nothing_else(account):
    issue(account)
    contract = account.contracts.get()
    for name in ("amended", "retracted", "whole"):
        send(account, name, world.MAY, AFTER)
    data = {"value": "4", "duration_seconds": 60}
    amends = Event("amendment", "s", "gpu.sample", contract.number, world.MAY, data, amends="amended")
    retracts = Event("retraction", "s", "", "", None, {}, retracts="retracted")
    record(owner=contract.provider, events=[amends, retracts], at=AFTER)
    assert late() == ["amendment", "whole"]
    again = Event("amended again", "s", "gpu.sample", contract.number, world.MAY, data, amends="amendment")
    record(owner=contract.provider, events=[again], at=AFTER)
    assert late() == ["amended again", "whole"]


def test_an_amendment_after_the_invoice_of_an_event_before_it_is_late_and_its_retraction_is_not(account):
    for name in ("amended", "retracted"):
        send(account, name, world.MAY, world.JUNE - SECOND)
    issue(account)
    contract = account.contracts.get()
    data = {"value": "9", "duration_seconds": 60}
    amends = Event("amendment", "s", "gpu.sample", contract.number, world.MAY, data, amends="amended")
    retracts = Event("retraction", "s", "", "", None, {}, retracts="retracted")
    record(owner=contract.provider, events=[amends, retracts], at=AFTER)
    assert late() == ["amendment"]


def test_an_event_before_the_invoice_that_is_matched_after_it_is_late_and_its_invoice_is_compared(account):
    contract = account.contracts.get()
    data = {"value": "8", "duration_seconds": 60}
    event = Event("matched late", "s", "disk.sample", contract.number, world.MAY, data)
    [result] = record(owner=contract.provider, events=[event], at=world.JUNE - SECOND).results
    assert result.outcome == "unmatched"
    invoice = issue(account)
    assert (late(), adjustments.suspects(since=world.JUNE)) == ([], [])
    meter("disk", "disk.sample")
    assert rematch(at=AFTER) == (1, 0)
    stored = UsageEvent.objects.get(event_id="matched late")
    assert (stored.recorded_at, stored.matched_at) == (world.JUNE - SECOND, AFTER)
    assert late() == ["matched late"]
    assert adjustments.suspects(since=world.JUNE) == [invoice.pk]
    assert adjustments.suspects(since=AFTER) == []
    assert adjustments.find(invoice=invoice, at=AFTER, actor="test") is None  # no charge is of that meter
