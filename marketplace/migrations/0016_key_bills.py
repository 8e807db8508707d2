"""A key may dispute bills and say what became of claims."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0015_job_names"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="apikey",
            name="api_key_scopes_known",
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
                        ("billing:write", "Dispute bills, and claim what programmes pay"),
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
                            "billing:write",
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
    ]
