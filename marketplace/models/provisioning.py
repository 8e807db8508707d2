"""What is done so that a reservation runs: what the controller asked for and saw, what people do by hand, access."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Provision(models.Model):
    """What the controller has asked of a backend for one reservation, and what it saw of it. Written by the controller alone.

    `asked` is written before the backend is called, and `asked_at` with it; `taken_at` after the backend took it. `due_at`: when it was to run, the reservation's
    start or, if a suspended buyer came back later, then. `running_at`: since when it was ready. `over_at`: it has ended, and
    nothing more is looked at. `error` is the backend's last one, empty after a success.
    """

    class Verb(models.TextChoices):
        START = "start", _("Start")
        STOP = "stop", _("Stop")
        SUSPEND = "suspend", _("Suspend")
        RESUME = "resume", _("Resume")

    class Seen(models.TextChoices):
        ABSENT = "absent", _("Not running")
        RUNNING = "running", _("Running")
        SUSPENDED = "suspended", _("Suspended")

    reservation = models.OneToOneField(
        "marketplace.Reservation", on_delete=models.PROTECT, primary_key=True, related_name="provision"
    )
    asked = models.CharField(_("asked for"), max_length=10, choices=Verb, blank=True)
    asked_at = models.DateTimeField(_("asked at"), null=True, blank=True)
    taken_at = models.DateTimeField(_("taken at"), null=True, blank=True)
    due_at = models.DateTimeField(_("due at"))
    seen = models.CharField(_("seen"), max_length=10, choices=Seen, default=Seen.ABSENT)
    seen_at = models.DateTimeField(_("seen at"))
    running_at = models.DateTimeField(_("ready at"), null=True, blank=True)
    over_at = models.DateTimeField(_("over at"), null=True, blank=True)
    error = models.CharField(_("last error"), max_length=500, blank=True)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)

    class Meta:
        ordering = ["due_at", "reservation_id"]
        verbose_name = _("provisioning")
        verbose_name_plural = _("provisioning")
        constraints = [
            models.CheckConstraint(
                condition=Q(asked="", asked_at__isnull=True) | (~Q(asked="") & Q(asked_at__isnull=False)),
                name="provision_asked_at",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(over_at__isnull=True), name="provision_not_over"),
        ]

    def __str__(self) -> str:
        return str(self.reservation_id)


class ProvisioningTask(models.Model):
    """What people of a provider are to do by hand for a reservation, at `due_at`; open until they tick it off.

    A task that is no longer needed is void. Written by `marketplace.provisioning.manual` alone.
    """

    class State(models.TextChoices):
        OPEN = "open", _("To do")
        DONE = "done", _("Done")
        VOID = "void", _("No longer needed")

    reservation = models.ForeignKey(
        "marketplace.Reservation", on_delete=models.PROTECT, related_name="tasks", verbose_name=_("reservation")
    )
    kind = models.CharField(_("what"), max_length=10, choices=Provision.Verb)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    due_at = models.DateTimeField(_("due at"))
    created_at = models.DateTimeField(_("asked at"))
    ended_at = models.DateTimeField(_("done at"), null=True, blank=True)
    ended_by = models.CharField(_("done by"), max_length=100, blank=True)
    note = models.CharField(_("note"), max_length=500, blank=True)

    class Meta:
        ordering = ["due_at", "id"]
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        constraints = [
            models.UniqueConstraint(
                fields=["reservation"], condition=Q(state="open"), name="provisioning_task_one_open"
            ),
            models.CheckConstraint(
                condition=Q(state="open", ended_at__isnull=True)
                | Q(state__in=["done", "void"], ended_at__isnull=False),
                name="provisioning_task_ended_at",
            ),
        ]
        indexes = [models.Index(fields=["due_at"], condition=Q(state="open"), name="provisioning_task_open")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {str(self.reservation_id)[:8]}"


class Credential(models.Model):
    """Access that a provider hands over to a buyer. `sealed` is encrypted; it is erased when it is shown, once, or replaced,
    or when the reservation ends. Who was shown it and when stays. Written by `marketplace.provisioning.credentials` alone.
    """

    reservation = models.ForeignKey(
        "marketplace.Reservation", on_delete=models.PROTECT, related_name="credentials", verbose_name=_("reservation")
    )
    sealed = models.TextField(editable=False)
    handed_at = models.DateTimeField(_("handed over at"))
    handed_by = models.CharField(_("handed over by"), max_length=100)
    shown_at = models.DateTimeField(_("shown at"), null=True, blank=True)
    shown_to = models.CharField(_("shown to"), max_length=100, blank=True)
    erased_at = models.DateTimeField(_("erased at"), null=True, blank=True)

    class Meta:
        ordering = ["reservation_id", "id"]
        verbose_name = _("access")
        verbose_name_plural = _("access")
        constraints = [
            models.UniqueConstraint(
                fields=["reservation"], condition=Q(erased_at__isnull=True), name="credential_one_sealed"
            ),
            models.CheckConstraint(
                condition=(Q(erased_at__isnull=True) & ~Q(sealed="") & Q(shown_at__isnull=True))
                | Q(erased_at__isnull=False, sealed=""),
                name="credential_erased_when_shown",
            ),
            models.CheckConstraint(
                condition=Q(shown_at__isnull=True) | (Q(erased_at=F("shown_at")) & ~Q(shown_to="")),
                name="credential_shown_to_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reservation_id} {self.handed_at.isoformat()}"
