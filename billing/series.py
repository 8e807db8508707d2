"""Readings that are recomputed from events: those of meters whose events bear on each other (`Meter.is_series`).

Whatever came when, a reading is what the events in force make of it at once: recomputed in the transaction that brings an
event, under a lock of its (contract, meter), so that batches at the same time see each other's events.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from billing.aggregation import INTERVAL, Sample, aggregate, growth, interval_of, interval_up_to
from billing.events import EPOCH, micros
from billing.models import Contract, Meter

_MICROSECOND = timedelta(microseconds=1)
_LONG = 900  # seconds; longer samples have an index of their own

# Not in force: corrected, or a retraction (which is not in a series).
IN_FORCE = """NOT EXISTS (SELECT FROM billing_correction correction
    WHERE correction.source_id = event.source_id AND correction.event_id = event.event_id)"""

_LONGEST = """
SELECT asked.contract_id, asked.meter_id, max(event.duration_seconds)
FROM unnest(%(contracts)s::bigint[], %(meters)s::bigint[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
    AS asked(contract_id, meter_id, first_at, last_at)
JOIN billing_usageevent event ON event.contract_id = asked.contract_id AND event.meter_id = asked.meter_id
    AND event.time > asked.first_at - interval '1 day' AND event.time <= asked.last_at AND event.duration_seconds > 900
GROUP BY asked.contract_id, asked.meter_id"""

_SAMPLES = f"""
SELECT asked.n, event.source_id, event.time, event.duration_seconds, (event.value * 1000000000)::numeric(48, 0),
    event.data::text
FROM unnest(%(contracts)s::bigint[], %(meters)s::bigint[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
    WITH ORDINALITY AS asked(contract_id, meter_id, first_at, last_at, n)
JOIN LATERAL (
    SELECT * FROM billing_usageevent event
    WHERE event.contract_id = asked.contract_id AND event.meter_id = asked.meter_id AND event.in_series
        AND event.time >= asked.first_at AND event.time < asked.last_at AND {IN_FORCE} OFFSET 0
) event ON true
ORDER BY asked.n, event.source_id, event.time, event.value, event.event_id"""  # noqa: S608  - made of constants

_NEXT = f"""
SELECT asked.contract_id, asked.meter_id, next.time
FROM unnest(%(contracts)s::bigint[], %(meters)s::bigint[], %(sources)s::bigint[], %(times)s::timestamptz[])
    AS asked(contract_id, meter_id, source_id, time)
JOIN LATERAL (
    SELECT event.time FROM billing_usageevent event
    WHERE event.contract_id = asked.contract_id AND event.meter_id = asked.meter_id AND event.in_series
        AND event.source_id = asked.source_id AND event.time > asked.time AND {IN_FORCE}
    ORDER BY event.time LIMIT 1
) next ON true"""  # noqa: S608  - made of constants

_COUNTERS = f"""
SELECT asked.n, event.source_id, event.time, 0, (event.value * 1000000000)::numeric(48, 0), NULL
FROM unnest(%(contracts)s::bigint[], %(meters)s::bigint[], %(firsts)s::timestamptz[])
    WITH ORDINALITY AS asked(contract_id, meter_id, first_at, n)
JOIN LATERAL (
    WITH inside AS (
        SELECT * FROM billing_usageevent event
        WHERE event.contract_id = asked.contract_id AND event.meter_id = asked.meter_id AND event.in_series
            AND event.time > asked.first_at AND event.time <= asked.first_at + interval '15 minutes' AND {IN_FORCE}
    )
    SELECT source_id, time, value, event_id FROM inside
  UNION ALL
    SELECT before.* FROM (SELECT DISTINCT source_id FROM inside) source JOIN LATERAL (
        SELECT event.source_id, event.time, event.value, event.event_id FROM billing_usageevent event
        WHERE event.contract_id = asked.contract_id AND event.meter_id = asked.meter_id AND event.in_series
            AND event.source_id = source.source_id AND event.time <= asked.first_at AND {IN_FORCE}
        ORDER BY event.time DESC, event.value DESC, event.event_id DESC LIMIT 1
    ) before ON true
) event ON true
ORDER BY asked.n, event.source_id, event.time, event.value, event.event_id"""  # noqa: S608  - made of constants

_PUT = """
INSERT INTO billing_reading AS reading (contract_id, meter_id, start_at, quantity)
SELECT contract_id, meter_id, start_at, quantity
FROM unnest(%(contracts)s::bigint[], %(meters)s::bigint[], %(starts)s::timestamptz[], %(quantities)s::numeric[])
    AS made(contract_id, meter_id, start_at, quantity)
ORDER BY contract_id, meter_id, start_at
ON CONFLICT (contract_id, meter_id, start_at) DO UPDATE SET quantity = excluded.quantity
WHERE reading.quantity <> excluded.quantity"""
_CLEAR = """
UPDATE billing_reading reading SET quantity = 0
FROM unnest(%(contracts)s::bigint[], %(meters)s::bigint[], %(starts)s::timestamptz[])
    AS empty(contract_id, meter_id, start_at)
WHERE (reading.contract_id, reading.meter_id, reading.start_at) = (empty.contract_id, empty.meter_id, empty.start_at)
    AND reading.quantity <> 0"""


class Touched(NamedTuple):
    """An event of a series that was stored or corrected."""

    contract_id: int
    meter_id: int
    source_id: int
    time: datetime


class _Window(NamedTuple):
    """Intervals of one (contract, meter): starts in [first, last), in microseconds; `longest` a sample may hold."""

    contract_id: int
    meter_id: int
    first: int
    last: int
    longest: int = 0


Readings = dict[tuple[int, int, int], int | None]


def recompute(touched: Iterable[Touched]) -> None:
    """Recompute the readings in which these events count, or counted before they were corrected."""
    by_meter: dict[int, list[Touched]] = defaultdict(list)
    for event in touched:
        by_meter[event.meter_id].append(event)
    if not by_meter:
        return
    readings: Readings = {}
    for meter_id, meter in sorted(Meter.objects.in_bulk(by_meter).items()):
        if meter.kind == Meter.Kind.CUMULATIVE:
            readings |= _of_counters(by_meter[meter_id])
        else:
            readings |= _of_samples(meter, by_meter[meter_id])
    _put(readings)


def _of_samples(meter: Meter, touched: Sequence[Touched]) -> Readings:
    windows = _windows(touched, _longest(meter, touched))
    ends = _ends({window.contract_id for window in windows})
    length = meter.max_gap_seconds if meter.kind == Meter.Kind.GAUGE else 0
    samples = _fetch(
        _SAMPLES,
        length,
        contracts=[window.contract_id for window in windows],
        meters=[window.meter_id for window in windows],
        firsts=[_at(window.first - window.longest) for window in windows],
        lasts=[_at(window.last) for window in windows],
    )
    readings: Readings = {}
    for n, window in enumerate(windows, 1):
        key = window.contract_id, window.meter_id
        made = aggregate(meter.aggregation, samples[n], window.first, window.last, ends[window.contract_id])
        readings |= {(*key, start): made.get(start) for start in range(window.first, window.last, INTERVAL)}
    return readings


def _of_counters(touched: Sequence[Touched]) -> Readings:
    """A sample bears on its own interval and on that of its source's next one."""
    with connection.cursor() as cursor:
        contracts, meters, sources, times = zip(*touched, strict=True)
        lists = {"contracts": contracts, "meters": meters, "sources": sources, "times": times}
        cursor.execute(_NEXT, {name: list(values) for name, values in lists.items()})
        rows = [(event.contract_id, event.meter_id, event.time) for event in touched] + cursor.fetchall()
    keys = sorted({(contract, meter, interval_up_to(micros(time))) for contract, meter, time in rows})
    samples = _fetch(
        _COUNTERS,
        0,
        contracts=[contract for contract, _, _ in keys],
        meters=[meter for _, meter, _ in keys],
        firsts=[_at(start) for _, _, start in keys],
    )
    return {key: growth(samples[n], key[2]) if samples[n] else None for n, key in enumerate(keys, 1)}


def _longest(meter: Meter, touched: Sequence[Touched]) -> Mapping[tuple[int, int], int]:
    """How long a sample near those touched may hold, in microseconds, by contract and meter."""
    found = dict.fromkeys(((event.contract_id, event.meter_id) for event in touched), 0)
    if meter.kind != Meter.Kind.GAUGE or meter.aggregation == Meter.Aggregation.UNIQUE_COUNT:
        return found
    times = defaultdict(list)
    for event in touched:
        times[event.contract_id, event.meter_id].append(event.time)
    with connection.cursor() as cursor:
        cursor.execute(
            _LONGEST,
            {
                "contracts": [contract for contract, _ in times],
                "meters": [meter for _, meter in times],
                "firsts": [min(each) for each in times.values()],
                "lasts": [max(each) for each in times.values()],
            },
        )
        stated = {(contract, meter): seconds for contract, meter, seconds in cursor.fetchall()}
    return {pair: max(stated.get(pair, 0), meter.max_gap_seconds, _LONG) * 1_000_000 for pair in found}


def _windows(touched: Iterable[Touched], longest: Mapping[tuple[int, int], int]) -> list[_Window]:
    """The intervals that the events may count in, those that touch each other together."""
    windows: list[_Window] = []
    for contract_id, meter_id, time in sorted({(event.contract_id, event.meter_id, event.time) for event in touched}):
        reach = longest[contract_id, meter_id]
        first, last = interval_of(micros(time)), interval_of(micros(time) + max(reach, 1) - 1) + INTERVAL
        before = windows[-1] if windows else None
        if before and before[:2] == (contract_id, meter_id) and first <= before.last:
            windows[-1] = before._replace(last=max(before.last, last))
        else:
            windows.append(_Window(contract_id, meter_id, first, last, reach))
    return windows


def _ends(contract_ids: Iterable[int]) -> dict[int, int | None]:
    ends = Contract.objects.filter(pk__in=contract_ids).values_list("pk", "end_at")
    return {pk: None if end_at is None else micros(end_at) for pk, end_at in ends}


def _fetch(statement: str, length_seconds: int, **lists: Any) -> dict[int, list[Sample]]:
    """The samples by the place of what was asked, from 1. A sample that states no length holds for `length_seconds`."""
    samples: dict[int, list[Sample]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(statement, lists)
        for n, source, time, seconds, value, text in cursor.fetchall():
            length = (seconds or length_seconds) * 1_000_000
            samples[n].append(Sample(source, micros(time), length, int(value), text))
    return samples


def _put(readings: Readings) -> None:
    made = sorted(key for key, quantity in readings.items() if quantity is not None)
    empty = sorted(key for key, quantity in readings.items() if quantity is None)
    with connection.cursor() as cursor:
        for statement, keys in ((_CLEAR, empty), (_PUT, made)):
            if keys:
                contracts, meters, starts = (list(column) for column in zip(*keys, strict=True))
                lists = {"contracts": contracts, "meters": meters, "starts": [_at(start) for start in starts]}
                cursor.execute(statement, lists | {"quantities": [readings[key] for key in keys]})


def _at(time: int) -> datetime:
    return EPOCH + time * _MICROSECOND
