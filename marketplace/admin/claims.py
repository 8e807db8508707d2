"""Claims: what a funder is asked for, its evidence as one file, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing import claims
from billing.documents.figures import major
from billing.models import Claim, ClaimChange, ClaimLine, Party
from billing.rating.money import exponent
from marketplace.admin.base import Labelled, StaffAdmin, StaffInline, VerbForm, actor, button, column, money
from marketplace.admin.page import link, long_text_field, text_field
from marketplace.admin.programme_forms import minor
from marketplace.admin.site import staff
from marketplace.admin.steps import Steps, sent
from marketplace.names import named
from marketplace.web.downloads import packed

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse

TONES = {"draft": "warning", "submitted": "info", "paid": "success", "short_paid": "warning", "rejected": "danger"}
State = Claim.State


class ClaimForm(VerbForm):
    """All that is owed for use in some months; of a reimbursement, what one firm claims by itself."""

    from_month = forms.RegexField(
        r"^\d{4}-(0[1-9]|1[0-2])$", label=_("from month"), help_text=_("Of use, such as 2026-01.")
    )
    until_month = forms.RegexField(
        r"^\d{4}-(0[1-9]|1[0-2])$", label=_("until month"), help_text=_("This one included.")
    )
    firm = text_field(_("claimant"))
    refusals = (claims.InvalidClaimError, claims.NothingToClaimError, claims.AlreadyClaimedError)

    class Meta:
        model = Claim
        fields = ("programme", "key")

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.fields["key"].help_text = _("Such as 2026-q1: once for a programme.")
        self.fields["firm"].help_text = _("Of a reimbursement alone: the firm's unified social credit code.")

    def clean_firm(self) -> Party | None:
        code = "".join(self.cleaned_data["firm"].split()).upper()
        found = Party.objects.filter(credit_code=code).first()
        if code and found is None:
            raise forms.ValidationError(_("No legal person of that code is known: register it first."))
        return found

    def tell(self, facts: dict[str, Any]) -> Model:
        return claims.claim(
            programme=facts["programme"],
            key=facts["key"],
            from_month=facts["from_month"],
            until_month=facts["until_month"],
            claimant=facts["firm"],
            at=timezone.now(),
            actor=actor(self.request),
        )

    def _field_of(self, refusal: Exception) -> str | None:
        return "firm" if isinstance(refusal, claims.InvalidClaimError) else None

    def _words_of(self, refusal: Exception) -> str:
        if isinstance(refusal, claims.NothingToClaimError):
            return gettext("Nothing is owed for these months that no other claim holds.")
        if isinstance(refusal, claims.AlreadyClaimedError):
            return gettext("Another claim took a part of it meanwhile: try again.")
        return gettext("A voucher is claimed by the issuer, a reimbursement by its firm.")


class LineInline(StaffInline):
    model = ClaimLine
    fields = ("invoice", "line", "amount", "paid")
    readonly_fields = fields
    verbose_name_plural = _("Lines")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClaimLine]:
        rows = super().get_queryset(request)
        whole = rows.select_related("claim__programme", "redemption__line__invoice")
        return whole.defer("redemption__line__explanation", "redemption__line__invoice__snapshot")

    @column(_("invoice"))
    def invoice(self, row: ClaimLine) -> str:
        return str(row.redemption.line.invoice)

    @column(_("invoice line"))
    def line(self, row: ClaimLine) -> str:
        return f"{row.redemption.line.position} · {row.redemption.line.charge}"

    @column(_("claimed"))
    def amount(self, row: ClaimLine) -> str:
        return money(row.amount_minor, row.claim.programme.currency)

    @column(_("paid"))
    def paid(self, row: ClaimLine) -> str:
        return money(row.paid_minor, row.claim.programme.currency)


class ChangeInline(StaffInline):
    model = ClaimChange
    fields = ("at", "state", "paid", "reason", "who")
    readonly_fields = ("paid",)
    ordering = ("-id",)
    verbose_name_plural = _("Changes")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClaimChange]:
        rows: QuerySet[ClaimChange] = super().get_queryset(request)
        return rows.select_related("claim__programme")

    @column(_("paid"))
    def paid(self, row: ClaimChange) -> str:
        return money(row.paid_minor, row.claim.programme.currency)


class SettleForm(forms.Form):
    reason = long_text_field(_("reason"), _("Needed where it is not paid in full."))

    def __init__(self, data: Any, *, claim: Claim) -> None:
        super().__init__(data)
        self.claim = claim
        currency = claim.programme.currency
        paid = forms.DecimalField(
            label=_("paid"),
            max_digits=18,
            decimal_places=exponent(currency),
            initial=major(claim.amount_minor, currency),
            help_text=_("In %(currency)s. 0: it was rejected.") % {"currency": currency},
        )
        self.fields = {"paid": paid, "reason": self.fields["reason"]}
        self.fields["reason"].required = False

    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if facts.get("paid") is None:
            return facts
        facts["paid_minor"] = minor(facts.pop("paid"), self.claim.programme.currency)
        whole = self.claim.amount_minor
        if facts["paid_minor"] != whole and not 0 <= facts["paid_minor"] < whole:
            said = _("From 0 to %(amount)s, what was claimed.")
            self.add_error(None, str(said) % {"amount": money(whole, self.claim.programme.currency)})
        elif facts["paid_minor"] != whole and not facts.get("reason", "").strip():
            self.add_error("reason", _("Say why it is not paid in full."))
        return facts


@admin.register(Claim, site=staff)
class ClaimAdmin(Steps, StaffAdmin):
    add_form = ClaimForm
    refusals = (claims.InvalidClaimError, claims.ClaimDiffersError, claims.ClaimStateError)
    list_display = ("key", "programme", "claimant", "status", "amount", "paid", "made_at", "pack")
    list_select_related = ("programme", "claimant")
    list_filter = ("state", ("programme", admin.RelatedOnlyFieldListFilter))
    search_fields = ("key", "programme__code", "claimant__legal_name", "claimant__credit_code")
    date_hierarchy = "made_at"
    ordering = ("-pk",)
    fields = (
        ("programme", "key", "status"),
        "claimant",
        ("amount", "paid"),
        "reason",
        ("made_at", "submitted_at", "settled_at"),
        "who",
        "pack",
    )
    readonly_fields = ("status", "amount", "paid", "pack", "who")
    inlines = (LineInline, ChangeInline)
    actions_detail = ("submit", "settle")

    @column(_("state"), order="state", label=TONES)
    def status(self, claim: Claim) -> Labelled:
        return Labelled(claim.state, claim.get_state_display())

    @column(_("claimed"), order="amount_minor")
    def amount(self, claim: Claim) -> str:
        return money(claim.amount_minor, claim.programme.currency)

    @column(_("paid"), order="paid_minor")
    def paid(self, claim: Claim) -> str:
        return money(claim.paid_minor, claim.programme.currency)

    @column(_("evidence"))
    def pack(self, claim: Claim) -> str:
        return link(staff.address("claim_pack", claim.pk), "ZIP")

    def called(self, row: Claim) -> str:
        return f"{named(row.programme)} · {row.key}"

    @button(_("Submit"), path="submit", icon="send")
    def submit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        claim: Claim = self.row(request, object_id)
        return self.confirm(
            request,
            claim,
            _("Submit"),
            lambda: claims.submit(claim=claim, at=timezone.now(), actor=actor(request)),
            states=(State.DRAFT,),
            question=_("It is handed in to the funder. Its lines stay as they are."),
        )

    @button(_("Settle"), path="settle", icon="price_check")
    def settle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        claim: Claim = self.row(request, object_id)
        return self.ask(
            request,
            claim,
            _("Settle"),
            lambda facts: claims.settle_claim(claim=claim, **facts, at=timezone.now(), actor=actor(request)),
            states=(State.SUBMITTED,),
            form=SettleForm(sent(request), claim=claim),
            intro=_("What the funder paid. What is not paid is owed still, and may be claimed again."),
        )


@staff.page("programmes/claims/<int:claim_id>/pack/", "claim_pack")
@require_safe
def pack(_request: HttpRequest, claim_id: int) -> Any:
    """The evidence as one file."""
    rows = Claim.objects.select_related("programme__funder", "claimant")
    return packed(get_object_or_404(rows, pk=claim_id))
