"""Invoices and what comes after them: late events, retractions, amendments, notes; and that all ties."""

from datetime import timedelta
from fractions import Fraction

from billing import adjustments, charging, drafts, invoicing, standing
from billing.models import Adjustment, Contract, Invoice, Posting, ProgrammeShare
from billing.rating import money
from billing.usage import Event, record
from tests.billing import programmes_world, world

AFTER = world.JUNE + timedelta(hours=1)
HOUR = timedelta(hours=1)


def send(contract: Contract, event_id, time, *, hours=1, gpus=1, at=AFTER, amends=None):
    """GPUs over whole hours from `time` on, sent by the provider; `amends`: instead of another event."""
    data = {"value": str(gpus), "duration_seconds": 3600 * hours}
    event = Event(event_id, "s", "gpu.sample", contract.number, time, data, amends=amends)
    [result] = record(owner=contract.provider, events=[event], at=at).results
    assert result.outcome == "counted"


def retract(contract: Contract, event_id, *, at=AFTER):
    event = Event(f"no {event_id}", "s", "", "", None, {}, retracts=event_id)
    [result] = record(owner=contract.provider, events=[event], at=at).results
    assert result.outcome == "counted"


def issue(account, *, code="2020-05", at=world.JUNE):
    period = invoicing.open_period(issuer=account.issuer, code=code)
    return invoicing.issue(account=account, period=period, at=at, actor="test")


def find(invoice, *, at=AFTER) -> Adjustment | None:
    return adjustments.find(invoice=invoice, at=at, actor="test")


def correct(invoice, *, at=AFTER) -> Invoice:
    """The note of what differs now."""
    adjustment = find(invoice, at=at)
    assert adjustment is not None
    return adjustments.issue(adjustment=adjustment, reason="seen", at=at, actor="staff")


def told(document):
    """Its lines: charge, time of use, tier, quantity, net."""
    return [
        (line.charge, line.tou_period, line.tier, f"{line.quantity.normalize():f}", line.amount_minor)
        for line in document.lines.order_by("position")
    ]


def amounts(document):
    return document.net_minor, document.tax_minor, document.gross_minor, document.subsidy_minor, document.payable_minor


def check(invoice):
    """Invoice and notes are what one invoice of the readings as they are would be: lines, tax, cost and VAT of each
    provider; nothing differs any more; and all that programmes paid ties.
    """
    period, account = invoice.period, invoice.account
    stands = standing.of(Invoice.objects.select_related("account__party", "issuer", "period").get(pk=invoice.pk))
    charges = charging.charges(account=account, period=period)
    rated = {key: standing.figures(line) for key, line in standing.keyed(charges.lines).items()}
    stood = {key: row.figures for key, row in stands.rows.items()}
    nothing = standing.Figures()
    for key in rated.keys() | stood.keys():
        now, was = rated.get(key, nothing), stood.get(key, nothing)
        assert (now.micro, now.amount_minor) == (was.micro, was.amount_minor)
        layers = stands.rows[key].layers if key in stands.rows else []
        assert sum(layer.amount_minor for layer in layers) == now.amount_minor
    beside = standing.beside(stands)
    for total in money.taxes([line.line for line in charges.lines]).totals:
        rate = (total.category, total.rate)
        net_minor = total.net_minor - beside[rate]
        tax_minor = total.tax_minor if not beside[rate] else money.round_half_up(net_minor * Fraction(total.rate), 0)
        assert stands.taxed[rate] == (net_minor, tax_minor)
    providers = {line.supply.provider_id for line in charges.lines}
    for provider_id, bought in standing.bought(stands).items():
        assert bought == (drafts.purchase(charges, provider_id) if provider_id in providers else (0, 0))
    _check_sides(stands)
    programmes_world.check_ties()


def _check_sides(stands):
    """Buyer + programmes = providers + fee + net VAT, on each document, its clawbacks' journals included."""
    for document in stands.documents:
        invoice = stands.invoice
        key = f"invoice:{invoice.period.code}:{invoice.account.code}"
        if document.place:
            key = standing.note_key(invoice, document.place)
        rows = Posting.objects.filter(journal__issuer=invoice.issuer, journal__source__startswith=key)
        back = Posting.objects.filter(journal__issuer=invoice.issuer, journal__source__startswith=f"clawback:{key}/")
        sides: dict[str, int] = {}
        for name, amount_minor in (rows | back).values_list("ledger_account__name", "amount_minor"):
            sides[name] = sides.get(name, 0) + amount_minor
        assert sum(sides.values()) == 0
        assert sides.get("receivable", 0) == document.payable_minor
        assert sides.get("subsidy_receivable", 0) == document.subsidy_minor
        assert -sides.get("vat_output", 0) == document.tax_minor
        margin_minor = document.net_minor - sides.get("cost_of_compute", 0)
        net_vat_minor = document.tax_minor - sides.get("vat_input", 0)
        assert document.payable_minor + document.subsidy_minor == (
            -sides.get("provider_payable", 0) + margin_minor + net_vat_minor
        )


def shares(document):
    """By programme: what it pays of the document, and what limited it."""
    rows = ProgrammeShare.objects.filter(invoice=document).order_by("pk")
    return list(rows.values_list("programme__code", "month", "share_minor", "limited_by"))
