"""The current organization: who belongs to it, is invited or asks to join, and the switch to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from marketplace import access, invitations, limits, people
from marketplace.models import JoinRequest, Membership, Organization, User
from marketplace.permissions import Permission
from marketplace.web import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class InviteForm(forms.Form):
    """Any address can be invited, and the answer is the same for all but members: it tells nobody who has an account."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), choices=Membership.Role.choices, initial=Membership.Role.VIEWER)


def current(request: HttpRequest, permission: Permission) -> Organization:
    """The current organization, in which one may do this; a 404 for others."""
    here = page.of(request)
    if here.organization is None or permission not in here.permissions:
        raise Http404
    return here.organization


@require_http_methods(["GET", "HEAD", "POST"])
def organization(request: HttpRequest) -> HttpResponse:
    """The members, who is invited, who asks to join; a POST invites."""
    here = page.of(request)
    if here.organization is None:
        own = request.user.join_requests.all() if isinstance(request.user, User) else JoinRequest.objects.none()
        asked = own.filter(state=JoinRequest.State.ASKED)
        return render(request, "marketplace/organizations.html", {"asked": asked.select_related("organization")})
    ours = current(request, Permission.SEE_ORGANIZATION)
    form = InviteForm()
    if request.method == "POST":
        current(request, Permission.MANAGE_MEMBERS)
        form = InviteForm(request.POST)
        if form.is_valid() and _invited(request, ours, form):
            return redirect("organization")
    context: dict[str, Any] = {"organization": ours, "form": form, "roles": Membership.Role.choices}
    context["members"] = access.members_for(request.user, within=ours).select_related("user").order_by("user__email")
    if Permission.MANAGE_MEMBERS in here.permissions:
        now = timezone.now()
        invited = access.invitations_for(request.user, within=ours).filter(accepted_at=None, revoked_at=None)
        asking = access.join_requests_for(request.user, within=ours).filter(state=JoinRequest.State.ASKED)
        context["invitations"] = [(each, each.expires_at <= now) for each in invited]
        context["asking"] = asking.select_related("user")
    return render(request, "marketplace/organization.html", context)


def _invited(request: HttpRequest, ours: Organization, form: InviteForm) -> bool:
    if _too_many(request, ours):
        return False
    email, name = form.cleaned_data["email"], _name_of(request)
    try:
        invitations.invite(
            organization=ours,
            email=email,
            role=form.cleaned_data["role"],
            language=get_language() or "",
            inviter=name,
            at=timezone.now(),
            actor=page.actor(request),
        )
    except invitations.MemberAlreadyError:
        form.add_error("email", _("This person is a member already; change the role in the list."))
        return False
    messages.success(request, gettext("An invitation is on its way to %(email)s.") % {"email": email})
    return True


def _too_many(request: HttpRequest, ours: Organization) -> bool:
    if limits.refused([("invite", str(ours.pk), limits.LETTERS_A_DAY, limits.DAY)], at=timezone.now()):
        messages.error(request, gettext("Too many invitations today. Try again tomorrow."))
        return True
    return False


def _name_of(request: HttpRequest) -> str:
    user = request.user
    return user.get_full_name() if isinstance(user, User) else ""


@require_POST
def change_invitation(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Send it again, or, with `revoke`, take it back."""
    ours = current(request, Permission.MANAGE_MEMBERS)
    invitation = get_object_or_404(access.invitations_for(request.user, within=ours), pk=invitation_id)
    email = {"email": invitation.email}
    try:
        if "revoke" in request.POST:
            invitations.revoke(invitation=invitation, at=timezone.now())
            messages.success(request, gettext("The invitation of %(email)s is taken back.") % email)
        elif not _too_many(request, ours):
            invitations.send_again(
                invitation=invitation, inviter=_name_of(request), at=timezone.now(), actor=page.actor(request)
            )
            messages.success(request, gettext("A new invitation is on its way to %(email)s.") % email)
    except invitations.InvitationAcceptedError:
        messages.warning(request, gettext("The invitation of %(email)s was accepted meanwhile.") % email)
    except invitations.InvitationRevokedError:
        messages.warning(request, gettext("The invitation of %(email)s was taken back meanwhile.") % email)
    return redirect("organization")


@require_POST
def decide_join(request: HttpRequest, request_id: int) -> HttpResponse:
    """Take in who asks to join, in a role, or, with `refuse`, don't."""
    ours = current(request, Permission.MANAGE_MEMBERS)
    rows = access.join_requests_for(request.user, within=ours).select_related("user", "organization")
    asked = get_object_or_404(rows, pk=request_id)
    name = {"name": asked.user.get_full_name()}
    try:
        if "refuse" in request.POST:
            people.refuse_join(request=asked, at=timezone.now(), actor=page.actor(request))
            messages.success(request, gettext("%(name)s is not taken in.") % name)
        elif request.POST.get("role") in Membership.Role.values:
            people.approve_join(request=asked, role=request.POST["role"], at=timezone.now(), actor=page.actor(request))
            messages.success(request, gettext("%(name)s is a member now.") % name)
        else:
            raise Http404
    except people.DecidedError:
        messages.warning(request, gettext("Somebody has decided on %(name)s already.") % name)
    return redirect("organization")


@require_POST
def change_member(request: HttpRequest, member_id: int) -> HttpResponse:
    """Give a member another role, or, with `remove`, end the membership."""
    ours = current(request, Permission.MANAGE_MEMBERS)
    members = access.members_for(request.user, within=ours).select_related("user")
    user = get_object_or_404(members, pk=member_id).user
    name = {"name": user.get_full_name()}
    try:
        if "remove" in request.POST:
            people.remove_member(organization=ours, user=user, at=timezone.now(), actor=page.actor(request))
            messages.success(request, gettext("%(name)s is no longer a member.") % name)
        elif request.POST.get("role") in Membership.Role.values:
            role = request.POST["role"]
            people.change_role(organization=ours, user=user, role=role, at=timezone.now(), actor=page.actor(request))
            messages.success(request, gettext("The role of %(name)s is changed.") % name)
        else:
            raise Http404
    except people.LastOwnerError:
        messages.error(request, gettext("An organization needs an owner: make somebody else one first."))
    except people.NotMemberError:
        messages.warning(request, gettext("%(name)s is no longer a member.") % name)
    return redirect("organization")


@require_POST
def switch_organization(request: HttpRequest) -> HttpResponse:
    """Make another of one's organizations the current one; staff can also go back to looking at all."""
    wanted = request.POST.get("organization", "")
    if not wanted and access.is_staff(request.user):
        request.session.pop(page.ORGANIZATION_IN_SESSION, None)
        return page.back(request)
    if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 18:
        raise Http404
    chosen = get_object_or_404(access.organizations_for(request.user), pk=wanted)
    request.session[page.ORGANIZATION_IN_SESSION] = chosen.pk
    return redirect("start")
