"""What programmes promise of what is not booked yet: the shares of an estimate, by the function that makes an invoice's.

A promise is the least of what the programme would pay of the month's estimate (billing.rating.funding) and of what is left
now of the invoice's cap, the firm's caps and the budget, beside all that is committed. `billing.commitments` takes it. What
the programme pays in the end is decided by the month's invoice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Exists, OuterRef, Q, Sum

from billing import budgets, funding, periods
from billing.charging import Charges, Estimate
from billing.funding import Charged, Funded, Offered
from billing.models import Account, Commitment, Grant, Issuer, Programme

PROMISING = Q(
    state=Grant.State.APPROVED,
    programme__state=Programme.State.OPEN,
    programme__mode__in=[Programme.Mode.VOUCHER, Programme.Mode.REIMBURSEMENT],
)
"""Grants of which something may be committed."""


def is_granted(party: str) -> Exists:
    """Has the firm at `party`, a path of the asked row to its id, a grant of which something may be committed? For queries
    that are made anyway.
    """
    return Exists(Grant.objects.filter(PROMISING, party=OuterRef(party)))


def has_grant(party_id: int) -> Exists:
    """The same of one firm, for a query of whatever else is asked."""
    return Exists(Grant.objects.filter(PROMISING, party=party_id))


def grants_of(*, party_id: int, issuer_id: int) -> list[Grant]:
    """The firm's grants of which something may be committed, by the programme's id. One query."""
    found = Grant.objects.filter(PROMISING, party=party_id, programme__issuer=issuer_id)
    return list(found.select_related("programme__funder", "party").order_by("programme_id", "pk"))


class Promising:
    """What a firm's grants may still promise, for some months ("2020-05"); what is promised of it counts here."""

    def __init__(
        self, grants: Sequence[Grant], months: Sequence[str], *, issuer: Issuer, account: Account | None
    ) -> None:
        """Two queries, those of who is barred, and one more where an invoice is capped, or a group excludes others; none
        without grants.
        """
        self._account = account
        self._months = {month: [each for each in grants if _holds(each, month)] for month in months}
        self._periods = {month: periods.unstored(issuer=issuer, code=month) for month in months}
        asked = {grant.pk: grant for of_month in self._months.values() for grant in of_month}
        self._counters = budgets.read(
            programmes=[grant.programme for grant in asked.values()],
            credit_code=grants[0].party.credit_code if grants else "",
            months=months,
        )
        capped = [grant.pk for grant in asked.values() if grant.programme.cap_invoice_minor is not None]
        self._of_invoices = _committed(capped, account, months) if capped and account is not None else {}
        groups = {grant.programme.stacking_group for grant in asked.values()} - {""}
        self._paying: dict[tuple[str, str], set[int]] = {}
        if groups and account is not None:
            self._paying = funding.committed_of_groups(groups, account=account, months=months)
        self._barred: dict[tuple[int, str], frozenset[int]] = {}

    def offers(self, month: str) -> tuple[Offered, ...]:
        """What each grant may promise of a bill of the month: of a group, only of what has promised of it already."""
        found = []
        for grant in self._months[month]:
            paying = self._paying.get((grant.programme.stacking_group, month))
            if not paying or grant.programme_id in paying:
                found.append(self._offer(grant, month))
        return tuple(found)

    def count(self, month: str, funded: Sequence[Funded], *, sign: int = 1) -> None:
        """Have less left for what comes after; or, with the sign of -1, as much as before."""
        for each in funded:
            programme_id, amount_minor = each.offered.programme_id, sign * each.share.share_minor
            self._counters.count(programme_id=programme_id, month=month, amount_minor=amount_minor)

    def windowed(self, month: str, funded: Funded, lines: Sequence[Charged], currency: str) -> Funded:
        """With what the window makes of it. Hours that are booked next to others are one line with them, and a line counts if
        all of it lies in the window: so the share may be none ("window"), and what was promised of the others may be lost.
        One query where it may.
        """
        offered, share = funded.offered, funded.share
        if share.share_minor or share.limited_by or not funding.is_outside(lines, offered):
            return funded
        lost_minor = 0
        if share.eligible_minor < 0 and self._account is not None:
            promised = _committed([offered.grant_id], self._account, [month]).get((offered.grant_id, month), 0)
            lost_minor = min(promised, funding.taken_back(lines, offered, currency))
        return replace(funded, share=replace(share, limited_by="window"), lost_minor=lost_minor)

    def _offer(self, grant: Grant, month: str) -> Offered:
        programme, key = grant.programme, (grant.pk, month)
        left = self._counters.left(programme.pk, month)
        cap_minor = programme.cap_invoice_minor
        if cap_minor is not None:
            cap_minor = max(0, cap_minor - self._of_invoices.get(key, 0))
        if key not in self._barred:
            self._barred[key] = funding.barred_by(grant, self._periods[month])
        return funding.offer_of(
            grant,
            programme,
            self._periods[month],
            barred=self._barred[key],
            left=(cap_minor, left.firm_minor, left.budget_minor or 0),
        )


def promise(*, estimate: Estimate, party_id: int, issuer: Issuer, account: Account | None) -> Estimate:
    """The estimate with what programmes promise of each of its months, the earlier ones first."""
    months = list(estimate.charges)
    promising = Promising(grants_of(party_id=party_id, issuer_id=issuer.pk), months, issuer=issuer, account=account)
    charges: dict[str, Charges] = {}
    for month, of_month in estimate.charges.items():
        funded = funding.fund(of_month.lines, promising.offers(month), estimate.currency)
        promising.count(month, funded)
        funded = tuple(promising.windowed(month, each, of_month.lines, estimate.currency) for each in funded)
        taxes = funding.taxed(of_month.lines, of_month.taxes, funded)
        charges[month] = replace(of_month, funding=funded, taxes=taxes, is_granted=bool(funded))
    return replace(estimate, charges=charges)


def shares(charges: Mapping[str, Charges]) -> list[dict[str, Any]]:
    """The promises in JSON's types, month by month in the order in which programmes pay; those that promise 0 too, and what is lost
    of earlier ones, where anything is.
    """
    return [
        {
            "grant": each.offered.grant_id,
            "programme": each.offered.offer.code,
            "name": each.offered.name,
            "name_en": each.offered.name_en,
            "mode": each.offered.mode,
            "reduces_tax": each.offered.reduces_tax,
            "month": month,
            "eligible_minor": each.share.eligible_minor,
            "wanted_minor": each.share.wanted_minor,
            "share_minor": each.share.share_minor,
            "limited_by": each.share.limited_by,
            **({"lost_minor": each.lost_minor} if each.lost_minor else {}),
        }
        for month, of_month in charges.items()
        for each in of_month.funding
    ]


def _holds(grant: Grant, month: str) -> bool:
    """Does the month touch the grant's window, and the programme's?"""
    firsts = [day for day in (grant.from_date, grant.programme.from_date) if day]
    lasts = [day for day in (grant.until_date, grant.programme.until_date) if day]
    return f"{max(firsts):%Y-%m}" <= month <= f"{min(lasts):%Y-%m}"


def _committed(grants: Sequence[int], account: Account, months: Sequence[str]) -> dict[tuple[int, str], int]:
    """What is committed of an account's months, by grant and month: an invoice's cap holds for all of it together."""
    rows = Commitment.objects.filter(grant__in=grants, account=account, month__in=months, state=Commitment.State.OPEN)
    sums = rows.order_by().values_list("grant", "month").annotate(Sum("amount_minor"))
    return {(grant_id, month): amount_minor for grant_id, month, amount_minor in sums}
