import pytest

from marketplace import people
from marketplace.models import Membership
from tests.marketplace.tenants import AT


def members(tenant):
    rows = Membership.objects.filter(organization=tenant.organization).order_by("user__email")
    return {row.user.email.split(".")[0]: row.role for row in rows.select_related("user")}


def of(tenant, role):
    return Membership.objects.get(organization=tenant.organization, user=tenant.users[role]).pk


ALL = {"owner": "owner", "engineer": "engineer", "finance": "finance", "viewer": "viewer"}


@pytest.mark.parametrize("role", ["owner", "engineer", "finance", "viewer"])
def test_every_member_sees_its_fellows_and_nobody_of_another_tenant(tenants, browser, role):
    page = browser(tenants.sun.users[role]).get("/organization/").text
    assert [name for name in ALL if f"{name}.sun@example.com" in page] == list(ALL)
    assert [word for word in ("moon", "Moon", "north", "south") if word in page] == []
    assert ("Invite a member" in page) == (role == "owner")
    assert ('name="remove"' in page) == (role == "owner")


@pytest.mark.parametrize("role", ["engineer", "finance", "viewer"])
def test_for_those_who_may_not_manage_members_the_ways_to_do_it_are_absent(tenants, browser, role):
    client = browser(tenants.sun.users[role])
    member = of(tenants.sun, "viewer")
    assert client.post("/organization/", {"email": "owner.sun@example.com", "role": "owner"}).status_code == 404
    assert client.post(f"/organization/members/{member}/", {"role": "owner"}).status_code == 404
    assert client.post(f"/organization/members/{member}/", {"remove": ""}).status_code == 404
    assert members(tenants.sun) == ALL


def test_an_owner_changes_roles_and_removes_members_of_its_own_organization(tenants, browser):
    client = browser(tenants.sun.owner)
    viewer, engineer = of(tenants.sun, "viewer"), of(tenants.sun, "engineer")
    assert client.post(f"/organization/members/{viewer}/", {"role": "finance"})["Location"] == "/organization/"
    assert "The role of Viewer.Sun is changed." in client.get("/organization/").text
    client.post(f"/organization/members/{engineer}/", {"remove": ""})
    assert "Engineer.Sun is no longer a member." in client.get("/organization/").text
    assert members(tenants.sun) == {"finance": "finance", "owner": "owner", "viewer": "finance"}
    assert Membership.objects.get(pk=viewer).actor == f"user:{tenants.sun.owner.pk}"
    assert members(tenants.moon) == ALL


def test_members_of_another_organization_are_not_there_to_be_changed(tenants, browser):
    client = browser(tenants.sun.owner)
    for tenant in (tenants.moon, tenants.north):
        for change in ({"role": "viewer"}, {"remove": ""}):
            assert client.post(f"/organization/members/{of(tenant, 'engineer')}/", change).status_code == 404
    assert (members(tenants.moon), members(tenants.north)) == (ALL, ALL)


def test_the_last_owner_stays_and_is_told_why(tenants, browser):
    client = browser(tenants.sun.owner)
    for change in ({"role": "viewer"}, {"remove": ""}):
        client.post(f"/organization/members/{of(tenants.sun, 'owner')}/", change)
        assert "An organization needs an owner: make somebody else one first." in client.get("/organization/").text
    assert members(tenants.sun) == ALL


@pytest.mark.parametrize("change", [{"role": "king"}, {"role": ""}, {}])
def test_a_role_that_does_not_exist_is_not_found(tenants, browser, change):
    address = f"/organization/members/{of(tenants.sun, 'viewer')}/"
    assert browser(tenants.sun.owner).post(address, change).status_code == 404
    assert members(tenants.sun) == ALL


# The current organization


def test_a_member_of_two_switches_and_the_pages_follow(tenants, browser):
    user = tenants.sun.users["viewer"]
    people.add_member(organization=tenants.moon.organization, user=user, role="viewer", at=AT, actor="test")
    client = browser(user)
    first = client.get("/organization/").text
    assert ("<h1>Moon</h1>" in first, "owner.sun@example.com" in first) == (True, False)
    assert client.post("/organization/switch/", {"organization": tenants.sun.organization.pk})["Location"] == "/"
    then = client.get("/organization/").text
    assert ("<h1>Sun</h1>" in then, "owner.moon@example.com" in then) == (True, False)
    people.remove_member(organization=tenants.sun.organization, user=user, at=AT, actor="test")
    assert "<h1>Moon</h1>" in client.get("/organization/").text


@pytest.mark.parametrize("wanted", ["moon", "0", "", "-1", "1e3", "٣", "9" * 18, "9" * 40, "x\0"])
def test_what_is_not_ones_own_organization_cannot_be_switched_to(tenants, browser, wanted):
    client = browser(tenants.sun.owner)
    wanted = tenants.moon.organization.pk if wanted == "moon" else wanted
    assert client.post("/organization/switch/", {"organization": wanted}).status_code == 404
    assert "<h1>Sun</h1>" in client.get("/organization/").text


def test_an_organization_of_the_session_that_is_not_ones_own_is_passed_over(tenants, browser):
    client = browser(tenants.sun.owner)
    session = client.session
    session["organization"] = tenants.moon.organization.pk
    session.save()
    assert "<h1>Sun</h1>" in client.get("/organization/").text


def test_staff_look_at_all_until_they_choose_and_can_go_back(tenants, browser):
    client = browser(tenants.staff)
    page = client.get("/organization/").text
    assert "<h1>Organizations</h1>" in page
    assert [name for name in ("Moon", "North", "South", "Sun") if f'<th scope="row">{name}</th>' in page] == [
        "Moon",
        "North",
        "South",
        "Sun",
    ]
    client.post("/organization/switch/", {"organization": tenants.north.organization.pk})
    assert "<h1>North</h1>" in client.get("/organization/").text
    client.post("/organization/switch/", {"organization": ""})
    assert "<h1>Organizations</h1>" in client.get("/organization/").text


def test_one_who_belongs_nowhere_is_told_what_to_do_and_sees_nothing(tenants, browser):
    Membership.objects.filter(user=tenants.sun.users["viewer"]).delete()
    client = browser(tenants.sun.users["viewer"])
    page = client.get("/organization/").text
    assert "You belong to no organization yet" in page
    assert [word for word in (">Sun<", "Moon", "North", "South") if word in page] == []
    assert client.get("/keys/").status_code == 404


@pytest.mark.parametrize("extra", [1, 3])
def test_the_page_asks_the_database_as_often_for_three_members_as_for_one(
    tenants, browser, django_assert_num_queries, extra
):
    for role in ["engineer", "finance", "viewer"][extra:]:
        people.remove_member(organization=tenants.sun.organization, user=tenants.sun.users[role], at=AT, actor="test")
    client = browser(tenants.sun.owner)
    with django_assert_num_queries(7):  # session, user, organizations, role, members, invitations, requests to join
        client.get("/organization/")
