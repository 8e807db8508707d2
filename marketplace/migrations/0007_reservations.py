"""Reservations by month of use, notices, and the waitlist."""

import uuid

import django.db.models.deletion
import django.db.models.fields.json
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_reservations"),
        ("marketplace", "0006_capacity"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReservationMonth",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "reservation_id", "month", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("month", models.CharField(max_length=7)),
                ("net_minor", models.BigIntegerField(default=0)),
                ("fee_minor", models.BigIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="marketplace.project",
                    ),
                ),
                (
                    "reservation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="months",
                        to="marketplace.reservation",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="WaitlistEntry",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("quantity", models.PositiveIntegerField(verbose_name="GPUs")),
                ("hours", models.PositiveIntegerField(verbose_name="hours")),
                ("earliest_at", models.DateTimeField(verbose_name="starts at the earliest")),
                ("latest_at", models.DateTimeField(verbose_name="starts at the latest")),
                ("max_net_minor", models.BigIntegerField(verbose_name="highest price")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("offered", "Offered"),
                            ("taken", "Taken"),
                            ("left", "Left"),
                            ("expired", "Expired"),
                        ],
                        default="waiting",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500, verbose_name="why not yet")),
                ("created_at", models.DateTimeField(verbose_name="since")),
                ("state_at", models.DateTimeField(verbose_name="state since")),
                ("actor", models.CharField(max_length=100, verbose_name="made by")),
                (
                    "offering",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waitlist",
                        to="marketplace.offering",
                        verbose_name="offering",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waitlist",
                        to="marketplace.organization",
                        verbose_name="buyer",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waitlist",
                        to="marketplace.project",
                        verbose_name="project",
                    ),
                ),
                (
                    "reservation",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waitlist_entry",
                        to="marketplace.reservation",
                        verbose_name="reservation",
                    ),
                ),
            ],
            options={
                "verbose_name": "waitlist entry",
                "verbose_name_plural": "waitlist entries",
                "ordering": ["created_at", "id"],
            },
        ),
        migrations.AddField(
            model_name="reservation",
            name="notice_ends_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="taken back at"),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("notice_ends_at__isnull", False), ("state__in", ["confirmed", "active"])),
                fields=["notice_ends_at"],
                name="reservation_noticed",
            ),
        ),
        migrations.AddConstraint(
            model_name="reservationchange",
            constraint=models.UniqueConstraint(
                django.db.models.fields.json.KeyTextTransform("quote", "facts"),
                condition=models.Q(("kind", "extended")),
                name="reservation_change_extended_once",
            ),
        ),
        migrations.AddIndex(
            model_name="reservationmonth",
            index=models.Index(
                condition=models.Q(("project__isnull", False)),
                fields=["project", "month"],
                name="reservation_month_of_project",
            ),
        ),
        migrations.AddIndex(
            model_name="waitlistentry",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["offering", "created_at", "id"],
                name="waitlist_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="waitlistentry",
            index=models.Index(condition=models.Q(("state", "offered")), fields=["state_at"], name="waitlist_offered"),
        ),
        migrations.AddConstraint(
            model_name="waitlistentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("latest_at__gte", models.F("earliest_at"))), name="waitlist_latest_after_earliest"
            ),
        ),
        migrations.AddConstraint(
            model_name="waitlistentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 1), ("hours__gte", 1), ("max_net_minor__gte", 0)),
                name="waitlist_amounts",
            ),
        ),
        migrations.AddConstraint(
            model_name="waitlistentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "offered", "taken", "left", "expired"])),
                name="waitlist_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="waitlistentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["offered", "taken"]), _negated=True),
                    ("reservation__isnull", False),
                    _connector="OR",
                ),
                name="waitlist_offered_has_reservation",
            ),
        ),
    ]
