"""The page of the link in an invitation: accept as who one is, or by making an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import validate_password
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from marketplace import invitations
from marketplace.models import Invitation, User
from marketplace.sign_up import InvalidSignUpError, require_name
from marketplace.web import page
from marketplace.web.sign_up import BACKEND, PasswordField, language

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class JoinForm(forms.Form):
    name = forms.CharField(label=_("Your name"), max_length=100, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    password = PasswordField(label=_("Password"))

    def __init__(self, *arguments: Any, email: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._email = email

    def clean_name(self) -> str:
        """Whoever is invited invites others in turn, and the letters say in whose name."""
        name: str = self.cleaned_data["name"]
        try:
            require_name(field="name", value=name)
        except InvalidSignUpError as error:
            raise forms.ValidationError(_("This is no name: leave out addresses and brackets.")) from error
        return name

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password, User(email=self._email, name=self.cleaned_data.get("name", "")))
        return password


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest) -> HttpResponse:
    token = request.POST.get("token", request.GET.get("token", ""))
    try:
        found = invitations.find(token=token)
    except invitations.UnknownInvitationError:
        return render(request, "marketplace/invitation_over.html", {"why": "unknown"}, status=404)
    is_theirs = isinstance(request.user, User) and request.user.email == found.email
    if over := _why_over(found):
        return _inside(request, found) if over == "accepted" and is_theirs else _over(request, found, over)
    if is_theirs and request.method == "POST":
        return _accepted(request, found)
    form, who = None, "themselves"
    if not is_theirs and request.user.is_authenticated:
        who = "another"
    elif not is_theirs and User.objects.filter(email=found.email).exists():
        who = "known"
    elif not is_theirs:
        form, who = JoinForm(request.POST if request.method == "POST" else None, email=found.email), "new"
        if form.is_bound and form.is_valid():
            return _accepted_as_new(request, found, form)
    here = f"{reverse('invitation')}?{urlencode({'token': token})}"
    context = {
        "invitation": found,
        "organization": found.organization,
        "token": token,
        "who": who,
        "form": form,
        "sign_in": f"{reverse('sign_in')}?{urlencode({'next': here})}",
    }
    return render(request, "marketplace/invitation.html", context)


def _why_over(found: Invitation) -> str:
    """accepted, revoked, expired, or nothing while it is open."""
    try:
        invitations.require_open(invitation=found, at=timezone.now())
    except invitations.InvitationAcceptedError:
        return "accepted"
    except invitations.InvitationRevokedError:
        return "revoked"
    except invitations.InvitationExpiredError:
        return "expired"
    return ""


def _over(request: HttpRequest, found: Invitation, why: str) -> HttpResponse:
    context = {"why": why, "organization": found.organization}
    return render(request, "marketplace/invitation_over.html", context, status=410)


def _accepted(request: HttpRequest, found: Invitation) -> HttpResponse:
    user = request.user
    if isinstance(user, User):
        try:
            invitations.accept(invitation=found, user=user, at=timezone.now())
        except (invitations.InvitationRevokedError, invitations.InvitationExpiredError):
            return _over(request, found, "revoked")
    return _inside(request, found)


def _accepted_as_new(request: HttpRequest, found: Invitation, form: JoinForm) -> HttpResponse:
    try:
        user = invitations.accept_as_new(
            invitation=found,
            name=form.cleaned_data["name"],
            password=form.cleaned_data["password"],
            language=language(),
            at=timezone.now(),
        )
    except invitations.InvitationRevokedError:
        return _over(request, found, "revoked")
    except (invitations.AddressTakenError, invitations.InvitationAcceptedError):
        return _over(request, found, "accepted")  # by a second click, which came first
    login(request, user, backend=BACKEND)
    return _inside(request, found)


def _inside(request: HttpRequest, found: Invitation) -> HttpResponse:
    request.session[page.ORGANIZATION_IN_SESSION] = found.organization_id
    said = gettext("You are a member of %(organization)s.") % {"organization": found.organization.name}
    messages.success(request, said)
    return redirect("organization")
