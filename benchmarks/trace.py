"""Part `trace`: a month of 714,240 samples, from the file to readings, and from readings to invoices as PDF files.

Takes the real month of ../shared where it is, else one of the same size from a seed. The yardstick is COPY of the very
same rows of events into a table with the same primary key, on the same server in the same run: its median of three.
"""

import gzip
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from django.db import connection

from billing import invoicing
from billing.documents.files import write_invoices
from billing.models import Party, Reading, UsageEvent
from marketplace import demo, metering
from marketplace.demo_plan import Plan, firm, setting, traced

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "helios-earth-2020-05.csv.gz"
TENANTS = 16
MINUTES = 31 * 24 * 60
COPIES = 3


def run(progress: Callable[[str], object], path: Path | None = None) -> dict[str, object]:
    """`samples_per_second`, `copy_rows_per_second`, `ratio_to_copy`, `close_seconds`, `peak_rss_mb`, and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        source = path or (REAL if REAL.exists() else _made(Path(folder) / "month.csv.gz", progress))
        plan = traced(path=source)
        period = demo.found(plan=plan)
        demo.sign_up(plan=plan, progress=lambda _count: None)
        load_seconds = _load(plan, "counted")
        progress(f"{plan.samples / load_seconds:.0f} samples a second; loading them again")
        reload_seconds = _load(plan, "duplicate")
        progress(f"{plan.samples / reload_seconds:.0f} samples a second; now COPY of the same rows")
        copy_seconds = statistics.median(_copy(plan.samples) for _ in range(COPIES))
        progress(f"{plan.samples / copy_seconds:.0f} rows a second; now the invoices")
        start = time.perf_counter()
        closed = invoicing.close_period(
            period=period, at=plan.close_at, actor="benchmark", processes=os.cpu_count() or 1
        )
        snapshots = [invoice.snapshot or "" for invoice in demo.issued(period=period)]
        pdfs = write_invoices(snapshots=snapshots, folder=Path(folder) / "pdf", processes=os.cpu_count() or 1)
        close_seconds = time.perf_counter() - start
        assert not closed.refused
        assert len(closed.issued) == len(plan.buyers)
    return {
        "samples_per_second": round(plan.samples / load_seconds),
        "copy_rows_per_second": round(plan.samples / copy_seconds),
        "ratio_to_copy": round(copy_seconds / load_seconds, 3),
        "reload_samples_per_second": round(plan.samples / reload_seconds),
        "close_seconds": round(close_seconds, 2),
        "peak_rss_mb": _peak_rss_mb(),
        "real_month": source == REAL,
        "samples": plan.samples,
        "tenants": len(plan.buyers),
        "readings": Reading.objects.count(),
        "invoices": len(closed.issued),
        "pdfs": pdfs,
        "batch": metering.BATCH,
        "writers": metering.WRITERS,
        "usage_event_mb": _size_mb("billing_usageevent"),
        "reading_mb": _size_mb("billing_reading"),
    }


def _made(path: Path, progress: Callable[[str], object]) -> Path:
    """A month of the real one's size: each tenant's running GPUs walk about below what it reserves."""
    progress("making a month of samples")
    chance = random.Random(20200501)
    reserved = {f"vc{number:03d}": 8 * (1 + number) for number in range(TENANTS)}
    running = dict.fromkeys(reserved, 0)
    start = datetime(2020, 5, 1)  # noqa: DTZ001  - local time without an offset, as in the real file
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8", newline="") as file:
        file.write("time,vc,total_gpu_num,running_gpu_num\n")
        for minute in range(MINUTES):
            at = start + timedelta(minutes=minute)
            for tenant, total in reserved.items():
                if chance.randrange(4) == 0:
                    running[tenant] = min(total, max(0, running[tenant] + chance.randrange(-4, 5)))
                file.write(f"{at},{tenant},{total},{running[tenant]}\n")
    return path


def _load(plan: Plan, outcome: str) -> float:
    """Seconds to load the whole trace, all of which must have the one outcome."""
    assert plan.trace is not None
    provider = Party.objects.get(credit_code=firm(setting()["provider"]).credit_code)
    start = time.perf_counter()
    loaded = metering.load_trace(path=plan.trace, provider=provider, at=plan.close_at)
    seconds = time.perf_counter() - start
    assert loaded.counts[outcome] == loaded.samples == plan.samples == UsageEvent.objects.count()
    return seconds


def _copy(rows: int) -> float:
    """Seconds that COPY takes, committed, for the events as PostgreSQL itself writes them down."""
    with tempfile.TemporaryFile() as file, connection.cursor() as cursor:
        with cursor.copy("COPY billing_usageevent TO STDOUT") as copy:
            for block in copy:
                file.write(block)
        cursor.execute("CREATE TABLE bench_copy (LIKE billing_usageevent, PRIMARY KEY (source_id, event_id))")
        file.seek(0)
        start = time.perf_counter()
        _copy_from(file)
        seconds = time.perf_counter() - start
        cursor.execute("SELECT count(*) FROM bench_copy")
        assert cursor.fetchone() == (rows,)
        cursor.execute("DROP TABLE bench_copy")
    return seconds


def _copy_from(file: IO[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY bench_copy FROM STDIN") as copy:
        while block := file.read(1 << 18):
            copy.write(block)


def _peak_rss_mb() -> int:
    """The greatest of this process and of those it has waited for; not the database server."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, children) // 1024


def _size_mb(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s::regclass) / 1024 / 1024", [table])
        return int(cursor.fetchone()[0])
