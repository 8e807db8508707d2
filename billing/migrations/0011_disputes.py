"""Disputes of invoices' lines."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

DISPUTES = """
CREATE FUNCTION billing_dispute_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'open'
        OR to_jsonb(OLD) - 'state' - 'answer' - 'answered_at' - 'answered_by' - 'adjustment_id'
        <> to_jsonb(NEW) - 'state' - 'answer' - 'answered_at' - 'answered_by' - 'adjustment_id'
    THEN
        PERFORM billing_refuse('dispute_answered_once', format('dispute %s is %s: answering an open one is the only change', OLD.id, OLD.state));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER dispute_answered_once BEFORE UPDATE ON billing_dispute
    FOR EACH ROW EXECUTE FUNCTION billing_dispute_change();

-- It stands on the invoice that its line is of, or that the note of its line corrects.
CREATE FUNCTION billing_dispute_birth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'open' OR NOT EXISTS (
        SELECT FROM billing_invoiceline line JOIN billing_invoice document ON document.id = line.invoice_id
        WHERE line.id = NEW.line_id AND document.state = 'issued' AND coalesce(document.corrects_id, document.id) = NEW.invoice_id)
    THEN
        PERFORM billing_refuse('dispute_of_an_issued_line', format('line %s is not one of issued invoice %s', NEW.line_id, NEW.invoice_id));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER dispute_of_an_issued_line BEFORE INSERT ON billing_dispute
    FOR EACH ROW EXECUTE FUNCTION billing_dispute_birth();
CREATE TRIGGER dispute_kept BEFORE DELETE OR TRUNCATE ON billing_dispute
    FOR EACH STATEMENT EXECUTE FUNCTION billing_kept('dispute_kept');
"""

UNDISPUTES = """
DROP TRIGGER dispute_kept ON billing_dispute;
DROP TRIGGER dispute_of_an_issued_line ON billing_dispute;
DROP FUNCTION billing_dispute_birth();
DROP TRIGGER dispute_answered_once ON billing_dispute;
DROP FUNCTION billing_dispute_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0010_corrections"),
    ]

    operations = [
        migrations.CreateModel(
            name="Dispute",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "waits for an answer"),
                            ("upheld", "upheld"),
                            ("rejected", "rejected"),
                            ("withdrawn", "withdrawn"),
                        ],
                        default="open",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("net_minor", models.BigIntegerField(verbose_name="disputed, net, in minor units")),
                ("held_minor", models.BigIntegerField(verbose_name="held back, in minor units")),
                ("reason", models.TextField(verbose_name="reason")),
                ("opened_at", models.DateTimeField(verbose_name="opened at")),
                ("opened_by", models.CharField(max_length=100, verbose_name="opened by")),
                ("answer", models.TextField(blank=True, verbose_name="answer")),
                ("answered_at", models.DateTimeField(blank=True, null=True, verbose_name="answered at")),
                ("answered_by", models.CharField(blank=True, max_length=100, verbose_name="answered by")),
                (
                    "adjustment",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="dispute",
                        to="billing.adjustment",
                        verbose_name="adjustment",
                    ),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="billing.invoice",
                        verbose_name="invoice",
                    ),
                ),
                (
                    "line",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="billing.invoiceline",
                        verbose_name="line",
                    ),
                ),
            ],
            options={
                "verbose_name": "dispute",
                "verbose_name_plural": "disputes",
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")), fields=("line",), name="dispute_open_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("held_minor__gte", 0), ("net_minor__gt", 0), models.Q(("reason", ""), _negated=True)
                        ),
                        name="dispute_says_what_and_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("adjustment__isnull", True),
                                ("answer", ""),
                                ("answered_at__isnull", True),
                                ("answered_by", ""),
                                ("state", "open"),
                            ),
                            models.Q(
                                ("adjustment__isnull", False),
                                ("answered_at__gte", models.F("opened_at")),
                                ("state", "upheld"),
                                models.Q(("answer", ""), _negated=True),
                                models.Q(("answered_by", ""), _negated=True),
                            ),
                            models.Q(
                                ("adjustment__isnull", True),
                                ("answered_at__gte", models.F("opened_at")),
                                ("state", "rejected"),
                                models.Q(("answer", ""), _negated=True),
                                models.Q(("answered_by", ""), _negated=True),
                            ),
                            models.Q(
                                ("adjustment__isnull", True),
                                ("answer", ""),
                                ("answered_at__gte", models.F("opened_at")),
                                ("state", "withdrawn"),
                                models.Q(("answered_by", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="dispute_answered_is_whole",
                    ),
                ],
            },
        ),
        migrations.RunSQL(DISPUTES, UNDISPUTES),
        migrations.AddIndex(
            model_name="usageevent",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["recorded_at"], name="usage_event_recorded"
            ),
        ),
    ]
