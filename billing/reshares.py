"""What becomes of programmes' shares when an invoice's lines change: clawed back where they lost, given anew where they gained.

What a line loses is taken from its layers, the last first (billing.rating.correction): each gives back the part that was paid
of it. What it gains is offered to the programmes as they may pay now: by grant, window, caps and budget of the month of use,
after what went back; the invoice's cap is less by what the invoice has already, and of a group of which one pays this invoice
no other does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from billing import budgets, clawbacks, funding, standing
from billing.budgets import Counters
from billing.charging import ChargedLine
from billing.funding import Funded, Offered
from billing.models import Account, Clawback, Grant, Programme, Redemption
from billing.periods import Place
from billing.rating.correction import Change, taken
from billing.standing import Standing


@dataclass(frozen=True, slots=True)
class Reshared:
    """Clawed back, each with the place of the change that it is of; and given anew, with the counts it is taken of."""

    clawed: Sequence[tuple[int, Clawback]]
    funded: tuple[Funded, ...]
    counters: Counters

    def back_minor(self, *, is_price: bool) -> int:
        """Of vouchers, what goes back of those that are a part of the price, or of those beside it."""
        return sum(
            each.amount_minor for _, each in self.clawed if is_voucher(each) and _is_price(each.redemption) == is_price
        )

    def subsidies(self, count: int) -> list[int]:
        """By change, what programmes pay more in the buyer's place; less is negative."""
        found = list(funding.offsets(self.funded, count))
        for place, each in self.clawed:
            found[place] -= each.amount_minor if is_voucher(each) else 0
        return found


def is_voucher(clawback: Clawback) -> bool:
    return clawback.redemption.share.programme.mode == Programme.Mode.VOUCHER


def _is_price(redemption: Redemption) -> bool:
    treatment: str = redemption.share.programme.vat_treatment
    return treatment == Programme.VatTreatment.THIRD_PARTY_CONSIDERATION


def settle(
    *, stands: Standing, changes: Sequence[tuple[Change, ChargedLine]], posted: Place, at: datetime, actor: str
) -> Reshared:
    """Claw back what the changes take, and say what they are given: the caller records that with its document.

    Within the caller's transaction. Raises what clawbacks.claw_back does.
    """
    invoice = stands.invoice
    counters = lock(
        account=invoice.account, documents=[each.pk for each in stands.documents], months=[invoice.period.code]
    )
    credited: dict[int, dict[int, int]] = {}
    places: dict[tuple[int, int], int] = {}
    gained: list[int] = []
    for place, (change, _) in enumerate(changes):
        row = stands.rows.get(change.key)
        layers = row.layers if row is not None else []
        parts, added_minor = taken([layer.amount_minor for layer in layers], change.figures.amount_minor)
        gained.append(added_minor)
        for layer, part_minor in zip(layers, parts, strict=True):
            if part_minor:
                credited.setdefault(layer.invoice.pk, {})[layer.position] = part_minor
                places[layer.invoice.pk, layer.position] = place
    clawed = [
        (places[document.pk, each.redemption.line.position], each)
        for document in stands.documents
        if document.pk in credited
        for each in clawbacks.claw_back(
            invoice=document,
            credited=credited[document.pk],
            source=f"{stands.key}/{document.number}",
            at=at,
            actor=actor,
            posted=posted,
        )
    ]
    funded: tuple[Funded, ...] = ()
    if max(gained, default=0) > 0:
        offered, counters = funding.lock(account=stands.invoice.account, period=stands.invoice.period)
        lines = [_gained(*each, gained_minor) for each, gained_minor in zip(changes, gained, strict=True)]
        every = funding.fund(lines, _left(stands, offered), stands.invoice.currency)
        funded = tuple(each for each in every if each.share.wanted_minor)
    return Reshared(clawed, funded, counters)


def lock(*, account: Account, documents: Sequence[int], months: Collection[str]) -> Counters:
    """All programmes that paid of the documents, or may pay: their counts of the months are locked once, in one order, before
    any is moved.
    """
    party = account.party
    paid = Programme.objects.filter(shares__invoice__in=documents)
    granted = Programme.objects.filter(grants__party=party, issuer=account.issuer_id)
    every = list((paid | granted).distinct().order_by("pk"))
    grants = Grant.objects.filter(party=party, programme__in=every)
    budgets.hold(programmes=[each.pk for each in every], grants=list(grants.values_list("pk", flat=True)))
    return budgets.lock(programmes=every, credit_code=party.credit_code, months=months)


def _gained(change: Change, charged: ChargedLine, gained_minor: int) -> ChargedLine:
    quantity = Fraction(max(change.figures.micro, 0), 10**6) if gained_minor > 0 else Fraction(0)
    return replace(charged, amount_minor=gained_minor, line=replace(charged.line, quantity=quantity))


def _left(stands: Standing, offered: Sequence[Offered]) -> list[Offered]:
    """What they may still pay of this invoice."""
    paid = standing.paid(stands)
    paying = {each.offer.group: each.programme_id for each in offered if each.offer.group and paid[each.programme_id]}
    found = []
    for each in offered:
        if paying.get(each.offer.group, each.programme_id) != each.programme_id:
            continue
        cap_minor = each.offer.invoice_left
        left_minor = None if cap_minor is None else max(cap_minor - paid[each.programme_id], 0)
        found.append(replace(each, offer=replace(each.offer, invoice_left=left_minor)))
    return found
