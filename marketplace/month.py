"""The billing month that is running, and the one before it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from billing import periods
from billing.models import BillingPeriod, Issuer


def running(*, issuer: Issuer, at: datetime) -> BillingPeriod:
    """The issuer's month that `at` lies in: the stored one, or else one like it that is not stored. At most one query."""
    local = at.astimezone(ZoneInfo(issuer.timezone))
    return named(issuer=issuer, year=local.year, month=local.month)


def before(*, period: BillingPeriod) -> BillingPeriod:
    """The month before `period`, stored or not. At most one query."""
    local = (period.start_at - timedelta(days=1)).astimezone(ZoneInfo(period.timezone))
    return named(issuer=period.issuer, year=local.year, month=local.month)


def named(*, issuer: Issuer, year: int, month: int) -> BillingPeriod:
    """The issuer's month, stored or not. One query."""
    return _named(issuer, [(year, month)])[0]


def past(*, issuer: Issuer, at: datetime, count: int) -> list[BillingPeriod]:
    """The last so many months that are over, the oldest first, stored or not. One query."""
    local = at.astimezone(ZoneInfo(issuer.timezone))
    numbers = [local.year * 12 + local.month - 1 - back for back in range(count, 0, -1)]
    return _named(issuer, [(number // 12, number % 12 + 1) for number in numbers])


def _named(issuer: Issuer, months: Sequence[tuple[int, int]]) -> list[BillingPeriod]:
    codes = [f"{year:04d}-{month:02d}" for year, month in months]
    stored = {period.code: period for period in BillingPeriod.objects.filter(issuer=issuer, code__in=codes)}
    for period in stored.values():
        period.issuer = issuer
    return [stored.get(code) or periods.unstored(issuer=issuer, code=code) for code in codes]
