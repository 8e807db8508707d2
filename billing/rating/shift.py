"""Use moved to other intervals of its day, in whole base units of which none is lost. What a day is, the caller says."""

from collections.abc import Sequence


def later(quantities: Sequence[int], places: int) -> list[int]:
    """All of it so many intervals later, or earlier if places is negative. What leaves the day at one end comes in at the
    other: later(later(day, n), -n) is the day.
    """
    first = -places % len(quantities) if quantities else 0
    return [*quantities[first:], *quantities[:first]]


def moved(quantities: Sequence[int], names: Sequence[str], *, percent: int, source: str, target: str) -> list[int]:
    """`percent` of what was used in the intervals named `source`, spread evenly over those named `target`.

    What is taken up to each interval of the source is that part of what was used up to it, rounded down: of each interval
    the same part, to a base unit. A day that has not both is left as it was.
    """
    found = list(quantities)
    targets = [place for place, name in enumerate(names) if name == target]
    if not targets or source == target:
        return found
    seen = taken = 0
    for place, name in enumerate(names):
        if name == source:
            seen += quantities[place]
            part = seen * percent // 100 - taken
            found[place] -= part
            taken += part
    for number, place in enumerate(targets):
        found[place] += (number + 1) * taken // len(targets) - number * taken // len(targets)
    return found
