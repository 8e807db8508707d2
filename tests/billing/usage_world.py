"""A provider, its contracts and meters, made row by row: what tests of usage stand on."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing.models import Account, Contract, Issuer, Meter, Party, Reading, Tariff
from billing.usage import Event, Recorded, record

START = datetime(2020, 4, 30, 16, tzinfo=UTC)
END = datetime(2020, 5, 31, 16, tzinfo=UTC)
NOW = datetime(2020, 6, 1, tzinfo=UTC)
SHANGHAI = timedelta(hours=8)


@dataclass
class World:
    provider: Party
    other_provider: Party
    account: Account
    tariff: Tariff

    def contract(self, number, *, provider=None, start_at=START, end_at=END) -> Contract:
        return Contract.objects.create(
            number=number,
            account=self.account,
            tariff=self.tariff,
            provider=provider or self.provider,
            fee_percent=10,
            start_at=start_at,
            end_at=end_at,
            actor="test",
        )

    def record(self, *events, at=NOW) -> Recorded:
        return record(owner=self.provider, events=events, at=at)

    def outcomes(self, *events, at=NOW) -> list[str]:
        return [result.outcome for result in self.record(*events, at=at).results]

    def only(self, event, at=NOW):
        """Outcome, field and reason of the one item."""
        [result] = self.record(event, at=at).results
        return result[1:]


def world() -> World:
    operator, provider, other = (
        Party.objects.create(legal_name=name, credit_code=code, created_at=START)
        for name, code in (
            ("Op", "91310115MA1H7YHPX1"),
            ("Provider", "91310115MA1H7YHPX2"),
            ("Other", "91310115MA1H7YHPX3"),
        )
    )
    issuer = Issuer.objects.create(
        code="lg", party=operator, timezone="Asia/Shanghai", currency="CNY", number_prefix="LG"
    )
    account = Account.objects.create(issuer=issuer, code="A", party=operator, created_at=START)
    made = World(provider, other, account, Tariff.objects.create(code="T", name="T"))
    made.contract("C-1")
    made.contract("C-2")
    meter("gpu_hours", "gpu.sample")
    return made


def meter(code, event_type, *, kind="gauge", aggregation="sum", **fields) -> Meter:
    return Meter.objects.create(
        code=code,
        name=code,
        event_type=event_type,
        kind=kind,
        aggregation=aggregation,
        base_unit=f"{code}_base",
        unit=code,
        demand_unit="gpu",
        base_per_unit=3600,
        **fields,
    )


def sample(
    event_id="e1",
    value="59",
    seconds=60,
    *,
    time=START,
    subject="C-1",
    type="gpu.sample",  # noqa: A002  - the attribute's name
    source="aidc",
    **data,
) -> Event:
    return Event(event_id, source, type, subject, time, {"value": value, "duration_seconds": seconds} | data)


def readings() -> dict[tuple[str, str, datetime], int]:
    """{(contract, meter, start): quantity} of all readings."""
    rows = Reading.objects.values_list("contract__number", "meter__code", "start_at", "quantity")
    return {(contract, code, start): quantity for contract, code, start, quantity in rows}


def at(minutes=0, seconds=0, microseconds=0) -> datetime:
    return START + timedelta(minutes=minutes, seconds=seconds, microseconds=microseconds)
