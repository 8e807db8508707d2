"""What is kept of jobs that failed."""

import pytest

from marketplace import jobs
from marketplace.models import Job
from tests.marketplace.test_jobs import EVERY_DAY, T0, after, ask


@pytest.mark.django_db
def test_of_a_kind_that_comes_again_anyway_the_newest_failures_are_kept_for_a_month(monkeypatch):
    monkeypatch.setattr(jobs, "KEEP_FAILED", 3)
    for kind in ("provision", "rematch", "close_period"):
        for days in (31, 30, 4, 3, 2, 1):
            ask(key=f"{days}", kind=kind)
            Job.objects.filter(kind=kind, key=f"{days}").update(state="failed", finished_at=after(days=-days))
    ask(key="due", kind="provision")
    jobs.tidy(at=T0)
    kept = {kind: set(Job.objects.filter(kind=kind).values_list("key", flat=True)) for kind in ("provision", "rematch")}
    assert kept == {"provision": {"due", "3", "2", "1"}, "rematch": {"3", "2", "1"}}
    assert Job.objects.filter(kind="close_period").count() == 6


@pytest.mark.django_db
def test_all_that_the_calendar_brings_but_the_end_of_a_period_comes_again():
    assert set(jobs.PERIODIC) == set(EVERY_DAY)
