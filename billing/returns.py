"""What was reserved, invoiced and never delivered: the invoice stays, and what the span added to it is credited."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from billing import charging, contracts, one_off
from billing.integrity import require_aware
from billing.models import BillingPeriod, Contract, Invoice, ReservedSpan


def take_back(
    *, contract: Contract, source: str, from_at: datetime, why: Mapping[str, Any], at: datetime, actor: str
) -> int:
    """Take back the span(s) of that source from `from_at` on, also in invoiced time; the net that is credited for that, in
    minor units.

    In time that is not invoiced they end as by contracts.shorten() and withdraw(). What they had added to each invoice, by its own
    rating, is one credit in the first open period; `why` is its explanation. Again, it is the same credit. Raises
    InvalidContractError, one_off.InvalidOneOffError, NotChargeableError.
    """
    require_aware("at", at)
    with transaction.atomic():
        contracts.lock(contract.account)
        spans = list(contracts.pieces(contract.account, source).filter(withdrawn_at=None).order_by("start_at"))
        if not spans:
            raise contracts.InvalidContractError(f"source is {source!r}: expected one that has a span")
        invoices = Invoice.objects.filter(
            account=contract.account, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE
        )
        taken = Q(state=BillingPeriod.State.CLOSED) | Q(pk__in=invoices.values("period"))
        shut = BillingPeriod.objects.filter(
            taken,
            issuer=contract.account.issuer_id,
            end_at__gt=max(from_at, spans[0].start_at),
            start_at__lt=spans[-1].end_at,
        )
        periods = list(shut.order_by("start_at"))
        invoiced = set(invoices.filter(period__in=periods).values_list("period", flat=True))
        credit_minor = _added(contract, spans, from_at, [each for each in periods if each.pk in invoiced], at)
        open_at = periods[-1].end_at if periods else max(from_at, spans[0].start_at)
        if open_at == spans[0].start_at:
            contracts.withdraw(contract=contract, source=source, at=min(at, open_at), actor=actor)
        elif open_at < (spans[-1].end_at or open_at):
            contracts.shorten(contract=contract, source=source, end_at=open_at, at=at, actor=actor)
        if credit_minor > 0:
            one_off.charge(
                contract=contract,
                kind="credit",
                code=one_off.SERVICE_CREDIT,
                at=max(at, open_at),
                amount_minor=-credit_minor,
                why=why,
                source=f"{source}:returned",
                actor=actor,
                now=at,
            )
    return max(credit_minor, 0)


def _added(
    contract: Contract, spans: Sequence[ReservedSpan], from_at: datetime, periods: Sequence[BillingPeriod], at: datetime
) -> int:
    """What the spans' time from `from_at` on adds to the charges of these periods, net: as they are less as they would be."""
    if not periods:
        return 0
    before_minor = sum(charging.charges(account=contract.account, period=each).net_minor for each in periods)
    with transaction.atomic():
        for span in spans:
            if span.start_at >= from_at:
                ReservedSpan.objects.filter(pk=span.pk).update(withdrawn_at=at)
            elif span.end_at is not None and span.end_at > from_at:
                ReservedSpan.objects.filter(pk=span.pk).update(end_at=from_at)
        after_minor = sum(charging.charges(account=contract.account, period=each).net_minor for each in periods)
        transaction.set_rollback(True)  # it was only asked what would be
    return before_minor - after_minor
