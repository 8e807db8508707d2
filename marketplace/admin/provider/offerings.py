"""A provider's offerings: drafts, what is waiting, on sale, paused and retired, with what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.models import Tariff
from marketplace import catalog, selling
from marketplace.admin.base import Labelled, ProviderAdmin, ProviderInline, VerbForm, actor, button, column
from marketplace.admin.page import ReasonForm, asked, confirmed
from marketplace.admin.provider.cancellation import TermsField, terms_text
from marketplace.admin.provider.exchange import OfferingExchange
from marketplace.admin.site import providers
from marketplace.models import Offering, OfferingChange
from marketplace.refusals import for_people
from marketplace.terms import InvalidFactError

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse

STATES = {"draft": "warning", "submitted": "info", "published": "success", "paused": "warning", "retired": "danger"}
INCOMPLETE = "incomplete"  # in the address: show what is missing for a sale
REFUSALS = (
    InvalidFactError,
    catalog.NotProviderError,
    catalog.CodeTakenError,
    catalog.NotOwnTariffError,
    catalog.OtherStateError,
    catalog.NotReadyError,
)
_FACTS = (
    "name",
    "name_en",
    "description",
    "description_en",
    "min_quantity",
    "max_quantity",
    "step",
    "min_hours",
    "max_hours",
    "lead_hours",
    "cancellation_terms",
    "service_level_percent",
    "service_credit_percent",
    "terms",
)


def tariffs_for(request: HttpRequest) -> QuerySet[Tariff]:
    """Their own, and those under which their offerings are already."""
    own = providers.rows(request, Tariff).values("pk")
    used = providers.rows(request, Offering).values("tariff")
    return Tariff.objects.filter(Q(pk__in=own) | Q(pk__in=used)).order_by("code")


def words_of(problem: InvalidFactError, offering: Offering) -> str:
    """What stands in the way of a sale, and what would be right, for people."""
    match problem.field:
        case "description" | "terms":
            return gettext("Write some text: buyers decide by it.")
        case "cancellation_terms" if not offering.cancellation_terms:
            return gettext("Write at least one line; for no money back: 0: 100")
        case "max_quantity" if offering.max_quantity > offering.pool.gpus:
            told = {"gpus": offering.pool.gpus, "pool": offering.pool.name}
            return gettext("At most %(gpus)d: %(pool)s has no more GPUs.") % told
        case "pool":
            return gettext("The pool drains.")
    return for_people(problem)


def told_of(problem: InvalidFactError, offering: Offering) -> str:
    """The same with the field's name before it."""
    about: Any = Offering._meta.get_field(problem.field.partition("[")[0])  # noqa: SLF001  - Django's name for it
    return f"{capfirst(str(about.verbose_name))}: {words_of(problem, offering)}"


class OfferingForm(VerbForm):
    refusals = REFUSALS
    cancellation_terms = TermsField()

    class Meta:
        model = Offering
        fields = ("pool", "tariff", "code", *_FACTS)

    def tell(self, facts: dict[str, Any]) -> Model:
        return catalog.draft_offering(**tidied(facts), at=timezone.now(), actor=actor(self.request))


class ChangedOfferingForm(VerbForm):
    refusals = REFUSALS
    cancellation_terms = TermsField()

    class Meta:
        model = Offering
        fields = ("tariff", *_FACTS)

    def full_clean(self) -> None:
        """Not sent, but asked for what is missing: what stands in the way of a sale stands at its field."""
        super().full_clean()
        if self.is_bound or INCOMPLETE not in self.request.GET:
            return
        try:
            selling.require_ready(self.row, timezone.now())
        except catalog.NotReadyError as refusal:
            for problem in refusal.problems:
                name = problem.field.partition("[")[0]
                if name in self.fields:
                    self.errors.setdefault(name, self.error_class()).append(words_of(problem, self.row))

    def tell(self, facts: dict[str, Any]) -> Model:
        changes = {field: value for field, value in tidied(facts).items() if field in self.changed_data}
        return catalog.change_offering(offering=self.row, changes=changes, at=timezone.now(), actor=actor(self.request))


def tidied(facts: dict[str, Any]) -> dict[str, Any]:
    """Text without blanks at its ends."""
    return {field: value.strip() if isinstance(value, str) else value for field, value in facts.items()}


class ChangeInline(ProviderInline):
    model = OfferingChange
    verbose_name_plural = _("history")
    fields = ("at", "from_state", "to_state", "reason", "who")
    ordering = ("-at", "-pk")


@admin.register(Offering, site=providers)
class OfferingAdmin(OfferingExchange, ProviderAdmin):
    add_form, change_form = OfferingForm, ChangedOfferingForm
    list_display = ("code", "name", "pool", "tariff", "min_quantity", "max_quantity", "status", "state_at")
    list_display_links = ("code", "name")
    list_select_related = ("pool", "tariff")
    list_filter = ("state", "pool", "tariff")
    search_fields = ("code", "name", "name_en", "pool__code", "pool__name")
    ordering = ("code",)
    fields = (
        "code",
        ("status", "state_at"),
        "why",
        ("pool", "tariff"),
        ("name", "name_en"),
        ("description", "description_en"),
        ("min_quantity", "max_quantity", "step"),
        ("min_hours", "max_hours", "lead_hours"),
        "cancellation",
        ("service_level_percent", "service_credit_percent"),
        "terms",
    )
    readonly_fields = ("status", "why", "cancellation", "state_at")
    inlines = (ChangeInline,)
    actions_detail = ("submit", "withdraw", "pause", "resume", "retire")

    def is_changeable(self, row: Any) -> bool:
        return row is None or row.state in (Offering.State.DRAFT, Offering.State.PUBLISHED, Offering.State.PAUSED)

    def choices(self, request: HttpRequest, model: type[Model]) -> QuerySet[Any]:
        return tariffs_for(request) if model is Tariff else super().choices(request, model)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_fields(request, obj)
        if obj is not None and self.has_change_permission(request, obj):
            return ["code", ("status", "state_at"), "why", "pool", *ChangedOfferingForm.base_fields]
        return found

    @column(_("state"), order="state", label=STATES)
    def status(self, offering: Offering) -> Labelled:
        return Labelled(offering.state, offering.get_state_display())

    @column(_("reason"))
    def why(self, offering: Offering) -> str:
        return offering.state_reason or "–"

    @column(_("cancellation terms"))
    def cancellation(self, offering: Offering) -> str:
        return terms_text(offering.cancellation_terms, "; ") or "–"

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """The buttons that the offering's state permits."""
        offering = self.get_object(request, object_id)
        if offering is None:
            return []
        every: list[Any] = super().get_actions_detail(request, object_id)
        verbs = [verb for verb, (froms, _to) in catalog.ARCS.items() if offering.state in froms]
        return [each for each in every if each.action_name.rpartition("_")[2] in verbs]

    @button(_("Submit for approval"), path="submit", icon="send", supply=True)
    def submit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = gettext("Ask the zone's staff to put %(code)s on sale?")
        said = gettext("The offering waits for approval.")
        return self._moved(
            request, object_id, catalog.submit, title=_("Submit for approval"), question=question, said=said
        )

    @button(_("Take it back"), path="withdraw", icon="undo", supply=True)
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = gettext("Make %(code)s a draft again? Nobody approves it until you submit it anew.")
        said = gettext("The offering is a draft again.")
        return self._moved(request, object_id, catalog.withdraw, title=_("Take it back"), question=question, said=said)

    @button(_("Resume the sale"), path="resume", icon="play_arrow", supply=True)
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        question = gettext("Put %(code)s back on sale as it was approved?")
        said = gettext("The offering is on sale.")
        return self._moved(request, object_id, catalog.resume, title=_("Resume the sale"), question=question, said=said)

    @button(_("Pause the sale"), path="pause", icon="pause", supply=True)
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = _("It is taken off sale until you resume. What is reserved stays reserved.")
        said = gettext("The offering is paused.")
        return self._moved_for(request, object_id, catalog.pause, title=_("Pause the sale"), intro=intro, said=said)

    @button(_("Retire"), path="retire", icon="inventory_2", supply=True)
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = _("It is never sold again. What is reserved stays reserved.")
        said = gettext("The offering is retired.")
        return self._moved_for(request, object_id, catalog.retire, title=_("Retire"), intro=intro, said=said)

    def _moved(
        self, request: HttpRequest, object_id: str, verb: Any, *, title: Any, question: str, said: str
    ) -> HttpResponse:
        """A change of state that is only confirmed. What is missing for it is shown at the fields."""
        offering: Offering = self.row(request, object_id)
        back = providers.address("marketplace_offering_change", offering.pk)

        def act() -> Any:
            try:
                verb(offering=offering, at=timezone.now(), actor=actor(request))
            except catalog.NotReadyError as refusal:
                for problem in refusal.problems:
                    messages.error(request, told_of(problem, offering))
                return redirect(f"{back}?{INCOMPLETE}=1")
            except (catalog.OtherStateError, catalog.NotProviderError) as refusal:
                messages.error(request, for_people(refusal))
            else:
                self.log_change(request, offering, verb.__name__)
                messages.success(request, said)
            return None

        return confirmed(
            request,
            title=title,
            question=question % {"code": offering.code},
            answer=title,
            back=back,
            act=act,
            obstacle=self._obstacle(offering, verb.__name__),
            site=providers,
        )

    def _moved_for(
        self, request: HttpRequest, object_id: str, verb: Any, *, title: Any, intro: Any, said: str
    ) -> HttpResponse:
        """A change of state that needs a reason."""
        offering: Offering = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            verb(offering=offering, **facts, at=timezone.now(), actor=actor(request))
            self.log_change(request, offering, f"{verb.__name__}: {facts['reason']}")
            messages.success(request, said)

        return asked(
            request,
            title=title,
            intro=intro,
            form=ReasonForm(request.POST or None),
            answer=title,
            back=providers.address("marketplace_offering_change", offering.pk),
            act=act,
            refusals=REFUSALS,
            obstacle=self._obstacle(offering, verb.__name__),
            site=providers,
        )

    def _obstacle(self, offering: Offering, verb: str) -> str:
        if offering.state in catalog.ARCS[verb][0]:
            return ""
        return gettext("The offering is in the state “%(state)s”.") % {"state": offering.get_state_display()}
