"""Signing up: a person and an organization, of which nothing is stored but the wish until the address is confirmed.

Whether an address has an account is told to its mailbox alone: what these verbs give back, and how long they take, is the
same for both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.contrib.auth.hashers import check_password, make_password
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import transaction

from billing import parties
from billing.integrity import named
from billing.models import Party, PartyFact
from billing.models.party import validate_credit_code
from marketplace import letters, people
from marketplace.models import JoinRequest, Membership, Organization, SignUp, User, Zone

if TYPE_CHECKING:
    from datetime import datetime

VALID_FOR = timedelta(days=3)
KEEP_FOR = timedelta(days=30)
PARTS = ("buyer", "provider", "funder")
"""What one may sign up as: operators are appointed."""

_SALT = "suanli.sign_up"
_NOT_A_NAME = re.compile(r"(?i)://|\bwww\.|[\x00-\x1f\x7f<>]")


class InvalidSignUpError(ValueError):
    """A fact of a sign-up is not well formed; `field` says which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class UnknownLinkError(LookupError):
    """The link is not one of ours, or its sign-up is no longer kept."""


class LinkExpiredError(LookupError):
    """The link was good once; a new one can be asked for."""


class WrongPasswordError(ValueError):
    """It is not the password that was chosen when signing up."""


class AddressTakenError(ValueError):
    """The address has got an account meanwhile."""


@dataclass(frozen=True)
class Confirmed:
    """What came of a sign-up: a new organization with its first owner, or a request to join the one that is there."""

    user: User
    organization: Organization
    joins: bool


def sign_up(
    *,
    email: str,
    name: str,
    password: str,
    language: str,
    zone: Zone,
    legal_name: str,
    credit_code: str,
    parts: set[str],
    sector: str,
    size_class: str,
    at: datetime,
) -> None:
    """Write a letter to the address: with a link that confirms it, or, if it has an account, saying so.

    Raises InvalidSignUpError.
    """
    email = email.strip().lower()
    require_name(field="name", value=name)
    firm = _firm(legal_name, credit_code, parts, sector, size_class)
    hashed = make_password(password)  # also for an address that has an account: it takes its time
    with transaction.atomic():
        user = User.objects.filter(email=email).first()
        if user is not None:
            letters.has_account(user=user, language=language)
            return
        wish = SignUp.objects.create(
            email=email,
            name=name.strip(),
            password=hashed,
            language=language,
            zone=zone,
            created_at=at,
            **firm,
        )
        letters.confirm_address(sign_up=wish, token=token(sign_up=wish))


def register(
    *,
    user: User,
    zone: Zone,
    legal_name: str,
    credit_code: str,
    parts: set[str],
    sector: str,
    size_class: str,
    at: datetime,
) -> Confirmed:
    """Make another organization of one who has an account, or a request to join the one that is there, as `confirm` does.

    Told again, it gives what came of it. Raises InvalidSignUpError.
    """
    wish = SignUp(zone=zone, **_firm(legal_name, credit_code, parts, sector, size_class))
    with transaction.atomic():
        mine = Organization.objects.filter(party__credit_code=credit_code, memberships__user=user).first()
        return Confirmed(user, mine, joins=False) if mine is not None else _take_in(wish, user, at)


def _firm(legal_name: str, credit_code: str, parts: set[str], sector: str, size_class: str) -> dict[str, Any]:
    """What a wish stores of a firm. Raises InvalidSignUpError."""
    require_name(field="legal_name", value=legal_name)
    if not parts or not parts <= set(PARTS):
        raise InvalidSignUpError("parts", f"is {sorted(parts)}: expected one or more of {', '.join(PARTS)}")
    try:
        validate_credit_code(credit_code)
    except ValidationError as error:
        raise InvalidSignUpError("credit_code", f"is {credit_code!r}: {error.messages[0]}") from error
    for field, given, known in (
        ("sector", sector, PartyFact.Sector.values),
        ("size_class", size_class, PartyFact.Size.values),
    ):
        if given not in known:
            raise InvalidSignUpError(field, f"is {given!r}: expected one of {', '.join(known)}")
    return {
        "legal_name": legal_name.strip(),
        "credit_code": credit_code,
        "parts": [part for part in PARTS if part in parts],
        "sector": sector,
        "size_class": size_class,
    }


def require_name(*, field: str, value: str) -> None:
    """Names stand in letters to people who may not have asked for one: they hold no addresses. Raises InvalidSignUpError."""
    if not value.strip() or _NOT_A_NAME.search(value):
        raise InvalidSignUpError(field, f"is {value!r}: expected a name, without addresses and line breaks")


def send_again(*, email: str, language: str) -> None:
    """Write to the address once more, as `sign_up` did; nothing to one that has not signed up."""
    email = email.strip().lower()
    user = User.objects.filter(email=email).first()
    if user is not None:
        letters.has_account(user=user, language=language)
    elif wish := SignUp.objects.filter(email=email, confirmed_at__isnull=True).first():
        letters.confirm_address(sign_up=wish, token=token(sign_up=wish))


def token(*, sign_up: SignUp) -> str:
    """What the link in the letter holds; it is good for VALID_FOR."""
    return signing.dumps(sign_up.pk, salt=_SALT)


def find(*, token: str) -> SignUp:
    """The sign-up of a link, confirmed or not. Raises LinkExpiredError, UnknownLinkError."""
    try:
        pk = signing.loads(token, salt=_SALT, max_age=VALID_FOR)
    except signing.SignatureExpired as error:
        raise LinkExpiredError("token has expired: ask for another link") from error
    except signing.BadSignature as error:
        raise UnknownLinkError("token is not one of ours: open the link as it stands in the letter") from error
    found = SignUp.objects.select_related("zone__issuer", "user").filter(pk=pk).first()
    if found is None:
        raise UnknownLinkError("token is of a sign-up that is no longer kept: sign up again")
    return found


def confirm(*, sign_up: SignUp, password: str, at: datetime) -> Confirmed:
    """The address is theirs: make the user, and the organization or a request to join it.

    The password shows that who opens the link is who signed up. Confirmed before, it gives what came of it.
    Raises WrongPasswordError, AddressTakenError.
    """
    taken = {"user_email_once": lambda _: AddressTakenError(f"email is {sign_up.email}: it has an account, sign in")}
    with named(taken), transaction.atomic():
        wish = SignUp.objects.select_for_update(of=("self",)).select_related("zone__issuer", "user").get(pk=sign_up.pk)
        known = wish.user.password if wish.user is not None else wish.password
        if not check_password(password, known):
            raise WrongPasswordError("password is not the one that was chosen when signing up")
        if wish.user is not None:
            return _came_of_it(wish, wish.user)
        user = User.objects.create(
            email=wish.email, name=wish.name, password=wish.password, language=wish.language, date_joined=at
        )
        SignUp.objects.filter(pk=wish.pk).update(confirmed_at=at, user=user, password="")
        return _take_in(wish, user, at)


def _came_of_it(wish: SignUp, user: User) -> Confirmed:
    organization = Organization.objects.get(party__credit_code=wish.credit_code)
    member = Membership.objects.filter(user=user, organization=organization).exists()
    return Confirmed(user, organization, joins=not member)


def _take_in(wish: SignUp, user: User, at: datetime) -> Confirmed:
    """A legal person that billing knows already may have bills and evidence: who signs up for it has yet to be let in."""
    known = Party.objects.filter(credit_code=wish.credit_code).first()
    party = known or parties.register(legal_name=wish.legal_name, credit_code=wish.credit_code, at=at)
    actor = f"user:{user.pk}"
    organization, made = people.found_organization(
        zone=wish.zone, party=party, name=party.legal_name[:100], parts=set(wish.parts), at=at, actor=actor
    )
    if known is not None or not made:
        request, is_new = JoinRequest.objects.get_or_create(
            user=user, organization=organization, state=JoinRequest.State.ASKED, defaults={"created_at": at}
        )
        if is_new:
            letters.asked_to_join(request=request)
        return Confirmed(user, organization, joins=True)
    people.add_member(organization=organization, user=user, role=Membership.Role.OWNER, at=at, actor=actor)
    today = at.astimezone(ZoneInfo(wish.zone.issuer.timezone)).date()
    for kind, value in (("sector", wish.sector), ("size_class", wish.size_class)):
        parties.claim_fact(party=party, kind=kind, value=value, from_date=today, at=at, actor=actor)
    return Confirmed(user, organization, joins=False)


def forget_old(*, at: datetime) -> None:
    """Drop the sign-ups that nobody confirmed."""
    SignUp.objects.filter(confirmed_at__isnull=True, created_at__lt=at - KEEP_FOR).delete()
