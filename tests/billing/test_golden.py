"""Golden cases: whole months closed to issued invoices, worked out by hand. The arithmetic stands beside each figure.

Every case goes the whole way: readings and reservations in, `close_period`, and out of it the lines of the issued
invoice, its tax, what programmes pay of it, and its journal. Rates and rounding alone are in tests/rating.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing import adjustments, clawbacks, contracts, invoicing, parties
from billing.models import Invoice, Posting, ProgrammeShare, Redemption
from tests.billing import programmes_world, world

pytestmark = pytest.mark.django_db
YEAR_2020 = datetime(2019, 12, 31, 16, tzinfo=UTC)  # midnight of 1 January 2020 in Shanghai


@pytest.fixture
def issuer():
    return world.issuer()


def standing(amount, per="month", code="SC"):
    return {"kind": "standing", "code": code, "amount": amount, "per": per}


def capacity(price, per="unit_hour"):
    return {"kind": "capacity", "code": "CP", "price": price, "per": per}


def demand(price, **changes):
    prices = {"all": [{"price": price}]}
    return {"kind": "demand", "code": "DM", "meter": "gpu_hours", "prices": prices} | changes


def close(issuer, code, account="B"):
    """The month closed at its end; the account's invoice, which ties with its journal and its lines."""
    period = invoicing.open_period(issuer=issuer, code=code)
    closed = invoicing.close_period(period=period, at=period.end_at, actor="test")
    assert (closed.refused, closed.period.state) == ((), "closed")
    programmes_world.check_ties()
    return Invoice.objects.get(period=period, account__code=account, kind="invoice")


def lines(invoice):
    """Charge, time-of-use period, tier, quantity, amount in minor units."""
    return list(invoice.lines.values_list("charge", "tou_period", "tier", "quantity", "amount_minor"))


def totals(invoice):
    """Net, tax, what programmes pay in the buyer's place, what is left to pay."""
    return invoice.net_minor, invoice.tax_minor, invoice.subsidy_minor, invoice.payable_minor


def posted(invoice):
    rows = Posting.objects.filter(journal__source=f"invoice:{invoice.period.code}:{invoice.account.code}")
    return dict(rows.values_list("ledger_account__name").annotate(Sum("amount_minor")))


def shares(invoice):
    """Each programme's code, its share, what limited it, and its parts of the lines by charge."""
    found = []
    for share in ProgrammeShare.objects.filter(invoice=invoice).select_related("programme").order_by("pk"):
        parts = Redemption.objects.filter(share=share).order_by("line__position")
        told = list(parts.values_list("line__charge", "amount_minor"))
        found.append((share.programme.code, share.share_minor, share.limited_by, told))
    return found


# Time


def test_a_tariff_that_changes_in_mid_month(issuer):
    tiers = [{"up_to": "10", "price": "5.00"}, {"price": "4.00"}]
    tariff = world.publish(world.energy(prices={"all": tiers}), demand("62.00"), standing("310.00")).tariff
    tiers = [{"up_to": "12", "price": "6.00"}, {"price": "5.50"}]
    changed = [world.energy(prices={"all": tiers}), demand("93.00"), standing("620.00")]
    world.publish(*changed, effective=["2020-05-16", None])
    contract = world.contract(world.account(issuer, "B"), tariff)
    world.read(contract, *world.hours(8))
    world.read(contract, *world.hours(7), start_at=world.MAY + timedelta(days=15))
    invoice = close(issuer, "2020-05")
    # Energy: 8 at 5.00 = 40.00. The counter runs on from 8 and meets the new edges: 4 at 6.00 = 24.00, 3 at 5.50 = 16.50.
    # Demand: 4 GPUs in both parts: 4 × 62.00 × 15/31 = 120.00, 4 × 93.00 × 16/31 = 192.00.
    # Standing: 310.00 × 15/31 = 150.00, 620.00 × 16/31 = 320.00. To six places 15/31 is 0.483871, 16/31 is 0.516129.
    assert lines(invoice) == [
        ("EN", "all", 1, 8, 4_000),
        ("EN", "all", 1, 4, 2_400),
        ("EN", "all", 2, 3, 1_650),
        ("DM", None, None, 4, 12_000),
        ("DM", None, None, 4, 19_200),
        ("SC", None, None, Decimal("0.483871"), 15_000),
        ("SC", None, None, Decimal("0.516129"), 32_000),
    ]
    assert list(invoice.lines.values_list("tariff_version__version", flat=True)) == [1, 2, 2, 1, 2, 1, 2]
    # Net 862.50; VAT 6 % = 51.75. The fee of 10 % is 86.25, so the cost is 776.25, and the VAT on it 46.575, half up 46.58.
    assert totals(invoice) == (86_250, 5_175, 0, 91_425)
    assert posted(invoice) == {
        "receivable": 91_425,
        "compute_revenue": -86_250,
        "vat_output": -5_175,
        "cost_of_compute": 77_625,
        "vat_input": 4_658,
        "provider_payable": -82_283,
    }


def test_tiers_over_a_contract_year(issuer):
    tiers = [{"up_to": "20", "price": "5.00"}, {"price": "4.00"}]
    charge = world.energy(tier_basis="contract_year", prices={"all": tiers})
    tariff = world.publish(charge, effective=["2020-01-01", None]).tariff
    begins = datetime(2020, 1, 14, 16, tzinfo=UTC)  # 15 January in Shanghai
    contract = world.contract(world.account(issuer, "B"), tariff, start_at=begins)
    anniversary = datetime(2021, 1, 14, 16, tzinfo=UTC)
    uses = [(begins, 15), (datetime(2020, 3, 1, tzinfo=UTC), 3), (world.MAY, 7), (anniversary - timedelta(days=9), 6)]
    uses += [(anniversary, 30), (datetime(2021, 5, 9, tzinfo=UTC), 1)]
    for start_at, used in uses:
        world.read(contract, *world.hours(used), start_at=start_at)
    # The first year counts 15, 18, then 25: 2 of May's 7 hours are still within 20.
    assert lines(close(issuer, "2020-01")) == [("EN", "all", 1, 15, 7_500)]
    assert lines(close(issuer, "2020-03")) == [("EN", "all", 1, 3, 1_500)]
    may = close(issuer, "2020-05")
    assert lines(may) == [("EN", "all", 1, 2, 1_000), ("EN", "all", 2, 5, 2_000)]
    assert totals(may) == (3_000, 180, 0, 3_180)
    # January 2021: 6 hours before the 15th are the old year's 26th to 31st, all at 4.00; the new year counts from 0, 20 at
    # 5.00 and 10 at 4.00. One line a tier: 20 × 5.00 and (6 + 10) × 4.00.
    january = close(issuer, "2021-01")
    assert lines(january) == [("EN", "all", 1, 20, 10_000), ("EN", "all", 2, 16, 6_400)]
    assert totals(january) == (16_400, 984, 0, 17_384)
    assert lines(close(issuer, "2021-05")) == [("EN", "all", 2, 1, 400)]  # the new year's 31st hour


@pytest.mark.parametrize(
    ("code", "days", "hours", "yearly_minor", "net_minor", "top_up_minor"),
    [
        # 310.00 + 300.00 + 366.00 × 31/366 + 2 × 744 × 2.10 = 310.00 + 300.00 + 31.00 + 3,124.80 = 3,765.80; to 4,000.00
        ("2020-05", 31, 744, 3_100, 400_000, 23_420),
        # 280.00 + 300.00 + 366.00 × 28/365 (28.0767…) + 2 × 672 × 2.10 (2,822.40) = 3,430.4767…. The minimum is the whole
        # 4,000.00 of a short month too, and tops up what is not rounded yet: 569.5232…, 569.52.
        ("2021-02", 28, 672, 2_808, 400_000, 56_952),
    ],
)
def test_a_month_of_31_days_and_one_of_28(issuer, code, days, hours, yearly_minor, net_minor, top_up_minor):
    charges = [capacity("2.10"), standing("10.00", "day"), standing("300.00", "month", "SM")]
    charges += [standing("366.00", "year", "SY")]
    minimum = {"kind": "minimum", "code": "MIN", "amount": "4000.00", "counts": ["CP", "SC", "SM", "SY"]}
    contract = world.contract(world.account(issuer, "B"), world.publish(*charges, minimum).tariff)
    contracts.reserve(contract=contract, quantity=2, start_at=world.MAY, source="a")
    invoice = close(issuer, code)
    of_year = Decimal(days * 86_400) / (Decimal(366 if days == 31 else 365) * 86_400)
    assert lines(invoice) == [
        ("CP", None, None, 2 * hours, 2 * hours * 210),
        ("SC", None, None, days, days * 1_000),
        ("SM", None, None, 1, 30_000),
        ("SY", None, None, of_year.quantize(Decimal("0.000001")), yearly_minor),
        ("MIN", None, None, 1, top_up_minor),
    ]
    # VAT 6 % of 4,000.00
    assert totals(invoice) == (net_minor, 24_000, 0, 424_000)
    assert posted(invoice)["receivable"] == 424_000


@pytest.mark.parametrize(
    ("code", "hours", "night", "dearer", "net_minor", "tax_minor"),
    [
        # March 2021 has 743 hours, as 28 March has 23: 12 × 31 = 372 in the day, 371 in the night; no day has a 25th hour.
        # 744.00 + 371.00 + 30.00 + 743 × 0.10 (74.30) + 310.00 = 1,529.30; 19 % is 290.567, half up 290.57.
        ("2021-03", 743, 371, 0, 152_930, 29_057),
        # October 2021 has 745, as 31 October has 25. The 25th hour of that day, its last, is the one above the daily edge:
        # 744.00 + 372.00 + 1.50 + 30.00 + 74.50 + 310.00 = 1,532.00; 19 % is 291.08.
        ("2021-10", 745, 372, 1, 153_200, 29_108),
    ],
)
def test_a_zone_with_daylight_saving_at_both_changes(code, hours, night, dearer, net_minor, tax_minor):
    issuer = world.issuer(timezone="Europe/Berlin", currency="EUR")
    energy = world.energy(
        tier_basis="day",
        prices={
            "day": [{"up_to": "24", "price": "2.00"}, {"price": "3.00"}],
            "night": [{"up_to": "24", "price": "1.00"}, {"price": "1.50"}],
        },
    )
    day = ["night"] * 8 + ["day"] * 12 + ["night"] * 4
    tariff = world.publish(
        energy,
        demand("30.00"),
        capacity("0.10"),
        standing("10.00", "day"),
        currency="EUR",
        timezone="Europe/Berlin",
        effective=["2021-01-01", None],
        periods=["day", "night"],
        schedule={"weekday": [day], "weekend": [day]},
        tax={"category": "S", "rate": "0.19", "price_includes_tax": False},
    ).tariff
    period = invoicing.open_period(issuer=issuer, code=code)
    contract = world.contract(world.account(issuer, "B"), tariff, start_at=period.start_at)
    contracts.reserve(contract=contract, quantity=1, start_at=period.start_at, source="a")
    world.read(contract, *[900] * (4 * hours), start_at=period.start_at)  # one GPU, all the time
    invoice = close(issuer, code)
    assert lines(invoice) == [
        ("EN", "day", 1, 372, 74_400),
        ("EN", "night", 1, night, night * 100),
        *([("EN", "night", 2, dearer, dearer * 150)] if dearer else []),
        ("DM", None, None, 1, 3_000),
        ("CP", None, None, hours, hours * 10),
        ("SC", None, None, 31, 31_000),  # a day of 23 or 25 hours is one day
    ]
    assert totals(invoice) == (net_minor, tax_minor, 0, net_minor + tax_minor)


def test_holidays_and_the_weekend_day_that_is_worked_in_their_place(issuer):
    tariff = world.publish(
        world.energy(prices={"work": [{"price": "3.00"}], "rest": [{"price": "2.00"}], "feast": [{"price": "1.00"}]}),
        calendar="CN",
        periods=["work", "rest", "feast"],
        schedule={"weekday": [["work"] * 24], "weekend": [["rest"] * 24], "holiday": [["feast"] * 24]},
    ).tariff
    world.read(world.contract(world.account(issuer, "B"), tariff), *world.hours(31 * 96))
    invoice = close(issuer, "2020-05")
    # May 2020 has 31 days, 10 of them Saturdays and Sundays. 1 to 5 May are holidays (a Friday, the weekend, Monday and
    # Tuesday); Saturday 9 May is worked. Work: 21 − 3 + 1 = 19 days, rest 10 − 2 − 1 = 7, feast 5; each of 96 GPU-hours.
    assert lines(invoice) == [
        ("EN", "work", None, 19 * 96, 547_200),  # 1,824 × 3.00
        ("EN", "rest", None, 7 * 96, 134_400),  # 672 × 2.00
        ("EN", "feast", None, 5 * 96, 48_000),  # 480 × 1.00
    ]
    assert totals(invoice) == (729_600, 43_776, 0, 773_376)


# Least amounts


def test_a_ratchet_over_three_months(issuer):
    ratchet = {"percent": "80", "lookback_months": 2}
    tariff = world.publish(demand("30.00", ratchet=ratchet), effective=["2020-01-01", None]).tariff
    contract = world.contract(world.account(issuer, "B"), tariff, start_at=YEAR_2020)
    for month, gpus in ((2, 100), (3, 10), (4, 5), (5, 2)):
        world.read(contract, gpus * 900, start_at=datetime(2020, month, 10, tzinfo=UTC))
    told = {code: lines(close(issuer, code)) for code in ("2020-02", "2020-03", "2020-04", "2020-05")}
    assert told == {
        "2020-02": [("DM", None, None, 100, 300_000)],  # 100 × 30.00
        "2020-03": [("DM", None, None, 80, 240_000)],  # 80 % of February's 100, above its own 10
        "2020-04": [("DM", None, None, 80, 240_000)],  # February is two months before
        "2020-05": [("DM", None, None, 8, 24_000)],  # February is out of sight: 80 % of March's 10
    }


def test_a_minimum_of_a_part_of_the_month_of_which_a_programme_pays_its_kind_alone(issuer):
    charges = [world.energy(), {"kind": "rider", "code": "RD", "basis": "fixed", "value": "31.00"}]
    charges += [standing("10.00", "day")]
    charges += [{"kind": "minimum", "code": "MIN", "amount": "620.00", "counts": ["EN", "SC"]}]
    begins = world.MAY + timedelta(days=10, hours=12)  # noon of 11 May: 20.5 of 31 days
    account = world.account(issuer, "B")
    contract = world.contract(account, world.publish(*charges).tariff, start_at=begins)
    world.read(contract, *world.hours(3), start_at=begins)
    programmes_world.grant(programmes_world.programme(issuer, kinds=["energy"]), account)
    invoice = close(issuer, "2020-05")
    # 3 × 8.00 = 24.00; 31.00 × 20.5/31 = 20.50, which the minimum does not count; 20.5 × 10.00 = 205.00.
    # The minimum is 620.00 × 20.5/31 = 410.00, less 24.00 and 205.00: 181.00. 20.5/31 is 0.661290….
    assert lines(invoice) == [
        ("EN", "all", None, 3, 2_400),
        ("RD", None, None, Decimal("0.661290"), 2_050),
        ("SC", None, None, Decimal("20.5"), 20_500),
        ("MIN", None, None, Decimal("0.661290"), 18_100),
    ]
    # 30 % of the energy alone is 7.20. Net 430.50, VAT 6 % of all of it 25.83: 430.50 − 7.20 + 25.83 = 449.13.
    assert shares(invoice) == [("sme-30", 720, "", [("EN", 720)])]
    assert totals(invoice) == (43_050, 2_583, 720, 44_913)
    assert posted(invoice)["subsidy_receivable"] == 720


# Programmes


def test_programmes_that_stack_and_one_that_its_group_keeps_out(issuer):
    account = world.account(issuer, "B")
    contract = world.contract(account, world.publish(world.energy(), standing("33.33")).tariff)
    world.read(contract, *world.hours(100))
    for code, percent, group, priority in [("a", 30, "", 1), ("b", 50, "city", 2), ("c", 90, "city", 3)]:
        terms = {"percent": Decimal(percent), "stacking_group": group, "priority": priority}
        funder = programmes_world.funder(50 + priority)
        programmes_world.grant(programmes_world.programme(issuer, code, funder=funder, **terms), account)
    invoice = close(issuer, "2020-05")
    assert lines(invoice) == [("EN", "all", None, 100, 80_000), ("SC", None, None, 1, 3_333)]
    # a: 30 % of 833.33 is 249.999, half up 250.00. By 80,000 : 3,333 that is 24,000.09… and 999.90…: 240.00 and 10.00.
    # b: of the 583.33 that are left, 560.00 and 23.33, 50 % is 291.665, half up 291.67: 28,000.48… and 1,166.52…, so 280.00
    # and 11.67. c, of b's group and after it, would pay 90 % and is kept out.
    assert shares(invoice) == [
        ("a", 25_000, "", [("EN", 24_000), ("SC", 1_000)]),
        ("b", 29_167, "", [("EN", 28_000), ("SC", 1_167)]),
        ("c", 0, "stacking", []),
    ]
    # VAT 6 % of the full 833.33 is 49.9998, half up 50.00: 833.33 − 250.00 − 291.67 + 50.00 = 341.66.
    assert totals(invoice) == (83_333, 5_000, 54_167, 34_166)
    owed = Posting.objects.filter(ledger_account__name="subsidy_receivable").order_by("amount_minor")
    assert list(owed.values_list("ledger_account__party__legal_name", "amount_minor")) == [
        ("资助方51", 25_000),
        ("资助方52", 29_167),
    ]
    assert set(Redemption.objects.double_funded().values_list("amount_minor", flat=True)) == {
        *(24_000, 1_000),
        *(28_000, 1_167),
    }


def test_a_firms_cap_that_is_reached_in_mid_line(issuer):
    account = world.account(issuer, "B")
    first = world.publish(standing("333.33"), code="T0").tariff
    world.contract(account, first, number="C-0", end_at=world.JUNE)
    tariff = world.publish(world.energy("10.00"), standing("500.00"), standing("250.00", code="S2")).tariff
    contract = world.contract(account, tariff, number="C-1", start_at=world.JUNE)
    world.read(contract, *world.hours(100), start_at=world.JUNE)
    programme = programmes_world.programme(issuer, cap_firm_year_minor=30_000)
    programmes_world.grant(programme, account)
    # May: 30 % of 333.33 is 99.999, half up 100.00; of the firm's 300.00 a year 200.00 are left.
    assert shares(close(issuer, "2020-05")) == [("sme-30", 10_000, "", [("SC", 10_000)])]
    # June: 30 % of 1,000.00 + 500.00 + 250.00 is 525.00; 200.00 by 4 : 2 : 1 are 11,428.57…, 5,714.28… and 2,857.14…;
    # rounded down 19,999, and the greatest remainder, the first, gets the one that is left.
    june = close(issuer, "2020-06")
    assert lines(june) == [
        ("EN", "all", None, 100, 100_000),
        ("SC", None, None, 1, 50_000),
        ("S2", None, None, 1, 25_000),
    ]
    assert shares(june) == [("sme-30", 20_000, "firm_cap", [("EN", 11_429), ("SC", 5_714), ("S2", 2_857)])]
    # VAT 6 % of 1,750.00 is 105.00: 1,750.00 − 200.00 + 105.00.
    assert totals(june) == (175_000, 10_500, 20_000, 165_500)
    # July: 500.00 + 250.00, of which the programme would pay 225.00 and has nothing left for this firm.
    july = close(issuer, "2020-07")
    assert shares(july) == [("sme-30", 0, "firm_cap", [])]
    assert totals(july) == (75_000, 4_500, 0, 79_500)
    assert programmes_world.counts(programme)[1:] == (0, 30_000)


def test_the_refund_of_a_subsidised_line(issuer):
    account = world.account(issuer, "B")
    charges = [world.energy(), standing("333.30"), standing("66.67", code="S2")]
    contract = world.contract(account, world.publish(*charges).tariff)
    world.read(contract, *world.hours(100))
    programme = programmes_world.programme(issuer)
    programmes_world.grant(programme, account)
    invoice = close(issuer, "2020-05")
    # 30 % of 1,199.97 is 359.991, half up 359.99. By 80,000 : 33,330 : 6,667 that is 23,999.93…, 9,998.97… and 2,000.09…;
    # rounded down 35,997, and the two greatest remainders, the second and the first, get one each.
    assert shares(invoice) == [("sme-30", 35_999, "", [("EN", 24_000), ("SC", 9_999), ("S2", 2_000)])]
    facts = {"invoice": invoice, "at": world.JUNE, "actor": "staff"}

    def clawed_back():
        rows = Redemption.objects.order_by("line__position")
        return list(rows.values_list("clawed_back_minor", flat=True))

    # Half of the energy (400.00) and a third of the standing charge (111.10) are credited: 120.00 and 33.33 go back.
    clawbacks.claw_back(**facts, credited={1: 40_000, 2: 11_110}, source="credit:1")
    assert clawed_back() == [12_000, 3_333, 0]
    # 100.00 of the 400.00 left: a quarter of the 120.00 left, 3,000 minor; 0.01 of the 222.20 left: of 66.66 that is 0.3
    # minor. Together 3,000.3, half up 3,000, all of it by the first.
    clawbacks.claw_back(**facts, credited={1: 10_000, 2: 1}, source="credit:2")
    assert clawed_back() == [15_000, 3_333, 0]
    # What is left of both: all of it goes back.
    clawbacks.claw_back(**facts, credited={1: 30_000, 2: 22_219}, source="credit:3")
    assert clawed_back() == [24_000, 9_999, 0]
    # The funder owes the third line's 20.00 alone, the buyer again what the programme does not pay; the budget has it back.
    balances = programmes_world.balances(account)
    assert balances["subsidy_receivable"] == 2_000
    assert balances["receivable"] == invoice.payable_minor + 33_999
    assert programmes_world.counts(programme)[1:] == (0, 2_000)
    programmes_world.check_ties()


# Corrections


def test_late_use_with_a_programme_on_the_next_invoice(issuer):
    tiers = [{"up_to": "20", "price": "5.00"}, {"price": "4.00"}]
    tariff = world.publish(world.energy(prices={"all": tiers}), standing("31.00")).tariff
    account = world.account(issuer, "B")
    parties.choose_corrections(account=account, on="next_invoice", at=world.MAY, actor="buyer")
    contract = world.contract(account, tariff)
    programme = programmes_world.programme(issuer, percent=Decimal(25), kinds=["energy"])
    programmes_world.grant(programme, account)
    world.read(contract, *world.hours(18))
    may = close(issuer, "2020-05")
    # 18 × 5.00 = 90.00 and 31.00: net 121.00, VAT 7.26; 25 % of 90.00 is 22.50; payable 128.26 − 22.50.
    assert totals(may) == (12_100, 726, 2_250, 10_576)
    world.read(contract, *world.hours(6), start_at=world.MAY + timedelta(days=9))
    world.read(contract, *world.hours(3), start_at=world.JUNE)
    at = world.JUNE + timedelta(hours=1)
    adjustment = adjustments.find(invoice=may, at=at, actor="test")
    adjustments.approve(adjustment=adjustment, reason="seen", at=at, actor="staff")
    june = close(issuer, "2020-06")
    # June: 3 × 5.00 = 15.00 and 31.00: net 46.00, VAT 2.76; 25 % of 15.00 is 3.75; payable 48.76 − 3.75.
    assert lines(june) == [("EN", "all", 1, 3, 1_500), ("SC", None, None, 1, 3_100)]
    assert totals(june) == (4_600, 276, 375, 4_501)
    # Late in May: 2 h fill the first tier, 10.00; 4 h are above, 16.00. VAT of 147.00 is 8.82, less 7.26: 1.56. 25 % of 26.00
    # is 6.50; payable 27.56 − 6.50 = 21.06. In all 45.01 + 21.06 = 66.07.
    note = june.settles.get()
    assert lines(note) == [("EN", "all", 1, 2, 1_000), ("EN", "all", 2, 4, 1_600)]
    assert totals(note) == (2_600, 156, 650, 2_106)
    assert shares(note) == [("sme-30", 650, "", [("EN", 250), ("EN", 400)])]
    said = json.loads(june.snapshot)["corrections"]
    assert [said[key] for key in ("net_minor", "tax_minor", "subsidy_minor", "payable_minor", "due_minor")] == [
        2_600,
        156,
        650,
        2_106,
        6_607,
    ]
    # The fee of 10 % of 147.00 leaves a cost of 132.30, VAT on it 7.938, 7.94; of 121.00 it was 108.90 and 6.53.
    rows = Posting.objects.filter(journal__source=f"correction:{may.number}:1")
    assert dict(rows.values_list("ledger_account__name", "amount_minor")) == {
        "receivable": 2_106,
        "subsidy_receivable": 650,
        "compute_revenue": -2_600,
        "vat_output": -156,
        "cost_of_compute": 2_340,
        "vat_input": 141,
        "provider_payable": -2_481,
    }
    assert programmes_world.counts(programme)[2] == 2_250 + 375 + 650
