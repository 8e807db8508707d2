"""What a buyer does, in a real browser: sign in, see the month grow, follow a line to its events, in both languages."""

import hashlib
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from pypdf import PdfReader

from tests.e2e.conftest import follow, sign_in, violations


def pages(site):
    return {
        "month": "/month/",
        "what if, asked": "/what-if/",
        "what if": "/what-if/?months=3&hours=9",
        "what if, wrong": "/what-if/?months=13&percent=5",
        "usage by day": f"/usage/?range=day&date={site.first_event_at + timedelta(hours=8):%Y-%m-%d}",
        "usage by week": f"/usage/?date={site.first_event_at + timedelta(hours=8):%Y-%m-%d}",
        "usage by month": "/usage/?range=month",
        "usage, empty": "/usage/?date=2010-01-01",
        "invoices": "/invoices/",
        "invoice": f"/invoices/{site.number}/",
        "line": f"/invoices/{site.number}/lines/1/",
        "demand line": f"/invoices/{site.number}/lines/3/",
        "capacity line": f"/invoices/{site.number}/lines/4/",
        "preview": f"/invoices/preview/{site.account_id}/{site.start + timedelta(hours=8):%Y-%m}/",
        "readings": f"/events/?date={site.first_event_at + timedelta(hours=8):%Y-%m-%d}",
        "readings, empty": "/events/?date=2010-01-01",
        "reading": f"/events/{site.contract_id}/gpu_hours/{site.first_event_at:%Y%m%dT%H%MZ}/",
        "not found": "/invoices/LG-2000-000001/",
    }


def test_a_buyer_sees_the_month_grow_as_events_are_posted(site, open_page):
    now = datetime.now(UTC)
    at = max(site.start, now - timedelta(minutes=10))
    with open_page() as page:
        sign_in(page, site)
        cost, used = page.locator("#cost"), page.locator("#used")
        before = (cost.inner_text(), used.inner_text())
        assert site.post(site.event("new", at, value="8", seconds=3600))["counted"] == 1
        page.wait_for_function("before => document.querySelector('#used').innerText !== before", arg=before[1])
        grown = float(used.inner_text().replace(",", "")) - float(before[1].replace(",", ""))
        assert (round(grown, 2), cost.inner_text() != before[0]) == (8.0, True)
        # that was htmx; the page itself was not loaded again, and says the same when it is
        after = (cost.inner_text(), used.inner_text())
        page.reload()
        assert (cost.inner_text(), used.inner_text()) == after


def test_a_buyer_follows_a_line_of_an_invoice_to_its_events(site, open_page):
    with open_page() as page:
        sign_in(page, site)
        follow(page, page.get_by_role("link", name="Invoices", exact=True))
        follow(page, page.get_by_role("link", name=site.number))
        follow(page, page.get_by_role("link", name="Usage charge, peak, tier 1"))
        assert page.locator("h1").inner_text() == "Usage charge, peak, tier 1"
        day = f"{site.first_event_at + timedelta(hours=8):%Y-%m-%d}"
        follow(page, page.get_by_role("link", name=day))
        follow(page, page.get_by_role("link", name="Events 08:00"))
        assert page.locator("h1").inner_text() == f"Reading of {day} 08:00–08:15"
        eight = site.first_event_at + timedelta(hours=8)
        assert page.locator("tbody th code").all_inner_texts() == [f"hour/{eight:%Y%m%dT%H}"]
        assert page.locator("tbody tr").inner_text().count("Counted") == 1


def test_a_buyer_computes_the_digest_of_a_line_again(site, open_page):
    with open_page() as page:
        sign_in(page, site)
        page.goto(f"{site.url}/invoices/{site.number}/lines/1/")
        with page.expect_download() as download:
            page.get_by_role("link", name="Readings as CSV").click()
        name = download.value.suggested_filename
        assert f"sha256sum {name}" in page.locator("main").inner_text()
        digest = hashlib.sha256(download.value.path().read_bytes()).hexdigest()
        assert page.locator("#sha256").inner_text() == digest


def test_a_buyer_asks_what_the_last_month_would_have_cost_at_other_hours(site, open_page):
    with open_page() as page:
        sign_in(page, site)
        follow(page, page.get_by_role("link", name="What if: other prices or hours"))
        page.get_by_label("Or a part of it, %").fill("50")
        page.get_by_label("From the time of day").select_option("peak")
        page.get_by_label("To the time of day").select_option("valley")
        follow(page, page.get_by_role("button", name="Compare"))
        # 72 GPU-hours were used in the peak at 6.00; 36 of them at 2.00 are 144.00 less, and VAT on that 8.64, at the most
        assert re.fullmatch(r"-¥[\d,]+\.\d\d", page.locator("#difference").inner_text())
        assert page.locator(".plot-pairs svg .plot-bar title").count() == 4
        assert page.get_by_role("row", name="Usage charge · peak").count() == 1


def test_a_buyer_takes_the_pdf_away(site, open_page):
    with open_page() as page:
        sign_in(page, site)
        page.goto(f"{site.url}/invoices/{site.number}/")
        with page.expect_download() as download:
            page.get_by_role("link", name="PDF, English").click()
        assert download.value.suggested_filename == f"{site.number}.en.pdf"
        text = PdfReader(io.BytesIO(download.value.path().read_bytes())).pages[0].extract_text()
        assert site.number in text


def test_a_buyer_switches_the_language_and_stays_on_the_page(site, open_page):
    with open_page() as page:
        sign_in(page, site)
        page.goto(f"{site.url}/usage/?range=month")
        follow(page, page.get_by_role("button", name="简体中文"))
        assert page.url == f"{site.url}/usage/?range=month"
        assert (page.locator("h1").inner_text(), page.locator("html").get_attribute("lang")) == ("用量", "zh-hans")
        follow(page, page.get_by_role("button", name="English"))
        assert page.locator("h1").inner_text() == "Usage"


def test_everything_works_without_script(site, open_page):
    with open_page(java_script_enabled=False) as page:
        sign_in(page, site)
        assert re.fullmatch(r"¥[\d,]+\.\d\d", page.locator("#cost").inner_text())
        for address in pages(site).values():
            page.goto(site.url + address)
            assert page.locator("h1").count() == 1
        page.goto(f"{site.url}/usage/")
        follow(page, page.get_by_role("link", name="Earlier"))
        follow(page, page.get_by_role("link", name="Month", exact=True))
        follow(page, page.get_by_role("button", name="Show"))
        assert "range=month" in page.url


def test_a_refresh_after_the_session_has_ended_leads_to_the_sign_in(site, open_page):
    with open_page() as page:
        sign_in(page, site)
        page.context.clear_cookies(name="sessionid")
        page.wait_for_url(f"{site.url}/sign-in/?next=/month/")


@pytest.mark.parametrize(
    ("language", "theme", "width"),
    [("en-GB", "light", 1280), ("en-GB", "dark", 390), ("zh-CN", "light", 390), ("zh-CN", "dark", 1280)],
)
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_screen(site, open_page, language, theme, width):
    """Each two of language, theme and width meet."""
    with open_page(language=language, theme=theme, width=width) as page:
        page.goto(f"{site.url}/sign-in/")
        found = {"sign-in": violations(page)}
        sign_in(page, site)
        wide = []
        for name, address in pages(site).items():
            answer = page.goto(site.url + address)
            assert answer.status == (404 if name == "not found" else 200), name
            page.evaluate(
                "document.querySelectorAll('details').forEach(each => each.open = each.closest('main') !== null)"
            )
            found[name] = violations(page)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append(name)
        assert {name: each for name, each in found.items() if each} == {}
        assert wide == []
