"""A small market to reserve on: a zone with two buyers and two providers, each with a pool on sale, in May 2020."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from billing.models import Contract, Issuer, ReservedSpan, TariffVersion
from marketplace import capacity, people, reservations
from marketplace.models import (
    CapacityPool,
    Offering,
    Organization,
    Project,
    Reservation,
    ReservationMonth,
    User,
    Zone,
)
from tests.billing import world
from tests.marketplace import market

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
AT = datetime(2020, 5, 10, 8, 30, tzinfo=UTC)
START = datetime(2020, 5, 12, tzinfo=UTC)  # 39.5 hours after AT
CAPACITY = {"kind": "capacity", "code": "CP", "price": "2.00", "per": "unit_hour"}


@dataclass(frozen=True)
class Market:
    """Sun and moon buy. North sells 64 GPUs at 2.00 a GPU-hour reserved and 8.00 used, 6 % VAT on top; south sells too."""

    zone: Zone
    issuer: Issuer
    sun: Organization
    moon: Organization
    north: Organization
    pool: CapacityPool
    offering: Offering
    other: Offering
    version: TariffVersion

    def quote(self, **changes):
        """8 GPUs for 10 hours from START, for sun: 800.00 CNY net."""
        facts = {
            "offering": self.offering,
            "organization": self.sun,
            "quantity": 8,
            "start_at": START,
            "end_at": START + 10 * HOUR,
            "at": AT,
            "actor": "user:1",
        } | changes
        return reservations.quote(**facts)

    def held(self, **changes) -> Reservation:
        minutes = changes.pop("minutes", reservations.HOLD_MINUTES)
        at = changes.get("at", AT)
        return reservations.hold(quote=self.quote(**changes), at=at, actor="user:1", minutes=minutes)

    def confirmed(self, **changes) -> Reservation:
        at = changes.get("at", AT)
        return reservations.confirm(reservation=self.held(**changes), at=at, actor="user:1")

    def active(self, **changes) -> Reservation:
        row = self.confirmed(**changes)
        return reservations.start(reservation=row, at=row.start_at, actor="task:controller")

    def project(self, code="research", **changes) -> Project:
        facts = {
            "organization": self.sun,
            "code": code,
            "name": code,
            "monthly_limit_minor": 100_000,
            "warn_percents": [50, 80, 100],
            "created_at": AT,
            "actor": "test",
        } | changes
        return Project.objects.create(**facts)


def make_market(**changes) -> Market:
    """`changes` are of north's offering."""
    version = world.publish(CAPACITY, world.energy())
    issuer = world.issuer()
    zone = Zone.objects.create(code="lg", name="临港", name_en="Lin-gang", issuer=issuer)
    north, south = (
        people.make_organization(zone=zone, party=world.provider(n), name=name, parts={"provider"})
        for n, name in ((2, "North"), (3, "South"))
    )
    sun, moon = (
        people.make_organization(zone=zone, party=world.party(n), name=name, parts={"buyer"})
        for n, name in ((100, "Sun"), (101, "Moon"))
    )
    facts = {"state": "published", "min_hours": 2} | changes
    offerings = [
        market.make_offering(market.make_pool(each, AT), version.tariff, AT, **facts) for each in (north, south)
    ]
    return Market(zone, issuer, sun, moon, north, offerings[0].pool, *offerings, version)


def taken(pool: CapacityPool, start_at=START, hours=10) -> list[int]:
    """What is taken in each of these hours."""
    free = capacity.free_by_hour(pools=[pool], start_at=start_at, end_at=start_at + hours * HOUR)[pool.pk]
    return [pool.gpus - each for each in free]


def spans(contract: Contract | None = None) -> list[tuple]:
    """(source's tail, quantity, hours after START of start and end) of what is reserved and not withdrawn."""
    rows = ReservedSpan.objects.filter(withdrawn_at=None).order_by("start_at", "id")
    return [
        (row.source.count(":"), row.quantity, (row.start_at - START) / HOUR, (row.end_at - START) / HOUR)
        for row in (rows if contract is None else rows.filter(contract=contract))
    ]


def months(reservation: Reservation) -> dict[str, tuple[int, int]]:
    """Month to (net, fee)."""
    rows = ReservationMonth.objects.filter(reservation=reservation).order_by("month")
    return {row.month: (row.net_minor, row.fee_minor) for row in rows}


def history(reservation: Reservation) -> list[str]:
    return list(reservation.changes.order_by("id").values_list("kind", flat=True))


def same(row: Reservation) -> SimpleNamespace:
    """The stored row's fields, to compare before and after."""
    fresh = Reservation.objects.filter(pk=row.pk).values().get()
    return SimpleNamespace(**fresh)


def people_of(organization: Organization, name: str) -> None:
    """Its owner, engineer and finance: ROLE@NAME.example.com; the owner reads English, the others Chinese."""
    for role in ("owner", "engineer", "finance"):
        user = User.objects.create(email=f"{role}@{name}.example.com", language="en" if role == "owner" else "zh-hans")
        people.add_member(organization=organization, user=user, role=role, at=AT, actor="test")
