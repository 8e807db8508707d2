"""Who is told what of provisioning, when, in which language."""

from datetime import timedelta

import pytest
from django.core import mail as outbox

from marketplace import provisioning, reservations, tasks
from marketplace.models import Job
from tests.marketplace.booking import AT, HOUR, START, make_market, people_of

MINUTE = timedelta(minutes=1)


@pytest.fixture
def market(db):
    return make_market()


def sweep(at):
    return provisioning.sweep(at=at)


def post(at):
    """What goes out by then, each letter once."""
    outbox.outbox.clear()
    for job in Job.objects.filter(kind="provisioning_letter", due_at__lte=at, state="due").order_by("id"):
        tasks.KINDS[job.kind](job, at)
        Job.objects.filter(pk=job.pk).update(state="done", finished_at=at)
    return sorted((letter.to[0], letter.subject) for letter in outbox.outbox)


def test_the_providers_owners_and_engineers_are_told_in_their_language(market):
    people_of(market.north, "north")
    people_of(market.sun, "sun")
    reservation = market.confirmed()
    short = str(reservation.pk)[:8]
    sweep(AT)
    sent = post(AT)
    assert [to for to, _ in sent] == ["engineer@north.example.com", "owner@north.example.com"]
    assert sent[1][1] == f"To do for reservation {short} at north pool"
    letter = next(each for each in outbox.outbox if each.to == ["owner@north.example.com"])
    assert letter.body.splitlines()[:13] == [
        "Hello,",
        "",
        "Please make these GPUs ready for the buyer by the start, hand over access, and tick the task off.",
        "",
        f"Reservation number: {reservation.pk}",
        "Buyer: Sun",
        "Pool: north pool (North site)",
        "GPUs: 8",
        "From: 2020-05-12 08:00 CST",
        "Until: 2020-05-12 18:00 CST (10 hours)",
        "",
        "To be done by: 2020-05-12 08:00 CST",
        "",
    ]


def test_a_task_that_is_late_is_told_once_more_and_a_void_one_is_called_off(market):
    people_of(market.north, "north")
    first, second = market.confirmed(), market.confirmed()
    names = {reservation: f"reservation {str(reservation.pk)[:8]} at north pool" for reservation in (first, second)}
    sweep(AT)
    assert len(post(AT)) == 4
    provisioning.tick_off(task=first.tasks.get(), at=START, actor="user:7")
    assert post(START + 14 * MINUTE) == []
    assert [said for to, said in post(START + 15 * MINUTE) if to.startswith("owner")] == [
        f"Late: to do for {names[second]}"
    ]
    reservations.cancel(reservation=second, at=START + 20 * MINUTE, actor="user:1")
    sweep(START + 20 * MINUTE)
    assert [said for to, said in post(START + HOUR) if to.startswith("owner")] == [
        f"No longer to do for {names[second]}"
    ]
