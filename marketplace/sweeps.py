"""Work that comes due, row by row: one that fails holds up none of the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

Row = TypeVar("Row")
_TOLD = 20  # failures in words; all are in the log


class SweepError(Exception):
    """Some rows failed, as the log says; what could be done of the others is done."""


def each(rows: Iterable[Row], do: Callable[[Row], object], *, what: str) -> int:
    """Do it for each row, which has a transaction of its own; for how many it gave something true.

    What a row raises is logged. Raises SweepError at the end if any did, so that its job is failed and is looked at.
    """
    done, failed = 0, []
    for row in rows:
        try:
            done += bool(do(row))
        except Exception as error:
            logger.exception("%s failed", what, extra={"row": str(row)})
            failed.append(f"{row}: {error}")
    if failed:
        more = f"\nand {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
        raise SweepError(f"{what} failed for {len(failed)}:\n" + "\n".join(failed[:_TOLD]) + more)
    return done
