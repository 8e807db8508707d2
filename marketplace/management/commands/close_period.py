"""`manage.py close_period 2020-05 --at 2020-06-01T00:00:00+08:00`: a month's invoices issued, the period closed."""

import sys
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from billing import invoicing
from billing.documents.figures import figure
from billing.integrity import NaiveInstantError
from billing.models import Invoice, Issuer


class Command(BaseCommand):
    help = (
        "Issue the invoices of a billing period and close it. Run again with the same --at it goes on where it stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("period", help="the month, such as 2020-05")
        parser.add_argument("--at", required=True, help="the instant of issue, such as 2020-06-01T00:00:00+08:00")
        parser.add_argument("--issuer", metavar="CODE", help="whose period; by default the only issuer's")
        parser.add_argument(
            "--processes", type=int, default=1, metavar="N", help="with 2 or more, N others rate ahead (default: 1)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["processes"] < 1:
            raise CommandError(f"--processes is {options['processes']}: expected at least 1")
        at = _instant(options["at"])
        try:
            period = invoicing.period_to_close(issuer=_issuer(options["issuer"]), code=options["period"], at=at)
            with tqdm(desc=f"Invoices of {period.code}", unit="", file=sys.stderr, disable=None, leave=False) as bar:

                def progress(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                closed = invoicing.close_period(
                    period=period,
                    at=at,
                    actor="command:close_period",
                    processes=options["processes"],
                    progress=progress,
                )
        except (
            invoicing.InvalidPeriodError,
            invoicing.PeriodDiffersError,
            invoicing.InvalidInstantError,
            invoicing.TooEarlyError,
            invoicing.NothingToCloseError,
            NaiveInstantError,
        ) as error:
            raise CommandError(str(error)) from error
        self._report(closed)

    def _report(self, closed: invoicing.Closed) -> None:
        invoices = Invoice.objects.filter(period=closed.period).order_by("number")
        facts = invoices.values_list("number", "account__code", "gross_minor", "currency")
        issued = {*closed.issued, *closed.notes}
        for number, account, gross_minor, currency in facts.iterator():
            if number in issued:
                self.stdout.write(f"{number}  {account}  {figure(gross_minor, currency)} {currency}")
        code, state = closed.period.code, closed.period.state
        self.stdout.write(f"{code}: {len(closed.issued)} invoices issued, {closed.present} there before; {state}.")
        if closed.notes:
            self.stdout.write(
                f"{code}: {len(closed.notes)} corrections issued by themselves, of accounts without an invoice."
            )
        for refused in closed.refused:
            self.stderr.write(f"{refused.account}: not invoiced: {refused.reason}")
        if closed.refused:
            raise CommandError(
                f"{len(closed.refused)} accounts could not be invoiced; {code} stays open: mend that and run this again."
            )


def _issuer(code: str | None) -> Issuer:
    if code is not None:
        issuer = Issuer.objects.filter(code=code).first()
        if issuer is None:
            raise CommandError(f"--issuer is {code}: expected {_one_of_them()}")
        return issuer
    found = list(Issuer.objects.all()[:2])
    if len(found) != 1:
        raise CommandError(f"--issuer is not given: expected {_one_of_them()}")
    return found[0]


def _one_of_them() -> str:
    codes = list(Issuer.objects.order_by("code").values_list("code", flat=True))
    return f"one of {', '.join(codes)}" if codes else "an issuer, but there is none yet"


def _instant(text: str) -> datetime:
    """An ISO 8601 instant. A date alone is no instant; whether it has an offset is checked by the verb."""
    wrong = f"--at is {text}: expected an instant with its UTC offset, such as 2020-06-01T00:00:00+08:00"
    if "T" not in text:
        raise CommandError(wrong)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(wrong) from error
