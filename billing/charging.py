"""What an account owes for a billing period: the one function that preview, draft, issue and re-rate all call.

It reads contracts, tariff versions, reserved spans, one-off charges and readings, and writes nothing. The same facts give
the same charges. What is rated together, and how it is read, stands in billing.supplies.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from billing import funding, tariffs, usage
from billing.bills import bill, require_versions
from billing.documents.explanation import explain, said
from billing.documents.labels import LANGUAGES, text
from billing.funding import Funded, Offered
from billing.models import Account, BillingPeriod, Contract, Issuer, OneOffCharge, Party, TariffVersion
from billing.rating import money
from billing.rating.line import Line, exact
from billing.rating.period import Period, local_text, spans
from billing.rating.quantity import Reserved
from billing.rating.refusal import RatingRefused
from billing.supplies import (
    Booking,
    Facts,
    NoTariffVersionError,
    NotChargeableError,
    NotRatedError,
    OutOfRangeError,
    Reader,
    Stretch,
    Supplied,
    UnknownMeterError,
    Version,
    WrongCurrencyError,
    active,
    booked,
    facts_in_use,
    facts_of,
    near,
    running,
    stretches,
)

__all__ = [
    "ChargedLine",
    "Charges",
    "Estimate",
    "NoTariffVersionError",
    "NotChargeableError",
    "NotRatedError",
    "OutOfRangeError",
    "Reader",
    "Supply",
    "UnknownMeterError",
    "WrongCurrencyError",
    "active",
    "charges",
    "charges_by",
    "charges_from",
    "charges_of",
    "estimate",
    "fund",
    "require_bigint",
    "running",
]

BIGINT = 2**63 - 1  # the largest quantity and amount that the database holds
ONE_OFF = "one_off"  # the kind of a line that is no charge of a tariff
_ITEM = "item"


@dataclass(frozen=True, slots=True)
class Supply:
    """The contract behind a line, and who provides under it. `fee_percent` of its net is the platform's."""

    contract_id: int
    contract: str
    tariff: str
    provider_id: int
    provider: str
    fee_percent: Decimal


@dataclass(frozen=True, slots=True)
class ChargedLine:
    """A rated line with its contract and tariff version. `amount_minor` is without tax, also where prices include it."""

    supply: Supply
    tariff_version_id: int
    tariff_version: int
    line: Line
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Charges:
    """Lines by contract number, then in the order of rating; tax per (category, rate); in minor units of `currency`.

    `funding` is what programmes pay, in the order in which they do; `is_granted` that the firm has or had a grant of one.
    """

    currency: str
    lines: tuple[ChargedLine, ...]
    taxes: tuple[money.TaxTotal, ...]
    versions: tuple[
        tuple[int, int], ...
    ] = ()  # each tariff's id and the last version that was read, rated or not, where later ones would count
    funding: tuple[Funded, ...] = ()
    is_granted: bool = False

    @property
    def net_minor(self) -> int:
        """Of all lines at their prices; what programmes pay is in it."""
        return sum(charged.amount_minor for charged in self.lines)

    @property
    def tax_minor(self) -> int:
        return sum(total.tax_minor for total in self.taxes)

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor

    @property
    def subsidy_minor(self) -> int:
        """What programmes pay in the buyer's place."""
        return sum(each.offset_minor for each in self.funding)

    @property
    def reimbursed_minor(self) -> int:
        """What the buyer pays, and claims from programmes by itself."""
        return sum(each.share.share_minor - each.offset_minor for each in self.funding)

    @property
    def payable_minor(self) -> int:
        return self.gross_minor - self.subsidy_minor


Rated = tuple[Supply, Version, Line]


def charges(*, account: Account, period: BillingPeriod, read: Reader = usage.profile) -> Charges:
    """The account's charges for the period. Raises NotChargeableError.

    read: where the readings come from. A forecast gives its own; what is issued is always of the readings that are stored.
    """
    result = charges_of(accounts=[account], period=period, read=read)[account.pk]
    if isinstance(result, NotChargeableError):
        raise result
    return result


def charges_by(*, account: Account, period: BillingPeriod, reads: Sequence[Reader]) -> tuple[Charges, ...]:
    """charges() by each of several readers, in order. What else they stand on is read once, and earlier months, of which
    the readers must say the same, are rated once. Raises NotChargeableError.
    """
    facts = replace(facts_of([account], period, usage.profile), histories={})
    return tuple(charges_from(replace(facts, read=read), account, period) for read in reads)


def charges_of(
    *, accounts: Sequence[Account], period: BillingPeriod, read: Reader = usage.profile
) -> dict[int, Charges | NotChargeableError]:
    """charges() of several accounts by id: four queries for all (five with one-off charges, six where contracts that ended
    are looked back on), and one for each contract and meter with readings.
    """
    facts = facts_of(accounts, period, read)
    results: dict[int, Charges | NotChargeableError] = {}
    for account in accounts:
        try:
            results[account.pk] = charges_from(facts, account, period)
        except NotChargeableError as refusal:
            results[account.pk] = refusal
    return results


def fund(charges: Charges, offered: Sequence[Offered]) -> Charges:
    """The same charges with what programmes pay of them; whatever they had of it before is set aside. Pure."""
    funded = funding.fund(charges.lines, offered, charges.currency)
    totals = money.taxes([charged.line for charged in charges.lines]).totals
    return replace(charges, funding=funded, taxes=funding.taxed(charges.lines, totals, funded), is_granted=True)


def charges_from(facts: Facts, account: Account, period: BillingPeriod) -> Charges:
    """The account's charges by facts that were read before. Raises NotChargeableError."""
    rated: list[Rated] = []
    for contract in facts.contracts[account.pk]:
        for supplied in facts.supplied.get(contract.pk, ()):
            rated += _rated(facts, supplied, account, period)
        rated += _one_offs(facts, contract, account, period)
    taxes = money.taxes([line for _, _, line in rated])
    lines = tuple(
        ChargedLine(supply, version.id, version.number, line, net_minor)
        for (supply, version, line), net_minor in zip(rated, taxes.line_net_minor, strict=True)
    )
    read = {
        contract.tariff_id: facts.versions[contract.pk][-1].number
        for contract in facts.contracts[account.pk]
        if contract.tariff_version_id is None
    }
    found = Charges(account.issuer.currency, lines, taxes.totals, tuple(sorted(read.items())))
    if account.pk in facts.offers:
        found = fund(found, facts.offers[account.pk])
    _require_in_range(found, account)
    return found


def _rated(facts: Facts, supplied: Supplied, account: Account, period: BillingPeriod) -> Iterator[Rated]:
    contract = supplied.bearer
    require_versions(supplied, period, account.issuer.currency)
    try:
        lines = bill(facts, supplied, Period(period.start_at, period.end_at, period.timezone)).lines
    except RatingRefused as refusal:
        raise NotRatedError(f"contract {contract.number}: {refusal}") from refusal
    for line in lines:
        # A minimum over several versions is the last one's: rating taxes it by that one too.
        version = next(each for each in reversed(supplied.versions) if each.effective_at < line.end)
        yield supply_of(contract), version, line


def supply_of(contract: Contract) -> Supply:
    return Supply(
        contract_id=contract.pk,
        contract=contract.number,
        tariff=contract.tariff.code,
        provider_id=contract.provider_id,
        provider=contract.provider.legal_name,
        fee_percent=contract.fee_percent,
    )


def _one_offs(facts: Facts, contract: Contract, account: Account, period: BillingPeriod) -> Iterator[Rated]:
    for one_off in facts.one_offs.get(contract.pk, ()):
        versions = facts.versions[contract.pk]
        if not versions:
            raise NoTariffVersionError(
                f"contract {contract.number}: tariff {contract.tariff.code} has no version for {one_off.at.isoformat()}:"
                " publish one that applies from then or before"
            )
        applies = [version for version in versions if version.effective_at <= one_off.at]
        exponent = money.exponent(account.issuer.currency)
        yield supply_of(contract), (applies or versions[:1])[-1], _one_off_line(one_off, period, exponent)


def _one_off_line(one_off: OneOffCharge, period: BillingPeriod, exponent: int) -> Line:
    """One item, dated by the period; priced by its amount, unless that is a percentage of another one."""
    charged = Fraction(one_off.amount_minor, 10**exponent)
    why = one_off.why
    amount = charged
    if "of_amount" in why:
        part = Fraction(why["of_amount"]) * Fraction(why.get("value", "100")) / 100
        part = abs(part) if charged > 0 else -abs(part)
        amount = part if money.round_half_up(part, exponent) == one_off.amount_minor else charged
    return Line(
        charge=one_off.code,
        kind=ONE_OFF,
        tou_period=None,
        tier=None,
        start=period.start_at,
        end=period.end_at,
        quantity=Fraction(1),
        quantity_base=1,
        unit=_ITEM,
        base_unit=_ITEM,
        unit_price=None if "of_amount" in why else Decimal(one_off.amount_minor).scaleb(-exponent),
        amount=amount,
        amount_minor=one_off.amount_minor,
        tax_category=one_off.tax_category,
        tax_rate=one_off.tax_rate.normalize(),
        tax_included=False,
        explanation={**why, "at": local_text(one_off.at, period.timezone), "amount": exact(amount)},
    )


def require_bigint(where: str, name: str, value: int) -> None:
    """Raise OutOfRangeError unless the database can hold the value."""
    if abs(value) > BIGINT:
        raise OutOfRangeError(
            f"{where}: {name} is {value}: expected {-BIGINT} to {BIGINT}; see the usage and the prices"
        )


def _require_in_range(found: Charges, account: Account) -> None:
    """What can't be stored is this account's refusal, not everybody's error."""
    for charged in found.lines:
        line = charged.line
        where = f"contract {charged.supply.contract}: line {line.charge}"
        require_bigint(where, "quantity_base", line.quantity_base)
        require_bigint(where, "amount_minor", charged.amount_minor)
        if abs(money.round_half_up(line.quantity, 6)) >= 10**30:
            raise OutOfRangeError(f"{where}: quantity is {line.quantity}: expected less than 10^24; see the usage")
        if line.unit_price is not None and abs(line.unit_price) >= 10**18:
            raise OutOfRangeError(f"{where}: unit_price is {line.unit_price}: expected less than 10^18; see the tariff")
    for name in ("net_minor", "tax_minor", "gross_minor"):
        contracts = ", ".join(dict.fromkeys(charged.supply.contract for charged in found.lines))
        require_bigint(f"account {account.code}, contracts {contracts}", name, getattr(found, name))


# Before anything is booked


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a span would add to an account's bill, in minor units of `currency`.

    charges: by local month ("2020-05"), in time order, the lines that are new, and negative the ones that they replace. parts: the same, one for each
    month, charge, time-of-use period and tier, in JSON's types: {"charge", "kind", "tou_period", "tier", "month",
    "quantity", "unit", "unit_price", "amount_minor", "why"}; decimals are texts, `why` says in each language of documents
    how the amount came about, unit_price is None where there is not one. Their amounts sum to the net.
    """

    currency: str
    charges: Mapping[str, Charges]
    parts: list[dict[str, Any]]

    @property
    def net_minor(self) -> int:
        return sum(charges.net_minor for charges in self.charges.values())

    @property
    def tax_minor(self) -> int:
        return sum(charges.tax_minor for charges in self.charges.values())

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor

    @property
    def subsidy_minor(self) -> int:
        """What programmes promise in the buyer's place (billing.promises); 0 before they are asked."""
        return sum(charges.subsidy_minor for charges in self.charges.values())

    @property
    def reimbursed_minor(self) -> int:
        """What the buyer pays and programmes promise to pay back."""
        return sum(charges.reimbursed_minor for charges in self.charges.values())


def estimate(
    *,
    account: Account | None,
    issuer: Issuer,
    tariff_version: TariffVersion,
    provider: Party,
    quantity: int,
    start_at: datetime,
    end_at: datetime,
) -> Estimate:
    """What `quantity` over [start_at, end_at), on quarter hours, would add to the account's bill once it is booked
    (contracts.supply): the charges of what it would be rated together with, less the charges of that without it, month by
    month, by the rating of charges(). None: a buyer with nothing yet. Two queries, and those of readings looked back on.

    In the months that the span touches, all that is reserved there under the version is taken to be in use all the time,
    also without the span; earlier months are as they were read. Tax is of these charges by themselves: with others on the
    same invoice its rounding may differ by a minor unit (where prices include tax, that of the net). Raises NotChargeableError.
    """
    tariff = tariffs.of_version(tariff_version)
    where = f"tariff {tariff.code}"
    if tariff.currency != issuer.currency:
        raise WrongCurrencyError(
            f"{where}: version {tariff_version.version} is in {tariff.currency}: expected {issuer.currency}, the issuer's"
        )
    start_at, end_at = start_at.astimezone(UTC), end_at.astimezone(UTC)
    months = [Period(*month, issuer.timezone) for month in spans(start_at, end_at, issuer.timezone, "month")]
    version = Version(tariff_version.pk, tariff_version.version, tariff_version.effective_at, tariff)
    known = [] if account is None else near(account, tariff_version, provider, version, months)
    new = Contract(
        pk=0, tariff=tariff_version.tariff, tariff_version=tariff_version, provider=provider, fee_percent=Decimal(0)
    )
    new.start_at, new.end_at = start_at, end_at
    booking = Booking(new, Reserved(start_at, end_at, quantity))
    whole = next(stretch for stretch in stretches([*known, booking]) if booking in stretch.bookings)
    before = stretches(each for each in whole.bookings if each is not booking)
    facts = facts_in_use([*known, booking], version, months[0].start)
    by_month = {}
    for month in months:
        code = f"{month.start.astimezone(ZoneInfo(month.timezone)):%Y-%m}"
        try:
            by_month[code] = _difference(
                _bills(facts, [whole], version, month), _bills(facts, before, version, month), issuer.currency
            )
        except RatingRefused as refusal:
            raise NotRatedError(f"{where}: {refusal}") from refusal
    parts = [part for code, charges in by_month.items() for part in _parts(code, charges, issuer)]
    found = Estimate(issuer.currency, by_month, parts)
    for name in ("net_minor", "tax_minor", "gross_minor"):
        require_bigint(where, name, getattr(found, name))
    return found


def _bills(facts: Facts, rated: Iterable[Stretch], version: Version, month: Period) -> list[Rated]:
    found: list[Rated] = []
    for stretch in rated:
        if stretch.start_at < month.end and month.start < stretch.end_at:
            supplied = booked(stretch, stretch.bookings[0].contract, [version])
            found += [(supply_of(supplied.bearer), version, line) for line in bill(facts, supplied, month).lines]
    return found


def _difference(after: Sequence[Rated], before: Sequence[Rated], currency: str) -> Charges:
    """The charges after less the charges before. A line that is in both is in neither."""
    taxes, taxes_before = (money.taxes([line for _, _, line in rated]) for rated in (after, before))
    lines: list[ChargedLine] = []
    left = list(zip(before, taxes_before.line_net_minor, strict=True))
    for (supply, version, line), net_minor in zip(after, taxes.line_net_minor, strict=True):
        same = next((each for each in left if each[0][2] == line and each[1] == net_minor), None)
        if same is None:
            lines.append(ChargedLine(supply, version.id, version.number, line, net_minor))
        else:
            left.remove(same)
    for (supply, version, line), net_minor in left:
        less = replace(
            line,
            quantity=-line.quantity,
            quantity_base=-line.quantity_base,
            amount=-line.amount,
            amount_minor=-line.amount_minor,
        )
        lines.append(ChargedLine(supply, version.id, version.number, less, -net_minor))
    sums: dict[tuple[str, Decimal], tuple[int, int]] = {}
    for sign, totals in ((1, taxes.totals), (-1, taxes_before.totals)):
        for total in totals:
            net, tax = sums.get((total.category, total.rate), (0, 0))
            sums[total.category, total.rate] = net + sign * total.net_minor, tax + sign * total.tax_minor
    return Charges(currency, tuple(lines), tuple(money.TaxTotal(*key, *both) for key, both in sums.items()))


def _parts(month: str, charges: Charges, issuer: Issuer) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[str, str, str | None, int | None], list[ChargedLine]] = {}
    for charged in charges.lines:
        line = charged.line
        groups.setdefault((line.charge, line.kind, line.tou_period, line.tier), []).append(charged)
    for (charge, kind, tou_period, tier), group in groups.items():
        quantity = sum((charged.line.quantity for charged in group), Fraction(0))
        amount_minor = sum(charged.amount_minor for charged in group)
        if not quantity and not amount_minor:
            continue  # the same lines over a longer time
        prices = {charged.line.unit_price for charged in group}
        price = prices.pop() if len(prices) == 1 else None
        yield {
            "charge": charge,
            "kind": kind,
            "tou_period": tou_period,
            "tier": tier,
            "month": month,
            "quantity": money.quantity_text(quantity),
            "unit": group[0].line.unit,
            "unit_price": None if price is None else f"{price:f}",
            "amount_minor": amount_minor,
            "why": _why(group, issuer),
        }


def _why(group: Sequence[ChargedLine], issuer: Issuer) -> dict[str, str]:
    """How the lines came about, as a document says it, in each of its languages."""
    told: dict[str, str] = {}
    for language in LANGUAGES:
        formulas = []
        for charged in group:
            line, amount_minor = charged.line, charged.amount_minor
            is_less = str(line.amount) != line.explanation["amount"]
            if is_less:
                line = replace(line, quantity=-line.quantity, quantity_base=-line.quantity_base)
                amount_minor = -amount_minor
            row = said(line=line, amount_minor=amount_minor, zone=ZoneInfo(issuer.timezone))
            formula, _ = explain(line=row, timezone=issuer.timezone, currency=issuer.currency, language=language)
            formulas.append(text("less", language, formula=formula) if is_less else formula)
        told[language] = text("semicolon", language).join(formulas)
    return told
