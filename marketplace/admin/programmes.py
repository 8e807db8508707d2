"""Programmes: from the draft to the close, their budgets, and when those are used up. Counts are to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
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
from marketplace.admin.page import ReasonForm, asked, confirmed, link
from marketplace.admin.programme_forms import BudgetForm, DraftForm, RuleForm, TermsForm, VatForm, minor
from marketplace.admin.site import staff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django import forms
    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrPromise

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
class ProgrammeAdmin(_BudgetColumns, StaffAdmin):
    add_form = DraftForm
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

    @column(_("name"), order="name")
    def title(self, programme: Programme) -> str:
        return terms.name(programme)

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
        form = TermsForm(_sent(request), programme=programme)
        told: dict[str, Any] = {"intro": _("What is left empty is not known."), "answer": _("Save")}
        act = lambda _facts: programmes.amend(programme=programme, terms=form.terms())  # noqa: E731
        return self._ask(request, programme, _("Terms"), form, act, states=(State.DRAFT,), **told)

    @button(_("Rule"), path="rule", icon="gavel")
    def rule(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        told: dict[str, Any] = {"intro": _("Firms read it on the programme's page."), "answer": _("Save")}
        act = lambda facts: programmes.cite(programme=programme, **facts)  # noqa: E731
        return self._ask(request, programme, _("Rule"), RuleForm(_sent(request)), act, states=(State.DRAFT,), **told)

    @button(_("Budget"), path="budget", icon="savings")
    def set_budget(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        form = BudgetForm(_sent(request), programme=programme)

        def act(facts: dict[str, Any]) -> None:
            budget_minor = minor(facts.pop("budget"), programme.currency) or 0
            try:
                programmes.set_budget(programme=programme, **facts, budget_minor=budget_minor)
            except BudgetExceededError as refusal:
                raise RefusedError(gettext("More than that is committed and redeemed already.")) from refusal
            except programmes.ProgrammeDiffersError as refusal:
                raise RefusedError(gettext("The budget of that code is of other days, which stay.")) from refusal

        states = (State.DRAFT, State.OPEN, State.PAUSED)
        return self._ask(request, programme, _("Budget"), form, act, states=states, answer=_("Save"))

    @button(_("Sign VAT treatment"), path="vat", icon="draw")
    def sign(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        form = VatForm(_sent(request), initial={"treatment": programme.vat_treatment})
        told: dict[str, Any] = {"intro": _("You sign for finance how the funder's part is taxed."), "answer": _("Sign")}

        def act(facts: dict[str, Any]) -> None:
            programmes.sign_off_vat(programme=programme, **facts, at=timezone.now(), actor=actor(request))

        return self._ask(request, programme, _("VAT treatment"), form, act, states=(State.DRAFT,), **told)

    @button(_("Open the programme"), path="open", icon="play_circle")
    def open(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        obstacle = _not_in(programme, (State.DRAFT, State.PAUSED))
        missing = programmes.missing(programme=programme) if programme.state == State.DRAFT else {}
        if missing:
            named = gettext(", ").join(str(terms.MISSING[each]) for each in missing)
            obstacle = gettext("It can't open before this is known: %(missing)s.") % {"missing": named}

        def act() -> None:
            programmes.open_(programme=programme, at=timezone.now(), actor=actor(request))
            self._done(request, programme)

        return confirmed(
            request,
            title=_title(programme, _("Open the programme")),
            question=_("Firms may apply, and bills are paid from now on. Its terms stay as they are."),
            answer=_("Open the programme"),
            back=staff.address("billing_programme_change", programme.pk),
            act=act,
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

        form = ReasonForm(_sent(request))
        return self._ask(request, programme, _("Pause"), form, act, states=(State.OPEN,), answer=_("Pause"), **told)

    @button(_("Close"), path="close", icon="cancel")
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        programme = self.row(request, object_id)
        open_ones = Commitment.objects.filter(grant__programme=programme, state=Commitment.State.OPEN)
        obstacle = gettext("It has open commitments: they end first.") if open_ones.exists() else ""

        def act(facts: dict[str, Any]) -> None:
            programmes.close(programme=programme, **facts, at=timezone.now(), actor=actor(request))

        return self._ask(
            request,
            programme,
            _("Close"),
            ReasonForm(_sent(request)),
            act,
            states=(State.DRAFT, State.OPEN, State.PAUSED),
            answer=_("Close"),
            intro=_("It pays nothing more of any bill, for good."),
            obstacle=obstacle,
        )

    def _ask(
        self,
        request: HttpRequest,
        programme: Programme,
        what: _StrPromise,
        form: forms.Form,
        act: Callable[[dict[str, Any]], None],
        *,
        states: Sequence[str],
        answer: _StrPromise,
        intro: _StrPromise | str = "",
        obstacle: str = "",
    ) -> HttpResponse:
        def done(facts: dict[str, Any]) -> None:
            act(facts)
            self._done(request, programme)

        return asked(
            request,
            title=_title(programme, what),
            form=form,
            answer=answer,
            back=staff.address("billing_programme_change", programme.pk),
            act=done,
            refusals=(*REFUSALS, RefusedError),
            intro=intro,
            obstacle=_not_in(programme, states) or obstacle,
        )

    def _done(self, request: HttpRequest, programme: Programme) -> None:
        self.log_change(request, programme, request.path.rstrip("/").rpartition("/")[2])
        messages.success(request, gettext("%(programme)s: it is done.") % {"programme": terms.name(programme)})


def _sent(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _title(programme: Programme, what: _StrPromise) -> str:
    return f"{terms.name(programme)}: {what}"


def _not_in(programme: Programme, states: Sequence[str]) -> str:
    if programme.state in states:
        return ""
    return gettext("This can't be done: the programme is “%(state)s”.") % {"state": programme.get_state_display()}
