"""Programmes: from the draft to the close, their budgets, and when those are used up. Counts are to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing import outlook, programmes
from billing.budgets import BudgetExceededError
from billing.models import BudgetPeriod, Commitment, Grant, Programme, ProgrammeChange, ProgrammeRule
from marketplace import programme_terms as terms
from marketplace.admin.base import Labelled, StaffAdmin, StaffInline, actor, button, column, money
from marketplace.admin.page import link
from marketplace.admin.programme_forms import BudgetForm, DraftForm, RuleForm, TermsForm, VatForm, minor
from marketplace.admin.site import staff
from marketplace.admin.steps import Steps, sent
from marketplace.names import named

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from billing.outlook import Outlook

TONES = {"draft": "warning", "open": "success", "paused": "info"}
State = Programme.State
REFUSALS = (
    programmes.InvalidProgrammeError,
    programmes.ProgrammeDiffersError,
    programmes.ProgrammeNotWholeError,
    programmes.ProgrammeStateError,
    programmes.TermsFrozenError,
)


class RefusedError(Exception):
    """What a verb refused, in the reader's words."""


class RuleInline(StaffInline):
    model = ProgrammeRule
    fields = ("name", "says", "source_title", "source_date", "source_url")
    readonly_fields = fields
    verbose_name_plural = _("Rules and their sources")


class BudgetInline(StaffInline):
    model = BudgetPeriod
    fields = ("code", "from_date", "until_date", "budget", "committed", "redeemed", "left")
    readonly_fields = fields
    verbose_name_plural = _("Budgets")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BudgetPeriod]:
        return super().get_queryset(request).select_related("programme")

    @column(_("budget"))
    def budget(self, row: BudgetPeriod) -> str:
        return money(row.budget_minor, row.programme.currency)

    @column(_("committed"))
    def committed(self, row: BudgetPeriod) -> str:
        return money(row.committed_minor, row.programme.currency)

    @column(_("redeemed"))
    def redeemed(self, row: BudgetPeriod) -> str:
        return money(row.redeemed_minor, row.programme.currency)

    @column(_("left"))
    def left(self, row: BudgetPeriod) -> str:
        return money(row.budget_minor - row.committed_minor - row.redeemed_minor, row.programme.currency)


class ChangeInline(StaffInline):
    model = ProgrammeChange
    fields = ("at", "status", "reason", "who")
    readonly_fields = fields
    ordering = ("-id",)
    verbose_name_plural = _("Changes")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProgrammeChange]:
        rows: QuerySet[ProgrammeChange] = super().get_queryset(request)
        return rows.filter(grant=None)

    @column(_("state"))
    def status(self, change: ProgrammeChange) -> str:
        return str(State(change.state).label)


class _BudgetColumns:
    """Of the budget that the outlook is of."""

    @column(_("budget"))
    def budget(self, programme: Programme) -> str:
        seen = _seen(programme)
        return "–" if seen is None else money(seen.budget.budget_minor, programme.currency)

    @column(_("committed"))
    def committed(self, programme: Programme) -> str:
        seen = _seen(programme)
        return "–" if seen is None else money(seen.budget.committed_minor, programme.currency)

    @column(_("redeemed"))
    def redeemed(self, programme: Programme) -> str:
        seen = _seen(programme)
        return "–" if seen is None else money(seen.budget.redeemed_minor, programme.currency)

    @column(_("left"))
    def left(self, programme: Programme) -> str:
        seen = _seen(programme)
        return "–" if seen is None else money(seen.left_minor, programme.currency)

    @column(_("used up on"))
    def exhausted(self, programme: Programme) -> str:
        seen = _seen(programme)
        return "–" if seen is None or seen.exhausted_on is None else seen.exhausted_on.isoformat()


def _seen(programme: Any) -> Outlook | None:
    """The outlook; a list looks those of all its rows up at once."""
    if not hasattr(programme, "seen"):
        programme.seen = outlook.of(programmes=[programme], at=timezone.now()).get(programme.pk)
    seen: Outlook | None = programme.seen
    return seen


@admin.register(Programme, site=staff)
class ProgrammeAdmin(_BudgetColumns, Steps, StaffAdmin):
    add_form = DraftForm
    refusals = (*REFUSALS, RefusedError)
    list_display = (
        *("code", "title", "status", "pays", "budget", "committed", "redeemed", "left", "exhausted", "firms"),
    )
    list_select_related = ("issuer",)
    list_filter = ("state", "mode", ("issuer", admin.RelatedOnlyFieldListFilter))
    search_fields = ("code", "name", "name_en", "funder_name")
    ordering = ("issuer", "code")
    fields = (
        ("issuer", "code", "status"),
        ("name", "name_en"),
        ("funder", "funder_name", "mode"),
        ("pays", "up_to"),
        ("paid_for", "from_date", "until_date"),
        "asks_for",
        ("bars_related_parties", "one_side_claims"),
        ("stacking_group", "priority"),
        ("vat_treatment", "vat_signed_by", "vat_signed_at"),
        ("budget", "left"),
        ("committed", "redeemed"),
        ("exhausted", "method"),
        ("created_at", "who"),
    )
    readonly_fields = (
        *("status", "pays", "up_to", "paid_for", "asks_for", "budget", "committed", "redeemed", "left"),
        *("exhausted", "method", "who"),
    )
    inlines = (BudgetInline, RuleInline, ChangeInline)
    actions_detail = ("figures", "terms", "rule", "set_budget", "sign", "open", "pause", "close")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Programme]:
        granted = Count("grants", filter=Q(grants__state__in=[Grant.State.APPROVED, Grant.State.SUSPENDED]))
        rows: QuerySet[Programme] = super().get_queryset(request)
        return rows.annotate(firm_count=granted)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the outlooks of all rows, looked up at once."""
        found = super().get_changelist_instance(request)
        rows = list(found.result_list)
        seen = outlook.of(programmes=rows, at=timezone.now())
        for row in rows:
            row.seen = seen.get(row.pk)
        found.result_list = rows
        return found

    def called(self, row: Programme) -> str:
        return named(row)

    @column(_("name"), order="name")
    def title(self, programme: Programme) -> str:
        return named(programme)

    @column(_("state"), order="state", label=TONES)
    def status(self, programme: Programme) -> Labelled:
        return Labelled(programme.state, programme.get_state_display())

    @column(_("share"))
    def pays(self, programme: Programme) -> str:
        return terms.share(programme)

    @column(_("up to"))
    def up_to(self, programme: Programme) -> str:
        return gettext(", ").join(terms.limits(programme)) or "–"

    @column(_("pays for"))
    def paid_for(self, programme: Programme) -> str:
        return terms.charges(programme)

    @column(_("eligibility"))
    def asks_for(self, programme: Programme) -> str:
        told = terms.conditions(programme.eligibility)
        return " · ".join(f"{terms.rule(name)}: {said}" for name, said in told.items()) or "–"

    @column(_("firms"), order="firm_count")
    def firms(self, programme: Any) -> str:
        return link(staff.address("billing_grant_changelist", programme__id__exact=programme.pk), programme.firm_count)

    @column(_("how that is reckoned"))
    def method(self, _programme: Programme) -> str:
        said = _(
            "If as much is committed and redeemed each day as in the last %(days)s days, nothing is left on that day. A"
            " dash: it lasts until its last day."
        )
        return str(said) % {"days": outlook.DAYS}

    @button(_("Figures"), path="figures", icon="monitoring")
    def figures(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect(staff.address("programme_figures", self.row(request, object_id).pk))

    @button(_("Terms"), path="terms", icon="edit")
    def terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        form = TermsForm(sent(request), programme=programme)
        told: dict[str, Any] = {"intro": _("What is left empty is not known."), "answer": _("Save")}
        act = lambda _facts: programmes.amend(programme=programme, terms=form.terms())  # noqa: E731
        return self.ask(request, programme, _("Terms"), act, form=form, states=(State.DRAFT,), **told)

    @button(_("Rule"), path="rule", icon="gavel")
    def rule(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        told: dict[str, Any] = {"intro": _("Firms read it on the programme's page."), "answer": _("Save")}
        act = lambda facts: programmes.cite(programme=programme, **facts)  # noqa: E731
        return self.ask(request, programme, _("Rule"), act, form=RuleForm(sent(request)), states=(State.DRAFT,), **told)

    @button(_("Budget"), path="budget", icon="savings")
    def set_budget(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        form = BudgetForm(sent(request), programme=programme)

        def act(facts: dict[str, Any]) -> None:
            budget_minor = minor(facts.pop("budget"), programme.currency) or 0
            try:
                programmes.set_budget(programme=programme, **facts, budget_minor=budget_minor)
            except BudgetExceededError as refusal:
                raise RefusedError(gettext("More than that is committed and redeemed already.")) from refusal
            except programmes.ProgrammeDiffersError as refusal:
                raise RefusedError(gettext("The budget of that code is of other days, which stay.")) from refusal

        states = (State.DRAFT, State.OPEN, State.PAUSED)
        return self.ask(request, programme, _("Budget"), act, form=form, states=states, answer=_("Save"))

    @button(_("Sign VAT treatment"), path="vat", icon="draw")
    def sign(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        form = VatForm(sent(request), initial={"treatment": programme.vat_treatment})
        told: dict[str, Any] = {"intro": _("You sign for finance how the funder's part is taxed."), "answer": _("Sign")}

        def act(facts: dict[str, Any]) -> None:
            programmes.sign_off_vat(programme=programme, **facts, at=timezone.now(), actor=actor(request))

        return self.ask(request, programme, _("VAT treatment"), act, form=form, states=(State.DRAFT,), **told)

    @button(_("Open the programme"), path="open", icon="play_circle")
    def open(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        obstacle = ""
        missing = programmes.missing(programme=programme) if programme.state == State.DRAFT else {}
        if missing:
            unknown = gettext(", ").join(str(terms.MISSING[each]) for each in missing)
            obstacle = gettext("It can't open before this is known: %(missing)s.") % {"missing": unknown}
        return self.confirm(
            request,
            programme,
            _("Open the programme"),
            lambda: programmes.open_(programme=programme, at=timezone.now(), actor=actor(request)),
            states=(State.DRAFT, State.PAUSED),
            question=_("Firms may apply, and bills are paid from now on. Its terms stay as they are."),
            obstacle=obstacle,
        )

    @button(_("Pause"), path="pause", icon="pause_circle")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        told: dict[str, Any] = {
            "intro": _("No more applications and commitments; of bills it pays only what is committed.")
        }

        def act(facts: dict[str, Any]) -> None:
            programmes.pause(programme=programme, **facts, at=timezone.now(), actor=actor(request))

        return self.ask(request, programme, _("Pause"), act, states=(State.OPEN,), **told)

    @button(_("Close"), path="close", icon="cancel")
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        open_ones = Commitment.objects.filter(grant__programme=programme, state=Commitment.State.OPEN)
        obstacle = gettext("It has open commitments: they end first.") if open_ones.exists() else ""

        def act(facts: dict[str, Any]) -> None:
            programmes.close(programme=programme, **facts, at=timezone.now(), actor=actor(request))

        return self.ask(
            request,
            programme,
            _("Close"),
            act,
            states=(State.DRAFT, State.OPEN, State.PAUSED),
            intro=_("It pays nothing more of any bill, for good."),
            obstacle=obstacle,
        )
