"""Projects of an organization: the only writer of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.db import transaction

from billing.integrity import named
from marketplace.models import Organization, Project

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

WARN_PERCENTS = (80, 100)
"""Where people are warned unless they say otherwise."""


class InvalidProjectError(ValueError):
    """A fact of a project is out of its range; `field` says which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class ProjectTakenError(ValueError):
    """The organization has a project of that code."""


def add_project(
    *,
    organization: Organization,
    code: str,
    name: str,
    cost_centre: str = "",
    monthly_limit_minor: int | None = None,
    warn_percents: Sequence[int] = WARN_PERCENTS,
    is_hard: bool = True,
    at: datetime,
    actor: str,
) -> Project:
    """Make a project. `monthly_limit_minor` is net, in the zone's currency; None is no limit.

    Raises InvalidProjectError, ProjectTakenError.
    """
    facts = _facts(name, cost_centre, monthly_limit_minor, warn_percents, is_hard)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", code):
        raise InvalidProjectError("code", f"is {code!r}: expected 1 to 40 letters, digits, - and _")
    taken = {"project_once": lambda _: ProjectTakenError(f"code is {code}: a project of {organization} has it")}
    with named(taken), transaction.atomic():
        return Project.objects.create(organization=organization, code=code, created_at=at, actor=actor, **facts)


def change_project(
    *,
    project: Project,
    name: str,
    cost_centre: str,
    monthly_limit_minor: int | None,
    warn_percents: Sequence[int],
    is_hard: bool,
    actor: str,
) -> None:
    """Change all but the code, which reports know it by. Raises InvalidProjectError."""
    facts = _facts(name, cost_centre, monthly_limit_minor, warn_percents, is_hard)
    Project.objects.filter(pk=project.pk).update(**facts, actor=actor)


def archive_project(*, project: Project, at: datetime, actor: str) -> None:
    """Take it off the lists from which one reserves; a second time changes nothing."""
    Project.objects.filter(pk=project.pk, archived_at__isnull=True).update(archived_at=at, actor=actor)


def restore_project(*, project: Project, actor: str) -> None:
    """Put it back; a second time changes nothing."""
    Project.objects.filter(pk=project.pk, archived_at__isnull=False).update(archived_at=None, actor=actor)


def _facts(
    name: str,
    cost_centre: str,
    monthly_limit_minor: int | None,
    warn_percents: Sequence[int],
    is_hard: bool,  # noqa: FBT001
) -> dict[str, object]:
    name, cost_centre = name.strip(), cost_centre.strip()
    if not 1 <= len(name) <= 100:
        raise InvalidProjectError("name", f"has {len(name)} characters: expected 1 to 100")
    if len(cost_centre) > 60:
        raise InvalidProjectError("cost_centre", f"has {len(cost_centre)} characters: expected at most 60")
    if monthly_limit_minor is not None and not 0 <= monthly_limit_minor < 10**15:
        raise InvalidProjectError("monthly_limit_minor", f"is {monthly_limit_minor}: expected 0 or more, below 10^15")
    percents = sorted(set(warn_percents))
    if not all(1 <= percent <= 1000 for percent in percents) or len(percents) > 10:
        raise InvalidProjectError("warn_percents", f"is {percents}: expected at most ten of 1 to 1000")
    return {
        "name": name,
        "cost_centre": cost_centre,
        "monthly_limit_minor": monthly_limit_minor,
        "warn_percents": percents,
        "is_hard": is_hard,
    }
