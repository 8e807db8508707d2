"""What a backend is: it makes the GPUs of a reservation reachable and unreachable, and says which they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from marketplace.models import Provision, Reservation


class BackendError(Exception):
    """The backend could not do or tell what it was asked; the controller asks again."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a backend sees of a reservation, and since when it is so; None if it can't tell."""

    seen: Provision.Seen
    since_at: datetime | None = None


class Backend(Protocol):
    """Every verb may be called again, beside itself, and too late: asked for what is so, it changes nothing. None waits
    until it is so; `observe` tells. They are called outside of transactions and raise BackendError.
    """

    asks_ahead: bool
    """Is it to be asked as soon as the reservation is confirmed, or when its start has come?"""

    def start(self, *, reservation: Reservation, due_at: datetime, at: datetime) -> None:
        """Let it run from due_at on."""

    def stop(self, *, reservation: Reservation, at: datetime) -> None:
        """Take it away for good, and whatever was asked for before."""

    def suspend(self, *, reservation: Reservation, at: datetime) -> None:
        """Let the buyer do nothing more, and keep what is theirs."""

    def resume(self, *, reservation: Reservation, at: datetime) -> None:
        """End what `suspend` did or is about to do."""

    def observe(self, *, reservation: Reservation) -> Observed:
        """What is so now."""
