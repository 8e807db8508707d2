"""Events that amend or retract earlier ones of the same source. Both are kept; the later one is in force, or neither.

- What is corrected is named by its id, and is stored before its correction, or comes in the same batch as an event that
  corrects nothing.
- An amendment is a whole event and counts instead of what it amends: of any subject, type and time. One that can't be
  counted is rejected, and what it would amend stays in force.
- A retraction takes back, for good. It repeats the event it takes back, whatever else it says itself.
- Each event is corrected once; after that, its amendment is what is amended or retracted. The first correction to come
  stands, and the others are rejected.
- What is corrected stays known by its id: sent again, it is a duplicate, and so is the correction.

So readings are what the events in force make of them. `correct` runs while no other batch of the owner does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from billing.events import Event, RejectedError, shown, text
from billing.models import Correction, Meter, Party
from billing.series import IN_FORCE, Touched, recompute
from billing.staging import SHARES, Batch

CORRECTED = "corrected"
"""Why an unmatched event that was corrected stays unmatched."""

Outcome = tuple[str, str | None, str | None]

# What is stored of each: the correction of this id, its target, and what corrected that before.
_KNOWN = """
SELECT asked.n, source.id, own.event_id IS NOT NULL, was.event_id, was.is_retraction, target.event_id IS NOT NULL,
    taken_back.event_id IS NOT NULL, earlier.by_event_id
FROM unnest(%(sources)s::text[], %(ids)s::text[], %(targets)s::text[]) WITH ORDINALITY AS asked(source, id, target, n)
LEFT JOIN billing_eventsource source ON source.owner_id = %(owner)s AND source.name = asked.source
LEFT JOIN billing_usageevent own ON own.source_id = source.id AND own.event_id = asked.id
LEFT JOIN billing_correction was ON was.source_id = source.id AND was.by_event_id = asked.id
LEFT JOIN billing_usageevent target ON target.source_id = source.id AND target.event_id = asked.target
LEFT JOIN billing_correction taken_back ON taken_back.source_id = source.id AND taken_back.by_event_id = asked.target
    AND taken_back.is_retraction
LEFT JOIN billing_correction earlier ON earlier.source_id = source.id AND earlier.event_id = asked.target
ORDER BY asked.n"""

_RETRACT = """
INSERT INTO billing_usageevent (source_id, event_id, contract_id, meter_id, time, duration_seconds, value, quantity,
    recorded_at, type, subject, data, unmatched_reason, in_series)
SELECT event.source_id, asked.by, contract_id, meter_id, time, duration_seconds, value, quantity, %(at)s, type, subject,
    data, CASE WHEN unmatched_reason IS NOT NULL THEN 'corrected' END, false
FROM billing_usageevent event JOIN unnest(%(sources)s::bigint[], %(ids)s::text[], %(bys)s::text[])
    AS asked(source_id, id, by) ON event.source_id = asked.source_id AND event.event_id = asked.id
ORDER BY event.source_id, asked.by"""

_TARGETS = "(SELECT * FROM unnest(%(sources)s::bigint[], %(ids)s::text[]))"
_GIVE_UP = f"""
UPDATE billing_usageevent SET unmatched_reason = 'corrected'
WHERE (source_id, event_id) IN {_TARGETS} AND unmatched_reason IS NOT NULL"""  # noqa: S608  - made of constants
_UNFOLD = f"""
WITH {SHARES.format(relation="billing_usageevent", condition=f"(source_id, event_id) IN {_TARGETS}")}
UPDATE billing_reading reading SET quantity = reading.quantity - sums.total
FROM sums JOIN billing_meter meter ON meter.id = sums.meter_id AND meter.aggregation <> 'max'
WHERE (reading.contract_id, reading.meter_id, reading.start_at) = (sums.contract_id, sums.meter_id, sums.start_at)
"""  # noqa: S608  - made of constants
# The greatest of what is left. A sample that reaches into an interval began at most a day before it.
_UNFOLD_MAX = f"""
WITH {SHARES.format(relation="billing_usageevent", condition=f"(source_id, event_id) IN {_TARGETS}")}
UPDATE billing_reading reading SET quantity = coalesce((
    SELECT max(event.quantity) FROM billing_usageevent event
    WHERE event.contract_id = reading.contract_id AND event.meter_id = reading.meter_id
        AND event.time > reading.start_at - interval '1 day' AND event.time < reading.start_at + interval '15 minutes'
        AND (event.time >= reading.start_at
            OR event.time + event.duration_seconds * interval '1 second' > reading.start_at)
        AND {IN_FORCE} AND NOT EXISTS (SELECT FROM billing_correction retraction WHERE retraction.source_id
            = event.source_id AND retraction.by_event_id = event.event_id AND retraction.is_retraction)
), 0)
FROM sums JOIN billing_meter meter ON meter.id = sums.meter_id AND meter.aggregation = 'max'
WHERE (reading.contract_id, reading.meter_id, reading.start_at) = (sums.contract_id, sums.meter_id, sums.start_at)
"""  # noqa: S608  - made of constants


class _Known(NamedTuple):
    """What is stored: of the source, of this correction, of its target."""

    source_id: int | None
    is_stored: bool
    corrects: str | None
    is_retraction: bool | None
    has_target: bool
    target_is_retraction: bool
    corrected_by: str | None


@dataclass
class _Asked:
    """One correction: its place, what it says, and what is known of it."""

    n: int
    event: Event
    known: _Known

    @property
    def field(self) -> str:
        return "amends" if self.event.retracts is None else "retracts"

    @property
    def target(self) -> str:
        target = self.event.amends if self.event.retracts is None else self.event.retracts
        assert target is not None
        return target

    @property
    def is_retraction(self) -> bool:
        return self.event.retracts is not None

    @property
    def key(self) -> tuple[int, str]:
        assert self.known.source_id is not None
        return self.known.source_id, self.target


def correct(*, owner: Party, events: Sequence[Event], at: datetime) -> dict[int, Outcome]:
    """Take these corrections: what became of those that are not counted, by their places.

    Within the caller's transaction, which has the owner alone and has stored the batch's other events.
    """
    others: dict[int, Outcome] = {}
    amendments: list[_Asked] = []
    retractions: list[_Asked] = []
    claimed: dict[tuple[int, str], str] = {}  # target to the correction that has it in this batch
    made: dict[tuple[int, str], _Asked] = {}  # corrections of this batch by their ids
    for asked in _known(owner, events, others):
        if outcome := _refused(asked, claimed, made):
            others[asked.n] = outcome
            continue
        if not asked.known.is_stored:
            claimed[asked.key] = asked.event.id
            made.setdefault((asked.key[0], asked.event.id), asked)
        (retractions if asked.is_retraction else amendments).append(asked)
    batch = Batch(owner=owner, events=[asked.event for asked in amendments], at=at)
    refused = _amend(batch, amendments, at)
    not_counted = refused.keys() | set(batch.repeats)
    counted = [asked for n, asked in enumerate(amendments) if n not in not_counted] + retractions
    _keep(counted, retractions, at)
    batch.fold()
    recompute([*_take_out(counted), *batch.touched()])
    refused |= {n: _taken(conflict) for n, conflict in batch.repeated().items()}
    others.update((amendments[n].n, outcome) for n, outcome in refused.items())
    return others


def _known(owner: Party, events: Sequence[Event], others: dict[int, Outcome]) -> list[_Asked]:
    """The corrections that can be looked up, with what is stored of them."""
    places: list[int] = []
    for n, event in enumerate(events):
        try:
            _require_names(event)
        except RejectedError as error:
            others[n] = ("rejected", error.field, error.reason)
        else:
            places.append(n)
    with connection.cursor() as cursor:
        cursor.execute(
            _KNOWN,
            {
                "owner": owner.pk,
                "sources": [events[n].source for n in places],
                "ids": [events[n].id for n in places],
                "targets": [events[n].retracts or events[n].amends for n in places],
            },
        )
        return [_Asked(places[row[0] - 1], events[places[row[0] - 1]], _Known(*row[1:])) for row in cursor.fetchall()]


def _require_names(event: Event) -> None:
    text("id", event.id)
    text("source", event.source)
    if event.amends is not None and event.retracts is not None:
        raise RejectedError("retracts", "it amends too: expected one of amends and retracts")
    if event.amends is not None:
        text("amends", event.amends)
    else:
        text("retracts", event.retracts)


def _refused(
    asked: _Asked, claimed: Mapping[tuple[int, str], str], made: Mapping[tuple[int, str], _Asked]
) -> Outcome | None:
    """Why it is not to be counted; None if it is, or if it is for its content to say whether it is a duplicate."""
    known = asked.known
    twin = made.get((known.source_id or 0, asked.event.id))
    if known.is_stored or twin:
        was = (known.corrects, known.is_retraction) if twin is None else (twin.target, twin.is_retraction)
        if was != (asked.target, asked.is_retraction):
            verb = "corrects nothing" if was[0] is None else f"{'retracts' if was[1] else 'amends'} {shown(was[0])}"
            return "conflict", asked.field, f"the event of this id {verb}: expected the same, or another id"
        return ("duplicate", None, None) if asked.is_retraction else None
    if not known.has_target:
        reason = f"no event {shown(asked.target)} of this source is stored: expected one that was sent before"
        return "rejected", asked.field, reason
    if known.target_is_retraction:
        return "rejected", asked.field, f"{shown(asked.target)} is a retraction, which is final: send a new event"
    if by := known.corrected_by or claimed.get(asked.key):
        return "rejected", asked.field, f"{shown(asked.target)} is corrected by {shown(by)}: expected that one's id"
    return None


def _amend(batch: Batch, amendments: Sequence[_Asked], at: datetime) -> dict[int, Outcome]:
    """Store the amendments that can be counted. What became of the others, by their place among the amendments."""
    batch.copy()
    refused: dict[int, Outcome] = {n: ("rejected", error.field, error.reason) for n, error in batch.rejected.items()}
    if batch.unmatched:
        for n, reason in batch.unmatched.items():
            refused[n] = ("rejected", "amends", f"{reason}: an amendment has to be counted; its event stays in force")
        stored = [n for n in batch.unmatched if amendments[n].known.is_stored]
        batch.discard(unless=stored)
    return refused | {n: _taken(conflict) for n, conflict in batch.store(at).items()}


def _taken(conflict: RejectedError | None) -> Outcome:
    return ("conflict", conflict.field, conflict.reason) if conflict else ("duplicate", None, None)


def _keep(counted: Sequence[_Asked], retractions: Sequence[_Asked], at: datetime) -> None:
    """Store the retractions, and what corrects what."""
    if retractions:
        with connection.cursor() as cursor:
            bys = [asked.event.id for asked in retractions]
            cursor.execute(_RETRACT, _lists(retractions) | {"bys": bys, "at": at})
    Correction.objects.bulk_create(
        Correction(
            source_id=asked.key[0],
            event_id=asked.target,
            by_event_id=asked.event.id,
            is_retraction=asked.is_retraction,
            recorded_at=at,
        )
        for asked in counted
    )


def _take_out(counted: Sequence[_Asked]) -> list[Touched]:
    """Take what was corrected out of its readings; what of it was of series is returned, to be recomputed."""
    if not counted:
        return []
    series = [meter.pk for meter in Meter.objects.all() if meter.is_series]
    with connection.cursor() as cursor:
        for statement in (_GIVE_UP, _UNFOLD, _UNFOLD_MAX):
            cursor.execute(statement, _lists(counted) | {"series": series})
        cursor.execute(
            f"SELECT contract_id, meter_id, source_id, time FROM billing_usageevent"  # noqa: S608  - constants
            f" WHERE (source_id, event_id) IN {_TARGETS} AND in_series",
            _lists(counted),
        )
        return [Touched(*row) for row in cursor.fetchall()]


def _lists(asked: Sequence[_Asked]) -> dict[str, Any]:
    return {"sources": [each.key[0] for each in asked], "ids": [each.target for each in asked]}
