"""What is for sale: sites, pools, offerings and their life, and the prices of a provider.

The only writer of sites and offerings; of pools it writes what `marketplace.capacity` doesn't. A provider drafts and
submits, staff approve or refuse. What a buyer was promised can't be changed while it is on sale: texts alone can, and
prices change by a version from a later day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Count, Q

from billing import tariffs
from billing.integrity import require_same
from billing.models import Contract, Tariff
from marketplace import listings, terms
from marketplace.models import CapacityPool, Offering, OfferingChange, Site
from marketplace.selling import (
    NotOwnTariffError,
    NotProviderError,
    NotReadyError,
    require_billable,
    require_own,
    require_provider,
    require_ready,
)
from marketplace.terms import InvalidFactError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from billing.models import TariffVersion
    from billing.rating.tariff import Tariff as Prices
    from marketplace.models import AcceleratorModel, Organization

__all__ = [
    "ARCS",
    "TEXTS",
    "CodeTakenError",
    "Concerned",
    "InvalidFactError",
    "NotOwnTariffError",
    "NotProviderError",
    "NotReadyError",
    "OnSaleError",
    "OtherStateError",
    "PricesTooEarlyError",
    "add_pool",
    "add_site",
    "approve",
    "change_offering",
    "change_pool",
    "change_site",
    "concerned",
    "draft_offering",
    "pause",
    "publish_prices",
    "refuse",
    "resume",
    "retire",
    "submit",
    "withdraw",
]

_STATE = Offering.State

ARCS: dict[str, tuple[frozenset[str], str]] = {
    "submit": (frozenset({_STATE.DRAFT}), _STATE.SUBMITTED),
    "approve": (frozenset({_STATE.SUBMITTED}), _STATE.PUBLISHED),
    "refuse": (frozenset({_STATE.SUBMITTED}), _STATE.DRAFT),
    "withdraw": (frozenset({_STATE.SUBMITTED}), _STATE.DRAFT),
    "pause": (frozenset({_STATE.PUBLISHED}), _STATE.PAUSED),
    "resume": (frozenset({_STATE.PAUSED}), _STATE.PUBLISHED),
    "rework": (frozenset({_STATE.PAUSED}), _STATE.DRAFT),  # by change_offering: what changed is approved again
    "retire": (frozenset({_STATE.DRAFT, _STATE.SUBMITTED, _STATE.PUBLISHED, _STATE.PAUSED}), _STATE.RETIRED),
}
"""The life of an offering: what may be done, from which states, into which."""

TEXTS = frozenset({"name", "name_en", "description", "description_en"})
"""What may change while an offering is on sale, and without a new approval."""

RESERVED_CODES = frozenset({"compare"})
"""What stands in place of a code in addresses of the market."""

_REASON_LENGTH = 500


class CodeTakenError(ValueError):
    """The code is in use for something else."""


class OtherStateError(ValueError):
    """The offering's state does not permit that; somebody may just have changed it. `state` is what it is."""

    def __init__(self, offering: Offering, verb: str, froms: frozenset[str]) -> None:
        self.state = offering.state
        super().__init__(f"offering {offering.code}: state is {offering.state}: expected {_or(froms)} to {verb} it")


class OnSaleError(OtherStateError):
    """The offering is on sale, and more than its texts would change: pause it first."""


class PricesTooEarlyError(ValueError):
    """Prices of what is or was on sale change from the next local midnight at the earliest."""


# Sites and pools


def add_site(
    *, provider: Organization, code: str, name: str, region: str, name_en: str = "", address: str = "", actor: str
) -> Site:
    """Add a data centre. The same facts again give the site that is there.

    Raises NotProviderError, InvalidFactError, CodeTakenError.
    """
    del actor  # sites keep no history; the signature is every verb's
    facts = _site_facts({"name": name, "name_en": name_en, "region": region, "address": address})
    terms.read_code("code", code, 40)
    with transaction.atomic():
        require_provider(provider)
        site, made = Site.objects.get_or_create(provider=provider, code=code, defaults=facts)
        if not made:
            require_same(site, facts, CodeTakenError)
    return site


def change_site(*, site: Site, changes: Mapping[str, object], actor: str) -> Site:
    """Change name, name_en, region or address. Raises NotProviderError, InvalidFactError."""
    del actor
    facts = {field: getattr(site, field) for field in ("name", "name_en", "region", "address")}
    _require_known(changes, facts)
    facts = _site_facts({**facts, **changes})
    with transaction.atomic():
        require_provider(site.provider)
        Site.objects.filter(pk=site.pk).update(**facts)
        site.refresh_from_db()
        listings.show_region(site=site)
    return site


def add_pool(
    *,
    site: Site,
    accelerator: AcceleratorModel,
    code: str,
    name: str,
    gpus: int,
    name_en: str = "",
    interconnect: str = "",
    gpus_per_node: int = 8,
    backend: str = CapacityPool.Backend.MANUAL,
    notice_hours: int = 72,
    actor: str,
) -> CapacityPool:
    """Add equal GPUs at a site. The same facts again give the pool that is there; `capacity.set_capacity` changes `gpus`.

    Raises NotProviderError, InvalidFactError, CodeTakenError.
    """
    del actor
    facts = _pool_facts(
        {"name": name, "name_en": name_en, "interconnect": interconnect, "notice_hours": notice_hours}
    ) | {
        "accelerator_id": accelerator.pk,
        "gpus": terms.read_whole("gpus", gpus, 0, terms.MOST_GPUS),
        "gpus_per_node": terms.read_whole("gpus_per_node", gpus_per_node, 1, terms.MOST_GPUS),
        "backend": _backend(backend),
    }
    terms.read_code("code", code, 40)
    with transaction.atomic():
        require_provider(site.provider)
        pool, made = CapacityPool.objects.get_or_create(site=site, code=code, defaults=facts)
        if not made:
            require_same(pool, facts, CodeTakenError)
    return pool


def change_pool(*, pool: CapacityPool, changes: Mapping[str, object], actor: str) -> CapacityPool:
    """Change name, name_en, interconnect or notice_hours; the notice may not shrink under those who have reserved.

    Raises NotProviderError, InvalidFactError.
    """
    del actor
    facts = {field: getattr(pool, field) for field in ("name", "name_en", "interconnect", "notice_hours")}
    _require_known(changes, facts)
    facts = _pool_facts({**facts, **changes})
    with transaction.atomic():
        require_provider(pool.site.provider)
        stored = CapacityPool.objects.select_for_update().get(pk=pool.pk)
        if facts["notice_hours"] < stored.notice_hours and stored.reservations.live().exists():
            expected = f"at least {stored.notice_hours}, since it is reserved with that notice"
            raise InvalidFactError("notice_hours", facts["notice_hours"], expected)
        CapacityPool.objects.filter(pk=pool.pk).update(**facts)
        pool.refresh_from_db()
        listings.show_interconnect(pool=pool)
    return pool


# Offerings


def draft_offering(
    *,
    pool: CapacityPool,
    tariff: Tariff,
    code: str,
    name: str,
    max_quantity: int,
    name_en: str = "",
    description: str = "",
    description_en: str = "",
    min_quantity: int = 1,
    step: int = 1,
    min_hours: int = 1,
    max_hours: int = 2160,
    lead_hours: int = 0,
    cancellation_terms: object = (),
    service_level_percent: object = None,
    service_credit_percent: object = None,
    terms: str = "",
    at: datetime,
    actor: str,
) -> Offering:
    """Draft an offering of the pool under a tariff of its provider's or the operator's. `code` is one of the whole market.

    The same facts again give the offering that is there. Raises NotProviderError, InvalidFactError, NotOwnTariffError,
    CodeTakenError.
    """
    facts = _read_offering(
        {
            "name": name,
            "name_en": name_en,
            "description": description,
            "description_en": description_en,
            "min_quantity": min_quantity,
            "max_quantity": max_quantity,
            "step": step,
            "min_hours": min_hours,
            "max_hours": max_hours,
            "lead_hours": lead_hours,
            "cancellation_terms": cancellation_terms,
            "service_level_percent": service_level_percent,
            "service_credit_percent": service_credit_percent,
            "terms": terms,
        }
    )
    _read_code(code)
    with transaction.atomic():
        provider = pool.site.provider
        require_provider(provider)
        require_own(tariff, provider)
        facts |= {"pool_id": pool.pk, "tariff_id": tariff.pk}
        made_facts = facts | {"state_at": at, "created_at": at, "actor": actor}
        offering, made = Offering.objects.get_or_create(code=code, defaults=made_facts)
        if not made:
            # Another's row is not described: only its code is known to be in use.
            if offering.pool.site.provider_id != provider.pk:
                raise CodeTakenError(f"code is {code!r}: expected one that is not in use")
            require_same(offering, facts, CodeTakenError)
            return offering
        _record(offering, "", _STATE.DRAFT, reason="", at=at, actor=actor)
    return offering


def change_offering(*, offering: Offering, changes: Mapping[str, object], at: datetime, actor: str) -> Offering:
    """Change fields of a draft or a paused offering, the tariff too; of one on sale its TEXTS alone.

    A paused offering of which more than the texts changes is a draft again: what was approved is no longer what it says.
    Raises NotProviderError, InvalidFactError, NotOwnTariffError, OnSaleError, OtherStateError.
    """
    with transaction.atomic():
        stored = _locked(offering)
        facts = {field: getattr(stored, field) for field in _OFFERING_FIELDS}
        _require_known(changes, {*facts, "tariff"})
        told = {field: value for field, value in changes.items() if field != "tariff"}
        read = _read_offering({**facts, **told})
        tariff = changes.get("tariff", stored.tariff)
        if not isinstance(tariff, Tariff):
            raise InvalidFactError("tariff", tariff, "a tariff")
        read["tariff"], facts["tariff"] = tariff, stored.tariff
        changed = {field: value for field, value in read.items() if facts[field] != value}
        if changed:
            require_provider(stored.pool.site.provider)
            require_own(tariff, stored.pool.site.provider)
            _change(stored, facts, changed, at, actor)
    offering.refresh_from_db()
    return offering


def _change(stored: Offering, facts: Mapping[str, Any], changed: Mapping[str, Any], at: datetime, actor: str) -> None:
    before = stored.state
    froms = frozenset({_STATE.DRAFT, _STATE.PAUSED})
    if before == _STATE.PUBLISHED and not changed.keys() <= TEXTS:
        raise OnSaleError(stored, f"change {', '.join(sorted(changed.keys() - TEXTS))} of", froms)
    if before not in froms | {_STATE.PUBLISHED}:
        raise OtherStateError(stored, "change", froms)
    reworked = before == _STATE.PAUSED and not changed.keys() <= TEXTS
    after = ARCS["rework"][1] if reworked else before
    state = {"state": after, "state_at": at, "state_reason": ""} if reworked else {}
    Offering.objects.filter(pk=stored.pk, state=before).update(**changed, **state, actor=actor)
    told = ", ".join(
        field if field in TEXTS or field == "terms" else f"{field} {facts[field]} → {value}"
        for field, value in changed.items()
    )
    _record(stored, before, after, reason=_cut(f"changed: {told}"), at=at, actor=actor)


def submit(*, offering: Offering, at: datetime, actor: str) -> Offering:
    """Ask staff to approve a draft. Raises NotProviderError, NotReadyError, OtherStateError."""
    return _move(offering, "submit", "", at, actor, ready=True)


def withdraw(*, offering: Offering, at: datetime, actor: str) -> Offering:
    """Take back what was submitted, as a draft. Raises OtherStateError."""
    return _move(offering, "withdraw", "", at, actor)


def approve(*, offering: Offering, at: datetime, actor: str) -> Offering:
    """Put what was submitted on sale; for staff. Raises NotProviderError, NotReadyError, OtherStateError."""
    return _move(offering, "approve", "", at, actor, ready=True)


def refuse(*, offering: Offering, reason: str, at: datetime, actor: str) -> Offering:
    """Give what was submitted back as a draft; for staff. Raises InvalidFactError without a reason, OtherStateError."""
    return _move(offering, "refuse", _reason(reason), at, actor)


def pause(*, offering: Offering, reason: str, at: datetime, actor: str) -> Offering:
    """Take it off sale for a while; what is reserved stays so. Raises InvalidFactError, OtherStateError."""
    return _move(offering, "pause", _reason(reason), at, actor)


def resume(*, offering: Offering, at: datetime, actor: str) -> Offering:
    """Put a paused offering back on sale as it was approved. Raises NotProviderError, NotReadyError, OtherStateError."""
    return _move(offering, "resume", "", at, actor, ready=True)


def retire(*, offering: Offering, reason: str, at: datetime, actor: str) -> Offering:
    """Never sell it again; what is reserved stays so. Raises InvalidFactError, OtherStateError."""
    return _move(offering, "retire", _reason(reason), at, actor)


def _move(offering: Offering, verb: str, reason: str, at: datetime, actor: str, *, ready: bool = False) -> Offering:
    froms, to = ARCS[verb]
    with transaction.atomic():
        stored = _locked(offering)
        if stored.state not in froms:
            raise OtherStateError(stored, verb, froms)
        if ready:
            require_provider(stored.pool.site.provider)
            require_ready(stored, at)
        Offering.objects.filter(pk=stored.pk, state__in=froms).update(
            state=to, state_reason=reason, state_at=at, actor=actor
        )
        _record(stored, stored.state, to, reason=reason, at=at, actor=actor)
        if _STATE.PUBLISHED in (stored.state, to):
            listings.refresh(offering_ids=[stored.pk], at=at)
    offering.refresh_from_db()
    return offering


# Prices


@dataclass(frozen=True, slots=True)
class Concerned:
    """Whom new prices of a tariff reach: running contracts and offerings on sale. `kept`: contracts whose price is fixed."""

    contracts: int
    kept: int
    offerings: int


def publish_prices(*, provider: Organization, document: Mapping[str, Any], at: datetime, actor: str) -> TariffVersion:
    """Publish a tariff of the provider's, or the next version of one: its code says which, effective[0] from when.

    The same document again gives the version that is there. Once an offering under the tariff is or was on sale, a
    version applies from the next local midnight at the earliest. `concerned` says whom it reaches.
    Raises NotProviderError, TariffError (of the field at fault), PricesTooEarlyError, billing.tariffs.OwnerDiffersError,
    billing.tariffs.VersionTooEarlyError.
    """
    prices = tariffs.validated(document)
    require_billable(prices, provider)
    with transaction.atomic():
        require_provider(provider)
        tariff = Tariff.objects.select_for_update().filter(code=prices.code, owner=provider.party).first()
        told_before = tariff is not None and tariff.versions.filter(document=document).exists()
        if tariff is not None and not told_before and _was_on_sale(tariff):
            _require_later(prices, at)
        version = tariffs.publish(document=document, owner=provider.party, at=at, actor=actor)
        on_sale = Offering.objects.on_sale().filter(tariff=version.tariff).values_list("pk", flat=True)
        listings.refresh(offering_ids=list(on_sale), at=at)
    return version


def concerned(*, tariff: Tariff, from_at: datetime) -> Concerned:
    """Whom prices of the tariff from `from_at` on reach. Two queries."""
    runs_on = Q(end_at=None) | Q(end_at__gt=from_at)
    contracts = Contract.objects.filter(runs_on, tariff=tariff, withdrawn_at__isnull=True)
    free = Q(tariff_version__isnull=True)
    counts = contracts.aggregate(free=Count("pk", filter=free), kept=Count("pk", filter=~free))
    return Concerned(
        contracts=counts["free"],
        kept=counts["kept"],
        offerings=Offering.objects.on_sale().filter(tariff=tariff).count(),
    )


def _was_on_sale(tariff: Tariff) -> bool:
    changes = OfferingChange.objects.filter(offering__tariff=tariff, to_state=_STATE.PUBLISHED)
    return changes.exists() or Offering.objects.on_sale().filter(tariff=tariff).exists()


def _require_later(prices: Prices, at: datetime) -> None:
    tomorrow = at.astimezone(ZoneInfo(prices.timezone)).date() + timedelta(days=1)
    if prices.effective[0] < tomorrow:
        raise PricesTooEarlyError(
            f"effective[0] is {prices.effective[0]}: expected {tomorrow} or later, since {prices.code} is or was on sale"
        )


_OFFERING_FIELDS = tuple(terms.OFFERING)
_read_offering = terms.read_offering  # draft_offering has an argument named as the module is


def _read_code(code: object) -> None:
    terms.read_code("code", code, 60)
    if code in RESERVED_CODES:
        raise InvalidFactError("code", code, "another: the market has a page of that name")


def _site_facts(facts: Mapping[str, object]) -> dict[str, Any]:
    return {
        "name": terms.read_line("name", facts["name"], 100),
        "name_en": terms.read_line("name_en", facts["name_en"], 100, blank=True),
        "region": terms.read_line("region", facts["region"], 60),
        "address": terms.read_line("address", facts["address"], 300, blank=True),
    }


def _pool_facts(facts: Mapping[str, object]) -> dict[str, Any]:
    return {
        "name": terms.read_line("name", facts["name"], 100),
        "name_en": terms.read_line("name_en", facts["name_en"], 100, blank=True),
        "interconnect": terms.read_line("interconnect", facts["interconnect"], 60, blank=True),
        "notice_hours": terms.read_whole("notice_hours", facts["notice_hours"], 0, terms.MOST_HOURS),
    }


def _backend(value: str) -> str:
    if value not in CapacityPool.Backend.values:
        raise InvalidFactError("backend", value, f"one of {', '.join(CapacityPool.Backend.values)}")
    return str(value)


def _reason(value: str) -> str:
    return terms.read_line("reason", value, _REASON_LENGTH)


def _require_known(changes: Mapping[str, object], known: Mapping[str, object] | set[str]) -> None:
    for field, value in changes.items():
        if field not in known:
            raise InvalidFactError(field, value, f"no such field; what may change is {', '.join(sorted(known))}")


def _locked(offering: Offering) -> Offering:
    rows = Offering.objects.select_related("pool__site__provider__zone__issuer", "tariff")
    return rows.select_for_update(of=("self",)).get(pk=offering.pk)


def _record(offering: Offering, before: str, after: str, *, reason: str, at: datetime, actor: str) -> None:
    OfferingChange.objects.create(
        offering=offering, from_state=before, to_state=after, reason=reason, at=at, actor=actor
    )


def _cut(text: str) -> str:
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"


def _or(states: frozenset[str]) -> str:
    return " or ".join(state for state in _STATE.values if state in states)
