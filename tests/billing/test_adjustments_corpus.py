"""Any events and corrections after issue: invoice and notes are what one invoice would have been, under budget and caps."""

from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import charging, invoicing
from billing.models import Programme
from tests.billing import programmes_world, world
from tests.billing.corrections_world import HOUR, check, correct, find, issue, retract, send

CHARGES = [
    world.energy(
        prices={
            "peak": [{"up_to": "40", "price": "5.41"}, {"up_to": "90", "price": "5.13"}, {"price": "4.87"}],
            "valley": [{"up_to": "30", "price": "1.83"}, {"price": "1.71"}],
        },
        tier_scope="per_period",
    ),
    {"kind": "demand", "code": "DM", "meter": "gpu_hours", "prices": {"all": [{"price": "30.07"}]}, "by": "month"},
    {"kind": "rider", "code": "RD", "basis": "per_unit", "of": ["EN"], "value": "0.123"},
    {"kind": "standing", "code": "SC", "amount": "3.33", "per": "day"},
    {"kind": "minimum", "code": "MIN", "amount": "300.00", "counts": ["EN", "SC"]},
    {"kind": "credit", "code": "CR", "basis": "percent", "of": ["EN"], "value": "7.5"},
]
HOURS = {"weekday": [["valley"] * 8 + ["peak"] * 16], "weekend": [["valley"] * 24]}
STEP = st.tuples(
    st.sampled_from(["late", "late", "retract", "amend", "correct"]),
    st.integers(0, 30 * 24 + 20),  # from which hour of May on; the last reach into June
    st.integers(1, 20),  # hours
    st.integers(1, 9),  # GPUs
    st.integers(0, 10**6),  # which event is corrected
)
TERMS = st.fixed_dictionaries(
    {
        "percent": st.sampled_from([Decimal(30), Decimal("33.33"), Decimal(100)]),
        "budget_minor": st.integers(1, 200_000),
        "cap_invoice_minor": st.none() | st.integers(1, 60_000),
        "cap_firm_month_minor": st.none() | st.integers(1, 60_000),
        "kinds": st.sampled_from([[], ["energy"], ["energy", "credit"]]),
        "vat_treatment": st.sampled_from(list(Programme.VatTreatment)),
        "mode": st.sampled_from([Programme.Mode.VOUCHER, Programme.Mode.VOUCHER, Programme.Mode.REIMBURSEMENT]),
        "stacking_group": st.sampled_from(["", "city"]),
    }
)


class Month:
    """A buyer's May, first issued and then corrected. The events in force stand in `sent`."""

    def __init__(self, terms, *, included):
        self.issuer = world.issuer()
        self.account = world.account(self.issuer, "B00")
        tax = {"category": "S", "rate": "0.06", "price_includes_tax": included}
        facts = {"periods": ["peak", "valley"], "schedule": HOURS, "tax": tax}
        self.contract = world.contract(
            self.account, world.publish(*CHARGES, **facts).tariff, fee_percent=Decimal("7.7")
        )
        for number, each in enumerate(terms):
            made = programmes_world.programme(
                self.issuer, f"p{number}", funder=programmes_world.funder(50 + number), priority=number, **each
            )
            programmes_world.grant(made, self.account)
        self.sent, self.number, self.at = [], 0, world.JUNE + HOUR

    def take(self, kind, hour, hours, gpus, which, *, at=None):
        self.at += HOUR
        self.number += 1
        at, name = at or self.at, f"e{self.number}"
        target = self.sent[which % len(self.sent)] if self.sent else None
        facts = {"hours": hours, "gpus": gpus, "at": at}
        if kind == "late" or target is None:
            send(self.contract, name, world.MAY + hour * HOUR, **facts)
            self.sent.append(name)
        elif kind == "retract":
            retract(self.contract, target, at=at)
            self.sent.remove(target)
        else:
            send(self.contract, name, world.MAY + hour * HOUR, amends=target, **facts)
            self.sent[self.sent.index(target)] = name


def told(charges):
    return [(each.line, each.amount_minor) for each in charges.lines], charges.taxes, charges.payable_minor


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(STEP, max_size=3),
    steps=st.lists(STEP, min_size=1, max_size=8),
    terms=st.lists(TERMS, max_size=2),
    included=st.booleans(),
)
def any_month(before, steps, terms, included):
    with transaction.atomic():
        month = Month(terms, included=included)
        for _, *facts in before:
            month.take("late", *facts, at=world.JUNE - HOUR)
        invoice = issue(month.account)
        for kind, *facts in steps:
            if kind != "correct":
                month.take(kind, *facts)
            elif find(invoice, at=month.at) is not None:
                correct(invoice, at=month.at)
                check(invoice)
        if find(invoice, at=month.at) is not None:
            correct(invoice, at=month.at)
        check(invoice)
        assert find(invoice, at=month.at) is None
        june = invoicing.open_period(issuer=month.issuer, code="2020-06")
        preview = charging.charges(account=month.account, period=june)
        at = world.JULY + timedelta(days=9)
        draft = invoicing.draft(account=month.account, period=june, at=at, actor="test")
        issued = invoicing.issue(account=month.account, period=june, at=at, actor="test")
        assert told(preview) == told(charging.charges(account=month.account, period=june))
        assert draft.payable_minor == issued.payable_minor == preview.payable_minor
        check(issued)
        transaction.set_rollback(True)


def test_invoice_and_notes_are_what_one_invoice_of_the_right_readings_would_have_been(db):
    any_month()
