"""What funders owe, what they pay of it, and what goes back after a credit: by hand, with the arithmetic."""

from datetime import timedelta
from decimal import Decimal
from importlib import import_module

import pytest
from django.db import DatabaseError, connection, transaction

from billing import claims, clawbacks, invoicing
from billing.integrity import constraint_name
from billing.models import Claim, ClaimChange, ClaimLine, Clawback, Journal, Programme, Redemption
from tests.billing import programmes_world, world

pytestmark = pytest.mark.django_db
Mode, Vat = Programme.Mode, Programme.VatTreatment
AT = world.JUNE


@pytest.fixture
def issuer():
    return world.issuer()


def funded_invoice(issuer, **terms):
    """Lines of 333.30 (standing), 800.00 and 66.67 (energy): net 1,199.97; the programme pays 30 %, 359.99.

    30 % of 119,997 is 35,999.1, half up 35,999. By 33,330 : 80,000 : 6,667 that is 9,998.97…, 23,999.93… and 2,000.09…;
    rounded down 9,998 + 23,999 + 2,000 = 35,997, and the two greatest remainders are the first's and the second's.
    """
    account = world.account(issuer, "B00")
    tariff = world.publish(
        {"kind": "standing", "code": "SC", "amount": "333.30", "per": "month"},
        world.energy("8.00"),
        {"kind": "standing", "code": "S2", "amount": "66.67", "per": "month"},
    ).tariff
    world.read(world.contract(account, tariff), *world.hours(100))
    programme = programmes_world.programme(issuer, **terms)
    programmes_world.grant(programme, account)
    invoice = invoicing.issue(account=account, period=world.may(issuer), at=AT, actor="test")
    return programme, invoice


def redeemed(invoice):
    return {
        each.line.charge: (each.amount_minor, each.clawed_back_minor)
        for each in Redemption.objects.filter(line__invoice=invoice).select_related("line")
    }


def position(invoice, charge):
    return invoice.lines.get(charge=charge).position


def claim(programme, key="1", **changes):
    facts = {"from_month": "2020-05", "until_month": "2020-05", "at": AT, "actor": "staff"} | changes
    return claims.claim(programme=programme, key=key, **facts)


def test_a_share_of_three_lines(issuer):
    _, invoice = funded_invoice(issuer)
    assert (invoice.net_minor, invoice.subsidy_minor) == (119_997, 35_999)
    assert redeemed(invoice) == {"SC": (9_999, 0), "EN": (24_000, 0), "S2": (2_000, 0)}


def test_a_line_credited_whole_in_parts_gives_back_all_of_it(issuer):
    programme, invoice = funded_invoice(issuer)
    for number, part in enumerate((1, 11_111, 22_218)):
        clawbacks.claw_back(
            invoice=invoice, credited={position(invoice, "SC"): part}, source=f"credit:{number}", at=AT, actor="staff"
        )
    assert redeemed(invoice)["SC"] == (9_999, 9_999)
    with pytest.raises(clawbacks.InvalidCreditError, match="credited by 1: expected at most 0"):
        clawbacks.claw_back(invoice=invoice, credited={position(invoice, "SC"): 1}, source="more", at=AT, actor="staff")
    assert programmes_world.counts(programme)[2] == 35_999 - 9_999


def test_a_clawback_told_again_changes_nothing_and_with_other_amounts_is_refused(issuer):
    _, invoice = funded_invoice(issuer)
    facts = {"invoice": invoice, "source": "credit:1", "at": AT, "actor": "staff"}
    first = clawbacks.claw_back(credited={position(invoice, "EN"): 40_000}, **facts)
    assert clawbacks.claw_back(credited={position(invoice, "EN"): 40_000}, **facts) == first
    assert (Clawback.objects.count(), Journal.objects.count()) == (1, 2)
    with pytest.raises(clawbacks.ClawbackDiffersError):
        clawbacks.claw_back(credited={position(invoice, "EN"): 1}, **facts)
    with pytest.raises(clawbacks.InvalidCreditError, match="has no line 9"):
        clawbacks.claw_back(credited={9: 1}, **facts)


def test_a_share_beside_the_price_goes_back_from_its_income(issuer):
    _, invoice = funded_invoice(issuer, vat_treatment=Vat.OUTSIDE_SCOPE)
    clawbacks.claw_back(invoice=invoice, credited={position(invoice, "EN"): 80_000}, source="c", at=AT, actor="staff")
    assert programmes_world.balances(invoice.account)["subsidy_income"] == -35_999 + 24_000
    assert programmes_world.balances(invoice.account)["receivable"] == invoice.payable_minor


def test_a_claim_that_is_paid(issuer):
    programme, invoice = funded_invoice(issuer)
    made = claim(programme)
    assert (made.state, made.amount_minor, made.lines.count()) == ("draft", 35_999, 3)
    assert claim(programme) == made
    claims.submit(claim=made, at=AT, actor="staff")
    for _ in range(2):
        claims.settle_claim(claim=made, paid_minor=35_999, at=AT, actor="staff")
    assert made.state == "paid"
    balances = programmes_world.balances(invoice.account)
    assert (balances["bank_clearing"], balances["subsidy_receivable"]) == (35_999, 0)
    with pytest.raises(claims.NothingToClaimError):
        claim(programme, "2")
    with pytest.raises(claims.ClaimDiffersError):
        claims.settle_claim(claim=made, paid_minor=0, reason="no", at=AT, actor="staff")
    programmes_world.check_ties()


def test_what_is_paid_short_or_rejected_may_be_claimed_again(issuer):
    # 10,000 of 35,999 by 9,999 : 24,000 : 2,000 is 2,777.57…, 6,666.85…, 555.57…; down 2,777 + 6,666 + 555 = 9,998; up the
    # second (0.85) and the first (0.5775 against 0.5709).
    programme, invoice = funded_invoice(issuer)
    made = claim(programme)
    claims.submit(claim=made, at=AT, actor="staff")
    with pytest.raises(claims.InvalidClaimError, match="reason is empty"):
        claims.settle_claim(claim=made, paid_minor=10_000, at=AT, actor="staff")
    claims.settle_claim(claim=made, paid_minor=10_000, reason="the year's quota", at=AT, actor="staff")
    assert made.state == "short_paid"
    paid = dict(ClaimLine.objects.filter(claim=made).values_list("redemption__line__charge", "paid_minor"))
    assert paid == {"SC": 2_778, "EN": 6_667, "S2": 555}
    again = claim(programme, "2")
    assert again.amount_minor == 25_999
    claims.submit(claim=again, at=AT, actor="staff")
    claims.settle_claim(claim=again, paid_minor=0, reason="a document is missing", at=AT, actor="staff")
    assert (again.state, claim(programme, "3").amount_minor) == ("rejected", 25_999)
    assert programmes_world.balances(invoice.account)["subsidy_receivable"] == 25_999


def test_what_was_paid_and_is_clawed_back_lessens_the_next_claim(issuer):
    programme, invoice = funded_invoice(issuer)
    made = claim(programme)
    claims.submit(claim=made, at=AT, actor="staff")
    claims.settle_claim(claim=made, paid_minor=35_999, at=AT, actor="staff")
    clawbacks.claw_back(invoice=invoice, credited={position(invoice, "EN"): 80_000}, source="c", at=AT, actor="staff")
    back = claim(programme, "2")
    assert back.amount_minor == -24_000
    claims.submit(claim=back, at=AT, actor="staff")
    claims.settle_claim(claim=back, paid_minor=-24_000, at=AT, actor="staff")
    balances = programmes_world.balances(invoice.account)
    assert (balances["bank_clearing"], balances["subsidy_receivable"]) == (11_999, 0)


def test_a_claim_is_settled_after_it_was_submitted(issuer):
    programme, _ = funded_invoice(issuer)
    with pytest.raises(claims.ClaimStateError, match="is draft: expected submitted"):
        claims.settle_claim(claim=claim(programme), paid_minor=35_999, at=AT, actor="staff")


def test_a_firm_claims_its_reimbursement_itself_and_nothing_is_posted(issuer):
    programme, invoice = funded_invoice(issuer, mode=Mode.REIMBURSEMENT)
    with pytest.raises(claims.InvalidClaimError, match="expected the firm"):
        claim(programme)
    made = claim(programme, claimant=invoice.account.party)
    claims.submit(claim=made, at=AT, actor="staff")
    claims.settle_claim(claim=made, paid_minor=35_999, at=AT, actor="staff")
    clawbacks.claw_back(invoice=invoice, credited={position(invoice, "EN"): 80_000}, source="c", at=AT, actor="staff")
    assert Journal.objects.count() == 1
    assert programmes_world.counts(programme)[2] == 35_999 - 24_000


def test_what_is_settled_after_its_month_is_closed_is_posted_in_the_next(issuer):
    programme, invoice = funded_invoice(issuer)
    world.close(world.may(issuer))
    made = claim(programme)
    claims.submit(claim=made, at=AT, actor="staff")
    claims.settle_claim(claim=made, paid_minor=35_999, at=AT, actor="staff")
    assert Journal.objects.get(key="claim:sme-30:1").period.code == "2020-06"
    assert invoice.period.code == "2020-05"
    assert Decimal(made.amount_minor) == 35_999


# What a firm says of its own claim


def steps(made):
    return list(made.changes.values_list("state", "paid_minor", "reason", "actor"))


def own(issuer):
    programme, invoice = funded_invoice(issuer, mode=Mode.REIMBURSEMENT)
    return programme, invoice.account.party, claim(programme, claimant=invoice.account.party, actor="user:3")


def test_each_step_of_a_firms_own_claim_is_kept_and_the_last_is_taken_back(issuer):
    programme, firm, made = own(issuer)
    facts = {"claim": made, "at": AT, "actor": "user:3"}
    claims.take_back(**facts)  # a draft is one already
    for _ in range(2):
        claims.submit(**facts)
    for _ in range(2):
        claims.take_back(**facts)
    assert (made.state, made.submitted_at) == ("draft", None)
    claims.submit(**facts)
    claims.reopen(**facts)  # nothing is settled yet
    claims.settle_claim(**facts, paid_minor=10_000, reason="quota")
    with pytest.raises(claims.ClaimStateError, match="expected submitted to take it back"):
        claims.take_back(**facts)
    assert Redemption.objects.owed().count() == 3
    for _ in range(2):
        claims.reopen(**facts)
    assert (made.state, made.paid_minor, made.reason, made.settled_at) == ("submitted", None, "", None)
    assert set(made.lines.values_list("paid_minor", flat=True)) == {None}
    assert sum(Redemption.objects.values_list("paid_minor", flat=True)) == 0
    assert not Redemption.objects.owed().exists()  # the claim holds them again
    claims.settle_claim(**facts, paid_minor=35_999)
    assert steps(made) == [
        ("draft", None, "", "user:3"),
        ("submitted", None, "", "user:3"),
        ("draft", None, "", "user:3"),
        ("submitted", None, "", "user:3"),
        ("short_paid", 10_000, "quota", "user:3"),
        ("submitted", None, "", "user:3"),
        ("paid", 35_999, "", "user:3"),
    ]
    assert sum(Redemption.objects.values_list("paid_minor", flat=True)) == 35_999
    with pytest.raises(claims.NothingToClaimError):
        claim(programme, "2", claimant=firm)


def test_the_key_of_a_firms_next_claim_is_new_once_its_last_one_is_settled_whatever_was_reopened(issuer):
    programme, invoice = funded_invoice(issuer, mode=Mode.REIMBURSEMENT)
    firm = invoice.account.party
    facts = {"programme": programme, "claimant": firm, "from_month": "2020-05", "until_month": "2020-05"}

    def next_key():
        return claims.key_of(**facts).removeprefix(f"{firm.credit_code} 2020-05 2020-05")

    assert next_key() == ""
    first = claims.claim(key=claims.key_of(**facts), at=AT, actor="user:3", **facts)
    assert next_key() == ""
    claims.submit(claim=first, at=AT, actor="user:3")
    claims.settle_claim(claim=first, paid_minor=10_000, reason="quota", at=AT, actor="user:3")
    assert next_key() == " 2"
    second = claims.claim(key=claims.key_of(**facts), at=AT, actor="user:3", **facts)
    assert (second.amount_minor, next_key()) == (25_999, " 2")
    claims.submit(claim=second, at=AT, actor="user:3")
    claims.settle_claim(claim=second, paid_minor=0, reason="no", at=AT, actor="user:3")
    assert next_key() == " 3"
    Claim.objects.filter(pk=first.pk).update(state="submitted", settled_at=None, paid_minor=None, reason="")
    assert next_key() == " 3"  # the second one was answered: nothing is claimed under its key again


def test_of_claims_that_were_there_before_steps_were_kept_what_is_known_is_put_down(issuer):
    _, _, made = own(issuer)
    claims.submit(claim=made, at=AT, actor="user:3")
    claims.settle_claim(claim=made, paid_minor=10_000, reason="quota", at=AT + timedelta(days=1), actor="user:3")
    known = made.changes.count()
    with connection.cursor() as cursor:
        cursor.execute(import_module("billing.migrations.0013_claim_steps").BEGINNINGS)
    assert list(made.changes.values_list("state", "paid_minor", "reason", "at", "actor")[known:]) == [
        ("draft", None, "", made.made_at, "user:3"),
        ("submitted", None, "", AT, "migration"),
        ("short_paid", 10_000, "quota", AT + timedelta(days=1), "migration"),
    ]


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_claim_that_a_later_one_stands_on_stays(issuer, is_settled):
    programme, firm, made = own(issuer)
    facts = {"claim": made, "at": AT, "actor": "user:3"}
    claims.submit(**facts)
    claims.settle_claim(**facts, paid_minor=10_000, reason="quota")
    later = claim(programme, "2", claimant=firm)
    if is_settled:
        claims.submit(claim=later, at=AT, actor="user:3")
        claims.settle_claim(claim=later, paid_minor=25_999, at=AT, actor="user:3")
    with pytest.raises(claims.LaterClaimError, match="claim 2"):
        claims.reopen(**facts)
    assert (made.state, sum(made.lines.values_list("paid_minor", flat=True))) == ("short_paid", 10_000)
    assert later.amount_minor == 25_999


def test_of_a_vouchers_claim_no_step_is_taken_back(issuer):
    programme, _ = funded_invoice(issuer)
    made = claim(programme)
    claims.submit(claim=made, at=AT, actor="staff")
    with pytest.raises(claims.ClaimStateError, match="expected a reimbursement's"):
        claims.take_back(claim=made, at=AT, actor="staff")
    claims.settle_claim(claim=made, paid_minor=35_999, at=AT, actor="staff")
    with pytest.raises(claims.ClaimStateError, match="expected a reimbursement's"):
        claims.reopen(claim=made, at=AT, actor="staff")
    for rows, change, constraint in (
        (Claim.objects, {"state": "submitted", "paid_minor": None, "settled_at": None}, "claim_goes_on"),
        (ClaimLine.objects, {"paid_minor": None}, "claim_line_is_settled_once"),
        (ClaimChange.objects, {"reason": "another"}, "claim_change_append_only"),
    ):
        with pytest.raises(DatabaseError) as refused, transaction.atomic():
            rows.update(**change)
        assert constraint_name(refused.value) == constraint
