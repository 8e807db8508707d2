"""What was never delivered and is invoiced already: it still ends, and what was invoiced of it is credited."""

import pytest

from billing import invoicing
from billing.models import OneOffCharge
from marketplace import reservations
from tests.billing import world
from tests.marketplace.booking import HOUR, make_market, months, same, taken

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_sale(db):
    return make_market()


def credits_():
    return [(credit.code, credit.amount_minor, credit.at) for credit in OneOffCharge.objects.order_by("id")]


def test_one_that_never_started_is_credited_what_was_invoiced_of_it(on_sale):
    """Six hours of it are in May, in Shanghai: 8 GPUs at 2.00 an hour that they were reserved."""
    other = on_sale.confirmed()
    start_at = world.JUNE - 6 * HOUR
    row = on_sale.confirmed(start_at=start_at, end_at=start_at + 10 * HOUR)
    world.close(invoicing.open_period(issuer=on_sale.issuer, code="2020-05"))
    at = world.JUNE + 3 * HOUR
    assert reservations.cancellation(reservation=row, at=at).why == "late"
    reservations.cancel(reservation=row, at=at, actor="user:1")
    assert same(row).state == "cancelled"
    assert credits_() == [("SERVICE", -9_600, at)]
    assert months(row) == {"2020-05": (0, 0), "2020-06": (0, 0)}
    assert taken(on_sale.pool, start_at) == [0] * 10
    june = invoicing.open_period(issuer=on_sale.issuer, code="2020-06")
    invoice = invoicing.issue(account=other.contract.account, period=june, at=world.JULY, actor="test")
    assert (invoice.net_minor, invoice.tax_minor) == (-9_600, -576)


def test_a_notice_that_is_over_in_an_invoiced_month_keeps_nobody_waiting(on_sale):
    start_at = world.JUNE - 6 * HOUR
    row = on_sale.confirmed(start_at=start_at, end_at=start_at + 72 * HOUR)
    reservations.give_notice(reservation=row, reason="sold", at=world.JUNE - 71 * HOUR, actor="user:9")
    world.close(invoicing.open_period(issuer=on_sale.issuer, code="2020-05"))
    assert reservations.end_noticed(at=world.JUNE + 3 * HOUR) == 1
    assert same(row).state == "released"
    assert credits_() == [("SERVICE", -9_600, world.JUNE + 3 * HOUR)]
