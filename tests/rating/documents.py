"""Tariff documents for the tests: the least that is valid, and what a test changes in it."""

from copy import deepcopy
from datetime import UTC, datetime

FLAT = [["all"] * 24]
# peak 08-20, the rest is valley, on weekdays; weekends are valley
DAY = ["valley"] * 8 + ["peak"] * 12 + ["valley"] * 4


def document(*charges, timezone="UTC", calendar=None, currency="CNY", schedule=None, periods=("all",), tax=None):
    return {
        "code": "T",
        "currency": currency,
        "timezone": timezone,
        "effective": ["2020-01-01", None],
        "periods": list(periods),
        "schedule": deepcopy(schedule) or {"weekday": FLAT, "weekend": FLAT},
        "calendar": calendar,
        "charges": deepcopy(list(charges)),
        "tax": tax or {"category": "S", "rate": "0.06", "price_includes_tax": False},
        "rounding": {"line": "half_up"},
    }


def tiers(*blocks):
    """tiers(("260", "5.40"), "6.10"): edges with prices, then the open price."""
    *closed, last = blocks
    return [{"up_to": edge, "price": price} for edge, price in closed] + [{"price": last}]


def energy(prices, code="EN", **fields):
    prices = prices if isinstance(prices, dict) else {"all": prices}
    return {"kind": "energy", "code": code, "meter": "gpu_hours", "prices": prices, **fields}


def demand(prices, code="DM", **fields):
    prices = prices if isinstance(prices, dict) else {"all": prices}
    return {"kind": "demand", "code": code, "meter": "gpu_hours", "prices": prices, **fields}


def standing(amount="10", per="day", code="SC"):
    return {"kind": "standing", "code": code, "amount": amount, "per": per}


def capacity(price="2.10", per="unit_hour", code="CP"):
    return {"kind": "capacity", "code": code, "price": price, "per": per}


def rider(basis, value, of=None, code="RD"):
    return {"kind": "rider", "code": code, "basis": basis, "value": value} | ({"of": of} if of else {})


def minimum(amount, counts, code="MIN"):
    return {"kind": "minimum", "code": code, "amount": amount, "counts": counts}


def credit(basis, value, of, code="CR"):
    return {"kind": "credit", "code": code, "basis": basis, "value": value, "of": of}


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)
