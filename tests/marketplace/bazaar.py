"""Small random markets, and what search should say of them by going through all there is, slowly and plainly."""

from __future__ import annotations

import random
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import ceil
from zoneinfo import ZoneInfo

from django.db import transaction

from billing import calendars, tariffs
from billing.models import TariffVersion
from marketplace.models import CapacityPool, CapacitySlot, Offering, Organization
from tests.billing import world
from tests.marketplace import seller

HOUR = timedelta(hours=1)
AT = datetime(2026, 4, 29, 2, 20, tzinfo=UTC)  # a Wednesday before the holidays of May, 10:20 in Shanghai
ZONE = ZoneInfo("Asia/Shanghai")
NIGHT = [*["low"] * 8, *["high"] * 12, *["mid"] * 4]
SCHEDULE = {"weekday": [NIGHT], "weekend": [["mid"] * 24], "holiday": [["low"] * 24]}


def tiered(low: str, mid: str, high: str) -> dict:
    return {
        "low": [{"up_to": "100", "price": low}, {"price": "0.01"}],
        "mid": [{"price": mid}],
        "high": [{"price": high}],
    }


@dataclass
class Bazaar:
    """What was made, for the oracle: offerings by id, and the documents of each tariff's versions."""

    offerings: dict[int, Offering] = field(default_factory=dict)
    documents: dict[int, list[tuple[datetime, dict]]] = field(default_factory=dict)
    left: dict[tuple[int, datetime], int] = field(default_factory=dict)  # by pool and hour, where a slot says so


def make(seed: int, *, offerings: int = 8, hours: int = 96) -> Bazaar:
    """So many offerings of two providers, one of them maybe suspended, with slots taken at random from AT on."""
    chance = random.Random(seed)
    zone = seller.make_zone()
    sellers = [seller.make_provider(zone, 2), seller.make_provider(zone, 3)]
    models = [
        seller.accelerator("t-a", vendor="A", memory_gb=80, bf16_tflops=Decimal("989.5")),
        seller.accelerator("t-b", vendor="B", memory_gb=64, bf16_tflops=Decimal(320)),
        seller.accelerator("t-c", vendor="B", memory_gb=None, bf16_tflops=None),
    ]
    bazaar = Bazaar()
    for number in range(offerings):
        provider = chance.choice(sellers)
        version = _prices(chance, provider, f"T{chance.randrange(4)}-{provider.pk}", bazaar)
        pool = seller.make_pool(
            provider,
            f"p{number}",
            site=f"dc-{chance.randrange(2)}",
            region="上海",
            accelerator=chance.choice(models),
            gpus=chance.choice([4, 16, 64]),
            interconnect=chance.choice(["", "NVLink", "RoCE"]),
        )
        step = chance.choice([1, 2])
        terms = {"min_quantity": step * chance.choice([1, 2]), "max_quantity": pool.gpus, "step": step}
        terms |= {"min_hours": chance.choice([1, 3, 24]), "max_hours": chance.choice([24, 48])}
        terms |= {"lead_hours": chance.choice([0, 0, 5])}
        offering = seller.publish(pool, version, f"o{number}", at=AT, **terms)
        bazaar.offerings[offering.pk] = offering
        bazaar.left |= _take(chance, pool, hours)
        if chance.random() < 0.2:
            drains_at = datetime(2026, 4, 29, tzinfo=UTC) + chance.randrange(hours) * HOUR
            CapacityPool.objects.filter(pk=pool.pk).update(drains_at=drains_at)
    if chance.random() < 0.2:
        Organization.objects.filter(pk=sellers[1].pk).update(state="suspended")
    for offering in bazaar.offerings.values():
        offering.refresh_from_db()
        offering.pool.refresh_from_db()
        offering.pool.site.provider.refresh_from_db()
    return bazaar


def _prices(chance, provider, code, bazaar):
    def some():
        return f"{chance.choice([0, 1, 2, 5])}.{chance.choice([0, 25, 5])}"

    def document(day):
        charges = [
            world.energy(prices=tiered(some(), some(), some())),
            {"kind": "rider", "code": "R", "basis": "percent"},
        ]
        charges[1] |= {
            "of": ["EN"],
            "value": chance.choice(["0", "10", "-20", "-300" if chance.random() < 0.2 else "5"]),
        }
        charges.append(
            {"kind": "capacity", "code": "CP", "price": some(), "per": chance.choice(["unit_hour", "unit_day"])}
        )
        charges.append({"kind": "standing", "code": "SC", "amount": chance.choice(["0", "24"]), "per": "day"})
        return world.document(
            *charges,
            code=code,
            periods=["low", "mid", "high"],
            schedule=SCHEDULE,
            calendar="CN",
            effective=[day, None],
        )

    known = TariffVersion.objects.filter(tariff__code=code).order_by("version").first()
    if known is not None:
        return known
    made = []
    for day in ["2026-04-01", "2026-05-01"][: chance.choice([1, 2])]:
        told = document(day)
        version = tariffs.publish(document=told, owner=provider.party, at=AT - timedelta(days=40), actor="test")
        made.append(version)
        bazaar.documents.setdefault(version.tariff_id, []).append((version.effective_at, told))
    return made[0]


def _take(chance, pool, hours):
    begin = datetime(2026, 4, 29, tzinfo=UTC)
    slots, hour = [], 0
    while hour < hours:
        length, taken = chance.randrange(1, 30), chance.choice([0, 0, pool.gpus // 2, pool.gpus])
        if taken:
            slots += [
                CapacitySlot(pool=pool, hour=begin + each * HOUR, capacity=pool.gpus, taken=taken)
                for each in range(hour, min(hour + length, hours))
            ]
        hour += length
    CapacitySlot.objects.bulk_create(slots)
    return {(pool.pk, slot.hour): slot.capacity - slot.taken for slot in slots}


# The oracle


def quantity_of(offering, *, quantity=None, tflops=None, precision=""):
    """None: not sold."""
    if tflops is not None:
        peak = getattr(offering.pool.accelerator, f"{precision}_tflops")
        if not peak:
            return None
        quantity = ceil(Fraction(tflops) / Fraction(peak))
    sold = range(offering.min_quantity, offering.max_quantity + 1, offering.step)
    return next((each for each in sold if each >= (quantity or 0)), None)


def is_found(offering, at):
    provider, pool = offering.pool.site.provider, offering.pool
    draining = pool.drains_at is not None and pool.drains_at <= at
    return offering.state == "published" and provider.is_provider and provider.state == "verified" and not draining


def free(bazaar, pool, hour):
    if pool.drains_at is not None and hour >= pool.drains_at:
        return 0
    return bazaar.left.get((pool.pk, hour), pool.gpus)


@cache
def _kind(day):
    calendar = calendars.by_code()["CN"]
    if day in calendar.holidays:
        return "holiday"
    return "weekday" if day in calendar.working_days or day.weekday() < 5 else "weekend"


def hour_price(document, hour):
    """(per GPU, per contract) as fractions, read off the document."""
    local = hour.astimezone(ZONE)
    energy, rider, capacity, standing = document["charges"]
    price = Fraction(energy["prices"][SCHEDULE[_kind(local.date())][0][local.hour]][0]["price"])
    price *= 1 + Fraction(rider["value"]) / 100
    price += Fraction(capacity["price"]) / (24 if capacity["per"] == "unit_day" else 1)
    return price, Fraction(standing["amount"]) / 24


def document_at(bazaar, offering, start_at):
    known = [document for since, document in bazaar.documents[offering.tariff_id] if since <= start_at]
    return known[-1] if known else None


def best_windows(bazaar, *, at, span, hours, order="price", **many):
    """(price, start, offering's id, end, quantity) of the best window of each offering, in order."""
    found = []
    for offering in bazaar.offerings.values():
        quantity = quantity_of(offering, **many)
        if quantity is None or not is_found(offering, at):
            continue
        soonest_at = at - (at - datetime(2026, 1, 1, tzinfo=UTC)) % -HOUR + offering.lead_hours * HOUR
        windows = []
        there = {}
        for start in range((span[1] - span[0]) // HOUR + 1):
            start_at = span[0] + start * HOUR
            document = document_at(bazaar, offering, start_at)
            if start_at < soonest_at or document is None:
                continue
            cost = Fraction(0)
            for number in range(min(hours[1], offering.max_hours)):
                hour = start_at + number * HOUR
                there.setdefault(hour, free(bazaar, offering.pool, hour))
                if there[hour] < quantity:
                    break
                unit, fixed = hour_price(document, hour)
                cost += quantity * unit + fixed
                if number + 1 >= max(hours[0], offering.min_hours):
                    windows.append((cost, start_at, offering.pk, hour + HOUR, quantity))
        if windows:
            key = (lambda w: (w[1], w[0], w[3])) if order == "soonest" else (lambda w: (w[0], w[1], w[3]))
            found.append(min(windows, key=key))
    key = (lambda w: (w[1], w[0], w[2])) if order == "soonest" else (lambda w: w[:3])
    return sorted(found, key=key)


def mean_price(document):
    """Of the weeks of a year without holidays."""
    unit = Fraction(0)
    monday = date(2026, 3, 2)  # a week without a holiday or a weekend day that is worked
    start = datetime(monday.year, monday.month, monday.day, tzinfo=ZONE)
    for number in range(168):
        unit += hour_price(document, (start + number * HOUR).astimezone(UTC))[0]
    return unit / 168


class RolledBackError(Exception):
    """Ends an example, whose rows the next one must not see."""


@contextmanager
def rolled_back():
    """A market for one example of many in a test."""
    with suppress(RolledBackError), transaction.atomic():
        yield
        raise RolledBackError
