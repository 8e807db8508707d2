"""`python -m benchmarks [PART ...]`: one JSON object on standard output, progress on standard error.

Each part runs in a process of its own, on a new and migrated database that is removed afterwards::

    {"machine": {...}, "<part>": {...}, ...}
"""

import argparse
import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOT_PARTS = {"__init__", "__main__", "machine"}


def main() -> None:
    parts = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_PARTS)
    arguments = argparse.ArgumentParser(prog="python -m benchmarks")
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"which to run, of: {', '.join(parts)} (all)")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if unknown := sorted(set(asked.parts) - set(parts)):
        sys.exit(f"benchmarks: there is no part {', '.join(unknown)}: name one of {', '.join(parts)}.")
    if asked.inside:
        print(json.dumps(_measure(asked.parts[0])))
        return
    report: dict[str, Any] = {}
    for part in asked.parts or parts:
        report |= _measure_apart(part)
    print(json.dumps(report, indent=2))


def _measure_apart(part: str) -> dict[str, Any]:
    """Measure in a child process, so that no part warms or fills another's memory."""
    data = HERE.parent / ".data"
    data.mkdir(mode=0o711, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{part}-", dir=data))
    environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "SECRET_KEY")}
    environ |= {"DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "marketplace.settings"}
    try:
        command = [sys.executable, "-m", "benchmarks", "--inside", part]
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, cwd=HERE.parent, check=False)
    finally:
        shutil.rmtree(folder)
    if done.returncode != 0:
        sys.exit(f"benchmarks: the part {part} failed with exit code {done.returncode}.")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _measure(part: str) -> dict[str, Any]:
    def progress(text: str) -> None:
        print(f"{part}: {text}", file=sys.stderr, flush=True)

    import django  # noqa: PLC0415  - only the child has the settings
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    from benchmarks import machine  # noqa: PLC0415  - needs the settings

    with contextlib.redirect_stdout(sys.stderr):
        progress("making a database")
        call_command("migrate", verbosity=0)
        found = importlib.import_module(f"benchmarks.{part}").run(progress)
        return {"machine": machine.describe(), part: found}


if __name__ == "__main__":
    main()
