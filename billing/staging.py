"""A batch of events on its way into the database: checked, matched with meters and contracts, copied, stored, folded.

`billing.usage` and `billing.corrections` alone call it, within their transactions. Locks are taken in one order by all
batches, so that batches at the same time can't wait for each other in a circle: sources by name, the owner (shared;
alone by those that correct or rematch), the series touched, events by key, readings by key.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from django.db import IntegrityError, connection, transaction
from psycopg.errors import UniqueViolation

from billing.events import (
    FUTURE_SECONDS,
    NANO,
    Event,
    Measure,
    RejectedError,
    data_json,
    instant,
    measure,
    micros,
    parse_data,
    same_data,
    shown,
    text,
    unique_text,
)
from billing.models import EventSource, Meter, Party
from billing.series import Touched

INTERVAL_SECONDS = 900
_FOREVER = 2**63
_LINES_PER_WRITE = 1000
_PLAIN = frozenset({str, int})
_WHOLE = frozenset({int, type(None)})

# A temporary table is not logged and is read by its own connection alone. It is kept: making it anew for each batch took
# 0.6 ms and left dead rows in the catalogue. What an earlier batch of the same transaction left in it is deleted.
_CREATE = """
CREATE TEMP TABLE IF NOT EXISTS billing_staging (
    n integer, source_id bigint, event_id varchar(255) COLLATE "C", time timestamptz,
    duration_seconds integer, value numeric(38, 9), quantity bigint, data jsonb,
    contract_id bigint, meter_id bigint, type varchar(255), subject varchar(255), unmatched_reason varchar(40),
    taken boolean
) ON COMMIT DELETE ROWS;
DELETE FROM billing_staging
"""
_COPY = "COPY billing_staging FROM STDIN"
LOCK_ALONE = "SELECT pg_advisory_xact_lock(%s)"
_LOCK = """
SELECT pg_advisory_xact_lock_shared(%(owner)s);
SELECT pg_advisory_xact_lock(key) FROM unnest(%(pairs)s::bigint[]) AS key"""
_MAX_LOCKS = 64  # a batch of more series has its owner alone: the server's table of locks is small
_TOUCHED = """
SELECT DISTINCT contract_id, meter_id, source_id, time FROM billing_staging
WHERE NOT taken AND contract_id IS NOT NULL AND meter_id = ANY(%s)"""

_STORE = """
INSERT INTO billing_usageevent (source_id, event_id, contract_id, meter_id, time, duration_seconds, value, quantity,
    recorded_at, type, subject, data, unmatched_reason, in_series)
SELECT source_id, event_id, contract_id, meter_id, time, duration_seconds, value, quantity,
    %(at)s, type, subject, data, unmatched_reason, coalesce(meter_id = ANY(%(series)s::bigint[]), false)
FROM billing_staging WHERE NOT taken ORDER BY source_id, event_id"""
_EVENT_KEY = "billing_usageevent_pkey"
_REMATCH = """
UPDATE billing_usageevent event SET (contract_id, meter_id, duration_seconds, value, quantity, type, subject, data,
    unmatched_reason, in_series, matched_at)
    = (staged.contract_id, staged.meter_id, staged.duration_seconds, staged.value, staged.quantity, staged.type,
    staged.subject, staged.data, staged.unmatched_reason, coalesce(staged.meter_id = ANY(%(series)s::bigint[]), false),
    CASE WHEN staged.contract_id IS NOT NULL THEN %(at)s::timestamptz END)
FROM billing_staging staged
WHERE event.source_id = staged.source_id AND event.event_id = staged.event_id"""

# A sample's share of an interval is what it counts for up to the interval's end, in whole base units, less what it
# counted for up to its start: shares are integers and sum to the event's quantity wherever the edges fall.
SHARES = """
sample AS NOT MATERIALIZED (
    SELECT contract_id, meter_id, time, time + duration_seconds * interval '1 second' AS until,
        date_bin('15 minutes', time, 'epoch') AS start_at, value, quantity
    FROM {relation}
    WHERE contract_id IS NOT NULL AND meter_id <> ALL(%(series)s::bigint[]) AND {condition}
), pieces AS (
    SELECT contract_id, meter_id, start_at, quantity FROM sample WHERE until <= start_at + interval '15 minutes'
  UNION ALL
    SELECT contract_id, meter_id, edge, CASE aggregation WHEN 'max' THEN quantity
        ELSE floor(value * extract(epoch FROM least(until, edge + interval '15 minutes') - time))
            - floor(value * extract(epoch FROM greatest(time, edge) - time)) END
    FROM sample JOIN billing_meter meter ON meter.id = meter_id,
    generate_series(start_at, until - interval '1 microsecond', interval '15 minutes') edge
    WHERE until > start_at + interval '15 minutes'
), sums AS (
    SELECT contract_id, meter_id, start_at, sum(quantity) AS total, max(quantity) AS most
    FROM pieces GROUP BY contract_id, meter_id, start_at
)"""
_FOLD = f"""WITH {SHARES.format(relation="billing_staging", condition="NOT taken")}
INSERT INTO billing_reading AS reading (contract_id, meter_id, start_at, quantity)
SELECT contract_id, meter_id, start_at, CASE aggregation WHEN 'max' THEN most ELSE total END
FROM sums JOIN billing_meter meter ON meter.id = meter_id
ORDER BY contract_id, meter_id, start_at
ON CONFLICT (contract_id, meter_id, start_at) DO UPDATE SET quantity = CASE
    WHEN (SELECT aggregation FROM billing_meter WHERE id = excluded.meter_id) = 'max'
    THEN greatest(reading.quantity, excluded.quantity)
    ELSE reading.quantity + excluded.quantity END"""  # noqa: S608  - made of constants

# The items whose ids are taken are marked; in what their contents differ from the stored events', and what these have.
# OFFSET 0 keeps the planner from joining the whole table of events. The data of an event that came before its meter was
# known are compared in Python.
_SIFT = """
WITH compared AS MATERIALIZED (
    SELECT n, differs, CASE differs
        WHEN 'type' THEN was_type
        WHEN 'subject' THEN was_subject
        WHEN 'time' THEN to_char(event.time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        WHEN 'data' THEN event.data::text
        WHEN 'value' THEN trim_scale(event.value)::text
        WHEN 'duration_seconds' THEN event.duration_seconds::text END AS was
    FROM billing_staging staged
    CROSS JOIN LATERAL (
        SELECT * FROM billing_usageevent event
        WHERE event.source_id = staged.source_id AND event.event_id = staged.event_id OFFSET 0
    ) event
    CROSS JOIN LATERAL (
        SELECT coalesce(event.type, (SELECT event_type FROM billing_meter WHERE id = event.meter_id)) AS was_type,
            coalesce(event.subject, (SELECT number FROM billing_contract WHERE id = event.contract_id)) AS was_subject,
            coalesce(staged.type, (SELECT event_type FROM billing_meter WHERE id = staged.meter_id)) AS is_type,
            coalesce(staged.subject, (SELECT number FROM billing_contract WHERE id = staged.contract_id)) AS is_subject
    ) named
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN (event.contract_id, event.meter_id, event.time, event.value, event.duration_seconds)
                = (staged.contract_id, staged.meter_id, staged.time, staged.value, staged.duration_seconds)
                AND event.data IS NOT DISTINCT FROM staged.data THEN NULL
            WHEN was_type <> is_type THEN 'type'
            WHEN was_subject <> is_subject THEN 'subject'
            WHEN event.time <> staged.time THEN 'time'
            WHEN event.data IS NOT NULL THEN 'data'
            WHEN event.value IS DISTINCT FROM staged.value THEN 'value'
            WHEN event.duration_seconds <> staged.duration_seconds THEN 'duration_seconds' END AS differs OFFSET 0
    ) decided
)
UPDATE billing_staging staged SET taken = true FROM compared WHERE compared.n = staged.n
RETURNING compared.*"""


class _Supplied(NamedTuple):
    """What is needed of a contract."""

    pk: int
    start_at: datetime
    end_at: datetime | None


class _Taken(NamedTuple):
    """An item whose id is taken by an event that `differs` from it in a column, and what that event has there."""

    n: int
    differs: str
    was: str


@dataclass(slots=True)
class Head:
    """What the items of a batch with equal source, type and subject share."""

    source_id: int = 0
    type: str = ""
    meter: Meter | None = None
    start: int = -_FOREVER
    end: int = _FOREVER
    reason: str | None = None
    matched: str = ""
    unmatched: str = ""
    error: RejectedError | None = None
    seen: set[str] = field(default_factory=set)  # the ids of the source so far
    measures: dict[tuple[object, object], tuple[int, str]] = field(default_factory=dict)

    def measured(self, data: Mapping[str, object]) -> tuple[int, str]:
        """The duration in seconds, and the columns duration_seconds to data of a row. Meters repeat themselves: kept."""
        assert self.meter is not None
        value, duration = data.get(self.meter.value_field), data.get(self.meter.duration_field)
        # By exact type: True == 1 == 1.0 share a place in a dict, and only one of them is a value.
        if value.__class__ not in _PLAIN or duration.__class__ not in _WHOLE:
            return _columns(measure(self.meter, data))
        found = self.measures.get((value, duration))
        if found is None:
            found = self.measures[value, duration] = _columns(measure(self.meter, data))
        return found

    def kept(self, data: Mapping[str, object]) -> str:
        """The columns of an event that is not matched and whose value is no number: its whole data."""
        return f"0\t\\N\t\\N\t{_escaped(data_json(data))}"


def _same_text(meter: Meter | None, sent: Mapping[str, object], kept: str) -> bool:
    """Whether the data have the value that is kept of an earlier event's, where nothing else of them counts."""
    if meter is None or meter.aggregation != Meter.Aggregation.UNIQUE_COUNT:
        return False
    name = meter.value_field
    try:
        return unique_text(name, sent.get(name)) == unique_text(name, parse_data(kept).get(name))
    except RejectedError:  # kept before its meter was known
        return False


def _is_taken(error: IntegrityError) -> bool:
    """Whether it says that an event of the same key is there."""
    return isinstance(error.__cause__, UniqueViolation) and error.__cause__.diag.constraint_name == _EVENT_KEY


def _columns(measured: Measure) -> tuple[int, str]:
    seconds, nano, quantity, data = measured
    kept = "\\N" if data is None else _escaped(data)
    return seconds, f"{seconds}\t{nano // NANO}.{nano % NANO:09}\t{quantity}\t{kept}"


def lock_key(*parts: object) -> int:
    """A number for PostgreSQL's advisory locks. Two that are equal by chance cost a wait."""
    named = " ".join(map(str, ("billing.usage", *parts)))
    return int.from_bytes(hashlib.blake2b(named.encode(), digest_size=8).digest(), signed=True)


def lock_series(owner: Party, pairs: Iterable[tuple[int, int]]) -> None:
    """Wait for the batches that touch these series, (contract, meter), and hold back later ones, to the transaction's end."""
    keys = sorted({lock_key(_matched_columns(contract_id, meter_id)) for contract_id, meter_id in pairs})
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"owner": lock_key("owner", owner.pk), "pairs": keys})


def _matched_columns(contract_id: int, meter_id: int) -> str:
    """The columns contract_id to unmatched_reason of a row that is matched."""
    return f"{contract_id}\t{meter_id}\t\\N\t\\N\t\\N"


class Batch:
    """The items of one call of `record`, checked one by one while they are copied into the staging table.

    rejected: {place in the batch: error}; unmatched: {place in the batch: reason}; both complete after `copy`.
    """

    def __init__(self, *, owner: Party, events: Sequence[Event], at: datetime) -> None:
        self.rejected: dict[int, RejectedError] = {}
        self.unmatched: dict[int, str] = {}
        self.repeats: list[int] = []  # the places of ids that an earlier item took
        self._events = events
        self._latest = micros(at) + FUTURE_SECONDS * 1_000_000
        self._owner = owner
        self._heads = _heads(owner, events)
        meters = {head.type: head.meter for head in self._heads.values() if head.meter}
        series = {type_: meter.pk for type_, meter in meters.items() if meter.is_series}
        self.series = sorted(series.values())  # the meters whose readings are recomputed
        self._pairs = sorted(
            {lock_key(head.matched) for head in self._heads.values() if head.type in series and head.matched}
        )
        # Samples taken together share their time, in a trace even the object.
        self._time: object = self  # no event's
        self._instant = (0, "")

    def copy(self, *, alone: bool = False) -> None:
        """Fill the staging table; wait for the batches that touch the same series, and for those that have the owner alone,
        or be one.
        """
        owner, alone = lock_key("owner", self._owner.pk), alone or len(self._pairs) > _MAX_LOCKS
        with connection.cursor() as cursor:
            if alone:
                cursor.execute(f"{_CREATE}; {LOCK_ALONE}", [owner])
            else:
                cursor.execute(f"{_CREATE}; {_LOCK}", {"owner": owner, "pairs": self._pairs})
            lines = self._lines()
            with connection.wrap_database_errors, cursor.copy(_COPY) as copy:
                while chunk := "".join(islice(lines, _LINES_PER_WRITE)):
                    copy.write(chunk)

    def touched(self) -> list[Touched]:
        """What was stored or rematched of series."""
        if not self.series:
            return []
        with connection.cursor() as cursor:
            cursor.execute(_TOUCHED, [self.series])
            return [Touched(*row) for row in cursor.fetchall()]

    def discard(self, *, unless: Sequence[int]) -> None:
        """Take the unmatched items out of what was copied, but for those at some places."""
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM billing_staging WHERE contract_id IS NULL AND n <> ALL(%s::integer[])", [list(unless)]
            )
        self.repeats = [n for n in self.repeats if n in unless or n not in self.unmatched]

    def fold(self) -> None:
        """Add what was stored to its readings, but for series, whose readings are recomputed."""
        with connection.cursor() as cursor:
            cursor.execute(_FOLD, {"series": self.series})

    def store(self, at: datetime) -> dict[int, RejectedError | None]:
        """Store what was copied. The places of those whose id was taken before, with the field and reason of those that say
        something else.
        """
        taken: dict[int, RejectedError | None] = {}
        with connection.cursor() as cursor:
            while True:
                try:
                    # ON CONFLICT takes half as much again as an insert without it, and most batches are new. Where one
                    # is not, this is told at the first row that is there, and only the others are tried again.
                    with transaction.atomic():
                        cursor.execute(_STORE, {"at": at, "series": self.series})
                    break
                except IntegrityError as error:
                    if not _is_taken(error):
                        raise
                    before = len(taken)
                    taken |= self._sift()
                    if len(taken) == before:  # it is there and can't be seen: the caller's transaction is older
                        raise
        return taken

    def repeated(self) -> dict[int, RejectedError | None]:
        """The same of those whose id was taken by an earlier item. Last of all: it marks everything as taken."""
        if not self.repeats:
            return {}
        found = self._sift()
        return {n: found[n] for n in self.repeats}

    def _sift(self) -> dict[int, RejectedError | None]:
        with connection.cursor() as cursor:
            cursor.execute(_SIFT)
            return {row[0]: self._conflict(_Taken(*row)) if row[1] else None for row in cursor.fetchall()}

    def rematch(self, at: datetime) -> int:
        """Put what was copied in the place of the stored events of the same ids; how many are matched."""
        with connection.cursor() as cursor:
            cursor.execute(_REMATCH, {"series": self.series, "at": at})
            return int(cursor.rowcount) - len(self.unmatched)

    def _conflict(self, taken: _Taken) -> RejectedError | None:
        event = self._events[taken.n]
        field, meter = taken.differs, self._heads[event[1:4]].meter
        if taken.differs == "data" and (same_data(event.data, taken.was) or _same_text(meter, event.data, taken.was)):
            return None
        if meter and field in ("value", "duration_seconds"):
            field = "data." + (meter.value_field if field == "value" else meter.duration_field)
        return RejectedError(field, f"the event of this id has {shown(taken.was)}: expected the same, or another id")

    def _lines(self) -> Iterator[str]:
        """The rows of the staging table as COPY reads them. What can't be one is put down as rejected."""
        for n, event in enumerate(self._events):
            try:
                yield self._line(n, event)
            except RejectedError as error:
                self.rejected[n] = error

    def _line(self, n: int, event: Event) -> str:
        head = self._head(event)
        event_id = event[0]
        if (
            event_id.__class__ is not str
            or not event_id.isprintable()
            or "\\" in event_id
            or not 0 < len(event_id) <= 255
        ):
            event_id = _escaped(text("id", event_id))
        if event[4] is not self._time:
            self._instant = instant(event[4], self._latest)
            self._time = event[4]
        start, stamp = self._instant
        data = event[5]
        if data.__class__ is not dict and not isinstance(data, Mapping):
            raise RejectedError("data", f"{shown(data)}: expected an object")
        reason = head.reason
        if head.meter is None:
            measured = head.kept(data)
        else:
            duration, measured = head.measured(data)
            if reason is None and not (head.start <= start < head.end and start + duration * 1_000_000 <= head.end):
                reason = "outside_contract"
            if reason is not None and head.meter.aggregation == "unique_count":
                measured = head.kept(data)
        taken = "f"
        if event[0] in head.seen:
            self.repeats.append(n)
            taken = "t"
        head.seen.add(event[0])
        if reason is None:
            return f"{n}\t{head.source_id}\t{event_id}\t{stamp}\t{measured}\t{head.matched}\t{taken}\n"
        self.unmatched[n] = reason
        return f"{n}\t{head.source_id}\t{event_id}\t{stamp}\t{measured}\t{head.unmatched}\t{reason}\t{taken}\n"

    def _head(self, event: Event) -> Head:
        try:
            head = self._heads[event[1:4]]
        except (KeyError, TypeError):
            head = Head(error=_header_error(event[1:4]))
            assert head.error is not None  # all that are texts were looked up
        if head.error:
            raise RejectedError(head.error.field, head.error.reason)
        return head


_HEADER = ("source", "type", "subject")


def _header_error(key: Sequence[object]) -> RejectedError | None:
    try:
        for name, value in zip(_HEADER, key, strict=True):
            text(name, value)
    except RejectedError as error:
        return error
    return None


def _heads(owner: Party, events: Sequence[Event]) -> dict[tuple[str, str, str], Head]:
    """The sources, meters and contracts that the events name: one query each. A source is made when first seen.

    A party sends usage for the contracts that it supplies, and for no others.
    """
    keys = _keys(events)
    errors = {key: _header_error(key) for key in keys}
    good = [key for key in keys if errors[key] is None]
    heads = {
        key: Head(error=error) for key, error in errors.items() if error and all(isinstance(part, str) for part in key)
    }
    if not good:
        return heads
    sources = _sources(owner, {source for source, _, _ in good})
    meters = {meter.event_type: meter for meter in Meter.objects.filter(event_type__in={type_ for _, type_, _ in good})}
    contracts = _contracts(owner, {subject for _, _, subject in good})
    seen: dict[str, set[str]] = {source: set() for source in sources}
    measures: dict[str, dict[tuple[object, object], tuple[int, str]]] = {type_: {} for _, type_, _ in good}
    for source, type_, subject in good:
        head = heads[source, type_, subject] = _matched(type_, subject, meters.get(type_), contracts.get(subject))
        head.source_id, head.seen, head.measures = sources[source], seen[source], measures[type_]
    return heads


def _contracts(owner: Party, numbers: set[str]) -> dict[str, _Supplied]:
    # Not by the ORM: a list of thousands of parameters took as long as all the rest of a batch's Python.
    with connection.cursor() as cursor:
        cursor.execute(
            # Nothing is used of a contract that was withdrawn: its time is empty.
            "SELECT number, id, start_at, CASE WHEN withdrawn_at IS NULL THEN end_at ELSE start_at END"
            " FROM billing_contract WHERE provider_id = %s AND number = ANY(%s)",
            [owner.pk, list(numbers)],
        )
        return {number: _Supplied(pk, start_at, end_at) for number, pk, start_at, end_at in cursor.fetchall()}


def _keys(events: Sequence[Event]) -> set[tuple[str, str, str]]:
    """The different sources, types and subjects."""
    try:
        return {event[1:4] for event in events}
    except TypeError:  # some are not even hashable, so no texts: rejected one by one
        keys = set()
        for event in events:
            with suppress(TypeError):
                keys.add(event[1:4])
        return keys


def _sources(owner: Party, names: set[str]) -> dict[str, int]:
    known = EventSource.objects.filter(owner=owner, name__in=names).values_list("name", "id")
    found = dict(known)
    if missing := sorted(names - found.keys()):
        # In name order: another batch may be making them too.
        EventSource.objects.bulk_create(
            [EventSource(owner=owner, name=name) for name in missing], ignore_conflicts=True
        )
        found = dict(known.all())
    return found


def _matched(type_: str, subject: str, meter: Meter | None, contract: _Supplied | None) -> Head:
    head = Head(type=type_, meter=meter, unmatched=f"\\N\t\\N\t{_escaped(type_)}\t{_escaped(subject)}")
    if meter is None:
        head.reason = "unknown_meter"
    elif contract is None:
        head.reason = "unknown_subject"
    else:
        head.matched = _matched_columns(contract.pk, meter.pk)
        head.start = micros(contract.start_at)
        if contract.end_at is not None:
            head.end = micros(contract.end_at)
    return head


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _escaped(value: str) -> str:
    """A text as a field of COPY's text format."""
    return value.translate(_ESCAPES)
