"""In which period, and under which date, something is posted that happens now; which periods are over."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from billing import charging, invoicing
from billing.ledger import NoOpenPeriodError
from billing.models import BillingPeriod, Contract, Issuer
from billing.rating.period import Period


def at(*, issuer: Issuer, instant: datetime) -> tuple[BillingPeriod, date]:
    """The month of the instant, opened if need be, and its local day; if it is closed the first open one after it, and its
    first day. Raises NoOpenPeriodError.
    """
    day = instant.astimezone(ZoneInfo(issuer.timezone)).date()
    period = invoicing.open_period(issuer=issuer, code=f"{day:%Y-%m}")
    if period.state == BillingPeriod.State.OPEN:
        return period, day
    later = BillingPeriod.objects.filter(
        issuer=issuer, state=BillingPeriod.State.OPEN, start_at__gte=period.end_at
    ).order_by("start_at")
    first = later.first()
    if first is None:
        raise NoOpenPeriodError(f"issuer {issuer.code} has no open period from {period.code} on: open the next one")
    return first, first.last_date.replace(day=1)


def unstored(*, issuer: Issuer, code: str) -> BillingPeriod:
    """The issuer's month, such as "2020-05", as a period that is not stored."""
    month = Period.month(int(code[:4]), int(code[5:]), issuer.timezone)
    last_date = (month.end - timedelta(seconds=1)).astimezone(ZoneInfo(issuer.timezone)).date()
    facts = {"timezone": issuer.timezone, "start_at": month.start, "end_at": month.end, "last_date": last_date}
    return BillingPeriod(issuer=issuer, code=code, **facts)


def open_over(*, by_at: datetime) -> None:
    """Open each issuer's last month that was over by then, if something is billed in it and nobody has opened it."""
    for issuer in Issuer.objects.order_by("pk"):
        last = by_at.astimezone(ZoneInfo(issuer.timezone)).replace(day=1) - timedelta(days=1)
        month = Period.month(last.year, last.month, issuer.timezone)
        known = BillingPeriod.objects.filter(issuer=issuer, start_at__lt=month.end, end_at__gt=month.start)
        contracts = Contract.objects.filter(charging.running(month.start, month.end), account__issuer=issuer)
        if not known.exists() and contracts.exists():
            invoicing.open_period(issuer=issuer, code=f"{last:%Y-%m}")
