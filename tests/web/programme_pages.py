"""What tests of the programmes' pages stand on: the buyers' world of May 2020, with a programme of its issuer."""

from datetime import date
from decimal import Decimal

from django.core.files.uploadedfile import SimpleUploadedFile

from billing import parties
from marketplace import people
from tests.billing import programmes_world
from tests.marketplace.tenants import make_user
from tests.web import buyers

PDF = b"%PDF-1.7 use plan"
RULES = {"size_class": ["micro", "small"], "zone": ["临港新片区"], "most_years": 8}
FACTS = {"size_class": "small", "zone": "临港新片区", "founded_date": "2016-03-01"}


def voucher(issuer, code="sme-30", **terms):
    """30 %, at most 20,000.00 a firm and month; for small firms of the zone that are not old."""
    facts = {
        "percent": Decimal(30),
        "cap_firm_month_minor": 2_000_000,
        "eligibility": RULES,
        "name_en": "Compute vouchers",
    } | terms
    return programmes_world.programme(issuer, code, **facts)


def member(buyer, role):
    user = make_user(f"{role}.of.{buyer.organization.name.lower()}")
    people.add_member(organization=buyer.organization, user=user, role=role, at=buyers.NOW, actor="test")
    return user


def know(buyer, *, verified=True, **facts):
    """Facts of the firm from 2018 on, verified or not."""
    for kind, value in (facts or FACTS).items():
        fact = parties.claim_fact(
            party=buyer.account.party,
            kind=kind,
            value=value,
            from_date=date(2018, 1, 1),
            at=buyers.NOW,
            actor="test",
        )
        if verified:
            parties.verify_fact(fact=fact, at=buyers.NOW, actor="staff")


def document(content=PDF, name="plan.pdf", content_type="application/pdf"):
    return SimpleUploadedFile(name, content, content_type)


def hand_in(client, code="sme-30", *, statement="Training a model", documents=(), **facts):
    return client.post(f"/programmes/{code}/", {"statement": statement, "documents": list(documents), **facts})
