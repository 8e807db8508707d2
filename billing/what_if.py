"""What past months would have cost: the same use under another tariff, at other hours, or with another programme.

Both sides are rated by charging, of facts that are read once a month; nothing is written. A month that is invoiced has
cost what its invoice says, and the notes that correct it. The other tariff is taken to have applied all along: its first version also before its own
time. What a programme would pay counts against its budget and the firm's caps as they are now, month by month, and what
programmes did pay of an invoiced month is at most what they paid of it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from django.db.models import Q, Sum

from billing import budgets, charging, funding
from billing.budgets import Counters
from billing.charging import Charges, NotChargeableError
from billing.funding import Funded, Offered
from billing.models import Account, BillingPeriod, Contract, Grant, Invoice, InvoiceLine, Meter, Programme, Tariff
from billing.rating.period import Period, spans
from billing.rating.quantity import Profile
from billing.rating.shift import later, moved
from billing.supplies import INTERVAL_SECONDS, Facts, Reader, Supplied, Version, facts_of, versions_of
from billing.time_of_use import Versions, labels

_INTERVAL = timedelta(seconds=INTERVAL_SECONDS)
_PER_HOUR = 3600 // INTERVAL_SECONDS

Part = tuple[str, str | None]
"""A kind of charge and its time-of-use period; None where it has none."""


@dataclass(frozen=True, slots=True)
class Later:
    """All use so many hours later within its local day, earlier if negative; see rating.shift."""

    hours: int


@dataclass(frozen=True, slots=True)
class Moved:
    """So many percent of what was used in the time-of-use period `source`, to `target` of the same local day."""

    percent: int
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is different; None: as it was. Tariff and shift are of the contracts named, or of all (None).

    A contract of that tariff already stays as it is. The programme is one that the firm has no grant of.
    """

    tariff: Tariff | None = None
    shift: Later | Moved | None = None
    programme: Programme | None = None
    contract_ids: frozenset[int] | None = None

    def is_of(self, contract: Contract) -> bool:
        return self.contract_ids is None or contract.pk in self.contract_ids


@dataclass(frozen=True, slots=True)
class Sums:
    """A month in minor units: net by part, tax, what programmes pay in the buyer's place, and what the buyer can claim."""

    parts: Mapping[Part, int]
    tax_minor: int
    subsidy_minor: int
    claimed_minor: int

    @property
    def net_minor(self) -> int:
        return sum(self.parts.values())

    @property
    def payable_minor(self) -> int:
        return self.net_minor - self.subsidy_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class Compared:
    """A month as it was and as it would have been. A side is None where it can't be priced; `refusal` says why.

    number: of its invoice, if it has one. is_late: the readings make another net now than the invoice has with the notes
    that correct it. programme: what the one that was supposed would pay.
    """

    period: BillingPeriod
    number: str | None
    actual: Sums | None
    alternative: Sums | None
    is_late: bool
    programme: Funded | None
    refusal: str


def compare(*, account: Account, periods: Sequence[BillingPeriod], read: Reader, change: Change) -> list[Compared]:
    """The months in the order given. Queries: of each month those of charging.charges_of and of `read`; two for invoices,
    one for another tariff, two for another programme, and at most three more a month for whom that doesn't pay.
    """
    versions = [] if change.tariff is None else versions_of(change.tariff)
    counters = None
    if change.programme is not None:
        codes = [period.code for period in periods]
        code = account.party.credit_code
        counters = budgets.read(programmes=[change.programme], credit_code=code, months=codes)
    invoices = _invoices(account, periods)
    asked = _Asked(account, change, versions, counters)
    return [_month(asked, period, read, invoices.get(period.code)) for period in periods]


@dataclass(frozen=True, slots=True)
class Billed:
    """An invoice with the notes that correct it, together: its own number, net by part, tax, what programmes pay."""

    number: str | None
    parts: Mapping[Part, int]
    tax_minor: int
    subsidy_minor: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every month is compared by: `versions` of the other tariff, `counters` of the other programme."""

    account: Account
    change: Change
    versions: Sequence[Version]
    counters: Counters | None


def _month(asked: _Asked, period: BillingPeriod, read: Reader, billed: Billed | None) -> Compared:
    facts = facts_of([asked.account], period, read)
    rated, refusal = _charged(facts, asked.account, period)
    supposed, other_refusal = _charged(_changed(asked, facts, period), asked.account, period)
    actual = None if rated is None else _sums(rated)
    if billed is not None:
        claimed_minor = 0 if actual is None else actual.claimed_minor
        actual = Sums(billed.parts, billed.tax_minor, billed.subsidy_minor, claimed_minor)
    paid = None if supposed is None else _supposed(asked, supposed, period)
    return Compared(
        period=period,
        number=None if billed is None else billed.number,
        actual=actual,
        alternative=None if supposed is None else _sums(supposed),
        is_late=billed is not None and rated is not None and rated.net_minor != sum(billed.parts.values()),
        programme=paid,
        refusal=other_refusal or ("" if actual is not None else refusal),
    )


def _supposed(asked: _Asked, charges: Charges, period: BillingPeriod) -> Funded | None:
    """What the other programme would pay of these; the months that follow have as much less of it."""
    programme, counters = asked.change.programme, asked.counters
    if programme is None or counters is None:
        return None
    found = next((each for each in charges.funding if each.offered.programme_id == programme.pk), None)
    if found is not None and not found.offered.grant_id:
        share_minor = found.share.share_minor
        counters.count(programme_id=programme.pk, month=period.code, amount_minor=share_minor)
    return found


def _charged(facts: Facts, account: Account, period: BillingPeriod) -> tuple[Charges | None, str]:
    try:
        return charging.charges_from(facts, account, period), ""
    except NotChargeableError as refusal:
        return None, str(refusal)


def _invoices(account: Account, periods: Sequence[BillingPeriod]) -> dict[str, Billed]:
    """Of the months that are invoiced, by code: what the invoice and the notes that correct it come to."""
    stored = [period.pk for period in periods if period.pk is not None]
    of_month = Q(kind=Invoice.Kind.INVOICE, period__in=stored) | Q(corrects__period__in=stored)
    found = Invoice.objects.filter(of_month, account=account, state=Invoice.State.ISSUED)
    documents = {each.pk: each for each in found.select_related("period", "corrects__period").defer("snapshot")}
    parts: dict[int, Counter[Part]] = {document_id: Counter() for document_id in documents}
    lines = InvoiceLine.objects.filter(invoice__in=list(documents)).order_by()
    rows = lines.values_list("invoice_id", "kind", "tou_period").annotate(sum=Sum("amount_minor"))
    for invoice_id, kind, tou_period, amount_minor in rows:
        parts[invoice_id][kind, tou_period] += int(amount_minor)
    billed: dict[str, Billed] = {}
    for document_id, each in sorted(documents.items()):  # an invoice is older than its notes
        invoice = each.corrects or each
        before = billed.get(invoice.period.code, Billed(invoice.number, {}, 0, 0))
        together = Counter(before.parts)
        together.update(parts[document_id])
        tax_minor, subsidy_minor = before.tax_minor + each.tax_minor, before.subsidy_minor + each.subsidy_minor
        billed[invoice.period.code] = Billed(invoice.number, together, tax_minor, subsidy_minor)
    return billed


def _sums(charges: Charges) -> Sums:
    parts: Counter[Part] = Counter()
    for charged in charges.lines:
        parts[charged.line.kind, charged.line.tou_period] += charged.amount_minor
    claimed_minor = sum(each.share.share_minor for each in charges.funding if not each.offered.is_offset)
    return Sums(parts, charges.tax_minor, charges.subsidy_minor, claimed_minor)


# What is different


def _changed(asked: _Asked, facts: Facts, period: BillingPeriod) -> Facts:
    change, account_id = asked.change, asked.account.pk
    supplied = {
        contract_id: [_under(asked, each, period) for each in supplies]
        for contract_id, supplies in facts.supplied.items()
    }
    read = facts.read
    if change.shift is not None:
        priced = {
            contract.pk: [(version.effective_at, version.tariff) for version in each.versions]
            for supplies in supplied.values()
            for each in supplies
            for contract in each.contracts
            if change.is_of(each.bearer)
        }
        read = _Shifted(read, change.shift, priced, period.timezone)
    offers = dict(facts.offers)
    granted = offers.get(account_id, ())
    programme, counters = change.programme, asked.counters
    if programme is not None and counters is not None and all(each.programme_id != programme.pk for each in granted):
        offers[account_id] = (*granted, _as_granted(programme, counters, asked.account, period))
    return replace(facts, supplied=supplied, read=read, offers=offers)


def _as_granted(programme: Programme, counters: Counters, account: Account, period: BillingPeriod) -> Offered:
    """What the programme might pay for the month if the firm had a grant of it in all of its window."""
    grant = Grant(pk=0, programme=programme, party=account.party)
    left = counters.left(programme.pk, period.code)
    return funding.offer_of(
        grant,
        programme,
        period,
        barred=funding.barred_by(grant, period),
        left=(programme.cap_invoice_minor, left.firm_minor, left.budget_minor or 0),
    )


def _under(asked: _Asked, supplied: Supplied, period: BillingPeriod) -> Supplied:
    """What is supplied, at the other tariff's prices."""
    bearer, change, versions = supplied.bearer, asked.change, asked.versions
    if change.tariff is None or bearer.tariff_id == change.tariff.pk or not change.is_of(bearer):
        return supplied
    applies = [version for version in versions if version.effective_at < period.end_at] or list(versions[:1])
    if applies:
        applies[0] = replace(applies[0], effective_at=min(applies[0].effective_at, supplied.start_at))
    bearer = copy(bearer)
    bearer.tariff, bearer.tariff_version = change.tariff, None
    contracts = tuple(bearer if each.pk == bearer.pk else each for each in supplied.contracts)
    return replace(supplied, contracts=contracts, bearer=bearer, versions=applies)


class _Shifted:
    """A reader: what another one reads, moved within each local day, or the part of it in which the contract ran."""

    def __init__(self, read: Reader, shift: Later | Moved, priced: Mapping[int, Versions], timezone: str) -> None:
        self._read, self._shift, self._priced, self._timezone = read, shift, priced, timezone

    def __call__(self, *, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:
        stored = self._read(contract=contract, meter=meter, start_at=start_at, end_at=end_at)
        versions = self._priced.get(contract.pk)
        if versions is None:
            return stored
        quantities = list(stored.quantities)
        names = labels(versions=versions, period=Period(start_at, end_at, self._timezone), meter=meter.code)
        for first, last in self._days(contract, start_at, end_at):
            day = quantities[first:last]
            shift = self._shift
            if isinstance(shift, Later):
                quantities[first:last] = later(day, shift.hours * _PER_HOUR)
            else:
                quantities[first:last] = moved(
                    day, names[first:last], percent=shift.percent, source=shift.source, target=shift.target
                )
        return Profile(stored.start, INTERVAL_SECONDS, quantities)

    def _days(self, contract: Contract, start_at: datetime, end_at: datetime) -> list[tuple[int, int]]:
        """The first interval of each day, and the one after its last."""
        begins = max(start_at, contract.start_at)
        ends = end_at if contract.end_at is None else min(end_at, contract.end_at)
        if begins >= ends:
            return []
        starts = [begin for begin, _ in spans(begins, ends, self._timezone, "day")]
        edges = [begins, *starts[1:], ends]
        return [((a - start_at) // _INTERVAL, (b - start_at) // _INTERVAL) for a, b in pairwise(edges)]
