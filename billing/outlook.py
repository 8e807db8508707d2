"""When a programme's budget is used up, if it goes on being used as of late.

Used is what is committed and redeemed, together. The rate is how much that has grown in the last DAYS days, whatever grew:
commitments made, less those that ended, and shares of invoices issued, less what was clawed back. From today on that much
is used each day, and the budget is used up on the first day on which nothing is left. A budget that lasts beyond its last
day, or of which less is used than before, is not used up.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce

from billing.integrity import require_aware
from billing.models import BudgetPeriod, Clawback, Commitment, Programme, ProgrammeShare
from billing.programmes import local_date

DAYS = 28
Grown = Mapping[tuple[int, str], int]
"""By programme's id and month of use: minor units, negative where less is used than before."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A budget, what of it was used in the last DAYS days, and the day on which nothing is left; None: it lasts."""

    budget: BudgetPeriod
    grown_minor: int
    exhausted_on: date | None

    @property
    def left_minor(self) -> int:
        return self.budget.budget_minor - self.budget.committed_minor - self.budget.redeemed_minor


def of(*, programmes: Collection[Programme], at: datetime) -> dict[int, Outlook]:
    """By programme's id, the outlook of the longest of its budgets that hold today, or else of the one that ends last; none
    for a programme without a budget. Five queries, however many programmes; their issuers are at hand.
    """
    require_aware("at", at)
    budgets: dict[int, list[BudgetPeriod]] = {}
    for budget in BudgetPeriod.objects.filter(programme__in=[programme.pk for programme in programmes]):
        budgets.setdefault(budget.programme_id, []).append(budget)
    used = grown(programmes=list(budgets), since_at=at - timedelta(days=DAYS), until_at=at)
    found = {}
    for programme in programmes:
        if programme.pk in budgets:
            today = local_date(programme=programme, at=at)
            budget = _current(budgets[programme.pk], today)
            found[programme.pk] = of_budget(budget=budget, used=used, today=today)
    return found


def each(*, programme: Programme, at: datetime) -> list[Outlook]:
    """The outlooks of all its budgets: those that hold today, the longest first; then those to come, the next first; then those
    that are over, the latest first. Five queries; its issuer is at hand.
    """
    require_aware("at", at)
    budgets = list(BudgetPeriod.objects.filter(programme=programme))
    today = local_date(programme=programme, at=at)
    used = grown(programmes=[programme.pk], since_at=at - timedelta(days=DAYS), until_at=at) if budgets else {}

    def place(budget: BudgetPeriod) -> tuple[int, int, int]:
        if budget.from_date > today:
            return 1, budget.from_date.toordinal(), budget.pk
        if budget.until_date < today:
            return 2, -budget.until_date.toordinal(), budget.pk
        return 0, (budget.from_date - budget.until_date).days, budget.pk

    return [of_budget(budget=budget, used=used, today=today) for budget in sorted(budgets, key=place)]


def of_budget(*, budget: BudgetPeriod, used: Grown, today: date) -> Outlook:
    """Pure: by what grown() told. A budget that is over is not used up any more."""
    first, last = f"{budget.from_date:%Y-%m}", f"{budget.until_date:%Y-%m}"
    grown_minor = sum(
        amount_minor
        for (programme_id, month), amount_minor in used.items()
        if programme_id == budget.programme_id and first <= month <= last
    )
    left_minor = budget.budget_minor - budget.committed_minor - budget.redeemed_minor
    day = None
    if budget.until_date >= today:
        day = exhausted_on(left_minor=left_minor, grown_minor=grown_minor, today=today, last_date=budget.until_date)
    return Outlook(budget, grown_minor, day)


def exhausted_on(*, left_minor: int, grown_minor: int, today: date, last_date: date, days: int = DAYS) -> date | None:
    """The first day on which nothing is left where `grown_minor` is used in `days` days; None if that is after `last_date`."""
    if left_minor <= 0:
        return today
    if grown_minor <= 0:
        return None
    wait = -(-left_minor * days // grown_minor)
    return today + timedelta(days=wait) if wait <= (last_date - today).days else None


def grown(*, programmes: Collection[int], since_at: datetime, until_at: datetime) -> dict[tuple[int, str], int]:
    """How much more is committed and redeemed at `until_at` than at `since_at`, by programme's id and month. Four queries."""
    found: dict[tuple[int, str], int] = {}
    span = (since_at, until_at)
    made = Commitment.objects.filter(grant__programme__in=programmes, created_at__range=span)
    ended = Commitment.objects.filter(grant__programme__in=programmes, ended_at__range=span)
    redeemed = ProgrammeShare.objects.filter(programme__in=programmes, invoice__issued_at__range=span)
    back = Clawback.objects.filter(redemption__share__programme__in=programmes, at__range=span)
    for rows, sign in (
        (_sums(made.values_list("grant__programme", "month"), "amount_minor"), 1),
        (_sums(ended.values_list("grant__programme", "month"), "amount_minor"), -1),
        (_sums(redeemed.values_list("programme", "month"), "share_minor"), 1),
        (_sums(back.values_list("redemption__share__programme", "redemption__share__month"), "amount_minor"), -1),
    ):
        for programme_id, month, amount_minor in rows:
            found[programme_id, month] = found.get((programme_id, month), 0) + sign * amount_minor
    return found


def _sums(rows: QuerySet[Any, Any], field: str) -> Iterable[tuple[int, str, int]]:
    summed: Iterable[tuple[int, str, int]] = rows.annotate(sum=Coalesce(Sum(field), 0)).order_by()
    return summed


def _current(budgets: Sequence[BudgetPeriod], today: date) -> BudgetPeriod:
    holding = [each for each in budgets if each.from_date <= today <= each.until_date]
    if holding:
        return max(holding, key=lambda each: (each.until_date - each.from_date, -each.pk))
    return max(budgets, key=lambda each: (each.until_date, -each.pk))
