"""What a buyer objects to, and what its firm claims from funders by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from billing import claims, disputes
from billing.models import Claim, Dispute, Grant, Invoice, InvoiceLine, Programme
from marketplace import access
from marketplace.api import contested_shapes as shapes
from marketplace.api import filters
from marketplace.api.base import Resource, described
from marketplace.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.response import Response


class Billing(Resource):
    """A write needs `billing:write`, and `billing:read` to see what it is of."""

    reads = (Permission.SEE_BILLS,)
    writes = Permission.APPLY

    def document(self, number: str) -> Invoice:
        rows = access.invoices_for(self.key).select_related("corrects", "account")
        document: Invoice = self.own(rows.defer("snapshot", "corrects__snapshot"), number=number)
        return document


@extend_schema_view(
    list=described("What was objected to, the last first", shape=shapes.DisputeShape(many=True)),
    retrieve=described("A dispute", shape=shapes.DisputeShape),
)
class Disputes(ListModelMixin, RetrieveModelMixin, Billing):
    model = Dispute
    related = ("line__invoice", "adjustment__document")
    order = ("-opened_at", "-id")
    serializer_class = shapes.DisputeShape
    filterset_class = filters.DisputeFilters
    lookup_value_converter = "int"

    @described(
        "Object to a line of an invoice or note, or to all of its lines that are not disputed yet",
        asks=shapes.AskDispute,
        shape=shapes.DisputedShape,
        status=201,
        write=True,
    )
    def create(self, request: Request) -> Response:  # noqa: ARG002  - DRF's signature
        asked = self.read(shapes.AskDispute)

        def do(at: datetime) -> dict[str, Any]:
            document = self.document(asked["invoice"])
            facts: dict[str, Any] = {"reason": asked["reason"], "at": at, "actor": self.actor}
            if asked.get("line") is None:
                return {"disputes": disputes.open_all(document=document, **facts)}
            line = self.own(
                InvoiceLine.objects.filter(invoice=document).select_related("invoice"), position=asked["line"]
            )
            return {"disputes": [disputes.open_(line=line, net_minor=asked.get("net_minor"), **facts)]}

        return self.write(do, shape=shapes.DisputedShape, status=201)

    @described("Take it back", shape=shapes.DisputeShape, write=True)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        def do(at: datetime) -> Dispute:
            dispute: Dispute = self.own(self.get_queryset(), pk=pk)
            disputes.withdraw(dispute=dispute, at=at, actor=self.actor)
            return dispute

        return self.write(do, shape=shapes.DisputeShape)

    @described(
        "Take back all that is open of an invoice or note",
        asks=shapes.AskWithdrawal,
        shape=shapes.DisputedShape,
        write=True,
    )
    @action(detail=False, methods=["post"], url_path="withdrawals", filter_backends=())
    def withdrawals(self, request: Request) -> Response:  # noqa: ARG002
        number = self.read(shapes.AskWithdrawal)["invoice"]

        def do(at: datetime) -> dict[str, Any]:
            return {"disputes": disputes.withdraw_all(document=self.document(number), at=at, actor=self.actor)}

        return self.write(do, shape=shapes.DisputedShape)


@extend_schema_view(
    list=described("What the firm claims by itself, the last first", shape=shapes.ClaimShape(many=True)),
    retrieve=described("A claim", shape=shapes.ClaimShape),
)
class Claims(ListModelMixin, RetrieveModelMixin, Billing):
    """Of reimbursements alone; vouchers are claimed by the zone's operator."""

    model = Claim
    related = ("programme",)
    order = ("-made_at", "-id")
    serializer_class = shapes.ClaimShape
    filterset_class = filters.ClaimFilters
    lookup_value_converter = "int"

    def rows(self) -> QuerySet[Claim]:
        rows = access.claims_for(self.key).filter(claimant=self.organization.party_id)
        return rows.filter(programme__mode=Programme.Mode.REIMBURSEMENT)

    @described(
        "Put what is owed for some months into a claim",
        asks=shapes.AskClaim,
        shape=shapes.ClaimShape,
        status=201,
        write=True,
    )
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(shapes.AskClaim)
        months = {name: asked[name] for name in ("from_month", "until_month")}

        def do(at: datetime) -> Claim:
            rows = access.grants_for(self.key).filter(programme__mode=Programme.Mode.REIMBURSEMENT)
            grant: Grant = self.own(
                rows.select_related("programme__issuer__party", "party").order_by("-pk"),
                programme__code=asked["programme"],
                party=self.organization.party_id,
            )
            key = claims.key_of(programme=grant.programme, claimant=grant.party, **months)
            return claims.claim(
                programme=grant.programme, key=key, claimant=grant.party, at=at, actor=self.actor, **months
            )

        return self.write(do, shape=shapes.ClaimShape, status=201)

    def _step(self, pk: int, verb: Callable[..., None], **facts: Any) -> Response:
        def do(at: datetime) -> Claim:
            claim: Claim = self.own(self.get_queryset(), pk=pk)
            verb(claim=claim, at=at, actor=self.actor, **facts)
            return claim

        return self.write(do, shape=shapes.ClaimShape)

    @described("Say that it is handed in to the funder", shape=shapes.ClaimShape, write=True)
    @action(detail=True, methods=["post"])
    def submit(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._step(pk, claims.submit)

    @described("It was not handed in: a draft again", shape=shapes.ClaimShape, write=True)
    @action(detail=True, methods=["post"], url_path="take-back")
    def take_back(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._step(pk, claims.take_back)

    @described(
        "Say what the funder paid: all of it, a part, or 0",
        asks=shapes.AskSettlement,
        shape=shapes.ClaimShape,
        write=True,
    )
    @action(detail=True, methods=["post"])
    def settle(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._step(pk, claims.settle_claim, **self.read(shapes.AskSettlement))

    @described("What was said of the funder's answer is wrong: it waits again", shape=shapes.ClaimShape, write=True)
    @action(detail=True, methods=["post"])
    def reopen(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._step(pk, claims.reopen)
