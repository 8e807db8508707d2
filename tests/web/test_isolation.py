"""Two buyers and two providers: every address of the pages, tried with what is another's. It is not there, and nothing
changes in any table.

The addresses are read from the resolver: a new one with a parameter fails here until PARAMETERS says what of another's it
could be asked for. The admin sites are walked by test_provider_admin_isolation, the API by tests/api/test_tenancy.
"""

import html
import re

import pytest
from django.core.cache import cache
from django.urls import URLResolver, get_resolver, reverse
from django.utils import timezone

from billing import programmes
from billing.models import Account, Claim, Contract, Dispute, Evidence, Grant, Invoice, PartyFact, Programme
from marketplace.models import (
    ApiKey,
    Invitation,
    JoinRequest,
    Membership,
    Offering,
    Project,
    Quote,
    Reservation,
    WaitlistEntry,
)
from tests.marketplace import market
from tests.marketplace.tenants import AT, make_tenants, make_user
from tests.web import provider_world

WALKED_ELSEWHERE = ("admin/", "provider/", "api/")
NAMES = ("sun", "moon", "north", "south")
PARTNERS = {("north", "sun"), ("south", "moon")}
"""Who supplies sees what its buyer uses and has reserved, and changes nothing of it."""
SHARED = {"reservation", "reading", "reading_events"}


def ids(model, way):
    """Of the rows that lead to the organization, or to its legal person."""

    def found(organization, _asker):
        owner = organization.party if way.endswith("party") else organization
        return list(model.objects.filter(**{way: owner}).order_by("pk").values_list("pk", flat=True))

    return found


def numbers(organization, _asker):
    return list(issued(organization).values_list("number", flat=True))


def issued(organization):
    return Invoice.objects.filter(account__party=organization.party, state="issued")


def months(organization, asker):
    """Those in which the asker has no invoice itself."""
    theirs = set(issued(organization).values_list("period__code", flat=True))
    return sorted(theirs - set(issued(asker).values_list("period__code", flat=True)) if asker else theirs)


def projects(organization, _asker):
    return list(organization.projects.exclude(code="research").values_list("code", flat=True))  # all have a "research"


def drafts(organization, _asker):
    """Of the zone: what is not open yet is nobody's."""
    return list(Programme.objects.filter(issuer=organization.zone.issuer, state="draft").values_list("code", flat=True))


def offerings(organization, _asker):
    return list(Offering.objects.filter(pool__site__provider=organization).values_list("code", flat=True))


def always(*values):
    return lambda _organization, _asker: list(values)


RESERVATION = {"reservation_id": ids(Reservation, "organization")}
QUOTE = {"quote_id": ids(Quote, "organization")}
CLAIM = {"claim_id": ids(Claim, "claimant__organization")}
INVOICE = {"number": numbers}
PREVIEW = {"account_id": ids(Account, "party"), "code": always("2026-05", "2026-04")}
READING = {
    "contract_id": ids(Contract, "account__party"),
    "meter": always("gpu"),
    "start": always("20260501T0000Z"),
}
PARAMETERS = {
    "archive_project": {"code": projects},
    "cancel": RESERVATION,
    "claim": {"grant_id": ids(Grant, "party")},
    "claim_pack": CLAIM,
    "claim_reopen": CLAIM,
    "claim_settle": CLAIM,
    "claim_submit": CLAIM,
    "claim_take_back": CLAIM,
    "change_invitation": {"invitation_id": ids(Invitation, "organization")},
    "confirm": RESERVATION,
    "decide_join": {"request_id": ids(JoinRequest, "organization")},
    "dispute": {**INVOICE, "position": always(1)},
    "dispute_all": INVOICE,
    "demo-export": {"period": months, "form": always("csv")},
    "demo-invoice": INVOICE,
    "end_fact": {"fact_id": ids(PartyFact, "party")},
    "evidence": {"evidence_id": ids(Evidence, "party")},
    "extension": RESERVATION,
    "grant": {"grant_id": ids(Grant, "party")},
    "hold": QUOTE,
    "invoice": INVOICE,
    "invoice_download": {**INVOICE, "form": always("csv", "xlsx", "json")},
    "invoice_line": {**INVOICE, "position": always(1)},
    "invoice_pdf": {**INVOICE, "language": always("en")},
    "join_waitlist": {"code": offerings},
    "leave_waitlist": {"entry_id": ids(WaitlistEntry, "organization")},
    "line_readings": {**INVOICE, "position": always(1)},
    "member": {"member_id": ids(Membership, "organization")},
    "month_download": {"code": months, "form": always("csv", "json")},
    "offering": {"code": offerings},
    "preview": PREVIEW,
    "preview_line": {**PREVIEW, "position": always(1)},
    "preview_line_readings": {**PREVIEW, "position": always(1)},
    "programme": {"code": drafts},
    "project": {"code": projects},
    "quote": QUOTE,
    "quote_again": QUOTE,
    "quote_extend": QUOTE,
    "reading": READING,
    "reading_events": READING,
    "release": RESERVATION,
    "reservation": RESERVATION,
    "revoke_key": {"key_id": ids(ApiKey, "organization")},
    "show_access": RESERVATION,
    "withdraw": {"grant_id": ids(Grant, "party")},
    "own_claim": CLAIM,
    "withdraw_all_disputes": INVOICE,
    "withdraw_dispute": {"dispute_id": ids(Dispute, "invoice__account__party")},
}
"""By the address's name, what each of its parameters could be of another's."""

WISH = {"quantity": "8", "start_date": "2026-05-02", "start_hour": "8", "hours": "10"}
WAIT = {
    "quantity": "8",
    "hours": "4",
    "earliest_date": "2026-05-02",
    "earliest_hour": "8",
    "latest_date": "2026-05-03",
    "latest_hour": "8",
    "max_price": "1000",
}
WAIT = {f"wait-{name}": value for name, value in WAIT.items()}
SENT = {
    "archive_project": [{"archive": "1"}, {"restore": "1"}],
    "cancel": [{"fee": "999999999"}],
    "claim": [{"from_month": "2026-05", "until_month": "2026-05"}],
    "change_invitation": [{}, {"revoke": "1"}],
    "decide_join": [{"role": "owner"}, {"refuse": "1"}],
    "claim_settle": [{"paid": "1", "reason": "The quota."}],
    "dispute": [{"reason": "It was not used."}],
    "dispute_all": [{"reason": "It was not used."}],
    "extension": [{"hours": "2"}],
    "join_waitlist": [WAIT],
    "member": [{"role": "viewer"}, {"remove": "1"}],
    "offering": [WISH],
    "programme": [{"statement": "for us"}],
    "project": [{"name": "Taken", "warn_percents": "80"}],
    "release": [{"end_date": "2026-05-01", "end_hour": "11", "fee": "999999999"}],
}
"""What would do something if it were one's own."""


def addresses(patterns, before=""):
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if route.startswith(WALKED_ELSEWHERE):
            continue
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        else:
            yield route, pattern.name


ADDRESSES = dict(sorted((name, route) for route, name in addresses(get_resolver().url_patterns)))


@pytest.fixture(autouse=True)
def at_the_time(monkeypatch):
    cache.clear()
    monkeypatch.setattr(timezone, "now", lambda: provider_world.NOW)


@pytest.fixture
def tenants(db):
    """The buyers also have a project, and requests to join that wait; of June there is an invoice of moon's alone."""
    tenants = make_tenants()
    for name in NAMES:
        organization = getattr(tenants, name).organization
        Project.objects.create(
            organization=organization, code=f"{name}-only", name=f"{name} only", created_at=AT, actor="test"
        )
    JoinRequest.objects.update(state="asked", decided_at=None)
    programmes.draft(issuer=tenants.issuer, code="planned", name="planned", terms={}, at=AT, actor="test")
    provider_world.two_of_june(tenants)
    return tenants


@pytest.fixture
def unchanged(tenants):
    """Nothing in any table is changed by what the test does."""
    before = provider_world.snapshot()
    yield
    assert provider_world.snapshot() == before


def those_of(name, other, asker):
    """The parameters of an address, in every combination of what is the other's."""
    found = [{}]
    for parameter, values in PARAMETERS[name].items():
        found = [{**each, parameter: value} for each in found for value in values(other, asker)]
    return found


def said(response):
    return html.unescape(b"".join(response).decode(errors="replace"))


def names_of(*tenants):
    """What everything of theirs is named by."""
    return re.compile(rf"\b({'|'.join(tenants)})\b", re.IGNORECASE)


def test_of_every_address_it_is_said_what_of_anothers_it_could_be_asked_for():
    assert {name for name, route in ADDRESSES.items() if "<" in route} == set(PARAMETERS)
    for name, parameters in PARAMETERS.items():
        assert set(re.findall(r"<\w+:(\w+)>", ADDRESSES[name])) == set(parameters), name


def test_there_is_something_of_anothers_for_every_address(tenants):
    """Or the walk below would prove nothing."""
    for name in PARAMETERS:
        found = [those_of(name, getattr(tenants, each).organization, None) for each in NAMES]
        assert any(found), name


@pytest.mark.parametrize("name", [*NAMES, "nobody"])
def test_what_is_anothers_is_not_there_and_does_not_change(tenants, browser, name):
    """As an owner, who may do everything with what is its own, and as somebody who belongs nowhere."""
    if name == "nobody":
        user, own = make_user("nobody"), None
    else:
        user, own = getattr(tenants, name).owner, getattr(tenants, name).organization
    client = browser(user)
    before = provider_world.snapshot()
    for other in (each for each in NAMES if each != name):
        organization = getattr(tenants, other).organization
        for page in PARAMETERS:
            for parts in those_of(page, organization, own):
                address = reverse(page, kwargs=parts)
                is_shared = (name, other) in PARTNERS and page in SHARED
                got = client.get(address)
                sent = [client.post(address, data) for data in SENT.get(page, [{}])]
                if is_shared:
                    assert got.status_code == 200, address
                else:
                    assert got.status_code in (404, 405), address
                    assert 404 in {got.status_code, *(each.status_code for each in sent)}, address
                assert {each.status_code for each in sent} <= {404, 405}, address
    assert provider_world.snapshot() == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["owner", "viewer"])
def test_pages_about_nobody_in_particular_name_nobody_elses(tenants, browser, unchanged, name, role):
    partner = next((set(pair) - {name}).pop() for pair in PARTNERS if name in pair)
    others = names_of(*(each for each in NAMES if each not in (name, partner)))
    client = browser(getattr(tenants, name).users[role])
    for page, route in ADDRESSES.items():
        if "<" in route:
            continue
        response = client.get(reverse(page))
        assert response.status_code in (200, 302, 404, 405, 410), page
        assert not others.search(said(response)), page


def open_to_all(issuer):
    """A programme that nobody has applied for."""
    there = Programme.objects.get(issuer=issuer, code="support")
    there.pk, there.code = None, "free"
    there.save(force_insert=True)


def forged(tenants):
    """(page, parts of its address, what is sent): sun's own pages, with keys of moon's rows in what is sent."""
    moon = tenants.moon
    project = Project.objects.get(code="moon-only").pk
    evidence = Evidence.objects.get(party=moon.organization.party).pk
    own = {"code": "on-sale"}
    claim = {"size_class": "small", "from_date": "2026-05-01", "evidence": evidence}
    yield "offering", own, {**WISH, "project": project}, "wish", "project"
    yield "join_waitlist", own, {**WAIT, "wait-project": project}, "wait", "project"
    yield "facts", {}, claim, "form", "evidence"
    yield "programme", {"code": "free"}, {"statement": "training", "kept": [evidence]}, "form", "kept"


def test_keys_of_anothers_rows_are_wrong_choices_in_forms(tenants, browser):
    pool = tenants.north.offering.pool
    open_to_all(tenants.issuer)
    market.make_offering(pool, tenants.north.offering.tariff, AT, code="on-sale", name="on sale", state="published")
    client = browser(tenants.sun.owner)
    before = provider_world.snapshot()
    for page, parts, data, form, field in forged(tenants):
        response = client.post(reverse(page, kwargs=parts), data)
        assert response.status_code == 200, page
        assert list(response.context[form].errors) == [field], page
        assert not names_of("moon").search(said(response)), page
    assert provider_world.snapshot() == before


def test_keys_of_anothers_rows_in_an_address_find_nothing(tenants, browser, unchanged):
    client, moon = browser(tenants.sun.owner), tenants.moon
    for page, query in (
        ("usage", {"contract": moon.contract.pk}),
        ("events", {"contract": moon.contract.pk}),
        ("month", {"account": moon.account.pk}),
    ):
        assert client.get(reverse(page), query).status_code == 404, page
    project = Project.objects.get(code="moon-only").pk
    compared = client.get(reverse("compare"), {"offering": ["south-offering", "north-offering"]})
    assert compared["Location"] == reverse("market")
    for query in ({"provider": tenants.south.organization.pk}, {"region": "上海"}, {"project": project}):
        assert not names_of("moon", "south").search(said(client.get(reverse("market"), query)))
    assert client.post(reverse("switch_organization"), {"organization": moon.organization.pk}).status_code == 404
    assert said(client.get(reverse("organization"))).count("Sun") > 0


@pytest.mark.parametrize(
    "address",
    [
        "/invoices/%00/",
        "/invoices/%00/pdf/en/",
        "/invoices/%00/lines/1/",
        "/events/{}/gpu/20260501T0000Z/?after=1.1.%00",
    ],
)
def test_what_the_database_can_not_hold_is_not_found(tenants, browser, address):
    client = browser(tenants.sun.owner)
    assert client.get(address.format(tenants.sun.contract.pk)).status_code == 404
