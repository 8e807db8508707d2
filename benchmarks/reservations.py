"""Part `reservations`: 64 threads, in two processes a core, on two hot pools of 64 GPUs, 20,000 attempts of the verbs of reservations.

An attempt is one call of a verb, whatever it answers: hold, confirm, extend, cancel, release_hours, and drain or undrain of
a pool. Windows are 1 to 72 hours within 90 days. The quotes that are held are made beforehand, and those for extensions
between the attempts, both from a price by the hour instead of `billing`'s estimate: what is measured is capacity under
contention, not rating. Every verb is the product's own, with its budget check, its contract and its fee.

The yardstick is pgbench, TPC-B-like, on the same server in the same run: scale 10, 8 clients, 20 seconds.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psycopg
from django.db import OperationalError, connection, connections
from django.db.models import F, Sum
from stdnum.cn import uscc

from benchmarks.machine import pgbench
from billing import parties, tariffs
from billing.integrity import fetch_one
from billing.models import ReservedSpan, TariffVersion
from billing.rating.period import spans
from marketplace import capacity, people, reservations
from marketplace.metering import gpu_meter
from marketplace.models import (
    AcceleratorModel,
    CapacityPool,
    CapacitySlot,
    Offering,
    Organization,
    Project,
    Quote,
    Reservation,
    ReservationMonth,
    Site,
    Zone,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.synchronize import Barrier
    from uuid import UUID

ATTEMPTS = 20_000
WORKERS = 64
POOLS = 2
GPUS = 64
BUYERS = 32
DAYS = 90
MOST_HOURS = 72
TIMEZONE = "Asia/Shanghai"
AT = datetime(2026, 5, 31, 16, tzinfo=UTC)  # the midnight in Shanghai that begins June
HOUR = timedelta(hours=1)
PRICE_MINOR = 800  # a GPU-hour
BENCH_SECONDS = 20
START_SECONDS = 120  # at most, until all workers have connected

# What an attempt is, by its share of the attempts; what there is nothing for becomes a hold.
SHARES = {"hold": 40, "confirm": 24, "extend": 10, "cancel": 16, "release": 8, "drain": 2}
REFUSED = (
    capacity.NotFreeError,
    capacity.DrainingError,
    reservations.WrongStateError,
    reservations.EndMovedError,
    reservations.OutsideTermsError,
)


def run(
    progress: Callable[[str], object], attempts: int = ATTEMPTS, workers: int = WORKERS, seconds: int = BENCH_SECONDS
) -> dict[str, object]:
    """Attempts a second, their p99, their ratio to pgbench's transactions a second, and that nothing went wrong."""
    progress(f"pgbench for {seconds} seconds")
    pgbench_tps = pgbench(seconds)
    progress(f"{pgbench_tps:.0f} transactions a second; making a market")
    plans = make(attempts=attempts, workers=workers)
    progress(f"{attempts} attempts by {workers} threads")
    done = race(plans)
    progress("comparing slots, reservations, contracts and months")
    found = wrong()
    per_second = len(done.took) / done.seconds
    took = sorted(done.took)
    return {
        "per_second": round(per_second, 1),
        "pgbench_tps": round(pgbench_tps, 1),
        "ratio_to_pgbench": round(per_second / pgbench_tps, 3),
        "p50_ms": round(took[len(took) // 2] * 1000, 1),
        "p99_ms": round(took[len(took) * 99 // 100] * 1000, 1),
        **found,
        "deadlocks_retried": done.retried,
        "deadlocks_unretried": done.unretried,
        "attempts": len(took),
        "outcomes": {
            kind: {what: count for (of, what), count in sorted(done.outcomes.items()) if of == kind} for kind in SHARES
        },
        "live": Reservation.objects.live().count(),
        "workers": workers,
        "pools": POOLS,
        "gpus": GPUS,
    }


# The market


@dataclass
class Plan:
    """What one worker does, from a seed: the quotes that it holds, in order, and how many attempts it makes."""

    seed: int
    attempts: int
    quotes: list[UUID]
    pools: list[int]


def make(*, attempts: int, workers: int) -> list[Plan]:
    """A zone with two pools on sale and buyers with a project each, and a plan with its quotes for every worker."""
    issuer = parties.appoint_issuer(
        code="bench", party=_party(0), timezone=TIMEZONE, currency="CNY", number_prefix="BM"
    )
    zone = Zone.objects.create(code="bench", name="bench", issuer=issuer)
    gpu_meter()
    version = tariffs.publish(document=_document(), at=AT, actor="benchmark")
    offerings = [_offering(zone, number, version) for number in range(POOLS)]
    buyers = []
    for number in range(BUYERS):
        party = _party(100 + number)
        organization = people.make_organization(zone=zone, party=party, name=f"buyer {number}", parts={"buyer"})
        parties.open_account(issuer=issuer, code=f"bench-{number:02}", party=party, at=AT)
        # Half of the projects have a limit to count against, which none of them reaches.
        limit_minor = 10**12 if number % 2 else None
        project = Project.objects.create(
            organization=organization,
            code="bench",
            name="bench",
            monthly_limit_minor=limit_minor,
            warn_percents=[80],
            created_at=AT,
            actor="benchmark",
        )
        buyers.append((organization, project))
    plans = []
    pools = [offering.pool_id for offering in offerings]
    for worker in range(workers):
        chance = random.Random(worker)
        count = attempts // workers + (worker < attempts % workers)
        quotes = [_quote(chance, *chance.choice(buyers), chance.choice(offerings), version) for _ in range(count)]
        Quote.objects.bulk_create(quotes, batch_size=1000)
        plans.append(Plan(worker, count, [quote.pk for quote in quotes], pools))
    with connection.cursor() as cursor:
        # Of tables that are empty yet it would be learnt that they stay so, and plans are kept: as in a new installation.
        cursor.execute("VACUUM ANALYZE marketplace_quote")
        cursor.execute("CHECKPOINT")
    return plans


def _offering(zone: Zone, number: int, version: TariffVersion) -> Offering:
    provider = people.make_organization(
        zone=zone, party=_party(10 + number), name=f"provider {number}", parts={"provider"}
    )
    accelerator, _ = AcceleratorModel.objects.get_or_create(slug="bench", defaults={"vendor": "Bench", "name": "800"})
    site = Site.objects.create(provider=provider, code="bench", name="bench", region="bench")
    pool = CapacityPool.objects.create(site=site, accelerator=accelerator, code="bench", name="bench", gpus=GPUS)
    return Offering.objects.create(
        pool=pool,
        tariff_id=version.tariff_id,
        code=f"bench-{number}",
        name="bench",
        max_quantity=GPUS,
        max_hours=4 * MOST_HOURS,
        cancellation_terms=[{"hours": 720, "percent": "0"}, {"hours": 0, "percent": "50"}],
        state=Offering.State.PUBLISHED,
        state_at=AT,
        created_at=AT,
        actor="benchmark",
    )


def _document() -> dict[str, Any]:
    every_day = [["all"] * 24]
    return {
        "code": "BENCH",
        "currency": "CNY",
        "timezone": TIMEZONE,
        "effective": ["2026-01-01", None],
        "periods": ["all"],
        "schedule": {"weekday": every_day, "weekend": every_day},
        "charges": [{"kind": "capacity", "code": "CP", "price": "8.00", "per": "unit_hour"}],
        "tax": {"category": "S", "rate": "0.06", "price_includes_tax": False},
    }


def _party(number: int) -> Any:
    body = f"91310115MA{number:07d}"
    return parties.register(legal_name=f"bench {number}", credit_code=body + uscc.calc_check_digit(body), at=AT)


def _quote(
    chance: random.Random, buyer: Organization, project: Project, offering: Offering, version: TariffVersion
) -> Quote:
    hours, quantity = chance.randint(1, MOST_HOURS), chance.choice([1, 1, 2, 2, 4, 4, 8, 16])
    start_at = AT + chance.randrange(1, DAYS * 24 - hours) * HOUR
    terms = {"cancellation_terms": offering.cancellation_terms, "min_hours": 1, "max_hours": offering.max_hours}
    return Quote(
        offering=offering,
        organization=buyer,
        project=project,
        tariff_version=version,
        terms=terms,
        **_priced(quantity, start_at, start_at + hours * HOUR),
    )


def _priced(quantity: int, start_at: datetime, end_at: datetime) -> dict[str, Any]:
    """As much as the tariff says, in parts by month as an estimate has them."""
    parts = []
    for first, last in spans(start_at, end_at, TIMEZONE, "month"):
        hours = (min(last, end_at) - max(first, start_at)) // HOUR * quantity
        parts.append(
            {
                "charge": "CP",
                "kind": "capacity",
                "month": f"{first.astimezone(ZoneInfo(TIMEZONE)):%Y-%m}",
                "quantity": str(hours),
                "unit": "GPU-hour",
                "unit_price": "8.00",
                "amount_minor": hours * PRICE_MINOR,
            }
        )
    net_minor = sum(int(str(part["amount_minor"])) for part in parts)
    return {
        "quantity": quantity,
        "start_at": start_at,
        "end_at": end_at,
        "currency": "CNY",
        "net_minor": net_minor,
        "tax_minor": net_minor * 6 // 100,
        "gross_minor": net_minor + net_minor * 6 // 100,
        "parts": parts,
        "created_at": AT,
        "expires_at": AT + HOUR,
        "actor": "benchmark",
    }


# The workers


@dataclass
class Done:
    """What came of the attempts: how long each took, what it answered by kind, and the deadlocks."""

    took: list[float] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    retried: int = 0
    unretried: int = 0
    seconds: float = 0.0


@dataclass
class _Own:
    """What a worker has: quotes that it has not held yet, reservations that are held, and those that are confirmed."""

    quotes: Iterator[UUID]
    held: list[Reservation] = field(default_factory=list)
    firm: list[Reservation] = field(default_factory=list)


class _Retries(logging.Handler):
    """Counts what marketplace.retry says that it tries again in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.thread, self.count = threading.get_ident(), 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.msg == "tried again" and record.thread == self.thread


def race(plans: list[Plan]) -> Done:
    """Each plan in a thread of its own, in two processes a core; all start together. Raises what a worker raised."""
    connections.close_all()
    gc.freeze()
    context = multiprocessing.get_context("fork")
    processes = min(2 * (os.cpu_count() or 1), len(plans))
    barrier = context.Barrier(len(plans) + 1, timeout=START_SECONDS)
    with ProcessPoolExecutor(processes, context, initializer=_meet_at, initargs=(barrier,)) as pool:
        # A process is at its share until all have started, so each of them gets one.
        shares = [pool.submit(_run_plans, plans[number::processes]) for number in range(processes)]
        barrier.wait()
        began = time.perf_counter()
        done = total(share.result() for share in as_completed(shares))
    done.seconds = time.perf_counter() - began
    return done


_start: Barrier


def _meet_at(barrier: Barrier) -> None:
    global _start  # noqa: PLW0603  - of a process that was forked; a barrier can't be sent along with work
    _start = barrier


def _run_plans(own: list[Plan]) -> Done:
    with ThreadPoolExecutor(len(own)) as threads:
        return total(threads.map(_run_plan, own))


def _run_plan(plan: Plan) -> Done:
    try:
        connection.ensure_connection()
    finally:
        _start.wait()  # also one that has no connection, since all others wait for it
    try:
        return work(plan)
    finally:
        connections.close_all()


def total(parts: Iterable[Done]) -> Done:
    whole = Done()
    for part in parts:
        whole.took += part.took
        whole.outcomes += part.outcomes
        whole.retried += part.retried
        whole.unretried += part.unretried
    return whole


def work(plan: Plan) -> Done:
    """Make the plan's attempts, one after the other, on reservations of its own and now and then on another's."""
    chance, done, retries = random.Random(f"work {plan.seed}"), Done(), _Retries()
    logger = logging.getLogger("marketplace.retry")
    logger.setLevel(logging.INFO)
    logger.addHandler(retries)
    own = _Own(iter(plan.quotes))
    for _ in range(plan.attempts):
        kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
        call = _call(kind, chance, plan, own)
        began = time.perf_counter()
        try:
            outcome = call()
        except REFUSED as refusal:
            outcome = type(refusal).__name__
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != psycopg.errors.DeadlockDetected.sqlstate:
                raise
            outcome = "deadlock"
            done.unretried += 1
        done.took.append(time.perf_counter() - began)
        done.outcomes[kind, outcome] += 1
    logger.removeHandler(retries)
    done.retried = retries.count
    return done


def _call(kind: str, chance: random.Random, plan: Plan, own: _Own) -> Callable[[], str]:
    """The attempt, ready to be timed. Each says "done"."""
    held, firm = own.held, own.firm
    if kind == "drain":
        return _drain(CapacityPool(pk=chance.choice(plan.pools)), chance)
    if kind == "confirm" and held:
        return _confirm(held.pop(chance.randrange(len(held))), firm)
    if kind == "cancel" and (held or firm):
        rows = held if held and (not firm or chance.random() < 0.3) else firm
        row = rows[chance.randrange(len(rows))]
        if chance.random() < 0.9:  # else it is tried on what is cancelled, too
            rows.remove(row)
        return lambda: _say(reservations.cancel(reservation=row, at=AT, actor="benchmark"))
    if kind == "extend" and firm:
        return _extend(firm, chance)
    if kind == "release" and firm:
        return _release(firm, chance)
    return _hold(next(own.quotes), held)


def _say(_row: Reservation) -> str:
    return "done"


def _hold(quote_id: UUID, held: list[Reservation]) -> Callable[[], str]:
    def call() -> str:
        held.append(reservations.hold(quote=Quote(pk=quote_id), at=AT, actor="benchmark"))
        return "done"

    return call


def _confirm(row: Reservation, firm: list[Reservation]) -> Callable[[], str]:
    def call() -> str:
        firm.append(reservations.confirm(reservation=row, at=AT, actor="benchmark"))
        return "done"

    return call


def _extend(firm: list[Reservation], chance: random.Random) -> Callable[[], str]:
    number = chance.randrange(len(firm))
    row = firm[number]
    offered = Quote(
        offering_id=row.offering_id,
        organization_id=row.organization_id,
        project_id=row.project_id,
        extends=row,
        tariff_version_id=row.quote.tariff_version_id,
        terms=row.quote.terms,
        **_priced(row.quantity, row.end_at, row.end_at + chance.randint(1, 24) * HOUR),
    )
    _store(offered)

    def call() -> str:
        firm[number] = reservations.extend(quote=offered, at=AT, actor="benchmark")
        return "done"

    return call


def _store(offered: Quote) -> None:
    """Between the attempts, so by as little as can be: the product's way is not measured here."""
    fields = Quote._meta.concrete_fields  # noqa: SLF001
    names = ", ".join(str(field.column) for field in fields)
    values = [getattr(offered, field.attname) for field in fields]
    texts = [json.dumps(value) if isinstance(value, list | dict) else value for value in values]
    places = ", ".join(["%s"] * len(fields))
    fetch_one(f"INSERT INTO marketplace_quote ({names}) VALUES ({places}) RETURNING id", texts)


def _release(firm: list[Reservation], chance: random.Random) -> Callable[[], str]:
    number = chance.randrange(len(firm))
    row = firm[number]
    hours = (row.end_at - row.start_at) // HOUR
    end_at = row.start_at + max(hours - chance.randint(1, 24), min(hours, 1)) * HOUR

    def call() -> str:
        firm[number] = reservations.release_hours(reservation=row, end_at=end_at, at=AT, actor="benchmark")
        return "done"

    return call


def _drain(pool: CapacityPool, chance: random.Random) -> Callable[[], str]:
    from_at = AT + chance.randint(60, DAYS) * 24 * HOUR

    def call() -> str:
        if chance.random() < 0.5:
            capacity.drain(pool=pool, from_at=from_at, at=AT, actor="benchmark")
        else:
            capacity.undrain(pool=pool, at=AT, actor="benchmark")
        return "done"

    return call


# What must hold


def wrong() -> dict[str, int]:
    """How many hours, contracts and months are not as the reservations say. All zero, or something is broken."""
    firm = Reservation.objects.filter(state__in=["confirmed", "active"])
    reserved = ReservedSpan.objects.filter(withdrawn_at=None).annotate(hours=F("end_at") - F("start_at"))
    booked = firm.annotate(hours=F("end_at") - F("start_at"))
    quoted = ReservationMonth.objects.filter(reservation__in=Reservation.objects.live()).aggregate(net=Sum("net_minor"))
    live = Reservation.objects.live().annotate(hours=F("end_at") - F("start_at"))
    worth = sum((hours // HOUR) * quantity * PRICE_MINOR for hours, quantity in live.values_list("hours", "quantity"))
    return {
        "slots_over_capacity": CapacitySlot.objects.filter(taken__gt=F("capacity")).count(),
        "slots_not_matching": len(capacity.mismatches(from_at=AT)),
        "spans_not_matching": abs(_gpu_hours(reserved) - _gpu_hours(booked)),
        "months_not_matching_minor": abs((quoted["net"] or 0) - worth),
    }


def _gpu_hours(rows: Any) -> int:
    return sum((hours // HOUR) * quantity for hours, quantity in rows.values_list("hours", "quantity"))
