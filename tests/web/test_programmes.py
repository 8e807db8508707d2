"""The buyers' pages of programmes: what there is, who may apply, what is taken, and what becomes of it."""

import pytest
from django.contrib.messages import get_messages

from billing import parties, programmes
from billing.models import Evidence, Grant, ProgrammeChange
from tests.billing import programmes_world, world
from tests.web import buyers
from tests.web.buyers import text
from tests.web.programme_pages import FACTS, PDF, document, hand_in, know, member, voucher


@pytest.fixture
def programme(zoned):
    return voucher(zoned.issuer)


def said(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def states():
    return list(Grant.objects.order_by("pk").values_list("state", flat=True))


# What there is


def test_the_list_says_what_a_programme_pays_and_for_whom(sun, zoned, programme):
    know(zoned.sun, size_class="small")
    know(zoned.sun, zone="浦东", verified=False)
    page = text(sun.get("/programmes/"))
    for words in (
        "Compute vouchers",
        "30% of the price, at most ¥20,000.00 a firm and month",
        "资助方50",
        "2020-01-01 – 2020-12-31",
        "every charge",
        "voucher offset on the bill",
        "Met Size : micro or small · yours: small",
        "Not verified yet Zone of registration : 临港新片区 · yours: 浦东 · Show evidence",
        "Not known yet Age : founded less than 8 years ago · State it",
    ):
        assert words in page, words


def test_the_list_in_chinese(browser, zoned, programme):
    know(zoned.sun, size_class="large")
    page = text(browser(zoned.sun.owner, language="zh-hans").get("/programmes/"))
    for words in ("扶持项目", "价格的 30%", "每家企业每月最多 ¥20,000.00", "不符合", "微型 或 小型", "尚不清楚"):
        assert words in page, words


def test_only_what_is_or_was_open_is_seen_and_only_what_is_open_is_listed(sun, zoned, programme):
    programmes.draft(issuer=zoned.issuer, code="draft", name="Draft", terms={}, at=world.MAY, actor="test")
    paused, closed = voucher(zoned.issuer, "paused", name_en="Waits"), voucher(zoned.issuer, "closed", name_en="Gone")
    programmes.pause(programme=paused, reason="review", at=world.MAY, actor="test")
    programmes.close(programme=closed, reason="over", at=world.MAY, actor="test")
    foreign = voucher(world.issuer("pd", 9), "foreign", name_en="Foreign")
    page = text(sun.get("/programmes/"))
    assert ("Compute vouchers" in page, "Waits" in page, "Gone" in page, "Draft" in page) == (True, True, False, False)
    assert "Waits Takes no applications now" in page
    assert "Foreign" not in page
    found = {
        code: sun.get(f"/programmes/{code}/").status_code
        for code in ("sme-30", "paused", "closed", "draft", foreign.code, "nothing")
    }
    assert found == {"sme-30": 200, "paused": 200, "closed": 200, "draft": 404, "foreign": 404, "nothing": 404}


def test_the_page_gives_sources_and_says_what_is_not_known(sun, zoned):
    drafted = programmes.draft(
        issuer=zoned.issuer,
        code="city",
        name="City",
        terms=programmes_terms(),
        at=world.MAY,
        actor="test",
    )
    programmes.cite(
        programme=drafted, name="share", says="up to 30 %", title="Measures", dated=world.first_of_june(), url=""
    )
    programmes.cite(programme=drafted, name="stacking", says=None)
    open_it(drafted)
    page = text(sun.get("/programmes/city/"))
    assert "Share of the price up to 30 % Measures 2020-06-01" in page
    unknown = page[page.index("Not known No source") :]
    assert "together with other programmes" in unknown
    assert "share of the price" not in unknown
    assert "Every firm may have it." in page


def programmes_terms():
    return {
        "mode": "voucher",
        "funder": programmes_world.funder(),
        "unit_amount": "0.50",
        "unit": "gpu_hour",
        "from_date": programmes_world.YEAR[0],
        "until_date": programmes_world.YEAR[1],
        "bars_related_parties": True,
        "one_side_claims": True,
        "kinds": ["energy"],
    }


def open_it(drafted):
    first, last = programmes_world.YEAR
    programmes.set_budget(programme=drafted, code="all", from_date=first, until_date=last, budget_minor=100)
    programmes.sign_off_vat(programme=drafted, treatment="price_reduction", at=world.MAY, actor="finance")
    programmes.open_(programme=drafted, at=world.MAY, actor="test")


def test_the_list_asks_the_database_as_often_for_three_programmes_as_for_one(
    sun, zoned, programme, django_assert_num_queries
):
    know(zoned.sun)
    for number in range(2):
        voucher(zoned.issuer, f"more-{number}")
    sun.get("/programmes/")
    # session, user, organizations, role; programmes, party, facts, own grants
    with django_assert_num_queries(8):
        sun.get("/programmes/")


# Applying


def test_owner_and_finance_apply_and_others_look(browser, zoned, programme):
    for role in ("owner", "finance", "engineer", "viewer"):
        user = zoned.sun.owner if role == "owner" else member(zoned.sun, role)
        client = browser(user)
        may = role in ("owner", "finance")
        for address in ("/programmes/", "/programmes/sme-30/", "/grants/"):
            assert client.get(address).status_code == 200
        assert ("Hand it in" in client.get("/programmes/sme-30/").text) == may
        if not may:
            assert hand_in(client).status_code == 404
            assert states() == []
    answer = hand_in(browser(zoned.sun.owner))
    grant = Grant.objects.get()
    assert answer["Location"] == f"/grants/{grant.pk}/"
    viewer = browser(zoned.sun.viewer)
    assert viewer.get(f"/grants/{grant.pk}/").status_code == 200
    assert "Training a model" not in viewer.get(f"/grants/{grant.pk}/").text
    assert viewer.post(f"/grants/{grant.pk}/withdraw/").status_code == 404
    assert states() == ["applied"]


def test_an_application_keeps_statement_documents_and_facts(sun, zoned, programme):
    know(zoned.sun)
    kept = parties.add_evidence(
        party=zoned.sun.account.party, name="licence.png", content=b"\x89PNG\r\n\x1a\n", at=buyers.NOW, actor="test"
    )
    answer = hand_in(
        sun,
        statement="一行\r\n两行",
        documents=[document(), document(b"\xff\xd8\xffphoto", "营业执照 <1>.jpg", "text/html")],
        kept=[kept.pk],
    )
    grant = Grant.objects.get()
    assert answer.status_code == 302
    assert (grant.statement, grant.actor) == ("一行\n两行", f"user:{zoned.sun.owner.pk}")
    assert [each["is_met"] for each in grant.verdict] == [True, True, True]
    shown = [(row.evidence.name, row.evidence.content_type) for row in grant.documents.order_by("evidence__name")]
    assert shown == [("licence.png", "image/png"), ("plan.pdf", "application/pdf"), ("营业执照 <1>.jpg", "image/jpeg")]
    page = text(sun.get(f"/grants/{grant.pk}/"))
    for words in ("Applied", "一行", "营业执照 &lt;1&gt;.jpg", "Met Zone of registration", "2020-05-20 12:07 Applied"):
        assert words in page, words


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([document(b"<html>", "plan.pdf", "application/pdf")], "plan.pdf is no PDF, PNG or JPEG file."),
        ([document(), document(b"MZ\x90", "a.exe")], "a.exe is no PDF, PNG or JPEG file."),
        ([document(b"", "empty.pdf")], "The submitted file is empty."),
        (
            [document(PDF + bytes([n]), f"{n}.pdf") for n in range(11)],
            "There are 11 files: at most 10 can be sent at once.",
        ),
        ([document(PDF, "a" * 201 + ".pdf")], "at most 200 characters"),
    ],
)
def test_files_that_are_not_taken_are_refused_and_none_is_kept(sun, programme, documents, message):
    answer = hand_in(sun, documents=documents)
    assert (answer.status_code, list(answer.context["form"].errors)) == (200, ["documents"])
    assert message in str(answer.context["form"].errors["documents"])
    assert (Evidence.objects.count(), states()) == (0, [])


def test_a_file_that_is_too_large_is_refused_before_it_is_read(sun, programme, monkeypatch):
    monkeypatch.setattr(parties, "EVIDENCE_LIMIT", 20)
    answer = hand_in(sun, documents=[document(PDF + b"more and more")])
    assert "The file is larger than 10 MB." in str(answer.context["form"].errors["documents"])
    assert Evidence.objects.count() == 0


def test_as_many_files_a_day_as_the_page_of_facts_takes(sun, programme, monkeypatch):
    monkeypatch.setattr("marketplace.limits.FILES_A_DAY", 2)
    answer = hand_in(sun, documents=[document(PDF + bytes([n]), f"{n}.pdf") for n in range(3)])
    assert "Too many files today. Try again tomorrow." in str(answer.context["form"].errors["documents"])
    assert (Evidence.objects.count(), states()) == (0, [])


def test_a_statement_is_needed(sun, programme):
    answer = hand_in(sun, statement=" ")
    assert list(answer.context["form"].errors) == ["statement"]
    assert states() == []


def test_a_second_click_is_the_application_that_is_there_and_other_words_are_refused(sun, programme):
    addresses = [hand_in(sun, documents=[document()])["Location"] for _ in range(2)]
    assert addresses[0] == addresses[1]
    other = hand_in(sun, statement="Something else")
    assert (other["Location"], said(other)[-1]) == (
        "/programmes/sme-30/",
        "Your organization has applied already. Withdraw that application to change it.",
    )
    assert (states(), Grant.objects.get().statement) == (["applied"], "Training a model")
    assert "Hand it in" not in sun.get("/programmes/sme-30/").text


def test_withdrawn_it_stays_so_and_one_can_apply_again(sun, programme):
    hand_in(sun)
    grant = Grant.objects.get()
    for _ in range(2):
        assert sun.post(f"/grants/{grant.pk}/withdraw/")["Location"] == f"/grants/{grant.pk}/"
    assert states() == ["withdrawn"]
    assert [change.state for change in ProgrammeChange.objects.filter(grant=grant)] == ["applied", "withdrawn"]
    assert "Apply again" in sun.get(f"/grants/{grant.pk}/").text
    hand_in(sun, statement="Better words")
    assert states() == ["withdrawn", "applied"]


def test_the_reason_of_a_rejection_is_read_and_one_can_apply_again(sun, programme):
    hand_in(sun)
    grant = Grant.objects.get()
    programmes.reject(grant=grant, reason="The licence is missing", at=buyers.NOW, actor="staff")
    page = text(sun.get(f"/grants/{grant.pk}/"))
    assert (
        "The zone's operator says: The licence is missing" in page.replace("&#x27;", "'"),
        "Apply again" in page,
    ) == (
        True,
        True,
    )
    late = sun.post(f"/grants/{grant.pk}/withdraw/")
    assert said(late)[-1] == "It is decided on already and can't be withdrawn."
    hand_in(sun)
    assert states() == ["rejected", "applied"]


def test_what_is_paused_or_closed_takes_no_application(sun, programme):
    programmes.pause(programme=programme, reason="review", at=world.MAY, actor="test")
    answer = hand_in(sun)
    assert (answer["Location"], said(answer)) == (
        "/programmes/sme-30/",
        ["The programme takes no applications now."],
    )
    programmes.close(programme=programme, reason="over", at=world.MAY, actor="test")
    assert said(hand_in(sun))[-1] == "The programme takes no applications now."
    assert states() == []
    assert "Hand it in" not in sun.get("/programmes/sme-30/").text


def test_a_firm_that_has_the_programme_can_not_apply_for_it(sun, zoned, programme):
    know(zoned.sun)
    programmes_world.grant(programme, zoned.sun.account)
    answer = hand_in(sun)
    assert said(answer) == ["Your organization has this programme already."]
    assert states() == ["approved"]


def test_of_another_firm_nothing_is_there_and_nothing_changes(sun, browser, zoned, programme):
    hand_in(browser(zoned.moon.owner), documents=[document()])
    grant, foreign = Grant.objects.get(), Evidence.objects.get()
    assert sun.get(f"/grants/{grant.pk}/").status_code == 404
    assert sun.post(f"/grants/{grant.pk}/withdraw/").status_code == 404
    assert "No applications yet" in sun.get("/grants/").text
    answer = hand_in(sun, kept=[foreign.pk], documents=[document(PDF + b"2")])
    assert "kept" not in answer.wsgi_request.GET
    assert [row.evidence_id for row in Grant.objects.get(party=zoned.sun.account.party).documents.all()] != [foreign.pk]
    assert Grant.objects.get(pk=grant.pk).state == "applied"


# Grants


def test_the_firms_page_of_grants_says_what_is_left_committed_and_redeemed(sun, browser, zoned):
    """4 GPU-hours at 2.00 and 4 at 6.00 are 32.00, and 0.10 for each of the 8 is 0.80; capacity and demand cost more."""
    programme = voucher(zoned.issuer, cap_firm_year_minor=3_000_000)
    know(zoned.sun)
    grant = programmes_world.grant(programme, zoned.sun.account)
    programmes_world.commit(grant, zoned.sun.account, {"2020-05": 123_456, "2020-06": 1_000})
    page = text(sun.get("/grants/"))
    assert (
        "Compute vouchers Approved 2020-05-01 2020-01-01 – 2020-12-31 ¥18,765.44 ¥28,755.44 ¥1,244.56 ¥0.00"
    ) in page
    viewer = text(browser(zoned.sun.viewer).get("/grants/"))
    assert ("Approved" in viewer, "¥" in viewer) == (True, False)
    shown = text(sun.get(f"/grants/{grant.pk}/"))
    for words in (
        "Left of this month's cap ¥18,765.44",
        "Left of this year's cap ¥28,755.44",
        "Committed ¥1,244.56",
        "Redeemed ¥0.00",
    ):
        assert words in shown.replace("&#x27;", "'"), words
    assert "¥1,244.56" not in browser(zoned.sun.viewer).get(f"/grants/{grant.pk}/").text


def test_a_rule_is_judged_by_the_day_before_a_fact_ends(sun, zoned, programme):
    know(zoned.sun, zone=FACTS["zone"])
    fact = zoned.sun.account.party.facts.get()
    parties.end_fact(fact=fact, until_date=buyers.NOW.date(), actor="test")
    assert "Not known yet Zone of registration" in text(sun.get("/programmes/"))
