"""Part `search`: 10,000 offerings, 1,000,000 reservations in their slots, and a mix of what buyers ask.

Needs a migrated database without an issuer. The market is written straight into its tables, not timed: slots as the
reservations give them, in the order in which those were made. Every question has other filters, hours and quantities.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from django.db import connection
from stdnum.cn import uscc

from billing import parties, tariffs
from billing.models import Account, Contract, Party, TariffVersion
from marketplace import listings, search
from marketplace.metering import gpu_meter
from marketplace.models import (
    AcceleratorModel,
    CapacityPool,
    CapacitySlot,
    Offering,
    Organization,
    Reservation,
    Site,
    Zone,
)
from marketplace.search import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

AT = datetime(2026, 3, 4, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
OFFERINGS = 10_000
RESERVATIONS = 1_000_000
EACH = 60  # timed questions of each kind
WARM_UP = 8
REGIONS = ("上海", "杭州", "苏州", "北京", "庆阳", "贵阳", "乌兰察布", "深圳")
VALLEY = [*["valley"] * 8, *["peak"] * 3, *["flat"] * 7, *["peak"] * 4, *["flat"] * 2]

_RESERVED = """
CREATE TEMPORARY TABLE reserved AS
SELECT n, gen_random_uuid() AS quote, o.id AS offering_id, p.id AS pool_id, p.gpus,
    date_trunc('hour', %(at)s::timestamptz) + make_interval(hours => (random() * 2880 - 1440)::int) AS start_at,
    1 + (47 * random() ^ 3)::int AS hours, least(p.gpus, 8 * (1 + (8 * random() ^ 3)::int)) AS quantity
FROM (SELECT n, (random() * (%(offerings)s - 1))::int AS place FROM generate_series(1, %(reservations)s) n) picked
JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place FROM marketplace_offering) o USING (place)
JOIN marketplace_capacitypool p ON p.id = o.pool_id"""

_QUOTES = """
INSERT INTO marketplace_quote (id, offering_id, organization_id, tariff_version_id, quantity, start_at, end_at, currency,
    net_minor, tax_minor, gross_minor, parts, terms, created_at, expires_at, actor)
SELECT quote, offering_id, %(buyer)s, %(version)s, quantity, start_at, start_at + make_interval(hours => hours), 'CNY',
    100, 6, 106, '[]', '{}', %(at)s, %(at)s + interval '1 hour', 'benchmark' FROM reserved"""

_RESERVATIONS = """
INSERT INTO marketplace_reservation (id, quote_id, offering_id, pool_id, organization_id, contract_id, quantity, start_at,
    end_at, state, hold_expires_at, currency, net_minor, tax_minor, gross_minor, created_at, confirmed_at, actor)
SELECT gen_random_uuid(), quote, offering_id, pool_id, %(buyer)s, %(contract)s, quantity, start_at,
    start_at + make_interval(hours => hours), CASE WHEN start_at < %(at)s THEN 'completed' ELSE 'confirmed' END, %(at)s,
    'CNY', 100, 6, 106, %(at)s, %(at)s, 'benchmark' FROM reserved"""

# Where more would be reserved than there is, there is as much as there is: nothing here is timed or billed.
_SLOTS = """
INSERT INTO marketplace_capacityslot (pool_id, hour, capacity, taken, shortfall)
SELECT pool_id, hour, gpus, least(sum(quantity), gpus), 0
FROM reserved, generate_series(start_at, start_at + make_interval(hours => hours - 1), interval '1 hour') hour
GROUP BY pool_id, hour, gpus ORDER BY min(n), hour"""


def run(
    progress: Callable[[str], object],
    offerings: int = OFFERINGS,
    reservations: int = RESERVATIONS,
    each: int = EACH,
) -> dict[str, object]:
    """`p50_ms` and `p95_ms` of all questions together and `by_kind`, and how much there was to search."""
    progress(f"{offerings} offerings")
    _make(offerings)
    progress(f"{reservations} reservations and their slots")
    _reserve(offerings, reservations)
    progress("asking")
    chance = random.Random(20260304)
    by_kind = {}
    everything: list[float] = []
    for kind, ask in KINDS.items():
        for _ in range(WARM_UP):
            ask(chance)
        taken = [_time(ask, chance) for _ in range(each)]
        everything += taken
        by_kind[kind] = _figures(taken)
        progress(f"{kind}: {by_kind[kind]}")
    return {
        "offerings": Offering.objects.count(),
        "reservations": Reservation.objects.count(),
        "slots": CapacitySlot.objects.count(),
        **_figures(everything),
        "by_kind": by_kind,
    }


def _time(ask: Callable[[random.Random], object], chance: random.Random) -> float:
    start = time.perf_counter()
    ask(chance)
    return (time.perf_counter() - start) * 1000


def _figures(taken: list[float]) -> dict[str, float]:
    cuts = quantiles(taken, n=20, method="inclusive")
    return {"p50_ms": round(cuts[9], 1), "p95_ms": round(cuts[18], 1)}


# Questions


def _filters(chance: random.Random) -> dict[str, Any]:
    """Two or three filters that leave some hundreds."""
    facts: dict[str, Any] = {"regions": tuple(chance.sample(REGIONS, 2))}
    facts |= chance.choice(
        [
            {"vendors": (chance.choice(["NVIDIA", "Huawei", "Cambricon"]),)},
            {"min_memory_gb": Decimal(chance.choice([24, 48, 64, 80]))},
            {"min_tflops": {"bf16": Decimal(chance.choice([100, 300, 900]))}},
        ]
    )
    return facts | chance.choice([{}, {"max_price": Decimal(chance.randrange(2, 10))}, {"quantity": 16}])


def _browse(chance: random.Random) -> object:
    return search.search(
        wanted=Wanted(order=chance.choice(list(search.ORDERS)), quantity=chance.choice([1, 8, 64])), at=AT
    )


def _filtered(chance: random.Random) -> object:
    return search.search(wanted=Wanted(**_filters(chance)), at=AT)


def _next_page(chance: random.Random) -> object:
    order, limit = chance.choice(list(search.ORDERS)), chance.choice([20, 50])
    key = Decimal(chance.randrange(1, 6)) * (1 if order == "price" else -1)
    cursor = search._cursor(order, (key, chance.randrange(10_000)))  # noqa: SLF001  - as if a page had given it
    return search.search(wanted=Wanted(order=order, limit=limit, cursor=cursor), at=AT)


def _facets(chance: random.Random) -> object:
    return search.facets(wanted=Wanted(quantity=chance.choice([1, 8, 64])), at=AT)


def _facets_filtered(chance: random.Random) -> object:
    return search.facets(wanted=Wanted(**_filters(chance)), at=AT)


def _available(chance: random.Random) -> object:
    start_at = datetime(2026, 3, 4, 2, tzinfo=UTC) + chance.randrange(24, 24 * 14) * HOUR
    until_at = start_at + chance.choice([24, 48, 72]) * HOUR
    filters = chance.choice([dict[str, Any](), _filters(chance)]) | {"quantity": 8}
    return search.search(wanted=Wanted(**filters, free_from=start_at, free_until=until_at), at=AT)


def _windows(chance: random.Random) -> object:
    """8 H800-class GPUs for 24 to 72 hours, starting within two weeks, cheapest."""
    facts: dict[str, Any] = {"like": chance.choice(["nvidia-h800-sxm5", "nvidia-a800-sxm4-80gb", "nvidia-h800-pcie"])}
    facts |= {"quantity": chance.choice([8, 16, 32]), "min_hours": chance.choice([12, 24]), "max_hours": 72}
    return search.windows(wanted=Wanted(**facts, order=chance.choice(["price", "price", "soonest"])), at=AT)


def _windows_by_flops(chance: random.Random) -> object:
    """0.5 PFLOPS of BF16 for 3 days."""
    tflops = Decimal(chance.choice([500, 1_000, 4_000, 20_000]))
    hours = chance.choice([24, 72])
    wanted = Wanted(tflops=tflops, precision=chance.choice(["bf16", "fp16"]), min_hours=hours, max_hours=hours)
    return search.windows(wanted=wanted, at=AT)


def _calendar(chance: random.Random) -> object:
    offering = Offering.objects.order_by("pk")[chance.randrange(Offering.objects.count())]
    return search.calendar(offering=offering, quantity=8, from_at=AT, days=14, at=AT)


def _compare(chance: random.Random) -> object:
    first = Offering.objects.order_by("pk").values_list("pk", flat=True)[0]
    ids = [first + place for place in chance.sample(range(min(5_000, Offering.objects.count())), 4)]
    start_at = datetime(2026, 3, 4, 2, tzinfo=UTC) + chance.randrange(24, 240) * HOUR
    return search.compare(offering_ids=ids, quantity=8, start_at=start_at, end_at=start_at + 48 * HOUR, at=AT)


KINDS: dict[str, Callable[[random.Random], object]] = {
    "browse": _browse,
    "filtered": _filtered,
    "next_page": _next_page,
    "facets": _facets,
    "facets_filtered": _facets_filtered,
    "available": _available,
    "windows": _windows,
    "windows_by_flops": _windows_by_flops,
    "calendar": _calendar,
    "compare": _compare,
}


# The market


def _make(offerings: int) -> None:
    chance = random.Random(1)
    gpu_meter()
    operator = parties.appoint_issuer(
        code="bench", party=_party(0), timezone="Asia/Shanghai", currency="CNY", number_prefix="BM"
    )
    zone = Zone.objects.create(code="bench", name="基准", name_en="Benchmark", issuer=operator)
    providers = [
        Organization.objects.create(zone=zone, party=_party(number), name=f"供应商 {number}", is_provider=True)
        for number in range(1, 51)
    ]
    versions = [_prices(chance, provider, number) for provider in providers for number in range(8)]
    sites = Site.objects.bulk_create(
        Site(provider=provider, code=f"dc{number}", name=f"{number} 号机房", region=chance.choice(REGIONS))
        for provider in providers
        for number in range(4)
    )
    models = list(AcceleratorModel.objects.order_by("pk"))
    pools = CapacityPool.objects.bulk_create(
        CapacityPool(
            site=sites[number % len(sites)],
            accelerator=models[chance.randrange(len(models))],
            code=f"p{number}",
            name=f"资源池 {number}",
            interconnect=chance.choice(["", "NVLink", "RoCE", "InfiniBand"]),
            gpus=chance.choice([8, 16, 32, 64, 128, 256]),
        )
        for number in range(offerings)
    )
    own = {provider.pk: [version for of, version in versions if of == provider.pk] for provider in providers}
    Offering.objects.bulk_create(
        Offering(
            pool=pool,
            tariff=chance.choice(own[pool.site.provider_id]).tariff,
            code=f"o{number}",
            name=f"整机 {number}",
            description="八卡整机，独享。" * 20,
            terms="不得转租。" * 40,
            max_quantity=pool.gpus,
            min_quantity=8,
            step=8,
            max_hours=720,
            lead_hours=chance.choice([0, 0, 2, 24]),
            cancellation_terms=[{"hours": 24, "percent": "0"}],
            state=Offering.State.PUBLISHED,
            state_at=AT,
            created_at=AT,
            actor="benchmark",
        )
        for number, pool in enumerate(pools)
    )
    listings.refresh_due(at=AT)


def _prices(chance: random.Random, provider: Organization, number: int) -> tuple[int, TariffVersion]:
    """One version in force, and for every other tariff one to come within the windows."""
    base = Decimal(chance.randrange(100, 1200)) / 100
    for place, day in enumerate(["2026-01-01", "2026-03-10"][: 1 + number % 2]):
        flat = base * (10 + place) / 10
        document = {
            "code": f"B{provider.pk}-{number}",
            "currency": "CNY",
            "timezone": "Asia/Shanghai",
            "effective": [day, None],
            "periods": ["peak", "flat", "valley"],
            "schedule": {"weekday": [VALLEY], "weekend": [["flat"] * 24], "holiday": [["valley"] * 24]},
            "calendar": "CN",
            "charges": [
                {
                    "kind": "energy",
                    "code": "EN",
                    "meter": "gpu_hours",
                    "prices": {
                        "peak": [{"price": f"{flat * 3 / 2:.2f}"}],
                        "flat": [{"price": f"{flat:.2f}"}],
                        "valley": [{"price": f"{flat / 2:.2f}"}],
                    },
                },
                {"kind": "capacity", "code": "CP", "price": "0.50", "per": "unit_hour"},
                {"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"},
            ],
            "tax": {"category": "S", "rate": "0.06", "price_includes_tax": False},
        }
        version = tariffs.publish(document=document, owner=provider.party, at=AT, actor="benchmark")
    return provider.pk, version


def _reserve(offerings: int, reservations: int) -> None:
    zone = Zone.objects.get()
    buyer = Organization.objects.create(zone=zone, party=_party(99), name="采购方", is_buyer=True)
    account = Account.objects.create(issuer=zone.issuer, code="bench", party=buyer.party, created_at=AT)
    version = TariffVersion.objects.order_by("pk")[0]
    contract = Contract.objects.create(
        number="C-bench",
        account=account,
        tariff=version.tariff,
        provider=_party(100),
        fee_percent=Decimal(10),
        start_at=AT,
        actor="benchmark",
    )
    facts: dict[str, Any] = {"at": AT, "offerings": offerings, "reservations": reservations}
    facts |= {"buyer": buyer.pk, "version": version.pk, "contract": contract.pk}
    with connection.cursor() as cursor:
        cursor.execute(
            "SET session_replication_role = replica"
        )  # a million foreign keys that are right by construction
        cursor.execute("SET work_mem = '256MB'")
        cursor.execute("SELECT setseed(0.5)")
        for statement in (_RESERVED, _QUOTES, _RESERVATIONS):
            cursor.execute(statement, facts)
        cursor.execute("ALTER TABLE marketplace_capacityslot DROP CONSTRAINT marketplace_capacityslot_pkey")
        cursor.execute(_SLOTS)
        cursor.execute(
            "ALTER TABLE marketplace_capacityslot ADD CONSTRAINT marketplace_capacityslot_pkey PRIMARY KEY (pool_id, hour)"
        )
        cursor.execute("RESET session_replication_role")
        cursor.execute("RESET work_mem")
        cursor.execute("VACUUM ANALYZE")


def _party(number: int) -> Party:
    body = f"91310115MA{number:07d}"
    code = body + uscc.calc_check_digit(body)
    return Party.objects.create(legal_name=f"基准测试公司 {number:05d}", credit_code=code, created_at=AT)
