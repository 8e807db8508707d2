"""Access is sealed, shown once, and gone."""

import base64
import hashlib

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.core import mail as outbox
from django.db import IntegrityError, connection, transaction

from billing.integrity import constraint_name
from marketplace import people, reservations, tasks
from marketplace.models import Credential, Job, User
from marketplace.provisioning import credentials
from marketplace.provisioning.credentials import (
    AlreadyShownError,
    InvalidSecretError,
    NothingToShowError,
    NotRunningError,
    UnreadableError,
)
from tests.marketplace.booking import AT, HOUR, START, make_market

SECRET = "ssh sun@gpu-7.example.com\n密码: correct horse"


@pytest.fixture
def reservation(db):
    return make_market().confirmed()


def hand(reservation, secret=SECRET, at=AT, actor="user:7"):
    return credentials.hand_over(reservation=reservation, secret=secret, at=at, actor=actor)


def show(reservation, at=START, actor="user:1"):
    return credentials.show(reservation=reservation, at=at, actor=actor)


def test_what_is_handed_over_is_shown_once_and_then_gone(reservation):
    hand(reservation)
    assert show(reservation) == SECRET
    row = Credential.objects.get()
    assert (row.sealed, row.shown_at, row.shown_to, row.erased_at) == ("", START, "user:1", START)
    assert (row.handed_at, row.handed_by) == (AT, "user:7")
    with pytest.raises(AlreadyShownError) as refused:
        show(reservation, at=START + HOUR, actor="user:2")
    assert (refused.value.shown_at, refused.value.shown_to) == (START, "user:1")
    assert str(refused.value) == (
        f"access to reservation {reservation.pk} was shown to user:1 at 2020-05-12T00:00:00+00:00: ask the provider to hand it"
        " over anew"
    )


def test_the_database_holds_nothing_that_can_be_read(reservation):
    hand(reservation)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed FROM marketplace_credential")
        ((sealed,),) = cursor.fetchall()
    assert sealed.startswith("gAAAA")
    assert not [word for word in ("ssh", "gpu-7", "correct") if word in sealed]
    first, second = hand(reservation).sealed, hand(reservation).sealed
    assert first != second


def test_the_provider_can_hand_over_anew_before_and_after_it_was_shown(reservation):
    hand(reservation, "first")
    hand(reservation, "second", at=AT + HOUR)
    assert show(reservation) == "second"
    hand(reservation, "third", at=START + HOUR)
    assert show(reservation, at=START + 2 * HOUR) == "third"
    assert list(Credential.objects.order_by("id").values_list("sealed", "shown_at", "erased_at")) == [
        ("", None, AT + HOUR),
        ("", START, START),
        ("", START + 2 * HOUR, START + 2 * HOUR),
    ]


def test_there_is_nothing_to_show_before_it_is_handed_over_nor_after_the_end(reservation):
    with pytest.raises(NothingToShowError, match="expected access to be handed over by its provider first"):
        show(reservation)
    hand(reservation)
    credentials.erase(reservation=reservation, at=START)
    with pytest.raises(NothingToShowError):
        show(reservation)
    reservations.cancel(reservation=reservation, at=AT, actor="user:1")
    for call in (hand, show):
        with pytest.raises(NotRunningError, match="state is cancelled: expected confirmed or active"):
            call(reservation)


@pytest.mark.parametrize("secret", ["", " \n", "x" * 10_001, "a\0b"])
def test_what_is_handed_over_is_some_text_and_not_too_much(reservation, secret):
    with pytest.raises(InvalidSecretError, match=f"secret has {len(secret)} characters: expected 1 to 10000"):
        hand(reservation, secret)
    assert Credential.objects.count() == 0


def test_a_key_that_was_changed_opens_it_while_it_is_named_as_a_fallback(reservation, settings):
    hand(reservation)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "n" * 60
    with pytest.raises(
        UnreadableError, match="sealed under a SECRET_KEY that is gone: name that in SECRET_KEY_FALLBACKS"
    ):
        show(reservation)
    assert Credential.objects.get().shown_at is None
    settings.SECRET_KEY_FALLBACKS = [old]
    assert show(reservation) == SECRET


def test_the_key_is_derived_for_this_purpose_alone():
    secret = "k" * 60
    sealed = credentials._seal(secret).encrypt(b"x")
    assert credentials._seal(secret).decrypt(sealed) == b"x"
    plain = Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()))
    for other in (credentials._seal(secret + "k"), plain):
        with pytest.raises(InvalidToken):
            other.decrypt(sealed)


def test_the_database_keeps_one_sealed_and_none_that_was_shown(reservation):
    hand(reservation)
    for changes, name in (
        ({"shown_at": AT, "shown_to": "user:1"}, "credential_erased_when_shown"),
        ({"sealed": ""}, "credential_erased_when_shown"),
        ({"sealed": "", "erased_at": AT, "shown_at": AT}, "credential_shown_to_somebody"),
    ):
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            Credential.objects.update(**changes)
        assert constraint_name(refused.value) == name
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        Credential.objects.create(reservation=reservation, sealed="x", handed_at=AT, handed_by="x")
    assert constraint_name(refused.value) == "credential_one_sealed"


def test_eight_who_look_at_once_are_shown_it_once(fresh_database):
    reservation = make_market().confirmed()
    hand(reservation)
    found = fresh_database.at_once(*[lambda n=n: show(reservation, actor=f"user:{n}") for n in range(8)])
    assert [result for result in found if isinstance(result, str)] == [SECRET]
    (winner,) = (n for n, result in enumerate(found) if isinstance(result, str))
    others = [result for result in found if not isinstance(result, str)]
    assert {(type(error), error.shown_to) for error in others} == {(AlreadyShownError, f"user:{winner}")}


def test_eight_who_hand_over_at_once_leave_one_sealed(fresh_database):
    reservation = make_market().confirmed()
    made = fresh_database.at_once(*[lambda n=n: hand(reservation, f"secret {n}") for n in range(8)])
    assert [type(each) for each in made] == [Credential] * 8
    last = max(made, key=lambda each: each.pk)
    assert show(reservation) == f"secret {made.index(last)}"


def test_the_buyers_engineers_are_told_that_it_is_there_and_never_what_it_is(reservation):
    for number, role in enumerate(("owner", "engineer", "finance", "viewer")):
        user = User.objects.create(email=f"{role}@sun.example.com", language="en" if number else "zh-hans")
        people.add_member(organization=reservation.organization, user=user, role=role, at=AT, actor="test")
    hand(reservation)
    for job in Job.objects.filter(kind="provisioning_letter"):
        tasks.KINDS[job.kind](job, AT)
    letters = {letter.to[0]: letter for letter in outbox.outbox}
    assert set(letters) == {"owner@sun.example.com", "engineer@sun.example.com"}
    letter = letters["engineer@sun.example.com"]
    assert letter.subject == f"Your access for reservation {str(reservation.pk)[:8]} is ready"
    assert str(reservation.pk) in letter.body
    assert "2020-05-12 08:00 CST" in letter.body
    assert not [each for each in letters.values() if "correct horse" in each.body + each.subject]
    assert all(SECRET not in str(job.payload) for job in Job.objects.all())


def test_nobody_is_told_of_access_that_was_shown_before_the_letter_goes_out(reservation):
    user = User.objects.create(email="owner@sun.example.com")
    people.add_member(organization=reservation.organization, user=user, role="owner", at=AT, actor="test")
    hand(reservation)
    show(reservation)
    job = Job.objects.get(kind="provisioning_letter")
    tasks.KINDS[job.kind](job, AT)
    assert outbox.outbox == []
