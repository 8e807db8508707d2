"""Holiday calendars by code. China's comes from `chinesecalendar`: the State Council's yearly notices."""

from datetime import date
from functools import lru_cache

from chinese_calendar.constants import holidays, workdays  # type: ignore[import-untyped]

from billing.rating.calendar import HolidayCalendar


@lru_cache(maxsize=1)
def by_code() -> dict[str, HolidayCalendar]:
    """All calendars a tariff may name. `CN` is verified to the end of the last year the installed package knows."""
    last = max(holidays)
    return {
        "CN": HolidayCalendar(
            code="CN",
            holidays=frozenset(holidays),
            working_days=frozenset(workdays),
            verified_until=date(last.year, 12, 31),
        )
    }
