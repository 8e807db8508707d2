"""What a buyer disputes of an invoice's line, and what came of it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Dispute(models.Model):
    """A buyer's objection to a line of an issued document, for `net_minor` of its net.

    `held_minor` is what the buyer would pay of that, tax included: it is not collected as long as the dispute is open. One
    is open for a line. Upheld, its `adjustment` says how much was credited; answered or withdrawn, it stays.
    """

    class State(models.TextChoices):
        OPEN = "open", _("waits for an answer")
        UPHELD = "upheld", _("upheld")
        REJECTED = "rejected", _("rejected")
        WITHDRAWN = "withdrawn", _("withdrawn")

    line = models.ForeignKey(
        "billing.InvoiceLine", on_delete=models.PROTECT, related_name="disputes", verbose_name=_("line")
    )
    invoice = models.ForeignKey(
        "billing.Invoice", on_delete=models.PROTECT, related_name="disputes", verbose_name=_("invoice")
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    net_minor = models.BigIntegerField(_("disputed, net, in minor units"))
    held_minor = models.BigIntegerField(_("held back, in minor units"))
    reason = models.TextField(_("reason"))
    opened_at = models.DateTimeField(_("opened at"))
    opened_by = models.CharField(_("opened by"), max_length=100)
    answer = models.TextField(_("answer"), blank=True)
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)
    answered_by = models.CharField(_("answered by"), max_length=100, blank=True)
    adjustment = models.OneToOneField(
        "billing.Adjustment",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="dispute",
        verbose_name=_("adjustment"),
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = _("dispute")
        verbose_name_plural = _("disputes")
        constraints = [
            models.UniqueConstraint(fields=["line"], condition=Q(state="open"), name="dispute_open_once"),
            models.CheckConstraint(
                condition=Q(net_minor__gt=0, held_minor__gte=0) & ~Q(reason=""), name="dispute_says_what_and_why"
            ),
            models.CheckConstraint(
                condition=Q(state="open", answered_at__isnull=True, answered_by="", answer="", adjustment__isnull=True)
                | (
                    Q(state="upheld", answered_at__gte=F("opened_at"), adjustment__isnull=False)
                    & ~Q(answer="")
                    & ~Q(answered_by="")
                )
                | (
                    Q(state="rejected", answered_at__gte=F("opened_at"), adjustment__isnull=True)
                    & ~Q(answer="")
                    & ~Q(answered_by="")
                )
                | (
                    Q(state="withdrawn", answered_at__gte=F("opened_at"), answer="", adjustment__isnull=True)
                    & ~Q(answered_by="")
                ),
                name="dispute_answered_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice_id} {self.state}"
