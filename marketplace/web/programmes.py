"""Programmes of the zone: what they pay, whether the firm may have them, and the form to apply."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from billing import parties, programmes
from billing.models import Evidence, Grant, Programme, ProgrammeRule
from billing.rating import eligibility
from marketplace import access
from marketplace import programme_terms as terms
from marketplace.names import named
from marketplace.permissions import Permission
from marketplace.web import facts, page
from marketplace.web.organization import current
from marketplace.web.page import actor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

    from marketplace.models import Organization

MOST_DOCUMENTS = 10
STANDING = (Grant.State.APPLIED, Grant.State.APPROVED, Grant.State.SUSPENDED)
"""In which a firm can't apply again."""
TONES = {
    Grant.State.APPLIED: "info",
    Grant.State.APPROVED: "good",
    Grant.State.REJECTED: "bad",
    Grant.State.SUSPENDED: "warn",
}


class _Documents(forms.ClearableFileInput):
    allow_multiple_selected = True


class DocumentsField(forms.FileField):
    """Several files of the types and the size that are taken as evidence; what is in them is looked at when they are kept."""

    widget = _Documents

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        sent = data if isinstance(data, list | tuple) else [data] if data else []
        if len(sent) > MOST_DOCUMENTS:
            said = _("There are %(number)s files: at most %(most)s can be sent at once.")
            raise forms.ValidationError(said, params={"number": len(sent), "most": MOST_DOCUMENTS})
        clean = super().clean
        return [facts.of_size(clean(each, initial)) for each in sent]


class ApplicationForm(forms.Form):
    statement = forms.CharField(
        label=_("What the computing is for"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=_("The zone's operator and the funder read it."),
    )
    documents = DocumentsField(
        label=_("Documents"),
        required=False,
        max_length=200,
        help_text=_("PDF, PNG or JPEG, each of at most 10 MB, at most 10 at once."),
        widget=_Documents(attrs=facts.TAKEN),
    )
    kept = forms.ModelMultipleChoiceField(
        label=_("Documents that are here already"),
        queryset=Evidence.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *arguments: Any, kept: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        field = self.fields["kept"]
        if isinstance(field, forms.ModelMultipleChoiceField):
            field.queryset = kept
        if not kept:
            del self.fields["kept"]

    def clean_statement(self) -> str:
        return "\n".join(self.cleaned_data["statement"].splitlines())


@require_safe
def list_programmes(request: HttpRequest) -> HttpResponse:
    """Those that are open or paused, with what the firm's facts mean for each."""
    ours = current(request, Permission.SEE_ORGANIZATION)
    found = access.programmes_for(request.user, within=ours).filter(
        state__in=[Programme.State.OPEN, Programme.State.PAUSED]
    )
    rows = list(found.select_related("funder", "issuer").order_by("priority", "code"))
    known = programmes.facts_of(party=ours.party)
    own = _standing(request, ours)
    at = timezone.now()
    shown = [_card(each, known, own.get(each.pk), at) for each in rows]
    context = {"cards": shown, "has_grants": bool(own), "tab": "programmes"}
    return render(request, "marketplace/programmes.html", context)


def _standing(request: HttpRequest, ours: Organization) -> dict[int, Grant]:
    """The firm's grant of each programme that it can't apply for again."""
    grants = access.grants_for(request.user, within=ours).filter(state__in=STANDING)
    return {grant.programme_id: grant for grant in grants.order_by("pk")}


def _card(programme: Programme, known: Sequence[eligibility.Fact], grant: Grant | None, at: datetime) -> dict[str, Any]:
    on_date = programmes.local_date(programme=programme, at=at)
    findings = eligibility.check(programme.eligibility, known, on_date)
    return {
        "programme": programme,
        "name": named(programme),
        "funder": programme.funder.legal_name if programme.funder else programme.funder_name,
        "share": terms.share(programme),
        "limits": terms.limits(programme),
        "charges": terms.charges(programme),
        "window": terms.window(programme),
        "rules": terms.judged(programme.eligibility, [asdict(each) for each in findings]),
        "grant": grant,
        "tone": TONES.get(grant.state, "") if grant else "",  # type: ignore[call-overload]
        "is_open": programme.state == Programme.State.OPEN,
    }


@require_http_methods(["GET", "HEAD", "POST"])
def programme(request: HttpRequest, code: str) -> HttpResponse:
    """What it pays, with the sources of its rules; a POST applies."""
    ours = current(request, Permission.SEE_ORGANIZATION)
    rows = access.programmes_for(request.user, within=ours).select_related("funder", "issuer")
    found = get_object_or_404(rows, code=code, issuer=ours.zone.issuer_id)
    may_apply = page.of(request).may["apply"]
    standing = _standing(request, ours).get(found.pk)
    form = None
    if may_apply and standing is None and found.state == Programme.State.OPEN:
        form = ApplicationForm(kept=_kept(request, ours))
    if request.method == "POST":
        current(request, Permission.APPLY)
        form = ApplicationForm(request.POST, request.FILES, kept=_kept(request, ours))
        if form.is_valid():
            grant = _applied(request, ours, found, form)
            if grant is not None:
                return redirect("grant", grant.pk)
        if found.state != Programme.State.OPEN or standing is not None:
            return redirect("programme", code)
    known = programmes.facts_of(party=ours.party)
    sourced = {rule.name: rule for rule in found.rules.all()}
    context = {
        **_card(found, known, standing, timezone.now()),
        "form": form,
        "tab": "programmes",
        "sources": [rule for rule in sourced.values() if rule.says is not None],
        "unknown": [
            label for name, label in ProgrammeRule.Name.choices if name not in sourced or sourced[name].says is None
        ],
    }
    return render(request, "marketplace/programme.html", context)


def _kept(request: HttpRequest, ours: Organization) -> Any:
    return access.evidence_for(request.user, within=ours).defer("content").order_by("-uploaded_at", "-pk")


def _applied(request: HttpRequest, ours: Organization, found: Programme, form: ApplicationForm) -> Grant | None:
    """The application; None where it was refused, which is then said at the field or above the page."""
    files = form.cleaned_data["documents"]
    if files and facts.too_many(ours, len(files)):
        form.add_error("documents", _("Too many files today. Try again tomorrow."))
        return None
    at, who = timezone.now(), actor(request)
    try:
        with transaction.atomic():  # what is refused leaves no document behind
            documents = list(form.cleaned_data.get("kept", ()))
            documents += [_document(ours, file, at=at, who=who) for file in files]
            grant = programmes.apply(
                programme=found,
                party=ours.party,
                statement=form.cleaned_data["statement"],
                evidence=documents,
                at=at,
                actor=who,
            )
    except _NotTakenError as refusal:
        said = _("%(name)s is no PDF, PNG or JPEG file.")
        form.add_error("documents", forms.ValidationError(said, params={"name": refusal.name}))
    except programmes.ProgrammeStateError:
        messages.warning(request, gettext("The programme takes no applications now."))
    except programmes.AlreadyGrantedError:
        messages.warning(request, gettext("Your organization has this programme already."))
    except programmes.ApplicationDiffersError:
        messages.warning(
            request, gettext("Your organization has applied already. Withdraw that application to change it.")
        )
    else:
        messages.success(request, gettext("The application is handed in. The zone's operator decides on it."))
        return grant
    return None


class _NotTakenError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _document(ours: Organization, file: Any, *, at: datetime, who: str) -> Any:
    try:
        return parties.add_evidence(party=ours.party, name=file.name, content=file.read(), at=at, actor=who)
    except parties.InvalidEvidenceError as error:
        raise _NotTakenError(file.name) from error
