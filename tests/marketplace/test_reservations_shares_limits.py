"""What limits a promise of programmes to what the month's invoice would pay: quantities taken back, groups, empty months."""

from decimal import Decimal

import pytest

from billing import programmes
from marketplace import reservations
from marketplace.reservations import shares
from tests.marketplace.booking import AT, HOUR, START, make_market
from tests.marketplace.granting import JUNE, open_ones, programme
from tests.marketplace.test_reservations_shares import told


@pytest.fixture
def on_sale(db):
    return make_market()


def test_an_amount_per_unit_is_promised_of_the_hours_that_come_on_top_alone(on_sale):
    # 1.00 a GPU-hour. The 15 hours are one line with the 10 that are booked: 120.00 less 80.00.
    programme(on_sale, percent=None, unit_amount=Decimal("1.00"), unit="gpu_hour", charges=["EN"])
    row = on_sale.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 15 * HOUR, at=AT, actor="user:1")
    assert told(quote) == [("sme-30", "2020-05", 4_000, "")]
    other = on_sale.quote(start_at=START + 20 * HOUR, end_at=START + 22 * HOUR)
    assert told(other) == [("sme-30", "2020-05", 1_600, "")]


def test_where_one_of_a_group_has_promised_of_the_month_no_other_promises(on_sale):
    """The month's invoice has one of a group alone: it would not pay what the other promised."""
    group = {"stacking_group": "city"}
    first = programme(on_sale, "first", priority=1, budget_minor=30_000, **group)
    programme(on_sale, "second", priority=2, percent=Decimal(50), **group)
    on_sale.held()
    wish = {"start_at": START + 20 * HOUR, "end_at": START + 30 * HOUR}
    assert told(on_sale.quote(**wish)) == [("first", "2020-05", 6_000, "budget")]
    programmes.pause(programme=first, reason="no more", at=AT, actor="test")  # it pays what is committed still
    assert told(on_sale.quote(**wish)) == []
    june = {"start_at": JUNE, "end_at": JUNE + 10 * HOUR}
    assert told(on_sale.quote(**june)) == [("second", "2020-06", 40_000, "")]
    on_sale.held(**june)
    assert told(on_sale.quote(start_at=JUNE + 20 * HOUR, end_at=JUNE + 30 * HOUR)) == [
        ("second", "2020-06", 40_000, "")
    ]


def test_what_is_given_back_of_a_month_in_which_nothing_was_charged_is_nothing(on_sale):
    """Where the month's charges are there already, such as standing ones, more hours have no part of it."""
    programme(on_sale)
    quote = on_sale.held().quote
    june = quote.shares[0] | {"month": "2020-06", "eligible_minor": 0, "wanted_minor": 0, "share_minor": 0}
    quote.shares = [*quote.shares, june]
    source = f"reservation:{quote.reservation.pk}"
    shares.keep([(quote, source, {"2020-05": 40_000, "2020-06": 0})], at=AT, actor="test")
    assert open_ones() == [("2020-05", 12_000, "1")]
