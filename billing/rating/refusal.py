"""What rating refuses to do, in one family, so that a caller can name one contract and go on with the next."""


class RatingRefused(Exception):  # noqa: N818  - a refusal is an answer, not a fault
    """Rating stopped: the message names what was given and what would be right. Nothing was guessed."""


class NotOnEdge(RatingRefused):
    """An instant that changes the price does not fall on an edge of the metering interval."""


class TimezoneDiffers(RatingRefused):
    """The tariff's time zone is not the billing period's."""


class CurrencyDiffers(RatingRefused):
    """Two tariff versions of one billing period have different currencies."""


class NoTariff(RatingRefused):
    """No tariff version, or more than one, applies from an instant that is to be rated."""


class CalendarMissing(RatingRefused):
    """The tariff names a calendar that was not given."""


class HolidaysNotVerified(RatingRefused):
    """A day to be rated lies after the calendar's last verified day."""


class UnitMissing(RatingRefused):
    """A meter has readings but no unit, or it is not clear which unit a charge counts in."""


class HistoryMissing(RatingRefused):
    """A contract-year tier needs the contract's start or its counters before the period."""


class EdgeNotWhole(RatingRefused):
    """A tier's edge is not a whole number of the meter's base units, so no exact split there exists."""


class IntervalsDiffer(RatingRefused):
    """A demand interval is not a multiple of the meter's interval."""


class MeterDiffers(RatingRefused):
    """A charge counts another meter in one tariff version than in another of the same period."""
