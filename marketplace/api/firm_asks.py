"""What the API reads of an organization's own affairs. Ranges and rules beyond the form are the verbs'."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import PartyFact
from marketplace.api.asks import MOST_ID
from marketplace.api.reading import FIRST_YEAR, LAST_YEAR, Instant
from marketplace.models import ApiKey, Membership


@extend_schema_field(OpenApiTypes.BYTE)
class Content(serializers.CharField):
    """A file in base64 (RFC 4648)."""

    def to_internal_value(self, value: Any) -> bytes:
        try:
            return b64decode(super().to_internal_value(value), validate=True)
        except (binascii.Error, ValueError) as error:
            raise serializers.ValidationError(_("Base64 is expected.")) from error


class Day(serializers.DateField):
    def to_internal_value(self, value: Any) -> Any:
        day = super().to_internal_value(value)
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            said = _("A day of the years %(first)d to %(last)d.") % {"first": FIRST_YEAR, "last": LAST_YEAR}
            raise serializers.ValidationError(said)
        return day


class ChangeOrganization(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, help_text="What others on the market see.")


class AskRole(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Membership.Role.choices)


class AskInvitation(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(Membership.Role.choices)


class AskFact(serializers.Serializer[Any]):
    """`value`: of a sector or a size class one of the known ones, of `founded_date` a day, of `related_party` a credit code."""

    kind = serializers.ChoiceField(PartyFact.Kind.choices)
    value = serializers.CharField(max_length=100)
    from_date = Day()
    evidence = serializers.IntegerField(
        min_value=1, max_value=MOST_ID, required=False, allow_null=True, help_text="The id of a document."
    )


class AskUntil(serializers.Serializer[Any]):
    until_date = Day(help_text="The first day on which it no longer holds.")


class AskEvidence(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=200)
    content = Content(help_text="A PDF, PNG or JPEG file in base64, of at most some 3 MB.")


class AskKey(serializers.Serializer[Any]):
    """No more than the key may itself, and no longer."""

    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(ApiKey.Scope.choices), min_length=1, max_length=20)
    expires_at = Instant(required=False, allow_null=True)
