"""Capacity by hour, for both sites: a week of one pool as a table of days and hours, shaded by how full it is."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from marketplace import utilisation
from marketplace.admin.page import Heat, HeatCell, choice_field, date_field
from marketplace.admin.site import providers, staff
from marketplace.models import CapacityPool

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from marketplace.admin.site import ProviderSite, StaffSite
    from marketplace.utilisation import Hour

DAYS = 7


class HoursForm(forms.Form):
    pool = choice_field(_("pool"))
    day = date_field(_("from"))

    def __init__(self, data: Any, pools: QuerySet[CapacityPool]) -> None:
        super().__init__(data)
        self.pools = {str(pool.pk): pool for pool in pools.select_related("site").order_by("site__code", "code")}
        choices = [(key, f"{pool.site.name} · {pool.name}") for key, pool in self.pools.items()]
        self.fields["pool"].choices = choices  # type: ignore[attr-defined]

    def pool_and_day(self) -> tuple[CapacityPool | None, date]:
        """What is asked for; else the first pool and today."""
        facts = self.cleaned_data if self.is_valid() else {}
        pool = self.pools.get(facts.get("pool") or next(iter(self.pools), ""))
        return pool, facts.get("day") or timezone.localdate()


@staff.page("capacity/hours/", "capacity_hours")
@require_safe
def of_all(request: HttpRequest) -> HttpResponse:
    return _shown(request, staff, CapacityPool.objects.all())


@providers.page("capacity/hours/", "capacity_hours")
@require_safe
def of_provider(request: HttpRequest) -> HttpResponse:
    return _shown(request, providers, providers.rows(request, CapacityPool))


def _shown(request: HttpRequest, site: StaffSite | ProviderSite, pools: QuerySet[CapacityPool]) -> HttpResponse:
    form = HoursForm(request.GET, pools)
    pool, first = form.pool_and_day()
    context: dict[str, Any] = {"form": form, "obstacle": "" if pool else gettext("There is no pool yet.")}
    if pool is not None and not form.errors:
        start_at = datetime.combine(first, time.min, timezone.get_current_timezone())
        end_at = start_at + timedelta(days=DAYS)
        context["heats"] = [_heat(pool, utilisation.by_hour(pools=[pool], start_at=start_at, end_at=end_at)[pool.pk])]
    return site.show(request, "admin/list.html", _("Capacity by hour"), context)


def _heat(pool: CapacityPool, hours: list[Hour]) -> Heat:
    days: dict[date, list[HeatCell]] = {}
    for hour in hours:
        local = timezone.localtime(hour.start_at)
        there = hour.capacity + hour.shortfall
        tone = 10 if hour.shortfall else 9 * hour.taken // there if there else 0
        title = gettext("%(at)s: %(taken)d of %(capacity)d GPUs taken") % {
            "at": f"{local:%Y-%m-%d %H:%M}",
            "taken": hour.taken,
            "capacity": hour.capacity,
        }
        days.setdefault(local.date(), []).append(HeatCell(str(hour.taken), tone, title))
    return Heat(
        title=f"{pool.site.name} · {pool.name}",
        note=gettext("GPUs taken in each hour, maintenance included, of %(gpus)d. Red: more is taken than is there.")
        % {"gpus": pool.gpus},
        headers=[f"{hour:02d}" for hour in range(24)],
        rows=[(f"{date_format(day, 'D')} {day:%m-%d}", cells) for day, cells in days.items()],
    )
