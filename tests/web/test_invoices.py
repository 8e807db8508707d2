"""Invoices, their lines down to readings, and the preview of a month that is not issued yet."""

import hashlib

import pytest

from billing import invoicing
from billing.models import Invoice
from tests.billing import world
from tests.web import buyers
from tests.web.buyers import hourly, local, text

APRIL_END = local(1)


def issue(zoned, buyer=None, code="2020-04", at=APRIL_END):
    buyer = buyer or zoned.sun
    return invoicing.issue(
        account=buyer.account, period=invoicing.open_period(issuer=zoned.issuer, code=code), at=at, actor="test"
    )


@pytest.fixture
def issued(zoned):
    """Sun's invoice of April: 150 peak and 48 valley GPU-hours."""
    hourly(zoned.sun.contract, 4, start_at=local(1, 8, month=4), hours=12)
    hourly(zoned.sun.contract, 8, start_at=local(2, 8, month=4), hours=12)
    hourly(zoned.sun.contract, 6, start_at=local(3, month=4), hours=9)
    return issue(zoned)


def lines(page):
    return [
        (row["position"], row["item"], ".".join(filter(None, row["quantity"])), row["amount"])
        for group in page.context["said"]["lines"]["groups"]
        for row in group["rows"]
    ]


# The list


def test_the_list_has_the_issued_ones_and_the_running_month(sun, zoned, issued):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=3)
    page = sun.get("/invoices/")
    assert [
        (row["number"], row["code"], row["payable"], row["issued_on"].isoformat(), row["due_on"].isoformat())
        for row in page.context["invoices"]
    ] == [(issued.number, "2020-04", "¥4,330.95", "2020-05-01", "2020-05-31")]
    assert [(row["code"], row["is_running"], row["payable"]) for row in page.context["previews"]] == [
        ("2020-05", True, "¥3,256.96")
    ]


def test_a_month_that_is_over_and_not_issued_is_a_preview_too(sun, zoned):
    previews = sun.get("/invoices/").context["previews"]
    assert [(row["code"], row["is_running"]) for row in previews] == [("2020-05", True), ("2020-04", False)]
    assert "Month to be invoiced" in text(sun.get("/invoices/"))


def test_years_filter_it(sun, zoned, issued):
    issue(zoned, code="2020-05", at=local(1, month=6))
    page = sun.get("/invoices/?year=2020")
    assert [row["code"] for row in page.context["invoices"]] == ["2020-05", "2020-04"]
    assert sun.get("/invoices/?year=2019").status_code == 404


def test_it_comes_in_pages_that_neither_repeat_nor_leave_out(browser, zoned, clock, monkeypatch):
    monkeypatch.setattr("marketplace.web.invoices.PAGE", 2)
    for month in range(4, 9):
        issue(zoned, code=f"2020-{month:02}", at=local(1, month=month + 1))
    clock.now = local(2, month=9)
    sun = browser(zoned.sun.owner)
    seen, query = [], ""
    while query is not None:
        page = sun.get(f"/invoices/?{query}")
        seen.append([row["code"] for row in page.context["invoices"]])
        query = page.context["next"] and f"after={page.context['next']}"
    assert seen == [["2020-08", "2020-07"], ["2020-06", "2020-05"], ["2020-04"]]
    assert page.context["previews"] == []


@pytest.mark.parametrize("after", ["x", "2020-04", "2020-04.x", "2020-04.9999999999999999999"])
def test_a_cursor_of_somebodys_own_making_is_not_found(sun, zoned, after):
    assert sun.get("/invoices/", {"after": after}).status_code == 404


def test_without_any_it_says_when_the_first_will_come(browser, zoned):
    client = browser(buyers.make_buyer(zoned.issuer, zoned.zone, zoned.tariff, "star", 300, 0).owner)
    assert "No invoices yet" in text(client.get("/invoices/"))


def test_who_may_not_see_bills_finds_none_of_the_pages(browser, zoned, issued):
    client = browser(zoned.sun.viewer)
    for address in (
        "/invoices/",
        f"/invoices/{issued.number}/",
        f"/invoices/{issued.number}/lines/1/",
        f"/invoices/{issued.number}/lines/1/readings.csv",
        f"/invoices/preview/{zoned.sun.account.pk}/2020-05/",
        f"/invoices/preview/{zoned.sun.account.pk}/2020-05/lines/1/",
        f"/invoices/preview/{zoned.sun.account.pk}/2020-05/lines/1/readings.csv",
    ):
        assert client.get(address).status_code == 404


def test_another_buyers_invoice_is_not_found(sun, zoned, issued):
    for month in (4, 5):
        hourly(zoned.moon.contract, 1, start_at=local(1, month=month), hours=1)
    other = issue(zoned, zoned.moon)
    for address in (
        f"/invoices/{other.number}/",
        f"/invoices/{other.number}/lines/1/",
        f"/invoices/{other.number}/lines/1/readings.csv",
        f"/invoices/preview/{zoned.moon.account.pk}/2020-05/",
        f"/invoices/preview/{zoned.moon.account.pk}/2020-05/lines/1/",
        f"/invoices/preview/{zoned.moon.account.pk}/2020-05/lines/1/readings.csv",
    ):
        assert sun.get(address).status_code == 404
    page = sun.get("/invoices/")
    assert [row["number"] for row in page.context["invoices"]] == [issued.number]
    assert {row["account"] for row in page.context["previews"]} == {"sun"}


def test_a_draft_is_not_a_page(sun, zoned):
    period = invoicing.open_period(issuer=zoned.issuer, code="2020-04")
    invoicing.draft(account=zoned.sun.account, period=period, at=APRIL_END, actor="test")
    assert Invoice.objects.get().state == "draft"
    assert sun.get("/invoices/").context["invoices"] == []


# One invoice


def test_an_invoice_says_what_its_snapshot_says(sun, zoned, issued):
    page = sun.get(f"/invoices/{issued.number}/")
    assert lines(page) == [
        ("1", "Usage charge, peak, tier 1", "100", "600.00"),
        ("2", "Usage charge, peak, tier 2", "50", "250.00"),
        ("3", "Usage charge, valley", "48", "96.00"),
        ("4", "Demand charge", "8", "240.00"),
        ("5", "Capacity charge", "2,880", "2,880.00"),
        ("6", "Rider", "198", "19.80"),
    ]
    said = text(page)
    assert "360,000 GPU-s = 100 GPU-h; 100 × 6.00 = 600.00" in said
    assert "¥4,330.95" in said
    assert ("Preview" in said, "PDF, Chinese" in said) == (False, True)


def test_the_preview_looks_the_same_and_says_that_it_is_one(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=3)
    page = sun.get(f"/invoices/preview/{zoned.sun.account.pk}/2020-05/")
    assert lines(page)[0] == ("1", "Usage charge, peak, tier 1", "6", "36.00")
    said = text(page)
    assert "¥3,256.96" in said
    assert "Preview, not an invoice" in said
    assert "What the invoice would be if nothing more were used after 2020-05-20 12:07." in said
    assert "PDF, Chinese" not in said
    assert "2020-06-19" not in said  # nothing is due


def test_the_preview_is_what_is_issued_then(browser, zoned, clock):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=3)
    address = f"/invoices/preview/{zoned.sun.account.pk}/2020-05/"
    clock.now = local(1, 10, month=6)
    sun = browser(zoned.sun.owner)
    before = sun.get(address)
    assert "its invoice is about to be issued" in text(before)
    invoice = issue(zoned, code="2020-05", at=clock.now)
    after = sun.get(address)
    assert after.headers["Location"] == f"/invoices/{invoice.number}/"
    issued = sun.get(after.headers["Location"])
    assert lines(issued) == lines(before)
    assert issued.context["said"]["totals"] == before.context["said"]["totals"]


@pytest.mark.parametrize("code", ["2020-13", "2020-06", "20-05", "0000-00", "2020-5"])
def test_a_month_that_is_none_or_to_come_has_no_preview(sun, zoned, code):
    assert sun.get(f"/invoices/preview/{zoned.sun.account.pk}/{code}/").status_code == 404


def test_a_preview_that_cannot_be_priced_says_why(sun, zoned):
    other = world.publish(world.energy(), code="USD", currency="USD", effective=["2020-04-01", None]).tariff
    world.contract(zoned.sun.account, other, number="C-USD")
    page = sun.get(f"/invoices/preview/{zoned.sun.account.pk}/2020-05/")
    assert "This month can't be priced at the moment." in text(page)


@pytest.mark.parametrize(("language", "said"), [("en", "Charges in detail"), ("zh-hans", "账单明细")])
def test_it_speaks_both_languages(browser, zoned, issued, language, said):
    assert said in text(browser(zoned.sun.owner, language).get(f"/invoices/{issued.number}/"))


# A line


def counted(page):
    return [(f"{row['start']:%d %H:%M}", row["quantity"], row["counted"]) for row in page.context["readings"]]


def test_a_line_leads_to_the_days_and_readings_that_it_counts(sun, issued):
    page = sun.get(f"/invoices/{issued.number}/lines/1/")
    assert [(row["day"].isoformat(), row["counted"], row["readings"]) for row in page.context["days"]] == [
        ("2020-04-01", "48.00", 48),
        ("2020-04-02", "52.00", 26),
    ]
    assert (page.context["counted"], page.context["readings_count"]) == ("100.000000", 74)
    day = sun.get(f"/invoices/{issued.number}/lines/1/?day=2020-04-02")
    assert counted(day)[:2] == [("02 08:00", "7,200", "7,200"), ("02 08:15", "7,200", "7,200")]
    assert f"/events/{issued.lines.first().contract_id}/gpu_hours/20200402T0000Z/" in day.content.decode()


def test_a_reading_across_a_tiers_edge_stands_in_both_lines_with_its_parts(sun, zoned):
    hourly(zoned.sun.contract, 11, start_at=local(1, 8, month=4), hours=10)
    invoice = issue(zoned)
    first, second = (sun.get(f"/invoices/{invoice.number}/lines/{place}/") for place in (1, 2))
    # 9 hours are 99 GPU-hours; the next quarter has 2.75, of which 1 is in tier 1
    assert counted(first)[-1] == ("01 17:00", "9,900", "3,600")
    assert counted(second)[0] == ("01 17:00", "9,900", "6,300")
    assert "split at the tier" in text(first)


def test_the_demand_line_leads_to_its_quarter_hour(sun, issued):
    assert counted(sun.get(f"/invoices/{issued.number}/lines/4/")) == [("02 08:00", "7,200", "7,200")]


def test_the_capacity_line_leads_to_what_was_reserved(sun, issued):
    spans = sun.get(f"/invoices/{issued.number}/lines/5/").context["spans"]
    assert [(span["quantity"], span["source"], span["start"].isoformat(), span["end"]) for span in spans] == [
        (4, "reservation:1", "2020-04-01T00:00:00", None)
    ]


def test_a_rider_leads_to_the_lines_it_is_of(sun, issued):
    page = sun.get(f"/invoices/{issued.number}/lines/6/")
    assert [(row["position"], row["title"]) for row in page.context["of"]] == [
        (1, "Usage charge, peak, tier 1"),
        (2, "Usage charge, peak, tier 2"),
        (3, "Usage charge, valley"),
    ]


def test_readings_that_came_after_the_invoice_are_told(sun, zoned, issued):
    hourly(zoned.sun.contract, 1, start_at=local(20, 0, month=4), hours=1)
    page = sun.get(f"/invoices/{issued.number}/lines/3/")
    assert page.context["differs"] == "49.000000"
    assert "Readings came after this invoice was issued: they now make 49.000000 GPU-h of this line." in text(page)
    assert sun.get(f"/invoices/{issued.number}/lines/1/").context["differs"] is None


def test_a_line_of_the_preview_leads_on_too(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=1)
    page = sun.get(f"/invoices/preview/{zoned.sun.account.pk}/2020-05/lines/1/")
    assert counted(page) == [(f"01 08:{minute:02}", "1,800", "1,800") for minute in (0, 15, 30, 45)]
    assert "Preview, not an invoice" in text(page)


@pytest.mark.parametrize(
    ("language", "heading", "said"),
    [
        ("en", "Why was I charged this?", "2020-04-01 – 2020-04-30: 100 GPU-h were used in the time of day “peak”"),
        ("zh-hans", "这笔费用是怎么来的？", "2020-04-01 至 2020-04-30，“峰”时段共用 100 卡时"),
    ],
)
def test_a_line_says_why_in_the_readers_language(browser, zoned, issued, language, heading, said):
    page = browser(zoned.sun.owner, language).get(f"/invoices/{issued.number}/lines/1/")
    assert heading in text(page)
    assert said in text(page)


# The digest


def made_again(file):
    """SHA-256 of a downloaded file, and its rows: contract, meter, start, quantity."""
    assert (file.status_code, file["Content-Type"]) == (200, "text/csv; charset=utf-8")
    rows = [row.split(",") for row in file.content.decode().splitlines()]
    return hashlib.sha256(file.content).hexdigest(), rows


def test_the_file_behind_a_line_has_exactly_its_readings_and_gives_the_digest_that_is_shown(sun, issued):
    page = sun.get(f"/invoices/{issued.number}/lines/3/")
    file = sun.get(f"/invoices/{issued.number}/lines/3/readings.csv")
    digest, rows = made_again(file)
    # 3 April from 00:00 to 08:00 in Shanghai: 32 readings of 6 GPUs
    assert rows[0] == ["C-sun-1", "gpu_hours", "2020-04-02T16:00:00Z", "5400"]
    assert rows[-1] == ["C-sun-1", "gpu_hours", "2020-04-02T23:45:00Z", "5400"]
    assert (len(rows), sum(int(row[3]) for row in rows)) == (32, 48 * 3600)
    assert page.context["digest"] == digest
    assert digest in text(page)
    name = f"readings-{issued.number}-3.csv"
    assert file["Content-Disposition"] == f'attachment; filename="{name}"'
    assert f"sha256sum {name}" in text(page)
    assert "The readings still make exactly what this line says." in text(page)


def test_a_reading_of_two_lines_stands_whole_in_both_files(sun, zoned):
    hourly(zoned.sun.contract, 11, start_at=local(1, 8, month=4), hours=10)
    invoice = issue(zoned)
    lower, upper = (
        made_again(sun.get(f"/invoices/{invoice.number}/lines/{place}/readings.csv"))[1] for place in (1, 2)
    )
    assert lower[-1] == upper[0] == ["C-sun-1", "gpu_hours", "2020-04-01T09:00:00Z", "9900"]
    assert (len(lower), len(upper)) == (37, 4)


def test_the_digest_of_a_demand_line_is_of_its_quarter_hour(sun, issued):
    digest, rows = made_again(sun.get(f"/invoices/{issued.number}/lines/4/readings.csv"))
    assert rows == [["C-sun-1", "gpu_hours", "2020-04-02T00:00:00Z", "7200"]]
    assert digest == hashlib.sha256(b"C-sun-1,gpu_hours,2020-04-02T00:00:00Z,7200\n").hexdigest()


def test_readings_that_came_late_change_the_digest_and_the_page_says_so(sun, zoned, issued):
    before = sun.get(f"/invoices/{issued.number}/lines/3/").context["digest"]
    hourly(zoned.sun.contract, 1, start_at=local(20, 0, month=4), hours=1)
    page = sun.get(f"/invoices/{issued.number}/lines/3/")
    assert page.context["digest"] != before
    assert page.context["digest"] == made_again(sun.get(f"/invoices/{issued.number}/lines/3/readings.csv"))[0]
    assert "It is the digest of the readings as they are now, with those that came after the invoice." in text(page)


def test_a_greater_demand_that_came_late_is_told_too(sun, zoned, issued):
    hourly(zoned.sun.contract, 20, start_at=local(20, 0, month=4), hours=1)
    assert sun.get(f"/invoices/{issued.number}/lines/4/").context["differs"] == "5.000000"


def test_a_line_of_the_preview_has_a_file_too(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(1, 8), hours=1)
    address = f"/invoices/preview/{zoned.sun.account.pk}/2020-05/lines/1/"
    digest, rows = made_again(sun.get(f"{address}readings.csv"))
    assert (len(rows), sun.get(address).context["digest"]) == (4, digest)


def test_a_line_without_readings_has_no_file(sun, issued):
    assert "Compute it again" not in text(sun.get(f"/invoices/{issued.number}/lines/5/"))
    assert sun.get(f"/invoices/{issued.number}/lines/5/readings.csv").status_code == 404


@pytest.mark.parametrize("line", ["0", "7", "99999999999999999999", "x", "-1"])
def test_a_line_that_is_not_there_is_not_found(sun, issued, line):
    assert sun.get(f"/invoices/{issued.number}/lines/{line}/").status_code == 404


# Queries


@pytest.mark.parametrize("number", [1, 3])
def test_the_number_of_queries_does_not_grow_with_the_rows(browser, db, clock, django_assert_num_queries, number):
    zoned = buyers.make(number_of_contracts=number)
    clock.now = local(2, month=4 + number)
    for month in range(4, 4 + number):
        for contract in zoned.sun.contracts:
            hourly(contract, 1, start_at=local(1, 8, month=month), hours=2)
        invoice = issue(zoned, code=f"2020-{month:02}", at=local(1, month=month + 1))
    client = browser(zoned.sun.owner)
    with django_assert_num_queries(21):
        assert len(client.get("/invoices/").context["invoices"]) == number
    with django_assert_num_queries(9):
        assert len(client.get(f"/invoices/{invoice.number}/").context["said"]["lines"]["groups"]) == number
    with django_assert_num_queries(12):
        assert client.get(f"/invoices/{invoice.number}/lines/1/").status_code == 200
