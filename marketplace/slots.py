"""The statements on capacity slots. Each reads and writes whole hours of one pool in the order of time, so that two of
them that meet wait and never block each other. `marketplace.capacity` alone calls those that write.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.db import connection

from billing.integrity import fetch_all, fetch_one
from marketplace.hours import hour_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

# Those who take share the pool, those who change how much there is have it alone. An advisory lock is fair, as the lock of
# the pool's row is not: there, a change would wait as long as takers overlap.
_LOCKS = {
    "shared": "SELECT pg_advisory_xact_lock_shared(hashtextextended('capacity ' || %s::text, 0))",
    "alone": "SELECT pg_advisory_xact_lock(hashtextextended('capacity ' || %s::text, 0))",
}

_THERE = """
    FROM marketplace_capacitypool pool
    CROSS JOIN generate_series(%(start_at)s::timestamptz, %(end_at)s::timestamptz - interval '1 hour', '1 hour') hour
    CROSS JOIN LATERAL (SELECT coalesce(
        (SELECT gpus FROM marketplace_capacitychange change WHERE change.pool_id = pool.id AND from_at <= hour
         ORDER BY from_at DESC LIMIT 1), pool.gpus) AS gpus) there
    WHERE pool.id = %(pool)s"""

# All hours or none: those that have a slot are looked at, and counted on from, as they are once they are locked (`held`; the
# row that UPDATE finds may be an older one, and would be checked first). A slot that another makes at the same moment is
# the only one that can turn out too full after others were taken.
_ADD = f"""
WITH held AS (
    SELECT hour, taken + %(quantity)s AS taken, taken + %(quantity)s <= capacity AS fits FROM marketplace_capacityslot
    WHERE pool_id = %(pool)s AND hour >= %(start_at)s AND hour < %(end_at)s ORDER BY hour FOR NO KEY UPDATE),
open AS (
    SELECT id FROM marketplace_capacitypool WHERE id = %(pool)s AND (drains_at IS NULL OR drains_at >= %(end_at)s)
        AND (SELECT coalesce(bool_and(fits), true) FROM held)),
there AS (
    UPDATE marketplace_capacityslot slot SET taken = held.taken FROM held, open
    WHERE slot.pool_id = open.id AND slot.hour = held.hour RETURNING slot.hour),
made AS (
    INSERT INTO marketplace_capacityslot AS slot (pool_id, hour, capacity, taken, shortfall)
    SELECT pool.id, hour, there.gpus, %(quantity)s, 0 {_THERE} AND there.gpus >= %(quantity)s
        AND (SELECT count(*) FROM held) < %(hours)s AND EXISTS (SELECT FROM open) AND hour NOT IN (SELECT hour FROM held)
    ORDER BY hour
    ON CONFLICT (pool_id, hour) DO UPDATE SET taken = slot.taken + excluded.taken
    WHERE slot.taken + excluded.taken <= slot.capacity RETURNING slot.hour),
taken AS (SELECT hour FROM there UNION ALL SELECT hour FROM made)
SELECT count(*), CASE WHEN count(*) < %(hours)s THEN array_agg(hour) END FROM taken"""  # noqa: S608  - no text but ours

_PUT_BACK = """
UPDATE marketplace_capacityslot SET taken = taken - %(quantity)s WHERE pool_id = %(pool)s AND hour = ANY(%(hours)s)"""

_ADD_OVER = f"""
INSERT INTO marketplace_capacityslot AS slot (pool_id, hour, capacity, taken, shortfall)
SELECT pool.id, hour, there.gpus, %(quantity)s, greatest(%(quantity)s - there.gpus, 0) {_THERE}
ORDER BY hour
ON CONFLICT (pool_id, hour) DO UPDATE SET taken = slot.taken + excluded.taken,
    shortfall = greatest(slot.taken + excluded.taken - slot.capacity, 0)"""

_SUBTRACT = """
WITH freed AS (WITH held AS (
    SELECT pool_id, hour FROM marketplace_capacityslot
    WHERE pool_id = %(pool)s AND hour >= %(start_at)s AND hour < %(end_at)s AND taken >= %(quantity)s
    ORDER BY hour FOR NO KEY UPDATE)
UPDATE marketplace_capacityslot slot
SET taken = slot.taken - %(quantity)s, shortfall = greatest(slot.taken - %(quantity)s - slot.capacity, 0)
FROM held WHERE slot.pool_id = held.pool_id AND slot.hour = held.hour RETURNING slot.hour)
SELECT count(*) FROM freed"""

_RESIZE = """
WITH held AS (
    SELECT pool_id, hour FROM marketplace_capacityslot
    WHERE pool_id = %(pool)s AND hour >= %(start_at)s AND hour < coalesce(%(end_at)s::timestamptz, 'infinity')
    ORDER BY hour FOR NO KEY UPDATE)
UPDATE marketplace_capacityslot slot SET capacity = %(gpus)s, shortfall = greatest(slot.taken - %(gpus)s, 0)
FROM held WHERE slot.pool_id = held.pool_id AND slot.hour = held.hour"""

# Hours since 1970 and what is left in them come as strings of big-endian integers, which are many.
_FREE = """
SELECT pool.id, pool.gpus, date_part('epoch', pool.drains_at)::bigint / 3600,
    ARRAY(SELECT ARRAY[date_part('epoch', from_at)::bigint / 3600, gpus] FROM marketplace_capacitychange change
          WHERE change.pool_id = pool.id AND from_at < %(end_at)s ORDER BY from_at),
    slots.hours, slots.lefts
FROM marketplace_capacitypool pool CROSS JOIN LATERAL (
    SELECT string_agg(int4send((date_part('epoch', hour) / 3600)::integer), '') AS hours,
        string_agg(int4send(greatest(capacity - taken, 0)), '') AS lefts
    FROM marketplace_capacityslot slot WHERE slot.pool_id = pool.id AND hour >= %(start_at)s AND hour < %(end_at)s) slots
WHERE pool.id = ANY(%(pools)s::bigint[])"""

_TROUBLED = """
SELECT FROM marketplace_incident WHERE pool_id = %s AND closed_at IS NULL AND start_at < %s AND coalesce(end_at > %s, true)
LIMIT 1"""

_POOL = """
SELECT drains_at, coalesce(
    (SELECT max(gpus) FROM marketplace_capacitychange WHERE pool_id = pool.id AND from_at < %(end_at)s), gpus)
FROM marketplace_capacitypool pool WHERE id = %(pool)s"""

_MISMATCHES = """
WITH live AS (
    SELECT pool_id, quantity, start_at, end_at FROM marketplace_reservation
    WHERE state IN ('held', 'confirmed', 'active') AND end_at > %(from_at)s
    UNION ALL
    SELECT pool_id, quantity, start_at, end_at FROM marketplace_maintenance
    WHERE state <> 'cancelled' AND end_at > %(from_at)s),
wanted AS (
    SELECT pool_id, hour, sum(quantity) AS taken FROM live
    CROSS JOIN generate_series(greatest(start_at, %(from_at)s), end_at - interval '1 hour', '1 hour') hour GROUP BY 1, 2),
slots AS (SELECT * FROM marketplace_capacityslot WHERE hour >= %(from_at)s)
SELECT coalesce(slots.pool_id, wanted.pool_id), coalesce(slots.hour, wanted.hour), slots.capacity,
    coalesce(slots.taken, 0), coalesce(wanted.taken, 0), coalesce(slots.shortfall, 0)
FROM slots FULL JOIN wanted ON slots.pool_id = wanted.pool_id AND slots.hour = wanted.hour
WHERE coalesce(slots.taken, 0) <> coalesce(wanted.taken, 0)
   OR slots.shortfall <> greatest(slots.taken - slots.capacity, 0)
   OR (slots.shortfall > 0 AND NOT EXISTS (
       SELECT FROM marketplace_incident incident WHERE incident.pool_id = slots.pool_id AND incident.kind = 'shortfall'
       AND incident.start_at <= slots.hour AND incident.end_at > slots.hour))
   OR slots.capacity <> coalesce(
       (SELECT gpus FROM marketplace_capacitychange change WHERE change.pool_id = slots.pool_id AND from_at <= slots.hour
        ORDER BY from_at DESC LIMIT 1), (SELECT gpus FROM marketplace_capacitypool pool WHERE pool.id = slots.pool_id))
ORDER BY 1, 2"""


@dataclass(frozen=True)
class Mismatch:
    """An hour whose slot does not say what is so. `wanted`: the sum of what is live in it. `capacity`: None without a slot."""

    pool_id: int
    hour: datetime
    capacity: int | None
    taken: int
    wanted: int
    shortfall: int


def lock(pool_id: int, how: Literal["shared", "alone"]) -> None:
    """Until the end of the transaction. What is read after it, in a statement of its own, is what the others left."""
    fetch_one(_LOCKS[how], [str(pool_id)])


def add(pool_id: int, quantity: int, start_at: datetime, end_at: datetime, hours: int) -> bool:
    """Take from each of the so many hours of [start_at, end_at), if each has so many free and the pool does not drain;
    else nothing.
    """
    asked = {"pool": pool_id, "quantity": quantity, "start_at": start_at, "end_at": end_at, "hours": hours}
    row = fetch_one(_ADD, asked)
    assert row is not None
    count, partly = row
    if partly:
        _write(_PUT_BACK, {"pool": pool_id, "quantity": quantity, "hours": partly})
    return bool(count == hours)


def add_over(pool_id: int, quantity: int, start_at: datetime, end_at: datetime) -> None:
    """Take from each hour whatever is free; what is taken beyond it is the slot's shortfall."""
    _write(_ADD_OVER, {"pool": pool_id, "quantity": quantity, "start_at": start_at, "end_at": end_at})


def subtract(pool_id: int, quantity: int, start_at: datetime, end_at: datetime) -> int:
    """Give back to each hour that has so many taken; returns how many hours these are. An emptied slot stays."""
    row = fetch_one(_SUBTRACT, {"pool": pool_id, "quantity": quantity, "start_at": start_at, "end_at": end_at})
    assert row is not None
    return int(row[0])


def resize(pool_id: int, gpus: int, start_at: datetime, end_at: datetime | None) -> None:
    """Let the slots over [start_at, end_at) have so many GPUs; None: for good."""
    _write(_RESIZE, {"pool": pool_id, "gpus": gpus, "start_at": start_at, "end_at": end_at})


def free(
    pool_ids: Collection[int], start_at: datetime, end_at: datetime, *, while_draining: bool = False
) -> dict[int, list[int]]:
    """Pool to the GPUs free in each hour of [start_at, end_at), in one query; from where a pool drains, none."""
    first, last = hour_number(start_at), hour_number(end_at)
    found = {}
    asked = {"pools": list(pool_ids), "start_at": start_at, "end_at": end_at}
    for pool_id, gpus, drains, changes, numbers, lefts in fetch_all(_FREE, asked):
        hours = [gpus] * (last - first)
        for hour, there in changes:
            begin = max(hour - first, 0)
            hours[begin:] = [there] * (len(hours) - begin)
        for hour, left in zip(_integers(numbers), _integers(lefts), strict=True):
            hours[hour - first] = left
        if drains is not None and drains < last and not while_draining:
            begin = max(drains - first, 0)
            hours[begin:] = [0] * (len(hours) - begin)
        found[pool_id] = hours
    return found


def _integers(packed: bytes | None) -> array[int]:
    numbers = array("i", packed or b"")
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def pool(pool_id: int, end_at: datetime) -> tuple[datetime | None, int]:
    """From when on it gives nothing, if it drains, and the most GPUs that it has had or will have until then."""
    row = fetch_one(_POOL, {"pool": pool_id, "end_at": end_at})
    assert row is not None
    drains_at, most = row
    return drains_at, most


def is_troubled(pool_id: int, start_at: datetime, end_at: datetime) -> bool:
    """Whether an incident that is open touches [start_at, end_at)."""
    return bool(fetch_all(_TROUBLED, [pool_id, end_at, start_at]))


def mismatches(from_at: datetime) -> list[Mismatch]:
    """The hours from `from_at` on whose slot is wrong; see `capacity.mismatches`."""
    with connection.cursor() as cursor:
        cursor.execute(_MISMATCHES, {"from_at": from_at})
        return [Mismatch(*row) for row in cursor.fetchall()]


def _write(statement: str, parameters: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)
