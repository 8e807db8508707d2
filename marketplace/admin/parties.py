"""Legal persons, issuers, buyers' accounts, number series, zones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing import parties
from billing.models import Account, Issuer, NumberSeries, Party
from marketplace.admin.base import StaffAdmin, VerbForm, actor, button, column
from marketplace.admin.page import asked, choice_field
from marketplace.admin.site import staff
from marketplace.models import Zone

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse


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


class CorrectionsForm(forms.Form):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        choices = Account.CorrectionsOn.choices
        self.fields["corrections_on"] = choice_field(_("corrections go on"), list(choices))


@admin.register(Account, site=staff)
class AccountAdmin(StaffAdmin):
    add_form = AccountForm
    changeable = ("language", "payment_term_days")
    autocomplete_fields = ("party", "issuer")
    list_display = ("code", "party", "issuer", "language", "payment_term_days", "corrections_on", "month", "created_at")
    list_select_related = ("party", "issuer")
    list_filter = (("issuer", admin.RelatedOnlyFieldListFilter), "language", "corrections_on")
    actions_detail = ("choose_corrections",)
    search_fields = ("code", "party__legal_name", "party__legal_name_en", "party__credit_code")
    readonly_fields = ("month",)
    date_hierarchy = "created_at"

    @column(_("preview"))
    def month(self, account: Account) -> str:
        return format_html('<a href="{}">{}</a>', reverse("admin:preview", args=[account.pk]), _("This month so far"))

    @button(_("Where corrections go"), path="corrections", icon="difference")
    def choose_corrections(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """As the organization itself chooses on its page."""
        account: Account = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            chosen = facts["corrections_on"]
            parties.choose_corrections(account=account, on=chosen, at=timezone.now(), actor=actor(request))
            self.log_change(request, account, f"corrections go on {chosen}")
            messages.success(request, gettext("The choice is stored. It holds for what is approved from now on."))

        return asked(
            request,
            title=_("Where corrections go"),
            intro=gettext(
                "Where do corrections of issued invoices of %(account)s go? What was approved before goes where it was"
                " approved for. The organization can choose that itself."
            )
            % {"account": account.code},
            form=CorrectionsForm(request.POST or None, initial={"corrections_on": account.corrections_on}),
            answer=_("Choose"),
            back=staff.address("billing_account_change", account.pk),
            act=act,
            refusals=(parties.InvalidPartyError,),
        )


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
