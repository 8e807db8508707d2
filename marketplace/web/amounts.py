"""Numbers, instants and names as the pages show them, in the reader's language. Exact values in, text out."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from billing.documents import labels
from billing.models import Meter
from billing.rating.money import round_half_up
from marketplace import names

language = names.language
NO_PERIOD = ""  # of readings before the tariff's first version
_TONES = {"critical": "sharp", "sharp": "sharp", "peak": "peak", "flat": "flat", "valley": "valley", "deep": "deep"}
_OTHER_TONES = ("valley", "peak", "flat", "deep", "sharp")
_ORDER = ("critical", "sharp", "peak", "flat", "valley", "deep")


def units(base: int | Fraction, meter: Meter, places: int = 2) -> str:
    """Base units as the meter's priced unit: 5400 GPU-seconds are "1.50"."""
    return decimal(Fraction(base) / meter.base_per_unit, places)


def decimal(value: Fraction, places: int) -> str:
    return f"{Decimal(round_half_up(value, places)).scaleb(-places):,f}"


def percent(part: int | Fraction, whole: int | Fraction, places: int = 1) -> str | None:
    """A share such as "73.4%"; None of nothing."""
    return f"{decimal(Fraction(part) * 100 / Fraction(whole), places)}%" if whole else None


def unit(meter: Meter) -> str:
    return labels.name("unit", meter.unit, language())


def demand_unit(meter: Meter) -> str:
    return labels.name("unit", meter.demand_unit, language())


def meter_name(meter: Meter) -> str:
    return names.named(meter)


def period_name(code: str) -> str:
    return labels.name("tou", code, language()) if code else "–"


def periods(codes: set[str]) -> list[str]:
    """Time-of-use periods from the dearest to the cheapest; those with names of their own after, by name."""
    return sorted(codes, key=lambda code: (_ORDER.index(code) if code in _ORDER else len(_ORDER), code))


def tones(codes: set[str]) -> dict[str, str]:
    """A colour of the style sheet for each time-of-use period."""
    others = [code for code in periods(codes) if code not in _TONES]
    free = {code: _OTHER_TONES[number % len(_OTHER_TONES)] for number, code in enumerate(others)}
    return {code: _TONES.get(code) or free[code] for code in codes}


def local(instant: datetime, timezone: str) -> datetime:
    """The local time without its zone: templates would turn an aware one into the site's own zone."""
    return instant.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
