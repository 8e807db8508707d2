"""What differs from an issued invoice, found and then decided on."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Adjustment(models.Model):
    """The difference between an invoice, with what corrected it before, and what it would be now: proposed, then decided.

    `lines`: by line, what it was and what it would be (billing.adjustments). Net and tax are the difference, programmes left
    aside. Issued, its `document` is the credit or debit note; decided, it stays.
    """

    class Cause(models.TextChoices):
        USAGE = "usage", _("usage that came or was corrected after issue")
        DISPUTE = "dispute", _("a dispute that was upheld")

    class State(models.TextChoices):
        PROPOSED = "proposed", _("proposed")
        ISSUED = "issued", _("issued")
        DISMISSED = "dismissed", _("dismissed")

    invoice = models.ForeignKey(
        "billing.Invoice", on_delete=models.PROTECT, related_name="adjustments", verbose_name=_("invoice")
    )
    cause = models.CharField(_("cause"), max_length=10, choices=Cause)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    lines = models.JSONField(_("lines"))
    net_minor = models.BigIntegerField(_("net, in minor units"))
    tax_minor = models.BigIntegerField(_("tax, in minor units"))
    events_recorded = models.PositiveIntegerField(_("events that came later"), default=0)
    events_corrected = models.PositiveIntegerField(_("events that were corrected later"), default=0)
    found_at = models.DateTimeField(_("found at"))
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decided_by = models.CharField(_("decided by"), max_length=100, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    document = models.OneToOneField(
        "billing.Invoice",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="adjustment",
        verbose_name=_("document"),
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = _("adjustment")
        verbose_name_plural = _("adjustments")
        constraints = [
            models.UniqueConstraint(
                fields=["invoice"], condition=Q(state="proposed", cause="usage"), name="adjustment_proposed_once"
            ),
            models.CheckConstraint(
                condition=Q(state="proposed", decided_at__isnull=True, decided_by="", document__isnull=True)
                | (
                    Q(state="issued", decided_at__isnull=False, document__isnull=False)
                    & ~Q(reason="")
                    & ~Q(decided_by="")
                )
                | (
                    Q(state="dismissed", decided_at__isnull=False, document__isnull=True)
                    & ~Q(reason="")
                    & ~Q(decided_by="")
                ),
                name="adjustment_decided_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice_id} {self.state}"
