"""Programmes' shares of reservations: promised at the quote, taken with the hold, given back with the hours."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import commitments, invoicing, parties, programmes
from billing.models import Account, Commitment, Invoice, PartyFact, ProgrammeShare
from marketplace import reservations
from marketplace.models import Quote, Reservation, WaitlistEntry
from tests.billing import programmes_world, world
from tests.marketplace.booking import AT, HOUR, START, make_market, taken
from tests.marketplace.granting import JUNE, open_ones, programme

EXPIRES = JUNE + timedelta(days=60)


@pytest.fixture
def on_sale(db):
    return make_market()


def told(quote: Quote) -> list[tuple]:
    return [(each["programme"], each["month"], each["share_minor"], each["limited_by"]) for each in quote.shares]


def after_month(market, code="2020-05"):
    """Its invoices are issued."""
    period = invoicing.open_period(issuer=market.issuer, code=code)
    invoicing.close_period(period=period, at=period.end_at + timedelta(days=3), actor="test")


# Quotes


def test_a_quote_freezes_what_a_programme_promises_of_its_net(on_sale):
    made = programme(on_sale)
    quote = on_sale.quote()  # 800.00 net, 48.00 tax; 30 % of 800.00
    assert (quote.net_minor, quote.tax_minor, quote.gross_minor) == (80_000, 4_800, 84_800)
    assert (quote.subsidy_minor, quote.reimbursed_minor, quote.payable_minor) == (24_000, 0, 60_800)
    assert quote.shares == [
        {
            "grant": made.grants.get().pk,
            "programme": "sme-30",
            "name": "sme-30",
            "name_en": "",
            "mode": "voucher",
            "reduces_tax": False,
            "month": "2020-05",
            "eligible_minor": 80_000,
            "wanted_minor": 24_000,
            "share_minor": 24_000,
            "limited_by": "",
        }
    ]
    assert programmes_world.counts(made) == (programmes_world.PLENTY, 0, 0)  # a promise takes nothing


@pytest.mark.parametrize(
    ("terms", "share", "why"),
    [
        ({"cap_firm_month_minor": 10_000}, 10_000, "firm_cap"),
        ({"cap_firm_year_minor": 10_001}, 10_001, "firm_cap"),
        ({"cap_invoice_minor": 9_000}, 9_000, "invoice_cap"),
        ({"budget_minor": 8_000}, 8_000, "budget"),
        ({"cap_invoice_minor": 9_000, "cap_firm_month_minor": 8_500, "budget_minor": 8_600}, 8_500, "firm_cap"),
        ({"charges": ["CP"]}, 4_800, ""),  # 30 % of 160.00 for capacity alone
        ({"percent": None, "unit_amount": Decimal("2.50"), "unit": "gpu_hour", "charges": ["EN"]}, 20_000, ""),
    ],
)
def test_a_promise_is_the_least_and_says_what_limits_it(on_sale, terms, share, why):
    programme(on_sale, **terms)
    quote = on_sale.quote()
    assert told(quote) == [("sme-30", "2020-05", share, why)]
    assert quote.payable_minor == 84_800 - share


def test_a_reimbursement_is_promised_and_the_buyer_pays_all(on_sale):
    programme(on_sale, mode="reimbursement")
    quote = on_sale.quote()
    assert (quote.subsidy_minor, quote.reimbursed_minor, quote.payable_minor) == (0, 24_000, 84_800)
    reservations.hold(quote=quote, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 24_000, "")]


def test_where_the_share_lowers_the_price_the_tax_is_on_the_rest(on_sale):
    programme(on_sale, vat_treatment="price_reduction")
    quote = on_sale.quote()  # 6 % of 560.00
    assert (quote.tax_minor, quote.gross_minor, quote.payable_minor) == (3_360, 83_360, 59_360)


def test_months_are_promised_in_order_and_a_year_cap_counts_over_them(on_sale):
    programme(on_sale, cap_firm_year_minor=20_000)
    # 8 GPUs from 5 hours before June in Shanghai: 400.00 in May, 400.00 in June.
    quote = on_sale.quote(start_at=JUNE - 5 * HOUR, end_at=JUNE + 5 * HOUR)
    assert told(quote) == [("sme-30", "2020-05", 12_000, ""), ("sme-30", "2020-06", 8_000, "firm_cap")]


def test_programmes_stack_by_priority_each_on_what_the_other_leaves(on_sale):
    programme(on_sale, "first", priority=1)
    programme(on_sale, "second", priority=2, percent=Decimal(50))
    quote = on_sale.quote()  # 240.00 of 800.00; half of the 560.00 left
    assert told(quote) == [("first", "2020-05", 24_000, ""), ("second", "2020-05", 28_000, "")]
    reservations.hold(quote=quote, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 24_000, ""), ("2020-05", 28_000, "")]


def test_only_one_of_a_group_promises_and_only_its_budget_is_taken(on_sale):
    group = {"stacking_group": "city"}
    programme(on_sale, "first", priority=1, **group)
    programme(on_sale, "second", priority=2, percent=Decimal(50), **group)
    quote = on_sale.quote()
    assert told(quote) == [("first", "2020-05", 24_000, ""), ("second", "2020-05", 0, "stacking")]
    reservations.hold(quote=quote, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 24_000, "")]


@pytest.mark.parametrize("how", ["moon's", "paused", "suspended", "applied", "earlier", "tariff", "barred"])
def test_nothing_is_promised_of_what_may_not_be_committed(on_sale, how):
    if how == "moon's":
        programme(on_sale, to=("moon",))
    elif how == "applied":
        made = programme(on_sale, to=())
        programmes.apply(programme=made, party=on_sale.sun.party, at=world.MAY, actor="test")
    elif how == "earlier":
        programme(on_sale, until_date=date(2020, 4, 30))
    elif how == "tariff":
        programme(on_sale, mode="tariff")
    elif how == "barred":
        programme(on_sale, bars_related_parties=True)
        parties.claim_fact(
            party=on_sale.sun.party,
            kind=PartyFact.Kind.RELATED_PARTY,
            value=on_sale.north.party.credit_code,
            from_date=date(2020, 1, 1),
            at=AT,
            actor="test",
        )
    else:
        made = programme(on_sale)
        if how == "paused":
            programmes.pause(programme=made, reason="no more", at=AT, actor="test")
        else:
            programmes.suspend(grant=made.grants.get(), reason="asked", at=AT, actor="test")
    quote = on_sale.quote()
    assert [each for each in quote.shares if each["share_minor"]] == []
    assert quote.payable_minor == 84_800
    reservations.hold(quote=quote, at=AT, actor="user:1")
    assert Commitment.objects.count() == 0
    assert Account.objects.count() == 0  # none is opened before there is need


# Hold and confirm


def test_a_hold_takes_the_promise_with_the_capacity_and_confirming_takes_no_more(on_sale):
    made = programme(on_sale, budget_minor=100_000, cap_firm_month_minor=50_000)
    held = on_sale.held()
    assert (held.subsidy_minor, held.payable_minor) == (24_000, 60_800)
    assert Reservation.objects.get().subsidy_minor == 24_000
    row = Commitment.objects.get()
    assert (row.source, row.month, row.wanted_minor, row.amount_minor) == (
        f"reservation:{held.pk}",
        "2020-05",
        24_000,
        24_000,
    )
    assert (row.expires_at, row.account.party) == (EXPIRES, on_sale.sun.party)
    confirmed = reservations.confirm(reservation=held, at=AT, actor="user:1")
    assert confirmed.contract.account == row.account
    assert reservations.hold(quote=held.quote, at=AT, actor="user:1") == held
    assert open_ones() == [("2020-05", 24_000, "")]
    assert programmes_world.counts(made) == (100_000, 24_000, 0)
    programmes_world.check_ties()


def test_what_others_hold_is_not_promised_twice(on_sale):
    programme(on_sale, budget_minor=30_000, to=("sun", "moon"))
    on_sale.held(organization=on_sale.moon)
    assert told(on_sale.quote()) == [("sme-30", "2020-05", 6_000, "budget")]


def test_an_invoice_cap_holds_for_all_reservations_of_a_month(on_sale):
    programme(on_sale, cap_invoice_minor=30_000)
    on_sale.held()
    quote = on_sale.quote(start_at=START + 20 * HOUR, end_at=START + 30 * HOUR)
    assert told(quote) == [("sme-30", "2020-05", 6_000, "invoice_cap")]


def test_a_share_that_is_gone_by_the_hold_refuses_it_with_the_new_price_and_takes_nothing(on_sale):
    made = programme(on_sale, budget_minor=30_000, to=("sun", "moon"))
    quote = on_sale.quote()
    on_sale.held(organization=on_sale.moon)  # 240.00 of 300.00
    with pytest.raises(reservations.ShareChangedError) as caught:
        reservations.hold(quote=quote, at=AT, actor="user:1")
    told_ = caught.value
    assert (told_.promised_minor, told_.left_minor, told_.payable_minor) == (24_000, 6_000, 78_800)
    assert str(told_) == (
        f"quote {quote.pk}: programmes pay 6000 of it now, expected 24000, and 78800 are to be paid (minor units): ask for a"
        " new quote"
    )
    assert Reservation.objects.filter(organization=on_sale.sun).count() == 0
    assert taken(on_sale.pool) == [8] * 10  # moon's
    assert programmes_world.counts(made) == (30_000, 24_000, 0)
    fresh = on_sale.quote()
    assert fresh.payable_minor == 78_800
    reservations.hold(quote=fresh, at=AT, actor="user:1")
    assert programmes_world.counts(made) == (30_000, 30_000, 0)


@pytest.mark.parametrize("how", ["paused", "suspended"])
def test_a_programme_or_grant_that_stops_by_the_hold_refuses_it(on_sale, how):
    made = programme(on_sale)
    quote = on_sale.quote()
    if how == "paused":
        programmes.pause(programme=made, reason="no more", at=AT, actor="test")
    else:
        programmes.suspend(grant=made.grants.get(), reason="asked", at=AT, actor="test")
    with pytest.raises(reservations.ShareChangedError) as caught:
        reservations.hold(quote=quote, at=AT, actor="user:1")
    assert (caught.value.left_minor, caught.value.payable_minor) == (0, 84_800)
    assert Reservation.objects.count() == 0


def test_a_grant_that_comes_after_the_quote_takes_nothing_and_the_quote_holds(on_sale):
    quote = on_sale.quote()
    programme(on_sale)
    held = reservations.hold(quote=quote, at=AT, actor="user:1")
    assert held.payable_minor == 84_800
    assert Commitment.objects.count() == 0


# What ends gives back


def test_a_hold_that_expires_or_is_let_go_gives_all_back(on_sale):
    made = programme(on_sale)
    on_sale.held()
    reservations.cancel(reservation=on_sale.held(), at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 24_000, "")]
    assert reservations.expire(at=AT + timedelta(minutes=15)) == 1
    assert open_ones() == []
    assert programmes_world.counts(made) == (programmes_world.PLENTY, 0, 0)
    assert set(Commitment.objects.values_list("state", "released_minor")) == {("released", 24_000)}
    programmes_world.check_ties()


@pytest.mark.parametrize(
    ("verb", "facts"),
    [
        (reservations.cancel, {}),
        (reservations.fail, {"reason": "fire"}),
        (reservations.release_hours, {"end_at": START}),
    ],
)
def test_one_that_has_not_begun_gives_all_back(on_sale, verb, facts):
    made = programme(on_sale)
    row = on_sale.confirmed()
    verb(reservation=row, at=AT, actor="user:1", **facts)
    verb(reservation=row, at=AT, actor="user:1", **facts)
    assert open_ones() == []
    assert programmes_world.counts(made) == (programmes_world.PLENTY, 0, 0)


def test_released_hours_lessen_it_and_again_and_once_each(on_sale):
    made = programme(on_sale)
    row = on_sale.confirmed()
    for hours, left, times in ((6, 14_400, "1"), (6, 14_400, "1"), (3, 7_200, "2")):  # 30 % of 480.00, of 240.00
        reservations.release_hours(reservation=row, end_at=START + hours * HOUR, at=AT, actor="user:1")
        assert open_ones() == [("2020-05", left, times)]
        assert programmes_world.counts(made) == (programmes_world.PLENTY, left, 0)
    assert list(Commitment.objects.order_by("pk").values_list("state", "amount_minor", "released_minor")) == [
        ("released", 24_000, 24_000),
        ("released", 14_400, 14_400),
        ("open", 7_200, 0),
    ]
    programmes_world.check_ties()


def test_a_share_that_a_cap_limited_is_kept_until_less_is_wanted(on_sale):
    programme(on_sale, budget_minor=10_000)
    row = on_sale.confirmed()  # 240.00 wanted, 100.00 promised
    reservations.release_hours(reservation=row, end_at=START + 5 * HOUR, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 10_000, "")]  # of 400.00 it is 120.00 still
    reservations.release_hours(reservation=row, end_at=START + 4 * HOUR, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 9_600, "1")]


def test_one_that_runs_keeps_the_share_of_what_was_used(on_sale):
    programme(on_sale)
    row = on_sale.active()
    at = START + 2 * HOUR + timedelta(minutes=20)
    reservations.fail(reservation=row, reason="fire", at=at, actor="provider")  # 2 hours and a quarter: 180.00
    assert open_ones() == [("2020-05", 5_400, "1")]


def test_an_extension_commits_its_own_and_each_part_is_lessened_by_itself(on_sale):
    made = programme(on_sale)
    row = on_sale.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 15 * HOUR, at=AT, actor="user:1")
    assert quote.payable_minor == 42_400 - 12_000  # 30 % of 400.00
    for _ in range(2):
        row = reservations.extend(quote=quote, at=AT, actor="user:1")
    assert (row.subsidy_minor, row.payable_minor) == (36_000, 127_200 - 36_000)
    assert open_ones(source=f"reservation:{row.pk}:{quote.pk}") == [("2020-05", 12_000, "")]
    assert programmes_world.counts(made) == (programmes_world.PLENTY, 36_000, 0)
    reservations.release_hours(reservation=row, end_at=START + 12 * HOUR, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 24_000, ""), ("2020-05", 4_800, "1")]  # 30 % of 160.00
    reservations.release_hours(reservation=row, end_at=START + 8 * HOUR, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 19_200, "1")]
    programmes_world.check_ties()


def test_an_extension_whose_share_is_gone_is_refused_and_nothing_changes(on_sale):
    programme(on_sale, budget_minor=36_000, to=("sun", "moon"))
    row = on_sale.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 15 * HOUR, at=AT, actor="user:1")
    on_sale.held(organization=on_sale.moon, end_at=START + 2 * HOUR)  # 48.00 of 120.00
    with pytest.raises(reservations.ShareChangedError) as caught:
        reservations.extend(quote=quote, at=AT, actor="user:1")
    assert (caught.value.left_minor, caught.value.payable_minor) == (7_200, 35_200)
    assert Reservation.objects.get(pk=row.pk).end_at == START + 10 * HOUR
    assert taken(on_sale.pool, START + 10 * HOUR, 5) == [0] * 5
    assert open_ones(account__party=on_sale.sun.party) == [("2020-05", 24_000, "")]


def test_other_months_and_other_reservations_keep_theirs(on_sale):
    programme(on_sale)
    row = on_sale.confirmed(start_at=JUNE - 5 * HOUR, end_at=JUNE + 5 * HOUR)
    on_sale.confirmed()
    assert open_ones() == [("2020-05", 12_000, ""), ("2020-05", 24_000, ""), ("2020-06", 12_000, "")]
    assert set(Commitment.objects.values_list("expires_at", flat=True)) == {
        EXPIRES,
        datetime(2020, 6, 30, 16, tzinfo=UTC) + timedelta(days=60),
    }
    reservations.release_hours(reservation=row, end_at=JUNE + HOUR, at=AT, actor="user:1")
    assert open_ones() == [("2020-05", 12_000, ""), ("2020-05", 24_000, ""), ("2020-06", 2_400, "1")]


# The month's invoice decides


def test_the_invoice_redeems_what_is_committed_and_frees_the_rest(on_sale):
    made = programme(on_sale, budget_minor=24_000, to=("sun", "moon"))
    row = on_sale.confirmed()
    reservations.start(reservation=row, at=START, actor="task:controller")
    after_month(on_sale)  # 160.00 for what is reserved, and nothing used: 30 % are 48.00
    assert Invoice.objects.get().payable_minor == 16_960 - 4_800
    assert list(Commitment.objects.values_list("state", "redeemed_minor", "released_minor")) == [
        ("redeemed", 4_800, 19_200)
    ]
    assert programmes_world.counts(made) == (24_000, 0, 4_800)
    programmes_world.check_ties()


def test_a_paused_programme_pays_what_the_reservation_has_committed(on_sale):
    made = programme(on_sale)
    on_sale.active()
    programmes.pause(programme=made, reason="no more", at=AT, actor="test")
    after_month(on_sale)
    assert ProgrammeShare.objects.get().share_minor == 4_800


def test_a_commitment_that_no_invoice_took_expires_by_itself(on_sale):
    made = programme(on_sale)
    on_sale.confirmed()
    assert commitments.expire(at=EXPIRES - timedelta(seconds=1), actor="task") == 0
    assert commitments.expire(at=EXPIRES, actor="task") == 1
    assert programmes_world.counts(made) == (programmes_world.PLENTY, 0, 0)


def test_what_is_given_back_after_the_invoice_moves_no_commitment(on_sale):
    programme(on_sale)
    row = on_sale.confirmed()
    after_month(on_sale)
    reservations.cancel(reservation=row, at=JUNE + timedelta(days=4), actor="user:1")  # the provider is late
    assert list(Commitment.objects.values_list("state", "redeemed_minor")) == [("redeemed", 4_800)]
    programmes_world.check_ties()


def test_a_later_reservation_does_not_take_what_an_earlier_one_has(on_sale):
    """A firm's own use of the month can't be paid from what other firms have committed."""
    made = programme(on_sale, budget_minor=24_000, to=("sun", "moon"))
    on_sale.active()
    assert told(on_sale.quote(organization=on_sale.moon)) == [("sme-30", "2020-05", 0, "budget")]
    row = on_sale.confirmed(organization=on_sale.moon)
    assert row.payable_minor == 84_800
    after_month(on_sale)
    shares_ = dict(ProgrammeShare.objects.values_list("grant__party", "share_minor"))
    assert shares_[on_sale.sun.party.pk] == 4_800
    assert programmes_world.counts(made)[1] == 0


# The waitlist


def test_an_offer_from_the_waitlist_holds_the_share_too(on_sale):
    programme(on_sale)
    reservations.join_waitlist(
        offering=on_sale.offering,
        organization=on_sale.sun,
        quantity=8,
        hours=10,
        earliest_at=START,
        latest_at=START,
        max_net_minor=80_000,
        at=AT,
        actor="user:1",
    )
    reservations.offer_from_waitlist(at=AT)
    assert WaitlistEntry.objects.get().state == "offered"
    assert open_ones() == [("2020-05", 24_000, "")]


# No grant, no cost


def test_without_a_grant_a_quote_asks_for_one_with_what_it_asks_anyway_and_no_verb_asks_at_all(on_sale):
    def asked(verb, **facts):
        with CaptureQueriesContext(connection) as queries:
            found = verb(**facts)
        texts = [query["sql"] for query in queries]
        named = ("billing_grant", "billing_programme", "billing_commitment", "billing_budgetperiod", "billing_firmcap")
        return found, [text for text in texts if any(name in text for name in named)]

    quote, texts = asked(on_sale.quote)
    assert [text.count("billing_grant") > 0 and "marketplace_organization" in text for text in texts] == [True]
    facts = {"at": AT, "actor": "user:1"}
    row, texts = asked(reservations.hold, quote=quote, **facts)
    assert texts == []
    assert asked(reservations.confirm, reservation=row, **facts)[1] == []
    more, texts = asked(reservations.extension_quote, reservation=row, end_at=START + 12 * HOUR, **facts)
    assert [text.count("billing_grant") > 0 and "marketplace_reservation" in text for text in texts] == [True]
    assert asked(reservations.extend, quote=more, **facts)[1] == []
    assert asked(reservations.release_hours, reservation=row, end_at=START + 11 * HOUR, **facts)[1] == []
    assert asked(reservations.cancel, reservation=row, **facts)[1] == []
