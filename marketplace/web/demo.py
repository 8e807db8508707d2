"""The demo's pages: what there is to see without signing in. They exist with DEMO=1 only, on this machine only."""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from billing import calendars
from billing.documents.figures import figure, hours
from billing.documents.files import file_name
from billing.documents.invoice import render_invoice
from billing.exports import register
from billing.models import BillingPeriod, Invoice, Party
from billing.rating.calendar import day_kind
from marketplace import demo, demo_people
from marketplace.models import User, Zone
from marketplace.web.downloads import TYPES, exported

_CHART_HEIGHT = 120
_BAR_WIDTH = 20


def is_shown(request: HttpRequest) -> bool:
    """Whether this request may see the demo: the setting is on, and it comes from this machine."""
    return settings.DEMO and ip_address(request.META["REMOTE_ADDR"]).is_loopback


def _demo_only(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    @wraps(view)
    def guarded(request: HttpRequest, **parts: str) -> HttpResponseBase:
        if not is_shown(request):
            raise Http404
        return view(request, **parts)

    return guarded


def overview() -> dict[str, Any]:
    """What marketplace/_invoices.html shows: zone, sellers, the month's invoices and its use by day. Empty without a demo."""
    zone = Zone.objects.select_related("issuer__party").exclude(made_from="").first()
    if zone is None:
        return {}
    period = zone.issuer.billing_periods.order_by("start_at").last()
    if period is None:
        return {}
    rows = demo.summary(period=period)
    providers = zone.organizations.filter(is_provider=True).select_related("party").order_by("id")
    is_chinese = get_language() == "zh-hans"
    return {
        "zone": zone.name if is_chinese else zone.name_en,
        "issuer": _name(zone.issuer.party, is_chinese),
        "providers": [_name(each.party, is_chinese) for each in providers],
        "period": period,
        "currency": zone.issuer.currency,
        "formats": list(TYPES),
        "invoices": [
            {
                "number": row.number,
                "account": row.account,
                "buyer": row.name if is_chinese else row.name_en,
                **_figures([row], zone.issuer.currency),
            }
            for row in rows
        ],
        "people": _people(is_chinese),
        "sums": _figures(rows, zone.issuer.currency),
        "has_subsidies": any(row.subsidy_minor for row in rows),
        "chart": _chart(period),
    }


@require_safe
@_demo_only
def invoice(_request: HttpRequest, number: str) -> HttpResponse:
    """The invoice as PDF, in the language of the page."""
    found = get_object_or_404(_invoices(), number=number)
    language: Final = "zh-hans" if get_language() == "zh-hans" else "en"
    pdf = render_invoice(snapshot=found.snapshot or "", language=language)
    name = file_name(number=number, language=language)
    headers = {"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "private, no-store"}
    return HttpResponse(pdf, content_type="application/pdf", headers=headers)


@require_safe
@_demo_only
def export(_request: HttpRequest, period: str, form: str) -> HttpResponseBase:
    """The month's invoices as export_invoices writes them."""
    documents = _invoices().filter(period__code=period)
    if not documents.exists():
        raise Http404
    return exported(partial(register.write, documents=documents), form, f"invoices-{period}")


def _invoices() -> QuerySet[Invoice]:
    """The demo's own: a real zone's are not shown, whatever the setting says."""
    return Invoice.objects.filter(state=Invoice.State.ISSUED, issuer__zone__made_from__gt="").order_by("number")


def _name(party: Party, is_chinese: bool) -> str:  # noqa: FBT001  - private
    return party.legal_name if is_chinese else party.legal_name_en or party.legal_name


def _people(is_chinese: bool) -> list[dict[str, str]]:  # noqa: FBT001  - private
    """Who can sign in: the address and, but for staff, the firm. Their passwords were told by the command. One query."""
    firm = "memberships__organization__party__legal_name"
    rows = User.objects.filter(email__in=demo_people.emails()).order_by("email").values("email", firm, f"{firm}_en")
    return [
        {"email": row["email"], "firm": (row[firm] if is_chinese else row[f"{firm}_en"] or row[firm]) or ""}
        for row in rows
    ]


def _figures(rows: Sequence[demo.Row], currency: str) -> dict[str, str]:
    """The sums of some rows."""
    return {"gpu_hours": hours(sum(row.gpu_seconds for row in rows))} | {
        name: figure(sum(getattr(row, f"{name}_minor") for row in rows), currency)
        for name in ("net", "tax", "gross", "subsidy", "payable")
    }


def _chart(period: BillingPeriod) -> dict[str, Any]:
    """A bar for each day: places and lengths in the units of the drawing."""
    days = demo.daily(period=period)
    greatest = max((seconds for _, seconds in days), default=0)
    bars = []
    for place, (day, seconds) in enumerate(days):
        height = seconds * _CHART_HEIGHT // greatest if greatest else 0
        kind = day_kind(day, calendars.by_code()["CN"])
        bars.append(
            {
                "day": day,
                "kind": kind,
                "x": place * _BAR_WIDTH,
                "middle": place * _BAR_WIDTH + _BAR_WIDTH // 2 - 2,
                "y": _CHART_HEIGHT - height,
                "height": height,
                "gpu_hours": hours(seconds, places=0),
            }
        )
    return {"bars": bars, "width": len(bars) * _BAR_WIDTH, "height": _CHART_HEIGHT, "foot": _CHART_HEIGHT + 18}
