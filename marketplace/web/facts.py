"""What an organization says of itself, the evidence for it, and what of it staff have verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import parties
from billing.models import Evidence, PartyFact
from billing.models.party import validate_credit_code
from marketplace import access, limits
from marketplace.permissions import Permission
from marketplace.programme_terms import said
from marketplace.web import page
from marketplace.web.organization import current
from marketplace.web.page import actor

if TYPE_CHECKING:
    from datetime import date

    from django.http import HttpRequest

    from billing.models import Party
    from marketplace.models import Organization

KIND = PartyFact.Kind


class ClaimForm(forms.Form):
    """One field for each kind of fact; those left as they are claim nothing."""

    sector = forms.ChoiceField(label=_("Sector"), choices=[("", "–"), *PartyFact.Sector.choices], required=False)
    size_class = forms.ChoiceField(label=_("Size"), choices=[("", "–"), *PartyFact.Size.choices], required=False)
    founded_date = forms.DateField(
        label=_("Founded on"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    zone = forms.CharField(
        label=_("Zone of registration"),
        required=False,
        max_length=100,
        help_text=_("Where it is registered, as on the business licence."),
    )
    related_party = forms.CharField(
        label=_("Related party"),
        required=False,
        max_length=30,
        help_text=_("The unified social credit code of a parent, a subsidiary or a sister firm. One at a time."),
    )
    from_date = forms.DateField(
        label=_("Holds from"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    evidence = forms.ModelChoiceField(
        label=_("Evidence"), queryset=Evidence.objects.none(), required=False, empty_label=_("None yet")
    )

    def __init__(self, *arguments: Any, evidence: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        field = self.fields["evidence"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = evidence

    def clean_related_party(self) -> str:
        code = "".join(self.cleaned_data["related_party"].split()).upper()
        if code:
            try:
                validate_credit_code(code)
            except forms.ValidationError as error:
                said = _(
                    "This is no unified social credit code: 18 letters and digits, of which the last is a check digit."
                )
                raise forms.ValidationError(said) from error
        return code

    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if not self.errors and not self.claims():
            raise forms.ValidationError(_("Fill in at least one fact."))
        return facts

    def claims(self) -> list[tuple[str, str]]:
        """(kind, value) of what was filled in."""
        facts = self.cleaned_data
        said = [(kind, facts.get(kind)) for kind in KIND.values]
        return [(kind, value.isoformat() if kind == KIND.FOUNDED_DATE else value) for kind, value in said if value]


TAKEN = {"accept": "application/pdf,image/png,image/jpeg"}


class EvidenceForm(forms.Form):
    file = forms.FileField(
        label=_("File"),
        max_length=200,
        help_text=_("PDF, PNG or JPEG, at most 10 MB."),
        widget=forms.ClearableFileInput(attrs=TAKEN),
    )

    def clean_file(self) -> Any:
        return of_size(self.cleaned_data["file"])


def of_size(file: Any) -> Any:
    """The file, told before it is read. Raises ValidationError for one that is too large."""
    if file.size > parties.EVIDENCE_LIMIT:
        raise forms.ValidationError(_("The file is larger than 10 MB."))
    return file


def too_many(organization: Organization, number: int) -> bool:
    """Has the organization kept as many files today as it may, with so many more? They count as tried."""
    tries = [("evidence", str(organization.pk), limits.FILES_A_DAY, limits.DAY)] * number
    return bool(limits.refused(tries, at=timezone.now()))


def _today(organization: Organization) -> date:
    return timezone.now().astimezone(ZoneInfo(organization.zone.issuer.timezone)).date()


def _documents(request: HttpRequest, ours: Organization) -> Any:
    """Without what is in them."""
    return access.evidence_for(request.user, within=ours).defer("content").order_by("-uploaded_at", "-pk")


@require_http_methods(["GET", "HEAD", "POST"])
def facts(request: HttpRequest) -> HttpResponse:
    """The facts and documents; a POST claims facts."""
    ours = current(request, Permission.SEE_ORGANIZATION)
    may_change = page.of(request).may["manage_members"]
    documents = _documents(request, ours)
    form = ClaimForm(evidence=documents, initial={"from_date": _today(ours).isoformat()}) if may_change else None
    if request.method == "POST":
        current(request, Permission.MANAGE_MEMBERS)
        form = ClaimForm(request.POST, evidence=documents)
        if form.is_valid() and _claimed(request, ours.party, form):
            return redirect("facts")
    return _show(request, ours, form, EvidenceForm() if may_change else None)


def _claimed(request: HttpRequest, party: Party, form: ClaimForm) -> bool:
    shared = {"from_date": form.cleaned_data["from_date"], "evidence": form.cleaned_data["evidence"]}
    for kind, value in form.claims():
        try:
            parties.claim_fact(party=party, kind=kind, value=value, **shared, at=timezone.now(), actor=actor(request))
        except parties.FactVerifiedError:
            form.add_error(kind, _("This is verified already, with other evidence."))
        except parties.InvalidFactError:
            form.add_error(kind, _("This does not do: give the code of another legal person."))
    if form.errors:
        return False
    messages.success(request, gettext("It is noted. The zone's operator verifies it with the evidence."))
    return True


def _show(request: HttpRequest, ours: Organization, form: Any, upload: Any) -> HttpResponse:
    today = _today(ours)
    rows = access.facts_for(request.user, within=ours).select_related("evidence").defer("evidence__content")
    context = {
        "organization": ours,
        "facts": [
            (fact, said(fact.kind, fact.value), _state(fact, today))
            for fact in rows.order_by("kind", "-from_date", "-pk")
        ],
        "documents": _documents(request, ours) if page.of(request).may["see_bills"] else None,
        "form": form,
        "upload": upload,
        "today": today,
    }
    return render(request, "marketplace/facts.html", context)


def _state(fact: PartyFact, today: date) -> str:
    """ended, verified or claimed."""
    if fact.until_date is not None and fact.until_date <= today:
        return "ended"
    return "claimed" if fact.verified_at is None else "verified"


@require_POST
def end_fact(request: HttpRequest, fact_id: int) -> HttpResponse:
    """Take back a claim; let a verified fact end today."""
    ours = current(request, Permission.MANAGE_MEMBERS)
    fact = get_object_or_404(access.facts_for(request.user, within=ours), pk=fact_id)
    try:
        parties.withdraw_fact(fact=fact)
        messages.success(request, gettext("The claim is taken back."))
    except parties.FactVerifiedError:
        try:
            parties.end_fact(fact=fact, until_date=max(_today(ours), fact.from_date), actor=actor(request))
            messages.success(request, gettext("The fact has ended today."))
        except parties.InvalidFactError:
            messages.warning(request, gettext("The fact has ended before."))
    return redirect("facts")


@require_POST
def add_evidence(request: HttpRequest) -> HttpResponse:
    ours = current(request, Permission.MANAGE_MEMBERS)
    upload = EvidenceForm(request.POST, request.FILES)
    if upload.is_valid() and too_many(ours, 1):
        upload.add_error("file", _("Too many files today. Try again tomorrow."))
    elif upload.is_valid():
        file = upload.cleaned_data["file"]
        try:
            parties.add_evidence(
                party=ours.party, name=file.name, content=file.read(), at=timezone.now(), actor=actor(request)
            )
        except parties.InvalidEvidenceError:
            upload.add_error("file", _("This is no PDF, PNG or JPEG file."))
        else:
            messages.success(request, gettext("%(name)s is kept.") % {"name": file.name})
            return redirect("facts")
    form = ClaimForm(evidence=_documents(request, ours), initial={"from_date": _today(ours).isoformat()})
    return _show(request, ours, form, upload)


@require_safe
def evidence(request: HttpRequest, evidence_id: int) -> HttpResponse:
    """The document, to be kept and not to be shown: whatever it holds runs nowhere on this site."""
    return sent(get_object_or_404(access.evidence_for(request.user), pk=evidence_id))


def sent(document: Evidence) -> HttpResponse:
    return HttpResponse(
        bytes(document.content),
        content_type=document.content_type,
        headers={
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=document.name)
            or "attachment",
            "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )
