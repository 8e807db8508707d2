"""What staff do with programmes in the admin: from the draft to the close, and who is granted them."""

from datetime import date

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages

from billing import commitments, programmes
from billing.models import Evidence, Grant, PartyFact, Programme
from tests.billing import programmes_world, world
from tests.marketplace.tenants import make_user
from tests.web import buyers
from tests.web.buyers import text
from tests.web.programme_pages import PDF, document, hand_in, know, voucher


@pytest.fixture
def staff(browser, zoned):
    return browser(make_user("staff", is_staff=True))


@pytest.fixture
def programme(zoned):
    return voucher(zoned.issuer)


@pytest.fixture
def grant(sun, programme):
    """Applied for by sun, with one document."""
    hand_in(sun, documents=[document()])
    return Grant.objects.get()


def page(grant, name):
    return f"/admin/billing/grant/{grant.pk}/{name}/"


def said(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def state(grant):
    grant.refresh_from_db()
    return grant.state, grant.reason


def test_what_waits_is_listed_with_the_way_to_review_it(staff, zoned, grant):
    listed = text(staff.get("/admin/programmes/applications/"))
    assert f"{zoned.sun.account.party.legal_name} Compute vouchers 2020-05-20 12:07 0 / 3 1 Review" in listed
    reviewed = staff.get(page(grant, "change")).text
    evidence = Evidence.objects.get()
    assert f"/admin/evidence/{evidence.pk}/file/" in reviewed
    sent = staff.get(f"/admin/evidence/{evidence.pk}/file/")
    assert (sent.content, sent["Content-Disposition"]) == (PDF, 'attachment; filename="plan.pdf"')


def test_it_is_not_approved_before_each_rule_is_met_by_a_verified_fact(staff, zoned, grant):
    know(zoned.sun, size_class="small")
    know(zoned.sun, zone="临港新片区", verified=False)
    shown = text(staff.get(page(grant, "approve")))
    assert "These are not: Zone of registration (not verified yet), Age (not known yet)" in shown
    assert "Size micro or small small met" in shown
    fact = PartyFact.objects.get(kind="zone")
    assert f"/admin/verification/facts/{fact.pk}/" in staff.get(page(grant, "approve")).text
    assert staff.post(page(grant, "approve"), {}).status_code == 409
    assert state(grant) == ("applied", "")


def test_it_is_approved_for_its_window_with_the_facts_frozen(staff, zoned, grant):
    know(zoned.sun)
    assert staff.get(page(grant, "approve")).context["form"].initial == {
        "from_date": date(2020, 1, 1),
        "until_date": date(2020, 12, 31),
    }
    wrong = staff.post(page(grant, "approve"), {"from_date": "2020-07-01", "until_date": "2020-06-30"})
    assert list(wrong.context["form"].errors) == ["until_date"]
    window = {"from_date": "2020-05-01", "until_date": "2020-06-30", "reason": "welcome"}
    answer = staff.post(page(grant, "approve"), window)
    assert (answer["Location"], said(answer)) == (
        page(grant, "change"),
        [f"{zoned.sun.account.party.legal_name} · Compute vouchers: it is done. Its state is “approved”."],
    )
    grant.refresh_from_db()
    assert (grant.state, grant.from_date, grant.until_date) == ("approved", date(2020, 5, 1), date(2020, 6, 30))
    assert {each["kind"] for each in grant.facts} == set()  # as it applied with; the verdict is of the day of decision
    assert [each["is_met"] for each in grant.verdict] == [True, True, True]
    assert LogEntry.objects.get().get_change_message() == "approve"
    assert staff.post(page(grant, "approve"), window).status_code == 409


def test_it_is_rejected_suspended_and_resumed_with_a_reason(staff, sun, zoned, grant):
    assert list(staff.post(page(grant, "reject"), {"reason": " "}).context["form"].errors) == ["reason"]
    staff.post(page(grant, "reject"), {"reason": "No licence"})
    assert state(grant) == ("rejected", "No licence")
    for name in ("approve", "reject", "suspend", "resume"):
        assert staff.post(page(grant, name), {"reason": "again"}).status_code == 409
    know(zoned.sun)
    hand_in(sun)
    again = Grant.objects.last()
    staff.post(page(again, "approve"), {})
    assert state(again) == ("approved", "")
    staff.post(page(again, "suspend"), {"reason": "A question"})
    assert state(again) == ("suspended", "A question")
    assert "A question" in sun.get(f"/grants/{again.pk}/").text
    staff.post(page(again, "resume"), {"reason": "Answered"})
    assert state(again) == ("approved", "Answered")


def test_of_a_paused_programme_nothing_is_approved(staff, zoned, programme, grant):
    know(zoned.sun)
    programmes.pause(programme=programme, reason="review", at=world.MAY, actor="test")
    assert "the programme is “paused”" in text(staff.get(page(grant, "approve")))
    assert staff.post(page(grant, "approve"), {}).status_code == 409
    assert state(grant) == ("applied", "")


def test_in_chinese(browser, zoned, grant):
    client = browser(make_user("staff.zh", is_staff=True), language="zh-hans")
    shown = text(client.get(page(grant, "approve")))
    assert "以下未满足：规模 (尚不清楚)，注册地 (尚不清楚)，成立年限 (尚不清楚)" in shown


# From draft to closed


def draft(staff, zoned, **facts):
    told = {"issuer": zoned.issuer.pk, "code": "city", "name": "市级算力券", "name_en": "City vouchers"} | facts
    return staff.post("/admin/billing/programme/add/", told)


def of(programme, name):
    return f"/admin/billing/programme/{programme.pk}/{name}/"


TERMS = {
    "name": "市级算力券",
    "name_en": "City vouchers",
    "mode": "voucher",
    "percent": "30",
    "kinds": ["energy", "capacity"],
    "charges": "EN, CP",
    "from_date": "2020-05-01",
    "until_date": "2020-12-31",
    "cap_firm_month": "20000.00",
    "stacking_group": "city",
    "priority": "10",
    "bars_related_parties": "yes",
    "one_side_claims": "no",
    "size_class": ["micro", "small"],
    "zone": "临港新片区， 浦东",
    "most_years": "8",
}


def test_a_programme_goes_from_draft_to_open_and_says_what_is_missing(staff, zoned):
    assert draft(staff, zoned).status_code == 302
    programme = Programme.objects.get()
    assert (programme.state, programme.name_en) == ("draft", "City vouchers")
    missing = text(staff.get(of(programme, "open")))
    assert (
        "It can't open before this is known: the way of payment, the funder as a legal person, the first day, the last day,"
        " whether supply of related parties is paid for, whether provider and user may both claim, the percent of the price,"
        " or the amount per unit, finance's signature under the VAT treatment."
    ) in missing.replace("&#x27;", "'")
    assert staff.post(of(programme, "open")).status_code == 409
    funder = programmes_world.funder()
    assert staff.post(of(programme, "terms"), TERMS | {"funder": funder.credit_code}).status_code == 302
    programme.refresh_from_db()
    assert (programme.funder, programme.percent, programme.cap_firm_month_minor) == (funder, 30, 2_000_000)
    assert (programme.kinds, programme.charges) == (["energy", "capacity"], ["EN", "CP"])
    assert programme.eligibility == {"size_class": ["micro", "small"], "zone": ["临港新片区", "浦东"], "most_years": 8}
    assert (programme.bars_related_parties, programme.one_side_claims, programme.cap_invoice_minor) == (
        True,
        False,
        None,
    )
    again = staff.get(of(programme, "terms")).context["form"]
    assert {name: again.initial[name] for name in ("funder", "charges", "zone", "bars_related_parties")} == {
        "funder": funder.credit_code,
        "charges": "EN, CP",
        "zone": "临港新片区, 浦东",
        "bars_related_parties": "yes",
    }
    rule = {"name": "share", "says": "up to 30 %", "title": "Measures", "dated": "2020-03-01"}
    assert staff.post(of(programme, "rule"), rule).status_code == 302
    assert staff.post(of(programme, "rule"), {"name": "stacking", "title": "ignored"}).status_code == 302
    assert list(programme.rules.values_list("name", "says", "source_title")) == [
        ("share", "up to 30 %", "Measures"),
        ("stacking", None, ""),
    ]
    assert staff.post(of(programme, "vat"), {"treatment": "price_reduction"}).status_code == 302
    assert "a budget that holds each month." in text(staff.get(of(programme, "open")))
    budget = {"code": "all", "from_date": "2020-05-01", "until_date": "2020-12-31", "budget": "200000"}
    assert staff.post(of(programme, "budget"), budget).status_code == 302
    assert staff.post(of(programme, "open"))["Location"] == of(programme, "change")
    programme.refresh_from_db()
    assert (programme.state, programme.vat_treatment) == ("open", "price_reduction")
    assert programme.vat_signed_by == programme.changes.get().actor != ""
    assert LogEntry.objects.count() == 7


@pytest.mark.parametrize(
    ("page", "facts", "fields"),
    [
        ("terms", {"funder": "91310000000000000X"}, ["funder"]),
        ("terms", {"unit_amount": "1"}, ["unit", "unit_amount"]),
        ("terms", {"percent": "100.01"}, ["percent"]),
        ("terms", {"until_date": "2020-04-30"}, ["until_date"]),
        ("terms", {"cap_firm_month": "0.001"}, ["cap_firm_month"]),
        ("terms", {"size_class": ["huge"]}, ["size_class"]),
        ("rule", {"name": "share", "says": "30 %"}, ["title", "dated"]),
        ("rule", {"name": "nothing"}, ["name"]),
        (
            "budget",
            {"code": "q", "from_date": "2020-05-02", "until_date": "2020-05-30", "budget": "1"},
            ["from_date", "until_date"],
        ),
        ("budget", {"code": "q", "from_date": "2020-05-01", "until_date": "2020-05-31", "budget": "-1"}, ["budget"]),
        ("vat", {"treatment": "none"}, ["treatment"]),
    ],
)
def test_what_is_wrong_of_a_draft_stands_at_its_field(staff, zoned, page, facts, fields):
    draft(staff, zoned)
    programme = Programme.objects.get()
    told = TERMS | facts if page == "terms" else facts
    answer = staff.post(of(programme, page), told)
    assert (answer.status_code, list(answer.context["form"].errors)) == (200, fields)
    assert (Programme.objects.get().percent, programme.rules.count(), programme.budgets.count()) == (None, 0, 0)


def test_after_it_was_open_its_terms_are_to_look_at_and_budgets_change(staff, zoned, programme):
    for page, facts in (("terms", TERMS), ("rule", {"name": "share"}), ("vat", {"treatment": "outside_scope"})):
        assert staff.post(of(programme, page), facts).status_code == 409, page
    year = {"code": "all", "from_date": "2020-01-01", "until_date": "2020-12-31"}
    assert staff.post(of(programme, "budget"), year | {"budget": "5000.00"}).status_code == 302
    assert programmes_world.counts(programme) == (500_000, 0, 0)
    know(zoned.sun)
    grant = programmes_world.grant(programme, zoned.sun.account)
    programmes_world.commit(grant, zoned.sun.account, {"2020-05": 100_000})
    less = staff.post(of(programme, "budget"), year | {"budget": "999.99"})
    assert "More than that is committed and redeemed already." in text(less)
    other = staff.post(of(programme, "budget"), year | {"until_date": "2020-11-30", "budget": "5000"})
    assert "The budget of that code is of other days, which stay." in text(other)
    assert programmes_world.counts(programme) == (500_000, 100_000, 0)
    assert "It has open commitments" in text(staff.get(of(programme, "close")))
    assert staff.post(of(programme, "close"), {"reason": "over"}).status_code == 409
    staff.post(of(programme, "pause"), {"reason": "under review"})
    staff.post(of(programme, "open"))
    commitments.release(grant=grant, source="r:1", at=world.MAY, actor="test")
    staff.post(of(programme, "close"), {"reason": "its year is over"})
    assert list(programme.changes.filter(grant=None).values_list("state", "reason")) == [
        ("open", ""),
        ("paused", "under review"),
        ("open", ""),
        ("closed", "its year is over"),
    ]
    assert staff.post(of(programme, "open")).status_code == 409


def test_the_list_says_what_is_left_and_when_it_is_used_up(staff, zoned):
    """14,000.00 of 100,000.00 within 28 days: the 86,000.00 that are left last 172 days from 20 May, to 8 November."""
    programme = voucher(zoned.issuer, budget_minor=10_000_000)
    know(zoned.sun)
    grant = programmes_world.grant(programme, zoned.sun.account)
    programmes_world.commit(grant, zoned.sun.account, {"2020-05": 1_400_000}, at=buyers.local(2))
    listed = text(staff.get("/admin/billing/programme/"))
    assert "30% of the price ¥100,000.00 ¥14,000.00 ¥0.00 ¥86,000.00 2020-11-08 1" in listed
    shown = text(staff.get(of(programme, "change")))
    assert "as in the last 28 days" in shown
    assert "2020-11-08" in shown


def test_commitments_shares_and_redemptions_are_filtered(staff, zoned, programme):
    know(zoned.sun)
    grant = programmes_world.grant(programme, zoned.sun.account)
    programmes_world.commit(grant, zoned.sun.account, {"2020-05": 100_000, "2020-06": 200})
    firm = zoned.sun.account.party
    by_month = text(staff.get("/admin/billing/commitment/", {"month": "2020-06"}))
    assert ("¥2.00" in by_month, "¥1,000.00" in by_month) == (True, False)
    assert firm.legal_name in text(staff.get("/admin/billing/commitment/", {"q": firm.credit_code}))
    for model in ("programmeshare", "redemption"):
        query = {"double": "yes"} if model == "redemption" else {"month": "2020-05"}
        assert staff.get(f"/admin/billing/{model}/", query).status_code == 200


# Figures


def bars(response, place=0):
    """Of a budget, the heights of the parts of each bar, in thousandths of the scale's top."""
    chart = response.context["budgets"][place]["chart"]
    return [[(part.tone, part.height) for part in bar.rectangles] for bar in chart.bars]


def test_the_figures_of_a_programme(staff, zoned):
    """Of 1,000.00 for 2020, 100.00 are committed for May and 60.00 for July: on 20 May 840.00 are left. 160.00 in 28 days are
    5.71… a day: 147 days, to 14 October. At the end of May, 11 days on, 222.85 will be used; at the end of September 920.
    """
    programme = voucher(zoned.issuer, budget_minor=100_000)
    know(zoned.sun, size_class="small", sector="software", zone="临港新片区", founded_date="2016-03-01")
    grant = programmes_world.grant(programme, zoned.sun.account)
    programmes_world.commit(grant, zoned.sun.account, {"2020-05": 10_000, "2020-07": 6_000}, at=buyers.local(2))
    assert staff.get(of(programme, "figures"))["Location"] == f"/admin/programmes/{programme.pk}/figures/"
    response = staff.get(f"/admin/programmes/{programme.pk}/figures/")
    page = text(response)
    for words in (
        "¥160.00 were used in the last 28 days: the ¥840.00 that are left are used up on 2020-10-14.",
        "2020-04 ¥0.00 ¥0.00 ¥1,000.00 –",
        "2020-05 ¥0.00 ¥100.00 ¥900.00 ¥222.85",
        "2020-07 ¥0.00 ¥60.00 ¥840.00 ¥571.42",
        "2020-09 ¥0.00 ¥0.00 ¥840.00 ¥920.00",
        "2020-12 ¥0.00 ¥0.00 ¥840.00 ¥1,000.00",
        "small 1 ¥0.00 ¥160.00",
        "software and information services 1 ¥0.00 ¥160.00",
    ):
        assert words in page, words
    drawn = bars(response)
    assert len(drawn) == 12
    assert drawn[3] == [("left", 833)]  # of a scale to 1,200
    assert [tone for tone, _ in drawn[4]] == ["committed", "left"]
    assert response.context["budgets"][0]["chart"].reserved.startswith("M40 ")


def test_each_budget_of_a_programme_is_drawn_with_its_limit_and_when_it_is_used_up(staff, zoned):
    """On 20 May, of the year's 1,000.00 are 840.00 left: 147 days. Of the second quarter's 150.00 are 50.00: 100.00 in 28 days
    leave them in 14 days, on 3 June. Of the third's 300.00 are 240.00: 60.00 in 28 days, 112 days, to 9 September.
    """
    programme = voucher(zoned.issuer, budget_minor=100_000)
    for code, first, last, budget_minor in (
        ("q1", date(2020, 1, 1), date(2020, 3, 31), 20_000),
        ("q2", date(2020, 4, 1), date(2020, 6, 30), 15_000),
        ("q3", date(2020, 7, 1), date(2020, 9, 30), 30_000),
    ):
        programmes.set_budget(
            programme=programme, code=code, from_date=first, until_date=last, budget_minor=budget_minor
        )
    know(zoned.sun)
    grant = programmes_world.grant(programme, zoned.sun.account)
    programmes_world.commit(grant, zoned.sun.account, {"2020-05": 10_000, "2020-07": 6_000}, at=buyers.local(2))
    response = staff.get(f"/admin/programmes/{programme.pk}/figures/")
    page = text(response)
    for words in (
        (
            "Budget all, 2020-01-01 – 2020-12-31 ¥160.00 were used in the last 28 days: the ¥840.00 that are left are used up on"
            " 2020-10-14."
        ),
        (
            "Budget q2, 2020-04-01 – 2020-06-30 ¥100.00 were used in the last 28 days: the ¥50.00 that are left are used up on"
            " 2020-06-03."
        ),
        (
            "Budget q3, 2020-07-01 – 2020-09-30 ¥60.00 were used in the last 28 days: the ¥240.00 that are left are used up on"
            " 2020-09-09."
        ),
        "Budget q1, 2020-01-01 – 2020-03-31 It is over: ¥200.00 of ¥200.00 are left.",
        "all 2020-01-01 2020-12-31 ¥1,000.00 ¥160.00 ¥0.00 ¥840.00 2020-10-14",
        "q2 2020-04-01 2020-06-30 ¥150.00 ¥100.00 ¥0.00 ¥50.00 2020-06-03",
        "q1 2020-01-01 2020-03-31 ¥200.00 ¥0.00 ¥0.00 ¥200.00 –",
    ):
        assert words in page, words
    assert [len(bars(response, place)) for place in range(4)] == [12, 3, 3, 3]
    assert [[tone for tone, _ in bar] for bar in bars(response, 1)] == [["left"], *[["committed", "left"]] * 2]
    programmes.set_budget(
        programme=programme, code="q2", from_date=date(2020, 4, 1), until_date=date(2020, 6, 30), budget_minor=10_000
    )
    assert "Nothing of its ¥100.00 is left." in text(staff.get(f"/admin/programmes/{programme.pk}/figures/"))


def test_figures_without_a_budget_and_without_firms(staff, zoned):
    draft(staff, zoned)
    page = text(staff.get(f"/admin/programmes/{Programme.objects.get().pk}/figures/"))
    assert ("It has no budget yet." in page, page.count("No firm has it.")) == (True, 2)
    assert staff.get("/admin/programmes/999/figures/").status_code == 404


def test_double_funding_is_listed(staff, zoned):
    know(zoned.sun)
    for code in ("one", "two"):
        programmes_world.grant(voucher(zoned.issuer, code, stacking_group="city"), zoned.sun.account)
    page = text(staff.get("/admin/programmes/double-funding/"))
    name = zoned.sun.account.party.legal_name
    window = "(2020-01-01 – 2020-12-31)"
    assert f"{name} city one {window}, two {window}" in page
    assert "No line is paid by more than one." in page
    assert "No contract has both sides in one such programme." in page
