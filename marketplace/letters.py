"""What people are written: one function a letter. Each is sent when the transaction it stands in has been committed.

A letter that can't be sent is logged and changes nothing: whoever waits for one asks for it again.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import translation
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from marketplace import mail
from marketplace.models import Membership, User
from marketplace.permissions import PERMISSIONS, Permission

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.utils.functional import _StrPromise

    from billing.models import Dispute
    from marketplace.models import Invitation, JoinRequest, Organization, SignUp


def confirm_address(*, sign_up: SignUp, token: str) -> None:
    context = {"sign_up": sign_up, "address": _address("confirm_sign_up", token=token)}
    _post(sign_up.email, _("Confirm your e-mail address"), "confirm_address", context, sign_up.language)


def has_account(*, user: User, language: str) -> None:
    """To an address with which somebody signs up, or asks for the link again, though it has an account."""
    context = {"address": _address("sign_in"), "reset": _address("reset_password")}
    _post(user.email, _("You have an account already"), "has_account", context, user.language or language)


def reset_password(*, user: User, parameters: dict[str, str], language: str) -> None:
    context = {"person": user, "address": _address("new_password", **parameters)}
    _post(user.email, _("Set a new password"), "reset_password", context, user.language or language)


def password_was_reset(*, user: User, language: str) -> None:
    context = {"person": user, "address": _address("reset_password")}
    _post(user.email, _("Your password was changed"), "password_was_reset", context, language)


def second_factor_was_reset(*, user: User) -> None:
    subject = _("Your second factor was reset")
    _post(
        user.email, subject, "second_factor_was_reset", {"person": user, "address": _address("sign_in")}, user.language
    )


def invite(*, invitation: Invitation, token: str, inviter: str) -> None:
    context = {
        "invitation": invitation,
        "organization": invitation.organization,
        "inviter": inviter,
        "address": _address("invitation", token=token),
    }
    subject = _("You are invited to %(organization)s")
    _post(invitation.email, subject, "invitation", context, invitation.language)


def asked_to_join(*, request: JoinRequest) -> None:
    """To the owners."""
    context = {"person": request.user, "organization": request.organization, "address": _address("organization")}
    subject = _("Somebody asks to join %(organization)s")
    _post_all(_owners(request.organization), subject, "asked_to_join", context)


def join_decided(*, request: JoinRequest) -> None:
    """To the one who asked."""
    approved = request.state == request.State.APPROVED
    context = {
        "person": request.user,
        "organization": request.organization,
        "approved": approved,
        "address": _address("sign_in"),
    }
    subject = _("You are a member of %(organization)s now") if approved else _("%(organization)s has not taken you in")
    _post_all([request.user], subject, "join_decided", context)


STATE_SUBJECTS = {
    "verified": _("%(organization)s is verified"),
    "refused": _("%(organization)s was refused"),
    "suspended": _("%(organization)s is suspended"),
    "reinstated": _("%(organization)s may reserve and sell again"),
}


def organization_changed(*, organization: Organization, what: str, reason: str, at: datetime) -> None:
    """To the owners. `what` is of STATE_SUBJECTS."""
    context = {
        "organization": organization,
        "what": what,
        "reason": reason,
        "at": at,
        "address": _address("organization"),
    }
    _post_all(_owners(organization), STATE_SUBJECTS[what], "organization_changed", context)


def dispute_answered(*, dispute: Dispute, organization: Organization) -> None:
    """To those who see the organization's bills."""
    document = dispute.line.invoice
    roles = [role for role, permissions in PERMISSIONS.items() if Permission.SEE_BILLS in permissions]
    readers = User.objects.filter(
        is_active=True, memberships__organization=organization, memberships__role__in=roles
    ).order_by("pk")
    note = dispute.adjustment.document if dispute.adjustment is not None else None
    context = {
        "dispute": dispute,
        "document": document.number,
        "note": note.number if note is not None else "",
        "organization": organization,
        "address": settings.PUBLIC_URL + reverse("invoice_line", args=[document.number, dispute.line.position]),
    }
    _post_all(readers, _("Your dispute of an invoice was answered"), "dispute_answered", context)


def _owners(organization: Organization) -> list[User]:
    owners = User.objects.filter(
        is_active=True, memberships__organization=organization, memberships__role=Membership.Role.OWNER
    )
    return list(owners.order_by("pk"))


def _address(name: str, **query: str) -> str:
    """Of a page, with what the log must not hold in its query, which is left out there."""
    return settings.PUBLIC_URL + reverse(name) + (f"?{urlencode(query)}" if query else "")


def _post_all(users: Iterable[User], subject: _StrPromise, template: str, context: dict[str, Any]) -> None:
    for user in users:
        _post(user.email, subject, template, context | {"reader": user}, user.language)


def _post(to: str, subject: _StrPromise, template: str, context: dict[str, Any], language: str) -> None:
    """The subject's `%(organization)s` is the context's."""
    language = language or settings.LANGUAGE_CODE
    with translation.override(language):
        title = str(subject) % {"organization": context.get("organization", "")}
    send = functools.partial(mail.send, to=to, subject=title, template=template, context=context, language=language)
    transaction.on_commit(send, robust=True)
