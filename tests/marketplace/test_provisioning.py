"""The controller and the backend that is people: what is asked when, what becomes of the reservation, killed anywhere."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from billing.integrity import constraint_name
from marketplace import provisioning, reservations
from marketplace.models import CapacityPool, Credential, Job, Organization, Provision, ProvisioningTask
from marketplace.provisioning import TaskVoidError, controller, credentials, service_level
from marketplace.provisioning.backend import BackendError, Observed
from marketplace.provisioning.manual import Manual
from tests.marketplace.booking import AT, HOUR, START, history, make_market, people_of, taken

END = START + 10 * HOUR
MINUTE = timedelta(minutes=1)


@pytest.fixture
def market(db):
    return make_market()


def sweep(at):
    return provisioning.sweep(at=at)


def todo():
    """(kind, state, due hours after START) of every task, in the order in which they were opened."""
    rows = ProvisioningTask.objects.order_by("id")
    return [(row.kind, row.state, (row.due_at - START) / HOUR) for row in rows]


def tick(at, note=""):
    task = ProvisioningTask.objects.get(state="open")
    return provisioning.tick_off(task=task, at=at, actor="user:7", note=note)


def state(reservation):
    reservation.refresh_from_db()
    return reservation.state


# By hand


def test_a_reservation_runs_by_tasks_that_people_tick_off(market):
    reservation = market.confirmed()
    assert sweep(AT) == 1
    assert todo() == [("start", "open", 0)]
    assert sweep(AT + MINUTE) == 0
    tick(START - HOUR, note="rack 7")
    assert sweep(START - MINUTE) == 0
    assert state(reservation) == "confirmed"
    sweep(START + MINUTE)
    assert (state(reservation), reservation.started_at) == ("active", START)
    sweep(END - MINUTE)
    assert todo() == [("start", "done", 0)]
    sweep(END + MINUTE)
    assert (state(reservation), reservation.ended_at) == ("completed", END)
    assert todo() == [("start", "done", 0), ("stop", "open", 10 + 1 / 60)]
    tick(END + 5 * MINUTE)
    sweep(END + controller.SETTLE)
    assert Provision.objects.get().over_at is None
    over_at = END + MINUTE + controller.SETTLE
    sweep(over_at)
    provision = Provision.objects.get()
    assert (provision.seen, provision.asked, provision.over_at) == ("absent", "stop", over_at)
    assert sweep(END + 2 * HOUR) == 0
    assert history(reservation) == ["held", "confirmed", "started", "completed"]


def test_a_late_start_is_recorded_from_when_it_was_ready(market):
    reservation = market.confirmed()
    sweep(AT)
    sweep(START + MINUTE)
    assert state(reservation) == "confirmed"
    assert reservations.cancellation(reservation=reservation, at=START + MINUTE).why == "late"
    tick(START + 1.5 * HOUR)
    sweep(START + 2 * HOUR)
    assert (state(reservation), reservation.started_at) == ("active", START + 1.5 * HOUR)
    provision = Provision.objects.get()
    assert (provision.due_at, provision.running_at) == (START, START + 1.5 * HOUR)


def test_one_that_is_never_started_fails_at_its_end_and_costs_nothing(market):
    reservation = market.confirmed()
    sweep(AT)
    sweep(END)
    assert state(reservation) == "failed"
    assert taken(market.pool) == [0] * 10
    assert reservation.changes.get(kind="failed").facts["reason"] == "it was not started before its end"
    assert todo() == [("start", "void", 0)]
    sweep(END + controller.SETTLE)
    assert Provision.objects.get().over_at == END + controller.SETTLE


def test_one_that_the_controller_finds_after_its_end_fails_without_a_task(market):
    reservation = market.confirmed()
    sweep(END + HOUR)
    assert (state(reservation), todo(), Provision.objects.count()) == ("failed", [], 0)


def test_one_that_was_ready_ran_also_if_the_controller_looks_only_after_its_end(market):
    reservation = market.confirmed()
    sweep(AT)
    tick(START + HOUR)
    sweep(END + 5 * MINUTE)
    sweep(END + 6 * MINUTE)
    assert (state(reservation), reservation.started_at, reservation.ended_at) == ("completed", START + HOUR, END)
    assert taken(market.pool) == [8] * 10


def test_one_that_was_ready_only_after_its_end_fails(market):
    reservation = market.confirmed()
    sweep(AT)
    tick(END)
    sweep(END + 5 * MINUTE)
    assert state(reservation) == "failed"


def test_one_that_is_confirmed_after_its_start_is_due_from_then(market):
    held = market.held(at=START - MINUTE, minutes=60)
    reservation = reservations.confirm(reservation=held, at=START + 10 * MINUTE, actor="user:1")
    sweep(START + 10 * MINUTE)
    tick(START + 12 * MINUTE)
    sweep(START + 12 * MINUTE)
    assert Provision.objects.get().due_at == START + 10 * MINUTE
    faults = service_level.measure(reservation=reservation).faults
    assert [(fault.start_at, fault.end_at) for fault in faults] == [(START + 10 * MINUTE, START + 12 * MINUTE)]


def test_a_cancelled_one_is_no_longer_to_be_started_or_is_to_be_stopped(market):
    first, second = market.confirmed(), market.confirmed()
    sweep(AT)
    provisioning.tick_off(task=first.tasks.get(), at=AT, actor="user:7")
    for reservation in (first, second):
        reservations.cancel(reservation=reservation, at=AT + HOUR, actor="user:1")
    sweep(AT + HOUR)
    assert [(task.kind, task.state) for task in first.tasks.order_by("id")] == [("start", "done"), ("stop", "open")]
    assert [(task.kind, task.state, task.ended_by) for task in second.tasks.all()] == [
        ("start", "void", "task:controller")
    ]
    with pytest.raises(TaskVoidError, match=r"is void since .*: expected one that is open; look at the reservation"):
        provisioning.tick_off(task=second.tasks.get(), at=AT + HOUR, actor="user:7")


def test_ticking_off_twice_keeps_the_first(market):
    market.confirmed()
    sweep(AT)
    task = tick(START, note="done")
    again = provisioning.tick_off(task=task, at=END, actor="user:8", note="again")
    assert (again.ended_at, again.ended_by, again.note) == (START, "user:7", "done")


def test_access_that_nobody_looked_at_is_erased_at_the_end(market):
    reservation = market.active()
    credentials.hand_over(reservation=reservation, secret="ssh", at=START, actor="user:7")
    sweep(START)
    assert Credential.objects.get().erased_at is None
    sweep(END)
    assert Credential.objects.get().erased_at == END


def test_an_extension_moves_the_end(market):
    reservation = market.active()
    sweep(START)
    tick(START)
    quote = reservations.extension_quote(reservation=reservation, end_at=END + 2 * HOUR, at=START, actor="user:1")
    reservations.extend(quote=quote, at=START, actor="user:1")
    sweep(END)
    assert (state(reservation), todo()) == ("active", [("start", "done", 0)])
    sweep(END + 2 * HOUR)
    assert (state(reservation), reservation.ended_at) == ("completed", END + 2 * HOUR)


# Suspended buyers


def suspend(organization, at=AT):
    Organization.objects.filter(pk=organization.pk).update(state="suspended", state_at=at)


def verify(organization, at=AT):
    Organization.objects.filter(pk=organization.pk).update(state="verified", state_at=at)


def test_what_runs_of_a_suspended_buyer_is_suspended_and_resumed(market):
    reservation = market.active()
    sweep(START)
    tick(START)
    suspend(market.sun)
    sweep(START + HOUR)
    assert todo()[1:] == [("suspend", "open", 1)]
    tick(START + HOUR)
    sweep(START + 2 * HOUR)
    assert Provision.objects.get().seen == "suspended"
    verify(market.sun)
    sweep(START + 3 * HOUR)
    assert todo()[2:] == [("resume", "open", 3)]
    suspend(market.sun)
    sweep(START + 4 * HOUR)
    assert todo()[2:] == [("resume", "void", 3)]
    verify(market.sun)
    sweep(START + 5 * HOUR)
    tick(START + 5 * HOUR)
    sweep(START + 5 * HOUR)
    assert todo()[2:] == [("resume", "void", 3), ("resume", "done", 5)]
    assert (state(reservation), Provision.objects.get().seen) == ("active", "running")


def test_a_buyer_who_comes_back_before_it_was_suspended_loses_nothing(market):
    market.active()
    sweep(START)
    tick(START)
    suspend(market.sun)
    sweep(START + HOUR)
    verify(market.sun)
    sweep(START + 2 * HOUR)
    assert todo()[1:] == [("suspend", "void", 1)]
    assert sweep(START + 3 * HOUR) == 1
    assert len(todo()) == 2


def test_a_suspended_buyer_starts_nothing_and_the_start_is_due_when_it_comes_back(market):
    reservation = market.confirmed()
    suspend(market.sun)
    sweep(START + HOUR)
    assert (state(reservation), todo()) == ("confirmed", [])
    verify(market.sun, START + 2 * HOUR)
    sweep(START + 2 * HOUR)
    assert todo() == [("start", "open", 2)]
    suspend(market.sun)
    sweep(END)
    assert (state(reservation), reservation.changes.get(kind="failed").facts["reason"]) == (
        "failed",
        "the buyer was suspended",
    )


def test_no_lateness_is_counted_while_a_buyer_was_suspended_who_was_asked_for_before(market):
    reservation = market.confirmed()
    sweep(AT)
    suspend(market.sun)
    sweep(START + HOUR)
    verify(market.sun, START + 5 * HOUR)
    sweep(START + 5 * HOUR)
    tick(START + 5.5 * HOUR)
    sweep(START + 5.5 * HOUR)
    assert state(reservation) == "active"
    assert Provision.objects.get().due_at == START + 5 * HOUR
    faults = service_level.measure(reservation=reservation).faults
    assert [(fault.start_at, fault.end_at) for fault in faults] == [(START + 5 * HOUR, START + 5.5 * HOUR)]


def test_a_suspended_buyer_of_what_is_ready_before_its_start_does_not_start_it(market):
    reservation = market.confirmed()
    sweep(AT)
    tick(AT)
    suspend(market.sun)
    sweep(START)
    assert (state(reservation), todo()[1:]) == ("confirmed", [("suspend", "open", 0)])


# Killed anywhere, run twice at once, failing backends


class Killed(BaseException):
    pass


def _killed_after(number):
    """An execute wrapper that lets so many statements through and dies at the next; what that had begun is rolled back."""
    left = [number]

    def wrapper(execute, sql, params, many, context):
        left[0] -= 1
        if left[0] == -1:
            raise Killed
        return execute(sql, params, many, context)

    return wrapper


def _life(sweeps):
    """A reservation from confirmed to over, with `sweeps(at)` in place of the controller's."""
    sweeps(AT)
    tick(START - HOUR)
    sweeps(START + MINUTE)
    sweeps(END + MINUTE)
    tick(END + HOUR)
    sweeps(END + HOUR)
    sweeps(END + 2 * HOUR)


def _outcome(reservation):
    provision = Provision.objects.get(reservation=reservation)
    return (
        state(reservation),
        reservation.started_at,
        reservation.ended_at,
        history(reservation),
        todo(),
        (provision.asked, provision.seen, provision.over_at is not None),
        sorted(Job.objects.values_list("kind", flat=True)),
    )


def test_killed_after_any_statement_and_run_again_it_ends_the_same(market):
    people_of(market.north, "north")
    with transaction.atomic():
        reservation = market.confirmed()
        _life(sweep)
        expected = _outcome(reservation)
        transaction.set_rollback(True)
    assert expected[0] == "completed"
    assert expected[-1] == ["provisioning_letter"] * 8 + ["service_credit"]
    deaths = 0
    for number in range(0, 60, 1):
        died = []

        def dying(at, number=number, died=died):
            try:
                with connection.execute_wrapper(_killed_after(number)):
                    sweep(at)
            except Killed:
                died.append(at)
            sweep(at)

        with transaction.atomic():
            reservation = market.confirmed()
            _life(dying)
            assert _outcome(reservation) == expected, number
            transaction.set_rollback(True)
        deaths += len(died)
        if not died:
            break
    assert not died
    assert deaths > 50


def test_eight_controllers_at_once_do_each_thing_once(fresh_database):
    market = make_market()
    people_of(market.north, "north")
    made = [market.confirmed() for _ in range(4)]

    def all_at_once(at):
        assert not [each for each in fresh_database.at_once(*[lambda: sweep(at)] * 8) if isinstance(each, Exception)]

    all_at_once(AT)
    assert todo() == [("start", "open", 0)] * 4
    for task in ProvisioningTask.objects.all():
        provisioning.tick_off(task=task, at=START, actor="user:7")
    all_at_once(START)
    all_at_once(END)
    assert [state(each) for each in made] == ["completed"] * 4
    assert {tuple(history(each)) for each in made} == {("held", "confirmed", "started", "completed")}
    assert sorted(todo()) == [("start", "done", 0)] * 4 + [("stop", "open", 10)] * 4
    assert Job.objects.filter(kind="service_credit").count() == 4


class Cluster:
    """A backend that remembers, and fails when it is told to."""

    asks_ahead = False

    def __init__(self):
        self.runs, self.calls, self.broken = {}, [], set()

    def _do(self, verb, reservation, result):
        self.calls.append(verb)
        if verb in self.broken:
            raise BackendError(f"{verb} failed: no route to host")
        assert not connection.in_atomic_block or connection.savepoint_ids == []
        self.runs[reservation.pk] = result

    def start(self, *, reservation, due_at, at):
        self._do("start", reservation, "running")

    def stop(self, *, reservation, at):
        self._do("stop", reservation, "absent")

    def suspend(self, *, reservation, at):
        self._do("suspend", reservation, "suspended")

    def resume(self, *, reservation, at):
        self._do("resume", reservation, "running")

    def observe(self, *, reservation):
        if "observe" in self.broken:
            raise BackendError("observe failed")
        return Observed(Provision.Seen(self.runs.get(reservation.pk, "absent")))


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setattr(controller, "BACKENDS", {"manual": cluster})
    return cluster


def test_a_backend_that_does_it_itself_starts_and_stops_within_one_sweep(market, cluster):
    reservation = market.confirmed()
    assert sweep(START - MINUTE) == 0
    sweep(START)
    assert (state(reservation), reservation.started_at, cluster.calls) == ("active", START, ["start"])
    sweep(START + HOUR)
    assert cluster.calls == ["start"]
    cluster.runs.clear()
    sweep(START + 2 * HOUR)
    assert cluster.calls == ["start", "start"]
    suspend(market.sun)
    sweep(START + 3 * HOUR)
    verify(market.sun)
    sweep(START + 4 * HOUR)
    sweep(END)
    assert cluster.calls == ["start", "start", "suspend", "resume", "stop"]
    assert (state(reservation), cluster.runs[reservation.pk]) == ("completed", "absent")


def test_a_start_that_comes_late_after_the_end_is_stopped_all_the_same(market, cluster):
    reservation = market.confirmed()
    sweep(START)
    sweep(END)
    cluster.start(reservation=reservation, due_at=START, at=END)
    sweep(END + MINUTE)
    assert cluster.runs[reservation.pk] == "absent"
    sweep(END + controller.SETTLE)
    assert Provision.objects.get().over_at == END + controller.SETTLE


def test_a_backend_that_fails_is_asked_again_and_holds_up_no_other(market, cluster):
    first, second = market.confirmed(), market.confirmed(start_at=START + HOUR, end_at=START + 3 * HOUR)
    cluster.broken = {"start"}
    with pytest.raises(
        provisioning.NotReconciledError, match=f"1 of 1 reservations:\n{first.pk}: start failed: no route"
    ):
        sweep(START)
    with pytest.raises(provisioning.NotReconciledError, match="2 of 2 reservations"):
        sweep(START + HOUR)
    provision = Provision.objects.get(reservation=first)
    assert (provision.error, provision.failures, provision.asked) == ("start failed: no route to host", 2, "start")
    cluster.broken = set()
    sweep(START + 2 * HOUR)
    provision.refresh_from_db()
    assert (provision.error, provision.failures, provision.running_at) == ("", 0, START + 2 * HOUR)
    assert (state(first), first.started_at, state(second)) == ("active", START + 2 * HOUR, "active")


def test_another_controller_that_has_asked_just_now_is_let_be(market, cluster):
    reservation = market.confirmed()
    sweep(START)
    row = controller._read(reservation.pk)
    provision = Provision.objects.get()
    Provision.objects.update(asked="stop", asked_at=END)
    cluster.runs.clear()
    provision.seen, provision.asked = "suspended", "suspend"
    assert controller._ask(row, provision, cluster, START + HOUR) is False
    assert cluster.calls == ["start"]


def test_every_backend_that_a_pool_can_have_is_there():
    assert set(controller.BACKENDS) == set(CapacityPool.Backend.values)


def test_a_start_that_was_asked_for_before_the_end_opens_no_task_after_it(market):
    reservation = market.confirmed()
    reservations.cancel(reservation=reservation, at=AT, actor="user:1")
    for verb in (Manual().suspend, Manual().resume, Manual().stop):
        verb(reservation=reservation, at=AT)
    Manual().start(reservation=reservation, due_at=START, at=AT)
    assert todo() == []


def test_the_database_keeps_one_open_task_a_reservation(market):
    reservation = market.confirmed()
    sweep(AT)
    for changes, name in (
        ({"kind": "stop"}, "provisioning_task_one_open"),
        ({"kind": "stop", "state": "done"}, "provisioning_task_ended_at"),
    ):
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            ProvisioningTask.objects.create(reservation=reservation, due_at=AT, created_at=AT, **changes)
        assert constraint_name(refused.value) == name


@pytest.mark.parametrize("count", [1, 3])
def test_a_sweep_of_what_runs_takes_three_queries_each(market, django_assert_num_queries, count):
    for _ in range(count):
        market.active()
    sweep(START)
    for task in ProvisioningTask.objects.all():
        provisioning.tick_off(task=task, at=START, actor="user:7")
    sweep(START + MINUTE)
    with django_assert_num_queries(1 + 3 * count):
        sweep(START + HOUR)
