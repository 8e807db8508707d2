"""Times of which a gauge said nothing: longer without a sample than its meter allows. They are not billed, and shown."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from billing.series import IN_FORCE


class Gap(NamedTuple):
    """No sample of this source was in force over [start_at, end_at). With `is_open`, none has come since."""

    contract_id: int
    contract: str
    meter: str
    source: str
    start_at: datetime
    end_at: datetime
    is_open: bool


# A sample may have begun a day before what is asked for. Retractions repeat what they take back, and are no samples.
_GAPS = f"""
WITH sample AS (
    SELECT event.contract_id, event.meter_id, event.source_id, event.time, event.time + interval '1 second'
        * CASE WHEN event.duration_seconds > 0 THEN event.duration_seconds ELSE meter.max_gap_seconds END AS until,
        meter.max_gap_seconds * interval '1 second' AS allowed
    FROM billing_usageevent event JOIN billing_meter meter ON meter.id = event.meter_id AND meter.kind = 'gauge'
        AND meter.aggregation NOT IN ('count', 'unique_count')
    WHERE event.contract_id IS NOT NULL AND event.time > %(start)s::timestamptz - interval '1 day'
        AND event.time < %(end)s AND (%(contracts)s::bigint[] IS NULL OR event.contract_id = ANY(%(contracts)s::bigint[]))
        AND {IN_FORCE} AND NOT EXISTS (SELECT FROM billing_correction retraction WHERE retraction.source_id
            = event.source_id AND retraction.by_event_id = event.event_id AND retraction.is_retraction)
), covered AS (
    SELECT contract_id, meter_id, source_id, time, allowed, max(until) OVER before AS until, lead(time) OVER series AS next
    FROM sample
    WINDOW series AS (PARTITION BY contract_id, meter_id, source_id ORDER BY time),
        before AS (series ROWS UNBOUNDED PRECEDING)
), silent AS (
    SELECT covered.*, least(coalesce(next, %(end)s), contract.end_at, %(end)s) AS up_to, contract.number
    FROM covered JOIN billing_contract contract ON contract.id = contract_id
)
SELECT contract_id, silent.number, meter.code, source.name, greatest(until, %(start)s), up_to, next IS NULL
FROM silent JOIN billing_meter meter ON meter.id = meter_id JOIN billing_eventsource source ON source.id = source_id
WHERE up_to > greatest(until, %(start)s) AND up_to - time > allowed
ORDER BY silent.number, meter.code, source.name, until"""  # noqa: S608  - made of constants


def gaps(*, start_at: datetime, end_at: datetime, contracts: Collection[int] | None = None) -> list[Gap]:
    """The gaps of gauges within [start_at, end_at), of these contracts or of all, by contract, meter, source and time.

    Of each source that sent a sample at most a day before `start_at` or since: between its samples where they are
    further apart than the meter's `max_gap_seconds`, and after its last one. `end_at` lies at most at now.
    """
    with connection.cursor() as cursor:
        ids = None if contracts is None else list(contracts)
        cursor.execute(_GAPS, {"start": start_at, "end": end_at, "contracts": ids})
        return [Gap(*row) for row in cursor.fetchall()]
