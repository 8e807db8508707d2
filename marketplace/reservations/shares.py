"""The programmes' shares of reservations: taken as they were promised when the capacity is, given back when hours are.

A quote freezes what programmes promise of it, and to hold it commits just that (billing.commitments), or is refused; so
price, capacity and share are held together. What is given back of the hours gives back of the share in the same
transaction. A quote without a share costs no query here.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from billing import commitments
from billing.rating import money
from billing.rating.period import Period
from marketplace.reservations import quotes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from datetime import datetime

    from billing.models import Account
    from marketplace.models import Quote

OUTLIVES = timedelta(days=60)
"""How long after its month a commitment stays for the invoice, which redeems it and frees the rest."""


class ShareChangedError(Exception):
    """Programmes would no longer pay what the quote promised: ask for a new one, whose price is `payable_minor`."""

    def __init__(self, quote: Quote, *, promised_minor: int, left_minor: int, payable_minor: int) -> None:
        self.quote = quote
        self.promised_minor, self.left_minor, self.payable_minor = promised_minor, left_minor, payable_minor
        super().__init__(
            f"quote {quote}: programmes pay {left_minor} of it now, expected {promised_minor}, and {payable_minor} are to be"
            " paid (minor units): ask for a new quote"
        )


class _LessLeftError(Exception):
    """A budget or a cap has less left than was promised, or a programme or grant is no longer open."""


def take(quote: Quote, *, source: str, account: Callable[[], Account], at: datetime, actor: str) -> None:
    """Commit what the quote promises, in the caller's transaction: the last thing that it locks.

    Raises _LessLeftError unless all of it can be had; see `telling`.
    """
    wanted: dict[int, dict[str, int]] = {}
    for share in quote.shares:
        if share["share_minor"]:
            wanted.setdefault(share["grant"], {})[share["month"]] = share["share_minor"]
    if not wanted:
        return
    last = max(month for months in wanted.values() for month in months)
    payer = account()
    ends_at = Period.month(int(last[:4]), int(last[5:]), payer.issuer.timezone).end
    try:
        made = commitments.commit_all(
            wanted=wanted, account=payer, source=source, expires_at=max(ends_at, at) + OUTLIVES, at=at, actor=actor
        )
    except commitments.NotGrantedError as refusal:
        raise _LessLeftError from refusal
    if sum(each.amount_minor for each in made) != promised(quote):
        raise _LessLeftError


def promised(quote: Quote) -> int:
    """What programmes promise of it in all, however it is paid."""
    return quote.subsidy_minor + quote.reimbursed_minor


@contextmanager
def telling(quote: Quote) -> Iterator[None]:
    """Around the whole transaction of who takes: where less is left than promised, say what it would cost now.

    Raises ShareChangedError.
    """
    try:
        yield
    except _LessLeftError as refusal:
        now = quotes.priced_again(quote)
        raise ShareChangedError(
            quote,
            promised_minor=promised(quote),
            left_minor=now["subsidy_minor"] + now["reimbursed_minor"],
            payable_minor=now["gross_minor"] - now["subsidy_minor"],
        ) from refusal


def keep(kept: Collection[tuple[Quote, str, Mapping[str, int]]], *, at: datetime, actor: str) -> None:
    """Of each quote's commitments under its source, keep what goes with what is kept of its net by month; give back the
    rest, in the caller's transaction. Done again, it changes nothing.
    """
    sources: dict[str, dict[tuple[int, str], int]] = {}
    grants: set[int] = set()
    for quote, source, net in kept:
        if not promised(quote):
            continue
        whole: dict[str, int] = {}
        for part in quote.parts:
            whole[part["month"]] = whole.get(part["month"], 0) + part["amount_minor"]
        sources[source] = {
            (share["grant"], share["month"]): _kept(share, net.get(share["month"], 0), whole.get(share["month"], 0))
            for share in quote.shares
        }
        grants |= {share["grant"] for share in quote.shares}
    if sources:
        commitments.lessen(sources=sources, grants=grants, at=at, actor=actor)


def _kept(share: Mapping[str, Any], net_minor: int, whole_minor: int) -> int:
    """What the programme would pay of so much of the month's net, half up, and no more than it promised of all of it."""
    if whole_minor <= 0 or net_minor <= 0:
        return 0
    wanted = money.round_half_up(Fraction(share["wanted_minor"] * net_minor, whole_minor), 0)
    return int(min(share["share_minor"], wanted))
