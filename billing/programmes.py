"""Programmes from draft to closed: their terms, budgets, finance's sign-off, and whom they are granted to.

What is taken of a budget stands in `commitments` and, at issue, in `funding`; what funders owe in `claims`, what goes back
in `clawbacks`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from billing.budgets import BudgetExceededError
from billing.integrity import named, require_aware, require_same
from billing.models import (
    BudgetPeriod,
    Commitment,
    Evidence,
    Grant,
    GrantEvidence,
    Issuer,
    Party,
    PartyFact,
    Programme,
    ProgrammeChange,
    ProgrammeRule,
)
from billing.rating import eligibility
from billing.rating.money import exponent

State, GrantState, Mode = Programme.State, Grant.State, Programme.Mode


class InvalidProgrammeError(ValueError):
    """A term of a programme or of its budget is out of its range."""


class ProgrammeDiffersError(Exception):
    """The issuer has a programme of that code, or the programme a budget of that code, with other facts."""


class ProgrammeNotWholeError(Exception):
    """What a programme must say before it opens is not known: the message names all of it."""


class ProgrammeStateError(Exception):
    """The programme's state does not allow that."""


class TermsFrozenError(Exception):
    """The terms of a programme that was open stay."""


class AlreadyGrantedError(Exception):
    """The firm has applied for the programme, or has it."""


class ApplicationDiffersError(Exception):
    """The firm has applied for the programme with other words or documents, and nobody has decided on it."""


class GrantStateError(Exception):
    """The grant's state does not allow that."""


class NotEligibleError(Exception):
    """A rule of the programme is not met, or not known to be."""


VIOLATIONS = {
    "programme_named": InvalidProgrammeError,
    "programme_percent": InvalidProgrammeError,
    "programme_unit_amount": InvalidProgrammeError,
    "programme_percent_or_amount": InvalidProgrammeError,
    "programme_ends_after_start": InvalidProgrammeError,
    "programme_caps_not_negative": InvalidProgrammeError,
    "budget_period_of_whole_months": InvalidProgrammeError,
    "budget_period_ends_after_start": InvalidProgrammeError,
    "budget_not_exceeded": BudgetExceededError,
    "programme_rule_has_its_source": InvalidProgrammeError,
    "programme_open_is_whole": ProgrammeNotWholeError,
    "programme_terms_stay": TermsFrozenError,
    "programme_state_goes_on": ProgrammeStateError,
    "grant_once_at_a_time": AlreadyGrantedError,
    "grant_state_goes_on": GrantStateError,
    "grant_ends_after_start": InvalidProgrammeError,
}


def draft(*, issuer: Issuer, code: str, name: str, terms: Mapping[str, Any], at: datetime, actor: str) -> Programme:
    """Store a programme as a draft, with its terms by the names of Programme's fields; what is left out is not known.

    Raises InvalidProgrammeError, ProgrammeDiffersError.
    """
    require_aware("at", at)
    facts = {"currency": issuer.currency, **terms}
    _require_terms(facts)
    with named(VIOLATIONS), transaction.atomic():
        programme, made = Programme.objects.get_or_create(
            issuer=issuer, code=code, defaults={"name": name, "created_at": at, "actor": actor, **facts}
        )
    if not made:
        require_same(programme, {"name": name, **facts}, ProgrammeDiffersError)
    return programme


def _require_terms(facts: Mapping[str, Any]) -> None:
    exponent(facts["currency"])
    for field in ("kinds", "charges"):
        if not all(isinstance(each, str) for each in facts.get(field, [])):
            raise InvalidProgrammeError(f"{field} is {facts[field]!r}: expected a list of texts")
    try:
        eligibility.check(facts.get("eligibility", {}), [], date(2000, 1, 1))
    except ValueError as error:
        raise InvalidProgrammeError(str(error)) from error


def amend(*, programme: Programme, terms: Mapping[str, Any]) -> None:
    """Change terms of a draft, by the names of Programme's fields, its name too; those that are not told stay.

    Raises InvalidProgrammeError, TermsFrozenError.
    """
    _require_terms({"currency": programme.currency, **terms})
    with named(VIOLATIONS), transaction.atomic():
        locked = _draft(programme)
        for field, value in terms.items():
            setattr(locked, field, value)
        locked.save(update_fields=list(terms))
    programme.refresh_from_db()


def _draft(programme: Programme) -> Programme:
    """Locked, to change its terms. Raises TermsFrozenError."""
    locked = Programme.objects.select_for_update(of=("self",), no_key=True).get(pk=programme.pk)
    if locked.state != State.DRAFT:
        raise TermsFrozenError(f"programme {locked.code} is {locked.state}: its terms stay")
    return locked


def cite(
    *, programme: Programme, name: str, says: str | None, title: str = "", dated: date | None = None, url: str = ""
) -> None:
    """Say what a source says of one rule of a draft; None: no source that is known says anything. Again: as told last.

    Raises InvalidProgrammeError, TermsFrozenError.
    """
    if name not in ProgrammeRule.Name.values:
        raise InvalidProgrammeError(f"rule is {name!r}: expected one of {', '.join(ProgrammeRule.Name.values)}")
    with named(VIOLATIONS), transaction.atomic():
        ProgrammeRule.objects.update_or_create(
            programme=_draft(programme),
            name=name,
            defaults={"says": says, "source_title": title, "source_date": dated, "source_url": url},
        )


def set_budget(
    *, programme: Programme, code: str, from_date: date, until_date: date, budget_minor: int
) -> BudgetPeriod:
    """What the programme may pay for use in whole months from `from_date` to `until_date`; told again, another amount.

    An amount below what is committed and redeemed is refused. Raises InvalidProgrammeError, BudgetExceededError,
    ProgrammeDiffersError.
    """
    if budget_minor < 0:
        raise InvalidProgrammeError(f"budget_minor is {budget_minor}: expected 0 or more")
    with named(VIOLATIONS), transaction.atomic():
        budget, made = BudgetPeriod.objects.get_or_create(
            programme=programme,
            code=code,
            defaults={"from_date": from_date, "until_date": until_date, "budget_minor": budget_minor},
        )
        if not made:
            require_same(budget, {"from_date": from_date, "until_date": until_date}, ProgrammeDiffersError)
            BudgetPeriod.objects.filter(pk=budget.pk).update(budget_minor=budget_minor)
            budget.refresh_from_db()
    return budget


def sign_off_vat(*, programme: Programme, treatment: str, at: datetime, actor: str) -> None:
    """Finance's word on the VAT on the subsidised part. Raises InvalidProgrammeError, TermsFrozenError."""
    require_aware("at", at)
    if treatment not in Programme.VatTreatment.values:
        raise InvalidProgrammeError(f"treatment is {treatment!r}: expected {', '.join(Programme.VatTreatment.values)}")
    with named(VIOLATIONS), transaction.atomic():
        Programme.objects.filter(pk=programme.pk).update(vat_treatment=treatment, vat_signed_by=actor, vat_signed_at=at)
    programme.refresh_from_db()


def open_(*, programme: Programme, at: datetime, actor: str) -> None:
    """Let firms apply, and bills be paid: from draft or paused; again changes nothing.

    Raises ProgrammeNotWholeError, ProgrammeStateError.
    """
    programme.refresh_from_db()
    unknown = {} if programme.state != State.DRAFT else missing(programme=programme)
    if unknown:
        told = ", ".join(unknown.values())
        raise ProgrammeNotWholeError(f"programme {programme.code}: {told}: expected before it opens")
    _change(programme, State.OPEN, (State.DRAFT, State.PAUSED), reason="", at=at, actor=actor)


def missing(*, programme: Programme) -> dict[str, str]:
    """What must be known before the programme opens and is not: by what it is of (a field, `share`, `budget`) in words."""
    fields = ("mode", "funder", "from_date", "until_date", "bars_related_parties", "one_side_claims")
    found = {field: f"{field} is not known" for field in fields if getattr(programme, field) is None}
    if programme.mode != Mode.TARIFF and programme.percent is None and programme.unit_amount is None:
        found["share"] = "percent or unit_amount is not known"
    if programme.vat_signed_at is None:
        found["vat_treatment"] = "the VAT treatment is not signed off"
    if programme.currency != programme.issuer.currency:
        found["currency"] = f"currency is {programme.currency}, not the issuer's {programme.issuer.currency}"
    if programme.mode != Mode.TARIFF and programme.from_date and programme.until_date:
        month = programme.from_date.replace(day=1)
        budgets = list(programme.budgets.all())
        while month <= programme.until_date:
            if not any(budget.from_date <= month <= budget.until_date for budget in budgets):
                found["budget"] = f"no budget holds {month:%Y-%m}"
                break
            month = (month + timedelta(days=31)).replace(day=1)
    return found


def pause(*, programme: Programme, reason: str, at: datetime, actor: str) -> None:
    """Take no more applications and commitments, and pay of bills only what is committed. Raises ProgrammeStateError."""
    _change(programme, State.PAUSED, (State.OPEN,), reason=reason, at=at, actor=actor)


def close(*, programme: Programme, reason: str, at: datetime, actor: str) -> None:
    """Pay nothing more of any bill. Refused while anything is committed. Raises ProgrammeStateError."""
    with transaction.atomic():
        Programme.objects.select_for_update(of=("self",), no_key=True).get(pk=programme.pk)  # who commits holds it
        if Commitment.objects.filter(grant__programme=programme, state=Commitment.State.OPEN).exists():
            raise ProgrammeStateError(
                f"programme {programme.code} has open commitments: expected them released or expired"
            )
        _change(programme, State.CLOSED, (State.DRAFT, State.OPEN, State.PAUSED), reason=reason, at=at, actor=actor)


def _change(programme: Programme, state: str, before: Sequence[str], *, reason: str, at: datetime, actor: str) -> None:
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        changed = Programme.objects.filter(pk=programme.pk, state__in=before).update(state=state)
        if changed:
            ProgrammeChange.objects.create(programme=programme, state=state, reason=reason, at=at, actor=actor)
    programme.refresh_from_db()
    if programme.state != state:
        raise ProgrammeStateError(
            f"programme {programme.code} is {programme.state}: expected {' or '.join(before)} to become {state}"
        )


# Grants


def apply(
    *,
    programme: Programme,
    party: Party,
    statement: str = "",
    evidence: Sequence[Evidence] = (),
    at: datetime,
    actor: str,
) -> Grant:
    """A firm's application, with its facts as they are today and what they mean for each rule.

    Told again while it is undecided, it is the one that is there; what it says and shows stays as it is. Raises
    ProgrammeStateError, AlreadyGrantedError, ApplicationDiffersError.
    """
    require_aware("at", at)
    for document in evidence:
        if document.party_id != party.pk:
            raise InvalidProgrammeError(f"evidence {document.name} is another firm's than {party.credit_code}")
    shown = {document.pk for document in evidence}
    with named(VIOLATIONS), transaction.atomic():
        locked = Programme.objects.select_for_update(of=("self",), no_key=True).get(pk=programme.pk)
        if locked.state != State.OPEN:
            raise ProgrammeStateError(f"programme {locked.code} is {locked.state}: expected open to apply for it")
        there = Grant.objects.filter(programme=locked, party=party, state=GrantState.APPLIED).first()
        if there is not None:
            if (there.statement, set(there.documents.values_list("evidence", flat=True))) != (statement, shown):
                raise ApplicationDiffersError(
                    f"grant {there.pk}: {party.credit_code} has applied for {locked.code} with another statement or other"
                    " documents; they stay until it is withdrawn"
                )
            return there
        facts = facts_of(party=party)
        grant = Grant.objects.create(
            programme=locked,
            party=party,
            statement=statement,
            applied_at=at,
            facts=[
                {
                    **asdict(fact),
                    "from_date": fact.from_date.isoformat(),
                    "until_date": fact.until_date and fact.until_date.isoformat(),
                }
                for fact in facts
            ],
            verdict=_verdict(locked, facts, at),
            actor=actor,
        )
        GrantEvidence.objects.bulk_create(GrantEvidence(grant=grant, evidence_id=each) for each in sorted(shown))
        ProgrammeChange.objects.create(programme=locked, grant=grant, state=grant.state, at=at, actor=actor)
    return grant


def withdraw(*, grant: Grant, at: datetime, actor: str) -> None:
    """Take back an application that nobody has decided on; again changes nothing. Raises GrantStateError."""
    _decided(grant, GrantState.WITHDRAWN, (GrantState.APPLIED,), reason="", at=at, actor=actor)


def facts_of(*, party: Party) -> list[eligibility.Fact]:
    """In the order in which they begin, and of those of one day, in which they were claimed."""
    return [
        eligibility.Fact(fact.kind, fact.value, fact.from_date, fact.until_date, fact.verified_at is not None)
        for fact in PartyFact.objects.filter(party=party).order_by("from_date", "claimed_at", "pk")
    ]


def local_date(*, programme: Programme, at: datetime) -> date:
    """The day at the programme's issuer."""
    return at.astimezone(ZoneInfo(programme.issuer.timezone)).date()


def _verdict(programme: Programme, facts: Sequence[eligibility.Fact], at: datetime) -> list[dict[str, Any]]:
    found = eligibility.check(programme.eligibility, facts, local_date(programme=programme, at=at))
    return [asdict(finding) for finding in found]


def approve(
    *,
    grant: Grant,
    from_date: date | None = None,
    until_date: date | None = None,
    reason: str = "",
    at: datetime,
    actor: str,
) -> None:
    """Grant it for use in [from_date, until_date], the programme's own window if not told. Again changes nothing.

    The firm's facts are judged and frozen as they are now: each rule must be met by a verified fact. Raises
    NotEligibleError, GrantStateError, ProgrammeStateError.
    """
    require_aware("at", at)
    with named(VIOLATIONS), transaction.atomic():
        programme = Programme.objects.select_for_update(of=("self",), no_key=True).get(pk=grant.programme_id)
        locked = Grant.objects.select_for_update(of=("self",), no_key=True).select_related("party").get(pk=grant.pk)
        if locked.state == GrantState.APPLIED:
            if programme.state != State.OPEN:
                raise ProgrammeStateError(f"programme {programme.code} is {programme.state}: expected open to grant it")
            facts = facts_of(party=locked.party)
            verdict = _verdict(programme, facts, at)
            unmet = [finding for finding in verdict if not finding["is_met"]]
            if unmet:
                told = "; ".join(
                    f"{each['rule']} is {each['found'] or 'not known'}: expected {each['expected']}"
                    + ("" if each["is_met"] is False else ", verified")
                    for each in unmet
                )
                raise NotEligibleError(f"{locked.party.credit_code} for {programme.code}: {told}")
            locked.verdict = verdict
            locked.from_date = from_date or programme.from_date
            locked.until_date = until_date or programme.until_date
            _decide(locked, GrantState.APPROVED, reason, at, actor)
    grant.refresh_from_db()
    if grant.state != GrantState.APPROVED:
        raise GrantStateError(f"grant {grant.pk} is {grant.state}: expected applied to approve it")


def reject(*, grant: Grant, reason: str, at: datetime, actor: str) -> None:
    """Refuse an application. Raises GrantStateError, InvalidProgrammeError."""
    _decided(grant, GrantState.REJECTED, (GrantState.APPLIED,), reason=reason, at=at, actor=actor)


def suspend(*, grant: Grant, reason: str, at: datetime, actor: str) -> None:
    """Pay nothing for the firm from now on, until it is resumed. Raises GrantStateError, InvalidProgrammeError."""
    _decided(grant, GrantState.SUSPENDED, (GrantState.APPROVED,), reason=reason, at=at, actor=actor)


def resume(*, grant: Grant, reason: str, at: datetime, actor: str) -> None:
    """End a suspension. Raises GrantStateError, InvalidProgrammeError."""
    _decided(grant, GrantState.APPROVED, (GrantState.SUSPENDED,), reason=reason, at=at, actor=actor)


def expire_grants(*, at: datetime, actor: str) -> int:
    """Mark the grants whose last day is over, so that nothing more is committed for them; how many. Bills of use before
    that day are still paid. A suspended one stays suspended, and pays nothing.
    """
    over = Grant.objects.filter(state=GrantState.APPROVED, until_date__lt=at.date() + timedelta(days=1))
    count = 0
    for grant in over.select_related("programme__issuer").order_by("pk"):
        zone = ZoneInfo(grant.programme.issuer.timezone)
        if grant.until_date is None or at.astimezone(zone).date() <= grant.until_date:
            continue
        with transaction.atomic():
            locked = Grant.objects.select_for_update(of=("self",), no_key=True).get(pk=grant.pk)
            if locked.state == GrantState.APPROVED:
                _decide(locked, GrantState.EXPIRED, f"the last day was {locked.until_date}", at, actor)
                count += 1
    return count


def _decided(grant: Grant, state: str, before: Sequence[str], *, reason: str, at: datetime, actor: str) -> None:
    require_aware("at", at)
    if not reason.strip() and state != GrantState.WITHDRAWN:
        raise InvalidProgrammeError("reason is empty: expected why, for the firm to read")
    with named(VIOLATIONS), transaction.atomic():
        locked = Grant.objects.select_for_update(of=("self",), no_key=True).get(pk=grant.pk)
        if locked.state in before:
            _decide(locked, state, reason, at, actor)
    grant.refresh_from_db()
    if grant.state != state:
        raise GrantStateError(f"grant {grant.pk} is {grant.state}: expected {' or '.join(before)} to become {state}")


def _decide(grant: Grant, state: str, reason: str, at: datetime, actor: str) -> None:
    grant.state, grant.reason, grant.decided_at, grant.decided_by = state, reason, at, actor
    grant.save()
    ProgrammeChange.objects.create(
        programme_id=grant.programme_id, grant=grant, state=state, reason=reason, at=at, actor=actor
    )
