"""What a firm saves by programmes: by month of a year, issued and so far, and what is left of its caps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from billing import charging
from billing.models import Commitment, FirmCap, Grant, Invoice, Programme, ProgrammeShare
from marketplace import month

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from billing.charging import Reader
    from billing.models import Account, BillingPeriod, Issuer, Party


@dataclass(slots=True)
class Month:
    """A month's bills, in minor units: list_minor before tax and shares, shares by the programme's id, payable_minor with
    tax. `is_issued`: nothing of it is a preview.
    """

    code: str
    is_issued: bool = True
    list_minor: int = 0
    payable_minor: int = 0
    shares: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def share_minor(self) -> int:
        return sum(self.shares.values())


@dataclass(frozen=True, slots=True)
class Cap:
    """A firm's cap of a programme for a month ("2020-05") or a year ("2020"). What is committed is so by reservations."""

    period: str
    cap_minor: int
    redeemed_minor: int = 0
    committed_minor: int = 0

    @property
    def left_minor(self) -> int:
        return self.cap_minor - self.redeemed_minor - self.committed_minor


@dataclass(frozen=True, slots=True)
class Granted:
    """A programme that pays, or paid, for the firm; grant: the one in force, None if there is none. committed_minor: by
    reservations, of this month and later.
    """

    programme: Programme
    grant: Grant | None
    caps: tuple[Cap, ...]
    committed_minor: int


@dataclass(frozen=True, slots=True)
class Savings:
    """The months of `year` with bills under a programme, in order; `running` is the code of the one that runs."""

    currency: str
    year: str
    running: str
    months: tuple[Month, ...]
    granted: tuple[Granted, ...]

    def of_month(self, programme_id: int) -> int:
        return sum(each.shares.get(programme_id, 0) for each in self.months if each.code == self.running)

    def of_year(self, programme_id: int) -> int:
        return sum(each.shares.get(programme_id, 0) for each in self.months)


def savings(
    *,
    party: Party,
    issuer: Issuer,
    accounts: Sequence[Account],
    invoices: QuerySet[Invoice],
    at: datetime,
    read: Reader,
) -> Savings:
    """Of one firm with one issuer: the bills of these accounts, of this year up to the running month.

    invoices: those that the reader may see. A month that can't be priced is left out.
    """
    running = month.running(issuer=issuer, at=at)
    year = running.code[:4]
    months: dict[str, Month] = {}
    _add_issued(months, invoices.filter(account__in=[each.pk for each in accounts]), year)
    for period in (month.before(period=running), running):
        if period.code.startswith(year):
            _add_previewed(months, accounts, period, read)
    grants = list(
        Grant.objects.filter(party=party, programme__issuer=issuer)
        .exclude(state__in=[Grant.State.APPLIED, Grant.State.REJECTED, Grant.State.WITHDRAWN])
        .select_related("programme")
        .order_by("programme_id", "pk")
    )
    shown = tuple(months[code] for code in sorted(months))
    return Savings(issuer.currency, year, running.code, shown, _granted(grants, party, running.code, accounts))


def _add_issued(months: dict[str, Month], invoices: QuerySet[Invoice], year: str) -> None:
    """Invoices and the notes that correct them, in the month of use."""
    shares = ProgrammeShare.objects.filter(invoice__in=invoices, month__startswith=year)
    rows = shares.annotate(back_minor=Sum("redemptions__clawed_back_minor", default=0))
    for code, programme_id, share_minor, back_minor in rows.values_list(
        "month", "programme_id", "share_minor", "back_minor"
    ):
        months.setdefault(code, Month(code)).shares[programme_id] += share_minor - back_minor
    funded = Q(pk__in=shares.values("invoice")) | Q(corrects__in=shares.values("invoice"))
    billed = invoices.filter(funded).annotate(used=Coalesce("corrects__period__code", "period__code")).order_by()
    for code, list_minor, payable_minor in billed.values_list("used", "net_minor", "payable_minor"):
        found = months.setdefault(code, Month(code))
        found.list_minor += list_minor
        found.payable_minor += payable_minor


def _add_previewed(months: dict[str, Month], accounts: Sequence[Account], period: BillingPeriod, read: Reader) -> None:
    """What the month's bills are so far, of the accounts that have no invoice of it yet."""
    issued: set[int] = set()
    if period.pk is not None:
        rows = Invoice.objects.filter(period=period, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE)
        issued.update(rows.filter(account__in=[each.pk for each in accounts]).values_list("account", flat=True))
    open_ones = [account for account in accounts if account.pk not in issued]
    if not open_ones:
        return
    for charges in charging.charges_of(accounts=open_ones, period=period, read=read).values():
        if not isinstance(charges, charging.Charges) or not charges.funding or not charges.lines:
            continue
        found = months.setdefault(period.code, Month(period.code))
        found.is_issued = False
        found.list_minor += charges.net_minor
        found.payable_minor += charges.payable_minor
        for each in charges.funding:
            found.shares[each.offered.programme_id] += each.share.share_minor


def _granted(grants: Sequence[Grant], party: Party, code: str, accounts: Sequence[Account]) -> tuple[Granted, ...]:
    latest = {grant.programme_id: grant for grant in grants}  # the last one of each programme
    periods = (code, code[:4])
    counted = {
        (cap.programme_id, cap.period): cap
        for cap in FirmCap.objects.filter(programme__in=latest, credit_code=party.credit_code, period__in=periods)
    }
    open_ones = Commitment.objects.filter(
        Q(month__gte=code), grant__party=party, account__in=[each.pk for each in accounts], state=Commitment.State.OPEN
    )
    committed = dict(open_ones.order_by().values_list("grant__programme").annotate(total=Sum("amount_minor")))
    found = []
    for grant in latest.values():
        programme = grant.programme
        caps = [
            _cap(counted.get((programme.pk, period)), period, cap_minor)
            for period, cap_minor in zip(
                periods, (programme.cap_firm_month_minor, programme.cap_firm_year_minor), strict=True
            )
            if cap_minor is not None
        ]
        is_on = grant.state == Grant.State.APPROVED and programme.state == Programme.State.OPEN
        found.append(Granted(programme, grant if is_on else None, tuple(caps), committed.get(programme.pk, 0)))
    return tuple(found)


def _cap(counted: FirmCap | None, period: str, cap_minor: int) -> Cap:
    if counted is None:
        return Cap(period, cap_minor)
    return Cap(period, counted.cap_minor, counted.redeemed_minor, counted.committed_minor)
