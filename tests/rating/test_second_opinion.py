"""The fast rater and the slow one agree on generated tariffs, to the last fraction."""

import json
from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing.rating.calendar import HolidayCalendar
from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.rate import History, rate
from billing.rating.tariff import parse
from tests.rating.documents import utc
from tests.rating.slow_rater import SlowRater

QUARTER = timedelta(minutes=15)
# Spans of local days with a clock change, a year's end, a leap day, a Chinese holiday and its make-up days.
DAYS = [
    ("Europe/Berlin", utc(2020, 3, 27, 23), utc(2020, 3, 30, 22)),
    ("Europe/Berlin", utc(2020, 10, 23, 22), utc(2020, 10, 26, 23)),
    ("America/New_York", utc(2021, 11, 6, 4), utc(2021, 11, 8, 5)),
    ("Asia/Kolkata", utc(2019, 12, 30, 18, 30), utc(2020, 1, 2, 18, 30)),
    ("Asia/Shanghai", utc(2020, 4, 30, 16), utc(2020, 5, 3, 16)),
    ("UTC", utc(2020, 2, 28), utc(2020, 3, 2)),
]
CALENDAR = HolidayCalendar(
    "CN",
    frozenset({date(2020, 5, 1), date(2020, 1, 1), date(2020, 3, 29), date(2020, 2, 28)}),
    frozenset({date(2020, 5, 2), date(2020, 2, 29), date(2020, 10, 24)}),
    date(2022, 1, 1),
)
# A failing case is printed as it was found: making it smaller takes minutes.
QUICK = [phase for phase in Phase if phase is not Phase.shrink]
UNITS = {"gpu_hours": Unit(), "kwh": Unit("watt_hour", "kwh", "kw", 1000)}


@dataclass(frozen=True)
class Case:
    period: Period
    versions: list
    profiles: dict
    reserved: list
    active: tuple | None
    history: History

    def __repr__(self):
        """Short enough to be printed: each row by its three thirds, a profile by its first quantities."""
        versions = [(str(at), json.dumps(shortened(document))) for at, document in self.versions]
        profiles = {code: (str(p.start), len(p.quantities), p.quantities[:7]) for code, p in self.profiles.items()}
        return "\n".join(map(str, (self.period, versions, profiles, self.reserved, self.active, self.history)))


def shortened(value):
    if isinstance(value, list) and len(value) == 24:
        return value[::8]
    if isinstance(value, list):
        return [shortened(item) for item in value]
    return {name: shortened(item) for name, item in value.items()} if isinstance(value, dict) else value


prices = st.decimals(min_value="-0.5", max_value="9.99", places=2).map(str)
amounts = st.decimals(min_value=0, max_value=999, places=2).map(str)
percents = st.decimals(min_value=0, max_value=100, places=1).map(str)


@st.composite
def tiers(draw):
    edges = sorted(draw(st.sets(st.integers(1, 60), max_size=2)))
    return [{"up_to": f"{edge}.5", "price": draw(prices)} for edge in edges] + [{"price": draw(prices)}]


@st.composite
def schedules(draw, periods):
    name = st.sampled_from(periods)
    rows = st.lists(name, min_size=3, max_size=3).map(lambda hours: [hour for hour in hours for _ in range(8)])
    table = st.lists(rows, min_size=1, max_size=1) | st.lists(rows, min_size=12, max_size=12)
    return {"weekday": draw(table), "weekend": draw(table)} | ({"holiday": draw(table)} if draw(st.booleans()) else {})


@st.composite
def own_schedule(draw, periods):
    """The fields of a charge with its own schedule, or none, and its periods."""
    if draw(st.booleans()):
        return {}, periods
    own = draw(st.sampled_from([["x"], ["x", "y"]]))
    return {"periods": own, "schedule": draw(schedules(own))}, own


@st.composite
def charges(draw, periods, *, contract_years):
    """Every kind of charge, riders, minimums and credits of the others."""
    found = []
    bases = ["month", "day", "contract_year"] if contract_years else ["month", "day"]
    for code in draw(st.sampled_from([["EN"], ["EN", "E2"], []])):
        fields, names = draw(own_schedule(periods))
        found.append(
            {
                "kind": "energy",
                "code": code,
                "meter": "kwh" if code == "E2" else "gpu_hours",
                "tier_basis": draw(st.sampled_from(bases)),
                "tier_scope": draw(st.sampled_from(["across_periods", "per_period"])),
                "tier_mode": draw(st.sampled_from(["graduated", "volume"])),
                "prices": {name: draw(tiers()) for name in names},
                **fields,
            }
        )
    if draw(st.booleans()):
        fields, names = draw(own_schedule(periods))
        by = draw(st.sampled_from(["month", "period"]))
        ratchet = {"percent": draw(percents), "lookback_months": draw(st.integers(1, 4))}
        found.append(
            {
                "kind": "demand",
                "code": "DM",
                "meter": "gpu_hours",
                "interval_minutes": draw(st.sampled_from([15, 30, 60, 120])),
                "by": by,
                "prices": {name: draw(tiers()) for name in (names if by == "period" else ["all"])},
                "ratchet": draw(st.none() | st.just(ratchet)),
                **fields,
            }
        )
    if draw(st.booleans()):
        per = draw(st.sampled_from(["unit_hour", "unit_day", "unit_month"]))
        found.append({"kind": "capacity", "code": "CP", "price": draw(amounts), "per": per, "meter": "gpu_hours"})
    used = [charge["code"] for charge in found]
    if used:
        found.append({"kind": "rider", "code": "R1", "basis": "percent", "of": used, "value": draw(prices)})
    found.append({"kind": "rider", "code": "R2", "basis": "fixed", "value": draw(prices)})
    if "EN" in used:
        found.append({"kind": "rider", "code": "R3", "basis": "per_unit", "of": ["EN"], "value": draw(prices)})
    per = draw(st.sampled_from(["day", "month", "year"]))
    found.append({"kind": "standing", "code": "SC", "amount": draw(amounts), "per": per})
    known = [charge["code"] for charge in found]
    some = st.lists(st.sampled_from(known), min_size=1, unique=True)
    found.append({"kind": "minimum", "code": "MIN", "amount": draw(amounts), "counts": draw(some)})
    for code in draw(st.sampled_from([[], ["C1"], ["C1", "C2"]])):
        basis = draw(st.sampled_from(["percent", "fixed", *(["per_unit"] if "EN" in used else [])]))
        of = ["EN"] if basis == "per_unit" else draw(some)
        value = draw(percents if basis == "percent" else amounts)
        found.append({"kind": "credit", "code": code, "basis": basis, "of": of, "value": value})
    return draw(st.permutations(found)) if draw(st.booleans()) else found


@st.composite
def documents(draw, timezone, *, contract_years):
    periods = draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "c"]]))
    return {
        "code": "T",
        "currency": "CNY",
        "timezone": timezone,
        "effective": ["2019-01-01", None],
        "periods": periods,
        "schedule": draw(schedules(periods)),
        "calendar": "CN",
        "charges": draw(charges(periods, contract_years=contract_years)),
        "tax": {"category": "S", "rate": "0.06", "price_includes_tax": False},
        "rounding": {"line": "half_up"},
    }


@st.composite
def cases(draw):
    timezone, start, end = draw(st.sampled_from(DAYS))
    period = Period(start, end, timezone)
    number = (end - start) // QUARTER
    instants = st.integers(0, number).map(lambda index: start + index * QUARTER)
    contract_years = draw(st.booleans())
    versions = [
        (start - timedelta(days=draw(st.integers(0, 3))), draw(documents(timezone, contract_years=contract_years)))
    ]
    if draw(st.booleans()):
        at = start + draw(st.integers(1, number - 1)) * QUARTER
        other = draw(documents(timezone, contract_years=contract_years)) | {"code": "T2"}
        versions.append((at, draw(st.sampled_from([other, other, versions[0][1]]))))
    profiles = {}
    for meter in UNITS:
        pattern = draw(st.lists(st.integers(0, 20000) | st.just(0), min_size=0, max_size=7))
        shift = draw(st.integers(-3, 3))
        if pattern:
            quantities = [pattern[index % len(pattern)] for index in range(number - draw(st.integers(0, 5)))]
            profiles[meter] = Profile(start + shift * QUARTER, 900, quantities)
    reserved = []
    for _ in range(draw(st.integers(0, 3))):
        first, last = sorted((draw(instants), draw(instants)))
        if first < last:
            reserved.append(Reserved(first, last, draw(st.integers(0, 3))))
    active = None
    if draw(st.booleans()):
        first, last = sorted((draw(instants), draw(instants)))
        active = (first, last if last > first and draw(st.booleans()) else None)
    history = draw(histories(start, number, contract_years=contract_years))
    return Case(period, versions, profiles, reserved, active, history)


@st.composite
def histories(draw, start, number, *, contract_years):
    peaks = {
        ("DM", name): tuple(draw(st.lists(st.integers(0, 90000), max_size=5)))
        for name in (None, "a", "b", "x")
        if draw(st.booleans())
    }
    if not contract_years:
        return History(peaks=peaks)
    # an anniversary within the period, or long before it
    contract_start = draw(
        st.integers(1, number - 1).map(lambda index: (start + index * QUARTER).replace(year=start.year - 1, day=27))
        | st.integers(1, number - 1).map(lambda index: start - timedelta(days=366) + index * QUARTER)
        | st.just(start - timedelta(days=40))
    )
    counters = {}
    for code in ("EN", "E2"):
        parts = {name: draw(st.integers(0, 200000)) for name in ("a", "b", "x")}
        counters |= {(code, name): base for name, base in parts.items()}
        counters[code, None] = sum(parts.values())
    return History(contract_start, counters, peaks)


@settings(
    max_examples=100,
    deadline=None,
    phases=QUICK,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases())
def test_the_fast_rater_agrees_with_the_slow_one_to_the_last_fraction(case):
    given_facts = {
        "period": case.period,
        "profiles": case.profiles,
        "units": UNITS,
        "reserved": case.reserved,
        "calendars": {"CN": CALENDAR},
        "history": case.history,
        "active": case.active,
    }
    bill = rate(tariffs=[(at, parse(document)) for at, document in case.versions], **given_facts)
    slow = SlowRater(documents=case.versions, **given_facts).rate()
    starts = {}
    for instant, _, segment in slow.cells:
        starts.setdefault(segment, instant)
    expected = {(kind, code, tou, tier, starts[n]): amount for kind, code, tou, tier, n, _, amount in slow.lines}
    assert {(x.kind, x.charge, x.tou_period, x.tier, x.start): x.amount for x in bill.lines} == expected
    quantities = {(code, tou, tier, starts[n]): q for kind, code, tou, tier, n, q, _ in slow.lines if kind != "credit"}
    found = {(x.charge, x.tou_period, x.tier, x.start): x.quantity for x in bill.lines if x.kind != "credit"}
    assert found == quantities
    assert len(bill.lines) == len(slow.lines)
    assert bill.total == sum(expected.values())
