"""One event of usage: what it must be, and what it counts for on a meter. Exact integers; no database, no clock."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from billing.models import Meter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = -62_135_596_800_000_000  # 0001-01-01 in microseconds since the epoch: what a datetime can hold
FUTURE_SECONDS = 300
MAX_TEXT = 255
MAX_DURATION_SECONDS = 86_400
MAX_QUANTITY = 2**63 - 1
MAX_DATA_BYTES = 65_536
MAX_EXPONENT = 1000  # PostgreSQL's numbers end at 131,072 digits
NANO = 10**9
WHOLE_DIGITS = 29  # with 9 decimals, the 38 digits that `UsageEvent.value` holds

_DECIMAL = re.compile(r"(-?)([0-9]{1,80})(?:\.([0-9]{1,80}))?")
_A_DECIMAL = 'expected a decimal such as "59" or "59.5", zero or more'


class Event(NamedTuple):
    """One event as its sender gives it: CloudEvents' attributes and data.

    `subject` is the number of a contract. `data` has the value and, for a gauge, the seconds it held for, under the
    names that the meter of `type` gives them: {"value": "59", "duration_seconds": 60}. A value is a decimal string, an
    int or a Decimal, never a float.

    `amends` or `retracts` is the id of an earlier event of the same source: this one is in force in its place, or
    nothing is.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, object]
    amends: str | None = None
    retracts: str | None = None


class Measure(NamedTuple):
    """What an event says on a meter: its value in billionths, and the base units it counts for in all. `data` is what is
    kept of its data beside, as JSON.
    """

    duration_seconds: int
    value_nano: int
    quantity: int
    data: str | None = None


class RejectedError(ValueError):
    """An event that can't be taken: which field, and what would be right. It does not take its id."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def text(field: str, value: object) -> str:
    """The value, if it is a text that can be an attribute of an event; else RejectedError."""
    if not isinstance(value, str):
        raise RejectedError(field, f"{shown(value)} is no text: expected 1 to {MAX_TEXT} characters")
    if not 0 < len(value) <= MAX_TEXT:
        raise RejectedError(field, f"{len(value)} characters: expected 1 to {MAX_TEXT}")
    if "\0" in value or not _is_unicode(value):
        raise RejectedError(field, f"{shown(value)}: expected no NUL and no lone surrogate")
    return value


def instant(value: object, latest: int) -> tuple[int, str]:
    """A time as microseconds since the epoch, exactly, and as ISO 8601 in UTC. `latest` is the greatest allowed."""
    if not isinstance(value, datetime):
        raise RejectedError("time", f"{shown(value)}: expected a date and time with an offset from UTC")
    if value.utcoffset() is None:
        raise RejectedError("time", f"{value.isoformat()} has no offset from UTC: expected one, such as +08:00")
    since = value - EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if micros < EARLIEST:
        raise RejectedError("time", f"{value.isoformat()}: expected the year 1 or later, in UTC")
    if micros > latest:
        raise RejectedError(
            "time", f"{value.isoformat()}: expected at most {FUTURE_SECONDS // 60} minutes in the future"
        )
    return micros, (EPOCH + since).isoformat()


def micros(value: datetime) -> int:
    """An instant of ours as microseconds since the epoch."""
    return (value - EPOCH) // timedelta(microseconds=1)


def measure(meter: Meter, data: Mapping[str, Any]) -> Measure:
    """What the data say on the meter. Raises RejectedError, with the field named as `data.NAME`.

    An event that is only counted needs no value and has no duration: it counts where it begins.
    """
    value_field, duration_field = f"data.{meter.value_field}", f"data.{meter.duration_field}"
    if meter.aggregation == Meter.Aggregation.UNIQUE_COUNT:
        value_text = unique_text(value_field, data.get(meter.value_field))
        return Measure(0, NANO, 1, json.dumps({meter.value_field: value_text}, ensure_ascii=False))
    is_count = meter.aggregation == Meter.Aggregation.COUNT
    if meter.value_field in data:
        value = _nano(value_field, data[meter.value_field])
    elif is_count:
        value = NANO
    else:
        raise RejectedError(value_field, f"missing: {_A_DECIMAL}")
    if is_count:
        return Measure(0, value, 1)
    duration, stated = 0, data.get(meter.duration_field)
    if meter.kind == Meter.Kind.GAUGE and (meter.needs_duration or stated is not None):
        duration = _duration(duration_field, stated)
    factor = duration if meter.kind == Meter.Kind.GAUGE and meter.aggregation == Meter.Aggregation.SUM else 1
    quantity, rest = divmod(value * factor, NANO)
    if rest and meter.aggregation != Meter.Aggregation.TIME_WEIGHTED:
        times = f" x {duration} seconds" if factor > 1 else ""
        given = shown(data[meter.value_field])
        raise RejectedError(value_field, f"{given}{times} is no whole number of {meter.base_unit}: expected one")
    if quantity > MAX_QUANTITY:
        raise RejectedError(value_field, f"{quantity} {meter.base_unit}: expected at most {MAX_QUANTITY}")
    return Measure(duration, value, quantity)


def unique_text(field: str, value: object) -> str:
    """A value that is told from others, as one text: numbers that are equal have the same, however they are spelt."""
    expected = f"expected a text of 1 to {MAX_TEXT} characters or a number"
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise RejectedError(field, f"{shown(value)}: {expected}")
    if isinstance(value, int):
        spelt = str(value) if value.bit_length() < MAX_TEXT else ""
    else:
        spelt = _plain(field, value) if isinstance(value, Decimal) else text(field, value)
    parts = _DECIMAL.fullmatch(spelt)
    if parts is None:
        if not spelt or not isinstance(value, str):
            raise RejectedError(field, f"{shown(value)}: {expected}")
        return spelt
    whole, decimals = parts[2].lstrip("0") or "0", (parts[3] or "").rstrip("0")
    number = f"{whole}.{decimals}" if decimals else whole
    return f"-{number}" if parts[1] and number != "0" else number


def _nano(field: str, value: object) -> int:
    """A value in billionths. Any spelling of a number that JSON or a decimal string has, and no float."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise RejectedError(field, f"{shown(value)}: {_A_DECIMAL}")
    if isinstance(value, int):
        negative, nano = value < 0, abs(value) * NANO
    else:
        spelt = _plain(field, value) if isinstance(value, Decimal) else value
        parts = _DECIMAL.fullmatch(spelt)
        if parts is None:
            raise RejectedError(field, f"{shown(value)}: {_A_DECIMAL}")
        decimals = (parts[3] or "").rstrip("0")
        if len(decimals) > 9:
            raise RejectedError(field, f"{shown(value)} has {len(decimals)} decimals: expected at most 9")
        nano = int(parts[2]) * NANO + int(decimals.ljust(9, "0"))
        negative = bool(parts[1]) and nano > 0
    if negative:
        raise RejectedError(field, f"{shown(value)} is negative: {_A_DECIMAL}")
    if nano >= 10**WHOLE_DIGITS * NANO:
        raise RejectedError(field, f"{shown(value)}: expected at most {WHOLE_DIGITS} digits before the point")
    return nano


def _plain(field: str, value: Decimal) -> str:
    if not value.is_finite():
        raise RejectedError(field, f"{value} is not finite: {_A_DECIMAL}")
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # it is a letter only for what is not finite
    if value and (value.adjusted() > WHOLE_DIGITS or exponent < -80):
        raise RejectedError(
            field, f"{shown(value)}: expected at most {WHOLE_DIGITS} digits before the point and 9 after"
        )
    return format(value, "f") if value else "0"


def _duration(field: str, value: object) -> int:
    expected = f"expected a whole number of seconds from 1 to {MAX_DURATION_SECONDS:,}"
    if value is None:
        raise RejectedError(field, f"missing: {expected}")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RejectedError(field, f"{shown(value)}: {expected}")
    # A comparison with NaN raises, and one with an infinity is settled by the bounds.
    if (isinstance(value, Decimal) and value.is_nan()) or not 1 <= value <= MAX_DURATION_SECONDS or value % 1:
        raise RejectedError(field, f"{shown(value)}: {expected}")
    return int(value)


def data_json(data: Mapping[str, object]) -> str:
    """The data of an event whose meter is not known as JSON, its numbers as sent. Raises RejectedError."""
    try:
        kept = _json(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise RejectedError("data", f"{error}: expected JSON of finite numbers and of texts without NUL") from error
    if not _is_unicode(kept):
        raise RejectedError("data", "expected no lone surrogate")
    if len(kept.encode()) > MAX_DATA_BYTES:
        raise RejectedError("data", f"{len(kept.encode())} bytes: expected at most {MAX_DATA_BYTES:,}")
    return kept


def _json(value: object) -> str:
    """`json.dumps`, for Decimals and against floats."""
    if isinstance(value, Mapping):
        members = []
        for name, member in value.items():
            if not isinstance(name, str):
                raise TypeError(f"the name {shown(name)} is no text")
            members.append(f"{_json(name)}:{_json(member)}")
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > MAX_EXPONENT:
            raise ValueError(f"{shown(value)} is no number that can be kept")
        return str(value)
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{shown(value)} has a NUL")
    if value is None or isinstance(value, str | int):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"{shown(value)} is no JSON value")


def same_data(sent: Mapping[str, object], kept: str) -> bool:
    """Whether data say the same as those that `data_json` kept: 59, "59" and 59.0 are equal."""
    return _canonical(data_json(sent)) == _canonical(kept)


def parse_data(kept: str) -> dict[str, object]:
    """Data that `data_json` kept, with no float in them."""
    parsed: dict[str, object] = json.loads(kept, parse_float=Decimal)
    return parsed


def _canonical(kept: str) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for name, value in parse_data(kept).items():
        is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        if is_number or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
            numbers[name] = Decimal(str(value))
        else:
            numbers[name] = value
    return numbers


def _is_unicode(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def shown(value: object) -> str:
    """A sent value as an error may show it: short, printable, whatever was sent."""
    if isinstance(value, int) and value.bit_length() > 300:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, str):
        return repr(value[:80] + "…" if len(value) > 80 else value)
    if value is None or isinstance(value, int | float | Decimal):
        return str(value)[:120]
    return f"a {type(value).__name__}"
