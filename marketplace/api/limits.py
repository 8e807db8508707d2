"""How many requests a key may make a minute: one row per key, counted by one atomic statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from datetime import datetime

    from marketplace.models import ApiKey

_COUNT = """
INSERT INTO marketplace_requestcount AS counted (key_id, minute, number) VALUES (%(key)s, %(minute)s, 1)
ON CONFLICT (key_id) DO UPDATE SET minute = greatest(counted.minute, excluded.minute),
    number = CASE WHEN counted.minute < excluded.minute THEN 1 ELSE counted.number + 1 END
RETURNING number"""


def seconds_to_wait(*, key: ApiKey, per_minute: int, at: datetime) -> int:
    """Count a request of the key at `at`: 0 if it is one of the minute's first `per_minute`, else when to come again.

    Call it outside of a transaction: those who count wait for each other to commit.
    """
    minute, second = divmod(int(at.timestamp()), 60)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"key": key.pk, "minute": minute})
        [number] = cursor.fetchone()
    return 60 - second if number > per_minute else 0
