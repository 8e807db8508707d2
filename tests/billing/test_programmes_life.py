"""The whole life of a programme in any order: invariants 6, 9 and 10 hold after every step, and nothing is lost."""

from datetime import date
from decimal import Decimal

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import claims, clawbacks, commitments, invoicing, programmes
from billing.models import BillingPeriod, Claim, Clawback, Commitment, Grant, Programme, Redemption
from tests.billing import programmes_world, world

MONTHS = ["2020-05", "2020-06"]
FIRMS = st.integers(0, 2)
MONTH = st.sampled_from(MONTHS)
AT = world.JULY


class Life(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()

    def teardown(self):
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    @initialize(
        budget=st.integers(1_000, 60_000),
        cap=st.none() | st.integers(500, 30_000),
        invoice_cap=st.none() | st.integers(500, 20_000),
        percent=st.integers(1, 100),
        treatment=st.sampled_from(list(Programme.VatTreatment)),
        mode=st.sampled_from([Programme.Mode.VOUCHER, Programme.Mode.REIMBURSEMENT]),
    )
    def found(self, budget, cap, invoice_cap, percent, treatment, mode):
        self.issuer = world.issuer()
        self.accounts = world.buyers(self.issuer, world.publish().tariff, 3, used=50)
        for account in self.accounts:
            world.read(account.contracts.get(), *world.hours(30), start_at=world.JUNE)
        self.programmes = [
            programmes_world.programme(
                self.issuer,
                "one",
                budget_minor=budget,
                cap_firm_month_minor=cap,
                cap_firm_year_minor=cap and cap + cap // 2,
                cap_invoice_minor=invoice_cap,
                percent=Decimal(percent),
                vat_treatment=treatment,
                mode=mode,
                priority=1,
            ),
            programmes_world.programme(
                self.issuer, "two", budget_minor=20_000, priority=2, funder=programmes_world.funder(51)
            ),
        ]
        programmes.set_budget(
            programme=self.programmes[0],
            code="may",
            from_date=date(2020, 5, 1),
            until_date=date(2020, 5, 31),
            budget_minor=budget * 2 // 3,
        )
        self.number = 0

    def grant_of(self, firm, which):
        return Grant.objects.filter(
            programme=self.programmes[which], party=self.accounts[firm].party, state="approved"
        ).first()

    def next(self):
        self.number += 1
        return f"source:{self.number}"

    @rule(firm=FIRMS, which=st.integers(0, 1))
    def grant(self, firm, which):
        try:
            with transaction.atomic():
                programmes_world.grant(self.programmes[which], self.accounts[firm])
        except programmes.AlreadyGrantedError:
            assert Grant.objects.filter(party=self.accounts[firm].party, programme=self.programmes[which]).exists()

    @rule(firm=FIRMS, which=st.integers(0, 1))
    def suspend_and_resume(self, firm, which):
        if grant := self.grant_of(firm, which):
            programmes.suspend(grant=grant, reason="a question", at=AT, actor="staff")
            programmes.resume(grant=grant, reason="answered", at=AT, actor="staff")

    @rule(firm=FIRMS, which=st.integers(0, 1), month=MONTH, wanted=st.integers(0, 30_000), soon=st.booleans())
    def commit(self, firm, which, month, wanted, soon):
        if grant := self.grant_of(firm, which):
            facts = {"grant": grant, "account": self.accounts[firm], "source": self.next(), "wanted": {month: wanted}}
            facts |= {"expires_at": world.JUNE if soon else world.JULY, "at": world.MAY, "actor": "test"}
            assert commitments.commit(**facts) == commitments.commit(**facts)

    @precondition(lambda self: Commitment.objects.filter(state="open").exists())
    @rule(place=st.integers(0, 10))
    def release(self, place):
        open_ones = list(Commitment.objects.filter(state="open").order_by("pk"))
        chosen = open_ones[place % len(open_ones)]
        facts = {"grant": chosen.grant, "source": chosen.source, "at": AT, "actor": "test"}
        assert commitments.release(**facts) == chosen.amount_minor
        assert commitments.release(**facts) == 0

    @rule()
    def expire(self):
        commitments.expire(at=world.JUNE, actor="task")
        assert not Commitment.objects.filter(state="open", expires_at__lte=world.JUNE).exists()

    @rule(firm=FIRMS, month=MONTH)
    def issue(self, firm, month):
        period = invoicing.open_period(issuer=self.issuer, code=month)
        account = self.accounts[firm]
        facts = {"account": account, "period": period, "at": AT, "actor": "test"}
        assert invoicing.issue(**facts) == invoicing.issue(**facts)

    @precondition(lambda self: Redemption.objects.exists())
    @rule(place=st.integers(0, 20), part=st.integers(1, 4))
    def claw_back(self, place, part):
        found = list(Redemption.objects.order_by("pk"))
        chosen = found[place % len(found)]
        line = chosen.line
        left = line.amount_minor - chosen.credited_minor
        credit = left // part
        if credit:
            facts = {"invoice": line.invoice, "credited": {line.position: credit}, "source": self.next()}
            facts |= {"at": AT, "actor": "staff"}
            assert clawbacks.claw_back(**facts) == clawbacks.claw_back(**facts)

    @rule(which=st.integers(0, 1), firm=FIRMS)
    def claim(self, which, firm):
        programme = self.programmes[which]
        is_voucher = programme.mode == Programme.Mode.VOUCHER
        claimant = None if is_voucher else self.accounts[firm].party
        try:
            made = claims.claim(
                programme=programme,
                key=self.next(),
                from_month=MONTHS[0],
                until_month=MONTHS[1],
                claimant=claimant,
                at=AT,
                actor="staff",
            )
        except claims.NothingToClaimError:
            return
        if made.amount_minor:
            claims.submit(claim=made, at=AT, actor="staff")

    @precondition(lambda self: Claim.objects.filter(state="submitted").exists())
    @rule(tenths=st.integers(0, 10))
    def settle(self, tenths):
        chosen = Claim.objects.filter(state="submitted").order_by("pk").first()
        paid = chosen.amount_minor * tenths // 10 if chosen.amount_minor > 0 else chosen.amount_minor
        for _ in range(2):
            claims.settle_claim(claim=chosen, paid_minor=paid, reason="as told", at=AT, actor="staff")

    @invariant()
    def ties(self):
        if hasattr(self, "issuer"):
            programmes_world.check_ties()
            self.claims_tie()

    def claims_tie(self):
        """Claims paid + owed = redeemed − clawed back, and the ledger says what funders owe."""
        owed = 0
        for each in Redemption.objects.select_related("share__programme"):
            if each.share.programme.mode == Programme.Mode.VOUCHER:
                owed += each.amount_minor - each.clawed_back_minor - each.paid_minor
            backs = Clawback.objects.filter(redemption=each).values_list("amount_minor", flat=True)
            assert sum(backs) == each.clawed_back_minor
        assert programmes_world.balances(self.accounts[0]).get("subsidy_receivable", 0) == owed
        assert BillingPeriod.objects.filter(state="closed").count() == 0


def test_in_any_order_budgets_and_caps_hold_lines_sum_and_money_in_is_money_out(db):
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
