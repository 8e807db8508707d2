"""The admin's first page: how the month stands, what is wrong, and where to go from there."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.documents import figures
from billing.models import BillingPeriod, Contract, EventProblem, Invoice, Meter, Reading, UsageEvent
from marketplace.admin.base import money, word
from marketplace.admin.site import staff
from marketplace.admin.usage import instants_of, newest_reading_at
from marketplace.models import Job, MeterSilence, Offering
from marketplace.names import named

if TYPE_CHECKING:
    from django.http import HttpRequest


def dashboard(request: HttpRequest) -> dict[str, Any]:
    """What admin/dashboard.html shows, of this month or ?month=2020-05 in the site's time zone."""
    at = timezone.now()
    first = _month(request.GET.get("month", "")) or timezone.localdate(at).replace(day=1)
    after = (first + timedelta(days=31)).replace(day=1)
    usage = _usage(first, after)
    return {
        "title": gettext("Overview"),
        "month": f"{first:%Y-%m}",
        "before": _address((first - timedelta(days=1)).replace(day=1)),
        "after": _address(after),
        "newest": _newest() if not usage else None,
        "cards": [*_used(usage), *_issued(first, after), _events_today(at)],
        "problems": _problems(at),
        "charts": [_chart(meter, days, first, after) for meter, days in usage.items()],
    }


staff.dashboard = dashboard


def _month(text: str) -> date | None:
    try:
        first = parse_date(f"{text}-01")
    except ValueError:
        return None
    return first if first is not None and 1970 <= first.year < 3000 else None


def _newest() -> dict[str, str] | None:
    """The way to the newest month with usage."""
    newest_at = newest_reading_at()
    if newest_at is None:
        return None
    first = timezone.localdate(newest_at)
    title = gettext("The newest usage is of %(day)s") % {"day": f"{first:%Y-%m}"}
    return {"address": _address(first), "title": title}


def _address(first: date) -> str:
    return f"?{urlencode({'month': f'{first:%Y-%m}'})}"


def _usage(first: date, after: date) -> dict[Meter, dict[date, int]]:
    """Base units by meter and local day. One query, which reads the month's readings by contract."""
    start_at, end_at = _instants(first, after)
    rows = (
        Reading.objects.filter(start_at__gte=start_at, start_at__lt=end_at, contract__in=Contract.objects.values("pk"))
        .annotate(day=TruncDate("start_at"))
        .values_list("meter", "day")
        .annotate(Sum("quantity"))
        .order_by("meter", "day")
    )
    found: dict[int, dict[date, int]] = {}
    for meter_id, day, quantity in rows:
        found.setdefault(meter_id, {})[day] = int(quantity)
    return {meter: found[meter.pk] for meter in Meter.objects.filter(pk__in=found).order_by("pk")} if found else {}


def _instants(first: date, after: date) -> tuple[datetime, datetime]:
    zone = timezone.get_current_timezone()
    return datetime.combine(first, time.min, zone), datetime.combine(after, time.min, zone)


def _used(usage: dict[Meter, dict[date, int]]) -> list[dict[str, Any]]:
    return [
        {
            "title": named(meter),
            "value": figures.number(sum(days.values()) // meter.base_per_unit),
            "unit": word("unit", meter.unit),
            "address": staff.address("usage_readings", meter=meter.code, day=max(days).isoformat()),
        }
        for meter, days in usage.items()
    ]


def _issued(first: date, after: date) -> list[dict[str, Any]]:
    """Net of the invoices issued in the month, by currency."""
    start_at, end_at = _instants(first, after)
    rows = Invoice.objects.filter(state=Invoice.State.ISSUED, issued_at__gte=start_at, issued_at__lt=end_at)
    sums = list(rows.values_list("currency").annotate(Sum("net_minor"), Count("pk")).order_by("currency"))
    address = staff.address("billing_invoice_changelist", issued_at__year=first.year, issued_at__month=first.month)
    return [
        {
            "title": _("Invoiced, net"),
            "value": money(net_minor, currency),
            "unit": gettext("%(count)d invoices") % {"count": count},
            "address": address,
        }
        for currency, net_minor, count in sums or [("CNY", 0, 0)]
    ]


def _events_today(at: datetime) -> dict[str, Any]:
    start_at, end_at = instants_of(timezone.localdate(at))
    count = UsageEvent.objects.filter(time__gte=start_at, time__lt=end_at).count()
    return {
        "title": _("Events of today"),
        "value": figures.number(count),
        "unit": "",
        "address": staff.address("usage_events"),
    }


def _problems(at: datetime) -> list[dict[str, Any]]:
    """What somebody should look at, each with its list; a count of nothing is good news and is shown too."""
    is_open = Q(state=BillingPeriod.State.OPEN)
    periods = BillingPeriod.objects.aggregate(
        open=Count("pk", filter=is_open), ended=Count("pk", filter=is_open & Q(end_at__lte=at))
    )
    counted: tuple[tuple[Any, int, str, dict[str, str]], ...] = (
        (_("Failed jobs"), Job.objects.filter(state=Job.State.FAILED).count(), "marketplace_job_changelist", _FAILED),
        (
            _("Unmatched events"),
            UsageEvent.objects.filter(unmatched_reason__isnull=False).count(),
            "usage_unmatched",
            {},
        ),
        (_("Events not stored"), EventProblem.objects.count(), "billing_eventproblem_changelist", {}),
        (
            _("Silent meters"),
            MeterSilence.objects.filter(ended_at__isnull=True).count(),
            "marketplace_metersilence_changelist",
            {},
        ),
        (
            _("Offerings to approve"),
            Offering.objects.filter(state=Offering.State.SUBMITTED).count(),
            "marketplace_offering_changelist",
            {"state__exact": Offering.State.SUBMITTED.value},
        ),
        (_("Periods to close"), periods["ended"], "billing_billingperiod_changelist", _OPEN),
    )
    found = [
        {"title": title, "value": figures.number(count), "is_bad": count > 0, "address": staff.address(name, **query)}
        for title, count, name, query in counted
    ]
    return [
        *found,
        {
            "title": _("Open periods"),
            "value": figures.number(periods["open"]),
            "is_bad": False,
            "address": staff.address("billing_billingperiod_changelist", **_OPEN),
        },
    ]


_FAILED = {"state__exact": Job.State.FAILED.value}
_OPEN = {"state__exact": BillingPeriod.State.OPEN.value}


_OPTIONS = {
    "maintainAspectRatio": False,
    "animation": False,
    "plugins": {"legend": {"display": False}},
    "scales": {"x": {"grid": {"display": False}}, "y": {"beginAtZero": True}},
}


def _chart(meter: Meter, days: dict[date, int], first: date, after: date) -> dict[str, Any]:
    """Bars by day for Chart.js, and the same as a table for those who don't see it."""
    every = [first + timedelta(days=n) for n in range((after - first).days)]
    values = [days.get(day, 0) // meter.base_per_unit for day in every]
    return {
        "title": gettext("%(unit)s by day") % {"unit": word("unit", meter.unit)},
        "data": json.dumps(
            {
                "labels": [f"{day:%m-%d}" for day in every],
                "datasets": [
                    {
                        "label": word("unit", meter.unit),
                        "data": values,
                        "backgroundColor": "var(--color-primary-600)",
                        "borderRadius": 2,
                    }
                ],
            }
        ),
        "options": json.dumps(_OPTIONS),
        "rows": [(day, figures.number(value)) for day, value in zip(every, values, strict=True) if value],
        "unit": word("unit", meter.unit),
    }
