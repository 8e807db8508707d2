from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating.money import TaxTotal, exponent, largest_remainder, round_half_up, taxes


@pytest.mark.parametrize(
    ("currency", "places"),
    [("CNY", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("BHD", 3), ("CLF", 4), ("UYW", 4)],
)
def test_the_exponent_is_that_of_iso_4217(currency, places):
    assert exponent(currency) == places


@pytest.mark.parametrize("currency", ["cny", "CN", "CNY\n", ""])
def test_a_currency_is_three_capital_letters(currency):
    with pytest.raises(ValueError, match="expected three capital letters of ISO 4217"):
        exponent(currency)


@pytest.mark.parametrize(
    ("amount", "places", "minor"),
    [
        (Fraction(1, 200), 2, 1),  # 0.005
        (Fraction(-1, 200), 2, -1),
        (Fraction(49, 10000), 2, 0),  # 0.0049
        (Fraction(-49, 10000), 2, 0),
        (Fraction(1, 3), 2, 33),
        (Fraction(2, 3), 2, 67),
        (Fraction(5, 2), 0, 3),
        (Fraction(-5, 2), 0, -3),
        (Fraction(12345, 10000), 3, 1235),  # 1.2345
        (Fraction(0), 2, 0),
    ],
)
def test_ties_are_rounded_away_from_zero(amount, places, minor):
    assert round_half_up(amount, places) == minor


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),  # equal remainders: the first wins
        (-100, [1, 1, 1], [-34, -33, -33]),  # as the positive total
        (5, [0, 0, 0], [2, 2, 1]),  # all weights zero: equal parts
        (10, [Fraction(1, 3), Fraction(2, 3)], [3, 7]),
        (1, [3, 3, 4], [0, 0, 1]),
        (0, [], []),
        (0, [5, -5], [0, 0]),
        (3, [2, -1], [6, -3]),
    ],
)
def test_largest_remainders_take_the_rest(total, weights, parts):
    assert largest_remainder(total, weights) == parts


@pytest.mark.parametrize("weights", [[], [1, -1]])
def test_where_no_proportion_exists_a_total_is_refused(weights):
    with pytest.raises(ValueError, match="total is 7: expected 0"):
        largest_remainder(7, weights)


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_the_parts_sum_to_the_total_and_each_is_its_share_rounded_up_or_down(total, weights):
    parts = largest_remainder(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    if whole:
        assert all(abs(part - Fraction(total * weight, whole)) < 1 for part, weight in zip(parts, weights, strict=True))


@dataclass(frozen=True)
class Item:
    amount_minor: int
    tax_category: str = "S"
    tax_rate: Decimal = Decimal("0.06")
    tax_included: bool = False


def test_tax_is_on_the_sum_of_rounded_lines_per_category_and_rate():
    # 6 % of 1.05 is 0.063 -> 0.06; by line it would be 5 x 0.01 (6 % of 0.21 is 0.0126)
    lines = [Item(21)] * 5 + [Item(1000, tax_rate=Decimal("0.13")), Item(700, "Z", Decimal(0))]
    found = taxes(lines)
    assert found.totals == (
        TaxTotal("S", Decimal("0.06"), 105, 6),
        TaxTotal("S", Decimal("0.13"), 1000, 130),
        TaxTotal("Z", Decimal(0), 700, 0),
    )
    assert (found.net_minor, found.tax_minor, found.gross_minor) == (1805, 136, 1941)
    assert found.line_net_minor == (21, 21, 21, 21, 21, 1000, 700)


def test_a_half_of_tax_is_rounded_up_and_of_a_credit_down():
    assert taxes([Item(25)]).tax_minor == 2  # 6 % of 0.25 is 0.015
    assert taxes([Item(-25)]).tax_minor == -2


def test_a_price_that_includes_tax_stays_the_gross_amount():
    # 100.00 / 1.06 = 94.3396... -> 94.34, tax 5.66; thirds: 33.33 / 1.06 = 31.443.., 33.34 / 1.06 = 31.452..
    # 31.44 + 31.44 + 31.45 = 94.33: one cent is left, the greatest remainder (31.4434, the first) takes it
    found = taxes([Item(3333, tax_included=True), Item(3333, tax_included=True), Item(3334, tax_included=True)])
    assert found.totals == (TaxTotal("S", Decimal("0.06"), 9434, 566),)
    assert found.line_net_minor == (3145, 3144, 3145)


def test_lines_with_and_without_tax_in_their_price_share_one_total():
    # 1.00 net with 0.06 tax, and 1.06 gross, which is 1.00 net with 0.06 tax
    found = taxes([Item(100), Item(106, tax_included=True)])
    assert found.totals == (TaxTotal("S", Decimal("0.06"), 200, 12),)
    assert found.line_net_minor == (100, 100)


@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.sampled_from(["0", "0.06", "0.13"]), st.booleans())))
def test_the_lines_net_sums_to_the_invoices_net_and_what_includes_tax_keeps_its_gross(rows):
    lines = [Item(minor, "S", Decimal(rate), included) for minor, rate, included in rows]
    found = taxes(lines)
    assert sum(found.line_net_minor) == found.net_minor
    outside = [line for line in lines if not line.tax_included]
    extra = sum(total.tax_minor for total in taxes(outside).totals)
    assert found.gross_minor == sum(line.amount_minor for line in lines) + extra
    mirrored = taxes([Item(-line.amount_minor, "S", line.tax_rate, line.tax_included) for line in lines])
    assert mirrored.line_net_minor == tuple(-net for net in found.line_net_minor)
