"""Each field of a tariff document: what is accepted, what is refused and how; the parser and the schema agree."""

import json
from copy import deepcopy
from datetime import date
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from billing.rating.fields import PATTERNS
from billing.rating.tariff import INTERVAL_MINUTES, KINDS, Ratchet, Tariff, TariffError, Tax, Tier, parse, schema
from tests.rating.documents import FLAT, capacity, credit, demand, document, energy, minimum, rider, standing, tiers

EXAMPLES = Path(__file__).parents[2] / "marketplace" / "data" / "tariffs"
VALIDATOR = jsonschema.Draft202012Validator(schema())
OWN = {"periods": ["x"], "schedule": {"weekday": [["x"] * 24], "weekend": [["x"] * 24] * 12}}

CHARGES = [
    energy({"p": tiers(("260", "5.40"), "6.10"), "v": tiers("1")}),  # 0
    energy({"x": tiers("1")}, code="E2", **OWN),  # 1
    demand(tiers(("8", "30.00"), "20"), ratchet={"percent": "80", "lookback_months": 11}),  # 2
    demand({"p": tiers("1"), "v": tiers("2")}, code="D2", by="period", interval_minutes=60, ratchet=None),  # 3
    capacity(),  # 4
    rider("per_unit", "0.12", ["EN", "E2"], "R1"),  # 5
    rider("percent", "-3", ["EN", "R1"], "R2"),  # 6
    rider("fixed", "7", code="R3"),  # 7
    standing("10.00", "day"),  # 8
    minimum("100.00", ["SC", "EN", "R2"], "M1"),  # 9
    minimum("100.00", ["M1"], "M2"),  # 10
    credit("percent", "10", ["EN", "M2"], "C1"),  # 11
    credit("fixed", "10", ["SC"], "C2"),  # 12
    credit("per_unit", "1", ["CP"], "C3"),  # 13
]
ROWS = {"weekday": [["p"] * 12 + ["v"] * 12], "weekend": [["v"] * 24] * 12, "holiday": [["v"] * 24]}
GOOD = document(*CHARGES, periods=["p", "v"], schedule=ROWS, calendar="CN")
MISSING = object()


def change(path, value):
    """A copy of GOOD with the value at the path, or without it."""
    changed = deepcopy(GOOD)
    here = changed
    for step in path[:-1]:
        here = here[step]
    if value is MISSING:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return changed


def valid(candidate):
    return VALIDATOR.is_valid(candidate)


def test_a_document_becomes_frozen_dataclasses_with_decimals():
    tariff = parse(GOOD)
    assert isinstance(tariff, Tariff)
    assert (tariff.code, tariff.currency, tariff.timezone, tariff.calendar) == ("T", "CNY", "UTC", "CN")
    assert tariff.effective == (date(2020, 1, 1), None)
    assert tariff.tax == Tax("S", Decimal("0.06"), price_includes_tax=False)
    assert [charge.code for charge in tariff.charges] == [charge["code"] for charge in CHARGES]
    assert {charge.kind for charge in tariff.charges} == set(KINDS)
    first, second, third = tariff.charges[:3]
    assert dict(first.prices)["p"] == (Tier(Decimal(260), Decimal("5.40")), Tier(None, Decimal("6.10")))
    assert (first.tier_basis, first.tier_scope, first.tier_mode) == ("month", "across_periods", "graduated")
    assert second.schedule.weekday == (("x",) * 24,) * 12
    assert third.ratchet == Ratchet(Decimal(80), 11)
    assert (third.by, third.interval_minutes) == ("month", 15)
    assert len(tariff.schedule.weekday) == len(tariff.schedule.weekend) == len(tariff.schedule.holiday) == 12
    assert hash(tariff) == hash(parse(deepcopy(GOOD)))


def test_holidays_are_as_weekends_where_the_schedule_has_no_holiday():
    tariff = parse(document(periods=["p", "v"], schedule={"weekday": [["p"] * 24], "weekend": [["v"] * 24]}))
    assert tariff.schedule.holiday == tariff.schedule.weekend


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_the_tariffs_that_come_with_the_product_are_accepted_by_both(path):
    example = json.loads(path.read_text(encoding="utf-8"))
    assert valid(example)
    assert parse(example).code == path.stem


def test_the_example_tariff_is_the_one_of_the_design():
    tariff = parse(json.loads((EXAMPLES / "LG-INCLUSIVE-2020.json").read_text(encoding="utf-8")))
    hours = ["valley"] * 7 + ["flat"] + ["peak"] * 3 + ["flat"] * 7 + ["peak"] * 3 + ["flat"] * 2 + ["valley"]
    assert tariff.schedule.weekday == tariff.schedule.weekend == tariff.schedule.holiday == (tuple(hours),) * 12
    energy_charge = tariff.charges[0]
    assert {
        name: [(tier.up_to and int(tier.up_to), str(tier.price)) for tier in blocks]
        for name, blocks in energy_charge.prices
    } == {
        "peak": [(5000, "5.40"), (20000, "5.10"), (None, "4.80")],
        "flat": [(5000, "3.60"), (20000, "3.40"), (None, "3.20")],
        "valley": [(5000, "1.80"), (20000, "1.70"), (None, "1.60")],
    }
    assert [(charge.kind, charge.code) for charge in tariff.charges] == [
        ("energy", "EN"),
        ("demand", "DM"),
        ("capacity", "CP"),
        ("standing", "SC"),
        ("minimum", "MIN"),
    ]


def test_the_schema_is_a_json_schema_and_has_the_parsers_patterns_and_choices():
    jsonschema.Draft202012Validator.check_schema(schema())
    parts = schema()["$defs"]
    for name in ("text", "date", "signed", "amount", "edge", "percent"):
        assert parts[name]["pattern"] == PATTERNS[name]
    assert schema()["properties"]["currency"]["pattern"] == PATTERNS["currency"]
    assert schema()["properties"]["tax"]["properties"]["rate"]["pattern"] == PATTERNS["rate"]
    assert parts["demand"]["properties"]["interval_minutes"]["enum"] == list(INTERVAL_MINUTES)
    assert parts["charge"]["properties"]["kind"]["enum"] == list(KINDS)
    schema()["$defs"].clear()
    assert schema()["$defs"] == parts


ACCEPTED = [
    (("calendar",), "CN"),
    (("effective",), ["2020-02-29", "2020-03-01"]),
    (("rounding",), MISSING),
    (("charges",), []),
    (("charges", 0, "tier_basis"), "contract_year"),
    (("charges", 0, "tier_scope"), "per_period"),
    (("charges", 0, "tier_mode"), "volume"),
    (("charges", 0, "prices", "v"), [{"price": "-0.5"}]),
    (("charges", 4, "meter"), "gpu_hours"),
    (("charges", 7, "value"), "-7"),
    (("charges", 11, "value"), "100.0"),
    (("tax", "rate"), "1"),
    (("tax", "price_includes_tax"), True),
]


@pytest.mark.parametrize(("path", "value"), ACCEPTED)
def test_what_one_accepts_the_other_accepts(path, value):
    changed = change(path, value)
    parse(changed)
    assert valid(changed)


# (what is changed, to what), the path of the error, the value in it, what the message says would be right
REFUSED = [
    (("code",), MISSING, "code", None, "a value, this field is required"),
    (("code",), "", "code", "", "text of 1 to 100 characters without blanks at its ends"),
    (("code",), " T", "code", " T", "text of 1 to 100 characters"),
    (("code",), "x" * 101, "code", "x" * 101, "text of 1 to 100 characters"),
    (("code",), 7, "code", 7, "text of 1 to 100 characters"),
    (("colour",), "red", "colour", "red", "no such field; the fields are code, currency"),
    (("currency",), "yuan", "currency", "yuan", "three capital letters of ISO 4217, such as CNY"),
    (("currency",), "CNY\n", "currency", "CNY\n", "three capital letters"),
    (("effective",), "2020-01-01", "effective", "2020-01-01", "a list of two dates"),
    (("effective",), ["2020-01-01"], "effective", ["2020-01-01"], "a list of two dates"),
    (("effective", 0), None, "effective[0]", None, "a date such as 2020-05-01"),
    (("effective", 1), "20210101", "effective[1]", "20210101", "a date such as 2020-05-01"),
    (("periods",), [], "periods", [], "a list of at least one name"),
    (("periods",), ["p", "v", "p"], "periods[2]", "p", "a name that the list has only once"),
    (("periods", 0), 3, "periods[0]", 3, "text of 1 to 100 characters"),
    (("schedule",), [], "schedule", [], "an object"),
    (("schedule", "weekend"), MISSING, "schedule.weekend", None, "a value, this field is required"),
    (("schedule", "monday"), FLAT, "schedule.monday", FLAT, "no such field; the fields are weekday, weekend, holiday"),
    (("schedule", "weekday"), FLAT * 2, "schedule.weekday", FLAT * 2, "a list of 12 rows, one a month, or of 1"),
    (("schedule", "weekday"), "p", "schedule.weekday", "p", "a list of 12 rows"),
    (("schedule", "weekday", 0), ["p"] * 23, "schedule.weekday[0]", ["p"] * 23, "a list of 24 period names"),
    (("schedule", "weekday", 0), "p", "schedule.weekday[0]", "p", "a list of 24 period names, one an hour"),
    (("schedule", "weekday", 0, 5), 1, "schedule.weekday[0][5]", 1, "one of the periods p, v"),
    (("calendar",), 5, "calendar", 5, "text of 1 to 100 characters"),
    (("calendar",), None, "calendar", None, "a calendar's code, since schedule.holiday needs its holidays"),
    (("charges",), {}, "charges", {}, "a list of charges"),
    (("charges", 0), "EN", "charges[0]", "EN", "an object"),
    (("charges", 0, "kind"), MISSING, "charges[0].kind", None, "a value, one of standing, capacity, energy"),
    (("charges", 0, "kind"), "gift", "charges[0].kind", "gift", "one of standing, capacity, energy"),
    (("charges", 0, "code"), None, "charges[0].code", None, "text of 1 to 100 characters"),
    (("charges", 0, "meter"), MISSING, "charges[0].meter", None, "a value, this field is required"),
    (("charges", 0, "per"), "day", "charges[0].per", "day", "no such field; the fields are kind, code, meter, prices"),
    (("charges", 0, "tier_basis"), "week", "charges[0].tier_basis", "week", "one of month, day, contract_year"),
    (("charges", 0, "tier_scope"), "all", "charges[0].tier_scope", "all", "one of across_periods, per_period"),
    (("charges", 0, "tier_mode"), None, "charges[0].tier_mode", None, "one of graduated, volume"),
    (("charges", 0, "prices"), [], "charges[0].prices", [], "an object with the prices of p, v"),
    (("charges", 0, "prices", "p"), {}, "charges[0].prices.p", {}, "a list of at least one tier"),
    (("charges", 0, "prices", "p"), [], "charges[0].prices.p", [], "a list of at least one tier"),
    (("charges", 0, "prices", "p", 0), 5, "charges[0].prices.p[0]", 5, "an object"),
    (("charges", 0, "prices", "p", 0, "price"), 5.4, "charges[0].prices.p[0].price", 5.4, "a decimal in a string"),
    (("charges", 0, "prices", "p", 0, "price"), "1e3", "charges[0].prices.p[0].price", "1e3", "a decimal in a string"),
    (("charges", 0, "prices", "p", 0, "price"), "５", "charges[0].prices.p[0].price", "５", "a decimal in a string"),
    (("charges", 0, "prices", "p", 0, "up_to"), "0.00", "charges[0].prices.p[0].up_to", "0.00", "a decimal above 0"),
    (
        ("charges", 0, "prices", "p", 0, "up_to"),
        MISSING,
        "charges[0].prices.p[0].up_to",
        None,
        "only the last tier is open",
    ),
    (
        ("charges", 0, "prices", "p", 1, "up_to"),
        "900",
        "charges[0].prices.p[1].up_to",
        "900",
        "no such field in the last",
    ),
    (("charges", 1, "schedule"), MISSING, "charges[1].schedule", None, "since the charge has periods of its own"),
    (("charges", 1, "periods"), [], "charges[1].periods", [], "a list of at least one name"),
    (("charges", 2, "interval_minutes"), 7, "charges[2].interval_minutes", 7, "one of 5, 10, 15, 20, 30, 60"),
    (("charges", 2, "interval_minutes"), "15", "charges[2].interval_minutes", "15", "one of 5, 10, 15, 20, 30, 60"),
    (("charges", 2, "interval_minutes"), True, "charges[2].interval_minutes", True, "one of 5, 10, 15, 20, 30, 60"),
    (("charges", 2, "by"), "year", "charges[2].by", "year", "one of month, period"),
    (("charges", 2, "prices", "p"), tiers("1"), "charges[2].prices.p", tiers("1"), "the prices are of all"),
    (("charges", 2, "prices"), {"p": tiers("1")}, "charges[2].prices.p", tiers("1"), "the prices are of all"),
    (("charges", 2, "ratchet"), "80", "charges[2].ratchet", "80", "an object"),
    (("charges", 2, "ratchet", "percent"), "101", "charges[2].ratchet.percent", "101", "a decimal from 0 to 100"),
    (
        ("charges", 2, "ratchet", "lookback_months"),
        0,
        "charges[2].ratchet.lookback_months",
        0,
        "a whole number from 1 to",
    ),
    (
        ("charges", 2, "ratchet", "lookback_months"),
        "1",
        "charges[2].ratchet.lookback_months",
        "1",
        "a whole number from",
    ),
    (("charges", 4, "price"), "-1", "charges[4].price", "-1", "a decimal of 0 or more in a string"),
    (("charges", 4, "per"), "hour", "charges[4].per", "hour", "one of unit_hour, unit_day, unit_month"),
    (("charges", 4, "meter"), None, "charges[4].meter", None, "text of 1 to 100 characters"),
    (("charges", 5, "basis"), "sum", "charges[5].basis", "sum", "one of per_unit, percent, fixed"),
    (("charges", 5, "of"), MISSING, "charges[5].of", None, "a value, this field is required"),
    (("charges", 5, "of"), "EN", "charges[5].of", "EN", "a list of at least one name"),
    (("charges", 5, "value"), "", "charges[5].value", "", "a decimal in a string"),
    (("charges", 7, "of"), ["EN"], "charges[7].of", ["EN"], "no such field, since a fixed rider is of no other charge"),
    (("charges", 8, "amount"), "-1", "charges[8].amount", "-1", "a decimal of 0 or more"),
    (("charges", 8, "per"), "hour", "charges[8].per", "hour", "one of day, month, year"),
    (("charges", 9, "amount"), 100, "charges[9].amount", 100, "a decimal of 0 or more"),
    (("charges", 9, "counts"), [], "charges[9].counts", [], "a list of at least one name"),
    (("charges", 9, "counts"), ["SC", "SC"], "charges[9].counts[1]", "SC", "a name that the list has only once"),
    (("charges", 11, "value"), "100.5", "charges[11].value", "100.5", "a decimal from 0 to 100"),
    (("charges", 12, "value"), "-1", "charges[12].value", "-1", "a decimal of 0 or more"),
    (("charges", 12, "of"), MISSING, "charges[12].of", None, "a value, this field is required"),
    (("tax",), MISSING, "tax", None, "a value, this field is required"),
    (("tax", "category"), "", "tax.category", "", "text of 1 to 100 characters"),
    (("tax", "rate"), "6", "tax.rate", "6", "a decimal from 0 to 1 in a string, such as 0.06"),
    (("tax", "price_includes_tax"), "no", "tax.price_includes_tax", "no", "true or false"),
    (("rounding",), {}, "rounding.line", None, "a value, this field is required"),
    (("rounding", "line"), "up", "rounding.line", "up", "one of half_up"),
]

# What only the parser can see: it looks across fields, or things up.
PARSER_ONLY = [
    (("timezone",), "Asia/Lingang", "timezone", "Asia/Lingang", "an IANA time zone, such as Asia/Shanghai"),
    (("timezone",), "../etc", "timezone", "../etc", "an IANA time zone"),
    (("timezone",), "Asia", "timezone", "Asia", "an IANA time zone"),
    (("effective", 0), "2020-02-30", "effective[0]", "2020-02-30", "a date that exists"),
    (("effective", 1), "2020-01-01", "effective[1]", "2020-01-01", "a date after 2020-01-01"),
    (("schedule", "weekday", 0, 5), "x", "schedule.weekday[0][5]", "x", "one of the periods p, v"),
    (
        ("charges", 1, "schedule", "weekday", 0, 0),
        "p",
        "charges[1].schedule.weekday[0][0]",
        "p",
        "one of the periods x",
    ),
    (
        ("charges", 0, "prices", "x"),
        tiers("1"),
        "charges[0].prices.x",
        tiers("1"),
        "no such field; the prices are of p, v",
    ),
    (("charges", 0, "prices", "v"), MISSING, "charges[0].prices.v", None, "a value, a list of tiers"),
    (
        ("charges", 0, "prices", "p"),
        tiers(("5", "1"), ("5.0", "1"), "1"),
        "charges[0].prices.p[1].up_to",
        "5.0",
        "an edge above the tier before it, 5",
    ),
    (
        ("charges", 0, "prices", "p"),
        [{"price": "1"}, {"up_to": "5", "price": "1"}],
        "charges[0].prices.p[0].up_to",
        None,
        "a value, since only the last tier is open",
    ),
    (("charges", 1, "code"), "EN", "charges[1].code", "EN", "a code that no other charge has"),
    (
        ("charges", 6, "of", 0),
        "SC",
        "charges[6].of[0]",
        "SC",
        "the code of a charge that is rated before it, one of EN",
    ),
    (("charges", 6, "of", 0), "R3", "charges[6].of[0]", "R3", "the code of a charge that is rated before it"),
    (("charges", 6, "of", 0), "R2", "charges[6].of[0]", "R2", "the code of a charge that is rated before it"),
    (("charges", 9, "counts", 0), "M2", "charges[9].counts[0]", "M2", "the code of a charge that is rated before it"),
    (("charges", 9, "counts", 0), "C1", "charges[9].counts[0]", "C1", "the code of a charge that is rated before it"),
    (("charges", 11, "of", 0), "C2", "charges[11].of[0]", "C2", "the code of a charge that is rated before it"),
    (
        ("charges", 5, "of"),
        ["EN", "CP"],
        "charges[5].of",
        ["EN", "CP"],
        "energy charges of one meter or capacity charges",
    ),
    (("charges", 5, "of"), ["DM"], "charges[5].of", ["DM"], "energy charges of one meter or capacity charges"),
    (("charges", 13, "of"), ["SC"], "charges[13].of", ["SC"], "energy charges of one meter or capacity charges"),
]


def check_refusal(changed, path, value, expected):
    with pytest.raises(TariffError) as raised:
        parse(changed)
    assert (raised.value.path, raised.value.value) == (path, value)
    assert expected in raised.value.expected
    assert str(raised.value).startswith(f"{path} is ")
    assert raised.value.expected in str(raised.value)


@pytest.mark.parametrize(("where", "value", "path", "shown", "expected"), REFUSED)
def test_what_one_refuses_the_other_refuses_and_the_error_names_field_value_and_remedy(
    where, value, path, shown, expected
):
    changed = change(where, value)
    check_refusal(changed, path, shown, expected)
    assert not valid(changed)


@pytest.mark.parametrize(("where", "value", "path", "shown", "expected"), PARSER_ONLY)
def test_what_a_schema_cannot_say_the_parser_refuses(where, value, path, shown, expected):
    changed = change(where, value)
    check_refusal(changed, path, shown, expected)
    assert valid(changed)


def test_a_charges_own_holidays_need_a_calendar_too():
    own = {"periods": ["x"], "schedule": OWN["schedule"] | {"holiday": [["x"] * 24]}}
    changed = document(energy({"x": tiers("1")}, **own))
    check_refusal(changed, "calendar", None, "a calendar's code, since charges[0].schedule.holiday needs its holidays")
    assert not valid(changed)
    assert parse(changed | {"calendar": "CN"})
    assert valid(changed | {"calendar": "CN"})


def test_a_document_is_an_object():
    with pytest.raises(TariffError, match=r"document is \[\]: expected an object"):
        parse([])
    assert not valid([])


def test_a_long_value_is_shortened_in_the_message_only():
    with pytest.raises(TariffError) as raised:
        parse(change(("code",), "x" * 500))
    assert len(str(raised.value)) < 250
    assert raised.value.value == "x" * 500
