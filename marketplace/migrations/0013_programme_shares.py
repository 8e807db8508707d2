"""What programmes promise of quotes and reservations."""

import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0008_names"),
        ("marketplace", "0012_once"),
    ]

    operations = [
        migrations.AddField(
            model_name="quote",
            name="reimbursed_minor",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="paid back by programmes"),
        ),
        migrations.AddField(
            model_name="quote",
            name="shares",
            field=models.JSONField(db_default=[], default=list, verbose_name="programmes' shares"),
        ),
        migrations.AddField(
            model_name="quote",
            name="subsidy_minor",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="promised by programmes"),
        ),
        migrations.AddField(
            model_name="reservation",
            name="reimbursed_minor",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="paid back by programmes"),
        ),
        migrations.AddField(
            model_name="reservation",
            name="subsidy_minor",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="promised by programmes"),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reimbursed_minor", 0), ("subsidy_minor", 0)),
                    models.Q(
                        (
                            "net_minor__gte",
                            django.db.models.expressions.CombinedExpression(
                                models.F("subsidy_minor"), "+", models.F("reimbursed_minor")
                            ),
                        ),
                        ("reimbursed_minor__gte", 0),
                        ("subsidy_minor__gte", 0),
                    ),
                    _connector="OR",
                ),
                name="quote_shares_within_net",
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(("reimbursed_minor__gte", 0), ("subsidy_minor__gte", 0)),
                name="reservation_shares_not_negative",
            ),
        ),
    ]
