"""Reading the fields of a tariff document: each either has its value or raises TariffError with the field's path."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

# Each stands in tariff.schema.json too (a test compares them); the last group keeps a line break at the end out.
_END = r"(?![\s\S])"
PATTERNS = {
    "text": r"^\S([\s\S]*\S)?" + _END,
    "currency": r"^[A-Z]{3}" + _END,
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}" + _END,
    "signed": r"^-?[0-9]{1,30}(\.[0-9]{1,30})?" + _END,
    "amount": r"^[0-9]{1,30}(\.[0-9]{1,30})?" + _END,
    "edge": r"^(?=[0-9.]*[1-9])[0-9]{1,30}(\.[0-9]{1,30})?" + _END,
    "percent": r"^(100(\.0{1,30})?|[0-9]{1,2}(\.[0-9]{1,30})?)" + _END,
    "rate": r"^(1(\.0{1,30})?|0(\.[0-9]{1,30})?)" + _END,
}
_EXPECTED = {
    "text": "text of 1 to 100 characters without blanks at its ends",
    "currency": "three capital letters of ISO 4217, such as CNY",
    "date": "a date such as 2020-05-01",
    "signed": "a decimal in a string, such as 5.40 or -0.25",
    "amount": "a decimal of 0 or more in a string, such as 5.40",
    "edge": "a decimal above 0 in a string, such as 260",
    "percent": "a decimal from 0 to 100 in a string, such as 80",
    "rate": "a decimal from 0 to 1 in a string, such as 0.06",
}


class TariffError(ValueError):
    """The document is no tariff: path names the field, value is what stands there, expected what would be right."""

    def __init__(self, path: str, value: object, expected: str) -> None:
        self.path, self.value, self.expected = path, value, expected
        shown = repr(value)
        super().__init__(f"{path} is {shown if len(shown) <= 120 else shown[:117] + '...'}: expected {expected}")


def read_object(
    value: object, path: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TariffError(path or "document", value, "an object")
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in required and name not in optional:
            expected = f"no such field; the fields are {', '.join([*required, *optional])}"
            raise TariffError(f"{prefix}{name}", value[name], expected)
    for name in required:
        if name not in value:
            raise TariffError(f"{prefix}{name}", None, "a value, this field is required")
    return value


def read_list(value: object, path: str, expected: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise TariffError(path, value, expected)
    return value


def read_names(value: object, path: str) -> tuple[str, ...]:
    items = read_list(value, path, "a list of at least one name")
    if not items:
        raise TariffError(path, value, "a list of at least one name")
    names = tuple(read_text(item, f"{path}[{index}]") for index, item in enumerate(items))
    for index, name in enumerate(names):
        if name in names[:index]:
            raise TariffError(f"{path}[{index}]", name, "a name that the list has only once")
    return names


def read_text(value: object, path: str, pattern: str = "text") -> str:
    if not isinstance(value, str) or len(value) > 100 or not re.search(PATTERNS[pattern], value):
        raise TariffError(path, value, _EXPECTED[pattern])
    return value


def read_decimal(value: object, path: str, pattern: str) -> Decimal:
    return Decimal(read_text(value, path, pattern))


def read_choice(value: object, path: str, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise TariffError(path, value, f"one of {', '.join(choices)}")
    return value
