"""How people and organizations come in: signing up, invitations, asking to join."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from billing.models import PartyFact
from marketplace.models.membership import Membership


class SignUp(models.Model):
    """A person with an organization who has not yet shown that the address is theirs. Nothing else is stored before.

    `password` is hashed, and emptied once the address is confirmed. `parts` are of marketplace.people.PARTS. Several may
    wait for one address: each is confirmed with its own link and its own password.
    """

    email = models.EmailField(_("e-mail address"), max_length=254)
    name = models.CharField(_("name"), max_length=100)
    password = models.CharField(max_length=128, editable=False)
    language = models.CharField(_("language"), max_length=10)
    zone = models.ForeignKey("marketplace.Zone", on_delete=models.PROTECT, related_name="+", verbose_name=_("zone"))
    legal_name = models.CharField(_("legal name"), max_length=200)
    credit_code = models.CharField(_("unified social credit code"), max_length=18)
    parts = ArrayField(models.CharField(max_length=10), verbose_name=_("parts"))
    sector = models.CharField(_("sector"), max_length=30, choices=PartyFact.Sector)
    size_class = models.CharField(_("size class"), max_length=10, choices=PartyFact.Size)
    created_at = models.DateTimeField(_("signed up at"))
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="sign_ups",
        verbose_name=_("user"),
    )

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("sign-up")
        verbose_name_plural = _("sign-ups")
        constraints = [
            models.CheckConstraint(condition=Q(email=Lower("email")) & ~Q(email=""), name="sign_up_email_lower_case"),
            models.CheckConstraint(
                condition=Q(confirmed_at__isnull=True, user__isnull=True)
                | Q(confirmed_at__isnull=False, user__isnull=False, password=""),
                name="sign_up_confirmed_has_user",
            ),
        ]
        indexes = [models.Index(fields=["email"], condition=Q(confirmed_at__isnull=True), name="sign_up_waiting")]

    def __str__(self) -> str:
        return self.email


class Invitation(models.Model):
    """A way into an organization for one address. The token is not kept: `token_sha256` is, of 32 random bytes.

    Open until accepted, revoked or, at `expires_at`, expired. Sent again, it has another token and the old one is void.
    """

    organization = models.ForeignKey(
        "marketplace.Organization",
        on_delete=models.PROTECT,
        related_name="invitations",
        verbose_name=_("organization"),
    )
    email = models.EmailField(_("e-mail address"), max_length=254)
    role = models.CharField(_("role"), max_length=10, choices=Membership.Role)
    language = models.CharField(_("language"), max_length=10)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("invited at"))
    expires_at = models.DateTimeField(_("expires at"))
    actor = models.CharField(_("invited by"), max_length=100)
    accepted_at = models.DateTimeField(_("accepted at"), null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("accepted by"),
    )
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_open_once",
            ),
            models.CheckConstraint(
                condition=Q(email=Lower("email")) & ~Q(email=""), name="invitation_email_lower_case"
            ),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "engineer", "finance", "viewer"]), name="invitation_role_known"
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="invitation_expires_later"),
            models.CheckConstraint(
                condition=Q(accepted_at__isnull=True) | Q(accepted_by__isnull=False, revoked_at__isnull=True),
                name="invitation_accepted_by_someone",
            ),
        ]

    def __str__(self) -> str:
        return self.email


class JoinRequest(models.Model):
    """Somebody whose organization is here already asks to become a member. Its owners decide, or staff."""

    class State(models.TextChoices):
        ASKED = "asked", _("Asked")
        APPROVED = "approved", _("Approved")
        REFUSED = "refused", _("Refused")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="join_requests", verbose_name=_("user")
    )
    organization = models.ForeignKey(
        "marketplace.Organization",
        on_delete=models.PROTECT,
        related_name="join_requests",
        verbose_name=_("organization"),
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.ASKED)
    created_at = models.DateTimeField(_("asked at"))
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    actor = models.CharField(_("decided by"), max_length=100, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        verbose_name = _("request to join")
        verbose_name_plural = _("requests to join")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organization"], condition=Q(state="asked"), name="join_request_open_once"
            ),
            models.CheckConstraint(
                condition=Q(state="asked", decided_at__isnull=True)
                | Q(state__in=["approved", "refused"], decided_at__isnull=False),
                name="join_request_decided",
            ),
        ]

    def __str__(self) -> str:
        return self.state
