"""Billing periods: opened once, over or not, and in which one, and under which date, something is posted that happens now."""

import re
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction

from billing import charging
from billing.integrity import named, require_aware, require_same
from billing.ledger import NoOpenPeriodError
from billing.models import Adjustment, BillingPeriod, Contract, Issuer
from billing.rating.period import Period


class InvalidPeriodError(ValueError):
    """The code names no month."""


class PeriodDiffersError(Exception):
    """The issuer's period of that code has other instants, or would overlap another one."""


class TooEarlyError(Exception):
    """A period is invoiced after its end."""


class InvalidInstantError(ValueError):
    """The time of issue is out of all reason."""


class NothingToCloseError(Exception):
    """The issuer has no contract in the month, and no period of it."""


def open_period(*, issuer: Issuer, code: str) -> BillingPeriod:
    """The issuer's billing period of a month, such as "2020-05", as instants of its time zone; stored once.

    Raises InvalidPeriodError, PeriodDiffersError.
    """
    month = _month(issuer, code)
    last_date = (month.end - timedelta(seconds=1)).astimezone(ZoneInfo(issuer.timezone)).date()
    facts = {"timezone": issuer.timezone, "start_at": month.start, "end_at": month.end, "last_date": last_date}
    overlaps = PeriodDiffersError(f"period {code} of {issuer.timezone} overlaps another one of issuer {issuer.code}")
    with named({"billing_period_apart": lambda _: overlaps}), transaction.atomic():
        period, made = BillingPeriod.objects.get_or_create(issuer=issuer, code=code, defaults=facts)
    if not made:
        require_same(period, facts, PeriodDiffersError)
    return period


def period_to_close(*, issuer: Issuer, code: str, at: datetime) -> BillingPeriod:
    """open_period() for one who closes it at once: nothing is stored unless it is over and somebody has a contract in it, or a
    correction waits for it.

    Raises InvalidPeriodError, PeriodDiffersError, InvalidInstantError, TooEarlyError, NothingToCloseError.
    """
    month = _month(issuer, code)
    require_over(code, month.end, month.timezone, at)
    contracts = Contract.objects.filter(charging.running(month.start, month.end), account__issuer=issuer)
    known = BillingPeriod.objects.filter(issuer=issuer, code=code)
    if not contracts.exists() and not known.exists() and not _corrections_wait(issuer, month):
        raise NothingToCloseError(
            f"period is {code}: expected a month in which a contract of issuer {issuer.code} runs; there is none"
        )
    return open_period(issuer=issuer, code=code)


def _month(issuer: Issuer, code: str) -> Period:
    if not re.fullmatch(r"[12][0-9]{3}-(0[1-9]|1[0-2])", code):
        raise InvalidPeriodError(f"period is {code!r}: expected a year and a month, such as 2020-05")
    return Period.month(int(code[:4]), int(code[5:]), issuer.timezone)


def require_instant(at: datetime) -> None:
    """Dates are computed from it, which end at the year 9999."""
    require_aware("at", at)
    if not 2000 <= at.year <= 2200:
        raise InvalidInstantError(f"at is {at.isoformat()}: expected a year from 2000 to 2200")


def require_over(code: str, end_at: datetime, timezone: str, at: datetime) -> None:
    require_instant(at)
    if at < end_at:
        end = end_at.astimezone(ZoneInfo(timezone)).isoformat()
        raise TooEarlyError(f"at is {at.isoformat()}: expected {end} or later, the end of period {code}")


class Place(NamedTuple):
    """Where something is posted: in which period, under which date of it."""

    period: BillingPeriod
    day: date


class Act(NamedTuple):
    """Something that is posted: where, when, by whom."""

    place: Place
    at: datetime
    actor: str


def at(*, issuer: Issuer, instant: datetime) -> Place:
    """The month of the instant, opened if need be, and its local day; if it is closed the first open one after it, and its
    first day. Raises NoOpenPeriodError.
    """
    day = instant.astimezone(ZoneInfo(issuer.timezone)).date()
    period = open_period(issuer=issuer, code=f"{day:%Y-%m}")
    if period.state == BillingPeriod.State.OPEN:
        return Place(period, day)
    later = BillingPeriod.objects.filter(
        issuer=issuer, state=BillingPeriod.State.OPEN, start_at__gte=period.end_at
    ).order_by("start_at")
    first = later.first()
    if first is None:
        raise NoOpenPeriodError(f"issuer {issuer.code} has no open period from {period.code} on: open the next one")
    return Place(first, first.last_date.replace(day=1))


def unstored(*, issuer: Issuer, code: str) -> BillingPeriod:
    """The issuer's month, such as "2020-05", as a period that is not stored."""
    month = Period.month(int(code[:4]), int(code[5:]), issuer.timezone)
    last_date = (month.end - timedelta(seconds=1)).astimezone(ZoneInfo(issuer.timezone)).date()
    facts = {"timezone": issuer.timezone, "start_at": month.start, "end_at": month.end, "last_date": last_date}
    return BillingPeriod(issuer=issuer, code=code, **facts)


def between(*, issuer: Issuer, after: BillingPeriod, until: BillingPeriod) -> list[BillingPeriod]:
    """The issuer's months after one and before another, as periods that are not stored."""
    year, month = map(int, after.code.split("-"))
    found: list[BillingPeriod] = []
    while True:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        if (code := f"{year:04}-{month:02}") >= until.code:
            return found
        found.append(unstored(issuer=issuer, code=code))


def open_over(*, by_at: datetime) -> None:
    """Open each issuer's last month that was over by then, if something is billed in it or a correction waits for it, and
    nobody has opened it.
    """
    for issuer in Issuer.objects.order_by("pk"):
        last = by_at.astimezone(ZoneInfo(issuer.timezone)).replace(day=1) - timedelta(days=1)
        month = Period.month(last.year, last.month, issuer.timezone)
        known = BillingPeriod.objects.filter(issuer=issuer, start_at__lt=month.end, end_at__gt=month.start)
        contracts = Contract.objects.filter(charging.running(month.start, month.end), account__issuer=issuer)
        if not known.exists() and (contracts.exists() or _corrections_wait(issuer, month)):
            open_period(issuer=issuer, code=f"{last:%Y-%m}")


def _corrections_wait(issuer: Issuer, month: Period) -> bool:
    """Approved ones, of an earlier month; where no invoice comes for them they are issued as the month is closed."""
    return Adjustment.objects.filter(
        state=Adjustment.State.APPROVED, invoice__issuer=issuer, invoice__period__start_at__lt=month.start
    ).exists()
