"""manage.py close_period: what it prints and what it refuses."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from billing.models import BillingPeriod, Invoice
from marketplace import jobs
from marketplace.models import Job
from tests.billing import world

AT = "2020-06-01T00:00:00+08:00"


def close(capsys, *arguments):
    call_command("close_period", *arguments)
    return capsys.readouterr()


@pytest.mark.django_db
def test_it_prints_each_invoice_and_the_state(capsys):
    world.buyers(world.issuer(), world.publish().tariff, 2, used=1000)
    assert close(capsys, "2020-05", "--at", AT).out == (
        "LG-2020-000001  B00  8,480.00 CNY\n"
        "LG-2020-000002  B01  8,488.48 CNY\n"
        "2020-05: 2 invoices issued, 0 there before; closed.\n"
    )
    assert close(capsys, "2020-05", "--at", AT).out == "2020-05: 0 invoices issued, 2 there before; closed.\n"


@pytest.mark.django_db
def test_who_can_not_be_invoiced_is_named_with_the_reason_and_the_period_stays_open(capsys):
    _, broken = world.buyers(world.issuer(), world.publish().tariff, 2)
    world.contract(broken, world.publish(code="USD", currency="USD").tariff, number="C-x")
    with pytest.raises(
        CommandError, match="1 accounts could not be invoiced; 2020-05 stays open: mend that and run this again"
    ):
        call_command("close_period", "2020-05", "--at", AT)
    printed = capsys.readouterr()
    assert "2020-05: 1 invoices issued, 0 there before; open.\n" in printed.out
    assert printed.err == (
        "B01: not invoiced: contract C-x: version 1 of tariff USD is in USD: expected CNY, the issuer's currency\n"
    )
    assert (Invoice.objects.get().account.code, BillingPeriod.objects.get().state) == ("B00", "open")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2020-13", "--at", AT], "period is '2020-13': expected a year and a month, such as 2020-05"),
        (
            ["2020-05", "--at", "2020-06-01T00:00:00"],
            "at is 2020-06-01T00:00:00: expected an instant with its UTC offset",
        ),
        (["2020-05", "--at", "2020-06-01"], "--at is 2020-06-01: expected an instant with its UTC offset, such as"),
        (["2020-05", "--at", "noon"], "--at is noon: expected an instant with its UTC offset, such as"),
        (
            ["2020-05", "--at", "2020-05-31T23:59:59+08:00"],
            "expected 2020-06-01T00:00:00.08:00 or later, the end of period",
        ),
        (
            ["2020-05", "--at", "9999-12-31T23:59:59-12:00"],
            "at is 9999-12-31T23:59:59-12:00: expected a year from 2000 to 2200",
        ),
        (
            ["2020-05", "--at", "0001-01-01T00:00:00+14:00"],
            "at is 0001-01-01T00:00:00.14:00: expected a year from 2000",
        ),
        (
            ["2020-05", "--at", AT],
            "period is 2020-05: expected a month in which a contract of issuer lg runs; there is none",
        ),
        (["2020-05", "--at", AT, "--issuer", "xx"], "--issuer is xx: expected one of lg"),
        (["2020-05", "--at", AT, "--processes", "0"], "--processes is 0: expected at least 1"),
        (["2020-05"], "the following arguments are required: --at"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments, message):
    world.issuer()
    with pytest.raises(CommandError, match=message):
        call_command("close_period", *arguments)
    assert not BillingPeriod.objects.exists()


@pytest.mark.django_db
def test_a_month_with_contracts_that_is_not_over_is_not_opened():
    world.buyers(world.issuer(), world.publish().tariff, 1)
    with pytest.raises(CommandError, match=r"expected 2020-06-01T00:00:00.08:00 or later, the end"):
        call_command("close_period", "2020-05", "--at", "2020-05-31T23:59:59+08:00")
    assert not BillingPeriod.objects.exists()


@pytest.mark.django_db
def test_a_period_that_was_opened_is_closed_though_no_contract_runs_in_it(capsys):
    period = world.may(world.issuer())
    assert close(capsys, "2020-05", "--at", AT).out == "2020-05: 0 invoices issued, 0 there before; closed.\n"
    period.refresh_from_db()
    assert period.state == "closed"


@pytest.mark.django_db
def test_the_issuer_must_be_named_when_there_is_not_just_one(capsys):
    with pytest.raises(CommandError, match="--issuer is not given: expected an issuer, but there is none yet"):
        call_command("close_period", "2020-05", "--at", AT)
    world.issuer()
    other = world.issuer("sz", 3)
    world.contract(world.account(other, "B"), world.publish().tariff)
    with pytest.raises(CommandError, match="--issuer is not given: expected one of lg, sz"):
        call_command("close_period", "2020-05", "--at", AT)
    assert close(capsys, "2020-05", "--at", AT, "--issuer", "sz").out.endswith(
        "1 invoices issued, 0 there before; closed.\n"
    )
    assert BillingPeriod.objects.get().issuer.code == "sz"


def test_a_refusal_is_one_sentence_on_standard_error_and_no_traceback(fresh_database):
    world.issuer()
    done = fresh_database.manage("close_period", "2020-05", "--at", "2020-05-31")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "CommandError: --at is 2020-05-31: expected an instant with its UTC offset, such as 2020-06-01T00:00:00+08:00\n"
    )


@pytest.mark.django_db
def test_the_worker_closes_a_month_in_which_a_contract_runs_though_nobody_opened_it():
    world.buyers(world.issuer(), world.publish().tariff, 1)
    over_at = world.JUNE + timedelta(days=3)
    jobs.plan(at=over_at - timedelta(microseconds=1), auto_close_after_days=3)
    assert not BillingPeriod.objects.filter(code="2020-05").exists()
    for _ in range(2):
        jobs.plan(at=over_at, auto_close_after_days=3)
    jobs.plan(at=over_at, auto_close_after_days=None)
    assert list(Job.objects.filter(kind="close_period").values_list("key", "due_at")) == [("lg 2020-05", over_at)]
    assert list(BillingPeriod.objects.values_list("code", flat=True)) == ["2020-05"]
