from django.urls import path
from rest_framework.routers import SimpleRouter

from marketplace.api import billed, buying, contested, events, firm, market, openapi, supplying

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
for prefix, view in (
    ("accelerators", market.Accelerators),
    ("offerings", market.Offerings),
    ("members", firm.Members),
    ("invitations", firm.Invitations),
    ("join-requests", firm.JoinRequests),
    ("facts", firm.Facts),
    ("evidence", firm.Documents),
    ("keys", firm.Keys),
    ("projects", buying.Projects),
    ("quotes", buying.Quotes),
    ("reservations", buying.Reservations),
    ("waitlist", buying.Waitlist),
    ("meters", billed.Meters),
    ("contracts", billed.Contracts),
    ("readings", billed.UsageReadings),
    ("accounts", billed.Accounts),
    ("invoices", billed.Invoices),
    ("disputes", contested.Disputes),
    ("claims", contested.Claims),
    ("supply/sites", supplying.Sites),
    ("supply/pools", supplying.Pools),
    ("supply/maintenance", supplying.Maintenances),
    ("supply/incidents", supplying.Incidents),
    ("supply/offerings", supplying.OwnOfferings),
    ("supply/tasks", supplying.Tasks),
    ("supply/reservations", supplying.Supplied),
    ("supply/tariffs", supplying.Tariffs),
):
    router.register(prefix, view, basename=prefix.replace("/", "_"))

urlpatterns = [
    path("events", events.events, name="api_events"),
    path("openapi.json", openapi.openapi, name="api_openapi"),
    path(
        "organization",
        firm.OwnOrganization.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="api_organization",
    ),
    path("preview", billed.Preview.as_view({"get": "retrieve"}), name="api_preview"),
    *(
        path(name, market.Offerings.as_view({"get": name}), name=f"api_{name}")
        for name in ("facets", "windows", "comparison")
    ),
    *router.urls,
]
