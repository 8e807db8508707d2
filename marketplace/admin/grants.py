"""Applications for programmes: what waits for a decision, what the firm's facts mean for each rule, and the verbs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Count
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing import programmes
from billing.models import Grant, GrantEvidence, PartyFact, Programme, ProgrammeChange
from billing.rating import eligibility
from marketplace import programme_terms as terms
from marketplace.admin.base import Labelled, StaffAdmin, StaffInline, actor, button, column
from marketplace.admin.page import Table, date_field, link, long_text_field
from marketplace.admin.site import staff
from marketplace.admin.steps import Steps, sent
from marketplace.names import named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrPromise

MOST = 200  # applications of the page; the oldest come first
TONES = {"applied": "info", "approved": "success", "rejected": "danger", "suspended": "warning"}
STATES = {"met": _("met"), "unmet": _("not met"), "unverified": _("not verified yet"), "unknown": _("not known yet")}
Finding = dict[str, Any]


class WhyForm(forms.Form):
    reason = long_text_field(_("reason"), _("The firm reads it."))


class ApproveForm(forms.Form):
    """Of the window: a day that is left out is the programme's."""

    from_date = date_field(_("first day"))
    until_date = date_field(_("last day"))
    reason = long_text_field(_("remark"), _("The firm reads it."))

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["reason"].required = False

    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if facts.get("from_date") and facts.get("until_date") and facts["until_date"] < facts["from_date"]:
            self.add_error("until_date", _("It ends before it begins."))
        return facts


class DocumentInline(StaffInline):
    model = GrantEvidence
    fields = ("document", "sha256")
    readonly_fields = fields
    ordering = ("pk",)
    verbose_name_plural = _("Documents")

    def get_queryset(self, request: HttpRequest) -> QuerySet[GrantEvidence]:
        return super().get_queryset(request).select_related("evidence").defer("evidence__content")

    @column(_("document"))
    def document(self, row: GrantEvidence) -> str:
        return link(staff.address("evidence_file", row.evidence_id), row.evidence.name)

    @column("SHA-256")
    def sha256(self, row: GrantEvidence) -> str:
        return row.evidence.sha256


class ChangeInline(StaffInline):
    model = ProgrammeChange
    fields = ("at", "status", "reason", "who")
    readonly_fields = fields
    ordering = ("-id",)
    verbose_name_plural = _("Changes")

    @column(_("state"))
    def status(self, change: ProgrammeChange) -> str:
        return str(Grant.State(change.state).label)


REFUSALS = (
    programmes.GrantStateError,
    programmes.InvalidProgrammeError,
    programmes.NotEligibleError,
    programmes.ProgrammeStateError,
)


@admin.register(Grant, site=staff)
class GrantAdmin(Steps, StaffAdmin):
    refusals = REFUSALS
    list_display = ("party", "programme", "status", "applied_at", "from_date", "until_date", "decided_at")
    list_select_related = ("party", "programme")
    list_filter = ("state", ("programme", admin.RelatedOnlyFieldListFilter))
    search_fields = ("party__legal_name", "party__credit_code", "programme__code", "programme__name")
    date_hierarchy = "applied_at"
    ordering = ("-applied_at", "-pk")
    fields = (
        ("programme", "party"),
        ("status", "applied_at"),
        "statement",
        "judged",
        ("from_date", "until_date"),
        ("decided_at", "decided_by"),
        "reason",
        "who",
    )
    readonly_fields = ("status", "judged", "who")
    inlines = (DocumentInline, ChangeInline)
    actions_detail = ("approve", "reject", "suspend", "resume")

    @column(_("state"), order="state", label=TONES)
    def status(self, grant: Grant) -> Labelled:
        return Labelled(grant.state, grant.get_state_display())

    @column(_("eligibility"))
    def judged(self, grant: Grant) -> str:
        """As it was when it was applied for, or decided."""
        rows = terms.judged(grant.programme.eligibility, grant.verdict)
        return (
            format_html_join(
                " · ", "{}: {} ({})", ((each["title"], each["asked"], STATES[each["state"]]) for each in rows)
            )
            or "–"
        )

    def called(self, row: Grant) -> str:
        return f"{row.party.legal_name} · {named(row.programme)}"

    @button(_("Approve"), path="approve", icon="verified")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        grant: Grant = self.row(request, object_id)
        programme = grant.programme

        def act(facts: dict[str, Any]) -> None:
            programmes.approve(grant=grant, **facts, at=timezone.now(), actor=actor(request))

        window = {"from_date": programme.from_date, "until_date": programme.until_date}
        return self.ask(
            request,
            grant,
            _("Approve"),
            act,
            states=(Grant.State.APPLIED,),
            form=ApproveForm(sent(request), initial=window),
            intro=_("For use between these days it pays. The firm's facts are frozen as they are now."),
            tables=about(grant),
            obstacle=_obstacle(grant),
        )

    @button(_("Reject"), path="reject", icon="block")
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = _("The firm reads the reason, and may apply again.")
        told: dict[str, Any] = {"verb": programmes.reject, "what": _("Reject"), "states": (Grant.State.APPLIED,)}
        return self._decide(request, self.row(request, object_id), question=question, **told)

    @button(_("Suspend"), path="suspend", icon="pause_circle")
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = _("Nothing more is paid for the firm until it is resumed.")
        told: dict[str, Any] = {"verb": programmes.suspend, "what": _("Suspend"), "states": (Grant.State.APPROVED,)}
        return self._decide(request, self.row(request, object_id), question=question, **told)

    @button(_("Resume"), path="resume", icon="play_circle")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = _("It is paid for the firm again.")
        told: dict[str, Any] = {"verb": programmes.resume, "what": _("Resume"), "states": (Grant.State.SUSPENDED,)}
        return self._decide(request, self.row(request, object_id), question=question, **told)

    def _decide(
        self,
        request: HttpRequest,
        grant: Grant,
        *,
        verb: Callable[..., None],
        what: _StrPromise,
        question: _StrPromise,
        states: Sequence[str],
    ) -> HttpResponse:
        def act(facts: dict[str, Any]) -> None:
            verb(grant=grant, reason=facts["reason"], at=timezone.now(), actor=actor(request))

        form = WhyForm(sent(request))
        told: dict[str, Any] = {"intro": question, "tables": about(grant)}
        return self.ask(request, grant, what, act, states=states, form=form, **told)


def _obstacle(grant: Grant) -> str:
    """What stands in the way of approving it now; empty if nothing does."""
    programme = grant.programme
    if programme.state != Programme.State.OPEN:
        state = programme.get_state_display()
        return gettext("This can't be done: the programme is “%(state)s”.") % {"state": state}
    rows = terms.judged(programme.eligibility, findings(grant))
    unmet = [f"{each['title']} ({STATES[each['state']]})" for each in rows if each["state"] != "met"]
    if not unmet:
        return ""
    said = gettext("Each rule must be met by a fact that staff have verified. These are not: %(rules)s")
    return said % {"rules": gettext(", ").join(unmet)}


def findings(grant: Grant) -> list[Finding]:
    """What the firm's facts mean for each rule now, whatever they were when it applied."""
    programme = grant.programme
    on_date = programmes.local_date(programme=programme, at=timezone.now())
    known = programmes.facts_of(party=grant.party)
    return [asdict(each) for each in eligibility.check(programme.eligibility, known, on_date)]


def about(grant: Grant) -> list[Table]:
    """What staff decide by: the rules, the firm's facts with evidence, what it says, and its documents."""
    documents = grant.documents.select_related("evidence").defer("evidence__content").order_by("evidence__name", "pk")
    facts = PartyFact.objects.filter(party=grant.party).select_related("evidence").defer("evidence__content")
    return [
        Table(
            _("Eligibility now"),
            [_("rule"), _("asks for"), _("the firm"), _("verdict")],
            [
                [each["title"], each["asked"], "–" if each["found"] is None else each["found"], STATES[each["state"]]]
                for each in terms.judged(grant.programme.eligibility, findings(grant))
            ],
            empty=_("The programme asks for nothing."),
        ),
        Table(
            _("Facts"),
            [_("fact"), _("value"), _("from"), _("until"), _("evidence"), _("verified")],
            [_fact(fact) for fact in facts.order_by("kind", "-from_date", "-pk")],
            moments=(2, 3),
        ),
        Table(
            _("Documents of the application"),
            [_("document")],
            [[link(staff.address("evidence_file", row.evidence_id), row.evidence.name)] for row in documents],
            note=grant.statement,
        ),
    ]


def _fact(fact: PartyFact) -> list[Any]:
    return [
        fact.get_kind_display(),
        terms.said(fact.kind, fact.value),
        fact.from_date.isoformat(),
        fact.until_date.isoformat() if fact.until_date else "–",
        link(staff.address("evidence_file", fact.evidence_id), fact.evidence) if fact.evidence_id else "–",
        _("yes") if fact.verified_at else link(staff.address("fact_verify", fact.pk), _("Verify")),
    ]


@staff.page("programmes/applications/", "applications")
@require_safe
def applications(request: HttpRequest) -> HttpResponse:
    """What waits for a decision, the oldest first."""
    waiting = Grant.objects.filter(state=Grant.State.APPLIED).select_related("party", "programme")
    rows = waiting.annotate(shown=Count("documents")).order_by("applied_at", "pk")[:MOST]
    table = Table(
        "",
        [_("legal person"), _("programme"), _("applied at"), _("rules met"), _("documents"), _("see")],
        [
            [
                grant.party.legal_name,
                named(grant.programme),
                f"{timezone.localtime(grant.applied_at):%Y-%m-%d %H:%M}",
                f"{sum(each['is_met'] is True for each in grant.verdict)} / {len(grant.verdict)}",
                grant.shown,
                link(staff.address("billing_grant_change", grant.pk), _("Review")),
            ]
            for grant in rows
        ],
        numbers=(3, 4),
        moments=(2,),
        empty=_("No application waits."),
    )
    intro = _("Rules met: as the facts were when it was handed in. The page of an application judges them anew.")
    return staff.show(request, "admin/list.html", _("Applications"), {"tables": [table], "intro": intro})
