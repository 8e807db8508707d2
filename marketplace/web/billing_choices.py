"""How the organization is billed: of each of its accounts, where corrections of its invoices go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from billing import parties
from billing.models import Account
from marketplace import access
from marketplace.permissions import Permission
from marketplace.web import page
from marketplace.web.organization import current

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class CorrectionsForm(forms.Form):
    """Of one account; `account` says which."""

    account = forms.IntegerField(widget=forms.HiddenInput, min_value=1, max_value=2**63 - 1)
    corrections_on = forms.ChoiceField(
        label=_("Corrections go on"), choices=Account.CorrectionsOn.choices, widget=forms.RadioSelect
    )

    def __init__(self, data: Any = None, *, of: Account) -> None:
        initial = {"account": of.pk, "corrections_on": of.corrections_on}
        super().__init__(data, initial=initial, auto_id=f"id_{of.pk}_%s")


@require_http_methods(["GET", "HEAD", "POST"])
def choices(request: HttpRequest) -> HttpResponse:
    """A POST chooses for one account."""
    ours = current(request, Permission.SEE_BILLS)
    accounts = access.accounts_for(request.user, within=ours).filter(party=ours.party_id)
    accounts = accounts.select_related("issuer__party").order_by("code", "pk")
    if request.method == "POST":
        current(request, Permission.APPLY)
        asked = request.POST.get("account", "")
        if not asked.isascii() or not asked.isdigit() or len(asked) > 18:
            raise Http404
        account = get_object_or_404(accounts, pk=asked)
        form = CorrectionsForm(request.POST, of=account)
        if form.is_valid():
            parties.choose_corrections(
                account=account, on=form.cleaned_data["corrections_on"], at=timezone.now(), actor=page.actor(request)
            )
            messages.success(request, gettext("The choice is stored. It holds for what is approved from now on."))
            return redirect("billing_choices")
        rows = [(each, form if each == account else CorrectionsForm(of=each)) for each in accounts]
    else:
        rows = [(each, CorrectionsForm(of=each)) for each in accounts]
    return render(request, "marketplace/billing_choices.html", {"organization": ours, "accounts": rows})
