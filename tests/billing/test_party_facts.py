"""What a legal person says of itself, the evidence for it, and which fact holds on a day."""

import hashlib
from datetime import UTC, date, datetime

import pytest

from billing import parties
from billing.models import Evidence, PartyFact
from tests.billing import world

AT = datetime(2026, 5, 1, tzinfo=UTC)
PDF, PNG, JPEG = b"%PDF-1.7\n...", b"\x89PNG\r\n\x1a\n...", b"\xff\xd8\xff\xe0..."


@pytest.fixture
def party(db):
    return world.provider()


@pytest.fixture
def other(db):
    return world.issuer().party


def claim(party, kind="size_class", value="small", from_date=date(2026, 1, 1), **more):
    return parties.claim_fact(party=party, kind=kind, value=value, from_date=from_date, **more, at=AT, actor="user:1")


def upload(party, content=PDF, name="licence.pdf"):
    return parties.add_evidence(party=party, name=name, content=content, at=AT, actor="user:1")


# Evidence


@pytest.mark.parametrize(
    ("content", "kind"),
    [(PDF, "application/pdf"), (PNG, "image/png"), (JPEG, "image/jpeg")],
    ids=["pdf", "png", "jpeg"],
)
def test_the_type_of_a_document_is_told_by_its_bytes_whatever_its_name_says(party, content, kind):
    evidence = upload(party, content, "page.html")
    assert (evidence.content_type, evidence.name, bytes(evidence.content)) == (kind, "page.html", content)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"MZ\x90\x00", b" %PDF-1.7", b"GIF89a", b"x" * (10 * 1024 * 1024 + 1), PDF[:4]]
)
def test_what_is_no_pdf_png_or_jpeg_or_too_large_is_not_kept(party, content):
    with pytest.raises(parties.InvalidEvidenceError, match="content"):
        upload(party, content)
    assert not Evidence.objects.exists()


def test_ten_mebibytes_are_kept(party):
    assert len(upload(party, PDF.ljust(10 * 1024 * 1024)).content) == 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\docs\\licence.pdf", "licence.pdf"),
        ("营业执照.pdf", "营业执照.pdf"),
        ("a\r\nSet-Cookie: x.pdf", "aSet-Cookie: x.pdf"),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
    ],
)
def test_of_a_files_name_no_folder_and_no_control_character_is_kept(party, given, kept):
    assert upload(party, name=given).name == kept


def test_the_same_bytes_are_kept_once_for_a_party_and_apart_for_another(party, other):
    first, again, foreign = upload(party), upload(party, name="other.pdf"), upload(other)
    assert (first.pk, again.name) == (again.pk, "licence.pdf")
    assert foreign.pk != first.pk
    assert first.sha256 == foreign.sha256 == hashlib.sha256(PDF).hexdigest()


# Claims


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        ("colour", "red", "kind"),
        ("sector", "gambling", "value"),
        ("size_class", "huge", "value"),
        ("founded_date", "2019-3-1", "value"),
        ("founded_date", "yesterday", "value"),
        ("related_party", "91310000MA1FL0LY2O", "value"),
        ("zone", " ", "value"),
        ("zone", "x" * 101, "value"),
    ],
)
def test_a_fact_that_is_not_well_formed_is_refused_by_its_field(party, kind, value, field):
    with pytest.raises(parties.InvalidFactError, match=f"^{field}"):
        claim(party, kind, value)
    assert not PartyFact.objects.exists()


def test_nobody_is_its_own_related_party(party):
    with pytest.raises(parties.InvalidFactError, match="another legal person"):
        claim(party, "related_party", party.credit_code)


def test_evidence_of_another_party_proves_nothing(party, other):
    with pytest.raises(parties.InvalidFactError, match=r"^evidence"):
        claim(party, evidence=upload(other))


def test_claimed_again_it_is_the_same_fact_and_takes_evidence_until_it_is_verified(party):
    fact = claim(party)
    first, second = upload(party), upload(party, PNG)
    assert claim(party, evidence=first).pk == fact.pk
    assert claim(party, evidence=second).evidence == second
    assert claim(party).evidence == second
    assert parties.verify_fact(fact=fact, at=AT, actor="user:9") is True
    assert claim(party, evidence=second).verified_by == "user:9"
    with pytest.raises(parties.FactVerifiedError):
        claim(party, evidence=first)
    assert PartyFact.objects.get().evidence == second


def test_the_first_who_verifies_stands(party):
    fact = claim(party)
    assert parties.verify_fact(fact=fact, at=AT, actor="user:8") is True
    assert parties.verify_fact(fact=fact, at=AT, actor="user:9") is False
    assert (fact.verified_at, fact.verified_by) == (AT, "user:8")


def test_a_claim_is_taken_back_and_a_verified_fact_is_not(party):
    fact = claim(party)
    parties.withdraw_fact(fact=fact)
    parties.withdraw_fact(fact=fact)
    assert not PartyFact.objects.exists()
    fact = claim(party)
    parties.verify_fact(fact=fact, at=AT, actor="user:9")
    with pytest.raises(parties.FactVerifiedError):
        parties.withdraw_fact(fact=fact)


def test_a_fact_ends_on_a_day_and_can_end_earlier_but_not_later(party):
    fact = claim(party)
    parties.end_fact(fact=fact, until_date=date(2026, 6, 1), actor="user:1")
    parties.end_fact(fact=fact, until_date=date(2026, 5, 1), actor="user:1")
    for wrong in (date(2026, 5, 2), date(2025, 12, 31)):
        with pytest.raises(parties.InvalidFactError, match=r"^until_date"):
            parties.end_fact(fact=fact, until_date=wrong, actor="user:1")
    assert fact.until_date == date(2026, 5, 1)


# Which holds


def holds(party, day, **options):
    fact = parties.fact_of(party=party, kind="size_class", on_date=day, **options)
    return fact.value if fact else None


def test_a_fact_holds_from_its_day_until_a_later_one_or_its_end(party):
    claim(party, value="small", from_date=date(2026, 1, 1))
    later = claim(party, value="medium", from_date=date(2026, 3, 1))
    parties.end_fact(fact=later, until_date=date(2026, 5, 1), actor="user:1")
    days = [
        date(2025, 12, 31),
        date(2026, 1, 1),
        date(2026, 2, 28),
        date(2026, 3, 1),
        date(2026, 4, 30),
        date(2026, 5, 1),
    ]
    assert [holds(party, day) for day in days] == [None, "small", "small", "medium", "medium", None]


def test_among_verified_facts_a_later_claim_changes_nothing(party):
    parties.verify_fact(fact=claim(party, value="small"), at=AT, actor="user:9")
    claim(party, value="micro", from_date=date(2026, 2, 1))
    day = date(2026, 2, 1)
    assert (holds(party, day), holds(party, day, verified=True)) == ("micro", "small")


def test_of_two_that_begin_on_one_day_the_verified_one_holds(party):
    parties.verify_fact(fact=claim(party, value="small"), at=AT, actor="user:9")
    claim(party, value="micro")
    assert holds(party, date(2026, 1, 1)) == "small"


def test_a_fact_is_its_partys_own(party, other):
    claim(other, value="large")
    assert holds(party, date(2026, 5, 1)) is None


def test_several_parties_may_be_related_at_once(party):
    codes = sorted(world.credit_code(number) for number in (7, 8))
    first, second = (claim(party, "related_party", code) for code in codes)
    day = date(2026, 5, 1)
    assert parties.related_parties(party=party, on_date=day) == codes
    assert parties.related_parties(party=party, on_date=date(2025, 12, 31)) == []
    assert parties.related_parties(party=party, on_date=day, verified=True) == []
    parties.verify_fact(fact=first, at=AT, actor="user:9")
    assert parties.related_parties(party=party, on_date=day, verified=True) == [first.value]
    parties.end_fact(fact=first, until_date=day, actor="user:1")
    assert parties.related_parties(party=party, on_date=day) == [second.value]
