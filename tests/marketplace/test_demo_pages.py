"""What the demo shows without a sign-in, and that it shows it nowhere else."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured

from marketplace import demo, environment
from marketplace.demo_plan import generated
from marketplace.models import Zone

HEADING = '<h2 id="invoices-heading">'
PAGES = [
    "/demo/invoices/LG-2026-000001.pdf",
    "/demo/exports/2026-10.csv",
    "/demo/exports/2026-10.xlsx",
    "/demo/exports/2026-10.json",
]
TYPES = [
    "application/pdf",
    "text/csv; charset=utf-8",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/json",
]


def nobody(_steps):
    """Progress that nobody watches."""


@pytest.fixture
def make(db):
    """A demo of so many buyers, invoiced, who used nothing."""

    def make(buyers):
        whole = generated(seed=1)
        plan = replace(whole, buyers=whole.buyers[:buyers], samples=0)
        period = demo.found(plan=plan)
        demo.sign_up(plan=plan, progress=nobody)
        demo.close(plan=plan, period=period, processes=1, progress=nobody)

    return make


@pytest.fixture
def shown(settings):
    settings.DEMO = True


def test_the_start_page_lists_zone_provider_and_invoices(client, make, shown):
    make(2)
    page = client.get("/", headers={"Accept-Language": "en"}).text
    assert f"{HEADING}Lin-gang, 2026-10</h2>" in page
    assert "<dd>SenseTime AIDC (Demo)</dd>" in page
    assert '<a href="/demo/invoices/LG-2026-000001.pdf">LG-2026-000001</a>' in page
    assert "<td>Cangming Ship Simulation (Demo) Co., Ltd.</td>" in page
    # 32 GPUs x 744 hours x 2.10 + 31 days x 10.00 = 50,306.80; VAT 6 % of it 3,018.408
    assert [f'<td class="number">{text}</td>' in page for text in ("50,306.80", "3,018.41", "53,325.21")] == [True] * 3


def test_the_start_page_speaks_chinese_unless_asked_otherwise(client, make, shown):
    make(1)
    page = client.get("/").text
    assert f"{HEADING}临港，2026-10</h2>" in page
    assert "<td>沧溟船舶仿真（演示）有限公司</td>" in page


@pytest.mark.parametrize("buyers", [1, 3])
def test_the_start_page_takes_seven_queries_however_many_invoices_there_are(
    client, make, shown, buyers, django_assert_num_queries
):
    make(buyers)
    with django_assert_num_queries(7):
        assert client.get("/").text.count("/demo/invoices/") == buyers


@pytest.mark.parametrize(("path", "content_type"), list(zip(PAGES, TYPES, strict=True)))
def test_documents_and_exports_are_there(client, make, shown, path, content_type):
    make(1)
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.getvalue()  # to its end, where the client closes the file
    assert client.post(path).status_code == 405


@pytest.mark.parametrize(
    "path", ["/demo/invoices/LG-2026-000009.pdf", "/demo/exports/2026-09.csv", "/demo/exports/2026-10.txt"]
)
def test_what_there_is_not_is_not_found(client, make, shown, path):
    make(1)
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("language", ["zh-CN", "en"])
@pytest.mark.parametrize("path", PAGES)
def test_without_the_setting_none_of_it_exists(client, make, path, language):
    make(1)
    assert client.get(path).status_code == 404
    page = client.get("/", headers={"Accept-Language": language})
    assert page.status_code == 200
    assert HEADING not in page.text


@pytest.mark.parametrize("path", PAGES)
def test_from_another_machine_none_of_it_exists(client, make, shown, path):
    make(1)
    assert client.get(path, REMOTE_ADDR="192.0.2.7").status_code == 404
    assert HEADING not in client.get("/", REMOTE_ADDR="192.0.2.7").text


@pytest.mark.parametrize("path", PAGES)
def test_a_real_zones_invoices_are_never_shown(client, make, shown, path):
    make(1)
    Zone.objects.update(made_from="")
    assert client.get(path).status_code == 404
    assert HEADING not in client.get("/").text


def test_on_an_empty_database_the_start_page_shows_nothing_of_it(client, db, shown):
    page = client.get("/")
    assert page.status_code == 200
    assert HEADING not in page.text


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"])
def test_the_setting_is_for_an_address_of_this_machine(address):
    url = environment.public_url({"PUBLIC_URL": address})
    assert environment.demo({"DEMO": "1"}, url) is True
    assert environment.demo({"DEMO": "0"}, url) is False
    assert environment.demo({}, url) is False


def test_the_setting_is_refused_where_others_reach_the_site():
    url = environment.public_url({"PUBLIC_URL": "https://suanli.example.com"})
    with pytest.raises(ImproperlyConfigured) as refused:
        environment.demo({"DEMO": "1"}, url)
    assert str(refused.value) == (
        "DEMO=1 shows invoices without sign-in, and PUBLIC_URL='https://suanli.example.com' is not this machine's own"
        " address: unset DEMO, or write PUBLIC_URL=http://127.0.0.1:8000."
    )


def test_the_days_of_the_chart_are_local_ones(make):
    make(1)
    period = demo.found(plan=generated(seed=1))
    assert period.start_at.astimezone(ZoneInfo(period.timezone)).isoformat() == "2026-10-01T00:00:00+08:00"
    assert demo.daily(period=period) == []
