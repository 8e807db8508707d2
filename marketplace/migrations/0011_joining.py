"""How people come in: sign-ups, invitations, requests to join; what staff decided; counts of attempts; the second factor."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0010_provisioning"),
    ]

    operations = [
        migrations.CreateModel(
            name="AttemptCount",
            fields=[
                ("key", models.CharField(db_collation="C", max_length=100, primary_key=True, serialize=False)),
                ("begins_at", models.DateTimeField()),
                ("number", models.IntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="user",
            name="second_factor_since",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="second factor since"),
        ),
        migrations.CreateModel(
            name="OrganizationChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "from_state",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("pending", "Waiting for verification"),
                            ("verified", "Verified"),
                            ("refused", "Refused"),
                            ("suspended", "Suspended"),
                        ],
                        max_length=10,
                        verbose_name="from",
                    ),
                ),
                (
                    "to_state",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting for verification"),
                            ("verified", "Verified"),
                            ("refused", "Refused"),
                            ("suspended", "Suspended"),
                        ],
                        max_length=10,
                        verbose_name="to",
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500, verbose_name="reason")),
                ("at", models.DateTimeField(verbose_name="at")),
                ("actor", models.CharField(max_length=100, verbose_name="by")),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="marketplace.organization",
                        verbose_name="organization",
                    ),
                ),
            ],
            options={
                "verbose_name": "change of an organization",
                "verbose_name_plural": "changes of organizations",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.EmailField(max_length=254, verbose_name="e-mail address")),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("owner", "Owner"),
                            ("engineer", "Engineer"),
                            ("finance", "Finance"),
                            ("viewer", "Viewer"),
                        ],
                        max_length=10,
                        verbose_name="role",
                    ),
                ),
                ("language", models.CharField(max_length=10, verbose_name="language")),
                ("token_sha256", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_at", models.DateTimeField(verbose_name="invited at")),
                ("expires_at", models.DateTimeField(verbose_name="expires at")),
                ("actor", models.CharField(max_length=100, verbose_name="invited by")),
                ("accepted_at", models.DateTimeField(blank=True, null=True, verbose_name="accepted at")),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked at")),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="accepted by",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invitations",
                        to="marketplace.organization",
                        verbose_name="organization",
                    ),
                ),
            ],
            options={
                "verbose_name": "invitation",
                "verbose_name_plural": "invitations",
                "ordering": ["-created_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at__isnull", True), ("revoked_at__isnull", True)),
                        fields=("organization", "email"),
                        name="invitation_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("email", django.db.models.functions.text.Lower("email")),
                            models.Q(("email", ""), _negated=True),
                        ),
                        name="invitation_email_lower_case",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["owner", "engineer", "finance", "viewer"])),
                        name="invitation_role_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("created_at"))), name="invitation_expires_later"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("accepted_at__isnull", True),
                            models.Q(("accepted_by__isnull", False), ("revoked_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="invitation_accepted_by_someone",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JoinRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[("asked", "Asked"), ("approved", "Approved"), ("refused", "Refused")],
                        default="asked",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="asked at")),
                ("decided_at", models.DateTimeField(blank=True, null=True, verbose_name="decided at")),
                ("actor", models.CharField(blank=True, max_length=100, verbose_name="decided by")),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="join_requests",
                        to="marketplace.organization",
                        verbose_name="organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="join_requests",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "request to join",
                "verbose_name_plural": "requests to join",
                "ordering": ["created_at", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "asked")),
                        fields=("user", "organization"),
                        name="join_request_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("state", "asked")),
                            models.Q(("decided_at__isnull", False), ("state__in", ["approved", "refused"])),
                            _connector="OR",
                        ),
                        name="join_request_decided",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SignUp",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.EmailField(max_length=254, verbose_name="e-mail address")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("password", models.CharField(editable=False, max_length=128)),
                ("language", models.CharField(max_length=10, verbose_name="language")),
                ("legal_name", models.CharField(max_length=200, verbose_name="legal name")),
                ("credit_code", models.CharField(max_length=18, verbose_name="unified social credit code")),
                (
                    "parts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=10), size=None, verbose_name="parts"
                    ),
                ),
                (
                    "sector",
                    models.CharField(
                        choices=[
                            ("integrated_circuits", "integrated circuits"),
                            ("artificial_intelligence", "artificial intelligence"),
                            ("biomedicine", "biomedicine"),
                            ("advanced_manufacturing", "advanced manufacturing"),
                            ("intelligent_vehicles", "intelligent vehicles"),
                            ("civil_aviation", "civil aviation"),
                            ("new_energy", "new energy"),
                            ("software", "software and information services"),
                            ("research", "research and education"),
                            ("other", "other"),
                        ],
                        max_length=30,
                        verbose_name="sector",
                    ),
                ),
                (
                    "size_class",
                    models.CharField(
                        choices=[("micro", "micro"), ("small", "small"), ("medium", "medium"), ("large", "large")],
                        max_length=10,
                        verbose_name="size class",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="signed up at")),
                ("confirmed_at", models.DateTimeField(blank=True, null=True, verbose_name="confirmed at")),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sign_ups",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                (
                    "zone",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="marketplace.zone",
                        verbose_name="zone",
                    ),
                ),
            ],
            options={
                "verbose_name": "sign-up",
                "verbose_name_plural": "sign-ups",
                "ordering": ["-created_at", "-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("confirmed_at__isnull", True)), fields=["email"], name="sign_up_waiting"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("email", django.db.models.functions.text.Lower("email")),
                            models.Q(("email", ""), _negated=True),
                        ),
                        name="sign_up_email_lower_case",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("confirmed_at__isnull", True), ("user__isnull", True)),
                            models.Q(("confirmed_at__isnull", False), ("password", ""), ("user__isnull", False)),
                            _connector="OR",
                        ),
                        name="sign_up_confirmed_has_user",
                    ),
                ],
            },
        ),
        # Counting does not wait for the disk.
        migrations.RunSQL("ALTER TABLE marketplace_attemptcount SET UNLOGGED", migrations.RunSQL.noop),
        migrations.RunSQL(
            "CREATE TRIGGER organization_change_append_only BEFORE UPDATE OR DELETE ON marketplace_organizationchange"
            " FOR EACH ROW EXECUTE FUNCTION billing_append_only('organization_change_append_only');",
            "DROP TRIGGER organization_change_append_only ON marketplace_organizationchange;",
        ),
    ]
