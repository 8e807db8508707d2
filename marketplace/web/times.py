"""Hours as people read and choose them: in the zone's local time, though capacity is sold by the whole hour of UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from marketplace.web import amounts

HOUR = timedelta(hours=1)
EARLIEST, LATEST = date(2000, 1, 1), date(2100, 12, 31)


class LocalHour(forms.MultiWidget):
    """A day and an hour beside each other, sent as NAME_date and NAME_hour."""

    use_fieldset = True

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        hours = [("", "–"), *((str(hour), f"{hour:02}:00") for hour in range(24))]
        super().__init__(
            {
                "date": forms.DateInput(attrs={"type": "date", "aria-label": _("Day")}, format="%Y-%m-%d"),
                "hour": forms.Select(attrs={"aria-label": _("Hour")}, choices=hours),
            },
            attrs,
        )

    def decompress(self, value: datetime | None) -> list[Any]:
        return [None, None] if value is None else [value.date(), value.hour]


class LocalHourField(forms.MultiValueField):
    """A whole hour as an instant in UTC. `timezone` is set by the form; initial values are local times without a zone."""

    widget = LocalHour
    timezone = "UTC"

    def __init__(self, **options: Any) -> None:
        hours = [(hour, str(hour)) for hour in range(24)]
        fields = (forms.DateField(input_formats=["%Y-%m-%d"]), forms.TypedChoiceField(coerce=int, choices=hours))
        super().__init__(fields, **options)

    def compress(self, data_list: list[Any]) -> datetime | None:
        if not data_list or data_list[0] in self.empty_values or data_list[1] in self.empty_values:
            return None
        day, hour = data_list
        if not EARLIEST <= day <= LATEST:
            raise ValidationError(_("Choose a day from 2000 to 2100."))
        local = datetime.combine(day, time(hour), tzinfo=ZoneInfo(self.timezone))
        instant = local.astimezone(UTC)
        if instant.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None) != local.replace(tzinfo=None):
            raise ValidationError(_("On this day the clock skips this hour."))
        if instant.minute or instant.second:
            instant = instant.replace(minute=0, second=0) + HOUR
        return instant


def span(start_at: datetime, end_at: datetime, timezone: str) -> dict[str, Any]:
    """[start, end) for a page: local times, hours, and one text such as "2026-05-12 08:00 – 18:00"."""
    start, end = amounts.local(start_at, timezone), amounts.local(end_at, timezone)
    if start.date() == end.date():
        until = f"{end:%H:%M}"
    elif end.time() == time(0) and end.date() - start.date() == timedelta(days=1):
        until = "24:00"
    else:
        until = f"{end:%m-%d %H:%M}" if start.year == end.year else f"{end:%Y-%m-%d %H:%M}"
    hours = (end_at - start_at) // HOUR
    return {"start": start, "end": end, "hours": hours, "text": f"{start:%Y-%m-%d %H:%M} – {until}"}


def between(first_at: datetime, last_at: datetime, timezone: str) -> str:
    """Two instants with what lies between, such as "2026-05-12 08:00 – 05-19 08:00"."""
    first, last = amounts.local(first_at, timezone), amounts.local(last_at, timezone)
    return f"{first:%Y-%m-%d %H:%M} – {f'{last:%m-%d %H:%M}' if first.year == last.year else f'{last:%Y-%m-%d %H:%M}'}"


def moment(at: datetime, timezone: str) -> str:
    return f"{amounts.local(at, timezone):%Y-%m-%d %H:%M}"


def length(time_: timedelta) -> str:
    """How long, in the two units that say most of it: "2 days 3 h", "14 min"."""
    minutes = max(0, -(-int(time_.total_seconds()) // 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        text = ngettext("%(count)s day", "%(count)s days", days) % {"count": days}
        return f"{text} {_hours(hours)}" if hours else text
    if hours:
        return f"{_hours(hours)} {_minutes(minutes)}" if minutes else _hours(hours)
    return _minutes(minutes)


def hours_text(hours: int) -> str:
    return ngettext("%(count)s hour", "%(count)s hours", hours) % {"count": f"{hours:,}"}


def _hours(hours: int) -> str:
    return gettext("%(count)s h") % {"count": hours}


def _minutes(minutes: int) -> str:
    return gettext("%(count)s min") % {"count": minutes}
