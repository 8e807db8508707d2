"""Which reservations a page may show, and who may change one or see its price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import Http404
from django.shortcuts import get_object_or_404

from marketplace import access
from marketplace.permissions import Permission
from marketplace.web import page

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from marketplace.models import Reservation

AROUND = (
    "offering",
    "pool__site__provider",
    "pool__accelerator",
    "organization__zone__issuer",
    "project",
)
"""What pages say of a reservation."""


def rows(request: HttpRequest) -> QuerySet[Reservation]:
    """What the reader may see of in the current organization. Raises Http404 for one who may see none."""
    here = page.of(request)
    if Permission.SEE_USAGE not in here.permissions:
        raise Http404
    return access.reservations_for(request.user, within=here.organization)


def is_own(request: HttpRequest, row: Reservation) -> bool:
    """Whether the current organization, or for staff without one any, is the one that reserved it."""
    here = page.of(request)
    return here.organization is None or row.organization_id == here.organization.pk


def sees_price(request: HttpRequest, row: Reservation) -> bool:
    permissions = page.of(request).permissions
    return is_own(request, row) and bool(permissions & {Permission.RESERVE, Permission.SEE_BILLS})


def own(request: HttpRequest, reservation_id: UUID) -> Reservation:
    """The reservation, for one who may change it: a member of its buyer who reserves. Raises Http404."""
    row = get_object_or_404(rows(request).select_related(*AROUND, "quote"), pk=reservation_id)
    if not may_change(request, row):
        raise Http404
    return row


def zone_of(row: Reservation) -> str:
    return row.organization.zone.issuer.timezone


def may_change(request: HttpRequest, row: Reservation) -> bool:
    return is_own(request, row) and Permission.RESERVE in page.of(request).permissions
