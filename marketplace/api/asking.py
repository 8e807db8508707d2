"""Who asks: a program with an API key. Its requests are counted, and its scopes say what it may do.

DRF's authentication, throttle and permissions for the whole of /api/v1/ but for the ingest of events, which has its own
leaner way (marketplace.api.events). People's sessions don't count here: a page of another site can't make a browser ask.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.throttling import BaseThrottle

from marketplace import access, keys, limits, logs
from marketplace.api.problems import Problem
from marketplace.permissions import SCOPES

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

    from marketplace.models import ApiKey
    from marketplace.permissions import Permission


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY`; the key is `request.auth`, and there is no user."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        key = keys.authenticate(token.strip(), at=timezone.now())
        if key is None:
            raise AuthenticationFailed(_("This API key is unknown, revoked or expired."))
        logs.bind(key=str(key))
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002  - DRF's signature
        return 'Bearer realm="suanli"'


class KeyAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "marketplace.api.asking.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer", "description": "An API key, made on the page API keys."}


class HasKey(BasePermission):
    """A key, with a scope that carries one of `view.permissions`; none named: any key."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None:
            return False
        permissions: tuple[Permission, ...] = getattr(view, "permissions", ())
        if permissions:
            require_scope(key_of(request), *permissions)
        return True


def require_scope(key: ApiKey, *permissions: Permission) -> None:
    """Raise Problem unless the key's scopes carry one of the permissions."""
    if access.permissions_for(key, key.organization).intersection(permissions):
        return
    scopes = [str(scope) for scope, carried in SCOPES.items() if carried in permissions]
    raise Problem(
        403,
        "scope",
        _("The key may not do this"),
        _("The API key has no scope %(scope)s: use one that has.") % {"scope": ", ".join(scopes)},
        field="Authorization",
    )


class PerKey(BaseThrottle):
    """API_REQUESTS_PER_MINUTE of a key, counted by one atomic statement, which DRF's own counts are not. Apart from usage,
    so that a meter and a buyer with one key don't take each other's turn.
    """

    _wait_seconds = 0

    def allow_request(self, request: Request, view: APIView) -> bool:  # noqa: ARG002  - DRF's signature
        if request.auth is None:
            return True
        most, at = settings.API_REQUESTS_PER_MINUTE, timezone.now()
        limit = ("api", str(key_of(request).pk), most, timedelta(minutes=1))
        self._wait_seconds = limits.refused([limit], at=at)
        return not self._wait_seconds

    def wait(self) -> float | None:
        return self._wait_seconds


def key_of(request: Request) -> ApiKey:
    return cast("ApiKey", request.auth)
