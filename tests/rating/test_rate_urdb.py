"""manage.py rate_urdb, and the agreement with NREL's SAM that it shows."""

import gzip
import json
import re
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

ROWS = [[0] * 24] * 12
RATE = {
    "energyratestructure": [[{"rate": 0.1}]],
    "energyweekdayschedule": ROWS,
    "energyweekendschedule": ROWS,
    "fixedchargefirstmeter": 5,
    "fixedchargeunits": "$/month",
}


def run(path):
    out = StringIO()
    call_command("rate_urdb", str(path), stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def write(path, *, rate=RATE, loads=None, **fields):
    case = {"name": "one", "rate": rate, "load_kwh": [0.001] * 8760 if loads is None else loads}
    path.write_text(json.dumps({"year": 2018, "timezone": "UTC", "cases": [case], **fields}))
    return path


@pytest.mark.shared
def test_480_of_480_monthly_bills_of_sam_agree_to_a_millionth(shared):
    path = shared / "oracle" / "sam-bills.json.gz"
    cases = json.loads(gzip.decompress(path.read_bytes()), parse_float=Decimal)["cases"]
    results = run(path)
    assert [result["name"] for result in results] == [case["name"] for case in cases]
    pairs = [
        (Decimal(total), bill)
        for result, case in zip(results, cases, strict=True)
        for total, bill in zip(result["monthly_totals"], case["monthly_bills"], strict=True)
    ]
    assert len(pairs) == 480
    assert [pair for pair in pairs if abs(pair[0] - pair[1]) > Decimal("0.000001")] == []
    assert max(abs(total - bill) for total, bill in pairs) == 0  # as ../shared/oracle/README.md says


def test_a_case_without_expected_bills_gives_twelve_decimals_with_twelve_places(tmp_path):
    # January: 744 hours x 1 Wh = 0.744 kWh x 0.1 = 0.0744, and 5 a month
    (result,) = run(write(tmp_path / "one.json"))
    # likewise 672 hours -> 5.0672 and 720 hours -> 5.0720
    days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    totals = {31: "5.074400000000", 28: "5.067200000000", 30: "5.072000000000"}
    assert result == {"name": "one", "monthly_totals": [totals[number] for number in days]}
    (tmp_path / "one.gz").write_bytes(gzip.compress((tmp_path / "one.json").read_bytes()))
    assert run(tmp_path / "one.gz") == [result]


def bad_files(folder):
    loads = [0] * 8760
    yield folder / "none.json", "cannot be read: .*No such file"
    (folder / "text.json").write_text("{")
    yield folder / "text.json", "is not JSON: Expecting property name"
    (folder / "nan.json").write_text('{"cases": [NaN]}')
    yield folder / "nan.json", "is not JSON: NaN is no number"
    (folder / "cut.gz").write_bytes(gzip.compress(b"{}")[:-9])
    yield folder / "cut.gz", "cannot be read: Compressed file ended"
    (folder / "list.json").write_text("[]")
    yield folder / "list.json", "has no list of cases: expected an object with cases"
    (folder / "name.json").write_text('{"cases": [{}]}')
    yield folder / "name.json", r"cases\[0\] has no name: expected"
    (folder / "rate.json").write_text('{"cases": [{"name": "x", "rate": []}]}')
    yield folder / "rate.json", "case x: rate is list: expected an object"
    yield write(folder / "year.json", year=2019), "year is 2019: expected 2018"
    yield write(folder / "zone.json", timezone="CET"), "timezone is 'CET': expected UTC"
    yield write(folder / "short.json", loads=[1]), "case one: load_kwh is 1 values: expected 8760"
    yield write(folder / "third.json", loads=[0.0001, *loads[1:]]), r"load_kwh\[0\] is 0.0001: expected whole watt-h"
    yield write(folder / "minus.json", loads=[*loads[1:], -1]), r"load_kwh\[8759\] is -1: expected whole watt-hours"
    yield write(folder / "true.json", loads=[True, *loads[1:]]), r"load_kwh\[0\] is True: expected whole watt-hours"
    yield write(folder / "huge.json", loads=[1e300, *loads[1:]]), r"load_kwh\[0\] is 1E\+300: expected whole watt-h"
    fine = (folder / "true.json").read_text().replace("true", "0.001" + "0" * 70 + "1")
    (folder / "fine.json").write_text(fine)
    yield folder / "fine.json", r"load_kwh\[0\] is 0.0010+1: expected whole watt-hours, at least 0 and at most 1000000"
    yield write(folder / "sell.json", rate=RATE | {"annualmincharge": 3}), "case one: annualmincharge is 3: expected"
    falling = [[{"max": 5, "rate": 1}, {"max": 4, "rate": 1}, {"rate": 1}]]
    yield (
        write(folder / "fall.json", rate=RATE | {"energyratestructure": falling}),
        r"case one: charges\[0\].prices.e0\[1\].up_to is '4': expected an edge above the tier before it, 5",
    )


def test_a_bad_file_is_refused_in_one_sentence_that_names_the_field(tmp_path):
    for path, message in bad_files(tmp_path):
        with pytest.raises(CommandError) as raised:
            run(path)
        assert re.search(message, str(raised.value)), (message, str(raised.value))
        assert "\n" not in str(raised.value)
        assert raised.value.returncode == 1
