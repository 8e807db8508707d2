"""Another organization, for one who has an account: pending, with them as owner; or a request to join the one that is here."""

from billing.models import PartyFact
from marketplace.models import JoinRequest, Membership, Organization, SignUp
from tests.marketplace.tenants import credit_code
from tests.web import letters
from tests.web.test_sign_up import FACTS

FIRM = {name: FACTS[name] for name in ("legal_name", "credit_code", "sector", "size_class", "parts")}
ADDRESS = "/organization/new/"


def test_a_member_of_one_registers_another_and_looks_at_it(tenants, browser):
    user = tenants.sun.users["viewer"]
    client = browser(user)
    assert ADDRESS in client.get("/organization/").text
    assert "Ada Analytics Ltd" not in client.get(ADDRESS).text
    for _ in range(2):
        assert client.post(ADDRESS, FIRM)["Location"] == "/organization/"
    made = Organization.objects.get(party__credit_code=FIRM["credit_code"])
    assert (made.name, made.state, made.is_buyer, made.is_provider, made.is_funder) == (
        "Ada Analytics Ltd",
        "pending",
        True,
        True,
        False,
    )
    assert list(Membership.objects.filter(organization=made).values_list("user", "role")) == [(user.pk, "owner")]
    assert list(PartyFact.objects.filter(party=made.party).values_list("kind", "value").order_by("kind")) == [
        ("sector", "software"),
        ("size_class", "small"),
    ]
    assert Membership.objects.get(user=user, organization=tenants.sun.organization).role == "viewer"
    page = client.get("/organization/").text
    assert "verifies Ada Analytics Ltd now, and writes to you." in page
    assert "<h1>Ada Analytics Ltd</h1>" in page
    assert not SignUp.objects.exists()


def test_one_that_is_here_already_is_asked_to_be_joined_once(tenants, browser, committed):
    user = tenants.sun.users["viewer"]
    with committed():
        for _ in range(2):
            assert browser(user).post(ADDRESS, FIRM | {"credit_code": credit_code("moon")}).status_code == 302
    [asked] = JoinRequest.objects.filter(organization=tenants.moon.organization, user=user)
    assert asked.state == "asked"
    assert letters.to(tenants.moon.owner.email) == ["有人申请加入 Moon"]
    assert not Membership.objects.filter(user=user, organization=tenants.moon.organization).exists()


def test_ones_own_is_given_as_it_is(tenants, browser):
    before = Organization.objects.count(), Membership.objects.count(), JoinRequest.objects.count()
    assert browser(tenants.sun.owner).post(ADDRESS, FIRM | {"credit_code": credit_code("sun")}).status_code == 302
    assert (Organization.objects.count(), Membership.objects.count(), JoinRequest.objects.count()) == before


def test_what_will_not_do_is_refused_at_its_field(tenants, browser):
    client = browser(tenants.sun.owner)
    for field, value in (
        ("legal_name", "https://example.com"),
        ("credit_code", "91310115MA1K4H6B30"),
        ("parts", ["operator"]),
        ("sector", "banking"),
    ):
        answer = client.post(ADDRESS, FIRM | {field: value})
        assert (answer.status_code, list(answer.context["form"].errors)) == (200, [field])
    assert not Organization.objects.filter(party__credit_code=FIRM["credit_code"]).exists()


def test_so_many_a_day_and_none_for_who_has_not_signed_in(tenants, browser, standing):
    assert browser().post(ADDRESS, FIRM)["Location"].startswith("/sign-in/")
    client = browser(tenants.sun.owner)
    answers = [client.post(ADDRESS, FIRM | {"credit_code": credit_code("moon")}).status_code for _ in range(6)]
    assert answers == [302] * 5 + [429]
