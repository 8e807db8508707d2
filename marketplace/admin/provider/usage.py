"""What buyers used of a provider's capacity: a month by contract, or one contract's days."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.validators import RegexValidator
from django.db.models import Sum
from django.db.models.functions import TruncDate
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from unfold.widgets import UnfoldAdminTextInputWidget  # type: ignore[import-untyped]

from billing.documents import figures
from billing.models import Contract, Reading
from marketplace.admin.base import word
from marketplace.admin.page import Table, choice_field, link
from marketplace.admin.site import providers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from django.http import HttpRequest, HttpResponse

METER = ("meter__code", "meter__unit", "meter__base_per_unit")


class MonthForm(forms.Form):
    month = forms.CharField(
        label=_("month"),
        required=False,
        validators=[RegexValidator(r"^(19[7-9]\d|2\d\d\d)-(0[1-9]|1[0-2])$", _("As in 2026-05."))],
        widget=UnfoldAdminTextInputWidget(attrs={"type": "month"}),
    )
    contract = choice_field(_("contract"))

    def __init__(self, data: Any, contracts: Sequence[str]) -> None:
        super().__init__(data)
        choices = [("", _("Every contract")), *((number, number) for number in contracts)]
        self.fields["contract"].choices = choices  # type: ignore[attr-defined]


@providers.page("usage/", "supply_usage")
@require_safe
def usage(request: HttpRequest) -> HttpResponse:
    contracts = providers.rows(request, Contract).order_by("number")
    form = MonthForm(request.GET, list(contracts.values_list("number", flat=True)))
    facts = form.cleaned_data if form.is_valid() else {}
    text = facts.get("month") or f"{timezone.localdate():%Y-%m}"
    first = datetime.strptime(f"{text}-01", "%Y-%m-%d").date()  # noqa: DTZ007  - a date of the calendar
    rows = _of_month(request, first)
    if form.is_valid() and facts["contract"]:
        table = _by_day(rows.filter(contract__number=facts["contract"]))
    else:
        table = _by_contract(rows, text)
    context = {"form": form, "intro": text, "tables": [] if form.errors else [table]}
    return providers.show(request, "admin/list.html", _("Usage"), context)


def _of_month(request: HttpRequest, first: date) -> Any:
    zone = timezone.get_current_timezone()
    after = (first + timedelta(days=31)).replace(day=1)
    return providers.rows(request, Reading).filter(
        start_at__gte=datetime.combine(first, time.min, zone), start_at__lt=datetime.combine(after, time.min, zone)
    )


def _by_contract(rows: Any, month: str) -> Table:
    summed = rows.values_list("contract__number", *METER).annotate(Sum("quantity")).order_by("contract__number", *METER)
    cells = [
        [
            link(providers.address("supply_usage", month=month, contract=number), number),
            meter,
            quantity(unit, base_per_unit, total),
        ]
        for number, meter, unit, base_per_unit, total in summed
    ]
    headers = [_("contract"), _("meter"), _("quantity")]
    return Table("", headers, cells, numbers=(2,), empty=_("Nothing was measured in this month."))


def _by_day(rows: Any) -> Table:
    summed = rows.annotate(day=TruncDate("start_at")).values_list("day", *METER).annotate(Sum("quantity"))
    cells = [
        [day.isoformat(), meter, quantity(unit, base_per_unit, total)]
        for day, meter, unit, base_per_unit, total in summed.order_by("day", "meter__code")
    ]
    headers = [_("date"), _("meter"), _("quantity")]
    return Table("", headers, cells, numbers=(2,), moments=(0,), empty=_("Nothing was measured in this month."))


def quantity(unit: str, base_per_unit: int, total: Any) -> str:
    """Priced units with two decimals, rounded half up, for people."""
    hundredths = int(Fraction(int(total) * 100, base_per_unit) + Fraction(1, 2))
    return f"{figures.number(f'{hundredths // 100}.{hundredths % 100:02d}', 2)} {word('unit', unit)}"
