"""Meters and their senders, tariffs and their versions, contracts and what is reserved under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget  # type: ignore[import-untyped]

from billing import contracts, tariffs
from billing.models import Contract, EventSource, Meter, ReservedSpan, Tariff, TariffVersion
from billing.rating.tariff import TariffError
from marketplace.admin.base import StaffAdmin, StaffInline, VerbForm, actor, column
from marketplace.admin.documents import DocumentField, pretty
from marketplace.admin.site import staff

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest


class MeterForm(VerbForm):
    """No verb defines a meter: the row is one, and its constraints say what it may be."""

    class Meta:
        model = Meter
        fields = tuple(field.name for field in Meter._meta.fields if not field.primary_key)  # noqa: SLF001

    def _get_validation_exclusions(self) -> set[str]:
        return set(forms.ModelForm._get_validation_exclusions(self))  # type: ignore[attr-defined]  # noqa: SLF001

    def tell(self, _facts: dict[str, Any]) -> Model:
        meter: Meter = self.instance
        meter.save()
        return meter


@admin.register(Meter, site=staff)
class MeterAdmin(StaffAdmin):
    add_form = MeterForm
    changeable = ("name", "name_en")
    list_display = ("code", "name", "event_type", "kind", "aggregation", "unit", "base_unit", "base_per_unit")
    list_filter = ("kind", "aggregation")
    search_fields = ("code", "name", "name_en", "event_type")
    ordering = ("code",)


@admin.register(EventSource, site=staff)
class EventSourceAdmin(StaffAdmin):
    list_display = ("name", "owner")
    list_select_related = ("owner",)
    search_fields = ("name", "owner__legal_name")
    ordering = ("name", "pk")


class VersionInline(StaffInline):
    model = TariffVersion
    fields = ("version", "effective_at", "published_at", "who")
    show_change_link = True


@admin.register(Tariff, site=staff)
class TariffAdmin(StaffAdmin):
    """A tariff comes into being with its first version."""

    changeable = ("name", "name_en")
    list_display = ("code", "name", "name_en", "publish")
    search_fields = ("code", "name", "name_en")
    readonly_fields = ("publish",)
    inlines = (VersionInline,)
    ordering = ("code",)

    @column(_("next version"))
    def publish(self, tariff: Tariff) -> str:
        return format_html(
            '<a href="{}">{}</a>', staff.address("billing_tariffversion_add", tariff=tariff.pk), _("Publish")
        )


class PublishForm(VerbForm):
    """A tariff document as text. Decimals stay as they are written; an error stands at the field, with its path."""

    document = DocumentField(
        help_text=_(
            "The tariff document as JSON. Its code says whose next version it is, effective[0] from when it applies."
        ),
    )
    refusals = (TariffError, tariffs.VersionTooEarlyError, tariffs.OwnerDiffersError)

    class Meta:
        model = TariffVersion
        fields = ()

    def tell(self, facts: dict[str, Any]) -> Model:
        return tariffs.publish(document=facts["document"], at=timezone.now(), actor=actor(self.request))

    def _field_of(self, _refusal: Exception) -> str | None:
        return "document"


@admin.register(TariffVersion, site=staff)
class TariffVersionAdmin(StaffAdmin):
    add_form = PublishForm
    list_display = ("tariff", "version", "effective_at", "published_at", "who")
    list_display_links = ("tariff", "version")
    list_select_related = ("tariff",)
    list_filter = (("tariff", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("tariff__code", "tariff__name")
    date_hierarchy = "effective_at"
    ordering = ("tariff__code", "-version")
    fields = ("tariff", "version", "effective_at", "published_at", "who", "sha256", "text")
    readonly_fields = ("text",)

    @column(_("document"))
    def text(self, version: TariffVersion) -> str:
        return format_html('<pre class="s-code" tabindex="0">{}</pre>', pretty(version.document))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """With ?tariff=, the last version's document to begin from."""
        wanted = request.GET.get("tariff", "")
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 18):
            return {}
        last = TariffVersion.objects.filter(tariff=int(wanted)).order_by("version").last()
        return {} if last is None else {"document": pretty(last.document)}


class ContractForm(VerbForm):
    refusals = (contracts.InvalidContractError, contracts.ContractDiffersError, contracts.AlreadyInvoicedError)

    class Meta:
        model = Contract
        fields = ("number", "account", "tariff", "provider", "fee_percent", "start_at", "end_at")

    def tell(self, facts: dict[str, Any]) -> Model:
        return contracts.sign(**facts, actor=actor(self.request))


class SpanInline(StaffInline):
    model = ReservedSpan
    fields = ("quantity", "start_at", "end_at", "source")
    ordering = ("start_at", "pk")


@admin.register(Contract, site=staff)
class ContractAdmin(StaffAdmin):
    add_form = ContractForm
    autocomplete_fields = ("account", "tariff", "provider")
    list_display = ("number", "account", "tariff", "provider", "fee_percent", "start_at", "end_at", "usage")
    list_select_related = ("account", "tariff", "provider")
    list_filter = (("tariff", admin.RelatedOnlyFieldListFilter), ("provider", admin.RelatedOnlyFieldListFilter))
    search_fields = ("number", "account__code", "account__party__legal_name", "tariff__code", "provider__legal_name")
    date_hierarchy = "start_at"
    readonly_fields = ("usage", "reserve")
    inlines = (SpanInline,)

    @column(_("usage"))
    def usage(self, contract: Contract) -> str:
        return format_html(
            '<a href="{}">{}</a>', staff.address("usage_readings", contract=contract.number), _("Readings")
        )

    @column(_("capacity"))
    def reserve(self, contract: Contract) -> str:
        return format_html(
            '<a href="{}">{}</a>', staff.address("billing_reservedspan_add", contract=contract.pk), _("Reserve")
        )


class SpanForm(VerbForm):
    refusals = (contracts.InvalidContractError, contracts.ReservedSpanDiffersError, contracts.AlreadyInvoicedError)
    source = forms.CharField(
        label=_("Source"),
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("What it is reserved for, such as the number of an order; once per contract."),
    )

    class Meta:
        model = ReservedSpan
        fields = ("contract", "quantity", "start_at", "end_at", "source")

    def tell(self, facts: dict[str, Any]) -> Model:
        return contracts.reserve(**facts)


@admin.register(ReservedSpan, site=staff)
class ReservedSpanAdmin(StaffAdmin):
    add_form = SpanForm
    autocomplete_fields = ("contract",)
    list_display = ("contract", "quantity", "start_at", "end_at", "source")
    list_select_related = ("contract",)
    search_fields = ("contract__number", "source")
    date_hierarchy = "start_at"
    ordering = ("-start_at", "-pk")
