"""A forgotten password is replaced by a link to the mailbox: good once, for an hour, until the next sign-in.

Django's generator makes the tokens: they are void when the password, the address or the last sign-in has changed.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from marketplace import jobs, letters
from marketplace.models import User

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet


JOB = "password_letter"


def ask_for_link(*, email: str, language: str, at: datetime) -> None:
    """Have `send_link` done by the worker: the time that a request takes tells nobody whether the address has an account."""
    payload = {"email": email.strip().lower(), "language": language}
    jobs.ask(kind=JOB, key=secrets.token_hex(16), payload=payload, due_at=at, at=at)


def send_link(*, email: str, language: str) -> None:
    """Write to the address if an active account has it; nothing otherwise."""
    user = User.objects.filter(email=email.strip().lower(), is_active=True).first()
    if user is not None:
        letters.reset_password(user=user, parameters=_parameters(user), language=language)


def _parameters(user: User) -> dict[str, str]:
    return {"user": urlsafe_base64_encode(force_bytes(user.pk)), "token": default_token_generator.make_token(user)}


def find(*, user: str, token: str) -> User | None:
    """Whose link it is; None if it is none of ours, was used, or its time is over."""
    return _of(User.objects.filter(is_active=True), user, token)


def set_password(*, user: str, token: str, password: str, language: str) -> bool:
    """Set the password by the link, and tell the mailbox. False if the link is void: of two at once, one is first."""
    with transaction.atomic():
        found = _of(User.objects.select_for_update().filter(is_active=True), user, token)
        if found is None:
            return False
        found.set_password(password)
        found.save(update_fields=["password"])
        letters.password_was_reset(user=found, language=found.language or language)
    return True


def _of(users: QuerySet[User], user: str, token: str) -> User | None:
    try:
        pk = int(urlsafe_base64_decode(user))
    except ValueError:
        return None
    found: User | None = users.filter(pk=pk).first() if 0 < pk < 2**63 else None
    return found if found is not None and default_token_generator.check_token(found, token) else None
