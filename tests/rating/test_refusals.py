"""Rating stops with a name and a remedy; it never guesses."""

import re
from datetime import date, datetime, timedelta, timezone

import pytest

from billing.rating import refusal
from billing.rating.calendar import HolidayCalendar
from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.rate import History, rate
from billing.rating.tariff import parse
from tests.rating.documents import capacity, demand, document, energy, rider, standing, tiers, utc

MAY = Period.month(2020, 5, "UTC")
ODD = utc(2020, 5, 11, 0, 7)
YEARLY = energy(tiers(("5", "1"), "2"), tier_basis="contract_year")
USED = Profile(MAY.start, 900, [900])
TWO_UNITS = {"gpu_hours": Unit(), "kwh": Unit("watt_hour", "kwh", "kw", 1000)}
RATCHET = {"percent": "50", "lookback_months": 1}


def facts(*charges, versions=None, period=MAY, **others):
    versions = versions or [(period.start, document(*charges, timezone=period.timezone))]
    given = {
        "profiles": {"gpu_hours": USED},
        "units": {"gpu_hours": Unit()},
        "reserved": [],
        "calendars": {},
        **others,
    }
    return {"period": period, "tariffs": [(at, parse(item)) for at, item in versions], **given}


CN = HolidayCalendar("CN", frozenset(), frozenset(), date(2020, 5, 30))
KOLKATA = Period.month(2020, 5, "Asia/Kolkata")

CASES = [
    (refusal.NoTariff, facts(versions=[]) | {"tariffs": []}, "tariffs is empty: expected at least one version"),
    (
        refusal.NoTariff,
        facts(versions=[(utc(2020, 5, 2), document())]),
        r"tariffs apply from 2020-05-02T00:00:00\+00:00: expected one that applies from 2020-05-01T00:00:00\+00:00",
    ),
    (
        refusal.NoTariff,
        facts(versions=[(MAY.start, document(standing())), (MAY.start, document())]),
        r"tariffs has two versions from 2020-05-01T00:00:00\+00:00: expected one",
    ),
    (
        refusal.TimezoneDiffers,
        facts(versions=[(MAY.start, document(timezone="Asia/Shanghai"))]),
        "tariff T has the time zone Asia/Shanghai: expected the billing period's, UTC",
    ),
    (
        refusal.CurrencyDiffers,
        facts(versions=[(MAY.start, document()), (utc(2020, 5, 2), document(currency="EUR"))]),
        "tariff T has the currency EUR: expected CNY",
    ),
    (
        refusal.CalendarMissing,
        facts(versions=[(MAY.start, document(calendar="CN"))]),
        "tariff T has the calendar 'CN': given are none",
    ),
    (
        refusal.HolidaysNotVerified,
        facts(versions=[(MAY.start, document(calendar="CN"))], calendars={"CN": CN}),
        "calendar CN: 2020-05-31 cannot be rated, its holidays are verified until 2020-05-30; expected",
    ),
    (
        refusal.NotOnEdge,
        facts(versions=[(MAY.start, document()), (ODD, document(standing()))]),
        r"the end of a price segment is 2020-05-11T00:07:00\+00:00: expected an instant on an edge of the 900-second",
    ),
    (
        refusal.NotOnEdge,
        facts(reserved=[Reserved(ODD, MAY.end, 1)], profiles={}),
        "the end of a price segment is 2020-05-11T00:07:00",
    ),
    (
        refusal.NotOnEdge,
        facts(active=(ODD, None)),
        "the start of a price segment is 2020-05-11T00:07:00",
    ),
    (
        refusal.NotOnEdge,
        facts(active=(utc(2020, 5, 11, 0, 15), None), profiles={"gpu_hours": Profile(MAY.start, 3600, [])}),
        "expected an instant on an edge of the 3600-second interval",
    ),
    (
        refusal.NotOnEdge,
        facts(period=KOLKATA, profiles={"gpu_hours": Profile(utc(2020, 4, 30, 18), 3600, [])}),
        r"2020-04-30T18:30:00\+00:00: expected an instant on an edge of the 3600-second interval",
    ),
    (
        refusal.NotOnEdge,
        facts(YEARLY, history=History(utc(2018, 5, 10, 0, 7), {("EN", None): 0})),
        "charge EN: the start of a contract year is 2020-05-10T00:07:00",
    ),
    (
        refusal.UnitMissing,
        facts(units={}),
        r"profiles has the meter 'gpu_hours': expected its unit in units too, there are \[\]",
    ),
    (
        refusal.UnitMissing,
        facts(capacity(), reserved=[Reserved(MAY.start, MAY.end, 1)], units=TWO_UNITS),
        "charge CP: units are gpu_hours, kwh; expected one, or the charge's own meter",
    ),
    (
        refusal.UnitMissing,
        facts(capacity() | {"meter": "x"}, reserved=[Reserved(MAY.start, MAY.end, 1)]),
        "charge CP: units has no 'x', the meter it counts in",
    ),
    (
        refusal.UnitMissing,
        facts(
            demand(tiers("1"), ratchet=RATCHET), profiles={}, units={}, history=History(peaks={("DM", None): (900,)})
        ),
        "charge DM: units has no 'gpu_hours', in which its past peaks count",
    ),
    (
        refusal.MeterDiffers,
        facts(
            versions=[
                (MAY.start, document(energy(tiers("1")))),
                (utc(2020, 5, 2), document(energy(tiers("1")) | {"meter": "kwh"})),
            ],
            units=TWO_UNITS,
        ),
        "charge EN counts the meter 'kwh' in tariff T: expected 'gpu_hours' as in the version before it, or another code",
    ),
    (
        refusal.HistoryMissing,
        facts(YEARLY),
        "charge EN: history.contract_start is None: expected the instant contract years begin at",
    ),
    (
        refusal.HistoryMissing,
        facts(YEARLY, history=History(utc(2020, 1, 1))),
        r"charge EN: history.counters has no \('EN', None\): expected what was counted from 2020-01-01.* to 2020-05-01",
    ),
    (
        refusal.EdgeNotWhole,
        facts(energy(tiers(("0.0001", "1"), "2"))),
        "charge EN: up_to 0.0001 is 9/25 base units: expected a whole number of them",
    ),
    (
        refusal.IntervalsDiffer,
        facts(demand(tiers("1"), interval_minutes=20)),
        "charge DM: interval_minutes is 20: expected a multiple of the 900-second interval of meter 'gpu_hours'",
    ),
]


@pytest.mark.parametrize(("name", "given", "message"), CASES)
def test_what_cannot_be_rated_is_refused_by_name(name, given, message):
    with pytest.raises(name) as raised:
        rate(**given)
    assert isinstance(raised.value, refusal.RatingRefused)
    assert re.search(message, str(raised.value)), str(raised.value)


def test_days_after_a_contract_ended_need_no_verified_holidays():
    given = facts(versions=[(MAY.start, document(standing("1"), calendar="CN"))], calendars={"CN": CN})
    assert rate(**given, active=(MAY.start, utc(2020, 5, 31))).total == 30


def test_a_rider_per_unit_of_nothing_used_is_nothing():
    given = facts(energy(tiers("1")), rider("per_unit", "1", ["EN"]), profiles={})
    assert rate(**given).lines == ()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Unit(base_per_unit=0), "Unit.base_per_unit is 0: expected a whole number of at least 1"),
        (lambda: Profile(MAY.start, 0, []), "Profile.interval_seconds is 0: expected at least 1"),
        (lambda: Profile(MAY.start, 900, [1, -2]), "Profile.quantities has -2: expected no negative quantity"),
        (lambda: Profile(datetime(2020, 5, 1), 900, []), "Profile.start is .*: expected an instant in UTC"),  # noqa: DTZ001
        (
            lambda: Profile(datetime(2020, 5, 1, tzinfo=timezone(timedelta(hours=8))), 900, []),
            "Profile.start is .*: expected an instant in UTC",
        ),
        (lambda: Reserved(MAY.end, MAY.start, 1), "Reserved.end is .*: expected an instant after"),
        (lambda: Reserved(MAY.start, MAY.end, -1), "Reserved.quantity is -1: expected 0 or more"),
    ],
)
def test_what_is_no_quantity_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_profile_begins_on_an_edge_of_its_interval():
    with pytest.raises(refusal.NotOnEdge, match=r"Profile\.start is 2020-05-11T00:07:00"):
        Profile(ODD, 900, [])
