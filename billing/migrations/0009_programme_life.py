"""An application can be withdrawn, and has a statement; what the rows of programmes are called.

As in 0007, and: a withdrawn application stays so, and its statement stays.
"""

import django.db.models.deletion
from django.db import migrations, models

LIFE = """
CREATE OR REPLACE FUNCTION billing_grant_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.id, OLD.programme_id, OLD.party_id, OLD.statement, OLD.applied_at, OLD.actor)
        IS DISTINCT FROM (NEW.id, NEW.programme_id, NEW.party_id, NEW.statement, NEW.applied_at, NEW.actor)
        OR (OLD.state <> 'applied' AND (OLD.facts, OLD.verdict) IS DISTINCT FROM (NEW.facts, NEW.verdict))
    THEN
        PERFORM billing_refuse('grant_facts_stay', format('grant %s is %s: what it was applied for with stays', OLD.id, OLD.state));
    END IF;
    IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (('applied', 'approved'), ('applied', 'rejected'), ('applied', 'withdrawn'),
        ('approved', 'suspended'), ('suspended', 'approved'), ('approved', 'expired'))
    THEN
        PERFORM billing_refuse('grant_state_goes_on', format('grant %s: from %s it can''t become %s', OLD.id, OLD.state, NEW.state));
    END IF;
    RETURN NEW;
END $$;
"""

UNLIFE = """
CREATE OR REPLACE FUNCTION billing_grant_change() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0008_names"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="budgetperiod",
            options={
                "ordering": ["programme_id", "from_date", "-until_date"],
                "verbose_name": "budget",
                "verbose_name_plural": "budgets",
            },
        ),
        migrations.AlterModelOptions(
            name="claim",
            options={"ordering": ["id"], "verbose_name": "claim", "verbose_name_plural": "claims"},
        ),
        migrations.AlterModelOptions(
            name="claimline",
            options={
                "ordering": ["claim_id", "id"],
                "verbose_name": "line of a claim",
                "verbose_name_plural": "lines of claims",
            },
        ),
        migrations.AlterModelOptions(
            name="commitment",
            options={"ordering": ["id"], "verbose_name": "commitment", "verbose_name_plural": "commitments"},
        ),
        migrations.AlterModelOptions(
            name="grant",
            options={"ordering": ["programme_id", "id"], "verbose_name": "grant", "verbose_name_plural": "grants"},
        ),
        migrations.AlterModelOptions(
            name="programme",
            options={
                "ordering": ["issuer_id", "code"],
                "verbose_name": "programme",
                "verbose_name_plural": "programmes",
            },
        ),
        migrations.AlterModelOptions(
            name="programmechange",
            options={
                "ordering": ["id"],
                "verbose_name": "change of a programme",
                "verbose_name_plural": "changes of programmes",
            },
        ),
        migrations.AlterModelOptions(
            name="programmerule",
            options={
                "ordering": ["programme_id", "id"],
                "verbose_name": "rule of a programme",
                "verbose_name_plural": "rules of programmes",
            },
        ),
        migrations.AlterModelOptions(
            name="programmeshare",
            options={
                "ordering": ["invoice_id", "id"],
                "verbose_name": "programme's share",
                "verbose_name_plural": "programmes' shares",
            },
        ),
        migrations.AlterModelOptions(
            name="redemption",
            options={
                "ordering": ["share_id", "id"],
                "verbose_name": "redemption",
                "verbose_name_plural": "redemptions",
            },
        ),
        migrations.RemoveConstraint(
            model_name="grant",
            name="grant_approved_has_its_window",
        ),
        migrations.AddField(
            model_name="grant",
            name="statement",
            field=models.TextField(blank=True, db_default="", default="", verbose_name="statement"),
        ),
        migrations.AlterField(
            model_name="budgetperiod",
            name="budget_minor",
            field=models.BigIntegerField(verbose_name="budget, in minor units"),
        ),
        migrations.AlterField(
            model_name="budgetperiod",
            name="code",
            field=models.CharField(max_length=20, verbose_name="code"),
        ),
        migrations.AlterField(
            model_name="budgetperiod",
            name="committed_minor",
            field=models.BigIntegerField(default=0, verbose_name="committed, in minor units"),
        ),
        migrations.AlterField(
            model_name="budgetperiod",
            name="from_date",
            field=models.DateField(verbose_name="first day"),
        ),
        migrations.AlterField(
            model_name="budgetperiod",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="budgets",
                to="billing.programme",
                verbose_name="programme",
            ),
        ),
        migrations.AlterField(
            model_name="budgetperiod",
            name="redeemed_minor",
            field=models.BigIntegerField(default=0, verbose_name="redeemed, in minor units"),
        ),
        migrations.AlterField(
            model_name="budgetperiod",
            name="until_date",
            field=models.DateField(verbose_name="last day"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="amount_minor",
            field=models.BigIntegerField(verbose_name="claimed, in minor units"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="claimant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="claims",
                to="billing.party",
                verbose_name="claimant",
            ),
        ),
        migrations.AlterField(
            model_name="claim",
            name="key",
            field=models.CharField(db_collation="C", max_length=80, verbose_name="key"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="made_at",
            field=models.DateTimeField(verbose_name="made at"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="paid_minor",
            field=models.BigIntegerField(blank=True, null=True, verbose_name="paid, in minor units"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="claims",
                to="billing.programme",
                verbose_name="programme",
            ),
        ),
        migrations.AlterField(
            model_name="claim",
            name="reason",
            field=models.TextField(blank=True, verbose_name="reason"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="settled_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="settled at"),
        ),
        migrations.AlterField(
            model_name="claim",
            name="state",
            field=models.CharField(
                choices=[
                    ("draft", "draft"),
                    ("submitted", "submitted"),
                    ("paid", "paid"),
                    ("short_paid", "paid in part"),
                    ("rejected", "rejected"),
                ],
                default="draft",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AlterField(
            model_name="claim",
            name="submitted_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="submitted at"),
        ),
        migrations.AlterField(
            model_name="claimline",
            name="amount_minor",
            field=models.BigIntegerField(verbose_name="claimed, in minor units"),
        ),
        migrations.AlterField(
            model_name="claimline",
            name="claim",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lines",
                to="billing.claim",
                verbose_name="claim",
            ),
        ),
        migrations.AlterField(
            model_name="claimline",
            name="paid_minor",
            field=models.BigIntegerField(blank=True, null=True, verbose_name="paid, in minor units"),
        ),
        migrations.AlterField(
            model_name="claimline",
            name="redemption",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="claim_lines",
                to="billing.redemption",
                verbose_name="redemption",
            ),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="commitments",
                to="billing.account",
                verbose_name="account",
            ),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="amount_minor",
            field=models.BigIntegerField(verbose_name="committed, in minor units"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="created_at",
            field=models.DateTimeField(verbose_name="made at"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="ended_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="ended at"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="ended_by",
            field=models.CharField(blank=True, max_length=100, verbose_name="ended by"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="expires_at",
            field=models.DateTimeField(verbose_name="expires at"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="grant",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="commitments",
                to="billing.grant",
                verbose_name="grant",
            ),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="month",
            field=models.CharField(max_length=7, verbose_name="month"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="redeemed_minor",
            field=models.BigIntegerField(default=0, verbose_name="redeemed, in minor units"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="released_minor",
            field=models.BigIntegerField(default=0, verbose_name="given back, in minor units"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="source",
            field=models.CharField(max_length=120, verbose_name="source"),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="state",
            field=models.CharField(
                choices=[("open", "open"), ("redeemed", "redeemed"), ("released", "released"), ("expired", "expired")],
                default="open",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AlterField(
            model_name="commitment",
            name="wanted_minor",
            field=models.BigIntegerField(verbose_name="wanted, in minor units"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="applied_at",
            field=models.DateTimeField(verbose_name="applied at"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="decided_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="decided at"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="decided_by",
            field=models.CharField(blank=True, max_length=100, verbose_name="decided by"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="facts",
            field=models.JSONField(blank=True, default=list, verbose_name="facts"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="from_date",
            field=models.DateField(blank=True, null=True, verbose_name="first day"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="party",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="grants",
                to="billing.party",
                verbose_name="legal person",
            ),
        ),
        migrations.AlterField(
            model_name="grant",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="grants",
                to="billing.programme",
                verbose_name="programme",
            ),
        ),
        migrations.AlterField(
            model_name="grant",
            name="reason",
            field=models.TextField(blank=True, verbose_name="reason"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="state",
            field=models.CharField(
                choices=[
                    ("applied", "applied"),
                    ("approved", "approved"),
                    ("rejected", "rejected"),
                    ("suspended", "suspended"),
                    ("expired", "expired"),
                    ("withdrawn", "withdrawn"),
                ],
                default="applied",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AlterField(
            model_name="grant",
            name="until_date",
            field=models.DateField(blank=True, null=True, verbose_name="last day"),
        ),
        migrations.AlterField(
            model_name="grant",
            name="verdict",
            field=models.JSONField(blank=True, default=list, verbose_name="verdict"),
        ),
        migrations.AlterField(
            model_name="grantevidence",
            name="evidence",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="grants",
                to="billing.evidence",
                verbose_name="evidence",
            ),
        ),
        migrations.AlterField(
            model_name="grantevidence",
            name="grant",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="documents",
                to="billing.grant",
                verbose_name="grant",
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="bars_related_parties",
            field=models.BooleanField(blank=True, null=True, verbose_name="not for supply of related parties"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="cap_firm_month_minor",
            field=models.BigIntegerField(blank=True, null=True, verbose_name="cap a firm and month, in minor units"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="cap_firm_year_minor",
            field=models.BigIntegerField(blank=True, null=True, verbose_name="cap a firm and year, in minor units"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="cap_invoice_minor",
            field=models.BigIntegerField(blank=True, null=True, verbose_name="cap an invoice, in minor units"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="charges",
            field=models.JSONField(blank=True, default=list, verbose_name="charges"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="code",
            field=models.SlugField(db_collation="C", db_index=False, max_length=40, verbose_name="code"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="created_at",
            field=models.DateTimeField(verbose_name="made at"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="currency",
            field=models.CharField(max_length=3, verbose_name="currency"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="eligibility",
            field=models.JSONField(blank=True, default=dict, verbose_name="eligibility"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="from_date",
            field=models.DateField(blank=True, null=True, verbose_name="first day"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="funder",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="programmes",
                to="billing.party",
                verbose_name="funder",
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="funder_name",
            field=models.CharField(
                blank=True,
                help_text="As the source says, while there is no party.",
                max_length=200,
                verbose_name="funder's name",
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="issuer",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="programmes",
                to="billing.issuer",
                verbose_name="issuer",
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="kinds",
            field=models.JSONField(blank=True, default=list, verbose_name="kinds of charges"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="mode",
            field=models.CharField(
                blank=True,
                choices=[
                    ("tariff", "cheaper tariff"),
                    ("voucher", "voucher offset on the bill"),
                    ("reimbursement", "reimbursement to the firm"),
                ],
                max_length=20,
                null=True,
                verbose_name="way of payment",
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="name",
            field=models.CharField(max_length=200, verbose_name="name"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="name_en",
            field=models.CharField(blank=True, max_length=200, verbose_name="name in English"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="one_side_claims",
            field=models.BooleanField(blank=True, null=True, verbose_name="provider and user may not both claim"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="percent",
            field=models.DecimalField(
                blank=True, decimal_places=2, max_digits=5, null=True, verbose_name="percent of the price"
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="priority",
            field=models.SmallIntegerField(default=100, verbose_name="priority"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="stacking_group",
            field=models.CharField(blank=True, max_length=40, verbose_name="stacking group"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="state",
            field=models.CharField(
                choices=[("draft", "draft"), ("open", "open"), ("paused", "paused"), ("closed", "closed")],
                default="draft",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="unit",
            field=models.CharField(blank=True, max_length=40, verbose_name="unit"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="unit_amount",
            field=models.DecimalField(
                blank=True, decimal_places=6, max_digits=18, null=True, verbose_name="amount per unit"
            ),
        ),
        migrations.AlterField(
            model_name="programme",
            name="until_date",
            field=models.DateField(blank=True, null=True, verbose_name="last day"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="vat_signed_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="VAT treatment signed at"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="vat_signed_by",
            field=models.CharField(blank=True, max_length=100, verbose_name="VAT treatment signed by"),
        ),
        migrations.AlterField(
            model_name="programme",
            name="vat_treatment",
            field=models.CharField(
                choices=[
                    ("third_party_consideration", "part of the price, paid by a third party"),
                    ("price_reduction", "reduction of the price"),
                    ("outside_scope", "outside the scope of VAT"),
                ],
                default="third_party_consideration",
                max_length=30,
                verbose_name="VAT treatment",
            ),
        ),
        migrations.AlterField(
            model_name="programmechange",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="programmechange",
            name="at",
            field=models.DateTimeField(verbose_name="at"),
        ),
        migrations.AlterField(
            model_name="programmechange",
            name="grant",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="changes",
                to="billing.grant",
                verbose_name="grant",
            ),
        ),
        migrations.AlterField(
            model_name="programmechange",
            name="programme",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="changes",
                to="billing.programme",
                verbose_name="programme",
            ),
        ),
        migrations.AlterField(
            model_name="programmechange",
            name="reason",
            field=models.TextField(blank=True, verbose_name="reason"),
        ),
        migrations.AlterField(
            model_name="programmechange",
            name="state",
            field=models.CharField(max_length=10, verbose_name="state"),
        ),
        migrations.AlterField(
            model_name="programmerule",
            name="name",
            field=models.CharField(
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
                verbose_name="rule",
            ),
        ),
        migrations.AlterField(
            model_name="programmerule",
            name="programme",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rules",
                to="billing.programme",
                verbose_name="programme",
            ),
        ),
        migrations.AlterField(
            model_name="programmerule",
            name="says",
            field=models.TextField(blank=True, null=True, verbose_name="what the source says"),
        ),
        migrations.AlterField(
            model_name="programmerule",
            name="source_date",
            field=models.DateField(blank=True, null=True, verbose_name="date of the source"),
        ),
        migrations.AlterField(
            model_name="programmerule",
            name="source_title",
            field=models.CharField(blank=True, max_length=300, verbose_name="title of the source"),
        ),
        migrations.AlterField(
            model_name="programmerule",
            name="source_url",
            field=models.URLField(blank=True, max_length=500, verbose_name="address of the source"),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="barred",
            field=models.JSONField(blank=True, default=list, verbose_name="not paid for supply of"),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="eligible_minor",
            field=models.BigIntegerField(verbose_name="eligible, in minor units"),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="grant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="shares",
                to="billing.grant",
                verbose_name="grant",
            ),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="invoice",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="programme_shares",
                to="billing.invoice",
                verbose_name="invoice",
            ),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="limited_by",
            field=models.CharField(blank=True, max_length=20, verbose_name="limited by"),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="month",
            field=models.CharField(max_length=7, verbose_name="month"),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="programme",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="shares",
                to="billing.programme",
                verbose_name="programme",
            ),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="share_minor",
            field=models.BigIntegerField(verbose_name="share, in minor units"),
        ),
        migrations.AlterField(
            model_name="programmeshare",
            name="wanted_minor",
            field=models.BigIntegerField(verbose_name="wanted, in minor units"),
        ),
        migrations.AlterField(
            model_name="redemption",
            name="amount_minor",
            field=models.BigIntegerField(verbose_name="redeemed, in minor units"),
        ),
        migrations.AlterField(
            model_name="redemption",
            name="clawed_back_minor",
            field=models.BigIntegerField(default=0, verbose_name="clawed back, in minor units"),
        ),
        migrations.AlterField(
            model_name="redemption",
            name="credited_minor",
            field=models.BigIntegerField(default=0, verbose_name="credited, in minor units"),
        ),
        migrations.AlterField(
            model_name="redemption",
            name="line",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="redemptions",
                to="billing.invoiceline",
                verbose_name="invoice line",
            ),
        ),
        migrations.AlterField(
            model_name="redemption",
            name="paid_minor",
            field=models.BigIntegerField(default=0, verbose_name="paid by the funder, in minor units"),
        ),
        migrations.AlterField(
            model_name="redemption",
            name="share",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="redemptions",
                to="billing.programmeshare",
                verbose_name="programme's share",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["applied", "rejected", "withdrawn"]),
                    models.Q(("from_date__isnull", False), ("until_date__isnull", False)),
                    _connector="OR",
                ),
                name="grant_approved_has_its_window",
            ),
        ),
        migrations.RunSQL(LIFE, UNLIFE),
    ]
