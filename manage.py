#!/usr/bin/env python
"""Suanli's commands: `python manage.py help`."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415  - so that a missing Django has its sentence
        from django.core.management import execute_from_command_line  # noqa: PLC0415
        from django.db import ProgrammingError  # noqa: PLC0415

        from marketplace.postgresql.server import DatabaseUnavailableError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(
            f"manage.py: the package {error.name} is not installed: run `make setup`, then .venv/bin/python manage.py."
        )
    try:
        execute_from_command_line(sys.argv)
    except (DatabaseUnavailableError, ImproperlyConfigured) as error:
        sys.exit(f"manage.py: {error}")
    except ProgrammingError as error:
        from marketplace.postgresql.base import not_migrated  # noqa: PLC0415  - needs the settings

        named = not_migrated(error)
        if named is None:
            raise
        sys.exit(f"manage.py: {named}")


if __name__ == "__main__":
    main()
