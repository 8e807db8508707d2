"""Rates of the OpenEI Utility Rate Database (URDB, version 7 field names) as tariff documents.

Energy: the database's periods by their index as e0, e1, ... Demand by time of use: charge DT, periods d0, d1, ...
Flat demand: charge DF, periods f0, f1, ..., one for each month. What would change a bill and has no place in a
tariff is refused by its name; nothing is dropped but what describes or limits who may choose the rate.
Source of the names: openei.org/services/doc/rest/util_rates/?version=7.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any

# Fields that name, describe or locate a rate, or say who may choose it: no part of a bill.
DESCRIPTION = frozenset(
    """label name utility eiaid uri sector description source sourceparent startdate enddate supercedes supersedes
    approved country revisions rateid is_default basicinformationcomments energycomments demandcomments
    fixedchargecomments dgrules servicetype voltagecategory voltageminimum voltagemaximum phasewiring peakkwcapacitymin
    peakkwcapacitymax peakkwcapacityhistory peakkwhusagemin peakkwhusagemax peakkwhusagehistory usenetmetering
    kwhusagemin kwhusagemax zipcode""".split()  # noqa: SIM905  - a table
)
_PRICED = frozenset(
    """energyratestructure energyweekdayschedule energyweekendschedule demandratestructure demandweekdayschedule
    demandweekendschedule demandunits demandrateunit demandwindow flatdemandstructure flatdemandmonths flatdemandunit
    fixedchargefirstmeter fixedchargeunits mincharge minchargeunits demandratchetpercentage lookbackpercent
    lookbackrange lookbackmonths""".split()  # noqa: SIM905  - a table
)
# SAM writes 1E+38 for the edge of a tier that has none.
_NO_EDGE = Decimal("1E+37")
_UNIT_OF_FIXED = {"$/day": "day", "$/month": "month", "$/year": "year"}
_BASIS_OF_UNIT = {"kWh": "month", "kWh daily": "day"}


class UrdbError(ValueError):
    """The rate can't be imported: the message names the field, its value and what would be right."""


def tariff_document(
    rate: Mapping[str, Any],
    *,
    code: str = "URDB",
    currency: str = "USD",
    timezone: str = "UTC",
    meter: str = "energy",
    effective_from: str = "1970-01-01",
    interval_minutes: int = 15,
) -> dict[str, Any]:
    """The tariff document of a URDB rate, untaxed. Numbers are ints or Decimals, never floats.

    interval_minutes is the demand interval where the rate has no demandwindow. Raises UrdbError; what it builds may
    still be refused by billing.rating.tariff.parse, such as edges that do not rise.
    """
    fields = {_lower(name): value for name, value in rate.items() if not _is_empty(name, value)}
    for name, value in fields.items():
        if name not in _PRICED and name not in DESCRIPTION:
            raise UrdbError(f"{name} is {_shown(value)}: expected no such field, a tariff has no place for it")
    ratchet = _ratchet(fields)
    window = _window(fields, interval_minutes)
    charges, periods, schedule = _energy(fields, meter)
    charges += _demand(fields, meter, window, ratchet)
    charges += _flat_demand(fields, meter, window, ratchet)
    charges += _fixed(fields)
    charges += _minimum(fields, [charge["code"] for charge in charges])
    return {
        "code": code,
        "currency": currency,
        "timezone": timezone,
        "effective": [effective_from, None],
        "periods": periods,
        "schedule": schedule,
        "calendar": None,
        "charges": charges,
        "tax": {"category": "O", "rate": "0", "price_includes_tax": False},
        "rounding": {"line": "half_up"},
    }


def _lower(name: str) -> str:
    """URDB writes lookbackPercent beside demandwindow; names differ in nothing but capitals."""
    return name.lower()


def _is_empty(name: str, value: object) -> bool:
    """Whether a field says nothing: null, an empty text or list; or, where it has no place here, zeros only."""
    if value is None or (isinstance(value, str | list) and not value):
        return True
    return _lower(name) not in _PRICED and _is_zero(value)


def _is_zero(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_zero(item) for item in value)
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and value == 0


def _energy(fields: Mapping[str, Any], meter: str) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    structure = fields.get("energyratestructure")
    if structure is None:
        return [], ["e0"], {"weekday": [["e0"] * 24], "weekend": [["e0"] * 24]}
    units = {_unit(tier, _BASIS_OF_UNIT) for tier in _tiers_of(structure, "energyratestructure")}
    if len(units) > 1:
        raise UrdbError(f"energyratestructure has the units {', '.join(sorted(units))}: expected one")
    schedule, periods = _schedule(fields, "energy", len(structure), "e")
    charge = {
        "kind": "energy",
        "code": "EN",
        "meter": meter,
        "tier_basis": _BASIS_OF_UNIT[units.pop()],
        "tier_scope": "across_periods",
        "tier_mode": "graduated",
        "prices": _prices(structure, "energyratestructure", "e"),
    }
    return [charge], periods, schedule


def _demand(fields: Mapping[str, Any], meter: str, window: int, ratchet: dict[str, Any] | None) -> list[dict[str, Any]]:
    structure = fields.get("demandratestructure")
    if structure is None:
        return []
    _require_kw(fields, "demandunits", "demandrateunit", structure=structure)
    schedule, periods = _schedule(fields, "demand", len(structure), "d")
    prices = _prices(structure, "demandratestructure", "d")
    return [_demand_charge("DT", meter, window, ratchet, (periods, schedule, prices))]


def _flat_demand(
    fields: Mapping[str, Any], meter: str, window: int, ratchet: dict[str, Any] | None
) -> list[dict[str, Any]]:
    structure = fields.get("flatdemandstructure")
    if structure is None:
        return []
    _require_kw(fields, "flatdemandunit", structure=structure)
    months = fields.get("flatdemandmonths")
    if not isinstance(months, list) or len(months) != 12:
        raise UrdbError(f"flatdemandmonths is {_shown(months)}: expected 12 indices into flatdemandstructure")
    names = [_name(index, len(structure), "f", "flatdemandmonths") for index in months]
    rows = [[name] * 24 for name in names]
    periods = [f"f{index}" for index in range(len(structure))]
    prices = _prices(structure, "flatdemandstructure", "f")
    return [_demand_charge("DF", meter, window, ratchet, (periods, {"weekday": rows, "weekend": rows}, prices))]


def _demand_charge(
    code: str,
    meter: str,
    window: int,
    ratchet: dict[str, Any] | None,
    priced: tuple[list[str], dict[str, Any], dict[str, Any]],
) -> dict[str, Any]:
    periods, schedule, prices = priced
    return {
        "kind": "demand",
        "code": code,
        "meter": meter,
        "interval_minutes": window,
        "by": "period",
        "periods": periods,
        "schedule": schedule,
        "prices": prices,
        "ratchet": ratchet,
    }


def _fixed(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    amount = _number(fields.get("fixedchargefirstmeter", 0), "fixedchargefirstmeter")
    if not amount:
        return []
    units = fields.get("fixedchargeunits")
    if units not in _UNIT_OF_FIXED:
        raise UrdbError(f"fixedchargeunits is {units!r}: expected one of {', '.join(_UNIT_OF_FIXED)}")
    return [{"kind": "standing", "code": "SC", "amount": _text(amount), "per": _UNIT_OF_FIXED[units]}]


def _minimum(fields: Mapping[str, Any], counts: list[str]) -> list[dict[str, Any]]:
    amount = _number(fields.get("mincharge", 0), "mincharge")
    if not amount:
        return []
    units = fields.get("minchargeunits")
    if units != "$/month":
        raise UrdbError(f"minchargeunits is {units!r}: expected $/month, a minimum is of a month")
    if not counts:
        raise UrdbError(f"mincharge is {amount}: expected a charge that it counts, there is none")
    return [{"kind": "minimum", "code": "MIN", "amount": _text(amount), "counts": counts}]


def _ratchet(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """One percentage all year over the months just past is a ratchet; anything else is refused."""
    shares: dict[str, Decimal] = {}
    for name in ("demandratchetpercentage", "lookbackpercent"):
        values = fields.get(name, 0)
        items = {_number(item, name) for item in (values if isinstance(values, list) else [values])}
        if len(items) > 1:
            raise UrdbError(f"{name} is {_shown(values)}: expected the same share in all months")
        shares[name] = items.pop()
    months = fields.get("lookbackmonths", 0)
    if not _is_zero(months):
        raise UrdbError(f"lookbackmonths is {_shown(months)}: expected none, a ratchet looks back at all months")
    if all(shares.values()):
        raise UrdbError("demandratchetpercentage and lookbackpercent are both given: expected one")
    name, share = max(shares.items(), key=lambda item: item[1])
    if not share:
        return None
    lookback = fields.get("lookbackrange")
    if type(lookback) is not int or not 1 <= lookback <= 120:
        raise UrdbError(f"lookbackrange is {_shown(lookback)}: expected 1 to 120 months for {name} {share}")
    if not 0 < share <= 1:
        raise UrdbError(f"{name} is {share}: expected a share from 0 to 1")
    return {"percent": _text(share.scaleb(2)), "lookback_months": lookback}


def _window(fields: Mapping[str, Any], interval_minutes: int) -> int:
    window = fields.get("demandwindow", interval_minutes)
    if isinstance(window, Decimal) and window == window.to_integral_value():
        return int(window)
    if type(window) is not int:
        raise UrdbError(f"demandwindow is {_shown(window)}: expected whole minutes")
    return window


def _require_kw(fields: Mapping[str, Any], *names: str, structure: Sequence[Any]) -> None:
    for name in names:
        if fields.get(name, "kW") != "kW":
            raise UrdbError(f"{name} is {fields[name]!r}: expected kW")
    for tier in _tiers_of(structure, "the demand structure"):
        _unit(tier, {"kW": ""})


def _tiers_of(structure: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(structure, list) or not all(isinstance(tiers, list) and tiers for tiers in structure):
        raise UrdbError(f"{name} is {_shown(structure)}: expected a list of lists of tiers")
    found = [tier for tiers in structure for tier in tiers]
    for tier in found:
        if not isinstance(tier, Mapping):
            raise UrdbError(f"{name} has the tier {_shown(tier)}: expected an object")
    return found


def _unit(tier: Mapping[str, Any], known: Mapping[str, str]) -> str:
    unit: object = tier.get("unit") or next(iter(known))
    if not isinstance(unit, str) or unit not in known:
        raise UrdbError(f"unit of a tier is {unit!r}: expected one of {', '.join(known)}")
    return unit


def _prices(structure: Sequence[Sequence[Mapping[str, Any]]], name: str, prefix: str) -> dict[str, Any]:
    return {f"{prefix}{index}": _tiers(tiers, f"{name}[{index}]") for index, tiers in enumerate(structure)}


def _tiers(tiers: Sequence[Mapping[str, Any]], path: str) -> list[dict[str, str]]:
    found = []
    for index, tier in enumerate(tiers):
        here = f"{path}[{index}]"
        for field, value in tier.items():
            if field not in ("rate", "adj", "max", "unit") and not (value is None or _is_zero(value)):
                raise UrdbError(
                    f"{here}.{field} is {_shown(value)}: expected no such field, a tariff has no place for it"
                )
        with localcontext(prec=100):
            price = _number(tier.get("rate", 0), f"{here}.rate") + _number(tier.get("adj", 0), f"{here}.adj")
        edge = None if tier.get("max") is None else _number(tier["max"], f"{here}.max")
        block = {} if edge is None or edge >= _NO_EDGE else {"up_to": _text(edge)}
        found.append({**block, "price": _text(price)})
    if "up_to" in found[-1]:
        raise UrdbError(f"{path}[{len(found) - 1}].max is {found[-1]['up_to']}: expected no max in the last tier")
    return found


def _schedule(fields: Mapping[str, Any], kind: str, number: int, prefix: str) -> tuple[dict[str, Any], list[str]]:
    found = {}
    for day in ("weekday", "weekend"):
        name = f"{kind}{day}schedule"
        rows = fields.get(name)
        if not isinstance(rows, list) or len(rows) != 12 or any(not isinstance(r, list) or len(r) != 24 for r in rows):
            raise UrdbError(f"{name} is {_shown(rows)}: expected 12 rows of 24 indices into {kind}ratestructure")
        found[day] = [[_name(index, number, prefix, name) for index in row] for row in rows]
    return found, [f"{prefix}{index}" for index in range(number)]


def _name(index: object, number: int, prefix: str, field: str) -> str:
    if type(index) is not int or not 0 <= index < number:
        raise UrdbError(f"{field} has {_shown(index)}: expected an index from 0 to {number - 1}")
    return f"{prefix}{index}"


def _number(value: object, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        expected = "an exact number, from JSON read with parse_float=Decimal"
        raise UrdbError(f"{path} is the {type(value).__name__} {_shown(value)}: expected {expected}")
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > 40:
        raise UrdbError(f"{path} is {_shown(value)}: expected a number of at most 40 digits")
    return number


def _text(number: Decimal) -> str:
    return f"{number:f}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
