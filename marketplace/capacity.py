"""How many GPUs of a pool are there and taken, hour by hour: the only writer of slots, maintenance and incidents.

Hours are whole hours in UTC, spans half-open. `take` and `release` are parts of their caller's transaction; all else is a
verb with a transaction of its own. A slot is locked in the order of time; whoever changes how much there is has the pool
alone. Two transactions that take, each more than once, can still block each other: wrap the whole verb in `retrying`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.db.models import F, Max, Min, OuterRef, Q, Subquery

from billing.integrity import require_aware
from marketplace import slots, sweeps
from marketplace.hours import (
    EPOCH,
    HOUR,
    InvalidHoursError,
    Window,
    first_windows,
    hour_of,
    hours_between,
    nearest_windows,
    next_hour,
    require_not_over,
)
from marketplace.models import CapacityChange, CapacityPool, CapacitySlot, Incident, Maintenance
from marketplace.retry import retrying
from marketplace.slots import Mismatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "EPOCH",
    "HOUR",
    "DrainingError",
    "InvalidHoursError",
    "InvalidQuantityError",
    "MaintenanceOverError",
    "Mismatch",
    "NotFreeError",
    "NotTakenError",
    "ShortfallStaysError",
    "TakenError",
    "Window",
    "cancel_maintenance",
    "close_incident",
    "drain",
    "find_windows",
    "finish_maintenance",
    "free_by_hour",
    "hour_of",
    "is_troubled",
    "mismatches",
    "next_hour",
    "open_outage",
    "plan_maintenance",
    "refusal",
    "release",
    "retrying",
    "set_capacity",
    "take",
    "undrain",
    "watch",
]

_LOOK_AROUND = (timedelta(days=3), timedelta(days=30))  # for windows that fit instead: near first
_SUGGESTED = 3
_LISTED = 12  # hours in a message


class InvalidQuantityError(ValueError):
    """Less than one GPU, or more than the pool has."""


class DrainingError(Exception):
    """The pool gives nothing from `drains_at` on."""

    def __init__(self, pool: CapacityPool, drains_at: datetime) -> None:
        self.pool, self.drains_at = pool, drains_at
        super().__init__(f"pool {pool} drains from {drains_at.isoformat()}: expected an end until then")


class NotFreeError(Exception):
    """So many GPUs are not free in each of these hours. `windows` are the nearest in which they are, at most three."""

    def __init__(
        self, pool: CapacityPool, quantity: int, start_at: datetime, end_at: datetime, windows: tuple[Window, ...] = ()
    ) -> None:
        self.pool, self.quantity, self.start_at, self.end_at, self.windows = pool, quantity, start_at, end_at, windows
        others = "; ".join(f"{one.start_at.isoformat()} to {one.end_at.isoformat()}" for one in windows) or "none found"
        super().__init__(
            f"{quantity} GPUs of pool {pool} are not free from {start_at.isoformat()} to {end_at.isoformat()}; the nearest"
            f" windows that fit: {others}"
        )


class NotTakenError(Exception):
    """More is given back than is taken: an error of the caller."""


class TakenError(Exception):
    """Maintenance would need GPUs that are taken. `missing`: hour to how many."""

    def __init__(self, pool: CapacityPool, quantity: int, missing: dict[datetime, int]) -> None:
        self.pool, self.quantity, self.missing = pool, quantity, missing
        hours = ", ".join(f"{hour.isoformat()} ({number})" for hour, number in list(missing.items())[:_LISTED])
        more = f" and {len(missing) - _LISTED} hours more" if len(missing) > _LISTED else ""
        super().__init__(
            f"{quantity} GPUs of pool {pool} are not free in {len(missing)} hours, with the GPUs missing: {hours}{more};"
            " expected other hours, fewer GPUs, or force, which opens an incident"
        )


class MaintenanceOverError(Exception):
    """The maintenance is done or cancelled, or has not begun."""


class ShortfallStaysError(Exception):
    """The incident names hours that still lack GPUs: it ends with them."""


# Take and release: parts of the caller's transaction


def take(
    *,
    pool: CapacityPool,
    quantity: int,
    start_at: datetime,
    end_at: datetime,
    earliest_at: datetime | None = None,
) -> None:
    """Take `quantity` GPUs in each hour of [start_at, end_at), or none at all.

    The windows of a refusal start at `earliest_at` or later, by default at start_at. Raises NotFreeError, DrainingError,
    InvalidHoursError, InvalidQuantityError; none of them breaks the caller's transaction.
    """
    hours = hours_between(start_at, end_at)
    _require_quantity(quantity)
    _require_transaction()
    slots.lock(pool.pk, "shared")
    if not slots.add(pool.pk, quantity, start_at, end_at, hours):
        raise refusal(pool=pool, quantity=quantity, start_at=start_at, end_at=end_at, earliest_at=earliest_at)


def release(*, pool: CapacityPool, quantity: int, start_at: datetime, end_at: datetime) -> None:
    """Give back `quantity` GPUs in each hour of [start_at, end_at). A shortfall shrinks by it.

    Raises NotTakenError, InvalidHoursError, InvalidQuantityError.
    """
    hours = hours_between(start_at, end_at)
    _require_quantity(quantity)
    _require_transaction()
    freed = slots.subtract(pool.pk, quantity, start_at, end_at)
    if freed != hours:
        raise NotTakenError(
            f"quantity is {quantity}: expected as many taken of pool {pool} in each hour from {start_at.isoformat()} to"
            f" {end_at.isoformat()}, and {hours - freed} of {hours} hours have fewer"
        )


def refusal(
    *, pool: CapacityPool, quantity: int, start_at: datetime, end_at: datetime, earliest_at: datetime | None = None
) -> Exception:
    """Why `take` would not give it, as what it would raise."""
    drains_at, most = slots.pool(pool.pk, end_at)
    if drains_at is not None and end_at > drains_at:
        return DrainingError(pool, drains_at)
    if quantity > most:
        return _too_many(pool, quantity, most)
    windows: list[Window] = []
    for around in _LOOK_AROUND:
        from_at = max(next_hour(earliest_at or start_at), start_at - around)
        free = slots.free([pool.pk], from_at, end_at + around)[pool.pk]
        windows = nearest_windows(free, from_at, quantity, (start_at, end_at), _SUGGESTED)
        # What is farther away than this was looked at in part only, and something nearer may lie beyond.
        if len(windows) == _SUGGESTED and all(abs(one.start_at - start_at) <= around for one in windows):
            break
    return NotFreeError(pool, quantity, start_at, end_at, tuple(windows))


def _too_many(pool: CapacityPool, quantity: int, most: int) -> InvalidQuantityError:
    return InvalidQuantityError(f"quantity is {quantity}: expected 1 to {most} GPUs, as many as pool {pool} has")


# What is free


def free_by_hour(*, pools: Sequence[CapacityPool], start_at: datetime, end_at: datetime) -> dict[int, list[int]]:
    """Pool id to the GPUs that can be taken in each hour of [start_at, end_at), in one query. Raises InvalidHoursError."""
    hours_between(start_at, end_at)
    return slots.free([pool.pk for pool in pools], start_at, end_at)


def find_windows(
    *, pool: CapacityPool, quantity: int, hours: int, earliest_at: datetime, latest_at: datetime, limit: int = 5
) -> list[Window]:
    """The first `limit` windows of so many hours within [earliest_at, latest_at) that have the GPUs free, none over another.

    Raises InvalidHoursError, InvalidQuantityError.
    """
    _require_quantity(quantity)
    if hours < 1:
        raise InvalidHoursError(f"hours is {hours}: expected at least 1")
    free = free_by_hour(pools=[pool], start_at=earliest_at, end_at=latest_at)[pool.pk]
    return first_windows(free, earliest_at, quantity, hours, limit)


# How much there is


@retrying
def set_capacity(
    *, pool: CapacityPool, gpus: int, from_at: datetime, cause: str, at: datetime, actor: str
) -> Incident | None:
    """Let the pool have `gpus` from `from_at`, a whole hour, until its next change, if one is planned.

    Never refused for what is taken: hours with more taken lack the rest, get nothing more, and are named by the pool's one
    open incident, which is returned. One that this leaves nothing to name is closed. Raises InvalidHoursError for an
    hour that is over, InvalidQuantityError.
    """
    if gpus < 0:
        raise InvalidQuantityError(f"gpus is {gpus}: expected 0 or more")
    require_not_over("from_at", from_at, at)
    with transaction.atomic():
        slots.lock(pool.pk, "alone")
        now = CapacityPool.objects.get(pk=pool.pk)
        changes = CapacityChange.objects.filter(pool=pool)
        if not changes.exists():
            CapacityChange.objects.create(pool=pool, from_at=EPOCH, gpus=now.gpus, at=at, actor=actor)
        CapacityChange.objects.update_or_create(
            pool=pool, from_at=from_at, defaults={"gpus": gpus, "cause": cause, "at": at, "actor": actor}
        )
        until = changes.filter(from_at__gt=from_at).order_by("from_at").values_list("from_at", flat=True).first()
        slots.resize(pool.pk, gpus, from_at, until)
        _turn(pool, at)
        return _settle(pool, at=at, cause=cause, actor=actor)


def _turn(pool: CapacityPool, at: datetime) -> None:
    """Let the pool's row say what is there now."""
    there = CapacityChange.objects.filter(pool=pool, from_at__lte=at).order_by("-from_at").first()
    if there is not None:
        CapacityPool.objects.filter(pk=pool.pk).exclude(gpus=there.gpus).update(gpus=there.gpus)


def _settle(pool: CapacityPool, *, at: datetime, cause: str, actor: str) -> Incident | None:
    """Let the pool's open incident name the hours that lack GPUs, from now on; open or close it accordingly.

    The caller has the pool alone. An incident's own past hours stay in it: they were short.
    """
    incident = (
        Incident.objects.filter(pool=pool, kind=Incident.Kind.SHORTFALL, closed_at__isnull=True)
        .select_for_update()
        .first()
    )
    now_at = hour_of(at)
    from_at = min(now_at, incident.start_at) if incident else now_at
    short = CapacitySlot.objects.filter(pool=pool, shortfall__gt=0, hour__gte=from_at).aggregate(
        first=Min("hour"), last=Max("hour"), most=Max("shortfall")
    )
    facts = {}
    if short["last"] is not None:
        facts = {"start_at": short["first"], "end_at": short["last"] + HOUR, "quantity": short["most"]}
    is_over = short["last"] is None or short["last"] < now_at
    if incident is None:
        if is_over:
            return None
        return Incident.objects.create(
            pool=pool, kind=Incident.Kind.SHORTFALL, cause=cause, opened_at=at, actor=actor, **facts
        )
    if is_over:
        facts |= {"closed_at": at, "closed_by": actor}
    elif cause:
        facts |= {"cause": cause}
    for field, value in facts.items():
        setattr(incident, field, value)
    incident.save(update_fields=facts)
    return None if is_over else incident


@retrying
def drain(*, pool: CapacityPool, from_at: datetime, at: datetime, actor: str) -> CapacityPool:
    """Let nothing more be taken of the pool from `from_at`, a whole hour, on. What is taken stays. Raises InvalidHoursError."""
    require_not_over("from_at", from_at, at)
    return _set_drain(pool, from_at, actor)


@retrying
def undrain(*, pool: CapacityPool, at: datetime, actor: str) -> CapacityPool:  # noqa: ARG001  - one shape for all verbs
    """Let the pool be taken again."""
    return _set_drain(pool, None, actor)


def _set_drain(pool: CapacityPool, drains_at: datetime | None, actor: str) -> CapacityPool:
    with transaction.atomic():
        slots.lock(pool.pk, "alone")
        CapacityPool.objects.filter(pk=pool.pk).update(drains_at=drains_at, drain_actor=actor)
    pool.drains_at, pool.drain_actor = drains_at, actor
    return pool


# Maintenance takes hours as a reservation does


@retrying
def plan_maintenance(
    *,
    pool: CapacityPool,
    quantity: int,
    start_at: datetime,
    end_at: datetime,
    reason: str,
    at: datetime,
    actor: str,
    force: bool = False,
) -> Maintenance:
    """Take `quantity` GPUs out of service over [start_at, end_at). The same facts again give the row that is there.

    Where too few are free it is refused with TakenError; with `force` those hours lack GPUs, as when capacity is lost. A
    drain does not keep it out. Raises InvalidHoursError, InvalidQuantityError, TakenError.
    """
    hours_between(start_at, end_at)
    _require_quantity(quantity)
    require_not_over("start_at", start_at, at)
    facts = {"quantity": quantity, "start_at": start_at, "end_at": end_at, "reason": reason}
    with transaction.atomic():
        slots.lock(pool.pk, "alone")
        same = Maintenance.objects.filter(pool=pool, state=Maintenance.State.PLANNED, **facts).first()
        if same is not None:
            return same
        free = slots.free([pool.pk], start_at, end_at, while_draining=True)[pool.pk]
        missing = {start_at + n * HOUR: quantity - left for n, left in enumerate(free) if left < quantity}
        if quantity > (most := slots.pool(pool.pk, end_at)[1]):
            raise _too_many(pool, quantity, most)
        if missing and not force:
            raise TakenError(pool, quantity, missing)
        slots.add_over(pool.pk, quantity, start_at, end_at)
        if missing:
            _settle(pool, at=at, cause=reason, actor=actor)
        return Maintenance.objects.create(pool=pool, created_at=at, actor=actor, **facts)


@retrying
def cancel_maintenance(*, maintenance: Maintenance, at: datetime, actor: str) -> Maintenance:
    """Give its hours back before it begins; again, it changes nothing. Raises MaintenanceOverError."""
    return _end_maintenance(maintenance, Maintenance.State.CANCELLED, at, actor)


@retrying
def finish_maintenance(*, maintenance: Maintenance, at: datetime, actor: str) -> Maintenance:
    """End it, and give back the hours that it no longer needs; again, it changes nothing. Raises MaintenanceOverError."""
    return _end_maintenance(maintenance, Maintenance.State.DONE, at, actor)


def _end_maintenance(maintenance: Maintenance, state: Maintenance.State, at: datetime, actor: str) -> Maintenance:
    with transaction.atomic():
        slots.lock(maintenance.pool_id, "alone")
        row = Maintenance.objects.select_for_update().select_related("pool").get(pk=maintenance.pk)
        if row.state == state:
            return row
        begun, cancelled = row.start_at <= at, state == Maintenance.State.CANCELLED
        if row.state != Maintenance.State.PLANNED or begun == cancelled:
            raise MaintenanceOverError(
                f"maintenance {row.pk} is {row.state} and begins at {row.start_at.isoformat()}: expected one that is planned and"
                f" {'has not begun: finish it' if cancelled else 'has begun: cancel it'}"
            )
        end_at, row.state, row.ended_by = row.end_at, state.value, actor
        free_at = row.start_at if cancelled else max(next_hour(at), row.start_at + HOUR)
        if not cancelled:
            row.end_at = min(end_at, free_at)
        row.save(update_fields=["state", "end_at", "ended_by"])
        if free_at < end_at:
            release(pool=row.pool, quantity=row.quantity, start_at=free_at, end_at=end_at)
            _settle(row.pool, at=at, cause="", actor=actor)
    return row


# Incidents


@retrying
def open_outage(
    *,
    pool: CapacityPool,
    quantity: int,
    start_at: datetime,
    cause: str,
    at: datetime,
    actor: str,
    end_at: datetime | None = None,
) -> Incident:
    """Say that `quantity` GPUs of the pool are out of order from `start_at` on, to any second, until it is closed.

    It changes no slots: whether fewer can be sold is said by `set_capacity`. The same open outage again is the one that
    is there. Raises InvalidHoursError, InvalidQuantityError.
    """
    _require_quantity(quantity)
    require_aware("start_at", start_at)
    if end_at is not None and end_at <= start_at:
        raise InvalidHoursError(f"end_at is {end_at.isoformat()}: expected later than {start_at.isoformat()}")
    facts = {"kind": Incident.Kind.OUTAGE, "quantity": quantity, "start_at": start_at, "cause": cause}
    with transaction.atomic():
        slots.lock(pool.pk, "alone")
        same = Incident.objects.filter(pool=pool, closed_at__isnull=True, **facts).first()
        return same or Incident.objects.create(pool=pool, end_at=end_at, opened_at=at, actor=actor, **facts)


@retrying
def close_incident(*, incident: Incident, at: datetime, actor: str, end_at: datetime | None = None) -> Incident:
    """End an outage, at `end_at` or now. Closed again, it stays as it was. Raises ShortfallStaysError, InvalidHoursError."""
    with transaction.atomic():
        slots.lock(incident.pool_id, "alone")
        row = Incident.objects.select_for_update().select_related("pool").get(pk=incident.pk)
        if row.closed_at is not None:
            return row
        if row.kind == Incident.Kind.SHORTFALL:
            if _settle(row.pool, at=at, cause="", actor=actor) is not None:
                raise ShortfallStaysError(
                    f"incident {row.pk}: up to {row.quantity} GPUs of pool {row.pool} are missing until {row.end_at}: expected"
                    " more capacity, or fewer reservations in these hours"
                )
            row.refresh_from_db()
            return row
        ended_at = end_at or (min(row.end_at, at) if row.end_at else at)
        if ended_at <= row.start_at:
            raise InvalidHoursError(f"end_at is {ended_at.isoformat()}: expected later than {row.start_at.isoformat()}")
        row.end_at, row.closed_at, row.closed_by = ended_at, at, actor
        row.save(update_fields=["end_at", "closed_at", "closed_by"])
    return row


def is_troubled(*, pool: CapacityPool, start_at: datetime, end_at: datetime) -> bool:
    """Whether an incident of the pool is open and touches [start_at, end_at)."""
    return slots.is_troubled(pool.pk, start_at, end_at)


# What comes due, and what is wrong


def watch(*, at: datetime, actor: str = "task:capacity") -> None:
    """Let pools have what was planned for now, close shortfalls that are over, and end maintenance that is. Run it again
    and again; each pool has a transaction of its own. Raises SweepError at the end if any failed.
    """
    there = CapacityChange.objects.filter(pool=OuterRef("pk"), from_at__lte=at).order_by("-from_at").values("gpus")[:1]
    turned = CapacityPool.objects.annotate(there=Subquery(there)).filter(~Q(there=F("gpus")), there__isnull=False)
    short = CapacityPool.objects.filter(incidents__kind=Incident.Kind.SHORTFALL, incidents__closed_at__isnull=True)
    pools = sorted({*turned, *short}, key=lambda pool: pool.pk)
    try:
        sweeps.each(pools, lambda pool: _watch_pool(pool=pool, at=at, actor=actor), what="the watch of a pool")
    finally:
        Maintenance.objects.filter(state=Maintenance.State.PLANNED, end_at__lte=at).update(
            state=Maintenance.State.DONE, ended_by=actor
        )


@retrying
def _watch_pool(*, pool: CapacityPool, at: datetime, actor: str) -> None:
    with transaction.atomic():
        slots.lock(pool.pk, "alone")
        _turn(pool, at)
        _settle(pool, at=at, cause="", actor=actor)


def mismatches(*, from_at: datetime = EPOCH) -> list[Mismatch]:
    """The hours from `from_at` on whose slot is wrong, of all pools; there should be none.

    In each hour what is taken is the sum of the live reservations and of the maintenance that was not cancelled; what is
    there is what was last said of it; a shortfall is exactly what is taken beyond that, and an incident names the hour.
    What a reservation that has ended took stays taken in the hours that are over: ask from the hour of now on.
    """
    return slots.mismatches(from_at)


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("capacity is taken and given back within the caller's transaction")


def _require_quantity(quantity: int) -> None:
    if quantity < 1:
        raise InvalidQuantityError(f"quantity is {quantity}: expected at least 1 GPU")
