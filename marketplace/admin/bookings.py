"""What buyers are quoted and reserve, and what for. To look at: reservations are made and ended by their buyers. Staff
report what a provider failed to deliver.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.models import OneOffCharge
from marketplace import reservations
from marketplace.admin.base import Labelled, StaffAdmin, StaffInline, actor, button, column, money
from marketplace.admin.page import ReasonForm, asked
from marketplace.admin.provider.reservations import STATES as RESERVATION_STATES
from marketplace.admin.site import staff
from marketplace.models import Project, Quote, Reservation, ReservationChange, WaitlistEntry

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse


WAITING_STATES = {"waiting": "info", "offered": "warning", "taken": "success"}


def _code(value: Any) -> str:
    return format_html('<pre class="s-code" tabindex="0">{}</pre>', json.dumps(value, indent=1, ensure_ascii=False))


@admin.register(Project, site=staff)
class ProjectAdmin(StaffAdmin):
    list_display = ("name", "code", "organization", "cost_centre", "limit", "is_hard", "archived_at")
    list_select_related = ("organization__zone__issuer",)
    list_filter = (
        "is_hard",
        ("archived_at", admin.EmptyFieldListFilter),
        ("organization", admin.RelatedOnlyFieldListFilter),
    )
    search_fields = ("code", "name", "cost_centre", "organization__name")
    ordering = ("organization__name", "code")
    fields = (
        ("organization", "code"),
        ("name", "cost_centre"),
        ("limit", "is_hard"),
        "warn_percents",
        ("created_at", "archived_at"),
        "who",
    )
    readonly_fields = ("limit",)

    @column(_("monthly limit"), order="monthly_limit_minor")
    def limit(self, project: Project) -> str:
        return money(project.monthly_limit_minor, project.organization.zone.issuer.currency)


@admin.register(Quote, site=staff)
class QuoteAdmin(StaffAdmin):
    list_display = ("short", "organization", "offering", "quantity", "start_at", "end_at", "net", "expires_at")
    list_select_related = ("organization", "offering")
    list_filter = (("organization", admin.RelatedOnlyFieldListFilter), ("offering", admin.RelatedOnlyFieldListFilter))
    search_fields = ("id", "organization__name", "offering__code")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    fields = (
        ("id", "offering"),
        ("organization", "project"),
        ("quantity", "extends"),
        ("start_at", "end_at"),
        ("net", "tax", "gross"),
        ("subsidy", "reimbursed", "payable"),
        ("created_at", "expires_at"),
        "tariff_version",
        "price",
        "promises",
        "conditions",
        "who",
    )
    readonly_fields = ("net", "tax", "gross", "subsidy", "reimbursed", "payable", "price", "promises", "conditions")

    @column(_("quote"), order="pk")
    def short(self, quote: Quote) -> str:
        return str(quote.pk)[:8]

    @column(_("net"), order="net_minor")
    def net(self, row: Any) -> str:
        return money(row.net_minor, row.currency)

    @column(_("tax"))
    def tax(self, row: Any) -> str:
        return money(row.tax_minor, row.currency)

    @column(_("gross"))
    def gross(self, row: Any) -> str:
        return money(row.gross_minor, row.currency)

    @column(_("promised by programmes"))
    def subsidy(self, row: Any) -> str:
        return money(row.subsidy_minor, row.currency)

    @column(_("paid back by programmes"))
    def reimbursed(self, row: Any) -> str:
        return money(row.reimbursed_minor, row.currency)

    @column(_("payable"))
    def payable(self, row: Any) -> str:
        return money(row.payable_minor, row.currency)

    @column(_("programmes' shares"))
    def promises(self, quote: Quote) -> str:
        return _code(quote.shares)

    @column(_("parts of the price"))
    def price(self, quote: Quote) -> str:
        return _code(quote.parts)

    @column(_("terms"))
    def conditions(self, quote: Quote) -> str:
        return _code(quote.terms)


class StepInline(StaffInline):
    model = ReservationChange
    verbose_name_plural = _("history")
    fields = ("at", "kind", "facts", "who")
    ordering = ("-at", "-pk")


@admin.register(Reservation, site=staff)
class ReservationAdmin(StaffAdmin):
    list_display = ("short", "organization", "provider", "pool", "quantity", "start_at", "end_at", "net", "status")
    list_select_related = ("organization", "pool__site__provider")
    list_filter = (
        "state",
        ("organization", admin.RelatedOnlyFieldListFilter),
        ("pool__site__provider", admin.RelatedOnlyFieldListFilter),
    )
    search_fields = ("id", "organization__name", "pool__code", "offering__code", "contract__number")
    date_hierarchy = "start_at"
    ordering = ("-start_at", "-pk")
    fields = (
        ("id", "status"),
        ("organization", "project"),
        ("offering", "pool"),
        ("quantity", "provider"),
        ("start_at", "end_at"),
        ("net", "tax", "gross"),
        ("subsidy", "reimbursed", "payable"),
        ("quote", "contract"),
        ("created_at", "hold_expires_at"),
        ("confirmed_at", "started_at", "ended_at"),
        "who",
    )
    readonly_fields = ("status", "provider", "net", "tax", "gross", "subsidy", "reimbursed", "payable")
    inlines = (StepInline,)
    actions_detail = ("fail",)
    net, tax, gross = QuoteAdmin.net, QuoteAdmin.tax, QuoteAdmin.gross
    subsidy, reimbursed, payable = QuoteAdmin.subsidy, QuoteAdmin.reimbursed, QuoteAdmin.payable

    @column(_("reservation"), order="pk")
    def short(self, reservation: Reservation) -> str:
        return str(reservation.pk)[:8]

    @column(_("provider"), order="pool__site__provider__name")
    def provider(self, reservation: Reservation) -> str:
        return reservation.pool.site.provider.name

    @column(_("state"), order="state", label=RESERVATION_STATES)
    def status(self, reservation: Reservation) -> Labelled:
        return Labelled(reservation.state, reservation.get_state_display())

    @button(_("Report a failure"), path="fail", icon="report")
    def fail(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For a provider that can't or won't say so itself."""
        reservation: Reservation = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            reservations.fail(reservation=reservation, **facts, at=timezone.now(), actor=actor(request))
            self.log_change(request, reservation, f"fail: {facts['reason']}")
            messages.success(request, gettext("The reservation has failed; its hours are free again."))

        is_live = reservation.state in (Reservation.State.CONFIRMED, Reservation.State.ACTIVE)
        state = {"state": reservation.get_state_display()}
        return asked(
            request,
            title=_("Report a failure"),
            intro=gettext(
                "The provider does not deliver: the reservation ends now, and the buyer pays nothing from now on."
            ),
            form=ReasonForm(request.POST or None),
            answer=_("Report a failure"),
            back=staff.address("marketplace_reservation_change", reservation.pk),
            act=act,
            refusals=(reservations.WrongStateError,),
            obstacle="" if is_live else gettext("The reservation is in the state “%(state)s”.") % state,
        )


@admin.register(WaitlistEntry, site=staff)
class WaitlistAdmin(StaffAdmin):
    list_display = (
        "short",
        "organization",
        "offering",
        "quantity",
        "hours",
        "earliest_at",
        "latest_at",
        "most",
        "status",
    )
    list_select_related = ("organization__zone__issuer", "offering")
    list_filter = ("state", ("organization", admin.RelatedOnlyFieldListFilter))
    search_fields = ("id", "organization__name", "offering__code")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    exclude = ("max_net_minor", "state")
    readonly_fields = ("most", "status")

    @column(_("waitlist entry"), order="pk")
    def short(self, entry: WaitlistEntry) -> str:
        return str(entry.pk)[:8]

    @column(_("highest price"), order="max_net_minor")
    def most(self, entry: WaitlistEntry) -> str:
        return money(entry.max_net_minor, entry.organization.zone.issuer.currency)

    @column(_("state"), order="state", label=WAITING_STATES)
    def status(self, entry: WaitlistEntry) -> Labelled:
        return Labelled(entry.state, entry.get_state_display())


@admin.register(OneOffCharge, site=staff)
class OneOffChargeAdmin(StaffAdmin):
    list_display = ("code", "kind", "contract", "at", "amount", "source", "created_at")
    list_select_related = ("contract__account__issuer",)
    list_filter = ("kind", "code")
    search_fields = ("code", "source", "contract__number", "contract__account__code")
    date_hierarchy = "at"
    ordering = ("-at", "-pk")
    fields = (
        ("code", "kind"),
        "contract",
        ("at", "amount"),
        ("tax_category", "tax_rate"),
        "source",
        "reasons",
        ("created_at", "who"),
    )
    readonly_fields = ("amount", "reasons")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OneOffCharge]:
        rows: QuerySet[OneOffCharge] = super().get_queryset(request)
        return rows.select_related("contract__account__issuer")

    @column(_("amount"), order="amount_minor")
    def amount(self, charge: OneOffCharge) -> str:
        return money(charge.amount_minor, charge.contract.account.issuer.currency)

    @column(_("how it came about"))
    def reasons(self, charge: OneOffCharge) -> str:
        return _code(charge.why)
