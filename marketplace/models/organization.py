from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Organization(models.Model):
    """A member of a zone: buyer, provider, funder or operator, and maybe several of them.

    One that signed itself up is pending until staff have verified it: it sees what is for sale, and neither reserves nor
    sells. One that is suspended starts nothing new.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("Waiting for verification")
        VERIFIED = "verified", _("Verified")
        REFUSED = "refused", _("Refused")
        SUSPENDED = "suspended", _("Suspended")

    zone = models.ForeignKey(
        "marketplace.Zone", on_delete=models.PROTECT, related_name="organizations", verbose_name=_("zone")
    )
    party = models.OneToOneField(
        "billing.Party", on_delete=models.PROTECT, related_name="organization", verbose_name=_("legal person")
    )
    name = models.CharField(_("name"), max_length=100)
    is_buyer = models.BooleanField(_("buyer"), default=False)
    is_provider = models.BooleanField(_("provider"), default=False)
    is_funder = models.BooleanField(_("funder"), default=False)
    is_operator = models.BooleanField(_("operator"), default=False)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.VERIFIED)
    state_reason = models.CharField(_("reason"), max_length=500, blank=True)
    state_at = models.DateTimeField(_("since"), null=True, blank=True)
    state_actor = models.CharField(_("decided by"), max_length=100, blank=True)

    class Meta:
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="organization_named"),
            models.CheckConstraint(
                condition=Q(is_buyer=True) | Q(is_provider=True) | Q(is_funder=True) | Q(is_operator=True),
                name="organization_does_something",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "verified", "refused", "suspended"]), name="organization_state_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class OrganizationChange(models.Model):
    """One change of an organization's state: who, when and why. Append-only."""

    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="changes", verbose_name=_("organization")
    )
    from_state = models.CharField(_("from"), max_length=10, choices=Organization.State, blank=True)
    to_state = models.CharField(_("to"), max_length=10, choices=Organization.State)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("change of an organization")
        verbose_name_plural = _("changes of organizations")

    def __str__(self) -> str:
        return self.to_state
