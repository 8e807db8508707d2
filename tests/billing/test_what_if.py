"""What past months would have cost under another tariff, at other hours, or with another programme: by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import contracts, invoicing, usage, what_if
from billing.models import Account, BillingPeriod, Programme, TariffVersion
from billing.what_if import Change, Later, Moved
from tests.billing import corrections_world, programmes_world, world

pytestmark = pytest.mark.django_db
DAY = ["valley"] * 8 + ["peak"] * 12 + ["valley"] * 4
HOURS = {"periods": ["peak", "valley"], "schedule": {"weekday": [DAY], "weekend": [DAY]}}
EIGHT = world.MAY + timedelta(hours=8)  # 1 May, 08:00 in Shanghai: the first hour of the peak


def priced(peak, valley, code="EN"):
    return world.energy(code=code, prices={"peak": [{"price": peak}], "valley": [{"price": valley}]})


def demand(price):
    prices = {"all": [{"price": price}]}
    return {"kind": "demand", "code": "DM", "meter": "gpu_hours", "prices": prices}


@pytest.fixture
def issuer():
    return world.issuer()


@pytest.fixture
def account(issuer):
    """In May 10 GPU-hours in the peak at 6.00 and 4 in the valley at 2.00: 68.00."""
    account = world.account(issuer, "B")
    contract = world.contract(account, world.publish(priced("6.00", "2.00"), **HOURS).tariff)
    world.read(contract, *world.hours(4), start_at=world.MAY)
    world.read(contract, *world.hours(10), start_at=EIGHT)
    return account


def other(*charges, code="OTHER", **facts):
    return world.publish(*charges, code=code, **({} if len(charges) == 0 else HOURS) | facts).tariff


def compared(account, *codes, **change):
    periods = [invoicing.open_period(issuer=account.issuer, code=code) for code in codes or ["2020-05"]]
    found = what_if.compare(account=account, periods=periods, read=usage.profile, change=Change(**change))
    return found if codes else found[0]


def issue(account, code="2020-05", at=None):
    period = invoicing.open_period(issuer=account.issuer, code=code)
    return invoicing.issue(account=account, period=period, at=at or period.end_at, actor="test")


# Tariffs


@pytest.mark.parametrize("is_issued", [False, True])
def test_without_a_change_and_under_the_tariff_that_it_has_nothing_differs(account, is_issued):
    programme = programmes_world.programme(account.issuer, cap_invoice_minor=1_234)
    programmes_world.grant(programme, account)
    number = issue(account).number if is_issued else None
    for change in ({}, {"tariff": account.contracts.get().tariff}, {"shift": Later(0)}):
        found = compared(account, **change)
        assert found.alternative == found.actual
        assert (found.number, found.is_late, found.refusal, found.actual.subsidy_minor) == (number, False, "", 1_234)


def test_another_tariff_prices_the_same_use(account):
    # 10 × 5.00 + 4 × 3.00 = 62.00 and a demand of 4 GPUs × 2.50 = 10.00: net 72.00, VAT 4.32; it was 68.00 and 4.08
    issue(account)
    found = compared(account, tariff=other(priced("5.00", "3.00"), demand("2.50")))
    assert found.actual.parts == {("energy", "peak"): 6_000, ("energy", "valley"): 800}
    assert found.alternative.parts == {("energy", "peak"): 5_000, ("energy", "valley"): 1_200, ("demand", None): 1_000}
    assert (found.actual.payable_minor, found.alternative.payable_minor) == (7_208, 7_632)


def test_its_first_version_is_taken_to_have_applied_before_its_time_and_a_later_one_from_its_own(account):
    tariff = other(priced("5.00", "3.00"), effective=["2020-05-10", None])
    world.publish(priced("1.00", "1.00"), code="OTHER", effective=["2020-05-20", None], **HOURS)
    contract = account.contracts.get()
    world.read(contract, *world.hours(2), start_at=EIGHT + timedelta(days=20))
    # 10 × 5.00 + 4 × 3.00 before, and 2 × 1.00 on 21 May
    assert compared(account, tariff=tariff).alternative.net_minor == 6_400
    assert compared(account, tariff=tariff).actual.net_minor == 8_000


def test_one_contract_of_several_can_change(account):
    second = world.contract(account, account.contracts.get().tariff, number="C-2")
    world.read(second, *world.hours(1), start_at=EIGHT)
    tariff = other(priced("1.00", "1.00"))
    assert compared(account, tariff=tariff).alternative.net_minor == 1_500
    one = compared(account, tariff=tariff, contract_ids=frozenset([second.pk]))
    assert (one.actual.net_minor, one.alternative.net_minor) == (7_400, 6_900)


def test_tiers_of_a_contract_year_count_the_months_before_under_the_other_tariff_too(account):
    # April 8 GPU-hours, May 14: of 20 at 1.00 in the contract year 12 are left, and 2 cost 10.00
    tiers = [{"up_to": "20", "price": "1.00"}, {"price": "10.00"}]
    yearly = world.energy(tier_basis="contract_year", prices={"all": tiers})
    tariff = world.publish(yearly, code="YEAR").tariff
    early = world.contract(
        account, tariff_of(account), number="C-0", start_at=world.MAY - timedelta(days=30), end_at=world.JUNE
    )
    world.read(early, *world.hours(8), start_at=world.MAY - timedelta(days=2))
    world.read(early, *world.hours(14), start_at=world.MAY + timedelta(days=1))
    found = compared(account, tariff=tariff, contract_ids=frozenset([early.pk]))
    assert found.alternative.parts["energy", "all"] == 1_200 + 2_000


def tariff_of(account):
    return world.publish(priced("6.00", "2.00"), code="EARLY", effective=["2020-01-01", None], **HOURS).tariff


def test_a_reservation_goes_by_the_other_tariff_too_and_its_use_goes_later_with_it(issuer):
    capacity = {"kind": "capacity", "code": "CP", "price": "1.00", "per": "unit_hour"}
    version = world.publish(priced("6.00", "2.00"), capacity, **HOURS)
    account = world.account(issuer, "B")
    facts = {"account": account, "tariff_version": version, "provider": world.provider(), "fee_percent": Decimal(10)}
    facts |= {"quantity": 4, "at": world.MAY, "actor": "test"}
    # 8 hours from midnight and the 8 after them: two bookings that touch, one supply, and two GPU-hours in the first
    for place, source in enumerate(("a", "b")):
        start_at = world.MAY + timedelta(hours=8 * place)
        supplied = contracts.supply(**facts, start_at=start_at, end_at=start_at + timedelta(hours=8), source=source)
    world.read(supplied, *world.hours(2), start_at=world.MAY)
    tariff = other(priced("5.00", "3.00"), capacity | {"price": "0.50"})
    found = compared(account, tariff=tariff)
    assert found.actual.parts == {("energy", "valley"): 400, ("capacity", None): 6_400}
    assert found.alternative.parts == {("energy", "valley"): 600, ("capacity", None): 3_200}
    found = compared(account, tariff=tariff, shift=Later(8))
    assert found.alternative.parts == {("energy", "peak"): 1_000, ("capacity", None): 3_200}


def test_what_can_not_be_priced_says_why_and_leaves_the_other_side(account):
    issue(account)
    found = compared(account, tariff=other(priced("1.00", "1.00"), currency="USD"))
    assert (found.alternative, found.actual.net_minor) == (None, 6_800)
    assert "version 1 of tariff OTHER is in USD: expected CNY" in found.refusal


def test_usage_that_came_after_the_invoice_is_told(account):
    issue(account)
    world.read(account.contracts.get(), *world.hours(1), start_at=world.MAY + timedelta(days=9))
    found = compared(account)
    assert (found.is_late, found.actual.net_minor, found.alternative.net_minor) == (True, 6_800, 7_000)


def test_a_note_that_corrects_the_invoice_is_a_part_of_what_the_month_cost(account):
    invoice = issue(account)
    # 08:00 to 09:00 on 10 May, one GPU: 6.00 more
    corrections_world.send(account.contracts.get(), "late", EIGHT + timedelta(days=9))
    assert compared(account).is_late
    note = corrections_world.correct(invoice)
    found = compared(account)
    assert (note.kind, found.number, found.is_late) == ("debit_note", invoice.number, False)
    assert (found.actual.net_minor, found.actual.payable_minor) == (7_400, 7_844)
    assert found.alternative == found.actual


SEGMENTS = st.lists(st.tuples(st.integers(0, 95), st.integers(1, 7_200)), min_size=1, max_size=6)
CENTS = st.integers(0, 900).map(lambda number: f"{number // 100}.{number % 100:02d}")


@given(
    used=SEGMENTS,
    prices=st.tuples(CENTS, CENTS, CENTS),
    is_percent=st.booleans(),
    cap=st.none() | st.integers(0, 5_000),
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_is_what_an_invoice_under_that_tariff_would_have_been(used, prices, is_percent, cap):
    """Sun asks what moon's tariff would have cost; moon used the same under it. With a programme that moon has."""
    with transaction.atomic():
        issuer = world.issuer()
        plain = world.publish(priced("6.00", "2.00"), **HOURS).tariff
        rider = {"kind": "rider", "code": "RD", "basis": "percent", "of": ["EN"], "value": "7.5"}
        charges = [priced(*prices[:2]), demand(prices[2]), *([rider] if is_percent else [])]
        tariff = world.publish(*charges, code="OTHER", **HOURS).tariff
        sun, moon = world.account(issuer, "sun", 101), world.account(issuer, "moon", 102)
        for buyer, its in ((sun, plain), (moon, tariff)):
            contract = world.contract(buyer, its)
            for number, (place, quantity) in enumerate(used):
                world.read(contract, quantity, start_at=world.MAY + timedelta(days=number) + place * world.INTERVAL)
        programme = programmes_world.programme(issuer, cap_firm_month_minor=cap)
        asked = compared(sun, tariff=tariff, programme=programme)
        programmes_world.grant(programme, moon)
        invoice = issue(moon)
        sums = asked.alternative
        assert (sums.net_minor, sums.tax_minor) == (invoice.net_minor, invoice.tax_minor)
        assert (sums.subsidy_minor, sums.payable_minor) == (invoice.subsidy_minor, invoice.payable_minor)
        transaction.set_rollback(True)


# Hours


def test_all_use_later_falls_into_other_prices(account):
    # 00:00 to 01:00 and 08:00 to 10:30; twelve hours later 12:00 to 13:00 and 20:00 to 22:30: 4 in the peak, 10 not
    parts = compared(account, shift=Later(12)).alternative.parts
    assert parts == {("energy", "peak"): 2_400, ("energy", "valley"): 2_000}
    assert compared(account, shift=Later(-12)).alternative.parts == parts
    # one hour earlier 23:00 to 24:00 of the same day, and 07:00 to 09:30: 4 hours of the ten are before 08:00
    parts = compared(account, shift=Later(-1)).alternative.parts
    assert parts == {("energy", "peak"): 3_600, ("energy", "valley"): 1_600}


def test_a_part_of_the_peak_goes_to_the_valley_of_its_day_and_lessens_the_demand(account):
    # 40 % of 10 hours is 4: 6 × 6.00 + 8 × 2.00 = 52.00
    found = compared(account, shift=Moved(40, "peak", "valley"))
    assert found.alternative.parts == {("energy", "peak"): 3_600, ("energy", "valley"): 1_600}
    tariff = other(priced("6.00", "2.00"), demand("30.00"))
    # from 08:00 on 4 × 0.4 GPUs less in each interval: 2.4; the valley has 48 intervals, of which four had 4 GPUs and
    # have 300 GPU-seconds more: 3,900 in 15 minutes are 4.333… GPUs, at 30.00 130.00
    found = compared(account, tariff=tariff, shift=Moved(40, "peak", "valley"))
    assert found.alternative.parts["demand", None] == 13_000


def test_it_moves_within_the_part_of_a_day_in_which_the_contract_ran(issuer):
    account = world.account(issuer, "B")
    tariff = world.publish(priced("6.00", "2.00"), **HOURS).tariff
    contract = world.contract(account, tariff, start_at=EIGHT, end_at=EIGHT + timedelta(hours=16))
    world.read(contract, 3_600, start_at=EIGHT + timedelta(hours=15))  # 23:00
    # Of 16 hours from 08:00 the last is followed by the first: one later is 08:00, not 00:00, when nothing ran.
    assert compared(account, shift=Later(1)).alternative.parts == {("energy", "peak"): 600}


def test_a_day_of_25_hours_is_one_day():
    issuer = world.issuer(timezone="Europe/Berlin", currency="EUR")
    facts = {"currency": "EUR", "timezone": "Europe/Berlin"} | HOURS
    tariff = world.publish(priced("6.00", "2.00"), **facts).tariff
    account = world.account(issuer, "B")
    contract = world.contract(account, tariff, start_at=datetime(2021, 9, 30, 22, tzinfo=UTC))
    world.read(contract, 3_600, start_at=datetime(2021, 10, 31, 22, tzinfo=UTC))  # 31 October, 23:00: its 25th hour
    (found,) = compared(account, "2021-10", shift=Later(9))  # the 9th hour is 07:00, since 02:00 comes twice
    assert found.alternative.parts == {("energy", "valley"): 200}
    (found,) = compared(account, "2021-10", shift=Later(10))
    assert found.alternative.parts == {("energy", "peak"): 600}


# Programmes


def test_another_programme_pays_month_by_month_until_its_cap_and_takes_nothing(account):
    # 30 % of 68.00 is 20.40; June's 400.00 would have 120.00, of which the year's 100.00 leave 79.60; July has nothing.
    world.read(account.contracts.get(), *world.hours(200), start_at=world.JUNE)
    world.read(account.contracts.get(), *world.hours(1), start_at=world.JULY)
    issue(account)
    programme = programmes_world.programme(account.issuer, cap_firm_year_minor=10_000)
    every = compared(account, "2020-05", "2020-06", "2020-07", programme=programme)
    assert [each.alternative.subsidy_minor for each in every] == [2_040, 7_960, 0]
    assert [each.programme.share.limited_by for each in every] == ["", "firm_cap", "firm_cap"]
    may = every[0]
    assert (may.actual.payable_minor, may.alternative.payable_minor) == (7_208, 7_208 - 2_040)
    assert programmes_world.counts(programme)[1:] == (0, 0)


def test_its_budget_is_what_is_left_now(account):
    programme = programmes_world.programme(account.issuer, budget_minor=1_500)
    found = compared(account, programme=programme)
    assert (found.alternative.subsidy_minor, found.programme.share.limited_by) == (1_500, "budget")


def test_a_reimbursement_is_claimed_and_lessens_nothing(account):
    programme = programmes_world.programme(account.issuer, mode=Programme.Mode.REIMBURSEMENT)
    sums = compared(account, programme=programme).alternative
    assert (sums.subsidy_minor, sums.claimed_minor, sums.payable_minor) == (0, 2_040, 7_208)


def test_one_that_the_firm_has_stays_as_it_was_paid(account):
    programme = programmes_world.programme(account.issuer, budget_minor=1_000)
    programmes_world.grant(programme, account)
    issue(account)
    found = compared(account, programme=programme)
    assert found.alternative == found.actual
    assert found.programme.share.share_minor == 1_000


def test_one_of_the_same_group_keeps_another_out(account):
    has = programmes_world.programme(account.issuer, "has", stacking_group="city", priority=2)
    programmes_world.grant(has, account)
    first = programmes_world.programme(
        account.issuer,
        "first",
        stacking_group="city",
        priority=1,
        percent=Decimal(50),
        funder=programmes_world.funder(51),
    )
    found = compared(account, programme=first)
    assert (found.actual.subsidy_minor, found.alternative.subsidy_minor) == (2_040, 3_400)


def test_outside_of_its_window_it_pays_nothing(account):
    programme = programmes_world.programme(account.issuer, from_date=date(2020, 6, 1))
    found = compared(account, programme=programme)
    assert (found.alternative.subsidy_minor, found.programme.share.eligible_minor) == (0, 0)


# Nothing is written, and queries


@pytest.mark.parametrize("count", [1, 3])
def test_it_writes_nothing_and_asks_as_often_whatever_the_number_of_contracts_and_invoices(
    issuer, count, django_assert_num_queries
):
    account = world.account(issuer, "B")
    tariff = world.publish(priced("6.00", "2.00"), **HOURS).tariff
    for number in range(count):
        world.read(world.contract(account, tariff, number=f"C-{number}"), *world.hours(2), start_at=EIGHT)
    issue(account)
    programmes_world.programme(issuer)
    programme = Programme.objects.select_related("funder").get()
    change = Change(tariff=other(priced("1.00", "1.00")), shift=Later(1), programme=programme)
    periods = list(BillingPeriod.objects.select_related("issuer"))
    account = Account.objects.select_related("party", "issuer").get(code="B")
    seen = []

    def watched(execute, sql, parameters, many, context):
        seen.append(sql.split()[0])
        return execute(sql, parameters, many, context)

    stored = Stored()
    # 1 for the versions, 2 counts, 2 invoices, 4 of charging
    with connection.execute_wrapper(watched), django_assert_num_queries(9):
        (found,) = what_if.compare(account=account, periods=periods, read=stored, change=change)
    assert set(seen) == {"SELECT"}
    assert (found.actual.net_minor, found.alternative.net_minor) == (1_200 * count, 200 * count)
    assert TariffVersion.objects.count() == 2


class Stored:
    """A reader that asks nothing: 2 GPU-hours from 08:00 on."""

    def __call__(self, *, contract, meter, start_at, end_at):
        quantities = [0] * ((end_at - start_at) // world.INTERVAL)
        quantities[32:34] = [3_600, 3_600]
        return usage.Profile(start_at, 900, quantities)
