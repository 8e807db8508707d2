"""What differs from an issued invoice, found and then decided on."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Adjustment(models.Model):
    """The difference between an invoice, with what corrected it before, and what it would be now: proposed, then decided.

    `lines`: by line, what it was and what it would be (billing.adjustments). Net and tax are the difference, programmes left
    aside. Approved, it waits for the account's next invoice, which its note is settled on. Issued, its `document` is the credit
    or debit note. Issued or dismissed, it stays. `returned` says why one that was approved is proposed again; its `reason` is
    then that of whoever approved it or took that back.
    """

    class Cause(models.TextChoices):
        USAGE = "usage", _("usage that came or was corrected after issue")
        DISPUTE = "dispute", _("a dispute that was upheld")

    class State(models.TextChoices):
        PROPOSED = "proposed", _("proposed")
        APPROVED = "approved", _("approved, for the next invoice")
        ISSUED = "issued", _("issued")
        DISMISSED = "dismissed", _("dismissed")

    class Returned(models.TextChoices):
        UNDONE = "undone", _("the approval was taken back")
        CHANGED = "changed", _("what differs has changed since it was approved")
        NOT_RATED = "not_rated", _("its month could not be rated when the next invoice was issued")

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
    returned = models.CharField(
        _("proposed again, because"), max_length=10, choices=Returned, blank=True, default="", db_default=""
    )
    returned_at = models.DateTimeField(_("proposed again at"), null=True, blank=True)
    returned_by = models.CharField(_("proposed again by"), max_length=100, blank=True, default="", db_default="")
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
                fields=["invoice"],
                condition=Q(state__in=["proposed", "approved"], cause="usage"),
                name="adjustment_proposed_once",
            ),
            models.CheckConstraint(
                condition=Q(state="proposed", decided_at__isnull=True, decided_by="", document__isnull=True)
                | (
                    Q(state="issued", decided_at__isnull=False, document__isnull=False)
                    & ~Q(reason="")
                    & ~Q(decided_by="")
                )
                | (
                    Q(state__in=["approved", "dismissed"], decided_at__isnull=False, document__isnull=True)
                    & ~Q(reason="")
                    & ~Q(decided_by="")
                ),
                name="adjustment_decided_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(returned="", returned_at__isnull=True, returned_by="")
                | (Q(returned_at__isnull=False) & ~Q(returned="") & ~Q(returned_by="")),
                name="adjustment_returned_is_whole",
            ),
        ]
        indexes = [models.Index(fields=["invoice"], name="adjustment_waits", condition=Q(state="approved"))]

    def __str__(self) -> str:
        return f"{self.invoice_id} {self.state}"
