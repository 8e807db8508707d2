"""What the demo's provider has on sale: a site, its pools, and offerings that a buyer can quote and reserve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction

from billing.models import Tariff
from marketplace import catalog
from marketplace.models import AcceleratorModel, Offering, Organization

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

ACTOR = "command:demo"
_DATA = Path(__file__).parent / "data" / "demo_market.json"


def cast() -> Mapping[str, Any]:
    """Site, tariffs, pools and offerings; `shared` is said of each offering."""
    found: Mapping[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))
    return found


def put_on_sale(*, provider: Organization, at: datetime, progress: Callable[[int], object]) -> bool:
    """List all of it, or what is missing; whether anything was. One transaction an offering."""
    facts = cast()
    missing = False
    for tariff in facts["tariffs"]:
        if not Tariff.objects.filter(code=tariff["code"]).exists():
            catalog.publish_prices(provider=provider, document=tariff, at=at, actor=ACTOR)
    site = catalog.add_site(provider=provider, actor=ACTOR, **facts["site"])
    pools = {}
    for pool in facts["pools"]:
        told = {name: value for name, value in pool.items() if name != "accelerator"}
        accelerator = AcceleratorModel.objects.get(slug=pool["accelerator"])
        pools[pool["code"]] = catalog.add_pool(site=site, accelerator=accelerator, actor=ACTOR, **told)
    for offering in facts["offerings"]:
        if not Offering.objects.filter(code=offering["code"]).exclude(state=Offering.State.DRAFT).exists():
            _sell(offering | facts["shared"], pools, at)
            missing = True
        progress(1)
    return missing


@transaction.atomic
def _sell(facts: Mapping[str, Any], pools: Mapping[str, Any], at: datetime) -> None:
    told = {name: value for name, value in facts.items() if name not in ("pool", "tariff")}
    tariff = Tariff.objects.get(code=facts["tariff"])
    offering = catalog.draft_offering(pool=pools[facts["pool"]], tariff=tariff, at=at, actor=ACTOR, **told)
    catalog.submit(offering=offering, at=at, actor=ACTOR)
    catalog.approve(offering=offering, at=at, actor=ACTOR)
