"""The accelerator models that ship with the product. Later versions' are loaded by `manage.py load_accelerators`."""

from typing import Any

from django.db import migrations

from marketplace import accelerators


def load(apps: Any, _schema_editor: object) -> None:
    model = apps.get_model("marketplace", "AcceleratorModel")
    accelerators.load(model=model, entries=accelerators.read())


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0008_catalog")]

    operations = [migrations.RunPython(load, migrations.RunPython.noop, elidable=False)]
