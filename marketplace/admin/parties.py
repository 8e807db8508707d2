"""Legal persons, issuers, buyers' accounts, number series, zones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from billing import parties
from billing.models import Account, Issuer, NumberSeries, Party
from marketplace.admin.base import StaffAdmin, VerbForm, column
from marketplace.admin.site import staff
from marketplace.models import Zone

if TYPE_CHECKING:
    from django.db.models import Model


class PartyForm(VerbForm):
    refusals = (parties.InvalidPartyError, parties.PartyDiffersError)

    class Meta:
        model = Party
        fields = ("legal_name", "legal_name_en", "credit_code", "address")

    def tell(self, facts: dict[str, Any]) -> Model:
        return parties.register(**facts, at=timezone.now())


@admin.register(Party, site=staff)
class PartyAdmin(StaffAdmin):
    add_form = PartyForm
    changeable = ("legal_name", "legal_name_en", "address")
    list_display = ("legal_name", "legal_name_en", "credit_code", "created_at")
    search_fields = ("legal_name", "legal_name_en", "credit_code")
    date_hierarchy = "created_at"
    ordering = ("legal_name", "pk")


class IssuerForm(VerbForm):
    refusals = (parties.InvalidPartyError, parties.IssuerDiffersError)

    class Meta:
        model = Issuer
        fields = ("code", "party", "timezone", "currency", "number_prefix")

    def tell(self, facts: dict[str, Any]) -> Model:
        return parties.appoint_issuer(**facts)


@admin.register(Issuer, site=staff)
class IssuerAdmin(StaffAdmin):
    add_form = IssuerForm
    autocomplete_fields = ("party",)
    list_display = ("code", "party", "timezone", "currency", "number_prefix")
    list_select_related = ("party",)
    search_fields = ("code", "party__legal_name")
    ordering = ("code",)


class AccountForm(VerbForm):
    refusals = (parties.InvalidPartyError, parties.AccountDiffersError)

    class Meta:
        model = Account
        fields = ("issuer", "code", "party", "language", "payment_term_days")

    def tell(self, facts: dict[str, Any]) -> Model:
        return parties.open_account(**facts, at=timezone.now())


@admin.register(Account, site=staff)
class AccountAdmin(StaffAdmin):
    add_form = AccountForm
    changeable = ("language", "payment_term_days")
    autocomplete_fields = ("party", "issuer")
    list_display = ("code", "party", "issuer", "language", "payment_term_days", "month", "created_at")
    list_select_related = ("party", "issuer")
    list_filter = (("issuer", admin.RelatedOnlyFieldListFilter), "language")
    search_fields = ("code", "party__legal_name", "party__legal_name_en", "party__credit_code")
    readonly_fields = ("month",)
    date_hierarchy = "created_at"

    @column(_("preview"))
    def month(self, account: Account) -> str:
        return format_html('<a href="{}">{}</a>', reverse("admin:preview", args=[account.pk]), _("This month so far"))


@admin.register(NumberSeries, site=staff)
class NumberSeriesAdmin(StaffAdmin):
    list_display = ("series", "issuer", "last_number")
    list_select_related = ("issuer",)
    list_filter = (("issuer", admin.RelatedOnlyFieldListFilter),)
    ordering = ("issuer", "series")


@admin.register(Zone, site=staff)
class ZoneAdmin(StaffAdmin):
    list_display = ("code", "name", "name_en", "issuer", "made_from")
    list_select_related = ("issuer",)
    search_fields = ("code", "name", "name_en")
    ordering = ("code",)
