"""Usage: events in, readings out. The only writer of usage.

billing.events says what an event must be, billing.staging brings a batch of them into the database.
"""

import sys
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import DataError, connection, transaction
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, NullIf
from psycopg.errors import NumericValueOutOfRange

from billing import problems
from billing.corrections import CORRECTED, correct
from billing.events import EPOCH, MAX_DURATION_SECONDS, Event, RejectedError, parse_data
from billing.integrity import fetch_all, fetch_one
from billing.models import Contract, Correction, Meter, Party, UsageEvent
from billing.rating.quantity import Profile
from billing.series import Touched, recompute
from billing.staging import INTERVAL_SECONDS, LOCK_ALONE, Batch, lock_key, lock_series

__all__ = [
    "OUTCOMES",
    "UNMATCHED_REASONS",
    "Event",
    "Outcome",
    "Recorded",
    "Refused",
    "Rematched",
    "Result",
    "end_moved",
    "events_of",
    "forget_problems",
    "profile",
    "record",
    "rematch",
]

OUTCOMES = ("counted", "duplicate", "conflict", "unmatched", "rejected")
UNMATCHED_REASONS = ("unknown_meter", "unknown_subject", "outside_contract", "invalid_data", CORRECTED)
_REMATCH_BATCH = 10_000
_POSTGRESQL_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Result(NamedTuple):
    """What became of one item. `field` and `reason` say why it was not counted."""

    id: object
    outcome: str
    field: str | None
    reason: str | None


Outcome = tuple[str, str | None, str | None]
"""Outcome, field and reason."""


class Recorded:
    """What became of a batch: `counts` per outcome (all five, in the order of OUTCOMES), `results` per item, in order.

    `others` has those that were not counted, by their place in the batch.
    """

    def __init__(self, events: Sequence[Event], others: dict[int, Outcome]) -> None:
        self._events = events
        self.others = others
        self.counts = dict.fromkeys(OUTCOMES, 0) | {"counted": len(events) - len(others)}
        for outcome, _, _ in others.values():
            self.counts[outcome] += 1

    def event(self, place: int) -> Event:
        return self._events[place]

    @property
    def results(self) -> Iterator[Result]:
        counted = ("counted", None, None)
        for n, event in enumerate(self._events):
            yield Result(event[0], *self.others.get(n, counted))


class Rematched(NamedTuple):
    """Of the unmatched events looked at: how many are matched and in their readings now, and how many are not."""

    matched: int
    unmatched: int


Refused = tuple[Event, RejectedError]
"""An event that is none, since some of its attributes can't be read, and why."""


def record(*, owner: Party, events: Sequence[Event], at: datetime, refused: Sequence[Refused] = ()) -> Recorded:
    """Take a batch of events: check, match, store and fold them into readings. Each item gets an outcome:

    counted: new, matched with a meter and a contract, and in its readings now. duplicate: (owner, source, id) is there
    with the same content. conflict: it is there with other content; this one is not stored. unmatched: stored without a
    contract, since there is no meter of its type, no contract of its subject that `owner` supplies, or not then;
    `rematch` tries again. rejected: it can't be right, and `field` and `reason` say why; its id stays free.

    Equal content is equal type, subject, instant and numbers, however they are spelt. Any split of events into batches,
    in any order and repetition, also at the same time, makes the same readings. One transaction; nothing is kept of a
    batch that raises. `at` is now: an event may lie 300 seconds after it and at any time before.

    What an event counts for says its meter (billing.models.Meter). One that `amends` or `retracts` an earlier event is
    taken after the others of its batch; billing.corrections has its rules.

    Conflicts and rejected events are put down (billing.problems), and so are those that the caller has `refused` already.
    """
    try:
        return _record(owner, events, at, refused)
    except DataError as error:
        if not _is_overflow(error):
            raise
    # A reading would exceed 2**63 - 1. Find the events that do it, so that the others are not refused with them.
    if len(events) == 1:
        reason = "the reading would exceed 9223372036854775807 base units: expected an event that fits it"
        recorded = Recorded(events, {0: ("rejected", "data", reason)})
        _keep_problems(owner, recorded, at, refused)
        return recorded
    middle = len(events) // 2
    first = record(owner=owner, events=events[:middle], at=at, refused=refused)
    rest = record(owner=owner, events=events[middle:], at=at)
    return Recorded(events, first.others | {middle + n: other for n, other in rest.others.items()})


@transaction.atomic
def _record(owner: Party, events: Sequence[Event], at: datetime, refused: Sequence[Refused]) -> Recorded:
    recorded = Recorded(events, _taken(owner, events, at))
    _keep_problems(owner, recorded, at, refused)
    return recorded


def _keep_problems(owner: Party, recorded: Recorded, at: datetime, refused: Sequence[Refused]) -> None:
    """Last in the transaction, after all that other batches may wait for; nothing where nothing is wrong."""
    if not (refused or recorded.counts["conflict"] or recorded.counts["rejected"]):
        return
    found: list[problems.Problem] = [(event, "rejected", error.field, error.reason) for event, error in refused]
    found += [(recorded.event(n), *other) for n, other in recorded.others.items() if other[0] in problems.KINDS]
    problems.keep(owner=owner, problems=found, at=at)


def forget_problems(*, before_at: datetime) -> int:
    """Forget the conflicts and rejected events that were last sent before then; how many they were."""
    return problems.forget(before_at=before_at)


def _taken(owner: Party, events: Sequence[Event], at: datetime) -> dict[int, Outcome]:
    """What became of the events that were not counted, by their place."""
    corrections = [n for n, event in enumerate(events) if event.amends is not None or event.retracts is not None]
    if not corrections:
        return _store(owner, events, at)
    chosen = set(corrections)
    places = [n for n in range(len(events)) if n not in chosen]
    plain = _store(owner, [events[n] for n in places], at, alone=True)
    others = {places[n]: other for n, other in plain.items()}
    corrected = correct(owner=owner, events=[events[n] for n in corrections], at=at)
    return others | {corrections[n]: other for n, other in corrected.items()}


def _store(owner: Party, events: Sequence[Event], at: datetime, *, alone: bool = False) -> dict[int, Outcome]:
    """What became of the events that were not counted, by their place."""
    batch = Batch(owner=owner, events=events, at=at)
    batch.copy(alone=alone)
    others: dict[int, Outcome] = {}
    for n, unmatched in batch.unmatched.items():
        others[n] = ("unmatched", _FIELDS[unmatched], unmatched)
    taken = batch.store(at)
    batch.fold()
    recompute(batch.touched())
    for n, conflict in (taken | batch.repeated()).items():
        others[n] = ("conflict", conflict.field, conflict.reason) if conflict else _DUPLICATE
    others.update((n, ("rejected", error.field, error.reason)) for n, error in batch.rejected.items())
    return others


_DUPLICATE = ("duplicate", None, None)
_FIELDS = {"unknown_meter": "type", "unknown_subject": "subject", "outside_contract": "time"}


# One row, whatever the length: quantities as big-endian integers; where some intervals have no reading, their starts too, in
# microseconds since 2000.
_PACKED = """
    SELECT CASE WHEN found.number <> %s THEN (
            SELECT string_agg(timestamptz_send(start_at), '' ORDER BY start_at) FROM billing_reading
            WHERE contract_id = %s AND meter_id = %s AND start_at >= %s AND start_at < %s
        ) END, found.packed
    FROM (
        SELECT count(*) AS number, string_agg(int8send(quantity), '' ORDER BY start_at) AS packed FROM billing_reading
        WHERE contract_id = %s AND meter_id = %s AND start_at >= %s AND start_at < %s
    ) AS found
"""


def profile(*, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:
    """The readings of [start_at, end_at), which lie on 15-minute edges: base units per interval, 0 where there is none."""
    start, end = start_at.astimezone(UTC), end_at.astimezone(UTC)
    step = timedelta(seconds=INTERVAL_SECONDS)
    if (start - EPOCH) % step or (end - EPOCH) % step or end < start:
        raise ValueError(f"{start_at} to {end_at}: expected 15-minute edges, the end not before the start")
    number = (end - start) // step
    place = [contract.pk, meter.pk, start, end]
    ((starts, packed),) = fetch_all(_PACKED, [number, *place, *place])
    read = array("q", packed or b"")
    if sys.byteorder == "little":
        read.byteswap()
    if len(read) == number:
        return Profile(start, INTERVAL_SECONDS, read)
    quantities = array("q", bytes(8 * number))
    if read:
        instants = array("q", starts)
        if sys.byteorder == "little":
            instants.byteswap()
        first = (start - _POSTGRESQL_EPOCH) // step
        for instant, quantity in zip(instants, read, strict=True):
            quantities[instant // (INTERVAL_SECONDS * 1_000_000) - first] = quantity
    return Profile(start, INTERVAL_SECONDS, quantities)


def events_of(*, contract: Contract, meter: Meter, start_at: datetime) -> QuerySet[UsageEvent]:
    """The events that made the reading of `start_at`, in the order of their times: those that begin in its interval, and
    the samples that reach into it; of a counter, those that end what it grew by.

    Also those that are not in force: `superseded_by` is the id of the event that amends or retracts it, or None, and
    `is_retraction` says that it counts for nothing itself.
    """
    if meter.kind == Meter.Kind.CUMULATIVE:
        start_at += timedelta(microseconds=1)
    end_at = start_at + timedelta(seconds=INTERVAL_SECONDS)
    held = (
        F("duration_seconds")
        if meter.needs_duration
        else Coalesce(NullIf(F("duration_seconds"), 0), meter.max_gap_seconds if meter.kind == Meter.Kind.GAUGE else 0)
    )
    until = F("time") + held * Value(timedelta(seconds=1))
    reach_seconds = INTERVAL_SECONDS if meter.needs_duration else max(INTERVAL_SECONDS, meter.max_gap_seconds)
    # Three ranges of time, each found by an index: a long sample may begin a day before.
    begins = Q(time__gte=start_at, time__lt=end_at)
    reaches = Q(time__gte=start_at - timedelta(seconds=reach_seconds), time__lt=start_at, until__gt=start_at)
    long = Q(
        time__gte=start_at - timedelta(seconds=MAX_DURATION_SECONDS),
        time__lt=start_at,
        duration_seconds__gt=INTERVAL_SECONDS,
        until__gt=start_at,
    )
    of_source = Correction.objects.filter(source_id=OuterRef("source_id"))
    return (
        UsageEvent.objects.filter(contract=contract, meter=meter)
        .annotate(
            until=ExpressionWrapper(until, DateTimeField()),
            superseded_by=Subquery(of_source.filter(event_id=OuterRef("event_id")).values("by_event_id")),
            is_retraction=Exists(of_source.filter(by_event_id=OuterRef("event_id"), is_retraction=True)),
        )
        .filter(begins | reaches | long)
        .order_by("time", "source_id", "event_id")
    )


_IS_NEAR = "SELECT FROM billing_usageevent WHERE contract_id = %s AND in_series AND time > %s AND time < %s LIMIT 1"


def end_moved(*, contract: Contract, was_end_at: datetime) -> None:
    """Read again what samples near a contract's end hold, which is no longer than the contract runs. In the transaction
    that moved it from `was_end_at`.
    """
    ends = [was_end_at, contract.end_at or was_end_at]
    first_at, last_at = min(ends) - timedelta(seconds=MAX_DURATION_SECONDS), max(ends)
    if fetch_one(_IS_NEAR, [contract.pk, first_at, last_at]) is None:
        return  # as with nearly all that is booked
    near = UsageEvent.objects.filter(contract=contract, in_series=True, time__gt=first_at, time__lt=last_at)
    touched = [Touched(*row) for row in near.values_list("contract", "meter", "source", "time")]
    if touched:
        lock_series(contract.provider, {(event.contract_id, event.meter_id) for event in touched})
        recompute(Touched(*row) for row in near.values_list("contract", "meter", "source", "time"))


class _Step(NamedTuple):
    looked_at: int
    matched: int
    last: tuple[int, str]


def rematch(*, at: datetime) -> Rematched:
    """Match the unmatched events that now have a meter and a contract, and fold them into readings.

    An event whose meter came after it and whose data are wrong for that meter stays, for the reason "invalid_data".
    In batches, one transaction each: killed anywhere and run again, or run twice at once, it counts each event once.
    """
    matched = unmatched = 0
    for owner in Party.objects.filter(event_sources__isnull=False).distinct().order_by("pk"):
        after, limit = (0, ""), _REMATCH_BATCH
        while True:
            try:
                step = _rematch(owner, after, at, limit)
            except DataError as error:
                if limit == 1 or not _is_overflow(error):
                    raise
                limit //= 2
                continue
            if step is None:
                break
            after, limit = step.last, _REMATCH_BATCH
            matched += step.matched
            unmatched += step.looked_at - step.matched
    return Rematched(matched, unmatched)


@transaction.atomic
def _rematch(owner: Party, after: tuple[int, str], at: datetime, limit: int) -> _Step | None:
    """The next `limit` candidates after the key, or None where there is none. In key order, as `record` locks too."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_ALONE, [lock_key("owner", owner.pk)])
        cursor.execute(_CANDIDATES, {"owner": owner.pk, "source": after[0], "id": after[1], "at": at, "limit": limit})
        rows = cursor.fetchall()
    if not rows:
        return None
    events = []
    for _, source, event_id, type_, subject, time, seconds, value, data, value_field, duration_field in rows:
        kept = parse_data(data) if data is not None else {value_field: value, duration_field: seconds or None}
        events.append(Event(event_id, source, type_, subject, time, kept))
    batch = Batch(owner=owner, events=events, at=at)
    batch.copy()
    invalid = set(batch.rejected)
    try:
        with transaction.atomic():
            matched = batch.rematch(at)
            batch.fold()
            recompute(batch.touched())
    except DataError as error:
        if len(rows) > 1 or not _is_overflow(error):
            raise
        matched, invalid = 0, {0}
    for n in invalid:
        UsageEvent.objects.filter(source=rows[n][0], event_id=rows[n][2]).update(unmatched_reason="invalid_data")
    return _Step(len(rows), matched, (rows[-1][0], rows[-1][2]))


_CANDIDATES = """
SELECT event.source_id, source.name, event.event_id, event.type, event.subject, event.time, event.duration_seconds,
    event.value, event.data::text, meter.value_field, meter.duration_field
FROM billing_usageevent event
JOIN billing_eventsource source ON source.id = event.source_id AND source.owner_id = %(owner)s
JOIN billing_meter meter ON meter.event_type = event.type
LEFT JOIN billing_contract contract ON contract.number = event.subject AND contract.provider_id = %(owner)s
WHERE event.unmatched_reason IS NOT NULL AND event.unmatched_reason <> 'corrected' AND event.recorded_at <= %(at)s
    AND (event.source_id, event.event_id) > (%(source)s, %(id)s)
    AND (event.data IS NOT NULL OR (contract.withdrawn_at IS NULL AND event.time >= contract.start_at AND (contract.end_at IS NULL OR (event.time < contract.end_at
        AND event.time + event.duration_seconds * interval '1 second' <= contract.end_at))))
ORDER BY event.source_id, event.event_id
LIMIT %(limit)s
FOR UPDATE OF event SKIP LOCKED"""


def _is_overflow(error: DataError) -> bool:
    """Whether a reading would exceed a bigint."""
    return isinstance(error.__cause__, NumericValueOutOfRange)
