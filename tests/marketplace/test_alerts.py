"""What buyers are mailed of budgets and incidents: whom, once each, with a way to what it is about."""

import pytest
from django.core import mail

from marketplace import capacity, reservations, tasks
from marketplace.models import Job, Project, Reservation
from marketplace.provisioning.manual import Manual
from marketplace.reservations import alerts
from tests.marketplace.booking import AT, DAY, HOUR, START, make_market, people_of


@pytest.fixture
def market(db):
    market = make_market()
    people_of(market.sun, "sun")
    people_of(market.moon, "moon")
    people_of(market.north, "north")
    return market


def post():
    """What goes out to each, once; whose letters those are."""
    mail.outbox.clear()
    for job in Job.objects.filter(kind=alerts.JOB, state="due").order_by("id"):
        tasks.KINDS[job.kind](job, AT)
        Job.objects.filter(pk=job.pk).update(state="done", finished_at=AT)
    return [(letter.to[0], letter.subject) for letter in mail.outbox]


# Budgets


def test_a_threshold_is_told_to_owners_and_finance_once_a_month(market):
    project = market.project(monthly_limit_minor=200_000)  # warns at 50, 80 and 100 %
    market.confirmed(project=project)  # 800.00 of 2,000.00
    assert post() == []
    held = market.held(project=project)  # 1,600.00
    assert post() == [
        ("owner@sun.example.com", "research has come to 50% of its budget for 2020-05"),
        ("finance@sun.example.com", "research 2020-05 的用量已达预算的 50%"),
        ("owner@sun.example.com", "research has come to 80% of its budget for 2020-05"),
        ("finance@sun.example.com", "research 2020-05 的用量已达预算的 80%"),
    ]
    letter = mail.outbox[2].body
    assert "So far: ¥1,600.00" in letter
    assert "Monthly limit: ¥2,000.00" in letter
    assert "What would go beyond the limit is refused." in letter
    assert "\nhttp://127.0.0.1:8000/projects/research/\n" in letter
    reservations.cancel(reservation=held, at=AT, actor="user:1")
    market.held(project=project)  # the same thresholds again
    assert post() == []
    june = {"start_at": START + 25 * DAY, "end_at": START + 25 * DAY + 20 * HOUR}
    market.held(project=project, **june)
    assert [subject for to, subject in post() if to.startswith("owner")] == [
        "research has come to 50% of its budget for 2020-06",
        "research has come to 80% of its budget for 2020-06",
    ]


def test_more_hours_warn_too_and_what_was_refused_warns_nobody(market):
    project = market.project(monthly_limit_minor=200_000)
    row = market.confirmed(project=project)
    quote = reservations.extension_quote(reservation=row, end_at=row.end_at + 5 * HOUR, at=AT, actor="user:1")
    reservations.extend(quote=quote, at=AT, actor="user:1")  # 1,200.00
    assert [subject for to, subject in post() if to.startswith("owner")] == [
        "research has come to 50% of its budget for 2020-05"
    ]
    with pytest.raises(reservations.BudgetExceededError):
        market.held(project=project, quantity=16)
    assert post() == []


def test_a_budget_that_is_gone_and_a_reader_who_left_are_told_nothing(market):
    project = market.project(monthly_limit_minor=100_000)
    market.held(project=project)
    Project.objects.filter(pk=project.pk).update(monthly_limit_minor=None)
    assert post() == []


# Incidents


def outage(market, **facts):
    facts = {"pool": market.pool, "quantity": 8, "start_at": AT, "cause": "power", "at": AT, "actor": "user:9"} | facts
    return capacity.open_outage(**facts)


def test_an_outage_is_told_to_those_who_run_or_soon_begin_once(market):
    soon = market.confirmed(start_at=AT.replace(hour=12, minute=0), end_at=AT.replace(hour=20, minute=0))
    market.confirmed()  # begins the day after tomorrow
    market.held(organization=market.moon, start_at=AT.replace(hour=12, minute=0), end_at=AT.replace(hour=20, minute=0))
    incident = outage(market)
    for _ in range(2):
        alerts.incidents(at=AT)
    short = str(soon.pk)[:8]
    assert post() == [
        ("owner@sun.example.com", f"Something is wrong with your reservation {short} at north pool"),
        ("engineer@sun.example.com", f"您在 north pool 的预订 {short} 遇到故障"),
    ]
    assert "What happened: Outage: power" in mail.outbox[0].body
    assert f"\nhttp://127.0.0.1:8000/reservations/{soon.pk}/\n" in mail.outbox[0].body
    assert alerts.incidents(at=START - 12 * HOUR) == 1  # the other one is near now, and the first is over
    capacity.close_incident(incident=incident, at=START - 12 * HOUR, actor="user:9")
    assert post() == []
    assert alerts.incidents(at=START) == 0


def test_a_shortfall_is_told_as_soon_as_it_is_known(market):
    far = market.confirmed(quantity=64)
    capacity.set_capacity(pool=market.pool, gpus=32, from_at=START - HOUR, cause="sold", at=AT, actor="user:9")
    tasks.look_after_reservations(Job(), AT)
    assert [to for to, _ in post()] == ["owner@sun.example.com", "engineer@sun.example.com"]
    assert str(far.pk) in mail.outbox[0].body


# The way to what it is about


def test_letters_of_tasks_lead_to_the_task(market):
    row = market.confirmed()
    Manual().start(reservation=Reservation.objects.get(pk=row.pk), due_at=START, at=AT)
    job = Job.objects.filter(kind="provisioning_letter").order_by("id").first()
    tasks.KINDS[job.kind](job, AT)
    address = f"http://127.0.0.1:8000/provider/marketplace/provisioningtask/{row.tasks.get().pk}/change/"
    assert f"\n{address}\n" in mail.outbox[0].body
