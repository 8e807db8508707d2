"""Programmes for the market of tests.marketplace.booking, and what is committed of them."""

from datetime import UTC, datetime

from billing import programmes
from billing.models import Commitment, Programme
from tests.billing import programmes_world, world
from tests.marketplace.booking import Market

JUNE = datetime(2020, 5, 31, 16, tzinfo=UTC)  # its begin in Shanghai


def programme(market: Market, code="sme-30", *, to=("sun",), **terms) -> Programme:
    """Open, a voucher of 30 % unless told otherwise, granted to these."""
    made = programmes_world.programme(market.issuer, code, **terms)
    for name in to:
        party = getattr(market, name).party
        applied = programmes.apply(programme=made, party=party, at=world.MAY, actor="test")
        programmes.approve(grant=applied, at=world.MAY, actor="staff")
    return made


def open_ones(**which) -> list[tuple]:
    """(month, amount, how often lessened) of what is committed."""
    rows = Commitment.objects.filter(state="open", **which).order_by("month", "pk")
    return [(row.month, row.amount_minor, row.source.partition("~")[2]) for row in rows]
