"""Pages of what reservations cost: lines over contracts that touch, and one-off charges."""

import json

import pytest
from django.urls import reverse

from billing import contracts, one_off, tariffs
from billing.models import TariffVersion
from tests.billing import world
from tests.billing.bookings import BOOKED, book, hour
from tests.marketplace.tenants import make_user
from tests.web.buyers import hourly, local, text
from tests.web.test_invoices import counted, issue, lines

APRIL_30 = -24  # the hour that 30 April begins at


@pytest.fixture
def booked(zoned):
    """Sun's 8 GPUs over 26 to 30 April, in three pieces on two contracts, and one that was taken back; in use on 30 April."""
    account, version = zoned.sun.account, TariffVersion.objects.get(tariff=zoned.tariff)
    pieces = [(APRIL_30 - 96, APRIL_30 - 48), (APRIL_30 - 24, APRIL_30 + 24), (APRIL_30 - 48, APRIL_30 - 24)]
    made = [book(account, version, *piece) for piece in pieces]
    book(account, version, APRIL_30 - 72, APRIL_30 - 48, source="back")
    contracts.withdraw(contract=made[0], source="back", at=BOOKED.replace(month=3), actor="test")
    first, last = made[0], made[1]
    first.refresh_from_db()
    hourly(first, 8, start_at=local(28, 22, month=4), hours=2)
    hourly(last, 8, start_at=local(29, month=4), hours=2)
    return first, last


@pytest.fixture
def issued(zoned, booked):
    one_off.charge(
        contract=booked[1],
        kind="fee",
        code="CANCEL",
        at=hour(APRIL_30),
        amount_minor=1_234,
        why={"of_amount": "49.36", "value": "25", "why": "cancelled late"},
        source="s",
        actor="test",
        now=hour(APRIL_30),
    )
    return issue(zoned)


def of(page, title):
    return [row for row in lines(page) if title in row[1]]


def test_a_line_over_contracts_that_touch_leads_to_the_readings_of_all(sun, issued, booked):
    page = sun.get(f"/invoices/{issued.number}/")
    (energy,) = of(page, "Usage charge, valley")
    line = sun.get(f"/invoices/{issued.number}/lines/{energy[0]}/")
    assert (line.context["counted"], line.context["differs"]) == ("32.000000", None)
    assert [row["day"].isoformat() for row in line.context["days"]] == ["2020-04-28", "2020-04-29"]
    for day, contract in (("2020-04-28", booked[0]), ("2020-04-29", booked[1])):
        shown = sun.get(f"/invoices/{issued.number}/lines/{energy[0]}/?day={day}")
        assert len(counted(shown)) == 8
        assert f"/events/{contract.pk}/gpu_hours/" in shown.content.decode()


def test_the_capacity_line_leads_to_the_spans_of_all_and_not_to_one_taken_back(sun, issued, booked):
    page = sun.get(f"/invoices/{issued.number}/")
    capacity = [row for row in of(page, "Capacity charge") if row[2].startswith("960")]
    spans = sun.get(f"/invoices/{issued.number}/lines/{capacity[0][0]}/").context["spans"]
    assert [(span["quantity"], span["source"]) for span in spans] == [(8, "-120--72"), (8, "-72--48"), (8, "-48-0")]


def test_a_one_off_charge_says_what_it_is_for(sun, issued):
    page = sun.get(f"/invoices/{issued.number}/")
    assert of(page, "Cancellation fee")[0][2:] == ("1", "12.34")
    line = sun.get(f"/invoices/{issued.number}/lines/{of(page, 'Cancellation fee')[0][0]}/")
    said = text(line)
    assert "49.36 × 25% = 12.34" in said
    assert "cancelled late" in said


def test_its_page_says_it_in_chinese_too(browser, zoned, issued):
    said = text(browser(zoned.sun.owner, "zh-hans").get(f"/invoices/{issued.number}/"))
    assert "取消费" in said
    assert "一次性费用" in said


def test_the_pages_of_use_take_a_reservations_times_of_day_from_its_own_version(sun, zoned, booked):
    """The tariff's later version, which applies to contracts that were signed, has only one."""
    changed = {"periods": ["peak"], "schedule": {"weekday": [["peak"] * 24], "weekend": [["peak"] * 24]}}
    charge = world.energy(prices={"peak": [{"price": "1.00"}]})
    tariffs.publish(document=world.document(charge, effective=["2020-04-29", None], **changed), at=BOOKED, actor="test")
    readings = sun.get(f"/events/?contract={booked[1].pk}&date=2020-04-29")
    assert "valley" in text(readings).lower()
    page = sun.get(f"/usage/?range=day&date=2020-04-29&contract={booked[1].pk}")
    assert "valley" in text(page).lower()


def test_staff_see_a_one_off_charge_in_the_preview_and_on_the_invoice(browser, zoned, issued):
    staff = browser(make_user("staff", is_staff=True, is_superuser=True))
    line = issued.lines.get(kind="one_off")
    page = staff.get(reverse("admin:billing_invoiceline_change", args=[line.pk]))
    assert "One-off charge CANCEL" in text(page)
    assert "cancelled late" in page.content.decode()
    preview = text(staff.get(reverse("admin:billing_invoice_changelist")))
    assert issued.number in preview


def test_staff_publish_no_version_of_a_providers_tariff(browser, zoned):
    document = world.document(code="OWN", effective=["2020-04-01", None])
    tariffs.publish(document=document, at=BOOKED, actor="test", owner=world.party(7, "供应商七"))
    staff = browser(make_user("staff", is_staff=True, is_superuser=True))
    later = json.dumps(document | {"effective": ["2020-07-01", None]})
    page = staff.post(reverse("admin:billing_tariffversion_add"), {"document": later})
    assert "that tariff is another&#x27;s: expected a code of the operator&#x27;s own" in page.content.decode()
    assert "供应商七" not in page.content.decode()
    assert TariffVersion.objects.filter(tariff__code="OWN").count() == 1
