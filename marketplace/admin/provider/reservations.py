"""What buyers reserved of a provider's pools: who, how much, when, and the way to get in that is handed over to them.
What it costs them is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from marketplace import reservations
from marketplace.admin.base import Labelled, ProviderAdmin, ProviderInline, actor, button, column
from marketplace.admin.page import ReasonForm, asked, link, long_text_field
from marketplace.admin.site import providers
from marketplace.models import Credential, ProvisioningTask, Reservation, ReservationChange
from marketplace.provisioning import credentials

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

STATES = {
    "held": "warning",
    "confirmed": "info",
    "active": "success",
    "completed": "success",
    "expired": "",
    "cancelled": "",
    "released": "",
    "failed": "danger",
}


class AccessForm(forms.Form):
    """What is written is shown to the buyer; here it is never shown again."""

    secret = long_text_field(
        _("how to get in"),
        _(
            "Addresses, users, passwords or keys, and what else the buyer must know. It is kept sealed, shown to the buyer once,"
            " and never shown here again."
        ),
        max_length=credentials.MAX_LENGTH,
        rows=8,
    )

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.fields["secret"].widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}


class TaskInline(ProviderInline):
    model = ProvisioningTask
    fields = ("kind", "state", "due_at", "ended_at")
    ordering = ("-pk",)
    show_change_link = True


class StepInline(ProviderInline):
    """Each step without its facts, in which amounts stand, and without who: that is the buyer's own business."""

    model = ReservationChange
    verbose_name_plural = _("history")
    fields = ("at", "kind")
    ordering = ("-at", "-pk")


@admin.register(Reservation, site=providers)
class ReservationAdmin(ProviderAdmin):
    list_display = ("short", "organization", "pool", "offering", "quantity", "start_at", "end_at", "status")
    list_select_related = ("organization", "pool", "offering", "contract")
    list_filter = ("state", "pool", "offering")
    search_fields = ("id", "organization__name", "pool__code", "pool__name", "offering__code")
    date_hierarchy = "start_at"
    ordering = ("-start_at", "-pk")
    fields = (
        ("id", "status"),
        ("organization", "quantity"),
        ("pool", "offering"),
        ("start_at", "end_at"),
        ("confirmed_at", "notice_ends_at"),
        ("started_at", "ended_at"),
        ("access", "used"),
    )
    readonly_fields = ("status", "access", "used")
    inlines = (TaskInline, StepInline)
    actions_detail = ("hand_over", "give_notice", "fail")

    @column(_("reservation"), order="pk")
    def short(self, reservation: Reservation) -> str:
        return str(reservation.pk)[:8]

    @column(_("state"), order="state", label=STATES)
    def status(self, reservation: Reservation) -> Labelled:
        return Labelled(reservation.state, reservation.get_state_display())

    @column(_("access"))
    def access(self, reservation: Reservation) -> str:
        """Whether there is any, never what it is."""
        last = Credential.objects.filter(reservation=reservation).defer("sealed").order_by("-pk").first()
        if last is None:
            return gettext("Not handed over yet.")
        handed_at = f"{timezone.localtime(last.handed_at):%Y-%m-%d %H:%M}"
        if last.shown_at is not None:
            told = {"at": handed_at, "shown": f"{timezone.localtime(last.shown_at):%Y-%m-%d %H:%M}"}
            return gettext("Handed over at %(at)s; the buyer looked at it at %(shown)s.") % told
        if last.erased_at is not None:
            return gettext("Handed over at %(at)s; erased before the buyer looked at it.") % {"at": handed_at}
        return gettext("Handed over at %(at)s; the buyer has not looked at it yet.") % {"at": handed_at}

    @column(_("usage"))
    def used(self, reservation: Reservation) -> Any:
        """Usage is measured by contract."""
        if reservation.contract is None:
            return "–"
        number = reservation.contract.number
        return link(providers.address("supply_usage", contract=number, month=f"{reservation.start_at:%Y-%m}"), number)

    @button(_("Hand over access"), path="access", icon="key", supply=True)
    def hand_over(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Handed over anew, it takes the place of what was not looked at. From a task the way leads back to it."""
        reservation: Reservation = self.row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            credentials.hand_over(
                reservation=reservation, secret=facts["secret"], at=timezone.now(), actor=actor(request)
            )
            self.log_change(request, reservation, "access handed over")
            messages.success(request, gettext("Access is handed over. The buyer gets mail, and can look at it once."))

        task = self._task(request, reservation)
        intro = gettext("For %(buyer)s: %(gpus)d GPUs of %(pool)s, %(from)s to %(until)s.") % {
            "buyer": reservation.organization.name,
            "gpus": reservation.quantity,
            "pool": reservation.pool.name,
            "from": f"{timezone.localtime(reservation.start_at):%Y-%m-%d %H:%M}",
            "until": f"{timezone.localtime(reservation.end_at):%Y-%m-%d %H:%M}",
        }
        return asked(
            request,
            title=_("Hand over access"),
            intro=intro,
            form=AccessForm(request.POST or None),
            answer=_("Hand over access"),
            back=providers.address("marketplace_reservation_change", reservation.pk)
            if task is None
            else providers.address("marketplace_provisioningtask_change", task.pk),
            act=act,
            refusals=(credentials.NotRunningError, credentials.InvalidSecretError),
            obstacle=self._obstacle(reservation),
            site=providers,
        )

    def _task(self, request: HttpRequest, reservation: Reservation) -> ProvisioningTask | None:
        """The one that the address names, if it is of this reservation."""
        wanted = request.GET.get("task", "")
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 18):
            return None
        return providers.rows(request, ProvisioningTask).filter(reservation=reservation, pk=int(wanted)).first()

    @button(_("Give notice"), path="notice", icon="campaign", supply=True)
    def give_notice(self, request: HttpRequest, object_id: str) -> HttpResponse:
        reservation: Reservation = self.row(request, object_id)
        said = gettext("Notice is given.")
        intro = gettext(
            "The capacity is yours again when the notice of %(hours)d hours is over; until then the buyer may cancel at no cost."
            " The buyer reads the reason."
        ) % {"hours": reservation.pool.notice_hours}
        obstacle = gettext("Notice is given.") if reservation.notice_ends_at else self._obstacle(reservation)
        return self._ended(
            request,
            reservation,
            reservations.give_notice,
            title=_("Give notice"),
            intro=intro,
            said=said,
            obstacle=obstacle,
        )

    @button(_("Report a failure"), path="fail", icon="report", supply=True)
    def fail(self, request: HttpRequest, object_id: str) -> HttpResponse:
        reservation: Reservation = self.row(request, object_id)
        intro = gettext(
            "You could not deliver, or can't any more: the reservation ends now, and the buyer pays nothing from now on. The buyer"
            " reads the reason."
        )
        said = gettext("The reservation has failed; its hours are free again.")
        obstacle = self._obstacle(reservation)
        return self._ended(
            request,
            reservation,
            reservations.fail,
            title=_("Report a failure"),
            intro=intro,
            said=said,
            obstacle=obstacle,
        )

    def _ended(
        self,
        request: HttpRequest,
        reservation: Reservation,
        verb: Any,
        *,
        title: Any,
        intro: str,
        said: str,
        obstacle: str,
    ) -> HttpResponse:
        def act(facts: dict[str, Any]) -> None:
            verb(reservation=reservation, **facts, at=timezone.now(), actor=actor(request))
            self.log_change(request, reservation, f"{verb.__name__}: {facts['reason']}")
            messages.success(request, said)

        return asked(
            request,
            title=title,
            intro=intro,
            form=ReasonForm(request.POST or None),
            answer=title,
            back=providers.address("marketplace_reservation_change", reservation.pk),
            act=act,
            refusals=(reservations.WrongStateError, reservations.NoticeTooLateError),
            obstacle=obstacle,
            site=providers,
        )

    def _obstacle(self, reservation: Reservation) -> str:
        if reservation.state in (Reservation.State.CONFIRMED, Reservation.State.ACTIVE):
            return ""
        return gettext("The reservation is in the state “%(state)s”.") % {"state": reservation.get_state_display()}
