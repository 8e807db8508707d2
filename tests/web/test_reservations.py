"""The list of reservations, one of them, and what a buyer changes about it; each second click and each foreign hand."""

import pytest

from marketplace import reservations
from marketplace.models import Incident, Quote, Reservation
from marketplace.provisioning import credentials
from tests.billing import world
from tests.marketplace.booking import history, same, taken
from tests.marketplace.tenants import make_user
from tests.web import buyers
from tests.web.shopping import AT, HOUR, START, another, make

pytestmark = pytest.mark.django_db

STEPS = ("confirm", "cancel", "release", "extend", "access")


@pytest.fixture
def shop(clock):
    clock.now = AT
    return make()


@pytest.fixture
def sun(shop, browser):
    return browser(shop.users["sun.engineer"])


@pytest.fixture
def later(clock, browser, shop):
    """A function that sets the time and signs the engineer of sun in anew: a session is over after hours."""

    def at(instant, who="sun.engineer"):
        clock.now = instant
        return browser(shop.users[who])

    return at


def said(response):
    return buyers.text(response)


# The list


def test_reservations_stand_under_what_is_to_come_runs_or_is_over(shop, sun):
    held, to_come = shop.market.held(), another(shop, 12)
    running = another(shop, 20)
    reservations.start(reservation=running, at=running.start_at, actor="task:controller")
    cancelled = another(shop, 30)
    reservations.cancel(reservation=cancelled, at=AT, actor="user:1")
    shop.market.confirmed(organization=shop.market.moon)
    found = {}
    for tab in ("upcoming", "running", "past"):
        response = sun.get(f"/reservations/?tab={tab}")
        found[tab] = [row["reservation"] for row in response.context["rows"]]
        assert "Upcoming 2 Running 1 Past 1" in said(response)
    assert found == {"upcoming": [held, to_come], "running": [running], "past": [cancelled]}


def test_a_row_says_what_when_and_what_comes_next(shop, sun):
    shop.market.held(project=shop.project(name="Research"))
    text = said(sun.get("/reservations/"))
    assert "8 × Test 800 north offering · North site 2020-05-12 08:00 – 18:00 10 hours · Research Held" in text
    assert "Held confirm within 15 min ¥848.00" in text


def test_an_empty_list_leads_to_the_market(sun):
    response = sun.get("/reservations/")
    assert "Nothing reserved yet" in said(response)
    assert 'href="/market/"' in response.text
    assert "Nothing runs now" not in said(response)


def test_an_unknown_tab_or_cursor_is_not_found(sun):
    for query in ("tab=all", "after=x", "after=999999999999.00000000-0000-0000-0000-00000000000"):
        assert sun.get(f"/reservations/?{query}").status_code == 404


def test_the_list_goes_on_where_it_stopped(shop, sun, monkeypatch):
    monkeypatch.setattr("marketplace.web.reservations.PAGE", 2)
    rows = [another(shop, 2 * number) for number in range(5)]
    address, found = "/reservations/", []
    while address:
        response = sun.get(address)
        found += [row["reservation"] for row in response.context["rows"]]
        after = response.context["next"]
        address = f"/reservations/?tab=upcoming&after={after}" if after else ""
    assert found == rows


@pytest.mark.parametrize("count", [1, 3])
def test_the_list_asks_the_database_as_often_for_three_as_for_one(shop, sun, django_assert_num_queries, count):
    for number in range(count):
        another(shop, 2 * number, project=shop.project(code=f"p{number}"))
    with django_assert_num_queries(6):  # session, user, organizations, role, counts, rows
        response = sun.get("/reservations/")
    assert len(response.context["rows"]) == count


def test_a_viewer_sees_reservations_without_a_price_and_finance_with_it(shop, browser):
    row = shop.market.confirmed()
    for who, has_price in (("viewer", False), ("finance", True), ("engineer", True)):
        client = browser(shop.users[f"sun.{who}"])
        pages = [client.get("/reservations/").text, client.get(f"/reservations/{row.pk}/").text]
        assert [("¥" in page) for page in pages] == [has_price, has_price]
        assert ("/cancel/" in pages[1]) is (who == "engineer")


def test_a_provider_sees_who_reserved_of_its_pools_and_no_price(shop, browser):
    row = shop.market.confirmed(project=shop.project(name="Secret plan"))
    shop.market.confirmed(organization=shop.market.moon, offering=shop.market.other)
    client = browser(shop.users["north.owner"])
    for page in (client.get("/reservations/"), client.get(f"/reservations/{row.pk}/")):
        assert ("Sun" in said(page), "Moon" in said(page), "¥" in page.text) == (True, False, False)
        assert "Secret plan" not in page.text
        assert "/cancel/" not in page.text


@pytest.mark.parametrize("who", ["moon.owner", "south.owner"])
def test_to_others_a_reservation_is_absent_and_nothing_is_changed(shop, browser, who):
    row = shop.market.confirmed()
    before = same(row)
    client = browser(shop.users[who])
    assert "8 × Test 800" not in said(client.get("/reservations/"))
    assert client.get(f"/reservations/{row.pk}/").status_code == 404
    for step in STEPS:
        assert client.post(f"/reservations/{row.pk}/{step}/", {"fee": "99999999", "hours": "2"}).status_code == 404
        assert client.get(f"/reservations/{row.pk}/{step}/").status_code in (404, 405)
    assert (same(row), Quote.objects.count()) == (before, 1)


@pytest.mark.parametrize("who", ["sun.viewer", "sun.finance", "north.owner"])
def test_who_sees_a_reservation_but_may_not_reserve_changes_nothing(shop, browser, who):
    row = shop.market.held()
    before = same(row)
    client = browser(shop.users[who])
    assert client.get(f"/reservations/{row.pk}/").status_code == 200
    for step in STEPS:
        address = f"/reservations/{row.pk}/{step}/"
        assert client.post(address, {"fee": "0", "hours": "2"}).status_code == 404
    assert (same(row), Quote.objects.count()) == (before, 1)


# Confirm


def test_a_hold_counts_down_and_is_confirmed_once(shop, sun, clock):
    row = shop.market.held()
    clock.now = AT + HOUR / 6
    text = said(sun.get(f"/reservations/{row.pk}/"))
    assert "Held Yours to confirm for 5 min" in text
    assert "Confirm for ¥848.00" in text
    for _ in range(2):
        assert sun.post(f"/reservations/{row.pk}/confirm/")["Location"] == f"/reservations/{row.pk}/"
    row.refresh_from_db()
    assert (row.state, history(row)) == ("confirmed", ["held", "confirmed"])
    assert "Confirmed Starts in 1 day 15 h" in said(sun.get(f"/reservations/{row.pk}/"))


def test_a_hold_whose_time_is_over_says_so_and_offers_a_new_price(shop, sun, clock):
    row = shop.market.held()
    clock.now = AT + HOUR / 4
    page = sun.get(f"/reservations/{row.pk}/")
    assert "The time to confirm is over" in said(page)
    assert (f"/quotes/{row.quote_id}/again/" in page.text, "/confirm/" in page.text) == (True, False)
    response = sun.post(f"/reservations/{row.pk}/confirm/", follow=True)
    assert "The time to confirm is over, and nothing is reserved." in said(response)
    row.refresh_from_db()
    assert row.state == "held"


def test_what_was_cancelled_meanwhile_is_not_confirmed(shop, sun):
    row = shop.market.held()
    reservations.cancel(reservation=row, at=AT, actor="user:1")
    response = sun.post(f"/reservations/{row.pk}/confirm/", follow=True)
    assert "Nothing was changed: this reservation is “Cancelled” by now." in said(response)


def test_htmx_refreshes_where_it_stands_alone(shop, sun):
    row = shop.market.held()
    page = sun.get(f"/reservations/{row.pk}/", headers={"hx-request": "true"}).text
    assert page.lstrip().startswith('<section class="card step" id="step"')


# Cancel


def test_what_cancelling_costs_is_told_first_and_done_once(shop, later):
    row = shop.market.confirmed()
    client = later(START - 23 * HOUR)
    page = client.get(f"/reservations/{row.pk}/cancel/")
    text = said(page)
    assert "It costs, before tax ¥400.00 Hours given back 2020-05-12 08:00 – 18:00 (10 hours)" in text
    assert "By the terms: 50% of their price, this near to their start. No longer due ¥400.00" in text
    row.refresh_from_db()
    assert row.state == "confirmed"
    for _ in range(2):
        response = client.post(f"/reservations/{row.pk}/cancel/", {"fee": "40000"})
        assert response["Location"] == f"/reservations/{row.pk}/"
    row.refresh_from_db()
    assert (row.state, history(row), taken(shop.market.pool)) == (
        "cancelled",
        ["held", "confirmed", "cancelled"],
        [0] * 10,
    )
    text = said(client.get(f"/reservations/{row.pk}/"))
    assert "The fee of ¥400.00 before tax is on the next bill." in text
    assert "Fee ¥400.00, no longer due ¥400.00, before tax." in text


@pytest.mark.parametrize("fee", ["0", "", "x", "-1", "9" * 30, "３"])
def test_nobody_pays_more_than_the_page_said(shop, later, fee):
    """It was free until 24 hours before the start; who looked then and clicks now is told again."""
    row = shop.market.confirmed()
    client = later(START - 23 * HOUR)
    response = client.post(f"/reservations/{row.pk}/cancel/", {"fee": fee})
    assert "Nothing was cancelled: it costs more by now than you had seen." in said(response)
    row.refresh_from_db()
    assert row.state == "confirmed"


def test_a_hold_is_let_go_at_no_cost(shop, sun):
    row = shop.market.held()
    assert "Let this hold go?" in said(sun.get(f"/reservations/{row.pk}/cancel/"))
    response = sun.post(f"/reservations/{row.pk}/cancel/", {"fee": "0"}, follow=True)
    assert "The hold is let go. It cost nothing." in said(response)


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("late", "The provider is late, so it costs nothing."),
        ("notice", "The provider has given notice, so it costs nothing."),
        ("incident", "There is an incident at the provider, so it costs nothing."),
    ],
)
def test_where_the_provider_is_at_fault_the_page_says_why_it_is_free(shop, later, why, words):
    row = shop.market.confirmed()
    at = START - 2 * HOUR
    if why == "late":
        at = START + HOUR
    elif why == "notice":
        type(row).objects.filter(pk=row.pk).update(notice_ends_at=START + 5 * HOUR)
    else:
        Incident.objects.create(
            pool=row.pool, kind="outage", quantity=8, start_at=AT, cause="Pump 2", opened_at=AT, actor="test"
        )
    client = later(at)
    assert (
        f"¥0.00 Hours given back 2020-05-12 08:00 – 18:00 (10 hours) Their quoted price ¥800.00 Why so much {words}"
        in said(client.get(f"/reservations/{row.pk}/cancel/"))
    )
    page = said(client.get(f"/reservations/{row.pk}/"))
    banner = {
        "late": "The provider has still to hand it over",
        "notice": "The provider takes these GPUs back at 2020-05-12 13:00.",
        "incident": "Outage 8 GPUs of the pool, since 2020-05-10 16:30: Pump 2.",
    }[why]
    assert banner in page


def test_what_has_run_to_its_end_is_not_cancelled(shop, later):
    row = shop.market.active()
    reservations.complete(reservation=row, at=row.end_at, actor="task:controller")
    response = later(row.end_at + HOUR).post(f"/reservations/{row.pk}/cancel/", {"fee": "0"}, follow=True)
    assert "Nothing was changed: this reservation is “Completed” by now." in said(response)


# Give hours back


def test_hours_are_given_back_after_their_cost_was_shown(shop, sun):
    row = shop.market.confirmed()
    text = said(sun.get(f"/reservations/{row.pk}/release/"))
    assert (
        "Choose an end from 2020-05-12 10:00 to 2020-05-12 17:00, or 2020-05-12 08:00 to give back all of it." in text
    )
    end = {"end_date": "2020-05-12", "end_hour": "14"}
    text = said(sun.get(f"/reservations/{row.pk}/release/", end))
    assert "¥0.00 Hours given back 2020-05-12 14:00 – 18:00 (4 hours) Their quoted price ¥320.00" in text
    for _ in range(2):
        assert (
            sun.post(f"/reservations/{row.pk}/release/", end | {"fee": "0"})["Location"] == f"/reservations/{row.pk}/"
        )
    row.refresh_from_db()
    assert (row.end_at, history(row)) == (START + 6 * HOUR, ["held", "confirmed", "released"])
    assert "Given back: 2020-05-12 14:00 – 18:00." in said(sun.get(f"/reservations/{row.pk}/"))


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ({"end_date": "2020-05-12", "end_hour": "9"}, "Choose an end from 2020-05-12 10:00 to 2020-05-12 17:00"),
        ({"end_date": "2020-05-13", "end_hour": "9"}, "Choose an end from 2020-05-12 10:00 to 2020-05-12 17:00"),
        ({"end_date": "", "end_hour": ""}, "This field is required."),
        ({"end_date": "x", "end_hour": "9"}, "Enter a valid date."),
    ],
)
def test_an_end_that_will_not_do_is_refused_at_its_field(shop, sun, end, words):
    row = shop.market.confirmed()
    response = sun.post(f"/reservations/{row.pk}/release/", end | {"fee": "0"})
    assert words in response.context["form"].errors["end"][0]
    row.refresh_from_db()
    assert row.end_at == START + 10 * HOUR


def test_hours_that_have_come_to_cost_more_are_not_given_back(shop, later):
    row = shop.market.confirmed()
    end = {"end_date": "2020-05-12", "end_hour": "14"}
    response = later(START - HOUR).post(f"/reservations/{row.pk}/release/", end | {"fee": "0"})
    assert "Nothing was given back: it costs more by now than you had seen." in said(response)
    row.refresh_from_db()
    assert row.end_at == START + 10 * HOUR


def test_a_hold_has_no_hours_to_give_back_yet(shop, sun):
    row = shop.market.held()
    assert "this reservation is “Held” by now" in said(sun.get(f"/reservations/{row.pk}/release/", follow=True))


# More hours


@pytest.mark.parametrize(
    ("form", "field", "words"),
    [
        ({"hours": "63"}, "hours", "Choose up to 62 hours more."),
        ({"hours": "0"}, "hours", "Ensure this value is greater than or equal to 1."),
        ({}, "hours", "Say for how many hours more, or choose an end."),
        ({"end_date": "2020-05-12", "end_hour": "18"}, "end", "Choose an end after the present one."),
    ],
)
def test_an_extension_that_will_not_do_is_refused_at_its_field(shop, sun, form, field, words):
    row = shop.market.confirmed()
    response = sun.post(f"/reservations/{row.pk}/extend/", form)
    assert words in response.context["form"].errors[field][0]
    assert Quote.objects.filter(extends=row).count() == 0


def test_an_extension_into_taken_hours_says_until_when_they_are_free(shop, sun):
    row = shop.market.confirmed()
    start_at = START + 13 * HOUR
    shop.market.confirmed(organization=shop.market.moon, quantity=60, start_at=start_at, end_at=start_at + 2 * HOUR)
    assert "The GPUs are free until 2020-05-12 21:00." in said(sun.get(f"/reservations/{row.pk}/extend/"))
    assert "The GPUs are free until 2020-05-12 21:00." in said(
        sun.post(f"/reservations/{row.pk}/extend/", {"hours": "4"})
    )
    assert Quote.objects.filter(extends=row).count() == 0
    assert sun.post(f"/reservations/{row.pk}/extend/", {"hours": "3"}).status_code == 302


def test_after_a_notice_no_hours_are_added(shop, sun):
    row = shop.market.confirmed()
    Reservation.objects.filter(pk=row.pk).update(notice_ends_at=START + 5 * HOUR)
    response = sun.post(f"/reservations/{row.pk}/extend/", {"hours": "2"}, follow=True)
    assert "The provider takes these GPUs back, so that no hours can be added." in said(response)


# Use and cost


def test_use_is_shown_against_what_is_reserved_and_priced_to_date(shop, later):
    row = shop.market.active()
    world.read(row.contract, *[4 * 900] * 16, start_at=START)
    response = later(START + 5 * HOUR).get(f"/reservations/{row.pk}/")
    spending = response.context["spending"]
    assert (spending["used"], spending["reserved"], spending["share"]) == ("16.00", "40.00", "40.0%")
    assert [row["used"] for row in spending["rows"]] == ["4.00", "4.00", "4.00", "4.00", ""]
    kinds = [(kind["name"], kind["amount"]) for kind in spending["cost"]["kinds"]]
    # 16 GPU-hours used at 8.00; 8 GPUs reserved for 5 of 10 hours at 2.00
    assert (kinds, spending["cost"]["net"]) == ([("Usage charge", "¥128.00"), ("Capacity charge", "¥80.00")], "¥208.00")
    assert "Hour 5 of 10" in said(response)
    assert spending["shared"] == 0


def test_use_outside_of_the_reservations_hours_is_no_cost_of_it(shop, later):
    row = shop.market.active()
    other = another(shop, 12)
    assert other.contract_id == row.contract_id or other.contract.account_id == row.contract.account_id
    world.read(row.contract, *[4 * 900] * 4, start_at=START)
    world.read(other.contract, *[8 * 900] * 4, start_at=other.start_at)
    spending = later(START + 15 * HOUR).get(f"/reservations/{row.pk}/").context["spending"]
    assert (spending["used"], spending["cost"]["net"]) == ("4.00", "¥192.00")  # 32.00 used, 160.00 reserved


def test_reservations_that_share_the_meter_are_told(shop, later):
    row = shop.market.active()
    another(shop, 4)
    assert "1 other reservation at the same prices has hours at the same time." in said(
        later(START + 5 * HOUR).get(f"/reservations/{row.pk}/")
    )


def test_before_it_starts_there_is_nothing_used(shop, sun):
    row = shop.market.confirmed()
    response = sun.get(f"/reservations/{row.pk}/")
    assert response.context["spending"] is None
    assert "What became of it Confirmed 2020-05-10 16:30 Held 2020-05-10 16:30 ¥800.00 before tax." in said(response)


@pytest.mark.parametrize("count", [1, 3])
def test_the_page_asks_as_often_for_a_long_history_as_for_a_short_one(shop, sun, django_assert_num_queries, count):
    row = shop.market.confirmed()
    for number in range(count):
        end_at = START + (11 + number) * HOUR
        quote = reservations.extension_quote(reservation=row, end_at=end_at, at=AT, actor="user:1")
        reservations.extend(quote=quote, at=AT, actor=f"user:{shop.users['sun.owner'].pk}")
    with django_assert_num_queries(
        9
    ):  # session, user, organizations, role, reservation, changes, people, incidents, access
        response = sun.get(f"/reservations/{row.pk}/")
    assert [change["who"] for change in response.context["changes"]][:count] == ["Owner.Sun"] * count


# Access


def test_access_is_shown_once_to_who_asks_first(shop, sun, browser):
    row = shop.market.confirmed()
    assert "The provider hands it over by the start." in said(sun.get(f"/reservations/{row.pk}/"))
    assert "The provider has not handed it over yet." in said(sun.post(f"/reservations/{row.pk}/access/", follow=True))
    credentials.hand_over(reservation=row, secret="ssh sun@node-7 <key>", at=AT, actor="user:9")
    page = sun.get(f"/reservations/{row.pk}/")
    assert "Handed over at 2020-05-10 16:30. It can be looked at once. Show it now, once" in said(page)
    assert "node-7" not in page.text
    shown = sun.post(f"/reservations/{row.pk}/access/")
    assert ("ssh sun@node-7 &lt;key&gt;" in shown.text, "no-store" in shown["Cache-Control"]) == (True, True)
    owner = browser(shop.users["sun.owner"])
    again = owner.post(f"/reservations/{row.pk}/access/", follow=True)
    assert "It was shown at 2020-05-10 16:30 (Engineer.Sun) and is gone." in said(again)
    assert "node-7" not in again.text
    assert "Shown at 2020-05-10 16:30 Engineer.Sun." in said(again)


def test_a_hold_and_what_has_ended_have_no_access(shop, sun):
    held = shop.market.held()
    assert "Access" not in said(sun.get(f"/reservations/{held.pk}/"))
    response = sun.post(f"/reservations/{held.pk}/access/", follow=True)
    assert "There is no access: the reservation is not confirmed, or has ended." in said(response)


def test_staff_do_not_look_at_what_can_be_looked_at_once(shop, browser):
    row = shop.market.confirmed()
    credential = credentials.hand_over(reservation=row, secret="ssh sun@node-7", at=AT, actor="user:9")
    client = browser(make_user("staff", is_staff=True))
    assert client.post(f"/reservations/{row.pk}/access/").status_code == 404
    page = client.get(f"/reservations/{row.pk}/")
    assert "Handed over at 2020-05-10 16:30. The buyer has not looked at it yet." in said(page)
    assert "/access/" not in page.text
    credential.refresh_from_db()
    assert credential.shown_at is None


@pytest.mark.parametrize("who", ["sun.viewer", "sun.finance", "moon.owner", "north.owner", "south.owner"])
def test_to_others_access_is_absent_and_stays_sealed(shop, browser, who):
    row = shop.market.confirmed()
    credential = credentials.hand_over(reservation=row, secret="ssh sun@node-7", at=AT, actor="user:9")
    client = browser(shop.users[who])
    assert client.post(f"/reservations/{row.pk}/access/").status_code == 404
    assert "/access/" not in client.get(f"/reservations/{row.pk}/").text
    credential.refresh_from_db()
    assert credential.shown_at is None
