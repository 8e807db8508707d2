"""Bills worked out by hand: the arithmetic stands beside each figure."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from billing.rating.calendar import HolidayCalendar
from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.rate import History, rate
from billing.rating.tariff import parse
from tests.rating.documents import capacity, credit, demand, document, energy, minimum, rider, standing, tiers, utc
from tests.rating.hand import HOUR, MAY, PEAKS, amounts, bill, rows

# Energy


def test_blocks_are_split_exactly_at_the_edge_in_graduated_mode():
    # 10 GPU-hours at 5.40, then 2.5 at 6.10: 54.00 + 15.25
    result = bill(energy(tiers(("10", "5.40"), "6.10")), quantities=[12 * HOUR, HOUR // 2])
    assert rows(result, "tier", "quantity", "quantity_base", "unit_price", "amount", "amount_minor") == [
        (1, 10, 36000, Decimal("5.40"), 54, 5400),
        (2, Fraction(5, 2), 9000, Decimal("6.10"), Fraction(61, 4), 1525),
    ]
    assert (result.total, result.total_minor) == (Fraction(277, 4), 6925)


def test_a_single_base_unit_beyond_the_edge_is_in_the_next_block():
    result = bill(energy(tiers(("1", "36"), "3600")), quantities=[HOUR - 1, 2])
    assert rows(result, "tier", "quantity_base", "amount_minor") == [(1, 3600, 3600), (2, 1, 100)]
    assert rows(bill(energy(tiers(("1", "36"), "3600")), quantities=[HOUR - 1, 1]), "tier") == [(1,)]


@pytest.mark.parametrize(
    ("hours", "tier", "minor"),
    [(10, 1, 5400), (11, 2, 6710)],  # an edge belongs to the tier below it; above it, all is dearer: 11 x 6.10
)
def test_in_volume_mode_all_is_priced_in_the_tier_that_the_total_reaches(hours, tier, minor):
    result = bill(energy(tiers(("10", "5.40"), "6.10"), tier_mode="volume"), quantities=[HOUR] * hours)
    assert rows(result, "tier", "quantity", "amount_minor") == [(tier, hours, minor)]


def test_across_periods_share_one_counter_in_time_order():
    # 6 h in the valley, then 6 h in the peak: the peak begins at 6 of 10
    prices = {"peak": tiers(("10", "2"), "3"), "valley": tiers(("10", "1"), "1.5")}
    quantities = [6 * HOUR] + [0] * 31 + [6 * HOUR]
    result = bill(energy(prices), quantities=quantities, document=PEAKS)
    assert rows(result, "tou_period", "tier", "quantity", "amount_minor") == [
        ("peak", 1, 4, 800),
        ("peak", 2, 2, 600),
        ("valley", 1, 6, 600),
    ]


def test_per_period_counters_are_apart():
    prices = {"peak": tiers(("5", "2"), "3"), "valley": tiers(("5", "1"), "1.5")}
    quantities = [6 * HOUR] + [0] * 31 + [6 * HOUR]
    result = bill(energy(prices, tier_scope="per_period"), quantities=quantities, document=PEAKS)
    assert amounts(result) == {
        ("EN", "peak", 1): 1000,
        ("EN", "peak", 2): 300,
        ("EN", "valley", 1): 500,
        ("EN", "valley", 2): 150,
    }


def test_a_price_without_blocks_has_no_tier():
    assert rows(bill(energy(tiers("2")), quantities=[HOUR]), "tou_period", "tier", "amount_minor") == [
        ("all", None, 200)
    ]


def test_daily_tiers_begin_anew_at_local_midnight():
    # Shanghai: 16:00 UTC; two days of 3 h with an edge at 2: each day 2 x 1 + 1 x 5
    period = Period.month(2020, 5, "Asia/Shanghai")
    quantities = [0] * 95 + [3 * HOUR, 3 * HOUR]
    result = bill(energy(tiers(("2", "1"), "5"), tier_basis="day"), period=period, quantities=quantities)
    assert rows(result, "tier", "quantity", "amount_minor") == [(1, 4, 400), (2, 2, 1000)]


def test_contract_year_tiers_go_on_from_history_and_begin_anew_on_the_anniversary_within_the_month():
    # Before May: 98 of 100. 3 h on 1 May: 2 x 1 + 1 x 5; on 10 May 00:00 the year begins anew: 3 h x 1
    charge = energy(tiers(("100", "1"), "5"), tier_basis="contract_year")
    quantities = [3 * HOUR] + [0] * (9 * 96 - 1) + [3 * HOUR]
    history = History(utc(2018, 5, 10), {("EN", None): 98 * HOUR, ("EN", "all"): 98 * HOUR})
    result = bill(charge, quantities=quantities, history=history)
    assert rows(result, "tier", "quantity", "amount_minor") == [(1, 5, 500), (2, 1, 500)]
    assert result.counters == {("EN", None): 3 * HOUR, ("EN", "all"): 3 * HOUR}
    assert result.lines[0].explanation["tier"]["years_from"] == ["2020-05-10T00:00:00+00:00"]


def test_the_counters_of_one_month_are_the_history_of_the_next():
    charge = energy(tiers(("5", "1"), "2"), tier_basis="contract_year")
    first = bill(charge, quantities=[3 * HOUR], history=History(utc(2020, 5, 1)))
    history = History(utc(2020, 5, 1)).after(first)
    assert history.counters == {("EN", None): 3 * HOUR, ("EN", "all"): 3 * HOUR}
    second = bill(charge, period=Period.month(2020, 6, "UTC"), quantities=[3 * HOUR], history=history)
    assert rows(second, "tier", "quantity", "amount_minor") == [(1, 2, 200), (2, 1, 200)]
    assert second.counters[("EN", None)] == 6 * HOUR


def test_volume_tiers_over_a_contract_year_are_those_of_the_counter_at_the_months_end():
    charge = energy(tiers(("100", "1"), "5"), tier_basis="contract_year", tier_mode="volume")
    history = History(utc(2020, 1, 1), {("EN", None): 99 * HOUR})
    assert amounts(bill(charge, quantities=[2 * HOUR], history=history)) == {("EN", "all", 2): 1000}


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2020, 3, 29), 23), (date(2020, 3, 28), 24), (date(2020, 10, 25), 25)],
)
def test_a_gpu_in_use_all_day_is_billed_23_24_or_25_hours_in_berlin(day, hours):
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=1 if day.month == 3 else 2)
    period = Period(start, start + timedelta(hours=hours), "Europe/Berlin")
    prices = {"peak": tiers("2"), "valley": tiers("1")}
    result = bill(energy(prices), standing(), period=period, quantities=[900] * 4 * hours, document=PEAKS)
    # the peak is 08-20 on each of them, the hour is gained or lost in the valley; the standing charge is of one day
    assert rows(result, "tou_period", "quantity", "amount_minor") == [
        ("peak", 12, 2400),
        ("valley", hours - 12, (hours - 12) * 100),
        (None, 1, 1000),
    ]


def test_holidays_weekends_and_make_up_days_have_their_own_prices():
    week = {"weekday": [["work"] * 24], "weekend": [["rest"] * 24], "holiday": [["free"] * 24]}
    period = Period(utc(2020, 4, 29, 16), utc(2020, 5, 9, 16), "Asia/Shanghai")  # Thursday 30 April to Saturday 9 May
    calendar = HolidayCalendar(
        "CN", frozenset(date(2020, 5, n) for n in range(1, 6)), frozenset({date(2020, 5, 9)}), date(2020, 5, 9)
    )
    prices = {"work": tiers("3"), "rest": tiers("2"), "free": tiers("1")}
    doc = {"periods": ["work", "rest", "free"], "schedule": week, "calendar": "CN"}
    facts = {"period": period, "quantities": [900] * 960, "document": doc}
    result = bill(energy(prices), calendars={"CN": calendar}, **facts)
    # 30 April, 6-8 May and the worked 9 May are work (5 days); 1-5 May are free, the weekend of 2 and 3 May with them
    assert rows(result, "tou_period", "quantity", "amount_minor") == [("work", 120, 36000), ("free", 120, 12000)]
    plain = document(energy(prices), timezone="Asia/Shanghai", periods=doc["periods"], schedule=week, calendar="CN")
    none = HolidayCalendar("CN", frozenset(), frozenset(), date(2020, 5, 9))
    result = bill(versions=[(period.start, plain)], calendars={"CN": none}, period=period, quantities=[900] * 960)
    assert rows(result, "tou_period", "quantity") == [("work", 7 * 24), ("rest", 3 * 24)]


# Capacity, standing, minimum


@pytest.mark.parametrize(
    ("per", "price", "unit", "quantity", "minor"),
    [
        ("unit_hour", "2.10", "gpu_hour", 8 * 744, 1249920),  # 8 x 744 x 2.10
        ("unit_day", "50", "gpu_day", 8 * 31, 1240000),
        ("unit_month", "1000", "gpu_month", 8, 800000),
    ],
)
def test_capacity_is_what_is_reserved_for_its_time(per, price, unit, quantity, minor):
    result = bill(capacity(price, per), reserved=[Reserved(MAY.start, MAY.end, 5), Reserved(MAY.start, MAY.end, 3)])
    assert rows(result, "quantity", "quantity_base", "unit", "base_unit", "amount_minor") == [
        (quantity, 8 * 744 * HOUR, unit, "gpu_second", minor)
    ]


def test_a_change_of_what_is_reserved_splits_the_month_and_adjacent_equal_spans_do_not():
    middle = utc(2020, 5, 11)
    reserved = [
        Reserved(MAY.start, utc(2020, 5, 5), 2),
        Reserved(utc(2020, 5, 5), MAY.end, 2),
        Reserved(middle, MAY.end, 1),
    ]
    result = bill(capacity("1"), standing("31", "month"), reserved=reserved)
    assert rows(result, "charge", "start", "end", "quantity", "amount_minor") == [
        ("CP", MAY.start, middle, 2 * 240, 48000),
        ("CP", middle, MAY.end, 3 * 504, 151200),
        ("SC", MAY.start, middle, Fraction(10, 31), 1000),
        ("SC", middle, MAY.end, Fraction(21, 31), 2100),
    ]


@pytest.mark.parametrize(("year", "month", "days"), [(2019, 2, 28), (2020, 2, 29), (2020, 5, 31)])
def test_a_whole_months_standing_charge(year, month, days):
    period = Period.month(year, month, "Asia/Shanghai")
    charges = standing("10", "day", "D"), standing("10", "month", "M"), standing("366", "year", "Y")
    result = bill(*charges, period=period)
    year_days = 366 if year == 2020 else 365
    assert rows(result, "charge", "quantity", "quantity_base", "unit", "amount") == [
        ("D", days, days * 86400, "day", 10 * days),
        ("M", 1, days * 86400, "month", 10),
        ("Y", Fraction(days, year_days), days * 86400, "year", Fraction(366 * days, year_days)),
    ]


def test_the_minimum_tops_up_what_it_counts():
    # 100.00 - (3.00 energy + 31.00 standing); the rider is not counted
    charges = energy(tiers("3")), standing("1"), rider("fixed", "7"), minimum("100", ["EN", "SC"])
    result = bill(*charges, quantities=[HOUR])
    assert rows(result, "kind", "charge", "amount_minor") == [
        ("energy", "EN", 300),
        ("rider", "RD", 700),
        ("standing", "SC", 3100),
        ("minimum", "MIN", 6600),
    ]
    assert rows(bill(*charges, quantities=[40 * HOUR]), "charge") == [("EN",), ("RD",), ("SC",)]  # 120.00 is above it


def test_the_minimum_of_a_contract_that_begins_within_the_month_is_prorated_by_seconds():
    # 11 May 12:00 to the end: 20.5 of 31 days of 620.00 = 410.00, less 20.5 days of standing
    result = bill(standing("10"), minimum("620", ["SC"]), active=(utc(2020, 5, 11, 12), None))
    assert rows(result, "charge", "quantity", "amount") == [
        ("SC", Fraction(41, 2), 205),
        ("MIN", Fraction(41, 62), 205),
    ]


def test_the_minimum_counts_the_whole_month_also_where_a_segment_ends():
    # nothing in the first ten days, 200 h in the rest: together above 100.00, so there is no top-up
    reserved = [Reserved(utc(2020, 5, 11), MAY.end, 1)]
    result = bill(energy(tiers("1")), minimum("100", ["EN"]), quantities=[0] * 960 + [200 * HOUR], reserved=reserved)
    assert rows(result, "charge", "amount_minor") == [("EN", 20000)]


# Riders and credits


def test_riders_are_per_unit_percent_or_fixed():
    charges = (
        energy(tiers("2")),
        rider("per_unit", "0.12", ["EN"], "U"),
        rider("percent", "5", ["EN", "U"], "P"),
        rider("fixed", "3.10", code="F"),
    )
    result = bill(*charges, quantities=[100 * HOUR], active=(MAY.start, utc(2020, 5, 11)))
    # 200.00; 100 x 0.12 = 12.00; 5 % of 212.00 = 10.60; 10/31 of 3.10 = 1.00
    assert rows(result, "charge", "quantity", "unit", "unit_price", "amount") == [
        ("EN", 100, "gpu_hour", Decimal(2), 200),
        ("U", 100, "gpu_hour", Decimal("0.12"), 12),
        ("P", 5, "percent", None, Fraction(53, 5)),
        ("F", Fraction(10, 31), "month", Decimal("3.10"), 1),
    ]


def test_a_credit_takes_no_more_than_is_left():
    charges = (
        energy(tiers("2")),
        standing("1"),
        credit("percent", "10", ["EN"], "A"),
        credit("per_unit", "1.50", ["EN"], "B"),
        credit("fixed", "100", ["EN", "SC"], "C"),
        credit("percent", "50", ["EN"], "D"),
    )
    result = bill(*charges, quantities=[10 * HOUR])
    # energy 20.00: 2.00 and 15.00 leave 3.00; fixed takes these and the 31.00 of standing; nothing is left for D
    assert rows(result, "charge", "unit_price", "amount", "amount_minor") == [
        ("EN", Decimal(2), 20, 2000),
        ("SC", Decimal(1), 31, 3100),
        ("A", None, -2, -200),
        ("B", Decimal("-1.50"), -15, -1500),
        ("C", Decimal(-100), -34, -3400),
    ]
    assert result.lines[-1].explanation["offered"] == "100"
    assert (result.total, result.total_minor) == (0, 0)


def test_a_full_credit_leaves_no_negative_cent_after_rounding():
    # two lines of 0.0033.. round to 0.00 each; their sum, 0.0067, would round to a credit of 0.01
    prices = {name: tiers("1") for name in ("peak", "valley")}
    doc = PEAKS
    quantities = [12] + [0] * 31 + [12]  # 12 GPU-seconds are 0.00333.. hours
    result = bill(energy(prices), credit("percent", "100", ["EN"]), quantities=quantities, document=doc)
    assert rows(result, "charge", "amount", "amount_minor") == [
        ("EN", Fraction(1, 300), 0),
        ("EN", Fraction(1, 300), 0),
        ("CR", Fraction(-1, 150), 0),
    ]


def test_a_split_of_the_month_loses_nothing_of_a_fixed_credit():
    # all use is after the split: the whole credit is still given once
    reserved = [Reserved(utc(2020, 5, 11), MAY.end, 1)]
    quantities = [0] * 960 + [200 * HOUR]
    result = bill(energy(tiers("1")), credit("fixed", "62", ["EN"]), quantities=quantities, reserved=reserved)
    assert rows(result, "charge", "start", "end", "amount") == [
        ("EN", utc(2020, 5, 11), MAY.end, 200),
        ("CR", MAY.start, MAY.end, -62),
    ]


# Versions within the month


def test_a_new_version_within_the_month_splits_lines_and_the_tier_counter_runs_on():
    change = utc(2020, 5, 11)
    old = document(energy(tiers(("10", "1"), "2")), demand(tiers("31")), standing("3.10", "month"))
    new = document(energy(tiers(("12", "3"), "4")), demand(tiers("62")), standing("6.20", "month"))
    quantities = [8 * 900, 8 * HOUR - 8 * 900] + [0] * 958 + [3 * 900, 7 * HOUR - 3 * 900]
    result = bill(versions=[(MAY.start - timedelta(days=400), old), (change, new)], quantities=quantities)
    # energy: 8 x 1, then from 8: 4 x 3 to the new edge 12, 3 x 4
    # demand: 21,600 GPU-seconds are 24 GPUs: 24 x 31 x 10/31; 22,500 are 25: 25 x 62 x 21/31
    assert rows(result, "charge", "start", "tier", "quantity", "amount_minor") == [
        ("EN", MAY.start, 1, 8, 800),
        ("EN", change, 1, 4, 1200),
        ("EN", change, 2, 3, 1200),
        ("DM", MAY.start, None, 24, 24000),
        ("DM", change, None, 25, 105000),
        ("SC", MAY.start, None, Fraction(10, 31), 100),
        ("SC", change, None, Fraction(21, 31), 420),
    ]
    assert result.peaks == {("DM", None): 22500}
    assert result.lines[4].explanation["prorated"] == {"part_seconds": 21 * 86400, "whole_seconds": 31 * 86400}


def test_in_volume_mode_a_change_within_the_month_sees_the_whole_months_total_on_both_sides():
    # 6 h and 6 h: each alone is below the edge of 10, together they are above it
    change = utc(2020, 5, 11)
    old = document(energy(tiers(("10", "1"), "2"), tier_mode="volume"))
    new = document(energy(tiers(("10", "3"), "4"), tier_mode="volume"))
    # versions may come in any order
    result = bill(versions=[(change, new), (MAY.start, old)], quantities=[6 * HOUR] + [0] * 959 + [6 * HOUR])
    assert rows(result, "start", "tier", "quantity", "amount_minor") == [
        (MAY.start, 2, 6, 1200),
        (change, 2, 6, 2400),
    ]


def test_the_same_version_again_is_no_change():
    same = document(standing("3.10", "month"))
    assert len(bill(versions=[(MAY.start, same), (utc(2020, 5, 11), same)]).lines) == 1


# Money and what is not there


@pytest.mark.parametrize(
    ("currency", "exponent", "minor"), [("JPY", 0, 1), ("CNY", 2, 67), ("KWD", 3, 667), ("CLF", 4, 6667)]
)
def test_a_line_is_rounded_once_to_the_currencys_exponent(currency, exponent, minor):
    # 2,400 GPU-seconds at 1 are 2/3
    result = bill(energy(tiers("1")), quantities=[2400], document={"currency": currency})
    assert rows(result, "amount", "amount_minor") == [(Fraction(2, 3), minor)]
    assert (result.currency, result.exponent, result.total_minor) == (currency, exponent, minor)


def test_without_readings_only_standing_and_minimum_are_billed():
    charges = (
        energy(tiers("1")),
        demand(tiers("1"), ratchet={"percent": "50", "lookback_months": 1}),
        capacity(),
        rider("percent", "5", ["EN"]),
        standing("1"),
        minimum("100", ["SC", "EN"]),
        credit("percent", "5", ["EN"]),
    )
    expected = [("SC", 3100), ("MIN", 6900)]
    assert rows(bill(*charges), "charge", "amount_minor") == expected
    for units in ({"gpu_hours": Unit()}, {}):
        result = rate(
            period=MAY,
            tariffs=[(MAY.start, parse(document(*charges)))],
            profiles={},
            units=units,
            reserved=[],
            calendars={},
        )
        assert rows(result, "charge", "amount_minor") == expected


def test_outside_the_contracts_active_part_nothing_is_billed():
    charges = energy(tiers("1")), standing("1"), minimum("100", ["SC"])
    for active in [(utc(2020, 6, 1), None), (utc(2019, 1, 1), utc(2020, 5, 1))]:
        result = bill(*charges, quantities=[HOUR], active=active)
        assert (result.lines, result.total, result.total_minor) == ((), 0, 0)
    # readings before the contract's start are not its own
    result = bill(*charges, quantities=[HOUR, HOUR], active=(MAY.start + timedelta(minutes=15), utc(2020, 5, 2)))
    assert rows(result, "charge", "quantity") == [("EN", 1), ("SC", Fraction(95, 96)), ("MIN", Fraction(95, 96 * 31))]


def test_a_profile_may_begin_and_end_anywhere_on_its_edges():
    before = Profile(MAY.start - timedelta(hours=1), 900, [HOUR] * 5)  # one of five lies in May
    within = Profile(utc(2020, 5, 31, 23, 45), 900, [HOUR] * 2)  # one of two
    facts = {"units": {"gpu_hours": Unit()}}
    assert rows(bill(energy(tiers("1")), profiles={"gpu_hours": before}, **facts), "quantity") == [(1,)]
    assert rows(bill(energy(tiers("1")), profiles={"gpu_hours": within}, **facts), "quantity") == [(1,)]


def test_units_are_the_meters_own():
    # 2,500 Wh in an hour: 2.5 kWh at 0.40, and 2.5 kW at 3
    charges = energy(tiers("0.40")), demand(tiers("3"), interval_minutes=60)
    unit = Unit(base_unit="watt_hour", unit="kwh", demand_unit="kw", base_per_unit=1000)
    result = bill(*charges, quantities=[2500], interval=3600, units={"gpu_hours": unit})
    assert rows(result, "quantity", "quantity_base", "unit", "base_unit", "amount_minor") == [
        (Fraction(5, 2), 2500, "kwh", "watt_hour", 100),
        (Fraction(5, 2), 2500, "kw", "watt_hour/3600s", 750),
    ]


def test_every_line_explains_itself_in_json():
    charges = (
        energy({"peak": tiers(("1", "2"), "3"), "valley": tiers("1")}),
        demand(tiers("1")),
        capacity(),
        rider("percent", "5", ["EN"]),
        standing("1"),
        minimum("10000", ["SC", "EN"]),
        credit("percent", "5", ["EN"]),
    )
    period = Period.month(2020, 5, "Asia/Shanghai")
    quantities = [0] * 32 + [3 * HOUR]
    result = bill(
        *charges, period=period, quantities=quantities, document=PEAKS, reserved=[Reserved(period.start, period.end, 1)]
    )
    assert {line.kind for line in result.lines} == {
        "energy", "demand", "capacity", "rider", "standing", "minimum", "credit"
    }  # fmt: skip
    for line in result.lines:
        assert json.loads(json.dumps(line.explanation)) == line.explanation
        assert line.explanation["from"] == "2020-05-01T00:00:00+08:00"
        assert line.explanation["to"] == "2020-06-01T00:00:00+08:00"
        assert Fraction(line.explanation["amount"]) == line.amount
    assert result.lines[1].explanation == {
        "tariff": "T",
        "meter": "gpu_hours",
        "from": "2020-05-01T00:00:00+08:00",
        "to": "2020-06-01T00:00:00+08:00",
        "period": "peak",
        "intervals": 31 * 48,
        "interval_seconds": 900,
        "tier": {"basis": "month", "scope": "across_periods", "mode": "graduated", "above": "1", "up_to": None},
        "quantity_base": 7200,
        "base_per_unit": 3600,
        "unit_price": "3",
        "amount": "6",
    }


def test_lines_carry_the_tax_of_their_tariff():
    tax = {"category": "S", "rate": "0.13", "price_includes_tax": True}
    result = bill(standing("1"), document={"tax": tax})
    assert rows(result, "tax_category", "tax_rate", "tax_included") == [("S", Decimal("0.13"), True)]
