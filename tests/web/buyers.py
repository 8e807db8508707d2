"""Two buyers with users, a tariff with times of use and tiers, and readings of exact size: what tests of pages stand on.

It is 20 May 2020, 12:07 in Shanghai (`NOW`), unless a test says otherwise.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing import contracts
from billing.models import Account, Contract, Issuer, Tariff
from marketplace import people
from marketplace.models import Organization, User, Zone
from tests.billing import world
from tests.marketplace.tenants import make_user

NOW = datetime(2020, 5, 20, 4, 7, tzinfo=UTC)
DAY = ["valley"] * 8 + ["peak"] * 12 + ["valley"] * 4
TARIFF = {
    "periods": ["peak", "valley"],
    "schedule": {"weekday": [DAY], "weekend": [DAY]},
}
CHARGES = (
    world.energy(
        prices={"peak": [{"up_to": "100", "price": "6.00"}, {"price": "5.00"}], "valley": [{"price": "2.00"}]},
        tier_basis="month",
        tier_scope="per_period",
        tier_mode="graduated",
    ),
    {
        "kind": "demand",
        "code": "DM",
        "meter": "gpu_hours",
        "interval_minutes": 15,
        "by": "month",
        "prices": {"all": [{"price": "30.00"}]},
    },
    {"kind": "capacity", "code": "CP", "price": "1.00", "per": "unit_hour"},
    {"kind": "rider", "code": "PWR", "basis": "per_unit", "of": ["EN"], "value": "0.10"},
)


@dataclass
class Buyer:
    organization: Organization
    account: Account
    contracts: list[Contract]
    owner: User
    viewer: User

    @property
    def contract(self) -> Contract:
        return self.contracts[0]


@dataclass
class Zoned:
    issuer: Issuer
    zone: Zone
    tariff: Tariff
    sun: Buyer
    moon: Buyer


def make(*, number_of_contracts: int = 1) -> Zoned:
    """Sun with that many contracts of 4 reserved GPUs each, and moon with one."""
    issuer = world.issuer()
    zone = Zone.objects.create(code="lg", name="临港", name_en="Lin-gang", issuer=issuer)
    tariff = world.publish(*CHARGES, effective=["2020-04-01", None], **TARIFF).tariff
    sun = make_buyer(issuer, zone, tariff, "sun", 100, number_of_contracts)
    moon = make_buyer(issuer, zone, tariff, "moon", 200, 1)
    return Zoned(issuer, zone, tariff, sun, moon)


def make_buyer(issuer, zone, tariff, name, number, number_of_contracts) -> Buyer:
    account = world.account(issuer, name, number)
    organization = people.make_organization(zone=zone, party=account.party, name=name.title(), parts={"buyer"})
    signed = []
    for place in range(number_of_contracts):
        signed.append(world.contract(account, tariff, number=f"C-{name}-{place + 1}", start_at=APRIL))
        contracts.reserve(contract=signed[-1], quantity=4, start_at=APRIL, source="reservation:1")
    users = {}
    for role in ("owner", "viewer"):
        users[role] = make_user(f"{role}.{name}")
        people.add_member(organization=organization, user=users[role], role=role, at=NOW, actor="test")
    return Buyer(organization, account, signed, users["owner"], users["viewer"])


APRIL = datetime(2020, 3, 31, 16, tzinfo=UTC)


def hourly(contract: Contract, gpus: int, *, start_at: datetime, hours: int) -> None:
    """Readings of `gpus` GPUs held for that long."""
    world.read(contract, *[gpus * 900] * (hours * 4), start_at=start_at)


def local(day: int, hour: int = 0, *, month: int = 5) -> datetime:
    """An instant of 2020 in Shanghai."""
    return datetime(2020, month, day, hour, tzinfo=UTC) - timedelta(hours=8)


def text(page) -> str:
    """What a page says, without its markup."""
    body = re.sub(r"<(script|style|title)\b.*?</\1>", "", page.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).strip()
