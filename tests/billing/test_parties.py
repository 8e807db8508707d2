from datetime import datetime

import pytest

from billing import parties
from billing.integrity import NaiveInstantError
from billing.models import Party
from tests.billing import world

pytestmark = pytest.mark.django_db


def register(**changes):
    facts = {"legal_name": "甲公司", "credit_code": world.credit_code(7), "address": "上海", "at": world.MAY}
    return parties.register(**(facts | changes))


def test_a_party_registered_again_with_the_same_facts_is_the_one_that_is_there():
    first = register()
    assert register(at=world.JUNE) == first
    assert Party.objects.get() == first
    assert first.created_at == world.MAY


def test_a_known_credit_code_with_another_name_is_refused_with_both_names():
    register()
    with pytest.raises(parties.PartyDiffersError, match="legal_name is 甲公司, not 乙公司"):
        register(legal_name="乙公司")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"credit_code": "91310115MA0000007X"}, "credit_code: 91310115MA0000007X is no unified social credit code"),
        ({"credit_code": ""}, "credit_code:  is no unified social credit code"),
        ({"legal_name": " "}, "legal_name is ' ': expected the registered name"),
    ],
)
def test_a_malformed_fact_of_a_party_is_refused(changes, message):
    with pytest.raises(parties.InvalidPartyError, match=message):
        register(**changes)
    assert not Party.objects.exists()


def test_a_naive_instant_is_refused():
    with pytest.raises(NaiveInstantError, match="at is 2020-05-01T00:00:00: expected an instant with its UTC offset"):
        register(at=datetime(2020, 5, 1))  # noqa: DTZ001  - the point of the test


def test_an_issuer_appointed_again_is_the_one_that_is_there_and_keeps_its_currency():
    first = world.issuer()
    assert world.issuer() == first
    with pytest.raises(parties.IssuerDiffersError, match="currency is CNY, not USD"):
        world.issuer(currency="USD")


def test_two_issuers_share_neither_number_prefix_nor_party():
    world.issuer()
    with pytest.raises(parties.IssuerDiffersError, match="number_prefix is LG: expected one that no other"):
        world.issuer("sz", 3, number_prefix="LG")
    with pytest.raises(parties.IssuerDiffersError, match="party is 运营商lg: expected one that is no issuer"):
        parties.appoint_issuer(
            code="other", party=world.party(1, "运营商lg"), timezone=world.CN, currency="CNY", number_prefix="OT"
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timezone": "Asia/Nowhere"}, "timezone is 'Asia/Nowhere': expected an IANA time zone, such as Asia/Shanghai"),
        ({"timezone": "../etc"}, "timezone is '../etc': expected an IANA time zone"),
        ({"currency": "yuan"}, "currency is 'yuan': expected three capital letters"),
        ({"number_prefix": "L G"}, "number_prefix is 'L G': expected 1 to 10 capital letters and digits"),
    ],
)
def test_a_malformed_fact_of_an_issuer_is_refused(changes, message):
    with pytest.raises(parties.InvalidPartyError, match=message):
        world.issuer(**changes)


def test_an_account_opened_again_is_the_one_that_is_there_and_keeps_its_party():
    issuer = world.issuer()
    first = world.account(issuer, "B")
    assert world.account(issuer, "B") == first
    with pytest.raises(parties.AccountDiffersError, match="party is 公司100, not 公司101"):
        world.account(issuer, "B", 101)


def test_two_issuers_have_accounts_of_one_code():
    assert world.account(world.issuer(), "B") != world.account(world.issuer("sz", 3), "B")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": " B"}, "code is ' B': expected some text without spaces around it"),
        ({"language": "fr"}, "language is 'fr': expected zh-hans or en"),
        ({"payment_term_days": -1}, "payment_term_days is -1: expected 0 to 366"),
    ],
)
def test_a_malformed_fact_of_an_account_is_refused(changes, message):
    facts = {"issuer": world.issuer(), "code": "B", "party": world.party(100), "at": world.MAY}
    with pytest.raises(parties.InvalidPartyError, match=message):
        parties.open_account(**(facts | changes))
