"""What search reads of an offering, kept in step with the catalog: the only writer of listings and price profiles.

The catalog's verbs refresh what they change, in their own transaction. What time changes, and what was published past
the catalog (by staff, under the operator's tariff), `refresh_due` finds every quarter of an hour.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Subquery

from billing import tariffs
from billing.models import TariffVersion
from billing.rating.period import day_start
from marketplace import pricing
from marketplace.models import AcceleratorModel, Listing, Offering, PriceProfile

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from billing.rating.calendar import DayKind
    from marketplace.models import CapacityPool, Site
    from marketplace.pricing import Prices

BATCH = 500
_KEPT = 5_000  # price profiles in a process's memory, some 5 kB each

_known: dict[tuple[int, str], Prices] = {}  # by the version's id and its document's SHA-256


def refresh(*, offering_ids: Collection[int], at: datetime) -> None:
    """Make the listings of these offerings say what is so: one for each that is on sale and has prices, none for others.

    The offerings are locked, so that none is listed that is just being paused.
    """
    with transaction.atomic():
        rows = Offering.objects.filter(pk__in=offering_ids).order_by("pk").select_for_update(of=("self",))
        offerings = list(rows.select_related("pool__site__provider", "pool__accelerator"))
        on_sale = [each for each in offerings if each.state == Offering.State.PUBLISHED]
        versions = versions_of(tariff_ids={each.tariff_id for each in on_sale}, store=True)
        made = [_listing(each, versions[each.tariff_id], at) for each in on_sale if each.tariff_id in versions]
        listed = [each for each in made if each is not None]
        Listing.objects.filter(pk__in=[each.pk for each in offerings]).exclude(
            pk__in=[each.pk for each in listed]
        ).delete()
        fields = [field.name for field in Listing._meta.fields if not field.primary_key]  # noqa: SLF001
        Listing.objects.bulk_create(listed, update_conflicts=True, unique_fields=["offering"], update_fields=fields)


def refresh_due(*, at: datetime) -> int:
    """Refresh the listings that time, or a version published past the catalog, has made stale. Returns how many."""
    later = TariffVersion.objects.filter(tariff=OuterRef("tariff"), published_at__gt=OuterRef("refreshed_at"))
    stale = Listing.objects.filter(Q(next_at__lte=at) | Exists(later) | ~Q(offering__state=Offering.State.PUBLISHED))
    missing = Offering.objects.on_sale().filter(
        Exists(TariffVersion.objects.filter(tariff=OuterRef("tariff"))), listing=None
    )
    ids = sorted({*stale.values_list("pk", flat=True), *missing.values_list("pk", flat=True)})
    for first in range(0, len(ids), BATCH):
        refresh(offering_ids=ids[first : first + BATCH], at=at)
    return len(ids)


def versions_of(*, tariff_ids: Collection[int], store: bool = False) -> dict[int, list[tuple[datetime, Prices]]]:
    """The versions of each tariff with the instant that each applies from, the oldest first. One query, or two where this
    process has not seen them all; with `store`, profiles that are missing are stored.
    """
    rows = TariffVersion.objects.filter(tariff_id__in=tariff_ids).order_by("tariff_id", "effective_at")
    versions = list(rows.values_list("pk", "tariff_id", "effective_at", "sha256"))
    if len(_known) > _KEPT:
        _known.clear()
    new = {pk for pk, _, _, sha256 in versions if (pk, sha256) not in _known}
    if new:
        _learn(new, store=store)
    found: dict[int, list[tuple[datetime, Prices]]] = defaultdict(list)
    for pk, tariff_id, effective_at, sha256 in versions:
        found[tariff_id].append((effective_at, _known[pk, sha256]))
    return dict(found)


def _learn(version_ids: Collection[int], *, store: bool) -> None:
    rows = TariffVersion.objects.filter(pk__in=version_ids).order_by("pk")
    profiles = rows.filter(price_profile__isnull=False)
    for pk, sha256, stored in profiles.values_list("pk", "sha256", "price_profile__prices"):
        _known[pk, sha256] = pricing.Prices.from_json(stored)
    made = []
    for pk, sha256, document in rows.filter(price_profile=None).values_list("pk", "sha256", "document"):
        prices = pricing.prices_of(tariff=tariffs.parsed(json.dumps(document)))
        _known[pk, sha256] = prices
        made.append(PriceProfile(tariff_version_id=pk, prices=prices.as_json()))
    if store:
        PriceProfile.objects.bulk_create(made, ignore_conflicts=True)


def _listing(offering: Offering, versions: list[tuple[datetime, Prices]], at: datetime) -> Listing | None:
    """None if its prices have ended and none are to come."""
    place = max(bisect_right([effective_at for effective_at, _ in versions], at) - 1, 0)
    ends = [_until(prices) for _, prices in versions]
    rest = [(since, prices, end) for (since, prices), end in zip(versions, ends, strict=True)][place:]
    rest = [(since, prices, end) for since, prices, end in rest if end is None or end > at]
    if not rest:
        return None
    _, current, ends_at = rest[0]
    changes = [*(since for since, _, _ in rest[1:]), *([ends_at] if ends_at else [])]
    pool, site = offering.pool, offering.pool.site
    codes = {prices.calendar for _, prices, _ in rest}
    common: tuple[DayKind, ...] = ("weekday", "weekend") if len(codes) == 1 else pricing.KINDS
    return Listing(
        offering=offering,
        zone_id=site.provider.zone_id,
        provider_id=site.provider_id,
        pool=pool,
        accelerator_id=pool.accelerator_id,
        tariff_id=offering.tariff_id,
        region=site.region,
        interconnect=pool.interconnect or pool.accelerator.interconnect,
        min_quantity=offering.min_quantity,
        max_quantity=offering.max_quantity,
        step=offering.step,
        min_hours=offering.min_hours,
        max_hours=offering.max_hours,
        lead_hours=offering.lead_hours,
        currency=current.currency,
        price=pricing.decimal(pricing.mean(current)),
        floors=_least([pricing.floors(prices) for _, prices, _ in rest]),
        common_floors=_least([pricing.floors(prices, common) for _, prices, _ in rest]),
        calendar=current.calendar or "",
        next_at=min(changes, default=None),
        refreshed_at=at,
    )


def _least(floors: list[list[int]]) -> list[Decimal]:
    return [Decimal(min(each)) for each in zip(*floors, strict=True)]


def _until(prices: Prices) -> datetime | None:
    return None if prices.until is None else day_start(prices.until, prices.timezone)


def show_region(*, site: Site) -> None:
    """The site's region, where its offerings are listed."""
    Listing.objects.filter(pool__site=site).update(region=site.region)


def show_interconnect(*, pool: CapacityPool) -> None:
    """The pool's interconnect, or else its accelerator's, where its offerings are listed."""
    Listing.objects.filter(pool=pool).update(interconnect=pool.interconnect or pool.accelerator.interconnect)


def show_accelerators() -> None:
    """The accelerators' interconnects, where offerings are listed of pools that name none of their own."""
    own = AcceleratorModel.objects.filter(pk=OuterRef("accelerator_id")).values("interconnect")
    Listing.objects.filter(pool__interconnect="").update(interconnect=Subquery(own))
