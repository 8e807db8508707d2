"""Billing periods and their closing, invoices and lines, what an account owes so far, the files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing import charging, invoicing
from billing.charging import Charges
from billing.documents import figures
from billing.documents.content import content
from billing.documents.invoice import render_invoice
from billing.documents.labels import LANGUAGES
from billing.exports import invoices as exports
from billing.exports import register
from billing.models import Account, BillingPeriod, Contract, Invoice, InvoiceLine
from billing.rating.money import quantity_text
from marketplace import jobs
from marketplace.admin.adjustments import look_again
from marketplace.admin.base import (
    STATES,
    Labelled,
    StaffAdmin,
    StaffInline,
    VerbForm,
    actor,
    button,
    column,
    money,
    word,
)
from marketplace.admin.page import Table, choice_field, confirmed, link
from marketplace.admin.site import staff
from marketplace.models import Job
from marketplace.web.downloads import exported

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

_NAMES = {"zh-hans": "PDF 中文", "en": "PDF English"}
_STATES = {"open": _("still open"), "closed": _("closed"), "draft": _("draft"), "issued": _("issued")}
MOST_REHEARSED = 500  # accounts that are rated while somebody waits for the page


# Periods


class PeriodForm(VerbForm):
    refusals = (invoicing.InvalidPeriodError, invoicing.PeriodDiffersError)

    class Meta:
        model = BillingPeriod
        fields = ("issuer", "code")

    def tell(self, facts: dict[str, Any]) -> Model:
        return invoicing.open_period(**facts)

    def _field_of(self, _refusal: Exception) -> str | None:
        return "code"


@admin.register(BillingPeriod, site=staff)
class BillingPeriodAdmin(StaffAdmin):
    add_form = PeriodForm
    list_display = ("code", "issuer", "status", "start_at", "end_at", "closed_at", "issued", "files")
    list_select_related = ("issuer",)
    list_filter = ("state", ("issuer", admin.RelatedOnlyFieldListFilter))
    search_fields = ("code", "issuer__code")
    readonly_fields = ("issued", "files")
    actions_detail = ("close",)
    ordering = ("-start_at", "issuer")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillingPeriod]:
        issued = Count("invoices", filter=Q(invoices__state=Invoice.State.ISSUED))
        rows: QuerySet[BillingPeriod] = super().get_queryset(request)
        return rows.annotate(issued_count=issued)

    @column(_("state"), order="state", label=STATES)
    def status(self, period: BillingPeriod) -> Labelled:
        return Labelled(period.state, _STATES[period.state])

    @column(_("invoices"), order="issued_count")
    def issued(self, period: Any) -> str:
        return link(staff.address("billing_invoice_changelist", period__id__exact=period.pk), period.issued_count)

    @column(_("files"))
    def files(self, period: Any) -> str:
        if not period.issued_count:
            return "–"
        rows = ((staff.address("period_export", period.pk, form), form.upper()) for form in exports.FORMATS)
        return format_html_join(" · ", '<a href="{}">{}</a>', rows)

    @button(_("Close the period"), path="close", icon="lock")
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        period = self.get_object(request, object_id)
        if period is None:
            raise Http404
        return _close(request, period)


def _close(request: HttpRequest, period: BillingPeriod) -> HttpResponse:
    """Ask first, with what closing would do; then a job does it."""
    obstacle = ""
    if period.state == BillingPeriod.State.CLOSED:
        obstacle = gettext("The period is closed.")
    elif timezone.now() < period.end_at:
        obstacle = gettext("The period has not ended: it is closed after its end.")
    accounts = _to_invoice(period)
    count = accounts.count()
    refused = 0
    tables: list[Table] = []
    if not obstacle and request.method != "POST" and count <= MOST_REHEARSED:
        tables, refused = _rehearsal(period, list(accounts))
    facts = {"count": count, "code": period.code, "issuer": period.issuer.code}
    question = ngettext(
        "Issue %(count)d invoice and close period %(code)s of %(issuer)s? An issued invoice is never changed.",
        "Issue %(count)d invoices and close period %(code)s of %(issuer)s? Issued invoices are never changed.",
        count,
    )
    if refused:
        question = ngettext(
            "%(refused)d account can't be charged: the others get their invoices, and the period stays open until that"
            " is mended.",
            "%(refused)d accounts can't be charged: the others get their invoices, and the period stays open until that"
            " is mended.",
            refused,
        )
        facts["refused"] = refused
    elif count > MOST_REHEARSED:
        tables = [Table(_("Expected"), [], [], note=_("There are too many accounts to rate them all for this page."))]
    return confirmed(
        request,
        title=gettext("Close %(code)s") % facts,
        question=question % facts,
        answer=_("Issue and close"),
        back=staff.address("billing_billingperiod_change", period.pk),
        act=lambda: _ask_to_close(request, period),
        tables=tables,
        obstacle=obstacle,
    )


def _to_invoice(period: BillingPeriod) -> QuerySet[Account]:
    """The accounts with a contract in the period and no issued invoice."""
    contracts = Contract.objects.filter(charging.active(period)).values("account")
    issued = Invoice.objects.filter(period=period, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE)
    rows = Account.objects.filter(issuer=period.issuer_id, pk__in=contracts).exclude(pk__in=issued.values("account"))
    return rows.select_related("party", "issuer__party").order_by("code")


def _rehearsal(period: BillingPeriod, accounts: list[Account]) -> tuple[list[Table], int]:
    """What closing would issue, and whom it could not charge: by the same function that charges."""
    found: dict[int, Charges | charging.NotChargeableError] = {}
    for first in range(0, len(accounts), invoicing.CHUNK):
        found |= charging.charges_of(accounts=accounts[first : first + invoicing.CHUNK], period=period)
    refused = [(account, found[account.pk]) for account in accounts if not isinstance(found[account.pk], Charges)]
    charged = [(account, charges) for account in accounts if isinstance(charges := found[account.pk], Charges)]
    rows: list[list[Any]] = [
        [_preview_link(account, period), account.party, *_amounts(charges)] for account, charges in charged
    ]
    for currency in sorted({charges.currency for _account, charges in charged}):
        of = [charges for _account, charges in charged if charges.currency == currency]
        sums = zip(*map(_minors, of), strict=True)
        rows.append([gettext("Sum"), "", *(money(sum(each), currency) for each in sums)])
    headers = [_("account"), _("legal person"), _("net"), _("tax"), _("gross"), _("paid by programmes"), _("payable")]
    tables = [Table(_("Expected"), headers, rows, numbers=(2, 3, 4, 5, 6), total=bool(charged))]
    if refused:
        reasons = [[_preview_link(account, period), account.party, str(reason)] for account, reason in refused]
        tables.insert(0, Table(_("Can't be charged"), [_("account"), _("legal person"), _("reason")], reasons))
    return tables, len(refused)


def _preview_link(account: Account, period: BillingPeriod) -> str:
    return link(staff.address("preview", account.pk, period=period.pk), account.code)


def _amounts(charges: Charges) -> list[str]:
    return [money(each, charges.currency) for each in _minors(charges)]


def _minors(charges: Charges) -> tuple[int, ...]:
    return charges.net_minor, charges.tax_minor, charges.gross_minor, charges.subsidy_minor, charges.payable_minor


def _ask_to_close(request: HttpRequest, period: BillingPeriod) -> None:
    """The job that the worker asks for by itself too: there is one for each period, so a failed one is tried again."""
    at = timezone.now()
    facts = {"issuer": period.issuer.code, "period": period.code}
    job = jobs.ask(kind="close_period", key=f"{period.issuer.code} {period.code}", payload=facts, due_at=at, at=at)
    if job.state == Job.State.FAILED:
        jobs.retry(job=job, at=at, actor=actor(request))
    where = link(staff.address("marketplace_job_change", job.pk), str(job))
    messages.success(request, format_html(gettext("A worker closes the period now: job {}."), where))


@staff.page("billing/period/<int:period_id>/export/<str:form>/", "period_export")
@require_safe
def export(_request: HttpRequest, period_id: int, form: str) -> Any:
    """The period's issued invoices in one file."""
    period = get_object_or_404(BillingPeriod.objects.select_related("issuer"), pk=period_id)
    documents = Invoice.objects.filter(period=period, state=Invoice.State.ISSUED)
    name = f"invoices-{period.issuer.code}-{period.code}"
    return exported(partial(register.write, documents=documents), form, name)


# Invoices


class _LineColumns:
    """Columns of a line, in an invoice and in the list of lines."""

    @column(_("charge"), order="charge")
    def what(self, line: InvoiceLine) -> str:
        return f"{word('kind', line.kind)} {line.charge}"

    @column(_("time of use"), order="tou_period")
    def tou(self, line: InvoiceLine) -> str:
        return word("tou", line.tou_period) if line.tou_period else ""

    @column(_("quantity"), order="quantity")
    def amount_of(self, line: InvoiceLine) -> str:
        return f"{figures.number(line.quantity)} {word('unit', line.unit)}"

    @column(_("unit price"), order="unit_price")
    def price(self, line: InvoiceLine) -> str:
        return "–" if line.unit_price is None else figures.number(line.unit_price, 2)

    @column(_("net"), order="amount_minor")
    def net(self, line: InvoiceLine) -> str:
        return money(line.amount_minor, line.invoice.currency)

    @column(_("tax"), order="tax_rate")
    def tax(self, line: InvoiceLine) -> str:
        return f"{figures.percent(str(line.tax_rate))} {line.tax_category}"


class LineInline(_LineColumns, StaffInline):
    model = InvoiceLine
    fields = ("position", "contract", "what", "tou", "tier", "amount_of", "price", "net", "tax")
    readonly_fields = fields
    ordering = ("position",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceLine]:
        return super().get_queryset(request).select_related("contract", "invoice")


@admin.register(Invoice, site=staff)
class InvoiceAdmin(StaffAdmin):
    list_display = (
        "__str__",
        "kind",
        "status",
        "account",
        "buyer",
        "period",
        "net",
        "tax",
        "subsidy",
        "payable",
        "issued_at",
        "due_date",
        "pdf",
    )
    list_select_related = ("account__party", "period__issuer")
    list_filter = (
        "state",
        "kind",
        ("issuer", admin.RelatedOnlyFieldListFilter),
        ("period", admin.RelatedOnlyFieldListFilter),
        "currency",
    )
    search_fields = ("number", "account__code", "account__party__legal_name", "account__party__credit_code")
    date_hierarchy = "issued_at"
    ordering = ("-period__start_at", "issuer", "number")
    fields = (
        ("number", "kind", "corrects", "settled_on", "status"),
        ("account", "buyer"),
        ("issuer", "period"),
        ("net", "tax", "gross"),
        ("subsidy", "payable"),
        ("drafted_at", "issued_at", "due_date"),
        "who",
        "sha256",
        "files",
    )
    readonly_fields = ("status", "buyer", "net", "tax", "gross", "subsidy", "payable", "files")
    inlines = (LineInline,)
    actions_detail = ("compare",)

    @button(_("Compare to the readings"), path="compare", icon="difference")
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Look at once for what late or corrected usage changes; a worker looks every hour."""
        return look_again(request, self.row(request, object_id))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        return super().get_queryset(request).defer("snapshot")

    @column(_("state"), order="state", label=STATES)
    def status(self, invoice: Invoice) -> Labelled:
        return Labelled(invoice.state, _STATES[invoice.state])

    @column(_("buyer"), order="account__party__legal_name")
    def buyer(self, invoice: Invoice) -> str:
        return invoice.account.party.legal_name

    @column(_("net"), order="net_minor")
    def net(self, invoice: Invoice) -> str:
        return money(invoice.net_minor, invoice.currency)

    @column(_("tax"), order="tax_minor")
    def tax(self, invoice: Invoice) -> str:
        return money(invoice.tax_minor, invoice.currency)

    @column(_("gross"), order="gross_minor")
    def gross(self, invoice: Invoice) -> str:
        return money(invoice.gross_minor, invoice.currency)

    @column(_("paid by programmes"), order="subsidy_minor")
    def subsidy(self, invoice: Invoice) -> str:
        return money(invoice.subsidy_minor, invoice.currency) if invoice.subsidy_minor else ""

    @column(_("payable"), order="payable_minor")
    def payable(self, invoice: Invoice) -> str:
        return money(invoice.payable_minor, invoice.currency)

    @column(_("files"))
    def files(self, invoice: Invoice) -> str:
        if invoice.state != Invoice.State.ISSUED:
            return self.pdf(invoice)
        rows = [(staff.address("invoice_export", invoice.pk, form), form.upper()) for form in exports.FORMATS]
        return format_html("{} · {}", self.pdf(invoice), format_html_join(" · ", '<a href="{}">{}</a>', rows))

    @column("PDF")
    def pdf(self, invoice: Invoice) -> str:
        if invoice.state != Invoice.State.ISSUED:
            return link(staff.address("preview", invoice.account_id, period=invoice.period_id), _("Preview"))
        rows = [(staff.address("invoice_pdf", invoice.pk, language), _NAMES[language]) for language in LANGUAGES]
        return format_html_join(" · ", '<a class="whitespace-nowrap" href="{}">{}</a>', rows)


@staff.page("billing/invoice/<int:invoice_id>/pdf/<str:language>/", "invoice_pdf")
@require_safe
def pdf(_request: HttpRequest, invoice_id: int, language: str) -> HttpResponse:
    invoice = _issued(invoice_id)
    if language not in LANGUAGES:
        raise Http404
    content = render_invoice(snapshot=invoice.snapshot or "", language=language)
    name = f"{invoice.number}.{language}.pdf"
    headers = {"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "private, no-store"}
    return HttpResponse(content, content_type="application/pdf", headers=headers)


@staff.page("billing/invoice/<int:invoice_id>/export/<str:form>/", "invoice_export")
@require_safe
def export_invoice(_request: HttpRequest, invoice_id: int, form: str) -> Any:
    invoice = _issued(invoice_id)
    return exported(partial(exports.write, invoices=[invoice.snapshot or ""], settled=True), form, str(invoice.number))


def _issued(invoice_id: int) -> Invoice:
    return get_object_or_404(Invoice, pk=invoice_id, state=Invoice.State.ISSUED)


@admin.register(InvoiceLine, site=staff)
class InvoiceLineAdmin(_LineColumns, StaffAdmin):
    list_display = ("invoice", "position", "contract", "what", "tou", "tier", "amount_of", "price", "net")
    list_display_links = ("invoice", "position")
    list_select_related = ("invoice", "contract")
    list_filter = ("kind", "tou_period", ("invoice__period", admin.RelatedOnlyFieldListFilter))
    search_fields = ("invoice__number", "contract__number", "charge")
    date_hierarchy = "start_at"
    ordering = ("-invoice", "position")
    fields = (
        ("invoice", "position", "net"),
        ("contract", "tariff_version"),
        ("what", "tou", "tier"),
        ("start_at", "end_at"),
        ("amount_of", "price", "tax"),
        ("quantity_base", "base_unit"),
        "explanation",
    )
    readonly_fields = ("what", "tou", "amount_of", "price", "net", "tax")


# What an account owes so far


@staff.page("billing/account/<int:account_id>/preview/", "preview")
@require_safe
def preview(request: HttpRequest, account_id: int) -> HttpResponse:
    """The account's charges for a period, by default the running one: what an invoice of it would say now."""
    rows = Account.objects.select_related("party", "issuer__party")
    account = get_object_or_404(rows, pk=account_id)
    periods = list(BillingPeriod.objects.filter(issuer=account.issuer_id).order_by("-start_at"))
    wanted = request.GET.get("period", "")
    at = timezone.now()
    running = [each for each in periods if each.start_at <= at < each.end_at] or periods[:1]
    chosen = [each for each in periods if str(each.pk) == wanted] if wanted else running
    if wanted and not chosen:
        raise Http404
    context: dict[str, Any] = {"intro": account.party.legal_name, "form": PeriodChoice(periods, chosen)}
    context |= (
        _previewed(account, chosen[0]) if chosen else {"obstacle": _("The issuer has no billing period yet: open one.")}
    )
    return staff.show(request, "admin/list.html", gettext("Preview of %(code)s") % {"code": account.code}, context)


class PeriodChoice(forms.Form):
    def __init__(self, periods: list[BillingPeriod], chosen: list[BillingPeriod]) -> None:
        super().__init__({"period": chosen[0].pk} if chosen else None)
        self.fields["period"] = choice_field(_("billing period"), [(each.pk, each.code) for each in periods])


def _previewed(account: Account, period: BillingPeriod) -> dict[str, Any]:
    try:
        charges = charging.charges(account=account, period=period)
    except charging.NotChargeableError as refusal:
        return {"obstacle": str(refusal)}
    currency = charges.currency
    rows: list[list[Any]] = [
        [
            charged.supply.contract,
            charged.line.charge,
            word("tou", charged.line.tou_period) if charged.line.tou_period else "",
            charged.line.tier if charged.line.tier is not None else "",
            f"{figures.number(quantity_text(charged.line.quantity))} {word('unit', charged.line.unit)}",
            "–" if charged.line.unit_price is None else figures.number(charged.line.unit_price),
            money(charged.amount_minor, currency),
        ]
        for charged in charges.lines
    ]
    sums = [
        (gettext("Net"), charges.net_minor),
        (gettext("Tax"), charges.tax_minor),
        (gettext("Gross"), charges.gross_minor),
    ]
    if charges.funding:
        sums += [
            (f"{each.offered.offer.code} ({each.offered.mode})", each.share.share_minor) for each in charges.funding
        ]
        sums += [(gettext("Payable"), charges.payable_minor)]
    for title, amount_minor in sums:
        rows.append([title, "", "", "", "", "", money(amount_minor, currency)])
    headers = [_("contract"), _("charge"), _("time of use"), _("tier"), _("quantity"), _("unit price"), _("net")]
    tables = [Table(period.code, headers, rows, numbers=(4, 5, 6), total=True)]
    return {"tables": [*tables, *_corrections(account, period)]}


def _corrections(account: Account, period: BillingPeriod) -> list[Table]:
    """What waits and would go with it, and what is due in all."""
    document = invoicing.preview(account=account, period=period, at=timezone.now())
    if document is None:
        return []
    said = content(snapshot=document, language="zh-hans" if get_language() == "zh-hans" else "en")["corrections"]
    rows: list[list[Any]] = [
        [group["heading"], row["item"], row["detail"], row["formula"], row["amount"]]
        for group in said["groups"]
        for row in group["rows"]
    ]
    rows += [[name, "", "", "", amount] for name, amount in (*said["totals"], *said["sums"], said["due"])]
    headers = [_("invoice"), _("charge"), _("time of use"), _("difference"), _("net")]
    return [Table(_("Corrections that go with it"), headers, rows, numbers=(4,), total=True)]
