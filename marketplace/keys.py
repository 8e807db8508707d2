"""API keys: the only writer of them, and the only way in by one."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.db.models import Q

from marketplace.models import ApiKey, Membership, Organization, User
from marketplace.permissions import PERMISSIONS, SCOPES

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.db.models import QuerySet

LAST_USE_STEP = timedelta(minutes=1)

_FORM = re.compile(r"suanli_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)


class UnknownScopeError(ValueError):
    """A key needs one or more of the known scopes."""


class UnnamedKeyError(ValueError):
    """A key without a name can't be told from the others when one has to be revoked."""


class ExpiredAlreadyError(ValueError):
    """A key would expire before it is made."""


class BeyondMakerError(ValueError):
    """A key would do more, or live longer, than who makes it; `field` says which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


def create_key(
    *,
    organization: Organization,
    name: str,
    scopes: Collection[str],
    at: datetime,
    created_by: User | None = None,
    parent: ApiKey | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its token `suanli_<prefix>_<secret>`, which nobody can read again.

    `created_by`: the member, or one of the staff, who makes it; `parent`: the key that does, in the name of its own maker.
    Raises UnnamedKeyError, UnknownScopeError, ExpiredAlreadyError, BeyondMakerError.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise UnnamedKeyError(f"name has {len(name)} characters: expected 1 to 100 that say what the key is for")
    if not scopes or not set(scopes) <= set(ApiKey.Scope.values):
        raise UnknownScopeError(f"scopes is {sorted(scopes)}: expected one or more of {', '.join(ApiKey.Scope.values)}")
    if expires_at is not None and expires_at <= at:
        raise ExpiredAlreadyError(f"expires_at is {expires_at.isoformat()}: expected a time after {at.isoformat()}")
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with transaction.atomic():
        # In the order in which the end of a membership locks them.
        created_by = created_by if parent is None else parent.created_by
        if created_by is not None:
            _require_maker(organization, created_by, scopes)
        if parent is not None:
            _require_parent(parent, scopes, expires_at)
        key = ApiKey.objects.create(
            organization=organization,
            name=name,
            prefix=prefix,
            secret_sha256=_digest(secret),
            scopes=[scope for scope in ApiKey.Scope.values if scope in scopes],
            created_at=at,
            created_by=created_by,
            parent=parent,
            expires_at=expires_at,
        )
    return key, f"suanli_{prefix}_{secret}"


def _require_parent(parent: ApiKey, scopes: Collection[str], expires_at: datetime | None) -> None:
    """Locked, so that whoever revokes the parent meanwhile finds its child."""
    locked = ApiKey.objects.select_for_update().get(pk=parent.pk)
    beyond = sorted(set(scopes) - set(locked.scopes))
    if locked.revoked_at is not None:
        raise BeyondMakerError("parent", f"is {parent}: expected a key that is not revoked")
    if beyond:
        raise BeyondMakerError("scopes", f"has {', '.join(beyond)}: expected some of {', '.join(locked.scopes)}")
    if locked.expires_at is not None and (expires_at is None or expires_at > locked.expires_at):
        given = "never" if expires_at is None else expires_at.isoformat()
        raise BeyondMakerError("expires_at", f"is {given}: expected {locked.expires_at.isoformat()} or before")


def _require_maker(organization: Organization, maker: User, scopes: Collection[str]) -> None:
    """Locked, so that whoever ends the membership meanwhile finds the key."""
    if maker.is_staff:
        return
    membership = Membership.objects.select_for_update().filter(organization=organization, user=maker).first()
    allowed = scopes_of(membership.role) if membership is not None else []
    if beyond := sorted(set(scopes) - set(allowed)):
        raise BeyondMakerError("scopes", f"has {', '.join(beyond)}: expected some of {', '.join(allowed) or 'none'}")


def scopes_of(role: str) -> list[str]:
    """The scopes that a member in that role may give to a key."""
    return [scope for scope, permission in SCOPES.items() if permission in PERMISSIONS[role]]


def revoke_key(*, key: ApiKey, at: datetime, actor: str) -> None:
    """Refuse the key, and those that it made, from now on, for ever. A second time changes nothing: the first time stands."""
    with transaction.atomic():
        _revoke(ApiKey.objects.filter(pk=key.pk), ApiKey.Why.BY_HAND, at, actor)


def revoke_of_member(*, organization: Organization, user: User, role: str | None, at: datetime, actor: str) -> int:
    """Revoke the keys that a member made and that the new role (None: none, the membership ended) may not make; how many."""
    made = ApiKey.objects.filter(organization=organization, created_by=user)
    if role is None:
        return _revoke(made, ApiKey.Why.MEMBER_LEFT, at, actor)
    return _revoke(made.exclude(scopes__contained_by=scopes_of(role)), ApiKey.Why.ROLE_CHANGED, at, actor)


def _revoke(keys: QuerySet[ApiKey], why: str, at: datetime, actor: str) -> int:
    """And generation by generation the keys that they made."""
    generation = list(keys.order_by("pk").select_for_update().values_list("pk", "revoked_at"))
    live = [pk for pk, revoked_at in generation if revoked_at is None]
    revoked = ApiKey.objects.filter(pk__in=live).update(revoked_at=at, revoked_by=actor, revoked_because=why)
    if generation:
        children = ApiKey.objects.filter(parent__in=[pk for pk, _ in generation])
        revoked += _revoke(children, ApiKey.Why.PARENT, at, actor)
    return revoked


def authenticate(token: str, *, at: datetime) -> ApiKey | None:
    """The key of this token with its organization and party, unless it is unknown, revoked or expired at `at`.

    One query; once a minute and key a second one, which notes the use. Call it outside a transaction.
    """
    form = _FORM.fullmatch(token)
    if form is None:
        return None
    prefix, secret = form.groups()
    key = (
        ApiKey.objects.select_related("organization__party")
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=at), prefix=prefix, revoked_at__isnull=True)
        .first()
    )
    if key is None or not secrets.compare_digest(key.secret_sha256, _digest(secret)):
        return None
    if key.last_used_at is None or key.last_used_at <= at - LAST_USE_STEP:
        _note_use(key, at)
    return key


def _note_use(key: ApiKey, at: datetime) -> None:
    """One of the requests that come at once writes; the others pass by its lock instead of waiting for it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketplace_apikey SET last_used_at = %(at)s WHERE id = (SELECT id FROM marketplace_apikey"
            " WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at <= %(before)s) FOR NO KEY UPDATE SKIP LOCKED)",
            {"id": key.pk, "at": at, "before": at - LAST_USE_STEP},
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
