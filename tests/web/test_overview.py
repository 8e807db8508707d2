"""The month so far: its cost is the preview's, its forecast exact, and nobody sees another's."""

import pytest

from billing import charging
from marketplace import month, people
from marketplace.models import User
from tests.billing import world
from tests.web import buyers
from tests.web.buyers import hourly, local, text


def cost(page):
    return page.context["cost"]


def test_the_cost_so_far_is_what_the_invoice_would_be(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=3)
    page = sun.get("/month/")
    # 6 GPU-hours at 6.00, a peak of 2 GPUs at 30, 4 GPUs reserved for 744 hours at 1.00, a rider of 0.10; 6 % VAT
    assert (cost(page)["net"], cost(page)["payable"]) == ("¥3,072.60", "¥3,256.96")
    period = month.running(issuer=zoned.issuer, at=buyers.NOW)
    assert charging.charges(account=zoned.sun.account, period=period).gross_minor == 325_696
    assert "¥3,256.96" in text(page)


def test_it_grows_with_the_readings(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=3)
    before = cost(sun.get("/month/"))["payable"]
    hourly(zoned.sun.contract, 2, start_at=local(2, 8), hours=1)
    # 2 more GPU-hours at 6.00 and 0.10, with 6 % VAT: 12.93
    assert (before, cost(sun.get("/month/"))["payable"]) == ("¥3,256.96", "¥3,269.89")


def test_use_and_the_share_of_the_reservation_are_counted_to_the_last_reading(sun, zoned):
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=24)
    page = sun.get("/month/")
    use = page.context["use"]
    assert (use["total"], use["reserved"], use["share"], use["missing_hours"]) == ("24.00", "96", "25.0%", None)
    assert "Readings up to 05-02 00:00." in text(page)


def test_a_gap_in_the_readings_is_told(sun, zoned):
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=5)
    hourly(zoned.sun.contract, 1, start_at=local(1, 8), hours=1)
    page = sun.get("/month/")
    assert page.context["use"]["missing_hours"] == "3.00"
    assert "Readings missing for 3.00 h" in text(page)


def test_steady_use_is_foretold_exactly(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1), hours=19 * 24 + 12)
    page = sun.get("/month/")
    forecast = cost(page)["forecast"]
    # The whole month at 2 GPUs: 744 peak hours of which 100 in tier 1, 744 valley hours, rider, demand, capacity; 6 % VAT:
    # (600 + 3,220 + 1,488 + 148.80 + 60 + 2,976) x 1.06
    assert forecast == {
        "payable": "¥9,002.37",
        "subsidy": "",
        "range": {"low": "¥9,002.37", "high": "¥9,002.37"},
        "days": 19,
    }
    assert "the same weekday and time of day in the past 19 days" in text(page)


@pytest.mark.parametrize(
    ("language", "method", "interval"),
    [
        (
            "en",
            "Each 15 minutes to come are expected to be as the mean of the same weekday and time of day in the past 19 days.",
            "The range is to hold the use to come 8 times of 10",
        ),
        ("zh-hans", "过去 19 天中相同星期、相同时刻的均值", "目标是十次中有八次覆盖未来用量"),
    ],
)
def test_how_the_forecast_is_made_and_what_its_range_holds_is_said(browser, zoned, language, method, interval):
    hourly(zoned.sun.contract, 2, start_at=local(1), hours=19 * 24 + 12)
    said = text(browser(zoned.sun.owner, language).get("/month/"))
    assert method in said
    assert interval in said
    assert ("80% range: ¥9,002.37" in said) == (language == "en")


def test_a_history_of_less_than_two_weeks_gives_no_range(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(12), hours=8 * 24 + 12)
    page = sun.get("/month/")
    # 480 of 744 hours at 2 GPUs, half of them peak: 480 peak GPU-hours of which 100 in tier 1, 480 valley; 6 % VAT:
    # (600 + 1,900 + 960 + 96 + 60 + 2,976) x 1.06
    assert cost(page)["forecast"] == {"payable": "¥6,987.52", "subsidy": "", "range": None, "days": 8}
    assert "Its range after 14 whole days of use" in text(page)


def test_a_short_history_says_when_there_will_be_a_forecast(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(18), hours=48 + 12)
    page = sun.get("/month/")
    assert cost(page)["forecast"] is None
    assert "Forecast after three whole days of use" in text(page)
    assert page.context["has_expected"] is False


def test_last_month_is_compared_as_it_stood_on_the_same_day(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8, month=4), hours=12)
    hourly(zoned.sun.contract, 2, start_at=local(25, 8, month=4), hours=12)  # after the same day: not counted
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=12)
    before = cost(sun.get("/month/"))["before"]
    # April: 24 GPU-hours (146.40), 60 of demand, 4 x 720 hours; May: the same and 4 x 744
    assert before["payable"] == "¥3,271.58"
    assert (before["percent"], before["is_more"], before["at"].isoformat()) == ("3.1%", True, "2020-04-20T12:00:00")


def test_htmx_asks_for_the_part_that_changes_and_asks_again(sun, zoned):
    page = sun.get(f"/month/?account={zoned.sun.account.pk}", headers={"HX-Request": "true"})
    body = page.content.decode().strip()
    assert body.startswith('<div id="month"')
    assert f'hx-get="/month/?account={zoned.sun.account.pk}" hx-trigger="every 15s" hx-swap="outerHTML"' in body
    assert "<html" not in body
    assert page.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"


def test_who_may_not_see_bills_sees_use_and_no_money(browser, zoned):
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=24)
    page = browser(zoned.sun.viewer).get("/month/")
    assert "24.00" in text(page)
    assert "cost" not in page.context
    assert "¥" not in text(page)


def test_another_buyers_account_is_not_there(sun, zoned):
    hourly(zoned.moon.contract, 3, start_at=local(1), hours=24)
    assert sun.get(f"/month/?account={zoned.moon.account.pk}").status_code == 404
    assert sun.get("/month/?account=x").status_code == 404
    page = sun.get("/month/")
    assert page.context["accounts"] == [zoned.sun.account]
    assert page.context["use"]["total"] == "0.00"


def test_each_account_of_an_organization_has_a_tab(sun, zoned):
    second = world.parties.open_account(issuer=zoned.issuer, code="sun-2", party=zoned.sun.account.party, at=buyers.NOW)
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=24)
    page = sun.get(f"/month/?account={second.pk}")
    assert page.context["account"] == second
    assert "No contract yet" in text(page)
    assert f'<a href="?account={second.pk}" aria-current="page">sun-2</a>' in page.content.decode()


def test_a_month_that_cannot_be_priced_says_why(sun, zoned):
    other = world.publish(world.energy(), code="USD", currency="USD", effective=["2020-04-01", None]).tariff
    world.contract(zoned.sun.account, other, number="C-USD")
    page = sun.get("/month/")
    assert "This month can't be priced at the moment." in text(page)
    assert (
        "contract C-USD: version 1 of tariff USD is in USD: expected CNY, the issuer's currency"
        in page.content.decode().replace("&#x27;", "'")
    )


def test_without_an_account_it_says_what_is_missing(browser, zoned):
    provider = people.make_organization(zone=zoned.zone, party=world.provider(), name="North", parts={"provider"})
    people.add_member(organization=provider, user=zoned.sun.viewer, role="owner", at=buyers.NOW, actor="test")
    client = browser(zoned.sun.viewer)
    client.post("/organization/switch/", {"organization": provider.pk})
    assert "No account yet" in text(client.get("/month/"))


def test_without_an_organization_one_is_sent_to_choose(browser, zoned):
    page = browser(User.objects.create_user("alone@example.com")).get("/month/", follow=True)
    assert page.redirect_chain == [("/organization/", 302)]
    assert "You belong to no organization yet" in text(page)


def test_who_has_signed_in_lands_on_it_and_others_on_the_start_page(sun, browser):
    assert sun.get("/").headers["Location"] == "/month/"
    assert browser().get("/").status_code == 200
    assert browser().get("/month/").headers["Location"] == "/sign-in/?next=/month/"


@pytest.mark.parametrize(("language", "heading"), [("en", "May 2020 so far"), ("zh-hans", "2020年5月至今")])
def test_it_speaks_both_languages(browser, zoned, language, heading):
    assert f"<h1>{heading}</h1>" in browser(zoned.sun.owner, language).get("/month/").content.decode()


def test_it_can_only_be_read(sun):
    assert sun.post("/month/").status_code == 405


@pytest.mark.parametrize("number_of_contracts", [1, 3])
def test_the_number_of_queries_does_not_grow_with_the_contracts(
    browser, db, clock, django_assert_num_queries, number_of_contracts
):
    zoned = buyers.make(number_of_contracts=number_of_contracts)
    for contract in zoned.sun.contracts:
        hourly(contract, 2, start_at=local(1), hours=19 * 24)
    client = browser(zoned.sun.owner)
    with django_assert_num_queries(25):
        assert client.get("/month/").status_code == 200
