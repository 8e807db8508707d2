"""Why a line was charged, in sentences: each kind of charge, with the figures of its snapshot, in both languages."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from billing import contracts, invoicing, one_off
from billing.documents.labels import LANGUAGES
from billing.documents.words import sentences
from billing.models import Programme
from tests.billing import programmes_world, world

pytestmark = pytest.mark.django_db


def charge(kind, code, **facts):
    return {"kind": kind, "code": code, **facts}


CHARGES = (
    world.energy(prices={"all": [{"up_to": "10", "price": "5.00"}, {"price": "4.00"}]}),
    charge(
        "demand",
        "DM",
        meter="gpu_hours",
        prices={"all": [{"price": "31.00"}]},
        ratchet={"percent": "80", "lookback_months": 1},
    ),
    charge("capacity", "CP", price="2.10", per="unit_hour"),
    charge("rider", "PWR", basis="per_unit", of=["EN"], value="0.12"),
    charge("standing", "SC", amount="310.00", per="month"),
    charge("minimum", "MIN", amount="9300.00", counts=["EN", "DM", "CP", "SC"]),
    charge("credit", "OFF", basis="percent", of=["EN"], value="10"),
)


def invoice(charges=CHARGES, *, programmes=(), facts=None):
    """Of May: from 16 May on 12 GPU-hours at 4 GPUs and 2 GPUs reserved, after 10 GPUs in April."""
    issuer = world.issuer()
    tariff = world.publish(*charges, effective=["2020-01-01", None], **(facts or {})).tariff
    account = world.account(issuer, "B")
    contract = world.contract(account, tariff, start_at=world.MAY - timedelta(days=30))
    world.read(contract, 9_000, start_at=world.MAY - timedelta(days=2))
    half = world.MAY + timedelta(days=15)
    contracts.reserve(contract=contract, quantity=2, start_at=half, source="a")
    world.read(contract, *world.hours(12), start_at=half)
    for number, terms in enumerate(programmes):
        made = programmes_world.programme(issuer, f"p{number}", funder=programmes_world.funder(50 + number), **terms)
        programmes_world.grant(made, account)
    found = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    return json.loads(found.snapshot)


def told(snapshot, language, kind, place=0):
    lines = [line for line in snapshot["lines"] if line["kind"] == kind]
    return sentences(snapshot=snapshot, line=lines[place], language=language)


TAX = {
    "en": "The amount is before tax; VAT of 6% is computed on the sum of all lines of that rate.",
    "zh-hans": "金额不含税；增值税 6% 按同一税率各行的合计计算。",
}
SAID = {
    "en": {
        ("energy", 1): [
            "2020-05-16 – 2020-05-31: 2 GPU-h were used, over 1,536 intervals of readings.",
            "This is the part in tier 2: above 10 GPU-h, counted by the month, graduated, all times of day together.",
            "The price is 4.00 CNY for each GPU-h.",
        ],
        ("demand", 1): [
            "2020-05-16 – 2020-05-31: the greatest average of 15 min was 4 GPU.",
            "That is below the ratchet: at least 80% of the greatest demand in the 1-month look-back, 8 GPU, is charged.",
            "The price is 31.00 CNY for each GPU. It is for a whole month, of which this line covers 16/31.",
        ],
        ("capacity", 0): [
            "2020-05-16 – 2020-05-31: 2 GPU were reserved, for 384 h.",
            "The price is 2.10 CNY for each GPU-h.",
        ],
        ("rider", 0): ["On top of Usage charge EN: 0.12 CNY for each GPU-h."],
        ("standing", 0): [
            "2020-05-01 – 2020-05-15: 15/31 month, whatever was used.",
            "The price is 310.00 CNY for each month.",
        ],
        # 58.00 + 248.00 + 1,612.80 + 310.00
        ("minimum", 0): [
            (
                "Usage charge EN, Demand charge DM, Capacity charge CP, Standing charge SC come to ¥2,228.80, less than this"
                " month's minimum of ¥9,300.00: the rest is charged."
            )
        ],
        ("credit", 0): ["Off Usage charge EN, together ¥58.00: 10%."],
    },
    "zh-hans": {
        ("energy", 1): [
            "2020-05-16 至 2020-05-31，共用 2 卡时，由 1,536 个读数区间累计。",
            "属于第 2 阶梯：10 卡时以上，按月累计，超额累进，各时段合并。",
            "单价为每卡时 4.00 CNY。",
        ],
        ("demand", 1): [
            "2020-05-16 至 2020-05-31，15 分钟平均用量最高为 4 卡。",
            "低于需量棘轮下限：不少于前 1 个月最高需量的 80%，即 8 卡，按此计费。",
            "单价为每卡 31.00 CNY。该单价按整月计，本行只占整月的 16/31。",
        ],
        ("capacity", 0): ["2020-05-16 至 2020-05-31，预留 2 卡，计 384 小时。", "单价为每卡时 2.10 CNY。"],
        ("rider", 0): ["在 用量费 EN 的用量之上，每卡时附加 0.12 CNY。"],
        ("standing", 0): ["2020-05-01 至 2020-05-15，计 15/31 月，与用量无关。", "单价为每月 310.00 CNY。"],
        ("minimum", 0): [
            "用量费 EN，需量费 DM，容量费 CP，基本费 SC 合计 ¥2,228.80，未达到本期保底 ¥9,300.00，差额补足。"
        ],
        ("credit", 0): ["用量费 EN 合计 ¥58.00，抵扣 10%。"],
    },
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_kind_of_line_says_what_it_counts_and_how_that_is_priced(language):
    snapshot = invoice()
    found = {place: told(snapshot, language, *place) for place in SAID[language]}
    assert found == {place: [*said, TAX[language]] for place, said in SAID[language].items()}


def test_a_time_of_day_is_named():
    day = ["valley"] * 8 + ["peak"] * 16
    facts = {"periods": ["peak", "valley"], "schedule": {"weekday": [day], "weekend": [day]}}
    prices = {"peak": [{"price": "2.00"}], "valley": [{"price": "1.00"}]}
    snapshot = invoice((world.energy(prices=prices),), facts=facts)
    assert told(snapshot, "en", "energy")[0] == (
        "2020-05-16 – 2020-05-31: 12 GPU-h were used in the time of day “valley”, which has 512 intervals of readings."
    )
    assert "“谷”时段共用 12 卡时" in told(snapshot, "zh-hans", "energy")[0]


# 9,295.64 is the invoice of these charges without the programmes; 30 % of it are 2,788.692, 50 % of the 9,195.64 that the
# first leaves are 4,597.82. The line of 50.00 has 100.00 × 50.00 / 9,295.64 = 0.5378… of the first.
def test_programmes_say_what_they_pay_of_a_line_and_what_limits_them():
    second = {"percent": Decimal(50), "mode": Programme.Mode.REIMBURSEMENT, "kinds": ["energy", "capacity"]}
    snapshot = invoice(programmes=[{"cap_invoice_minor": 10_000}, second])
    # 50 % of what is left of 50.00, 8.00 and 1,612.80: of 49.46 + 7.91 + 1,595.45 = 1,652.82 that is 826.41
    assert told(snapshot, "en", "energy")[4:] == [
        "p0 (资助方50) pays ¥0.54 of this line in your place.",
        (
            "On this invoice it would pay ¥2,788.69 of ¥9,295.64; limited by the cap for an invoice, it pays ¥100.00, shared"
            " out to the lines by their amounts."
        ),
        "You can claim ¥24.73 of this line from p1 (资助方51); you pay it first.",
        "It pays ¥826.41 of the ¥1,652.82 of this invoice that it pays for, shared out to the lines by their amounts.",
        "You pay ¥49.46 of this line, before tax.",
    ]
    assert told(snapshot, "zh-hans", "standing")[3:] == [
        "p0（资助方50）为本行支付 ¥1.61。",
        "该项目就本账单应计 ¥2,788.69（基数 ¥9,295.64），受限于单张账单资助上限，实付 ¥100.00，按各行金额分摊。",
        "p1（资助方51）不为本行支付。",
        "贵方为本行支付 ¥148.39（不含税）。",
    ]


def test_a_one_off_charge_says_when_it_came():
    issuer = world.issuer()
    contract = world.contract(world.account(issuer, "B"), world.publish().tariff)
    one_off.charge(
        contract=contract,
        kind="fee",
        code="CANCEL",
        at=world.MAY,
        amount_minor=5_000,
        why={"why": "cancelled"},
        source="cancellation:1",
        actor="test",
        now=world.MAY,
    )
    found = invoicing.issue(account=contract.account, period=world.may(issuer), at=world.JUNE, actor="test")
    snapshot = json.loads(found.snapshot)
    assert told(snapshot, "en", "one_off")[0] == "Cancellation fee, charged once, for 2020-05-01 00:00."
    assert told(snapshot, "zh-hans", "one_off")[0] == "2020-05-01 00:00 发生的取消费，一次性计费。"
