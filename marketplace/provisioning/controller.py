"""The controller: it compares what should run with what runs, again and again, and asks the backend for the difference.

It may be killed at any point and run beside itself. What it is about to ask is written first, by compare-and-swap; every
backend's verb may be repeated; and a reservation that has ended is looked at until nothing that was asked before can come
late (SETTLE). No transaction is open while a backend is called.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import F, Q

from marketplace import jobs, reservations
from marketplace.models import CapacityPool, Organization, Provision, Reservation
from marketplace.provisioning import credentials
from marketplace.provisioning.backend import BackendError, Observed
from marketplace.provisioning.manual import Manual
from marketplace.reservations import NotDueError, WrongStateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from marketplace.provisioning.backend import Backend

logger = logging.getLogger(__name__)

SETTLE = timedelta(minutes=40)  # longer than a job may run (Q_CLUSTER's timeout)
CREDIT_AFTER = timedelta(hours=24)  # from its end on, for readings that come late
CREDIT_JOB = "service_credit"

BACKENDS: Mapping[str, Backend] = {CapacityPool.Backend.MANUAL: Manual()}

_STATE, _SEEN, _VERB = Reservation.State, Provision.Seen, Provision.Verb


class NotReconciledError(Exception):
    """Some reservations could not be looked after; each is in the log, and looked at again with the next sweep."""


def sweep(*, at: datetime, actor: str = "task:controller") -> int:
    """Look after every reservation that something may be due for; returns how many these are.

    One that fails holds up none of the others. Raises NotReconciledError at the end if any did.
    """
    failed = []
    due = _due(at)
    for pk in due:
        try:
            _reconcile(pk, at, actor)
        except Exception as error:
            logger.exception("reservation not reconciled", extra={"reservation": str(pk)})
            failed.append(f"\n{pk}: {error}")
    if failed:
        raise NotReconciledError(f"{len(failed)} of {len(due)} reservations:{''.join(failed)}")
    return len(due)


def reconcile(*, reservation: Reservation, at: datetime, actor: str = "task:controller") -> None:
    """Bring one reservation a step nearer to what should be so. Raises BackendError."""
    _reconcile(reservation.pk, at, actor)


def _reconcile(pk: UUID, at: datetime, actor: str) -> None:
    row = _read(pk)
    backend = BACKENDS[row.pool.backend]
    provision = Provision.objects.filter(reservation=row).first()
    if provision is None:
        if row.state == _STATE.CONFIRMED and row.end_at <= at:
            _advance(row, None, at, actor)
        elif _wants_to_run(row, backend, at):
            Provision.objects.get_or_create(reservation=row, defaults={"due_at": _due_at(row), "seen_at": at})
        provision = Provision.objects.filter(reservation=row).first()
        if provision is None:
            return
    _put_off(row, provision, at)
    try:
        _note(provision, backend.observe(reservation=row), at)
        row = _advance(row, provision, at, actor)
        if _ask(row, provision, backend, at):
            _note(provision, backend.observe(reservation=row), at)
            row = _advance(row, provision, at, actor)
    except BackendError as error:
        Provision.objects.filter(pk=provision.pk).update(error=str(error)[:500], failures=F("failures") + 1)
        raise
    if provision.failures:
        Provision.objects.filter(pk=provision.pk).update(error="", failures=0)
    if row.state not in Reservation.LIVE:
        _end(row, provision, at)


def _due(at: datetime) -> list[UUID]:
    """What is confirmed and starts, or was not asked for yet; what runs; what has ended and is not over.

    Three questions in one query, each on an index: most reservations are long over.
    """
    unasked = Q(provision__taken_at__isnull=True, pool__backend__in=_asked_ahead())  # also without a provision
    found = [
        Reservation.objects.filter(Q(start_at__lte=at) | unasked, state=_STATE.CONFIRMED),
        Reservation.objects.filter(state=_STATE.ACTIVE),
        Reservation.objects.filter(provision__over_at__isnull=True, provision__due_at__isnull=False).exclude(
            state__in=Reservation.LIVE
        ),
    ]
    first, *others = (rows.order_by().values_list("start_at", "pk") for rows in found)
    return [pk for _, pk in first.union(*others).order_by("start_at", "pk")]


def _asked_ahead() -> list[str]:
    return [name for name, backend in BACKENDS.items() if backend.asks_ahead]


def _read(pk: UUID) -> Reservation:
    return Reservation.objects.select_related("pool", "organization").get(pk=pk)


def _wants_to_run(row: Reservation, backend: Backend, at: datetime) -> bool:
    """A suspended buyer starts nothing."""
    if row.state not in (_STATE.CONFIRMED, _STATE.ACTIVE) or row.organization.state == Organization.State.SUSPENDED:
        return False
    return backend.asks_ahead or row.start_at <= at


def _due_at(row: Reservation) -> datetime:
    """When it is to run: at its start, or when it was confirmed or its buyer came back later."""
    return max(row.start_at, row.confirmed_at or row.start_at, row.organization.state_at or row.start_at)


def _put_off(row: Reservation, provision: Provision, at: datetime) -> None:
    """What is not ready yet and could not start while its buyer was suspended is due from when the buyer came back."""
    due_at = _due_at(row)
    is_back = row.organization.state != Organization.State.SUSPENDED and row.state == _STATE.CONFIRMED
    if is_back and provision.running_at is None and provision.due_at < due_at <= at:
        Provision.objects.filter(pk=provision.pk).update(due_at=due_at)
        provision.due_at = due_at


def _note(provision: Provision, observed: Observed, at: datetime) -> None:
    """Keep what was seen, where it is something else than before."""
    facts: dict[str, object] = {}
    if observed.seen != provision.seen:
        facts |= {"seen": observed.seen.value, "seen_at": observed.since_at or at}
    if observed.seen == _SEEN.RUNNING and provision.running_at is None:
        facts["running_at"] = observed.since_at or at
    if facts:
        Provision.objects.filter(pk=provision.pk).update(**facts)
        for name, value in facts.items():
            setattr(provision, name, value)


def _advance(row: Reservation, provision: Provision | None, at: datetime, actor: str) -> Reservation:
    """Move the reservation to where time and what was seen have brought it; as it is then."""
    suspended = row.organization.state == Organization.State.SUSPENDED
    ready_at = provision.running_at or at if provision is not None and provision.seen == _SEEN.RUNNING else None
    # One that was ready before its end has run, also if nobody looked until then.
    ran = ready_at is not None and ready_at < row.end_at and not suspended
    try:
        if row.state == _STATE.CONFIRMED and row.end_at <= at and not ran:
            why = "the buyer was suspended" if suspended else "it was not started before its end"
            reservations.fail(reservation=row, reason=why, at=at, actor=actor)
        elif row.state == _STATE.ACTIVE and row.end_at <= at:
            reservations.complete(reservation=row, at=row.end_at, actor=actor)
        elif row.state == _STATE.CONFIRMED and row.start_at <= at and ran and ready_at is not None:
            reservations.start(reservation=row, at=max(row.start_at, min(ready_at, at)), actor=actor)
        else:
            return row
    except (WrongStateError, NotDueError) as error:
        logger.info("somebody was first", extra={"reservation": str(row.pk), "said": str(error)})
    return _read(row.pk)


def _ask(row: Reservation, provision: Provision, backend: Backend, at: datetime) -> bool:
    """Ask the backend for the difference, and say that something was asked. Written first: then it is known, whatever comes."""
    verb = _verb(row, provision, backend, at)
    if verb is None:
        return False
    if provision.asked != verb:
        as_read = Provision.objects.filter(pk=provision.pk, asked=provision.asked, asked_at=provision.asked_at)
        if not as_read.update(asked=verb, asked_at=at, taken_at=None, over_at=None):
            return False  # another controller has just asked; the next sweep sees what came of it
        provision.asked, provision.asked_at, provision.taken_at = verb.value, at, None
    match verb:
        case _VERB.START:
            backend.start(reservation=row, due_at=provision.due_at, at=at)
        case _VERB.STOP:
            backend.stop(reservation=row, at=at)
        case _VERB.SUSPEND:
            backend.suspend(reservation=row, at=at)
        case _VERB.RESUME:
            backend.resume(reservation=row, at=at)
    if provision.taken_at is None:
        Provision.objects.filter(pk=provision.pk, asked=verb, asked_at=provision.asked_at).update(taken_at=at)
    return True


def _verb(row: Reservation, provision: Provision, backend: Backend, at: datetime) -> Provision.Verb | None:
    """What brings what is seen to what should be; None if it is so, or nothing can be asked yet."""
    seen, asked = provision.seen, provision.asked
    if row.state not in Reservation.LIVE:
        return _VERB.STOP if seen != _SEEN.ABSENT or asked != _VERB.STOP else None
    if row.organization.state == Organization.State.SUSPENDED:
        pending = seen == _SEEN.SUSPENDED and asked == _VERB.RESUME
        return _VERB.SUSPEND if seen == _SEEN.RUNNING or pending else None
    if not _wants_to_run(row, backend, at):
        return None
    if seen == _SEEN.ABSENT:
        return _VERB.START
    return _VERB.RESUME if seen == _SEEN.SUSPENDED or asked == _VERB.SUSPEND else None


def _end(row: Reservation, provision: Provision, at: datetime) -> None:
    """After its end: forget access that nobody looked at, have its service level settled, and at last look away."""
    credentials.erase(reservation=row, at=at)
    if row.state == _STATE.COMPLETED:
        due_at = (row.ended_at or row.end_at) + CREDIT_AFTER
        jobs.ask(kind=CREDIT_JOB, key=str(row.pk), due_at=due_at, at=at, payload={"reservation": str(row.pk)})
    Provision.objects.filter(
        pk=provision.pk, asked=_VERB.STOP, asked_at__lte=at - SETTLE, seen=_SEEN.ABSENT, over_at__isnull=True
    ).update(over_at=at)
