"""Names in the language of staff: of jobs, signs of life, silent meters and zones. No column changes."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0010_corrections"),
        ("marketplace", "0014_key_makers"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="job",
            options={"ordering": ["id"], "verbose_name": "job", "verbose_name_plural": "jobs"},
        ),
        migrations.AlterModelOptions(
            name="metersilence",
            options={
                "ordering": ["since_at", "id"],
                "verbose_name": "silent meter",
                "verbose_name_plural": "silent meters",
            },
        ),
        migrations.AlterModelOptions(
            name="pulse",
            options={"ordering": ["worker"], "verbose_name": "sign of life", "verbose_name_plural": "signs of life"},
        ),
        migrations.AlterModelOptions(
            name="zone",
            options={"verbose_name": "zone", "verbose_name_plural": "zones"},
        ),
        migrations.AlterField(
            model_name="job",
            name="attempts",
            field=models.PositiveSmallIntegerField(default=0, verbose_name="attempts"),
        ),
        migrations.AlterField(
            model_name="job",
            name="created_at",
            field=models.DateTimeField(verbose_name="asked for at"),
        ),
        migrations.AlterField(
            model_name="job",
            name="due_at",
            field=models.DateTimeField(verbose_name="due at"),
        ),
        migrations.AlterField(
            model_name="job",
            name="finished_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="finished at"),
        ),
        migrations.AlterField(
            model_name="job",
            name="key",
            field=models.CharField(db_collation="C", max_length=200, verbose_name="key"),
        ),
        migrations.AlterField(
            model_name="job",
            name="kind",
            field=models.CharField(max_length=40, verbose_name="kind"),
        ),
        migrations.AlterField(
            model_name="job",
            name="last_error",
            field=models.TextField(blank=True, verbose_name="last error"),
        ),
        migrations.AlterField(
            model_name="job",
            name="locked_by",
            field=models.CharField(blank=True, max_length=200, null=True, verbose_name="held by"),
        ),
        migrations.AlterField(
            model_name="job",
            name="locked_until",
            field=models.DateTimeField(blank=True, null=True, verbose_name="held until"),
        ),
        migrations.AlterField(
            model_name="job",
            name="payload",
            field=models.JSONField(default=dict, verbose_name="payload"),
        ),
        migrations.AlterField(
            model_name="job",
            name="retried_by",
            field=models.CharField(blank=True, max_length=100, verbose_name="retried by"),
        ),
        migrations.AlterField(
            model_name="job",
            name="state",
            field=models.CharField(
                choices=[("due", "due"), ("running", "running"), ("done", "done"), ("failed", "failed")],
                default="due",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AlterField(
            model_name="metersilence",
            name="contract",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="silences",
                to="billing.contract",
                verbose_name="contract",
            ),
        ),
        migrations.AlterField(
            model_name="metersilence",
            name="ended_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="ended at"),
        ),
        migrations.AlterField(
            model_name="metersilence",
            name="found_at",
            field=models.DateTimeField(verbose_name="found at"),
        ),
        migrations.AlterField(
            model_name="metersilence",
            name="last_event_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="newest event at"),
        ),
        migrations.AlterField(
            model_name="metersilence",
            name="meter",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="silences",
                to="billing.meter",
                verbose_name="meter",
            ),
        ),
        migrations.AlterField(
            model_name="metersilence",
            name="since_at",
            field=models.DateTimeField(verbose_name="silent since"),
        ),
        migrations.AlterField(
            model_name="pulse",
            name="answered_at",
            field=models.DateTimeField(verbose_name="answered at"),
        ),
        migrations.AlterField(
            model_name="pulse",
            name="asked_at",
            field=models.DateTimeField(verbose_name="asked at"),
        ),
        migrations.AlterField(
            model_name="pulse",
            name="worker",
            field=models.CharField(db_collation="C", max_length=150, unique=True, verbose_name="worker"),
        ),
        migrations.AlterField(
            model_name="zone",
            name="code",
            field=models.SlugField(max_length=40, unique=True, verbose_name="code"),
        ),
        migrations.AlterField(
            model_name="zone",
            name="issuer",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="zone",
                to="billing.issuer",
                verbose_name="issuer",
            ),
        ),
        migrations.AlterField(
            model_name="zone",
            name="made_from",
            field=models.CharField(
                blank=True,
                help_text="What a demo was made from; empty for a real zone.",
                max_length=120,
                verbose_name="made from",
            ),
        ),
        migrations.AlterField(
            model_name="zone",
            name="name",
            field=models.CharField(max_length=100, verbose_name="name"),
        ),
        migrations.AlterField(
            model_name="zone",
            name="name_en",
            field=models.CharField(max_length=100, verbose_name="name in English"),
        ),
    ]
