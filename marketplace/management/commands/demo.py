"""manage.py demo: a zone with a month of usage and its invoices, and a page to look at them."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.request import urlopen

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from tqdm import tqdm

from billing.contracts import InvalidContractError
from billing.documents.figures import figure, hours
from billing.documents.fonts import FontMissingError, GlyphMissingError
from billing.parties import InvalidPartyError
from marketplace import demo
from marketplace.demo_plan import DEFAULT_SEED, generated, programmes, traced
from marketplace.metering import TraceError

HOST = "127.0.0.1"
_GUNICORN = ["--threads", "4", "--no-control-socket", "--log-level", "warning"]
_START_SECONDS = 30
_STOP_SECONDS = 20


class Command(BaseCommand):
    help = (
        "Fill an empty database with a zone, its buyers, a month of usage and the invoices; then serve the start page."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        month = parser.add_mutually_exclusive_group()
        month.add_argument(
            "--trace", type=Path, metavar="FILE", help="take the month of a Helios trace (CSV, may be gzipped)"
        )
        month.add_argument(
            "--seed", type=int, default=DEFAULT_SEED, help=f"the made-up month's seed (default {DEFAULT_SEED})"
        )
        parser.add_argument(
            "--programme",
            choices=sorted(programmes()),
            help="grant every buyer this programme, which pays a part of its bill",
        )
        parser.add_argument("--no-serve", action="store_true", help="end when the invoices are there")
        parser.add_argument("--port", type=int, default=8000, help="where to serve on this machine (default 8000)")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            if options["no_serve"]:
                self._build(options)
            else:
                with closing(_bound(options["port"])) as port:
                    self._build(options)
                    self._serve(port)
        except KeyboardInterrupt:
            self.stderr.write("\nStopped. The same command goes on from here.")
            sys.exit(130)

    def _build(self, options: dict[str, Any]) -> None:
        began = time.monotonic()
        try:
            plan = traced(path=options["trace"]) if options["trace"] else generated(seed=options["seed"])
            if options["programme"]:
                plan = plan.under(options["programme"])
            documents = settings.DATA_DIR / "documents" / plan.period_code
            was_work, period, logins = demo.build(
                plan=plan,
                documents=documents,
                passwords=settings.DATA_DIR / "demo_passwords.json",
                processes=os.cpu_count() or 1,
                stage=self._stage,
            )
        except (
            TraceError,
            FontMissingError,
            GlyphMissingError,
            InvalidContractError,
            InvalidPartyError,
            demo.OtherContentsError,
            demo.UsageLostError,
            demo.NotInvoicedError,
        ) as error:
            raise CommandError(str(error)) from error
        state = f"ready after {time.monotonic() - began:.0f} s" if was_work else "all there; nothing was changed"
        lines = [
            f"The month {plan.period_code}, of {plan.title}, is {state}.",
            "",
            *_table(demo.summary(period=period), period.issuer.currency, plan.programme),
            "",
        ]
        lines += [
            f"The invoices as PDF, in Chinese and English: {documents}",
            "",
            "Who can sign in, with the password:",
        ]
        lines += [f"{login.email:<22} {login.password:<17} {login.firm or 'staff of the zone'}" for login in logins]
        self.stdout.write("\n".join(lines))

    @contextmanager
    def _stage(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
        """A bar on a terminal; elsewhere one line when the stage is done."""
        began = time.monotonic()
        with tqdm(desc=f"{title:<8}", total=total, unit=f" {unit}", disable=None, file=sys.stderr) as bar:
            yield bar.update
        if bar.disable:
            self.stderr.write(f"{title:<8} {total:>9,} {unit} in {time.monotonic() - began:.1f} s")

    def _serve(self, port: socket.socket) -> None:
        address = f"http://{HOST}:{port.getsockname()[1]}"
        connections.close_all()
        # SIGINT too: a shell starts what runs in the background with it ignored.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        server = subprocess.Popen(  # noqa: S603  - our own program, no input in its arguments
            [sys.executable, "-m", "gunicorn", "marketplace.wsgi", "--bind", f"fd://{port.fileno()}", *_GUNICORN],
            env={
                "LOG_LEVEL": "ERROR",
                "SECOND_FACTOR": "optional",
                **os.environ,
                "PUBLIC_URL": address,
                "DEMO": "1",
            },
            cwd=settings.BASE_DIR,
            pass_fds=[port.fileno()],
            start_new_session=True,  # so that Ctrl-C reaches us alone, and we end it in order
        )
        try:
            _await_answer(server, address)
            self.stdout.write(f"\n{address}/ shows it. Ctrl-C stops.")
            code = server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait(_STOP_SECONDS)
            self.stdout.write("\nStopped.")
        else:
            raise CommandError(f"The web server ended by itself, with code {code}; what it said stands above.")
        finally:
            server.kill()
            server.wait()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _bound(number: int) -> socket.socket:
    """The port, held from now on, so that nobody takes it while the month is made."""
    port = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        port.bind((HOST, number))
    except (OSError, OverflowError) as error:
        port.close()
        reason = (
            "is taken" if isinstance(error, OSError) and error.errno == errno.EADDRINUSE else f"can't be used ({error})"
        )
        raise CommandError(f"Port {number} of this machine {reason}: name another with --port.") from error
    return port


def _await_answer(server: subprocess.Popen[bytes], address: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            with urlopen(address, timeout=_START_SECONDS):  # noqa: S310  - our own address
                return
        except URLError:
            time.sleep(0.1)
    raise CommandError(f"The web server does not answer at {address}; what it said stands above.")


def _table(rows: list[demo.Row], currency: str, programme: str | None) -> Iterator[str]:
    """The invoices with their sums. Firms by their English names, so that columns stand straight everywhere."""
    heads = ["net", "VAT", "gross", *((programme, "payable") if programme else ())]
    amounts = [row[5:] if programme else row[5:8] for row in rows]
    body = [
        (row.number, row.account, row.name_en, hours(row.gpu_seconds), *(figure(each, currency) for each in minor))
        for row, minor in zip(rows, amounts, strict=True)
    ]
    sums = [figure(sum(column), currency) for column in zip(*amounts, strict=True)]
    used = hours(sum(row.gpu_seconds for row in rows))
    table = [
        ("number", "account", "buyer", "GPU-hours", *heads),
        *body,
        ("", "", f"all, in {currency}", used, *sums),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
