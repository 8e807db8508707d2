"""When an event that came unmatched was matched."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0013_claim_steps"),
    ]

    operations = [
        migrations.AddField(
            model_name="usageevent",
            name="matched_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="usageevent",
            index=models.Index(
                condition=models.Q(("matched_at__isnull", False)), fields=["matched_at"], name="usage_event_matched"
            ),
        ),
    ]
