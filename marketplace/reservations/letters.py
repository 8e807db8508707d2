"""Who waits is told by e-mail that something is held for them: one job for each reader, asked for with the hold."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from marketplace import jobs, mail
from marketplace.models import Membership, User, WaitlistEntry

if TYPE_CHECKING:
    from datetime import datetime

JOB = "waitlist_letter"


def offered(*, entry: WaitlistEntry, at: datetime) -> None:
    """To the buyer's owners and engineers."""
    roles = [Membership.Role.OWNER, Membership.Role.ENGINEER]
    members = Membership.objects.filter(organization=entry.organization_id, role__in=roles, user__is_active=True)
    for reader in members.order_by("user_id").values_list("user_id", flat=True):
        payload = {"entry": str(entry.pk), "reader": reader}
        jobs.ask(kind=JOB, key=f"{entry.pk}:{reader}", due_at=at, at=at, payload=payload)


def post(*, entry: str, reader: int) -> None:
    """Send one letter; nothing if the offer is over, or the reader has left."""
    user = User.objects.filter(pk=reader, is_active=True).first()
    row = WaitlistEntry.objects.select_related("reservation__pool__site", "reservation__organization").get(pk=entry)
    if user is None or row.state != WaitlistEntry.State.OFFERED or row.reservation is None:
        return
    language = user.language or settings.LANGUAGE_CODE
    reservation = row.reservation
    context = {
        "reservation": reservation,
        "hours": (reservation.end_at - reservation.start_at) // timedelta(hours=1),
        "address": settings.PUBLIC_URL + reverse("reservation", args=[reservation.pk]),
    }
    with translation.override(language):
        subject = _("%(quantity)s GPUs at %(pool)s are held for you") % {
            "quantity": row.quantity,
            "pool": reservation.pool.name,
        }
    mail.send(to=user.email, subject=subject, template="waitlist_offered", context=context, language=language)
