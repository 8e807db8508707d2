"""Metrics for Prometheus: counters of the web processes, and gauges read from the database when they are asked for.

The web processes of one `manage.py serve` count together, in files of the folder PROMETHEUS_MULTIPROC_DIR. Workers have
no counters: what they do stands in the database.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from django.db.models import Count, Max, Min
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from billing.models import BillingPeriod, UsageEvent
from marketplace.models import Incident, Job, MeterSilence, Provision, ProvisioningTask, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

REQUESTS = Histogram(
    "suanli_request_duration_seconds",
    "Time to answer a request, by route (not by path), method and status.",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS = Counter("suanli_events", "Usage events that came in over HTTP, by what became of them.", ["outcome"])

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def count_events(counts: Mapping[str, int]) -> None:
    """Add what became of a batch, outcome by outcome (`billing.usage.Recorded.counts`)."""
    for outcome, number in counts.items():
        EVENTS.labels(outcome).inc(number)


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Time each request. A path that matches no route counts as the route "none": paths are without number."""

    def handle(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = get_response(request)
        match = request.resolver_match
        route = match.route if match is not None else "none"
        method = request.method if request.method in _METHODS else "OTHER"
        REQUESTS.labels(route, method, response.status_code).observe(time.perf_counter() - began)
        return response

    return handle


def text(at: datetime) -> bytes:
    """All metrics as Prometheus reads them."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_Of(REGISTRY))
    registry.register(_Stored(at))
    return generate_latest(registry)


class _Of(Collector):
    """The metrics of another registry, this process's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()


class _Stored(Collector):
    """What the database says at `at`. A handful of queries, each on an index."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("suanli_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        for kind, state, number in (
            Job.objects.order_by("kind", "state").values_list("kind", "state").annotate(Count("pk"))
        ):
            jobs.add_metric([kind, state], number)
        yield jobs
        due_at = Job.objects.ready(self._at).aggregate(oldest=Min("due_at"))["oldest"]
        yield self._age("suanli_oldest_due_job_age_seconds", "How long the oldest job that nobody does is due.", due_at)
        canary_at = Pulse.objects.aggregate(newest=Max("answered_at"))["newest"]
        if canary_at is not None:  # no worker yet: no age, rather than a wrong one
            yield self._age("suanli_canary_age_seconds", "Time since a worker's last sign of life.", canary_at)
        yield GaugeMetricFamily(
            "suanli_unmatched_events",
            "Stored events without a contract.",
            UsageEvent.objects.filter(unmatched_reason__isnull=False).count(),
        )
        yield GaugeMetricFamily(
            "suanli_silent_meters",
            "Meters that should report and don't.",
            MeterSilence.objects.filter(ended_at__isnull=True).count(),
        )
        yield GaugeMetricFamily(
            "suanli_open_incidents",
            "Outages, and pools with less capacity than is reserved.",
            Incident.objects.filter(closed_at__isnull=True).count(),
        )
        yield GaugeMetricFamily(
            "suanli_late_tasks",
            "Tasks of providers that are due and not ticked off.",
            ProvisioningTask.objects.filter(state=ProvisioningTask.State.OPEN, due_at__lt=self._at).count(),
        )
        yield GaugeMetricFamily(
            "suanli_failing_backends",
            "Reservations whose backend failed when it was last asked.",
            Provision.objects.filter(over_at__isnull=True, failures__gt=0).count(),
        )
        yield self._periods()

    def _periods(self) -> GaugeMetricFamily:
        periods = GaugeMetricFamily("suanli_open_periods", "Billing periods that are open.", labels=["ended"])
        open_ = BillingPeriod.objects.filter(state=BillingPeriod.State.OPEN)
        ended = open_.filter(end_at__lte=self._at).count()
        periods.add_metric(["yes"], ended)
        periods.add_metric(["no"], open_.count() - ended)
        return periods

    def _age(self, name: str, said: str, since_at: datetime | None) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, said, (self._at - since_at).total_seconds() if since_at else 0)
