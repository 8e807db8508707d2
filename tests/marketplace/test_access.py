"""The one tenancy rule, walked over every model it names, with two buyers' and two providers' rows present."""

import pytest
from django.contrib.auth.models import AnonymousUser

from billing.models import (
    Account,
    Claim,
    Contract,
    Dispute,
    EventProblem,
    EventSource,
    Evidence,
    Grant,
    Invoice,
    InvoiceLine,
    Journal,
    Meter,
    OneOffCharge,
    Party,
    PartyFact,
    Programme,
    Reading,
    ReservedSpan,
    Tariff,
    TariffVersion,
    UsageEvent,
)
from marketplace import access, keys
from marketplace.models import (
    AcceleratorModel,
    ApiKey,
    CapacityChange,
    CapacityPool,
    CapacitySlot,
    Credential,
    Incident,
    Invitation,
    JoinRequest,
    Maintenance,
    Membership,
    MembershipChange,
    Offering,
    OfferingChange,
    Organization,
    OrganizationChange,
    Project,
    ProvisioningTask,
    Quote,
    Reservation,
    ReservationChange,
    Site,
    User,
    WaitlistEntry,
    Zone,
)
from marketplace.permissions import Permission
from tests.marketplace.tenants import AT, make_tenants

EVERYBODY = {"owner", "engineer", "finance", "viewer", "key"}
BOTH = {
    ApiKey: {"owner", "engineer", "key"},
    Contract: EVERYBODY,
    Claim: {"owner", "finance", "key"},
    Evidence: {"owner", "finance", "key"},
    Grant: EVERYBODY,
    Invitation: {"owner", "key"},
    JoinRequest: {"owner", "key"},
    Membership: EVERYBODY,
    MembershipChange: {"owner", "key"},
    Organization: EVERYBODY,
    OrganizationChange: {"owner", "key"},
    PartyFact: EVERYBODY,
    Programme: EVERYBODY,
    Reading: EVERYBODY,
    Reservation: EVERYBODY,
    ReservationChange: EVERYBODY,
    ReservedSpan: EVERYBODY,
    Tariff: EVERYBODY,
    TariffVersion: EVERYBODY,
    UsageEvent: EVERYBODY,
    User: EVERYBODY,
}
BUYERS_ONLY = {
    Account: EVERYBODY,
    Dispute: {"owner", "finance", "key"},
    Invoice: {"owner", "finance", "key"},
    InvoiceLine: {"owner", "finance", "key"},
    OneOffCharge: {"owner", "finance", "key"},
    Project: EVERYBODY,
    Quote: {"owner", "engineer", "finance", "key"},
    WaitlistEntry: {"owner", "engineer", "finance", "key"},
}
PROVIDERS_ONLY = dict.fromkeys(
    (
        CapacityChange,
        CapacityPool,
        CapacitySlot,
        EventProblem,
        Incident,
        Maintenance,
        Offering,
        OfferingChange,
        ProvisioningTask,
        Site,
    ),
    EVERYBODY,
)
BUYERS = BOTH | BUYERS_ONLY
PROVIDERS = {
    model: who for model, who in BOTH.items() if model not in (Claim, Evidence, Grant, PartyFact)
} | PROVIDERS_ONLY
ASKERS = ["owner", "engineer", "finance", "viewer", "key"]


@pytest.fixture
def tenants(db):
    return make_tenants()


def asker(tenant, who):
    return tenant.key if who == "key" else tenant.users[who]


def belongs_to(row):  # noqa: C901, PLR0911, PLR0912  - one for each model
    """The names of the tenants whose row it is: a supply's buyer and provider."""
    match row:
        case Evidence() | Grant() | PartyFact():
            return {row.party.organization.name}
        case Claim():
            return {row.claimant.organization.name}
        case Programme():
            return {organization.name for organization in row.issuer.zone.organizations.all()}
        case Site():
            return {row.provider.name}
        case CapacityPool():
            return belongs_to(row.site)
        case CapacityChange() | CapacitySlot() | Incident() | Maintenance() | Offering():
            return belongs_to(row.pool)
        case OfferingChange():
            return belongs_to(row.offering)
        case Reservation():
            return {row.organization.name} | belongs_to(row.pool)
        case ReservationChange():
            return belongs_to(row.reservation)
        case ProvisioningTask():
            return belongs_to(row.reservation.pool)
        case OneOffCharge():
            return {row.contract.account.party.organization.name}
        case Contract():
            return {row.account.party.organization.name, row.provider.organization.name}
        case EventProblem():
            return {row.owner.organization.name}
        case Account() | Invoice():
            return {(row.account if isinstance(row, Invoice) else row).party.organization.name}
        case Dispute() | InvoiceLine():
            return belongs_to(row.invoice)
        case Reading() | ReservedSpan() | UsageEvent():
            return belongs_to(row.contract)
        case Tariff():
            return belongs_to(row.contracts.get())
        case TariffVersion():
            return belongs_to(row.tariff)
        case (
            Membership()
            | ApiKey()
            | Project()
            | Quote()
            | WaitlistEntry()
            | Invitation()
            | JoinRequest()
            | OrganizationChange()
            | MembershipChange()
        ):
            return {row.organization.name}
        case Organization():
            return {row.name}
        case User():
            return {membership.organization.name for membership in row.memberships.all()}
    raise AssertionError(row)


def test_the_tables_of_this_test_name_every_model_that_has_a_rule():
    assert set(BUYERS) | set(PROVIDERS) == set(access.RULES)


@pytest.mark.parametrize("who", ASKERS)
@pytest.mark.parametrize(
    ("own", "role"), [("sun", BUYERS), ("moon", BUYERS), ("north", PROVIDERS), ("south", PROVIDERS)]
)
def test_of_each_model_one_sees_the_rows_of_ones_own_organization_and_no_other(tenants, own, role, who):
    found, expected = {}, {}
    for model in access.RULES:
        rows = [row for row in model.objects.all() if own.title() in belongs_to(row)]
        if model is Invoice:
            rows = [row for row in rows if row.state == "issued"]
        if model is InvoiceLine:
            rows = [row for row in rows if row.invoice.state == "issued"]
        expected[model] = {row.pk for row in rows} if who in role.get(model, set()) else set()
        assert expected[model] or who not in role.get(model, set())
        found[model] = {row.pk for row in access.rows_for(model, asker(getattr(tenants, own), who))}
    assert found == expected


def test_staff_see_every_row_and_those_not_signed_in_or_not_active_none(tenants):
    for model in access.RULES:
        assert access.rows_for(model, tenants.staff).count() == model.objects.count() > 0
    for user in (tenants.sun.owner, tenants.staff):
        user.is_active = False
    for who in (AnonymousUser(), tenants.sun.owner, tenants.staff):
        assert [row for model in access.RULES for row in access.rows_for(model, who)] == []


@pytest.mark.parametrize("model", access.RULES, ids=lambda model: model.__name__)
def test_the_current_organization_narrows_and_never_widens(tenants, model):
    sun, moon = tenants.sun, tenants.moon
    own = set(access.rows_for(model, sun.owner))
    assert set(access.rows_for(model, sun.owner, within=sun.organization)) == own
    foreign = set(access.rows_for(model, sun.owner, within=moon.organization))
    assert foreign == ({sun.owner} if model is User else set())
    as_staff = set(access.rows_for(model, tenants.staff, within=sun.organization))
    assert as_staff == (own | {tenants.staff} if model is User else own)


def test_a_member_of_two_organizations_sees_both_and_narrows_to_each(tenants):
    user = tenants.sun.users["finance"]
    Membership.objects.create(
        user=user, organization=tenants.moon.organization, role="viewer", since_at=AT, actor="test"
    )
    names = {tenants.sun.contract.number, tenants.moon.contract.number}
    assert {row.number for row in access.contracts_for(user)} == names
    assert [row.number for row in access.contracts_for(user, within=tenants.moon.organization)] == ["moon-1"]
    assert [row.number for row in access.invoices_for(user)] == ["LG-2026-000001"]
    assert list(access.invoices_for(user, within=tenants.moon.organization)) == []


@pytest.mark.parametrize(
    ("scopes", "seen"),
    [
        (["usage:write"], set()),
        (
            ["usage:read"],
            {
                Account,
                Contract,
                Reading,
                Reservation,
                ReservationChange,
                ReservedSpan,
                Tariff,
                TariffVersion,
                UsageEvent,
            },
        ),
        (
            ["billing:read"],
            {Account, Claim, Dispute, Evidence, Invoice, InvoiceLine, OneOffCharge, Project, Quote, WaitlistEntry},
        ),
        (["reservations:write"], {Project, Quote, WaitlistEntry}),
        (["projects:write"], {Project}),
        (["organization:read"], {Grant, Membership, Organization, PartyFact, Programme, Project, User}),
        (["organization:write"], {Invitation, JoinRequest, MembershipChange, OrganizationChange}),
        (["keys:write"], {ApiKey}),
    ],
)
def test_a_key_sees_what_its_scopes_carry(tenants, scopes, seen):
    key, _ = keys.create_key(organization=tenants.sun.organization, name="k", scopes=scopes, at=AT)
    assert {model for model in access.RULES if access.rows_for(model, key).exists()} == seen


def test_usage_is_sent_for_a_contract_by_its_provider_or_the_issuer_not_by_its_buyer(tenants):
    operator = Organization.objects.create(
        zone=tenants.zone, party=tenants.issuer.party, name="Operator", is_operator=True
    )
    key, _ = keys.create_key(organization=operator, name="k", scopes=["usage:write"], at=AT)
    reader, _ = keys.create_key(organization=tenants.north.organization, name="k", scopes=["usage:read"], at=AT)
    assert [row.number for row in access.metered_contracts_for(tenants.north.key)] == ["sun-1"]
    assert [row.number for row in access.metered_contracts_for(tenants.south.key)] == ["moon-1"]
    assert [row.number for row in access.metered_contracts_for(key)] == ["moon-1", "sun-1"]
    assert list(access.metered_contracts_for(tenants.sun.key)) == []
    assert list(access.metered_contracts_for(reader)) == []
    assert [row.number for row in access.metered_contracts_for(tenants.staff)] == ["moon-1", "sun-1"]


def test_the_sender_sees_its_unmatched_events_and_no_other_tenant_does(tenants):
    UsageEvent.objects.create(
        source=EventSource.objects.get(owner=tenants.north.organization.party),
        event_id="lost",
        time=AT,
        value=1,
        quantity=1,
        recorded_at=AT,
        type="gpu.sample",
        subject="nobody",
        unmatched_reason="subject",
    )
    who_sees = {
        name: access.events_for(getattr(tenants, name).owner).filter(event_id="lost").exists()
        for name in ("sun", "moon", "north", "south")
    }
    assert who_sees == {"sun": False, "moon": False, "north": True, "south": False}


def test_what_every_user_reads_and_what_staff_alone_read(tenants):
    for model in access.OPEN:
        assert access.rows_for(model, tenants.sun.users["viewer"]).count() == model.objects.count() >= 1
        assert access.rows_for(model, tenants.sun.key).count() == model.objects.count()
        assert list(access.rows_for(model, AnonymousUser())) == []
    assert {AcceleratorModel, Meter, Zone} == access.OPEN
    assert list(access.rows_for(Party, tenants.sun.owner)) == []
    assert list(access.rows_for(Journal, tenants.sun.owner)) == []
    for who in (tenants.sun.owner, tenants.north.owner, tenants.north.key):
        assert list(access.rows_for(Credential, who)) == []
    assert access.rows_for(Credential, tenants.staff).count() == Credential.objects.count() == 2
    assert access.rows_for(Party, tenants.staff).count() == Party.objects.count() == 5


@pytest.mark.parametrize(
    ("role", "permitted"),
    [
        (
            "owner",
            {
                "see_organization",
                "see_usage",
                "see_bills",
                "send_usage",
                "manage_keys",
                "manage_members",
                "manage_projects",
                "apply",
                "reserve",
                "supply",
            },
        ),
        ("engineer", {"see_organization", "see_usage", "send_usage", "manage_keys", "reserve", "supply"}),
        ("finance", {"see_organization", "see_usage", "see_bills", "manage_projects", "apply"}),
        ("viewer", {"see_organization", "see_usage"}),
    ],
)
def test_what_a_role_may_do_in_its_own_organization_and_nothing_in_another(tenants, role, permitted):
    user = tenants.sun.users[role]
    assert {str(p) for p in Permission if access.may(user, p, tenants.sun.organization)} == permitted
    assert {str(p) for p in Permission if access.may(user, p, tenants.moon.organization)} == set()


def test_the_one_question_and_the_list_of_organizations_agree(tenants):
    organizations = [getattr(tenants, name).organization for name in ("sun", "moon", "north", "south")]
    scoped, _ = keys.create_key(organization=organizations[0], name="k", scopes=["usage:write"], at=AT)
    askers = [*tenants.sun.users.values(), tenants.north.key, scoped, tenants.staff, AnonymousUser()]
    for who in askers:
        for permission in Permission:
            listed = set(access.organizations_for(who, permission))
            assert listed == {one for one in organizations if access.may(who, permission, one)}


def test_staff_may_do_everything_everywhere(tenants):
    for organization in (tenants.sun.organization, tenants.north.organization, None):
        assert access.permissions_for(tenants.staff, organization) == set(Permission)
    assert access.permissions_for(tenants.sun.owner, None) == set()


def test_a_key_can_be_given_only_what_its_maker_may_do(tenants):
    organization = tenants.sun.organization
    scopes = {role: access.scopes_for(user, organization) for role, user in tenants.sun.users.items()}
    assert scopes == {
        "owner": [
            "usage:write",
            "usage:read",
            "billing:read",
            "billing:write",
            "reservations:write",
            "projects:write",
            "supply:write",
            "organization:read",
            "organization:write",
            "keys:write",
        ],
        "engineer": [
            "usage:write",
            "usage:read",
            "reservations:write",
            "supply:write",
            "organization:read",
            "keys:write",
        ],
        "finance": ["usage:read", "billing:read", "billing:write", "projects:write", "organization:read"],
        "viewer": ["usage:read", "organization:read"],
    }
    assert access.scopes_for(tenants.moon.owner, organization) == []


def test_each_list_is_one_query(tenants, django_assert_num_queries):
    for model in access.RULES:
        with django_assert_num_queries(1):
            list(access.rows_for(model, tenants.sun.owner))


def test_what_is_on_sale_is_seen_by_all_who_have_signed_in_and_changed_by_its_provider_alone(tenants):
    Offering.objects.filter(pk=tenants.north.offering.pk).update(state="published")
    for who in (tenants.moon.users["viewer"], tenants.south.owner, tenants.sun.key):
        for model, name in ((Offering, "pk"), (CapacityPool, "offerings"), (Site, "pools__offerings")):
            assert access.rows_for(model, who).filter(**{name: tenants.north.offering.pk}).exists()
        assert access.rows_for(Tariff, who).filter(code="sun-tariff").exists()
    for model in (Offering, CapacityPool, Site):
        assert list(access.rows_for(model, AnonymousUser())) == []
        changeable = {
            (name, role): access.supplied_for(model, getattr(tenants, name).users[role]).count()
            for name in ("north", "south", "sun")
            for role in ("owner", "engineer", "finance", "viewer")
        }
        assert {who for who, count in changeable.items() if count} == {
            (name, role) for name in ("north", "south") for role in ("owner", "engineer")
        }
        assert (
            access.supplied_for(model, tenants.south.owner)
            .filter(**{access._PROVIDER_OF[model]: tenants.north.organization})
            .count()
            == 0
        )
