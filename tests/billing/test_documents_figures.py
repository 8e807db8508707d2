from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.documents import figures


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (123456, "CNY", "¥1,234.56"),
        (-123456, "CNY", "-¥1,234.56"),
        (0, "CNY", "¥0.00"),
        (5, "CNY", "¥0.05"),
        (123456, "JPY", "JP¥123,456"),
        (123456, "KWD", "KWD\u00a0123.456"),
        (123456, "EUR", "€1,234.56"),
        (9223372036854775807, "CNY", "¥92,233,720,368,547,758.07"),
    ],
)
def test_money_is_minor_units_with_the_currencys_sign_and_places(minor, currency, shown):
    assert figures.money(minor, currency).replace("KWD1", "KWD\u00a01") == shown


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [(123456, "CNY", "1,234.56"), (-5, "CNY", "-0.05"), (123456, "JPY", "123,456"), (1, "KWD", "0.001")],
)
def test_a_figure_has_the_currencys_places_and_no_sign_for_it(minor, currency, shown):
    assert figures.figure(minor, currency) == shown


@pytest.mark.parametrize(
    ("seconds", "places", "shown"),
    [(5400, 2, "1.50"), (18, 2, "0.01"), (17, 2, "0.00"), (3_600_000, 2, "1,000.00"), (1800, 0, "1"), (0, 0, "0")],
)
def test_hours_are_rounded_half_up(seconds, places, shown):
    assert figures.hours(seconds, places) == shown


@pytest.mark.parametrize(
    ("value", "least", "shown"),
    [
        ("5000.500000", 0, "5,000.5"),
        ("31.000000", 0, "31"),
        ("5.4", 2, "5.40"),
        ("0.000000123456", 2, "0.000000123456"),
        ("-1234567.000000", 0, "-1,234,567"),
        ("25486357.123456", 0, "25,486,357.123456"),
    ],
)
def test_a_number_is_grouped_without_trailing_zeros(value, least, shown):
    assert figures.number(value, least) == shown


@pytest.mark.parametrize(("rate", "shown"), [("0.06", "6%"), ("0.13", "13%"), ("0", "0%"), ("0.035", "3.5%")])
def test_a_rate_is_a_percentage(rate, shown):
    assert figures.percent(rate) == shown


@pytest.mark.parametrize(
    ("minor", "words"),
    [
        (0, "零元整"),
        (1, "壹分"),
        (10, "壹角整"),
        (105, "壹元零伍分"),
        (150, "壹元伍角整"),
        (1000, "壹拾元整"),
        (120304, "壹仟贰佰零叁元零肆分"),
        (6364756, "陆万叁仟陆佰肆拾柒元伍角陆分"),
        (10005000, "壹拾万零伍拾元整"),
        (100000000, "壹佰万元整"),
        (100010001000, "壹拾亿零壹拾万零壹拾元整"),
        (10**14, "壹万亿元整"),
        (-53000, "（负数）伍佰叁拾元整"),
    ],
)
def test_yuan_are_written_in_capital_numerals(minor, words):
    assert figures.capitals(minor) == words


def yuan_of(words):
    """The reading of an integer's capital numerals, written apart from their making."""
    total = section = digit = 0
    for character in words.replace("零", ""):
        if character in "壹贰叁肆伍陆柒捌玖":
            digit = "壹贰叁肆伍陆柒捌玖".index(character) + 1
        elif character in "拾佰仟":
            section += digit * {"拾": 10, "佰": 100, "仟": 1000}[character]
            digit = 0
        elif character == "万":
            total, section, digit = total + (section + digit) * 10**4, 0, 0
        else:
            total, section, digit = (total + section + digit) * 10**8, 0, 0
    return total + section + digit


@given(st.integers(min_value=1, max_value=10**12 - 1))
def test_capital_numerals_read_back_as_the_amount(yuan):
    words = figures.capitals(yuan * 100)
    assert words.endswith("元整")
    assert yuan_of(words[:-2]) == yuan


def at(text):
    return figures.local(text, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("2020-05-01T00:00:00+08:00", "2020-06-01T00:00:00+08:00", "2020-05-01 – 2020-05-31"),
        ("2020-04-30T16:00:00+00:00", "2020-05-31T16:00:00+00:00", "2020-05-01 – 2020-05-31"),
        ("2020-05-01T00:00:00+08:00", "2020-05-02T00:00:00+08:00", "2020-05-01"),
        ("2020-05-01T00:00:00+08:00", "2020-05-16T12:15:00+08:00", "2020-05-01 00:00 – 2020-05-16 12:15"),
        ("2020-05-01T00:00:07+08:00", "2020-05-16T00:00:00+08:00", "2020-05-01 00:00:07 – 2020-05-16 00:00"),
    ],
)
def test_a_span_of_whole_days_is_shown_by_its_first_and_last_day(start, end, shown):
    assert figures.span(at(start), at(end), " – ") == shown


def test_a_local_time_is_the_zones():
    assert at("2020-04-30T16:00:00+00:00").isoformat() == "2020-05-01T00:00:00+08:00"
    assert isinstance(at("2020-04-30T16:00:00+00:00"), datetime)
