"""What was promised and not delivered, from the readings that the bill is made of, with each fault named.

Only a fault of the provider counts, and only as far as its GPUs were not used: a late start, an outage, less capacity than
was reserved. In each interval of 15 minutes, lost = the least of what the faults took, what was reserved and what the
readings lack of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from django.db.models import Q, Sum

from billing import one_off
from billing.models import OneOffCharge, Reading, ReservedSpan
from billing.rating import money
from marketplace.models import Incident, Reservation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

INTERVAL = timedelta(minutes=15)
METER = "gpu_hours"


@dataclass(frozen=True, slots=True)
class Fault:
    """`gpus` could not be used over [start_at, end_at), as `kind` says: late, outage or shortfall. `cause` is in words."""

    kind: str
    start_at: datetime
    end_at: datetime
    gpus: int
    cause: str

    def __str__(self) -> str:
        named = f" ({self.cause})" if self.cause else ""
        return f"{self.kind} {self.start_at.isoformat()}/{self.end_at.isoformat()}, {self.gpus} GPU{named}"


@dataclass(frozen=True, slots=True)
class Measured:
    """GPU-seconds of a reservation from its start to its end: what was reserved, and what of it was lost to faults."""

    reserved: int
    lost: int
    faults: tuple[Fault, ...]

    @property
    def uptime_percent(self) -> Fraction:
        return 100 - Fraction(100 * self.lost, self.reserved)


def measure(*, reservation: Reservation) -> Measured:
    """What the reservation lost, in four queries however long it is."""
    row = Reservation.objects.select_related("provision").get(pk=reservation.pk)
    faults = tuple(sorted(_faults(row), key=lambda fault: (fault.start_at, fault.kind)))
    seconds = (row.end_at - row.start_at) // timedelta(seconds=1)
    if not faults:
        return Measured(row.quantity * seconds, 0, ())
    spans = list(_spans(row))
    used = _used({span.contract_id for span in spans}, row)
    lost = 0
    for start_at in _intervals(row, faults):
        end_at = start_at + INTERVAL
        taken = sum(fault.gpus * _seconds(fault.start_at, fault.end_at, start_at, end_at) for fault in faults)
        reserved = sum(span.quantity * _seconds(span.start_at, span.end_at, start_at, end_at) for span in spans)
        own = row.quantity * _seconds(row.start_at, row.end_at, start_at, end_at)
        lost += max(0, min(taken, own, reserved - used.get(start_at, 0)))
    return Measured(row.quantity * seconds, lost, faults)


def credit(*, reservation: Reservation, at: datetime, actor: str) -> OneOffCharge | None:
    """Credit the buyer what was agreed if a completed reservation had less than the service level that it was quoted; None
    if nothing is due. Again, it is the same credit. It counts in the month of `at`.
    """
    row = Reservation.objects.select_related("quote", "contract").get(pk=reservation.pk)
    level, percent = (row.quote.terms.get(name) for name in ("service_level_percent", "service_credit_percent"))
    if row.state != Reservation.State.COMPLETED or row.contract is None or not level or not percent:
        return None
    source = f"reservation:{row.pk}:service-level"
    before = OneOffCharge.objects.filter(contract=row.contract, source=source).first()
    if before is not None:
        return before
    measured = measure(reservation=row)
    if measured.uptime_percent >= Fraction(Decimal(level)):
        return None
    paid_minor = row.months.aggregate(paid=Sum("net_minor"))["paid"] or 0
    amount_minor = money.round_half_up(Fraction(paid_minor) * Fraction(Decimal(percent)) / 100, 0)
    if amount_minor <= 0:
        return None
    return one_off.charge(
        contract=row.contract,
        kind="credit",
        code=one_off.SERVICE_CREDIT,
        at=at,
        amount_minor=-amount_minor,
        why=_why(row, measured, level, percent, paid_minor),
        source=source,
        actor=actor,
        now=at,
    )


def _why(row: Reservation, measured: Measured, level: str, percent: str, paid_minor: int) -> dict[str, str | int]:
    """What the invoice's line says: texts and whole numbers."""
    thousandths = measured.uptime_percent * 1000 // 1  # rounded down: what is short never looks as if it was reached
    return {
        "reservation": str(row.pk),
        "of_amount": str(Decimal(paid_minor).scaleb(-money.exponent(row.currency))),
        "value": percent,
        "service_level_percent": level,
        "uptime_percent": str(Decimal(thousandths).scaleb(-3)),
        "reserved_gpu_seconds": measured.reserved,
        "lost_gpu_seconds": measured.lost,
        "faults": "; ".join(map(str, measured.faults)),
    }


def _faults(row: Reservation) -> Iterator[Fault]:
    """Within the reservation's hours."""
    provision = getattr(row, "provision", None)
    due_at = row.start_at if provision is None else max(provision.due_at, row.start_at)
    ready_at = (row.started_at if provision is None else provision.running_at) or row.end_at
    if min(ready_at, row.end_at) > due_at:
        yield Fault("late", due_at, min(ready_at, row.end_at), row.quantity, "")
    overlaps = Q(start_at__lt=row.end_at) & (Q(end_at__isnull=True) | Q(end_at__gt=row.start_at))
    for incident in Incident.objects.filter(overlaps, pool=row.pool_id):
        end_at = min(incident.end_at or row.end_at, row.end_at)
        yield Fault(incident.kind, max(incident.start_at, row.start_at), end_at, incident.quantity, incident.cause)


def _spans(row: Reservation) -> Iterable[ReservedSpan]:
    """All that is reserved, over these hours, on the contracts that the reservation is on: their readings are of all of it.
    What they lack counts for this reservation, whichever of the buyer's it was: in doubt for the buyer.
    """
    own = ReservedSpan.objects.filter(source__startswith=f"reservation:{row.pk}", withdrawn_at__isnull=True)
    return ReservedSpan.objects.filter(
        Q(end_at__isnull=True) | Q(end_at__gt=row.start_at),
        contract__in=own.values("contract"),
        withdrawn_at__isnull=True,
        start_at__lt=row.end_at,
    )


def _used(contracts: set[int], row: Reservation) -> dict[datetime, int]:
    readings = Reading.objects.filter(
        contract__in=contracts, meter__code=METER, start_at__gte=row.start_at, start_at__lt=row.end_at
    )
    return dict(readings.values_list("start_at").annotate(Sum("quantity")))


def _intervals(row: Reservation, faults: Iterable[Fault]) -> Iterator[datetime]:
    """The intervals that a fault touches, each once."""
    numbers = set()
    for fault in faults:
        first = (fault.start_at - row.start_at) // INTERVAL
        last = -((row.start_at - fault.end_at) // INTERVAL)
        numbers |= set(range(first, last))
    return (row.start_at + number * INTERVAL for number in sorted(numbers))


def _seconds(start_at: datetime, end_at: datetime | None, first_at: datetime, last_at: datetime) -> int:
    """How many whole seconds of [first_at, last_at) lie in [start_at, end_at)."""
    until_at = last_at if end_at is None else min(end_at, last_at)
    return max(0, (until_at - max(start_at, first_at)) // timedelta(seconds=1))
