"""The people who sign in, by their e-mail address."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class UserManager(BaseUserManager["User"]):
    """Finds and makes users whatever the case of the letters in their address."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").strip().lower())

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Make a user; without a password one who can't sign in until it is set. Raise IntegrityError `user_email_once`."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, **({"is_staff": True, "is_superuser": True} | fields))


class User(AbstractBaseUser, PermissionsMixin):
    """A person. `email` is kept in lower case, so that one address is one user. `language` is empty until chosen.

    `second_factor_since` says beside the user, who is read with each request, whether there is a second factor; written
    by `marketplace.second_factor` alone.
    """

    class Language(models.TextChoices):
        CHINESE = "zh-hans", "简体中文"
        ENGLISH = "en", "English"

    email = models.EmailField(_("e-mail address"), max_length=254)
    name = models.CharField(_("name"), max_length=100, blank=True)
    language = models.CharField(_("language"), max_length=10, choices=Language, blank=True)
    is_staff = models.BooleanField(
        _("staff"), default=False, help_text=_("Sees every organization, and the admin site.")
    )
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("Take this away instead of deleting a user.")
    )
    second_factor_since = models.DateTimeField(_("second factor since"), null=True, blank=True, editable=False)
    date_joined = models.DateTimeField(_("date joined"), default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.UniqueConstraint(
                fields=["email"],
                name="user_email_once",
                violation_error_message=_("A user with this e-mail address already exists."),
            ),
            models.CheckConstraint(condition=Q(email=Lower("email")) & ~Q(email=""), name="user_email_lower_case"),
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = self.email.strip().lower()

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name or self.email
