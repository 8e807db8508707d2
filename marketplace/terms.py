"""What an offering, a pool or a site may say: each fact in its range, the terms of cancellation row by row. No database."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_GPUS = 1_000_000
MOST_HOURS = 87_600  # ten years
MOST_TERMS = 20

_CODE = re.compile(r"[A-Za-z0-9_-]+")
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all but tab and line feed; a form's carriage returns are taken out


class InvalidFactError(ValueError):
    """A fact that can't be so: `field` (of a list: `cancellation_terms[1].hours`), `value`, and what was `expected`."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        shown = repr(value)
        super().__init__(f"{field} is {shown if len(shown) <= 120 else shown[:117] + '...'}: expected {expected}")


def read_code(field: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or not _CODE.fullmatch(value):
        raise InvalidFactError(field, value, f"1 to {most} of the letters A to Z and a to z, digits, - and _")
    return value


def read_line(field: str, value: object, most: int, *, blank: bool = False) -> str:
    """A name or the like: one line without blanks around it."""
    expected = f"one line of {0 if blank else 1} to {most} characters without blanks at its ends"
    if not isinstance(value, str) or len(value) > most or value != value.strip() or not (value or blank):
        raise InvalidFactError(field, value, expected)
    if _CONTROL.search(value) or "\n" in value or "\t" in value:
        raise InvalidFactError(field, value, expected)
    return value


def read_text(field: str, value: object, most: int) -> str:
    """Text of several lines, maybe empty; line ends become line feeds."""
    text = value.replace("\r\n", "\n") if isinstance(value, str) else value
    if not isinstance(text, str) or len(text) > most or _CONTROL.search(text):
        raise InvalidFactError(field, value, f"text of at most {most} characters without control characters")
    return text


def read_whole(field: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise InvalidFactError(field, value, f"a whole number from {least} to {most}")
    return value


def read_percent(field: str, value: object, places: int) -> Decimal | None:
    """Above 0, to 100, or None."""
    if value is None:
        return None
    expected = f"a decimal above 0 and up to 100 with at most {places} decimals, or none"
    if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
        raise InvalidFactError(field, value, expected)
    try:
        percent = Decimal(value)
    except InvalidOperation as error:
        raise InvalidFactError(field, value, expected) from error
    if not percent.is_finite() or not 0 < percent <= 100 or percent != round(percent, places):
        raise InvalidFactError(field, value, expected)
    return percent


def read_cancellation_terms(value: object) -> list[dict[str, Any]]:
    """[{"hours": 168, "percent": "0"}, {"hours": 0, "percent": "50"}]: hours fall, percents never fall with them."""
    if not isinstance(value, list | tuple) or len(value) > MOST_TERMS:
        raise InvalidFactError("cancellation_terms", value, f"a list of at most {MOST_TERMS} terms")
    terms: list[dict[str, Any]] = []
    for index, item in enumerate(value):
        path = f"cancellation_terms[{index}]"
        if not isinstance(item, dict) or set(item) != {"hours", "percent"}:
            raise InvalidFactError(path, item, 'an object such as {"hours": 24, "percent": "50"}')
        hours = read_whole(f"{path}.hours", item["hours"], 0, MOST_HOURS)
        if terms and hours >= terms[-1]["hours"]:
            raise InvalidFactError(f"{path}.hours", hours, f"less than {terms[-1]['hours']}, the hours before it")
        percent = item["percent"]
        if not isinstance(percent, str) or not _PERCENT.fullmatch(percent) or Decimal(percent) > 100:
            raise InvalidFactError(f"{path}.percent", percent, 'a decimal from 0 to 100 in a string, such as "50"')
        if terms and Decimal(percent) < Decimal(terms[-1]["percent"]):
            expected = f"at least {terms[-1]['percent']}, the percent before it: to cancel later is never cheaper"
            raise InvalidFactError(f"{path}.percent", percent, expected)
        terms.append({"hours": hours, "percent": percent})
    return terms


OFFERING: Mapping[str, Callable[[str, object], object]] = {
    "name": lambda field, value: read_line(field, value, 100),
    "name_en": lambda field, value: read_line(field, value, 100, blank=True),
    "description": lambda field, value: read_text(field, value, 4000),
    "description_en": lambda field, value: read_text(field, value, 4000),
    "min_quantity": lambda field, value: read_whole(field, value, 1, MOST_GPUS),
    "max_quantity": lambda field, value: read_whole(field, value, 1, MOST_GPUS),
    "step": lambda field, value: read_whole(field, value, 1, MOST_GPUS),
    "min_hours": lambda field, value: read_whole(field, value, 1, MOST_HOURS),
    "max_hours": lambda field, value: read_whole(field, value, 1, MOST_HOURS),
    "lead_hours": lambda field, value: read_whole(field, value, 0, MOST_HOURS),
    "cancellation_terms": lambda _field, value: read_cancellation_terms(value),
    "service_level_percent": lambda field, value: read_percent(field, value, 3),
    "service_credit_percent": lambda field, value: read_percent(field, value, 2),
    "terms": lambda field, value: read_text(field, value, 10_000),
}
"""What a provider says of an offering, by field, and how it is read."""


def read_offering(facts: Mapping[str, object]) -> dict[str, Any]:
    """The facts as they are stored: every field of OFFERING, and how they fit together. Raises InvalidFactError.

    The least and the most GPUs are multiples of the step, so that a quantity is sold if it is one and lies between them.
    """
    read: dict[str, Any] = {field: reader(field, facts[field]) for field, reader in OFFERING.items()}
    for field in ("min_quantity", "max_quantity"):
        if read[field] % read["step"]:
            raise InvalidFactError(field, read[field], f"a multiple of step, {read['step']}")
    if read["max_quantity"] < read["min_quantity"]:
        raise InvalidFactError("max_quantity", read["max_quantity"], f"at least min_quantity, {read['min_quantity']}")
    if read["max_hours"] < read["min_hours"]:
        raise InvalidFactError("max_hours", read["max_hours"], f"at least min_hours, {read['min_hours']}")
    if read["service_credit_percent"] is not None and read["service_level_percent"] is None:
        expected = "none, or a service_level_percent below which it is due"
        raise InvalidFactError("service_credit_percent", str(read["service_credit_percent"]), expected)
    return read
