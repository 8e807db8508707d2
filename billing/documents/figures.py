"""Numbers, money and times as a reader sees them, from exact values only."""

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.numbers import NumberPattern, parse_pattern

from billing.rating.money import exponent, round_half_up

# The way money is written where the invoices are issued, in both languages: ¥1,234.56, US$1,234.56, €1,234.56.
LOCALE = Locale("zh", "CN", script="Hans")
_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_STEPS = ((10**8, "亿"), (10**4, "万"), (1000, "仟"), (100, "佰"), (10, "拾"))


def money(amount_minor: int, currency: str) -> str:
    """With the currency's sign and its ISO 4217 places: 123456 CNY is ¥1,234.56."""
    written: str = _pattern(exponent(currency)).apply(
        major(amount_minor, currency), LOCALE, currency=currency, currency_digits=False
    )
    return written


@cache
def _pattern(places: int) -> NumberPattern:
    return parse_pattern(f"¤#,##0.{'0' * places}" if places else "¤#,##0")


def major(amount_minor: int, currency: str) -> Decimal:
    """Minor units as an exact decimal with the currency's places: 150 CNY is Decimal("1.50")."""
    return Decimal(amount_minor).scaleb(-exponent(currency))


def figure(amount_minor: int, currency: str) -> str:
    """Without a sign for the currency: 123456 CNY is 1,234.56."""
    return f"{major(amount_minor, currency):,f}"


def hours(seconds: int, places: int = 2) -> str:
    """Seconds as grouped hours with so many places, half up: 5400 is 1.50."""
    return f"{Decimal(round_half_up(Fraction(seconds, 3600), places)).scaleb(-places):,f}"


def number(value: str | int | Decimal, least_places: int = 0) -> str:
    """Grouped, without trailing zeros but for least_places: "5000.500000" is 5,000.5."""
    whole, _, places = f"{Decimal(value):,f}".partition(".")
    places = places.rstrip("0").ljust(least_places, "0")
    return f"{whole}.{places}" if places else whole


def percent(rate: str) -> str:
    """A rate such as "0.06" as 6%."""
    return f"{number(Decimal(rate).scaleb(2))}%"


def capitals(amount_minor: int) -> str:
    """Yuan in the capital numerals of Chinese financial documents: 120304 is 壹仟贰佰零叁元零肆分."""
    yuan, rest = divmod(abs(amount_minor), 100)
    jiao, fen = divmod(rest, 10)
    words = "（负数）" if amount_minor < 0 else ""
    if yuan or not rest:
        words += _capital_integer(yuan) + "元"
    if jiao:
        words += _DIGITS[jiao] + "角"
    elif fen and yuan:
        words += "零"
    return words + (_DIGITS[fen] + "分" if fen else "整")


def _capital_integer(value: int) -> str:
    for size, name in _STEPS:
        if value >= size:
            head, rest = divmod(value, size)
            gap = "零" if 0 < rest < size // 10 else ""
            return _capital_integer(head) + name + gap + (_capital_integer(rest) if rest else "")
    return _DIGITS[value]


def local(instant: str, timezone: str) -> datetime:
    """An ISO 8601 instant in a time zone's local time."""
    return datetime.fromisoformat(instant).astimezone(ZoneInfo(timezone))


def moment(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant.second else f"{instant:%Y-%m-%d %H:%M}"


def span(start: datetime, end: datetime, to: str) -> str:
    """[start, end) for people: whole days by their first and last date, else with the times of day."""
    if start.time() == end.time() == datetime.min.time():
        first, last = start.date(), end.date() - timedelta(days=1)
        return first.isoformat() if first == last else f"{first.isoformat()}{to}{last.isoformat()}"
    return f"{moment(start)}{to}{moment(end)}"
