"""Ranked windows: the same as going through every window of every offering."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace import capacity, reservations, search, windows
from marketplace.models import CapacitySlot
from marketplace.search import Wanted
from tests.billing import world
from tests.marketplace import bazaar, seller
from tests.marketplace.bazaar import AT, HOUR
from tests.marketplace.seller import make_pool, make_provider, make_zone, publish

pytestmark = pytest.mark.django_db

START = datetime(2026, 4, 29, 3, tzinfo=UTC)


def wanted_of(chance):
    least = chance.choice([1, 6, 24])
    facts = {"min_hours": least, "max_hours": chance.choice([least, 30])}
    facts |= {"earliest_at": START + chance.choice([0, 7]) * HOUR, "latest_at": START + chance.choice([10, 60]) * HOUR}
    many = chance.choice(
        [{"quantity": 1}, {"quantity": 8}, {"quantity": 13}, {"tflops": Decimal(4000), "precision": "bf16"}, {}]
    )
    return facts, many


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10**6), order=st.sampled_from(["price", "soonest"]), random=st.randoms(use_true_random=False)
)
def test_the_best_windows_are_those_that_going_through_all_of_them_finds(seed, order, random, monkeypatch):
    facts, many = wanted_of(random)
    monkeypatch.setattr(windows, "_FIRST", random.choice([1, 24]))
    monkeypatch.setattr(windows, "_MORE", random.choice([1, 3]))
    monkeypatch.setattr(windows, "_PAGES", random.choice([(400, 3600), (1, 400)]))
    with bazaar.rolled_back():
        made = bazaar.make(seed, hours=72)
        ranked = search.windows(wanted=Wanted(**facts, **many, order=order, limit=3), at=AT)
        span = (facts["earliest_at"], facts["latest_at"])
        hours = (facts["min_hours"], facts["max_hours"])
        best = bazaar.best_windows(made, at=AT, span=span, hours=hours, order=order, **many)[:3]
        assert [(match.start_at, match.offering.pk, match.end_at, match.quantity) for match in ranked.matches] == [
            window[1:] for window in best
        ]
        for match, window in zip(ranked.matches, best, strict=True):
            assert abs(match.price - Decimal(window[0].numerator) / window[0].denominator) < Decimal("0.00501")
        assert ranked.certain


# Particular markets


@pytest.fixture
def provider():
    return make_provider(make_zone())


def windows_of(at=seller.AT, **facts):
    return search.windows(wanted=Wanted(**facts), at=at)


@pytest.mark.parametrize("count", [1, 3])
def test_windows_take_four_queries(provider, count, django_assert_num_queries):
    for number in range(count):
        version = seller.prices(provider, world.energy(f"{number + 1}.00"), code=f"N{number}")
        publish(make_pool(provider, f"p{number}"), version, f"o{number}")
    windows_of()  # the prices are known to this process then
    with django_assert_num_queries(4):  # candidates, versions, taken hours, offerings
        ranked = windows_of(quantity=8, min_hours=24)
        touched = [(match.offering.pool.site.provider.name, match.offering.tariff.code) for match in ranked.matches]
    assert len(touched) == count
    assert (ranked.certain, ranked.examined) == (True, count)


def test_a_window_is_told_with_its_price_and_how_long_it_may_become(provider):
    pool = make_pool(provider)
    publish(pool, seller.prices(provider, world.energy("2.50")))
    start = datetime(2026, 5, 6, 2, tzinfo=UTC)
    CapacitySlot.objects.create(pool=pool, hour=start + 30 * HOUR, capacity=64, taken=60)
    (match,) = windows_of(quantity=8, min_hours=24, max_hours=48).matches
    assert (match.start_at, match.end_at, match.free_until) == (start, start + 24 * HOUR, start + 30 * HOUR)
    assert (match.price, match.per_hour, match.currency) == (Decimal("480.00"), Decimal("2.5000"), "CNY")
    (match,) = windows_of(quantity=4, min_hours=24, max_hours=48).matches
    assert match.free_until == start + 48 * HOUR


def test_half_a_petaflops_for_three_days_takes_as_many_gpus_of_each_model_as_reach_it(provider):
    version = seller.prices(provider)
    for slug, peak in (("t-fast", 989), ("t-slow", 100)):
        model = seller.accelerator(slug, bf16_tflops=peak)
        publish(make_pool(provider, slug, accelerator=model), version, slug)
    ranked = windows_of(tflops=Decimal(500), precision="bf16", min_hours=72, max_hours=72)
    assert [(match.offering.code, match.quantity, match.price) for match in ranked.matches] == [
        ("t-fast", 1, Decimal("576.00")),
        ("t-slow", 5, Decimal("2880.00")),
    ]


def test_when_too_much_is_taken_to_look_at_all_the_answer_says_that_it_is_not_certain(provider, monkeypatch):
    version = seller.prices(provider)
    start = datetime(2026, 5, 6, 2, tzinfo=UTC)
    for number in range(6):
        pool = make_pool(provider, f"p{number}")
        publish(pool, version, f"o{number}")
        if number < 4:
            CapacitySlot.objects.create(pool=pool, hour=start, capacity=64, taken=64)
    monkeypatch.setattr(windows, "_FIRST", 1)
    monkeypatch.setattr(windows, "_MORE", 1)
    asked = {"earliest_at": start, "latest_at": start, "limit": 1}
    ranked = windows_of(**asked)
    assert ([match.offering.code for match in ranked.matches], ranked.certain, ranked.examined) == (["o4"], True, 5)
    monkeypatch.setattr(windows, "EXAMINED", 3)
    assert windows_of(**asked) == search.Ranked((), certain=False, examined=3)
    monkeypatch.setattr(windows, "EXAMINED", 400)
    monkeypatch.setattr(windows, "_PAGES", (2, 2))
    assert windows_of(**asked) == search.Ranked((), certain=False, examined=4)
    monkeypatch.setattr(windows, "_PAGES", (2, 4))
    assert windows_of(**asked).certain


def test_a_window_that_starts_before_new_prices_keeps_the_old_ones(provider):
    publish(make_pool(provider), seller.prices(provider, world.energy("5.00")))
    seller.prices(provider, world.energy("1.00"), effective=["2026-05-08", None])
    (match,) = windows_of(min_hours=24).matches
    assert (match.start_at, match.price) == (datetime(2026, 5, 7, 16, tzinfo=UTC), Decimal("24.00"))
    (match,) = windows_of(min_hours=24, order="soonest").matches
    assert (match.start_at, match.price) == (datetime(2026, 5, 6, 2, tzinfo=UTC), Decimal("120.00"))


def test_a_window_ends_before_days_whose_holidays_are_not_known(provider):
    publish(make_pool(provider), seller.prices(provider, calendar="CN"))
    at = datetime(2026, 12, 31, 2, tzinfo=UTC)
    (match,) = windows_of(at=at, min_hours=12, max_hours=24).matches
    assert (match.start_at, match.free_until) == (at, datetime(2026, 12, 31, 16, tzinfo=UTC))
    assert windows_of(at=at, min_hours=15).matches == ()


def test_hours_of_a_pool_that_grows_are_free_from_then_on(provider):
    pool = make_pool(provider, gpus=16)
    publish(pool, seller.prices(provider))
    grows_at = datetime(2026, 5, 7, tzinfo=UTC)
    capacity.set_capacity(pool=pool, gpus=8, from_at=grows_at, cause="fans", at=seller.AT, actor="test")
    (match,) = windows_of(quantity=16).matches
    assert match.free_until <= grows_at
    assert windows_of(quantity=16, earliest_at=grows_at).matches == ()


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"order": "-price"}, "order is '-price': expected one of price, soonest"),
        ({"min_hours": 0}, "min_hours is 0: expected a whole number from 1 to 2160"),
        ({"min_hours": 48, "max_hours": 24}, "max_hours is 24: expected a whole number from 48 to 2160"),
        ({"max_hours": 10**9}, "max_hours is 1000000000"),
        ({"latest_at": seller.AT - HOUR}, "latest_at is '2026-05-06T01:00:00.00:00': expected 2026-05-06T02:00"),
        ({"latest_at": seller.AT + 1441 * HOUR}, "latest_at is .*up to 1440 hours later"),
        ({"free_from": seller.AT, "free_until": seller.AT + HOUR}, "expected none: windows are between earliest_at"),
    ],
)
def test_windows_out_of_range_are_refused(facts, message):
    with pytest.raises(search.InvalidFactError, match=message):
        windows_of(**facts)


def test_starts_are_whole_hours():
    with pytest.raises(search.InvalidHoursError, match="earliest_at is"):
        windows_of(earliest_at=AT)


def test_what_is_found_can_be_quoted_at_that_price(provider):
    buyer = make_provider(provider.zone, 7, name="采购方", parts={"buyer"})
    night = [*["low"] * 8, *["high"] * 16]
    schedule = {"weekday": [night], "weekend": [["low"] * 24], "holiday": [["low"] * 24]}
    costs = {"low": [{"price": "1.25"}], "high": [{"price": "4.10"}]}
    charges = [
        world.energy(prices=costs),
        {"kind": "capacity", "code": "CP", "price": "7.00", "per": "unit_day"},
        {"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"},
        {"kind": "rider", "code": "R", "basis": "percent", "of": ["EN"], "value": "3"},
    ]
    shape = {"periods": ["low", "high"], "schedule": schedule, "calendar": "CN"}
    for number, lead in enumerate([0, 30]):
        version = seller.prices(provider, *charges, **shape, code=f"N{number}")
        publish(make_pool(provider, f"p{number}"), version, f"o{number}", lead_hours=lead, step=4, min_quantity=4)
    for order in ("price", "soonest"):
        matches = windows_of(quantity=6, min_hours=24, max_hours=72, order=order).matches
        assert len(matches) == 2
        for match in matches:
            quoted = reservations.quote(
                offering=match.offering,
                organization=buyer,
                quantity=match.quantity,
                start_at=match.start_at,
                end_at=match.end_at,
                at=seller.AT,
                actor="user:1",
            )
            assert abs(Decimal(quoted.net_minor) / 100 - match.price) <= Decimal("0.03")  # a rounding for each line
