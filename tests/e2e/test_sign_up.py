"""A firm comes in, in a real browser: signs up, confirms by the letter, sets up a second factor, is verified by staff."""

import email
import re
import time
from datetime import UTC, datetime

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from marketplace.models import Organization, User, Zone
from tests.billing import world
from tests.e2e.conftest import PASSWORD, follow, serving, violations
from tests.marketplace.tenants import credit_code

FIRM = {
    "name": "Ada",
    "email": "ada@example.com",
    "password": PASSWORD,
    "legal_name": "Ada Analytics Ltd",
    "credit_code": credit_code("north"),
}


def letters(folder, address):
    """The texts of the letters to an address, the oldest first."""
    found = []
    for path in sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns):
        letter = email.message_from_bytes(path.read_bytes())
        if letter["To"] == address:
            found.append(letter.get_payload(decode=True).decode())
    return found


def code_of(secret, *, after=None):
    """The code of now; of a later step than `after`, for which it waits: a code is good once."""
    while after is not None and time.time() // 30 <= after:
        time.sleep(0.2)
    step = int(time.time() // 30)
    return format_hotp_value(hotp_value(secret, step)), step


def enrol(page):
    """Set up the second factor that the page asks for; gives the secret and the step of its code."""
    assert page.locator("h1").inner_text() == "Set up a second factor"
    secret = page.locator("#secret").inner_text().replace(" ", "")
    code, step = code_of(secret)
    page.locator("[name=code]").fill(code)
    follow(page, page.get_by_role("button", name="Set it up"))
    return secret, step


def sign_in(page, url, address, password=PASSWORD):
    page.goto(f"{url}/sign-in/")
    page.locator("[name=username]").fill(address)
    page.locator("[name=password]").fill(password)
    follow(page, page.locator("main form button"))


def come_in(page, url, folder):
    """Ada signs up, confirms, sets up her second factor. Gives its secret and step, and what axe found on the way."""
    found = {}
    page.goto(f"{url}/")
    follow(page, page.get_by_role("link", name="Sign up"))
    found["sign up"] = violations(page)
    for name, value in FIRM.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_label("Sector").select_option("software")
    page.get_by_label("Size").select_option("small")
    page.get_by_label("Buy computing power").check()
    follow(page, page.get_by_role("button", name="Sign up"), to=f"{url}/sign-up/sent/")
    found["look into your mailbox"] = violations(page)
    [letter] = letters(folder, "ada@example.com")
    page.goto(re.search(rf"^{url}/sign-up/confirm/\S+$", letter, re.MULTILINE)[0])
    found["confirm"] = violations(page)
    page.get_by_label("The password that you chose").fill(PASSWORD)
    follow(page, page.get_by_role("button", name="Confirm and go on"))
    found["set up"] = violations(page)
    secret, step = enrol(page)
    found["recovery codes"] = violations(page)
    codes = page.locator(".codes code").all_inner_texts()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert re.findall(r"^\d{8}", download.value.path().read_text(), re.MULTILINE) == codes
    follow(page, page.get_by_role("button", name="I have kept them"), to=f"{url}/organization/")
    assert "operator is verifying this organization" in page.locator("main").inner_text()
    found["organization"] = violations(page)
    return secret, step, found


def verify(page, url):
    """Staff set up their second factor, too, and verify who waits."""
    sign_in(page, url, "staff@example.com")
    enrol(page)
    page.goto(f"{url}/admin/verification/")
    follow(page, page.get_by_role("link", name="Ada Analytics Ltd"))
    follow(
        page, page.locator("form.s-facts button").first, to=re.compile(r"/admin/marketplace/organization/\d+/change/$")
    )


def test_a_firm_signs_up_is_verified_and_its_owner_signs_in_with_a_second_factor(
    chromium, fresh_database, open_page, tmp_path
):
    issuer = world.issuer()
    Zone.objects.create(code="lg", name="临港", name_en="Lin-gang", issuer=issuer)
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000)
    User.objects.create(email="staff@example.com", name="Staff", password=password, is_staff=True, is_superuser=True)
    with serving(fresh_database, DEMO="0", SECOND_FACTOR="", EMAIL_URL=f"file://{tmp_path}") as url:
        with open_page() as page:
            secret, step, found = come_in(page, url, tmp_path)
        with open_page() as page:
            verify(page, url)
        assert "has verified Ada Analytics Ltd" in letters(tmp_path, "ada@example.com")[-1]
        with open_page() as page:
            sign_in(page, url, "ada@example.com")
            assert page.locator("h1").inner_text() == "Second step"
            found["second step"] = violations(page)
            page.locator("[name=code]").fill(code_of(secret, after=step)[0])
            follow(page, page.get_by_role("button", name="Go on"), to=re.compile(rf"^{url}/(month/)?$"))
            page.goto(f"{url}/organization/")
            assert "operator is verifying" not in page.locator("main").inner_text()
            for address in ("organization/facts", "projects", "second-factor"):
                assert page.goto(f"{url}/{address}/").status == 200
                found[address] = violations(page)
    assert {name: each for name, each in found.items() if each} == {}
    organization = Organization.objects.get()
    assert (organization.state, organization.state_at.date()) == ("verified", datetime.now(UTC).date())
