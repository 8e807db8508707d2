"""A real browser against a real server on a database of its own.

Needs Chromium (Debian's package `chromium`); without it the tests are skipped, or fail if BROWSER_REQUIRED=1.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import axe_playwright_python
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import sync_playwright

from billing import contracts, invoicing, usage
from marketplace import keys, month, people
from marketplace.models import User, Zone
from tests.billing import world
from tests.conftest import ROOT
from tests.web import buyers

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
PASSWORD = "a long enough password"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("BROWSER_REQUIRED") == "1":
            pytest.fail("there is no chromium on the PATH, and BROWSER_REQUIRED=1", pytrace=False)
        pytest.skip("there is no chromium on the PATH")
    # Playwright keeps an event loop in this thread, in which Django would refuse the database to the tests.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@dataclass
class Site:
    """The server's address, and the world behind it: sun, who buys, with the invoice of last month and a running one."""

    url: str
    email: str
    token: str
    contract: str
    number: str
    account_id: int
    contract_id: int
    start: datetime  # of the running month
    first_event_at: datetime

    def post(self, *events) -> dict:
        """What the API answers to events sent with sun's provider's key."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/events",
            data=json.dumps(events).encode(),
            headers={
                "Content-Type": "application/cloudevents-batch+json",
                "Authorization": f"Bearer {self.token}",
            },
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["counts"]

    def event(self, event_id, at, value="4", seconds=60) -> dict:
        return {
            "specversion": "1.0",
            "id": event_id,
            "source": "aidc/earth",
            "type": "gpu.sample",
            "subject": self.contract,
            "time": at.isoformat(),
            "data": {"value": value, "duration_seconds": seconds},
        }


@contextmanager
def serving(fresh_database, **environment):
    """Gunicorn with the product's own settings, on the test's database, at the address given. Owners there are not asked
    for a second factor, unless `environment` says otherwise.
    """
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen(64)
        url = f"http://127.0.0.1:{port.getsockname()[1]}"
        lenient = {"DEMO": "1", "SECOND_FACTOR": "optional"}
        environment = fresh_database.environment | {"PUBLIC_URL": url, "LOG_LEVEL": "WARNING"} | lenient | environment
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "marketplace.wsgi",
            "--bind",
            f"fd://{port.fileno()}",
            "--threads",
            "4",
        ]
        command += ["--no-control-socket", "--log-level", "warning"]
        server = subprocess.Popen(command, env=environment, cwd=ROOT, pass_fds=[port.fileno()])
        try:
            _await(server, url)
            yield url
        finally:
            server.terminate()
            server.wait(120)


@pytest.fixture
def site(chromium, fresh_database):
    """See Site."""
    facts = _world()
    with serving(fresh_database) as url:
        yield Site(url=url, **facts)


def _await(server, url):
    until = time.monotonic() + 180
    while server.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}/sign-in/", timeout=30):
                return
        except OSError:  # not there yet, or busy starting
            time.sleep(0.1)
    pytest.fail(f"the server does not answer at {url}")


def _world():
    now = datetime.now(UTC)
    issuer = world.issuer()
    zone = Zone.objects.create(code="lg", name="临港", name_en="Lin-gang", issuer=issuer)
    running = month.running(issuer=issuer, at=now)
    before = month.before(period=running)
    tariff = world.publish(*buyers.CHARGES, effective=["2020-04-01", None], **buyers.TARIFF).tariff
    provider = world.provider()
    north = people.make_organization(zone=zone, party=provider, name="North", parts={"provider"})
    account = world.account(issuer, "sun")
    sun = people.make_organization(zone=zone, party=account.party, name="Sun", parts={"buyer"})
    contract = world.contract(account, tariff, number="C-sun", start_at=before.start_at)
    contracts.reserve(contract=contract, quantity=4, start_at=before.start_at, source="reservation:1")
    # two days of last month by the hour, and, if it has come so far, the first hours of this one
    samples = [before.start_at + hour * HOUR for hour in range(48)]
    samples += [at for hour in range(20 * 24) if (at := running.start_at + hour * HOUR) < now - 2 * HOUR]
    events = [
        usage.Event(
            f"hour/{at:%Y%m%dT%H}", "aidc/earth", "gpu.sample", "C-sun", at, {"value": 3, "duration_seconds": 3600}
        )
        for at in samples
        if at not in (before.start_at + 20 * HOUR, running.start_at + 20 * HOUR)  # a gap in each
    ]
    assert usage.record(owner=provider, events=events, at=now).counts["counted"] == len(events)
    invoicing.open_period(issuer=issuer, code=before.code)
    invoice = invoicing.issue(account=account, period=month.before(period=running), at=running.start_at, actor="test")
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000)
    owner = User.objects.create(email="owner@example.com", name="Ada", password=password)
    people.add_member(organization=sun, user=owner, role="owner", at=now, actor="test")
    _, token = keys.create_key(organization=north, name="meters", scopes=["usage:write"], at=now)
    return {
        "email": owner.email,
        "token": token,
        "contract": contract.number,
        "number": invoice.number,
        "account_id": account.pk,
        "contract_id": contract.pk,
        "start": running.start_at,
        "first_event_at": before.start_at,
    }


def is_complaint(message):
    """Warnings and errors, but for a page that is looked for because it is not there."""
    return message.type in ("error", "warning") and "404 (Not Found)" not in message.text


@pytest.fixture
def open_page(chromium):
    """A function that opens a page in a browser of its own; what the browser complained of fails the test at its end."""

    @contextmanager
    def opened(*, language="en-GB", theme="light", width=1280, **options):
        context = chromium.new_context(
            locale=language, color_scheme=theme, viewport={"width": width, "height": 900}, **options
        )
        context.set_default_timeout(60_000)
        complaints = []
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page
        finally:
            context.close()
        assert complaints == []

    return opened


def follow(page, link, *, to=None):
    """Click what leads to another document, and wait until all of it is there: a click alone returns once the document
    has begun, and what is counted or read then may be missing yet. `to` is what its address must be, then or soon after.
    """
    with page.expect_navigation():
        link.click()
    if to is not None:
        page.wait_for_url(to)


def sign_in(page, site):
    page.goto(f"{site.url}/sign-in/")
    page.locator("[name=username]").fill(site.email)
    page.locator("[name=password]").fill(PASSWORD)
    follow(page, page.locator("main button"), to=f"{site.url}/month/")


def violations(page):
    """What axe finds on the page, as (rule, the elements)."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run()")
    return [(each["id"], [node["target"] for node in each["nodes"]]) for each in found["violations"]]
