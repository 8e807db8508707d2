"""Prices and terms as pages say them: the parts of a quote, what cancelling costs and when, what a project may still cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext, ngettext

from billing.documents import figures, labels
from billing.documents.content import item
from marketplace import reservations
from marketplace.web import amounts, times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from marketplace.models import Project, Quote

BAR = 1000
HOUR = timedelta(hours=1)
_TONES = {
    "capacity": "capacity",
    "demand": "demand",
    "standing": "standing",
    "minimum": "standing",
    "rider": "rider",
}


@dataclass(frozen=True)
class Piece:
    """A stretch of a stacked bar."""

    tone: str
    name: str
    amount: str
    share: str
    x: int
    width: int


# The parts of a price


def bar(parts: Sequence[Mapping[str, Any]], currency: str) -> list[Piece]:
    """The parts as one bar of BAR units, the months together; what lowers the price is not in it."""
    sums: dict[tuple[str, str], int] = {}
    codes = {part["tou_period"] or "" for part in parts}
    tones = amounts.tones(codes)
    for part in parts:
        name = item({**part, "tier": None}, amounts.language())
        tone = tones[part["tou_period"] or ""] if part["kind"] == "energy" else _TONES.get(part["kind"], "other")
        sums[tone, name] = sums.get((tone, name), 0) + part["amount_minor"]
    whole = sum(amount for amount in sums.values() if amount > 0)
    pieces, done = [], 0
    for (tone, name), amount_minor in sums.items():
        if amount_minor <= 0:
            continue
        before, done = done, done + amount_minor
        x = before * BAR // whole
        share = amounts.percent(amount_minor, whole) or ""
        width = done * BAR // whole - x
        pieces.append(Piece(tone, name, figures.money(amount_minor, currency), share, x, width))
    return pieces


def by_month(parts: Sequence[Mapping[str, Any]], currency: str) -> list[dict[str, Any]]:
    """The parts as rows under their month, each with its sum."""
    language = amounts.language()
    months: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        months.setdefault(part["month"], []).append(part)
    return [
        {
            "month": month,
            "sum": figures.money(sum(part["amount_minor"] for part in group), currency),
            "rows": [_row(part, currency, language) for part in group],
        }
        for month, group in sorted(months.items())
    ]


def _row(part: Mapping[str, Any], currency: str, language: labels.Language) -> dict[str, Any]:
    price = part["unit_price"]
    unit = labels.name("unit", part["unit"].lower().replace("-", "_"), language)
    return {
        "title": item(part, language),
        "code": part["charge"],
        "quantity": f"{figures.number(part['quantity'])} {unit}",
        "price": "" if price is None else f"{figures.number(price, 2)} {currency}",
        "why": part["why"].get(language, ""),
        "amount": figures.money(part["amount_minor"], currency),
    }


def money(row: Any) -> dict[str, str]:
    """The net, the tax and the gross of a quote or a reservation; what programmes promise of it, empty where that is
    nothing; what is to be paid, with tax.
    """
    promised = {"subsidy": row.subsidy_minor, "reimbursed": row.reimbursed_minor}
    untaxed_minor = sum(share["share_minor"] for share in getattr(row, "shares", ()) if share["reduces_tax"])
    return {
        "net": figures.money(row.net_minor, row.currency),
        "tax": figures.money(row.tax_minor, row.currency),
        "gross": figures.money(row.gross_minor, row.currency),
        "rate": amounts.percent(row.tax_minor, row.net_minor - untaxed_minor) or "",
        "payable": figures.money(row.payable_minor, row.currency),
        **{name: figures.money(minor, row.currency) if minor else "" for name, minor in promised.items()},
    }


def promises(quote: Quote) -> list[dict[str, Any]]:
    """What each programme promises of each month of a quote, those that promise nothing too, with why it is no more."""
    language = amounts.language()
    return [
        {
            "name": share["name"] if language == "zh-hans" else share["name_en"] or share["name"],
            "month": share["month"],
            "share": figures.money(share["share_minor"], quote.currency),
            "why": labels.name("limit", share["limited_by"], language) if share["limited_by"] else "",
            "lost": figures.money(-share["lost_minor"], quote.currency) if share.get("lost_minor") else "",
            "is_later": share["mode"] == "reimbursement",
        }
        for share in quote.shares
    ]


def per_gpu_hour(quote: Quote) -> str:
    """The mean net price of a GPU-hour, such as "¥10.00"."""
    gpu_hours = quote.quantity * ((quote.end_at - quote.start_at) // HOUR)
    return decimal_money(Decimal(figures.major(quote.net_minor, quote.currency)) / gpu_hours, quote.currency)


def decimal_money(price: Decimal, currency: str, places: int = 2) -> str:
    """A price with the currency's sign and so many places, half up: Decimal("5.4") CNY is ¥5.40."""
    rounded = amounts.decimal(Fraction(price), places)
    sign = figures.money(0, currency).rstrip("0.")
    return f"-{sign}{rounded[1:]}" if rounded.startswith("-") else f"{sign}{rounded}"


# Terms


def steps(
    terms: Mapping[str, Any], *, start_at: datetime | None = None, timezone: str = "", at: datetime | None = None
) -> list[dict[str, Any]]:
    """What cancelling costs, by nearness to the start, the earliest first; with a start, until which time.

    Each: {"when", "cost", "is_over"}: the last is whether it is over `at` that time.
    """
    listed = terms.get("cancellation_terms", [])
    found = []
    for step in listed:
        if start_at is not None:
            when = gettext("until %(at)s") % {"at": times.moment(start_at - step["hours"] * HOUR, timezone)}
        elif step["hours"]:
            when = ngettext(
                "at least %(count)s hour before the start", "at least %(count)s hours before the start", step["hours"]
            ) % {"count": step["hours"]}
        else:
            when = gettext("up to the start")
        is_over = at is not None and start_at is not None and at > start_at - step["hours"] * HOUR
        found.append({"when": when, "cost": _percent(step["percent"]), "is_over": is_over})
    if not listed:
        found.append({"when": gettext("at any time"), "cost": _percent("100")})
    elif listed[-1]["hours"]:
        found.append({"when": gettext("later"), "cost": _percent("100")})
    return found


def _percent(percent: str) -> str:
    if Decimal(percent) == 0:
        return gettext("free of charge")
    return gettext("%(percent)s%% of the price of what is cancelled") % {"percent": figures.number(percent)}


def service_level(terms: Mapping[str, Any]) -> str:
    """What is promised, and what is paid when it isn't kept; empty if nothing is."""
    level, credit = terms.get("service_level_percent"), terms.get("service_credit_percent")
    if not level:
        return ""
    shown = {"level": figures.number(level), "credit": figures.number(credit or 0)}
    if credit:
        return gettext("%(level)s%% of the time; below it, %(credit)s%% of the price come back.") % shown
    return gettext("%(level)s%% of the time.") % shown


# What a project may still cost


def budget(project: Project | None, wanted: Mapping[str, int], currency: str) -> dict[str, Any] | None:
    """The project's months with `wanted` on top: what is counted, the limit, and which thresholds it reaches; None without
    a limit. One query.
    """
    if project is None or project.monthly_limit_minor is None:
        return None
    limit = project.monthly_limit_minor
    counted = reservations.spent_by_month(project=project, months=wanted)
    months = [
        _month(project, month, counted=counted[month], more=more, limit=limit, currency=currency)
        for month, more in sorted(wanted.items())
    ]
    return {
        "project": project,
        "limit": figures.money(limit, currency),
        "is_hard": project.is_hard,
        "months": months,
        "is_over": any(each["is_over"] for each in months),
    }


def _month(project: Project, month: str, *, counted: int, more: int, limit: int, currency: str) -> dict[str, Any]:
    after = counted + more
    reached = [percent for percent in sorted(project.warn_percents) if after * 100 >= limit * percent]
    scale = max(limit, after, 1)
    return {
        "month": month,
        "counted": figures.money(counted, currency),
        "after": figures.money(after, currency),
        "share": amounts.percent(after, limit),
        "left": figures.money(max(0, limit - after), currency),
        "over": figures.money(max(0, after - limit), currency),
        "is_over": after > limit,
        "warned": reached[-1] if reached else None,
        "counted_width": max(0, counted) * BAR // scale,
        "more_width": max(0, more) * BAR // scale,
        "limit_x": limit * BAR // scale,
    }
