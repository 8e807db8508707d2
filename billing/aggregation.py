"""What the events of a series make of an interval. Exact integers: microseconds since the epoch, billionths of a value."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from billing.events import NANO

INTERVAL = 900_000_000  # microseconds


class Sample(NamedTuple):
    """An event in force. `length` is how long it holds at most, 0 for a delta's; `text` its value for unique_count."""

    source: int
    time: int
    length: int
    value: int
    text: str | None = None


def interval_of(time: int) -> int:
    """The start of the interval that the instant lies in."""
    return time // INTERVAL * INTERVAL


def interval_up_to(time: int) -> int:
    """The start of the interval that ends at the instant or has it inside: where a counter's sample is counted."""
    return interval_of(time - 1)


def aggregate(
    aggregation: str, samples: Sequence[Sample], first: int, last: int, end: int | None = None
) -> dict[int, int]:
    """The readings of the intervals of [first, last), by their starts; none where no sample begins or holds.

    samples: by source, each source's in the order of time and value; all that can reach into [first, last), and what
    follows them there. A sample holds until its source's next, for its length at most, and not beyond `end`.
    """
    pieces: dict[int, list[tuple[Sample, int]]] = defaultdict(list)
    for sample, until in _held(samples, end):
        for start, micros in _pieces(sample.time, until, first, last):
            pieces[start].append((sample, micros))
    return {
        start: quantity for start in pieces if (quantity := _reading(aggregation, start, pieces[start])) is not None
    }


def growth(samples: Sequence[Sample], start: int) -> int:
    """What the counters grew by in the interval that begins after `start`.

    samples: those of (start, start + 15 minutes], and each source's last one before; sorted as for `aggregate`. One
    that is less than the one before began again at zero: its value is what was used since. The first of all tells
    nothing.
    """
    return sum(
        (sample.value - before.value if sample.value >= before.value else sample.value) // NANO
        for before, sample in pairwise(samples)
        if sample.source == before.source and sample.time > start
    )


def _held(samples: Sequence[Sample], end: int | None) -> Iterator[tuple[Sample, int]]:
    for n, sample in enumerate(samples):
        until = sample.time + sample.length
        if n + 1 < len(samples) and samples[n + 1].source == sample.source:
            until = min(until, samples[n + 1].time)
        yield sample, until if end is None else min(until, end)


def _pieces(time: int, until: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The intervals that a sample begins or holds in, and how long it holds in each."""
    begins = interval_of(time)
    start = max(begins, first)
    while start < last and (start < until or start == begins):
        yield start, max(0, min(until, start + INTERVAL) - max(time, start))
        start += INTERVAL


def _reading(aggregation: str, start: int, pieces: Iterable[tuple[Sample, int]]) -> int | None:
    if aggregation == "time_weighted":
        return sum(sample.value * micros for sample, micros in pieces) // (NANO * 1_000_000)
    if aggregation == "min":
        return min(sample.value for sample, _ in pieces) // NANO
    if aggregation == "latest":
        return max((sample.time, sample.value) for sample, _ in pieces)[1] // NANO
    assert aggregation == "unique_count"
    return len({sample.text for sample, _ in pieces if sample.time >= start}) or None
