"""A tariff: a JSON document read into frozen dataclasses. The document's fields are told in tariff.schema.json.

The parser also holds what JSON Schema can't say across fields: the time zone and the dates exist, codes are unique,
names that are used are declared, tiers' edges rise and the open tier is the last, riders and the like name charges
that are rated before them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from billing.rating.charge import (
    Capacity,
    Charge,
    Credit,
    Demand,
    Energy,
    Minimum,
    Ratchet,
    Rider,
    Rows,
    Schedule,
    Standing,
    Tier,
    Tiers,
)
from billing.rating.fields import (
    TariffError,
    read_choice,
    read_decimal,
    read_list,
    read_names,
    read_object,
    read_text,
)

__all__ = [
    "INTERVAL_MINUTES",
    "KINDS",
    "Capacity",
    "Charge",
    "Credit",
    "Demand",
    "Energy",
    "Minimum",
    "Ratchet",
    "Rider",
    "Rows",
    "Schedule",
    "Standing",
    "Tariff",
    "TariffError",
    "Tax",
    "Tier",
    "Tiers",
    "parse",
    "schema",
]

INTERVAL_MINUTES = (5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440)
KINDS = ("standing", "capacity", "energy", "demand", "rider", "minimum", "credit")


@dataclass(frozen=True, slots=True)
class Tax:
    category: str
    rate: Decimal
    price_includes_tax: bool


@dataclass(frozen=True, slots=True)
class Tariff:
    """effective: the local dates from which and (exclusive, None for open) until which the document may be chosen;
    the instants between which a contract is rated by it are the caller's. rounding: how a line is rounded.
    """

    code: str
    currency: str
    timezone: str
    effective: tuple[date, date | None]
    periods: tuple[str, ...]
    schedule: Schedule
    calendar: str | None
    charges: tuple[Charge, ...]
    tax: Tax
    rounding: Literal["half_up"]


@lru_cache(maxsize=1)
def _schema_text() -> str:
    return Path(__file__).with_name("tariff.schema.json").read_text(encoding="utf-8")


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a tariff document: a new copy each time."""
    return cast("dict[str, Any]", json.loads(_schema_text()))


def parse(document: Mapping[str, object]) -> Tariff:
    """Reads a tariff document. Raises TariffError at the first field that is wrong."""
    required = ("code", "currency", "timezone", "effective", "periods", "schedule", "charges", "tax")
    fields = read_object(document, "", required, ("calendar", "rounding"))
    periods = read_names(fields["periods"], "periods")
    schedule = _schedule(fields["schedule"], "schedule", periods)
    calendar = None if fields.get("calendar") is None else read_text(fields["calendar"], "calendar")
    rounding = read_object(fields.get("rounding", {"line": "half_up"}), "rounding", ("line",))
    read_choice(rounding["line"], "rounding.line", ("half_up",))
    tariff = Tariff(
        code=read_text(fields["code"], "code"),
        currency=read_text(fields["currency"], "currency", "currency"),
        timezone=_timezone(fields["timezone"]),
        effective=_effective(fields["effective"]),
        periods=periods,
        schedule=schedule,
        calendar=calendar,
        charges=_charges(fields["charges"], periods, schedule),
        tax=_tax(fields["tax"]),
        rounding="half_up",
    )
    if calendar is None:
        _refuse_unused_holidays(fields)
    return tariff


def _charges(value: object, periods: tuple[str, ...], schedule: Schedule) -> tuple[Charge, ...]:
    charges: list[Charge] = []
    for index, item in enumerate(read_list(value, "charges", "a list of charges")):
        path = f"charges[{index}]"
        if not isinstance(item, Mapping):
            raise TariffError(path, item, "an object")
        if "kind" not in item:
            raise TariffError(f"{path}.kind", None, f"a value, one of {', '.join(KINDS)}")
        kind = read_choice(item["kind"], f"{path}.kind", KINDS)
        charge = _READERS[kind](item, path, periods, schedule)
        if charge.code in {other.code for other in charges}:
            raise TariffError(f"{path}.code", charge.code, "a code that no other charge has")
        charges.append(charge)
    for index, charge in enumerate(charges):
        _check_references(charge, charges[:index], charges, f"charges[{index}]")
    return tuple(charges)


def _standing(value: object, path: str, _periods: tuple[str, ...], _schedule: Schedule) -> Standing:
    fields = read_object(value, path, ("kind", "code", "amount", "per"))
    return Standing(
        code=read_text(fields["code"], f"{path}.code"),
        amount=read_decimal(fields["amount"], f"{path}.amount", "amount"),
        per=cast("Any", read_choice(fields["per"], f"{path}.per", ("day", "month", "year"))),
    )


def _capacity(value: object, path: str, _periods: tuple[str, ...], _schedule: Schedule) -> Capacity:
    fields = read_object(value, path, ("kind", "code", "price", "per"), ("meter",))
    return Capacity(
        code=read_text(fields["code"], f"{path}.code"),
        price=read_decimal(fields["price"], f"{path}.price", "amount"),
        per=cast("Any", read_choice(fields["per"], f"{path}.per", ("unit_hour", "unit_day", "unit_month"))),
        meter=read_text(fields["meter"], f"{path}.meter") if "meter" in fields else None,
    )


def _energy(value: object, path: str, periods: tuple[str, ...], schedule: Schedule) -> Energy:
    optional = ("tier_basis", "tier_scope", "tier_mode", "periods", "schedule")
    fields = read_object(value, path, ("kind", "code", "meter", "prices"), optional)
    periods, schedule = _own_schedule(fields, path, periods, schedule)

    def choice(name: str, *choices: str) -> Any:
        return read_choice(fields.get(name, choices[0]), f"{path}.{name}", choices)

    return Energy(
        code=read_text(fields["code"], f"{path}.code"),
        meter=read_text(fields["meter"], f"{path}.meter"),
        tier_basis=choice("tier_basis", "month", "day", "contract_year"),
        tier_scope=choice("tier_scope", "across_periods", "per_period"),
        tier_mode=choice("tier_mode", "graduated", "volume"),
        prices=_prices(fields["prices"], f"{path}.prices", periods),
        schedule=schedule,
    )


def _demand(value: object, path: str, periods: tuple[str, ...], schedule: Schedule) -> Demand:
    optional = ("interval_minutes", "by", "ratchet", "periods", "schedule")
    fields = read_object(value, path, ("kind", "code", "meter", "prices"), optional)
    periods, schedule = _own_schedule(fields, path, periods, schedule)
    by = read_choice(fields.get("by", "month"), f"{path}.by", ("month", "period"))
    minutes = fields.get("interval_minutes", 15)
    if type(minutes) is not int or minutes not in INTERVAL_MINUTES:
        raise TariffError(f"{path}.interval_minutes", minutes, f"one of {', '.join(map(str, INTERVAL_MINUTES))}")
    return Demand(
        code=read_text(fields["code"], f"{path}.code"),
        meter=read_text(fields["meter"], f"{path}.meter"),
        interval_minutes=minutes,
        by=cast("Any", by),
        prices=_prices(fields["prices"], f"{path}.prices", periods if by == "period" else ("all",)),
        ratchet=_ratchet(fields["ratchet"], f"{path}.ratchet") if fields.get("ratchet") is not None else None,
        schedule=schedule,
    )


def _ratchet(value: object, path: str) -> Ratchet:
    fields = read_object(value, path, ("percent", "lookback_months"))
    months = fields["lookback_months"]
    if type(months) is not int or not 1 <= months <= 120:
        raise TariffError(f"{path}.lookback_months", months, "a whole number from 1 to 120")
    return Ratchet(read_decimal(fields["percent"], f"{path}.percent", "percent"), months)


def _rider(value: object, path: str, _periods: tuple[str, ...], _schedule: Schedule) -> Rider:
    fields = read_object(value, path, ("kind", "code", "basis", "value"), ("of",))
    basis = read_choice(fields["basis"], f"{path}.basis", ("per_unit", "percent", "fixed"))
    if basis == "fixed" and "of" in fields:
        raise TariffError(f"{path}.of", fields["of"], "no such field, since a fixed rider is of no other charge")
    if basis != "fixed" and "of" not in fields:
        raise TariffError(f"{path}.of", None, "a value, this field is required")
    return Rider(
        code=read_text(fields["code"], f"{path}.code"),
        basis=cast("Any", basis),
        of=read_names(fields["of"], f"{path}.of") if "of" in fields else (),
        value=read_decimal(fields["value"], f"{path}.value", "signed"),
    )


def _minimum(value: object, path: str, _periods: tuple[str, ...], _schedule: Schedule) -> Minimum:
    fields = read_object(value, path, ("kind", "code", "amount", "counts"))
    return Minimum(
        code=read_text(fields["code"], f"{path}.code"),
        amount=read_decimal(fields["amount"], f"{path}.amount", "amount"),
        counts=read_names(fields["counts"], f"{path}.counts"),
    )


def _credit(value: object, path: str, _periods: tuple[str, ...], _schedule: Schedule) -> Credit:
    fields = read_object(value, path, ("kind", "code", "basis", "of", "value"))
    basis = read_choice(fields["basis"], f"{path}.basis", ("per_unit", "percent", "fixed"))
    return Credit(
        code=read_text(fields["code"], f"{path}.code"),
        basis=cast("Any", basis),
        of=read_names(fields["of"], f"{path}.of"),
        value=read_decimal(fields["value"], f"{path}.value", "percent" if basis == "percent" else "amount"),
    )


_Reader = Callable[[object, str, tuple[str, ...], Schedule], Charge]
_READERS: dict[str, _Reader] = {
    "standing": _standing,
    "capacity": _capacity,
    "energy": _energy,
    "demand": _demand,
    "rider": _rider,
    "minimum": _minimum,
    "credit": _credit,
}


_USED: tuple[str, ...] = ("energy", "demand", "capacity")
_PRINTED_BEFORE_MINIMUM = (*_USED, "rider", "standing")


def _check_references(charge: Charge, before: Sequence[Charge], every: Sequence[Charge], path: str) -> None:
    """What a rider, minimum or credit is of is rated before it: other kinds by the order of rating, the same kind by
    its place in the document.
    """
    if isinstance(charge, Rider):
        names, field, first, own = charge.of, "of", _USED, "rider"
    elif isinstance(charge, Minimum):
        names, field, first, own = charge.counts, "counts", _PRINTED_BEFORE_MINIMUM, "minimum"
    elif isinstance(charge, Credit):
        names, field, first, own = charge.of, "of", (*_PRINTED_BEFORE_MINIMUM, "minimum"), ""
    else:
        return
    known = {other.code: other for other in every if other.kind in first}
    known |= {other.code: other for other in before if other.kind == own}
    for index, name in enumerate(names):
        if name not in known:
            expected = f"the code of a charge that is rated before it, one of {', '.join(known) or 'none'}"
            raise TariffError(f"{path}.{field}[{index}]", name, expected)
    if not isinstance(charge, Minimum) and charge.basis == "per_unit":
        counted = {_counted(known[name]) for name in names}
        if None in counted or len(counted) > 1:
            expected = "energy charges of one meter or capacity charges of one meter and span, since their units add up"
            raise TariffError(f"{path}.of", list(names), expected)


def _counted(charge: Charge) -> tuple[str | None, ...] | None:
    if isinstance(charge, Energy):
        return ("energy", charge.meter)
    if isinstance(charge, Capacity):
        return ("capacity", charge.per, charge.meter)
    return None


def _own_schedule(
    fields: Mapping[str, object], path: str, periods: tuple[str, ...], schedule: Schedule
) -> tuple[tuple[str, ...], Schedule]:
    if "periods" in fields and "schedule" not in fields:
        raise TariffError(f"{path}.schedule", None, "a value, since the charge has periods of its own")
    if "periods" in fields:
        periods = read_names(fields["periods"], f"{path}.periods")
    if "schedule" in fields:
        schedule = _schedule(fields["schedule"], f"{path}.schedule", periods)
    return periods, schedule


def _schedule(value: object, path: str, periods: tuple[str, ...]) -> Schedule:
    fields = read_object(value, path, ("weekday", "weekend"), ("holiday",))
    rows = {name: _rows(fields[name], f"{path}.{name}", periods) for name in fields}
    return Schedule(rows["weekday"], rows["weekend"], rows.get("holiday", rows["weekend"]))


def _rows(value: object, path: str, periods: tuple[str, ...]) -> Rows:
    items = read_list(value, path, "a list of 12 rows, one a month, or of 1 for all months")
    if len(items) not in (1, 12):
        raise TariffError(path, value, "a list of 12 rows, one a month, or of 1 for all months")
    known = {name: name for name in periods}
    rows = []
    for month, item in enumerate(items):
        hours = read_list(item, f"{path}[{month}]", "a list of 24 period names, one an hour")
        if len(hours) != 24:
            raise TariffError(f"{path}[{month}]", item, "a list of 24 period names, one an hour")
        for hour, name in enumerate(hours):
            if not isinstance(name, str) or name not in known:
                raise TariffError(f"{path}[{month}][{hour}]", name, f"one of the periods {', '.join(periods)}")
        rows.append(tuple(known[cast("str", name)] for name in hours))
    return tuple(rows * 12 if len(rows) == 1 else rows)


def _prices(value: object, path: str, periods: tuple[str, ...]) -> tuple[tuple[str, Tiers], ...]:
    if not isinstance(value, Mapping):
        raise TariffError(path, value, f"an object with the prices of {', '.join(periods)}")
    for name in value:
        if name not in periods:
            raise TariffError(f"{path}.{name}", value[name], f"no such field; the prices are of {', '.join(periods)}")
    for name in periods:
        if name not in value:
            raise TariffError(f"{path}.{name}", None, "a value, a list of tiers")
    return tuple((name, _tiers(value[name], f"{path}.{name}")) for name in periods)


def _tiers(value: object, path: str) -> Tiers:
    items = read_list(value, path, "a list of at least one tier")
    if not items:
        raise TariffError(path, value, "a list of at least one tier")
    tiers: list[Tier] = []
    for index, item in enumerate(items):
        here = f"{path}[{index}]"
        fields = read_object(item, here, ("price",), ("up_to",))
        edge = read_decimal(fields["up_to"], f"{here}.up_to", "edge") if "up_to" in fields else None
        last = index == len(items) - 1
        if last and edge is not None:
            raise TariffError(f"{here}.up_to", fields["up_to"], "no such field in the last tier, which is open")
        if not last and edge is None:
            raise TariffError(f"{here}.up_to", None, "a value, since only the last tier is open")
        below = tiers[-1].up_to if tiers else None
        if edge is not None and below is not None and edge <= below:
            raise TariffError(f"{here}.up_to", fields["up_to"], f"an edge above the tier before it, {below}")
        tiers.append(Tier(edge, read_decimal(fields["price"], f"{here}.price", "signed")))
    return tuple(tiers)


def _tax(value: object) -> Tax:
    fields = read_object(value, "tax", ("category", "rate", "price_includes_tax"))
    included = fields["price_includes_tax"]
    if not isinstance(included, bool):
        raise TariffError("tax.price_includes_tax", included, "true or false")
    return Tax(
        read_text(fields["category"], "tax.category"), read_decimal(fields["rate"], "tax.rate", "rate"), included
    )


def _effective(value: object) -> tuple[date, date | None]:
    items = read_list(value, "effective", "a list of two dates, the second one null if open")
    if len(items) != 2:
        raise TariffError("effective", value, "a list of two dates, the second one null if open")
    start = _date(items[0], "effective[0]")
    end = None if items[1] is None else _date(items[1], "effective[1]")
    if end is not None and end <= start:
        raise TariffError("effective[1]", items[1], f"a date after {start}")
    return start, end


def _date(value: object, path: str) -> date:
    text = read_text(value, path, "date")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise TariffError(path, value, "a date that exists, such as 2020-05-01") from error


def _timezone(value: object) -> str:
    name = read_text(value, "timezone")
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError; a folder's name an OSError
        raise TariffError("timezone", value, "an IANA time zone, such as Asia/Shanghai") from error
    return name


def _refuse_unused_holidays(fields: Mapping[str, object]) -> None:
    owners = [("", fields)]
    charges = cast("Sequence[Mapping[str, object]]", fields["charges"])
    owners += [(f"charges[{index}].", charge) for index, charge in enumerate(charges)]
    for prefix, owner in owners:
        schedule = cast("Mapping[str, object]", owner.get("schedule", {}))
        if "holiday" in schedule:
            raise TariffError("calendar", None, f"a calendar's code, since {prefix}schedule.holiday needs its holidays")
