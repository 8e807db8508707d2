"""What the two buyers and two providers of `tenants` have on the market: rows of every kind, none of it on sale."""

import hashlib
from datetime import date, timedelta
from decimal import Decimal

from billing.models import (
    Claim,
    Contract,
    Evidence,
    Grant,
    GrantEvidence,
    Issuer,
    OneOffCharge,
    PartyFact,
    Programme,
    ProgrammeChange,
    TariffVersion,
)
from marketplace.models import (
    AcceleratorModel,
    CapacityChange,
    CapacityPool,
    CapacitySlot,
    Credential,
    Incident,
    Invitation,
    JoinRequest,
    Maintenance,
    Offering,
    OfferingChange,
    Organization,
    OrganizationChange,
    Project,
    ProvisioningTask,
    Quote,
    Reservation,
    ReservationChange,
    Site,
    WaitlistEntry,
)

HOUR = timedelta(hours=1)


def make_joining(organization: Organization, user, at) -> None:
    """What an organization has of people coming in: an open invitation, a request to join refused long ago, its verification."""
    name = organization.name.lower()
    Invitation.objects.create(
        organization=organization,
        email=f"invited.{name}@example.com",
        role="viewer",
        language="en",
        token_sha256=hashlib.sha256(f"invitation of {name}".encode()).hexdigest(),
        created_at=at,
        expires_at=at + timedelta(days=7),
        actor="test",
    )
    JoinRequest.objects.create(
        user=user, organization=organization, state="refused", created_at=at, decided_at=at, actor="test"
    )
    OrganizationChange.objects.create(
        organization=organization, from_state="pending", to_state="verified", at=at, actor="test"
    )


def make_pool(provider: Organization, at, *, gpus: int = 64) -> CapacityPool:
    """A site with a pool of so many GPUs; the site's and the pool's code is the organization's name in small letters."""
    accelerator, _ = AcceleratorModel.objects.get_or_create(
        slug="test-800",
        defaults={"vendor": "Test", "name": "800", "memory_gb": 80, "bf16_tflops": Decimal("989.5")},
    )
    code = provider.name.lower()
    site = Site.objects.create(provider=provider, code=code, name=f"{provider.name} site", region="上海")
    return CapacityPool.objects.create(site=site, accelerator=accelerator, code=code, name=f"{code} pool", gpus=gpus)


def make_offering(pool: CapacityPool, tariff, at, **changes) -> Offering:
    """A draft, up to the whole pool, for up to 72 hours."""
    facts = {
        "code": f"{pool.code}-offering",
        "name": f"{pool.code} offering",
        "max_quantity": pool.gpus,
        "max_hours": 72,
        "cancellation_terms": [{"hours": 24, "percent": "0"}, {"hours": 0, "percent": "50"}],
        "state_at": at,
        "created_at": at,
        "actor": "test",
    } | changes
    return Offering.objects.create(pool=pool, tariff=tariff, **facts)


def make_supplied(provider: Organization, tariff, at) -> Offering:
    """All that a provider has: site, pool, a taken hour, maintenance, an incident, an offering with its history."""
    pool = make_pool(provider, at)
    CapacitySlot.objects.create(pool=pool, hour=at, capacity=64, taken=8)
    CapacityChange.objects.create(pool=pool, from_at=at, gpus=64, at=at, actor="test")
    Maintenance.objects.create(
        pool=pool, quantity=8, start_at=at, end_at=at + HOUR, reason="fans", created_at=at, actor="test"
    )
    Incident.objects.create(
        pool=pool, kind="outage", quantity=8, start_at=at, cause="power", opened_at=at, actor="test"
    )
    offering = make_offering(pool, tariff, at)
    OfferingChange.objects.create(offering=offering, to_state="draft", at=at, actor="test")
    return offering


def make_reserved(buyer: Organization, offering: Offering, contract: Contract, at) -> Reservation:
    """All that a buyer has: a project, a quote, the confirmed reservation of it with its history, a wish, a fee, a fact with evidence, an application."""
    version = TariffVersion.objects.get(tariff=contract.tariff)
    project = Project.objects.create(
        organization=buyer, code="research", name=f"{buyer.name} research", created_at=at, actor="test"
    )
    shared = {
        "offering": offering,
        "organization": buyer,
        "project": project,
        "quantity": 8,
        "start_at": at + 2 * HOUR,
        "end_at": at + 4 * HOUR,
        "currency": "CNY",
        "net_minor": 10_000,
        "tax_minor": 600,
        "gross_minor": 10_600,
        "created_at": at,
        "actor": "test",
    }
    quote = Quote.objects.create(tariff_version=version, expires_at=at + HOUR, **shared)
    reservation = Reservation.objects.create(
        quote=quote,
        pool=offering.pool,
        contract=contract,
        state="confirmed",
        hold_expires_at=at + HOUR,
        confirmed_at=at,
        **shared,
    )
    ReservationChange.objects.create(reservation=reservation, kind="held", at=at, actor="test")
    ProvisioningTask.objects.create(reservation=reservation, kind="start", due_at=at + 2 * HOUR, created_at=at)
    Credential.objects.create(reservation=reservation, sealed="sealed", handed_at=at, handed_by="test")
    make_waiting(buyer, offering, at)
    OneOffCharge.objects.create(
        contract=contract,
        kind="fee",
        code="CANCEL",
        at=at,
        amount_minor=100,
        tax_category="S",
        tax_rate="0.06",
        source=f"test:{buyer.pk}",
        created_at=at,
        actor="test",
    )
    content = f"licence of {buyer.name}".encode()
    evidence = Evidence.objects.create(
        party=buyer.party,
        name="licence.pdf",
        content_type="application/pdf",
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        uploaded_at=at,
        actor="test",
    )
    PartyFact.objects.create(
        party=buyer.party,
        kind="size_class",
        value="small",
        from_date=date(2026, 1, 1),
        evidence=evidence,
        claimed_at=at,
        actor="test",
    )
    make_applied(buyer, contract.account.issuer, evidence, at)
    return reservation


def make_applied(buyer: Organization, issuer: Issuer, evidence: Evidence, at) -> Grant:
    """An application for the issuer's programme, which is open, and an empty claim of the firm's own."""
    programme, _ = Programme.objects.get_or_create(
        issuer=issuer,
        code="support",
        defaults={
            "name": "算力扶持",
            "name_en": "Support",
            "funder": issuer.party,
            "currency": "CNY",
            "mode": "reimbursement",
            "percent": Decimal(30),
            "from_date": date(2026, 1, 1),
            "until_date": date(2026, 12, 31),
            "bars_related_parties": False,
            "one_side_claims": False,
            "eligibility": {"size_class": ["small"]},
            "vat_signed_by": "test",
            "vat_signed_at": at,
            "state": "open",
            "created_at": at,
            "actor": "test",
        },
    )
    grant = Grant.objects.create(programme=programme, party=buyer.party, applied_at=at, actor="test")
    GrantEvidence.objects.create(grant=grant, evidence=evidence)
    ProgrammeChange.objects.create(programme=programme, grant=grant, state="applied", at=at, actor="test")
    Claim.objects.create(
        programme=programme, claimant=buyer.party, key=buyer.name, amount_minor=0, made_at=at, actor="test"
    )
    return grant


def make_waiting(buyer: Organization, offering: Offering, at) -> WaitlistEntry:
    return WaitlistEntry.objects.create(
        offering=offering,
        organization=buyer,
        quantity=8,
        hours=4,
        earliest_at=at,
        latest_at=at + 48 * HOUR,
        max_net_minor=20_000,
        created_at=at,
        state_at=at,
        actor="test",
    )
