"""The second factor: who must have one, how it is set up, shown, renewed, lost; and what a session is between the steps."""

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.core.management import CommandError, call_command
from django.urls import NoReverseMatch, get_resolver, reverse
from django.utils import timezone

from marketplace import people, second_factor
from marketplace.models import User
from tests.marketplace.tenants import AT, PASSWORD, make_user

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def required(settings):
    settings.SECOND_FACTOR = "required"


@pytest.fixture
def clock(monkeypatch):
    """What time it is, to the pages; it stands until a test moves it."""

    class Clock:
        now = AT

    monkeypatch.setattr(timezone, "now", lambda: Clock.now)
    return Clock


def code(at, secret=SECRET, steps=0):
    return format_hotp_value(hotp_value(secret, int(at.timestamp()) // 30 + steps))


def enrolled(user, at):
    """Give the user a second factor, long before `at`, and the codes of its paper."""
    second_factor.enrol(user=user, secret=SECRET, code=code(at - timedelta(days=1)), at=at - timedelta(days=1))
    return second_factor.recovery_codes(user=user)


def sign_in(client, user):
    return client.post("/sign-in/", {"username": user.email, "password": PASSWORD})


def step(client, text, **more):
    return client.post("/second-factor/step/", {"code": text, **more})


def reaches(client, address="/keys/"):
    """Where a page leads: itself, or another."""
    answer = client.get(address)
    return answer.headers.get("Location", answer.status_code)


# Who must have one


@pytest.mark.parametrize(("role", "must"), [("owner", True), ("finance", True), ("engineer", False), ("viewer", False)])
def test_owners_and_finance_are_led_to_set_one_up_before_anything_else(tenants, browser, required, role, must):
    client = browser()
    sign_in(client, tenants.sun.users[role])
    page = "/organization/"
    assert reaches(client, page) == ("/second-factor/enrol/?next=%2Forganization%2F" if must else 200)


def test_staff_must_have_one_too_and_reach_no_admin_before(tenants, browser, required):
    client = browser()
    sign_in(client, tenants.staff)
    assert reaches(client, "/admin/") == "/second-factor/enrol/?next=%2Fadmin%2F"


def test_where_it_is_optional_nobody_is_asked_but_who_has_one(tenants, browser, clock):
    client = browser()
    sign_in(client, tenants.sun.owner)
    assert reaches(client) == 200
    enrolled(tenants.sun.owner, clock.now)
    assert reaches(client) == "/second-factor/step/?next=%2Fkeys%2F"


def test_a_viewer_who_becomes_finance_is_asked_at_the_next_page(tenants, browser, required):
    viewer = tenants.sun.users["viewer"]
    client = browser(viewer)
    assert reaches(client, "/organization/") == 200
    people.change_role(organization=tenants.sun.organization, user=viewer, role="finance", at=AT, actor="test")
    assert reaches(client, "/organization/").startswith("/second-factor/enrol/")


def test_api_keys_are_not_asked(tenants, browser, required):
    answer = browser().post(
        "/api/v1/events",
        "[]",
        content_type="application/cloudevents-batch+json",
        headers={"authorization": f"Bearer {tenants.north.token}"},
    )
    assert answer.status_code == 200


def test_it_costs_one_query_for_those_without_and_none_for_those_with_one(
    tenants, browser, required, clock, django_assert_num_queries
):
    viewer, owner = tenants.sun.users["viewer"], tenants.sun.owner
    client = browser(viewer)
    with django_assert_num_queries(6):  # session, user, is one needed, organizations, role, members
        client.get("/organization/")
    enrolled(owner, clock.now)
    client = browser()
    sign_in(client, owner)
    step(client, code(clock.now))
    with django_assert_num_queries(7):  # session, user, organizations, role, members, invitations, requests to join
        client.get("/organization/")


# Between the steps


def test_between_the_steps_a_session_is_nobodys(tenants, browser, clock):
    owner = tenants.sun.owner
    enrolled(owner, clock.now)
    client = browser()
    sign_in(client, owner)
    for pattern in get_resolver().url_patterns:
        if getattr(pattern, "name", None) and "<" not in str(pattern.pattern):
            address = f"/{pattern.pattern}"
            for answer in (client.get(address), client.post(address)):
                assert "Sun" not in answer.text, address
                if not address.startswith("/second-factor/step") and answer.status_code == 200:
                    raise AssertionError(address)
    assert client.get("/nothing/").status_code == 404
    assert owner.email not in client.get("/nothing/").text


@pytest.fixture
def halfway(tenants, browser, clock):
    """A browser in which sun's owner, who has a second factor, has shown the password."""
    enrolled(tenants.sun.owner, clock.now)
    client = browser()
    sign_in(client, tenants.sun.owner)
    return client


def test_who_is_half_in_can_change_the_language_and_leave(halfway):
    assert halfway.post("/language/", {"language": "zh-hans"}).status_code == 302
    assert '<html lang="zh-hans">' in halfway.get("/second-factor/step/").text
    assert halfway.post("/second-factor/leave/")["Location"] == "/sign-in/"
    assert reaches(halfway, "/second-factor/step/") == "/sign-in/"


def test_nobody_sets_up_a_second_app_instead_of_showing_the_first(halfway):
    assert reaches(halfway, "/second-factor/enrol/") == "/second-factor/step/"
    for address in ("/second-factor/", "/second-factor/codes/", "/second-factor/codes/?download"):
        assert reaches(halfway, address).startswith("/second-factor/step/")


def test_the_right_code_leads_to_the_page_that_was_asked_for_and_to_no_other_site(tenants, halfway, clock, browser):
    assert step(halfway, "https", next="/keys/").status_code == 200
    assert step(halfway, code(clock.now), next="https://evil.example/")["Location"] == "/"
    assert reaches(halfway) == 200
    clock.now += timedelta(minutes=1)
    other = browser()
    sign_in(other, tenants.sun.owner)
    assert step(other, code(clock.now), next="/keys/")["Location"] == "/keys/"


# Codes


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_clock_may_be_half_a_minute_off(halfway, clock, steps):
    assert step(halfway, code(clock.now, steps=steps)).status_code == 302


@pytest.mark.parametrize("text", ["000000", "", "12345", "١٢٣٤٥٦", "x" * 21])
def test_a_wrong_code_is_said_so(halfway, text):
    answer = step(halfway, text)
    assert (answer.status_code, bool(answer.context["form"].errors["code"])) == (200, True)


@pytest.mark.parametrize("steps", [-2, 2])
def test_a_code_of_another_minute_is_refused(halfway, clock, steps):
    assert "The code is wrong, or was used before." in step(halfway, code(clock.now, steps=steps)).text


def test_a_code_is_good_once_also_in_another_browser(tenants, halfway, browser, clock):
    used = code(clock.now)
    assert step(halfway, f"{used[:3]} {used[3:]}").status_code == 302
    thief = browser()
    sign_in(thief, tenants.sun.owner)
    assert "The code is wrong, or was used before." in step(thief, used).text
    assert "The code is wrong, or was used before." in step(thief, code(clock.now, steps=-1)).text
    assert step(thief, code(clock.now, steps=1)).status_code == 302


def test_of_eight_browsers_that_show_one_code_at_once_one_gets_in(fresh_database, monkeypatch):
    user, now = make_user("ada"), AT
    enrolled(user, now)
    monkeypatch.setattr(second_factor, "ATTEMPTS", 100)
    calls = [lambda: second_factor.check(user=user, code=code(now), at=now)] * 8
    answers = fresh_database.at_once(*calls)
    assert answers.count(None) == 1
    assert {type(answer) for answer in answers if answer is not None} == {second_factor.WrongCodeError}


def test_of_ten_codes_tried_at_once_five_are_looked_at(fresh_database):
    user, now = make_user("ada"), AT
    enrolled(user, now)
    answers = fresh_database.at_once(*[lambda: second_factor.check(user=user, code="000000", at=now)] * 10)
    assert sorted(type(answer).__name__ for answer in answers) == ["TooOftenError"] * 5 + ["WrongCodeError"] * 5


def test_after_five_wrong_codes_the_right_one_is_refused_for_a_quarter_of_an_hour(halfway, clock):
    answers = [step(halfway, "000000").status_code for _ in range(5)]
    locked = step(halfway, code(clock.now))
    assert (answers, locked.status_code, locked["Retry-After"]) == ([200] * 5, 429, "900")
    assert "Too many attempts. Codes are locked for 15 minutes." in locked.text
    clock.now += timedelta(minutes=15)
    assert step(halfway, code(clock.now)).status_code == 302


def test_a_recovery_code_lets_in_once(tenants, browser, clock):
    codes = enrolled(tenants.sun.owner, clock.now)
    assert (len(codes), {len(each) for each in codes}) == (10, {8})
    first, second = browser(), browser()
    sign_in(first, tenants.sun.owner)
    assert step(first, codes[3]).status_code == 302
    sign_in(second, tenants.sun.owner)
    assert "The code is wrong, or was used before." in step(second, codes[3]).text
    assert step(second, codes[4]).status_code == 302
    assert second_factor.recovery_codes(user=tenants.sun.owner) == codes[:3] + codes[5:]


# Setting it up


def secret_of(page):
    return re.search(r'id="secret">([A-Z2-7 ]+)<', page)[1].replace(" ", "")


def test_it_is_set_up_by_scanning_or_typing_and_showing_a_code(tenants, browser, required, clock):
    owner, client = tenants.sun.owner, browser()
    sign_in(client, owner)
    page = client.get("/second-factor/enrol/?next=/keys/").text
    assert '<img class="qr" src="data:image/svg+xml;base64,' in page
    secret = secret_of(page)
    assert secret_of(client.get("/second-factor/enrol/").text) == secret
    assert "The code is wrong" in client.post("/second-factor/enrol/", {"code": "000000"}).text
    assert not Authenticator.objects.exists()
    answer = client.post("/second-factor/enrol/", {"code": code(clock.now, secret), "next": "/keys/"})
    assert answer["Location"] == "/second-factor/codes/?next=%2Fkeys%2F"
    shown = client.get(answer["Location"]).text
    codes = re.findall(r"<code>(\d{8})</code>", shown)
    assert codes == second_factor.recovery_codes(user=owner)
    download = client.get("/second-factor/codes/?download")
    assert download["Content-Disposition"] == 'attachment; filename="suanli-recovery-codes.txt"'
    assert download.text.split() == ["Suanli,", "recovery", "codes", "of", owner.email, *codes]
    assert client.post("/second-factor/codes/kept/", {"next": "/keys/"})["Location"] == "/keys/"
    assert reaches(client, "/second-factor/codes/") == "/second-factor/"
    assert reaches(client) == 200
    owner.refresh_from_db()
    assert owner.second_factor_since == clock.now


def test_the_code_that_set_it_up_does_not_sign_in_once_more(tenants, browser, clock):
    second_factor.enrol(user=tenants.sun.owner, secret=SECRET, code=code(clock.now), at=clock.now)
    client = browser()
    sign_in(client, tenants.sun.owner)
    assert "was used before" in step(client, code(clock.now)).text


def test_recovery_codes_are_shown_for_a_quarter_of_an_hour_to_the_session_that_made_them(tenants, browser, clock):
    client = browser(tenants.sun.owner)
    secret = secret_of(client.get("/second-factor/enrol/").text)
    client.post("/second-factor/enrol/", {"code": code(clock.now, secret)})
    clock.now += timedelta(seconds=900)
    assert reaches(client, "/second-factor/codes/") == 200
    clock.now += timedelta(seconds=1)
    assert reaches(client, "/second-factor/codes/") == "/second-factor/"
    other = browser()
    sign_in(other, tenants.sun.owner)
    step(other, code(clock.now, secret))
    assert reaches(other, "/second-factor/codes/") == "/second-factor/"


def test_secrets_lie_sealed_in_the_database(tenants, browser, clock):
    enrolled(tenants.sun.owner, clock.now)
    for row in Authenticator.objects.all():
        assert SECRET not in str(row.data)
    client = browser(tenants.moon.owner)
    secret = secret_of(client.get("/second-factor/enrol/").text)
    assert secret not in str(dict(client.session))


def test_a_rotated_key_still_opens_what_the_old_one_sealed(settings):
    sealed = second_factor.seal(SECRET)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another key, as long as it has to be"
    assert second_factor.unseal(sealed) == SECRET


def test_what_was_sealed_under_a_key_that_is_gone_lets_nobody_in(tenants, clock, settings):
    codes = enrolled(tenants.sun.owner, clock.now)
    settings.SECRET_KEY = "another key, as long as it has to be, and no fallback"
    for text in (code(clock.now), codes[0]):
        with pytest.raises(second_factor.WrongCodeError, match="SECRET_KEY that is gone"):
            second_factor.check(user=tenants.sun.owner, code=text, at=clock.now)


def test_there_is_one_second_factor_a_user(tenants, clock):
    enrolled(tenants.sun.owner, clock.now)
    with pytest.raises(second_factor.AlreadyEnrolledError):
        second_factor.enrol(user=tenants.sun.owner, secret=SECRET, code=code(clock.now), at=clock.now)


# Changing it


@pytest.fixture
def through(halfway, clock):
    """As halfway, with the code shown, a minute ago."""
    step(halfway, code(clock.now))
    clock.now += timedelta(minutes=1)
    return halfway


def test_new_recovery_codes_are_made_for_a_code_and_void_the_old_ones(tenants, through, clock):
    old = second_factor.recovery_codes(user=tenants.sun.owner)
    assert "The code is wrong" in through.post("/second-factor/", {"what": "renew", "code": "000000"}).text
    assert second_factor.recovery_codes(user=tenants.sun.owner) == old
    answer = through.post("/second-factor/", {"what": "renew", "code": code(clock.now)})
    assert answer["Location"] == "/second-factor/codes/?next=%2Fsecond-factor%2F"
    new = second_factor.recovery_codes(user=tenants.sun.owner)
    assert (len(new), set(new) & set(old)) == (10, set())


def test_another_app_is_set_up_for_a_code_of_the_old_one_and_other_sessions_show_it(tenants, through, browser, clock):
    other = browser()
    sign_in(other, tenants.sun.owner)
    step(other, second_factor.recovery_codes(user=tenants.sun.owner)[0])
    assert reaches(other) == 200
    assert through.post("/second-factor/", {"what": "replace", "code": code(clock.now)})["Location"].startswith(
        "/second-factor/enrol/"
    )
    secret = secret_of(through.get("/second-factor/enrol/").text)
    through.post("/second-factor/enrol/", {"code": code(clock.now, secret)})
    assert reaches(through) == 200
    assert reaches(other).startswith("/second-factor/step/")


def test_it_is_taken_away_only_where_none_is_needed(tenants, through, settings, clock):
    settings.SECOND_FACTOR = "required"
    assert "Take it away" not in through.get("/second-factor/").text
    assert through.post("/second-factor/", {"what": "remove", "code": code(clock.now)}).status_code == 404
    with pytest.raises(second_factor.MustHaveError):
        second_factor.remove(user=tenants.sun.owner, code=code(clock.now), at=clock.now)
    settings.SECOND_FACTOR = "optional"
    assert through.post("/second-factor/", {"what": "remove", "code": code(clock.now)})["Location"] == "/second-factor/"
    assert "You sign in by a password alone" in through.get("/second-factor/").text
    assert not Authenticator.objects.exists()


# Losing it


def test_staff_reset_it_with_a_letter_and_an_entry_in_the_log(
    tenants, halfway, browser, django_capture_on_commit_callbacks
):
    staff, owner = browser(tenants.staff), tenants.sun.owner
    address = f"/admin/marketplace/user/{owner.pk}/reset-second-factor/"
    assert staff.get(address).status_code == 200
    assert Authenticator.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        assert staff.post(address).status_code == 302
    assert not Authenticator.objects.exists()
    assert [letter.to for letter in mail.outbox] == [[owner.email]]
    assert LogEntry.objects.get().change_message == "second factor reset"
    assert staff.post(address).status_code == 409
    assert reaches(halfway) == 200  # here it is optional: the password is enough again


def test_nobody_resets_ones_own_without_a_code(tenants, browser, clock):
    client = browser(tenants.staff)
    enrolled(tenants.staff, clock.now)
    sign_in(client, tenants.staff)
    step(client, code(clock.now))
    answer = client.post(f"/admin/marketplace/user/{tenants.staff.pk}/reset-second-factor/")
    assert answer.status_code == 409
    assert answer.context["obstacle"] == "Change your own second factor on its page, with a code."
    assert Authenticator.objects.exists()


def test_staff_who_are_no_superusers_do_not_reset_that_of_other_staff(tenants, browser, clock):
    enrolled(tenants.staff, clock.now)
    clerk = browser(make_user("clerk", is_staff=True))
    assert clerk.post(f"/admin/marketplace/user/{tenants.staff.pk}/reset-second-factor/").status_code == 404
    assert Authenticator.objects.exists()


def test_a_command_resets_that_of_the_last_superuser(tenants, clock):
    enrolled(tenants.staff, clock.now)
    call_command("reset_second_factor", "Staff@example.com")
    assert User.objects.get(pk=tenants.staff.pk).second_factor_since is None
    for email, said in (("staff@example.com", "has no second factor"), ("nobody@example.com", "there is no user")):
        with pytest.raises(CommandError, match=said):
            call_command("reset_second_factor", email)


def test_of_allauths_own_pages_none_can_be_reached(tenants, browser, settings):
    client = browser(tenants.sun.owner)
    for address in (
        "/accounts/",
        "/accounts/login/",
        "/accounts/signup/",
        "/accounts/2fa/",
        "/2fa/",
        "/accounts/email/",
    ):
        assert client.get(address).status_code == 404, address
    for name in ("account_login", "account_signup", "mfa_index", "mfa_activate_totp", "account_email"):
        with pytest.raises(NoReverseMatch):
            reverse(name)
