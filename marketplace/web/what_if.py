"""What if: the last months' use under another tariff, at other hours, or with another programme, beside what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from django import forms
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing import what_if
from billing.documents import figures, labels
from billing.models import Account, Contract, Programme, Tariff
from billing.rating.money import exponent
from billing.supplies import versions_of
from marketplace import access, consumption, month
from marketplace.forecast import Readings
from marketplace.names import named
from marketplace.permissions import Permission
from marketplace.web import amounts, charts, page
from marketplace.web.overview import accounts_of, chosen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.http import HttpRequest, HttpResponse

    from billing.models import BillingPeriod
    from billing.rating.tariff import Tariff as Prices
    from billing.what_if import Compared, Part, Sums

MOST_MONTHS = 12
MOST_TARIFFS = 200  # in the list; one further down it can be asked for by its address
_USUAL_MONTHS = 3
_WRONG_CHOICE = {"invalid_choice": _("“%(value)s” is not to be chosen here: expected one of the list.")}
_KINDS = ("energy", "demand", "capacity", "rider", "standing", "minimum", "credit", "one_off")


@dataclass(frozen=True)
class World:
    """What there is to ask about: an account, its contracts and whole months, other tariffs and programmes."""

    account: Account
    contracts: Sequence[Contract]
    tariffs: Sequence[Tariff]
    programmes: Sequence[Programme]
    periods: Sequence[str]
    """Names of times of day of the contracts' tariffs, the dearest first."""


class Question(forms.Form):
    """`cleaned_data["change"]` is a billing.what_if.Change."""

    months = forms.IntegerField(label=_("Last months"), min_value=1, max_value=MOST_MONTHS)
    contract = forms.ChoiceField(label=_("Contract"), required=False, error_messages=_WRONG_CHOICE)
    tariff = forms.ChoiceField(label=_("Under the tariff"), required=False, error_messages=_WRONG_CHOICE)
    hours = forms.IntegerField(
        label=_("All use later by hours"),
        required=False,
        min_value=-23,
        max_value=23,
        help_text=_("Within each day; negative is earlier."),
    )
    percent = forms.IntegerField(
        label=_("Or a part of it, %"), required=False, min_value=1, max_value=100, help_text=_("Moved within each day.")
    )
    source = forms.ChoiceField(label=_("From the time of day"), required=False, error_messages=_WRONG_CHOICE)
    target = forms.ChoiceField(label=_("To the time of day"), required=False, error_messages=_WRONG_CHOICE)
    programme = forms.ChoiceField(label=_("With the programme"), required=False, error_messages=_WRONG_CHOICE)

    def __init__(self, *arguments: Any, world: World, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.world = world
        times = [("", "–"), *((code, amounts.period_name(code)) for code in world.periods)]
        self._choose("contract", [("", _("All contracts")), *((str(c.pk), c.number) for c in world.contracts)])
        self._choose("tariff", [("", _("As it was")), *((str(each.pk), _named(each)) for each in world.tariffs)])
        self._choose("programme", [("", _("As it was")), *((str(p.pk), named(p)) for p in world.programmes)])
        self._choose("source", times)
        self._choose("target", times)

    def _choose(self, name: str, choices: Iterable[tuple[str, Any]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = list(choices)

    def clean(self) -> dict[str, Any]:
        told = super().clean() or self.cleaned_data
        if self.errors:
            return told
        tariff = _found(self.world.tariffs, told["tariff"])
        shift = self._shift(told, tariff)
        contract = _found(self.world.contracts, told["contract"])
        change = what_if.Change(
            tariff=tariff,
            shift=shift,
            programme=_found(self.world.programmes, told["programme"]),
            contract_ids=None if contract is None else frozenset([contract.pk]),
        )
        if not (change.tariff or change.shift or change.programme):
            self.add_error(None, gettext("Nothing is different: choose a tariff, other hours or a programme."))
        return told | {"change": change}

    def _shift(self, told: dict[str, Any], tariff: Tariff | None) -> what_if.Later | what_if.Moved | None:
        hours, percent, source, target = (told[name] for name in ("hours", "percent", "source", "target"))
        if percent is None:
            if source or target:
                self.add_error("percent", gettext("Say how much is moved, from 1 to 100 %, or choose no time of day."))
            return what_if.Later(hours) if hours else None
        if hours:
            self.add_error("percent", gettext("All of it or a part of it is moved: leave one of the two empty."))
        for name in ("source", "target"):
            if not told[name]:
                self.add_error(name, gettext("Choose the time of day."))
        if source and source == target:
            self.add_error("target", gettext("Choose another time of day than the one it is moved from."))
        if tariff is not None:
            known = _times([version.tariff for version in versions_of(tariff)])
            for name in ("source", "target"):
                if told[name] and told[name] not in known:
                    self.add_error(
                        name,
                        gettext("Tariff %(tariff)s has no “%(period)s”: expected one of %(known)s.")
                        % {
                            "tariff": tariff.code,
                            "period": amounts.period_name(told[name]),
                            "known": ", ".join(map(amounts.period_name, known)),
                        },
                    )
        return what_if.Moved(percent, source, target)


def _found(rows: Sequence[Any], wanted: str) -> Any:
    return next((row for row in rows if str(row.pk) == wanted), None)


def _named(tariff: Tariff) -> str:
    name = named(tariff)
    return tariff.code if name == tariff.code else f"{name} ({tariff.code})"


def _times(tariffs: Iterable[Prices]) -> list[str]:
    """The times of day that tariffs tell apart."""
    return amounts.periods({name for tariff in tariffs for name in tariff.periods})


@never_cache
@require_safe
def ask(request: HttpRequest) -> HttpResponse:
    """The question, and once something is chosen its answer. Nothing is stored."""
    here = page.of(request)
    if here.organization is None:
        return redirect("organization")
    if Permission.SEE_BILLS not in here.permissions:
        raise Http404
    accounts = accounts_of(request, here)
    account = chosen(accounts, request.GET.get("account"))
    context: dict[str, Any] = {"accounts": accounts, "account": account}
    if account is not None:
        world = _world(request, account)
        given = {name: request.GET[name] for name in Question.base_fields if name in request.GET}
        first = {"months": _USUAL_MONTHS} | {name: given[name] for name in ("tariff", "programme") if name in given}
        question = Question({"months": _USUAL_MONTHS} | given if given else None, world=world, initial=first)
        at = timezone.now()
        whole = _running(month.past(issuer=account.issuer, at=at, count=MOST_MONTHS), world.contracts)
        context |= {"form": question, "world": world, "months": len(whole)}
        if whole and question.is_bound and question.is_valid():
            context |= _answered(world, whole[-question.cleaned_data["months"] :], question.cleaned_data["change"])
    return render(request, "marketplace/what_if.html", context)


def _world(request: HttpRequest, account: Account) -> World:
    within = page.of(request).organization
    contracts = list(
        access.contracts_for(request.user, within=within)
        .filter(account=account)
        .select_related("tariff")
        .order_by("number")
    )
    tariffs = access.tariffs_for(request.user, within=within).filter(versions__isnull=False).distinct()
    listed = list(tariffs.order_by("code")[:MOST_TARIFFS])
    wanted = request.GET.get("tariff", "")
    if wanted.isascii() and wanted.isdecimal() and len(wanted) < 19 and _found(listed, wanted) is None:
        listed += tariffs.filter(pk=int(wanted))
    programmes = access.programmes_for(request.user, within=within).filter(
        issuer=account.issuer,
        state=Programme.State.OPEN,
        mode__in=[Programme.Mode.VOUCHER, Programme.Mode.REIMBURSEMENT],
    )
    versions = consumption.versions_of(contracts)
    times = _times(tariff for each in versions.values() for _at, tariff in each)
    return World(account, contracts, listed, list(programmes.select_related("funder").order_by("code")), times)


def _running(periods: Sequence[BillingPeriod], contracts: Sequence[Contract]) -> list[BillingPeriod]:
    """Those in which a contract ran."""
    return [
        period
        for period in periods
        if any(
            contract.withdrawn_at is None
            and contract.start_at < period.end_at
            and (contract.end_at is None or contract.end_at > period.start_at)
            for contract in contracts
        )
    ]


# The answer


def _answered(world: World, periods: Sequence[BillingPeriod], change: what_if.Change) -> dict[str, Any]:
    account = world.account
    found = what_if.compare(account=account, periods=periods, read=Readings(world.contracts), change=change)
    both = [(each.actual, each.alternative) for each in found if each.actual and each.alternative]
    currency = account.issuer.currency
    return {
        "change": change,
        "said": _said(change),
        "total": _difference(
            sum(actual.payable_minor for actual, _other in both),
            sum(other.payable_minor for _actual, other in both),
            currency,
        )
        if both
        else None,
        "chart": _chart(found, currency),
        "legend": [("actual", gettext("As it was")), ("other", gettext("What if"))],
        "rows": [_month(each, currency) for each in found],
        "parts": _parts(both, currency),
        "is_late": any(each.is_late for each in found),
        "is_partly": len(both) < len(found),
        "claimed": figures.money(sum(other.claimed_minor for _actual, other in both), currency)
        if any(other.claimed_minor for _actual, other in both)
        else None,
        "currency": currency,
    }


def _said(change: what_if.Change) -> list[str]:
    """What is different, in words."""
    found = []
    if change.tariff is not None:
        found.append(gettext("Tariff %(tariff)s") % {"tariff": _named(change.tariff)})
    if isinstance(change.shift, what_if.Later):
        hours = abs(change.shift.hours)
        said = (
            gettext("All use %(hours)s h later") if change.shift.hours > 0 else gettext("All use %(hours)s h earlier")
        )
        found.append(said % {"hours": hours})
    elif change.shift is not None:
        found.append(
            gettext("%(percent)s%% of “%(source)s” moved to “%(target)s”")
            % {
                "percent": change.shift.percent,
                "source": amounts.period_name(change.shift.source),
                "target": amounts.period_name(change.shift.target),
            }
        )
    if change.programme is not None:
        found.append(gettext("Programme %(programme)s") % {"programme": named(change.programme)})
    return found


def _difference(actual_minor: int, other_minor: int, currency: str) -> dict[str, Any]:
    more_minor = other_minor - actual_minor
    return {
        "actual": figures.money(actual_minor, currency),
        "other": figures.money(other_minor, currency),
        "more": ("+" if more_minor > 0 else "") + figures.money(more_minor, currency),
        "size": figures.money(abs(more_minor), currency),
        "percent": amounts.percent(abs(more_minor), abs(actual_minor)),
        "tone": "same" if not more_minor else "more" if more_minor > 0 else "less",
    }


def _chart(found: Sequence[Compared], currency: str) -> charts.Chart:
    """Two bars a month, and room between months; a negative amount has no bar, and its figure in the table."""
    slots = []
    for each in found:
        code = each.period.code
        slots += [
            charts.Slot("", [], Fraction(0)),
            _bar(f"{code} · {gettext('As it was')}", "actual", each.actual, currency),
            _bar(f"{code} · {gettext('What if')}", "other", each.alternative, currency),
            charts.Slot("", [], Fraction(0)),
        ]
    return charts.chart(slots=slots, columns=[each.period.code for each in found], gap=1)


def _bar(title: str, tone: str, sums: Sums | None, currency: str) -> charts.Slot:
    if sums is None:
        return charts.Slot(title, [], Fraction(0), is_missing=True)
    size = Fraction(max(0, sums.payable_minor), 10 ** exponent(currency))
    return charts.Slot(f"{title} · {figures.money(sums.payable_minor, currency)}", [(tone, size)], Fraction(0))


def _month(each: Compared, currency: str) -> dict[str, Any]:
    paid = each.programme
    row: dict[str, Any] = {
        "code": each.period.code,
        "number": each.number,
        "refusal": each.refusal,
        "is_late": each.is_late,
        "actual": "–" if each.actual is None else figures.money(each.actual.payable_minor, currency),
        "other": "–" if each.alternative is None else figures.money(each.alternative.payable_minor, currency),
        "share": None if paid is None else figures.money(paid.share.share_minor, currency),
        "limit": _limit(each),
    }
    if each.actual is not None and each.alternative is not None:
        row |= _difference(each.actual.payable_minor, each.alternative.payable_minor, currency)
    return row


def _limit(each: Compared) -> str:
    """Why the programme pays no more."""
    if each.programme is None:
        return ""
    share = each.programme.share
    if share.limited_by:
        return labels.name("limit", share.limited_by, amounts.language())
    return "" if share.eligible_minor else gettext("nothing in this month that it pays for")


def _parts(both: Sequence[tuple[Sums, Sums]], currency: str) -> list[dict[str, Any]]:
    """All months together, charge by charge before tax, then what programmes pay, tax, and what is left to pay."""
    actual: Counter[Part] = Counter()
    other: Counter[Part] = Counter()
    for one, two in both:
        actual.update(one.parts)
        other.update(two.parts)
    rows = [(_part_name(part), actual[part], other[part]) for part in sorted({*actual, *other}, key=_order)]
    for name, signed in (
        (gettext("Paid by programmes"), [(-one.subsidy_minor, -two.subsidy_minor) for one, two in both]),
        (gettext("Tax"), [(one.tax_minor, two.tax_minor) for one, two in both]),
        (gettext("Payable"), [(one.payable_minor, two.payable_minor) for one, two in both]),
    ):
        was, would = sum(one for one, _two in signed), sum(two for _one, two in signed)
        if was or would or name != gettext("Paid by programmes"):
            rows.append((name, was, would))
    return [{"name": name} | _difference(was, would, currency) for name, was, would in rows]


def _order(part: Part) -> tuple[int, int, str]:
    """As an invoice lists them; times of day from the dearest to the cheapest."""
    kind, tou_period = part
    name = tou_period or ""
    return (
        _KINDS.index(kind) if kind in _KINDS else len(_KINDS),
        amounts.periods({name, "peak", "flat", "valley"}).index(name),
        kind,
    )


def _part_name(part: Part) -> str:
    kind, tou_period = part
    name = labels.name("kind", kind, amounts.language())
    return name if tou_period is None else f"{name} · {amounts.period_name(tou_period)}"
