"""The readings behind a line: for every shape of tariff, the parts are those that rating counted, to the base unit."""

import json
import random
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pytest

from billing import charging, evidence, tariffs, usage
from billing.rating.period import Period
from tests.billing import world
from tests.billing.world import MAY

DAY = ["valley"] * 7 + ["flat"] + ["peak"] * 3 + ["flat"] * 7 + ["peak"] * 3 + ["flat"] * 2 + ["valley"]
PERIODS = ("peak", "flat", "valley")
TIERS = [{"up_to": "40", "price": "5.00"}, {"up_to": "90.5", "price": "4.00"}, {"price": "3.00"}]
FLAT = [{"price": "2.00"}]


@dataclass
class Told:
    charge: str
    tou_period: str | None
    start_at: datetime
    end_at: datetime
    explanation: dict


def publish(effective="2020-05-01", **changes):
    charge = world.energy(prices=dict.fromkeys(PERIODS, TIERS), **changes)
    return world.publish(
        charge,
        a_demand("DM", 15, "month"),
        a_demand("DP", 30, "period"),
        periods=list(PERIODS),
        schedule={"weekday": [DAY], "weekend": [["valley"] * 12 + ["flat"] * 12]},
        effective=[effective, None],
    )


def a_demand(code, minutes, by):
    prices = {"all": [{"price": "30.00"}]} if by == "month" else {name: [{"price": "9.00"}] for name in PERIODS}
    return {
        "kind": "demand",
        "code": code,
        "meter": "gpu_hours",
        "interval_minutes": minutes,
        "by": by,
        "prices": prices,
    }


def read(contract, start_at, count, seed):
    source = random.Random(seed)
    world.read(contract, *(source.choice([0, 0, 450, 900, 1800, 5400, 77]) for _ in range(count)), start_at=start_at)


def check(contract, period):
    """Each metered line's parts are its own; gives how many energy lines there were."""
    stored = contract.tariff.versions.order_by("version")
    versions = [(each.effective_at, tariffs.parsed(json.dumps(each.document))) for each in stored]
    source = evidence.Source(contract, world.gpu_meter(), versions, usage.profile)
    whole = Period(period.start_at, period.end_at, period.timezone)
    lines = [charged.line for charged in charging.charges(account=contract.account, period=period).lines]
    seen = {}
    for line in lines:
        told = Told(line.charge, line.tou_period, line.start, line.end, line.explanation)
        if line.kind == "energy":
            parts = evidence.energy(line=told, source=source, period=whole)
            assert sum(part.counted for part in parts) == line.quantity_base, line
            assert {part.tou_period for part in parts} == {line.tou_period}
            for part in parts:
                seen[part.start_at] = seen.get(part.start_at, 0) + part.counted
        elif line.kind == "demand":
            parts = evidence.demand(line=told, source=source, period=whole)
            assert sum(part.counted for part in parts) == line.explanation["measured_base"], line
    quantities = world.Reading.objects.filter(
        contract=contract, start_at__gte=period.start_at, start_at__lt=period.end_at, quantity__gt=0
    )
    assert seen == dict(quantities.values_list("start_at", "quantity"))  # each reading is counted once, and whole
    return sum(line.kind == "energy" for line in lines)


@pytest.mark.django_db
@pytest.mark.parametrize("basis", ["month", "day", "contract_year"])
@pytest.mark.parametrize("scope", ["across_periods", "per_period"])
@pytest.mark.parametrize("mode", ["graduated", "volume"])
def test_the_parts_of_a_line_sum_to_it(basis, scope, mode):
    version = publish(tier_basis=basis, tier_scope=scope, tier_mode=mode)
    issuer = world.issuer()
    contract = world.contract(world.account(issuer, "A"), version.tariff)
    read(contract, MAY, 31 * 96, f"{basis}{scope}{mode}")
    assert check(contract, world.may(issuer)) >= 3


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["graduated", "volume"])
def test_they_do_where_the_tariff_changes_within_the_month(mode):
    version = publish(tier_basis="month", tier_scope="across_periods", tier_mode=mode)
    publish(effective="2020-05-12", tier_basis="month", tier_scope="per_period", tier_mode=mode)
    issuer = world.issuer()
    contract = world.contract(world.account(issuer, "A"), version.tariff)
    read(contract, MAY, 31 * 96, mode)
    assert check(contract, world.may(issuer)) >= 6


@pytest.mark.django_db
def test_they_do_where_a_contract_year_began_long_before_or_begins_in_it():
    version = publish(
        effective="2019-05-01", tier_basis="contract_year", tier_scope="across_periods", tier_mode="graduated"
    )
    issuer = world.issuer()
    start_at = MAY - timedelta(days=366 - 9)  # 10 May 2019
    contract = world.contract(world.account(issuer, "A"), version.tariff, start_at=start_at)
    read(contract, start_at, 30, "old")
    read(contract, MAY, 31 * 96, "new")
    assert date(2019, 5, 10) == (start_at + timedelta(hours=8)).date()
    assert check(contract, world.may(issuer)) >= 3


@pytest.mark.django_db
def test_they_do_for_a_contract_that_begins_and_ends_within_the_month():
    version = publish(tier_basis="month", tier_scope="across_periods", tier_mode="graduated")
    issuer = world.issuer()
    begin, end = MAY + timedelta(days=3, hours=5), MAY + timedelta(days=20, minutes=45)
    contract = world.contract(world.account(issuer, "A"), version.tariff, start_at=begin, end_at=end)
    read(contract, begin, (end - begin) // timedelta(minutes=15), "part")
    assert check(contract, world.may(issuer)) >= 3


@pytest.mark.django_db
def test_a_demand_that_nothing_was_used_in_has_no_readings():
    version = publish()
    issuer = world.issuer()
    contract = world.contract(world.account(issuer, "A"), version.tariff)
    source = evidence.Source(
        contract,
        world.gpu_meter(),
        [(version.effective_at, tariffs.parsed(json.dumps(version.document)))],
        usage.profile,
    )
    period = world.may(issuer)
    told = Told("DM", None, period.start_at, period.end_at, {"interval_seconds": 900})
    assert (
        evidence.demand(line=told, source=source, period=Period(period.start_at, period.end_at, period.timezone)) == []
    )
