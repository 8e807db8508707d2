"""A provider's prices: new versions from a later day, never in place."""

from datetime import UTC, datetime, timedelta

import pytest

from billing import tariffs
from billing.models import Contract, TariffVersion
from billing.rating.tariff import TariffError
from marketplace import catalog
from tests.billing import world
from tests.marketplace import seller
from tests.marketplace.seller import AT, make_pool, make_provider, make_zone

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider():
    return make_provider(make_zone())


def test_a_tariff_is_its_providers(provider):
    version = seller.prices(provider)
    assert (version.tariff.owner, version.version, version.actor) == (provider.party, 1, "test")
    other = make_provider(provider.zone, 3)
    with pytest.raises(tariffs.OwnerDiffersError, match="code is 'N': that tariff is another's"):
        seller.prices(other, world.energy("1.00"), effective=["2026-06-01", None])
    world.publish(code="O")
    with pytest.raises(tariffs.OwnerDiffersError, match="code is 'O'"):
        seller.prices(provider, code="O", effective=["2026-06-01", None])
    with pytest.raises(tariffs.OwnerDiffersError, match="code is 'N'"):
        world.publish(code="N", effective=["2026-06-01", None])
    assert TariffVersion.objects.count() == 2


def test_before_anything_is_on_sale_prices_may_apply_from_any_day(provider):
    seller.draft(make_pool(provider), seller.prices(provider))
    assert seller.prices(provider, world.energy("9.00"), effective=["2026-05-02", None]).version == 2


@pytest.mark.parametrize("now", ["published", "paused", "retired"])
def test_once_it_is_or_was_on_sale_prices_change_from_the_next_local_midnight_at_the_earliest(provider, now):
    offering = seller.publish(make_pool(provider), seller.prices(provider))
    if now == "paused":
        catalog.pause(offering=offering, reason="fans", at=AT, actor="test")
    elif now == "retired":
        catalog.retire(offering=offering, reason="old", at=AT, actor="test")
    evening = datetime(2026, 5, 6, 15, 59, tzinfo=UTC)  # a minute before midnight in Shanghai
    with pytest.raises(
        catalog.PricesTooEarlyError, match=r"effective\[0\] is 2026-05-06: expected 2026-05-07 or later"
    ):
        seller.prices(provider, world.energy("9.00"), at=evening, effective=["2026-05-06", None])
    late = evening + timedelta(minutes=1)
    with pytest.raises(catalog.PricesTooEarlyError, match="expected 2026-05-08 or later, since N is or was on sale"):
        seller.prices(provider, world.energy("9.00"), at=late, effective=["2026-05-07", None])
    version = seller.prices(provider, world.energy("9.00"), at=evening, effective=["2026-05-07", None])
    assert (version.version, version.effective_at) == (2, datetime(2026, 5, 6, 16, tzinfo=UTC))
    assert TariffVersion.objects.get(version=1).document["charges"][0]["prices"]["all"][0]["price"] == "8.00"


def test_prices_told_twice_are_told_once_even_after_they_apply(provider):
    first = seller.prices(provider)
    seller.publish(make_pool(provider), first)
    assert seller.prices(provider, at=AT + timedelta(days=30)) == first


def test_a_suspended_provider_publishes_no_prices(provider):
    provider.__class__.objects.filter(pk=provider.pk).update(state="suspended")
    with pytest.raises(catalog.NotProviderError):
        seller.prices(provider)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"currency": "USD"}, "currency", "currency is 'USD': expected CNY, in which the zone bills"),
        ({"timezone": "Europe/Berlin"}, "timezone", "timezone is 'Europe/Berlin': expected Asia/Shanghai"),
        ({"calendar": "DE"}, "calendar", "calendar is 'DE': expected one of CN, or none"),
        (
            {"charges": [world.energy(meter="watts")]},
            "charges[0].meter",
            r"charges\[0\].meter is 'watts': expected one of gpu_hours",
        ),
        ({"charges": [world.energy("free")]}, "charges[0].prices.all[0].price", "expected a decimal in a string"),
    ],
)
def test_prices_that_can_not_be_billed_are_refused_at_the_field(provider, changes, path, message):
    with pytest.raises(TariffError, match=message) as told:
        seller.prices(provider, **changes)
    assert told.value.path == path
    assert not TariffVersion.objects.exists()


def contract(provider, version, number, **changes):
    account = world.account(provider.zone.issuer, f"B{number}", 100 + number)
    facts = {"tariff": version.tariff, "provider": provider.party, "fee_percent": 10, "start_at": world.MAY}
    Contract.objects.create(number=f"C{number}", account=account, actor="test", **(facts | changes))


@pytest.mark.parametrize("count", [1, 3])
def test_whom_new_prices_concern_is_counted_in_two_queries(provider, count, django_assert_num_queries):
    version, other = seller.prices(provider), seller.prices(provider, code="M")
    pool = make_pool(provider)
    from_at = AT + timedelta(days=10)
    for number in range(count):
        contract(provider, version, 10 * number)
        contract(provider, version, 10 * number + 1, end_at=from_at + timedelta(hours=1))
        contract(provider, version, 10 * number + 2, end_at=from_at)
        kept = {"end_at": from_at + timedelta(hours=1), "tariff_version": version}
        contract(provider, version, 10 * number + 3, **kept)
        contract(provider, version, 10 * number + 4, **kept, withdrawn_at=AT)
        contract(provider, other, 10 * number + 5)
        seller.publish(pool, version, f"on{number}")
        seller.publish(pool, other, f"other{number}")
        seller.draft(pool, version, f"draft{number}")
    with django_assert_num_queries(2):
        concerned = catalog.concerned(tariff=version.tariff, from_at=from_at)
    assert concerned == catalog.Concerned(contracts=2 * count, kept=count, offerings=count)


@pytest.mark.parametrize("count", [1, 3])
def test_prices_are_published_in_as_many_queries_however_much_is_on_sale(provider, count, django_assert_num_queries):
    version, pool = seller.prices(provider), make_pool(provider)
    for number in range(count):
        seller.publish(pool, version, f"o{number}")
    with django_assert_num_queries(24):
        seller.prices(provider, world.energy("9.00"), effective=["2026-06-01", None])
