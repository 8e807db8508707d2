"""manage.py export_invoices and render_invoices, as processes of their own."""

import json
import os
import subprocess

import pytest
from django.core.management import call_command

from billing.documents.invoice import render_invoice
from billing.exports.invoices import issued
from tests.billing import world


@pytest.fixture
def may(fresh_database):
    operator = world.issuer()
    world.buyers(operator, world.publish().tariff, 3)
    world.close(world.may(operator))
    return fresh_database


def last_line(process):
    return process.stderr.strip().splitlines()[-1]


def test_json_and_csv_go_to_standard_output_and_the_same_to_a_file(may, tmp_path):
    for form in ("json", "csv"):
        printed = may.manage("export_invoices", "--period", "2020-05", "--format", form, text=False)
        assert (printed.returncode, printed.stderr) == (0, b"")
        path = tmp_path / f"may.{form}"
        path.write_bytes(b"old")
        saved = may.manage("export_invoices", "--period", "2020-05", "--format", form, "--output", path)
        assert (saved.returncode, saved.stdout, saved.stderr) == (0, "", f"3 invoices in {path}\n")
        assert path.read_bytes() == printed.stdout
        assert [file.name for file in tmp_path.iterdir() if file.suffix == f".{form}" or "tmp" in file.suffix] == [
            path.name
        ]
    assert printed.stdout.startswith(b"\xef\xbb\xbf")


def test_standard_output_is_utf8_whatever_the_locale(may):
    environment = may.environment | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    printed = may.manage("export_invoices", "--period", "2020-05", "--format", "csv", text=False, env=environment)
    assert printed.returncode == 0
    assert "公司100" in printed.stdout.decode("utf-8-sig")


def test_xlsx_needs_a_file(may, tmp_path):
    refused = may.manage("export_invoices", "--period", "2020-05", "--format", "xlsx")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "CommandError: xlsx is written to a file: add --output FILE.\n"
    saved = may.manage("export_invoices", "--period", "2020-05", "--format", "xlsx", "--output", tmp_path / "may.xlsx")
    assert saved.returncode == 0
    assert (tmp_path / "may.xlsx").read_bytes()[:2] == b"PK"


def test_what_is_wrong_is_said_in_one_sentence(may, tmp_path):
    unknown = may.manage(
        "export_invoices", "--period", "2020-06", "--format", "json", "--output", tmp_path / "june.json"
    )
    assert (unknown.returncode, unknown.stdout, unknown.stderr) == (
        1,
        "",
        "CommandError: there is no billing period '2020-06': expected one that was opened, as 2020-05.\n",
    )
    nowhere = may.manage("export_invoices", "--period", "2020-05", "--format", "json", "--output", tmp_path / "a" / "b")
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        f"CommandError: {tmp_path}/a/b can't be written: No such file or directory.\n",
    )
    assert list(tmp_path.iterdir()) == []
    other = may.manage("render_invoices", "--period", "2020-05", "--issuer", "bj", "--output", tmp_path / "pdf")
    assert (other.returncode, last_line(other)) == (
        1,
        "CommandError: there is no billing period '2020-05' of issuer 'bj': expected one that was opened, as 2020-05.",
    )


def test_a_reader_that_has_had_enough_leaves_no_message(may):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        stopped = may.manage(
            "export_invoices",
            "--period",
            "2020-05",
            "--format",
            "csv",
            capture_output=False,
            stdout=writing,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writing)
    assert (stopped.returncode, stopped.stderr) == (141, "")


def test_an_open_period_without_invoices_gives_an_empty_list(fresh_database):
    world.may(world.issuer())
    printed = fresh_database.manage("export_invoices", "--period", "2020-05", "--format", "json")
    assert (printed.returncode, printed.stdout, printed.stderr) == (0, "[]\n", "")


def test_render_writes_every_invoice_in_every_language_from_its_stored_snapshot(may, tmp_path):
    folder = tmp_path / "pdf"
    for _ in range(2):
        done = may.manage("render_invoices", "--period", "2020-05", "--output", folder)
        assert (done.returncode, last_line(done)) == (0, f"6 documents in {folder}")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            f"{json.loads(snapshot)['number']}.{language}.pdf": render_invoice(snapshot=snapshot, language=language)
            for snapshot in issued(period_code="2020-05")
            for language in ("zh-hans", "en")
        }


def test_render_writes_one_language_if_told_so(may, tmp_path, capsys):
    call_command("render_invoices", "--period", "2020-05", "--output", str(tmp_path), "--language", "en")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"LG-2020-00000{n}.en.pdf" for n in (1, 2, 3)]


def test_a_name_that_cannot_be_printed_is_named_by_the_command(fresh_database, tmp_path):
    operator = world.issuer()
    buyer = world.party(100, "星河🚀")
    assert buyer.legal_name == "星河🚀"
    world.buyers(operator, world.publish().tariff, 0)
    world.contract(
        world.parties.open_account(issuer=operator, code="B", party=buyer, at=world.MAY), world.Tariff.objects.get()
    )
    world.close(world.may(operator))
    refused = fresh_database.manage("render_invoices", "--period", "2020-05", "--output", tmp_path)
    assert (refused.returncode, last_line(refused)) == (
        1,
        "CommandError: buyer.name is '星河🚀': the font Noto Sans SC has no U+1F680 (ROCKET); expected only characters that it has.",
    )
