"""Credit and debit notes: documents that correct an invoice, and the differences that are found and decided on."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

WAS: str = import_module("billing.migrations.0007_programmes").INVOICES


def changed(text: str, **pairs: tuple[str, str]) -> str:
    for old, new in pairs.values():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


# As in 0007, and: what a note claws back of programmes' shares lessens its own; it corrects an issued invoice of the account.
INVOICES = changed(
    WAS,
    declared=("    told jsonb;\n", "    told jsonb;\n    corrected billing_invoice;\n    clawed_minor bigint := 0;\n"),
    old=(
        "IF NEW.state <> 'issued'\n        OR (OLD.id,",
        "IF NEW.state <> 'issued'\n        OR (OLD.kind, OLD.corrects_id, OLD.place, OLD.id,",
    ),
    new=("IS DISTINCT FROM (NEW.id,", "IS DISTINCT FROM (NEW.kind, NEW.corrects_id, NEW.place, NEW.id,"),
    redeemed=(
        "    IF redeemed.offset_minor <> NEW.subsidy_minor OR",
        """    IF NEW.corrects_id IS NOT NULL THEN
        SELECT * INTO corrected FROM billing_invoice WHERE id = NEW.corrects_id;
        IF (corrected.state, corrected.kind, corrected.account_id) IS DISTINCT FROM ('issued', 'invoice', NEW.account_id) THEN
            PERFORM billing_refuse('invoice_corrects_an_issued_one', format('note %s: it corrects no issued invoice of its account', NEW.number));
        END IF;
        SELECT coalesce(sum(clawback.amount_minor), 0) INTO clawed_minor
            FROM billing_clawback clawback JOIN billing_redemption redemption ON redemption.id = clawback.redemption_id
            JOIN billing_programmeshare share ON share.id = redemption.share_id
            JOIN billing_programme programme ON programme.id = share.programme_id
            WHERE programme.mode = 'voucher' AND starts_with(clawback.source, format('correction:%s:%s/', corrected.number, NEW.place))
            AND share.invoice_id IN (SELECT id FROM billing_invoice WHERE id = NEW.corrects_id OR corrects_id = NEW.corrects_id);
    END IF;
    IF redeemed.offset_minor - clawed_minor <> NEW.subsidy_minor OR""",
    ),
)

ADJUSTMENTS = """
CREATE FUNCTION billing_adjustment_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'proposed' OR (OLD.id, OLD.invoice_id, OLD.cause) IS DISTINCT FROM (NEW.id, NEW.invoice_id, NEW.cause) THEN
        PERFORM billing_refuse('adjustment_decided_once', format('adjustment %s is %s: deciding on a proposed one is the only change', OLD.id, OLD.state));
    END IF;
    IF NEW.document_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM billing_invoice WHERE id = NEW.document_id AND corrects_id = NEW.invoice_id AND state = 'issued')
    THEN
        PERFORM billing_refuse('adjustment_document_corrects', format('adjustment %s: its document corrects another invoice', OLD.id));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER adjustment_decided_once BEFORE UPDATE ON billing_adjustment
    FOR EACH ROW EXECUTE FUNCTION billing_adjustment_change();
CREATE TRIGGER adjustment_kept BEFORE DELETE OR TRUNCATE ON billing_adjustment
    FOR EACH STATEMENT EXECUTE FUNCTION billing_kept('adjustment_kept');
"""

UNADJUSTMENTS = """
DROP TRIGGER adjustment_kept ON billing_adjustment;
DROP TRIGGER adjustment_decided_once ON billing_adjustment;
DROP FUNCTION billing_adjustment_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0009_programme_life"),
    ]

    operations = [
        migrations.CreateModel(
            name="Adjustment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("usage", "usage that came or was corrected after issue"),
                            ("dispute", "a dispute that was upheld"),
                        ],
                        max_length=10,
                        verbose_name="cause",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("proposed", "proposed"), ("issued", "issued"), ("dismissed", "dismissed")],
                        default="proposed",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("lines", models.JSONField(verbose_name="lines")),
                ("net_minor", models.BigIntegerField(verbose_name="net, in minor units")),
                ("tax_minor", models.BigIntegerField(verbose_name="tax, in minor units")),
                ("events_recorded", models.PositiveIntegerField(default=0, verbose_name="events that came later")),
                (
                    "events_corrected",
                    models.PositiveIntegerField(default=0, verbose_name="events that were corrected later"),
                ),
                ("found_at", models.DateTimeField(verbose_name="found at")),
                ("decided_at", models.DateTimeField(blank=True, null=True, verbose_name="decided at")),
                ("decided_by", models.CharField(blank=True, max_length=100, verbose_name="decided by")),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
            ],
            options={
                "verbose_name": "adjustment",
                "verbose_name_plural": "adjustments",
                "ordering": ["-id"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="invoice_once",
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="invoice_subsidy_within_net",
        ),
        migrations.AddField(
            model_name="invoice",
            name="corrects",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="corrections",
                to="billing.invoice",
                verbose_name="corrects",
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="kind",
            field=models.CharField(
                choices=[("invoice", "Invoice"), ("credit_note", "Credit note"), ("debit_note", "Debit note")],
                db_default="invoice",
                default="invoice",
                max_length=11,
                verbose_name="kind of document",
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="place",
            field=models.PositiveSmallIntegerField(blank=True, null=True, verbose_name="place among its corrections"),
        ),
        migrations.AlterField(
            model_name="invoice",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="invoices",
                to="billing.account",
                verbose_name="account",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "invoice")), fields=("account", "period"), name="invoice_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(fields=("corrects", "place"), name="invoice_correction_once"),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("corrects__isnull", True), ("kind", "invoice"), ("place__isnull", True)),
                    models.Q(
                        ("corrects__isnull", False), ("kind__in", ["credit_note", "debit_note"]), ("place__gte", 1)
                    ),
                    _connector="OR",
                ),
                name="invoice_correction_corrects",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("subsidy_minor", 0),
                    models.Q(("subsidy_minor__gt", 0), ("subsidy_minor__lte", models.F("net_minor"))),
                    models.Q(("kind", "invoice"), _negated=True),
                    _connector="OR",
                ),
                name="invoice_subsidy_within_net",
            ),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="document",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="adjustment",
                to="billing.invoice",
                verbose_name="document",
            ),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="invoice",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="adjustments",
                to="billing.invoice",
                verbose_name="invoice",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("cause", "usage"), ("state", "proposed")),
                fields=("invoice",),
                name="adjustment_proposed_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("decided_at__isnull", True),
                        ("decided_by", ""),
                        ("document__isnull", True),
                        ("state", "proposed"),
                    ),
                    models.Q(
                        ("decided_at__isnull", False),
                        ("document__isnull", False),
                        ("state", "issued"),
                        models.Q(("reason", ""), _negated=True),
                        models.Q(("decided_by", ""), _negated=True),
                    ),
                    models.Q(
                        ("decided_at__isnull", False),
                        ("document__isnull", True),
                        ("state", "dismissed"),
                        models.Q(("reason", ""), _negated=True),
                        models.Q(("decided_by", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="adjustment_decided_is_whole",
            ),
        ),
        migrations.RunSQL(INVOICES, WAS),
        migrations.RunSQL(ADJUSTMENTS, UNADJUSTMENTS),
    ]
