"""What was sent and is no usage: events in conflict with an earlier one, and events that can't be right."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class EventProblem(models.Model):
    """One event that was not stored, and why: what was first said of it, and how often and until when it was sent again.

    A row for each (owner, source, id, outcome, field), so that a sender that tries again adds none. Texts are as sent, cut
    to the width of their columns; what is no text is shown as one. Of a sender with too many, those that come after are
    counted together in one row per outcome and field, which names no event: `is_rest`. Written by `billing.problems`
    alone; a trigger, `event_problem_only_grows`, keeps what was first said.
    """

    class Outcome(models.TextChoices):
        CONFLICT = "conflict", _("Conflict")
        REJECTED = "rejected", _("Rejected")

    owner = models.ForeignKey(
        "billing.Party",
        on_delete=models.PROTECT,
        related_name="event_problems",
        db_index=False,
        verbose_name=_("sender"),
    )
    source = models.CharField(_("source"), max_length=255, blank=True, db_collation="C")
    event_id = models.CharField(_("event id"), max_length=255, blank=True, db_collation="C")
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome)
    field = models.CharField(_("field"), max_length=60, blank=True, db_collation="C")
    is_rest = models.BooleanField(_("others together"), default=False)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    type = models.CharField(_("type"), max_length=255, blank=True)
    subject = models.CharField(_("subject"), max_length=255, blank=True)
    time = models.CharField(_("time as sent"), max_length=64, blank=True)
    first_at = models.DateTimeField(_("first sent at"))
    last_at = models.DateTimeField(_("last sent at"))
    times = models.BigIntegerField(_("times sent"))

    class Meta:
        ordering = ["-last_at", "-id"]
        verbose_name = _("event not stored")
        verbose_name_plural = _("events not stored")
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "source", "event_id", "outcome", "field", "is_rest"], name="event_problem_once"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["conflict", "rejected"]), name="event_problem_outcome_known"
            ),
            models.CheckConstraint(condition=Q(times__gte=1), name="event_problem_was_sent"),
            models.CheckConstraint(condition=Q(last_at__gte=F("first_at")), name="event_problem_last_after_first"),
        ]
        indexes = [models.Index(fields=["last_at"], name="event_problem_last_at")]

    def __str__(self) -> str:
        return self.event_id or "–"
