"""What became of a reservation, step by step, in words."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext

from billing.documents import figures
from marketplace import access, actors
from marketplace.models import ReservationChange
from marketplace.web import times

if TYPE_CHECKING:
    from django.http import HttpRequest

    from marketplace.models import Reservation

Kind = ReservationChange.Kind
WHY = {
    "held": lambda: gettext("A hold costs nothing."),
    "late": lambda: gettext("The provider is late, so it costs nothing."),
    "notice": lambda: gettext("The provider has given notice, so it costs nothing."),
    "incident": lambda: gettext("There is an incident at the provider, so it costs nothing."),
}
"""Why giving hours back is free."""
_TONES = {Kind.STARTED: "good", Kind.COMPLETED: "good", Kind.FAILED: "bad", Kind.NOTICE: "warn", Kind.EXPIRED: "warn"}


def told(request: HttpRequest, row: Reservation, *, timezone: str, with_price: bool) -> list[dict[str, Any]]:
    """The changes, the latest first. Two queries. Amounts are told to those alone who see the price."""
    changes = list(row.changes.order_by("-id"))
    people = actors.names((change.actor for change in changes), people=access.users_for(request.user))
    return [
        {
            "title": change.get_kind_display(),
            "tone": _TONES.get(Kind(change.kind), ""),
            "at": times.moment(change.at, timezone),
            "who": people.get(change.actor, ""),
            "texts": [
                *_facts(change, timezone),
                *(_amounts(change, row.currency) if with_price else []),
            ],
        }
        for change in changes
    ]


def _facts(change: ReservationChange, timezone: str) -> list[str]:
    facts = change.facts
    texts = []
    if change.kind == Kind.RELEASED and "from_at" in facts:
        texts.append(_hours(gettext("Given back: %(span)s."), facts["from_at"], facts["end_at"], timezone))
    if change.kind == Kind.NOTICE and "ends_at" in facts:
        ends = times.moment(datetime.fromisoformat(facts["ends_at"]), timezone)
        texts.append(gettext("The provider takes the GPUs back at %(at)s.") % {"at": ends})
    if facts.get("reason") and facts["reason"] != "notice":
        texts.append(gettext("Reason: %(reason)s") % {"reason": facts["reason"]})
    if change.kind == Kind.FAILED and "paid_until" in facts:
        until = times.moment(datetime.fromisoformat(facts["paid_until"]), timezone)
        texts.append(gettext("Nothing is due from %(at)s on.") % {"at": until})
    return texts


def _hours(text: str, start: str, end: str, timezone: str) -> str:
    span = times.span(datetime.fromisoformat(start), datetime.fromisoformat(end), timezone)
    return text % {"span": span["text"]}


def _amounts(change: ReservationChange, currency: str) -> list[str]:
    facts = change.facts
    texts = []
    if "fee_minor" in facts:
        fee = figures.money(facts["fee_minor"], currency)
        back = figures.money(facts["cancelled_minor"] - facts["fee_minor"], currency)
        texts.append(gettext("Fee %(fee)s, no longer due %(back)s, before tax.") % {"fee": fee, "back": back})
    elif "net_minor" in facts:
        texts.append(gettext("%(net)s before tax.") % {"net": figures.money(facts["net_minor"], currency)})
    texts += [
        gettext("The project came to %(percent)s%% of its limit in %(month)s.")
        % {"percent": warned["percent"], "month": warned["month"]}
        for warned in facts.get("warnings", [])
    ]
    return texts
