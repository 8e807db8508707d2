"""The page that says what the last months would have cost: its answers, its errors, whose tariffs it takes, its queries."""

import pytest

from billing import invoicing
from billing.models import Programme
from marketplace import people
from marketplace.models import Offering
from tests.billing import programmes_world, world
from tests.marketplace import market
from tests.web import buyers
from tests.web.buyers import hourly, local, text

HOURS = {"tariff": "", "hours": "", "percent": "", "source": "", "target": "", "programme": "", "contract": ""}


@pytest.fixture
def april(zoned):
    """Sun's April, invoiced: 48 GPU-hours in the peak at 6.00, a demand of 4 GPUs, 4 reserved, and 0.10 a GPU-hour."""
    hourly(zoned.sun.contract, 4, start_at=local(1, 8, month=4), hours=12)
    return issue(zoned)


def issue(zoned, code="2020-04", at=None):
    period = invoicing.open_period(issuer=zoned.issuer, code=code)
    return invoicing.issue(account=zoned.sun.account, period=period, at=at or period.end_at, actor="test")


def cheap(zoned, code="CHEAP", price="1.00"):
    """A tariff that is on sale."""
    return world.publish(world.energy(price), code=code, effective=["2020-04-01", None]).tariff


def ask(client, **asked):
    return client.get("/what-if/", {"months": "1"} | HOURS | asked)


def rows(page):
    return [(row["code"], row["actual"], row["other"], row.get("more")) for row in page.context["rows"]]


def errors(page):
    return {name: [str(each) for each in found] for name, found in page.context["form"].errors.items()}


def test_all_use_in_the_valley_is_cheaper_by_the_difference_of_prices(sun, zoned, april):
    # 48 × 6.00 + 4 × 30.00 + 2,880 × 1.00 + 4.80 = 3,292.80, VAT 197.568; twelve hours later 48 × 2.00: 192.00 less
    page = ask(sun, hours="12")
    assert rows(page) == [("2020-04", "¥3,490.37", "¥3,286.85", "-¥203.52")]
    assert page.context["total"]["more"] == "-¥203.52"
    assert [(row["name"], row["actual"], row["other"]) for row in page.context["parts"]] == [
        ("Usage charge · peak", "¥288.00", "¥0.00"),
        ("Usage charge · valley", "¥0.00", "¥96.00"),
        ("Demand charge", "¥120.00", "¥120.00"),
        ("Capacity charge", "¥2,880.00", "¥2,880.00"),
        ("Rider", "¥4.80", "¥4.80"),
        ("Tax", "¥197.57", "¥186.05"),
        ("Payable", "¥3,490.37", "¥3,286.85"),
    ]
    said = text(page)
    assert "▼ 5.8% less" in said
    assert "All use 12 h later" in said
    assert f'href="/invoices/{april.number}/"' in page.content.decode()


def test_the_chart_has_two_bars_a_month_and_the_same_figures_as_the_table(sun, april):
    chart = ask(sun, hours="12").context["chart"]
    drawn = [(bar.title, [part.tone for part in bar.rectangles]) for bar in chart.bars if bar.title]
    assert drawn == [
        ("2020-04 · As it was · ¥3,490.37", ["actual"]),
        ("2020-04 · What if · ¥3,286.85", ["other"]),
    ]
    # of a scale to 4,000: 872.5925 and 821.7125 thousandths, drawn from the rounded top
    assert [bar.rectangles[0].height for bar in chart.bars if bar.title] == [872, 821]


def test_the_tariff_that_it_has_changes_nothing(sun, zoned, april):
    page = ask(sun, tariff=str(zoned.tariff.pk))
    assert rows(page) == [("2020-04", "¥3,490.37", "¥3,490.37", "¥0.00")]
    assert "Exactly the same" in text(page)


def test_a_tariff_on_sale_can_be_chosen_whosever_it_is(sun, zoned, april):
    north = people.make_organization(zone=zoned.zone, party=world.provider(), name="North", parts={"provider"})
    tariff = cheap(zoned)
    offering = market.make_offering(market.make_pool(north, buyers.NOW), tariff, buyers.NOW)
    assert list(errors(ask(sun, tariff=str(tariff.pk)))) == ["tariff"]
    Offering.objects.filter(pk=offering.pk).update(state="published")
    # 48 × 1.00 and 6 % of it; no demand, no capacity, no rider
    page = ask(sun, tariff=str(tariff.pk))
    assert rows(page) == [("2020-04", "¥3,490.37", "¥50.88", "-¥3,439.49")]
    assert "Tariff CHEAP" in text(page)


def test_a_part_of_the_peak_can_be_moved(sun, april):
    # 25 % of 48 hours: 12 × 4.00 less is 48.00 and its VAT 2.88; the peak lies on 3 GPUs, 30.00 and 1.80 less
    page = ask(sun, percent="25", source="peak", target="valley")
    assert rows(page) == [("2020-04", "¥3,490.37", "¥3,407.69", "-¥82.68")]
    assert "25% of “peak” moved to “valley”" in text(page)


def test_a_programme_is_said_to_be_an_estimate(sun, zoned, april):
    programme = programmes_world.programme(zoned.issuer, cap_invoice_minor=50_000)
    page = ask(sun, programme=str(programme.pk))
    assert rows(page) == [("2020-04", "¥3,490.37", "¥2,990.37", "-¥500.00")]
    (paid,) = (row for row in page.context["parts"] if row["name"] == "Paid by programmes")
    assert (paid["actual"], paid["other"]) == ("¥0.00", "-¥500.00")
    assert (page.context["rows"][0]["share"], page.context["rows"][0]["limit"]) == ("¥500.00", "the cap for an invoice")
    assert "an estimate, as if your firm had been granted it" in text(page)
    assert programmes_world.counts(programme)[1:] == (0, 0)


def test_a_reimbursement_is_said_to_be_claimed(sun, zoned, april):
    terms = {"mode": Programme.Mode.REIMBURSEMENT, "cap_invoice_minor": 50_000}
    page = ask(sun, programme=str(programmes_world.programme(zoned.issuer, **terms).pk))
    assert rows(page)[0][1:3] == ("¥3,490.37", "¥3,490.37")
    assert "could claim ¥500.00 from the funder" in text(page)


def test_a_month_that_is_not_invoiced_is_told_as_one(sun, zoned):
    hourly(zoned.sun.contract, 4, start_at=local(1, 8, month=4), hours=12)
    page = ask(sun, hours="12")
    assert rows(page)[0][1] == "¥3,490.37"
    assert "not invoiced yet" in text(page)


def test_usage_that_came_later_is_told(sun, zoned, april):
    hourly(zoned.sun.contract, 1, start_at=local(9, 8, month=4), hours=1)
    said = text(ask(sun, tariff=str(zoned.tariff.pk)))
    assert "readings came that no note corrects yet" in said
    assert "changed since" in said


def test_as_many_months_as_are_asked_for_the_oldest_first(browser, zoned, clock):
    clock.now = local(2, month=8)
    page = ask(browser(zoned.sun.owner), months="3", hours="1")
    assert [row[0] for row in rows(page)] == ["2020-05", "2020-06", "2020-07"]
    every = ask(browser(zoned.sun.owner), months="12", hours="1")
    assert [row[0] for row in rows(every)] == ["2020-04", "2020-05", "2020-06", "2020-07"]


def test_before_anything_is_chosen_there_is_the_question_alone(sun, april):
    page = sun.get("/what-if/")
    assert ("rows" in page.context, errors(page)) == (False, {})
    assert page.context["form"].initial["months"] == 3


def test_one_of_several_contracts_can_be_asked_about(browser, db, clock):
    zoned = buyers.make(number_of_contracts=2)
    for contract in zoned.sun.contracts:
        hourly(contract, 4, start_at=local(1, 8, month=4), hours=12)
    sun = browser(zoned.sun.owner)
    one = ask(sun, hours="12", contract=str(zoned.sun.contracts[0].pk))
    assert (one.context["total"]["more"], ask(sun, hours="12").context["total"]["more"]) == ("-¥203.52", "-¥407.04")


# What is wrong, and whose


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({}, {"__all__": ["Nothing is different: choose a tariff, other hours or a programme."]}),
        ({"months": "0", "hours": "1"}, {"months": ["Ensure this value is greater than or equal to 1."]}),
        ({"months": "13", "hours": "1"}, {"months": ["Ensure this value is less than or equal to 12."]}),
        ({"months": "x", "hours": "1"}, {"months": ["Enter a whole number."]}),
        ({"hours": "24"}, {"hours": ["Ensure this value is less than or equal to 23."]}),
        ({"percent": "101"}, {"percent": ["Ensure this value is less than or equal to 100."]}),
        ({"percent": "5"}, {"source": ["Choose the time of day."], "target": ["Choose the time of day."]}),
        (
            {"percent": "5", "source": "peak", "target": "peak"},
            {"target": ["Choose another time of day than the one it is moved from."]},
        ),
        (
            {"percent": "5", "source": "peak", "target": "valley", "hours": "2"},
            {"percent": ["All of it or a part of it is moved: leave one of the two empty."]},
        ),
        (
            {"source": "peak", "hours": "1"},
            {"percent": ["Say how much is moved, from 1 to 100 %, or choose no time of day."]},
        ),
        (
            {"percent": "5", "source": "night", "target": "valley"},
            {"source": ["“night” is not to be chosen here: expected one of the list."]},
        ),
        ({"tariff": "999999"}, {"tariff": ["“999999” is not to be chosen here: expected one of the list."]}),
        ({"tariff": "x"}, {"tariff": ["“x” is not to be chosen here: expected one of the list."]}),
        ({"programme": "7"}, {"programme": ["“7” is not to be chosen here: expected one of the list."]}),
        ({"contract": "-1"}, {"contract": ["“-1” is not to be chosen here: expected one of the list."]}),
    ],
)
def test_what_is_wrong_is_said_at_its_field(sun, april, asked, wrong):
    page = ask(sun, **asked)
    assert (page.status_code, errors(page), "rows" in page.context) == (200, wrong, False)


def test_a_time_of_day_that_the_other_tariff_has_not_is_said(sun, zoned, april):
    tariff = cheap(zoned)
    world.contract(zoned.sun.account, tariff, number="C-sun-cheap", start_at=local(1), end_at=local(2))
    page = ask(sun, tariff=str(tariff.pk), percent="5", source="peak", target="valley")
    assert errors(page)["source"] == ["Tariff CHEAP has no “peak”: expected one of all hours."]


def test_another_buyers_tariff_contract_and_account_are_not_to_be_chosen(sun, zoned, april):
    negotiated = cheap(zoned, "MOON-ONLY")
    world.contract(zoned.moon.account, negotiated, number="C-moon-2", start_at=local(1))
    page = ask(sun, tariff=str(negotiated.pk))
    assert errors(page) == {"tariff": [f"“{negotiated.pk}” is not to be chosen here: expected one of the list."]}
    assert "MOON-ONLY" not in text(page)
    page = ask(sun, hours="1", contract=str(zoned.moon.contract.pk))
    assert list(errors(page)) == ["contract"]
    assert "C-moon" not in page.content.decode()
    assert sun.get("/what-if/", {"account": zoned.moon.account.pk}).status_code == 404


def test_a_programme_that_is_paused_is_not_to_be_chosen(sun, zoned, april):
    programme = programmes_world.programme(zoned.issuer)
    Programme.objects.filter(pk=programme.pk).update(state="paused")
    assert list(errors(ask(sun, programme=str(programme.pk)))) == ["programme"]


def test_who_may_not_see_bills_does_not_find_it(browser, zoned, april):
    viewer = browser(zoned.sun.viewer)
    assert ask(viewer, hours="1").status_code == 404
    assert "/what-if/" not in viewer.get("/month/").content.decode()


def test_the_month_leads_to_it(sun, zoned):
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=1)
    assert f'href="/what-if/?account={zoned.sun.account.pk}"' in sun.get("/month/").content.decode()


def test_without_a_whole_month_it_says_so(browser, zoned, clock):
    clock.now = local(20, month=4)
    assert "No whole month yet" in text(browser(zoned.sun.owner).get("/what-if/"))
    star = buyers.make_buyer(zoned.issuer, zoned.zone, zoned.tariff, "star", 300, 0)
    assert "No whole month yet" in text(browser(star.owner).get("/what-if/"))


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "Month by month, with tax"), ("zh-hans", "逐月对比（含税）")],
)
def test_it_speaks_both_languages(browser, zoned, april, language, said):
    page = ask(browser(zoned.sun.owner, language), hours="12")
    assert said in text(page)
    assert ("整体推后 12 小时" in text(page)) == (language == "zh-hans")


@pytest.mark.parametrize("number", [1, 3])
def test_queries_do_not_grow_with_contracts_and_grow_by_five_a_month(
    browser, db, clock, django_assert_num_queries, number
):
    zoned = buyers.make(number_of_contracts=number)
    clock.now = local(2, month=6)
    for month in (4, 5):
        for contract in zoned.sun.contracts:
            hourly(contract, 1, start_at=local(1, 8, month=month), hours=2)
        issue(zoned, code=f"2020-{month:02}")
    client = browser(zoned.sun.owner)
    with django_assert_num_queries(17):
        assert len(rows(ask(client, months="1", hours="1"))) == 1
    with django_assert_num_queries(22):
        assert len(rows(ask(client, months="2", hours="1"))) == 2
