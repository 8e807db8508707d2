"""Whose address a request counts for, with and without a proxy in front."""

import pytest
from django.test import Client

from marketplace import environment
from marketplace.models import AttemptCount

PROXIES = {"127.0.0.1", "10.0.0.9"}


def asked_from(client, peer, forwarded=None):
    """Ask for a letter with a new password: one row is counted for where it was asked from, and one for the address."""
    AttemptCount.objects.all().delete()
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    client.post("/password/forgotten/", {"email": "a@example.com"}, headers=headers, REMOTE_ADDR=peer)
    return set(AttemptCount.objects.values_list("key", flat=True))


@pytest.mark.parametrize(
    ("peer", "forwarded", "counts_for"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),  # the first is the caller's own invention
        ("127.0.0.1", "198.51.100.1, 203.0.113.7, 10.0.0.9", "203.0.113.7"),  # through two proxies
        ("127.0.0.1", "2001:DB8::1", "2001:db8::1"),
        ("127.0.0.1", "nobody", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("203.0.113.8", "198.51.100.1", "203.0.113.8"),  # no proxy of ours
        ("", "203.0.113.7", "203.0.113.7"),  # a Unix socket
    ],
)
def test_attempts_count_for_the_last_address_that_no_proxy_of_ours_has(db, settings, peer, forwarded, counts_for):
    settings.FORWARDED_ALLOW_IPS = PROXIES
    client = Client()
    assert asked_from(client, peer, forwarded) == asked_from(client, counts_for)


def test_where_every_peer_is_a_proxy_what_it_forwards_for_counts(db, settings):
    settings.FORWARDED_ALLOW_IPS = {"*"}
    client = Client()
    expected = asked_from(client, "203.0.113.7")
    assert asked_from(client, "10.1.2.3", "198.51.100.1, 203.0.113.7") == expected


def test_a_stranger_behind_the_same_proxy_locks_nobody_else_out(db, settings):
    settings.FORWARDED_ALLOW_IPS = PROXIES

    def try_to_sign_in(forwarded):
        facts = {"username": "a@example.com", "password": "wrong"}
        headers = {"x-forwarded-for": forwarded}
        return Client().post("/sign-in/", facts, headers=headers, REMOTE_ADDR="127.0.0.1").status_code

    assert [try_to_sign_in("203.0.113.7") for _ in range(6)][-1] == 429
    assert try_to_sign_in("203.0.113.8") == 200


def test_the_proxies_are_those_of_gunicorn():
    assert environment.forwarded_allow_ips({}) == {"127.0.0.1", "::1"}
    assert environment.forwarded_allow_ips({"FORWARDED_ALLOW_IPS": "10.0.0.1, 10.0.0.2"}) == {"10.0.0.1", "10.0.0.2"}
