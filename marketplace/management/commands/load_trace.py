"""manage.py load_trace FILE: record the samples of a trace as usage of its tenants' contracts."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from billing.models import Contract, Party
from marketplace import metering


class Command(BaseCommand):
    help = "Record the samples of a trace as usage. Run again, it goes on where it stopped, or changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a CSV file, packed by gzip or not")
        parser.add_argument("--format", choices=["helios"], default="helios", help="default: helios")
        parser.add_argument(
            "--contracts", default="C-", metavar="PREFIX", help="a tenant's contract is PREFIX and its id; default: C-"
        )
        parser.add_argument(
            "--provider",
            metavar="CODE",
            help="credit code of the sender; default: the one that supplies those contracts",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        path, prefix = options["file"], options["contracts"]
        try:
            # The tenants first: it reads the whole file, so that a bad row is found before anything is recorded.
            tenants = metering.read_helios(path=path)
            provider = _provider(options["provider"], [prefix + tenant for tenant in tenants])
            total = sum(tenant.samples for tenant in tenants.values())
            with tqdm(total=total, unit=" samples", disable=None, file=sys.stderr) as bar:
                loaded = metering.load_trace(
                    path=path,
                    format=options["format"],
                    provider=provider,
                    contracts=prefix,
                    at=timezone.now(),
                    progress=bar.update,
                )
        except metering.TraceError as error:
            raise CommandError(str(error)) from error
        counts = ", ".join(f"{outcome} {count}" for outcome, count in loaded.counts.items())
        self.stdout.write(f"{loaded.samples} samples: {counts}")
        if loaded.problems:
            raise CommandError(_report(loaded, prefix))


def _provider(code: str | None, numbers: list[str]) -> Party:
    if code is not None:
        found = Party.objects.filter(credit_code=code).first()
        if found is None:
            raise CommandError(f"--provider {code}: there is no party of this credit code")
        return found
    ids = Contract.objects.filter(number__in=numbers).order_by().values_list("provider", flat=True).distinct()
    providers = list(Party.objects.filter(pk__in=ids))
    if not providers:
        raise CommandError(
            f"There is no contract of these tenants, such as {numbers[0]}: sign them first, or name the sender by --provider"
            " to keep the samples until they are there."
        )
    if len(providers) > 1:
        codes = ", ".join(sorted(party.credit_code for party in providers))
        raise CommandError(f"These tenants' contracts have several providers: name one by --provider ({codes})")
    return providers[0]


def _report(loaded: metering.Loaded, prefix: str) -> str:
    counts = loaded.counts
    said = []
    if counts["unmatched"]:
        share = "All" if counts["unmatched"] == loaded.samples else str(counts["unmatched"])
        said.append(
            f"{share} samples are kept without a contract: sign the contracts ({prefix}TENANT) for their time, then run"
            " manage.py rematch_usage."
        )
    if counts["conflict"] or counts["rejected"]:
        said.append(f"{counts['conflict'] + counts['rejected']} samples are not recorded.")
    examples = (f"  {item.id}: {item.outcome}, {item.field}: {item.reason}" for item in loaded.problems)
    return "\n".join([" ".join(said), *examples])
