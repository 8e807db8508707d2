"""Invoices: the list, one invoice, and the preview of a month that is not issued yet, which looks the same."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing import charging, invoicing, snapshot
from billing.documents import figures
from billing.documents.content import content, funding_notes
from billing.models import Account, BillingPeriod, Invoice
from marketplace import access, month
from marketplace.forecast import Readings
from marketplace.permissions import Permission
from marketplace.web import amounts, corrections, disputes, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from billing.charging import Reader
    from marketplace.models import Organization

PAGE = 24
_CURSOR = re.compile(r"([0-9]{4}-[0-9]{2})\.([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True)
class Document:
    """An invoice as its snapshot says it, or what the snapshot would be now. `read`: where its readings come from."""

    snapshot: Mapping[str, Any]
    invoice: Invoice | None
    account_id: int
    period: BillingPeriod
    read: Reader


def rows(request: HttpRequest) -> QuerySet[Invoice]:
    """The invoices that the reader may see in the current organization. Raises Http404 for one who may see none."""
    return access.invoices_for(request.user, within=_current(request)).filter(state=Invoice.State.ISSUED)


def _current(request: HttpRequest) -> Organization | None:
    here = page.of(request)
    if Permission.SEE_BILLS not in here.permissions:
        raise Http404
    return here.organization


# The list


@require_safe
def invoices(request: HttpRequest) -> HttpResponse:
    """By month, the latest first; before them the months that are not issued yet."""
    if page.of(request).organization is None:
        return redirect("organization")
    found = rows(request)
    codes = found.order_by().values_list("period__code", flat=True).distinct()
    years = sorted({code[:4] for code in codes}, reverse=True)
    year = request.GET.get("year", "")
    if year and year not in years:
        raise Http404
    listed = found.filter(period__code__startswith=year).select_related("account", "period", "settled_on")
    listed = listed.defer("snapshot", "settled_on__snapshot")
    after = request.GET.get("after", "")
    if after:
        listed = listed.filter(_after(after))
    some = list(listed.order_by("-period__code", "-pk")[: PAGE + 1])
    previews = [] if after else [row for row in _previews(request) if row["code"].startswith(year)]
    shown = [_row(invoice) for invoice in some[:PAGE]]
    context = {
        "years": years,
        "year": year,
        "invoices": shown,
        "previews": previews,
        "has_subsidies": any(row["subsidy"] for row in (*previews, *shown)),
        "next": f"{some[PAGE - 1].period.code}.{some[PAGE - 1].pk}" if len(some) > PAGE else None,
        "is_later": bool(after),
        "several_accounts": len({row.account_id for row in some} | {row["account_id"] for row in previews}) > 1,
    }
    return render(request, "billing/invoices.html", context)


def _after(cursor: str) -> Q:
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise Http404
    return Q(period__code__lt=parts[1]) | Q(period__code=parts[1], pk__lt=int(parts[2]))


def _row(invoice: Invoice) -> dict[str, Any]:
    return {
        "invoice": invoice,
        "number": invoice.number,
        "kind": "" if invoice.kind == Invoice.Kind.INVOICE else invoice.get_kind_display(),
        "code": invoice.period.code,
        "account": invoice.account.code,
        **_amounts(invoice, invoice.currency),
        "issued_on": amounts.local(invoice.issued_at, invoice.period.timezone).date() if invoice.issued_at else None,
        "due_on": invoice.due_date,
        "settled_on": "" if invoice.settled_on is None else invoice.settled_on.number,
    }


def _amounts(billed: Invoice | charging.Charges, currency: str) -> dict[str, str]:
    """The net, what programmes pay of it (empty where they pay nothing), and what is to be paid, with tax."""
    return {
        "net": figures.money(billed.net_minor, currency),
        "subsidy": figures.money(-billed.subsidy_minor, currency) if billed.subsidy_minor else "",
        "payable": figures.money(billed.payable_minor, currency),
    }


def _previews(request: HttpRequest) -> list[dict[str, Any]]:
    """The running month and the one before it, of each account, unless it is issued or there is nothing in it."""
    here = page.of(request)
    accounts = list(
        access.accounts_for(request.user, within=here.organization)
        .select_related("issuer")
        .order_by("issuer_id", "code")
    )
    contracts = access.contracts_for(request.user, within=here.organization).filter(account__in=accounts)
    readings = Readings(list(contracts))
    found: list[dict[str, Any]] = []
    now = timezone.now()
    for issuer in {account.issuer_id: account.issuer for account in accounts}.values():
        own = [account for account in accounts if account.issuer_id == issuer.pk]
        running = month.running(issuer=issuer, at=now)
        for period in (running, month.before(period=running)):
            issued = set()
            if period.pk is not None:
                issued = set(
                    Invoice.objects.filter(
                        period=period, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE, account__in=own
                    ).values_list("account", flat=True)
                )
            charged = charging.charges_of(accounts=own, period=period, read=readings)
            found += [
                {
                    "code": period.code,
                    "is_running": period is running,
                    "account_id": account.pk,
                    "account": account.code,
                    **_amounts(charges, charges.currency),
                }
                for account in own
                if account.pk not in issued
                and isinstance(charges := charged[account.pk], charging.Charges)
                and charges.lines
            ]
    return found


# One invoice


@require_safe
def invoice(request: HttpRequest, number: str) -> HttpResponse:
    return _shown(request, issued(request, number))


@never_cache
@require_safe
def preview(request: HttpRequest, account_id: int, code: str) -> HttpResponse:
    """What the invoice of a month would be if it were issued now; the invoice itself once it is."""
    account, period = _month(request, account_id, code)
    found = rows(request).filter(account=account, period__code=code, kind=Invoice.Kind.INVOICE)
    number = found.values_list("number", flat=True).first()
    if number:
        return redirect("invoice", number)
    try:
        document = previewed(request, account, period)
    except charging.NotChargeableError as refusal:
        context = {"code": code, "refusal": str(refusal), "is_preview": True}
        return render(request, "billing/invoice.html", context)
    return _shown(request, document)


def issued(request: HttpRequest, number: str) -> Document:
    """The issued invoice of that number. Raises Http404."""
    found = get_object_or_404(rows(request).select_related("account", "period"), number=number)
    read = Readings(list(access.contracts_for(request.user).filter(account=found.account_id)))
    return Document(json.loads(found.snapshot or ""), found, found.account_id, found.period, read)


def previewed(request: HttpRequest, account: Account, period: BillingPeriod) -> Document:
    """The document as it would be now. Raises NotChargeableError."""
    now = timezone.now()
    read = Readings(list(access.contracts_for(request.user).filter(account=account)))
    settling = invoicing.preview(account=account, period=period, at=now)
    if settling is not None:  # with corrections of earlier months
        return Document(settling, None, account.pk, period, read)
    charges = charging.charges(account=account, period=period, read=read)
    due_date = amounts.local(now, period.timezone).date()
    parts = snapshot.invoice(account=account, period=period, charges=charges, at=now, due_date=due_date)
    return Document(json.loads("".join(parts)), None, account.pk, period, read)


def of_month(request: HttpRequest, account_id: int, code: str) -> Document:
    """The preview of an account's month. Raises Http404, also where it can't be priced."""
    account, period = _month(request, account_id, code)
    try:
        return previewed(request, account, period)
    except charging.NotChargeableError as refusal:
        raise Http404(str(refusal)) from refusal


def _month(request: HttpRequest, account_id: int, code: str) -> tuple[Account, BillingPeriod]:
    accounts = access.accounts_for(request.user, within=_current(request)).select_related("party", "issuer__party")
    account = get_object_or_404(accounts, pk=account_id)
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", code):
        raise Http404
    period = month.named(issuer=account.issuer, year=int(code[:4]), month=int(code[5:]))
    if period.start_at > timezone.now():
        raise Http404
    return account, period


def address(document: Document) -> str:
    """Of the document's page."""
    if document.invoice is not None:
        return reverse("invoice", args=[document.invoice.number])
    return reverse("preview", args=[document.account_id, document.period.code])


def line_address(document: Document, position: int) -> str:
    if document.invoice is not None:
        return reverse("invoice_line", args=[document.invoice.number, position])
    return reverse("preview_line", args=[document.account_id, document.period.code, position])


def readings_address(document: Document, position: int) -> str:
    """Of the file with the readings behind a line."""
    if document.invoice is not None:
        return reverse("line_readings", args=[document.invoice.number, position])
    return reverse("preview_line_readings", args=[document.account_id, document.period.code, position])


def _shown(request: HttpRequest, document: Document) -> HttpResponse:
    said = content(snapshot=document.snapshot, language=amounts.language())
    currency, is_funded = document.snapshot["currency"], "funding" in document.snapshot
    due_minor = snapshot.payable(document.snapshot)
    if "corrections" in document.snapshot:
        due_minor = document.snapshot["corrections"]["due_minor"]
        corrections.with_addresses(said["corrections"])
    explained = {item["position"]: item for item in (said["explained"] or {"items": []})["items"]}
    for group in said["lines"]["groups"]:
        for row in group["rows"]:
            row["explained"] = explained[row["position"]]
            row["address"] = line_address(document, int(row["position"]))
        if is_funded:
            _with_shares(group, document.snapshot)
    context = {
        "document": document,
        "said": said,
        "is_preview": document.invoice is None,
        "code": document.period.code,
        "now": amounts.local(timezone.now(), document.period.timezone),
        "is_running": document.period.end_at > timezone.now(),
        "payable": figures.money(due_minor, currency),
        "has_corrections": "corrections" in document.snapshot,
        "is_funded": is_funded,
        "span": 7 if is_funded else 5,
        "funding": funding_notes(document.snapshot, amounts.language()),
    }
    if document.invoice is not None:
        context |= corrections.of_invoice(request, document.invoice)
        context |= disputes.of_document(request, document.invoice)
    return render(request, "billing/invoice.html", context)


def _with_shares(group: dict[str, Any], snapshot: Mapping[str, Any]) -> None:
    """Of each line and of all of them what programmes pay in the buyer's place, and what the buyer pays."""
    lines = [snapshot["lines"][int(row["position"]) - 1] for row in group["rows"]]
    for row, line in [*zip(group["rows"], lines, strict=True), (group, None)]:
        for name, sign in (("subsidy", -1), ("payable", 1)):
            amount_minor = sum(each[f"{name}_minor"] for each in (lines if line is None else [line]))
            row[name] = figures.figure(sign * amount_minor, snapshot["currency"])
