"""What staff fill in of a programme: a draft, its terms, what sources say of its rules, a budget, the VAT treatment."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (  # type: ignore[import-untyped]
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
)

from billing import programmes
from billing.documents import labels
from billing.documents.figures import major
from billing.models import Party, PartyFact, Programme, ProgrammeRule
from billing.rating.money import exponent
from marketplace import programme_terms as terms
from marketplace.admin.base import VerbForm, actor
from marketplace.admin.page import choice_field, date_field, long_text_field, text_field
from marketplace.names import language

if TYPE_CHECKING:
    from django.db.models import Model
    from django.utils.functional import _StrPromise

UNKNOWN = ("", _("not known"))
YES_NO = [UNKNOWN, ("yes", _("yes")), ("no", _("no"))]
CAPS = ("cap_firm_month", "cap_firm_year", "cap_invoice")


class DraftForm(VerbForm):
    """A programme begins as a draft with a name; all else is told on its page."""

    refusals = (programmes.InvalidProgrammeError, programmes.ProgrammeDiffersError)

    class Meta:
        model = Programme
        fields = ("issuer", "code", "name", "name_en")

    def tell(self, facts: dict[str, Any]) -> Model:
        named = {"name_en": facts.pop("name_en")}
        return programmes.draft(**facts, terms=named, at=timezone.now(), actor=actor(self.request))


def amount_field(label: _StrPromise, currency: str, *, required: bool = False) -> forms.DecimalField:
    """Of major units of the currency; `minor` makes minor units of it."""
    return forms.DecimalField(
        label=label,
        required=required,
        min_value=0,
        max_digits=16,
        decimal_places=exponent(currency),
        help_text=_("In %(currency)s.") % {"currency": currency},
        widget=UnfoldAdminDecimalFieldWidget,
    )


def minor(amount: Decimal | None, currency: str) -> int | None:
    return None if amount is None else int(amount.scaleb(exponent(currency)))


def several(label: _StrPromise, choices: Any, help_text: _StrPromise) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=label,
        required=False,
        choices=choices,
        help_text=help_text,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )


def number_field(label: _StrPromise, **options: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, widget=UnfoldAdminIntegerFieldWidget, **options)


def _list(text: str) -> list[str]:
    parts = text.replace("，", ",").replace("、", ",").split(",")
    return [part.strip() for part in parts if part.strip()]


class TermsForm(forms.Form):
    """What is left empty is not known, or for a cap and a rule of eligibility: there is none."""

    name = forms.CharField(label=_("name"), max_length=200, widget=UnfoldAdminTextInputWidget)
    name_en = text_field(_("name in English"))
    mode = choice_field(_("way of payment"), [UNKNOWN, *Programme.Mode.choices])
    funder = text_field(_("funder"))
    funder_name = text_field(_("funder's name"))
    percent = forms.DecimalField(
        label=_("percent of the price"),
        required=False,
        min_value=Decimal("0.01"),
        max_value=100,
        decimal_places=2,
        widget=UnfoldAdminDecimalFieldWidget,
    )
    unit_amount = forms.DecimalField(
        label=_("amount per unit"),
        required=False,
        min_value=Decimal("0.000001"),
        max_digits=18,
        decimal_places=6,
        widget=UnfoldAdminDecimalFieldWidget,
    )
    unit = text_field(_("unit"))
    kinds = several(_("kinds of charges"), (), _("None: every kind."))
    charges = text_field(_("charges"))
    from_date = date_field(_("first day"))
    until_date = date_field(_("last day"))
    stacking_group = text_field(_("stacking group"))
    priority = number_field(_("priority"), min_value=-32768, max_value=32767)
    bars_related_parties = choice_field(_("not for supply of related parties"), YES_NO)
    one_side_claims = choice_field(_("provider and user may not both claim"), YES_NO)
    size_class = several(_("size class"), PartyFact.Size.choices, _("None: every size."))
    sector = several(_("sector"), PartyFact.Sector.choices, _("None: every sector."))
    zone = text_field(_("zone of registration"))
    most_years = number_field(_("founded less than so many years ago"), required=False, min_value=1, max_value=200)

    def __init__(self, data: Any = None, *, programme: Programme) -> None:
        super().__init__(data, initial=self._initial(programme))
        self.currency = programme.currency
        for cap, label in zip(
            CAPS, (_("cap a firm and month"), _("cap a firm and year"), _("cap an invoice")), strict=True
        ):
            self.fields[cap] = amount_field(label, self.currency)
        spoken = language()
        self.fields["kinds"].choices = [(kind, labels.name("kind", kind, spoken)) for kind in terms.KINDS]  # type: ignore[attr-defined]
        for field, help_text in (
            ("funder", _("The unified social credit code of a legal person that is known.")),
            ("unit", _("Of a line, such as gpu_hour; with an amount per unit.")),
            ("charges", _("Codes, several with commas. None: every charge.")),
            ("zone", _("As firms state it; several with commas. None: anywhere.")),
            ("stacking_group", _("Of programmes of one group only the first that pays anything does.")),
            ("priority", _("The least is asked first.")),
        ):
            self.fields[field].help_text = help_text

    @staticmethod
    def _initial(programme: Programme) -> dict[str, Any]:
        told: dict[str, Any] = {
            field: getattr(programme, field)
            for field in (
                *("name", "name_en", "mode", "funder_name", "percent", "unit_amount", "unit", "kinds"),
                *("from_date", "until_date", "stacking_group", "priority"),
            )
        }
        told["funder"] = programme.funder.credit_code if programme.funder else ""
        told["charges"] = ", ".join(programme.charges)
        for field in ("bars_related_parties", "one_side_claims"):
            value = getattr(programme, field)
            told[field] = "" if value is None else "yes" if value else "no"
        for cap in CAPS:
            cap_minor = getattr(programme, f"{cap}_minor")
            told[cap] = None if cap_minor is None else major(cap_minor, programme.currency)
        rules = programme.eligibility
        told |= {rule: rules.get(rule, []) for rule in ("size_class", "sector")}
        told |= {"zone": ", ".join(rules.get("zone", [])), "most_years": rules.get("most_years")}
        return told

    def clean_funder(self) -> Party | None:
        code = "".join(self.cleaned_data["funder"].split()).upper()
        found = Party.objects.filter(credit_code=code).first()
        if code and found is None:
            raise forms.ValidationError(_("No legal person of that code is known: register it first."))
        return found

    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if facts.get("unit_amount") is not None and not facts.get("unit"):
            self.add_error("unit", _("Say of which unit."))
        if facts.get("percent") is not None and facts.get("unit_amount") is not None:
            self.add_error("unit_amount", _("Either a percent or an amount, not both."))
        if facts.get("from_date") and facts.get("until_date") and facts["until_date"] < facts["from_date"]:
            self.add_error("until_date", _("It ends before it begins."))
        return facts

    def terms(self) -> dict[str, Any]:
        """As `billing.programmes.amend` takes them."""
        facts = dict(self.cleaned_data)
        rules = {rule: facts.pop(rule) for rule in ("size_class", "sector")}
        rules |= {"zone": _list(facts.pop("zone")), "most_years": facts.pop("most_years")}
        facts["eligibility"] = {rule: wanted for rule, wanted in rules.items() if wanted}
        facts["charges"] = _list(facts["charges"])
        facts["mode"] = facts["mode"] or None
        for field in ("bars_related_parties", "one_side_claims"):
            facts[field] = {"yes": True, "no": False}.get(facts[field])
        for cap in CAPS:
            facts[f"{cap}_minor"] = minor(facts.pop(cap), self.currency)
        return facts


class RuleForm(forms.Form):
    name = choice_field(_("rule"), ProgrammeRule.Name.choices)
    says = long_text_field(_("what the source says"), _("Empty: no source that is known says anything."))
    title = text_field(_("title of the source"))
    dated = date_field(_("date of the source"))
    url = forms.URLField(
        label=_("address of the source"),
        required=False,
        max_length=500,
        assume_scheme="https",
        widget=UnfoldAdminURLInputWidget,
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["name"].required = True
        self.fields["says"].required = False

    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if facts.get("says"):
            for field in ("title", "dated"):
                if not facts.get(field) and field not in self.errors:
                    self.add_error(field, _("What a source says needs its title and its date."))
        else:
            facts |= {"says": None, "title": "", "dated": None, "url": ""}
        return facts


class BudgetForm(forms.Form):
    """Whole months; told again under its code, it is another amount."""

    code = forms.SlugField(
        label=_("code"),
        max_length=20,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("Such as 2026 or q3. Of one that is there the amount changes."),
    )
    from_date = date_field(_("first day"))
    until_date = date_field(_("last day"))

    def __init__(self, data: Any = None, *, programme: Programme) -> None:
        days = {"from_date": programme.from_date, "until_date": programme.until_date}
        super().__init__(data, initial={"code": "all", **days})
        self.currency = programme.currency
        self.fields["budget"] = amount_field(_("budget"), self.currency, required=True)
        for field in ("from_date", "until_date"):
            self.fields[field].required = True

    def clean_from_date(self) -> date:
        day: date = self.cleaned_data["from_date"]
        if day.day != 1:
            raise forms.ValidationError(_("A budget begins with a month: on its first day."))
        return day

    def clean_until_date(self) -> date:
        day: date = self.cleaned_data["until_date"]
        if (day + timedelta(days=1)).day != 1:
            raise forms.ValidationError(_("A budget ends with a month: on its last day."))
        if self.cleaned_data.get("from_date") and day < self.cleaned_data["from_date"]:
            raise forms.ValidationError(_("It ends before it begins."))
        return day


class VatForm(forms.Form):
    treatment = forms.ChoiceField(
        label=_("VAT treatment"), choices=Programme.VatTreatment.choices, widget=UnfoldAdminSelectWidget
    )
