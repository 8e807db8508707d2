"""What every page has around it: the current organization, what the user may do there, the ways to go, the look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from marketplace import access
from marketplace.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.utils.functional import _StrPromise

    from marketplace.models import Organization

THEME_COOKIE = "theme"
THEMES = {"auto": _("As the device"), "light": _("Light"), "dark": _("Dark")}
ORGANIZATION_IN_SESSION = "organization"


@dataclass(frozen=True)
class Way:
    """An entry of the navigation: a page, and what one must be permitted to find it there."""

    title: _StrPromise
    url_name: str
    permission: Permission
    also: tuple[str, ...] = ()
    """Where else its pages begin."""
    part: str = ""
    """Which part the current organization must have, such as is_provider."""


NAVIGATION = (
    Way(_("This month"), "month", Permission.SEE_USAGE),
    Way(_("Market"), "market", Permission.SEE_ORGANIZATION, ("/quotes/",)),
    Way(_("Reservations"), "reservations", Permission.SEE_USAGE, ("/waitlist/",)),
    Way(_("Usage"), "usage", Permission.SEE_USAGE),
    Way(_("Invoices"), "invoices", Permission.SEE_BILLS, ("/savings/", "/disputes/")),
    Way(_("Programmes"), "programmes", Permission.SEE_ORGANIZATION, ("/grants/", "/claims/")),
    Way(_("Events"), "events", Permission.SEE_USAGE),
    Way(_("Supply"), "provider:index", Permission.SEE_USAGE, part="is_provider"),
    Way(_("Projects"), "projects", Permission.SEE_ORGANIZATION),
    Way(_("API keys"), "keys", Permission.MANAGE_KEYS),
    Way(_("Organization"), "organization", Permission.SEE_ORGANIZATION),
)


class Page:
    """The surroundings of one request's page. Nothing is looked up before a template asks."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @cached_property
    def organizations(self) -> list[Organization]:
        """Those between which the user can switch, by name."""
        return list(access.organizations_for(self.request.user).order_by("name", "pk"))

    @cached_property
    def organization(self) -> Organization | None:
        """The current one: the one switched to, or else a member's first. None for staff who look at all of them."""
        wanted = self.request.session.get(ORGANIZATION_IN_SESSION)
        found = [organization for organization in self.organizations if organization.pk == wanted]
        if found or access.is_staff(self.request.user):
            return found[0] if found else None
        return self.organizations[0] if self.organizations else None

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        return access.permissions_for(self.request.user, self.organization)

    @cached_property
    def may(self) -> dict[str, bool]:
        """For templates: `{% if page.may.manage_keys %}`."""
        return {permission.value: permission in self.permissions for permission in Permission}

    @property
    def supplies(self) -> bool:
        """Does the current organization have an admin of its own?"""
        return self.organization is not None and self.organization.is_provider

    def navigation(self) -> Iterator[dict[str, Any]]:
        for way in NAVIGATION:
            if way.permission not in self.permissions or (way.part and not getattr(self.organization, way.part, False)):
                continue
            try:
                address = reverse(way.url_name)
            except NoReverseMatch:
                continue
            yield {"title": way.title, "address": address, "is_here": any(map(self._is_at, (address, *way.also)))}

    def _is_at(self, address: str) -> bool:
        path = self.request.path
        return path == address or (address != "/" and path.startswith(address))

    @property
    def theme(self) -> str:
        theme = self.request.COOKIES.get(THEME_COOKIE, "auto")
        return theme if theme in THEMES else "auto"

    @property
    def themes(self) -> list[dict[str, Any]]:
        return [{"code": code, "title": title, "is_here": code == self.theme} for code, title in THEMES.items()]

    @property
    def other_languages(self) -> list[tuple[str, str]]:
        return [(code, name) for code, name in settings.LANGUAGES if code != get_language()]


def of(request: HttpRequest) -> Page:
    """The page of this request; the same one for the view and its templates."""
    page: Page | None = getattr(request, "_page", None)
    if page is None:
        page = Page(request)
        request._page = page  # type: ignore[attr-defined]  # noqa: SLF001  - kept where it lives as long as it is right
    return page


def page(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `page`."""
    return {"page": of(request)}


def actor(request: HttpRequest) -> str:
    """Who does it, as verbs put it down."""
    return f"user:{request.user.pk}"


def back(request: HttpRequest) -> HttpResponse:
    """To where a form that stands on every page was sent from, on this site."""
    for address in (request.POST.get("next", ""), request.headers.get("Referer", "")):
        if address and url_has_allowed_host_and_scheme(
            address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        ):
            return HttpResponseRedirect(address)
    return HttpResponseRedirect(reverse("start"))
