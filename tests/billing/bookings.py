"""Bookings under one tariff version: hours are counted from 1 May 2020 in Shanghai."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing import contracts
from billing.models import Account, Contract, TariffVersion
from tests.billing import world

HOUR = timedelta(hours=1)
BOOKED = datetime(2020, 4, 1, tzinfo=UTC)  # when bookings are made, unless told otherwise


def hour(number: int) -> datetime:
    return world.MAY + number * HOUR


def book(account: Account, version: TariffVersion, first: int, last: int, **changes: Any) -> Contract:
    """8 GPUs over the hours [first, last), of the world's provider, with a fee of 10 %."""
    facts = {"fee_percent": Decimal(10), "quantity": 8, "source": f"{first}-{last}", "at": BOOKED, "actor": "test"}
    facts |= {"start_at": hour(first), "end_at": hour(last)} | changes
    facts.setdefault("provider", world.provider())
    return contracts.supply(account=account, tariff_version=version, **facts)


def hours_of(contract: Contract) -> tuple[int, int]:
    """When the contract runs, as stored."""
    stored = Contract.objects.get(pk=contract.pk)
    assert stored.end_at is not None
    return (stored.start_at - world.MAY) // HOUR, (stored.end_at - world.MAY) // HOUR


def spans_of(contract: Contract) -> list[tuple[str, int, int]]:
    """Source, first and last hour of the contract's spans that are not withdrawn, in time order."""
    spans = contract.reserved_spans.filter(withdrawn_at=None).order_by("start_at", "pk")
    return [(each.source, (each.start_at - world.MAY) // HOUR, (each.end_at - world.MAY) // HOUR) for each in spans]
