"""The market: what is on sale, narrowed by facets; when it is free and what the whole of it costs then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import Http404
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing import promises
from billing.documents import figures
from marketplace import capacity, search
from marketplace.hours import Window
from marketplace.models import Organization, Zone
from marketplace.permissions import Permission
from marketplace.subsidies import Subsidies
from marketplace.terms import InvalidFactError
from marketplace.web import cards, page, prices, times, wishes
from marketplace.web.looking import FACETS, Browse, FindTime
from marketplace.web.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from django.http import HttpRequest, HttpResponse, QueryDict

    from marketplace.search import Listed, Match, Wanted
    from marketplace.subsidies import After

SHOWN = 12
WEEK_HOURS = 7 * 24
_KEPT = ("mode", "quantity", "start_date", "start_hour", "hours", "max_price", "order", "pflops", "precision")
_KEPT_OF_TIME = ("least_hours", "most_hours", "earliest_date", "earliest_hour", "latest_date", "latest_hour")


@never_cache
@require_safe
def market(request: HttpRequest) -> HttpResponse:
    """Offerings, or with mode=time windows of them."""
    here = page.of(request)
    if Permission.SEE_ORGANIZATION not in here.permissions:
        raise Http404
    zone, is_granted = _zone(here.organization)
    by_time = request.GET.get("mode") == "time"
    context: dict[str, Any] = {
        "by_time": by_time,
        "has_zone": zone is not None,
        "timezone": zone.issuer.timezone if zone else "",
        "currency": zone.issuer.currency if zone else "",
        "stands": standing(request),
        "may_reserve": may_reserve(request),
        "modes": _modes(request.GET),
    }
    if zone is not None:
        context |= _found(request.GET, zone, here.organization if is_granted else None, by_time=by_time)
    return render(request, "marketplace/market.html", context)


def _zone(organization: Organization | None) -> tuple[Zone | None, bool]:
    """The organization's, and whether it has a grant of a programme; for staff who look at none in particular the first."""
    rows = Zone.objects.select_related("issuer").order_by("pk")
    if organization is None:
        return rows.first(), False
    zone = rows.annotate(is_granted=promises.has_grant(organization.party_id)).get(pk=organization.zone_id)
    organization.zone = zone  # so that it is not asked for again
    return zone, zone.is_granted


def standing(request: HttpRequest) -> str:
    """Why the current organization can look, but not reserve: its state, or that it doesn't buy; empty if it can."""
    organization = page.of(request).organization
    if organization is None:
        return ""
    if organization.state != Organization.State.VERIFIED:
        return str(organization.state)
    return "" if organization.is_buyer else "no_buyer"


def may_reserve(request: HttpRequest) -> bool:
    here = page.of(request)
    return here.organization is not None and not standing(request) and Permission.RESERVE in here.permissions


def _modes(given: QueryDict) -> list[dict[str, Any]]:
    """The two ways to look, each with the facets that are chosen."""
    kept = given.copy()
    for name in (*_KEPT, *_KEPT_OF_TIME, "after"):
        kept.pop(name, None)
    if given.get("quantity"):
        kept["quantity"] = str(given["quantity"])
    timed = kept.copy()
    timed["mode"] = "time"
    by_time = given.get("mode") == "time"
    return [
        {"title": gettext("What is on sale"), "address": f"?{kept.urlencode()}", "is_here": not by_time},
        {"title": gettext("Find a time"), "address": f"?{timed.urlencode()}", "is_here": by_time},
    ]


def _found(given: QueryDict, zone: Zone, granted: Organization | None, *, by_time: bool) -> dict[str, Any]:
    """granted: the buyer, if it has a grant of a programme."""
    now, tz = timezone.now(), zone.issuer.timezone
    form = (FindTime if by_time else Browse)(given, timezone=tz)
    wanted = form.wanted(given, zone_id=zone.pk, cursor=given.get("after", ""), limit=SHOWN)
    context: dict[str, Any] = {"form": form, "kept": _kept(given), "chips": _chips(given, form, {})}
    if wanted is None:
        return context
    try:
        if by_time:
            context |= _windows(wanted, now, tz, granted)
        else:
            context |= _offerings(wanted, given, now, granted)
    except InvalidFactError as refusal:
        if refusal.field == "cursor":
            raise Http404 from refusal
        form.refuse(refusal)
        return context
    counted = search.facets(wanted=wanted, at=now)
    labels = {(name, each.value): each.label for name in FACETS for each in counted.by[FACETS[name]]}
    return context | {
        "chips": _chips(given, form, labels),
        "facets": _facets(given, counted),
        "total": counted.total,
        "range": _range(counted, zone.issuer.currency),
    }


# Offerings


def _offerings(wanted: Wanted, given: QueryDict, now: datetime, granted: Organization | None) -> dict[str, Any]:
    found = search.search(wanted=wanted, at=now)
    first = capacity.hour_of(now)
    pools = [listed.offering.pool for listed in found.rows]
    free = capacity.free_by_hour(pools=pools, start_at=first, end_at=first + WEEK_HOURS * HOUR) if pools else {}
    following = given.copy()
    following["after"] = found.next_cursor
    subsidies = subsidies_of(granted, [(now, now + HOUR)] if found.rows else [])
    return _subsidised(subsidies) | {
        "rows": [_listed(listed, free[listed.offering.pool_id], given, subsidies, now) for listed in found.rows],
        "next": f"?{following.urlencode()}" if found.next_cursor else "",
        "is_later_page": bool(given.get("after")),
    }


def subsidies_of(granted: Organization | None, periods: Sequence[tuple[datetime, datetime]]) -> Subsidies | None:
    """What its programmes would pay of prices of these spans; None for one without a grant, or without prices to show."""
    if granted is None or not periods:
        return None
    return Subsidies(organization=granted, issuer=granted.zone.issuer, periods=periods)


def _subsidised(subsidies: Subsidies | None) -> dict[str, Any]:
    return {"is_subsidised": subsidies is not None, "is_partial": subsidies is not None and subsidies.is_partial}


def after(found: After, price: Decimal, currency: str) -> dict[str, str]:
    """The price after programmes' shares; empty where they pay nothing of it."""
    if found.price == price:
        return {}
    later = prices.decimal_money(found.later, currency) if found.later else ""
    return {"after": prices.decimal_money(found.price, currency), "later": later}


def _listed(
    listed: Listed, free: Sequence[int], given: QueryDict, subsidies: Subsidies | None, now: datetime
) -> dict[str, Any]:
    row = listed.offering
    asked = {name: given[name] for name in ("quantity", "start_date", "start_hour", "hours") if given.get(name)}
    return (
        cards.card(row)
        | {
            "price": prices.decimal_money(listed.price, listed.currency),
            "quantity": listed.quantity,
            "free_now": free[0],
            "free_week": min(free),
            "gpus": row.pool.gpus,
            "share_now": free[0] * 1000 // max(1, row.pool.gpus),
            "asked": asked,
        }
        | (
            after(
                subsidies.of_hour(
                    price=listed.price,
                    currency=listed.currency,
                    provider_id=row.pool.site.provider.party_id,
                    at=now,
                ),
                listed.price,
                listed.currency,
            )
            if subsidies
            else {}
        )
    )


# Windows


def _windows(wanted: Wanted, now: datetime, tz: str, granted: Organization | None) -> dict[str, Any]:
    ranked = search.windows(wanted=wanted, at=now)
    subsidies = subsidies_of(granted, [(match.start_at, match.end_at) for match in ranked.matches])
    return _subsidised(subsidies) | {
        "windows": [_match(match, tz, place, subsidies) for place, match in enumerate(ranked.matches, 1)],
        "is_certain": ranked.certain,
        "examined": ranked.examined,
    }


def _match(match: Match, tz: str, place: int, subsidies: Subsidies | None) -> dict[str, Any]:
    start = wishes.initial(match.start_at, tz)
    hours = (match.end_at - match.start_at) // HOUR
    window = Window(match.start_at, match.end_at, match.quantity)
    return (
        cards.card(match.offering)
        | {
            "place": place,
            "quantity": match.quantity,
            "span": times.span(match.start_at, match.end_at, tz),
            "longer": (match.free_until - match.end_at) // HOUR,
            "price": figures.money(int(match.price.scaleb(-int(match.price.as_tuple().exponent))), match.currency),
            "per_hour": prices.decimal_money(match.per_hour, match.currency),
            "wish": {
                "quantity": match.quantity,
                "start_date": start.date().isoformat(),
                "start_hour": start.hour,
                "hours": hours,
            },
            "address": wishes.windows(match.offering, match.quantity, [window], tz)[0]["address"],
        }
        | (
            after(
                subsidies.of_window(
                    price=match.price,
                    currency=match.currency,
                    provider_id=match.offering.pool.site.provider.party_id,
                    start_at=match.start_at,
                    end_at=match.end_at,
                ),
                match.price,
                match.currency,
            )
            if subsidies
            else {}
        )
    )


# Facets and what is chosen


def _facets(given: QueryDict, counted: search.Facets) -> list[dict[str, Any]]:
    titles = {
        "accelerator": gettext("Accelerator"),
        "memory": gettext("Memory, at least"),
        "region": gettext("Region"),
        "provider": gettext("Provider"),
        "interconnect": gettext("Interconnect"),
    }
    found = []
    for name, title in titles.items():
        values = list(counted.by[FACETS[name]])
        if name == "memory":
            values = _at_least(values)
        if len(values) < 2 and not given.get(name):
            continue
        found.append({"title": title, "values": [_value(given, name, each) for each in values]})
    return found


def _at_least(values: Sequence[search.Facet]) -> list[search.Facet]:
    """Counts of so much memory or more: that is what choosing one narrows to."""
    ordered = sorted(values, key=lambda each: float(each.value))
    return [
        search.Facet(each.value, f"{figures.number(each.value)} GB", sum(more.count for more in ordered[place:]))
        for place, each in enumerate(ordered)
    ]


def _value(given: QueryDict, name: str, facet: search.Facet) -> dict[str, Any]:
    """A value to add to the search, or to take out of it; the page begins anew."""
    changed = given.copy()
    changed.pop("after", None)
    chosen = facet.value in given.getlist(name)
    if chosen:
        changed.setlist(name, [each for each in given.getlist(name) if each != facet.value])
    elif name == "memory":
        changed[name] = facet.value
    else:
        changed.appendlist(name, facet.value)
    return {"label": facet.label, "count": facet.count, "is_chosen": chosen, "address": f"?{changed.urlencode()}"}


def _kept(given: QueryDict) -> list[tuple[str, str]]:
    """What the form keeps beside its own fields."""
    kept = [(name, value) for name in FACETS for value in given.getlist(name)]
    return [*kept, ("mode", "time")] if given.get("mode") == "time" else kept


def _chips(given: QueryDict, form: Browse | FindTime, known: Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    """Each filter that is set, with the address without it: what to loosen where nothing fits."""
    found = []
    for name in FACETS:
        for value in given.getlist(name):
            rest = given.copy()
            rest.pop("after", None)
            rest.setlist(name, [each for each in given.getlist(name) if each != value])
            label = (
                gettext("from %(memory)s GB") % {"memory": value}
                if name == "memory"
                else known.get((name, value), value)
            )
            found.append({"label": label, "address": f"?{rest.urlencode()}"})
    labels: Mapping[str, Sequence[str]] = {
        "quantity": ("quantity",),
        "pflops": ("pflops", "precision"),
        "start": ("start_date", "start_hour", "hours"),
        "max_price": ("max_price",),
        "least_hours": ("least_hours",),
        "most_hours": ("most_hours",),
        "earliest": ("earliest_date", "earliest_hour"),
        "latest": ("latest_date", "latest_hour"),
    }
    for field, names in labels.items():
        values = [str(given[name]) for name in names if given.get(name)]
        if field not in form.fields or not given.get(names[0]):
            continue
        rest = given.copy()
        for name in (*names, "after"):
            rest.pop(name, None)
        found.append({"label": f"{form.fields[field].label}: {' '.join(values)}", "address": f"?{rest.urlencode()}"})
    return found


def _range(counted: search.Facets, currency: str) -> dict[str, str] | None:
    if counted.least is None or counted.most is None:
        return None
    return {
        "least": prices.decimal_money(counted.least, currency),
        "most": prices.decimal_money(counted.most, currency),
    }
