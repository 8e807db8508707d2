"""Two to four offerings side by side, and what the same window costs on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing import promises
from billing.documents import figures
from marketplace import access, capacity, search
from marketplace.comparison import MOST_COMPARED
from marketplace.hours import InvalidHoursError
from marketplace.models import Offering
from marketplace.permissions import Permission
from marketplace.terms import InvalidFactError
from marketplace.web import cards, heat, market, offerings, page, prices, times, wishes
from marketplace.web.times import HOUR, LocalHourField

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

    from marketplace.search import Compared
    from marketplace.subsidies import Subsidies

PROBLEMS = {
    "quantity": _("not this number of GPUs"),
    "hours": _("not this number of hours"),
    "lead": _("too soon for the provider"),
    "free": _("not free all of the time"),
    "price": _("no price for all of the hours yet"),
}


class Window(forms.Form):
    """The window that is priced on each of them."""

    quantity = forms.IntegerField(label=_("GPUs"), min_value=1, max_value=wishes.MOST)
    start = LocalHourField(label=_("Start"))
    hours = forms.IntegerField(label=_("Hours"), min_value=1, max_value=8_760)

    def __init__(self, *arguments: Any, timezone: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        field = self.fields["start"]
        assert isinstance(field, LocalHourField)
        field.timezone = timezone


@never_cache
@require_safe
def comparison(request: HttpRequest) -> HttpResponse:
    """The offerings that the address names, and the window that it gives, or one that suits them all."""
    chosen = _chosen(request)
    if not 2 <= len(chosen) <= MOST_COMPARED:
        messages.warning(request, gettext("Choose two to four offerings to compare."))
        return redirect("market")
    now, zone = timezone.now(), offerings.zone_of(chosen[0])
    form = _window(request, chosen, now, zone)
    columns: Sequence[Compared] = ()
    if form.is_valid():
        told = form.cleaned_data
        window = {"quantity": told["quantity"], "start_at": told["start"]}
        window["end_at"] = told["start"] + told["hours"] * HOUR
        try:
            columns = search.compare(offering_ids=[each.pk for each in chosen], at=now, **window)
        except (InvalidFactError, InvalidHoursError):
            form.add_error(None, gettext("This window can't be compared: one of them has no prices yet."))
    subsidies = _subsidies(request, chosen, form, columns)
    levels = heat.levels([price for each in columns for _d, _k, row in each.week for price in row])
    context = {
        "form": form,
        "chosen": chosen,
        "columns": [_column(each, form, levels, zone) | _after(each, form, subsidies) for each in columns],
        "is_subsidised": subsidies is not None,
        "rows": _rows(columns),
        "legend": heat.legend(levels, columns[0].currency) if columns else [],
        "timezone": zone,
        "span": times.span(window["start_at"], window["end_at"], zone) if columns else None,
        "may_reserve": market.may_reserve(request),
        "count": len(columns) + 1,
    }
    return render(request, "marketplace/compare.html", context)


def _chosen(request: HttpRequest) -> list[Offering]:
    """Those of the address that are on sale, in its order. Raises Http404 for one who may not look."""
    here = page.of(request)
    if Permission.SEE_ORGANIZATION not in here.permissions:
        raise Http404
    given = (code for code in request.GET.getlist("offering") if "\0" not in code)
    codes = list(dict.fromkeys(given))[: MOST_COMPARED + 1]
    rows = access.offerings_for(request.user, within=here.organization).filter(
        state=Offering.State.PUBLISHED, code__in=codes
    )
    rows = rows.select_related("pool__site__provider__zone__issuer")
    if here.organization is not None:
        rows = rows.annotate(is_granted=promises.has_grant(here.organization.party_id))
    known = {row.code: row for row in rows}
    return [known[code] for code in codes if code in known]


def _window(request: HttpRequest, chosen: Sequence[Offering], now: datetime, zone: str) -> Window:
    """As the address says it; what is missing is filled in with what suits all of them, if anything does."""
    lead = max(each.lead_hours for each in chosen)
    start = wishes.initial(capacity.next_hour(now + lead * HOUR), zone)
    data = {
        "quantity": str(max(each.min_quantity for each in chosen)),
        "start_date": start.date().isoformat(),
        "start_hour": str(start.hour),
        "hours": str(max(24, *(each.min_hours for each in chosen))),
    }
    return Window(data | {name: request.GET[name] for name in data if request.GET.get(name)}, timezone=zone)


def _column(each: Compared, form: Window, levels: Any, zone: str) -> dict[str, Any]:
    told = form.cleaned_data
    quantity, start_at, hours = told["quantity"], told["start"], told["hours"]
    amount = None if each.price is None else prices.decimal_money(each.price, each.currency)
    per = None if each.price is None else prices.decimal_money(each.price / (quantity * hours), each.currency)
    start = start_at.astimezone(ZoneInfo(zone))
    return cards.card(each.offering) | {
        "price": amount,
        "per_hour": per,
        "problems": [PROBLEMS[name] for name in each.problems],
        "free": each.free,
        "week": heat.week(each.week, each.currency, levels),
        "address": wishes.address(each.offering, quantity, start_at, start_at + hours * HOUR, zone),
        "wish": {
            "quantity": quantity,
            "start_date": start.date().isoformat(),
            "start_hour": start.hour,
            "hours": hours,
        },
    }


def _subsidies(
    request: HttpRequest, chosen: Sequence[Offering], form: Window, columns: Sequence[Compared]
) -> Subsidies | None:
    organization = page.of(request).organization
    zone = chosen[0].pool.site.provider.zone
    is_granted = getattr(chosen[0], "is_granted", False)
    if organization is None or not columns or not is_granted or organization.zone_id != zone.pk:
        return None
    organization.zone = zone  # so that it is not asked for again
    start_at = form.cleaned_data["start"]
    return market.subsidies_of(organization, [(start_at, start_at + form.cleaned_data["hours"] * HOUR)])


def _after(each: Compared, form: Window, subsidies: Subsidies | None) -> dict[str, str]:
    if subsidies is None or each.price is None:
        return {}
    start_at = form.cleaned_data["start"]
    found = subsidies.of_window(
        price=each.price,
        currency=each.currency,
        provider_id=each.offering.pool.site.provider.party_id,
        start_at=start_at,
        end_at=start_at + form.cleaned_data["hours"] * HOUR,
    )
    return market.after(found, each.price, each.currency)


def _rows(columns: Sequence[Compared]) -> list[dict[str, Any]]:
    """The facts of the accelerators with their sources, and the terms; what none of them has is left out."""
    told = [cards.facts(each.offering.pool.accelerator) for each in columns]
    rows = [
        {"name": facts[0]["name"], "cells": facts, "differs": len({fact["value"] for fact in facts}) > 1}
        for facts in zip(*told, strict=True)
        if any(fact["value"] for fact in facts)
    ]
    for name, values in _terms(columns).items():
        cells = [{"value": value} for value in values]
        rows.append({"name": name, "cells": cells, "differs": len(set(values)) > 1})
    return rows


def _terms(columns: Sequence[Compared]) -> dict[str, list[str]]:
    rows = [each.offering for each in columns]
    return {
        gettext("GPUs sold"): [_range(row.min_quantity, row.max_quantity, row.step) for row in rows],
        gettext("Hours sold"): [f"{row.min_hours:,}–{row.max_hours:,}" for row in rows],
        gettext("Lead time"): [times.hours_text(row.lead_hours) for row in rows],
        gettext("Notice before it is taken back"): [times.hours_text(row.pool.notice_hours) for row in rows],
        gettext("Cancelling"): [_steps(row) for row in rows],
        gettext("Service level"): [
            f"{figures.number(row.service_level_percent)}%" if row.service_level_percent else "–" for row in rows
        ],
    }


def _range(least: int, most: int, step: int) -> str:
    text = f"{least:,}–{most:,}"
    return text if step == 1 else gettext("%(range)s in steps of %(step)s") % {"range": text, "step": step}


def _steps(row: Offering) -> str:
    steps = prices.steps({"cancellation_terms": row.cancellation_terms})
    return "\n".join(f"{step['when']}: {step['cost']}" for step in steps)
