"""The providers' admin in a real browser: charts under the admin's policy, both languages, light and dark, wide and narrow."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from billing.models import Contract
from marketplace import catalog, people
from marketplace.models import CapacitySlot, Incident, Maintenance, Organization, Reservation, User
from tests.billing import world
from tests.e2e.conftest import PASSWORD, follow, violations
from tests.marketplace import market

HOUR = timedelta(hours=1)
PRICES = {"peak": [{"price": "6.00"}], "flat": [{"price": "4.00"}], "valley": [{"price": "2.50"}]}
DAY = ["valley"] * 8 + ["peak"] * 4 + ["flat"] * 6 + ["peak"] * 4 + ["valley"] * 2
DOCUMENT = world.document(
    world.energy(prices=PRICES),
    code="north-gpu",
    effective=["2020-01-01", None],
    periods=["peak", "flat", "valley"],
    schedule={"weekday": [DAY], "weekend": [["valley"] * 24]},
)

# What axe finds in unfold's own templates, which are not ours to mend: the rule, and what it is about.
KNOWN = {
    "list": "import-export's buttons stand in a list of unfold's without items",
    "landmark-unique": "unfold's two nav elements of the sidebar have no names",
    "region": "unfold's header stands outside of landmarks",
    "heading-order": "unfold begins a page with h1 of its own and goes on with h3",
    "page-has-heading-one": "unfold's title is no h1",
    "landmark-one-main": "unfold's content has no main landmark",
    "aria-allowed-role": "unfold's own buttons",
    "scrollable-region-focusable": "unfold's sidebar and its list scroll within themselves",
}


@pytest.fixture
def supplier(site):
    """North's owner, with a pool that is half reserved, an offering of each kind, prices, and what went wrong."""
    north = Organization.objects.get(name="North")
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000)
    owner = User.objects.create(email="north@example.com", name="Bo", password=password)
    people.add_member(organization=north, user=owner, role="owner", at=now, actor="test")
    version = catalog.publish_prices(provider=north, document=DOCUMENT, at=now, actor="test")
    pool = market.make_pool(north, now)
    offering = market.make_offering(pool, version.tariff, now, name="八卡整机", description="H800", terms="none")
    catalog.submit(offering=offering, at=now, actor=f"user:{owner.pk}")
    market.make_offering(pool, version.tariff, now, code="draft-1", name="夜间")
    Maintenance.objects.create(
        pool=pool,
        quantity=8,
        start_at=hour + 30 * HOUR,
        end_at=hour + 34 * HOUR,
        reason="fans",
        created_at=now,
        actor="t",
    )
    Incident.objects.create(pool=pool, kind="outage", quantity=8, start_at=now, cause="power", opened_at=now, actor="t")
    contract = Contract.objects.get(number=site.contract)
    made = market.make_reserved(Organization.objects.get(name="Sun"), offering, contract, now)
    Reservation.objects.filter(pk=made.pk).update(start_at=hour - 72 * HOUR, end_at=hour + 48 * HOUR, state="active")
    CapacitySlot.objects.bulk_create(
        CapacitySlot(pool=pool, hour=hour + number * HOUR, capacity=64, taken=8 + (number % 24) * 2)
        for number in range(-120, 100)
    )
    site.pool, site.offering, site.reservation, site.version = pool, offering, made, version
    return site


def pages(site):
    return {
        "overview": "/provider/",
        "pools": "/provider/marketplace/capacitypool/",
        "pool": f"/provider/marketplace/capacitypool/{site.pool.pk}/change/",
        "capacity": f"/provider/marketplace/capacitypool/{site.pool.pk}/capacity/",
        "hours": "/provider/capacity/hours/",
        "maintenance": "/provider/marketplace/maintenance/add/",
        "offerings": "/provider/marketplace/offering/",
        "offering": f"/provider/marketplace/offering/{site.offering.pk}/change/",
        "new offering": "/provider/marketplace/offering/add/",
        "import": "/provider/marketplace/offering/import/",
        "export": "/provider/marketplace/offering/export/",
        "reservation": f"/provider/marketplace/reservation/{site.reservation.pk}/change/",
        "usage": "/provider/usage/",
        "statements": "/provider/statements/",
        "publish": f"/provider/tariffs/publish/?tariff={site.version.tariff_id}",
    }


def sign_in(page, site):
    page.goto(f"{site.url}/sign-in/?next=/provider/")
    page.locator("[name=username]").fill("north@example.com")
    page.locator("[name=password]").fill(PASSWORD)
    follow(page, page.locator("main button"), to=f"{site.url}/provider/")


def preview(page, site):
    page.goto(f"{site.url}/provider/tariffs/publish/")
    page.locator("#id_document").fill(json.dumps(DOCUMENT | {"effective": ["2030-01-01", None]}))
    follow(page, page.get_by_role("button", name="Preview").or_(page.get_by_role("button", name="预览")))
    page.wait_for_selector(".s-heat")


def test_a_chart_is_drawn_under_the_admins_policy(supplier, open_page):
    with open_page() as page:
        sign_in(page, supplier)
        drawn = page.evaluate("Chart.getChart(document.querySelector('canvas.chart')).data.datasets.length")
        assert drawn == 3


@pytest.mark.parametrize(
    ("language", "theme", "width"),
    [("en-GB", "light", 1280), ("en-GB", "dark", 390), ("zh-CN", "light", 390), ("zh-CN", "dark", 1280)],
)
def test_axe_finds_no_violation_of_ours_and_nothing_is_wider_than_the_screen(
    supplier, open_page, language, theme, width
):
    with open_page(language=language, theme=theme, width=width) as page:
        sign_in(page, supplier)
        found, wide = {}, []
        for name, address in pages(supplier).items():
            assert page.goto(supplier.url + address).status == 200, name
            found[name] = [each for each in violations(page) if each[0] not in KNOWN]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append(name)
        preview(page, supplier)
        found["preview"] = [each for each in violations(page) if each[0] not in KNOWN]
        assert {name: each for name, each in found.items() if each} == {}
        assert wide == []
