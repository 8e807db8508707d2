"""Organizations, their members, users, API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import transaction
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm  # type: ignore[import-untyped]
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget  # type: ignore[import-untyped]

from marketplace import access, keys, people, second_factor
from marketplace.admin.base import Labelled, StaffAdmin, StaffInline, VerbForm, actor, button, column
from marketplace.admin.page import confirmed
from marketplace.admin.site import staff
from marketplace.admin.verification import ChangeInline, VerificationActions
from marketplace.models import ApiKey, Membership, MembershipChange, Organization, User

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse


class OrganizationForm(VerbForm):
    parts = forms.MultipleChoiceField(
        label=_("Parts"),
        choices=[
            ("buyer", _("Buyer")),
            ("provider", _("Provider")),
            ("funder", _("Funder")),
            ("operator", _("Operator")),
        ],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    refusals = (people.NoPartError, people.OrganizationDiffersError)

    class Meta:
        model = Organization
        fields = ("zone", "party", "name")

    def tell(self, facts: dict[str, Any]) -> Model:
        return people.make_organization(**facts | {"parts": set(facts["parts"])})


class MemberInline(StaffInline):
    model = Membership
    fields = ("user", "role", "since_at", "who")
    ordering = ("user__email",)
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user")


class MembershipChangeInline(StaffInline):
    model = MembershipChange
    fields = ("at", "user", "from_role", "to_role", "who")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[MembershipChange]:
        return super().get_queryset(request).select_related("user")


@admin.register(Organization, site=staff)
class OrganizationAdmin(VerificationActions, StaffAdmin):
    add_form = OrganizationForm
    changeable = ("name", "is_buyer", "is_provider", "is_funder", "is_operator")
    autocomplete_fields = ("party", "zone")
    list_display = ("name", "party", "zone", "status", "is_buyer", "is_provider", "is_funder", "is_operator")
    list_select_related = ("party", "zone")
    list_filter = (
        "state",
        "is_buyer",
        "is_provider",
        "is_funder",
        "is_operator",
        ("zone", admin.RelatedOnlyFieldListFilter),
    )
    search_fields = ("name", "party__legal_name", "party__legal_name_en", "party__credit_code")
    ordering = ("name", "pk")
    inlines = (MemberInline, ChangeInline, MembershipChangeInline)
    actions_detail = ("verify", "refuse", "suspend", "reinstate")

    @column(
        _("state"),
        order="state",
        label={"pending": "warning", "verified": "success", "refused": "danger", "suspended": "danger"},
    )
    def status(self, organization: Organization) -> Labelled:
        return Labelled(organization.state, organization.get_state_display())


class MembershipForm(VerbForm):
    refusals = (people.AlreadyMemberError,)

    class Meta:
        model = Membership
        fields = ("organization", "user", "role")

    def tell(self, facts: dict[str, Any]) -> Model:
        return people.add_member(**facts, at=timezone.now(), actor=actor(self.request))


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no parameter when it runs
    """Another role for a member. The verb is called when the form is checked, since it may refuse."""

    request: HttpRequest

    class Meta:
        model = Membership
        fields = ("role",)

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        row = self.instance
        try:
            people.change_role(
                organization=row.organization,
                user=row.user,
                role=row.role,
                at=timezone.now(),
                actor=actor(self.request),
            )
        except people.LastOwnerError:
            self.add_error("role", gettext("An organization needs an owner: make somebody else one first."))
        except people.NotMemberError as refusal:
            self.add_error(None, str(refusal))


@admin.register(Membership, site=staff)
class MembershipAdmin(StaffAdmin):
    add_form = MembershipForm
    form = RoleForm
    changeable = ("role",)
    autocomplete_fields = ("organization", "user")
    list_display = ("user", "organization", "role", "since_at", "who")
    list_select_related = ("user", "organization")
    list_filter = ("role", ("organization", admin.RelatedOnlyFieldListFilter))
    search_fields = ("user__email", "user__name", "organization__name")
    date_hierarchy = "since_at"
    ordering = ("organization__name", "user__email")
    actions_detail = ("remove",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        form = super().get_form(request, obj, change=change, **kwargs)
        form.request = request
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        """The forms have called the verbs."""

    @button(_("End the membership"), path="remove", icon="person_remove")
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        membership = self.get_object(request, object_id)
        if membership is None:
            raise Http404
        names = {"user": str(membership.user), "organization": str(membership.organization)}

        def act() -> None:
            try:
                with transaction.atomic():
                    self.log_deletions(request, Membership.objects.filter(pk=membership.pk))
                    people.remove_member(
                        organization=membership.organization,
                        user=membership.user,
                        at=timezone.now(),
                        actor=actor(request),
                    )
            except people.LastOwnerError:
                messages.error(request, gettext("An organization needs an owner: make somebody else one first."))
            else:
                messages.success(request, gettext("%(user)s is no longer a member of %(organization)s.") % names)

        return confirmed(
            request,
            title=_("End the membership"),
            question=gettext("End the membership of %(user)s in %(organization)s?") % names,
            answer=_("End the membership"),
            back=staff.address("marketplace_membership_changelist"),
            act=act,
        )


# Users


class NewUserForm(UserCreationForm):  # type: ignore[misc]  # unfold has no types
    class Meta:
        model = User
        fields = ("email", "name")
        field_classes: ClassVar[dict[str, Any]] = {}


class ChangedUserForm(UserChangeForm):  # type: ignore[misc]
    class Meta:
        model = User
        fields = "__all__"
        field_classes: ClassVar[dict[str, Any]] = {}


class UserMembershipInline(StaffInline):
    model = Membership
    fields = ("organization", "role", "since_at", "who")
    ordering = ("organization__name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("organization")


@admin.register(User, site=staff)
class UserAdmin(StaffAdmin, DjangoUserAdmin):  # type: ignore[type-arg]  # Django's class takes none when it runs
    """People. None is deleted: `is_active` is taken away. Who is staff is for superusers to say, and theirs to change."""

    add_form = NewUserForm
    form = ChangedUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "language", "is_staff", "is_active", "last_login", "date_joined")
    list_filter = ("is_staff", "is_superuser", "is_active", "language")
    search_fields = ("email", "name")
    ordering = ("email",)
    date_hierarchy = "date_joined"
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined", "second_factor_since")
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "language")}),
        (_("Rights"), {"fields": ("is_active", "is_staff", "is_superuser")}),
        (_("Dates"), {"fields": ("last_login", "date_joined", "second_factor_since")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)
    inlines = (UserMembershipInline,)
    actions_detail = ("reset_second_factor",)

    @button(_("Reset the second factor"), path="reset-second-factor", icon="phonelink_erase")
    def reset_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.get_object(request, object_id)
        if user is None or not self.has_change_permission(request, user):
            raise Http404

        def act() -> None:
            if second_factor.reset(user=user):
                self.log_change(request, user, "second factor reset")
                messages.success(request, gettext("The second factor of %(user)s is reset.") % {"user": str(user)})
            else:
                messages.warning(request, gettext("There was no second factor any more."))

        return confirmed(
            request,
            title=_("Reset the second factor"),
            question=gettext(
                "Take away the second factor of %(user)s? Make sure who asks: with the password alone one then signs in"
                " and sets up a new one. The user is told."
            )
            % {"user": str(user)},
            answer=_("Reset"),
            back=staff.address("marketplace_user_change", user.pk),
            act=act,
            obstacle=self._reset_obstacle(request, user),
        )

    def _reset_obstacle(self, request: HttpRequest, user: User) -> str:
        """One's own takes a code, so that a browser left open is not enough to take it away."""
        if user == request.user:
            return gettext("Change your own second factor on its page, with a code.")
        return "" if user.second_factor_since else gettext("This user has no second factor.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return access.is_staff(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not access.is_staff(request.user):
            return False
        return obj is None or request.user.is_superuser or obj == request.user or not (obj.is_staff or obj.is_superuser)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002
        rights = () if request.user.is_superuser else ("is_staff", "is_superuser")
        return (*self.readonly_fields, *rights)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return DjangoUserAdmin.get_fields(self, request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        return DjangoUserAdmin.get_form(self, request, obj, change=change, **kwargs)


# Keys


@admin.register(ApiKey, site=staff)
class ApiKeyAdmin(StaffAdmin):
    """Keys are made by their organization, or on the command line: what they are can be seen only once."""

    list_display = ("__str__", "name", "organization", "may", "status", "created_at", "expires_at", "last_used_at")
    list_select_related = ("organization",)
    list_filter = (
        ("revoked_at", admin.EmptyFieldListFilter),
        ("last_used_at", admin.EmptyFieldListFilter),
        ("organization", admin.RelatedOnlyFieldListFilter),
    )
    search_fields = ("name", "prefix", "organization__name")
    date_hierarchy = "created_at"
    fields = (
        "name",
        "prefix",
        "organization",
        "may",
        "status",
        "created_at",
        "created_by",
        "parent",
        "expires_at",
        "revoked_at",
        "revoked_by",
        "revoked_because",
        "last_used_at",
    )
    readonly_fields = ("may", "status", "prefix")
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)

    @column(_("scopes"))
    def may(self, key: ApiKey) -> str:
        return ", ".join(str(ApiKey.Scope(scope).label) for scope in key.scopes)

    @column(_("state"), label={"active": "success", "expired": "warning", "revoked": "danger"})
    def status(self, key: ApiKey) -> Labelled:
        if key.revoked_at is not None:
            return Labelled("revoked", _("revoked"))
        if key.expires_at is not None and key.expires_at <= timezone.now():
            return Labelled("expired", _("expired"))
        return Labelled("active", _("active"))

    @admin.action(description=_("Revoke the selected keys"))
    def revoke_selected(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        chosen = list(rows)
        for key in chosen:
            self._revoke(request, key)
        said = ngettext("%(count)d key is revoked.", "%(count)d keys are revoked.", len(chosen))
        messages.success(request, said % {"count": len(chosen)})

    @button(_("Revoke"), path="revoke", icon="key_off")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.get_object(request, object_id)
        if key is None:
            raise Http404
        back = staff.address("marketplace_apikey_change", key.pk)
        return confirmed(
            request,
            title=_("Revoke an API key"),
            question=gettext("Revoke %(key)s, %(name)s, of %(organization)s? It is refused from then on, for ever.")
            % {"key": str(key), "name": key.name, "organization": str(key.organization)},
            answer=_("Revoke"),
            back=back,
            act=lambda: self._revoke(request, key),
            obstacle=gettext("The key is revoked.") if key.revoked_at is not None else "",
        )

    def _revoke(self, request: HttpRequest, key: ApiKey) -> None:
        keys.revoke_key(key=key, at=timezone.now(), actor=actor(request))
        self.log_change(request, key, "revoked")
