"""What a provider earns: the issued lines of its contracts by month, the zone's fee, what the ledger says is payable.

The amounts are the ledger's own, so that a statement and the accounts can't differ. Of a month that is not invoiced yet
there is an estimate by the same rating as the invoices will be.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.core.cache import cache
from django.db.models import Count, QuerySet, Sum

from billing import charging, drafts
from billing.models import Account, BillingPeriod, InvoiceLine, Posting
from marketplace import month

if TYPE_CHECKING:
    from datetime import datetime

    from billing.charging import Charges
    from billing.models import Party
    from marketplace.models import Organization

KEPT_SECONDS = 15 * 60
MOST_ACCOUNTS = 50


@dataclass(frozen=True)
class Statement:
    """One month with one issuer, in minor units of `currency`. net is what buyers pay for the provider's lines, before tax;
    of it `fee_minor` is the zone's, and `share_minor`, with the VAT on it, is payable to the provider.
    """

    period: BillingPeriod
    currency: str
    line_count: int
    net_minor: int
    share_minor: int
    payable_minor: int

    @property
    def fee_minor(self) -> int:
        return self.net_minor - self.share_minor

    @property
    def vat_minor(self) -> int:
        return self.payable_minor - self.share_minor


@dataclass(frozen=True)
class SoFar:
    """The running month as it stands at `at`, estimated. `left_out`: accounts that were not counted, since they can't be
    rated now, or since there are more than MOST_ACCOUNTS.
    """

    code: str
    at: datetime
    currency: str
    net_minor: int
    share_minor: int
    left_out: int


def statements(*, provider: Party, lines: QuerySet[InvoiceLine]) -> list[Statement]:
    """By month, the newest first. `lines` are those of issued invoices that the reader may see. Two queries."""
    summed = lines.filter(contract__provider=provider).values("invoice__period", "invoice__currency")
    rows = list(summed.annotate(net=Sum("amount_minor"), count=Count("pk")).order_by())
    if not rows:
        return []
    posted: Counter[tuple[int, str, str]] = Counter()
    kinds = ("cost_of_compute", "provider_payable")
    sides = Posting.objects.filter(ledger_account__party=provider, ledger_account__name__in=kinds)
    key = ("journal__period", "ledger_account__currency", "ledger_account__name")
    for period_id, currency, name, amount_minor in sides.values_list(*key).annotate(Sum("amount_minor")).order_by():
        posted[period_id, currency, name] = amount_minor
    periods = BillingPeriod.objects.select_related("issuer").in_bulk([row["invoice__period"] for row in rows])
    found = [
        Statement(
            period=periods[row["invoice__period"]],
            currency=row["invoice__currency"],
            line_count=row["count"],
            net_minor=row["net"],
            share_minor=posted[row["invoice__period"], row["invoice__currency"], "cost_of_compute"],
            payable_minor=-posted[row["invoice__period"], row["invoice__currency"], "provider_payable"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.period.start_at, each.period.issuer.code, each.currency), reverse=True)


def month_so_far(*, provider: Organization, at: datetime) -> SoFar:
    """The running month of the provider's zone. Rated anew every 15 minutes at most, since it takes each of its buyers'
    whole month; of at most MOST_ACCOUNTS.
    """
    issuer = provider.zone.issuer
    period = month.running(issuer=issuer, at=at)
    key = f"month_so_far:{provider.pk}:{period.code}"
    kept: SoFar | None = cache.get(key)
    if kept is None:
        kept = _estimate(provider.party, period, at)
        cache.set(key, kept, KEPT_SECONDS)
    return kept


def _estimate(party: Party, period: BillingPeriod, at: datetime) -> SoFar:
    running = charging.running(period.start_at, period.end_at)
    accounts = Account.objects.filter(issuer=period.issuer, contracts__in=party.supplies.filter(running)).distinct()
    every = list(accounts.select_related("issuer", "party").order_by("pk"))
    total = _Total()
    for result in charging.charges_of(accounts=every[:MOST_ACCOUNTS], period=period).values():
        total.add(result, party)
    return SoFar(
        code=period.code,
        at=at,
        currency=period.issuer.currency,
        net_minor=total.net_minor,
        share_minor=total.share_minor,
        left_out=total.left_out + len(every[MOST_ACCOUNTS:]),
    )


@dataclass
class _Total:
    net_minor: int = 0
    share_minor: int = 0
    left_out: int = field(default=0)

    def add(self, result: Charges | charging.NotChargeableError, party: Party) -> None:
        if isinstance(result, charging.NotChargeableError):
            self.left_out += 1
            return
        own = [charged for charged in result.lines if charged.supply.provider_id == party.pk]
        self.net_minor += sum(charged.amount_minor for charged in own)
        self.share_minor += drafts.purchase(result, party.pk)[0]
