"""The key's own organization: what it says of itself, its members, who is invited or asks to join, its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.http import content_disposition_header
from django.utils.translation import get_language
from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from billing import parties
from billing.models import Evidence, PartyFact
from marketplace import access, invitations, keys, limits, organizations, people
from marketplace.api import filters, firm_asks, firm_shapes
from marketplace.api.base import FILE, AnyFile, Resource, described
from marketplace.models import ApiKey, Invitation, JoinRequest, Membership, MembershipChange, Organization
from marketplace.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpResponse
    from rest_framework.request import Request
    from rest_framework.response import Response


class OwnOrganization(Resource):
    model = Organization
    reads = (Permission.SEE_ORGANIZATION,)
    writes = Permission.MANAGE_MEMBERS
    related = ("zone", "party")
    serializer_class = firm_shapes.OrganizationShape
    pagination_class = None
    filter_backends = ()

    def get_serializer_context(self) -> dict[str, Any]:
        facts = access.facts_for(self.key).order_by("kind", "from_date", "id") if self.request.auth else []
        return {**super().get_serializer_context(), "facts": facts}

    @described("The key's own organization", shape=firm_shapes.OrganizationShape, operation_id="organization_retrieve")
    def retrieve(self, request: Request) -> Response:  # noqa: ARG002  - DRF's signature
        return self.said(firm_shapes.OrganizationShape, self.own(self.get_queryset(), pk=self.organization.pk))

    @described(
        "Call it otherwise",
        asks=firm_asks.ChangeOrganization,
        shape=firm_shapes.OrganizationShape,
        write=True,
        operation_id="organization_partial_update",
    )
    def partial_update(self, request: Request) -> Response:  # noqa: ARG002
        name = self.read(firm_asks.ChangeOrganization)["name"]

        def do(at: datetime) -> Organization:
            organizations.rename(organization=self.organization, name=name, at=at, actor=self.actor)
            return self.organization

        return self.write(do, shape=firm_shapes.OrganizationShape)


class Managing(Resource):
    """What those see and change who manage the organization's members."""

    reads = (Permission.MANAGE_MEMBERS,)
    writes = Permission.MANAGE_MEMBERS
    lookup_value_converter = "int"


@extend_schema_view(
    list=described("The organization's members", shape=firm_shapes.MemberShape(many=True)),
    retrieve=described("A member", shape=firm_shapes.MemberShape),
)
class Members(ListModelMixin, RetrieveModelMixin, Managing):
    model = Membership
    reads = (Permission.SEE_ORGANIZATION,)
    related = ("user",)
    order = ("id",)
    serializer_class = firm_shapes.MemberShape
    filterset_class = filters.MemberFilters

    def _member(self, pk: int) -> Membership:
        rows = Membership.objects.filter(organization=self.organization).select_related("user")
        member: Membership = self.own(rows, pk=pk)
        return member

    @described("Give another role", asks=firm_asks.AskRole, shape=firm_shapes.MemberShape, write=True)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        role = self.read(firm_asks.AskRole)["role"]

        def do(at: datetime) -> Membership:
            member = self._member(pk)
            people.change_role(organization=self.organization, user=member.user, role=role, at=at, actor=self.actor)
            return self._member(pk)

        return self.write(do, shape=firm_shapes.MemberShape)

    @described("End the membership; keys that they made are revoked", shape=firm_shapes.MemberShape, write=True)
    @action(detail=True, methods=["post"])
    def remove(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Answered with the membership as it was."""

        def do(at: datetime) -> Membership:
            member = self._member(pk)
            people.remove_member(organization=self.organization, user=member.user, at=at, actor=self.actor)
            return member

        return self.write(do, shape=firm_shapes.MemberShape)

    @described("Who came, got another role or left, the newest first", shape=firm_shapes.MemberChangeShape(many=True))
    @action(detail=False, order=("-id",), filter_backends=(), reads=(Permission.MANAGE_MEMBERS,))
    def changes(self, request: Request) -> Response:  # noqa: ARG002
        rows = access.rows_for(MembershipChange, self.key).select_related("user")
        return self.listed(rows, firm_shapes.MemberChangeShape)


@extend_schema_view(
    list=described("Invitations, the newest first", shape=firm_shapes.InvitationShape(many=True)),
    retrieve=described("An invitation", shape=firm_shapes.InvitationShape),
)
class Invitations(ListModelMixin, RetrieveModelMixin, Managing):
    model = Invitation
    related = ("organization",)
    order = ("-created_at", "-id")
    serializer_class = firm_shapes.InvitationShape
    filterset_class = filters.InvitationFilters

    def _sender(self, at: datetime) -> dict[str, Any]:
        """Who writes. Counted where it is done, in its transaction: what is refused or repeated sends no letter."""
        limits.count(what="invite", whom=str(self.organization.pk), most=limits.LETTERS_A_DAY, span=limits.DAY, at=at)
        maker = self.key.created_by
        inviter = self.organization.name if maker is None else maker.get_full_name()
        return {"inviter": inviter, "at": at, "actor": self.actor}

    @described(
        "Invite by mail; an open invitation of the address is sent again",
        asks=firm_asks.AskInvitation,
        shape=firm_shapes.InvitationShape,
        status=201,
        write=True,
    )
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(firm_asks.AskInvitation)

        def do(at: datetime) -> Invitation:
            language = get_language() or ""
            return invitations.invite(organization=self.organization, language=language, **asked, **self._sender(at))

        return self.write(do, shape=firm_shapes.InvitationShape, status=201)

    @described("Send it again: the link before is void", shape=firm_shapes.InvitationShape, write=True)
    @action(detail=True, methods=["post"], url_path="send-again")
    def send_again(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        def do(at: datetime) -> Invitation:
            invitation: Invitation = self.own(self.get_queryset(), pk=pk)
            invitations.send_again(invitation=invitation, **self._sender(at))
            return invitation

        return self.write(do, shape=firm_shapes.InvitationShape)

    @described("Take it back", shape=firm_shapes.InvitationShape, write=True)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        def do(at: datetime) -> Invitation:
            invitation: Invitation = self.own(self.get_queryset(), pk=pk)
            invitations.revoke(invitation=invitation, at=at)
            return invitation

        return self.write(do, shape=firm_shapes.InvitationShape)


@extend_schema_view(
    list=described("Who asks to join, the oldest first", shape=firm_shapes.JoinRequestShape(many=True)),
    retrieve=described("A request to join", shape=firm_shapes.JoinRequestShape),
)
class JoinRequests(ListModelMixin, RetrieveModelMixin, Managing):
    model = JoinRequest
    related = ("user", "organization")
    order = ("created_at", "id")
    serializer_class = firm_shapes.JoinRequestShape
    filterset_class = filters.JoinRequestFilters

    def _decide(self, pk: int, verb: Callable[..., None], **facts: Any) -> Response:
        def do(at: datetime) -> JoinRequest:
            asked: JoinRequest = self.own(self.get_queryset(), pk=pk)
            verb(request=asked, at=at, actor=self.actor, **facts)
            return asked

        return self.write(do, shape=firm_shapes.JoinRequestShape)

    @described("Take them in", asks=firm_asks.AskRole, shape=firm_shapes.JoinRequestShape, write=True)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._decide(pk, people.approve_join, **self.read(firm_asks.AskRole))

    @described("Do not take them in", shape=firm_shapes.JoinRequestShape, write=True)
    @action(detail=True, methods=["post"])
    def refuse(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        return self._decide(pk, people.refuse_join)


@extend_schema_view(
    list=described("What it says of itself, and what of it is verified", shape=firm_shapes.FactShape(many=True)),
    retrieve=described("A fact", shape=firm_shapes.FactShape),
)
class Facts(ListModelMixin, RetrieveModelMixin, Managing):
    model = PartyFact
    reads = (Permission.SEE_ORGANIZATION,)
    order = ("kind", "from_date", "id")
    serializer_class = firm_shapes.FactShape
    filterset_class = filters.FactFilters

    def _fact(self, pk: int) -> PartyFact:
        fact: PartyFact = self.own(PartyFact.objects.filter(party=self.organization.party_id), pk=pk)
        return fact

    @described(
        "Say that a fact holds; with other evidence also of one that is not verified",
        asks=firm_asks.AskFact,
        shape=firm_shapes.FactShape,
        status=201,
        write=True,
    )
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(firm_asks.AskFact)
        named = asked.pop("evidence", None)

        def do(at: datetime) -> PartyFact:
            party = self.organization.party
            document = None if named is None else self.own(Evidence.objects.filter(party=party), pk=named)
            return parties.claim_fact(party=party, evidence=document, at=at, actor=self.actor, **asked)

        return self.write(do, shape=firm_shapes.FactShape, status=201)

    @described("Take back a claim that is not verified", shape=firm_shapes.FactShape, write=True)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Answered with the claim as it was."""

        def do(_at: datetime) -> PartyFact:
            fact = self._fact(pk)
            parties.withdraw_fact(fact=fact)
            return fact

        return self.write(do, shape=firm_shapes.FactShape)

    @described("Let it hold until the day before", asks=firm_asks.AskUntil, shape=firm_shapes.FactShape, write=True)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        until_date = self.read(firm_asks.AskUntil)["until_date"]

        def do(_at: datetime) -> PartyFact:
            fact = self._fact(pk)
            parties.end_fact(fact=fact, until_date=until_date, actor=self.actor)
            return fact

        return self.write(do, shape=firm_shapes.FactShape)


@extend_schema_view(
    list=described("Documents that show facts, the newest first", shape=firm_shapes.EvidenceShape(many=True)),
    retrieve=described("A document, without what is in it", shape=firm_shapes.EvidenceShape),
)
class Documents(ListModelMixin, RetrieveModelMixin, Managing):
    model = Evidence
    reads = (Permission.SEE_BILLS,)
    order = ("-uploaded_at", "-id")
    serializer_class = firm_shapes.EvidenceShape

    def rows(self) -> QuerySet[Evidence]:
        return access.evidence_for(self.key).defer("content")

    @described("Keep a document", asks=firm_asks.AskEvidence, shape=firm_shapes.EvidenceShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(firm_asks.AskEvidence)

        def do(at: datetime) -> Evidence:
            whom, most = str(self.organization.pk), limits.FILES_A_DAY
            limits.count(what="evidence", whom=whom, most=most, span=limits.DAY, at=at)
            return parties.add_evidence(party=self.organization.party, at=at, actor=self.actor, **asked)

        return self.write(do, shape=firm_shapes.EvidenceShape, status=201)

    @described("The document itself", shape=None, files=("application/pdf", "image/png", "image/jpeg"))
    @action(detail=True, filter_backends=(), **FILE)
    def file(self, request: Request, pk: int) -> HttpResponse:  # noqa: ARG002
        document: Evidence = self.own(access.evidence_for(self.key), pk=pk)
        name = content_disposition_header(as_attachment=True, filename=document.name)
        return AnyFile(bytes(document.content), document.content_type, name or "attachment")


@extend_schema_view(
    list=described("API keys, the newest first", shape=firm_shapes.KeyShape(many=True)),
    retrieve=described("An API key", shape=firm_shapes.KeyShape),
)
class Keys(ListModelMixin, RetrieveModelMixin, Resource):
    model = ApiKey
    reads = (Permission.MANAGE_KEYS,)
    writes = Permission.MANAGE_KEYS
    related = ("created_by",)
    order = ("-created_at", "-id")
    serializer_class = firm_shapes.KeyShape
    filterset_class = filters.KeyFilters
    lookup_value_converter = "int"

    @described(
        "Make a key that may some of what this one may; its token is told this once",
        asks=firm_asks.AskKey,
        shape=firm_shapes.MadeKeyShape,
        status=201,
        write=True,
    )
    def create(self, request: Request) -> Response:  # noqa: ARG002
        """Sent again with the same Idempotency-Key the token is null: what is told once is kept nowhere."""
        asked = self.read(firm_asks.AskKey)
        tokens: list[str] = []

        def do(at: datetime) -> ApiKey:
            key, token = keys.create_key(organization=self.organization, parent=self.key, at=at, **asked)
            tokens.append(token)
            return key

        answer = self.write(do, shape=firm_shapes.MadeKeyShape, status=201)
        if tokens:
            answer.data["token"] = tokens[-1]
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @described("Refuse it, and the keys that it made, from now on", shape=firm_shapes.KeyShape, write=True)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        def do(at: datetime) -> ApiKey:
            key: ApiKey = self.own(self.get_queryset(), pk=pk)
            keys.revoke_key(key=key, at=at, actor=self.actor)
            key.refresh_from_db()
            return key

        return self.write(do, shape=firm_shapes.KeyShape)
