"""An account's charges made ready to be stored: the lines' rows, the journal's sides, the snapshot around its number.

Pure, so that it can be made in another process than the one that issues.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from billing import charging, funding, snapshot
from billing.charging import ChargedLine, Charges
from billing.ledger import Wanted
from billing.models import Account, BillingPeriod, LedgerAccount
from billing.rating.money import largest_remainder, quantity_text, round_half_up

Kind = LedgerAccount.Kind
Rate = tuple[str, Decimal]  # tax category and rate


_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)  # as little as can be for the database to read


class Bought(NamedTuple):
    """What a line says of a purchase: from whom, for which fee of its net, taxed how."""

    provider_id: int
    fee_percent: Decimal
    rate: Rate
    net_minor: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice but for its number. `lines`: a JSON list of rows with the columns of InvoiceLine. `sides`: debit
    positive, no zeros. `text`: the snapshot's text before and after the number. `contracts_changed` and `versions` say
    what was rated: the account's counter, and each tariff's id and last version. `charges` is kept where programmes may
    pay, who are asked again when the invoice is issued; `book` has every ledger account that may come to be posted to.
    """

    account_id: int
    account: str
    issuer_id: int
    currency: str
    net_minor: int
    tax_minor: int
    gross_minor: int
    subsidy_minor: int
    issue_date: date
    due_date: date
    lines: str
    sides: tuple[tuple[Wanted, int], ...]
    text: tuple[str, str]
    contracts_changed: int
    versions: tuple[tuple[int, int], ...]
    book: tuple[Wanted, ...]
    charges: Charges | None


def make(*, account: Account, period: BillingPeriod, charges: Charges, at: datetime) -> Draft:
    """The draft of an invoice to be issued at `at`; dates are local to the period's time zone.

    `account` comes with its party, its issuer and the issuer's party, read before the charges. Raises OutOfRangeError.
    """
    every = postings(charges, account)
    sides = tuple((wanted, amount_minor) for wanted, amount_minor in every if amount_minor)
    for wanted, amount_minor in sides:
        charging.require_bigint(f"account {account.code}", f"its posting to {wanted.name}", amount_minor)
    issue_date = at.astimezone(ZoneInfo(period.timezone)).date()
    due_date = issue_date + timedelta(days=account.payment_term_days)
    return Draft(
        account_id=account.pk,
        account=account.code,
        issuer_id=account.issuer_id,
        currency=charges.currency,
        net_minor=charges.net_minor,
        tax_minor=charges.tax_minor,
        gross_minor=charges.gross_minor,
        subsidy_minor=charges.subsidy_minor,
        issue_date=issue_date,
        due_date=due_date,
        lines=_COMPACT.encode(list(rows(charges.lines, funding.offsets(charges.funding, len(charges.lines))))),
        sides=sides,
        text=snapshot.invoice(account=account, period=period, charges=charges, at=at, due_date=due_date),
        contracts_changed=account.contracts_changed,
        versions=charges.versions,
        book=tuple(wanted for wanted, amount_minor in every if amount_minor or charges.is_granted),
        charges=charges if charges.is_granted else None,
    )


def rows(lines: Sequence[ChargedLine], subsidies: Sequence[int]) -> Iterator[dict[str, object]]:
    """The lines as columns of InvoiceLine, in JSON's types; of each, what programmes pay in the buyer's place."""
    for position, (charged, subsidy_minor) in enumerate(zip(lines, subsidies, strict=True), 1):
        line = charged.line
        yield {
            "position": position,
            "contract_id": charged.supply.contract_id,
            "tariff_version_id": charged.tariff_version_id,
            "charge": line.charge,
            "kind": line.kind,
            "tou_period": line.tou_period,
            "tier": line.tier,
            "start_at": line.start.isoformat(),
            "end_at": line.end.isoformat(),
            "quantity_base": line.quantity_base,
            "base_unit": line.base_unit,
            "quantity": quantity_text(line.quantity),
            "unit": line.unit,
            "unit_price": None if line.unit_price is None else f"{line.unit_price:f}",
            "amount_minor": charged.amount_minor,
            "subsidy_minor": subsidy_minor,
            "tax_category": line.tax_category,
            "tax_rate": f"{line.tax_rate:f}",
            "explanation": line.explanation,
        }


def postings(charges: Charges, account: Account) -> list[tuple[Wanted, int]]:
    """The sides of an invoice's journal, debit positive, zeros included.

    We sell in our own name and buy from the provider: the buyer owes gross; what it bought of a provider costs net less
    the contract's fee, and the provider charges VAT on that cost by each rate. Where programmes pay in the buyer's place,
    their funders owe that part: of the price, or beside it where it lessens the taxable price. Buyer + programmes =
    provider with its VAT + fee + net VAT.
    """
    funders: Counter[int] = Counter()
    beside_minor = 0
    for each in charges.funding:
        if each.offered.is_offset:
            funders[each.offered.funder_id] += each.offset_minor
            beside_minor += each.offset_minor if each.offered.reduces_tax else 0
    sides = [
        (Wanted("receivable", Kind.ASSET, account_id=account.pk), charges.payable_minor),
        *(
            (Wanted("subsidy_receivable", Kind.ASSET, party_id=funder_id), amount_minor)
            for funder_id, amount_minor in sorted(funders.items())
        ),
        (Wanted("compute_revenue", Kind.INCOME), -(charges.net_minor - beside_minor)),
        (Wanted("subsidy_income", Kind.INCOME), -beside_minor),
        (Wanted("vat_output", Kind.LIABILITY), -charges.tax_minor),
    ]
    for provider_id in sorted({charged.supply.provider_id for charged in charges.lines}):
        sides += bought_sides(provider_id, *purchase(charges, provider_id))
    return sides


def bought_sides(provider_id: int, cost_minor: int, vat_minor: int) -> list[tuple[Wanted, int]]:
    return [
        (Wanted("cost_of_compute", Kind.EXPENSE, party_id=provider_id), cost_minor),
        (Wanted("vat_input", Kind.ASSET), vat_minor),
        (Wanted("provider_payable", Kind.LIABILITY, party_id=provider_id), -cost_minor - vat_minor),
    ]


def purchase(charges: Charges, provider_id: int) -> tuple[int, int]:
    """What a provider's lines cost us and the VAT on it, in minor units."""
    return cost_of(bought for bought in map(_bought, charges.lines) if bought.provider_id == provider_id)


def _bought(charged: ChargedLine) -> Bought:
    rate = (charged.line.tax_category, charged.line.tax_rate)
    return Bought(charged.supply.provider_id, charged.supply.fee_percent, rate, charged.amount_minor)


def cost_of(lines: Iterable[Bought]) -> tuple[int, int]:
    """What lines of one provider cost us and the VAT on it, in minor units.

    The fee is rounded once, half up, and shared out to tax rates by largest remainder; VAT is rounded per rate, half up.
    """
    net: dict[Rate, Counter[Decimal]] = {}  # by tax rate and fee
    for line in lines:
        net.setdefault(line.rate, Counter())[line.fee_percent] += line.net_minor
    fees = [
        sum((net_minor * Fraction(percent) / 100 for percent, net_minor in by_fee.items()), Fraction(0))
        for by_fee in net.values()
    ]
    shares = largest_remainder(round_half_up(sum(fees, Fraction(0)), 0), fees)
    costs = [by_fee.total() - share for by_fee, share in zip(net.values(), shares, strict=True)]
    vats = [round_half_up(cost_minor * Fraction(rate), 0) for (_, rate), cost_minor in zip(net, costs, strict=True)]
    return sum(costs), sum(vats)
