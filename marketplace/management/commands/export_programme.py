"""manage.py export_programme sme-30 --period 2020-05 --format json: what a programme paid for a month of use."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.documents.files import replacing
from billing.exports import programmes


class Command(BaseCommand):
    help = "Write what a programme has left, and what it paid of each firm's invoice of a billing period."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("programme", help="its code, such as sme-30")
        parser.add_argument("--period", required=True, metavar="YYYY-MM", help="the billing period, such as 2020-05")
        parser.add_argument("--format", required=True, choices=["json"])
        parser.add_argument(
            "--issuer", metavar="CODE", help="whose programme, where several issuers have one of that code"
        )
        parser.add_argument("--output", type=Path, metavar="FILE", help="a file to write or replace")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            told = programmes.statement(
                programme_code=options["programme"], period_code=options["period"], issuer_code=options["issuer"]
            )
        except programmes.UnknownProgrammeError as error:
            raise CommandError(f"{error}.") from error
        text = json.dumps(told, ensure_ascii=False, indent=2) + "\n"
        if options["output"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            with replacing(options["output"]) as file:
                file.write(text.encode())
        except OSError as error:
            raise CommandError(f"{options['output']} can't be written: {error.strerror}.") from error
