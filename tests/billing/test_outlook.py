"""When a budget is used up, by hand."""

from datetime import date, datetime, timedelta

import pytest

from billing import clawbacks, commitments, invoicing, outlook, programmes
from billing.models import BudgetPeriod, Programme
from tests.billing import programmes_world, world

TODAY, LAST = date(2020, 6, 1), date(2020, 12, 31)


@pytest.mark.parametrize(
    ("left_minor", "grown_minor", "expected"),
    [
        (2_800, 100, None),  # 784 days
        (2_800, 2_800, date(2020, 6, 29)),  # 28 days
        (2_800, 2_799, date(2020, 6, 30)),  # 28.01 days: the 29th is the first on which nothing is left
        (1, 1_000_000, date(2020, 6, 2)),
        (213, 28, LAST),  # 213 days
        (214, 28, None),
        (0, 100, TODAY),
        (100, 0, None),
        (100, -50, None),
    ],
)
def test_the_first_day_on_which_nothing_is_left(left_minor, grown_minor, expected):
    found = outlook.exhausted_on(left_minor=left_minor, grown_minor=grown_minor, today=TODAY, last_date=LAST)
    assert found == expected


def used(programme, since_at, until_at):
    return outlook.grown(programmes=[programme.pk], since_at=since_at, until_at=until_at)


def taken(programme):
    return sum(programmes_world.counts(programme)[1:])


@pytest.mark.django_db
def test_what_grew_is_what_was_committed_and_redeemed_less_what_came_back():
    """10 GPU-hours at 8.00: 80.00, of which 30 % are 24.00."""
    issuer = world.issuer()
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    programme = programmes_world.programme(issuer, budget_minor=10_000)
    grant = programmes_world.grant(programme, account)
    day = timedelta(days=1)
    programmes_world.commit(grant, account, {"2020-05": 1_000, "2020-06": 500}, at=world.MAY + day)
    commitments.release(grant=grant, source="r:1", month="2020-06", at=world.MAY + 2 * day, actor="test")
    programmes_world.commit(grant, account, {"2020-06": 700}, "r:2", at=world.MAY + 3 * day)
    assert used(programme, world.MAY, world.JUNE - day) == {
        (programme.pk, "2020-05"): 1_000,
        (programme.pk, "2020-06"): 700,
    }
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    assert used(programme, world.JUNE, world.JUNE) == {(programme.pk, "2020-05"): 1_400}
    clawbacks.claw_back(invoice=invoice, credited={1: 4_000}, source="c", at=world.JUNE + day, actor="test")
    assert used(programme, world.MAY, world.JULY) == {(programme.pk, "2020-05"): 1_200, (programme.pk, "2020-06"): 700}
    assert taken(programme) == 1_900
    assert used(programme, world.JULY, world.JULY) == {}


@pytest.mark.django_db
def test_the_outlook_is_of_the_longest_budget_that_holds_today(django_assert_num_queries):
    issuer = world.issuer()
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    programme = programmes_world.programme(issuer, budget_minor=10_000)
    others = [programmes_world.programme(issuer, f"other-{number}") for number in range(3)]
    programmes.set_budget(
        programme=programme, code="q2", from_date=date(2020, 4, 1), until_date=date(2020, 6, 30), budget_minor=5_000
    )
    bare = programmes.draft(issuer=issuer, code="bare", name="Bare", terms={}, at=world.MAY, actor="test")
    grant = programmes_world.grant(programme, account)
    at = datetime.fromisoformat("2020-05-20T12:00:00+08:00")
    programmes_world.commit(grant, account, {"2020-05": 1_000, "2020-07": 1_000}, at=at - timedelta(days=3))
    every = list(Programme.objects.select_related("issuer"))
    with django_assert_num_queries(5):
        found = outlook.of(programmes=every, at=at)
    seen = found[programme.pk]
    assert (seen.budget.code, seen.left_minor, seen.grown_minor) == ("all", 8_000, 2_000)
    # 2,000 in 28 days: 8,000 in 112, to the 9th of September
    assert seen.exhausted_on == date(2020, 9, 9)
    assert found[others[0].pk].exhausted_on is None
    assert bare.pk not in found
    quarter = outlook.of_budget(
        budget=BudgetPeriod.objects.get(code="q2"),
        used=used(programme, at - timedelta(days=28), at),
        today=date(2020, 5, 20),
    )
    # of its months 1,000 in 28 days, and 4,000 left: 112 days, beyond its last day
    assert (quarter.left_minor, quarter.grown_minor, quarter.exhausted_on) == (4_000, 1_000, None)
