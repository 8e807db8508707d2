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


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def canonical(content: object) -> str:
    return _ENCODER.encode(content)


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


_SAID_OF_A_NOTE = ("kind", "corrects", "billing_period", "lines", "taxes", "net_minor", "tax_minor", "gross_minor")
_SAID_OF_PROGRAMMES = ("subsidy_minor", "payable_minor", "funding", "clawed_back")


def corrections(*, invoice: Mapping[str, Any], notes: Sequence[tuple[str | None, Mapping[str, Any]]]) -> dict[str, Any]:
    """What an invoice says of the notes that are settled on it, and what is due in all. `invoice`: its content without that;
    `notes`: the number of each, None before it has one, and its content.
    """
    told = []
    taxes: dict[tuple[str, str], list[int]] = {}
    for number, note in notes:
        told.append(
            {"number": number}
            | {key: note[key] for key in _SAID_OF_A_NOTE}
            | {key: note[key] for key in _SAID_OF_PROGRAMMES if key in note}
        )
        for tax in note["taxes"]:
            sums = taxes.setdefault((tax["category"], tax["rate"]), [0, 0])
            sums[0], sums[1] = sums[0] + tax["net_minor"], sums[1] + tax["tax_minor"]
    payable_minor = sum(payable(note) for _, note in notes)
    return {
        "notes": told,
        "taxes": [
            {"category": category, "rate": rate, "net_minor": net_minor, "tax_minor": tax_minor}
            for (category, rate), (net_minor, tax_minor) in sorted(taxes.items())
        ],
        **{key: sum(note[key] for _, note in notes) for key in ("net_minor", "tax_minor", "gross_minor")},
        "subsidy_minor": sum(note.get("subsidy_minor", 0) for _, note in notes),
        "payable_minor": payable_minor,
        "due_minor": payable(invoice) + payable_minor,
    }


def payable(content: Mapping[str, Any]) -> int:
    """What the buyer pays of a document: all of it, but for what programmes pay in its place."""
    payable_minor: int = content.get("payable_minor", content["gross_minor"])
    return payable_minor


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
