"""Readings and events. Their models have composite keys, which Django's admin can't register: these are pages of our own."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.db import connection
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import Http404
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing import usage
from billing.documents import figures
from billing.models import Contract, Correction, Meter, Reading, UsageEvent
from marketplace.admin.base import word
from marketplace.admin.page import Table, choice_field, date_field, link, text_field
from marketplace.admin.site import staff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest, HttpResponse

PAGE = 100
INTERVAL = timedelta(minutes=15)  # of a reading
REASONS = {
    "unknown_meter": _("no meter has this type"),
    "unknown_subject": _("the sender supplies no contract of this number"),
    "outside_contract": _("the contract did not run then"),
    "invalid_data": _("the data do not fit the meter"),
}


class UsageForm(forms.Form):
    """Contract, meter and day: what both pages are narrowed by."""

    contract = text_field(_("contract"))
    meter = choice_field(_("meter"))
    day = date_field(_("date"))

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        codes = Meter.objects.order_by("code").values_list("code", flat=True)
        self.fields["meter"].choices = [("", _("Every meter")), *((code, code) for code in codes)]  # type: ignore[attr-defined]

    def day_or_today(self) -> date:
        return (self.cleaned_data.get("day") if self.is_valid() else None) or timezone.localdate()


def instants_of(day: date) -> tuple[datetime, datetime]:
    """The day as instants [start, end) of the current time zone."""
    zone = timezone.get_current_timezone()
    return datetime.combine(day, time.min, zone), datetime.combine(day + timedelta(days=1), time.min, zone)


def newest_reading_at() -> datetime | None:
    """When the newest reading begins: one look at the end of the index for each contract and meter."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(last.start_at) FROM billing_contract contract CROSS JOIN billing_meter meter CROSS JOIN LATERAL"
            " (SELECT start_at FROM billing_reading WHERE contract_id = contract.id AND meter_id = meter.id"
            " ORDER BY start_at DESC LIMIT 1) last"
        )
        newest_at: datetime | None = cursor.fetchone()[0]
    return newest_at


# Readings


@staff.page("usage/readings/", "usage_readings")
@require_safe
def readings(request: HttpRequest) -> HttpResponse:
    """A day's readings: the sums by contract and meter, or, of one contract, each interval."""
    form = UsageForm(request.GET)
    day = form.day_or_today()
    start_at, end_at = instants_of(day)
    rows = Reading.objects.filter(
        start_at__gte=start_at, start_at__lt=end_at, contract__in=Contract.objects.values("pk")
    )
    facts = form.cleaned_data if form.is_valid() else {}
    if facts.get("contract"):
        rows = rows.filter(contract__number=facts["contract"])
    if facts.get("meter"):
        rows = rows.filter(meter__code=facts["meter"])
    table = _intervals(rows) if facts.get("contract") else _sums(rows, day)
    context = {
        "form": form,
        "intro": day.isoformat(),
        "tables": [table],
        "links": [] if table.rows else _other_days("usage_readings", request, day),
    }
    return staff.show(request, "admin/list.html", _("Readings"), context)


def _sums(rows: QuerySet[Reading], day: date) -> Table:
    place = ("contract__number", "contract__account__code", "meter__code", "meter__unit", "meter__base_per_unit")
    found = rows.values_list(*place).annotate(Sum("quantity"), Count("start_at")).order_by(*place)
    cells = [
        [
            link(staff.address("usage_readings", contract=contract, meter=meter, day=day.isoformat()), contract),
            account,
            meter,
            f"{figures.number(_units(quantity, base_per_unit))} {word('unit', unit)}",
            intervals,
        ]
        for contract, account, meter, unit, base_per_unit, quantity, intervals in found
    ]
    headers = [_("contract"), _("account"), _("meter"), _("quantity"), _("intervals")]
    return Table("", headers, cells, numbers=(3, 4))


def _intervals(rows: QuerySet[Reading]) -> Table:
    cells = [
        [
            f"{timezone.localtime(row.start_at):%H:%M}",
            row.meter.code,
            f"{figures.number(_units(row.quantity, row.meter.base_per_unit))} {word('unit', row.meter.unit)}",
            f"{figures.number(row.quantity)} {word('unit', row.meter.base_unit)}",
            link(
                staff.address(
                    "usage_events",
                    contract=row.contract.number,
                    meter=row.meter.code,
                    interval=row.start_at.isoformat(),
                ),
                _("Events"),
            ),
        ]
        for row in rows.select_related("contract", "meter").order_by("meter__code", "start_at")
    ]
    headers = [_("interval from"), _("meter"), _("quantity"), _("exactly"), _("events")]
    return Table("", headers, cells, numbers=(2, 3))


def _units(quantity: int, base_per_unit: int) -> Any:
    """Priced units with three decimals, rounded half up, for people."""
    thousandths = (2000 * quantity + base_per_unit) // (2 * base_per_unit)
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def _other_days(page: str, request: HttpRequest, day: date) -> list[dict[str, Any]]:
    """Where there is something to see, if not on this day."""
    newest_at = newest_reading_at()
    if newest_at is None or timezone.localdate(newest_at) == day:
        return []
    newest = timezone.localdate(newest_at).isoformat()
    query = request.GET.copy()
    query["day"] = newest
    title = gettext("The newest usage is of %(day)s") % {"day": newest}
    return [{"address": f"{staff.address(page)}?{query.urlencode()}", "title": title}]


# Events


class EventForm(UsageForm):
    event_id = text_field(_("event id"))
    interval = forms.CharField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(required=False, widget=forms.HiddenInput)
    type = forms.CharField(required=False, widget=forms.HiddenInput)
    subject = forms.CharField(required=False, widget=forms.HiddenInput)
    owner = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)


@staff.page("usage/events/", "usage_events")
@require_safe
def events(request: HttpRequest) -> HttpResponse:
    """Events, the newest first: of a day, of one reading, or those unmatched for one reason."""
    form = EventForm(request.GET)
    facts = form.cleaned_data if form.is_valid() else {}
    rows, intro = _narrowed(form, facts)
    correction = Correction.objects.filter(source=OuterRef("source"), event_id=OuterRef("event_id"))
    rows = rows.annotate(corrected_by=Subquery(correction.values("by_event_id")))
    rows = rows.select_related("source__owner", "contract", "meter").order_by("-time", "-source_id", "-event_id")
    if cursor := request.GET.get("after"):
        rows = rows.filter(_after(cursor))
    found = list(rows[: PAGE + 1])
    older = ""
    if len(found) > PAGE:
        query = request.GET.copy()
        query["after"] = _cursor(found[PAGE - 1])
        older = f"{request.path}?{query.urlencode()}"
    context = {
        "form": form,
        "intro": intro,
        "tables": [_event_table(found[:PAGE])],
        "older": older,
        "newest": request.path + _without(request, "after") if cursor else "",
        "links": []
        if found or cursor or facts.get("reason")
        else _other_days("usage_events", request, form.day_or_today()),
    }
    return staff.show(request, "admin/list.html", _("Events"), context)


def _narrowed(form: EventForm, facts: dict[str, Any]) -> tuple[QuerySet[UsageEvent], str]:
    """The events asked for, and in words what they are."""
    if facts.get("interval"):
        return _of_reading(facts)
    rows = UsageEvent.objects.all()
    if facts.get("event_id"):
        rows = rows.filter(event_id=facts["event_id"])
        if facts.get("owner") is not None:  # found by their keys, whatever their day
            return rows.filter(source__owner=facts["owner"]), facts["event_id"]
    if facts.get("reason"):
        rows = rows.filter(unmatched_reason=facts["reason"])
        for name, field in (("type", "type"), ("subject", "subject"), ("owner", "source__owner")):
            if facts.get(name) not in (None, ""):
                rows = rows.filter(**{field: facts[name]})
        return rows, " · ".join(
            str(each)
            for each in (REASONS.get(facts["reason"], facts["reason"]), facts["type"], facts["subject"])
            if each
        )
    if facts.get("contract"):
        rows = rows.filter(contract__in=Contract.objects.filter(number=facts["contract"]))
    if facts.get("meter"):
        rows = rows.filter(meter__in=Meter.objects.filter(code=facts["meter"]))
    day = form.day_or_today()
    start_at, end_at = instants_of(day)
    return rows.filter(time__gte=start_at, time__lt=end_at), day.isoformat()


def _of_reading(facts: dict[str, Any]) -> tuple[QuerySet[UsageEvent], str]:
    start_at = _instant(facts["interval"])
    contract = Contract.objects.filter(number=facts["contract"]).first()
    meter = Meter.objects.filter(code=facts["meter"]).first()
    if start_at is None or contract is None or meter is None:
        raise Http404
    rows = usage.events_of(contract=contract, meter=meter, start_at=start_at)
    local = timezone.localtime(start_at)
    return rows, f"{contract.number} · {meter.code} · {local:%Y-%m-%d %H:%M} – {local + INTERVAL:%H:%M}"


def _instant(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None else found


def _outcome(row: Any) -> Any:
    if row.corrected_by:
        return gettext("corrected by %(id)s") % {"id": row.corrected_by}
    return REASONS.get(row.unmatched_reason or "", _("counted"))


def _event_table(found: Sequence[UsageEvent]) -> Table:
    cells = [
        [
            f"{timezone.localtime(row.time):%Y-%m-%d %H:%M:%S}",
            row.contract.number if row.contract is not None else row.subject,
            row.meter.code if row.meter is not None else row.type,
            "–" if row.value is None else figures.number(row.value),
            row.duration_seconds,
            "–"
            if row.quantity is None or row.meter is None
            else f"{figures.number(row.quantity)} {word('unit', row.meter.base_unit)}",
            row.event_id,
            f"{row.source.owner.legal_name}, {row.source.name}",
            _outcome(row),
        ]
        for row in found
    ]
    headers = [
        *(_("time"), _("contract"), _("meter"), _("value"), _("seconds"), _("counts for"), _("event id"), _("sender")),
        _("outcome"),
    ]
    return Table("", headers, cells, numbers=(3, 4, 5), moments=(0,))


def _cursor(row: UsageEvent) -> str:
    place = json.dumps([row.time.isoformat(), row.source_id, row.event_id])
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _after(cursor: str) -> Q:
    """Rows after the one of this cursor; 404 for a cursor that no page has given."""
    try:
        moment, source_id, event_id = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None or not isinstance(source_id, int) or not 0 <= source_id < 2**63:
            raise Http404
        event_id = str(event_id)
        if "\0" in event_id:
            raise Http404
    except (ValueError, TypeError, NotBase64, RecursionError) as error:
        raise Http404 from error
    same = Q(time=at) & (Q(source__lt=source_id) | Q(source=source_id, event_id__lt=event_id))
    return Q(time__lte=at) & (Q(time__lt=at) | same)


def _without(request: HttpRequest, name: str) -> str:
    query = request.GET.copy()
    query.pop(name, None)
    return f"?{query.urlencode()}"
