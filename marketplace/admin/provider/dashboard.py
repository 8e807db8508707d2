"""A provider's first page: how full its pools are, what begins and ends, what to look at, what the month comes to."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q
from django.http import Http404
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import SELECT_CLASSES  # type: ignore[import-untyped]

from billing.documents import figures
from marketplace import statements, utilisation
from marketplace.admin.base import money
from marketplace.admin.page import Table, link
from marketplace.admin.site import providers
from marketplace.models import CapacityPool, Incident, Offering, ProvisioningTask, Reservation
from marketplace.permissions import Permission
from marketplace.web.page import ORGANIZATION_IN_SESSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from django.http import HttpRequest, HttpResponse

    from marketplace.utilisation import Hour

DAYS = 7  # before today and from today on
SOON = timedelta(hours=72)
MOST_CHARTS, MOST_ROWS = 6, 50


def dashboard(request: HttpRequest) -> dict[str, Any]:
    """What admin/provider/dashboard.html shows."""
    at = timezone.now()
    pools = list(providers.rows(request, CapacityPool).select_related("site").order_by("-gpus", "pk"))
    groups = [{"title": _("To look at"), "cards": _problems(request, at)}]
    if providers.may(request, Permission.SEE_BILLS):
        groups.append({"title": _("This month so far"), "cards": _earned(request, at)})
    return {
        "title": gettext("Overview"),
        "select_classes": " ".join(SELECT_CLASSES),
        "groups": groups,
        "charts": _charts(pools[:MOST_CHARTS], at),
        "tables": _soon(request, at),
    }


providers.dashboard = dashboard


@providers.page("switch/", "switch")
@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    """Make another of the user's providers the current organization, here and on the other pages."""
    for each in providers.providers(request):
        if str(each.pk) == request.POST.get("organization"):
            request.session[ORGANIZATION_IN_SESSION] = each.pk
            return redirect(providers.address("index"))
    raise Http404


def _problems(request: HttpRequest, at: datetime) -> list[dict[str, Any]]:
    """A count of nothing is good news and is shown too."""
    offerings = providers.rows(request, Offering).aggregate(
        waiting=Count("pk", filter=Q(state=Offering.State.SUBMITTED)),
        drafts=Count("pk", filter=Q(state=Offering.State.DRAFT)),
        on_sale=Count("pk", filter=Q(state=Offering.State.PUBLISHED)),
    )
    incidents = providers.rows(request, Incident).filter(closed_at__isnull=True).count()
    tasks = providers.rows(request, ProvisioningTask).filter(state=ProvisioningTask.State.OPEN)
    counts = tasks.aggregate(open=Count("pk"), late=Count("pk", filter=Q(due_at__lt=at)))
    offered = "marketplace_offering_changelist"
    return [
        {
            "title": _("Tasks to do"),
            "value": counts["open"],
            "unit": gettext("late: %(count)d") % {"count": counts["late"]} if counts["late"] else "",
            "is_bad": counts["late"] > 0,
            "address": providers.address(
                "marketplace_provisioningtask_changelist", state__exact=ProvisioningTask.State.OPEN.value
            ),
        },
        {
            "title": _("Open incidents"),
            "value": incidents,
            "is_bad": incidents > 0,
            "address": providers.address("marketplace_incident_changelist", open=1),
        },
        {
            "title": _("Offerings waiting for approval"),
            "value": offerings["waiting"],
            "address": providers.address(offered, state__exact=Offering.State.SUBMITTED.value),
        },
        {
            "title": _("Drafts"),
            "value": offerings["drafts"],
            "address": providers.address(offered, state__exact=Offering.State.DRAFT.value),
        },
        {
            "title": _("Offerings on sale"),
            "value": offerings["on_sale"],
            "address": providers.address(offered, state__exact=Offering.State.PUBLISHED.value),
        },
    ]


def _earned(request: HttpRequest, at: datetime) -> list[dict[str, Any]]:
    month = statements.month_so_far(provider=providers.organization(request), at=at)
    address = providers.address("statements")
    counted = gettext("estimated at %(at)s") % {"at": f"{timezone.localtime(month.at):%H:%M}"}
    return [
        {
            "title": _("Your share, net"),
            "value": money(month.share_minor, month.currency),
            "unit": counted,
            "address": address,
        },
        {
            "title": _("Paid by buyers, net"),
            "value": money(month.net_minor, month.currency),
            "unit": counted,
            "address": address,
        },
    ]


# What begins and ends


def _soon(request: HttpRequest, at: datetime) -> list[Table]:
    rows = providers.rows(request, Reservation).select_related("pool", "organization")
    until_at = at + SOON
    begins = rows.filter(state=Reservation.State.CONFIRMED, start_at__gte=at, start_at__lt=until_at)
    ends = rows.filter(state__in=("confirmed", "active"), end_at__gte=at, end_at__lt=until_at)
    return [
        _table(_("Begins in the next 72 hours"), begins.order_by("start_at", "pk"), "start_at"),
        _table(_("Ends in the next 72 hours"), ends.order_by("end_at", "pk"), "end_at"),
    ]


def _table(title: Any, rows: Any, moment: str) -> Table:
    cells = [
        [
            f"{timezone.localtime(getattr(row, moment)):%Y-%m-%d %H:%M}",
            link(providers.address("marketplace_reservation_change", row.pk), str(row.pk)[:8]),
            row.organization.name,
            row.pool.name,
            row.quantity,
        ]
        for row in rows[:MOST_ROWS]
    ]
    headers = [_("at"), _("reservation"), _("buyer"), _("pool"), _("GPUs")]
    return Table(title, headers, cells, numbers=(4,), moments=(0,))


# How full the pools are


def _charts(pools: Sequence[CapacityPool], at: datetime) -> list[dict[str, Any]]:
    zone = timezone.get_current_timezone()
    first = timezone.localdate(at) - timedelta(days=DAYS)
    start_at = datetime.combine(first, time.min, zone)
    end_at = datetime.combine(first + timedelta(days=2 * DAYS), time.min, zone)
    found = utilisation.by_hour(pools=pools, start_at=start_at, end_at=end_at)
    return [_chart(pool, found[pool.pk], at) for pool in pools]


_OPTIONS = {
    "maintainAspectRatio": False,
    "animation": False,
    "interaction": {"mode": "index", "intersect": False},
    "elements": {"point": {"radius": 0}},
    "scales": {
        "x": {"grid": {"display": False}, "ticks": {"maxTicksLimit": 14, "maxRotation": 0}},
        "y": {"beginAtZero": True, "ticks": {"precision": 0}},
    },
}


def _chart(pool: CapacityPool, hours: Sequence[Hour], at: datetime) -> dict[str, Any]:
    """Lines by hour for Chart.js, and sums by day as a table for those who don't see it. Used: only of what is over."""
    lines: tuple[tuple[Any, list[Any], str, dict[str, Any]], ...] = (
        (_("capacity"), [hour.capacity for hour in hours], "var(--color-base-400)", {"borderDash": [4, 4]}),
        (_("taken"), [hour.taken for hour in hours], "var(--color-primary-600)", {}),
        (
            _("used"),
            [_one_decimal(hour.used) if hour.start_at <= at else None for hour in hours],
            "#d97706",
            {"borderWidth": 1.5},
        ),
    )
    datasets = [
        {"label": str(label), "data": data, "borderColor": colour, "borderWidth": 2, "stepped": True, **rest}
        for label, data, colour, rest in lines
    ]
    labels = [f"{timezone.localtime(hour.start_at):%m-%d %H:%M}" for hour in hours]
    return {
        "title": gettext("%(site)s · %(pool)s: GPUs by hour") % {"site": pool.site.name, "pool": pool.name},
        "note": gettext("The last 7 days and the next 7. Taken counts maintenance; used is what the meters measured."),
        "address": providers.address("capacity_hours", pool=pool.pk),
        "data": json.dumps({"labels": labels, "datasets": datasets}),
        "options": json.dumps(_OPTIONS),
        "headers": [_("GPU-hours there"), _("taken"), _("used"), _("taken, %")],
        "rows": _by_day(hours),
    }


def _one_decimal(value: Fraction) -> str:
    tenths = int(value * 10 + value.__class__(1, 2))
    return f"{tenths // 10}.{tenths % 10}"


def _by_day(hours: Sequence[Hour]) -> list[tuple[date, list[str]]]:
    days: dict[date, list[Hour]] = {}
    for hour in hours:
        days.setdefault(timezone.localdate(hour.start_at), []).append(hour)
    return [
        (
            day,
            [
                figures.number(sum(hour.capacity for hour in found)),
                figures.number(sum(hour.taken for hour in found)),
                figures.number(_one_decimal(sum((hour.used for hour in found), start=found[0].used * 0)), 1),
                _percent(sum(hour.taken for hour in found), sum(hour.capacity for hour in found)),
            ],
        )
        for day, found in days.items()
    ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else "–"
