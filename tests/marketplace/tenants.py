"""Two buyers and two providers with rows of every kind, for tests of who sees what."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache

from django.contrib.auth.hashers import make_password

from billing.models import (
    Account,
    BillingPeriod,
    Contract,
    EventSource,
    Invoice,
    Issuer,
    Meter,
    Party,
    Reading,
    ReservedSpan,
    Tariff,
    TariffVersion,
    UsageEvent,
)
from marketplace import keys, people
from marketplace.models import ApiKey, Membership, Offering, Organization, Reservation, User, Zone
from tests.billing import world
from tests.billing.world import dispute_row, draft_row, issue_row, problem_row
from tests.marketplace import market

AT = datetime(2026, 5, 1, tzinfo=UTC)
PASSWORD = "a long enough password"
CREDIT_CODES = {
    "operator": "91310115MA1K35WU93",
    "sun": "91310000MA1FL0LY25",
    "moon": "91310104MA1FR8BU5H",
    "north": "91310115MA1H7CCA7X",
    "south": "91310230MA1JX2QP0T",
}
_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def credit_code(name: str) -> str:
    """CREDIT_CODES with the check digit of GB 32100-2015 that belongs to it."""
    stem = CREDIT_CODES[name][:17]
    total = sum(_DIGITS.index(digit) * pow(3, place, 31) for place, digit in enumerate(stem))
    return stem + _DIGITS[-total % 31]


@dataclass(frozen=True)
class Tenant:
    """One organization with its people (by role), its key, and what hangs on its account or its supply."""

    name: str
    organization: Organization
    users: dict[str, User]
    key: ApiKey
    token: str
    account: Account | None = None
    contract: Contract | None = None
    invoice: Invoice | None = None
    draft: Invoice | None = None
    reservation: Reservation | None = None
    offering: Offering | None = None

    @property
    def owner(self) -> User:
        return self.users["owner"]


@dataclass(frozen=True)
class Tenants:
    """Sun buys from north, moon from south, in one zone whose operator is neither. `staff` belongs to none."""

    zone: Zone
    issuer: Issuer
    sun: Tenant
    moon: Tenant
    north: Tenant
    south: Tenant
    staff: User


@cache
def _password() -> str:
    return make_password(PASSWORD)


def make_user(name: str, **fields) -> User:
    """A user NAME@example.com with PASSWORD, hashed once for all of them."""
    return User.objects.create(email=f"{name}@example.com", name=name.title(), password=_password(), **fields)


def make_tenant(zone: Zone, name: str, part: str, **rest) -> Tenant:
    party = Party.objects.get_or_create(
        credit_code=credit_code(name), defaults={"legal_name": f"{name} Ltd", "created_at": AT}
    )[0]
    organization = people.make_organization(zone=zone, party=party, name=name.title(), parts={part})
    users = {role: make_user(f"{role}.{name}") for role in Membership.Role.values}
    for role, user in users.items():
        people.add_member(organization=organization, user=user, role=role, at=AT, actor="test")
    market.make_joining(organization, users["viewer"], AT)
    key, token = keys.create_key(
        organization=organization, name=f"{name} meter", scopes=ApiKey.Scope.values, at=AT, created_by=users["owner"]
    )
    return Tenant(name, organization, users, key, token, **rest)


def make_supply(zone: Zone, issuer: Issuer, meter: Meter, name: str, provider: Organization) -> dict:
    """An account with a contract, usage, and the invoice of April and the draft of May."""
    party = Party.objects.create(legal_name=f"{name} Ltd", credit_code=credit_code(name), created_at=AT)
    account = Account.objects.create(issuer=issuer, code=name, party=party, created_at=AT)
    tariff = Tariff.objects.create(code=f"{name}-tariff", name=f"{name} tariff")
    prices = world.document(world.energy(meter=meter.code), code=tariff.code, effective=["2026-05-01", None])
    version = TariffVersion.objects.create(
        tariff=tariff, version=1, effective_at=AT, document=prices, sha256="0" * 64, published_at=AT, actor="test"
    )
    contract = Contract.objects.create(
        number=f"{name}-1",
        account=account,
        tariff=tariff,
        provider=provider.party,
        fee_percent=10,
        start_at=AT,
        actor="test",
    )
    ReservedSpan.objects.create(contract=contract, quantity=8, start_at=AT, source=f"{name}-span")
    source = EventSource.objects.get_or_create(owner=provider.party, name=f"meters of {provider.name}")[0]
    UsageEvent.objects.create(
        source=source,
        event_id=f"{name}-1",
        contract=contract,
        meter=meter,
        time=AT,
        value=8,
        quantity=480,
        recorded_at=AT,
    )
    Reading.objects.create(contract=contract, meter=meter, start_at=AT, quantity=480)
    problem_row(owner=provider.party, event_id=f"{name}-1", at=AT)
    return {
        "account": account,
        "contract": contract,
        "invoice": _invoice(account, contract, version, meter, "2026-04", issued=True),
        "draft": _invoice(account, contract, version, meter, "2026-05"),
    }


def _invoice(account, contract, version, meter, code, *, issued=False) -> Invoice:
    period = BillingPeriod.objects.get(issuer=account.issuer, code=code)
    units = {"base_unit": meter.base_unit, "unit": meter.unit}
    invoice = draft_row(contract=contract, version=version, period=period, at=AT, charge="energy", **units)
    if issued:
        issue_row(invoice, at=AT, due_date=date(2026, 6, 1))
        dispute_row(invoice, at=AT)
    return invoice


def make_tenants() -> Tenants:
    operator = Party.objects.create(legal_name="Operator Ltd", credit_code=credit_code("operator"), created_at=AT)
    issuer = Issuer.objects.create(
        code="lingang", party=operator, timezone="Asia/Shanghai", currency="CNY", number_prefix="LG"
    )
    zone = Zone.objects.create(code="lingang", name="临港", name_en="Lin-gang", issuer=issuer)
    for month in (4, 5):
        start_at = datetime(2026, month, 1, tzinfo=UTC) - timedelta(hours=8)
        last = date(2026, month + 1, 1) - timedelta(days=1)
        BillingPeriod.objects.create(
            issuer=issuer,
            code=f"2026-{month:02}",
            timezone="Asia/Shanghai",
            start_at=start_at,
            end_at=datetime(2026, month + 1, 1, tzinfo=UTC) - timedelta(hours=8),
            last_date=last,
        )
    meter = Meter.objects.create(
        code="gpu",
        name="GPU",
        event_type="gpu.sample",
        kind="gauge",
        aggregation="sum",
        base_unit="GPU-second",
        unit="GPU-hour",
        demand_unit="GPU",
        base_per_unit=3600,
    )
    tenants = {name: make_tenant(zone, name, "provider") for name in ("north", "south")}
    for name, provider in (("sun", "north"), ("moon", "south")):
        supply = make_supply(zone, issuer, meter, name, tenants[provider].organization)
        tenant = make_tenant(zone, name, "buyer", **supply)
        offering = market.make_supplied(tenants[provider].organization, supply["contract"].tariff, AT)
        reservation = market.make_reserved(tenant.organization, offering, supply["contract"], AT)
        tenants[provider] = replace(tenants[provider], offering=offering)
        tenants[name] = replace(tenant, reservation=reservation)
    return Tenants(zone=zone, issuer=issuer, staff=make_user("staff", is_staff=True, is_superuser=True), **tenants)
