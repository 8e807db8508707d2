import pytest
from django.test import Client
from django.utils import timezone

from tests.marketplace.tenants import make_tenants
from tests.web import buyers


@pytest.fixture
def tenants(db):
    return make_tenants()


@pytest.fixture
def browser():
    """A function that gives a client of the site, in English, signed in as the user given; CSRF is not switched off."""

    def open_browser(user=None, language="en", **options):
        client = Client(headers={"accept-language": language}, SERVER_NAME="localhost", **options)
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return open_browser


@pytest.fixture
def standing(monkeypatch):
    """The clock stands for the pages: no day ends, and no span of a limit, between two of the test's requests."""
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    return now


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """Letters are sent after the commit, which the test's transaction never reaches by itself."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


# The buyers' pages


@pytest.fixture
def clock(monkeypatch):
    """What time it is; a test may set another."""

    class Clock:
        now = buyers.NOW

    monkeypatch.setattr(timezone, "now", lambda: Clock.now)
    return Clock


@pytest.fixture
def zoned(db, clock):
    return buyers.make()


@pytest.fixture
def sun(browser, zoned):
    """A browser in which the owner of sun has signed in."""
    return browser(zoned.sun.owner)
