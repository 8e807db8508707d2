"""/healthz, /readyz and /metrics: what they say, to whom, and what they do not say."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from marketplace.models import Pulse

READY = {"status": "ready", "checks": {"database": "ok", "migrations": "ok", "worker": "ok"}}
TOKEN = "0123456789abcdef"


def get(path, **options):
    response = Client().get(path, **options)
    return response.status_code, response


def ready(**options):
    response = Client().get("/readyz", **options)
    return response.status_code, json.loads(response.content)


def heard(seconds_ago=0):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    Pulse.objects.update_or_create(worker="here", defaults={"asked_at": at, "answered_at": at})


# Alive: these two tests have no database, and would fail if one were asked for


def test_a_living_process_says_so_without_its_database():
    status, response = get("/healthz")
    assert (status, response.content, response["Cache-Control"]) == (200, b'{"status": "ok"}', "no-store")
    assert response["Content-Type"] == "application/json"


def test_a_load_balancer_may_call_by_address_without_tls(settings):
    settings.SECURE_SSL_REDIRECT, settings.ALLOWED_HOSTS = True, ["suanli.example.com"]
    assert get("/healthz", headers={"host": "10.1.2.3:8000"})[0] == 200
    assert get("/", headers={"host": "suanli.example.com"})[0] == 301
    assert get("/", headers={"host": "10.1.2.3"})[0] == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_is_asked_for_with_get_only(path):
    response = Client(enforce_csrf_checks=True).post(path)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


# Ready


@pytest.mark.django_db
def test_a_site_with_database_migrations_and_worker_is_ready_in_two_queries(django_assert_num_queries):
    heard()
    ready()
    with django_assert_num_queries(3):  # the table of migrations, its rows, the worker
        assert ready() == (200, READY)


@pytest.mark.django_db
def test_a_site_is_not_ready_when_no_worker_has_been_heard_for_three_minutes():
    late = {"status": "not ready", "checks": READY["checks"] | {"worker": "late"}}
    assert ready() == (503, late)
    heard(seconds_ago=181)
    assert ready() == (503, late)
    heard(seconds_ago=170)
    assert ready() == (200, READY)


@pytest.mark.django_db
def test_one_worker_that_is_heard_is_enough():
    heard()
    long_ago = timezone.now() - timedelta(days=1)
    Pulse.objects.create(worker="gone", asked_at=long_ago, answered_at=long_ago)
    assert ready() == (200, READY)


@pytest.mark.django_db
def test_a_site_whose_migrations_are_not_done_is_not_ready():
    heard()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'billing' AND name = '0001_initial'")
    checks = {"database": "ok", "migrations": "missing", "worker": "unknown"}
    assert ready() == (503, {"status": "not ready", "checks": checks})


def test_a_site_without_its_database_is_not_ready_and_does_not_say_why(fresh_database):
    heard()
    assert ready() == (200, READY)
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = "nowhere"
    try:
        status, said = ready()
        assert get("/healthz")[0] == 200
        assert get("/metrics")[0] == 503
    finally:
        connection.settings_dict["NAME"] = name
    checks = {"database": "unreachable", "migrations": "unknown", "worker": "unknown"}
    assert (status, said) == (503, {"status": "not ready", "checks": checks})
    assert ready() == (200, READY)


# Metrics


@pytest.mark.parametrize(
    ("token", "address", "headers", "status"),
    [
        ("", "127.0.0.1", {}, 200),
        ("", "127.9.9.9", {}, 200),
        ("", "::1", {}, 200),
        ("", "10.1.2.3", {}, 403),
        ("", "2001:db8::1", {}, 403),
        ("", "", {}, 403),  # through a Unix socket
        ("", "127.0.0.1", {"X-Forwarded-For": "10.1.2.3"}, 403),
        ("", "127.0.0.1", {"Forwarded": "for=10.1.2.3"}, 403),
        ("", "127.0.0.1", {"X-Real-IP": "10.1.2.3"}, 403),
        ("", "10.1.2.3", {"Authorization": "Bearer "}, 401),
        ("", "127.0.0.1", {"Authorization": "Bearer x"}, 401),
        (TOKEN, "10.1.2.3", {"Authorization": f"Bearer {TOKEN}"}, 200),
        (TOKEN, "10.1.2.3", {"Authorization": f"bearer {TOKEN}"}, 200),
        (TOKEN, "10.1.2.3", {"Authorization": f"Basic {TOKEN}"}, 401),
        (TOKEN, "10.1.2.3", {"Authorization": f"Bearer {TOKEN}x"}, 401),
        (TOKEN, "10.1.2.3", {"Authorization": "Bearer é"}, 401),
        (TOKEN, "10.1.2.3", {}, 403),
        (TOKEN, "127.0.0.1", {}, 200),
    ],
)
@pytest.mark.django_db
def test_metrics_are_for_this_machine_or_a_bearer_of_the_token(settings, token, address, headers, status):
    settings.METRICS_TOKEN = token
    assert get("/metrics", REMOTE_ADDR=address, headers=headers)[0] == status


@pytest.mark.django_db
def test_metrics_come_as_prometheus_reads_them():
    _, response = get("/metrics")
    assert response["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE suanli_jobs gauge\n" in response.content


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_a_refusal_shows_nothing(settings, headers):
    settings.METRICS_TOKEN = TOKEN
    _, response = get("/metrics", REMOTE_ADDR="10.1.2.3", headers=headers)
    assert response.content in (b"wrong token\n", b"not from here without a token\n")
