"""Demand charges worked out by hand: the arithmetic stands beside each figure."""

from decimal import Decimal
from fractions import Fraction

from billing.rating.quantity import Profile, Unit
from billing.rating.rate import History
from tests.rating.documents import demand, tiers
from tests.rating.hand import MAY, PEAKS, bill, rows


def test_demand_is_the_greatest_quarter_hours_average():
    # 8 GPUs for 15 minutes are 7,200 GPU-seconds: 8 x 30.00; 16 GPUs for one minute are 960: 1.07
    result = bill(demand(tiers("30.00")), quantities=[960, 7200, 0])
    names = ("tou_period", "tier", "quantity", "quantity_base", "unit", "base_unit", "unit_price", "amount_minor")
    assert rows(result, *names) == [(None, None, 8, 7200, "gpu", "gpu_second/900s", Decimal("30.00"), 24000)]
    assert result.peaks == {("DM", None): 7200}


def test_demand_tiers_are_graduated():
    # 12 GPUs: 8 x 30 + 4 x 20
    result = bill(demand(tiers(("8", "30"), "20")), quantities=[12 * 900])
    assert rows(result, "tier", "quantity", "quantity_base", "amount_minor") == [
        (1, 8, 7200, 24000),
        (2, 4, 3600, 8000),
    ]


def test_demand_by_period_has_the_greatest_interval_of_each_and_an_absent_period_costs_nothing():
    doc = PEAKS | {"periods": ["peak", "valley", "never"]}
    prices = {"peak": tiers("3"), "valley": tiers("2"), "never": tiers("1")}
    quantities = [900, 1800] + [0] * 30 + [2700]
    ratchet = {"percent": "100", "lookback_months": 1}
    history = History(peaks={("DM", "never"): (90000,)})
    charge = demand(prices, by="period", ratchet=ratchet)
    result = bill(charge, quantities=quantities, document=doc, history=history)
    assert rows(result, "tou_period", "quantity", "amount_minor") == [("peak", 3, 900), ("valley", 2, 400)]
    assert result.peaks == {("DM", "peak"): 2700, ("DM", "valley"): 1800, ("DM", "never"): 0}


def test_a_demand_interval_of_an_hour_sums_four_quarters_aligned_to_utc():
    # 00:00-01:00 has 3,600 GPU-seconds, 01:00-02:00 has 5,400: 1.5 GPUs; 00:45-01:45 would have 9,000
    quantities = [0, 0, 0, 3600, 1800, 1800, 1800, 0]
    result = bill(demand(tiers("10"), interval_minutes=60), quantities=quantities)
    assert rows(result, "quantity", "quantity_base", "base_unit", "amount_minor") == [
        (Fraction(3, 2), 5400, "gpu_second/3600s", 1500)
    ]


def test_a_ratchet_bills_a_share_of_the_greatest_peak_of_the_months_it_looks_back():
    # 80 % of 20 GPUs is 16, above this month's 8: 16 x 30; the 100 GPUs of a month before that are out of sight
    charge = demand(tiers(("10", "30"), "20"), ratchet={"percent": "80", "lookback_months": 2})
    history = History(peaks={("DM", None): (100 * 900, 20 * 900, 5 * 900)})
    result = bill(charge, quantities=[8 * 900], history=history)
    # quantity is what is billed, quantity_base what was measured
    assert rows(result, "tier", "quantity", "quantity_base", "amount_minor") == [(1, 10, 7200, 30000), (2, 6, 0, 12000)]
    assert result.peaks == {("DM", None): 7200}
    assert result.lines[0].explanation["ratchet"] == {
        "percent": "80",
        "lookback_months": 2,
        "past_base": [18000, 4500],
        "floor_base": "14400",
    }
    assert history.after(result).peaks == {("DM", None): (90000, 18000, 4500, 7200)}
    assert rows(bill(charge, quantities=[17 * 900], history=history), "quantity") == [(10,), (7,)]


def test_a_ratchet_bills_a_month_without_use():
    charge = demand(tiers("30"), ratchet={"percent": "50", "lookback_months": 11})
    history = History(peaks={("DM", None): (8 * 900,)})
    assert rows(bill(charge, history=history), "quantity", "quantity_base", "amount_minor") == [(4, 0, 12000)]
    assert rows(
        bill(
            charge,
            history=history,
            profiles={"other": Profile(MAY.start, 900, [])},
            units={"other": Unit(), "gpu_hours": Unit()},
        ),
        "quantity",
        "amount_minor",
    ) == [(4, 12000)]


def test_a_charge_that_had_no_peak_before_had_one_of_zero():
    history = History(peaks={("OLD", None): (5, 6)}).after(bill(demand(tiers("1")), quantities=[900]))
    assert history.peaks == {("OLD", None): (5, 6, 0), ("DM", None): (0, 0, 900)}
