"""Jobs: asked for once, taken by one, taken again when their worker is lost, given up at last, retried by people."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pydoc import locate

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from billing.models import Account, BillingPeriod, Contract, EventProblem, Issuer, Party, Tariff
from marketplace import jobs, tasks
from marketplace.models import Job, Pulse
from tests.billing import world

T0 = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
KINDS = ["tidy", "rematch"]


def after(**duration):
    return T0 + timedelta(**duration)


def ask(key="k", kind="tidy", due_at=T0, at=T0, **facts):
    return jobs.ask(kind=kind, key=key, due_at=due_at, at=at, **facts)


def claim(at=T0, worker="here#1", lease_seconds=60):
    return jobs.claim(worker=worker, kinds=KINDS, at=at, lease_seconds=lease_seconds)


def facts(job):
    job.refresh_from_db()
    return job.state, job.attempts, job.due_at, job.locked_by, job.locked_until, job.finished_at, job.last_error


# Asking


@pytest.mark.django_db
def test_a_job_asked_for_twice_is_one_job():
    first = ask(payload={"a": 1})
    second = ask(payload={"a": 1}, due_at=after(days=1), at=after(hours=1))
    assert (second.pk, second.due_at, second.created_at) == (first.pk, T0, T0)
    assert Job.objects.count() == 1


@pytest.mark.django_db
def test_one_key_names_a_job_of_each_kind():
    assert ask(kind="tidy").pk != ask(kind="rematch").pk


@pytest.mark.django_db
def test_a_job_asked_for_again_with_another_payload_is_refused():
    ask(payload={"a": 1})
    with pytest.raises(jobs.OtherJobError, match=r"^tidy k: payload is {'a': 2}, and it was asked for with {'a': 1}$"):
        ask(payload={"a": 2})


@pytest.mark.django_db
def test_a_job_that_is_done_is_not_done_again_when_asked_for_again():
    ask()
    assert jobs.finish(job=claim(), at=T0)
    assert ask(at=after(days=1)).state == "done"
    assert claim(at=after(days=2)) is None


@pytest.mark.django_db
def test_a_supervised_worker_is_woken_after_the_commit_by_what_is_due_and_new(
    settings, django_capture_on_commit_callbacks
):
    settings.WORKER_NAME = "here"
    with django_capture_on_commit_callbacks(execute=True) as woken:
        ask()
        ask()
        ask(key="tomorrow", due_at=after(days=1))
        assert OrmQ.objects.count() == 0
    assert (len(woken), OrmQ.objects.count()) == (1, 1)


@pytest.mark.django_db
def test_nobody_is_woken_where_no_worker_reads_the_queue(settings, django_capture_on_commit_callbacks):
    assert settings.WORKER_NAME == ""
    with django_capture_on_commit_callbacks() as woken:
        ask()
    assert woken == []


def test_eight_who_ask_at_once_get_one_job(fresh_database):
    asked = fresh_database.at_once(*[ask] * 8)
    assert {job.pk for job in asked} == {Job.objects.get().pk}


# Taking


@pytest.mark.django_db
def test_the_job_that_has_waited_longest_is_taken_first_and_none_before_it_is_due():
    ask(key="late", due_at=after(seconds=2))
    ask(key="early", due_at=after(seconds=1))
    assert claim(at=T0) is None
    assert [claim(at=after(seconds=2)).key, claim(at=after(seconds=2)).key] == ["early", "late"]
    assert claim(at=after(seconds=2)) is None


@pytest.mark.django_db
def test_a_worker_takes_only_the_kinds_that_it_knows():
    job = ask(kind="of_a_newer_version")
    assert claim() is None
    assert facts(job) == ("due", 0, T0, None, None, None, "")


@pytest.mark.django_db
def test_a_taken_job_says_who_has_it_until_when():
    ask()
    assert facts(claim()) == ("running", 1, T0, "here#1", after(seconds=60), None, "")


@pytest.mark.django_db
def test_a_job_is_not_taken_from_its_worker_before_the_lease_ends_and_is_then():
    job = ask()
    claim()
    assert claim(at=after(seconds=59), worker="there#2") is None
    assert claim(at=after(seconds=60), worker="there#2").pk == job.pk
    assert facts(job) == ("running", 2, T0, "there#2", after(seconds=120), None, "")


@pytest.mark.django_db
def test_who_lost_the_lease_can_neither_finish_nor_fail_the_job_of_another():
    ask()
    mine = claim()
    theirs = claim(at=after(seconds=60), worker="there#2")
    assert jobs.finish(job=mine, at=after(seconds=61)) is False
    assert jobs.fail(job=mine, error="late", at=after(seconds=61)) is False
    assert facts(theirs) == ("running", 2, T0, "there#2", after(seconds=120), None, "")
    assert jobs.finish(job=theirs, at=after(seconds=62)) is True
    assert facts(theirs) == ("done", 2, T0, None, None, after(seconds=62), "")


@pytest.mark.django_db
def test_the_same_worker_that_takes_a_job_again_can_end_it_once():
    ask()
    first, second = claim(), claim(at=after(seconds=60))
    assert jobs.finish(job=first, at=after(seconds=61)) is False
    assert [jobs.finish(job=second, at=after(seconds=61)) for _ in range(2)] == [True, False]


def test_of_eight_who_take_at_once_one_gets_the_job(fresh_database):
    for round_ in range(10):
        job = ask(key=str(round_))
        taken = fresh_database.at_once(*[lambda n=n: claim(worker=f"here#{n}") for n in range(8)])
        (winner,) = [each for each in taken if each is not None]
        assert (winner.pk, winner.attempts) == (job.pk, 1)
        assert jobs.finish(job=winner, at=T0)


def test_eight_who_take_at_once_take_eight_jobs(fresh_database):
    for n in range(8):
        ask(key=str(n))
    taken = fresh_database.at_once(*[lambda n=n: claim(worker=f"here#{n}") for n in range(8)])
    assert sorted(job.key for job in taken) == [str(n) for n in range(8)]


def test_a_lease_that_ran_out_is_taken_over_by_one_of_eight(fresh_database):
    ask()
    claim()
    late = after(seconds=60)
    taken = fresh_database.at_once(*[lambda n=n: claim(at=late, worker=f"there#{n}") for n in range(8)])
    assert [job.attempts for job in taken if job is not None] == [2]


# Failing


@pytest.mark.django_db
def test_a_failing_job_comes_back_after_pauses_that_double_and_is_given_up_after_six_attempts():
    job, at, pauses = ask(), T0, []
    while job.state != "failed":
        taken = claim(at=at)
        assert jobs.fail(job=taken, error=f"attempt {taken.attempts}", at=at)
        job.refresh_from_db()
        if job.state == "due":
            pauses.append((job.due_at - at).total_seconds())
            assert claim(at=job.due_at - timedelta(microseconds=1)) is None
            at = job.due_at
    assert pauses == [60, 120, 240, 480, 960]
    assert facts(job) == ("failed", 6, after(seconds=1860), None, None, after(seconds=1860), "attempt 6")
    assert claim(at=after(days=365)) is None


@pytest.mark.django_db
def test_a_job_that_kills_its_worker_each_time_is_given_up_too():
    job = ask()
    for attempt in range(6):
        assert claim(at=after(seconds=60 * attempt)).pk == job.pk
    assert claim(at=after(seconds=360)) is None
    lost = "here#1 was lost 6 times in a row, or took too long: look at its log and memory"
    assert facts(job) == ("failed", 6, T0, None, None, after(seconds=360), lost)


@pytest.mark.django_db
def test_a_failed_job_is_retried_by_a_person_with_all_its_attempts_and_only_once():
    ask()
    Job.objects.update(state="failed", attempts=6, finished_at=T0, last_error="no")
    job = Job.objects.get()
    assert [jobs.retry(job=job, at=after(hours=1), actor="user:42") for _ in range(2)] == [True, False]
    assert facts(job) == ("due", 0, after(hours=1), None, None, None, "no")
    assert job.retried_by == "user:42"
    assert claim(at=after(hours=1)).attempts == 1


@pytest.mark.django_db
def test_an_error_is_kept_with_its_end_and_without_what_the_database_refuses():
    job = ask()
    assert jobs.fail(job=claim(), error="x" * 3000 + "\0the reason", at=T0)
    job.refresh_from_db()
    assert job.last_error == "x" * (2000 - len("\0the reason")) + "the reason"


@pytest.mark.django_db
def test_jobs_of_dead_processes_are_free_at_once_and_those_of_others_are_not():
    for key in "abcd":
        ask(key=key)
    for worker in ("here#1", "here#2", "here2#1", "there#1"):
        claim(worker=worker)
    assert jobs.abandon(worker="here", processes=[2, 7], at=after(seconds=1)) == 1
    assert claim(at=after(seconds=1)).key == "b"
    assert claim(at=after(seconds=1)) is None
    assert jobs.abandon(worker="here", at=after(seconds=2)) == 2
    assert [claim(at=after(seconds=2)).key, claim(at=after(seconds=2)).key] == ["a", "b"]
    assert claim(at=after(seconds=2)) is None


TAKE_AND_HANG = """
import sys, time, django
django.setup()
from marketplace import jobs
from datetime import datetime
job = jobs.claim(worker="there#1", kinds=["tidy"], at=datetime.fromisoformat(sys.argv[1]), lease_seconds=60)
print(job.key, flush=True)
time.sleep(60)
"""


def test_the_job_of_a_process_killed_with_sigkill_is_taken_again_after_its_lease(fresh_database):
    ask()
    command = [sys.executable, "-c", TAKE_AND_HANG, T0.isoformat()]
    with subprocess.Popen(command, env=fresh_database.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "k\n"
        process.send_signal(signal.SIGKILL)
    assert claim(at=after(seconds=59)) is None
    again = claim(at=after(seconds=60))
    assert (again.key, again.attempts) == ("k", 2)


# What the database refuses


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"state": "lost"}, "job_finished_at"),
        ({"state": "running"}, "job_running_is_locked"),
        ({"locked_by": "here#1", "locked_until": T0}, "job_running_is_locked"),
        ({"state": "done"}, "job_finished_at"),
        ({"finished_at": T0}, "job_finished_at"),
        ({"key": ""}, "job_named"),
        ({"kind": ""}, "job_named"),
    ],
)
@pytest.mark.django_db
def test_a_job_in_an_impossible_state_can_not_be_stored(change, constraint):
    ask()
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Job.objects.update(**change)


@pytest.mark.django_db
def test_a_job_can_not_be_stored_twice():
    ask()
    with pytest.raises(IntegrityError, match="job_once"), transaction.atomic():
        Job.objects.create(kind="tidy", key="k", due_at=T0, created_at=T0)


# Planning


def period(code="2026-05", end_at=T0, issuer=None):
    issuer = issuer or Issuer.objects.create(
        code="LG",
        party=Party.objects.create(legal_name="Zone", credit_code="91110000000000000A", created_at=T0),
        timezone="UTC",
        currency="CNY",
        number_prefix="LG",
    )
    return BillingPeriod.objects.create(
        issuer=issuer,
        code=code,
        timezone="UTC",
        start_at=end_at - timedelta(days=31),
        end_at=end_at,
        last_date=(end_at - timedelta(days=1)).date(),
    )


EVERY_DAY = [
    "check_capacity",
    "expire_programmes",
    "find_corrections",
    "provision",
    "refresh_listings",
    "rematch",
    "reservations",
    "silent_meters",
    "tidy",
]


def planned(at, days=3):
    jobs.plan(at=at, auto_close_after_days=days)
    return sorted((job.kind, job.key, job.due_at) for job in Job.objects.all())


@pytest.mark.django_db
def test_planning_twice_asks_once_for_what_the_minute_the_quarter_the_hour_and_the_day_bring():
    at = after(minutes=44, seconds=59)
    hour = after()
    expected = [
        ("check_capacity", "2026-06-01", hour),
        ("expire_programmes", "2026-06-01T12:00:00+00:00", hour),
        ("find_corrections", "2026-06-01T12:00:00+00:00", hour),
        ("provision", "2026-06-01T12:44:00+00:00", after(minutes=44)),
        ("refresh_listings", "2026-06-01T12:30:00+00:00", after(minutes=30)),
        ("rematch", "2026-06-01T12:00:00+00:00", hour),
        ("reservations", "2026-06-01T12:44:00+00:00", after(minutes=44)),
        ("silent_meters", "2026-06-01T12:30:00+00:00", after(minutes=30)),
        ("tidy", "2026-06-01", hour),
    ]
    assert planned(at) == expected
    assert planned(at) == expected


@pytest.mark.django_db
def test_a_period_is_closed_by_the_worker_three_days_after_its_end_and_not_before():
    period()
    kinds = [kind for kind, _, _ in planned(after(days=3) - timedelta(microseconds=1))]
    assert "close_period" not in kinds
    assert ("close_period", "LG 2026-05", after(days=3)) in planned(after(days=3))
    assert Job.objects.get(kind="close_period").payload == {"issuer": "LG", "period": "2026-05"}


@pytest.mark.django_db
def test_periods_left_to_people_and_closed_periods_are_not_closed_by_the_worker():
    period()
    assert [kind for kind, _, _ in planned(after(days=30), days=None)] == EVERY_DAY
    BillingPeriod.objects.update(state="closed", closed_at=T0)
    assert [kind for kind, _, _ in planned(after(days=30))] == EVERY_DAY


def test_eight_who_plan_at_once_ask_once(fresh_database):
    done = fresh_database.at_once(*[lambda: jobs.plan(at=T0, auto_close_after_days=3)] * 8)
    assert done == [None] * 8
    assert Job.objects.count() == len(EVERY_DAY)


@pytest.mark.django_db
def test_tidying_forgets_what_is_long_done_and_keeps_what_failed():
    for key, state, days in (("old", "done", 31), ("new", "done", 30), ("dead", "failed", 365)):
        ask(key=key, kind="service_credit")
        Job.objects.filter(key=key).update(state=state, finished_at=after(days=-days))
    ask(key="due")
    for worker, hours in (("gone", 25), ("here", 24)):
        Pulse.objects.create(worker=worker, asked_at=after(hours=-hours), answered_at=after(hours=-hours))
    for key, minutes in (("gone", 61), ("here", 60)):
        OrmQ.objects.create(key=key, payload="", lock=after(minutes=-minutes))
    jobs.tidy(at=T0)
    assert sorted(Job.objects.values_list("key", flat=True)) == ["dead", "due", "new"]
    assert list(Pulse.objects.values_list("worker", flat=True)) == ["here"]
    assert list(OrmQ.objects.values_list("key", flat=True)) == ["here"]


@pytest.mark.django_db
def test_the_tidying_job_forgets_events_not_stored_thirty_days_after_they_were_last_sent():
    sender = world.provider()
    for name, days in (("old", 31), ("new", 30)):
        world.problem_row(owner=sender, event_id=name, at=after(days=-days))
    tasks.tidy(ask(), T0)
    assert list(EventProblem.objects.values_list("event_id", flat=True)) == ["new"]


# Tasks


def queued():
    return sorted(row.func() for row in OrmQ.objects.all())


def test_a_sweep_wakes_as_many_workers_as_there_is_work_for(fresh_database, settings, monkeypatch):
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"workers": 2}
    monkeypatch.setattr(timezone, "now", lambda: T0)
    tasks.sweep()
    assert (Job.objects.count(), queued()) == (len(EVERY_DAY), ["marketplace.tasks.work"] * 2)
    OrmQ.objects.all().delete()
    for _ in range(len(EVERY_DAY) - 1):
        jobs.finish(job=jobs.claim(worker="here#1", kinds=tasks.KINDS, at=T0, lease_seconds=60), at=T0)
    tasks.sweep()
    assert (Job.objects.count(), queued()) == (len(EVERY_DAY), ["marketplace.tasks.work"])


def test_work_does_one_job_and_wakes_for_the_next_and_without_a_job_does_nothing(fresh_database):
    job = ask()
    tasks.work()
    job.refresh_from_db()
    assert (job.state, job.attempts, queued()) == ("done", 1, ["marketplace.tasks.work"])
    OrmQ.objects.all().delete()
    tasks.work()
    assert queued() == []


def test_a_job_that_raises_is_kept_with_its_traceback_and_wakes_for_the_next(fresh_database, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: T0)
    job = ask(kind="close_period", payload={"issuer": "LG", "period": "2026-05"})
    tasks.work()
    job.refresh_from_db()
    assert (job.state, job.attempts, job.due_at) == ("due", 1, after(seconds=60))
    assert job.last_error.endswith("BillingPeriod matching query does not exist.\n")
    assert queued() == ["marketplace.tasks.work"]


def test_an_ended_period_is_closed_by_the_worker(fresh_database, monkeypatch):
    ended = period()
    monkeypatch.setattr(timezone, "now", lambda: after(days=3))
    tasks.sweep()
    for _ in range(1 + len(EVERY_DAY)):
        tasks.work()
    done = sorted([*EVERY_DAY, "close_period"])
    assert sorted(Job.objects.values_list("kind", "state")) == [(kind, "done") for kind in done]
    ended.refresh_from_db()
    assert (ended.state, ended.closed_at) == ("closed", after(days=3))


def test_a_period_with_an_account_that_can_not_be_charged_stays_open_and_the_job_says_why(fresh_database, monkeypatch):
    ended = period()
    party, issuer = Party.objects.get(), Issuer.objects.get()
    account = Account.objects.create(issuer=issuer, code="earth", party=party, created_at=T0)
    Contract.objects.create(
        number="C-earth",
        account=account,
        tariff=Tariff.objects.create(code="EMPTY", name="without a version"),
        provider=party,
        fee_percent=0,
        start_at=ended.start_at,
        actor="test",
    )
    monkeypatch.setattr(timezone, "now", lambda: after(days=3))
    job = ask(kind="close_period", payload={"issuer": "LG", "period": "2026-05"})
    tasks.work()
    ended.refresh_from_db()
    job.refresh_from_db()
    assert (ended.state, job.state) == ("open", "due")
    assert "NotClosedError: 1 accounts of k can't be charged:\nearth: " in job.last_error


@pytest.mark.django_db
def test_the_only_schedule_is_the_sweep_and_it_is_whole():
    schedule = Schedule.objects.get()
    schedule.full_clean()
    assert locate(schedule.func) is tasks.sweep
    assert (schedule.schedule_type, schedule.minutes, schedule.repeats, schedule.cluster) == ("I", 1, -1, None)
    assert (schedule.args, schedule.kwargs, schedule.hook) == (None, None, None)


def test_the_queue_is_set_up_so_that_a_full_one_runs_nothing_twice(settings):
    queue = settings.Q_CLUSTER
    assert queue["retry"] >= queue["timeout"] * (queue["queue_limit"] / queue["workers"] + 3)
    assert (queue["bulk"], queue["queue_limit"], queue["max_attempts"], queue["catch_up"]) == (
        1,
        queue["workers"],
        3,
        False,
    )


def test_the_process_of_a_job_is_this_one(fresh_database, settings):
    settings.WORKER_NAME = "here"
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "KINDS", {"tidy": lambda job, at: seen.append(job.locked_by)})
        ask()
        tasks.work()
    assert seen == [f"here#{os.getpid()}"]
