"""Credit and debit notes: the documents that correct an issued invoice.

A note has a line for each line that changed: how much more or less it is, over the time of its use. Its tax by rate is the
tax on all that stands then less what was taxed before, and a provider's part likewise; so invoice and notes together are,
to the minor unit, what one invoice of the right readings would have been. It is posted in the first open period.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from billing import drafts, funding, ledger, numbers, periods, reshares, snapshot, standing
from billing.charging import ChargedLine, Charges
from billing.drafts import Bought, Rate
from billing.ledger import Wanted
from billing.models import Invoice, InvoiceLine, LedgerAccount
from billing.periods import Act, Place
from billing.rating import money
from billing.rating.correction import Change
from billing.rating.money import TaxTotal, round_half_up
from billing.reshares import Reshared
from billing.standing import Standing

Kind = LedgerAccount.Kind
SERIES = {Invoice.Kind.CREDIT_NOTE: "CN", Invoice.Kind.DEBIT_NOTE: "DN"}


@dataclass(frozen=True, slots=True)
class Target:
    """What an invoice is to come to: the changes, each with what its line is; tax by rate as it is rated now, programmes
    left aside (empty where nothing is rated again); `why`: what each line's explanation says of the cause.
    """

    changes: Sequence[tuple[Change, ChargedLine]]
    totals: Mapping[Rate, TaxTotal]
    why: Mapping[str, Any]

    @property
    def net_minor(self) -> int:
        return sum(change.figures.amount_minor for change, _ in self.changes)


class Bearer(NamedTuple):
    """The invoice that a note is settled on, before it has a number: its month, and when it is due."""

    period: str
    due_date: date


class SettledOn(NamedTuple):
    """That invoice, still a draft, and the number that it will have."""

    invoice_id: int
    number: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A note but for its number: stored as a draft with its lines, shares and journals. `content`: of its snapshot."""

    document: Invoice
    series: str
    due_date: date
    content: Mapping[str, Any]


def issue(*, stands: Standing, target: Target, posted: Place | None = None, at: datetime, actor: str) -> Invoice:
    """The note that brings the invoice to the target. Within the caller's transaction, which holds the invoice's row and
    names the database's errors by VIOLATIONS of soundness and clawbacks. `posted`: None is where `at` is.
    """
    ready = prepare(stands=stands, target=target, posted=posted, at=at, actor=actor)
    return number(ready=ready, at=at, actor=actor)


def number(*, ready: Prepared, settled_on: SettledOn | None = None, at: datetime, actor: str) -> Invoice:
    """Number and issue what is prepared; `settled_on` where it was prepared for a bearer."""
    content = dict(ready.content)
    if settled_on is not None:
        content["settled_on"] = {**content["settled_on"], "number": settled_on.number}
    own = numbers.count(issuer=ready.document.issuer, series=ready.series)
    whole = snapshot.canonical(content | {"number": own})
    numbers.store(
        invoice_id=ready.document.pk,
        number=own,
        whole=whole,
        due_date=ready.due_date,
        settled_on_id=None if settled_on is None else settled_on.invoice_id,
        at=at,
        actor=actor,
    )
    ready.document.refresh_from_db()
    return ready.document


def prepare(
    *,
    stands: Standing,
    target: Target,
    posted: Place | None = None,
    bearer: Bearer | None = None,
    at: datetime,
    actor: str,
) -> Prepared:
    """issue() but for the number, which is taken last. `bearer`: the invoice that it is settled on."""
    invoice = stands.invoice
    act = Act(posted or periods.at(issuer=invoice.issuer, instant=at), at, actor)
    shares = reshares.settle(stands=stands, changes=target.changes, posted=act.place, at=at, actor=actor)
    charges = Charges(
        currency=invoice.currency,
        lines=tuple(_line(change, charged, target.why, invoice) for change, charged in target.changes),
        taxes=taxes(stands, target, _beside(stands, target, shares)),
        funding=shares.funded,
    )
    subsidies = shares.subsidies(len(charges.lines))
    payable_minor = charges.gross_minor - sum(subsidies)
    kind = Invoice.Kind.DEBIT_NOTE if (charges.gross_minor, payable_minor) > (0, 0) else Invoice.Kind.CREDIT_NOTE
    document = _draft(stands, charges, subsidies, act, kind=kind)
    funding.redeem(
        invoice_id=document.pk,
        account_id=invoice.account_id,
        period=invoice.period,
        funded=shares.funded,
        counters=shares.counters,
        at=at,
        actor=actor,
    )
    _post(stands, document, _sides(stands, target, charges, shares), act)
    issue_date = at.astimezone(ZoneInfo(invoice.period.timezone)).date()
    due_date = issue_date + timedelta(days=invoice.account.payment_term_days if payable_minor > 0 else 0)
    facts = _facts(stands, document, charges, shares, target.why)
    if bearer is not None:
        due_date = bearer.due_date
        facts["settled_on"] = {"period": bearer.period}
    note = snapshot.Note(
        facts=facts,
        lines=_line_facts(charges, shares, subsidies),
    )
    text = snapshot.invoice(
        account=invoice.account, period=invoice.period, charges=charges, at=at, due_date=due_date, note=note
    )
    return Prepared(document, f"{SERIES[kind]}-{issue_date.year}", due_date, json.loads("".join(text)))


def _line(change: Change, charged: ChargedLine, why: Mapping[str, Any], invoice: Invoice) -> ChargedLine:
    """How much more or less the line is; its explanation says from what to what, and why."""
    delta = change.figures
    told = {
        "of": invoice.number,
        "ordinal": change.key.ordinal,
        "quantity_before": quantity(change.before.micro),
        "quantity_after": quantity(change.after.micro),
        "amount_before_minor": change.before.amount_minor,
        "amount_after_minor": change.after.amount_minor,
        **why,
    }
    line = replace(
        charged.line,
        quantity=Fraction(delta.micro, 10**6),
        quantity_base=delta.base,
        amount=Fraction(delta.amount_minor, 10 ** money.exponent(invoice.currency)),
        amount_minor=delta.amount_minor,
        tax_included=False,
        explanation={"correction": told},
    )
    return replace(charged, line=line, amount_minor=delta.amount_minor)


def quantity(micro: int) -> str:
    return money.quantity_text(Fraction(micro, 10**6))


def _rate(charged: ChargedLine) -> Rate:
    return charged.line.tax_category, charged.line.tax_rate


def _beside(stands: Standing, target: Target, shares: Reshared) -> Counter[Rate]:
    """What programmes pay beside the price, by rate, once this note is issued."""
    found = standing.beside(stands)
    for each in shares.funded:
        if each.offered.reduces_tax:
            for (_, charged), part_minor in zip(target.changes, each.share.by_line, strict=True):
                found[_rate(charged)] += part_minor
    return found


def taxes(stands: Standing, target: Target, beside: Mapping[Rate, int]) -> tuple[TaxTotal, ...]:
    """By rate the taxed amount and the tax on all that stands then, less what was taxed before.

    As it is rated now where that is the taxed amount, since tax inside of prices is not their net times the rate.
    """
    base: Counter[Rate] = Counter()
    for row in stands.rows.values():
        base[_rate(row.charged)] += row.figures.amount_minor
    for change, charged in target.changes:
        base[_rate(charged)] += change.figures.amount_minor
    found = []
    for rate in dict.fromkeys([*(_rate(charged) for _, charged in target.changes), *stands.taxed]):
        base_minor = base[rate] - beside.get(rate, 0)
        was_base_minor, was_minor = stands.taxed.get(rate, (0, 0))
        rated = target.totals.get(rate)
        if rated is not None and rated.net_minor == base_minor:
            tax_minor = rated.tax_minor
        elif base_minor == was_base_minor:
            tax_minor = was_minor
        else:
            tax_minor = round_half_up(base_minor * Fraction(rate[1]), 0)
        if (base_minor, tax_minor) != (was_base_minor, was_minor):
            found.append(TaxTotal(*rate, base_minor - was_base_minor, tax_minor - was_minor))
    return tuple(found)


# The ledger


def _sides(stands: Standing, target: Target, charges: Charges, shares: Reshared) -> list[tuple[Wanted, int]]:
    """As of an invoice (drafts.postings), of what changes. What is clawed back posts its own journal: of the price, the buyer
    owes it again there; beside the price, it lessens here what the buyer is credited.
    """
    beside_back_minor = shares.back_minor(is_price=False)
    funders: Counter[int] = Counter()
    beside_minor = 0
    for each in shares.funded:
        if each.offered.is_offset:
            funders[each.offered.funder_id] += each.offset_minor
            beside_minor += each.offset_minor if each.offered.reduces_tax else 0
    receivable_minor = charges.gross_minor - funders.total() + beside_back_minor
    sides = [
        (Wanted("receivable", Kind.ASSET, account_id=stands.invoice.account_id), receivable_minor),
        *(
            (Wanted("subsidy_receivable", Kind.ASSET, party_id=funder_id), part)
            for funder_id, part in sorted(funders.items())
        ),
        (Wanted("compute_revenue", Kind.INCOME), -(charges.net_minor - beside_minor + beside_back_minor)),
        (Wanted("subsidy_income", Kind.INCOME), -beside_minor),
        (Wanted("vat_output", Kind.LIABILITY), -charges.tax_minor),
    ]
    was = standing.bought(stands)
    for provider_id, lines in sorted(_bought(stands, target).items()):
        cost_minor, vat_minor = drafts.cost_of(lines)
        was_cost_minor, was_vat_minor = was.get(provider_id, (0, 0))
        sides += drafts.bought_sides(provider_id, cost_minor - was_cost_minor, vat_minor - was_vat_minor)
    return sides


def _bought(stands: Standing, target: Target) -> dict[int, list[Bought]]:
    found: dict[int, list[Bought]] = {}
    amounts = [(row.charged, row.figures.amount_minor) for row in stands.rows.values()]
    amounts += [(charged, change.figures.amount_minor) for change, charged in target.changes]
    for charged, net_minor in amounts:
        supply = charged.supply
        bought = Bought(supply.provider_id, supply.fee_percent, _rate(charged), net_minor)
        found.setdefault(supply.provider_id, []).append(bought)
    return found


def _post(stands: Standing, document: Invoice, sides: Sequence[tuple[Wanted, int]], act: Act) -> None:
    posted = [(wanted, amount_minor) for wanted, amount_minor in sides if amount_minor]
    if not posted:
        return
    issuer = stands.invoice.issuer
    book = ledger.accounts(
        issuer=issuer, currency=document.currency, wanted=list(dict.fromkeys(each for each, _ in posted))
    )
    ledger.insert(
        issuer=issuer,
        key=stands.key,
        period=act.place.period,
        effective_date=act.place.day,
        source=stands.key,
        postings=[(book[wanted], amount_minor) for wanted, amount_minor in posted],
        at=act.at,
        actor=act.actor,
    )


# The document


def _draft(stands: Standing, charges: Charges, subsidies: Sequence[int], act: Act, *, kind: str) -> Invoice:
    invoice = stands.invoice
    document = Invoice.objects.create(
        kind=kind,
        corrects=invoice,
        place=len(stands.notes) + 1,
        account=invoice.account,
        issuer=invoice.issuer,
        period=act.place.period,
        currency=charges.currency,
        net_minor=charges.net_minor,
        tax_minor=charges.tax_minor,
        gross_minor=charges.gross_minor,
        subsidy_minor=sum(subsidies),
        drafted_at=act.at,
        actor=act.actor,
    )
    rows = drafts.rows(charges.lines, subsidies)
    InvoiceLine.objects.bulk_create(InvoiceLine(invoice=document, **row) for row in rows)
    return document


def _facts(
    stands: Standing, document: Invoice, charges: Charges, shares: Reshared, why: Mapping[str, Any]
) -> dict[str, Any]:
    """What the document says of itself beside its amounts; of programmes only where one pays more or less."""
    invoice = stands.invoice
    assert invoice.issued_at is not None
    facts: dict[str, Any] = {
        "kind": document.kind,
        "corrects": {
            "number": invoice.number,
            "issued_at": invoice.issued_at.astimezone(ZoneInfo(invoice.period.timezone)).isoformat(),
            "place": document.place,
            **why,
        },
        "posted_in": document.period.code,
    }
    if not shares.funded and not shares.clawed:
        return facts
    back: dict[int, int] = {}
    programmes = {}
    for _, each in shares.clawed:
        programme = each.redemption.share.programme
        programmes[programme.pk] = programme
        back[programme.pk] = back.get(programme.pk, 0) + each.amount_minor
    facts["clawed_back"] = [
        {
            "programme": programme.code,
            "name": programme.name,
            "name_en": programme.name_en,
            "mode": programme.mode,
            "amount_minor": back[programme_id],
        }
        for programme_id, programme in sorted(programmes.items())
    ]
    facts |= {"subsidy_minor": document.subsidy_minor, "payable_minor": charges.gross_minor - document.subsidy_minor}
    return facts if shares.funded else facts | {"funding": []}


def _line_facts(charges: Charges, shares: Reshared, subsidies: Sequence[int]) -> list[dict[str, Any]]:
    if not shares.funded and not shares.clawed:
        return [{} for _ in charges.lines]
    found: list[dict[str, Any]] = []
    for place, (charged, subsidy_minor) in enumerate(zip(charges.lines, subsidies, strict=True)):
        parts: Counter[str] = Counter()
        for funded in shares.funded:
            parts[funded.offered.offer.code] += funded.share.by_line[place]
        for of_place, each in shares.clawed:
            parts[each.redemption.share.programme.code] -= each.amount_minor if of_place == place else 0
        found.append(
            {
                "list_minor": charged.amount_minor,
                "subsidy_minor": subsidy_minor,
                "payable_minor": charged.amount_minor - subsidy_minor,
                "funding": [{"programme": code, "share_minor": part} for code, part in sorted(parts.items()) if part],
            }
        )
    return found
