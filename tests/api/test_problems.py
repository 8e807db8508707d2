"""What is refused over HTTP is put down for the sender and staff, by `billing.usage` and before it alike."""

from billing.models import EventProblem, UsageEvent
from tests.api.cloudevent import ABSENT, event


def test_items_that_are_no_events_are_put_down_beside_conflicts_and_rejected_events(post, tenants):
    post(event("taken"))
    sent = [
        event("taken", "60"),
        event("bad", "-1"),
        event("naive", time="yesterday\0"),
        event("old", specversion="0.3"),
        event({"no": "text"}, source=ABSENT),
        "no event",
        event("good"),
    ]
    for _ in range(2):
        assert post(sent).status_code == 200
    assert UsageEvent.objects.filter(event_id="good").exists()
    names = ("event_id", "source", "time", "outcome", "field", "times")
    at = "2026-05-01T08:00:00+08:00"
    rows = EventProblem.objects.filter(owner=tenants.north.organization.party).exclude(source="kept")
    assert sorted(rows.values_list(*names)) == [
        ("", "", "", "rejected", "", 2),
        ("a dict", "", at, "rejected", "source", 2),
        ("bad", "aidc/earth", at, "rejected", "data.value", 2),
        ("naive", "aidc/earth", "yesterday\N{REPLACEMENT CHARACTER}", "rejected", "time", 2),
        ("old", "aidc/earth", at, "rejected", "specversion", 2),
        ("taken", "aidc/earth", at, "conflict", "data.value", 2),
    ]


def test_ids_of_megabytes_and_ten_thousand_rejected_items_are_answered_and_kept(post, tenants):
    assert post(event("長" * 10**6)).json()["counts"]["rejected"] == 1
    [problem] = EventProblem.objects.filter(owner=tenants.north.organization.party, field="id")
    assert (len(problem.event_id), problem.times) == (255, 1)
    answered = post([event(f"{n}", "-1") for n in range(10_000)])
    assert answered.json()["counts"]["rejected"] == 10_000
    assert EventProblem.objects.filter(is_rest=False).count() >= 10_000 - 2
    assert EventProblem.objects.get(is_rest=True).times <= 2


def test_a_request_that_is_refused_whole_leaves_nothing(post):
    before = EventProblem.objects.count()
    post(b"{")
    post(event("a", "-1"), token="suanli_nobody")
    assert EventProblem.objects.count() == before
