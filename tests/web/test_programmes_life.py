"""A programme's whole life through the pages: applied for, approved, paid of an invoice, claimed, proved, settled."""

import io
import json
import zipfile
from datetime import date

import pytest
from django.contrib.messages import get_messages

from billing import invoicing
from billing.documents import figures
from billing.models import Claim, Grant, Invoice
from tests.billing import programmes_world, world
from tests.marketplace.tenants import make_user
from tests.web import buyers
from tests.web.buyers import text
from tests.web.programme_pages import document, hand_in, know, voucher

MONTH = {"from_month": "2020-05", "until_month": "2020-05"}


def said(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


@pytest.fixture
def billed(zoned):
    """Of sun's May: 4 GPUs for 10 hours at night at 2.00, and 0.10 for each, are 84.00; 2,976 GPU-hours reserved at 1.00; 4
    GPUs of demand at 30.00: net 3,180.00.
    """
    buyers.hourly(zoned.sun.contract, 4, start_at=buyers.local(2, 22), hours=10)
    know(zoned.sun)

    def bill():
        return invoicing.issue(account=zoned.sun.account, period=world.may(zoned.issuer), at=world.JUNE, actor="test")

    return bill


@pytest.fixture
def staff(browser, zoned):
    return browser(make_user("staff", is_staff=True))


def manifest_of(response):
    assert (response.status_code, response["Content-Type"]) == (200, "application/zip")
    archive = zipfile.ZipFile(io.BytesIO(b"".join(response)))
    return json.loads(archive.read("manifest.json"))


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Approved", "Redeemed", "Paid of invoices", "paid in part")),
        ("zh-hans", ("已批准", "已兑付", "账单资助记录", "部分支付")),
    ],
)
def test_from_the_application_to_the_settled_claim(browser, zoned, billed, language, words):
    programme = voucher(zoned.issuer)
    sun = browser(zoned.sun.owner, language=language)
    staff = browser(make_user("staff", is_staff=True), language=language)
    hand_in(sun, documents=[document(name="用途.pdf")])
    grant = Grant.objects.get()
    assert staff.post(f"/admin/billing/grant/{grant.pk}/approve/", {}).status_code == 302
    assert words[0] in text(sun.get(f"/grants/{grant.pk}/"))
    invoice = billed()
    share_minor = invoice.subsidy_minor
    assert share_minor == programmes_world.counts(programme)[2] > 0
    page = text(sun.get(f"/grants/{grant.pk}/"))
    paid = f"¥{share_minor // 100:,}.{share_minor % 100:02}"
    assert (f"{words[1]} {paid}" in page, words[2] in page, f"{invoice.number} 2020-05" in page) == (True, True, True)
    wrong = staff.post("/admin/billing/claim/add/", {"programme": programme.pk, "key": "q2", **MONTH, "firm": "x"})
    assert list(wrong.context["adminform"].form.errors) == ["firm"]
    facts = {"programme": programme.pk, "key": "q2", **MONTH}
    assert [staff.post("/admin/billing/claim/add/", facts).status_code for _ in range(2)] == [302, 302]
    claim = Claim.objects.get()
    assert claim.amount_minor == share_minor
    nothing = staff.post("/admin/billing/claim/add/", facts | {"key": "q2-again"})
    assert list(nothing.context["adminform"].form.errors) == ["__all__"]
    address = f"/admin/billing/claim/{claim.pk}"
    assert staff.post(f"{address}/settle/", {"paid": "1.00", "reason": "x"}).status_code == 409
    staff.post(f"{address}/submit/")
    manifest = manifest_of(staff.get(f"/admin/programmes/claims/{claim.pk}/pack/"))
    assert (manifest["claim"]["state"], manifest["totals"]["CNY"]["claimed_minor"]) == ("submitted", share_minor)
    for facts, field in (({"paid": "1.00"}, "reason"), ({"paid": "999999"}, "__all__"), ({"paid": "x"}, "paid")):
        refused = staff.post(f"{address}/settle/", facts)
        assert list(refused.context["form"].errors) == [field]
    staff.post(f"{address}/settle/", {"paid": "100.00", "reason": "quota"})
    claim.refresh_from_db()
    assert (claim.state, claim.paid_minor, claim.reason) == ("short_paid", 10_000, "quota")
    assert words[3] in text(staff.get(f"{address}/change/"))
    again = staff.post("/admin/billing/claim/add/", {"programme": programme.pk, "key": "rest", **MONTH})
    assert (again.status_code, Claim.objects.latest("pk").amount_minor) == (302, share_minor - 10_000)
    assert sun.get(f"/claims/{claim.pk}/pack/").status_code == 404
    programmes_world.check_ties()


def test_a_claim_is_rejected_with_a_reason_and_paid_in_full_without(staff, zoned, billed):
    programme = voucher(zoned.issuer)
    programmes_world.grant(programme, zoned.sun.account)
    billed()
    states = []
    for key, sent in (("1", {"paid": "0", "reason": "late"}), ("2", None)):
        staff.post("/admin/billing/claim/add/", {"programme": programme.pk, "key": key, **MONTH})
        claim = Claim.objects.get(key=key)
        staff.post(f"/admin/billing/claim/{claim.pk}/submit/")
        form = staff.get(f"/admin/billing/claim/{claim.pk}/settle/").context["form"]
        staff.post(f"/admin/billing/claim/{claim.pk}/settle/", sent or {"paid": form.fields["paid"].initial})
        claim.refresh_from_db()
        states.append((claim.state, claim.paid_minor == claim.amount_minor))
    assert states == [("rejected", False), ("paid", True)]
    assert programmes_world.balances(zoned.sun.account)["subsidy_receivable"] == 0


def test_a_firm_proves_its_reimbursement_by_itself(browser, sun, zoned, billed):
    programme = voucher(zoned.issuer, mode="reimbursement")
    grant = programmes_world.grant(programme, zoned.sun.account)
    assert said(sun.post(f"/grants/{grant.pk}/claim/", MONTH)) == ["Nothing is left to claim for these months."]
    billed()
    assert Invoice.objects.get().subsidy_minor == 0
    wrong = sun.post(f"/grants/{grant.pk}/claim/", {"from_month": "2020-13", "until_month": ""})
    assert list(wrong.context["months"].errors) == ["from_month", "until_month"]
    viewer = browser(zoned.sun.viewer)
    assert viewer.post(f"/grants/{grant.pk}/claim/", MONTH).status_code == 404
    for _ in range(2):
        assert sun.post(f"/grants/{grant.pk}/claim/", MONTH)["Location"] == f"/grants/{grant.pk}/"
    claim = Claim.objects.get()
    assert (claim.claimant, claim.key) == (grant.party, f"{grant.party.credit_code} 2020-05 2020-05")
    page = sun.get(f"/grants/{grant.pk}/").text
    assert (f"/claims/{claim.pk}/pack/" in page, "Proof for the funder" in page) == (True, True)
    assert (
        manifest_of(sun.get(f"/claims/{claim.pk}/pack/"))["claim"]["claimant"]["credit_code"] == grant.party.credit_code
    )
    for client in (viewer, browser(zoned.moon.owner)):
        assert client.get(f"/claims/{claim.pk}/pack/").status_code == 404
    assert f"/claims/{claim.pk}/" not in viewer.get(f"/grants/{grant.pk}/").text


def test_a_voucher_is_not_claimed_by_its_firm(sun, zoned, billed):
    grant = programmes_world.grant(voucher(zoned.issuer), zoned.sun.account)
    billed()
    assert sun.post(f"/grants/{grant.pk}/claim/", MONTH).status_code == 404
    assert "Proof for the funder" not in sun.get(f"/grants/{grant.pk}/").text
    assert not Claim.objects.exists()


def test_nothing_is_paid_before_the_grants_window(zoned, billed):
    programme = voucher(zoned.issuer)
    programmes_world.grant(programme, zoned.sun.account, from_date=date(2020, 6, 1))
    assert billed().subsidy_minor == 0


@pytest.fixture
def own_claim(sun, zoned, billed):
    grant = programmes_world.grant(voucher(zoned.issuer, mode="reimbursement"), zoned.sun.account)
    billed()
    sun.post(f"/grants/{grant.pk}/claim/", MONTH)
    return Claim.objects.get()


def test_a_firm_says_what_became_of_its_own_claim_and_takes_it_back(sun, zoned, own_claim):
    address = f"/claims/{own_claim.pk}/"

    def post(step, **sent):
        answer = sun.post(f"{address}{step}/", sent)
        own_claim.refresh_from_db()
        return answer

    assert address in sun.get(f"/grants/{own_claim.changes.get().claim.programme.grants.get().pk}/").text
    page = sun.get(address)
    assert [way["address"] for way in page.context["page"].navigation() if way["is_here"]] == ["/programmes/"]
    assert (page.context["can_submit"], page.context["form"], page.context["months"]) == (True, None, ["2020-05"])
    assert said(post("settle", paid="1"))[-1] == "The claim has changed meanwhile: look at it again."
    post("submit")
    assert (own_claim.state, sun.get(address).context["form"].initial["paid"]) == (
        "submitted",
        figures.major(own_claim.amount_minor, "CNY"),
    )
    for paid, field in (("-1", "paid"), ("99999999", "paid"), ("0.001", "paid"), ("1.00", "reason")):
        wrong = post("settle", paid=paid, reason=" ")
        assert (wrong.status_code, list(wrong.context["form"].errors)) == (200, [field])
    assert post("settle", paid="1.00", reason="the year's quota")["Location"] == address
    assert (own_claim.state, own_claim.paid_minor, own_claim.reason) == ("short_paid", 100, "the year's quota")
    page = sun.get(address)
    assert (page.context["paid"], page.context["can_reopen"], page.context["form"]) == ("¥1.00", True, None)
    assert zoned.sun.owner.get_full_name() in page.text
    post("reopen")
    post("take-back")
    assert own_claim.state == "draft"
    post("submit")
    post("settle", paid="0", reason="too late")
    assert (own_claim.state, own_claim.paid_minor) == ("rejected", 0)
    sun.post(f"/grants/{own_claim.programme.grants.get().pk}/claim/", MONTH)
    assert said(post("reopen"))[-1].startswith("A later claim asks for what this one did not pay")
    assert own_claim.state == "rejected"
    assert Claim.objects.count() == 2


def test_a_claim_is_its_firms_own_affair(browser, zoned, own_claim, staff):
    address = f"/claims/{own_claim.pk}/"
    for client in (browser(zoned.sun.viewer), browser(zoned.moon.owner)):
        assert client.get(address).status_code == 404
        for step in ("submit", "take-back", "settle", "reopen"):
            assert client.post(f"{address}{step}/", {"paid": "1", "reason": "x"}).status_code == 404
    own_claim.refresh_from_db()
    assert own_claim.state == "draft"
    assert "草稿" in browser(zoned.sun.owner, language="zh-hans").get(address).text
    assert staff.get(f"/admin/billing/claim/{own_claim.pk}/change/").status_code == 200


def test_a_vouchers_claim_has_no_page_for_its_firm(sun, zoned, billed, staff):
    programme = voucher(zoned.issuer)
    programmes_world.grant(programme, zoned.sun.account)
    billed()
    staff.post("/admin/billing/claim/add/", {"programme": programme.pk, "key": "q2", **MONTH})
    assert sun.get(f"/claims/{Claim.objects.get().pk}/").status_code == 404
