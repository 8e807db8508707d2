"""The evidence of a claim as a ZIP file: what is asked of the funder, and what proves each part of it.

| file | what it is |
| --- | --- |
| `claim.csv`, `claim.xlsx` | a row for each line of an invoice that is claimed |
| `invoices/NUMBER/invoice.LANGUAGE.pdf` | the document, in the language of its account |
| `invoices/NUMBER/snapshot.json` | its snapshot, whose SHA-256 is that of the invoice |
| `invoices/NUMBER/contracts.json` | the contracts of the claimed lines, and those whose readings they count |
| `invoices/NUMBER/meters.json` | of each claimed line by the meter, the digest of the readings that it counts (billing.digests), \
of all its contracts together and of each |
| `invoices/NUMBER/ledger.json` | what the ledger knows: the postings of the receivable, and of what the funder owes |
| `ledger.json` | what the ledger knows of the claim itself |
| `manifest.json` | the claim and its state, rows, control totals by currency, the SHA-256 of each of the other files |

The same rows give the same bytes: names in order and the manifest last, no compression, one date in all entries.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import groupby
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import xlsxwriter  # type: ignore[import-untyped]  # no stubs

from billing import digests, evidence
from billing.documents.fonts import GlyphMissingError
from billing.documents.invoice import render_invoice
from billing.exports.tables import BOM, Cell, Formats, csv_row, major, sheet, xlsx_row
from billing.models import Claim, ClaimLine, Clawback, Contract, Invoice, InvoiceLine, Meter, Posting, Programme

if TYPE_CHECKING:
    from billing.documents.labels import Language

FORMAT: Final = "suanli-claim/1"
WHAT_IS_PAID: Final = (
    "No payment is recorded here yet. What stands for it is what the ledger knows: the postings of the buyer's receivable, of"
    " what the funder owes, and of the claim once it is settled."
)
COLUMNS: Final = {
    "programme": 18,
    "claim": 18,
    "month": 10,
    "invoice": 18,
    "issued_date": 12,
    "account": 16,
    "buyer_name": 34,
    "buyer_credit_code": 22,
    "line_position": 12,
    "contract": 18,
    "provider": 34,
    "charge": 10,
    "kind": 12,
    "start": 27,
    "end": 27,
    "currency": 10,
    "line_net_minor": 16,
    "redeemed_minor": 16,
    "clawed_back_minor": 16,
    "claimed_minor": 16,
    "paid_minor": 16,
    "line_net": 16,
    "claimed": 16,
    "paid": 16,
}
METERED: Final = ("energy", "demand")
_KNOWN = ("receivable", "subsidy_receivable", "subsidy_income", "bank_clearing")
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP file can have
Files = Iterator[tuple[str, bytes]]


def write(*, claim: Claim, output: BinaryIO) -> dict[str, Any]:
    """Write the ZIP and give back its manifest. One invoice's documents at a time are in memory."""
    lines = _lines(claim)
    listed: list[dict[str, Any]] = []
    unprinted: list[str] = []
    with ZipFile(output, "w", ZIP_STORED) as archive:
        for name, content in _files(claim, lines, unprinted):
            _add(archive, name, content)
            listed.append({"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
        manifest = _manifest(claim, lines, listed, unprinted)
        _add(archive, "manifest.json", _json(manifest))
    return manifest


def _add(archive: ZipFile, name: str, content: bytes) -> None:
    entry = ZipInfo(name, _DATE)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # a file of Unix, wherever this runs
    archive.writestr(entry, content)


def _lines(claim: Claim) -> list[ClaimLine]:
    """By invoice and position, with all that is told of them."""
    rows = claim.lines.select_related(
        "claim__programme",
        "redemption__line__invoice__account__party",
        "redemption__line__invoice__corrects__period",
        "redemption__line__invoice__period",
        "redemption__line__contract__account__party",
        "redemption__line__contract__provider",
        "redemption__line__contract__tariff",
        "redemption__line__contract__tariff_version",
        "redemption__share",
    )
    return sorted(rows, key=lambda row: (_number(row), row.redemption.line.position, row.pk))


def _number(row: ClaimLine) -> str:
    return row.redemption.line.invoice.number or ""


def _files(claim: Claim, lines: Sequence[ClaimLine], unprinted: list[str]) -> Files:
    """In the order of their names."""
    yield "claim.csv", BOM + csv_row(list(COLUMNS)) + b"".join(csv_row(_cells(claim, row)) for row in lines)
    yield "claim.xlsx", _workbook(claim, lines)
    for number, of_invoice in groupby(lines, key=_number):
        for name, content in _of_invoice(list(of_invoice), unprinted):
            yield f"invoices/{number}/{name}", content
    yield "ledger.json", _json(_journals(claim.programme, sources=[f"claim:{claim.programme.code}:{claim.key}"]))


def _cells(claim: Claim, row: ClaimLine) -> list[Cell]:
    """In the order of COLUMNS."""
    redemption, currency = row.redemption, claim.programme.currency
    line, invoice = redemption.line, redemption.line.invoice
    amounts = (line.amount_minor, redemption.amount_minor, redemption.clawed_back_minor, row.amount_minor)
    return [
        claim.programme.code,
        claim.key,
        redemption.share.month,
        invoice.number,
        invoice.issued_at.astimezone(UTC).date() if invoice.issued_at else None,
        invoice.account.code,
        invoice.account.party.legal_name,
        invoice.account.party.credit_code,
        line.position,
        line.contract.number,
        line.contract.provider.legal_name,
        line.charge,
        line.kind,
        line.start_at.astimezone(UTC).isoformat(),
        line.end_at.astimezone(UTC).isoformat(),
        currency,
        *amounts,
        row.paid_minor,
        major(line.amount_minor, currency),
        major(row.amount_minor, currency),
        None if row.paid_minor is None else major(row.paid_minor, currency),
    ]


def _workbook(claim: Claim, lines: Sequence[ClaimLine]) -> bytes:
    output = BytesIO()
    with TemporaryDirectory(prefix="suanli-claim-") as folder:
        workbook = xlsxwriter.Workbook(output, {"constant_memory": True, "tmpdir": folder})
        made, formats = sheet(workbook, "claim", COLUMNS), Formats(workbook)
        for number, row in enumerate(lines, 1):
            xlsx_row(made, number, COLUMNS, _cells(claim, row), formats)
        # Else it would be the time of day, and the file never the same twice.
        workbook.set_properties({"created": claim.made_at.astimezone(UTC).replace(tzinfo=None)})
        workbook.close()
    return output.getvalue()


# Of one invoice


def _of_invoice(rows: Sequence[ClaimLine], unprinted: list[str]) -> Files:
    """In the order of their names."""
    invoice = rows[0].redemption.line.invoice
    snapshot, language = invoice.snapshot or "", cast("Language", invoice.account.language)
    rated = {row.pk: _rated_from(row.redemption.line) for row in rows}
    contracts = {each.number: each for row in rows for each in (*rated[row.pk], row.redemption.line.contract)}
    yield "contracts.json", _json([_contract(contract) for _, contract in sorted(contracts.items())])
    try:
        yield f"invoice.{language}.pdf", render_invoice(snapshot=snapshot, language=language)
    except GlyphMissingError as error:
        unprinted.append(f"{invoice.number}: “{error.value}” has a character that the font lacks")
    yield "ledger.json", _json(_journals(rows[0].claim.programme, sources=_sources(invoice), invoice=invoice))
    yield "meters.json", _json(list(_meters(rows, rated)))
    yield "snapshot.json", snapshot.encode()


def _contract(contract: Contract) -> dict[str, Any]:
    """What the buyer and the funder may know of it: not the platform's fee."""
    version = contract.tariff_version
    return {
        "number": contract.number,
        "account": contract.account.code,
        "buyer": _party(contract.account.party),
        "provider": _party(contract.provider),
        "tariff": contract.tariff.code,
        "tariff_version": None if version is None else version.version,
        "start": contract.start_at.astimezone(UTC).isoformat(),
        "end": None if contract.end_at is None else contract.end_at.astimezone(UTC).isoformat(),
    }


def _party(party: Any) -> dict[str, str]:
    return {"name": party.legal_name, "credit_code": party.credit_code}


def _rated_from(line: InvoiceLine) -> list[Contract]:
    """The contracts whose readings the line counts; none of a line that no meter measured."""
    if line.kind not in METERED:
        return []
    return evidence.contracts(contract=line.contract, start_at=line.start_at, end_at=line.end_at)


def _meters(rows: Sequence[ClaimLine], rated: Mapping[int, Sequence[Contract]]) -> Iterator[dict[str, Any]]:
    """Of each line of which readings were counted: the digest of all of them in its time, and of those of each contract."""
    for row in rows:
        line = row.redemption.line
        code = line.explanation.get("meter") if line.kind in METERED else None
        meter = Meter.objects.filter(code=code).first() if code else None
        if meter is None:
            continue
        each = [_read(line, contract, meter) for contract in rated[row.pk]]
        found = [reading for _, readings in each for reading in readings]
        yield {
            "line_position": line.position,
            "contract": line.contract.number,
            "meter": meter.code,
            "start": line.start_at.astimezone(UTC).isoformat(),
            "end": line.end_at.astimezone(UTC).isoformat(),
            "readings": len(found),
            "sha256": digests.of_readings(found),
            "contracts": [told for told, _ in each],
        }


def _read(line: InvoiceLine, contract: Contract, meter: Meter) -> tuple[dict[str, Any], list[digests.Row]]:
    """What is told of a contract's readings, which count in its own time alone, and they themselves."""
    start_at = max(line.start_at, contract.start_at)
    end_at = line.end_at if contract.end_at is None else min(line.end_at, contract.end_at)
    found = list(digests.readings(contract=contract, meter=meter, start_at=start_at, end_at=end_at))
    told = {
        "contract": contract.number,
        "start": start_at.astimezone(UTC).isoformat(),
        "end": end_at.astimezone(UTC).isoformat(),
        "readings": len(found),
        "sha256": digests.of_readings(found),
    }
    return told, found


def _sources(invoice: Invoice) -> list[str]:
    """Of the journals that tell of an invoice: its issue, the notes that corrected it, and what was clawed back."""
    origin = invoice.corrects or invoice
    sources = [f"invoice:{origin.period.code}:{invoice.account.code}"]
    sources += [f"correction:{origin.number}:{note.place}" for note in origin.corrections.order_by("place")]
    back = Clawback.objects.filter(redemption__share__invoice=invoice).order_by("pk").values_list("source", flat=True)
    return [*sources, *(f"clawback:{source}" for source in dict.fromkeys(back))]


def _journals(programme: Programme, *, sources: Sequence[str], invoice: Invoice | None = None) -> dict[str, Any]:
    """Their postings on the receivable and on what the funder owes: no costs, no fees."""
    postings = Posting.objects.filter(
        journal__issuer=programme.issuer_id, journal__source__in=sources, ledger_account__name__in=_KNOWN
    ).select_related("journal__period", "ledger_account__account", "ledger_account__party")
    found: dict[str, dict[str, Any]] = {}
    for posting in postings.order_by("journal", "pk"):
        journal, kept = posting.journal, posting.ledger_account
        told = found.setdefault(
            journal.key,
            {
                "journal": journal.key,
                "date": journal.effective_date.isoformat(),
                "period": journal.period.code,
                "posted_at": journal.posted_at.astimezone(UTC).isoformat(),
                "postings": [],
            },
        )
        told["postings"].append(
            {
                "ledger_account": kept.name,
                "kept_for": kept.account.code if kept.account else kept.party.credit_code if kept.party else "",
                "currency": kept.currency,
                "amount_minor": posting.amount_minor,
            }
        )
    return {
        "said": WHAT_IS_PAID,
        "invoice": None if invoice is None else invoice.number,
        "journals": list(found.values()),
    }


# What is in it


def _manifest(
    claim: Claim, lines: Sequence[ClaimLine], listed: list[dict[str, Any]], unprinted: list[str]
) -> dict[str, Any]:
    programme = claim.programme
    paid = [row.paid_minor for row in lines if row.paid_minor is not None]
    totals = {"claimed_minor": sum(row.amount_minor for row in lines), "paid_minor": sum(paid) if paid else None}
    return {
        "format": FORMAT,
        "claim": {
            "programme": programme.code,
            "programme_name": programme.name,
            "key": claim.key,
            "state": claim.state,
            "claimant": _party(claim.claimant),
            "funder": None if programme.funder is None else _party(programme.funder),
            "months": sorted({row.redemption.share.month for row in lines}),
            "amount_minor": claim.amount_minor,
            "paid_minor": claim.paid_minor,
            "reason": claim.reason,
            "made_at": _moment(claim.made_at),
            "submitted_at": _moment(claim.submitted_at),
            "settled_at": _moment(claim.settled_at),
        },
        "rows": len(lines),
        "invoices": len({_number(row) for row in lines}),
        "totals": {programme.currency: totals},
        "payments": WHAT_IS_PAID,
        "not_printed": unprinted,
        "files": listed,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()
