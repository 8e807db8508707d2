"""`rows(n)`: n rows of every model that the admin lists, each on a chain of its own."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count

from billing import ledger, parties
from billing.models import (
    Account,
    Adjustment,
    BillingPeriod,
    BudgetPeriod,
    Commitment,
    Contract,
    EventSource,
    Grant,
    Issuer,
    LedgerAccount,
    Meter,
    NumberSeries,
    Party,
    ProgrammeShare,
    Reading,
    Redemption,
    ReservedSpan,
    Tariff,
    TariffVersion,
    UsageEvent,
)
from marketplace import keys, people
from marketplace.models import AcceleratorModel, Job, MeterSilence, Organization, Provision, Pulse, SignUp, User, Zone
from tests.billing.world import dispute_row, draft_row, issue_row, problem_row
from tests.marketplace import market

AT = datetime(2026, 5, 10, 4, tzinfo=UTC)
START, END = datetime(2026, 4, 30, 16, tzinfo=UTC), datetime(2026, 5, 31, 16, tzinfo=UTC)
_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_number = count(1)


def credit_code(number: int) -> str:
    stem = f"91310000MA1K{number:05}"
    return stem + _DIGITS[-sum(_DIGITS.index(digit) * pow(3, place, 31) for place, digit in enumerate(stem)) % 31]


def rows(n: int) -> None:
    for _ in range(n):
        chain(next(_number))


def chain(i: int) -> Contract:
    """One row of each model."""
    party = Party.objects.create(legal_name=f"Firm {i}", credit_code=credit_code(i), created_at=AT)
    issuer = Issuer.objects.create(
        code=f"issuer-{i}", party=party, timezone="Asia/Shanghai", currency="CNY", number_prefix=f"P{i}"
    )
    NumberSeries.objects.create(issuer=issuer, series="2026", last_number=1)
    zone = Zone.objects.create(code=f"zone-{i}", name=f"区 {i}", name_en=f"Zone {i}", issuer=issuer)
    account = Account.objects.create(issuer=issuer, code=f"account-{i}", party=party, created_at=AT)
    tariff = Tariff.objects.create(code=f"tariff-{i}", name=f"Tariff {i}")
    version = TariffVersion.objects.create(
        tariff=tariff, version=1, effective_at=START, document={}, sha256="0" * 64, published_at=AT, actor="test"
    )
    contract = Contract.objects.create(
        number=f"C-{i}", account=account, tariff=tariff, provider=party, fee_percent=10, start_at=START, actor="test"
    )
    ReservedSpan.objects.create(contract=contract, quantity=8, start_at=START, source="order")
    meter = _usage(i, contract)
    period = BillingPeriod.objects.create(
        issuer=issuer,
        code="2026-05",
        timezone="Asia/Shanghai",
        start_at=START,
        end_at=END,
        last_date=date(2026, 5, 31),
    )
    _money(i, contract, version, period)
    parts = {"buyer", "provider"}
    organization = people.make_organization(zone=zone, party=party, name=f"Firm {i}", parts=parts)
    AcceleratorModel.objects.create(slug=f"model-{i}", vendor="Test", name=f"Model {i}")
    offering = market.make_supplied(organization, tariff, AT)
    reserved = market.make_reserved(organization, offering, contract, AT)
    _funded(contract)
    Provision.objects.create(reservation=reserved, due_at=reserved.start_at, seen_at=AT)
    user = User.objects.create(email=f"user{i}@example.com")
    people.add_member(organization=organization, user=user, role="owner", at=AT, actor="test")
    _joining(i, organization, user)
    keys.create_key(organization=organization, name=f"key {i}", scopes=["usage:write"], at=AT, created_by=user)
    Job.objects.create(kind="tidy", key=str(i), due_at=AT, created_at=AT)
    Pulse.objects.create(worker=f"worker-{i}", asked_at=AT, answered_at=AT)
    MeterSilence.objects.create(contract=contract, meter=meter, since_at=AT, found_at=AT)
    return contract


def _joining(i: int, organization: Organization, user: User) -> None:
    """Signed up, verified, with somebody invited and somebody who asked; a second organization, with a fact, waits."""
    market.make_joining(organization, user, AT)
    SignUp.objects.create(
        email=f"new{i}@example.com",
        name="New",
        password="!",
        language="en",
        zone=organization.zone,
        legal_name=f"New {i}",
        credit_code=credit_code(i + 5000),
        parts=["buyer"],
        sector="software",
        size_class="small",
        created_at=AT,
    )
    party = Party.objects.create(legal_name=f"Waiting {i}", credit_code=credit_code(i + 7000), created_at=AT)
    facts = {"zone": organization.zone, "party": party, "name": party.legal_name, "parts": {"buyer"}}
    people.found_organization(**facts, at=AT, actor="test")
    parties.claim_fact(party=party, kind="sector", value="software", from_date=AT.date(), at=AT, actor="test")


def _funded(contract: Contract) -> None:
    """The programme that the buyer applied for has a budget, has promised something, and pays a part of the draft's line."""
    grant = Grant.objects.get(party=contract.account.party)
    BudgetPeriod.objects.create(
        programme=grant.programme,
        code="2026",
        from_date=date(2026, 1, 1),
        until_date=date(2026, 12, 31),
        budget_minor=100_000,
    )
    Commitment.objects.create(
        grant=grant,
        account=contract.account,
        month="2026-05",
        source="test",
        wanted_minor=100,
        amount_minor=100,
        expires_at=AT + timedelta(days=60),
        created_at=AT,
        actor="test",
    )
    line = contract.invoice_lines.get(invoice__state="draft")
    share = ProgrammeShare.objects.create(
        invoice=line.invoice,
        programme=grant.programme,
        grant=grant,
        month="2026-05",
        eligible_minor=10_000,
        wanted_minor=3_000,
        share_minor=3_000,
    )
    Redemption.objects.create(share=share, line=line, amount_minor=3_000)


def _usage(i: int, contract: Contract) -> Meter:
    meter = Meter.objects.create(
        code=f"meter-{i}",
        name=f"Meter {i}",
        event_type=f"type.{i}",
        kind="gauge",
        aggregation="sum",
        base_unit="gpu_second",
        unit="gpu_hour",
        demand_unit="gpu",
        base_per_unit=3600,
    )
    source = EventSource.objects.create(owner=contract.provider, name=f"source {i}")
    matched = {"contract": contract, "meter": meter, "value": 8, "quantity": 7200, "duration_seconds": 900}
    UsageEvent.objects.create(source=source, event_id=f"e{i}", time=AT, recorded_at=AT, **matched)
    UsageEvent.objects.create(
        source=source,
        event_id=f"u{i}",
        time=AT,
        recorded_at=AT,
        type=f"type.{i}",
        subject=f"unknown-{i}",
        value=Decimal(8),
        unmatched_reason="unknown_subject",
    )
    problem_row(owner=contract.provider, event_id=f"p{i}", at=AT)
    for intervals in (0, 4):
        at = AT + timedelta(minutes=15 * intervals)
        Reading.objects.create(contract=contract, meter=meter, start_at=at, quantity=7200)
    return meter


def _money(i: int, contract: Contract, version: TariffVersion, period: BillingPeriod) -> None:
    units = {"base_unit": "gpu_second", "unit": "gpu_hour"}
    draft_row(contract=contract, version=version, period=period, at=AT, charge="EN", tou_period="peak", **units)
    april = BillingPeriod.objects.create(
        issuer=period.issuer,
        code="2026-04",
        timezone="Asia/Shanghai",
        start_at=datetime(2026, 3, 31, 16, tzinfo=UTC),
        end_at=START,
        last_date=date(2026, 4, 30),
    )
    issued = draft_row(contract=contract, version=version, period=april, at=AT, charge="EN", tou_period="peak", **units)
    issue_row(issued, at=AT, due_date=date(2026, 6, 9))
    dispute_row(issued, at=AT)
    line = {"contract": contract.number, "charge": "EN", "kind": "energy", "tou_period": "peak", "tier": None}
    figures = {"quantity_before": "1.000000", "quantity_after": "2.000000", "unit": "gpu_hour"}
    net = {"amount_before_minor": 10_000, "amount_after_minor": 20_000, "start": april.start_at.isoformat()}
    Adjustment.objects.create(
        invoice=issued, cause="usage", lines=[line | figures | net], net_minor=10_000, tax_minor=600, found_at=AT
    )
    kinds, account = LedgerAccount.Kind, contract.account
    receivable = ledger.account(
        issuer=account.issuer, name="receivable", kind=kinds.ASSET, currency="CNY", account=account
    )
    revenue = ledger.account(issuer=account.issuer, name="revenue", kind=kinds.INCOME, currency="CNY")
    ledger.post(
        issuer=account.issuer,
        key=f"invoice:{i}",
        period=period,
        effective_date=date(2026, 5, 31),
        source="test",
        postings=[(receivable, 10_600), (revenue, -10_600)],
        at=AT,
        actor="test",
    )
