"""How the API reads what comes in: bodies of JSON within limits, instants with their offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from marketplace.api import body
from marketplace.api.problems import Problem

FIRST_YEAR, LAST_YEAR = 1970, 2199
"""What lies outside is a slip, and arithmetic with it would leave the calendar."""


class JsonRequest(Request):
    """DRF's, which would take a body without a length (chunked) for an empty one."""

    def _load_stream(self) -> None:
        meta = self._request.META
        has_body = meta.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in meta
        self._stream = self._request if has_body else None


class JsonBody(BaseParser):
    """JSON in UTF-8 within the limits of `body`, without characters that no text holds. Raises Problem."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:  # noqa: ARG002
        raw = body.read(stream)
        if not raw:  # chunked, and nothing in it
            return {}
        value = body.parse(raw)
        _require_text(value)
        return value


def _require_text(value: Any) -> None:
    """Raise Problem for a string, or a name, with U+0000 or half a surrogate pair: no database stores them."""
    level: list[tuple[str, Any]] = [("", value)]
    while level:
        path, each = level.pop()
        if isinstance(each, dict):
            level += [(path, name) for name in each]
            level += [(f"{path}.{name}" if path else name, inner) for name, inner in each.items()]
        elif isinstance(each, list):
            level += [(f"{path}[{number}]", inner) for number, inner in enumerate(each)]
        elif isinstance(each, str) and not is_text(each):
            raise Problem(
                422,
                "unusable",
                _("A value that can't be"),
                _("Text without U+0000 and without halves of surrogate pairs is expected."),
                field=path if is_text(path) and path else None,
            )


def is_text(value: str) -> bool:
    """Whether the database can hold it."""
    return "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)


def read_instant(value: object) -> datetime | None:
    """An instant of RFC 3339, in UTC; None for what is none, has no offset, or lies outside of FIRST_YEAR to LAST_YEAR."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        at = parse_datetime(value)
        if at is None or at.utcoffset() is None:
            return None
        at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if FIRST_YEAR <= at.year <= LAST_YEAR else None


def expected_instant() -> str:
    return _(
        "An instant needs an offset, such as 2026-05-01T08:00:00+08:00, and lies in the years %(first)d to %(last)d."
    ) % {
        "first": FIRST_YEAR,
        "last": LAST_YEAR,
    }


class Instant(serializers.DateTimeField):
    """Read with an offset, said in UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)

    def to_internal_value(self, value: Any) -> datetime:
        at = read_instant(value)
        if at is None:
            raise serializers.ValidationError(expected_instant())
        return at


def new_request(request: Request) -> JsonRequest:
    """The same with our way of reading the body."""
    return JsonRequest(
        request._request,  # noqa: SLF001  - DRF's name for Django's request
        parsers=request.parsers,
        authenticators=request.authenticators,
        negotiator=request.negotiator,
        parser_context=request.parser_context,
    )
