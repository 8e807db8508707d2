"""The language that is spoken to the reader, and names in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import get_language

if TYPE_CHECKING:
    from billing.documents.labels import Language


def language() -> Language:
    return "zh-hans" if get_language() == "zh-hans" else "en"


def named(row: Any) -> str:
    """The name of whatever has one in both languages; the Chinese one where there is no other."""
    name: str = row.name if language() == "zh-hans" else row.name_en or row.name
    return name
