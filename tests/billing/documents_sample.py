"""Snapshots of invoices for the tests of documents and exports: rated by the real core, in the shape invoicing writes."""

import json
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

from billing.rating.money import round_half_up, taxes
from billing.rating.period import Period
from billing.rating.quantity import Profile, Reserved, Unit
from billing.rating.rate import rate
from billing.rating.tariff import parse

ZONE = "Asia/Shanghai"
ISSUER = {
    "name": "上海临港算力运营有限公司",
    "name_en": "Shanghai Lin-gang Compute Operations Co., Ltd.",
    "credit_code": "91310000MA1FL4YX0B",
    "address": "上海市浦东新区临港新片区云鹃路1000号",
}
BUYER = {
    "account": "vc-a1b2c3",
    "name": "上海星河智能科技有限公司",
    "name_en": "Shanghai Xinghe Intelligence Technology Co., Ltd.",
    "credit_code": "913100001322102159",
    "address": "上海市徐汇区漕溪北路398号8楼",
    "language": "zh-hans",
}
PROVIDER = "上海商汤智能科技有限公司"
DAY = ["valley"] * 7 + ["flat"] + ["peak"] * 3 + ["flat"] * 7 + ["peak"] * 3 + ["flat"] * 2 + ["valley"]


def tiers(*prices):
    edges = ("5000", "20000", None)
    return [{"price": price} | ({"up_to": edge} if edge else {}) for price, edge in zip(prices, edges, strict=True)]


def tariff_document(**changes):
    return {
        "code": "LG-INCLUSIVE-2020",
        "currency": "CNY",
        "timezone": ZONE,
        "effective": ["2020-05-01", None],
        "periods": ["peak", "flat", "valley"],
        "schedule": {"weekday": [DAY], "weekend": [DAY]},
        "charges": [
            {"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"},
            {"kind": "capacity", "code": "CP", "price": "2.10", "per": "unit_hour"},
            {
                "kind": "energy",
                "code": "EN",
                "meter": "gpu_hours",
                "tier_basis": "month",
                "tier_scope": "across_periods",
                "tier_mode": "graduated",
                "prices": {
                    "peak": tiers("5.40", "5.10", "4.80"),
                    "flat": tiers("3.60", "3.40", "3.20"),
                    "valley": tiers("1.80", "1.70", "1.60"),
                },
            },
            {
                "kind": "demand",
                "code": "DM",
                "meter": "gpu_hours",
                "interval_minutes": 15,
                "by": "month",
                "prices": {"all": [{"price": "30.00"}]},
            },
            {"kind": "minimum", "code": "MIN", "amount": "500.00", "counts": ["SC", "CP", "EN", "DM"]},
        ],
        "tax": {"category": "S", "rate": "0.06", "price_includes_tax": False},
        "rounding": {"line": "half_up"},
    } | changes


def with_charges(*more):
    document = tariff_document()
    return document | {"charges": [*document["charges"], *more]}


def quantity_text(value):
    return f"{Decimal(round_half_up(value, 6)).scaleb(-6):f}"


def local(instant):
    return instant.astimezone(ZoneInfo(ZONE)).isoformat()


def readings(period, scale):
    """GPU-seconds of each quarter of an hour: a working day's shape, the same every time."""
    count = period.seconds // 900
    return [scale * (300 + 97 * (index * 7919 % 13) + (1500 if index % 96 < 48 else 0)) for index in range(count)]


@cache
def rated_lines(document, scale, reserved_half):
    period = Period.month(2020, 5, ZONE)
    spans = [Reserved(period.start, period.end, scale * 2)]
    if reserved_half:
        spans.append(Reserved(period.start + timedelta(days=15), period.end, scale))
    bill = rate(
        period=period,
        tariffs=[(datetime(2020, 4, 30, 16, tzinfo=UTC), parse(json.loads(document)))],
        profiles={"gpu_hours": Profile(period.start, 900, readings(period, scale))},
        units={"gpu_hours": Unit()},
        reserved=spans if scale else [],
        calendars={},
    )
    return bill.lines


def line(rated, contract, position):
    return {
        "position": position,
        "contract": contract,
        "tariff": "LG-INCLUSIVE-2020",
        "tariff_version": 1,
        "provider": PROVIDER,
        "charge": rated.charge,
        "kind": rated.kind,
        "tou_period": rated.tou_period,
        "tier": rated.tier,
        "start": local(rated.start),
        "end": local(rated.end),
        "quantity": quantity_text(rated.quantity),
        "unit": rated.unit,
        "quantity_base": rated.quantity_base,
        "base_unit": rated.base_unit,
        "unit_price": None if rated.unit_price is None else str(rated.unit_price),
        "amount_minor": rated.amount_minor,
        "tax_category": rated.tax_category,
        "tax_rate": str(rated.tax_rate),
        "explanation": deepcopy(rated.explanation),
    }


def facts(
    *,
    number="LG-2020-000001",
    contracts=("C-vc-a1b2c3",),
    tariff=None,
    scale=8,
    reserved_half=False,
    buyer=None,
    issuer=None,
):
    """A snapshot as a dict."""
    rated = [
        (each, contract)
        for contract in contracts
        for each in rated_lines(json.dumps(tariff or tariff_document()), scale, reserved_half)
    ]
    tax = taxes([each for each, _ in rated])
    period = Period.month(2020, 5, ZONE)
    return {
        "format": "suanli-invoice/1",
        "number": number,
        "issuer": ISSUER | (issuer or {}),
        "buyer": BUYER | (buyer or {}),
        "billing_period": {"code": "2020-05", "start": local(period.start), "end": local(period.end), "timezone": ZONE},
        "issued_at": "2020-06-01T10:15:00+08:00",
        "due_date": date(2020, 7, 1).isoformat(),
        "currency": "CNY",
        "lines": [line(each, contract, position) for position, (each, contract) in enumerate(rated, 1)],
        "taxes": [
            {
                "category": total.category,
                "rate": str(total.rate),
                "net_minor": total.net_minor,
                "tax_minor": total.tax_minor,
            }
            for total in tax.totals
        ],
        "net_minor": tax.net_minor,
        "tax_minor": tax.tax_minor,
        "gross_minor": tax.gross_minor,
    }


def text(snapshot):
    """Canonical JSON, as invoicing stores it."""
    return json.dumps(snapshot, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sample(**options):
    return text(facts(**options))
