"""What a firm claims from a funder by itself: the page of one claim, and what the firm says became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from billing import claims
from billing.documents import figures
from billing.models import Claim, Programme
from billing.rating.money import exponent
from marketplace import access, actors
from marketplace.names import named
from marketplace.permissions import Permission
from marketplace.web import page
from marketplace.web.organization import current
from marketplace.web.page import actor

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from decimal import Decimal

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from marketplace.models import Organization

State = Claim.State
TONES: dict[str, str] = {State.SUBMITTED: "info", State.PAID: "good", State.SHORT_PAID: "warn", State.REJECTED: "bad"}
LONGEST_REASON = 500


class SettleForm(forms.Form):
    """What the funder paid, in major units; and why it is not all."""

    paid = forms.DecimalField(
        label=_("Paid by the funder"),
        max_digits=18,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Needed where it is not paid in full."),
    )

    def __init__(self, data: Any = None, *, claim: Claim) -> None:
        currency = claim.programme.currency
        self.claim = claim
        super().__init__(data, initial={"paid": figures.major(claim.amount_minor, currency)})
        said = _("In %(currency)s. 0: the claim was rejected.")
        self.fields["paid"].help_text = str(said) % {"currency": currency}

    def clean_paid(self) -> int:
        """In minor units."""
        amount: Decimal = self.cleaned_data["paid"]
        currency, whole = self.claim.programme.currency, self.claim.amount_minor
        minor = amount.scaleb(exponent(currency))
        if minor != minor.to_integral_value() or (minor != whole and not 0 <= minor < whole):
            raise ValidationError(
                _("%(amount)s: expected 0 to %(most)s, what was claimed."),
                params={"amount": amount, "most": figures.figure(whole, currency)},
            )
        return int(minor)

    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if facts.get("paid") not in (None, self.claim.amount_minor) and not facts.get("reason", "").strip():
            self.add_error("reason", _("Say why it is not paid in full."))
        return facts


def _rows(request: HttpRequest, ours: Organization) -> QuerySet[Claim]:
    """Those that the firm makes by itself; vouchers are claimed by the zone's operator."""
    rows = access.claims_for(request.user, within=ours)
    return rows.filter(programme__mode=Programme.Mode.REIMBURSEMENT).select_related("programme__funder", "claimant")


@require_safe
def claim(request: HttpRequest, claim_id: int) -> HttpResponse:
    ours = current(request, Permission.SEE_BILLS)
    return _show(request, get_object_or_404(_rows(request, ours), pk=claim_id))


def _show(request: HttpRequest, found: Claim, form: SettleForm | None = None) -> HttpResponse:
    currency, may = found.programme.currency, page.of(request).may["apply"]
    grant = access.grants_for(request.user).filter(programme=found.programme_id, party=found.claimant_id)
    changes = list(found.changes.order_by("-pk"))
    people = actors.names((change.actor for change in changes), people=access.users_for(request.user))
    months = sorted(set(found.lines.values_list("redemption__share__month", flat=True)))
    context = {
        "claim": found,
        "name": named(found.programme),
        "tone": TONES.get(found.state, ""),
        "grant": grant.order_by("-pk").first(),
        "months": months,
        "amount": figures.money(found.amount_minor, currency),
        "paid": None if found.paid_minor is None else figures.money(found.paid_minor, currency),
        "history": [
            {
                "at": change.at,
                "label": change.get_state_display(),
                "reason": change.reason,
                "paid": None if change.paid_minor is None else figures.money(change.paid_minor, currency),
                "who": people.get(change.actor, ""),
            }
            for change in changes
        ],
        "form": (form or SettleForm(claim=found)) if may and found.state == State.SUBMITTED else None,
        "can_submit": may and found.state == State.DRAFT,
        "can_take_back": may and found.state == State.SUBMITTED,
        "can_reopen": may and found.settled_at is not None,
    }
    return render(request, "marketplace/claim.html", context)


def _own(request: HttpRequest, claim_id: int) -> Claim:
    return get_object_or_404(_rows(request, current(request, Permission.APPLY)), pk=claim_id)


def _step(request: HttpRequest, claim_id: int, verb: Callable[..., None], done: str) -> HttpResponse:
    found = _own(request, claim_id)
    try:
        verb(claim=found, at=timezone.now(), actor=actor(request))
    except claims.LaterClaimError:
        messages.warning(
            request, gettext("A later claim asks for what this one did not pay: what became of this one stays.")
        )
    except (claims.ClaimStateError, claims.ClaimDiffersError):
        messages.warning(request, gettext("The claim has changed meanwhile: look at it again."))
    else:
        messages.success(request, done)
    return redirect("own_claim", claim_id)


@require_POST
def submit(request: HttpRequest, claim_id: int) -> HttpResponse:
    return _step(request, claim_id, claims.submit, gettext("The claim is marked as handed in to the funder."))


@require_POST
def take_back(request: HttpRequest, claim_id: int) -> HttpResponse:
    return _step(request, claim_id, claims.take_back, gettext("The claim is a draft again."))


@require_POST
def reopen(request: HttpRequest, claim_id: int) -> HttpResponse:
    return _step(request, claim_id, claims.reopen, gettext("The claim waits for the funder's answer again."))


@require_POST
def settle(request: HttpRequest, claim_id: int) -> HttpResponse:
    """Paid, paid in part, or rejected."""
    found = _own(request, claim_id)
    form = SettleForm(request.POST, claim=found)
    if found.state == State.SUBMITTED and not form.is_valid():
        return _show(request, found, form)
    facts: dict[str, Any] = form.cleaned_data if form.is_valid() else {"paid": -1, "reason": ""}

    def verb(*, claim: Claim, at: datetime, actor: str) -> None:
        claims.settle_claim(claim=claim, paid_minor=facts["paid"], reason=facts["reason"].strip(), at=at, actor=actor)

    return _step(request, claim_id, verb, gettext("The funder's answer is put down."))
