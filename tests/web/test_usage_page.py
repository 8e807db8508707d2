"""Usage by hour: what is drawn and tabled is what was read, in its time of use, against what is reserved."""

import pytest

from billing import contracts
from marketplace import people
from tests.web import buyers
from tests.web.buyers import hourly, local, text


def rows(page):
    return {row["title"]: (row["parts"], row["total"], row["reserved"], row["share"]) for row in page.context["rows"]}


def heights(page):
    """(class, height in thousandths of the scale) of each bar that is drawn, by its place."""
    return {
        place: [(part.tone, part.height) for part in bar.rectangles]
        for place, bar in enumerate(page.context["chart"].bars)
        if bar.rectangles
    }


def test_a_day_is_24_hours_in_the_colours_of_their_periods(sun, zoned):
    hourly(zoned.sun.contract, 2, start_at=local(20, 7), hours=2)
    page = sun.get("/usage/?range=day&date=2020-05-20")
    assert len(page.context["chart"].bars) == 24
    assert page.context["chart"].scale == ["4", "3", "2", "1", "0"]
    assert heights(page) == {7: [("valley", 500)], 8: [("peak", 500)]}
    assert page.context["chart"].reserved == "M0 0" + "".join(
        f"H{10}" if n == 0 else f"V0H{10 * (n + 1)}" for n in range(24)
    )
    # the parts stand in the order of the legend: peak, valley
    assert rows(page)["07:00–08:00"] == (["", "2.00"], "2.00", "4.00", "50.0%")
    assert rows(page)["08:00–09:00"] == (["2.00", ""], "2.00", "4.00", "50.0%")
    assert rows(page)["09:00–10:00"] == (["", ""], "", "4.00", None)


def test_a_week_is_168_hours_from_monday_on_with_a_row_a_day(sun, zoned):
    hourly(zoned.sun.contract, 3, start_at=local(18), hours=10)
    page = sun.get("/usage/?date=2020-05-20")
    assert len(page.context["chart"].bars) == 168
    assert list(rows(page)) == [f"2020-05-{day}" for day in range(18, 25)]
    assert rows(page)["2020-05-18"] == (["6.00", "24.00"], "30.00", "96.00", "31.3%")
    assert page.context["rows"][0]["address"] == "?range=day&date=2020-05-18&contract=&meter=gpu_hours"


def test_a_month_has_its_own_days(sun, zoned):
    hourly(zoned.sun.contract, 1, start_at=local(30, month=4), hours=24)
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=1)
    april, may = (sun.get(f"/usage/?range=month&date=2020-{month}-15") for month in ("04", "05"))
    assert (len(april.context["chart"].bars), len(april.context["rows"])) == (720, 30)
    assert (len(may.context["chart"].bars), len(may.context["rows"])) == (744, 31)
    assert (april.context["summary"]["total"], may.context["summary"]["total"]) == ("24.00", "1.00")


def test_contracts_add_up_and_one_can_be_chosen(browser, db, clock):
    zoned = buyers.make(number_of_contracts=2)
    first, second = zoned.sun.contracts
    hourly(first, 1, start_at=local(20), hours=2)
    hourly(second, 2, start_at=local(20), hours=2)
    client = browser(zoned.sun.owner)
    both = client.get("/usage/?range=day&date=2020-05-20")
    one = client.get(f"/usage/?range=day&date=2020-05-20&contract={second.pk}")
    assert (both.context["summary"]["total"], one.context["summary"]["total"]) == ("6.00", "4.00")
    assert (rows(both)["00:00–01:00"][2], rows(one)["00:00–01:00"][2]) == ("8.00", "4.00")
    assert f'<option value="{second.pk}" selected>' in one.content.decode()


def test_reserved_follows_the_spans(sun, zoned):
    contracts.reserve(
        contract=zoned.sun.contract, quantity=4, start_at=local(20, 6), end_at=local(20, 12), source="more"
    )
    page = sun.get("/usage/?range=day&date=2020-05-20")
    assert [rows(page)[f"{hour:02}:00–{hour + 1:02}:00"][2] for hour in (5, 6, 11, 12)] == [
        "4.00",
        "8.00",
        "8.00",
        "4.00",
    ]


def test_a_gap_is_shown_and_what_is_still_to_come_is_none(sun, zoned):
    hourly(zoned.sun.contract, 1, start_at=local(20), hours=3)
    hourly(zoned.sun.contract, 1, start_at=local(20, 5), hours=2)
    page = sun.get("/usage/?range=day&date=2020-05-20")
    assert [area.x // 10 for area in page.context["chart"].missing] == [3, 4]
    assert page.context["summary"]["missing_hours"] == "2.00"
    assert "60 min missing" in text(page)
    assert "2020-05-20 03:00–04:00 · no readings" in page.content.decode()


def test_the_greatest_quarter_hour_is_named(sun, zoned):
    hourly(zoned.sun.contract, 1, start_at=local(20), hours=3)
    hourly(zoned.sun.contract, 3, start_at=local(20, 3), hours=1)
    summary = sun.get("/usage/?range=day&date=2020-05-20").context["summary"]
    assert (summary["peak"], summary["peak_at"].isoformat()) == ("3.00", "2020-05-20T03:00:00")


def test_an_empty_range_says_so(sun, zoned):
    page = sun.get("/usage/?date=2020-03-02")
    assert "No readings in this range" in text(page)
    assert "chart" not in page.context
    assert "newest readings" not in text(page)


def test_an_empty_range_leads_to_the_newest_readings(sun, zoned):
    hourly(zoned.sun.contract, 3, start_at=local(20, 3), hours=1)
    page = sun.get("/usage/?range=day&date=2020-03-02")
    assert "The newest readings are of 2020-05-20" in text(page)
    assert "?range=day&amp;meter=gpu_hours&amp;date=2020-05-20" in page.content.decode()
    assert "newest" not in sun.get("/usage/?range=day&date=2020-05-20").context


def test_without_a_contract_it_says_so(browser, zoned):
    outsider = browser(buyers.make_buyer(zoned.issuer, zoned.zone, zoned.tariff, "star", 300, 0).owner)
    assert "No contract yet" in text(outsider.get("/usage/"))


def test_ways_lead_to_the_ranges_around_it_and_not_into_the_future(sun, zoned):
    page = sun.get(f"/usage/?range=month&date=2020-05-20&contract={zoned.sun.contract.pk}")
    assert page.context["previous"] == f"?range=month&date=2020-04-01&contract={zoned.sun.contract.pk}"
    assert (page.context["next"], page.context["today"]) == (None, None)
    earlier = sun.get("/usage/?range=week&date=2020-05-03")
    assert earlier.context["previous"] == "?range=week&date=2020-04-20"
    assert earlier.context["next"] == "?range=week&date=2020-05-04"
    assert earlier.context["today"] == "?range=week&date=2020-05-20"


@pytest.mark.parametrize(
    "query",
    [
        "range=year",
        "date=2020-02-30",
        "date=1999-12-31",
        "date=2101-01-01",
        "date=x",
        "contract=x",
        "contract=0",
        "meter=x",
    ],
)
def test_what_is_not_there_is_not_found(sun, query):
    assert sun.get(f"/usage/?{query}").status_code == 404


@pytest.mark.parametrize("edge", ["2000-01-01", "2100-12-31"])
def test_the_edges_of_the_calendar_are_pages(sun, zoned, edge):
    assert [sun.get(f"/usage/?range={span}&date={edge}").status_code for span in ("day", "week", "month")] == [200] * 3


def test_another_buyers_contract_is_not_found_and_its_use_not_counted(sun, zoned):
    hourly(zoned.moon.contract, 3, start_at=local(20), hours=4)
    assert sun.get(f"/usage/?contract={zoned.moon.contract.pk}").status_code == 404
    page = sun.get("/usage/?range=day&date=2020-05-20")
    assert (page.context["summary"]["total"], page.context["contracts"]) == ("0.00", zoned.sun.contracts)


def test_a_provider_sees_the_use_it_supplies(browser, zoned):
    north = people.make_organization(
        zone=zoned.zone, party=zoned.sun.contract.provider, name="North", parts={"provider"}
    )
    engineer = buyers.make_user("engineer.north")
    people.add_member(organization=north, user=engineer, role="engineer", at=buyers.NOW, actor="test")
    hourly(zoned.sun.contract, 1, start_at=local(20), hours=1)
    hourly(zoned.moon.contract, 2, start_at=local(20), hours=1)
    page = browser(engineer).get("/usage/?range=day&date=2020-05-20")
    assert page.context["summary"]["total"] == "3.00"


@pytest.mark.parametrize("number_of_contracts", [1, 3])
def test_the_number_of_queries_does_not_grow_with_the_contracts(
    browser, db, clock, django_assert_num_queries, number_of_contracts
):
    zoned = buyers.make(number_of_contracts=number_of_contracts)
    for contract in zoned.sun.contracts:
        hourly(contract, 2, start_at=local(1), hours=19 * 24)
    client = browser(zoned.sun.owner)
    with django_assert_num_queries(10):
        assert client.get("/usage/?range=month").status_code == 200
