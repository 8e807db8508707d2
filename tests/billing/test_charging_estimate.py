"""What a reservation would cost, before it is booked: what its invoice says once it is, and was in use all the time."""

import json
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import charging, contracts, invoicing, tariffs
from billing.models import Contract
from marketplace.metering import gpu_meter
from tests.billing import world
from tests.billing.bookings import BOOKED, book, hour
from tests.billing.test_charging_reservations import CAPACITY, MINIMUM, RATCHET, RIDER, STANDING, TIERS

pytestmark = pytest.mark.django_db

JUNE = 31 * 24  # the hour it begins at
MONTHS = ("2020-05", "2020-06", "2020-07")
INCLUSIVE = json.loads(
    (Path(tariffs.__file__).parent.parent / "marketplace/data/tariffs/LG-INCLUSIVE-2020.json").read_text()
)


def inclusive():
    gpu_meter()
    return tariffs.publish(document=INCLUSIVE, at=world.MAY, actor="test")


TAX_INSIDE = {"category": "S", "rate": "0.06", "price_includes_tax": True}
VERSIONS = {
    "LG-INCLUSIVE-2020": inclusive,
    "months": lambda: world.publish(
        world.energy(prices=TIERS), RATCHET, CAPACITY, RIDER, STANDING, MINIMUM | {"amount": "7440.00"}, code="M"
    ),
    "years, tax inside": lambda: world.publish(
        world.energy(prices=TIERS, tier_basis="contract_year"), RATCHET, STANDING, tax=TAX_INSIDE, code="Y"
    ),
}


@pytest.fixture
def issuer():
    return world.issuer()


@pytest.fixture
def account(issuer):
    return world.account(issuer, "B")


@pytest.fixture
def provider():
    return world.provider()


def estimated(account, version, provider, first, last, quantity=8, issuer=None):
    return charging.estimate(
        account=account,
        issuer=issuer or account.issuer,
        tariff_version=version,
        provider=provider,
        quantity=quantity,
        start_at=hour(first),
        end_at=hour(last),
    )


def in_full_use(account):
    """Readings of all that is booked, in use all the time."""
    for contract in Contract.objects.filter(account=account, withdrawn_at=None):
        count = (contract.end_at - contract.start_at) // world.INTERVAL
        used = [0] * count
        for span in contract.reserved_spans.filter(withdrawn_at=None):
            for number in range((span.end_at - span.start_at) // world.INTERVAL):
                used[(span.start_at - contract.start_at) // world.INTERVAL + number] += span.quantity * 900
        world.read(contract, *used, start_at=contract.start_at)


def previews(account):
    """Charges by month, of those that there are."""
    found = {}
    for code in MONTHS:
        period = invoicing.open_period(issuer=account.issuer, code=code)
        found[code] = charging.charges(account=account, period=period)
    return {code: charges for code, charges in found.items() if charges.lines}


def sums(charges):
    return {code: (each.net_minor, each.tax_minor, each.taxes) for code, each in charges.items()}


def lines(charges):
    return {code: [(each.line, each.amount_minor) for each in month.lines] for code, month in charges.items()}


windows = st.tuples(st.integers(JUNE - 400, JUNE + 100), st.integers(1, 1_000), st.integers(1, 300))


@pytest.mark.parametrize("name", VERSIONS)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(window=windows)
def test_a_new_buyers_estimate_is_the_charges_of_its_invoices(account, provider, name, window):
    first, hours, quantity = window
    with transaction.atomic():
        version = VERSIONS[name]()
        found = estimated(None, version, provider, first, first + hours, quantity, account.issuer)
        assert found == estimated(account, version, provider, first, first + hours, quantity)
        book(account, version, first, first + hours, quantity=quantity, provider=provider)
        in_full_use(account)
        billed = previews(account)
        assert lines(found.charges) == lines(billed)
        assert sums(found.charges) == sums(billed)
        assert found.net_minor == sum(part["amount_minor"] for part in found.parts)
        transaction.set_rollback(True)


@pytest.mark.parametrize("name", VERSIONS)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(st.tuples(st.integers(-300, 300), st.integers(1, 200), st.integers(1, 20)), min_size=1, max_size=3),
    window=st.tuples(st.integers(-200, 200), st.integers(1, 300), st.integers(1, 20)),
)
def test_an_estimate_is_the_difference_of_the_bills_with_the_booking_and_without(
    issuer, provider, name, before, window
):
    """Where something of it is in the month: what was booked is in use all the time with it and without it."""
    first, hours, quantity = window
    with transaction.atomic():
        version = VERSIONS[name]()
        without, account = world.account(issuer, "W", 101), world.account(issuer, "B", 102)
        for buyer in (without, account):
            for number, (start, length, gpus) in enumerate(before):
                facts = {"quantity": gpus, "source": f"s{number}", "provider": provider}
                book(buyer, version, JUNE + start, JUNE + start + length, **facts)
            in_full_use(buyer)
        found = estimated(account, version, provider, JUNE + first, JUNE + first + hours, quantity)
        with_it = world.account(issuer, "X", 103)
        for number, (start, length, gpus) in enumerate(before):
            facts = {"quantity": gpus, "source": f"s{number}", "provider": provider}
            book(with_it, version, JUNE + start, JUNE + start + length, **facts)
        book(with_it, version, JUNE + first, JUNE + first + hours, quantity=quantity, provider=provider)
        in_full_use(with_it)
        # Tax is rounded once for all lines of an invoice: where prices include it, the lines' gross is exact.
        side = "gross_minor" if "inside" in name else "net_minor"
        expected = {code: getattr(month, side) for code, month in found.charges.items()}
        assert differences(previews(with_it), previews(without), side, expected.keys()) == expected
        transaction.set_rollback(True)


def differences(after, before, side, codes):
    found = dict.fromkeys(codes, 0)
    for sign, bills in ((1, after), (-1, before)):
        for code in codes & bills.keys():
            found[code] += sign * getattr(bills[code], side)
    return found


def test_an_estimate_in_plain_numbers(account, provider):
    version = world.publish(world.energy(prices=TIERS), CAPACITY, STANDING, MINIMUM | {"amount": "74400.00"})
    found = estimated(account, version, provider, JUNE - 24, JUNE + 24)
    why = {
        "EN 1": "360,000 GPU-s = 100 GPU-h; 100 × 5.40 = 540.00",
        "EN 2": "331,200 GPU-s = 92 GPU-h; 92 × 5.10 = 469.20",
        "CP": "8 GPU × 24 h = 192 GPU-h; 192 × 2.10 = 403.20",
        "SC": "86,400 s = 1 day; 1 × 24.00 = 24.00",
        "MIN": "2,400 - 1,436.4 = 963.60",
    }
    may = [part for part in found.parts if part["month"] == "2020-05"]
    assert {f"{part['charge']} {part['tier'] or ''}".strip(): part["why"]["en"] for part in may} == why
    assert may[0] == {
        "charge": "EN",
        "kind": "energy",
        "tou_period": "all",
        "tier": 1,
        "month": "2020-05",
        "quantity": "100.000000",
        "unit": "gpu_hour",
        "unit_price": "5.40",
        "amount_minor": 54_000,
        "why": {"zh-hans": "360,000 卡秒 = 100 卡时；100 × 5.40 = 540.00", "en": why["EN 1"]},
    }
    assert json.loads(json.dumps(found.parts)) == found.parts
    assert {code: month.net_minor for code, month in found.charges.items()} == {"2020-05": 240_000, "2020-06": 248_000}
    assert (found.currency, found.net_minor, found.tax_minor, found.gross_minor) == ("CNY", 488_000, 29_280, 517_280)


def test_what_a_booking_replaces_is_told_as_less(account, provider):
    version = world.publish(world.energy(prices=TIERS), STANDING)
    book(account, version, 0, 24, provider=provider)
    found = estimated(account, version, provider, 24, 36)
    told = [(part["charge"], part["tier"], part["quantity"], part["amount_minor"]) for part in found.parts]
    assert told == [("EN", 2, "96.000000", 48_960), ("SC", None, "0.500000", 1_200)]
    assert found.parts[0]["why"]["en"] == (
        "676,800 GPU-s = 188 GPU-h; 188 × 5.10 = 958.80; less 331,200 GPU-s = 92 GPU-h; 92 × 5.10 = 469.20"
    )
    assert found.parts[1]["why"]["zh-hans"] == (
        "129,600 秒 = 1.5 天；1.5 × 24.00 = 36.00；减去 86,400 秒 = 1 天；1 × 24.00 = 24.00"
    )


def test_what_does_not_touch_it_or_was_taken_back_bears_on_nothing(account, provider):
    version = world.publish(world.energy(prices=TIERS), STANDING)
    alone = estimated(None, version, provider, 24, 48, issuer=account.issuer)
    book(account, version, 50, 60, provider=provider, source="apart")
    contract = book(account, version, 0, 24, provider=provider)
    contracts.withdraw(contract=contract, source="0-24", at=BOOKED, actor="test")
    other = world.publish(world.energy("9.00"), effective=["2020-06-01", None])
    book(account, other, 0, 48, provider=provider, source="version")
    assert estimated(account, version, provider, 24, 48) == alone


def test_an_estimate_that_can_not_be_priced_is_refused(account, provider):
    dollars = world.publish(code="USD", currency="USD")
    with pytest.raises(charging.WrongCurrencyError, match="tariff USD: version 1 is in USD: expected CNY"):
        estimated(account, dollars, provider, 0, 24)
    elsewhere = world.publish(code="UTC", timezone="UTC")
    with pytest.raises(charging.NotRatedError, match="tariff UTC has the time zone UTC"):
        estimated(account, elsewhere, provider, 0, 24)
    version = world.publish()
    with pytest.raises(charging.OutOfRangeError, match="tariff T: net_minor is"):
        estimated(account, version, provider, 0, 24, quantity=10**16)
    with pytest.raises(charging.NotRatedError, match="edge of the 900-second interval"):
        charging.estimate(
            account=None,
            issuer=account.issuer,
            tariff_version=version,
            provider=provider,
            quantity=1,
            start_at=hour(0) + timedelta(minutes=5),
            end_at=hour(1),
        )


def test_an_estimate_takes_two_queries_however_much_is_booked(account, provider, django_assert_num_queries):
    version = inclusive()
    for number in range(3):
        book(account, version, number * 24, number * 24 + 24, provider=provider)
        with django_assert_num_queries(2):
            estimated(account, version, provider, 80, 152)


def test_an_estimate_of_three_days_takes_a_few_thousand_calls(account, provider):
    """Of functions, which are the same on every machine: a few milliseconds."""
    version = inclusive()
    estimated(account, version, provider, 0, 72)
    calls = Counter()
    sys.setprofile(lambda _frame, event, _arg: calls.update([event]))
    try:
        estimated(account, version, provider, 1, 73)
    finally:
        sys.setprofile(None)
    assert calls["call"] < 10_000
