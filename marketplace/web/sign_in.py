"""Signing in and out, one's password, and the choice of language and look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.shortcuts import render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

from marketplace.models import User
from marketplace.web import page
from marketplace.web.second_factor import before_second_factor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse


class SignInForm(AuthenticationForm):
    """E-mail address and password. `username` is what Django's and axes' machinery call the former."""

    username = forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autofocus": True, "autocomplete": "username"}),
    )
    error_messages = {  # noqa: RUF012  - Django's attribute
        "invalid_login": _("The e-mail address and the password do not belong together."),
        "inactive": _("The e-mail address and the password do not belong together."),
    }

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        """Attempts on one account from one address take turns: none is let past the limit while another is counted."""
        refused: ValidationError | None = None
        with transaction.atomic():
            _take_turn(f"{account_named(self.request, self.cleaned_data)} {self.request.META['REMOTE_ADDR']}")
            try:
                super().clean()
            except ValidationError as error:
                refused = error  # raised outside, since the failure that axes has counted must be committed
        if refused is not None:
            raise refused
        return self.cleaned_data


def _take_turn(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"sign_in {key}"])


def account_named(request: HttpRequest | None, credentials: Mapping[str, Any] | None) -> str:
    """The account that an attempt is counted on: one address in whatever letters is one account."""
    given = credentials or (request.POST if request else {})
    return str(given.get("username") or given.get("email") or "").strip().lower()[:254]


@method_decorator([login_not_required, never_cache], name="dispatch")
class SignIn(LoginView):
    form_class = SignInForm
    template_name = "marketplace/sign_in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        user = form.get_user()
        if isinstance(user, User) and user.language:
            _remember_language(response, user.language)
        return response


def locked_out(
    request: HttpRequest, _response: HttpResponse | None = None, _credentials: Mapping[str, Any] | None = None
) -> HttpResponse:
    """The answer to too many failures, the same whether the account exists or not."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    minutes = seconds // 60
    message = ngettext(
        "Too many attempts. Signing in is locked for %(minutes)d minute.",
        "Too many attempts. Signing in is locked for %(minutes)d minutes.",
        minutes,
    ) % {"minutes": minutes}
    context = {"form": SignInForm(request), "locked_out": message}
    response = render(request, "marketplace/sign_in.html", context, status=429)
    response["Retry-After"] = str(seconds)
    return response


class ChangePassword(PasswordChangeView):
    template_name = "marketplace/password.html"
    success_url = reverse_lazy("password")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        messages.success(self.request, gettext("Your password is changed. Other devices have been signed out."))
        return response


@before_second_factor
@login_not_required
@require_POST
def switch_language(request: HttpRequest) -> HttpResponse:
    """Django's own switch, remembered for the user wherever it signs in next."""
    language = request.POST.get("language", "")
    if language not in dict(settings.LANGUAGES):  # Django itself would keep any language that it has texts for
        return page.back(request)
    response = set_language(request)
    if isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(language=language)
    return response


@before_second_factor
@login_not_required
@require_POST
def switch_theme(request: HttpRequest) -> HttpResponse:
    response = page.back(request)
    theme = request.POST.get("theme", "")
    if theme in page.THEMES:
        _remember(response, page.THEME_COOKIE, theme)
    return response


def _remember_language(response: HttpResponse, language: str) -> None:
    _remember(response, settings.LANGUAGE_COOKIE_NAME, language)


def _remember(response: HttpResponse, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
