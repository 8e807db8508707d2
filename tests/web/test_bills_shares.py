"""What programmes pay, on every page that shows a bill: what the buyer pays stands first, never the gross alone.

Sun's May so far: 6 GPU-hours at 6.00, 60.00 of demand, 2,976.00 reserved, 0.60 of rider: 3,072.60 net, 184.36 VAT. At 30 % a
programme pays 921.78, so that 2,335.18 of 3,256.96 are left to pay.
"""

import csv
import io
import json

import pytest

from billing import programmes
from tests.billing import programmes_world, world
from tests.web import buyers
from tests.web.buyers import hourly, local, text
from tests.web.test_invoices import issue


def grant(zoned, *names, code="sme-30", **terms):
    made = programmes_world.programme(zoned.issuer, code, **terms)
    type(made).objects.filter(pk=made.pk).update(name="算力券", name_en="Vouchers")
    for name in names or ("sun",):
        applied = programmes.apply(programme=made, party=getattr(zoned, name).account.party, at=world.MAY, actor="test")
        programmes.approve(grant=applied, at=world.MAY, actor="staff")
    return made


@pytest.fixture
def used(zoned):
    """Both have the same May so far."""
    for buyer in (zoned.sun, zoned.moon):
        hourly(buyer.contract, 2, start_at=local(1, 8), hours=3)
    return zoned


def shown(zoned, buyer=None):
    """May, issued."""
    return issue(zoned, buyer, code="2020-05", at=local(1, month=6))


# The month


def test_the_month_shows_what_is_to_be_paid_and_how_it_comes_about(sun, used):
    grant(used)
    page = sun.get("/month/")
    assert page.context["cost"]["payable"] == "¥2,335.18"
    assert page.context["cost"]["shares"] == {
        "subsidy": "¥921.78",
        "gross": "¥3,256.96",
        "tax": "¥184.36",
        "rows": [{"name": "Vouchers", "share": "-¥921.78", "why": "", "is_later": False}],
    }
    said = text(page)
    assert "Cost so far, with tax ¥2,335.18 ¥3,256.96, of which programmes pay ¥921.78" in said
    assert "Before tax ¥3,072.60 Paid by Vouchers -¥921.78 VAT ¥184.36 You pay, with tax ¥2,335.18" in said


@pytest.mark.parametrize(
    ("terms", "share", "why", "payable"),
    [
        ({"cap_firm_month_minor": 50_000}, "-¥500.00", "the cap for a firm", "¥2,756.96"),
        ({"budget_minor": 10_000}, "-¥100.00", "what is left of the budget", "¥3,156.96"),
        ({"cap_invoice_minor": 20_000}, "-¥200.00", "the cap for an invoice", "¥3,056.96"),
    ],
)
def test_the_month_says_what_limits_a_share(sun, used, terms, share, why, payable):
    grant(used, **terms)
    page = sun.get("/month/")
    assert f"Paid by Vouchers limited by {why} {share}" in text(page)
    assert page.context["cost"]["payable"] == payable


def test_what_is_paid_back_is_not_taken_off(sun, used):
    grant(used, mode="reimbursement")
    page = sun.get("/month/")
    assert page.context["cost"]["payable"] == "¥3,256.96"
    assert "Paid by Vouchers paid back ¥921.78" in text(page)


def test_the_forecast_is_of_what_is_to_be_paid_within_the_cap(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1), hours=19 * 24 + 12)
    grant(zoned, cap_firm_month_minor=100_000)
    forecast = sun.get("/month/").context["cost"]["forecast"]
    # 9,002.37 gross at the end, of which 30 % of 8,492.80 are wanted and 1,000.00 are paid
    assert forecast == {
        "payable": "¥8,002.37",
        "subsidy": "¥1,000.00",
        "range": {"low": "¥8,002.37", "high": "¥8,002.37"},
        "days": 19,
    }


def test_last_month_is_compared_by_what_was_to_be_paid(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8, month=4), hours=12)
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=12)
    grant(zoned, cap_firm_month_minor=50_000)
    before = sun.get("/month/").context["cost"]["before"]
    assert before["payable"] == "¥2,771.58"  # 3,271.58 less 500.00


# Invoices


def test_the_list_shows_what_is_to_be_paid(sun, used):
    grant(used)
    (preview,) = [row for row in sun.get("/invoices/").context["previews"] if row["code"] == "2020-05"]
    assert (preview["net"], preview["subsidy"], preview["payable"]) == ("¥3,072.60", "-¥921.78", "¥2,335.18")
    issued = shown(used)
    assert (issued.gross_minor, issued.payable_minor) == (325_696, 233_518)
    page = sun.get("/invoices/")
    (row,) = [row for row in page.context["invoices"] if row["number"] == issued.number]
    assert (row["net"], row["subsidy"], row["payable"]) == ("¥3,072.60", "-¥921.78", "¥2,335.18")
    assert "Programmes pay You pay, with tax" in text(page)
    assert "¥3,256.96" not in text(page)


def test_the_invoice_shows_of_each_line_its_price_the_share_and_what_is_paid(sun, used):
    grant(used)
    issued = shown(used)
    page = sun.get(f"/invoices/{issued.number}/")
    rows = [
        (row["item"], row["amount"], row["subsidy"], row["payable"])
        for group in page.context["said"]["lines"]["groups"]
        for row in group["rows"]
    ]
    assert rows == [
        ("Usage charge, peak, tier 1", "36.00", "-10.80", "25.20"),
        ("Demand charge", "60.00", "-18.00", "42.00"),
        ("Capacity charge", "2,976.00", "-892.80", "2,083.20"),
        ("Rider", "0.60", "-0.18", "0.42"),
    ]
    (group,) = page.context["said"]["lines"]["groups"]
    assert (group["subtotal"], group["subsidy"], group["payable"]) == ("3,072.60", "-921.78", "2,150.82")
    assert page.context["payable"] == "¥2,335.18"
    said = text(page)
    assert "Programmes pay You pay" in said
    assert "30% of 3,072.60 is 921.78; it pays 921.78." in said


def test_the_preview_of_the_month_is_the_same(sun, used):
    grant(used)
    page = sun.get(f"/invoices/preview/{used.sun.account.pk}/2020-05/")
    assert page.context["payable"] == "¥2,335.18"
    assert "Programmes pay You pay" in text(page)


def test_a_line_says_its_list_price_who_pays_what_of_it_and_what_is_left(sun, used):
    grant(used)
    issued = shown(used)
    said = text(sun.get(f"/invoices/{issued.number}/lines/2/"))
    assert "List price ¥60.00 Paid by Vouchers ¥18.00 You pay, before tax ¥42.00" in said
    preview = text(sun.get(f"/invoices/preview/{used.moon.account.pk}/2020-05/lines/2/"))
    assert "List price" not in preview  # moon's, which is not there


def test_files_have_the_columns_of_programmes_at_their_end(sun, used):
    grant(used)
    issued = shown(used)
    rows = list(
        csv.reader(io.StringIO(sun.get(f"/invoices/{issued.number}/download/csv/").getvalue().decode("utf-8-sig")))
    )
    header, demand = rows[0], rows[2]
    told = dict(zip(header, demand, strict=True))
    assert (told["subsidy"], told["payable"]) == ("18.00", "42.00")
    assert header.index("payable") > header.index("amount")
    whole = json.loads(sun.get(f"/invoices/{issued.number}/download/json/").getvalue())
    assert [each["payable_minor"] for each in whole] == [233_518]


def test_who_has_no_programme_sees_no_word_of_one(browser, used):
    grant(used)  # sun's
    moon = browser(used.moon.owner)
    issued = shown(used, used.moon)
    addresses = ["/month/", "/invoices/", f"/invoices/{issued.number}/", f"/invoices/{issued.number}/lines/2/"]
    for address in addresses:
        page = moon.get(address)
        assert page.status_code == 200
        said = (
            text(page).replace("Programmes Events", "").replace("Savings by programmes", "")
        )  # the ways to pages of them
        assert "rogramme" not in said, address
        assert "Vouchers" not in said
    header = moon.get(f"/invoices/{issued.number}/download/csv/").getvalue().decode("utf-8-sig").splitlines()[0]
    assert "subsidy" not in header
    assert "payable" not in header


def test_the_pages_say_it_in_chinese(browser, used):
    grant(used)
    type(used.sun.owner).objects.filter(pk=used.sun.owner.pk).update(language="zh-hans")
    sun = browser(used.sun.owner)
    issued = shown(used)
    for address in ("/month/", "/invoices/", f"/invoices/{issued.number}/", f"/invoices/{issued.number}/lines/2/"):
        said = text(sun.get(address, headers={"Accept-Language": "zh-hans"}))
        assert "rogramme" not in said, address
        assert "You pay" not in said, address


# Staff


def test_staff_see_what_is_paid_by_whom(browser, used):
    grant(used)
    issued = shown(used)
    staff = browser(buyers.make_user("staff", is_staff=True))
    listed = text(staff.get("/admin/billing/invoice/"))
    assert "¥921.78" in listed
    assert "¥2,335.18" in listed
    one = text(staff.get(f"/admin/billing/invoice/{issued.pk}/change/"))
    assert "¥2,335.18" in one
