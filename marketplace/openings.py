"""The stretches of hours in which pools have so many GPUs free: `capacity.free_by_hour` for many pools at once.

Only the hours that stand in the way are read, which is what search needs of some fifty pools in a few milliseconds. What is
free is what `marketplace.slots` says; pools whose size changes, or is less than what is asked for, are read there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from django.db import connection

from marketplace import slots
from marketplace.hours import EPOCH, HOUR

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_CLOSED = """
SELECT pool.id, asked.many, (extract(epoch FROM pool.drains_at) / 3600)::bigint,
    pool.gpus < asked.many OR EXISTS (SELECT FROM marketplace_capacitychange change WHERE change.pool_id = pool.id),
    ARRAY(SELECT extract(epoch FROM hour)::bigint / 3600 FROM marketplace_capacityslot slot
          WHERE slot.pool_id = pool.id AND hour >= %(start_at)s AND hour < %(end_at)s AND capacity - taken < asked.many
          ORDER BY hour)
FROM unnest(%(pools)s::bigint[], %(many)s::int[]) asked(pool_id, many)
JOIN marketplace_capacitypool pool ON pool.id = asked.pool_id"""

Runs = list[tuple[int, int]]


def openings(*, asked: Collection[tuple[int, int]], begin: int, end: int) -> dict[tuple[int, int], Runs]:
    """By (pool's id, GPUs): the longest stretches [first, last) within hours [begin, end), numbers of hours since 1970, in
    which so many are free. One query, two where the size of a pool changes.
    """
    pairs = sorted(set(asked))
    start_at, end_at = EPOCH + begin * HOUR, EPOCH + end * HOUR
    facts: dict[str, Any] = {
        "pools": [pool for pool, _ in pairs],
        "many": [many for _, many in pairs],
        "start_at": start_at,
        "end_at": end_at,
    }
    found: dict[tuple[int, int], Runs] = {}
    others = []
    with connection.cursor() as cursor:
        cursor.execute(_CLOSED, facts)
        for pool, many, drains, is_other, closed in cursor.fetchall():
            if is_other:
                others.append((pool, many))
            else:
                last = end if drains is None else max(begin, min(end, drains))
                found[pool, many] = _between([hour for hour in closed if hour < last], begin, last)
    if others:
        free = slots.free({pool for pool, _ in others}, start_at, end_at)
        for pool, many in others:
            closed = [begin + place for place, there in enumerate(free[pool]) if there < many]
            found[pool, many] = _between(closed, begin, end)
    return found


def _between(closed: Sequence[int], begin: int, end: int) -> Runs:
    return [(before + 1, after) for before, after in pairwise([begin - 1, *closed, end]) if after - before > 1]
