"""A zone with verified providers, their pools and prices, for tests of what is for sale."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from marketplace import catalog, people
from marketplace.metering import gpu_meter
from marketplace.models import AcceleratorModel, CapacityPool, Offering, Organization, Zone
from tests.billing import world

if TYPE_CHECKING:
    from billing.models import TariffVersion

AT = datetime(2026, 5, 6, 2, tzinfo=UTC)  # a Wednesday, 10:00 in Shanghai
TERMS = [{"hours": 24, "percent": "0"}, {"hours": 0, "percent": "50"}]


def make_zone() -> Zone:
    gpu_meter()
    return Zone.objects.create(code="lingang", name="临港", name_en="Lin-gang", issuer=world.issuer())


def make_provider(zone: Zone, number: int = 2, *, name: str = "", **changes: Any) -> Organization:
    party = world.party(number)
    organization = people.make_organization(
        zone=zone, party=party, name=name or f"供应商{number}", parts=changes.pop("parts", {"provider"})
    )
    Organization.objects.filter(pk=organization.pk).update(**({"state": "verified"} | changes))
    organization.refresh_from_db()
    return organization


def accelerator(slug: str = "test-800", **changes: Any) -> AcceleratorModel:
    facts = {"vendor": "Test", "name": slug, "memory_gb": 80, "bf16_tflops": Decimal("989.5")} | changes
    return AcceleratorModel.objects.get_or_create(slug=slug, defaults=facts)[0]


def make_pool(provider: Organization, code: str = "p1", *, site: str = "dc1", **changes: Any) -> CapacityPool:
    region = changes.pop("region", "上海")
    where = catalog.add_site(provider=provider, code=site, name="一号机房", region=region, actor="test")
    facts = {"accelerator": changes.pop("accelerator", None) or accelerator(), "name": "资源池", "gpus": 64} | changes
    return catalog.add_pool(site=where, code=code, actor="test", **facts)


def document(*charges: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return world.document(*charges, **({"code": "N", "effective": ["2026-05-01", None]} | changes))


def prices(provider: Organization, *charges: dict[str, Any], at: datetime = AT, **changes: Any) -> TariffVersion:
    return catalog.publish_prices(provider=provider, document=document(*charges, **changes), at=at, actor="test")


def draft(
    pool: CapacityPool, version: TariffVersion, code: str = "o1", *, at: datetime = AT, **changes: Any
) -> Offering:
    facts = {
        "name": "八卡整机",
        "description": "整机出租",
        "terms": "不得用于挖矿",
        "max_quantity": pool.gpus or 1,
        "max_hours": 72,
        "cancellation_terms": TERMS,
    } | changes
    return catalog.draft_offering(pool=pool, tariff=version.tariff, code=code, at=at, actor="user:1", **facts)


def publish(
    pool: CapacityPool, version: TariffVersion, code: str = "o1", *, at: datetime = AT, **changes: Any
) -> Offering:
    offering = draft(pool, version, code, at=at, **changes)
    catalog.submit(offering=offering, at=at, actor="user:1")
    return catalog.approve(offering=offering, at=at, actor="user:9")
