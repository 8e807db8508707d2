"""Cancellation terms as people write them: a line each, hours before the start and the percent of the price to pay."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget  # type: ignore[import-untyped]


class TermsField(forms.CharField):
    """Cancellation terms as people write them, a line each: "168: 0" for free until 168 hours before the start."""

    def __init__(self, **named: Any) -> None:
        facts = {
            "label": capfirst(_("cancellation terms")),
            "required": False,
            "widget": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            "help_text": _("A line each, hours before the start and the percent of the price to pay, such as 168: 0"),
        }
        super().__init__(**facts | named)

    def prepare_value(self, value: Any) -> Any:
        return terms_text(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return read_terms(super().to_python(value) or "")


def terms_text(terms: Any, between: str = "\n") -> str:
    return between.join(f"{term['hours']}: {term['percent']}" for term in terms)


def read_terms(text: str) -> list[dict[str, Any]]:
    """Lines, or parts between semicolons. The ranges are the catalog's to check."""
    found = []
    for part in filter(None, map(str.strip, re.split(r"[\n;]", text))):
        read = re.fullmatch(r"([0-9]{1,6})\s*[:：]\s*([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%?", part)
        if read is None:
            raise forms.ValidationError(
                _("“%(part)s”: expected hours, a colon and a percent, such as 168: 0"), params={"part": part}
            )
        found.append({"hours": int(read[1]), "percent": read[2]})
    return found
