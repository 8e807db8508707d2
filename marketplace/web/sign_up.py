"""Signing up, and confirming one's address. What is answered is the same whether an address has an account or not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import password_validators_help_text_html, validate_password
from django.core.exceptions import ValidationError
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from billing.models import PartyFact
from billing.models.party import validate_credit_code
from marketplace import limits
from marketplace import sign_up as signing_up
from marketplace.models import User, Zone
from marketplace.web import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
BACKEND = "django.contrib.auth.backends.ModelBackend"


def language() -> str:
    return get_language() or "zh-hans"


def named(zone: Zone) -> str:
    """The zone's name in the language of the page."""
    return zone.name if language() == "zh-hans" else zone.name_en


def too_often(wait_seconds: int) -> str:
    minutes = -(-wait_seconds // 60)
    said = ngettext(
        "Too many attempts. Try again in %(minutes)d minute.",
        "Too many attempts. Try again in %(minutes)d minutes.",
        minutes,
    )
    return said % {"minutes": minutes}


class PasswordField(forms.CharField):
    """A new password. `clean_password` of the form has it checked."""

    def __init__(self, **options: Any) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        super().__init__(
            strip=False, max_length=128, widget=widget, help_text=password_validators_help_text_html(), **options
        )


class ZoneField(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's class takes no parameter when it runs
    def label_from_instance(self, obj: Any) -> str:
        return named(obj)


class FirmForm(forms.Form):
    """An organization. `zone` is asked for only where there are several."""

    legal_name = forms.CharField(
        label=_("Legal name"),
        max_length=100,
        help_text=_("As on the business licence."),
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    credit_code = forms.CharField(
        label=_("Unified social credit code"),
        max_length=30,
        help_text=_("18 letters and digits, as on the business licence."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "characters"}),
    )
    sector = forms.ChoiceField(label=_("Sector"), choices=[("", "–"), *PartyFact.Sector.choices])
    size_class = forms.ChoiceField(
        label=_("Size"),
        choices=[("", "–"), *PartyFact.Size.choices],
        help_text=_("As the national standard for enterprises divides them. You can show evidence later."),
    )
    zone = ZoneField(label=_("Computing zone"), queryset=Zone.objects.order_by("code"), empty_label="–")
    parts = forms.MultipleChoiceField(
        label=_("What it wants to do here"),
        choices=[
            ("buyer", _("Buy computing power")),
            ("provider", _("Provide computing power")),
            ("funder", _("Fund the use of others")),
        ],
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *arguments: Any, zones: list[Zone], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._zones = zones
        if len(zones) == 1:
            del self.fields["zone"]

    def facts(self) -> dict[str, Any]:
        """As the verbs take them."""
        facts = self.cleaned_data
        return facts | {"zone": facts.get("zone", self._zones[0]), "parts": set(facts["parts"])}

    def clean_credit_code(self) -> str:
        code = "".join(self.cleaned_data["credit_code"].split()).upper()
        try:
            validate_credit_code(code)
        except ValidationError as error:
            said = _(
                "This is no unified social credit code: 18 letters and digits, of which the last is a check digit."
            )
            raise ValidationError(said) from error
        return code


class SignUpForm(FirmForm):
    name = forms.CharField(label=_("Your name"), max_length=100, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    email = forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        help_text=_("We send a link to it, to make sure that it is yours."),
        widget=forms.EmailInput(attrs={"autocomplete": "username"}),
    )
    password = PasswordField(label=_("Password"))

    person = ("name", "email", "password")

    def person_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.person]

    def organization_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.person]

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        about = User(email=self.cleaned_data.get("email", ""), name=self.cleaned_data.get("name", ""))
        validate_password(password, about)
        return password


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("organization")
    zones = _zones()
    if not zones:
        return render(request, "marketplace/sign_up.html", {"closed": True})
    form = SignUpForm(request.POST if request.method == "POST" else None, zones=zones)
    status = 200
    if form.is_bound and form.is_valid():
        wait_seconds = _limited(request, form.cleaned_data["email"])
        if wait_seconds:
            form.add_error(None, too_often(wait_seconds))
            status = 429
        elif _signed_up(form):
            request.session["signed_up"] = form.cleaned_data["email"]
            return redirect("signed_up")
    return render(request, "marketplace/sign_up.html", {"form": form}, status=status)


def _limited(request: HttpRequest, email: str) -> int:
    """0, or for how many seconds neither this address of the net nor this address of e-mail gets another letter."""
    asked = [
        ("sign_up from", request.META["REMOTE_ADDR"], 20, HOUR),
        ("sign_up for", email.strip().lower(), 5, HOUR),
    ]
    return limits.refused(asked, at=timezone.now())


def _zones() -> list[Zone]:
    """Two are as many as it takes to have to choose."""
    return list(Zone.objects.select_related("issuer").order_by("code")[:2])


def _signed_up(form: SignUpForm) -> bool:
    try:
        signing_up.sign_up(**form.facts(), language=language(), at=timezone.now())
    except signing_up.InvalidSignUpError as error:
        form.add_error(error.field, _("This is no name: leave out addresses and brackets."))
        return False
    return True


class SendAgainForm(forms.Form):
    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def signed_up(request: HttpRequest) -> HttpResponse:
    """Look into your mailbox. A POST has the letter sent again."""
    email = request.session.get("signed_up", "")
    form = SendAgainForm(request.POST if request.method == "POST" else None, initial={"email": email})
    status = 200
    if form.is_bound and form.is_valid():
        wait_seconds = _limited(request, form.cleaned_data["email"])
        if wait_seconds:
            form.add_error(None, too_often(wait_seconds))
            status = 429
        else:
            signing_up.send_again(email=form.cleaned_data["email"], language=language())
            request.session["signed_up"] = form.cleaned_data["email"]
            messages.success(request, gettext("If the address has signed up, the letter is on its way again."))
            return redirect("signed_up")
    return render(request, "marketplace/signed_up.html", {"form": form, "email": email}, status=status)


class ConfirmForm(forms.Form):
    password = forms.CharField(
        label=_("The password that you chose"),
        strip=False,
        max_length=128,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """The page of the link in the letter: it asks for the password, and makes what was signed up for."""
    token = request.POST.get("token", request.GET.get("token", ""))
    try:
        wish = signing_up.find(token=token)
    except signing_up.LinkExpiredError:
        return render(request, "marketplace/link_over.html", {"form": SendAgainForm(), "expired": True}, status=410)
    except signing_up.UnknownLinkError:
        return render(request, "marketplace/link_over.html", {"form": SendAgainForm()}, status=404)
    if wish.confirmed_at is not None:
        return render(request, "marketplace/confirmed.html", {"wish": wish})
    form = ConfirmForm(request.POST if request.method == "POST" else None)
    status = 200
    if form.is_bound and form.is_valid():
        wait_seconds = limits.refused([("confirm", str(wish.pk), 5, QUARTER)], at=timezone.now())
        if wait_seconds:
            form.add_error(None, too_often(wait_seconds))
            status = 429
        elif confirmed := _confirmed(form, wish):
            return _welcome(request, confirmed)
    context = {"form": form, "wish": wish, "token": token}
    return render(request, "marketplace/confirm.html", context, status=status)


def _confirmed(form: ConfirmForm, wish: Any) -> signing_up.Confirmed | None:
    try:
        return signing_up.confirm(sign_up=wish, password=form.cleaned_data["password"], at=timezone.now())
    except signing_up.WrongPasswordError:
        form.add_error("password", _("This is not the password that you chose when you signed up."))
    except signing_up.AddressTakenError:
        form.add_error(None, _("The address has got an account meanwhile: sign in."))
    return None


@require_http_methods(["GET", "HEAD", "POST"])
def register(request: HttpRequest) -> HttpResponse:
    """Another organization, for one who has signed in. The address is known to be theirs."""
    user, zones = request.user, _zones()
    if not isinstance(user, User) or not zones:
        raise Http404
    form = FirmForm(request.POST if request.method == "POST" else None, zones=zones)
    status = 200
    if form.is_bound and form.is_valid():
        wait_seconds = limits.refused([("register", str(user.pk), 5, limits.DAY)], at=timezone.now())
        if wait_seconds:
            form.add_error(None, too_often(wait_seconds))
            status = 429
        elif registered := _registered(form, user):
            return _inside(request, registered)
    return render(request, "marketplace/register.html", {"form": form}, status=status)


def _registered(form: FirmForm, user: User) -> signing_up.Confirmed | None:
    try:
        return signing_up.register(user=user, **form.facts(), at=timezone.now())
    except signing_up.InvalidSignUpError as error:
        form.add_error(error.field, _("This is no name: leave out addresses and brackets."))
        return None


def _inside(request: HttpRequest, registered: signing_up.Confirmed) -> HttpResponse:
    organization = {"organization": registered.organization.name}
    if registered.joins:
        said = gettext("%(organization)s is here already: its owners have been asked to let you join.")
    else:
        said = gettext("The zone's operator verifies %(organization)s now, and writes to you.")
        request.session[page.ORGANIZATION_IN_SESSION] = registered.organization.pk
    messages.success(request, said % organization)
    return redirect("organization")


def _welcome(request: HttpRequest, confirmed: signing_up.Confirmed) -> HttpResponse:
    login(request, confirmed.user, backend=BACKEND)
    organization = {"organization": confirmed.organization.name}
    if confirmed.joins:
        said = gettext(
            "Your address is confirmed. %(organization)s is here already: its owners have been asked to let you join."
        )
    else:
        said = gettext(
            "Your address is confirmed. The zone's operator verifies %(organization)s now, and writes to you."
        )
        request.session[page.ORGANIZATION_IN_SESSION] = confirmed.organization.pk
    messages.success(request, said % organization)
    return redirect("organization")
