"""What the database refuses by itself, whoever asks: each trigger and constraint of migration 0002, one by one."""

import re
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction

from billing import invoicing, ledger, snapshot
from billing.integrity import constraint_name, named
from billing.models import EventSource, Invoice, LedgerAccount, ReservedSpan, UsageEvent
from tests.billing import world

pytestmark = pytest.mark.django_db
integrity_migration = import_module("billing.migrations.0002_integrity")


def refused(statement, *parameters):
    """The name of the constraint or trigger that refuses the statement."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")  # what came before is checked
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"{statement}; SET CONSTRAINTS ALL IMMEDIATE", parameters)
    return constraint_name(caught.value)


def run(statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


@pytest.fixture
def issuer():
    return world.issuer()


@pytest.fixture
def account(issuer):
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    return account


@pytest.fixture
def draft(account):
    return invoicing.draft(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")


@pytest.fixture
def issued(account):
    return invoicing.issue(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")


COPY_OF_LINE = """
    INSERT INTO billing_invoiceline (invoice_id, position, contract_id, tariff_version_id, charge, kind, start_at, end_at,
        quantity_base, base_unit, quantity, unit, amount_minor, tax_category, tax_rate, explanation)
    SELECT invoice_id, position + 1, {contract}, tariff_version_id, charge, kind, start_at, end_at, quantity_base, base_unit,
        quantity, unit, 0, tax_category, tax_rate, explanation FROM billing_invoiceline
"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_invoice SET actor = 'x'",
        "UPDATE billing_invoice SET state = 'draft', number = NULL, snapshot = NULL, issued_at = NULL",
        "DELETE FROM billing_invoice",
        "TRUNCATE billing_invoice CASCADE",
        "DELETE FROM billing_invoiceline",
        "TRUNCATE billing_invoiceline CASCADE",
        COPY_OF_LINE.format(contract="contract_id"),
    ],
)
def test_an_issued_invoice_and_its_lines_can_not_be_changed_deleted_or_truncated(issued, statement):
    assert refused(statement) == "invoice_issued_is_final"
    assert Invoice.objects.get() == issued


def test_no_line_is_ever_updated(draft):
    assert refused("UPDATE billing_invoiceline SET amount_minor = 1") == "invoice_line_is_never_updated"


@pytest.mark.parametrize("change", ["net_minor = 1, gross_minor = 1 + tax_minor", "actor = 'x'", "currency = 'USD'"])
def test_issuing_is_the_only_change_of_a_draft(draft, change):
    assert refused(f"UPDATE billing_invoice SET {change}") == "invoice_draft_is_only_issued"


def test_a_draft_can_be_deleted_with_its_lines(draft):
    assert (run("DELETE FROM billing_invoiceline"), run("DELETE FROM billing_invoice")) == (1, 1)


NEW_COUNTER = "INSERT INTO billing_numberseries (issuer_id, series, last_number) VALUES (%s, '2020', %s)"
ISSUE = """
    UPDATE billing_invoice SET state = 'issued', number = %s, issued_at = drafted_at, due_date = '2020-07-01',
    snapshot = %s, sha256 = %s
"""


def issuing(draft, *, number="LG-2020-000001", text=None, sha256=None, told=None):
    """ISSUE and its parameters; `told` is what the snapshot says other than the row."""
    facts = {name: getattr(draft, name) for name in ("currency", "net_minor", "tax_minor", "gross_minor")}
    text = text or snapshot.canonical(facts | {"number": number} | (told or {}))
    return ISSUE, number, text, sha256 or snapshot.digest(text)


@pytest.fixture
def counted(draft):
    """The draft, when its number is counted."""
    run(NEW_COUNTER, draft.issuer_id, 1)
    return draft


def test_a_draft_is_issued_as_it_is(counted):
    assert run(*issuing(counted)) == 1


def test_an_invoice_is_issued_with_the_digest_of_its_snapshot_only(counted):
    assert refused(*issuing(counted, sha256="0" * 64)) == "invoice_sha256_of_snapshot"


@pytest.mark.parametrize(
    "number", ["X", "LG-2020-1", "LG-2020-000000", "LG-2020-000002", "LG-2021-000001", "SZ-2020-000001"]
)
def test_an_invoice_is_issued_with_the_number_that_was_counted_last_for_its_issuer_only(counted, number):
    run(NEW_COUNTER, world.issuer("sz", 3).pk, 1)
    assert refused(*issuing(counted, number=number)) == "invoice_number_of_series"


def test_an_invoice_is_not_issued_with_a_number_before_the_last_one(counted):
    run("UPDATE billing_numberseries SET last_number = 2")
    assert refused(*issuing(counted)) == "invoice_number_of_series"
    assert run(*issuing(counted, number="LG-2020-000002")) == 1


@pytest.mark.parametrize(
    "told",
    [
        {"number": "LG-2020-000002"},
        {"currency": "USD"},
        {"net_minor": 1},
        {"tax_minor": None},
        {"gross_minor": "1"},
    ],
)
def test_an_invoice_is_issued_with_a_snapshot_that_says_what_its_row_says_only(counted, told):
    assert refused(*issuing(counted, told=told)) == "invoice_snapshot_of_columns"


@pytest.mark.parametrize("text", ["{}", "[]"])
def test_an_invoice_is_not_issued_with_a_snapshot_that_says_nothing(counted, text):
    assert refused(*issuing(counted, text=text)) == "invoice_snapshot_of_columns"


def test_an_invoice_is_issued_with_lines_that_sum_to_its_net_only(draft):
    run("DELETE FROM billing_invoiceline")
    assert refused(*issuing(draft)) == "invoice_net_is_sum_of_lines"


def test_an_invoice_is_issued_with_lines_of_its_own_account_only(draft):
    other = world.contract(world.account(draft.issuer, "Z", 199), draft.account.contracts.get().tariff)
    run(COPY_OF_LINE.format(contract=other.pk))
    assert refused(*issuing(draft)) == "invoice_lines_of_account"


NEW_INVOICE = """
    INSERT INTO billing_invoice (account_id, period_id, issuer_id, state, currency, net_minor, tax_minor, gross_minor,
        drafted_at, actor, number, snapshot, sha256, issued_at, due_date)
    VALUES (%s, %s, %s, %s, 'CNY', 1, 2, 3, now(), 'test', {0}, {0}, {0}, {1}, {1})
"""


def test_an_invoice_begins_as_a_draft(account):
    facts = [account.pk, world.may(account.issuer).pk, account.issuer_id, "issued"]
    assert refused(NEW_INVOICE.format("'x'", "now()"), *facts) == "invoice_begins_as_draft"


def test_an_invoice_its_account_and_its_period_belong_to_one_issuer(account):
    other, statement = world.issuer("sz", 3), NEW_INVOICE.format("NULL", "NULL")
    period, theirs = world.may(account.issuer), world.may(other)
    assert refused(statement, account.pk, theirs.pk, other.pk, "draft") == "invoice_account_of_issuer"
    assert refused(statement, account.pk, theirs.pk, account.issuer_id, "draft") == "invoice_of_one_issuer"
    assert refused(statement.replace("1, 2, 3", "1, 2, 4"), account.pk, period.pk, account.issuer_id, "draft") == (
        "invoice_gross_is_net_plus_tax"
    )
    assert run(statement, account.pk, period.pk, account.issuer_id, "draft") == 1
    assert refused(statement, account.pk, period.pk, account.issuer_id, "draft") == "invoice_once"


def test_no_invoice_and_no_journal_goes_into_a_closed_period(issuer):
    period = world.may(issuer)
    world.close(period)
    account = world.account(issuer, "late")
    assert (
        refused(NEW_INVOICE.format("NULL", "NULL"), account.pk, period.pk, issuer.pk, "draft") == "invoice_period_open"
    )
    assert refused(JOURNAL, issuer.pk, period.pk, date(2020, 5, 31)) == "journal_period_open"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_billingperiod SET end_at = end_at + interval '1 hour'",
        "UPDATE billing_billingperiod SET state = 'open', closed_at = NULL",
        "DELETE FROM billing_billingperiod",
    ],
)
def test_closing_is_the_only_change_of_a_period(issuer, statement):
    world.may(issuer)
    assert refused(statement) == "billing_period_only_closes"
    world.close(world.may(issuer))
    assert refused(statement) == "billing_period_only_closes"


def test_an_issuers_periods_do_not_overlap_but_those_of_two_issuers_may(issuer):
    world.may(issuer)
    world.may(world.issuer("sz", 3))
    statement = """
        INSERT INTO billing_billingperiod (issuer_id, code, timezone, start_at, end_at, last_date, state)
        VALUES (%s, '2020-06', 'UTC', '2020-05-31 15:00Z', '2020-06-30 16:00Z', '2020-06-30', 'open')
    """
    assert refused(statement, issuer.pk) == "billing_period_apart"
    assert run(statement.replace("15:00Z", "16:00Z"), issuer.pk) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_numberseries SET last_number = last_number + 2",
        "UPDATE billing_numberseries SET last_number = last_number - 1",
        "UPDATE billing_numberseries SET series = '2021', last_number = last_number + 1",
    ],
)
def test_a_counter_only_goes_on_by_one(issued, statement):
    assert refused(statement) == "number_series_counts_up_by_one"


@pytest.mark.parametrize("first", [2, 500])
def test_a_counter_begins_at_one(issuer, first):
    assert refused(NEW_COUNTER, issuer.pk, first) == "number_series_counts_up_by_one"
    assert run(NEW_COUNTER, issuer.pk, 1) == 1


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("billing_numberseries", "number_series_kept"),
        ("billing_contract", "contract_kept"),
        ("billing_reservedspan", "reserved_span_kept"),
        ("billing_reading", "reading_kept"),
    ],
)
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_counters_contracts_reserved_spans_and_readings_are_not_deleted_or_truncated(issued, table, name, statement):
    span(issued)
    assert run(f"SELECT FROM {table}") > 0
    assert refused(statement.format(table)) == name


def span(issued, **changes):
    facts = {"quantity": 2, "start_at": world.MAY, "source": "s"} | changes
    return ReservedSpan.objects.create(contract=issued.account.contracts.get(), **facts)


@pytest.mark.parametrize(
    "change",
    [
        "number = 'x'",
        "fee_percent = 50",
        "start_at = start_at + interval '1 hour'",
        "provider_id = (SELECT party_id FROM billing_issuer)",
        "actor = 'x', end_at = '2021-01-01 00:00Z'",
    ],
)
def test_a_contracts_end_is_the_only_change_of_it(issued, change):
    assert refused(f"UPDATE billing_contract SET {change}") == "contract_only_ends"
    assert run("UPDATE billing_contract SET end_at = '2021-01-01 00:00Z'") == 1


@pytest.mark.parametrize("change", ["quantity = 3", "source = 'x'", "quantity = 3, end_at = '2021-01-01 00:00Z'"])
def test_to_end_a_reserved_span_earlier_and_to_withdraw_it_are_the_only_changes_of_it(issued, change):
    span(issued)
    assert refused(f"UPDATE billing_reservedspan SET {change}") == "reserved_span_only_ends"
    assert run("UPDATE billing_reservedspan SET end_at = '2021-01-01 00:00Z'") == 1
    assert run("UPDATE billing_reservedspan SET end_at = '2020-12-01 00:00Z'") == 1
    assert refused("UPDATE billing_reservedspan SET end_at = '2021-01-01 00:00Z'") == "reserved_span_only_ends"
    assert refused("UPDATE billing_reservedspan SET end_at = NULL") == "reserved_span_only_ends"
    assert run("UPDATE billing_reservedspan SET withdrawn_at = '2020-04-01 00:00Z'") == 1
    assert refused("UPDATE billing_reservedspan SET withdrawn_at = NULL") == "reserved_span_only_ends"


@pytest.mark.parametrize(
    "change",
    [
        "code = 'x'",
        "event_type = 'x'",
        "kind = 'delta'",
        "aggregation = 'max'",
        "base_unit = 'x'",
        "unit = 'x'",
        "demand_unit = 'x'",
        "base_per_unit = 1",
    ],
)
def test_a_meter_with_readings_changes_its_names_only(issuer, change):
    world.gpu_meter()
    assert run(f"UPDATE billing_meter SET {change}") == 1
    run("DELETE FROM billing_meter")
    world.buyers(issuer, world.publish().tariff, 1)
    assert refused(f"UPDATE billing_meter SET {change}") == "meter_with_readings_stays"
    assert run("UPDATE billing_meter SET name = 'x', name_en = 'y'") == 1


def test_a_tariff_keeps_its_code_and_is_not_deleted_with_versions(account):
    assert refused("UPDATE billing_tariff SET code = 'x'") == "tariff_stays"
    assert refused("DELETE FROM billing_tariff") == "tariff_stays"
    assert refused("TRUNCATE billing_tariff CASCADE") == "tariff_kept"
    assert run("UPDATE billing_tariff SET name = 'x', name_en = 'y'") == 1


JOURNAL = """
    INSERT INTO billing_journal (issuer_id, key, period_id, effective_date, source, posted_at, actor)
    VALUES (%s, 'k', %s, %s, 's', now(), 'test')
"""
POSTINGS = "INSERT INTO billing_posting (journal_id, ledger_account_id, amount_minor) SELECT max(id), %s, %s FROM billing_journal"


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("billing_tariffversion", "tariff_version_append_only"),
        ("billing_ledgeraccount", "ledger_account_append_only"),
        ("billing_journal", "journal_append_only"),
        ("billing_posting", "posting_append_only"),
        ("billing_eventsource", "event_source_append_only"),
    ],
)
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_tariff_versions_the_ledger_and_sources_are_append_only(issued, table, name, statement):
    EventSource.objects.create(owner=issued.account.party, name="s")
    assert refused(statement.format(table)) == name


def test_a_journal_has_postings_that_sum_to_zero(issuer):
    book = ledger.account(issuer=issuer, name="cash", kind=LedgerAccount.Kind.ASSET, currency="CNY")
    facts = [issuer.pk, world.may(issuer).pk, date(2020, 5, 31)]
    assert refused(JOURNAL, *facts) == "journal_has_postings"
    assert refused(f"{JOURNAL}; {POSTINGS}", *facts, book.pk, 1) == "journal_balanced"
    assert refused(f"{JOURNAL}; {POSTINGS}", *facts, book.pk, 0) == "posting_not_zero"
    dollars = ledger.account(issuer=issuer, name="cash", kind=LedgerAccount.Kind.ASSET, currency="USD")
    both = f"{POSTINGS} UNION ALL SELECT max(id), %s, %s FROM billing_journal"
    assert refused(f"{JOURNAL}; {both}", *facts, book.pk, 1, dollars.pk, -1) == "journal_balanced"
    assert run(f"{JOURNAL}; {both}", *facts, book.pk, 1, book.pk, -1) == 1


def test_no_posting_is_added_to_a_journal_that_balances(issued):
    book = ledger.account(issuer=issued.issuer, name="cash", kind=LedgerAccount.Kind.ASSET, currency="CNY")
    assert refused(POSTINGS, book.pk, 1) == "journal_balanced"


def test_a_journal_is_dated_within_its_period_and_of_its_periods_issuer(issuer):
    period = world.may(issuer)
    assert refused(JOURNAL, issuer.pk, period.pk, date(2020, 6, 1)) == "journal_dated_in_period"
    assert refused(JOURNAL, issuer.pk, period.pk, date(2020, 4, 30)) == "journal_dated_in_period"
    assert refused(JOURNAL, world.issuer("sz", 3).pk, period.pk, date(2020, 5, 31)) == "journal_of_one_issuer"


def test_a_posting_is_on_an_account_of_the_journals_issuer(issued):
    foreign = ledger.account(issuer=world.issuer("sz", 3), name="cash", kind=LedgerAccount.Kind.ASSET, currency="CNY")
    assert refused(POSTINGS, foreign.pk, 1) == "posting_of_one_issuer"


def test_a_ledger_account_is_kept_for_an_account_of_its_own_issuer(account):
    other, kind = world.issuer("sz", 3), LedgerAccount.Kind.ASSET
    with pytest.raises(ledger.OtherIssuerError, match="ledger_account_owner_of_issuer"), transaction.atomic():
        ledger.account(issuer=other, name="cash", kind=kind, currency="CNY", account=account)
    facts = [other.pk, "cash", "asset", account.pk]
    statement = (
        "INSERT INTO billing_ledgeraccount (issuer_id, name, kind, account_id, currency) VALUES (%s, %s, %s, %s, 'CNY')"
    )
    assert refused(statement, *facts) == "ledger_account_owner_of_issuer"


def event(account):
    source = EventSource.objects.create(owner=account.party, name="s")
    return UsageEvent.objects.create(
        source=source,
        event_id="1",
        time=world.MAY,
        value=1,
        quantity=60,
        recorded_at=world.MAY,
        type="gpu.sample",
        subject="C-?",
        unmatched_reason="unknown_subject",
    )


def test_an_unmatched_event_is_matched_once_and_is_final_then(account):
    event(account)
    matching = (
        f"UPDATE billing_usageevent SET contract_id = {account.contracts.get().pk}, meter_id = {world.gpu_meter().pk},"
        " unmatched_reason = NULL, type = NULL, subject = NULL"
    )
    assert refused(f"{matching}, value = 2") == "usage_event_append_only"
    assert refused(f"{matching}, time = now()") == "usage_event_append_only"
    assert run(f"{matching}, quantity = 61") == 1
    assert refused("UPDATE billing_usageevent SET quantity = 62") == "usage_event_append_only"


@pytest.mark.parametrize("statement", ["DELETE FROM billing_usageevent", "TRUNCATE billing_usageevent"])
def test_no_event_is_deleted_or_truncated(account, statement):
    event(account)
    assert refused(statement) == "usage_event_append_only"


def test_what_a_verb_does_not_name_passes_unchanged(issued):
    with pytest.raises(IntegrityError), named({"another": ValueError}), transaction.atomic():
        run("DELETE FROM billing_invoice")
    final = pytest.raises(invoicing.InvoiceFinalError, match="invoice LG-2020-000001 is issued: DELETE refused")
    with final, named(invoicing.VIOLATIONS), transaction.atomic():
        run("DELETE FROM billing_invoice")


def test_every_name_that_migration_0002_refuses_with_is_expected_by_a_test():
    migration = Path(integrity_migration.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r"billing_refuse\('(\w+)'", migration)) | set(integrity_migration.APPEND_ONLY)
    names |= set(integrity_migration.KEPT) | set(re.findall(r" kept\(\"(\w+)\"", migration))
    names |= set(re.findall(r"ADD CONSTRAINT (\w+)\s+(?:FOREIGN KEY|EXCLUDE)", migration))
    names |= set(re.findall(r"CREATE TRIGGER (\w+_period_open)", migration))
    names |= set(re.findall(r"billing_period_is_open\('(\w+)'\)", migration))
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert len(names) > 20
    assert [name for name in sorted(names) if f'"{name}"' not in tests] == []
