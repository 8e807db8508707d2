"""Who did something is told by name, and in words where it was no person; one query for a list."""

import pytest
from django.apps import apps
from django.db.models import CharField

from billing import commitments, programmes
from marketplace import actors
from marketplace.admin.site import staff as site
from marketplace.models import User
from tests.billing import programmes_world
from tests.marketplace.tenants import make_user
from tests.web.buyers import local

AT = local(1)


def test_every_field_that_holds_an_actor_is_known():
    """`locked_by` is a process of the worker, `limited_by` a cap or budget."""
    named = {
        field.name
        for label in ("billing", "marketplace")
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.fields
        if isinstance(field, CharField)
        and (field.name.endswith(("_by", "_actor")) or field.name in ("actor", "shown_to"))
    }
    assert named - {"locked_by", "limited_by"} == actors.FIELDS


@pytest.mark.parametrize(
    ("actor", "said"),
    [
        ("task:close_period", "worker: closing of the month"),
        ("task:waitlist for user:3", "worker: waitlist"),
        ("task:controller", "worker: running reservations"),
        ("task:unheard of", "task:unheard of"),
        ("command:demo", "command demo"),
        ("key:9f2c", "API key 9f2c"),
        ("user:3", "staff"),
        ("user:x", "user:x"),
        ("user:" + "9" * 19, "user:" + "9" * 19),
        ("test", "test"),
        ("", ""),
    ],
)
def test_what_is_no_person_that_one_knows_is_told_in_words(actor, said):
    assert actors.words(actor) == said


def test_names_are_one_query_and_none_without_people(db, django_assert_num_queries):
    people = [make_user(f"person{number}") for number in range(3)]
    told = [*(f"user:{each.pk}" for each in people), "user:999999", "task:capacity", ""]
    with django_assert_num_queries(1):
        found = actors.names(told, people=User.objects.all())
    assert found == {f"user:{each.pk}": each.get_full_name() for each in people}
    with django_assert_num_queries(0):
        assert actors.names(["command:demo"], people=User.objects.all()) == {}


@pytest.fixture
def funded(zoned):
    """A programme that Ann signed, granted to Sun by her, with a commitment that expired by itself."""
    ann = make_user("ann")
    made = programmes_world.programme(zoned.issuer, signed_by=f"user:{ann.pk}")
    grant = programmes.apply(programme=made, party=zoned.sun.account.party, at=AT, actor="key:9f2c")
    programmes.approve(grant=grant, at=AT, actor=f"user:{ann.pk}")
    for number in range(3):
        commitments.commit(
            grant=grant,
            account=zoned.sun.account,
            source=f"reservation:{number}",
            wanted={"2020-05": 100},
            expires_at=local(2),
            at=AT,
            actor=f"user:{ann.pk}",
        )
    commitments.expire(at=local(3), actor="task:expire_programmes")
    return grant


@pytest.fixture
def staff(browser, zoned):
    return browser(make_user("operator", is_staff=True, is_superuser=True))


def test_the_admin_tells_who_by_name_on_every_page(staff, funded):
    commitment = funded.commitments.first()
    pages = {
        name: staff.get(site.address(f"billing_{name}_change", row.pk))
        for name, row in {"programme": funded.programme, "grant": funded, "commitment": commitment}.items()
    }
    for page in pages.values():
        assert "Ann" in page.text
        assert "user:" not in page.text
    assert "API key 9f2c" in pages["grant"].text
    assert "worker: programmes&#x27; ends" in pages["commitment"].text


def test_in_chinese(staff, funded):
    address = site.address("billing_commitment_change", funded.commitments.first().pk)
    assert "后台任务：扶持项目到期" in staff.get(address, headers={"accept-language": "zh-hans"}).text
