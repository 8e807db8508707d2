"""What a firm saves: exact figures of months issued and so far, caps with what is committed; nobody else's.

Sun's May so far is 3,072.60 net (test_bills_shares): at 30 % 921.78. Its April, issued, is 4 GPUs reserved for 720 hours:
2,880.00 net, 172.80 VAT, at 30 % 864.00.
"""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing import clawbacks, commitments, programmes
from marketplace import people
from tests.billing import programmes_world, world
from tests.marketplace.tenants import make_user
from tests.web import buyers
from tests.web.buyers import hourly, local, text
from tests.web.test_bills_shares import grant
from tests.web.test_invoices import issue


@pytest.fixture
def used(zoned):
    for buyer in (zoned.sun, zoned.moon):
        hourly(buyer.contract, 2, start_at=local(1, 8), hours=3)
    return zoned


def rows(page):
    return [(row["code"], row["is_issued"], row["list"], row["shares"], row["payable"]) for row in page.context["rows"]]


def commit(made, account, months, source="reservation:1"):
    commitments.commit(
        grant=made.grants.get(party=account.party),
        account=account,
        source=source,
        wanted=months,
        expires_at=buyers.NOW + timedelta(days=90),
        at=buyers.NOW,
        actor="test",
    )


def test_this_month_and_this_year_are_saved_issued_and_so_far(sun, used):
    grant(used)
    issue(used)
    page = sun.get("/savings/")
    assert rows(page) == [
        ("2020-04", True, "¥2,880.00", ["¥864.00"], "¥2,188.80"),
        ("2020-05", False, "¥3,072.60", ["¥921.78"], "¥2,335.18"),
    ]
    sums = [page.context[name] for name in ("month_sum", "year_sum", "year_list", "year_payable")]
    assert sums == ["¥921.78", "¥1,785.78", "¥5,952.60", "¥4,523.98"]
    said = text(page)
    assert "Saved in 2020-05 so far ¥921.78" in said
    assert "Saved in 2020, issued and so far ¥1,785.78 of ¥5,952.60 before tax" in said
    assert "until 2020-12-31" in said
    assert "It has no cap for a firm" in said


def test_a_month_that_is_over_and_not_issued_counts_as_it_would_be(sun, used):
    grant(used)
    assert [row[:2] for row in rows(sun.get("/savings/"))] == [("2020-04", False), ("2020-05", False)]


def test_what_is_left_of_the_caps_beside_what_reservations_have_committed(sun, used):
    made = grant(used, cap_firm_month_minor=100_000, cap_firm_year_minor=300_000)
    issue(used)
    commit(made, used.sun.account, {"2020-05": 30_000, "2020-06": 20_000})
    page = sun.get("/savings/")
    (shown,) = page.context["granted"]
    assert [(cap["period"], cap["cap"], cap["redeemed"], cap["committed"], cap["left"]) for cap in shown["caps"]] == [
        ("2020-05", "¥1,000.00", "¥0.00", "¥300.00", "¥700.00"),
        ("2020", "¥3,000.00", "¥864.00", "¥500.00", "¥1,636.00"),
    ]
    assert [(cap["paid_width"], cap["committed_width"]) for cap in shown["caps"]] == [(0, 300), (288, 166)]
    assert page.context["committed_sum"] == "¥500.00"
    assert "¥1,636.00 left of ¥3,000.00" in text(page)


def test_several_programmes_stand_each_in_its_column_and_colour(sun, used):
    grant(used, code="first", priority=1)
    grant(used, code="second", priority=2, percent=Decimal(50), mode="reimbursement")
    page = sun.get("/savings/")
    # 921.78, and half of the 2,150.82 that are left
    assert rows(page)[-1] == ("2020-05", False, "¥3,072.60", ["¥921.78", "¥1,075.41"], "¥2,335.18")
    assert [each["tone"] for each in page.context["granted"]] == ["capacity", "valley"]
    bar = page.context["chart"].bars[4]
    assert [part.tone for part in bar.rectangles] == ["capacity", "valley"]
    assert bar.title == "2020-05: Vouchers ¥921.78; Vouchers ¥1,075.41"
    assert "What is paid back is not taken off what you pay." in text(page)


def test_what_was_clawed_back_is_no_longer_saved(sun, used):
    grant(used)
    invoice = issue(used)
    clawbacks.claw_back(invoice=invoice, credited={1: 144_000}, source="credit:1", at=buyers.NOW, actor="test")  # half
    assert rows(sun.get("/savings/"))[0][3] == ["¥432.00"]


def test_a_grant_that_is_over_still_shows_what_it_paid(sun, used):
    made = grant(used)
    issue(used)
    programmes.suspend(grant=made.grants.get(), reason="asked", at=buyers.NOW, actor="test")
    page = sun.get("/savings/")
    assert rows(page) == [("2020-04", True, "¥2,880.00", ["¥864.00"], "¥2,188.80")]
    assert "takes on nothing more" in text(page)


def test_the_grant_says_what_is_left_of_its_share_of_an_invoice(sun, used):
    made = grant(used)
    invoice = issue(used)
    position = invoice.lines.get().position
    clawbacks.claw_back(invoice=invoice, credited={position: 72_000}, source="note", at=buyers.NOW, actor="staff")
    page = sun.get(f"/grants/{made.grants.get().pk}/")
    assert page.context["redeemed"] == "¥648.00"
    assert [row["share"] for row in page.context["paid"]] == ["¥648.00"]  # 864.00 less a quarter


def test_last_year_is_not_in_it(browser, used, clock):
    grant(used)
    issue(used)
    clock.now = local(10, month=1).replace(year=2021)
    page = browser(used.sun.owner).get("/savings/")
    assert (page.context["year"], rows(page)) == ("2021", [])
    assert "No bill of this year has a programme's share yet." in text(page)


@pytest.mark.parametrize("how", ["none", "applied", "rejected", "withdrawn"])
def test_a_firm_without_a_grant_is_led_to_the_programmes(sun, used, how):
    made = grant(used, "moon")
    if how != "none":
        applied = programmes.apply(programme=made, party=used.sun.account.party, at=world.MAY, actor="test")
        if how == "rejected":
            programmes.reject(grant=applied, reason="too large", at=world.MAY, actor="staff")
        elif how == "withdrawn":
            programmes.withdraw(grant=applied, at=world.MAY, actor="test")
    page = sun.get("/savings/")
    assert page.context["granted"] == []
    assert "No programme pays for you yet" in text(page)
    assert '<a class="button" href="/programmes/">See the programmes</a>' in page.content.decode()
    assert "Vouchers" not in text(page)


def test_one_sees_ones_own_and_no_other(browser, used):
    """Moon has more of everything, of the same programme."""
    made = grant(used, "sun", "moon", cap_firm_year_minor=300_000)
    issue(used, used.moon)
    commit(made, used.moon.account, {"2020-05": 70_000})
    page = browser(used.sun.owner).get("/savings/")
    assert [row[0] for row in rows(page) if row[1]] == []
    (shown,) = page.context["granted"]
    assert (shown["committed"], shown["caps"][0]["left"]) == ("", "¥3,000.00")
    assert "¥700.00" not in text(page)


def test_it_is_for_those_who_see_bills(browser, used):
    grant(used)
    assert browser(used.sun.viewer).get("/savings/").status_code == 404
    assert browser().get("/savings/").status_code == 302
    engineer = make_user("engineer.sun")
    people.add_member(organization=used.sun.organization, user=engineer, role="engineer", at=buyers.NOW, actor="test")
    assert browser(engineer).get("/savings/").status_code == 404
    staff = browser(make_user("clerk", is_staff=True))
    assert staff.get("/savings/")["Location"] == "/organization/"


def test_it_asks_the_database_as_often_for_more_months(browser, used, django_assert_num_queries, clock):
    grant(used, cap_firm_month_minor=100_000)
    issue(used)
    issue(used, code="2020-05", at=local(1, month=6))
    for number in (6, 7):
        if number == 7:
            issue(used, code="2020-06", at=local(1, month=7))
        clock.now = local(10, month=number)
        sun = browser(used.sun.owner)
        with django_assert_num_queries(26):
            assert len(rows(sun.get("/savings/"))) == number - 3


def test_it_is_said_in_chinese(browser, used):
    grant(used, cap_firm_year_minor=300_000)
    type(used.sun.owner).objects.filter(pk=used.sun.owner.pk).update(language="zh-hans")
    said = text(browser(used.sun.owner).get("/savings/", headers={"Accept-Language": "zh-hans"}))
    assert "补贴节省" in said
    assert "算力券" in said
    for word in ("aved", "rogramme", "You pay", "left of"):
        assert word not in said
    assert programmes_world.counts(used.sun.account.party.grants.get().programme)[1] == 0
