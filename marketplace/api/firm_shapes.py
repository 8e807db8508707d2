"""What the API says of an organization: its facts and evidence, its people, its keys."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import Evidence, PartyFact
from marketplace.api.shapes import RowShape
from marketplace.models import ApiKey, Invitation, JoinRequest, Membership, MembershipChange, Organization


class OrNull(serializers.ChoiceField):
    """One of the choices; null where the row has none."""

    def __init__(self, choices: Any) -> None:
        super().__init__(choices, read_only=True, allow_null=True)

    def to_representation(self, value: Any) -> Any:
        return value or None


class FactShape(RowShape):
    """`evidence`: the id of a document."""

    is_verified = serializers.SerializerMethodField()

    class Meta:
        model = PartyFact
        fields = ["id", "kind", "value", "from_date", "until_date", "evidence", "claimed_at", "is_verified"]
        read_only_fields = fields

    def get_is_verified(self, row: PartyFact) -> bool:
        return row.verified_at is not None


class EvidenceShape(RowShape):
    class Meta:
        model = Evidence
        fields = ["id", "name", "content_type", "sha256", "uploaded_at"]
        read_only_fields = fields


class OrganizationShape(RowShape):
    zone = serializers.CharField(source="zone.code", read_only=True)
    legal_name = serializers.CharField(source="party.legal_name", read_only=True)
    credit_code = serializers.CharField(source="party.credit_code", read_only=True)
    facts = serializers.SerializerMethodField()

    class Meta:
        model = Organization
        fields = [
            "id",
            "name",
            "legal_name",
            "credit_code",
            "zone",
            "is_buyer",
            "is_provider",
            "is_funder",
            "is_operator",
            "state",
            "state_reason",
            "state_at",
            "facts",
        ]
        read_only_fields = fields

    @extend_schema_field(FactShape(many=True))
    def get_facts(self, _row: Organization) -> Any:
        return FactShape(self.context["facts"], many=True).data


class MemberShape(RowShape):
    email = serializers.CharField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "email", "name", "role", "since_at"]
        read_only_fields = fields


class MemberChangeShape(RowShape):
    """No `from_role`: they came. No `to_role`: they left."""

    email = serializers.CharField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)
    from_role = OrNull(Membership.Role.choices)
    to_role = OrNull(Membership.Role.choices)

    class Meta:
        model = MembershipChange
        fields = ["id", "email", "name", "from_role", "to_role", "at"]
        read_only_fields = fields


class InvitationShape(RowShape):
    state = serializers.SerializerMethodField()

    class Meta:
        model = Invitation
        fields = ["id", "email", "role", "state", "created_at", "expires_at", "accepted_at", "revoked_at"]
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(["open", "expired", "accepted", "revoked"]))
    def get_state(self, row: Invitation) -> str:
        if row.accepted_at is not None:
            return "accepted"
        if row.revoked_at is not None:
            return "revoked"
        return "open" if row.expires_at > timezone.now() else "expired"


class JoinRequestShape(RowShape):
    email = serializers.CharField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)

    class Meta:
        model = JoinRequest
        fields = ["id", "email", "name", "state", "created_at", "decided_at"]
        read_only_fields = fields


class KeyShape(RowShape):
    """`prefix` is how its token begins. `made_by`: the member in whose name it works; `parent`: the key that made it."""

    prefix = serializers.CharField(source="__str__", read_only=True)
    made_by = serializers.CharField(source="created_by.email", read_only=True, allow_null=True, default=None)
    parent = serializers.PrimaryKeyRelatedField(read_only=True, allow_null=True)
    revoked_because = OrNull(ApiKey.Why.choices)
    scopes = serializers.ListField(child=serializers.ChoiceField(ApiKey.Scope.choices), read_only=True)

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "name",
            "prefix",
            "scopes",
            "made_by",
            "parent",
            "created_at",
            "expires_at",
            "revoked_at",
            "revoked_because",
            "last_used_at",
        ]
        read_only_fields = fields


class MadeKeyShape(KeyShape):
    """`token` is told this once; null when the answer is repeated."""

    token = serializers.SerializerMethodField()

    class Meta(KeyShape.Meta):
        fields = [*KeyShape.Meta.fields, "token"]
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_token(self, _row: ApiKey) -> None:
        """What is kept for repeats never has it: the view adds it to the first answer."""
        return
