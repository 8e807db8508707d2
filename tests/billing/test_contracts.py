from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing import contracts, invoicing
from billing.models import Contract, ReservedSpan
from tests.billing import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def tariff():
    return world.publish().tariff


@pytest.fixture
def account():
    return world.account(world.issuer(), "B")


def test_a_contract_signed_again_is_the_one_that_is_there(account, tariff):
    first = world.contract(account, tariff)
    assert world.contract(account, tariff) == first
    with pytest.raises(contracts.ContractDiffersError, match=r"fee_percent is 10\.00, not 11"):
        world.contract(account, tariff, fee_percent=Decimal(11))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fee_percent": Decimal("100.01")}, "fee_percent is 100.01: expected 0 to 100 with at most two decimals"),
        ({"fee_percent": Decimal("0.125")}, "fee_percent is 0.125: expected 0 to 100 with at most two decimals"),
        (
            {"start_at": world.MAY + timedelta(minutes=1)},
            "start_at is 2020-04-30T16:01:00.*edge of the 900-second interval",
        ),
        ({"end_at": world.MAY}, "end_at is 2020-04-30T16:00:00.*: expected later than 2020-04-30T16:00:00"),
        ({"number": "C "}, "number is 'C ': expected some text without spaces around it"),
    ],
)
def test_a_malformed_fact_of_a_contract_is_refused(account, tariff, changes, message):
    with pytest.raises(contracts.InvalidContractError, match=message):
        world.contract(account, tariff, **changes)
    assert not Contract.objects.exists()


def reserve(contract, **changes):
    return contracts.reserve(**({"contract": contract, "quantity": 8, "start_at": world.MAY, "source": "s"} | changes))


def test_a_span_reserved_again_is_the_one_that_is_there(account, tariff):
    contract = world.contract(account, tariff)
    first = reserve(contract)
    assert reserve(contract) == first
    with pytest.raises(contracts.ReservedSpanDiffersError, match="quantity is 8, not 9"):
        reserve(contract, quantity=9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantity": 0}, "quantity is 0: expected at least 1"),
        ({"start_at": world.MAY - timedelta(hours=1)}, "expected a span within contract C-B, from 2020-04-30T16"),
        ({"end_at": None}, "expected a span within contract C-B.* to 2020-05-31T16"),
        ({"end_at": world.JULY}, "expected a span within contract C-B.* to 2020-05-31T16"),
    ],
)
def test_a_span_outside_of_its_contract_is_refused(account, tariff, changes, message):
    contract = world.contract(account, tariff, end_at=world.JUNE)
    with pytest.raises(contracts.InvalidContractError, match=message):
        reserve(contract, **({"end_at": world.JUNE} | changes))
    assert not ReservedSpan.objects.exists()


def test_nothing_new_begins_in_a_closed_period_but_what_is_there_is_told_again(account, tariff):
    contract = world.contract(account, tariff)
    span = reserve(contract)
    world.close(world.may(account.issuer))
    other = world.account(account.issuer, "C", 101)
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is closed for account C"):
        world.contract(other, tariff, start_at=datetime(2020, 5, 31, 15, 45, tzinfo=UTC))
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is invoiced for account B"):
        reserve(contract, source="more")
    assert not Contract.objects.filter(account=other).exists()
    assert (world.contract(account, tariff), reserve(contract)) == (contract, span)
    assert world.contract(other, tariff, start_at=world.JUNE).number == "C-C"


def test_nothing_is_reserved_where_the_account_is_invoiced_though_the_period_is_open(account, tariff):
    contract = world.contract(account, tariff)
    invoicing.issue(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is invoiced for account B"):
        reserve(contract)
    assert reserve(contract, start_at=world.JUNE).start_at == world.JUNE
