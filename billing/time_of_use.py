"""Which time-of-use period each interval of a contract falls in, by the tariff version that applies at its start."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

from billing import calendars
from billing.rating.calendar import runs
from billing.rating.period import Period
from billing.rating.tariff import Demand, Energy, Schedule, Tariff

INTERVAL_SECONDS = 900
_INTERVAL = timedelta(seconds=INTERVAL_SECONDS)

Versions = Sequence[tuple[datetime, Tariff]]
"""The versions of one tariff with the instant that each applies from, the oldest first."""


def labels(*, versions: Versions, period: Period, meter: str | None = None, charge: str | None = None) -> list[str]:
    """The name of the time-of-use period of each 15-minute interval of `period`; empty before the first version.

    With `charge`, the code of an energy or demand charge: by that charge, and empty where a version has none of that
    code. Else by the first energy charge of `meter`, or by the tariff's own schedule where there is none.
    """
    found: list[str] = []
    starts = [effective_at for effective_at, _ in versions]
    changes = [at for at in starts if period.start < at < period.end]
    for start, end in zip([period.start, *changes], [*changes, period.end], strict=True):
        place = bisect_right(starts, start) - 1
        first, last = (start - period.start) // _INTERVAL, -((period.start - end) // _INTERVAL)
        if place < 0:
            found += [""] * (last - first)
            continue
        tariff = versions[place][1]
        schedule = _schedule(tariff, meter, charge)
        if schedule is None:
            found += [""] * (last - first)
            continue
        calendar = calendars.by_code().get(tariff.calendar) if tariff.calendar else None
        for a, b, name in runs(schedule, calendar, period, INTERVAL_SECONDS):
            found += [name] * (min(b, last) - max(a, first))
    return found


def _schedule(tariff: Tariff, meter: str | None, charge: str | None) -> Schedule | None:
    metered = [each for each in tariff.charges if isinstance(each, Energy | Demand)]
    if charge is not None:
        return next((each.schedule for each in metered if each.code == charge), None)
    energy = (each.schedule for each in metered if isinstance(each, Energy) and each.meter == meter)
    return next(energy, tariff.schedule)
