"""Projects: who sees and changes them, amounts as people write them, archiving and bringing back."""

import pytest

from marketplace.models import Project
from tests.marketplace.tenants import AT

FACTS = {"code": "llm", "name": "Large models", "cost_centre": "CC-1", "monthly_limit": "50,000.50", "is_hard": "on"}


def add(client, **changes):
    facts = FACTS | {"warn_percents": "100, 80"} | changes
    return client.post("/projects/", {name: value for name, value in facts.items() if value is not None})


def of(tenant, code="llm"):
    return Project.objects.filter(organization=tenant.organization, code=code).first()


@pytest.mark.parametrize("role", ["owner", "finance"])
def test_owners_and_finance_add_projects(tenants, browser, role):
    client = browser(tenants.sun.users[role])
    assert add(client)["Location"] == "/projects/"
    project = of(tenants.sun)
    facts = (project.name, project.cost_centre, project.monthly_limit_minor, project.warn_percents, project.is_hard)
    assert facts == ("Large models", "CC-1", 5_000_050, [80, 100], True)
    assert project.actor == f"user:{tenants.sun.users[role].pk}"
    page = client.get("/projects/").text
    assert ("¥50,000.50" in page, "warn at 80, 100 %" in page) == (True, True)


@pytest.mark.parametrize("role", ["engineer", "viewer"])
def test_others_see_them_and_change_nothing(tenants, browser, role):
    client = browser(tenants.sun.users[role])
    page = client.get("/projects/").text
    assert ("Sun research" in page, "Add a project" in page, 'name="archive"' in page) == (True, False, False)
    assert add(client).status_code == 404
    assert client.get("/projects/research/").status_code == 404
    assert client.post("/projects/research/", FACTS).status_code == 404
    assert client.post("/projects/research/archive/", {"archive": ""}).status_code == 404
    assert Project.objects.filter(archived_at=None, actor="test").count() == 2


def test_projects_of_another_organization_are_not_there(tenants, browser):
    Project.objects.create(
        organization=tenants.moon.organization, code="secret", name="Moonshot", created_at=AT, actor="test"
    )
    client = browser(tenants.sun.owner)
    assert "Moonshot" not in client.get("/projects/").text
    for answer in (
        client.get("/projects/secret/"),
        client.post("/projects/secret/", FACTS),
        client.post("/projects/secret/archive/", {"archive": ""}),
    ):
        assert answer.status_code == 404
    client.post("/projects/research/archive/", {"archive": ""})
    assert of(tenants.sun, "research").archived_at is not None
    assert of(tenants.moon, "research").archived_at is None
    assert add(client, code="secret")["Location"] == "/projects/"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", ""),
        ("code", "two words"),
        ("code", "研究"),
        ("code", "research"),
        ("name", " "),
        ("monthly_limit", "-1"),
        ("monthly_limit", "0.001"),
        ("monthly_limit", "NaN"),
        ("monthly_limit", "Infinity"),
        ("monthly_limit", "1e99"),
        ("monthly_limit", "ten"),
        ("monthly_limit", "10000000000000"),
        ("warn_percents", "0"),
        ("warn_percents", "-80"),
        ("warn_percents", "1001"),
        ("warn_percents", "80; 90"),
        ("warn_percents", "²"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(tenants, browser, field, value):
    answer = add(browser(tenants.sun.owner), **{field: value})
    assert (answer.status_code, list(answer.context["form"].errors)) == (200, [field])
    assert of(tenants.sun) is None


@pytest.mark.parametrize(
    ("written", "minor"),
    [
        ("", None),
        ("0", 0),
        ("50000", 5_000_000),
        (" 50 000.5 ", 5_000_050),
        ("1e3", 100_000),
        ("9999999999999.99", 999_999_999_999_999),
    ],
)
def test_amounts_are_written_as_people_write_them_and_kept_in_minor_units(tenants, browser, written, minor):
    add(browser(tenants.sun.owner), monthly_limit=written)
    assert of(tenants.sun).monthly_limit_minor == minor


def test_in_a_currency_without_minor_units_no_decimals_are_taken(tenants, browser):
    tenants.issuer.currency = "JPY"
    tenants.issuer.save()
    client = browser(tenants.sun.owner)
    assert "monthly_limit" in add(client, monthly_limit="500.5").context["form"].errors
    add(client, monthly_limit="500")
    assert of(tenants.sun).monthly_limit_minor == 500


def test_a_project_is_changed_but_not_its_code(tenants, browser):
    client = browser(tenants.sun.owner)
    add(client)
    form = client.get("/projects/llm/").context["form"]
    assert (form.initial["monthly_limit"], form.initial["warn_percents"]) == ("50000.50", "80, 100")
    changed = {"code": "other", "name": "Larger models", "cost_centre": "", "monthly_limit": "", "warn_percents": ""}
    assert client.post("/projects/llm/", changed)["Location"] == "/projects/"
    project = of(tenants.sun)
    facts = (project.name, project.cost_centre, project.monthly_limit_minor, project.warn_percents, project.is_hard)
    assert facts == ("Larger models", "", None, [], False)


def test_a_project_is_archived_and_brought_back(tenants, browser):
    client = browser(tenants.sun.owner)
    for _ in range(2):
        client.post("/projects/research/archive/", {"archive": ""})
    page = client.get("/projects/").text
    assert ("No projects yet" in page, "1 archived project" in page, 'name="restore"' in page) == (True, True, True)
    for _ in range(2):
        client.post("/projects/research/archive/", {"restore": ""})
    assert of(tenants.sun, "research").archived_at is None
    assert client.post("/projects/research/archive/", {}).status_code == 404


def test_staff_who_look_at_all_organizations_choose_one_first(tenants, browser):
    assert browser(tenants.staff).get("/projects/")["Location"] == "/organization/"


@pytest.mark.parametrize("extra", [0, 2])
def test_the_list_asks_the_database_as_often_for_three_projects_as_for_one(
    tenants, browser, django_assert_num_queries, extra
):
    for number in range(extra):
        Project.objects.create(
            organization=tenants.sun.organization, code=f"p{number}", name="P", created_at=AT, actor="test"
        )
    client = browser(tenants.sun.owner)
    with django_assert_num_queries(7):  # session, user, organizations, role, zone, issuer, projects
        client.get("/projects/")
