"""How full pools are, hour by hour: what is there, what of it is taken, and what of that the meters say was in use."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from django.db.models import F, Sum
from django.db.models.functions import Trunc

from billing.models import Reading
from marketplace.models import CapacityChange, CapacitySlot, Reservation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marketplace.models import CapacityPool

HOUR = timedelta(hours=1)
GPU_HOUR = "gpu_hour"
_USES = ("confirmed", "active", "completed", "released", "failed")
"""States of reservations under which GPUs are, or were, in use."""


@dataclass(frozen=True, slots=True)
class Hour:
    """GPUs in one hour from `start_at`. `taken` counts maintenance too; `used` is the average that was measured."""

    start_at: datetime
    capacity: int
    taken: int
    shortfall: int
    used: Fraction

    @property
    def free(self) -> int:
        return max(self.capacity - self.taken, 0)


def by_hour(*, pools: Sequence[CapacityPool], start_at: datetime, end_at: datetime) -> dict[int, list[Hour]]:
    """By pool, every hour of [start_at, end_at), whole UTC hours. Five queries at most for all of them.

    A contract's use counts where it has reserved; in several pools at once, by the GPUs reserved in each.
    """
    count = (end_at - start_at) // HOUR
    slots = {
        (slot.pool_id, slot.hour): slot
        for slot in CapacitySlot.objects.filter(pool__in=pools, hour__gte=start_at, hour__lt=end_at)
    }
    changes: dict[int, list[CapacityChange]] = defaultdict(list)
    for change in CapacityChange.objects.filter(pool__in=pools, from_at__lt=end_at).order_by("from_at"):
        changes[change.pool_id].append(change)
    used = _used(pools, start_at, end_at)
    found: dict[int, list[Hour]] = {}
    for pool in pools:
        hours = found[pool.pk] = []
        for at in (start_at + number * HOUR for number in range(count)):
            slot = slots.get((pool.pk, at))
            there = next((change.gpus for change in reversed(changes[pool.pk]) if change.from_at <= at), pool.gpus)
            capacity, taken, shortfall = (slot.capacity, slot.taken, slot.shortfall) if slot else (there, 0, 0)
            hours.append(Hour(at, capacity, taken, shortfall, used.get((pool.pk, at), Fraction(0))))
    return found


def _used(pools: Sequence[CapacityPool], start_at: datetime, end_at: datetime) -> dict[tuple[int, datetime], Fraction]:
    """GPUs in use on average, by pool and hour."""
    weights: dict[tuple[int, datetime], Counter[int]] = defaultdict(Counter)  # by contract and hour: GPUs by pool
    contracts = Reservation.objects.filter(pool__in=pools, contract__isnull=False, state__in=_USES).values("contract")
    reserved = Reservation.objects.filter(
        contract__in=contracts, state__in=_USES, start_at__lt=end_at, end_at__gt=start_at
    ).values_list("contract", "pool", "quantity", "start_at", "end_at")
    for contract, pool, quantity, first, last in reserved:
        at = max(first, start_at)
        while at < min(last, end_at):
            weights[contract, at][pool] += quantity
            at += HOUR
    if not weights:
        return {}
    measured = (
        Reading.objects.filter(
            contract__in={contract for contract, _ in weights},
            meter__unit=GPU_HOUR,
            start_at__gte=start_at,
            start_at__lt=end_at,
        )
        .annotate(hour=Trunc("start_at", "hour"), base_per_unit=F("meter__base_per_unit"))
        .values_list("contract", "hour", "base_per_unit")
        .annotate(Sum("quantity"))
        .order_by()
    )
    used: dict[tuple[int, datetime], Fraction] = defaultdict(Fraction)
    for contract, at, base_per_unit, quantity in measured:
        shares = weights.get((contract, at), Counter())
        for pool, weight in shares.items():
            used[pool, at] += Fraction(int(quantity), base_per_unit) * weight / shares.total()
    return used
