"""Programmes on the bill: preview, draft, invoice, journal, snapshot and re-rating say the same."""

import json
import pickle
from datetime import date, timedelta
from decimal import Decimal

import pytest

from billing import charging, commitments, invoicing, programmes
from billing.models import FirmCap, Grant, Invoice, PartyFact, Posting, Programme, ProgrammeShare, Redemption
from tests.billing import programmes_world, world

pytestmark = pytest.mark.django_db
Mode, Vat = Programme.Mode, Programme.VatTreatment


@pytest.fixture
def issuer():
    return world.issuer()


def buyer(issuer, *, used=100, charges=(), code="B00", number=100):
    """A buyer that used so many GPU-hours in May, at 8.00 a GPU-hour."""
    account = world.account(issuer, code, number)
    contract = world.contract(account, world.publish(*charges).tariff, number=f"C-{code}")
    world.read(contract, *world.hours(used))
    return account


def issue(account):
    return invoicing.issue(account=account, period=world.may(account.issuer), at=world.JUNE, actor="test")


def postings(invoice):
    rows = Posting.objects.filter(journal__source=f"invoice:2020-05:{invoice.account.code}")
    return list(rows.order_by("id").values_list("ledger_account__name", "amount_minor"))


def test_the_example_of_the_design_comes_out_exactly(issuer):
    # 100 GPU-hours at 8.00 is net 800.00; the programme pays 20 %, 160.00; VAT 6 % of the full price is 48.00; the fee of
    # 10 % is 80.00, so the cost is 720.00 and the VAT on it 43.20. The buyer pays 800 − 160 + 48 = 688.00.
    account = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer, percent=Decimal(20)), account)
    invoice = issue(account)
    assert (invoice.net_minor, invoice.tax_minor, invoice.gross_minor) == (80_000, 4_800, 84_800)
    assert (invoice.subsidy_minor, invoice.payable_minor) == (16_000, 68_800)
    assert postings(invoice) == [
        ("receivable", 68_800),
        ("subsidy_receivable", 16_000),
        ("compute_revenue", -80_000),
        ("vat_output", -4_800),
        ("cost_of_compute", 72_000),
        ("vat_input", 4_320),
        ("provider_payable", -76_320),
    ]
    programmes_world.check_ties()


@pytest.mark.parametrize("treatment", [Vat.PRICE_REDUCTION, Vat.OUTSIDE_SCOPE])
def test_where_the_share_is_no_part_of_the_taxable_price_tax_is_on_the_rest(issuer, treatment):
    # VAT 6 % of 800 − 160 is 38.40; the buyer pays 640.00 + 38.40.
    account = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer, percent=Decimal(20), vat_treatment=treatment), account)
    invoice = issue(account)
    assert (invoice.net_minor, invoice.tax_minor, invoice.payable_minor) == (80_000, 3_840, 67_840)
    assert postings(invoice)[:5] == [
        ("receivable", 67_840),
        ("subsidy_receivable", 16_000),
        ("compute_revenue", -64_000),
        ("subsidy_income", -16_000),
        ("vat_output", -3_840),
    ]
    taxes = json.loads(invoice.snapshot)["taxes"]
    assert taxes == [{"category": "S", "rate": "0.06", "net_minor": 64_000, "tax_minor": 3_840}]
    programmes_world.check_ties()


def test_a_reimbursement_is_counted_and_proved_and_the_buyer_pays_all(issuer):
    account = buyer(issuer)
    programme = programmes_world.programme(issuer, mode=Mode.REIMBURSEMENT, cap_firm_year_minor=20_000)
    programmes_world.grant(programme, account)
    invoice = issue(account)
    assert (invoice.subsidy_minor, invoice.payable_minor) == (0, 84_800)
    assert ("receivable", 84_800) in postings(invoice)
    assert "subsidy_receivable" not in dict(postings(invoice))
    assert Redemption.objects.get().amount_minor == 20_000
    assert programmes_world.counts(programme)[1:] == (0, 20_000)
    told = json.loads(invoice.snapshot)["funding"][0]
    assert (told["mode"], told["wanted_minor"], told["share_minor"], told["limited_by"]) == (
        "reimbursement",
        24_000,
        20_000,
        "firm_cap",
    )
    programmes_world.check_ties()


def test_a_cheaper_tariff_changes_nothing_here(issuer):
    account = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer, mode=Mode.TARIFF, percent=None), account)
    invoice = issue(account)
    assert (invoice.payable_minor, ProgrammeShare.objects.count()) == (84_800, 0)
    assert "funding" not in json.loads(invoice.snapshot)


def test_preview_draft_invoice_and_re_rating_agree(issuer):
    account = buyer(
        issuer, charges=(world.energy(), {"kind": "standing", "code": "SC", "amount": "10.33", "per": "day"})
    )
    programmes_world.grant(programmes_world.programme(issuer, cap_invoice_minor=12_345), account)
    period = world.may(issuer)
    preview = charging.charges(account=account, period=period)
    draft = invoicing.draft(account=account, period=period, at=world.JUNE, actor="test")
    told = list(draft.lines.values_list("position", "amount_minor", "subsidy_minor"))
    invoice = issue(account)
    again = charging.charges(account=account, period=period)
    assert preview.subsidy_minor == draft.subsidy_minor == invoice.subsidy_minor == again.subsidy_minor == 12_345
    assert preview.payable_minor == draft.payable_minor == invoice.payable_minor == again.payable_minor
    assert [each.share for each in preview.funding] == [each.share for each in again.funding]
    assert list(invoice.lines.values_list("position", "amount_minor", "subsidy_minor")) == told


def test_funded_charges_go_from_one_process_to_another_as_they_are(issuer):
    account = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer), account)
    charges = charging.charges(account=account, period=world.may(issuer))
    assert charges.subsidy_minor == 24_000
    assert pickle.loads(pickle.dumps(charges)) == charges


def test_a_draft_takes_nothing_of_the_budget(issuer):
    account = buyer(issuer)
    programme = programmes_world.programme(issuer)
    programmes_world.grant(programme, account)
    invoicing.draft(account=account, period=world.may(issuer), at=world.JUNE, actor="test")
    assert programmes_world.counts(programme)[1:] == (0, 0)


def test_firms_are_served_in_the_order_of_their_accounts_until_the_budget_ends(issuer):
    # B00 to B03 used 10 to 13 GPU-hours: 24.00, 26.40, 28.80 and 31.20 at 30 %; of 60.00, 9.60 are left for the third.
    accounts = world.buyers(issuer, world.publish().tariff, 4)
    programme = programmes_world.programme(issuer, budget_minor=6_000)
    for account in accounts:
        programmes_world.grant(programme, account)
    world.close(world.may(issuer))
    shares = ProgrammeShare.objects.order_by("invoice__account__code").values_list("share_minor", "limited_by")
    assert list(shares) == [(2_400, ""), (2_640, ""), (960, "budget"), (0, "budget")]
    assert programmes_world.counts(programme) == (6_000, 0, 6_000)
    programmes_world.check_ties()


def test_caps_count_by_credit_code_over_all_accounts_of_the_firm_in_the_period_of_use(issuer):
    first = buyer(issuer, code="B00", number=100)
    second = buyer(issuer, code="B01", number=100)
    programme = programmes_world.programme(issuer, cap_firm_month_minor=30_000, cap_firm_year_minor=100_000)
    programmes_world.grant(programme, first)
    assert [issue(each).subsidy_minor for each in (first, second)] == [24_000, 6_000]
    code = world.credit_code(100)
    assert list(FirmCap.objects.order_by("period").values_list("credit_code", "period", "redeemed_minor")) == [
        (code, "2020", 30_000),
        (code, "2020-05", 30_000),
    ]
    programmes_world.check_ties()


def test_what_is_committed_is_redeemed_first_and_the_rest_goes_back(issuer):
    account = buyer(issuer)
    programme = programmes_world.programme(issuer, budget_minor=30_000)
    grant = programmes_world.grant(programme, account)
    for source, wanted in [("reservation:1", 20_000), ("reservation:2", 50_000)]:
        commitments.commit(
            grant=grant,
            account=account,
            source=source,
            wanted={"2020-05": wanted},
            expires_at=world.JULY,
            at=world.MAY,
            actor="test",
        )
    assert programmes_world.counts(programme) == (30_000, 30_000, 0)
    assert issue(account).subsidy_minor == 24_000
    assert programmes_world.counts(programme) == (30_000, 0, 24_000)
    told = grant.commitments.order_by("pk").values_list("state", "amount_minor", "redeemed_minor", "released_minor")
    assert list(told) == [("redeemed", 20_000, 20_000, 0), ("redeemed", 10_000, 4_000, 6_000)]
    programmes_world.check_ties()


def test_a_paused_programme_pays_what_is_committed_and_no_more(issuer):
    account = buyer(issuer)
    programme = programmes_world.programme(issuer)
    grant = programmes_world.grant(programme, account)
    commitments.commit(
        grant=grant,
        account=account,
        source="r",
        wanted={"2020-05": 5_000},
        expires_at=world.JULY,
        at=world.MAY,
        actor="test",
    )
    programmes.pause(programme=programme, reason="budget under review", at=world.MAY, actor="staff")
    assert issue(account).subsidy_minor == 5_000


def test_a_suspended_grant_pays_nothing_and_an_expired_one_what_was_used_before(issuer):
    accounts = world.buyers(issuer, world.publish().tariff, 2)
    programme = programmes_world.programme(issuer)
    suspended, over = (programmes_world.grant(programme, each, until_date=date(2020, 5, 31)) for each in accounts)
    programmes.suspend(grant=suspended, reason="its facts are being checked", at=world.JUNE, actor="staff")
    assert programmes.expire_grants(at=world.JUNE - timedelta(seconds=1), actor="task:expire") == 0
    assert [programmes.expire_grants(at=world.JUNE, actor="task:expire") for _ in range(2)] == [1, 0]
    over.refresh_from_db()
    assert over.state == "expired"
    world.close(world.may(issuer))
    assert list(Invoice.objects.order_by("number").values_list("subsidy_minor", flat=True)) == [0, 2_640]


def test_a_grant_that_ends_in_mid_month_pays_for_no_line_of_the_whole_month(issuer):
    account = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer), account, until_date=date(2020, 5, 15))
    assert issue(account).subsidy_minor == 0
    assert ProgrammeShare.objects.get().eligible_minor == 0


def test_supply_of_a_related_party_is_not_paid_for(issuer):
    account = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer, bars_related_parties=True), account)
    PartyFact.objects.create(
        party=world.provider(),
        kind="related_party",
        value=account.party.credit_code,
        from_date=date(2019, 1, 1),
        claimed_at=world.MAY,
        actor="test",
    )
    assert issue(account).subsidy_minor == 0
    assert ProgrammeShare.objects.get().barred == sorted([world.provider().pk, account.party_id])


def test_where_only_one_side_may_claim_the_supply_of_a_provider_that_does_is_not_paid_for(issuer):
    account = buyer(issuer)
    programme = programmes_world.programme(issuer, one_side_claims=True)
    programmes_world.grant(programme, account)
    its_own = programmes.apply(programme=programme, party=world.provider(), at=world.MAY, actor="test")
    programmes.approve(grant=its_own, at=world.MAY, actor="staff")
    assert issue(account).subsidy_minor == 0


def test_usage_that_came_after_the_issue_does_not_take_more_when_the_month_is_re_rated(issuer):
    account = buyer(issuer)
    programmes_world.grant(programmes_world.programme(issuer), account)
    invoice = issue(account)
    world.read(account.contracts.get(), *world.hours(50), start_at=world.MAY + 200 * world.INTERVAL)
    again = charging.charges(account=account, period=world.may(issuer))
    assert (again.net_minor, again.subsidy_minor) == (120_000, invoice.subsidy_minor)


def test_the_snapshot_of_a_firm_without_a_grant_names_no_programme(issuer):
    with_grant, without = buyer(issuer), buyer(issuer, code="B01", number=101)
    programmes_world.grant(programmes_world.programme(issuer), with_grant)
    told = json.loads(issue(without).snapshot)
    assert {"subsidy_minor", "payable_minor", "funding"}.isdisjoint(told)
    assert {"list_minor", "subsidy_minor", "payable_minor", "funding"}.isdisjoint(told["lines"][0])
    told = json.loads(issue(with_grant).snapshot)
    assert told["lines"][0]["funding"] == [{"programme": "sme-30", "share_minor": 24_000}]
    assert (told["lines"][0]["list_minor"], told["lines"][0]["payable_minor"]) == (80_000, 56_000)


def test_a_grant_that_came_between_rating_and_issue_counts(issuer, monkeypatch):
    account = buyer(issuer)
    programme = programmes_world.programme(issuer)
    rated = invoicing._issue_as_rated
    asked = []

    def granted_first(draft, *rest):
        if not asked:
            programmes_world.grant(programme, account)
        asked.append(draft.charges is not None)
        return rated(draft, *rest)

    monkeypatch.setattr(invoicing, "_issue_as_rated", granted_first)
    assert issue(account).subsidy_minor == 24_000
    assert asked == [False, True]


@pytest.mark.parametrize("state", Grant.State.values)
def test_whatever_became_of_an_application_the_invoice_is_issued_as_it_was_rated(issuer, state, monkeypatch):
    """Rating and issue agree on which grants are asked: else what was rated would be outdated for ever."""
    rated, ready = [], invoicing._ready
    monkeypatch.setattr(
        invoicing, "_ready", lambda *facts: (rated.append(1), ready(*facts))[1] if len(rated) < 3 else 1 / 0
    )
    account = buyer(issuer)
    applied = programmes.apply(
        programme=programmes_world.programme(issuer), party=account.party, at=world.MAY, actor="test"
    )
    facts = {"grant": applied, "reason": "because", "at": world.MAY, "actor": "staff"}
    if state == Grant.State.WITHDRAWN:
        programmes.withdraw(grant=applied, at=world.MAY, actor="test")
    elif state == Grant.State.REJECTED:
        programmes.reject(**facts)
    elif state != Grant.State.APPLIED:
        programmes.approve(**facts)
    if state == Grant.State.SUSPENDED:
        programmes.suspend(**facts)
    elif state == Grant.State.EXPIRED:
        programmes.expire_grants(at=world.JULY + timedelta(days=365), actor="task")
    assert Grant.objects.get().state == state
    paid = 24_000 if state in (Grant.State.APPROVED, Grant.State.EXPIRED) else 0
    assert issue(account).subsidy_minor == paid
    assert len(rated) == 1
