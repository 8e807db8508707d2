"""What is rated together for an account, read in a few queries, and its bill of one period. Writes nothing.

Reservations (of one account, tariff version, provider and fee) that touch or overlap are one supply, whichever of their
contracts they are under: charges follow from what is booked, not from the order in which it was. Any other contract is
one by itself, from its start to its end.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from django.db.models import Exists, OuterRef, Q, TextField
from django.db.models.functions import Cast

from billing import funding, models, tariffs, usage
from billing.funding import Offered
from billing.models import Account, BillingPeriod, Contract, Meter, OneOffCharge, Party, ReservedSpan, TariffVersion
from billing.rating.line import History
from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved
from billing.rating.tariff import Capacity, Demand, Energy, Tariff

INTERVAL_SECONDS = 900
_INTERVAL = timedelta(seconds=INTERVAL_SECONDS)


class NotChargeableError(Exception):
    """The account's charges can't be had. The message names the contract, what stands in the way, what would be right."""


class NoTariffVersionError(NotChargeableError):
    """No version of the contract's tariff applies in some part of the period."""


class WrongCurrencyError(NotChargeableError):
    """The tariff's currency is not the issuer's."""


class NotRatedError(NotChargeableError):
    """Rating refused the period; its own refusal (billing.rating.refusal) is the cause."""


class OutOfRangeError(NotChargeableError):
    """A quantity or an amount is larger than an invoice can hold."""


class UnknownMeterError(NotChargeableError):
    """The tariff names a meter that is not there."""


class Reader(Protocol):
    """Where readings come from: usage.profile, or a stand-in with its arguments that gives expected readings."""

    def __call__(self, *, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile: ...


@dataclass(frozen=True, slots=True)
class Version:
    """A tariff version as rating sees it. One that a contract holds to applies from the start of what is supplied."""

    id: int
    number: int
    effective_at: datetime
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class Supplied:
    """What is rated as one over [start_at, end_at): its contracts, and the one that its lines stand under, the first that has
    a part in the period.
    """

    contracts: tuple[Contract, ...]
    bearer: Contract
    start_at: datetime
    end_at: datetime | None
    versions: Sequence[Version]
    reserved: Sequence[Reserved]

    @property
    def is_pinned(self) -> bool:
        return self.bearer.tariff_version_id is not None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored about many contracts, read in a few queries."""

    contracts: Mapping[
        int, Sequence[Contract]
    ]  # by account, in the order of their numbers; also those with one-offs only
    supplied: Mapping[int, Sequence[Supplied]]  # by the contract that bears the lines, in time order
    versions: Mapping[int, Sequence[Version]]  # by contract, the oldest first
    one_offs: Mapping[int, Sequence[OneOffCharge]]  # by contract, of the period
    meters: Mapping[str, Meter]  # by code
    read: Reader
    offers: Mapping[int, Sequence[Offered]]  # of programmes, by account; of those whose firm has or had a grant
    histories: dict[tuple[int, datetime], History] | None = None  # of what was rated before; None: none is kept


def active(period: BillingPeriod) -> Q:
    """Contracts of which something is billed in the period."""
    return running(period.start_at, period.end_at)


def running(start_at: datetime, end_at: datetime) -> Q:
    """Contracts that run at some time of [start_at, end_at), or have a one-off charge in it."""
    runs = Q(start_at__lt=end_at, withdrawn_at=None) & (Q(end_at__isnull=True) | Q(end_at__gt=start_at))
    return runs | Q(_has_one_offs(start_at, end_at))


def _has_one_offs(start_at: datetime, end_at: datetime) -> Exists:
    return Exists(OneOffCharge.objects.filter(contract=OuterRef("pk"), at__gte=start_at, at__lt=end_at))


def is_running(contract: Contract, period: BillingPeriod) -> bool:
    return (
        contract.withdrawn_at is None
        and contract.start_at < period.end_at
        and (contract.end_at is None or contract.end_at > period.start_at)
    )


def facts_of(accounts: Sequence[Account], period: BillingPeriod, read: Reader) -> Facts:
    """Four queries, one more where there are one-off charges, and one where months that are looked back on may lie under
    contracts that ended before the period; a few for each account with a programme.
    """
    contracts: dict[int, list[Contract]] = {account.pk: [] for account in accounts}
    found = Contract.objects.filter(active(period), account__in=list(contracts)).select_related("tariff", "provider")
    found = found.annotate(
        has_one_offs=_has_one_offs(period.start_at, period.end_at), is_granted=Exists(funding.GRANTED)
    )
    found = found.order_by("number")
    granted = {contract.account_id for contract in found if contract.is_granted}
    for contract in found:
        contracts[contract.account_id].append(contract)
    every = [contract for each in contracts.values() for contract in each]
    versions = _versions(every, period)
    rated = [contract for contract in every if is_running(contract, period)]
    held = [*rated, *_before(rated, versions, period)]
    spans = ReservedSpan.objects.filter(
        contract__in=[contract.pk for contract in held], start_at__lt=period.end_at, withdrawn_at=None
    ).order_by("id")
    supplied: dict[int, list[Supplied]] = {}
    for each in [*_signed(rated, spans, versions, period), *_booked(held, spans, versions, period)]:
        supplied.setdefault(each.bearer.pk, []).append(each)
    meters = {meter.code: meter for meter in Meter.objects.all()}
    charged = [contract.pk for contract in found if contract.has_one_offs]
    offers = {each.pk: funding.offers(account=each, period=period) for each in accounts if each.pk in granted}
    return Facts(contracts, supplied, versions, _one_offs(charged, period), meters, read, offers)


def _one_offs(contract_ids: Sequence[int], period: BillingPeriod) -> dict[int, list[OneOffCharge]]:
    found: dict[int, list[OneOffCharge]] = {contract_id: [] for contract_id in contract_ids}
    if contract_ids:
        rows = OneOffCharge.objects.filter(contract__in=contract_ids, at__gte=period.start_at, at__lt=period.end_at)
        for row in rows.order_by("at", "id"):
            found[row.contract_id].append(row)
    return found


def _signed(
    contracts: Iterable[Contract],
    spans: Iterable[ReservedSpan],
    versions: Mapping[int, Sequence[Version]],
    period: BillingPeriod,
) -> Iterator[Supplied]:
    reserved: dict[int, list[Reserved]] = {}
    for span in spans:
        end_at = period.end_at if span.end_at is None else span.end_at
        reserved.setdefault(span.contract_id, []).append(Reserved(span.start_at, end_at, span.quantity))
    for contract in contracts:
        if contract.tariff_version_id is None:
            yield Supplied(
                contracts=(contract,),
                bearer=contract,
                start_at=contract.start_at,
                end_at=contract.end_at,
                versions=versions[contract.pk],
                reserved=reserved.get(contract.pk, ()),
            )


def _booked(
    contracts: Iterable[Contract],
    spans: Iterable[ReservedSpan],
    versions: Mapping[int, Sequence[Version]],
    period: BillingPeriod,
) -> Iterator[Supplied]:
    groups: dict[tuple[object, ...], list[Booking]] = {}
    known = {contract.pk: contract for contract in contracts if contract.tariff_version_id is not None}
    for span in spans:
        contract = known.get(span.contract_id)
        if contract is not None:
            assert span.end_at is not None  # within a contract that ends
            key = (contract.account_id, contract.tariff_version_id, contract.provider_id, contract.fee_percent)
            groups.setdefault(key, []).append(Booking(contract, Reserved(span.start_at, span.end_at, span.quantity)))
    for bookings in groups.values():
        for stretch in stretches(bookings):
            if stretch.start_at < period.end_at and period.start_at < stretch.end_at:
                runs = [booking for booking in stretch.bookings if booking.reserved.end > period.start_at]
                yield booked(stretch, runs[0].contract, versions[runs[0].contract.pk])


@dataclass(frozen=True, slots=True)
class Booking:
    """A span of a reservation, and the contract that it is under."""

    contract: Contract
    reserved: Reserved


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bookings without a gap between them, in the order of their starts."""

    start_at: datetime
    end_at: datetime
    bookings: tuple[Booking, ...]


def stretches(bookings: Iterable[Booking]) -> list[Stretch]:
    """The bookings, of one account, version, provider and fee, joined where they touch or overlap."""
    found: list[Stretch] = []
    for booking in sorted(bookings, key=lambda each: (each.reserved.start, each.contract.start_at)):
        start_at, end_at = booking.reserved.start, booking.reserved.end
        last = found[-1] if found else None
        if last is not None and start_at <= last.end_at:
            found[-1] = Stretch(last.start_at, max(last.end_at, end_at), (*last.bookings, booking))
        else:
            found.append(Stretch(start_at, end_at, (booking,)))
    return found


def stretch_of(contract: Contract, at: datetime) -> Stretch | None:
    """The stretch of a reservation's contract that holds or follows `at`; None of any other contract."""
    if contract.tariff_version_id is None:
        return None
    spans = ReservedSpan.objects.filter(
        contract__account=contract.account_id,
        contract__tariff_version=contract.tariff_version_id,
        contract__provider=contract.provider_id,
        contract__fee_percent=contract.fee_percent,
        withdrawn_at=None,
    ).select_related("contract")
    return next((stretch for stretch in stretches(map(_booking, spans.order_by("id"))) if stretch.end_at > at), None)


def _booking(span: ReservedSpan) -> Booking:
    assert span.end_at is not None  # within a contract that ends
    return Booking(span.contract, Reserved(span.start_at, span.end_at, span.quantity))


def booked(stretch: Stretch, bearer: Contract, versions: Sequence[Version]) -> Supplied:
    """A stretch as it is rated: its version applies from its start."""
    return Supplied(
        contracts=tuple(dict.fromkeys(booking.contract for booking in stretch.bookings)),
        bearer=bearer,
        start_at=stretch.start_at,
        end_at=stretch.end_at,
        versions=[replace(version, effective_at=stretch.start_at) for version in versions],
        reserved=[booking.reserved for booking in stretch.bookings],
    )


def _versions(contracts: Sequence[Contract], period: BillingPeriod) -> dict[int, list[Version]]:
    """By contract: the one that it holds to, or those of its tariff that apply before the period's end."""
    tariff_ids = {contract.tariff_id for contract in contracts if contract.tariff_version_id is None}
    pinned = {contract.tariff_version_id for contract in contracts}
    wanted = Q(tariff__in=tariff_ids, effective_at__lt=period.end_at) | Q(pk__in=pinned - {None})
    by_tariff: dict[int, list[Version]] = {tariff_id: [] for tariff_id in tariff_ids}
    by_id: dict[int | None, Version] = {}
    for tariff_id, version in _parsed(wanted):
        by_id[version.id] = version
        if tariff_id in by_tariff and version.effective_at < period.end_at:
            by_tariff[tariff_id].append(version)
    return {
        contract.pk: by_tariff[contract.tariff_id]
        if contract.tariff_version_id is None
        else [by_id[contract.tariff_version_id]]
        for contract in contracts
    }


def versions_of(tariff: models.Tariff) -> list[Version]:
    """All versions of a stored tariff, the oldest first. One query."""
    return [version for _, version in _parsed(Q(tariff=tariff))]


def _parsed(wanted: Q) -> Iterator[tuple[int, Version]]:
    """Versions with their tariff's id, each tariff's oldest first."""
    rows = TariffVersion.objects.filter(wanted).annotate(text=Cast("document", TextField())).defer("document")
    for row in rows.order_by("version"):
        yield row.tariff_id, Version(row.pk, row.version, row.effective_at, tariffs.parsed(row.text))


def _before(
    rated: Sequence[Contract], versions: Mapping[int, Sequence[Version]], period: BillingPeriod
) -> list[Contract]:
    """Ended contracts of reservations that others touch, where months before the period bear on it."""
    looking = [
        contract
        for contract in rated
        if contract.tariff_version_id and contract.start_at <= period.start_at and looks_back(versions[contract.pk])
    ]
    if not looking:
        return []
    next_one = Contract.objects.filter(
        account=OuterRef("account"),
        tariff_version=OuterRef("tariff_version"),
        provider=OuterRef("provider"),
        start_at=OuterRef("end_at"),
        withdrawn_at=None,
    )
    ended = Contract.objects.filter(
        Exists(next_one),
        account__in={contract.account_id for contract in looking},
        tariff_version__in={contract.tariff_version_id for contract in looking},
        end_at__lte=period.start_at,
        withdrawn_at=None,
    )
    return list(ended)


# What would be supplied


def near(
    account: Account, tariff_version: TariffVersion, provider: Party, version: Version, months: Sequence[Period]
) -> list[Booking]:
    """What the account has booked at the version of the provider in these months, and before where that bears on them."""
    spans = ReservedSpan.objects.filter(
        contract__account=account,
        contract__tariff_version=tariff_version,
        contract__provider=provider,
        contract__withdrawn_at=None,
        withdrawn_at=None,
        start_at__lte=months[-1].end,
    ).select_related("contract__tariff", "contract__provider")
    if not looks_back([version]):
        spans = spans.filter(end_at__gte=months[0].start)
    return [_booking(span) for span in spans.order_by("id")]


def facts_in_use(bookings: Sequence[Booking], version: Version, since: datetime) -> Facts:
    """Facts to rate these bookings by: in use all the time from `since` on, as they were read before. One query.

    What counts in the unit that is reserved is in use: that of the first charge's meter, capacity before energy and demand.
    """
    meters = {meter.code: meter for meter in Meter.objects.all()}
    named = [each for each in version.tariff.charges if isinstance(each, Capacity | Energy | Demand)]
    ranked = sorted(named, key=lambda each: not isinstance(each, Capacity))
    units = (meters[each.meter].demand_unit for each in ranked if each.meter in meters)
    unit = next(units, "")

    def read(*, contract: Contract, meter: Meter, start_at: datetime, end_at: datetime) -> Profile:
        if end_at <= since and contract.pk:
            return usage.profile(contract=contract, meter=meter, start_at=start_at, end_at=end_at)
        quantities = array("q", bytes(8 * ((end_at - start_at) // _INTERVAL)))
        for booking in bookings:
            if booking.contract.pk == contract.pk and meter.demand_unit == unit:
                _fill(quantities, booking.reserved, meter, start_at)
        return Profile(start_at, INTERVAL_SECONDS, quantities)

    return Facts({}, {}, {}, {}, meters, read, {})


def _fill(quantities: MutableSequence[int], reserved: Reserved, meter: Meter, start_at: datetime) -> None:
    """Add what the reserved quantity uses in each interval of its time, in whole base units that sum to its use."""
    per_hour = reserved.quantity * meter.base_per_unit
    first = (reserved.start - start_at) // _INTERVAL
    for place in range(max(0, first), min(len(quantities), (reserved.end - start_at) // _INTERVAL)):
        number = place - first
        quantities[place] += (number + 1) * per_hour // 4 - number * per_hour // 4


def looks_back(versions: Iterable[Version]) -> bool:
    """Whether earlier months bear on a month."""
    charges = [charge for version in versions for charge in version.tariff.charges]
    return bool(yearly(versions)) or any(isinstance(each, Demand) and each.ratchet is not None for each in charges)


def yearly(versions: Iterable[Version]) -> set[str]:
    """The codes of charges whose tiers run over a contract year."""
    return {
        charge.code
        for version in versions
        for charge in version.tariff.charges
        if isinstance(charge, Energy) and charge.tier_basis == "contract_year"
    }
