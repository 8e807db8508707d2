"""manage.py explain LG-2020-000001 --line 3: why each line was charged, and the digest of the readings behind it."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import usage
from billing.documents import figures
from billing.documents.content import item
from billing.documents.explanation import explain
from billing.documents.labels import LANGUAGES, Language
from billing.documents.words import sentences
from billing.models import Contract, Invoice, UsageEvent
from marketplace.behind import Behind, behind


class Command(BaseCommand):
    help = "Say why the lines of an issued invoice were charged, with the digest of the readings that each counts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("invoice", help="its number, such as LG-2020-000001")
        parser.add_argument("--line", type=int, metavar="N", help="one line, by its position; else all of them")
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument("--language", choices=LANGUAGES, default="en")
        parser.add_argument("--issuer", metavar="CODE", help="whose invoice, where several issuers have that number")

    def handle(self, *_args: Any, **options: Any) -> None:
        invoice = _invoice(options["invoice"], options["issuer"])
        snapshot = json.loads(invoice.snapshot or "")
        lines = snapshot["lines"]
        if options["line"] is not None:
            lines = [line for line in lines if line["position"] == options["line"]]
            if not lines:
                raise CommandError(
                    f"--line is {options['line']}: expected 1 to {len(snapshot['lines'])}, the lines of {invoice.number}."
                )
        told = [_told(invoice, snapshot, line, options["language"]) for line in lines]
        if options["format"] == "json":
            text = json.dumps({"invoice": invoice.number, "lines": told}, ensure_ascii=False, indent=2)
        else:
            text = "\n\n".join([f"{invoice.number}  {invoice.account.code}  {invoice.period.code}", *map(_text, told)])
        self.stdout.write(text)


def _invoice(number: str, issuer: str | None) -> Invoice:
    found = Invoice.objects.filter(number=number, state=Invoice.State.ISSUED).select_related("account", "period")
    if issuer is not None:
        found = found.filter(issuer__code=issuer)
    some = list(found[:2])
    if not some:
        raise CommandError(f"invoice is {number!r}: expected the number of an issued invoice.")
    if len(some) > 1:
        raise CommandError(f"invoice is {number!r}, which several issuers have: expected --issuer as well.")
    return some[0]


def _told(invoice: Invoice, snapshot: dict[str, Any], line: dict[str, Any], language: Language) -> dict[str, Any]:
    period = invoice.period
    contract = Contract.objects.select_related("tariff").get(number=line["contract"])
    found = behind(line=line, contract=contract, period=period, read=usage.profile)
    zone, currency = period.timezone, snapshot["currency"]
    formula, facts = explain(line=line, timezone=zone, currency=currency, language=language)
    return {
        "position": line["position"],
        "item": item(line, language),
        "contract": line["contract"],
        "charge": line["charge"],
        "amount": figures.money(line["amount_minor"], currency),
        "why": sentences(snapshot=snapshot, line=line, language=language),
        "formula": formula,
        "facts": dict(facts),
        "readings": None if found is None else _readings(found, invoice),
    }


def _readings(found: Behind, invoice: Invoice) -> dict[str, Any]:
    return {
        "count": len(found.parts),
        "sha256": found.digest(),
        "as_billed": found.is_as_billed,
        "events_after_invoice": _late(found, invoice),
    }


def _late(found: Behind, invoice: Invoice) -> int:
    """How many events of this contract, meter and month were recorded or matched after the invoice; it looks at each of the month's."""
    annotated: Any = UsageEvent.objects.recorded_after_invoice()
    late: int = annotated.filter(
        contract__in=[contract.pk for contract in found.contracts],
        meter=found.meter,
        time__lt=invoice.period.end_at,
        until__gt=invoice.period.start_at,
        counted_at__gt=invoice.issued_at,
    ).count()
    return late


def _text(told: dict[str, Any]) -> str:
    rows = [f"{told['position']}. {told['item']}  {told['amount']}  ({told['contract']}, {told['charge']})"]
    rows += [f"   {each}" for each in (*told["why"], told["formula"]) if each]
    if (readings := told["readings"]) is not None:
        rows.append(f"   readings: {readings['count']:,}, SHA-256 {readings['sha256']}")
        if not readings["as_billed"] or readings["events_after_invoice"]:
            rows.append(
                f"   changed since the invoice: {readings['events_after_invoice']:,} events of the month came after it"
            )
    return "\n".join(rows)
