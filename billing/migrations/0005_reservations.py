"""What reservations need of billing: owned tariffs, contracts at one version's prices, one-off charges, facts with evidence."""

import django.db.models.deletion
from django.db import migrations, models

# A contract of one version is moved with its reserved spans; any other only ends, as before.
GROUNDS = """
CREATE OR REPLACE FUNCTION billing_contract_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'start_at' - 'end_at' - 'withdrawn_at' <> to_jsonb(NEW) - 'start_at' - 'end_at' - 'withdrawn_at'
        OR (OLD.start_at <> NEW.start_at AND OLD.tariff_version_id IS NULL)
    THEN
        PERFORM billing_refuse('contract_only_ends', format('contract %s: its end_at is the only change', OLD.number));
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION billing_reserved_span_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'end_at' - 'withdrawn_at' <> to_jsonb(NEW) - 'end_at' - 'withdrawn_at'
        OR (OLD.end_at IS NOT NULL AND (NEW.end_at IS NULL OR NEW.end_at > OLD.end_at))
        OR (OLD.withdrawn_at IS NOT NULL AND OLD.withdrawn_at IS DISTINCT FROM NEW.withdrawn_at)
    THEN
        PERFORM billing_refuse('reserved_span_only_ends', format('reserved span %s: ending it, earlier than before, and withdrawing it are the only changes', OLD.source));
    END IF;
    RETURN NEW;
END $$;
"""

UNGROUNDS = """
CREATE OR REPLACE FUNCTION billing_contract_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'end_at' <> to_jsonb(NEW) - 'end_at' THEN
        PERFORM billing_refuse('contract_only_ends', format('contract %s: its end_at is the only change', OLD.number));
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION billing_reserved_span_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.end_at IS NOT NULL OR NEW.end_at IS NULL OR to_jsonb(OLD) - 'end_at' <> to_jsonb(NEW) - 'end_at' THEN
        PERFORM billing_refuse('reserved_span_only_ends', format('reserved span %s: setting the end_at of an open one is the only change', OLD.source));
    END IF;
    RETURN NEW;
END $$;
"""


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
        ("billing", "0004_event_problems"),
    ]

    operations = [
        migrations.CreateModel(
            name="Evidence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("content_type", models.CharField(max_length=100)),
                ("content", models.BinaryField()),
                ("sha256", models.CharField(max_length=64)),
                ("uploaded_at", models.DateTimeField()),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "verbose_name_plural": "evidence",
            },
        ),
        migrations.CreateModel(
            name="OneOffCharge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("fee", "Fee"), ("credit", "Credit")], max_length=10)),
                ("code", models.CharField(max_length=40)),
                ("at", models.DateTimeField()),
                ("amount_minor", models.BigIntegerField()),
                ("tax_category", models.CharField(max_length=5)),
                ("tax_rate", models.DecimalField(decimal_places=30, max_digits=31)),
                ("why", models.JSONField(default=dict)),
                ("source", models.CharField(max_length=120)),
                ("created_at", models.DateTimeField()),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["at", "id"],
            },
        ),
        migrations.CreateModel(
            name="PartyFact",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("sector", "sector"),
                            ("size_class", "size class"),
                            ("founded_date", "founded on"),
                            ("zone", "zone of registration"),
                            ("related_party", "related party"),
                        ],
                        max_length=20,
                    ),
                ),
                ("value", models.CharField(max_length=100)),
                ("from_date", models.DateField()),
                ("until_date", models.DateField(blank=True, null=True)),
                ("claimed_at", models.DateTimeField()),
                ("verified_at", models.DateTimeField(blank=True, null=True)),
                ("verified_by", models.CharField(blank=True, max_length=100)),
                ("actor", models.CharField(max_length=100)),
            ],
            options={
                "ordering": ["party_id", "kind", "from_date", "id"],
            },
        ),
        migrations.AddField(
            model_name="contract",
            name="tariff_version",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="contracts",
                to="billing.tariffversion",
                verbose_name="tariff version",
            ),
        ),
        migrations.AddField(
            model_name="contract",
            name="withdrawn_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="withdrawn at"),
        ),
        migrations.AddField(
            model_name="reservedspan",
            name="withdrawn_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="withdrawn at"),
        ),
        migrations.AddField(
            model_name="tariff",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="tariffs",
                to="billing.party",
                verbose_name="owner",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(("tariff_version__isnull", True), ("end_at__isnull", False), _connector="OR"),
                name="contract_of_version_ends",
            ),
        ),
        migrations.AddField(
            model_name="evidence",
            name="party",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="evidence", to="billing.party"
            ),
        ),
        migrations.AddField(
            model_name="oneoffcharge",
            name="contract",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="one_off_charges", to="billing.contract"
            ),
        ),
        migrations.AddField(
            model_name="partyfact",
            name="evidence",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="facts",
                to="billing.evidence",
            ),
        ),
        migrations.AddField(
            model_name="partyfact",
            name="party",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="facts", to="billing.party"
            ),
        ),
        migrations.AddConstraint(
            model_name="evidence",
            constraint=models.UniqueConstraint(fields=("party", "sha256"), name="evidence_once"),
        ),
        migrations.AddConstraint(
            model_name="evidence",
            constraint=models.CheckConstraint(condition=models.Q(("name", ""), _negated=True), name="evidence_named"),
        ),
        migrations.AddConstraint(
            model_name="oneoffcharge",
            constraint=models.UniqueConstraint(fields=("contract", "source"), name="one_off_charge_once"),
        ),
        migrations.AddConstraint(
            model_name="oneoffcharge",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount_minor__gt", 0), ("kind", "fee")),
                    models.Q(("amount_minor__lt", 0), ("kind", "credit")),
                    _connector="OR",
                ),
                name="one_off_charge_sign",
            ),
        ),
        migrations.AddConstraint(
            model_name="partyfact",
            constraint=models.UniqueConstraint(fields=("party", "kind", "value", "from_date"), name="party_fact_once"),
        ),
        migrations.AddConstraint(
            model_name="partyfact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("until_date__isnull", True), ("until_date__gte", models.F("from_date")), _connector="OR"
                ),
                name="party_fact_ends_after_start",
            ),
        ),
        migrations.AddConstraint(
            model_name="partyfact",
            constraint=models.CheckConstraint(condition=models.Q(("value", ""), _negated=True), name="party_fact_said"),
        ),
        migrations.RunSQL(GROUNDS, UNGROUNDS),
        append_only("one_off_charge_append_only", "billing_oneoffcharge"),
        append_only("evidence_append_only", "billing_evidence"),
    ]
