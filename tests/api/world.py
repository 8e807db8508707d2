"""A market to ask over the API: Sun and Moon buy, North and South sell, each with rows of every kind and a key with all scopes."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from billing import claims, disputes, invoicing, parties
from billing.models import EventSource, Invoice, Programme, UsageEvent
from marketplace import capacity, keys, listings, people, projects, reservations
from marketplace.metering import gpu_meter
from marketplace.models import (
    ApiKey,
    Invitation,
    JoinRequest,
    Membership,
    Offering,
    Organization,
    Reservation,
    User,
)
from marketplace.provisioning.manual import Manual
from tests.billing import programmes_world
from tests.billing import world as billing_world
from tests.marketplace import booking, seller

AT, START, HOUR, DAY = booking.AT, booking.START, booking.HOUR, booking.DAY
APRIL = datetime(2020, 3, 31, 16, tzinfo=UTC)  # midnight of 1 April in Shanghai
SCOPES = ApiKey.Scope.values
WISH = {"quantity": 8, "start_at": "2020-05-12T00:00:00Z", "end_at": "2020-05-12T10:00:00Z"}


def later(hours: int) -> str:
    """START and so many hours, as the API says it."""
    return (START + hours * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Tenant:
    """An organization, its key, and the ids of what it has, by what the API's paths and bodies call them."""

    organization: Organization
    token: str = ""
    ids: dict[str, list] = field(default_factory=dict)

    def key(self, *scopes: str) -> str:
        _, token = keys.create_key(organization=self.organization, name="test", scopes=scopes or SCOPES, at=AT)
        return token


@dataclass
class World:
    market: booking.Market
    sun: Tenant
    moon: Tenant
    north: Tenant
    south: Tenant

    @property
    def tenants(self) -> dict[str, Tenant]:
        return {name: getattr(self, name) for name in ("sun", "moon", "north", "south")}


def make_world() -> World:
    """At AT. Offerings "north-offering" and "south-offering" are on sale under the operator's tariff "T"."""
    market = booking.make_market()
    south = market.other.pool.site.provider
    organizations = {"sun": market.sun, "moon": market.moon, "north": market.north, "south": south}
    tenants = {name: Tenant(organization) for name, organization in organizations.items()}
    listings.refresh(offering_ids=Offering.objects.on_sale().values_list("pk", flat=True), at=AT)
    for name, tenant in tenants.items():
        _key, tenant.token = keys.create_key(organization=tenant.organization, name=name, scopes=SCOPES, at=AT)
        user = User.objects.create(email=f"owner@{name}.example.com", name=name.title())
        people.add_member(organization=tenant.organization, user=user, role=Membership.Role.OWNER, at=AT, actor="test")
    world = World(market, **tenants)
    for number, (name, offering) in enumerate([("sun", market.offering), ("moon", market.other)]):
        buy(tenants[name], offering, number)
    for name, offering in (("north", market.offering), ("south", market.other)):
        supply(tenants[name], name, offering)
    return world


def buy(tenant: Tenant, offering: Offering, number: int) -> None:
    """A project, a confirmed reservation, a quote beside it and a wish."""
    organization = tenant.organization
    project = projects.add_project(
        organization=organization, code=f"research-{number}", name="Research", at=AT, actor="test"
    )
    facts = {"offering": offering, "organization": organization, "project": project, "quantity": 8}
    span = {"start_at": START, "end_at": START + 10 * HOUR}
    quote = reservations.quote(**facts, **span, at=AT, actor="test")
    held = reservations.hold(quote=quote, at=AT, actor="test")
    reservations.confirm(reservation=held, at=AT, actor="test")
    other = reservations.quote(**facts, **span, at=AT, actor="test")
    waits = {"hours": 4, "earliest_at": START, "latest_at": START + DAY, "max_net_minor": 100}
    entry = reservations.join_waitlist(**facts, **waits, at=AT, actor="test")
    tenant.ids = {
        "projects": [project.code],
        "quotes": [str(quote.pk), str(other.pk)],
        "reservations": [str(held.pk)],
        "waitlist": [str(entry.pk)],
        "project": [project.code],
    }


def supply(tenant: Tenant, name: str, offering: Offering) -> None:
    """Maintenance, an outage of the second pool, a tariff of its own and a draft under it; a task for what is reserved."""
    pool = offering.pool
    spare = seller.make_pool(tenant.organization, f"{name}-spare", site=f"{name}-2", gpus=8)
    window = {"start_at": START + DAY, "end_at": START + DAY + HOUR}
    planned = capacity.plan_maintenance(pool=pool, quantity=8, reason="fans", **window, at=AT, actor="test")
    outage = capacity.open_outage(pool=spare, quantity=8, start_at=AT, cause="power", at=AT, actor="test")
    version = seller.prices(tenant.organization, at=AT, code=f"{name}-prices", effective=["2020-05-01", None])
    draft = seller.draft(spare, version, f"{name}-draft", at=AT)
    reserved = Reservation.objects.get(pool=pool)
    Manual().start(reservation=reserved, due_at=START, at=AT)
    tenant.ids = {
        "supply/sites": [pool.site.code, spare.site.code],
        "supply/pools": [pool.pk, spare.pk],
        "supply/maintenance": [planned.pk],
        "supply/incidents": [outage.pk],
        "supply/offerings": [offering.code, draft.code],
        "supply/tariffs": [version.tariff_id],
        "supply/tasks": [reserved.tasks.get().pk],
        "supply/reservations": [str(reserved.pk)],
        "reservation": [str(reserved.pk)],
        "offerings": [draft.code],
        "site": [pool.site.code],
        "pool": [pool.pk],
        "tariff": [version.tariff.code],
        "offering": [draft.code],
    }


def make_affairs(world: World) -> None:
    """Of each tenant a document, a fact, an invitation, a request to join and what became of a member; ids of its keys."""
    for name, tenant in world.tenants.items():
        organization, party = tenant.organization, tenant.organization.party
        asker = User.objects.create(email=f"asker@{name}.example.com", name="Asker")
        document = parties.add_evidence(
            party=party, name="licence.pdf", content=b"%PDF-" + name.encode(), at=AT, actor="t"
        )
        facts = {"kind": "sector", "value": "software", "from_date": AT.date(), "evidence": document}
        fact = parties.claim_fact(party=party, **facts, at=AT, actor="test")
        invitation = Invitation.objects.create(
            organization=organization,
            email=f"invited@{name}.example.com",
            role="viewer",
            language="en",
            token_sha256=hashlib.sha256(name.encode()).hexdigest(),
            created_at=AT,
            expires_at=AT + 7 * DAY,
            actor="test",
        )
        asked = JoinRequest.objects.create(user=asker, organization=organization, created_at=AT)
        tenant.ids |= {
            "members": [organization.memberships.get().pk],
            "members/changes": [organization.membership_changes.get().pk],
            "invitations": [invitation.pk],
            "join-requests": [asked.pk],
            "facts": [fact.pk],
            "evidence": [document.pk],
            "keys": [ApiKey.objects.get(organization=organization, name=name).pk],
        }


def make_bills(world: World) -> None:
    """Sun bought of north, and moon of south, 8 GPU-hours in April, at 8.00 CNY and 6 % VAT: issued. One event each."""
    version = billing_world.publish(code="OLD", effective=["2020-04-01", None])
    meter = gpu_meter()
    for name, provider in (("sun", "north"), ("moon", "south")):
        buyer, seller_party = world.tenants[name], world.tenants[provider].organization.party
        account = buyer.organization.party.accounts.get()
        span = {"start_at": APRIL, "end_at": billing_world.MAY}
        contract = billing_world.contract(account, version.tariff, number=f"C-{name}", by=seller_party, **span)
        billing_world.read(contract, *[7200] * 4, start_at=APRIL)
        source = EventSource.objects.create(owner=seller_party, name="rack")
        held = {"meter": meter, "duration_seconds": 3600, "value": 8, "quantity": 28_800}
        UsageEvent.objects.create(
            source=source, event_id=f"{name}-1", contract=contract, time=APRIL, recorded_at=APRIL, **held
        )
        buyer.ids |= {
            "contracts": [contract.number],
            "contract": [contract.number],
            "account": [account.code],
            "accounts": [account.pk],
        }
    period = invoicing.open_period(issuer=world.market.issuer, code="2020-04")
    assert not billing_world.close(period, at=billing_world.MAY).refused
    for invoice in Invoice.objects.select_related("account__party__organization"):
        tenant = world.tenants[invoice.account.party.organization.name.lower()]
        tenant.ids["invoices"] = [invoice.number]


def make_owed(world: World, *names: str) -> None:
    """After make_bills(): May of Sun and Moon, or of others, is issued, and each has a reimbursement of its own, of which 30 %
    are owed.
    """
    version = billing_world.publish(code="NEW")
    for number, name in enumerate(names or ("sun", "moon"), 61):
        tenant = world.tenants[name]
        account = tenant.organization.party.accounts.get(code=tenant.ids["account"][0])
        funder = programmes_world.funder(number)
        mode = Programme.Mode.REIMBURSEMENT
        made = programmes_world.programme(world.market.issuer, f"{name}-30", mode=mode, funder=funder)
        programmes_world.grant(made, account)
        billing_world.read(billing_world.contract(account, version.tariff, number=f"C-may-{name}"), 7200)
        may = billing_world.may(world.market.issuer)
        invoicing.issue(account=account, period=may, at=billing_world.JUNE, actor="test")
        tenant.ids["programme"] = [made.code]


def make_contested(world: World, *names: str) -> None:
    """After make_owed(): a claim of what is owed, and a dispute of the invoice of April."""
    for name in names or ("sun", "moon"):
        tenant = world.tenants[name]
        [number] = tenant.ids["invoices"]
        [dispute] = disputes.open_all(document=Invoice.objects.get(number=number), reason="x", at=AT, actor="test")
        claim = claims.claim(
            programme=Programme.objects.get(code=f"{name}-30"),
            key=name,
            from_month="2020-05",
            until_month="2020-05",
            claimant=tenant.organization.party,
            at=billing_world.JUNE,
            actor="test",
        )
        tenant.ids |= {"disputes": [dispute.pk], "claims": [claim.pk], "invoice": [number]}
