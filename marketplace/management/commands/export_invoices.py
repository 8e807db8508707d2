"""manage.py export_invoices: a billing period's issued invoices as CSV, XLSX or JSON."""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.documents.files import replacing
from billing.exports import invoices, register
from billing.exports.tables import SheetFullError

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from billing.models import Invoice

_BROKEN_PIPE_STATUS = 141  # what a shell reports for a program that SIGPIPE ended


class Command(BaseCommand):
    help = "Write a billing period's issued invoices, in the order of their numbers, to standard output or a file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--period", required=True, metavar="YYYY-MM", help="the billing period, such as 2020-05")
        parser.add_argument("--format", required=True, choices=invoices.FORMATS)
        parser.add_argument("--issuer", metavar="CODE", help="only of this issuer; else of all")
        parser.add_argument("--output", type=Path, metavar="FILE", help="a file to write or replace (needed for xlsx)")

    def handle(self, *_args: Any, **options: Any) -> None:
        output: Path | None = options["output"]
        if output is None and options["format"] == "xlsx":
            raise CommandError("xlsx is written to a file: add --output FILE.")
        try:
            documents = invoices.documents(period_code=options["period"], issuer_code=options["issuer"])
            if output is None:
                self._print(documents, options["format"])
                return
            with replacing(output) as file:
                count = register.write(documents=documents, format=options["format"], output=file)
        except (invoices.UnknownPeriodError, SheetFullError) as error:
            raise CommandError(f"{error}.") from error
        except OSError as error:
            raise CommandError(f"{output} can't be written: {error.strerror}.") from error
        self.stderr.write(f"{count} invoice{'' if count == 1 else 's'} in {output}")

    def _print(self, documents: QuerySet[Invoice], form: invoices.Format) -> None:
        output: BinaryIO | None = getattr(self.stdout, "buffer", None)
        if output is None:  # call_command(stdout=StringIO()) has no bytes underneath
            memory = BytesIO()
            register.write(documents=documents, format=form, output=memory)
            self.stdout.write(memory.getvalue().decode(), ending="")
            return
        try:
            register.write(documents=documents, format=form, output=output)
            output.flush()
        except BrokenPipeError:
            # Its reader has had enough (| head): no message, and none from Python's own flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
            sys.exit(_BROKEN_PIPE_STATUS)
