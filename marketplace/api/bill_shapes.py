"""What the API says of use and of bills. Amounts are whole minor units; quantities are exact in base units."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from billing.models import Account, Contract, Invoice, InvoiceLine, Meter, Reading, UsageEvent
from marketplace.api.reading import Instant
from marketplace.api.shapes import Amount, RowShape
from marketplace.consumption import INTERVAL

FILES = {
    "zh-hans.pdf": "application/pdf",
    "en.pdf": "application/pdf",
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}
"""What an invoice can be had as, and the type of its content."""

SUMS = ("net_minor", "tax_minor", "gross_minor", "subsidy_minor", "payable_minor")


class MeterShape(RowShape):
    """`base_per_unit` base units make one priced unit."""

    class Meta:
        model = Meter
        fields = ["code", "name", "event_type", "kind", "aggregation", "base_unit", "unit", "base_per_unit"]
        read_only_fields = fields


class ContractShape(RowShape):
    account = serializers.CharField(source="account.code", read_only=True)
    buyer = serializers.CharField(source="account.party.legal_name", read_only=True)
    provider = serializers.CharField(source="provider.legal_name", read_only=True)
    tariff = serializers.CharField(source="tariff.code", read_only=True)

    class Meta:
        model = Contract
        fields = ["number", "account", "buyer", "provider", "tariff", "start_at", "end_at", "withdrawn_at"]
        read_only_fields = fields


class ReadingShape(RowShape):
    """`quantity`: base units in [start_at, end_at)."""

    end_at = serializers.SerializerMethodField()

    class Meta:
        model = Reading
        fields = ["start_at", "end_at", "quantity"]
        read_only_fields = fields

    @extend_schema_field(Instant)
    def get_end_at(self, row: Reading) -> Any:
        return Instant().to_representation(row.start_at + INTERVAL)


class EventShape(RowShape):
    """`quantity`: base units over its whole duration. `superseded_by`: the id of the event that corrects it; it counts no
    more. Nor does a retraction.
    """

    source = serializers.CharField(source="source.name", read_only=True)
    id = serializers.CharField(source="event_id", read_only=True)
    superseded_by = serializers.CharField(read_only=True, allow_null=True)
    is_retraction = serializers.BooleanField(read_only=True)

    class Meta:
        model = UsageEvent
        fields = [
            "source",
            "id",
            "time",
            "duration_seconds",
            "value",
            "quantity",
            "recorded_at",
            "superseded_by",
            "is_retraction",
        ]
        read_only_fields = fields


class AccountShape(RowShape):
    """`corrections_on`: where corrections of its issued invoices go; since when, where somebody chose that."""

    buyer = serializers.CharField(source="party.legal_name", read_only=True)
    issuer = serializers.CharField(source="issuer.party.legal_name", read_only=True)

    class Meta:
        model = Account
        fields = [
            "id",
            "code",
            "buyer",
            "issuer",
            "language",
            "payment_term_days",
            "corrections_on",
            "corrections_chosen_at",
        ]
        read_only_fields = fields


class SettledShape(serializers.Serializer[Any]):
    """Corrections of earlier months that are settled on an invoice: notes of their own, of which the invoice's own amounts are
    without. `notes`: their numbers; null in a preview. `due_minor`: the invoice and they, in all.
    """

    notes = serializers.ListField(child=serializers.CharField(allow_null=True))
    corrects = serializers.ListField(child=serializers.CharField())
    net_minor = serializers.IntegerField()
    tax_minor = serializers.IntegerField()
    gross_minor = serializers.IntegerField()
    subsidy_minor = serializers.IntegerField()
    payable_minor = serializers.IntegerField()
    due_minor = serializers.IntegerField()


class InvoiceShape(RowShape):
    """`files`: where each form of it is, for the same key. `subsidy_minor` is what programmes pay; `payable_minor` the rest.
    A note `corrects` the invoice of that number; it is paid by itself, or `settled_on` the invoice of that number, which says
    so in `corrections`.
    """

    account = serializers.CharField(source="account.code", read_only=True)
    month = serializers.CharField(source="period.code", read_only=True)
    number = serializers.CharField(read_only=True)
    corrects = serializers.CharField(source="corrects.number", read_only=True, allow_null=True, default=None)
    settled_on = serializers.CharField(source="settled_on.number", read_only=True, allow_null=True, default=None)
    payable_minor = serializers.IntegerField(read_only=True)
    corrections = serializers.SerializerMethodField()
    files = serializers.SerializerMethodField()

    class Meta:
        model = Invoice
        fields = [
            "number",
            "kind",
            "corrects",
            "settled_on",
            "account",
            "month",
            "currency",
            "net_minor",
            "tax_minor",
            "gross_minor",
            "subsidy_minor",
            "payable_minor",
            "corrections",
            "issued_at",
            "due_date",
            "sha256",
            "files",
        ]
        read_only_fields = fields

    @extend_schema_field(SettledShape(allow_null=True))
    def get_corrections(self, row: Invoice) -> dict[str, Any] | None:
        """Of the notes as they stand beside it, which its snapshot says too."""
        notes = row.settles.all()
        if not notes:
            return None
        told = {
            "notes": [each.number for each in notes],
            "corrects": [each.corrects.number for each in notes if each.corrects is not None],
        }
        sums = {name: sum(getattr(each, name) for each in notes) for name in SUMS}
        return told | sums | {"due_minor": row.payable_minor + sums["payable_minor"]}

    @extend_schema_field(serializers.DictField(child=serializers.URLField()))
    def get_files(self, row: Invoice) -> dict[str, str]:
        request = self.context["request"]
        return {
            name: reverse("invoices-file", kwargs={"number": row.number, "name": name}, request=request)
            for name in FILES
        }


class LineShape(RowShape):
    """Rounded once; `amount_minor` without tax. `explanation` says how it came about."""

    contract = serializers.CharField(source="contract.number", read_only=True)
    tariff_version = serializers.IntegerField(source="tariff_version.version", read_only=True)
    tariff = serializers.CharField(source="tariff_version.tariff.code", read_only=True)
    quantity = Amount(read_only=True)
    unit_price = Amount(read_only=True, allow_null=True)
    tax_rate = Amount(read_only=True)

    class Meta:
        model = InvoiceLine
        fields = [
            "position",
            "contract",
            "tariff",
            "tariff_version",
            "charge",
            "kind",
            "tou_period",
            "tier",
            "start_at",
            "end_at",
            "quantity_base",
            "base_unit",
            "quantity",
            "unit",
            "unit_price",
            "amount_minor",
            "subsidy_minor",
            "tax_category",
            "tax_rate",
            "explanation",
        ]
        read_only_fields = fields


class ChargedShape(serializers.Serializer[Any]):
    """A line of a month that is not issued."""

    contract = serializers.CharField(source="supply.contract")
    tariff = serializers.CharField(source="supply.tariff")
    tariff_version = serializers.IntegerField()
    charge = serializers.CharField(source="line.charge")
    kind = serializers.CharField(source="line.kind")
    tou_period = serializers.CharField(source="line.tou_period", allow_null=True)
    tier = serializers.IntegerField(source="line.tier", allow_null=True)
    start_at = Instant(source="line.start")
    end_at = Instant(source="line.end")
    quantity_base = serializers.IntegerField(source="line.quantity_base")
    base_unit = serializers.CharField(source="line.base_unit")
    amount_minor = serializers.IntegerField()


class PreviewShape(serializers.Serializer[Any]):
    """What the invoice of the month would be if it were issued now, of the readings that are stored. `corrections`: those of
    earlier months that are approved and would go with it.
    """

    account = serializers.CharField()
    month = serializers.CharField()
    as_of = Instant()
    currency = serializers.CharField(source="charges.currency")
    net_minor = serializers.IntegerField(source="charges.net_minor")
    tax_minor = serializers.IntegerField(source="charges.tax_minor")
    gross_minor = serializers.IntegerField(source="charges.gross_minor")
    subsidy_minor = serializers.IntegerField(source="charges.subsidy_minor")
    payable_minor = serializers.IntegerField(source="charges.payable_minor")
    lines = ChargedShape(many=True, source="charges.lines")
    corrections = SettledShape(allow_null=True)


class KindShape(serializers.Serializer[Any]):
    kind = serializers.CharField()
    net_minor = serializers.IntegerField()


class CostShape(serializers.Serializer[Any]):
    """Net, in minor units, of the hours up to `until_at`; null before they begin, and where they can't be priced."""

    until_at = Instant()
    currency = serializers.CharField()
    net_minor = serializers.IntegerField(allow_null=True)
    kinds = KindShape(many=True)
