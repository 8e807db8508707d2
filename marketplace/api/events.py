"""POST /api/v1/events: usage, as CloudEvents 1.0 in JSON, one event or a batch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from billing import usage
from marketplace import keys, logs, metrics
from marketplace.api import body, cloudevents, limits
from marketplace.api.problems import Problem
from marketplace.models import ApiKey

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest

logger = logging.getLogger(__name__)

MAX_EVENTS = 10_000
ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


@csrf_exempt
@login_not_required
def events(request: HttpRequest) -> HttpResponse:
    """200 whenever the body could be read, with what became of each event; else a problem, and nothing is stored."""
    try:
        return _events(request, timezone.now())
    except Problem as problem:
        return problem.response()
    except (OperationalError, InterfaceError):
        logger.exception("the database failed while events came in")
        return Problem(
            503,
            "unavailable",
            _("Not now"),
            _("The database does not answer. Send the same events again: what was stored already counts once."),
            headers={"Retry-After": "5"},
        ).response()


def _events(request: HttpRequest, at: datetime) -> HttpResponse:
    if request.method != "POST":
        raise Problem(405, "method", _("Wrong method"), _("Events are sent by POST."), headers={"Allow": "POST"})
    key = _key(request, at)
    is_batch = _is_batch(request)
    items = _items(body.parse(body.read(request)), is_batch=is_batch)
    sent, refused = cloudevents.read(items)
    recorded = usage.record(
        owner=key.organization.party,
        events=sent,
        at=at,
        refused=[(cloudevents.as_sent(items[n]), error) for n, error in refused.items()],
    )
    counts, others = recorded.counts, recorded.others
    if refused:
        counts = counts | {"rejected": counts["rejected"] + len(refused)}
        places = [n for n in range(len(items)) if n not in refused]
        others = {places[n]: other for n, other in others.items()}
        others |= {n: ("rejected", error.field or None, error.reason) for n, error in refused.items()}
    metrics.count_events(counts)
    return HttpResponse(cloudevents.answer(items, counts, others), content_type="application/json")


def _key(request: HttpRequest, at: datetime) -> ApiKey:
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized(_("Send an API key: Authorization: Bearer KEY."), 'Bearer realm="suanli"')
    key = keys.authenticate(token.strip(), at=at)
    if key is None:
        raise _unauthorized(
            _("This API key is unknown, revoked or expired."), 'Bearer realm="suanli", error="invalid_token"'
        )
    logs.bind(key=str(key))
    if not key.has_scope(ApiKey.Scope.USAGE_WRITE):
        raise Problem(
            403,
            "scope",
            _("The key may not do this"),
            _("The API key has no scope usage:write: use one that has."),
            field="Authorization",
            headers={"WWW-Authenticate": 'Bearer realm="suanli", error="insufficient_scope", scope="usage:write"'},
        )
    limit = settings.EVENTS_REQUESTS_PER_MINUTE
    wait_seconds = limits.seconds_to_wait(key=key, per_minute=limit, at=at)
    if wait_seconds:
        raise Problem(
            429,
            "too-many-requests",
            _("Too many requests"),
            _("This key has made its %(limit)d requests of this minute: send more events in each.") % {"limit": limit},
            headers={"Retry-After": str(wait_seconds)},
        )
    return key


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(
        401,
        "unauthorized",
        _("No valid API key"),
        detail,
        field="Authorization",
        headers={"WWW-Authenticate": challenge},
    )


def _is_batch(request: HttpRequest) -> bool:
    charset = (request.content_params or {}).get("charset", "utf-8")
    if request.content_type not in (ONE, BATCH) or charset.lower() not in ("utf-8", "utf8"):
        raise Problem(
            415,
            "unsupported-media-type",
            _("Unknown type of content"),
            _("Send %(one)s or %(batch)s, in UTF-8.") % {"one": ONE, "batch": BATCH},
            field="Content-Type",
            headers={"Accept-Post": f"{ONE}, {BATCH}"},
        )
    return request.content_type == BATCH


def _items(parsed: Any, *, is_batch: bool) -> list[Any]:
    if not isinstance(parsed, list if is_batch else dict):
        expected = _("an array of events") if is_batch else _("one event, an object")
        raise Problem(
            400,
            "not-events",
            _("The body can't be read"),
            _("The body is JSON, but not %(expected)s, as its Content-Type says.") % {"expected": expected},
        )
    items: list[Any] = parsed if isinstance(parsed, list) else [parsed]
    if len(items) > MAX_EVENTS:
        raise body.too_large(_("The body has %(number)d events.") % {"number": len(items)})
    return items
