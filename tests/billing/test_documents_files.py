import os

import pytest

from billing.documents.files import SameNumberError, file_name, replacing, write_invoices
from billing.documents.fonts import GlyphMissingError
from billing.documents.invoice import render_invoice
from tests.billing.documents_sample import sample

SNAPSHOTS = [sample(number=f"LG-2020-{n:06}", scale=0) for n in range(1, 36)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_invoice_is_written_in_each_language(tmp_path):
    written = write_invoices(snapshots=SNAPSHOTS[:2], folder=tmp_path / "new" / "folder")
    assert written == 4
    assert contents(tmp_path / "new" / "folder") == {
        f"LG-2020-00000{n}.{language}.pdf": render_invoice(snapshot=SNAPSHOTS[n - 1], language=language)
        for n in (1, 2)
        for language in ("zh-hans", "en")
    }


def test_several_processes_write_the_same_files_and_report_each_one(tmp_path):
    seen = []
    assert (
        write_invoices(snapshots=iter(SNAPSHOTS), folder=tmp_path / "one", languages=["en"], progress=seen.append) == 35
    )
    assert seen == [1] * 35
    seen.clear()
    written = write_invoices(
        snapshots=iter(SNAPSHOTS), folder=tmp_path / "two", languages=["en"], processes=2, progress=seen.append
    )
    assert written == sum(seen) == 35
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 35


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_run_writes_only_what_is_not_there_as_it_should_be(tmp_path, processes):
    write_invoices(snapshots=SNAPSHOTS[:2], folder=tmp_path)
    before = contents(tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "LG-2020-000001.en.pdf").write_bytes(b"%PDF-half of i")
    (tmp_path / "LG-2020-000002.en.pdf").unlink()
    seen = []
    again = {"snapshots": SNAPSHOTS[:2], "folder": tmp_path, "processes": processes}
    assert write_invoices(**again, progress=seen.append) == 2
    assert sum(seen) == 4
    assert contents(tmp_path) == before
    left = {path.name for path in tmp_path.iterdir() if path.stat().st_mtime_ns == times[path.name]}
    assert left == {"LG-2020-000001.zh-hans.pdf", "LG-2020-000002.zh-hans.pdf"}
    assert write_invoices(**again) == 0


def test_a_refused_invoice_in_another_process_is_the_callers_error(tmp_path):
    with pytest.raises(GlyphMissingError) as caught:
        write_invoices(snapshots=[sample(buyer={"name": "🚀"})], folder=tmp_path, processes=2)
    assert caught.value.field == "buyer.name"
    assert contents(tmp_path) == {}


def test_two_invoices_of_one_number_are_refused(tmp_path):
    with pytest.raises(
        SameNumberError, match=r"^two invoices have the number LG-2020-000001: expected those of one issuer$"
    ):
        write_invoices(snapshots=[SNAPSHOTS[0]] * 2, folder=tmp_path, languages=["en"])


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("LG-2020-000001", "LG-2020-000001.en.pdf"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd.en.pdf"),
        ("临港 1", "%E4%B8%B4%E6%B8%AF%201.en.pdf"),
    ],
)
def test_a_number_never_leaves_its_folder(number, name):
    assert file_name(number=number, language="en") == name


def half_a_file(path):
    with replacing(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"old"
        raise RuntimeError("disk")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="disk"):
        half_a_file(path)
    assert contents(tmp_path) == {"a.pdf": b"old"}
    with replacing(path) as file:
        file.write(b"new")
    assert contents(tmp_path) == {"a.pdf": b"new"}


def test_a_file_has_the_access_rights_that_the_user_asked_for(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as file:
            file.write(b"a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
