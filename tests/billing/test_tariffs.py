from datetime import UTC, datetime

import pytest

from billing import invoicing, tariffs
from billing.models import Tariff, TariffVersion
from billing.rating.tariff import TariffError
from tests.billing import world

pytestmark = pytest.mark.django_db


def test_a_tariff_applies_from_local_midnight_of_its_first_day():
    version = world.publish()
    assert (version.version, version.effective_at) == (1, datetime(2020, 4, 30, 16, tzinfo=UTC))
    assert version.tariff.code == "T"
    assert version.document == world.document()


def test_the_same_document_again_is_the_version_that_is_there_whatever_the_order_of_its_keys():
    first = world.publish()
    document = dict(reversed(world.document().items()))
    assert tariffs.publish(document=document, at=world.JUNE, actor="another") == first
    assert TariffVersion.objects.count() == 1


def test_a_later_version_counts_on():
    world.publish()
    second = world.publish(world.energy("9.00"), effective=["2020-06-01", None])
    assert (second.version, second.effective_at) == (2, world.JUNE)


@pytest.mark.parametrize("day", ["2020-05-01", "2020-04-01"])
def test_a_version_from_the_same_day_or_an_earlier_one_is_refused(day):
    world.publish()
    with pytest.raises(
        tariffs.VersionTooEarlyError, match=rf"effective\[0\] is {day}.*expected a day after 2020-04-30"
    ):
        world.publish(world.energy("9.00"), effective=[day, None])


def test_a_version_within_an_invoiced_period_is_refused():
    issuer, tariff = world.issuer(), world.publish().tariff
    (account,) = world.buyers(issuer, tariff, 1)
    invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    with pytest.raises(tariffs.VersionTooEarlyError, match="period 2020-05 is invoiced under T"):
        world.publish(world.energy("9.00"), effective=["2020-05-31", None])
    assert world.publish(world.energy("9.00"), effective=["2020-06-01", None]).version == 2


def test_a_version_within_an_invoiced_period_is_refused_though_nothing_was_used_in_it():
    issuer, tariff = world.issuer(), world.publish().tariff
    account = world.account(issuer, "B")
    world.contract(account, tariff)
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    assert not invoice.lines.exists()
    with pytest.raises(tariffs.VersionTooEarlyError, match="period 2020-05 is invoiced under T"):
        world.publish(world.energy("9.00"), effective=["2020-05-31", None])


def test_a_version_within_a_period_that_is_invoiced_under_another_tariff_alone_is_published():
    issuer, tariff = world.issuer(), world.publish().tariff
    other = world.publish(code="O").tariff
    account = world.account(issuer, "B")
    world.contract(account, tariff)
    world.contract(account, other, number="C-later", start_at=world.JUNE)
    world.contract(account, other, number="C-before", start_at=world.MAY - world.INTERVAL, end_at=world.MAY)
    invoicing.issue(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    assert world.publish(world.energy("9.00"), code="O", effective=["2020-05-31", None]).version == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"currency": "yuan"}, r"currency is 'yuan': expected three capital letters of ISO 4217, such as CNY"),
        (
            {"charges": [world.energy("8,00")]},
            r"charges\[0\].prices.all\[0\].price is '8,00': expected a decimal in a string",
        ),
        ({"charges": [world.energy(8)]}, r"charges\[0\].prices.all\[0\].price is 8: expected a decimal in a string"),
        ({"color": "red"}, r"color is 'red': expected no such field"),
        (
            {"timezone": "Mars/Olympus"},
            r"timezone is 'Mars/Olympus': expected an IANA time zone, such as Asia/Shanghai",
        ),
    ],
)
def test_a_malformed_document_is_refused_with_path_value_and_expectation(changes, message):
    with pytest.raises(TariffError, match=message):
        world.publish(**changes)
    assert not TariffVersion.objects.exists()


def test_what_only_the_schema_refuses_is_refused_too(monkeypatch):
    monkeypatch.setattr(
        tariffs, "_validator", lambda: tariffs.Draft202012Validator({"properties": {"code": {"const": "U"}}})
    )
    with pytest.raises(TariffError, match="code is 'T': expected what the schema says: 'U' was expected"):
        world.publish()


def test_the_first_version_says_whose_the_tariff_is():
    owner = world.party(7, "供应商七")
    first = tariffs.publish(document=world.document(), at=world.MAY, actor="test", owner=owner)
    assert first.tariff.owner == owner
    later = world.document(effective=["2020-06-01", None])
    assert tariffs.publish(document=later, at=world.MAY, actor="test", owner=owner).version == 2
    assert world.publish(code="OURS").tariff.owner is None


@pytest.mark.parametrize("day", ["2020-05-01", "2020-06-01"])
def test_another_than_its_owner_publishes_no_version_of_a_tariff_not_even_the_same_one(day):
    owner, other = world.party(7, "供应商七"), world.party(8, "供应商八")
    tariffs.publish(document=world.document(), at=world.MAY, actor="test", owner=owner)
    document = world.document(effective=[day, None])
    with pytest.raises(
        tariffs.OwnerDiffersError, match="code is 'T': that tariff is another's: expected a code of 供应商八'"
    ):
        tariffs.publish(document=document, at=world.MAY, actor="test", owner=other)
    with pytest.raises(
        tariffs.OwnerDiffersError, match="that tariff is another's: expected a code of the operator's own"
    ):
        tariffs.publish(document=document, at=world.MAY, actor="test")
    assert TariffVersion.objects.count() == 1


def test_a_provider_publishes_no_version_of_the_operators_tariff():
    world.publish()
    with pytest.raises(tariffs.OwnerDiffersError, match="code is 'T': that tariff is another's"):
        tariffs.publish(document=world.document(), at=world.MAY, actor="test", owner=world.party(8))


@pytest.mark.parametrize(
    ("place", "effective", "day"),
    [
        (0, ["0001-01-01", None], "0001-01-01"),
        (0, ["1969-12-31", None], "1969-12-31"),
        (0, ["9999-12-31", None], "9999-12-31"),
        (1, ["2020-05-01", "3000-01-01"], "3000-01-01"),
    ],
)
def test_days_that_are_slips_are_refused_by_name(place, effective, day):
    """Midnight of the first one in Shanghai lies before the calendar begins."""
    with pytest.raises(TariffError) as refusal:
        world.publish(effective=effective)
    assert (refusal.value.path, refusal.value.value) == (f"effective[{place}]", day)
    assert refusal.value.expected == "a day of the years 1970 to 2999"
    assert not Tariff.objects.exists()
