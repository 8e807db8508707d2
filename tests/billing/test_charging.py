import pickle
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from billing import calendars, charging, contracts, invoicing
from billing.models import Account, BillingPeriod
from tests.billing import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer():
    return world.issuer()


def charges(account, period=None):
    return charging.charges(account=account, period=period or world.may(account.issuer))


def told(charged):
    """Contract, charge, version, quantity, net in minor units: what a line says in short."""
    return [
        (each.supply.contract, each.line.charge, each.tariff_version, each.line.quantity, each.amount_minor)
        for each in charged.lines
    ]


def test_lines_come_by_contract_number_and_then_in_the_order_of_rating(issuer):
    tariff = world.publish(world.energy(), {"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"}).tariff
    account = world.account(issuer, "B")
    for number, used in (("C-2", 2), ("C-10", 1)):
        world.read(world.contract(account, tariff, number=number), *world.hours(used))
    charged = charges(account)
    assert told(charged) == [
        ("C-10", "EN", 1, 1, 800),
        ("C-10", "SC", 1, 31, 31_000),
        ("C-2", "EN", 1, 2, 1_600),
        ("C-2", "SC", 1, 31, 31_000),
    ]
    assert (charged.net_minor, charged.tax_minor, charged.gross_minor) == (64_400, 3_864, 68_264)
    (total,) = charged.taxes
    assert (total.category, total.rate, total.net_minor, total.tax_minor) == ("S", Decimal("0.06"), 64_400, 3_864)


def test_tax_is_rounded_once_on_the_sum_of_lines_with_the_same_rate(issuer):
    tariff = world.publish(world.energy("0.08")).tariff
    account = world.account(issuer, "B")
    for number in ("C-1", "C-2"):
        world.read(world.contract(account, tariff, number=number), *world.hours(1))
    charged = charges(account)
    assert [each.amount_minor for each in charged.lines] == [8, 8]
    assert charged.tax_minor == 1  # 0.96 of a fen; line by line it would be 0


def test_prices_that_include_tax_give_lines_without_it_that_sum_to_the_net(issuer):
    tax = {"category": "S", "rate": "0.06", "price_includes_tax": True}
    tariff = world.publish(
        world.energy("1.00"), world.energy("1.00", code="E2"), world.energy("1.00", code="E3"), tax=tax
    )
    account = world.account(issuer, "B")
    world.read(world.contract(account, tariff.tariff), *world.hours(1))
    charged = charges(account)
    assert (charged.gross_minor, charged.net_minor, charged.tax_minor) == (300, 283, 17)
    assert [each.amount_minor for each in charged.lines] == [95, 94, 94]


def test_charges_are_pure_data_that_another_process_can_send(issuer):
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    charged = charges(account)
    assert pickle.loads(pickle.dumps(charged)) == charged


def test_readings_outside_of_the_period_and_of_the_contract_are_not_charged(issuer):
    tariff = world.publish().tariff
    account = world.account(issuer, "B")
    contract = world.contract(
        account, tariff, start_at=world.MAY + timedelta(hours=1), end_at=world.JUNE - timedelta(hours=1)
    )
    world.read(contract, *[3600] * (24 * 4 * 32), start_at=world.MAY - timedelta(hours=12))
    charged = charges(account)
    assert told(charged) == [("C-B", "EN", 1, (31 * 24 - 2) * 4, (31 * 24 - 2) * 4 * 800)]


def test_a_contract_that_does_not_run_in_the_period_is_not_charged(issuer):
    tariff = world.publish(effective=["2020-04-01", None]).tariff
    account = world.account(issuer, "B")
    world.contract(account, tariff, number="before", start_at=world.MAY - timedelta(days=30), end_at=world.MAY)
    world.contract(account, tariff, number="after", start_at=world.JUNE)
    assert charges(account).lines == ()
    assert charges(account).gross_minor == 0


def test_what_is_reserved_is_charged_by_the_hour(issuer):
    tariff = world.publish({"kind": "capacity", "code": "CP", "price": "2.10", "per": "unit_hour"}).tariff
    contract = world.contract(world.account(issuer, "B"), tariff)
    contracts.reserve(contract=contract, quantity=8, start_at=world.MAY, source="a")
    contracts.reserve(
        contract=contract, quantity=2, start_at=world.JUNE - timedelta(days=1), end_at=world.JULY, source="b"
    )
    assert told(charges(contract.account)) == [("C-B", "CP", 1, 30 * 24 * 8, 1_209_600), ("C-B", "CP", 1, 240, 50_400)]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"currency": "USD"},
            charging.WrongCurrencyError,
            "contract C-B: version 1 of tariff T is in USD: expected CNY",
        ),
        ({"timezone": "Asia/Tokyo"}, charging.NotRatedError, "contract C-B: tariff T has the time zone Asia/Tokyo"),
        (
            {"effective": ["2020-05-02", None]},
            charging.NoTariffVersionError,
            "contract C-B: tariff T has no version for 2020-04-30T16:00:00.* applies from 2020-05-01T16",
        ),
        (
            {"effective": ["2020-06-01", None]},
            charging.NoTariffVersionError,
            "contract C-B: tariff T has no version for 2020-04-30T16:00:00.* \\(it has none by then",
        ),
        (
            {"effective": ["2020-05-01", "2020-05-31"]},
            charging.NoTariffVersionError,
            "contract C-B: version 1 of tariff T ends on 2020-05-31: publish one",
        ),
        ({"calendar": "XX"}, charging.NotRatedError, "contract C-B: tariff T has the calendar 'XX': given are CN"),
        (
            {"charges": [world.energy(meter="litres")]},
            charging.UnknownMeterError,
            "tariff T: charge EN has the meter 'litres': the meters are gpu_hours",
        ),
    ],
)
def test_what_can_not_be_charged_is_refused_by_name_and_never_guessed(issuer, changes, error, message):
    tariff = world.publish(**changes).tariff
    account = world.account(issuer, "B")
    world.contract(account, tariff)
    with pytest.raises(error, match=message):
        charges(account)
    assert issubclass(error, charging.NotChargeableError)


def test_a_month_beyond_the_verified_holidays_is_refused(issuer):
    tariff = world.publish(calendar="CN").tariff
    account = world.account(issuer, "B")
    world.contract(account, tariff)
    december = invoicing.open_period(issuer=issuer, code="2026-12")
    assert charges(account, december).gross_minor == 0
    january = invoicing.open_period(issuer=issuer, code="2027-01")
    with pytest.raises(
        charging.NotRatedError, match=r"C-B: calendar CN: 2027-01-01 cannot be rated.* until 2026-12-31"
    ):
        charges(account, january)


def test_the_calendar_of_china_knows_holidays_and_the_weekend_days_worked_for_them():
    china = calendars.by_code()["CN"]
    assert china.verified_until == date(2026, 12, 31)
    assert {date(2020, 5, day) for day in range(1, 6)} <= china.holidays
    assert date(2020, 5, 6) not in china.holidays
    assert {date(2020, 4, 26), date(2020, 5, 9)} <= china.working_days
    assert calendars.by_code() is calendars.by_code()


@pytest.mark.parametrize("count", [1, 3])
def test_charges_take_four_queries_and_one_for_each_contract(issuer, count, django_assert_num_queries):
    tariff = world.publish().tariff
    for account in world.buyers(issuer, tariff, count):
        assert account.issuer_id == issuer.pk
    period = BillingPeriod.objects.get(pk=world.may(issuer).pk)
    accounts = list(Account.objects.select_related("issuer").order_by("code"))
    with django_assert_num_queries(4 + count):
        results = charging.charges_of(accounts=accounts, period=period)
    assert [results[account.pk].net_minor for account in accounts] == [8_000 + 800 * number for number in range(count)]


@pytest.mark.parametrize("count", [1, 3])
def test_one_accounts_charges_take_four_queries_and_one_for_each_contract(issuer, count, django_assert_num_queries):
    tariff, account = world.publish().tariff, world.account(issuer, "B")
    for number in range(count):
        world.contract(account, tariff, number=f"C-{number}")
    period, account = world.may(issuer), Account.objects.select_related("issuer").get()
    with django_assert_num_queries(4 + count):
        charging.charges(account=account, period=period)


def test_a_quantity_is_exact_until_it_is_printed(issuer):
    account = world.account(issuer, "B")
    world.read(world.contract(account, world.publish().tariff), 1)
    (line,) = charges(account).lines
    assert line.line.quantity == Fraction(1, 3600)
