"""What stands behind a line of an invoice, or of a preview of one: the readings that it counts, and their digest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from billing import digests, evidence
from billing.models import Contract, Meter
from billing.rating.period import Period
from marketplace import consumption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from billing.charging import Reader
    from billing.evidence import Part
    from billing.models import BillingPeriod

METERED = ("energy", "demand")


@dataclass(frozen=True)
class Told:
    """A line of a snapshot, as billing.evidence asks for it."""

    charge: str
    tou_period: str | None
    start_at: datetime
    end_at: datetime
    explanation: Mapping[str, Any]


@dataclass(frozen=True)
class Behind:
    """`parts`: the readings in time order, each with what of it counts. `contracts`: whose they are, in time order.

    `is_as_billed`: do they still make what the line says? Usage that came later changes readings and no invoice.
    """

    meter: Meter
    contracts: Sequence[Contract]
    parts: Sequence[Part]
    is_as_billed: bool

    @property
    def counted(self) -> int:
        """Base units."""
        return sum(part.counted for part in self.parts)

    def contract_of(self, part: Part) -> Contract:
        return next((each for each in reversed(self.contracts) if each.start_at <= part.start_at), self.contracts[0])

    def rows(self) -> list[digests.Row]:
        """The readings in the order of the canonical text, whole, also where the line counts a part of one."""
        found = [(self.contract_of(part).number, self.meter.code, part.start_at, part.quantity) for part in self.parts]
        return sorted(found, key=lambda row: (row[0].encode(), row[2]))

    def text(self) -> bytes:
        """What the digest is of."""
        return b"".join(digests.lines(self.rows()))

    def digest(self) -> str:
        return digests.of_readings(self.rows())


def behind(*, line: Mapping[str, Any], contract: Contract, period: BillingPeriod, read: Reader) -> Behind | None:
    """Of a line of a snapshot; None where readings have no part in it, or it corrects one that has. Three queries, and those of `read`.

    Raises Meter.DoesNotExist.
    """
    if line["kind"] not in METERED or "correction" in line["explanation"]:
        return None
    told: Mapping[str, Any] = line["explanation"]
    meter = Meter.objects.get(code=told["meter"])
    versions = consumption.versions_of([contract])[consumption.prices_of(contract)]
    start, end = (datetime.fromisoformat(line[edge]) for edge in ("start", "end"))
    together, contracts, read = evidence.whole(contract=contract, read=read, at=start)
    source = evidence.Source(together, meter, versions, read)
    find = evidence.energy if line["kind"] == "energy" else evidence.demand
    found = find(
        line=Told(line["charge"], line["tou_period"], start, end, told),
        source=source,
        period=Period(period.start_at, period.end_at, period.timezone),
    )
    parts = [part for part in found if part.counted]
    billed = line["quantity_base"] if line["kind"] == "energy" else told["measured_base"]
    return Behind(meter, contracts, parts, is_as_billed=sum(part.counted for part in parts) == billed)
