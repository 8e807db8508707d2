"""The ledger: accounts, journals, postings, the trial balance. All of it to look at: billing.ledger alone writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet, Sum
from django.utils.translation import gettext as now_
from django.utils.translation import gettext_lazy as _

from billing.models import Issuer, Journal, LedgerAccount, Posting
from marketplace.admin.base import StaffAdmin, StaffInline, column, money
from marketplace.admin.page import Table, choice_field, date_field, link
from marketplace.admin.site import staff

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@admin.register(LedgerAccount, site=staff)
class LedgerAccountAdmin(StaffAdmin):
    list_display = ("name", "kind", "owner", "issuer", "currency", "balance")
    list_select_related = ("issuer", "account", "party")
    list_filter = ("kind", "currency", ("issuer", admin.RelatedOnlyFieldListFilter))
    search_fields = ("name", "account__code", "party__legal_name")
    readonly_fields = ("owner", "balance")
    ordering = ("name", "pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        rows: QuerySet[LedgerAccount] = super().get_queryset(request)
        return rows.annotate(sum_minor=Sum("postings__amount_minor"))

    @column(_("kept for"))
    def owner(self, ledger_account: LedgerAccount) -> str:
        return _owner(ledger_account)

    @column(_("balance"), order="sum_minor")
    def balance(self, ledger_account: Any) -> str:
        return money(ledger_account.sum_minor or 0, ledger_account.currency)


class PostingInline(StaffInline):
    model = Posting
    fields = ("name", "owner", "debit", "credit")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Posting]:
        return super().get_queryset(request).select_related("ledger_account__account", "ledger_account__party")

    @column(_("ledger account"))
    def name(self, posting: Posting) -> str:
        return posting.ledger_account.name

    @column(_("kept for"))
    def owner(self, posting: Posting) -> str:
        return _owner(posting.ledger_account)

    @column(_("debit"))
    def debit(self, posting: Posting) -> str:
        return _side(posting, 1)

    @column(_("credit"))
    def credit(self, posting: Posting) -> str:
        return _side(posting, -1)


@admin.register(Journal, site=staff)
class JournalAdmin(StaffAdmin):
    list_display = ("key", "issuer", "period", "effective_date", "source", "reverses", "posted_at", "who")
    list_select_related = ("issuer", "period", "reverses")
    list_filter = (
        ("issuer", admin.RelatedOnlyFieldListFilter),
        ("period", admin.RelatedOnlyFieldListFilter),
        ("reverses", admin.EmptyFieldListFilter),
    )
    search_fields = ("key", "source")
    date_hierarchy = "effective_date"
    ordering = ("-pk",)
    inlines = (PostingInline,)


@admin.register(Posting, site=staff)
class PostingAdmin(StaffAdmin):
    list_display = ("journal", "name", "owner", "effective_date", "debit", "credit")
    list_select_related = ("journal", "ledger_account__account", "ledger_account__party")
    list_filter = ("ledger_account__name", ("journal__period", admin.RelatedOnlyFieldListFilter))
    search_fields = ("journal__key", "ledger_account__account__code", "ledger_account__party__legal_name")
    date_hierarchy = "journal__effective_date"
    ordering = ("-pk",)
    fields = ("journal", "ledger_account", "owner", "debit", "credit")
    readonly_fields = ("owner", "debit", "credit")

    @column(_("ledger account"), order="ledger_account__name")
    def name(self, posting: Posting) -> str:
        return posting.ledger_account.name

    @column(_("kept for"))
    def owner(self, posting: Posting) -> str:
        return _owner(posting.ledger_account)

    @column(_("date"), order="journal__effective_date")
    def effective_date(self, posting: Posting) -> Any:
        return posting.journal.effective_date

    @column(_("debit"), order="amount_minor")
    def debit(self, posting: Posting) -> str:
        return _side(posting, 1)

    @column(_("credit"), order="amount_minor")
    def credit(self, posting: Posting) -> str:
        return _side(posting, -1)


def _owner(ledger_account: LedgerAccount) -> str:
    """The account or party that a ledger account is kept for; both are at hand."""
    if ledger_account.account is not None:
        return ledger_account.account.code
    return ledger_account.party.legal_name if ledger_account.party is not None else ""


def _side(posting: Posting, sign: int) -> str:
    amount_minor = posting.amount_minor * sign
    return money(amount_minor, posting.ledger_account.currency) if amount_minor > 0 else ""


# The trial balance


class BalanceForm(forms.Form):
    issuer = choice_field(_("issuer"))
    to_date = date_field(_("to the end of"))


@staff.page("ledger/trial-balance/", "trial_balance")
def trial_balance(request: HttpRequest) -> HttpResponse:
    """Debit, credit and balance of each ledger account, by issuer and currency; the sums are equal or something is wrong."""
    form = BalanceForm(request.GET)
    form.fields["issuer"].choices = [("", _("Every issuer"))] + [  # type: ignore[attr-defined]
        (code, code) for code in Issuer.objects.order_by("code").values_list("code", flat=True)
    ]
    facts = form.cleaned_data if form.is_valid() else {}
    upto = Q(postings__journal__effective_date__lte=facts["to_date"]) if facts.get("to_date") else Q()
    rows = LedgerAccount.objects.select_related("issuer", "account", "party")
    if facts.get("issuer"):
        rows = rows.filter(issuer__code=facts["issuer"])
    summed = rows.annotate(
        debit_minor=Sum("postings__amount_minor", filter=Q(postings__amount_minor__gt=0) & upto, default=0),
        credit_minor=Sum("postings__amount_minor", filter=Q(postings__amount_minor__lt=0) & upto, default=0),
    ).order_by("issuer__code", "currency", "name", "account__code", "party__legal_name", "pk")
    tables: dict[tuple[str, str], list[LedgerAccount]] = {}
    for row in summed:
        tables.setdefault((row.issuer.code, row.currency), []).append(row)
    context = {"form": form, "tables": [_balance_table(*key, rows) for key, rows in tables.items()]}
    return staff.show(request, "admin/list.html", _("Trial balance"), context)


def _balance_table(issuer: str, currency: str, rows: list[Any]) -> Table:
    debit_minor, credit_minor = sum(row.debit_minor for row in rows), -sum(row.credit_minor for row in rows)
    cells = [
        [
            link(staff.address("billing_posting_changelist", ledger_account__id__exact=row.pk), row.name),
            row.get_kind_display(),
            _owner(row),
            money(row.debit_minor, currency),
            money(-row.credit_minor, currency),
            money(row.debit_minor + row.credit_minor, currency),
        ]
        for row in rows
    ]
    cells.append(
        [
            now_("Sum"),
            "",
            "",
            money(debit_minor, currency),
            money(credit_minor, currency),
            money(debit_minor - credit_minor, currency),
        ]
    )
    headers = [_("ledger account"), _("kind"), _("kept for"), _("debit"), _("credit"), _("balance")]
    return Table(f"{issuer} · {currency}", headers, cells, numbers=(3, 4, 5), total=True)
