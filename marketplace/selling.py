"""What stands in the way of a sale: who sells, under whose tariff, and whether an offering says all that it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing import calendars, tariffs
from billing.models import Meter, Tariff
from billing.rating.period import day_start
from billing.rating.tariff import Capacity, Demand, Energy, TariffError
from marketplace import terms
from marketplace.models import Organization
from marketplace.terms import InvalidFactError

if TYPE_CHECKING:
    from datetime import datetime

    from billing.rating.tariff import Tariff as Prices
    from marketplace.models import Offering


class NotProviderError(ValueError):
    """The organization is no verified provider: it neither lists nor sells."""


class NotOwnTariffError(ValueError):
    """The tariff is another provider's."""


class NotReadyError(ValueError):
    """The offering can't be sold as it is. `problems`: an InvalidFactError for each fact that stands in the way."""

    def __init__(self, offering: Offering, problems: list[InvalidFactError]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"offering {offering.code}: " + "; ".join(str(problem) for problem in problems))


def require_provider(organization: Organization) -> None:
    """Asked of the database: the row at hand may be older than a suspension."""
    verified = Organization.objects.filter(pk=organization.pk, is_provider=True, state=Organization.State.VERIFIED)
    if not verified.exists():
        raise NotProviderError(f"{organization.name}: expected a provider that staff have verified")


def require_own(tariff: Tariff, provider: Organization) -> None:
    if tariff.owner_id not in (None, provider.party_id):
        raise NotOwnTariffError(f"tariff is {tariff.code}: expected one of {provider.name}'s or of the operator's")


def require_ready(offering: Offering, at: datetime) -> None:
    """Raise NotReadyError with all that stands in the way of a sale."""
    pool, problems = offering.pool, []
    facts = {field: getattr(offering, field) for field in terms.OFFERING}
    try:
        terms.read_offering(facts)
    except InvalidFactError as error:
        problems.append(error)
    problems += [
        InvalidFactError(field, "", "some text: buyers decide by it")
        for field in ("description", "terms")
        if not facts[field].strip()
    ]
    if not offering.cancellation_terms:
        expected = 'at least one term; for no money back: [{"hours": 0, "percent": "100"}]'
        problems.append(InvalidFactError("cancellation_terms", [], expected))
    if offering.max_quantity > pool.gpus:
        expected = f"at most {pool.gpus}, the GPUs of the pool {pool.code}"
        problems.append(InvalidFactError("max_quantity", offering.max_quantity, expected))
    if pool.drains_at is not None and pool.drains_at <= at:
        problems.append(InvalidFactError("pool", pool.code, "one that does not drain"))
    problems += _tariff_problems(offering, at)
    if problems:
        raise NotReadyError(offering, problems)


def _tariff_problems(offering: Offering, at: datetime) -> list[InvalidFactError]:
    provider, code = offering.pool.site.provider, offering.tariff.code
    last = offering.tariff.versions.order_by("-version").first()
    if last is None:
        return [InvalidFactError("tariff", code, "one with prices: it has no version yet")]
    prices = tariffs.validated(last.document)
    try:
        require_own(offering.tariff, provider)
        require_billable(prices, provider)
    except (NotOwnTariffError, TariffError) as error:
        return [InvalidFactError("tariff", code, f"one that the zone can bill: {error}")]
    if prices.effective[1] is not None and day_start(prices.effective[1], prices.timezone) <= at:
        return [InvalidFactError("tariff", code, f"one with prices: its last version ended on {prices.effective[1]}")]
    return []


def require_billable(prices: Prices, provider: Organization) -> None:
    """What billing would refuse later is refused now, at the field."""
    issuer = provider.zone.issuer
    if prices.currency != issuer.currency:
        raise TariffError("currency", prices.currency, f"{issuer.currency}, in which the zone bills")
    if prices.timezone != issuer.timezone:
        raise TariffError("timezone", prices.timezone, f"{issuer.timezone}, the zone's")
    known = calendars.by_code()
    if prices.calendar is not None and prices.calendar not in known:
        raise TariffError("calendar", prices.calendar, f"one of {', '.join(sorted(known))}, or none")
    meters = sorted(Meter.objects.values_list("code", flat=True))
    for index, charge in enumerate(prices.charges):
        if isinstance(charge, Energy | Demand | Capacity) and charge.meter is not None and charge.meter not in meters:
            raise TariffError(f"charges[{index}].meter", charge.meter, f"one of {', '.join(meters) or 'none'}")
