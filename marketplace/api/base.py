"""What all resources of /api/v1/ share: rows by the one tenancy rule, cursors, writes done once."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from marketplace import access
from marketplace.api import once
from marketplace.api.asking import key_of
from marketplace.api.problems import Problem
from marketplace.api.reading import is_text, new_request
from marketplace.api.shapes import ProblemShape

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from rest_framework.request import Request
    from rest_framework.serializers import Serializer

    from marketplace.models import ApiKey, Organization
    from marketplace.permissions import Permission

    Work = Callable[[datetime], Any]

PROBLEMS = {
    status: OpenApiResponse(ProblemShape, description=said)
    for status, said in (
        (400, "The request can't be read."),
        (401, "No valid API key."),
        (403, "The key lacks the scope."),
        (404, "Nothing there, or nothing that this key may see."),
        (405, "Wrong method."),
        (406, "Only JSON is spoken."),
        (409, "Right in itself, and not possible as things stand."),
        (413, "The body is too large."),
        (415, "Only JSON is read."),
        (422, "A value that can't be."),
        (429, "Too many requests; Retry-After says when to come again."),
        (503, "The database does not answer; send the same again."),
    )
}
"""What every operation may answer besides its own."""

ONCE = OpenApiParameter(
    once.HEADER,
    str,
    OpenApiParameter.HEADER,
    description="1 to 255 visible ASCII characters of your choice. The same request sent again with it is done once, and"
    " answered the same for 48 hours.",
)


class Cursor(CursorPagination):
    """?cursor=…&limit=…; `next` and `previous` are addresses, null at the ends. In the view's `order`."""

    page_size = 50
    page_size_query_param = "limit"
    page_size_query_description = "How many rows a page has at most."
    max_page_size = 200
    cursor_query_description = "From the address of a page beside another."

    def get_ordering(self, _request: Request, _rows: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return cast("tuple[str, ...]", view.order)

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        if given.isascii() and given.isdigit() and len(given) < 9 and 1 <= int(given) <= self.max_page_size:
            return int(given)
        raise _unusable("limit", _("A whole number from 1 to %(most)d is expected.") % {"most": self.max_page_size})

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any] | None:
        self._by = queryset.model._meta.get_field(view.order[0].lstrip("-"))  # noqa: SLF001  - Django's name for it
        page: list[Any] | None = super().paginate_queryset(queryset, request, view)
        return page

    def decode_cursor(self, request: Request) -> Any:
        """Refused if its place is none: DRF's own would ask the database with whatever stands there."""
        refusal = _unusable("cursor", _("A cursor from an answer of this list is expected."))
        try:
            cursor = super().decode_cursor(request)
            place = None if cursor is None or cursor.position is None else self._by.to_python(cursor.position)
        except (NotFound, ValidationError, ValueError, OverflowError) as error:
            raise refusal from error
        if isinstance(place, datetime) and place.utcoffset() is None:
            raise refusal
        if isinstance(place, str) and not is_text(place):
            raise refusal
        return cursor


class _AnyAccepted(DefaultContentNegotiation):
    """Who asks for a file accepts the type that it has; problems are JSON all the same."""

    def select_renderer(self, _request: Any, renderers: Any, _format_suffix: Any = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


FILE: dict[str, Any] = {"content_negotiation_class": _AnyAccepted, "pagination_class": None}
"""Options of an action that answers with an AnyFile."""


class AnyFile(HttpResponse):
    """A file to be kept and not to be shown: whatever it holds runs nowhere on this site."""

    def __init__(self, content: bytes, content_type: str, disposition: str) -> None:
        headers = {
            "Content-Disposition": disposition,
            "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }
        super().__init__(content, content_type=content_type, headers=headers)


def _unusable(field: str, detail: str) -> Problem:
    return Problem(422, "unusable", _("A value that can't be"), detail, field=field)


class Resource(GenericViewSet[Any]):
    """Rows of `model` that the key may see (`rows`), and for writes the key's own organization.

    A key needs a scope that carries one of `reads` for a safe method, and `writes` for any other; none named: any key.
    """

    model: ClassVar[type[Model]]
    writes: ClassVar[Permission | None] = None
    reads: ClassVar[tuple[Permission, ...]] = ()
    related: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[tuple[str, ...]] = ("-pk",)
    pagination_class: ClassVar[type[Cursor] | None] = Cursor

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What HasKey asks for."""
        if self.request is None or self.request.method in ("GET", "HEAD", "OPTIONS"):
            return self.reads
        return () if self.writes is None else (self.writes,)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        return new_request(super().initialize_request(request, *args, **kwargs))

    @property
    def key(self) -> ApiKey:
        return key_of(self.request)

    @property
    def organization(self) -> Organization:
        return self.key.organization

    @property
    def actor(self) -> str:
        return f"key:{self.key}"

    def rows(self) -> QuerySet[Any]:
        return access.rows_for(self.model, self.key)

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # the schema is made without a request
            return self.model._default_manager.none()  # noqa: SLF001  - Django's name for it
        return self.rows().select_related(*self.related)

    def get_object(self) -> Any:
        """Without the filters of lists."""
        return self.own(self.get_queryset(), **{self.lookup_field: self.kwargs[self.lookup_field]})

    def own(self, rows: QuerySet[Any], **named: Any) -> Any:
        """The row, or 404."""
        if not all(is_text(value) for value in named.values() if isinstance(value, str)):
            raise Http404
        row = rows.filter(**named).first()
        if row is None:
            raise Http404
        return row

    def read(self, shape: type[Serializer[Any]]) -> dict[str, Any]:
        """The body, checked. Raises what DRF raises."""
        asked = shape(data=self.request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)

    def query(self, shape: type[Serializer[Any]]) -> dict[str, Any]:
        """What stands in the address, checked. Raises what DRF raises."""
        asked = shape(data=self.request.query_params, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)

    def said(self, shape: type[Serializer[Any]], row: Any, **options: Any) -> Response:
        return Response(shape(row, context=self.get_serializer_context(), **options).data)

    def listed(self, rows: QuerySet[Any], shape: type[Serializer[Any]]) -> Response:
        """A page of other rows than the view's own."""
        page = shape(self.paginate_queryset(rows), many=True, context=self.get_serializer_context())
        answer: Response = self.get_paginated_response(page.data)
        return answer

    def write(self, do: Work, *, shape: type[Serializer[Any]], status: int = 200) -> Response:
        """Do it once: `do(at)` calls a verb and gives a row, which `shape` turns into the answer."""
        request, at = self.request, timezone.now()

        def work() -> once.Answer:
            row = do(at)
            return status, _plain(shape(row, context=self.get_serializer_context()).data)

        (said, body), is_repeat = once.once(
            organization=self.organization,
            key=request.headers.get(once.HEADER),
            fingerprint=_fingerprint(request),
            at=at,
            do=work,
        )
        headers = {"Idempotent-Replayed": "true"} if is_repeat else None
        return Response(body, status=said, headers=headers)


def _fingerprint(request: Request) -> str:
    """Of the body its meaning counts: the order of names and blanks may differ."""
    body = json.dumps(request.data, sort_keys=True, default=str, ensure_ascii=False)
    return once.fingerprint(request.method or "", request.get_full_path(), body.encode())


def _plain(data: Any) -> Any:
    """As JSON will have it, so that a stored answer is the same as the first."""
    return json.loads(JSONRenderer().render(data))


def described(summary: str, **options: Any) -> Callable[[Any], Any]:
    """Decorator: the operation in the OpenAPI document. `shape` is what it answers; `asks` its body; `status` its code.
    `files`: the types of content of which a file is answered.
    """
    shape, status = options.pop("shape"), options.pop("status", 200)
    files = {(status, each): OpenApiTypes.BINARY for each in options.pop("files", ())}
    asks, is_write = options.pop("asks", None), options.pop("write", False)
    parameters = [*options.pop("parameters", []), *([ONCE] if is_write else [])]
    return extend_schema(
        summary=summary,
        request=asks,
        responses={**(files or {status: shape}), **PROBLEMS},
        parameters=parameters,
        **options,
    )
