"""Metrics: counters of all web processes together, gauges as the database has them at that time."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from billing.models import BillingPeriod, EventSource, Issuer, Party, UsageEvent
from marketplace import capacity, jobs, metrics, provisioning
from marketplace.models import Job, Provision, Pulse
from tests.marketplace.booking import AT, START, make_market

T0 = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def samples(text, prefix="suanli_"):
    """{(name, sorted labels): value} of all samples but the histograms' buckets and times of creation."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith(prefix) and not sample.name.endswith(("_bucket", "_created"))
    }


def stored(at=T0):
    kept = ("suanli_request", "suanli_events")
    return {name: value for name, value in samples(metrics.text(at)).items() if not name[0].startswith(kept)}


def counted(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


# Requests


def test_requests_are_timed_by_route_method_and_status_and_never_by_path(settings):
    settings.SECURE_SSL_REDIRECT = False

    def requests(route, method, status):
        return counted("suanli_request_duration_seconds_count", route=route, method=method, status=status)

    cases = [("none", "GET", "404"), ("none", "POST", "404"), ("none", "OTHER", "404")]
    before = [requests(*case) for case in cases]
    for number in range(3):
        Client().get(f"/nowhere/{number}")
    Client().post("/nowhere")
    Client().generic("BREW", "/nowhere")
    assert [requests(*case) - count for case, count in zip(cases, before, strict=True)] == [3, 1, 1]


def test_a_request_counts_for_the_route_that_it_matched():
    class Match:
        route = "invoices/<str:number>"

    def view(request):
        request.resolver_match = Match
        return HttpResponse(status=201)

    labels = {"route": "invoices/<str:number>", "method": "PUT", "status": "201"}
    before = counted("suanli_request_duration_seconds_count", **labels)
    metrics.middleware(view)(RequestFactory().put("/invoices/LG-2020-000001"))
    assert counted("suanli_request_duration_seconds_count", **labels) == before + 1


def test_events_are_counted_by_outcome():
    def events():
        return [counted("suanli_events_total", outcome=outcome) for outcome in ("counted", "duplicate", "conflict")]

    before = events()
    metrics.count_events({"counted": 3, "duplicate": 2, "conflict": 0})
    metrics.count_events({"counted": 1})
    assert [now - then for now, then in zip(events(), before, strict=True)] == [4, 2, 0]


COUNT_TWO = """
import django
django.setup()
from marketplace import metrics
metrics.count_events({"counted": 2})
"""


def test_web_processes_count_together_also_those_that_have_ended(fresh_database, tmp_path, monkeypatch):
    environment = fresh_database.environment | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(3):
        subprocess.run([sys.executable, "-c", COUNT_TWO], env=environment, check=True, cwd=Path.cwd())
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert samples(metrics.text(T0), "suanli_events") == {("suanli_events_total", "outcome=counted"): 6}


# What is stored

NOTHING = {
    ("suanli_oldest_due_job_age_seconds",): 0,
    ("suanli_unmatched_events",): 0,
    ("suanli_silent_meters",): 0,
    ("suanli_open_incidents",): 0,
    ("suanli_late_tasks",): 0,
    ("suanli_failing_backends",): 0,
    ("suanli_open_periods", "ended=yes"): 0,
    ("suanli_open_periods", "ended=no"): 0,
}


@pytest.mark.django_db
def test_of_nothing_there_is_nothing_and_of_no_worker_no_age():
    assert stored() == NOTHING


@pytest.mark.django_db
def test_jobs_are_counted_by_kind_and_state_and_the_oldest_that_nobody_does_has_its_age():
    for key, seconds in (("a", 0), ("b", 5), ("c", 100)):
        jobs.ask(kind="tidy", key=key, due_at=T0 + timedelta(seconds=seconds), at=T0)
    jobs.ask(kind="rematch", key="a", due_at=T0 - timedelta(days=1), at=T0)
    Job.objects.filter(kind="rematch").update(state="failed", finished_at=T0)
    assert jobs.claim(worker="here#1", kinds=["tidy"], at=T0, lease_seconds=60).key == "a"
    assert stored(T0 + timedelta(seconds=30)) == NOTHING | {
        ("suanli_jobs", "kind=tidy", "state=due"): 2,
        ("suanli_jobs", "kind=tidy", "state=running"): 1,
        ("suanli_jobs", "kind=rematch", "state=failed"): 1,
        ("suanli_oldest_due_job_age_seconds",): 25,
    }
    # The lease has run out: nobody does the first one.
    assert stored(T0 + timedelta(seconds=60))["suanli_oldest_due_job_age_seconds",] == 60


@pytest.mark.django_db
def test_the_canary_is_as_old_as_the_last_sign_of_life_of_any_worker():
    for worker, minutes in (("here", 1), ("gone", 60)):
        at = T0 - timedelta(minutes=minutes)
        Pulse.objects.create(worker=worker, asked_at=at - timedelta(seconds=5), answered_at=at)
    assert stored()["suanli_canary_age_seconds",] == 60


@pytest.mark.django_db
def test_open_periods_and_unmatched_events_are_counted():
    party = Party.objects.create(legal_name="Zone", credit_code="91110000000000000A", created_at=T0)
    issuer = Issuer.objects.create(code="LG", party=party, timezone="UTC", currency="CNY", number_prefix="LG")
    for code, end_at in (("2026-04", T0 - timedelta(days=31)), ("2026-05", T0), ("2026-06", T0 + timedelta(days=30))):
        days = 31 if code != "2026-06" else 30
        BillingPeriod.objects.create(
            issuer=issuer,
            code=code,
            timezone="UTC",
            start_at=end_at - timedelta(days=days),
            end_at=end_at,
            last_date=T0,
        )
    BillingPeriod.objects.filter(code="2026-04").update(state="closed", closed_at=T0)
    source = EventSource.objects.create(owner=party, name="aidc/earth")
    for number in range(2):
        UsageEvent.objects.create(
            source=source,
            event_id=str(number),
            time=T0,
            value=1,
            quantity=0,
            recorded_at=T0,
            type="gpu.sample",
            subject="C-unknown",
            unmatched_reason="unknown_subject",
        )
    assert stored() == NOTHING | {
        ("suanli_open_periods", "ended=yes"): 1,
        ("suanli_open_periods", "ended=no"): 1,
        ("suanli_unmatched_events",): 2,
    }


@pytest.mark.django_db
def test_incidents_tasks_that_are_late_and_backends_that_fail_are_counted():
    reservation = make_market().confirmed()
    provisioning.sweep(at=AT)
    for start_at in (AT, START):
        capacity.open_outage(
            pool=reservation.pool, quantity=1, start_at=start_at, cause="power", at=START, actor="test"
        )
    Provision.objects.update(failures=2, error="no route to host")
    names = ("suanli_open_incidents", "suanli_late_tasks", "suanli_failing_backends")
    assert [stored(START)[name,] for name in names] == [2, 0, 1]
    assert stored(START + timedelta(seconds=1))["suanli_late_tasks",] == 1


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 3])
def test_metrics_take_ten_queries_however_much_there_is(django_assert_num_queries, rows):
    for number in range(rows):
        jobs.ask(kind="tidy", key=str(number), due_at=T0, at=T0)
        Pulse.objects.create(worker=str(number), asked_at=T0, answered_at=T0)
    with django_assert_num_queries(10):
        metrics.text(T0)
