"""Digests of readings, and of the events behind one, which anybody who has them can make again.

The recipe of readings: for each reading one line of text, `contract,meter,start,quantity` and a line feed. `contract` is the contract's
number and `meter` the meter's code, as they are; `start` the reading's first instant in UTC as 2020-05-01T00:15:00Z;
`quantity` a whole number of the meter's base unit in decimal digits. Lines are in ascending order of contract and meter (by
their bytes in UTF-8) and then of start; an interval without a reading has no line, one that measured 0 has. The lines
together in UTF-8 are the canonical text, and its SHA-256 in 64 small hexadecimal digits is the digest. Of no readings at all
it is the SHA-256 of nothing. With the text in a file:

    sha256sum readings.csv

The recipe of the events of one reading: for each a line `source,event,time,seconds,value,quantity,state`, in the order in which
`usage.events_of` has them: by time, source and id. `time` is in UTC with microseconds, 2020-05-01T00:15:00.000000Z; `value`
as it was sent without trailing zeros, `quantity` in base units, each empty where there is none; `state` counted, superseded
(by an event that amends or retracts it) or retraction. A text with a comma, quote or line end stands in quotes as RFC 4180
has it, and one that a spreadsheet would take for a formula behind an apostrophe.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing import usage
from billing.exports.tables import guarded
from billing.integrity import require_aware
from billing.models import Contract, Meter, Reading

Row = tuple[str, str, datetime, int]
"""A contract's number, a meter's code, the first instant of the reading (aware), base units."""


EventRow = tuple[str, str, datetime, int, Decimal | None, int | None, str]
"""An event's source and id, its time (aware) and seconds, its value, base units, and state: see the recipe."""


class NotInOrderError(ValueError):
    """Two readings are not in the order of the canonical text, or are one reading twice."""


def of_readings(rows: Iterable[Row]) -> str:
    """The digest of readings that come in the canonical order, in constant memory. Raises NotInOrderError, ValueError."""
    return of_lines(lines(rows))


def of_lines(found: Iterable[bytes]) -> str:
    """The digest of a canonical text, whichever it is, in constant memory."""
    digest = hashlib.sha256()
    for line in found:
        digest.update(line)
    return digest.hexdigest()


def lines(rows: Iterable[Row]) -> Iterator[bytes]:
    """The canonical text, line by line. Raises NotInOrderError, and ValueError for an instant without its zone."""
    before: tuple[bytes, bytes, datetime] | None = None
    for contract, meter, start_at, quantity in rows:
        require_aware("start_at", start_at)
        place = (contract.encode(), meter.encode(), start_at.astimezone(UTC))
        if before is not None and place <= before:
            raise NotInOrderError(
                f"{contract}, {meter}, {start_at.isoformat()} comes after {before[2].isoformat()}: expected readings in"
                " ascending order of contract, meter and start, each once"
            )
        before = place
        yield f"{contract},{meter},{place[2]:%Y-%m-%dT%H:%M:%SZ},{quantity}\n".encode()


def readings(*, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Iterator[Row]:
    """The rows of one contract and meter that begin in [start_at, end_at), in order, a few at a time. One query."""
    found = Reading.objects.filter(contract=contract, meter=meter, start_at__gte=start_at, start_at__lt=end_at)
    rows = found.order_by("start_at").values_list("start_at", "quantity").iterator(chunk_size=2_000)
    return ((contract.number, meter.code, begun_at, quantity) for begun_at, quantity in rows)


def event_lines(rows: Iterable[EventRow]) -> Iterator[bytes]:
    """The canonical text of events, line by line, in the order in which they come."""
    for source, event_id, time, seconds, value, quantity, state in rows:
        require_aware("time", time)
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(
            [
                guarded(source),
                guarded(event_id),
                f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
                seconds,
                "" if value is None else f"{value.normalize():f}",
                "" if quantity is None else quantity,
                state,
            ]
        )
        yield line.getvalue().encode()


def events(*, contract: Contract, meter: Meter, start_at: datetime) -> Iterator[EventRow]:
    """The rows of the events behind one reading, in order, a few at a time. One query."""
    annotated: Any = usage.events_of(contract=contract, meter=meter, start_at=start_at)
    found = annotated.values_list(
        "source__name", "event_id", "time", "duration_seconds", "value", "quantity", "superseded_by", "is_retraction"
    )
    for *row, superseded_by, is_retraction in found.iterator(chunk_size=2_000):
        state = "superseded" if superseded_by is not None else "retraction" if is_retraction else "counted"
        source, event_id, time, seconds, value, quantity = row
        yield source, event_id, time, seconds, value, quantity, state
