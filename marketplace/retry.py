"""Transactions that the database ended because of another one, tried again."""

from __future__ import annotations

import functools
import logging
import random
import time
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import psycopg
from django.db import OperationalError, connection

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

ATTEMPTS = 8
PAUSE_SECONDS = 0.02  # at most, before the second attempt; twice as long before each further one
_RETRIED = ("40P01", "40001")  # deadlock_detected, serialization_failure

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def retrying(verb: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The verb, run again after a deadlock or a failed serialization, ATTEMPTS times in all, with random pauses.

    The verb's transaction must be its own and hold all that it does. Called within a transaction it runs once: what
    failed is the caller's transaction, which the caller's verb tries again.
    """

    @functools.wraps(verb)
    def tried(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for attempt in range(1, ATTEMPTS):
            try:
                return verb(*args, **kwargs)
            except OperationalError as error:
                if _sqlstate(error) not in _RETRIED or connection.in_atomic_block:
                    raise
                logger.info("tried again", extra={"verb": verb.__qualname__, "sqlstate": _sqlstate(error)})
                time.sleep(random.uniform(0, PAUSE_SECONDS * 2 ** (attempt - 1)))  # noqa: S311  - no secret
        return verb(*args, **kwargs)

    return tried


def _sqlstate(error: OperationalError) -> str | None:
    cause = error.__cause__
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None
