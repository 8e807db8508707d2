"""What a buyer looks for on the market: the two forms, the facets' values, and the `Wanted` that they make together."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from marketplace.hours import InvalidHoursError
from marketplace.models.accelerator import PRECISIONS
from marketplace.search import Wanted
from marketplace.terms import InvalidFactError
from marketplace.wanted import MOST_WINDOW_HOURS
from marketplace.web.times import HOUR, LocalHourField
from marketplace.web.wishes import MOST, MOST_PRICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import QueryDict

PRECISION_CHOICES = [
    (precision, precision.upper()) for precision in ("bf16", "fp16", "fp8", "int8", "tf32", "fp32", "fp64")
]
ORDERS = [("price", _("Lowest price first")), ("-price", _("Highest price first")), ("-memory", _("Most memory first"))]
WINDOW_ORDERS = [("price", _("Lowest price first")), ("soonest", _("Soonest first"))]
FACETS = {
    "accelerator": "accelerators",
    "memory": "memory",
    "interconnect": "interconnects",
    "region": "regions",
    "provider": "providers",
}
"""Names in the address to those of `search.FACETS`."""
_MOST_VALUES = 50
_FIELDS = {"latest_at": "latest", "min_hours": "least_hours", "max_hours": "most_hours", "free_until": "hours"}

assert {precision for precision, _name in PRECISION_CHOICES} == set(PRECISIONS)


class _Looking(forms.Form):
    """Fields of hours read the clock of the zone. All fields may be left empty."""

    usual: Mapping[str, str] = MappingProxyType({})
    """What stands in a field that the address does not name."""

    max_price = forms.DecimalField(label=_("At most, a GPU-hour"), required=False, min_value=0, max_value=MOST_PRICE)

    def __init__(self, given: QueryDict, *, timezone: str) -> None:
        super().__init__({**given.dict(), **{name: given.get(name, value) for name, value in self.usual.items()}})
        self.timezone = timezone
        for field in self.fields.values():
            if isinstance(field, LocalHourField):
                field.timezone = timezone
            if isinstance(field, forms.DecimalField):
                field.widget.attrs |= {"step": "any"}

    def facts(self) -> dict[str, Any]:
        """As `Wanted` takes them."""
        raise NotImplementedError

    def wanted(self, given: QueryDict, **more: Any) -> Wanted | None:
        """None if the form does not say something that can be searched for; then it has the errors."""
        if not self.is_valid():
            return None
        try:
            return Wanted(**facets_of(given), **self.facts(), **more)
        except (InvalidFactError, InvalidHoursError) as refusal:
            self.refuse(refusal)
            return None

    def refuse(self, refusal: Exception) -> None:
        field = _FIELDS.get(getattr(refusal, "field", ""))
        self.add_error(field if field in self.fields else None, _("This can't be searched for: choose other hours."))


class Browse(_Looking):
    """What is on sale; with a start and hours, what is free then."""

    usual = MappingProxyType({"order": "price"})

    quantity = forms.IntegerField(label=_("GPUs"), required=False, min_value=1, max_value=MOST)
    start = LocalHourField(label=_("Free from"), required=False)
    hours = forms.IntegerField(label=_("For hours"), required=False, min_value=1, max_value=MOST_WINDOW_HOURS)
    order = forms.ChoiceField(label=_("Order"), required=False, choices=ORDERS)
    field_order = ("quantity", "start", "hours", "max_price", "order")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("start") and not cleaned.get("hours") and "hours" not in self.errors:
            raise ValidationError({"hours": _("Say for how many hours.")})
        return cleaned

    def facts(self) -> dict[str, Any]:
        told = self.cleaned_data
        free = {}
        if told["start"] and told["hours"]:
            free = {"free_from": told["start"], "free_until": told["start"] + told["hours"] * HOUR}
        return free | {
            "quantity": told["quantity"],
            "max_price": told["max_price"],
            "order": told["order"] or "price",
        }


class FindTime(_Looking):
    """Windows: so many GPUs, or so much computing power, for how long, between which starts."""

    usual = MappingProxyType({"order": "price", "precision": "bf16"})

    quantity = forms.IntegerField(label=_("GPUs"), required=False, min_value=1, max_value=MOST)
    pflops = forms.DecimalField(
        label=_("Or PFLOPS, dense"), required=False, min_value=0, max_value=10**6, max_digits=12, decimal_places=6
    )
    precision = forms.ChoiceField(label=_("At"), required=False, choices=PRECISION_CHOICES)
    least_hours = forms.IntegerField(label=_("Hours, from"), required=False, min_value=1, max_value=MOST_WINDOW_HOURS)
    most_hours = forms.IntegerField(label=_("Hours, to"), required=False, min_value=1, max_value=MOST_WINDOW_HOURS)
    earliest = LocalHourField(label=_("Starts at the earliest"), required=False)
    latest = LocalHourField(label=_("Starts at the latest"), required=False)
    order = forms.ChoiceField(label=_("Order"), required=False, choices=WINDOW_ORDERS)
    field_order = (
        "quantity",
        "pflops",
        "precision",
        "least_hours",
        "most_hours",
        "earliest",
        "latest",
        "max_price",
        "order",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("quantity") and cleaned.get("pflops"):
            raise ValidationError({"pflops": _("Give GPUs or PFLOPS, not both.")})
        least, most = cleaned.get("least_hours"), cleaned.get("most_hours")
        if least and most and most < least:
            raise ValidationError({"most_hours": _("Choose no fewer than the hours before.")})
        return cleaned

    def facts(self) -> dict[str, Any]:
        told = self.cleaned_data
        pflops: Decimal | None = told["pflops"]
        most = told["most_hours"]
        return {
            "quantity": told["quantity"],
            "tflops": pflops * 1000 if pflops else None,
            "precision": told["precision"] or "bf16" if pflops else "",
            "min_hours": told["least_hours"] or (min(24, most) if most else 24),
            "max_hours": most or told["least_hours"],
            "earliest_at": told["earliest"],
            "latest_at": told["latest"],
            "max_price": told["max_price"],
            "order": told["order"] or "price",
        }


def facets_of(given: QueryDict) -> dict[str, Any]:
    """The facets of an address as `Wanted` takes them; a value that none can have narrows to nothing."""
    memory = given.get("memory", "")
    providers = _values(given, "provider")
    return {
        "accelerators": _values(given, "accelerator"),
        "interconnects": _values(given, "interconnect"),
        "regions": _values(given, "region"),
        "providers": tuple(int(each) for each in providers if each.isascii() and each.isdigit() and len(each) < 10),
        "min_memory_gb": Decimal(memory) if _is_amount(memory) else None,
    }


def _values(given: QueryDict, name: str) -> tuple[str, ...]:
    """Texts that the database can be asked for."""
    return tuple(each for each in given.getlist(name)[:_MOST_VALUES] if "\0" not in each)


def _is_amount(text: str) -> bool:
    whole, _point, places = text.partition(".")
    return (
        text.isascii() and whole.isdigit() and len(whole) < 7 and (not places or (places.isdigit() and len(places) < 7))
    )
