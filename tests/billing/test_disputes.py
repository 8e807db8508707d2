"""Disputes by hand: what is held out of collection, and what an answer credits."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing import adjustments, disputes, invoicing
from billing.integrity import constraint_name
from billing.models import Dispute, Programme
from tests.billing import programmes_world, world
from tests.billing.corrections_world import AFTER, HOUR, amounts, correct, find, issue, retract, send

pytestmark = pytest.mark.django_db
Vat = Programme.VatTreatment


def funded(**terms):
    """100 h at 8.00, 800.00, of which a programme pays 20 %: VAT 48.00, payable 688.00; and 2.00 of a standing charge."""
    issuer = world.issuer()
    account = world.account(issuer, "B00")
    standing = {"kind": "standing", "code": "SC", "amount": "2.00", "per": "month"}
    contract = world.contract(account, world.publish(world.energy(), standing).tariff)
    send(contract, "a", world.MAY, hours=10, gpus=7, at=world.JUNE - HOUR)
    send(contract, "b", world.MAY + 48 * HOUR, hours=10, gpus=3, at=world.JUNE - HOUR)
    programme = programmes_world.programme(issuer, percent=Decimal(20), kinds=["energy"], **terms)
    programmes_world.grant(programme, account)
    return issue(account)


def dispute(invoice, *, charge="EN", reason="half of it was ours to give back", **facts):
    line = invoice.lines.get(charge=charge)
    return disputes.open_(line=line, reason=reason, at=AFTER, actor="buyer", **facts)


def collectable(invoice):
    found = disputes.collectable(invoice=invoice)
    return found.payable_minor, found.corrected_minor, found.held_minor, found.collectable_minor


def test_a_dispute_holds_what_the_buyer_would_pay_of_it_with_its_tax():
    # Half of 800.00: 400.00 less the programme's 80.00 and with 24.00 of VAT. Payable in all 688.00 + 2.12.
    invoice = funded()
    assert collectable(invoice) == (69_012, 0, 0, 69_012)
    opened = dispute(invoice, net_minor=40_000)
    assert (opened.state, opened.held_minor) == ("open", 34_400)
    assert collectable(invoice) == (69_012, 0, 34_400, 34_612)
    assert dispute(invoice, net_minor=40_000) == opened
    with pytest.raises(disputes.DisputeDiffersError):
        dispute(invoice, net_minor=40_001)
    assert dispute(invoice, charge="SC").held_minor == 212
    assert collectable(invoice)[3] == 34_400


@pytest.mark.parametrize("treatment", [Vat.PRICE_REDUCTION, Vat.OUTSIDE_SCOPE])
def test_where_the_share_lessens_the_taxed_amount_so_does_it_what_is_held(treatment):
    # 800.00 − 160.00 + 6 % of 640.00 = 678.40.
    assert dispute(funded(vat_treatment=treatment)).held_minor == 67_840


def test_upheld_it_credits_the_line_and_programmes_get_back_their_part():
    # −400.00, VAT −24.00, of the programme −80.00: what was held, 344.00, is what the buyer no longer owes.
    invoice = funded()
    opened = dispute(invoice, net_minor=40_000)
    note = disputes.uphold(dispute=opened, answer="it was", at=AFTER, actor="staff")
    assert (note.kind, amounts(note)) == ("credit_note", (-40_000, -2_400, -42_400, -8_000, -34_400))
    assert (opened.state, opened.adjustment.document, opened.adjustment.cause) == ("upheld", note, "dispute")
    line = note.lines.get()
    assert (line.quantity, line.explanation["correction"]["cause"]) == (0, "dispute")
    assert collectable(invoice) == (69_012, -34_400, 0, 34_612)
    assert disputes.uphold(dispute=opened, answer="again", at=AFTER, actor="staff") == note
    with pytest.raises(disputes.DisputeAnsweredError, match="is upheld: expected one that is open"):
        disputes.reject(dispute=opened, answer="no", at=AFTER, actor="staff")
    programmes_world.check_ties()


def test_upheld_in_part():
    invoice = funded()
    note = disputes.uphold(dispute=dispute(invoice), answer="a quarter", net_minor=20_000, at=AFTER, actor="staff")
    assert amounts(note) == (-20_000, -1_200, -21_200, -4_000, -17_200)
    again = dispute(invoice, reason="and the rest")
    assert (again.net_minor, again.held_minor) == (60_000, 51_600)
    with pytest.raises(disputes.InvalidDisputeError, match="expected 1 to 60000"):
        disputes.uphold(dispute=again, answer="too much", net_minor=60_001, at=AFTER, actor="staff")


def test_rejected_or_withdrawn_it_holds_nothing_and_the_line_may_be_disputed_again():
    invoice = funded()
    rejected = dispute(invoice)
    with pytest.raises(disputes.InvalidReasonError):
        disputes.reject(dispute=rejected, answer=" ", at=AFTER, actor="staff")
    for _ in range(2):
        disputes.reject(dispute=rejected, answer="the meter is right", at=AFTER, actor="staff")
    assert (rejected.state, rejected.answer, rejected.answered_by) == ("rejected", "the meter is right", "staff")
    withdrawn = dispute(invoice, reason="once more")
    for _ in range(2):
        disputes.withdraw(dispute=withdrawn, at=AFTER, actor="buyer")
    with pytest.raises(disputes.DisputeAnsweredError):
        disputes.uphold(dispute=withdrawn, answer="late", at=AFTER, actor="staff")
    assert collectable(invoice) == (69_012, 0, 0, 69_012)
    assert dispute(invoice, reason="and again").state == "open"


def test_what_may_not_be_disputed():
    invoice = funded()
    for net_minor in (0, -1, 80_001):
        with pytest.raises(disputes.InvalidDisputeError, match="expected 1 to 80000, what is left of line 1"):
            dispute(invoice, net_minor=net_minor)
    for reason in ("", " ", "x" * 2_001):
        with pytest.raises(disputes.InvalidDisputeError, match="expected 1 to 2000"):
            dispute(invoice, reason=reason)
    retract(invoice.account.contracts.get(), "a")
    note = correct(invoice)
    with pytest.raises(disputes.InvalidDisputeError, match="nothing is left of it"):
        dispute(note)
    june = invoicing.open_period(issuer=invoice.issuer, code="2020-06")
    draft = invoicing.draft(account=invoice.account, period=june, at=world.JULY, actor="test")
    with pytest.raises(adjustments.NotCorrectableError):
        dispute(draft, charge="SC")
    assert not Dispute.objects.exists()


def test_a_line_of_a_debit_note_is_disputed_and_its_own_share_goes_back():
    invoice = funded()
    send(invoice.account.contracts.get(), "c", world.MAY + 96 * HOUR, hours=10)
    debit = correct(invoice)
    assert amounts(debit) == (8_000, 480, 8_480, 1_600, 6_880)
    opened = dispute(debit)
    assert (opened.invoice, opened.held_minor) == (invoice, 6_880)
    assert collectable(invoice) == (69_012, 6_880, 6_880, 69_012)
    note = disputes.uphold(dispute=opened, answer="yes", at=AFTER, actor="staff")
    assert amounts(note) == (-8_000, -480, -8_480, -1_600, -6_880)
    assert note.corrects == invoice


def test_what_was_conceded_is_not_charged_again_by_later_corrections():
    # Of 800.00 100.00 were conceded. Then 30 of the 100 h are retracted: 560.00 less 100.00; then all: nothing, not −100.00.
    invoice = funded()
    opened = dispute(invoice, net_minor=10_000)
    disputes.uphold(dispute=opened, answer="goodwill", at=AFTER, actor="staff")
    assert find(invoice) is None
    contract = invoice.account.contracts.get()
    retract(contract, "b")
    assert correct(invoice).lines.get().explanation["correction"]["amount_after_minor"] == 46_000
    retract(contract, "a")
    note = correct(invoice, at=AFTER + HOUR)
    assert (note.net_minor, note.lines.get().explanation["correction"]["amount_after_minor"]) == (-46_000, 0)
    assert programmes_world.balances(invoice.account)["receivable"] == 212
    assert programmes_world.balances(invoice.account)["subsidy_receivable"] == 0
    programmes_world.check_ties()


def test_a_correction_meanwhile_leaves_less_to_uphold_and_to_hold():
    # 240.00 are left of the line: 240.00 − 48.00 + 14.40 are held, and the other line's 2.12 are not disputed.
    invoice = funded()
    opened = dispute(invoice)
    retract(invoice.account.contracts.get(), "a")
    correct(invoice)
    assert collectable(invoice) == (69_012, -48_160, 20_640, 212)
    with pytest.raises(disputes.InvalidDisputeError, match="is 80000: expected 1 to 24000"):
        disputes.uphold(dispute=opened, answer="yes", at=AFTER, actor="staff")
    assert disputes.uphold(dispute=opened, answer="yes", net_minor=24_000, at=AFTER, actor="staff").net_minor == -24_000


def refused(change):
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        change()
    return constraint_name(caught.value)


def test_the_database_itself_refuses_what_no_dispute_may_be():
    invoice = funded()
    opened = dispute(invoice)
    rows = Dispute.objects.filter(pk=opened.pk)
    facts = {"net_minor": 1, "held_minor": 1, "reason": "x", "opened_at": AFTER, "opened_by": "buyer"}
    line, other = invoice.lines.order_by("position")
    assert refused(lambda: Dispute.objects.create(line=line, invoice=invoice, **facts)) == "dispute_open_once"
    assert refused(lambda: rows.update(net_minor=1)) == "dispute_answered_once"
    assert refused(lambda: rows.update(state="rejected")) == "dispute_answered_is_whole"
    assert refused(rows.delete) == "dispute_kept"
    nothing = facts | {"net_minor": 0}
    assert (
        refused(lambda: Dispute.objects.create(line=other, invoice=invoice, **nothing)) == "dispute_says_what_and_why"
    )
    june = invoicing.open_period(issuer=invoice.issuer, code="2020-06")
    draft = invoicing.draft(account=invoice.account, period=june, at=world.JULY, actor="test")
    assert refused(lambda: Dispute.objects.create(line=other, invoice=draft, **facts)) == "dispute_of_an_issued_line"
    disputes.withdraw(dispute=opened, at=AFTER, actor="buyer")
    assert refused(lambda: rows.update(state="open")) == "dispute_answered_once"


# A document as a whole


def charges(found):
    return [(each.line.charge, each.net_minor, each.held_minor) for each in found]


def whole(invoice, reason="all of it", **facts):
    return disputes.open_all(document=invoice, reason=reason, at=AFTER, actor="buyer", **facts)


def test_a_document_is_disputed_as_a_whole_line_by_line_and_in_one_step():
    # 800.00 − 160.00 + 48.00, and 2.00 + 0.12.
    invoice = funded()
    left = {line.charge: each for line, each in disputes.disputable_lines(document=invoice)}
    assert {code: (each.net_minor, each.payable_minor) for code, each in left.items()} == {
        "EN": (80_000, 68_800),
        "SC": (200, 212),
    }
    made = whole(invoice)
    assert charges(made) == [("EN", 80_000, 68_800), ("SC", 200, 212)]
    assert collectable(invoice) == (69_012, 0, 69_012, 0)
    assert whole(invoice) == made
    with pytest.raises(disputes.InvalidDisputeError, match="nothing is left"):
        whole(invoice, reason="for another reason")
    disputes.reject(dispute=made[0], answer="no", at=AFTER, actor="staff")
    assert charges(disputes.withdraw_all(document=invoice, at=AFTER, actor="buyer")) == [("SC", 200, 212)]
    assert disputes.withdraw_all(document=invoice, at=AFTER, actor="buyer") == []
    assert sorted(Dispute.objects.values_list("state", flat=True)) == ["rejected", "withdrawn"]
    assert collectable(invoice) == (69_012, 0, 0, 69_012)
    assert charges(whole(invoice)) == [("EN", 80_000, 68_800), ("SC", 200, 212)]


def test_a_line_that_is_disputed_already_keeps_its_dispute():
    invoice = funded()
    half = dispute(invoice, net_minor=40_000)
    assert charges(whole(invoice)) == [("SC", 200, 212)]
    assert disputes.opened_of(document=invoice).first() == half
    assert collectable(invoice)[2] == 34_400 + 212


def test_of_a_credited_line_only_what_is_left_is_disputed():
    invoice = funded()
    disputes.uphold(dispute=dispute(invoice, net_minor=40_000), answer="it was", at=AFTER, actor="staff")
    assert charges(whole(invoice)) == [("EN", 40_000, 34_400), ("SC", 200, 212)]


def test_a_debit_note_is_disputed_apart_from_its_invoice():
    invoice = funded()
    send(invoice.lines.get(charge="EN").contract, "late", world.MAY + 24 * HOUR, hours=5)
    note = correct(invoice)
    [held] = whole(note)
    assert (held.line.invoice, held.invoice) == (note, invoice)
    assert len(whole(invoice)) == 2
    assert [each.pk for each in disputes.withdraw_all(document=note, at=AFTER, actor="buyer")] == [held.pk]
    assert disputes.opened_of(document=invoice).count() == 2


def test_stopped_half_way_no_line_is_disputed(monkeypatch):
    invoice = funded()
    real, told = Dispute.objects.create, []

    def create(**facts):
        if told:
            raise KeyboardInterrupt
        told.append(facts)
        return real(**facts)

    monkeypatch.setattr(Dispute.objects, "create", create)
    with pytest.raises(KeyboardInterrupt):
        whole(invoice)
    assert not Dispute.objects.exists()


@pytest.mark.parametrize("reason", ["", " ", "x" * 2_001])
def test_why_a_document_is_disputed_is_told(reason):
    with pytest.raises(disputes.InvalidDisputeError, match="characters"):
        whole(funded(), reason=reason)
