"""The providers' own admin: what they have, sell and earn. `providers.urls` is what /provider/ serves."""

from marketplace.admin.provider import (  # noqa: F401  - each registers its models and pages
    capacity,
    dashboard,
    offerings,
    reservations,
    statements,
    tariffs,
    tasks,
    usage,
)
