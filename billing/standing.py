"""What stands of an issued invoice: its lines with all that corrected them, what was taxed, what its providers are owed."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from django.db.models import F, Sum

from billing import charging
from billing.charging import ChargedLine
from billing.drafts import Rate
from billing.models import Adjustment, Invoice, InvoiceLine, Posting, Programme, Redemption
from billing.rating.correction import Figures, Key, taken
from billing.rating.line import Line
from billing.rating.money import exponent, round_half_up


@dataclass(frozen=True, slots=True)
class Layer:
    """What is left of the amount that one document's line added."""

    invoice: Invoice
    position: int
    amount_minor: int


@dataclass(slots=True)
class Row:
    """A line as it stands: what it is, in which layers; `conceded_minor` is what disputes took off it."""

    charged: ChargedLine
    figures: Figures = field(default_factory=Figures)
    layers: list[Layer] = field(default_factory=list)
    conceded_minor: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """An invoice (with account, party, issuer and period) and the notes that corrected it, in their order.

    `taxed`: net and tax by rate, over all of them.
    """

    invoice: Invoice
    notes: tuple[Invoice, ...]
    rows: Mapping[Key, Row]
    taxed: Mapping[Rate, tuple[int, int]]

    @property
    def documents(self) -> tuple[Invoice, ...]:
        return (self.invoice, *self.notes)

    @property
    def key(self) -> str:
        """Under which the next note posts and claws back."""
        return note_key(self.invoice, len(self.notes) + 1)


def note_key(invoice: Invoice, place: int) -> str:
    return f"correction:{invoice.number}:{place}"


def of(invoice: Invoice) -> Standing:
    """Three queries. `invoice` comes with what Standing says."""
    notes = tuple(
        Invoice.objects.filter(corrects=invoice, state=Invoice.State.ISSUED)
        .select_related("adjustment", "period")
        .order_by("place")
    )
    lines: dict[int, list[InvoiceLine]] = {}
    found = InvoiceLine.objects.filter(invoice__in=[invoice, *notes]).order_by("position")
    for line in found.select_related("contract__tariff", "contract__provider", "tariff_version"):
        lines.setdefault(line.invoice_id, []).append(line)
    rows: dict[Key, Row] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    taxed: dict[Rate, tuple[int, int]] = {}
    for document in (invoice, *notes):
        document.account = invoice.account
        is_dispute = document.pk != invoice.pk and document.adjustment.cause == Adjustment.Cause.DISPUTE
        for line in lines.get(document.pk, ()):
            key = _key(line, seen if document.pk == invoice.pk else None)
            row = rows.setdefault(key, Row(charged(line, invoice.currency)))
            row.figures += figures(line)
            _stack(row, Layer(document, line.position, line.amount_minor))
            row.conceded_minor -= line.amount_minor if is_dispute else 0
        for tax in json.loads(document.snapshot or "")["taxes"]:
            rate = (tax["category"], Decimal(tax["rate"]))
            net_minor, tax_minor = taxed.get(rate, (0, 0))
            taxed[rate] = net_minor + tax["net_minor"], tax_minor + tax["tax_minor"]
    return Standing(invoice, notes, rows, taxed)


def _key(line: InvoiceLine, seen: Counter[tuple[object, ...]] | None) -> Key:
    """A note's line says which of equal lines it corrects; an invoice's are counted."""
    named = (
        line.contract_id,
        line.tariff_version_id,
        line.charge,
        line.tou_period,
        line.tier,
        line.start_at,
        line.end_at,
    )
    if seen is None:
        return Key(*named, ordinal=line.explanation["correction"]["ordinal"])
    seen[named] += 1
    return Key(*named, ordinal=seen[named] - 1)


def keyed(lines: tuple[ChargedLine, ...]) -> dict[Key, ChargedLine]:
    """Rated lines by the same keys."""
    seen: Counter[tuple[object, ...]] = Counter()
    found: dict[Key, ChargedLine] = {}
    for each in lines:
        line = each.line
        named = (
            each.supply.contract_id,
            each.tariff_version_id,
            line.charge,
            line.tou_period,
            line.tier,
            line.start,
            line.end,
        )
        found[Key(*named, ordinal=seen[named])] = each
        seen[named] += 1
    return found


def _stack(row: Row, added: Layer) -> None:
    parts, rest_minor = taken([layer.amount_minor for layer in row.layers], added.amount_minor)
    left = [
        Layer(layer.invoice, layer.position, layer.amount_minor - part)
        for layer, part in zip(row.layers, parts, strict=True)
    ]
    row.layers = [layer for layer in left if layer.amount_minor]
    if rest_minor:
        row.layers.append(Layer(added.invoice, added.position, rest_minor))


def figures(line: InvoiceLine | ChargedLine) -> Figures:
    if isinstance(line, ChargedLine):
        return Figures(round_half_up(line.line.quantity, 6), line.line.quantity_base, line.amount_minor)
    return Figures(round_half_up(Fraction(line.quantity), 6), line.quantity_base, line.amount_minor)


def charged(line: InvoiceLine, currency: str) -> ChargedLine:
    """A stored line as charging would give it. Its contract comes with tariff and provider."""
    return ChargedLine(
        supply=charging.supply_of(line.contract),
        tariff_version_id=line.tariff_version_id,
        tariff_version=line.tariff_version.version,
        line=Line(
            charge=line.charge,
            kind=line.kind,
            tou_period=line.tou_period,
            tier=line.tier,
            start=line.start_at,
            end=line.end_at,
            quantity=Fraction(line.quantity),
            quantity_base=line.quantity_base,
            unit=line.unit,
            base_unit=line.base_unit,
            unit_price=None if line.unit_price is None else line.unit_price.normalize(),
            amount=Fraction(line.amount_minor, 10 ** exponent(currency)),
            amount_minor=line.amount_minor,
            tax_category=line.tax_category,
            tax_rate=line.tax_rate.normalize(),
            tax_included=False,
            explanation=line.explanation,
        ),
        amount_minor=line.amount_minor,
    )


def bought(standing: Standing) -> dict[int, tuple[int, int]]:
    """What each provider was posted for the invoice and its notes: our cost, and the VAT on it."""
    invoice = standing.invoice
    keys = [f"invoice:{invoice.period.code}:{invoice.account.code}"]
    keys += [note_key(invoice, place) for place in range(1, len(standing.notes) + 1)]
    sides: dict[int, Counter[str]] = {}
    rows = Posting.objects.filter(
        journal__issuer=invoice.issuer_id,
        journal__key__in=keys,
        ledger_account__name__in=["cost_of_compute", "provider_payable"],
    )
    named = rows.values_list("ledger_account__party", "ledger_account__name")
    for provider_id, name, amount_minor in named.annotate(Sum("amount_minor")).order_by():
        sides.setdefault(provider_id, Counter())[name] = amount_minor
    return {
        provider_id: (of_one["cost_of_compute"], -of_one["provider_payable"] - of_one["cost_of_compute"])
        for provider_id, of_one in sides.items()
    }


def beside(standing: Standing) -> Counter[Rate]:
    """What programmes pay beside the price, which lessens the taxed amount, by rate, less what was clawed back."""
    rows = Redemption.objects.filter(
        share__invoice__in=standing.documents, share__programme__mode=Programme.Mode.VOUCHER
    ).exclude(share__programme__vat_treatment=Programme.VatTreatment.THIRD_PARTY_CONSIDERATION)
    found: Counter[Rate] = Counter()
    named = rows.values_list("line__tax_category", "line__tax_rate")
    for category, rate, amount_minor in named.annotate(
        total=Sum(F("amount_minor") - F("clawed_back_minor"))
    ).order_by():
        found[category, rate] += amount_minor
    return found


def paid(standing: Standing) -> Counter[int]:
    """What each programme pays of the invoice and its notes, less what was clawed back."""
    rows = Redemption.objects.filter(share__invoice__in=standing.documents).values_list("share__programme")
    return Counter(dict(rows.annotate(total=Sum(F("amount_minor") - F("clawed_back_minor"))).order_by()))
