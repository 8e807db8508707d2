"""What the providers' admin shows: both tenants' rows with all that could leak, and as many rows of one provider as wanted."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import count

from django.db import connection

from billing.models import Account, BillingPeriod, Contract, Meter, Party, Reading, ReservedSpan, Tariff, TariffVersion
from marketplace import people
from marketplace.models import AcceleratorModel, CapacityPool, Offering, Organization, Site
from tests.billing import world
from tests.marketplace import market
from tests.marketplace.tenants import AT, _invoice, make_tenants
from tests.web.admin_world import credit_code

HOUR = timedelta(hours=1)
NOW = datetime(2026, 5, 1, 1, 30, tzinfo=UTC)
NOT_OURS = ("django_session", "axes_accesslog", "axes_accessattempt", "axes_accessfailurelog")
OPEN = (AcceleratorModel,)
_number = count(7000)


def two_tenants():
    """`tenants`, where each provider also has a tariff of its own, and what it offers is on sale: others' is in sight."""
    tenants = make_tenants()
    for provider in (tenants.north, tenants.south):
        own_tariff(provider.organization, f"{provider.name}-prices")
    Offering.objects.update(state="published")
    return tenants


def own_tariff(provider: Organization, code: str) -> Tariff:
    tariff = Tariff.objects.create(code=code, name=f"{code} list", owner=provider.party)
    document = world.document(
        world.energy(meter=Meter.objects.values_list("code", flat=True)[0]), code=code, effective=["2026-05-01", None]
    )
    TariffVersion.objects.create(
        tariff=tariff, version=1, effective_at=AT, document=document, sha256="0" * 64, published_at=AT, actor="test"
    )
    return tariff


def snapshot() -> dict[str, str]:
    """What every table holds, sessions, the log of sign-ins and when people last signed in apart."""
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if name not in NOT_OURS]
        parts = [
            f"SELECT '{name}', md5(coalesce(string_agg(r, '|' ORDER BY r), '')) FROM (SELECT (to_jsonb(t) - 'last_login')::text r FROM \"{name}\" t) rows"
            for name in tables
        ]
        cursor.execute(" UNION ALL ".join(parts))
        return dict(cursor.fetchall())


def supply(provider: Organization, zone, rows: int) -> None:
    """So many rows of every model for one provider: site, pool, plans, incident, offering, own prices, a buyer's reservation."""
    meter = Meter.objects.get()
    for _ in range(rows):
        _chain(next(_number), provider, zone, meter)


def _chain(i: int, provider: Organization, zone, meter: Meter) -> None:
    accelerator = AcceleratorModel.objects.create(slug=f"model-{i}", vendor="Test", name=f"Model {i}")
    site = Site.objects.create(provider=provider, code=f"site-{i}", name=f"Site {i}", region=f"Region {i}")
    pool = CapacityPool.objects.create(site=site, accelerator=accelerator, code=f"pool-{i}", name=f"Pool {i}", gpus=64)
    market.Maintenance.objects.create(
        pool=pool, quantity=8, start_at=AT, end_at=AT + HOUR, reason="fans", created_at=AT, actor="test"
    )
    market.Incident.objects.create(
        pool=pool, kind="outage", quantity=8, start_at=AT, cause="power", opened_at=AT, actor="test"
    )
    tariff = own_tariff(provider, f"tariff-{i}")
    offering = market.make_offering(pool, tariff, AT)
    market.OfferingChange.objects.create(offering=offering, to_state="draft", at=AT, actor="test")
    party = Party.objects.create(legal_name=f"Buyer {i}", credit_code=credit_code(i), created_at=AT)
    buyer = people.make_organization(zone=zone, party=party, name=f"Buyer {i}", parts={"buyer"})
    account = Account.objects.create(issuer=zone.issuer, code=f"buyer-{i}", party=party, created_at=AT)
    contract = Contract.objects.create(
        number=f"C-{i}",
        account=account,
        tariff=tariff,
        provider=provider.party,
        fee_percent=10,
        start_at=AT,
        actor="test",
    )
    ReservedSpan.objects.create(contract=contract, quantity=8, start_at=AT, source="order")
    market.make_reserved(buyer, offering, contract, AT)
    Reading.objects.create(contract=contract, meter=meter, start_at=AT + 2 * HOUR, quantity=7200)


def prices(code: str, effective: list[str | None]) -> str:
    """A tariff document as text."""
    meter = Meter.objects.get().code
    return json.dumps(world.document(world.energy(meter=meter), code=code, effective=effective))


def two_of_june(tenants) -> BillingPeriod:
    """A month in which only the other provider's buyer is invoiced."""
    period = BillingPeriod.objects.create(
        issuer=tenants.issuer,
        code="2026-06",
        timezone="Asia/Shanghai",
        start_at=datetime(2026, 5, 31, 16, tzinfo=UTC),
        end_at=datetime(2026, 6, 30, 16, tzinfo=UTC),
        last_date=date(2026, 6, 30),
    )
    contract = tenants.moon.contract
    version = TariffVersion.objects.get(tariff=contract.tariff)
    _invoice(tenants.moon.account, contract, version, Meter.objects.get(), "2026-06", issued=True)
    return period
