"""What the worker runs. The clock is read here; each function calls one verb.

Two kinds of function: those that the queue calls by name (`sweep`, `work`, `canary`), and those that do a job of a kind
(`KINDS`). A new kind is a function here and an entry there.
"""

from __future__ import annotations

import logging
import os
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone
from django_q.exceptions import TimeoutException

from billing import adjustments, commitments, invoicing, programmes, usage
from billing.models import BillingPeriod
from marketplace import (
    capacity,
    jobs,
    limits,
    listings,
    passwords,
    provisioning,
    reservations,
    serving,
    sign_up,
    silences,
    sweeps,
)
from marketplace.api import once
from marketplace.models import Job, Reservation
from marketplace.provisioning import letters, service_level
from marketplace.reservations import alerts
from marketplace.reservations import letters as waiting_letters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from django_q.models import Task

logger = logging.getLogger(__name__)

LATE_USAGE_IS_LOOKED_FOR = timedelta(days=3)  # by when it was recorded: so long may no worker run
LEASE_MARGIN_SECONDS = 60  # a job's lease outlives the longest time that the cluster lets it run


class NotClosedError(Exception):
    """A period stays open: some of its accounts can't be charged. The others have their invoices."""


class NotComparedError(Exception):
    """Invoices whose months can't be rated now, so that nobody knows whether they differ."""


class WrongSlotsError(Exception):
    """Capacity slots say something else than what is reserved."""


def check_capacity(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    """A failed job is what staff look at."""
    wrong = capacity.mismatches(from_at=capacity.next_hour(at))
    if wrong:
        raise WrongSlotsError(f"{len(wrong)} hours are wrong: " + "; ".join(map(str, wrong[:20])))


def close_period(job: Job, at: datetime) -> None:
    period = BillingPeriod.objects.get(issuer__code=job.payload["issuer"], code=job.payload["period"])
    closed = invoicing.close_period(period=period, at=at, actor="task:close_period")
    if closed.refused:
        reasons = "".join(f"\n{refused.account}: {refused.reason}" for refused in closed.refused)
        raise NotClosedError(f"{len(closed.refused)} accounts of {job.key} can't be charged:{reasons}")


def provision(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    provisioning.sweep(at=at)


def provisioning_letter(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    letters.post(**job.payload)


def password_letter(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    passwords.send_link(**job.payload)


def rematch(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    usage.rematch(at=at)


def look_after_reservations(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    """Holds and notices that are over give capacity back first; then those who wait for it are served."""
    steps: tuple[Callable[..., object], ...] = (
        capacity.watch,
        reservations.expire,
        reservations.end_noticed,
        reservations.offer_from_waitlist,
        alerts.incidents,
    )
    sweeps.each(steps, lambda step: step(at=at), what="a step")


def service_credit(job: Job, at: datetime) -> None:
    reservation = Reservation.objects.get(pk=job.payload["reservation"])
    service_level.credit(reservation=reservation, at=at, actor="task:service_credit")


def silent_meters(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    silences.watch(at=at, silent_after=timedelta(hours=settings.METER_SILENT_AFTER_HOURS))


def refresh_listings(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    listings.refresh_due(at=at)


def buyer_letter(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    alerts.post(**job.payload)


def waitlist_letter(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    waiting_letters.post(**job.payload)


def find_corrections(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    """Propose what late or corrected usage of the last days changes on issued invoices; staff decide."""
    suspects = adjustments.suspects(since=at - LATE_USAGE_IS_LOOKED_FOR)
    looked = adjustments.find_all(invoices=suspects, at=at, actor="task:find_corrections")
    if looked.refused:
        raise NotComparedError("".join(f"\n{number}: {reason}" for number, reason in looked.refused))


def tidy(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    jobs.tidy(at=at)
    usage.forget_problems(before_at=at - timedelta(days=jobs.KEEP_DAYS))
    limits.forget_old(at=at)
    sign_up.forget_old(at=at)
    once.forget(at=at)


def expire_programmes(job: Job, at: datetime) -> None:  # noqa: ARG001  - one shape for all kinds
    """Give back what was committed and not used in time, and mark the grants whose last day is over."""
    commitments.expire(at=at, actor="task:expire_programmes")
    programmes.expire_grants(at=at, actor="task:expire_programmes")


KINDS: Mapping[str, Callable[[Job, datetime], None]] = {
    alerts.JOB: buyer_letter,
    "check_capacity": check_capacity,
    "close_period": close_period,
    "expire_programmes": expire_programmes,
    "find_corrections": find_corrections,
    "provision": provision,
    letters.JOB: provisioning_letter,
    passwords.JOB: password_letter,
    "refresh_listings": refresh_listings,
    "rematch": rematch,
    "reservations": look_after_reservations,
    "service_credit": service_credit,
    "silent_meters": silent_meters,
    "tidy": tidy,
    "waitlist_letter": waitlist_letter,
}


def sweep() -> None:
    """Every minute: ask for what the calendar brings, and wake as many workers as there is work for."""
    at = timezone.now()
    jobs.plan(at=at, auto_close_after_days=settings.AUTO_CLOSE_AFTER_DAYS)
    jobs.wake(min(Job.objects.ready(at).filter(kind__in=KINDS).count(), settings.Q_CLUSTER["workers"]))


def work() -> None:
    """Do the job that has waited longest, and wake a worker for the next; nothing if there is none."""
    job = jobs.claim(
        worker=f"{settings.WORKER_NAME or 'worker'}#{os.getpid()}",
        kinds=KINDS.keys(),
        at=timezone.now(),
        lease_seconds=settings.Q_CLUSTER["timeout"] + LEASE_MARGIN_SECONDS,
    )
    if job is None:
        return
    try:
        KINDS[job.kind](job, timezone.now())
    except TimeoutException as error:
        jobs.fail(job=job, error=str(error), at=timezone.now())
        raise  # it ends this process, as it must: the next job has its own alarm
    except Exception as error:
        logger.exception("job failed", extra={"kind": job.kind, "key": job.key, "attempt": job.attempts})
        jobs.fail(job=job, error="".join(traceback.format_exception(error)), at=timezone.now())
    else:
        mine = jobs.finish(job=job, at=timezone.now())
        told = "job done" if mine else "job done, but too late: its lease had run out"
        logger.info(told, extra={"kind": job.kind, "key": job.key})
    jobs.wake(1)


def canary(asked_at: datetime) -> datetime:
    """The supervisor's question, at the worker."""
    return asked_at


def canary_came_through(task: Task) -> None:
    """The answer, at the cluster's monitor: queue, pusher, worker, monitor and database have all done their part."""
    serving.answer(worker=settings.WORKER_NAME, asked_at=task.result, at=timezone.now())
    task.delete()
