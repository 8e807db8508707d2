"""What must always hold and no declared constraint can say: triggers, named like constraints.

Each raises SQLSTATE 23000 with the name of what it guards in `constraint_name`, so that a verb can turn it into its
named exception (billing.integrity), and a message with the row at fault. Nothing here reads a clock or a setting.
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION billing_refuse(name text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = name, MESSAGE = message;
END $$;

CREATE FUNCTION billing_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_refuse(TG_ARGV[0], format('%s is append-only: %s refused', TG_TABLE_NAME, TG_OP));
    RETURN NULL;
END $$;
"""

UNREFUSE = """
DROP FUNCTION billing_append_only();
DROP FUNCTION billing_refuse(text, text);
"""

# A row trigger for what names a row, a statement trigger for TRUNCATE, which no row trigger sees.
APPEND_ONLY = {
    "tariff_version_append_only": "billing_tariffversion",
    "ledger_account_append_only": "billing_ledgeraccount",
    "journal_append_only": "billing_journal",
    "posting_append_only": "billing_posting",
    "event_source_append_only": "billing_eventsource",
}

PERIODS = """
-- The columns of one issuer's periods as ranges: there is no btree_gist in the embedded server.
ALTER TABLE billing_billingperiod ADD CONSTRAINT billing_period_apart
    EXCLUDE USING gist (int8range(issuer_id, issuer_id, '[]') WITH &&, tstzrange(start_at, end_at) WITH &&);

CREATE FUNCTION billing_period_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state = 'closed' OR NEW.state <> 'closed'
        OR (OLD.id, OLD.issuer_id, OLD.code, OLD.timezone, OLD.start_at, OLD.end_at, OLD.last_date)
        IS DISTINCT FROM (NEW.id, NEW.issuer_id, NEW.code, NEW.timezone, NEW.start_at, NEW.end_at, NEW.last_date)
    THEN
        PERFORM billing_refuse('billing_period_only_closes', format('period %s is %s: closing it is the only change', OLD.code, OLD.state));
    END IF;
    -- An update alone does not wait for those who post, who hold FOR KEY SHARE.
    PERFORM 1 FROM billing_billingperiod WHERE id = OLD.id FOR UPDATE;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_period_only_closes BEFORE UPDATE OR DELETE ON billing_billingperiod
    FOR EACH ROW EXECUTE FUNCTION billing_period_change();

-- AFTER INSERT: an insert that ON CONFLICT turned away does not come here. The lock is held to the end of the
-- transaction, and reads the row as it is after waiting for one who closes the period.
CREATE FUNCTION billing_period_is_open() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE period billing_billingperiod;
BEGIN
    SELECT * INTO period FROM billing_billingperiod WHERE id = NEW.period_id FOR KEY SHARE;
    IF period.state <> 'open' THEN
        PERFORM billing_refuse(TG_NAME, format('period %s is closed', period.code));
    END IF;
    IF period.issuer_id <> NEW.issuer_id THEN
        PERFORM billing_refuse(TG_ARGV[0], format('period %s is of issuer %s, not of %s', period.code, period.issuer_id, NEW.issuer_id));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_period_open AFTER INSERT ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing_period_is_open('invoice_of_one_issuer');
CREATE TRIGGER journal_period_open AFTER INSERT ON billing_journal
    FOR EACH ROW EXECUTE FUNCTION billing_period_is_open('journal_of_one_issuer');
"""

UNPERIODS = """
DROP TRIGGER journal_period_open ON billing_journal;
DROP TRIGGER invoice_period_open ON billing_invoice;
DROP FUNCTION billing_period_is_open();
DROP TRIGGER billing_period_only_closes ON billing_billingperiod;
DROP FUNCTION billing_period_change();
ALTER TABLE billing_billingperiod DROP CONSTRAINT billing_period_apart;
"""

INVOICES = """
CREATE FUNCTION billing_invoice_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines record;
BEGIN
    IF OLD.state = 'issued' THEN
        PERFORM billing_refuse('invoice_issued_is_final', format('invoice %s is issued: %s refused', OLD.number, TG_OP));
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF NEW.state <> 'issued'
        OR (OLD.id, OLD.account_id, OLD.period_id, OLD.issuer_id, OLD.currency, OLD.net_minor, OLD.tax_minor, OLD.drafted_at)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.period_id, NEW.issuer_id, NEW.currency, NEW.net_minor, NEW.tax_minor, NEW.drafted_at)
    THEN
        PERFORM billing_refuse('invoice_draft_is_only_issued', format('draft invoice %s: issuing it is the only change', OLD.id));
    END IF;
    IF NEW.sha256 <> encode(sha256(convert_to(NEW.snapshot, 'UTF8')), 'hex') THEN
        PERFORM billing_refuse('invoice_sha256_of_snapshot', format('invoice %s: sha256 is not the digest of the snapshot', NEW.number));
    END IF;
    SELECT coalesce(sum(line.amount_minor), 0) AS net_minor, count(*) FILTER (WHERE contract.account_id <> NEW.account_id) AS foreign_lines
        INTO lines
        FROM billing_invoiceline line JOIN billing_contract contract ON contract.id = line.contract_id
        WHERE line.invoice_id = NEW.id;
    IF lines.net_minor <> NEW.net_minor THEN
        PERFORM billing_refuse('invoice_net_is_sum_of_lines', format('invoice %s: net %s, lines %s', NEW.number, NEW.net_minor, lines.net_minor));
    END IF;
    IF lines.foreign_lines > 0 THEN
        PERFORM billing_refuse('invoice_lines_of_account', format('invoice %s: %s lines are of another account', NEW.number, lines.foreign_lines));
    END IF;
    IF NOT EXISTS (
        SELECT FROM billing_numberseries counter JOIN billing_issuer issuer ON issuer.id = counter.issuer_id
        WHERE counter.issuer_id = NEW.issuer_id AND counter.last_number > 0 AND NEW.number = format('%s-%s-%s', issuer.number_prefix, counter.series,
            lpad(counter.last_number::text, greatest(6, length(counter.last_number::text)), '0'))
    ) THEN
        PERFORM billing_refuse('invoice_number_of_series', format('invoice %s: its number is not the last one of a series of its issuer', NEW.number));
    END IF;
    IF NOT NEW.snapshot::jsonb @> jsonb_build_object('number', NEW.number, 'currency', NEW.currency,
        'net_minor', NEW.net_minor, 'tax_minor', NEW.tax_minor, 'gross_minor', NEW.gross_minor)
    THEN
        PERFORM billing_refuse('invoice_snapshot_of_columns', format('invoice %s: number, currency, net, tax and gross in its snapshot are not those of its row', NEW.number));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_changes BEFORE UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing_invoice_change();

CREATE FUNCTION billing_invoice_birth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'draft' THEN
        PERFORM billing_refuse('invoice_begins_as_draft', format('invoice of account %s: it begins as a draft, not as %s', NEW.account_id, NEW.state));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_begins_as_draft BEFORE INSERT ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing_invoice_birth();

CREATE FUNCTION billing_invoice_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_refuse('invoice_issued_is_final', format('%s holds issued invoices: TRUNCATE refused', TG_TABLE_NAME));
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_not_truncated BEFORE TRUNCATE ON billing_invoice
    FOR EACH STATEMENT EXECUTE FUNCTION billing_invoice_truncate();
CREATE TRIGGER invoice_lines_not_truncated BEFORE TRUNCATE ON billing_invoiceline
    FOR EACH STATEMENT EXECUTE FUNCTION billing_invoice_truncate();

-- FOR SHARE waits for one who issues the invoice at this moment, and then reads it as issued.
CREATE FUNCTION billing_invoice_lines_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE invoice record;
BEGIN
    FOR invoice IN
        SELECT number, state FROM billing_invoice WHERE id IN (SELECT invoice_id FROM changed_lines) FOR SHARE
    LOOP
        IF invoice.state = 'issued' THEN
            PERFORM billing_refuse('invoice_issued_is_final', format('invoice %s is issued: %s of its lines refused', invoice.number, TG_OP));
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_inserted AFTER INSERT ON billing_invoiceline REFERENCING NEW TABLE AS changed_lines
    FOR EACH STATEMENT EXECUTE FUNCTION billing_invoice_lines_change();
CREATE TRIGGER invoice_lines_deleted AFTER DELETE ON billing_invoiceline REFERENCING OLD TABLE AS changed_lines
    FOR EACH STATEMENT EXECUTE FUNCTION billing_invoice_lines_change();
CREATE FUNCTION billing_invoice_line_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_refuse('invoice_line_is_never_updated', format('line %s of invoice %s: delete the draft and make it anew', OLD.position, OLD.invoice_id));
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_line_is_never_updated BEFORE UPDATE ON billing_invoiceline
    FOR EACH ROW EXECUTE FUNCTION billing_invoice_line_update();

ALTER TABLE billing_account ADD CONSTRAINT account_issuer_once UNIQUE (id, issuer_id);
ALTER TABLE billing_invoice ADD CONSTRAINT invoice_account_of_issuer
    FOREIGN KEY (account_id, issuer_id) REFERENCES billing_account (id, issuer_id);

CREATE FUNCTION billing_number_series_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.last_number NOT IN (0, 1) THEN
            PERFORM billing_refuse('number_series_counts_up_by_one', format('series %s begins at %s, not at 1', NEW.series, NEW.last_number));
        END IF;
    ELSIF (OLD.id, OLD.issuer_id, OLD.series, OLD.last_number + 1) IS DISTINCT FROM (NEW.id, NEW.issuer_id, NEW.series, NEW.last_number) THEN
        PERFORM billing_refuse('number_series_counts_up_by_one', format('series %s stands at %s: the next number is the only change', OLD.series, OLD.last_number));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER number_series_counts_up_by_one BEFORE INSERT OR UPDATE ON billing_numberseries
    FOR EACH ROW EXECUTE FUNCTION billing_number_series_change();
"""

UNINVOICES = """
DROP TRIGGER number_series_counts_up_by_one ON billing_numberseries;
DROP FUNCTION billing_number_series_change();
ALTER TABLE billing_invoice DROP CONSTRAINT invoice_account_of_issuer;
ALTER TABLE billing_account DROP CONSTRAINT account_issuer_once;
DROP TRIGGER invoice_line_is_never_updated ON billing_invoiceline;
DROP FUNCTION billing_invoice_line_update();
DROP TRIGGER invoice_lines_deleted ON billing_invoiceline;
DROP TRIGGER invoice_lines_inserted ON billing_invoiceline;
DROP FUNCTION billing_invoice_lines_change();
DROP TRIGGER invoice_lines_not_truncated ON billing_invoiceline;
DROP TRIGGER invoice_not_truncated ON billing_invoice;
DROP FUNCTION billing_invoice_truncate();
DROP TRIGGER invoice_begins_as_draft ON billing_invoice;
DROP FUNCTION billing_invoice_birth();
DROP TRIGGER invoice_changes ON billing_invoice;
DROP FUNCTION billing_invoice_change();
"""

# posted_in is no field of the model: no verb reads or writes it.
LEDGER = """
-- The transaction a journal came in, savepoints or not; a row's xmin would be the savepoint's.
ALTER TABLE billing_journal ADD COLUMN posted_in xid8 NOT NULL DEFAULT pg_current_xact_id();

CREATE FUNCTION billing_journal_is_dated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE period billing_billingperiod;
BEGIN
    SELECT * INTO period FROM billing_billingperiod WHERE id = NEW.period_id;
    IF NEW.effective_date > period.last_date OR NEW.effective_date < (period.start_at AT TIME ZONE period.timezone)::date THEN
        PERFORM billing_refuse('journal_dated_in_period', format('journal %s: effective date %s is not in period %s', NEW.key, NEW.effective_date, period.code));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER journal_dated_in_period AFTER INSERT ON billing_journal
    FOR EACH ROW EXECUTE FUNCTION billing_journal_is_dated();

CREATE FUNCTION billing_require_balance(asked bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    journal billing_journal;
    per_currency record;
BEGIN
    SELECT * INTO journal FROM billing_journal WHERE id = asked;
    IF journal.posted_in <> pg_current_xact_id() THEN
        PERFORM billing_refuse('posting_with_its_journal', format('journal %s is posted: it takes no more postings', journal.key));
    END IF;
    FOR per_currency IN
        SELECT ledger.currency, sum(posting.amount_minor) AS rest, bool_or(ledger.issuer_id <> journal.issuer_id) AS is_foreign
        FROM billing_posting posting JOIN billing_ledgeraccount ledger ON ledger.id = posting.ledger_account_id
        WHERE posting.journal_id = asked GROUP BY ledger.currency
    LOOP
        IF per_currency.is_foreign THEN
            PERFORM billing_refuse('posting_of_one_issuer', format('journal %s posts to an account of another issuer', journal.key));
        END IF;
        IF per_currency.rest <> 0 THEN
            PERFORM billing_refuse('journal_balanced', format('journal %s: its %s postings sum to %s, not to 0', journal.key, per_currency.currency, per_currency.rest));
        END IF;
    END LOOP;
    IF NOT FOUND THEN
        PERFORM billing_refuse('journal_has_postings', format('journal %s has no postings', journal.key));
    END IF;
END $$;

-- At commit, since a journal's row comes before its postings; a posted_in that was made up is found then too.
CREATE FUNCTION billing_journal_is_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_require_balance(NEW.id);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER journal_balanced AFTER INSERT ON billing_journal DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing_journal_is_balanced();

-- Postings are held to zero, and to their journal's transaction, by each statement. Deferred per row, this took a
-- quarter of the time of an invoice.
CREATE FUNCTION billing_postings_are_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_require_balance(journal_id) FROM (SELECT DISTINCT journal_id FROM new_postings) AS changed;
    RETURN NULL;
END $$;
CREATE TRIGGER posting_balanced AFTER INSERT ON billing_posting REFERENCING NEW TABLE AS new_postings
    FOR EACH STATEMENT EXECUTE FUNCTION billing_postings_are_balanced();

ALTER TABLE billing_ledgeraccount ADD CONSTRAINT ledger_account_owner_of_issuer
    FOREIGN KEY (account_id, issuer_id) REFERENCES billing_account (id, issuer_id);
"""

UNLEDGER = """
ALTER TABLE billing_ledgeraccount DROP CONSTRAINT ledger_account_owner_of_issuer;
DROP TRIGGER posting_balanced ON billing_posting;
DROP FUNCTION billing_postings_are_balanced();
DROP TRIGGER journal_balanced ON billing_journal;
DROP FUNCTION billing_journal_is_balanced();
DROP FUNCTION billing_require_balance(bigint);
DROP TRIGGER journal_dated_in_period ON billing_journal;
DROP FUNCTION billing_journal_is_dated();
ALTER TABLE billing_journal DROP COLUMN posted_in;
"""

# Matching an event sets its contract and meter, and what it counts for on them; its value and duration too where they
# could not be told from its data before its meter was known.
USAGE = """
CREATE FUNCTION billing_usage_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.unmatched_reason IS NULL
        OR (OLD.source_id, OLD.event_id, OLD.time, OLD.recorded_at)
        IS DISTINCT FROM (NEW.source_id, NEW.event_id, NEW.time, NEW.recorded_at)
        OR (OLD.value IS NOT NULL AND (OLD.value, OLD.duration_seconds) IS DISTINCT FROM (NEW.value, NEW.duration_seconds))
        OR (NEW.contract_id IS NULL AND (OLD.type, OLD.subject) IS DISTINCT FROM (NEW.type, NEW.subject))
    THEN
        PERFORM billing_refuse('usage_event_append_only', format('event %s: matching an unmatched one is the only change', OLD.event_id));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_event_is_only_matched BEFORE UPDATE ON billing_usageevent
    FOR EACH ROW EXECUTE FUNCTION billing_usage_event_change();
CREATE TRIGGER usage_event_append_only BEFORE DELETE ON billing_usageevent
    FOR EACH ROW EXECUTE FUNCTION billing_append_only('usage_event_append_only');
CREATE TRIGGER usage_event_append_only_truncate BEFORE TRUNCATE ON billing_usageevent
    FOR EACH STATEMENT EXECUTE FUNCTION billing_append_only('usage_event_append_only');
"""

UNUSAGE = """
DROP TRIGGER usage_event_append_only_truncate ON billing_usageevent;
DROP TRIGGER usage_event_append_only ON billing_usageevent;
DROP TRIGGER usage_event_is_only_matched ON billing_usageevent;
DROP FUNCTION billing_usage_event_change();
"""

# What invoices were made of. billing_reading has no row trigger, since each stored event updates a reading.
GROUNDS = """
CREATE FUNCTION billing_contract_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'end_at' <> to_jsonb(NEW) - 'end_at' THEN
        PERFORM billing_refuse('contract_only_ends', format('contract %s: its end_at is the only change', OLD.number));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER contract_only_ends BEFORE UPDATE ON billing_contract
    FOR EACH ROW EXECUTE FUNCTION billing_contract_change();

CREATE FUNCTION billing_reserved_span_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.end_at IS NOT NULL OR NEW.end_at IS NULL OR to_jsonb(OLD) - 'end_at' <> to_jsonb(NEW) - 'end_at' THEN
        PERFORM billing_refuse('reserved_span_only_ends', format('reserved span %s: setting the end_at of an open one is the only change', OLD.source));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reserved_span_only_ends BEFORE UPDATE ON billing_reservedspan
    FOR EACH ROW EXECUTE FUNCTION billing_reserved_span_change();

CREATE FUNCTION billing_meter_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.code, OLD.event_type, OLD.kind, OLD.aggregation, OLD.base_unit, OLD.unit, OLD.demand_unit, OLD.base_per_unit)
        IS NOT DISTINCT FROM (NEW.code, NEW.event_type, NEW.kind, NEW.aggregation, NEW.base_unit, NEW.unit, NEW.demand_unit, NEW.base_per_unit)
    THEN
        RETURN NEW;
    END IF;
    -- An update alone does not wait for those who store readings, who hold FOR KEY SHARE.
    PERFORM 1 FROM billing_meter WHERE id = OLD.id FOR UPDATE;
    IF EXISTS (SELECT FROM billing_reading WHERE meter_id = OLD.id) THEN
        PERFORM billing_refuse('meter_with_readings_stays', format('meter %s has readings: its names are the only change', OLD.code));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER meter_with_readings_stays BEFORE UPDATE ON billing_meter
    FOR EACH ROW EXECUTE FUNCTION billing_meter_change();

CREATE FUNCTION billing_tariff_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.id, OLD.code) IS DISTINCT FROM (NEW.id, NEW.code) THEN
            PERFORM billing_refuse('tariff_stays', format('tariff %s: its names are the only change', OLD.code));
        END IF;
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM billing_tariffversion WHERE tariff_id = OLD.id) THEN
        PERFORM billing_refuse('tariff_stays', format('tariff %s has versions: DELETE refused', OLD.code));
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER tariff_stays BEFORE UPDATE OR DELETE ON billing_tariff
    FOR EACH ROW EXECUTE FUNCTION billing_tariff_change();

CREATE FUNCTION billing_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_refuse(TG_ARGV[0], format('%s keeps its rows: %s refused', TG_TABLE_NAME, TG_OP));
    RETURN NULL;
END $$;
"""

UNGROUNDS = """
DROP FUNCTION billing_kept();
DROP TRIGGER tariff_stays ON billing_tariff;
DROP FUNCTION billing_tariff_change();
DROP TRIGGER meter_with_readings_stays ON billing_meter;
DROP FUNCTION billing_meter_change();
DROP TRIGGER reserved_span_only_ends ON billing_reservedspan;
DROP FUNCTION billing_reserved_span_change();
DROP TRIGGER contract_only_ends ON billing_contract;
DROP FUNCTION billing_contract_change();
"""

# Never deleted from nor truncated, by statement; what may be updated is told above.
KEPT = {
    "contract_kept": "billing_contract",
    "reserved_span_kept": "billing_reservedspan",
    "reading_kept": "billing_reading",
    "number_series_kept": "billing_numberseries",
}


def kept(name: str, table: str, when: str = "DELETE OR TRUNCATE") -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION billing_kept('{name}');",
        f"DROP TRIGGER {name} ON {table};",
    )


def append_only(name: str, table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} BEFORE UPDATE OR DELETE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION billing_append_only('{name}');"
        f"CREATE TRIGGER {name}_truncate BEFORE TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION billing_append_only('{name}');",
        f"DROP TRIGGER {name}_truncate ON {table}; DROP TRIGGER {name} ON {table};",
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunSQL(REFUSE, UNREFUSE),
        *(append_only(name, table) for name, table in APPEND_ONLY.items()),
        migrations.RunSQL(PERIODS, UNPERIODS),
        migrations.RunSQL(INVOICES, UNINVOICES),
        migrations.RunSQL(LEDGER, UNLEDGER),
        migrations.RunSQL(USAGE, UNUSAGE),
        migrations.RunSQL(GROUNDS, UNGROUNDS),
        *(kept(name, table) for name, table in KEPT.items()),
        kept("tariff_kept", "billing_tariff", "TRUNCATE"),
    ]
