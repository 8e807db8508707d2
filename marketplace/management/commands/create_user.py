"""Make a user who signs in by e-mail address and password."""

import getpass
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, no_translations
from django.db import transaction
from django.utils import timezone

from marketplace import people
from marketplace.models import Membership, User


class Command(BaseCommand):
    help = "Make a user. The password is asked for, or read from standard input, or made and printed (--generate)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--name", default="", help="the person's name")
        parser.add_argument(
            "--organization",
            metavar="CODE",
            help="make the user a member: unified social credit code of the organization, or the code of an account it is"
            " billed on",
        )
        parser.add_argument("--role", choices=Membership.Role.values, help="role in the organization (default: owner)")
        parser.add_argument("--staff", action="store_true", help="let the user see every organization, and the admin")
        parser.add_argument("--generate", action="store_true", help="make a password at random and print it, once")

    @no_translations
    def handle(self, *_arguments: Any, **options: Any) -> None:
        if options["role"] and not options["organization"]:
            raise CommandError("--role needs --organization: a role is one in an organization")
        generated = secrets.token_urlsafe(18) if options["generate"] else None
        user = User(
            email=options["email"],
            name=options["name"],
            is_staff=options["staff"],
            is_superuser=options["staff"],
        )
        try:
            user.clean()
            user.clean_fields(exclude={"password"})
            user.validate_constraints()
            password = generated or _asked()
            validate_password(password, user)
            user.set_password(password)
            with transaction.atomic():
                user.save()
                if options["organization"]:
                    people.add_member(
                        organization=people.find_organization(code=options["organization"]),
                        user=user,
                        role=options["role"] or Membership.Role.OWNER,
                        at=timezone.now(),
                        actor="command:create_user",
                    )
        except ValidationError as error:
            raise CommandError(f"{options['email']}: {' '.join(error.messages)}") from error
        except people.UnknownOrganizationError as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"{user.email} can sign in.")
        if generated:
            self.stdout.write(generated)


def _asked() -> str:
    """The password: one line of standard input, or asked for twice at a terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise ValidationError("The two passwords differ.")
    return password
