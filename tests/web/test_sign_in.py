"""Signing in and out, the lock, the password, language and look, and what every answer carries."""

import re
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.core.management import call_command
from django.urls import get_resolver, reverse

from marketplace.models import User
from tests.marketplace.tenants import PASSWORD, make_tenants, make_user

WRONG = "The e-mail address and the password do not belong together."
LOCKED = "Too many attempts. Signing in is locked for 15 minutes."
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


def sign_in(client, email, password=PASSWORD, **more):
    return client.post("/sign-in/", {"username": email, "password": password, **more})


def who(client):
    return client.session.get("_auth_user_id")


# In and out


def test_the_right_password_signs_in_whatever_the_letters_of_the_address(tenants, browser):
    client = browser()
    response = sign_in(client, " Owner.SUN@example.com ")
    assert (response.status_code, response["Location"]) == (302, "/")
    assert who(client) == str(tenants.sun.owner.pk)


def test_one_comes_to_the_page_that_one_asked_for_and_to_no_other_site(tenants, browser):
    client = browser()
    asked = client.get("/keys/")
    assert (asked.status_code, asked["Location"]) == (302, "/sign-in/?next=/keys/")
    assert '<input type="hidden" name="next" value="/keys/">' in client.get(asked["Location"]).text
    assert sign_in(client, "owner.sun@example.com", next="/keys/")["Location"] == "/keys/"
    for foreign in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        assert sign_in(browser(), "owner.sun@example.com", next=foreign)["Location"] == "/"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("owner.sun@example.com", "wrong"),
        ("owner.sun@example.com", PASSWORD.upper()),
        ("nobody@example.com", PASSWORD),
        ("left@example.com", PASSWORD),
    ],
)
def test_a_wrong_password_an_unknown_account_and_one_that_has_left_get_one_answer(tenants, browser, email, password):
    make_user("left", is_active=False)
    client = browser()
    response = sign_in(client, email, password)
    assert (response.status_code, who(client)) == (200, None)
    assert WRONG in response.text
    token = r'name="csrfmiddlewaretoken" value="\w+"'
    other = sign_in(browser(), "other@example.com", "wrong").text.replace("other@example.com", email)
    strip = re.compile(rf"{token}|X-CSRFToken\": \"\w+")
    assert strip.sub("", response.text) == strip.sub("", other)


def test_signing_out_is_a_post(tenants, browser):
    client = browser(tenants.sun.owner)
    assert client.get("/sign-out/").status_code == 405
    assert who(client) is not None
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert who(client) is None


def test_a_user_who_is_made_inactive_is_out_at_once(tenants, browser):
    client = browser(tenants.sun.owner)
    assert client.get("/keys/").status_code == 200
    User.objects.filter(pk=tenants.sun.owner.pk).update(is_active=False)
    assert client.get("/keys/")["Location"] == "/sign-in/?next=/keys/"


def test_a_form_without_its_token_changes_nothing_and_says_so(tenants, browser):
    client = browser(tenants.sun.owner, enforce_csrf_checks=True)
    for address in ("/sign-out/", "/language/", "/theme/", "/keys/", "/organization/", "/organization/switch/"):
        response = client.post(address, {"language": "en", "theme": "dark"})
        assert (response.status_code, "Please try again" in response.text) == (403, True)
        assert response["Content-Security-Policy"]
    assert who(client) is not None


# The lock


def test_the_fifth_failure_locks_the_account_for_this_address_also_against_the_right_password(tenants, browser):
    client = browser()
    answers = [sign_in(client, "owner.sun@example.com", "wrong") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    for email, password in (
        ("owner.sun@example.com", "wrong"),
        ("owner.sun@example.com", PASSWORD),
        ("OWNER.sun@EXAMPLE.com", PASSWORD),
    ):
        locked = sign_in(client, email, password)
        assert (locked.status_code, locked["Retry-After"], LOCKED in locked.text) == (429, "900", True)
    assert who(client) is None


def test_the_lock_says_the_same_of_an_account_that_does_not_exist_and_in_both_languages(tenants, browser):
    told = {}
    for email in ("owner.sun@example.com", "nobody@example.com"):
        for language in ("en", "zh-hans"):
            AccessAttempt.objects.all().delete()
            client = browser(language=language)
            for _ in range(5):
                answer = sign_in(client, email, "wrong")
            told[email, language] = re.search(r'role="alert">(.*?)</div>', answer.text)[1]
    assert told == {
        ("owner.sun@example.com", "en"): LOCKED,
        ("nobody@example.com", "en"): LOCKED,
        ("owner.sun@example.com", "zh-hans"): "尝试次数过多，登录已锁定 15 分钟。",
        ("nobody@example.com", "zh-hans"): "尝试次数过多，登录已锁定 15 分钟。",
    }


def test_neither_another_account_nor_another_address_is_locked_with_it(tenants, browser):
    for _ in range(6):
        sign_in(browser(), "owner.sun@example.com", "wrong")
    assert sign_in(browser(), "owner.moon@example.com").status_code == 302
    assert sign_in(browser(REMOTE_ADDR="203.0.113.9"), "owner.sun@example.com").status_code == 302
    assert sign_in(browser(), "owner.sun@example.com").status_code == 429


def test_the_lock_opens_after_a_quarter_of_an_hour_also_for_one_who_kept_trying(tenants, browser):
    for _ in range(8):
        sign_in(browser(), "owner.sun@example.com", "wrong")
    attempt = AccessAttempt.objects.get()
    AccessAttempt.objects.update(attempt_time=attempt.attempt_time - timedelta(minutes=14, seconds=30))
    assert sign_in(browser(), "owner.sun@example.com").status_code == 429
    AccessAttempt.objects.update(attempt_time=attempt.attempt_time - timedelta(minutes=15, seconds=1))
    assert sign_in(browser(), "owner.sun@example.com").status_code == 302


def test_success_forgets_the_failures(tenants, browser):
    for _ in range(3):
        for _ in range(4):
            sign_in(browser(), "owner.sun@example.com", "wrong")
        assert sign_in(browser(), "owner.sun@example.com").status_code == 302


def test_staff_open_the_lock_by_command(tenants, browser):
    for _ in range(5):
        sign_in(browser(), "owner.sun@example.com", "wrong")
    call_command("axes_reset_username", "owner.sun@example.com", verbosity=0)
    assert sign_in(browser(), "owner.sun@example.com").status_code == 302


def test_of_twenty_attempts_at_once_five_passwords_are_tried(fresh_database, browser, monkeypatch):
    make_tenants()
    tried = []
    check = User.check_password
    monkeypatch.setattr(User, "check_password", lambda user, raw: tried.append(raw) or check(user, raw))
    answers = fresh_database.at_once(*[lambda: sign_in(browser(), "owner.sun@example.com", "wrong").status_code] * 20)
    assert sorted(answers) == [200] * 4 + [429] * 16
    assert tried == ["wrong"] * 5


# The password


def test_the_password_is_changed_and_other_sessions_end(tenants, browser):
    here, elsewhere = browser(tenants.sun.owner), browser(tenants.sun.owner)
    new = "another good passphrase"
    response = here.post("/password/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert response["Location"] == "/password/"
    assert "Your password is changed. Other devices have been signed out." in here.get("/password/").text
    assert elsewhere.get("/password/")["Location"] == "/sign-in/?next=/password/"
    assert sign_in(browser(), "owner.sun@example.com").status_code == 200
    assert sign_in(browser(), "owner.sun@example.com", new).status_code == 302


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wrong", "another good passphrase", "Your old password was entered incorrectly"),
        (PASSWORD, "short", "at least 10 characters"),
        (PASSWORD, "owner.sun@example", "too similar to the e-mail address"),
    ],
)
def test_a_password_that_will_not_do_is_refused_at_its_field(tenants, browser, old, new, said):
    response = browser(tenants.sun.owner).post(
        "/password/", {"old_password": old, "new_password1": new, "new_password2": new}
    )
    assert (response.status_code, said in response.text) == (200, True)
    assert tenants.sun.owner.check_password(PASSWORD)


# Language and look


def test_the_language_follows_the_browser_until_it_is_chosen_and_then_the_user(tenants, browser):
    client = browser(language="zh-CN,zh;q=0.9")
    assert '<html lang="zh-hans">' in client.get("/sign-in/").text
    chosen = client.post("/language/", {"language": "en", "next": "/sign-in/"})
    assert (chosen.status_code, chosen["Location"]) == (302, "/sign-in/")
    assert '<html lang="en">' in client.get("/sign-in/").text
    assert User.objects.exclude(language="").count() == 0
    sign_in(client, "owner.sun@example.com")
    client.post("/language/", {"language": "en"})
    assert list(User.objects.exclude(language="")) == [tenants.sun.owner]
    elsewhere = browser(language="zh-CN")
    sign_in(elsewhere, "owner.sun@example.com")
    assert '<html lang="en">' in elsewhere.get("/keys/").text
    other = browser(language="zh-CN")
    sign_in(other, "owner.moon@example.com")
    assert '<html lang="zh-hans">' in other.get("/keys/").text


def test_an_unknown_language_or_theme_is_not_kept(tenants, browser):
    client = browser(tenants.sun.owner)
    client.post("/language/", {"language": "fr"})
    client.post("/theme/", {"theme": '"><script>'})
    assert User.objects.get(pk=tenants.sun.owner.pk).language == ""
    assert set(client.cookies) == {"sessionid"}
    client.cookies["theme"] = "purple"
    assert '<html lang="en">' in client.get("/keys/").text


@pytest.mark.django_db
def test_the_look_is_chosen_by_a_form_and_kept_in_a_cookie(browser):
    client = browser()
    assert "data-theme" not in client.get("/sign-in/").text
    chosen = client.post("/theme/", {"theme": "dark", "next": "/sign-in/?next=/keys/"})
    assert chosen["Location"] == "/sign-in/?next=/keys/"
    cookie = chosen.cookies["theme"]
    assert (cookie.value, cookie["httponly"], cookie["samesite"]) == ("dark", True, "Lax")
    assert '<html lang="en" data-theme="dark">' in client.get("/sign-in/").text
    client.post("/theme/", {"theme": "auto"})
    assert "data-theme" not in client.get("/sign-in/").text


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/theme/", "/language/"])
def test_a_switch_leads_back_to_this_site_only(browser, address):
    for foreign in ("https://evil.example/", "//evil.example"):
        response = browser().post(address, {"next": foreign, "theme": "dark", "language": "en"})
        assert response["Location"] == "/"


# What every answer carries


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/sign-in/", "/keys/", "/nothing-here/", "/theme/"])
def test_every_answer_has_the_strict_policy(browser, address):
    response = browser().get(address)
    assert set(response["Content-Security-Policy"].split("; ")) == POLICY
    assert (response["X-Frame-Options"], response["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert response["Referrer-Policy"] == "same-origin"


def test_pages_hold_nothing_that_the_policy_forbids(tenants, browser):
    client = browser(tenants.sun.owner)
    for address in ("/keys/", "/organization/", "/password/", "/nothing-here/"):
        page = client.get(address).text
        assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", page) == []
        assert set(re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"', page)) == set()
        assert '"includeIndicatorStyles": false, "allowEval": false' in page


def test_the_session_cookie_is_kept_from_scripts_and_other_sites_and_ends(tenants, browser, settings):
    settings.SESSION_COOKIE_SECURE = True
    cookie = sign_in(browser(), "owner.sun@example.com").cookies["sessionid"]
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Lax")
    assert cookie["max-age"] == 12 * 3600


def test_the_pages_for_those_not_signed_in_are_these():
    """All other pages ask for signing in, by middleware: a new view is closed until it says otherwise."""
    names = [
        pattern.name
        for pattern in get_resolver().url_patterns
        if getattr(pattern, "name", None) and not getattr(pattern.callback, "login_required", True)
    ]
    assert {"sign_in", "language", "theme"} <= set(names)
    assert not {"keys", "organization", "member", "revoke_key", "password", "switch_organization"} & set(names)
    assert reverse("sign_in") == "/sign-in/"
