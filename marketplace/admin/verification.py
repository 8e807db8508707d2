"""What waits for staff to verify: organizations, and the facts that they claim, with the evidence at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe
from unfold.widgets import UnfoldAdminTextareaWidget  # type: ignore[import-untyped]

from billing import parties
from billing.models import PartyFact
from marketplace import organizations
from marketplace.admin.base import StaffInline, actor, button
from marketplace.admin.page import Table, asked, confirmed, link
from marketplace.admin.site import staff
from marketplace.models import Membership, Organization, OrganizationChange
from marketplace.programme_terms import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrPromise

MOST = 200  # rows of a list; the oldest come first
VERBS: dict[str, Callable[..., None]] = {
    "verified": organizations.verify,
    "refused": organizations.refuse,
    "suspended": organizations.suspend,
    "reinstated": organizations.reinstate,
}


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"), max_length=500, widget=UnfoldAdminTextareaWidget, help_text=_("The owners read it.")
    )

    def __init__(self, *arguments: Any, is_needed: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["reason"].required = is_needed


class ChangeInline(StaffInline):
    model = OrganizationChange
    fields = ("at", "from_state", "to_state", "reason", "who")
    ordering = ("-id",)
    verbose_name_plural = _("Changes")


class VerificationActions:
    """The buttons of an organization's page: a mixin of its admin."""

    @button(_("Verify"), path="verify", icon="verified")
    def verify(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = _("It is who it says it is. From now on it reserves and sells. Its owners are told.")
        return _decide(self, request, object_id, "verified", title=_("Verify"), question=question)

    @button(_("Refuse"), path="refuse", icon="block")
    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = _("It is not taken in. Its owners are told why. It can still be verified later.")
        return _decide(self, request, object_id, "refused", title=_("Refuse"), question=question)

    @button(_("Suspend"), path="suspend", icon="pause_circle")
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = _("It starts nothing new; what runs goes on. Its owners are told why.")
        return _decide(self, request, object_id, "suspended", title=_("Suspend"), question=question)

    @button(_("Reinstate"), path="reinstate", icon="play_circle")
    def reinstate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = _("It may reserve and sell again. Its owners are told.")
        return _decide(self, request, object_id, "reinstated", title=_("Reinstate"), question=question)


def _decide(
    admin: Any, request: HttpRequest, object_id: str, what: str, *, title: _StrPromise, question: _StrPromise
) -> HttpResponse:
    organization: Organization | None = admin.get_object(request, object_id)
    if organization is None:
        raise Http404
    needed = what in ("refused", "suspended")
    data = request.POST if request.method == "POST" else None
    possible = organization.state in organizations.ARCS[what]
    state = {"state": organization.get_state_display()}

    def act(facts: dict[str, Any]) -> None:
        VERBS[what](organization=organization, reason=facts["reason"], at=timezone.now(), actor=actor(request))
        admin.log_change(request, organization, what)
        messages.success(request, gettext("%(organization)s: it is done.") % {"organization": organization.name})

    return asked(
        request,
        title=f"{organization.name}: {title}",
        form=ReasonForm(data, is_needed=needed),
        answer=title,
        back=staff.address("marketplace_organization_change", organization.pk),
        act=act,
        refusals=(organizations.NotInStateError, organizations.NoReasonError),
        intro=question,
        tables=_about(organization),
        obstacle="" if possible else gettext("This can't be done: the organization is “%(state)s”.") % state,
    )


def _about(organization: Organization) -> list[Table]:
    """What is known of it: the person who signed it up, and what it claims."""
    party = organization.party
    members = organization.memberships.select_related("user").order_by("user__email")
    facts = party.facts.select_related("evidence").defer("evidence__content").order_by("kind", "-from_date")
    return [
        Table(
            _("Legal person"),
            [_("legal name"), _("unified social credit code"), _("address")],
            [[party.legal_name, party.credit_code, party.address or "–"]],
        ),
        Table(
            _("Members"),
            [_("user"), _("name"), _("role")],
            [[each.user.email, each.user.name, each.get_role_display()] for each in members],
        ),
        Table(
            _("Facts"),
            [_("fact"), _("value"), _("from"), _("evidence"), _("verified")],
            [_fact(fact) for fact in facts],
            moments=(2,),
        ),
    ]


def _fact(fact: PartyFact) -> list[Any]:
    if fact.verified_at is not None:
        verified: Any = _("yes")
    else:
        verified = link(staff.address("fact_verify", fact.pk), _("Verify"))
    return [fact.get_kind_display(), said(fact.kind, fact.value), fact.from_date.isoformat(), evidence(fact), verified]


def evidence(fact: PartyFact) -> Any:
    return link(reverse("evidence", args=[fact.evidence_id]), fact.evidence) if fact.evidence_id else "–"


@staff.page("verification/", "verification")
@require_safe
def waiting(request: HttpRequest) -> HttpResponse:
    """Who and what waits, the oldest first."""
    pending = Organization.objects.filter(state=Organization.State.PENDING).select_related("party", "zone")
    found = list(pending.order_by("state_at", "pk")[:MOST])
    owners: dict[int, list[str]] = {}
    by_owner = Membership.objects.filter(organization__in=found, role=Membership.Role.OWNER).order_by("user__email")
    for organization_id, email in by_owner.values_list("organization", "user__email"):
        owners.setdefault(organization_id, []).append(email)
    facts = PartyFact.objects.filter(verified_at__isnull=True).select_related("party", "evidence")
    claimed = list(facts.defer("evidence__content").order_by("claimed_at", "pk")[:MOST])
    tables = [
        Table(
            _("Organizations"),
            [_("organization"), _("unified social credit code"), _("zone"), _("owners"), _("since")],
            [
                [
                    link(staff.address("marketplace_organization_verify", each.pk), each.name),
                    each.party.credit_code,
                    each.zone,
                    ", ".join(owners.get(each.pk, [])) or "–",
                    _moment(each.state_at),
                ]
                for each in found
            ],
            moments=(4,),
            empty=_("No organization waits."),
        ),
        Table(
            _("Facts"),
            [_("legal person"), _("fact"), _("value"), _("from"), _("evidence"), _("claimed at"), _("see")],
            [
                [
                    fact.party.legal_name,
                    fact.get_kind_display(),
                    said(fact.kind, fact.value),
                    fact.from_date.isoformat(),
                    evidence(fact),
                    _moment(fact.claimed_at),
                    link(staff.address("fact_verify", fact.pk), _("Verify")),
                ]
                for fact in claimed
            ],
            moments=(3, 5),
            empty=_("No fact waits."),
        ),
    ]
    return staff.show(request, "admin/list.html", _("To verify"), {"tables": tables})


def _moment(at: Any) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if at else "–"


@staff.page("verification/facts/<int:fact_id>/", "fact_verify")
@require_http_methods(["GET", "HEAD", "POST"])
def verify_fact(request: HttpRequest, fact_id: int) -> HttpResponse:
    """Say that the evidence shows the fact."""
    rows = PartyFact.objects.select_related("party", "evidence").defer("evidence__content")
    fact = get_object_or_404(rows, pk=fact_id)

    def act() -> None:
        if parties.verify_fact(fact=fact, at=timezone.now(), actor=actor(request)):
            if request.user.pk is not None:
                LogEntry.objects.log_actions(
                    request.user.pk, [fact], CHANGE, change_message="verified", single_object=True
                )
            messages.success(request, gettext("The fact is verified."))
        else:
            messages.warning(request, gettext("Somebody has verified it before."))

    headers = [_("legal person"), _("unified social credit code"), _("fact"), _("value"), _("from"), _("evidence")]
    row = [
        fact.party.legal_name,
        fact.party.credit_code,
        fact.get_kind_display(),
        said(fact.kind, fact.value),
        fact.from_date.isoformat(),
        evidence(fact),
    ]
    return confirmed(
        request,
        title=_("Verify a fact"),
        question=_("Does the evidence show this? What programmes pay may depend on it."),
        answer=_("Verify"),
        back=staff.address("verification"),
        act=act,
        tables=[Table("", headers, [row])],
        obstacle=gettext("The fact is verified already.") if fact.verified_at is not None else "",
    )
