"""Make an API key and print it, once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from marketplace import keys, people
from marketplace.models import ApiKey


class Command(BaseCommand):
    help = "Make an API key of an organization and print it on standard output. It can't be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--organization",
            required=True,
            metavar="CODE",
            help="unified social credit code of the organization, or the code of an account it is billed on",
        )
        parser.add_argument(
            "--scope",
            required=True,
            action="append",
            choices=ApiKey.Scope.values,
            help="what the key may do; may be given several times",
        )
        parser.add_argument("--name", default="command line", help="what the key is for (default: %(default)s)")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            organization = people.find_organization(code=options["organization"])
            _, token = keys.create_key(
                organization=organization, name=options["name"], scopes=options["scope"], at=timezone.now()
            )
        except (people.UnknownOrganizationError, keys.UnnamedKeyError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(token)
