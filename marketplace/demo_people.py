"""Who signs in to a demo: a buyer, a provider and one of the staff, with passwords made at random.

The passwords stand in a file of the data folder that its owner alone may read, so that the next run can tell them again.
Nobody else makes such users: `enrol` refuses a zone that no demo made.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.db import transaction

from billing.models import Party
from marketplace import people
from marketplace.demo_plan import Plan, firm, setting
from marketplace.models import Membership, Organization, User, Zone

ACTOR = "command:demo"


class Login(NamedTuple):
    """What one signs in with, and who one is then: the firm, in English, or nothing for staff."""

    email: str
    password: str
    part: str
    firm: str


def enrol(*, plan: Plan, file: Path, progress: Callable[[int], object]) -> tuple[bool, list[Login]]:
    """Make the demo's people, or bring them to what `file` says of their passwords. Call it alone on its database.

    Gives whether there was something to do, and all of them. Raises Zone.DoesNotExist where no demo made the zone.
    """
    zone = Zone.objects.exclude(made_from="").get()
    passwords = _read(file)
    was_work = False
    logins = []
    for facts in setting()["people"]:
        email, organization = facts["email"], _organization(zone, plan, facts["part"])
        if email not in passwords:
            # On the disk before it is anybody's: a run that is killed in between has told the next one.
            passwords[email] = secrets.token_urlsafe(12)
            _write(file, passwords)
        was_work |= _enrol(facts, passwords[email], organization, plan.period.start)
        logins.append(Login(email, passwords[email], facts["part"], _name(organization)))
        progress(1)
    return was_work, logins


def emails() -> list[str]:
    return [facts["email"] for facts in setting()["people"]]


@transaction.atomic
def _enrol(facts: Mapping[str, Any], password: str, organization: Organization | None, at: datetime) -> bool:
    is_staff = organization is None
    user = User.objects.filter(email=facts["email"]).first()
    is_right = user is not None and user.is_active and user.check_password(password)
    if user is None:
        rights = {"is_staff": is_staff, "is_superuser": is_staff}
        user = User.objects.create_user(facts["email"], password, name=facts["name"], **rights)
    elif not is_right:
        user.set_password(password)
        user.is_active = True
        user.save(update_fields=["password", "is_active"])
    if organization is not None and not organization.memberships.filter(user=user).exists():
        people.add_member(organization=organization, user=user, role=Membership.Role.OWNER, at=at, actor=ACTOR)
        is_right = False
    return not is_right


def _organization(zone: Zone, plan: Plan, part: str) -> Organization | None:
    """The first buyer's, the provider's, or none for staff."""
    if part == "staff":
        return None
    member = plan.buyers[0].firm if part == "buyer" else firm(setting()["provider"])
    party = Party.objects.get(credit_code=member.credit_code)
    return Organization.objects.select_related("party").get(zone=zone, party=party)


def _name(organization: Organization | None) -> str:
    return "" if organization is None else organization.party.legal_name_en or organization.party.legal_name


def _read(file: Path) -> dict[str, str]:
    """Those of the file; none where it is missing, or isn't ours: then they are made anew."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    ours = found if isinstance(found, dict) else {}
    return {email: ours[email] for email in emails() if isinstance(ours.get(email), str) and ours[email]}


def _write(file: Path, passwords: Mapping[str, str]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f"{file.name}.", delete=False) as draft:  # mode 0600
        json.dump(passwords, draft, indent=2)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(file)
