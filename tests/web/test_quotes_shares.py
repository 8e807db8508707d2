"""What programmes promise, on the pages of a quote and its reservation."""

from datetime import date

import pytest

from billing import programmes
from billing.models import Grant
from marketplace import reservations
from marketplace.models import Quote, Reservation
from tests.billing import programmes_world, world
from tests.marketplace.booking import AT, START
from tests.web import buyers
from tests.web.shopping import HOUR, make

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(clock):
    clock.now = AT
    return make()


@pytest.fixture
def sun(shop, browser):
    return browser(shop.users["sun.engineer"])


def programme(shop, *names, **terms):
    made = programmes_world.programme(shop.market.issuer, "sme-30", **terms)
    type(made).objects.filter(pk=made.pk).update(name="中小企业算力券", name_en="Vouchers for small firms")
    for name in names or ("sun",):
        grant = programmes.apply(programme=made, party=getattr(shop.market, name).party, at=world.MAY, actor="test")
        programmes.approve(grant=grant, at=world.MAY, actor="staff")
    return made


def page(client, row, language="en"):
    return buyers.text(client.get(f"/{row._meta.model_name}s/{row.pk}/", headers={"Accept-Language": language}))


def test_a_quote_shows_what_is_paid_after_the_share_and_who_pays_it(shop, sun):
    programme(shop)
    text = page(sun, shop.quoted())
    assert "All of it, with tax ¥608.00 ¥848.00, of which programmes pay ¥240.00" in text
    assert "Vouchers for small firms 2020-05 – ¥240.00" in text
    assert "You pay, with tax ¥608.00" in text
    assert "decided by each month's invoice, by the same rules" in text
    assert "VAT 6.0%" in text


@pytest.mark.parametrize(
    ("language", "row", "lost"),
    [
        (
            "en",
            "Vouchers for small firms 2020-05 the days for which it pays ¥0.00",
            "Lost: it was promised for hours next",
        ),
        ("zh-hans", "中小企业算力券 2020-05 资助期限 ¥0.00", "失去：此前为相邻时段承诺的资助。"),
    ],
)
def test_what_more_hours_take_of_an_earlier_promise_is_said(shop, sun, language, row, lost):
    """The grant ends with 12 May, and so would the line of the 10 hours, but for those that run into the 13th."""
    programme(shop)
    Grant.objects.update(until_date=date(2020, 5, 12))
    reserved = shop.market.confirmed()
    quote = reservations.extension_quote(reservation=reserved, end_at=START + 20 * HOUR, at=AT, actor="user:1")
    text = page(sun, quote, language)
    assert row in text
    assert lost in text
    assert "-¥240.00" in text


@pytest.mark.parametrize(
    ("terms", "row", "payable"),
    [
        ({"budget_minor": 10_000}, "2020-05 what is left of the budget ¥100.00", "¥748.00"),
        ({"cap_firm_month_minor": 9_000}, "2020-05 the cap for a firm ¥90.00", "¥758.00"),
        ({"cap_invoice_minor": 8_000}, "2020-05 the cap for an invoice ¥80.00", "¥768.00"),
    ],
)
def test_why_it_is_no_more_is_said(shop, sun, terms, row, payable):
    programme(shop, **terms)
    text = page(sun, shop.quoted())
    assert f"Vouchers for small firms {row}" in text
    assert f"You pay, with tax {payable}" in text


def test_what_is_paid_back_is_told_as_such_and_all_is_to_be_paid(shop, sun):
    programme(shop, mode="reimbursement")
    text = page(sun, shop.quoted())
    assert "All of it, with tax ¥848.00 ¥240.00 of it are paid back to you afterwards" in text
    assert "Vouchers for small firms paid back 2020-05 – ¥240.00" in text
    assert "You pay, with tax ¥848.00" in text


def test_the_rate_of_tax_stays_where_the_share_lessens_what_it_is_on(shop, sun):
    programme(shop, vat_treatment="price_reduction")
    text = page(sun, shop.quoted())
    assert "VAT 6.0% ¥33.60" in text
    assert "You pay, with tax ¥593.60" in text


def test_the_pages_say_it_in_chinese(shop, browser):
    programme(shop)
    user = shop.users["sun.engineer"]
    type(user).objects.filter(pk=user.pk).update(language="zh-hans")
    sun = browser(user)
    quote = shop.quoted()
    text = page(sun, quote, "zh-hans")
    assert "¥608.00" in text
    assert "中小企业算力券 2020-05 – ¥240.00" in text
    assert "Programme" not in text
    held = reservations.hold(quote=quote, at=AT, actor="user:1")
    assert "¥608.00" in page(sun, held, "zh-hans")


def test_the_reservation_shows_what_is_paid_and_is_confirmed_at_that(shop, sun):
    programme(shop)
    quote = shop.quoted()
    sun.post(f"/quotes/{quote.pk}/hold/")
    held = Reservation.objects.get()
    text = page(sun, held)
    assert "Confirm for ¥608.00" in text
    assert "Quoted ¥608.00 ¥848.00, of which programmes pay ¥240.00" in text
    assert "¥608.00" in buyers.text(sun.get("/reservations/"))


def test_a_share_that_is_gone_is_told_with_the_new_price_and_quoted_again(shop, sun):
    programme(shop, "sun", "moon", budget_minor=30_000)
    quote = shop.quoted()
    shop.market.held(organization=shop.market.moon)
    text = buyers.text(sun.post(f"/quotes/{quote.pk}/hold/"))
    assert (
        "Programmes pay ¥60.00 of it by now, not the ¥240.00 of this quote: you would pay ¥788.00, with tax. Nothing was"
        " reserved." in text
    )
    assert "Quote again" in text
    assert Reservation.objects.filter(organization=shop.market.sun).count() == 0
    sun.post(f"/quotes/{quote.pk}/again/")
    fresh = Quote.objects.exclude(pk=quote.pk).get(organization=shop.market.sun)
    assert "You pay, with tax ¥788.00" in page(sun, fresh)


def test_an_extension_whose_share_is_gone_is_told_too(shop, sun):
    made = programme(shop)
    row = shop.market.confirmed()
    quote = reservations.extension_quote(reservation=row, end_at=START + 15 * HOUR, at=AT, actor="user:1")
    assert "Add the hours for ¥304.00" in page(sun, quote)  # 424.00 less 120.00
    programmes.pause(programme=made, reason="no more", at=AT, actor="test")
    text = buyers.text(sun.post(f"/quotes/{quote.pk}/extend/"))
    assert "you would pay ¥424.00, with tax" in text
    assert Reservation.objects.get().end_at == START + 10 * HOUR


def test_without_a_programme_no_page_names_one(shop, sun):
    programme(shop, "moon")
    quote = shop.quoted()
    held = reservations.hold(quote=quote, at=AT, actor="user:1")
    for row in (quote, held):
        text = page(sun, row)
        assert "rogramme" not in text.replace("Programmes Events", "")  # the way to their page
        assert "¥848.00" in text
