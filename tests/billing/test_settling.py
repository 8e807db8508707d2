"""Corrections on the next invoice, by hand: late use, retractions and programmes; and the choice of an account."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from billing import adjustments, disputes, invoicing, periods, tariffs
from billing.models import Account, Invoice, Journal, NumberSeries
from billing.parties import InvalidPartyError
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, amounts, check, find, issue, retract, send, told
from tests.billing.settling_world import CLOSED, NEXT, approve, buyer, choose, next_invoice, owed, section, settled

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer():
    return world.issuer()


def test_late_use_is_a_line_on_the_next_invoice_with_the_period_tier_and_price_of_its_month(issuer):
    # May: tier 1 up to 12 h at 8.00, above at 6.00. Issued: 10 h, 80.00. 5 h come late: 2 in tier 1, 16.00, 3 in tier 2,
    # 18.00: 34.00, VAT 6.84 − 4.80 = 2.04. June is under version 2 of the tariff, 9.00 flat: 1 h, 9.00 + 0.54.
    prices = {"all": [{"up_to": "12", "price": "8.00"}, {"price": "6.00"}]}
    contract = buyer(issuer, world.energy(prices=prices))
    account = contract.account
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(account)
    tariffs.publish(
        document=world.document(world.energy("9.00"), effective=["2020-06-01", None]), at=AFTER, actor="test"
    )
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    send(contract, "c", world.JUNE, at=world.JULY - HOUR)
    before = Invoice.objects.filter(pk=may.pk).values().get()
    adjustment = approve(may)
    assert (adjustment.state, adjustment.document, adjustment.decided_by) == ("approved", None, "staff")
    assert not may.corrections.exists()
    assert find(may, at=AFTER + HOUR) == adjustment
    june = next_invoice(account)
    assert (told(june), amounts(june)) == ([("EN", "all", None, "1", 900)], (900, 54, 954, 0, 954))
    [note] = settled(june)
    assert (note.number, note.corrects, note.period, note.due_date) == (
        "LG-DN-2020-000001",
        may,
        june.period,
        june.due_date,
    )
    assert told(note) == [("EN", "all", 1, "2", 1_600), ("EN", "all", 2, "3", 1_800)]
    assert amounts(note) == (3_400, 204, 3_604, 0, 3_604)
    assert {(line.start_at, line.end_at, line.tariff_version.version) for line in note.lines.all()} == {
        (world.MAY, world.JUNE, 1)
    }
    journal = Journal.objects.get(key="correction:LG-2020-000001:1")
    assert (journal.period.code, journal.effective_date.isoformat()) == ("2020-06", "2020-06-30")
    assert section(june) == (3_400, 204, 3_604, 0, 3_604, 4_558)
    said = json.loads(june.snapshot)
    assert (said["net_minor"], said["gross_minor"]) == (900, 954)
    [of_may] = said["corrections"]["notes"]
    assert (of_may["number"], of_may["kind"], of_may["corrects"]["number"]) == (note.number, "debit_note", may.number)
    assert [
        (line["tier"], line["tariff_version"], line["start"], line["amount_minor"]) for line in of_may["lines"]
    ] == [
        (1, 1, "2020-05-01T00:00:00+08:00", 1_600),
        (2, 1, "2020-05-01T00:00:00+08:00", 1_800),
    ]
    content = json.loads(note.snapshot)
    assert content["settled_on"] == {"period": "2020-06", "number": june.number}
    assert (content["due_date"], content["posted_in"]) == (june.due_date.isoformat(), "2020-06")
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.document, adjustment.decided_at) == ("issued", note, AFTER)
    assert Invoice.objects.filter(pk=may.pk).values().get() == before
    assert disputes.collectable(invoice=may) == disputes.Collectable(8_480, 0, 0)
    assert disputes.collectable(invoice=june) == disputes.Collectable(954, 3_604, 0)
    assert owed(account) == 8_480 + 954 + 3_604
    check(may)
    check(june)
    assert find(may, at=CLOSED) is None


def test_retracted_use_with_a_programme_is_clawed_back_and_lessens_the_next_invoice(issuer):
    # May: 100 h, 800.00, of which a programme pays 20 %, 160.00; payable 848.00 − 160.00 = 688.00. 40 h retracted: −320.00,
    # VAT −19.20, share −64.00, payable −275.20. June: 10 h, 80.00 + 4.80, share 16.00, payable 68.80. In all −206.40.
    contract = buyer(issuer)
    account = contract.account
    programme = programmes_world.programme(issuer, percent=Decimal(20))
    programmes_world.grant(programme, account)
    send(contract, "a", world.MAY, hours=20, gpus=3, at=world.JUNE - HOUR)
    send(contract, "b", world.MAY, hours=20, gpus=2, at=world.JUNE - HOUR)
    may = issue(account)
    retract(contract, "b")
    send(contract, "c", world.JUNE, hours=10, at=world.JULY - HOUR)
    approve(may)
    assert programmes_world.counts(programme)[2] == 16_000
    june = next_invoice(account)
    [note] = settled(june)
    assert (note.kind, note.number) == ("credit_note", "LG-CN-2020-000001")
    assert amounts(note) == (-32_000, -1_920, -33_920, -6_400, -27_520)
    assert amounts(june) == (8_000, 480, 8_480, 1_600, 6_880)
    assert section(june) == (-32_000, -1_920, -33_920, -6_400, -27_520, -20_640)
    assert programmes_world.counts(programme)[2] == 16_000 - 6_400 + 1_600
    assert owed(account) == 68_800 - 27_520 + 6_880
    check(may)
    check(june)


def test_two_months_are_corrected_on_one_invoice_each_by_its_own_note(issuer):
    # May +8.00 (+0.48); June −16.00 (−0.96); July 24.00 (1.44): in all 25.44 + 8.48 − 16.96 = 16.96.
    contract = buyer(issuer)
    account = contract.account
    send(contract, "a", world.MAY, hours=2, at=world.JUNE - HOUR)
    may = issue(account)
    send(contract, "b", world.JUNE, hours=2, at=world.JULY - HOUR)
    june = next_invoice(account)
    send(contract, "c", world.MAY + 24 * HOUR, at=CLOSED)
    retract(contract, "b", at=CLOSED)
    send(contract, "d", world.JULY, hours=3, at=CLOSED + 9 * HOUR)
    for invoice in (june, may):
        approve(invoice, at=CLOSED + HOUR)
    july = issue(account, code="2020-07", at=CLOSED + timedelta(days=31))
    notes = settled(july)
    assert [(each.corrects, each.number, each.payable_minor) for each in notes] == [
        (may, "LG-DN-2020-000001", 848),
        (june, "LG-CN-2020-000001", -1_696),
    ]
    assert [each["corrects"]["number"] for each in json.loads(july.snapshot)["corrections"]["notes"]] == [
        may.number,
        june.number,
    ]
    assert section(july) == (-800, -48, -848, 0, -848, 2_544 - 848)
    assert json.loads(july.snapshot)["corrections"]["taxes"] == [
        {"category": "S", "rate": "0.06", "net_minor": -800, "tax_minor": -48}
    ]
    assert list(NumberSeries.objects.order_by("series").values_list("series", "last_number")) == [
        ("2020", 3),
        ("CN-2020", 1),
        ("DN-2020", 1),
    ]
    for invoice in (may, june, july):
        check(invoice)


def test_an_invoice_without_corrections_says_nothing_of_them(issuer):
    contract = buyer(issuer)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    assert "corrections" not in json.loads(issue(contract.account).snapshot)


def test_preview_draft_and_issue_are_one(issuer):
    contract = buyer(issuer)
    account = contract.account
    programme = programmes_world.programme(issuer, percent=Decimal(20), budget_minor=1_000)
    programmes_world.grant(programme, account)
    send(contract, "a", world.MAY, hours=5, at=world.JUNE - HOUR)
    may = issue(account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    send(contract, "c", world.JUNE, hours=1, at=world.JULY - HOUR)
    unstored = periods.unstored(issuer=issuer, code="2020-06")
    assert invoicing.preview(account=account, period=unstored, at=CLOSED) is None  # nothing is approved
    approve(may)
    state = [Invoice.objects.count(), Journal.objects.count(), programmes_world.counts(programme)]
    previewed = invoicing.preview(account=account, period=unstored, at=CLOSED)
    again = invoicing.preview(account=account, period=unstored, at=CLOSED)
    june_period = invoicing.open_period(issuer=issuer, code="2020-06")
    drafted = invoicing.draft(account=account, period=june_period, at=CLOSED, actor="test")
    with_draft = invoicing.preview(account=account, period=june_period, at=CLOSED)
    assert [Invoice.objects.count() - 1, Journal.objects.count(), programmes_world.counts(programme)] == state
    net = drafted.net_minor
    june = next_invoice(account)
    issued = json.loads(june.snapshot)
    assert june.net_minor == net == previewed["net_minor"]
    # Of the budget of 10.00, May has had 8.00; 2.00 of 8.00 are left for what came late, and nothing for June.
    assert issued["corrections"]["notes"][0]["subsidy_minor"] == 200
    assert issued["corrections"]["notes"][0]["funding"][0]["limited_by"] == "budget"
    assert (june.subsidy_minor, previewed["subsidy_minor"]) == (0, 0)
    issued["number"] = issued["corrections"]["notes"][0]["number"] = None
    assert previewed == again == with_draft == issued
    assert invoicing.preview(account=account, period=june_period, at=CLOSED) is None
    check(may)
    check(june)


def test_what_the_account_chooses_is_of_what_is_approved_later(issuer):
    contract = buyer(issuer)
    account = contract.account
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=5)
    waits = approve(may)
    choose(account, Account.CorrectionsOn.NOTE, at=AFTER + HOUR)
    assert adjustments.approve(adjustment=waits, reason="again", at=AFTER + HOUR, actor="staff").state == "approved"
    june = next_invoice(account)
    assert section(june)[4] == 4_240
    send(contract, "c", world.MAY + 48 * HOUR, at=CLOSED)
    done = approve(may, at=CLOSED)
    assert (done.state, done.document.settled_on, done.document.payable_minor) == ("issued", None, 848)
    assert done.document.period.code == "2020-07"
    assert adjustments.approve(adjustment=done, reason="again", at=CLOSED, actor="staff").document == done.document
    check(may)


def test_the_choice_says_who_and_when(issuer):
    account = world.account(issuer, "B00")
    assert (account.corrections_on, account.corrections_chosen_at) == ("note", None)
    choose(account, "note")
    assert account.corrections_chosen_at is None
    choose(account)
    choose(account, at=CLOSED)
    assert (account.corrections_on, account.corrections_chosen_at, account.corrections_chosen_by) == (
        "next_invoice",
        AFTER,
        "user:1",
    )
    with pytest.raises(InvalidPartyError, match="corrections_on is 'never': expected note or next_invoice"):
        choose(account, "never")


def test_later_corrections_and_disputes_of_a_settled_note(issuer):
    # May: 10 h. 5 h late on June's invoice; of them a dispute of 8.00 holds 8.48 of what is due with June's; upheld, a note by
    # itself at once. Then one of the 5 h is retracted: what was conceded is not given back again.
    contract = buyer(issuer)
    account = contract.account
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    may = issue(account)
    send(contract, "b", world.MAY + 24 * HOUR, hours=4)
    send(contract, "c", world.MAY + 48 * HOUR)
    approve(may)
    june = next_invoice(account)
    [note] = settled(june)
    dispute = disputes.open_(line=note.lines.get(), reason="not ours", net_minor=800, at=CLOSED, actor="buyer")
    assert disputes.collectable(invoice=may) == disputes.Collectable(8_480, 0, 0)
    assert disputes.collectable(invoice=june) == disputes.Collectable(0, 4_240, 848)
    credit = disputes.uphold(dispute=dispute, answer="right", at=CLOSED, actor="staff")
    assert (credit.settled_on, credit.payable_minor, credit.place) == (None, -848, 2)
    assert disputes.collectable(invoice=may) == disputes.Collectable(8_480, 0, 0)
    assert disputes.collectable(invoice=june) == disputes.Collectable(0, 4_240 - 848, 0)  # where it was held
    retract(contract, "c", at=CLOSED + HOUR)
    approve(may, at=CLOSED + HOUR)
    july = issue(account, code="2020-07", at=CLOSED + timedelta(days=31))
    [last] = settled(july)
    assert (last.place, last.payable_minor) == (3, -848)
    assert owed(account) == 8_480 + 4_240 - 848 - 848
    assert find(may, at=CLOSED + timedelta(days=31)) is None


@pytest.mark.parametrize(("on", "mays", "junes"), [("note", 0, 3_392), (NEXT, 8_480, 3_392 - 8_480)])
def test_a_disputed_line_that_is_credited_on_the_next_invoice_is_held_for_what_is_left_of_it(issuer, on, mays, junes):
    # May: 20 h, 169.60, all disputed; of them 10 h are retracted, −84.80, so 84.80 are held. June: 4 h, 33.92. So in both ways
    # 33.92 may be collected.
    account, may = retracted(issuer, on)
    line = may.lines.get()
    disputes.open_(line=line, reason="not ours", at=AFTER, actor="buyer")
    approve(may)
    june = next_invoice(account)
    assert sum(disputes.held(invoice=may).values()) == 8_480
    found = [disputes.collectable(invoice=each).collectable_minor for each in (may, june)]
    assert (found, sum(found)) == ([mays, junes], 3_392)


@pytest.mark.parametrize(("on", "mays", "junes"), [("note", 8_480, 0), (NEXT, 16_960, -8_480)])
def test_what_is_disputed_of_an_invoice_that_bears_a_credit_is_not_set_off(issuer, on, mays, junes):
    # As before, and June's 33.92 are disputed instead: 84.80 may be collected.
    account, may = retracted(issuer, on)
    approve(may)
    june = next_invoice(account)
    disputes.open_(line=june.lines.get(), reason="not ours", at=CLOSED, actor="buyer")
    found = [disputes.collectable(invoice=each).collectable_minor for each in (may, june)]
    assert (found, sum(found)) == ([mays, junes], 8_480)


def retracted(issuer, on):
    """An account with 20 h in May, invoiced, of which 10 h are retracted since, and 4 h in June; and May's invoice."""
    contract = buyer(issuer)
    choose(contract.account, on)
    send(contract, "a", world.MAY, hours=10, at=world.JUNE - HOUR)
    send(contract, "b", world.MAY + 24 * HOUR, hours=10, at=world.JUNE - HOUR)
    send(contract, "june", world.JUNE, hours=4, at=world.JULY - HOUR)
    may = issue(contract.account)
    retract(contract, "b")
    return contract.account, may


def test_a_correction_is_previewed_on_the_first_month_that_is_still_to_be_issued(issuer):
    account, may = retracted(issuer, NEXT)
    approve(may)
    months = {code: periods.unstored(issuer=issuer, code=code) for code in ("2020-06", "2020-07", "2020-08")}
    told_on = {code: invoicing.preview(account=account, period=each, at=CLOSED) for code, each in months.items()}
    assert {code: each and each["corrections"]["due_minor"] for code, each in told_on.items()} == {
        "2020-06": 3_392 - 8_480,
        "2020-07": None,
        "2020-08": None,
    }


def test_what_waits_is_not_previewed_on_a_month_that_is_issued_and_closed_but_on_the_next(issuer):
    account, may = retracted(issuer, NEXT)
    june = next_invoice(account)
    period = june.period
    assert not world.close(period, at=CLOSED).refused
    approve(may, at=CLOSED)
    for month in (period, periods.unstored(issuer=issuer, code="2020-06")):
        assert invoicing.preview(account=account, period=month, at=CLOSED) is None
    july = invoicing.preview(account=account, period=periods.unstored(issuer=issuer, code="2020-07"), at=CLOSED)
    assert july["corrections"]["due_minor"] == -8_480


def both_ways(make):
    """The same history under each choice: (owed, what all documents say, the ledger)."""
    found = []
    for number, on in enumerate(Account.CorrectionsOn.values):
        contract = make(number)
        account = contract.account
        choose(account, on)
        may = issue(account)
        send(contract, f"late {number}", world.MAY + 30 * HOUR, hours=7, gpus=3)
        retract(contract, f"a {number}")
        adjustment = approve(may)
        assert (adjustment.document is None) == (on == NEXT)
        next_invoice(account)
        check(may)
        documents = Invoice.objects.filter(account=account, state="issued").order_by("period", "kind", "place")
        told_of = sorted((*amounts(each), each.kind) for each in documents)
        found.append((owed(account), told_of))
    return found


def test_both_ways_come_to_the_same(issuer):
    def make(number):
        account = world.account(issuer, f"B{number}", 100 + number)
        contract = world.contract(account, world.publish(code=f"T{number}").tariff)
        programme = programmes_world.programme(issuer, f"p{number}", percent=Decimal("33.3"), budget_minor=20_000)
        programmes_world.grant(programme, account)
        send(contract, f"a {number}", world.MAY, hours=20, gpus=3, at=world.JUNE - HOUR)
        send(contract, f"b {number}", world.MAY, hours=20, gpus=2, at=world.JUNE - HOUR)
        send(contract, f"june {number}", world.JUNE, hours=5, at=world.JULY - HOUR)
        return contract

    first, second = both_ways(make)
    assert first == second


def test_a_contract_of_another_account_is_left_alone(issuer):
    """B01 chose notes: what is approved of B00 goes with B00's invoice alone."""
    contract = buyer(issuer)
    other = world.contract(world.account(issuer, "B01", 101), contract.tariff)
    for each, name in ((contract, "a"), (other, "b")):
        send(each, name, world.MAY, hours=10, at=world.JUNE - HOUR)
    may, others = issue(contract.account), issue(other.account)
    for each, name in ((contract, "c"), (other, "d")):
        send(each, name, world.MAY + 24 * HOUR, at=AFTER)
    assert (approve(may).state, approve(others).state) == ("approved", "issued")
    assert "corrections" not in json.loads(next_invoice(other.account).snapshot)
    assert section(next_invoice(contract.account))[4] == 848
