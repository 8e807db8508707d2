"""manage.py rate_urdb FILE: a year's monthly totals of URDB rates, exact, one JSON object a case and line."""

import gzip
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.rating.period import Period
from billing.rating.quantity import Profile, Unit
from billing.rating.rate import RatingRefused, rate
from billing.rating.tariff import Tariff, TariffError, parse
from billing.rating.urdb import UrdbError, tariff_document

YEAR = 2018
HOURS = 8760
DECIMALS = 12
MOST_KWH = 10**12
WATT_HOURS = Unit(base_unit="watt_hour", unit="kwh", demand_unit="kw", base_per_unit=1000)


class Command(BaseCommand):
    help = "Rate a year of hourly loads by URDB rates; prints each case's 12 monthly totals before rounding."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="JSON or gzipped JSON: cases of name, rate and load_kwh")

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path = options["file"]
        results = [_rated(case, index) for index, case in enumerate(_cases(path))]
        for result in results:
            self.stdout.write(json.dumps(result, ensure_ascii=False))


def _cases(path: Path) -> list[Any]:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        content = json.loads(raw, parse_float=Decimal, parse_constant=_refuse_constant)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"{path} cannot be read: {reason}") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise CommandError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("cases"), list):
        raise CommandError(f"{path} has no list of cases: expected an object with cases, each of name, rate, load_kwh")
    for field, expected in (("year", YEAR), ("timezone", "UTC")):
        if content.get(field, expected) != expected:
            raise CommandError(f"{path}: {field} is {content[field]!r}: expected {expected}")
    return list(content["cases"])


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _rated(case: object, index: int) -> dict[str, Any]:
    if not isinstance(case, Mapping) or not isinstance(case.get("name"), str):
        raise CommandError(f"cases[{index}] has no name: expected an object of name, rate and load_kwh")
    name = case["name"]
    if not isinstance(case.get("rate"), Mapping):
        raise CommandError(f"case {name}: rate is {type(case.get('rate')).__name__}: expected an object of URDB fields")
    loads = _watt_hours(name, case.get("load_kwh"))
    profile = Profile(datetime(YEAR, 1, 1, tzinfo=UTC), 3600, loads)
    try:
        tariff = parse(tariff_document(case["rate"], interval_minutes=60))
        totals = [_total(tariff, profile, month) for month in range(1, 13)]
    except (UrdbError, TariffError, RatingRefused) as error:
        raise CommandError(f"case {name}: {error}") from error
    return {"name": name, "monthly_totals": totals}


def _total(tariff: Tariff, profile: Profile, month: int) -> str:
    period = Period.month(YEAR, month, "UTC")
    bill = rate(
        period=period,
        tariffs=[(period.start, tariff)],
        profiles={"energy": profile},
        units={"energy": WATT_HOURS},
        reserved=[],
        calendars={},
    )
    return _decimal(bill.total)


def _watt_hours(name: str, loads: object) -> tuple[int, ...]:
    if not isinstance(loads, list) or len(loads) != HOURS:
        given = f"{len(loads)} values" if isinstance(loads, list) else type(loads).__name__
        raise CommandError(f"case {name}: load_kwh is {given}: expected {HOURS} hourly quantities of {YEAR}")
    found = []
    for hour, load in enumerate(loads):
        watt_hours = _exact_watt_hours(load)
        if watt_hours is None:
            expected = f"whole watt-hours, at least 0 and at most {MOST_KWH} kWh"
            raise CommandError(f"case {name}: load_kwh[{hour}] is {load}: expected {expected}")
        found.append(watt_hours)
    return tuple(found)


def _exact_watt_hours(load: object) -> int | None:
    """None if the load is no number, out of range or not a whole number of watt-hours."""
    if isinstance(load, bool) or not isinstance(load, int | Decimal) or not 0 <= load <= MOST_KWH:
        return None
    try:
        with localcontext(Context(prec=60, traps=[Inexact])):
            watt_hours = Decimal(load) * 1000
    except Inexact:
        return None
    return int(watt_hours) if watt_hours == watt_hours.to_integral_value() else None


def _decimal(total: Fraction) -> str:
    """Half up at DECIMALS places, ties away from zero."""
    scaled = (2 * abs(total.numerator) * 10**DECIMALS + total.denominator) // (2 * total.denominator)
    whole, rest = divmod(scaled, 10**DECIMALS)
    return f"{'-' if total < 0 and scaled else ''}{whole}.{rest:0{DECIMALS}d}"
