"""What is given back before its time, what that costs, and what is left of it in slots, contracts and months."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing import invoicing
from billing.models import Contract, OneOffCharge
from marketplace import capacity, reservations
from marketplace.models import Reservation
from tests.billing import world
from tests.marketplace.booking import AT, CAPACITY, DAY, HOUR, START, history, make_market, months, same, spans, taken

MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_sale(db):
    return make_market()


def refused(error, call, *, text):
    with pytest.raises(error, match=re.escape(text)) as caught:
        call()
    return caught.value


def cancel(row, at):
    return reservations.cancel(reservation=row, at=at, actor="user:1")


def release(row, end_at, at=AT):
    return reservations.release_hours(reservation=row, end_at=end_at, at=at, actor="user:1")


def fees():
    return [(fee.code, fee.amount_minor, fee.at) for fee in OneOffCharge.objects.order_by("id")]


# What cancelling costs


@pytest.mark.parametrize(
    ("before_start", "percent", "fee_minor"),
    [
        (DAY + HOUR, "0", 0),
        (DAY, "0", 0),
        (DAY - MINUTE, "50", 40_000),
        (timedelta(0), "50", 40_000),
    ],
)
def test_cancelling_costs_by_the_nearness_to_the_start_as_it_was_told_before(on_sale, before_start, percent, fee_minor):
    row = on_sale.confirmed()
    at = START - before_start
    told = reservations.cancellation(reservation=row, at=at)
    assert (told.percent, told.cancelled_minor, told.fee_minor, told.returned_minor, told.why) == (
        Decimal(percent),
        80_000,
        fee_minor,
        80_000 - fee_minor,
        "terms",
    )
    assert same(row).state == "confirmed"
    done = cancel(row, at)
    assert (done.state, done.ended_at, done.end_at) == ("cancelled", at, START + 10 * HOUR)
    assert fees() == ([("CANCEL", fee_minor, at)] if fee_minor else [])
    assert months(row) == {"2020-05": (0, fee_minor)}
    assert taken(on_sale.pool) == [0] * 10
    assert spans() == []
    assert Contract.objects.get().withdrawn_at is not None


def test_nearer_than_the_last_step_or_without_terms_it_costs_all():
    market = make_market(cancellation_terms=[{"hours": 48, "percent": "12.5"}, {"hours": 24, "percent": "33.33"}])
    row = market.confirmed(at=START - 3 * DAY)
    costs = [
        reservations.cancellation(reservation=row, at=START - hours * HOUR).fee_minor for hours in (48, 47, 24, 23, 0)
    ]
    assert costs == [10_000, 26_664, 26_664, 80_000, 80_000]


def test_a_fee_is_rounded_half_up():
    market = make_market(cancellation_terms=[{"hours": 0, "percent": "0.003125"}])
    row = market.confirmed()
    assert reservations.cancellation(reservation=row, at=AT).fee_minor == 3  # 2.5


def test_the_terms_that_were_quoted_hold_whatever_the_offering_says_later(on_sale):
    row = on_sale.confirmed()
    type(on_sale.offering).objects.update(cancellation_terms=[])
    assert reservations.cancellation(reservation=row, at=AT).fee_minor == 0


def test_a_second_click_charges_no_second_fee(on_sale):
    row = on_sale.confirmed()
    cancel(row, START - HOUR)
    before = same(row)
    cancel(row, START)
    assert same(row) == before
    assert fees() == [("CANCEL", 40_000, START - HOUR)]
    assert history(row) == ["held", "confirmed", "cancelled"]
    assert taken(on_sale.pool) == [0] * 10


def test_a_hold_is_let_go_for_nothing(on_sale):
    row = on_sale.held(at=START - HOUR)
    told = reservations.cancellation(reservation=row, at=START - HOUR)
    assert (told.fee_minor, told.why) == (0, "held")
    assert cancel(row, START - HOUR).state == "cancelled"
    assert (fees(), taken(on_sale.pool), months(row)) == ([], [0] * 10, {"2020-05": (0, 0)})


def test_a_running_one_is_cancelled_from_the_next_whole_hour_on(on_sale):
    row = on_sale.active()
    at = START + 3 * HOUR + MINUTE
    told = reservations.cancellation(reservation=row, at=at)
    assert (told.from_at, told.end_at, told.cancelled_minor, told.fee_minor) == (
        START + 4 * HOUR,
        START + 10 * HOUR,
        48_000,
        24_000,
    )
    done = cancel(row, at)
    assert (done.state, done.end_at, done.ended_at) == ("cancelled", START + 4 * HOUR, at)
    assert taken(on_sale.pool) == [8] * 4 + [0] * 6  # the hours that were used stay taken
    assert spans() == [(1, 8, 0, 4)]
    assert Contract.objects.get().end_at == START + 4 * HOUR
    assert months(row) == {"2020-05": (32_000, 24_000)}
    assert (done.net_minor, done.gross_minor) == (80_000, 84_800)  # what was quoted


def test_in_its_last_hour_there_is_nothing_left_to_give_back(on_sale):
    row = on_sale.active()
    done = cancel(row, START + 9 * HOUR + MINUTE)
    assert (done.state, done.end_at, fees()) == ("cancelled", START + 10 * HOUR, [])
    assert (spans(), taken(on_sale.pool)) == ([(1, 8, 0, 10)], [8] * 10)


def test_what_is_cancelled_of_two_months_is_each_months_share(on_sale):
    start_at = datetime(2020, 5, 31, 12, tzinfo=UTC)  # four hours of May, six of June in Shanghai
    row = on_sale.active(start_at=start_at, end_at=start_at + 10 * HOUR)
    done = cancel(row, start_at + 3 * HOUR)
    assert months(row) == {"2020-05": (24_000, 28_000), "2020-06": (0, 0)}
    assert done.end_at == start_at + 3 * HOUR


def test_cancelling_is_free_where_the_provider_is_late(on_sale):
    row = on_sale.confirmed()
    told = reservations.cancellation(reservation=row, at=START + 2 * HOUR)
    assert (told.fee_minor, told.why, told.returned_minor) == (0, "late", 80_000)
    cancel(row, START + 2 * HOUR)
    assert (fees(), spans(), taken(on_sale.pool)) == ([], [], [0] * 10)
    assert months(row) == {"2020-05": (0, 0)}


@pytest.mark.parametrize("state", ["confirmed", "active"])
def test_cancelling_is_free_after_notice(on_sale, state):
    row = on_sale.confirmed() if state == "confirmed" else on_sale.active()
    type(on_sale.pool).objects.update(notice_hours=4)
    reservations.give_notice(reservation=row, reason="power", at=START, actor="user:9")
    told = reservations.cancellation(reservation=row, at=START)
    assert (told.fee_minor, told.why) == (0, "notice")


def test_cancelling_is_free_while_an_incident_of_its_hours_is_open(on_sale):
    row, at = on_sale.confirmed(), START - HOUR
    facts = {"pool": on_sale.pool, "quantity": 8, "cause": "fire", "at": at, "actor": "user:9"}
    over = capacity.open_outage(**facts, start_at=START - 4 * HOUR, end_at=START - 2 * HOUR)
    assert reservations.cancellation(reservation=row, at=at).why == "terms"  # it does not touch these hours
    outage = capacity.open_outage(**facts | {"quantity": 16}, start_at=START - 4 * HOUR)
    assert reservations.cancellation(reservation=row, at=at).why == "incident"
    for incident in (over, outage):
        capacity.close_incident(incident=incident, at=at, actor="user:9")
    assert reservations.cancellation(reservation=row, at=at).why == "terms"


def test_an_outage_of_another_pool_changes_nothing(on_sale):
    row = on_sale.confirmed()
    capacity.open_outage(pool=on_sale.other.pool, quantity=8, start_at=START, cause="fire", at=START, actor="user:9")
    assert reservations.cancellation(reservation=row, at=START).why == "terms"


def test_a_fee_in_a_month_that_is_closed_is_charged_in_the_next(on_sale):
    start_at = world.JUNE + 19 * HOUR
    row = on_sale.confirmed(start_at=start_at, end_at=start_at + 10 * HOUR)
    period = invoicing.open_period(issuer=on_sale.issuer, code="2020-05")
    world.close(period)
    at = start_at - 20 * HOUR  # still May in Shanghai, and nearer than a day
    assert at < world.JUNE
    cancel(row, at)
    assert fees() == [("CANCEL", 40_000, world.JUNE)]
    assert months(row) == {"2020-06": (0, 40_000)}


# Released hours


def test_released_hours_go_back_and_the_rest_goes_on(on_sale):
    row = on_sale.confirmed()
    told = reservations.release_cost(reservation=row, end_at=START + 6 * HOUR, at=AT)
    assert (told.cancelled_minor, told.fee_minor) == (32_000, 0)
    done = release(row, START + 6 * HOUR)
    assert (done.state, done.end_at) == ("confirmed", START + 6 * HOUR)
    assert taken(on_sale.pool) == [8] * 6 + [0] * 4
    assert spans() == [(1, 8, 0, 6)]
    assert months(row) == {"2020-05": (48_000, 0)}
    assert history(row)[-1] == "released"
    assert row.changes.last().facts == {
        "from_at": "2020-05-12T06:00:00+00:00",
        "end_at": "2020-05-12T10:00:00+00:00",
        "percent": "0",
        "cancelled_minor": 32_000,
        "fee_minor": 0,
        "why": "terms",
        "from_end_at": "2020-05-12T10:00:00+00:00",
    }


def test_released_again_to_the_same_end_nothing_changes(on_sale):
    row = on_sale.confirmed()
    release(row, START + 6 * HOUR, START - HOUR)
    before = same(row)
    release(row, START + 6 * HOUR, START)
    assert same(row) == before
    assert fees() == [("CANCEL", 16_000, START - HOUR)]


def test_the_fee_of_released_hours_is_by_the_nearness_of_their_own_start(on_sale):
    row = on_sale.active(end_at=START + 72 * HOUR)  # 5,760.00 CNY
    at = START + 10 * HOUR
    far = release(row, START + 34 * HOUR, at)  # a day ahead: free
    assert (far.end_at, fees()) == (START + 34 * HOUR, [])
    release(row, START + 30 * HOUR, at)  # four hours at 50 %
    release(row, START + 29 * HOUR, at)
    assert [fee[:2] for fee in fees()] == [("CANCEL", 16_000), ("CANCEL", 4_000)]
    assert months(row) == {"2020-05": (29 * 8000, 20_000)}


def test_giving_back_step_by_step_leaves_the_same_price_as_at_once():
    market = make_market()
    start_at = datetime(2020, 5, 31, 9, tzinfo=UTC)  # seven hours of May
    wish = {"start_at": start_at, "end_at": start_at + 13 * HOUR, "quantity": 7}
    one, other = market.confirmed(**wish), market.confirmed(**wish)
    for end in (12, 9, 8, 5, 4, 3):
        release(one, start_at + end * HOUR)
    release(other, start_at + 3 * HOUR)
    assert months(one) == months(other) == {"2020-05": (21_000, 0), "2020-06": (0, 0)}


def test_all_of_one_that_has_not_begun_can_be_released(on_sale):
    row = on_sale.confirmed()
    done = release(row, START)
    assert (done.state, taken(on_sale.pool), spans()) == ("released", [0] * 10, [])
    assert release(row, START).state == "released"
    assert history(row) == ["held", "confirmed", "released"]


@pytest.mark.parametrize(
    ("end_at", "at", "expected"),
    [
        (START + HOUR, AT, "a whole hour from 2020-05-12T02:00:00+00:00 to before 2020-05-12T10:00:00+00:00, or"),
        (START + 11 * HOUR, AT, "a whole hour from 2020-05-12T02:00:00+00:00 to before 2020-05-12T10:00:00+00:00, or"),
        (START + 5 * HOUR + MINUTE, AT, "a whole hour in UTC"),
        (START + 4 * HOUR, START + 4 * HOUR + MINUTE, "a whole hour from 2020-05-12T05:00:00+00:00 to before"),
        (START, START + MINUTE, "a whole hour from 2020-05-12T02:00:00+00:00 to before 2020-05-12T10:00:00+00:00"),
    ],
)
def test_an_end_that_is_over_or_leaves_less_than_the_least_hours_is_refused(on_sale, end_at, at, expected):
    row = on_sale.confirmed()
    error = refused(
        reservations.OutsideTermsError,
        lambda: release(row, end_at, at),
        text=f"end_at is {end_at.isoformat()}: expected {expected}",
    )
    assert error.field == "end_at"
    assert same(row).end_at == START + 10 * HOUR


# The provider's fault, and its notice


def test_one_that_fails_before_it_runs_costs_nothing(on_sale):
    row = on_sale.confirmed()
    done = reservations.fail(reservation=row, reason="no power", at=START + 2 * HOUR, actor="user:9")
    assert (done.state, done.ended_at, done.end_at) == ("failed", START + 2 * HOUR, START + 10 * HOUR)
    assert (taken(on_sale.pool), spans(), months(row)) == ([0] * 10, [], {"2020-05": (0, 0)})
    again = reservations.fail(reservation=row, reason="again", at=START + 3 * HOUR, actor="user:9")
    assert again.ended_at == START + 2 * HOUR
    assert history(row) == ["held", "confirmed", "failed"]


def test_a_running_one_that_fails_is_paid_up_to_the_quarter_in_which_it_did(on_sale):
    row = on_sale.active()
    at = START + 3 * HOUR + 44 * MINUTE
    done = reservations.fail(reservation=row, reason="fire", at=at, actor="user:9")
    assert (done.state, done.end_at) == ("failed", START + 4 * HOUR)
    assert spans() == [(1, 8, 0, 3.5)]
    assert taken(on_sale.pool) == [8] * 4 + [0] * 6
    assert months(row) == {"2020-05": (28_000, 0)}
    assert row.changes.last().facts == {
        "reason": "fire",
        "paid_until": "2020-05-12T03:30:00+00:00",
        "from_end_at": "2020-05-12T10:00:00+00:00",
    }
    assert fees() == []


def test_one_that_fails_in_its_first_quarter_costs_nothing(on_sale):
    row = on_sale.active()
    done = reservations.fail(reservation=row, reason="fire", at=START + 14 * MINUTE, actor="user:9")
    assert (done.end_at, spans(), months(row)) == (START + HOUR, [], {"2020-05": (0, 0)})
    assert taken(on_sale.pool) == [8] + [0] * 9


def test_after_notice_the_capacity_goes_back_when_its_hours_are_over_and_not_before(on_sale):
    row = on_sale.active(end_at=START + 72 * HOUR)
    type(on_sale.pool).objects.update(notice_hours=24)
    at = START + 5 * HOUR + MINUTE
    noticed = reservations.give_notice(reservation=row, reason="sold", at=at, actor="user:9")
    assert (noticed.state, noticed.notice_ends_at) == ("active", START + 30 * HOUR)
    again = reservations.give_notice(reservation=row, reason="sold", at=at + DAY, actor="user:9")
    assert again.notice_ends_at == START + 30 * HOUR
    assert reservations.end_noticed(at=START + 30 * HOUR - MINUTE) == 0
    late = START + 30 * HOUR + 20 * MINUTE
    assert reservations.end_noticed(at=late) == 1
    assert reservations.end_noticed(at=late) == 0
    fresh = same(row)
    assert (fresh.state, fresh.end_at, fresh.ended_at) == ("released", START + 30 * HOUR, late)
    assert spans() == [(1, 8, 0, 30)]
    assert taken(on_sale.pool, START, 32) == [8] * 30 + [0] * 2
    assert (fees(), months(row)) == ([], {"2020-05": (30 * 8000, 0)})
    assert history(row) == ["held", "confirmed", "started", "notice", "released"]
    facts = row.changes.get(kind="notice").facts
    assert facts == {"reason": "sold", "ends_at": "2020-05-13T06:00:00+00:00"}


def test_a_notice_that_is_over_before_the_start_takes_it_back_as_a_whole(on_sale):
    row = on_sale.confirmed(at=START - 4 * DAY)
    reservations.give_notice(reservation=row, reason="sold", at=START - 4 * DAY, actor="user:9")
    assert reservations.end_noticed(at=START - DAY) == 1
    assert (same(row).state, spans(), taken(on_sale.pool)) == ("released", [], [0] * 10)


def test_a_notice_that_would_be_over_after_the_end_is_refused(on_sale):
    row = on_sale.confirmed()
    refused(
        reservations.NoticeTooLateError,
        lambda: reservations.give_notice(reservation=row, reason="sold", at=START - HOUR, actor="user:9"),
        text="a notice of 72 hours is over at 2020-05-14T23:00:00+00:00: expected one that ends later",
    )


# More hours


def extension(row, hours, at=AT):
    return reservations.extension_quote(reservation=row, end_at=START + hours * HOUR, at=at, actor="user:1")


def extend(quote, at=AT):
    return reservations.extend(quote=quote, at=at, actor="user:1")


def test_an_extension_takes_the_hours_after_it_at_the_quoted_version(on_sale):
    row = on_sale.active()
    world.publish(CAPACITY, world.energy("99.00"), effective=["2020-05-13", None])
    quote = extension(row, 40, START + HOUR)  # into the 13th
    assert (quote.tariff_version, quote.extends, quote.start_at, quote.terms) == (
        on_sale.version,
        row,
        START + 10 * HOUR,
        row.quote.terms,
    )
    assert quote.net_minor == 240_000
    done = extend(quote, START + HOUR)
    assert (done.state, done.end_at, done.net_minor, done.gross_minor) == (
        "active",
        START + 40 * HOUR,
        320_000,
        339_200,
    )
    assert taken(on_sale.pool, START, 42) == [8] * 40 + [0] * 2
    assert spans() == [(1, 8, 0, 10), (2, 8, 10, 40)]
    contract = Contract.objects.get()
    assert (contract.start_at, contract.end_at) == (START, START + 40 * HOUR)
    assert months(row) == {"2020-05": (320_000, 0)}


def test_the_same_extension_again_changes_nothing_also_after_its_hours_were_released(on_sale):
    row = on_sale.confirmed()
    quote = extension(row, 20)
    extend(quote)
    before = same(row)
    extend(quote)
    assert same(row) == before
    release(row, START + 10 * HOUR)
    assert extend(quote).end_at == START + 10 * HOUR
    assert history(row) == ["held", "confirmed", "extended", "released"]
    assert spans() == [(1, 8, 0, 10)]
    assert months(row) == {"2020-05": (80_000, 0)}


def test_released_extended_and_cancelled_in_any_order_slots_spans_and_months_agree(on_sale):
    row = on_sale.confirmed()
    extend(extension(row, 20))
    release(row, START + 14 * HOUR)
    extend(extension(row, 30))
    assert spans() == [(1, 8, 0, 10), (2, 8, 10, 14), (2, 8, 14, 30)]
    assert months(row) == {"2020-05": (240_000, 0)}
    release(row, START + 6 * HOUR)
    extend(extension(row, 12))
    assert spans() == [(1, 8, 0, 6), (2, 8, 6, 12)]
    assert months(row) == {"2020-05": (96_000, 0)}
    assert taken(on_sale.pool, START, 14) == [8] * 12 + [0] * 2
    cancel(row, AT)
    assert (spans(), months(row), taken(on_sale.pool)) == ([], {"2020-05": (0, 0)}, [0] * 10)


def test_an_extension_that_is_not_free_leaves_all_as_it_was(on_sale):
    row = on_sale.confirmed()
    on_sale.held(quantity=60, start_at=START + 12 * HOUR, end_at=START + 20 * HOUR)
    quote = extension(row, 20)
    before = same(row)
    refused(capacity.NotFreeError, lambda: extend(quote), text="8 GPUs of pool north pool are not free")
    assert same(row) == before
    assert (months(row), spans()) == ({"2020-05": (80_000, 0)}, [(1, 8, 0, 10)])


@pytest.mark.parametrize(
    ("hours", "at", "text"),
    [
        (10, AT, "end_at is 2020-05-12T10:00:00+00:00: expected later than 2020-05-12T10:00:00+00:00"),
        (73, AT, "hours is 73: expected 1 to 72"),
        (12, START + 11 * HOUR, "expected later than 2020-05-12T11:00:00+00:00"),
    ],
)
def test_an_extension_is_within_the_terms(on_sale, hours, at, text):
    row = on_sale.confirmed()
    refused(reservations.OutsideTermsError, lambda: extension(row, hours, at), text=text)


def test_what_is_held_or_noticed_or_ended_is_not_extended(on_sale):
    held = on_sale.held()
    refused(
        reservations.WrongStateError, lambda: extension(held, 20), text="state is held: expected confirmed or active"
    )
    row = on_sale.active()
    quote = extension(row, 20)
    type(on_sale.pool).objects.update(notice_hours=2)
    reservations.give_notice(reservation=row, reason="sold", at=START, actor="user:9")
    refused(reservations.NoticeGivenError, lambda: extension(row, 20), text="takes the capacity back at 2020-05-12T02")
    refused(reservations.NoticeGivenError, lambda: extend(quote), text="takes the capacity back")
    cancel(row, START)
    refused(reservations.WrongStateError, lambda: extend(quote), text="state is cancelled")


def test_an_extension_is_refused_when_its_quote_is_over_or_the_end_has_moved(on_sale):
    row = on_sale.confirmed()
    quote, other = extension(row, 20), extension(row, 15)
    refused(reservations.QuoteExpiredError, lambda: extend(quote, quote.expires_at), text="ask for a new one")
    extend(other)
    refused(
        reservations.EndMovedError,
        lambda: extend(quote),
        text="its hours begin at 2020-05-12T10:00:00+00:00: expected 2020-05-12T15:00:00+00:00",
    )
    refused(
        reservations.NotAnExtensionError, lambda: extend(on_sale.quote()), text="it extends no reservation: hold it"
    )


def test_two_buyers_have_accounts_and_contracts_of_their_own(on_sale):
    sun, moon = on_sale.confirmed(), on_sale.confirmed(organization=on_sale.moon)
    assert sun.contract.account.party == on_sale.sun.party
    assert moon.contract.account.party == on_sale.moon.party
    cancel(sun, AT)
    assert same(moon).state == "confirmed"
    assert spans(moon.contract) == [(1, 8, 0, 10)]
    assert spans(sun.contract) == []
    assert taken(on_sale.pool) == [8] * 10
    assert Reservation.objects.in_slots().count() == 1
