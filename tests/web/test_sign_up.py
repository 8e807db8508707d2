"""Signing up and confirming the address: what is made when, and that no answer tells who has an account."""

import re
from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.core import mail

from billing.models import Party, PartyFact
from marketplace import access, people, sign_up
from marketplace.models import (
    AttemptCount,
    JoinRequest,
    Membership,
    Organization,
    OrganizationChange,
    SignUp,
    User,
    Zone,
)
from tests.marketplace.tenants import AT, PASSWORD, credit_code, make_tenants
from tests.web import letters
from tests.web.admin_world import rows

DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
STEM = "91310115MA1K4H6B3"
FACTS = {
    "name": "Ada",
    "email": "ada@example.com",
    "password": "a good passphrase",
    "legal_name": "Ada Analytics Ltd",
    "credit_code": STEM + DIGITS[-sum(DIGITS.index(each) * pow(3, at, 31) for at, each in enumerate(STEM)) % 31],
    "sector": "software",
    "size_class": "small",
    "parts": ["buyer", "provider"],
}


def right(**changes):
    return FACTS | changes


@pytest.fixture
def signed_up(tenants, browser, committed):
    """A browser that has signed Ada up, and the link in her letter."""
    client = browser()
    with committed():
        assert client.post("/sign-up/", right())["Location"] == "/sign-up/sent/"
    return client, letters.link("ada@example.com", "/sign-up/confirm/")


def confirm(client, link, password="a good passphrase"):
    token = link.partition("token=")[2]
    return client.post("/sign-up/confirm/", {"token": unquote(token), "password": password})


# What is made, and when


def test_nothing_is_made_before_the_address_is_confirmed(signed_up):
    client, link = signed_up
    assert not User.objects.filter(email="ada@example.com").exists()
    assert not Party.objects.filter(legal_name="Ada Analytics Ltd").exists()
    page = client.get("/sign-up/sent/").text
    assert "We have sent a letter to <strong>ada@example.com</strong>" in page
    assert client.get(link).status_code == 200
    assert not User.objects.filter(email="ada@example.com").exists()
    assert SignUp.objects.get().confirmed_at is None


def test_confirmed_it_is_a_pending_organization_with_its_first_owner_signed_in(signed_up, committed):
    client, link = signed_up
    with committed():
        assert confirm(client, link)["Location"] == "/organization/"
    user = User.objects.get(email="ada@example.com")
    assert client.session["_auth_user_id"] == str(user.pk)
    assert (user.name, user.language, user.check_password("a good passphrase")) == ("Ada", "en", True)
    organization = Organization.objects.get(name="Ada Analytics Ltd")
    assert (organization.state, organization.party.credit_code) == ("pending", right()["credit_code"])
    parts = (organization.is_buyer, organization.is_provider, organization.is_funder, organization.is_operator)
    assert parts == (True, True, False, False)
    assert list(Membership.objects.filter(organization=organization).values_list("user", "role")) == [
        (user.pk, "owner")
    ]
    assert list(OrganizationChange.objects.filter(organization=organization).values_list("from_state", "to_state")) == [
        ("", "pending")
    ]
    facts = PartyFact.objects.filter(party=organization.party)
    assert sorted(facts.values_list("kind", "value", "verified_at")) == [
        ("sector", "software", None),
        ("size_class", "small", None),
    ]
    wish = SignUp.objects.get()
    assert (wish.user, wish.password) == (user, "")
    page = client.get("/organization/").text
    assert "operator verifies Ada Analytics Ltd now" in page
    assert "The zone's operator is verifying this organization." in page


def test_a_second_click_does_no_harm_and_says_so(signed_up):
    client, link = signed_up
    confirm(client, link)
    for answer in (client.get(link), confirm(client, link), confirm(client, link, "wrong")):
        assert (answer.status_code, "This link has done its work" in answer.text) == (200, True)
    assert User.objects.filter(email="ada@example.com").count() == 1
    wish = SignUp.objects.get()
    again = sign_up.confirm(sign_up=wish, password="a good passphrase", at=wish.confirmed_at)
    assert (again.user.email, again.organization.name, again.joins) == ("ada@example.com", "Ada Analytics Ltd", False)


def test_who_opens_the_link_without_the_password_gets_nothing_and_five_tries(signed_up, standing):
    client, link = signed_up
    answers = [confirm(client, link, "wrong") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert "This is not the password that you chose" in answers[0].text
    assert "Too many attempts." in answers[5].text
    assert not User.objects.filter(email="ada@example.com").exists()


def test_a_link_ends_after_three_days_and_another_is_sent_for_the_asking(signed_up, committed, monkeypatch):
    client, link = signed_up
    assert timedelta(days=3) == sign_up.VALID_FOR
    with monkeypatch.context() as later:
        later.setattr(sign_up, "VALID_FOR", timedelta(seconds=-1))
        answer = client.get(link)
        assert (answer.status_code, "The link is too old" in answer.text) == (410, True)
        assert confirm(client, link).status_code == 410
    with committed():
        client.post("/sign-up/sent/", {"email": "Ada@example.com"})
    assert confirm(client, letters.link("ada@example.com", "/sign-up/confirm/")).status_code == 302


@pytest.mark.parametrize("token", ["", "x", "MQ:1tX:forged", "\0"])
def test_a_link_that_is_not_ours_is_not_found(tenants, browser, token):
    answer = browser().get("/sign-up/confirm/", {"token": token})
    assert (answer.status_code, "The link is not whole" in answer.text) == (404, True)


def test_an_address_that_got_an_account_meanwhile_is_told_so(signed_up):
    client, link = signed_up
    User.objects.create(email="ada@example.com")
    answer = confirm(client, link)
    assert (answer.status_code, "The address has got an account meanwhile: sign in." in answer.text) == (200, True)
    assert SignUp.objects.get().confirmed_at is None


# An organization that is here already


def test_who_signs_up_for_an_organization_that_is_here_asks_its_owners_to_join(tenants, browser, committed):
    User.objects.filter(pk=tenants.sun.owner.pk).update(language="en")
    client = browser()
    with committed():
        client.post("/sign-up/", right(credit_code=credit_code("sun"), legal_name="Sun, again"))
    with committed():
        answer = confirm(client, letters.link("ada@example.com", "/sign-up/confirm/"))
    assert answer["Location"] == "/organization/"
    assert Organization.objects.filter(party__credit_code=credit_code("sun")).count() == 1
    user = User.objects.get(email="ada@example.com")
    assert not Membership.objects.filter(user=user).exists()
    asked = JoinRequest.objects.get(user=user)
    assert (asked.organization, asked.state) == (tenants.sun.organization, "asked")
    assert letters.to("owner.sun@example.com") == ["Somebody asks to join Sun"]
    assert "Ada (ada@example.com) asks" in letters.last("owner.sun@example.com")
    assert [letters.to(f"{role}.sun@example.com") for role in ("engineer", "finance", "viewer")] == [[], [], []]
    page = client.get("/organization/").text
    assert "You have asked to join" in page
    assert "Sun: its owners have been written to, and decide." in page


def test_who_signs_up_for_a_legal_person_with_bills_but_no_organization_sees_nothing_before_staff_let_them_in(
    tenants, browser, committed
):
    """The operator's, for one: its credit code is public, and whoever had it would report usage and read every bill."""
    client = browser()
    with committed():
        client.post("/sign-up/", right(credit_code=credit_code("operator"), legal_name="Mine now"))
    with committed():
        confirm(client, letters.link("ada@example.com", "/sign-up/confirm/"))
    user, organization = User.objects.get(email="ada@example.com"), Organization.objects.get(party=tenants.issuer.party)
    assert (organization.state, organization.name) == ("pending", "Operator Ltd")
    assert not Membership.objects.filter(user=user).exists()
    assert [row.state for row in JoinRequest.objects.filter(user=user, organization=organization)] == ["asked"]
    assert not PartyFact.objects.filter(party=organization.party).exists()
    assert not access.metered_contracts_for(user).exists()
    assert not access.accounts_for(user).exists()
    people.approve_join(
        request=JoinRequest.objects.get(user=user), role="owner", at=AT, actor=f"user:{tenants.staff.pk}"
    )
    assert access.metered_contracts_for(user).count() == 2


def test_of_two_who_found_the_same_organization_at_once_the_second_asks_to_join(tenants, browser, committed):
    for email in ("ada@example.com", "bob@example.com"):
        client = browser()
        with committed():
            client.post("/sign-up/", right(email=email))
    for email in ("ada@example.com", "bob@example.com"):
        confirm(browser(), letters.link(email, "/sign-up/confirm/"))
    organization = Organization.objects.get(party__credit_code=right()["credit_code"])
    assert [membership.user.email for membership in organization.memberships.all()] == ["ada@example.com"]
    assert [request.user.email for request in organization.join_requests.all()] == ["bob@example.com"]


# Who has an account


def test_a_known_address_gets_the_same_answer_and_another_letter(tenants, browser, committed):
    pages = {}
    for email in ("owner.sun@example.com", "new@example.com"):
        client = browser()
        with committed():
            answer = client.post("/sign-up/", right(email=email))
        shown = re.sub(
            r'name="csrfmiddlewaretoken" value="\w+"|X-CSRFToken": "\w+', "", client.get("/sign-up/sent/").text
        )
        pages[email] = (answer.status_code, answer["Location"], shown.replace(email, "EMAIL"))
    assert pages["owner.sun@example.com"] == pages["new@example.com"]
    assert letters.to("owner.sun@example.com") == ["You have an account already"]
    assert letters.to("new@example.com") == ["Confirm your e-mail address"]
    assert "/sign-up/confirm/" not in letters.last("owner.sun@example.com")
    assert SignUp.objects.count() == 1
    assert tenants.sun.owner.check_password(PASSWORD)


def test_asking_for_the_letter_again_says_the_same_to_all(tenants, browser, committed, signed_up):
    said = "If the address has signed up, the letter is on its way again."
    mail.outbox.clear()
    for email in ("ada@example.com", "owner.sun@example.com", "nobody@example.com"):
        client = browser()
        with committed():
            client.post("/sign-up/sent/", {"email": email})
        assert said in client.get("/sign-up/sent/").text
    assert letters.to("ada@example.com") == ["Confirm your e-mail address"]
    assert letters.to("owner.sun@example.com") == ["You have an account already"]
    assert letters.to("nobody@example.com") == []


def test_an_address_gets_five_letters_an_hour_known_or_not(tenants, browser, committed, standing):
    for email in ("owner.sun@example.com", "new@example.com"):
        AttemptCount.objects.all().delete()
        with committed():
            answers = [browser().post("/sign-up/", right(email=email)).status_code for _ in range(6)]
        assert answers == [302] * 5 + [429]
        assert len(letters.to(email)) == 5


def test_of_twelve_at_once_five_letters_are_sent(fresh_database, browser, standing):
    make_tenants()
    answers = fresh_database.at_once(*[lambda: browser().post("/sign-up/", right()).status_code] * 12)
    assert sorted(answers) == [302] * 5 + [429] * 7
    assert letters.to("ada@example.com") == ["Confirm your e-mail address"] * 5


# The form


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "This field is required."),
        ("name", "Buy at http://evil.example", "This is no name: leave out addresses and brackets."),
        ("email", "ada", "Enter a valid email address."),
        ("password", "short", "at least 10 characters"),
        ("password", "ada@example.com", "too similar to the e-mail address"),
        ("legal_name", "<b>Ada</b>", "This is no name: leave out addresses and brackets."),
        ("credit_code", "91310115MA1K4H6B30", "This is no unified social credit code"),
        ("credit_code", "", "This field is required."),
        ("sector", "gambling", "Select a valid choice."),
        ("size_class", "", "This field is required."),
        ("parts", [], "This field is required."),
        ("parts", ["operator"], "Select a valid choice."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(tenants, browser, field, value, said):
    answer = browser().post("/sign-up/", right(**{field: value}))
    assert answer.status_code == 200
    assert [name for name in answer.context["form"].errors if name != field] == []
    assert said in str(answer.context["form"].errors[field])
    assert not SignUp.objects.exists()


def test_a_credit_code_may_be_written_with_spaces_and_small_letters(tenants, browser):
    code = right()["credit_code"]
    browser().post("/sign-up/", right(credit_code=f" {code[:9].lower()} {code[9:].lower()} "))
    assert SignUp.objects.get().credit_code == code


def test_the_zone_is_asked_for_only_where_there_are_several(tenants, browser):
    assert 'name="zone"' not in browser().get("/sign-up/").text
    rows(1)
    page = browser().get("/sign-up/").text
    assert 'name="zone"' in page
    assert ("Lin-gang" in page, "临港" in browser(language="zh-CN").get("/sign-up/").text) == (True, True)
    other = Zone.objects.exclude(pk=tenants.zone.pk).get()
    assert "zone" in browser().post("/sign-up/", right()).context["form"].errors
    browser().post("/sign-up/", right(zone=other.pk))
    assert SignUp.objects.get(email="ada@example.com").zone == other


@pytest.mark.django_db
def test_without_a_zone_there_is_nothing_to_sign_up_for(browser):
    assert "There is no computing zone here yet" in browser().get("/sign-up/").text


def test_who_has_signed_in_has_signed_up(tenants, browser):
    assert browser(tenants.sun.owner).get("/sign-up/")["Location"] == "/organization/"


def test_a_sign_up_that_nobody_confirms_is_forgotten_after_a_month(signed_up):
    wish = SignUp.objects.get()
    sign_up.forget_old(at=wish.created_at + timedelta(days=30))
    assert SignUp.objects.exists()
    sign_up.forget_old(at=wish.created_at + timedelta(days=30, seconds=1))
    assert not SignUp.objects.exists()


def test_a_letter_is_in_the_language_of_the_page_it_was_asked_on(tenants, browser, committed):
    with committed():
        browser(language="zh-CN").post("/sign-up/", right())
    assert SignUp.objects.get().language == "zh-hans"
    assert "/sign-up/confirm/?token=" in letters.last("ada@example.com")
