"""Keys don't outlive their makers' memberships, of which there is a history; reading the organization is a scope of its own."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TO_READ = """
UPDATE marketplace_apikey SET scopes = scopes || '{organization:read}'
WHERE NOT scopes <@ '{usage:write}' AND NOT scopes @> '{organization:read}'"""
"""Every key read the organization, its members and projects until now. Those go on that do anything but send usage."""


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0013_programme_shares"),
    ]

    operations = [
        migrations.CreateModel(
            name="MembershipChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "from_role",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("owner", "Owner"),
                            ("engineer", "Engineer"),
                            ("finance", "Finance"),
                            ("viewer", "Viewer"),
                        ],
                        max_length=10,
                        verbose_name="from",
                    ),
                ),
                (
                    "to_role",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("owner", "Owner"),
                            ("engineer", "Engineer"),
                            ("finance", "Finance"),
                            ("viewer", "Viewer"),
                        ],
                        max_length=10,
                        verbose_name="to",
                    ),
                ),
                ("at", models.DateTimeField(verbose_name="at")),
                ("actor", models.CharField(max_length=100, verbose_name="by")),
            ],
            options={
                "verbose_name": "change of a membership",
                "verbose_name_plural": "changes of memberships",
                "ordering": ["id"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="apikey",
            name="api_key_scopes_known",
        ),
        migrations.RunSQL(TO_READ, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="apikey",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="children",
                to="marketplace.apikey",
                verbose_name="made by key",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="revoked_because",
            field=models.CharField(
                blank=True,
                choices=[
                    ("by_hand", "by hand"),
                    ("member_left", "its maker left the organization"),
                    ("role_changed", "its maker's role changed"),
                    ("parent", "the key that made it was revoked"),
                ],
                max_length=20,
                verbose_name="reason",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="revoked_by",
            field=models.CharField(blank=True, max_length=100, verbose_name="revoked by"),
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
                        ("organization:read", "Read the organization, its members and projects"),
                        ("organization:write", "Change the organization, its members and facts"),
                        ("keys:write", "Make and revoke API keys"),
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
                            "organization:read",
                            "organization:write",
                            "keys:write",
                        ],
                    ),
                    ("scopes__len__gte", 1),
                ),
                name="api_key_scopes_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("revoked_at__isnull", False),
                    models.Q(("revoked_because", ""), ("revoked_by", "")),
                    _connector="OR",
                ),
                name="api_key_revoked_by_someone",
            ),
        ),
        migrations.AddField(
            model_name="membershipchange",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="membership_changes",
                to="marketplace.organization",
                verbose_name="organization",
            ),
        ),
        migrations.AddField(
            model_name="membershipchange",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="membership_changes",
                to=settings.AUTH_USER_MODEL,
                verbose_name="user",
            ),
        ),
        migrations.AddConstraint(
            model_name="membershipchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("from_role", models.F("to_role")), _negated=True),
                name="membership_change_changes_something",
            ),
        ),
        migrations.RunSQL(
            "CREATE TRIGGER membership_change_append_only BEFORE UPDATE OR DELETE ON marketplace_membershipchange"
            " FOR EACH ROW EXECUTE FUNCTION billing_append_only('membership_change_append_only');",
            "DROP TRIGGER membership_change_append_only ON marketplace_membershipchange;",
        ),
    ]
