"""What buyers are told of their projects and reservations: a budget's threshold is reached, an incident touches their hours.

A letter is a job for each reader, once per what it tells: it may be asked for as often as one looks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from billing.documents import figures
from marketplace import jobs, mail
from marketplace.models import Incident, Membership, Project, Reservation, User
from marketplace.reservations import budgets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

JOB = "buyer_letter"
AHEAD = timedelta(hours=24)  # of an outage whose end nobody knows

_ROLE = Membership.Role
_SUBJECTS = {
    "budget_reached": _("%(project)s has come to %(percent)s%% of its budget for %(month)s"),
    "incident": _("Something is wrong with your reservation %(reservation)s at %(pool)s"),
}


def budget_reached(*, project: Project | None, warned: Iterable[budgets.Warned], at: datetime) -> None:
    """To the buyer's owners and finance, once per threshold and month."""
    if project is None:  # what is of no project warns of none
        return
    for each in warned:
        facts = {"project": project.pk, "month": each.month, "percent": each.percent}
        key = f"{project.pk}:{each.month}:{each.percent}"
        _ask("budget_reached", key, project.organization_id, (_ROLE.OWNER, _ROLE.FINANCE), facts, at=at)


def incidents(*, at: datetime) -> int:
    """Have the owners and engineers told whose firm reservations have hours in an open incident; how many reservations.

    Of an outage whose end nobody knows, those that run or begin within AHEAD.
    """
    found = 0
    for incident in Incident.objects.filter(closed_at__isnull=True).order_by("pk"):
        rows = Reservation.objects.filter(
            pool=incident.pool_id,
            state__in=[Reservation.State.CONFIRMED, Reservation.State.ACTIVE],
            start_at__lt=at + AHEAD if incident.end_at is None else incident.end_at,
            end_at__gt=max(incident.start_at, at),
        )
        for pk, organization_id in rows.order_by("pk").values_list("pk", "organization_id"):
            facts = {"incident": incident.pk, "reservation": str(pk)}
            _ask("incident", f"{incident.pk}:{pk}", organization_id, (_ROLE.OWNER, _ROLE.ENGINEER), facts, at=at)
            found += 1
    return found


def _ask(
    template: str, key: str, organization_id: int, roles: Iterable[str], facts: dict[str, Any], *, at: datetime
) -> None:
    members = Membership.objects.filter(organization=organization_id, role__in=roles, user__is_active=True)
    for reader in members.order_by("user_id").values_list("user_id", flat=True):
        payload = {"template": template, "reader": reader, **facts}
        jobs.ask(kind=JOB, key=f"{template}:{key}:{reader}", due_at=at, at=at, payload=payload)


def post(*, template: str, reader: int, **facts: Any) -> None:
    """Send one letter; nothing if what it tells is no longer so, or the reader has left."""
    user = User.objects.filter(pk=reader, is_active=True).first()
    context = _of_budget(**facts) if template == "budget_reached" else _of_incident(**facts)
    if user is None or context is None:
        return
    language = user.language or settings.LANGUAGE_CODE
    with translation.override(language):
        subject = str(_SUBJECTS[template]) % context["names"]
    mail.send(to=user.email, subject=subject, template=template, context=context, language=language)


def _of_budget(*, project: int, month: str, percent: int) -> dict[str, Any] | None:
    row = Project.objects.select_related("organization__zone__issuer").get(pk=project)
    if row.monthly_limit_minor is None or row.archived_at is not None:
        return None
    currency = row.organization.zone.issuer.currency
    return {
        "project": row,
        "month": month,
        "percent": percent,
        "spent": figures.money(budgets.spent(project=row, month=month), currency),
        "limit": figures.money(row.monthly_limit_minor, currency),
        "address": settings.PUBLIC_URL + reverse("project", args=[row.code]),
        "names": {"project": row.name, "percent": percent, "month": month},
    }


def _of_incident(*, incident: int, reservation: str) -> dict[str, Any] | None:
    row = Incident.objects.filter(pk=incident, closed_at__isnull=True).first()
    hit = Reservation.objects.select_related("pool__site", "organization").get(pk=reservation)
    if row is None or hit.state not in Reservation.LIVE:
        return None
    return {
        "incident": row,
        "reservation": hit,
        "hours": (hit.end_at - hit.start_at) // timedelta(hours=1),
        "address": settings.PUBLIC_URL + reverse("reservation", args=[hit.pk]),
        "names": {"reservation": str(hit.pk)[:8], "pool": hit.pool.name},
    }
