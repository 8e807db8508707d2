"""What can be wrong with a database, and the one sentence that says so. Real servers, real full disks."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from django.db import connection

from marketplace.postgresql import server as embedded
from marketplace.postgresql.base import DatabaseFeatures, ServerTooOldError
from tests.billing.waiting import PATIENCE_SECONDS
from tests.marketplace.test_postgresql import ROOT, answer, client, needs_root, postmaster
from tests.ports import free_port

QUESTION = ("migrate", "--check")


def manage(*arguments, **environment):
    environment = {"PATH": os.environ["PATH"], **{name: str(value) for name, value in environment.items()}}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def refused(sentence):
    return 1, "", f"manage.py: {sentence}\n"


# The server of DATABASE_URL


@pytest.fixture(scope="module")
def remote():
    """A server on TCP that wants a password: its port."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _remote(Path(folder))


def _remote(folder):
    server = embedded.EmbeddedServer(folder / "postgresql")
    server._make_folder()
    with server._start_lock() as lock:
        server._make_cluster(lock)
        server._run(
            "postgres",
            "--single",
            "-D",
            "data",
            "postgres",
            keep=lock,
            stdin="ALTER ROLE suanli PASSWORD 'open-sesame'\n",
        )
    (server.folder / "data" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    port = free_port()
    # Into a file, not a pipe: the server would hold the pipe open.
    done = server._spawn(
        "pg_ctl", "start", "-D", "data", "-w", "-l", "server.log", "-o", f"-h 127.0.0.1 -p {port} -k ''"
    )
    assert done.returncode == 0
    yield port
    server._stop()


def test_a_good_address_works(remote):
    url = f"postgresql://suanli:open-sesame@127.0.0.1:{remote}/suanli"
    code, _, error = manage("sqlsequencereset", "marketplace", DATABASE_URL=url, SECRET_KEY="x" * 50)
    assert (code, error) == (0, "")
    code, _, error = manage(*QUESTION, DATABASE_URL=url, SECRET_KEY="x" * 50)
    assert (code, error) == (1, "")  # there, but not migrated


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "suanli:hush@127.0.0.1:{port}/suanli",
            "The database server at 127.0.0.1:{port} refuses the user suanli of DATABASE_URL: check the user and the password.",
        ),
        (
            "nobody:hush@127.0.0.1:{port}/suanli",
            "The database server at 127.0.0.1:{port} refuses the user nobody of DATABASE_URL: check the user and the password.",
        ),
        (
            "suanli@127.0.0.1:{port}/suanli",
            "The database server at 127.0.0.1:{port} refuses the user suanli of DATABASE_URL: check the user and the password.",
        ),
        (
            "suanli:open-sesame@127.0.0.1:{port}/hush",
            'The database server at 127.0.0.1:{port} has no database "hush": make it, or correct DATABASE_URL.',
        ),
        (
            "suanli:hush@nowhere.invalid/suanli",
            "The host nowhere.invalid of DATABASE_URL is unknown: check its name.",
        ),
        (
            "suanli:hush@127.0.0.1:1/suanli",
            (
                "The database server of DATABASE_URL at 127.0.0.1:1 can't be reached: start it, or correct DATABASE_URL"
                ' (connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused Is the server'
                " running on that host and accepting TCP/IP connections?)."
            ),
        ),
        (
            "suanli:open-sesame@127.0.0.1:{port}/suanli?colour=red",
            'DATABASE_URL has an option that the database driver refuses: invalid connection option "colour".',
        ),
    ],
    ids=["password", "user", "no-password", "database", "host", "refused", "option"],
)
def test_an_address_that_does_not_work_is_refused_in_one_sentence(remote, address, sentence):
    url = "postgresql://" + address.format(port=remote)
    assert manage(*QUESTION, DATABASE_URL=url, SECRET_KEY="x" * 50) == refused(sentence.format(port=remote))


@pytest.mark.parametrize(
    "address", ["mysql://u:hush@h/d", "hush", "postgresql://u:hush@h:port/d", "postgresql://u:hush@h"]
)
def test_an_address_that_is_none_is_refused_without_showing_it(address):
    assert manage(*QUESTION, DATABASE_URL=address, SECRET_KEY="x" * 50) == refused(
        "DATABASE_URL is not the address of a PostgreSQL database (it is not shown, since it may hold a password): write"
        " postgresql://user:password@host:5432/database."
    )


@pytest.mark.django_db
def test_an_older_server_is_refused(monkeypatch):
    monkeypatch.setattr(DatabaseFeatures, "minimum_database_version", (99,))
    found = ".".join(map(str, connection.get_database_version()))
    with pytest.raises(ServerTooOldError) as refusal:
        connection.check_database_version_supported()
    assert str(refusal.value) == (
        f"PostgreSQL 99 or later is needed, and the server of DATABASE_URL is PostgreSQL {found}: upgrade it, or name another server."
    )


def test_fifteen_is_the_oldest_server():
    assert DatabaseFeatures.minimum_database_version == (15,)


# The embedded server


def test_a_data_folder_of_another_major_version_is_refused(tmp_path):
    server = embedded.EmbeddedServer(tmp_path / "postgresql")
    server._make_folder()
    (server.folder / "data").mkdir(mode=0o700)
    server._own(server.folder / "data")
    programs = embedded.programs()
    older = programs.parent.parent / "pginstall" / "bin"
    embedded.programs.cache_clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedded, "programs", lambda: older)
            server._make_folder()
            assert server._spawn("initdb", "-D", "data").returncode == 0
    finally:
        assert embedded.programs() == programs
    assert manage(*QUESTION, DATA_DIR=tmp_path) == refused(
        f"The data folder {tmp_path}/postgresql/data was made by PostgreSQL 16, and this program runs PostgreSQL 18: move it with"
        " pg_upgrade or pg_dump, or set DATA_DIR to another folder."
    )


def test_a_cluster_that_does_not_start_is_reported_in_the_words_of_the_server(tmp_path):
    assert answer(client(tmp_path / "postgresql")) == "42\n"
    (tmp_path / "postgresql" / "data" / "global" / "pg_control").unlink()
    code, out, error = manage(*QUESTION, DATA_DIR=tmp_path)
    log = tmp_path / "postgresql" / "server.log"
    assert (code, out) == (1, "")
    assert error == (
        'manage.py: The database server does not start: could not open file "data/global/pg_control" for reading: No such file or'
        f" directory; its log is {log}.\n"
    )


KILLED = """
import os, signal
from pathlib import Path
from django.conf import settings
from django.db import connection
from billing.models import Party
connection.ensure_connection()
pid = (Path(settings.DATABASES["default"]["EMBEDDED_IN"]) / "data" / "postmaster.pid").read_text().split()[0]
os.kill({who}, signal.SIGKILL)
while True:
    connection.cursor().execute("SELECT pg_sleep(0.01)")
"""


@pytest.mark.parametrize("who", ["int(pid)", "connection.connection.info.backend_pid"])
def test_a_server_killed_in_the_middle_of_a_command_is_one_sentence(tmp_path, who):
    code, out, error = manage("shell", "--no-imports", "-c", KILLED.format(who=who), DATA_DIR=tmp_path)
    assert (code, out) == (1, "")
    assert re.fullmatch(
        r"manage\.py: The database server ended in the middle of the work: run the command again \(.+\)\.",
        error.splitlines()[0],
    )
    assert "Traceback" not in error


def test_a_database_that_is_not_migrated_is_one_sentence(tmp_path):
    export = ("export_invoices", "--period", "2020-05", "--format", "json")
    assert manage(*export, DATA_DIR=tmp_path) == refused(
        "The database is not migrated: run `manage.py migrate`, then the command again (relation"
        ' "billing_billingperiod" does not exist).'
    )


def test_a_query_that_is_wrong_in_itself_is_not_taken_for_a_missing_migration(tmp_path):
    assert manage("migrate", "--verbosity", "0", DATA_DIR=tmp_path)[0] == 0
    wrong = "from django.db import connection; connection.cursor().execute('SELECT FROM nowhere')"
    code, _, error = manage("shell", "--no-imports", "-c", wrong, DATA_DIR=tmp_path)
    assert code == 1
    assert 'ProgrammingError: relation "nowhere" does not exist' in error


def test_dbshell_is_the_embedded_servers(tmp_path):
    query = ("dbshell", "--", "--tuples-only", "--no-align", "--command", "SELECT current_database()")
    assert manage(*query, DATA_DIR=tmp_path) == (0, "suanli\n", "")


@contextlib.contextmanager
def disk(folder: Path, kind: str, *options: str):
    folder.mkdir()
    subprocess.run(["mount", "-t", kind, *options, kind, folder], check=True)
    try:
        yield folder
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.kill(postmaster(folder / "postgresql"), 9)
        subprocess.run(["umount", "--lazy", folder], check=True)


def full(folder):
    return refused(f"The disk of the database folder {folder}/postgresql is full: free some space, or move DATA_DIR.")


@needs_root
def test_a_disk_too_small_for_a_new_cluster_is_named(tmp_path):
    with disk(tmp_path / "disk", "tmpfs", "-o", "size=20m") as folder:
        assert manage(*QUESTION, DATA_DIR=folder) == full(folder)


@needs_root
def test_a_disk_that_is_full_when_the_server_starts_is_named(tmp_path):
    with disk(tmp_path / "disk", "tmpfs", "-o", "size=80m") as folder:
        assert answer(client(folder / "postgresql")) == "42\n"
        with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(2**16))
        assert manage(*QUESTION, DATA_DIR=folder, SECRET_KEY="x" * 50) == full(folder)
        assert manage(*QUESTION, DATA_DIR=folder) == refused(
            f"DATA_DIR='{folder}' can't be used (No space left on device: {folder}/secret_key): free some space, or set DATA_DIR to a"
            " folder that you can write."
        )
        (folder / "ballast").unlink()
        assert answer(client(folder / "postgresql")) == "42\n"


@needs_root
@pytest.mark.parametrize("what", ["table", "log"])
def test_a_disk_that_fills_while_the_server_runs_is_named_and_work_goes_on_when_there_is_room(tmp_path, what):
    fill = {
        "table": "CREATE UNLOGGED TABLE big AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 300000) n",
        "log": "CREATE TABLE big AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 300000) n",
    }[what]
    with disk(tmp_path / "disk", "tmpfs", "-o", "size=100m") as folder:
        said = answer(client(folder / "postgresql", f"connection.cursor().execute({fill!r})"))
        error = said.splitlines()[-1]
        assert error.startswith(
            "marketplace.postgresql.server.DiskFullError: The disk of the database is full: free some space there ("
        )
        subprocess.run(["mount", "-o", "remount,size=4000m", folder], check=True)
        assert answer(client(folder / "postgresql", f"connection.cursor().execute({fill!r})")) == "42\n"


@needs_root
def test_a_closed_folder_on_a_file_system_without_acls_is_named(tmp_path):
    with disk(tmp_path / "disk", "ramfs") as folder:
        (folder / "closed").mkdir(mode=0o700)
        assert manage(*QUESTION, DATA_DIR=folder / "closed" / "data") == refused(
            f"The folder {folder}/closed is closed to the user who runs the database server for root, and its file system has no"
            f" ACLs: set DATA_DIR to a folder outside it, or run `chmod o+x {folder}/closed`."
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_the_user_may_not_write_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert manage(*QUESTION, DATA_DIR=closed / "data") == refused(
        f"DATA_DIR='{closed}/data' can't be used (Permission denied: {closed}/data): run as its owner, or set DATA_DIR to a folder"
        " that you can write."
    )


@needs_root
def test_a_data_folder_of_somebody_else_is_named(tmp_path):
    assert answer(client(tmp_path / "postgresql")) == "42\n"
    said = answer(client(tmp_path / "postgresql", "", 65534))
    assert said.splitlines()[-1] == (
        f"marketplace.postgresql.server.FolderError: The database folder {tmp_path}/postgresql can't be used by the user nobody"
        f" (Permission denied: {tmp_path}/postgresql): run as its owner, or set DATA_DIR to a folder that you can write."
    )
