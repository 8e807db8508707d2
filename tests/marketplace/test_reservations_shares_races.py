"""Programmes' shares of reservations: taken by many at once, and killed half way."""

from datetime import date, timedelta
from functools import partial

import pytest

from billing import commitments, invoicing, programmes
from billing.models import Account, Commitment
from marketplace import capacity, reservations
from marketplace.models import Reservation
from marketplace.reservations import shares
from tests.billing import programmes_world
from tests.marketplace.booking import AT, HOUR, make_market, taken
from tests.marketplace.granting import JUNE, programme
from tests.marketplace.test_reservations_shares_limits import of_one_group


@pytest.fixture
def on_sale(db):
    return make_market()


def test_of_two_buyers_who_race_for_the_last_of_a_budget_one_has_it_and_the_other_is_told(fresh_database):
    market = make_market()
    made = programme(market, budget_minor=30_000, to=("sun", "moon"))
    quotes = [market.quote(organization=each) for each in (market.sun, market.moon)]
    assert [quote.subsidy_minor for quote in quotes] == [24_000, 24_000]
    results = fresh_database.at_once(
        *[partial(reservations.hold, quote=quote, at=AT, actor="user:1") for quote in quotes]
    )
    refused, held = sorted(results, key=lambda each: isinstance(each, Reservation))
    assert (refused.left_minor, refused.payable_minor, held.subsidy_minor) == (6_000, 78_800, 24_000)
    assert Reservation.objects.get() == held
    assert taken(market.pool) == [8] * 10
    assert programmes_world.counts(made) == (30_000, 24_000, 0)
    programmes_world.check_ties()


@pytest.mark.parametrize("is_turned", [False, True])
def test_of_two_holds_at_once_of_one_groups_programmes_one_commits_and_the_other_is_told(fresh_database, is_turned):
    market = make_market()
    made = of_one_group(market)
    quotes = [quote for _, quote in made.values()]
    results = fresh_database.at_once(
        *[partial(reservations.hold, quote=each, at=AT, actor="user:1") for each in quotes[:: -1 if is_turned else 1]]
    )
    [held] = [each for each in results if isinstance(each, Reservation)]
    [refused] = [each for each in results if isinstance(each, shares.ShareChangedError)]
    promised = {quote.pk: (name, quote.subsidy_minor) for name, (_, quote) in made.items()}
    name, share_minor = promised[held.quote_id]
    assert refused.left_minor == share_minor
    committed = {each: programmes_world.counts(of_one)[1] for each, (of_one, _) in made.items()}
    assert committed == {"first": 0, "second": 0} | {name: share_minor}
    programmes_world.check_ties()


def test_holds_and_endings_at_once_with_two_programmes_keep_every_count(fresh_database):
    """Budgets of several months, made so that their ids go across those of the programmes."""
    market = make_market()
    made = [
        programme(market, code, budget_minor=200_000, cap_firm_year_minor=150_000, to=("sun", "moon")) for code in "ab"
    ]
    for each in reversed(made):
        for code, first, last in (("may", 1, 31), ("june", 32, 61)):
            days = [date(2020, 5, 1) + timedelta(days=number - 1) for number in (first, last)]
            programmes.set_budget(
                programme=each, code=code, from_date=days[0], until_date=days[1], budget_minor=150_000
            )
    across = {"start_at": JUNE - 5 * HOUR, "end_at": JUNE + 5 * HOUR, "quantity": 2}
    rows = [market.confirmed(organization=each, **across) for each in (market.sun, market.moon) for _ in range(3)]
    quotes = [market.quote(organization=each, **across) for each in (market.sun, market.moon)]
    facts = {"at": AT, "actor": "user:1"}
    results = fresh_database.at_once(
        *[partial(reservations.release_hours, reservation=row, end_at=JUNE + HOUR, **facts) for row in rows[::2]],
        *[partial(reservations.cancel, reservation=row, **facts) for row in rows[1::2]],
        *[partial(reservations.hold, quote=quote, **facts) for quote in quotes],
    )
    assert {type(each).__name__ for each in results} == {"Reservation"}
    # Each has 100.00 in both months: 30 % of it, then 30 % of the 70.00 left; of one hour of June 20.00.
    of_three, of_two = 3 * (3_000 + 600), 2 * (3_000 + 3_000)
    assert [programmes_world.counts(each)[1] for each in made] == [
        of_three + of_two,
        of_three * 7 // 10 + of_two * 7 // 10,
    ]
    assert [programmes_world.counts(each, "june")[1] for each in made] == [3 * 600 + 6_000, 3 * 420 + 4_200]
    programmes_world.check_ties()


@pytest.mark.parametrize("where", ["after", "before"])
def test_a_hold_killed_half_way_leaves_nothing(on_sale, monkeypatch, where):
    made = programme(on_sale)
    quote = on_sale.quote()
    real = commitments.commit_all

    class KilledError(BaseException):
        pass

    def killed(**facts):
        if where == "after":
            real(**facts)
        raise KilledError

    monkeypatch.setattr(shares.commitments, "commit_all", killed)
    with pytest.raises(KilledError):
        reservations.hold(quote=quote, at=AT, actor="user:1")
    assert Reservation.objects.count() == Commitment.objects.count() == Account.objects.count() == 0
    assert taken(on_sale.pool) == [0] * 10
    assert programmes_world.counts(made) == (programmes_world.PLENTY, 0, 0)
    monkeypatch.undo()
    reservations.hold(quote=quote, at=AT, actor="user:1")
    assert programmes_world.counts(made) == (programmes_world.PLENTY, 24_000, 0)


def test_no_capacity_no_commitment(on_sale):
    programme(on_sale)
    quote = on_sale.quote(quantity=60)
    on_sale.held(organization=on_sale.moon)
    with pytest.raises(capacity.NotFreeError):
        reservations.hold(quote=quote, at=AT, actor="user:1")
    assert Commitment.objects.count() == 0


def test_a_month_that_is_issued_while_hours_are_held_and_given_back_is_paid_once_and_keeps_every_count(fresh_database):
    market = make_market()
    made = [
        programme(market, code, budget_minor=300_000, cap_firm_year_minor=200_000, to=("sun", "moon")) for code in "ab"
    ]
    across = {"start_at": JUNE - 5 * HOUR, "end_at": JUNE + 5 * HOUR, "quantity": 4}
    rows = [market.confirmed(organization=each, **across) for each in (market.sun, market.moon) for _ in range(2)]
    for row in rows:
        reservations.start(reservation=row, at=row.start_at, actor="task")
    later = {"start_at": JUNE + 30 * HOUR, "end_at": JUNE + 40 * HOUR, "at": JUNE + HOUR}
    quotes = [market.quote(organization=each, **later) for each in (market.sun, market.moon)]
    period = invoicing.open_period(issuer=market.issuer, code="2020-05")
    facts = {"at": JUNE + HOUR, "actor": "user:1"}
    results = fresh_database.at_once(
        partial(invoicing.close_period, period=period, at=JUNE + HOUR, actor="test"),
        *[partial(reservations.release_hours, reservation=row, end_at=JUNE + 3 * HOUR, **facts) for row in rows[::2]],
        *[partial(reservations.hold, quote=quote, **facts) for quote in quotes],
    )
    assert {type(each).__name__ for each in results[1:]} == {"Reservation"}
    # In May each firm has 8 GPUs reserved for 5 hours: 80.00, of which 24.00 and 16.80 are paid. In June, of one of its two
    # reservations 3 hours are left (120.00), of the other 5 (200.00), and 800.00 are held: 30 % of 1,120.00, and of the rest.
    assert [programmes_world.counts(each)[1:] for each in made] == [(67_200, 4_800), (47_040, 3_360)]
    programmes_world.check_ties()
