"""Offerings from and to spreadsheets, by code. A file is read twice: to show what it would do, and, confirmed, to do it.

Every row goes through the catalog's verbs, the first time in a transaction that is taken back: what the preview says is
what happens. All rows or none. Rows become drafts or changes; nothing is published, paused or retired by a file. A code
of another provider's pool or tariff is as unknown as one that is nowhere.
"""

from __future__ import annotations

import zipfile
from base64 import b64decode, b64encode
from decimal import Decimal, InvalidOperation
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core import signing
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from import_export import fields, resources
from import_export.admin import ImportExportMixin
from import_export.formats.base_formats import CSV, XLSX
from import_export.forms import ConfirmImportForm
from import_export.tmp_storages import BaseStorage
from unfold.contrib.import_export.forms import ExportForm, ImportForm  # type: ignore[import-untyped]

from billing.exports.tables import guarded
from billing.models import Tariff
from marketplace import catalog
from marketplace.admin.base import actor
from marketplace.admin.provider.cancellation import read_terms, terms_text
from marketplace.admin.site import providers
from marketplace.models import CapacityPool, Offering
from marketplace.permissions import Permission
from marketplace.refusals import for_people
from marketplace.terms import InvalidFactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

MOST_BYTES, MOST_ROWS, MOST_UNPACKED_BYTES = 500_000, 1000, 20_000_000
KEPT_SECONDS = 3600  # between the preview and its confirmation

TEXTS = ("name", "name_en", "description", "description_en", "terms")
NUMBERS = ("min_quantity", "max_quantity", "step", "min_hours", "max_hours", "lead_hours")
PERCENTS = ("service_level_percent", "service_credit_percent")
COLUMNS = ("code", "pool", "tariff", *TEXTS[:4], *NUMBERS, "cancellation_terms", *PERCENTS, "terms")


# Files


class Carried(BaseStorage):  # type: ignore[misc]  # import-export has no types
    """An uploaded file that the page of the preview carries, signed, to its confirmation: nothing of it lies on the server,
    and every web server can go on with it.
    """

    SALT = "import of offerings"

    def save(self, data: bytes) -> None:
        self.name = signing.dumps(b64encode(data).decode(), salt=self.SALT, compress=True)

    def read(self) -> str | bytes:
        try:
            data = b64decode(signing.loads(self.name, salt=self.SALT, max_age=KEPT_SECONDS))
        except signing.BadSignature as error:
            raise SuspiciousOperation("the file of an import is not as it was signed") from error
        return data if "b" in self.read_mode else data.decode(self.encoding or "utf-8")

    def remove(self) -> None:
        """There is nothing to remove."""


class Workbook(XLSX):  # type: ignore[misc]
    def create_dataset(self, in_stream: bytes) -> Any:
        """A small file may unpack to a huge one."""
        with zipfile.ZipFile(BytesIO(in_stream)) as packed:
            if sum(each.file_size for each in packed.infolist()) > MOST_UNPACKED_BYTES:
                raise ValueError("the workbook is too large")
        return super().create_dataset(in_stream)


class UploadForm(ImportForm):  # type: ignore[misc]
    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > MOST_BYTES:
            raise ValidationError(_("The file has more than %(most)d kB."), params={"most": MOST_BYTES // 1000})
        return file


class ConfirmForm(ConfirmImportForm):  # type: ignore[misc]
    format = forms.ChoiceField(choices=[("0", "csv"), ("1", "xlsx")], widget=forms.HiddenInput())
    resource = forms.ChoiceField(choices=[("0", "")], required=False, widget=forms.HiddenInput())


# Rows


class OfferingRows(resources.ModelResource):  # type: ignore[misc]
    """A row an offering, a column a fact; only columns that are there are read."""

    code = fields.Field(column_name="code", attribute="code")
    pool = fields.Field(column_name="pool")
    tariff = fields.Field(column_name="tariff")
    cancellation_terms = fields.Field(column_name="cancellation_terms")
    state = fields.Field(column_name="state", attribute="state", readonly=True)

    class Meta:
        model = Offering
        fields = (*COLUMNS, "state")
        import_order = export_order = (*COLUMNS, "state")
        import_id_fields = ("code",)
        use_transactions = True
        skip_unchanged = False

    def __init__(self, request: HttpRequest, **named: Any) -> None:
        super().__init__(**named)
        self.request = request
        self._pools: dict[str, CapacityPool] | None = None
        self._tariffs: dict[str, Tariff] | None = None

    @classmethod
    def get_display_name(cls) -> str:
        return str(_("Offerings"))

    def get_queryset(self) -> QuerySet[Offering]:
        return providers.rows(self.request, Offering).select_related("pool__site", "tariff")

    # Out

    def export_field(self, field: Any, instance: Any, **named: Any) -> Any:
        value = super().export_field(field, instance, **named)
        return guarded(value) if isinstance(value, str) else value

    def dehydrate_pool(self, offering: Offering) -> str:
        return f"{offering.pool.site.code}/{offering.pool.code}" if offering.pool_id else ""

    def dehydrate_tariff(self, offering: Offering) -> str:
        return offering.tariff.code if offering.tariff_id else ""

    def dehydrate_cancellation_terms(self, offering: Offering) -> str:
        return terms_text(offering.cancellation_terms, "; ")

    # In

    def before_import(self, dataset: Any, **_named: Any) -> None:
        unknown = [str(header) for header in dataset.headers if header not in (*COLUMNS, "state")]
        if unknown:
            message = _("Unknown columns: %(unknown)s. Known are %(known)s.")
            raise ValidationError(message, params={"unknown": ", ".join(unknown), "known": ", ".join(COLUMNS)})
        if len(dataset) > MOST_ROWS:
            raise ValidationError(_("The file has more than %(most)d rows."), params={"most": MOST_ROWS})

    def before_import_row(self, row: Any, **_named: Any) -> None:
        for column, value in row.items():
            text = str(value).strip() if value is not None else ""
            # the apostrophe that the export puts before what a spreadsheet would take for a formula
            row[column] = text[1:] if text.startswith("'") and guarded(text[1:]) == text else text

    def import_instance(self, instance: Any, row: Any, **_named: Any) -> None:
        """Read the row's facts, keep them for the verb, and show them on the instance for the preview."""
        told, errors = {}, {}
        for column in (each for each in COLUMNS if each in row):
            try:
                told[column] = self._read(column, row[column], instance)
            except ValidationError as error:
                errors[column] = error
        if errors:
            raise ValidationError(errors)
        instance.told = told
        for column, value in told.items():
            setattr(instance, column, value)

    def _read(self, column: str, text: str, offering: Any) -> Any:
        if column == "pool":
            pool = self._known_pools().get(text)
            if pool is None:
                raise ValidationError(_("unknown; expected the codes of a site and a pool of yours, such as site/pool"))
            if offering.pk and pool.pk != offering.pool_id:
                raise ValidationError(_("an offering stays with its pool"))
            return pool
        if column == "tariff":
            if text not in self._known_tariffs():
                raise ValidationError(_("unknown; expected the code of a tariff of yours"))
            return self._known_tariffs()[text]
        if column in NUMBERS:
            return _whole(text)
        if column in PERCENTS:
            return _percent(text)
        return read_terms(text) if column == "cancellation_terms" else text

    def _known_pools(self) -> dict[str, CapacityPool]:
        if self._pools is None:
            pools = providers.rows(self.request, CapacityPool).select_related("site__provider")
            self._pools = {f"{pool.site.code}/{pool.code}": pool for pool in pools}
        return self._pools

    def _known_tariffs(self) -> dict[str, Tariff]:
        if self._tariffs is None:
            own = Tariff.objects.filter(pk__in=providers.rows(self.request, Tariff).values("pk"))
            used = Tariff.objects.filter(pk__in=providers.rows(self.request, Offering).values("tariff"))
            self._tariffs = {tariff.code: tariff for tariff in own | used}
        return self._tariffs

    def save_instance(self, instance: Any, is_create: bool, row: Any, **_named: Any) -> None:  # noqa: ARG002, FBT001
        told = instance.told
        try:
            saved = self._draft(told) if is_create else self._change(instance, told)
        except InvalidFactError as refusal:
            column = refusal.field.partition("[")[0]
            raise ValidationError({column if column in COLUMNS else "code": for_people(refusal)}) from refusal
        except catalog.NotOwnTariffError as refusal:
            raise ValidationError({"tariff": for_people(refusal)}) from refusal
        except (catalog.CodeTakenError, catalog.OtherStateError) as refusal:
            raise ValidationError({"code": for_people(refusal)}) from refusal
        except catalog.NotProviderError as refusal:
            raise ValidationError(for_people(refusal)) from refusal
        instance.__dict__.update(saved.__dict__)

    def _draft(self, told: Mapping[str, Any]) -> Offering:
        missing = [column for column in ("pool", "tariff", "name", "max_quantity") if told.get(column) in (None, "")]
        if missing:
            raise ValidationError(dict.fromkeys(missing, _("is needed for a new offering")))
        facts = {column: value for column, value in told.items() if value is not None}
        return catalog.draft_offering(**facts, at=timezone.now(), actor=actor(self.request))

    def _change(self, instance: Offering, told: Mapping[str, Any]) -> Offering:
        stored = self.get_queryset().get(pk=instance.pk)
        changes = {column: value for column, value in told.items() if column not in ("code", "pool")}
        return catalog.change_offering(offering=stored, changes=changes, at=timezone.now(), actor=actor(self.request))


def _whole(text: str) -> int:
    """A spreadsheet's whole number may come as 8.0."""
    try:
        number = Decimal(text)
        if number.is_finite() and number == int(number) and abs(number) < 10**9:
            return int(number)
    except InvalidOperation:
        pass
    raise ValidationError(_("“%(text)s”: expected a whole number"), params={"text": text[:40]})


def _percent(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValidationError(_("“%(text)s”: expected a number"), params={"text": text[:40]}) from error


# Pages


class OfferingExchange(ImportExportMixin):  # type: ignore[misc]
    resource_classes: ClassVar[list[Any]] = [OfferingRows]
    import_form_class, confirm_form_class, export_form_class = UploadForm, ConfirmForm, ExportForm
    tmp_storage_class = Carried
    formats: ClassVar[list[Any]] = [CSV, Workbook]
    from_encoding = to_encoding = "utf-8-sig"
    import_error_display = ("message",)

    def get_import_formats(self) -> list[Any]:
        return self.formats

    def get_export_formats(self) -> list[Any]:
        return self.formats

    def get_resource_kwargs(self, request: HttpRequest, **_named: Any) -> dict[str, Any]:
        return {"request": request}

    def has_import_permission(self, request: HttpRequest) -> bool:
        return providers.may(request, Permission.SUPPLY)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return providers.has_permission(request)

    def get_import_data_kwargs(self, **named: Any) -> dict[str, Any]:
        return {**super().get_import_data_kwargs(**named), "rollback_on_validation_errors": True}

    def get_export_queryset(self, request: HttpRequest) -> Any:
        return super().get_export_queryset(request).select_related("pool__site", "tariff")

    def get_valid_export_item_pks(self, request: HttpRequest) -> Any:
        """Of the provider's own rows. import-export's own offers all that there are."""
        return self.get_queryset(request).values_list("pk", flat=True)

    def process_result(self, result: Any, request: HttpRequest) -> HttpResponse:
        """What was right in the preview may be refused by now: then nothing was done, and the page says why."""
        if not (result.has_errors() or result.has_validation_errors()):
            done: HttpResponse = super().process_result(result, request)
            return done
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Import"),
            "form": self.create_import_form(request),
            "opts": self.opts,
            "result": result,
            "import_error_display": self.import_error_display,
            "fields_list": [],
        }
        return TemplateResponse(request, [self.import_template_name], context, status=409)

    def generate_log_entries(self, result: Any, request: HttpRequest) -> None:
        for row in result.rows:
            if row.instance is not None:
                self.log_change(request, row.instance, "imported")
