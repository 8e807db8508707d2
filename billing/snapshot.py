"""The canonical text of an issued invoice: PDF, XML and CSV are made from it alone.

Sorted keys, no blanks, UTF-8 as it is. Nothing in it is random, read from a clock, or an id of the database.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from billing.charging import ChargedLine, Charges
from billing.documents.explanation import said
from billing.models import Account, BillingPeriod, Party

FORMAT = "suanli-invoice/1"


def canonical(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(text: str) -> str:
    """SHA-256 of the text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Note:
    """What a credit or debit note says beside what an invoice does: of itself, and of each of its lines."""

    facts: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]


def invoice(
    *,
    account: Account,
    period: BillingPeriod,
    charges: Charges,
    at: datetime,
    due_date: date,
    note: Note | None = None,
) -> tuple[str, str]:
    """The invoice, or the note, as canonical JSON: the text before and after its number, which is taken last.

    `account` comes with its party, its issuer and the issuer's party. A note's `period` is that of the invoice.
    """
    zone = ZoneInfo(period.timezone)
    content: dict[str, Any] = {
        "format": FORMAT,
        "issuer": _party(account.issuer.party),
        "buyer": {"account": account.code, "language": account.language, **_party(account.party)},
        "billing_period": {
            "code": period.code,
            "start": period.start_at.astimezone(zone).isoformat(),
            "end": period.end_at.astimezone(zone).isoformat(),
            "timezone": period.timezone,
        },
        "issued_at": at.astimezone(zone).isoformat(),
        "due_date": due_date.isoformat(),
        "currency": charges.currency,
        "lines": [_line(position, line, zone) for position, line in enumerate(charges.lines, 1)],
        "taxes": [
            {
                "category": total.category,
                "rate": f"{total.rate:f}",
                "net_minor": total.net_minor,
                "tax_minor": total.tax_minor,
            }
            for total in charges.taxes
        ],
        "net_minor": charges.net_minor,
        "tax_minor": charges.tax_minor,
        "gross_minor": charges.gross_minor,
    }
    if charges.funding:  # a document without a programme names none
        content |= _funding(charges)
        content["lines"] = [line | _line_funding(charges, place) for place, line in enumerate(content["lines"])]
    if note is not None:
        content |= note.facts
        content["lines"] = [line | more for line, more in zip(content["lines"], note.lines, strict=True)]
    before = canonical({key: content[key] for key in content if key < "number"})
    after = canonical({key: content[key] for key in content if key > "number"})
    return f'{before[:-1]},"number":"', f'",{after[1:]}'


def _funding(charges: Charges) -> dict[str, Any]:
    """What programmes pay, in the order in which they do, those that pay 0 too."""
    return {
        "subsidy_minor": charges.subsidy_minor,
        "payable_minor": charges.payable_minor,
        "funding": [
            {
                "programme": each.offered.offer.code,
                "name": each.offered.name,
                "name_en": each.offered.name_en,
                "funder": each.offered.funder,
                "mode": each.offered.mode,
                "vat_treatment": each.offered.vat_treatment,
                "percent": _plain(each.offered.offer.percent),
                "unit_amount": _plain(each.offered.offer.unit_amount),
                "unit": each.offered.offer.unit,
                "eligible_minor": each.share.eligible_minor,
                "wanted_minor": each.share.wanted_minor,
                "share_minor": each.share.share_minor,
                "limited_by": each.share.limited_by,
            }
            for each in charges.funding
        ],
    }


def _plain(value: Decimal | None) -> str | None:
    """Without trailing zeros and exponent: 30.00 is "30"."""
    return None if value is None else f"{value.normalize():f}"


def _line_funding(charges: Charges, place: int) -> dict[str, Any]:
    amount_minor = charges.lines[place].amount_minor
    subsidy_minor = sum(each.share.by_line[place] for each in charges.funding if each.offered.is_offset)
    return {
        "list_minor": amount_minor,
        "subsidy_minor": subsidy_minor,
        "payable_minor": amount_minor - subsidy_minor,
        "funding": [
            {"programme": each.offered.offer.code, "share_minor": each.share.by_line[place]}
            for each in charges.funding
            if each.share.by_line[place]
        ],
    }


def _party(party: Party) -> dict[str, str]:
    return {
        "name": party.legal_name,
        "name_en": party.legal_name_en,
        "credit_code": party.credit_code,
        "address": party.address,
    }


def _line(position: int, charged: ChargedLine, zone: ZoneInfo) -> dict[str, Any]:
    line = charged.line
    return {
        "position": position,
        "contract": charged.supply.contract,
        "tariff": charged.supply.tariff,
        "tariff_version": charged.tariff_version,
        "provider": charged.supply.provider,
        "charge": line.charge,
        "tou_period": line.tou_period,
        "tier": line.tier,
        "tax_category": line.tax_category,
        "tax_rate": f"{line.tax_rate:f}",
        **said(line=line, amount_minor=charged.amount_minor, zone=zone),
    }
