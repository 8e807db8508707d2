"""Jobs: ask for them, take them, end them. The only writer of jobs.

A job runs at least once. Its kind's function may run again after a crash, or beside itself when a worker outlives its
lease, so it calls one verb that changes nothing the second time. The queue (django-q2) is a wake-up call: a lost one
costs time until the next sweep, never a job.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django_q.models import Failure, OrmQ
from django_q.tasks import async_task

from billing import periods
from billing.models import BillingPeriod
from marketplace.models import Job, Pulse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

MAX_ATTEMPTS = 6  # with the pauses below, a job is given up half an hour after its first failure
BACKOFF_SECONDS = 60  # before the second attempt; twice as long before each further one
BACKOFF_LIMIT_SECONDS = 3600
KEEP_DAYS = 30  # of what is done; what failed is kept until someone retries it
KEEP_FAILED = 100  # of a kind that the calendar brings again anyway, for KEEP_DAYS
PERIODIC = (
    "check_capacity",
    "expire_programmes",
    "find_corrections",
    "provision",
    "rematch",
    "refresh_listings",
    "reservations",
    "silent_meters",
    "tidy",
)
"""Kinds of which the next job does what a failed one has left."""

_ERROR_LIMIT = 2000  # characters
_DEAD_QUEUE_SECONDS = 3600


class OtherJobError(ValueError):
    """There is a job of this kind and key, with another payload."""


def ask(*, kind: str, key: str, due_at: datetime, at: datetime, payload: Mapping[str, Any] | None = None) -> Job:
    """Have `kind` done at `due_at`, once for ever per `key`.

    Asked for again, it is the job as it stands, whatever became of it; `payload` is JSON and has to be the same.
    Raises OtherJobError.
    """
    payload = dict(payload or {})
    with transaction.atomic():
        job, is_new = Job.objects.get_or_create(
            kind=kind, key=key, defaults={"payload": payload, "due_at": due_at, "created_at": at}
        )
        if job.payload != payload:
            raise OtherJobError(f"{kind} {key}: payload is {payload}, and it was asked for with {job.payload}")
        if is_new and due_at <= at and settings.WORKER_NAME:
            wake(1)
    return job


def wake(times: int) -> None:
    """Tell this machine's cluster, after the transaction, that there may be work for `times` of its workers."""
    for _ in range(times):
        transaction.on_commit(functools.partial(async_task, "marketplace.tasks.work"), robust=True)


def claim(*, worker: str, kinds: Collection[str], at: datetime, lease_seconds: int) -> Job | None:
    """Take the job of `kinds` that has waited longest, for `lease_seconds`; None if there is none.

    Jobs whose lease has run out are taken again, and given up when that was their last attempt. `worker` is
    "name#process"; the job's `attempts` and `locked_by` are the proof that `finish` and `fail` ask for.
    """
    while True:
        with transaction.atomic():
            ready = Job.objects.ready(at).filter(kind__in=kinds).select_for_update(skip_locked=True)
            job = ready.first()
            if job is None:
                return None
            if job.state == Job.State.RUNNING and job.attempts >= MAX_ATTEMPTS:
                lost = f"{job.locked_by} was lost {job.attempts} times in a row, or took too long: look at its log and memory"
                _end(job, Job.State.FAILED, at, last_error=lost)
                continue
            job.state, job.locked_by, job.locked_until = (
                Job.State.RUNNING,
                worker,
                at + timedelta(seconds=lease_seconds),
            )
            job.attempts += 1
            job.save(update_fields=["state", "locked_by", "locked_until", "attempts"])
            return job


def finish(*, job: Job, at: datetime) -> bool:
    """Done. False if the lease ran out and someone else has the job now: then it is theirs to end."""
    return _end(job, Job.State.DONE, at, last_error="")


def fail(*, job: Job, error: str, at: datetime) -> bool:
    """Not done: due again after a pause that doubles, or failed for good after MAX_ATTEMPTS. False as with `finish`."""
    error = error[-_ERROR_LIMIT:].replace("\0", "")
    if job.attempts >= MAX_ATTEMPTS:
        return _end(job, Job.State.FAILED, at, last_error=error)
    pause_seconds = min(BACKOFF_SECONDS * 2 ** (job.attempts - 1), BACKOFF_LIMIT_SECONDS)
    return _put_back(job, due_at=at + timedelta(seconds=pause_seconds), last_error=error)


def retry(*, job: Job, at: datetime, actor: str) -> bool:
    """Have a failed job done after all, with all its attempts. False if it isn't failed (any more)."""
    with transaction.atomic():
        changed = Job.objects.filter(pk=job.pk, state=Job.State.FAILED).update(
            state=Job.State.DUE, due_at=at, attempts=0, finished_at=None, retried_by=actor
        )
        if changed and settings.WORKER_NAME:
            wake(1)
    return changed == 1


def abandon(*, worker: str, at: datetime, processes: Collection[int] | None = None) -> int:
    """Let go of what these dead processes of `worker` held, or all of them. Returns how many jobs that is."""
    held = Job.objects.held(worker=worker, at=at)
    if processes is not None:
        held = held.filter(locked_by__in=[f"{worker}#{process}" for process in processes])
    return held.update(locked_until=at)


def plan(*, at: datetime, auto_close_after_days: int | None) -> None:
    """Ask for what the calendar brings, each job once however often this runs; what was missed is not made up for.

    Periods, also those that nobody opened, are closed `auto_close_after_days` after their end; None leaves that to
    people. Reservations are looked after and provisioned every minute, silent meters searched for and listings
    refreshed every quarter of an hour, rematching runs, commitments expire and
    invoices are compared to late usage every hour, the check of capacity and
    tidying up every day.
    """
    hour = at.replace(minute=0, second=0, microsecond=0)
    quarter, minute = hour + timedelta(minutes=at.minute // 15 * 15), at.replace(second=0, microsecond=0)
    due = [
        Job(kind="check_capacity", key=hour.date().isoformat(), due_at=hour, created_at=at),
        Job(kind="expire_programmes", key=hour.isoformat(), due_at=hour, created_at=at),
        Job(kind="find_corrections", key=hour.isoformat(), due_at=hour, created_at=at),
        Job(kind="provision", key=minute.isoformat(), due_at=minute, created_at=at),
        Job(kind="rematch", key=hour.isoformat(), due_at=hour, created_at=at),
        Job(kind="reservations", key=minute.isoformat(), due_at=minute, created_at=at),
        Job(kind="silent_meters", key=quarter.isoformat(), due_at=quarter, created_at=at),
        Job(kind="refresh_listings", key=quarter.isoformat(), due_at=quarter, created_at=at),
        Job(kind="tidy", key=hour.date().isoformat(), due_at=hour, created_at=at),
    ]
    if auto_close_after_days is not None:
        grace = timedelta(days=auto_close_after_days)
        periods.open_over(by_at=at - grace)
        ended = BillingPeriod.objects.filter(state=BillingPeriod.State.OPEN, end_at__lte=at - grace)
        due += [
            Job(
                kind="close_period",
                key=f"{period.issuer.code} {period.code}",
                payload={"issuer": period.issuer.code, "period": period.code},
                due_at=period.end_at + grace,
                created_at=at,
            )
            for period in ended.select_related("issuer").order_by("end_at", "id")
        ]
    Job.objects.bulk_create(due, ignore_conflicts=True)


def tidy(*, at: datetime) -> None:
    """Forget what nobody will ask about: jobs done long ago, workers gone, and what the queue keeps of both."""
    long_ago = at - timedelta(days=KEEP_DAYS)
    Job.objects.filter(state=Job.State.DONE, finished_at__lt=long_ago).delete()
    for kind in PERIODIC:
        failed = Job.objects.filter(kind=kind, state=Job.State.FAILED).order_by("-finished_at", "-id")
        failed.filter(finished_at__lt=long_ago).delete()
        Job.objects.filter(pk__in=list(failed.values_list("pk", flat=True)[KEEP_FAILED:])).delete()
    Pulse.objects.filter(asked_at__lt=at - timedelta(days=1)).delete()
    Failure.objects.filter(stopped__lt=long_ago).delete()
    # A wake-up that nobody took for an hour is for a worker that is gone.
    OrmQ.objects.filter(lock__lt=at - timedelta(seconds=_DEAD_QUEUE_SECONDS)).delete()


def _end(job: Job, state: Job.State, at: datetime, *, last_error: str) -> bool:
    return _mine(job, state=state, finished_at=at, last_error=last_error)


def _put_back(job: Job, *, due_at: datetime, last_error: str) -> bool:
    return _mine(job, state=Job.State.DUE, due_at=due_at, last_error=last_error)


def _mine(job: Job, **change: Any) -> bool:
    """Change the job if it is still held as `job` says; tell whether it was."""
    held = Job.objects.filter(pk=job.pk, state=Job.State.RUNNING, locked_by=job.locked_by, attempts=job.attempts)
    return held.update(**change, locked_by=None, locked_until=None) == 1
