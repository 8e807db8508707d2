"""What a programme has promised and paid, by hand; what is paid twice, and what would be."""

from datetime import date

import pytest

from billing import clawbacks, invoicing, parties, programme_figures, programmes
from billing.models import BudgetPeriod, Contract
from billing.programme_figures import Group, Month
from tests.billing import programmes_world, world

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer():
    return world.issuer()


def fact(party, kind, value, *, verified=True, from_date=date(2019, 1, 1)):
    made = parties.claim_fact(party=party, kind=kind, value=value, from_date=from_date, at=world.MAY, actor="test")
    if verified:
        parties.verify_fact(fact=made, at=world.MAY, actor="staff")


def test_a_budget_by_month_of_use(issuer):
    """10 GPU-hours at 8.00 are 80.00, of which 30 % are 24.00; 40.00 of the line are credited, of which 12.00 go back."""
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    programme = programmes_world.programme(issuer, budget_minor=10_000)
    grant = programmes_world.grant(programme, account)
    programmes_world.commit(grant, account, {"2020-06": 500, "2020-07": 700})
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    clawbacks.claw_back(invoice=invoice, credited={1: 4_000}, source="c", at=world.JUNE, actor="test")
    budget = BudgetPeriod.objects.get()
    months = programme_figures.by_month(budgets=[budget])[budget.pk]
    assert [month.code for month in months] == [f"2020-{number:02}" for number in range(1, 13)]
    assert months[3:7] == [
        Month("2020-04", date(2020, 4, 30), 0, 0),
        Month("2020-05", date(2020, 5, 31), 0, 1_200),
        Month("2020-06", date(2020, 6, 30), 500, 0),
        Month("2020-07", date(2020, 7, 31), 700, 0),
    ]
    assert sum(month.committed_minor + month.redeemed_minor for month in months) == sum(
        programmes_world.counts(programme)[1:]
    )


def test_several_budgets_by_month_of_use_take_no_more_queries(issuer, django_assert_num_queries):
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    programme = programmes_world.programme(issuer)
    for number, (first, last) in enumerate((((2020, 4, 1), (2020, 6, 30)), ((2020, 7, 1), (2020, 9, 30))), 2):
        days = {"from_date": date(*first), "until_date": date(*last)}
        programmes.set_budget(programme=programme, code=f"q{number}", **days, budget_minor=5_000)
    grant = programmes_world.grant(programme, account)
    programmes_world.commit(grant, account, {"2020-06": 500, "2020-07": 700})
    budgets = list(BudgetPeriod.objects.all())
    with django_assert_num_queries(2):
        found = programme_figures.by_month(budgets=budgets)
    told = {
        budget.code: {month.code: month.committed_minor for month in found[budget.pk] if month.committed_minor}
        for budget in budgets
    }
    assert told == {"all": {"2020-06": 500, "2020-07": 700}, "q2": {"2020-06": 500}, "q3": {"2020-07": 700}}
    assert [month.code for month in found[BudgetPeriod.objects.get(code="q3").pk]] == ["2020-07", "2020-08", "2020-09"]


def test_firms_by_what_staff_verified_of_them(issuer, django_assert_num_queries):
    """30 % of 80.00, 88.00 and 96.00: 24.00, 26.40 and 28.80."""
    accounts = world.buyers(issuer, world.publish().tariff, 4)
    programme = programmes_world.programme(issuer)
    for account in accounts[:3]:
        programmes_world.grant(programme, account)
        invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    programmes_world.commit(programme.grants.first(), accounts[0], {"2020-06": 300})
    fact(accounts[0].party, "size_class", "small")
    fact(accounts[1].party, "size_class", "small")
    fact(accounts[1].party, "size_class", "large", from_date=date(2020, 1, 1))
    fact(accounts[2].party, "size_class", "small", verified=False)
    fact(accounts[3].party, "size_class", "micro")
    with django_assert_num_queries(4):
        firms = programme_figures.by_firm(programme=programme)
        groups = programme_figures.by_fact(firms=firms, kind="size_class", on_date=date(2020, 6, 1))
    assert groups == [
        Group("large", 1, 0, 2_640),
        Group("small", 1, 300, 2_400),
        Group(None, 1, 0, 2_880),
    ]


def test_lines_that_two_programmes_pay(issuer, django_assert_num_queries):
    accounts = world.buyers(issuer, world.publish().tariff, 2)
    for code in ("one", "two"):
        programme = programmes_world.programme(issuer, code)
        programmes_world.grant(programme, accounts[0])
    programmes_world.grant(programme, accounts[1])
    for account in accounts:
        invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    with django_assert_num_queries(2):
        [(line, rows)] = programme_figures.paid_twice(most=10)
    assert line.invoice.account_id == accounts[0].pk
    # 30 % of 80.00, then 30 % of the 56.00 that are left
    assert [(row.share.programme.code, row.amount_minor) for row in rows] == [("one", 2_400), ("two", 1_680)]


def test_grants_of_one_stacking_group_at_the_same_time(issuer):
    accounts = world.buyers(issuer, world.publish().tariff, 3)
    one, two, other = (
        programmes_world.programme(issuer, code, stacking_group=group)
        for code, group in (("one", "city"), ("two", "city"), ("other", ""))
    )
    halves = {"from_date": date(2020, 1, 1), "until_date": date(2020, 6, 30)}, {"from_date": date(2020, 7, 1)}
    for programme in (one, two, other):
        programmes_world.grant(programme, accounts[0])
    programmes_world.grant(one, accounts[1], **halves[0])
    programmes_world.grant(two, accounts[1], **halves[1])
    programmes_world.grant(one, accounts[2])
    programmes_world.grant(other, accounts[2])
    found = programme_figures.stacked()
    assert [[(grant.party_id, grant.programme.code) for grant in alike] for alike in found] == [
        [(accounts[0].party_id, "one"), (accounts[0].party_id, "two")]
    ]


@pytest.mark.parametrize("one_side", [True, False])
def test_a_buyer_and_its_provider_that_both_have_what_one_side_may_claim(issuer, one_side):
    accounts = world.buyers(issuer, world.publish().tariff, 2)
    programme = programmes_world.programme(issuer, one_side_claims=one_side)
    programmes_world.grant(programme, accounts[0])
    supplier = parties.open_account(issuer=issuer, code="P", party=world.provider(), at=world.MAY)
    programmes_world.grant(programme, supplier)
    found = programme_figures.on_both_sides()
    expected = [("sme-30", Contract.objects.get(account=accounts[0]))] if one_side else []
    assert found == expected
