"""What funders are asked for: redemptions in batches, submitted, and settled by what came of it.

A voucher is claimed by the issuer, who gave the buyer the money before: `subsidy_receivable` goes down by what is paid. A
reimbursement is claimed by the firm itself, with the invoice as its proof; nothing is posted. What a settled claim did not
pay, and what was clawed back after it was paid, goes into a later one: claims paid + owed = redeemed − clawed back.

A firm that claims by itself says itself what became of its claim, and may have been wrong: it takes the last step back, as long
as no later claim stands on it. Of a voucher's claim no step is taken back: its settlement is posted. Each step is kept in
ClaimChange.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from billing import ledger, periods
from billing.integrity import named, require_aware
from billing.ledger import Wanted
from billing.models import Claim, ClaimChange, ClaimLine, LedgerAccount, Party, Programme, Redemption
from billing.rating.money import largest_remainder

Kind, State = LedgerAccount.Kind, Claim.State


class NothingToClaimError(Exception):
    """Nothing is owed that no other claim holds."""


class AlreadyClaimedError(Exception):
    """Another claim took a redemption at the same time: make the claim again."""


class InvalidClaimError(ValueError):
    """A fact of a claim or of its settlement is out of its range. `field`: which."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class ClaimDiffersError(Exception):
    """The claim is settled with another amount."""


class ClaimStateError(Exception):
    """The claim's state does not allow that."""


class LaterClaimError(Exception):
    """A later claim asks for what this one did not pay: what became of this one stays."""


VIOLATIONS = {
    **ledger.VIOLATIONS,
    "redemption_in_one_open_claim": AlreadyClaimedError,
    "claim_goes_on": ClaimStateError,
    "claim_is_sum_of_lines": InvalidClaimError,
    "claim_line_is_settled_once": ClaimStateError,
    "claim_settled_is_whole": InvalidClaimError,
}


def claim(
    *,
    programme: Programme,
    key: str,
    from_month: str,
    until_month: str,
    claimant: Party | None = None,
    at: datetime,
    actor: str,
) -> Claim:
    """A draft of all that is owed for use in those months, both included; the same key again is the one that is there.

    `claimant` is told for a reimbursement: the firm. Raises NothingToClaimError, AlreadyClaimedError, InvalidClaimError.
    """
    require_aware("at", at)
    is_voucher = programme.mode == Programme.Mode.VOUCHER
    if is_voucher != (claimant is None):
        raise InvalidClaimError(
            f"claimant is {claimant}: expected none, since the issuer claims vouchers"
            if is_voucher
            else "claimant is not told: expected the firm, which claims by itself"
        )
    with named(VIOLATIONS), transaction.atomic():
        known = Claim.objects.filter(programme=programme, key=key)
        there = known.first()
        if there is not None:
            return there
        owed = Redemption.objects.owed().filter(
            share__programme=programme, share__month__gte=from_month, share__month__lte=until_month
        )
        if claimant is not None:
            owed = owed.filter(share__grant__party=claimant)
        rows = [
            (each.pk, each.amount_minor - each.clawed_back_minor - each.paid_minor)
            for each in owed.select_for_update(of=("self",), no_key=True).order_by("pk")
        ]
        there = known.first()  # who held the locks may have been the same request
        if there is not None:
            return there
        if not rows:
            raise NothingToClaimError(
                f"programme {programme.code}, {from_month} to {until_month}: nothing is owed that no other claim holds"
            )
        made = Claim.objects.create(
            programme=programme,
            claimant=claimant or programme.issuer.party,
            key=key,
            amount_minor=sum(amount_minor for _, amount_minor in rows),
            made_at=at,
            actor=actor,
        )
        ClaimLine.objects.bulk_create(
            ClaimLine(claim=made, redemption_id=redemption_id, amount_minor=amount_minor)
            for redemption_id, amount_minor in rows
        )
        _note(made, at, actor)
    return made


def key_of(*, programme: Programme, claimant: Party, from_month: str, until_month: str) -> str:
    """Of a firm's own claim: that of its last one as long as it is not settled, so the same for a second click; then a new one,
    since what was not paid is claimed again.
    """
    key = f"{claimant.credit_code} {from_month} {until_month}"
    known = Claim.objects.filter(programme=programme, key__startswith=key).order_by("pk")
    made = list(known.values_list("key", "settled_at"))
    if made and made[-1][1] is None:
        return made[-1][0]
    return f"{key} {len(made) + 1}" if made else key


def _note(claim: Claim, at: datetime, actor: str) -> None:
    ClaimChange.objects.create(
        claim=claim, state=claim.state, paid_minor=claim.paid_minor, reason=claim.reason, at=at, actor=actor
    )


def _locked(claim: Claim) -> Claim:
    rows = Claim.objects.select_for_update(of=("self",), no_key=True).select_related("programme__issuer")
    return rows.get(pk=claim.pk)


def submit(*, claim: Claim, at: datetime, actor: str) -> None:
    """Hand it in; again changes nothing."""
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        locked = _locked(claim)
        if locked.state == State.DRAFT:
            locked.state, locked.submitted_at = State.SUBMITTED, at
            locked.save(update_fields=["state", "submitted_at"])
            _note(locked, at, actor)
    claim.refresh_from_db()


def take_back(*, claim: Claim, at: datetime, actor: str) -> None:
    """A firm's own claim is a draft again: it was not handed in after all. Again changes nothing. Raises ClaimStateError."""
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        locked = _locked(claim)
        _require_own(locked)
        if locked.settled_at is not None:
            raise ClaimStateError(f"claim {locked.key} is {locked.state}: expected submitted to take it back")
        if locked.state == State.SUBMITTED:
            locked.state, locked.submitted_at = State.DRAFT, None
            locked.save(update_fields=["state", "submitted_at"])
            _note(locked, at, actor)
    claim.refresh_from_db()


def reopen(*, claim: Claim, at: datetime, actor: str) -> None:
    """What became of a firm's own claim was told wrongly: it is submitted and not settled again. Again changes nothing.

    Raises ClaimStateError, LaterClaimError.
    """
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        locked = _locked(claim)
        _require_own(locked)
        if locked.state == State.DRAFT:
            raise ClaimStateError(f"claim {locked.key} is {locked.state}: expected a settled one to reopen it")
        if locked.settled_at is not None:
            _unsettle(locked)
            _note(locked, at, actor)
    claim.refresh_from_db()


def _require_own(claim: Claim) -> None:
    if claim.programme.mode != Programme.Mode.REIMBURSEMENT:
        raise ClaimStateError(
            f"claim {claim.key} is one of a {claim.programme.mode}: expected a reimbursement's, of which nothing is posted"
        )


def _unsettle(claim: Claim) -> None:
    lines = list(claim.lines.order_by("redemption_id"))
    ids = [line.redemption_id for line in lines]
    list(
        Redemption.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    )  # as who claims locks them
    later = ClaimLine.objects.filter(redemption__in=ids, claim__gt=claim.pk).select_related("claim").first()
    if later is not None:
        raise LaterClaimError(f"claim {claim.key}: claim {later.claim.key} asks for what it did not pay; it stays")
    for line in lines:
        Redemption.objects.filter(pk=line.redemption_id).update(paid_minor=F("paid_minor") - (line.paid_minor or 0))
    claim.lines.update(paid_minor=None)
    claim.state, claim.paid_minor, claim.reason, claim.settled_at = State.SUBMITTED, None, "", None
    claim.save(update_fields=["state", "paid_minor", "reason", "settled_at"])


def settle_claim(*, claim: Claim, paid_minor: int, reason: str = "", at: datetime, actor: str) -> None:
    """What came of a submitted claim: all of it paid, a part, or 0, rejected; a reason where it is not all.

    A part is shared out to its lines by largest remainder. The same again changes nothing. Raises InvalidClaimError,
    ClaimDiffersError, ClaimStateError.
    """
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        locked = _locked(claim)
        if locked.settled_at is None:
            _settle(locked, paid_minor, reason, at, actor)
    claim.refresh_from_db()
    if claim.paid_minor != paid_minor:
        raise ClaimDiffersError(f"claim {claim.key} is settled with {claim.paid_minor}, not {paid_minor}; it stays")


def _settle(claim: Claim, paid_minor: int, reason: str, at: datetime, actor: str) -> None:
    if claim.state != State.SUBMITTED:
        raise ClaimStateError(f"claim {claim.key} is {claim.state}: expected submitted to settle it")
    is_whole = paid_minor == claim.amount_minor
    if not is_whole and not 0 <= paid_minor < claim.amount_minor:
        raise InvalidClaimError(
            f"paid_minor is {paid_minor}: expected 0 to {claim.amount_minor}, what was claimed", field="paid_minor"
        )
    if not is_whole and not reason.strip():
        raise InvalidClaimError("reason is empty: expected why it is not paid in full", field="reason")
    lines = list(claim.lines.order_by("redemption_id"))
    parts = (
        [line.amount_minor for line in lines]
        if is_whole
        else largest_remainder(paid_minor, [line.amount_minor for line in lines])
        if paid_minor
        else [0] * len(lines)
    )
    for line, part_minor in zip(lines, parts, strict=True):
        ClaimLine.objects.filter(pk=line.pk).update(paid_minor=part_minor)
        if part_minor:
            Redemption.objects.filter(pk=line.redemption_id).update(paid_minor=F("paid_minor") + part_minor)
    state = State.PAID if is_whole else State.SHORT_PAID if paid_minor else State.REJECTED
    claim.state, claim.paid_minor, claim.reason, claim.settled_at = state, paid_minor, reason, at
    claim.save(update_fields=["state", "paid_minor", "reason", "settled_at"])
    _note(claim, at, actor)
    programme = claim.programme
    if paid_minor and programme.mode == Programme.Mode.VOUCHER:
        issuer = programme.issuer
        period, day = periods.at(issuer=issuer, instant=at)
        bank = Wanted("bank_clearing", Kind.ASSET)
        owed = Wanted("subsidy_receivable", Kind.ASSET, party_id=programme.funder_id)
        book = ledger.accounts(issuer=issuer, currency=programme.currency, wanted=[bank, owed])
        key = f"claim:{programme.code}:{claim.key}"
        ledger.insert(
            issuer=issuer,
            key=key,
            period=period,
            effective_date=day,
            source=key,
            postings=[(book[bank], paid_minor), (book[owed], -paid_minor)],
            at=at,
            actor=actor,
        )
