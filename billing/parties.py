"""Legal persons, issuers and accounts. A verb told the same facts again returns the row that is there."""

import hashlib
import re
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q

from billing.integrity import named, require_aware, require_same
from billing.models import Account, Evidence, Issuer, Party, PartyFact
from billing.models.party import validate_credit_code
from billing.rating.money import exponent


class InvalidPartyError(ValueError):
    """A fact of a party, issuer or account is not well formed."""


class PartyDiffersError(Exception):
    """The credit code is known with other facts."""


class IssuerDiffersError(Exception):
    """The issuer's code, party or number prefix is taken, with other facts."""


class AccountDiffersError(Exception):
    """The issuer has an account of that code with other facts."""


class InvalidFactError(ValueError):
    """A fact claimed of a party is not well formed."""


class FactVerifiedError(Exception):
    """The fact is verified: it can be ended, not withdrawn or given other evidence."""


class InvalidEvidenceError(ValueError):
    """The document is empty, too large, or of a type that is not taken."""


EVIDENCE_LIMIT = 10 * 1024 * 1024
"""The most bytes of one document."""

_MAGIC = ((b"%PDF-", "application/pdf"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def register(*, legal_name: str, legal_name_en: str = "", credit_code: str, address: str = "", at: datetime) -> Party:
    """Store a legal person, known by its unified social credit code (GB 32100, check digit verified).

    Raises InvalidPartyError, PartyDiffersError.
    """
    require_aware("at", at)
    if not legal_name.strip():
        raise InvalidPartyError(f"legal_name is {legal_name!r}: expected the registered name")
    try:
        validate_credit_code(credit_code)
    except ValidationError as error:
        raise InvalidPartyError(f"credit_code: {error.messages[0]}") from error
    facts = {"legal_name": legal_name, "legal_name_en": legal_name_en, "address": address}
    with transaction.atomic():
        party, made = Party.objects.get_or_create(credit_code=credit_code, defaults={**facts, "created_at": at})
    if not made:
        require_same(party, facts, PartyDiffersError)
    return party


def appoint_issuer(*, code: str, party: Party, timezone: str, currency: str, number_prefix: str) -> Issuer:
    """Let a party issue invoices: in this currency (ISO 4217), by months of this IANA time zone, numbered from 1 a year.

    Raises InvalidPartyError, IssuerDiffersError.
    """
    try:
        ZoneInfo(timezone)
    except (ValueError, OSError, KeyError) as error:  # a zone not found is a KeyError, a folder's name an OSError
        raise InvalidPartyError(
            f"timezone is {timezone!r}: expected an IANA time zone, such as Asia/Shanghai"
        ) from error
    try:
        exponent(currency)
    except ValueError as error:
        raise InvalidPartyError(str(error)) from error
    if not re.fullmatch(r"[A-Z0-9]{1,10}", number_prefix):
        raise InvalidPartyError(f"number_prefix is {number_prefix!r}: expected 1 to 10 capital letters and digits")
    facts = {"party": party, "timezone": timezone, "currency": currency, "number_prefix": number_prefix}
    with (
        named(
            {
                "issuer_number_prefix_once": lambda _: IssuerDiffersError(
                    f"number_prefix is {number_prefix}: expected one that no other issuer has"
                ),
                "billing_issuer_party_id_key": lambda _: IssuerDiffersError(
                    f"party is {party}: expected one that is no issuer under another code"
                ),
            }
        ),
        transaction.atomic(),
    ):
        issuer, made = Issuer.objects.select_related("party").get_or_create(code=code, defaults=facts)
    if not made:
        require_same(issuer, facts, IssuerDiffersError)
    return issuer


def open_account(
    *, issuer: Issuer, code: str, party: Party, at: datetime, language: str = "zh-hans", payment_term_days: int = 30
) -> Account:
    """Give a buyer an account with an issuer. `language` is that of its documents, "zh-hans" or "en".

    Raises InvalidPartyError, AccountDiffersError.
    """
    require_aware("at", at)
    if not code or code != code.strip():
        raise InvalidPartyError(f"code is {code!r}: expected some text without spaces around it")
    if language not in ("zh-hans", "en"):
        raise InvalidPartyError(f"language is {language!r}: expected zh-hans or en")
    if not 0 <= payment_term_days <= 366:
        raise InvalidPartyError(f"payment_term_days is {payment_term_days}: expected 0 to 366")
    facts = {"party": party, "language": language, "payment_term_days": payment_term_days}
    with transaction.atomic():
        account, made = Account.objects.select_related("party").get_or_create(
            issuer=issuer, code=code, defaults={**facts, "created_at": at}
        )
    if not made:
        require_same(account, facts, AccountDiffersError)
    return account


def choose_corrections(*, account: Account, on: str, at: datetime, actor: str) -> None:
    """Where corrections of the account's issued invoices go from now on, of Account.CorrectionsOn; the same again changes
    nothing. What was approved before goes where it was approved for. Raises InvalidPartyError.
    """
    require_aware("at", at)
    if on not in Account.CorrectionsOn.values:
        raise InvalidPartyError(f"corrections_on is {on!r}: expected {' or '.join(Account.CorrectionsOn.values)}")
    Account.objects.filter(pk=account.pk).exclude(corrections_on=on).update(
        corrections_on=on, corrections_chosen_at=at, corrections_chosen_by=actor
    )
    account.refresh_from_db(fields=["corrections_on", "corrections_chosen_at", "corrections_chosen_by"])


# Facts and their evidence


def add_evidence(*, party: Party, name: str, content: bytes, at: datetime, actor: str) -> Evidence:
    """Keep a document of the party: PDF, PNG or JPEG, told by its first bytes, of at most EVIDENCE_LIMIT.

    The same bytes again are the document that is there. Raises InvalidEvidenceError.
    """
    require_aware("at", at)
    name = re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", name)[-1]).strip()[-200:]
    if not name:
        raise InvalidEvidenceError(f"name is {name!r}: expected the name of a file")
    if not content or len(content) > EVIDENCE_LIMIT:
        raise InvalidEvidenceError(f"content has {len(content)} bytes: expected 1 to {EVIDENCE_LIMIT}")
    content_type = next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)
    if content_type is None:
        raise InvalidEvidenceError(f"content begins with {content[:8]!r}: expected a PDF, PNG or JPEG file")
    with transaction.atomic():
        evidence, _ = Evidence.objects.get_or_create(
            party=party,
            sha256=hashlib.sha256(content).hexdigest(),
            defaults={
                "name": name,
                "content_type": content_type,
                "content": content,
                "uploaded_at": at,
                "actor": actor,
            },
        )
    return evidence


def claim_fact(
    *,
    party: Party,
    kind: str,
    value: str,
    from_date: date,
    evidence: Evidence | None = None,
    at: datetime,
    actor: str,
) -> PartyFact:
    """Say that a fact (of PartyFact.Kind) holds of the party from a day on. Verified it is by `verify_fact`.

    Claimed again it is the fact that is there, which takes the evidence if it had none or is not verified.
    Raises InvalidFactError, FactVerifiedError.
    """
    require_aware("at", at)
    if evidence is not None and evidence.party_id != party.pk:
        raise InvalidFactError(f"evidence is {evidence}: expected a document of {party}")
    _require_value(party, kind, value)
    with transaction.atomic():
        fact, made = PartyFact.objects.get_or_create(
            party=party,
            kind=kind,
            value=value,
            from_date=from_date,
            defaults={"evidence": evidence, "claimed_at": at, "actor": actor},
        )
        if made or evidence is None or fact.evidence_id == evidence.pk:
            return fact
        unseen = PartyFact.objects.filter(Q(verified_at__isnull=True) | Q(evidence__isnull=True), pk=fact.pk)
        if not unseen.update(evidence=evidence, actor=actor):
            raise FactVerifiedError(f"{fact} is verified with other evidence, which stays")
    fact.refresh_from_db()
    return fact


def _require_value(party: Party, kind: str, value: str) -> None:
    kinds = PartyFact.Kind
    if kind not in kinds.values:
        raise InvalidFactError(f"kind is {kind!r}: expected one of {', '.join(kinds.values)}")
    known = {kinds.SECTOR: PartyFact.Sector.values, kinds.SIZE_CLASS: PartyFact.Size.values}.get(kinds(kind))
    if known is not None and value not in known:
        raise InvalidFactError(f"value is {value!r}: expected one of {', '.join(known)}")
    if kind == kinds.FOUNDED_DATE:
        try:
            right = date.fromisoformat(value).isoformat() == value
        except ValueError:
            right = False
        if not right:
            raise InvalidFactError(f"value is {value!r}: expected a date such as 2019-03-01")
    if kind == kinds.RELATED_PARTY:
        try:
            validate_credit_code(value)
        except ValidationError as error:
            raise InvalidFactError(f"value: {error.messages[0]}") from error
        if value == party.credit_code:
            raise InvalidFactError(f"value is {value}: expected the code of another legal person")
    if not value.strip() or len(value) > 100:
        raise InvalidFactError(f"value has {len(value)} characters: expected 1 to 100")


def verify_fact(*, fact: PartyFact, at: datetime, actor: str) -> bool:
    """Somebody has seen the evidence. False if somebody had before: the first time stands."""
    require_aware("at", at)
    seen = PartyFact.objects.filter(pk=fact.pk, verified_at__isnull=True).update(verified_at=at, verified_by=actor)
    fact.refresh_from_db()
    return seen == 1


def end_fact(*, fact: PartyFact, until_date: date, actor: str) -> None:
    """Let the fact hold until the day before `until_date`; ended already, it can end earlier. Raises InvalidFactError."""
    if until_date < fact.from_date:
        raise InvalidFactError(f"until_date is {until_date}: expected {fact.from_date}, when it begins, or later")
    goes_on = Q(until_date__isnull=True) | Q(until_date__gte=until_date)
    if not PartyFact.objects.filter(goes_on, pk=fact.pk).update(until_date=until_date, actor=actor):
        raise InvalidFactError(f"until_date is {until_date}: {fact} has ended before")
    fact.refresh_from_db()


def withdraw_fact(*, fact: PartyFact) -> None:
    """Take back a claim that nobody has verified; a second time changes nothing. Raises FactVerifiedError."""
    with transaction.atomic():
        PartyFact.objects.filter(pk=fact.pk, verified_at__isnull=True).delete()
        if PartyFact.objects.filter(pk=fact.pk).exists():
            raise FactVerifiedError(f"{fact} is verified: end it instead")


def fact_of(*, party: Party, kind: str, on_date: date, verified: bool = False) -> PartyFact | None:
    """The fact of the kind that holds on the day: the latest begun, unless it has ended. `verified`: of those alone.

    Of two that begin on one day, a verified one holds, else the one claimed last.
    """
    begun = PartyFact.objects.filter(party=party, kind=kind, from_date__lte=on_date)
    if verified:
        begun = begun.filter(verified_at__isnull=False)
    latest = begun.order_by("-from_date", F("verified_at").desc(nulls_last=True), "-claimed_at", "-pk").first()
    if latest is None or (latest.until_date is not None and latest.until_date <= on_date):
        return None
    return latest


def related_parties(*, party: Party, on_date: date, verified: bool = False) -> list[str]:
    """The credit codes of those related to the party on the day, in order; several may be."""
    holding = PartyFact.objects.filter(
        Q(until_date__isnull=True) | Q(until_date__gt=on_date),
        party=party,
        kind=PartyFact.Kind.RELATED_PARTY,
        from_date__lte=on_date,
    )
    if verified:
        holding = holding.filter(verified_at__isnull=False)
    return sorted(set(holding.values_list("value", flat=True)))
