"""Who waits for capacity, and what is offered to them."""

import re
from datetime import timedelta

import pytest
from django.core import mail

from marketplace import people, reservations, tasks
from marketplace.models import Job, Organization, Reservation, User, WaitlistEntry
from tests.marketplace.booking import AT, DAY, HOUR, START, make_market, taken

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_sale(db):
    return make_market()


def block(market, **changes):
    return market.confirmed(**({"organization": market.moon, "quantity": 64} | changes))


def join(market, **changes):
    facts = {
        "offering": market.offering,
        "organization": market.sun,
        "quantity": 8,
        "hours": 10,
        "earliest_at": START,
        "latest_at": START + 2 * HOUR,
        "max_net_minor": 80_000,
        "at": AT,
        "actor": "user:1",
    } | changes
    return reservations.join_waitlist(**facts)


def offer(at=AT):
    return reservations.offer_from_waitlist(at=at)


def fresh(entry):
    return WaitlistEntry.objects.get(pk=entry.pk)


def test_who_waits_is_offered_a_hold_of_two_hours_when_there_is_room(on_sale):
    blocker = block(on_sale)
    entry = join(on_sale)
    assert offer() == 0
    assert fresh(entry).state == "waiting"
    reservations.cancel(reservation=blocker, at=AT, actor="user:2")
    assert offer(AT + HOUR) == 1
    assert offer(AT + HOUR) == 0
    offered = fresh(entry)
    row = offered.reservation
    assert (offered.state, offered.state_at) == ("offered", AT + HOUR)
    assert (row.state, row.organization, row.quantity, row.start_at, row.net_minor) == (
        "held",
        on_sale.sun,
        8,
        START,
        80_000,
    )
    assert row.hold_expires_at == AT + 3 * HOUR
    assert row.actor == "task:waitlist for user:1"
    assert taken(on_sale.pool) == [8] * 10


def test_the_buyers_owners_and_engineers_are_told_once_in_their_language_and_nobody_when_the_offer_is_over(on_sale):
    for role in ("owner", "engineer", "finance"):
        user = User.objects.create(email=f"{role}@example.com", name=role, language="en")
        people.add_member(organization=on_sale.sun, user=user, role=role, at=AT, actor="test")
    entry = join(on_sale)
    offer()
    offer()
    found = list(Job.objects.filter(kind="waitlist_letter").order_by("id"))
    assert len(found) == 2
    tasks.KINDS["waitlist_letter"](found[0], AT)
    (letter,) = mail.outbox
    assert (letter.to, letter.subject) == (["owner@example.com"], "8 GPUs at north pool are held for you")
    assert "Held until: 2020-05-10" in letter.body
    reservations.cancel(reservation=fresh(entry).reservation, at=AT, actor="user:1")
    offer()
    tasks.KINDS["waitlist_letter"](found[1], AT)
    assert len(mail.outbox) == 1


def test_what_was_offered_is_taken_when_it_is_confirmed_and_expires_with_its_hold(on_sale):
    one, other = join(on_sale), join(on_sale, organization=on_sale.moon)
    assert offer() == 2
    reservations.confirm(reservation=fresh(one).reservation, at=AT + HOUR, actor="user:1")
    reservations.expire(at=AT + 2 * HOUR)
    offer(AT + 2 * HOUR)
    assert (fresh(one).state, fresh(other).state) == ("taken", "expired")


def test_first_come_is_first_served_and_who_does_not_fit_keeps_its_place(on_sale):
    blocker = block(on_sale, quantity=40, end_at=START + 20 * HOUR)
    big = join(on_sale, quantity=60, max_net_minor=10**9)
    first = join(on_sale, at=AT + timedelta(seconds=1), quantity=20, organization=on_sale.moon, max_net_minor=10**9)
    second = join(on_sale, at=AT + timedelta(seconds=2), quantity=8, max_net_minor=10**9)
    assert offer() == 1
    assert [fresh(each).state for each in (big, first, second)] == ["waiting", "offered", "waiting"]
    reservations.cancel(reservation=fresh(first).reservation, at=AT, actor="user:2")
    reservations.cancel(reservation=blocker, at=AT, actor="user:2")
    assert offer() == 1
    assert [fresh(each).state for each in (big, first, second)] == ["offered", "expired", "waiting"]


def test_the_first_window_that_costs_no_more_than_the_highest_price_is_offered(on_sale):
    entry = join(on_sale, max_net_minor=79_999)
    assert offer() == 0
    waits = fresh(entry)
    assert waits.state == "waiting"
    assert waits.reason == "TooDearError: max_net_minor is 79999: expected at least 80000, the cheapest that is free"
    assert not Reservation.objects.exists()


def test_a_later_window_is_offered_if_the_first_is_taken(on_sale):
    block(on_sale, end_at=START + 3 * HOUR)
    entry = join(on_sale, latest_at=START + 5 * HOUR)
    assert offer() == 1
    assert fresh(entry).reservation.start_at == START + 3 * HOUR


def test_none_is_offered_that_starts_after_the_latest_start(on_sale):
    block(on_sale, end_at=START + 3 * HOUR)
    entry = join(on_sale, latest_at=START + 3 * HOUR - timedelta(minutes=1))
    assert offer() == 0
    assert offer(START + 3 * HOUR) == 0
    assert fresh(entry).state == "expired"


def test_the_budget_holds_for_the_waitlist_too_and_the_entry_says_so(on_sale):
    project = on_sale.project(monthly_limit_minor=10_000)
    entry = join(on_sale, project=project)
    assert offer() == 0
    assert fresh(entry).reason.startswith(
        "BudgetExceededError: project research: 80000 for 2020-05: expected at most 10000"
    )
    assert taken(on_sale.pool) == [0] * 10


def test_an_organization_that_was_suspended_is_offered_nothing(on_sale):
    entry = join(on_sale)
    Organization.objects.filter(pk=on_sale.sun.pk).update(state="suspended")
    assert offer() == 0
    assert fresh(entry).reason.startswith("NotVerifiedError")


def test_the_same_wish_again_is_the_entry_that_is_there(on_sale):
    assert join(on_sale) == join(on_sale)
    assert join(on_sale, hours=11) != join(on_sale)
    assert WaitlistEntry.objects.count() == 2


def test_who_leaves_is_offered_nothing_more(on_sale):
    entry = join(on_sale)
    for at in (AT, AT + HOUR):
        left = reservations.leave_waitlist(entry=entry, at=at, actor="user:1")
        assert left.state == "left"
    assert left.state_at == AT
    assert offer() == 0
    taken_entry = join(on_sale)
    offer()
    reservations.confirm(reservation=fresh(taken_entry).reservation, at=AT, actor="user:1")
    offer()
    with pytest.raises(reservations.WaitingOverError, match="state is taken: expected waiting or offered"):
        reservations.leave_waitlist(entry=taken_entry, at=AT, actor="user:1")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"quantity": 65}, "quantity is 65: expected 1 to 64"),
        ({"hours": 1}, "hours is 1: expected 2 to 72"),
        ({"latest_at": START - HOUR}, "latest_at is 2020-05-11T23:00:00+00:00: expected 2020-05-12T00:00:00+00:00 to"),
        ({"latest_at": START + 91 * DAY}, "latest_at is 2020-08-11T00:00:00+00:00: expected"),
        ({"max_net_minor": -1}, "max_net_minor is -1: expected 0 or more"),
    ],
)
def test_a_wish_outside_the_terms_does_not_wait(on_sale, changes, text):
    with pytest.raises(reservations.OutsideTermsError, match=re.escape(text)):
        join(on_sale, **changes)


def test_another_organizations_project_is_refused(on_sale):
    project = on_sale.project(organization=on_sale.moon)
    with pytest.raises(reservations.WrongProjectError, match="expected one of Sun"):
        join(on_sale, project=project)


def test_who_waits_for_a_year_keeps_nobody_else_waiting(db):
    market = make_market(max_hours=87_600)
    blocker = block(market)
    year = join(market, hours=8760, latest_at=START + 30 * DAY, max_net_minor=10**12)
    entry = join(market, organization=market.moon)
    with pytest.raises(reservations.OutsideTermsError, match="hours is 8785: expected 2 to 8784"):
        join(market, hours=8785)
    reservations.cancel(reservation=blocker, at=AT, actor="user:2")
    assert offer(AT + HOUR) == 2
    assert (fresh(year).state, fresh(entry).state) == ("offered", "offered")


def test_an_offer_is_held_no_longer_than_a_quarter_of_an_hour_past_its_start(on_sale):
    entry = join(on_sale)
    assert offer(START - HOUR) == 1
    assert fresh(entry).reservation.hold_expires_at == START + 0.25 * HOUR
