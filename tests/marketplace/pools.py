"""Pools to take hours of, told by their number since T0."""

from datetime import UTC, datetime, timedelta
from itertools import count

from billing.models import Issuer, Party
from marketplace import people
from marketplace.models import AcceleratorModel, CapacityPool, CapacitySlot, Organization, Site, Zone
from tests.billing import world

T0 = datetime(2026, 7, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
_numbers = count(500)


def at(hours: float) -> datetime:
    """So many hours after T0."""
    return T0 + hours * HOUR


def make_provider() -> Organization:
    """A provider, in the zone that is there or a new one."""
    issuer = Issuer.objects.first() or world.issuer()
    zone, _ = Zone.objects.get_or_create(issuer=issuer, defaults={"code": "z", "name": "区", "name_en": "Zone"})
    number = next(_numbers)
    party: Party = world.party(number)
    return people.make_organization(zone=zone, party=party, name=f"provider {number}", parts={"provider"})


def make_pool(*, gpus: int, provider: Organization | None = None) -> CapacityPool:
    """A pool of so many GPUs at a site of its own."""
    provider = provider or make_provider()
    accelerator, _ = AcceleratorModel.objects.get_or_create(
        slug="test-800", defaults={"vendor": "Test", "name": "800", "memory_gb": 80}
    )
    code = f"p{next(_numbers)}"
    site = Site.objects.create(provider=provider, code=code, name=code, region="上海")
    return CapacityPool.objects.create(site=site, accelerator=accelerator, code=code, name=code, gpus=gpus)


def slots(pool: CapacityPool) -> dict[int, tuple[int, int, int]]:
    """Hour to (capacity, taken, shortfall)."""
    return {
        (slot.hour - T0) // HOUR: (slot.capacity, slot.taken, slot.shortfall)
        for slot in CapacitySlot.objects.filter(pool=pool).order_by("hour")
    }


def taken(pool: CapacityPool) -> dict[int, int]:
    """Hour to the GPUs taken in it."""
    return {hour: there[1] for hour, there in slots(pool).items()}
