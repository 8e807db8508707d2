"""Programmes: who is granted what, budgets and caps that can't be overspent, what they paid of invoices, claims, clawbacks."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

TERMS = """
ALTER TABLE billing_budgetperiod ADD CONSTRAINT budget_period_of_whole_months
    CHECK (extract(day FROM from_date) = 1 AND extract(day FROM until_date + 1) = 1);

CREATE FUNCTION billing_programme_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'draft' AND to_jsonb(OLD) - 'state' - 'name' - 'name_en' <> to_jsonb(NEW) - 'state' - 'name' - 'name_en' THEN
        PERFORM billing_refuse('programme_terms_stay', format('programme %s is %s: its terms stay', OLD.code, OLD.state));
    END IF;
    IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (('draft', 'open'), ('draft', 'closed'), ('open', 'paused'),
        ('paused', 'open'), ('open', 'closed'), ('paused', 'closed'))
    THEN
        PERFORM billing_refuse('programme_state_goes_on', format('programme %s: from %s it can''t become %s', OLD.code, OLD.state, NEW.state));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER programme_changes BEFORE UPDATE ON billing_programme
    FOR EACH ROW EXECUTE FUNCTION billing_programme_change();

CREATE FUNCTION billing_budget_period_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'budget_minor' - 'committed_minor' - 'redeemed_minor'
        <> to_jsonb(NEW) - 'budget_minor' - 'committed_minor' - 'redeemed_minor'
    THEN
        PERFORM billing_refuse('budget_period_stays', format('budget %s: its amount and counts are the only changes', OLD.code));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER budget_period_stays BEFORE UPDATE ON billing_budgetperiod
    FOR EACH ROW EXECUTE FUNCTION billing_budget_period_change();

CREATE FUNCTION billing_firm_cap_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(OLD) - 'committed_minor' - 'redeemed_minor' <> to_jsonb(NEW) - 'committed_minor' - 'redeemed_minor' THEN
            PERFORM billing_refuse('firm_cap_stays', format('cap of %s for %s: its counts are the only change', OLD.credit_code, OLD.period));
        END IF;
    ELSIF NEW.cap_minor IS DISTINCT FROM (
        SELECT CASE length(NEW.period) WHEN 4 THEN cap_firm_year_minor ELSE cap_firm_month_minor END
        FROM billing_programme WHERE id = NEW.programme_id)
    THEN
        PERFORM billing_refuse('firm_cap_of_programme', format('cap of %s for %s: %s is not the programme''s', NEW.credit_code, NEW.period, NEW.cap_minor));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER firm_cap_changes BEFORE INSERT OR UPDATE ON billing_firmcap
    FOR EACH ROW EXECUTE FUNCTION billing_firm_cap_change();
"""

UNTERMS = """
DROP TRIGGER firm_cap_changes ON billing_firmcap;
DROP FUNCTION billing_firm_cap_change();
DROP TRIGGER budget_period_stays ON billing_budgetperiod;
DROP FUNCTION billing_budget_period_change();
DROP TRIGGER programme_changes ON billing_programme;
DROP FUNCTION billing_programme_change();
ALTER TABLE billing_budgetperiod DROP CONSTRAINT budget_period_of_whole_months;
"""

LIFE = """
CREATE FUNCTION billing_grant_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.id, OLD.programme_id, OLD.party_id, OLD.applied_at, OLD.actor) IS DISTINCT FROM (NEW.id, NEW.programme_id, NEW.party_id, NEW.applied_at, NEW.actor)
        OR (OLD.state <> 'applied' AND (OLD.facts, OLD.verdict) IS DISTINCT FROM (NEW.facts, NEW.verdict))
    THEN
        PERFORM billing_refuse('grant_facts_stay', format('grant %s is %s: what it was applied for with stays', OLD.id, OLD.state));
    END IF;
    IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (('applied', 'approved'), ('applied', 'rejected'), ('approved', 'suspended'),
        ('suspended', 'approved'), ('approved', 'expired'))
    THEN
        PERFORM billing_refuse('grant_state_goes_on', format('grant %s: from %s it can''t become %s', OLD.id, OLD.state, NEW.state));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER grant_changes BEFORE UPDATE ON billing_grant
    FOR EACH ROW EXECUTE FUNCTION billing_grant_change();

CREATE FUNCTION billing_commitment_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'open' OR NEW.state = 'open' OR to_jsonb(OLD) - '{state,redeemed_minor,released_minor,ended_at,ended_by}'::text[]
        <> to_jsonb(NEW) - '{state,redeemed_minor,released_minor,ended_at,ended_by}'::text[]
    THEN
        PERFORM billing_refuse('commitment_only_ends', format('commitment %s is %s: ending an open one is the only change', OLD.id, OLD.state));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER commitment_only_ends BEFORE UPDATE ON billing_commitment
    FOR EACH ROW EXECUTE FUNCTION billing_commitment_change();

-- What is redeemed comes with the issue of its invoice: into a draft, which the same transaction issues.
CREATE FUNCTION billing_programme_share_birth() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found record;
BEGIN
    SELECT invoice.state, account.party_id = entitled.party_id AND entitled.programme_id = NEW.programme_id AS is_theirs INTO found
        FROM billing_invoice invoice JOIN billing_account account ON account.id = invoice.account_id, billing_grant entitled
        WHERE invoice.id = NEW.invoice_id AND entitled.id = NEW.grant_id;
    IF found.state <> 'draft' THEN
        PERFORM billing_refuse('invoice_issued_is_final', format('invoice %s is issued: INSERT of a programme''s share refused', NEW.invoice_id));
    END IF;
    IF NOT found.is_theirs THEN
        PERFORM billing_refuse('programme_share_of_its_grant', format('grant %s is not one of programme %s for the buyer of invoice %s', NEW.grant_id, NEW.programme_id, NEW.invoice_id));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER programme_share_begins AFTER INSERT ON billing_programmeshare
    FOR EACH ROW EXECUTE FUNCTION billing_programme_share_birth();

CREATE FUNCTION billing_redemption_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.id, OLD.share_id, OLD.line_id, OLD.amount_minor) IS DISTINCT FROM (NEW.id, NEW.share_id, NEW.line_id, NEW.amount_minor) THEN
            PERFORM billing_refuse('redemption_stays', format('redemption %s: what was credited, clawed back and paid of it is the only change', OLD.id));
        END IF;
    ELSIF NOT EXISTS (
        SELECT FROM billing_programmeshare share JOIN billing_invoice invoice ON invoice.id = share.invoice_id
        JOIN billing_invoiceline line ON line.invoice_id = invoice.id
        WHERE share.id = NEW.share_id AND line.id = NEW.line_id AND invoice.state = 'draft')
    THEN
        PERFORM billing_refuse('redemption_of_its_invoice', format('line %s is not one of the draft invoice of share %s', NEW.line_id, NEW.share_id));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER redemption_changes BEFORE INSERT OR UPDATE ON billing_redemption
    FOR EACH ROW EXECUTE FUNCTION billing_redemption_change();

CREATE FUNCTION billing_claim_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'state' - 'paid_minor' - 'reason' - 'submitted_at' - 'settled_at'
        <> to_jsonb(NEW) - 'state' - 'paid_minor' - 'reason' - 'submitted_at' - 'settled_at'
        OR (OLD.submitted_at IS NOT NULL AND OLD.submitted_at IS DISTINCT FROM NEW.submitted_at)
        OR (OLD.state, NEW.state) NOT IN (('draft', 'submitted'), ('submitted', 'paid'), ('submitted', 'short_paid'), ('submitted', 'rejected'))
    THEN
        PERFORM billing_refuse('claim_goes_on', format('claim %s is %s: submitting and settling it are the only changes', OLD.key, OLD.state));
    END IF;
    IF (SELECT coalesce(sum(amount_minor), 0) FROM billing_claimline WHERE claim_id = NEW.id) <> NEW.amount_minor THEN
        PERFORM billing_refuse('claim_is_sum_of_lines', format('claim %s: %s is not the sum of its lines', NEW.key, NEW.amount_minor));
    END IF;
    IF NEW.paid_minor IS NOT NULL AND (SELECT sum(paid_minor) FROM billing_claimline WHERE claim_id = NEW.id) IS DISTINCT FROM NEW.paid_minor THEN
        PERFORM billing_refuse('claim_is_sum_of_lines', format('claim %s: %s paid is not the sum of its lines', NEW.key, NEW.paid_minor));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER claim_goes_on BEFORE UPDATE ON billing_claim
    FOR EACH ROW EXECUTE FUNCTION billing_claim_change();

CREATE FUNCTION billing_claim_line_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF (SELECT state FROM billing_claim WHERE id = NEW.claim_id) <> 'draft' THEN
            PERFORM billing_refuse('claim_goes_on', format('claim %s is submitted: it takes no more lines', NEW.claim_id));
        END IF;
    ELSIF OLD.paid_minor IS NOT NULL OR to_jsonb(OLD) - 'paid_minor' <> to_jsonb(NEW) - 'paid_minor' THEN
        PERFORM billing_refuse('claim_line_is_settled_once', format('claim line %s: settling it once is the only change', OLD.id));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER claim_line_changes BEFORE INSERT OR UPDATE ON billing_claimline
    FOR EACH ROW EXECUTE FUNCTION billing_claim_line_change();
"""

UNLIFE = """
DROP TRIGGER claim_line_changes ON billing_claimline;
DROP FUNCTION billing_claim_line_change();
DROP TRIGGER claim_goes_on ON billing_claim;
DROP FUNCTION billing_claim_change();
DROP TRIGGER redemption_changes ON billing_redemption;
DROP FUNCTION billing_redemption_change();
DROP TRIGGER programme_share_begins ON billing_programmeshare;
DROP FUNCTION billing_programme_share_birth();
DROP TRIGGER commitment_only_ends ON billing_commitment;
DROP FUNCTION billing_commitment_change();
DROP TRIGGER grant_changes ON billing_grant;
DROP FUNCTION billing_grant_change();
"""

# As in 0002, and: what programmes pay is the sum of the lines' and of the redemptions, and stands in the snapshot. A
# snapshot of an invoice without a programme does not name it. NEW.payable_minor is not computed yet here.
INVOICES = """
CREATE OR REPLACE FUNCTION billing_invoice_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines record;
    redeemed record;
    told jsonb;
BEGIN
    IF OLD.state = 'issued' THEN
        PERFORM billing_refuse('invoice_issued_is_final', format('invoice %s is issued: %s refused', OLD.number, TG_OP));
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF NEW.state <> 'issued'
        OR (OLD.id, OLD.account_id, OLD.period_id, OLD.issuer_id, OLD.currency, OLD.net_minor, OLD.tax_minor, OLD.subsidy_minor, OLD.drafted_at)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.period_id, NEW.issuer_id, NEW.currency, NEW.net_minor, NEW.tax_minor, NEW.subsidy_minor, NEW.drafted_at)
    THEN
        PERFORM billing_refuse('invoice_draft_is_only_issued', format('draft invoice %s: issuing it is the only change', OLD.id));
    END IF;
    IF NEW.sha256 <> encode(sha256(convert_to(NEW.snapshot, 'UTF8')), 'hex') THEN
        PERFORM billing_refuse('invoice_sha256_of_snapshot', format('invoice %s: sha256 is not the digest of the snapshot', NEW.number));
    END IF;
    SELECT coalesce(sum(line.amount_minor), 0) AS net_minor, coalesce(sum(line.subsidy_minor), 0) AS subsidy_minor,
        count(*) FILTER (WHERE contract.account_id <> NEW.account_id) AS foreign_lines
        INTO lines
        FROM billing_invoiceline line JOIN billing_contract contract ON contract.id = line.contract_id
        WHERE line.invoice_id = NEW.id;
    IF lines.net_minor <> NEW.net_minor THEN
        PERFORM billing_refuse('invoice_net_is_sum_of_lines', format('invoice %s: net %s, lines %s', NEW.number, NEW.net_minor, lines.net_minor));
    END IF;
    IF lines.subsidy_minor <> NEW.subsidy_minor THEN
        PERFORM billing_refuse('invoice_subsidy_is_sum_of_lines', format('invoice %s: subsidy %s, lines %s', NEW.number, NEW.subsidy_minor, lines.subsidy_minor));
    END IF;
    SELECT coalesce(sum(each.redeemed_minor) FILTER (WHERE each.mode = 'voucher'), 0) AS offset_minor,
        count(*) FILTER (WHERE each.redeemed_minor <> each.share_minor) AS unequal
        INTO redeemed
        FROM (SELECT programme.mode, share.share_minor, coalesce(sum(redemption.amount_minor), 0) AS redeemed_minor
            FROM billing_programmeshare share JOIN billing_programme programme ON programme.id = share.programme_id
            LEFT JOIN billing_redemption redemption ON redemption.share_id = share.id
            WHERE share.invoice_id = NEW.id GROUP BY share.id, programme.mode) AS each;
    IF redeemed.offset_minor <> NEW.subsidy_minor OR redeemed.unequal > 0 THEN
        PERFORM billing_refuse('invoice_subsidy_is_redeemed', format('invoice %s: subsidy %s, redeemed %s', NEW.number, NEW.subsidy_minor, redeemed.offset_minor));
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
    told := NEW.snapshot::jsonb;
    IF NOT told @> jsonb_build_object('number', NEW.number, 'currency', NEW.currency,
        'net_minor', NEW.net_minor, 'tax_minor', NEW.tax_minor, 'gross_minor', NEW.gross_minor)
        OR coalesce(told -> 'subsidy_minor', to_jsonb(0)) <> to_jsonb(NEW.subsidy_minor)
        OR coalesce(told -> 'payable_minor', told -> 'gross_minor') <> to_jsonb(NEW.gross_minor - NEW.subsidy_minor)
    THEN
        PERFORM billing_refuse('invoice_snapshot_of_columns', format('invoice %s: number, currency, net, tax, gross, subsidy and payable in its snapshot are not those of its row', NEW.number));
    END IF;
    RETURN NEW;
END $$;
"""

UNINVOICES = """
CREATE OR REPLACE FUNCTION billing_invoice_change() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""

APPEND_ONLY = {
    "programme_share_append_only": "billing_programmeshare",
    "clawback_append_only": "billing_clawback",
    "grant_evidence_append_only": "billing_grantevidence",
    "programme_change_append_only": "billing_programmechange",
}

# Never deleted from nor truncated, by statement; what may be updated is told above.
KEPT = {
    "programme_kept": "billing_programme",
    "budget_period_kept": "billing_budgetperiod",
    "firm_cap_kept": "billing_firmcap",
    "grant_kept": "billing_grant",
    "commitment_kept": "billing_commitment",
    "redemption_kept": "billing_redemption",
    "claim_kept": "billing_claim",
    "claim_line_kept": "billing_claimline",
}


def kept(name: str, table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} BEFORE DELETE OR TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION billing_kept('{name}');",
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
    dependencies = [
        ("billing", "0006_billing"),
    ]

    operations = [
        migrations.CreateModel(
            name="BudgetPeriod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(max_length=20)),
                ("from_date", models.DateField()),
                ("until_date", models.DateField()),
                ("budget_minor", models.BigIntegerField()),
                ("committed_minor", models.BigIntegerField(default=0)),
                ("redeemed_minor", models.BigIntegerField(default=0)),
            ],
            options={
                "ordering": ["programme_id", "from_date", "-until_date"],
            },
        ),
        migrations.CreateModel(
            name="Claim",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(db_collation="C", max_length=80)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "draft"),
                            ("submitted", "submitted"),
                            ("paid", "paid"),
                            ("short_paid", "paid in part"),
                            ("rejected", "rejected"),
                        ],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("amount_minor", models.BigIntegerField()),
                ("paid_minor", models.BigIntegerField(blank=True, null=True)),
                ("reason", models.TextField(blank=True)),
                ("made_at", models.DateTimeField()),
                ("submitted_at", models.DateTimeField(blank=True, null=True)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ClaimLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount_minor", models.BigIntegerField()),
                ("paid_minor", models.BigIntegerField(blank=True, null=True)),
            ],
            options={
                "ordering": ["claim_id", "id"],
            },
        ),
        migrations.CreateModel(
            name="Clawback",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(max_length=100)),
                ("credited_minor", models.BigIntegerField()),
                ("amount_minor", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Commitment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.CharField(max_length=7)),
                ("source", models.CharField(max_length=120)),
                ("wanted_minor", models.BigIntegerField()),
                ("amount_minor", models.BigIntegerField()),
                ("redeemed_minor", models.BigIntegerField(default=0)),
                ("released_minor", models.BigIntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "open"),
                            ("redeemed", "redeemed"),
                            ("released", "released"),
                            ("expired", "expired"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("expires_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("actor", models.CharField(max_length=100)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_by", models.CharField(blank=True, max_length=100)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="FirmCap",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("credit_code", models.CharField(max_length=18)),
                ("period", models.CharField(max_length=7)),
                ("cap_minor", models.BigIntegerField()),
                ("committed_minor", models.BigIntegerField(default=0)),
                ("redeemed_minor", models.BigIntegerField(default=0)),
            ],
            options={
                "ordering": ["programme_id", "credit_code", "period"],
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("applied", "applied"),
                            ("approved", "approved"),
                            ("rejected", "rejected"),
                            ("suspended", "suspended"),
                            ("expired", "expired"),
                        ],
                        default="applied",
                        max_length=10,
                    ),
                ),
                ("applied_at", models.DateTimeField()),
                ("facts", models.JSONField(blank=True, default=list)),
                ("verdict", models.JSONField(blank=True, default=list)),
                ("from_date", models.DateField(blank=True, null=True)),
                ("until_date", models.DateField(blank=True, null=True)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decided_by", models.CharField(blank=True, max_length=100)),
                ("reason", models.TextField(blank=True)),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["programme_id", "id"],
            },
        ),
        migrations.CreateModel(
            name="GrantEvidence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "verbose_name_plural": "grant evidence",
            },
        ),
        migrations.CreateModel(
            name="Programme",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(db_collation="C", db_index=False, max_length=40)),
                ("name", models.CharField(max_length=200)),
                ("name_en", models.CharField(blank=True, max_length=200)),
                (
                    "funder_name",
                    models.CharField(
                        blank=True, help_text="as the source says, while there is no party", max_length=200
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                (
                    "mode",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("tariff", "cheaper tariff"),
                            ("voucher", "voucher offset on the bill"),
                            ("reimbursement", "reimbursement to the firm"),
                        ],
                        max_length=20,
                        null=True,
                    ),
                ),
                ("percent", models.DecimalField(blank=True, decimal_places=2, max_digits=5, null=True)),
                ("unit_amount", models.DecimalField(blank=True, decimal_places=6, max_digits=18, null=True)),
                ("unit", models.CharField(blank=True, max_length=40)),
                ("kinds", models.JSONField(blank=True, default=list)),
                ("charges", models.JSONField(blank=True, default=list)),
                ("from_date", models.DateField(blank=True, null=True)),
                ("until_date", models.DateField(blank=True, null=True)),
                ("cap_firm_month_minor", models.BigIntegerField(blank=True, null=True)),
                ("cap_firm_year_minor", models.BigIntegerField(blank=True, null=True)),
                ("cap_invoice_minor", models.BigIntegerField(blank=True, null=True)),
                ("stacking_group", models.CharField(blank=True, max_length=40)),
                ("priority", models.SmallIntegerField(default=100)),
                ("bars_related_parties", models.BooleanField(blank=True, null=True)),
                ("one_side_claims", models.BooleanField(blank=True, null=True)),
                ("eligibility", models.JSONField(blank=True, default=dict)),
                (
                    "vat_treatment",
                    models.CharField(
                        choices=[
                            ("third_party_consideration", "part of the price, paid by a third party"),
                            ("price_reduction", "reduction of the price"),
                            ("outside_scope", "outside the scope of VAT"),
                        ],
                        default="third_party_consideration",
                        max_length=30,
                    ),
                ),
                ("vat_signed_by", models.CharField(blank=True, max_length=100)),
                ("vat_signed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "draft"), ("open", "open"), ("paused", "paused"), ("closed", "closed")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["issuer_id", "code"],
            },
        ),
        migrations.CreateModel(
            name="ProgrammeChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(max_length=10)),
                ("reason", models.TextField(blank=True)),
                ("at", models.DateTimeField()),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ProgrammeRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        choices=[
                            ("share", "share of the price"),
                            ("scope", "what is paid for"),
                            ("budget", "budget"),
                            ("cap_firm", "cap for a firm"),
                            ("cap_invoice", "cap for an invoice"),
                            ("mode", "way of payment"),
                            ("window", "when it is valid"),
                            ("size_class", "size of the firm"),
                            ("sector", "sector of the firm"),
                            ("zone", "where the firm is registered"),
                            ("age", "age of the firm"),
                            ("related_parties", "related parties"),
                            ("one_side", "provider and user may not both claim"),
                            ("stacking", "together with other programmes"),
                            ("evidence", "evidence"),
                            ("vat", "VAT treatment"),
                        ],
                        max_length=20,
                    ),
                ),
                ("says", models.TextField(blank=True, null=True)),
                ("source_title", models.CharField(blank=True, max_length=300)),
                ("source_date", models.DateField(blank=True, null=True)),
                ("source_url", models.URLField(blank=True, max_length=500)),
            ],
            options={
                "ordering": ["programme_id", "id"],
            },
        ),
        migrations.CreateModel(
            name="ProgrammeShare",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.CharField(max_length=7)),
                ("eligible_minor", models.BigIntegerField()),
                ("wanted_minor", models.BigIntegerField()),
                ("share_minor", models.BigIntegerField()),
                ("limited_by", models.CharField(blank=True, max_length=20)),
                ("barred", models.JSONField(blank=True, default=list)),
            ],
            options={
                "ordering": ["invoice_id", "id"],
            },
        ),
        migrations.CreateModel(
            name="Redemption",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount_minor", models.BigIntegerField()),
                ("credited_minor", models.BigIntegerField(default=0)),
                ("clawed_back_minor", models.BigIntegerField(default=0)),
                ("paid_minor", models.BigIntegerField(default=0)),
            ],
            options={
                "ordering": ["share_id", "id"],
            },
        ),
        migrations.AddField(
            model_name="invoice",
            name="subsidy_minor",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="paid by programmes, in minor units"),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="subsidy_minor",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="paid by programmes, in minor units"),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("subsidy_minor", 0),
                    models.Q(("subsidy_minor__gt", 0), ("subsidy_minor__lte", models.F("net_minor"))),
                    _connector="OR",
                ),
                name="invoice_subsidy_within_net",
            ),
        ),
        migrations.AddField(
            model_name="claim",
            name="claimant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="claims", to="billing.party"
            ),
        ),
        migrations.AddField(
            model_name="claimline",
            name="claim",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="lines", to="billing.claim"
            ),
        ),
        migrations.AddField(
            model_name="commitment",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="commitments", to="billing.account"
            ),
        ),
        migrations.AddField(
            model_name="grant",
            name="party",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="grants", to="billing.party"
            ),
        ),
        migrations.AddField(
            model_name="commitment",
            name="grant",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="commitments",
                to="billing.grant",
            ),
        ),
        migrations.AddField(
            model_name="grantevidence",
            name="evidence",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="grants", to="billing.evidence"
            ),
        ),
        migrations.AddField(
            model_name="grantevidence",
            name="grant",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="documents",
                to="billing.grant",
            ),
        ),
        migrations.AddField(
            model_name="programme",
            name="funder",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="programmes",
                to="billing.party",
            ),
        ),
        migrations.AddField(
            model_name="programme",
            name="issuer",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="programmes",
                to="billing.issuer",
            ),
        ),
        migrations.AddField(
            model_name="grant",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="grants",
                to="billing.programme",
            ),
        ),
        migrations.AddField(
            model_name="firmcap",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="firm_caps",
                to="billing.programme",
            ),
        ),
        migrations.AddField(
            model_name="claim",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="claims",
                to="billing.programme",
            ),
        ),
        migrations.AddField(
            model_name="budgetperiod",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="budgets",
                to="billing.programme",
            ),
        ),
        migrations.AddField(
            model_name="programmechange",
            name="grant",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="changes",
                to="billing.grant",
            ),
        ),
        migrations.AddField(
            model_name="programmechange",
            name="programme",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="changes", to="billing.programme"
            ),
        ),
        migrations.AddField(
            model_name="programmerule",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rules",
                to="billing.programme",
            ),
        ),
        migrations.AddField(
            model_name="programmeshare",
            name="grant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="shares", to="billing.grant"
            ),
        ),
        migrations.AddField(
            model_name="programmeshare",
            name="invoice",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="programme_shares",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="programmeshare",
            name="programme",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="shares", to="billing.programme"
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="line",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="redemptions", to="billing.invoiceline"
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="share",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="redemptions",
                to="billing.programmeshare",
            ),
        ),
        migrations.AddField(
            model_name="clawback",
            name="redemption",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="clawbacks",
                to="billing.redemption",
            ),
        ),
        migrations.AddField(
            model_name="claimline",
            name="redemption",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="claim_lines", to="billing.redemption"
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="payable_minor",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.expressions.CombinedExpression(
                    models.F("gross_minor"), "-", models.F("subsidy_minor")
                ),
                output_field=models.BigIntegerField(),
                verbose_name="payable, in minor units",
            ),
        ),
        migrations.AddIndex(
            model_name="commitment",
            index=models.Index(condition=models.Q(("state", "open")), fields=["expires_at"], name="commitment_open"),
        ),
        migrations.AddConstraint(
            model_name="commitment",
            constraint=models.UniqueConstraint(fields=("grant", "source", "month"), name="commitment_once"),
        ),
        migrations.AddConstraint(
            model_name="commitment",
            constraint=models.CheckConstraint(
                condition=models.Q(("month__regex", "^\\d{4}-(0[1-9]|1[0-2])$")), name="commitment_month"
            ),
        ),
        migrations.AddConstraint(
            model_name="commitment",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0), ("amount_minor__lte", models.F("wanted_minor"))),
                name="commitment_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="commitment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ended_at__isnull", True), ("redeemed_minor", 0), ("released_minor", 0), ("state", "open")
                    ),
                    models.Q(
                        models.Q(("state", "open"), _negated=True),
                        ("ended_at__isnull", False),
                        ("redeemed_minor__gte", 0),
                        ("released_minor__gte", 0),
                        (
                            "amount_minor",
                            django.db.models.expressions.CombinedExpression(
                                models.F("redeemed_minor"), "+", models.F("released_minor")
                            ),
                        ),
                    ),
                    _connector="OR",
                ),
                name="commitment_ends_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="grantevidence",
            constraint=models.UniqueConstraint(fields=("grant", "evidence"), name="grant_evidence_once"),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.UniqueConstraint(fields=("issuer", "code"), name="programme_code_once"),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("code", ""), _negated=True), models.Q(("name", ""), _negated=True)),
                name="programme_named",
            ),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("percent__isnull", True), models.Q(("percent__gt", 0), ("percent__lte", 100)), _connector="OR"
                ),
                name="programme_percent",
            ),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("unit_amount__isnull", True),
                    models.Q(("unit_amount__gt", 0), models.Q(("unit", ""), _negated=True)),
                    _connector="OR",
                ),
                name="programme_unit_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(("percent__isnull", True), ("unit_amount__isnull", True), _connector="OR"),
                name="programme_percent_or_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("until_date__isnull", True), ("until_date__gte", models.F("from_date")), _connector="OR"
                ),
                name="programme_ends_after_start",
            ),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("cap_firm_month_minor__isnull", True), ("cap_firm_month_minor__gte", 0), _connector="OR"),
                    models.Q(("cap_firm_year_minor__isnull", True), ("cap_firm_year_minor__gte", 0), _connector="OR"),
                    models.Q(("cap_invoice_minor__isnull", True), ("cap_invoice_minor__gte", 0), _connector="OR"),
                ),
                name="programme_caps_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("vat_signed_at__isnull", True), ("vat_signed_by", "")),
                    models.Q(models.Q(("vat_signed_by", ""), _negated=True), ("vat_signed_at__isnull", False)),
                    _connector="OR",
                ),
                name="programme_vat_signed_by_someone",
            ),
        ),
        migrations.AddConstraint(
            model_name="programme",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["draft", "closed"]),
                    models.Q(
                        ("bars_related_parties__isnull", False),
                        ("from_date__isnull", False),
                        ("funder__isnull", False),
                        ("mode__isnull", False),
                        ("one_side_claims__isnull", False),
                        ("until_date__isnull", False),
                        ("vat_signed_at__isnull", False),
                        models.Q(("vat_signed_by", ""), _negated=True),
                        models.Q(
                            ("mode", "tariff"),
                            models.Q(
                                ("mode__in", ["voucher", "reimbursement"]),
                                models.Q(
                                    models.Q(("percent__isnull", False), ("unit_amount__isnull", True)),
                                    models.Q(("percent__isnull", True), ("unit_amount__isnull", False)),
                                    _connector="OR",
                                ),
                            ),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="programme_open_is_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["applied", "approved", "suspended"])),
                fields=("programme", "party"),
                name="grant_once_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("until_date__isnull", True), ("until_date__gte", models.F("from_date")), _connector="OR"
                ),
                name="grant_ends_after_start",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at__isnull", True), ("decided_by", ""), ("state", "applied")),
                    models.Q(
                        models.Q(("state", "applied"), _negated=True),
                        ("decided_at__isnull", False),
                        models.Q(("decided_by", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="grant_decided_by_someone",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["applied", "rejected"]),
                    models.Q(("from_date__isnull", False), ("until_date__isnull", False)),
                    _connector="OR",
                ),
                name="grant_approved_has_its_window",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["rejected", "suspended"]), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="grant_refused_with_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="firmcap",
            constraint=models.UniqueConstraint(fields=("programme", "credit_code", "period"), name="firm_cap_once"),
        ),
        migrations.AddConstraint(
            model_name="firmcap",
            constraint=models.CheckConstraint(
                condition=models.Q(("period__regex", "^\\d{4}(-(0[1-9]|1[0-2]))?$")), name="firm_cap_period"
            ),
        ),
        migrations.AddConstraint(
            model_name="firmcap",
            constraint=models.CheckConstraint(
                condition=models.Q(("committed_minor__gte", 0), ("redeemed_minor__gte", 0)),
                name="firm_cap_counts_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="firmcap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "cap_minor__gte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("committed_minor"), "+", models.F("redeemed_minor")
                        ),
                    )
                ),
                name="firm_cap_not_exceeded",
            ),
        ),
        migrations.AddConstraint(
            model_name="claim",
            constraint=models.UniqueConstraint(fields=("programme", "key"), name="claim_once"),
        ),
        migrations.AddConstraint(
            model_name="claim",
            constraint=models.CheckConstraint(condition=models.Q(("key", ""), _negated=True), name="claim_key_given"),
        ),
        migrations.AddConstraint(
            model_name="claim",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("paid_minor__isnull", True),
                        ("settled_at__isnull", True),
                        ("state", "draft"),
                        ("submitted_at__isnull", True),
                    ),
                    models.Q(
                        ("paid_minor__isnull", True),
                        ("settled_at__isnull", True),
                        ("state", "submitted"),
                        ("submitted_at__isnull", False),
                    ),
                    models.Q(
                        ("paid_minor", models.F("amount_minor")),
                        ("settled_at__isnull", False),
                        ("state", "paid"),
                        ("submitted_at__isnull", False),
                    ),
                    models.Q(
                        ("settled_at__isnull", False),
                        ("state", "short_paid"),
                        ("submitted_at__isnull", False),
                        ("paid_minor__gt", 0),
                        ("paid_minor__lt", models.F("amount_minor")),
                        models.Q(("reason", ""), _negated=True),
                    ),
                    models.Q(
                        ("paid_minor", 0),
                        ("settled_at__isnull", False),
                        ("state", "rejected"),
                        ("submitted_at__isnull", False),
                        models.Q(("reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="claim_settled_is_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.UniqueConstraint(fields=("programme", "code"), name="budget_period_once"),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(("until_date__gt", models.F("from_date"))), name="budget_period_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(("committed_minor__gte", 0), ("redeemed_minor__gte", 0)),
                name="budget_counts_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "budget_minor__gte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("committed_minor"), "+", models.F("redeemed_minor")
                        ),
                    )
                ),
                name="budget_not_exceeded",
            ),
        ),
        migrations.AddConstraint(
            model_name="programmerule",
            constraint=models.UniqueConstraint(fields=("programme", "name"), name="programme_rule_once"),
        ),
        migrations.AddConstraint(
            model_name="programmerule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("says__isnull", True),
                    models.Q(
                        models.Q(("says", ""), _negated=True),
                        models.Q(("source_title", ""), _negated=True),
                        ("source_date__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="programme_rule_has_its_source",
            ),
        ),
        migrations.AddConstraint(
            model_name="programmeshare",
            constraint=models.UniqueConstraint(fields=("invoice", "programme"), name="programme_share_once"),
        ),
        migrations.AddConstraint(
            model_name="programmeshare",
            constraint=models.CheckConstraint(
                condition=models.Q(("share_minor__gte", 0), ("share_minor__lte", models.F("wanted_minor"))),
                name="programme_share_as_wanted",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.UniqueConstraint(fields=("share", "line"), name="redemption_once"),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor", 0), _negated=True), name="redemption_not_zero"
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("amount_minor__gt", 0),
                        ("clawed_back_minor__gte", 0),
                        ("clawed_back_minor__lte", models.F("amount_minor")),
                    ),
                    models.Q(
                        ("amount_minor__lt", 0),
                        ("clawed_back_minor__gte", models.F("amount_minor")),
                        ("clawed_back_minor__lte", 0),
                    ),
                    _connector="OR",
                ),
                name="redemption_clawed_back_within",
            ),
        ),
        migrations.AddConstraint(
            model_name="clawback",
            constraint=models.UniqueConstraint(fields=("redemption", "source"), name="clawback_once"),
        ),
        migrations.AddConstraint(
            model_name="claimline",
            constraint=models.UniqueConstraint(fields=("claim", "redemption"), name="claim_line_once"),
        ),
        migrations.AddConstraint(
            model_name="claimline",
            constraint=models.UniqueConstraint(
                condition=models.Q(("paid_minor__isnull", True)),
                fields=("redemption",),
                name="redemption_in_one_open_claim",
            ),
        ),
        migrations.AddConstraint(
            model_name="claimline",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor", 0), _negated=True), name="claim_line_not_zero"
            ),
        ),
        migrations.RunSQL(TERMS, UNTERMS),
        migrations.RunSQL(LIFE, UNLIFE),
        migrations.RunSQL(INVOICES, UNINVOICES),
        *(append_only(name, table) for name, table in APPEND_ONLY.items()),
        *(kept(name, table) for name, table in KEPT.items()),
    ]
