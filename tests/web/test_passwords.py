"""A forgotten password: a letter to the mailbox, a link that is good once, and no word on who has an account."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace import passwords, second_factor, tasks
from marketplace.models import Job, User
from tests.marketplace.tenants import PASSWORD, make_tenants
from tests.web import letters
from tests.web.test_second_factor import enrolled

EMAIL, NEW = "owner.sun@example.com", "another good passphrase"


@pytest.fixture
def link(tenants, browser, committed):
    with committed():
        ask_for_link(browser(), EMAIL.upper())
    return letters.link(EMAIL, "/password/new/")


def ask_for_link(client, email=EMAIL):
    """And have the worker send the letter."""
    answer = client.post("/password/forgotten/", {"email": email})
    for job in Job.objects.filter(kind=passwords.JOB, state=Job.State.DUE):
        tasks.KINDS[job.kind](job, timezone.now())
        job.delete()
    return answer.status_code


def set_new(client, link, password=NEW):
    return client.post("/password/new/", {**letters.query(EMAIL, "/password/new/"), "password": password})


def sign_in(client, password):
    return client.post("/sign-in/", {"username": EMAIL, "password": password}).status_code


def test_the_link_sets_a_new_password_once_and_signs_out_other_devices(tenants, browser, committed):
    elsewhere, client = browser(tenants.sun.owner), browser()
    with committed():
        ask_for_link(client)
    link = letters.link(EMAIL, "/password/new/")
    assert f"For <strong>{EMAIL}</strong>" in client.get(link).text
    with committed():
        assert set_new(client, link)["Location"] == "/sign-in/"
    assert "Your password is changed. Sign in with the new one." in client.get("/sign-in/").text
    assert "_auth_user_id" not in client.session
    assert elsewhere.get("/keys/").status_code == 302
    assert (sign_in(browser(), PASSWORD), sign_in(browser(), NEW)) == (200, 302)
    assert len(letters.to(EMAIL)) == 2
    for answer in (client.get(link), client.post("/password/new/", {"user": "MQ", "token": "x", "password": NEW})):
        assert (answer.status_code, "This link is void" in answer.text) == (410, True)


def test_a_link_is_void_after_the_next_sign_in(browser, link):
    sign_in(browser(), PASSWORD)
    assert browser().get(link).status_code == 410


def test_a_link_ends_after_an_hour(browser, link, settings):
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert browser().get(link).status_code == 410


@pytest.mark.parametrize(("user", "token"), [("", ""), ("x", "y"), ("MQ", "a-b"), ("/////w", "a-b"), ("\0", "é")])
def test_a_link_that_is_not_ours_is_void(tenants, browser, user, token):
    answer = browser().get("/password/new/", {"user": user, "token": token})
    assert (answer.status_code, "This link is void" in answer.text) == (410, True)


def test_a_password_that_will_not_do_is_refused_at_its_field(tenants, browser, link):
    for password in ("short", "owner.sun@example", "1234567890123"):
        answer = set_new(browser(), link, password)
        assert (answer.status_code, list(answer.context["form"].errors)) == (200, ["password"])
    assert tenants.sun.owner.check_password(PASSWORD)


def test_of_six_who_open_one_link_at_once_one_sets_the_password(fresh_database, browser):
    make_tenants()
    ask_for_link(browser())
    parameters = letters.query(EMAIL, "/password/new/")

    def at_once(password):
        return lambda: browser().post("/password/new/", {**parameters, "password": password}).status_code

    answers = fresh_database.at_once(*[at_once(f"a good passphrase {number}") for number in range(6)])
    assert sorted(answers) == [302] + [410] * 5
    won = answers.index(302)
    assert User.objects.get(email=EMAIL).check_password(f"a good passphrase {won}")


def test_the_answer_is_the_same_for_all_addresses_and_only_active_accounts_get_a_letter(tenants, browser, committed):
    User.objects.filter(email="viewer.sun@example.com").update(is_active=False)
    pages = []
    for email in (EMAIL, "nobody@example.com", "viewer.sun@example.com"):
        client = browser()
        with committed():
            assert ask_for_link(client, email) == 302
        page = client.get("/password/forgotten/").text.replace(email, "EMAIL")
        pages.append(re.sub(r'name="csrfmiddlewaretoken" value="\w+"|X-CSRFToken": "\w+', "", page))
    assert pages[0] == pages[1] == pages[2]
    assert [len(letters.to(each)) for each in (EMAIL, "nobody@example.com", "viewer.sun@example.com")] == [1, 0, 0]


def test_a_request_does_the_same_for_who_has_an_account_and_who_has_none(tenants, browser, committed):
    """The letter is written by the worker: how long the answer takes says nothing."""
    client = browser()
    asked = []
    for email in (EMAIL, "nobody@example.com"):
        with CaptureQueriesContext(connection) as queries, committed():
            client.post("/password/forgotten/", {"email": email})
        asked.append([query["sql"].split()[0] for query in queries])
        assert letters.to(email) == []
    assert asked[0] == asked[1]
    assert [job.payload["email"] for job in Job.objects.filter(kind=passwords.JOB).order_by("id")] == [
        EMAIL,
        "nobody@example.com",
    ]


def test_an_address_gets_five_letters_an_hour(tenants, browser, committed, standing):
    with committed():
        answers = [ask_for_link(browser()) for _ in range(6)]
    assert (answers, len(letters.to(EMAIL))) == ([302] * 5 + [429], 5)


def test_the_lock_opens_for_who_has_shown_the_mailbox_and_the_second_factor_stays(tenants, browser, link, standing):
    enrolled(tenants.sun.owner, timezone.now())
    client = browser()
    for _ in range(5):
        sign_in(client, "wrong")
    assert sign_in(client, PASSWORD) == 429
    assert set_new(client, link).status_code == 302
    assert sign_in(client, NEW) == 302
    assert client.get("/keys/")["Location"] == "/second-factor/step/?next=%2Fkeys%2F"
    assert len(second_factor.recovery_codes(user=tenants.sun.owner)) == 10
