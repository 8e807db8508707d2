"""manage.py load_accelerators: the accelerator models of this version's file, added or brought up to date."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace import accelerators, listings
from marketplace.models import AcceleratorModel


class Command(BaseCommand):
    help = "Add the accelerator models that ship with the product, and change those whose figures differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--file", type=Path, default=accelerators.FILE, help="another file of the same shape")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            entries = accelerators.read(options["file"])
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}: expected a JSON file of accelerators") from error
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise CommandError(f"{options['file']} is no list of accelerators: {error!r}") from error
        loaded = accelerators.load(model=AcceleratorModel, entries=entries)
        listings.show_accelerators()
        self.stdout.write(f"{loaded.added} added, {loaded.changed} changed, {loaded.same} as they were.")
