"""Who signs in to a demo: with which passwords, how long, and that no other zone gets them."""

import json
import stat
from dataclasses import replace

import pytest

from marketplace import access, demo, demo_people
from marketplace.demo_plan import generated
from marketplace.models import Membership, User, Zone


def nobody(_steps):
    """Progress that nobody watches."""


@pytest.fixture
def plan(db):
    whole = generated(seed=1)
    plan = replace(whole, buyers=whole.buyers[:2], samples=0)
    period = demo.found(plan=plan)
    demo.sign_up(plan=plan, progress=nobody)
    demo.close(plan=plan, period=period, processes=1, progress=nobody)
    return plan


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data" / "demo_passwords.json"


def enrol(plan, file):
    return demo_people.enrol(plan=plan, file=file, progress=nobody)


def test_a_buyer_a_provider_and_one_of_the_staff_can_sign_in_with_what_is_told(plan, file, client):
    was_work, logins = enrol(plan, file)
    assert was_work
    assert [(login.email, login.part, login.firm) for login in logins] == [
        ("buyer@demo.example", "buyer", "Cangming Ship Simulation (Demo) Co., Ltd."),
        ("provider@demo.example", "provider", "SenseTime AIDC (Demo)"),
        ("staff@demo.example", "staff", ""),
    ]
    assert len({login.password for login in logins}) == 3
    assert all(len(login.password) == 16 for login in logins)
    for login in logins:
        client.logout()
        response = client.post("/sign-in/", {"username": login.email, "password": login.password}, follow=True)
        assert response.redirect_chain, login
        assert response.wsgi_request.user.email == login.email
    assert list(User.objects.filter(is_staff=True).values_list("email", flat=True)) == ["staff@demo.example"]


def test_the_buyer_sees_its_own_invoice_and_no_other(plan, file, client):
    enrol(plan, file)
    buyer = User.objects.get(email="buyer@demo.example")
    assert [invoice.number for invoice in access.invoices_for(buyer)] == ["LG-2026-000001"]
    client.force_login(buyer)
    for address in ("/month/", "/usage/", "/events/", "/invoices/"):
        assert client.get(address).status_code == 200, address
    assert "LG-2026-000001" in client.get("/invoices/").text
    assert client.get("/admin/").status_code == 404


def test_a_second_run_changes_nothing_and_tells_the_same(plan, file):
    first = enrol(plan, file)[1]
    before = list(User.objects.values()), list(Membership.objects.values()), file.read_bytes()
    assert enrol(plan, file) == (False, first)
    assert (list(User.objects.values()), list(Membership.objects.values()), file.read_bytes()) == before


def test_the_passwords_are_for_the_owner_of_the_file_alone(plan, file):
    enrol(plan, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(json.loads(file.read_text())) == sorted(demo_people.emails())
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"buyer@demo.example": 7}', '{"other": "x"}'])
def test_a_file_that_is_lost_or_spoilt_gives_new_passwords(plan, file, content):
    first = enrol(plan, file)[1]
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    was_work, logins = enrol(plan, file)
    assert was_work
    assert not {login.password for login in logins} & {login.password for login in first}
    assert all(User.objects.get(email=login.email).check_password(login.password) for login in logins)
    assert User.objects.count() == 3


def test_a_run_that_was_killed_between_file_and_database_is_finished_by_the_next(plan, file, monkeypatch):
    def killed(*_facts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo_people, "_enrol", killed)
        with pytest.raises(KeyboardInterrupt):
            enrol(plan, file)
    told = json.loads(file.read_text())
    assert (list(told), User.objects.count()) == (["buyer@demo.example"], 0)
    was_work, logins = enrol(plan, file)
    assert (was_work, logins[0].password) == (True, told["buyer@demo.example"])
    assert sorted(Membership.objects.values_list("user__email", "role")) == [
        ("buyer@demo.example", "owner"),
        ("provider@demo.example", "owner"),
    ]


def test_a_user_who_was_changed_since_is_what_the_file_says_again(plan, file):
    first = enrol(plan, file)[1]
    User.objects.filter(email="staff@demo.example").update(is_active=False)
    buyer = User.objects.get(email="buyer@demo.example")
    buyer.set_password("another one")
    buyer.save()
    assert enrol(plan, file) == (True, first)
    assert enrol(plan, file) == (False, first)


def test_in_a_zone_that_no_demo_made_nobody_is_made(plan, file):
    Zone.objects.update(made_from="")
    with pytest.raises(Zone.DoesNotExist):
        enrol(plan, file)
    assert not User.objects.exists()
    assert not file.exists()


@pytest.mark.parametrize(("language", "firm"), [("en", "Cangming Ship Simulation (Demo) Co., Ltd."), ("zh-CN", "沧溟")])
def test_the_start_page_names_them_without_their_passwords_where_the_demo_is_shown(
    plan, file, client, settings, language, firm
):
    logins = enrol(plan, file)[1]
    settings.DEMO = True
    page = client.get("/", headers={"Accept-Language": language}).text
    for login in logins:
        assert f"<code>{login.email}</code>" in page
        assert login.password not in page
    assert firm in page
    assert "@demo.example" not in client.get("/", REMOTE_ADDR="192.0.2.7").text
    settings.DEMO = False
    assert "@demo.example" not in client.get("/").text
