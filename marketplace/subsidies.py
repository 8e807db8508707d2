"""What a buyer's programmes would pay of the prices that the market shows: its grants are read once for a page, the rest is
the function that makes an invoice's shares.

It is taken of a price as a whole, by the hours of its months. A programme that pays for some charges only, or an amount per
unit, is left to the quote, and named (`is_partial`). Search ranks by the price before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from billing import promises
from billing.funding import Funded, Offered
from billing.rating import funding
from billing.rating.money import exponent, largest_remainder, round_half_up
from billing.rating.period import spans
from marketplace.hours import HOUR
from marketplace.reservations.quotes import account_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from billing.models import Issuer
    from marketplace.models import Organization

_PLENTY = 10**30
_FINE = 10**10  # parts of a minor unit, for the mean price of an hour


@dataclass(frozen=True, slots=True)
class After:
    """What is left to pay of a price, without tax, and how much of it is paid back afterwards."""

    price: Decimal
    later: Decimal


class Subsidies:
    """Of one buyer, for prices of some spans [start, end)."""

    def __init__(
        self, *, organization: Organization, issuer: Issuer, periods: Iterable[tuple[datetime, datetime]]
    ) -> None:
        """Three queries, one or two for whom a programme bars, one more where an invoice is capped, or of a group only one pays."""
        grants = promises.grants_of(party_id=organization.party_id, issuer_id=issuer.pk)
        whole = [
            grant
            for grant in grants
            if grant.programme.percent is not None and not grant.programme.kinds and not grant.programme.charges
        ]
        self.is_partial = len(whole) < len(grants)
        self._zone = issuer.timezone
        months = sorted({code for start_at, end_at in periods for code, _, _ in self._months(start_at, end_at)})
        terms = [grant.programme for grant in whole]
        is_of_bills = any(each.cap_invoice_minor is not None or each.stacking_group for each in terms)
        account = account_of(organization, issuer.pk) if is_of_bills else None
        self._promising = promises.Promising(whole, months, issuer=issuer, account=account)

    def of_window(
        self, *, price: Decimal, currency: str, provider_id: int, start_at: datetime, end_at: datetime
    ) -> After:
        """Of the price of a whole window, to the currency's minor unit; provider_id: the provider's party."""
        places = exponent(currency)
        months = self._months(start_at, end_at)
        amount_minor = round_half_up(Fraction(price) * 10**places, 0)
        parts = largest_remainder(amount_minor, [(last - first) // HOUR for _, first, last in months])
        found: list[tuple[str, Sequence[Funded]]] = []
        for (code, first, last), part_minor in zip(months, parts, strict=True):
            funded = _shares(self._promising.offers(code), part_minor, provider_id, (first, last), places)
            self._promising.count(code, funded)
            found.append((code, funded))
        for code, counted in found:  # each price is one that could be chosen
            self._promising.count(code, counted, sign=-1)
        return _after(price, [each for _, counted in found for each in counted], places)

    def of_hour(self, *, price: Decimal, currency: str, provider_id: int, at: datetime) -> After:
        """Of the mean price of an hour, as long as caps and budget have anything left."""
        places = exponent(currency)
        (code, _, _), *_rest = self._months(at, at + HOUR)
        offers = [
            replace(each, offer=_unlimited(each.offer)) if min(_lefts(each.offer)) > 0 else each
            for each in self._promising.offers(code)
        ]
        amount = int(price.scaleb(places) * _FINE)
        return _after(price, _shares(offers, amount, provider_id, (at, at), places), places, _FINE)

    def _months(self, start_at: datetime, end_at: datetime) -> list[tuple[str, datetime, datetime]]:
        zone = ZoneInfo(self._zone)
        return [
            (f"{first.astimezone(zone):%Y-%m}", max(first, start_at), min(last, end_at))
            for first, last in spans(start_at, end_at, self._zone, "month")
        ]


def _lefts(offer: funding.Offer) -> tuple[int, ...]:
    return tuple(left for left in (offer.invoice_left, offer.firm_left, offer.budget_left) if left is not None)


def _unlimited(offer: funding.Offer) -> funding.Offer:
    return replace(offer, invoice_left=None, firm_left=None, budget_left=_PLENTY)


def _shares(
    offered: Sequence[Offered], amount: int, provider_id: int, span: tuple[datetime, datetime], places: int
) -> list[Funded]:
    priced = funding.Priced(amount, "", "", provider_id, "", Fraction(0), *span)
    by_code = {each.offer.code: each for each in offered}
    shares = funding.shares([priced], [each.offer for each in offered], places)
    return [Funded(by_code[share.code], share) for share in shares]


def _after(price: Decimal, funded: Sequence[Funded], places: int, parts: int = 1) -> After:
    def major(minor: int) -> Decimal:
        return (Decimal(minor) / parts).scaleb(-places)

    later = sum(each.share.share_minor for each in funded if not each.offered.is_offset)
    return After(price - major(sum(each.share.share_minor for each in funded)), major(later))
