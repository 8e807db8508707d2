"""manage.py demo as its users run it: in a process of its own, from an empty database to issued invoices."""

import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from billing import parties
from billing.rating.period import Period
from marketplace.demo_plan import credit_code
from tests.billing.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
TRACE = "helios-earth-2020-05.csv.gz"
PER_TENANT = {  # GPU-minutes, from the data's own README
    "vc3sl": 1792147,
    "vc6YE": 8381023,
    "vc8Sj": 1068172,
    "vcJLV": 515524,
    "vcJkd": 6068,
    "vcLJZ": 2491116,
    "vcMod": 1464715,
    "vcSoL": 680000,
    "vcTJs": 1563839,
    "vccaA": 639049,
    "vcdI0": 199192,
    "vcgkz": 324928,
    "vchbv": 1174384,
    "vcira": 22490,
    "vcpDC": 2275852,
    "vcvlY": 2887858,
}


@dataclass
class Installation:
    """Where commands run: an environment, and the folder it keeps files in."""

    data: Path
    environment: dict[str, str]

    def command(self, *arguments):
        return [sys.executable, str(ROOT / "manage.py"), *map(str, arguments)]

    def manage(self, *arguments):
        return subprocess.run(
            self.command(*arguments), check=False, capture_output=True, text=True, env=self.environment, cwd=ROOT
        )

    def demo(self, *arguments):
        done = self.manage("demo", "--no-serve", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def export(self, period):
        done = self.manage("export_invoices", "--period", period, "--format", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def documents(self, period):
        """The SHA-256 of each PDF. A PDF has the same bytes for the same snapshot."""
        folder = self.data / "documents" / period
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@contextmanager
def installation():
    """A data folder of its own, with an embedded database of its own."""
    with tempfile.TemporaryDirectory(prefix="suanli-test-") as folder:
        data = Path(folder) / "data"
        outside = {"DATABASE_URL", "SECRET_KEY", "PUBLIC_URL", "DEMO", "DJANGO_SETTINGS_MODULE"}
        environment = {name: value for name, value in os.environ.items() if name not in outside}
        yield Installation(data, environment | {"DATA_DIR": str(data)})


@pytest.fixture(scope="module")
def finished():
    """The demo of the default seed, made without interruption."""
    with installation() as place:
        place.said = place.demo()
        yield place


@pytest.fixture(scope="module")
def expected(finished):
    return finished.export("2026-10"), finished.documents("2026-10")


HEADER = "time,vc,total_gpu_num,running_gpu_num\n"


def quantity(invoices, charge):
    return sum(line["quantity_base"] for invoice in invoices for line in invoice["lines"] if line["charge"] == charge)


def test_an_empty_database_becomes_a_zone_with_twelve_invoices(finished, expected):
    invoices, documents = expected
    assert [invoice["number"] for invoice in invoices] == [f"LG-2026-{number:06d}" for number in range(1, 13)]
    assert [invoice["account"] for invoice in invoices] == sorted(invoice["account"] for invoice in invoices)
    assert quantity(invoices, "EN") == 485953500
    assert sum(invoice["net_minor"] for invoice in invoices) == 112578963
    assert sum(invoice["tax_minor"] for invoice in invoices) == 6754737
    assert sum(invoice["gross_minor"] for invoice in invoices) == 119333700
    assert list(documents) == sorted(
        f"LG-2026-{n:06d}.{language}.pdf" for n in range(1, 13) for language in ("en", "zh-hans")
    )


def test_the_summary_has_a_line_for_each_invoice_and_says_where_the_files_are(finished):
    lines = finished.said.splitlines()
    assert re.fullmatch(r"The month 2026-10, of seed 2026, is ready after \d+ s\.", lines[0])
    assert lines[2].split() == ["number", "account", "buyer", "GPU-hours", "net", "VAT", "gross"]
    assert lines[3].split()[:2] == ["LG-2026-000001", "cangming"]
    assert lines[3].split()[-4:] == ["10,200.42", "79,877.15", "4,792.63", "84,669.78"]
    assert lines[15].split() == ["all,", "in", "CNY", "134,987.08", "1,125,789.63", "67,547.37", "1,193,337.00"]
    assert lines[17] == f"The invoices as PDF, in Chinese and English: {finished.data}/documents/2026-10"
    assert [line.split(maxsplit=2)[::2] for line in lines[20:]] == [
        ["buyer@demo.example", "Cangming Ship Simulation (Demo) Co., Ltd."],
        ["provider@demo.example", "SenseTime AIDC (Demo)"],
        ["staff@demo.example", "staff of the zone"],
    ]
    assert lines[18:20] == ["", "Who can sign in, with the password:"]


def test_a_second_run_says_that_all_is_there_and_changes_nothing(finished, expected):
    folder = finished.data / "documents" / "2026-10"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = finished.demo()
    assert again.startswith("The month 2026-10, of seed 2026, is all there; nothing was changed.\n")
    assert again.splitlines()[20:] == finished.said.splitlines()[20:]  # the people and their passwords
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert (finished.export("2026-10"), finished.documents("2026-10")) == expected


def test_a_document_that_is_missing_or_damaged_is_made_again(finished, expected):
    folder = finished.data / "documents" / "2026-10"
    (folder / "LG-2026-000003.en.pdf").unlink()
    (folder / "LG-2026-000004.en.pdf").write_bytes(b"%PDF-")
    assert "is ready after" in finished.demo()
    assert finished.documents("2026-10") == expected[1]


def test_other_options_on_its_data_are_refused_in_a_sentence_that_names_data_dir(finished, expected):
    refused = finished.manage("demo", "--no-serve", "--seed", "7")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"CommandError: DATA_DIR={finished.data} holds a demo of seed 2026, not a demo of seed 7: set DATA_DIR to another"
        " folder, or delete that one.\n"
    )
    assert finished.export("2026-10") == expected[0]


def test_a_trace_and_a_seed_are_refused_together(finished):
    refused = finished.manage("demo", "--no-serve", "--seed", "7", "--trace", "x.csv")
    assert refused.returncode == 2
    assert "argument --trace: not allowed with argument --seed" in refused.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read: No such file or directory"),
        ("time,vc\n", "line 1: expected the header time,vc,total_gpu_num,running_gpu_num"),
        (
            "time,vc,total_gpu_num,running_gpu_num\n2020-05-01 00:00:00,a,0,0\n",
            "reserves no GPU for anyone: expected a tenant with total_gpu_num above 0",
        ),
        (
            "time,vc,total_gpu_num,running_gpu_num\n2020-05-31 23:59:00,a,8,0\n2020-06-01 00:00:00,a,8,0\n",
            "runs from 2020-05-31 23:59 to 2020-06-01 00:01: expected the samples of one calendar month",
        ),
        (
            f"{HEADER}2020-05-01 00:00:00,a,8,0\n2020-04-30 23:59:00,b,0,0\n",
            "runs from 2020-04-30 23:59 to 2020-05-01 00:01: expected the samples of one calendar month",
        ),
        (
            f"{HEADER}1990-05-01 00:00:00,a,8,0\n",
            (
                "begins at 1990-05-01 00:00: expected a month from 2020-05 on, since the tariff LG-INCLUSIVE-2020 is not in effect"
                " before"
            ),
        ),
        (f"{HEADER}2020-05-01 00:00:00, a,8,0\n", "line 2, column vc: ' a': expected no spaces around it"),
        (
            f"{HEADER}2020-05-01 00:00:00,a,8,0\n2020-05-01 00:00:00,a,8,0\n",
            "tenant 'a' has two samples that hold 2020-05-01 00:00:00: expected one sample for each time, of 60 seconds",
        ),
        (
            f"{HEADER}2020-05-01 00:07:00,a,8,0\n",
            (
                "tenant 'a': 8 GPUs are reserved (total_gpu_num) from 2020-05-01 00:07:00 to 2020-05-01 00:08:00: expected that to"
                " begin and end at a quarter of an hour"
            ),
        ),
        (
            HEADER + "".join(f"2020-05-01 00:{minute:02}:00,吉野家𠮷,8,0\n" for minute in range(15)),
            (
                "tenant '吉野家𠮷': 𠮷 (U+20BB7) can't be printed on an invoice: expected a name of Chinese, Latin or other"
                " characters that the documents' font has"
            ),
        ),
    ],
)
def test_a_trace_that_is_none_is_refused_in_one_sentence_before_there_is_a_database(tmp_path, content, sentence):
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_text(content)
    with installation() as place:
        refused = place.manage("demo", "--no-serve", "--trace", path)
        assert [file.name for file in place.data.iterdir()] == ["secret_key"]
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith(f"CommandError: {path}")
    assert sentence in refused.stderr


# On a database of DATABASE_URL


@pytest.fixture
def on_server(fresh_database, tmp_path):
    return Installation(tmp_path, fresh_database.environment | {"DATA_DIR": str(tmp_path)})


# After which line of the run it is killed, and how long after it at most. A quick machine may end before the last ones.
KILLS = [
    ("", 0.6),
    ("Database", 0.3),
    ("Buyers", 0.5),
    ("Buyers", 1.0),
    ("Usage", 0.1),
    ("Usage", 0.3),
    ("Invoices", 0.5),
]


def killed_after(run, line, seconds):
    """Whether the run was killed, `seconds` after it had said `line`; else it had ended before."""
    while line:
        said = run.stdout.readline()
        if not said:
            return False
        if said.startswith(line):
            break
    time.sleep(seconds)
    run.kill()
    return run.wait() == -signal.SIGKILL


def test_killed_anywhere_and_run_again_it_gives_the_same_numbers_and_documents(fresh_database, on_server, expected):
    chance = random.Random(7)
    killed = 0
    for line, seconds in KILLS:
        with fresh_database.start("demo", "--no-serve", env=on_server.environment) as run:
            killed += killed_after(run, line, chance.uniform(0, seconds))
    assert killed >= 4
    on_server.demo()
    assert (on_server.export("2026-10"), on_server.documents("2026-10")) == expected
    balance = on_server.manage("shell", "-c", SUM_OF_POSTINGS)
    assert balance.stdout.split()[-2:] == ["72", "0"]


SUM_OF_POSTINGS = """
from django.db.models import Sum
from billing.models import Posting
print(Posting.objects.count(), Posting.objects.aggregate(sum=Sum("amount_minor"))["sum"])
"""


def empty_database():
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE")
        cursor.execute("CREATE SCHEMA public")


def test_two_runs_at_once_on_an_empty_database_make_one_demo(fresh_database, on_server, expected):
    empty_database()
    with fresh_database.start("demo", "--no-serve", env=on_server.environment) as first:
        on_server.demo()
        said, _ = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 0, said
    assert (on_server.export("2026-10"), on_server.documents("2026-10")) == expected


def test_a_database_with_rows_that_no_demo_made_is_refused(fresh_database, on_server):
    parties.register(legal_name="真实企业", credit_code=credit_code("DEM", 999), at=Period.month(2026, 1, "UTC").start)
    refused = on_server.manage("demo", "--no-serve")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "CommandError: The database of DATABASE_URL holds rows in billing_party that no demo made, not a demo of seed 2026:"
        " name an empty one, or unset DATABASE_URL and set DATA_DIR.\n"
    )


def test_a_database_of_another_program_is_refused_untouched(fresh_database, on_server):
    empty_database()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE wp_posts (id integer)")
    refused = on_server.manage("demo", "--no-serve")
    assert refused.stderr == (
        "CommandError: The database of DATABASE_URL holds tables of another program, such as wp_posts, not a demo of seed 2026:"
        " name an empty one, or unset DATABASE_URL and set DATA_DIR.\n"
    )
    assert connection.introspection.table_names() == ["wp_posts"]


# The real month


@pytest.mark.shared
def test_the_real_month_gives_sixteen_invoices_and_each_tenants_gpu_minutes(on_server, shared):
    on_server.demo("--trace", shared / "data" / TRACE)
    invoices = on_server.export("2020-05")
    assert [invoice["account"] for invoice in invoices] == sorted(PER_TENANT)
    assert {invoice["account"]: quantity([invoice], "EN") for invoice in invoices} == {
        tenant: minutes * 60 for tenant, minutes in PER_TENANT.items()
    }
    assert quantity(invoices, "EN") == 25486357 * 60
    assert [invoice["number"] for invoice in invoices] == [f"LG-2020-{number:06d}" for number in range(1, 17)]
    assert sum(invoice["net_minor"] for invoice in invoices) == 272008221
    assert sum(invoice["gross_minor"] for invoice in invoices) == 288328713
    assert len(on_server.documents("2020-05")) == 32


# Serving


def test_a_port_that_is_taken_is_named_before_anything_is_done(finished):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = finished.manage("demo", "--port", port)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"CommandError: Port {port} of this machine is taken: name another with --port.\n"


def get(address, language="zh-CN"):
    with urlopen(Request(address, headers={"Accept-Language": language}), timeout=PATIENCE_SECONDS) as answer:
        return answer.read(), answer.headers


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_page_documents_and_exports_until_it_is_stopped(finished, expected, stop):
    with subprocess.Popen(
        finished.command("demo", "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=finished.environment | {"PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
    ) as run:
        try:
            for line in run.stdout:
                if found := re.fullmatch(r"(http://127\.0\.0\.1:\d+)/ shows it\. Ctrl-C stops\.\n", line):
                    break
            address = found[1]
            chinese, english = get(address)[0].decode(), get(address, "en")[0].decode()
            pdf, headers = get(f"{address}/demo/invoices/LG-2026-000001.pdf", "en")
            table = json.loads(get(f"{address}/demo/exports/2026-10.json")[0])
        finally:
            run.send_signal(stop)
            rest, complaints = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, rest) == (0, "\nStopped.\n")
    assert "Traceback" not in complaints
    assert not (finished.data / "postgresql" / "data" / "postmaster.pid").exists()
    assert '<h2 id="invoices-heading">临港，2026-10</h2>' in chinese
    assert "<code>buyer@demo.example</code>" in chinese
    assert 'href="/sign-in/"' in chinese
    assert "沧溟船舶仿真（演示）有限公司" in chinese
    assert '<h2 id="invoices-heading">Lin-gang, 2026-10</h2>' in english
    assert "Cangming Ship Simulation (Demo) Co., Ltd." in english
    assert hashlib.sha256(pdf).hexdigest() == expected[1]["LG-2026-000001.en.pdf"]
    assert headers["Content-Disposition"] == 'inline; filename="LG-2026-000001.en.pdf"'
    assert table == expected[0]
