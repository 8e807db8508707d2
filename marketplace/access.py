"""Which rows may this user or API key see, and what may it do: the ONE tenancy rule. Pages, API and admin ask here.

A page asks for rows by `invoices_for(request.user)` (or `rows_for(Invoice, request.user)`) and looks a single one up in that
QuerySet: a foreign row is absent, a 404, never a 403, so that nobody learns that it exists. What one may do within one's own
organization is asked by `may`.

- Members see what their role in an organization permits (permissions.py), in each of their organizations. `within` narrows
  to one of them, the current one; it never widens.
- An API key is a member with the permissions of its scopes.
- Staff see everything. Inactive and anonymous users, and keys without a fitting scope, see nothing.
- The buyer's side of a contract is its account's party: contract, usage, bills. The provider's side is usage alone.
- What is on sale is seen by everybody who has signed in, with the pool, the site and the tariff behind it. What is not, and
  what is taken of a pool and by whom, is the provider's own. A reservation is its buyer's and its provider's; its price
  is the buyer's.
- Programmes of a zone are seen by its organizations once they were open; an application by the firm that made it, a claim by
  its claimant.
- What one may see one may not yet change: who changes what is supplied or reserved asks `supplied_for`, or `may`.
- Models that stand neither in RULES nor in OPEN are for staff only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.db.models import Model, Q, QuerySet

from billing.models import (
    Account,
    Claim,
    Contract,
    Dispute,
    EventProblem,
    Evidence,
    Grant,
    Invoice,
    InvoiceLine,
    Meter,
    OneOffCharge,
    PartyFact,
    Programme,
    Reading,
    ReservedSpan,
    Tariff,
    TariffVersion,
    UsageEvent,
)
from marketplace.models import (
    AcceleratorModel,
    ApiKey,
    CapacityChange,
    CapacityPool,
    CapacitySlot,
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
from marketplace.permissions import PERMISSIONS, SCOPES, Permission

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    Who = AbstractBaseUser | AnonymousUser | ApiKey
    """Whoever asks: `request.user`, or what `keys.authenticate` gave."""

Row = TypeVar("Row", bound=Model)


def may(who: Who, permission: Permission, organization: Organization) -> bool:
    """May they do this in this organization?"""
    return permission in permissions_for(who, organization)


def permissions_for(who: Who, organization: Organization | None) -> frozenset[Permission]:
    """All that they may do in this organization, in at most one query; staff may everything also in none in particular."""
    if is_staff(who):
        return frozenset(Permission)
    if organization is None:
        return frozenset()
    if isinstance(who, ApiKey):
        return _carried(who) if who.organization_id == organization.pk else frozenset()
    if not isinstance(who, User) or not who.is_active:
        return frozenset()
    membership = Membership.objects.filter(user=who, organization=organization).first()
    return PERMISSIONS[membership.role] if membership else frozenset()


def scopes_for(who: Who, organization: Organization) -> list[str]:
    """The scopes that they may give to a key of the organization."""
    permissions = permissions_for(who, organization)
    return [scope for scope, permission in SCOPES.items() if permission in permissions]


def organizations_for(
    who: Who, permission: Permission = Permission.SEE_ORGANIZATION, *, within: Organization | None = None
) -> QuerySet[Organization]:
    """The organizations in which they have the permission."""
    if isinstance(who, ApiKey):
        own = Organization.objects.filter(pk=who.organization_id)
        rows = own if permission in _carried(who) else own.none()
    elif not isinstance(who, User) or not who.is_active:
        rows = Organization.objects.none()
    elif who.is_staff:
        rows = Organization.objects.all()
    else:
        roles = [role for role, permissions in PERMISSIONS.items() if permission in permissions]
        rows = Organization.objects.filter(
            pk__in=Membership.objects.filter(user=who, role__in=roles).values("organization")
        )
    return rows if within is None else rows.filter(pk=within.pk)


def members_for(who: Who, *, within: Organization | None = None) -> QuerySet[Membership]:
    return Membership.objects.filter(organization__in=organizations_for(who, within=within))


def invitations_for(who: Who, *, within: Organization | None = None) -> QuerySet[Invitation]:
    """For those who invite."""
    return Invitation.objects.filter(organization__in=organizations_for(who, Permission.MANAGE_MEMBERS, within=within))


def join_requests_for(who: Who, *, within: Organization | None = None) -> QuerySet[JoinRequest]:
    """For those who decide; who asked sees its own on its own page."""
    return JoinRequest.objects.filter(organization__in=organizations_for(who, Permission.MANAGE_MEMBERS, within=within))


def organization_changes_for(who: Who, *, within: Organization | None = None) -> QuerySet[OrganizationChange]:
    """For those who manage the organization: the reasons of staff may be meant for few."""
    return OrganizationChange.objects.filter(
        organization__in=organizations_for(who, Permission.MANAGE_MEMBERS, within=within)
    )


def membership_changes_for(who: Who, *, within: Organization | None = None) -> QuerySet[MembershipChange]:
    """For those who change members: who left is no member to be seen by the others."""
    return MembershipChange.objects.filter(
        organization__in=organizations_for(who, Permission.MANAGE_MEMBERS, within=within)
    )


def keys_for(who: Who, *, within: Organization | None = None) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(organization__in=organizations_for(who, Permission.MANAGE_KEYS, within=within))


def accounts_for(who: Who, *, within: Organization | None = None) -> QuerySet[Account]:
    """The accounts on which their organizations are billed, for those who see usage or bills."""
    if _sees_all(who, within):
        return Account.objects.all()
    usage, bills = (_parties(who, each, within) for each in (Permission.SEE_USAGE, Permission.SEE_BILLS))
    return Account.objects.filter(Q(party__in=usage) | Q(party__in=bills))


def contracts_for(who: Who, *, within: Organization | None = None) -> QuerySet[Contract]:
    """The contracts on their accounts, and those that their organizations supply."""
    if _sees_all(who, within):
        return Contract.objects.all()
    parties = _parties(who, Permission.SEE_USAGE, within)
    return Contract.objects.filter(Q(account__party__in=parties) | Q(provider__in=parties))


def metered_contracts_for(who: Who, *, within: Organization | None = None) -> QuerySet[Contract]:
    """The contracts for which they may send usage: those that their organizations supply, or bill as the issuer.

    A buyer does not report what it is billed for.
    """
    if _sees_all(who, within):
        return Contract.objects.all()
    parties = _parties(who, Permission.SEND_USAGE, within)
    return Contract.objects.filter(Q(provider__in=parties) | Q(account__issuer__party__in=parties))


def tariffs_for(who: Who, *, within: Organization | None = None) -> QuerySet[Tariff]:
    """Those of their contracts, their own, and those on sale: what another buyer negotiated is not for them."""
    if _sees_all(who, within):
        return Tariff.objects.all()
    contracted = Q(pk__in=contracts_for(who, within=within).values("tariff"))
    own = Q(owner__in=_parties(who, Permission.SEE_USAGE, within))
    return Tariff.objects.filter(contracted | own | Q(pk__in=_on_sale(who).values("tariff")))


def tariff_versions_for(who: Who, *, within: Organization | None = None) -> QuerySet[TariffVersion]:
    return TariffVersion.objects.filter(tariff__in=tariffs_for(who, within=within))


def reserved_spans_for(who: Who, *, within: Organization | None = None) -> QuerySet[ReservedSpan]:
    return ReservedSpan.objects.filter(contract__in=contracts_for(who, within=within))


def readings_for(who: Who, *, within: Organization | None = None) -> QuerySet[Reading]:
    if _sees_all(who, within):
        return Reading.objects.all()
    return Reading.objects.filter(contract__in=contracts_for(who, within=within))


def events_for(who: Who, *, within: Organization | None = None) -> QuerySet[UsageEvent]:
    """The events of their contracts, and those sent by their organizations' own keys, matched or not."""
    if _sees_all(who, within):
        return UsageEvent.objects.all()
    sent = Q(source__owner__in=_parties(who, Permission.SEE_USAGE, within))
    return UsageEvent.objects.filter(Q(contract__in=contracts_for(who, within=within)) | sent)


def event_problems_for(who: Who, *, within: Organization | None = None) -> QuerySet[EventProblem]:
    """What their organizations' own keys sent and was not stored: whose it would have been, nobody knows."""
    if _sees_all(who, within):
        return EventProblem.objects.all()
    return EventProblem.objects.filter(owner__in=_parties(who, Permission.SEE_USAGE, within))


def invoices_for(who: Who, *, within: Organization | None = None) -> QuerySet[Invoice]:
    """The issued invoices of their accounts. Drafts are the issuer's working papers, for staff."""
    if _sees_all(who, within):
        return Invoice.objects.all()
    parties = _parties(who, Permission.SEE_BILLS, within)
    return Invoice.objects.filter(account__party__in=parties, state=Invoice.State.ISSUED)


def lines_for(who: Who, *, within: Organization | None = None) -> QuerySet[InvoiceLine]:
    return InvoiceLine.objects.filter(invoice__in=invoices_for(who, within=within))


def one_off_charges_for(who: Who, *, within: Organization | None = None) -> QuerySet[OneOffCharge]:
    if _sees_all(who, within):
        return OneOffCharge.objects.all()
    return OneOffCharge.objects.filter(contract__account__party__in=_parties(who, Permission.SEE_BILLS, within))


def facts_for(who: Who, *, within: Organization | None = None) -> QuerySet[PartyFact]:
    if _sees_all(who, within):
        return PartyFact.objects.all()
    return PartyFact.objects.filter(party__in=_parties(who, Permission.SEE_ORGANIZATION, within))


def evidence_for(who: Who, *, within: Organization | None = None) -> QuerySet[Evidence]:
    """The documents are for those who see bills: they may say more of a firm than each of its members knows."""
    if _sees_all(who, within):
        return Evidence.objects.all()
    return Evidence.objects.filter(party__in=_parties(who, Permission.SEE_BILLS, within))


def programmes_for(who: Who, *, within: Organization | None = None) -> QuerySet[Programme]:
    """Those of their zones that are or were open. Drafts are the operator's working papers, for staff."""
    if _sees_all(who, within):
        return Programme.objects.all()
    issuers = organizations_for(who, within=within).values("zone__issuer")
    return Programme.objects.filter(issuer__in=issuers).exclude(state=Programme.State.DRAFT)


def grants_for(who: Who, *, within: Organization | None = None) -> QuerySet[Grant]:
    """Their organizations' applications and what came of them. What is paid of them, and the documents, are for those who
    see bills.
    """
    if _sees_all(who, within):
        return Grant.objects.all()
    return Grant.objects.filter(party__in=_parties(who, Permission.SEE_ORGANIZATION, within))


def claims_for(who: Who, *, within: Organization | None = None) -> QuerySet[Claim]:
    """What their organizations claim by themselves."""
    if _sees_all(who, within):
        return Claim.objects.all()
    return Claim.objects.filter(claimant__in=_parties(who, Permission.SEE_BILLS, within))


def sites_for(who: Who, *, within: Organization | None = None) -> QuerySet[Site]:
    """Their own, and those of what is on sale."""
    if _sees_all(who, within):
        return Site.objects.all()
    own = Q(provider__in=organizations_for(who, Permission.SEE_USAGE, within=within))
    return Site.objects.filter(own | Q(pk__in=_on_sale(who).values("pool__site")))


def pools_for(who: Who, *, within: Organization | None = None) -> QuerySet[CapacityPool]:
    """Their own, and those of what is on sale."""
    if _sees_all(who, within):
        return CapacityPool.objects.all()
    own = Q(site__provider__in=organizations_for(who, Permission.SEE_USAGE, within=within))
    return CapacityPool.objects.filter(own | Q(pk__in=_on_sale(who).values("pool")))


def offerings_for(who: Who, *, within: Organization | None = None) -> QuerySet[Offering]:
    """Their own in any state, and all that is on sale."""
    if _sees_all(who, within):
        return Offering.objects.all()
    own = Q(pool__site__provider__in=organizations_for(who, Permission.SEE_USAGE, within=within))
    return Offering.objects.filter(own | Q(pk__in=_on_sale(who)))


def supplied_for(model: type[Row], who: Who, *, within: Organization | None = None) -> QuerySet[Row]:
    """The rows that they may change as a provider: of sites, pools and offerings, and of what hangs on a pool."""
    rows = model._default_manager.all()  # noqa: SLF001  - Django's name for it
    providers = organizations_for(who, Permission.SUPPLY, within=within).filter(is_provider=True)
    return rows if _sees_all(who, within) else rows.filter(**{f"{_PROVIDER_OF[model]}__in": providers})


def supply_for(model: type[Row], who: Who, *, within: Organization | None = None) -> QuerySet[Row]:
    """Of what their own organizations supply, the rows that they may see; issued lines if they see bills."""
    permission = Permission.SEE_BILLS if model is InvoiceLine else Permission.SEE_USAGE
    providers = organizations_for(who, permission, within=within).filter(is_provider=True)
    rows = model._default_manager.all()  # noqa: SLF001  - Django's name for it
    if model in _PROVIDER_OF:
        return rows.filter(**{f"{_PROVIDER_OF[model]}__in": providers})
    issued = {"invoice__state": Invoice.State.ISSUED} if model is InvoiceLine else {}
    return rows.filter(**{f"{_SUPPLIER_OF[model]}__in": providers.values("party")}, **issued)


def slots_for(who: Who, *, within: Organization | None = None) -> QuerySet[CapacitySlot]:
    return _own_of_pool(CapacitySlot, who, within)


def capacity_changes_for(who: Who, *, within: Organization | None = None) -> QuerySet[CapacityChange]:
    return _own_of_pool(CapacityChange, who, within)


def maintenances_for(who: Who, *, within: Organization | None = None) -> QuerySet[Maintenance]:
    return _own_of_pool(Maintenance, who, within)


def incidents_for(who: Who, *, within: Organization | None = None) -> QuerySet[Incident]:
    return _own_of_pool(Incident, who, within)


def tasks_for(who: Who, *, within: Organization | None = None) -> QuerySet[ProvisioningTask]:
    """What people of their provider are to do; it is changed by those of `supplied_for`."""
    return _own_of_pool(ProvisioningTask, who, within)


def offering_changes_for(who: Who, *, within: Organization | None = None) -> QuerySet[OfferingChange]:
    return _own_of_pool(OfferingChange, who, within)


def _own_of_pool(model: type[Row], who: Who, within: Organization | None) -> QuerySet[Row]:
    rows = model._default_manager.all()  # noqa: SLF001  - Django's name for it
    providers = organizations_for(who, Permission.SEE_USAGE, within=within)
    return rows if _sees_all(who, within) else rows.filter(**{f"{_PROVIDER_OF[model]}__in": providers})


_PROVIDER_OF: dict[type[Model], str] = {
    Site: "provider",
    CapacityPool: "site__provider",
    Offering: "pool__site__provider",
    CapacityChange: "pool__site__provider",
    CapacitySlot: "pool__site__provider",
    Maintenance: "pool__site__provider",
    Incident: "pool__site__provider",
    OfferingChange: "offering__pool__site__provider",
    ProvisioningTask: "reservation__pool__site__provider",
    Reservation: "pool__site__provider",
    ReservationChange: "reservation__pool__site__provider",
}
_SUPPLIER_OF: dict[type[Model], str] = {
    Contract: "provider",
    InvoiceLine: "contract__provider",
    Reading: "contract__provider",
    ReservedSpan: "contract__provider",
    Tariff: "owner",
    TariffVersion: "tariff__owner",
}
SUPPLIED: frozenset[type[Model]] = frozenset({*_PROVIDER_OF, *_SUPPLIER_OF})


def projects_for(who: Who, *, within: Organization | None = None) -> QuerySet[Project]:
    """For those who see the organization, and for those who reserve for a project, change it or see what it costs."""
    permissions = (Permission.SEE_ORGANIZATION, Permission.RESERVE, Permission.MANAGE_PROJECTS, Permission.SEE_BILLS)
    own = [Q(organization__in=organizations_for(who, each, within=within).values("pk")) for each in permissions]
    return Project.objects.filter(own[0] | own[1] | own[2] | own[3])


def quotes_for(who: Who, *, within: Organization | None = None) -> QuerySet[Quote]:
    """The quotes of their organizations, for those who reserve or see bills."""
    reserve, bills = (
        organizations_for(who, each, within=within).values("pk") for each in (Permission.RESERVE, Permission.SEE_BILLS)
    )
    return Quote.objects.filter(Q(organization__in=reserve) | Q(organization__in=bills))


def waitlist_for(who: Who, *, within: Organization | None = None) -> QuerySet[WaitlistEntry]:
    """Their organizations' own: who waits, and for what price, is not for the provider."""
    reserve, bills = (
        organizations_for(who, each, within=within).values("pk") for each in (Permission.RESERVE, Permission.SEE_BILLS)
    )
    return WaitlistEntry.objects.filter(Q(organization__in=reserve) | Q(organization__in=bills))


def reservations_for(who: Who, *, within: Organization | None = None) -> QuerySet[Reservation]:
    """What their organizations reserved, and what is reserved of their pools."""
    if _sees_all(who, within):
        return Reservation.objects.all()
    organizations = organizations_for(who, Permission.SEE_USAGE, within=within).values("pk")
    return Reservation.objects.filter(Q(organization__in=organizations) | Q(pool__site__provider__in=organizations))


def reservation_changes_for(who: Who, *, within: Organization | None = None) -> QuerySet[ReservationChange]:
    return ReservationChange.objects.filter(reservation__in=reservations_for(who, within=within))


def users_for(who: Who, *, within: Organization | None = None) -> QuerySet[User]:
    """Oneself and the fellow members."""
    if _sees_all(who, within):
        return User.objects.all()
    fellows = Q(pk__in=members_for(who, within=within).values("user"))
    return User.objects.filter(fellows | Q(pk=who.pk) if isinstance(who, User) and who.is_active else fellows)


RULES: dict[type[Model], Callable[..., QuerySet[Any]]] = {
    Account: accounts_for,
    ApiKey: keys_for,
    CapacityChange: capacity_changes_for,
    CapacityPool: pools_for,
    CapacitySlot: slots_for,
    Claim: claims_for,
    Contract: contracts_for,
    Dispute: lambda who, within=None: Dispute.objects.filter(invoice__in=invoices_for(who, within=within)),
    EventProblem: event_problems_for,
    Evidence: evidence_for,
    Grant: grants_for,
    Incident: incidents_for,
    Invitation: invitations_for,
    Invoice: invoices_for,
    InvoiceLine: lines_for,
    JoinRequest: join_requests_for,
    Maintenance: maintenances_for,
    Membership: members_for,
    MembershipChange: membership_changes_for,
    Offering: offerings_for,
    OfferingChange: offering_changes_for,
    OneOffCharge: one_off_charges_for,
    Organization: organizations_for,
    OrganizationChange: organization_changes_for,
    PartyFact: facts_for,
    Programme: programmes_for,
    Project: projects_for,
    ProvisioningTask: tasks_for,
    Quote: quotes_for,
    Reading: readings_for,
    Reservation: reservations_for,
    ReservationChange: reservation_changes_for,
    ReservedSpan: reserved_spans_for,
    Site: sites_for,
    Tariff: tariffs_for,
    TariffVersion: tariff_versions_for,
    UsageEvent: events_for,
    User: users_for,
    WaitlistEntry: waitlist_for,
}
"""Every model that tenants see rows of, and the rule for it. A new one is added here, and in the test that walks them."""

OPEN: frozenset[type[Model]] = frozenset({AcceleratorModel, Meter, Zone})
"""Models whose every row every user who has signed in, and every key, may read."""


def rows_for(model: type[Row], who: Who, *, within: Organization | None = None) -> QuerySet[Row]:
    """The rows of this model that they may see."""
    if model in RULES:
        return cast("QuerySet[Row]", RULES[model](who, within=within))
    known = isinstance(who, ApiKey) or (isinstance(who, User) and who.is_active)
    if is_staff(who) or (model in OPEN and known):
        return model._default_manager.all()  # noqa: SLF001  - Django's name for it
    return model._default_manager.none()  # noqa: SLF001


def is_staff(who: Who) -> bool:
    return isinstance(who, User) and who.is_active and who.is_staff


def _carried(key: ApiKey) -> frozenset[Permission]:
    return frozenset(SCOPES[scope] for scope in key.scopes)


def _sees_all(who: Who, within: Organization | None) -> bool:
    """Staff who look at no organization in particular also see what belongs to none."""
    return within is None and is_staff(who)


def _on_sale(who: Who) -> QuerySet[Offering]:
    """Seen by whoever has signed in, and by every key."""
    known = isinstance(who, ApiKey) or (isinstance(who, User) and who.is_active)
    return Offering.objects.on_sale() if known else Offering.objects.none()


def _parties(who: Who, permission: Permission, within: Organization | None) -> QuerySet[Organization, Any]:
    return organizations_for(who, permission, within=within).values("party")
