"""The contracts of reservations: one for an account, version and provider at a time, as long as what is booked."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing import contracts, invoicing, usage
from billing.models import Contract, ReservedSpan, UsageEvent
from tests.billing import usage_world, world
from tests.billing.bookings import BOOKED, book, hour, hours_of, spans_of
from tests.billing.test_integrity import refused, run

pytestmark = pytest.mark.django_db


@pytest.fixture
def version():
    return world.publish()


@pytest.fixture
def account():
    return world.account(world.issuer(), "B")


def test_a_booking_makes_a_contract_of_its_own_at_the_prices_of_the_version(account, version):
    contract = book(account, version, 0, 24)
    assert (contract.number, contract.tariff, contract.tariff_version) == ("R-B-1", version.tariff, version)
    assert (contract.fee_percent, contract.actor, hours_of(contract)) == (Decimal(10), "test", (0, 24))
    assert spans_of(contract) == [("0-24", 0, 24)]


@pytest.mark.parametrize(
    ("second", "whole"),
    [((24, 48), (0, 48)), ((12, 48), (0, 48)), ((6, 12), (0, 24)), ((-24, 0), (-24, 24)), ((-24, 48), (-24, 48))],
    ids=["after it", "across its end", "within it", "before it", "around it"],
)
def test_a_booking_that_touches_or_overlaps_another_is_on_its_contract_whichever_came_first(
    account, version, second, whole
):
    first = book(account, version, 0, 24)
    assert book(account, version, *second) == first
    assert hours_of(first) == whole
    other = world.account(account.issuer, "C", 101)
    turned = book(other, version, *second)
    assert book(other, version, 0, 24) == turned
    assert hours_of(turned) == whole
    assert sorted(spans_of(turned)) == sorted(spans_of(first))
    assert Contract.objects.count() == 2


def test_a_booking_that_is_apart_of_another_version_account_or_provider_has_a_contract_of_its_own(account, version):
    first = book(account, version, 0, 24)
    later = world.publish(world.energy("9.00"), effective=["2020-06-01", None])
    made = [
        book(account, version, 25, 48, source="apart"),
        book(account, later, 0, 24, source="version"),
        book(account, version, 0, 24, source="provider", provider=world.provider(3)),
        book(world.account(account.issuer, "C", 101), version, 0, 24, source="account"),
    ]
    assert [each.number for each in made] == ["R-B-2", "R-B-3", "R-B-4", "R-C-1"]
    assert spans_of(first) == [("0-24", 0, 24)]


def test_a_booking_that_bridges_two_contracts_is_cut_at_their_edges(account, version):
    first, last = book(account, version, 0, 24), book(account, version, 48, 72)
    assert book(account, version, 12, 60, source="bridge") == first
    assert (hours_of(first), hours_of(last)) == ((0, 48), (48, 72))
    assert spans_of(first) == [("0-24", 0, 24), ("bridge", 12, 48)]
    assert spans_of(last) == [("48-72", 48, 72), ("bridge#2", 48, 60)]
    assert book(account, version, 12, 60, source="bridge") == first
    assert book(account, version, 24, 48, source="between") == first
    assert ReservedSpan.objects.count() == 5


def test_a_booking_around_three_contracts_widens_the_first_and_the_last(account, version):
    made = [book(account, version, first, first + 10) for first in (0, 20, 40)]
    assert book(account, version, -5, 55, source="s") == made[0]
    assert [hours_of(each) for each in made] == [(-5, 20), (20, 40), (40, 55)]
    assert [spans_of(each)[-1 if first else 0] for first, each in enumerate(made)] == [
        ("s", -5, 20),
        ("s#2", 20, 40),
        ("s#3", 40, 55),
    ]


def test_a_booking_told_again_is_the_one_that_is_there(account, version):
    contract = book(account, version, 0, 24)
    assert book(account, version, 0, 24) == contract
    assert ReservedSpan.objects.count() == 1
    with pytest.raises(contracts.ReservedSpanDiffersError, match="ReservedSpan 0-24: quantity is 8, not 9"):
        book(account, version, 0, 24, quantity=9)
    with pytest.raises(contracts.ReservedSpanDiffersError, match=r"end_at is 2020-05-01 16:00:00.*, not 2020-05-01 17"):
        book(account, version, 0, 25, source="0-24")
    contracts.withdraw(contract=contract, source="0-24", at=BOOKED, actor="test")
    with pytest.raises(contracts.ReservedSpanDiffersError, match=r"withdrawn_at is 2020-04-01.*, not None"):
        book(account, version, 0, 24)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantity": 0}, "quantity is 0: expected at least 1"),
        ({"fee_percent": Decimal(101)}, "fee_percent is 101: expected 0 to 100"),
        ({"source": "a#2"}, "source is 'a#2': expected 1 to 90 characters, none of them a #"),
        ({"source": ""}, "source is '': expected 1 to 90"),
        ({"end_at": hour(0)}, "end_at is 2020-04-30T16:00:00.*: expected later than"),
        ({"start_at": hour(0) + timedelta(minutes=1)}, "edge of the 900-second interval"),
    ],
)
def test_a_malformed_booking_is_refused(account, version, changes, message):
    with pytest.raises(contracts.InvalidContractError, match=message):
        book(account, version, 0, 24, **changes)
    assert not Contract.objects.exists()


def test_a_number_that_somebody_took_is_passed_over(account, version):
    world.contract(account, version.tariff, number="R-B-1")
    same_code = world.account(world.issuer("xy", 9), "B")
    assert book(account, version, 0, 24).number == "R-B-2"
    assert book(same_code, version, 0, 24).number == "R-B-3"


def test_spans_of_a_reservations_contract_come_with_bookings_alone(account, version):
    contract = book(account, version, 0, 24)
    with pytest.raises(contracts.InvalidContractError, match=r"contract is R-B-1: expected one that was signed"):
        contracts.reserve(contract=contract, quantity=1, start_at=hour(0), end_at=hour(1), source="x")


# Ending earlier


def test_a_shortened_booking_ends_the_contract_with_its_last_span(account, version):
    contract = book(account, version, 0, 24)
    book(account, version, 12, 36)
    for end, whole in ((30, (0, 30)), (20, (0, 24)), (20, (0, 24))):
        contracts.shorten(contract=contract, source="12-36", end_at=hour(end), at=hour(13), actor="test")
        assert hours_of(contract) == whole
    assert spans_of(contract) == [("0-24", 0, 24), ("12-36", 12, 20)]


def test_a_booking_that_was_cut_is_shortened_over_all_its_pieces(account, version):
    first, last = book(account, version, 0, 24), book(account, version, 48, 72)
    book(account, version, 12, 80, source="bridge")
    contracts.shorten(contract=first, source="bridge", end_at=hour(75), at=hour(13), actor="test")
    assert (hours_of(first), hours_of(last)) == ((0, 48), (48, 75))
    contracts.shorten(contract=first, source="bridge", end_at=hour(30), at=hour(13), actor="test")
    assert (hours_of(first), hours_of(last)) == ((0, 30), (48, 72))
    assert spans_of(first) == [("0-24", 0, 24), ("bridge", 12, 30)]
    assert spans_of(last) == [("48-72", 48, 72)]


@pytest.mark.parametrize(
    ("source", "end", "message"),
    [
        (
            "0-24",
            25,
            r"end_at is 2020-05-01T17:00.*: expected no later than 2020-05-01T16:00:00\+00:00, where 0-24 ends",
        ),
        ("0-24", 0, r"end_at is 2020-04-30T16:00.*: expected later than 2020-04-30T16:00"),
        ("x", 12, "source is 'x': expected one that has a span under contract R-B-1"),
    ],
)
def test_a_booking_is_only_shortened_to_a_time_within_it(account, version, source, end, message):
    contract = book(account, version, 0, 24)
    with pytest.raises(contracts.InvalidContractError, match=message):
        contracts.shorten(contract=contract, source=source, end_at=hour(end), at=hour(1), actor="test")
    assert hours_of(contract) == (0, 24)


# Taking back


def test_a_contract_is_as_long_as_what_is_left_of_its_bookings_and_withdrawn_with_the_last(account, version):
    contract = book(account, version, 0, 24)
    for first, last in ((24, 48), (48, 72)):
        book(account, version, first, last)
    contracts.withdraw(contract=contract, source="48-72", at=BOOKED, actor="test")
    assert hours_of(contract) == (0, 48)
    contracts.withdraw(contract=contract, source="0-24", at=BOOKED, actor="test")
    assert hours_of(contract) == (24, 48)
    for _ in range(2):
        contracts.withdraw(contract=contract, source="24-48", at=BOOKED + timedelta(days=1), actor="test")
        assert Contract.objects.get().withdrawn_at == BOOKED + timedelta(days=1)
    again = book(account, version, 24, 48, source="again")
    assert (again.number, hours_of(again)) == ("R-B-2", (24, 48))


def test_what_has_begun_is_not_taken_back(account, version):
    contract = book(account, version, 0, 24)
    with pytest.raises(
        contracts.InvalidContractError, match=r"0-24 began at 2020-04-30T16.*one that runs is shortened"
    ):
        contracts.withdraw(contract=contract, source="0-24", at=hour(1), actor="test")
    with pytest.raises(contracts.InvalidContractError, match="source is 'x': expected one that has a span"):
        contracts.withdraw(contract=contract, source="x", at=BOOKED, actor="test")
    contracts.withdraw(contract=contract, source="0-24", at=hour(0), actor="test")


# What is invoiced stays


@pytest.fixture
def invoiced(account, version):
    """A booking from 30 May to 3 June, of which May is invoiced."""
    contract = book(account, version, 29 * 24, 34 * 24, source="s")
    invoicing.issue(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")
    return contract


def test_nothing_is_booked_shortened_or_taken_back_in_invoiced_time(account, version, invoiced):
    june = 31 * 24
    for first, last in ((0, 1), (30 * 24, june + 1)):
        with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is invoiced for account B"):
            book(account, version, first, last)
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is invoiced"):
        contracts.shorten(contract=invoiced, source="s", end_at=hour(june - 1), at=world.JUNE, actor="test")
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-05, which is invoiced"):
        contracts.withdraw(contract=invoiced, source="s", at=BOOKED, actor="test")
    contracts.shorten(contract=invoiced, source="s", end_at=hour(june), at=world.JUNE, actor="test")
    book(account, version, june, june + 24)
    assert hours_of(invoiced) == (29 * 24, june + 24)


def test_a_contract_that_was_invoiced_does_not_begin_earlier(account, version):
    """Its contract years, and what a ratchet looks back on, would be others."""
    book(account, version, 31 * 24, 62 * 24, source="June")
    june = invoicing.open_period(issuer=account.issuer, code="2020-06")
    invoicing.issue(account=account, period=june, at=world.JULY, actor="test")
    with pytest.raises(contracts.AlreadyInvoicedError, match="period 2020-06, which is invoiced"):
        book(account, version, 30 * 24, 31 * 24)
    assert book(account, version, 0, 24).number == "R-B-2"


# What the database holds by itself


def test_two_contracts_of_an_account_version_and_provider_are_apart_in_the_database(account, version):
    contract = book(account, version, 0, 24)
    later = book(account, version, 48, 72)
    assert refused("UPDATE billing_contract SET start_at = %s WHERE id = %s", hour(23), later.pk) == (
        "contract_of_version_apart"
    )
    contracts.withdraw(contract=contract, source="0-24", at=BOOKED, actor="test")
    assert run("UPDATE billing_contract SET start_at = %s WHERE id = %s", hour(23), later.pk) == 1


def test_a_contracts_version_is_one_of_its_tariff(account, version):
    other = world.publish(code="OTHER").tariff
    copy = """INSERT INTO billing_contract (number, account_id, tariff_id, tariff_version_id, provider_id, fee_percent,
        start_at, end_at, actor) VALUES ('x', %s, %s, %s, %s, 0, %s, %s, 'test')"""
    facts = (account.pk, other.pk, version.pk, account.party_id, hour(0), hour(1))
    assert refused(copy, *facts) == "contract_version_of_tariff"


def test_a_withdrawn_contract_stays_as_it_is_and_a_signed_one_is_never_withdrawn(account, version):
    contract = book(account, version, 0, 24)
    contracts.withdraw(contract=contract, source="0-24", at=BOOKED, actor="test")
    for change in ("withdrawn_at = NULL", "end_at = end_at + interval '1 hour'"):
        assert refused(f"UPDATE billing_contract SET {change} WHERE id = {contract.pk}") == "contract_only_ends"
    signed = world.contract(account, version.tariff)
    withdrawn = f"UPDATE billing_contract SET withdrawn_at = now() WHERE id = {signed.pk}"
    assert refused(withdrawn) == "contract_only_ends"


# Usage


def sample(contract, at, event_id, provider):
    event = usage.Event(event_id, "s", "gpu.sample", contract.number, at, {"value": 8, "duration_seconds": 60})
    recorded = usage.record(owner=provider, events=[event], at=at + timedelta(minutes=1))
    ((_, outcome, _, reason),) = recorded.results
    return outcome, reason


def test_usage_counts_over_the_time_that_the_contract_was_moved_to(account, version):
    provider = world.provider()
    contract = book(account, version, 0, 24, provider=provider)
    assert sample(contract, hour(24), "a", provider) == ("unmatched", "outside_contract")
    book(account, version, 24, 48, provider=provider)
    assert sample(contract, hour(25), "b", provider) == ("counted", None)
    assert usage.rematch(at=hour(26)) == (1, 0)
    contracts.shorten(contract=contract, source="24-48", end_at=hour(30), at=hour(26), actor="test")
    assert sample(contract, hour(30), "c", provider) == ("unmatched", "outside_contract")


def test_usage_of_a_withdrawn_contract_does_not_count(account, version):
    provider = world.provider()
    contract = book(account, version, 0, 24, provider=provider)
    contracts.withdraw(contract=contract, source="0-24", at=BOOKED, actor="test")
    assert sample(contract, hour(1), "a", provider) == ("unmatched", "outside_contract")
    assert usage.rematch(at=hour(2)) == (0, 0)
    assert UsageEvent.objects.get().contract is None


def test_a_sample_holds_to_the_end_that_its_contract_was_moved_to(account, version):
    provider = world.provider()
    meter = usage_world.meter("held", "t", aggregation="time_weighted", max_gap_seconds=900)
    contract = book(account, version, 0, 24, provider=provider)
    at = hour(24) - timedelta(minutes=5)
    event = usage.Event("a", "s", "t", contract.number, at, {"value": 8})
    usage.record(owner=provider, events=[event], at=hour(30))

    def readings():
        found = usage.profile(contract=contract, meter=meter, start_at=hour(23), end_at=hour(25)).quantities
        return list(found[3:6])

    assert readings() == [8 * 300, 0, 0]
    book(account, version, 24, 48, provider=provider)
    assert readings() == [8 * 300, 8 * 600, 0]
    contracts.shorten(contract=contract, source="24-48", end_at=hour(24) + timedelta(minutes=15), at=at, actor="test")
    assert readings() == [8 * 300, 8 * 600, 0]
    contracts.withdraw(contract=contract, source="24-48", at=at, actor="test")
    assert readings() == [8 * 300, 0, 0]
