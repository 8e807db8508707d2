"""What staff decide of an organization: verified, refused, suspended, reinstated. The only writer of its state, and of its
name.

The arcs are ARCS. Each change is kept (OrganizationChange); what staff decide is told to the owners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from marketplace import letters, sign_up
from marketplace.models import Organization, OrganizationChange

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_STATE = Organization.State

ARCS: Mapping[str, frozenset[str]] = {
    "verified": frozenset({_STATE.PENDING, _STATE.REFUSED}),
    "refused": frozenset({_STATE.PENDING}),
    "suspended": frozenset({_STATE.VERIFIED}),
    "reinstated": frozenset({_STATE.SUSPENDED}),
}
"""What is done, and the states in which it can be."""


class NotInStateError(ValueError):
    """The organization is in another state; somebody may just have decided."""


class NoReasonError(ValueError):
    """A refusal or suspension says why."""


def verify(*, organization: Organization, at: datetime, actor: str, reason: str = "") -> None:
    """It is who it says it is: it may reserve and sell. Raises NotInStateError."""
    _change(organization, "verified", _STATE.VERIFIED, reason, at=at, actor=actor)


def refuse(*, organization: Organization, reason: str, at: datetime, actor: str) -> None:
    """It is not taken in; it can still be verified later. Raises NotInStateError, NoReasonError."""
    _change(organization, "refused", _STATE.REFUSED, _given(reason), at=at, actor=actor)


def suspend(*, organization: Organization, reason: str, at: datetime, actor: str) -> None:
    """It starts nothing new. Raises NotInStateError, NoReasonError."""
    _change(organization, "suspended", _STATE.SUSPENDED, _given(reason), at=at, actor=actor)


def reinstate(*, organization: Organization, at: datetime, actor: str, reason: str = "") -> None:
    """No longer suspended. Raises NotInStateError."""
    _change(organization, "reinstated", _STATE.VERIFIED, reason, at=at, actor=actor)


def rename(*, organization: Organization, name: str, at: datetime, actor: str) -> None:
    """Call it so on the market; its legal name stays. The same name changes nothing. Raises sign_up.InvalidSignUpError."""
    name = name.strip()
    sign_up.require_name(field="name", value=name)
    with transaction.atomic():
        locked = Organization.objects.select_for_update().get(pk=organization.pk)
        if locked.name == name:
            return
        Organization.objects.filter(pk=organization.pk).update(name=name)
        OrganizationChange.objects.create(
            organization=organization,
            from_state=locked.state,
            to_state=locked.state,
            reason=f"{locked.name} → {name}",
            at=at,
            actor=actor,
        )
    organization.name = name


def _given(reason: str) -> str:
    if not reason.strip():
        raise NoReasonError(f"reason is {reason!r}: expected a sentence that its owners can understand")
    return reason


def _change(organization: Organization, what: str, state: str, reason: str, *, at: datetime, actor: str) -> None:
    reason = reason.strip()
    if len(reason) > 500:
        raise NoReasonError(f"reason has {len(reason)} characters: expected at most 500")
    with transaction.atomic():
        before = Organization.objects.select_for_update().get(pk=organization.pk).state
        if before not in ARCS[what]:
            raise NotInStateError(
                f"organization {organization} is {before}: it can be {what} when it is {' or '.join(sorted(ARCS[what]))}"
            )
        Organization.objects.filter(pk=organization.pk, state=before).update(
            state=state, state_reason=reason, state_at=at, state_actor=actor
        )
        OrganizationChange.objects.create(
            organization=organization, from_state=before, to_state=state, reason=reason, at=at, actor=actor
        )
        letters.organization_changed(organization=organization, what=what, reason=reason, at=at)
    organization.refresh_from_db(fields=["state", "state_reason", "state_at", "state_actor"])
