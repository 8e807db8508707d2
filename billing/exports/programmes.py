"""What a programme paid for a month of use: its budget, and a row for each firm that it was asked to pay for."""

from collections import Counter
from typing import Any

from django.db.models import F, Q, Sum

from billing import budgets
from billing.models import BillingPeriod, Invoice, Programme, ProgrammeShare


class UnknownProgrammeError(Exception):
    """No programme has that code, several issuers have one, or no budget of it holds the month."""


def statement(*, programme_code: str, period_code: str, issuer_code: str | None = None) -> dict[str, Any]:
    """Amounts in minor units of the programme's currency. Firms in ascending byte order of their accounts, those of which
    it pays 0 too.

    The budget is the longest that holds the month, with all that is committed and redeemed of it; list_minor is an
    invoice before the share and tax, payable_minor what the firm pays, each with what corrected it since. Raises
    UnknownProgrammeError.
    """
    programme = _programme(programme_code, issuer_code)
    if not BillingPeriod.objects.filter(issuer=programme.issuer_id, code=period_code).exists():
        raise UnknownProgrammeError(
            f"there is no billing period {period_code!r} of issuer {programme.issuer.code}: expected one that was opened,"
            " as 2020-05"
        )
    budget = budgets.widest(programme=programme, month=period_code)
    if budget is None:
        raise UnknownProgrammeError(f"programme {programme.code} has no budget that holds {period_code}")
    return {
        "programme": programme.code,
        "currency": programme.currency,
        "budget_minor": budget.budget_minor,
        "committed_minor": budget.committed_minor,
        "redeemed_minor": budget.redeemed_minor,
        "left_minor": budget.budget_minor - budget.committed_minor - budget.redeemed_minor,
        "firms": _firms(programme, period_code),
    }


def _firms(programme: Programme, month: str) -> list[dict[str, Any]]:
    """Of each invoice that the programme was asked to pay for, itself or by a note: it with its notes, as it stands."""
    shares = ProgrammeShare.objects.filter(programme=programme, month=month, invoice__state=Invoice.State.ISSUED)
    paid = F("redemptions__amount_minor") - F("redemptions__clawed_back_minor")
    by_invoice: Counter[int] = Counter()
    rows = shares.values_list("invoice", "invoice__corrects").annotate(paid=Sum(paid))
    for invoice_id, corrects_id, share_minor in rows.order_by():
        by_invoice[corrects_id or invoice_id] += share_minor or 0
    documents = Invoice.objects.filter(Q(pk__in=by_invoice) | Q(corrects__in=by_invoice), state=Invoice.State.ISSUED)
    firms: dict[int, dict[str, Any]] = {}
    for each in documents.select_related("account").defer("snapshot").order_by("account__code", "pk"):
        invoice_id = each.corrects_id or each.pk
        firm = firms.setdefault(
            invoice_id,
            {
                "account": each.account.code,
                "list_minor": 0,
                "share_minor": by_invoice[invoice_id],
                "tax_minor": 0,
                "payable_minor": 0,
            },
        )
        firm["list_minor"] += each.net_minor
        firm["tax_minor"] += each.tax_minor
        firm["payable_minor"] += each.payable_minor
    return list(firms.values())


def _programme(code: str, issuer_code: str | None) -> Programme:
    found = list(Programme.objects.filter(code=code).select_related("issuer").order_by("issuer__code"))
    if issuer_code is not None:
        found = [programme for programme in found if programme.issuer.code == issuer_code]
    if len(found) != 1:
        there = ", ".join(programme.issuer.code for programme in found)
        raise UnknownProgrammeError(
            f"programme is {code!r}: it is one of issuers {there}: name one"
            if found
            else f"there is no programme {code!r}"
        )
    return found[0]
