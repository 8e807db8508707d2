"""What a project's months cost, and whether they may cost more.

A month counts what is held, confirmed and used of it, net, by the month of use; of what was cancelled only what remains
and the fees. `ReservationMonth` has the figures; they are written with the reservation, in one transaction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from billing.integrity import fetch_all, fetch_one
from billing.rating import money
from billing.rating.period import Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from marketplace.models import Project, Quote


_SPENT = """
SELECT month, sum(net_minor + fee_minor)::bigint FROM marketplace_reservationmonth
WHERE project_id = %s AND month = ANY(%s::text[]) GROUP BY month"""

_LOCK = """
SELECT monthly_limit_minor, is_hard, warn_percents FROM marketplace_project WHERE id = %s FOR NO KEY UPDATE"""


class BudgetExceededError(Exception):
    """A hold, or more hours, would bring a month of the project beyond its hard limit."""

    def __init__(
        self, project: Project, month: str, *, limit_minor: int, counted_minor: int, wanted_minor: int
    ) -> None:
        self.project, self.month, self.limit_minor = project, month, limit_minor
        self.counted_minor, self.wanted_minor = counted_minor, wanted_minor
        left = max(0, limit_minor - counted_minor)
        super().__init__(
            f"project {project.code}: {wanted_minor} for {month}: expected at most {left}, since its limit is {limit_minor}"
            f" and {counted_minor} of it are held, confirmed or used (minor units, net)"
        )


@dataclass(frozen=True, slots=True)
class Warned:
    """The month of a project has come to `percent` of its limit, or beyond."""

    month: str
    percent: int
    limit_minor: int
    counted_minor: int


def spent(*, project: Project, month: str) -> int:
    """What the project's month ("2026-05") counts so far, in minor units, net."""
    return spent_by_month(project=project, months=[month])[month]


def spent_by_month(*, project: Project, months: Iterable[str]) -> dict[str, int]:
    """spent() of several months, in one query."""
    found = dict.fromkeys(months, 0)
    found.update(fetch_all(_SPENT, [project.pk, list(found)]))
    return found


def warnings(*, project: Project, month: str) -> list[Warned]:
    """The thresholds of the project that its month has reached, the lowest first: for those who look."""
    return _reached(project, month, before=-1, after=spent(project=project, month=month))


def require(*, project: Project | None, wanted: Mapping[str, int]) -> list[Warned]:
    """Refuse what would exceed a hard limit; tell which thresholds it reaches. Raises BudgetExceededError.

    Inside the caller's transaction: the project's row is locked, so that two holds at once can't both come in under it.
    """
    if project is None or project.monthly_limit_minor is None:
        return []
    locked = fetch_one(_LOCK, [project.pk])
    assert locked is not None
    limit_minor, project.is_hard, project.warn_percents = locked
    if limit_minor is None:
        return []
    project.monthly_limit_minor = limit_minor
    reached: list[Warned] = []
    counted = spent_by_month(project=project, months=wanted)
    for month, wanted_minor in sorted(wanted.items()):
        if project.is_hard and wanted_minor > 0 and counted[month] + wanted_minor > limit_minor:
            raise BudgetExceededError(
                project, month, limit_minor=limit_minor, counted_minor=counted[month], wanted_minor=wanted_minor
            )
        reached += _reached(project, month, before=counted[month], after=counted[month] + wanted_minor)
    return reached


def _reached(project: Project, month: str, *, before: int, after: int) -> list[Warned]:
    """Those thresholds that lie in (before, after]."""
    limit = project.monthly_limit_minor
    if limit is None:
        return []
    return [
        Warned(month, percent, limit, after)
        for percent in sorted(project.warn_percents)
        if before * 100 < limit * percent <= after * 100
    ]


def told(warned: Iterable[Warned]) -> dict[str, Any]:
    """As the facts of a change keep them; nothing if there are none."""
    listed = [asdict(each) for each in warned]
    return {"warnings": listed} if listed else {}


# A quote's months


def by_month(quote: Quote) -> dict[str, int]:
    """The quote's net by month of use."""
    found: dict[str, int] = {}
    for part in quote.parts:
        found[part["month"]] = found.get(part["month"], 0) + part["amount_minor"]
    return found


def kept(quote: Quote, *, until_at: datetime, timezone: str) -> dict[str, int]:
    """The quote's net by month if it ends at until_at: what is given back of a month is its share by time, half up.

    It depends on until_at alone, not on the steps that led there.
    """
    months = by_month(quote)
    if until_at >= quote.end_at:
        return months
    if until_at <= quote.start_at:
        return dict.fromkeys(months, 0)
    return {month: net - _given_back(quote, month, net, until_at, timezone) for month, net in months.items()}


def _given_back(quote: Quote, month: str, net_minor: int, until_at: datetime, timezone: str) -> int:
    year, number = month.split("-")
    whole = Period.month(int(year), int(number), timezone)
    first, end = max(whole.start, quote.start_at), min(whole.end, quote.end_at)
    if first >= end:  # what is charged in a month in which nothing is reserved is shared out over all the hours
        first, end = quote.start_at, quote.end_at
    gone = end - min(max(first, until_at), end)
    return money.round_half_up(Fraction(net_minor * int(gone.total_seconds()), int((end - first).total_seconds())), 0)
