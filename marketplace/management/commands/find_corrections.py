"""manage.py find_corrections --period 2020-05: what differs from the invoices of a month by the readings as they are now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing import adjustments
from billing.documents.figures import figure
from billing.models import BillingPeriod


class Command(BaseCommand):
    help = "Compare a month's invoices to what their readings come to now; propose what differs. Staff issue it or not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--period", required=True, metavar="YYYY-MM", help="the billing period, such as 2020-05")
        parser.add_argument("--issuer", metavar="CODE", help="only of this issuer; else of all")

    def handle(self, *_args: Any, **options: Any) -> None:
        periods = BillingPeriod.objects.filter(code=options["period"]).order_by("issuer__code")
        if options["issuer"] is not None:
            periods = periods.filter(issuer__code=options["issuer"])
        if not periods:
            raise CommandError(f"period is {options['period']}: expected a billing period that was opened")
        refused = 0
        for period in periods:
            invoices = adjustments.issued_of(period=period)
            looked = adjustments.find_all(invoices=invoices, at=timezone.now(), actor="command:find_corrections")
            for each in looked.proposed:
                net = figure(each.net_minor, each.invoice.currency)
                self.stdout.write(
                    f"{each.invoice}  lines that differ: {len(each.lines)}  {net} {each.invoice.currency}"
                )
            self.stdout.write(
                f"{period.code}: invoices compared: {len(invoices)}, that differ: {len(looked.proposed)}."
            )
            for number, reason in looked.refused:
                self.stderr.write(f"{number}: not compared: {reason}")
            refused += len(looked.refused)
        if refused:
            raise CommandError(f"invoices that could not be compared: {refused}")
