"""What a buyer disputes of a line: the form, what stands on the line's page, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, OuterRef, Q
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from billing import disputes
from billing.documents import figures
from billing.documents.content import item
from billing.models import Dispute, Invoice, InvoiceLine
from billing.rating.money import exponent
from marketplace import access
from marketplace.web import amounts, page
from marketplace.web.page import actor

if TYPE_CHECKING:
    from decimal import Decimal

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from billing.disputes import Disputable

TONES = {Dispute.State.OPEN: "warn", Dispute.State.UPHELD: "good", Dispute.State.REJECTED: "bad"}


class WhyForm(forms.Form):
    reason = forms.CharField(
        label=_("Why it is wrong"),
        max_length=disputes.LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=_("The zone's operator reads it."),
    )

    def clean_reason(self) -> str:
        return "\n".join(self.cleaned_data["reason"].splitlines())


class DisputeForm(WhyForm):
    """How much of the line's net, in major units, all of it unless told; and why."""

    amount = forms.DecimalField(
        label=_("Disputed, before tax"),
        required=False,
        max_digits=18,
        help_text=_("Empty: all that is left of the line."),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    field_order = ("amount", "reason")

    def __init__(self, *arguments: Any, left: Disputable, currency: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._left, self._currency = left, currency

    def clean_amount(self) -> int | None:
        """In minor units."""
        amount: Decimal | None = self.cleaned_data["amount"]
        if amount is None:
            return None
        minor = amount.scaleb(exponent(self._currency))
        if minor != minor.to_integral_value() or not 0 < minor <= self._left.net_minor:
            most = figures.figure(self._left.net_minor, self._currency)
            raise ValidationError(
                _("%(amount)s: expected more than 0 and at most %(most)s."), params={"amount": amount, "most": most}
            )
        return int(minor)


def of_line(request: HttpRequest, invoice: Invoice, position: int) -> dict[str, Any]:
    """For the page of an issued line: its disputes, the last first, and whether it may be disputed now."""
    rows = access.rows_for(Dispute, request.user).filter(line__invoice=invoice, line__position=position)
    found = list(rows.select_related("adjustment__document").order_by("-pk"))
    is_open = any(each.state == Dispute.State.OPEN for each in found)
    line = InvoiceLine.objects.filter(invoice=invoice, position=position, amount_minor__gt=0).first()
    may = line is not None and not is_open and not access.is_staff(request.user)
    return {"disputes": [_row(each, invoice) for each in found], "may_dispute": may}


def of_document(request: HttpRequest, invoice: Invoice) -> dict[str, Any]:
    """For the page of an issued invoice or note: how many of its lines the reader disputes, and whether others may be. One query."""
    if access.is_staff(request.user):
        return {}
    opened = Q(Exists(Dispute.objects.filter(line=OuterRef("pk"), state=Dispute.State.OPEN)))
    counted = InvoiceLine.objects.filter(invoice=invoice).aggregate(
        others=Count("pk", filter=Q(amount_minor__gt=0) & ~opened), disputed=Count("pk", filter=opened)
    )
    return {"may_dispute_all": bool(counted["others"]), "disputed_lines": counted["disputed"]}


def _row(dispute: Dispute, invoice: Invoice) -> dict[str, Any]:
    note = dispute.adjustment.document if dispute.adjustment is not None else None
    return {
        "dispute": dispute,
        "is_open": dispute.state == Dispute.State.OPEN,
        "tone": TONES.get(Dispute.State(dispute.state), ""),
        "opened": amounts.local(dispute.opened_at, invoice.period.timezone),
        "net": figures.money(dispute.net_minor, invoice.currency),
        "held": figures.money(dispute.held_minor, invoice.currency),
        "note": note.number if note is not None else "",
    }


def _lines(request: HttpRequest) -> QuerySet[InvoiceLine]:
    """Those of the current organization's bills. Staff answer disputes, they open none."""
    if access.is_staff(request.user):
        raise Http404
    return access.lines_for(request.user, within=page.of(request).organization)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def dispute(request: HttpRequest, number: str, position: int) -> HttpResponse:
    rows = _lines(request).filter(invoice__state=Invoice.State.ISSUED).select_related("invoice__corrects")
    line = get_object_or_404(rows, invoice__number=number, position=position)
    back = redirect("invoice_line", number, position)
    if Dispute.objects.filter(line=line, state=Dispute.State.OPEN).exists():
        messages.warning(request, gettext("You dispute this line already."))
        return back
    left = disputes.disputable(line=line)
    if left is None:
        messages.warning(request, gettext("Nothing is left of this line to dispute."))
        return back
    currency = line.invoice.currency
    form = DisputeForm(request.POST if request.method == "POST" else None, left=left, currency=currency)
    if request.method == "POST" and form.is_valid():
        try:
            disputes.open_(
                line=line,
                reason=form.cleaned_data["reason"],
                net_minor=form.cleaned_data["amount"],
                at=timezone.now(),
                actor=actor(request),
            )
        except (disputes.InvalidDisputeError, disputes.DisputeDiffersError):
            messages.warning(request, gettext("The line has changed meanwhile: look at what is left of it."))
        else:
            messages.success(request, gettext("The line is disputed. What you dispute is not collected for now."))
        return back
    context = {"form": form, "number": number, **_line(line, left, currency)}
    return render(request, "billing/dispute.html", context)


def _document(request: HttpRequest, number: str) -> Invoice:
    """One of the current organization's bills. Staff answer disputes, they open none."""
    if access.is_staff(request.user):
        raise Http404
    rows = access.invoices_for(request.user, within=page.of(request).organization).filter(state=Invoice.State.ISSUED)
    return get_object_or_404(
        rows.select_related("corrects", "period").defer("snapshot", "corrects__snapshot"), number=number
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def dispute_all(request: HttpRequest, number: str) -> HttpResponse:
    """All lines of an invoice or a note that are not disputed yet, for one reason."""
    document = _document(request, number)
    left = disputes.disputable_lines(document=document)
    back = redirect("invoice", number)
    if not left:
        messages.warning(request, gettext("Nothing is left of it to dispute that you don't dispute already."))
        return back
    form = WhyForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            made = disputes.open_all(
                document=document, reason=form.cleaned_data["reason"], at=timezone.now(), actor=actor(request)
            )
        except disputes.InvalidDisputeError:
            messages.warning(request, gettext("Nothing is left of it to dispute that you don't dispute already."))
        else:
            said = ngettext(
                "%(count)d line is disputed. What you dispute is not collected for now.",
                "%(count)d lines are disputed. What you dispute is not collected for now.",
                len(made),
            )
            messages.success(request, said % {"count": len(made)})
        return back
    currency = document.currency
    context = {
        "form": form,
        "number": number,
        "lines": [_line(line, each, currency) for line, each in left],
        "net": figures.money(sum(each.net_minor for _, each in left), currency),
        "payable": figures.money(sum(each.payable_minor for _, each in left), currency),
    }
    return render(request, "billing/dispute_all.html", context)


def _line(line: InvoiceLine, left: Disputable, currency: str) -> dict[str, Any]:
    told = {"kind": line.kind, "charge": line.charge, "tou_period": line.tou_period, "tier": line.tier}
    return {
        "position": line.position,
        "title": item(told, amounts.language()),
        "net": figures.money(left.net_minor, currency),
        "payable": figures.money(left.payable_minor, currency),
    }


@require_POST
def withdraw_all(request: HttpRequest, number: str) -> HttpResponse:
    """All that is open of an invoice or a note."""
    document = _document(request, number)
    found = disputes.withdraw_all(document=document, at=timezone.now(), actor=actor(request))
    if found:
        said = ngettext("%(count)d dispute is withdrawn.", "%(count)d disputes are withdrawn.", len(found))
        messages.success(request, said % {"count": len(found)})
    else:
        messages.warning(request, gettext("No dispute is open any more."))
    return redirect("invoice", number)


@require_POST
def withdraw(request: HttpRequest, dispute_id: int) -> HttpResponse:
    rows = access.rows_for(Dispute, request.user, within=page.of(request).organization).select_related("line__invoice")
    found = get_object_or_404(rows.filter(line__in=_lines(request)), pk=dispute_id)
    try:
        disputes.withdraw(dispute=found, at=timezone.now(), actor=actor(request))
    except disputes.DisputeAnsweredError:
        messages.warning(request, gettext("The dispute was answered meanwhile."))
    else:
        messages.success(request, gettext("The dispute is withdrawn."))
    return redirect("invoice_line", found.line.invoice.number, found.line.position)
