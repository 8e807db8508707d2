import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0003_jobs")]

    operations = [
        migrations.CreateModel(
            name="RequestCount",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="marketplace.apikey",
                    ),
                ),
                ("minute", models.BigIntegerField()),
                ("number", models.IntegerField()),
            ],
        ),
        # Counting does not wait for the disk.
        migrations.RunSQL("ALTER TABLE marketplace_requestcount SET UNLOGGED", migrations.RunSQL.noop),
    ]
