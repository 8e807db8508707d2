"""Whether a firm may have a programme: a pure function of the programme's rules and the firm's dated facts.

Rules: {"size_class": ["micro", …], "sector": […], "zone": […], "most_years": 8}; a rule that is absent asks for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

ONE_OF = ("size_class", "sector", "zone")
RULES = (*ONE_OF, "most_years")
_FOUNDED = "founded_date"


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact of a firm that holds from a day on, until the day before `until_date`; and whether staff saw evidence of it."""

    kind: str
    value: str
    from_date: date
    until_date: date | None
    is_verified: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one rule: is_met is None where the fact that it asks for is not known, or not verified."""

    rule: str
    expected: str
    found: str | None
    is_met: bool | None


def check(rules: Mapping[str, Any], facts: Sequence[Fact], on_date: date) -> tuple[Finding, ...]:
    """A finding for each rule, in the order of RULES. Raises ValueError for a rule that is not one of them."""
    unknown = sorted(set(rules) - set(RULES))
    if unknown:
        raise ValueError(f"eligibility has {unknown[0]!r}: expected some of {', '.join(RULES)}")
    found = []
    for rule in RULES:
        if rule not in rules:
            continue
        fact = latest(facts, _FOUNDED if rule == "most_years" else rule, on_date)
        if rule == "most_years":
            is_met = None if fact is None else _years(date.fromisoformat(fact.value), on_date) < rules[rule]
            expected = f"founded less than {rules[rule]} years before {on_date}"
        else:
            is_met = None if fact is None else fact.value in rules[rule]
            expected = " or ".join(rules[rule])
        if fact is not None and not fact.is_verified:
            is_met = None
        found.append(Finding(rule, expected, None if fact is None else fact.value, is_met))
    return tuple(found)


def latest(facts: Sequence[Fact], kind: str, on_date: date) -> Fact | None:
    """The fact of the kind that holds on that day: the latest begun, unless it has ended. Of two that begin on one day a
    verified one holds, else the last told.
    """
    begun = [fact for fact in reversed(facts) if fact.kind == kind and fact.from_date <= on_date]
    latest = max(begun, key=lambda fact: (fact.from_date, fact.is_verified), default=None)
    return None if latest is None or (latest.until_date is not None and latest.until_date <= on_date) else latest


def _years(since: date, until: date) -> int:
    """Whole years between two days."""
    return until.year - since.year - ((until.month, until.day) < (since.month, since.day))
