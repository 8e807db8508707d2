"""What is for sale: a pool under a tariff, on terms."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class OfferingQuerySet(models.QuerySet["Offering"]):
    def on_sale(self) -> OfferingQuerySet:
        """Those that buyers find and may reserve."""
        return self.filter(state=Offering.State.PUBLISHED)


class Offering(models.Model):
    """A pool sold under a tariff: how much, for how long, how soon, on which terms.

    Quantities are GPUs, durations whole hours. `cancellation_terms`: [{"hours": 168, "percent": "0"}, {"hours": 0,
    "percent": "50"}], falling by hours: who cancels at least so many hours before the start pays so many percent of the
    price of what is cancelled; nearer than the last one's, 100. Written by `marketplace.catalog` alone.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        SUBMITTED = "submitted", _("Waiting for approval")
        PUBLISHED = "published", _("On sale")
        PAUSED = "paused", _("Paused")
        RETIRED = "retired", _("Retired")

    pool = models.ForeignKey(
        "marketplace.CapacityPool", on_delete=models.PROTECT, related_name="offerings", verbose_name=_("pool")
    )
    tariff = models.ForeignKey(
        "billing.Tariff", on_delete=models.PROTECT, related_name="offerings", verbose_name=_("tariff")
    )
    code = models.SlugField(_("code"), max_length=60, unique=True)
    name = models.CharField(_("name"), max_length=100)
    name_en = models.CharField(_("English name"), max_length=100, blank=True)
    description = models.TextField(_("description"), max_length=4000, blank=True)
    description_en = models.TextField(_("English description"), max_length=4000, blank=True)
    min_quantity = models.PositiveIntegerField(_("least GPUs"), default=1)
    max_quantity = models.PositiveIntegerField(_("most GPUs"))
    step = models.PositiveIntegerField(_("step, GPUs"), default=1)
    min_hours = models.PositiveIntegerField(_("least hours"), default=1)
    max_hours = models.PositiveIntegerField(_("most hours"), default=2160)
    lead_hours = models.PositiveIntegerField(_("lead time, hours"), default=0)
    cancellation_terms = models.JSONField(_("cancellation terms"), default=list)
    service_level_percent = models.DecimalField(
        _("service level, %"), max_digits=6, decimal_places=3, null=True, blank=True
    )
    service_credit_percent = models.DecimalField(
        _("service credit, %"), max_digits=5, decimal_places=2, null=True, blank=True
    )
    terms = models.TextField(_("terms"), max_length=10_000, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    state_reason = models.CharField(_("reason"), max_length=500, blank=True)
    state_at = models.DateTimeField(_("since"))
    created_at = models.DateTimeField(_("made at"))
    actor = models.CharField(_("last changed by"), max_length=100)

    objects = OfferingQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        verbose_name = _("offering")
        verbose_name_plural = _("offerings")
        constraints = [
            models.CheckConstraint(
                condition=Q(min_quantity__gte=1) & Q(max_quantity__gte=F("min_quantity")),
                name="offering_quantity_range",
            ),
            models.CheckConstraint(
                condition=Q(min_hours__gte=1) & Q(max_hours__gte=F("min_hours")), name="offering_hours_range"
            ),
            models.CheckConstraint(condition=Q(step__gte=1), name="offering_step"),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "submitted", "published", "paused", "retired"]),
                name="offering_state_known",
            ),
            models.CheckConstraint(condition=~Q(name="") & ~Q(code=""), name="offering_named"),
        ]
        indexes = [models.Index(fields=["pool"], condition=Q(state="published"), name="offering_on_sale")]

    def __str__(self) -> str:
        return self.code


class OfferingChange(models.Model):
    """What became of an offering: each change of state with its reason. Append-only."""

    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="changes")
    from_state = models.CharField(_("from"), max_length=10, choices=Offering.State, blank=True)
    to_state = models.CharField(_("to"), max_length=10, choices=Offering.State)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("change of an offering")
        verbose_name_plural = _("changes of offerings")

    def __str__(self) -> str:
        return self.to_state
