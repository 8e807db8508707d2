"""Writes that are done once, however often they are sent.

A write may carry `Idempotency-Key: TEXT` (1 to 255 visible ASCII characters). What it does and the answer are stored in one
transaction, so the second one finds both or neither; a second one that comes meanwhile waits for the first. Only what
succeeded is kept: what was refused may be sent again, and is judged anew. A deadlock is tried again as a whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from marketplace.api.problems import Problem
from marketplace.models import AnsweredRequest
from marketplace.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from marketplace.models import Organization

KEEP_HOURS = 48
HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Answer = tuple[int, Any]
"""A status and what JSON the body is."""


def fingerprint(method: str, path: str, body: bytes) -> str:
    """Of a request that may hold secrets: keyed with SECRET_KEY, so that the database alone lets nobody try what they were."""
    whole = b"\0".join((method.encode(), path.encode(), body))
    return salted_hmac("suanli.once", whole, algorithm="sha256").hexdigest()


@retrying
def once(
    *, organization: Organization, key: str | None, fingerprint: str, at: datetime, do: Callable[[], Answer]
) -> tuple[Answer, bool]:
    """Do it and give the answer, and whether it is an earlier one's. Raises Problem, and what `do` raises."""
    if key is None:
        with transaction.atomic():
            return do(), False
    if not _KEY.fullmatch(key):
        raise Problem(
            400,
            "idempotency-key",
            _("Unusable Idempotency-Key"),
            _("It has 1 to 255 visible ASCII characters, such as a UUID."),
            field=HEADER,
        )
    with transaction.atomic():
        _wait_for_others(organization, key)
        earlier = AnsweredRequest.objects.filter(organization=organization, key=key).first()
        if earlier is not None:
            if earlier.fingerprint != fingerprint:
                raise Problem(
                    422,
                    "idempotency-key-reused",
                    _("Idempotency-Key used before"),
                    _("Another request was sent with it: use a new one for each thing to do."),
                    field=HEADER,
                )
            return (earlier.status, json.loads(earlier.body)), True
        answer = do()
        AnsweredRequest.objects.create(
            organization=organization,
            key=key,
            fingerprint=fingerprint,
            status=answer[0],
            body=json.dumps(answer[1], ensure_ascii=False),
            answered_at=at,
        )
        return answer, False


def _wait_for_others(organization: Organization, key: str) -> None:
    """One at a time for a key: held until the transaction ends. Two keys of one hash wait needlessly, and no more."""
    digest = hashlib.sha256(f"{organization.pk}:{key}".encode()).digest()[:8]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(digest, "big", signed=True)])


def forget(*, at: datetime) -> int:
    """Forget what was answered more than KEEP_HOURS ago; how many that was."""
    return AnsweredRequest.objects.filter(answered_at__lt=at - timedelta(hours=KEEP_HOURS)).delete()[0]
