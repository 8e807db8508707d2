"""The body of a request: read within limits, and parsed as exact JSON. Raises Problem."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NoReturn

from django.utils.translation import gettext as _
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from marketplace.api.problems import Problem

if TYPE_CHECKING:
    from django.http import HttpRequest

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 8
_CHUNK_BYTES = 2**16
_MAX_DIGITS = 4300  # of an int that Python reads; no number of ours is near it


def read(request: HttpRequest) -> bytes:
    """The whole body, of at most MAX_BYTES. One that ends before its length is refused, whatever it holds."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Problem(
            415,
            "unsupported-encoding",
            _("The body is compressed"),
            _("Send it as it is, without Content-Encoding."),
            field="Content-Encoding",
        )
    announced = request.META.get("CONTENT_LENGTH") or ""
    # The server has checked it: digits or nothing. Django takes a body without a length (chunked) for an empty one.
    length = int(announced) if announced.isascii() and announced.isdigit() else None
    if length is not None and length > MAX_BYTES:
        raise too_large(_("The body has %(bytes)d bytes.") % {"bytes": length})
    is_chunked = length is None and request.META.get("wsgi.input_terminated")
    stream = request.META["wsgi.input"] if is_chunked else request
    chunks: list[bytes] = []
    size = 0
    try:
        while size <= MAX_BYTES and (chunk := stream.read(_CHUNK_BYTES)):
            chunks.append(chunk)
            size += len(chunk)
    except (OSError, ParseException) as error:  # the connection ended, or a chunk is none
        raise _cut_short() from error
    if size > MAX_BYTES:
        raise too_large(_("The body has more than %(bytes)d bytes.") % {"bytes": MAX_BYTES})
    if length is not None and size < length:
        raise _cut_short()
    return b"".join(chunks)


def parse(body: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no NaN and no Infinity, at most MAX_DEPTH deep. Numbers are ints and Decimals."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _malformed(
            "not-utf-8", _("The body is no text in UTF-8: byte %(byte)d.") % {"byte": error.start}
        ) from error
    try:
        value = _loads(text)
    except json.JSONDecodeError as error:
        place = {"line": error.lineno, "column": error.colno, "what": error.msg}
        raise _malformed(
            "not-json", _("The body is no JSON: line %(line)d, column %(column)d: %(what)s.") % place
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    _require_shallow(value)
    return value


def too_large(detail: str) -> Problem:
    return Problem(
        413,
        "too-large",
        _("The body is too large"),
        detail + " " + _("At most %(bytes)d bytes and 10,000 events: send the rest apart.") % {"bytes": MAX_BYTES},
    )


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_float=_decimal, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an int of more digits than Python reads: one item's mistake, not its neighbours'
        return json.loads(text, parse_float=_decimal, parse_int=_whole, parse_constant=_refuse_constant)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond those of Decimals
        return Decimal("Infinity")


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) <= _MAX_DIGITS else Decimal(text)


def _refuse_constant(name: str) -> NoReturn:
    raise _malformed("not-json", _("The body is no JSON: it has the number %(name)s.") % {"name": name})


def _require_shallow(value: object) -> None:
    """Level by level, not by recursion."""
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        level = [
            inner
            for outer in level
            for inner in (outer.values() if outer.__class__ is dict else outer)
            if inner.__class__ is dict or inner.__class__ is list
        ]


def _too_deep() -> Problem:
    return _malformed("too-deep", _("The body is nested more than %(depth)d deep.") % {"depth": MAX_DEPTH})


def _cut_short() -> Problem:
    return _malformed("cut-short", _("The body ended before its length: nothing of it was stored."))


def _malformed(kind: str, detail: str) -> Problem:
    return Problem(400, kind, _("The body can't be read"), detail)
