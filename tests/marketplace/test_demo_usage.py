"""The made-up month: the same everywhere for one seed, with a working week's shape."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing import calendars
from marketplace.demo_plan import credit_code, generated
from marketplace.demo_usage import SAMPLE_SECONDS, samples

SHANGHAI = ZoneInfo("Asia/Shanghai")
START, END = datetime(2026, 10, 1, tzinfo=SHANGHAI), datetime(2026, 11, 1, tzinfo=SHANGHAI)


def month(seed):
    """The samples of each buyer: {account code: [(local time, GPUs)]}."""
    return {
        buyer.code: list(
            samples(
                code=buyer.code,
                workload=buyer.workload,
                seed=seed,
                start=START,
                end=END,
                calendar=calendars.by_code()["CN"],
            )
        )
        for buyer in generated(seed=seed).buyers
    }


@pytest.fixture(scope="module")
def october():
    return month(2026)


def gpu_seconds(found):
    return {code: SAMPLE_SECONDS * sum(gpus for _, gpus in of_buyer) for code, of_buyer in found.items()}


def by_day(found):
    days = defaultdict(int)
    for of_buyer in found.values():
        for at, gpus in of_buyer:
            days[at.date()] += SAMPLE_SECONDS * gpus
    return days


def test_a_seed_gives_the_same_month_on_every_machine(october):
    assert gpu_seconds(october) == {
        "cangming": 36721500,
        "chenxi": 58313100,
        "gangying": 19418400,
        "haichuang": 9854100,
        "jingxing": 161637300,
        "lanmai": 12761100,
        "nongtu": 6761700,
        "qinghe": 15240300,
        "rongxin": 36973200,
        "xingji": 21495300,
        "yunguan": 34547700,
        "zhucai": 72229800,
    }


def test_another_seed_gives_another_month(october):
    other = month(2027)
    assert all(other[code] != of_buyer for code, of_buyer in october.items())


def test_there_is_a_sample_for_every_five_minutes_of_the_month(october):
    times = [START + timedelta(minutes=5) * step for step in range(31 * 288)]
    assert all([at for at, _ in of_buyer] == times for of_buyer in october.values())
    assert generated(seed=2026).samples == 12 * 31 * 288 == sum(map(len, october.values()))


def test_nobody_holds_more_than_is_reserved(october):
    reserved = {buyer.code: buyer.workload.reserved for buyer in generated(seed=2026).buyers}
    for code, of_buyer in october.items():
        assert all(isinstance(gpus, int) and 0 <= gpus <= reserved[code] for _, gpus in of_buyer)
    assert sum(max(gpus for _, gpus in of_buyer) == reserved[code] for code, of_buyer in october.items()) == 11


def test_the_national_holiday_is_quieter_than_any_other_day(october):
    days = by_day(october)
    holiday = [days[date(2026, 10, day)] for day in range(1, 8)]
    assert max(holiday) < min(days[date(2026, 10, day)] for day in range(8, 32)) // 2


def test_a_saturday_worked_for_the_holiday_is_a_working_day(october):
    office = [gpus for at, gpus in october["lanmai"] if at.date() == date(2026, 10, 10) and at.hour == 10]
    saturday = [gpus for at, gpus in october["lanmai"] if at.date() == date(2026, 10, 17) and at.hour == 10]
    assert min(office) > max(saturday)


def test_working_hours_are_busier_than_nights(october):
    hours = defaultdict(int)
    for at, gpus in october["lanmai"]:
        hours[at.hour] += gpus
    assert max(hours, key=hours.get) in range(9, 19)
    assert min(hours, key=hours.get) in range(7)


def test_training_runs_hold_gpus_for_days(october):
    longest = run = 0
    for _, gpus in october["jingxing"]:
        run = run + 1 if gpus >= 32 else 0
        longest = max(longest, run)
    assert longest * SAMPLE_SECONDS > 3 * 24 * 3600


def test_the_firms_are_made_up_and_their_credit_codes_valid():
    assert credit_code("DEM", 101) == "91310115DEM0001014"
    assert credit_code("TRC", 1) == "91310115TRC0000011"
    codes = [buyer.firm.credit_code for buyer in generated(seed=1).buyers]
    assert len(set(codes)) == 12
    assert all("（演示）" in buyer.firm.name and "(Demo)" in buyer.firm.name_en for buyer in generated(seed=1).buyers)
