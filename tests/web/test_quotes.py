"""A quote's page, and what one does from it: hold, extend, quote again."""

import re

import pytest

from marketplace import reservations
from marketplace.models import Organization, Quote, Reservation
from tests.marketplace.booking import history, taken
from tests.web import buyers
from tests.web.shopping import AT, HOUR, START, WISH, make

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


def asked(client, code="north-offering", **changes):
    return client.post(f"/market/{code}/", WISH | changes)


# To ask for one


def test_a_wish_becomes_a_quote(shop, sun):
    response = asked(sun)
    quote = Quote.objects.get()
    assert response["Location"] == f"/quotes/{quote.pk}/"
    facts = (quote.organization, quote.quantity, quote.start_at, quote.end_at, quote.net_minor, quote.project)
    assert facts == (shop.market.sun, 8, START, START + 10 * HOUR, 80_000, None)
    assert quote.actor == f"user:{shop.users['sun.engineer'].pk}"


def test_an_end_is_as_good_as_a_number_of_hours(shop, sun):
    asked(sun, hours="", end_date="2020-05-12", end_hour="18")
    assert Quote.objects.get().end_at == START + 10 * HOUR


def test_a_project_is_one_of_the_organizations_own(shop, sun):
    own = shop.project()
    other = shop.project(organization=shop.market.moon, code="other")
    response = asked(sun, project=other.pk)
    assert "Select a valid choice." in said(response)
    assert Quote.objects.count() == 0
    asked(sun, project=own.pk)
    assert Quote.objects.get().project == own


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"quantity": "65"}, "quantity", "Choose 1 to 64 GPUs."),
        ({"quantity": ""}, "quantity", "This field is required."),
        ({"quantity": "eight"}, "quantity", "Enter a whole number."),
        ({"hours": "73"}, "hours", "Choose 2 to 72 hours."),
        ({"hours": "1"}, "hours", "Choose 2 to 72 hours."),
        ({"hours": ""}, "hours", "Say for how many hours, or choose an end."),
        ({"hours": "", "end_date": "2020-05-12", "end_hour": "8"}, "end", "Choose an end after the start."),
        ({"start_date": "2020-05-10", "start_hour": "16"}, "start", "Choose a start at 2020-05-10 17:00 or later"),
        ({"start_date": "12 May"}, "start", "Enter a valid date."),
        ({"start_hour": "24"}, "start", "24 is not one of the available choices."),
        ({"start_date": "9999-12-31"}, "start", "Choose a day from 2000 to 2100."),
        ({"start_date": ""}, "start", "This field is required."),
    ],
)
def test_a_wish_that_will_not_do_is_refused_at_its_field(shop, sun, changes, field, words):
    response = asked(sun, **changes)
    assert (response.status_code, Quote.objects.count()) == (200, 0)
    errors = response.context["wish"].errors
    assert (list(errors), words in errors[field][0]) == ([field], True)
    assert words in said(response)


def test_the_words_are_the_readers(shop, browser):
    client = browser(shop.users["sun.engineer"], language="zh-hans")
    text = asked(client, quantity="65").text
    assert "expected" not in text


def test_lead_time_is_named_at_the_start(shop, sun):
    type(shop.market.offering).objects.filter(pk=shop.market.offering.pk).update(lead_hours=48)
    words = "Choose a start at 2020-05-12 17:00 or later: the provider needs 48 hours to prepare."
    assert words in said(asked(sun))


def test_where_it_is_not_free_the_nearest_times_are_offered(shop, sun):
    shop.market.confirmed(organization=shop.market.moon, quantity=60)
    response = asked(sun)
    text = said(response)
    assert Quote.objects.filter(organization=shop.market.sun).count() == 0
    assert "8 GPUs are not free 2020-05-12 08:00 – 18:00: there are 4 in all of these hours." in text
    links = re.findall(r'<li><a href="(\S+)">([^<]+)</a></li>', response.text)
    addresses = [address.replace("&amp;", "&") for address, _ in links if "start_date" in address]
    assert addresses == [
        "/market/north-offering/?quantity=8&start_date=2020-05-11&start_hour=22&hours=10#reserve",
        "/market/north-offering/?quantity=8&start_date=2020-05-12&start_hour=18&hours=10#reserve",
    ]


@pytest.mark.parametrize("state", ["pending", "refused", "suspended"])
def test_an_organization_that_is_not_verified_looks_and_gets_no_quote(shop, sun, state):
    Organization.objects.filter(pk=shop.market.sun.pk).update(state=state)
    page = sun.get("/market/north-offering/")
    assert "you can look, but not reserve" in said(page)
    assert 'method="post" action="/market' not in page.text
    response = asked(sun)
    assert "Your organization can look, but not reserve" in said(response)
    assert Quote.objects.count() == 0


@pytest.mark.parametrize("who", ["sun.finance", "sun.viewer", "north.owner"])
def test_who_may_not_reserve_gets_no_quote(shop, browser, who):
    assert asked(browser(shop.users[who])).status_code == 404
    assert Quote.objects.count() == 0


# The page


def test_a_quote_says_every_part_and_why(shop, sun):
    quote = shop.quoted()
    text = said(sun.get(f"/quotes/{quote.pk}/"))
    assert "¥848.00" in text
    assert "¥800.00 before tax + ¥48.00 VAT (6.0%)" in text
    assert "¥10.00 a GPU-hour before tax" in text
    assert "Capacity charge ¥160.00 20.0%" in text
    assert "Usage charge, all hours ¥640.00 80.0%" in text
    assert "80 GPU-h 2.00 CNY ¥160.00" in text
    assert "8 GPU × 10 h = 80 GPU-h; 80 × 2.00 = 160.00" in text
    assert "2020-05-12 08:00 – 18:00 Asia/Shanghai" in text
    assert "This price is good for 1 h" in text
    assert "Cancelled until 2020-05-11 08:00 free of charge" in text
    assert "Cancelled until 2020-05-12 08:00 50% of the price of what is cancelled" in text


def test_a_quote_over_two_months_is_told_by_month(shop, sun, clock):
    start_at = START + (19 * 24 + 14) * HOUR  # 22:00 on 31 May in Shanghai
    quote = shop.quoted(start_at=start_at, end_at=start_at + 10 * HOUR, at=AT)
    response = sun.get(f"/quotes/{quote.pk}/")
    months = [(month["month"], month["sum"]) for month in response.context["months"]]
    assert months == [("2020-05", "¥160.00"), ("2020-06", "¥640.00")]


def test_the_projects_budget_is_told_before_anything_is_held(shop, sun):
    project = shop.project(monthly_limit_minor=100_000)
    quote = shop.quoted(project=project)
    text = said(sun.get(f"/quotes/{quote.pk}/"))
    assert "¥800.00 of ¥1,000.00 after this (80.0%)" in text
    assert "¥0.00 are held, confirmed or used already." in text
    assert "The project comes to 80% of its limit or more. ¥200.00 are left after this." in text


def test_a_budget_that_does_not_suffice_refuses_the_hold_in_words(shop, sun):
    project = shop.project(monthly_limit_minor=70_000, name="Research")
    quote = shop.quoted(project=project)
    assert "¥100.00 too much: the limit is firm" in said(sun.get(f"/quotes/{quote.pk}/"))
    response = sun.post(f"/quotes/{quote.pk}/hold/", follow=True)
    words = "It would cost ¥800.00 in 2020-05, and of the ¥700.00 that the project Research may cost in a month ¥700.00 are left."
    assert words in said(response)
    assert Reservation.objects.count() == 0


@pytest.mark.parametrize(("who", "may"), [("sun.owner", True), ("sun.engineer", True), ("sun.finance", False)])
def test_who_sees_bills_sees_the_quote_and_only_who_reserves_holds_it(shop, browser, who, may):
    quote = shop.quoted()
    client = browser(shop.users[who])
    page = client.get(f"/quotes/{quote.pk}/")
    assert (page.status_code, f'action="/quotes/{quote.pk}/hold/"' in page.text) == (200, may)
    for step in ("hold", "again", "extend"):
        assert (client.post(f"/quotes/{quote.pk}/{step}/").status_code == 404) is not may


@pytest.mark.parametrize("who", ["sun.viewer", "moon.owner", "north.owner", "south.owner"])
def test_to_others_a_quote_is_absent_and_nothing_is_changed(shop, browser, who):
    quote = shop.quoted()
    client = browser(shop.users[who])
    assert client.get(f"/quotes/{quote.pk}/").status_code == 404
    for step in ("hold", "again", "extend"):
        assert client.post(f"/quotes/{quote.pk}/{step}/").status_code == 404
    assert (Quote.objects.count(), Reservation.objects.count(), taken(shop.market.pool)) == (1, 0, [0] * 10)


# Hold


def test_a_second_click_on_hold_leads_to_the_same_reservation(shop, sun):
    quote = shop.quoted()
    first, second = (sun.post(f"/quotes/{quote.pk}/hold/")["Location"] for _ in range(2))
    row = Reservation.objects.get()
    assert first == second == f"/reservations/{row.pk}/"
    assert (row.state, taken(shop.market.pool)) == ("held", [8] * 10)
    assert "This quote is taken" in said(sun.get(f"/quotes/{quote.pk}/"))


def test_an_expired_quote_says_so_and_is_quoted_again(shop, sun, clock):
    quote = shop.quoted()
    clock.now = AT + HOUR
    text = said(sun.get(f"/quotes/{quote.pk}/"))
    assert "This price is over It was good until 2020-05-10 17:30. Nothing was reserved." in text
    response = sun.post(f"/quotes/{quote.pk}/hold/", follow=True)
    assert "This price was good until 2020-05-10 17:30." in said(response)
    assert Reservation.objects.count() == 0
    address = sun.post(f"/quotes/{quote.pk}/again/")["Location"]
    fresh = Quote.objects.exclude(pk=quote.pk).get()
    assert (address, fresh.net_minor, fresh.start_at) == (f"/quotes/{fresh.pk}/", 80_000, START)


def test_a_quote_for_hours_that_are_over_leads_back_to_the_form(shop, browser, clock):
    quote = shop.quoted()
    clock.now = START + HOUR / 2
    sun = browser(shop.users["sun.engineer"])
    response = sun.post(f"/quotes/{quote.pk}/again/")
    assert response["Location"].startswith("/market/north-offering/?quantity=8&start_date=2020-05-12&start_hour=8")
    assert "Choose a start at 2020-05-12 09:00 or later: that is the next whole hour." in said(
        sun.get(response["Location"])
    )


def test_gpus_taken_meanwhile_are_told_with_the_nearest_times(shop, sun):
    quote = shop.quoted()
    shop.market.confirmed(organization=shop.market.moon, quantity=60)
    response = sun.post(f"/quotes/{quote.pk}/hold/")
    assert "So many GPUs are not free in all of these hours any more." in said(response)
    assert "2020-05-12 18:00 – 05-13 04:00" in said(response)
    assert Reservation.objects.filter(organization=shop.market.sun).count() == 0


def test_what_is_not_on_sale_any_more_is_not_held(shop, sun):
    quote = shop.quoted()
    type(shop.market.offering).objects.filter(pk=shop.market.offering.pk).update(state="paused")
    assert "The provider no longer sells this." in said(sun.post(f"/quotes/{quote.pk}/hold/", follow=True))
    assert Reservation.objects.count() == 0


# More hours


def test_an_extension_is_quoted_and_added_once(shop, sun):
    row = shop.market.confirmed()
    response = sun.post(f"/reservations/{row.pk}/extend/", {"hours": "4"})
    quote = Quote.objects.get(extends=row)
    assert response["Location"] == f"/quotes/{quote.pk}/"
    text = said(sun.get(f"/quotes/{quote.pk}/"))
    assert "4 more hours" in text
    assert "Add the hours for ¥339.20" in text
    for _ in range(2):
        assert sun.post(f"/quotes/{quote.pk}/extend/")["Location"] == f"/reservations/{row.pk}/"
    row.refresh_from_db()
    assert (row.end_at, row.net_minor) == (START + 14 * HOUR, 112_000)
    assert history(row) == ["held", "confirmed", "extended"]
    assert sun.post(f"/quotes/{quote.pk}/hold/")["Location"] == f"/quotes/{quote.pk}/"


def test_an_extension_after_the_end_has_moved_is_refused_in_words(shop, sun):
    row = shop.market.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 14 * HOUR, at=AT, actor="user:1")
    reservations.release_hours(reservation=row, end_at=START + 5 * HOUR, at=AT, actor="user:1")
    response = sun.post(f"/quotes/{quote.pk}/extend/", follow=True)
    assert "The reservation ends at another time by now" in said(response)
    row.refresh_from_db()
    assert row.end_at == START + 5 * HOUR


@pytest.mark.parametrize("count", [1, 3])
def test_the_page_asks_as_often_for_three_months_as_for_one(shop, sun, django_assert_num_queries, count):
    quote = shop.quoted(project=shop.project(), end_at=START + count * 10 * HOUR)
    with django_assert_num_queries(6):  # session, user, organizations, role, quote, what the project counts
        sun.get(f"/quotes/{quote.pk}/")


def test_htmx_refreshes_what_runs_out_alone(shop, sun, clock):
    quote = shop.quoted()
    clock.now = AT + 30 * HOUR / 60
    page = sun.get(f"/quotes/{quote.pk}/", headers={"hx-request": "true"})
    assert page.text.lstrip().startswith("<section")
    assert "This price is good for 30 min" in said(page)
    clock.now = AT + HOUR
    page = sun.get(f"/quotes/{quote.pk}/", headers={"hx-request": "true"})
    assert ("hx-get" in page.text, "Quote again" in page.text) == (False, True)
