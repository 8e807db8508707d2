"""How reservations are made to run, for staff: what was asked of backends, what people are to do by hand, whether access was
handed over and shown. To look at: the controller, providers and buyers write it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from marketplace.admin.base import Labelled, StaffAdmin, column
from marketplace.admin.provider.tasks import STATES as TASK_STATES
from marketplace.admin.site import staff
from marketplace.models import Credential, Provision, ProvisioningTask

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

PROVIDER = "reservation__pool__site__provider"
SEEN = {"running": "success", "suspended": "warning"}


class OfReservation(StaffAdmin):
    """Rows of a reservation, with its two sides."""

    list_select_related = ("reservation__organization", PROVIDER)
    search_fields = ("reservation__id", "reservation__organization__name", f"{PROVIDER}__name")

    @column(_("reservation"), order="reservation")
    def short(self, row: Any) -> str:
        return str(row.reservation_id)[:8]

    @column(_("buyer"), order="reservation__organization__name")
    def buyer(self, row: Any) -> str:
        return str(row.reservation.organization.name)

    @column(_("provider"), order=f"{PROVIDER}__name")
    def provider(self, row: Any) -> str:
        return str(row.reservation.pool.site.provider.name)


@admin.register(Provision, site=staff)
class ProvisionAdmin(OfReservation):
    list_display = (
        "short",
        "buyer",
        "provider",
        "asked",
        "sight",
        "due_at",
        "running_at",
        "over_at",
        "failures",
        "error",
    )
    list_filter = (
        "asked",
        "seen",
        ("over_at", admin.EmptyFieldListFilter),
        (PROVIDER, admin.RelatedOnlyFieldListFilter),
    )
    date_hierarchy = "due_at"
    ordering = ("-due_at", "-pk")
    fields = (
        "reservation",
        ("buyer", "provider"),
        ("asked", "asked_at", "taken_at"),
        ("sight", "seen_at"),
        ("due_at", "running_at", "over_at"),
        ("failures", "error"),
    )
    readonly_fields = ("buyer", "provider", "sight")

    @column(_("seen"), order="seen", label=SEEN)
    def sight(self, provision: Provision) -> Labelled:
        return Labelled(provision.seen, provision.get_seen_display())


@admin.register(ProvisioningTask, site=staff)
class TaskAdmin(OfReservation):
    list_display = ("short", "kind", "buyer", "provider", "due_at", "status", "ended_at", "ended_by")
    list_filter = ("state", "kind", (PROVIDER, admin.RelatedOnlyFieldListFilter))
    date_hierarchy = "due_at"
    ordering = ("-due_at", "-pk")
    fields = (
        ("kind", "status"),
        "reservation",
        ("buyer", "provider"),
        ("due_at", "created_at"),
        ("ended_at", "ended_by"),
        "note",
    )
    readonly_fields = ("buyer", "provider", "status")

    @column(_("state"), order="state", label=TASK_STATES)
    def status(self, task: ProvisioningTask) -> Labelled:
        return Labelled(task.state, task.get_state_display())


@admin.register(Credential, site=staff)
class CredentialAdmin(OfReservation):
    """When access was handed over and shown, and to whom. What it is is not even read from the database."""

    list_display = ("short", "buyer", "provider", "handed_at", "handed_by", "shown_at", "shown_to", "erased_at")
    list_filter = (("shown_at", admin.EmptyFieldListFilter), (PROVIDER, admin.RelatedOnlyFieldListFilter))
    date_hierarchy = "handed_at"
    ordering = ("-handed_at", "-pk")
    fields = (
        "reservation",
        ("buyer", "provider"),
        ("handed_at", "handed_by"),
        ("shown_at", "shown_to"),
        "erased_at",
    )
    readonly_fields = ("buyer", "provider")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Credential]:
        rows: QuerySet[Credential] = super().get_queryset(request)
        return rows.defer("sealed")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Nor may an address ask what it begins with."""
        assert request is not None
        return lookup.partition("__")[0] != "sealed" and super().lookup_allowed(lookup, value, request)
