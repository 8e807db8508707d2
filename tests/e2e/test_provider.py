"""A provider comes to the market, in a real browser, in both languages: signs up, is approved, lists an offering; a buyer
reserves it; the provider hands over access, and changes its prices from next month on.

Nobody's clock is turned: what is reserved lies in the next month, which is when the new prices begin.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from marketplace import people, provisioning
from marketplace.metering import gpu_meter
from marketplace.models import AcceleratorModel, Offering, Organization, Reservation, User, Zone
from tests.billing import world
from tests.e2e.conftest import PASSWORD, follow, serving, violations
from tests.e2e.test_provider_admin import KNOWN
from tests.e2e.test_sign_up import letters, sign_in

CLOCK = ZoneInfo("Asia/Shanghai")
DAY = ["valley"] * 8 + ["peak"] * 4 + ["flat"] * 6 + ["peak"] * 4 + ["valley"] * 2
FIRM = {
    "name": "Bo",
    "email": "bo@example.com",
    "password": PASSWORD,
    "legal_name": "浦江算力科技有限公司",
    "credit_code": "91310115MA0000000X",  # with a wrong check digit
}
SECRET = "ssh team@10.2.3.4 -p 2222\nkey: AAAA-BBBB-CCCC"
ACCELERATOR = "huawei-ascend-910b3"
WORDS = {
    "en-GB": {
        "waits": "operator is verifying this organization",
        "text": "Write some text: buyers decide by it.",
        "least": "Write at least one line",
        "kept": "offerings on sale: 1. Reservations keep the prices that they were quoted: 1 contracts",
        "done": "The task is ticked off.",
        "shown": "Shown at",
        "gone": "and is gone. Ask the provider to hand it over anew.",
        "looked": "the buyer looked at it at",
        "new": "New prices apply",
    },
    "zh-CN": {
        "waits": "正在核验",
        "text": "请填写内容",
        "least": "请至少填写一行",
        "kept": "在售算力产品：1。预订保持报价时的价格：1 份合同",
        "done": "任务已标记为完成",
        "shown": "查看",
        "gone": "请要求供应商重新交付",
        "looked": "采购方已于",
        "new": "适用新价格",
    },
}


def document(*, factor=1, first="2020-04-01"):
    """8 GPUs for a day come to 776.00 before tax, whatever the day."""
    prices = {"peak": 6 * factor, "flat": 4 * factor, "valley": 2.5 * factor}
    return world.document(
        world.energy(prices={period: [{"price": f"{price:.2f}"}] for period, price in prices.items()}),
        code="pujiang-gpu",
        effective=[first, None],
        periods=["peak", "flat", "valley"],
        schedule={"weekday": [DAY], "weekend": [DAY]},
    )


def user(email, name, **facts):
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000)
    return User.objects.create(email=email, name=name, password=password, **facts)


@pytest.fixture
def site(chromium, fresh_database, tmp_path):
    """The server's address: a zone with its staff and a buyer, and nothing on the market."""
    gpu_meter()
    zone = Zone.objects.create(code="lingang", name="临港新片区", name_en="Lin-gang", issuer=world.issuer())
    user("staff@example.com", "Staff", is_staff=True, is_superuser=True)
    sun = people.make_organization(zone=zone, party=world.party(100), name="晨曦微电子", parts={"buyer"})
    Organization.objects.filter(pk=sun.pk).update(state="verified")
    people.add_member(
        organization=sun, user=user("ada@example.com", "Ada"), role="owner", at=datetime.now(UTC), actor="test"
    )
    with serving(fresh_database, EMAIL_URL=f"file://{tmp_path}") as url:
        yield url


@dataclass
class Walk:
    """A walk through the site: what axe found on the pages that were looked at, and which are wider than the screen."""

    url: str
    words: dict[str, str]
    found: dict = field(default_factory=dict)
    wide: list = field(default_factory=list)

    def look(self, page, name):
        in_admin = page.url.startswith((f"{self.url}/provider/", f"{self.url}/admin/"))
        known = KNOWN if in_admin else {}
        self.found[name] = [each for each in violations(page) if each[0] not in known]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            self.wide.append(name)

    def go(self, page, address):
        answer = page.goto(f"{self.url}{address}")
        assert answer.status == 200, address


def fill(page, **facts):
    for name, value in facts.items():
        box = page.locator(f"form [name={name}]:visible").first
        if box.evaluate("each => each.tagName") == "SELECT":
            box.select_option(value)
        else:
            box.fill(value)


def save(page):
    """Saved, the list is shown."""
    follow(page, page.locator("[name=_save]").first, to=re.compile(r"/provider/marketplace/[a-z]+/(\?.*)?$"))


def _follow(page, link, to):
    follow(page, page.locator(link).first, to=re.compile(to))


def said(page):
    return page.locator("body").inner_text()


# What each of them does


def come_in(walk, page, folder):
    """The provider's owner signs up, with a wrong code first, and confirms by the letter."""
    walk.go(page, "/sign-up/")
    fill(page, **FIRM)
    page.locator("[name=sector]").select_option("software")
    page.locator("[name=size_class]").select_option("small")
    page.locator("[name=parts][value=provider]").check()
    follow(page, page.locator("main form button"))
    assert (
        page.locator(".field-wrong [name]").evaluate_all("all => all.map(each => each.name)")
        == [
            "password",  # a browser is not sent a password again
            "credit_code",
        ]
        or page.locator(".field-wrong [name=credit_code]").count() == 1
    )
    walk.look(page, "sign up, wrong")
    fill(page, password=PASSWORD, credit_code=world.credit_code(2))
    follow(page, page.locator("main form button"), to=f"{walk.url}/sign-up/sent/")
    [letter] = letters(folder, FIRM["email"])
    page.goto(re.search(rf"^{walk.url}/sign-up/confirm/\S+$", letter, re.MULTILINE)[0])
    fill(page, password=PASSWORD)
    follow(page, page.locator("main form button"), to=f"{walk.url}/organization/")
    assert walk.words["waits"] in said(page)
    _follow(page, "nav.ways a[href='/provider/']", "/provider/$")
    walk.look(page, "provider, empty")
    walk.go(page, "/provider/marketplace/provisioningtask/")
    walk.look(page, "tasks, empty")


def verify(walk, page):
    sign_in(page, walk.url, "staff@example.com")
    walk.go(page, "/admin/verification/")
    walk.look(page, "to verify")
    follow(page, page.get_by_role("link", name=FIRM["legal_name"]), to=re.compile("/verify/$"))
    walk.look(page, "verify")
    follow(
        page, page.locator("form.s-facts button").first, to=re.compile(r"/admin/marketplace/organization/\d+/change/$")
    )


def publish(walk, page, name, *, factor=1, first="2020-04-01", to="/provider/tariffs/publish/"):
    """Looked at first, then published. Gives what the preview said."""
    walk.go(page, to)
    fill(page, document=json.dumps(document(factor=factor, first=first), indent=2))
    follow(page, page.locator("[name=preview]"))
    page.wait_for_selector(".s-heat")
    walk.look(page, name)
    text = said(page)
    follow(page, page.locator("[name=publish]"), to=re.compile(r"/provider/billing/tariffversion/\d+/change/"))
    return text


def list_offering(walk, page):
    """A site, a pool, prices and an offering, which is submitted before it says all that it must."""
    walk.go(page, "/provider/marketplace/site/add/")
    fill(page, code="dc1", name="浦江一号机房", name_en="Pujiang hall 1", region="上海临港")
    save(page)
    walk.go(page, "/provider/marketplace/capacitypool/add/")
    accelerator = AcceleratorModel.objects.get(slug=ACCELERATOR)
    fill(page, accelerator=str(accelerator.pk), code="ascend", name="昇腾资源池", name_en="Ascend pool", gpus="64")
    page.locator("select[name=site]").select_option(index=1)
    walk.look(page, "new pool")
    save(page)
    walk.go(page, "/provider/tariffs/publish/")
    fill(page, document='{"code": 1')
    follow(page, page.locator("[name=preview]"))
    page.locator(".s-error").wait_for()
    walk.look(page, "publish, wrong")
    publish(walk, page, "publish")
    walk.go(page, "/provider/marketplace/offering/add/")
    page.locator("select[name=pool]").select_option(index=1)
    page.locator("select[name=tariff]").select_option(index=1)
    fill(page, code="pujiang-ascend", name="昇腾整机", name_en="Ascend by the node")
    fill(page, min_quantity="8", step="8", max_quantity="64", min_hours="1", max_hours="720")
    walk.look(page, "new offering")
    save(page)
    row = Offering.objects.get()
    walk.go(page, f"/provider/marketplace/offering/{row.pk}/change/")
    _submit(page)
    row.refresh_from_db()
    assert row.state == "draft"
    assert walk.words["text"] in page.locator(".field-description").inner_text()
    assert walk.words["least"] in page.locator(".field-cancellation_terms").inner_text()
    walk.look(page, "offering, incomplete")
    fill(page, description="八卡整机。", description_en="Whole nodes of eight.", terms="不得用于挖矿。No mining.")
    fill(page, cancellation_terms="168: 0\n24: 50")
    save(page)
    walk.go(page, f"/provider/marketplace/offering/{row.pk}/change/")
    _submit(page)
    row.refresh_from_db()
    assert row.state == "submitted"
    walk.look(page, "offering, submitted")
    return row


def _submit(page):
    _follow(page, "a[href$='/submit/']", "/submit/$")
    follow(page, page.locator("#content form button:visible").first, to=re.compile("/change/"))


def approve(walk, page, offering):
    walk.go(page, "/admin/marketplace/offering/?state__exact=submitted")
    follow(page, page.get_by_role("link", name=offering.code), to=re.compile("/change/"))
    _follow(page, "a[href$='/approve/']", "/approve/$")
    follow(page, page.locator("#content form button:visible").first, to=re.compile("/change/"))
    offering.refresh_from_db()
    assert offering.state == "published"


def quote(walk, page, offering, start):
    """What 8 GPUs for a day from `start` on come to."""
    walk.go(page, f"/market/{offering.code}/?quantity=8&hours=24&start_date={start:%Y-%m-%d}&start_hour={start.hour}")
    follow(page, page.locator("#reserve button"), to=f"{walk.url}/quotes/**")
    return page.locator("#step .bill-amount").inner_text()


def reserve(walk, page, offering, start):
    sign_in(page, walk.url, "ada@example.com")
    walk.go(page, "/market/")
    walk.look(page, "market")
    _follow(page, f"a[href^='/market/{offering.code}/']", f"/market/{offering.code}/")
    walk.look(page, "offering on sale")
    assert "822.56" in quote(walk, page, offering, start)
    walk.look(page, "quote")
    follow(page, page.locator("#hold"), to=f"{walk.url}/reservations/**")
    follow(page, page.locator("#confirm"))
    page.locator("section[aria-labelledby=access]").wait_for()
    walk.look(page, "reservation")
    row = Reservation.objects.get()
    assert (row.state, row.quantity) == ("confirmed", 8)
    return row


def hand_over(walk, page, reservation):
    """From the first page to the task, access, and the tick."""
    walk.go(page, "/provider/")
    walk.look(page, "provider, with a task")
    _follow(page, ".s-card[href*='provisioningtask']", "/provisioningtask/")
    walk.look(page, "tasks")
    _follow(page, "#result_list tbody th a", "/change/")
    walk.look(page, "task")
    task = page.url.partition("?")[0]
    _follow(page, "a[href$='/access/']", r"/access/\?task=")
    follow(page, page.locator("form.s-facts button").first)  # with nothing written
    page.locator(".s-error").wait_for()
    walk.look(page, "hand over")
    fill(page, secret=SECRET)
    follow(page, page.locator("form.s-facts button").first, to=task)
    _follow(page, "a[href$='/done/']", "/done/$")
    fill(page, note="rack 7")
    follow(page, page.locator("form.s-facts button").first, to=task)
    assert walk.words["done"] in said(page)
    walk.go(page, f"/provider/marketplace/reservation/{reservation.pk}/change/")
    assert "AAAA-BBBB-CCCC" not in page.content()
    walk.look(page, "reservation, the provider's")


def look_at_access(walk, page, reservation):
    """Once. A page that was open beside it is told when."""
    address = f"/reservations/{reservation.pk}/"
    walk.go(page, address)
    beside = page.context.new_page()
    walk.go(beside, address)
    follow(page, page.locator("form[action$='/access/'] button"), to=re.compile("/access/$"))
    assert page.locator("pre.access").inner_text().splitlines() == SECRET.splitlines()
    walk.look(page, "access")
    walk.go(page, address)
    assert walk.words["shown"] in page.locator("section[aria-labelledby=access]").inner_text()
    follow(beside, beside.locator("form[action$='/access/'] button"))
    told = beside.locator("[role=status] .message").inner_text()
    assert (walk.words["gone"] in told, "Ada" in told, "AAAA" in beside.content()) == (True, True, False)
    walk.look(beside, "access, again")


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_a_provider_comes_to_the_market_and_what_it_lists_is_reserved(site, open_page, tmp_path, language):
    walk = Walk(site, WORDS[language])
    today = datetime.now(CLOCK)
    first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)  # of the next month
    start = first.replace(day=2, hour=10)
    with (
        open_page(language=language) as page,
        open_page(language=language, theme="dark") as staffs,
        open_page(language=language, width=390) as buyers,
    ):
        come_in(walk, page, tmp_path)
        verify(walk, staffs)
        offering = list_offering(walk, page)
        approve(walk, staffs, offering)
        reservation = reserve(walk, buyers, offering, start)
        provisioning.sweep(at=datetime.now(UTC))  # what the worker's controller does within a minute
        hand_over(walk, page, reservation)
        look_at_access(walk, buyers, reservation)
        walk.go(page, f"/provider/marketplace/reservation/{reservation.pk}/change/")
        assert walk.words["looked"] in said(page)
        # New prices, twice as high, from the first of the next month on.
        told = publish(
            walk,
            page,
            "publish, new prices",
            factor=2,
            first=f"{first:%Y-%m-%d}",
            to=f"/provider/tariffs/publish/?tariff={offering.tariff_id}",
        )
        assert walk.words["kept"] in told
        assert "1,645.12" in quote(walk, buyers, offering, start)
        walk.go(buyers, f"/market/{offering.code}/")
        assert walk.words["new"] in said(buyers)
        walk.go(buyers, f"/reservations/{reservation.pk}/")
        assert "822.56" in said(buyers)
    assert ({name: each for name, each in walk.found.items() if each}, walk.wide) == ({}, [])
    reservation.refresh_from_db()
    assert (reservation.gross_minor, reservation.contract.tariff_version.version) == (82256, 1)
