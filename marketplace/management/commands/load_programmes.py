"""manage.py load_programmes: programmes of Chinese cities as drafts, each rule with its source."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing.models import Issuer
from marketplace import programme_data


class Command(BaseCommand):
    help = "Store the known programmes of Chinese cities as drafts of an issuer; those that are there stay as they are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--issuer", metavar="CODE", help="whose they are to be; by default the only issuer's")

    def handle(self, *_args: Any, **options: Any) -> None:
        issuers = Issuer.objects.order_by("code")
        found = list(issuers.filter(code=options["issuer"]) if options["issuer"] else issuers)
        if len(found) != 1:
            there = ", ".join(issuers.values_list("code", flat=True)) or "none"
            raise CommandError(f"The issuers are: {there}. Name one with --issuer.")
        made = programme_data.load(issuer=found[0], at=timezone.now(), actor="command:load_programmes")
        for programme in made:
            unknown = programme.rules.filter(says=None).count()
            self.stdout.write(
                f"{programme.code}  {programme.name}  {unknown} of {programme.rules.count()} rules unknown"
            )
        self.stdout.write(f"{len(made)} programmes stored as drafts.")
