"""Events that were not stored, kept for those who have to mend them. `billing.usage` alone calls it.

A record beside usage, and bounded: a row for each event and what is wrong with it, at most `MOST_PER_OWNER` of a sender;
those beyond are counted together. Whatever was sent, it can be kept: texts are cut, and cleaned of what PostgreSQL has no
place for.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction

from billing.events import Event, shown
from billing.models import EventProblem, Party

MOST_PER_OWNER = 10_000
KINDS = frozenset({"conflict", "rejected"})
"""The outcomes of events that are not stored."""

_WIDTHS = {
    field.name: field.max_length
    for field in EventProblem._meta.fields  # noqa: SLF001  - Django's documented API
    if field.max_length is not None
}
# In the order of the key: another batch may keep the same ones. What was first said stays.
_KEEP = """
INSERT INTO billing_eventproblem AS kept (owner_id, source, event_id, outcome, field, is_rest, reason, type, subject, time,
    first_at, last_at, times)
SELECT %(owner)s, source, event_id, outcome, field, is_rest, reason, type, subject, time, %(at)s, %(at)s, times
FROM unnest(%(source)s::text[], %(event_id)s::text[], %(outcome)s::text[], %(field)s::text[], %(is_rest)s::boolean[],
    %(reason)s::text[], %(type)s::text[], %(subject)s::text[], %(time)s::text[], %(times)s::bigint[])
    AS sent(source, event_id, outcome, field, is_rest, reason, type, subject, time, times)
ORDER BY source COLLATE "C", event_id COLLATE "C", outcome, field COLLATE "C", is_rest
ON CONFLICT (owner_id, source, event_id, outcome, field, is_rest) DO UPDATE
    SET last_at = greatest(kept.last_at, excluded.last_at), times = kept.times + excluded.times"""
_COUNT = "SELECT count(*) FROM (SELECT FROM billing_eventproblem WHERE owner_id = %s LIMIT %s) AS kept"
_KNOWN = """
SELECT kept.source, kept.event_id, kept.outcome, kept.field FROM billing_eventproblem kept
JOIN unnest(%(source)s::text[], %(event_id)s::text[], %(outcome)s::text[], %(field)s::text[])
    AS sent(source, event_id, outcome, field)
ON kept.owner_id = %(owner)s AND kept.source = sent.source COLLATE "C" AND kept.event_id = sent.event_id COLLATE "C"
    AND kept.outcome = sent.outcome AND kept.field = sent.field COLLATE "C" AND NOT kept.is_rest"""


class _Key(NamedTuple):
    source: str
    event_id: str
    outcome: str
    field: str
    is_rest: bool = False


class _Said(NamedTuple):
    """What is kept of the first event with a key; `times` is counted on."""

    reason: str
    type: str
    subject: str
    time: str
    times: int


Problem = tuple[Event, str, str | None, str | None]
"""The event, whose attributes may be anything at all; outcome, field and reason."""


@transaction.atomic
def keep(*, owner: Party, problems: Iterable[Problem], at: datetime) -> None:
    """Put down that `owner` sent these at `at`. Those that are there already are counted on."""
    found: dict[_Key, _Said] = {}
    for event, outcome, field, reason in problems:
        key = _Key(_text("source", event.source), _text("event_id", event.id), outcome, _text("field", field))
        if was := found.get(key):
            found[key] = was._replace(times=was.times + 1)
        else:
            found[key] = _Said(
                _text("reason", reason),
                _text("type", event.type),
                _text("subject", event.subject),
                _time(event.time),
                1,
            )
    if not found:
        return
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [owner.pk, MOST_PER_OWNER])
        [there] = cursor.fetchone()
        if there + len(found) > MOST_PER_OWNER:
            asked: dict[str, Any] = {"owner": owner.pk, **_columns(list(found), _Key._fields[:4])}
            cursor.execute(_KNOWN, asked)
            found = _bounded(found, {_Key(*row) for row in cursor.fetchall()}, MOST_PER_OWNER - there)
        keys, said = list(found), list(found.values())
        facts: dict[str, Any] = {
            "owner": owner.pk,
            "at": at,
            **_columns(keys, _Key._fields),
            **_columns(said, _Said._fields),
        }
        cursor.execute(_KEEP, facts)


@transaction.atomic
def forget(*, before_at: datetime) -> int:
    """Delete those that were last sent before then; how many they were."""
    with connection.cursor() as cursor:
        # Locked in the order in which `keep` locks them.
        cursor.execute(
            "DELETE FROM billing_eventproblem WHERE id IN (SELECT id FROM billing_eventproblem WHERE last_at < %s"
            " ORDER BY owner_id, source, event_id, outcome, field, is_rest FOR UPDATE)",
            [before_at],
        )
        return int(cursor.rowcount)


def _bounded(found: Mapping[_Key, _Said], known: set[_Key], room: int) -> dict[_Key, _Said]:
    """Those that are there, as many new ones as there is room for, and the others together."""
    kept: dict[_Key, _Said] = {}
    for key, said in found.items():
        if key in known or room > 0:
            kept[key] = said
            room -= key not in known
            continue
        rest = _Key("", "", key.outcome, key.field, is_rest=True)
        was = kept.get(rest)
        kept[rest] = _Said(said.reason, "", "", "", said.times + (was.times if was else 0))
    return kept


def _columns(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _time(value: object) -> str:
    return _text("time", value.isoformat() if isinstance(value, datetime) else value)


def _text(name: str, value: object) -> str:
    """Anything as a text that its column can hold."""
    width = _WIDTHS[name]
    if value is None:
        return ""
    # Cut first: a text may be megabytes. A NUL and half a surrogate pair are no characters to PostgreSQL.
    text = value[:width] if isinstance(value, str) else shown(value)[:width]
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")[:width]
