"""manage.py render_invoices: a billing period's issued invoices as PDF files."""

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from billing.documents.files import WORTH_MORE_PROCESSES, SameNumberError, write_invoices
from billing.documents.fonts import FontMissingError, GlyphMissingError
from billing.documents.invoice import LayoutError
from billing.documents.labels import LANGUAGES, Language
from billing.exports.invoices import UnknownPeriodError, count_issued, issued


class Command(BaseCommand):
    help = "Write a billing period's issued invoices into a folder, as NUMBER.zh-hans.pdf and NUMBER.en.pdf."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--period", required=True, metavar="YYYY-MM", help="the billing period, such as 2020-05")
        parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the folder; made if need be")
        parser.add_argument("--language", choices=[*LANGUAGES, "both"], default="both", help="default: both")
        parser.add_argument("--issuer", metavar="CODE", help="only of this issuer; else of all")

    def handle(self, *_args: Any, **options: Any) -> None:
        languages: tuple[Language, ...] = LANGUAGES if options["language"] == "both" else (options["language"],)
        which = {"period_code": options["period"], "issuer_code": options["issuer"]}
        try:
            snapshots = issued(**which)
            total = count_issued(**which) * len(languages)
            with tqdm(total=total, unit=" documents", disable=None, file=sys.stderr) as bar:
                write_invoices(
                    snapshots=snapshots,
                    folder=options["output"],
                    languages=languages,
                    processes=(os.cpu_count() or 1) if total >= WORTH_MORE_PROCESSES else 1,
                    progress=bar.update,
                )
        except (UnknownPeriodError, SameNumberError, FontMissingError, GlyphMissingError, LayoutError) as error:
            raise CommandError(f"{error}.") from error
        except OSError as error:
            raise CommandError(f"{options['output']} can't be written: {error.strerror}.") from error
        self.stderr.write(f"{total} documents in {options['output']}")
