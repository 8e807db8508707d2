"""`manage.py serve`: what it starts, what it mends, and that it leaves nothing behind. Real processes, real SIGKILL.

Signs of life come more often than in production (every second, not every 30), to spare the suite the wait: what is mended
here in 41 s is mended there in at most 70 s and a start. The patience is that of production, and a start may take as long
as a test waits, so that a slow machine is not taken for a deaf cluster.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import psutil
import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from marketplace import jobs, serving
from marketplace.models import Job, Pulse
from tests.billing.waiting import PATIENCE_SECONDS
from tests.ports import free_port

T0 = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DEAF_SECONDS = 40
QUICK = ["--canary-seconds", 1, "--patience-seconds", DEAF_SECONDS, "--start-seconds", PATIENCE_SECONDS]
THERE = ["--web-workers", 0, "--name", "there"]
PROMISED_SECONDS = 120  # in which the work goes on, whatever was killed


class Served:
    """A supervisor under test, its children, and what it said."""

    def __init__(self, process, log):
        self.process, self.log = process, log
        self.leader = psutil.Process(process.pid)

    def records(self, message):
        whole, _, _ = self.log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    def child(self, part):
        """The leader of the group of "qcluster" or "gunicorn"."""
        found = [child for child in self.leader.children() if part in " ".join(child.cmdline())]
        return found[0] if found else None

    def members(self):
        """A new cluster's processes below its leader: (workers, monitor, pusher), as django-q2 starts them in this order."""
        (sentinel,) = self.child("qcluster").children()
        *workers, monitor, pusher = sorted(
            sentinel.children(), key=lambda process: (process.create_time(), process.pid)
        )
        return workers, monitor, pusher

    def workers(self, *others):
        """The workers by now: all of the cluster's processes but `others`, its monitor and its pusher."""
        (sentinel,) = self.child("qcluster").children()
        return [process for process in sentinel.children() if process not in others]

    def everybody(self):
        return [self.leader, *self.leader.children(recursive=True)]


def until(condition, seconds=PATIENCE_SECONDS, pause=0.1):
    """Wait for it; the answer that is true, or a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess, ValueError, AttributeError):  # in between two of them
            if answer := condition():
                return answer
        time.sleep(pause)
    raise AssertionError(f"{condition} did not come true in {seconds} s")


def is_gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@contextlib.contextmanager
def serve(database, tmp_path, *arguments):
    log = tmp_path / "serve.log"
    plain = {"stderr": subprocess.STDOUT, "env": database.environment | {"PUBLIC_URL": "http://127.0.0.1"}}
    with log.open("w") as output, database.start("serve", *QUICK, *arguments, stdout=output, **plain) as process:
        served = Served(process, log)
        try:
            yield served
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_SECONDS)
            print(log.read_text())  # noqa: T201  - shown if the test fails


@contextlib.contextmanager
def cluster(database, tmp_path, *arguments):
    """Two workers without the web server, idle: everything that the calendar brought is done or put off."""
    with serve(database, tmp_path, "--web-workers", 0, "--name", "here", *arguments) as served:
        until(lambda: Pulse.objects.exists() and not Job.objects.ready(timezone.now()).exists())
        yield served


def ask(key="asked"):
    now = timezone.now()
    return jobs.ask(kind="tidy", key=key, due_at=now, at=now)


def is_done(job):
    return lambda: Job.objects.filter(pk=job.pk, state="done").exists()


def get(port, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


# Deaf clusters


def deafen(served):
    """Kill the idle workers of "here" until one of them had the lock of the queue in hand; gives the leader that was deaf.

    A worker that answers a canary just then holds no lock, and is only replaced: a later canary comes through, and the
    next ones are killed. After each kill a job must be done in the promised time.
    """
    first = served.child("qcluster").pid
    _, monitor, pusher = until(served.members)
    for attempt in range(10):
        for worker in until(lambda: served.workers(monitor, pusher)):
            worker.kill()
        since = timezone.now()
        until(is_done(ask(f"after kill {attempt}")), PROMISED_SECONDS)
        later = Pulse.objects.filter(worker="here", asked_at__gt=since)
        until(lambda: served.records("the cluster is deaf, and is killed") or later.exists())  # noqa: B023
        if served.records("the cluster is deaf, and is killed"):
            return first
    raise AssertionError("ten times no idle worker held the lock of the queue")


def test_idle_workers_killed_with_sigkill_in_turn_do_not_stop_the_work(fresh_database, tmp_path):
    with cluster(fresh_database, tmp_path) as served:
        first = deafen(served)
        # The new workers would have waited for the lock for ever.
        assert len(served.records("the cluster is deaf, and is killed")) == 1
        assert until(lambda: served.child("qcluster")).pid != first
        assert _group_is_gone(first)


@pytest.mark.parametrize("member", ["monitor", "pusher"])
def test_the_monitor_or_the_pusher_killed_with_sigkill_does_not_stop_the_work(fresh_database, tmp_path, member):
    with cluster(fresh_database, tmp_path) as served:
        _, monitor, pusher = served.members()
        {"monitor": monitor, "pusher": pusher}[member].kill()
        until(is_done(ask()), PROMISED_SECONDS)
        since = timezone.now()
        until(lambda: Pulse.objects.filter(worker="here", asked_at__gt=since).exists())


def test_a_deaf_cluster_is_found_beside_a_healthy_one_of_the_same_database(fresh_database, tmp_path):
    (tmp_path / "there").mkdir()
    with cluster(fresh_database, tmp_path) as here, serve(fresh_database, tmp_path / "there", *THERE) as there:
        until(lambda: Pulse.objects.filter(worker="there").exists())
        deaf, healthy = here.child("qcluster").pid, there.child("qcluster").pid
        assert deafen(here) == deaf
        until(lambda: here.child("qcluster").pid != deaf)
        since = timezone.now()
        until(lambda: Pulse.objects.filter(asked_at__gt=since).count() == 2)
        assert there.child("qcluster").pid == healthy


def test_the_leader_of_the_cluster_killed_with_sigkill_is_replaced_with_its_whole_group(fresh_database, tmp_path):
    with cluster(fresh_database, tmp_path) as served:
        first = served.child("qcluster")
        first.kill()
        until(lambda: served.child("qcluster").pid != first.pid)
        assert _group_is_gone(first.pid)
        until(is_done(ask()), PROMISED_SECONDS)


def _group_is_gone(leader):
    return serving._group(leader) == []


# Busy clusters


@contextlib.contextmanager
def a_job_under_way(database):
    """A job that hangs in the database until the block ends; gives it as it is when a worker has it."""
    with psycopg.connect(database.environment["DATABASE_URL"]) as other:
        other.execute("LOCK TABLE marketplace_metersilence IN ACCESS EXCLUSIVE MODE")
        now = timezone.now()
        job = jobs.ask(kind="silent_meters", key="hangs", due_at=now, at=now)
        until(lambda: Job.objects.filter(pk=job.pk, state="running").exists())
        job.refresh_from_db()
        yield job
        other.rollback()


def test_a_busy_worker_killed_with_sigkill_loses_its_job_to_another_at_once(fresh_database, tmp_path):
    with cluster(fresh_database, tmp_path) as served:
        with a_job_under_way(fresh_database) as job:
            assert job.locked_until - timezone.now() > timedelta(minutes=30)  # nobody waits for that
            killed = job.locked_by
            os.kill(int(killed.partition("#")[2]), signal.SIGKILL)
            until(lambda: Job.objects.filter(pk=job.pk, state="running").exclude(locked_by=killed).exists())
        until(is_done(job))
        job.refresh_from_db()
        assert job.attempts == 2
        assert served.records("the cluster is deaf, and is killed") == []


def test_a_cluster_all_of_whose_workers_are_busy_is_not_taken_for_deaf(fresh_database, tmp_path):
    with cluster(fresh_database, tmp_path, "--workers", 1) as served:
        first = served.child("qcluster").pid
        with a_job_under_way(fresh_database) as job:
            time.sleep(1 + DEAF_SECONDS + 3)
        until(is_done(job))
        since = timezone.now()
        until(lambda: Pulse.objects.filter(asked_at__gt=since).exists())
        assert served.child("qcluster").pid == first
        job.refresh_from_db()
        assert job.attempts == 1


# The end


def test_sigterm_ends_all_by_themselves_and_leaves_no_process_and_no_trace_in_the_queue(fresh_database, tmp_path):
    port = free_port()
    unkilled = ["--grace-seconds", 2 * PATIENCE_SECONDS]  # all of them end by themselves, long before that
    with serve(fresh_database, tmp_path, "--port", port, "--web-workers", 2, *unkilled) as served:
        until(lambda: get(port, "/readyz")[0] == 200)
        # Supervisor; gunicorn and 2; cluster, sentinel, 2, monitor and pusher.
        until(lambda: len(served.everybody()) == 1 + 3 + 6)
        everybody = served.everybody()
        served.process.terminate()
        assert served.process.wait(PATIENCE_SECONDS) == 0
        assert [process for process in everybody if not is_gone(process)] == []
        assert (OrmQ.objects.count(), Pulse.objects.count()) == (0, 0)


def test_sigterm_ends_a_deaf_cluster_too_and_frees_the_job_under_way(fresh_database, tmp_path):
    patient = ["--patience-seconds", 300, "--grace-seconds", 2]
    with cluster(fresh_database, tmp_path, *patient) as served, a_job_under_way(fresh_database) as job:
        workers, _, _ = served.members()
        (idle,) = [worker for worker in workers if worker.pid != int(job.locked_by.partition("#")[2])]
        idle.kill()
        everybody = served.everybody()
        served.process.terminate()
        assert served.process.wait(PATIENCE_SECONDS) == 0
        assert [process for process in everybody if not is_gone(process)] == []
        assert Job.objects.ready(timezone.now()).filter(pk=job.pk).exists()


def test_the_children_of_a_supervisor_killed_with_sigkill_end_by_themselves(fresh_database, tmp_path):
    port = free_port()
    with serve(fresh_database, tmp_path, "--port", port) as served:
        until(lambda: get(port, "/readyz")[0] == 200)
        everybody = served.everybody()
        served.process.kill()
        until(lambda: all(is_gone(process) for process in everybody))


# The web server


def test_the_web_server_answers_and_counts_and_is_replaced_when_killed_and_counts_on(fresh_database, tmp_path):
    port = free_port()
    with serve(fresh_database, tmp_path, "--port", port, "--workers", 0) as served:
        until(lambda: get(port, "/healthz")[0] == 200)
        assert served.child("qcluster") is None
        for _ in range(12):
            assert get(port, "/nowhere")[0] == 404
        counted = 'suanli_request_duration_seconds_count{method="GET",route="none",status="404"} 12.0'
        assert [counted in get(port, "/metrics")[1] for _ in range(6)] == [True] * 6
        assert get(port, "/readyz") == (
            503,
            '{"status": "not ready", "checks": {"database": "ok", "migrations": "ok", "worker": "late"}}',
        )
        first = served.child("gunicorn")
        first.kill()
        until(lambda: get(port, "/healthz")[0] == 200 and served.child("gunicorn").pid != first.pid)
        assert counted in get(port, "/metrics")[1]


def test_a_request_is_one_line_of_json_with_the_id_it_came_with_and_without_its_secrets(fresh_database, tmp_path):
    port = free_port()
    with serve(fresh_database, tmp_path, "--port", port, "--workers", 0) as served:
        until(lambda: get(port, "/healthz")[0] == 200)
        secrets = {"Authorization": "Bearer suanli_0123456789ab_hush", "Cookie": "sessionid=hush"}
        get(port, "/nowhere?token=hush", **secrets, **{"X-Request-ID": "from-the-client.1"})
        (record,) = until(lambda: served.records("request"))
        said = {name: record[name] for name in ("request_id", "method", "path", "status", "level", "logger")}
        assert said == {
            "request_id": "from-the-client.1",
            "method": "GET",
            "path": "/nowhere",
            "status": 404,
            "level": "INFO",
            "logger": "marketplace.logs",
        }
        assert "hush" not in served.log.read_text()


# Refusals


@pytest.mark.django_db
def test_a_database_that_is_not_up_to_date_is_not_served():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'marketplace' AND name >= '0003'")
    with pytest.raises(CommandError, match=r"^The database is not up to date: run `manage.py migrate`"):
        call_command("serve")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--web-workers", "0", "--workers", "0"], "leaves nothing to run"),
        (["--port", "0"], "'0' is not a whole number of at least 1"),
        (["--workers", "-1"], "'-1' is not a whole number of at least 0"),
        (["--canary-seconds", "nan"], "'nan' is not a number of seconds above 0"),
        (["--grace-seconds", "0"], "'0' is not a number of seconds above 0"),
        (["--name", "a b"], "--name 'a b' is not 1 to 80"),
    ],
)
def test_arguments_that_can_not_be_meant_are_refused(arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command("serve", *arguments)


# Signs of life


@pytest.mark.django_db
def test_a_sign_of_life_is_noted_and_an_older_one_that_comes_later_changes_nothing():
    def at(seconds):
        return T0 + timedelta(seconds=seconds)

    noted = []
    for asked, answered in ((10, 11), (0, 12), (10, 13), (20, 21)):
        serving.answer(worker="here", asked_at=at(asked), at=at(answered))
        noted.append(Pulse.objects.values_list("asked_at", "answered_at").get())
    assert noted == [(at(10), at(11))] * 3 + [(at(20), at(21))]
