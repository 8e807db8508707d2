from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class ApiKey(models.Model):
    """A program's way in, in the name of an organization. The key itself is not kept: `secret_sha256` is.

    A plain SHA-256 is right here, as it isn't for passwords: the secret is 32 random bytes, so there is nothing to guess
    and nothing that a slow hash would slow but our own requests. `prefix` is public: it finds the row and names the key.
    `last_used_at` is at most a minute behind.

    `created_by` is the member in whose name it works, and it does not outlive that membership. `parent` is the key that
    made it over the API, and is revoked with it.
    """

    class Scope(models.TextChoices):
        USAGE_WRITE = "usage:write", _("Send usage")
        USAGE_READ = "usage:read", _("Read usage")
        BILLING_READ = "billing:read", _("Read bills")
        BILLING_WRITE = "billing:write", _("Dispute bills, and claim what programmes pay")
        RESERVATIONS_WRITE = "reservations:write", _("Reserve capacity")
        PROJECTS_WRITE = "projects:write", _("Change projects and budgets")
        SUPPLY_WRITE = "supply:write", _("Change what is offered")
        ORGANIZATION_READ = "organization:read", _("Read the organization, its members and projects")
        ORGANIZATION_WRITE = "organization:write", _("Change the organization, its members and facts")
        KEYS_WRITE = "keys:write", _("Make and revoke API keys")

    class Why(models.TextChoices):
        BY_HAND = "by_hand", _("by hand")
        MEMBER_LEFT = "member_left", _("its maker left the organization")
        ROLE_CHANGED = "role_changed", _("its maker's role changed")
        PARENT = "parent", _("the key that made it was revoked")

    organization = models.ForeignKey(
        "marketplace.Organization",
        on_delete=models.PROTECT,
        related_name="api_keys",
        verbose_name=_("organization"),
    )
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("prefix"), max_length=12, db_collation="C", editable=False)
    secret_sha256 = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope), verbose_name=_("scopes"))
    created_at = models.DateTimeField(_("made at"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("made by"),
        help_text=_("Empty for a key made on the command line."),
    )
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children", verbose_name=_("made by key")
    )
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)
    revoked_by = models.CharField(_("revoked by"), max_length=100, blank=True)
    revoked_because = models.CharField(_("reason"), max_length=20, choices=Why, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.UniqueConstraint(fields=["prefix"], name="api_key_prefix_once"),
            models.CheckConstraint(condition=~Q(name=""), name="api_key_named"),
            models.CheckConstraint(
                condition=Q(
                    scopes__contained_by=[
                        "usage:write",
                        "usage:read",
                        "billing:read",
                        "billing:write",
                        "reservations:write",
                        "projects:write",
                        "supply:write",
                        "organization:read",
                        "organization:write",
                        "keys:write",
                    ],
                    scopes__len__gte=1,
                ),
                name="api_key_scopes_known",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")), name="api_key_expires_later"
            ),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=False) | Q(revoked_by="", revoked_because=""),
                name="api_key_revoked_by_someone",
            ),
            models.CheckConstraint(condition=Q(secret_sha256__regex="^[0-9a-f]{64}$"), name="api_key_hash_whole"),  # noqa: S106  - a pattern
        ]

    def __str__(self) -> str:
        return f"suanli_{self.prefix}"

    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes
