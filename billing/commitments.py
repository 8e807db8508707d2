"""Commitments: budget and caps taken for what a firm is to use, until its invoice redeems them (billing.funding).

`commit` when a reservation is held, `lessen` when it ends early or hours are given back, `expire` by the clock. A
commitment is of one month of use; the counts of its budgets and caps stand in `budgets`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from billing import budgets, funding
from billing.budgets import Counters
from billing.integrity import named, require_aware
from billing.models import Account, Commitment, Grant, Invoice, Programme

State = Commitment.State
Kept = Mapping[tuple[int, str], int]  # by grant's id and month
LESSENED = "~"  # between the source and how often it was lessened


class InvalidCommitmentError(ValueError):
    """A fact of a commitment is out of its range."""


class CommitmentDiffersError(Exception):
    """The grant has a commitment of that source and month with another account or wish."""


class NotGrantedError(Exception):
    """The grant, or its programme, takes no new commitments."""


VIOLATIONS = {**budgets.VIOLATIONS, "commitment_month": InvalidCommitmentError}


def commit(
    *,
    grant: Grant,
    account: Account,
    source: str,
    wanted: Mapping[str, int],
    expires_at: datetime,
    at: datetime,
    actor: str,
) -> tuple[Commitment, ...]:
    """Take of budget and caps, for each month of use such as "2020-05", what is wanted or the least that is left.

    A month of which nothing is left, that is invoiced, or of which another programme of the stacking group has promised, has no
    commitment; one that is outside of the grant's window is refused. The same source again gives what is there, without taking more. Runs in the caller's transaction if there
    is one: after what changes the account's contracts, and several programmes in the order of their ids, as they are
    locked by who issues. Raises InvalidCommitmentError, NotGrantedError, CommitmentDiffersError.
    """
    require_aware("at", at)
    require_aware("expires_at", expires_at)
    for month, wanted_minor in wanted.items():
        if wanted_minor < 0:
            raise InvalidCommitmentError(f"wanted for {month} is {wanted_minor}: expected 0 or more")
    if expires_at <= at:
        raise InvalidCommitmentError(f"expires_at is {expires_at.isoformat()}: expected later than {at.isoformat()}")
    with named(VIOLATIONS), transaction.atomic():
        _hold([grant])
        current = Grant.objects.select_related("programme", "party").get(pk=grant.pk)
        there = _there(current, account, source, wanted)
        if there:
            return there
        _require_granted(current, account, wanted)
        counters = budgets.lock(
            programmes=[current.programme], credit_code=current.party.credit_code, months=wanted.keys()
        )
        there = _there(current, account, source, wanted)  # who held the lock may have been the same request
        if there:
            return there
        invoiced = Invoice.objects.filter(
            account=account,
            period__code__in=list(wanted),
            state=Invoice.State.ISSUED,
            kind=Invoice.Kind.INVOICE,
        )
        over = set(invoiced.values_list("period__code", flat=True))  # who issues locks the counts first
        over |= _of_others(current, account, wanted)
        made = []
        for month, wanted_minor in sorted(wanted.items()):
            if month in over:
                continue
            amount_minor = _least(counters, current, account, month, wanted_minor)
            if amount_minor > 0:
                counters.move(
                    programme_id=current.programme_id, month=month, committed_minor=amount_minor, redeemed_minor=0
                )
                made.append(
                    Commitment.objects.create(
                        grant=current,
                        account=account,
                        month=month,
                        source=source,
                        wanted_minor=wanted_minor,
                        amount_minor=amount_minor,
                        expires_at=expires_at,
                        created_at=at,
                        actor=actor,
                    )
                )
    return tuple(made)


def commit_all(
    *,
    wanted: Mapping[int, Mapping[str, int]],
    account: Account,
    source: str,
    expires_at: datetime,
    at: datetime,
    actor: str,
) -> tuple[Commitment, ...]:
    """commit() of several grants of one firm, by the grant's id, locked together in the order of who issues.

    Raises what commit() does.
    """
    with named(VIOLATIONS), transaction.atomic():
        grants = list(
            Grant.objects.filter(pk__in=wanted).select_related("programme", "party").order_by("programme_id", "pk")
        )
        if len(grants) > 1:
            programmes = [grant.programme for grant in grants]
            _hold(grants)
            months = {month for of_grant in wanted.values() for month in of_grant}
            budgets.lock(programmes=programmes, credit_code=grants[0].party.credit_code, months=months)
        facts: dict[str, Any] = {
            "account": account,
            "source": source,
            "expires_at": expires_at,
            "at": at,
            "actor": actor,
        }
        return tuple(each for grant in grants for each in commit(grant=grant, wanted=wanted[grant.pk], **facts))


def _hold(grants: Sequence[Grant]) -> None:
    """Keep them as they are; where others of the firm's grants exclude each other with them, those too, and alone: of two who
    commit of one group at once, the second sees what the first has.
    """
    groups = {grant.programme.stacking_group for grant in grants} - {""}
    held = {grant.pk: grant.programme_id for grant in grants}
    if groups:
        excluding = Grant.objects.filter(
            party=grants[0].party_id,
            programme__issuer=grants[0].programme.issuer_id,
            programme__stacking_group__in=groups,
        )
        held |= dict(excluding.values_list("pk", "programme"))
    budgets.hold(programmes=list(set(held.values())), grants=list(held), alone=bool(groups))


def _of_others(grant: Grant, account: Account, months: Collection[str]) -> set[str]:
    """The months that another programme of the group has promised to pay of. Of grants that _hold() holds."""
    group = grant.programme.stacking_group
    if not group:
        return set()
    found = funding.committed_of_groups({group}, account=account, months=months)
    return {month for (_, month), programmes in found.items() if grant.programme_id not in programmes}


def _there(grant: Grant, account: Account, source: str, wanted: Mapping[str, int]) -> tuple[Commitment, ...]:
    there = tuple(Commitment.objects.filter(grant=grant, source=source).order_by("month"))
    for each in there:
        if each.account_id != account.pk or wanted.get(each.month) != each.wanted_minor:
            raise CommitmentDiffersError(
                f"grant {grant.pk}: {source} has {each.wanted_minor} for {each.month} of account {each.account_id}, not"
                f" {wanted.get(each.month)} of account {account.pk}; it was stored before and stays"
            )
    return there


def _require_granted(grant: Grant, account: Account, wanted: Mapping[str, int]) -> None:
    programme = grant.programme
    if grant.state != Grant.State.APPROVED or programme.state != Programme.State.OPEN:
        raise NotGrantedError(
            f"grant {grant.pk} of programme {programme.code} is {grant.state}, the programme {programme.state}: expected"
            " approved and open"
        )
    if programme.mode == Programme.Mode.TARIFF:
        raise NotGrantedError(f"programme {programme.code} is a cheaper tariff: nothing of it is committed")
    if account.party_id != grant.party_id or account.issuer_id != programme.issuer_id:
        raise NotGrantedError(
            f"account {account.code} is not one of firm {grant.party.credit_code} with the programme's issuer"
        )
    for month in wanted:
        if not f"{grant.from_date:%Y-%m}" <= month <= f"{grant.until_date:%Y-%m}":
            raise NotGrantedError(f"month is {month}: expected from {grant.from_date} to {grant.until_date}")


def _least(counters: Counters, grant: Grant, account: Account, month: str, wanted_minor: int) -> int:
    """The least of the wish, the budget, the firm's caps, and what an invoice's cap leaves beside other commitments."""
    amount_minor = min(wanted_minor, counters.left(grant.programme_id, month).least_minor)
    if grant.programme.cap_invoice_minor is not None:
        others = Commitment.objects.filter(grant=grant, account=account, month=month, state=State.OPEN)
        taken_minor = sum(others.values_list("amount_minor", flat=True))
        amount_minor = min(amount_minor, grant.programme.cap_invoice_minor - taken_minor)
    return amount_minor


def release(*, grant: Grant, source: str, at: datetime, actor: str, month: str | None = None) -> int:
    """Give back what is open of a source (of one month, if told), in minor units; again: 0."""
    require_aware("at", at)
    commitments = Commitment.objects.filter(grant=grant, source=source, state=State.OPEN)
    if month is not None:
        commitments = commitments.filter(month=month)
    with named(VIOLATIONS), transaction.atomic():
        return _lessen([(each, 0) for each in _with_firms(commitments)], State.RELEASED, at, actor)


def lessen(*, sources: Mapping[str, Kept], grants: Collection[int], at: datetime, actor: str) -> int:
    """Keep of what is open under each source at most so much for a grant's id and a month, and nothing of what is not
    named; gives back the rest, and says how much that was, in minor units; again: 0.

    The grants are of one firm. What is kept of a commitment is one of its own, under the source with a number after it.
    Runs in the caller's transaction if there is one, as commit() does.
    """
    require_aware("at", at)
    under = Q(source__in=list(sources))
    for source in sources:
        under |= Q(source__startswith=f"{source}{LESSENED}")
    with named(VIOLATIONS), transaction.atomic():
        found = _with_firms(Commitment.objects.filter(under, grant__in=list(grants), state=State.OPEN))
        less = [
            (each, sources[each.source.partition(LESSENED)[0]].get((each.grant_id, each.month), 0)) for each in found
        ]
        return _lessen(
            [(each, kept_minor) for each, kept_minor in less if kept_minor < each.amount_minor],
            State.RELEASED,
            at,
            actor,
        )


def expire(*, at: datetime, actor: str) -> int:
    """Give back what is open of commitments that have expired by `at`, each in its own transaction; how many those were."""
    require_aware("at", at)
    due = Commitment.objects.filter(state=State.OPEN, expires_at__lte=at).order_by("pk")
    count = 0
    for commitment in _with_firms(due):
        with named(VIOLATIONS), transaction.atomic():
            count += bool(_lessen([(commitment, 0)], State.EXPIRED, at, actor))
    return count


def _with_firms(commitments: QuerySet[Commitment]) -> list[Commitment]:
    return list(commitments.select_related("grant__programme", "grant__party").order_by("pk"))


def _lessen(less: Sequence[tuple[Commitment, int]], state: str, at: datetime, actor: str) -> int:
    """End open commitments of one firm, each but for what is kept of it, and say what came back; those that somebody ended
    meanwhile are left.
    """
    if not less:
        return 0
    grants = [commitment.grant for commitment, _ in less]
    counters = budgets.lock(
        programmes=list({grant.programme_id: grant.programme for grant in grants}.values()),
        credit_code=grants[0].party.credit_code,
        months={commitment.month for commitment, _ in less},
    )
    freed_minor = 0
    for commitment, kept_minor in less:
        ended = Commitment.objects.filter(pk=commitment.pk, state=State.OPEN).update(
            state=state, released_minor=commitment.amount_minor, ended_at=at, ended_by=actor
        )
        if ended:
            counters.move(
                programme_id=commitment.grant.programme_id,
                month=commitment.month,
                committed_minor=kept_minor - commitment.amount_minor,
                redeemed_minor=0,
            )
            freed_minor += commitment.amount_minor - kept_minor
            if kept_minor > 0:
                _keep(commitment, kept_minor, at, actor)
    return freed_minor


def _keep(commitment: Commitment, kept_minor: int, at: datetime, actor: str) -> None:
    source, _, number = commitment.source.partition(LESSENED)
    Commitment.objects.create(
        grant=commitment.grant,
        account_id=commitment.account_id,
        month=commitment.month,
        source=f"{source}{LESSENED}{int(number or 0) + 1}",
        wanted_minor=kept_minor,
        amount_minor=kept_minor,
        expires_at=commitment.expires_at,
        created_at=at,
        actor=actor,
    )
