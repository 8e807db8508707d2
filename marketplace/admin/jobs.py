"""What is to be done, who does it, and meters that say nothing. django-q2's own tables stay hidden: ours are the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import Http404
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from marketplace import jobs
from marketplace.admin.base import Labelled, StaffAdmin, actor, button, column
from marketplace.admin.page import confirmed, link
from marketplace.admin.site import staff
from marketplace.models import Job, MeterSilence, Pulse

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

_STATES = {
    Job.State.DUE: ("info", _("due")),
    Job.State.RUNNING: ("warning", _("running")),
    Job.State.DONE: ("success", _("done")),
    Job.State.FAILED: ("danger", _("failed")),
}


@admin.register(Job, site=staff)
class JobAdmin(StaffAdmin):
    list_display = ("kind", "key", "status", "due_at", "attempts", "finished_at", "locked_by", "retried_by")
    list_display_links = ("kind", "key")
    list_filter = ("state", "kind")
    search_fields = ("kind", "key", "last_error")
    date_hierarchy = "due_at"
    ordering = ("-due_at", "-pk")
    fields = (
        ("kind", "key"),
        ("status", "attempts", "retried_by"),
        ("created_at", "due_at", "finished_at"),
        ("locked_by", "locked_until"),
        "payload",
        "error",
    )
    readonly_fields = ("status", "error")
    actions = ("retry_selected",)
    actions_detail = ("retry",)

    @column(_("state"), order="state", label={str(state): colour for state, (colour, _title) in _STATES.items()})
    def status(self, job: Job) -> Labelled:
        return Labelled(job.state, _STATES[Job.State(job.state)][1])

    @column(_("last error"))
    def error(self, job: Job) -> str:
        return format_html('<pre class="s-code" tabindex="0">{}</pre>', job.last_error or "–")

    @admin.action(description=_("Retry the selected jobs that failed"))
    def retry_selected(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        chosen = list(rows)
        count = sum(self._retry(request, job) for job in chosen)
        said = ngettext("%(count)d job is due again.", "%(count)d jobs are due again.", count)
        messages.success(request, said % {"count": count})

    @button(_("Retry"), path="retry", icon="replay")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.get_object(request, object_id)
        if job is None:
            raise Http404

        def act() -> None:
            if self._retry(request, job):
                messages.success(request, gettext("The job is due again."))
            else:
                messages.warning(request, gettext("The job was not failed any more."))

        return confirmed(
            request,
            title=_("Retry a job"),
            question=gettext("Have %(job)s done after all? It is due at once, with all its attempts.")
            % {"job": str(job)},
            answer=_("Retry"),
            back=staff.address("marketplace_job_change", job.pk),
            act=act,
            obstacle="" if job.state == Job.State.FAILED else gettext("Only a failed job is retried."),
        )

    def _retry(self, request: HttpRequest, job: Job) -> bool:
        retried = jobs.retry(job=job, at=timezone.now(), actor=actor(request))
        if retried:
            self.log_change(request, job, "retried")
        return retried


@admin.register(Pulse, site=staff)
class PulseAdmin(StaffAdmin):
    list_display = ("worker", "asked_at", "answered_at")
    ordering = ("worker",)


class _Over(admin.SimpleListFilter):
    """By default those that go on: they are what somebody has to look at."""

    title = _("silence")
    parameter_name = "over"

    def lookups(self, _request: Any, _model_admin: Any) -> Any:
        return (("1", _("is over")), ("all", _("all")))

    def queryset(self, _request: Any, rows: Any) -> Any:
        if self.value() == "all":
            return rows
        return rows.filter(ended_at__isnull=self.value() is None)

    def choices(self, changelist: Any) -> Any:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("goes on")}
        yield from others


@admin.register(MeterSilence, site=staff)
class MeterSilenceAdmin(StaffAdmin):
    list_display = ("contract", "meter", "provider", "since_at", "last_event_at", "found_at", "ended_at", "readings")
    list_select_related = ("contract__provider", "meter")
    list_filter = (_Over, ("meter", admin.RelatedOnlyFieldListFilter))
    search_fields = ("contract__number", "contract__provider__legal_name", "meter__code")
    date_hierarchy = "since_at"
    ordering = ("since_at", "pk")

    @column(_("provider"), order="contract__provider__legal_name")
    def provider(self, silence: MeterSilence) -> str:
        return silence.contract.provider.legal_name

    @column(_("usage"))
    def readings(self, silence: MeterSilence) -> str:
        day = timezone.localdate(silence.last_event_at or silence.since_at)
        return link(
            staff.address("usage_readings", contract=silence.contract.number, day=day.isoformat()), _("Readings")
        )
