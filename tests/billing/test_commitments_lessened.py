"""Commitments of several grants at once, and what is kept of them when less is to be used."""

from datetime import timedelta

import pytest

from billing import budgets, commitments
from billing.models import Commitment, FirmCap
from tests.billing import programmes_world, world

pytestmark = pytest.mark.django_db
EXPIRES = world.JUNE + timedelta(days=60)
FACTS = {"at": world.MAY, "actor": "test"}


@pytest.fixture
def account(db):
    return world.account(world.issuer(), "A")


@pytest.fixture
def grants(account):
    """Of two programmes with budgets of 1,000.00, caps of 500.00 a firm and month."""
    made = [
        programmes_world.programme(account.issuer, code, budget_minor=100_000, cap_firm_month_minor=50_000)
        for code in "ab"
    ]
    return [programmes_world.grant(each, account) for each in made]


def take(account, wanted, source="r:1"):
    return commitments.commit_all(wanted=wanted, account=account, source=source, expires_at=EXPIRES, **FACTS)


def lessen(sources, *grants):
    return commitments.lessen(sources=sources, grants=[grant.pk for grant in grants], **FACTS)


def rows(**which):
    listed = Commitment.objects.filter(**which).order_by("pk")
    return list(listed.values_list("source", "month", "state", "amount_minor", "released_minor"))


def test_several_grants_are_committed_together_and_told_again_take_no_more(account, grants):
    wanted = {grants[1].pk: {"2020-05": 300}, grants[0].pk: {"2020-06": 200, "2020-05": 60_000}}
    made = take(account, wanted)
    assert [(each.grant_id, each.month, each.amount_minor) for each in made] == [
        (grants[0].pk, "2020-05", 50_000),
        (grants[0].pk, "2020-06", 200),
        (grants[1].pk, "2020-05", 300),
    ]
    assert take(account, wanted) == made
    with pytest.raises(commitments.CommitmentDiffersError):
        take(account, {grants[0].pk: {"2020-05": 1}})
    assert [programmes_world.counts(each.programme) for each in grants] == [(100_000, 50_200, 0), (100_000, 300, 0)]


def test_one_that_may_not_be_taken_takes_none(account, grants):
    stranger = world.account(account.issuer, "B", 101)
    theirs = programmes_world.grant(grants[0].programme, stranger)
    with pytest.raises(commitments.NotGrantedError):
        take(account, {grants[1].pk: {"2020-05": 300}, theirs.pk: {"2020-05": 300}})
    assert rows() == []
    assert [programmes_world.counts(each.programme)[1] for each in grants] == [0, 0]


def test_what_is_kept_stands_under_the_source_with_a_number_and_the_rest_goes_back(account, grants):
    first, second = grants
    take(account, {first.pk: {"2020-05": 300, "2020-06": 200}, second.pk: {"2020-05": 100}})
    kept = {"r:1": {(first.pk, "2020-05"): 250, (first.pk, "2020-06"): 900}}  # nothing of the second
    assert [lessen(kept, first, second) for _ in range(2)] == [150, 0]
    assert rows(state="open") == [("r:1", "2020-06", "open", 200, 0), ("r:1~1", "2020-05", "open", 250, 0)]
    assert rows(state="released") == [
        ("r:1", "2020-05", "released", 300, 300),
        ("r:1", "2020-05", "released", 100, 100),
    ]
    assert lessen({"r:1": {(first.pk, "2020-05"): 10}}, first) == 440
    assert rows(state="open") == [("r:1~2", "2020-05", "open", 10, 0)]
    assert Commitment.objects.get(state="open").expires_at == EXPIRES
    assert programmes_world.counts(first.programme) == (100_000, 10, 0)
    assert lessen({"r:1": {}}, first, second) == 10
    assert [programmes_world.counts(each.programme)[1] for each in grants] == [0, 0]
    assert set(FirmCap.objects.values_list("committed_minor", flat=True)) == {0}
    programmes_world.check_ties()


@pytest.mark.parametrize("other", ["r:11", "r:1:2", "r:2", "r"])
def test_other_sources_and_other_grants_are_left(account, grants, other):
    first, second = grants
    take(account, {first.pk: {"2020-05": 300}}, other)
    take(account, {first.pk: {"2020-05": 300}, second.pk: {"2020-05": 100}})
    assert lessen({"r:1": {}}, first) == 300
    assert rows(state="open") == [(other, "2020-05", "open", 300, 0), ("r:1", "2020-05", "open", 100, 0)]


def test_it_is_lessened_also_when_the_programme_is_paused_and_never_grows(account, grants):
    first, _ = grants
    take(account, {first.pk: {"2020-05": 300}})
    type(first.programme).objects.filter(pk=first.programme_id).update(state="paused")
    assert lessen({"r:1": {(first.pk, "2020-05"): 200}}, first) == 100
    assert lessen({"r:1": {(first.pk, "2020-05"): 300}}, first) == 0
    assert rows(state="open") == [("r:1~1", "2020-05", "open", 200, 0)]


def test_an_ended_one_is_left_as_it_is(account, grants):
    first, _ = grants
    take(account, {first.pk: {"2020-05": 300}})
    commitments.expire(at=EXPIRES, actor="task")
    assert lessen({"r:1": {(first.pk, "2020-05"): 200}}, first) == 0
    assert rows() == [("r:1", "2020-05", "expired", 300, 300)]


def test_what_is_only_promised_counts_in_what_was_read_and_not_in_the_database(account, grants):
    programme = grants[0].programme
    facts = {"programmes": [programme], "credit_code": account.party.credit_code, "months": ["2020-05"]}
    counters = budgets.read(**facts)
    counters.count(programme_id=programme.pk, month="2020-05", amount_minor=300)
    assert counters.left(programme.pk, "2020-05") == (99_700, 49_700)
    assert budgets.read(**facts).left(programme.pk, "2020-05") == (100_000, 50_000)
