"""Search: the same as filtering everything by hand, page by page and facet by facet."""

import base64
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import tariffs
from marketplace import catalog, listings, search
from marketplace.models import CapacityPool, CapacitySlot, Listing, Offering, Organization
from marketplace.search import InvalidFactError, InvalidHoursError, Wanted
from tests.billing import world
from tests.marketplace import bazaar, seller
from tests.marketplace.bazaar import AT, HOUR
from tests.marketplace.seller import make_pool, make_provider, make_zone, publish

pytestmark = pytest.mark.django_db

FACTS = {
    "accelerators": lambda offering: offering.pool.accelerator.slug,
    "vendors": lambda offering: offering.pool.accelerator.vendor,
    "memory": lambda offering: _memory(offering.pool.accelerator),
    "interconnects": lambda offering: offering.pool.interconnect or offering.pool.accelerator.interconnect,
    "regions": lambda offering: offering.pool.site.region,
    "providers": lambda offering: str(offering.pool.site.provider_id),
}


def _memory(accelerator):
    return "" if accelerator.memory_gb is None else f"{accelerator.memory_gb:.2f}"


def price_of(made, offering):
    document = bazaar.document_at(made, offering, AT)
    return bazaar.mean_price(document)


def fails(made, wanted, offering):
    """The names of what the offering does not fit."""
    accelerator, failed = offering.pool.accelerator, set()
    for name in ("accelerators", "vendors", "interconnects", "regions"):
        chosen = getattr(wanted, name)
        if chosen and FACTS[name](offering) not in chosen:
            failed.add(name)
    if wanted.providers and offering.pool.site.provider_id not in wanted.providers:
        failed.add("providers")
    if wanted.min_memory_gb and (accelerator.memory_gb or 0) < wanted.min_memory_gb:
        failed.add("memory")
    if any((getattr(accelerator, f"{each}_tflops") or 0) < least for each, least in wanted.min_tflops.items()):
        failed.add("tflops")
    if wanted.max_price is not None and price_of(made, offering) > Fraction(wanted.max_price):
        failed.add("price")
    many = {"quantity": wanted.quantity, "tflops": wanted.tflops, "precision": wanted.precision}
    quantity = bazaar.quantity_of(offering, **many)
    if quantity is None or not bazaar.is_found(offering, AT):
        failed.add("sale")
    if wanted.free_from is not None and quantity is not None:
        hours = (wanted.free_until - wanted.free_from) // HOUR
        soonest_at = datetime(2026, 4, 29, 3, tzinfo=UTC) + offering.lead_hours * HOUR
        within = offering.min_hours <= hours <= offering.max_hours and wanted.free_from >= soonest_at
        free = [bazaar.free(made, offering.pool, wanted.free_from + each * HOUR) for each in range(hours)]
        if not within or min(free) < quantity:
            failed.add("free")
    return failed


def some_wanted(chance):
    facts = {}
    for name, values in {
        "accelerators": ["t-a", "t-b", "t-c"],
        "vendors": ["A", "B"],
        "interconnects": ["NVLink", "RoCE"],
        "regions": ["上海", "北京"],
    }.items():
        if chance.random() < 0.3:
            facts[name] = tuple(chance.sample(values, 1 + (chance.random() < 0.4)))
    if chance.random() < 0.3:
        facts["min_memory_gb"] = Decimal(chance.choice([64, 80, 100]))
    if chance.random() < 0.3:
        facts["min_tflops"] = {"bf16": Decimal(chance.choice([100, 500]))}
    if chance.random() < 0.3:
        facts["max_price"] = Decimal(chance.choice([0, 2, 3]))
    many = [{}, {"quantity": 3}, {"quantity": 16}, {"tflops": Decimal(2000), "precision": "bf16"}]
    return facts | chance.choice(many)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), order=st.sampled_from(list(search.ORDERS)), random=st.randoms(use_true_random=False))
def test_what_is_found_and_counted_is_what_filtering_by_hand_gives(seed, order, random):
    with bazaar.rolled_back():
        made = bazaar.make(seed, hours=48)
        for _ in range(3):
            wanted = Wanted(**some_wanted(random), order=order, limit=2)
            check_facets(made, wanted)
            if random.random() < 0.5:
                start_at = datetime(2026, 4, 29, 3, tzinfo=UTC) + random.randrange(24) * HOUR
                wanted = replace(wanted, free_from=start_at, free_until=start_at + random.choice([3, 24]) * HOUR)
            check_pages(made, wanted)


def check_pages(made, wanted):
    key = {
        "price": lambda each: Listing.objects.get(pk=each.pk).price,
        "-price": lambda each: -Listing.objects.get(pk=each.pk).price,
        "-memory": lambda each: -(each.pool.accelerator.memory_gb or 0),
    }[wanted.order]
    fitting = [each for each in made.offerings.values() if not fails(made, wanted, each)]
    expected = [each.pk for each in sorted(fitting, key=lambda each: (key(each), each.pk))]
    found, pages = [], 0
    while True:
        page = search.search(wanted=wanted, at=AT)
        found += page.rows
        pages += 1
        if not page.next_cursor:
            break
        wanted = replace(wanted, cursor=page.next_cursor)
    assert [each.offering.pk for each in found] == expected
    assert pages == max(1, -(-len(expected) // 2))
    for each in found:
        many = {"quantity": wanted.quantity, "tflops": wanted.tflops, "precision": wanted.precision}
        assert each.quantity == bazaar.quantity_of(each.offering, **many)
        assert abs(Fraction(each.price) - price_of(made, each.offering)) < Fraction(1, 10**9)


def check_facets(made, wanted):
    failing = {pk: fails(made, wanted, each) for pk, each in made.offerings.items()}
    found = search.facets(wanted=wanted, at=AT)
    fitting = [made.offerings[pk] for pk, failed in failing.items() if not failed]
    assert found.total == len(fitting)
    prices = [Listing.objects.get(pk=each.pk).price for each in fitting]
    assert (found.least, found.most) == (min(prices, default=None), max(prices, default=None))
    for name, fact in FACTS.items():
        counted = Counter(fact(made.offerings[pk]) for pk, failed in failing.items() if failed <= {name})
        del counted[""]
        assert {each.value: each.count for each in found.by[name]} == counted
        ordered = [(Decimal(each.value) if name == "memory" else -each.count, each.value) for each in found.by[name]]
        assert ordered == sorted(ordered)


# A market of three


@pytest.fixture
def provider():
    return make_provider(make_zone())


def three(provider, count=3, **changes):
    """Offerings o0, o1, ... of a price each."""
    made = []
    for number in range(count):
        version = seller.prices(provider, world.energy(f"{number + 1}.00"), code=f"N{number}")
        made.append(publish(make_pool(provider, f"p{number}"), version, f"o{number}", **changes))
    return made


def codes(at=AT, **facts):
    return [row.offering.code for row in search.search(wanted=Wanted(**facts), at=at).rows]


@pytest.mark.parametrize("count", [1, 3])
def test_a_search_takes_two_queries_three_with_hours_and_so_do_the_facets(provider, count, django_assert_num_queries):
    three(provider, count)
    with django_assert_num_queries(2):
        page = search.search(wanted=Wanted(quantity=8), at=AT)
        touched = [(row.offering.pool.site.provider.name, row.offering.pool.accelerator.name) for row in page.rows]
    assert len(touched) == count
    start_at = datetime(2026, 5, 7, tzinfo=UTC)
    with django_assert_num_queries(3):
        assert len(search.search(wanted=Wanted(free_from=start_at, free_until=start_at + HOUR), at=AT).rows) == count
    with django_assert_num_queries(3):
        assert search.facets(wanted=Wanted(vendors=("Test",)), at=AT).total == count


def test_facets_say_what_people_read(provider):
    three(provider, 1)
    found = search.facets(wanted=Wanted(), at=AT)
    assert found.by == {
        "accelerators": (search.Facet("test-800", "Test test-800", 1),),
        "vendors": (search.Facet("Test", "Test", 1),),
        "memory": (search.Facet("80.00", "80.00", 1),),
        "interconnects": (),
        "regions": (search.Facet("上海", "上海", 1),),
        "providers": (search.Facet(str(provider.pk), "供应商2", 1),),
    }
    assert (found.total, found.least, found.most) == (1, 1, 1)


def test_figures_are_in_the_order_of_their_size_and_not_of_their_digits(provider):
    version = seller.prices(provider)
    for memory_gb in (96, 8, 141, 24):
        model = seller.accelerator(f"m-{memory_gb}", memory_gb=memory_gb)
        pool = seller.make_pool(provider, f"p-{memory_gb}", site=f"s-{memory_gb}", gpus=8, accelerator=model)
        publish(pool, version, f"o-{memory_gb}")
    found = search.facets(wanted=Wanted(), at=AT)
    assert [each.value for each in found.by["memory"]] == ["8.00", "24.00", "96.00", "141.00"]


def test_equal_prices_are_paged_without_a_gap_or_a_repeat(provider):
    version, pool = seller.prices(provider), make_pool(provider)
    for number in range(5):
        publish(pool, version, f"o{number}")
    found, cursor = [], ""
    for _ in range(5):
        page = search.search(wanted=Wanted(limit=1, cursor=cursor), at=AT)
        found += [row.offering.code for row in page.rows]
        cursor = page.next_cursor
    assert found == ["o0", "o1", "o2", "o3", "o4"]
    assert cursor == ""


def test_a_page_of_what_is_taken_is_short_and_goes_on(provider, monkeypatch):
    monkeypatch.setattr(search, "_EXAMINED", 24)
    monkeypatch.setattr(search, "_PAGE", 12)
    monkeypatch.setattr(search, "_TOGETHER", 5)
    version = seller.prices(provider)
    start_at = datetime(2026, 5, 7, tzinfo=UTC)
    for number in range(30):
        pool = make_pool(provider, f"p{number}")
        publish(pool, version, f"o{number:02}")
        if number < 28:
            CapacitySlot.objects.create(pool=pool, hour=start_at, capacity=64, taken=64)
    first = search.search(wanted=Wanted(free_from=start_at, free_until=start_at + HOUR), at=AT)
    assert first.rows == ()
    rest = search.search(wanted=Wanted(free_from=start_at, free_until=start_at + HOUR, cursor=first.next_cursor), at=AT)
    assert ([row.offering.code for row in rest.rows], rest.next_cursor) == (["o28", "o29"], "")


def test_like_finds_models_with_no_less_memory_and_no_fewer_flops(provider):
    version = seller.prices(provider)
    peaks = {
        "t-same": (80, 990, None),
        "t-more": (96, 1500, None),
        "t-small": (64, 2000, None),
        "t-slow": (96, 400, None),
    }
    peaks |= {"t-fp16": (80, None, 1000), "t-unknown": (80, None, None)}
    for slug, (memory_gb, bf16, fp16) in peaks.items():
        model = seller.accelerator(slug, memory_gb=memory_gb, bf16_tflops=bf16, fp16_tflops=fp16)
        publish(make_pool(provider, slug, accelerator=model), version, slug)
    assert sorted(codes(like="t-same")) == ["t-fp16", "t-more", "t-same"]
    assert codes(like="no-such-model") == []


def test_flops_are_reached_by_as_many_gpus_as_the_step_allows(provider):
    publish(make_pool(provider), seller.prices(provider), min_quantity=8, step=8)
    rows = {
        tflops: [
            row.quantity for row in search.search(wanted=Wanted(tflops=Decimal(tflops), precision="bf16"), at=AT).rows
        ]
        for tflops in ("1", "7916", "7916.1", "63328", "63329")
    }  # 989.5 each: 8 are 7916, 64 are 63328
    assert rows == {"1": [8], "7916": [8], "7916.1": [16], "63328": [64], "63329": []}
    assert codes(tflops=Decimal(1), precision="fp8") == []


# What is found


def test_found_is_only_what_is_on_sale(provider):
    offering = three(provider, 1)[0]
    assert codes() == ["o0"]
    catalog.pause(offering=offering, reason="fans", at=AT, actor="test")
    assert codes() == []
    catalog.resume(offering=offering, at=AT, actor="test")
    assert codes() == ["o0"]
    catalog.retire(offering=offering, reason="old", at=AT, actor="test")
    assert codes() == []
    assert not Listing.objects.exists()


def test_a_suspended_provider_and_a_drained_pool_are_not_found_at_once(provider):
    offering = three(provider, 1)[0]
    Organization.objects.filter(pk=provider.pk).update(state="suspended")
    assert codes() == []
    Organization.objects.filter(pk=provider.pk).update(state="verified")
    CapacityPool.objects.filter(pk=offering.pool_id).update(drains_at=AT)
    assert codes() == []
    CapacityPool.objects.filter(pk=offering.pool_id).update(drains_at=AT + 5 * HOUR)
    assert codes() == ["o0"]
    start_at = datetime(2026, 5, 6, 6, tzinfo=UTC)
    now = seller.AT
    CapacityPool.objects.filter(pk=offering.pool_id).update(drains_at=start_at + 3 * HOUR)
    assert codes(at=now, free_from=start_at, free_until=start_at + 3 * HOUR) == ["o0"]
    assert codes(at=now, free_from=start_at, free_until=start_at + 4 * HOUR) == []


def test_another_zone_is_not_found_where_one_is_asked_for(provider):
    three(provider, 1)
    assert codes(zone_id=provider.zone_id) == ["o0"]
    assert codes(zone_id=provider.zone_id + 1) == []


def test_a_site_that_moves_and_a_pool_that_is_rewired_are_found_where_they_are(provider):
    pool = three(provider, 1)[0].pool
    catalog.change_site(site=pool.site, changes={"region": "杭州"}, actor="test")
    assert (codes(regions=("上海",)), codes(regions=("杭州",))) == ([], ["o0"])
    catalog.change_pool(pool=pool, changes={"interconnect": "InfiniBand"}, actor="test")
    assert codes(interconnects=("InfiniBand",)) == ["o0"]


def test_an_interconnect_that_a_new_file_tells_is_found_where_the_pool_names_none(provider):
    pool = three(provider, 1)[0].pool
    pool.accelerator.__class__.objects.update(interconnect="NVLink")
    listings.show_accelerators()
    assert codes(interconnects=("NVLink",)) == ["o0"]
    catalog.change_pool(pool=pool, changes={"interconnect": "RoCE"}, actor="test")
    listings.show_accelerators()
    assert codes(interconnects=("RoCE",)) == ["o0"]


# Listings and time


def prices_found(at):
    return [row.price for row in search.search(wanted=Wanted(), at=at).rows]


def test_a_new_version_is_the_listed_price_from_its_day_on_once_refreshed(provider):
    three(provider, 1)
    seller.prices(provider, world.energy("9.00"), code="N0", effective=["2026-06-01", None])
    june = datetime(2026, 5, 31, 16, tzinfo=UTC)
    listing = Listing.objects.get()
    assert (listing.price, listing.next_at, listing.floors[1]) == (1, june, 10**12)
    assert listings.refresh_due(at=june - HOUR) == 0
    assert listings.refresh_due(at=june) == 1
    assert prices_found(june) == [9]
    listing.refresh_from_db()
    assert (listing.next_at, listing.floors[1]) == (None, 9 * 10**12)
    assert listings.refresh_due(at=june) == 0


def test_prices_published_past_the_catalog_are_found_by_the_job(provider):
    version = world.publish(world.energy("4.00"), code="O", effective=["2026-05-01", None])
    publish(make_pool(provider), version)
    assert prices_found(seller.AT) == [4]
    later = seller.AT + HOUR
    document = world.document(world.energy("1.00"), code="O", effective=["2026-05-06", None])
    tariffs.publish(document=document, at=later, actor="staff")
    assert prices_found(later) == [4]
    assert listings.refresh_due(at=later + HOUR) == 1
    assert prices_found(later) == [1]


def test_an_offering_whose_prices_end_is_listed_no_longer(provider):
    publish(make_pool(provider), seller.prices(provider, effective=["2026-05-01", "2026-06-01"]))
    june = datetime(2026, 5, 31, 16, tzinfo=UTC)
    assert Listing.objects.get().next_at == june
    assert listings.refresh_due(at=june) == 1
    assert codes() == []


def test_what_was_put_on_sale_past_the_catalog_is_listed_by_the_job_and_what_was_taken_off_is_not(provider):
    offerings = three(provider, 3)
    Listing.objects.filter(offering=offerings[0]).delete()
    Offering.objects.filter(pk=offerings[1].pk).update(state="paused")
    assert codes() == ["o2"]
    assert listings.refresh_due(at=seller.AT) == 2
    assert codes() == ["o0", "o2"]
    assert Listing.objects.count() == 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_refresh_takes_as_many_queries_however_much_there_is(provider, count, django_assert_num_queries):
    ids = [each.pk for each in three(provider, count)]
    with django_assert_num_queries(6):
        listings.refresh(offering_ids=ids, at=seller.AT)
    with django_assert_num_queries(2):
        assert listings.refresh_due(at=seller.AT) == 0


# Refusals


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"order": "name"}, "order is 'name': expected one of price, -price, -memory"),
        ({"limit": 0}, "limit is 0: expected a whole number from 1 to 100"),
        ({"limit": 101}, "limit is 101"),
        ({"quantity": 0}, "quantity is 0: expected a whole number from 1"),
        ({"quantity": -8}, "quantity is -8"),
        ({"quantity": 10**30}, "quantity is 1000"),
        ({"quantity": 8, "tflops": Decimal(1), "precision": "bf16"}, "quantity is 8: expected none, where tflops"),
        ({"tflops": Decimal(1)}, "precision is '': expected one of fp64"),
        ({"tflops": Decimal("NaN"), "precision": "bf16"}, "tflops is 'NaN': expected a decimal of 0 or more"),
        ({"tflops": Decimal("1e30"), "precision": "bf16"}, "tflops is '1E\\+30'"),
        ({"min_tflops": {"fp4": Decimal(1)}}, "min_tflops is 'fp4': expected one of fp64"),
        ({"min_tflops": {"bf16": Decimal(-1)}}, "min_tflops.bf16 is '-1'"),
        ({"max_price": Decimal("Infinity")}, "max_price is 'Infinity'"),
        ({"min_memory_gb": 80.0}, "min_memory_gb is '80.0'"),
        ({"free_from": AT}, "free_until is None: expected an hour"),
        ({"cursor": "x"}, "cursor is 'x': expected a next_cursor that a search gave"),
        ({"cursor": "算力"}, "cursor is '算力'"),
        ({"cursor": base64.urlsafe_b64encode(b"7").decode()}, "cursor is"),
        ({"cursor": base64.urlsafe_b64encode(b'["price", "NaN", 1]').decode()}, "cursor is"),
        ({"cursor": base64.urlsafe_b64encode(b'["-price", "1", 1]').decode()}, "that a search by price gave"),
        ({"cursor": base64.urlsafe_b64encode(b'["price", "1", 99999999999999999999]').decode()}, "cursor is"),
        ({"cursor": base64.urlsafe_b64encode(b'["price", "1", true]').decode()}, "cursor is"),
    ],
)
def test_what_can_not_be_wanted_is_told(facts, message):
    with pytest.raises(InvalidFactError, match=message):
        search.search(wanted=Wanted(**facts), at=AT)


def test_hours_are_whole():
    with pytest.raises(InvalidHoursError, match="start_at is"):
        Wanted(free_from=AT, free_until=AT + timedelta(hours=1))
