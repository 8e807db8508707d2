"""A small world to bill: an operator, a provider, buyers, a tariff, and readings of exact size."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from stdnum.cn import uscc

from billing import contracts, invoicing, parties, tariffs
from billing.models import (
    Account,
    BillingPeriod,
    Contract,
    Dispute,
    EventProblem,
    Invoice,
    InvoiceLine,
    Issuer,
    Meter,
    NumberSeries,
    Party,
    Reading,
    Tariff,
    TariffVersion,
)
from marketplace.metering import gpu_meter

CN = "Asia/Shanghai"
MAY = datetime(2020, 4, 30, 16, tzinfo=UTC)  # midnight of 1 May in Shanghai
JUNE = datetime(2020, 5, 31, 16, tzinfo=UTC)
JULY = datetime(2020, 6, 30, 16, tzinfo=UTC)
INTERVAL = timedelta(minutes=15)
ALL_DAY = {"weekday": [["all"] * 24], "weekend": [["all"] * 24]}


def energy(price: str = "8.00", **changes: Any) -> dict[str, Any]:
    return {"kind": "energy", "code": "EN", "meter": "gpu_hours", "prices": {"all": [{"price": price}]}} | changes


def document(*charges: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A tariff in CNY from May 2020 on, 6 % VAT on top; one energy charge of 8.00 a GPU-hour unless told otherwise."""
    return {
        "code": "T",
        "currency": "CNY",
        "timezone": CN,
        "effective": ["2020-05-01", None],
        "periods": ["all"],
        "schedule": ALL_DAY,
        "charges": list(charges) or [energy()],
        "tax": {"category": "S", "rate": "0.06", "price_includes_tax": False},
    } | changes


def publish(*charges: dict[str, Any], **changes: Any) -> TariffVersion:
    gpu_meter()
    return tariffs.publish(document=document(*charges, **changes), at=MAY, actor="test")


def credit_code(number: int) -> str:
    body = f"91310115MA{number:07d}"
    return body + uscc.calc_check_digit(body)


def party(number: int, name: str | None = None) -> Party:
    return parties.register(legal_name=name or f"公司{number}", credit_code=credit_code(number), at=MAY)


def issuer(code: str = "lg", number: int = 1, **changes: Any) -> Issuer:
    facts = {"timezone": CN, "currency": "CNY", "number_prefix": code.upper()} | changes
    return parties.appoint_issuer(code=code, party=party(number, f"运营商{code}"), **facts)


def provider(number: int = 2) -> Party:
    return party(number, f"供应商{number}")


def account(of: Issuer, code: str, number: int = 100) -> Account:
    return parties.open_account(issuer=of, code=code, party=party(number), at=MAY)


def contract(
    of: Account, tariff: Tariff, *, number: str | None = None, by: Party | None = None, **changes: Any
) -> Contract:
    facts = {"fee_percent": Decimal(10), "start_at": MAY, "end_at": None} | changes
    return contracts.sign(
        number=number or f"C-{of.code}", account=of, tariff=tariff, provider=by or provider(), actor="test", **facts
    )


def read(contract: Contract, *gpu_seconds: int, start_at: datetime = MAY, meter: Meter | None = None) -> None:
    """One reading an interval from start_at on; zeros are left out."""
    meter = meter or gpu_meter()
    Reading.objects.bulk_create(
        Reading(contract=contract, meter=meter, start_at=start_at + number * INTERVAL, quantity=quantity)
        for number, quantity in enumerate(gpu_seconds)
        if quantity
    )


def hours(count: int) -> list[int]:
    """GPU-hours as readings: 4 GPUs over as many intervals."""
    return [3600] * count


def may(of: Issuer) -> BillingPeriod:
    return invoicing.open_period(issuer=of, code="2020-05")


def first_of_june() -> date:
    return date(2020, 6, 1)


def buyers(of: Issuer, tariff: Tariff, count: int, *, used: int = 10) -> list[Account]:
    """Accounts B00, B01, ... with a contract each; B03 used 3 GPU-hours more than B00."""
    made = []
    for number in range(count):
        buyer = account(of, f"B{number:02d}", 100 + number)
        read(contract(buyer, tariff), *hours(used + number))
        made.append(buyer)
    return made


def close(period: BillingPeriod, **changes: Any) -> invoicing.Closed:
    return invoicing.close_period(**({"period": period, "at": JUNE, "actor": "test"} | changes))


# Rows made without the verbs, for tests of who sees what and of what lists ask.


def draft_row(
    *, contract: Contract, version: TariffVersion, period: BillingPeriod, at: datetime, **line: Any
) -> Invoice:
    """A draft of CNY 100.00 and 6 % VAT on the contract's account, with one line; `line` says what more stands on it."""
    account = contract.account
    amounts = {"currency": "CNY", "net_minor": 10_000, "tax_minor": 600, "gross_minor": 10_600}
    invoice = Invoice.objects.create(
        account=account, period=period, issuer=account.issuer, drafted_at=at, actor="test", **amounts
    )
    facts = {"kind": "energy", "quantity_base": 3600, "quantity": 1, "unit_price": 100, "amount_minor": 10_000} | line
    InvoiceLine.objects.create(
        invoice=invoice,
        position=1,
        contract=contract,
        tariff_version=version,
        start_at=period.start_at,
        end_at=period.end_at,
        tax_category="S",
        tax_rate="0.06",
        explanation={},
        **facts,
    )
    return invoice


def issue_row(invoice: Invoice, *, at: datetime, due_date: date) -> None:
    """Issue a draft_row with the next number of its issuer and a snapshot of no more than its amounts."""
    issuer = invoice.issuer
    series, _ = NumberSeries.objects.get_or_create(issuer=issuer, series=f"{at.year}", defaults={"last_number": 0})
    NumberSeries.objects.filter(pk=series.pk).update(last_number=series.last_number + 1)
    number = f"{issuer.number_prefix}-{at.year}-{series.last_number + 1:06d}"
    names = ("currency", "net_minor", "tax_minor", "gross_minor")
    snapshot = json.dumps({"number": number} | {name: getattr(invoice, name) for name in names})
    sha256 = hashlib.sha256(snapshot.encode()).hexdigest()
    facts = {"number": number, "issued_at": at, "due_date": due_date, "snapshot": snapshot, "sha256": sha256}
    Invoice.objects.filter(pk=invoice.pk).update(state="issued", **facts)
    invoice.refresh_from_db()


def dispute_row(invoice: Invoice, *, at: datetime) -> Dispute:
    """An open dispute of the first line of an issued invoice."""
    facts = {"net_minor": 100, "held_minor": 106, "reason": "It was not used.", "opened_at": at, "opened_by": "test"}
    return Dispute.objects.create(line=invoice.lines.order_by("position")[0], invoice=invoice, **facts)


def problem_row(*, owner: Party, event_id: str, at: datetime) -> EventProblem:
    """A conflict of an event that the owner sent."""
    return EventProblem.objects.create(
        owner=owner,
        source="kept",
        event_id=event_id,
        outcome="conflict",
        field="data.value",
        reason="the event of this id has '8': expected the same, or another id",
        type="gpu.sample",
        first_at=at,
        last_at=at,
        times=1,
    )
