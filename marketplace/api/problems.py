"""Errors of requests as RFC 9457 problem details, in the language that the client asks for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.utils.functional import _StrPromise

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818  - RFC 9457's word for it
    """A request that is refused whole. `kind` is the last part of its type; `field` a header or a place in the body;
    `more` are members of its own.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str | _StrPromise,
        detail: str | _StrPromise,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> HttpResponse:
        """{"type", "title", "status", "detail"} and, where it helps, "field"."""
        body = {
            "type": f"urn:suanli:problem:{self.kind}",
            "title": str(self.title),
            "status": self.status,
            "detail": str(self.detail),
            **self.more,
        }
        if self.field is not None:
            body["field"] = self.field
        return HttpResponse(
            json.dumps(body, ensure_ascii=False), status=self.status, content_type=CONTENT_TYPE, headers=self.headers
        )
