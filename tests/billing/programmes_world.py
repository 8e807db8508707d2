"""Programmes in the world of tests/billing/world.py: funder, programme, budget, grants."""

from collections import Counter
from datetime import date
from decimal import Decimal

from django.db import connection
from django.db.models import Sum

from billing import commitments, programmes
from billing.models import (
    Account,
    BudgetPeriod,
    Commitment,
    FirmCap,
    Grant,
    Invoice,
    InvoiceLine,
    Issuer,
    LedgerAccount,
    Posting,
    Programme,
    ProgrammeShare,
    Redemption,
)
from tests.billing import world

YEAR = (date(2020, 1, 1), date(2020, 12, 31))
PLENTY = 10**10


def funder(number: int = 50):
    return world.party(number, f"资助方{number}")


def programme(
    issuer: Issuer, code: str = "sme-30", *, budget_minor: int | None = PLENTY, signed_by="finance", **terms
) -> Programme:
    """Open, a voucher of 30 % on all of 2020's use, unless told otherwise."""
    facts = {
        "mode": Programme.Mode.VOUCHER,
        "funder": funder(),
        "percent": Decimal(30),
        "from_date": YEAR[0],
        "until_date": YEAR[1],
        "bars_related_parties": False,
        "one_side_claims": False,
        "vat_treatment": Programme.VatTreatment.THIRD_PARTY_CONSIDERATION,
    } | terms
    made = programmes.draft(issuer=issuer, code=code, name=code, terms=facts, at=world.MAY, actor="test")
    if budget_minor is not None:
        programmes.set_budget(
            programme=made,
            code="all",
            from_date=YEAR[0],
            until_date=max(YEAR[1], facts["until_date"]),
            budget_minor=budget_minor,
        )
    programmes.sign_off_vat(programme=made, treatment=facts["vat_treatment"], at=world.MAY, actor=signed_by)
    programmes.open_(programme=made, at=world.MAY, actor="test")
    return made


def grant(of: Programme, account: Account, **facts) -> Grant:
    made = programmes.apply(programme=of, party=account.party, at=world.MAY, actor="test")
    programmes.approve(grant=made, at=world.MAY, actor="staff", **facts)
    return made


def commit(of: Grant, account: Account, wanted: dict[str, int], source: str = "r:1", **changes):
    facts = {"expires_at": world.JULY, "at": world.MAY, "actor": "test"} | changes
    return commitments.commit(grant=of, account=account, source=source, wanted=wanted, **facts)


def counts(of: Programme, code: str = "all") -> tuple[int, int, int]:
    """budget, committed, redeemed."""
    row = BudgetPeriod.objects.get(programme=of, code=code)
    return row.budget_minor, row.committed_minor, row.redeemed_minor


def balances(account: Account) -> dict[str, int]:
    """The ledger's balances by name, of the account's issuer."""
    rows = Posting.objects.filter(ledger_account__issuer=account.issuer)
    return dict(rows.values_list("ledger_account__name").annotate(Sum("amount_minor")))


def check_ties():
    """Invariants 6, 9 and 10 over the whole database; counts are the sums of what they count."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    for budget in BudgetPeriod.objects.all():
        assert 0 <= budget.committed_minor + budget.redeemed_minor <= budget.budget_minor
        months = (f"{budget.from_date:%Y-%m}", f"{budget.until_date:%Y-%m}")
        assert budget.committed_minor == _sum(
            Commitment.objects.filter(
                grant__programme=budget.programme_id, state="open", month__gte=months[0], month__lte=months[1]
            )
        )
        assert budget.redeemed_minor == _redeemed(
            share__programme=budget.programme_id, share__month__gte=months[0], share__month__lte=months[1]
        )
    for cap in FirmCap.objects.all():
        assert 0 <= cap.committed_minor + cap.redeemed_minor <= cap.cap_minor
        assert cap.committed_minor == _sum(
            Commitment.objects.filter(
                grant__programme=cap.programme_id,
                grant__party__credit_code=cap.credit_code,
                state="open",
                month__startswith=cap.period,
            )
        )
        assert cap.redeemed_minor == _redeemed(
            share__programme=cap.programme_id,
            share__grant__party__credit_code=cap.credit_code,
            share__month__startswith=cap.period,
        )
    redeemed, offset = Counter(), Counter()
    for each in Redemption.objects.select_related("share__programme"):
        redeemed[each.share_id] += each.amount_minor
        offset[each.line_id] += each.amount_minor if each.share.programme.mode == "voucher" else 0
    for share in ProgrammeShare.objects.all():
        assert share.share_minor == redeemed[share.pk]
    lines, sides = {}, {}
    for line in InvoiceLine.objects.defer("explanation"):
        lines.setdefault(line.invoice_id, []).append(line)
    for source, name, amount_minor in Posting.objects.values_list(
        "journal__source", "ledger_account__name", "amount_minor"
    ):
        sides.setdefault(source, Counter())[name] += amount_minor
    for invoice in (
        Invoice.objects.filter(state="issued", kind="invoice").select_related("period", "account").defer("snapshot")
    ):
        total = sides.get(f"invoice:{invoice.period.code}:{invoice.account.code}", Counter())
        _check_invoice(invoice, lines.get(invoice.pk, []), offset, total)
    assert _sum(Posting.objects.all()) == 0


def _sum(rows, field="amount_minor") -> int:
    return rows.aggregate(total=Sum(field))["total"] or 0


def _redeemed(**which) -> int:
    rows = Redemption.objects.filter(**which)
    return _sum(rows) - _sum(rows, "clawed_back_minor")


def _check_invoice(invoice, lines, offset, total) -> None:
    for line in lines:
        assert offset[line.pk] == line.subsidy_minor
        assert abs(line.subsidy_minor) <= abs(line.amount_minor)
        assert line.subsidy_minor * line.amount_minor >= 0
    assert sum(line.amount_minor for line in lines) == invoice.net_minor
    assert sum(line.subsidy_minor for line in lines) == invoice.subsidy_minor
    assert invoice.payable_minor == invoice.net_minor - invoice.subsidy_minor + invoice.tax_minor
    margin_minor = invoice.net_minor - total["cost_of_compute"]
    net_vat_minor = invoice.tax_minor - total["vat_input"]
    assert total["receivable"] == invoice.payable_minor
    assert total["subsidy_receivable"] == invoice.subsidy_minor
    assert (
        total["receivable"] + total["subsidy_receivable"] == -total["provider_payable"] + margin_minor + net_vat_minor
    )


def ledger_account(name: str, **owner) -> LedgerAccount:
    return LedgerAccount.objects.get(name=name, **owner)
