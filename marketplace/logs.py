"""Logs: one record a line on standard error, as JSON or to be read by people, with the request it belongs to.

What is bound with `bind` (user, organization and the like) stands in every record of the request. Whatever looks like a
secret is struck out of the finished line, wherever it came from: message, arguments, extra fields, traceback.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
STRUCK_OUT = "[struck out]"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_OF_EVERY_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_SECRET_NAME = re.compile(
    r"(?i)authorization|cookie|csrf|session_?(id|key)|password|passwd|secret|token|api_?key|private_?key|signature"
)
_SECRETS = re.compile(
    r"""
      \b(?i:Bearer)\s+[^\s,;'"]+                                         # of an Authorization header
    | \bsuanli_[0-9a-f]{12}_[\w-]+                                       # our own API keys
    | \b(?:sk|rk|pk)_(?:live|test)_\w+ | \bwhsec_[\w+/=-]+               # those of the payment provider
    | \beyJ[\w-]+\.[\w-]+\.[\w-]*                                        # JSON web tokens
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?<=://)[^\s/@:'"]*:[^\s/@'"]+(?=@)                                # of an address: user:password@
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
# The rest of the line of a header; else `name=value`, `name: value` and `"name": "value"`.
_HEADERS = re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=]\s*)([^\r\n]+)")
_PAIRS = re.compile(
    r"(?i)\b([\w-]*(?:password|passwd|secret|token|sessionid|session_key|api_?key|private_?key)[\w-]*)"
    r"(['\"]?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s&,;)}\]]+)"
)

_bound: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("bound", default={})  # noqa: B039  - never changed, only replaced


def bind(**fields: Any) -> None:
    """Put `fields` in all further records of this request or task: `logs.bind(organization=organization.pk)`."""
    _bound.set(_bound.get() | fields)


def redact(text: str) -> str:
    """`text` without what looks like a secret: keys, passwords, cookies, whatever follows Authorization."""
    text = _HEADERS.sub(rf"\1\2{STRUCK_OUT}", text)
    text = _SECRETS.sub(STRUCK_OUT, text)
    return _PAIRS.sub(rf"\1\2{STRUCK_OUT}", text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What `extra` and `bind` say of the record, plain and redacted."""
    extra = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
    extra.pop("request", None)  # Django's own records carry the whole request, with its headers
    extra.pop("status_code", None)
    return {name: _plain(name, value) for name, value in (_bound.get() | extra).items()}


def _plain(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return STRUCK_OUT
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain("", item) for item in value]
    return redact(str(value))


class JsonFormatter(logging.Formatter):
    """One JSON object: time (UTC), level, logger, message, what else the record has, and a traceback as `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            "process": record.process,
        }
        line |= {name: value for name, value in _fields(record).items() if name not in line}
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)


class LineFormatter(logging.Formatter):
    """For people: time, level, logger, message, then `name=value`, then the traceback on lines of its own."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  - the name of the standard library
        record.message = record.message.replace("\r", "\\r").replace(
            "\n", "\\n"
        )  # a line that someone sent begins no record
        fields = " ".join(f"{name}={_one_word(value)}" for name, value in _fields(record).items())
        return f"{super().formatMessage(record)} {fields}".rstrip()

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class ExceptionsOnly(logging.Filter):
    """Only records with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is not None


def _one_word(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else json.dumps(text, ensure_ascii=False)


def configuration(*, form: str, level: str) -> dict[str, Any]:
    """Django's LOGGING: everything to standard error, as `form` ("json" or "line") says."""
    formatter = {"json": JsonFormatter, "line": LineFormatter}[form]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "filters": {"exceptions": {"()": ExceptionsOnly}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own would also write mail to administrators.
            "django": {"handlers": [], "level": "NOTSET", "propagate": True},
            # Who got which status stands in the line of the request.
            "django.request": {"filters": ["exceptions"], "level": "NOTSET", "propagate": True},
            # Its four lines a task would drown the rest; ours say what was done.
            "django-q": {"handlers": [], "level": "WARNING", "propagate": True},
            "gunicorn.error": {"handlers": [], "level": "NOTSET", "propagate": True},
        },
    }


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Stands first of all. Gives the request an id, which the answer carries too, and logs how it went.

    The id is the one that came in `X-Request-ID`, if it is 1 to 64 letters, digits, dots, dashes or underscores.
    """

    def handle(request: HttpRequest) -> HttpResponse:
        sent = request.headers.get(REQUEST_ID_HEADER, "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        token = _bound.set({"request_id": request_id})
        began = time.perf_counter()
        try:
            response = get_response(request)
            response[REQUEST_ID_HEADER] = request_id
            user = getattr(request, "_cached_user", None)  # who was looked up anyway: logging costs no query
            if user is not None and user.pk is not None:
                _bound.set({"user": user.pk} | _bound.get())
            logger.log(
                logging.DEBUG if request.path in QUIET_PATHS else logging.INFO,
                "request",
                extra={
                    "method": request.method,
                    "path": request.path,  # without the query, which may carry a token
                    "status": response.status_code,
                    "duration_ms": round((time.perf_counter() - began) * 1000, 1),
                },
            )
            return response
        finally:
            _bound.reset(token)

    return handle


QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds by machines
