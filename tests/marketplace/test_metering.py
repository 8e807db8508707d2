"""Traces, from the file to readings."""

import gzip
import os
import time
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from billing.models import Contract, Meter, Reading, UsageEvent
from billing.usage import profile
from marketplace import metering
from marketplace.metering import Span, Tenant, TraceError, gpu_meter, load_trace, read_helios
from tests.billing.usage_world import NOW, START, at, world
from tests.billing.waiting import is_alone, wait_for

HEADER = "time,vc,total_gpu_num,running_gpu_num\n"
COUNTS = {"counted": 0, "duplicate": 0, "conflict": 0, "unmatched": 0, "rejected": 0}
# What the data's README says: reserved GPUs, GPU-minutes, peak.
EARTH = {
    "vc3sl": (64, 1_792_147, 64),
    "vc6YE": (208, 8_381_023, 208),
    "vc8Sj": (48, 1_068_172, 48),
    "vcJLV": (16, 515_524, 16),
    "vcJkd": (16, 6_068, 3),
    "vcLJZ": (64, 2_491_116, 64),
    "vcMod": (64, 1_464_715, 64),
    "vcSoL": (32, 680_000, 32),
    "vcTJs": (48, 1_563_839, 48),
    "vccaA": (32, 639_049, 32),
    "vcdI0": (16, 199_192, 16),
    "vcgkz": (8, 324_928, 8),
    "vchbv": (64, 1_174_384, 64),
    "vcira": (24, 22_490, 16),
    "vcpDC": (56, 2_275_852, 56),
    "vcvlY": (96, 2_887_858, 96),
}


def row(minute, tenant="a", reserved=8, running=5):
    return f"{datetime(2020, 5, 1) + timedelta(minutes=minute)},{tenant},{reserved},{running}\n"  # noqa: DTZ001


def written(tmp_path, *rows, header=HEADER, name="trace.csv.gz"):
    path = tmp_path / name
    content = (header + "".join(rows)).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.fixture
def house(db):
    made = world()
    Meter.objects.all().delete()
    for tenant in "ab":
        made.contract(f"C-{tenant}")
    return made


def load(house, path, **options):
    return load_trace(path=path, provider=house.provider, at=NOW, writers=1, **options)


def used():
    return {
        (number, start): quantity
        for number, start, quantity in Reading.objects.values_list("contract__number", "start_at", "quantity")
    }


def test_the_gpu_meter_is_made_once_and_counts_gpu_seconds(db):
    made = gpu_meter()
    assert (made.code, made.event_type, made.kind, made.aggregation) == ("gpu_hours", "gpu.sample", "gauge", "sum")
    assert (made.base_unit, made.unit, made.demand_unit, made.base_per_unit) == ("gpu_second", "gpu_hour", "gpu", 3600)
    assert gpu_meter() == made


@pytest.mark.parametrize("name", ["trace.csv.gz", "trace.csv", "month"])
def test_rows_become_samples_of_60_seconds_of_the_tenants_contracts(house, tmp_path, name):
    path = written(tmp_path, row(0, "a"), row(0, "b", 16, 0), row(14, "a", 8, 7), row(15, "a", 8, 1), name=name)
    loaded = load(house, path)
    assert (loaded.samples, loaded.counts, loaded.problems) == (4, COUNTS | {"counted": 4}, [])
    assert used() == {("C-a", at(0)): 12 * 60, ("C-a", at(15)): 60, ("C-b", at(0)): 0}
    event = UsageEvent.objects.get(event_id="2020-05-01 00:14:00/a")
    assert (event.source.owner, event.source.name) == (house.provider, "helios")
    assert (event.time, event.duration_seconds, event.value, event.quantity) == (at(14), 60, 7, 420)


def test_contracts_can_be_named_one_by_one_and_progress_counts_what_is_stored(house, tmp_path, monkeypatch):
    monkeypatch.setattr(metering, "BATCH", 2)
    path = written(tmp_path, row(0, "x"), row(0, "y"), row(1, "x"), row(1, "z"), row(2, "x"))
    done = []
    loaded = load(house, path, contracts={"x": "C-a", "y": "C-b"}, progress=done.append)
    assert loaded.counts == COUNTS | {"counted": 4, "unmatched": 1}
    assert [(item.id, item.field, item.reason) for item in loaded.problems] == [
        ("2020-05-01 00:01:00/z", "subject", "unknown_subject")
    ]
    assert done == [2, 2, 1]
    assert used() == {("C-a", at(0)): 900, ("C-b", at(0)): 300}


def test_loading_twice_changes_nothing_and_a_changed_row_is_a_conflict(house, tmp_path):
    load(house, written(tmp_path, row(0), row(1)))
    assert load(house, written(tmp_path, row(0), row(1))).counts == COUNTS | {"duplicate": 2}
    again = load(house, written(tmp_path, row(0), row(1, running=6), row(2)))
    assert again.counts == COUNTS | {"counted": 1, "duplicate": 1, "conflict": 1}
    assert used() == {("C-a", at(0)): 900}


def test_what_is_reserved_is_read_as_spans(tmp_path):
    path = written(
        tmp_path,
        row(0, "b", 0),
        row(0, "a", 8),
        row(1, "b", 0),
        row(1, "a", 8),
        row(2, "a", 16),
        row(3, "a", 0),
        row(4, "a", 16),
        row(9, "a", 16),
    )
    spans = (Span(8, at(0), at(2)), Span(16, at(2), at(3)), Span(16, at(4), at(5)), Span(16, at(9), at(10)))
    assert read_helios(path=path) == {"a": Tenant(6, spans, at(0), at(10)), "b": Tenant(2, (), at(0), at(2))}
    assert list(read_helios(path=path)) == ["a", "b"]


def test_what_is_reserved_does_not_depend_on_the_order_of_the_rows(tmp_path):
    path = written(tmp_path, row(2, reserved=16), row(1), row(0), row(3, reserved=16))
    assert read_helios(path=path) == {"a": Tenant(4, (Span(8, at(0), at(2)), Span(16, at(2), at(4))), at(0), at(4))}


def test_a_time_that_is_in_two_samples_is_found(tmp_path):
    path = written(tmp_path, row(0), row(1), row(2), row(1, reserved=0))
    assert read_helios(path=path)["a"].twice_at == at(1)


TIME = "expected YYYY-MM-DD HH:MM:SS"
NUMBER = "expected a whole number from 0 to 999,999,999"
COLUMNS = "expected time,vc,total_gpu_num,running_gpu_num"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("2020-05-01T00:00:00,a,8,5\n", f"line 3, column time: '2020-05-01T00:00:00': {TIME}"),
        ("2020-05-32 00:00:00,a,8,5\n", f"line 3, column time: '2020-05-32 00:00:00': {TIME}"),
        ("2020-05-01 00:00:00+08:00,a,8,5\n", f"line 3, column time: '2020-05-01 00:00:00+08:00': {TIME}"),
        ("2020-05-01 00:00:00.500000,a,8,5\n", f"line 3, column time: '2020-05-01 00:00:00.500000': {TIME}"),
        ("2020-05-01,a,8,5\n", f"line 3, column time: '2020-05-01': {TIME}"),
        ("0001-01-01 00:00:00,a,8,5\n", f"line 3, column time: '0001-01-01 00:00:00': {TIME}"),
        (",a,8,5\n", f"line 3, column time: '': {TIME}"),
        (row(1, ""), "line 3, column vc: '': expected 1 to 40 printable characters"),
        (row(1, "a\tb"), "line 3, column vc: 'a\\tb': expected 1 to 40 printable characters"),
        (row(1, "a" * 41), f"line 3, column vc: '{'a' * 41}': expected 1 to 40 printable characters"),
        (row(1, " a "), "line 3, column vc: ' a ': expected no spaces around it"),
        (row(1, reserved="-8"), f"line 3, column total_gpu_num: '-8': {NUMBER}"),
        (row(1, reserved=""), f"line 3, column total_gpu_num: '': {NUMBER}"),
        (row(1, running="5.5"), f"line 3, column running_gpu_num: '5.5': {NUMBER}"),
        (row(1, running="nan"), f"line 3, column running_gpu_num: 'nan': {NUMBER}"),
        (row(1, running="５"), f"line 3, column running_gpu_num: '５': {NUMBER}"),
        (row(1, running="1000000000"), f"line 3, column running_gpu_num: '1000000000': {NUMBER}"),
        ("2020-05-01 00:01:00,a,8\n", f"line 3 has 3 columns: {COLUMNS}"),
        ("2020-05-01 00:01:00,a,8,5,6\n", f"line 3 has 5 columns: {COLUMNS}"),
        ("\n", f"line 3 has 0 columns: {COLUMNS}"),
        ('"2020\n', "is no CSV: unexpected end of data"),
    ],
)
def test_a_bad_row_is_named_and_nothing_of_its_batch_is_stored(house, tmp_path, bad, message):
    path = written(tmp_path, row(0), bad, row(2) if "CSV" not in message else "")
    for read in (lambda: load(house, path), lambda: read_helios(path=path)):
        with pytest.raises(TraceError) as raised:
            read()
        assert message in str(raised.value)
        assert str(raised.value).startswith(str(path))
    assert UsageEvent.objects.count() == 0


def test_a_file_that_is_no_trace_is_one_sentence(house, tmp_path):
    whole = written(tmp_path, *(row(minute) for minute in range(2000))).read_bytes()
    cut, empty, damaged = tmp_path / "cut.gz", tmp_path / "empty", tmp_path / "damaged.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    empty.write_bytes(b"")
    damaged.write_bytes(whole[:-8] + bytes(8))
    latin = written(tmp_path, name="latin.csv")
    latin.write_bytes(latin.read_bytes() + b"2020-05-01 00:00:00,\xe9,1,1\n")
    header = "expected the header time,vc,total_gpu_num,running_gpu_num"
    expected = {
        cut: "is cut short: expected the whole gzip file",
        empty: f"line 1: {header}",
        damaged: "is a damaged gzip file: CRC check failed",
        latin: "is no text in UTF-8: invalid continuation byte at byte 58",
        written(tmp_path, header="a,b\n", name="other.csv"): f"line 1: {header}",
        written(tmp_path, name="bare.csv"): "has no row: expected samples after the header",
        tmp_path / "missing": "can't be read: No such file or directory",
        tmp_path: "can't be read: Is a directory",
    }
    for path, message in expected.items():
        with pytest.raises(TraceError) as raised:
            read_helios(path=path)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(TraceError, match="format 'saturn': expected helios"):
        load(house, cut, format="saturn")


# The command


def command(path, *options):
    call_command("load_trace", str(path), *options)


@pytest.fixture
def inline(monkeypatch):
    """The command on the test's own connection."""
    monkeypatch.setattr(metering, "WRITERS", 1)


def test_the_command_prints_the_counts(house, tmp_path, inline, capsys):
    path = written(tmp_path, row(0, "a"), row(0, "b"))
    command(path)
    command(path)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "2 samples: counted 2, duplicate 0, conflict 0, unmatched 0, rejected 0",
        "2 samples: counted 0, duplicate 2, conflict 0, unmatched 0, rejected 0",
    ]
    assert err == ""


def test_the_command_says_what_is_not_in_order(house, tmp_path, inline, capsys):
    command(written(tmp_path, row(0, "a")))
    with pytest.raises(CommandError) as raised:
        command(written(tmp_path, row(0, "a", running=6), row(0, "c")))
    assert str(raised.value) == (
        "1 samples are kept without a contract: sign the contracts (C-TENANT) for their time, then run"
        " manage.py rematch_usage. 1 samples are not recorded.\n"
        "  2020-05-01 00:00:00/a: conflict, data.value: the event of this id has '5': expected the same, or another id\n"
        "  2020-05-01 00:00:00/c: unmatched, subject: unknown_subject"
    )
    assert capsys.readouterr().out.splitlines()[-1] == (
        "2 samples: counted 0, duplicate 0, conflict 1, unmatched 1, rejected 0"
    )


def test_samples_without_a_contract_are_matched_by_a_command_when_it_is_signed(house, tmp_path, inline, capsys):
    with pytest.raises(CommandError, match=r"then run manage\.py rematch_usage"):
        command(written(tmp_path, row(0, "a"), row(0, "c"), row(1, "c"), row(0, "d")))
    assert used() == {("C-a", at(0)): 300}
    house.contract("C-c")
    for _ in range(2):
        call_command("rematch_usage")
    assert capsys.readouterr().out.splitlines()[-2:] == ["matched 2, unmatched 1", "matched 0, unmatched 1"]
    assert used() == {("C-a", at(0)): 300, ("C-c", at(0)): 600}


def test_the_command_needs_contracts_or_a_provider(house, tmp_path, inline):
    path = written(tmp_path, row(0, "nobody"))
    with pytest.raises(CommandError, match=r"There is no contract of these tenants, such as C-nobody: sign them first"):
        command(path)
    with pytest.raises(CommandError, match=r"^All samples are kept without a contract"):
        command(path, "--provider", house.provider.credit_code)
    with pytest.raises(CommandError, match=r"--provider 1: there is no party of this credit code"):
        command(path, "--provider", "1")
    house.contract("C-other", provider=house.other_provider)
    with pytest.raises(CommandError, match="These tenants' contracts have several providers"):
        command(written(tmp_path, row(0, "a"), row(0, "other")))
    with pytest.raises(CommandError, match=r"can't be read: No such file or directory"):
        command(tmp_path / "missing")


# Kills and the real month


def rows_of(minutes, tenants):
    return [row(minute, tenant, 8, (minute + ord(tenant)) % 9) for minute in range(minutes) for tenant in tenants]


def test_a_load_killed_anywhere_and_run_again_makes_the_same_readings(fresh_database, tmp_path):
    house = world()
    for tenant in "abcd":
        house.contract(f"C-{tenant}")
    minutes = 30_000  # so that the last kill comes long before the end, also on a busy machine
    path = written(tmp_path, *rows_of(minutes, "abcd"))
    seen = []
    for target in (0, 1, 10_001, 20_001, 30_001):
        with fresh_database.start("load_trace", path, stdout=os.open(os.devnull, os.O_WRONLY)) as process:
            wait_for(lambda: process.poll() is not None or UsageEvent.objects.count() >= target)  # noqa: B023
            if target == 0:
                time.sleep(0.8)
            process.kill()
        code = process.wait()
        wait_for(is_alone)  # a batch may be stored after the process that sent it is dead
        seen.append((code, UsageEvent.objects.count()))
    assert [code for code, _ in seen] == 5 * [-9]
    assert all(count % 10_000 == 0 for _, count in seen)  # batches whole or not at all
    stored = seen[-1][1]
    finished = fresh_database.manage("load_trace", path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == (
        f"{4 * minutes} samples: counted {4 * minutes - stored}, duplicate {stored},"
        " conflict 0, unmatched 0, rejected 0\n"
    )
    assert used() == {
        (f"C-{tenant}", at(start)): 60 * sum((minute + ord(tenant)) % 9 for minute in range(start, start + 15))
        for tenant in "abcd"
        for start in range(0, minutes, 15)
    }


def test_a_failing_writer_stops_the_others_and_is_told(fresh_database, tmp_path, monkeypatch):
    house = world()
    house.contract("C-a")
    monkeypatch.setattr(metering, "BATCH", 10)
    path = written(tmp_path, *(row(minute) for minute in range(55)), "bad\n")
    with pytest.raises(TraceError, match="line 57 has 1 columns"):
        load_trace(path=path, provider=house.provider, at=NOW)
    assert UsageEvent.objects.count() == 50

    def fail(_count):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load_trace(path=written(tmp_path, row(60)), provider=house.provider, at=NOW, progress=fail)


@pytest.mark.shared
def test_the_real_month_is_exact_in_all_and_per_tenant(fresh_database, shared):
    path = shared / "data" / "helios-earth-2020-05.csv.gz"
    house = world()
    end = START + timedelta(days=31)
    tenants = read_helios(path=path)
    assert tenants == {
        tenant: Tenant(44_640, (Span(reserved, START, end),), START, end) for tenant, (reserved, _, _) in EARTH.items()
    }
    for tenant in tenants:
        house.contract(f"C-{tenant}")
    loaded = load_trace(path=path, provider=house.provider, at=NOW)
    assert (loaded.samples, loaded.counts) == (714_240, COUNTS | {"counted": 714_240})
    gpu_seconds = {}
    for tenant in tenants:
        contract = Contract.objects.get(number=f"C-{tenant}")
        made = profile(contract=contract, meter=gpu_meter(), start_at=START, end_at=end)
        assert len(made.quantities) == 2976
        gpu_seconds[tenant] = sum(made.quantities)
    assert gpu_seconds == {tenant: 60 * gpu_minutes for tenant, (_, gpu_minutes, _) in EARTH.items()}
    assert sum(gpu_seconds.values()) == 60 * 25_486_357
    assert load_trace(path=path, provider=house.provider, at=NOW).counts == COUNTS | {"duplicate": 714_240}
    assert sum(used().values()) == 60 * 25_486_357
