"""What a demo is made of: who sells, who buys, which month. Made up from a seed, or read from a trace."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from stdnum.cn import uscc

from billing.contracts import INTERVAL_SECONDS
from billing.documents.fonts import GlyphMissingError, require_glyphs
from billing.rating.period import Period
from marketplace import metering
from marketplace.demo_usage import SAMPLE_SECONDS, Workload

DEFAULT_SEED = 2026
MONTH = (2026, 10)
_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, kw_only=True)
class Firm:
    """A made-up legal person."""

    name: str
    name_en: str
    credit_code: str
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Buyer:
    """A firm, its account, its one contract, and the GPUs reserved on it as (quantity, from, until).

    A made-up buyer has a `workload`; the usage of a trace's tenant is in the trace.
    """

    code: str
    firm: Firm
    language: str
    reserved: tuple[tuple[int, datetime, datetime], ...]
    workload: Workload | None = None

    @property
    def contract(self) -> str:
        return f"C-{self.code}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a demo's database is to hold. `made_from` tells plans apart; `samples` counts the usage to come."""

    made_from: str
    tariff: str
    year: int
    month: int
    buyers: tuple[Buyer, ...]
    samples: int
    seed: int = DEFAULT_SEED
    trace: Path | None = None
    programme: str | None = None

    def under(self, programme: str) -> "Plan":
        """The same month, with a programme that is granted to every buyer: another database than without it."""
        return replace(self, programme=programme, made_from=f"{self.made_from} with {programme}")

    @property
    def title(self) -> str:
        if self.trace is None:
            return self.made_from
        return f"{self.trace.name} with {self.programme}" if self.programme else self.trace.name

    @property
    def timezone(self) -> str:
        return str(setting()["issuer"]["timezone"])

    @property
    def period(self) -> Period:
        return Period.month(self.year, self.month, self.timezone)

    @property
    def period_code(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def close_at(self) -> datetime:
        """When the month is closed: at 09:00 local time on the first day after it."""
        return self.period.end.astimezone(ZoneInfo(self.timezone)).replace(hour=9)


@cache
def setting() -> Mapping[str, Any]:
    """The cast: zone, issuer, operator, provider, buyers (`data/demo.json`)."""
    return cast("Mapping[str, Any]", json.loads((_DATA / "demo.json").read_text(encoding="utf-8")))


def tariff_document(code: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", json.loads((_DATA / "tariffs" / f"{code}.json").read_text(encoding="utf-8")))


def programmes() -> Mapping[str, Mapping[str, Any]]:
    """The cast's programmes by code."""
    return {facts["code"]: facts for facts in setting()["programmes"]}


def firm(facts: Mapping[str, Any]) -> Firm:
    """A firm of the cast, with a credit code made from its serial number."""
    return Firm(
        name=facts["name"],
        name_en=facts["name_en"],
        credit_code=credit_code("DEM", facts["serial"]),
        address=facts.get("address", ""),
    )


def credit_code(mark: str, serial: int) -> str:
    """A unified social credit code that nobody has: Pudong's region, a mark of three letters, a number, a check digit."""
    number = f"91310115{mark}{serial:06d}"
    return number + uscc.calc_check_digit(number)


def generated(*, seed: int) -> Plan:
    """The made-up month: twelve small firms in October 2026, sampled every SAMPLE_SECONDS."""
    period = Period.month(*MONTH, setting()["issuer"]["timezone"])
    buyers = tuple(
        Buyer(
            code=facts["code"],
            firm=firm(facts),
            language=facts.get("language", "zh-hans"),
            reserved=((facts["reserved"], period.start, period.end),),
            workload=Workload(
                reserved=facts["reserved"],
                shape=facts["shape"],
                runs_per_week=facts["runs_per_week"],
                run_percent=facts["run_percent"],
            ),
        )
        for facts in setting()["buyers"]
    )
    return Plan(
        made_from=f"seed {seed}",
        tariff=setting()["tariff"],
        year=MONTH[0],
        month=MONTH[1],
        buyers=buyers,
        samples=len(buyers) * period.seconds // SAMPLE_SECONDS,
        seed=seed,
    )


def traced(*, path: Path) -> Plan:
    """The month of a trace in the Helios form: an account per tenant, its GPUs reserved as the trace says.

    The plan is named by the file's SHA-256, so that a copy of the file is the same plan. Raises metering.TraceError for
    a trace that would be refused after a part of it is stored.
    """
    tenants = metering.read_helios(path=path)
    first = _month(path, tenants)
    for code, tenant in tenants.items():
        _require_samples(path, code, tenant)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    plan = Plan(
        made_from=f"trace sha256:{sha256}",
        tariff=setting()["trace_tariff"],
        year=first.year,
        month=first.month,
        buyers=tuple(_tenant(code, serial, tenants[code].reserved) for serial, code in enumerate(sorted(tenants), 1)),
        samples=sum(tenant.samples for tenant in tenants.values()),
        trace=path,
    )
    for buyer in plan.buyers:
        try:
            require_glyphs([buyer.code, buyer.contract, buyer.firm.name, buyer.firm.name_en, buyer.firm.address])
        except GlyphMissingError as error:
            raise metering.TraceError(
                f"{path}, tenant {buyer.code!r}: {error.character} (U+{ord(error.character):04X}) can't be printed on an invoice:"
                " expected a name of Chinese, Latin or other characters that the documents' font has"
            ) from error
    return plan


def _month(path: Path, tenants: Mapping[str, metering.Tenant]) -> datetime:
    """When the trace begins, in local time. Raises metering.TraceError unless it can be charged: all in one month."""
    if not any(tenant.reserved for tenant in tenants.values()):
        raise metering.TraceError(f"{path} reserves no GPU for anyone: expected a tenant with total_gpu_num above 0")
    timezone = ZoneInfo(setting()["issuer"]["timezone"])
    first = min(tenant.start_at for tenant in tenants.values()).astimezone(timezone)
    last = max(tenant.end_at for tenant in tenants.values()).astimezone(timezone)
    if last > Period.month(first.year, first.month, str(timezone)).end:
        raise metering.TraceError(
            f"{path} runs from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}: expected the samples of one calendar month"
        )
    tariff = tariff_document(setting()["trace_tariff"])
    since = date.fromisoformat(tariff["effective"][0])
    if first.date().replace(day=1) < since:
        raise metering.TraceError(
            f"{path} begins at {first:%Y-%m-%d %H:%M}: expected a month from {since:%Y-%m} on, since the tariff {tariff['code']}"
            " is not in effect before"
        )
    return first


def _require_samples(path: Path, code: str, tenant: metering.Tenant) -> None:
    timezone = ZoneInfo(setting()["issuer"]["timezone"])
    if tenant.twice_at is not None:
        raise metering.TraceError(
            f"{path}, tenant {code!r} has two samples that hold {tenant.twice_at.astimezone(timezone):%Y-%m-%d %H:%M:%S}:"
            f" expected one sample for each time, of {metering.SAMPLE_SECONDS} seconds"
        )
    for span in tenant.reserved:
        for at in (span.start_at, span.end_at):
            if int(at.timestamp()) % INTERVAL_SECONDS:
                raise metering.TraceError(
                    f"{path}, tenant {code!r}: {span.quantity} GPUs are reserved (total_gpu_num) from"
                    f" {span.start_at.astimezone(timezone):%Y-%m-%d %H:%M:%S} to {span.end_at.astimezone(timezone):%Y-%m-%d %H:%M:%S}:"
                    " expected that to begin and end at a quarter of an hour"
                )


def _tenant(code: str, serial: int, spans: Sequence[metering.Span]) -> Buyer:
    return Buyer(
        code=code,
        firm=Firm(
            name=f"租户 {code}（公开数据）",
            name_en=f"Tenant {code} (public data)",
            credit_code=credit_code("TRC", serial),
        ),
        language="zh-hans",
        reserved=tuple((span.quantity, span.start_at, span.end_at) for span in spans),
    )
