"""The second factor: codes of an app (RFC 6238) and recovery codes, on the tables of django-allauth's MFA.

- Whose roles have money must have one (`must_have`); others may.
- A code is used once: the last accepted step is kept with the secret, in the database that all web servers share.
  (allauth itself keeps it in a cache that each process has for itself.)
- Attempts are counted before they are looked at: ATTEMPTS in a quarter of an hour, however many come at once.
- Secrets are sealed with SECRET_KEY, or one of SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, generate_totp_secret, hotp_value
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.utils.encoding import force_str

from billing.integrity import named
from marketplace import letters, limits
from marketplace.models import Membership, User

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTEMPTS, SPAN = 5, timedelta(minutes=15)
STEP_SECONDS, TOLERANCE = 30, 1  # a code of the step before and the one after is accepted: clocks differ
ROLES_WITH_MONEY = (Membership.Role.OWNER, Membership.Role.FINANCE)

_TYPE = Authenticator.Type


class WrongCodeError(ValueError):
    """The code is wrong, was used before, or is of another time."""


class AlreadyEnrolledError(ValueError):
    """The user has a second factor already."""


class NotEnrolledError(ValueError):
    """The user has no second factor."""


class MustHaveError(ValueError):
    """The user's role needs a second factor: it can't be taken away, only reset."""


class Adapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """How allauth seals secrets, and what an app shows beside the codes."""

    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text)


def seal(text: str) -> str:
    return _seals().encrypt(text.encode()).decode("ascii")


def unseal(sealed: str) -> str:
    """Raises cryptography.fernet.InvalidToken if it was sealed under a key that is gone."""
    return _seals().decrypt(sealed.encode("ascii")).decode()


def _seals() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"second factor {force_str(key)}".encode()).digest()))
        for key in keys
    )


def must_have(user: User) -> bool:
    """Whether the user's roles need one: staff, and owners and finance of any organization."""
    if settings.SECOND_FACTOR != "required":
        return False
    return user.is_staff or Membership.objects.filter(user=user, role__in=ROLES_WITH_MONEY).exists()


def stamp(user: User) -> str:
    """What a session holds that has shown this second factor; empty without one. Another factor has another."""
    return user.second_factor_since.isoformat() if user.second_factor_since else ""


def new_secret() -> str:
    """A secret for an app, in base 32."""
    return str(generate_totp_secret())


def address(*, user: User, secret: str) -> str:
    """The otpauth:// address that an app reads from a picture."""
    return str(Adapter().build_totp_url(user, secret))


def picture(*, user: User, secret: str) -> str:
    """The address as an SVG of squares."""
    return str(Adapter().build_totp_svg(address(user=user, secret=secret)))


def enrol(*, user: User, secret: str, code: str, at: datetime) -> None:
    """Give the user a second factor, once the app has shown a right code of the secret, and recovery codes.

    Raises limits.TooOftenError, WrongCodeError, AlreadyEnrolledError.
    """
    _count(user, at)
    step = _step_of(secret, code, at, after=0)
    taken = {"unique_authenticator_type": lambda _: AlreadyEnrolledError(f"{user} has a second factor already")}
    with named(taken), transaction.atomic():
        data = {"secret": seal(secret), "last_step": step}
        Authenticator.objects.create(user=user, type=_TYPE.TOTP, data=data, created_at=at)
        Authenticator.objects.filter(user=user, type=_TYPE.RECOVERY_CODES).delete()
        RecoveryCodes.activate(user)
        User.objects.filter(pk=user.pk).update(second_factor_since=at)
    user.second_factor_since = at
    limits.forget(what="code", whom=str(user.pk))


def check(*, user: User, code: str, at: datetime) -> None:
    """Accept a code of the app or a recovery code, once.

    Raises limits.TooOftenError, WrongCodeError, NotEnrolledError.
    """
    _count(user, at)
    with transaction.atomic():
        locked = Authenticator.objects.select_for_update().filter(user=user).order_by("pk")
        rows = {row.type: row for row in locked}
        if _TYPE.TOTP not in rows:
            raise NotEnrolledError(f"{user} has no second factor: set one up first")
        try:
            accepted = _accepted(rows, "".join(code.split()), at)
        except InvalidToken as error:
            raise WrongCodeError(
                f"the second factor of {user} was sealed under a SECRET_KEY that is gone: staff have to reset it"
            ) from error
        if not accepted:
            raise WrongCodeError("code is wrong or was used before: expected the one that the app shows now")
    limits.forget(what="code", whom=str(user.pk))


def _accepted(rows: Mapping[str, Any], code: str, at: datetime) -> bool:
    """Try the code with the rows that the caller has locked, and note its use."""
    app = rows[_TYPE.TOTP]
    try:
        step = _step_of(unseal(app.data["secret"]), code, at, after=app.data.get("last_step", 0))
    except WrongCodeError:
        recovery = rows.get(_TYPE.RECOVERY_CODES)
        if recovery is None or not RecoveryCodes(recovery).validate_code(code):
            return False
        Authenticator.objects.filter(pk=recovery.pk).update(last_used_at=at)
        return True
    Authenticator.objects.filter(pk=app.pk).update(data=app.data | {"last_step": step}, last_used_at=at)
    return True


def _step_of(secret: str, code: str, at: datetime, *, after: int) -> int:
    """The step of time, later than `after`, to which the code belongs. All steps are looked at, in the same time."""
    now, code, found = int(at.timestamp()) // STEP_SECONDS, "".join(code.split()), 0
    for step in range(now - TOLERANCE, now + TOLERANCE + 1):
        right = format_hotp_value(hotp_value(secret, step))
        if hmac.compare_digest(right.encode(), code.encode()) and step > after:
            found = step
    if not found:
        raise WrongCodeError("code is wrong or was used before: expected the one that the app shows now")
    return found


def _count(user: User, at: datetime) -> None:
    limits.count(what="code", whom=str(user.pk), most=ATTEMPTS, span=SPAN, at=at)


def recovery_codes(*, user: User) -> list[str]:
    """Those not used yet."""
    row = Authenticator.objects.filter(user=user, type=_TYPE.RECOVERY_CODES).first()
    return list(RecoveryCodes(row).get_unused_codes()) if row else []


def renew_recovery_codes(*, user: User, code: str, at: datetime) -> None:
    """Make new ones, for a code; the old ones are void. Raises as `check` does."""
    check(user=user, code=code, at=at)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        Authenticator.objects.filter(user=user, type=_TYPE.RECOVERY_CODES).delete()
        RecoveryCodes.activate(user)


def remove(*, user: User, code: str, at: datetime) -> None:
    """Take the second factor away, for a code, where none is needed. Raises as `check` does, and MustHaveError."""
    if must_have(user):
        raise MustHaveError(f"{user} has a role that needs a second factor: it can be reset, not removed")
    check(user=user, code=code, at=at)
    _forget(user)


def replace(*, user: User, code: str, at: datetime) -> None:
    """Take the second factor away, for a code, so that another is set up at once. Raises as `check` does."""
    check(user=user, code=code, at=at)
    _forget(user)


def reset(*, user: User) -> bool:
    """Take it away without a code, for somebody who has lost it: staff have made sure of who asks. False if there is none.

    The user is told; sessions that have shown the old one must show the new one.
    """
    with transaction.atomic():
        had = _forget(user)
        if had:
            limits.forget(what="code", whom=str(user.pk))
            letters.second_factor_was_reset(user=user)
    return had


def _forget(user: User) -> bool:
    with transaction.atomic():
        Authenticator.objects.filter(user=user).delete()
        had = User.objects.filter(pk=user.pk, second_factor_since__isnull=False).update(second_factor_since=None)
    user.second_factor_since = None
    return had == 1
