"""Why a line was charged, in whole sentences: what was used or reserved, tier and time of day, proration, what a programme
pays of it and what limits that. The figures are those of the line's snapshot; beside them stands the formula (explanation).
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from billing.documents import figures
from billing.documents.explanation import cause, duration, number, part_of_price, tier_text, unit_name
from billing.documents.labels import Language, is_known, name, text
from billing.rating.money import exponent

Snapshot = Mapping[str, Any]
Line = Mapping[str, Any]
_ALL_HOURS = ("all", None)


def sentences(*, snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    """The line, one of the snapshot's, told to its buyer: what it counts, then how that is priced, then who pays of it."""
    say = _correction if "correction" in line["explanation"] else _SAYERS.get(line["kind"])
    found = say(snapshot, line, language) if say else []
    return [*found, _tax(line, language), *_funding(snapshot, line, language)]


def _span(snapshot: Snapshot, line: Line, language: Language) -> str:
    zone = snapshot["billing_period"]["timezone"]
    start, end = (figures.local(line[edge], zone) for edge in ("start", "end"))
    return figures.span(start, end, text("to", language))


def _price(snapshot: Snapshot, line: Line, unit: str, language: Language) -> str:
    """What one unit costs, and where the price is of a whole month and the line of a part, which part."""
    price = f"{figures.number(line['unit_price'], 2)} {snapshot['currency']}"
    told = text("why.price", language, price=price, unit=unit)
    part = part_of_price(line["explanation"])
    if part == 1:
        return told
    return told + text("why.prorated", language, part=f"{part.numerator:,}/{part.denominator:,}")


def _correction(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    """Of a note: which invoice's line it corrects, and why."""
    told, corrects = line["explanation"]["correction"], snapshot["corrects"]
    return [
        text("why.correction", language, number=corrects["number"], span=_span(snapshot, line, language)),
        cause(told, language) + text("stop", language),
    ]


def _energy(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    unit = unit_name(line["unit"], language)
    key = "why.energy_all" if line["tou_period"] in _ALL_HOURS else "why.energy"
    found = [
        text(
            key,
            language,
            span=_span(snapshot, line, language),
            quantity=f"{figures.number(line['quantity'])} {unit}",
            period=name("tou", line["tou_period"] or "", language),
            readings=f"{line['explanation']['intervals']:,}",
        )
    ]
    tier = line["explanation"].get("tier")
    if tier:
        found.append(text("why.tier", language, tier=line["tier"], about=tier_text(line, tier, language)))
    return [*found, _price(snapshot, line, unit, language)]


def _demand(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    told = line["explanation"]
    unit = unit_name(line["unit"], language)
    per_unit = Fraction(told["base_per_unit"] * told["interval_seconds"], 3600)
    key = "why.demand_all" if line["tou_period"] in _ALL_HOURS else "why.demand"
    found = [
        text(
            key,
            language,
            span=_span(snapshot, line, language),
            interval=duration(told["interval_seconds"], language),
            period=name("tou", line["tou_period"] or "", language),
            measured=f"{number(told['measured_base'] / per_unit)} {unit}",
        )
    ]
    ratchet = told.get("ratchet")
    if ratchet and Fraction(ratchet["floor_base"]) > told["measured_base"]:
        floor = f"{number(Fraction(ratchet['floor_base']) / per_unit)} {unit}"
        about = {"percent": figures.number(ratchet["percent"]), "months": ratchet["lookback_months"], "floor": floor}
        found.append(text("why.ratchet", language, **about))
    if told.get("tier"):
        found.append(text("why.tier", language, tier=line["tier"], about=tier_text(line, told["tier"], language)))
    return [*found, _price(snapshot, line, unit, language)]


def _capacity(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    told = line["explanation"]
    grain = told["per"].removeprefix("unit_")
    unit = line["unit"].removesuffix(f"_{grain}")
    reserved = text(
        "why.capacity",
        language,
        span=_span(snapshot, line, language),
        reserved=f"{told['reserved']:,} {unit_name(unit, language)}",
        time=f"{number(told['time'])} {unit_name(grain, language)}",
    )
    return [reserved, _price(snapshot, line, unit_name(line["unit"], language), language)]


def _standing(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    unit = unit_name(line["unit"], language)
    exact = Fraction(line["explanation"]["time"])
    shown = number(exact)
    time = f"{exact.numerator:,}/{exact.denominator:,}" if shown.endswith("…") else shown
    told = text("why.standing", language, span=_span(snapshot, line, language), time=f"{time} {unit}")
    return [told, _price(snapshot, line, unit, language)]


def _of_others(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    """A rider or a credit."""
    told, currency = line["explanation"], snapshot["currency"]
    found = [
        text(
            f"why.{line['kind']}_{told['basis']}",
            language,
            value=figures.number(told["value"], 0 if told["basis"] == "percent" else 2),
            currency=currency,
            unit=unit_name(line["unit"], language),
            of=_names(snapshot, told["of"], language),
            amount=_money(told.get("of_amount", "0"), currency),
        )
    ]
    if "offered" in told and Fraction(told["offered"]) != -Fraction(told["amount"]):
        found.append(text("why.credit_limited", language, offered=_money(told["offered"], currency)))
    return found


def _minimum(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    told, currency = line["explanation"], snapshot["currency"]
    about = {key: _money(told[key], currency) for key in ("counted", "minimum")}
    return [text("why.minimum", language, counts=_names(snapshot, told["counts"], language), **about)]


def _names(snapshot: Snapshot, codes: Sequence[str], language: Language) -> str:
    """Charges by what the invoice calls them; one that has no line on it by its code."""
    kinds = {line["charge"]: line["kind"] for line in snapshot["lines"]}
    names = (f"{name('kind', kinds[code], language)} {code}" if code in kinds else code for code in codes)
    return text("comma", language).join(names)


def _money(exact: str, currency: str) -> str:
    """An exact amount, with the currency's sign where it is a whole number of minor units."""
    minor = Fraction(exact) * 10 ** exponent(currency)
    if minor.denominator == 1:
        return figures.money(minor.numerator, currency)
    return f"{number(exact)} {currency}"


def _one_off(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    at = figures.moment(figures.local(line["explanation"]["at"], snapshot["billing_period"]["timezone"]))
    is_named = is_known("one_off", line["charge"])
    what = name("one_off", line["charge"], language) if is_named else name("kind", line["kind"], language)
    return [text("why.one_off", language, what=what, at=at)]


_SAYERS = {
    "energy": _energy,
    "demand": _demand,
    "capacity": _capacity,
    "standing": _standing,
    "rider": _of_others,
    "credit": _of_others,
    "minimum": _minimum,
    "one_off": _one_off,
}


def _tax(line: Line, language: Language) -> str:
    return text("why.tax", language, rate=figures.percent(line["tax_rate"]))


def _funding(snapshot: Snapshot, line: Line, language: Language) -> list[str]:
    """Each programme that was asked: its part of this line, and what made it less; then what is left for the buyer."""
    if "funding" not in line:
        return []
    currency = snapshot["currency"]
    parts = {each["programme"]: each["share_minor"] for each in line["funding"]}
    found = []
    for each in snapshot["funding"]:
        programme = each["name"] if language == "zh-hans" else each["name_en"] or each["name"]
        part_minor = parts.get(each["programme"], 0)
        key = "why.share" if part_minor else "why.no_share"
        if part_minor and each["mode"] == "reimbursement":
            key = "why.reimbursed"
        about = {"programme": programme, "funder": each["funder"], "share": figures.money(part_minor, currency)}
        found.append(text(key, language, **about))
        if each["limited_by"]:
            found.append(
                text(
                    "why.limited", language, limit=name("limit", each["limited_by"], language), **_whole(each, currency)
                )
            )
        elif part_minor:
            found.append(text("why.whole", language, **_whole(each, currency)))
    for each in snapshot.get("clawed_back", ()):
        part_minor = parts.get(each["programme"], 0)
        if part_minor < 0:
            programme = each["name"] if language == "zh-hans" else each["name_en"] or each["name"]
            found.append(text("why.back", language, programme=programme, share=figures.money(-part_minor, currency)))
    return [*found, text("why.payable", language, payable=figures.money(line["payable_minor"], currency))]


def _whole(funding: Mapping[str, Any], currency: str) -> dict[str, str]:
    """What the programme pays of all lines of the invoice together."""
    return {key: figures.money(funding[f"{key}_minor"], currency) for key in ("eligible", "wanted", "share")}
