"""A real web server on a real database, for tests that cut connections and kill processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

from marketplace.management.commands import serve
from tests.billing.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent


@contextlib.contextmanager
def served(environment, port):
    """gunicorn as `manage.py serve` runs it, in a process group of its own; killed at the end of the block."""
    options = {"bind": "127.0.0.1", "port": port, "web_workers": 2, "grace_seconds": 10}
    environment = environment | {"PUBLIC_URL": f"http://127.0.0.1:{port}", "LOG_LEVEL": "ERROR"}
    command = serve._web(options)
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_until_up(server, port)
            yield server
        finally:
            kill_group(server)


def kill_group(server):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def wait_until_up(server, port):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise AssertionError(f"no server at port {port} within {PATIENCE_SECONDS} s")


def python(environment, program, *arguments):
    """Run a program text with the settings loaded; its standard output."""
    setup = "import django, sys; django.setup()\n"
    done = subprocess.run(
        [sys.executable, "-c", setup + program, *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
