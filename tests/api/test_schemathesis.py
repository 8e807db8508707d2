"""schemathesis over the OpenAPI document: whatever it makes up, no 500, no undocumented status, no other content than said."""

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from billing.models import Account
from marketplace.models import Organization
from tests.api.world import WISH, Tenant, World, buy, make_affairs, make_bills, make_contested, make_owed

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
EXAMPLES = 6
PARTS = 4  # of the operations, each a test of its own: all together take as long as a test may


@pytest.fixture(autouse=True)
def _kept_connection(world, monkeypatch):
    """A request's end would close the connection of the test's transaction, as Django's own client knows."""
    monkeypatch.setattr(connections["default"], "close_if_unusable_or_obsolete", lambda: None)


@pytest.mark.parametrize("part", range(PARTS))
def test_what_schemathesis_makes_up_is_answered_as_documented(world, now, part):
    """North is made a buyer too, with sun's account, so that one key may do everything."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 129
    north = both(world)
    called, wrong = {}, {}
    for operation in operations[part::PARTS]:
        called[operation.label] = set()
        try:
            checked(operation, north, called[operation.label])
        except Exception as error:  # noqa: BLE001  - all that is wrong is told at once
            wrong[operation.label] = f"{error}"
    assert wrong == {}
    assert {200, 201, 404, 409, 422} <= set().union(*called.values())  # it came further than to refusals


def both(world: World) -> Tenant:
    north = world.north
    Organization.objects.filter(pk=north.organization.pk).update(is_buyer=True)
    north.organization.refresh_from_db()
    supplied = north.ids
    buy(north, world.market.other, 7)
    make_affairs(world)
    make_bills(world)
    sold = {"party": world.sun.organization.party_id}
    Account.objects.filter(**sold).update(party=north.organization.party_id)
    bills = {name: world.sun.ids[name] for name in ("contracts", "contract", "invoices", "account", "accounts")}
    north.ids |= (
        supplied
        | bills
        | {"meters": ["gpu_hours"], "accelerators": ["test-800"], "offering": ["north-offering", "south-offering"]}
    )
    make_owed(world, "north")
    make_contested(world, "north")
    north.ids["offerings"] = [*north.ids["offering"], "north-draft"]
    return north


def checked(operation, north: Tenant, statuses: set[int]) -> None:
    """Call it EXAMPLES times with what is made up, mostly with ids that are there, to come further than to 404."""
    fields = {
        name: north.ids[name]
        for name in ("project", "site", "pool", "tariff", "offering", "evidence", "programme", "invoice")
    }
    fields |= {"accelerator": ["test-800"]} | {name: [value] for name, value in WISH.items()}

    @seed(20260501)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), data=st.data())
    def check(case, data):
        prefix = case.path.removeprefix("/api/v1/").split("/{")[0]
        for name in case.path_parameters or {}:
            if data.draw(st.integers(0, 3)):
                case.path_parameters[name] = data.draw(st.sampled_from(north.ids[prefix]))
        given = case.body if isinstance(case.body, dict) else {}
        for name in sorted(given.keys() & fields.keys()):
            if data.draw(st.integers(0, 3)):
                given[name] = data.draw(st.sampled_from(fields[name]))
        with transaction.atomic():  # the next example finds what this one found
            response = case.call(headers={"Authorization": f"Bearer {north.token}"})
            transaction.set_rollback(True)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    check()
