from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Membership(models.Model):
    """A user's role in an organization. A trigger, `membership_owner_stays`, keeps the last owner."""

    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")
        ENGINEER = "engineer", _("Engineer")
        FINANCE = "finance", _("Finance")
        VIEWER = "viewer", _("Viewer")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships", verbose_name=_("user")
    )
    organization = models.ForeignKey(
        "marketplace.Organization",
        on_delete=models.PROTECT,
        related_name="memberships",
        db_index=False,
        verbose_name=_("organization"),
    )
    role = models.CharField(_("role"), max_length=10, choices=Role)
    since_at = models.DateTimeField(_("since"), help_text=_("When this role was given."))
    actor = models.CharField(_("given by"), max_length=100)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=["owner", "engineer", "finance", "viewer"]), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return self.role


class MembershipChange(models.Model):
    """Who came, got another role or left: empty `from_role` or `to_role` is no membership. Append-only."""

    organization = models.ForeignKey(
        "marketplace.Organization",
        on_delete=models.PROTECT,
        related_name="membership_changes",
        verbose_name=_("organization"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="membership_changes", verbose_name=_("user")
    )
    from_role = models.CharField(_("from"), max_length=10, choices=Membership.Role, blank=True)
    to_role = models.CharField(_("to"), max_length=10, choices=Membership.Role, blank=True)
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("change of a membership")
        verbose_name_plural = _("changes of memberships")
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(from_role=models.F("to_role")), name="membership_change_changes_something"
            ),
        ]

    def __str__(self) -> str:
        return self.to_role
