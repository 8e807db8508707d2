"""The API keys of the current organization."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.db.models import Exists, OuterRef
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from marketplace import access
from marketplace import keys as api_keys
from marketplace.models import ApiKey, Membership, Organization, User
from marketplace.permissions import Permission
from marketplace.web import page

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest, HttpResponse

LIFETIMES = [("", _("Never")), ("30", _("In 30 days")), ("90", _("In 90 days")), ("365", _("In a year"))]


class MakeKey(forms.Form):
    """`scopes` offers what the maker may do, and no more."""

    name = forms.CharField(
        label=_("What it is for"), max_length=100, help_text=_("Such as: meters of hall 2. One key for each program.")
    )
    scopes = forms.MultipleChoiceField(label=_("What it may do"), widget=forms.CheckboxSelectMultiple)
    days = forms.ChoiceField(label=_("Expires"), choices=LIFETIMES, required=False)

    def __init__(self, *arguments: Any, scopes: Collection[str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        field = self.fields["scopes"]
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = [(scope, label) for scope, label in ApiKey.Scope.choices if scope in scopes]


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """The keys; a POST makes one and answers with the only page that ever shows it."""
    here = page.of(request)
    if Permission.MANAGE_KEYS not in here.permissions:
        raise Http404
    form = None
    if here.organization is not None:
        scopes = access.scopes_for(request.user, here.organization)
        form = MakeKey(request.POST if request.method == "POST" else None, scopes=scopes)
        if form.is_bound and form.is_valid():
            return _made(request, here.organization, form)
    now = timezone.now()
    rows = access.keys_for(request.user, within=here.organization).select_related("created_by", "organization")
    membership = Membership.objects.filter(organization=OuterRef("organization"), user=OuterRef("created_by"))
    rows = rows.annotate(is_makers=Exists(membership))
    context = {"keys": [(key, _state(key, now)) for key in rows], "form": form}
    return render(request, "marketplace/keys.html", context)


def _made(request: HttpRequest, organization: Organization, form: MakeKey) -> HttpResponse:
    now = timezone.now()
    days = form.cleaned_data["days"]
    key, token = api_keys.create_key(
        organization=organization,
        name=form.cleaned_data["name"],
        scopes=form.cleaned_data["scopes"],
        at=now,
        created_by=request.user if isinstance(request.user, User) else None,
        expires_at=now + timedelta(days=int(days)) if days else None,
    )
    return render(request, "marketplace/key_made.html", {"key": key, "token": token})


@require_POST
def revoke_key(request: HttpRequest, key_id: int) -> HttpResponse:
    rows = access.keys_for(request.user, within=page.of(request).organization)
    key = get_object_or_404(rows, pk=key_id)
    api_keys.revoke_key(key=key, at=timezone.now(), actor=page.actor(request))
    messages.success(request, gettext("The key %(name)s is revoked.") % {"name": key.name})
    return redirect("keys")


def _state(key: ApiKey, now: Any) -> str:
    """active, expired or revoked."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"
