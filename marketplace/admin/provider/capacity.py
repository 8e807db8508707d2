"""A provider's sites and pools, what is planned for them and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldBooleanWidget  # type: ignore[import-untyped]

from marketplace import capacity, catalog
from marketplace.admin.base import Labelled, ProviderAdmin, ProviderInline, VerbForm, actor, button, column
from marketplace.admin.page import asked, confirmed, hour_field, link, text_field
from marketplace.admin.site import providers
from marketplace.hours import InvalidHoursError
from marketplace.models import CapacityPool, Incident, Maintenance, Offering, Site
from marketplace.refusals import for_people
from marketplace.terms import InvalidFactError

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse

REFUSALS = (InvalidHoursError, capacity.InvalidQuantityError, capacity.TakenError, capacity.MaintenanceOverError)
SITE_REFUSALS = (InvalidFactError, catalog.NotProviderError, catalog.CodeTakenError)


# Sites


class SiteForm(VerbForm):
    refusals = SITE_REFUSALS

    class Meta:
        model = Site
        fields = ("code", "name", "name_en", "region", "address")

    def tell(self, facts: dict[str, Any]) -> Model:
        return catalog.add_site(provider=providers.organization(self.request), **facts, actor=actor(self.request))


class ChangedSiteForm(VerbForm):
    refusals = SITE_REFUSALS

    class Meta:
        model = Site
        fields = ("name", "name_en", "region", "address")

    def tell(self, facts: dict[str, Any]) -> Model:
        return catalog.change_site(site=self.row, changes=facts, actor=actor(self.request))


class PoolInline(ProviderInline):
    model = CapacityPool
    fields = ("code", "name", "accelerator", "gpus")
    ordering = ("code",)
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[CapacityPool]:
        return super().get_queryset(request).select_related("accelerator")


@admin.register(Site, site=providers)
class SiteAdmin(ProviderAdmin):
    add_form, change_form = SiteForm, ChangedSiteForm
    list_display = ("code", "name", "name_en", "region", "pools")
    search_fields = ("code", "name", "name_en", "region", "address")
    list_filter = ("region",)
    ordering = ("code",)
    fields = ("code", "name", "name_en", "region", "address")
    inlines = (PoolInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Site]:
        rows: QuerySet[Site] = super().get_queryset(request).annotate(pool_count=Count("pools"))
        return rows

    @column(_("pools"), order="pool_count")
    def pools(self, site: Any) -> int:
        return int(site.pool_count)


# Pools


class ChangedPoolForm(VerbForm):
    refusals = SITE_REFUSALS

    class Meta:
        model = CapacityPool
        fields = ("name", "name_en", "interconnect", "notice_hours")

    def tell(self, facts: dict[str, Any]) -> Model:
        return catalog.change_pool(pool=self.row, changes=facts, actor=actor(self.request))


class PoolForm(VerbForm):
    refusals = SITE_REFUSALS

    class Meta:
        model = CapacityPool
        fields = (
            "site",
            "accelerator",
            "code",
            "name",
            "name_en",
            "interconnect",
            "gpus",
            "gpus_per_node",
            "backend",
            "notice_hours",
        )

    def tell(self, facts: dict[str, Any]) -> Model:
        return catalog.add_pool(**facts, actor=actor(self.request))


class CapacityForm(forms.Form):
    gpus = forms.IntegerField(label=_("GPUs"), min_value=0, max_value=1_000_000, widget=UnfoldAdminIntegerFieldWidget)
    from_at = hour_field(_("from"), _("A whole hour that is not over."))
    cause = text_field(_("cause"))


class DrainForm(forms.Form):
    from_at = hour_field(_("from"), _("From then on nothing more can be reserved. What is reserved stays."))


class OfferingInline(ProviderInline):
    model = Offering
    fields = ("code", "name", "tariff", "state")
    ordering = ("code",)
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Offering]:
        return super().get_queryset(request).select_related("tariff")


@admin.register(CapacityPool, site=providers)
class PoolAdmin(ProviderAdmin):
    add_form, change_form = PoolForm, ChangedPoolForm
    list_display = ("code", "name", "site", "accelerator", "gpus", "drains", "hours")
    list_display_links = ("code", "name")
    list_select_related = ("site", "accelerator")
    list_filter = ("site", "accelerator")
    search_fields = ("code", "name", "name_en", "site__name", "accelerator__name")
    ordering = ("site__code", "code")
    fields = (
        ("site", "accelerator"),
        ("code", "backend"),
        ("name", "name_en"),
        "interconnect",
        ("gpus", "gpus_per_node"),
        ("notice_hours", "drains_at"),
    )
    inlines = (OfferingInline,)
    actions_detail = ("set_capacity", "drain", "undrain")

    @column(_("drains from"), order="drains_at")
    def drains(self, pool: CapacityPool) -> Any:
        return pool.drains_at

    @column(_("by hour"))
    def hours(self, pool: CapacityPool) -> str:
        return link(providers.address("capacity_hours", pool=pool.pk), _("Show"))

    @button(_("Change the capacity"), path="capacity", icon="dns", supply=True)
    def set_capacity(self, request: HttpRequest, object_id: str) -> HttpResponse:
        pool: CapacityPool = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            incident = capacity.set_capacity(pool=pool, **facts, at=timezone.now(), actor=actor(request))
            self.log_change(request, pool, f"{facts['gpus']} GPUs from {facts['from_at'].isoformat()}")
            if incident is None:
                messages.success(request, gettext("The capacity is changed."))
            else:
                said = gettext("The capacity is changed. More is reserved than is there then: an incident is open.")
                messages.warning(request, said)

        intro = gettext(
            "%(pool)s has %(gpus)d GPUs now. What is reserved beyond what is there is named by an incident."
        )
        return asked(
            request,
            title=_("Change the capacity"),
            intro=intro % {"pool": pool.name, "gpus": pool.gpus},
            form=CapacityForm(request.POST or None, initial={"gpus": pool.gpus}),
            answer=_("Change the capacity"),
            back=providers.address("marketplace_capacitypool_change", pool.pk),
            act=act,
            refusals=REFUSALS,
            site=providers,
        )

    @button(_("Drain"), path="drain", icon="water_drop", supply=True)
    def drain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        pool: CapacityPool = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            capacity.drain(pool=pool, **facts, at=timezone.now(), actor=actor(request))
            self.log_change(request, pool, f"drains from {facts['from_at'].isoformat()}")
            messages.success(request, gettext("The pool drains."))

        return asked(
            request,
            title=_("Drain the pool"),
            form=DrainForm(request.POST or None),
            answer=_("Drain"),
            back=providers.address("marketplace_capacitypool_change", pool.pk),
            act=act,
            refusals=REFUSALS,
            site=providers,
        )

    @button(_("End the drain"), path="undrain", icon="water_pump", supply=True)
    def undrain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        pool: CapacityPool = self.row(request, object_id)

        def act() -> None:
            capacity.undrain(pool=pool, at=timezone.now(), actor=actor(request))
            self.log_change(request, pool, "undrained")
            messages.success(request, gettext("The pool can be reserved again."))

        return confirmed(
            request,
            title=_("End the drain"),
            question=gettext("Let %(pool)s be reserved again?") % {"pool": pool.name},
            answer=_("End the drain"),
            back=providers.address("marketplace_capacitypool_change", pool.pk),
            act=act,
            obstacle="" if pool.drains_at else gettext("The pool does not drain."),
            site=providers,
        )


# Maintenance


class MaintenanceForm(VerbForm):
    refusals = REFUSALS
    start_at = hour_field(_("from"))
    end_at = hour_field(_("until"))
    force = forms.BooleanField(
        label=_("Also where GPUs are reserved"),
        required=False,
        help_text=_("An incident then names the hours in which more is reserved than is there."),
        widget=UnfoldBooleanWidget,
    )

    class Meta:
        model = Maintenance
        fields = ("pool", "quantity", "start_at", "end_at", "reason")

    def tell(self, facts: dict[str, Any]) -> Model:
        return capacity.plan_maintenance(**facts, at=timezone.now(), actor=actor(self.request))


MAINTENANCE_STATES = {"planned": "info", "done": "success", "cancelled": "warning"}


@admin.register(Maintenance, site=providers)
class MaintenanceAdmin(ProviderAdmin):
    add_form = MaintenanceForm
    list_display = ("reason", "pool", "quantity", "start_at", "end_at", "status")
    list_select_related = ("pool",)
    list_filter = ("state", "pool")
    search_fields = ("reason", "pool__code", "pool__name")
    date_hierarchy = "start_at"
    ordering = ("-start_at", "-pk")
    fields = ("pool", "quantity", ("start_at", "end_at"), "reason", "status", ("created_at", "planned_by"))
    readonly_fields = ("status", "planned_by")
    actions_detail = ("cancel", "finish")

    @column(_("state"), order="state", label=MAINTENANCE_STATES)
    def status(self, row: Maintenance) -> Labelled:
        return Labelled(row.state, row.get_state_display())

    @column(_("planned by"))
    def planned_by(self, row: Maintenance) -> str:
        return row.actor

    @button(_("Cancel the maintenance"), path="cancel", icon="event_busy", supply=True)
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ended(request, object_id, capacity.cancel_maintenance, _("Cancel the maintenance"))

    @button(_("Maintenance is done"), path="finish", icon="event_available", supply=True)
    def finish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ended(request, object_id, capacity.finish_maintenance, _("Maintenance is done"))

    def _ended(self, request: HttpRequest, object_id: str, verb: Any, title: Any) -> HttpResponse:
        row: Maintenance = self.row(request, object_id)

        def act() -> None:
            try:
                verb(maintenance=row, at=timezone.now(), actor=actor(request))
            except capacity.MaintenanceOverError as refusal:
                messages.error(request, for_people(refusal))
            else:
                self.log_change(request, row, verb.__name__)
                messages.success(request, gettext("The GPUs are free again."))

        return confirmed(
            request,
            title=title,
            question=gettext("%(reason)s: give back %(quantity)d GPUs of %(pool)s?")
            % {"reason": row.reason, "quantity": row.quantity, "pool": row.pool.name},
            answer=title,
            back=providers.address("marketplace_maintenance_change", row.pk),
            act=act,
            obstacle="" if row.state == Maintenance.State.PLANNED else gettext("It is over."),
            site=providers,
        )


# Incidents


class OutageForm(VerbForm):
    refusals = REFUSALS
    start_at = hour_field(_("from"))
    end_at = hour_field(_("until"), required=False)

    class Meta:
        model = Incident
        fields = ("pool", "quantity", "start_at", "end_at", "cause")

    def tell(self, facts: dict[str, Any]) -> Model:
        return capacity.open_outage(**facts, at=timezone.now(), actor=actor(self.request))


class OpenFilter(admin.SimpleListFilter):
    """All by default, since an incident that is over still counts for the service level."""

    title = _("open")
    parameter_name = "open"

    def lookups(self, _request: Any, _model_admin: Any) -> Any:
        return (("1", _("open")), ("0", _("closed")))

    def queryset(self, _request: Any, rows: Any) -> Any:
        closed = {"1": Q(closed_at__isnull=True), "0": Q(closed_at__isnull=False)}
        return rows.filter(closed.get(str(self.value()), Q()))


@admin.register(Incident, site=providers)
class IncidentAdmin(ProviderAdmin):
    add_form = OutageForm
    list_display = ("cause", "kind", "pool", "quantity", "start_at", "end_at", "opened_at", "closed_at")
    list_select_related = ("pool",)
    list_filter = (OpenFilter, "kind", "pool")
    search_fields = ("cause", "pool__code", "pool__name")
    date_hierarchy = "opened_at"
    ordering = ("-opened_at", "-pk")
    fields = ("pool", "kind", "quantity", ("start_at", "end_at"), "cause", ("opened_at", "closed_at"))
    actions_detail = ("close",)

    @button(_("Close the incident"), path="close", icon="task_alt", supply=True)
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Incident = self.row(request, object_id)

        def act() -> None:
            try:
                capacity.close_incident(incident=row, at=timezone.now(), actor=actor(request))
            except capacity.ShortfallStaysError as refusal:
                messages.error(request, for_people(refusal))
            else:
                self.log_change(request, row, "closed")
                messages.success(request, gettext("The incident is closed."))

        return confirmed(
            request,
            title=_("Close the incident"),
            question=gettext("Is %(cause)s of %(pool)s over?") % {"cause": row.cause, "pool": row.pool.name},
            answer=_("Close the incident"),
            back=providers.address("marketplace_incident_change", row.pk),
            act=act,
            obstacle=gettext("The incident is closed.") if row.closed_at else "",
            site=providers,
        )
