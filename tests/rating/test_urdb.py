"""What the URDB importer makes of each field, and what it refuses."""

import re
from decimal import Decimal

import pytest

from billing.rating.tariff import parse
from billing.rating.urdb import UrdbError, tariff_document

ROWS = [[0] * 24] * 12
RATE = {
    "label": "abc",
    "name": "General service",
    "energyratestructure": [
        [{"max": 100, "rate": Decimal("0.10"), "adj": Decimal("0.005")}, {"rate": 1, "unit": "kWh"}]
    ],
    "energyweekdayschedule": ROWS,
    "energyweekendschedule": ROWS,
}
DEMAND = RATE | {
    "demandratestructure": [[{"rate": 2}], [{"rate": 3}]],
    "demandweekdayschedule": [[0] * 12 + [1] * 12] * 12,
    "demandweekendschedule": ROWS,
}
FLAT = RATE | {"flatdemandstructure": [[{"rate": 4}], [{"rate": 5}]], "flatdemandmonths": [0] * 6 + [1] * 6}


def charges(rate, **options):
    document = tariff_document(rate, **options)
    parse(document)
    return {charge["code"]: charge for charge in document["charges"]}


def test_energy_prices_are_rate_and_adjustment_in_tiers_across_periods():
    assert charges(RATE) == {
        "EN": {
            "kind": "energy",
            "code": "EN",
            "meter": "energy",
            "tier_basis": "month",
            "tier_scope": "across_periods",
            "tier_mode": "graduated",
            "prices": {"e0": [{"up_to": "100", "price": "0.105"}, {"price": "1"}]},
        }
    }


def test_tiers_in_kwh_daily_accumulate_over_the_day():
    rate = RATE | {
        "energyratestructure": [[{"max": 10, "rate": 1, "unit": "kWh daily"}, {"rate": 2, "unit": "kWh daily"}]]
    }
    assert charges(rate)["EN"]["tier_basis"] == "day"


def test_an_edge_of_1e38_is_no_edge_and_adjustments_are_added_exactly():
    tier = {"max": Decimal("1E+38"), "rate": Decimal("0.1000000000000000000000001"), "adj": Decimal(1000000000)}
    rate = RATE | {"energyratestructure": [[tier]]}
    assert charges(rate)["EN"]["prices"] == {"e0": [{"price": "1000000000.1000000000000000000000001"}]}


def test_demand_by_time_of_use_and_flat_demand_have_their_own_schedules():
    demand = charges(DEMAND | {"demandunits": "kW"}, interval_minutes=60)["DT"]
    assert (demand["by"], demand["periods"], demand["interval_minutes"]) == ("period", ["d0", "d1"], 60)
    assert demand["schedule"]["weekday"][0] == ["d0"] * 12 + ["d1"] * 12
    assert demand["prices"] == {"d0": [{"price": "2"}], "d1": [{"price": "3"}]}
    flat = charges(FLAT | {"demandwindow": Decimal(30)})["DF"]
    assert (flat["by"], flat["interval_minutes"]) == ("period", 30)
    assert [row[0] for row in flat["schedule"]["weekend"]] == ["f0"] * 6 + ["f1"] * 6


@pytest.mark.parametrize(("units", "per"), [("$/day", "day"), ("$/month", "month"), ("$/year", "year")])
def test_the_fixed_charge_keeps_its_unit(units, per):
    rate = RATE | {"fixedchargefirstmeter": Decimal("5.5"), "fixedchargeunits": units}
    assert charges(rate)["SC"] == {"kind": "standing", "code": "SC", "amount": "5.5", "per": per}


def test_the_minimum_counts_every_charge():
    rate = FLAT | {
        "fixedchargefirstmeter": 1,
        "fixedchargeunits": "$/month",
        "mincharge": 9,
        "minchargeunits": "$/month",
    }
    assert charges(rate)["MIN"] == {"kind": "minimum", "code": "MIN", "amount": "9", "counts": ["EN", "DF", "SC"]}


def test_one_percentage_over_the_months_just_past_is_a_ratchet():
    rate = FLAT | {"lookbackPercent": Decimal("0.8"), "lookbackRange": 11, "lookbackMonths": [0] * 12}
    assert charges(rate)["DF"]["ratchet"] == {"percent": "80", "lookback_months": 11}
    rate = FLAT | {"demandratchetpercentage": [Decimal("0.5")] * 12, "lookbackRange": 3}
    assert charges(rate)["DF"]["ratchet"] == {"percent": "50", "lookback_months": 3}


def test_zeros_and_empty_fields_say_nothing():
    assert charges(RATE | {"annualmincharge": 0, "energyattrs": [], "mincharge": 0, "lookbackRange": 0}) == charges(
        RATE
    )


REFUSED = [
    ({"annualmincharge": 5}, "annualmincharge is 5: expected no such field"),
    ({"energyattrs": [{"Fuel": "x"}]}, "energyattrs is .*: expected no such field"),
    ({"coincidentratestructure": [[{"rate": 1}]]}, "coincidentratestructure is .*: expected no such field"),
    ({"fueladjustmentsmonthly": [1] * 12}, "fueladjustmentsmonthly is .*: expected no such field"),
    ({"energyratestructure": 5}, "energyratestructure is 5: expected a list of lists of tiers"),
    ({"energyratestructure": [[]]}, r"energyratestructure is \[\[\]\]: expected a list of lists of tiers"),
    ({"energyratestructure": [[7]]}, "energyratestructure has the tier 7: expected an object"),
    (
        {"energyratestructure": [[{"rate": 0.1}]]},
        r"energyratestructure\[0\]\[0\].rate is the float 0.1: expected an exact",
    ),
    (
        {"energyratestructure": [[{"rate": "1"}]]},
        r"energyratestructure\[0\]\[0\].rate is the str '1': expected an exact number",
    ),
    (
        {"energyratestructure": [[{"rate": True}]]},
        r"energyratestructure\[0\]\[0\].rate is the bool True: expected an exact number",
    ),
    (
        {"energyratestructure": [[{"rate": Decimal("1e99")}]]},
        r"rate is Decimal\('1E\+99'\): expected a number of at most",
    ),
    ({"energyratestructure": [[{"rate": 1, "sell": 2}]]}, r"energyratestructure\[0\]\[0\].sell is 2: expected no such"),
    (
        {"energyratestructure": [[{"rate": 1, "max": 2}]]},
        r"energyratestructure\[0\]\[0\].max is 2: expected no max in the",
    ),
    (
        {"energyratestructure": [[{"rate": 1, "unit": "kWh/kW"}]]},
        "unit of a tier is 'kWh/kW': expected one of kWh, kWh daily",
    ),
    (
        {"energyratestructure": [[{"max": 1, "rate": 1, "unit": "kWh"}, {"rate": 1, "unit": "kWh daily"}]]},
        "energyratestructure has the units kWh, kWh daily: expected one",
    ),
    ({"energyweekdayschedule": [[0] * 24]}, "energyweekdayschedule is .*: expected 12 rows of 24 indices"),
    ({"energyweekendschedule": None}, "energyweekendschedule is None: expected 12 rows of 24 indices"),
    ({"energyweekdayschedule": [[1] * 24] * 12}, "energyweekdayschedule has 1: expected an index from 0 to 0"),
    ({"fixedchargefirstmeter": 5}, "fixedchargeunits is None: expected one of"),
    ({"fixedchargefirstmeter": 5, "fixedchargeunits": "$/hour"}, r"fixedchargeunits is '\$/hour': expected one of"),
    ({"mincharge": 5, "minchargeunits": "$/day"}, r"minchargeunits is '\$/day': expected \$/month"),
    ({"demandwindow": "x"}, "demandwindow is 'x': expected whole minutes"),
    ({"lookbackPercent": Decimal("0.5")}, "lookbackrange is None: expected 1 to 120 months for lookbackpercent 0.5"),
    ({"lookbackPercent": 2, "lookbackRange": 1}, "lookbackpercent is 2: expected a share from 0 to 1"),
    ({"lookbackMonths": [1] + [0] * 11}, "lookbackmonths is .*: expected none"),
    (
        {"demandratchetpercentage": [0] * 11 + [1]},
        "demandratchetpercentage is .*: expected the same share in all months",
    ),
    ({"demandratchetpercentage": 1, "lookbackPercent": 1}, "are both given: expected one"),
    ({"flatdemandstructure": [[{"rate": 1}]]}, "flatdemandmonths is None: expected 12 indices"),
    ({"flatdemandstructure": [[{"rate": 1}]], "flatdemandunit": "hp"}, "flatdemandunit is 'hp': expected kW"),
    ({"flatdemandstructure": [[{"rate": 1, "unit": "kVA"}]], "flatdemandmonths": [0] * 12}, "unit of a tier is 'kVA'"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_what_a_tariff_cannot_honour_is_refused_by_name(fields, message):
    with pytest.raises(UrdbError) as raised:
        tariff_document(RATE | fields)
    assert re.search(message, str(raised.value)), str(raised.value)


def test_a_minimum_without_a_charge_to_count_is_refused():
    with pytest.raises(UrdbError, match="mincharge is 5: expected a charge that it counts, there is none"):
        tariff_document({"mincharge": 5, "minchargeunits": "$/month"})
