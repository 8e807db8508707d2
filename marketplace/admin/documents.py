"""Tariff documents as people write and read them in a form."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget  # type: ignore[import-untyped]


class DocumentField(forms.CharField):
    """JSON as text, read with its decimals as they are written. What is no JSON is told by line and column."""

    def __init__(self, **named: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 28, "spellcheck": "false"})
        super().__init__(**{"label": _("Document"), "widget": widget} | named)

    def clean(self, value: Any) -> Any:
        text: str = super().clean(value)
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise forms.ValidationError(
                _("Line %(line)d, column %(column)d is no JSON: %(reason)s"),
                params={"line": error.lineno, "column": error.colno, "reason": error.msg},
            ) from error
        except RecursionError as error:
            raise forms.ValidationError(_("The document is nested too deep.")) from error


_ORDER = (
    "kind",
    "code",
    "currency",
    "timezone",
    "effective",
    "periods",
    "schedule",
    "calendar",
    "charges",
    "tax",
    "rounding",
)


def pretty(document: Any) -> str:
    """As people write it: the database keeps no order of keys; lists of plain values stand on one line."""
    text = json.dumps(_ordered(document), indent=2, ensure_ascii=False)
    return re.sub(r"\[\n\s*([^][{}]*?)\s*\n\s*\]", _on_one_line, text)


def _on_one_line(plain: re.Match[str]) -> str:
    return "[" + re.sub(r",\n\s*", ", ", plain[1]) + "]"


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (_ORDER.index(key) if key in _ORDER else len(_ORDER), key))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(each) for each in value] if isinstance(value, list) else value
