"""Sun and moon buy, north and south sell: tests.marketplace.booking's market with people of every role, listed for search.

North sells 64 GPUs at 2.00 a GPU-hour reserved and 8.00 used, 6 % VAT on top. It is AT unless a test says otherwise: 10 May
2020, 16:30 in Shanghai; START is 12 May, 08:00.
"""

from dataclasses import dataclass

from marketplace import listings, people, reservations
from marketplace.models import Organization, User
from tests.marketplace.booking import AT, HOUR, START, Market, make_market
from tests.marketplace.tenants import make_user

WISH = {"quantity": "8", "start_date": "2020-05-12", "start_hour": "8", "hours": "10"}
"""8 GPUs for 10 hours from START: 800.00 CNY net, 848.00 with tax."""


@dataclass(frozen=True)
class Shop:
    market: Market
    users: dict[str, User]

    def quoted(self, **changes):
        return self.market.quote(**changes)

    def project(self, **changes):
        return self.market.project(**changes)


def make(**changes) -> Shop:
    """Users are told by organization and role: "sun.owner". `changes` are of both offerings."""
    market = make_market(**changes)
    listings.refresh(offering_ids=[market.offering.pk, market.other.pk], at=AT)
    users = {}
    organizations = {
        "sun": market.sun,
        "moon": market.moon,
        "north": market.north,
        "south": Organization.objects.get(name="South"),
    }
    for name, organization in organizations.items():
        for role in ("owner", "engineer", "finance", "viewer"):
            user = users[f"{name}.{role}"] = make_user(f"{role}.{name}")
            people.add_member(organization=organization, user=user, role=role, at=AT, actor="test")
    return Shop(market, users)


def another(shop: Shop, hours: int, **changes):
    """Sun's confirmed reservation of 8 GPUs for 2 hours that begins so many hours after START."""
    start_at = START + hours * HOUR
    return shop.market.confirmed(start_at=start_at, end_at=start_at + 2 * HOUR, **changes)


__all__ = ["AT", "HOUR", "START", "WISH", "Shop", "another", "make", "reservations"]
