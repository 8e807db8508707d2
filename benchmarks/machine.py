"""What a benchmark ran on, and how fast its database is by itself."""

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil
from django.conf import settings
from django.db import connection

from marketplace.postgresql.server import programs, server_in

SCALE, CLIENTS = 10, 8  # of pgbench
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")


def describe() -> dict[str, object]:
    """Cores, memory, versions and durability, of this process and the database it uses."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [["server_version", *DURABILITY]])
        durable = dict(cursor.fetchall())
    return {
        "cores": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgresql": durable["server_version"],
        "durability": {name: durable[name] for name in DURABILITY},
    }


def pgbench(seconds: int) -> float:
    """TPC-B-like transactions a second on a database of its own on this server."""
    address = server_in(Path(settings.DATABASES["default"]["EMBEDDED_IN"])).address()
    environ = {
        "PATH": os.environ["PATH"],
        "PGHOST": address["host"],
        "PGPORT": address["port"],
        "PGUSER": address["user"],
        "PGDATABASE": "pgbench",
    }

    def call(program: str, *arguments: str) -> str:
        command = [str(programs() / program), *arguments]
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
        return done.stdout

    call("createdb", "pgbench")
    call("pgbench", "--initialize", f"--scale={SCALE}", "--quiet")
    said = call("pgbench", f"--client={CLIENTS}", f"--jobs={os.cpu_count() or 1}", f"--time={seconds}")
    call("dropdb", "pgbench")
    found = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    assert found is not None, said
    return float(found[1])
