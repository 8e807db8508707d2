"""What became of a firm's applications, what its grants still pay, and what it claims by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.db.models import F, Sum
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from billing import claims, programmes
from billing.documents import figures
from billing.models import Commitment, FirmCap, Grant, Programme, ProgrammeShare, Redemption
from marketplace import access
from marketplace import programme_terms as terms
from marketplace.names import named
from marketplace.permissions import Permission
from marketplace.web import page
from marketplace.web.organization import current
from marketplace.web.page import actor
from marketplace.web.programmes import TONES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from marketplace.models import Organization

PAID = (Grant.State.APPROVED, Grant.State.SUSPENDED, Grant.State.EXPIRED)
"""Of which something may be or have been paid."""


def _rows(request: HttpRequest, ours: Organization) -> QuerySet[Grant]:
    rows = access.grants_for(request.user, within=ours)
    return rows.select_related("programme__funder", "programme__issuer", "party")


class MonthsForm(forms.Form):
    """Months of use, both included."""

    from_month = forms.RegexField(
        r"^\d{4}-(0[1-9]|1[0-2])$", label=_("From month"), widget=forms.TextInput(attrs={"type": "month"})
    )
    until_month = forms.RegexField(
        r"^\d{4}-(0[1-9]|1[0-2])$", label=_("Until month"), widget=forms.TextInput(attrs={"type": "month"})
    )


@require_safe
def list_grants(request: HttpRequest) -> HttpResponse:
    """All applications, the latest first, with what is left of the caps, committed and paid."""
    ours = current(request, Permission.SEE_ORGANIZATION)
    found = list(_rows(request, ours).order_by("-applied_at", "-pk"))
    sums = _sums(found) if page.of(request).may["see_bills"] else None
    shown = [_row(grant, None if sums is None else sums.get(grant.pk, {})) for grant in found]
    context = {"rows": shown, "has_sums": sums is not None, "tab": "grants", "month": _month(ours)}
    return render(request, "marketplace/grants.html", context)


def _row(grant: Grant, sums: dict[str, int] | None) -> dict[str, Any]:
    currency = grant.programme.currency
    words = {} if sums is None else {name: figures.money(amount, currency) for name, amount in sums.items()}
    return {"grant": grant, "name": named(grant.programme), "tone": TONES.get(grant.state, ""), **words}  # type: ignore[call-overload]


def _month(ours: Organization) -> str:
    return f"{timezone.now().astimezone(ZoneInfo(ours.zone.issuer.timezone)):%Y-%m}"


def _sums(grants: Sequence[Grant]) -> dict[int, dict[str, int]]:
    """By grant: committed and redeemed in minor units, and what is left of the caps of this month and year, where it has any."""
    found: dict[int, dict[str, int]] = {
        grant.pk: {"committed": 0, "redeemed": 0} for grant in grants if grant.state in PAID
    }
    open_ones = Commitment.objects.filter(grant__in=found, state=Commitment.State.OPEN)
    for grant_id, amount_minor in open_ones.values_list("grant").annotate(Sum("amount_minor")).order_by():
        found[grant_id]["committed"] = amount_minor
    redeemed = Redemption.objects.filter(share__grant__in=found)
    sums = redeemed.values_list("share__grant").annotate(sum=Sum(F("amount_minor") - F("clawed_back_minor"))).order_by()
    for grant_id, amount_minor in sums:
        found[grant_id]["redeemed"] = amount_minor
    taken = _taken(grants)
    for grant in grants:
        if grant.state == Grant.State.APPROVED:
            for name, period, cap_minor in _caps(grant):
                found[grant.pk][name] = cap_minor - taken.get((grant.programme_id, period), 0)
    return found


def _caps(grant: Grant) -> list[tuple[str, str, int]]:
    """(name, period, cap) of this month and this year, as far as the programme has such caps."""
    programme = grant.programme
    month = f"{timezone.now().astimezone(ZoneInfo(programme.issuer.timezone)):%Y-%m}"
    caps = (
        ("month_left", month, programme.cap_firm_month_minor),
        ("year_left", month[:4], programme.cap_firm_year_minor),
    )
    return [(name, period, cap_minor) for name, period, cap_minor in caps if cap_minor is not None]


def _taken(grants: Sequence[Grant]) -> dict[tuple[int, str], int]:
    """What the firm has taken of its caps, by programme and period; nothing where a cap was never touched."""
    if not grants:
        return {}
    rows = FirmCap.objects.filter(
        programme__in=[grant.programme_id for grant in grants],
        credit_code=grants[0].party.credit_code,
        period__in={period for grant in grants for _name, period, _cap in _caps(grant)},
    )
    return {(row.programme_id, row.period): row.committed_minor + row.redeemed_minor for row in rows}


@require_safe
def grant(request: HttpRequest, grant_id: int) -> HttpResponse:
    """One application: its state with the reason, what it says and shows, its history, and what was paid."""
    ours = current(request, Permission.SEE_ORGANIZATION)
    return _show(request, ours, get_object_or_404(_rows(request, ours), pk=grant_id))


def _show(request: HttpRequest, ours: Organization, found: Grant, months: MonthsForm | None = None) -> HttpResponse:
    may = page.of(request).may
    sums = _sums([found]).get(found.pk) if may["see_bills"] else None
    context = {
        **_row(found, sums),
        "tab": "grants",
        "share": terms.share(found.programme),
        "limits": terms.limits(found.programme),
        "rules": terms.judged(found.programme.eligibility, found.verdict),
        "documents": _documents(found) if may["see_bills"] else None,
        "history": [(each, Grant.State(each.state).label) for each in found.changes.all()],
        "has_sums": sums is not None,
        "paid": _paid(found) if may["see_bills"] else [],
        "claims": _claims(request, ours, found) if may["see_bills"] else [],
        "claims_itself": _claims_itself(found),
        "months": (months or MonthsForm()) if may["apply"] and _claims_itself(found) else None,
        "can_withdraw": may["apply"] and found.state == Grant.State.APPLIED,
        "can_apply": may["apply"] and found.state in (Grant.State.REJECTED, Grant.State.WITHDRAWN, Grant.State.EXPIRED),
    }
    return render(request, "marketplace/grant.html", context)


def _documents(found: Grant) -> list[Any]:
    rows = found.documents.select_related("evidence").defer("evidence__content").order_by("evidence__name", "pk")
    return [row.evidence for row in rows]


LIMITED = {
    "invoice_cap": _("cap of an invoice"),
    "firm_cap": _("cap of the firm"),
    "budget": _("budget of the programme"),
    "stacking": _("another programme pays"),
}


def _paid(found: Grant) -> list[dict[str, Any]]:
    """What it paid of each invoice, less what was clawed back, 0 included, the latest first."""
    rows = ProgrammeShare.objects.filter(grant=found).annotate(
        left_minor=F("share_minor") - Sum("redemptions__clawed_back_minor", default=0)
    )
    shares: QuerySet[Any] = rows.select_related("invoice").defer("invoice__snapshot")
    currency = found.programme.currency
    return [
        {
            "number": share.invoice.number,
            "month": share.month,
            "eligible": figures.money(share.eligible_minor, currency),
            "share": figures.money(share.left_minor, currency),
            "limited_by": LIMITED.get(share.limited_by, ""),
        }
        for share in shares.order_by("-month", "-pk")
    ]


def _claims_itself(found: Grant) -> bool:
    """Does the firm pay all, and claim from the funder by itself?"""
    return found.state in PAID and found.programme.mode == Programme.Mode.REIMBURSEMENT


def _claims(request: HttpRequest, ours: Organization, found: Grant) -> list[dict[str, Any]]:
    rows = access.claims_for(request.user, within=ours).filter(programme=found.programme_id, claimant=found.party_id)
    currency = found.programme.currency
    return [{"claim": row, "amount": figures.money(row.amount_minor, currency)} for row in rows.order_by("-pk")]


@require_POST
def claim(request: HttpRequest, grant_id: int) -> HttpResponse:
    """Put what is owed for some months into a claim of the firm's own, with its evidence."""
    ours = current(request, Permission.APPLY)
    found = get_object_or_404(_rows(request, ours), pk=grant_id)
    if not _claims_itself(found):
        raise Http404
    form = MonthsForm(request.POST)
    if not form.is_valid():
        return _show(request, ours, found, form)
    months = form.cleaned_data
    try:
        claims.claim(
            programme=found.programme,
            key=claims.key_of(programme=found.programme, claimant=found.party, **months),
            **months,
            claimant=found.party,
            at=timezone.now(),
            actor=actor(request),
        )
    except claims.NothingToClaimError:
        messages.warning(request, gettext("Nothing is left to claim for these months."))
    except claims.AlreadyClaimedError:
        messages.warning(request, gettext("Another claim took a part of it meanwhile: try again."))
    else:
        messages.success(request, gettext("The proof is made: it stands below."))
    return redirect("grant", grant_id)


@require_POST
def withdraw(request: HttpRequest, grant_id: int) -> HttpResponse:
    """Take an application back before it is decided on."""
    ours = current(request, Permission.APPLY)
    found = get_object_or_404(access.grants_for(request.user, within=ours), pk=grant_id)
    try:
        programmes.withdraw(grant=found, at=timezone.now(), actor=actor(request))
    except programmes.GrantStateError:
        messages.warning(request, gettext("It is decided on already and can't be withdrawn."))
    else:
        messages.success(request, gettext("The application is withdrawn. You can apply again."))
    return redirect("grant", grant_id)
