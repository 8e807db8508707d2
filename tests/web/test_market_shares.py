"""Prices after programmes' shares on the market: of the mean hour, of whole windows, side by side.

North and south sell a GPU-hour at 10.00; 8 GPUs for 10 hours are 800.00, at 30 % 240.00 are paid.
"""

from datetime import date
from decimal import Decimal

import pytest

from billing import parties
from billing.models import PartyFact
from marketplace import listings
from marketplace.models import Offering
from marketplace.subsidies import Subsidies
from tests.marketplace.granting import JUNE, programme
from tests.web import buyers
from tests.web.shopping import AT, HOUR, make

pytestmark = pytest.mark.django_db
TIMES = "mode=time&quantity=8&least_hours=10&most_hours=10&earliest_date=2020-05-12&earliest_hour=8"
TIMES += "&latest_date=2020-05-13&latest_hour=8"
BOTH = "offering=south-offering&offering=north-offering&quantity=8&start_date=2020-05-12&start_hour=8&hours=10"


@pytest.fixture
def shop(clock):
    clock.now = AT
    return make()


@pytest.fixture
def sun(shop, browser):
    return browser(shop.users["sun.engineer"])


def told(rows):
    return {row["code"]: (row["price"], row.get("after", ""), row.get("later", "")) for row in rows}


def test_the_mean_hour_is_shown_after_the_share(shop, sun):
    programme(shop.market)
    response = sun.get("/market/")
    assert told(response.context["rows"]) == {
        "north-offering": ("¥10.00", "¥7.00", ""),
        "south-offering": ("¥10.00", "¥7.00", ""),
    }
    text = buyers.text(response)
    assert "mean of the week ¥7.00 after programmes" in text
    assert "The order is by the price before it" in text


def test_a_window_is_shown_after_the_share_of_its_whole_price(shop, sun):
    programme(shop.market)
    response = sun.get(f"/market/?{TIMES}")
    assert set(told(response.context["windows"]).values()) == {("¥800.00", "¥560.00", "")}
    assert "¥560.00 after programmes" in buyers.text(response)


def test_each_price_is_one_that_could_be_chosen_and_has_all_that_is_left(shop, sun):
    programme(shop.market, cap_firm_month_minor=20_000)
    rows = told(sun.get(f"/market/?{TIMES}").context["windows"])
    assert rows == {"north-offering": ("¥800.00", "¥600.00", ""), "south-offering": ("¥800.00", "¥600.00", "")}


def test_side_by_side_each_has_its_price_after_the_share(shop, sun):
    programme(shop.market, budget_minor=10_000)
    response = sun.get(f"/market/compare/?{BOTH}")
    assert set(told(response.context["columns"]).values()) == {("¥800.00", "¥700.00", "")}
    assert "After programmes, before tax ¥700.00 ¥700.00" in buyers.text(response)


def test_what_is_paid_back_is_told_as_such(shop, sun):
    programme(shop.market, mode="reimbursement")
    response = sun.get(f"/market/?{TIMES}")
    assert set(told(response.context["windows"]).values()) == {("¥800.00", "¥560.00", "¥240.00")}
    assert "¥240.00 of it are paid back to you afterwards" in buyers.text(response)


def test_a_related_provider_is_paid_for_by_none(shop, sun):
    programme(shop.market, bars_related_parties=True)
    parties.claim_fact(
        party=shop.market.sun.party,
        kind=PartyFact.Kind.RELATED_PARTY,
        value=shop.market.north.party.credit_code,
        from_date=date(2020, 1, 1),
        at=AT,
        actor="test",
    )
    rows = told(sun.get(f"/market/?{TIMES}").context["windows"])
    assert rows == {"north-offering": ("¥800.00", "", ""), "south-offering": ("¥800.00", "¥560.00", "")}


@pytest.mark.parametrize(
    "terms",
    [{"charges": ["CP"]}, {"kinds": ["energy"]}, {"percent": None, "unit_amount": Decimal("0.5"), "unit": "gpu_hour"}],
)
def test_a_programme_of_some_charges_is_left_to_the_quote_and_named(shop, sun, terms):
    programme(shop.market, **terms)
    response = sun.get(f"/market/?{TIMES}")
    assert set(told(response.context["windows"]).values()) == {("¥800.00", "", "")}
    assert "Programmes that pay for some charges only are counted on the quote alone." in buyers.text(response)


@pytest.mark.parametrize("terms", [{"budget_minor": 0}, {"until_date": date(2020, 4, 30)}])
def test_where_nothing_is_left_nothing_is_shown(shop, sun, terms):
    programme(shop.market, **terms)
    assert set(told(sun.get("/market/").context["rows"]).values()) == {("¥10.00", "", "")}
    assert set(told(sun.get(f"/market/?{TIMES}").context["windows"]).values()) == {("¥800.00", "", "")}


def test_who_has_no_grant_sees_no_word_of_another_firms(shop, browser):
    programme(shop.market)  # sun's
    for who in ("moon.engineer", "north.owner"):
        for address in ("/market/", f"/market/?{TIMES}", f"/market/compare/?{BOTH}"):
            response = browser(shop.users[who]).get(address)
            assert response.context.get("is_subsidised", False) is False
            assert "after programmes" not in buyers.text(response).lower()


@pytest.mark.parametrize("count", [1, 3])
def test_more_offerings_ask_no_more(shop, sun, django_assert_num_queries, count):
    programme(shop.market)
    Offering.objects.filter(pk=shop.market.other.pk).update(state="paused")
    copied = [field.attname for field in Offering._meta.concrete_fields if field.attname not in ("id", "code")]
    for number in range(count - 1):
        facts = {name: getattr(shop.market.offering, name) for name in copied}
        Offering.objects.create(**facts, code=f"more-{number}")
    listings.refresh(offering_ids=list(Offering.objects.values_list("pk", flat=True)), at=AT)
    sun.get("/market/")
    with django_assert_num_queries(14):  # 11, the grants, their budgets and their caps
        assert len(sun.get("/market/").context["rows"]) == count


def test_months_of_a_window_have_their_own_caps_and_one_year(shop):
    """24 hours of one GPU from 8 hours before June: 80.00 in May and 160.00 in June."""
    market = shop.market
    window = (JUNE - 8 * HOUR, JUNE + 16 * HOUR)
    facts = {"price": Decimal("240.00"), "currency": "CNY", "provider_id": market.north.party.pk}
    facts |= dict(zip(("start_at", "end_at"), window, strict=True))

    def after(**terms):
        made = programme(market, **terms)
        found = Subsidies(organization=market.sun, issuer=market.issuer, periods=[window])
        prices = {found.of_window(**facts).price for _ in range(2)}
        made.grants.update(state="suspended", reason="done")
        return prices

    assert after(code="a") == {Decimal("168.00")}
    assert after(code="b", cap_firm_month_minor=3_000) == {Decimal("186.00")}  # 24.00 and 30.00
    assert after(code="c", cap_firm_year_minor=5_000) == {Decimal("190.00")}  # 24.00, and the 26.00 that are left


def test_it_is_said_in_chinese(shop, browser):
    programme(shop.market)
    user = shop.users["sun.engineer"]
    type(user).objects.filter(pk=user.pk).update(language="zh-hans")
    text = buyers.text(browser(user).get(f"/market/?{TIMES}", headers={"Accept-Language": "zh-hans"}))
    assert "¥560.00" in text
    assert "rogramme" not in text
