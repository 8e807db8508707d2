"""The forecast: exact where use is regular, as wide as it says where it is not, and priced by the one function."""

import csv
import gzip
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import charging, usage
from billing.rating.quantity import Profile
from marketplace import month
from marketplace.forecast import Expected, Readings, Until, month_end, outlook, same_day_before, spread
from tests.billing import world
from tests.web import buyers
from tests.web.buyers import hourly, local

CN = "Asia/Shanghai"
MONDAY = local(4)


def past(*days, start=MONDAY):
    """Whole days, each of 96 equal readings."""
    return Profile(start, 900, [quantity for quantity in days for _ in range(96)])


def ahead(profile, days):
    start = profile.start + timedelta(days=len(profile.quantities) // 96)
    return outlook(past=profile, start_at=start, end_at=start + timedelta(days=days), timezone=CN)


def test_with_two_weeks_weekdays_are_told_apart():
    found = ahead(past(*[1, 2, 3, 4, 5, 6, 7] * 2), 7)
    assert (found.quantities[::96], found.margin, found.days) == ((1, 2, 3, 4, 5, 6, 7), 0, 14)


def test_with_less_the_time_of_day_alone_counts_and_there_is_no_range():
    found = ahead(past(1, 2, 6), 2)
    assert (set(found.quantities), found.margin, found.days) == ({3}, None, 3)


def test_with_fewer_than_three_days_nothing_is_foretold():
    assert ahead(past(1, 2), 2) is None


def test_the_range_is_students_t_times_the_root_of_the_variance():
    # Mondays to Sundays of 960 and 1,920 a week in turn, in sums of 96 readings: each day is 480 x 96 / 96 = 48 from its mean
    found = ahead(past(*[10] * 7, *[11] * 7), 7)
    # s² = 14 x 48² / 7, times 6 x (7 + 49 / 14), t of 7 degrees of freedom 1.415: 1.415 x 48 x sqrt(2 x 63)
    assert found.margin == 762
    assert set(found.quantities) == {11}  # 10.5, half up


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40), st.integers(0, 10**9))
def test_what_is_spread_sums_to_its_target(weights, target):
    shares = spread(weights, target)
    assert (sum(shares), min(shares) >= 0) == (target, True)
    assert [share for share, weight in zip(shares, weights, strict=True) if not weight and any(weights)] == [0] * (
        weights.count(0) if any(weights) else 0
    )


@pytest.fixture
def zoned(db):
    return buyers.make()


def expected_of(zoned, at):
    readings = Readings(zoned.sun.contracts)
    meter = world.gpu_meter()
    last = zoned.sun.contract.pk, meter.pk
    rows = world.Reading.objects.filter(contract=zoned.sun.contract).order_by("-start_at")
    return readings, Expected(readings=readings, last={last: rows[0].start_at}, at=at, timezone=CN)


def end_of(zoned, at):
    readings, expected = expected_of(zoned, at)
    period = month.running(issuer=zoned.issuer, at=at)
    return month_end(account=zoned.sun.account, period=period, readings=readings, expected=expected)


@pytest.mark.django_db
def test_what_stands_is_the_preview_and_the_middle_lies_in_the_range(zoned):
    for day in range(1, 20):
        hourly(zoned.sun.contract, 1 + day * day % 4, start_at=local(day), hours=24)
    end = end_of(zoned, local(20))
    period = month.running(issuer=zoned.issuer, at=local(20))
    assert end.so_far == charging.charges(account=zoned.sun.account, period=period)
    low, high = end.range_minor
    assert low < end.expected.gross_minor < high
    assert end.so_far.gross_minor < low


@pytest.mark.django_db
def test_at_the_months_end_there_is_nothing_left_to_foretell(zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1), hours=31 * 24)
    end = end_of(zoned, local(1, month=6) - timedelta(seconds=1))
    assert (end.so_far, end.range_minor) == (end.expected, (end.so_far.gross_minor, end.so_far.gross_minor))


@pytest.mark.django_db
def test_use_is_expected_from_the_last_reading_on_and_of_a_silent_meter_from_now_on(zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1), hours=20 * 24)
    for at, first in ((local(21, 12), local(21)), (local(23), local(23))):
        _, expected = expected_of(zoned, at)
        more = expected.beyond(
            contract=zoned.sun.contract, meter=world.gpu_meter(), start_at=local(1), end_at=local(1, month=6)
        )
        begins = next(number for number, quantity in enumerate(more) if quantity)
        assert local(1) + timedelta(minutes=15) * begins == first


@pytest.mark.django_db
def test_a_contract_that_ends_is_expected_to_use_nothing_after_it(zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1), hours=20 * 24)
    zoned.sun.contract.end_at = local(25)
    _, expected = expected_of(zoned, local(21))
    more = expected.beyond(
        contract=zoned.sun.contract, meter=world.gpu_meter(), start_at=local(1), end_at=local(1, month=6)
    )
    assert sum(more) == 4 * 24 * 2 * 3600


@pytest.mark.django_db
def test_readings_of_many_contracts_are_one_query_a_span(db, django_assert_num_queries):
    zoned = buyers.make(number_of_contracts=3)
    for number, contract in enumerate(zoned.sun.contracts):
        hourly(contract, number + 1, start_at=local(1, 5), hours=1)
    readings, meter = Readings(zoned.sun.contracts), world.gpu_meter()
    with django_assert_num_queries(1):
        found = [readings(contract=c, meter=meter, start_at=local(1), end_at=local(2)) for c in zoned.sun.contracts]
    assert [[*profile.quantities] for profile in found] == [
        [*usage.profile(contract=c, meter=meter, start_at=local(1), end_at=local(2)).quantities]
        for c in zoned.sun.contracts
    ]
    with pytest.raises(LookupError, match="contract C-moon-1 is none of those"):
        readings(contract=zoned.moon.contract, meter=meter, start_at=local(1), end_at=local(2))


@pytest.mark.django_db
def test_until_a_cut_only_what_lies_before_it_is_read(zoned):
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=24)
    read = Until(readings=Readings(zoned.sun.contracts), cut_at=local(1, 6))
    profile = read(contract=zoned.sun.contract, meter=world.gpu_meter(), start_at=local(1), end_at=local(2))
    assert [*profile.quantities] == [900] * 24 + [0] * 72


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("at", "cut_at"),
    [
        (local(20, 12) + timedelta(minutes=7, seconds=3), local(20, 12, month=4)),
        (local(31, 12), local(1)),  # April has no 31st
        (local(30, 23), local(30, 23, month=4)),
    ],
)
def test_the_same_day_of_the_month_before(zoned, at, cut_at):
    period = month.running(issuer=zoned.issuer, at=at)
    assert same_day_before(at=at, period=period, previous=month.before(period=period)) == cut_at


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10**7), min_size=14, max_size=28), st.integers(1, 31))
def test_use_of_any_size_has_an_outlook(days, to_come):
    found = ahead(past(*days), to_come)
    assert len(found.quantities) == 96 * to_come
    assert max(found.quantities) <= max(days)
    assert found.margin >= 0


@pytest.mark.shared
def test_in_the_real_month_the_range_held_8_of_10(shared):
    """Each tenant on each day from the 15th on: whether the rest of the month came to lie in its range."""
    used = defaultdict(lambda: [0] * (31 * 96))
    with gzip.open(shared / "data" / "helios-earth-2020-05.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["time"])
            used[row["vc"]][(at.day - 1) * 96 + at.hour * 4 + at.minute // 15] += 60 * int(row["running_gpu_num"])
    start = datetime(2020, 4, 30, 16, tzinfo=UTC)
    held = []
    for quantities in used.values():
        for days in range(14, 30):
            first = max(0, days - 28)
            history = Profile(start + timedelta(days=first), 900, quantities[first * 96 : days * 96])
            found = outlook(
                past=history, start_at=start + timedelta(days=days), end_at=start + timedelta(days=31), timezone=CN
            )
            held.append(abs(sum(found.quantities) - sum(quantities[days * 96 :])) <= found.margin)
    assert (sum(held), len(held)) == (210, 256)


@pytest.mark.django_db
def test_several_readers_at_once_give_what_each_gives_alone_also_after_earlier_months():
    ratchet = {
        "kind": "demand",
        "code": "DM",
        "meter": "gpu_hours",
        "interval_minutes": 15,
        "by": "month",
        "prices": {"all": [{"price": "30.00"}]},
        "ratchet": {"percent": "80", "lookback_months": 11},
    }
    tariff = world.publish(world.energy(), ratchet, effective=["2020-04-01", None]).tariff
    issuer = world.issuer()
    account = world.account(issuer, "A")
    contract = world.contract(account, tariff, start_at=buyers.APRIL)
    hourly(contract, 10, start_at=local(3, month=4), hours=1)
    hourly(contract, 1, start_at=local(3), hours=5)
    readings = Readings([contract])
    reads = [readings, Until(readings=readings, cut_at=local(3, 2)), usage.profile]
    period = month.named(issuer=issuer, year=2020, month=5)
    together = charging.charges_by(account=account, period=period, reads=reads)
    assert together == tuple(charging.charges(account=account, period=period, read=read) for read in reads)
    # a demand of 8 GPUs, 80 % of April's 10, and 5 or 2 GPU-hours at 8.00
    assert [charges.net_minor for charges in together] == [28_000, 25_600, 28_000]
