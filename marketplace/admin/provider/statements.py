"""Statements: what each month's issued lines come to for the provider, as pages and as CSV. For those who see bills."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing.documents import figures
from billing.exports.tables import guarded
from billing.models import InvoiceLine
from marketplace import statements as earned
from marketplace.admin.base import money, word
from marketplace.admin.page import Table, link
from marketplace.admin.site import providers
from marketplace.permissions import Permission

if TYPE_CHECKING:
    from django.http import HttpRequest

    from marketplace.statements import Statement

MOST_LINES = 2000
"""On a page; the CSV has all of them."""


def of(request: HttpRequest) -> list[Statement]:
    party = providers.organization(request).party
    return earned.statements(provider=party, lines=providers.rows(request, InvoiceLine))


def so_far(request: HttpRequest) -> Table:
    """The running month, estimated, and what the estimate stands on."""
    month = earned.month_so_far(provider=providers.organization(request), at=timezone.now())
    note = gettext(
        "Estimated at %(at)s from the usage counted so far, as it would be invoiced; not final. Rated anew at most every 15"
        " minutes."
    ) % {"at": f"{timezone.localtime(month.at):%Y-%m-%d %H:%M}"}
    if month.left_out:
        note += " " + gettext("%(count)d accounts are left out.") % {"count": month.left_out}
    row = [
        month.code,
        money(month.net_minor, month.currency),
        money(month.net_minor - month.share_minor, month.currency),
        money(month.share_minor, month.currency),
    ]
    headers = [_("month"), _("paid by buyers, net"), _("fee of the zone"), _("your share, net")]
    return Table(_("This month so far"), headers, [row], numbers=(1, 2, 3), note=note)


def _require_bills(request: HttpRequest) -> None:
    if not providers.may(request, Permission.SEE_BILLS):
        raise PermissionDenied


@providers.page("statements/", "statements")
@require_safe
def statements(request: HttpRequest) -> HttpResponse:
    _require_bills(request)
    cells = [
        [
            link(providers.address("statement", each.period.pk, each.currency), each.period.code),
            each.period.issuer.code,
            each.line_count,
            *_amounts(each),
        ]
        for each in of(request)
    ]
    headers = [_("month"), _("issuer"), _("lines"), *_HEADERS]
    note = _(
        "Of lines that are invoiced. VAT is on your share; payable is what the zone's ledger owes you for the month."
    )
    table = Table(_("Invoiced"), headers, cells, numbers=range(2, 8), note=note)
    return providers.show(request, "admin/list.html", _("Statements"), {"tables": [so_far(request), table]})


_HEADERS = (_("paid by buyers, net"), _("fee of the zone"), _("your share, net"), _("VAT"), _("payable"))


def _amounts(each: Statement) -> list[str]:
    amounts = (each.net_minor, each.fee_minor, each.share_minor, each.vat_minor, each.payable_minor)
    return [money(amount, each.currency) for amount in amounts]


def _find(request: HttpRequest, period_id: int, currency: str) -> tuple[Statement, Any]:
    _require_bills(request)
    for each in of(request):
        if (each.period.pk, each.currency) == (period_id, currency):
            lines = providers.rows(request, InvoiceLine).filter(invoice__period=period_id, invoice__currency=currency)
            return each, lines.select_related("contract").order_by("contract__number", "invoice_id", "position")
    raise Http404


@providers.page("statements/<int:period_id>/<slug:currency>/", "statement")
@require_safe
def statement(request: HttpRequest, period_id: int, currency: str) -> HttpResponse:
    found, lines = _find(request, period_id, currency)
    cells = [_line(line, currency) for line in lines[:MOST_LINES]]
    sums = Table("", list(_HEADERS), [_amounts(found)], numbers=range(5))
    shown = Table(
        _("Lines"),
        [
            _("contract"),
            _("charge"),
            _("kind"),
            _("period of use"),
            _("tier"),
            _("quantity"),
            _("unit"),
            _("price"),
            _("net"),
        ],
        cells,
        numbers=(5, 7, 8),
        note=""
        if found.line_count <= MOST_LINES
        else gettext("The first %(most)d of %(count)d; the file has all.")
        % {"most": MOST_LINES, "count": found.line_count},
    )
    links = [
        {
            "address": providers.address("statement_file", period_id, currency),
            "title": _("Download CSV"),
            "is_button": True,
        }
    ]
    context = {"tables": [sums, shown], "links": links}
    title = gettext("Statement of %(month)s") % {"month": found.period.code}
    return providers.show(request, "admin/list.html", title, context)


def _line(line: InvoiceLine, currency: str) -> list[Any]:
    return [
        line.contract.number,
        line.charge,
        word("kind", line.kind),
        word("tou", line.tou_period) if line.tou_period else "",
        line.tier or "",
        figures.number(line.quantity.normalize()),
        word("unit", line.unit),
        "" if line.unit_price is None else figures.number(line.unit_price.normalize(), 2),
        money(line.amount_minor, currency),
    ]


@providers.page("statements/<int:period_id>/<slug:currency>/statement.csv", "statement_file")
@require_safe
def statement_file(request: HttpRequest, period_id: int, currency: str) -> HttpResponse:
    """Codes, not words, and plain numbers; text that a spreadsheet would take for a formula is quoted."""
    found, lines = _find(request, period_id, currency)
    text = io.StringIO()
    text.write("\ufeff")  # so that spreadsheets read it as UTF-8
    writer = csv.writer(text)
    writer.writerow(
        [
            "month",
            "contract",
            "charge",
            "kind",
            "tou_period",
            "tier",
            "quantity",
            "unit",
            "unit_price",
            "net",
            "currency",
        ]
    )
    for line in lines.iterator(chunk_size=2000):
        writer.writerow(
            [
                found.period.code,
                guarded(line.contract.number),
                guarded(line.charge),
                guarded(line.kind),
                guarded(line.tou_period or ""),
                line.tier or "",
                f"{line.quantity.normalize():f}",
                guarded(line.unit),
                "" if line.unit_price is None else f"{line.unit_price.normalize():f}",
                figures.figure(line.amount_minor, currency),
                currency,
            ]
        )
    answer = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="statement-{found.period.code}-{currency}.csv"'
    answer["Cache-Control"] = "private, no-store"
    return answer
