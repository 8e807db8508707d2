"""The buyer's journey in a real browser: search, look at an offering, quote, hold, confirm, see it, cancel."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from marketplace import capacity, reservations
from marketplace.models import Reservation
from tests.e2e import shop as shops
from tests.e2e.conftest import PASSWORD, follow, serving, sign_in, violations

HOUR = timedelta(hours=1)
WORDS = {
    "en-GB": {
        "compare": "Compare those ticked",
        "confirmed": "Confirmed",
        "cancel": "Cancel",
        "cancelled": "The reservation is cancelled.",
    },
    "zh-CN": {"compare": "比较所选", "confirmed": "已确认", "cancel": "取消", "cancelled": "预订已取消"},
}


@pytest.fixture
def shop(chromium, fresh_database):
    facts = shops.make(PASSWORD)
    with serving(fresh_database) as url:
        yield SimpleNamespace(url=url, **facts)


@pytest.mark.parametrize(("language", "script"), [("en-GB", True), ("zh-CN", False)])
def test_a_buyer_reserves_and_cancels(shop, open_page, language, script):
    """In English with script, and in Chinese without."""
    with open_page(language=language, java_script_enabled=script) as page:
        sign_in(page, shop)
        page.goto(f"{shop.url}/market/")
        page.locator("[name=quantity]").fill("16")
        follow(page, page.locator("form.search button"))
        for box in page.locator(".offer [type=checkbox]").all()[:2]:
            box.check()
        follow(page, page.get_by_role("button", name=WORDS[language]["compare"]))
        assert page.locator("table.compared > thead th").count() == 2
        follow(page, page.locator("table.compared > thead a").first)
        page.locator("#reserve [name=quantity]").fill("16")
        follow(page, page.locator("#reserve button"), to=f"{shop.url}/quotes/**")
        gross = page.locator("#step .bill-amount").inner_text()
        follow(page, page.locator("#hold"), to=f"{shop.url}/reservations/**")
        assert gross in page.locator("#confirm").inner_text()
        follow(page, page.locator("#confirm"))
        row = Reservation.objects.get()
        assert (row.state, row.quantity, page.locator("#step .badge").inner_text()) == (
            "confirmed",
            16,
            WORDS[language]["confirmed"],
        )
        page.goto(f"{shop.url}/reservations/")
        assert gross in page.locator("table.booked tbody").inner_text()
        follow(page, page.locator("table.booked tbody a"))
        follow(page, page.locator("#to-cancel"))
        follow(page, page.locator("form .button-danger"), to=f"{shop.url}/reservations/{row.pk}/")
        assert WORDS[language]["cancelled"] in page.locator("[role=status]").inner_text()
        row.refresh_from_db()
        assert row.state == "cancelled"


def test_a_quote_runs_out_before_ones_eyes(shop, open_page):
    """The step refreshes itself, and keeps the focus on its button."""
    now, offering = shop.now, shop.offerings[1]
    start_at = capacity.next_hour(now) + 24 * HOUR
    facts = {"offering": offering, "organization": shop.sun, "quantity": 8, "start_at": start_at}
    quote = reservations.quote(
        end_at=start_at + 8 * HOUR, at=now - timedelta(minutes=59, seconds=25), actor="test", **facts
    )
    with open_page() as page:
        sign_in(page, shop)
        page.goto(f"{shop.url}/quotes/{quote.pk}/")
        page.wait_for_selector("#again", timeout=180_000)
        follow(page, page.locator("#again"))
        assert page.locator("#hold").count() == 1
        assert page.url != f"{shop.url}/quotes/{quote.pk}/"


@pytest.mark.parametrize(("language", "theme", "width"), [("en-GB", "light", 390), ("zh-CN", "dark", 1280)])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_screen(shop, open_page, language, theme, width):
    pages = _pages(shop)
    with open_page(language=language, theme=theme, width=width) as page:
        sign_in(page, shop)
        found, wide = {}, []
        for name, address in pages.items():
            page.goto(shop.url + address)
            found[name] = violations(page)
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                wide.append(name)
        assert ({name: rules for name, rules in found.items() if rules}, wide) == ({}, [])


def _pages(shop):
    ascend, cluster, training = shop.offerings
    shops.booked(shop.__dict__, ascend, shop.moon, quantity=64, first=4, hours=60)
    running = shops.booked(shop.__dict__, training, shop.sun, quantity=32, first=-6, hours=30, ago=8)
    reservations.start(reservation=running, at=running.start_at, actor="task:controller")
    start_at = capacity.next_hour(shop.now) + 30 * HOUR
    wish = {"offering": cluster, "organization": shop.sun, "quantity": 64, "start_at": start_at}
    quote = reservations.quote(
        end_at=start_at + 48 * HOUR, project=shop.project, at=shop.now, actor=f"user:{shop.owner.pk}", **wish
    )
    held = reservations.hold(
        quote=reservations.quote(end_at=start_at + HOUR, at=shop.now, actor="test", **wish), at=shop.now, actor="test"
    )
    reservations.join_waitlist(
        offering=ascend,
        organization=shop.sun,
        quantity=64,
        hours=24,
        earliest_at=shop.now,
        latest_at=shop.now + 48 * HOUR,
        max_net_minor=2_000_000,
        at=shop.now,
        actor="test",
    )
    codes = "&".join(f"offering={each.code}" for each in shop.offerings)
    return {
        "market": "/market/?quantity=8",
        "market, nothing": "/market/?quantity=8&max_price=0.01",
        "times": "/market/?mode=time&quantity=16&least_hours=24",
        "compare": f"/market/compare/?{codes}",
        "offering": f"/market/{cluster.code}/",
        "offering, taken": f"/market/{ascend.code}/?quantity=64&hours=48",
        "quote": f"/quotes/{quote.pk}/",
        "reservations": "/reservations/",
        "held": f"/reservations/{held.pk}/",
        "running": f"/reservations/{running.pk}/",
        "cancel": f"/reservations/{running.pk}/cancel/",
        "release": f"/reservations/{running.pk}/release/",
        "extend": f"/reservations/{running.pk}/extend/",
        "waitlist": "/waitlist/",
    }
