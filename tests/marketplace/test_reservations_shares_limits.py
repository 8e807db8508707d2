"""What limits a promise of programmes to what the month's invoice would pay: quantities taken back, groups, empty months."""

from datetime import date
from decimal import Decimal

import pytest

from billing import programmes
from billing.models import Programme, ProgrammeShare
from marketplace import reservations
from marketplace.reservations import shares
from tests.billing import programmes_world
from tests.marketplace.booking import AT, HOUR, START, make_market
from tests.marketplace.granting import JUNE, open_ones, programme
from tests.marketplace.test_reservations_shares import after_month, told


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


def of_one_group(market):
    """Two quotes of one group's programmes, made before anything is held: 30 % of the first, 50 % of the second of 800.00."""
    group = {"stacking_group": "city"}
    first = programme(market, "first", priority=1, **group)
    second = programme(market, "second", priority=2, percent=Decimal(50), **group)
    programmes.pause(programme=first, reason="for a day", at=AT, actor="test")
    of_second = market.quote(start_at=START + 20 * HOUR, end_at=START + 30 * HOUR)
    programmes.open_(programme=first, at=AT, actor="test")
    of_first = market.quote()
    assert told(of_second) == [("second", "2020-05", 40_000, "")]
    assert told(of_first) == [("first", "2020-05", 24_000, ""), ("second", "2020-05", 0, "stacking")]
    return {"first": (first, of_first), "second": (second, of_second)}


@pytest.mark.parametrize(("one", "other", "left_minor"), [("first", "second", 24_000), ("second", "first", 40_000)])
def test_of_two_quotes_of_one_group_only_the_one_that_is_held_first_commits(on_sale, one, other, left_minor):
    """The other is refused with what the one that has promised would pay of it, and a new quote has that."""
    made = of_one_group(on_sale)
    reservations.hold(quote=made[one][1], at=AT, actor="user:1")
    with pytest.raises(shares.ShareChangedError) as refused:
        reservations.hold(quote=made[other][1], at=AT, actor="user:1")
    assert (refused.value.left_minor, refused.value.payable_minor) == (left_minor, 84_800 - left_minor)
    assert programmes_world.counts(made[other][0])[1] == 0
    again = made[other][1]
    quote = on_sale.quote(start_at=again.start_at, end_at=again.end_at)
    assert told(quote) == [(one, "2020-05", left_minor, "")]
    reservations.hold(quote=quote, at=AT, actor="user:1")
    assert [programmes_world.counts(made[name][0])[1] for name in (one, other)] == [2 * left_minor, 0]
    programmes_world.check_ties()


def test_the_invoice_is_paid_by_the_one_of_the_group_that_has_promised(on_sale):
    """The second, though the first goes before it and has all of its budget left."""
    made = of_one_group(on_sale)
    row = reservations.confirm(
        reservation=reservations.hold(quote=made["second"][1], at=AT, actor="user:1"), at=AT, actor="user:1"
    )
    reservations.start(reservation=row, at=row.start_at, actor="task")
    after_month(on_sale)
    paid = {share.programme.code: (share.share_minor, share.limited_by) for share in ProgrammeShare.objects.all()}
    assert paid == {"first": (0, "stacking"), "second": (8_000, "")}
    assert [programmes_world.counts(made[name][0])[1:] for name in made] == [(0, 0), (0, 8_000)]
    programmes_world.check_ties()


def within(market, first, last):
    """30 % for use from the one day of May to the other, both included; START is 8 o'clock on 12 May."""
    made = programme(market, to=())
    granted = programmes.apply(programme=made, party=market.sun.party, at=AT, actor="test")
    days = {"from_date": date(2020, 5, first), "until_date": date(2020, 5, last)}
    programmes.approve(grant=granted, **days, at=AT, actor="staff")
    return made


def test_of_a_window_within_a_month_what_lies_in_it_is_promised_and_paid(on_sale):
    within(on_sale, 12, 12)
    row = on_sale.confirmed()
    assert told(row.quote) == [("sme-30", "2020-05", 24_000, "")]
    reservations.start(reservation=row, at=START, actor="task")
    after_month(on_sale)  # of 160.00 for what is reserved
    assert ProgrammeShare.objects.get().share_minor == 4_800


@pytest.mark.parametrize(("first", "last"), [(13, 31), (1, 11)])
def test_of_what_lies_outside_of_the_window_nothing_is_promised_and_it_says_why(on_sale, first, last):
    within(on_sale, first, last)
    assert told(on_sale.quote()) == [("sme-30", "2020-05", 0, "window")]


def test_hours_beyond_the_window_take_the_promise_of_those_next_to_them_and_the_quote_says_so(on_sale):
    """From 8 o'clock on 12 May to 4 o'clock on the 13th is one line, and the grant ends with the 12th: none of it is paid."""
    within(on_sale, 1, 12)
    row = on_sale.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 20 * HOUR, at=AT, actor="user:1")
    assert told(quote) == [("sme-30", "2020-05", 0, "window")]
    assert (quote.shares[0]["lost_minor"], quote.subsidy_minor) == (24_000, 0)
    day = reservations.extension_quote(reservation=row, end_at=START + 16 * HOUR, at=AT, actor="user:1")
    assert told(day) == [("sme-30", "2020-05", 14_400, "")]
    assert "lost_minor" not in day.shares[0]
    reservations.extend(quote=quote, at=AT, actor="user:1")
    reservations.start(reservation=row, at=START, actor="task")
    after_month(on_sale)
    assert ProgrammeShare.objects.get().share_minor == 0
    assert programmes_world.counts(Programme.objects.get())[1:] == (0, 0)
    programmes_world.check_ties()


def test_hours_in_the_window_that_touch_others_before_it_are_not_promised_and_with_a_gap_they_are(on_sale):
    within(on_sale, 13, 31)
    on_sale.confirmed(end_at=START + 16 * HOUR)  # to midnight
    touching = on_sale.quote(start_at=START + 16 * HOUR, end_at=START + 26 * HOUR)
    assert told(touching) == [("sme-30", "2020-05", 0, "window")]
    assert "lost_minor" not in touching.shares[0]
    apart = on_sale.quote(start_at=START + 17 * HOUR, end_at=START + 27 * HOUR)
    assert told(apart) == [("sme-30", "2020-05", 24_000, "")]


def test_what_is_given_back_of_a_month_in_which_nothing_was_charged_is_nothing(on_sale):
    """Where the month's charges are there already, such as standing ones, more hours have no part of it."""
    programme(on_sale)
    quote = on_sale.held().quote
    june = quote.shares[0] | {"month": "2020-06", "eligible_minor": 0, "wanted_minor": 0, "share_minor": 0}
    quote.shares = [*quote.shares, june]
    source = f"reservation:{quote.reservation.pk}"
    shares.keep([(quote, source, {"2020-05": 40_000, "2020-06": 0})], at=AT, actor="test")
    assert open_ones() == [("2020-05", 12_000, "1")]
