"""A programme from draft to closed, who is granted it, and what its budget and caps hold against all who ask at once."""

import random
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from billing import budgets, commitments, invoicing, programmes
from billing.integrity import constraint_name
from billing.models import BudgetPeriod, Commitment, FirmCap, Grant, PartyFact, Programme, ProgrammeChange
from billing.rating.eligibility import Fact, check
from tests.billing import programmes_world, world


@pytest.fixture
def issuer(db):
    return world.issuer()


@pytest.fixture
def account(issuer):
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    return account


commit = programmes_world.commit


# Opening


def test_a_programme_of_which_something_is_not_known_does_not_open_and_says_all_of_it(issuer):
    programme = programmes.draft(issuer=issuer, code="x", name="X", terms={}, at=world.MAY, actor="staff")
    with pytest.raises(programmes.ProgrammeNotWholeError) as refused:
        programmes.open_(programme=programme, at=world.MAY, actor="staff")
    assert str(refused.value) == (
        "programme x: mode is not known, funder is not known, from_date is not known, until_date is not known,"
        " bars_related_parties is not known, one_side_claims is not known, percent or unit_amount is not known, the VAT"
        " treatment is not signed off: expected before it opens"
    )


def test_a_programme_opens_with_a_budget_for_each_month(issuer):
    with pytest.raises(programmes.ProgrammeNotWholeError, match="no budget holds 2020-01"):
        programmes_world.programme(issuer, budget_minor=None)


def test_the_terms_of_a_programme_that_was_open_stay(issuer):
    programmes_world.programme(issuer)
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        Programme.objects.update(percent=Decimal(50))
    assert constraint_name(refused.value) == "programme_terms_stay"


def test_each_change_of_state_is_kept_with_its_reason(issuer):
    programme = programmes_world.programme(issuer)
    programmes.pause(programme=programme, reason="under review", at=world.MAY, actor="staff")
    programmes.open_(programme=programme, at=world.MAY, actor="staff")
    programmes.close(programme=programme, reason="its year is over", at=world.MAY, actor="staff")
    assert list(ProgrammeChange.objects.values_list("state", "reason")) == [
        ("open", ""),
        ("paused", "under review"),
        ("open", ""),
        ("closed", "its year is over"),
    ]
    with pytest.raises(programmes.ProgrammeStateError, match="is closed: expected draft or paused"):
        programmes.open_(programme=programme, at=world.MAY, actor="staff")


def test_a_programme_with_open_commitments_does_not_close(issuer, account):
    programme = programmes_world.programme(issuer)
    grant = programmes_world.grant(programme, account)
    commit(grant, account, {"2020-05": 100})
    with pytest.raises(programmes.ProgrammeStateError, match="has open commitments"):
        programmes.close(programme=programme, reason="over", at=world.MAY, actor="staff")


def test_a_budget_is_of_whole_months_and_never_less_than_what_is_taken_of_it(issuer, account):
    programme = programmes_world.programme(issuer)
    commit(programmes_world.grant(programme, account), account, {"2020-05": 100})
    facts = {"programme": programme, "from_date": date(2020, 1, 1), "until_date": date(2020, 12, 31)}
    assert programmes.set_budget(code="all", budget_minor=100, **facts).budget_minor == 100
    with pytest.raises(budgets.BudgetExceededError):
        programmes.set_budget(code="all", budget_minor=99, **facts)
    with pytest.raises(programmes.InvalidProgrammeError):
        programmes.set_budget(
            programme=programme, code="q", from_date=date(2020, 1, 2), until_date=date(2020, 3, 31), budget_minor=1
        )


def test_the_terms_of_a_draft_change_until_it_opens(issuer):
    programme = programmes.draft(issuer=issuer, code="x", name="X", terms={}, at=world.MAY, actor="staff")
    programmes.amend(programme=programme, terms={"name": "Y", "percent": Decimal(20), "kinds": ["energy"]})
    assert (programme.name, programme.percent, programme.kinds) == ("Y", Decimal(20), ["energy"])
    with pytest.raises(programmes.InvalidProgrammeError, match="eligibility has 'age'"):
        programmes.amend(programme=programme, terms={"eligibility": {"age": 3}})
    with pytest.raises(programmes.InvalidProgrammeError):
        programmes.amend(programme=programme, terms={"percent": Decimal(101)})
    opened = programmes_world.programme(issuer)
    with pytest.raises(programmes.TermsFrozenError, match="programme sme-30 is open: its terms stay"):
        programmes.amend(programme=opened, terms={"percent": Decimal(20)})
    assert (programme.percent, opened.percent) == (Decimal(20), Decimal(30))


def test_what_is_missing_is_told_by_what_it_is_of(issuer):
    programme = programmes.draft(
        issuer=issuer, code="x", name="X", terms={"mode": "tariff", "currency": "USD"}, at=world.MAY, actor="staff"
    )
    assert list(programmes.missing(programme=programme)) == [
        "funder",
        "from_date",
        "until_date",
        "bars_related_parties",
        "one_side_claims",
        "vat_treatment",
        "currency",
    ]
    assert programmes.missing(programme=programmes_world.programme(issuer)) == {}


# Grants

RULES = {"size_class": ["micro", "small"], "zone": ["lingang"], "most_years": 5}


def test_eligibility_is_a_function_of_dated_facts():
    facts = [
        Fact("size_class", "small", date(2018, 1, 1), None, True),
        Fact("size_class", "large", date(2020, 6, 1), None, True),
        Fact("zone", "lingang", date(2018, 1, 1), date(2020, 3, 31), True),
        Fact("founded_date", "2015-05-02", date(2018, 1, 1), None, True),
    ]
    told = [(each.rule, each.found, each.is_met) for each in check(RULES, facts, date(2020, 5, 1))]
    assert told == [("size_class", "small", True), ("zone", None, None), ("most_years", "2015-05-02", True)]
    told = [(each.rule, each.found, each.is_met) for each in check(RULES, facts, date(2020, 6, 1))]
    assert told == [("size_class", "large", False), ("zone", None, None), ("most_years", "2015-05-02", False)]


def test_a_fact_holds_until_the_day_before_it_ends_and_a_later_one_takes_its_place_for_good():
    facts = [
        Fact("zone", "lingang", date(2018, 1, 1), None, True),
        Fact("zone", "pudong", date(2019, 1, 1), date(2020, 5, 1), True),
    ]
    rules = {"zone": ["pudong"]}
    found = {day: check(rules, facts, date(2020, *day))[0].found for day in ((4, 30), (5, 1))}
    assert found == {(4, 30): "pudong", (5, 1): None}


def test_of_two_facts_of_one_day_a_verified_one_holds_and_else_the_last_told():
    first, second = (Fact("zone", name, date(2018, 1, 1), None, False) for name in ("one", "two"))
    seen = Fact("zone", "seen", date(2018, 1, 1), None, True)
    found = [
        check({"zone": ["x"]}, each, date(2020, 5, 1))[0].found for each in ([first, second], [seen, first, second])
    ]
    assert found == ["two", "seen"]


def fact(account, kind, value, verified=True):
    PartyFact.objects.create(
        party=account.party,
        kind=kind,
        value=value,
        from_date=date(2019, 1, 1),
        claimed_at=world.MAY,
        verified_at=world.MAY if verified else None,
        actor="test",
    )


def test_only_a_firm_whose_verified_facts_meet_each_rule_is_granted_it(issuer, account):
    programme = programmes_world.programme(issuer, eligibility=RULES)
    fact(account, "size_class", "small", verified=False)
    fact(account, "zone", "pudong")
    grant = programmes.apply(programme=programme, party=account.party, at=world.MAY, actor="user:1")
    assert grant == programmes.apply(programme=programme, party=account.party, at=world.MAY, actor="user:1")
    assert [each["is_met"] for each in grant.verdict] == [None, False, None]
    with pytest.raises(programmes.NotEligibleError) as refused:
        programmes.approve(grant=grant, at=world.MAY, actor="staff")
    assert str(refused.value) == (
        f"{account.party.credit_code} for sme-30: size_class is small: expected micro or small, verified; zone is pudong:"
        " expected lingang; most_years is not known: expected founded less than 5 years before 2020-05-01, verified"
    )
    programmes.reject(grant=grant, reason="registered in another zone", at=world.MAY, actor="staff")
    assert (grant.state, grant.reason, grant.decided_by) == ("rejected", "registered in another zone", "staff")
    with pytest.raises(programmes.GrantStateError):
        programmes.approve(grant=grant, at=world.MAY, actor="staff")


def test_the_facts_of_a_decided_grant_stay(issuer, account):
    fact(account, "size_class", "small")
    programmes_world.grant(programmes_world.programme(issuer, eligibility={"size_class": ["small"]}), account)
    assert Grant.objects.get().facts[0]["value"] == "small"
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        Grant.objects.update(facts=[])
    assert constraint_name(refused.value) == "grant_facts_stay"


def test_a_firm_has_one_grant_of_a_programme_at_a_time(issuer, account):
    programme = programmes_world.programme(issuer)
    grant = programmes_world.grant(programme, account)
    with pytest.raises(programmes.AlreadyGrantedError):
        programmes.apply(programme=programme, party=account.party, at=world.MAY, actor="test")
    programmes.suspend(grant=grant, reason="a question", at=world.MAY, actor="staff")
    programmes.resume(grant=grant, reason="answered", at=world.MAY, actor="staff")
    assert grant.state == "approved"
    with pytest.raises(programmes.InvalidProgrammeError, match="reason is empty"):
        programmes.suspend(grant=grant, reason=" ", at=world.MAY, actor="staff")


def test_an_application_is_withdrawn_once_and_made_again(issuer, account):
    programme = programmes_world.programme(issuer)
    facts = {"programme": programme, "party": account.party, "at": world.MAY, "actor": "user:1"}
    first = programmes.apply(statement="one", **facts)
    with pytest.raises(programmes.ApplicationDiffersError):
        programmes.apply(statement="two", **facts)
    for _ in range(2):
        programmes.withdraw(grant=first, at=world.JUNE, actor="user:1")
    assert (first.state, first.decided_at, first.decided_by) == ("withdrawn", world.JUNE, "user:1")
    with pytest.raises(programmes.GrantStateError, match="is withdrawn: expected applied"):
        programmes.approve(grant=first, at=world.JUNE, actor="staff")
    second = programmes.apply(statement="two", **facts)
    programmes.approve(grant=second, at=world.JUNE, actor="staff")
    with pytest.raises(programmes.GrantStateError, match="is approved: expected applied to become withdrawn"):
        programmes.withdraw(grant=second, at=world.JUNE, actor="user:1")
    assert [each.state for each in ProgrammeChange.objects.exclude(grant=None)] == [
        "applied",
        "withdrawn",
        "applied",
        "approved",
    ]


def test_sixteen_who_apply_at_once_for_a_firm_hand_in_one_application(fresh_database):
    issuer = world.issuer()
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    facts = {"programme": programmes_world.programme(issuer), "party": account.party, "at": world.MAY, "actor": "test"}
    made = fresh_database.at_once(*[lambda: programmes.apply(statement="one", **facts)] * 16)
    assert {each.pk for each in made} == {Grant.objects.get().pk}


# Commitments


def test_a_commitment_takes_the_least_of_wish_budget_caps_and_invoice_cap(issuer, account):
    programme = programmes_world.programme(
        issuer, budget_minor=1_000, cap_firm_month_minor=300, cap_firm_year_minor=500, cap_invoice_minor=250
    )
    grant = programmes_world.grant(programme, account)
    made = commit(grant, account, {"2020-05": 400, "2020-06": 100, "2020-07": 400})
    assert [(each.month, each.amount_minor) for each in made] == [("2020-05", 250), ("2020-06", 100), ("2020-07", 150)]
    assert commit(grant, account, {"2020-05": 400, "2020-06": 100, "2020-07": 400}) == made
    with pytest.raises(commitments.CommitmentDiffersError):
        commit(grant, account, {"2020-05": 401})
    assert commit(grant, account, {"2020-05": 400}, "r:2") == ()
    assert programmes_world.counts(programme) == (1_000, 500, 0)
    programmes_world.check_ties()


def test_a_release_gives_back_what_is_open_and_again_nothing(issuer, account):
    programme = programmes_world.programme(issuer, budget_minor=1_000)
    grant = programmes_world.grant(programme, account)
    commit(grant, account, {"2020-05": 400, "2020-06": 600})
    facts = {"grant": grant, "source": "r:1", "at": world.MAY, "actor": "test"}
    assert [
        commitments.release(month="2020-05", **facts),
        commitments.release(**facts),
        commitments.release(**facts),
    ] == [
        400,
        600,
        0,
    ]
    assert programmes_world.counts(programme) == (1_000, 0, 0)


def test_a_commitment_expires_by_itself(issuer, account):
    programme = programmes_world.programme(issuer)
    grant = programmes_world.grant(programme, account)
    commit(grant, account, {"2020-05": 400}, expires_at=world.JUNE)
    assert commitments.expire(at=world.JUNE - timedelta(seconds=1), actor="task") == 0
    assert [commitments.expire(at=world.JUNE, actor="task"), commitments.expire(at=world.JUNE, actor="task")] == [1, 0]
    assert Commitment.objects.get().state == "expired"
    assert programmes_world.counts(programme)[1] == 0


def test_nothing_is_committed_for_a_month_that_is_invoiced(issuer, account):
    programme = programmes_world.programme(issuer)
    grant = programmes_world.grant(programme, account)
    invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    assert [each.month for each in commit(grant, account, {"2020-05": 400, "2020-06": 400})] == ["2020-06"]


def test_nothing_is_committed_outside_of_grant_and_programme(issuer, account):
    programme = programmes_world.programme(issuer)
    grant = programmes_world.grant(programme, account, until_date=date(2020, 5, 31))
    with pytest.raises(commitments.NotGrantedError, match="month is 2020-06: expected from 2020-01-01 to 2020-05-31"):
        commit(grant, account, {"2020-06": 1})
    programmes.pause(programme=programme, reason="review", at=world.MAY, actor="staff")
    with pytest.raises(commitments.NotGrantedError, match="the programme paused"):
        commit(grant, account, {"2020-05": 1})


# Whoever asks the database


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE billing_budgetperiod SET redeemed_minor = 1001", "budget_not_exceeded"),
        ("UPDATE billing_budgetperiod SET committed_minor = -1", "budget_counts_not_negative"),
        ("UPDATE billing_budgetperiod SET until_date = '2020-06-30'", "budget_period_stays"),
        ("UPDATE billing_firmcap SET redeemed_minor = 301", "firm_cap_not_exceeded"),
        ("UPDATE billing_firmcap SET cap_minor = 1000", "firm_cap_stays"),
        ("UPDATE billing_commitment SET amount_minor = 1", "commitment_only_ends"),
        ("UPDATE billing_grant SET state = 'applied'", "grant_state_goes_on"),
        ("UPDATE billing_grant SET state = 'withdrawn'", "grant_state_goes_on"),
        ("UPDATE billing_grant SET statement = 'other'", "grant_facts_stay"),
        ("DELETE FROM billing_commitment", "commitment_kept"),
        ("TRUNCATE billing_budgetperiod", "budget_period_kept"),
        ("DELETE FROM billing_programmechange", "programme_change_append_only"),
        ("UPDATE billing_programmeshare SET share_minor = 0", "programme_share_append_only"),
        ("UPDATE billing_redemption SET amount_minor = 1", "redemption_stays"),
        ("DELETE FROM billing_redemption", "redemption_kept"),
        (
            (
                "INSERT INTO billing_firmcap (programme_id, credit_code, period, cap_minor, committed_minor, redeemed_minor)"
                " SELECT programme_id, credit_code, '2020-09', 10000, 0, 0 FROM billing_firmcap"
            ),
            "firm_cap_of_programme",
        ),
    ],
)
def test_the_database_refuses(issuer, account, statement, name):
    programme = programmes_world.programme(issuer, budget_minor=1_000, cap_firm_month_minor=300)
    grant = programmes_world.grant(programme, account)
    commit(grant, account, {"2020-06": 100})
    invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    with pytest.raises(IntegrityError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert constraint_name(refused.value) == name


# All at once


def test_sixteen_threads_never_overspend_a_nearly_empty_budget_and_lose_nothing(fresh_database):
    issuer = world.issuer()
    accounts = world.buyers(issuer, world.publish().tariff, 4, used=40)
    programme = programmes_world.programme(issuer, budget_minor=40_000, cap_firm_month_minor=15_000)
    programmes.set_budget(
        programme=programme, code="q2", from_date=date(2020, 4, 1), until_date=date(2020, 6, 30), budget_minor=37_777
    )
    grants = [programmes_world.grant(programme, each) for each in accounts]
    period = world.may(issuer)

    def worker(number):
        def run():
            chance = random.Random(number)
            done = []
            for step in range(12):
                place = chance.randrange(4)
                facts = {"grant": grants[place], "source": f"r:{number}:{step}", "at": world.MAY, "actor": f"t{number}"}
                made = commitments.commit(
                    account=accounts[place],
                    wanted={"2020-05": chance.randrange(1, 4_000), "2020-06": chance.randrange(1, 2_000)},
                    expires_at=world.JUNE if chance.random() < 0.3 else world.JULY,
                    **facts,
                )
                done.append(sum(each.amount_minor for each in made))
                if chance.random() < 0.5:
                    done.append(-commitments.release(**facts))
                if step == 6 + number % 4:
                    invoicing.issue(account=accounts[number % 4], period=period, at=world.JUNE, actor=f"t{number}")
                if chance.random() < 0.1:
                    commitments.expire(at=world.JUNE, actor=f"t{number}")
            return done

        return run

    results = fresh_database.at_once(*map(worker, range(16)))
    assert not [each for each in results if isinstance(each, Exception)]
    programmes_world.check_ties()
    assert sum(map(sum, results)) >= 0
    q2 = BudgetPeriod.objects.get(code="q2")
    assert q2.redeemed_minor > 0
    assert FirmCap.objects.filter(redeemed_minor__gt=0).count() == 4
    invoicing.close_period(period=period, at=world.JUNE, actor="test")
    for grant in grants:
        for source in set(grant.commitments.filter(state="open").values_list("source", flat=True)):
            commitments.release(grant=grant, source=source, at=world.JUNE, actor="test")
    programmes_world.check_ties()
    assert {each.committed_minor for each in BudgetPeriod.objects.all()} == {0}


def test_two_who_close_the_month_at_once_serve_firms_in_their_order(fresh_database):
    issuer = world.issuer()
    accounts = world.buyers(issuer, world.publish().tariff, 12)
    programme = programmes_world.programme(issuer, budget_minor=10_000)
    for each in accounts:
        programmes_world.grant(programme, each)
    period = world.may(issuer)
    closed = fresh_database.at_once(*[lambda: world.close(period)] * 3)
    assert not [each for each in closed if isinstance(each, Exception)]
    left, expected = 10_000, []
    for hours in range(10, 22):  # B00 used 10 GPU-hours at 8.00, of which 30 % is 24.00; each next one an hour more
        expected.append(min(hours * 240, left))
        left -= expected[-1]
    shares = programme.shares.order_by("invoice__account__code").values_list("share_minor", flat=True)
    assert list(shares) == expected
    programmes_world.check_ties()


def test_the_same_commitment_asked_for_sixteen_times_at_once_is_taken_once(fresh_database):
    issuer = world.issuer()
    (account,) = world.buyers(issuer, world.publish().tariff, 1)
    programme = programmes_world.programme(issuer, budget_minor=1_000)
    grant = programmes_world.grant(programme, account)
    made = fresh_database.at_once(*[lambda: commit(grant, account, {"2020-05": 400})] * 16)
    assert len({each[0].pk for each in made}) == 1
    assert programmes_world.counts(programme) == (1_000, 400, 0)
    assert isinstance(made[0][0].created_at, datetime)
