"""The life of a reservation: which state may follow which, and the one way in which it moves.

held → confirmed → active → completed; side exits expired, cancelled, released, failed. Every verb locks the reservation's
row first, looks at it as it is now, and moves it by compare-and-swap; then come slots, then what billing keeps. In that
order in all verbs, so that two that meet wait for each other and seldom lock each other out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from billing.integrity import require_aware
from marketplace.models import Reservation, ReservationChange
from marketplace.reservations import rows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    Facts = Mapping[str, Any]

State, Kind = Reservation.State, ReservationChange.Kind

ARCS: Mapping[str, frozenset[str]] = {
    State.HELD: frozenset({State.CONFIRMED, State.EXPIRED, State.CANCELLED}),
    State.CONFIRMED: frozenset({State.ACTIVE, State.CANCELLED, State.RELEASED, State.FAILED}),
    State.ACTIVE: frozenset({State.COMPLETED, State.CANCELLED, State.RELEASED, State.FAILED}),
    State.COMPLETED: frozenset(),
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
    State.RELEASED: frozenset(),
    State.FAILED: frozenset(),
}
"""Each state's next ones. `released`: given back, by the buyer before it began, or by a provider's notice that is over."""

HOUR = timedelta(hours=1)


class WrongStateError(Exception):
    """The reservation is in a state from which the verb does not lead; somebody may just have moved it."""

    def __init__(self, reservation: Reservation, wanted: Collection[str]) -> None:
        self.reservation, self.state, self.wanted = reservation, reservation.state, tuple(wanted)
        super().__init__(
            f"reservation {reservation}: state is {reservation.state}: expected {' or '.join(self.wanted)}"
        )


class NotDueError(Exception):
    """The reservation is not to be started, or completed, at this time."""


def require(row: Reservation, *wanted: str) -> None:
    """Raise WrongStateError unless the reservation is in one of these states."""
    if row.state not in wanted:
        raise WrongStateError(row, wanted)


def move(
    row: Reservation,
    to: str,
    kind: str,
    *,
    at: datetime,
    actor: str,
    facts: Facts,
    months: rows.Months | None = None,
    **fields: Any,
) -> Reservation:
    """Bring the locked reservation from the state it is in to another, with these fields, and note it. Raises WrongStateError."""
    if to not in ARCS[row.state]:
        raise WrongStateError(row, [state for state, following in ARCS.items() if to in following])
    return change(row, kind, at=at, actor=actor, facts=facts, months=months, state=str(to), **fields)


def change(
    row: Reservation,
    kind: str,
    *,
    at: datetime,
    actor: str,
    facts: Facts,
    months: rows.Months | None = None,
    **fields: Any,
) -> Reservation:
    """Change fields of the locked reservation, if it still is in the state and ends when `row` says, and what its months
    come to, and note it.
    """

    def lost() -> WrongStateError:
        return WrongStateError(row, [row.state])

    return rows.change(row, str(kind), at=at, actor=actor, facts=facts, months=months, lost=lost, **fields)


def source(row: Reservation) -> str:
    """What billing knows the reservation by."""
    return f"reservation:{row.pk}"


def hour_from(at: datetime) -> datetime:
    """The first whole UTC hour that does not begin before `at`."""
    require_aware("at", at)
    whole = at.replace(minute=0, second=0, microsecond=0)
    return whole if whole == at else whole + HOUR


def quarter_before(at: datetime) -> datetime:
    """The last quarter of an hour that begins by `at`: billing's edges."""
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
