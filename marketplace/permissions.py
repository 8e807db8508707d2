"""What each role of an organization, and each scope of an API key, permits. Whose rows those are, `access.py` says."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from marketplace.models import ApiKey, Membership


class Permission(TextChoices):
    """What a role may do in its organization."""

    SEE_ORGANIZATION = "see_organization", _("See the organization and its members")
    SEE_USAGE = "see_usage", _("See usage")
    SEE_BILLS = "see_bills", _("See bills and prices paid")
    SEND_USAGE = "send_usage", _("Send usage")
    MANAGE_KEYS = "manage_keys", _("Make and revoke API keys")
    MANAGE_MEMBERS = "manage_members", _("Add members and change their roles")
    MANAGE_PROJECTS = "manage_projects", _("Change projects and budgets")
    APPLY = "apply", _("Dispute bills, choose how they are corrected, apply for programmes, and claim what they pay")
    RESERVE = "reserve", _("Reserve capacity, and see what it costs")
    SUPPLY = "supply", _("Change what is offered")


_ROLE, _SCOPE = Membership.Role, ApiKey.Scope

PERMISSIONS: dict[str, frozenset[Permission]] = {
    _ROLE.OWNER: frozenset(Permission),
    _ROLE.ENGINEER: frozenset(
        {
            Permission.SEE_ORGANIZATION,
            Permission.SEE_USAGE,
            Permission.SEND_USAGE,
            Permission.MANAGE_KEYS,
            Permission.RESERVE,
            Permission.SUPPLY,
        }
    ),
    _ROLE.FINANCE: frozenset(
        {
            Permission.SEE_ORGANIZATION,
            Permission.SEE_USAGE,
            Permission.SEE_BILLS,
            Permission.MANAGE_PROJECTS,
            Permission.APPLY,
        }
    ),
    _ROLE.VIEWER: frozenset({Permission.SEE_ORGANIZATION, Permission.SEE_USAGE}),
}
"""Role to permissions."""

SCOPES: dict[str, Permission] = {
    _SCOPE.USAGE_WRITE: Permission.SEND_USAGE,
    _SCOPE.USAGE_READ: Permission.SEE_USAGE,
    _SCOPE.BILLING_READ: Permission.SEE_BILLS,
    _SCOPE.BILLING_WRITE: Permission.APPLY,
    _SCOPE.RESERVATIONS_WRITE: Permission.RESERVE,
    _SCOPE.PROJECTS_WRITE: Permission.MANAGE_PROJECTS,
    _SCOPE.SUPPLY_WRITE: Permission.SUPPLY,
    _SCOPE.ORGANIZATION_READ: Permission.SEE_ORGANIZATION,
    _SCOPE.ORGANIZATION_WRITE: Permission.MANAGE_MEMBERS,
    _SCOPE.KEYS_WRITE: Permission.MANAGE_KEYS,
}
"""Scope to the permission it carries; who makes a key must have it, so that no key can do what its maker can't."""
