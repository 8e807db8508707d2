"""What the API says and reads, as DRF serializers. Decimals and money are strings or whole minor units; times are UTC."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import Tariff, TariffVersion
from marketplace.api.reading import Instant
from marketplace.models import (
    AcceleratorModel,
    CapacityPool,
    Credential,
    Incident,
    Maintenance,
    Offering,
    Project,
    ProvisioningTask,
    Quote,
    Reservation,
    ReservationChange,
    Site,
    WaitlistEntry,
)


class RowShape(serializers.ModelSerializer[Any]):
    """Of a stored row; times in UTC."""

    serializer_field_mapping: ClassVar = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: Instant,
    }


class Amount(serializers.CharField):
    """A decimal in plain figures."""

    def to_representation(self, value: Any) -> str:
        return f"{value:f}"


class ProblemShape(serializers.Serializer[Any]):
    """RFC 9457 problem details; some kinds have members of their own."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    field = serializers.CharField(required=False, help_text="A header, a parameter or a place in the body.")


class AcceleratorShape(RowShape):
    class Meta:
        model = AcceleratorModel
        exclude = ["id"]


class SiteShape(RowShape):
    provider = serializers.CharField(source="provider.name", read_only=True)

    class Meta:
        model = Site
        fields = ["id", "provider", "code", "name", "name_en", "region", "address"]


class PoolShape(RowShape):
    site = serializers.CharField(source="site.code", read_only=True)
    accelerator = serializers.CharField(source="accelerator.slug", read_only=True)

    class Meta:
        model = CapacityPool
        fields = [
            "id",
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
            "drains_at",
        ]
        read_only_fields = fields


class TermShape(serializers.Serializer[Any]):
    """Who cancels at least `hours` before the start pays `percent` of what is cancelled."""

    hours = serializers.IntegerField(min_value=0)
    percent = serializers.CharField()


class OfferingShape(RowShape):
    provider = serializers.CharField(source="pool.site.provider.name", read_only=True)
    region = serializers.CharField(source="pool.site.region", read_only=True)
    site = serializers.CharField(source="pool.site.name", read_only=True)
    pool = serializers.IntegerField(source="pool_id", read_only=True)
    accelerator = serializers.CharField(source="pool.accelerator.slug", read_only=True)
    tariff = serializers.CharField(source="tariff.code", read_only=True)
    cancellation_terms = TermShape(many=True, read_only=True)

    class Meta:
        model = Offering
        fields = [
            "code",
            "name",
            "name_en",
            "description",
            "description_en",
            "provider",
            "region",
            "site",
            "pool",
            "accelerator",
            "tariff",
            "min_quantity",
            "max_quantity",
            "step",
            "min_hours",
            "max_hours",
            "lead_hours",
            "cancellation_terms",
            "service_level_percent",
            "service_credit_percent",
            "terms",
            "state",
            "state_reason",
            "state_at",
        ]
        read_only_fields = fields


class PartShape(serializers.Serializer[Any]):
    """A part of a price. `amount_minor` in minor units; the parts sum to the quote's net."""

    charge = serializers.CharField()
    kind = serializers.CharField()
    tou_period = serializers.CharField(allow_null=True)
    tier = serializers.IntegerField(allow_null=True)
    month = serializers.CharField()
    quantity = serializers.CharField()
    unit = serializers.CharField()
    unit_price = serializers.CharField(allow_null=True)
    amount_minor = serializers.IntegerField()
    why = serializers.JSONField()


class PromiseShape(serializers.Serializer[Any]):
    """What a programme promises of a month's net; `limited_by` says what makes it less than it wanted. A reimbursement is
    paid back to the buyer, who pays all at first. What is paid in the end is decided by the month's invoice. `lost_minor`: what
    was promised for hours next to these and is not paid then, since a line must lie in the programme's and the grant's window.
    """

    programme = serializers.CharField()
    name = serializers.CharField()
    mode = serializers.ChoiceField(["voucher", "reimbursement"])
    month = serializers.CharField()
    eligible_minor = serializers.IntegerField()
    wanted_minor = serializers.IntegerField()
    share_minor = serializers.IntegerField()
    limited_by = serializers.ChoiceField(["", "invoice_cap", "firm_cap", "budget", "stacking", "window"])
    lost_minor = serializers.IntegerField(default=0)


class QuoteShape(RowShape):
    """`payable_minor` is what the buyer pays: the gross less `subsidy_minor`, which programmes promise in its place."""

    offering = serializers.CharField(source="offering.code", read_only=True)
    project = serializers.CharField(source="project.code", read_only=True, allow_null=True, default=None)
    payable_minor = serializers.IntegerField(read_only=True)
    shares = PromiseShape(many=True, read_only=True)
    parts = PartShape(many=True, read_only=True)

    class Meta:
        model = Quote
        fields = [
            "id",
            "offering",
            "project",
            "extends",
            "quantity",
            "start_at",
            "end_at",
            "currency",
            "net_minor",
            "tax_minor",
            "gross_minor",
            "subsidy_minor",
            "reimbursed_minor",
            "payable_minor",
            "shares",
            "parts",
            "terms",
            "created_at",
            "expires_at",
        ]
        read_only_fields = fields


class ReservationShape(RowShape):
    """Amounts are the buyer's: null for the provider, and for keys that neither reserve nor read bills."""

    offering = serializers.CharField(source="offering.code", read_only=True)
    buyer = serializers.CharField(source="organization.name", read_only=True)
    project = serializers.SerializerMethodField()
    contract = serializers.CharField(source="contract.number", read_only=True, allow_null=True, default=None)
    net_minor = serializers.SerializerMethodField()
    tax_minor = serializers.SerializerMethodField()
    gross_minor = serializers.SerializerMethodField()
    payable_minor = serializers.SerializerMethodField()

    class Meta:
        model = Reservation
        fields = [
            "id",
            "offering",
            "buyer",
            "project",
            "contract",
            "quantity",
            "start_at",
            "end_at",
            "state",
            "hold_expires_at",
            "currency",
            "net_minor",
            "tax_minor",
            "gross_minor",
            "payable_minor",
            "created_at",
            "confirmed_at",
            "started_at",
            "ended_at",
            "notice_ends_at",
        ]
        read_only_fields = fields

    def _mine(self, row: Reservation, name: str) -> int | None:
        shown: int | None = getattr(row, name) if self.context["view"].sees_prices_of(row) else None
        return shown

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_project(self, row: Reservation) -> str | None:
        is_buyer = row.organization_id == self.context["view"].organization.pk
        return row.project.code if is_buyer and row.project is not None else None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_net_minor(self, row: Reservation) -> int | None:
        return self._mine(row, "net_minor")

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_tax_minor(self, row: Reservation) -> int | None:
        return self._mine(row, "tax_minor")

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_gross_minor(self, row: Reservation) -> int | None:
        return self._mine(row, "gross_minor")

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_payable_minor(self, row: Reservation) -> int | None:
        """What was quoted for the buyer to pay, with tax, after what programmes promised."""
        return self._mine(row, "payable_minor")


class CancellationShape(serializers.Serializer[Any]):
    """Net, in minor units: what is charged, and what is not to be paid any more."""

    from_at = Instant()
    end_at = Instant()
    percent = Amount()
    cancelled_minor = serializers.IntegerField()
    fee_minor = serializers.IntegerField()
    returned_minor = serializers.IntegerField()
    why = serializers.ChoiceField(["held", "late", "notice", "incident", "terms"])


class ChangeShape(RowShape):
    """Without who: of the other side that is nobody's business."""

    class Meta:
        model = ReservationChange
        fields = ["kind", "at"]
        read_only_fields = fields


class ShownShape(serializers.Serializer[Any]):
    """Access, as its provider handed it over. It is gone now."""

    access = serializers.CharField()


class ProjectShape(RowShape):
    class Meta:
        model = Project
        fields = [
            "code",
            "name",
            "cost_centre",
            "monthly_limit_minor",
            "warn_percents",
            "is_hard",
            "archived_at",
            "created_at",
        ]
        read_only_fields = fields


class WarnedShape(serializers.Serializer[Any]):
    percent = serializers.IntegerField()
    limit_minor = serializers.IntegerField()


class SpendingShape(serializers.Serializer[Any]):
    """`spent_minor`: what is held, confirmed and used in the month, net. `warnings`: the thresholds that it has reached."""

    month = serializers.CharField()
    spent_minor = serializers.IntegerField()
    limit_minor = serializers.IntegerField(allow_null=True)
    warnings = WarnedShape(many=True)


class WaitlistShape(RowShape):
    offering = serializers.CharField(source="offering.code", read_only=True)
    project = serializers.CharField(source="project.code", read_only=True, allow_null=True, default=None)

    class Meta:
        model = WaitlistEntry
        fields = [
            "id",
            "offering",
            "project",
            "quantity",
            "hours",
            "earliest_at",
            "latest_at",
            "max_net_minor",
            "state",
            "reservation",
            "created_at",
        ]
        read_only_fields = fields


class MaintenanceShape(RowShape):
    class Meta:
        model = Maintenance
        fields = ["id", "pool", "quantity", "start_at", "end_at", "reason", "state", "created_at"]
        read_only_fields = fields


class IncidentShape(RowShape):
    class Meta:
        model = Incident
        fields = ["id", "pool", "kind", "quantity", "start_at", "end_at", "cause", "opened_at", "closed_at"]
        read_only_fields = fields


class TaskShape(RowShape):
    """What people are to do by hand for a reservation; `note` is their own."""

    buyer = serializers.CharField(source="reservation.organization.name", read_only=True)
    pool = serializers.IntegerField(source="reservation.pool_id", read_only=True)
    quantity = serializers.IntegerField(source="reservation.quantity", read_only=True)

    class Meta:
        model = ProvisioningTask
        fields = [
            "id",
            "reservation",
            "buyer",
            "pool",
            "quantity",
            "kind",
            "state",
            "due_at",
            "created_at",
            "ended_at",
            "note",
        ]
        read_only_fields = fields


class HandedShape(RowShape):
    """That access was handed over, and never what it is."""

    class Meta:
        model = Credential
        fields = ["reservation", "handed_at"]
        read_only_fields = fields


class TariffShape(RowShape):
    class Meta:
        model = Tariff
        fields = ["id", "code", "name", "name_en"]
        read_only_fields = fields


class TariffVersionShape(RowShape):
    tariff = serializers.CharField(source="tariff.code", read_only=True)

    class Meta:
        model = TariffVersion
        fields = ["tariff", "version", "effective_at", "document", "sha256", "published_at"]
        read_only_fields = fields


class CapacitySetShape(serializers.Serializer[Any]):
    """The pool, and the incident that the change opened or keeps open: hours with more reserved than is there."""

    pool = PoolShape()
    incident = IncidentShape(allow_null=True)


class HourShape(serializers.Serializer[Any]):
    start_at = Instant()
    free = serializers.IntegerField()
