"""Charges of reservations: one version's prices for life, and the same in whatever pieces they were booked."""

from itertools import pairwise

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import charging, contracts, invoicing, tariffs
from billing.models import Account, Contract, Invoice, Reading
from marketplace.metering import gpu_meter
from tests.billing import world
from tests.billing.bookings import BOOKED, book, hour
from tests.billing.test_charging import told

pytestmark = pytest.mark.django_db

CAPACITY = {"kind": "capacity", "code": "CP", "price": "2.10", "per": "unit_hour"}
STANDING = {"kind": "standing", "code": "SC", "amount": "24.00", "per": "day"}
MINIMUM = {"kind": "minimum", "code": "MIN", "amount": "744.00", "counts": ["SC", "EN", "CP"]}
RATCHET = {
    "kind": "demand",
    "code": "DM",
    "meter": "gpu_hours",
    "prices": {"all": [{"price": "30.00"}]},
    "ratchet": {"percent": "80", "lookback_months": 2},
}
RIDER = {"kind": "rider", "code": "PWR", "basis": "per_unit", "of": ["EN"], "value": "0.123"}
TIERS = {"all": [{"up_to": "100", "price": "5.40"}, {"up_to": "300", "price": "5.10"}, {"price": "4.80"}]}


@pytest.fixture
def issuer():
    return world.issuer()


@pytest.fixture
def account(issuer):
    return world.account(issuer, "B")


def month(account, code="2020-05"):
    return charging.charges(account=account, period=invoicing.open_period(issuer=account.issuer, code=code))


def use(account, first, last, gpus=8):
    """Readings of GPUs in use all the time over the hours [first, last), under the contract that runs then."""
    for contract in Contract.objects.filter(account=account, withdrawn_at=None):
        start_at, end_at = max(contract.start_at, hour(first)), min(contract.end_at, hour(last))
        count = max(0, (end_at - start_at) // world.INTERVAL)
        world.read(contract, *[gpus * 900] * count, start_at=start_at)


def test_a_reservation_keeps_the_prices_of_its_version_whatever_is_published_later(issuer, account):
    version = world.publish(world.energy(), CAPACITY)
    book(account, version, 0, 48)
    use(account, 0, 48)
    expected = [("R-B-1", "EN", 1, 384, 307_200), ("R-B-1", "CP", 1, 384, 80_640)]
    assert told(month(account)) == expected
    world.publish(world.energy("9.00"), CAPACITY, effective=["2020-05-02", None])
    assert told(month(account)) == expected
    assert month(account).versions == ()


def test_a_version_that_applies_later_or_has_ended_holds_over_the_whole_reservation(account):
    later = world.publish(world.energy("9.00"), effective=["2020-06-01", None])
    book(account, later, 0, 24)
    ended = world.publish(world.energy("7.00"), code="U", effective=["2020-04-01", "2020-04-15"])
    book(account, ended, 0, 24, source="ended")
    use(account, 0, 24)
    assert told(month(account)) == [("R-B-1", "EN", 1, 192, 172_800), ("R-B-2", "EN", 1, 192, 134_400)]


def test_reservations_of_two_versions_have_their_own_standing_minimum_and_tiers(account):
    charges = [world.energy(prices=TIERS), STANDING]
    first = world.publish(*charges)
    second = world.publish(*charges, effective=["2020-06-01", None])
    for version in (first, second):
        book(account, version, 0, 24, source=f"v{version.version}")
    use(account, 0, 24)
    alone = [("EN", 1, 100, 54_000), ("EN", 1, 92, 46_920), ("SC", 1, 1, 2_400)]
    found = told(month(account))
    assert [(charge, 1, quantity, net) for _, charge, _, quantity, net in found] == alone * 2
    assert [version for _, _, version, _, _ in found] == [1, 1, 1, 2, 2, 2]


def test_a_span_that_was_taken_back_counts_for_nothing(account):
    version = world.publish(CAPACITY, STANDING)
    contract = book(account, version, 0, 24)
    book(account, version, 12, 36)
    contracts.withdraw(contract=contract, source="12-36", at=BOOKED, actor="test")
    assert told(month(account)) == [("R-B-1", "CP", 1, 192, 40_320), ("R-B-1", "SC", 1, 1, 2_400)]
    contracts.shorten(contract=contract, source="0-24", end_at=hour(6), at=hour(6), actor="test")
    assert told(month(account)) == [("R-B-1", "CP", 1, 48, 10_080), ("R-B-1", "SC", 1, 1 / 4, 600)]


def test_a_withdrawn_contract_is_not_charged_and_its_account_not_invoiced(issuer, account):
    version = world.publish(STANDING)
    contract = book(account, version, 0, 24)
    contracts.withdraw(contract=contract, source="0-24", at=BOOKED, actor="test")
    assert month(account).lines == ()
    assert world.close(world.may(issuer)).issued == ()
    assert not Invoice.objects.exists()


def test_contracts_that_touch_are_rated_as_one_and_its_lines_stand_under_the_first_that_runs(account):
    version = world.publish(world.energy(prices=TIERS), RATCHET, STANDING)
    for first, last in ((0, 24), (48, 72)):
        book(account, version, first, last)
    assert len(told(month(account))) == 2  # each has its own days
    book(account, version, 24, 48)
    use(account, 0, 72)
    assert [line[:4] for line in told(month(account))] == [
        ("R-B-1", "EN", 1, 100),
        ("R-B-1", "EN", 1, 200),
        ("R-B-1", "EN", 1, 276),
        ("R-B-1", "DM", 1, 8),
        ("R-B-1", "SC", 1, 3),
    ]
    assert Contract.objects.count() == 2


def test_a_ratchet_looks_back_on_contracts_that_touch_and_have_ended(account, django_assert_num_queries):
    version = world.publish(RATCHET)
    june = 31 * 24
    book(account, version, june - 48, june - 24)
    book(account, version, june, june + 24)
    book(account, version, june - 24, june)
    assert list(Contract.objects.values_list("number", "end_at")) == [("R-B-1", world.JUNE), ("R-B-2", hour(june + 24))]
    use(account, june - 48, june, gpus=10)
    use(account, june, june + 24, gpus=4)
    invoicing.open_period(issuer=account.issuer, code="2020-06")
    found = month(account, "2020-06")
    assert told(found) == [("R-B-2", "DM", 1, 8, 800)]  # 80 % of 10, for a day of 30
    account = Account.objects.select_related("issuer").get(pk=account.pk)
    period = invoicing.open_period(issuer=account.issuer, code="2020-06")
    with django_assert_num_queries(4 + 1 + 2):  # contracts that ended; readings of May and of June
        charging.charges(account=account, period=period)


def test_contracts_with_different_fees_are_rated_each_by_itself(account):
    version = world.publish(STANDING)
    for first, last, fee in ((0, 24, 10), (48, 72, 12), (24, 48, 10)):
        book(account, version, first, last, fee_percent=fee)
    assert [(line.supply.fee_percent, line.line.quantity) for line in month(account).lines] == [(10, 2), (12, 1)]


def test_a_later_version_may_apply_within_a_month_that_only_reservations_were_invoiced_for(issuer, account):
    """Theirs is told when they are booked. A contract that goes with its tariff's versions still holds them back."""
    version = world.publish(STANDING)
    book(account, version, 0, 24)
    invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    assert world.publish(effective=["2020-05-15", None]).version == 2
    other = world.account(issuer, "C", 101)
    world.contract(other, version.tariff)
    invoicing.issue(account=other, period=world.may(issuer), at=world.JUNE, actor="test")
    with pytest.raises(tariffs.VersionTooEarlyError):
        world.publish(world.energy("9.00"), effective=["2020-05-16", None])


def test_what_is_published_between_rating_and_issuing_leaves_a_reservations_invoice_as_it_is(issuer, account):
    version = world.publish(STANDING)
    book(account, version, 0, 24)
    period = world.may(issuer)
    ready = invoicing._ready(account, period, world.JUNE)
    world.publish(world.energy(), effective=["2020-05-02", None])
    invoicing._issue_as_rated(ready, period, invoicing._book([ready], period), world.JUNE, "test")
    assert Invoice.objects.get().net_minor == 2_400


def use_in(account, hours):
    """8 GPUs in use in each of these hours."""
    meter = gpu_meter()
    Reading.objects.bulk_create(
        Reading(contract=contract, meter=meter, start_at=hour(each) + quarter * world.INTERVAL, quantity=7_200)
        for contract in Contract.objects.filter(account=account, withdrawn_at=None)
        for each in sorted(hours)
        for quarter in range(4)
        if contract.start_at <= hour(each) < contract.end_at
    )


# Whatever the pieces, and their order


@st.composite
def bookings(draw):
    """A window over the end of May, cut into pieces of time, each of one or two quantities, in any order."""
    first = draw(st.integers(31 * 24 - 60, 31 * 24 + 10))
    last = first + draw(st.integers(1, 100))
    cuts = sorted({first, last, *draw(st.lists(st.integers(first, last), max_size=5))})
    gpus = draw(st.integers(1, 9))
    pieces = []
    for one, other in pairwise(cuts):
        part = draw(st.integers(0, gpus - 1))
        pieces += [(one, other, quantity) for quantity in (part, gpus - part) if quantity]
    return first, last, gpus, draw(st.permutations(pieces))


TARIFFS = {
    "month": [world.energy(prices=TIERS), RATCHET, CAPACITY, RIDER, STANDING, MINIMUM],
    "year": [world.energy(prices=TIERS, tier_basis="contract_year"), CAPACITY, STANDING, MINIMUM],
}


def lines_of(account, code):
    """What the month's lines say, but for the contract's number."""
    found = month(account, code)
    lines = [
        (each.line.charge, each.line.tier, each.line.start, each.line.end, each.line.quantity, each.amount_minor)
        for each in found.lines
    ]
    return lines, found.net_minor, found.tax_minor


@pytest.mark.parametrize("name", TARIFFS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(booking=bookings())
def test_a_booking_costs_the_same_in_whatever_pieces_and_order_it_comes(issuer, name, booking):
    first, last, gpus, pieces = booking
    with transaction.atomic():
        version = world.publish(*TARIFFS[name])
        whole, cut = world.account(issuer, "W", 101), world.account(issuer, "P", 102)
        book(whole, version, first, last, quantity=gpus)
        for number, (one, other, quantity) in enumerate(pieces):
            book(cut, version, one, other, quantity=quantity, source=f"s{number}")
        for account in (whole, cut):
            use(account, first, last, gpus)
        for code in ("2020-05", "2020-06"):
            assert lines_of(cut, code) == lines_of(whole, code)
        transaction.set_rollback(True)


@st.composite
def changes(draw):
    """Bookings as (first, last, GPUs, and how many of its hours are left, none if it is taken back)."""
    made = []
    for _ in range(draw(st.integers(1, 5))):
        first = 31 * 24 - 40 + draw(st.integers(0, 60))
        length = draw(st.integers(2, 30))
        made.append((first, first + length, draw(st.integers(1, 4)), draw(st.integers(0, length))))
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=changes())
def test_what_is_left_of_bookings_costs_what_it_would_if_it_had_been_booked_alone(issuer, made):
    with transaction.atomic():
        version = world.publish(*TARIFFS["month"])
        some, alone = world.account(issuer, "S", 101), world.account(issuer, "A", 102)
        for number, (first, last, gpus, left) in enumerate(made):
            contract = book(some, version, first, last, quantity=gpus, source=f"s{number}")
            if left == 0:
                contracts.withdraw(contract=contract, source=f"s{number}", at=BOOKED, actor="test")
            else:
                end_at = hour(first + left)
                contracts.shorten(contract=contract, source=f"s{number}", end_at=end_at, at=BOOKED, actor="test")
        left_over = [(first, first + left, gpus) for first, _, gpus, left in made if left]
        for number, (first, last, gpus) in enumerate(reversed(left_over)):
            book(alone, version, first, last, quantity=gpus, source=f"s{number}")
        hours = {each for first, last, _ in left_over for each in range(first, last)}
        for account in (some, alone):
            use_in(account, hours)
        for code in ("2020-05", "2020-06"):
            (lines, *sums), (expected, *expected_sums) = lines_of(some, code), lines_of(alone, code)
            assert (sorted(lines, key=str), sums) == (sorted(expected, key=str), expected_sums)
        transaction.set_rollback(True)


def test_a_gap_that_is_left_within_a_contract_is_not_charged(issuer, account):
    version = world.publish(STANDING, world.energy())
    contract = book(account, version, 0, 24)
    for first in (24, 48):
        book(account, version, first, first + 24)
    contracts.withdraw(contract=contract, source="24-48", at=BOOKED, actor="test")
    use(account, 0, 72)
    assert told(month(account)) == [
        ("R-B-1", "EN", 1, 192, 153_600),
        ("R-B-1", "SC", 1, 1, 2_400),
        ("R-B-1", "EN", 1, 192, 153_600),
        ("R-B-1", "SC", 1, 1, 2_400),
    ]
