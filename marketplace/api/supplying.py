"""The provider's resources: sites, pools and their capacity, maintenance, incidents, offerings, tasks, access, tariffs.

Only one's own rows are here, in whatever state; what others have on sale is in `marketplace.api.market`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from billing.models import Tariff, TariffVersion
from marketplace import access, capacity, catalog, provisioning
from marketplace.api import asks, filters, shapes
from marketplace.api.base import Resource, described
from marketplace.models import (
    AcceleratorModel,
    CapacityPool,
    Incident,
    Maintenance,
    Offering,
    ProvisioningTask,
    Reservation,
    Site,
)
from marketplace.permissions import Permission
from marketplace.provisioning import credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.response import Response

    from marketplace.models import Credential, Organization


class Supplying(Resource):
    """What the key's organization has as a provider."""

    writes = Permission.SUPPLY
    reads = (Permission.SEE_USAGE, Permission.SUPPLY)
    provider: ClassVar[str]  # the way from the row to it

    def rows(self) -> QuerySet[Any]:
        if access.may(self.key, Permission.SUPPLY, self.organization):
            return access.supplied_for(self.model, self.key)
        return access.rows_for(self.model, self.key).filter(**{self.provider: self.organization})

    def pool(self, pk: int) -> CapacityPool:
        pool: CapacityPool = self.own(access.supplied_for(CapacityPool, self.key), pk=pk)
        return pool

    def tariff(self, code: str) -> Tariff:
        """Its own, or one of the operator's that it may see."""
        own = Q(owner=self.organization.party_id)
        operators = Q(owner__isnull=True, pk__in=access.tariffs_for(self.key).values("pk"))
        tariff: Tariff = self.own(Tariff.objects.filter(own | operators), code=code)
        return tariff


@extend_schema_view(
    list=described("Own sites", shape=shapes.SiteShape(many=True)),
    retrieve=described("A site", shape=shapes.SiteShape),
)
class Sites(ListModelMixin, RetrieveModelMixin, Supplying):
    model = Site
    provider = "provider"
    related = ("provider",)
    order = ("code",)
    serializer_class = shapes.SiteShape
    lookup_field = "code"
    lookup_value_converter = "slug"

    @described("Add a site", asks=asks.AskSite, shape=shapes.SiteShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002  - DRF's signature
        asked = self.read(asks.AskSite)

        def do(_at: datetime) -> Site:
            return catalog.add_site(provider=self.organization, actor=self.actor, **asked)

        return self.write(do, shape=shapes.SiteShape, status=201)

    @described("Change what is given", asks=asks.ChangeSite, shape=shapes.SiteShape, write=True)
    def partial_update(self, request: Request, code: str) -> Response:  # noqa: ARG002
        asked = self.read(asks.ChangeSite)

        def do(_at: datetime) -> Site:
            return catalog.change_site(site=self.own(self.get_queryset(), code=code), changes=asked, actor=self.actor)

        return self.write(do, shape=shapes.SiteShape)


@extend_schema_view(
    list=described("Own capacity pools", shape=shapes.PoolShape(many=True)),
    retrieve=described("A pool", shape=shapes.PoolShape),
)
class Pools(ListModelMixin, RetrieveModelMixin, Supplying):
    model = CapacityPool
    provider = "site__provider"
    related = ("site__provider", "accelerator")
    order = ("id",)
    serializer_class = shapes.PoolShape
    filterset_class = filters.PoolFilters
    lookup_value_converter = "int"

    @described("Add a pool at an own site", asks=asks.AskPool, shape=shapes.PoolShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskPool)

        def do(_at: datetime) -> CapacityPool:
            sites = access.supplied_for(Site, self.key).filter(provider=self.organization).select_related("provider")
            return catalog.add_pool(
                **asked
                | {
                    "site": self.own(sites, code=asked["site"]),
                    "accelerator": self.own(AcceleratorModel.objects.all(), slug=asked["accelerator"]),
                },
                actor=self.actor,
            )

        return self.write(do, shape=shapes.PoolShape, status=201)

    @described("Change what is given", asks=asks.ChangePool, shape=shapes.PoolShape, write=True)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        asked = self.read(asks.ChangePool)

        def do(_at: datetime) -> CapacityPool:
            return catalog.change_pool(pool=self.own(self.get_queryset(), pk=pk), changes=asked, actor=self.actor)

        return self.write(do, shape=shapes.PoolShape)

    @described(
        "Let it have so many GPUs from an hour on", asks=asks.AskCapacity, shape=shapes.CapacitySetShape, write=True
    )
    @action(detail=True, methods=["post"])
    def capacity(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskCapacity)

        def do(at: datetime) -> dict[str, Any]:
            pool = self.own(self.get_queryset(), pk=pk)
            incident = capacity.set_capacity(pool=pool, at=at, actor=self.actor, **asked)
            pool.refresh_from_db(fields=["gpus"])
            return {"pool": pool, "incident": incident}

        return self.write(do, shape=shapes.CapacitySetShape)

    @described("Sell nothing more of it from an hour on", asks=asks.AskFrom, shape=shapes.PoolShape, write=True)
    @action(detail=True, methods=["post"])
    def drain(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        from_at = self.read(asks.AskFrom)["from_at"]

        def do(at: datetime) -> CapacityPool:
            pool = self.own(self.get_queryset(), pk=pk)
            return capacity.drain(pool=pool, from_at=from_at, at=at, actor=self.actor)

        return self.write(do, shape=shapes.PoolShape)

    @described("Sell it again", shape=shapes.PoolShape, write=True)
    @action(detail=True, methods=["post"])
    def undrain(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        def do(at: datetime) -> CapacityPool:
            return capacity.undrain(pool=self.own(self.get_queryset(), pk=pk), at=at, actor=self.actor)

        return self.write(do, shape=shapes.PoolShape)

    @described("How many GPUs are free in each hour", shape=shapes.HourShape(many=True), parameters=[asks.AskHours])
    @action(detail=True, pagination_class=None, filter_backends=())
    def hours(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        pool, asked = self.own(self.get_queryset(), pk=pk), self.query(asks.AskHours)
        start_at = asked.get("from_at") or capacity.next_hour(timezone.now())
        end_at = start_at + asked["hours"] * capacity.HOUR
        free = capacity.free_by_hour(pools=[pool], start_at=start_at, end_at=end_at)[pool.pk]
        rows = [{"start_at": start_at + n * capacity.HOUR, "free": left} for n, left in enumerate(free)]
        return self.said(shapes.HourShape, rows, many=True)


@extend_schema_view(
    list=described("Maintenance windows of own pools", shape=shapes.MaintenanceShape(many=True)),
    retrieve=described("A maintenance window", shape=shapes.MaintenanceShape),
)
class Maintenances(ListModelMixin, RetrieveModelMixin, Supplying):
    model = Maintenance
    provider = "pool__site__provider"
    related = ("pool",)
    order = ("-start_at", "-id")
    serializer_class = shapes.MaintenanceShape
    filterset_class = filters.MaintenanceFilters
    lookup_value_converter = "int"

    @described("Plan maintenance", asks=asks.AskMaintenance, shape=shapes.MaintenanceShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskMaintenance)

        def do(at: datetime) -> Maintenance:
            facts = asked | {"pool": self.pool(asked["pool"])}
            return capacity.plan_maintenance(at=at, actor=self.actor, **facts)

        return self.write(do, shape=shapes.MaintenanceShape, status=201)

    def _end(self, pk: int, verb: Callable[..., Maintenance]) -> Response:
        def do(at: datetime) -> Maintenance:
            return verb(maintenance=self.own(self.get_queryset(), pk=pk), at=at, actor=self.actor)

        return self.write(do, shape=shapes.MaintenanceShape)

    @described("Give its hours back before it begins", shape=shapes.MaintenanceShape, write=True)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._end(pk, capacity.cancel_maintenance)

    @described("End it, and give back the hours that it no longer needs", shape=shapes.MaintenanceShape, write=True)
    @action(detail=True, methods=["post"])
    def finish(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._end(pk, capacity.finish_maintenance)


@extend_schema_view(
    list=described("Incidents of own pools, the newest first", shape=shapes.IncidentShape(many=True)),
    retrieve=described("An incident", shape=shapes.IncidentShape),
)
class Incidents(ListModelMixin, RetrieveModelMixin, Supplying):
    model = Incident
    provider = "pool__site__provider"
    related = ("pool",)
    order = ("-opened_at", "-id")
    serializer_class = shapes.IncidentShape
    filterset_class = filters.IncidentFilters
    lookup_value_converter = "int"

    @described(
        "Say that GPUs are out of order", asks=asks.AskOutage, shape=shapes.IncidentShape, status=201, write=True
    )
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskOutage)

        def do(at: datetime) -> Incident:
            return capacity.open_outage(at=at, actor=self.actor, **asked | {"pool": self.pool(asked["pool"])})

        return self.write(do, shape=shapes.IncidentShape, status=201)

    @described("End it", asks=asks.AskClose, shape=shapes.IncidentShape, write=True)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskClose)

        def do(at: datetime) -> Incident:
            incident = self.own(self.get_queryset(), pk=pk)
            return capacity.close_incident(incident=incident, at=at, actor=self.actor, **asked)

        return self.write(do, shape=shapes.IncidentShape)


@extend_schema_view(
    list=described("Own offerings in any state", shape=shapes.OfferingShape(many=True)),
    retrieve=described("An own offering", shape=shapes.OfferingShape),
)
class OwnOfferings(ListModelMixin, RetrieveModelMixin, Supplying):
    model = Offering
    provider = "pool__site__provider"
    related = ("pool__site__provider", "pool__accelerator", "tariff")
    order = ("code",)
    serializer_class = shapes.OfferingShape
    filterset_class = filters.OfferingFilters
    lookup_field = "code"
    lookup_value_converter = "slug"

    @described("Draft an offering", asks=asks.AskOffering, shape=shapes.OfferingShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskOffering)

        def do(at: datetime) -> Offering:
            facts = asked | {"pool": self.pool(asked["pool"]), "tariff": self.tariff(asked["tariff"])}
            return catalog.draft_offering(at=at, actor=self.actor, **facts)

        return self.write(do, shape=shapes.OfferingShape, status=201)

    @described(
        "Change what is given: of one on sale its texts alone",
        asks=asks.ChangeOffering,
        shape=shapes.OfferingShape,
        write=True,
    )
    def partial_update(self, request: Request, code: str) -> Response:  # noqa: ARG002
        asked = self.read(asks.ChangeOffering)

        def do(at: datetime) -> Offering:
            offering = self.own(self.get_queryset(), code=code)
            changes = asked | ({"tariff": self.tariff(asked["tariff"])} if "tariff" in asked else {})
            return catalog.change_offering(offering=offering, changes=changes, at=at, actor=self.actor)

        return self.write(do, shape=shapes.OfferingShape)

    def _move(self, code: str, verb: Callable[..., Offering], **facts: Any) -> Response:
        def do(at: datetime) -> Offering:
            return verb(offering=self.own(self.get_queryset(), code=code), at=at, actor=self.actor, **facts)

        return self.write(do, shape=shapes.OfferingShape)

    @described("Ask staff to approve a draft", shape=shapes.OfferingShape, write=True)
    @action(detail=True, methods=["post"])
    def submit(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self._move(code, catalog.submit)

    @described("Take back what was submitted: a draft again", shape=shapes.OfferingShape, write=True)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self._move(code, catalog.withdraw)

    @described("Take it off sale for a while", asks=asks.AskReason, shape=shapes.OfferingShape, write=True)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self._move(code, catalog.pause, **self.read(asks.AskReason))

    @described("Put it back on sale as it was approved", shape=shapes.OfferingShape, write=True)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self._move(code, catalog.resume)

    @described("Never sell it again", asks=asks.AskReason, shape=shapes.OfferingShape, write=True)
    @action(detail=True, methods=["post"])
    def retire(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self._move(code, catalog.retire, **self.read(asks.AskReason))


@extend_schema_view(
    list=described("What the own people are to do by hand", shape=shapes.TaskShape(many=True)),
    retrieve=described("A task", shape=shapes.TaskShape),
)
class Tasks(ListModelMixin, RetrieveModelMixin, Supplying):
    model = ProvisioningTask
    provider = "reservation__pool__site__provider"
    related = ("reservation__organization",)
    order = ("-due_at", "-id")
    serializer_class = shapes.TaskShape
    filterset_class = filters.TaskFilters
    lookup_value_converter = "int"

    @described("It is done", asks=asks.AskDone, shape=shapes.TaskShape, write=True)
    @action(detail=True, methods=["post"], url_path="tick-off")
    def tick_off(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        note = self.read(asks.AskDone)["note"]

        def do(at: datetime) -> ProvisioningTask:
            task = self.own(self.get_queryset(), pk=pk)
            return provisioning.tick_off(task=task, note=note, at=at, actor=self.actor)

        return self.write(do, shape=shapes.TaskShape)


class Supplied(Supplying):
    """Reservations of own pools; they are read where all reservations are."""

    model = Reservation
    provider = "pool__site__provider"
    serializer_class = shapes.ReservationShape
    lookup_value_converter = "uuid"

    @described(
        "Hand over access, in place of what was not shown yet; the buyer gets mail",
        asks=asks.AskAccess,
        shape=shapes.HandedShape,
        status=201,
        write=True,
    )
    @action(detail=True, methods=["post"])
    def access(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        """Done once: neither what is kept of the body, a hash, nor the answer has it in clear."""
        secret = self.read(asks.AskAccess)["access"]

        def do(at: datetime) -> Credential:
            row = self.own(access.supplied_for(Reservation, self.key), pk=pk)
            return credentials.hand_over(reservation=row, secret=secret, at=at, actor=self.actor)

        return self.write(do, shape=shapes.HandedShape, status=201)


@extend_schema_view(
    list=described("Own tariffs", shape=shapes.TariffShape(many=True)),
    retrieve=described("An own tariff", shape=shapes.TariffShape),
)
class Tariffs(ListModelMixin, RetrieveModelMixin, Supplying):
    model = Tariff
    order = ("id",)
    serializer_class = shapes.TariffShape
    lookup_value_converter = "int"

    def rows(self) -> QuerySet[Any]:
        return Tariff.objects.filter(owner=self.organization.party_id)

    @described(
        "Publish prices: a tariff, or its next version from a later day",
        asks=asks.AskPrices,
        shape=shapes.TariffVersionShape,
        status=201,
        write=True,
    )
    def create(self, request: Request) -> Response:  # noqa: ARG002
        document = self.read(asks.AskPrices)["document"]

        def do(at: datetime) -> TariffVersion:
            provider: Organization = self.organization
            return catalog.publish_prices(provider=provider, document=document, at=at, actor=self.actor)

        return self.write(do, shape=shapes.TariffVersionShape, status=201)

    @described("Its versions, the newest first", shape=shapes.TariffVersionShape(many=True))
    @action(detail=True, order=("-version",), filter_backends=())
    def versions(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        rows = self.own(self.get_queryset(), pk=pk).versions.select_related("tariff")
        return self.listed(rows, shapes.TariffVersionShape)
