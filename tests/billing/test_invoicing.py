import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from django.db.models import Sum
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import charging, drafts, invoicing, ledger, parties
from billing.integrity import NaiveInstantError
from billing.models import BillingPeriod, Invoice, InvoiceLine, Journal, LedgerAccount, Posting
from billing.rating.line import Line
from billing.rating.money import taxes
from tests.billing import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer():
    return world.issuer()


@pytest.fixture
def tariff():
    return world.publish().tariff


def issued_by(closed):
    return list(Invoice.objects.filter(period=closed.period).order_by("number"))


def book(journal):
    """The sides of a journal as {ledger account: minor units}; a provider's or buyer's account says whose it is."""
    return {
        (
            each.ledger_account.name,
            str(each.ledger_account.account or each.ledger_account.party or ""),
        ): each.amount_minor
        for each in journal.postings.select_related("ledger_account__account", "ledger_account__party")
    }


# Periods


def test_a_period_is_a_local_month_as_stored_instants(issuer):
    period = world.may(issuer)
    assert (period.start_at, period.end_at, period.last_date) == (world.MAY, world.JUNE, date(2020, 5, 31))
    assert (period.timezone, period.state) == (world.CN, "open")
    assert world.may(issuer) == period


def test_a_month_with_a_change_of_the_clock_is_as_long_as_it_is(issuer):
    berlin = world.issuer("de", 3, timezone="Europe/Berlin")
    march = invoicing.open_period(issuer=berlin, code="2020-03")
    assert march.end_at - march.start_at == timedelta(days=31, hours=-1)


@pytest.mark.parametrize("code", ["2020-13", "2020-5", "May", "2020-05\n", "0020-05", "２０２０-05"])
def test_what_is_no_month_is_refused(issuer, code):
    with pytest.raises(invoicing.InvalidPeriodError, match="expected a year and a month, such as 2020-05"):
        invoicing.open_period(issuer=issuer, code=code)


def test_a_period_is_never_computed_anew(issuer):
    world.may(issuer)
    issuer.timezone = "UTC"
    with pytest.raises(invoicing.PeriodDiffersError, match="timezone is Asia/Shanghai, not UTC"):
        world.may(issuer)
    issuer.timezone = "Pacific/Auckland"
    invoicing.open_period(issuer=issuer, code="2020-04")
    issuer.timezone = "America/Lima"
    with pytest.raises(
        invoicing.PeriodDiffersError, match="period 2020-03 of America/Lima overlaps another one of issuer lg"
    ):
        invoicing.open_period(issuer=issuer, code="2020-03")


# One invoice


def test_the_worked_example_is_posted_to_the_fen(issuer, tariff):
    account = world.account(issuer, "B")
    world.read(world.contract(account, tariff, by=world.provider()), *world.hours(100))
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    assert (invoice.net_minor, invoice.tax_minor, invoice.gross_minor) == (80_000, 4_800, 84_800)
    journal = Journal.objects.get()
    assert book(journal) == {
        ("receivable", "B"): 84_800,
        ("compute_revenue", ""): -80_000,
        ("vat_output", ""): -4_800,
        ("cost_of_compute", "供应商2"): 72_000,
        ("vat_input", ""): 4_320,
        ("provider_payable", "供应商2"): -76_320,
    }
    assert (journal.key, journal.effective_date) == ("invoice:2020-05:B", date(2020, 5, 31))


def test_preview_draft_issued_and_re_rated_are_the_same(issuer, tariff):
    (account,) = world.buyers(issuer, tariff, 1)
    period = world.may(issuer)
    preview = charging.charges(account=account, period=period)
    draft = invoicing.draft(account=account, period=period, at=world.MAY, actor="test")
    assert (draft.state, draft.number, draft.snapshot) == ("draft", None, None)
    assert (draft.net_minor, draft.gross_minor) == (preview.net_minor, preview.gross_minor)
    invoice = invoicing.issue(account=account, period=period, at=world.JUNE, actor="test")
    assert charging.charges(account=account, period=period) == preview
    again = drafts.make(account=account, period=period, charges=preview, at=world.JUNE)
    assert invoice.snapshot == invoice.number.join(again.text)
    assert [line.amount_minor for line in invoice.lines.all()] == [each.amount_minor for each in preview.lines]


def test_a_draft_is_made_anew_when_usage_came_and_leaves_nothing_behind(issuer, tariff):
    (account,) = world.buyers(issuer, tariff, 1)
    period = world.may(issuer)
    first = invoicing.draft(account=account, period=period, at=world.MAY, actor="test")
    world.read(account.contracts.get(), 3600, start_at=world.JUNE - world.INTERVAL)
    second = invoicing.draft(account=account, period=period, at=world.JUNE, actor="test")
    assert (first.net_minor, second.net_minor) == (8_000, 8_800)
    assert (Invoice.objects.count(), InvoiceLine.objects.count(), Journal.objects.count()) == (1, 1, 0)


def test_an_issued_invoice_is_given_back_whatever_came_after_it(issuer, tariff):
    (account,) = world.buyers(issuer, tariff, 1)
    period = world.may(issuer)
    invoice = invoicing.issue(account=account, period=period, at=world.JUNE, actor="test")
    world.read(account.contracts.get(), 3600, start_at=world.JUNE - world.INTERVAL)
    for verb in (invoicing.issue, invoicing.draft):
        assert verb(account=account, period=period, at=world.JULY, actor="test") == invoice
    invoice.refresh_from_db()
    assert (invoice.issued_at, invoice.net_minor, Journal.objects.count()) == (world.JUNE, 8_000, 1)


def test_the_snapshot_is_canonical_whole_and_free_of_ids(issuer, tariff):
    account = world.account(issuer, "B")
    world.read(world.contract(account, tariff), *world.hours(3), 1)
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="user:7")
    content = json.loads(invoice.snapshot)
    assert invoice.snapshot == json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert invoice.sha256 == hashlib.sha256(invoice.snapshot.encode()).hexdigest()
    (line,) = content.pop("lines")
    assert content == {
        "format": "suanli-invoice/1",
        "number": "LG-2020-000001",
        "issuer": {"name": "运营商lg", "name_en": "", "credit_code": world.credit_code(1), "address": ""},
        "buyer": {
            "account": "B",
            "name": "公司100",
            "name_en": "",
            "credit_code": world.credit_code(100),
            "address": "",
            "language": "zh-hans",
        },
        "billing_period": {
            "code": "2020-05",
            "start": "2020-05-01T00:00:00+08:00",
            "end": "2020-06-01T00:00:00+08:00",
            "timezone": "Asia/Shanghai",
        },
        "issued_at": "2020-06-01T00:00:00+08:00",
        "due_date": "2020-07-01",
        "currency": "CNY",
        "taxes": [{"category": "S", "rate": "0.06", "net_minor": 2_400, "tax_minor": 144}],
        "net_minor": 2_400,
        "tax_minor": 144,
        "gross_minor": 2_544,
    }
    explanation = line.pop("explanation")
    assert line == {
        "position": 1,
        "contract": "C-B",
        "tariff": "T",
        "tariff_version": 1,
        "provider": "供应商2",
        "charge": "EN",
        "kind": "energy",
        "tou_period": "all",
        "tier": None,
        "start": "2020-05-01T00:00:00+08:00",
        "end": "2020-06-01T00:00:00+08:00",
        "quantity": "3.000278",
        "unit": "gpu_hour",
        "quantity_base": 10_801,
        "base_unit": "gpu_second",
        "unit_price": "8.00",
        "amount_minor": 2_400,
        "tax_category": "S",
        "tax_rate": "0.06",
    }
    assert explanation["amount"] == "10801/450"


def test_a_stored_line_says_what_its_snapshot_says(issuer, tariff):
    account = world.account(issuer, "B")
    world.read(world.contract(account, tariff), *world.hours(3), 1)
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    (told,) = json.loads(invoice.snapshot)["lines"]
    line = invoice.lines.get()
    same = ("position", "charge", "kind", "tou_period", "tier", "unit", "quantity_base", "base_unit", "amount_minor")
    assert {name: getattr(line, name) for name in same} == {name: told[name] for name in same}
    assert (line.quantity, line.unit_price, line.tax_rate) == (Decimal("3.000278"), Decimal(8), Decimal("0.06"))
    assert (line.start_at, line.end_at, line.explanation) == (world.MAY, world.JUNE, told["explanation"])
    assert (line.contract.number, line.tariff_version.version) == (told["contract"], told["tariff_version"])


@pytest.mark.parametrize("text", [r"\u0000", r"\\u0000", '","number":"', "\\"])
def test_a_name_or_a_code_that_looks_like_json_is_told_as_it_is(issuer, tariff, text):
    buyer = parties.register(legal_name=f"公司{text}", credit_code=world.credit_code(100), at=world.MAY)
    account = parties.open_account(issuer=issuer, code=f"B{text}", party=buyer, at=world.MAY)
    world.contract(account, tariff, number="C")
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    content = json.loads(invoice.snapshot)
    assert (content["number"], content["buyer"]["account"]) == ("LG-2020-000001", f"B{text}")
    assert content["buyer"]["name"] == f"公司{text}"
    assert invoice.snapshot == json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("verb", [invoicing.issue, invoicing.draft])
@pytest.mark.parametrize("year", [1999, 2201, 9999])
def test_an_instant_out_of_all_reason_is_refused(issuer, tariff, verb, year):
    (account,) = world.buyers(issuer, tariff, 1)
    with pytest.raises(invoicing.InvalidInstantError, match="expected a year from 2000 to 2200"):
        verb(account=account, period=world.may(issuer), at=datetime(year, 6, 1, tzinfo=UTC), actor="test")
    assert not Invoice.objects.exists()


@pytest.mark.parametrize(
    ("verb", "at", "error", "message"),
    [
        (
            invoicing.issue,
            world.JUNE - timedelta(seconds=1),
            invoicing.TooEarlyError,
            "expected 2020-06-01T00:00:00.08:00 or later",
        ),
        (invoicing.issue, datetime(2020, 6, 1), NaiveInstantError, "at is 2020-06-01T00:00:00: expected"),  # noqa: DTZ001
        (invoicing.draft, datetime(2020, 6, 1), NaiveInstantError, "at is 2020-06-01T00:00:00: expected"),  # noqa: DTZ001
    ],
)
def test_an_instant_before_the_periods_end_or_without_an_offset_is_refused(issuer, tariff, verb, at, error, message):
    (account,) = world.buyers(issuer, tariff, 1)
    with pytest.raises(error, match=message):
        verb(account=account, period=world.may(issuer), at=at, actor="test")
    assert not Invoice.objects.exists()


def test_the_date_of_issue_is_local_and_numbers_begin_anew_each_year(issuer):
    tariff = world.publish(effective=["2020-01-01", None]).tariff
    (account,) = world.buyers(issuer, tariff, 1)
    may, november = world.may(issuer), invoicing.open_period(issuer=issuer, code="2020-11")
    invoicing.issue(account=account, period=may, at=world.JUNE, actor="test")
    new_year = datetime(2020, 12, 31, 16, tzinfo=UTC)
    invoice = invoicing.issue(account=account, period=november, at=new_year, actor="test")
    assert (invoice.number, invoice.due_date) == ("LG-2021-000001", date(2021, 1, 31))


def test_a_foreign_account_is_not_invoiced_in_an_issuers_period(issuer, tariff):
    (account,) = world.buyers(issuer, tariff, 1)
    other = world.may(world.issuer("sz", 3))
    for verb in (invoicing.issue, invoicing.draft):
        with pytest.raises(invoicing.ForeignAccountError, match="account B00 is of issuer lg: expected one of sz"):
            verb(account=account, period=other, at=world.JUNE, actor="test")
    assert not Invoice.objects.exists()


# Closing


def test_closing_issues_in_byte_order_of_the_account_codes_and_closes(issuer, tariff):
    for number, code in enumerate(["b", "B", "é", "a10", "a2", "Z"]):
        world.contract(world.account(issuer, code, 100 + number), tariff)
    closed = world.close(world.may(issuer))
    assert [(each.number, each.account.code) for each in issued_by(closed)] == [
        ("LG-2020-000001", "B"),
        ("LG-2020-000002", "Z"),
        ("LG-2020-000003", "a10"),
        ("LG-2020-000004", "a2"),
        ("LG-2020-000005", "b"),
        ("LG-2020-000006", "é"),
    ]
    assert closed.issued == tuple(f"LG-2020-00000{number}" for number in range(1, 7))
    assert (closed.present, closed.refused, closed.period.state, closed.period.closed_at) == (
        0,
        (),
        "closed",
        world.JUNE,
    )


def test_closing_again_changes_nothing(issuer, tariff):
    world.buyers(issuer, tariff, 3)
    first = world.close(world.may(issuer))
    before = list(Invoice.objects.order_by("id").values())
    again = world.close(world.may(issuer), at=world.JULY)
    assert (again.issued, again.present, again.refused, again.period.closed_at) == ((), 3, (), first.period.closed_at)
    assert list(Invoice.objects.order_by("id").values()) == before


def test_who_has_a_contract_but_no_usage_pays_what_stands(issuer):
    tariff = world.publish({"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"}).tariff
    world.contract(world.account(issuer, "A"), tariff)
    world.contract(world.account(issuer, "B", 101), tariff, start_at=world.JUNE)
    world.account(issuer, "C", 102)
    assert [(each.account.code, each.net_minor) for each in issued_by(world.close(world.may(issuer)))] == [
        ("A", 31_000)
    ]


def test_an_invoice_of_nothing_is_issued_without_a_journal(issuer, tariff):
    world.contract(world.account(issuer, "A"), tariff)
    (invoice,) = issued_by(world.close(world.may(issuer)))
    assert (invoice.number, invoice.gross_minor, Journal.objects.count()) == ("LG-2020-000001", 0, 0)


def test_an_account_that_can_not_be_charged_is_passed_over_named_and_issued_later(issuer, tariff):
    first, broken, last = world.buyers(issuer, tariff, 3)
    ending = world.publish(code="SHORT", effective=["2020-05-01", "2020-05-15"]).tariff
    world.contract(broken, ending, number="C-broken")
    period = world.may(issuer)
    closed = world.close(period)
    assert [each.account for each in issued_by(closed)] == [first, last]
    reason = "contract C-broken: version 1 of tariff SHORT ends on 2020-05-15: publish one that applies from then"
    assert closed.refused == (invoicing.Refused("B01", reason),)
    assert closed.period.state == "open"
    assert world.close(period).issued == ()
    world.publish(code="SHORT", effective=["2020-05-15", None])
    mended = world.close(period)
    assert (mended.issued, mended.present, mended.period.state) == (("LG-2020-000003",), 2, "closed")


LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("price", "readings", "reason"),
    [
        ("0", [LARGEST, 1], "contract C-huge: line EN: quantity_base is 9223372036854775808: expected"),
        ("360000", [LARGEST], "contract C-huge: line EN: amount_minor is 92233720368547758070000: expected"),
        ("36", [LARGEST], "account B01, contracts C-B01, C-huge: net_minor is 9223372036854784607: expected"),
        ("35", [LARGEST], "account B01, contracts C-B01, C-huge: gross_minor is 9505197293536458840: expected"),
        (f"1{'0' * 18}", [1], "contract C-huge: line EN: unit_price is 1000000000000000000: expected less than 10^18"),
    ],
)
def test_what_no_invoice_can_hold_keeps_nobody_else_waiting(issuer, tariff, price, readings, reason):
    first, huge, last = world.buyers(issuer, tariff, 3)
    dear = world.publish(world.energy(price), code="DEAR").tariff
    world.read(world.contract(huge, dear, number="C-huge"), *readings)
    closed = world.close(world.may(issuer))
    assert [each.account for each in issued_by(closed)] == [first, last]
    (refused,) = closed.refused
    assert (refused.account, closed.period.state) == ("B01", "open")
    assert refused.reason.startswith(reason)
    with pytest.raises(charging.OutOfRangeError, match=reason.split(":", maxsplit=1)[0]):
        invoicing.issue(account=huge, period=closed.period, at=world.JUNE, actor="test")


def test_two_issuers_count_their_own_numbers(issuer, tariff):
    other = world.issuer("sz", 3)
    world.buyers(issuer, tariff, 2)
    world.contract(world.account(other, "B00"), tariff, number="C-other")
    assert world.close(world.may(issuer)).issued == ("LG-2020-000001", "LG-2020-000002")
    assert world.close(world.may(other)).issued == ("SZ-2020-000001",)


def test_progress_is_told_for_each_account(issuer, tariff):
    world.buyers(issuer, tariff, 3)
    told = []
    world.close(world.may(issuer), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("count", "queries"), [(1, 24), (3, 30)])
def test_closing_takes_three_queries_more_for_each_account(issuer, tariff, count, queries, django_assert_num_queries):
    """Its readings, a savepoint and its end. The four statements that store an invoice go past Django's count."""
    world.buyers(issuer, tariff, count)
    period = BillingPeriod.objects.select_related("issuer").get(pk=world.may(issuer).pk)
    with django_assert_num_queries(queries):
        world.close(period)


# The ledger


def test_all_postings_sum_to_zero_and_receivables_are_what_is_invoiced(issuer, tariff):
    world.buyers(issuer, tariff, 3)
    closed = world.close(world.may(issuer))
    assert Posting.objects.aggregate(sum=Sum("amount_minor"))["sum"] == 0
    for invoice in issued_by(closed):
        receivable = LedgerAccount.objects.get(name="receivable", account=invoice.account)
        assert ledger.balance(ledger_account=receivable) == invoice.gross_minor


def test_each_provider_is_owed_for_its_own_lines_less_its_own_fee(issuer, tariff):
    account = world.account(issuer, "B")
    for number, (by, fee, used) in enumerate([(2, "10", 1), (2, "7.50", 1), (4, "0", 1)]):
        contract = world.contract(
            account, tariff, number=f"C-{number}", by=world.provider(by), fee_percent=Decimal(fee)
        )
        world.read(contract, used * 3600 + 4)
    invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    sides = book(Journal.objects.get())
    # 801 fen a contract: fees 80.1 + 60.075 = 140.175, so 140 of the first provider; VAT 6 % of 1,462 and of 801
    assert (sides["cost_of_compute", "供应商2"], sides["provider_payable", "供应商2"]) == (1_462, -1_550)
    assert (sides["cost_of_compute", "供应商4"], sides["provider_payable", "供应商4"]) == (801, -849)


def test_a_journal_is_reversed_in_a_period_that_has_begun_and_in_no_later_one(issuer, tariff):
    world.buyers(issuer, tariff, 1)
    world.close(world.may(issuer))
    (journal,) = Journal.objects.all()
    july = invoicing.open_period(issuer=issuer, code="2020-07")
    with pytest.raises(
        ledger.NoOpenPeriodError,
        match=r"issuer lg has no open period from 2020-05 on that has begun by at, 2020-06-30T15:59:59.00:00: open the one",
    ):
        ledger.reverse(journal=journal, at=world.JULY - timedelta(seconds=1), actor="test")
    undone = ledger.reverse(journal=journal, at=world.JULY, actor="test")
    assert (undone.period, undone.effective_date) == (july, date(2020, 7, 1))


def line_of(amount_minor, category, rate):
    return Line(
        charge="EN",
        kind="energy",
        tou_period=None,
        tier=None,
        start=world.MAY,
        end=world.JUNE,
        quantity=Fraction(1),
        quantity_base=3600,
        unit="gpu_hour",
        base_unit="gpu_second",
        unit_price=None,
        amount=Fraction(amount_minor, 100),
        amount_minor=amount_minor,
        tax_category=category,
        tax_rate=Decimal(rate),
        tax_included=False,
        explanation={},
    )


LINES = st.lists(
    st.tuples(
        st.integers(-(10**7), 10**9),
        st.sampled_from([("S", "0.06"), ("S", "0.13"), ("Z", "0")]),
        st.integers(1, 3),
        st.decimals(0, 100, places=2),
    ),
    max_size=12,
)


@given(LINES)
@settings(max_examples=200, deadline=None)
def test_money_in_is_money_out(drawn):
    """Buyer = provider with its VAT + the platform's fee + net VAT, and the journal sums to zero, to the fen."""
    lines = [line_of(amount_minor, *tax) for amount_minor, tax, _, _ in drawn]
    taxed = taxes(lines)
    charged = tuple(
        charging.ChargedLine(charging.Supply(n, f"C-{n}", "T", by, f"P{by}", fee), 1, 1, line, net)
        for n, ((_, _, by, fee), line, net) in enumerate(zip(drawn, lines, taxed.line_net_minor, strict=True))
    )
    charges = charging.Charges("CNY", charged, taxed.totals)
    sides = drafts.postings(charges, type("Account", (), {"pk": 1}))
    total = {
        name: sum(amount for wanted, amount in sides if wanted.name == name) for name in {w.name for w, _ in sides}
    }
    assert sum(total.values()) == 0
    fee_minor = charges.net_minor - total.get("cost_of_compute", 0)
    net_vat_minor = -total["vat_output"] - total.get("vat_input", 0)
    assert total["receivable"] == charges.gross_minor
    assert charges.gross_minor == -total.get("provider_payable", 0) + fee_minor + net_vat_minor
