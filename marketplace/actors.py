"""Who did something, in words: a person by name, the worker by what it does, a command or a key by what it is called.

An actor is text, such as `user:3`, `key:9f2c01ab`, `task:close_period` or `command:demo`; billing knows no users. Whom the
reader may know by name is said by whoever asks: the zone's staff know everybody, a firm its own people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.utils.functional import _StrPromise

    from marketplace.models import User

FIELDS = frozenset(
    {
        *("actor", "answered_by", "closed_by", "corrections_chosen_by", "decided_by", "drain_actor", "ended_by"),
        *("handed_by", "opened_by", "retried_by", "returned_by", "revoked_by", "shown_to", "state_actor"),
        *("vat_signed_by", "verified_by"),
    }
)
"""Of models: those that hold an actor. A test finds the one that is missing here."""
USER = "user:"
IS_USER = r"^user:[0-9]{1,18}$"
"""For the database: what user_id() takes for a user."""
MOST_DIGITS = 18

TASKS: dict[str, _StrPromise] = {
    "capacity": _("worker: capacity"),
    "close_period": _("worker: closing of the month"),
    "controller": _("worker: running reservations"),
    "expire_programmes": _("worker: programmes' ends"),
    "find_corrections": _("worker: corrections"),
    "reservations": _("worker: reservations' ends"),
    "service_credit": _("worker: service credits"),
    "waitlist": _("worker: waitlist"),
}


def user_id(actor: str) -> int | None:
    """The user's id; None of whatever is no user."""
    digits = actor.removeprefix(USER)
    is_user = actor.startswith(USER) and digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS
    return int(digits) if is_user else None


def names(actors: Iterable[str], *, people: QuerySet[User]) -> dict[str, str]:
    """By actor, the names of those users that are among `people`, whom the reader may know. One query, none without users."""
    ids = {user for actor in actors if (user := user_id(actor)) is not None}
    return {f"{USER}{user.pk}": user.get_full_name() for user in people.filter(pk__in=ids)} if ids else {}


def words(actor: str) -> str:
    """What is no person whom the reader knows; a user is one of the zone's staff, then. Empty where nobody did it."""
    kind, _colon, called = actor.partition(":")
    if user_id(actor) is not None:
        return gettext("staff")
    if kind == "task" and called.split(" ")[0] in TASKS:
        return str(TASKS[called.split(" ")[0]])
    if kind == "key":
        return gettext("API key %(key)s") % {"key": called}
    if kind == "command":
        return gettext("command %(name)s") % {"name": called}
    return actor
