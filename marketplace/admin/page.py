"""The parts of the admin's own pages: tables, filters, the question before something is done."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (  # type: ignore[import-untyped]
    INPUT_CLASSES,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from marketplace.admin.site import staff
from marketplace.refusals import for_people

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.http import HttpRequest
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

    from marketplace.admin.site import ProviderSite, StaffSite

    Text = str | _StrPromise


@dataclass(frozen=True)
class Table:
    """Rows under headers; `numbers` are the columns of figures, `moments` those of times; with `total` the last row is a sum."""

    title: Text
    headers: Sequence[Text]
    rows: Sequence[Sequence[Any]]
    numbers: Sequence[int] = ()
    moments: Sequence[int] = ()
    total: bool = False
    note: Text = ""
    empty: Text = field(default_factory=lambda: _("Nothing."))


@dataclass(frozen=True)
class HeatCell:
    """A figure, how strong its shade is (0 to 9; 10 is an alarm), and what it says in words."""

    text: str
    tone: int
    title: Text = ""


@dataclass(frozen=True)
class Heat:
    """A table whose cells are shaded: rows of (title, cells) under headers."""

    title: Text
    headers: Sequence[Text]
    rows: Sequence[tuple[Text, Sequence[HeatCell]]]
    note: Text = ""


def link(address: str, text: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', address, text)


def text_field(label: Text) -> forms.CharField:
    return forms.CharField(label=label, required=False, max_length=255, widget=UnfoldAdminTextInputWidget)


def date_field(label: Text) -> forms.DateField:
    """Of days whose neighbours are days too."""
    return forms.DateField(
        label=label,
        required=False,
        validators=[MinValueValidator(date(1970, 1, 1)), MaxValueValidator(date(2999, 12, 31))],
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
    )


def hour_field(label: Text, help_text: Text = "", *, required: bool = True) -> forms.DateTimeField:
    """Of whole hours in the site's time zone."""
    attributes = {"type": "datetime-local", "step": "3600", "class": " ".join(INPUT_CLASSES)}
    return forms.DateTimeField(
        label=capfirst(label),
        help_text=help_text,
        required=required,
        validators=[
            MinValueValidator(datetime(1970, 1, 2, tzinfo=UTC)),
            MaxValueValidator(datetime(2999, 12, 31, tzinfo=UTC)),
        ],
        widget=forms.DateTimeInput(attrs=attributes, format="%Y-%m-%dT%H:%M"),
    )


def long_text_field(label: Text, help_text: Text = "", *, max_length: int = 500, rows: int = 3) -> forms.CharField:
    widget = UnfoldAdminTextareaWidget(attrs={"rows": rows})
    return forms.CharField(label=label, help_text=help_text, max_length=max_length, widget=widget)


def choice_field(label: Text, choices: Any = ()) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, required=False, choices=choices, widget=UnfoldAdminSelectWidget)


class ReasonForm(forms.Form):
    """Why something is done, for those whom it concerns."""

    reason = forms.CharField(label=_("reason"), max_length=300, widget=UnfoldAdminTextInputWidget)


def confirmed(
    request: HttpRequest,
    *,
    title: Text,
    question: Text,
    answer: Text,
    back: str,
    act: Callable[[], Any],
    tables: Sequence[Table] = (),
    obstacle: Text = "",
    site: StaffSite | ProviderSite = staff,
) -> HttpResponse:
    """The page that asks before something is done. A POST calls `act` and goes `back`, or where `act` answers to; with an
    `obstacle` neither.
    """
    if request.method == "POST" and not obstacle:
        answered = act()
        return answered if isinstance(answered, HttpResponse) else redirect(back)
    context = {"question": question, "answer": answer, "back": back, "tables": tables, "obstacle": obstacle}
    return site.show(request, "admin/confirm.html", title, context, status=409 if request.method == "POST" else 200)


def asked(
    request: HttpRequest,
    *,
    title: Text,
    form: forms.Form,
    answer: Text,
    back: str,
    act: Callable[[dict[str, Any]], Any],
    refusals: tuple[type[Exception], ...] = (),
    intro: Text = "",
    tables: Sequence[Table] = (),
    obstacle: Text = "",
    site: StaffSite | ProviderSite = staff,
) -> HttpResponse:
    """The page that asks for the facts of something to be done. A POST of a right form calls `act` with them and goes `back`.

    What `act` refuses stands at the field that the message begins with, or above the form.
    """
    if request.method == "POST" and not obstacle and form.is_valid():
        try:
            act(form.cleaned_data)
        except refusals as refusal:
            form.add_error(field_named(form, refusal), for_people(refusal))
        else:
            return redirect(back)
    context = {
        "form": form,
        "answer": answer,
        "back": back,
        "intro": intro,
        "tables": tables,
        "obstacle": obstacle,
    }
    status = 409 if request.method == "POST" and obstacle else 200
    return site.show(request, "admin/ask.html", title, context, status=status)


def field_named(form: forms.BaseForm, refusal: Exception) -> str | None:
    """The field that a refusal's message begins with, if it is one of the form's."""
    named = re.match(r"[a-z_]+", str(refusal))
    return named[0] if named and named[0] in form.fields else None
