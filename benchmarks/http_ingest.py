"""Part `http_ingest`: usage through the real web server, from a client in a process of its own, in batches of 1,000.

Each answer means that the batch is durable, deduplicated and in its readings. Ids are random, as meters make them: the
worst case for a key's index. The rows it compares with are the same, copied by one COPY into a table with the same key.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path

BATCH = 1_000
CONNECTIONS = 4
EVENTS = 240_000  # of each run
CONTRACTS = 200
ACCOUNTS = 20
COPIES = 3  # of which the middle one counts
PREVIEWS = 20
START = datetime(2020, 4, 30, 16, tzinfo=UTC)  # May in Shanghai
ROOT = Path(__file__).parent.parent


def run(progress: Callable[[str], object], events: int = EVENTS) -> dict[str, object]:
    """Events a second, its ratio to COPY, the p99 of a batch, the same with each event sent twice, and the time to a bill."""
    from django.db import connection  # noqa: PLC0415  - the client has no settings

    token = _make()
    with _served() as port:
        progress(f"{events} events")
        _send(port, token, events // 10, "warm")
        plain = _send(port, token, events, "plain")
        progress(f"{plain['events_per_second']} events a second; now each twice")
        halves = _send(port, token, events, "halves")
        progress(f"{halves['events_per_second']} events a second; now to the bill")
        usage_to_bill_ms = _usage_to_bill(port, token)
    copied = _copy("plain")
    connection.close()
    return {
        "events_per_second": plain["events_per_second"],
        "copy_rows_per_second": copied,
        "ratio_to_copy": round(plain["events_per_second"] / copied, 3),
        "p50_ms": plain["p50_ms"],
        "p99_ms": plain["p99_ms"],
        "events_per_second_half_duplicates": halves["events_per_second"],
        "half_duplicates_p99_ms": halves["p99_ms"],
        "usage_to_bill_ms": usage_to_bill_ms,
        "events": events,
        "batch": BATCH,
        "connections": CONNECTIONS,
        "cores": os.cpu_count(),
    }


def _make() -> str:
    """An issuer with a tariff, a provider with an API key, and an account with a contract for each of the subjects."""
    from benchmarks.invoicing import TARIFF, _party  # noqa: PLC0415
    from billing import contracts, invoicing, parties, tariffs  # noqa: PLC0415
    from marketplace import keys, people  # noqa: PLC0415
    from marketplace.metering import gpu_meter  # noqa: PLC0415
    from marketplace.models import ApiKey, Zone  # noqa: PLC0415

    operator, provider = _party(0), _party(1)
    issuer = parties.appoint_issuer(
        code="bench", party=operator, timezone="Asia/Shanghai", currency="CNY", number_prefix="BM"
    )
    invoicing.open_period(issuer=issuer, code="2020-05")
    document = json.loads(TARIFF.read_text(encoding="utf-8"))
    tariff = tariffs.publish(document=document, at=START, actor="benchmark").tariff
    accounts = [
        parties.open_account(issuer=issuer, code=f"bench-{number:02}", party=_party(2 + number), at=START)
        for number in range(ACCOUNTS)
    ]
    for number, subject in enumerate(_subjects()):
        contracts.sign(
            number=subject,
            account=accounts[number % ACCOUNTS],
            tariff=tariff,
            provider=provider,
            fee_percent=Decimal(10),
            start_at=START,
            actor="benchmark",
        )
    gpu_meter()
    zone = Zone.objects.create(code="bench", name="bench", issuer=issuer)
    organization = people.make_organization(zone=zone, party=provider, name="bench", parts={"provider"})
    scopes = [ApiKey.Scope.USAGE_WRITE]
    return keys.create_key(organization=organization, name="bench", scopes=scopes, at=datetime.now(UTC))[1]


def _subjects() -> list[str]:
    return [f"C-{number:04}" for number in range(CONTRACTS)]


@contextmanager
def _served() -> Iterator[int]:
    """The web server as `manage.py serve` runs it, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = os.environ | {
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "LOG_LEVEL": "WARNING",
        "EVENTS_REQUESTS_PER_MINUTE": "10000",
    }
    command = [sys.executable, "manage.py", "serve", "--workers", "0", "--port", str(port), "--name", "bench"]
    with subprocess.Popen(command, cwd=ROOT, env=environ) as server:
        try:
            _wait(port)
            yield port
        finally:
            server.terminate()


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"no server at port {port}")


def _send(port: int, token: str, events: int, name: str) -> dict[str, float]:
    """Run the client to its end, and check that what it was told is what is stored."""
    from billing.models import UsageEvent  # noqa: PLC0415

    before = UsageEvent.objects.count()
    command = [sys.executable, "-m", "benchmarks.http_ingest", str(port), token, str(events), name]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    said: dict[str, float] = json.loads(done.stdout)
    counted = events // 2 if name == "halves" else events
    assert (said["counted"], said["duplicate"]) == (counted, events - counted), said
    assert UsageEvent.objects.count() - before == counted
    return said


def _usage_to_bill(port: int, token: str) -> float:
    """The slowest of PREVIEWS times from the answer of a post to the preview that includes it, in milliseconds."""
    from billing.charging import charges  # noqa: PLC0415
    from billing.models import Account, BillingPeriod  # noqa: PLC0415

    period = BillingPeriod.objects.get(code="2020-05")
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    slowest = 0.0
    for number in range(PREVIEWS):
        account = Account.objects.get(code=f"bench-{number % ACCOUNTS:02}")
        before = charges(account=account, period=period).net_minor
        event = _event(f"bill-{number}", _subjects()[number], START + timedelta(days=20), 10_000)
        said = _post(connection, token, f"[{event}]".encode())
        answered = time.perf_counter()
        assert said["counts"]["counted"] == 1
        net_minor = charges(account=account, period=period).net_minor
        slowest = max(slowest, time.perf_counter() - answered)
        assert net_minor > before
    return round(slowest * 1000, 1)


def _copy(name: str) -> int:
    """Rows a second of a COPY of a run's rows, as they lie in their table, into a new one with the same key."""
    from django.db import connection  # noqa: PLC0415

    select = (
        "SELECT event.* FROM billing_usageevent event JOIN billing_eventsource source ON source.id = event.source_id"
        f" WHERE source.name LIKE '{name}/%'"
    )
    measured = []
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY ({select}) TO STDOUT") as copy:
            rows = b"".join(copy)
        for _ in range(COPIES):
            cursor.execute("DROP TABLE IF EXISTS bench_copy")
            cursor.execute("CREATE TABLE bench_copy (LIKE billing_usageevent, PRIMARY KEY (source_id, event_id))")
            began = time.perf_counter()
            with cursor.copy("COPY bench_copy FROM STDIN") as copy:
                for start in range(0, len(rows), 2**16):
                    copy.write(rows[start : start + 2**16])
            measured.append(rows.count(b"\n") / (time.perf_counter() - began))
    return round(sorted(measured)[COPIES // 2])


# The client: `python -m benchmarks.http_ingest PORT TOKEN EVENTS NAME`. No settings, no Django.


def _client(port: int, token: str, events: int, name: str) -> dict[str, float]:
    """Post from CONNECTIONS connections, each a meter with its own source and contracts."""
    bodies = [_bodies(name, meter, events // CONNECTIONS) for meter in range(CONNECTIONS)]
    times: list[float] = []
    counts: dict[str, int] = {}
    lock, barrier = threading.Lock(), threading.Barrier(CONNECTIONS + 1)

    def send(own: list[bytes]) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.connect()
        barrier.wait()
        for body in own:
            began = time.perf_counter()
            said = _post(connection, token, body)
            took = time.perf_counter() - began
            with lock:
                times.append(took)
                for outcome, number in said["counts"].items():
                    counts[outcome] = counts.get(outcome, 0) + number

    threads = [threading.Thread(target=send, args=(own,)) for own in bodies]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    times.sort()
    return {
        "events_per_second": round(sum(counts.values()) / seconds),
        "p50_ms": round(times[len(times) // 2] * 1000, 1),
        "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1),
        **counts,
    }


def _post(connection: HTTPConnection, token: str, body: bytes) -> dict[str, dict[str, int]]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents-batch+json"}
    connection.request("POST", "/api/v1/events", body, headers)
    response = connection.getresponse()
    text = response.read()
    assert response.status == 200, (response.status, text)
    said: dict[str, dict[str, int]] = json.loads(text)
    return said


def _bodies(name: str, meter: int, events: int) -> list[bytes]:
    """Batches: each minute a sample of each of the meter's contracts. In "halves", half of each is of the one before."""
    subjects = _subjects()[meter::CONNECTIONS]
    chance = random.Random(f"{name} {meter}")
    fresh = BATCH // 2 if name == "halves" else BATCH
    made: list[bytes] = []
    before: list[str] = []
    for first in range(0, events * fresh // BATCH, fresh):
        new = []
        for number in range(first, first + fresh):
            minute, place = divmod(number, len(subjects))
            event_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            time_ = START + timedelta(minutes=minute)
            new.append(_event(event_id, subjects[place], time_, chance.randrange(64), f"{name}/{meter}"))
        batch = new if name != "halves" else new + (before or new)
        made.append(f"[{','.join(batch)}]".encode())
        before = new
    return made


def _event(event_id: str, subject: str, time_: datetime, value: int, source: str = "bench") -> str:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": "gpu.sample",
            "subject": subject,
            "time": time_.isoformat(),
            "data": {"value": str(value), "duration_seconds": 60},
        }
    )


if __name__ == "__main__":
    print(json.dumps(_client(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])))
