"""The page of facts and evidence: who states, uploads, sees and takes away; what a download carries."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from billing import parties
from billing.models import Evidence, PartyFact
from tests.marketplace.tenants import AT, credit_code

PDF = b"%PDF-1.7\n<script>alert(1)</script>"


def facts_of(tenant):
    rows = PartyFact.objects.filter(party=tenant.organization.party).order_by("kind", "from_date", "value")
    return list(rows.values_list("kind", "value"))


def state(client, **facts):
    return client.post("/organization/facts/", {"from_date": "2026-05-01", **facts})


def upload(client, content=PDF, name="licence.pdf"):
    return client.post("/organization/evidence/", {"file": SimpleUploadedFile(name, content, "text/html")})


def test_every_member_sees_the_facts_and_the_owner_alone_changes_them(tenants, browser):
    fact = PartyFact.objects.get(party=tenants.sun.organization.party)
    for role, user in tenants.sun.users.items():
        client = browser(user)
        page = client.get("/organization/facts/").text
        assert ("sun Ltd" in page, credit_code("sun") in page, "Not verified yet" in page) == (True, True, True)
        assert ("State a fact" in page, "Upload evidence" in page) == (role == "owner", role == "owner")
        sees_document = role in ("owner", "finance")
        assert (f'href="/organization/evidence/{fact.evidence_id}/"' in page) == sees_document
        assert client.get(f"/organization/evidence/{fact.evidence_id}/").status_code == (200 if sees_document else 404)
        if role != "owner":
            assert state(client, sector="software").status_code == 404
            assert upload(client).status_code == 404
            assert client.post(f"/organization/facts/{fact.pk}/end/").status_code == 404
    assert facts_of(tenants.sun) == [("size_class", "small")]


def test_an_owner_states_several_facts_at_once_with_evidence(tenants, browser):
    client = browser(tenants.sun.owner)
    assert upload(client)["Location"] == "/organization/facts/"
    document = Evidence.objects.get(
        party=tenants.sun.organization.party, name="licence.pdf", sha256__isnull=False, content=PDF
    )
    code = credit_code("north")
    said = {
        "sector": "integrated_circuits",
        "founded_date": "2019-03-01",
        "zone": "临港新片区",
        "related_party": f" {code[:8].lower()} {code[8:].lower()}",
        "evidence": document.pk,
    }
    assert state(client, **said)["Location"] == "/organization/facts/"
    assert facts_of(tenants.sun) == [
        ("founded_date", "2019-03-01"),
        ("related_party", code),
        ("sector", "integrated_circuits"),
        ("size_class", "small"),
        ("zone", "临港新片区"),
    ]
    fact = PartyFact.objects.get(value="integrated_circuits")
    assert (fact.evidence, fact.from_date, fact.actor) == (document, date(2026, 5, 1), f"user:{tenants.sun.owner.pk}")
    page = client.get("/organization/facts/").text
    assert ("integrated circuits" in page, "licence.pdf" in page) == (True, True)


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({}, "__all__"),
        ({"sector": "gambling"}, "sector"),
        ({"founded_date": "yesterday"}, "founded_date"),
        ({"related_party": "91310115MA1H7CCA70"}, "related_party"),
        ({"related_party": credit_code("sun")}, "related_party"),
        ({"zone": "x" * 101}, "zone"),
        ({"sector": "software", "from_date": ""}, "from_date"),
        ({"sector": "software", "evidence": "0"}, "evidence"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(tenants, browser, facts, field):
    answer = state(browser(tenants.sun.owner), **facts)
    assert (answer.status_code, list(answer.context["form"].errors)) == (200, [field])
    assert facts_of(tenants.sun) == [("size_class", "small")]


@pytest.mark.parametrize("content", [b"<html>", b"MZ\x90", b""])
def test_a_file_that_is_no_document_is_refused_at_its_field(tenants, browser, content):
    answer = upload(browser(tenants.sun.owner), content)
    assert (answer.status_code, list(answer.context["upload"].errors)) == (200, ["file"])
    assert Evidence.objects.filter(party=tenants.sun.organization.party).count() == 1


def test_a_file_of_more_than_ten_mebibytes_is_refused_before_it_is_read(tenants, browser, monkeypatch):
    monkeypatch.setattr(parties, "EVIDENCE_LIMIT", 20)
    answer = upload(browser(tenants.sun.owner))
    assert "The file is larger than 10 MB." in str(answer.context["upload"].errors["file"])


def test_an_organization_keeps_so_many_files_a_day_and_no_more(tenants, browser, monkeypatch, standing):
    monkeypatch.setattr("marketplace.limits.FILES_A_DAY", 2)
    client = browser(tenants.sun.owner)
    answers = [upload(client, PDF + bytes([number])) for number in range(3)]
    assert [answer.status_code for answer in answers] == [302, 302, 200]
    assert "Too many files today. Try again tomorrow." in str(answers[2].context["upload"].errors["file"])
    assert Evidence.objects.filter(party=tenants.sun.organization.party).count() == 3
    assert upload(browser(tenants.moon.owner), PDF).status_code == 302


def test_a_document_is_sent_to_be_kept_and_runs_nowhere(tenants, browser):
    client = browser(tenants.sun.owner)
    upload(client, name="营业执照 <1>.pdf")
    document = Evidence.objects.get(content=PDF)
    answer = client.get(f"/organization/evidence/{document.pk}/")
    assert (answer.content, answer["Content-Type"], answer["X-Content-Type-Options"]) == (
        PDF,
        "application/pdf",
        "nosniff",
    )
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'; frame-ancestors 'none'"
    assert answer["Content-Disposition"].startswith("attachment; filename*=utf-8''%E8%90%A5")
    assert answer["Cache-Control"] == "private, no-store"


def test_evidence_and_facts_of_another_organization_are_not_there(tenants, browser):
    client = browser(tenants.sun.owner)
    foreign = PartyFact.objects.get(party=tenants.moon.organization.party)
    assert "moon" not in client.get("/organization/facts/").text
    assert client.get(f"/organization/evidence/{foreign.evidence_id}/").status_code == 404
    assert client.post(f"/organization/facts/{foreign.pk}/end/").status_code == 404
    assert "evidence" in state(client, sector="software", evidence=foreign.evidence_id).context["form"].errors
    assert facts_of(tenants.moon) == [("size_class", "small")]
    assert browser(tenants.staff).get(f"/organization/evidence/{foreign.evidence_id}/").status_code == 200


def test_a_claim_is_taken_back_and_a_verified_fact_ends_today(tenants, browser, standing):
    client = browser(tenants.sun.owner)
    fact = PartyFact.objects.get(party=tenants.sun.organization.party)
    parties.verify_fact(fact=fact, at=AT, actor="user:9")
    client.post(f"/organization/facts/{fact.pk}/end/")
    assert "The fact has ended today." in client.get("/organization/facts/").text
    fact.refresh_from_db()
    assert fact.until_date == timezone.now().astimezone(ZoneInfo("Asia/Shanghai")).date()
    assert "Ended" in client.get("/organization/facts/").text
    state(client, sector="software")
    claim = PartyFact.objects.get(kind="sector")
    client.post(f"/organization/facts/{claim.pk}/end/")
    assert "The claim is taken back." in client.get("/organization/facts/").text
    assert facts_of(tenants.sun) == [("size_class", "small")]


def test_with_no_facts_the_page_says_what_they_are_for(tenants, browser):
    assert "Nothing is known yet" in browser(tenants.north.owner).get("/organization/facts/").text


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("pending", "", "operator is verifying this organization"),
        ("refused", "No such firm.", "The reason: No such firm."),
        ("suspended", "Bills are open.", "The reason: Bills are open."),
    ],
)
def test_the_pages_say_where_the_organization_stands(tenants, browser, column, value, said):
    organization = tenants.sun.organization
    organization.state, organization.state_reason = column, value
    organization.save()
    for address in ("/organization/", "/organization/facts/"):
        assert said in browser(tenants.sun.users["viewer"]).get(address).text


@pytest.mark.parametrize("extra", [0, 2])
def test_the_page_asks_the_database_as_often_for_three_facts_as_for_one(
    tenants, browser, django_assert_num_queries, extra
):
    party = tenants.sun.organization.party
    for number in range(extra):
        evidence = parties.add_evidence(party=party, name="a.pdf", content=PDF + b"%d" % number, at=AT, actor="t")
        facts = {"kind": "zone", "value": f"zone {number}", "from_date": date(2026, 1, 1), "evidence": evidence}
        parties.claim_fact(party=party, **facts, at=AT, actor="t")
    client = browser(tenants.sun.owner)
    # session, user, organizations, role, zone, issuer, party, facts, documents, and documents to choose from
    with django_assert_num_queries(10):
        client.get("/organization/facts/")
