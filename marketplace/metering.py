"""Samples of GPUs held, from where they are measured to `billing.usage`."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.db import connection

from billing import usage
from billing.models import Meter, Party

if TYPE_CHECKING:
    from _csv import Reader

SAMPLE_SECONDS = 60
GPU_SAMPLE = "gpu.sample"
# Of 5,000 to 50,000, this stored most samples a second; the staging table of one batch fits PostgreSQL's temp_buffers.
BATCH = 10_000
WRITERS = 2
_HELIOS_ZONE = ZoneInfo("Asia/Shanghai")
_HELIOS_HEADER = ["time", "vc", "total_gpu_num", "running_gpu_num"]


class TraceError(Exception):
    """A trace that can't be read: which file, line, column and value, and what would be right."""


def gpu_meter() -> Meter:
    """The meter of GPUs held: samples of a gauge, in GPU-seconds, priced by the GPU-hour. Made when first asked for."""
    meter, _ = Meter.objects.get_or_create(
        code="gpu_hours",
        defaults={
            "name": "GPU 用量",
            "name_en": "GPU usage",
            "event_type": GPU_SAMPLE,
            "kind": Meter.Kind.GAUGE,
            "aggregation": Meter.Aggregation.SUM,
            "base_unit": "gpu_second",
            "unit": "gpu_hour",
            "demand_unit": "gpu",
            "base_per_unit": 3600,
        },
    )
    return meter


@dataclass(frozen=True, slots=True)
class Span:
    """`quantity` GPUs reserved for a tenant over [start_at, end_at), as its samples say."""

    quantity: int
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True)
class Tenant:
    """How many samples of a tenant there are, and what is reserved for it in time order; nothing where it is 0.

    All samples lie in [start_at, end_at). `twice_at` is the first instant that is in two of them.
    """

    samples: int
    reserved: tuple[Span, ...]
    start_at: datetime
    end_at: datetime
    twice_at: datetime | None = None


@dataclass
class Loaded:
    """What became of a trace's samples: `counts` per outcome, as of `usage.record`, and the first of those not in order."""

    samples: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(usage.OUTCOMES, 0))
    problems: list[usage.Result] = field(default_factory=list)

    def add(self, recorded: usage.Recorded) -> None:
        for outcome, count in recorded.counts.items():
            self.counts[outcome] += count
            self.samples += count
        if len(self.problems) < _PROBLEMS and any(recorded.counts[outcome] for outcome in _PROBLEM_OUTCOMES):
            found = [result for result in recorded.results if result.outcome in _PROBLEM_OUTCOMES]
            self.problems += found[: _PROBLEMS - len(self.problems)]


_PROBLEMS = 10
_PROBLEM_OUTCOMES = ("conflict", "unmatched", "rejected")


def load_trace(
    *,
    path: Path,
    provider: Party,
    at: datetime,
    format: str = "helios",  # noqa: A002  - the word of the command's option
    contracts: str | Mapping[str, str] = "C-",
    source: str = "helios",
    progress: Callable[[int], object] | None = None,
    writers: int | None = None,
) -> Loaded:
    """Record each row of a trace as an event of `provider`: a gauge sample of 60 seconds. Streamed, in batches.

    contracts: the contract number of a tenant, or what is put before the tenant's id to make it. `progress` is called
    with the number of samples of each batch that is stored. An event's id is made of the row's time and tenant: killed
    anywhere and run again, or run twice, it makes the same readings. `writers` connections store batches at the same
    time; with 1 it is the caller's own. Raises TraceError; the rows before the bad one's batch are stored then.
    """
    if format != "helios":
        raise TraceError(f"format {format!r}: expected helios")
    gpu_meter()
    loaded = Loaded()

    def store(events: list[usage.Event]) -> usage.Recorded:
        return usage.record(owner=provider, events=events, at=at)

    def note(recorded: usage.Recorded) -> None:
        loaded.add(recorded)
        if progress is not None:
            progress(sum(recorded.counts.values()))

    _store(_helios_events(path, contracts, source), store, note, writers or WRITERS)
    return loaded


def _store(
    batches: Generator[list[usage.Event]],
    store: Callable[[list[usage.Event]], usage.Recorded],
    note: Callable[[usage.Recorded], None],
    writers: int,
) -> None:
    """Each writer takes a batch, stores it and notes what became of it, until there is none or one of them fails."""
    if writers == 1:
        for events in batches:
            note(store(events))
        return
    lock = Lock()

    def write() -> None:
        try:
            while events := take():
                recorded = store(events)
                with lock:
                    note(recorded)
        finally:
            stop()
            connection.close()

    def take() -> list[usage.Event] | None:
        with lock:
            return next(batches, None)

    def stop() -> None:
        with lock:
            batches.close()

    with ThreadPoolExecutor(writers, "load_trace") as pool:
        futures = [pool.submit(write) for _ in range(writers)]
        try:
            for future in futures:
                future.result()
        finally:
            stop()


def read_helios(*, path: Path) -> dict[str, Tenant]:
    """The tenants of a trace in the order of their ids. Streamed; nothing is stored. Raises TraceError."""
    step = timedelta(seconds=SAMPLE_SECONDS)
    counts: Counter[str] = Counter()
    spans: dict[str, list[Span]] = {}
    # The span that each tenant's last sample is in: quantity, start, end.
    last: dict[str, tuple[int, datetime, datetime]] = {}
    for _, start_at, tenant, reserved, _ in _helios_rows(path):
        counts[tenant] += 1
        quantity, since, until = last.get(tenant, (reserved, start_at, start_at))
        if quantity != reserved or until != start_at:
            spans.setdefault(tenant, []).append(Span(quantity, since, until))
            since = start_at
        last[tenant] = (reserved, since, start_at + step)
    for tenant, span in last.items():
        spans.setdefault(tenant, []).append(Span(*span))
    return {tenant: _tenant(counts[tenant], spans[tenant]) for tenant in sorted(spans)}


def _tenant(samples: int, spans: list[Span]) -> Tenant:
    """Puts the spans in the order of time, since rows need not be, and joins those that meet with the same quantity."""
    spans = sorted(spans, key=lambda span: span.start_at)
    twice_at = None
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and span.start_at < last.end_at and twice_at is None:
            twice_at = span.start_at
        if last is not None and last.end_at == span.start_at and last.quantity == span.quantity:
            joined[-1] = Span(last.quantity, last.start_at, span.end_at)
        else:
            joined.append(span)
    reserved = tuple(span for span in joined if span.quantity)
    return Tenant(samples, reserved, spans[0].start_at, max(span.end_at for span in spans), twice_at)


def _helios_events(path: Path, contracts: str | Mapping[str, str], source: str) -> Generator[list[usage.Event]]:
    """The rows as batches of events. Their ids grow with the rows, so that the key's index grows at its end."""
    subjects: dict[str, str] = {}
    # Samples of equal value share their data: 714,240 rows of one month have 209 values.
    data: dict[int, dict[str, int]] = {}
    events: list[usage.Event] = []
    for time, start_at, tenant, _, running in _helios_rows(path):
        if tenant not in subjects:
            subjects[tenant] = contracts + tenant if isinstance(contracts, str) else contracts.get(tenant, tenant)
        if running not in data:
            data[running] = {"value": running, "duration_seconds": SAMPLE_SECONDS}
        events.append(usage.Event(f"{time}/{tenant}", source, GPU_SAMPLE, subjects[tenant], start_at, data[running]))
        if len(events) == BATCH:
            yield events
            events = []
    if events:
        yield events


def _helios_rows(path: Path) -> Iterator[tuple[str, datetime, str, int, int]]:
    """The rows, checked: time as printed, the instant, tenant, reserved GPUs, running GPUs."""
    whole_numbers: dict[str, int] = {}  # those seen, by their spelling
    tenants: set[str] = set()
    printed, start_at = "", datetime.min.replace(tzinfo=UTC)
    with _rows(path) as rows:
        if next(rows, None) != _HELIOS_HEADER:
            raise TraceError(f"{path}, line 1: expected the header {','.join(_HELIOS_HEADER)}")
        for row in rows:
            try:
                time, tenant, total, running = row
                if time != printed:
                    start_at, printed = _local_time(time), time
                reserved, value = whole_numbers[total], whole_numbers[running]
            except (ValueError, KeyError):
                start_at = _check(path, rows.line_num, row, whole_numbers)
                time, tenant, total, running = row
                printed, reserved, value = time, whole_numbers[total], whole_numbers[running]
            if tenant not in tenants:
                _check_tenant(path, rows.line_num, tenant)
                tenants.add(tenant)
            yield time, start_at, tenant, reserved, value
    if not tenants:
        raise TraceError(f"{path} has no row: expected samples after the header")


def _local_time(time: str) -> datetime:
    parsed = datetime.fromisoformat(time)
    if parsed.strftime("%Y-%m-%d %H:%M:%S") != time or parsed.tzinfo is not None or parsed.year < 1000:
        raise ValueError(time)
    return parsed.replace(tzinfo=_HELIOS_ZONE).astimezone(UTC)


def _check(path: Path, line: int, row: list[str], whole_numbers: dict[str, int]) -> datetime:
    """The instant of a row with a number not seen before, which is noted; a TraceError if the row is bad."""
    where = f"{path}, line {line}"
    if len(row) != len(_HELIOS_HEADER):
        raise TraceError(f"{where} has {len(row)} columns: expected {','.join(_HELIOS_HEADER)}")
    try:
        start_at = _local_time(row[0])
    except ValueError as error:
        raise TraceError(f"{where}, column time: {row[0][:80]!r}: expected YYYY-MM-DD HH:MM:SS") from error
    for name, value in zip(_HELIOS_HEADER[2:], row[2:], strict=True):
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise TraceError(f"{where}, column {name}: {value[:80]!r}: expected a whole number from 0 to 999,999,999")
        whole_numbers[value] = int(value)
    return start_at


def _check_tenant(path: Path, line: int, tenant: str) -> None:
    if not 0 < len(tenant) <= 40 or not tenant.isprintable():
        raise TraceError(f"{path}, line {line}, column vc: {tenant[:80]!r}: expected 1 to 40 printable characters")
    if tenant != tenant.strip():
        raise TraceError(f"{path}, line {line}, column vc: {tenant!r}: expected no spaces around it")


@contextmanager
def _rows(path: Path) -> Iterator["Reader"]:
    """The lines of a CSV file, packed by gzip or not. What is wrong with the file is one sentence."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        opener = gzip.open if packed else open
        with opener(path, "rt", encoding="utf-8", newline="") as text:
            yield csv.reader(text, strict=True)
    except EOFError as error:
        raise TraceError(f"{path} is cut short: expected the whole gzip file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(f"{path} is a damaged gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise TraceError(f"{path} is no CSV: {error}") from error
    except OSError as error:
        raise TraceError(f"{path} can't be read: {error.strerror or error}") from error
