"""From a quote to the end: each verb, its refusals and its second click."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing import charging
from billing.models import Account, Contract
from marketplace import capacity, reservations
from marketplace.models import Offering, Organization, Quote, Reservation
from marketplace.reservations import states
from tests.billing import world
from tests.marketplace.booking import AT, CAPACITY, DAY, HOUR, START, history, make_market, months, same, spans, taken

MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_sale(db):
    return make_market()


def refused(error, call, *, text):
    with pytest.raises(error, match=re.escape(text)) as caught:
        call()
    return caught.value


# Quotes


def test_a_quote_freezes_the_price_its_parts_and_the_terms_for_an_hour(on_sale):
    quote = on_sale.quote()
    assert (quote.net_minor, quote.tax_minor, quote.gross_minor, quote.currency) == (80_000, 4_800, 84_800, "CNY")
    assert [(part["charge"], part["month"], part["amount_minor"]) for part in quote.parts] == [
        ("EN", "2020-05", 64_000),
        ("CP", "2020-05", 16_000),
    ]
    assert quote.expires_at == AT + timedelta(minutes=60)
    assert quote.tariff_version == on_sale.version
    assert quote.terms == {
        "cancellation_terms": [{"hours": 24, "percent": "0"}, {"hours": 0, "percent": "50"}],
        "service_level_percent": None,
        "service_credit_percent": None,
        "min_hours": 2,
        "max_hours": 72,
    }
    assert taken(on_sale.pool) == [0] * 10


def test_each_part_of_a_quote_says_why_it_is_so_much(on_sale):
    keys = {"charge", "kind", "tou_period", "tier", "month", "quantity", "unit", "unit_price", "amount_minor", "why"}
    parts = on_sale.quote().parts
    assert all(set(part) == keys for part in parts)
    assert [(part["kind"], Decimal(part["quantity"]), Decimal(part["unit_price"])) for part in parts] == [
        ("energy", 80, 8),
        ("capacity", 80, 2),
    ]


def test_a_quote_over_the_end_of_a_month_of_31_days_has_parts_of_both_months_in_local_time(on_sale):
    start_at = datetime(2020, 5, 31, 12, tzinfo=UTC)  # 20:00 in Shanghai: four hours of May are left
    quote = on_sale.quote(start_at=start_at, end_at=start_at + 10 * HOUR)
    by_month = {}
    for part in quote.parts:
        by_month[part["month"]] = by_month.get(part["month"], 0) + part["amount_minor"]
    assert by_month == {"2020-05": 32_000, "2020-06": 48_000}
    row = reservations.hold(quote=quote, at=AT, actor="user:1")
    assert months(row) == {"2020-05": (32_000, 0), "2020-06": (48_000, 0)}


def test_the_version_in_force_at_the_start_sets_the_price(on_sale):
    dearer = world.publish(CAPACITY, world.energy("9.00"), effective=["2020-05-13", None])
    before = on_sale.quote(end_at=START + 36 * HOUR)  # begins on the 12th, goes into the 13th
    after = on_sale.quote(start_at=START + DAY, end_at=START + DAY + 10 * HOUR)
    assert (before.tariff_version, before.net_minor) == (on_sale.version, 36 * 8 * 1000)
    assert (after.tariff_version, after.net_minor) == (dearer, 88_000)


def test_a_quote_for_an_hour_that_begins_is_good_for_a_quarter_of_an_hour_after_it(on_sale):
    at = START - 2 * MINUTE
    assert on_sale.quote(at=at).expires_at == START + 15 * MINUTE
    assert on_sale.quote(at=START).expires_at == START + 15 * MINUTE


@pytest.mark.parametrize(
    ("changes", "field", "value", "expected"),
    [
        ({"quantity": 65}, "quantity", 65, "4 to 64 in steps of 4"),
        ({"quantity": 3}, "quantity", 3, "4 to 64 in steps of 4"),
        ({"quantity": 6}, "quantity", 6, "4 to 64 in steps of 4"),
        ({"end_at": START + HOUR}, "hours", 1, "2 to 72, from start_at to end_at"),
        ({"end_at": START + 73 * HOUR}, "hours", 73, "2 to 72, from start_at to end_at"),
        ({"end_at": START - HOUR}, "hours", -1, "2 to 72, from start_at to end_at"),
        ({"start_at": START + MINUTE}, "start_at", "2020-05-12T00:01:00+00:00", "a whole hour in UTC"),
        ({"end_at": START + 9 * HOUR + MINUTE}, "end_at", "2020-05-12T09:01:00+00:00", "a whole hour in UTC"),
        (
            {"at": START - 5 * HOUR + MINUTE},
            "start_at",
            "2020-05-12T00:00:00+00:00",
            "2020-05-12T01:00:00+00:00 or later, 5 hours from now",
        ),
    ],
)
def test_a_wish_outside_the_terms_is_refused_by_field_value_and_what_would_be_right(changes, field, value, expected):
    market = make_market(min_quantity=4, step=4, lead_hours=5)
    error = refused(
        reservations.OutsideTermsError, lambda: market.quote(**changes), text=f"{field} is {value}: expected {expected}"
    )
    assert (error.field, error.value, error.expected) == (field, value, expected)
    assert not Quote.objects.exists()


@pytest.mark.parametrize("state", ["draft", "submitted", "paused", "retired"])
def test_what_is_not_on_sale_is_neither_quoted_nor_held(on_sale, state):
    quote = on_sale.quote()
    Offering.objects.filter(pk=on_sale.offering.pk).update(state=state)
    refused(reservations.NotOnSaleError, on_sale.quote, text=f"state is {state}: expected published")
    refused(
        reservations.NotOnSaleError,
        lambda: reservations.hold(quote=quote, at=AT, actor="user:1"),
        text=f"state is {state}: expected published",
    )
    assert taken(on_sale.pool) == [0] * 10


@pytest.mark.parametrize("state", ["pending", "refused", "suspended"])
def test_only_a_verified_organization_is_quoted_or_holds(on_sale, state):
    quote = on_sale.quote()
    Organization.objects.filter(pk=on_sale.sun.pk).update(state=state)
    refused(reservations.NotVerifiedError, on_sale.quote, text=f"state is {state}: expected verified")
    refused(
        reservations.NotVerifiedError,
        lambda: reservations.hold(quote=quote, at=AT, actor="user:1"),
        text=f"state is {state}: expected verified",
    )


def test_only_a_buyer_of_the_zone_is_quoted(on_sale):
    refused(
        reservations.NotVerifiedError,
        lambda: on_sale.quote(organization=on_sale.north),
        text="expected a buyer of the zone lg",
    )


def test_a_project_of_another_organization_or_one_that_is_archived_is_refused(on_sale):
    foreign = on_sale.project(organization=on_sale.moon)
    refused(
        reservations.WrongProjectError, lambda: on_sale.quote(project=foreign), text="research: expected one of Sun"
    )
    old = on_sale.project("old", archived_at=AT)
    refused(reservations.WrongProjectError, lambda: on_sale.quote(project=old), text="old: archived at")


def test_a_tariff_that_does_not_apply_yet_gives_no_price(on_sale):
    early = datetime(2020, 4, 20, tzinfo=UTC)
    refused(
        reservations.NoPriceError,
        lambda: on_sale.quote(start_at=early, end_at=early + 10 * HOUR, at=early),
        text="no version applies at 2020-04-20",
    )


def test_a_tariff_that_has_ended_gives_no_price(on_sale):
    version = world.publish(CAPACITY, code="ENDS", effective=["2020-05-01", "2020-05-12"])
    Offering.objects.filter(pk=on_sale.offering.pk).update(tariff=version.tariff)
    assert on_sale.quote(start_at=START - 10 * HOUR, end_at=START).net_minor == 16_000  # the start is before
    refused(
        reservations.NoPriceError, on_sale.quote, text="version 1 ended on 2020-05-12, and none applies at 2020-05-12"
    )


def test_what_billing_can_not_charge_gives_no_price(on_sale, monkeypatch):
    def refuse(**_):
        raise charging.WrongCurrencyError("in USD: expected CNY")

    monkeypatch.setattr(charging, "estimate", refuse)
    error = refused(reservations.NoPriceError, on_sale.quote, text="north-offering: in USD: expected CNY")
    assert isinstance(error.__cause__, charging.WrongCurrencyError)


# Holds


def test_a_hold_takes_the_capacity_and_says_until_when(on_sale):
    row = on_sale.held()
    assert (row.state, row.hold_expires_at) == ("held", AT + 15 * MINUTE)
    assert (row.net_minor, row.tax_minor, row.gross_minor) == (80_000, 4_800, 84_800)
    assert taken(on_sale.pool, START - HOUR, 12) == [0, *[8] * 10, 0]
    assert months(row) == {"2020-05": (80_000, 0)}
    assert history(row) == ["held"]
    assert not Contract.objects.exists()


def test_a_second_click_on_a_quote_gives_the_reservation_that_is_there_whatever_became_of_it(on_sale):
    quote = on_sale.quote()
    row = reservations.hold(quote=quote, at=AT, actor="user:1")
    assert reservations.hold(quote=quote, at=AT + DAY, actor="user:2") == row
    reservations.cancel(reservation=row, at=AT, actor="user:1")
    again = reservations.hold(quote=quote, at=AT, actor="user:1")
    assert (again, again.state) == (row, "cancelled")
    assert taken(on_sale.pool) == [0] * 10
    assert history(row) == ["held", "cancelled"]


def test_an_expired_quote_is_refused(on_sale):
    quote = on_sale.quote()
    at = quote.expires_at
    refused(
        reservations.QuoteExpiredError,
        lambda: reservations.hold(quote=quote, at=at, actor="user:1"),
        text="it was good until 2020-05-10T09:30:00+00:00: ask for a new one",
    )
    assert reservations.hold(quote=quote, at=at - MINUTE, actor="user:1").state == "held"


def test_a_hold_of_more_than_is_free_names_the_nearest_windows_and_leaves_nothing_behind(on_sale):
    on_sale.held(quantity=64, start_at=START + 4 * HOUR, end_at=START + 14 * HOUR)
    error = refused(capacity.NotFreeError, on_sale.held, text="8 GPUs of pool north pool are not free")
    assert error.windows[0].start_at == START + 14 * HOUR
    assert Reservation.objects.count() == 1
    assert taken(on_sale.pool) == [*[0] * 4, *[64] * 6]


def test_a_draining_pool_is_not_held(on_sale):
    capacity.drain(pool=on_sale.pool, from_at=START + 5 * HOUR, at=AT, actor="user:9")
    refused(capacity.DrainingError, on_sale.held, text="drains from 2020-05-12T05:00:00+00:00")
    assert not Reservation.objects.exists()


def test_holds_whose_time_is_over_expire_and_give_all_back_once(on_sale):
    row, other = on_sale.held(), on_sale.held(at=AT + 10 * MINUTE)
    assert reservations.expire(at=AT + 14 * MINUTE) == 0
    assert reservations.expire(at=AT + 15 * MINUTE) == 1
    assert reservations.expire(at=AT + 15 * MINUTE) == 0
    fresh = same(row)
    assert (fresh.state, fresh.ended_at) == ("expired", AT + 15 * MINUTE)
    assert months(row) == {"2020-05": (0, 0)}
    assert taken(on_sale.pool) == [8] * 10
    assert same(other).state == "held"
    assert history(row) == ["held", "expired"]


# Confirm, start, complete


def test_confirming_opens_an_account_and_reserves_a_span_on_a_contract_at_the_quoted_version(on_sale):
    row = on_sale.confirmed()
    account = Account.objects.get()
    assert (account.party, account.issuer) == (on_sale.sun.party, on_sale.issuer)
    assert account.code == f"{on_sale.sun.party.credit_code[-8:]}-{on_sale.sun.pk}"
    contract = row.contract
    assert (contract.account, contract.tariff_version) == (account, on_sale.version)
    assert (contract.provider, contract.fee_percent) == (on_sale.north.party, 10)
    assert (contract.start_at, contract.end_at) == (START, START + 10 * HOUR)
    assert [span.source for span in contract.reserved_spans.all()] == [f"reservation:{row.pk}"]
    assert (row.state, row.confirmed_at, row.net_minor) == ("confirmed", AT, 80_000)


def test_the_account_that_is_there_is_used_also_for_the_second_reservation(on_sale):
    first, second = on_sale.confirmed(), on_sale.confirmed(start_at=START + 10 * HOUR, end_at=START + 20 * HOUR)
    assert first.contract == second.contract
    assert Account.objects.count() == 1
    contract = Contract.objects.get()
    assert (contract.start_at, contract.end_at) == (START, START + 20 * HOUR)


def test_confirmed_again_it_stays_as_it_is(on_sale):
    row = on_sale.confirmed()
    before = same(row)
    for at in (AT + MINUTE, AT + DAY):
        again = reservations.confirm(reservation=row, at=at, actor="user:2")
        assert (again, again.state) == (row, "confirmed")
    assert same(row) == before
    assert len(spans()) == 1
    assert history(row) == ["held", "confirmed"]


def test_a_hold_whose_time_is_over_is_not_confirmed_also_before_the_sweep(on_sale):
    row = on_sale.held()
    refused(
        reservations.HoldExpiredError,
        lambda: reservations.confirm(reservation=row, at=AT + 15 * MINUTE, actor="user:1"),
        text="it was held until 2020-05-10T08:45:00+00:00: ask for a new quote",
    )
    reservations.expire(at=AT + 15 * MINUTE)
    refused(
        reservations.WrongStateError,
        lambda: reservations.confirm(reservation=row, at=AT, actor="user:1"),
        text="state is expired: expected held",
    )
    assert not Contract.objects.exists()


def test_it_starts_from_its_start_on_and_completes_from_its_end_on(on_sale):
    row = on_sale.confirmed()
    for at in (START - MINUTE, START + 10 * HOUR):
        refused(
            reservations.NotDueError,
            lambda at=at: reservations.start(reservation=row, at=at, actor="task:controller"),
            text=f"at is {at.isoformat()}: expected a time from 2020-05-12T00:00:00+00:00 to before",
        )
    row = reservations.start(reservation=row, at=START + MINUTE, actor="task:controller")
    again = reservations.start(reservation=row, at=START + 2 * MINUTE, actor="task:controller")
    assert (again.state, again.started_at) == ("active", START + MINUTE)
    refused(
        reservations.NotDueError,
        lambda: reservations.complete(reservation=row, at=START + 9 * HOUR, actor="task:controller"),
        text="expected 2020-05-12T10:00:00+00:00, its end, or later",
    )
    done = reservations.complete(reservation=row, at=START + 10 * HOUR, actor="task:controller")
    again = reservations.complete(reservation=row, at=START + 11 * HOUR, actor="task:controller")
    assert (done.state, again.ended_at) == ("completed", START + 10 * HOUR)
    assert taken(on_sale.pool) == [8] * 10
    assert history(row) == ["held", "confirmed", "started", "completed"]


ROADS = {
    "held": lambda m: m.held(),
    "confirmed": lambda m: m.confirmed(),
    "active": lambda m: m.active(),
    "completed": lambda m: reservations.complete(reservation=m.active(), at=START + 10 * HOUR, actor="t"),
    "expired": lambda m: (row := m.held(), reservations.expire(at=AT + HOUR), Reservation.objects.get(pk=row.pk))[2],
    "cancelled": lambda m: reservations.cancel(reservation=m.held(), at=AT, actor="t"),
    "released": lambda m: reservations.release_hours(reservation=m.confirmed(), end_at=START, at=AT, actor="t"),
    "failed": lambda m: reservations.fail(reservation=m.confirmed(), reason="fire", at=AT, actor="t"),
}
VERBS = {
    "confirmed": lambda row: reservations.confirm(reservation=row, at=AT, actor="t"),
    "active": lambda row: reservations.start(reservation=row, at=START, actor="t"),
    "completed": lambda row: reservations.complete(reservation=row, at=START + 10 * HOUR, actor="t"),
    "cancelled": lambda row: reservations.cancel(reservation=row, at=AT, actor="t"),
    "released": lambda row: reservations.release_hours(reservation=row, end_at=START, at=AT, actor="t"),
    "failed": lambda row: reservations.fail(reservation=row, reason="fire", at=AT, actor="t"),
}


@pytest.mark.parametrize("to", VERBS)
@pytest.mark.parametrize("state", ROADS)
def test_a_verb_leads_only_along_a_legal_arc_and_otherwise_changes_nothing(on_sale, state, to):
    row = ROADS[state](on_sale)
    before = same(row)
    assert before.state == state
    legal = to in states.ARCS[state]
    if legal and not (state == "active" and to == "released"):  # what has begun is not given back as a whole
        assert VERBS[to](row).state == to
        return
    is_repeat = state == to or (to == "confirmed" and state in ("active", "completed"))
    if is_repeat:
        VERBS[to](row)
    else:
        with pytest.raises((reservations.WrongStateError, reservations.OutsideTermsError)):
            VERBS[to](row)
    assert same(row) == before


def test_a_hold_is_not_for_the_quote_of_an_extension(on_sale):
    row = on_sale.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 12 * HOUR, at=AT, actor="user:1")
    refused(
        reservations.IsExtensionError,
        lambda: reservations.hold(quote=quote, at=AT, actor="user:1"),
        text="extend that",
    )


def test_a_buyer_who_was_suspended_meanwhile_confirms_and_extends_nothing(on_sale):
    held, row = on_sale.held(), on_sale.confirmed()
    more = reservations.extension_quote(reservation=row, end_at=row.end_at + 2 * HOUR, at=AT, actor="user:1")
    Organization.objects.filter(pk=on_sale.sun.pk).update(state="suspended")
    for verb in (
        lambda: reservations.confirm(reservation=held, at=AT, actor="user:1"),
        lambda: reservations.extend(quote=more, at=AT, actor="user:1"),
    ):
        refused(reservations.NotVerifiedError, verb, text="Sun: state is suspended: expected verified")
    assert (same(held).state, same(row).end_at) == ("held", START + 10 * HOUR)
