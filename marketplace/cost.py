"""What the hours of a reservation cost so far: use by the meter, at the bill's own rules, and of what was quoted for reserving
the part of the hours that are over.

Readings are of contracts: reservations at one version of one provider's prices that run at the same time share one, and their
use can't be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from billing import charging
from billing.rating import money
from billing.rating.quantity import Profile
from marketplace import month
from marketplace.forecast import INTERVAL, Readings
from marketplace.reservations.endings import pieces

if TYPE_CHECKING:
    from billing.models import BillingPeriod, Contract, Issuer, Meter
    from marketplace.models import Reservation

METERED = ("energy", "demand")
_STEP_SECONDS = 900
_SECOND = timedelta(seconds=1)


def to_date(*, reservation: Reservation, until_at: datetime) -> dict[str, int] | None:
    """Net by kind of charge, in minor units, of [start_at, until_at). None where it has no contract or can't be priced.

    `reservation` comes with its contract, and that with its account and issuer.
    """
    if reservation.contract is None:
        return None
    sums = _used(reservation, reservation.contract, until_at)
    if sums is None:
        return None
    for kind, amount_minor in _reserved(reservation, until_at).items():
        sums[kind] = sums.get(kind, 0) + amount_minor
    return sums


@dataclass(frozen=True)
class Within:
    """A reader: the contract's stored readings in [start_at, end_at), and nothing else."""

    readings: Readings
    contract: Contract
    start_at: datetime
    end_at: datetime

    def __call__(self, *, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:
        if contract.pk != self.contract.pk:
            return Profile(start_at.astimezone(UTC), _STEP_SECONDS, [0] * ((end_at - start_at) // INTERVAL))
        stored = self.readings(contract=contract, meter=meter, start_at=start_at, end_at=end_at)
        first = (self.start_at - start_at) // INTERVAL
        last = (self.end_at - start_at) // INTERVAL
        kept = [quantity if first <= place < last else 0 for place, quantity in enumerate(stored.quantities)]
        return Profile(stored.start, stored.interval_seconds, kept)


def _used(row: Reservation, contract: Contract, until_at: datetime) -> dict[str, int] | None:
    """Net by kind of what the meter counts, for use within the reservation's hours alone."""
    read = Within(Readings([contract]), contract, row.start_at, until_at)
    ours = (contract.tariff_version_id, contract.provider_id)
    sums: dict[str, int] = {}
    for period in _months(row, until_at, contract.account.issuer):
        try:
            charges = charging.charges(account=contract.account, period=period, read=read)
        except charging.NotChargeableError:
            return None
        for charged in charges.lines:
            kind = charged.line.kind
            if kind in METERED and (charged.tariff_version_id, charged.supply.provider_id) == ours:
                sums[kind] = sums.get(kind, 0) + charged.amount_minor
    return sums


def _reserved(row: Reservation, until_at: datetime) -> dict[str, int]:
    """Net by kind of what else was quoted, extensions included: its part by time up to until_at."""
    sums: dict[str, Fraction] = {}
    for piece in pieces(row):
        quote = piece.quote
        gone = min(until_at, piece.end_at) - quote.start_at
        part = Fraction(max(0, gone // _SECOND), (quote.end_at - quote.start_at) // _SECOND)
        for told in quote.parts:
            if told["kind"] not in METERED:
                sums[told["kind"]] = sums.get(told["kind"], Fraction(0)) + told["amount_minor"] * part
    return {kind: money.round_half_up(amount, 0) for kind, amount in sums.items()}


def _months(row: Reservation, until_at: datetime, issuer: Issuer) -> list[BillingPeriod]:
    zone = ZoneInfo(issuer.timezone)
    first, last = row.start_at.astimezone(zone), until_at.astimezone(zone)
    found = []
    year, number = first.year, first.month
    while (year, number) <= (last.year, last.month):
        found.append(month.named(issuer=issuer, year=year, month=number))
        year, number = year + number // 12, number % 12 + 1
    return found
