"""CloudEvents 1.0 in JSON to `billing.usage` events, and what became of them to JSON. Per item work: thousands a request."""

from __future__ import annotations

import re
from datetime import datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from billing.events import Event, RejectedError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from billing.usage import Outcome

# RFC 3339. The offset may be missing here: that is said of the time as such, by whom it concerns.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?", re.ASCII
)
_EXPECTED_TIME = "expected RFC 3339 with an offset, such as 2020-05-01T00:00:00+08:00"


def read(items: Sequence[Any]) -> tuple[list[Event], dict[int, RejectedError]]:
    """The items as events, in order, without those that are none: {place among the items: what is wrong with it}.

    Attributes that nobody here knows are ignored, as CloudEvents wants it. Whether an attribute's value is right is
    for `billing.usage` to say, but for the spelling of a time.
    """
    events: list[Event] = []
    refused: dict[int, RejectedError] = {}
    times: dict[str, datetime] = {}
    for n, item in enumerate(items):
        try:
            events.append(_event(item, times))
        except RejectedError as error:
            refused[n] = error
    return events, refused


def as_sent(item: Any) -> Event:
    """The attributes of an item that may be no event, whatever they are: for those who look for what was wrong with it."""
    get: Any = item.get if item.__class__ is dict else {}.get
    return Event(get("id"), get("source"), get("type"), get("subject"), get("time"), {})


def _event(item: Any, times: dict[str, datetime]) -> Event:
    if item.__class__ is not dict:
        raise RejectedError("", f"{shown(item)}: expected an object, an event")
    get: Any = item.get  # what is wrong with a value is told by whom it concerns
    if get("specversion") != "1.0":
        raise RejectedError("specversion", f'{shown(get("specversion"))}: expected "1.0"')
    if "data_base64" in item:
        raise RejectedError("data_base64", "expected data, a JSON object, in its place")
    spelt = get("time")
    time: Any = times.get(spelt) if spelt.__class__ is str else spelt
    if time is None and spelt is not None:
        time = times[spelt] = _time(spelt)
    return Event(
        get("id"),
        get("source"),
        get("type"),
        get("subject"),
        time,
        get("data"),
        get("amends"),
        get("retracts"),
    )


def _time(spelt: str) -> datetime:
    """Microseconds count; what is finer is cut off."""
    if _TIME.fullmatch(spelt) is None:
        raise RejectedError("time", f"{shown(spelt)}: {_EXPECTED_TIME}")
    try:
        return datetime.fromisoformat(spelt.upper())
    except ValueError as error:
        raise RejectedError("time", f"{shown(spelt)}: {error}: {_EXPECTED_TIME}") from error


def answer(items: Sequence[Any], counts: Mapping[str, int], others: Mapping[int, Outcome]) -> bytes:
    """{"counts": {outcome: n}, "results": [{"id", "outcome", "field", "reason"}]}; what is not in `others` was counted."""
    results = []
    for n, item in enumerate(items):
        id_ = item.get("id") if item.__class__ is dict else None
        spelt = encode_basestring_ascii(id_) if id_.__class__ is str else "null"
        if n not in others:
            results.append(f'{{"id":{spelt},"outcome":"counted","field":null,"reason":null}}')
            continue
        outcome, field, reason = others[n]
        results.append(f'{{"id":{spelt},"outcome":"{outcome}","field":{_text(field)},"reason":{_text(reason)}}}')
    numbers = ",".join(f'"{outcome}":{number}' for outcome, number in counts.items())
    return f'{{"counts":{{{numbers}}},"results":[{",".join(results)}]}}'.encode("ascii")


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring_ascii(value)
