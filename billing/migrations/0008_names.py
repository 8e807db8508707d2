"""What the one-off charges, facts and evidence are called: no table changes."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0007_programmes"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="evidence",
            options={"verbose_name": "evidence", "verbose_name_plural": "evidence"},
        ),
        migrations.AlterModelOptions(
            name="oneoffcharge",
            options={
                "ordering": ["at", "id"],
                "verbose_name": "one-off charge",
                "verbose_name_plural": "one-off charges",
            },
        ),
        migrations.AlterModelOptions(
            name="partyfact",
            options={
                "ordering": ["party_id", "kind", "from_date", "id"],
                "verbose_name": "fact of a legal person",
                "verbose_name_plural": "facts of legal persons",
            },
        ),
        migrations.AlterField(
            model_name="evidence",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="evidence",
            name="content",
            field=models.BinaryField(verbose_name="content"),
        ),
        migrations.AlterField(
            model_name="evidence",
            name="content_type",
            field=models.CharField(max_length=100, verbose_name="kind of file"),
        ),
        migrations.AlterField(
            model_name="evidence",
            name="name",
            field=models.CharField(max_length=200, verbose_name="file name"),
        ),
        migrations.AlterField(
            model_name="evidence",
            name="party",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="evidence",
                to="billing.party",
                verbose_name="legal person",
            ),
        ),
        migrations.AlterField(
            model_name="evidence",
            name="sha256",
            field=models.CharField(max_length=64, verbose_name="SHA-256"),
        ),
        migrations.AlterField(
            model_name="evidence",
            name="uploaded_at",
            field=models.DateTimeField(verbose_name="uploaded at"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="amount_minor",
            field=models.BigIntegerField(verbose_name="amount, net"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="at",
            field=models.DateTimeField(verbose_name="at"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="code",
            field=models.CharField(max_length=40, verbose_name="code"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="contract",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="one_off_charges",
                to="billing.contract",
                verbose_name="contract",
            ),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="created_at",
            field=models.DateTimeField(verbose_name="made at"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="kind",
            field=models.CharField(choices=[("fee", "fee"), ("credit", "credit")], max_length=10, verbose_name="kind"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="source",
            field=models.CharField(max_length=120, verbose_name="origin"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="tax_category",
            field=models.CharField(max_length=5, verbose_name="tax category"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="tax_rate",
            field=models.DecimalField(decimal_places=30, max_digits=31, verbose_name="tax rate"),
        ),
        migrations.AlterField(
            model_name="oneoffcharge",
            name="why",
            field=models.JSONField(default=dict, verbose_name="why"),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="actor",
            field=models.CharField(max_length=100, verbose_name="done by"),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="claimed_at",
            field=models.DateTimeField(verbose_name="claimed at"),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="evidence",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="facts",
                to="billing.evidence",
                verbose_name="evidence",
            ),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="from_date",
            field=models.DateField(verbose_name="from"),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="kind",
            field=models.CharField(
                choices=[
                    ("sector", "sector"),
                    ("size_class", "size class"),
                    ("founded_date", "founded on"),
                    ("zone", "zone of registration"),
                    ("related_party", "related party"),
                ],
                max_length=20,
                verbose_name="kind",
            ),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="party",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="facts",
                to="billing.party",
                verbose_name="legal person",
            ),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="until_date",
            field=models.DateField(blank=True, null=True, verbose_name="until"),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="value",
            field=models.CharField(max_length=100, verbose_name="value"),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="verified_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="verified at"),
        ),
        migrations.AlterField(
            model_name="partyfact",
            name="verified_by",
            field=models.CharField(blank=True, max_length=100, verbose_name="verified by"),
        ),
    ]
