"""The admin's own pages: readings, events, what is wrong with usage, the trial balance, the first page."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from billing import usage
from billing.models import Contract, EventProblem, EventSource, LedgerAccount, Meter, Reading, UsageEvent
from marketplace import tasks
from marketplace.models import Job, MeterSilence
from tests.marketplace.tenants import make_user
from tests.web.admin_world import AT, chain, rows


@pytest.fixture
def client(db, browser):
    return browser(make_user("staff", is_staff=True, is_superuser=True))


def get(client, name, *parts, **query):
    response = client.get(reverse(f"admin:{name}", args=parts), query)
    assert response.status_code == 200
    return response


def cells(response, number=0):
    return [[str(cell) for cell in row] for row in response.context["tables"][number].rows]


def send(contract, *events):
    """(id, type, subject, minutes after AT) each, of 8 GPUs for 15 minutes."""
    made = [
        usage.Event(
            id_, "north", type_, subject, AT + timedelta(minutes=minutes), {"value": "8", "duration_seconds": 900}
        )
        for id_, type_, subject, minutes in events
    ]
    return usage.record(owner=contract.provider, events=made, at=AT + timedelta(days=1)).counts


# Readings and events


def test_readings_are_summed_by_contract_and_day_and_one_contracts_stand_one_by_one(client):
    first, second = chain(901), chain(902)
    sums = cells(get(client, "usage_readings", day="2026-05-10"))
    assert [row[1:] for row in sums] == [
        ["account-901", "meter-901", "4 GPU-h", "2"],
        ["account-902", "meter-902", "4 GPU-h", "2"],
    ]
    assert "C-901" in sums[0][0]
    one = cells(get(client, "usage_readings", day="2026-05-10", contract=first.number))
    assert [row[:4] for row in one] == [
        ["12:00", "meter-901", "2 GPU-h", "7,200 GPU-s"],
        ["13:00", "meter-901", "2 GPU-h", "7,200 GPU-s"],
    ]
    assert len(cells(get(client, "usage_readings", day="2026-05-10", meter="meter-902"))) == 1
    assert cells(get(client, "usage_readings", day="2026-05-10", contract=first.number, meter="meter-902")) == []
    assert second.number == "C-902"


def test_where_a_day_has_nothing_the_newest_day_is_offered(client):
    chain(903)
    for name in ("usage_readings", "usage_events"):
        (way,) = get(client, name, day="2020-01-01").context["links"]
        assert way["title"] == "The newest usage is of 2026-05-10"
        assert way["address"].endswith("?day=2026-05-10")


def test_the_day_is_that_of_shanghai(client):
    contract = chain(904)
    meter = Meter.objects.get(code="meter-904")
    Reading.objects.create(
        contract=contract, meter=meter, start_at=datetime(2026, 5, 10, 16, tzinfo=UTC), quantity=3600
    )
    late = cells(get(client, "usage_readings", day="2026-05-11", contract="C-904"))
    assert [row[:3] for row in late] == [["00:00", "meter-904", "1 GPU-h"]]


def test_a_reading_leads_to_the_events_that_made_it(client):
    contract = chain(905)
    send(contract, ("a", "type.905", "C-905", 5), ("b", "type.905", "C-905", 60))
    row = cells(get(client, "usage_readings", day="2026-05-10", contract="C-905"))[1]
    assert row[0] == "12:15"
    found = cells(client.get(row[4].split('"')[1].replace("&amp;", "&")))
    assert [(each[0], each[6]) for each in found] == [("2026-05-10 12:05:00", "a")]


def test_events_are_paged_by_a_cursor_each_once_the_newest_first(client):
    contract = chain(906)
    meter, source = Meter.objects.get(code="meter-906"), EventSource.objects.get(name="source 906")
    matched = {"contract": contract, "meter": meter, "value": 1, "quantity": 0, "recorded_at": AT}
    UsageEvent.objects.bulk_create(
        UsageEvent(source=source, event_id=f"n{n:03}", time=AT + timedelta(minutes=n // 50), **matched)
        for n in range(248)
    )
    seen, address = [], reverse("admin:usage_events") + "?day=2026-05-10"
    while address:
        response = client.get(address)
        seen.append([row[6] for row in cells(response)])
        address = response.context["older"]
    assert [len(page) for page in seen] == [100, 100, 50]
    ids = [id_ for page in seen for id_ in page]
    assert ids == [f"n{n:03}" for n in (*range(247, 199, -1), *range(199, 149, -1), *range(149, 49, -1))] + [
        "u906",
        *(f"n{n:03}" for n in range(49, -1, -1)),
        "e906",
    ]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "é",
        "bnVsbA",
        "WzFd",
        "WyJ4IiwxLCJhIl0",
        "WyIyMDI2LTA1LTEwIiwxLCJhIl0",
        "W1tbW1tb",
        "AAAA",
        "WyIyMDI2LTA1LTEwVDAwOjAwOjAwKzAwOjAwIiwiYSIsMV0",
    ],
)
def test_a_cursor_that_no_page_gave_is_not_found(client, cursor):
    assert client.get(reverse("admin:usage_events"), {"after": cursor}).status_code == 404


def test_what_no_filter_knows_shows_nothing_and_breaks_nothing(client):
    rows(1)
    for query in (
        {"day": "yesterday"},
        {"day": "9999-12-31"},
        {"day": "0001-01-01"},
        {"contract": "\0"},
        {"contract": "'; DROP TABLE x"},
        {"meter": "none"},
        {"owner": "x", "reason": "unknown_meter"},
        {"reason": "none", "type": "a" * 300},
        {"event_id": "nothing"},
    ):
        for name in ("usage_events", "usage_readings", "usage_gaps"):
            assert client.get(reverse(f"admin:{name}"), query).status_code == 200, (name, query)
    for query in (
        {"interval": "x"},
        {"interval": "2026-05-10T00:00:00+00:00"},
        {"interval": "2026-13-10T00:00:00+00:00"},
    ):
        assert client.get(reverse("admin:usage_events"), query).status_code == 404


def test_a_corrected_event_says_by_which(client):
    contract = chain(907)
    data = {"value": "8", "duration_seconds": 900}
    first = usage.Event("a", "north", "type.907", "C-907", AT, data)
    usage.record(owner=contract.provider, events=[first], at=AT)
    second = usage.Event("b", "north", "type.907", "C-907", AT, data | {"value": "4"}, amends="a")
    assert usage.record(owner=contract.provider, events=[second], at=AT).counts["counted"] == 1
    outcomes = {row[6]: row[8] for row in cells(get(client, "usage_events", day="2026-05-10", contract="C-907"))}
    assert outcomes == {"a": "corrected by b", "b": "counted", "e907": "counted"}


# Unmatched


def test_unmatched_events_are_grouped_and_lead_to_what_mends_them(client):
    contract = chain(908)
    counts = send(
        contract,
        ("1", "cpu.sample", "C-908", 0),
        ("2", "cpu.sample", "C-908", 15),
        ("3", "cpu.sample", "C-908", 30),
        ("4", "type.908", "C-none", 0),
        ("5", "type.908", "C-none", 30),
        ("6", "type.908", "C-908", -60 * 24 * 30),
    )
    assert counts["unmatched"] == 6
    found = cells(get(client, "usage_unmatched"))
    assert [row[:4] for row in found] == [
        ["no meter has this type", "cpu.sample", "C-908", "Firm 908"],
        ["the sender supplies no contract of this number", "type.908", "C-none", "Firm 908"],
        ["the contract did not run then", "type.908", "C-908", "Firm 908"],
        ["the sender supplies no contract of this number", "type.908", "unknown-908", "Firm 908"],
    ]
    assert [row[5:7] for row in found] == [
        ["2026-05-10 12:00", "2026-05-10 12:30"],
        ["2026-05-10 12:00", "2026-05-10 12:30"],
        ["2026-04-10 12:00", "2026-04-10 12:00"],
        ["2026-05-10 12:00", "2026-05-10 12:00"],
    ]
    ways = [row[7].split('"')[1].replace("&amp;", "&") for row in found]
    assert ways == [
        "/admin/billing/meter/add/?event_type=cpu.sample",
        f"/admin/billing/contract/add/?number=C-none&provider={contract.provider_id}",
        f"/admin/billing/contract/{contract.pk}/change/",
        f"/admin/billing/contract/add/?number=unknown-908&provider={contract.provider_id}",
    ]
    for way in ways:
        assert client.get(way).status_code == 200
    lists = [client.get(row[4].split('"')[1].replace("&amp;", "&")) for row in found]
    assert [[row[6] for row in cells(response)] for response in lists] == [["3", "2", "1"], ["5", "4"], ["6"], ["u908"]]


def test_matching_again_is_asked_for_as_a_job_that_counts_what_now_can_be(client):
    contract = chain(909)
    send(contract, ("1", "cpu.sample", "C-909", 0))
    assert client.get(reverse("admin:usage_rematch")).status_code == 200
    assert not Job.objects.filter(kind="rematch").exists()
    meter = Meter.objects.get(code="meter-909")
    meter.pk, meter.code, meter.event_type = None, "cpu", "cpu.sample"
    meter.save()
    assert client.post(reverse("admin:usage_rematch")).status_code == 302
    job = Job.objects.get(kind="rematch")
    tasks.rematch(job, timezone.now())
    assert Reading.objects.get(contract=contract, meter=meter).quantity == 7200


def test_foreign_text_in_events_is_shown_as_text(client):
    contract = chain(910)
    send(contract, ("<b>1</b>", "<script>alert(1)</script>", "<i>x</i>", 0))
    for name, query in (("usage_unmatched", {}), ("usage_events", {"day": "2026-05-10"})):
        text = get(client, name, **query).content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "<script>alert(1)" not in text


# Events not stored


def test_conflicts_and_rejected_events_are_listed_with_what_mends_them(client):
    contract = chain(920)
    send(contract, ("a", "type.920", "C-920", 0))
    send(contract, ("a", "type.920", "C-920", 15), ("<b>", "type.920", "<script>alert(1)</script>", 60 * 48))
    data = {"value": "-1", "duration_seconds": 900}
    wrong = usage.Event("c", "north", "type.920", "C-920", AT, data)
    usage.record(owner=contract.provider, events=[wrong], at=AT)
    address = reverse("admin:billing_eventproblem_changelist")
    page = client.get(address, {"q": "north"})
    admin, found = page.context["cl"].model_admin, {row.event_id: row for row in page.context["cl"].result_list}
    assert {name: (row.outcome, row.field) for name, row in found.items()} == {
        "a": ("conflict", "time"),
        "<b>": ("rejected", "time"),
        "c": ("rejected", "data.value"),
    }
    assert "<script>alert(1)" not in page.content.decode()
    mends = {name: str(admin.mend(row)) for name, row in found.items()}
    assert mends["<b>"] == "The sender sets its clock, states the offset, and sends it again."
    ways = {name: mends[name].split('"')[1].replace("&amp;", "&") for name in ("a", "c")}
    assert [row[6] for row in cells(client.get(ways["a"]))] == ["a"]
    assert [meter.code for meter in client.get(ways["c"]).context["cl"].result_list] == ["meter-920"]
    for row in found.values():
        page = client.get(reverse("admin:billing_eventproblem_change", args=[row.pk]))
        assert page.status_code == 200
        assert "<script>alert(1)" not in page.content.decode()


def test_events_not_stored_are_narrowed_to_an_outcome_and_a_sender(client):
    rows(2)
    sender = EventProblem.objects.first().owner
    usage.record(
        owner=sender, events=[usage.Event("x", "s", "t", "u", AT, "no object")], at=AT
    )  # rejected, beside its conflict
    address = reverse("admin:billing_eventproblem_changelist")

    def ids(**query):
        return {row.event_id for row in client.get(address, query).context["cl"].result_list}

    assert len(ids()) == 3
    assert ids(outcome__exact="rejected") == {"x"}
    assert ids(owner__id__exact=sender.pk) == {"x", EventProblem.objects.get(owner=sender, outcome="conflict").event_id}
    assert len(ids(outcome__exact="conflict")) == 2


def test_those_of_a_sender_with_too_many_stand_in_one_row(client):
    rows(1)
    row = EventProblem.objects.get()
    EventProblem.objects.create(
        owner=row.owner, outcome="rejected", field="data.value", is_rest=True, first_at=AT, last_at=AT, times=7
    )
    text = client.get(reverse("admin:billing_eventproblem_changelist")).content.decode()
    assert "all others together" in text
    assert "too many to name each" in text


# Gaps and silent meters


def test_a_gap_is_what_lies_between_two_readings_of_a_gauge(client):
    contract = chain(911)
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    meter = Meter.objects.get(code="meter-911")
    facts = {"aggregation": "sum", "base_unit": "token", "unit": "token", "demand_unit": "token", "base_per_unit": 1}
    delta = Meter.objects.create(code="delta", name="delta", event_type="delta", kind="delta", **facts)
    for intervals in (0, 1, 2, 10, 11):
        at = now - timedelta(days=2) + timedelta(minutes=15 * intervals)
        for each in (meter, delta):  # a delta that says nothing has no gap
            Reading.objects.create(contract=contract, meter=each, start_at=at, quantity=1)
    local = timezone.localtime(now - timedelta(days=2))
    (gap,) = cells(get(client, "usage_gaps"))
    assert gap[:3] == ["C-911", "meter-911", "Firm 911"]
    assert gap[3:6] == [
        f"{local + timedelta(minutes=45):%Y-%m-%d %H:%M}",
        f"{local + timedelta(minutes=150):%Y-%m-%d %H:%M}",
        "1:45:00",
    ]
    assert cells(get(client, "usage_gaps", days="7", contract="C-other")) == []


def test_the_list_of_silent_meters_shows_those_that_go_on_unless_asked_for_others(client):
    rows(2)
    over = MeterSilence.objects.first()
    MeterSilence.objects.filter(pk=over.pk).update(ended_at=AT + timedelta(hours=1))
    address = reverse("admin:marketplace_metersilence_changelist")
    assert over not in client.get(address).context["cl"].result_list
    assert [row.pk for row in client.get(address, {"over": "1"}).context["cl"].result_list] == [over.pk]
    assert client.get(address, {"over": "all"}).context["cl"].result_count == 2


# The ledger


def test_the_trial_balance_sums_by_issuer_to_a_day(client):
    chain(912)
    chain(913)
    response = get(client, "trial_balance")
    assert [str(table.title) for table in response.context["tables"]] == ["issuer-912 · CNY", "issuer-913 · CNY"]
    assert [row[2:] for row in cells(response)] == [
        ["account-912", "¥106.00", "¥0.00", "¥106.00"],
        ["", "¥0.00", "¥106.00", "-¥106.00"],
        ["", "¥106.00", "¥106.00", "¥0.00"],
    ]
    only = get(client, "trial_balance", issuer="issuer-913", to_date="2026-05-30")
    assert [row[2:] for row in cells(only)] == [
        ["account-913", "¥0.00", "¥0.00", "¥0.00"],
        ["", "¥0.00", "¥0.00", "¥0.00"],
        ["", "¥0.00", "¥0.00", "¥0.00"],
    ]
    assert LedgerAccount.objects.count() == 4


# The first page


def test_the_first_page_has_the_months_figures_and_what_is_wrong(client):
    rows(2)
    Job.objects.filter(pk=Job.objects.first().pk).update(state="failed", finished_at=AT)
    context = get(client, "index", month="2026-05").context
    figures = [(str(card["title"]).split()[0], card["value"], card["unit"]) for card in context["cards"]]
    assert figures == [
        ("Meter", "4", "GPU-h"),
        ("Meter", "4", "GPU-h"),
        ("Invoiced,", "¥200.00", "2 invoices"),
        ("Events", "0", ""),
    ]
    assert {str(each["title"]): (each["value"], each["is_bad"]) for each in context["problems"]} == {
        "Failed jobs": ("1", True),
        "Unmatched events": ("2", True),
        "Events not stored": ("2", True),
        "Silent meters": ("2", True),
        "Offerings to approve": ("0", False),
        "Periods to close": ("4", True),
        "Open periods": ("4", False),
    }
    for each in (*context["cards"], *context["problems"]):
        assert client.get(each["address"]).status_code == 200, each
    chart = context["charts"][0]
    data = json.loads(chart["data"])
    assert data["datasets"][0]["data"] == [0] * 9 + [4] + [0] * 21
    assert chart["rows"] == [(datetime(2026, 5, 10, tzinfo=UTC).date(), "4")]


def test_the_first_page_of_a_month_without_usage_leads_to_the_newest_and_knows_no_nonsense(client):
    chain(914)
    newest = get(client, "index", month="2025-12").context["newest"]
    assert newest == {"address": "?month=2026-05", "title": "The newest usage is of 2026-05"}
    assert get(client, "index", month="2025-12").context["after"] == "?month=2026-01"
    for nonsense in ("x", "2026-13", "0000-01", "9999-12", "0001-01", "2026-05-01"):
        get(client, "index", month=nonsense)
    assert Contract.objects.count() == 1


# Languages


@pytest.mark.parametrize(("language", "title"), [("zh-hans", "未匹配事件"), ("en", "Unmatched events")])
def test_the_pages_are_in_the_language_of_who_looks(browser, client, language, title):
    own = browser(make_user("other", is_staff=True), language=language)
    text = own.get(reverse("admin:usage_unmatched")).content.decode()
    assert f'lang="{language}"' in text
    assert title in text
