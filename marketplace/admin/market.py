"""What providers have and offer, for staff: accelerators, sites, pools, incidents, and offerings to approve or refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from marketplace import catalog
from marketplace.admin.base import Labelled, StaffAdmin, StaffInline, actor, button, column
from marketplace.admin.page import ReasonForm, asked, confirmed, link
from marketplace.admin.provider.cancellation import terms_text
from marketplace.admin.provider.capacity import MAINTENANCE_STATES, OpenFilter
from marketplace.admin.provider.offerings import STATES, told_of
from marketplace.admin.site import staff
from marketplace.models import (
    AcceleratorModel,
    CapacityChange,
    CapacityPool,
    Incident,
    Maintenance,
    Offering,
    OfferingChange,
    Site,
)

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

PROVIDER = "pool__site__provider"


@admin.register(AcceleratorModel, site=staff)
class AcceleratorAdmin(StaffAdmin):
    """They ship with the product; each figure says where it is from."""

    list_display = ("name", "vendor", "form_factor", "memory_gb", "bf16_tflops", "fp8_tflops", "sold_in_china")
    list_filter = ("vendor", "sold_in_china", "form_factor")
    search_fields = ("slug", "vendor", "name", "name_zh")
    ordering = ("vendor", "name")
    exclude = ("sources",)
    readonly_fields = ("where_from",)

    @column(_("sources"))
    def where_from(self, model: AcceleratorModel) -> str:
        told = (
            (field, source.get("title", ""), source.get("publisher", ""), source.get("looked_up", ""))
            for field, source in sorted(model.sources.items())
        )
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {} · {} · {}</li>", told))


class PoolInline(StaffInline):
    model = CapacityPool
    fields = ("code", "name", "accelerator", "gpus", "drains_at")
    ordering = ("code",)
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[CapacityPool]:
        return super().get_queryset(request).select_related("accelerator")


@admin.register(Site, site=staff)
class SiteAdmin(StaffAdmin):
    list_display = ("name", "code", "provider", "region")
    list_select_related = ("provider",)
    list_filter = ("region", ("provider", admin.RelatedOnlyFieldListFilter))
    search_fields = ("code", "name", "name_en", "region", "provider__name")
    ordering = ("provider__name", "code")
    inlines = (PoolInline,)


class CapacityChangeInline(StaffInline):
    model = CapacityChange
    fields = ("from_at", "gpus", "cause", "at", "who")
    ordering = ("-from_at",)


@admin.register(CapacityPool, site=staff)
class PoolAdmin(StaffAdmin):
    list_display = ("name", "code", "provider", "site", "accelerator", "gpus", "drains_at", "hours")
    list_select_related = ("site__provider", "accelerator")
    list_filter = (
        ("site__provider", admin.RelatedOnlyFieldListFilter),
        ("accelerator", admin.RelatedOnlyFieldListFilter),
    )
    search_fields = ("code", "name", "name_en", "site__name", "site__provider__name")
    ordering = ("site__provider__name", "site__code", "code")
    readonly_fields = ("provider", "hours")
    inlines = (CapacityChangeInline,)

    @column(_("provider"), order="site__provider__name")
    def provider(self, pool: CapacityPool) -> str:
        return pool.site.provider.name

    @column(_("by hour"))
    def hours(self, pool: CapacityPool) -> str:
        return link(staff.address("capacity_hours", pool=pool.pk), _("Show"))


@admin.register(Maintenance, site=staff)
class MaintenanceAdmin(StaffAdmin):
    list_display = ("reason", "provider", "pool", "quantity", "start_at", "end_at", "status")
    list_select_related = (PROVIDER,)
    list_filter = ("state", (PROVIDER, admin.RelatedOnlyFieldListFilter))
    search_fields = ("reason", "pool__code", "pool__name", f"{PROVIDER}__name")
    date_hierarchy = "start_at"
    ordering = ("-start_at", "-pk")

    @column(_("provider"), order=f"{PROVIDER}__name")
    def provider(self, row: Maintenance) -> str:
        return row.pool.site.provider.name

    @column(_("state"), order="state", label=MAINTENANCE_STATES)
    def status(self, row: Maintenance) -> Labelled:
        return Labelled(row.state, row.get_state_display())


@admin.register(Incident, site=staff)
class IncidentAdmin(StaffAdmin):
    list_display = ("cause", "kind", "provider", "pool", "quantity", "start_at", "end_at", "opened_at", "closed_at")
    list_select_related = (PROVIDER,)
    list_filter = (OpenFilter, "kind", (PROVIDER, admin.RelatedOnlyFieldListFilter))
    search_fields = ("cause", "pool__code", "pool__name", f"{PROVIDER}__name")
    date_hierarchy = "opened_at"
    ordering = ("-opened_at", "-pk")

    @column(_("provider"), order=f"{PROVIDER}__name")
    def provider(self, row: Incident) -> str:
        return row.pool.site.provider.name


# Offerings


class ChangeInline(StaffInline):
    model = OfferingChange
    verbose_name_plural = _("history")
    fields = ("at", "from_state", "to_state", "reason", "who")
    ordering = ("-at", "-pk")


@admin.register(Offering, site=staff)
class OfferingAdmin(StaffAdmin):
    """Staff approve what providers submit, or give it back with a reason."""

    list_display = ("code", "name", "provider", "pool", "tariff", "max_quantity", "status", "state_at")
    list_display_links = ("code", "name")
    list_select_related = (PROVIDER, "tariff")
    list_filter = ("state", (PROVIDER, admin.RelatedOnlyFieldListFilter))
    search_fields = ("code", "name", "name_en", "pool__code", f"{PROVIDER}__name", "tariff__code")
    date_hierarchy = "state_at"
    ordering = ("-state_at", "code")
    fields = (
        ("code", "provider"),
        ("status", "state_at", "state_reason"),
        ("pool", "tariff"),
        ("name", "name_en"),
        ("description", "description_en"),
        ("min_quantity", "max_quantity", "step"),
        ("min_hours", "max_hours", "lead_hours"),
        "cancellation",
        ("service_level_percent", "service_credit_percent"),
        "terms",
        ("created_at", "who"),
    )
    readonly_fields = ("status", "provider", "cancellation")
    inlines = (ChangeInline,)
    actions_detail = ("approve", "refuse")

    @column(_("provider"), order=f"{PROVIDER}__name")
    def provider(self, offering: Offering) -> str:
        return offering.pool.site.provider.name

    @column(_("state"), order="state", label=STATES)
    def status(self, offering: Offering) -> Labelled:
        return Labelled(offering.state, offering.get_state_display())

    @column(_("cancellation terms"))
    def cancellation(self, offering: Offering) -> str:
        return terms_text(offering.cancellation_terms, "; ") or "–"

    @button(_("Approve"), path="approve", icon="check_circle")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        offering: Offering = self.row(request, object_id)

        def act() -> None:
            try:
                catalog.approve(offering=offering, at=timezone.now(), actor=actor(request))
            except catalog.NotReadyError as refusal:
                for problem in refusal.problems:
                    messages.error(request, told_of(problem, offering))
            except (catalog.OtherStateError, catalog.NotProviderError) as refusal:
                messages.error(request, str(refusal))
            else:
                self.log_change(request, offering, "approved")
                messages.success(request, gettext("The offering is on sale."))

        return confirmed(
            request,
            title=_("Approve the offering"),
            question=gettext("Put %(code)s of %(provider)s on sale?")
            % {"code": offering.code, "provider": offering.pool.site.provider.name},
            answer=_("Approve"),
            back=staff.address("marketplace_offering_change", offering.pk),
            act=act,
            obstacle=self._obstacle(offering),
        )

    @button(_("Refuse"), path="refuse", icon="cancel")
    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        offering: Offering = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            catalog.refuse(offering=offering, **facts, at=timezone.now(), actor=actor(request))
            self.log_change(request, offering, f"refused: {facts['reason']}")
            messages.success(request, gettext("The offering is a draft again."))

        return asked(
            request,
            title=_("Refuse the offering"),
            intro=gettext("%(code)s of %(provider)s becomes a draft again. The provider reads the reason.")
            % {"code": offering.code, "provider": offering.pool.site.provider.name},
            form=ReasonForm(request.POST or None),
            answer=_("Refuse"),
            back=staff.address("marketplace_offering_change", offering.pk),
            act=act,
            refusals=(catalog.InvalidFactError, catalog.OtherStateError),
            obstacle=self._obstacle(offering),
        )

    def _obstacle(self, offering: Offering) -> str:
        if offering.state == Offering.State.SUBMITTED:
            return ""
        return gettext("The offering is in the state “%(state)s”.") % {"state": offering.get_state_display()}
