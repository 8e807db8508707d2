"""Invitations into an organization: the only writer of them."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib.auth.hashers import make_password
from django.db import transaction

from billing.integrity import named
from marketplace import letters, people
from marketplace.models import Invitation, Membership, Organization, User

if TYPE_CHECKING:
    from datetime import datetime

VALID_FOR = timedelta(days=7)


class MemberAlreadyError(ValueError):
    """The address is a member's; change the role instead."""


class UnknownInvitationError(LookupError):
    """There is no invitation of this token; it may have been sent again with another."""


class InvitationExpiredError(ValueError):
    """The invitation's time is over: whoever invited can send it again."""


class InvitationRevokedError(ValueError):
    """The invitation was taken back."""


class InvitationAcceptedError(ValueError):
    """The invitation was accepted."""


class OtherAddressError(ValueError):
    """The invitation is for another address than the user's."""


class AddressTakenError(ValueError):
    """The address has an account: sign in to accept."""


def invite(
    *, organization: Organization, email: str, role: str, language: str, inviter: str, at: datetime, actor: str
) -> Invitation:
    """Write to the address; `inviter` is how the letter calls who invites.

    One that is open for the address is renewed: with this role, another token, another week. Raises MemberAlreadyError.
    """
    email, role = email.strip().lower(), Membership.Role(role).value
    if Membership.objects.filter(organization=organization, user__email=email).exists():
        raise MemberAlreadyError(f"email is {email}: it is a member of {organization}, change the role instead")
    with transaction.atomic():
        token = _new_token()
        facts = {
            "role": role,
            "language": language,
            "token_sha256": _digest(token),
            "created_at": at,
            "expires_at": at + VALID_FOR,
            "actor": actor,
        }
        invitation, _ = Invitation.objects.select_related("organization").update_or_create(
            organization=organization, email=email, accepted_at=None, revoked_at=None, defaults=facts
        )
        letters.invite(invitation=invitation, token=token, inviter=inviter)
    return invitation


def send_again(*, invitation: Invitation, inviter: str, at: datetime, actor: str) -> None:
    """Write once more, with another token and another week; the old link is void.

    Raises InvitationRevokedError, InvitationAcceptedError.
    """
    token = _new_token()
    with transaction.atomic():
        renewed = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).update(
            token_sha256=_digest(token), created_at=at, expires_at=at + VALID_FOR, actor=actor
        )
        invitation.refresh_from_db()
        if not renewed:
            _require_open(invitation, at)
        letters.invite(invitation=invitation, token=token, inviter=inviter)


def revoke(*, invitation: Invitation, at: datetime) -> None:
    """Take it back; a second time changes nothing. Raises InvitationAcceptedError."""
    Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).update(revoked_at=at)
    invitation.refresh_from_db()
    if invitation.accepted_at is not None:
        raise InvitationAcceptedError(f"the invitation of {invitation.email} was accepted: end the membership instead")


def find(*, token: str) -> Invitation:
    """The invitation of a token, in whatever state. Raises UnknownInvitationError."""
    found = Invitation.objects.select_related("organization", "accepted_by").filter(token_sha256=_digest(token)).first()
    if found is None:
        raise UnknownInvitationError("token is of no invitation: open the link of the newest letter")
    return found


def require_open(*, invitation: Invitation, at: datetime) -> None:
    """Raises InvitationExpiredError, InvitationRevokedError, InvitationAcceptedError."""
    _require_open(invitation, at)


def accept(*, invitation: Invitation, user: User, at: datetime) -> Membership:
    """Make the user, whose address it is for, a member. Accepted before by the same user, it gives the membership.

    Somebody who is a member already keeps the role. Raises OtherAddressError, NotMemberError's kin as `require_open`.
    """
    if user.email != invitation.email:
        raise OtherAddressError(
            f"the invitation is for {invitation.email}, not for {user.email}: sign in as the former"
        )
    with transaction.atomic():
        locked = Invitation.objects.select_for_update().get(pk=invitation.pk)
        if locked.accepted_by_id == user.pk:
            membership = Membership.objects.filter(organization_id=locked.organization_id, user=user).first()
            if membership is not None:
                return membership
        _require_open(locked, at)
        Invitation.objects.filter(pk=locked.pk).update(accepted_at=at, accepted_by=user)
        membership, _ = people.let_in(
            organization=locked.organization, user=user, role=locked.role, at=at, actor=locked.actor
        )
    return membership


def accept_as_new(*, invitation: Invitation, name: str, password: str, language: str, at: datetime) -> User:
    """Make an account for the address, which the link has shown to be theirs, and accept.

    Raises AddressTakenError, and as `require_open`.
    """
    hashed = make_password(password)
    taken = {"user_email_once": lambda _: AddressTakenError(f"email is {invitation.email}: it has an account, sign in")}
    with named(taken), transaction.atomic():
        user = User.objects.create(
            email=invitation.email, name=name.strip(), password=hashed, language=language, date_joined=at
        )
        accept(invitation=invitation, user=user, at=at)
    return user


def _require_open(invitation: Invitation, at: datetime) -> None:
    if invitation.accepted_at is not None:
        raise InvitationAcceptedError(f"the invitation of {invitation.email} was accepted")
    if invitation.revoked_at is not None:
        raise InvitationRevokedError(f"the invitation of {invitation.email} was taken back")
    if invitation.expires_at <= at:
        raise InvitationExpiredError(f"the invitation of {invitation.email} ended {invitation.expires_at.isoformat()}")


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
