"""The market: what is on sale, when it is free, what it costs, side by side; and the page of an offering."""

import re
from decimal import Decimal

import pytest

from marketplace import listings, reservations
from marketplace.models import Offering, Organization, Quote, Site, WaitlistEntry
from marketplace.web import prices
from tests.web import buyers
from tests.web.shopping import AT, HOUR, START, make

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(clock):
    clock.now = AT
    return make()


@pytest.fixture
def sun(shop, browser):
    return browser(shop.users["sun.engineer"])


def said(response):
    return buyers.text(response)


def codes(response):
    return [row["code"] for row in response.context["rows"]]


# What is on sale


def test_a_card_says_what_it_is_where_what_it_costs_and_what_is_free(shop, sun):
    shop.market.confirmed(organization=shop.market.moon, quantity=24)
    text = said(sun.get("/market/"))
    assert "2 offerings, ¥10.00 a GPU-hour on average" in text
    assert (
        "Test 800 north offering · North site, 上海 · North 80 GB BF16 989.5 TFLOPS 64 of 64 GPUs free now; 40 all week long"
        " ¥10.00 a GPU-hour before tax, mean of the week" in text
    )
    assert "Times are Asia/Shanghai, prices in CNY before tax." in text


def test_facets_count_and_keep_the_rest_of_the_search(shop, sun):
    Site.objects.filter(provider__name="South").update(region="北京")
    listings.refresh(offering_ids=[shop.market.offering.pk, shop.market.other.pk], at=AT)
    response = sun.get("/market/?quantity=8&order=-price")
    facets = {
        facet["title"]: [(each["label"], each["count"]) for each in facet["values"]]
        for facet in response.context["facets"]
    }
    assert facets == {"Region": [("上海", 1), ("北京", 1)], "Provider": [("North", 1), ("South", 1)]}
    addresses = [each["address"] for facet in response.context["facets"] for each in facet["values"]]
    assert addresses[1] == "?quantity=8&order=-price&region=%E5%8C%97%E4%BA%AC"
    narrowed = sun.get(f"/market/{addresses[1]}")
    assert codes(narrowed) == ["south-offering"]
    region = narrowed.context["facets"][0]["values"]
    assert [(each["label"], each["is_chosen"]) for each in region] == [("上海", False), ("北京", True)]
    assert region[1]["address"] == "?quantity=8&order=-price"
    assert '<input type="hidden" name="region" value="北京">' in narrowed.text


def test_hours_that_must_be_free_leave_out_what_is_taken(shop, sun):
    shop.market.confirmed(organization=shop.market.moon, quantity=60)
    free = "start_date=2020-05-12&start_hour=8&hours=10"
    assert codes(sun.get(f"/market/?quantity=8&{free}")) == ["south-offering"]
    assert sorted(codes(sun.get(f"/market/?quantity=4&{free}"))) == ["north-offering", "south-offering"]


def test_pages_follow_each_other_by_cursor(shop, sun, monkeypatch):
    monkeypatch.setattr("marketplace.web.market.SHOWN", 1)
    first = sun.get("/market/?quantity=8")
    second = sun.get(f"/market/{first.context['next']}")
    assert (codes(first), codes(second), second.context["next"]) == (["north-offering"], ["south-offering"], "")
    assert "First page" in said(second)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("quantity=x", "quantity"),
        ("quantity=0", "quantity"),
        ("max_price=-1", "max_price"),
        ("start_date=2020-05-12&start_hour=8", "hours"),
        ("order=name", "order"),
        ("mode=time&quantity=8&pflops=1", "pflops"),
        ("mode=time&least_hours=5&most_hours=4", "most_hours"),
        ("mode=time&latest_date=2020-05-01&latest_hour=0", "latest"),
        ("mode=time&precision=fp7", "precision"),
    ],
)
def test_a_search_that_will_not_do_is_refused_at_its_field(sun, query, field):
    response = sun.get(f"/market/?{query}")
    assert (response.status_code, list(response.context["form"].errors)) == (200, [field])


@pytest.mark.parametrize("query", ["after=x", "after=%00", "memory=x&provider=x", "provider=" + "9" * 30, "region=%00"])
def test_an_address_that_makes_no_sense_is_no_error(sun, query):
    assert sun.get(f"/market/?{query}").status_code in (200, 404)


def test_where_nothing_fits_the_page_says_what_to_take_out(shop, sun):
    response = sun.get("/market/?quantity=8&max_price=1")
    assert "Nothing fits Take one of these out:" in said(response)
    chips = {chip["label"]: chip["address"] for chip in response.context["chips"]}
    assert chips == {"GPUs: 8": "?max_price=1", "At most, a GPU-hour: 1": "?quantity=8"}


@pytest.mark.parametrize("count", [1, 3])
def test_the_market_asks_the_database_as_often_for_three_as_for_one(shop, sun, django_assert_num_queries, count):
    Offering.objects.filter(pk=shop.market.other.pk).update(state="paused")
    for number in range(count - 1):
        Offering.objects.create(
            **{
                field.attname: getattr(shop.market.offering, field.attname)
                for field in Offering._meta.concrete_fields
                if field.attname not in ("id", "code")
            },
            code=f"more-{number}",
        )
    listings.refresh(offering_ids=list(Offering.objects.values_list("pk", flat=True)), at=AT)
    sun.get("/market/")
    with django_assert_num_queries(11):
        response = sun.get("/market/")
    assert len(codes(response)) == count


def test_what_is_not_on_sale_is_not_on_the_market(shop, sun):
    Offering.objects.filter(pk=shop.market.other.pk).update(state="paused")
    listings.refresh(offering_ids=[shop.market.other.pk], at=AT)
    assert codes(sun.get("/market/")) == ["north-offering"]
    assert sun.get("/market/south-offering/").status_code == 404


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("pending", "Your organization waits for its verification."),
        ("refused", "Your organization was not verified"),
        ("suspended", "Your organization is suspended"),
    ],
)
def test_an_organization_that_is_not_verified_may_look(shop, sun, state, words):
    Organization.objects.filter(pk=shop.market.sun.pk).update(state=state)
    page = sun.get("/market/?mode=time")
    assert words in said(page)
    assert (len(page.context["windows"]), 'method="post" action="/market' in page.text) == (2, False)


# Find a time


def test_windows_are_ranked_by_the_price_of_the_whole(shop, sun):
    shop.market.confirmed(organization=shop.market.moon, quantity=60, start_at=AT + 1.5 * HOUR, end_at=AT + 11.5 * HOUR)
    response = sun.get("/market/?mode=time&quantity=8&least_hours=10&most_hours=10")
    found = [(row["code"], row["span"]["text"], row["price"], row["per_hour"]) for row in response.context["windows"]]
    assert found == [
        ("south-offering", "2020-05-10 17:00 – 05-11 03:00", "¥800.00", "¥10.00"),
        ("north-offering", "2020-05-11 04:00 – 14:00", "¥800.00", "¥10.00"),
    ]
    wish = response.context["windows"][0]["wish"]
    assert (
        sun.post("/market/south-offering/", wish)["Location"]
        == f"/quotes/{Quote.objects.get(organization=shop.market.sun).pk}/"
    )


def test_computing_power_is_asked_for_by_its_precision(shop, sun):
    response = sun.get("/market/?mode=time&pflops=2&precision=bf16&least_hours=4&most_hours=4")
    assert [row["quantity"] for row in response.context["windows"]] == [3, 3]  # of 0.9895 PFLOPS each
    assert sun.get("/market/?mode=time&pflops=2&precision=fp8").context["windows"] == []


# An offering


def test_an_offering_tells_its_terms_its_prices_and_its_facts_with_their_sources(shop, sun):
    accelerator = shop.market.pool.accelerator
    accelerator.sources = {"memory_gb": {"title": "Data sheet", "publisher": "Test Inc", "looked_up": "2026-11-25"}}
    accelerator.save()
    text = said(sun.get("/market/north-offering/"))
    assert "Memory 80 GB Test Inc, Data sheet (2026-11-25)" in text
    assert "FP8 – No source found" in text
    assert "Cancelled at least 24 hours before the start free of charge" in text
    assert "Cancelled up to the start 50% of the price of what is cancelled" in text
    assert "The provider tells you 72 hours before it takes GPUs back." in text
    assert "Mon–Sun ¥10.00" in text


def test_the_calendar_links_free_hours_to_the_form(shop, sun):
    shop.market.confirmed(organization=shop.market.moon, quantity=60)
    response = sun.get("/market/north-offering/?quantity=8&hours=3")
    first = response.context["days"][0]["cells"]
    assert [cell.tone for cell in first[15:18]] == ["past", "past", "free-4"]
    day = response.context["days"][2]["cells"]
    assert [(cell.tone, cell.free) for cell in day[7:10]] == [("free-4", "64"), ("few", "4"), ("few", "4")]
    assert day[7].address == "?quantity=8&start_date=2020-05-12&start_hour=7&hours=3#reserve"
    assert day[8].address == ""
    assert day[7].title == "05-12 07:00–08:00 · 64 GPUs free · ¥10.00"


def test_the_calendar_turns_to_later_days_and_no_further_than_a_year(shop, sun):
    response = sun.get("/market/north-offering/?from=2020-05-24")
    assert [str(response.context[name]) for name in ("earlier", "first_day", "later")] == [
        "2020-05-10",
        "2020-05-24",
        "2020-06-07",
    ]
    for day in ("2020-05-09", "2021-05-10", "x"):
        assert sun.get(f"/market/north-offering/?from={day}").status_code == 404


def test_the_address_fills_in_the_form_and_nonsense_is_left_out(shop, sun):
    wish = sun.get("/market/north-offering/?quantity=16&start_date=2020-05-12&start_hour=8&hours=10").context["wish"]
    assert (wish.initial["quantity"], str(wish.initial["start"]), wish.initial["hours"]) == (
        16,
        "2020-05-12 08:00:00",
        10,
    )
    wish = sun.get("/market/north-offering/?quantity=x&start_date=9&hours=-1&project=1").context["wish"]
    assert (wish.initial["quantity"], str(wish.initial["start"]), wish.initial["hours"]) == (
        1,
        "2020-05-10 17:00:00",
        24,
    )


def test_a_provider_sees_its_own_draft_and_nobody_else_does(shop, browser):
    Offering.objects.filter(pk=shop.market.offering.pk).update(state="draft")
    page = browser(shop.users["north.owner"]).get("/market/north-offering/")
    assert "This offering is not on sale: Draft." in said(page)
    for who in ("sun.owner", "moon.owner", "south.owner"):
        assert browser(shop.users[who]).get("/market/north-offering/").status_code == 404


@pytest.mark.parametrize("count", [1, 3])
def test_an_offering_asks_the_database_as_often_for_three_projects_as_for_one(
    shop, sun, django_assert_num_queries, count
):
    for number in range(count):
        shop.project(code=f"p{number}")
    sun.get("/market/north-offering/")
    with django_assert_num_queries(11):
        sun.get("/market/north-offering/")


# Side by side


def test_offerings_stand_side_by_side_with_the_price_of_the_same_window(shop, sun):
    shop.market.confirmed(organization=shop.market.moon, quantity=60)
    query = "offering=south-offering&offering=north-offering&quantity=8&start_date=2020-05-12&start_hour=8&hours=10"
    response = sun.get(f"/market/compare/?{query}")
    found = [(each["code"], each["price"], each["per_hour"], each["free"]) for each in response.context["columns"]]
    assert found == [("south-offering", "¥800.00", "¥10.00", 64), ("north-offering", "¥800.00", "¥10.00", 4)]
    assert "No not free all of the time" in said(response)
    assert [str(each) for each in response.context["columns"][0]["problems"]] == []
    rows = {str(row["name"]): [cell["value"] for cell in row["cells"]] for row in response.context["rows"]}
    assert (rows["Memory"], rows["GPUs sold"], rows["Hours sold"]) == (["80 GB"] * 2, ["1–64"] * 2, ["2–72"] * 2)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "offering=north-offering",
        "offering=north-offering&offering=north-offering",
        "offering=a&offering=b",
        "offering=%00&offering=a",
    ],
)
def test_one_offering_has_nothing_to_be_compared_with(sun, query):
    response = sun.get(f"/market/compare/?{query}", follow=True)
    assert "Choose two to four offerings to compare." in said(response)


def test_a_window_that_will_not_do_is_refused_at_its_field(sun):
    both = "offering=south-offering&offering=north-offering"
    for query, field in (("quantity=0", "quantity"), ("hours=x", "hours"), ("start_date=x", "start")):
        assert list(sun.get(f"/market/compare/?{both}&{query}").context["form"].errors) == [field]


@pytest.mark.parametrize("count", [2, 3])
def test_comparing_three_asks_the_database_as_often_as_two(shop, sun, django_assert_num_queries, count):
    copy = {
        field.attname: getattr(shop.market.offering, field.attname)
        for field in Offering._meta.concrete_fields
        if field.attname not in ("id", "code")
    }
    third = Offering.objects.create(**copy, code="third")
    listings.refresh(offering_ids=[third.pk], at=AT)
    query = "&".join(f"offering={code}" for code in ("north-offering", "south-offering", "third")[:count])
    with django_assert_num_queries(8):
        response = sun.get(f"/market/compare/?{query}")
    assert len(response.context["columns"]) == count


# The waitlist

WAIT = {
    "wait-quantity": "64",
    "wait-hours": "10",
    "wait-earliest_date": "2020-05-12",
    "wait-earliest_hour": "8",
    "wait-latest_date": "2020-05-13",
    "wait-latest_hour": "8",
    "wait-max_price": "6500.50",
}


def test_a_buyer_joins_the_waitlist_once_and_leaves_it(shop, sun):
    for _ in range(2):
        assert sun.post("/market/north-offering/waitlist/", WAIT)["Location"] == "/waitlist/"
    entry = WaitlistEntry.objects.get()
    facts = (entry.organization, entry.quantity, entry.hours, entry.earliest_at, entry.latest_at, entry.max_net_minor)
    assert facts == (shop.market.sun, 64, 10, START, START + 24 * HOUR, 650_050)
    text = said(sun.get("/waitlist/"))
    assert "Waiting 64 × Test 800 10 hours, starting 2020-05-12 08:00 – 05-13 08:00" in text
    assert "¥6,500.50 at most, before tax" in text
    for _ in range(2):
        assert "You wait no longer." in said(sun.post(f"/waitlist/{entry.pk}/leave/", follow=True))
    entry.refresh_from_db()
    assert entry.state == "left"


def test_an_offer_has_its_deadline_and_leads_to_the_reservation(shop, sun):
    sun.post("/market/north-offering/waitlist/", WAIT)
    assert reservations.offer_from_waitlist(at=AT) == 1
    row = WaitlistEntry.objects.get().reservation
    page = sun.get("/waitlist/")
    assert "2020-05-12 08:00 – 18:00 is held for you until 2020-05-10 18:30 (2 h left). Look and confirm" in said(page)
    assert f'href="/reservations/{row.pk}/"' in page.text


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"wait-quantity": "65"}, "quantity", "Choose 1 to 64 GPUs."),
        ({"wait-hours": "1"}, "hours", "Choose 2 to 72 hours."),
        ({"wait-latest_date": "2020-05-11"}, "latest", "Choose a latest start that is not before the earliest"),
        ({"wait-max_price": ""}, "max_price", "This field is required."),
        ({"wait-max_price": "-1"}, "max_price", "Ensure this value is greater than or equal to 0."),
        ({"wait-max_price": "1.005"}, "max_price", "Give at most 2 decimals."),
        ({"wait-max_price": "NaN"}, "max_price", "Enter a number."),
    ],
)
def test_a_wait_that_will_not_do_is_refused_at_its_field(shop, sun, changes, field, words):
    response = sun.post("/market/north-offering/waitlist/", WAIT | changes)
    errors = response.context["wait"].errors
    assert (list(errors), words in errors[field][0], WaitlistEntry.objects.count()) == ([field], True, 0)


@pytest.mark.parametrize("who", ["moon.owner", "north.owner", "south.owner", "sun.viewer"])
def test_to_others_a_wait_is_absent_and_stays(shop, sun, browser, who):
    sun.post("/market/north-offering/waitlist/", WAIT)
    entry = WaitlistEntry.objects.get()
    client = browser(shop.users[who])
    assert client.post(f"/waitlist/{entry.pk}/leave/").status_code == 404
    page = client.get("/waitlist/")
    assert page.status_code == 404 or "64 × Test 800" not in said(page)
    entry.refresh_from_db()
    assert entry.state == "waiting"


@pytest.mark.parametrize("who", ["sun.viewer", "sun.finance", "north.owner"])
def test_who_may_not_reserve_joins_no_waitlist(shop, browser, who):
    assert browser(shop.users[who]).post("/market/north-offering/waitlist/", WAIT).status_code == 404
    assert WaitlistEntry.objects.count() == 0


@pytest.mark.parametrize("count", [1, 3])
def test_the_waitlist_asks_the_database_as_often_for_three_as_for_one(shop, sun, django_assert_num_queries, count):
    for number in range(count):
        sun.post("/market/north-offering/waitlist/", WAIT | {"wait-quantity": str(8 + number)})
    with django_assert_num_queries(6):
        assert len(sun.get("/waitlist/").context["rows"]) == count


def test_prices_are_read_exactly():
    assert [prices.decimal_money(Decimal(each), "CNY") for each in ("5.4", "1234.565", "-0.5", "0")] == [
        "¥5.40",
        "¥1,234.57",
        "-¥0.50",
        "¥0.00",
    ]


def test_every_address_of_a_page_is_one_of_this_site(shop, sun):
    """A link built from a search holds what was searched for as text, never as markup."""
    page = sun.get('/market/?region="><script>&quantity=8').text
    assert re.search(r"<script>(?!<)", page.replace('<script src="', "")) is None
