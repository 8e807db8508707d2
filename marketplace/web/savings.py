"""What the firm saves by programmes, this month and this year, and what is left of its caps."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.documents import figures
from billing.models import Invoice, Programme
from billing.rating.money import exponent
from marketplace import access
from marketplace.forecast import Readings
from marketplace.names import named
from marketplace.permissions import Permission
from marketplace.savings import Savings, savings
from marketplace.web import charts, page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest, HttpResponse

    from marketplace.savings import Cap, Granted, Month

TONES = ("capacity", "valley", "peak", "deep", "sharp", "flat")
"""Colours of programmes, in the order in which they are shown; more of them begin again."""
WIDTH = 1000


@never_cache
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    here = page.of(request)
    if here.organization is None:
        return redirect("organization")
    if Permission.SEE_BILLS not in here.permissions:
        raise Http404
    organization = here.organization
    issuer = organization.zone.issuer
    accounts = list(
        access.accounts_for(request.user, within=organization).filter(issuer=issuer).select_related("issuer")
    )
    contracts = access.contracts_for(request.user, within=organization).filter(account__in=accounts)
    found = savings(
        party=organization.party,
        issuer=issuer,
        accounts=accounts,
        invoices=access.invoices_for(request.user, within=organization).filter(state=Invoice.State.ISSUED),
        at=timezone.now(),
        read=Readings(list(contracts)),
    )
    return render(request, "marketplace/savings.html", _context(found))


def _context(found: Savings) -> dict[str, Any]:
    tones = {each.programme.pk: TONES[place % len(TONES)] for place, each in enumerate(found.granted)}
    names = {each.programme.pk: named(each.programme) for each in found.granted}
    return {
        "year": found.year,
        "running": found.running,
        "granted": [_programme(found, each, tones[each.programme.pk]) for each in found.granted],
        "month_sum": _money(sum(found.of_month(each) for each in names), found),
        "year_sum": _money(sum(found.of_year(each) for each in names), found),
        "year_list": _money(sum(each.list_minor for each in found.months), found),
        "year_payable": _money(sum(each.payable_minor for each in found.months), found),
        "committed_sum": _money(sum(each.committed_minor for each in found.granted), found),
        "has_later": any(each.programme.mode == Programme.Mode.REIMBURSEMENT for each in found.granted),
        "currency": found.currency,
        "names": list(names.values()),
        "rows": [_row(each, list(names), found) for each in found.months],
        "sums": [_money(found.of_year(each), found) for each in names],
        "chart": _chart(found, tones, names) if found.months else None,
        "legend": [(tones[each], name) for each, name in names.items()],
    }


def _money(amount_minor: int, found: Savings) -> str:
    return figures.money(amount_minor, found.currency)


def _programme(found: Savings, each: Granted, tone: str) -> dict[str, Any]:
    programme = each.programme
    return {
        "name": named(programme),
        "tone": tone,
        "month": _money(found.of_month(programme.pk), found),
        "year": _money(found.of_year(programme.pk), found),
        "committed": _money(each.committed_minor, found) if each.committed_minor else "",
        "until": each.grant and each.grant.until_date,
        "is_on": each.grant is not None,
        "is_later": programme.mode == Programme.Mode.REIMBURSEMENT,
        "caps": [_cap(cap, found) for cap in each.caps],
    }


def _cap(cap: Cap, found: Savings) -> dict[str, Any]:
    paid = cap.redeemed_minor * WIDTH // cap.cap_minor if cap.cap_minor else 0
    taken = (cap.redeemed_minor + cap.committed_minor) * WIDTH // cap.cap_minor if cap.cap_minor else 0
    return {
        "period": cap.period,
        "cap": _money(cap.cap_minor, found),
        "redeemed": _money(cap.redeemed_minor, found),
        "committed": _money(cap.committed_minor, found) if cap.committed_minor else "",
        "left": _money(cap.left_minor, found),
        "paid_width": paid,
        "committed_width": taken - paid,
    }


def _row(each: Month, programmes: Sequence[int], found: Savings) -> dict[str, Any]:
    return {
        "code": each.code,
        "is_issued": each.is_issued,
        "list": _money(each.list_minor, found),
        "shares": [_money(each.shares.get(programme_id, 0), found) for programme_id in programmes],
        "payable": _money(each.payable_minor, found),
    }


def _chart(found: Savings, tones: dict[int, str], names: dict[int, str]) -> charts.Chart:
    """A bar for each month of the year, in the currency's major units."""
    by_code = {each.code: each for each in found.months}
    slots = []
    for number in range(1, 13):
        code = f"{found.year}-{number:02d}"
        shares = by_code[code].shares if code in by_code else {}
        told = "; ".join(f"{names[each]} {_money(shares[each], found)}" for each in names if shares.get(each))
        parts = [(tones[each], Fraction(max(0, shares.get(each, 0)), 10 ** exponent(found.currency))) for each in names]
        slots.append(charts.Slot(f"{code}: {told or _money(0, found)}", parts, Fraction(0)))
    return charts.chart(slots=slots, columns=[str(number) for number in range(1, 13)], gap=3)
