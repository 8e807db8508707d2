"""What programmes have left: the only writer of the counts on BudgetPeriod and FirmCap.

Every row that holds a month of use counts it: all of a programme's budgets that hold the month, and the firm's caps for
that month and that year, by its credit code. A count moves by one conditional UPDATE for each kind of row; constraints
hold the sums under the budget and the cap whoever asks. Rows are locked late and in one order: the firm's caps that are
missing are made first, then budgets are locked by id, then caps by id, and then what depends on them (commitments,
redemptions). Before all of them go the programmes and the grants (`hold`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from django.db import connection

from billing.models import BudgetPeriod, Programme


class BudgetExceededError(Exception):
    """A programme's budget has not as much left."""


class CapExceededError(Exception):
    """The programme may not pay as much more for this firm and time."""


VIOLATIONS = {
    "budget_not_exceeded": BudgetExceededError,
    "budget_counts_not_negative": BudgetExceededError,
    "firm_cap_not_exceeded": CapExceededError,
    "firm_cap_counts_not_negative": CapExceededError,
    "firm_cap_of_programme": CapExceededError,
}


@dataclass(slots=True)
class _Row:
    id: int
    programme_id: int
    first: str  # months, such as "2020-05"
    last: str
    limit_minor: int
    taken_minor: int

    def holds(self, programme_id: int, month: str) -> bool:
        return self.programme_id == programme_id and self.first <= month <= self.last


class Left(NamedTuple):
    """What may be taken in a month: of the budgets (None: no budget holds it), of the firm's caps (None: it has none)."""

    budget_minor: int | None
    firm_minor: int | None

    @property
    def least_minor(self) -> int:
        return min(self.budget_minor or 0, self.budget_minor or 0 if self.firm_minor is None else self.firm_minor)


@dataclass(slots=True)
class Counters:
    """The counts of some programmes for one firm and some months, as they were read or locked."""

    credit_code: str
    budgets: list[_Row]
    caps: list[_Row]

    def left(self, programme_id: int, month: str) -> Left:
        budgets = [row.limit_minor - row.taken_minor for row in self.budgets if row.holds(programme_id, month)]
        caps = [row.limit_minor - row.taken_minor for row in self.caps if row.holds(programme_id, month)]
        return Left(min(budgets, default=None), min(caps, default=None))

    def count(self, *, programme_id: int, month: str, amount_minor: int) -> None:
        """Take of what is left here alone, and not in the database: for what is only promised, or supposed."""
        for row in (*self.budgets, *self.caps):
            if row.holds(programme_id, month):
                row.taken_minor += amount_minor

    def move(self, *, programme_id: int, month: str, committed_minor: int, redeemed_minor: int) -> None:
        """Change both counts of every row that holds the month; the rows are locked by the caller's transaction.

        Raises BudgetExceededError, CapExceededError.
        """
        for rows, update, refusal in (
            (self.budgets, _MOVE_BUDGETS, BudgetExceededError),
            (self.caps, _MOVE_CAPS, CapExceededError),
        ):
            moved = [row for row in rows if row.holds(programme_id, month)]
            if not moved and rows is self.caps:
                continue
            change: dict[str, int | list[int]] = {
                "c": committed_minor,
                "r": redeemed_minor,
                "ids": [row.id for row in moved],
            }
            with connection.cursor() as cursor:
                cursor.execute(update, change)
                if cursor.rowcount != len(moved) or not moved:
                    raise refusal(
                        f"programme {programme_id}, {month}, firm {self.credit_code}: {committed_minor} committed and"
                        f" {redeemed_minor} redeemed more: expected at most what is left, {self.left(programme_id, month)}"
                    )
            for row in moved:
                row.taken_minor += committed_minor + redeemed_minor


_MOVE_BUDGETS = """
    UPDATE billing_budgetperiod SET committed_minor = committed_minor + %(c)s, redeemed_minor = redeemed_minor + %(r)s
    WHERE id = ANY(%(ids)s) AND committed_minor + redeemed_minor + %(c)s + %(r)s <= budget_minor
    AND committed_minor + %(c)s >= 0 AND redeemed_minor + %(r)s >= 0
"""

_MOVE_CAPS = """
    UPDATE billing_firmcap SET committed_minor = committed_minor + %(c)s, redeemed_minor = redeemed_minor + %(r)s
    WHERE id = ANY(%(ids)s) AND committed_minor + redeemed_minor + %(c)s + %(r)s <= cap_minor
    AND committed_minor + %(c)s >= 0 AND redeemed_minor + %(r)s >= 0
"""


def hold(*, programmes: Collection[int], grants: Collection[int], alone: bool = False) -> None:
    """Keep programmes and then grants as they are to the end of the caller's transaction; before lock(). `alone`: nobody else
    holds one of these grants meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM billing_programme WHERE id = ANY(%s) ORDER BY id FOR SHARE", [sorted(programmes)])
        cursor.execute(_HOLD_ALONE if alone else _HOLD, [sorted(grants)])


_HOLD = "SELECT FROM billing_grant WHERE id = ANY(%s) ORDER BY id FOR SHARE"
_HOLD_ALONE = "SELECT FROM billing_grant WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"


_BUDGETS = """
    SELECT id, programme_id, to_char(from_date, 'YYYY-MM'), to_char(until_date, 'YYYY-MM'), budget_minor,
        committed_minor + redeemed_minor
    FROM billing_budgetperiod WHERE programme_id = ANY(%s) AND from_date <= %s AND until_date >= %s ORDER BY id
"""

_CAPS = """
    SELECT id, programme_id, period, cap_minor, committed_minor + redeemed_minor
    FROM billing_firmcap WHERE programme_id = ANY(%s) AND credit_code = %s AND period = ANY(%s) ORDER BY id
"""


def read(*, programmes: Sequence[Programme], credit_code: str, months: Collection[str]) -> Counters:
    """The counts as they are now; a cap that was never touched counts as a whole. Two queries."""
    return _counters(programmes, credit_code, months, "")


def lock(*, programmes: Sequence[Programme], credit_code: str, months: Collection[str]) -> Counters:
    """The counts, locked to the end of the caller's transaction; see the order in the module's text. Three queries."""
    wanted = [
        (programme.pk, period, cap_minor)
        for programme in sorted(programmes, key=lambda each: each.pk)
        for period, cap_minor in _caps(programme, months)
    ]
    if wanted:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO billing_firmcap (programme_id, credit_code, period, cap_minor, committed_minor, redeemed_minor)"
                " SELECT programme_id, %s, period, cap_minor, 0, 0"
                " FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS wanted (programme_id, period, cap_minor)"
                " ON CONFLICT DO NOTHING",
                [credit_code, *map(list, zip(*wanted, strict=True))],
            )
    return _counters(programmes, credit_code, months, " FOR UPDATE")


def _caps(programme: Programme, months: Collection[str]) -> list[tuple[str, int]]:
    """The programme's caps for a firm by the months and years of use."""
    found = []
    if programme.cap_firm_month_minor is not None:
        found += [(month, programme.cap_firm_month_minor) for month in sorted(set(months))]
    if programme.cap_firm_year_minor is not None:
        found += [(year, programme.cap_firm_year_minor) for year in sorted({month[:4] for month in months})]
    return found


def _counters(programmes: Sequence[Programme], credit_code: str, months: Collection[str], locking: str) -> Counters:
    ids = [programme.pk for programme in programmes]
    if not ids or not months:
        return Counters(credit_code, [], [])
    days = [date(int(month[:4]), int(month[5:]), 1) for month in months]
    with connection.cursor() as cursor:
        cursor.execute(
            _BUDGETS + locking,
            [ids, max(days), min(days)],
        )
        budgets = [_Row(*row) for row in cursor.fetchall()]
        cursor.execute(
            _CAPS + locking,
            [ids, credit_code, sorted({*months, *(month[:4] for month in months)})],
        )
        caps = {(row[1], row[2]): _cap(*row) for row in cursor.fetchall()}
    for programme in programmes:
        for period, cap_minor in _caps(programme, months):
            caps.setdefault((programme.pk, period), _cap(0, programme.pk, period, cap_minor, 0))
    return Counters(credit_code, budgets, list(caps.values()))


def _cap(id_: int, programme_id: int, period: str, cap_minor: int, taken_minor: int) -> _Row:
    first, last = (f"{period}-01", f"{period}-12") if len(period) == 4 else (period, period)
    return _Row(id_, programme_id, first, last, cap_minor, taken_minor)


def widest(*, programme: Programme, month: str) -> BudgetPeriod | None:
    """The longest of the programme's budgets that hold a month; None if none does."""
    first = date(int(month[:4]), int(month[5:]), 1)
    holding = BudgetPeriod.objects.filter(programme=programme, from_date__lte=first, until_date__gte=first)
    return max(holding, key=lambda each: (each.until_date - each.from_date, -each.pk), default=None)
