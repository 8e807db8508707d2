"""Use of several contracts together, by 15 minutes: what was used in which time-of-use period, what was reserved, and
where readings are missing. What the charts are drawn from; money is charging's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from django.db.models import Count, Max, Min, OuterRef, Q, Subquery, Sum, TextField
from django.db.models.functions import Cast

from billing import tariffs
from billing.models import Contract, Meter, Reading, ReservedSpan, TariffVersion
from billing.rating.period import Period
from billing.rating.quantity import Unit
from billing.rating.tariff import Energy, Tariff
from billing.time_of_use import Versions, labels

INTERVAL = timedelta(minutes=15)
_MARGIN = timedelta(days=1)
_EVER = datetime.min.replace(tzinfo=UTC)

Prices = tuple[int, int | None]
"""A tariff's id, and that of the version that is held to, None where all versions apply from their time on."""


@dataclass(frozen=True, slots=True)
class Use:
    """One stretch of time. `parts`: base units by time-of-use period. `reserved`: demand units, summed over its intervals,
    of which each could use `per_reserved` base units.

    missing: intervals of it for which a contract that sent readings before and after has none.
    """

    start_at: datetime
    end_at: datetime
    parts: Mapping[str, int]
    reserved: int
    per_reserved: Fraction
    missing: int
    is_read: bool

    @property
    def reserved_base(self) -> Fraction:
        return self.reserved * self.per_reserved

    @property
    def used_base(self) -> int:
        return sum(self.parts.values())


def prices_of(contract: Contract) -> Prices:
    """Which versions a contract goes by: those of its tariff, or the one that it holds to."""
    return contract.tariff_id, contract.tariff_version_id


def versions_of(contracts: Sequence[Contract]) -> dict[Prices, Versions]:
    """The parsed tariff versions that the contracts go by, the oldest first; one that is held to, from ever. One query."""
    found: dict[Prices, list[tuple[datetime, Tariff]]] = {prices_of(contract): [] for contract in contracts}
    tariff_ids = {tariff_id for tariff_id, version_id in found if version_id is None}
    held = {version_id for _, version_id in found if version_id is not None}
    rows = TariffVersion.objects.filter(Q(tariff__in=tariff_ids) | Q(pk__in=held))
    rows = rows.annotate(text=Cast("document", TextField())).defer("document")
    for version in rows.order_by("tariff_id", "version"):
        tariff = tariffs.parsed(version.text)
        if (version.tariff_id, None) in found:
            found[version.tariff_id, None].append((version.effective_at, tariff))
        if (version.tariff_id, version.pk) in found:
            found[version.tariff_id, version.pk].append((_EVER, tariff))
    return dict(found)


def meter_codes(versions: Mapping[Prices, Versions]) -> list[str]:
    """The meters that the tariffs' energy charges name, in the order in which they first do."""
    return list(
        dict.fromkeys(
            charge.meter
            for each in versions.values()
            for _, tariff in reversed(each)
            for charge in tariff.charges
            if isinstance(charge, Energy)
        )
    )


def newest_at(*, contracts: Sequence[Contract], meter: Meter) -> datetime | None:
    """When the newest reading of these begins; None if there is none. One query: a look at the index for each contract."""
    last = Reading.objects.filter(contract=OuterRef("pk"), meter=meter).order_by("-start_at").values("start_at")[:1]
    rows = Contract.objects.filter(pk__in=[contract.pk for contract in contracts])
    found: datetime | None = rows.aggregate(newest=Max(Subquery(last)))["newest"]
    return found


def use(
    *, contracts: Sequence[Contract], meter: Meter, versions: Mapping[Prices, Versions], period: Period
) -> list[Use]:
    """The use of each interval of `period`, whose edges are on quarter hours. Three queries."""
    count = (period.end - period.start) // INTERVAL
    parts: list[dict[str, int]] = [{} for _ in range(count)]
    present = [0] * count
    names = {prices: labels(versions=each, period=period, meter=meter.code) for prices, each in versions.items()}
    rows = Reading.objects.filter(
        contract__in=[contract.pk for contract in contracts],
        meter=meter,
        start_at__gte=period.start,
        start_at__lt=period.end,
    )
    sums = rows.values_list("contract__tariff_id", "contract__tariff_version_id", "start_at").annotate(
        sum=Sum("quantity"), contracts=Count("*")
    )
    for tariff_id, version_id, start_at, quantity, readings in sums.order_by("start_at"):
        number = (start_at - period.start) // INTERVAL
        name = names[tariff_id, version_id][number]
        parts[number][name] = parts[number].get(name, 0) + int(quantity)
        present[number] += readings
    expected = _expected(contracts, meter, period, count)
    reserved = _reserved(contracts, period, count)
    unit = Unit(meter.base_unit, meter.unit, meter.demand_unit, meter.base_per_unit)
    per_reserved = 1 / unit.demand(1, 900)  # what one demand unit uses in an interval
    return [
        Use(
            start_at=period.start + number * INTERVAL,
            end_at=period.start + (number + 1) * INTERVAL,
            parts=parts[number],
            reserved=reserved[number],
            per_reserved=per_reserved,
            missing=max(0, expected[number] - present[number]),
            is_read=present[number] > 0,
        )
        for number in range(count)
    ]


def joined(uses: Sequence[Use]) -> Use:
    """Several stretches that follow each other, as one."""
    parts: dict[str, int] = {}
    for each in uses:
        for name, quantity in each.parts.items():
            parts[name] = parts.get(name, 0) + quantity
    return Use(
        start_at=uses[0].start_at,
        end_at=uses[-1].end_at,
        parts=parts,
        reserved=sum(each.reserved for each in uses),
        per_reserved=uses[0].per_reserved,
        missing=sum(each.missing for each in uses),
        is_read=any(each.is_read for each in uses),
    )


def _expected(contracts: Sequence[Contract], meter: Meter, period: Period, count: int) -> list[int]:
    """How many contracts should have a reading in each interval: those that have one before and one after it."""
    rows = Reading.objects.filter(
        contract__in=[contract.pk for contract in contracts],
        meter=meter,
        start_at__gte=period.start - _MARGIN,
        start_at__lt=period.end + _MARGIN,
    )
    changes = [0] * (count + 1)
    for _, first_at, last_at in rows.values_list("contract_id").annotate(Min("start_at"), Max("start_at")).order_by():
        changes[_place(first_at, period, count)] += 1
        changes[_place(last_at + INTERVAL, period, count)] -= 1
    return _running(changes)


def _reserved(contracts: Sequence[Contract], period: Period, count: int) -> list[int]:
    """How many demand units are reserved in each interval. Spans begin and end on quarter hours."""
    changes = [0] * (count + 1)
    spans = ReservedSpan.objects.filter(
        contract__in=[contract.pk for contract in contracts], start_at__lt=period.end, withdrawn_at=None
    ).values_list("quantity", "start_at", "end_at")
    for quantity, start_at, end_at in spans:
        changes[_place(start_at, period, count)] += quantity
        changes[count if end_at is None else _place(end_at, period, count)] -= quantity
    return _running(changes)


def _place(at: datetime, period: Period, count: int) -> int:
    return min(count, max(0, (at - period.start) // INTERVAL))


def _running(changes: Sequence[int]) -> list[int]:
    found, level = [], 0
    for change in changes[:-1]:
        level += change
        found.append(level)
    return found
