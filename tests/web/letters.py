"""The letters that were sent, as tests read them."""

import re
from urllib.parse import parse_qs, urlsplit

from django.core import mail


def to(address):
    """Subjects of the letters to an address, in order."""
    return [letter.subject for letter in mail.outbox if letter.to == [address]]


def last(address):
    """The text of the last letter to an address."""
    return next(letter for letter in reversed(mail.outbox) if letter.to == [address]).body


def link(address, path):
    """The address of this path in the last letter, without the site."""
    [found] = re.findall(rf"^http://127\.0\.0\.1:8000({re.escape(path)}\S*)$", last(address), re.MULTILINE)
    return found


def query(address, path):
    """The parameters of that link."""
    return {name: values[0] for name, values in parse_qs(urlsplit(link(address, path)).query).items()}
