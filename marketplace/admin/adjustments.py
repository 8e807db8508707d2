"""What differs from issued invoices, and what buyers dispute of them: looked at line by line, and decided with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from billing import adjustments, charging
from billing import disputes as billing_disputes
from billing.documents import figures
from billing.models import Account, Adjustment, Dispute, Invoice
from billing.rating.money import exponent
from marketplace import disputes
from marketplace.admin.base import STATES, Labelled, StaffAdmin, actor, button, column, money, word
from marketplace.admin.page import ReasonForm, Table, asked, confirmed, link, long_text_field
from marketplace.admin.site import staff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

UNDECIDED = (Adjustment.State.PROPOSED, Adjustment.State.APPROVED)
_REFUSED = (
    adjustments.AdjustmentDecidedError,
    adjustments.InvalidReasonError,
    adjustments.NotCorrectableError,
    adjustments.OutdatedAdjustmentError,
    charging.NotChargeableError,
)


def look_again(request: HttpRequest, invoice: Invoice) -> HttpResponse:
    """Ask first, since a month is rated again; then say what differs."""
    issued = invoice.state == Invoice.State.ISSUED and invoice.kind == Invoice.Kind.INVOICE

    def act() -> None:
        try:
            found = adjustments.find(invoice=invoice, at=timezone.now(), actor=actor(request))
        except charging.NotChargeableError as refusal:
            messages.error(request, str(refusal))
            return
        if found is None:
            messages.success(request, gettext("Nothing differs that was not decided on."))
            return
        count = len(found.lines)
        said = ngettext("%(count)d line differs: see corrections.", "%(count)d lines differ: see corrections.", count)
        messages.warning(request, said % {"count": count})

    return confirmed(
        request,
        title=_("Compare to the readings"),
        question=_(
            "Rate the month again by the readings as they are now? The invoice stays as it is; what differs is proposed"
            " as a correction."
        ),
        answer=_("Compare"),
        back=staff.address("billing_invoice_change", invoice.pk),
        act=act,
        obstacle="" if issued else gettext("Only an issued invoice is compared."),
    )


def differences(adjustment: Adjustment, currency: str) -> Table:
    """The lines, old and new."""
    rows = [_line(line, currency) for line in adjustment.lines]
    net_minor = sum(line["amount_after_minor"] - line["amount_before_minor"] for line in adjustment.lines)
    rows.append([gettext("Sum"), "", "", "", "", "", "", money(net_minor, currency)])
    headers = [
        _("contract"),
        _("charge"),
        _("from"),
        _("quantity before"),
        _("quantity now"),
        _("net before"),
        _("net now"),
        _("difference"),
    ]
    return Table(_("What differs"), headers, rows, numbers=(3, 4, 5, 6, 7), moments=(2,), total=True)


def _line(line: Mapping[str, Any], currency: str) -> list[Any]:
    parts = [word("kind", line["kind"]), line["charge"]]
    parts += [word("tou", line["tou_period"])] if line["tou_period"] else []
    parts += [gettext("tier %(tier)s") % {"tier": line["tier"]}] if line["tier"] else []
    unit = word("unit", line["unit"])
    before_minor, after_minor = line["amount_before_minor"], line["amount_after_minor"]
    return [
        line["contract"],
        " · ".join(parts),
        line["start"][:10],
        f"{figures.number(line['quantity_before'])} {unit}",
        f"{figures.number(line['quantity_after'])} {unit}",
        money(before_minor, currency),
        money(after_minor, currency),
        money(after_minor - before_minor, currency),
    ]


@admin.register(Adjustment, site=staff)
class AdjustmentAdmin(StaffAdmin):
    list_display = (
        "invoice",
        "account",
        "status",
        "cause",
        "net",
        "tax",
        "events_recorded",
        "events_corrected",
        "found_at",
        "document",
    )
    list_select_related = ("invoice__account", "document__settled_on")
    list_filter = ("state", "cause", ("invoice__issuer", admin.RelatedOnlyFieldListFilter))
    search_fields = ("invoice__number", "document__number", "invoice__account__code", "reason")
    date_hierarchy = "found_at"
    ordering = ("-found_at", "-pk")
    fields = (
        ("invoice", "account", "status"),
        ("cause", "events_recorded", "events_corrected"),
        ("net", "tax"),
        ("found_at", "decided_at", "decided_by"),
        "reason",
        ("returned", "returned_at", "returned_by"),
        ("document", "settled_on"),
    )
    readonly_fields = ("account", "status", "net", "tax", "settled_on")
    actions_detail = ("approve", "undo", "dismiss")

    @column(_("account"), order="invoice__account__code")
    def account(self, adjustment: Adjustment) -> str:
        return adjustment.invoice.account.code

    @column(_("state"), order="state", label=STATES)
    def status(self, adjustment: Adjustment) -> Labelled:
        return Labelled(adjustment.state, adjustment.get_state_display())

    @column(_("net"), order="net_minor")
    def net(self, adjustment: Adjustment) -> str:
        return money(adjustment.net_minor, adjustment.invoice.currency)

    @column(_("tax"), order="tax_minor")
    def tax(self, adjustment: Adjustment) -> str:
        return money(adjustment.tax_minor, adjustment.invoice.currency)

    @column(_("settled on"))
    def settled_on(self, adjustment: Adjustment) -> str:
        bearer = None if adjustment.document is None else adjustment.document.settled_on
        return "–" if bearer is None else link(staff.address("billing_invoice_change", bearer.pk), bearer.number)

    @button(_("Approve"), path="approve", icon="receipt_long")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A note at once, or a line on the next invoice: as the account chose."""
        adjustment: Adjustment = self.row(request, object_id)
        waits = adjustment.invoice.account.corrections_on == Account.CorrectionsOn.NEXT_INVOICE

        def act(facts: dict[str, Any]) -> None:
            decided = adjustments.approve(
                adjustment=adjustment, reason=facts["reason"], at=timezone.now(), actor=actor(request)
            )
            if decided.document is None:
                self.log_change(request, adjustment, f"approved for the next invoice: {facts['reason']}")
                messages.success(request, gettext("It is approved, and goes with the next invoice of the account."))
            else:
                self.log_change(request, adjustment, f"issued {decided.document}: {facts['reason']}")
                messages.success(request, gettext("%(number)s is issued.") % {"number": decided.document.number})

        return asked(
            request,
            title=_("Approve for the next invoice") if waits else _("Issue a note"),
            intro=(_ON_NEXT_INVOICE if waits else _AT_ONCE) % {"number": adjustment.invoice},
            form=ReasonForm(request.POST or None),
            answer=_("Approve") if waits else _("Issue"),
            back=staff.address("billing_adjustment_change", adjustment.pk),
            act=act,
            refusals=_REFUSED,
            tables=[differences(adjustment, adjustment.invoice.currency)],
            obstacle=_obstacle(adjustment, Adjustment.State.PROPOSED),
        )

    @button(_("Take the approval back"), path="undo", icon="undo")
    def undo(self, request: HttpRequest, object_id: str) -> HttpResponse:
        adjustment: Adjustment = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            adjustments.undo(adjustment=adjustment, reason=facts["reason"], at=timezone.now(), actor=actor(request))
            self.log_change(request, adjustment, f"approval taken back: {facts['reason']}")
            messages.success(request, gettext("It is proposed again."))

        return asked(
            request,
            title=_("Take the approval back"),
            intro=gettext(
                "Keep this off the next invoice of the account? It is proposed again, to be decided on anew."
            ),
            form=ReasonForm(request.POST or None),
            answer=_("Take back"),
            back=staff.address("billing_adjustment_change", adjustment.pk),
            act=act,
            refusals=_REFUSED,
            tables=[differences(adjustment, adjustment.invoice.currency)],
            obstacle=_obstacle(adjustment, Adjustment.State.APPROVED),
        )

    @button(_("Dismiss"), path="dismiss", icon="cancel")
    def dismiss(self, request: HttpRequest, object_id: str) -> HttpResponse:
        adjustment: Adjustment = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            adjustments.dismiss(adjustment=adjustment, reason=facts["reason"], at=timezone.now(), actor=actor(request))
            self.log_change(request, adjustment, f"dismissed: {facts['reason']}")
            messages.success(request, gettext("The invoice is left as it is."))

        return asked(
            request,
            title=_("Dismiss the correction"),
            intro=gettext("Leave %(number)s as it is? This difference is not proposed again; another one is.")
            % {"number": adjustment.invoice},
            form=ReasonForm(request.POST or None),
            answer=_("Dismiss"),
            back=staff.address("billing_adjustment_change", adjustment.pk),
            act=act,
            refusals=_REFUSED,
            tables=[differences(adjustment, adjustment.invoice.currency)],
            obstacle=_obstacle(adjustment, *UNDECIDED),
        )


_AT_ONCE = _(
    "Issue a credit or debit note for %(number)s with these lines? It is posted in the first open period and never changed."
    " Programmes' shares are taken back or given anew."
)
_ON_NEXT_INVOICE = _(
    "Put these corrections of %(number)s on the next invoice of the account, as it chose? Until that is issued, the approval"
    " can be taken back. If readings change meanwhile, it is proposed again."
)


def _obstacle(adjustment: Adjustment, *states: str) -> str:
    if adjustment.state in states:
        return ""
    return gettext("The correction is in the state “%(state)s”.") % {"state": adjustment.get_state_display()}


# Disputes


class UpholdForm(forms.Form):
    """How much is credited, before tax, in major units, and the answer."""

    amount = forms.DecimalField(label=_("credited, before tax"), min_value=0, max_digits=18)
    answer = long_text_field(_("answer"), max_length=2000)

    def __init__(self, *arguments: Any, currency: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._places = exponent(currency)
        self.fields["amount"].widget.attrs["step"] = "any"

    def clean_amount(self) -> int:
        """In minor units."""
        amount = self.cleaned_data["amount"]
        scaled = amount.scaleb(self._places)
        if scaled != scaled.to_integral_value() or not scaled:
            raise forms.ValidationError(_("Expected more than zero, in whole minor units."))
        return int(scaled)


class RejectForm(forms.Form):
    answer = long_text_field(_("answer"), max_length=2000)


@admin.register(Dispute, site=staff)
class DisputeAdmin(StaffAdmin):
    list_display = ("invoice", "place", "account", "status", "disputed", "held", "opened_at", "answered_at")
    list_select_related = ("invoice__account", "line__invoice")
    list_filter = ("state", ("invoice__issuer", admin.RelatedOnlyFieldListFilter))
    search_fields = ("invoice__number", "invoice__account__code", "reason", "answer")
    date_hierarchy = "opened_at"
    ordering = ("-opened_at", "-pk")
    fields = (
        ("invoice", "place", "account", "status"),
        ("disputed", "held"),
        "reason",
        ("opened_at", "opened_by"),
        "answer",
        ("answered_at", "answered_by", "adjustment"),
    )
    readonly_fields = ("place", "account", "status", "disputed", "held")
    actions_detail = ("uphold", "reject")

    @column(_("line"))
    def place(self, dispute: Dispute) -> str:
        line = dispute.line
        address = staff.address("billing_invoiceline_change", line.pk)
        return link(address, f"{line.invoice.number} · {line.position} · {line.charge}")

    @column(_("account"), order="invoice__account__code")
    def account(self, dispute: Dispute) -> str:
        return dispute.invoice.account.code

    @column(_("state"), order="state", label=STATES)
    def status(self, dispute: Dispute) -> Labelled:
        return Labelled(dispute.state, dispute.get_state_display())

    @column(_("disputed, before tax"), order="net_minor")
    def disputed(self, dispute: Dispute) -> str:
        return money(dispute.net_minor, dispute.invoice.currency)

    @column(_("held back, with tax"), order="held_minor")
    def held(self, dispute: Dispute) -> str:
        return money(dispute.held_minor, dispute.invoice.currency)

    @button(_("Uphold"), path="uphold", icon="check_circle")
    def uphold(self, request: HttpRequest, object_id: str) -> HttpResponse:
        dispute: Dispute = self.row(request, object_id)
        currency = dispute.invoice.currency

        def act(facts: dict[str, Any]) -> None:
            at = timezone.now()
            note = disputes.uphold(
                dispute=dispute, answer=facts["answer"], net_minor=facts["amount"], at=at, actor=actor(request)
            )
            self.log_change(request, dispute, f"upheld by {note}: {facts['answer']}")
            messages.success(request, gettext("%(number)s is issued.") % {"number": note.number})

        initial = {"amount": figures.major(dispute.net_minor, currency)}
        return asked(
            request,
            title=_("Uphold the dispute"),
            intro=gettext("A credit note is issued over what is credited, with its tax. The buyer reads the answer."),
            form=UpholdForm(request.POST or None, initial=initial, currency=currency),
            answer=_("Uphold"),
            back=staff.address("billing_dispute_change", dispute.pk),
            act=act,
            refusals=(*_REFUSED, billing_disputes.InvalidDisputeError, billing_disputes.DisputeAnsweredError),
            tables=[_disputed(dispute)],
            obstacle=_answered(dispute),
        )

    @button(_("Reject"), path="reject", icon="cancel")
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        dispute: Dispute = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            disputes.reject(dispute=dispute, answer=facts["answer"], at=timezone.now(), actor=actor(request))
            self.log_change(request, dispute, f"rejected: {facts['answer']}")
            messages.success(request, gettext("The line stands."))

        return asked(
            request,
            title=_("Reject the dispute"),
            intro=gettext("The line stands, and is collected. The buyer reads the answer."),
            form=RejectForm(request.POST or None),
            answer=_("Reject"),
            back=staff.address("billing_dispute_change", dispute.pk),
            act=act,
            refusals=(*_REFUSED, billing_disputes.DisputeAnsweredError),
            tables=[_disputed(dispute)],
            obstacle=_answered(dispute),
        )


def _disputed(dispute: Dispute) -> Table:
    line, currency = dispute.line, dispute.invoice.currency
    headers = [_("line"), _("net"), _("disputed, before tax"), _("held back, with tax"), _("reason")]
    amounts = (line.amount_minor, dispute.net_minor, dispute.held_minor)
    row = [f"{line.invoice.number} · {line.position}", *(money(each, currency) for each in amounts), dispute.reason]
    return Table(_("The dispute"), headers, [row], numbers=(1, 2, 3))


def _answered(dispute: Dispute) -> str:
    if dispute.state == Dispute.State.OPEN:
        return ""
    return gettext("The dispute is in the state “%(state)s”.") % {"state": dispute.get_state_display()}
