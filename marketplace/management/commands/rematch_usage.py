"""manage.py rematch_usage: match the samples that were kept without a contract."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing import usage
from billing.models import UsageEvent


class Command(BaseCommand):
    help = "Match usage that was kept without a contract, now that there may be one. Run again, it changes nothing."

    def handle(self, *_args: Any, **_options: Any) -> None:
        matched = usage.rematch(at=timezone.now()).matched
        unmatched = UsageEvent.objects.filter(unmatched_reason__isnull=False).count()  # those it did not look at, too
        self.stdout.write(f"matched {matched}, unmatched {unmatched}")
