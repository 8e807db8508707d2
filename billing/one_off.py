"""One-off charges: amounts that no meter measures, such as a cancellation fee or a service credit.

They are lines of the invoice of the period that they are dated in, of the contract that they belong to.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from billing import booked, contracts, tariffs
from billing.integrity import fetch_one, in_transaction, require_aware, require_same
from billing.models import Contract, OneOffCharge, TariffVersion
from billing.rating.fields import read_decimal
from billing.rating.tariff import TariffError, Tax

# Codes with a name of their own on documents (billing.documents.labels); others print as they are.
CANCELLATION_FEE = "CANCEL"
SERVICE_CREDIT = "SERVICE"

# What a rated line's explanation says there, documents take for its own.
TAKEN = frozenset(
    [
        "tariff",
        "from",
        "to",
        "period",
        "per",
        "seconds",
        "quantity",
        "quantity_base",
        "base_per_unit",
        "unit_price",
        "amount",
        "intervals",
        "interval_seconds",
        "tier",
        "prorated",
        "measured_base",
        "time",
        "minimum",
        "counted",
        "reserved",
        "of",
        "counts",
        "ratchet",
        "at",
    ]
)
_DECIMALS = frozenset(["of_amount", "value"])
_LARGEST = 2**63 - 1
_STORED = ("kind", "code", "amount_minor", "tax_category", "tax_rate", "source", "created_at", "actor")


class InvalidOneOffError(ValueError):
    """A fact of a one-off charge is out of its range."""


class OneOffDiffersError(Exception):
    """The contract has a one-off charge of that source with other facts."""


class NoVersionError(Exception):
    """No version of the contract's tariff applies at the charge's time, so its tax is not known."""


def charge(
    *,
    contract: Contract,
    kind: str,
    code: str,
    at: datetime,
    amount_minor: int,
    why: Mapping[str, Any],
    source: str,
    actor: str,
    now: datetime,
) -> OneOffCharge:
    """Charge a fee (amount_minor > 0) or give a credit (< 0), net, in the period of `at`; taxed as the contract's tariff
    says then. The contract may be withdrawn or have ended.

    why: what the line's explanation says: texts and whole numbers, under keys that no rated line has (TAKEN). With
    "of_amount" and "value" (decimals as texts), a percentage of an amount in major units, which the document then prints.
    The same source again gives what is there, whatever its `at`. Raises InvalidOneOffError, OneOffDiffersError,
    NoVersionError, contracts.AlreadyInvoicedError: then a later `at` is given, in the first open period.
    """
    require_aware("at", at)
    _require_facts(kind, code, amount_minor, source)
    _require_why(why)
    facts = {"kind": kind, "code": code, "amount_minor": amount_minor}
    with in_transaction():
        contracts.lock(contract.account)
        tax = _tax(contract, at)
        made = OneOffCharge(
            contract=contract,
            at=at,
            tax_category=tax.category,
            tax_rate=tax.rate,
            why=dict(why),
            source=source,
            created_at=now,
            actor=actor,
            **facts,
        )
        shut, made.pk = _insert(made)
        if made.pk is not None:
            return made
        known = OneOffCharge.objects.filter(contract=contract, source=source).first()
        if known is not None:
            require_same(known, facts, OneOffDiffersError)
            return known
        contracts.require_open(contract.account, at, shut)
        raise AssertionError("unreachable")


_INSERT = f"""
WITH {booked.SHUT}, made AS (
    INSERT INTO billing_oneoffcharge (contract_id, kind, code, at, amount_minor, tax_category, tax_rate, why, source,
        created_at, actor)
    SELECT %(contract)s, %(kind)s, %(code)s, %(from_at)s, %(amount_minor)s, %(tax_category)s, %(tax_rate)s, %(why)s::jsonb,
        %(source)s, %(created_at)s, %(actor)s WHERE (SELECT what FROM shut) IS NULL
    ON CONFLICT (contract_id, source) DO NOTHING RETURNING id)
SELECT what, id FROM shut LEFT JOIN made ON true"""  # noqa: S608  - no text but ours


def _insert(charge: OneOffCharge) -> tuple[Any, ...]:
    """What is shut, and its id: none if its period is shut, or one of its source is there."""
    facts = {name: getattr(charge, name) for name in _STORED}
    asked = booked.open_from(charge.contract.account, charge.at, charge.at + timedelta(microseconds=1))
    row = fetch_one(_INSERT, facts | asked | {"contract": charge.contract_id, "why": json.dumps(charge.why)})
    assert row is not None
    return row


def _require_facts(kind: str, code: str, amount_minor: int, source: str) -> None:
    if kind not in OneOffCharge.Kind.values:
        raise InvalidOneOffError(f"kind is {kind!r}: expected one of {', '.join(OneOffCharge.Kind.values)}")
    is_fee = kind == OneOffCharge.Kind.FEE
    if not (0 < amount_minor <= _LARGEST if is_fee else -_LARGEST <= amount_minor < 0):
        raise InvalidOneOffError(
            f"amount_minor is {amount_minor}: expected {'more' if is_fee else 'less'} than 0 for a {kind}, within 64 bits"
        )
    for name, value, longest in (("code", code, 40), ("source", source, 120)):
        if not value or value != value.strip() or len(value) > longest:
            raise InvalidOneOffError(
                f"{name} is {value!r}: expected 1 to {longest} characters without spaces around them"
            )


def _require_why(why: Mapping[str, Any]) -> None:
    for key, value in why.items():
        if key in TAKEN:
            raise InvalidOneOffError(f"why.{key} is {value!r}: expected another key, since a rated line says it")
        if type(value) not in (str, int):
            raise InvalidOneOffError(f"why.{key} is {value!r}: expected a text or a whole number")
    try:
        for key in _DECIMALS & why.keys():
            read_decimal(why[key], f"why.{key}", "signed")
    except TariffError as error:
        raise InvalidOneOffError(str(error)) from error


def _tax(contract: Contract, at: datetime) -> Tax:
    if contract.tariff_version_id is not None:
        row = fetch_one("SELECT document::text FROM billing_tariffversion WHERE id = %s", [contract.tariff_version_id])
        assert row is not None
        return tariffs.parsed(row[0]).tax
    version = (
        TariffVersion.objects.filter(tariff=contract.tariff, effective_at__lte=at).order_by("-effective_at").first()
    )
    if version is None:
        raise NoVersionError(f"contract {contract}: no version of tariff {contract.tariff} applies at {at.isoformat()}")
    return tariffs.of_version(version).tax
