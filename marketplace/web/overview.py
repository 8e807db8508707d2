"""The month so far: what it costs, how much of what is reserved is used, and where it is heading."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from django.db.models import Max
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing import charging
from billing.documents import figures, labels
from billing.models import Account, BillingPeriod, Contract, Meter, Reading
from billing.rating.period import Period
from marketplace import access, consumption, forecast, month
from marketplace.forecast import INTERVAL
from marketplace.names import named
from marketplace.permissions import Permission
from marketplace.web import amounts, charts, page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest, HttpResponse

REFRESH_SECONDS = 15


@dataclass(frozen=True)
class Standing:
    """What the page is made from: an account, its contracts, its running month, and what the readings are at `now`."""

    account: Account
    contracts: Sequence[Contract]
    period: BillingPeriod
    now: datetime
    last: dict[forecast.Key, datetime]
    readings: forecast.Readings
    expected: forecast.Expected


@never_cache
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """The whole page, or for htmx the part that changes."""
    here = page.of(request)
    if here.organization is None:
        return redirect("organization")
    if Permission.SEE_USAGE not in here.permissions:
        raise Http404
    accounts = accounts_of(request, here)
    account = chosen(accounts, request.GET.get("account"))
    context: dict[str, Any] = {"accounts": accounts, "account": account, "refresh_seconds": REFRESH_SECONDS}
    if account is not None:
        contracts = list(
            access.contracts_for(request.user, within=here.organization)
            .filter(account=account)
            .select_related("tariff")
            .order_by("number")
        )
        standing = _standing(account, contracts, timezone.now())
        context |= _about(standing) | _used(standing)
        if Permission.SEE_BILLS in here.permissions:
            context |= {"cost": _cost(standing)}
    template = "marketplace/_month.html" if getattr(request, "htmx", False) else "marketplace/month.html"
    return render(request, template, context)


def accounts_of(request: HttpRequest, here: page.Page) -> list[Account]:
    """Of the current organization, with whom they are of and by whom billed."""
    accounts = access.accounts_for(request.user, within=here.organization)
    return list(accounts.select_related("party", "issuer__party").order_by("issuer_id", "code"))


def chosen(accounts: Sequence[Account], wanted: str | None) -> Account | None:
    """The account of that id, or the first one. Raises Http404."""
    if wanted is None:
        return accounts[0] if accounts else None
    found = [account for account in accounts if str(account.pk) == wanted]
    if not found:
        raise Http404
    return found[0]


def _standing(account: Account, contracts: Sequence[Contract], now: datetime) -> Standing:
    rows = Reading.objects.filter(
        contract__in=[contract.pk for contract in contracts],
        start_at__gte=now - timedelta(days=forecast.DAYS + 1),
        start_at__lte=now,
    )
    last = {
        (contract_id, meter_id): start_at
        for contract_id, meter_id, start_at in rows.values_list("contract_id", "meter_id")
        .annotate(Max("start_at"))
        .order_by()
    }
    period = month.running(issuer=account.issuer, at=now)
    readings = forecast.Readings(contracts)
    expected = forecast.Expected(readings=readings, last=last, at=now, timezone=period.timezone)
    return Standing(account, contracts, period, now, last, readings, expected)


def _about(standing: Standing) -> dict[str, Any]:
    zone = standing.period.timezone
    latest = max(standing.last.values(), default=None)
    return {
        "period": standing.period,
        "first_day": amounts.local(standing.period.start_at, zone).date(),
        "now": amounts.local(standing.now, zone),
        "read_until": None if latest is None else amounts.local(min(latest + INTERVAL, standing.now), zone),
        "contracts": standing.contracts,
    }


# Money


def _cost(standing: Standing) -> dict[str, Any]:
    """The month's charges as they stand, at its end, and beside last month's on the same day."""
    currency = standing.account.issuer.currency
    try:
        end = forecast.month_end(
            account=standing.account,
            period=standing.period,
            readings=standing.readings,
            expected=standing.expected,
        )
    except charging.NotChargeableError as refusal:
        return {"refusal": str(refusal)}
    so_far = end.so_far
    return {
        "currency": currency,
        "payable": figures.money(so_far.payable_minor, currency),
        "net": figures.money(so_far.net_minor, currency),
        "shares": _shares(so_far),
        "kinds": _kinds(so_far),
        "forecast": None
        if end.expected is None
        else {
            "payable": figures.money(end.expected.payable_minor, currency),
            "subsidy": figures.money(end.expected.subsidy_minor, currency) if end.expected.subsidy_minor else "",
            "range": None
            if end.range_minor is None
            else {
                "low": figures.money(end.range_minor[0], currency),
                "high": figures.money(end.range_minor[1], currency),
            },
            "days": end.days,
        },
        "before": _before(standing, so_far),
    }


def _shares(charges: charging.Charges) -> dict[str, Any] | None:
    """What programmes pay of it, each with what limits it; None where none was asked."""
    if not charges.funding:
        return None
    language = amounts.language()
    return {
        "subsidy": figures.money(charges.subsidy_minor, charges.currency) if charges.subsidy_minor else "",
        "gross": figures.money(charges.gross_minor, charges.currency),
        "tax": figures.money(charges.tax_minor, charges.currency),
        "rows": [
            {
                "name": named(each.offered),
                "share": figures.money(
                    each.share.share_minor if not each.offered.is_offset else -each.share.share_minor, charges.currency
                ),
                "why": labels.name("limit", each.share.limited_by, language) if each.share.limited_by else "",
                "is_later": not each.offered.is_offset,
            }
            for each in charges.funding
        ],
    }


def _kinds(charges: charging.Charges) -> list[dict[str, Any]]:
    """Net amounts by kind of charge, the greatest first, with bars in thousandths of the greatest."""
    sums: dict[str, int] = {}
    for charged in charges.lines:
        sums[charged.line.kind] = sums.get(charged.line.kind, 0) + charged.amount_minor
    lengths = charts.shares(sums, max(map(abs, sums.values()), default=0))
    language = amounts.language()
    return [
        {
            "name": labels.name("kind", kind, language),
            "amount": figures.money(amount_minor, charges.currency),
            "length": lengths[kind],
            "is_credit": amount_minor < 0,
        }
        for kind, amount_minor in sorted(sums.items(), key=lambda item: -item[1])
    ]


def _before(standing: Standing, so_far: charging.Charges) -> dict[str, Any] | None:
    """Last month's charges as they stood on the same day; None where there were none."""
    previous = month.before(period=standing.period)
    cut_at = forecast.same_day_before(at=standing.now, period=standing.period, previous=previous)
    read = forecast.Until(readings=standing.readings, cut_at=cut_at)
    try:
        charges = charging.charges(account=standing.account, period=previous, read=read)
    except charging.NotChargeableError:
        return None  # last month has its own page, which says why it can't be priced
    if not charges.payable_minor:
        return None
    more_minor = so_far.payable_minor - charges.payable_minor
    return {
        "payable": figures.money(charges.payable_minor, charges.currency),
        "at": amounts.local(cut_at, standing.period.timezone),
        "percent": amounts.percent(abs(more_minor), abs(charges.payable_minor)),
        "is_more": more_minor > 0,
        "is_same": more_minor == 0,
    }


# Use


def _used(standing: Standing) -> dict[str, Any]:
    versions = consumption.versions_of(standing.contracts)
    codes = consumption.meter_codes(versions)
    meters = {meter.code: meter for meter in Meter.objects.filter(code__in=codes)}
    meter = next((meters[code] for code in codes if code in meters), None)
    if meter is None:
        return {"use": None}
    whole = Period(standing.period.start_at, standing.period.end_at, standing.period.timezone)
    uses = consumption.use(contracts=standing.contracts, meter=meter, versions=versions, period=whole)
    latest = max((at for (_, meter_id), at in standing.last.items() if meter_id == meter.pk), default=None)
    since = standing.now if latest is None else min(latest + INTERVAL, standing.now)
    past = [each for each in uses if each.end_at <= since]
    used = sum(each.used_base for each in uses)
    reserved = consumption.joined(past).reserved_base if past else Fraction(0)
    return {
        "use": {
            "meter": meter,
            "unit": amounts.unit(meter),
            "total": amounts.units(used, meter),
            "reserved": amounts.units(reserved, meter, 0) if reserved else None,
            "share": amounts.percent(sum(each.used_base for each in past), reserved),
            "missing_hours": amounts.decimal(Fraction(sum(each.missing for each in uses), 4), 2)
            if any(each.missing for each in uses)
            else None,
        },
        **_days(standing, meter, uses, whole),
    }


def _days(standing: Standing, meter: Meter, uses: Sequence[consumption.Use], period: Period) -> dict[str, Any]:
    """The chart by day: what was used in which time-of-use period, and above it what is expected."""
    ahead = _ahead(standing, meter, period)
    codes = {code for use in uses for code in use.parts}
    order, tones = amounts.periods(codes), amounts.tones(codes)
    zone, unit = period.timezone, amounts.unit(meter)
    days: dict[Any, list[int]] = {}
    for number, use in enumerate(uses):
        days.setdefault(amounts.local(use.start_at, zone).date(), []).append(number)
    slots, rows = [], []
    for day, numbers in days.items():
        joined = consumption.joined([uses[number] for number in numbers])
        to_come = sum(ahead[number] for number in numbers)
        sizes = [(tones[code], Fraction(joined.parts.get(code, 0), meter.base_per_unit)) for code in order]
        title = f"{day.isoformat()}: {amounts.units(joined.used_base, meter)} {unit}"
        if to_come:
            sizes.append(("expected", Fraction(to_come, meter.base_per_unit)))
            title += f" + {amounts.units(to_come, meter)}"
        slots.append(
            charts.Slot(title, sizes, joined.reserved_base / meter.base_per_unit, is_missing=bool(joined.missing))
        )
        rows.append(
            {
                "day": day,
                "parts": [amounts.units(joined.parts.get(code, 0), meter) for code in order],
                "total": amounts.units(joined.used_base, meter),
                "expected": amounts.units(to_come, meter) if to_come else "",
                "reserved": amounts.units(joined.reserved_base, meter),
            }
        )
    return {
        "chart": charts.chart(slots=slots, columns=[str(day.day) for day in days], gap=3),
        "legend": [(tones[code], amounts.period_name(code)) for code in order],
        "rows": rows,
        "has_expected": any(ahead),
        "has_reserved": any(slot.reserved for slot in slots),
        "has_missing": any(slot.is_missing for slot in slots),
    }


def _ahead(standing: Standing, meter: Meter, period: Period) -> list[int]:
    """What is expected beyond what is read, in base units by interval; nothing where nothing can be foretold."""
    count = (period.end - period.start) // INTERVAL
    total = [0] * count
    for contract in standing.contracts:
        if (contract.pk, meter.pk) not in standing.last:
            continue
        try:
            more = standing.expected.beyond(contract=contract, meter=meter, start_at=period.start, end_at=period.end)
        except forecast.NothingToGoOnError:
            return [0] * count
        total = [before + quantity for before, quantity in zip(total, more, strict=True)]
    return total
