"""The second step of signing in, and the page on which one sets up, renews and takes away one's second factor.

Between the two steps a session is nobody's: `Middleware` hides its user from every view, and leads to the step that is
missing. The few pages that may be seen there say so by `before_second_factor`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace import limits, second_factor
from marketplace.models import User

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

SHOWN_IN_SESSION = "second_factor"
SECRET_IN_SESSION = "second_factor_secret"  # noqa: S105  - a name
CODES_IN_SESSION = "recovery_codes_since"
CODES_SECONDS = 900  # how long new recovery codes are shown to the session that made them

View = TypeVar("View", bound="Callable[..., Any]")


def before_second_factor(view: View) -> View:
    """Decorator: the page is seen by those who have yet to show or set up their second factor."""
    view.before_second_factor = True  # type: ignore[attr-defined]
    return view


class Middleware:
    """Stands before LoginRequiredMiddleware. Sets `request.half_signed_in`: who has shown a password and no more.

    With a second factor shown, or none needed and none there, it costs no query but that for whether one is needed.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.half_signed_in = None  # type: ignore[attr-defined]
        user = request.user
        if isinstance(user, User) and user.is_authenticated and not _is_through(request, user):
            request.half_signed_in, request.user = user, AnonymousUser()  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _arguments: Any, _named: Any
    ) -> HttpResponse | None:
        if half(request) is None or getattr(view, "before_second_factor", False):
            return None
        name = "second_step" if second_factor.stamp(_person(request)) else "enrol"
        ask = (
            {"next": request.get_full_path()} if request.method == "GET" and request.path != reverse("sign_in") else {}
        )
        if request.path == reverse("sign_in") and request.GET.get("next"):
            ask = {"next": request.GET["next"]}
        return redirect(reverse(name) + (f"?{urlencode(ask)}" if ask else ""))


def _is_through(request: HttpRequest, user: User) -> bool:
    stamp = second_factor.stamp(user)
    if stamp:
        return bool(request.session.get(SHOWN_IN_SESSION) == stamp)
    return not second_factor.must_have(user)


def half(request: HttpRequest) -> User | None:
    """Who has shown a password, and has yet to show or set up a second factor."""
    user: User | None = request.half_signed_in  # type: ignore[attr-defined]
    return user


def _person(request: HttpRequest) -> User:
    """Who is here, through or half. A 404 for others."""
    person = half(request) or request.user
    if not isinstance(person, User):
        raise Http404
    return person


def _shown(request: HttpRequest, user: User) -> None:
    request.session[SHOWN_IN_SESSION] = second_factor.stamp(user)
    request.session.cycle_key()


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get("next", request.GET.get("next", ""))
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if wanted and is_ours else reverse("start")


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=20,
        help_text=_("Six digits, as your app shows them now. Or one of your recovery codes, of eight digits."),
        widget=forms.TextInput(
            attrs={"autofocus": True, "autocomplete": "one-time-code", "inputmode": "numeric", "class": "code-input"}
        ),
    )


class EnrolForm(CodeForm):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["code"].help_text = _("Six digits, as your app shows them now.")
        self.fields["code"].widget.attrs.pop("autofocus")


def _tried(form: forms.Form, act: Callable[[], Any]) -> bool:
    """Call `act`; what it refuses stands at the code."""
    try:
        act()
    except second_factor.WrongCodeError:
        form.add_error("code", _("The code is wrong, or was used before. Wait for the next one that the app shows."))
    except limits.TooOftenError as error:
        minutes = -(-error.wait_seconds // 60)
        said = ngettext(
            "Too many attempts. Codes are locked for %(minutes)d minute.",
            "Too many attempts. Codes are locked for %(minutes)d minutes.",
            minutes,
        )
        form.add_error("code", said % {"minutes": minutes})
        form.wait_seconds = error.wait_seconds  # type: ignore[attr-defined]
    else:
        return True
    return False


def _answer(request: HttpRequest, template: str, context: dict[str, Any], form: forms.Form) -> HttpResponse:
    wait_seconds = getattr(form, "wait_seconds", 0)
    response = render(request, template, context, status=429 if wait_seconds else 200)
    if wait_seconds:
        response["Retry-After"] = str(wait_seconds)
    return response


@before_second_factor
@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """After the password: a code."""
    user = half(request)
    if user is None:
        return redirect("start" if request.user.is_authenticated else "sign_in")
    if not second_factor.stamp(user):
        return redirect("enrol")
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        code = form.cleaned_data["code"]
        if _tried(form, lambda: second_factor.check(user=user, code=code, at=timezone.now())):
            _shown(request, user)
            return HttpResponseRedirect(_next(request))
    context = {"form": form, "person": user, "next": _next(request)}
    return _answer(request, "marketplace/second_step.html", context, form)


@before_second_factor
@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol(request: HttpRequest) -> HttpResponse:
    """Set up an app: a picture to scan, the secret as text, and a code that shows that it works."""
    user = half(request) or request.user
    if not isinstance(user, User):
        return redirect("sign_in")
    if second_factor.stamp(user):
        return redirect("second_step" if half(request) else "second_factor")
    sealed = request.session.get(SECRET_IN_SESSION)
    if sealed is None:
        sealed = request.session[SECRET_IN_SESSION] = second_factor.seal(second_factor.new_secret())
    secret = second_factor.unseal(sealed)
    form = EnrolForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        code, now = form.cleaned_data["code"], timezone.now()
        if _enrolled(form, user, secret, code, now):
            request.session.pop(SECRET_IN_SESSION, None)
            request.session[CODES_IN_SESSION] = int(now.timestamp())
            _shown(request, user)
            return redirect(f"{reverse('recovery_codes')}?{urlencode({'next': _next(request)})}")
    svg = second_factor.picture(user=user, secret=secret)
    context = {
        "form": form,
        "person": user,
        "next": _next(request),
        "must": half(request) is not None,
        "secret": " ".join(secret[place : place + 4] for place in range(0, len(secret), 4)),
        "picture": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii"),
    }
    return _answer(request, "marketplace/enrol.html", context, form)


def _enrolled(form: forms.Form, user: User, secret: str, code: str, now: Any) -> bool:
    try:
        return _tried(form, lambda: second_factor.enrol(user=user, secret=secret, code=code, at=now))
    except second_factor.AlreadyEnrolledError:
        form.add_error(None, _("A second factor was set up meanwhile, on another device. Sign in again."))
        return False


@never_cache
@require_safe
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """The new recovery codes, to the session that made them, for a quarter of an hour; with ?download as a file."""
    since = request.session.get(CODES_IN_SESSION)
    if since is None or timezone.now().timestamp() > since + CODES_SECONDS:
        return redirect("second_factor")
    codes = second_factor.recovery_codes(user=_person(request))
    if "download" in request.GET:
        text = "\r\n".join(
            [gettext("Suanli, recovery codes of %(email)s") % {"email": _person(request).email}, "", *codes]
        )
        headers = {"Content-Disposition": 'attachment; filename="suanli-recovery-codes.txt"'}
        return HttpResponse(text + "\r\n", content_type="text/plain; charset=utf-8", headers=headers)
    return render(request, "marketplace/recovery_codes.html", {"codes": codes, "next": _next(request)})


@require_POST
def codes_kept(request: HttpRequest) -> HttpResponse:
    """From now on nobody sees them again."""
    request.session.pop(CODES_IN_SESSION, None)
    return HttpResponseRedirect(_next(request))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: HttpRequest) -> HttpResponse:
    """What there is; a POST renews the recovery codes, changes the app or takes the second factor away, for a code."""
    user = _person(request)
    if not second_factor.stamp(user):
        return render(request, "marketplace/second_factor.html", {"since": None})
    must = second_factor.must_have(user)
    form = CodeForm(request.POST if request.method == "POST" else None)
    form.fields["code"].widget.attrs.pop("autofocus")
    if form.is_bound and form.is_valid():
        code, wanted = form.cleaned_data["code"], request.POST.get("what", "")
        acts = {"renew": second_factor.renew_recovery_codes, "replace": second_factor.replace}
        acts |= {} if must else {"remove": second_factor.remove}
        if wanted not in acts:
            raise Http404
        if _tried(form, lambda: acts[wanted](user=user, code=code, at=timezone.now())):
            return _done(request, wanted)
    left = len(second_factor.recovery_codes(user=user))
    context = {"since": user.second_factor_since, "form": form, "left": left, "must": must}
    return _answer(request, "marketplace/second_factor.html", context, form)


def _done(request: HttpRequest, wanted: str) -> HttpResponse:
    if wanted == "renew":
        request.session[CODES_IN_SESSION] = int(timezone.now().timestamp())
        return redirect(f"{reverse('recovery_codes')}?{urlencode({'next': reverse('second_factor')})}")
    if wanted == "replace":
        return redirect("enrol")
    messages.success(request, gettext("You sign in by your password alone now."))
    return redirect("second_factor")


@before_second_factor
@login_not_required
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """Sign out, also between the two steps."""
    logout(request)
    return redirect("sign_in")
