"""The calendar of an offering, and a few offerings side by side."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace import catalog, search
from marketplace.models import CapacitySlot
from marketplace.search import InvalidFactError
from tests.billing import world
from tests.marketplace import bazaar, seller
from tests.marketplace.bazaar import AT, HOUR, ZONE
from tests.marketplace.seller import make_pool, make_provider, make_zone, publish

pytestmark = pytest.mark.django_db


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), quantity=st.sampled_from([1, 8, 40]), days=st.sampled_from([1, 4]))
def test_each_hour_of_the_calendar_is_what_its_slot_and_the_tariff_say(seed, quantity, days):
    with bazaar.rolled_back():
        made = bazaar.make(seed, offerings=2, hours=96)
        for offering in made.offerings.values():
            shown = search.calendar(offering=offering, quantity=quantity, from_at=AT, days=days, at=AT)
            assert [day.date for day in shown.days] == [
                date(2026, 4, 29),
                date(2026, 4, 30),
                date(2026, 5, 1),
                date(2026, 5, 2),
            ][:days]
            assert {len(day.cells) for day in shown.days} == {24}
            soonest_at = datetime(2026, 4, 29, 3, tzinfo=UTC) + offering.lead_hours * HOUR
            for number, cell in enumerate(cell for day in shown.days for cell in day.cells):
                assert cell.start_at == datetime(2026, 4, 28, 16, tzinfo=UTC) + number * HOUR
                assert cell.free == bazaar.free(made, offering.pool, cell.start_at)
                document = bazaar.document_at(made, offering, cell.start_at)
                unit = bazaar.hour_price(document, cell.start_at)[0]
                assert abs(cell.price - Decimal(unit.numerator) / unit.denominator) < Decimal("1e-9")
                assert cell.bookable is (cell.free >= quantity and cell.start_at >= soonest_at)


@pytest.fixture
def provider():
    return make_provider(make_zone())


@pytest.mark.parametrize("days", [1, 3])
def test_a_calendar_takes_two_queries(provider, days, django_assert_num_queries):
    offering = publish(make_pool(provider), seller.prices(provider))
    with django_assert_num_queries(2):
        shown = search.calendar(offering=offering, from_at=seller.AT, days=days, at=seller.AT)
    assert (shown.timezone, shown.currency, len(shown.days)) == ("Asia/Shanghai", "CNY", days)


def test_hours_before_the_first_prices_have_none_and_are_not_bookable(provider):
    offering = publish(make_pool(provider), seller.prices(provider, effective=["2026-05-08", None]))
    shown = search.calendar(offering=offering, from_at=seller.AT, days=3, at=seller.AT)
    assert [{(cell.price, cell.bookable) for cell in day.cells} for day in shown.days] == [
        {(None, False)},
        {(None, False)},
        {(Decimal(8), True)},
    ]


def test_the_day_the_clock_changes_has_its_own_number_of_hours(provider):
    world.publish(code="B", timezone="Europe/Berlin", effective=["2026-01-01", None])
    offering = publish(make_pool(provider), seller.prices(provider))
    offering.tariff = seller.catalog.Tariff.objects.get(code="B")
    offering.tariff_id = offering.tariff.pk
    at = datetime(2026, 10, 24, 10, tzinfo=UTC)
    shown = search.calendar(offering=offering, from_at=at, days=3, at=at)
    assert [len(day.cells) for day in shown.days] == [24, 25, 24]


@pytest.mark.parametrize(("days", "quantity"), [(0, 1), (93, 1), (1, 0), (1, 10**9)])
def test_a_calendar_out_of_range_is_refused(provider, days, quantity):
    offering = publish(make_pool(provider), seller.prices(provider))
    with pytest.raises(InvalidFactError):
        search.calendar(offering=offering, quantity=quantity, from_at=AT, days=days, at=AT)


START = datetime(2026, 5, 8, 2, tzinfo=UTC)


def compare(offerings, *, hours=24, quantity=8, start_at=START):
    ids = [each.pk for each in offerings]
    window = {"start_at": start_at, "end_at": start_at + hours * HOUR}
    return search.compare(offering_ids=ids, quantity=quantity, **window, at=seller.AT)


@pytest.mark.parametrize("count", [2, 4])
def test_offerings_stand_side_by_side_in_three_queries(provider, count, django_assert_num_queries):
    made = [
        publish(
            make_pool(provider, f"p{number}"),
            seller.prices(provider, world.energy(f"{number}.5"), code=f"N{number}"),
            f"o{number}",
        )
        for number in range(count)
    ]
    CapacitySlot.objects.create(pool=made[0].pool, hour=START, capacity=64, taken=60)
    with django_assert_num_queries(3):
        found = compare(made[::-1])
    assert [each.offering for each in found] == made[::-1]
    first = found[-1]
    assert (first.price, first.currency, first.free, first.problems) == (Decimal(96), "CNY", 4, ("free",))
    assert found[0].problems == ()
    assert [(day.isoformat(), kind, set(row)) for day, kind, row in first.week][:2] == [
        ("2026-05-04", "weekday", {Decimal("0.5")}),
        ("2026-05-05", "weekday", {Decimal("0.5")}),
    ]
    assert len(first.week) == 7
    assert START.astimezone(ZONE).date().weekday() == 4


def test_what_stands_against_a_window_is_named(provider):
    version = seller.prices(provider, effective=["2026-05-01", "2026-05-20"])
    pool = make_pool(provider)
    terms = {"min_quantity": 8, "step": 8, "min_hours": 2, "max_hours": 48, "lead_hours": 24}
    made = [publish(pool, version, f"o{number}", **terms) for number in range(2)]
    late = datetime(2026, 5, 19, 10, tzinfo=UTC)
    assert compare(made, quantity=12)[0].problems == ("quantity",)
    assert compare(made, quantity=72)[0].problems == ("quantity", "free")
    assert compare(made, hours=1)[0].problems == ("hours",)
    assert compare(made, start_at=datetime(2026, 5, 7, 1, tzinfo=UTC))[0].problems == ("lead",)
    assert (compare(made, start_at=late)[0].problems, compare(made, start_at=late)[0].price) == (("price",), None)


def test_one_that_was_taken_off_sale_is_left_out(provider):
    version, pool = seller.prices(provider), make_pool(provider)
    made = [publish(pool, version, f"o{number}") for number in range(2)]
    catalog.pause(offering=made[0], reason="fans", at=seller.AT, actor="test")
    assert [each.offering.code for each in compare(made)] == ["o1"]


def test_two_to_four_different_offerings_are_compared():
    for ids in ([], [1], [1, 1], [1, 2, 3, 4, 5]):
        with pytest.raises(InvalidFactError, match=r"offerings is .*: expected 2 to 4 different ones"):
            search.compare(offering_ids=ids, quantity=1, start_at=START, end_at=START + HOUR, at=AT)
