"""Projects: what a buyer's reservations are for, and what they may cost in a month."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Project(models.Model):
    """A purpose within an organization, with the cost centre it is charged to and what it may cost.

    `monthly_limit_minor` (null: none) is in minor units of the zone's currency, net, counted by the month of use over what
    is held, confirmed and used. At each of `warn_percents` of it people are told; beyond it new holds are refused if
    `is_hard`.
    """

    organization = models.ForeignKey(
        "marketplace.Organization", on_delete=models.PROTECT, related_name="projects", verbose_name=_("organization")
    )
    code = models.SlugField(_("code"), max_length=40)
    name = models.CharField(_("name"), max_length=100)
    cost_centre = models.CharField(_("cost centre"), max_length=60, blank=True)
    monthly_limit_minor = models.BigIntegerField(_("monthly limit"), null=True, blank=True)
    warn_percents = ArrayField(models.PositiveSmallIntegerField(), verbose_name=_("warn at, %"), default=list)
    is_hard = models.BooleanField(_("refuse beyond the limit"), default=True)
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True)
    created_at = models.DateTimeField(_("made at"))
    actor = models.CharField(_("last changed by"), max_length=100)

    class Meta:
        ordering = ["organization_id", "code"]
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        constraints = [
            models.UniqueConstraint(fields=["organization", "code"], name="project_once"),
            models.CheckConstraint(condition=~Q(name=""), name="project_named"),
            models.CheckConstraint(
                condition=Q(monthly_limit_minor__isnull=True) | Q(monthly_limit_minor__gte=0),
                name="project_limit_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.name
