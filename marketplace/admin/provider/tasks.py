"""What a provider's people do by hand: they look at their tasks, hand over access, and tick off what is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from marketplace import provisioning
from marketplace.admin.base import Labelled, ProviderAdmin, actor, button, column
from marketplace.admin.page import asked, link, long_text_field
from marketplace.admin.site import providers
from marketplace.models import ProvisioningTask

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

STATES = {"open": "warning", "done": "success", "void": ""}
WISHES = {
    "start": _("Please make these GPUs ready for the buyer by the start, hand over access, and tick the task off."),
    "stop": _("The reservation has ended. Please take the buyer's access away, clear the GPUs, and tick the task off."),
    "suspend": _(
        "The buyer is suspended. Please stop what runs and take the access away, keep the buyer's data, and tick the"
        " task off."
    ),
    "resume": _("The buyer is no longer suspended. Please give the access back and tick the task off."),
}
"""The words of the letter that tells of the task."""


class DoneForm(forms.Form):
    note = long_text_field(_("note"), _("For your own people; the buyer does not see it."))

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.fields["note"].required = False


@admin.register(ProvisioningTask, site=providers)
class TaskAdmin(ProviderAdmin):
    list_display = ("what", "reservation_link", "buyer", "pool", "gpus", "due_at", "status", "ended_at")
    list_select_related = ("reservation__organization", "reservation__pool")
    list_filter = ("state", "kind")
    search_fields = ("reservation__id", "reservation__organization__name", "reservation__pool__name")
    date_hierarchy = "due_at"
    ordering = ("-due_at", "-pk")
    fields = (
        ("what", "status"),
        "wish",
        ("reservation_link", "buyer"),
        ("pool", "gpus"),
        ("due_at", "created_at"),
        ("ended_at", "ended_by"),
        "note",
    )
    readonly_fields = ("what", "wish", "status", "reservation_link", "buyer", "pool", "gpus")
    actions_detail = ("hand_over", "tick_off")

    @column(_("what"), order="kind")
    def what(self, task: ProvisioningTask) -> str:
        return task.get_kind_display()

    @column(_("to do"))
    def wish(self, task: ProvisioningTask) -> Any:
        return WISHES[task.kind]

    @column(_("reservation"))
    def reservation_link(self, task: ProvisioningTask) -> str:
        number = str(task.reservation_id)[:8]
        return link(providers.address("marketplace_reservation_change", task.reservation_id), number)

    @column(_("buyer"), order="reservation__organization__name")
    def buyer(self, task: ProvisioningTask) -> str:
        return task.reservation.organization.name

    @column(_("pool"), order="reservation__pool__name")
    def pool(self, task: ProvisioningTask) -> str:
        return task.reservation.pool.name

    @column(_("GPUs"), order="reservation__quantity")
    def gpus(self, task: ProvisioningTask) -> int:
        return task.reservation.quantity

    @column(_("state"), order="state", label=STATES)
    def status(self, task: ProvisioningTask) -> Labelled:
        return Labelled(task.state, task.get_state_display())

    @button(_("Hand over access"), path="access", icon="key", supply=True)
    def hand_over(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Access belongs to the reservation, and so does its form."""
        task: ProvisioningTask = self.row(request, object_id)
        return redirect(providers.address("marketplace_reservation_hand_over", task.reservation_id, task=task.pk))

    @button(_("Tick off"), path="done", icon="task_alt", supply=True)
    def tick_off(self, request: HttpRequest, object_id: str) -> HttpResponse:
        task: ProvisioningTask = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            provisioning.tick_off(task=task, note=facts["note"], at=timezone.now(), actor=actor(request))
            self.log_change(request, task, "ticked off")
            messages.success(request, gettext("The task is ticked off."))

        is_open = task.state == ProvisioningTask.State.OPEN
        return asked(
            request,
            title=_("Tick off"),
            intro=WISHES[task.kind],
            form=DoneForm(request.POST or None),
            answer=_("It is done"),
            back=providers.address("marketplace_provisioningtask_change", task.pk),
            act=act,
            refusals=(provisioning.TaskVoidError,),
            obstacle=""
            if is_open
            else gettext("The task is in the state “%(state)s”.") % {"state": task.get_state_display()},
            site=providers,
        )
