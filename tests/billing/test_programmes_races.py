"""What is decided on a programme while firms take of it."""

import threading

from django.db import transaction

from billing import claims, invoicing, programmes
from billing.models import Claim, Programme
from tests.billing import programmes_world, world
from tests.billing.waiting import PATIENCE_SECONDS, is_someone_waiting_for_a_lock, wait_for


def test_who_closes_a_programme_while_a_firm_commits_of_it_waits_and_is_refused(fresh_database):
    account = world.account(world.issuer(), "B00")
    programme = programmes_world.programme(account.issuer)
    grant = programmes_world.grant(programme, account)
    committed = threading.Event()

    def commit():
        with transaction.atomic():
            programmes_world.commit(grant, account, {"2020-05": 400})
            committed.set()
            wait_for(is_someone_waiting_for_a_lock)

    def close():
        assert committed.wait(PATIENCE_SECONDS)
        programmes.close(programme=programme, reason="done", at=world.MAY, actor="staff")

    _, refusal = fresh_database.at_once(commit, close)
    assert isinstance(refusal, programmes.ProgrammeStateError)
    assert (Programme.objects.get().state, programmes_world.counts(programme)[1]) == ("open", 400)


def test_a_claim_that_is_made_four_times_at_once_is_one(fresh_database):
    account = world.account(world.issuer(), "B00")
    programme = programmes_world.programme(account.issuer, mode="reimbursement")
    programmes_world.grant(programme, account)
    world.read(world.contract(account, world.publish().tariff), *world.hours(100))
    invoicing.issue(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")
    facts = {"key": "1", "from_month": "2020-05", "until_month": "2020-05", "at": world.JUNE, "actor": "user:1"}

    def claim():
        return claims.claim(programme=programme, claimant=account.party, **facts)

    made = fresh_database.at_once(*[claim] * 4)
    assert {each.pk for each in made} == {Claim.objects.get().pk}
    assert made[0].amount_minor == 24_000
