"""A provider's price lists. New prices are looked at before they are published: by the hour, and as typical bills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing import tariffs
from billing.documents import figures
from billing.models import Tariff, TariffVersion
from billing.rating.tariff import TariffError
from marketplace import catalog, typical
from marketplace.admin.base import ProviderAdmin, ProviderInline, actor, column, money
from marketplace.admin.documents import DocumentField, pretty
from marketplace.admin.page import Heat, HeatCell, Table, link
from marketplace.admin.site import providers
from marketplace.permissions import Permission

if TYPE_CHECKING:
    from decimal import Decimal

    from django.http import HttpRequest, HttpResponse

    from billing.rating.tariff import Tariff as Prices

REFUSALS = (
    TariffError,
    tariffs.VersionTooEarlyError,
    catalog.PricesTooEarlyError,
    catalog.NotProviderError,
)
METER = "gpu_hours"
USES = {
    "weekend": _("8 GPUs for 24 hours at a weekend"),
    "month": _("64 GPUs for a month"),
    "office": _("16 GPUs in a month's office hours, 9 to 18"),
}


class VersionInline(ProviderInline):
    model = TariffVersion
    fields = ("version", "effective_at", "published_at")
    ordering = ("-version",)
    show_change_link = True


@admin.register(Tariff, site=providers)
class TariffAdmin(ProviderAdmin):
    list_display = ("code", "name", "next_version")
    search_fields = ("code", "name", "name_en")
    ordering = ("code",)
    fields = ("code", "name", "name_en", "next_version")
    readonly_fields = ("next_version",)
    inlines = (VersionInline,)

    @column(_("next version"))
    def next_version(self, tariff: Tariff) -> str:
        return link(providers.address("publish_prices", tariff=tariff.pk), _("Publish"))


@admin.register(TariffVersion, site=providers)
class TariffVersionAdmin(ProviderAdmin):
    list_display = ("tariff", "version", "effective_at", "published_at")
    list_display_links = ("tariff", "version")
    list_select_related = ("tariff",)
    list_filter = ("tariff",)
    search_fields = ("tariff__code", "tariff__name")
    date_hierarchy = "effective_at"
    ordering = ("tariff__code", "-version")
    fields = ("tariff", "version", ("effective_at", "published_at"), "text")
    readonly_fields = ("text",)

    @column(_("document"))
    def text(self, version: TariffVersion) -> str:
        return format_html('<pre class="s-code" tabindex="0">{}</pre>', pretty(version.document))


class PricesForm(forms.Form):
    document = DocumentField(
        help_text=_(
            "The tariff document as JSON. Its code says whose next version it is, or that it is a new tariff; effective[0]"
            " from when it applies."
        )
    )


@providers.page("tariffs/publish/", "publish_prices")
def publish_prices(request: HttpRequest) -> HttpResponse:
    """A POST with `publish` publishes; any other shows what the document would do, and what stands in its way."""
    if not providers.may(request, Permission.SUPPLY):
        raise PermissionDenied
    form = PricesForm(request.POST or None, initial=_initial(request))
    context: dict[str, Any] = {"form": form, "back": providers.address("billing_tariff_changelist")}
    if request.method == "POST" and form.is_valid():
        try:
            version = _publish(request, form.cleaned_data["document"], is_trial="publish" not in request.POST)
        except tariffs.OwnerDiffersError:
            form.add_error("document", gettext("code: expected one of your own tariffs', or one that is not taken"))
        except REFUSALS as refusal:
            form.add_error("document", str(refusal))
        else:
            if "publish" in request.POST:
                said = gettext("Version %(version)d of %(code)s is published.")
                messages.success(request, said % {"version": version.version, "code": version.tariff.code})
                return redirect(providers.address("billing_tariffversion_change", version.pk))
            context |= _preview(version, form.cleaned_data["document"])
    return providers.show(request, "admin/provider/publish.html", _("Publish prices"), context)


def _initial(request: HttpRequest) -> dict[str, Any]:
    """With ?tariff=, the last version's document to begin from; otherwise an example."""
    wanted = request.GET.get("tariff", "")
    if not wanted:
        return {"document": pretty(_example(request))}
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 18):
        return {}
    last = providers.rows(request, TariffVersion).filter(tariff=int(wanted)).order_by("version").last()
    return {} if last is None else {"document": pretty(last.document)}


def _example(request: HttpRequest) -> dict[str, Any]:
    """A tariff by the time of day, as the zone bills, from today on. The figures are to be replaced."""
    issuer = providers.organization(request).zone.issuer
    day = [*["valley"] * 8, *["peak"] * 4, *["flat"] * 6, *["peak"] * 4, *["valley"] * 2]
    prices = {"peak": "6.00", "flat": "4.00", "valley": "2.50"}
    return {
        "code": "gpu-hours",
        "currency": issuer.currency,
        "timezone": issuer.timezone,
        "effective": [timezone.localdate().isoformat(), None],
        "periods": list(prices),
        "schedule": {"weekday": [day], "weekend": [day]},
        "charges": [
            {
                "kind": "energy",
                "code": "EN",
                "meter": METER,
                "prices": {period: [{"price": price}] for period, price in prices.items()},
            }
        ],
        "tax": {"category": "S", "rate": "0.06", "price_includes_tax": False},
    }


def _publish(request: HttpRequest, document: Any, *, is_trial: bool) -> TariffVersion:
    """A trial is taken back, so that the preview refuses what publishing would."""
    with transaction.atomic():
        version = catalog.publish_prices(
            provider=providers.organization(request), document=document, at=timezone.now(), actor=actor(request)
        )
        transaction.set_rollback(is_trial)
    return version


def _preview(version: TariffVersion, document: Any) -> dict[str, Any]:
    prices = tariffs.validated(document)
    concerned = catalog.concerned(tariff=version.tariff, from_at=version.effective_at)
    reaches = gettext(
        "Applies from %(from)s. Running contracts that it changes: %(contracts)d; offerings on sale: %(offerings)d."
        " Reservations keep the prices that they were quoted: %(kept)d contracts."
    ) % {
        "from": f"{timezone.localtime(version.effective_at):%Y-%m-%d %H:%M}",
        "contracts": concerned.contracts,
        "offerings": concerned.offerings,
        "kept": concerned.kept,
    }
    return {"reaches": reaches, "heats": [week(prices)], "tables": [_bills(prices)]}


def week(prices: Prices) -> Heat:
    """The shade goes from the lowest to the highest price of the week."""
    days = typical.week(prices)
    lowest, highest = min(map(min, days)), max(map(max, days))
    names = (_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun"))
    return Heat(
        title=_("Price of a GPU-hour through the week"),
        note=gettext(
            "In %(currency)s before tax, in the first tier, with reserved capacity by the hour; what is charged by the month or"
            " for peaks is in the bills below."
        )
        % {"currency": prices.currency},
        headers=[f"{hour:02d}" for hour in range(24)],
        rows=[
            (name, [HeatCell(_figure(price), _tone(price, lowest, highest)) for price in hours])
            for name, hours in zip(names, days, strict=True)
        ],
    )


def _tone(price: Decimal, lowest: Decimal, highest: Decimal) -> int:
    return 0 if highest == lowest else int(9 * (price - lowest) / (highest - lowest))


def _figure(price: Decimal) -> str:
    return figures.number(price.normalize(), 2)


def _bills(prices: Prices) -> Table:
    month = timezone.localtime(typical.month_of(prices).start)
    cells = [
        [
            USES[each.code],
            figures.number(each.gpu_hours.normalize()),
            each.refused if each.amount_minor is None else money(each.amount_minor, prices.currency),
        ]
        for each in typical.bills(prices)
    ]
    note = gettext("In %(month)s, before tax, of a buyer who uses all that is reserved and nothing else.")
    return Table(
        _("Typical bills"),
        [_("use"), _("GPU-hours"), _("cost")],
        cells,
        numbers=(1, 2),
        note=note % {"month": f"{month:%Y-%m}"},
    )
