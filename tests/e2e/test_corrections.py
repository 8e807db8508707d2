"""A buyer disputes a line in a real browser, and sees the note that corrects its invoice; nothing that axe complains of."""

from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from billing import adjustments
from billing.models import Contract, Dispute, Invoice
from billing.usage import Event, record

from .conftest import HOUR, follow, sign_in, violations


def corrected(site):
    """The note of four hours that came after the invoice."""
    contract = Contract.objects.get(number=site.contract)
    data = {"value": "5", "duration_seconds": 4 * 3600}
    now = datetime.now(UTC)
    event = Event("late", "aidc/earth", "gpu.sample", contract.number, site.first_event_at + 60 * HOUR, data)
    record(owner=contract.provider, events=[event], at=now)
    invoice = Invoice.objects.get(number=site.number)
    adjustment = adjustments.find(invoice=invoice, at=now, actor="test")
    return adjustments.issue(adjustment=adjustment, reason="The meter was offline.", at=now, actor="test")


def test_a_line_is_disputed_and_the_invoice_says_what_is_held_back_and_what_corrects_it(site, open_page):
    note = corrected(site)
    with open_page(language="zh-CN", theme="dark", width=390) as page:
        sign_in(page, site)
        page.goto(f"{site.url}/invoices/{site.number}/lines/1/")
        follow(page, page.locator("a[href$='/dispute/']"), to="**/dispute/")
        assert violations(page) == []
        page.locator("[name=amount]").fill("12.50")
        page.locator("[name=reason]").fill("The job had failed.")
        follow(page, page.locator("main form button"), to="**/lines/1/")
        assert Dispute.objects.get().net_minor == 1_250
        assert violations(page) == []
        for number in (site.number, note.number):
            page.goto(f"{site.url}/invoices/{number}/")
            assert violations(page) == []
        page.goto(f"{site.url}/invoices/")
        assert page.locator(f"text={note.number}").count() == 1


def test_an_owner_chooses_lines_on_the_next_invoice_and_the_preview_says_what_is_due_in_all(site, open_page):
    contract = Contract.objects.get(number=site.contract)
    data = {"value": "2", "duration_seconds": 2 * 3600}
    now = datetime.now(UTC)
    with open_page(language="zh-CN", theme="light", width=1280) as page:
        sign_in(page, site)
        page.goto(f"{site.url}/organization/billing/")
        assert violations(page) == []
        page.locator("[name=corrections_on][value=next_invoice]").check()
        follow(page, page.locator("main form.card button"))
        expect(page.locator(".message-success")).to_have_count(1)
        expect(page.locator("[name=corrections_on][value=next_invoice]")).to_be_checked()
        event = Event("later", "aidc/earth", "gpu.sample", contract.number, site.first_event_at + 90 * HOUR, data)
        record(owner=contract.provider, events=[event], at=now)
        invoice = Invoice.objects.get(number=site.number)
        adjustment = adjustments.find(invoice=invoice, at=now, actor="test")
        approved = adjustments.approve(adjustment=adjustment, reason="The meter was offline.", at=now, actor="test")
        assert approved.state == "approved"
        following = (invoice.period.last_date + timedelta(days=1)).strftime("%Y-%m")
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.goto(f"{site.url}/invoices/preview/{invoice.account_id}/{following}/")
            expect(page.locator("#corrections")).to_have_count(1)
            expect(page.locator("main")).to_contain_text(f"更正账单 {site.number}")
            assert violations(page) == []
