"""Any life of any reservations, in any order: what must always hold of slots, contracts, months, budgets, and of what a
programme promised.
"""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import transaction
from django.db.models import Sum
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

from billing import commitments, invoicing, programmes
from billing.models import Commitment, Contract, OneOffCharge, ReservedSpan
from marketplace import capacity, reservations
from marketplace.models import CapacitySlot, Maintenance, Reservation, ReservationMonth
from marketplace.reservations.states import ARCS
from tests.billing import programmes_world, world
from tests.marketplace.booking import AT, HOUR, make_market

GPUS = 12
HOUR_MINOR = 1_000  # a GPU-hour: 2.00 reserved and 8.00 used
LIMIT_MINOR = 300_000
BUDGET_MINOR = 150_000
FIRM_MINOR = 60_000
REFUSED = (
    capacity.NotFreeError,
    capacity.DrainingError,
    capacity.TakenError,
    capacity.MaintenanceOverError,
    reservations.BudgetExceededError,
    reservations.EndMovedError,
    reservations.HoldExpiredError,
    reservations.NotDueError,
    reservations.NoticeGivenError,
    reservations.NoticeTooLateError,
    reservations.OutsideTermsError,
    reservations.QuoteExpiredError,
    reservations.ShareChangedError,
    reservations.WrongStateError,
)
STATE_AFTER = {
    "held": "held",
    "confirmed": "confirmed",
    "started": "active",
    "completed": "completed",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
}
numbers = st.integers(0, 1_000)


class Life(RuleBasedStateMachine):
    """The clock begins a few hours before the end of May in Shanghai."""

    def __init__(self):
        super().__init__()
        self.block = transaction.atomic()
        self.block.__enter__()

    def teardown(self):
        try:
            if hasattr(self, "programme"):
                self.end_all()
        finally:
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    def end_all(self):
        """Let it all end, and be invoiced: then nothing is committed."""
        self.advance(60 * 24 * 5)
        for row in Reservation.objects.live():
            reservations.cancel(reservation=row, at=self.at, actor="test")
        for code in ("2020-05", "2020-06"):
            period = invoicing.open_period(issuer=self.market.issuer, code=code)
            invoicing.close_period(period=period, at=datetime(2020, 7, 2, tzinfo=AT.tzinfo), actor="test")
        assert list(Commitment.objects.filter(state="open")) == []
        assert commitments.expire(at=datetime(2021, 1, 1, tzinfo=AT.tzinfo), actor="test") == 0
        assert programmes_world.counts(self.programme)[1] == 0
        programmes_world.check_ties()

    @initialize()
    def begin(self):
        self.market = make_market(max_quantity=GPUS, min_hours=1)
        type(self.market.pool).objects.update(gpus=GPUS, notice_hours=6)
        self.market.pool.refresh_from_db()
        self.project = self.market.project(monthly_limit_minor=LIMIT_MINOR)
        self.programme = programmes_world.programme(
            self.market.issuer, budget_minor=BUDGET_MINOR, cap_firm_month_minor=FIRM_MINOR
        )
        for buyer in (self.market.sun, self.market.moon):
            grant = programmes.apply(programme=self.programme, party=buyer.party, at=world.MAY, actor="test")
            programmes.approve(grant=grant, at=world.MAY, actor="staff")
        self.at = datetime(2020, 5, 31, 6, 10, tzinfo=AT.tzinfo)
        self.quotes, self.extensions, self.rows, self.works = [], [], [], []

    def attempt(self, verb, **facts):
        """What the verb gives; None if it refuses."""
        before = list(Reservation.objects.order_by("pk").values())
        try:
            with transaction.atomic():
                return verb(**facts, at=self.at, actor="test")
        except REFUSED:
            assert list(Reservation.objects.order_by("pk").values()) == before
            return None

    def committed(self, row):
        """What is open for a reservation, extensions included."""
        open_ones = Commitment.objects.filter(source__startswith=f"reservation:{row.pk}", state="open")
        return open_ones.aggregate(total=Sum("amount_minor"))["total"] or 0

    def any_of(self, rows, number):
        return rows[number % len(rows)]

    # Steps

    @rule(
        quantity=st.integers(1, 8),
        ahead=st.integers(1, 40),
        hours=st.integers(1, 30),
        of=st.sampled_from(["sun", "moon"]),
        budgeted=st.booleans(),
    )
    def quote(self, quantity, ahead, hours, of, budgeted):
        start_at = self.at.replace(minute=0) + ahead * HOUR
        quote = self.attempt(
            reservations.quote,
            offering=self.market.offering,
            organization=getattr(self.market, of),
            project=self.project if budgeted and of == "sun" else None,
            quantity=quantity,
            start_at=start_at,
            end_at=start_at + hours * HOUR,
        )
        if quote:
            assert quote.net_minor == quantity * hours * HOUR_MINOR
            assert 0 <= quote.subsidy_minor <= quote.net_minor * 3 // 10
            self.quotes.append(quote)

    @precondition(lambda self: self.quotes)
    @rule(number=numbers, confirm=st.booleans())
    def hold(self, number, confirm):
        row = self.attempt(reservations.hold, quote=self.any_of(self.quotes[-3:], number))
        if row:
            self.rows = [*(each for each in self.rows if each != row), row]
            if confirm:
                self.attempt(reservations.confirm, reservation=row)

    @precondition(lambda self: self.rows)
    @rule(number=numbers)
    def confirm(self, number):
        self.attempt(reservations.confirm, reservation=self.any_of(self.rows, number))

    @precondition(lambda self: self.rows)
    @rule(number=numbers)
    def cancel(self, number):
        row = self.any_of(self.rows, number)
        told = None
        if Reservation.objects.live().filter(pk=row.pk).exists():
            told = reservations.cancellation(reservation=row, at=self.at)
        fees = self.fees(row)
        if self.attempt(reservations.cancel, reservation=row):
            assert self.fees(row) - fees == (told.fee_minor if told else 0)

    @precondition(lambda self: self.rows)
    @rule(number=numbers, hours=st.integers(0, 20))
    def release(self, number, hours):
        row = self.any_of(self.rows, number)
        self.attempt(reservations.release_hours, reservation=row, end_at=row.start_at + hours * HOUR)

    @precondition(lambda self: self.rows)
    @rule(number=numbers, hours=st.integers(1, 20), now=st.booleans())
    def extend(self, number, hours, now):
        row = Reservation.objects.get(pk=self.any_of(self.rows, number).pk)
        quote = self.attempt(reservations.extension_quote, reservation=row, end_at=row.end_at + hours * HOUR)
        if quote:
            self.extensions.append(quote)
            if now:
                self.attempt(reservations.extend, quote=quote)

    @precondition(lambda self: self.extensions)
    @rule(number=numbers)
    def extend_later_or_again(self, number):
        self.attempt(reservations.extend, quote=self.any_of(self.extensions, number))

    @precondition(lambda self: self.rows)
    @rule(number=numbers)
    def fail(self, number):
        row = self.any_of(self.rows, number)
        self.attempt(reservations.fail, reservation=row, reason="fire")

    @precondition(lambda self: self.rows)
    @rule(number=numbers)
    def notice(self, number):
        row = self.any_of(self.rows, number)
        self.attempt(reservations.give_notice, reservation=row, reason="sold")

    @rule(quantity=st.integers(1, 4), ahead=st.integers(1, 30), hours=st.integers(1, 10))
    def maintain(self, quantity, ahead, hours):
        start_at = self.at.replace(minute=0) + ahead * HOUR
        work = self.attempt(
            capacity.plan_maintenance,
            pool=self.market.pool,
            quantity=quantity,
            start_at=start_at,
            end_at=start_at + hours * HOUR,
            reason="fans",
        )
        if work:
            self.works.append(work)

    @precondition(lambda self: self.works)
    @rule(number=numbers)
    def maintain_no_more(self, number):
        self.attempt(capacity.cancel_maintenance, maintenance=self.any_of(self.works, number))

    @rule(minutes=st.sampled_from([5, 20, 60, 180, 600]))
    def advance(self, minutes):
        """Time passes: the sweep runs, the controller starts and completes what is due."""
        self.at += timedelta(minutes=minutes)
        reservations.expire(at=self.at)
        reservations.end_noticed(at=self.at)
        for row in Reservation.objects.filter(state="active", end_at__lte=self.at):
            reservations.complete(reservation=row, at=self.at, actor="test")
        for row in Reservation.objects.filter(state="confirmed", start_at__lte=self.at):
            self.attempt(reservations.start, reservation=row)

    # What must always hold

    def fees(self, row):
        charged = OneOffCharge.objects.filter(source__startswith=f"reservation:{row.pk}")
        return charged.aggregate(total=Sum("amount_minor"))["total"] or 0

    def billed_hours(self, row):
        """What is to be paid of it, in hours: all of what is firm, and of what has ended what was used."""
        if row.state in ("confirmed", "active", "completed"):
            return (row.end_at - row.start_at) / HOUR
        if row.started_at is None:
            return 0
        told = row.changes.filter(facts__has_key="paid_until").last()
        until_at = datetime.fromisoformat(told.facts["paid_until"]) if told else row.end_at
        return (until_at - row.start_at) / HOUR

    @invariant()
    def slots_are_what_is_reserved_and_maintained(self):
        wanted = Counter()
        rows = [*Reservation.objects.in_slots(), *Maintenance.objects.exclude(state="cancelled")]
        for row in rows:
            for number in range((row.end_at - row.start_at) // HOUR):
                wanted[row.start_at + number * HOUR] += row.quantity
        slots = CapacitySlot.objects.filter(taken__gt=0)
        assert dict(slots.values_list("hour", "taken")) == dict(wanted)
        assert all(count <= GPUS for count in wanted.values())
        assert capacity.mismatches(from_at=capacity.hour_of(self.at)) == []

    @invariant()
    def what_is_billed_is_what_is_firm_or_was_used(self):
        for row in Reservation.objects.all():
            spans = ReservedSpan.objects.filter(source__startswith=f"reservation:{row.pk}", withdrawn_at=None)
            hours = sum((span.end_at - span.start_at) / HOUR for span in spans)
            assert hours == self.billed_hours(row)
            assert {span.quantity for span in spans} <= {row.quantity}
            ends = sorted((span.start_at, span.end_at) for span in spans)
            assert all(one[1] == two[0] for one, two in pairwise(ends))

    @invariant()
    def months_are_the_price_of_what_is_held_or_billed_and_the_fees(self):
        for row in Reservation.objects.all():
            found = ReservationMonth.objects.filter(reservation=row).aggregate(
                net=Sum("net_minor"), fee=Sum("fee_minor")
            )
            held = (row.end_at - row.start_at) / HOUR if row.state == "held" else self.billed_hours(row)
            assert found == {"net": held * row.quantity * HOUR_MINOR, "fee": self.fees(row)}
            quotes = [row.quote, *(quote for quote in row.extension_quotes.all() if self.is_taken(row, quote))]
            assert row.net_minor == sum(quote.net_minor for quote in quotes)

    def is_taken(self, row, quote):
        return row.changes.filter(kind="extended", facts__quote=str(quote.pk)).exists()

    @invariant()
    def a_hard_limit_is_never_exceeded(self):
        months = ReservationMonth.objects.filter(project=self.project).values("month").annotate(net=Sum("net_minor"))
        assert all(month["net"] <= LIMIT_MINOR for month in months)

    @invariant()
    def what_is_committed_is_the_share_of_what_is_held_or_billed(self):
        for row in Reservation.objects.all():
            committed = self.committed(row)
            held = (row.end_at - row.start_at) / HOUR if row.state == "held" else self.billed_hours(row)
            quotes = [row.quote, *(quote for quote in row.extension_quotes.all() if self.is_taken(row, quote))]
            promised = sum(quote.subsidy_minor for quote in quotes)
            assert row.subsidy_minor == promised
            whole = sum(quote.net_minor for quote in quotes)
            net = held * row.quantity * HOUR_MINOR
            assert committed <= promised
            if net == whole:
                assert committed == promised
            if promised == whole * 3 // 10:  # nothing limited it, so that what is kept is 30 % of what is kept
                assert committed == net * 3 // 10
            assert committed <= net * 3 // 10

    @invariant()
    def a_programme_never_commits_more_than_it_has(self):
        budget_minor, committed_minor, redeemed_minor = programmes_world.counts(self.programme)
        assert redeemed_minor == 0
        open_ones = Commitment.objects.filter(state="open")
        assert committed_minor == (open_ones.aggregate(total=Sum("amount_minor"))["total"] or 0) <= budget_minor
        by_firm = open_ones.values("account__party", "month").annotate(total=Sum("amount_minor"))
        assert all(each["total"] <= FIRM_MINOR for each in by_firm)

    @invariant()
    def a_contract_is_the_hull_of_its_spans_and_overlaps_no_other(self):
        runs = []
        for contract in Contract.objects.all():
            spans = contract.reserved_spans.filter(withdrawn_at=None)
            assert bool(spans) == (contract.withdrawn_at is None)
            if spans:
                assert contract.start_at == min(span.start_at for span in spans)
                assert contract.end_at == max(span.end_at for span in spans)
                runs.append((contract.account_id, contract.start_at, contract.end_at))
        runs.sort()
        assert all(one[0] != two[0] or one[2] <= two[1] for one, two in pairwise(runs))

    @invariant()
    def histories_are_legal(self):
        for row in Reservation.objects.all():
            kinds = list(row.changes.order_by("id").values_list("kind", flat=True))
            states = [STATE_AFTER[kind] for kind in kinds if kind in STATE_AFTER]
            states += ["released"] if row.state == "released" else []
            assert states[0] == "held"
            assert states[-1] == row.state
            assert all(after in ARCS[before] for before, after in pairwise(states))


@pytest.mark.django_db
def test_any_life_of_reservations_keeps_slots_contracts_months_and_budgets_right():
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
