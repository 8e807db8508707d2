"""Access: handed over by the provider, sealed until the buyer looks at it, once. The only writer of credentials.

What is sealed can be read with SECRET_KEY, or one of SECRET_KEY_FALLBACKS, and not with the database alone.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.utils.encoding import force_bytes

from marketplace.models import Credential, Reservation
from marketplace.provisioning import letters
from marketplace.retry import retrying

if TYPE_CHECKING:
    from datetime import datetime

MAX_LENGTH = 10_000
_RUNS = (Reservation.State.CONFIRMED, Reservation.State.ACTIVE)


class NotRunningError(Exception):
    """The reservation is not confirmed, or has ended: there is no access to it."""


class InvalidSecretError(ValueError):
    """Nothing, or too much, was handed over."""


class NothingToShowError(LookupError):
    """The provider has handed nothing over yet, or what it was is gone."""


class AlreadyShownError(Exception):
    """It was shown to somebody, and is gone: the provider can hand it over anew."""

    def __init__(self, credential: Credential) -> None:
        assert credential.shown_at is not None
        self.shown_at, self.shown_to = credential.shown_at, credential.shown_to
        super().__init__(
            f"access to reservation {credential.reservation_id} was shown to {self.shown_to} at {self.shown_at.isoformat()}:"
            " ask the provider to hand it over anew"
        )


class UnreadableError(Exception):
    """It was sealed under a SECRET_KEY that is gone."""


@retrying
def hand_over(*, reservation: Reservation, secret: str, at: datetime, actor: str) -> Credential:
    """Seal what the buyer needs to get in, and tell them that it is there. It takes the place of what was not shown yet.

    Raises NotRunningError, InvalidSecretError.
    """
    if not secret.strip() or len(secret) > MAX_LENGTH or "\0" in secret:
        raise InvalidSecretError(
            f"secret has {len(secret)} characters: expected 1 to {MAX_LENGTH} that say how to get in, without NUL"
        )
    with transaction.atomic():
        row = _locked(reservation)
        _erase(row, at)
        credential = Credential.objects.create(
            reservation=row, sealed=_seals().encrypt(secret.encode()).decode("ascii"), handed_at=at, handed_by=actor
        )
        letters.access_ready(credential=credential, at=at)
    return credential


@retrying
def show(*, reservation: Reservation, at: datetime, actor: str) -> str:
    """What the provider handed over; it is gone afterwards. The view asks whether `actor` may.

    Raises NotRunningError, NothingToShowError, AlreadyShownError with when and to whom, UnreadableError.
    """
    with transaction.atomic():
        row = _locked(reservation)
        credential = Credential.objects.filter(reservation=row).order_by("-id").first()
        if credential is not None and credential.shown_at is not None:
            raise AlreadyShownError(credential)
        if credential is None or credential.erased_at is not None:
            raise NothingToShowError(f"reservation {row}: expected access to be handed over by its provider first")
        try:
            secret = _seals().decrypt(credential.sealed.encode("ascii")).decode()
        except InvalidToken as error:
            raise UnreadableError(
                f"access to reservation {row}, handed over at {credential.handed_at.isoformat()}: it was sealed under a"
                " SECRET_KEY that is gone: name that in SECRET_KEY_FALLBACKS, or have it handed over anew"
            ) from error
        credential.sealed, credential.erased_at, credential.shown_at, credential.shown_to = "", at, at, actor
        credential.save(update_fields=["sealed", "erased_at", "shown_at", "shown_to"])
    return secret


def erase(*, reservation: Reservation, at: datetime) -> None:
    """Forget what was not shown: the reservation has ended."""
    with transaction.atomic():
        _erase(reservation, at)


def _erase(reservation: Reservation, at: datetime) -> None:
    Credential.objects.filter(reservation=reservation, erased_at__isnull=True).update(sealed="", erased_at=at)


def _locked(reservation: Reservation) -> Reservation:
    row = Reservation.objects.select_for_update(no_key=True).get(pk=reservation.pk)
    if row.state not in _RUNS:
        raise NotRunningError(f"reservation {row}: state is {row.state}: expected {' or '.join(_RUNS)}")
    return row


def _seals() -> MultiFernet:
    return MultiFernet([_seal(key) for key in [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]])


def _seal(secret_key: str | bytes) -> Fernet:
    """A key of its own for this purpose: what SECRET_KEY signs elsewhere says nothing about it."""
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"suanli credentials")
    return Fernet(base64.urlsafe_b64encode(derived.derive(force_bytes(secret_key))))
