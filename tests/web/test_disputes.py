"""A buyer disputes a line, sees what is held back, and reads the answer; nobody else's lines are to be disputed."""

from datetime import timedelta

import pytest
from django.urls import reverse

from billing import disputes, invoicing
from billing.models import Dispute
from marketplace.admin.site import staff
from tests.marketplace.tenants import make_user
from tests.web.buyers import hourly, local, text

REASON = {"reason": "The job had failed."}


@pytest.fixture
def issued(zoned):
    """Sun's invoice of April: 36 GPU-hours at peak and in the valley."""
    hourly(zoned.sun.contract, 3, start_at=local(1, 8, month=4), hours=12)
    period = invoicing.open_period(issuer=zoned.issuer, code="2020-04")
    return invoicing.issue(account=zoned.sun.account, period=period, at=local(1), actor="test")


@pytest.fixture
def operator(browser, db):
    return browser(make_user("operator", is_staff=True, is_superuser=True))


def form(invoice, position=1):
    return reverse("dispute", args=[invoice.number, position])


def line(invoice, position=1):
    return reverse("invoice_line", args=[invoice.number, position])


def test_a_line_is_disputed_held_back_and_withdrawn(sun, zoned, issued):
    assert form(issued) in sun.get(line(issued)).text
    answer = sun.post(form(issued), REASON | {"amount": "10.00"})
    assert (answer.status_code, answer["Location"]) == (302, line(issued))
    dispute = Dispute.objects.get()
    assert (dispute.net_minor, dispute.held_minor, dispute.state, dispute.opened_by) == (
        1_000,
        1_060,
        "open",
        f"user:{zoned.sun.owner.pk}",
    )
    page = sun.get(f"/invoices/{issued.number}/")
    payable, held = page.context["standing"], page.context["disputed"]
    found = disputes.collectable(invoice=issued)
    assert found.collectable_minor == issued.payable_minor - 1_060
    assert (held[0]["held"], held[0]["address"]) == ("-¥10.60", line(issued))
    assert payable["collectable"] in page.text
    page = sun.get(line(issued))
    assert "You dispute this line" in text(page)
    assert form(issued) not in page.text
    sun.post(reverse("withdraw_dispute", args=[dispute.pk]))
    dispute.refresh_from_db()
    assert dispute.state == "withdrawn"
    assert "standing" not in sun.get(f"/invoices/{issued.number}/").context
    assert form(issued) in sun.get(line(issued)).text


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "reason"),
        ({"reason": " "}, "reason"),
        (REASON | {"amount": "0"}, "amount"),
        (REASON | {"amount": "-1"}, "amount"),
        (REASON | {"amount": "999999"}, "amount"),
        (REASON | {"amount": "0.001"}, "amount"),
        (REASON | {"amount": "much"}, "amount"),
        (REASON | {"amount": "1e999999"}, "amount"),
    ],
)
def test_what_is_wrong_stands_at_its_field(sun, issued, sent, field):
    page = sun.post(form(issued), sent)
    assert (page.status_code, list(page.context["form"].errors)) == (200, [field])
    assert not Dispute.objects.exists()


def test_one_is_open_for_a_line(sun, issued):
    sun.post(form(issued), REASON)
    page = sun.post(form(issued), {"reason": "again"}, follow=True)
    assert "You dispute this line already." in text(page)
    assert Dispute.objects.count() == 1


def test_who_may_not_see_bills_or_is_another_buyer_or_of_the_staff_disputes_nothing(browser, zoned, issued, operator):
    for client in (browser(zoned.sun.viewer), browser(zoned.moon.owner), operator):
        assert client.get(form(issued)).status_code == 404
        assert client.post(form(issued), REASON).status_code == 404
    dispute = disputes.open_(line=issued.lines.get(position=1), reason="x", at=local(2), actor="test")
    for client in (browser(zoned.sun.viewer), browser(zoned.moon.owner), operator):
        assert client.post(reverse("withdraw_dispute", args=[dispute.pk])).status_code == 404
    dispute.refresh_from_db()
    assert dispute.state == "open"


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_staff_uphold_it_by_a_credit_note_and_the_buyer_is_told(
    operator, sun, zoned, issued, committed, mailoutbox, clock, language
):
    clock.now = local(2) + timedelta(hours=1)
    zoned.sun.owner.language = language
    zoned.sun.owner.save()
    dispute = disputes.open_(line=issued.lines.get(position=1), reason="x", net_minor=1_000, at=local(2), actor="test")
    address = staff.address("billing_dispute_uphold", dispute.pk)
    wrong = operator.post(address, {"amount": "0", "answer": "yes"})
    assert list(wrong.context["form"].errors) == ["amount"]
    wrong = operator.post(address, {"amount": "1e999999", "answer": "yes"})
    assert list(wrong.context["form"].errors) == ["amount"]
    wrong = operator.post(address, {"amount": "99999", "answer": "yes"})
    assert "expected 1 to" in text(wrong)
    with committed():
        assert operator.post(address, {"amount": "5.00", "answer": "Half of it."}).status_code == 302
    dispute.refresh_from_db()
    note = dispute.adjustment.document
    assert (dispute.state, note.number, note.net_minor) == ("upheld", "LG-CN-2020-000001", -500)
    letter = mailoutbox[0]
    assert letter.to == [zoned.sun.owner.email]
    assert "Half of it." in letter.body
    assert note.number in letter.body
    assert line(issued) in letter.body
    page = sun.get(line(issued))
    assert "Half of it." in page.text
    assert note.number in page.text
    assert sun.get(f"/invoices/{note.number}/").status_code == 200
    assert operator.post(address, {"amount": "5.00", "answer": "Again."}).status_code == 409


def test_staff_reject_it_with_an_answer(operator, sun, zoned, issued, committed, mailoutbox):
    dispute = disputes.open_(line=issued.lines.get(position=1), reason="x", at=local(2), actor="test")
    address = staff.address("billing_dispute_reject", dispute.pk)
    assert list(operator.post(address, {"answer": ""}).context["form"].errors) == ["answer"]
    with committed():
        operator.post(address, {"answer": "The meter is right."})
    dispute.refresh_from_db()
    assert (dispute.state, dispute.answer) == ("rejected", "The meter is right.")
    assert "The meter is right." in mailoutbox[0].body
    assert form(issued) in sun.get(line(issued)).text


def test_an_invoice_is_disputed_as_a_whole_and_all_of_it_withdrawn(sun, zoned, issued):
    address = reverse("dispute_all", args=[issued.number])
    count = issued.lines.filter(amount_minor__gt=0).count()
    assert "Dispute all of it" in text(sun.get(f"/invoices/{issued.number}/"))
    sun.post(form(issued), REASON)
    assert "Dispute the other lines" in text(sun.get(f"/invoices/{issued.number}/"))
    page = sun.get(address)
    assert [row["position"] for row in page.context["lines"]] == list(range(2, count + 1))
    assert list(sun.post(address, {"reason": " "}).context["form"].errors) == ["reason"]
    answer = sun.post(address, REASON, follow=True)
    assert f"{count - 1} lines are disputed." in text(answer)
    assert Dispute.objects.filter(state="open", reason=REASON["reason"]).count() == count
    assert disputes.collectable(invoice=issued).collectable_minor == 0
    assert "Dispute the other lines" not in text(answer)
    assert "Nothing is left of it to dispute" in text(sun.post(address, REASON, follow=True))
    back = reverse("withdraw_all_disputes", args=[issued.number])
    assert f"{count} disputes are withdrawn." in text(sun.post(back, follow=True))
    assert set(Dispute.objects.values_list("state", flat=True)) == {"withdrawn"}
    assert "No dispute is open any more." in text(sun.post(back, follow=True))
    assert {each.opened_by for each in Dispute.objects.all()} == {f"user:{zoned.sun.owner.pk}"}


def test_nobody_else_disputes_a_whole_invoice(browser, zoned, issued, operator):
    disputes.open_all(document=issued, reason="x", at=local(2), actor="test")
    for client in (browser(zoned.sun.viewer), browser(zoned.moon.owner), operator):
        assert client.get(reverse("dispute_all", args=[issued.number])).status_code == 404
        for name in ("dispute_all", "withdraw_all_disputes"):
            assert client.post(reverse(name, args=[issued.number]), REASON).status_code == 404
    assert set(Dispute.objects.values_list("state", flat=True)) == {"open"}
    assert "Withdraw all disputes" not in operator.get(f"/invoices/{issued.number}/").text


def test_a_whole_invoice_is_disputed_in_chinese(browser, zoned, issued):
    sun = browser(zoned.sun.owner, language="zh-hans")
    page = text(sun.post(reverse("dispute_all", args=[issued.number]), REASON, follow=True))
    count = Dispute.objects.count()
    assert f"已对 {count} 行提出异议。" in page
    assert f"撤回 {count} 项异议" in page
