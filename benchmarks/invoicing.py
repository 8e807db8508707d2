"""Part `invoicing`: 2,000 accounts with a month of 15-minute readings each, rated, numbered, posted, snapshots stored.

Needs a migrated database without an issuer. Readings are copied straight into their table beforehand, not timed: how
fast they come about is measured by the part `trace`.
"""

import json
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from django.db import connection
from stdnum.cn import uscc

from billing import invoicing, parties, tariffs
from billing.documents.invoice import render_invoice
from billing.models import Account, BillingPeriod, Contract, Invoice, InvoiceLine, Meter, Party, Posting, ReservedSpan
from marketplace.metering import gpu_meter

ACCOUNTS = 2_000
PERIOD = "2020-05"
AT = datetime(2020, 5, 31, 16, tzinfo=UTC)  # the midnight in Shanghai that ends May
TARIFF = Path(__file__).parent.parent / "marketplace" / "data" / "tariffs" / "LG-INCLUSIVE-2020.json"
PDFS = 200
INTERVAL = timedelta(minutes=15)


def run(progress: Callable[[str], object], accounts: int = ACCOUNTS, processes: int | None = None) -> dict[str, object]:
    """`invoices_per_second` from readings to issued invoices, `pdfs_per_second` of one process, and what they ran on."""
    workers = processes or max(2, os.cpu_count() or 1)
    progress(f"{accounts} accounts with a month of readings each")
    period = _make(accounts, progress)
    progress(f"issuing with {workers} rating processes")
    start = time.perf_counter()
    closed = invoicing.close_period(period=period, at=AT, actor="benchmark", processes=workers)
    seconds = time.perf_counter() - start
    _check(period, closed, accounts)
    progress(f"{accounts / seconds:.0f} invoices a second; now {PDFS} PDFs")
    return {
        "invoices_per_second": round(accounts / seconds, 1),
        "seconds": round(seconds, 3),
        "invoices": accounts,
        "lines": InvoiceLine.objects.filter(invoice__period=period).count(),
        "readings": accounts * ((period.end_at - period.start_at) // INTERVAL),
        "rating_processes": workers,
        "pdfs_per_second": _pdfs(period),
    }


def _make(accounts: int, progress: Callable[[str], object]) -> BillingPeriod:
    operator = _party(0)
    issuer = parties.appoint_issuer(
        code="bench", party=operator, timezone="Asia/Shanghai", currency="CNY", number_prefix="BM"
    )
    period = invoicing.open_period(issuer=issuer, code=PERIOD)
    document = json.loads(TARIFF.read_text(encoding="utf-8"))
    tariff = tariffs.publish(document=document, at=period.start_at, actor="benchmark").tariff
    provider = _party(1)
    buyers = Party.objects.bulk_create([_unsaved(number) for number in range(2, accounts + 2)])
    opened = Account.objects.bulk_create(
        Account(issuer=issuer, code=f"A{number:05d}", party=buyer, created_at=AT) for number, buyer in enumerate(buyers)
    )
    contracts = Contract.objects.bulk_create(
        Contract(
            number=f"C-{account.code}",
            account=account,
            tariff=tariff,
            provider=provider,
            fee_percent=Decimal(10),
            start_at=period.start_at,
            actor="benchmark",
        )
        for account in opened
    )
    ReservedSpan.objects.bulk_create(
        ReservedSpan(contract=each, quantity=8 * (1 + number % 16), start_at=period.start_at, source="benchmark")
        for number, each in enumerate(contracts)
    )
    _copy_readings(contracts, gpu_meter(), period, progress)
    return period


def _copy_readings(
    contracts: list[Contract], meter: Meter, period: BillingPeriod, progress: Callable[[str], object]
) -> None:
    """Each contract uses some of what it reserved, with a seeded walk from interval to interval."""
    chance = random.Random(20200501)
    starts = [period.start_at + number * INTERVAL for number in range((period.end_at - period.start_at) // INTERVAL)]
    texts = [start.isoformat() for start in starts]
    with connection.cursor() as cursor:
        with cursor.copy("COPY billing_reading (contract_id, meter_id, start_at, quantity) FROM STDIN") as copy:
            for number, contract in enumerate(contracts):
                reserved, head, used = 8 * (1 + number % 16) * 900, f"{contract.pk}\t{meter.pk}\t", 0
                rows = []
                for text in texts:
                    used = min(reserved, max(0, used + chance.randrange(-reserved // 8, reserved // 8 + 1)))
                    rows.append(f"{head}{text}\t{used}\n")
                copy.write("".join(rows))
                if number % 500 == 499:
                    progress(f"{number + 1} accounts copied")
        # A month's readings come over a month: what the server still owes for this copy is not the invoices' to pay.
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _check(period: BillingPeriod, closed: invoicing.Closed, accounts: int) -> None:
    """A figure counts only for work that was done: all numbers without a gap, and a balanced ledger."""
    assert closed.period.state == BillingPeriod.State.CLOSED
    assert closed.issued == tuple(f"BM-2020-{number:06d}" for number in range(1, accounts + 1))
    assert Posting.objects.filter(journal__period=period).count() == 6 * accounts
    gross_minor = sum(Invoice.objects.filter(period=period).values_list("gross_minor", flat=True))
    receivable = Posting.objects.filter(ledger_account__name="receivable").values_list("amount_minor", flat=True)
    assert sum(receivable) == gross_minor


def _pdfs(period: BillingPeriod) -> float:
    invoices = Invoice.objects.filter(period=period).order_by("number")
    snapshots = [snapshot or "" for snapshot in invoices.values_list("snapshot", flat=True)[:PDFS]]
    render_invoice(snapshot=snapshots[0], language="zh-hans")  # fonts and template are read once
    start = time.perf_counter()
    for snapshot in snapshots:
        render_invoice(snapshot=snapshot, language="zh-hans")
    return round(len(snapshots) / (time.perf_counter() - start), 1)


def _party(number: int) -> Party:
    party = _unsaved(number)
    party.save()
    return party


def _unsaved(number: int) -> Party:
    body = f"91310115MA{number:07d}"
    code = body + uscc.calc_check_digit(body)
    return Party(legal_name=f"基准测试公司 {number:05d}", credit_code=code, address="上海市浦东新区", created_at=AT)
