"""The organization's own affairs over the API: its name, members, invitations, facts with evidence, and keys."""

import json
from base64 import b64encode
from datetime import timedelta

import pytest
from django.core import mail

from marketplace import keys, people
from marketplace.models import (
    AnsweredRequest,
    ApiKey,
    Invitation,
    Membership,
    Organization,
    OrganizationChange,
    User,
)
from tests.api.world import AT, make_affairs

ONCE = {"Idempotency-Key": "once"}
SECOND = timedelta(seconds=1)


@pytest.fixture
def sun(world):
    make_affairs(world)
    return world.sun


def refusal(answer):
    said = answer.json()
    return answer.status_code, said["type"].removeprefix("urn:suanli:problem:"), said.get("field")


def member(tenant, role, email):
    user = User.objects.create(email=email, name="Ada")
    people.add_member(organization=tenant.organization, user=user, role=role, at=AT, actor="test")
    return Membership.objects.get(user=user)


# The organization


def test_it_is_renamed_and_what_it_was_called_is_kept(ask, sun):
    answers = [ask(sun, "patch", "organization", json={"name": " Sun AI "}) for _ in range(2)]
    assert [(each.status_code, each.json()["name"]) for each in answers] == [(200, "Sun AI")] * 2
    assert answers[0].json()["legal_name"] == sun.organization.party.legal_name
    [change] = OrganizationChange.objects.filter(organization=sun.organization)
    assert (change.from_state, change.to_state, change.reason) == ("verified", "verified", "Sun → Sun AI")
    assert change.actor.startswith("key:suanli_")


@pytest.mark.parametrize("name", ["", "https://example.com", "x" * 101, "a\nb"])
def test_it_has_a_name_that_is_one(ask, sun, name):
    assert refusal(ask(sun, "patch", "organization", json={"name": name})) == (422, "unusable", "name")
    assert Organization.objects.get(pk=sun.organization.pk).name == "Sun"


# Members


def test_members_are_listed_by_role_and_told_one_by_one(ask, sun):
    row = member(sun, "viewer", "ada@example.com")
    [told] = ask(sun, "get", "members", role="viewer").json()["results"]
    assert told == {
        "id": row.pk,
        "email": "ada@example.com",
        "name": "Ada",
        "role": "viewer",
        "since_at": "2020-05-10T08:30:00Z",
    }
    assert ask(sun, "get", f"members/{row.pk}").json() == told


def test_a_member_gets_another_role_and_leaves_with_their_keys_and_it_is_told(ask, sun):
    row = member(sun, "engineer", "ada@example.com")
    key, _ = keys.create_key(organization=sun.organization, name="k", scopes=["usage:read"], at=AT, created_by=row.user)
    changed = ask(sun, "patch", f"members/{row.pk}", json={"role": "viewer"})
    assert (changed.status_code, changed.json()["role"]) == (200, "viewer")
    removed = [ask(sun, "post", f"members/{row.pk}/remove", headers=ONCE) for _ in range(2)]
    assert [each.status_code for each in removed] == [200, 200]
    assert removed[0].json() == removed[1].json() == changed.json()
    assert ask(sun, "post", f"members/{row.pk}/remove").status_code == 404
    key.refresh_from_db()
    assert (key.revoked_because, key.revoked_by[:11]) == ("member_left", "key:suanli_")
    history = ask(sun, "get", "members/changes").json()["results"]
    assert [(each["email"], each["from_role"], each["to_role"]) for each in history] == [
        ("ada@example.com", "viewer", None),
        ("ada@example.com", "engineer", "viewer"),
        ("ada@example.com", None, "engineer"),
        ("owner@sun.example.com", None, "owner"),
    ]


@pytest.mark.parametrize(("method", "rest", "body"), [("patch", "", {"role": "viewer"}), ("post", "/remove", None)])
def test_the_last_owner_stays(ask, sun, method, rest, body):
    owner = Membership.objects.get(organization=sun.organization)
    answer = ask(sun, method, f"members/{owner.pk}{rest}", json=body)
    assert refusal(answer) == (409, "last-owner", None)
    owner.refresh_from_db()
    assert owner.role == "owner"


# Invitations and requests to join


def test_an_invitation_is_sent_once_renewed_and_taken_back(ask, sun, django_capture_on_commit_callbacks):
    body = {"email": "New@Example.com", "role": "viewer"}
    with django_capture_on_commit_callbacks(execute=True):
        first, repeat = (ask(sun, "post", "invitations", json=body, headers=ONCE) for _ in range(2))
    assert (first.status_code, first.content) == (201, repeat.content)
    assert first.json() | {"id": 0} == {
        "id": 0,
        "email": "new@example.com",
        "role": "viewer",
        "state": "open",
        "created_at": "2020-05-10T08:30:00Z",
        "expires_at": "2020-05-17T08:30:00Z",
        "accepted_at": None,
        "revoked_at": None,
    }
    assert [(letter.to, letter.subject) for letter in mail.outbox] == [(["new@example.com"], "You are invited to Sun")]
    address = f"invitations/{first.json()['id']}"
    before = Invitation.objects.get(email="new@example.com").token_sha256
    with django_capture_on_commit_callbacks(execute=True):
        assert ask(sun, "post", f"{address}/send-again").status_code == 200
    assert Invitation.objects.get(email="new@example.com").token_sha256 != before
    assert len(mail.outbox) == 2
    assert ask(sun, "post", f"{address}/revoke").json()["state"] == "revoked"
    assert refusal(ask(sun, "post", f"{address}/send-again")) == (409, "invitation-revoked", None)
    assert len(ask(sun, "get", "invitations").json()["results"]) == 2
    assert [row["email"] for row in ask(sun, "get", "invitations", is_open="true").json()["results"]] == [
        "invited@sun.example.com"
    ]


def test_who_is_a_member_is_not_invited(ask, sun):
    answer = ask(sun, "post", "invitations", json={"email": "owner@sun.example.com", "role": "viewer"})
    assert refusal(answer) == (409, "member-already", None)


def test_so_many_letters_a_day(ask, sun, monkeypatch):
    monkeypatch.setattr("marketplace.limits.LETTERS_A_DAY", 2)
    answers = [
        ask(sun, "post", "invitations", json={"email": f"new{n}@example.com", "role": "viewer"}) for n in range(3)
    ]
    assert [each.status_code for each in answers] == [201, 201, 429]
    assert refusal(answers[2]) == (429, "too-often", None)
    assert answers[2].headers["Retry-After"] == str(15 * 3600 + 1800)
    assert Invitation.objects.filter(email__startswith="new").count() == 2


@pytest.mark.parametrize(
    ("verb", "body", "state"), [("approve", {"role": "viewer"}, "approved"), ("refuse", None, "refused")]
)
def test_who_asks_to_join_is_decided_on_once(ask, sun, verb, body, state):
    address = f"join-requests/{sun.ids['join-requests'][0]}"
    assert ask(sun, "get", address).json()["state"] == "asked"
    assert ask(sun, "post", f"{address}/{verb}", json=body).json()["state"] == state
    is_member = Membership.objects.filter(user__email="asker@sun.example.com").exists()
    assert is_member == (state == "approved")
    other, body = ("refuse", None) if verb == "approve" else ("approve", {"role": "owner"})
    assert refusal(ask(sun, "post", f"{address}/{other}", json=body)) == (409, "decided", None)


# Facts and evidence

PNG = b"\x89PNG\r\n\x1a\n of ours"


def test_a_document_is_kept_once_and_given_back_as_it_is(ask, sun):
    body = {"name": "../licence.png", "content": b64encode(PNG).decode()}
    first, again = (ask(sun, "post", "evidence", json=body) for _ in range(2))
    assert (first.status_code, first.json()) == (201, again.json())
    assert (first.json()["name"], first.json()["content_type"]) == ("licence.png", "image/png")
    file = ask(sun, "get", f"evidence/{first.json()['id']}/file", headers={"Accept": "image/png"})
    assert (file.status_code, file.content, file.headers["Content-Type"]) == (200, PNG, "image/png")
    assert file.headers["Content-Disposition"] == 'attachment; filename="licence.png"'
    assert "sandbox" in file.headers["Content-Security-Policy"]
    assert "no-store" in file.headers["Cache-Control"]


@pytest.mark.parametrize("content", ["", "not base64!", b64encode(b"GIF89a").decode()])
def test_what_is_no_document_is_refused(ask, sun, content):
    answer = ask(sun, "post", "evidence", json={"name": "x", "content": content})
    assert refusal(answer) == (422, "unusable", "content")


def test_a_fact_is_stated_with_evidence_ended_and_withdrawn(ask, sun):
    body = {"kind": "size_class", "value": "small", "from_date": "2020-05-01", "evidence": sun.ids["evidence"][0]}
    made, again = (ask(sun, "post", "facts", json=body) for _ in range(2))
    assert (made.status_code, made.json()) == (201, again.json())
    assert made.json() | {"id": 0} == {
        "id": 0,
        **body,
        "until_date": None,
        "claimed_at": "2020-05-10T08:30:00Z",
        "is_verified": False,
    }
    address = f"facts/{made.json()['id']}"
    assert ask(sun, "post", f"{address}/end", json={"until_date": "2020-05-05"}).json()["until_date"] == "2020-05-05"
    assert ask(sun, "post", f"{address}/end", json={"until_date": "2020-04-30"}).status_code == 422
    assert ask(sun, "post", f"{address}/withdraw").status_code == 200
    assert ask(sun, "get", address).status_code == 404
    listed = ask(sun, "get", "facts", kind="sector", is_verified="false").json()["results"]
    assert [row["value"] for row in listed] == ["software"]


def test_a_verified_fact_is_not_withdrawn(ask, sun):
    sun.organization.party.facts.update(verified_at=AT)
    answer = ask(sun, "post", f"facts/{sun.ids['facts'][0]}/withdraw")
    assert refusal(answer) == (409, "fact-verified", None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "colour"}, "kind"),
        ({"kind": "founded_date", "value": "yesterday"}, None),
        ({"kind": "sector", "value": "banking"}, None),
        ({"from_date": "0001-01-01"}, "from_date"),
    ],
)
def test_a_fact_that_can_not_be_is_refused(ask, sun, change, field):
    body = {"kind": "sector", "value": "software", "from_date": "2020-05-01"} | change
    assert refusal(ask(sun, "post", "facts", json=body)) == (422, "unusable", field)


# Keys


def test_a_key_makes_a_key_whose_token_is_told_once_and_kept_nowhere(ask, sun):
    parent = sun.key("keys:write", "usage:read")
    body = {"name": "reader", "scopes": ["usage:read"], "expires_at": "2021-01-01T00:00:00Z"}
    first, again = (ask(parent, "post", "keys", json=body, headers=ONCE) for _ in range(2))
    assert (first.status_code, first.headers["Cache-Control"]) == (201, "no-store")
    token = first.json()["token"]
    assert again.json() == first.json() | {"token": None}
    assert again.headers["Idempotent-Replayed"] == "true"
    made = ApiKey.objects.get(name="reader")
    assert keys.authenticate(token, at=AT) == made
    assert made.parent.scopes == ["usage:read", "keys:write"]
    secret = token.split("_", 2)[2]
    assert secret not in json.dumps(list(AnsweredRequest.objects.values()), default=str)
    assert ask(parent, "get", f"keys/{made.pk}").json() == {
        "id": made.pk,
        "name": "reader",
        "prefix": str(made),
        "scopes": ["usage:read"],
        "made_by": None,
        "parent": made.parent_id,
        "created_at": "2020-05-10T08:30:00Z",
        "expires_at": "2021-01-01T00:00:00Z",
        "revoked_at": None,
        "revoked_because": None,
        "last_used_at": "2020-05-10T08:30:00Z",
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["usage:read", "billing:read"]}, "scopes"),
        ({"scopes": ["admin"]}, "scopes.0"),
        ({"scopes": []}, "scopes"),
        ({"name": ""}, "name"),
        ({"expires_at": "2020-05-10T08:30:00Z"}, "expires_at"),
    ],
)
def test_a_key_that_would_do_more_or_is_none_is_refused(ask, sun, body, field):
    parent = sun.key("keys:write", "usage:read")
    before = ApiKey.objects.count()
    answer = ask(parent, "post", "keys", json={"name": "k", "scopes": ["usage:read"]} | body)
    assert refusal(answer) == (422, "unusable", field)
    assert ApiKey.objects.count() == before


def test_a_revoked_key_takes_those_that_it_made_along(ask, sun):
    parent = sun.key("keys:write", "usage:read")
    child = ask(parent, "post", "keys", json={"name": "child", "scopes": ["usage:read"]}).json()
    revoked = ask(sun, "post", f"keys/{child['parent']}/revoke").json()
    assert (revoked["revoked_at"], revoked["revoked_because"]) == ("2020-05-10T08:30:00Z", "by_hand")
    assert ask(sun, "get", f"keys/{child['id']}").json()["revoked_because"] == "parent"
    assert ask(child["token"], "get", "contracts").status_code == 401
    assert ask(parent, "get", "keys").status_code == 401
    named = {row["name"] for row in ask(sun, "get", "keys", is_revoked="true").json()["results"]}
    assert named == {"test", "child"}


EXACT = {"members": 3, "members/changes": 3, "invitations": 3, "join-requests": 3, "facts": 3, "evidence": 3, "keys": 3}


@pytest.mark.parametrize("path", EXACT)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_list_asks_the_same_for_one_row_and_for_three(ask, sun, django_assert_num_queries, path, rows):
    model = {"members": Membership, "invitations": Invitation}.get(path)
    for number in range(rows - 1):
        if path in ("members", "members/changes"):
            member(sun, "viewer", f"more{number}@example.com")
        elif model is Invitation:
            row = Invitation.objects.get(email="invited@sun.example.com")
            row.pk, row.email, row.token_sha256 = None, f"more{number}@example.com", f"{number:064}"
            row.save()
    ask(sun, "get", path)  # the key's use is noted once
    with django_assert_num_queries(EXACT[path]):
        assert ask(sun, "get", path).status_code == 200
