"""A programme in figures: its budget by month with the forecast, its firms, and what is paid twice."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing import outlook, programme_figures
from billing.documents.figures import major
from billing.models import PartyFact, Programme
from billing.programmes import local_date
from marketplace import programme_terms as terms
from marketplace.admin.base import money
from marketplace.admin.page import Table, link
from marketplace.admin.site import staff
from marketplace.names import named
from marketplace.web import charts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from django.http import HttpRequest, HttpResponse

    from billing.outlook import Outlook
    from billing.programme_figures import Group, Month

MOST = 200  # lines that are paid twice; the latest come first


@staff.page("programmes/<int:programme_id>/figures/", "programme_figures")
@require_safe
def figures(request: HttpRequest, programme_id: int) -> HttpResponse:
    programme = get_object_or_404(Programme.objects.select_related("issuer"), pk=programme_id)
    at = timezone.now()
    today = local_date(programme=programme, at=at)
    seen = outlook.each(programme=programme, at=at)
    firms = programme_figures.by_firm(programme=programme)
    groups = [
        (_("Firms by size"), PartyFact.Kind.SIZE_CLASS),
        (_("Firms by sector"), PartyFact.Kind.SECTOR),
    ]
    tables = [
        _groups(title, kind, programme_figures.by_fact(firms=firms, kind=kind, on_date=today), programme.currency)
        for title, kind in groups
    ]
    months = programme_figures.by_month(budgets=[each.budget for each in seen])
    context: dict[str, Any] = {
        "back": staff.address("billing_programme_change", programme.pk),
        "double": staff.address("double_funding"),
        "budgets": [_budget(each, months[each.budget.pk], today, programme.currency) for each in seen],
        "tables": [*([_budgets(seen, programme.currency)] if seen else []), *tables],
    }
    title = f"{named(programme)}: {gettext('Figures')}"
    return staff.show(request, "admin/programme_figures.html", title, context)


def _budget(seen: Outlook, months: Sequence[Month], today: date, currency: str) -> dict[str, Any]:
    """What is drawn and said of one budget."""
    levels = _levels(months, seen, today)
    return {
        "id": seen.budget.pk,
        "title": _called(seen),
        "intro": _said(seen, today, currency),
        "chart": _chart(months, levels, seen, currency),
        "tables": [_months(months, levels, seen, currency)],
    }


def _called(seen: Outlook) -> str:
    """By its code and its days, since codes are the operator's."""
    budget = seen.budget
    return gettext("Budget %(code)s, %(first)s – %(last)s") % {
        "code": budget.code,
        "first": budget.from_date,
        "last": budget.until_date,
    }


def _budgets(seen: Sequence[Outlook], currency: str) -> Table:
    rows = []
    for each in seen:
        budget = each.budget
        amounts = (budget.budget_minor, budget.committed_minor, budget.redeemed_minor, each.left_minor)
        used_up = "–" if each.exhausted_on is None else each.exhausted_on.isoformat()
        days = (budget.from_date.isoformat(), budget.until_date.isoformat())
        rows.append([budget.code, *days, *(money(amount_minor, currency) for amount_minor in amounts), used_up])
    headers = [
        _("budget"),
        _("from"),
        _("until"),
        _("limit"),
        _("committed"),
        _("redeemed"),
        _("left"),
        _("used up on"),
    ]
    return Table(_("Budgets"), headers, rows, numbers=(3, 4, 5, 6), moments=(1, 2, 7))


def _said(seen: Outlook, today: date, currency: str) -> str:
    """When the budget is used up, and how that is reckoned; of one that is over, what was left."""
    told = {
        "limit": money(seen.budget.budget_minor, currency),
        "amount": money(seen.grown_minor, currency),
        "days": outlook.DAYS,
        "left": money(seen.left_minor, currency),
        "day": seen.exhausted_on,
        "last": seen.budget.until_date,
    }
    if seen.budget.until_date < today:
        return gettext("It is over: %(left)s of %(limit)s are left.") % told
    if seen.left_minor <= 0:
        return gettext("Nothing of its %(limit)s is left.") % told
    if seen.exhausted_on is None:
        return (
            gettext("%(amount)s were used in the last %(days)s days: the %(left)s that are left last until %(last)s.")
            % told
        )
    return (
        gettext("%(amount)s were used in the last %(days)s days: the %(left)s that are left are used up on %(day)s.")
        % told
    )


def _levels(months: Sequence[Month], seen: Outlook, today: date) -> list[int | None]:
    """How much will be used at each month's end, in minor units, at most the budget; None for months that are over."""
    used_minor = seen.budget.committed_minor + seen.budget.redeemed_minor
    rate = Fraction(max(seen.grown_minor, 0), outlook.DAYS)
    return [
        None
        if month.last_date < today
        else min(seen.budget.budget_minor, used_minor + int(rate * (month.last_date - today).days))
        for month in months
    ]


def _chart(months: Sequence[Month], levels: Sequence[int | None], seen: Outlook, currency: str) -> charts.Chart:
    """Bars as high as the budget: what is redeemed and committed up to each month of use, and what is left."""
    redeemed = list(accumulate(month.redeemed_minor for month in months))
    committed = list(accumulate(month.committed_minor for month in months))
    slots = [
        charts.Slot(
            title=f"{month.code}: {money(paid + promised, currency)}",
            parts=[
                ("redeemed", _major(paid, currency)),
                ("committed", _major(promised, currency)),
                ("left", _major(max(0, seen.budget.budget_minor - paid - promised), currency)),
            ],
            reserved=_major(level or 0, currency),
        )
        for month, paid, promised, level in zip(months, redeemed, committed, levels, strict=True)
    ]
    return charts.chart(slots=slots, columns=[month.code for month in months], gap=3)


def _major(amount_minor: int, currency: str) -> Fraction:
    return Fraction(major(amount_minor, currency))


def _months(months: Sequence[Month], levels: Sequence[int | None], seen: Outlook, currency: str) -> Table:
    left_minor, rows = seen.budget.budget_minor, []
    for month, level in zip(months, levels, strict=True):
        left_minor -= month.redeemed_minor + month.committed_minor
        amounts = (month.redeemed_minor, month.committed_minor, left_minor, level)
        rows.append([month.code, *(money(amount_minor, currency) for amount_minor in amounts)])
    return Table(
        _("Budget by month of use"),
        [_("month"), _("redeemed"), _("committed"), _("left"), _("used by its end, as forecast")],
        rows,
        numbers=(1, 2, 3, 4),
    )


def _groups(title: Any, kind: str, groups: Sequence[Group], currency: str) -> Table:
    return Table(
        title,
        [PartyFact.Kind(kind).label, _("firms"), _("redeemed"), _("committed")],
        [
            [
                _("not known") if group.value is None else terms.said(kind, group.value),
                group.firms,
                money(group.redeemed_minor, currency),
                money(group.committed_minor, currency),
            ]
            for group in groups
        ],
        numbers=(1, 2, 3),
        empty=_("No firm has it."),
    )


@staff.page("programmes/double-funding/", "double_funding")
@require_safe
def double_funding(request: HttpRequest) -> HttpResponse:
    """Lines that several programmes pay, and firms whose grants go against a rule of their programmes."""
    tables = [
        Table(
            _("Lines paid by several programmes"),
            [_("invoice line"), _("legal person"), _("programmes"), _("redeemed"), _("net")],
            [
                [
                    f"{line.invoice} · {line.position}",
                    rows[0].share.grant.party.legal_name,
                    ", ".join(row.share.programme.code for row in rows),
                    money(sum(row.amount_minor for row in rows), line.invoice.currency),
                    money(line.amount_minor, line.invoice.currency),
                ]
                for line, rows in programme_figures.paid_twice(most=MOST)
            ],
            numbers=(3, 4),
            empty=_("No line is paid by more than one."),
        ),
        Table(
            _("Grants of one stacking group at the same time"),
            [_("legal person"), _("stacking group"), _("grants")],
            [
                [
                    grants[0].party.legal_name,
                    grants[0].programme.stacking_group,
                    ", ".join(f"{each.programme.code} ({each.from_date} – {each.until_date})" for each in grants),
                ]
                for grants in programme_figures.stacked()
            ],
            note=_("Of each bill only the first that pays anything does; both may have promised."),
            empty=_("No firm has two of one group."),
        ),
        Table(
            _("Provider and user both have it"),
            [_("programme"), _("contract"), _("buyer"), _("provider")],
            [
                [
                    code,
                    link(staff.address("billing_contract_change", contract.pk), contract.number),
                    contract.account.party.legal_name,
                    contract.provider.legal_name,
                ]
                for code, contract in programme_figures.on_both_sides()
            ],
            note=_("Of programmes that one side alone may claim. Such supply is not paid for."),
            empty=_("No contract has both sides in one such programme."),
        ),
    ]
    return staff.show(request, "admin/list.html", _("Double funding"), {"tables": tables})
