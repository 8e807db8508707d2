"""The backend that is people: the provider finds a task, is told by e-mail, and ticks it off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from marketplace.models import Provision, ProvisioningTask, Reservation
from marketplace.provisioning import letters
from marketplace.provisioning.backend import Observed
from marketplace.retry import retrying

if TYPE_CHECKING:
    from datetime import datetime

_VERB, _SEEN, _STATE = Provision.Verb, Provision.Seen, ProvisioningTask.State
_MADE: dict[str, Provision.Seen] = {
    _VERB.START: _SEEN.RUNNING,
    _VERB.STOP: _SEEN.ABSENT,
    _VERB.SUSPEND: _SEEN.SUSPENDED,
    _VERB.RESUME: _SEEN.RUNNING,
}
"""What is so when a task of the kind is done."""


class TaskVoidError(Exception):
    """The task is no longer needed: the reservation went another way."""


class Manual:
    """A verb opens a task in place of the open one, unless what it asks for is so, or is being done."""

    asks_ahead = True

    def start(self, *, reservation: Reservation, due_at: datetime, at: datetime) -> None:
        _want(reservation, _VERB.START, from_=(_SEEN.ABSENT,), due_at=due_at, at=at)

    def stop(self, *, reservation: Reservation, at: datetime) -> None:
        _want(reservation, _VERB.STOP, from_=(_SEEN.RUNNING, _SEEN.SUSPENDED), due_at=at, at=at)

    def suspend(self, *, reservation: Reservation, at: datetime) -> None:
        _want(reservation, _VERB.SUSPEND, from_=(_SEEN.RUNNING,), due_at=at, at=at)

    def resume(self, *, reservation: Reservation, at: datetime) -> None:
        _want(reservation, _VERB.RESUME, from_=(_SEEN.SUSPENDED,), due_at=at, at=at)

    def observe(self, *, reservation: Reservation) -> Observed:
        return _observed(reservation)


@retrying
def tick_off(*, task: ProvisioningTask, at: datetime, actor: str, note: str = "") -> ProvisioningTask:
    """It is done. Ticked off again, it stays as it was. The controller goes on from there. Raises TaskVoidError."""
    with transaction.atomic():
        row = ProvisioningTask.objects.select_for_update().get(pk=task.pk)
        if row.state == _STATE.VOID:
            raise TaskVoidError(
                f"task {row.pk} ({row}) is void since {row.ended_at}: expected one that is open; look at the reservation"
            )
        if row.state == _STATE.OPEN:
            row.state, row.ended_at, row.ended_by, row.note = _STATE.DONE, at, actor, note
            row.save(update_fields=["state", "ended_at", "ended_by", "note"])
    return row


def _observed(reservation: Reservation) -> Observed:
    """By the last task that was done."""
    done = ProvisioningTask.objects.filter(reservation=reservation, state=_STATE.DONE).order_by("-id").first()
    return Observed(_SEEN.ABSENT) if done is None else Observed(_MADE[done.kind], done.ended_at)


@retrying
def _want(
    reservation: Reservation, kind: Provision.Verb, *, from_: tuple[Provision.Seen, ...], due_at: datetime, at: datetime
) -> None:
    """Open a task of the kind if what is so is one of `from_`; an open one of another kind is void.

    The reservation is locked and looked at: a start that was asked for before it ended opens nothing.
    """
    with transaction.atomic():
        row = Reservation.objects.select_for_update(no_key=True).get(pk=reservation.pk)
        open_ = ProvisioningTask.objects.filter(reservation=row, state=_STATE.OPEN).select_for_update().first()
        if open_ is not None and open_.kind == kind:
            return
        is_over = row.state not in Reservation.LIVE
        if is_over and kind != _VERB.STOP:
            return
        if open_ is not None:
            open_.state, open_.ended_at, open_.ended_by = _STATE.VOID, at, "task:controller"
            open_.save(update_fields=["state", "ended_at", "ended_by"])
            letters.task_void(task=open_, at=at)
        if _observed(row).seen in from_:
            made = ProvisioningTask.objects.create(reservation=row, kind=kind, due_at=due_at, created_at=at)
            letters.task_opened(task=made, at=at)
