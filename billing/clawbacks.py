"""What goes back of programmes' shares when lines are credited.

Of each programme's part of a line goes back as much as was credited of the line, of what was left of both: the sum over
the lines half up, shared out to them by largest remainder. So a line that is credited whole, in one or several credits,
gives back all of it. Budget and caps of the month of use have it again.

The credit's own journal takes back the price as it was sold: what it credits the buyer is too much by the programmes'
part, which the buyer never paid. Here the buyer owes that again, and the funder no more. Where the share was no part of
the taxable price, it goes back from `subsidy_income`, and the credit is of the buyer's part alone. A funder that has paid
already is owed it: the next claim is less by it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction

from django.db import transaction

from billing import budgets, ledger, periods
from billing.integrity import named, require_aware
from billing.ledger import Wanted
from billing.models import Account, Clawback, Invoice, LedgerAccount, Programme, ProgrammeShare, Redemption
from billing.periods import Act, Place
from billing.rating.money import largest_remainder, round_half_up

Kind = LedgerAccount.Kind


class InvalidCreditError(ValueError):
    """A line is not on the invoice, or is credited by more than is left of it."""


class ClawbackDiffersError(Exception):
    """The source is known with other amounts."""


VIOLATIONS = {
    **ledger.VIOLATIONS,
    **budgets.VIOLATIONS,
    "redemption_clawed_back_within": InvalidCreditError,
    "clawback_once": ClawbackDiffersError,
}


def claw_back(
    *,
    invoice: Invoice,
    credited: Mapping[int, int],
    source: str,
    at: datetime,
    actor: str,
    posted: Place | None = None,
) -> tuple[Clawback, ...]:
    """Take back programmes' shares of an issued invoice's lines: by position, how much of the line's net is credited.

    `source` names the credit, and makes it once: again gives what is there. A line that no programme paid for is passed
    over. `posted`: where the credit itself is posted; None: where `at` is. Raises InvalidCreditError, ClawbackDiffersError.
    """
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        redemptions = Redemption.objects.filter(share__invoice=invoice)
        shares = list(
            ProgrammeShare.objects.filter(invoice=invoice).select_related("programme").order_by("programme", "pk")
        )
        counters = budgets.lock(
            programmes=list({share.programme_id: share.programme for share in shares}.values()),
            credit_code=invoice.account.party.credit_code,
            months={share.month for share in shares},
        )
        locked = list(
            redemptions.select_for_update(of=("self",), no_key=True)
            .select_related("share__programme", "line")
            .order_by("pk")
        )
        there = _there(invoice, locked, credited, source)
        if there:
            return there
        made: list[Clawback] = []
        for share in shares:
            chosen = [each for each in locked if each.share_id == share.pk and credited.get(each.line.position)]
            taken = _take(chosen, credited, source, at, actor)
            made += taken
            total_minor = sum(each.amount_minor for each in taken)
            if total_minor:
                counters.move(
                    programme_id=share.programme_id,
                    month=share.month,
                    committed_minor=0,
                    redeemed_minor=-total_minor,
                )
        if made:
            place = posted or periods.at(issuer=invoice.account.issuer, instant=at)
            _post(invoice.account, made, source, Act(place, at, actor))
    return tuple(made)


def _there(
    invoice: Invoice, locked: Sequence[Redemption], credited: Mapping[int, int], source: str
) -> tuple[Clawback, ...]:
    """What the source clawed back before. Raises ClawbackDiffersError where that was of other credits."""
    positions = set(invoice.lines.values_list("position", flat=True))
    for position in credited:
        if position not in positions:
            raise InvalidCreditError(f"invoice {invoice.number} has no line {position}")
    there = tuple(
        Clawback.objects.filter(source=source, redemption__share__invoice=invoice).select_related("redemption__line")
    )
    if there:
        told = {each.redemption.line.position: each.credited_minor for each in there}
        funded = {each.line.position for each in locked}
        given = {
            position: amount_minor for position, amount_minor in credited.items() if amount_minor and position in funded
        }
        if told != given:
            raise ClawbackDiffersError(
                f"credit {source} is of lines {told}, not {given}; it was stored before and stays"
            )
    return there


def _take(
    chosen: Sequence[Redemption], credited: Mapping[int, int], source: str, at: datetime, actor: str
) -> list[Clawback]:
    """One programme's parts."""
    weights = []
    for each in chosen:
        credit_minor, left_minor = credited[each.line.position], each.line.amount_minor - each.credited_minor
        if not left_minor or not 0 < Fraction(credit_minor, left_minor) <= 1:
            raise InvalidCreditError(
                f"line {each.line.position} is credited by {credit_minor}: expected at most {left_minor}, what is left of it"
            )
        weights.append(Fraction(credit_minor, left_minor) * (each.amount_minor - each.clawed_back_minor))
    total_minor = round_half_up(sum(weights, Fraction(0)), 0)
    parts = largest_remainder(total_minor, weights) if total_minor else [0] * len(weights)
    made = []
    for each, part_minor in zip(chosen, parts, strict=True):
        each.credited_minor += credited[each.line.position]
        each.clawed_back_minor += part_minor
        each.save(update_fields=["credited_minor", "clawed_back_minor"])
        made.append(
            Clawback.objects.create(
                redemption=each,
                source=source,
                credited_minor=credited[each.line.position],
                amount_minor=part_minor,
                at=at,
                actor=actor,
            )
        )
    return made


def _post(account: Account, made: Sequence[Clawback], source: str, act: Act) -> None:
    """Dr receivable, or subsidy income; Cr subsidy receivable. Nothing for a reimbursement, which we are not owed."""
    sides: Counter[Wanted] = Counter()
    for each in made:
        programme = each.redemption.share.programme
        if programme.mode != Programme.Mode.VOUCHER:
            continue
        is_price = programme.vat_treatment == Programme.VatTreatment.THIRD_PARTY_CONSIDERATION
        back = (
            Wanted("receivable", Kind.ASSET, account_id=account.pk)
            if is_price
            else Wanted("subsidy_income", Kind.INCOME)
        )
        sides[back] += each.amount_minor
        sides[Wanted("subsidy_receivable", Kind.ASSET, party_id=programme.funder_id)] -= each.amount_minor
    wanted = [each for each, amount_minor in sides.items() if amount_minor]
    if not wanted:
        return
    issuer = account.issuer
    book = ledger.accounts(issuer=issuer, currency=issuer.currency, wanted=wanted)
    key = f"clawback:{source}"
    ledger.insert(
        issuer=issuer,
        key=key,
        period=act.place.period,
        effective_date=act.place.day,
        source=key,
        postings=[(book[each], sides[each]) for each in wanted],
        at=act.at,
        actor=act.actor,
    )
