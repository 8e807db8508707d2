"""What lists can be narrowed by. What can't be read is refused; an id that is another's finds nothing, as one of nobody's does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.db import models
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from billing.models import Claim, Contract, Dispute, Invoice, PartyFact
from marketplace.api.reading import expected_instant, read_instant
from marketplace.models import (
    AcceleratorModel,
    ApiKey,
    CapacityPool,
    Incident,
    Invitation,
    JoinRequest,
    Maintenance,
    Membership,
    Offering,
    ProvisioningTask,
    Quote,
    Reservation,
    WaitlistEntry,
)
from marketplace.models.accelerator import PRECISIONS

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

MOST_ID = 2**63 - 1


class _InstantField(forms.CharField):
    def to_python(self, value: Any) -> datetime | None:  # type: ignore[override]
        text = super().to_python(value)
        if not text:
            return None
        at = read_instant(text)
        if at is None:
            raise forms.ValidationError(expected_instant())
        return at


@extend_schema_field(OpenApiTypes.DATETIME)
class InstantFilter(filters.Filter):
    field_class = _InstantField


@extend_schema_field(OpenApiTypes.INT64)
class IdFilter(filters.Filter):
    """Of a row's id, without a look at whether there is one."""

    field_class = forms.IntegerField

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, min_value=1, max_value=MOST_ID, **options)


class Filters(filters.FilterSet):
    FILTER_DEFAULTS: ClassVar = {
        **filters.FilterSet.FILTER_DEFAULTS,
        models.DateTimeField: {"filter_class": InstantFilter},
    }


class Backend(filters.DjangoFilterBackend):
    filterset_base = Filters


class AcceleratorFilters(Filters):
    precision = filters.ChoiceFilter(
        choices=[(each, each) for each in PRECISIONS], method="known", label="Those whose peak at it is known."
    )

    class Meta:
        model = AcceleratorModel
        fields: ClassVar = {
            "vendor": ["exact"],
            "memory_gb": ["gte", "lte"],
            "sold_in_china": ["exact"],
            "form_factor": ["exact"],
            **{f"{each}_tflops": ["gte"] for each in PRECISIONS},
        }

    def known(self, rows: QuerySet[AcceleratorModel], _name: str, precision: str) -> QuerySet[AcceleratorModel]:
        return rows.filter(**{f"{precision}_tflops__isnull": False})


class QuoteFilters(Filters):
    offering = filters.CharFilter("offering__code")
    project = filters.CharFilter("project__code")

    class Meta:
        model = Quote
        fields: ClassVar = {"expires_at": ["gt"]}


class ReservationFilters(Filters):
    offering = filters.CharFilter("offering__code")
    pool = IdFilter("pool_id")

    class Meta:
        model = Reservation
        fields: ClassVar = {"state": ["exact"], "start_at": ["gte", "lt"], "end_at": ["gt", "lte"]}


class WaitlistFilters(Filters):
    offering = filters.CharFilter("offering__code")

    class Meta:
        model = WaitlistEntry
        fields: ClassVar = {"state": ["exact"]}


class PoolFilters(Filters):
    site = filters.CharFilter("site__code")
    accelerator = filters.CharFilter("accelerator__slug")

    class Meta:
        model = CapacityPool
        fields: ClassVar = {"code": ["exact"]}


class MaintenanceFilters(Filters):
    pool = IdFilter("pool_id")

    class Meta:
        model = Maintenance
        fields: ClassVar = {"state": ["exact"], "end_at": ["gt"]}


class IncidentFilters(Filters):
    pool = IdFilter("pool_id")
    is_open = filters.BooleanFilter("closed_at", lookup_expr="isnull")

    class Meta:
        model = Incident
        fields: ClassVar = {"kind": ["exact"]}


class TaskFilters(Filters):
    reservation = filters.UUIDFilter("reservation_id")

    class Meta:
        model = ProvisioningTask
        fields: ClassVar = {"state": ["exact"], "kind": ["exact"], "due_at": ["lt"]}


class OfferingFilters(Filters):
    pool = IdFilter("pool_id")

    class Meta:
        model = Offering
        fields: ClassVar = {"state": ["exact"]}


class MemberFilters(Filters):
    class Meta:
        model = Membership
        fields: ClassVar = {"role": ["exact"]}


class InvitationFilters(Filters):
    is_open = filters.BooleanFilter(method="not_ended", label="Neither accepted nor revoked; it may have expired.")

    class Meta:
        model = Invitation
        fields: ClassVar = {"email": ["exact"], "role": ["exact"]}

    def not_ended(self, rows: QuerySet[Invitation], _name: str, is_open: bool) -> QuerySet[Invitation]:  # noqa: FBT001
        ended = models.Q(accepted_at__isnull=False) | models.Q(revoked_at__isnull=False)
        return rows.filter(~ended if is_open else ended)


class JoinRequestFilters(Filters):
    class Meta:
        model = JoinRequest
        fields: ClassVar = {"state": ["exact"]}


class FactFilters(Filters):
    is_verified = filters.BooleanFilter("verified_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = PartyFact
        fields: ClassVar = {"kind": ["exact"]}


class KeyFilters(Filters):
    is_revoked = filters.BooleanFilter("revoked_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = ApiKey
        fields: ClassVar = {"expires_at": ["lt"]}


class ContractFilters(Filters):
    account = filters.CharFilter("account__code")
    tariff = filters.CharFilter("tariff__code")

    class Meta:
        model = Contract
        fields: ClassVar = {"start_at": ["lt"], "end_at": ["gt"]}


class DisputeFilters(Filters):
    invoice = filters.CharFilter("line__invoice__number", label="Of the document of that number.")

    class Meta:
        model = Dispute
        fields: ClassVar = {"state": ["exact"]}


class ClaimFilters(Filters):
    programme = filters.CharFilter("programme__code")

    class Meta:
        model = Claim
        fields: ClassVar = {"state": ["exact"]}


class InvoiceFilters(Filters):
    account = filters.CharFilter("account__code")
    month = filters.CharFilter("period__code", label="Such as 2026-05.")

    class Meta:
        model = Invoice
        fields: ClassVar = {"kind": ["exact"], "issued_at": ["gte", "lt"]}
