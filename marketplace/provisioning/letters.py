"""Who is told what by e-mail. A letter is a job for each reader, asked for in the transaction of what it tells."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from marketplace import jobs, mail
from marketplace.models import Credential, Membership, ProvisioningTask, User

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from marketplace.models import Organization

REMIND_AFTER = timedelta(minutes=15)  # a task is late
JOB = "provisioning_letter"

# The subjects, by template.
_SUBJECTS = {
    "task_opened": _("To do for reservation %(reservation)s at %(pool)s"),
    "task_late": _("Late: to do for reservation %(reservation)s at %(pool)s"),
    "task_void": _("No longer to do for reservation %(reservation)s at %(pool)s"),
    "access_ready": _("Your access for reservation %(reservation)s is ready"),
}


def task_opened(*, task: ProvisioningTask, at: datetime) -> None:
    """To the provider's owners and engineers, now and once more if it is late."""
    readers = _readers(task.reservation.pool.site.provider)
    _ask("task_opened", task.pk, readers, due_at=at, at=at)
    _ask("task_late", task.pk, readers, due_at=max(task.due_at, at) + REMIND_AFTER, at=at)


def task_void(*, task: ProvisioningTask, at: datetime) -> None:
    _ask("task_void", task.pk, _readers(task.reservation.pool.site.provider), due_at=at, at=at)


def access_ready(*, credential: Credential, at: datetime) -> None:
    """To the buyer's owners and engineers. What it is stays out of the letter."""
    _ask("access_ready", credential.pk, _readers(credential.reservation.organization), due_at=at, at=at)


def post(*, template: str, row: int, reader: int) -> None:
    """Send one letter; nothing if what it tells is no longer so, or the reader has left."""
    user = User.objects.filter(pk=reader, is_active=True).first()
    context = _of_credential(row) if template == "access_ready" else _of_task(row, template)
    if user is None or context is None:
        return
    language = user.language or settings.LANGUAGE_CODE
    reservation = context["reservation"]
    context |= {"reader": user, "hours": (reservation.end_at - reservation.start_at) // timedelta(hours=1)}
    with translation.override(language):
        names = {"reservation": str(reservation.pk)[:8], "pool": reservation.pool.name}
        subject = str(_SUBJECTS[template]) % names
    mail.send(to=user.email, subject=subject, template=template, context=context, language=language)


def _of_task(pk: int, template: str) -> dict[str, Any] | None:
    rows = ProvisioningTask.objects.select_related("reservation__pool__site", "reservation__organization")
    task = rows.get(pk=pk)
    is_void = task.state == ProvisioningTask.State.VOID
    if is_void != (template == "task_void") or task.state == ProvisioningTask.State.DONE:
        return None
    address = reverse("provider:marketplace_provisioningtask_change", args=[task.pk])
    return {"task": task, "reservation": task.reservation, "address": settings.PUBLIC_URL + address}


def _of_credential(pk: int) -> dict[str, Any] | None:
    credential = Credential.objects.select_related("reservation__pool").get(pk=pk)
    if credential.erased_at:
        return None
    address = reverse("reservation", args=[credential.reservation_id])
    return {"reservation": credential.reservation, "address": settings.PUBLIC_URL + address}


def _readers(organization: Organization) -> Iterable[int]:
    roles = [Membership.Role.OWNER, Membership.Role.ENGINEER]
    members = Membership.objects.filter(organization=organization, role__in=roles, user__is_active=True)
    return members.order_by("user_id").values_list("user_id", flat=True)


def _ask(template: str, row: int, readers: Iterable[int], *, due_at: datetime, at: datetime) -> None:
    for reader in readers:
        payload = {"template": template, "row": row, "reader": reader}
        jobs.ask(kind=JOB, key=f"{template}:{row}:{reader}", due_at=due_at, at=at, payload=payload)
