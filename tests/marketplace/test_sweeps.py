"""Loops over what comes due: a row that fails holds up none of the others, and the job is failed all the same."""

from datetime import timedelta

import pytest

from marketplace import reservations, sweeps, tasks
from marketplace.models import Job, Reservation, WaitlistEntry
from marketplace.reservations import endings, holds, waitlist
from tests.marketplace import booking

LATER = booking.AT + timedelta(hours=1)


def test_all_rows_are_tried_and_the_failed_ones_told(caplog):
    def do(row):
        return 6 // row > 1

    with pytest.raises(sweeps.SweepError, match=r"^division failed for 2:\n0: integer division.*\n0: integer division"):
        sweeps.each([0, 1, 0, 2], do, what="division")
    assert [record.message for record in caplog.records] == ["division failed"] * 2
    assert sweeps.each([1, 2, 6], do, what="division") == 2


def test_of_many_failures_twenty_are_told():
    with pytest.raises(sweeps.SweepError) as told:
        sweeps.each([0] * 23, lambda row: 1 // row, what="division")
    assert str(told.value).splitlines()[-1] == "and 3 more"
    assert len(str(told.value).splitlines()) == 22


def failing(monkeypatch, module, name, wrong):
    """The function of the module fails for the row `wrong`, which is its first argument or one of its named ones."""
    right = getattr(module, name)

    def sometimes(*rows, **named):
        if wrong in {each.pk for each in (*rows, *named.values()) if hasattr(each, "pk")}:
            raise RuntimeError("unforeseen")
        return right(*rows, **named)

    monkeypatch.setattr(module, name, sometimes)


@pytest.fixture
def market(db):
    return booking.make_market()


def states(*rows):
    return [Reservation.objects.get(pk=row.pk).state for row in rows]


def test_a_hold_that_can_not_be_let_go_keeps_no_other(market, monkeypatch):
    first, second = market.held(), market.held()
    failing(monkeypatch, holds, "let_go", first.pk)
    with pytest.raises(sweeps.SweepError, match=r"^the end of a hold failed for 1:\n.*: unforeseen$"):
        reservations.expire(at=LATER)
    assert states(first, second) == ["held", "expired"]
    monkeypatch.undo()
    assert reservations.expire(at=LATER) == 1
    assert states(first, second) == ["expired", "expired"]


def test_a_notice_that_can_not_be_ended_keeps_no_other(market, monkeypatch):
    rows = [market.confirmed(), market.confirmed()]
    for row in rows:
        Reservation.objects.filter(pk=row.pk).update(notice_ends_at=booking.AT)
    failing(monkeypatch, endings, "_end_free", rows[0].pk)
    with pytest.raises(sweeps.SweepError, match=r"^the end of a notice failed for 1:"):
        reservations.end_noticed(at=LATER)
    assert states(*rows) == ["confirmed", "released"]


def test_an_entry_that_can_not_be_offered_anything_keeps_no_other_and_the_job_fails_after_all_steps(
    market, monkeypatch
):
    wish = {"quantity": 8, "hours": 4, "earliest_at": booking.START, "latest_at": booking.START + booking.DAY}
    wish |= {
        "offering": market.offering,
        "project": None,
        "max_net_minor": 1_000_000,
        "at": booking.AT,
        "actor": "test",
    }
    first, second = (reservations.join_waitlist(organization=each, **wish) for each in (market.sun, market.moon))
    held = market.held()
    failing(monkeypatch, holds, "let_go", held.pk)
    failing(monkeypatch, waitlist, "_offer", first.pk)
    with pytest.raises(sweeps.SweepError, match=r"^a step failed for 2:"):
        tasks.look_after_reservations(Job(), LATER)
    assert [WaitlistEntry.objects.get(pk=each.pk).state for each in (first, second)] == ["waiting", "offered"]
