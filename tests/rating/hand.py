"""Rating a few charges with little around them, for bills worked out by hand."""

from billing.rating.period import Period
from billing.rating.quantity import Profile, Unit
from billing.rating.rate import rate
from billing.rating.tariff import parse
from tests.rating.documents import DAY, document

HOUR = 3600
MAY = Period.month(2020, 5, "UTC")  # 31 days, 744 hours, 2,976 quarter hours
PEAKS = {"periods": ["peak", "valley"], "schedule": {"weekday": [DAY], "weekend": [DAY]}}


def bill(*charges, period=MAY, quantities=(), interval=900, versions=None, profiles=None, **facts):
    """Rates the charges, or versions of documents; quantities are GPU-seconds of each interval from the start."""
    doc = {"timezone": period.timezone} | facts.pop("document", {})
    versions = versions or [(period.start, document(*charges, **doc))]
    profile = Profile(period.start, interval, quantities)
    given = {"reserved": [], "calendars": {}, "units": {"gpu_hours": Unit()}} | facts
    tariffs = [(at, parse(item)) for at, item in versions]
    return rate(period=period, tariffs=tariffs, profiles=profiles or {"gpu_hours": profile}, **given)


def rows(result, *names):
    return [tuple(getattr(line, name) for name in names) for line in result.lines]


def amounts(result):
    return {(line.charge, line.tou_period, line.tier): line.amount_minor for line in result.lines}
