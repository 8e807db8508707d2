"""How often something may be tried: one row per key, counted by one atomic statement, whatever comes at once."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from django.db import connection

from marketplace.models import AttemptCount

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY = timedelta(days=1)
LETTERS_A_DAY = 50  # invitations of an organization
FILES_A_DAY = 20  # of an organization, verified or not: documents are kept for good

_COUNT = """
INSERT INTO marketplace_attemptcount AS counted (key, begins_at, number) VALUES (%(key)s, %(begins_at)s, 1)
ON CONFLICT (key) DO UPDATE SET begins_at = greatest(counted.begins_at, excluded.begins_at),
    number = CASE WHEN counted.begins_at < excluded.begins_at THEN 1 ELSE counted.number + 1 END
RETURNING number"""


class TooOftenError(Exception):
    """It was tried as often as it may be for now; `wait_seconds` says when it may be tried again."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"tried too often: to be tried again in {wait_seconds} seconds")
        self.wait_seconds = wait_seconds


def count(*, what: str, whom: str, most: int, span: timedelta, at: datetime) -> None:
    """Count a try of `what` by or for `whom`; the span is one of those that divide time since 1970.

    `whom` may be an address: what is stored is its digest. Raises TooOftenError beyond `most` in the span. Call it outside
    of a transaction where what is counted must stay so if it fails; those who count wait for each other to commit.
    """
    seconds = int(span.total_seconds())
    begins = int(at.timestamp()) // seconds * seconds
    parameters: dict[str, str | datetime] = {"key": _key(what, whom), "begins_at": datetime.fromtimestamp(begins, UTC)}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, parameters)
        [number] = cursor.fetchone()
    if number > most:
        raise TooOftenError(max(1, ceil(begins + seconds - at.timestamp())))


def forget(*, what: str, whom: str) -> None:
    """Begin anew: it has succeeded."""
    AttemptCount.objects.filter(key=_key(what, whom)).delete()


def forget_old(*, at: datetime) -> None:
    """Drop the counts of spans that are over for a day."""
    AttemptCount.objects.filter(begins_at__lt=at - timedelta(days=2)).delete()


def refused(limits: Iterable[tuple[str, str, int, timedelta]], *, at: datetime) -> int:
    """Count a try of each (what, whom, most, span): 0 if all may be, else the seconds until they may be."""
    wait_seconds = 0
    for what, whom, most, span in limits:
        try:
            count(what=what, whom=whom, most=most, span=span, at=at)
        except TooOftenError as error:
            wait_seconds = max(wait_seconds, error.wait_seconds)
    return wait_seconds


def _key(what: str, whom: str) -> str:
    return f"{what} {hashlib.sha256(whom.encode()).hexdigest()[:40]}"
