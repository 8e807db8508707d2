"""What staff decide of organizations: the arcs, what is kept of each step, whom it is told."""

import pytest
from django.core import mail
from django.db import IntegrityError, transaction

from marketplace import organizations
from marketplace.models import Organization, OrganizationChange
from tests.marketplace.tenants import AT, make_tenants

VERBS = {
    "verified": organizations.verify,
    "refused": organizations.refuse,
    "suspended": organizations.suspend,
    "reinstated": organizations.reinstate,
}
POSSIBLE = {
    ("pending", "verified"): "verified",
    ("pending", "refused"): "refused",
    ("refused", "verified"): "verified",
    ("verified", "suspended"): "suspended",
    ("suspended", "reinstated"): "verified",
}


@pytest.fixture
def sun(db):
    return make_tenants().sun


def decide(organization, what, reason="because"):
    VERBS[what](organization=organization, reason=reason, at=AT, actor="user:9")


@pytest.mark.parametrize("before", ["pending", "verified", "refused", "suspended"])
@pytest.mark.parametrize("what", VERBS)
def test_an_organization_takes_these_arcs_and_no_other(sun, before, what, django_capture_on_commit_callbacks):
    Organization.objects.filter(pk=sun.organization.pk).update(state=before)
    known = OrganizationChange.objects.count()
    after = POSSIBLE.get((before, what))
    with django_capture_on_commit_callbacks(execute=True):
        if after is None:
            with pytest.raises(organizations.NotInStateError, match=f"is {before}"):
                decide(sun.organization, what)
        else:
            decide(sun.organization, what)
    organization = Organization.objects.get(pk=sun.organization.pk)
    assert organization.state == (after or before)
    assert OrganizationChange.objects.count() == known + (after is not None)
    assert [letter.to for letter in mail.outbox] == ([["owner.sun@example.com"]] if after else [])
    if after:
        facts = (organization.state_reason, organization.state_at, organization.state_actor)
        assert facts == ("because", AT, "user:9")
        change = OrganizationChange.objects.last()
        assert (change.from_state, change.to_state, change.reason, change.actor) == (before, after, "because", "user:9")
        assert "because" in mail.outbox[0].body


@pytest.mark.parametrize("what", ["refused", "suspended"])
@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_refusal_and_a_suspension_say_why(sun, what, reason):
    Organization.objects.filter(pk=sun.organization.pk).update(state="pending" if what == "refused" else "verified")
    with pytest.raises(organizations.NoReasonError, match="reason"):
        decide(sun.organization, what, reason)
    assert OrganizationChange.objects.filter(organization=sun.organization).count() == 1


def test_of_eight_who_decide_at_once_one_does(fresh_database):
    organization = make_tenants().sun.organization
    Organization.objects.filter(pk=organization.pk).update(state="pending")
    known = OrganizationChange.objects.count()

    def call(what):
        return lambda: decide(Organization.objects.get(pk=organization.pk), what)

    answers = fresh_database.at_once(*[call("verified")] * 4, *[call("refused")] * 4)
    done = answers.count(None)
    # a refused one may still be verified after, so one or two get through, in this order
    history = list(OrganizationChange.objects.order_by("pk").values_list("from_state", "to_state"))[known:]
    assert history in (
        [("pending", "verified")],
        [("pending", "refused"), ("refused", "verified")],
    )
    assert done == len(history)


def test_what_was_decided_stays(sun):
    change = OrganizationChange.objects.filter(organization=sun.organization).get()
    for forbidden in (change.delete, lambda: OrganizationChange.objects.update(reason="other")):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            forbidden()
