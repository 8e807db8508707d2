"""The bill of what is rated together, for one period: its readings, and what earlier months bear on it. Writes nothing."""

from array import array
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import add
from zoneinfo import ZoneInfo

from billing import calendars
from billing.models import BillingPeriod, Meter
from billing.rating.line import Bill, History, Key
from billing.rating.period import Period, anniversaries, day_start
from billing.rating.quantity import Profile, Unit
from billing.rating.rate import rate
from billing.rating.tariff import Capacity, Demand, Energy
from billing.supplies import (
    INTERVAL_SECONDS,
    Facts,
    NoTariffVersionError,
    Reader,
    Supplied,
    UnknownMeterError,
    Version,
    WrongCurrencyError,
    yearly,
)

_INTERVAL = timedelta(seconds=INTERVAL_SECONDS)


def require_versions(supplied: Supplied, period: BillingPeriod, currency: str) -> None:
    """Each instant to be rated has a version that has not ended, in the issuer's currency."""
    contract, versions = supplied.bearer, supplied.versions
    start_at = max(supplied.start_at, period.start_at)
    end_at = period.end_at if supplied.end_at is None else min(supplied.end_at, period.end_at)
    code = contract.tariff.code
    if not versions or versions[0].effective_at > start_at:
        since = f"it applies from {versions[0].effective_at.isoformat()}" if versions else "it has none by then"
        raise NoTariffVersionError(
            f"contract {contract.number}: tariff {code} has no version for {start_at.isoformat()} ({since}): publish one"
            " that applies from then or before"
        )
    for index, version in enumerate(versions):
        next_at = versions[index + 1].effective_at if index + 1 < len(versions) else end_at
        if next_at <= start_at:
            continue
        if version.tariff.currency != currency:
            raise WrongCurrencyError(
                f"contract {contract.number}: version {version.number} of tariff {code} is in {version.tariff.currency}:"
                f" expected {currency}, the issuer's currency"
            )
        last_day = version.tariff.effective[1]
        if (
            not supplied.is_pinned
            and last_day is not None
            and day_start(last_day, version.tariff.timezone) < min(next_at, end_at)
        ):
            raise NoTariffVersionError(
                f"contract {contract.number}: version {version.number} of tariff {code} ends on {last_day}: publish one"
                " that applies from then"
            )


def bill(facts: Facts, supplied: Supplied, period: Period) -> Bill:
    """The bill of the period, with what earlier months bear on it. Raises RatingRefused, UnknownMeterError."""
    months = [period]
    history = History()
    since = _history_since(supplied, months[0])
    if since is not None:
        while months[0].start > since:
            months.insert(0, _month_before(months[0]))
        zero: dict[Key, int] = (
            {(code, None): 0 for code in yearly(supplied.versions)} if months[0].start > supplied.start_at else {}
        )
        history = History(contract_start=supplied.start_at, counters=zero)
    kept = (supplied.bearer.pk, supplied.start_at)
    if facts.histories is not None and kept in facts.histories:
        history = facts.histories[kept]
    else:
        for month in months[:-1]:
            history = history.after(_rate(facts, supplied, month, history))
        if facts.histories is not None:
            facts.histories[kept] = history
    return _rate(facts, supplied, months[-1], history)


def _history_since(supplied: Supplied, period: Period) -> datetime | None:
    """The instant from which earlier months bear on this one: contract-year tiers and ratchets. None if none do."""
    since: list[datetime] = []
    if yearly(supplied.versions):
        since.append(anniversaries(supplied.start_at, period.timezone, period.start, period.end)[0])
    for version in supplied.versions:
        for charge in version.tariff.charges:
            if isinstance(charge, Demand) and charge.ratchet is not None:
                month = period
                for _ in range(charge.ratchet.lookback_months):
                    month = _month_before(month)
                since.append(month.start)
    return max(min(since), supplied.start_at) if since else None


def _month_before(period: Period) -> Period:
    local = period.start.astimezone(ZoneInfo(period.timezone))
    year, month = (local.year, local.month - 1) if local.month > 1 else (local.year - 1, 12)
    return Period.month(year, month, period.timezone)


def _rate(facts: Facts, supplied: Supplied, period: Period, history: History) -> Bill:
    meters = _meters(facts, supplied.versions)
    profiles: dict[str, Profile] = {}
    for code, (meter, is_read) in meters.items():
        if is_read:
            profiles[code] = profile_of(facts.read, supplied, meter, period)
    return rate(
        period=period,
        tariffs=[(version.effective_at, version.tariff) for version in supplied.versions],
        profiles=profiles,
        units={
            code: Unit(meter.base_unit, meter.unit, meter.demand_unit, meter.base_per_unit)
            for code, (meter, _) in meters.items()
        },
        reserved=supplied.reserved,
        calendars=calendars.by_code(),
        history=history,
        active=(supplied.start_at, supplied.end_at),
    )


def profile_of(read: Reader, supplied: Supplied, meter: Meter, period: Period) -> Profile:
    """What all of its contracts used of the meter, each in its own time; one query for each that runs in the period."""
    if len(supplied.contracts) == 1:
        return read(contract=supplied.bearer, meter=meter, start_at=period.start, end_at=period.end)
    total = array("q", bytes(8 * ((period.end - period.start) // _INTERVAL)))
    for contract in supplied.contracts:
        if contract.start_at >= period.end or (contract.end_at is not None and contract.end_at <= period.start):
            continue
        first = max(0, (contract.start_at - period.start) // _INTERVAL)
        last = len(total) if contract.end_at is None else min(len(total), (contract.end_at - period.start) // _INTERVAL)
        quantities = read(contract=contract, meter=meter, start_at=period.start, end_at=period.end).quantities
        total[first:last] = array("q", map(add, total[first:last], quantities[first:last]))
    return Profile(period.start, INTERVAL_SECONDS, total)


def _meters(facts: Facts, versions: Sequence[Version]) -> dict[str, tuple[Meter, bool]]:
    """The meters that the tariff names, each with whether it is read: a capacity charge only counts in its unit."""
    found: dict[str, tuple[Meter, bool]] = {}
    for version in versions:
        for charge in version.tariff.charges:
            if not isinstance(charge, Energy | Demand | Capacity) or charge.meter is None:
                continue
            if charge.meter not in facts.meters:
                known = ", ".join(sorted(facts.meters)) or "none"
                raise UnknownMeterError(
                    f"tariff {version.tariff.code}: charge {charge.code} has the meter {charge.meter!r}: the meters are {known}"
                )
            is_read = not isinstance(charge, Capacity) or found.get(charge.meter, (None, False))[1]
            found[charge.meter] = (facts.meters[charge.meter], is_read)
    return found
