"""What the OpenAPI document says of the API as a whole. Read by the settings: it stands on the standard library alone."""

from __future__ import annotations

from typing import Any

ABOUT = """\
Suanli's market over HTTP: search what is for sale, quote, reserve, and, for providers, list and manage what is sold.

**Keys.** `Authorization: Bearer KEY`. A key is of one organization, and its scopes say what it may do. What belongs to
others is not there: 404.

**Errors** are problem details (RFC 9457, `application/problem+json`) in the language of `Accept-Language`: `type` is
`urn:suanli:problem:` and a kind that stays, `detail` says what is wrong and what would be right, `field` where.

**Writes are done once.** Any write may carry an `Idempotency-Key` of your choice. The same request sent again within 48
hours is not done again: it is answered as the first time, with `Idempotent-Replayed: true`. The same key with another
request is refused (422). What was refused is not kept: it may be sent again. Nor is what shows access to a reservation:
that is told once, whatever the header says.

**Lists** come in pages. `next` and `previous` are the addresses of the pages beside, null at the ends; `limit` says how
many rows a page has at most.

**Values.** Times are RFC 3339 with an offset, answered in UTC. Money is in whole minor units (`_minor`); prices and percents
are decimal strings.

**Limits.** A key may make so many requests a minute (600 unless the operator says otherwise); beyond that it is 429, and
`Retry-After` says when to come again. A body has at most 4 MiB.

Usage is sent to `POST /api/v1/events` as CloudEvents, which have a description of their own (docs/api.md).
"""


def settings(*, public_url: str) -> dict[str, Any]:
    """SPECTACULAR_SETTINGS."""
    return {
        "TITLE": "Suanli API",
        "VERSION": "1.0",
        "DESCRIPTION": ABOUT,
        "OAS_VERSION": "3.1.1",
        "SERVERS": [{"url": public_url}],
        "SCHEMA_PATH_PREFIX": "/api/v1",
        "SCHEMA_PATH_PREFIX_TRIM": False,
        "SERVE_INCLUDE_SCHEMA": False,
        "COMPONENT_SPLIT_REQUEST": True,
        "COMPONENT_SPLIT_PATCH": False,
        "ENUM_NAME_OVERRIDES": {
            "FactKindEnum": "billing.models.party.PartyFact.Kind",
            "RoleEnum": "marketplace.models.membership.Membership.Role",
        },
        "POSTPROCESSING_HOOKS": [
            "drf_spectacular.hooks.postprocess_schema_enums",
            "marketplace.api.openapi.say_problems",
        ],
    }
