"""What is wrong with usage, as lists that lead to what mends it: unmatched events, events not stored, gaps.

Silent meters: see jobs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, F, Max, Min, Window
from django.db.models.functions import Lag
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from billing.models import Contract, EventProblem, Meter, Reading, UsageEvent
from marketplace import jobs
from marketplace.admin.base import Labelled, StaffAdmin, actor, column
from marketplace.admin.page import Table, choice_field, confirmed, link, text_field
from marketplace.admin.site import staff
from marketplace.admin.usage import INTERVAL, REASONS

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

MOST = 200  # rows of a list of problems; the first ones are the worst


# Unmatched events


@staff.page("usage/unmatched/", "usage_unmatched")
@require_safe
def unmatched(request: HttpRequest) -> HttpResponse:
    """Events kept without a contract, by reason, type, subject and sender, with the way to what would match them."""
    place = ("unmatched_reason", "type", "subject", "source__owner", "source__owner__legal_name")
    groups = (
        UsageEvent.objects.filter(unmatched_reason__isnull=False)
        .values_list(*place)
        .annotate(number=Count("event_id"), first_at=Min("time"), last_at=Max("time"))
        .order_by("-number", *place)
    )
    found = list(groups[: MOST + 1])
    known = dict(Contract.objects.filter(number__in={group[2] for group in found}).values_list("number", "pk"))
    cells = [
        [
            REASONS.get(reason, reason),
            type_,
            subject,
            owner,
            link(staff.address("usage_events", reason=reason, type=type_, subject=subject, owner=owner_id), number),
            _moment(first_at),
            _moment(last_at),
            _mend(reason, type_, subject, owner_id, known),
        ]
        for reason, type_, subject, owner_id, owner, number, first_at, last_at in found[:MOST]
    ]
    headers = [
        _("reason"),
        _("type"),
        _("subject"),
        _("sender"),
        _("events"),
        _("first"),
        _("last"),
        _("what mends it"),
    ]
    note = gettext("The %(most)d largest groups are shown.") % {"most": MOST} if len(found) > MOST else ""
    context = {
        "intro": _(
            "These events are kept and count as soon as they can be matched: sign the contract or define the meter, then"
            " match again. Conflicts and rejected events never count: see the events not stored."
        ),
        "tables": [
            Table("", headers, cells, numbers=(4,), moments=(5, 6), note=note, empty=_("Every event is matched."))
        ],
        "links": [{"address": staff.address("usage_rematch"), "title": _("Match again"), "is_button": True}]
        if found
        else [],
    }
    return staff.show(request, "admin/list.html", _("Unmatched events"), context)


def _mend(reason: str, type_: str, subject: str, owner_id: int, known: dict[str, int]) -> Any:
    if reason == "unknown_meter":
        return link(staff.address("billing_meter_add", event_type=type_), _("Define the meter"))
    if subject in known:
        return link(staff.address("billing_contract_change", known[subject]), _("See the contract"))
    if reason == "unknown_subject":
        return link(staff.address("billing_contract_add", number=subject, provider=owner_id), _("Sign the contract"))
    return "–"


def _moment(at: Any) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}"


@staff.page("usage/unmatched/match-again/", "usage_rematch")
@require_http_methods(["GET", "HEAD", "POST"])
def rematch(request: HttpRequest) -> HttpResponse:
    at = timezone.now()

    def act() -> None:
        job = jobs.ask(kind="rematch", key=f"{at.isoformat()} {actor(request)}", due_at=at, at=at)
        where = link(staff.address("marketplace_job_change", job.pk), str(job))
        messages.success(request, format_html(gettext("A worker matches the events again now: job {}."), where))

    return confirmed(
        request,
        title=_("Match again"),
        question=_(
            "Look at every unmatched event again? Those that now have a meter and a contract go into their readings."
        ),
        answer=_("Match again"),
        back=staff.address("usage_unmatched"),
        act=act,
    )


# Events not stored

_COLOURS = {"conflict": "warning", "rejected": "danger"}
_MENDS = {
    "": _("The sender sends events as objects."),
    "time": _("The sender sets its clock, states the offset, and sends it again."),
    "amends": _("The sender corrects an event that is stored and in force, or sends a new one."),
    "data": _("The sender sends it again with the data that the meter reads."),
}
"""By field, or the part of its name before the point."""


@admin.register(EventProblem, site=staff)
class EventProblemAdmin(StaffAdmin):
    """To look at: one is over when its sender sends what is right, and is forgotten 30 days after it was last sent."""

    list_display = ("event", "owner", "status", "field", "reason", "times", "last_at", "mend")
    list_select_related = ("owner",)
    list_filter = ("outcome", ("owner", admin.RelatedOnlyFieldListFilter))
    search_fields = ("event_id", "source", "type", "subject", "field")
    date_hierarchy = "last_at"
    ordering = ("-last_at", "-pk")
    fields = (
        ("event", "source", "owner"),
        ("status", "field"),
        "reason",
        ("type", "subject", "time"),
        ("first_at", "last_at", "times"),
        "mend",
    )
    readonly_fields = ("event", "status", "mend")

    @column(_("event id"), order="event_id")
    def event(self, problem: EventProblem) -> str:
        return gettext("all others together") if problem.is_rest else str(problem)

    @column(_("outcome"), order="outcome", label=_COLOURS)
    def status(self, problem: EventProblem) -> Labelled:
        return Labelled(problem.outcome, problem.get_outcome_display())

    @column(_("what mends it"))
    def mend(self, problem: EventProblem) -> Any:
        if problem.is_rest:
            return _("Mend the sender's other ones: there are too many to name each.")
        if problem.outcome == EventProblem.Outcome.CONFLICT:
            what: Any = _("The sender uses another id, or amends the event that is stored.")
            address = staff.address("usage_events", event_id=problem.event_id, owner=problem.owner_id)
            return format_html("{} {}", what, link(address, _("The stored event")))
        part = problem.field.partition(".")[0].replace("retracts", "amends")
        what = _MENDS.get(part, _("The sender mends this field and sends it again."))
        if part != "data":
            return what
        address = staff.address("billing_meter_changelist", q=problem.type)
        return format_html("{} {}", what, link(address, _("The meter")))


# Gaps


class GapForm(forms.Form):
    days = choice_field(_("of the last"), [(str(days), _("%(days)d days") % {"days": days}) for days in (7, 31, 92)])
    contract = text_field(_("contract"))


@staff.page("usage/gaps/", "usage_gaps")
@require_safe
def gaps(request: HttpRequest) -> HttpResponse:
    """Intervals without a reading between two that have one: a gap is not billed, so somebody should know of it."""
    form = GapForm(request.GET if "days" in request.GET else {**request.GET.dict(), "days": "7"})
    facts = form.cleaned_data if form.is_valid() else {}
    days = int(facts.get("days") or 7)
    since_at = timezone.now() - timedelta(days=days)
    contracts = Contract.objects.all()
    if facts.get("contract"):
        contracts = contracts.filter(number=facts["contract"])
    before = Window(Lag("start_at"), partition_by=[F("contract"), F("meter")], order_by="start_at")
    rows = (
        Reading.objects.filter(contract__in=contracts.values("pk"), meter__in=_sampled(), start_at__gte=since_at)
        .annotate(before_at=before)
        .filter(before_at__lt=F("start_at") - INTERVAL)
        .select_related("contract__provider", "meter")
        .order_by(F("before_at") - F("start_at"), "contract", "meter")
    )
    found = list(rows[: MOST + 1])
    note = gettext("The %(most)d longest gaps are shown.") % {"most": MOST} if len(found) > MOST else ""
    headers = [_("contract"), _("meter"), _("provider"), _("from"), _("to"), _("length"), _("see")]
    table = Table("", headers, [_gap(row) for row in found[:MOST]], moments=(3, 4), note=note, empty=_("No gap."))
    context = {
        "form": form,
        "intro": _(
            "Nothing was measured here between two readings; it is not billed. Late events fill a gap whenever they come:"
            " ask the provider to send them. A meter that has stopped altogether is a silent one."
        ),
        "tables": [table],
    }
    return staff.show(request, "admin/list.html", _("Gaps"), context)


def _sampled() -> Any:
    """Meters that report all the time; a delta comes when there is something to say."""
    return Meter.objects.exclude(kind=Meter.Kind.DELTA).values("pk")


def _gap(row: Any) -> list[Any]:
    from_at = row.before_at + INTERVAL
    day = timezone.localdate(from_at).isoformat()
    ways = (
        (staff.address("usage_readings", contract=row.contract.number, day=day), _("Readings")),
        (staff.address("billing_contract_change", row.contract_id), _("Contract")),
    )
    return [
        row.contract.number,
        row.meter.code,
        row.contract.provider.legal_name,
        _moment(from_at),
        _moment(row.start_at),
        row.start_at - from_at,
        format_html_join(" · ", '<a href="{}">{}</a>', ways),
    ]
