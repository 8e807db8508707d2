"""The market: accelerators, sites, pools, slots, offerings, projects, quotes, reservations."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models


def append_only(name: str, table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} BEFORE UPDATE OR DELETE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION billing_append_only('{name}');",
        f"DROP TRIGGER {name} ON {table};",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_reservations"),
        ("marketplace", "0004_request_count"),
    ]

    operations = [
        migrations.CreateModel(
            name="AcceleratorModel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=60, unique=True, verbose_name="code")),
                ("vendor", models.CharField(max_length=60, verbose_name="vendor")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("name_zh", models.CharField(blank=True, max_length=100, verbose_name="Chinese name")),
                ("sold_in_china", models.BooleanField(blank=True, null=True, verbose_name="sold in China")),
                ("form_factor", models.CharField(blank=True, max_length=40, verbose_name="form factor")),
                (
                    "memory_gb",
                    models.DecimalField(
                        blank=True, decimal_places=2, max_digits=8, null=True, verbose_name="memory, GB"
                    ),
                ),
                ("memory_type", models.CharField(blank=True, max_length=20, verbose_name="kind of memory")),
                (
                    "memory_bandwidth_gbps",
                    models.DecimalField(
                        blank=True, decimal_places=2, max_digits=10, null=True, verbose_name="memory bandwidth, GB/s"
                    ),
                ),
                ("interconnect", models.CharField(blank=True, max_length=60, verbose_name="interconnect")),
                (
                    "interconnect_gbps",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        max_digits=10,
                        null=True,
                        verbose_name="interconnect bandwidth, GB/s",
                    ),
                ),
                (
                    "fp64_tflops",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=10, null=True, verbose_name="FP64, TFLOPS"
                    ),
                ),
                (
                    "fp32_tflops",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=10, null=True, verbose_name="FP32, TFLOPS"
                    ),
                ),
                (
                    "tf32_tflops",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=10, null=True, verbose_name="TF32, TFLOPS"
                    ),
                ),
                (
                    "bf16_tflops",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=10, null=True, verbose_name="BF16, TFLOPS"
                    ),
                ),
                (
                    "fp16_tflops",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=10, null=True, verbose_name="FP16, TFLOPS"
                    ),
                ),
                (
                    "fp8_tflops",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=10, null=True, verbose_name="FP8, TFLOPS"
                    ),
                ),
                (
                    "int8_tflops",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=10, null=True, verbose_name="INT8, TOPS"
                    ),
                ),
                ("sources", models.JSONField(default=dict, verbose_name="sources")),
            ],
            options={
                "verbose_name": "accelerator model",
                "verbose_name_plural": "accelerator models",
                "ordering": ["vendor", "name"],
            },
        ),
        migrations.CreateModel(
            name="CapacityPool",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=40, verbose_name="code")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("name_en", models.CharField(blank=True, max_length=100, verbose_name="English name")),
                ("interconnect", models.CharField(blank=True, max_length=60, verbose_name="interconnect")),
                ("gpus", models.PositiveIntegerField(verbose_name="GPUs")),
                ("gpus_per_node", models.PositiveIntegerField(default=8, verbose_name="GPUs a node")),
                (
                    "backend",
                    models.CharField(
                        choices=[("manual", "By hand")], default="manual", max_length=20, verbose_name="backend"
                    ),
                ),
                ("notice_hours", models.PositiveIntegerField(default=72, verbose_name="notice, hours")),
                ("drains_at", models.DateTimeField(blank=True, null=True, verbose_name="drains from")),
            ],
            options={
                "verbose_name": "capacity pool",
                "verbose_name_plural": "capacity pools",
                "ordering": ["site_id", "code"],
            },
        ),
        migrations.CreateModel(
            name="Incident",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("shortfall", "Less capacity than is reserved"), ("outage", "Outage")],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("quantity", models.PositiveIntegerField(verbose_name="GPUs")),
                ("start_at", models.DateTimeField(verbose_name="from")),
                ("end_at", models.DateTimeField(blank=True, null=True, verbose_name="until")),
                ("cause", models.CharField(max_length=300, verbose_name="cause")),
                ("opened_at", models.DateTimeField(verbose_name="opened at")),
                ("closed_at", models.DateTimeField(blank=True, null=True, verbose_name="closed at")),
                ("actor", models.CharField(max_length=100, verbose_name="opened by")),
            ],
            options={
                "verbose_name": "incident",
                "verbose_name_plural": "incidents",
                "ordering": ["-opened_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Maintenance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("quantity", models.PositiveIntegerField(verbose_name="GPUs")),
                ("start_at", models.DateTimeField(verbose_name="from")),
                ("end_at", models.DateTimeField(verbose_name="until")),
                ("reason", models.CharField(max_length=300, verbose_name="reason")),
                (
                    "state",
                    models.CharField(
                        choices=[("planned", "Planned"), ("done", "Done"), ("cancelled", "Cancelled")],
                        default="planned",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="planned at")),
                ("actor", models.CharField(max_length=100, verbose_name="planned by")),
            ],
            options={
                "verbose_name": "maintenance window",
                "verbose_name_plural": "maintenance windows",
                "ordering": ["start_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="Offering",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=60, unique=True, verbose_name="code")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("name_en", models.CharField(blank=True, max_length=100, verbose_name="English name")),
                ("description", models.TextField(blank=True, max_length=4000, verbose_name="description")),
                ("description_en", models.TextField(blank=True, max_length=4000, verbose_name="English description")),
                ("min_quantity", models.PositiveIntegerField(default=1, verbose_name="least GPUs")),
                ("max_quantity", models.PositiveIntegerField(verbose_name="most GPUs")),
                ("step", models.PositiveIntegerField(default=1, verbose_name="step, GPUs")),
                ("min_hours", models.PositiveIntegerField(default=1, verbose_name="least hours")),
                ("max_hours", models.PositiveIntegerField(default=2160, verbose_name="most hours")),
                ("lead_hours", models.PositiveIntegerField(default=0, verbose_name="lead time, hours")),
                ("cancellation_terms", models.JSONField(default=list, verbose_name="cancellation terms")),
                (
                    "service_level_percent",
                    models.DecimalField(
                        blank=True, decimal_places=3, max_digits=6, null=True, verbose_name="service level, %"
                    ),
                ),
                (
                    "service_credit_percent",
                    models.DecimalField(
                        blank=True, decimal_places=2, max_digits=5, null=True, verbose_name="service credit, %"
                    ),
                ),
                ("terms", models.TextField(blank=True, max_length=10000, verbose_name="terms")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("submitted", "Waiting for approval"),
                            ("published", "On sale"),
                            ("paused", "Paused"),
                            ("retired", "Retired"),
                        ],
                        default="draft",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("state_reason", models.CharField(blank=True, max_length=500, verbose_name="reason")),
                ("state_at", models.DateTimeField(verbose_name="since")),
                ("created_at", models.DateTimeField(verbose_name="made at")),
                ("actor", models.CharField(max_length=100, verbose_name="last changed by")),
            ],
            options={
                "verbose_name": "offering",
                "verbose_name_plural": "offerings",
                "ordering": ["code"],
            },
        ),
        migrations.CreateModel(
            name="OfferingChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "from_state",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("draft", "Draft"),
                            ("submitted", "Waiting for approval"),
                            ("published", "On sale"),
                            ("paused", "Paused"),
                            ("retired", "Retired"),
                        ],
                        max_length=10,
                        verbose_name="from",
                    ),
                ),
                (
                    "to_state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("submitted", "Waiting for approval"),
                            ("published", "On sale"),
                            ("paused", "Paused"),
                            ("retired", "Retired"),
                        ],
                        max_length=10,
                        verbose_name="to",
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500, verbose_name="reason")),
                ("at", models.DateTimeField(verbose_name="at")),
                ("actor", models.CharField(max_length=100, verbose_name="by")),
            ],
            options={
                "verbose_name": "change of an offering",
                "verbose_name_plural": "changes of offerings",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Project",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=40, verbose_name="code")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("cost_centre", models.CharField(blank=True, max_length=60, verbose_name="cost centre")),
                ("monthly_limit_minor", models.BigIntegerField(blank=True, null=True, verbose_name="monthly limit")),
                (
                    "warn_percents",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(),
                        default=list,
                        size=None,
                        verbose_name="warn at, %",
                    ),
                ),
                ("is_hard", models.BooleanField(default=True, verbose_name="refuse beyond the limit")),
                ("archived_at", models.DateTimeField(blank=True, null=True, verbose_name="archived at")),
                ("created_at", models.DateTimeField(verbose_name="made at")),
                ("actor", models.CharField(max_length=100, verbose_name="last changed by")),
            ],
            options={
                "verbose_name": "project",
                "verbose_name_plural": "projects",
                "ordering": ["organization_id", "code"],
            },
        ),
        migrations.CreateModel(
            name="Quote",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("quantity", models.PositiveIntegerField(verbose_name="GPUs")),
                ("start_at", models.DateTimeField(verbose_name="from")),
                ("end_at", models.DateTimeField(verbose_name="until")),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("net_minor", models.BigIntegerField(verbose_name="net")),
                ("tax_minor", models.BigIntegerField(verbose_name="tax")),
                ("gross_minor", models.BigIntegerField(verbose_name="gross")),
                ("parts", models.JSONField(default=list, verbose_name="parts of the price")),
                ("terms", models.JSONField(default=dict, verbose_name="terms")),
                ("created_at", models.DateTimeField(verbose_name="made at")),
                ("expires_at", models.DateTimeField(verbose_name="expires at")),
                ("actor", models.CharField(max_length=100, verbose_name="made by")),
            ],
            options={
                "verbose_name": "quote",
                "verbose_name_plural": "quotes",
                "ordering": ["-created_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("quantity", models.PositiveIntegerField(verbose_name="GPUs")),
                ("start_at", models.DateTimeField(verbose_name="from")),
                ("end_at", models.DateTimeField(verbose_name="until")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("held", "Held"),
                            ("confirmed", "Confirmed"),
                            ("active", "Running"),
                            ("completed", "Completed"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                            ("released", "Released"),
                            ("failed", "Failed"),
                        ],
                        default="held",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("hold_expires_at", models.DateTimeField(verbose_name="hold expires at")),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("net_minor", models.BigIntegerField(verbose_name="net")),
                ("tax_minor", models.BigIntegerField(verbose_name="tax")),
                ("gross_minor", models.BigIntegerField(verbose_name="gross")),
                ("created_at", models.DateTimeField(verbose_name="held at")),
                ("confirmed_at", models.DateTimeField(blank=True, null=True, verbose_name="confirmed at")),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started at")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended at")),
                ("actor", models.CharField(max_length=100, verbose_name="made by")),
            ],
            options={
                "verbose_name": "reservation",
                "verbose_name_plural": "reservations",
                "ordering": ["-start_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="ReservationChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("held", "Held"),
                            ("confirmed", "Confirmed"),
                            ("started", "Started"),
                            ("extended", "Extended"),
                            ("released", "Hours released"),
                            ("cancelled", "Cancelled"),
                            ("completed", "Completed"),
                            ("expired", "Expired"),
                            ("failed", "Failed"),
                            ("notice", "Notice given"),
                        ],
                        max_length=10,
                        verbose_name="what",
                    ),
                ),
                ("facts", models.JSONField(default=dict, verbose_name="facts")),
                ("at", models.DateTimeField(verbose_name="at")),
                ("actor", models.CharField(max_length=100, verbose_name="by")),
            ],
            options={
                "verbose_name": "change of a reservation",
                "verbose_name_plural": "changes of reservations",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Site",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=40, verbose_name="code")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("name_en", models.CharField(blank=True, max_length=100, verbose_name="English name")),
                ("region", models.CharField(max_length=60, verbose_name="region")),
                ("address", models.CharField(blank=True, max_length=300, verbose_name="address")),
            ],
            options={
                "verbose_name": "site",
                "verbose_name_plural": "sites",
                "ordering": ["provider_id", "code"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="apikey",
            name="api_key_scopes_known",
        ),
        migrations.AddField(
            model_name="organization",
            name="state",
            field=models.CharField(
                choices=[
                    ("pending", "Waiting for verification"),
                    ("verified", "Verified"),
                    ("refused", "Refused"),
                    ("suspended", "Suspended"),
                ],
                default="verified",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="state_actor",
            field=models.CharField(blank=True, max_length=100, verbose_name="decided by"),
        ),
        migrations.AddField(
            model_name="organization",
            name="state_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="since"),
        ),
        migrations.AddField(
            model_name="organization",
            name="state_reason",
            field=models.CharField(blank=True, max_length=500, verbose_name="reason"),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("usage:write", "Send usage"),
                        ("usage:read", "Read usage"),
                        ("billing:read", "Read bills"),
                        ("reservations:write", "Reserve capacity"),
                        ("projects:write", "Change projects and budgets"),
                        ("supply:write", "Change what is offered"),
                    ],
                    max_length=20,
                ),
                size=None,
                verbose_name="scopes",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "scopes__contained_by",
                        [
                            "usage:write",
                            "usage:read",
                            "billing:read",
                            "reservations:write",
                            "projects:write",
                            "supply:write",
                        ],
                    ),
                    ("scopes__len__gte", 1),
                ),
                name="api_key_scopes_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["pending", "verified", "refused", "suspended"])),
                name="organization_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="acceleratormodel",
            constraint=models.UniqueConstraint(fields=("vendor", "name"), name="accelerator_model_once"),
        ),
        migrations.AddConstraint(
            model_name="acceleratormodel",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("name", ""), _negated=True), models.Q(("vendor", ""), _negated=True)),
                name="accelerator_model_named",
            ),
        ),
        migrations.AddField(
            model_name="capacitypool",
            name="accelerator",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="pools",
                to="marketplace.acceleratormodel",
                verbose_name="accelerator model",
            ),
        ),
        migrations.CreateModel(
            name="CapacitySlot",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "pool_id", "hour", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="slots",
                        to="marketplace.capacitypool",
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("capacity", models.PositiveIntegerField()),
                ("taken", models.PositiveIntegerField(default=0)),
                ("shortfall", models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.AddField(
            model_name="incident",
            name="pool",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="incidents",
                to="marketplace.capacitypool",
                verbose_name="pool",
            ),
        ),
        migrations.AddField(
            model_name="maintenance",
            name="pool",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="maintenances",
                to="marketplace.capacitypool",
                verbose_name="pool",
            ),
        ),
        migrations.AddField(
            model_name="offering",
            name="pool",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="offerings",
                to="marketplace.capacitypool",
                verbose_name="pool",
            ),
        ),
        migrations.AddField(
            model_name="offering",
            name="tariff",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="offerings",
                to="billing.tariff",
                verbose_name="tariff",
            ),
        ),
        migrations.AddField(
            model_name="offeringchange",
            name="offering",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="changes", to="marketplace.offering"
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="projects",
                to="marketplace.organization",
                verbose_name="organization",
            ),
        ),
        migrations.AddField(
            model_name="quote",
            name="offering",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="quotes",
                to="marketplace.offering",
                verbose_name="offering",
            ),
        ),
        migrations.AddField(
            model_name="quote",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="quotes",
                to="marketplace.organization",
                verbose_name="buyer",
            ),
        ),
        migrations.AddField(
            model_name="quote",
            name="project",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="quotes",
                to="marketplace.project",
                verbose_name="project",
            ),
        ),
        migrations.AddField(
            model_name="quote",
            name="tariff_version",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.tariffversion"
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="contract",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="billing.contract",
                verbose_name="contract",
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="offering",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="marketplace.offering",
                verbose_name="offering",
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="marketplace.organization",
                verbose_name="buyer",
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="pool",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="marketplace.capacitypool",
                verbose_name="pool",
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="project",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="marketplace.project",
                verbose_name="project",
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="quote",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservation",
                to="marketplace.quote",
                verbose_name="quote",
            ),
        ),
        migrations.AddField(
            model_name="quote",
            name="extends",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="extension_quotes",
                to="marketplace.reservation",
            ),
        ),
        migrations.AddField(
            model_name="reservationchange",
            name="reservation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="changes", to="marketplace.reservation"
            ),
        ),
        migrations.AddField(
            model_name="site",
            name="provider",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="sites",
                to="marketplace.organization",
                verbose_name="provider",
            ),
        ),
        migrations.AddField(
            model_name="capacitypool",
            name="site",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="pools",
                to="marketplace.site",
                verbose_name="site",
            ),
        ),
        migrations.AddConstraint(
            model_name="capacityslot",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("taken__gte", 0),
                    (
                        "taken__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("capacity"), "+", models.F("shortfall")
                        ),
                    ),
                ),
                name="capacity_slot_not_overbooked",
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_at__isnull", True), ("end_at__gt", models.F("start_at")), _connector="OR"),
                name="incident_ends_after_start",
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.UniqueConstraint(
                condition=models.Q(("closed_at__isnull", True), ("kind", "shortfall")),
                fields=("pool",),
                name="incident_one_open_shortfall",
            ),
        ),
        migrations.AddConstraint(
            model_name="maintenance",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_at__gt", models.F("start_at"))), name="maintenance_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="maintenance",
            constraint=models.CheckConstraint(condition=models.Q(("quantity__gte", 1)), name="maintenance_quantity"),
        ),
        migrations.AddIndex(
            model_name="offering",
            index=models.Index(condition=models.Q(("state", "published")), fields=["pool"], name="offering_on_sale"),
        ),
        migrations.AddConstraint(
            model_name="offering",
            constraint=models.CheckConstraint(
                condition=models.Q(("min_quantity__gte", 1), ("max_quantity__gte", models.F("min_quantity"))),
                name="offering_quantity_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="offering",
            constraint=models.CheckConstraint(
                condition=models.Q(("min_hours__gte", 1), ("max_hours__gte", models.F("min_hours"))),
                name="offering_hours_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="offering",
            constraint=models.CheckConstraint(condition=models.Q(("step__gte", 1)), name="offering_step"),
        ),
        migrations.AddConstraint(
            model_name="offering",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["draft", "submitted", "published", "paused", "retired"])),
                name="offering_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="offering",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("name", ""), _negated=True), models.Q(("code", ""), _negated=True)),
                name="offering_named",
            ),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.UniqueConstraint(fields=("organization", "code"), name="project_once"),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.CheckConstraint(condition=models.Q(("name", ""), _negated=True), name="project_named"),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("monthly_limit_minor__isnull", True), ("monthly_limit_minor__gte", 0), _connector="OR"
                ),
                name="project_limit_not_negative",
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("state__in", ["held", "confirmed", "active"])),
                fields=["pool", "end_at"],
                name="reservation_live_of_pool",
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(fields=["organization", "-start_at"], name="reservation_of_buyer"),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("state", "held")), fields=["hold_expires_at"], name="reservation_held"
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("state", "confirmed")), fields=["start_at"], name="reservation_to_start"
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(condition=models.Q(("state", "active")), fields=["end_at"], name="reservation_to_end"),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_at__gt", models.F("start_at"))), name="reservation_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(condition=models.Q(("quantity__gte", 1)), name="reservation_quantity"),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        ["held", "confirmed", "active", "completed", "expired", "cancelled", "released", "failed"],
                    )
                ),
                name="reservation_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["confirmed", "active", "completed"]), _negated=True),
                    models.Q(("confirmed_at__isnull", False), ("contract__isnull", False)),
                    _connector="OR",
                ),
                name="reservation_confirmed_has_contract",
            ),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_at__gt", models.F("start_at"))), name="quote_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(condition=models.Q(("quantity__gte", 1)), name="quote_quantity"),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "gross_minor",
                        django.db.models.expressions.CombinedExpression(
                            models.F("net_minor"), "+", models.F("tax_minor")
                        ),
                    )
                ),
                name="quote_gross_is_net_plus_tax",
            ),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("created_at"))), name="quote_expires_later"
            ),
        ),
        migrations.AddConstraint(
            model_name="site",
            constraint=models.UniqueConstraint(fields=("provider", "code"), name="site_once"),
        ),
        migrations.AddConstraint(
            model_name="site",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("name", ""), _negated=True), models.Q(("region", ""), _negated=True)),
                name="site_named",
            ),
        ),
        migrations.AddConstraint(
            model_name="capacitypool",
            constraint=models.UniqueConstraint(fields=("site", "code"), name="capacity_pool_once"),
        ),
        migrations.AddConstraint(
            model_name="capacitypool",
            constraint=models.CheckConstraint(
                condition=models.Q(("gpus_per_node__gte", 1)), name="capacity_pool_gpus_per_node"
            ),
        ),
        migrations.AddConstraint(
            model_name="capacitypool",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="capacity_pool_named"
            ),
        ),
        append_only("offering_change_append_only", "marketplace_offeringchange"),
        append_only("quote_append_only", "marketplace_quote"),
        append_only("reservation_change_append_only", "marketplace_reservationchange"),
    ]
