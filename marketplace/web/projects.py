"""The projects of the current organization: what reservations are for, and what they may cost in a month."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from billing.documents.figures import major, money
from billing.rating.money import exponent
from marketplace import access, projects
from marketplace.permissions import Permission
from marketplace.web import page
from marketplace.web.organization import current
from marketplace.web.page import actor

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from marketplace.models import Organization, Project


class ProjectForm(forms.Form):
    """`monthly_limit` in units of the zone's currency; cleaned, it is in minor units."""

    code = forms.SlugField(
        label=_("Code"),
        max_length=40,
        help_text=_("Letters, digits, - and _. It stays: reports know the project by it."),
    )
    name = forms.CharField(label=_("Name"), max_length=100)
    cost_centre = forms.CharField(label=_("Cost centre"), max_length=60, required=False)
    monthly_limit = forms.CharField(
        label=_("Monthly limit"),
        max_length=20,
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    warn_percents = forms.CharField(
        label=_("Warn at, %"),
        max_length=60,
        required=False,
        help_text=_("Of the limit; several with commas, such as 80, 100."),
    )
    is_hard = forms.BooleanField(label=_("Refuse reservations beyond the limit"), required=False)

    def __init__(self, *arguments: Any, currency: str, is_new: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._currency = currency
        said = _("Net, in %(currency)s, such as 50000 or 50000.00. Empty: none.") % {"currency": currency}
        self.fields["monthly_limit"].help_text = said
        if not is_new:
            del self.fields["code"]

    def clean_monthly_limit(self) -> int | None:
        text = self.cleaned_data["monthly_limit"].replace(",", "").replace(" ", "")
        if not text:
            return None
        try:
            minor = Decimal(text).scaleb(exponent(self._currency))
        except InvalidOperation as error:
            raise forms.ValidationError(_("Write an amount, such as 50000.00.")) from error
        if not minor.is_finite() or minor < 0 or minor != minor.to_integral_value() or minor >= 10**15:
            raise forms.ValidationError(_("Write an amount, such as 50000.00."))
        return int(minor)

    def clean_warn_percents(self) -> list[int]:
        parts = self.cleaned_data["warn_percents"].replace("，", ",").replace("%", "").split(",")
        texts = [part.strip() for part in parts if part.strip()]
        if (
            not all(text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= 1000 for text in texts)
            or len(texts) > 10
        ):
            raise forms.ValidationError(_("Write whole numbers with commas, such as 80, 100."))
        return [int(text) for text in texts]

    def facts(self) -> dict[str, Any]:
        """For the verbs."""
        facts = dict(self.cleaned_data)
        return facts | {"monthly_limit_minor": facts.pop("monthly_limit")}


def _currency(ours: Organization) -> str:
    return ours.zone.issuer.currency


def _rows(request: HttpRequest, ours: Organization) -> QuerySet[Project]:
    return access.projects_for(request.user, within=ours)


@require_http_methods(["GET", "HEAD", "POST"])
def list_projects(request: HttpRequest) -> HttpResponse:
    """The projects; a POST adds one."""
    here = page.of(request)
    if here.organization is None and access.is_staff(request.user):
        return redirect("organization")
    ours = current(request, Permission.SEE_ORGANIZATION)
    currency = _currency(ours)
    form = None
    if Permission.MANAGE_PROJECTS in here.permissions:
        first = {"warn_percents": ", ".join(map(str, projects.WARN_PERCENTS)), "is_hard": True}
        form = ProjectForm(currency=currency, is_new=True, initial=first)
    if request.method == "POST":
        current(request, Permission.MANAGE_PROJECTS)
        form = ProjectForm(request.POST, currency=currency, is_new=True)
        if form.is_valid() and _added(request, ours, form):
            return redirect("projects")
    rows = [
        (project, "–" if project.monthly_limit_minor is None else money(project.monthly_limit_minor, currency))
        for project in _rows(request, ours).order_by("archived_at", "code")
    ]
    shown = [row for row in rows if row[0].archived_at is None]
    archived = [row for row in rows if row[0].archived_at is not None]
    context = {"shown": shown, "archived": archived, "form": form}
    return render(request, "marketplace/projects.html", context)


def _added(request: HttpRequest, ours: Organization, form: ProjectForm) -> bool:
    try:
        projects.add_project(organization=ours, **form.facts(), at=timezone.now(), actor=actor(request))
    except projects.ProjectTakenError:
        form.add_error("code", _("Another project has this code, perhaps an archived one."))
        return False
    messages.success(request, gettext("The project %(name)s is there.") % {"name": form.cleaned_data["name"]})
    return True


def _project(request: HttpRequest, code: str) -> Project:
    ours = current(request, Permission.MANAGE_PROJECTS)
    rows = _rows(request, ours).select_related("organization__zone__issuer")
    return get_object_or_404(rows, code=code)


@require_http_methods(["GET", "HEAD", "POST"])
def change_project(request: HttpRequest, code: str) -> HttpResponse:
    project = _project(request, code)
    currency = _currency(project.organization)
    limit = project.monthly_limit_minor
    first = {
        "name": project.name,
        "cost_centre": project.cost_centre,
        "monthly_limit": "" if limit is None else f"{major(limit, currency):f}",
        "warn_percents": ", ".join(map(str, project.warn_percents)),
        "is_hard": project.is_hard,
    }
    data = request.POST if request.method == "POST" else None
    form = ProjectForm(data, currency=currency, is_new=False, initial=first)
    if form.is_bound and form.is_valid():
        projects.change_project(project=project, **form.facts(), actor=actor(request))
        messages.success(request, gettext("The project %(name)s is changed.") % {"name": form.cleaned_data["name"]})
        return redirect("projects")
    return render(request, "marketplace/project.html", {"project": project, "form": form})


@require_POST
def archive_project(request: HttpRequest, code: str) -> HttpResponse:
    """Archive it, or, with `restore`, bring it back."""
    project = _project(request, code)
    name = {"name": project.name}
    if "restore" in request.POST:
        projects.restore_project(project=project, actor=actor(request))
        messages.success(request, gettext("The project %(name)s is back.") % name)
    elif "archive" in request.POST:
        projects.archive_project(project=project, at=timezone.now(), actor=actor(request))
        messages.success(request, gettext("The project %(name)s is archived. It can be brought back below.") % name)
    else:
        raise Http404
    return redirect("projects")
