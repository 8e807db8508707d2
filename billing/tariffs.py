"""Tariffs: documents published as immutable versions."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from billing.integrity import require_aware
from billing.models import Invoice, Party, Tariff, TariffVersion
from billing.rating import tariff as rating_tariff
from billing.rating.period import day_start
from billing.rating.tariff import TariffError

FIRST_YEAR, LAST_YEAR = 1970, 2999
"""What lies outside is a slip, and its midnight may lie outside of the calendar."""


class VersionTooEarlyError(Exception):
    """A version must apply later than those before it, and than what was invoiced under the tariff."""


class OwnerDiffersError(Exception):
    """The tariff's prices are another one's to set."""


def publish(*, document: Mapping[str, Any], at: datetime, actor: str, owner: Party | None = None) -> TariffVersion:
    """Publish a tariff document as the next version of its code, from effective[0] at local midnight of its time zone.

    The same document again gives the version that is there. A later version must apply from later than every version
    before it, and not within a billing period that a contract of this tariff was invoiced for: versions only ever
    change the future. `owner` sets the prices, None is the zone's operator; the first version says who, for good.
    Raises TariffError (its path, value and expected name what is wrong), OwnerDiffersError, VersionTooEarlyError.
    """
    require_aware("at", at)
    tariff_document = validated(document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    effective_at = day_start(tariff_document.effective[0], tariff_document.timezone)
    with transaction.atomic():
        facts = {"name": tariff_document.code, "owner": owner}
        tariff, _ = Tariff.objects.get_or_create(code=tariff_document.code, defaults=facts)
        Tariff.objects.select_for_update().get(pk=tariff.pk)
        _require_owner(tariff, owner)
        versions = list(tariff.versions.order_by("version"))
        for version in versions:
            if version.sha256 == sha256:
                return version
        if versions and effective_at <= versions[-1].effective_at:
            raise VersionTooEarlyError(
                f"effective[0] is {tariff_document.effective[0]}, {effective_at.isoformat()}: expected a day after"
                f" {versions[-1].effective_at.isoformat()}, from which version {versions[-1].version} of {tariff_document.code} applies"
            )
        _refuse_invoiced(tariff, effective_at)
        return TariffVersion.objects.create(
            tariff=tariff,
            version=len(versions) + 1,
            effective_at=effective_at,
            document=document,
            sha256=sha256,
            published_at=at,
            actor=actor,
        )


def _require_owner(tariff: Tariff, owner: Party | None) -> None:
    if tariff.owner_id == (owner and owner.pk):
        return
    ours = "the operator" if owner is None else owner.legal_name
    raise OwnerDiffersError(f"code is {tariff.code!r}: that tariff is another's: expected a code of {ours}'s own")


def validated(document: Mapping[str, Any]) -> rating_tariff.Tariff:
    """Read a tariff document: by the parser, whose words are plainer, and by its JSON Schema. Raises TariffError."""
    tariff = rating_tariff.parse(document)
    error = best_match(_validator().iter_errors(document))
    if error is not None:
        raise TariffError(_path(error.absolute_path), error.instance, f"what the schema says: {error.message}")
    for place, day in enumerate(tariff.effective):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            expected = f"a day of the years {FIRST_YEAR} to {LAST_YEAR}"
            raise TariffError(f"effective[{place}]", day.isoformat(), expected)
    return tariff


def of_version(version: TariffVersion) -> rating_tariff.Tariff:
    """The tariff of a published version that was read whole."""
    return parsed(json.dumps(version.document))


@lru_cache(maxsize=512)
def parsed(text: str) -> rating_tariff.Tariff:
    """The tariff of a published document's text; parsed once a process."""
    return rating_tariff.parse(json.loads(text))


def _refuse_invoiced(tariff: Tariff, effective_at: datetime) -> None:
    runs_on = Q(account__contracts__end_at=None) | Q(account__contracts__end_at__gt=F("period__start_at"))
    invoices = Invoice.objects.filter(
        runs_on,  # also where the invoice has no line of the contract, since nothing was used
        state=Invoice.State.ISSUED,
        kind=Invoice.Kind.INVOICE,
        period__end_at__gt=effective_at,
        account__contracts__tariff=tariff,
        account__contracts__tariff_version=None,  # a reservation's has the one version that it was booked at
        account__contracts__start_at__lt=F("period__end_at"),
    )
    last = invoices.select_related("period").order_by("-period__end_at").first()
    if last is not None:
        raise VersionTooEarlyError(
            f"effective[0] is at {effective_at.isoformat()}: expected {last.period.end_at.isoformat()} or later, since"
            f" period {last.period.code} is invoiced under {tariff.code}"
        )


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    return Draft202012Validator(rating_tariff.schema())


def _path(parts: Sequence[str | int]) -> str:
    """As the parser writes it: charges[2].prices.peak[0].price."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")
