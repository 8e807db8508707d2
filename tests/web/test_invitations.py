"""Invitations by letter and requests to join: who invites, who accepts, what a second click and an old link do."""

from datetime import timedelta

import pytest
from django.utils import timezone

from marketplace import invitations, people
from marketplace.models import Invitation, JoinRequest, Membership, User
from tests.marketplace.tenants import PASSWORD, make_tenants, make_user
from tests.web import letters

NEW = "new@example.com"


@pytest.fixture
def invite(tenants, browser, committed):
    """A function by which sun's owner invites; gives the link of the letter."""

    def invited(email=NEW, role="engineer"):
        with committed():
            answer = browser(tenants.sun.owner).post("/organization/", {"email": email, "role": role})
        assert answer["Location"] == "/organization/"
        return letters.link(email.lower(), "/invitation/")

    return invited


def accept(client, link, **facts):
    return client.post("/invitation/", {"token": link.partition("token=")[2], **facts})


def role_of(tenant, email):
    found = Membership.objects.filter(organization=tenant.organization, user__email=email).first()
    return found and found.role


ACCOUNT = {"name": "Nora", "password": "a good passphrase"}


# Accepting


def test_a_new_person_makes_an_account_and_is_inside(tenants, browser, invite):
    link, client = invite(), browser()
    page = client.get(link).text
    assert ("Invitation to Sun" in page, NEW in page, "Make an account and accept" in page) == (True, True, True)
    assert accept(client, link, **ACCOUNT)["Location"] == "/organization/"
    user = User.objects.get(email=NEW)
    assert (user.name, user.check_password("a good passphrase")) == ("Nora", True)
    assert (client.session["_auth_user_id"], role_of(tenants.sun, NEW)) == (str(user.pk), "engineer")
    assert Invitation.objects.get(email=NEW).accepted_by == user
    assert "You are a member of Sun." in client.get("/organization/").text


@pytest.mark.parametrize("name", ["You have won: https://evil.example", "see www.evil.example", "<b>Nora</b>"])
def test_a_name_in_which_letters_will_be_written_holds_no_addresses(tenants, browser, invite, name):
    answer = accept(browser(), invite(role="owner"), **ACCOUNT | {"name": name})
    assert answer.context["form"].errors == {"name": ["This is no name: leave out addresses and brackets."]}
    assert not User.objects.filter(email=NEW).exists()


def test_who_has_an_account_signs_in_and_accepts(tenants, browser, invite):
    link, client = invite("Viewer.Moon@example.com", "finance"), browser()
    page = client.get(link)
    assert "You have an account with this address." in page.text
    assert accept(client, link, **ACCOUNT).status_code == 200
    assert User.objects.filter(email="viewer.moon@example.com").count() == 1
    to = page.context["sign_in"]
    back = client.post(to, {"username": "viewer.moon@example.com", "password": PASSWORD})["Location"]
    assert back == link
    assert "Accept" in client.get(back).text
    assert role_of(tenants.sun, "viewer.moon@example.com") is None
    assert accept(client, link)["Location"] == "/organization/"
    assert role_of(tenants.sun, "viewer.moon@example.com") == "finance"
    assert "<h1>Sun</h1>" in client.get("/organization/").text


def test_an_invitation_is_for_its_address_alone(tenants, browser, invite):
    link, thief = invite(), browser(tenants.moon.owner)
    assert "You are signed in as owner.moon@example.com." in thief.get(link).text
    assert accept(thief, link, **ACCOUNT).status_code == 200
    assert role_of(tenants.sun, "owner.moon@example.com") is None
    assert not User.objects.filter(email=NEW).exists()
    with pytest.raises(invitations.OtherAddressError):
        invitations.accept(invitation=Invitation.objects.get(email=NEW), user=tenants.moon.owner, at=timezone.now())


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("password", "short"), ("password", "new@example.com"), ("password", "")]
)
def test_what_is_wrong_is_said_at_its_field(browser, invite, field, value):
    answer = accept(browser(), invite(), **(ACCOUNT | {field: value}))
    assert (answer.status_code, list(answer.context["form"].errors)) == (200, [field])
    assert not User.objects.filter(email=NEW).exists()


def test_a_second_click_does_no_harm(tenants, browser, invite):
    link, client = invite(), browser()
    accept(client, link, **ACCOUNT)
    people.change_role(
        organization=tenants.sun.organization,
        user=User.objects.get(email=NEW),
        role="viewer",
        at=timezone.now(),
        actor="t",
    )
    for answer in (client.get(link), accept(client, link, **ACCOUNT)):
        assert answer["Location"] == "/organization/"
    assert role_of(tenants.sun, NEW) == "viewer"
    stranger = browser()
    for answer in (stranger.get(link), accept(stranger, link, **ACCOUNT)):
        assert (answer.status_code, "The invitation was accepted" in answer.text) == (410, True)


def test_of_six_clicks_at_once_one_makes_the_account(fresh_database, browser):
    tenants = make_tenants()
    browser(tenants.sun.owner).post("/organization/", {"email": NEW, "role": "viewer"})
    link = letters.link(NEW, "/invitation/")
    answers = fresh_database.at_once(*[lambda: accept(browser(), link, **ACCOUNT).status_code] * 6)
    assert (answers.count(302), set(answers) <= {302, 410, 200}) == (1, True)
    assert (User.objects.filter(email=NEW).count(), role_of(tenants.sun, NEW)) == (1, "viewer")


# Ended, taken back, sent again


def test_an_invitation_ends_after_a_week(browser, invite, monkeypatch):
    link = invite()
    made = Invitation.objects.get(email=NEW).created_at
    monkeypatch.setattr(timezone, "now", lambda: made + timedelta(days=7))
    for answer in (browser().get(link), accept(browser(), link, **ACCOUNT)):
        assert (answer.status_code, "The invitation has ended" in answer.text) == (410, True)
    monkeypatch.setattr(timezone, "now", lambda: made + timedelta(days=7, seconds=-1))
    assert browser().get(link).status_code == 200


def change(client, invitation, **facts):
    return client.post(f"/organization/invitations/{invitation.pk}/", facts)


def test_one_that_was_taken_back_says_so(tenants, browser, invite):
    link, client = invite(), browser(tenants.sun.owner)
    invitation = Invitation.objects.get(email=NEW)
    for _ in range(2):
        change(client, invitation, revoke="")
        assert "The invitation of new@example.com is taken back." in client.get("/organization/").text
    answer = accept(browser(), link, **ACCOUNT)
    assert (answer.status_code, "The invitation was taken back" in answer.text) == (410, True)
    change(client, invitation)
    assert "The invitation of new@example.com was taken back meanwhile." in client.get("/organization/").text
    assert not User.objects.filter(email=NEW).exists()


def test_sent_again_it_has_another_link_and_the_old_one_is_void(tenants, browser, invite, committed):
    old = invite()
    invitation = Invitation.objects.get(email=NEW)
    Invitation.objects.filter(pk=invitation.pk).update(
        created_at=invitation.created_at - timedelta(days=9), expires_at=invitation.expires_at - timedelta(days=9)
    )
    client = browser(tenants.sun.owner)
    assert "Expired" in client.get("/organization/").text
    with committed():
        change(client, invitation)
    new = letters.link(NEW, "/invitation/")
    answer = browser().get(old)
    assert (answer.status_code, "There is no such invitation" in answer.text) == (404, True)
    assert browser().get(new).status_code == 200


def test_one_that_was_accepted_is_not_taken_back(tenants, browser, invite):
    accept(browser(), invite(), **ACCOUNT)
    client = browser(tenants.sun.owner)
    for facts in ({"revoke": ""}, {}):
        change(client, Invitation.objects.get(email=NEW), **facts)
        assert "The invitation of new@example.com was accepted meanwhile." in client.get("/organization/").text
    assert role_of(tenants.sun, NEW) == "engineer"


def test_inviting_once_more_renews_the_one_that_is_open(tenants, invite, browser):
    invite(role="engineer")
    link = invite("NEW@example.com", role="viewer")
    assert Invitation.objects.filter(email=NEW).count() == 1
    accept(browser(), link, **ACCOUNT)
    assert role_of(tenants.sun, NEW) == "viewer"


@pytest.mark.parametrize("token", ["", "x", "\0", "é" * 40])
def test_a_token_of_nothing_is_not_found(tenants, browser, token):
    assert browser().get("/invitation/", {"token": token}).status_code == 404


def test_the_database_holds_no_token(browser, invite):
    token = invite().partition("token=")[2]
    assert token not in str(list(Invitation.objects.values()))


# Who invites


@pytest.mark.parametrize("role", ["engineer", "finance", "viewer"])
def test_who_may_not_manage_members_neither_sees_nor_changes_invitations(tenants, browser, role):
    client = browser(tenants.sun.users[role])
    invitation = tenants.sun.organization.invitations.get()
    request = tenants.sun.organization.join_requests.get()
    assert "invited.sun@example.com" not in client.get("/organization/").text
    assert client.post("/organization/", {"email": NEW, "role": "viewer"}).status_code == 404
    assert change(client, invitation, revoke="").status_code == 404
    assert client.post(f"/organization/requests/{request.pk}/", {"role": "owner"}).status_code == 404
    assert Invitation.objects.filter(revoked_at=None).count() == 4


def test_those_of_another_organization_are_not_there(tenants, browser):
    client = browser(tenants.sun.owner)
    page = client.get("/organization/").text
    assert ("invited.sun@example.com" in page, "invited.moon@example.com" in page) == (True, False)
    for tenant in (tenants.moon, tenants.north):
        for facts in ({"revoke": ""}, {}):
            assert change(client, tenant.organization.invitations.get(), **facts).status_code == 404
    assert Invitation.objects.filter(revoked_at=None).count() == 4


def test_a_member_is_not_invited_and_whether_others_have_an_account_is_not_told(tenants, browser):
    client = browser(tenants.sun.owner)
    again = client.post("/organization/", {"email": "Viewer.Sun@example.com", "role": "owner"})
    assert "This person is a member already; change the role in the list." in again.text
    told = {}
    for email in ("owner.moon@example.com", "nobody@example.com"):
        client.post("/organization/", {"email": email, "role": "viewer"})
        told[email] = f"An invitation is on its way to {email}." in client.get("/organization/").text
    assert told == {"owner.moon@example.com": True, "nobody@example.com": True}


def test_an_organization_sends_fifty_invitations_a_day(tenants, browser, monkeypatch, standing):
    monkeypatch.setattr("marketplace.limits.LETTERS_A_DAY", 2)
    client = browser(tenants.sun.owner)
    for number in range(3):
        answer = client.post("/organization/", {"email": f"new{number}@example.com", "role": "viewer"})
    assert "Too many invitations today. Try again tomorrow." in answer.text
    assert Invitation.objects.filter(email__startswith="new").count() == 2


# Asking to join


@pytest.fixture
def asked(tenants):
    """Carol asks to join sun."""
    user = make_user("carol")
    return JoinRequest.objects.create(user=user, organization=tenants.sun.organization, created_at=timezone.now())


def decide(client, request, **facts):
    return client.post(f"/organization/requests/{request.pk}/", facts)


def test_an_owner_takes_in_who_asks_in_a_role_and_the_letter_says_so(tenants, browser, asked, committed):
    client = browser(tenants.sun.owner)
    assert "carol@example.com" in client.get("/organization/").text
    with committed():
        decide(client, asked, role="engineer")
    assert role_of(tenants.sun, "carol@example.com") == "engineer"
    assert len(letters.to("carol@example.com")) == 1
    decide(client, asked, role="owner")
    assert role_of(tenants.sun, "carol@example.com") == "engineer"
    assert "Asking to join" not in client.get("/organization/").text


def test_an_owner_refuses_and_the_second_decision_is_told_of_the_first(tenants, browser, asked, committed):
    client = browser(tenants.sun.owner)
    with committed():
        decide(client, asked, refuse="")
    assert "Carol is not taken in." in client.get("/organization/").text
    decide(client, asked, role="owner")
    assert "Somebody has decided on Carol already." in client.get("/organization/").text
    assert role_of(tenants.sun, "carol@example.com") is None
    assert len(letters.to("carol@example.com")) == 1


def test_a_request_to_join_another_organization_is_not_there_to_be_decided(tenants, browser, asked):
    client = browser(tenants.moon.owner)
    assert "carol@example.com" not in client.get("/organization/").text
    for facts in ({"role": "owner"}, {"refuse": ""}):
        assert decide(client, asked, **facts).status_code == 404
    assert decide(browser(tenants.sun.owner), asked, role="king").status_code == 404
    asked.refresh_from_db()
    assert asked.state == "asked"


@pytest.mark.parametrize("extra", [1, 3])
def test_the_page_asks_the_database_as_often_for_three_invitations_as_for_one(
    tenants, browser, django_assert_num_queries, extra
):
    for number in range(extra):
        user = make_user(f"asker{number}")
        JoinRequest.objects.create(user=user, organization=tenants.sun.organization, created_at=timezone.now())
        people_facts = {"language": "en", "inviter": "A", "at": timezone.now(), "actor": "t"}
        invitations.invite(
            organization=tenants.sun.organization, email=f"n{number}@example.com", role="viewer", **people_facts
        )
    client = browser(tenants.sun.owner)
    with django_assert_num_queries(7):  # session, user, organizations, role, members, invitations, requests to join
        client.get("/organization/")
