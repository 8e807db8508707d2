"""The digest of readings: its text byte for byte, what it refuses, and that sha256sum makes it again."""

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta, timezone

import pytest

from billing import digests
from billing.integrity import NaiveInstantError
from marketplace.metering import gpu_meter
from tests.billing import world

AT = datetime(2020, 4, 30, 16, tzinfo=UTC)
ROWS = [
    ("C-1", "gpu_hours", AT, 7200),
    ("C-1", "gpu_hours", AT + timedelta(minutes=15), 0),
    ("C-1", "watt_hours", AT, 12),
    ("C-10", "gpu_hours", AT - timedelta(days=1), 10**12),
]
TEXT = (
    b"C-1,gpu_hours,2020-04-30T16:00:00Z,7200\n"
    b"C-1,gpu_hours,2020-04-30T16:15:00Z,0\n"
    b"C-1,watt_hours,2020-04-30T16:00:00Z,12\n"
    b"C-10,gpu_hours,2020-04-29T16:00:00Z,1000000000000\n"
)


def test_the_digest_is_of_the_canonical_text_and_sha256sum_makes_it_again(tmp_path):
    assert b"".join(digests.lines(ROWS)) == TEXT
    (tmp_path / "readings.csv").write_bytes(TEXT)
    told = subprocess.run(["sha256sum", tmp_path / "readings.csv"], capture_output=True, text=True, check=True)
    assert digests.of_readings(iter(ROWS)) == told.stdout.split()[0]


def test_of_no_readings_it_is_the_digest_of_nothing():
    assert digests.of_readings([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_an_instant_is_the_same_in_every_zone_and_each_part_of_a_row_counts():
    shanghai = timezone(timedelta(hours=8))
    moved = [(contract, meter, at.astimezone(shanghai), quantity) for contract, meter, at, quantity in ROWS]
    assert digests.of_readings(moved) == digests.of_readings(ROWS)
    row = ROWS[0]
    changed = [("C-2", *row[1:]), (row[0], "x", *row[2:]), (*row[:2], AT + timedelta(minutes=15), 7200), (*row[:3], 1)]
    assert len({digests.of_readings([each]) for each in (row, *changed)}) == 5


@pytest.mark.parametrize("rows", [[ROWS[1], ROWS[0]], [ROWS[0], ROWS[0]], [ROWS[3], ROWS[0]], [ROWS[2], ROWS[1]]])
def test_readings_out_of_order_or_twice_are_refused(rows):
    with pytest.raises(digests.NotInOrderError, match="ascending order of contract, meter and start"):
        digests.of_readings(rows)


def test_an_instant_without_its_zone_is_refused():
    with pytest.raises(NaiveInstantError):
        digests.of_readings([("C-1", "gpu_hours", datetime(2020, 5, 1), 1)])  # noqa: DTZ001  - that is the point


@pytest.mark.django_db
def test_a_contracts_readings_of_a_span_come_in_order_in_one_query(django_assert_num_queries):
    tariff = world.publish().tariff
    account = world.account(world.issuer(), "sun")
    contract, other = (world.contract(account, tariff, number=number) for number in ("C-1", "C-2"))
    world.read(contract, 100, 200, 300, start_at=AT)
    world.read(other, 999, start_at=AT)
    meter, span = gpu_meter(), {"start_at": AT, "end_at": AT + timedelta(minutes=30)}
    with django_assert_num_queries(1):
        rows = list(digests.readings(contract=contract, meter=meter, **span))
    text = b"C-1,gpu_hours,2020-04-30T16:00:00Z,100\nC-1,gpu_hours,2020-04-30T16:15:00Z,200\n"
    assert digests.of_readings(rows) == hashlib.sha256(text).hexdigest()
