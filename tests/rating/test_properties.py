"""What holds for every load and price (the properties that the design names)."""

from array import array
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.rate import History, rate
from billing.rating.tariff import parse
from tests.rating.documents import (
    DAY,
    capacity,
    credit,
    demand,
    document,
    energy,
    minimum,
    rider,
    standing,
    tiers,
    utc,
)

THREE_DAYS = Period(utc(2020, 5, 1), utc(2020, 5, 4), "UTC")
PEAKS = {"periods": ["peak", "valley"], "schedule": {"weekday": [DAY], "weekend": [DAY]}}
UNITS = {"gpu_hours": Unit()}

loads = st.lists(st.integers(0, 30000), min_size=1, max_size=12).map(lambda part: (part * 288)[:288])
cents = st.integers(0, 900)


def price(number):
    return f"{number // 100}.{number % 100:02d}"


@st.composite
def blocks(draw, rising=None):
    """Tiers with edges in GPU-hours; rising prices, falling ones (False), or any (None)."""
    edges = sorted(draw(st.sets(st.integers(1, 500), max_size=3)))
    prices = [draw(cents) for _ in range(len(edges) + 1)]
    if rising is not None:
        prices.sort(reverse=not rising)
    return tiers(*((str(edge), price(one)) for edge, one in zip(edges, prices, strict=False)), price(prices[-1]))


def parsed(*charges, **fields):
    return parse(document(*charges, **fields))


def rated(tariff, load, interval=900, **facts):
    given_facts = {"reserved": [], "calendars": {}, "period": THREE_DAYS} | facts
    start = given_facts["period"].start
    return rate(
        tariffs=[(start, tariff)],
        profiles={"gpu_hours": Profile(start, interval, load)},
        units=UNITS,
        **given_facts,
    )


def energy_parts(bill):
    return {(x.charge, x.tou_period, x.tier): (x.quantity, x.amount) for x in bill.lines if x.kind == "energy"}


@settings(max_examples=50, deadline=None)
@given(
    loads,
    blocks(),
    blocks(),
    st.sampled_from(["graduated", "volume"]),
    st.sampled_from(["month", "day"]),
    st.sampled_from(["across_periods", "per_period"]),
    st.randoms(use_true_random=False),
)
def test_splitting_an_interval_changes_no_energy_charge(load, peak, valley, mode, basis, scope, random):
    fields = {"tier_mode": mode, "tier_basis": basis, "tier_scope": scope}
    tariff = parsed(energy({"peak": peak, "valley": valley}, **fields), **PEAKS)
    finer = []
    for quantity in load:
        first = random.randint(0, quantity)
        second = random.randint(0, quantity - first)
        finer += [first, second, quantity - first - second]
    assert energy_parts(rated(tariff, load)) == energy_parts(rated(tariff, finer, interval=300))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 287), st.integers(0, 9000)), max_size=30), blocks(), st.randoms())
def test_the_order_in_which_readings_arrive_changes_nothing(readings, prices, random):
    tariff = parsed(energy(prices), demand(prices))

    def bill(order):
        load = [0] * 288
        for index, quantity in order:
            load[index] += quantity
        return rated(tariff, load)

    shuffled = random.sample(readings, len(readings))
    assert bill(readings) == bill(shuffled)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 600 * 3600), st.integers(0, 50), blocks())
def test_graduated_cost_is_continuous(quantity, more, prices):
    # an added GPU-second costs at most the dearest price
    tariff = parsed(energy(prices))
    dearest = max(Fraction(tier["price"]) for tier in prices)
    difference = rated(tariff, [quantity + more]).total - rated(tariff, [quantity]).total
    assert 0 <= difference <= dearest * more / 3600


@settings(max_examples=60, deadline=None)
@given(loads, st.integers(0, 287), st.integers(0, 90000), st.data())
def test_graduated_cost_is_monotone_for_counters_per_period_and_for_rising_blocks(load, index, more, data):
    per_period = data.draw(st.booleans())
    rising = None if per_period else True
    first = data.draw(blocks(rising=rising))
    if per_period:
        charge = energy({"peak": first, "valley": data.draw(blocks())}, tier_scope="per_period")
    else:
        # across periods: the same edges, each period's own rising prices
        second = [tier | {"price": price(index * 100)} for index, tier in enumerate(first)]
        steps = [Fraction(b["price"]) - Fraction(a["price"]) for a, b in pairwise(first)]
        assert all(step >= 0 for step in steps)
        charge = energy({"peak": first, "valley": second})
    tariff = parsed(charge, **PEAKS)
    dearer = [*load[:index], load[index] + more, *load[index + 1 :]]
    assert rated(tariff, dearer).total >= rated(tariff, load).total


def test_with_falling_blocks_across_periods_more_use_may_cost_less():
    # why the property above excludes them: an hour more in the cheap valley moves the peak into a cheaper block
    tariff = parsed(energy({"valley": tiers(("1", "0.10"), "0.10"), "peak": tiers(("1", "9"), "1")}), **PEAKS)
    without = [0] * 32 + [3600]
    assert rated(tariff, without).total == 9
    assert rated(tariff, [3600, *without[1:]]).total == Fraction("1.10")


EVERYTHING = (
    energy({"peak": tiers(("5", "1.23"), "1.11"), "valley": tiers("0.77")}),
    demand(tiers(("3", "7"), "5")),
    capacity("0.37"),
    rider("percent", "3.3", ["EN", "DM"]),
    standing("1.01"),
    minimum("99.99", ["EN", "SC"]),
    credit("percent", "12.5", ["EN", "MIN"]),
)


@settings(max_examples=60, deadline=None)
@given(loads, st.integers(0, 9), st.integers(1, 287))
def test_the_sum_of_lines_is_the_total_and_each_line_is_rounded_once(load, reserved, index):
    spans = [Reserved(THREE_DAYS.start + index * timedelta(minutes=15), THREE_DAYS.end, reserved)] if reserved else []
    bill = rated(parsed(*EVERYTHING, **PEAKS), load, reserved=spans)
    assert bill.total == sum(line.amount for line in bill.lines)
    assert bill.total_minor == sum(line.amount_minor for line in bill.lines)
    for line in bill.lines:
        assert abs(line.amount * 100 - line.amount_minor) <= Fraction(1, 2)
        if line.kind in ("energy", "capacity", "standing"):
            assert line.amount == line.quantity * Fraction(line.unit_price)
    kinds = ["energy", "demand", "capacity", "rider", "standing", "minimum", "credit"]
    order = [kinds.index(line.kind) for line in bill.lines]
    assert order == sorted(order)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9000), min_size=288, max_size=288), st.integers(0, 288), st.integers(0, 288))
def test_rating_all_less_what_was_billed_is_the_correction(load, one, other):
    # usage of [first, last) comes late: the difference by line is what the correction charges, and it adds up
    first, last = sorted((one, other))
    tariff = parsed(energy({"peak": tiers(("5", "1.23"), "1.11"), "valley": tiers("0.77")}), **PEAKS)
    billed = energy_parts(rated(tariff, [*load[:first], *[0] * (last - first), *load[last:]]))
    everything = rated(tariff, load)
    complete = energy_parts(everything)
    nothing = (Fraction(0), Fraction(0))
    # a block that was billed may be empty in the end: late use before it moves it to the next block
    correction = {
        key: tuple(new - old for new, old in zip(complete.get(key, nothing), billed.get(key, nothing), strict=True))
        for key in complete | billed
    }
    assert sum(quantity for quantity, _ in correction.values()) == Fraction(sum(load[first:last]), 3600)
    assert sum(amount for _, amount in [*correction.values(), *billed.values()]) == everything.total


@settings(max_examples=40, deadline=None)
@given(loads, st.integers(1, 287), st.sampled_from(["day", "contract_year"]))
def test_rating_two_parts_with_the_history_between_is_rating_the_whole(load, index, basis):
    # the cut falls on midnight for daily tiers, anywhere for contract years
    cut = index if basis == "contract_year" else 96
    tariff = parsed(energy({"peak": tiers(("5", "1.23"), "1.11"), "valley": tiers("0.77")}, tier_basis=basis), **PEAKS)
    middle = THREE_DAYS.start + cut * timedelta(minutes=15)
    history = History(THREE_DAYS.start)
    first = rated(tariff, load[:cut], period=Period(THREE_DAYS.start, middle, "UTC"), history=history)
    second = rated(tariff, load[cut:], period=Period(middle, THREE_DAYS.end, "UTC"), history=history.after(first))
    assert first.total + second.total == rated(tariff, load, history=history).total


def test_lists_tuples_and_arrays_are_rated_alike():
    load = [index * 37 % 900 for index in range(288)]
    tariff = parsed(*EVERYTHING, **PEAKS)
    assert rated(tariff, load) == rated(tariff, tuple(load)) == rated(tariff, array("q", load))
