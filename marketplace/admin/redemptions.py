"""What programmes have promised and paid: commitments, shares of invoices, redemptions of lines. All of it to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from billing.models import Commitment, ProgrammeShare, Redemption
from marketplace.admin.base import Labelled, StaffAdmin, StaffInline, column, money
from marketplace.admin.site import staff
from marketplace.web.grants import LIMITED

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrPromise

ENDS = {"open": "info", "redeemed": "success", "expired": "warning"}


@admin.register(Commitment, site=staff)
class CommitmentAdmin(StaffAdmin):
    list_display = ("grant_of", "programme", "month", "amount", "redeemed", "status", "source", "expires_at")
    list_select_related = ("grant__programme", "grant__party")
    list_filter = ("state", ("grant__programme", admin.RelatedOnlyFieldListFilter), "month")
    search_fields = ("source", "grant__party__legal_name", "grant__party__credit_code", "grant__programme__code")
    date_hierarchy = "created_at"
    ordering = ("-pk",)
    readonly_fields = ("amount", "redeemed", "status", "who")
    fields = (
        ("grant", "account", "month"),
        ("status", "amount", "redeemed"),
        "source",
        ("created_at", "expires_at", "who"),
        ("ended_at", "ended_by"),
    )

    @column(_("legal person"), order="grant__party__legal_name")
    def grant_of(self, row: Commitment) -> str:
        return row.grant.party.legal_name

    @column(_("programme"), order="grant__programme__code")
    def programme(self, row: Commitment) -> str:
        return row.grant.programme.code

    @column(_("committed"), order="amount_minor")
    def amount(self, row: Commitment) -> str:
        return money(row.amount_minor, row.grant.programme.currency)

    @column(_("redeemed"), order="redeemed_minor")
    def redeemed(self, row: Commitment) -> str:
        return money(row.redeemed_minor, row.grant.programme.currency)

    @column(_("state"), order="state", label=ENDS)
    def status(self, row: Commitment) -> Labelled:
        return Labelled(row.state, row.get_state_display())


class RedemptionInline(StaffInline):
    model = Redemption
    fields = ("line", "amount", "clawed_back", "paid")
    readonly_fields = ("amount", "clawed_back", "paid")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Redemption]:
        rows = super().get_queryset(request).select_related("share__programme", "line")
        return rows.defer("line__explanation")

    @column(_("redeemed"))
    def amount(self, row: Redemption) -> str:
        return money(row.amount_minor, row.share.programme.currency)

    @column(_("clawed back"))
    def clawed_back(self, row: Redemption) -> str:
        return money(row.clawed_back_minor, row.share.programme.currency)

    @column(_("paid by the funder"))
    def paid(self, row: Redemption) -> str:
        return money(row.paid_minor, row.share.programme.currency)


@admin.register(ProgrammeShare, site=staff)
class ProgrammeShareAdmin(StaffAdmin):
    list_display = ("invoice", "firm", "programme", "month", "eligible", "wanted", "share", "limits")
    list_select_related = ("programme", "invoice", "grant__party")
    list_filter = (("programme", admin.RelatedOnlyFieldListFilter), "month", "limited_by")
    search_fields = ("invoice__number", "grant__party__legal_name", "grant__party__credit_code")
    ordering = ("-pk",)
    fields = (("invoice", "programme", "grant"), "month", ("eligible", "wanted", "share"), "limits", "barred")
    readonly_fields = ("eligible", "wanted", "share", "limits")
    inlines = (RedemptionInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProgrammeShare]:
        rows: QuerySet[ProgrammeShare] = super().get_queryset(request)
        return rows.defer("invoice__snapshot")

    @column(_("legal person"), order="grant__party__legal_name")
    def firm(self, row: ProgrammeShare) -> str:
        return row.grant.party.legal_name

    @column(_("eligible"), order="eligible_minor")
    def eligible(self, row: ProgrammeShare) -> str:
        return money(row.eligible_minor, row.programme.currency)

    @column(_("wanted"), order="wanted_minor")
    def wanted(self, row: ProgrammeShare) -> str:
        return money(row.wanted_minor, row.programme.currency)

    @column(_("share"), order="share_minor")
    def share(self, row: ProgrammeShare) -> str:
        return money(row.share_minor, row.programme.currency)

    @column(_("limited by"), order="limited_by")
    def limits(self, row: ProgrammeShare) -> str:
        return str(LIMITED.get(row.limited_by, "–"))


class DoubleFilter(admin.SimpleListFilter):
    title = _("paid by several programmes")
    parameter_name = "double"

    def lookups(self, _request: HttpRequest, _model_admin: object) -> list[tuple[str, _StrPromise]]:
        return [("yes", _("yes"))]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Redemption]) -> QuerySet[Redemption]:
        return queryset.double_funded() if self.value() == "yes" else queryset  # type: ignore[attr-defined]


@admin.register(Redemption, site=staff)
class RedemptionAdmin(StaffAdmin):
    list_display = ("line_of", "firm", "programme", "month", "amount", "clawed_back", "paid")
    list_select_related = ("share__programme", "share__grant__party", "line__invoice")
    list_filter = (("share__programme", admin.RelatedOnlyFieldListFilter), "share__month", DoubleFilter)
    search_fields = ("share__grant__party__legal_name", "share__grant__party__credit_code", "line__invoice__number")
    ordering = ("-pk",)
    fields = ("share", "line", ("amount", "clawed_back", "paid"))
    readonly_fields = ("amount", "clawed_back", "paid")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Redemption]:
        rows: QuerySet[Redemption] = super().get_queryset(request)
        return rows.defer("line__explanation", "line__invoice__snapshot")

    @column(_("invoice line"), order="line")
    def line_of(self, row: Redemption) -> str:
        return f"{row.line.invoice} · {row.line.position}"

    @column(_("legal person"), order="share__grant__party__legal_name")
    def firm(self, row: Redemption) -> str:
        return row.share.grant.party.legal_name

    @column(_("programme"), order="share__programme__code")
    def programme(self, row: Redemption) -> str:
        return row.share.programme.code

    @column(_("month"), order="share__month")
    def month(self, row: Redemption) -> str:
        return row.share.month

    @column(_("redeemed"), order="amount_minor")
    def amount(self, row: Redemption) -> str:
        return money(row.amount_minor, row.share.programme.currency)

    @column(_("clawed back"), order="clawed_back_minor")
    def clawed_back(self, row: Redemption) -> str:
        return money(row.clawed_back_minor, row.share.programme.currency)

    @column(_("paid by the funder"), order="paid_minor")
    def paid(self, row: Redemption) -> str:
        return money(row.paid_minor, row.share.programme.currency)
