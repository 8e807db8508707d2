"""Quotes: what so many GPUs cost over so many hours, part by part, for as long as the quote is good.

The price is what `billing` says that the reservation adds to the account's bill, if its GPUs are in use all the time,
under the tariff version that is in force when it starts. That version holds to the reservation's end. The buyer
pays as much less as programmes promise. A quote freezes price, shares and terms; a hold takes the capacity and the shares.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from billing import charging, promises, tariffs
from billing.models import Account, TariffVersion
from billing.rating.period import day_start
from marketplace.hours import MAX_HOURS
from marketplace.models import Offering, Organization, Quote, Reservation
from marketplace.reservations import states
from marketplace.reservations.states import HOUR, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from marketplace.models import Project

QUOTE_MINUTES = 60
LATE_MINUTES = (
    15  # a quote is good for so long after its start, so that one for the hour that begins can still be taken
)


class NotVerifiedError(Exception):
    """Only a verified buyer of the provider's zone reserves."""


class NotOnSaleError(Exception):
    """The offering is not on sale (any more)."""


class NoPriceError(Exception):
    """Billing can't say what it would cost; its own refusal is the cause."""


class WrongProjectError(Exception):
    """The project is another organization's, or archived."""


class OutsideTermsError(ValueError):
    """A wish lies outside the offering's terms: `field` is `value`, and `expected` says what would be right."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(f"{field} is {value}: expected {expected}")


def quote(
    *,
    offering: Offering,
    organization: Organization,
    quantity: int,
    start_at: datetime,
    end_at: datetime,
    project: Project | None = None,
    at: datetime,
    actor: str,
) -> Quote:
    """Price `quantity` GPUs over the whole hours [start_at, end_at) for a buyer; good for QUOTE_MINUTES.

    Raises OutsideTermsError, NotOnSaleError, NotVerifiedError, WrongProjectError, NoPriceError.
    """
    offering = current(offering)
    buyers = Organization.objects.select_related("party").annotate(is_granted=promises.is_granted("party"))
    organization = buyer = buyers.get(pk=organization.pk)
    require_buyer(offering, organization)
    require_project(organization, project)
    require_quantity(offering, quantity)
    require_hours(offering.min_hours, offering.max_hours, start_at, end_at)
    if start_at < at + offering.lead_hours * HOUR:
        earliest_at = states.hour_from(at + offering.lead_hours * HOUR)
        raise OutsideTermsError(
            "start_at",
            start_at.isoformat(),
            f"{earliest_at.isoformat()} or later, {offering.lead_hours} hours from now",
        )
    wish: dict[str, Any] = {"quantity": quantity, "start_at": start_at, "end_at": end_at}
    version = version_at(offering, start_at)
    price = priced(offering=offering, organization=organization, version=version, is_granted=buyer.is_granted, **wish)
    with transaction.atomic():
        return Quote.objects.create(
            offering=offering,
            organization=organization,
            project=project,
            tariff_version=version,
            terms=_terms(offering),
            created_at=at,
            expires_at=_good_until(at, start_at),
            actor=actor,
            **wish,
            **price,
        )


def extension_quote(*, reservation: Reservation, end_at: datetime, at: datetime, actor: str) -> Quote:
    """Price more hours for a reservation, up to end_at, under the tariff version and the terms that it was quoted.

    Raises OutsideTermsError, NotOnSaleError, NotVerifiedError, NoPriceError, WrongStateError; NoticeGivenError if the
    provider takes the capacity back.
    """
    rows = Reservation.objects.select_related("quote__tariff_version", "organization__party")
    row = rows.annotate(is_granted=promises.is_granted("organization__party")).get(pk=reservation.pk)
    states.require(row, State.CONFIRMED, State.ACTIVE)
    require_no_notice(row)
    offering = current(row.offering)
    require_buyer(offering, row.organization)
    if end_at <= row.end_at or row.end_at <= at:
        raise OutsideTermsError("end_at", end_at.isoformat(), f"later than {max(row.end_at, at).isoformat()}")
    terms = row.quote.terms
    most = terms.get("max_hours", offering.max_hours)
    require_hours(1, most, row.start_at, end_at)
    wish: dict[str, Any] = {"quantity": row.quantity, "start_at": row.end_at, "end_at": end_at}
    version = row.quote.tariff_version
    is_granted = getattr(row, "is_granted", False)
    price = priced(offering=offering, organization=row.organization, version=version, is_granted=is_granted, **wish)
    with transaction.atomic():
        return Quote.objects.create(
            offering=offering,
            organization=row.organization,
            project_id=row.project_id,
            extends=row,
            tariff_version=version,
            terms=terms,
            created_at=at,
            expires_at=_good_until(at, row.end_at),
            actor=actor,
            **wish,
            **price,
        )


class NoticeGivenError(Exception):
    """The provider has said that it takes the capacity back."""


def require_no_notice(row: Reservation) -> None:
    if row.notice_ends_at is not None:
        raise NoticeGivenError(
            f"reservation {row}: the provider takes the capacity back at {row.notice_ends_at.isoformat()}: expected one"
            " without notice; reserve elsewhere"
        )


# What a wish has to be


def current(offering: Offering) -> Offering:
    """The offering as it is now, with its provider, zone and issuer, in one query."""
    rows = Offering.objects.select_related(
        "tariff", "pool__site__provider__party", "pool__site__provider__zone__issuer"
    )
    return rows.get(pk=offering.pk)


def require_buyer(offering: Offering, organization: Organization) -> None:
    """Raise NotOnSaleError or NotVerifiedError unless this organization may reserve of this offering today."""
    if offering.state != Offering.State.PUBLISHED:
        raise NotOnSaleError(f"offering {offering.code}: state is {offering.state}: expected published")
    zone = offering.pool.site.provider.zone
    if organization.state != Organization.State.VERIFIED:
        raise NotVerifiedError(
            f"organization {organization.name}: state is {organization.state}: expected verified; staff verify it"
        )
    if not organization.is_buyer or organization.zone_id != zone.pk:
        raise NotVerifiedError(f"organization {organization.name}: expected a buyer of the zone {zone.code}")


def require_project(organization: Organization, project: Project | None) -> None:
    if project is None:
        return
    if project.organization_id != organization.pk:
        raise WrongProjectError(f"project {project.code}: expected one of {organization.name}")
    if project.archived_at is not None:
        raise WrongProjectError(
            f"project {project.code}: archived at {project.archived_at.isoformat()}: expected another"
        )


def require_quantity(offering: Offering, quantity: int) -> None:
    """From the least on in steps, as an HTML number field counts them."""
    least, most, step = offering.min_quantity, offering.max_quantity, offering.step
    if not least <= quantity <= most or (quantity - least) % step:
        steps = f" in steps of {step}" if step > 1 else ""
        raise OutsideTermsError("quantity", quantity, f"{least} to {most}{steps}")


def require_hours(least: int, most: int, start_at: datetime, end_at: datetime) -> None:
    for field, value in (("start_at", start_at), ("end_at", end_at)):
        if states.hour_from(value) != value:
            raise OutsideTermsError(field, value.isoformat(), "a whole hour in UTC")
    most = min(most, MAX_HOURS)
    hours, rest = divmod(end_at - start_at, HOUR)
    if rest or not least <= hours <= most:
        raise OutsideTermsError("hours", hours, f"{least} to {most}, from start_at to end_at")


def version_at(offering: Offering, start_at: datetime) -> TariffVersion:
    """The version that is in force at start_at, as published now. Raises NoPriceError."""
    versions = TariffVersion.objects.filter(tariff=offering.tariff_id, effective_at__lte=start_at)
    version = versions.order_by("-effective_at").first()
    if version is None:
        raise NoPriceError(f"tariff {offering.tariff}: no version applies at {start_at.isoformat()}: publish one")
    prices = tariffs.of_version(version)
    last_date = prices.effective[1]
    if last_date is not None and day_start(last_date, prices.timezone) <= start_at:
        raise NoPriceError(
            f"tariff {offering.tariff}: version {version.version} ended on {last_date}, and none applies at"
            f" {start_at.isoformat()}: publish one"
        )
    return version


def priced(
    *,
    offering: Offering,
    organization: Organization,
    version: TariffVersion,
    quantity: int,
    start_at: datetime,
    end_at: datetime,
    is_granted: bool = False,
) -> dict[str, Any]:
    """The price as a quote stores it: currency, net, tax, gross, its parts, and if the buyer has a grant of a programme
    what is promised of it. Raises NoPriceError.
    """
    provider = offering.pool.site.provider
    issuer = provider.zone.issuer
    account = account_of(organization, issuer.pk)
    try:
        found = charging.estimate(
            account=account,
            issuer=issuer,
            tariff_version=version,
            provider=provider.party,
            quantity=quantity,
            start_at=start_at,
            end_at=end_at,
        )
    except charging.NotChargeableError as refusal:
        raise NoPriceError(f"offering {offering.code}: {refusal}") from refusal
    if is_granted:
        found = promises.promise(estimate=found, party_id=organization.party_id, issuer=issuer, account=account)
    return {
        "currency": issuer.currency,
        "net_minor": found.net_minor,
        "tax_minor": found.tax_minor,
        "gross_minor": found.gross_minor,
        "subsidy_minor": found.subsidy_minor,
        "reimbursed_minor": found.reimbursed_minor,
        "shares": promises.shares(found.charges),
        "parts": found.parts,
    }


def priced_again(quote: Quote) -> dict[str, Any]:
    """What the quote's hours would cost now, at its own tariff version. Raises NoPriceError."""
    return priced(
        offering=current(quote.offering),
        organization=quote.organization,
        version=quote.tariff_version,
        quantity=quote.quantity,
        start_at=quote.start_at,
        end_at=quote.end_at,
        is_granted=True,
    )


def account_of(organization: Organization, issuer_id: int) -> Account | None:
    """The account that the organization is billed on; None before its first reservation."""
    accounts = Account.objects.filter(issuer=issuer_id, party=organization.party_id).select_related("issuer", "party")
    return accounts.order_by("id").first()


def _terms(offering: Offering) -> Mapping[str, Any]:
    """What the buyer was promised, frozen with the price."""

    def text(value: object) -> str | None:
        return None if value is None else str(value)

    return {
        "cancellation_terms": offering.cancellation_terms,
        "service_level_percent": text(offering.service_level_percent),
        "service_credit_percent": text(offering.service_credit_percent),
        "min_hours": offering.min_hours,
        "max_hours": offering.max_hours,
    }


def _good_until(at: datetime, start_at: datetime) -> datetime:
    return min(at + timedelta(minutes=QUOTE_MINUTES), late_until(at, start_at))


def late_until(at: datetime, start_at: datetime) -> datetime:
    """How long what begins at start_at can still be taken."""
    return max(start_at, at) + timedelta(minutes=LATE_MINUTES)
