"""What the API reads and says of disputes and of claims. Amounts are whole minor units."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from billing import disputes
from billing.models import Claim, Dispute
from marketplace.api.asks import MOST, MOST_MINOR
from marketplace.api.shapes import RowShape

MONTH = r"^\d{4}-(0[1-9]|1[0-2])$"


class AskDispute(serializers.Serializer[Any]):
    """Without `line` each line that is not disputed yet, for all that is left of it."""

    invoice = serializers.CharField(max_length=40, help_text="The number of an invoice or note.")
    line = serializers.IntegerField(
        min_value=1, max_value=MOST, required=False, allow_null=True, help_text="A line's position."
    )
    net_minor = serializers.IntegerField(
        min_value=1,
        max_value=MOST_MINOR,
        required=False,
        allow_null=True,
        help_text="How much of the line's net; null: all that is left. Only with `line`.",
    )
    reason = serializers.CharField(max_length=disputes.LONGEST_REASON)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("net_minor") is not None and asked.get("line") is None:
            raise serializers.ValidationError(
                {"net_minor": [_("Expected with a line: a part is disputed of one line.")]}
            )
        return asked


class AskWithdrawal(serializers.Serializer[Any]):
    invoice = serializers.CharField(max_length=40, help_text="The number of an invoice or note.")


class DisputeShape(RowShape):
    """`net_minor` is disputed; `held_minor`, tax included, is not collected while it is open."""

    invoice = serializers.CharField(source="line.invoice.number", read_only=True)
    line = serializers.IntegerField(source="line.position", read_only=True)
    note = serializers.CharField(source="adjustment.document.number", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Dispute
        fields = [
            "id",
            "invoice",
            "line",
            "state",
            "net_minor",
            "held_minor",
            "reason",
            "opened_at",
            "answer",
            "answered_at",
            "note",
        ]
        read_only_fields = fields


class DisputedShape(serializers.Serializer[Any]):
    disputes = DisputeShape(many=True)


class AskClaim(serializers.Serializer[Any]):
    programme = serializers.CharField(max_length=40, help_text="Its code.")
    from_month = serializers.RegexField(MONTH, help_text="Of use, such as 2026-05.")
    until_month = serializers.RegexField(MONTH, help_text="This one included.")


class AskSettlement(serializers.Serializer[Any]):
    paid_minor = serializers.IntegerField(min_value=-MOST_MINOR, max_value=MOST_MINOR, help_text="0: it was rejected.")
    reason = serializers.CharField(
        max_length=500, required=False, default="", allow_blank=True, help_text="Needed where it is not all."
    )


class ClaimShape(RowShape):
    programme = serializers.CharField(source="programme.code", read_only=True)
    currency = serializers.CharField(source="programme.currency", read_only=True)

    class Meta:
        model = Claim
        fields = [
            "id",
            "programme",
            "key",
            "state",
            "currency",
            "amount_minor",
            "paid_minor",
            "reason",
            "made_at",
            "submitted_at",
            "settled_at",
        ]
        read_only_fields = fields
