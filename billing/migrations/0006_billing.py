"""Contracts of reservations: apart from each other, of their version's tariff, withdrawn for good."""

from django.db import migrations, models

# The columns as ranges: there is no btree_gist in the embedded server.
APART = """
ALTER TABLE billing_contract ADD CONSTRAINT contract_of_version_apart EXCLUDE USING gist (
    int8range(account_id, account_id, '[]') WITH &&,
    int8range(tariff_version_id, tariff_version_id, '[]') WITH &&,
    int8range(provider_id, provider_id, '[]') WITH &&,
    tstzrange(start_at, end_at) WITH &&
) WHERE (tariff_version_id IS NOT NULL AND withdrawn_at IS NULL);

ALTER TABLE billing_tariffversion ADD CONSTRAINT tariff_version_of_tariff UNIQUE (id, tariff_id);
ALTER TABLE billing_contract ADD CONSTRAINT contract_version_of_tariff
    FOREIGN KEY (tariff_version_id, tariff_id) REFERENCES billing_tariffversion (id, tariff_id);

CREATE OR REPLACE FUNCTION billing_contract_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'start_at' - 'end_at' - 'withdrawn_at' <> to_jsonb(NEW) - 'start_at' - 'end_at' - 'withdrawn_at'
        OR (OLD.tariff_version_id IS NULL AND (OLD.start_at <> NEW.start_at OR NEW.withdrawn_at IS NOT NULL))
        OR (OLD.withdrawn_at IS NOT NULL AND to_jsonb(OLD) <> to_jsonb(NEW))
    THEN
        PERFORM billing_refuse('contract_only_ends', format('contract %s: its end_at is the only change', OLD.number));
    END IF;
    RETURN NEW;
END $$;
"""

UNAPART = """
CREATE OR REPLACE FUNCTION billing_contract_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'start_at' - 'end_at' - 'withdrawn_at' <> to_jsonb(NEW) - 'start_at' - 'end_at' - 'withdrawn_at'
        OR (OLD.start_at <> NEW.start_at AND OLD.tariff_version_id IS NULL)
    THEN
        PERFORM billing_refuse('contract_only_ends', format('contract %s: its end_at is the only change', OLD.number));
    END IF;
    RETURN NEW;
END $$;
ALTER TABLE billing_contract DROP CONSTRAINT contract_version_of_tariff;
ALTER TABLE billing_tariffversion DROP CONSTRAINT tariff_version_of_tariff;
ALTER TABLE billing_contract DROP CONSTRAINT contract_of_version_apart;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_reservations")]

    operations = [
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(("withdrawn_at__isnull", True), ("tariff_version__isnull", False), _connector="OR"),
                name="contract_withdrawn_of_version",
            ),
        ),
        migrations.RunSQL(APART, UNAPART),
    ]
