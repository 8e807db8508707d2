"""Silent meters: found and ended here, and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Min, OuterRef, Q, Subquery

from billing.models import Contract, Meter, Reading, ReservedSpan, TariffVersion, UsageEvent
from marketplace.models import MeterSilence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

INTERVAL = timedelta(minutes=15)  # of a reading


@transaction.atomic
def watch(*, at: datetime, silent_after: timedelta) -> None:
    """Open a silence for each contract with capacity reserved now and no reading for `silent_after`; end those that are over.

    A silence ends with the first later reading, or when nothing is reserved any more. Watched are the meters that the
    tariff in force prices. Running it again, or twice at once, changes nothing.
    """
    heard = {(contract.pk, meter.pk): (contract, meter, heard_at) for contract, meter, heard_at in _expected(at)}
    still_silent = set()
    for row in MeterSilence.objects.filter(ended_at__isnull=True).select_for_update().order_by("id"):
        place = row.contract_id, row.meter_id
        if place in heard and heard[place][2] <= row.since_at:
            still_silent.add(place)
        else:
            row.ended_at = _first_reading_at(row) or max(at, row.since_at)
            row.save(update_fields=["ended_at"])
    MeterSilence.objects.bulk_create(
        [
            MeterSilence(
                contract=contract,
                meter=meter,
                since_at=heard_at,
                last_event_at=_last_event_at(contract, meter),
                found_at=at,
            )
            for place, (contract, meter, heard_at) in heard.items()
            if heard_at <= at - silent_after and place not in still_silent
        ],
        ignore_conflicts=True,
    )


def _first_reading_at(row: MeterSilence) -> datetime | None:
    readings = Reading.objects.filter(contract=row.contract_id, meter=row.meter_id, start_at__gte=row.since_at)
    return readings.order_by("start_at").values_list("start_at", flat=True).first()


def _expected(at: datetime) -> Iterator[tuple[Contract, Meter, datetime]]:
    """(contract, meter, since when nothing was heard) for every contract with something reserved at `at`."""
    now = Q(start_at__lte=at, withdrawn_at=None) & (Q(end_at__isnull=True) | Q(end_at__gt=at))
    reserved = dict(
        ReservedSpan.objects.filter(now)
        .values_list("contract")
        .annotate(Min("start_at"))
        .values_list("contract", "start_at__min")
    )
    contracts = Contract.objects.filter(now, pk__in=reserved)
    for meter in Meter.objects.order_by("pk"):
        priced = _tariffs_that_price(meter, at)
        last = Reading.objects.filter(contract=OuterRef("pk"), meter=meter, start_at__lt=at).order_by("-start_at")
        held = Q(tariff_version__document__charges__contains=[{"meter": meter.code}])
        rows = contracts.filter(Q(tariff_version=None, tariff__in=priced) | held).annotate(
            last_at=Subquery(last.values("start_at")[:1])
        )
        for contract in rows.order_by("pk"):
            begun_at = max(reserved[contract.pk], contract.start_at)
            yield contract, meter, max(begun_at, contract.last_at + INTERVAL) if contract.last_at else begun_at


def _tariffs_that_price(meter: Meter, at: datetime) -> list[int]:
    """The tariffs whose version in force at `at` has a charge on `meter`."""
    in_force = TariffVersion.objects.filter(tariff=OuterRef("tariff"), effective_at__lte=at).order_by("-effective_at")
    versions = TariffVersion.objects.filter(pk=Subquery(in_force.values("pk")[:1]))
    return list(versions.filter(document__charges__contains=[{"meter": meter.code}]).values_list("tariff", flat=True))


def _last_event_at(contract: Contract, meter: Meter) -> datetime | None:
    """The time of the newest event. Only a long one can have made a reading that begins a while after it."""
    last = Reading.objects.filter(contract=contract, meter=meter).order_by("-start_at").first()
    if last is None:
        return None
    near = Q(time__gte=last.start_at - INTERVAL) | Q(duration_seconds__gt=INTERVAL.total_seconds())
    events = UsageEvent.objects.filter(near, contract=contract, meter=meter, time__lt=last.start_at + INTERVAL)
    return events.order_by("-time").values_list("time", flat=True).first()
