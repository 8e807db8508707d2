"""Shares of programmes by hand, with the arithmetic."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating.funding import Offer, Priced, promise, shares

MAY, JUNE, JULY = (datetime(2020, month, 1, tzinfo=UTC) for month in (5, 6, 7))


def line(net_minor, kind="energy", *, charge="EN", provider=1, unit="gpu_hour", quantity=0, start=MAY, end=JUNE):
    return Priced(net_minor, kind, charge, provider, unit, Fraction(quantity), start, end)


def offer(code="P", percent="30", **changes):
    facts = {
        "group": "",
        "priority": 100,
        "percent": None if percent is None else Decimal(percent),
        "unit_amount": None,
        "unit": "",
        "kinds": frozenset(),
        "charges": frozenset(),
        "window": (MAY, JULY),
        "barred": frozenset(),
        "invoice_left": None,
        "firm_left": None,
        "budget_left": 10**12,
    } | changes
    return Offer(code=code, **facts)


def test_a_share_is_half_up_of_the_sum_and_shared_out_by_largest_remainder():
    # 30 % of 101 + 101 + 103 = 305 is 91.5, half up 92. Exact parts of 92 by 101 : 101 : 103 are 30.465…, 30.465… and
    # 31.068…; rounded down 30 + 30 + 31 = 91; the greatest remainder, the first of two equal ones, gets the one left.
    (found,) = shares([line(101), line(101), line(103)], [offer()], 2)
    assert (found.eligible_minor, found.wanted_minor, found.share_minor, found.limited_by) == (305, 92, 92, "")
    assert found.by_line == (31, 30, 31)


def test_a_cap_that_is_reached_in_mid_line_is_shared_out_over_all_lines():
    # 30 % of 1,000.00 + 500.00 + 250.00 is 525.00; the firm has 200.00 left. 20,000 minor by 100,000 : 50,000 : 25,000
    # is 11,428.57…, 5,714.28…, 2,857.14…; rounded down 19,999; the first has the greatest remainder.
    (found,) = shares([line(100_000), line(50_000), line(25_000)], [offer(firm_left=20_000)], 2)
    assert (found.wanted_minor, found.share_minor, found.limited_by) == (52_500, 20_000, "firm_cap")
    assert found.by_line == (11_429, 5_714, 2_857)


@pytest.mark.parametrize(
    ("left", "share", "limited_by"),
    [
        ({"invoice_left": 100, "firm_left": 200, "budget_left": 300}, 100, "invoice_cap"),
        ({"invoice_left": 300, "firm_left": 100, "budget_left": 200}, 100, "firm_cap"),
        ({"invoice_left": 300, "firm_left": 200, "budget_left": 100}, 100, "budget"),
        ({"invoice_left": 3000, "firm_left": 300, "budget_left": 300}, 300, ""),
        ({"budget_left": 0}, 0, "budget"),
    ],
)
def test_the_invoices_cap_then_the_firms_then_the_budget(left, share, limited_by):
    (found,) = shares([line(1000)], [offer(**left)], 2)
    assert (found.share_minor, found.limited_by) == (share, limited_by)


def test_across_groups_the_next_pays_of_what_is_left():
    # 30 % of 1,000 is 300; 50 % of the 700 that are left is 350; 100 % of the last 350 leaves nothing, never less.
    found = shares(
        [line(1000)], [offer("C", "100", priority=3), offer("A", "30", priority=1), offer("B", "50", priority=2)], 2
    )
    assert [(each.code, each.eligible_minor, each.share_minor) for each in found] == [
        ("A", 1000, 300),
        ("B", 700, 350),
        ("C", 350, 350),
    ]


def test_within_a_group_the_first_by_priority_pays_alone_and_of_equals_the_better():
    first = [offer("A", "10", group="city", priority=1), offer("B", "50", group="city", priority=2)]
    assert [(each.share_minor, each.limited_by) for each in shares([line(1000)], first, 2)] == [
        (100, ""),
        (0, "stacking"),
    ]
    equals = [offer("A", "10", group="city"), offer("B", "50", group="city")]
    assert [each.share_minor for each in shares([line(1000)], equals, 2)] == [0, 500]


def test_where_the_first_of_a_group_has_no_budget_the_next_pays():
    group = [offer("A", "10", group="city", priority=1, budget_left=0), offer("B", "50", group="city", priority=2)]
    assert [(each.share_minor, each.limited_by) for each in shares([line(1000)], group, 2)] == [
        (0, "budget"),
        (500, ""),
    ]


def test_only_eligible_lines_are_paid_for():
    lines = [
        line(1000),
        line(1000, "demand", charge="DM"),
        line(1000, provider=2),
        line(1000, start=JUNE, end=JULY),
        line(1000, charge="EN2"),
    ]
    (found,) = shares(
        lines,
        [offer(kinds=frozenset(["energy"]), charges=frozenset(["EN"]), barred=frozenset([2]), window=(MAY, JUNE))],
        2,
    )
    assert found.by_line == (300, 0, 0, 0, 0)


def test_a_line_that_lies_in_the_window_only_in_part_is_not_paid_for():
    (found,) = shares([line(1000, end=JULY)], [offer(window=(MAY, JUNE))], 2)
    assert (found.eligible_minor, found.share_minor) == (0, 0)


def test_a_credit_lessens_what_is_paid():
    # 30 % of 1,000 − 100 is 270, shared out by 1,000 : −100 to 300 and −30.
    (found,) = shares([line(1000), line(-100, "credit")], [offer()], 2)
    assert found.by_line == (300, -30)


def test_nothing_is_paid_of_a_credit_alone():
    (found,) = shares([line(-1000, "credit")], [offer()], 2)
    assert (found.wanted_minor, found.by_line) == (0, (0,))


def test_an_amount_per_unit_is_at_most_what_the_line_costs():
    # 0.50 × 10 hours is 5.00; of the second line 0.50 × 10 would be 5.00, but it costs 3.00. Together 8.00.
    lines = [line(4000, quantity=10), line(300, quantity=10), line(5000, "standing", unit="day", quantity=31)]
    (found,) = shares(lines, [offer(percent=None, unit_amount=Decimal("0.50"), unit="gpu_hour")], 2)
    assert (found.wanted_minor, found.by_line) == (800, (500, 300, 0))


def test_a_promise_is_percent_times_hours_times_the_dearest_price():
    # 30 % × 8 GPUs × 72 hours × 5.40 is 933.12.
    assert (
        promise(percent=Decimal(30), unit_hours=Fraction(8 * 72), dearest_price=Decimal("5.40"), exponent=2) == 93_312
    )


amounts = st.lists(st.integers(-(10**6), 10**7), min_size=1, max_size=8)
caps = st.none() | st.integers(0, 10**6)
offers = st.builds(
    lambda percent, group, priority, invoice, firm, budget: (percent, group, priority, invoice, firm, budget),
    st.integers(1, 100),
    st.sampled_from(["", "a", "b"]),
    st.integers(1, 3),
    caps,
    caps,
    st.integers(0, 10**6),
)


@given(amounts, st.lists(offers, max_size=4))
def test_shares_never_exceed_caps_budget_or_what_is_left_and_sum_to_the_minor_unit(nets, drawn):
    lines = [line(net) for net in nets]
    made = [
        offer(f"P{place}", str(percent), group=group, priority=priority, invoice_left=i, firm_left=f, budget_left=b)
        for place, (percent, group, priority, i, f, b) in enumerate(drawn)
    ]
    found = shares(lines, made, 2)
    by_code = {each.code: each for each in made}
    left = nets
    paid = {}
    for share in found:
        each = by_code[share.code]
        assert sum(share.by_line) == share.share_minor >= 0
        assert share.share_minor <= min(share.wanted_minor, each.budget_left)
        assert each.firm_left is None or share.share_minor <= each.firm_left
        assert each.invoice_left is None or share.share_minor <= each.invoice_left
        left = [rest - part for rest, part in zip(left, share.by_line, strict=True)]
        if share.share_minor and each.group:
            assert paid.setdefault(each.group, share.code) == share.code
    for net, rest in zip(nets, left, strict=True):
        assert (0 <= rest <= net) if net >= 0 else (net <= rest <= 0)


def test_an_amount_per_unit_of_a_line_in_place_of_another_is_of_the_difference():
    # 15 h at 1.00 in place of 10 h, of which 5.00 were charged in all: 15.00 less 5.00, the most that could be paid of it.
    lines = [line(2000, quantity=15), line(-500, quantity=-10)]
    (found,) = shares(lines, [offer(percent=None, unit_amount=Decimal(1), unit="gpu_hour")], 2)
    assert (found.wanted_minor, found.by_line) == (1000, (1500, -500))
