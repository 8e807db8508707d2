"""Corrections on an account's next invoice: a note that is settled on it, and an adjustment that waits for it."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

_0010 = import_module("billing.migrations.0010_corrections")
WAS: str = _0010.INVOICES

# As in 0010, and: a note is settled on the invoice that is issued with it, and the invoice says what all of those come to.
INVOICES: str = _0010.changed(
    WAS,
    declared=(
        "    corrected billing_invoice;\n",
        "    corrected billing_invoice;\n    bearer billing_invoice;\n    settled record;\n",
    ),
    settles=(
        "    RETURN NEW;\nEND $$;\n",
        """    IF NEW.settled_on_id IS NOT NULL THEN
        SELECT * INTO bearer FROM billing_invoice WHERE id = NEW.settled_on_id;
        IF (bearer.state, bearer.kind, bearer.account_id, bearer.period_id) IS DISTINCT FROM ('draft', 'invoice', NEW.account_id, NEW.period_id) THEN
            PERFORM billing_refuse('invoice_settled_on_one_issued_with_it', format('note %s: it is settled on no invoice of its account and period that is issued with it', NEW.number));
        END IF;
    ELSIF NEW.corrects_id IS NULL THEN
        SELECT count(*) AS notes, count(*) FILTER (WHERE note.state <> 'issued') AS drafts,
            coalesce(sum(note.gross_minor - note.subsidy_minor), 0) AS payable_minor
            INTO settled FROM billing_invoice note WHERE note.settled_on_id = NEW.id;
        IF settled.drafts > 0 OR (settled.notes > 0) <> (told ? 'corrections')
            OR coalesce((told #>> '{corrections,payable_minor}')::bigint, 0) <> settled.payable_minor
        THEN
            PERFORM billing_refuse('invoice_settles_what_it_says', format('invoice %s: its snapshot says other corrections than the notes that are settled on it, %s', NEW.number, settled.payable_minor));
        END IF;
    END IF;
    RETURN NEW;
END $$;
""",
    ),
)

# A note that is settled on an invoice never stays without it: at the commit both are issued.
SETTLED = """
CREATE FUNCTION billing_invoice_is_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM billing_invoice WHERE id = NEW.settled_on_id AND state = 'issued') THEN
        PERFORM billing_refuse('invoice_settled_on_an_issued_one', format('note %s: the invoice that it is settled on is not issued', NEW.id));
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER invoice_settled_on_an_issued_one AFTER INSERT OR UPDATE ON billing_invoice DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.settled_on_id IS NOT NULL) EXECUTE FUNCTION billing_invoice_is_settled();
"""

UNSETTLED = """
DROP TRIGGER invoice_settled_on_an_issued_one ON billing_invoice;
DROP FUNCTION billing_invoice_is_settled();
"""

# What is approved waits: it is issued as it was approved, dismissed, or proposed again.
ADJUSTMENTS = """
CREATE OR REPLACE FUNCTION billing_adjustment_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state NOT IN ('proposed', 'approved') OR (OLD.id, OLD.invoice_id, OLD.cause) IS DISTINCT FROM (NEW.id, NEW.invoice_id, NEW.cause) THEN
        PERFORM billing_refuse('adjustment_decided_once', format('adjustment %s is %s: deciding on one that is proposed or approved is the only change', OLD.id, OLD.state));
    END IF;
    IF OLD.state = 'approved' AND NEW.state <> 'proposed'
        AND (OLD.lines, OLD.net_minor, OLD.tax_minor) IS DISTINCT FROM (NEW.lines, NEW.net_minor, NEW.tax_minor)
    THEN
        PERFORM billing_refuse('adjustment_issued_as_approved', format('adjustment %s: what was approved is proposed again before it is changed', OLD.id));
    END IF;
    IF NEW.document_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM billing_invoice WHERE id = NEW.document_id AND corrects_id = NEW.invoice_id AND state = 'issued')
    THEN
        PERFORM billing_refuse('adjustment_document_corrects', format('adjustment %s: its document corrects another invoice', OLD.id));
    END IF;
    RETURN NEW;
END $$;
"""

WERE_ADJUSTMENTS: str = _0010.ADJUSTMENTS.split("CREATE TRIGGER")[0].replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0014_matched_at"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="adjustment",
            name="adjustment_proposed_once",
        ),
        migrations.RemoveConstraint(
            model_name="adjustment",
            name="adjustment_decided_is_whole",
        ),
        migrations.AddField(
            model_name="account",
            name="corrections_chosen_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="chosen at"),
        ),
        migrations.AddField(
            model_name="account",
            name="corrections_chosen_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=100, verbose_name="chosen by"),
        ),
        migrations.AddField(
            model_name="account",
            name="corrections_on",
            field=models.CharField(
                choices=[("note", "a credit or debit note, at once"), ("next_invoice", "lines on the next invoice")],
                db_default="note",
                default="note",
                max_length=12,
                verbose_name="corrections go on",
            ),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="returned",
            field=models.CharField(
                blank=True,
                choices=[
                    ("undone", "the approval was taken back"),
                    ("changed", "what differs has changed since it was approved"),
                    ("not_rated", "its month could not be rated when the next invoice was issued"),
                ],
                db_default="",
                default="",
                max_length=10,
                verbose_name="proposed again, because",
            ),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="returned_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="proposed again at"),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="returned_by",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=100, verbose_name="proposed again by"
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="settled_on",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="settles",
                to="billing.invoice",
                verbose_name="settled on",
            ),
        ),
        migrations.AlterField(
            model_name="adjustment",
            name="state",
            field=models.CharField(
                choices=[
                    ("proposed", "proposed"),
                    ("approved", "approved, for the next invoice"),
                    ("issued", "issued"),
                    ("dismissed", "dismissed"),
                ],
                default="proposed",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AddIndex(
            model_name="adjustment",
            index=models.Index(condition=models.Q(("state", "approved")), fields=["invoice"], name="adjustment_waits"),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                condition=models.Q(("settled_on__isnull", False)), fields=["settled_on"], name="invoice_settles"
            ),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                condition=models.Q(("corrections_on__in", ["note", "next_invoice"])), name="account_corrections_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("corrections_chosen_at__isnull", True),
                        ("corrections_chosen_by", ""),
                        ("corrections_on", "note"),
                    ),
                    models.Q(
                        ("corrections_chosen_at__isnull", False), models.Q(("corrections_chosen_by", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="account_corrections_chosen_by_somebody",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("cause", "usage"), ("state__in", ["proposed", "approved"])),
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
                        ("state__in", ["approved", "dismissed"]),
                        models.Q(("reason", ""), _negated=True),
                        models.Q(("decided_by", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="adjustment_decided_is_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("returned", ""), ("returned_at__isnull", True), ("returned_by", "")),
                    models.Q(
                        ("returned_at__isnull", False),
                        models.Q(("returned", ""), _negated=True),
                        models.Q(("returned_by", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="adjustment_returned_is_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("settled_on__isnull", True), ("kind__in", ["credit_note", "debit_note"]), _connector="OR"
                ),
                name="invoice_settled_is_a_note",
            ),
        ),
        migrations.RunSQL(INVOICES, WAS),
        migrations.RunSQL(SETTLED, UNSETTLED),
        migrations.RunSQL(ADJUSTMENTS, WERE_ADJUSTMENTS),
    ]
