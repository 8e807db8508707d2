"""manage.py serve: the web server and the workers, kept running until SIGTERM or SIGINT."""

from __future__ import annotations

import logging.config
import os
import re
import socket
import sys
import tempfile
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from marketplace import logs
from marketplace.serving import Child, Pace, Supervisor

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

_CORES = os.cpu_count() or 1
_PACES = (
    ("canary", 30, "between two signs of life of the workers, and two sweeps"),
    ("patience", 40, "a sign of life so late costs them a restart"),
    ("start", 15, "what a new start may take on top"),
    ("grace", 10, "to end what is under way when told to stop"),
)


class Command(BaseCommand):
    help = "Run the web server and the workers, and keep them running. Ends cleanly on SIGTERM and SIGINT."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--bind", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1, this machine only)")
        add("--port", type=_at_least(1), default=8000, help="the port to listen at (default: 8000)")
        add("--web-workers", type=_at_least(0), default=_CORES, help="web processes; 0: none (default: one per core)")
        add("--workers", type=_at_least(0), default=2, help="processes for jobs; 0: none (default: 2)")
        add("--name", default="", help="this worker's name, one of its own per database (default: host:port)")
        for name, default, said in _PACES:
            add(f"--{name}-seconds", type=_seconds, default=default, help=f"{said} (default: {default})")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002  - as Django calls it
        if not options["workers"] and not options["web_workers"]:
            raise CommandError("--workers 0 --web-workers 0 leaves nothing to run: one of them is at least 1.")
        name = options["name"] or f"{socket.gethostname()}:{options['port']}"
        if not re.fullmatch(r"[A-Za-z0-9._:-]{1,80}", name, re.ASCII):
            raise CommandError(f"--name {name!r} is not 1 to 80 letters, digits, dots, colons, dashes or underscores.")
        form = os.environ.get("LOG_FORMAT") or ("line" if settings.DEBUG else "json")
        logging.config.dictConfig(logs.configuration(form=form, level=settings.LOGGING["root"]["level"]))
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not up to date: run `manage.py migrate`, then `manage.py serve`.")
        with tempfile.TemporaryDirectory(prefix="suanli-metrics-") as folder:
            environment = os.environ | {
                "LOG_FORMAT": form,
                "WORKER_NAME": name,
                "WORKERS": str(options["workers"] or 1),
                "PYTHONUNBUFFERED": "1",
            }
            self._supervise(name, options, environment, folder)

    def _supervise(self, name: str, options: dict[str, Any], environment: dict[str, str], folder: str) -> None:
        web = Child("web", _web(options), environment | {"PROMETHEUS_MULTIPROC_DIR": folder})
        cluster = Child("cluster", [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"], environment)
        Supervisor(
            worker_name=name,
            workers=options["workers"],
            cluster=cluster if options["workers"] else None,
            web=web if options["web_workers"] else None,
            pace=Pace(
                canary_seconds=options["canary_seconds"],
                patience_seconds=options["patience_seconds"],
                start_seconds=options["start_seconds"],
                grace_seconds=options["grace_seconds"],
            ),
        ).run()


def _web(options: dict[str, Any]) -> list[str]:
    host = f"[{options['bind']}]" if ":" in options["bind"] else options["bind"]
    return [
        *(sys.executable, "-m", "gunicorn", "marketplace.wsgi"),
        *("--chdir", str(settings.BASE_DIR)),
        *("--bind", f"{host}:{options['port']}"),
        *("--workers", str(options["web_workers"])),
        *("--worker-class", "gthread", "--threads", "4", "--keep-alive", "5"),
        *("--timeout", "60", "--graceful-timeout", str(max(1, int(options["grace_seconds"]) - 2))),
        *("--logger-class", "marketplace.gunicorn_logger.GunicornLogger"),
        "--preload",
        "--no-control-socket",
    ]


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 86400:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and below 86400")
    return seconds
