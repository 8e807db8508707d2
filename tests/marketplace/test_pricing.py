"""Prices by the hour of the week, read off the tariff, and checked against what billing rates."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import calendars
from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.rate import rate
from billing.rating.tariff import parse
from marketplace import pricing
from tests.billing import world

HOUR = timedelta(hours=1)
MAY = datetime(2026, 4, 30, 16, tzinfo=UTC)  # midnight of Friday, 1 May 2026, in Shanghai
JUNE = datetime(2026, 5, 31, 16, tzinfo=UTC)
DAY = [*["low"] * 8, *["high"] * 12, *["mid"] * 4]
THREE = {"periods": ["low", "mid", "high"], "effective": ["2026-01-01", None]}
THREE |= {"schedule": {"weekday": [DAY], "weekend": [["mid"] * 24], "holiday": [["low"] * 24]}, "calendar": "CN"}
PRICES = {
    "low": [{"up_to": "9", "price": "1.00"}, {"price": "0.50"}],
    "mid": [{"price": "2"}],
    "high": [{"price": "4.5"}],
}


def prices(*charges, **changes):
    return pricing.prices_of(tariff=parse(world.document(*charges, **changes)))


def energy(**changes):
    return world.energy(prices=PRICES, **changes)


def capacity(price, per="unit_hour", code="CP", **changes):
    return {"kind": "capacity", "code": code, "price": price, "per": per} | changes


def rider(basis, value, *of, code="R"):
    return {"kind": "rider", "code": code, "basis": basis, "value": value} | ({"of": list(of)} if of else {})


def amounts(found):
    return [pricing.decimal(after - before) for before, after in pairwise(found)]


def d(text):
    return Decimal(text)


def test_each_hour_has_the_price_of_its_period_at_the_first_tier_by_the_kind_of_its_day():
    three = prices(energy(), **THREE)
    found = pricing.days(prices=three, month=5)
    assert found["weekday"] == (*[d(1)] * 8, *[d("4.5")] * 12, *[d(2)] * 4)
    assert found["weekend"] == (d(2),) * 24
    assert found["holiday"] == (d(1),) * 24
    assert three.left_out == ("EN",)  # its second tier


def test_a_local_week_knows_its_holidays_and_the_days_that_are_worked_for_them():
    week = pricing.week(prices=prices(energy(), **THREE), monday=date(2026, 5, 4))
    assert [(day.isoformat(), kind) for day, kind, _ in week] == [
        ("2026-05-04", "holiday"),
        ("2026-05-05", "holiday"),
        ("2026-05-06", "weekday"),
        ("2026-05-07", "weekday"),
        ("2026-05-08", "weekday"),
        ("2026-05-09", "weekday"),  # a Saturday that is worked
        ("2026-05-10", "weekend"),
    ]
    assert week[0][2] == (d(1),) * 24


def test_hours_follow_the_local_clock_across_midnight():
    found = pricing.hour_by_hour(prices=prices(energy(), **THREE), start_at=JUNE - 2 * HOUR, hours=5)
    assert amounts(found.unit) == [d(2), d(2), d(1), d(1), d(1)]  # Sunday evening, then Monday's night


CASES = {
    "energy": [energy()],
    "two energies": [
        energy(),
        world.energy(code="E2", prices={"low": [{"price": "-0.1"}], **{n: [{"price": "0"}] for n in ("mid", "high")}}),
    ],
    "capacity by hour": [energy(), capacity("2.10")],
    "capacity by day": [energy(), capacity("7", "unit_day")],
    "capacity by month": [capacity("744", "unit_month")],
    "demand": [energy(), {"kind": "demand", "code": "DM", "meter": "gpu_hours", "prices": {"all": [{"price": "30"}]}}],
    "riders": [
        energy(),
        capacity("2"),
        rider("per_unit", "0.12", "EN"),
        rider("percent", "-10", "EN", "CP", "R", code="P"),
    ],
    "rider of days": [capacity("7", "unit_day"), rider("per_unit", "1.2", "CP")],
    "fixed": [energy(), rider("fixed", "31"), {"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"}],
    "by year": [{"kind": "standing", "code": "SC", "amount": "3650", "per": "year"}],
    "by month": [{"kind": "standing", "code": "SC", "amount": "310", "per": "month"}],
}


def billed(document, quantity, start_at, end_at):
    """What billing rates for full use of the window by a new contract: exact, before rounding, without tax."""
    tariff = parse(document)
    month = Period(MAY, JUNE, "Asia/Shanghai")
    first, last = (start_at - MAY) // (HOUR / 4), (end_at - MAY) // (HOUR / 4)
    used = [quantity * 900 if first <= place < last else 0 for place in range(31 * 96)]
    bill = rate(
        period=month,
        tariffs=[(MAY, tariff)],
        profiles={"gpu_hours": Profile(start=MAY, interval_seconds=900, quantities=used)},
        units={"gpu_hours": Unit("gpu_second", "gpu_hour", "gpu", 3600)},
        reserved=[Reserved(start_at, end_at, quantity)],
        calendars=calendars.by_code(),
        active=(start_at, end_at),
    )
    total = sum((line.amount for line in bill.lines), Fraction(0))
    return total / (1 + Fraction(tariff.tax.rate)) if tariff.tax.price_includes_tax else total


@pytest.mark.parametrize("included", [False, True])
@pytest.mark.parametrize("charges", CASES.values(), ids=CASES)
def test_a_window_within_the_first_tier_costs_what_billing_rates(charges, included):
    tax = {"category": "S", "rate": "0.06", "price_includes_tax": included}
    document = world.document(*charges, **THREE, tax=tax)
    one = pricing.prices_of(tariff=parse(document))
    for start, hours, quantity in [(0, 3, 3), (30, 4, 1), (200, 100, 1), (100, 24 * 20, 7)]:
        start_at, end_at = MAY + start * HOUR, MAY + (start + hours) * HOUR
        if "EN" in one.left_out and quantity * hours > 9:
            continue  # beyond the first tier
        found = pricing.price_of_window(versions=[(MAY, one)], quantity=quantity, start_at=start_at, end_at=end_at)
        exact = billed(document, quantity, start_at, end_at)
        assert abs(Fraction(found) - exact) < Fraction(1, 10**6)


def test_what_is_left_out_is_named():
    minimum = {"kind": "minimum", "code": "MIN", "amount": "500", "counts": ["EN"]}
    credit = {"kind": "credit", "code": "SLA", "basis": "percent", "of": ["EN"], "value": "10"}
    by_period = {
        "kind": "demand",
        "code": "DM",
        "meter": "gpu_hours",
        "by": "period",
        "prices": {"all": [{"price": "1"}]},
    }
    watts = world.energy(code="W", meter="watt_hours")
    of_watts = rider("percent", "5", "W", code="RW")
    found = prices(world.energy("3"), watts, by_period, of_watts, minimum, credit)
    assert found.left_out == ("W", "DM", "RW", "MIN", "SLA")
    assert pricing.days(prices=found, month=1)["weekday"] == (d(3),) * 24


def test_a_window_is_priced_to_its_end_under_the_version_at_its_start_and_not_at_all_before_the_first():
    versions = [(MAY, prices(world.energy("1"))), (MAY + 10 * HOUR, prices(world.energy("5")))]

    def cost(start):
        window = {"start_at": MAY + start * HOUR, "end_at": MAY + (start + 20) * HOUR}
        return pricing.price_of_window(versions=versions, quantity=2, **window)

    assert [cost(-1), cost(0), cost(9), cost(10)] == [None, d(40), d(40), d(200)]


def test_hours_whose_holidays_are_not_known_and_hours_after_the_end_have_no_price():
    last = calendars.by_code()["CN"].verified_until
    midnight = datetime(last.year + 1, 1, 1, tzinfo=UTC) - 8 * HOUR
    found = pricing.hour_by_hour(prices=prices(energy(), **THREE), start_at=midnight - 3 * HOUR, hours=10)
    assert len(found.unit) == 4
    ended = prices(world.energy("1"), effective=["2026-01-01", "2026-05-02"])
    assert len(pricing.hour_by_hour(prices=ended, start_at=MAY, hours=100).unit) == 25
    assert pricing.price_of_window(versions=[(MAY, ended)], quantity=1, start_at=MAY, end_at=MAY + 25 * HOUR) is None


@pytest.mark.parametrize(
    ("zone", "start_at", "hours", "total"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), 23, "23"),
        ("Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 25, "25"),
        ("Asia/Kolkata", datetime(2026, 5, 4, 18, tzinfo=UTC), 24, "24"),
    ],
)
def test_a_day_of_23_or_25_hours_costs_a_day(zone, start_at, hours, total):
    one = prices(world.energy("1"), capacity("24", "unit_day"), timezone=zone)
    found = pricing.price_of_window(
        versions=[(start_at, one)], quantity=1, start_at=start_at, end_at=start_at + hours * HOUR
    )
    expected = d(total) + 24
    assert abs(found - expected) < d("0.0001")


def test_an_hour_across_two_periods_of_a_zone_between_the_hours_costs_half_of_each():
    day = [*["low"] * 8, *["high"] * 16]
    schedule = {"weekday": [day], "weekend": [day]}
    cost = {"low": [{"price": "1"}], "high": [{"price": "3"}]}
    one = prices(world.energy(prices=cost), periods=["low", "high"], schedule=schedule, timezone="Asia/Kolkata")
    found = pricing.hour_by_hour(prices=one, start_at=datetime(2026, 5, 4, 1, tzinfo=UTC), hours=3)  # 6:30 in Kolkata
    assert amounts(found.unit) == [d(1), d(2), d(3)]


def test_prices_of_thirty_digits_and_tiny_ones_stay_exact():
    found = prices(world.energy("9" * 30), capacity("0." + "0" * 11 + "1"))
    week = pricing.days(prices=found, month=1)["weekday"]
    assert str(week[0]) == "9" * 30 + ".000000000001"


def test_prices_survive_being_stored():
    one = prices(energy(), capacity("7", "unit_day"), rider("fixed", "31"), **THREE)
    assert pricing.Prices.from_json(one.as_json()) == one
    assert len(one.as_json()["hours"]["weekday"]) == 1
    seasonal = {
        "weekday": [["low"] * 24] * 6 + [["high"] * 24] * 6,
        "weekend": [["mid"] * 24],
        "holiday": [["mid"] * 24],
    }
    two = prices(energy(), **(THREE | {"schedule": seasonal}))
    assert pricing.Prices.from_json(two.as_json()) == two


def test_the_mean_is_of_five_weekdays_and_a_weekend():
    weekday, weekend = 8 * 1 + 12 * Fraction("4.5") + 4 * 2, 48
    expected = Fraction(5 * weekday + 2 * weekend, 168)
    assert abs(Fraction(pricing.mean(prices(energy(), **THREE)), pricing.PER_UNIT) - expected) < Fraction(1, 10**11)


@pytest.mark.parametrize(("amount", "text"), [(5 * 10**9, "0.01"), (-5 * 10**9, "-0.01"), (4_999_999_999, "0.00")])
def test_amounts_are_rounded_half_up_away_from_zero(amount, text):
    assert str(pricing.rounded(amount, "CNY")) == text
    assert str(pricing.rounded(amount * 100, "JPY")) in {"1", "-1", "0"}


money = st.sampled_from(["0", "0.5", "1", "2.25", "7"])


@settings(max_examples=60, deadline=None)
@given(
    low=money,
    mid=money,
    high=st.sampled_from(["-1", "0", "3"]),
    day=money,
    month=money,
    fixed=st.sampled_from(["-5", "0", "9"]),
    zone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
    start=st.integers(0, 24 * 400),
    hours=st.integers(1, 24 * 9),
)
def test_no_window_costs_less_than_the_floors_say(low, mid, high, day, month, fixed, zone, start, hours):
    cost = {"low": [{"price": low}], "mid": [{"price": mid}], "high": [{"price": high}]}
    charges = [
        world.energy(prices=cost),
        capacity(day, "unit_day"),
        capacity(month, "unit_month", "CM"),
        rider("fixed", fixed),
    ]
    one = prices(
        *charges, **(THREE | {"calendar": None, "schedule": {"weekday": [DAY], "weekend": [DAY[::-1]]}}), timezone=zone
    )
    floors = pricing.floors(one)
    start_at = datetime(2026, 1, 1, tzinfo=UTC) + start * HOUR
    found = pricing.hour_by_hour(prices=one, start_at=start_at, hours=hours)
    for quantity in (1, 3):
        least = quantity * (hours // 24 * floors[24] + floors[hours % 24])
        if floors[1] < 0:
            least = quantity * hours * floors[1]
        assert found.cost(first=0, end=hours, quantity=quantity) >= least
