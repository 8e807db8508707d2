"""Steps of claims are kept, and a firm takes back the last one of its own.

As in 0007, and: of a reimbursement, of which nothing is posted, a submitted claim may become a draft again and a settled one
submitted, its lines without what was paid. Of claims that are there already, what is known is put down.
"""

import django.db.models.deletion
from django.db import migrations, models

STEPS = """
CREATE OR REPLACE FUNCTION billing_claim_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_own boolean := EXISTS (SELECT FROM billing_programme WHERE id = NEW.programme_id AND mode = 'reimbursement');
BEGIN
    IF to_jsonb(OLD) - 'state' - 'paid_minor' - 'reason' - 'submitted_at' - 'settled_at'
        <> to_jsonb(NEW) - 'state' - 'paid_minor' - 'reason' - 'submitted_at' - 'settled_at'
        OR (OLD.submitted_at IS NOT NULL AND NEW.state <> 'draft' AND OLD.submitted_at IS DISTINCT FROM NEW.submitted_at)
        OR NOT ((OLD.state, NEW.state) IN (('draft', 'submitted'), ('submitted', 'paid'), ('submitted', 'short_paid'), ('submitted', 'rejected'))
            OR is_own AND (OLD.state, NEW.state) IN (('submitted', 'draft'), ('paid', 'submitted'), ('short_paid', 'submitted'),
                ('rejected', 'submitted')))
    THEN
        PERFORM billing_refuse('claim_goes_on', format('claim %s is %s: it can''t become %s', OLD.key, OLD.state, NEW.state));
    END IF;
    IF (SELECT coalesce(sum(amount_minor), 0) FROM billing_claimline WHERE claim_id = NEW.id) <> NEW.amount_minor THEN
        PERFORM billing_refuse('claim_is_sum_of_lines', format('claim %s: %s is not the sum of its lines', NEW.key, NEW.amount_minor));
    END IF;
    IF NEW.paid_minor IS NOT NULL AND (SELECT sum(paid_minor) FROM billing_claimline WHERE claim_id = NEW.id) IS DISTINCT FROM NEW.paid_minor THEN
        PERFORM billing_refuse('claim_is_sum_of_lines', format('claim %s: %s paid is not the sum of its lines', NEW.key, NEW.paid_minor));
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION billing_claim_line_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF (SELECT state FROM billing_claim WHERE id = NEW.claim_id) <> 'draft' THEN
            PERFORM billing_refuse('claim_goes_on', format('claim %s is submitted: it takes no more lines', NEW.claim_id));
        END IF;
    ELSIF (OLD.paid_minor IS NOT NULL AND NOT (NEW.paid_minor IS NULL AND EXISTS (
            SELECT FROM billing_claim claim JOIN billing_programme programme ON programme.id = claim.programme_id
            WHERE claim.id = NEW.claim_id AND programme.mode = 'reimbursement'))) OR to_jsonb(OLD) - 'paid_minor' <> to_jsonb(NEW) - 'paid_minor' THEN
        PERFORM billing_refuse('claim_line_is_settled_once', format('claim line %s: settling it once is the only change', OLD.id));
    END IF;
    RETURN NEW;
END $$;
"""

UNSTEPS = """
CREATE OR REPLACE FUNCTION billing_claim_change() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE OR REPLACE FUNCTION billing_claim_line_change() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""

BEGINNINGS = """
INSERT INTO billing_claimchange (claim_id, state, reason, at, actor)
SELECT id, 'draft', '', made_at, actor FROM billing_claim ORDER BY id;
INSERT INTO billing_claimchange (claim_id, state, reason, at, actor)
SELECT id, 'submitted', '', submitted_at, 'migration' FROM billing_claim WHERE submitted_at IS NOT NULL ORDER BY id;
INSERT INTO billing_claimchange (claim_id, state, paid_minor, reason, at, actor)
SELECT id, state, paid_minor, reason, settled_at, 'migration' FROM billing_claim WHERE settled_at IS NOT NULL ORDER BY id;
"""

APPEND_ONLY = """
CREATE TRIGGER claim_change_append_only BEFORE UPDATE OR DELETE ON billing_claimchange
    FOR EACH ROW EXECUTE FUNCTION billing_append_only('claim_change_append_only');
CREATE TRIGGER claim_change_append_only_truncate BEFORE TRUNCATE ON billing_claimchange
    FOR EACH STATEMENT EXECUTE FUNCTION billing_append_only('claim_change_append_only');
"""

UNAPPEND = """
DROP TRIGGER claim_change_append_only_truncate ON billing_claimchange;
DROP TRIGGER claim_change_append_only ON billing_claimchange;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0012_bookings"),
    ]

    operations = [
        migrations.CreateModel(
            name="ClaimChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("paid_minor", models.BigIntegerField(blank=True, null=True, verbose_name="paid, in minor units")),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                ("at", models.DateTimeField(verbose_name="at")),
                ("actor", models.CharField(max_length=100, verbose_name="done by")),
                (
                    "claim",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="billing.claim",
                        verbose_name="claim",
                    ),
                ),
            ],
            options={
                "verbose_name": "change of a claim",
                "verbose_name_plural": "changes of claims",
                "ordering": ["id"],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, UNAPPEND),
        migrations.RunSQL(STEPS, UNSTEPS),
        migrations.RunSQL(BEGINNINGS, migrations.RunSQL.noop),
    ]
