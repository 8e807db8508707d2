"""The supervisor: keeps the web server and the cluster of workers running, and kills a cluster that has gone deaf.

A django-q2 cluster can be alive and deaf: one of its idle workers dies with the lock of their common queue in hand, and the
others wait for that lock for ever. So the supervisor asks the cluster for a sign of life, the canary, through the queue
and the workers; one that is late costs the whole process group its life, and a new one starts. A cluster all of whose
workers are busy with jobs is not late.

One supervisor per machine, each with its own queue, named like it, and its own sweep; the table of jobs is common to all.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.tasks import async_task
from redis.exceptions import RedisError

from marketplace import jobs
from marketplace.models import Job, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from types import FrameType

logger = logging.getLogger(__name__)

_BACKOFF_SECONDS = (0, 1, 2, 5, 10, 30)  # before the n-th restart in a row
_STEADY_SECONDS = 60  # a child that lived as long starts at the first of them again
_PR_SET_PDEATHSIG = 1


def answer(*, worker: str, asked_at: datetime, at: datetime) -> None:
    """Note that the canary of `asked_at` came through. An older one that comes late changes nothing."""
    pulse, is_new = Pulse.objects.get_or_create(worker=worker, defaults={"asked_at": asked_at, "answered_at": at})
    if not is_new:
        Pulse.objects.filter(pk=pulse.pk, asked_at__lt=asked_at).update(asked_at=asked_at, answered_at=at)


@dataclass(frozen=True)
class Pace:
    """When the supervisor does what, in seconds. An idle worker's death is mended in canary + patience + a start."""

    canary_seconds: float = 30
    patience_seconds: float = 40
    start_seconds: float = 15  # a new cluster's first sign of life may be so much later
    grace_seconds: float = 10
    tick_seconds: float = 1


@dataclass
class Child:
    """A program in a process group of its own, started again whenever it ends."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    next_start: float = 0
    failures: int = 0

    def start(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603  - our own programs
            self.command,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent(os.getpid()),  # noqa: PLW1509  - this process has no threads
        )
        self.started = time.monotonic()
        logger.info("started", extra={"child": self.name, "leader": self.process.pid})

    def keep(self) -> bool:
        """Start the program if it does not run and its turn has come. Tells whether it has just been started."""
        if self.process is not None:
            if not self.has_ended():
                return False
            logger.error("ended by itself", extra={"child": self.name})
            self.kill()
        if time.monotonic() < self.next_start:
            return False
        self.start()
        return True

    def has_ended(self) -> bool:
        """Whether the program has ended. It stays a zombie, so that its number stays the group's, until `kill` or `wait`."""
        assert self.process is not None
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """SIGKILL to the whole group; returns when none of it is left. The next start waits longer after each in a row."""
        if self.process is None:
            return
        while members := _group(self.process.pid):
            os.killpg(self.process.pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(pid) for pid in members if psutil.pid_exists(pid)], timeout=0.05)
        self.process.wait()
        lived_seconds = time.monotonic() - self.started
        self.failures = 0 if lived_seconds > _STEADY_SECONDS else self.failures
        self.next_start = time.monotonic() + _BACKOFF_SECONDS[min(self.failures, len(_BACKOFF_SECONDS) - 1)]
        self.failures += 1
        self.process = None


@dataclass
class Supervisor:
    """`run` returns when `stop` was called or SIGTERM or SIGINT came, and nothing of the children is left."""

    worker_name: str
    workers: int
    cluster: Child | None
    web: Child | None
    pace: Pace = Pace()
    _stopping: threading.Event = field(default_factory=threading.Event)
    _is_up: bool = False  # the cluster has given a sign of life since it was started
    _asked: float | None = None  # when the last canary was sent
    _unanswered: tuple[float, datetime] | None = (
        None  # when the first canary without an answer was sent: here, and in UTC
    )

    def run(self) -> None:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._stopping.is_set():
                self._tick()
                self._stopping.wait(self.pace.tick_seconds)
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        self._stopping.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  - as signal calls it
        self.stop()

    @property
    def _children(self) -> list[Child]:
        return [child for child in (self.web, self.cluster) if child is not None]

    def _tick(self) -> None:
        for child in self._children:
            if child.keep() and child is self.cluster:
                self._is_up, self._asked, self._unanswered = False, None, None
                self._with_database(self._greet)
        if self.cluster is not None and self.cluster.process is not None:
            self._with_database(self._watch)

    def _greet(self) -> None:
        """A new cluster: forget the wake-ups of the last one, and let go of its jobs."""
        get_broker(self.worker_name).purge_queue()
        jobs.abandon(worker=self.worker_name, at=timezone.now())

    def _watch(self) -> None:
        now, at = time.monotonic(), timezone.now()
        busy = self._busy(at)
        if self._unanswered:
            heard = Pulse.objects.filter(worker=self.worker_name, asked_at__gte=self._unanswered[1]).exists()
            if heard:
                self._is_up, self._unanswered = True, None
            elif busy >= self.workers:  # nobody is free to answer: its time begins when somebody is
                self._unanswered = now, self._unanswered[1]
        if self._asked is None or now - self._asked >= self.pace.canary_seconds:
            self._send("marketplace.tasks.canary", at, hook="marketplace.tasks.canary_came_through", save=True)
            self._send("marketplace.tasks.sweep")
            self._asked = now
            self._unanswered = self._unanswered or (now, at)
        self._judge(now, busy)

    def _send(self, function: str, *arguments: Any, **options: Any) -> None:
        async_task(function, *arguments, cluster=self.worker_name, **options)

    def _busy(self, at: datetime) -> int:
        """How many workers have a job in hand. Lets go of the jobs whose workers are dead."""
        assert self.cluster is not None
        assert self.cluster.process is not None
        holders = Job.objects.held(worker=self.worker_name, at=at).values_list("locked_by", flat=True)
        processes = [int(str(holder).rpartition("#")[2]) for holder in holders]
        dead = [pid for pid in processes if not _lives_in(pid, self.cluster.process.pid)]
        if dead:
            jobs.abandon(worker=self.worker_name, processes=dead, at=at)
            self._send("marketplace.tasks.sweep")
        return len(processes) - len(dead)

    def _judge(self, now: float, busy: int) -> None:
        assert self.cluster is not None
        if self._unanswered is None:
            return
        up_at = self.cluster.started + (0 if self._is_up else self.pace.start_seconds)
        waited_seconds = now - max(self._unanswered[0], up_at)
        if waited_seconds > self.pace.patience_seconds:
            logger.error(
                "the cluster is deaf, and is killed",
                extra={"waited_seconds": round(now - self._unanswered[0], 1), "busy": busy, "workers": self.workers},
            )
            self.cluster.kill()

    def _with_database(self, act: Callable[[], None]) -> None:
        """Without the database nothing can be known of the cluster, and nobody is to blame."""
        try:
            act()
        except (DatabaseError, RedisError) as error:
            logger.warning("the database or the queue does not answer the supervisor: %s", error)
            connection.close()
            self._unanswered = None

    def _end(self) -> None:
        """SIGTERM to all, SIGKILL to what is left after the grace; jobs that were under way are free for others."""
        for child in self._children:
            if child.process is not None and not child.has_ended():
                os.kill(child.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + self.pace.grace_seconds
        for child in self._children:
            while child.process is not None and not child.has_ended() and time.monotonic() < deadline:
                time.sleep(0.05)
            child.kill()
        if self.cluster is not None:
            self._with_database(self._take_leave)

    def _take_leave(self) -> None:
        jobs.abandon(worker=self.worker_name, at=timezone.now())
        get_broker(self.worker_name).purge_queue()
        Pulse.objects.filter(worker=self.worker_name).delete()


def _group(leader: int) -> list[int]:
    """The processes of the group that live."""
    return [pid for pid in psutil.pids() if _lives_in(pid, leader)]


def _lives_in(pid: int, leader: int) -> bool:
    try:
        return os.getpgid(pid) == leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def _end_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child does first: ask the kernel for SIGTERM when the supervisor dies, which its own SIGKILL can't pass on."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):  # not Linux
        return None

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGTERM)

    return ask
