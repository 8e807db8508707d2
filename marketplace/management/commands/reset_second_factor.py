"""Take away the second factor of a user who has lost it, where no other staff can."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError, no_translations

from marketplace import second_factor
from marketplace.models import User


class Command(BaseCommand):
    help = "Reset a user's second factor: it is set up anew at the next sign-in. The user is told by mail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")

    @no_translations
    def handle(self, *_arguments: Any, **options: Any) -> None:
        email = options["email"].strip().lower()
        user = User.objects.filter(email=email).first()
        if user is None:
            raise CommandError(f"{email}: there is no user with this address")
        if not second_factor.reset(user=user):
            raise CommandError(f"{email}: this user has no second factor")
        self.stderr.write(f"{email} sets up a new second factor at the next sign-in.")
