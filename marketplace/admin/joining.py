"""How people come in: sign-ups, invitations, requests to join. To look at; staff decide requests that no owner decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget  # type: ignore[import-untyped]

from marketplace import people
from marketplace.admin.base import Labelled, StaffAdmin, actor, button, column
from marketplace.admin.page import asked, confirmed
from marketplace.admin.site import staff
from marketplace.models import Invitation, JoinRequest, Membership, OrganizationChange, SignUp

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@admin.register(SignUp, site=staff)
class SignUpAdmin(StaffAdmin):
    list_display = ("email", "name", "legal_name", "credit_code", "zone", "created_at", "confirmed_at")
    list_select_related = ("zone",)
    list_filter = (("confirmed_at", admin.EmptyFieldListFilter), "sector")
    search_fields = ("email", "name", "legal_name", "credit_code")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    exclude = ("password",)


@admin.register(Invitation, site=staff)
class InvitationAdmin(StaffAdmin):
    list_display = ("email", "organization", "role", "status", "created_at", "expires_at", "who")
    list_select_related = ("organization",)
    list_filter = ("role", ("organization", admin.RelatedOnlyFieldListFilter))
    search_fields = ("email", "organization__name")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    exclude = ("token_sha256",)

    @column(_("state"), label={"accepted": "success", "open": "info", "expired": "warning", "revoked": "danger"})
    def status(self, invitation: Invitation) -> Labelled:
        if invitation.accepted_at is not None:
            return Labelled("accepted", _("accepted"))
        if invitation.revoked_at is not None:
            return Labelled("revoked", _("revoked"))
        over = invitation.expires_at <= timezone.now()
        return Labelled("expired", _("expired")) if over else Labelled("open", _("open"))


@admin.register(OrganizationChange, site=staff)
class OrganizationChangeAdmin(StaffAdmin):
    list_display = ("organization", "from_state", "to_state", "reason", "at", "who")
    list_select_related = ("organization",)
    list_filter = ("to_state", ("organization", admin.RelatedOnlyFieldListFilter))
    search_fields = ("organization__name", "reason")
    date_hierarchy = "at"
    ordering = ("-pk",)


class TakeInForm(forms.Form):
    role = forms.ChoiceField(
        label=_("Role"),
        choices=Membership.Role.choices,
        initial=Membership.Role.VIEWER,
        widget=UnfoldAdminSelectWidget,
    )


@admin.register(JoinRequest, site=staff)
class JoinRequestAdmin(StaffAdmin):
    list_display = ("user", "organization", "state", "created_at", "decided_at", "who")
    list_select_related = ("user", "organization")
    list_filter = ("state", ("organization", admin.RelatedOnlyFieldListFilter))
    search_fields = ("user__email", "user__name", "organization__name")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    actions_detail = ("take_in", "refuse")

    @button(_("Take in"), path="take-in", icon="person_add")
    def take_in(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._row(request, object_id)

        def act(facts: dict[str, Any]) -> None:
            people.approve_join(request=row, role=facts["role"], at=timezone.now(), actor=actor(request))
            self.log_change(request, row, "approved")
            messages.success(request, gettext("%(name)s is a member now.") % {"name": row.user.get_full_name()})

        return asked(
            request,
            title=_("Take in"),
            form=TakeInForm(request.POST if request.method == "POST" else None),
            answer=_("Take in"),
            back=staff.address("marketplace_joinrequest_change", row.pk),
            act=act,
            refusals=(people.DecidedError,),
            intro=_("%(user)s becomes a member of %(organization)s.")
            % {"user": row.user, "organization": row.organization},
            obstacle=self._obstacle(row),
        )

    @button(_("Refuse"), path="refuse", icon="block")
    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._row(request, object_id)
        names = {"user": str(row.user), "organization": str(row.organization)}

        def act() -> None:
            try:
                people.refuse_join(request=row, at=timezone.now(), actor=actor(request))
            except people.DecidedError as error:
                messages.warning(request, str(error))
            else:
                self.log_change(request, row, "refused")
                messages.success(request, gettext("%(name)s is not taken in.") % {"name": row.user.get_full_name()})

        return confirmed(
            request,
            title=_("Refuse"),
            question=gettext("Refuse %(user)s, who asks to join %(organization)s?") % names,
            answer=_("Refuse"),
            back=staff.address("marketplace_joinrequest_change", row.pk),
            act=act,
            obstacle=self._obstacle(row),
        )

    def _row(self, request: HttpRequest, object_id: str) -> JoinRequest:
        row: JoinRequest | None = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    def _obstacle(self, row: JoinRequest) -> str:
        return "" if row.state == JoinRequest.State.ASKED else gettext("It is decided already.")
