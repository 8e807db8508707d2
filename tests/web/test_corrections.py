"""From late usage to the note: staff find it, look at it and decide; the buyer sees it beside its invoice."""

import csv
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from billing import invoicing
from billing.documents import figures
from billing.models import Adjustment, Invoice
from billing.usage import Event, record
from marketplace import tasks
from marketplace.admin.site import staff
from marketplace.models import Job
from tests.marketplace.tenants import make_user
from tests.web.buyers import hourly, local, text
from tests.web.test_downloads import body

AFTER = local(2) + timedelta(hours=1)


@pytest.fixture
def issued(zoned):
    """Sun's invoice of April, and an hour of 4 GPUs at peak that came after it."""
    hourly(zoned.sun.contract, 3, start_at=local(1, 8, month=4), hours=12)
    period = invoicing.open_period(issuer=zoned.issuer, code="2020-04")
    invoice = invoicing.issue(account=zoned.sun.account, period=period, at=local(1), actor="test")
    contract = zoned.sun.contract
    data = {"value": "4", "duration_seconds": 3600}
    event = Event("late", "s", "gpu.sample", contract.number, local(9, 9, month=4), data)
    [result] = record(owner=contract.provider, events=[event], at=local(2)).results
    assert result.outcome == "counted"
    return invoice


@pytest.fixture
def operator(browser, db):
    return browser(make_user("operator", is_staff=True, is_superuser=True))


def test_the_worker_finds_what_came_late_and_does_not_decide(issued):
    job = Job.objects.create(kind="find_corrections", key="now", due_at=AFTER, created_at=AFTER)
    for _ in range(2):
        tasks.find_corrections(job, AFTER)
    adjustment = Adjustment.objects.get()
    assert (adjustment.invoice, adjustment.state, adjustment.events_recorded) == (issued, "proposed", 1)
    assert Invoice.objects.filter(corrects=issued).count() == 0


def test_a_command_compares_a_whole_month(issued, capsys):
    call_command("find_corrections", period="2020-04")
    adjustment = Adjustment.objects.get()
    net_minor = adjustment.net_minor
    assert capsys.readouterr().out == (
        f"{issued.number}  lines that differ: {len(adjustment.lines)}  {net_minor // 100}.{net_minor % 100:02d} CNY\n"
        "2020-04: invoices compared: 1, that differ: 1.\n"
    )
    with pytest.raises(CommandError, match="period is 2019-01"):
        call_command("find_corrections", period="2019-01")


def test_staff_compare_look_and_issue_and_the_buyer_sees_the_note(operator, sun, zoned, issued, clock):
    clock.now = AFTER
    operator.post(staff.address("billing_invoice_compare", issued.pk))
    adjustment = Adjustment.objects.get()
    address = staff.address("billing_adjustment_approve", adjustment.pk)
    page = operator.get(address)
    [table] = page.context["tables"]
    assert len(table.rows) == len(adjustment.lines) + 1
    assert adjustment.lines[0]["contract"] in page.text
    assert list(operator.post(address, {"reason": ""}).context["form"].errors) == ["reason"]
    assert operator.post(address, {"reason": "The meter was offline."}).status_code == 302
    adjustment.refresh_from_db()
    note = adjustment.document
    assert (adjustment.state, note.number, note.kind) == ("issued", "LG-DN-2020-000001", "debit_note")
    assert operator.post(address, {"reason": "again"}).status_code == 409
    listed = sun.get("/invoices/")
    assert [(row["number"], row["kind"]) for row in listed.context["invoices"]] == [
        (note.number, "Debit note"),
        (issued.number, ""),
    ]
    page = sun.get(f"/invoices/{issued.number}/")
    assert [row["number"] for row in page.context["notes"]] == [note.number]
    assert "What is to be paid" in text(page)
    page = sun.get(f"/invoices/{note.number}/")
    assert page.context["corrects"] == issued
    assert "was 36 GPU-h" in page.text
    page = sun.get(reverse("invoice_line", args=[note.number, 1]))
    assert f"This corrects a line of invoice {issued.number}" in text(page)
    for form in ("csv", "xlsx", "json"):
        assert b"".join(sun.get(reverse("invoice_download", args=[note.number, form])))
    assert sun.get(reverse("invoice_pdf", args=[note.number, "zh-hans"])).status_code == 200


def test_a_note_is_no_months_invoice(operator, sun, zoned, issued, clock):
    """May has a note and no invoice yet: its preview stands in the list and on its page."""
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=2)
    clock.now = AFTER
    operator.post(staff.address("billing_invoice_compare", issued.pk))
    operator.post(staff.address("billing_adjustment_approve", Adjustment.objects.get().pk), {"reason": "seen"})
    assert Invoice.objects.get(corrects=issued).period.code == "2020-05"
    assert [row["code"] for row in sun.get("/invoices/").context["previews"]] == ["2020-05"]
    assert sun.get(reverse("preview", args=[zoned.sun.account.pk, "2020-05"])).status_code == 200


def test_the_months_file_is_the_same_bytes_whoever_takes_it_away(operator, sun, zoned, issued, clock, tmp_path):
    """A month with an invoice and a note says of each which it is, on the page, in the admin and by the command."""
    hourly(zoned.sun.contract, 1, start_at=local(1), hours=2)
    clock.now = AFTER
    period = invoicing.open_period(issuer=zoned.issuer, code="2020-05")
    operator.post(staff.address("billing_invoice_compare", issued.pk))
    operator.post(staff.address("billing_adjustment_approve", Adjustment.objects.get().pk), {"reason": "seen"})
    invoicing.issue(account=zoned.sun.account, period=period, at=local(1, month=6), actor="test")
    for form in ("csv", "xlsx", "json"):
        page = body(sun.get(reverse("month_download", args=["2020-05", form])))
        assert body(operator.get(staff.address("period_export", period.pk, form))) == page
        path = tmp_path / f"month.{form}"
        call_command("export_invoices", period="2020-05", format=form, output=path, stderr=StringIO())
        assert path.read_bytes() == page
    table = csv.DictReader(StringIO(body(sun.get("/invoices/month/2020-05/csv/")).decode("utf-8-sig")))
    assert {(row["document_kind"], row["corrects"]) for row in table} == {
        ("invoice", ""),
        ("debit_note", issued.number),
    }


def test_staff_dismiss_with_a_reason(operator, issued, clock):
    clock.now = AFTER
    operator.post(staff.address("billing_invoice_compare", issued.pk))
    adjustment = Adjustment.objects.get()
    operator.post(staff.address("billing_adjustment_dismiss", adjustment.pk), {"reason": "A test run."})
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.reason) == ("dismissed", "A test run.")
    page = operator.post(staff.address("billing_invoice_compare", issued.pk), follow=True)
    assert "Nothing differs that was not decided on." in text(page)


def test_what_the_buyer_sees_names_no_proposal(sun, issued, clock):
    clock.now = AFTER
    call_command("find_corrections", period="2020-04")
    page = sun.get(f"/invoices/{issued.number}/")
    assert "standing" not in page.context
    assert timezone.now() == AFTER


# On the next invoice


CHOICE = "/organization/billing/"


@pytest.mark.parametrize(
    ("role", "sees", "changes"),
    [("owner", 200, 302), ("finance", 200, 302), ("engineer", 404, 404), ("viewer", 404, 404)],
)
def test_owner_and_finance_choose_where_corrections_go(tenants, browser, role, sees, changes):
    client = browser(tenants.sun.users[role])
    account = tenants.sun.organization.party.accounts.get()
    page = client.get(CHOICE)
    assert page.status_code == sees
    assert (f'href="{CHOICE}"' in client.get("/organization/").text) == (sees == 200)
    asked = {"account": account.pk, "corrections_on": "next_invoice"}
    assert client.post(CHOICE, asked).status_code == changes
    account.refresh_from_db()
    chosen = ("next_invoice", f"user:{tenants.sun.users[role].pk}") if changes == 302 else ("note", "")
    assert (account.corrections_on, account.corrections_chosen_by) == chosen
    if changes == 302:
        assert "Chosen on" in text(client.get(CHOICE))
        refused = client.post(CHOICE, asked | {"corrections_on": "never"})
        assert list(refused.context["accounts"][0][1].errors) == ["corrections_on"]
        for wrong in ("", "x", "9" * 30):
            assert client.post(CHOICE, asked | {"account": wrong}).status_code == 404


def test_nobody_chooses_for_another_organization(tenants, browser):
    account = tenants.moon.organization.party.accounts.get()
    client = browser(tenants.sun.owner)
    assert client.post(CHOICE, {"account": account.pk, "corrections_on": "next_invoice"}).status_code == 404
    account.refresh_from_db()
    assert account.corrections_on == "note"


def test_staff_approve_for_the_next_invoice_take_it_back_and_the_buyer_sees_it_before_and_after(
    operator, sun, browser, zoned, issued, clock
):
    # April: 12 h × 3 GPUs; an hour of 4 came late. May: 2 h of 1 GPU.
    account = zoned.sun.account
    hourly(zoned.sun.contract, 1, start_at=local(2), hours=2)
    clock.now = AFTER
    operator.post(staff.address("billing_account_choose_corrections", account.pk), {"corrections_on": "next_invoice"})
    operator.post(staff.address("billing_invoice_compare", issued.pk))
    adjustment = Adjustment.objects.get()
    address = staff.address("billing_adjustment_approve", adjustment.pk)
    assert "on the next invoice of the account" in text(operator.get(address))
    assert operator.post(address, {"reason": "The meter was offline."}).status_code == 302
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.document) == ("approved", None)
    assert operator.post(address, {"reason": "again"}).status_code == 409
    undo = staff.address("billing_adjustment_undo", adjustment.pk)
    assert list(operator.post(undo, {"reason": ""}).context["form"].errors) == ["reason"]
    operator.post(undo, {"reason": "Wait."})
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.returned, adjustment.reason) == ("proposed", "undone", "Wait.")
    assert operator.post(undo, {"reason": "again"}).status_code == 409
    assert "the approval was taken back" in text(
        operator.get(staff.address("billing_adjustment_change", adjustment.pk))
    )
    operator.post(address, {"reason": "Seen."})
    preview = sun.get(reverse("preview", args=[account.pk, "2020-05"]))
    assert (
        preview.context["said"]["corrections"]["groups"][0]["heading"] == f"Corrects invoice {issued.number} (2020-04)"
    )
    period = invoicing.open_period(issuer=zoned.issuer, code="2020-05")
    assert f"Corrects invoice {issued.number}" in text(operator.get(staff.address("preview", account.pk)))
    clock.now = local(1, month=6) + timedelta(hours=3)
    bill = invoicing.issue(account=account, period=period, at=clock.now, actor="test")
    [note] = bill.settles.all()
    _check_pages(browser(zoned.sun.owner), bill, note, issued)  # the session of May is over


def _check_pages(sun, bill, note, issued):
    page = sun.get(f"/invoices/{bill.number}/")
    said = page.context["said"]["corrections"]
    assert said["sums"] == [
        ["This month", figures.money(bill.payable_minor, "CNY")],
        ["Corrections", figures.money(note.payable_minor, "CNY")],
    ]
    due = figures.money(bill.payable_minor + note.payable_minor, "CNY")
    assert (said["due"], page.context["payable"]) == (["In all due", due], due)
    assert page.context["standing"]["collectable"] == due
    assert [row["number"] for row in page.context["notes"]] == [note.number]
    assert f'href="/invoices/{note.number}/lines/1/"' in page.text
    page = sun.get(f"/invoices/{note.number}/")
    assert page.context["settled_on"] == bill
    assert f"Settled on invoice {bill.number}" in text(page)
    page = sun.get(f"/invoices/{issued.number}/")
    assert (page.context["notes"], [row["number"] for row in page.context["elsewhere"]]) == ([], [note.number])
    assert page.context["standing"]["collectable"] == figures.money(issued.payable_minor, "CNY")
    for document in (bill, note):
        for language in ("zh-hans", "en"):
            assert sun.get(reverse("invoice_pdf", args=[document.number, language])).status_code == 200
