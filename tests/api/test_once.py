"""Writes with an Idempotency-Key: done once, answered the same; and what comes at the same time, fails, or is another request."""

import hashlib
import uuid
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from json import dumps, loads

import pytest
from django.test import Client

from marketplace import tasks
from marketplace.api import once
from marketplace.models import AnsweredRequest, Job, Quote
from tests.api.served import served
from tests.api.world import AT, WISH, make_world
from tests.billing.waiting import PATIENCE_SECONDS
from tests.ports import free_port

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
BODY = {"offering": "north-offering", **WISH}


def test_the_same_request_again_is_answered_the_same_and_done_once(ask, world):
    before = Quote.objects.count()
    first = ask(world.sun, "post", "quotes", json=BODY, headers=KEY)
    again = ask(world.sun, "post", "quotes", json=dict(reversed(BODY.items())), headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Quote.objects.count() == before + 1


def test_without_a_key_each_request_is_done(ask, world):
    ids = {ask(world.sun, "post", "quotes", json=BODY).json()["id"] for _ in range(2)}
    assert len(ids) == 2
    assert not AnsweredRequest.objects.exists()


@pytest.mark.parametrize(("path", "body"), [("quotes", BODY | {"quantity": 16}), ("waitlist", BODY), ("quotes", {})])
def test_the_key_with_another_request_is_refused(ask, world, path, body):
    ask(world.sun, "post", "quotes", json=BODY, headers=KEY)
    before = Quote.objects.count()
    answer = ask(world.sun, "post", path, json={"project": "research-0"} | BODY | body | {"x": 1}, headers=KEY)
    if path == "quotes":
        assert answer.json() == {
            "type": "urn:suanli:problem:idempotency-key-reused",
            "title": "Idempotency-Key used before",
            "status": 422,
            "detail": "Another request was sent with it: use a new one for each thing to do.",
            "field": "Idempotency-Key",
        }
    assert answer.status_code == 422
    assert Quote.objects.count() == before


def test_each_organization_has_keys_of_its_own(ask, world):
    ids = {ask(each, "post", "quotes", json=BODY, headers=KEY).json()["id"] for each in (world.sun, world.moon)}
    assert len(ids) == 2


def test_two_keys_of_one_organization_share_them(ask, world):
    first = ask(world.sun, "post", "quotes", json=BODY, headers=KEY)
    again = ask(world.sun.key(), "post", "quotes", json=BODY, headers=KEY)
    assert again.json() == first.json()


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
def test_an_unusable_key_is_refused(ask, world, key):
    answer = ask(world.sun, "post", "quotes", json=BODY, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:suanli:problem:idempotency-key")


def test_what_was_refused_is_not_kept_and_may_be_sent_again(ask, world):
    held = ask(world.sun, "post", f"quotes/{world.sun.ids['quotes'][1]}/hold").json()
    path = f"reservations/{held['id']}/release"
    body = {"end_at": "2020-05-12T04:00:00Z"}
    refused = ask(world.sun, "post", path, json=body, headers=KEY)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:suanli:problem:wrong-state")
    assert not AnsweredRequest.objects.exists()
    assert ask(world.sun, "post", f"reservations/{held['id']}/confirm").status_code == 200
    answered = ask(world.sun, "post", path, json=body, headers=KEY)
    assert (answered.status_code, answered.json()["end_at"]) == (200, "2020-05-12T04:00:00Z")
    assert "Idempotent-Replayed" not in answered.headers


def test_a_write_that_ends_in_an_error_of_ours_leaves_nothing(ask, world, monkeypatch):
    before = Quote.objects.count()
    monkeypatch.setattr(AnsweredRequest.objects, "create", lambda **_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        ask(world.sun, "post", "quotes", json=BODY, headers=KEY)
    monkeypatch.undo()
    assert (Quote.objects.count(), AnsweredRequest.objects.count()) == (before, 0)


def test_what_is_kept_of_a_request_is_keyed(ask, world, settings):
    """A body may hold a password: with the database alone nobody can try which it was."""
    whole = b"\0".join((b"POST", b"/api/v1/quotes", b"{}"))
    told = once.fingerprint("POST", "/api/v1/quotes", b"{}")
    assert (len(told), told == hashlib.sha256(whole).hexdigest()) == (64, False)
    settings.SECRET_KEY = "another"
    assert once.fingerprint("POST", "/api/v1/quotes", b"{}") != told


def test_it_is_forgotten_after_two_days_by_the_nightly_job(ask, world):
    ask(world.sun, "post", "quotes", json=BODY, headers=KEY)
    tasks.tidy(Job(), AT + timedelta(hours=once.KEEP_HOURS))
    assert AnsweredRequest.objects.count() == 1
    tasks.tidy(Job(), AT + timedelta(hours=once.KEEP_HOURS, seconds=1))
    assert AnsweredRequest.objects.count() == 0


# At the same time, on committed rows


def test_of_eight_at_once_one_is_done_and_all_are_answered_the_same(fresh_database, now):
    world = make_world()
    before = Quote.objects.count()
    headers = {"Authorization": f"Bearer {world.sun.token}", **KEY}

    def send():
        return Client().post("/api/v1/quotes", BODY, content_type="application/json", headers=headers)

    answers = fresh_database.at_once(*[send] * 8)
    assert [each.status_code for each in answers] == [201] * 8
    assert len({each.content for each in answers}) == 1
    assert sorted(each.headers.get("Idempotent-Replayed", "") for each in answers) == ["", *["true"] * 7]
    assert Quote.objects.count() == before + 1


def test_of_two_different_ones_at_once_under_one_key_one_is_refused(fresh_database, now):
    world = make_world()
    headers = {"Authorization": f"Bearer {world.sun.token}", **KEY}

    def send(quantity):
        body = BODY | {"quantity": quantity}
        return Client().post("/api/v1/quotes", body, content_type="application/json", headers=headers)

    answers = fresh_database.at_once(lambda: send(8), lambda: send(16))
    assert sorted(each.status_code for each in answers) == [201, 422]


def test_without_a_key_a_hold_is_done_once_all_the_same(fresh_database, now):
    world = make_world()
    path, headers = f"/api/v1/quotes/{world.sun.ids['quotes'][1]}/hold", {"Authorization": f"Bearer {world.sun.token}"}

    def send():
        return Client().post(path, b"", content_type="application/json", headers=headers)

    answers = fresh_database.at_once(*[send] * 4)
    assert [each.status_code for each in answers] == [200] * 4
    assert len({uuid.UUID(each.json()["id"]) for each in answers}) == 1


def test_the_real_server_takes_bodies_in_chunks_and_writes_without_one(fresh_database):
    world, port = make_world(), free_port()
    headers = {
        "Authorization": f"Bearer {world.sun.token}",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }
    project = dumps({"code": "chunked", "name": "In chunks"}).encode()
    connecting = closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS))
    with served(fresh_database.environment, port), connecting as server:
        server.request("POST", "/api/v1/projects", [project[:9], project[9:]], headers, encode_chunked=True)
        made = server.getresponse()
        assert (made.status, loads(made.read())["code"]) == (201, "chunked")
        server.putrequest("POST", "/api/v1/projects/chunked/archive")  # as curl does: no body, and no length
        server.putheader("Authorization", headers["Authorization"])
        server.endheaders()
        archived = server.getresponse()
        assert (archived.status, loads(archived.read())["code"]) == (200, "chunked")
