"""What is used, and what it costs: contracts, readings and their events, invoices, the month that is not issued yet."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from django.db.models import Prefetch
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from billing import charging, invoicing, parties, usage
from billing.documents.invoice import render_invoice
from billing.exports import invoices as exports
from billing.models import Account, Contract, Invoice, Meter, Reading
from marketplace import access, month
from marketplace.api import asks, bill_shapes, filters
from marketplace.api.base import FILE, AnyFile, Cursor, Resource, described
from marketplace.api.problems import Problem
from marketplace.forecast import Readings
from marketplace.permissions import Permission

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpResponse
    from rest_framework.request import Request
    from rest_framework.response import Response

    from billing.documents.labels import Language
    from billing.models import BillingPeriod, UsageEvent


@extend_schema_view(
    list=described("What is measured, and in which unit it is priced", shape=bill_shapes.MeterShape(many=True)),
    retrieve=described("A meter", shape=bill_shapes.MeterShape),
)
class Meters(ListModelMixin, RetrieveModelMixin, Resource):
    model = Meter
    order = ("code",)
    serializer_class = bill_shapes.MeterShape
    filter_backends = ()
    lookup_field = "code"
    lookup_value_converter = "str"


@extend_schema_view(
    list=described("Contracts that it pays or supplies", shape=bill_shapes.ContractShape(many=True)),
    retrieve=described("A contract", shape=bill_shapes.ContractShape),
)
class Contracts(ListModelMixin, RetrieveModelMixin, Resource):
    model = Contract
    reads = (Permission.SEE_USAGE,)
    related = ("account__party", "provider", "tariff")
    order = ("number",)
    serializer_class = bill_shapes.ContractShape
    filterset_class = filters.ContractFilters
    lookup_field = "number"
    lookup_value_converter = "str"


class _Events(Cursor):
    """Many sources may send at the same instant."""

    offset_cutoff = 1_000_000


class UsageReadings(Resource):
    """Of one contract and meter, which its bill is made of."""

    model = Reading
    reads = (Permission.SEE_USAGE,)
    order = ("start_at",)
    serializer_class = bill_shapes.ReadingShape
    filter_backends = ()

    def _measured(self, asked: dict[str, Any]) -> dict[str, Any]:
        contract = self.own(access.contracts_for(self.key), number=asked["contract"])
        return {"contract": contract, "meter": self.own(Meter.objects.all(), code=asked["meter"])}

    @described(
        "Readings of 15 minutes of a contract and meter; an interval without one used nothing",
        shape=bill_shapes.ReadingShape(many=True),
        parameters=[asks.AskReadings],
    )
    def list(self, request: Request) -> Response:  # noqa: ARG002  - DRF's signature
        asked = self.query(asks.AskReadings)
        span = {"start_at__gte": asked.get("from_at"), "start_at__lt": asked.get("until_at")}
        rows = self.rows().filter(**self._measured(asked), **{name: at for name, at in span.items() if at is not None})
        return self.listed(rows, bill_shapes.ReadingShape)

    @described(
        "The events that made the reading that begins at `start_at`, those that were corrected too",
        shape=bill_shapes.EventShape(many=True),
        parameters=[asks.AskEvents],
    )
    @action(detail=False, order=("time", "source_id", "event_id"), pagination_class=_Events)
    def events(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.query(asks.AskEvents)
        rows: QuerySet[UsageEvent] = usage.events_of(**self._measured(asked), start_at=asked["start_at"])
        return self.listed(rows.select_related("source"), bill_shapes.EventShape)


_NAME = OpenApiParameter("name", str, OpenApiParameter.PATH, enum=list(bill_shapes.FILES))


@extend_schema_view(
    list=described("Issued invoices, the newest first", shape=bill_shapes.InvoiceShape(many=True)),
    retrieve=described("An invoice", shape=bill_shapes.InvoiceShape),
)
class Invoices(ListModelMixin, RetrieveModelMixin, Resource):
    model = Invoice
    reads = (Permission.SEE_BILLS,)
    related = ("account", "period", "corrects", "settled_on")
    order = ("-issued_at", "-id")
    serializer_class = bill_shapes.InvoiceShape
    filterset_class = filters.InvoiceFilters
    lookup_field = "number"
    lookup_value_converter = "str"

    def rows(self) -> QuerySet[Invoice]:
        notes = Invoice.objects.select_related("corrects").defer("snapshot", "corrects__snapshot")
        settles = Prefetch("settles", notes.order_by("corrects__period__start_at", "pk"))
        rows = access.invoices_for(self.key).prefetch_related(settles)
        return rows.defer("snapshot", "corrects__snapshot", "settled_on__snapshot")

    @described("Its lines, in order", shape=bill_shapes.LineShape(many=True))
    @action(detail=True, order=("position",), filter_backends=())
    def lines(self, request: Request, number: str) -> Response:  # noqa: ARG002
        rows = self.own(self.rows(), number=number).lines.select_related("contract", "tariff_version__tariff")
        return self.listed(rows, bill_shapes.LineShape)

    @described("It as a file", shape=None, files=sorted(set(bill_shapes.FILES.values())), parameters=[_NAME])
    @action(detail=True, url_path="files/<str:name>", filter_backends=(), **FILE)
    def file(self, request: Request, number: str, name: str) -> HttpResponse:  # noqa: ARG002
        invoice: Invoice = self.own(access.invoices_for(self.key), number=number)
        if name not in bill_shapes.FILES:
            raise Http404
        language, _dot, is_pdf = name.partition(".")
        if is_pdf:
            content = render_invoice(snapshot=invoice.snapshot or "", language=cast("Language", language))
        else:
            output = BytesIO()
            form = cast("exports.Format", name)
            exports.write(invoices=[invoice.snapshot or ""], settled=True, format=form, output=output)
            content = output.getvalue()
        disposition = f'attachment; filename="{number}.{name}"'
        return AnyFile(content, bill_shapes.FILES[name], disposition)


@extend_schema_view(
    list=described("The accounts that the organization is billed on", shape=bill_shapes.AccountShape(many=True)),
    retrieve=described("An account", shape=bill_shapes.AccountShape),
)
class Accounts(ListModelMixin, RetrieveModelMixin, Resource):
    model = Account
    reads = (Permission.SEE_BILLS,)
    writes = Permission.APPLY
    related = ("party", "issuer__party")
    order = ("code",)
    serializer_class = bill_shapes.AccountShape
    filter_backends = ()
    lookup_value_converter = "int"

    @described(
        "Choose where corrections go that are approved from now on",
        asks=asks.AskCorrections,
        shape=bill_shapes.AccountShape,
        write=True,
    )
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        chosen = self.read(asks.AskCorrections)["corrections_on"]

        def do(at: datetime) -> Account:
            rows = Account.objects.filter(party=self.organization.party_id).select_related(*self.related)
            account: Account = self.own(rows, pk=pk)
            parties.choose_corrections(account=account, on=chosen, at=at, actor=self.actor)
            return account

        return self.write(do, shape=bill_shapes.AccountShape)


class Preview(Resource):
    """The month that is not issued yet."""

    model = Account
    reads = (Permission.SEE_BILLS,)
    serializer_class = bill_shapes.PreviewShape
    pagination_class = None
    filter_backends = ()

    def _account(self, code: str | None) -> Account:
        """The only one, if none is named. Raises Http404, Problem."""
        rows = access.accounts_for(self.key).select_related("issuer", "party").order_by("code")
        if code is not None:
            account: Account = self.own(rows, code=code)
            return account
        found = list(rows[:20])
        if not found:
            raise Http404
        if len(found) > 1:
            detail = _("There are several: name one of %(codes)s.") % {"codes": ", ".join(each.code for each in found)}
            raise Problem(422, "unusable", _("A value that can't be"), detail, field="account")
        return found[0]

    @described(
        "What a month comes to so far",
        shape=bill_shapes.PreviewShape,
        parameters=[asks.AskPreview],
        operation_id="preview_retrieve",
    )
    def retrieve(self, request: Request) -> Response:  # noqa: ARG002
        asked, at = self.query(asks.AskPreview), timezone.now()
        account = self._account(asked.get("account"))
        running = month.running(issuer=account.issuer, at=at)
        year, number = map(int, asked.get("month", running.code).split("-"))
        period = month.named(issuer=account.issuer, year=year, month=number)
        if period.start_at > at:
            detail = _("Expected %(month)s, the running month, or one before.") % {"month": running.code}
            raise Problem(422, "unusable", _("A value that can't be"), detail, field="month")
        read = Readings(list(Contract.objects.filter(account=account)))
        told = {
            "account": account.code,
            "month": period.code,
            "as_of": at,
            "charges": charging.charges(account=account, period=period, read=read),
            "corrections": self._corrections(account, period, at),
        }
        return self.said(bill_shapes.PreviewShape, told)

    def _corrections(self, account: Account, period: BillingPeriod, at: datetime) -> dict[str, Any] | None:
        document = invoicing.preview(account=account, period=period, at=at)
        if document is None:
            return None
        told = document["corrections"]
        corrects = [each["corrects"]["number"] for each in told["notes"]]
        sums = {name: told[name] for name in (*bill_shapes.SUMS, "due_minor")}
        return {"notes": [each["number"] for each in told["notes"]], "corrects": corrects, **sums}
