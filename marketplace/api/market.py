"""What everybody with a key may read: accelerators, what is on sale and when it is free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from billing import promises
from marketplace import search
from marketplace.api import asks, filters, market_shapes, shapes
from marketplace.api.base import Resource, described
from marketplace.models import AcceleratorModel, Offering, Zone
from marketplace.subsidies import Subsidies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from rest_framework.request import Request
    from rest_framework.response import Response

_LISTS = {
    "accelerator": "accelerators",
    "vendor": "vendors",
    "interconnect": "interconnects",
    "region": "regions",
    "provider": "providers",
}


@extend_schema_view(
    list=described("Accelerator models, with sources", shape=shapes.AcceleratorShape(many=True)),
    retrieve=described("An accelerator model", shape=shapes.AcceleratorShape),
)
class Accelerators(ListModelMixin, RetrieveModelMixin, Resource):
    model = AcceleratorModel
    order = ("slug",)
    serializer_class = shapes.AcceleratorShape
    filterset_class = filters.AcceleratorFilters
    lookup_field = "slug"
    lookup_value_converter = "slug"


class Offerings(Resource):
    """What is on sale in the key's zone; by code also one's own that is not."""

    model = Offering
    related = ("pool__site__provider", "pool__accelerator", "tariff")
    serializer_class = shapes.OfferingShape
    filter_backends = ()
    pagination_class = None
    lookup_field = "code"
    lookup_value_converter = "slug"
    subsidies: Subsidies | None = None
    asked_at: tuple[datetime, datetime] | None = None

    def price_after(self, row: Any) -> Decimal | None:
        """What programmes would leave to pay of a matched or compared window; None where they pay nothing of it."""
        if self.subsidies is None or row.price is None:
            return None
        start_at, end_at = self.asked_at or (row.start_at, row.end_at)
        found = self.subsidies.of_window(
            price=row.price,
            currency=row.currency,
            provider_id=row.offering.pool.site.provider.party_id,
            start_at=start_at,
            end_at=end_at,
        )
        return None if found.price == row.price else found.price.quantize(row.price)

    def _ask_programmes(self, spans: Sequence[tuple[datetime, datetime]]) -> None:
        """For prices of these spans: one query for a buyer without a grant."""
        zones = Zone.objects.select_related("issuer").filter(promises.has_grant(self.organization.party_id))
        zone = zones.filter(pk=self.organization.zone_id).first() if spans else None
        if zone is not None:
            self.subsidies = Subsidies(organization=self.organization, issuer=zone.issuer, periods=spans)

    def _wanted(self, shape: Any) -> search.Wanted:
        asked = self.query(shape)
        facts: dict[str, Any] = {
            _LISTS.get(name, name): tuple(value) if name in _LISTS else value for name, value in asked.items()
        }
        precision, least = facts.pop("min_tflops_precision"), facts.pop("min_tflops", None)
        if least is not None:
            facts["min_tflops"] = {precision: least}
        return search.Wanted(zone_id=self.organization.zone_id, **facts)

    @described("Search what is on sale", shape=market_shapes.FoundShape, parameters=[asks.AskOfferings])
    def list(self, request: Request) -> Response:  # noqa: ARG002  - DRF's signature
        found = search.search(wanted=self._wanted(asks.AskOfferings), at=timezone.now())
        return self.said(market_shapes.FoundShape, {"results": found.rows, "next_cursor": found.next_cursor or None})

    @described("An offering", shape=shapes.OfferingShape)
    def retrieve(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self.said(shapes.OfferingShape, self.own(self.get_queryset(), code=code))

    @described("Free GPUs and prices, hour by hour", shape=market_shapes.CalendarShape, parameters=[asks.AskCalendar])
    @action(detail=True)
    def calendar(self, request: Request, code: str) -> Response:  # noqa: ARG002
        offering, asked, at = self.own(self.get_queryset(), code=code), self.query(asks.AskCalendar), timezone.now()
        shown = search.calendar(offering=offering, at=at, **{"from_at": at, **asked})
        return self.said(market_shapes.CalendarShape, shown)

    @described(
        "How many fit, by each value that one could narrow by",
        shape=market_shapes.FacetsShape,
        parameters=[asks.AskSearch],
        operation_id="facets_retrieve",
    )
    def facets(self, request: Request) -> Response:  # noqa: ARG002
        return self.said(
            market_shapes.FacetsShape, search.facets(wanted=self._wanted(asks.AskSearch), at=timezone.now())
        )

    @described(
        "The best free windows, with the price of the whole",
        shape=market_shapes.RankedShape,
        parameters=[asks.AskWindows],
        operation_id="windows_list",
    )
    def windows(self, request: Request) -> Response:  # noqa: ARG002
        found = search.windows(wanted=self._wanted(asks.AskWindows), at=timezone.now())
        self._ask_programmes([(match.start_at, match.end_at) for match in found.matches])
        return self.said(market_shapes.RankedShape, found)

    @described(
        "Two to four offerings side by side, for one window",
        shape=market_shapes.ComparisonShape,
        parameters=[asks.AskComparison],
        operation_id="comparison_list",
    )
    def comparison(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.query(asks.AskComparison)
        on_sale = Offering.objects.on_sale().filter(pool__site__provider__zone=self.organization.zone_id)
        ids = [self.own(on_sale, code=code).pk for code in asked.pop("offering")]
        rows = search.compare(offering_ids=ids, at=timezone.now(), **asked)
        self.asked_at = asked["start_at"], asked["end_at"]
        self._ask_programmes([self.asked_at])
        return self.said(market_shapes.ComparisonShape, {"results": rows})
