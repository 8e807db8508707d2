"""What is asked of backends and done by hand for reservations, and access to them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0009_catalog_accelerators"),
    ]

    operations = [
        migrations.CreateModel(
            name="Provision",
            fields=[
                (
                    "reservation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="provision",
                        serialize=False,
                        to="marketplace.reservation",
                    ),
                ),
                (
                    "asked",
                    models.CharField(
                        blank=True,
                        choices=[("start", "Start"), ("stop", "Stop"), ("suspend", "Suspend"), ("resume", "Resume")],
                        max_length=10,
                        verbose_name="asked for",
                    ),
                ),
                ("asked_at", models.DateTimeField(blank=True, null=True, verbose_name="asked at")),
                ("taken_at", models.DateTimeField(blank=True, null=True, verbose_name="taken at")),
                ("due_at", models.DateTimeField(verbose_name="due at")),
                (
                    "seen",
                    models.CharField(
                        choices=[("absent", "Not running"), ("running", "Running"), ("suspended", "Suspended")],
                        default="absent",
                        max_length=10,
                        verbose_name="seen",
                    ),
                ),
                ("seen_at", models.DateTimeField(verbose_name="seen at")),
                ("running_at", models.DateTimeField(blank=True, null=True, verbose_name="ready at")),
                ("over_at", models.DateTimeField(blank=True, null=True, verbose_name="over at")),
                ("error", models.CharField(blank=True, max_length=500, verbose_name="last error")),
                ("failures", models.PositiveIntegerField(default=0, verbose_name="failures in a row")),
            ],
            options={
                "verbose_name": "provisioning",
                "verbose_name_plural": "provisioning",
                "ordering": ["due_at", "reservation_id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("over_at__isnull", True)), fields=["due_at"], name="provision_not_over"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("asked", ""), ("asked_at__isnull", True)),
                            models.Q(models.Q(("asked", ""), _negated=True), ("asked_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="provision_asked_at",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Credential",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sealed", models.TextField(editable=False)),
                ("handed_at", models.DateTimeField(verbose_name="handed over at")),
                ("handed_by", models.CharField(max_length=100, verbose_name="handed over by")),
                ("shown_at", models.DateTimeField(blank=True, null=True, verbose_name="shown at")),
                ("shown_to", models.CharField(blank=True, max_length=100, verbose_name="shown to")),
                ("erased_at", models.DateTimeField(blank=True, null=True, verbose_name="erased at")),
                (
                    "reservation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="credentials",
                        to="marketplace.reservation",
                        verbose_name="reservation",
                    ),
                ),
            ],
            options={
                "verbose_name": "access",
                "verbose_name_plural": "access",
                "ordering": ["reservation_id", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("erased_at__isnull", True)),
                        fields=("reservation",),
                        name="credential_one_sealed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("erased_at__isnull", True),
                                models.Q(("sealed", ""), _negated=True),
                                ("shown_at__isnull", True),
                            ),
                            models.Q(("erased_at__isnull", False), ("sealed", "")),
                            _connector="OR",
                        ),
                        name="credential_erased_when_shown",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("shown_at__isnull", True),
                            models.Q(("erased_at", models.F("shown_at")), models.Q(("shown_to", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="credential_shown_to_somebody",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProvisioningTask",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("start", "Start"), ("stop", "Stop"), ("suspend", "Suspend"), ("resume", "Resume")],
                        max_length=10,
                        verbose_name="what",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "To do"), ("done", "Done"), ("void", "No longer needed")],
                        default="open",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("due_at", models.DateTimeField(verbose_name="due at")),
                ("created_at", models.DateTimeField(verbose_name="asked at")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="done at")),
                ("ended_by", models.CharField(blank=True, max_length=100, verbose_name="done by")),
                ("note", models.CharField(blank=True, max_length=500, verbose_name="note")),
                (
                    "reservation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="marketplace.reservation",
                        verbose_name="reservation",
                    ),
                ),
            ],
            options={
                "verbose_name": "task",
                "verbose_name_plural": "tasks",
                "ordering": ["due_at", "id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "open")), fields=["due_at"], name="provisioning_task_open"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")),
                        fields=("reservation",),
                        name="provisioning_task_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", True), ("state", "open")),
                            models.Q(("ended_at__isnull", False), ("state__in", ["done", "void"])),
                            _connector="OR",
                        ),
                        name="provisioning_task_ended_at",
                    ),
                ],
            },
        ),
    ]
