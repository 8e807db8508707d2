"""A buyer and the zone's programmes, in a real browser: look, apply with a document, withdraw; without script too."""

from datetime import UTC, date, datetime

import pytest

from billing import parties
from billing.models import Account
from tests.e2e.conftest import follow, sign_in, violations
from tests.web.programme_pages import PDF, RULES, voucher


@pytest.fixture
def programme(site):
    """Of this year; of the firm one fact is verified, one is stated, and one is not known."""
    year, now = datetime.now(UTC).year, datetime.now(UTC)
    party = Account.objects.get(pk=site.account_id).party
    for kind, value in (("size_class", "small"), ("zone", "临港新片区")):
        fact = parties.claim_fact(party=party, kind=kind, value=value, from_date=date(2018, 1, 1), at=now, actor="test")
        if kind == "size_class":
            parties.verify_fact(fact=fact, at=now, actor="staff")
    issuer = Account.objects.get(pk=site.account_id).issuer
    return voucher(issuer, name="算力券", from_date=date(year, 1, 1), until_date=date(year, 12, 31), eligibility=RULES)


@pytest.mark.parametrize("script", [True, False])
def test_a_buyer_applies_with_a_document_and_withdraws(site, programme, open_page, script):
    with open_page(java_script_enabled=script) as page:
        sign_in(page, site)
        follow(page, page.get_by_role("link", name="Programmes", exact=True))
        follow(page, page.get_by_role("link", name="Apply Compute vouchers"))
        page.get_by_label("What the computing is for").fill("Training a model of the sea")
        page.get_by_label("Documents").set_input_files(
            [{"name": "用途说明.pdf", "mimeType": "application/pdf", "buffer": PDF}]
        )
        follow(page, page.get_by_role("button", name="Hand it in"))
        assert page.locator("h1").inner_text() == "Compute vouchers"
        assert "The application is handed in." in page.locator(".message-success").inner_text()
        assert page.get_by_role("link", name="用途说明.pdf").count() == 1
        page.locator("summary", has_text="Withdraw").click()
        follow(page, page.get_by_role("button", name="Withdraw it now"))
        assert "The application is withdrawn." in page.locator(".message-success").inner_text()
        assert page.get_by_role("link", name="Apply again").count() == 1


@pytest.mark.parametrize(
    ("language", "theme", "width"), [("en-GB", "light", 1280), ("zh-CN", "dark", 390), ("zh-CN", "light", 1280)]
)
def test_the_pages_pass_axe_and_stay_in_their_frame(site, programme, open_page, language, theme, width):
    with open_page(language=language, theme=theme, width=width) as page:
        sign_in(page, site)
        found = {}
        for address in ("/programmes/", "/programmes/sme-30/", "/grants/"):
            page.goto(f"{site.url}{address}")
            found[address] = violations(page)
        page.goto(f"{site.url}/programmes/sme-30/")
        page.locator("[name=statement]").fill("Training")
        follow(page, page.locator("form[aria-labelledby=apply] button"), to=f"{site.url}/grants/*/")
        found["/grants/1/"] = violations(page)
        assert {address: told for address, told in found.items() if told} == {}
        assert page.evaluate("document.documentElement.scrollWidth") <= width
