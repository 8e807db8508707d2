"""How a reservation is made to run over the API: its provider's tasks, and access, handed over and shown once."""

import json
import logging

import pytest

from marketplace.models import AnsweredRequest, Credential, ProvisioningTask
from marketplace.provisioning.manual import Manual
from tests.api.world import AT, HOUR, START, later

SECRET = "ssh sun@gpu-7.example.com\n密码: correct horse\n"
ONCE = {"Idempotency-Key": "once"}


@pytest.fixture
def pk(world):
    return world.sun.ids["reservations"][0]


def hand(ask, who, pk, secret=SECRET, **options):
    return ask(who, "post", f"supply/reservations/{pk}/access", json={"access": secret}, **options)


def refusal(answer):
    return answer.status_code, answer.json()["type"].removeprefix("urn:suanli:problem:")


# Access


def test_access_is_handed_over_shown_once_and_gone(ask, world, now, pk):
    handed = hand(ask, world.north, pk)
    assert (handed.status_code, handed.json()) == (201, {"reservation": pk, "handed_at": "2020-05-10T08:30:00Z"})
    now(START)
    shown = ask(world.sun.key("reservations:write"), "post", f"reservations/{pk}/access")
    assert (shown.status_code, shown.json()) == (200, {"access": SECRET})
    assert shown.headers["Cache-Control"] == "no-store"
    now(START + HOUR)
    again = ask(world.sun, "post", f"reservations/{pk}/access")
    assert refusal(again) == (409, "already-shown")
    assert again.json()["shown_at"] == "2020-05-12T00:00:00+00:00"
    assert hand(ask, world.north, pk, "anew").status_code == 201
    assert ask(world.sun, "post", f"reservations/{pk}/access").json() == {"access": "anew"}


def test_what_is_kept_for_repeats_never_has_it(ask, world, pk):
    first, second = (hand(ask, world.north, pk, headers=ONCE) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Credential.objects.count() == 1
    assert refusal(hand(ask, world.north, pk, "other", headers=ONCE)) == (422, "idempotency-key-reused")
    shown = [ask(world.sun, "post", f"reservations/{pk}/access", headers=ONCE) for _ in range(2)]
    assert shown[0].json() == {"access": SECRET}
    assert refusal(shown[1]) == (409, "already-shown")
    [kept] = AnsweredRequest.objects.values()
    assert not [word for word in ("ssh", "gpu-7", "correct") if word in json.dumps(kept, default=str)]


def test_there_is_nothing_to_show_before_it_is_handed_over_nor_after_the_end(ask, world, pk):
    assert refusal(ask(world.sun, "post", f"reservations/{pk}/access")) == (409, "nothing-to-show")
    hand(ask, world.north, pk)
    ask(world.sun, "post", f"reservations/{pk}/cancel")
    assert refusal(ask(world.sun, "post", f"reservations/{pk}/access")) == (409, "not-running")
    assert refusal(hand(ask, world.north, pk)) == (409, "not-running")


def test_what_was_sealed_under_a_key_that_is_gone_is_told_to_the_buyer_without_the_settings(
    ask, world, pk, settings, caplog
):
    hand(ask, world.north, pk)
    settings.SECRET_KEY = "another"
    with caplog.at_level(logging.ERROR, "marketplace.api.refusals"):
        answer = ask(world.sun, "post", f"reservations/{pk}/access")
    assert refusal(answer) == (409, "unreadable")
    assert answer.json()["detail"] == "It can't be read any more. Ask the provider to hand it over anew."
    assert "SECRET_KEY_FALLBACKS" in caplog.text
    assert Credential.objects.get().shown_at is None


@pytest.mark.parametrize("secret", ["", " \n", "x" * 10_001, "a\0b", None, ["ssh"], {"user": "sun"}])
def test_access_that_cant_be_is_refused(ask, world, pk, secret):
    answer = hand(ask, world.north, pk, secret)
    assert (answer.status_code, answer.json()["field"]) == (422, "access")
    assert Credential.objects.count() == 0


def test_the_buyer_alone_looks_and_the_provider_alone_hands_over(ask, world, pk):
    hand(ask, world.north, pk)
    for who in (world.moon, world.north, world.south):
        assert ask(who, "post", f"reservations/{pk}/access").status_code == 404
    for who in (world.sun, world.moon, world.south):
        assert hand(ask, who, pk).status_code == 404
    assert ask(world.sun.key("usage:read"), "post", f"reservations/{pk}/access").status_code == 403
    assert hand(ask, world.north.key("usage:read"), pk).status_code == 403
    assert Credential.objects.get().shown_at is None


# Tasks


def test_a_task_is_ticked_off(ask, world, now, pk):
    [task] = world.north.ids["supply/tasks"]
    path = f"supply/tasks/{task}"
    row = ask(world.north, "get", path).json()
    assert row == {
        "id": task,
        "reservation": pk,
        "buyer": "Sun",
        "pool": world.market.pool.pk,
        "quantity": 8,
        "kind": "start",
        "state": "open",
        "due_at": later(0),
        "created_at": "2020-05-10T08:30:00Z",
        "ended_at": None,
        "note": "",
    }
    now(START - HOUR)
    done = row | {"state": "done", "ended_at": later(-1), "note": "rack 7"}
    assert ask(world.north, "post", f"{path}/tick-off", json={"note": "rack 7"}).json() == done
    now(START)
    assert ask(world.north, "post", f"{path}/tick-off").json() == done  # again, it stays as it was
    assert ProvisioningTask.objects.get(pk=task).ended_by == f"key:{world.north.token[:19]}"


def test_a_task_that_is_no_longer_needed_cant_be_ticked_off(ask, world, pk):
    [task] = world.north.ids["supply/tasks"]
    ask(world.sun, "post", f"reservations/{pk}/cancel")
    Manual().stop(reservation=ProvisioningTask.objects.get(pk=task).reservation, at=AT)
    assert refusal(ask(world.north, "post", f"supply/tasks/{task}/tick-off")) == (409, "task-void")


def test_a_note_that_is_too_long_is_refused(ask, world):
    [task] = world.north.ids["supply/tasks"]
    answer = ask(world.north, "post", f"supply/tasks/{task}/tick-off", json={"note": "x" * 501})
    assert (answer.status_code, answer.json()["field"]) == (422, "note")


def test_who_reads_usage_sees_tasks_and_who_supplies_ticks_them_off(ask, world):
    [task] = world.north.ids["supply/tasks"]
    reader = world.north.key("usage:read")
    assert [row["id"] for row in ask(reader, "get", "supply/tasks").json()["results"]] == [task]
    assert ask(reader, "post", f"supply/tasks/{task}/tick-off").status_code == 403
    assert ask(world.north.key("supply:write"), "post", f"supply/tasks/{task}/tick-off").status_code == 200


@pytest.mark.parametrize(
    ("query", "number"),
    [({"state": "open"}, 1), ({"state": "done"}, 0), ({"kind": "stop"}, 0), ({"due_at__lt": later(0)}, 0)],
)
def test_tasks_are_filtered(ask, world, query, number):
    assert len(ask(world.north, "get", "supply/tasks", **query).json()["results"]) == number


def test_tasks_are_found_by_their_reservation(ask, world, pk):
    [other] = world.moon.ids["reservations"]
    found = {each: ask(world.north, "get", "supply/tasks", reservation=each).json()["results"] for each in (pk, other)}
    assert [len(rows) for rows in found.values()] == [1, 0]
