"""A new password by mail, for those who have forgotten theirs. No answer says whether an address has an account."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from axes.utils import reset as open_lock
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import validate_password
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from marketplace import limits, passwords
from marketplace.web.sign_up import PasswordField, SendAgainForm, language, too_often

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from marketplace.models import User

HOUR = timedelta(hours=1)


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reset_password(request: HttpRequest) -> HttpResponse:
    """Ask for the letter."""
    form = SendAgainForm(request.POST if request.method == "POST" else None)
    status = 200
    if form.is_bound and form.is_valid():
        email = form.cleaned_data["email"].strip().lower()
        asked = [("reset from", request.META["REMOTE_ADDR"], 20, HOUR), ("reset for", email, 5, HOUR)]
        wait_seconds = limits.refused(asked, at=timezone.now())
        if wait_seconds:
            form.add_error(None, too_often(wait_seconds))
            status = 429
        else:
            passwords.ask_for_link(email=email, language=language(), at=timezone.now())
            said = gettext(
                "If %(email)s has an account here, a letter with a link is on its way. It is good for an hour."
            )
            messages.success(request, said % {"email": email})
            return redirect("reset_password")
    return render(request, "marketplace/reset_password.html", {"form": form}, status=status)


class NewPasswordForm(forms.Form):
    password = PasswordField(label=_("New password"))

    def __init__(self, *arguments: Any, user: User, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password, self._user)
        return password


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new_password(request: HttpRequest) -> HttpResponse:
    """The page of the link in the letter. It signs nobody in: the lock-out and the second factor stand where they are."""
    parameters = {name: request.POST.get(name, request.GET.get(name, "")) for name in ("user", "token")}
    user = passwords.find(**parameters)
    if user is None:
        return render(request, "marketplace/new_password.html", {"form": None}, status=410)
    form = NewPasswordForm(request.POST if request.method == "POST" else None, user=user)
    if form.is_bound and form.is_valid():
        if passwords.set_password(**parameters, password=form.cleaned_data["password"], language=language()):
            open_lock(username=user.email)
            messages.success(request, gettext("Your password is changed. Sign in with the new one."))
            return redirect("sign_in")
        return render(request, "marketplace/new_password.html", {"form": None}, status=410)
    return render(
        request,
        "marketplace/new_password.html",
        {"form": form, "person": user, "user_code": parameters["user"], "token": parameters["token"]},
    )
