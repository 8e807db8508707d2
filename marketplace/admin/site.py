"""The admin sites of staff and of providers: one door with the rest of the site, a Content-Security-Policy of their own,
their ways to go. Who may not enter finds nothing there.
"""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar, cast

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from marketplace import access
from marketplace.permissions import Permission
from marketplace.web import page

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.admin import AdminSite
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern
    from django.utils.functional import _StrPromise

    from marketplace.models import Organization

    View = Callable[..., HttpResponse]
else:
    from unfold.sites import UnfoldAdminSite as AdminSite

Row = TypeVar("Row", bound="Model")
Items = tuple[tuple["str | _StrPromise", str, str], ...]

Groups = tuple[tuple["str | _StrPromise", Items], ...]

NAVIGATION: Groups = (
    ("", ((_("Overview"), "index", "space_dashboard"),)),
    (
        _("Usage"),
        (
            (_("Readings"), "usage_readings", "speed"),
            (_("Events"), "usage_events", "list_alt"),
            (_("Unmatched events"), "usage_unmatched", "link_off"),
            (_("Events not stored"), "billing_eventproblem_changelist", "error"),
            (_("Gaps"), "usage_gaps", "data_alert"),
            (_("Silent meters"), "marketplace_metersilence_changelist", "sensors_off"),
            (_("Meters"), "billing_meter_changelist", "electric_meter"),
            (_("Senders"), "billing_eventsource_changelist", "sensors"),
        ),
    ),
    (
        _("Market"),
        (
            (_("Offerings"), "marketplace_offering_changelist", "storefront"),
            (_("Reservations"), "marketplace_reservation_changelist", "event_available"),
            (_("Waitlist"), "marketplace_waitlistentry_changelist", "hourglass_empty"),
            (_("Quotes"), "marketplace_quote_changelist", "request_quote"),
            (_("Projects"), "marketplace_project_changelist", "folder_open"),
        ),
    ),
    (
        _("Capacity"),
        (
            (_("Capacity pools"), "marketplace_capacitypool_changelist", "dns"),
            (_("Capacity by hour"), "capacity_hours", "view_timeline"),
            (_("Sites"), "marketplace_site_changelist", "location_on"),
            (_("Maintenance windows"), "marketplace_maintenance_changelist", "build"),
            (_("Incidents"), "marketplace_incident_changelist", "warning"),
            (_("Accelerator models"), "marketplace_acceleratormodel_changelist", "memory"),
        ),
    ),
    (
        _("Contracts"),
        (
            (_("Contracts"), "billing_contract_changelist", "contract"),
            (_("Reserved capacity"), "billing_reservedspan_changelist", "event_available"),
            (_("Tariffs"), "billing_tariff_changelist", "sell"),
            (_("Tariff versions"), "billing_tariffversion_changelist", "history"),
        ),
    ),
    (
        _("Bills"),
        (
            (_("Billing periods"), "billing_billingperiod_changelist", "calendar_month"),
            (_("Invoices"), "billing_invoice_changelist", "receipt_long"),
            (_("Invoice lines"), "billing_invoiceline_changelist", "format_list_numbered"),
            (_("Corrections"), "billing_adjustment_changelist", "difference"),
            (_("Disputes"), "billing_dispute_changelist", "gavel"),
            (_("One-off charges"), "billing_oneoffcharge_changelist", "add_card"),
            (_("Number series"), "billing_numberseries_changelist", "tag"),
        ),
    ),
    (
        _("Programmes"),
        (
            (_("Applications"), "applications", "inbox"),
            (_("Programmes"), "billing_programme_changelist", "volunteer_activism"),
            (_("Grants"), "billing_grant_changelist", "approval"),
            (_("Commitments"), "billing_commitment_changelist", "lock_clock"),
            (_("Shares of invoices"), "billing_programmeshare_changelist", "pie_chart"),
            (_("Redemptions"), "billing_redemption_changelist", "redeem"),
            (_("Claims"), "billing_claim_changelist", "outbox"),
            (_("Double funding"), "double_funding", "difference"),
        ),
    ),
    (
        _("Ledger"),
        (
            (_("Trial balance"), "trial_balance", "balance"),
            (_("Ledger accounts"), "billing_ledgeraccount_changelist", "account_balance"),
            (_("Journals"), "billing_journal_changelist", "book"),
            (_("Postings"), "billing_posting_changelist", "swap_vert"),
        ),
    ),
    (
        _("Parties"),
        (
            (_("Legal persons"), "billing_party_changelist", "domain"),
            (_("Facts"), "billing_partyfact_changelist", "fact_check"),
            (_("Evidence"), "billing_evidence_changelist", "draft"),
            (_("Accounts"), "billing_account_changelist", "wallet"),
            (_("Issuers"), "billing_issuer_changelist", "gavel"),
        ),
    ),
    (
        _("People"),
        (
            (_("To verify"), "verification", "verified_user"),
            (_("Organizations"), "marketplace_organization_changelist", "groups"),
            (_("Changes of organizations"), "marketplace_organizationchange_changelist", "history"),
            (_("Memberships"), "marketplace_membership_changelist", "badge"),
            (_("Users"), "marketplace_user_changelist", "person"),
            (_("Sign-ups"), "marketplace_signup_changelist", "how_to_reg"),
            (_("Invitations"), "marketplace_invitation_changelist", "mail"),
            (_("Requests to join"), "marketplace_joinrequest_changelist", "person_add"),
            (_("API keys"), "marketplace_apikey_changelist", "key"),
            (_("Zones"), "marketplace_zone_changelist", "location_city"),
        ),
    ),
    (
        _("Operation"),
        (
            (_("Jobs"), "marketplace_job_changelist", "task_alt"),
            (_("Workers"), "marketplace_pulse_changelist", "ecg_heart"),
            (_("Provisioning"), "marketplace_provision_changelist", "rocket_launch"),
            (_("Tasks"), "marketplace_provisioningtask_changelist", "build_circle"),
            (_("Access"), "marketplace_credential_changelist", "vpn_key"),
        ),
    ),
)
"""Groups of (title, name of the address, icon)."""

SUPPLY_NAVIGATION: Groups = (
    ("", ((_("Overview"), "index", "space_dashboard"),)),
    (
        _("Capacity"),
        (
            (_("Sites"), "marketplace_site_changelist", "location_on"),
            (_("Capacity pools"), "marketplace_capacitypool_changelist", "dns"),
            (_("Capacity by hour"), "capacity_hours", "view_timeline"),
            (_("Maintenance windows"), "marketplace_maintenance_changelist", "build"),
            (_("Incidents"), "marketplace_incident_changelist", "warning"),
        ),
    ),
    (
        _("Sale"),
        (
            (_("Offerings"), "marketplace_offering_changelist", "storefront"),
            (_("Tariffs"), "billing_tariff_changelist", "sell"),
            (_("Tariff versions"), "billing_tariffversion_changelist", "history"),
        ),
    ),
    (
        _("Operation"),
        (
            (_("Tasks"), "marketplace_provisioningtask_changelist", "task_alt"),
            (_("Reservations"), "marketplace_reservation_changelist", "event_available"),
            (_("Usage"), "supply_usage", "speed"),
        ),
    ),
    (_("Money"), ((_("Statements"), "statements", "receipt_long"),)),
)
MONEY_PAGES = {"statements"}
"""What only those find who see bills."""


class _Site(AdminSite):
    """Django's admin for those whom `has_permission` lets in. Others get a 404, as if it weren't there; who has not signed
    in gets the one sign-in.
    """

    index_title = _("Overview")
    enable_nav_sidebar = True
    navigation: Groups = ()

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._pages: list[tuple[str, str, View]] = []
        self.dashboard: Callable[[HttpRequest], dict[str, Any]] = lambda _request: {}

    def page(self, route: str, name: str) -> Callable[[View], View]:
        """Decorator: `view(request, ...)` is a page of the site at `route`."""

        def add(view: View) -> View:
            self._pages.append((route, name, view))
            return view

        return add

    def extra_urls(self) -> list[URLPattern]:
        """What unfold puts before the models' own addresses."""
        return [path(route, self.admin_view(view), name=name) for route, name, view in self._pages]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002  - Django's signature
        inner = csp_update(cast("Any", settings.ADMIN_CONTENT_SECURITY_POLICY))(super().admin_view(view, cacheable))

        def for_those_let_in(request: HttpRequest, *parts: Any, **named: Any) -> Any:
            if request.user.is_authenticated and not self.has_permission(request):
                raise Http404
            request.current_app = self.name  # which of two admin sites addresses are for
            return inner(request, *parts, **named)

        return update_wrapper(for_those_let_in, view)

    # login_not_required: it sends on to the page that is for everybody
    def login(self, request: HttpRequest, extra_context: Any = None) -> Any:  # noqa: ARG002
        """There is one sign-in, with its lock-out; this address only leads there."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise Http404
        target = request.GET.get("next", "") or reverse(f"{self.name}:index")
        return redirect(f"{reverse('sign_in')}?{urlencode({'next': target})}")

    login = login_not_required(login)

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> Any:  # noqa: ARG002
        return redirect("password")

    def index(self, request: HttpRequest, extra_context: Any = None) -> Any:
        context = {**self.dashboard(request), **(extra_context or {})}
        return super().index(request, context)

    def show(
        self,
        request: HttpRequest,
        template: str,
        title: str | _StrPromise,
        context: dict[str, Any],
        *,
        status: int = 200,
    ) -> HttpResponse:
        """A page in the site's frame."""
        everything = {**self.each_context(request), "title": title, **context}
        return TemplateResponse(request, template, everything, status=status)

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """In place of unfold's own: made here, by the names of addresses, so that a wrong one fails in a test."""
        groups = (
            (title, [self._way(request, *item) for item in items if self.is_way_for(request, item[1])])
            for title, items in self.navigation
        )
        found: list[dict[str, Any]] = [
            {"title": title, "items": ways, "separator": bool(title)} for title, ways in groups if ways
        ]
        back = {"title": _("Back to the site"), "link": reverse("organization"), "icon": "arrow_back", "active": False}
        found[0]["items"].append({**back, "has_permission": True})
        return found

    def is_way_for(self, request: HttpRequest, name: str) -> bool:  # noqa: ARG002
        """Does whoever asks find this page in the navigation?"""
        return True

    def _way(self, request: HttpRequest, title: Any, name: str, icon: str) -> dict[str, Any]:
        address = reverse(f"{self.name}:{name}")
        is_here = request.path == address if name == "index" else request.path.startswith(address)
        return {"title": title, "link": address, "icon": icon, "active": is_here, "has_permission": True}

    def address(self, name: str, *parts: Any, **query: Any) -> str:
        """The address of a page of this site, such as `address("billing_contract_add", number="C-1")`."""
        place = reverse(f"{self.name}:{name}", args=parts)
        return f"{place}?{urlencode(query)}" if query else place

    def search(self, request: HttpRequest, extra_context: Any = None) -> Any:  # noqa: ARG002
        """Of the pages' names. Unfold's own keeps what it found by user, and would give one site's addresses to the other."""
        term = request.GET.get("s", "").strip().lower()
        own = cast("Any", self)
        found = own._search_apps(self.get_app_list(request), term) if term else []  # noqa: SLF001  - unfold's name
        shown = Paginator(found, max(len(found), 1))
        context = {"page_obj": shown, "results": shown.page(1), "page_counter": 0, "execution_time": 0}
        template = "command_results" if "extended" in request.GET else "search_results"
        return TemplateResponse(request, f"unfold/helpers/{template}.html", context, headers={"HX-Trigger": "search"})


class StaffSite(_Site):
    """For staff: all there is."""

    navigation = NAVIGATION

    def has_permission(self, request: HttpRequest) -> bool:
        return access.is_staff(request.user)


class ProviderSite(_Site):
    """For the members of a provider: what it has, sells and earns. Nothing of anybody else's is there.

    It is about one provider at a time: the organization that the user has switched to, or else the first of those of theirs
    that supply. Staff come in only looking at one that they have switched to.
    """

    navigation = SUPPLY_NAVIGATION

    def has_permission(self, request: HttpRequest) -> bool:
        return self.find(request) is not None

    def providers(self, request: HttpRequest) -> list[Organization]:
        """Those between which the user can switch."""
        return [each for each in page.of(request).organizations if each.is_provider]

    def find(self, request: HttpRequest) -> Organization | None:
        current, own = page.of(request).organization, self.providers(request)
        if current in own:
            return current
        return own[0] if own and not access.is_staff(request.user) else None

    def organization(self, request: HttpRequest) -> Organization:
        """The provider that this request is about."""
        found = self.find(request)
        if found is None:
            raise Http404
        return found

    def may(self, request: HttpRequest, permission: Permission) -> bool:
        """May the user do this there? Looked up once a request."""
        kept: frozenset[Permission] | None = getattr(request, "_supplier_permissions", None)
        if kept is None:
            kept = access.permissions_for(request.user, self.organization(request))
            request._supplier_permissions = kept  # type: ignore[attr-defined]  # noqa: SLF001  - lives as long as it is right
        return permission in kept

    def rows(self, request: HttpRequest, model: type[Row]) -> QuerySet[Row]:
        """The provider's own rows of a model, as far as the user's role sees them."""
        return access.supply_for(model, request.user, within=self.organization(request))

    def is_way_for(self, request: HttpRequest, name: str) -> bool:
        return name not in MONEY_PAGES or self.may(request, Permission.SEE_BILLS)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        own = self.providers(request)
        current = self.find(request)
        others = [] if access.is_staff(request.user) else [each for each in own if each != current]
        context = super().each_context(request)
        return {**context, "site_subheader": current, "provider": current, "other_providers": others}


staff = StaffSite(name="admin")
staff.index_template = "admin/dashboard.html"
providers = ProviderSite(name="provider")
providers.index_template = "admin/provider/dashboard.html"
