"""Silent meters: opened when what is reserved says nothing for hours, ended by the next reading or when nothing is reserved."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from billing.models import (
    Account,
    Contract,
    EventSource,
    Issuer,
    Meter,
    Party,
    Reading,
    ReservedSpan,
    Tariff,
    TariffVersion,
    UsageEvent,
)
from marketplace import silences
from marketplace.models import MeterSilence

T0 = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
SIX_HOURS = timedelta(hours=6)


def after(**duration):
    return T0 + timedelta(**duration)


class Site:
    """A contract whose tariff prices the meter gpu_hours, and another meter that it doesn't price."""

    def __init__(self):
        self.party = Party.objects.create(legal_name="Zone", credit_code="91110000000000000A", created_at=T0)
        issuer = Issuer.objects.create(code="LG", party=self.party, timezone="UTC", currency="CNY", number_prefix="LG")
        self.account = Account.objects.create(issuer=issuer, code="earth", party=self.party, created_at=T0)
        self.tariff = Tariff.objects.create(code="T", name="T")
        self.version(1, T0 - timedelta(days=365), "gpu_hours")
        self.meter, self.other = (
            Meter.objects.create(
                code=code,
                name=code,
                event_type=code,
                kind="gauge",
                aggregation="sum",
                base_unit="gpu_second",
                unit="gpu_hour",
                demand_unit="gpu",
                base_per_unit=3600,
            )
            for code in ("gpu_hours", "storage")
        )
        self.contract = self.sign("C-earth")

    def version(self, number, effective_at, *meters):
        charges = [{"kind": "energy", "meter": meter} for meter in meters] + [{"kind": "standing"}]
        TariffVersion.objects.create(
            tariff=self.tariff,
            version=number,
            effective_at=effective_at,
            document={"charges": charges},
            sha256="0" * 64,
            published_at=T0,
            actor="test",
        )

    def sign(self, number, start_at=T0, end_at=None):
        return Contract.objects.create(
            number=number,
            account=self.account,
            tariff=self.tariff,
            provider=self.party,
            fee_percent=0,
            start_at=start_at,
            end_at=end_at,
            actor="test",
        )

    def reserve(self, start_at=T0, end_at=None, contract=None):
        contract = contract or self.contract
        ReservedSpan.objects.create(
            contract=contract, quantity=8, start_at=start_at, end_at=end_at, source=f"test:{start_at}"
        )

    def read(self, at, quantity=1, contract=None):
        contract = contract or self.contract
        Reading.objects.create(contract=contract, meter=self.meter, start_at=at, quantity=quantity)


@pytest.fixture
def site(db):
    return Site()


def watch(at):
    """Every silence as (contract, meter, since, last event, ended); searched for twice, since once more changes nothing."""
    for _ in range(2):
        silences.watch(at=at, silent_after=SIX_HOURS)
    rows = MeterSilence.objects.order_by("contract__number", "since_at").select_related("contract", "meter")
    return [(row.contract.number, row.meter.code, row.since_at, row.last_event_at, row.ended_at) for row in rows]


def test_a_contract_with_nothing_reserved_may_say_nothing(site):
    assert watch(after(days=30)) == []


def test_a_contract_that_never_reported_is_silent_six_hours_after_its_reservation_began(site):
    site.reserve(after(hours=1))
    assert watch(after(hours=7) - timedelta(microseconds=1)) == []
    assert watch(after(hours=7)) == [("C-earth", "gpu_hours", after(hours=1), None, None)]


def test_a_reading_of_nothing_is_a_reading(site):
    site.reserve()
    site.read(after(hours=5), quantity=0)
    assert watch(after(hours=11, minutes=14)) == []
    assert watch(after(hours=11, minutes=15)) == [("C-earth", "gpu_hours", after(hours=5, minutes=15), None, None)]


def test_the_first_reading_after_it_ends_a_silence_and_a_later_one_begins_when_readings_stop_again(site):
    site.reserve()
    assert len(watch(after(hours=6))) == 1
    for quarter in range(4):
        site.read(after(hours=8, minutes=15 * quarter))
    ended = ("C-earth", "gpu_hours", T0, None, after(hours=8))
    assert watch(after(hours=9)) == [ended]
    assert watch(after(hours=15)) == [ended, ("C-earth", "gpu_hours", after(hours=9), None, None)]


def test_one_that_spoke_in_between_two_searches_is_two_silences(site):
    site.reserve()
    watch(after(hours=6))
    site.read(after(hours=8))
    assert watch(after(hours=20)) == [
        ("C-earth", "gpu_hours", T0, None, after(hours=8)),
        ("C-earth", "gpu_hours", after(hours=8, minutes=15), None, None),
    ]


def test_a_silence_ends_when_nothing_is_reserved_any_more(site):
    site.reserve(T0, after(hours=10))
    assert len(watch(after(hours=9))) == 1
    assert watch(after(hours=10)) == [("C-earth", "gpu_hours", T0, None, after(hours=10))]


def test_what_a_reading_before_the_reservation_says_does_not_count(site):
    site.read(T0)
    site.reserve(after(days=5))
    assert watch(after(days=5, hours=5)) == []
    assert watch(after(days=5, hours=6)) == [("C-earth", "gpu_hours", after(days=5), None, None)]


def test_a_contract_that_has_ended_may_say_nothing(site):
    contract = site.sign("C-ended", end_at=after(hours=3))
    site.reserve(contract=contract)
    assert watch(after(hours=9)) == []


def test_only_meters_that_the_tariff_in_force_prices_are_watched(site):
    site.version(2, after(days=1), "storage")
    site.reserve()
    assert [meter for _, meter, *_ in watch(after(hours=6))] == ["gpu_hours"]
    now = [(meter, ended) for _, meter, _, _, ended in watch(after(days=1))]
    assert sorted(now, key=str) == [("gpu_hours", after(days=1)), ("storage", None)]


def test_the_last_event_is_named_also_when_it_was_a_long_one(site):
    site.reserve()
    source = EventSource.objects.create(owner=site.party, name="aidc/earth")
    for number, (minutes, seconds) in enumerate([(0, 60), (7, 60), (3, 3600)]):
        UsageEvent.objects.create(
            source=source,
            event_id=str(number),
            contract=site.contract,
            meter=site.meter,
            time=after(minutes=minutes),
            duration_seconds=seconds,
            value=1,
            quantity=seconds,
            recorded_at=T0,
        )
    site.read(T0)
    site.read(after(hours=1))  # the end of the long one
    ((_, _, since_at, last_event_at, _),) = watch(after(hours=8))
    assert (since_at, last_event_at) == (after(hours=1, minutes=15), after(minutes=3))


def test_a_silence_is_open_once(site):
    site.reserve()
    watch(after(hours=6))
    with pytest.raises(IntegrityError, match="meter_silence_open_once"), transaction.atomic():
        MeterSilence.objects.create(contract=site.contract, meter=site.meter, since_at=T0, found_at=T0)


def test_eight_who_search_at_once_open_one_silence(fresh_database):
    Site().reserve()
    done = fresh_database.at_once(*[lambda: silences.watch(at=after(hours=6), silent_after=SIX_HOURS)] * 8)
    assert done == [None] * 8
    assert MeterSilence.objects.count() == 1


@pytest.mark.parametrize("contracts", [1, 3])
def test_a_search_that_finds_nothing_new_takes_a_few_queries_however_many_contracts(
    site, django_assert_num_queries, contracts
):
    for number in range(contracts):
        contract = site.sign(f"C-{number}")
        site.reserve(contract=contract)
        site.read(after(hours=5), contract=contract)
    with django_assert_num_queries(9):
        silences.watch(at=after(hours=6), silent_after=SIX_HOURS)


def test_a_reservation_of_a_version_is_heard_by_that_versions_meters_and_not_at_all_once_taken_back(site):
    version = TariffVersion.objects.get(tariff=site.tariff)
    site.version(2, after(hours=1))  # prices no meter
    held = Contract.objects.create(
        number="R-1",
        account=site.account,
        tariff=site.tariff,
        tariff_version=version,
        provider=site.party,
        fee_percent=0,
        start_at=after(hours=2),
        end_at=after(days=9),
        actor="test",
    )
    site.reserve(after(hours=2), after(days=9), contract=held)
    assert [row[0] for row in watch(after(hours=9))] == ["R-1"]
    MeterSilence.objects.all().delete()
    ReservedSpan.objects.filter(contract=held).update(withdrawn_at=T0)
    assert watch(after(hours=9)) == []
