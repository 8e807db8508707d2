import hashlib
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from marketplace import keys
from marketplace.models import ApiKey
from tests.marketplace.tenants import AT, credit_code, make_tenants

SECOND = timedelta(seconds=1)


@pytest.fixture
def tenants(db):
    return make_tenants()


def make(tenants, **facts):
    return keys.create_key(
        **{"organization": tenants.sun.organization, "name": "hall 2", "scopes": ["usage:read"], "at": AT} | facts
    )


def test_a_key_is_shown_once_and_stored_as_the_digest_of_its_random_part(tenants):
    key, token = make(tenants, scopes=["billing:read", "usage:write", "usage:write"], created_by=tenants.sun.owner)
    start, prefix, secret = token.split("_", 2)
    assert (start, prefix, len(secret)) == ("suanli", key.prefix, 43)
    key = ApiKey.objects.get(pk=key.pk)
    assert key.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert key.scopes == ["usage:write", "billing:read"]
    assert (key.created_at, key.created_by, key.last_used_at) == (AT, tenants.sun.owner, None)
    assert str(key) == f"suanli_{prefix}"
    row = str(ApiKey.objects.filter(pk=key.pk).values().get())
    assert secret not in row


def test_the_key_is_known_with_its_organization_and_party_in_one_query(tenants, django_assert_num_queries):
    key, token = make(tenants)
    keys.authenticate(token, at=AT)
    with django_assert_num_queries(1):
        found = keys.authenticate(token, at=AT + SECOND)
        assert found.organization.party == tenants.sun.account.party
    assert found == key
    assert found != tenants.moon.key


def test_nothing_but_the_whole_token_is_accepted(tenants):
    _, token = make(tenants)
    _, other = make(tenants, organization=tenants.moon.organization)
    start, prefix, secret = token.split("_", 2)
    wrong = [
        "",
        prefix,
        secret,
        token[:-1],
        token + "A",
        token + "\n",
        " " + token,
        token.upper(),
        f"suanli_{'0' * 12}_{secret}",
        f"{start}_{prefix}_{other.split('_', 2)[2]}",
        f"{start}_{prefix}_{hashlib.sha256(secret.encode()).hexdigest()}",
        f"{start}_{prefix}_{'é' * 43}",
        f"{start}_{prefix}_{'٣' * 43}",
        f"{start}_{prefix[:11]}\0_{secret}",
        "%" * 63,
    ]
    assert [token for token in wrong if keys.authenticate(token, at=AT) is not None] == []
    assert keys.authenticate(token, at=AT) is not None


def test_a_revoked_key_is_refused_at_once_and_stays_revoked_as_it_was(tenants):
    key, token = make(tenants)
    _, other = make(tenants)
    keys.revoke_key(key=key, at=AT + SECOND, actor="test")
    keys.revoke_key(key=key, at=AT + 2 * SECOND, actor="test")
    key.refresh_from_db()
    assert key.revoked_at == AT + SECOND
    assert keys.authenticate(token, at=AT) is None
    assert keys.authenticate(other, at=AT) is not None
    assert keys.authenticate(tenants.moon.token, at=AT) == tenants.moon.key


def test_a_key_ends_at_the_instant_it_expires(tenants):
    _, token = make(tenants, expires_at=AT + 2 * SECOND)
    assert keys.authenticate(token, at=AT + SECOND) is not None
    assert keys.authenticate(token, at=AT + 2 * SECOND) is None
    with pytest.raises(keys.ExpiredAlreadyError, match=r"expected a time after 2026-05-01T00:00:00\+00:00"):
        make(tenants, expires_at=AT)


@pytest.mark.parametrize("scopes", [[], ["usage"], ["usage:read", "admin"]])
def test_scopes_are_known_ones_and_at_least_one(tenants, scopes):
    with pytest.raises(keys.UnknownScopeError, match="expected one or more of usage:write, usage:read, billing:read"):
        make(tenants, scopes=scopes)
    key, _ = make(tenants)
    with pytest.raises(IntegrityError, match="api_key_scopes_known"), transaction.atomic():
        ApiKey.objects.filter(pk=key.pk).update(scopes=scopes)


def test_a_key_does_no_more_than_its_maker(tenants):
    finance = tenants.sun.users["finance"]
    with pytest.raises(
        keys.BeyondMakerError,
        match=r"^scopes has usage:write: expected some of usage:read, billing:read, billing:write, projects:write, organization:read$",
    ):
        make(tenants, scopes=["usage:read", "usage:write"], created_by=finance)
    with pytest.raises(keys.BeyondMakerError, match=r"expected some of none$"):
        make(tenants, created_by=tenants.moon.owner)
    assert make(tenants, scopes=["billing:read"], created_by=finance)[0].created_by == finance
    assert make(tenants, scopes=ApiKey.Scope.values, created_by=tenants.staff)[0].created_by == tenants.staff


def test_a_key_that_a_key_makes_does_no_more_and_lives_no_longer(tenants):
    end_at = AT + 60 * SECOND
    facts = {"scopes": ["keys:write", "usage:read"], "expires_at": end_at, "created_by": tenants.sun.owner}
    parent, _ = make(tenants, **facts)
    child, token = make(tenants, parent=parent, expires_at=end_at)
    assert (child.parent, child.created_by, child.scopes) == (parent, tenants.sun.owner, ["usage:read"])
    with pytest.raises(
        keys.BeyondMakerError, match=r"^scopes has billing:read: expected some of usage:read, keys:write$"
    ):
        make(tenants, parent=parent, scopes=["billing:read"], expires_at=end_at)
    for later in (None, end_at + SECOND):
        with pytest.raises(keys.BeyondMakerError, match=r"expected 2026-05-01T00:01:00\+00:00 or before$"):
            make(tenants, parent=parent, expires_at=later)
    grandchild, _ = make(
        tenants,
        parent=make(tenants, parent=parent, scopes=["keys:write"], expires_at=end_at)[0],
        scopes=["keys:write"],
        expires_at=end_at,
    )
    keys.revoke_key(key=parent, at=AT + SECOND, actor="user:1")
    grandchild.refresh_from_db()
    assert (grandchild.revoked_at, grandchild.revoked_by, grandchild.revoked_because) == (
        AT + SECOND,
        "user:1",
        "parent",
    )
    assert keys.authenticate(token, at=AT + SECOND) is None
    with pytest.raises(keys.BeyondMakerError, match=r"expected a key that is not revoked$"):
        make(tenants, parent=parent, expires_at=end_at)


def test_keys_that_did_more_than_send_usage_still_read_the_organization(fresh_database):
    """Until 0013 every key did; a meter's has no need to."""
    tenants = make_tenants()
    rows = {
        name: make(tenants, name=name, scopes=scopes)[0].pk
        for name, scopes in {
            "meter": ["usage:write"],
            "finance": ["billing:read"],
            "both": ["usage:write", "supply:write"],
        }.items()
    }
    ApiKey.objects.exclude(pk__in=rows.values()).update(scopes=["usage:write"])
    assert fresh_database.manage("migrate", "marketplace", "0013").returncode == 0
    assert fresh_database.manage("migrate").returncode == 0
    assert {name: ApiKey.objects.get(pk=pk).scopes for name, pk in rows.items()} == {
        "meter": ["usage:write"],
        "finance": ["billing:read", "organization:read"],
        "both": ["usage:write", "supply:write", "organization:read"],
    }


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_key_has_a_name(tenants, name):
    with pytest.raises(keys.UnnamedKeyError, match=f"name has {len(name.strip())} characters: expected 1 to 100"):
        make(tenants, name=name)


def test_the_last_use_is_written_once_a_minute(tenants, django_assert_num_queries):
    key, token = make(tenants)

    def use(seconds, queries):
        with django_assert_num_queries(queries):
            assert keys.authenticate(token, at=AT + seconds * SECOND) is not None
        key.refresh_from_db()
        return (key.last_used_at - AT) / SECOND

    assert [use(0, 2), use(1, 1), use(59, 1), use(60, 2), use(30, 1), use(121, 2)] == [0, 0, 0, 60, 60, 121]
    tenants.moon.key.refresh_from_db()
    assert tenants.moon.key.last_used_at is None


def test_a_refused_token_leaves_no_trace_of_use(tenants):
    key, token = make(tenants)
    keys.authenticate(token[:-3] + "AAA", at=AT)
    key.refresh_from_db()
    assert key.last_used_at is None


def test_of_uses_that_come_at_once_all_are_let_in_and_none_waits_for_a_lock(fresh_database):
    tenants = make_tenants()
    key, token = make(tenants)

    def use():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        return keys.authenticate(token, at=AT)

    with transaction.atomic():
        ApiKey.objects.select_for_update().get(pk=key.pk)
        assert fresh_database.at_once(*[use] * 8) == [key] * 8
    assert ApiKey.objects.get(pk=key.pk).last_used_at is None
    assert fresh_database.at_once(*[use] * 8) == [key] * 8
    assert ApiKey.objects.get(pk=key.pk).last_used_at == AT


# The command


def test_create_api_key_prints_a_key_that_works_and_nothing_else(fresh_database):
    tenants = make_tenants()
    done = fresh_database.manage(
        "create_api_key",
        *("--organization", credit_code("north"), "--scope", "usage:write", "--scope", "usage:read", "--name", "hall"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    token = done.stdout.removesuffix("\n")
    key = ApiKey.objects.get(name="hall")
    assert (key.organization, key.scopes, key.created_by) == (
        tenants.north.organization,
        ["usage:write", "usage:read"],
        None,
    )
    assert keys.authenticate(token, at=key.created_at) == key


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--organization", "nobody", "--scope", "usage:write"], "nobody: no organization"),
        (["--organization", "sun", "--scope", "usage"], "invalid choice: 'usage'"),
        (["--organization", "sun"], "--scope"),
        (["--organization", "sun", "--scope", "usage:write", "--name", " "], "name has 0 characters"),
    ],
)
def test_create_api_key_says_what_is_wrong_and_makes_none(fresh_database, arguments, said):
    make_tenants()
    before = ApiKey.objects.count()
    done = fresh_database.manage("create_api_key", *arguments)
    assert done.returncode in (1, 2)
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    assert said in done.stderr
    assert ApiKey.objects.count() == before
