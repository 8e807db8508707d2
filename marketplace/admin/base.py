"""What the admin's lists and forms are made of: to look at by default, changed by verbs, figures as everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from django import forms
from django.contrib.admin.filters import RelatedOnlyFieldListFilter
from django.contrib.admin.utils import flatten, get_fields_from_path
from django.db.models import BigIntegerField, Case, CharField, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, NullIf, Substr
from django.http import Http404
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action as unfold_action  # type: ignore[import-untyped]

from billing.documents import figures, labels
from marketplace import access, actors
from marketplace.admin.page import field_named
from marketplace.admin.site import providers
from marketplace.models import User
from marketplace.names import language
from marketplace.permissions import Permission
from marketplace.refusals import for_people

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib import admin
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrPromise

    _ChangeList = ChangeList
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
    _ModelForm = forms.ModelForm[Any]
else:
    from unfold.admin import ModelAdmin as _ModelAdmin
    from unfold.admin import TabularInline as _TabularInline
    from unfold.views import ChangeList as _ChangeList

    _ModelForm = forms.ModelForm

F = TypeVar("F", bound=Callable[..., Any])


def column(
    title: str | _StrPromise, *, order: str | None = None, label: dict[str, str] | None = None, boolean: bool = False
) -> Callable[[F], F]:
    """Make a method a column (or a field of a page). `label` colours values: success, warning, danger or info."""

    def decorate(method: F) -> F:
        about = cast("Any", method)
        about.short_description = title
        if order is not None:
            about.admin_order_field = order
        if label is not None:
            about.label = label
        if boolean:
            about.boolean = True
        return method

    return decorate


def button(title: str | _StrPromise, *, path: str, icon: str | None = None, supply: bool = False) -> Callable[[F], F]:
    """Make a method `(self, request, object_id)` a page of one row, reached by a button at its head.

    supply: only for those who may change what a provider supplies; others neither see nor reach it.
    """
    permissions = ["supply"] if supply else None
    return cast("Callable[[F], F]", unfold_action(description=title, url_path=path, icon=icon, permissions=permissions))


def money(amount_minor: int | None, currency: str) -> str:
    """As on an invoice; a dash where there is none."""
    return "–" if amount_minor is None else figures.money(amount_minor, currency)


class Labelled(tuple[str, Any]):
    """(code, words): a list colours the words by the code; a page shows the words."""

    __slots__ = ()

    def __new__(cls, code: str, words: Any) -> Self:
        return super().__new__(cls, (code, words))

    def __str__(self) -> str:
        return str(self[1])


def word(family: str, code: str) -> str:
    """The word that documents print for a code of a family (kind, tou, unit), in the language of the page."""
    return labels.name(family, code, language())


def actor(request: HttpRequest) -> str:
    return f"user:{request.user.pk}"


class VerbForm(_ModelForm):
    """A form whose facts a verb stores: of something new, or of a row that is there. What the verb refuses stands at the
    field that its message names.
    """

    request: ClassVar[HttpRequest]
    at: ClassVar[datetime]
    refusals: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.row = copy(
            self.instance
        )  # as it is stored: Django writes the form's facts into `instance` before the verb

    def tell(self, facts: dict[str, Any]) -> Model:
        """Call the verb with the form's facts and give back the row."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's hook after the fields' own checks
        if self.errors:
            return
        try:
            self.instance = self.tell(self.cleaned_data)
        except self.refusals as refusal:
            self.add_error(self._field_of(refusal), self._words_of(refusal))

    def _get_validation_exclusions(self) -> set[str]:
        """All: the verb says what the model's own checks would, in words that name field, value and what would be right."""
        return {field.name for field in self.instance._meta.fields}  # noqa: SLF001  - Django's name for it

    def _field_of(self, refusal: Exception) -> str | None:
        return field_named(self, refusal)

    def _words_of(self, refusal: Exception) -> str:
        return for_people(refusal)

    def save(self, commit: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002  - Django's signature; the verb has saved it
        self.save_m2m = lambda: None  # type: ignore[method-assign]  # as Django itself does
        return self.instance


class _List(_ChangeList):
    """Without filters all rows are the result: nothing is counted a second time, and no "show all" is offered."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


def _said(field: str, row: Any) -> str:
    """Whom the reader may know by name; else what they are. Of a row that _with_names() asked for."""
    name: str | None = getattr(row, f"{field}_name")
    return name or actors.words(getattr(row, field))


class _Told:
    """Who did what a row says, by name, in each field of the model that holds an actor, without a query of its own; `who` is
    the field `actor` under a shorter title.
    """

    model: Any

    @column(_("by"), order="actor")
    def who(self, row: Any) -> str:
        return _said("actor", row)

    def _actors(self) -> list[Any]:
        return [field for field in self.model._meta.fields if field.name in actors.FIELDS]  # noqa: SLF001  - Django's name

    def _with_names(self, rows: QuerySet[Any], people: QuerySet[User]) -> QuerySet[Any]:
        for field in self._actors():
            is_user = Q(**{f"{field.name}__regex": actors.IS_USER})
            user_id = Case(When(is_user, then=Cast(Substr(field.name, len(actors.USER) + 1), BigIntegerField())))
            called = Coalesce(NullIf("name", Value("")), "email", output_field=CharField())
            named = people.filter(pk=OuterRef(f"{field.name}_user")).order_by().annotate(called=called)
            rows = rows.annotate(**{f"{field.name}_user": user_id})
            rows = rows.annotate(**{f"{field.name}_name": Subquery(named.values("called")[:1])})
        return rows


class _Admin(_Told, _ModelAdmin):
    """What the rows of one model are shown and changed with. To look at: `add_form` lets people add, by a verb."""

    add_form: type[VerbForm] | None = None

    actions: Any = None
    compressed_fields = True
    list_fullwidth = True
    list_per_page = 50
    show_full_result_count = False
    show_facets = "NEVER"  # type: ignore[assignment]  # counts beside filters ask the database once for each

    def __init__(self, model: type[Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        for field in self._actors():
            setattr(self, self._told(field.name), self._teller(field))

    @staticmethod
    def _told(name: str) -> str:
        """What stands in the place of a field that holds an actor."""
        return f"{name}_told" if name in actors.FIELDS else name

    @staticmethod
    def _teller(field: Any) -> Any:
        @column(field.verbose_name, order=field.name)
        def told(row: Any) -> str:
            return _said(field.name, row)

        return told

    def get_list_display(self, request: HttpRequest) -> Any:
        return [self._told(each) if isinstance(each, str) else each for each in super().get_list_display(request)]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return _List

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None and self.add_form is not None:
            return list(self.add_form.base_fields)
        shown = [
            self._told(each) if isinstance(each, str) else tuple(map(self._told, each))
            for each in super().get_fields(request, obj)
        ]
        return list(dict.fromkeys(shown))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        if obj is None and self.add_form is not None:
            kwargs["form"] = self.add_form
        form = super().get_form(request, obj, change=change, **kwargs)
        if issubclass(form, VerbForm):
            form.request = request
        return form

    def row(self, request: HttpRequest, object_id: str) -> Any:
        """The row of this id, among those that the user sees here, or a 404."""
        found = self.get_object(request, object_id)
        if found is None:
            raise Http404
        return found

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        told = [self._told(field.name) for field in self._actors()]
        return [*super().get_readonly_fields(request, obj), *told, *({"who"} & set(flatten(self.fields or ())))]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return [] if obj is None else super().get_inlines(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        if not isinstance(form, VerbForm):
            super().save_model(request, obj, form, change)


class StaffAdmin(_Admin):
    """The rows of one model for staff: `changeable` names fields that they change.

    Staff need no rows of Django's permission table: being staff is the permission, as in marketplace.access.
    """

    changeable: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self._with_names(super().get_queryset(request), User.objects.all())

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access.is_staff(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  - Django's signature
        return access.is_staff(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.add_form is not None and access.is_staff(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return bool(self.changeable) and access.is_staff(request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        own = super().get_readonly_fields(request, obj)
        if not self.changeable:
            return own
        fields = [field.name for field in self.opts.fields if not field.primary_key]
        return [*own, *(name for name in fields if name not in self.changeable)]


class ProviderAdmin(_Admin):
    """A provider's own rows of one model, and nobody else's. Every way to rows leads through `access.supply_for`.

    The list, its filters, search, actions and export, a row's page, its history and buttons take `get_queryset`; what a
    form offers takes `choices`, so that a forged foreign key is a wrong choice. Every member sees; those who may supply
    change, by verbs: `add_form` what is new, `change_form` what is there. `fields` says all that is shown of a row: what a
    reservation costs, for one, is its buyer's.
    """

    change_form: type[VerbForm] | None = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = providers.rows(request, self.model).order_by(*self.get_ordering(request))
        return self._with_names(rows, _fellows(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return providers.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  - Django's signature
        return providers.has_permission(request)

    def has_supply_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002  - unfold's
        return providers.may(request, Permission.SUPPLY)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.add_form is not None and self.has_supply_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.change_form is not None and self.has_supply_permission(request) and self.is_changeable(obj)

    def is_changeable(self, row: Any) -> bool:  # noqa: ARG002
        """May the form change this row, as it stands? None: any row."""
        return True

    def _get_obj_does_not_exist_redirect(self, _request: HttpRequest, _opts: Any, _object_id: str) -> Any:
        """In place of Django's way back to the first page with a message."""
        raise Http404

    def choices(self, request: HttpRequest, model: type[Model]) -> QuerySet[Any]:
        """What a form may name of a model: the provider's own rows, and all of what is open to everybody."""
        if model in access.SUPPLIED:
            return providers.rows(request, model)
        return access.rows_for(model, request.user) if model in access.OPEN else model._default_manager.none()  # noqa: SLF001

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = self.choices(request, db_field.remote_field.model)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = self.choices(request, db_field.remote_field.model)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the ways to add and to look up beside a drop-down: the lists are a click away."""
        made: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        for way in ("can_add_related", "can_change_related", "can_view_related", "can_delete_related"):
            if hasattr(getattr(made, "widget", None), way):
                setattr(made.widget, way, False)
        return made

    def get_list_filter(self, request: HttpRequest) -> Any:
        """A filter by a relation offers what the list itself has, never all there is."""
        return [self._narrow(each) for each in super().get_list_filter(request)]

    def _narrow(self, each: Any) -> Any:
        if isinstance(each, str) and get_fields_from_path(self.model, each)[-1].is_relation:
            return (each, RelatedOnlyFieldListFilter)
        return each

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """By filters of the list alone. Django itself lets an address filter by any field, also by one that isn't shown."""
        assert request is not None
        named = [each[0] if isinstance(each, (tuple, list)) else each for each in self.get_list_filter(request)]
        fields = [each for each in (*named, self.date_hierarchy) if isinstance(each, str)]
        is_named = any(lookup == field or lookup.startswith(f"{field}__") for field in fields)
        return is_named and super().lookup_allowed(lookup, value, request)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        if obj is not None and self.change_form is not None and self.has_change_permission(request, obj):
            kwargs["form"] = self.change_form
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and self.change_form is not None and self.has_change_permission(request, obj):
            shown = [each for each in super().get_fields(request, obj) if each not in self.change_form.base_fields]
            return [*self.change_form.base_fields, *shown]
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        own = super().get_readonly_fields(request, obj)
        if self.change_form is None or not self.has_change_permission(request, obj):
            return own
        return [*own, *(each for each in flatten(self.fields or ()) if each not in self.change_form.base_fields)]

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """What the provider's own people did. Who of the zone's staff did what is not theirs to see."""
        answer = super().history_view(request, object_id, extra_context)
        context = getattr(answer, "context_data", None)
        if context is not None:
            fellows = access.users_for(request.user, within=providers.organization(request))
            shown = context["action_list"].paginator.object_list.filter(user__in=fellows)
            context["action_list"] = self.get_paginator(request, shown, 100).get_page(request.GET.get("p", 1))
        return answer


def _fellows(request: HttpRequest) -> QuerySet[User]:
    return access.users_for(request.user, within=providers.organization(request)).filter(
        memberships__organization=providers.organization(request)
    )


class _Inline(_Told, _TabularInline):
    """Rows that belong to the one on the page: to look at."""

    extra = 0
    can_delete = False
    show_change_link = False
    hide_title = True
    per_page = 20

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *({"who"} & set(self.fields or ()))]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class StaffInline(_Inline):
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self._with_names(super().get_queryset(request), User.objects.all())

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return access.is_staff(request.user)


class ProviderInline(_Inline):
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = providers.rows(request, self.model).order_by(*(self.ordering or ("pk",)))
        return self._with_names(rows, _fellows(request))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return providers.has_permission(request)


STATES = {"open": "info", "closed": "success", "draft": "warning", "issued": "success"}
"""The colours of states that several lists show."""
