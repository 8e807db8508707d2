"""A made-up month of GPU usage with a working week's shape: the same for the same seed on every machine.

Integers only, and only those parts of `random` whose results Python keeps between versions.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.rating.calendar import DayKind, HolidayCalendar, day_kind

SAMPLE_SECONDS = 300

# Percent of the reserved GPUs that interactive work wants, by local hour, on a working day.
_HOURS: dict[str, tuple[int, ...]] = {
    "office": (4, 2, 2, 2, 2, 2, 4, 8, 25, 60, 70, 60, 35, 45, 70, 75, 70, 60, 40, 30, 30, 25, 15, 8),
    "evening": (40, 25, 12, 8, 6, 6, 8, 14, 20, 25, 28, 32, 40, 35, 32, 34, 40, 50, 65, 80, 90, 90, 75, 55),
    "steady": (45, 42, 40, 40, 42, 45, 50, 58, 65, 70, 72, 72, 70, 72, 74, 74, 72, 70, 66, 62, 58, 55, 50, 48),
    "night": (85, 85, 85, 80, 75, 65, 50, 35, 20, 15, 15, 15, 15, 15, 15, 15, 18, 22, 30, 45, 60, 75, 80, 85),
}
# The same in percent of a working day, on the other kinds of day.
_DAYS: dict[str, dict[DayKind, int]] = {
    "office": {"weekday": 100, "weekend": 25, "holiday": 5},
    "evening": {"weekday": 100, "weekend": 110, "holiday": 60},
    "steady": {"weekday": 100, "weekend": 85, "holiday": 70},
    "night": {"weekday": 100, "weekend": 60, "holiday": 15},
}
_STEPS_PER_DAY = 24 * 3600 // SAMPLE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How one buyer works: `reserved` GPUs, the shape of its day, and the training runs it starts.

    `runs_per_week` runs are started in office hours of working days, each holding an eighth to a half of the reserved
    GPUs for 6 hours to 5 days; together they hold no more than `run_percent` of them.
    """

    reserved: int
    shape: str
    runs_per_week: int
    run_percent: int


def samples(
    *,
    code: str,
    workload: Workload,
    seed: int,
    start: datetime,
    end: datetime,
    calendar: HolidayCalendar,
) -> Iterator[tuple[datetime, int]]:
    """Yield (start of the sample, GPUs held) for every SAMPLE_SECONDS of [start, end), never above what is reserved.

    `start` carries the local zone; hours and days are counted in it.
    """
    source = random.Random(f"{seed}/{code}")  # noqa: S311  - a made-up month, not a secret
    reserved = workload.reserved
    step = timedelta(seconds=SAMPLE_SECONDS)
    runs: list[tuple[datetime, int]] = []
    level, swing = 0, 100
    at = start
    while at < end:
        day = day_kind(at.date(), calendar)
        if at.hour == at.minute == 0:
            swing = 80 + source.randrange(41)
        runs = [(until, gpus) for until, gpus in runs if until > at]
        if day == "weekday" and 9 <= at.hour < 19:
            runs += _started(source, workload, at, held=sum(gpus for _, gpus in runs))
        wanted = reserved * _HOURS[workload.shape][at.hour] * _DAYS[workload.shape][day] * swing // 1_000_000
        level = _moved(source, level, wanted, reserved)
        yield at, min(reserved, level + sum(gpus for _, gpus in runs))
        at += step


def _started(source: random.Random, workload: Workload, at: datetime, *, held: int) -> list[tuple[datetime, int]]:
    """The training run that starts now, if one does: five working days of ten hours share the week's runs."""
    chances = 5 * 10 * 3600 // SAMPLE_SECONDS
    if source.randrange(chances) >= workload.runs_per_week:
        return []
    gpus = max(1, workload.reserved // (2, 4, 4, 8)[source.randrange(4)])
    steps = _STEPS_PER_DAY // 4 + source.randrange(5 * _STEPS_PER_DAY - _STEPS_PER_DAY // 4)
    if held + gpus > workload.reserved * workload.run_percent // 100:
        return []
    return [(at + timedelta(seconds=SAMPLE_SECONDS) * steps, gpus)]


def _moved(source: random.Random, level: int, wanted: int, reserved: int) -> int:
    """Interactive work drifts towards what is wanted, a little unsteadily."""
    stride = 1 + source.randrange(max(1, reserved // 12))
    if source.randrange(10) == 0:
        level += source.randrange(3) - 1
    elif level < wanted:
        level = min(wanted, level + stride)
    elif level > wanted:
        level = max(wanted, level - stride)
    return min(reserved, max(0, level))
