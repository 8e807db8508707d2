"""The staff's admin site: all there is to see of a zone, and the verbs. `staff.urls` is what /admin/ serves, and
`providers.urls` what /provider/ does: a provider's own part of it.

Money is to look at. What can be added or changed goes through the verbs of billing and marketplace where there is one.
"""

from marketplace.admin import (  # noqa: F401  - each registers its models and pages
    adjustments,
    bookings,
    claims,
    dashboard,
    facts,
    grants,
    hours,
    invoices,
    jobs,
    joining,
    ledger,
    market,
    parties,
    people,
    programme_figures,
    programmes,
    provider,
    provisioning,
    redemptions,
    supply,
    usage,
    usage_problems,
    verification,
)
from marketplace.admin.site import providers, staff

__all__ = ["providers", "staff"]
