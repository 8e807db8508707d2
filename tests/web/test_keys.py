import re

import pytest
from django.utils import timezone

from marketplace import keys, people
from marketplace.models import ApiKey
from tests.marketplace.tenants import AT


def made(tenant):
    return ApiKey.objects.filter(organization=tenant.organization).exclude(pk=tenant.key.pk)


@pytest.mark.parametrize("role", ["owner", "engineer"])
def test_owners_and_engineers_see_the_keys_of_their_organization_and_of_no_other(tenants, browser, role):
    page = browser(tenants.sun.users[role]).get("/keys/").text
    assert str(tenants.sun.key) in page
    assert [str(t.key) for t in (tenants.moon, tenants.north, tenants.south) if str(t.key) in page] == []
    assert tenants.sun.token not in page
    assert tenants.sun.key.secret_sha256 not in page


@pytest.mark.parametrize("role", ["finance", "viewer"])
def test_for_others_the_page_is_absent_and_its_forms_do_nothing(tenants, browser, role):
    client = browser(tenants.sun.users[role])
    assert client.get("/keys/").status_code == 404
    assert client.post("/keys/", {"name": "x", "scopes": ["usage:read"]}).status_code == 404
    assert client.post(f"/keys/{tenants.sun.key.pk}/revoke/").status_code == 404
    assert list(ApiKey.objects.filter(revoked_at__isnull=False)) == []
    assert list(made(tenants.sun)) == []


def test_a_key_is_made_and_shown_this_once(tenants, browser):
    client = browser(tenants.sun.owner)
    response = client.post("/keys/", {"name": "hall 2", "scopes": ["usage:write", "usage:read"], "days": "30"})
    key = made(tenants.sun).get()
    token = re.search(r'<code class="secret">(.*?)</code>', response.text)[1]
    assert keys.authenticate(token, at=timezone.now()) == key
    assert (key.name, key.scopes, key.created_by) == ("hall 2", ["usage:write", "usage:read"], tenants.sun.owner)
    assert (key.expires_at - key.created_at).days == 30
    assert "no-store" in response["Cache-Control"]
    page = client.get("/keys/").text
    assert (str(key) in page, token in page) == (True, False)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": "", "scopes": ["usage:read"]}, "This field is required."),
        ({"name": "x" * 101, "scopes": ["usage:read"]}, "at most 100 characters"),
        ({"name": "x"}, "This field is required."),
        ({"name": "x", "scopes": ["admin"]}, "admin is not one of the available choices."),
        ({"name": "x", "scopes": ["usage:read"], "days": "-1"}, "-1 is not one of the available choices."),
    ],
)
def test_a_form_that_will_not_do_is_refused_at_its_field(tenants, browser, form, said):
    response = browser(tenants.sun.owner).post("/keys/", form)
    assert (response.status_code, said in response.text) == (200, True)
    assert list(made(tenants.sun)) == []


def test_an_engineer_cannot_make_a_key_that_reads_bills(tenants, browser):
    client = browser(tenants.sun.users["engineer"])
    assert "billing:read" not in re.findall(r'name="scopes" value="(.*?)"', client.get("/keys/").text)
    response = client.post("/keys/", {"name": "x", "scopes": ["billing:read"]})
    assert "billing:read is not one of the available choices." in response.text
    assert list(made(tenants.sun)) == []


def test_a_key_is_revoked_by_a_post_at_once_and_again_without_harm(tenants, browser):
    client = browser(tenants.sun.users["engineer"])
    address = f"/keys/{tenants.sun.key.pk}/revoke/"
    assert client.get(address).status_code == 405
    assert keys.authenticate(tenants.sun.token, at=AT) == tenants.sun.key
    for _ in range(2):
        assert client.post(address)["Location"] == "/keys/"
    assert "The key sun meter is revoked." in client.get("/keys/").text
    assert keys.authenticate(tenants.sun.token, at=AT) is None
    assert keys.authenticate(tenants.moon.token, at=AT) == tenants.moon.key


def test_a_key_of_another_organization_is_not_there_to_be_revoked(tenants, browser):
    client = browser(tenants.sun.owner)
    for tenant in (tenants.moon, tenants.north):
        assert client.post(f"/keys/{tenant.key.pk}/revoke/").status_code == 404
    assert client.post("/keys/999999999999/revoke/").status_code == 404
    assert ApiKey.objects.filter(revoked_at__isnull=False).count() == 0


def test_the_page_says_whose_maker_left_and_why_a_key_was_revoked(tenants, browser):
    engineer = tenants.sun.users["engineer"]
    facts = {"organization": tenants.sun.organization, "scopes": ["usage:read"], "created_by": engineer}
    key, _ = keys.create_key(name="theirs", at=AT, **facts)
    client = browser(tenants.sun.owner)
    assert "no longer a member" not in client.get("/keys/").text
    people.remove_member(organization=tenants.sun.organization, user=engineer, at=AT, actor="test")
    page = client.get("/keys/").text
    assert "its maker left the organization" in page
    assert "Engineer.Sun (no longer a member)" in page
    ApiKey.objects.filter(pk=key.pk).update(created_by=tenants.staff)
    assert "no longer a member" not in client.get("/keys/").text


def test_the_page_says_what_state_a_key_is_in(tenants, browser):
    now = timezone.now()
    client = browser(tenants.sun.owner)
    states = []
    for change in ({}, {"expires_at": now}, {"revoked_at": now}):
        ApiKey.objects.filter(pk=tenants.sun.key.pk).update(**change)
        states.append(re.findall(r'class="badge badge-\w+">(\w+)<', client.get("/keys/").text))
    assert states == [["Active"], ["Expired"], ["Revoked"]]


def test_staff_see_every_key_and_make_one_only_for_an_organization_they_look_at(tenants, browser):
    client = browser(tenants.staff)
    page = client.get("/keys/").text
    assert all(str(t.key) in page for t in (tenants.sun, tenants.moon, tenants.north, tenants.south))
    assert 'name="scopes"' not in page
    count = ApiKey.objects.count()
    assert client.post("/keys/", {"name": "x", "scopes": ["usage:read"]}).status_code == 200
    assert ApiKey.objects.count() == count
    client.post("/organization/switch/", {"organization": tenants.moon.organization.pk})
    client.post("/keys/", {"name": "x", "scopes": ["billing:read"]})
    assert made(tenants.moon).get().created_by == tenants.staff


@pytest.mark.parametrize("count", [1, 3])
def test_the_page_asks_the_database_as_often_for_three_keys_as_for_one(
    tenants, browser, django_assert_num_queries, count
):
    for number in range(count - 1):
        keys.create_key(
            organization=tenants.sun.organization,
            name=str(number),
            scopes=["usage:read"],
            at=AT,
            created_by=tenants.sun.users["engineer"],
        )
    client = browser(tenants.sun.owner)
    with django_assert_num_queries(6):  # session, user, organizations, role twice, keys
        client.get("/keys/")
