"""What a programme has promised and paid, by month of use and by firm; and what is paid twice, or would be.

Nothing here writes. Amounts are minor units of the programme's currency; what was clawed back is taken off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import F, Q, Sum

from billing.models import BudgetPeriod, Commitment, Contract, Grant, PartyFact, Programme, Redemption
from billing.rating import eligibility

_REDEEMED = Sum(F("amount_minor") - F("clawed_back_minor"))
GRANTED = (Grant.State.APPROVED, Grant.State.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Month:
    """Of use in one month, such as "2020-05"."""

    code: str
    last_date: date
    committed_minor: int
    redeemed_minor: int


@dataclass(slots=True)
class Firm:
    """What one programme has promised and paid for a firm."""

    committed_minor: int = 0
    redeemed_minor: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Firms alike: `value` is of a fact that staff verified, None where none is known."""

    value: str | None
    firms: int
    committed_minor: int
    redeemed_minor: int


def by_month(*, budgets: Sequence[BudgetPeriod]) -> dict[int, list[Month]]:
    """By budget's id, each of its months, in order; the budgets are of one programme. Two queries."""
    codes = {budget.pk: _months(budget) for budget in budgets}
    wanted = {code for months in codes.values() for code in months}
    programmes = {budget.programme_id for budget in budgets}
    open_ones = Commitment.objects.filter(
        grant__programme__in=programmes, state=Commitment.State.OPEN, month__in=wanted
    )
    committed = dict(open_ones.values_list("month").annotate(Sum("amount_minor")).order_by())
    redeemed = Redemption.objects.filter(share__programme__in=programmes, share__month__in=wanted)
    paid = dict(redeemed.values_list("share__month").annotate(sum=_REDEEMED).order_by())
    return {
        budget_id: [Month(code, last, committed.get(code, 0), paid.get(code, 0)) for code, last in months.items()]
        for budget_id, months in codes.items()
    }


def _months(budget: BudgetPeriod) -> dict[str, date]:
    """Each month's last day, by its code."""
    found = {}
    first = budget.from_date
    while first <= budget.until_date:
        after = (first + timedelta(days=31)).replace(day=1)
        found[f"{first:%Y-%m}"] = after - timedelta(days=1)
        first = after
    return found


def by_firm(*, programme: Programme) -> dict[int, Firm]:
    """By party's id, of those that have or had a grant. Three queries."""
    parties = programme.grants.filter(from_date__isnull=False).values_list("party", flat=True)
    found = {party_id: Firm() for party_id in parties}
    open_ones = Commitment.objects.filter(grant__programme=programme, state=Commitment.State.OPEN)
    for party_id, amount_minor in open_ones.values_list("grant__party").annotate(Sum("amount_minor")).order_by():
        found[party_id].committed_minor = amount_minor
    paid = Redemption.objects.filter(share__programme=programme)
    for party_id, amount_minor in paid.values_list("share__grant__party").annotate(sum=_REDEEMED).order_by():
        found[party_id].redeemed_minor = amount_minor
    return found


def by_fact(*, firms: dict[int, Firm], kind: str, on_date: date) -> list[Group]:
    """Firms by what staff verified of them, the one that got most first, those of which nothing is known last. One query."""
    known: dict[int, list[eligibility.Fact]] = {}
    facts = PartyFact.objects.filter(party__in=firms, kind=kind, verified_at__isnull=False)
    for fact in facts.order_by("from_date", "claimed_at", "pk"):
        told = eligibility.Fact(fact.kind, fact.value, fact.from_date, fact.until_date, is_verified=True)
        known.setdefault(fact.party_id, []).append(told)
    grouped: dict[str | None, list[Firm]] = {}
    for party_id, firm in firms.items():
        fact_now = eligibility.latest(known.get(party_id, ()), kind, on_date)
        grouped.setdefault(None if fact_now is None else fact_now.value, []).append(firm)
    made = [
        Group(
            value,
            len(alike),
            sum(firm.committed_minor for firm in alike),
            sum(firm.redeemed_minor for firm in alike),
        )
        for value, alike in grouped.items()
    ]
    return sorted(made, key=lambda group: (group.value is None, -group.redeemed_minor, group.value or ""))


# Twice


def paid_twice(*, most: int) -> list[tuple[Any, list[Redemption]]]:
    """(line, redemptions) of lines that several programmes pay, the latest first. Two queries."""
    lines = Redemption.objects.double_funded().order_by("-line").values_list("line", flat=True).distinct()[:most]
    rows = Redemption.objects.filter(line__in=list(lines)).select_related(
        "line__invoice", "share__programme", "share__grant__party"
    )
    found: dict[int, list[Redemption]] = {}
    for row in rows.defer("line__explanation", "line__invoice__snapshot").order_by("-line", "share__programme__code"):
        found.setdefault(row.line_id, []).append(row)
    return [(alike[0].line, alike) for alike in found.values()]


def stacked() -> list[list[Grant]]:
    """Grants of one firm for programmes of one stacking group, at the same time: of each bill one alone pays. One query."""
    rows = Grant.objects.filter(state__in=GRANTED).exclude(programme__stacking_group="")
    found: dict[tuple[int, int, str], list[Grant]] = {}
    for grant in rows.select_related("programme", "party").order_by("party__legal_name", "programme__code", "pk"):
        found.setdefault((grant.party_id, grant.programme.issuer_id, grant.programme.stacking_group), []).append(grant)
    return [alike for alike in found.values() if any(_overlaps(one, other) for one, other in _pairs(alike))]


def _pairs(grants: list[Grant]) -> Iterable[tuple[Grant, Grant]]:
    return ((one, other) for place, one in enumerate(grants) for other in grants[place + 1 :])


def _overlaps(one: Grant, other: Grant) -> bool:
    if None in (one.from_date, one.until_date, other.from_date, other.until_date):
        return False
    return one.from_date <= other.until_date and other.from_date <= one.until_date  # type: ignore[operator]


def on_both_sides() -> list[tuple[str, Contract]]:
    """(programme's code, contract) whose buyer and provider both have a programme that one side alone may claim. One query."""
    buyer, provider = "account__party__grants", "provider__grants"
    rows = Contract.objects.filter(
        Q(**{f"{buyer}__state__in": GRANTED, f"{buyer}__programme__one_side_claims": True})
        & Q(**{f"{provider}__state__in": GRANTED, f"{provider}__programme": F(f"{buyer}__programme")})
    ).exclude(provider=F("account__party"))
    named = rows.annotate(programme_code=F(f"{buyer}__programme__code")).select_related("account__party", "provider")
    return [(row.programme_code, row) for row in named.order_by("programme_code", "number").distinct()]
