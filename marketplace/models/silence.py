"""Meters that should report and don't."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class MeterSilence(models.Model):
    """A contract that has capacity reserved and sends nothing on a meter of its tariff: from `since_at` until `ended_at`.

    `since_at` is the end of the last interval with a reading, or the start of what is reserved if that is later;
    `last_event_at` is the time of the newest event, null if there never was one. Written by `marketplace.silences` alone.
    """

    contract = models.ForeignKey(
        "billing.Contract", on_delete=models.PROTECT, related_name="silences", verbose_name=_("contract")
    )
    meter = models.ForeignKey(
        "billing.Meter", on_delete=models.PROTECT, related_name="silences", verbose_name=_("meter")
    )
    since_at = models.DateTimeField(_("silent since"))
    last_event_at = models.DateTimeField(_("newest event at"), null=True, blank=True)
    found_at = models.DateTimeField(_("found at"))
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    class Meta:
        ordering = ["since_at", "id"]
        verbose_name = _("silent meter")
        verbose_name_plural = _("silent meters")
        constraints = [
            models.UniqueConstraint(
                fields=["contract", "meter"], condition=Q(ended_at__isnull=True), name="meter_silence_open_once"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("since_at")),
                name="meter_silence_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return self.since_at.isoformat()
