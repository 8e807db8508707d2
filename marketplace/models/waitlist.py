"""Who waits for capacity that is not free, and what it may cost them."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class WaitlistEntry(models.Model):
    """A wish for `quantity` GPUs over `hours` whole hours that start in [earliest_at, latest_at], for at most `max_net_minor`.

    `reservation` is what was held for it; then the buyer confirms it as any other. Written by
    `marketplace.reservations.waitlist` alone.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        OFFERED = "offered", _("Offered")
        TAKEN = "taken", _("Taken")
        LEFT = "left", _("Left")
        EXPIRED = "expired", _("Expired")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    offering = models.ForeignKey(
        "marketplace.Offering", on_delete=models.PROTECT, related_name="waitlist", verbose_name=_("offering")
    )
    organization = models.ForeignKey(
        "marketplace.Organization", on_delete=models.PROTECT, related_name="waitlist", verbose_name=_("buyer")
    )
    project = models.ForeignKey(
        "marketplace.Project",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="waitlist",
        verbose_name=_("project"),
    )
    quantity = models.PositiveIntegerField(_("GPUs"))
    hours = models.PositiveIntegerField(_("hours"))
    earliest_at = models.DateTimeField(_("starts at the earliest"))
    latest_at = models.DateTimeField(_("starts at the latest"))
    max_net_minor = models.BigIntegerField(_("highest price"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    reservation = models.OneToOneField(
        "marketplace.Reservation",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="waitlist_entry",
        verbose_name=_("reservation"),
    )
    reason = models.CharField(_("why not yet"), max_length=500, blank=True)
    created_at = models.DateTimeField(_("since"))
    state_at = models.DateTimeField(_("state since"))
    actor = models.CharField(_("made by"), max_length=100)

    class Meta:
        ordering = ["created_at", "id"]
        verbose_name = _("waitlist entry")
        verbose_name_plural = _("waitlist entries")
        constraints = [
            models.CheckConstraint(condition=Q(latest_at__gte=F("earliest_at")), name="waitlist_latest_after_earliest"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1) & Q(hours__gte=1) & Q(max_net_minor__gte=0), name="waitlist_amounts"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "offered", "taken", "left", "expired"]), name="waitlist_state_known"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["offered", "taken"]) | Q(reservation__isnull=False),
                name="waitlist_offered_has_reservation",
            ),
        ]
        indexes = [
            models.Index(
                fields=["offering", "created_at", "id"], condition=Q(state="waiting"), name="waitlist_waiting"
            ),
            models.Index(fields=["state_at"], condition=Q(state="offered"), name="waitlist_offered"),
        ]

    def __str__(self) -> str:
        return str(self.id)
