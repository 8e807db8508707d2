"""Readings of a day, and the events of one of them: what is counted, and what has been amended or retracted."""

import csv
import hashlib
from datetime import timedelta

import pytest

from billing import invoicing, usage
from tests.web import buyers
from tests.web.buyers import hourly, local, text


def sample(event_id, *, at=None, value="4", seconds=300, subject="C-sun-1", **more):
    data = {"value": value, "duration_seconds": seconds}
    return usage.Event(event_id, "aidc/earth", "gpu.sample", subject, at or local(20, 8), data, **more)


def record(zoned, *events):
    return usage.record(owner=zoned.sun.contract.provider, events=events, at=buyers.NOW).counts


def address(zoned, start="20200520T0000Z", contract=None, meter="gpu_hours"):
    return f"/events/{(contract or zoned.sun.contract).pk}/{meter}/{start}/"


def test_a_day_lists_its_readings_with_their_period(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(20, 7), hours=2)
    page = sun.get("/events/?date=2020-05-20")
    listed = [
        (f"{row['start']:%H:%M}", row["period"], row["quantity"], row["units"], row["average"])
        for row in page.context["rows"]
    ]
    assert len(listed) == 8
    assert listed[3:5] == [("07:45", "valley", "1,800", "0.5000", "2.00"), ("08:00", "peak", "1,800", "0.5000", "2.00")]
    assert (page.context["total_base"], page.context["total"]) == ("14,400", "4.0000")
    assert address(zoned) in page.content.decode()


def test_what_is_missing_between_two_readings_is_a_row(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(20), hours=1)
    hourly(zoned.sun.contract, 2, start_at=local(20, 2), hours=1)
    page = sun.get("/events/?date=2020-05-20")
    assert [row["quantity"] for row in page.context["rows"]] == ["1,800"] * 4 + [None] * 4 + ["1,800"] * 4


def test_a_reading_lists_the_events_that_made_it(sun, zoned):
    assert record(zoned, sample("a"), sample("b", at=local(20, 8) + timedelta(minutes=5), value="2.5"))["counted"] == 2
    page = sun.get(address(zoned))
    assert (page.context["quantity"], page.context["units"]) == ("1,950", "0.5417")
    assert [
        (e["id"], e["value"], e["duration_seconds"], e["quantity"], e["state"]) for e in page.context["events"]
    ] == [
        ("a", "4", 300, "1,200", "counted"),
        ("b", "2.5", 300, "750", "counted"),
    ]


def test_an_event_that_reaches_over_the_edge_stands_in_both_readings(sun, zoned):
    record(zoned, sample("long", at=local(20, 8) + timedelta(minutes=10), seconds=600))
    first, second = sun.get(address(zoned)), sun.get(address(zoned, "20200520T0015Z"))
    assert (first.context["quantity"], second.context["quantity"]) == ("1,200", "1,200")
    assert [page.context["events"][0]["reaches_beyond"] for page in (first, second)] == [True, True]
    assert "also in the interval beside it" in text(second)


def test_an_amended_event_is_shown_with_what_took_its_place(sun, zoned):
    record(zoned, sample("a"))
    record(zoned, sample("b", value="6", amends="a"))
    page = sun.get(address(zoned))
    assert page.context["quantity"] == "1,800"
    assert [(e["id"], e["state"], e["by"], e["of"]) for e in page.context["events"]] == [
        ("a", "amended", "b", ""),
        ("b", "counted", "", "a"),
    ]
    assert "Amended by b" in text(page)


def test_a_retracted_event_counts_no_more(sun, zoned):
    record(zoned, sample("a"))
    record(zoned, sample("b", retracts="a"))
    page = sun.get(address(zoned))
    assert page.context["quantity"] == "0"
    assert [(e["id"], e["state"], e["by"], e["of"]) for e in page.context["events"]] == [
        ("a", "retracted", "b", ""),
        ("b", "retraction", "", "a"),
    ]


def test_the_file_of_a_readings_events_gives_the_digest_that_is_shown(sun, zoned):
    record(zoned, sample('=1,"x"'), sample("b", at=local(20, 8) + timedelta(minutes=5), value="2.50"))
    record(zoned, sample("c", at=local(20, 8) + timedelta(minutes=5), value="3", amends="b"))
    record(zoned, sample("later", at=local(20, 9)))
    page, file = sun.get(address(zoned)), sun.get(f"{address(zoned)}events.csv")
    assert file.content == (
        b'aidc/earth,"\'=1,""x""",2020-05-20T00:00:00.000000Z,300,4,1200,counted\n'
        b"aidc/earth,b,2020-05-20T00:05:00.000000Z,300,2.5,750,superseded\n"
        b"aidc/earth,c,2020-05-20T00:05:00.000000Z,300,3,900,counted\n"
    )
    counted = sum(int(row[5]) for row in csv.reader(file.content.decode().splitlines()) if row[6] == "counted")
    assert f"{counted:,}" == page.context["quantity"] == "2,100"
    assert hashlib.sha256(file.content).hexdigest() == page.context["digest"]
    assert page.context["digest"] in text(page)
    name = "events-C-sun-1-gpu_hours-20200520T0000Z.csv"
    assert (file["Content-Disposition"], f"sha256sum {name}" in text(page)) == (f'attachment; filename="{name}"', True)


def test_events_that_came_after_the_invoice_are_told(sun, zoned):
    at, owner = local(20, 8, month=4), zoned.sun.contract.provider
    usage.record(owner=owner, events=[sample("before", at=at, value="1")], at=local(21, month=4))
    period = invoicing.open_period(issuer=zoned.issuer, code="2020-04")
    invoicing.issue(account=zoned.sun.account, period=period, at=local(1), actor="test")
    usage.record(owner=owner, events=[sample("after", at=at + timedelta(minutes=5))], at=local(19))
    page = sun.get(address(zoned, "20200420T0000Z"))
    assert [(event["id"], event["is_late"]) for event in page.context["events"]] == [("before", False), ("after", True)]
    assert "Some of these events came after the invoice" in text(page)


def test_events_come_in_pages_that_neither_repeat_nor_leave_out(sun, zoned):
    ids = [f"e/{number:03} %&ü" for number in range(205)]
    record(
        zoned,
        *[
            sample(event_id, at=local(20, 8) + timedelta(seconds=number // 3), seconds=1)
            for number, event_id in enumerate(ids)
        ],
    )
    seen, page = [], sun.get(address(zoned))
    sizes = []
    while True:
        seen += [event["id"] for event in page.context["events"]]
        sizes.append(len(page.context["events"]))
        if page.context["next"] is None:
            break
        page = sun.get(address(zoned), {"after": page.context["next"]})
    assert (seen, sizes) == (ids, [100, 100, 5])


def test_days_lead_to_the_days_around_them_and_not_into_the_future(sun, zoned):
    page = sun.get("/events/")
    assert (page.context["day"].isoformat(), page.context["next"]) == ("2020-05-20", None)
    assert f"?contract={zoned.sun.contract.pk}&amp;meter=gpu_hours&amp;date=2020-05-19" in page.content.decode()


def test_a_day_without_readings_says_so(sun, zoned):
    page = sun.get("/events/?date=2020-05-20")
    assert "No readings on this day" in text(page)
    assert "newest readings" not in text(page)


def test_a_day_without_readings_leads_to_the_newest_that_has_some(sun, zoned):
    hourly(zoned.sun.contract, 3, start_at=local(19, 3), hours=1)
    page = sun.get("/events/?date=2020-05-20")
    assert "The newest readings are of 2020-05-19" in text(page)
    address = f"?contract={zoned.sun.contract.pk}&amp;meter=gpu_hours&amp;date=2020-05-19"
    assert page.content.decode().count(address) == 2  # and of "Earlier"


@pytest.mark.parametrize("query", ["contract=x", "contract=0", "meter=x", "date=x", "date=0001-01-01"])
def test_what_is_not_there_is_not_found(sun, zoned, query):
    assert sun.get(f"/events/?{query}").status_code == 404


@pytest.mark.parametrize(
    "start",
    ["20200520T0000Z", "20200520T0001Z", "20201320T0000Z", "19000101T0000Z", "x", "99991231T2345Z", "20200520t0000z"],
)
def test_a_reading_that_is_not_there_is_not_found(sun, zoned, start):
    assert sun.get(address(zoned, start)).status_code == 404


@pytest.mark.parametrize("after", ["x", "1.2", "1..a", "99999999999999999.1.a", "1.99999999999999999999.a"])
def test_a_cursor_of_somebodys_own_making_is_not_found(sun, zoned, after):
    record(zoned, sample("a"))
    assert sun.get(address(zoned), {"after": after}).status_code == 404


def test_another_buyers_reading_is_not_found(sun, zoned):
    hourly(zoned.moon.contract, 2, start_at=local(20, 8), hours=1)
    record(zoned, sample("moon's", subject="C-moon-1"))
    assert sun.get(address(zoned, contract=zoned.moon.contract)).status_code == 404
    assert sun.get(f"{address(zoned, contract=zoned.moon.contract)}events.csv").status_code == 404
    assert sun.get(f"/events/?contract={zoned.moon.contract.pk}").status_code == 404
    assert sun.get("/events/?date=2020-05-20").context["rows"] == []


@pytest.mark.parametrize("number", [1, 3])
def test_the_number_of_queries_does_not_grow_with_the_rows(browser, db, clock, django_assert_num_queries, number):
    zoned = buyers.make(number_of_contracts=number)
    record(zoned, *[sample(f"e{place}", seconds=60) for place in range(number)])
    client = browser(zoned.sun.owner)
    with django_assert_num_queries(9):
        assert len(client.get("/events/?date=2020-05-20").context["rows"]) == 1
    with django_assert_num_queries(11):
        assert len(client.get(address(zoned)).context["events"]) == number
