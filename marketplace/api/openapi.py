"""GET /api/v1/openapi.json: the API described by OpenAPI. Public, as this product's text is."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import override
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.generators import SchemaGenerator

from marketplace.api.problems import CONTENT_TYPE, Problem

_HEADERS = {
    "401": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    "429": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    "503": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}


def say_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:  # noqa: ARG001, FBT001
    """A hook of drf-spectacular: errors have a type of content of their own."""
    for path in result["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    response["content"] = {CONTENT_TYPE: next(iter(response["content"].values()))}
                    response["headers"] = _HEADERS.get(status, {})
    return result


def document() -> dict[str, Any]:
    """In English, whatever the language of the request: programs read it."""
    with override("en"):
        made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


@lru_cache(maxsize=1)
def _text() -> bytes:
    return json.dumps(document(), ensure_ascii=False).encode()


@csrf_exempt
@login_not_required
def openapi(request: HttpRequest) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        problem = Problem(405, "method", _("Wrong method"), _("It is read by GET."), headers={"Allow": "GET, HEAD"})
        return problem.response()
    return HttpResponse(_text(), content_type="application/json", headers={"Cache-Control": "public, max-age=3600"})


@csrf_exempt
@login_not_required
def unknown(request: HttpRequest, **_named: str) -> HttpResponse:  # noqa: ARG001
    """Whatever else lies below /api/."""
    return Problem(404, "not-found", _("Not found"), _("The API has no such address.")).response()
