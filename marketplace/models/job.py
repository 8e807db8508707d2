"""What is to be done and when, and the signs of life of those who do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from datetime import datetime


class JobQuerySet(models.QuerySet["Job"]):
    def ready(self, at: datetime) -> JobQuerySet:
        """Those that may be taken: due by now, or running under a lease that has run out."""
        return self.filter(
            Q(state=Job.State.DUE, due_at__lte=at) | Q(state=Job.State.RUNNING, locked_until__lte=at)
        ).order_by("due_at", "id")

    def held(self, *, worker: str, at: datetime) -> JobQuerySet:
        """Those that the processes of `worker` hold under a lease that has not run out."""
        return self.filter(state=Job.State.RUNNING, locked_by__startswith=f"{worker}#", locked_until__gt=at)


class Job(models.Model):
    """One thing to do, once per (kind, key). This table is the truth; the queue only wakes those who read it.

    A job is taken by `locked_by` ("worker#process") until `locked_until`; after that anyone may take it again. `attempts`
    counts how often it was taken since it was asked for or retried. `failed` is for a human to look at.
    """

    class State(models.TextChoices):
        DUE = "due", _("due")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    kind = models.CharField(_("kind"), max_length=40)
    key = models.CharField(_("key"), max_length=200, db_collation="C")
    payload = models.JSONField(_("payload"), default=dict)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DUE)
    due_at = models.DateTimeField(_("due at"))
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    locked_until = models.DateTimeField(_("held until"), null=True, blank=True)
    locked_by = models.CharField(_("held by"), max_length=200, null=True, blank=True)
    last_error = models.TextField(_("last error"), blank=True)
    retried_by = models.CharField(_("retried by"), max_length=100, blank=True)
    created_at = models.DateTimeField(_("asked for at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        constraints = [
            models.UniqueConstraint(fields=["kind", "key"], name="job_once"),
            models.CheckConstraint(condition=~Q(kind="") & ~Q(key=""), name="job_named"),
            models.CheckConstraint(
                condition=Q(state="running", locked_until__isnull=False, locked_by__isnull=False)
                | (~Q(state="running") & Q(locked_until__isnull=True, locked_by__isnull=True)),
                name="job_running_is_locked",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["done", "failed"], finished_at__isnull=False)
                | Q(state__in=["due", "running"], finished_at__isnull=True),
                name="job_finished_at",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at", "id"], condition=Q(state="due"), name="job_due"),
            models.Index(fields=["locked_until"], condition=Q(state="running"), name="job_running"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Pulse(models.Model):
    """The last canary of one worker (all the processes under one supervisor): when it was asked, and when it came through."""

    worker = models.CharField(_("worker"), max_length=150, unique=True, db_collation="C")
    asked_at = models.DateTimeField(_("asked at"))
    answered_at = models.DateTimeField(_("answered at"))

    class Meta:
        ordering = ["worker"]
        verbose_name = _("sign of life")
        verbose_name_plural = _("signs of life")

    def __str__(self) -> str:
        return self.worker
