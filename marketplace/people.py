"""Who belongs to which organization, in which role: the only writer of organizations and memberships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from billing.integrity import named, require_same
from marketplace import keys, letters
from marketplace.models import (
    JoinRequest,
    Membership,
    MembershipChange,
    Organization,
    OrganizationChange,
    User,
    Zone,
)

if TYPE_CHECKING:
    from datetime import datetime

    from billing.models import Party


class AlreadyMemberError(ValueError):
    """The user is a member of the organization in another role: change the role."""


class NotMemberError(ValueError):
    """The user is no member of the organization; somebody may just have removed it."""


class LastOwnerError(ValueError):
    """An organization keeps at least one owner."""


class OrganizationDiffersError(ValueError):
    """The party already has an organization, of another zone, name or part."""


class NoPartError(ValueError):
    """An organization buys, provides, funds or operates."""


class DecidedError(ValueError):
    """Somebody has decided the other way already."""


class UnknownOrganizationError(LookupError):
    """No organization, or more than one, goes by that code."""


PARTS = ("buyer", "provider", "funder", "operator")


def make_organization(*, zone: Zone, party: Party, name: str, parts: set[str]) -> Organization:
    """Make the party's organization in the zone, taking the given parts (of PARTS). A repeat gives the one that is there.

    Raises NoPartError for no part or an unknown one, OrganizationDiffersError if the party has a different one.
    """
    if not parts or not parts <= set(PARTS):
        raise NoPartError(f"parts is {sorted(parts)}: expected one or more of {', '.join(PARTS)}")
    facts = {"zone_id": zone.pk, "name": name} | {f"is_{part}": part in parts for part in PARTS}
    organization, made = Organization.objects.get_or_create(party=party, defaults=facts)
    if not made:
        require_same(organization, facts, OrganizationDiffersError)
    return organization


def found_organization(
    *, zone: Zone, party: Party, name: str, parts: set[str], at: datetime, actor: str
) -> tuple[Organization, bool]:
    """Make the organization of one who signs it up, pending until staff have verified it; False beside one that is there.

    Raises NoPartError.
    """
    if not parts or not parts <= set(PARTS):
        raise NoPartError(f"parts is {sorted(parts)}: expected one or more of {', '.join(PARTS)}")
    pending = Organization.State.PENDING
    facts: dict[str, Any] = {f"is_{part}": part in parts for part in PARTS}
    facts |= {"zone": zone, "name": name, "state": pending, "state_at": at, "state_actor": actor}
    with transaction.atomic():
        organization, made = Organization.objects.get_or_create(party=party, defaults=facts)
        if made:
            OrganizationChange.objects.create(organization=organization, to_state=pending, at=at, actor=actor)
    return organization, made


def add_member(*, organization: Organization, user: User, role: str, at: datetime, actor: str) -> Membership:
    """Make the user a member in that role (of Membership.Role). A repeat gives the membership that is there.

    Raises AlreadyMemberError if it has another role.
    """
    role = Membership.Role(role).value
    membership, made = let_in(organization=organization, user=user, role=role, at=at, actor=actor)
    if not made:
        require_same(membership, {"role": role}, AlreadyMemberError)
    return membership


def let_in(*, organization: Organization, user: User, role: str, at: datetime, actor: str) -> tuple[Membership, bool]:
    """Make the user a member in that role; False beside the membership that is there, which stays as it is."""
    with transaction.atomic():
        membership, made = Membership.objects.get_or_create(
            organization=organization, user=user, defaults={"role": role, "since_at": at, "actor": actor}
        )
        if made:
            MembershipChange.objects.create(organization=organization, user=user, to_role=role, at=at, actor=actor)
    return membership, made


def change_role(*, organization: Organization, user: User, role: str, at: datetime, actor: str) -> None:
    """Give the member another role; the same one changes nothing. The keys that they made and that the new role may not make
    are revoked. Raises NotMemberError, LastOwnerError.
    """
    role = Membership.Role(role).value
    with named({"membership_owner_stays": LastOwnerError}), transaction.atomic():
        membership = Membership.objects.select_for_update().filter(organization=organization, user=user).first()
        if membership is None:
            raise NotMemberError(f"{user} is no member of {organization}: add it first")
        if membership.role == role:
            return
        Membership.objects.filter(pk=membership.pk).update(role=role, since_at=at, actor=actor)
        keys.revoke_of_member(organization=organization, user=user, role=role, at=at, actor=actor)
        MembershipChange.objects.create(
            organization=organization, user=user, from_role=membership.role, to_role=role, at=at, actor=actor
        )


def remove_member(*, organization: Organization, user: User, at: datetime, actor: str) -> None:
    """End the membership, and revoke the keys that they made; one that has ended stays so. Raises LastOwnerError."""
    with named({"membership_owner_stays": LastOwnerError}), transaction.atomic():
        membership = Membership.objects.select_for_update().filter(organization=organization, user=user).first()
        if membership is None:
            return
        membership.delete()
        keys.revoke_of_member(organization=organization, user=user, role=None, at=at, actor=actor)
        MembershipChange.objects.create(
            organization=organization, user=user, from_role=membership.role, at=at, actor=actor
        )


def approve_join(*, request: JoinRequest, role: str, at: datetime, actor: str) -> None:
    """Make who asked a member in that role; a member of another role keeps it. Approved before, nothing changes.

    Raises DecidedError.
    """
    role = Membership.Role(role).value
    with transaction.atomic():
        if _decide(request, JoinRequest.State.APPROVED, at, actor):
            let_in(organization=request.organization, user=request.user, role=role, at=at, actor=actor)
            letters.join_decided(request=request)


def refuse_join(*, request: JoinRequest, at: datetime, actor: str) -> None:
    """Do not take in who asked. Refused before, nothing changes. Raises DecidedError."""
    with transaction.atomic():
        if _decide(request, JoinRequest.State.REFUSED, at, actor):
            letters.join_decided(request=request)


def _decide(request: JoinRequest, state: str, at: datetime, actor: str) -> bool:
    open_one = JoinRequest.objects.filter(pk=request.pk, state=JoinRequest.State.ASKED)
    decided = open_one.update(state=state, decided_at=at, actor=actor)
    request.refresh_from_db(fields=["state", "decided_at", "actor"])
    if not decided and request.state != state:
        raise DecidedError(f"the request of {request.user} to join {request.organization} is {request.state} already")
    return decided == 1


def find_organization(*, code: str) -> Organization:
    """The organization with this unified social credit code, or else the one billed on the account of this code.

    Raises UnknownOrganizationError, also if accounts of several organizations have the code.
    """
    found = Organization.objects.filter(party__credit_code=code) or Organization.objects.filter(
        party__accounts__code=code
    )
    organizations = list(found.distinct()[:2])
    if len(organizations) != 1:
        what = (
            "several organizations have an account"
            if organizations
            else "no organization has that credit code or account"
        )
        raise UnknownOrganizationError(f"{code}: {what}: expected the unified social credit code of one")
    return organizations[0]
