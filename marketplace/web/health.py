"""What machines ask of the site: is the process alive, can it serve, how is it doing.

Answered before anything else: a load balancer calls by address and without TLS, which hosts and the redirect to https
would refuse. The answers say which check failed, and nothing that would help an attacker.
"""

from __future__ import annotations

import functools
import hmac
import ipaddress
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST

from marketplace import metrics
from marketplace.models import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.http import HttpRequest

logger = logging.getLogger(__name__)

CANARY_LIMIT_SECONDS = 180  # a deaf cluster is mended within two minutes: that is no reason to take the site off

_PROXIED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answers /healthz, /readyz and /metrics; stands before the checks of host, scheme and session."""
    views = {"/healthz": healthz, "/readyz": readyz, "/metrics": show_metrics}

    def handle(request: HttpRequest) -> HttpResponse:
        view = views.get(request.path)
        if view is None:
            return get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = view(request)
        response["Cache-Control"] = "no-store"
        return response

    return handle


def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001  - a view
    """The process answers. 200, without a look at the database: a restart would not mend that."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001  - a view
    """200 if the site can serve, else 503: the database answers, its migrations are done, the workers work."""
    checks = _checks(timezone.now())
    ready = set(checks.values()) == {"ok"}
    return JsonResponse({"status": "ready" if ready else "not ready", "checks": checks}, status=200 if ready else 503)


def show_metrics(request: HttpRequest) -> HttpResponse:
    """To a caller on this machine who comes directly, or to one with the bearer token METRICS_TOKEN."""
    sent = request.headers.get("Authorization")
    if sent is not None and not _has_token(sent):
        return HttpResponse(
            "wrong token\n", status=401, headers={"WWW-Authenticate": "Bearer"}, content_type="text/plain"
        )
    if sent is None and not _is_local(request):
        return HttpResponse("not from here without a token\n", status=403, content_type="text/plain")
    try:
        return HttpResponse(metrics.text(timezone.now()), content_type=CONTENT_TYPE_LATEST)
    except DatabaseError:
        logger.exception("no metrics without the database")
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")


def _checks(at: datetime) -> dict[str, str]:
    checks = {"database": "unreachable", "migrations": "unknown", "worker": "unknown"}
    try:
        connection.ensure_connection()
        applied = MigrationRecorder(connection).applied_migrations()
        checks |= {"database": "ok", "migrations": "ok" if _needed() <= applied.keys() else "missing"}
        if checks["migrations"] == "ok":
            fresh = Pulse.objects.filter(answered_at__gt=at - timedelta(seconds=CANARY_LIMIT_SECONDS)).exists()
            checks["worker"] = "ok" if fresh else "late"
    except DatabaseError as error:
        logger.warning("not ready: %s", error)
        connection.close()
    return checks


@functools.cache
def _needed() -> frozenset[tuple[str, str]]:
    """The migrations that this version of the program has."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.nodes)


def _has_token(sent: str) -> bool:
    scheme, _, token = sent.partition(" ")
    wanted = settings.METRICS_TOKEN
    return bool(wanted) and scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), wanted.encode())


def _is_local(request: HttpRequest) -> bool:
    """Directly from this machine: a proxy on it speaks for others, and says so."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:  # a Unix socket
        return False
    return address.is_loopback and not any(name in request.headers for name in _PROXIED)
