import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from marketplace import keys, people
from marketplace.models import ApiKey, Membership, MembershipChange, User
from tests.marketplace.tenants import AT, credit_code, make_tenants

LATER = AT.replace(day=2)


@pytest.fixture
def tenants(db):
    return make_tenants()


def roles(organization):
    return dict(Membership.objects.filter(organization=organization).values_list("user__email", "role"))


def has_password(user, password):
    """By the slow hash that commands use, whatever hash the tests use."""
    return PBKDF2PasswordHasher().verify(password, user.password)


# Users


@pytest.mark.django_db
def test_one_address_is_one_user_whatever_its_letters_case():
    user = User.objects.create_user("  Ada@Example.COM ", "p")
    assert user.email == "ada@example.com"
    assert User.objects.get_by_natural_key("ADA@example.com") == user
    with pytest.raises(IntegrityError, match="user_email_once"), transaction.atomic():
        User.objects.create_user("ADA@EXAMPLE.com", "p")
    with pytest.raises(IntegrityError, match="user_email_lower_case"), transaction.atomic():
        User.objects.bulk_create([User(email="Bob@example.com")])
    with pytest.raises(IntegrityError, match="user_email_lower_case"), transaction.atomic():
        User.objects.bulk_create([User(email="")])


@pytest.mark.django_db
def test_a_user_without_a_password_cannot_sign_in():
    assert User.objects.create_user("ada@example.com").has_usable_password() is False


def test_createsuperuser_asks_for_the_address_alone(fresh_database):
    done = fresh_database.manage(
        "createsuperuser",
        "--noinput",
        "--email",
        "Root@example.com",
        env=fresh_database.environment | {"DJANGO_SUPERUSER_PASSWORD": "a long enough password"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    user = User.objects.get()
    assert (user.email, user.is_staff, user.is_superuser) == ("root@example.com", True, True)
    assert has_password(user, "a long enough password")


# Organizations


def test_making_an_organization_again_gives_the_same_and_other_facts_are_refused(tenants):
    sun = tenants.sun.organization
    facts = {"zone": tenants.zone, "party": sun.party, "name": "Sun", "parts": {"buyer"}}
    assert people.make_organization(**facts) == sun
    with pytest.raises(people.OrganizationDiffersError, match="is_provider is False, not True"):
        people.make_organization(**facts | {"parts": {"buyer", "provider"}})
    for parts in (set(), {"seller"}):
        with pytest.raises(people.NoPartError, match="expected one or more of buyer, provider, funder, operator"):
            people.make_organization(**facts | {"parts": parts})
    with pytest.raises(IntegrityError, match="organization_does_something"), transaction.atomic():
        type(sun).objects.filter(pk=sun.pk).update(is_buyer=False)


def test_an_organization_is_found_by_its_credit_code_or_by_the_code_of_its_account(tenants):
    assert people.find_organization(code=credit_code("north")) == tenants.north.organization
    assert people.find_organization(code=credit_code("moon")) == tenants.moon.organization
    assert people.find_organization(code="moon") == tenants.moon.organization
    for code in ("north", "nobody", ""):
        with pytest.raises(people.UnknownOrganizationError, match=f"^{code}: no organization"):
            people.find_organization(code=code)


# Members


def test_adding_a_member_again_changes_nothing_and_another_role_is_refused(tenants):
    facts = {"organization": tenants.sun.organization, "user": tenants.sun.users["viewer"], "actor": "x"}
    member = people.add_member(**facts, role="viewer", at=LATER)
    assert (member.since_at, member.actor) == (AT, "test")
    with pytest.raises(people.AlreadyMemberError, match="role is viewer, not owner"):
        people.add_member(**facts, role="owner", at=LATER)
    with pytest.raises(ValueError, match=r"'king' is not a valid Membership.Role"):
        people.add_member(**facts, role="king", at=LATER)
    assert roles(tenants.sun.organization) == {
        "owner.sun@example.com": "owner",
        "engineer.sun@example.com": "engineer",
        "finance.sun@example.com": "finance",
        "viewer.sun@example.com": "viewer",
    }


def test_a_role_changes_in_one_organization_and_says_when_and_by_whom(tenants):
    user, sun, moon = tenants.sun.users["viewer"], tenants.sun.organization, tenants.moon.organization
    people.add_member(organization=moon, user=user, role="viewer", at=AT, actor="test")
    people.change_role(organization=sun, user=user, role="finance", at=LATER, actor="user:7")
    people.change_role(organization=sun, user=user, role="finance", at=LATER.replace(day=3), actor="user:8")
    member = Membership.objects.get(organization=sun, user=user)
    assert (member.role, member.since_at, member.actor) == ("finance", LATER, "user:7")
    assert Membership.objects.get(organization=moon, user=user).role == "viewer"
    with pytest.raises(people.NotMemberError, match=r"^owner\.sun@example\.com is no member of Moon"):
        people.change_role(organization=moon, user=tenants.sun.owner, role="viewer", at=LATER, actor="x")


def test_a_member_is_removed_from_one_organization_and_a_second_time_changes_nothing(tenants):
    user, sun, moon = tenants.sun.users["viewer"], tenants.sun.organization, tenants.moon.organization
    people.add_member(organization=moon, user=user, role="viewer", at=AT, actor="test")
    for _ in range(2):
        people.remove_member(organization=sun, user=user, at=LATER, actor="test")
    assert "viewer.sun@example.com" not in roles(sun)
    assert roles(moon)["viewer.sun@example.com"] == "viewer"


def test_the_last_owner_is_neither_demoted_nor_removed_by_verb_or_by_hand(tenants):
    sun, owner = tenants.sun.organization, tenants.sun.owner
    before = roles(sun)
    with pytest.raises(people.LastOwnerError, match="would be left without an owner"):
        people.change_role(organization=sun, user=owner, role="finance", at=LATER, actor="x")
    with pytest.raises(people.LastOwnerError, match="would be left without an owner"):
        people.remove_member(organization=sun, user=owner, at=LATER, actor="test")
    with pytest.raises(IntegrityError, match="without an owner"), transaction.atomic():
        Membership.objects.filter(organization=sun).update(organization=tenants.north.organization)
    assert roles(sun) == before
    people.change_role(organization=sun, user=tenants.sun.users["viewer"], role="owner", at=LATER, actor="x")
    people.remove_member(organization=sun, user=owner, at=LATER, actor="test")
    assert [email for email, role in roles(sun).items() if role == "owner"] == ["viewer.sun@example.com"]


@pytest.mark.parametrize("first", ["remove", "demote"])
@pytest.mark.parametrize("second", ["remove", "demote"])
def test_of_two_owners_who_leave_at_once_one_stays(fresh_database, first, second):
    tenants = make_tenants()
    sun = tenants.sun.organization
    other = tenants.sun.users["viewer"]
    people.change_role(organization=sun, user=other, role="owner", at=AT, actor="test")

    def leave(how, user):
        if how == "remove":
            people.remove_member(organization=sun, user=user, at=LATER, actor="test")
        else:
            people.change_role(organization=sun, user=user, role="viewer", at=LATER, actor="x")

    left = fresh_database.at_once(lambda: leave(first, tenants.sun.owner), lambda: leave(second, other))
    assert sorted(type(result).__name__ for result in left) == ["LastOwnerError", "NoneType"]
    assert list(roles(sun).values()).count("owner") == 1


def test_a_leaving_owner_waits_for_one_who_is_leaving_in_an_open_transaction(fresh_database):
    tenants = make_tenants()
    sun = tenants.sun.organization
    other = tenants.sun.users["viewer"]
    people.change_role(organization=sun, user=other, role="owner", at=AT, actor="test")
    with transaction.atomic():
        people.remove_member(organization=sun, user=other, at=LATER, actor="test")

        def hurried():
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '300ms'")
            people.remove_member(organization=sun, user=tenants.sun.owner, at=LATER, actor="test")

        (refused,) = fresh_database.at_once(hurried)
        assert "lock timeout" in str(refused)
    assert list(roles(sun).values()).count("owner") == 1


# History, and the keys of who leaves


def history(user):
    rows = MembershipChange.objects.filter(user=user).order_by("id")
    return list(rows.values_list("organization__name", "from_role", "to_role", "at", "actor"))


def test_who_came_changed_and_left_is_kept_once_each(tenants):
    user, sun = tenants.sun.users["viewer"], tenants.sun.organization
    for _ in range(2):
        people.add_member(organization=sun, user=user, role="viewer", at=LATER, actor="again")
    for _ in range(2):
        people.change_role(organization=sun, user=user, role="finance", at=LATER, actor="user:7")
    for _ in range(2):
        people.remove_member(organization=sun, user=user, at=LATER, actor="user:8")
    assert history(user) == [
        ("Sun", "", "viewer", AT, "test"),
        ("Sun", "viewer", "finance", LATER, "user:7"),
        ("Sun", "finance", "", LATER, "user:8"),
    ]


def test_what_was_refused_leaves_no_history(tenants):
    before = history(tenants.sun.owner)
    with pytest.raises(people.LastOwnerError):
        people.remove_member(organization=tenants.sun.organization, user=tenants.sun.owner, at=LATER, actor="x")
    assert history(tenants.sun.owner) == before
    assert keys.authenticate(tenants.sun.token, at=LATER) == tenants.sun.key


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [("UPDATE marketplace_membershipchange SET actor = %s", ["x"]), ("DELETE FROM marketplace_membershipchange", [])],
)
def test_the_history_is_append_only(tenants, statement, parameters):
    with (
        pytest.raises(IntegrityError, match="marketplace_membershipchange is append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, parameters)


def made(tenants, user, *scopes, name="k", organization=None):
    organization = organization or tenants.sun.organization
    return keys.create_key(organization=organization, name=name, scopes=scopes, at=AT, created_by=user)[0]


def live(*rows):
    return [row.name for row in rows if ApiKey.objects.get(pk=row.pk).revoked_at is None]


def test_the_keys_of_who_leaves_are_revoked_and_no_others(tenants):
    user, sun, moon = tenants.sun.users["engineer"], tenants.sun.organization, tenants.moon.organization
    people.add_member(organization=moon, user=user, role="engineer", at=AT, actor="test")
    rows = [
        made(tenants, user, "usage:read", name="theirs"),
        made(tenants, user, "usage:read", name="elsewhere", organization=moon),
        made(tenants, tenants.sun.owner, "usage:read", name="the owner's"),
        made(tenants, None, "usage:read", name="nobody's"),
    ]
    revoked = made(tenants, user, "usage:read", name="long ago")
    keys.revoke_key(key=revoked, at=AT, actor="user:1")
    people.remove_member(organization=sun, user=user, at=LATER, actor="user:8")
    assert live(*rows) == ["elsewhere", "the owner's", "nobody's"]
    told = ApiKey.objects.filter(name__in=["theirs", "long ago"]).order_by("name")
    assert list(told.values_list("name", "revoked_at", "revoked_by", "revoked_because")) == [
        ("long ago", AT, "user:1", "by_hand"),
        ("theirs", LATER, "user:8", "member_left"),
    ]


def test_another_role_ends_the_keys_that_it_may_not_make(tenants):
    user, sun = tenants.sun.users["engineer"], tenants.sun.organization
    rows = [
        made(tenants, user, "usage:read", "organization:read", name="reads"),
        made(tenants, user, "usage:read", "reservations:write", name="reserves"),
        made(tenants, user, "keys:write", name="makes keys"),
    ]
    people.change_role(organization=sun, user=user, role="viewer", at=LATER, actor="user:8")
    assert live(*rows) == ["reads"]
    row = ApiKey.objects.get(name="reserves")
    assert (row.revoked_at, row.revoked_by, row.revoked_because) == (LATER, "user:8", "role_changed")


def test_a_key_made_while_its_maker_is_removed_is_refused_or_revoked(fresh_database):
    tenants = make_tenants()
    user, sun = tenants.sun.users["engineer"], tenants.sun.organization

    def make():
        return made(tenants, user, "usage:read")

    def leave():
        people.remove_member(organization=sun, user=user, at=LATER, actor="test")

    results = fresh_database.at_once(make, leave, make, make)
    keys_made = [each for each in results if isinstance(each, ApiKey)]
    others = {type(each).__name__ for each in results if not isinstance(each, ApiKey)}
    assert others <= {"NoneType", "BeyondMakerError"}
    assert live(*keys_made) == []


# The command


def test_create_user_reads_the_password_and_makes_a_member(fresh_database):
    tenants = make_tenants()
    done = fresh_database.manage(
        "create_user", "New@Example.com", "--organization", "sun", "--role", "finance", input="correct horse battery\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "new@example.com can sign in.\n")
    user = User.objects.get(email="new@example.com")
    assert has_password(user, "correct horse battery")
    assert (user.is_staff, user.is_superuser) == (False, False)
    member = user.memberships.get()
    assert (member.organization, member.role, member.actor) == (
        tenants.sun.organization,
        "finance",
        "command:create_user",
    )


def test_create_user_prints_a_generated_password_once_and_staff_are_staff(fresh_database):
    done = fresh_database.manage("create_user", "ops@example.com", "--staff", "--generate")
    assert (done.returncode, done.stderr) == (0, "ops@example.com can sign in.\n")
    user = User.objects.get()
    assert has_password(user, done.stdout.rstrip("\n"))
    assert len(done.stdout) == 25
    assert (user.is_staff, user.is_superuser) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["owner.sun@example.com"], "correct horse battery", "already exists"),
        (["no address"], "correct horse battery", "Enter a valid email address"),
        (["new@example.com"], "short", "at least 10 characters"),
        (["new@example.com"], "", "at least 10 characters"),
        (["new@example.com", "--organization", "nobody"], "correct horse battery", "nobody: no organization"),
        (["new@example.com", "--role", "owner"], "correct horse battery", "--role needs --organization"),
    ],
)
def test_create_user_says_what_is_wrong_and_makes_nobody(fresh_database, arguments, given, said):
    make_tenants()
    before = User.objects.count()
    done = fresh_database.manage("create_user", *arguments, input=f"{given}\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert User.objects.count() == before


@pytest.mark.django_db
def test_the_form_says_that_an_address_is_taken():
    User.objects.create_user("ada@example.com")
    with pytest.raises(ValidationError) as refused:
        User(email="ada@example.com", password="x").full_clean()
    assert list(refused.value.message_dict) == ["__all__"]
