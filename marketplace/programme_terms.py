"""Programmes in words, in the reader's language: what one pays, up to what, for whom, and what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.documents import figures, labels
from billing.models import PartyFact, Programme
from billing.rating import tariff
from marketplace.names import language

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.utils.functional import _StrPromise

KINDS = (*tariff.KINDS, "one_off")
"""Of charges that a programme may pay for."""
_CHOICES: dict[str, Any] = {PartyFact.Kind.SECTOR: PartyFact.Sector, PartyFact.Kind.SIZE_CLASS: PartyFact.Size}
_RULES: dict[str, _StrPromise] = {
    "size_class": _("Size"),
    "sector": _("Sector"),
    "zone": _("Zone of registration"),
    "most_years": _("Age"),
}
MISSING: dict[str, _StrPromise] = {
    "mode": _("the way of payment"),
    "funder": _("the funder as a legal person"),
    "from_date": _("the first day"),
    "until_date": _("the last day"),
    "bars_related_parties": _("whether supply of related parties is paid for"),
    "one_side_claims": _("whether provider and user may both claim"),
    "share": _("the percent of the price, or the amount per unit"),
    "vat_treatment": _("finance's signature under the VAT treatment"),
    "currency": _("the issuer's currency"),
    "budget": _("a budget that holds each month"),
}
"""By what `billing.programmes.missing` tells."""


def said(kind: str, value: str) -> Any:
    """The value of a fact in words."""
    known = _CHOICES.get(kind)
    return known(value).label if known is not None and value in known.values else value


def share(programme: Programme) -> str:
    """Such as "30 % of the price"."""
    if programme.percent is not None:
        return gettext("%(percent)s of the price") % {"percent": figures.percent(str(programme.percent.scaleb(-2)))}
    if programme.unit_amount is not None:
        amount = figures.number(programme.unit_amount, 2)
        unit = labels.name("unit", programme.unit, language())
        return gettext("%(amount)s %(currency)s for each %(unit)s") % {
            "amount": amount,
            "currency": programme.currency,
            "unit": unit,
        }
    return gettext("a cheaper tariff") if programme.mode == Programme.Mode.TARIFF else gettext("not known yet")


def limits(programme: Programme) -> list[str]:
    """Up to what it pays; empty if no cap is known."""
    caps = (
        (programme.cap_firm_month_minor, _("at most %(amount)s a firm and month")),
        (programme.cap_firm_year_minor, _("at most %(amount)s a firm and year")),
        (programme.cap_invoice_minor, _("at most %(amount)s an invoice")),
    )
    return [
        str(said_of) % {"amount": figures.money(cap_minor, programme.currency)}
        for cap_minor, said_of in caps
        if cap_minor is not None
    ]


def charges(programme: Programme) -> str:
    """Which charges it pays for."""
    parts = [labels.name("kind", kind, language()) for kind in programme.kinds]
    if programme.charges:
        parts.append(gettext("charges %(codes)s") % {"codes": ", ".join(programme.charges)})
    return "; ".join(parts) if parts else gettext("every charge")


def window(programme: Programme) -> str:
    """First and last day; a question mark where one is not known."""
    return f"{programme.from_date or '?'} – {programme.until_date or '?'}"


def conditions(rules: Mapping[str, Any]) -> dict[str, str]:
    """What the rules of eligibility ask for, by rule."""
    return {rule: asked(rule, rules[rule]) for rule in _RULES if rule in rules}


def rule(code: str) -> str:
    return str(_RULES[code])


def asked(rule: str, wanted: Any) -> str:
    if rule == "most_years":
        return gettext("founded less than %(years)s years ago") % {"years": wanted}
    return gettext(" or ").join(str(said(rule, value)) for value in wanted)


def judged(rules: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each rule: `title`, `asked`, `found` and `state` (met, unmet, unverified or unknown)."""
    wanted = conditions(rules)
    return [
        {
            "title": _RULES[each["rule"]],
            "asked": wanted.get(each["rule"], each["expected"]),
            "found": None if each["found"] is None else said(each["rule"], each["found"]),
            "state": state(each),
        }
        for each in findings
    ]


def state(finding: Mapping[str, Any]) -> str:
    if finding["is_met"] is not None:
        return "met" if finding["is_met"] else "unmet"
    return "unknown" if finding["found"] is None else "unverified"
