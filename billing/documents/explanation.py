"""How a line was computed, from its `explanation`, as pairs (label, value) in the reader's language.

What rating is known to write there has its own wording; a fact that has none yet is printed under its own key, so that
nothing that rating explains is left out.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from billing.documents import figures
from billing.documents.labels import Language, name, text
from billing.rating import line as rated
from billing.rating.money import exponent, quantity_text, round_half_up

Line = Mapping[str, Any]
Pairs = list[tuple[str, str]]

# Said by the line itself, its heading, its dates or its formula.
_SAID = frozenset(
    ["tariff", "from", "to", "period", "per", "seconds", "quantity", "quantity_base", "base_per_unit", "unit_price"]
).union(["amount", "intervals", "interval_seconds", "tier", "prorated", "measured_base"])
_MOST_PLACES = 8
_NUMBER = re.compile(r"-?\d+(\.\d+|/[1-9]\d*)?")


def said(*, line: rated.Line, amount_minor: int, zone: ZoneInfo) -> dict[str, Any]:
    """What a snapshot says of how a rated line came about, and what explain() needs of it. Instants with local offsets."""
    return {
        "kind": line.kind,
        "start": line.start.astimezone(zone).isoformat(),
        "end": line.end.astimezone(zone).isoformat(),
        "quantity": quantity_text(line.quantity),
        "unit": line.unit,
        "quantity_base": line.quantity_base,
        "base_unit": line.base_unit,
        "unit_price": None if line.unit_price is None else f"{line.unit_price:f}",
        "amount_minor": amount_minor,
        "explanation": line.explanation,
    }


def explain(*, line: Line, timezone: str, currency: str, language: Language) -> tuple[str, Pairs]:
    """The line's formula, and the facts beside it, the most telling first."""
    told: Mapping[str, Any] = line["explanation"]
    start, end = (figures.local(line[edge], timezone) for edge in ("start", "end"))
    facts = [("span", f"{figures.moment(start)}{text('to', language)}{figures.moment(end)}")]
    if "correction" in told:
        facts.append(("cause", cause(told["correction"], language)))
        return _corrected(line, currency, language), [(name("explain", key, language), value) for key, value in facts]
    if "intervals" in told and "interval_seconds" in told:
        facts.append(("intervals", f"{told['intervals']:,} × {duration(told['interval_seconds'], language)}"))
    elif "interval_seconds" in told:
        facts.append(("interval_seconds", duration(told["interval_seconds"], language)))
    if told.get("tier"):
        facts.append(("tier", tier_text(line, told["tier"], language)))
    if "measured_base" in told:
        facts.append(("measured_base", f"{told['measured_base']:,} {unit_name(line['base_unit'], language)}"))
    said = _SAID | _said_by_formula(line)
    facts += [
        (key, _value(key, value, language)) for key, value in told.items() if key not in said and value is not None
    ]
    return _formula(line, currency, language), [(name("explain", key, language), value) for key, value in facts]


def _corrected(line: Line, currency: str, language: Language) -> str:
    """What the line of the invoice was, and what it is now."""
    told: Mapping[str, Any] = line["explanation"]["correction"]
    return text(
        "corrected",
        language,
        before=figures.number(told["quantity_before"]),
        after=figures.number(told["quantity_after"]),
        unit=unit_name(line["unit"], language),
        was=figures.figure(told["amount_before_minor"], currency),
        now=figures.figure(told["amount_after_minor"], currency),
    )


def cause(told: Mapping[str, Any], language: Language) -> str:
    """Why an invoice's line is corrected."""
    counts = {"recorded": told.get("events_recorded", 0), "corrected": told.get("events_corrected", 0)}
    return text(f"cause.{told['cause']}", language, **counts)


def _said_by_formula(line: Line) -> set[str]:
    told: Mapping[str, Any] = line["explanation"]
    if _is_reserved_hours(line):
        return {"reserved", "time"}
    if "time" in told and round_half_up(Fraction(told["time"]), 6) == round_half_up(Fraction(line["quantity"]), 6):
        return {"time"}
    return set()


def _is_reserved_hours(line: Line) -> bool:
    return line["kind"] == "capacity" and "reserved" in line["explanation"] and line["unit"].endswith("_hour")


def _formula(line: Line, currency: str, language: Language) -> str:
    """Base units = quantity, quantity × price = amount; only such equations as hold for what they print."""
    told: Mapping[str, Any] = line["explanation"]
    unit = unit_name(line["unit"], language)
    quantity = figures.number(line["quantity"])
    if line["kind"] == "energy" or (line["kind"] == "standing" and line["base_unit"] == "second"):
        before = f"{line['quantity_base']:,} {unit_name(line['base_unit'], language)} = {quantity} {unit}"
    elif _is_reserved_hours(line):
        reserved = f"{told['reserved']:,} {unit_name(line['unit'].removesuffix('_hour'), language)}"
        before = f"{reserved} × {number(told['time'])} {unit_name('hour', language)} = {quantity} {unit}"
    else:
        before = ""
    if "amount" not in told:
        return before
    product = _product(line, quantity if before else f"{quantity} {unit}")
    result = _result(Fraction(told["amount"]), line, currency, language)
    parts = [before, f"{product} = {result}" if product else result]
    return text("semicolon", language).join(part for part in parts if part)


def _product(line: Line, quantity: str) -> str:
    """What gives the line's exact amount: a product of what is printed, a minimum's rest, or nothing."""
    told: Mapping[str, Any] = line["explanation"]
    exact, part = Fraction(told["amount"]), part_of_price(told)
    if line["unit_price"] is not None and _exact_quantity(line) * Fraction(line["unit_price"]) * part == exact:
        prorated = f" × {part.numerator:,}/{part.denominator:,}" if part != 1 else ""
        return f"{quantity} × {figures.number(line['unit_price'], 2)}{prorated}"
    if "of_amount" in told and Fraction(told["of_amount"]) * Fraction(told["value"]) / 100 == abs(exact):
        return f"{'-' if exact < 0 else ''}{number(told['of_amount'])} × {figures.number(told['value'])}%"
    if "minimum" in told and Fraction(told["minimum"]) - Fraction(told["counted"]) == exact:
        return f"{number(told['minimum'])} - {number(told['counted'])}"
    return ""


def _exact_quantity(line: Line) -> Fraction:
    """The line's quantity before it was cut to six places, where the explanation has what it came from."""
    told: Mapping[str, Any] = line["explanation"]
    if "quantity" in told:
        return Fraction(told["quantity"])
    if "base_per_unit" in told:
        return Fraction(line["quantity_base"], told["base_per_unit"])
    if "time" in told:
        return Fraction(told["time"]) * int(told.get("reserved", 1))
    if told.get("basis") == "per_unit" and line["unit_price"] is not None and Fraction(line["unit_price"]):
        exact = Fraction(told["amount"]) / Fraction(line["unit_price"])
        if round_half_up(exact, 6) == round_half_up(Fraction(line["quantity"]), 6):
            return exact
    return Fraction(line["quantity"])


def part_of_price(told: Mapping[str, Any]) -> Fraction:
    prorated = told.get("prorated")
    return Fraction(prorated["part_seconds"], prorated["whole_seconds"]) if prorated else Fraction(1)


def _result(exact: Fraction, line: Line, currency: str, language: Language) -> str:
    """The exact amount, and after an arrow the rounded one where it differs."""
    rounded, places = figures.figure(line["amount_minor"], currency), exponent(currency)
    if exact == Fraction(line["amount_minor"], 10**places):
        return rounded
    if round_half_up(exact, places) == line["amount_minor"]:
        return f"{number(exact)} → {rounded}"
    # More than rounding lies between them: tax that the price includes, or a credit's limit in minor units.
    return text("semicolon", language).join([number(exact), text("charged", language, amount=rounded)])


def number(value: Fraction | str) -> str:
    """A whole number, a decimal or "n/d"; "…" follows where eight places do not say all of it."""
    exact = Fraction(value)
    cut = abs(exact.numerator) * 10**_MOST_PLACES // exact.denominator
    shown = figures.number(Decimal(cut if exact >= 0 else -cut).scaleb(-_MOST_PLACES))
    return shown if Fraction(cut, 10**_MOST_PLACES) == abs(exact) else f"{shown}…"


def unit_name(code: str, language: Language) -> str:
    """A unit, or a unit per interval such as gpu_second/900s."""
    unit, _, interval = code.partition("/")
    if interval.endswith("s") and interval[:-1].isdecimal():
        return f"{name('unit', unit, language)}/{duration(int(interval[:-1]), language)}"
    return name("unit", code, language)


def duration(seconds: int, language: Language) -> str:
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return f"{seconds // size:,} {name('unit', unit, language)}"
    return f"{seconds:,} {name('unit', 'second', language)}"


def tier_text(line: Line, tier: Mapping[str, Any], language: Language) -> str:
    above, up_to = figures.number(tier["above"]), tier["up_to"]
    unit = unit_name(line["unit"], language)
    key = "tier.last" if up_to is None else "tier.first" if above == "0" else "tier.span"
    parts = [text(key, language, above=above, up_to=figures.number(up_to or 0), unit=unit)]
    for key, value in tier.items():
        if key in {"basis", "scope", "mode"}:
            parts.append(name("tier", value, language))
        elif key not in {"above", "up_to"}:
            parts.append(f"{name('explain', key, language)} {_value(key, value, language)}")
    return text("comma", language).join(parts)


def _value(key: str, value: Any, language: Language) -> str:
    """Any JSON value as text."""
    if isinstance(value, Mapping):
        pairs = (f"{name('explain', inner, language)} {_value(inner, item, language)}" for inner, item in value.items())
        return text("comma", language).join(pairs)
    if isinstance(value, list):
        return text("comma", language).join(_value(key, item, language) for item in value)
    return "–" if value is None else _scalar(key, value, language)


def _scalar(key: str, value: str | int, language: Language) -> str:
    if isinstance(value, bool):
        return text("yes" if value else "no", language)
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if _NUMBER.fullmatch(value) else name("basis", value, language) if key == "basis" else value
