"""What a buyer wishes of an offering: so many GPUs, from when, for how long, for which project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from billing.documents import figures
from billing.rating.money import exponent
from marketplace.models import Project
from marketplace.web import amounts, times
from marketplace.web.times import HOUR, LocalHourField

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from marketplace.hours import Window
    from marketplace.models import Offering

MOST = 1_000_000
MOST_HOURS = 87_600
MOST_PRICE = 10**12  # in the currency's major unit


class _Timed(forms.Form):
    """Fields of hours read the clock of the zone."""

    def __init__(self, *arguments: Any, timezone: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.timezone = timezone
        for field in self.fields.values():
            if isinstance(field, LocalHourField):
                field.timezone = timezone

    def _bound_by(self, offering: Offering, projects: QuerySet[Project]) -> None:
        """The least and the most as the browser checks them too; the projects to choose from."""
        quantity, hours, project = self.fields["quantity"], self.fields["hours"], self.fields["project"]
        quantity.widget.attrs |= {
            "min": offering.min_quantity,
            "max": offering.max_quantity,
            "step": offering.step,
        }
        hours.widget.attrs |= {"min": offering.min_hours, "max": offering.max_hours}
        assert isinstance(project, forms.ModelChoiceField)
        project.queryset = projects


class Wish(_Timed):
    """The end is told by the hours, or else by itself. `cleaned_data` has start_at and end_at, in UTC."""

    quantity = forms.IntegerField(label=_("GPUs"), min_value=1, max_value=MOST)
    start = LocalHourField(label=_("Start"))
    hours = forms.IntegerField(label=_("Hours"), min_value=1, max_value=MOST_HOURS, required=False)
    end = LocalHourField(label=_("Or until"), required=False)
    project = forms.ModelChoiceField(
        label=_("Project"), queryset=Project.objects.none(), required=False, empty_label=_("No project")
    )

    def __init__(
        self, *arguments: Any, offering: Offering, projects: QuerySet[Project], timezone: str, **options: Any
    ) -> None:
        super().__init__(*arguments, timezone=timezone, **options)
        self._bound_by(offering, projects)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        start_at, hours, end_at = cleaned.get("start"), cleaned.get("hours"), cleaned.get("end")
        if start_at is None or "hours" in self.errors or "end" in self.errors:
            return cleaned
        if hours is not None:
            end_at = start_at + hours * HOUR
        elif end_at is None:
            raise ValidationError({"hours": _("Say for how many hours, or choose an end.")})
        if end_at <= start_at:
            raise ValidationError({"end": _("Choose an end after the start.")})
        return cleaned | {"start_at": start_at, "end_at": end_at}


class Wait(_Timed):
    """A place on the waitlist. `cleaned_data` has max_net_minor."""

    quantity = forms.IntegerField(label=_("GPUs"), min_value=1, max_value=MOST)
    hours = forms.IntegerField(label=_("Hours"), min_value=1, max_value=MOST_HOURS)
    earliest = LocalHourField(label=_("Starts at the earliest"))
    latest = LocalHourField(label=_("Starts at the latest"))
    max_price = forms.DecimalField(
        label=_("Highest price of it all"), min_value=0, max_value=MOST_PRICE, help_text=_("Before tax.")
    )
    project = forms.ModelChoiceField(
        label=_("Project"), queryset=Project.objects.none(), required=False, empty_label=_("No project")
    )

    def __init__(
        self,
        *arguments: Any,
        offering: Offering,
        projects: QuerySet[Project],
        timezone: str,
        currency: str,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, timezone=timezone, prefix="wait", **options)
        self._bound_by(offering, projects)
        self._currency = currency
        price = self.fields["max_price"]
        assert isinstance(price, forms.DecimalField)
        price.widget.attrs |= {"step": "any"}
        price.help_text = _("In %(currency)s, before tax.") % {"currency": currency}

    def clean_max_price(self) -> Any:
        price = self.cleaned_data["max_price"]
        places = exponent(self._currency)
        if price != round(price, places):
            raise ValidationError(_("Give at most %(places)s decimals."), params={"places": places})
        return price

    @property
    def max_net_minor(self) -> int:
        return int(self.cleaned_data["max_price"].scaleb(exponent(self._currency)))


def initial(start_at: datetime, timezone: str) -> datetime:
    """An instant as a LocalHourField shows it."""
    return amounts.local(start_at, timezone)


def address(offering: Offering, quantity: int, start_at: datetime, end_at: datetime, timezone: str) -> str:
    """Of the offering's page, its form filled in."""
    start = amounts.local(start_at, timezone)
    wish = {
        "quantity": quantity,
        "start_date": start.date().isoformat(),
        "start_hour": start.hour,
        "hours": (end_at - start_at) // HOUR,
    }
    return f"{reverse('offering', args=[offering.code])}?{urlencode(wish)}#reserve"


def windows(offering: Offering, quantity: int, found: Iterable[Window], timezone: str) -> list[dict[str, Any]]:
    """Windows that fit instead, as links to the form filled in."""
    return [
        {
            "span": times.span(each.start_at, each.end_at, timezone),
            "free": each.free,
            "address": address(offering, quantity, each.start_at, each.end_at, timezone),
        }
        for each in found
    ]


def major(amount_minor: int, currency: str) -> str:
    """An amount as a field for it shows it."""
    return f"{figures.major(amount_minor, currency):f}"
