"""Staff verify organizations and facts, and decide what no owner decides."""

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.test import Client

from billing.models import PartyFact
from marketplace import people
from marketplace.models import JoinRequest, Membership, Organization, OrganizationChange
from tests.marketplace.tenants import AT, make_user


@pytest.fixture
def client(tenants):
    client = Client(headers={"accept-language": "en"})
    client.force_login(tenants.staff)
    return client


def put(tenant, state):
    Organization.objects.filter(pk=tenant.organization.pk).update(state=state, state_at=AT)


def decide(client, tenant, verb, reason=""):
    return client.post(f"/admin/marketplace/organization/{tenant.organization.pk}/{verb}/", {"reason": reason})


def test_those_who_wait_are_listed_with_their_owners_and_the_facts_to_verify(tenants, client):
    put(tenants.sun, "pending")
    page = client.get("/admin/verification/")
    organizations, facts = page.context["tables"]
    assert [[str(cell) for cell in row[1:4]] for row in organizations.rows] == [
        [tenants.sun.organization.party.credit_code, "临港", "owner.sun@example.com"]
    ]
    assert f"/admin/marketplace/organization/{tenants.sun.organization.pk}/verify/" in str(organizations.rows[0][0])
    assert [row[0] for row in facts.rows] == ["sun Ltd", "moon Ltd"]
    PartyFact.objects.update(verified_at=AT)
    put(tenants.sun, "verified")
    page = client.get("/admin/verification/").text
    assert ("No organization waits." in page, "No fact waits." in page) == (True, True)


def test_staff_verify_with_what_is_claimed_before_them(tenants, client, django_capture_on_commit_callbacks):
    put(tenants.sun, "pending")
    page = client.get(f"/admin/marketplace/organization/{tenants.sun.organization.pk}/verify/").text
    fact = PartyFact.objects.get(party=tenants.sun.organization.party)
    assert f'href="/organization/evidence/{fact.evidence_id}/"' in page
    assert f'href="/admin/verification/facts/{fact.pk}/"' in page
    with django_capture_on_commit_callbacks(execute=True):
        assert decide(client, tenants.sun, "verify").status_code == 302
    organization = Organization.objects.get(pk=tenants.sun.organization.pk)
    assert (organization.state, organization.state_actor) == ("verified", f"user:{tenants.staff.pk}")
    assert [letter.to for letter in mail.outbox] == [["owner.sun@example.com"]]
    assert LogEntry.objects.get().change_message == "verified"
    assert decide(client, tenants.sun, "verify").status_code == 409
    assert len(mail.outbox) == 1


@pytest.mark.parametrize(
    ("before", "verb", "after"), [("pending", "refuse", "refused"), ("verified", "suspend", "suspended")]
)
def test_staff_refuse_and_suspend_with_a_reason_alone(tenants, client, before, verb, after):
    put(tenants.sun, before)
    answer = decide(client, tenants.sun, verb)
    assert (answer.status_code, list(answer.context["form"].errors)) == (200, ["reason"])
    decide(client, tenants.sun, verb, "The licence is not legible.")
    change = OrganizationChange.objects.last()
    assert (change.to_state, change.reason) == (after, "The licence is not legible.")
    page = client.get(f"/admin/marketplace/organization/{tenants.sun.organization.pk}/change/").text
    assert "The licence is not legible." in page


def test_a_suspension_is_lifted(tenants, client):
    put(tenants.sun, "suspended")
    assert decide(client, tenants.sun, "reinstate").status_code == 302
    assert Organization.objects.get(pk=tenants.sun.organization.pk).state == "verified"


def test_staff_verify_a_fact_once(tenants, client):
    fact = PartyFact.objects.get(party=tenants.sun.organization.party)
    address = f"/admin/verification/facts/{fact.pk}/"
    assert client.get(address).status_code == 200
    assert client.post(address)["Location"] == "/admin/verification/"
    fact.refresh_from_db()
    assert fact.verified_by == f"user:{tenants.staff.pk}"
    assert client.post(address).status_code == 409
    assert (LogEntry.objects.get().object_id, client.get("/admin/verification/facts/0/").status_code) == (
        str(fact.pk),
        404,
    )


@pytest.fixture
def asked(tenants):
    return JoinRequest.objects.create(user=make_user("carol"), organization=tenants.sun.organization, created_at=AT)


def test_staff_take_in_who_asks_to_join(tenants, client, asked):
    address = f"/admin/marketplace/joinrequest/{asked.pk}/take-in/"
    assert client.get(address).status_code == 200
    assert client.post(address, {"role": "owner"}).status_code == 302
    assert Membership.objects.get(user=asked.user).role == "owner"
    assert client.post(address, {"role": "owner"}).status_code == 409
    assert client.post(f"/admin/marketplace/joinrequest/{asked.pk}/refuse/").status_code == 409


def test_staff_refuse_who_asks_to_join(tenants, client, asked):
    assert client.post(f"/admin/marketplace/joinrequest/{asked.pk}/refuse/").status_code == 302
    asked.refresh_from_db()
    assert (asked.state, Membership.objects.filter(user=asked.user).exists()) == ("refused", False)


def test_staff_read_who_did_what_by_name(tenants, client):
    sun = tenants.sun
    people.change_role(
        organization=sun.organization, user=sun.users["viewer"], role="finance", at=AT, actor=f"user:{sun.owner.pk}"
    )
    page = client.get(f"/admin/marketplace/organization/{sun.organization.pk}/change/").text
    assert page.count("Owner.Sun") >= 2  # of the membership, and of its change
    listed = client.get("/admin/marketplace/membership/", {"q": "viewer.sun", "o": "5"}).text
    assert ("Owner.Sun" in listed, f"user:{sun.owner.pk}" in listed) == (True, False)


def test_no_secret_is_shown(tenants, client):
    invitation = tenants.sun.organization.invitations.get()
    page = client.get(f"/admin/marketplace/invitation/{invitation.pk}/change/").text
    assert ("invited.sun@example.com" in page, invitation.token_sha256 in page) == (True, False)


def test_members_of_tenants_find_none_of_it(tenants):
    put(tenants.sun, "pending")
    client = Client()
    client.force_login(tenants.sun.owner)
    fact = PartyFact.objects.get(party=tenants.sun.organization.party)
    for answer in (
        client.get("/admin/verification/"),
        client.post(f"/admin/verification/facts/{fact.pk}/"),
        decide(client, tenants.sun, "verify"),
    ):
        assert answer.status_code == 404
    assert Organization.objects.get(pk=tenants.sun.organization.pk).state == "pending"
